//! What flows on the stage's links.

use serde::{Deserialize, Serialize};

use crate::id::{StreamId, StreamSpec};

/// How far a receiver has got in a stream: everything up to these packets is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resume {
    /// The stream.
    pub stream: StreamId,
    /// The newest packet of its video, 0 for none.
    pub video_packet: u64,
    /// The newest packet of its sound, 0 for none.
    pub sound_packet: u64,
}

/// Which stream flows in a slot of the link the message comes on, until another message says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamUse {
    /// The slot's number; even ones carry video, the next odd one the same stream's sound.
    pub slot: u8,
    /// The stream.
    pub spec: StreamSpec,
}

/// The picture a mixer wants of a speaker: the size of its tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VideoRequest {
    /// Pixels, even.
    pub width: u16,
    /// Pixels, even.
    pub height: u16,
    /// Frames per second.
    pub fps: u8,
    /// Bits per second.
    pub bitrate_bps: u32,
}
