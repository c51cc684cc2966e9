//! Clocks of the speakers, for agents that hear each of them apart.

use serde::{Deserialize, Serialize};

use super::roster::ROSTER_MAX;
use crate::bounded::List;
use crate::id::ShortId;

/// A speaker's clock as a mixer measures it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VoiceClock {
    /// The speaker.
    pub speaker: ShortId,
    /// Added to the speaker's clock to get the mixer's, microseconds.
    pub offset_us: i64,
}

/// The clocks of all speakers that a mixer has measured.
pub type VoiceClocks = List<VoiceClock, ROSTER_MAX>;
