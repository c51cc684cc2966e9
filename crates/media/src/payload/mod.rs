//! RTP payload format: H.264 by RFC 6184 (packetization-mode 1), Opus by RFC 7587.
//!
//! The sender calls [`packetize`] once per frame and numbers the resulting payloads; the receiver rebuilds
//! the frames with [`Assembler`](crate::assembly::Assembler). All NAL units of an access unit are kept, in
//! their order, under one timestamp; only the last payload carries the marker.
//!
//! The payloader of `rtc-rtp` is not used, for two reasons. Its depacketizer indexes past the end of a
//! truncated STAP-A, and has no size limit. Its packetizer drops access unit delimiters, which the signed
//! hashes of frames cover, and takes 12 µs for a program frame (720p, 1.5 Mbit/s) where this one takes 3.
//! Both make 7.0 packets of such a frame: the identity needs a packet of its own behind a fragmented
//! slice; this packetizer aggregates it with a small slice.
//!
//! Packetization is deterministic, and part of the protocol: a peer below a browser gets whole frames, and makes the
//! originator's packets of them again.

pub(crate) mod h264;

use bytes::Bytes;
pub use h264::{LEFT_OUT, is_spare};
use plenary_proto::identity::MediaKind;

use crate::Frame;

/// Longest UDP payload in bytes: the size that browsers send. IPv6's minimum MTU of 1280 leaves 1232 bytes
/// after the IPv6 and UDP headers; the other 32 have room for TURN's channel header of 4 bytes (RFC 8656).
const DATAGRAM_LEN_MAX: usize = 1200;
/// Length of RTP's fixed header in bytes (RFC 3550).
const RTP_HEADER_LEN: usize = 12;
/// Length of the header extension block in bytes (RFC 8285, one-byte form), padded to 4-byte words: 4 for its
/// own header, 15 packet identity, 3 transport-wide sequence number, 3 mid of two characters.
const EXTENSIONS_LEN: usize = (4 + 15 + 3 + 3_usize).next_multiple_of(4);
/// Authentication tag of AEAD_AES_128_GCM in bytes (RFC 7714); the older suites have a shorter tag.
const SRTP_TAG_LEN: usize = 16;
/// Original sequence number in front of a retransmitted payload, in bytes (RFC 4588).
const RETRANSMISSION_LEN: usize = 2;

/// Longest payload in bytes: 1142, so that no datagram exceeds 1200 bytes.
pub const PAYLOAD_LEN_MAX: usize =
    DATAGRAM_LEN_MAX - RTP_HEADER_LEN - EXTENSIONS_LEN - SRTP_TAG_LEN - RETRANSMISSION_LEN;
/// Longest access unit in bytes: about 920 payloads, less than half the capacity of an assembler. A guess: a
/// keyframe of 1080p at 3 Mbit/s has about 100 kB.
pub const ACCESS_UNIT_LEN_MAX: usize = 1 << 20;

/// Payload of one RTP packet. The sender adds sequence number, packet number and SSRC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// Payload bytes, at most [`PAYLOAD_LEN_MAX`].
    pub bytes: Bytes,
    /// RTP timestamp of the frame; see [`timestamp`].
    pub timestamp: u32,
    /// Whether this is the last payload of an access unit. Never set for sound.
    pub marker: bool,
    /// Whether this is the first payload of its frame.
    pub frame_start: bool,
    /// Whether this is the first payload of a keyframe, from which a receiver can start.
    pub key_start: bool,
}

/// Reason why a frame can't be packetized.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    /// The access unit exceeds [`ACCESS_UNIT_LEN_MAX`], or the sound packet [`PAYLOAD_LEN_MAX`].
    #[error("a frame of {len} bytes is longer than {len_max}")]
    TooLong {
        /// Length of the frame in bytes.
        len: usize,
        /// Maximum length in bytes.
        len_max: usize,
    },
    /// The frame is empty: no NAL unit, or a sound packet without bytes.
    #[error("the frame is empty")]
    Empty,
    /// A NAL unit has a type that RFC 6184 reserves for packets, or that is undefined.
    #[error("a NAL unit of type {kind} has no place in a payload")]
    NalKind {
        /// The unit's nal_unit_type: 0, or 24 to 31.
        kind: u8,
    },
}

/// Splits a frame, with its identity embedded, into payloads.
///
/// # Errors
/// [`PayloadError`]; the sender then drops the whole frame.
pub fn packetize(frame: &Frame) -> Result<Vec<Payload>, PayloadError> {
    let pieces = match frame.kind {
        MediaKind::Video => h264::split(&frame.data)?,
        MediaKind::Sound => vec![sound(&frame.data)?],
    };
    let timestamp = timestamp(frame.kind, frame.identity.captured_us);
    let last = pieces.len() - 1;
    let payloads = pieces.into_iter().enumerate().map(|(index, bytes)| Payload {
        bytes,
        timestamp,
        marker: frame.kind == MediaKind::Video && index == last,
        frame_start: index == 0,
        key_start: frame.identity.key && index == 0,
    });
    Ok(payloads.collect())
}

/// RTP timestamp of a capture time: 90 kHz for video, 48 kHz for sound, from the same zero as `captured_us`,
/// rounded down, wrapping. It depends on the frame's identity alone, so it is equal on every hop.
pub fn timestamp(kind: MediaKind, captured_us: u64) -> u32 {
    let rate = match kind {
        MediaKind::Video => 90_000,
        MediaKind::Sound => u128::from(crate::SAMPLE_RATE),
    };
    (u128::from(captured_us) * rate / 1_000_000) as u32
}

fn sound(packet: &Bytes) -> Result<Bytes, PayloadError> {
    match packet.len() {
        0 => Err(PayloadError::Empty),
        len if len > PAYLOAD_LEN_MAX => Err(PayloadError::TooLong { len, len_max: PAYLOAD_LEN_MAX }),
        _ => Ok(packet.clone()),
    }
}

#[cfg(test)]
mod tests;
