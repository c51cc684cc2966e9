//! Frames that an application encodes itself: checked before anything is sent, since peers that can't decode them
//! say nothing, and ask for keyframes.
//!
//! What H.264 says here holds for bytes of any encoder: slices and their types (7.3.3), parameter sets (7.4.1.2.1).
//! Opus packets say their duration in their first two bytes (RFC 6716, 3.1 and 3.2).

use std::sync::Mutex;

use plenary_proto::identity::h264::nals;

use crate::payload::{ACCESS_UNIT_LEN_MAX, PAYLOAD_LEN_MAX};
use crate::raw::{TimeError, check_time};
use crate::record::opus_duration_us;
use crate::sps::{Bits, coded_pixels};
use crate::{Clock, SOUND_FRAME_US};

/// NAL unit types: slices of a picture, of a keyframe, and the parameter sets.
const SLICE: u8 = 1;
const SLICE_KEY: u8 = 5;
const SPS: u8 = 7;
const PPS: u8 = 8;
/// Data partitions, of the extended profile, which browsers don't decode.
const PARTITIONS: std::ops::RangeInclusive<u8> = 2..=4;
/// NAL unit types that an access unit may have; the others are of packets, or undefined (RFC 6184, 5.2).
const NALS: std::ops::RangeInclusive<u8> = 1..=23;
/// Bit of a NAL unit's header that is always 0.
const FORBIDDEN_BIT: u8 = 0x80;
/// slice_type of B slices. Pictures made of one slice type add 5 to each number.
const SLICE_TYPE_B: u32 = 1;
const SLICE_TYPES: u32 = 5;
/// Longest Opus packet that an application hands over. Identity and seal add 300 bytes at most, and one network packet
/// must hold everything. Enough for 300 kbit/s.
const PACKET_LEN_MAX: usize = PAYLOAD_LEN_MAX - 300;
/// Reason for which an encoded picture or packet was refused; nothing was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodedError {
    /// The track has no picture, or no sound.
    #[error("the track has no {what}")]
    NotOfTrack {
        /// Picture or sound.
        what: &'static str,
    },
    /// The application handed over zero bytes.
    #[error("a {what} without bytes")]
    Empty {
        /// Picture or sound.
        what: &'static str,
    },
    /// The frame exceeds the maximum length.
    #[error("a {what} of {len} bytes is longer than {len_max}")]
    TooLong {
        /// Picture or sound.
        what: &'static str,
        /// Length in bytes.
        len: usize,
        /// Maximum length in bytes.
        len_max: usize,
    },
    /// The bytes don't begin with a start code, as with the lengths of MP4 in place of start codes (AVCC).
    #[error("no H.264 in Annex B format: the bytes don't begin with a start code")]
    NotAnnexB,
    /// A NAL unit has a type that no access unit has, or a broken header.
    #[error("a NAL unit with header {header:#04x} has no place in an access unit")]
    NalUnit {
        /// First byte of the unit.
        header: u8,
    },
    /// The unit contains no slice. Parameter sets belong into the access unit of their keyframe.
    #[error("an access unit without a picture's slices")]
    NoSlice,
    /// The unit contains several pictures.
    #[error("more than one picture in one access unit")]
    SeveralPictures,
    /// The header of a slice can't be read.
    #[error("a slice with a broken header")]
    BrokenSlice,
    /// The picture is a B picture, which refers to a later one: receivers decode pictures in the order of capture.
    /// Encoders must be told to make none (x264: `bframes=0`).
    #[error("a B picture: the encoder must make none")]
    BPicture,
    /// The picture is said to be a keyframe, and isn't an IDR picture, or the other way round.
    #[error("said to be {}, and its slices say otherwise", if *key { "a keyframe" } else { "no keyframe" })]
    KeyContradicts {
        /// What the application says.
        key: bool,
    },
    /// A keyframe lacks its parameter sets: a receiver that begins there can't decode it.
    #[error("a keyframe without its sequence and picture parameter sets")]
    NoParameterSets,
    /// The sequence parameter set of a keyframe can't be read.
    #[error("a keyframe with a broken sequence parameter set")]
    BrokenParameterSet,
    /// The bytes are no Opus packet.
    #[error("no Opus packet")]
    NotOpus,
    /// The packet's duration isn't 20 ms.
    #[error("an Opus packet of {duration_us} µs, and not of {SOUND_FRAME_US} µs")]
    Duration {
        /// Duration in microseconds.
        duration_us: u64,
    },
    /// The capture time is wrong.
    #[error(transparent)]
    Time(#[from] TimeError),
}

