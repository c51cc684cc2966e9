//! Messages of the tree: search for a place, subtree reports and moves.

use serde::{Deserialize, Serialize};
use strum::EnumCount;

use super::Signatures;
use super::access::Ticket;
use super::election::RoundTrip;
use super::stage::Resume;
use crate::bounded::List;
use crate::id::{PeerId, ShortId};
use crate::seal::{SealError, Signed};

/// The tree that carries the program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, EnumCount)]
pub enum TreeMessage {
    /// Request for a place in the tree, as a child or with the receiver as backup.
    Attach(Attach),
    /// Acceptance of an attach. The requester must be linked within 10 s.
    Accept {
        /// Purpose of the attach.
        purpose: Purpose,
        /// Path of the accepting peer, itself included.
        path: Path,
        /// Network position and program delay of the accepting peer.
        whereabouts: Whereabouts,
    },
    /// Answer to an attach by a peer without room: other places to request.
    Redirect {
        /// Purpose of the attach.
        purpose: Purpose,
        /// At most four places, best first.
        places: List<Place, PLACES_MAX>,
    },
    /// Refusal of an attach, without another place to name.
    Refused {
        /// Purpose of the attach.
        purpose: Purpose,
        /// Reason for the refusal.
        reason: Refused,
    },
    /// A child requests the program from the parent that accepted it, or activates its backup.
    Feed {
        /// The last packets that the child holds; `None` to start with the cached GOP.
        from: Option<Resume>,
    },
    /// Answer to [`TreeMessage::Feed`]: the child is fed from now on, or as soon as the program arrives here.
    Feeding {
        /// Path of the parent, itself included; empty while it receives no program.
        path: Path,
        /// Network position and program delay of the parent.
        whereabouts: Whereabouts,
    },
    /// A child ends its feed but keeps the receiver as backup.
    StopFeed,
    /// A child gives up the receiver as parent or backup.
    Detach,
    /// A parent or backup ends its relation with the receiver: neither a feed nor a reserved slot remains.
    Dismiss,
    /// A parent sends its child away, because it leaves or lacks capacity: the child moves to one of these
    /// places or searches another.
    Shed {
        /// At most four places, best first.
        places: List<Place, PLACES_MAX>,
    },
    /// A child reports the subtree below it.
    Aggregate(Aggregate),
    /// A parent announces its path, itself included.
    PathIs(Path),
    /// A peer reports its network position and its program delay to its parent and children.
    Whereabouts(Whereabouts),
    /// A parent or grandparent requests a move within the tree; the receiver moves, or forwards the request
    /// to the peer meant.
    Move {
        /// Which peer is to move, and in which direction.
        how: Move,
        /// Destinations, best first.
        places: List<Place, PLACES_MAX>,
    },
    /// The host passes a newcomer that it has admitted on to the mixer, which gives it a place if it has one.
    Newcomer {
        /// The newcomer.
        peer: PeerId,
        /// Number of children that it would feed ([`Join::place`](super::Join::place)).
        children: u8,
    },
}

impl TreeMessage {
    /// Checks the signatures in the message.
    pub(super) fn check(&self, signatures: &mut Signatures<'_>) -> Result<(), SealError> {
        match self {
            TreeMessage::Attach(attach) => signatures.shown(attach.ticket.as_ref()),
            _ => Ok(()),
        }
    }
}

/// Maximum peers on the path from a mixer to a viewer, both included.
pub const PATH_LEN_MAX: usize = 16;
/// Maximum places of a redirect.
pub const PLACES_MAX: usize = 4;
/// Number of depths in an [`Aggregate`]: the sender's own level and the levels below.
pub const DEPTHS_MAX: usize = 8;
/// Maximum landmarks: peers on stage to which every viewer measures its RTT.
pub const LANDMARKS_MAX: usize = 4;
/// RTTs of one peer to the landmarks.
pub type RoundTrips = List<RoundTrip, LANDMARKS_MAX>;

/// What a peer sends and receives, on all links together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct PeerRates {
    /// The peer.
    pub peer: ShortId,
    /// Received in the last second, bits per second of UDP payload.
    pub received_bps: u64,
    /// Sent in the last second, bits per second of UDP payload.
    pub sent_bps: u64,
    /// Number of viewers that it feeds.
    pub children: u8,
}

/// Rates of the peers from a mixer down to one peer, both included.
pub type Rates = List<PeerRates, PATH_LEN_MAX>;

/// The peers from a mixer down to one peer, both included; empty when the peer isn't fed.
pub type Path = List<ShortId, PATH_LEN_MAX>;

/// Purpose of an attach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Purpose {
    /// To be fed by the receiver.
    Parent,
    /// To have the receiver as backup: it reserves a slot, feeds at once when the parent fails, and sends
    /// heads until then.
    Backup,
}

