//! What an attacker sends below the channels of its link: for tests, which attack other peers' links at this level.

use std::fmt;

use bytes::Bytes;
use plenary_proto::packet::LinkId;

use crate::links::Links;
use crate::sync::lock;

/// Something that a link sends past its own transport.
pub enum Raw {
    /// A UDP datagram, as it is, from the link's address to that of the other end.
    Datagram(Bytes),
    /// The chunks of one SCTP packet, made from the TSN that this end has not used yet. The packet is sealed.
    Chunks(Box<dyn FnOnce(u32) -> Vec<u8> + Send>),
}

impl fmt::Debug for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Raw::Datagram(_) => "Datagram(…)",
            Raw::Chunks(_) => "Chunks(…)",
        })
    }
}

impl Links {
    /// Sends something on a connected link. Nothing happens on a link that isn't known.
    pub fn send_raw(&self, link: LinkId, raw: Raw) {
        if let Some(handle) = self.handle(link) {
            lock(&handle.raw).push(raw);
            handle.wire.messages_wait();
        }
    }
}

/// Builds a chunk of SCTP (RFC 9260, 3.2), padded. `body` has less than 64 KiB.
pub fn chunk(kind: u8, flags: u8, body: &[u8]) -> Vec<u8> {
    let length = (4 + body.len()) as u16;
    let mut chunk = [&[kind, flags][..], &length.to_be_bytes(), body].concat();
    chunk.resize(chunk.len().next_multiple_of(4), 0);
    chunk
}

/// A plain record of DTLS with fragments of one byte of a handshake message, from the first offset on.
pub fn fragments(sequence: u64, message: u16, offsets: impl Iterator<Item = u32>, bytes: u32) -> Vec<u8> {
    let fragment = |offset: u32| {
        let u24 = |value: u32| value.to_be_bytes()[1..].to_vec();
        let content = vec![b'x'; bytes as usize];
        [&[11][..], &u24(bytes), &message.to_be_bytes(), &u24(offset), &u24(1.min(bytes)), &content].concat()
    };
    let body: Vec<u8> = offsets.flat_map(fragment).collect();
    let length = body.len() as u16;
    let header = [&[22, 0xfe, 0xfd, 0, 0][..], &sequence.to_be_bytes()[2..], &length.to_be_bytes()];
    [&header.concat(), &body[..]].concat()
}

/// Datagrams of a message whose 30,000 fragments form a chain, its first one last: reassembled recursively, they
/// overflow a thread's stack.
pub fn chain(message: u16) -> impl Iterator<Item = Vec<u8>> {
    let offsets: Vec<u32> = (1..30_000).collect();
    let mut sequence = u64::from(message) << 20; // a record's number counts once
    let mut record = move |offsets: &[u32], bytes| {
        sequence += 1;
        fragments(sequence, message, offsets.iter().copied(), bytes)
    };
    let mut chain: Vec<Vec<u8>> = offsets.chunks(90).map(|offsets| record(offsets, 1)).collect();
    chain.extend([record(&[0], 2), record(&[0], 2)]);
    chain.into_iter()
}
