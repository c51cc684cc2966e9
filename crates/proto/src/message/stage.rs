//! Announcement and control of the media streams on the stage's links.

use serde::{Deserialize, Serialize};
use strum::EnumCount;

use super::voices::VoiceClocks;
use crate::id::{PeerId, Rank, StreamId, StreamSpec};

/// Announcements of streams, and requests for streams.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, EnumCount)]
pub enum MediaMessage {
    /// Announces which stream the sender sends in a slot of the link.
    Stream(StreamUse),
    /// What the sender has forwarded of a stream since its last proven frame isn't its maker's (1.3): it was deceived.
    Recalled(StreamId),
    /// A mixer requests a speaker's stream: the mixer is the speaker's home.
    Home {
        /// Rank of the mandate under which the mixer requests it; one below the rank in force is ignored.
        rank: Rank,
        /// Requested video format.
        video: VideoRequest,
        /// The last packets that the mixer has of the speaker's present stream; `None` to start at the next
        /// keyframe.
        resume: Option<Resume>,
        /// The same of the picture beside that stream, if the roster says that the speaker sends two.
        beside: Option<PictureWanted>,
    },
    /// A mixer announces to the stage that its program has begun: the first keyframe is out.
    Started(StreamSpec),
    /// Request that a mixer forwards a speaker's own stream; it replaces an earlier request.
    SoloWanted {
        /// The speaker; `None` for none any more.
        speaker: Option<PeerId>,
    },
    /// Answer to [`MediaMessage::SoloWanted`]; sent again when the forwarding ends.
    Solo {
        /// The speaker.
        speaker: PeerId,
        /// Whether the mixer forwards the speaker's stream.
        comes: bool,
    },
    /// An agent requests that a mixer forwards each speaker's sound (true), or no more (false).
    VoicesWanted(bool),
    /// Answer to [`MediaMessage::VoicesWanted`]: whether the mixer forwards them; sent again when the forwarding ends.
    Voices(bool),
    /// The speakers' clocks as the mixer measures them, for an agent that it forwards their sound to.
    VoiceClocks(VoiceClocks),
}

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
