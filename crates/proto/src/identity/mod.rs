//! Media identity: stream, frame and packet numbers that survive every hop and recording.
//!
//! RTP sequence numbers, SSRCs and timestamps belong to one leg of one link; a relay assigns new ones. The
//! identity that outlives a hop is written twice:
//!
//! - Each packet of a native leg carries a [`PacketIdentity`] in an RTP header extension.
//! - Each frame carries a [`FrameIdentity`] inside its payload, where browsers, files and foreign relays
//!   preserve it: H.264 in a NAL unit behind the picture ([`h264`]), Opus in its padding ([`opus`]).
//!
//! The maker numbers a stream's packets and frames from 1, video and audio separately. A frame says the number of
//! its first packet, and packetization is deterministic, so a peer that got the whole frame from a browser sends
//! the maker's packets again. `docs/PROTOCOL.md` has the byte tables.

pub mod h264;
pub mod opus;
mod packet;
pub mod seal;

use packet::NUMBER_LEN;
pub use packet::{PACKET_EXTENSION_URI, PacketIdentity};

use serde::{Deserialize, Serialize};

use crate::id::StreamId;

/// Encoded length of a [`FrameIdentity`], bytes.
pub const FRAME_IDENTITY_LEN: usize = 30;
const VERSION: u8 = 2;
const KEY_FLAG: u8 = 0x80;
const TEMPORAL_MASK: u8 = 0x07;

/// Media kind; each kind of a stream has its own numbering.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum MediaKind {
    /// H.264 access units.
    Video,
    /// Opus packets.
    Sound,
}

/// Identity of a frame, carried inside its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FrameIdentity {
    /// The stream.
    pub stream: StreamId,
    /// Number of the frame, counted from 1 per stream and media kind.
    pub number: u32,
    /// Capture time, microseconds of the maker's clock.
    pub captured_us: u64,
    /// Temporal layer, 0 to 7; all others depend on layer 0. 0 for audio.
    pub temporal: u8,
    /// Whether the frame is a keyframe. False for audio.
    pub key: bool,
    /// Epoch of the end-to-end key that protects the payload; 0 for a clear payload.
    pub epoch: u16,
    /// Number of the frame's first packet, 48 bits.
    pub first_packet: u64,
}

impl FrameIdentity {
    /// Identity of a clear frame that is no keyframe, in a stream whose frames have one packet each, as in sound.
    pub fn single(stream: StreamId, number: u32, captured_us: u64) -> FrameIdentity {
        let first_packet = number.into();
        FrameIdentity { stream, number, captured_us, temporal: 0, key: false, epoch: 0, first_packet }
    }

    /// Encodes version 2, 30 bytes, big endian: version, stream (8), number (4), captured_us (8), flags,
    /// epoch (2), first packet (6). The upper 16 bits of the packet number are dropped.
    pub fn to_bytes(&self) -> [u8; FRAME_IDENTITY_LEN] {
        let mut bytes = [0; FRAME_IDENTITY_LEN];
        bytes[0] = VERSION;
        bytes[1..9].copy_from_slice(&self.stream.0);
        bytes[9..13].copy_from_slice(&self.number.to_be_bytes());
        bytes[13..21].copy_from_slice(&self.captured_us.to_be_bytes());
        bytes[21] = (if self.key { KEY_FLAG } else { 0 }) | (self.temporal & TEMPORAL_MASK);
        bytes[22..24].copy_from_slice(&self.epoch.to_be_bytes());
        bytes[24..].copy_from_slice(&packet::number_to_bytes(self.first_packet));
        bytes
    }

    /// Decodes the output of [`to_bytes`](Self::to_bytes). Trailing bytes are ignored: a later minor version
    /// may append fields, as a seal ([`seal`]) does. `None` when the input is shorter or of another version.
    pub fn from_bytes(bytes: &[u8]) -> Option<FrameIdentity> {
        let (version, rest) = bytes.split_first()?;
        let (stream, rest) = rest.split_first_chunk::<8>()?;
        let (number, rest) = rest.split_first_chunk::<4>()?;
        let (captured_us, rest) = rest.split_first_chunk::<8>()?;
        let (&[flags, epoch @ ..], rest) = rest.split_first_chunk::<3>()?;
        let (first_packet, _) = rest.split_first_chunk::<NUMBER_LEN>()?;
        if *version != VERSION {
            return None;
        }
        Some(FrameIdentity {
            stream: StreamId(*stream),
            number: u32::from_be_bytes(*number),
            captured_us: u64::from_be_bytes(*captured_us),
            temporal: flags & TEMPORAL_MASK,
            key: flags & KEY_FLAG != 0,
            epoch: u16::from_be_bytes(epoch),
            first_packet: packet::number_from_bytes(*first_packet),
        })
    }
}
