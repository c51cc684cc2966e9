//! Frame identity in H.264: a NAL unit of a reserved type behind the last slice of an access unit in Annex B form.
//!
//! It is the last unit, so a receiver that got the picture's end has it: browsers hand out keyframes whose first
//! packet was lost. Decoders ignore NAL units of the reserved types 22 and 23 (ITU-T H.264, 7.4.1), which begin no
//! access unit either (7.4.1.2.3). An SEI message does: behind the slices it belongs to the next picture.
//! Measured with type 23 on 300 pictures: the pictures of ffmpeg, GStreamer, and Chromium's WebCodecs and RTC are
//! equal to those without it; ffmpeg reports errors for an SEI message there. Recordings have the identity as an SEI
//! message in front of the picture ([`with_sei`]), where players and tools for files expect user data.

use super::{FRAME_IDENTITY_LEN, FrameIdentity};

/// Header of the identity: a reserved nal_unit_type that decoders ignore, with nal_ref_idc 0.
const NAL_IDENTITY: u8 = 23;
/// First bytes of the identity's payload, which distinguish it from other uses of the reserved type.
pub const TAG: [u8; 4] = *b"plen";
/// UUID of SEI messages that hold an identity, in recordings.
pub const SEI_UUID: [u8; 16] = *b"\x70\x6c\x65\x6e\x61\x72\x79\xf1\x9b\x3e\x66\x72\x61\x6d\x65\x31";

const START_CODE: [u8; 4] = [0, 0, 0, 1];
const NAL_TYPE_MASK: u8 = 0x1f;
const NAL_REF_IDC_MASK: u8 = 0x60;
const NAL_SLICES: std::ops::RangeInclusive<u8> = 1..=5;
const NAL_SEI: u8 = 6;
const SEI_USER_DATA_UNREGISTERED: u8 = 5;
/// rbsp_trailing_bits: the last byte of a NAL unit, never 0.
const TRAILING: u8 = 0x80;
/// Maximum bytes of an identity NAL unit that is parsed: 30 bytes of body, and room for a seal. Longer ones are
/// skipped, so that a hostile frame costs no time.
const IDENTITY_LEN_MAX: usize = 1024;

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
/// before a start code and at the end belong to no unit.
pub fn nals(access_unit: &[u8]) -> impl Iterator<Item = Nal<'_>> {
    let mut next = start_code(access_unit, 0);
    std::iter::from_fn(move || {
        let (offset, begin) = next?;
        next = start_code(access_unit, begin);
        let end = next.map_or(access_unit.len(), |(offset, _)| offset);
        Some(Nal { offset, bytes: without_zeros(&access_unit[begin..end]) })
    })
}

