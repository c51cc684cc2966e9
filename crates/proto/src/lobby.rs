//! Lobby: newcomers that wait until the host lets them in.

use crate::ordered::{OrderedMap, OrderedSet};

use crate::bounded::Bound;
use crate::id::PeerId;
use crate::message::Join;
use crate::time::{SECOND, Time};

/// Maximum peers that wait. Past it newcomers get no answer until others have gone. A guess.
const WAITING_MAX: usize = 64;
/// Maximum peers that were let in and have not come yet. A guess.
const LET_IN_MAX: usize = 64;
/// Time after its last request at which a peer no longer waits: joiners repeat their request every 5 s at the latest.
const GONE_US: u64 = 15 * SECOND;

/// A peer that waits in the lobby, for the host's application.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Newcomer {
    /// Its id.
    pub peer: PeerId,
    /// Its name.
    pub name: String,
    /// The newcomer only mixes, and letting it in names it.
    pub mixes: bool,
}

/// A waiting peer.
#[derive(Debug)]
struct Waiting {
    join: Join,
    seen: Time,
}

/// Waiting peers, and decisions on them.
#[derive(Debug, Default)]
pub(crate) struct Lobby {
    waiting: OrderedMap<PeerId, Waiting>,
    let_in: OrderedSet<PeerId>,
}

/// Answer to a newcomer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    LetIn,
    /// It waits; `first`: the application doesn't know yet.
    Waits {
        first: bool,
    },
    /// No more peers may wait.
    Full,
}

impl Lobby {
    /// Handles a newcomer's request.
    pub(crate) fn knock(&mut self, now: Time, peer: PeerId, join: &Join) -> Answer {
        if self.let_in.remove(&peer) {
            self.waiting.remove(&peer);
            return Answer::LetIn;
        }
        self.waiting.retain(|_, waiting| now.since(waiting.seen) < GONE_US);
        let first = !self.waiting.contains_key(&peer);
        if first && self.waiting.len() >= WAITING_MAX {
            return Answer::Full;
        }
        self.waiting.insert(peer, Waiting { join: join.clone(), seen: now });
        Answer::Waits { first }
    }

    /// Lets a peer in. Returns its request if it waits; otherwise it is let in when it comes.
    pub(crate) fn admit(&mut self, peer: PeerId) -> Option<Join> {
        if self.let_in.len() >= LET_IN_MAX {
            self.let_in.pop_first();
        }
        self.let_in.insert(peer);
        self.waiting.get(&peer).map(|waiting| waiting.join.clone())
    }

    /// Turns a waiting peer away. Returns whether it waited.
    pub(crate) fn deny(&mut self, peer: &PeerId) -> bool {
        self.let_in.remove(peer);
        self.waiting.remove(peer).is_some()
    }

    /// Returns the waiting peers, less those that have gone.
    pub(crate) fn waiting(&self, now: Time) -> impl Iterator<Item = Newcomer> {
        let here = self.waiting.iter().filter(move |(_, waiting)| now.since(waiting.seen) < GONE_US);
        here.map(|(peer, Waiting { join, .. })| Newcomer {
            peer: *peer,
            name: join.name.to_string(),
            mixes: only_mixes(join),
        })
    }

    /// Empties the lobby, and returns the peers that waited.
    pub(crate) fn end(&mut self) -> Vec<PeerId> {
        self.let_in.clear();
        std::mem::take(&mut self.waiting).into_keys().collect()
    }

    pub(crate) fn bounds(&self) -> [Bound; 2] {
        [
            Bound::new("peers in the lobby", self.waiting.len(), WAITING_MAX),
            Bound::new("peers let in from the lobby", self.let_in.len(), LET_IN_MAX),
        ]
    }
}

/// Whether a joiner comes for nothing but to mix.
pub(crate) fn only_mixes(join: &Join) -> bool {
    join.mixes && !join.speaks && !join.views
}
