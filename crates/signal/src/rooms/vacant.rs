//! Rooms without members, and which of them closes next: when its time has come, or to make way for a new room.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Instant;

use plenary_proto::RoomId;

use crate::owner::network;

/// Address that opened a room; `None` for this process.
pub(super) type Opener = Option<IpAddr>;

/// Rooms in the order in which their last members left.
type Oldest = BTreeSet<(Instant, RoomId)>;

/// Sort key of a network: its number of rooms here; of equal numbers the network with the oldest room sorts last.
type Fullness = (usize, Option<Reverse<Instant>>, Opener);

/// How long a room has had no members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Since {
    /// When the last member left.
    pub(super) left: Instant,
    /// When the room closes.
    pub(super) closes: Instant,
}

/// All rooms without members.
#[derive(Debug, Default)]
pub(super) struct Vacant {
    closing: BTreeSet<(Instant, RoomId)>,
    /// The same rooms, grouped by the opener's address, and by its network.
    by_opener: BTreeMap<Opener, Oldest>,
    by_network: BTreeMap<Opener, Oldest>,
    fullest: BTreeSet<Fullness>,
}

impl Vacant {
    pub(super) fn insert(&mut self, id: RoomId, opener: Opener, since: Since) {
        self.closing.insert((since.closes, id));
        self.by_opener.entry(opener).or_default().insert((since.left, id));
        self.of_network(opener.map(network), |rooms| _ = rooms.insert((since.left, id)));
    }

    pub(super) fn remove(&mut self, id: RoomId, opener: Opener, since: Since) {
        self.closing.remove(&(since.closes, id));
        if let Some(rooms) = self.by_opener.get_mut(&opener) {
            rooms.remove(&(since.left, id));
            if rooms.is_empty() {
                self.by_opener.remove(&opener);
            }
        }
        self.of_network(opener.map(network), |rooms| _ = rooms.remove(&(since.left, id)));
    }

    /// Changes the rooms of a network, and its place among the networks.
    fn of_network(&mut self, of: Opener, change: impl FnOnce(&mut Oldest)) {
        let fullness = |rooms: &Oldest| (rooms.len(), rooms.first().map(|(left, _)| Reverse(*left)), of);
        let rooms = self.by_network.entry(of).or_default();
        self.fullest.remove(&fullness(rooms));
        change(rooms);
        if rooms.is_empty() {
            self.by_network.remove(&of);
        } else {
            self.fullest.insert(fullness(rooms));
        }
    }

    /// Returns a room that has reached its closing time.
    pub(super) fn expired(&self, now: Instant) -> Option<RoomId> {
        self.closing.first().filter(|(closes, _)| *closes <= now).map(|(_, id)| *id)
    }

    /// Returns the room that an address has left empty for longest.
    pub(super) fn oldest_of(&self, opener: Opener) -> Option<RoomId> {
        self.by_opener.get(&opener).and_then(oldest)
    }

    /// Returns the room of a network that has been empty for longest.
    pub(super) fn oldest_in(&self, of: Opener) -> Option<RoomId> {
        self.by_network.get(&of).and_then(oldest)
    }

    /// Returns the room that has been empty for longest, of the network with most empty rooms.
    pub(super) fn oldest_of_fullest(&self) -> Option<RoomId> {
        self.fullest.last().and_then(|(.., of)| self.oldest_in(*of))
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        let Vacant { closing, by_opener, by_network, fullest } = self;
        closing.is_empty() && by_opener.is_empty() && by_network.is_empty() && fullest.is_empty()
    }
}

fn oldest(rooms: &Oldest) -> Option<RoomId> {
    rooms.first().map(|(_, id)| *id)
}
