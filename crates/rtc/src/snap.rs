//! SCTP associations without a handshake of their own: what the ends' INIT chunks would say goes with their
//! descriptions, as in SNAP (draft-hancke-tsvwg-snap). That saves two round trips.
//!
//! The stack knows no such beginning. So each end begins as a client, and the answers that the other end would send, an
//! INIT ACK and a COOKIE ACK, are made here, from its description.

use plenary_proto::message::SctpInit;

/// Kinds of chunks (RFC 9260, 3.2).
const INIT: u8 = 1;
const INIT_ACK: u8 = 2;
const COOKIE_ACK: u8 = 11;
/// Where a packet's chunks begin, and the fields of an INIT behind its header: tag, window and numbers of streams, TSN.
const CHUNKS_AT: usize = 12;
const TAG: std::ops::Range<usize> = 0..4;
const TSN: std::ops::Range<usize> = 12..16;
const FIXED_LEN: usize = 16;
/// A state cookie (RFC 9260, 3.3.3.1), which an INIT ACK must have. No other end ever sees it.
const COOKIE: [u8; 8] = [0, 7, 0, 8, 0, 0, 0, 0];

/// Returns what a packet with an INIT says.
pub(crate) fn init_of(packet: &[u8]) -> Option<SctpInit> {
    let body = body_of(packet)?;
    let field = |at| body.get(at).and_then(<[u8]>::first_chunk).map(|field| u32::from_be_bytes(*field));
    Some(SctpInit { tag: field(TAG)?, tsn: field(TSN)? })
}

/// Returns the packets by which the other end would answer this end's packet with its INIT. All natives have the same
/// receive window and numbers of streams.
pub(crate) fn answers(packet: &[u8], other: &SctpInit) -> Option<[Vec<u8>; 2]> {
    let own = init_of(packet)?;
    let (fixed, parameters) = body_of(packet)?.split_at_checked(FIXED_LEN)?;
    let mut body = [fixed, &COOKIE, parameters].concat();
    body.get_mut(TAG)?.copy_from_slice(&other.tag.to_be_bytes());
    body.get_mut(TSN)?.copy_from_slice(&other.tsn.to_be_bytes());
    let [a, b, c, d] = *packet.first_chunk()?;
    let [e, f, g, h] = own.tag.to_be_bytes();
    let header = [c, d, a, b, e, f, g, h];
    let length = u16::try_from(4 + body.len()).ok()?.to_be_bytes();
    body.resize(body.len().next_multiple_of(4), 0);
    let init_ack = [&[INIT_ACK, 0][..], &length, &body].concat();
    Some([assemble(header, &init_ack), assemble(header, &[COOKIE_ACK, 0, 0, 4])])
}

/// The content of the INIT that a packet begins with, without padding behind it.
fn body_of(packet: &[u8]) -> Option<&[u8]> {
    let (&[kind, _, high, low], _) = packet.get(CHUNKS_AT..)?.split_first_chunk()?;
    let length = usize::from(u16::from_be_bytes([high, low]));
    packet.get(CHUNKS_AT + 4..CHUNKS_AT + length).filter(|body| kind == INIT && body.len() >= FIXED_LEN)
}

/// Assembles a packet of SCTP (RFC 9260, 3) from the ports and verification tag of its header, and its chunks.
pub(crate) fn assemble([a, b, c, d, tag @ ..]: [u8; 8], chunks: &[u8]) -> Vec<u8> {
    let mut packet = [&[a, b, c, d][..], &tag, &[0; 4], chunks].concat();
    let sum = crc32c::crc32c(&packet);
    if let Some(field) = packet.get_mut(8..12) {
        field.copy_from_slice(&sum.to_le_bytes());
    }
    packet
}
