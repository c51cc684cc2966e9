//! Encoded frame with its identity.

use bytes::Bytes;
use plenary_proto::identity::{FrameIdentity, MediaKind};

/// One access unit of H.264, or one Opus packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Picture or sound.
    pub kind: MediaKind,
    /// Stream, number and capture time of the frame. Also embedded in `data`, except in sound packets of 1 or
    /// 2 bytes.
    pub identity: FrameIdentity,
    /// An access unit in Annex B form, with parameter sets before each keyframe, or an Opus packet.
    pub data: Bytes,
    /// Sound level in −dBov as the sender measured it (RFC 6464). `None` for pictures, and for sound sent
    /// without a level. Travels in an RTP header extension, not in `data`.
    pub level: Option<u8>,
}
