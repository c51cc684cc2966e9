//! Frame identity in Opus: in the padding of a code-3 packet (RFC 6716, 3.2.5), which every decoder skips.
//!
//! The padding begins with four zero bytes, because ffmpeg's SILK decoder reads on into it, and libopus takes
//! a padding that begins with zero for plain padding. Behind them stands what the Opus extension draft calls
//! one long extension. Packets of 1 or 2 bytes (discontinuous transmission) are left alone: browsers tell
//! silence from loss by that size.

use super::{FRAME_IDENTITY_LEN, FrameIdentity};

/// A long extension of id 122, for whoever looks behind the zeros.
const TAG: u8 = 122 << 1 | 1;
const ZEROS: [u8; 4] = [0; 4];
const PADDING_FLAG: u8 = 0x40;
const VBR_FLAG: u8 = 0x80;
const COUNT_MASK: u8 = 0x3f;
const CODE_MASK: u8 = 3;
/// Packets up to this size are silence and carry nothing.
pub const UNMARKED_LEN_MAX: usize = 2;

/// An Opus packet, taken apart as far as the padding needs it.
struct Parts<'a> {
    toc: u8,
    /// Code 3's frame count byte without the padding flag.
    count: u8,
    /// Sizes and frames.
    body: &'a [u8],
    padding: &'a [u8],
}

fn split(packet: &[u8]) -> Option<Parts<'_>> {
    let (&toc, rest) = packet.split_first()?;
    let plain = |count| Some(Parts { toc, count, body: rest, padding: &[] });
    match toc & CODE_MASK {
        0 => return plain(1),
        1 => return plain(2),
        2 => return plain(VBR_FLAG | 2), // its one size field is the size field of code 3
        _ => {}
    }
    let (&count, mut rest) = rest.split_first()?;
    if count & COUNT_MASK == 0 {
        return None;
    }
    let mut padding_len = 0;
    if count & PADDING_FLAG != 0 {
        loop {
            let (&byte, tail) = rest.split_first()?;
            rest = tail;
            padding_len += if byte == 255 { 254 } else { usize::from(byte) };
            if byte != 255 {
                break;
            }
        }
    }
    let (body, padding) = rest.split_at_checked(rest.len().checked_sub(padding_len)?)?;
    Some(Parts { toc, count: count & !PADDING_FLAG, body, padding })
}

/// The same sound with `identity` in its padding; a padding it had before is dropped. Adds 32 bytes.
///
/// `None` when it is no Opus packet, or one of [`UNMARKED_LEN_MAX`] bytes or fewer.
pub fn mark(packet: &[u8], identity: &FrameIdentity) -> Option<Vec<u8>> {
    if packet.len() <= UNMARKED_LEN_MAX {
        return None;
    }
    const PADDING_LEN: usize = ZEROS.len() + 2 + FRAME_IDENTITY_LEN;
    let Parts { toc, count, body, .. } = split(packet)?;
    let mut marked = Vec::with_capacity(3 + body.len() + PADDING_LEN);
    marked.extend_from_slice(&[toc | CODE_MASK, count | PADDING_FLAG, PADDING_LEN as u8]);
    marked.extend_from_slice(body);
    marked.extend_from_slice(&ZEROS);
    marked.extend_from_slice(&[TAG, FRAME_IDENTITY_LEN as u8]);
    marked.extend_from_slice(&identity.to_bytes());
    Some(marked)
}

/// The identity of a packet; `None` when it has none.
pub fn read(packet: &[u8]) -> Option<FrameIdentity> {
    let padding = split(packet)?.padding;
    let begin = padding.iter().position(|&byte| byte != 0)?;
    match &padding[begin..] {
        [TAG, len, body @ ..] => FrameIdentity::from_bytes(body.get(..usize::from(*len))?),
        _ => None,
    }
}
