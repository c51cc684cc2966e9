//! Encoded frame with its identity.

use bytes::Bytes;
use plenary_proto::identity::{FrameIdentity, MediaKind, h264, opus};

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

impl Frame {
    /// Returns the bytes without the marks that plenary adds, for receivers outside it.
    ///
    /// A marked access unit ends in a NAL unit of the reserved type 23, which decoders ignore; nothing else of it
    /// differs from what the encoder made but the length of start codes, which is always 4. A marked Opus packet has
    /// padding (RFC 6716, 3.2.5), which decoders skip: without it, the packet has the form again that one or two frames
    /// have without padding. The marks are the frame's identity and the maker's seal, by which receivers recognize the
    /// stream and whatever was changed on the way. Recordings keep both. A frame without marks is returned as it is.
    pub fn plain(&self) -> Bytes {
        match self.kind {
            MediaKind::Video => self.data.slice(..h264::plain_len(&self.data)),
            MediaKind::Sound => opus::plain(&self.data).map_or_else(|| self.data.clone(), Bytes::from),
        }
    }
}
