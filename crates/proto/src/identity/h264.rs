//! Frame identity in H.264: an SEI message of type 5 (user_data_unregistered, ITU-T H.264 D.1.7) directly
//! before the first slice of an access unit in Annex B form.

use super::{FRAME_IDENTITY_LEN, FrameIdentity};

/// UUID of plenary's SEI messages, which distinguishes them from other user data.
pub const SEI_UUID: [u8; 16] = *b"\x70\x6c\x65\x6e\x61\x72\x79\xf1\x9b\x3e\x66\x72\x61\x6d\x65\x31";

const START_CODE: [u8; 4] = [0, 0, 0, 1];
const NAL_TYPE_MASK: u8 = 0x1f;
const NAL_SLICES: std::ops::RangeInclusive<u8> = 1..=5;
const NAL_SEI: u8 = 6;
const SEI_USER_DATA_UNREGISTERED: u8 = 5;
/// Maximum bytes of an SEI NAL unit that is parsed. A plenary SEI with every byte escaped stays below; longer
/// ones are skipped, so that a hostile frame costs no time.
const SEI_LEN_MAX: usize = 1024;

/// One NAL unit of an Annex B access unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nal<'a> {
    /// Offset of its start code in the access unit.
    pub offset: usize,
    /// Header byte and payload, without the start code.
    pub bytes: &'a [u8],
}

impl Nal<'_> {
    /// Returns nal_unit_type: 1 to 5 are slices, 6 is SEI, 7 and 8 are parameter sets.
    pub fn kind(&self) -> u8 {
        self.bytes.first().map_or(0, |header| header & NAL_TYPE_MASK)
    }
}

/// Returns the NAL units of an access unit, in order. Bytes before the first start code are skipped; zeros
/// before a start code count as part of it.
pub fn nals(access_unit: &[u8]) -> impl Iterator<Item = Nal<'_>> {
    let mut next = start_code(access_unit, 0);
    std::iter::from_fn(move || {
        let (offset, begin) = next?;
        next = start_code(access_unit, begin);
        let end = next.map_or(access_unit.len(), |(offset, _)| offset);
        Some(Nal { offset, bytes: &access_unit[begin..end] })
    })
}

/// Finds the first start code at or after `from`; returns the offset of its first zero and the offset of the
/// NAL unit that follows.
fn start_code(bytes: &[u8], from: usize) -> Option<(usize, usize)> {
    let mut at = from;
    while at + 3 <= bytes.len() {
        match bytes[at + 2] {
            1 if bytes[at] == 0 && bytes[at + 1] == 0 => {
                let mut offset = at;
                while offset > from && bytes[offset - 1] == 0 {
                    offset -= 1;
                }
                return Some((offset, at + 3));
            }
            0 => at += 1,
            _ => at += 3,
        }
    }
    None
}

/// Inserts `identity` into the access unit; an earlier identity is dropped.
///
/// Adds 49 bytes as a rule, at most 66. `None` when the access unit has no slice.
pub fn mark(access_unit: &[u8], identity: &FrameIdentity) -> Option<Vec<u8>> {
    let mut marked = Vec::with_capacity(access_unit.len() + 66);
    let mut written = false;
    for nal in nals(access_unit) {
        if nal.kind() == NAL_SEI && read_sei(nal.bytes).is_some() {
            continue;
        }
        if !written && NAL_SLICES.contains(&nal.kind()) {
            marked.extend_from_slice(&START_CODE);
            write_sei(identity, &mut marked);
            written = true;
        }
        marked.extend_from_slice(&START_CODE);
        marked.extend_from_slice(nal.bytes);
    }
    written.then_some(marked)
}

/// Returns the identity of an access unit; `None` when none precedes its first slice.
pub fn read(access_unit: &[u8]) -> Option<FrameIdentity> {
    nals(access_unit).take_while(|nal| !NAL_SLICES.contains(&nal.kind())).find_map(|nal| read_sei(nal.bytes))
}

/// Appends the SEI NAL unit without a start code, with emulation prevention (H.264 7.4.1.1).
fn write_sei(identity: &FrameIdentity, out: &mut Vec<u8>) {
    let mut raw = [0; 2 + SEI_UUID.len() + FRAME_IDENTITY_LEN + 1];
    raw[0] = SEI_USER_DATA_UNREGISTERED;
    raw[1] = (SEI_UUID.len() + FRAME_IDENTITY_LEN) as u8;
    raw[2..18].copy_from_slice(&SEI_UUID);
    raw[18..42].copy_from_slice(&identity.to_bytes());
    raw[42] = 0x80; // rbsp_trailing_bits
    out.push(NAL_SEI);
    let mut zeros = 0;
    for byte in raw {
        if zeros == 2 && byte <= 3 {
            out.push(3);
            zeros = 0;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        out.push(byte);
    }
}

/// Returns the identity in a NAL unit; `None` when it is not an SEI with plenary's UUID.
pub fn read_sei(nal: &[u8]) -> Option<FrameIdentity> {
    let (header, escaped) = nal.split_first()?;
    if header & NAL_TYPE_MASK != NAL_SEI || escaped.len() > SEI_LEN_MAX {
        return None;
    }
    let raw = unescape(escaped);
    let mut rest = &raw[..];
    while rest.len() > 2 {
        let kind = sei_number(&mut rest)?;
        let len = sei_number(&mut rest)?;
        let payload = rest.get(..len)?;
        if kind == usize::from(SEI_USER_DATA_UNREGISTERED)
            && let Some(body) = payload.strip_prefix(&SEI_UUID)
        {
            return FrameIdentity::from_bytes(body);
        }
        rest = &rest[len..];
    }
    None
}

/// Parses an SEI payload type or size: bytes of 255 add up, and the first other byte ends the number (H.264
/// 7.3.2.3.1).
fn sei_number(rest: &mut &[u8]) -> Option<usize> {
    let mut number = 0;
    loop {
        let (&byte, tail) = rest.split_first()?;
        *rest = tail;
        number += usize::from(byte);
        if byte != 255 {
            return Some(number);
        }
    }
}

/// Removes emulation prevention bytes.
fn unescape(escaped: &[u8]) -> Vec<u8> {
    let mut raw = Vec::with_capacity(escaped.len());
    let mut zeros = 0;
    for &byte in escaped {
        if zeros >= 2 && byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        raw.push(byte);
    }
    raw
}
