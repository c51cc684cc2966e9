//! The identity of media: which stream, which frame, which packet, on every hop and in every recording.
//!
//! RTP's own numbers belong to one leg of one link; a relay makes new ones. What outlives a hop is written
//! twice: each packet of a native leg carries a [`PacketIdentity`] in a header extension, and each frame
//! carries a [`FrameIdentity`] inside its payload, where browsers, files and foreign relays leave it alone:
//! H.264 in an SEI message ([`h264`]), Opus in its padding ([`opus`]). Streams, packets and frames are
//! numbered from 1 by their maker, video and sound apart. `docs/PROTOCOL.md` has the byte tables.

pub mod h264;
pub mod hashes;
pub mod opus;
mod packet;

pub use packet::{PACKET_EXTENSION_URI, PacketIdentity};

use serde::{Deserialize, Serialize};

use crate::id::StreamId;

/// Bytes of a written [`FrameIdentity`].
pub const FRAME_IDENTITY_LEN: usize = 24;
const VERSION: u8 = 1;
const KEY_FLAG: u8 = 0x80;
const TEMPORAL_MASK: u8 = 0x07;

/// Picture or sound: the two numberings of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum MediaKind {
    /// H.264 access units.
    Video,
    /// Opus packets.
    Sound,
}

/// What a frame says of itself, inside its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FrameIdentity {
    /// The stream it belongs to.
    pub stream: StreamId,
    /// Counts the stream's frames of this kind from 1.
    pub number: u32,
    /// When it was captured, in microseconds of its maker's clock.
    pub captured_us: u64,
    /// Temporal layer, 0 to 7; 0 is needed by all others. 0 for sound.
    pub temporal: u8,
    /// Decodable without any earlier frame. False for sound.
    pub key: bool,
    /// Which end-to-end key protects the payload; 0 when it is clear.
    pub epoch: u16,
}

impl FrameIdentity {
    /// The 24 bytes of version 1, big endian: version, stream (8), number (4), captured_us (8), flags, epoch (2).
    pub fn to_bytes(&self) -> [u8; FRAME_IDENTITY_LEN] {
        let mut bytes = [0; FRAME_IDENTITY_LEN];
        bytes[0] = VERSION;
        bytes[1..9].copy_from_slice(&self.stream.0);
        bytes[9..13].copy_from_slice(&self.number.to_be_bytes());
        bytes[13..21].copy_from_slice(&self.captured_us.to_be_bytes());
        bytes[21] = (if self.key { KEY_FLAG } else { 0 }) | (self.temporal & TEMPORAL_MASK);
        bytes[22..].copy_from_slice(&self.epoch.to_be_bytes());
        bytes
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote. Longer bodies are read too: a later minor version may
    /// append. `None` when it is shorter or of another version.
    pub fn from_bytes(bytes: &[u8]) -> Option<FrameIdentity> {
        let (version, rest) = bytes.split_first()?;
        let (stream, rest) = rest.split_first_chunk::<8>()?;
        let (number, rest) = rest.split_first_chunk::<4>()?;
        let (captured_us, rest) = rest.split_first_chunk::<8>()?;
        let (&[flags, epoch @ ..], _) = rest.split_first_chunk::<3>()?;
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
        })
    }
}
