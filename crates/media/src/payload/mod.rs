//! Frames cut into RTP payloads: H.264 by RFC 6184 (packetization-mode 1), Opus by RFC 7587.
//!
//! Whoever makes a stream calls [`packetize`] once per frame and numbers what comes out; whoever receives it
//! puts frames together again with [`Assembler`](crate::assembly::Assembler). An access unit keeps all its NAL
//! units, in their order, under one timestamp, and the marker stands on its last payload alone.
//!
//! Why not the payloader of `rtc-rtp`: its reader indexes past the end of a STAP-A that is cut off, and has no
//! bound; its writer drops access unit delimiters, which the signed hashes of frames cover, and takes 12 µs for
//! a program frame (720p, 1.5 Mbit/s) where this takes 3. Both make 7.0 packets of it: in front of a slice that
//! must be cut, the identity needs a packet of its own; with a small one it rides along here.

pub(crate) mod h264;

use bytes::Bytes;
pub use h264::{LEFT_OUT, is_spare};
use plenary_proto::identity::MediaKind;

use crate::Frame;

/// Longest UDP payload, bytes: what browsers send. IPv6's least MTU of 1280 leaves 1232 behind its own and
/// UDP's header; the 32 over take TURN's channel header of 4 (RFC 8656).
const DATAGRAM_LEN_MAX: usize = 1200;
/// RTP's fixed header (RFC 3550).
const RTP_HEADER_LEN: usize = 12;
/// The extension block (RFC 8285, one-byte form), padded to words: 4 of its own, 15 packet identity, 3
/// transport-wide number, 3 mid of two characters.
const EXTENSIONS_LEN: usize = (4 + 15 + 3 + 3_usize).next_multiple_of(4);
/// Authentication tag of AEAD_AES_128_GCM (RFC 7714); the older suites' is shorter.
const SRTP_TAG_LEN: usize = 16;
/// The original sequence number in front of a retransmitted payload (RFC 4588).
const RETRANSMISSION_LEN: usize = 2;

/// Longest payload, bytes: 1142, so that no datagram is longer than 1200.
pub const PAYLOAD_LEN_MAX: usize =
    DATAGRAM_LEN_MAX - RTP_HEADER_LEN - EXTENSIONS_LEN - SRTP_TAG_LEN - RETRANSMISSION_LEN;
/// Longest access unit, bytes: about 920 payloads, less than half of what an assembler holds. A guess: a key
/// frame of 1080p at 3 Mbit/s has some 100 kB.
pub const ACCESS_UNIT_LEN_MAX: usize = 1 << 20;

/// The payload of one RTP packet. Its sequence number, packet number and SSRC are the sender's business.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// At most [`PAYLOAD_LEN_MAX`].
    pub bytes: Bytes,
    /// RTP time of the frame; see [`timestamp`].
    pub timestamp: u32,
    /// The last payload of an access unit. Never set for sound.
    pub marker: bool,
    /// The first payload of its frame.
    pub frame_start: bool,
    /// The first payload of a key frame: where a reader can begin.
    pub key_start: bool,
}

/// Why a frame can't be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    /// Longer than [`ACCESS_UNIT_LEN_MAX`], or a sound packet longer than [`PAYLOAD_LEN_MAX`].
    #[error("a frame of {len} bytes is longer than {len_max}")]
    TooLong {
        /// Bytes of the frame.
        len: usize,
        /// Bytes it may have.
        len_max: usize,
    },
    /// Nothing in it: no start code, or a sound packet without bytes.
    #[error("the frame is empty")]
    Empty,
    /// A NAL unit of a type that RFC 6184 uses for packets.
    #[error("a NAL unit of type {kind} has no place in a payload")]
    NalKind {
        /// Its nal_unit_type: 0, or 24 to 31.
        kind: u8,
    },
}

/// Cuts a marked frame into payloads.
///
/// # Errors
/// [`PayloadError`]; the frame is then to be left out as a whole.
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

/// The RTP time of a capture time: 90 kHz for video, 48 kHz for sound, from the same zero as `captured_us`,
/// rounded down, wrapping. The same on every hop, since it hangs on the identity alone.
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
