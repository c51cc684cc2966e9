//! Frame identity in Opus: in the padding of a code-3 packet (RFC 6716, 3.2.5), which every decoder skips.
//!
//! The padding begins with four zero bytes: ffmpeg's SILK decoder reads on into the padding, and libopus
//! treats a padding that begins with zero as plain. After them follows one long extension in the terms of the
//! Opus extension draft. Packets of 1 or 2 bytes (DTX) are left unmarked, since browsers distinguish silence
//! from loss by that size.

use super::{FRAME_IDENTITY_LEN, FrameIdentity};

/// Header of a long extension with id 122, for parsers that look behind the zeros.
const TAG: u8 = 122 << 1 | 1;
const ZEROS: [u8; 4] = [0; 4];
const PADDING_FLAG: u8 = 0x40;
const VBR_FLAG: u8 = 0x80;
/// Bytes of padding that a length byte of 255 stands for.
const PADDING_STEP: usize = 254;
const COUNT_MASK: u8 = 0x3f;
const CODE_MASK: u8 = 3;
/// Maximum bytes of a DTX packet; these packets carry no identity.
pub const UNMARKED_LEN_MAX: usize = 2;

/// An Opus packet, parsed as far as the padding requires.
struct Parts<'a> {
    toc: u8,
    /// Frame count byte of code 3, without the padding flag.
    count: u8,
    /// Frame sizes and frames.
    body: &'a [u8],
    padding: &'a [u8],
}

fn split(packet: &[u8]) -> Option<Parts<'_>> {
    let (&toc, rest) = packet.split_first()?;
    let plain = |count| Some(Parts { toc, count, body: rest, padding: &[] });
    match toc & CODE_MASK {
        0 => return plain(1),
        1 => return plain(2),
        2 => return plain(VBR_FLAG | 2), // code 2's one size field is that of code 3
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

/// Writes `identity` into the packet's padding; earlier padding is dropped. The frames stay as they are. Adds
/// 38 bytes.
///
/// `None` when the input is not an Opus packet, or has at most [`UNMARKED_LEN_MAX`] bytes.
pub fn mark(packet: &[u8], identity: &FrameIdentity) -> Option<Vec<u8>> {
    mark_with(packet, identity, &[])
}

/// Writes `identity` with a tail, a seal or nothing; as [`mark`]. `None` also for a tail of more than 224 bytes, which
/// one extension can't hold.
pub fn mark_with(packet: &[u8], identity: &FrameIdentity, tail: &[u8]) -> Option<Vec<u8>> {
    if packet.len() <= UNMARKED_LEN_MAX {
        return None;
    }
    let len = u8::try_from(FRAME_IDENTITY_LEN + tail.len()).ok().filter(|len| *len < u8::MAX)?;
    let padding_len = ZEROS.len() + 2 + usize::from(len);
    let Parts { toc, count, body, .. } = split(packet)?;
    let mut marked = Vec::with_capacity(4 + body.len() + padding_len);
    marked.extend_from_slice(&[toc | CODE_MASK, count | PADDING_FLAG]);
    // 255 stands for 254 bytes, and another length (RFC 6716, 3.2.5)
    marked.extend(std::iter::repeat_n(u8::MAX, padding_len.saturating_sub(1) / PADDING_STEP));
    marked.push((padding_len.saturating_sub(1) % PADDING_STEP) as u8 + 1);
    marked.extend_from_slice(body);
    marked.extend_from_slice(&ZEROS);
    marked.extend_from_slice(&[TAG, len]);
    marked.extend_from_slice(&identity.to_bytes());
    marked.extend_from_slice(tail);
    Some(marked)
}

/// Returns what follows the identity of a packet: a seal or nothing. `None` without an identity.
pub fn tail(packet: &[u8]) -> Option<Vec<u8>> {
    extension(packet)?.get(FRAME_IDENTITY_LEN..).map(<[u8]>::to_vec)
}

/// Returns a packet without the padding that holds its identity, in the form that its frames have without padding.
/// `None` for a packet without an identity.
pub fn plain(packet: &[u8]) -> Option<Vec<u8>> {
    read(packet)?;
    let Parts { toc, count, body, .. } = split(packet)?;
    let toc = toc & !CODE_MASK;
    const TWO_OF_ANY_LENGTH: u8 = VBR_FLAG | 2;
    let head = match count {
        1 => vec![toc],
        2 => vec![toc | 1],
        TWO_OF_ANY_LENGTH => vec![toc | 2],
        _ => vec![toc | CODE_MASK, count],
    };
    Some([&head, body].concat())
}

/// Returns a packet without its padding: header, and frames with their sizes. `None` for a packet without an identity.
pub(super) fn without_padding(packet: &[u8]) -> Option<[Vec<u8>; 2]> {
    if packet.len() <= UNMARKED_LEN_MAX {
        return None;
    }
    let Parts { toc, count, body, .. } = split(packet)?;
    Some([vec![toc | CODE_MASK, count], body.to_vec()])
}

/// Returns the identity of a packet; `None` when it has none.
pub fn read(packet: &[u8]) -> Option<FrameIdentity> {
    FrameIdentity::from_bytes(extension(packet)?)
}

/// The content of the extension in a packet's padding.
fn extension(packet: &[u8]) -> Option<&[u8]> {
    let padding = split(packet)?.padding;
    let begin = padding.iter().position(|&byte| byte != 0)?;
    match &padding[begin..] {
        [TAG, len, body @ ..] => body.get(..usize::from(*len)),
        _ => None,
    }
}
