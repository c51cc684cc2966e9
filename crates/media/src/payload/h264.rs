//! H.264 payload format of RFC 6184, as far as packetization-mode 1 needs it: single NAL units, STAP-A and
//! FU-A.
//!
//! Small NAL units in a row are aggregated in one STAP-A: a small slice with the frame identity, or the
//! parameter sets before an IDR picture. A NAL unit larger than a payload is fragmented
//! into parts of about equal length.

use bytes::{BufMut, Bytes, BytesMut};
use plenary_proto::identity::h264::nals;

use super::{ACCESS_UNIT_LEN_MAX, PAYLOAD_LEN_MAX, PayloadError};

const KIND_MASK: u8 = 0x1f;
const FORBIDDEN_BIT: u8 = 0x80;
const IMPORTANCE_MASK: u8 = 0x60; // nal_ref_idc
const KIND_SLICES: std::ops::RangeInclusive<u8> = 1..=5;
const KIND_SPS: u8 = 7;
const KIND_FILLER: u8 = 12;
const KIND_STAP_A: u8 = 24;
const KIND_FU_A: u8 = 28;
const FU_START: u8 = 0x80;
const FU_END: u8 = 0x40;
const START_CODE: [u8; 4] = [0, 0, 0, 1];
/// Length in bytes of the size field in front of each NAL unit in a STAP-A.
const SIZE_LEN: usize = 2;
/// Length in bytes of FU indicator and FU header.
const FU_HEADER_LEN: usize = 2;

/// Whether a NAL unit type is a plain unit; the other types are packet types or undefined.
fn is_plain(kind: u8) -> bool {
    (1..=23).contains(&kind)
}

/// Splits an access unit in Annex B form into at least one payload. All payloads share one allocation.
pub(super) fn split(access_unit: &[u8]) -> Result<Vec<Bytes>, PayloadError> {
    if access_unit.len() > ACCESS_UNIT_LEN_MAX {
        return Err(PayloadError::TooLong { len: access_unit.len(), len_max: ACCESS_UNIT_LEN_MAX });
    }
    // fragment headers add 2 bytes in 1140; size fields are shorter than the start codes that they replace
    let mut writer = Writer {
        buffer: BytesMut::with_capacity(access_unit.len() + access_unit.len() / 256 + 64),
        payloads: Vec::with_capacity(access_unit.len() / PAYLOAD_LEN_MAX + 2),
    };
    let mut together: Vec<&[u8]> = Vec::new();
    let mut together_len = 1;
    for nal in nals(access_unit).filter(|nal| !nal.bytes.is_empty()) {
        if !is_plain(nal.kind()) {
            return Err(PayloadError::NalKind { kind: nal.kind() });
        }
        let len = SIZE_LEN + nal.bytes.len();
        if together_len + len > PAYLOAD_LEN_MAX {
            writer.aggregate(&together);
            together.clear();
            together_len = 1;
        }
        if nal.bytes.len() > PAYLOAD_LEN_MAX {
            writer.fragments(nal.bytes);
        } else {
            together.push(nal.bytes);
            together_len += len;
        }
    }
    writer.aggregate(&together);
    if writer.payloads.is_empty() { Err(PayloadError::Empty) } else { Ok(writer.payloads) }
}

struct Writer {
    buffer: BytesMut,
    payloads: Vec<Bytes>,
}

impl Writer {
    /// Writes one NAL unit unchanged, several as a STAP-A.
    fn aggregate(&mut self, nals: &[&[u8]]) {
        match nals {
            [] => return,
            [nal] => self.buffer.put_slice(nal),
            _ => {
                // RFC 6184, 5.3: the F bit if any unit has it, and the highest nal_ref_idc of the units
                let forbidden = nals.iter().fold(0, |bits, nal| bits | nal[0] & FORBIDDEN_BIT);
                let importance = nals.iter().map(|nal| nal[0] & IMPORTANCE_MASK).max().unwrap_or(0);
                self.buffer.put_u8(forbidden | importance | KIND_STAP_A);
                for nal in nals {
                    self.buffer.put_u16(nal.len() as u16); // fits: shorter than a payload
                    self.buffer.put_slice(nal);
                }
            }
        }
        self.end_payload();
    }

    fn fragments(&mut self, nal: &[u8]) {
        let (header, body) = (nal[0], &nal[1..]);
        let count = body.len().div_ceil(PAYLOAD_LEN_MAX - FU_HEADER_LEN);
        let fragments = body.chunks(body.len().div_ceil(count));
        let last = fragments.len() - 1;
        for (index, fragment) in fragments.enumerate() {
            let start = if index == 0 { FU_START } else { 0 };
            let end = if index == last { FU_END } else { 0 };
            self.buffer.put_u8(header & !KIND_MASK | KIND_FU_A);
            self.buffer.put_u8(start | end | header & KIND_MASK);
            self.buffer.put_slice(fragment);
            self.end_payload();
        }
    }

