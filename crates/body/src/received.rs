//! Frames for the application.

use plenary_media::Frame;
use plenary_proto::PeerId;

/// Origin of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Origin {
    /// The program: mixed, or passed through.
    Program,
    /// A speaker's own stream, sent by the speaker in a mesh, or forwarded by a mixer on request of the
    /// application (solo).
    Speaker(PeerId),
    /// Mix-minus: the sound that a mixer makes for this speaker, of all other speakers.
    MixMinus,
}

/// An encoded frame with its origin.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReceivedFrame {
    /// Origin of the frame.
    pub origin: Origin,
    /// The frame: H.264 access unit or Opus packet, with its identity.
    pub frame: Frame,
    /// Time at which the frame was handed over, microseconds since 1970 of this peer's clock. A frame is handed
    /// over as soon as it is complete, unless it is held to keep pictures and sound in step.
    pub arrived_us: u64,
    /// Number of frames of this kind that were dropped before this one, because the listener did not keep up.
    pub missed: u64,
    /// Whether the picture was received before as another mixer's. The decoder needs it for later pictures; players
    /// must not show it.
    pub catches_up: bool,
    /// Whether the frame comes beside the program, which has this speaker as well. Such a frame is neither
    /// recorded with the program nor added to its sound.
    pub beside: bool,
    /// Time at which the frame was complete.
    pub came_us: u64,
    /// Delay from capture to hand-over while frames are held to be in step, in microseconds between two clocks.
    pub plan_us: Option<i64>,
}

impl ReceivedFrame {
    /// Returns a frame to be shown, with none missed before it.
    pub fn new(origin: Origin, frame: Frame, arrived_us: u64) -> ReceivedFrame {
        ReceivedFrame {
            origin,
            frame,
            arrived_us,
            missed: 0,
            catches_up: false,
            beside: false,
            came_us: arrived_us,
            plan_us: None,
        }
    }
}
