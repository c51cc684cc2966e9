//! One encoded frame, with its identity.

use bytes::Bytes;
use plenary_proto::identity::{FrameIdentity, MediaKind};

/// One access unit of H.264, or one Opus packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Picture or sound.
    pub kind: MediaKind,
    /// Which frame this is; also written inside `data`, except in sound packets of 1 or 2 bytes.
    pub identity: FrameIdentity,
    /// Annex B with parameter sets before each key frame, or an Opus packet.
    pub data: Bytes,
    /// How loud its maker says that it is, in −dBov (RFC 6464); `None` for pictures, and where nobody said so: it travels
    /// beside the frame, not in its bytes.
    pub level: Option<u8>,
}
