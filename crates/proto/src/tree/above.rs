//! A peer above this one in the tree, and how long it may take to deliver.

use crate::bounded::List;
use crate::id::PeerId;
use crate::message::{PATH_LEN_MAX, Path, Whereabouts};
use crate::time::{MS, SECOND, Time};

/// Time after which a peer that was requested to feed and hasn't even answered with its path may be dead:
/// another place is sought beside it. Most round trips are shorter.
const DEAF_US: u64 = 200 * MS;
/// Time after which a peer that isn't linked yet may never be, since some NATs admit only peers that were
/// contacted from inside: another place is sought beside it. Through a rendezvous between continents a link
/// takes less than a second.
const UNLINKED_US: u64 = 1_500 * MS;
/// Timeout after which a linked peer that was requested to feed and hasn't is given up: SCTP repeats a lost
/// request after one second at the earliest (RFC 9260, 16), plus some round trips.
const FEED_US_MAX: u64 = 1_500 * MS;
/// The same timeout while the peer isn't linked yet, or while the old parent still feeds this peer: an
/// elected mixer may take a while to begin.
pub(super) const PATIENCE_US_MAX: u64 = 6 * SECOND;

/// A peer above this one: its parent, its backup, or the peer requested to feed it next.
#[derive(Clone, Debug)]
pub(super) struct Up {
    pub(super) peer: PeerId,
    /// Its path, itself included.
    pub(super) path: Path,
    /// Ids of the peers in its path that the search asked on its way down.
    pub(super) above: List<PeerId, PATH_LEN_MAX>,
    /// Its round trips to landmarks and how late the program leaves it, as it last reported.
    pub(super) whereabouts: Option<Whereabouts>,
    /// When it accepted this peer, or was requested to feed.
    pub(super) since: Time,
    pub(super) feed: Feed,
}

/// Progress of a feed that a peer above provides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Feed {
    /// The peer has accepted this one as child or backup; no `Feed` was sent.
    Accepted,
    /// The peer is linked, and was sent `Feed`.
    Requested,
    /// The peer has answered `Feed` with a path: it receives a program.
    Answered,
    /// The peer has answered `Feed` with an empty path: it lives without a program.
    Unfed,
}

impl Up {
    /// Creates the entry of a peer that has accepted this peer.
    pub(super) fn accepted(
        peer: PeerId,
        path: Path,
        above: List<PeerId, PATH_LEN_MAX>,
        whereabouts: Whereabouts,
        now: Time,
    ) -> Up {
        let whereabouts = Some(whereabouts);
        Up { peer, path, above, whereabouts, since: now, feed: Feed::Accepted }
    }

    /// Returns whether it was requested to feed.
    pub(super) fn is_asked(&self) -> bool {
        self.feed != Feed::Accepted
    }

    /// Takes its answer to the request, if it was requested to feed.
    pub(super) fn answers(&mut self, has_program: bool) {
        if self.is_asked() {
            self.feed = if has_program { Feed::Answered } else { Feed::Unfed };
        }
    }

    /// Returns how long to wait for its first packets; `fed`: another parent feeds this peer meanwhile.
    pub(super) fn patience_us(&self, fed: bool) -> u64 {
        if fed || !self.is_asked() { PATIENCE_US_MAX } else { FEED_US_MAX }
    }

    /// Returns whether this linked peer was requested to feed, and may still answer.
    pub(super) fn may_answer(&self) -> bool {
        self.feed == Feed::Requested
    }

    /// Returns when this peer starts to search for another place beside the silent one; `None` once the
    /// request is answered.
    pub(super) fn deaf_at(&self) -> Option<Time> {
        match self.feed {
            Feed::Accepted => Some(self.since + UNLINKED_US),
            Feed::Requested | Feed::Unfed => Some(self.since + DEAF_US),
            Feed::Answered => None,
        }
    }
}
