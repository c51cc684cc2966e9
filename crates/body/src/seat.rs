//! Names of speakers' pictures: a speaker may send two.

use plenary_proto::{PeerId, StreamKind, StreamSpec};

/// A picture of a speaker: of its own stream, or of the second stream beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Seat {
    /// The speaker.
    pub(crate) peer: PeerId,
    /// Whether it is the picture beside the speaker's own stream.
    pub(crate) beside: bool,
}

impl From<&PeerId> for Seat {
    /// Returns the picture of the speaker's own stream.
    fn from(peer: &PeerId) -> Seat {
        Seat { peer: *peer, beside: false }
    }
}

impl Seat {
    /// Returns the picture beside the speaker's own stream.
    pub(crate) fn beside(peer: &PeerId) -> Seat {
        Seat { peer: *peer, beside: true }
    }

    /// Returns the picture of a stream; `None` for a stream that isn't a speaker's.
    pub(crate) fn of(spec: &StreamSpec) -> Option<Seat> {
        match spec.kind {
            StreamKind::Speaker | StreamKind::Share => Some(Seat::from(&spec.maker)),
            StreamKind::Beside => Some(Seat::beside(&spec.maker)),
            StreamKind::Program | StreamKind::MixMinus => None,
        }
    }

    /// Returns the mixer's identifier of the picture's input.
    pub(crate) fn input_id(&self) -> u64 {
        let id = u64::from_be_bytes(self.peer.short().0);
        if self.beside { !id } else { id }
    }
}