/// The bytes without zeros at the end (trailing_zero_8bits, H.264 B.1).
fn without_zeros(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().rev().take_while(|byte| **byte == 0).count();
    &bytes[..bytes.len() - zeros]
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

/// Appends `identity` to the access unit; an earlier identity is dropped.
///
/// Adds 40 bytes as a rule, at most 54. `None` when the access unit has no slice.
pub fn mark(access_unit: &[u8], identity: &FrameIdentity) -> Option<Vec<u8>> {
    mark_with(access_unit, identity, &[])
}

/// Appends `identity` with a tail, a seal of up to 218 bytes or nothing; as [`mark`].
pub fn mark_with(access_unit: &[u8], identity: &FrameIdentity, tail: &[u8]) -> Option<Vec<u8>> {
    let mut marked = Vec::with_capacity(access_unit.len() + 54 + tail.len());
    let mut has_slice = false;
    for nal in nals(access_unit).filter(|nal| body(nal.bytes).is_none()) {
        has_slice |= NAL_SLICES.contains(&nal.kind());
        marked.extend_from_slice(&START_CODE);
        marked.extend_from_slice(nal.bytes);
    }
    marked.extend_from_slice(&START_CODE);
    marked.push(NAL_IDENTITY);
    let raw = TAG.into_iter().chain(identity.to_bytes()).chain(tail.iter().copied()).chain([TRAILING]);
    escape(raw, &mut marked);
    has_slice.then_some(marked)
}

/// Returns what follows the identity in the last NAL unit of an access unit: a seal or nothing. `None` without an
/// identity.
pub fn tail(access_unit: &[u8]) -> Option<Vec<u8>> {
    let mut body = body(last_nal(access_unit)?)?;
    (body.len() >= FRAME_IDENTITY_LEN).then(|| body.split_off(FRAME_IDENTITY_LEN))
}

/// Returns the length of an access unit without the identity at its end.
pub fn plain_len(access_unit: &[u8]) -> usize {
    let Some(nal) = last_nal(access_unit).filter(|nal| is_identity(nal)) else { return access_unit.len() };
    // a start code has at least three bytes, and zeros before them
    let before = without_zeros(access_unit).len() - nal.len() - 3;
    without_zeros(&access_unit[..before]).len()
}

/// Returns whether a NAL unit holds an identity.
pub(super) fn is_identity(nal: &[u8]) -> bool {
    body(nal).is_some()
}

/// Returns whether no other picture refers to the picture of an access unit: all its slices have nal_ref_idc 0.
pub fn is_spare(access_unit: &[u8]) -> bool {
    let mut slices = nals(access_unit).filter(|nal| NAL_SLICES.contains(&nal.kind())).peekable();
    slices.peek().is_some()
        && slices.all(|nal| nal.bytes.first().is_some_and(|header| header & NAL_REF_IDC_MASK == 0))
}

/// Returns the identity in the last NAL unit of an access unit. `None` when the last unit is of another kind.
pub fn read(access_unit: &[u8]) -> Option<FrameIdentity> {
    read_nal(last_nal(access_unit)?)
}

/// Returns the identity in a NAL unit; `None` when it is another one.
pub fn read_nal(nal: &[u8]) -> Option<FrameIdentity> {
    FrameIdentity::from_bytes(&body(nal)?)
}

/// Returns the access unit with its identity as an SEI message of type 5 (user_data_unregistered, ITU-T H.264 D.1.7)
/// directly before the first slice, for files. Unchanged without an identity.
pub fn with_sei(access_unit: &[u8]) -> Vec<u8> {
    let mut identity = last_nal(access_unit).and_then(body);
    let mut moved = Vec::with_capacity(access_unit.len() + 32);
    for nal in nals(access_unit).filter(|nal| body(nal.bytes).is_none()) {
        if NAL_SLICES.contains(&nal.kind())
            && let Some(body) = identity.take()
        {
            moved.extend_from_slice(&START_CODE);
            moved.push(NAL_SEI);
            let len = SEI_UUID.len() + body.len();
            let lengths = std::iter::repeat_n(255, len / 255).chain([(len % 255) as u8]); // 7.3.2.3.1
            let raw = [SEI_USER_DATA_UNREGISTERED].into_iter().chain(lengths).chain(SEI_UUID).chain(body);
            escape(raw.chain([TRAILING]), &mut moved);
        }
        moved.extend_from_slice(&START_CODE);
        moved.extend_from_slice(nal.bytes);
    }
    moved
}

/// Returns an access unit of a file with its identity behind the last slice again: the inverse of [`with_sei`].
/// Unchanged without such an SEI message.
pub fn without_sei(access_unit: &[u8]) -> Vec<u8> {
    let (mut marked, mut identity) = (Vec::with_capacity(access_unit.len()), None);
    for nal in nals(access_unit) {
        match sei_body(nal.bytes) {
            Some(body) => identity = Some(body),
            None => {
                marked.extend_from_slice(&START_CODE);
                marked.extend_from_slice(nal.bytes);
            }
        }
    }
    if let Some(body) = identity {
        marked.extend_from_slice(&START_CODE);
        marked.push(NAL_IDENTITY);
        escape(TAG.into_iter().chain(body).chain([TRAILING]), &mut marked);
    }
    marked
}

/// The identity's body, with its tail, in an SEI message; `None` for any other unit.
fn sei_body(nal: &[u8]) -> Option<Vec<u8>> {
    let (header, escaped) = nal.split_first()?;
    if header & NAL_TYPE_MASK != NAL_SEI || escaped.len() > IDENTITY_LEN_MAX + SEI_UUID.len() {
        return None;
    }
    let raw = unescape(escaped);
    let rest = raw.strip_prefix(&[SEI_USER_DATA_UNREGISTERED])?;
    let more = rest.iter().take_while(|byte| **byte == 255).count();
    let len = more * 255 + usize::from(*rest.get(more)?);
    let (content, trailing) = rest.get(more + 1..)?.split_at_checked(len)?;
    (trailing == [TRAILING]).then(|| content.strip_prefix(&SEI_UUID).map(<[u8]>::to_vec)).flatten()
}

/// The last NAL unit, searched from the end in the bytes that an identity may have. `None` when the last unit is
/// longer.
fn last_nal(access_unit: &[u8]) -> Option<&[u8]> {
    let access_unit = without_zeros(access_unit);
    let tail = &access_unit[access_unit.len().saturating_sub(IDENTITY_LEN_MAX + 3)..];
    let begin = tail.windows(3).rposition(|bytes| bytes == [0, 0, 1])?;
    tail.get(begin + 3..)
}

/// The body of an identity NAL unit, with its tail; `None` for any other unit.
fn body(nal: &[u8]) -> Option<Vec<u8>> {
    let (header, escaped) = nal.split_first()?;
    if *header != NAL_IDENTITY || escaped.len() > IDENTITY_LEN_MAX || !escaped.starts_with(&TAG) {
        return None;
    }
    let mut raw = unescape(&escaped[TAG.len()..]);
    (raw.pop() == Some(TRAILING)).then_some(raw)
}

/// Appends bytes with emulation prevention (H.264, 7.4.1.1).
fn escape(raw: impl Iterator<Item = u8>, out: &mut Vec<u8>) {
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
