//! Announcement and control of the media streams on the stage's links.

use serde::{Deserialize, Serialize};

use crate::id::{StreamId, StreamSpec};

/// A receiver's position in a stream, from which the sender resumes: the receiver has every packet up to
/// these numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resume {
    /// The stream.
    pub stream: StreamId,
    /// Newest video packet, 0 for none.
    pub video_packet: u64,
    /// Newest audio packet, 0 for none.
    pub sound_packet: u64,
}

/// Assignment of a stream to a slot of the link that the message arrives on, until the next assignment of
/// that slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamUse {
    /// Slot number. Even slots carry video; the following odd slot carries the same stream's audio.
    pub slot: u8,
    /// The stream.
    pub spec: StreamSpec,
}

/// Video format that a mixer requests of a speaker: the size of its tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VideoRequest {
    /// Width in pixels, even.
    pub width: u16,
    /// Height in pixels, even.
    pub height: u16,
    /// Frames per second.
    pub fps: u8,
    /// Bits per second.
    pub bitrate_bps: u32,
}

/// What a mixer requests of one of a speaker's pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PictureWanted {
    /// Requested video format.
    pub video: VideoRequest,
    /// The last packets that the mixer has of the stream with the picture; `None` to start at the next keyframe.
    pub resume: Option<Resume>,
}