/// Checks what an application hands over for one track.
#[derive(Debug)]
pub struct EncodedChecks {
    clock: Clock,
    /// Capture time of the newest picture, and of the newest packet of sound.
    before_us: [Mutex<Option<u64>>; 2],
}

impl EncodedChecks {
    /// Creates the checks of a track whose capture times are of that clock.
    pub fn new(clock: Clock) -> EncodedChecks {
        EncodedChecks { clock, before_us: Default::default() }
    }

    /// Checks a picture, and calls `send` if it may be sent. Pictures of several threads are sent in the order of their
    /// capture times.
    ///
    /// # Errors
    /// [`EncodedError`]; then it wasn't called.
    pub fn picture(
        &self,
        access_unit: &[u8],
        key: bool,
        captured_us: u64,
        send: impl FnOnce(),
    ) -> Result<(), EncodedError> {
        check_access_unit(access_unit, key)?;
        self.in_time("picture", 0, captured_us, send)
    }

    /// Checks a packet of sound; as [`picture`](Self::picture).
    ///
    /// # Errors
    /// [`EncodedError`].
    pub fn sound(&self, packet: &[u8], captured_us: u64, send: impl FnOnce()) -> Result<(), EncodedError> {
        check_packet(packet)?;
        self.in_time("sound", 1, captured_us, send)
    }

    fn in_time(
        &self,
        what: &'static str,
        lane: usize,
        captured_us: u64,
        send: impl FnOnce(),
    ) -> Result<(), EncodedError> {
        let mut before_us = self.before_us[lane].lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        check_time(what, captured_us, *before_us, self.clock.now_us())?;
        *before_us = Some(captured_us);
        send();
        Ok(())
    }
}

fn check_access_unit(access_unit: &[u8], key: bool) -> Result<(), EncodedError> {
    let len = access_unit.len();
    if len == 0 {
        return Err(EncodedError::Empty { what: "picture" });
    }
    if len > ACCESS_UNIT_LEN_MAX {
        return Err(EncodedError::TooLong { what: "picture", len, len_max: ACCESS_UNIT_LEN_MAX });
    }
    if nals(access_unit).next().is_none_or(|nal| nal.offset > 0) {
        return Err(EncodedError::NotAnnexB);
    }
    let (mut begins, mut slices, mut idr, mut sets) = (0, 0, false, [false; 2]);
    for nal in nals(access_unit) {
        let header = nal.bytes.first().copied().unwrap_or_default();
        let kind = nal.kind();
        if !NALS.contains(&kind) || PARTITIONS.contains(&kind) || header & FORBIDDEN_BIT != 0 {
            return Err(EncodedError::NalUnit { header });
        }
        match kind {
            SLICE | SLICE_KEY => {
                let (first, slice_type) = Bits::of(nal.bytes).slice().ok_or(EncodedError::BrokenSlice)?;
                if slice_type % SLICE_TYPES == SLICE_TYPE_B {
                    return Err(EncodedError::BPicture);
                }
                slices += 1;
                begins += usize::from(first == 0);
                idr |= kind == SLICE_KEY;
            }
            SPS => sets[0] = true,
            PPS => sets[1] = true,
            _ => {}
        }
    }
    match (slices, begins) {
        (0, _) => return Err(EncodedError::NoSlice),
        (_, 2..) => return Err(EncodedError::SeveralPictures),
        _ => {}
    }
    if idr != key {
        return Err(EncodedError::KeyContradicts { key });
    }
    if key && sets != [true; 2] {
        return Err(EncodedError::NoParameterSets);
    }
    if key && coded_pixels(access_unit) == Some(u64::MAX) {
        return Err(EncodedError::BrokenParameterSet);
    }
    Ok(())
}

fn check_packet(packet: &[u8]) -> Result<(), EncodedError> {
    let len = packet.len();
    if len == 0 {
        return Err(EncodedError::Empty { what: "sound" });
    }
    if len > PACKET_LEN_MAX {
        return Err(EncodedError::TooLong { what: "sound", len, len_max: PACKET_LEN_MAX });
    }
    match opus_duration_us(packet).ok_or(EncodedError::NotOpus)? {
        duration_us if duration_us.unsigned_abs() == SOUND_FRAME_US => Ok(()),
        duration_us => Err(EncodedError::Duration { duration_us: duration_us.unsigned_abs() }),
    }
}
