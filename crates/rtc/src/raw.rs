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

/// Assembles a packet of SCTP (RFC 9260, 3) from the ports and verification tag of its header, and its chunks.
pub(crate) fn packet([a, b, c, d, tag @ ..]: [u8; 8], chunks: &[u8]) -> Vec<u8> {
    let mut packet = [&[a, b, c, d][..], &tag, &[0; 4], chunks].concat();
    let sum = crc32c::crc32c(&packet);
    packet[8..12].copy_from_slice(&sum.to_le_bytes());
    packet
}
