//! Fuzz targets below the channels of a link: an end that is open gets what an attacker sends. None may panic.

use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;

use crate::ends::{pair, run};
use crate::raw::Raw;
use crate::seam::Channel;
use crate::transport::TransportEvent;

/// Time after which two ends have opened their channels, in milliseconds.
const OPEN_MS: u64 = 100;
/// Kinds of chunks that begin with a TSN.
const WITH_TSN: [u8; 3] = [0, 3, 192];

/// What a stranger, or the other end without its keys, sends to the port of a link: datagrams of any bytes. A link that
/// was open stays so.
///
/// The first byte says at which stage of the link, and to which end; the rest are parts (see [`parts`]). Bit 0 of a
/// part's options says whether it comes from the other end's address, bit 1 whether time passes after it.
pub fn records(bytes: &[u8]) {
    let Some((&begin, rest)) = bytes.split_first() else { return };
    let mut now = Instant::now();
    let (mut a, mut b) = pair(now);
    let ms = [0, 20, 30, OPEN_MS][usize::from(begin >> 1 & 3)];
    run(&mut a, &mut b, &mut now, ms, |_| {});
    if begin & 1 != 0 {
        std::mem::swap(&mut a, &mut b);
    }
    let stranger = SocketAddr::from(([127, 0, 0, 77], 7));
    for (options, datagram) in parts(rest) {
        let from = if options & 1 != 0 { a.address } else { stranger };
        let _ = b.take(now, from, datagram);
        if options & 2 != 0 {
            run(&mut a, &mut b, &mut now, 5, |_| {});
        }
    }
    if ms == OPEN_MS {
        let message = Bytes::from_static(b"still here");
        assert!(a.transport.send(now, Channel::Control, &message).is_ok(), "the link is open");
        run(&mut a, &mut b, &mut now, 100, |_| {});
        assert_eq!(b.transport.read(), Some((Channel::Control, message)), "{:?}", b.events);
    }
}

/// What the other end of an open link sends, which has its keys: packets of SCTP.
///
/// The bytes are parts (see [`parts`]), each the chunks of a packet. The TSNs of its chunks are relative to the next
/// one. Returns how many packets were sent until the link ended.
pub fn chunks(bytes: &[u8]) -> usize {
    let mut now = Instant::now();
    let (mut a, mut b) = pair(now);
    run(&mut a, &mut b, &mut now, OPEN_MS, |_| {});
    let mut sent = 0;
    for (options, packet) in parts(bytes) {
        let packet = packet.to_vec();
        sent += 1;
        a.transport.send_raw(now, Raw::Chunks(Box::new(move |tsn| relative(packet, tsn))));
        if options & 2 == 0 {
            run(&mut a, &mut b, &mut now, 5, |_| {});
        }
        if options & 4 != 0 {
            while b.transport.read().is_some() {}
        }
        if b.events.iter().any(|event| matches!(event, TransportEvent::Hostile(_) | TransportEvent::Closed)) {
            return sent;
        }
    }
    run(&mut a, &mut b, &mut now, 3_000, |_| {});
    sent
}

/// Divides an input into parts: options, length of two bytes, content.
fn parts(mut rest: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let (&[options, high, low], behind) = rest.split_first_chunk()?;
        let length = usize::from(u16::from_be_bytes([high, low])).min(behind.len());
        let (part, behind) = behind.split_at(length);
        rest = behind;
        Some((options, part))
    })
}

/// Makes the TSNs of chunks relative to one.
fn relative(mut packet: Vec<u8>, tsn: u32) -> Vec<u8> {
    let mut at = 0;
    while let Some(&[kind, _, high, low]) = packet.get(at..).and_then(<[u8]>::first_chunk) {
        let field = packet.get_mut(at + 4..).and_then(<[u8]>::first_chunk_mut);
        if let Some(field) = field.filter(|_| WITH_TSN.contains(&kind)) {
            *field = u32::from_be_bytes(*field).wrapping_add(tsn).to_be_bytes();
        }
        at += usize::from(u16::from_be_bytes([high, low])).next_multiple_of(4).max(4);
    }
    packet
}