/// Request for a place in the tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attach {
    /// Purpose of the request.
    pub purpose: Purpose,
    /// The requester's own path, itself included; empty for a newcomer.
    pub path: Path,
    /// Number of viewers below the requester.
    pub viewers_below: u32,
    /// Number of further children that the requester could feed, once it is fed itself.
    pub room: u8,
    /// Time to send one frame to all children that the requester may have, microseconds.
    pub sending_us: u32,
    /// Whether the requester is fed already and searches a better place, or searches a backup; false if it complains of
    /// the peer that the path names as its parent.
    pub fed: bool,
    /// The requester's RTTs to the landmarks; empty while unknown.
    pub round_trips: RoundTrips,
    /// Where the place may be.
    pub reach: Reach,
    /// The requester's ticket; a peer on stage needs none.
    pub ticket: Option<Signed<Ticket>>,
}

impl Attach {
    /// Returns the attach of a newcomer, which knows nothing about itself yet.
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
            ticket: None,
        }
    }
}

/// Where a place may be, given the peers that the requester can link with. Some NATs admit packets only from
/// peers that the peer behind the NAT has contacted itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reach {
    /// At the receiver or in its subtree.
    #[default]
    Anywhere,
    /// Only below the receiver: the requester failed to link with the receiver itself, but may succeed with
    /// others below.
    OnlyBelow,
    /// At the receiver itself: the requester found no other peer that has room and that it can link with.
    OnlyHere,
}

/// A peer's network position, and the program's delay there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Whereabouts {
    /// Delay at which the program leaves the peer towards its children, microseconds after it leaves a mixer;
    /// `None` when unknown.
    pub late_us: Option<u32>,
    /// The peer's RTTs to the landmarks.
    pub round_trips: RoundTrips,
}

/// A peer that may have room, and its path, along which envelopes reach it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The peer's id.
    pub peer: PeerId,
    /// Path of the peer, itself included.
    pub path: Path,
}

impl Place {
    /// Returns the place of a mixer, the top of its tree.
    pub(crate) fn of_mixer(peer: PeerId) -> Place {
        Place { peer, path: Path::truncated([peer.short()]) }
    }

    /// Returns whether the place is neither at `peer` nor below it.
    pub(crate) fn is_apart_from(&self, peer: &PeerId) -> bool {
        self.peer != *peer && !self.path.contains(&peer.short())
    }
}

/// Reason for the refusal of an attach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Refused {
    /// The requester feeds the receiver, directly or through others, or is its backup or next parent.
    Cycle,
    /// For a backup: the receiver would fail together with the requester's parent.
    SameBranch,
    /// The receiver gets no program itself.
    NotFed,
    /// No free slot here or below.
    Full,
    /// The receiver is leaving, or stepping out of the tree.
    Closed,
    /// The requester is not on stage, and has shown no valid ticket.
    NoTicket,
}

/// Summary of a peer's subtree, itself included; sent to the parent on change, at most once a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Aggregate {
    /// Number of viewers, the sender included if it views.
    pub viewers: u32,
    /// Free child slots by depth: entry 0 of the sender, entry 1 of its children, and so on; the last entry
    /// sums up all deeper levels.
    pub free: [u16; DEPTHS_MAX],
    /// Free backup reservations by depth, likewise.
    pub promises: [u16; DEPTHS_MAX],
    /// Maximum children of the sender; of a page, whose uplink no train measures, 1 at most.
    pub room: u8,
    /// Time to send one frame to that many children, microseconds.
    pub sending_us: u32,
    /// Number of levels of viewers, the sender's own included.
    pub deepest: u8,
    /// The sender's child with the highest maximum of children of its own, and that maximum.
    pub strongest: Option<(PeerId, u8)>,
    /// Number of viewers off stage that record what they receive, the sender included.
    pub recorders: u32,
}

/// Which peer is to move, and in which direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Move {
    /// The deepest viewer of the receiver's branch moves up; the peers between forward the request.
    Deepest,
    /// The receiver moves up, to its grandparent.
    Up,
    /// The receiver moves down.
    Down,
    /// A peer moves to another mixer's tree, at the same level. The request is forwarded down the largest
    /// branch that is deep enough.
    Across {
        /// Number of levels below the first tier at which the peer is; 0: the first tier.
        level: u8,
        /// Maximum viewers in the subtree that moves, the moving peer included. Applies below the first tier.
        viewers_max: u32,
    },
}

/// Degradation count of a subtree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sufferers {
    /// Number of viewers with a degraded program.
    pub suffering: u32,
    /// Number of all viewers of the subtree.
    pub viewers: u32,
}
