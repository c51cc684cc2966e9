//! How peers find their place in the tree, and how envelopes find their way through it.

use serde::{Deserialize, Serialize};

use super::election::RoundTrip;
use crate::bounded::List;
use crate::id::{PeerId, ShortId};
use crate::seal::ENVELOPE_LEN_MAX;

/// Most peers on the way from a mixer to a viewer, both included.
pub const PATH_LEN_MAX: usize = 16;
/// Most places of a redirect.
pub const PLACES_MAX: usize = 4;
/// How many depths below itself a relay tells its parent about.
pub const DEPTHS_MAX: usize = 8;
/// Most hops of an envelope that linked peers forward: up one path, across the stage, down another.
pub const RELAY_HOPS_MAX: usize = 2 * PATH_LEN_MAX + 4;

/// How many peers of the stage everyone measures its round trip to.
pub const LANDMARKS_MAX: usize = 4;
/// Round trips of one peer to landmarks.
pub type RoundTrips = List<RoundTrip, LANDMARKS_MAX>;

/// The peers from a mixer down to one peer, both included; empty when it isn't fed.
pub type Path = List<ShortId, PATH_LEN_MAX>;

/// What one peer wants of another in the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Purpose {
    /// To be fed.
    Parent,
    /// A promise to be fed at once when the parent fails, and heads until then.
    Backup,
}

/// Asks for a place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attach {
    /// What for.
    pub purpose: Purpose,
    /// The asker's own path, the asker included; empty for a newcomer.
    pub path: Path,
    /// Viewers below the asker.
    pub viewers_below: u32,
    /// Children that the asker could take on top of those it has, once it is fed.
    pub room: u8,
    /// How long a frame takes to all the children that it may have, microseconds.
    pub sending_us: u32,
    /// The asker is fed where it is, and looks for a better place.
    pub fed: bool,
    /// The asker's round trips to landmarks; none while it doesn't know them.
    pub round_trips: RoundTrips,
    /// Where a place may be.
    pub reach: Reach,
}

impl Attach {
    /// What somebody says who has just come, and knows nothing yet.
    pub fn newcomer() -> Attach {
        Attach {
            purpose: Purpose::Parent,
            path: Path::default(),
            viewers_below: 0,
            room: 0,
            sending_us: 0,
            fed: false,
            round_trips: RoundTrips::default(),
            reach: Reach::Anywhere,
        }
    }
}

/// Where a place may be, by whom the asker could be linked with: some NATs let nobody through but who is reached from within.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reach {
    /// At the one asked, or below it.
    #[default]
    Anywhere,
    /// The asker couldn't be linked with the one asked, but perhaps with others below it.
    OnlyBelow,
    /// The asker has found nobody else that it can be linked with, and that has room.
    OnlyHere,
}

/// Where a peer is in the network, and how late the program is there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Whereabouts {
    /// How late the program leaves it towards its children, microseconds after a mixer; `None` when it doesn't know.
    pub late_us: Option<u32>,
    /// Its round trips to landmarks.
    pub round_trips: RoundTrips,
}

/// A peer that may have room, and how to reach it from a mixer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Who.
    pub peer: PeerId,
    /// Its path, itself included.
    pub path: Path,
}

impl Place {
    /// A mixer's own place.
    pub(crate) fn of_mixer(peer: PeerId) -> Place {
        Place { peer, path: Path::truncated([peer.short()]) }
    }
}

/// Why an attach is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Refused {
    /// The refuser is fed, by whatever way, by the asker.
    Cycle,
    /// For a backup: it would fail together with the asker's parent.
    SameBranch,
    /// The refuser's own program stands still.
    NotFed,
    /// No slot here, none below.
    Full,
    /// The refuser is leaving.
    Closed,
}

/// What lies below a peer, itself included; sent up when it changes, at most once a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Aggregate {
    /// Viewers, the sender included if it is one.
    pub viewers: u32,
    /// Free slots for children by depth: of the sender, of its children, and so on; the last sums up the rest.
    pub free: [u16; DEPTHS_MAX],
    /// Free promises to backups, likewise.
    pub promises: [u16; DEPTHS_MAX],
    /// Children that the sender may have.
    pub room: u8,
    /// How long a frame takes to all of them, microseconds.
    pub sending_us: u32,
    /// Levels of viewers, the sender's own included.
    pub deepest: u8,
    /// Which of the sender's children may have most children of its own, and how many.
    pub strongest: Option<(PeerId, u8)>,
}

/// Who is to move, and where to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Move {
    /// The deepest viewer of the receiver's branch, up: passed down to it.
    Deepest,
    /// The receiver, up to its grandparent.
    Up,
    /// The receiver, down.
    Down,
    /// Whoever is so many levels below the first tier, with at most so many viewers below it, itself included: to another
    /// mixer, at its level. Passed down to the largest branch.
    Across {
        /// 0: the first tier.
        level: u8,
        /// Below the first tier.
        viewers_max: u32,
    },
}

/// A sealed envelope on its way through linked peers, along a route that its sender chose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relay {
    /// Who sealed it; where a reply goes, along the route reversed.
    pub from: PeerId,
    /// Whom it is for.
    pub to: PeerId,
    /// The peers between the two.
    pub route: List<ShortId, RELAY_HOPS_MAX>,
    /// How many of them it has passed.
    pub passed: u8,
    /// The envelope.
    pub sealed: List<u8, ENVELOPE_LEN_MAX>,
}

/// How many viewers suffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sufferers {
    /// How many.
    pub suffering: u32,
    /// Of how many.
    pub viewers: u32,
}