#[cfg(test)]
#[path = "../../proto/fuzz/checks/kept.rs"]
mod kept;

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha20Rng;
    use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

    use super::*;

    /// Chunks and records that each drawn link gets.
    const EACH: usize = 100;

    #[test]
    fn kept_records_and_chunks_still_harm_no_link() {
        kept::replay("dtls", records);
        kept::replay("channels", |bytes| {
            chunks(bytes);
        });
    }

    fn below(rng: &mut ChaCha20Rng, end: u32) -> u32 {
        rng.next_u32() % end
    }

    /// Any bytes, of which many are small.
    fn any(rng: &mut ChaCha20Rng, len: u32) -> Vec<u8> {
        let byte = |rng: &mut ChaCha20Rng| match below(rng, 4) {
            0 | 1 => 0,
            2 => below(rng, 8) as u8,
            _ => rng.next_u32() as u8,
        };
        (0..len).map(|_| byte(rng)).collect()
    }

    fn part(options: u8, content: &[u8]) -> Vec<u8> {
        [&[options], &(content.len() as u16).to_be_bytes()[..], content].concat()
    }

    /// One that an association reads; of a careless attacker one in 16 that no honest end sends.
    fn drawn_chunk(rng: &mut ChaCha20Rng, next: &mut u32, is_careless: bool) -> Vec<u8> {
        let errs = |rng: &mut ChaCha20Rng| is_careless && below(rng, 64) == 0;
        let kind = [0, 0, 0, 0, 0, 1, 2, 3, 3, 4, 5, 7, 8, 10, 11, 14, 130, 192, 192, 64, 255, 6, 9];
        let kind = kind[below(rng, if is_careless { 23 } else { 21 }) as usize];
        let mut flags = 3 | (below(rng, 2) << 2) as u8;
        let mut body = match kind {
            0 => {
                let tsn = if below(rng, 8) == 0 { below(rng, 5_000) } else { *next };
                *next = next.wrapping_add(1);
                if errs(rng) {
                    flags = below(rng, 8) as u8;
                }
                let stream = if errs(rng) { rng.next_u32() as u16 } else { below(rng, 3) as u16 };
                let (len, number) = (1 + below(rng, 64), below(rng, 3) as u16);
                let header =
                    [&tsn.to_be_bytes()[..], &stream.to_be_bytes(), &number.to_be_bytes(), &[0, 0, 0, 53]];
                [header.concat(), any(rng, len)].concat()
            }
            192 => {
                let to = if errs(rng) { rng.next_u32() } else { next.wrapping_add(below(rng, 9)) };
                let streams = if is_careless { 4 * below(rng, 3) } else { 0 };
                [to.to_be_bytes().to_vec(), any(rng, streams)].concat()
            }
            3 => {
                let (gaps, acked) = (below(rng, 4), below(rng, 8).wrapping_sub(8));
                let counts = [0, gaps as u8, 0, 0];
                [&acked.to_be_bytes()[..], &[0, 1, 0, 0], &counts, &any(rng, 4 * gaps)].concat()
            }
            1 | 2 => [any(rng, 16), vec![0x80, 8, 0, 6, 130, 192]].concat(),
            4 => {
                let len = below(rng, 40);
                [vec![0, 1, 0, 4 + len as u8], any(rng, len)].concat()
            }
            7 => any(rng, 4),
            _ => {
                let len = below(rng, 48);
                any(rng, len)
            }
        };
        if errs(rng) {
            let len = below(rng, 32);
            body = any(rng, len);
        }
        let length = if errs(rng) { rng.next_u32() as u16 } else { 4 + body.len() as u16 };
        let mut chunk = [&[kind, flags][..], &length.to_be_bytes(), &body].concat();
        chunk.resize(chunk.len().next_multiple_of(4), 0);
        chunk
    }

    fn drawn_record(rng: &mut ChaCha20Rng) -> Vec<u8> {
        let fragment = |rng: &mut ChaCha20Rng| {
            let kind = [1, 2, 11, 12, 13, 14, 15, 16, 20][below(rng, 9) as usize];
            let (length, offset) = (below(rng, 300), [0, 0, below(rng, 300)][below(rng, 3) as usize]);
            let carried = if below(rng, 2) == 0 { length } else { below(rng, 300) };
            let u24 = |value: u32| value.to_be_bytes()[1..].to_vec();
            let number = (below(rng, 9) as u16).to_be_bytes();
            [&[kind][..], &u24(length), &number, &u24(offset), &u24(carried), &any(rng, carried)].concat()
        };
        let kind = [20, 21, 22, 22, 22, 23, 24][below(rng, 7) as usize];
        let body = match kind {
            22 => (0..=below(rng, 3)).flat_map(|_| fragment(rng)).collect(),
            _ => {
                let len = below(rng, 64);
                any(rng, len)
            }
        };
        let sequence = u64::from(rng.next_u32()).to_be_bytes();
        let epoch = [0, 0, 0, 1, 2][below(rng, 5) as usize];
        let length = if below(rng, 32) == 0 { rng.next_u32() as u16 } else { body.len() as u16 };
        [&[kind, 0xfe, 0xfd, 0, epoch][..], &sequence[2..], &length.to_be_bytes(), &body].concat()
    }

    /// Draws links until as many packets, and as many records, were sent.
    fn draw(seed: u64, count: usize) {
        let (mut sent, mut links) = (0, 0_u64);
        while sent < count {
            let mut rng = ChaCha20Rng::seed_from_u64(seed.wrapping_add(links));
            links += 1;
            let mut next = 0;
            let packets = (0..EACH).flat_map(|_| {
                let options = rng.next_u32() as u8;
                let count = 1 + below(&mut rng, 3);
                let chunks = (0..count).flat_map(|_| drawn_chunk(&mut rng, &mut next, links % 2 == 0));
                part(options, &chunks.collect::<Vec<u8>>())
            });
            let packets: Vec<u8> = packets.collect();
            let now = chunks(&packets);
            sent += now;
            let datagrams = (0..now).flat_map(|_| {
                let options = rng.next_u32() as u8;
                part(options, &drawn_record(&mut rng))
            });
            let datagrams: Vec<u8> = std::iter::once(links as u8).chain(datagrams).collect();
            records(&datagrams);
        }
        println!("{sent} packets and as many records on {links} links");
    }

    #[test]
    fn drawn_chunks_and_records_of_an_attacker_cause_no_panic() {
        draw(1, 4_000);
    }

    #[test]
    #[ignore = "a million chunks and as many records: ./run nightly fuzz"]
    fn a_million_drawn_chunks_and_records_cause_no_panic() {
        let seed = std::env::var("PLENARY_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
        println!("seed {seed}");
        draw(seed, 1_000_000);
    }
}
