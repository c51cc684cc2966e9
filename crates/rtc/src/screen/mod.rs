//! What arrives on a link, read before the stack sees it.
//!
//! The stack trusts the lengths and numbers that the other end writes further than a hostile peer deserves: some made
//! it overflow its stack, panic, or count for seconds (docs/upstream). The screen lets pass what honest ends send, and
//! bounds what the stack keeps and how long it works:
//!
//! - [`Paths`]: connectivity checks count only with the link's credentials, everything else only from addresses that
//!   such a check came from;
//! - [`Records`]: records of DTLS;
//! - [`Chunks`]: chunks of SCTP.

mod chunks;
mod paths;
mod records;

pub(crate) use chunks::{Chunks, Hostile};
pub(crate) use paths::Paths;
pub(crate) use records::Records;

/// Whether a datagram or packet goes on to the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Pass,
    Drop,
}

/// Reads a big-endian integer of two bytes.
fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Reads a big-endian integer of three bytes.
fn u24_at(bytes: &[u8], at: usize) -> Option<usize> {
    let [a, b, c] = *bytes.get(at..)?.first_chunk()?;
    Some(usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c))
}

/// Reads a big-endian integer of four bytes.
fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}
