//! RFC 6184, the part that packetization-mode 1 needs: single NAL units, STAP-A and FU-A.
//!
//! Neighbours that fit together share a STAP-A: the frame identity and a small slice, or the parameter sets and
//! the identity before an IDR. A NAL unit that fits no packet is cut into fragments of about equal length.

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
/// Length field in front of each NAL unit of a STAP-A.
const SIZE_LEN: usize = 2;
/// FU indicator and FU header.
const FU_HEADER_LEN: usize = 2;

/// NAL unit types that stand for themselves; the others are packet types or undefined.
fn is_plain(kind: u8) -> bool {
    (1..=23).contains(&kind)
}

/// Cuts an access unit in Annex B form into payloads, at least one. All of them share one allocation.
pub(super) fn split(access_unit: &[u8]) -> Result<Vec<Bytes>, PayloadError> {
    if access_unit.len() > ACCESS_UNIT_LEN_MAX {
        return Err(PayloadError::TooLong { len: access_unit.len(), len_max: ACCESS_UNIT_LEN_MAX });
    }
    // Fragment headers add 2 in 1140; size fields are shorter than the start codes they replace.
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
    /// One NAL unit as it is, several as a STAP-A.
    fn aggregate(&mut self, nals: &[&[u8]]) {
        match nals {
            [] => return,
            [nal] => self.buffer.put_slice(nal),
            _ => {
                // RFC 6184, 5.3: F if any has it, the highest importance of all.
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

/// Puts an access unit together from all its payloads, in order: Annex B with start codes of four bytes.
///
/// `None` when they are not whole, or not of packetization-mode 1.
pub(crate) fn join<'a>(payloads: impl Iterator<Item = &'a [u8]> + Clone) -> Option<Bytes> {
    let room: usize = payloads.clone().map(|payload| payload.len() + START_CODE.len()).sum();
    let mut access_unit = Vec::with_capacity(room);
    let mut fragmented = None; // the kind of the NAL unit that is under way
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

/// Whether a reader can begin at this payload: it has a sequence parameter set, and those come first in a key
/// frame.
pub(crate) fn starts_key(payload: &[u8]) -> bool {
    let Some((&header, body)) = payload.split_first() else { return false };
    match header & KIND_MASK {
        KIND_SPS => true,
        KIND_STAP_A => aggregated(body).flatten().any(|nal| nal[0] & KIND_MASK == KIND_SPS),
        _ => false,
    }
}

/// In place of each payload of a picture that was left out on the way: filler data (H.264 7.3.2.7), nothing but its header.
pub const LEFT_OUT: &[u8] = &[KIND_FILLER];

pub(crate) fn is_left_out(payload: &[u8]) -> bool {
    payload == LEFT_OUT
}

/// Whether a payload is of slices that say by their nal_ref_idc that no other picture needs theirs, or of a picture that was
/// left out already. False of what can't be read.
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

/// The NAL units of a STAP-A behind its header, none of them empty; `None` for what is cut off.
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