    fn end_payload(&mut self) {
        self.payloads.push(self.buffer.split().freeze());
    }
}

/// Joins all payloads of an access unit, in order, to Annex B form with start codes of four bytes.
///
/// Returns `None` when payloads are truncated or missing, or not in packetization-mode 1.
pub(crate) fn join<'a>(payloads: impl Iterator<Item = &'a [u8]> + Clone) -> Option<Bytes> {
    let room: usize = payloads.clone().map(|payload| payload.len() + START_CODE.len()).sum();
    let mut access_unit = Vec::with_capacity(room);
    let mut fragmented = None; // type of the NAL unit whose fragments are being joined
    for payload in payloads {
        let (&header, body) = payload.split_first()?;
        let kind = header & KIND_MASK;
        if fragmented.is_some() && kind != KIND_FU_A {
            return None;
        }
        match kind {
            KIND_STAP_A => {
                for nal in aggregated(body) {
                    append(nal.filter(|nal| is_plain(nal[0] & KIND_MASK))?, &mut access_unit);
                }
            }
            KIND_FU_A => {
                let (&fu, fragment) = body.split_first()?;
                let kind = fu & KIND_MASK;
                if fu & FU_START != 0 {
                    if fragmented.is_some() || !is_plain(kind) {
                        return None;
                    }
                    append(&[header & !KIND_MASK | kind], &mut access_unit);
                } else if fragmented != Some(kind) {
                    return None;
                }
                access_unit.extend_from_slice(fragment);
                fragmented = (fu & FU_END == 0).then_some(kind);
            }
            kind if is_plain(kind) => append(payload, &mut access_unit),
            _ => return None,
        }
    }
    (fragmented.is_none() && !access_unit.is_empty()).then(|| access_unit.into())
}

/// Whether a receiver can start at this payload: it contains a sequence parameter set, the first NAL unit of
/// a keyframe.
pub(crate) fn starts_key(payload: &[u8]) -> bool {
    let Some((&header, body)) = payload.split_first() else { return false };
    match header & KIND_MASK {
        KIND_SPS => true,
        KIND_STAP_A => aggregated(body).flatten().any(|nal| nal[0] & KIND_MASK == KIND_SPS),
        _ => false,
    }
}

/// Payload that a relay sends in place of each payload of a thinned picture: filler data (H.264 7.3.2.7),
/// with only the NAL unit header. See PROTOCOL 10.6.
pub const LEFT_OUT: &[u8] = &[KIND_FILLER];

pub(crate) fn is_left_out(payload: &[u8]) -> bool {
    payload == LEFT_OUT
}

/// Whether a relay may thin this payload out: all its slices have nal_ref_idc 0, so no other picture
/// references them, or the payload was thinned already. False for unreadable payloads.
pub fn is_spare(payload: &[u8]) -> bool {
    let Some((&header, body)) = payload.split_first() else { return false };
    let unimportant = header & IMPORTANCE_MASK == 0;
    match header & KIND_MASK {
        KIND_STAP_A => {
            let mut slices = aggregated(body).flatten().filter(|nal| is_slice(nal[0])).peekable();
            slices.peek().is_some() && slices.all(|nal| nal[0] & IMPORTANCE_MASK == 0)
        }
        KIND_FU_A => unimportant && body.first().is_some_and(|&fu| is_slice(fu)),
        _ if is_slice(header) => unimportant,
        _ => is_left_out(payload),
    }
}

fn is_slice(header: u8) -> bool {
    KIND_SLICES.contains(&(header & KIND_MASK))
}

fn append(nal: &[u8], access_unit: &mut Vec<u8>) {
    access_unit.extend_from_slice(&START_CODE);
    access_unit.extend_from_slice(nal);
}

/// Iterates over the NAL units of a STAP-A after its header, none of them empty; yields `None` for a
/// truncated unit.
fn aggregated(mut body: &[u8]) -> impl Iterator<Item = Option<&[u8]>> {
    std::iter::from_fn(move || {
        if body.is_empty() {
            return None;
        }
        let nal = body.split_first_chunk::<SIZE_LEN>().and_then(|(size, rest)| {
            let (nal, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*size)))?;
            body = rest;
            (!nal.is_empty()).then_some(nal)
        });
        if nal.is_none() {
            body = &[];
        }
        Some(nal)
    })
}
