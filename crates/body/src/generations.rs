//! Generations of the room's key. They decide the key that seals for each peer, and the uses of envelopes under a
//! replaced key.
//!
//! When the host makes a new invite, members pass its key on, and envelopes are sealed with it from then on. Envelopes
//! under a replaced key count for [`OLD_KEY_US`] more, requests to join excepted: from the first moment they only let
//! members in that show a ticket of the host.

use plenary_proto::ordered::OrderedMap;

use plenary_proto::PeerId;
use plenary_proto::message::{MemberMessage, Message};

/// Time for which all envelopes under a replaced key count. A guess: the new key has passed all links by then.
const OLD_KEY_US: u64 = 10_000_000;
/// Maximum peers that are known to have an older key. Past it the oldest is forgotten.
const BEHIND_MAX: usize = 256;

/// What a message under its key is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counts {
    /// It counts.
    Yes,
    /// Its author asks to join under a replaced key.
    OldInvite,
    /// It is too old.
    No,
}

/// Generations of the key.
#[derive(Debug)]
pub(crate) struct Generations {
    /// Newest generation of the invite, and when its key came.
    newest: u16,
    renewed_us: Option<u64>,
    /// Peers that sealed their last envelope with an older key, with its generation and the time.
    behind: OrderedMap<PeerId, (u16, u64)>,
}

impl Generations {
    pub(crate) fn new(newest: u16) -> Generations {
        Generations { newest, renewed_us: None, behind: OrderedMap::new() }
    }

    /// The key of a later invite is in force.
    pub(crate) fn renew(&mut self, newest: u16, now_us: u64) {
        (self.newest, self.renewed_us) = (newest, Some(now_us));
    }

    /// Returns the generation of the key that a peer reads, if it is known to have no newer one.
    pub(crate) fn of(&self, peer: &PeerId) -> Option<u16> {
        self.behind.get(peer).map(|(generation, _)| *generation)
    }

    /// Records the generation of an envelope's key.
    pub(crate) fn heard(&mut self, peer: PeerId, generation: u16, now_us: u64) {
        if generation == self.newest {
            self.behind.remove(&peer);
            return;
        }
        if self.behind.len() >= BEHIND_MAX && !self.behind.contains_key(&peer) {
            let oldest = self.behind.iter().min_by_key(|(_, (_, at_us))| *at_us).map(|(peer, _)| *peer);
            oldest.and_then(|oldest| self.behind.remove(&oldest));
        }
        self.behind.insert(peer, (generation, now_us));
    }

    /// Judges a message under a key of this generation.
    pub(crate) fn judge(&self, generation: u16, message: &Message, now_us: u64) -> Counts {
        let fresh = self.renewed_us.is_some_and(|at| now_us.saturating_sub(at) < OLD_KEY_US);
        match message {
            _ if generation == self.newest => Counts::Yes,
            Message::Member(MemberMessage::Join(_)) => Counts::OldInvite,
            _ if fresh => Counts::Yes,
            _ => Counts::No,
        }
    }
}
