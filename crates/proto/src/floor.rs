//! Floor control: the host's decisions on which peers may speak (the term is from RFC 4582).
//!
//! A peer requests the floor with `Join`. An open stage grants it; otherwise the host asks its application,
//! which promotes or demotes the peer. The host may also offer the floor to a viewer: it repeats
//! `Floor(true)` until the viewer joins the stage, because no peer's camera is switched on by another peer. A
//! peer that lost the floor gets it back by the host's decision only, even on an open stage.

use crate::ordered::OrderedMap;

use crate::bounded::Bound;
use crate::id::PeerId;
use crate::time::{MS, SECOND, Time};

/// Maximum number of peers for which a decision is kept; beyond it the oldest decision is dropped. A guess.
const WORDS_MAX: usize = 256;
/// Interval at which an offer is repeated, in case it was lost on the way to a viewer without a link to the
/// host. A guess.
const OFFER_AGAIN_US: u64 = SECOND;
/// Maximum number of times an offer is sent: a viewer without an answer by then has left or declines. A
/// guess.
const OFFERS_MAX: u8 = 10;
/// Time after the loss of the floor in which the peer's request to speak counts as sent before it knew. A
/// guess: some round trips.
const STALE_US: u64 = 500 * MS;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Grant {
    /// The host offers the floor: sent `said` times, next at `next_at`.
    Offered { said: u8, next_at: Time },
    /// The peer speaks, or spoke when it was last here.
    Granted,
    /// The peer has requested the floor; the application hasn't decided.
    Pending,
    /// The peer has lost the floor.
    Taken,
}

/// Answer to a request to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The peer may speak.
    Granted,
    /// The application decides; `first`: it doesn't know of the request yet.
    Pending { first: bool },
    /// The peer doesn't know yet that it lost the floor.
    Taken,
}

/// The host's decision on each peer, and its time.
#[derive(Debug, Default)]
pub(crate) struct Floor(OrderedMap<PeerId, (Time, Grant)>);

impl Floor {
    fn say(&mut self, now: Time, peer: PeerId, word: Grant) {
        if self.0.len() >= WORDS_MAX && !self.0.contains_key(&peer) {
            let oldest = self.0.iter().min_by_key(|(_, (at, _))| *at).map(|(peer, _)| *peer);
            oldest.and_then(|oldest| self.0.remove(&oldest));
        }
        self.0.insert(peer, (now, word));
    }

    /// Offers a peer the floor.
    pub(crate) fn offer(&mut self, now: Time, peer: PeerId) {
        self.say(now, peer, Grant::Offered { said: 0, next_at: now });
    }

    /// Records that a peer speaks.
    pub(crate) fn grant(&mut self, now: Time, peer: PeerId) {
        self.say(now, peer, Grant::Granted);
    }

    /// Takes the floor from a peer.
    pub(crate) fn take(&mut self, now: Time, peer: PeerId) {
        self.say(now, peer, Grant::Taken);
    }

    /// Forgets a peer that gave the floor back or is gone, so that it may ask as if for the first time. A
    /// loss of the floor is kept.
    pub(crate) fn leave(&mut self, peer: &PeerId) {
        self.0.retain(|known, (_, word)| known != peer || *word == Grant::Taken);
    }

    /// Returns whether a peer's request to speak waits for the application's decision.
    pub(crate) fn is_pending(&self, peer: &PeerId) -> bool {
        matches!(self.0.get(peer), Some((_, Grant::Pending)))
    }

    /// Returns the peers whose requests to speak wait for the application's decision, the oldest first.
    pub(crate) fn pending(&self) -> Vec<PeerId> {
        let pending = self.0.iter().filter(|(_, (_, grant))| *grant == Grant::Pending);
        let mut pending: Vec<_> = pending.map(|(peer, (at, _))| (*at, *peer)).collect();
        pending.sort_unstable();
        pending.into_iter().map(|(_, peer)| peer).collect()
    }

    /// Returns whether there is a decision on that peer.
    pub(crate) fn knows(&self, peer: &PeerId) -> bool {
        self.0.contains_key(peer)
    }

    /// Answers a request to speak by a peer that doesn't speak yet.
    pub(crate) fn judge(&mut self, now: Time, peer: PeerId, open: bool) -> Answer {
        let answer = match self.0.get(&peer) {
            Some((_, Grant::Granted | Grant::Offered { .. })) => Answer::Granted,
            Some((_, Grant::Pending)) => Answer::Pending { first: false },
            Some((at, Grant::Taken)) if now.since(*at) < STALE_US => Answer::Taken,
            None if open => Answer::Granted,
            Some((_, Grant::Taken)) | None => Answer::Pending { first: true },
        };
        match answer {
            Answer::Granted => self.grant(now, peer),
            Answer::Pending { first: true } => self.say(now, peer, Grant::Pending),
            _ => {}
        }
        answer
    }

    /// Returns the peers to which an offer is due, for the first time or again.
    pub(crate) fn due(&mut self, now: Time) -> Vec<PeerId> {
        let mut due = Vec::new();
        for (peer, (_, word)) in &mut self.0 {
            if let Grant::Offered { said, next_at } = word
                && *said < OFFERS_MAX
                && *next_at <= now
            {
                *said += 1;
                *next_at = now + OFFER_AGAIN_US;
                due.push(*peer);
            }
        }
        due
    }

    pub(crate) fn next_timeout(&self) -> Option<Time> {
        let offers = self.0.values().filter_map(|(_, word)| match word {
            Grant::Offered { said, next_at } if *said < OFFERS_MAX => Some(*next_at),
            _ => None,
        });
        offers.min()
    }

    pub(crate) fn bounds(&self) -> [Bound; 1] {
        [Bound::new("floor records", self.0.len(), WORDS_MAX)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VIEWER: PeerId = PeerId([7; 32]);

    #[test]
    fn an_open_stage_grants_and_a_closed_one_asks_once() {
        let mut floor = Floor::default();
        assert_eq!(floor.judge(Time(0), VIEWER, true), Answer::Granted);
        assert_eq!(floor.judge(Time(0), VIEWER, false), Answer::Granted, "whoever spoke comes back");
        floor.leave(&VIEWER);
        assert_eq!(floor.judge(Time(0), VIEWER, false), Answer::Pending { first: true });
        assert_eq!(floor.judge(Time(0), VIEWER, false), Answer::Pending { first: false });
        floor.offer(Time(0), VIEWER);
        assert_eq!(floor.judge(Time(0), VIEWER, false), Answer::Granted);
    }

    #[test]
    fn what_was_taken_is_given_back_by_the_host_only() {
        let mut floor = Floor::default();
        floor.take(Time(0), VIEWER);
        floor.leave(&VIEWER);
        assert_eq!(floor.judge(Time(STALE_US - 1), VIEWER, true), Answer::Taken);
        assert_eq!(floor.judge(Time(STALE_US), VIEWER, true), Answer::Pending { first: true });
        floor.offer(Time(STALE_US), VIEWER);
        assert_eq!(floor.judge(Time(STALE_US), VIEWER, true), Answer::Granted);
    }

    #[test]
    fn an_offer_is_said_again_but_not_for_ever() {
        let mut floor = Floor::default();
        floor.offer(Time(0), VIEWER);
        let mut said = 0;
        while let Some(at) = floor.next_timeout() {
            said += floor.due(at).len();
        }
        assert_eq!(said, usize::from(OFFERS_MAX));
        floor.offer(Time(0), VIEWER);
        floor.judge(Time(0), VIEWER, false);
        assert_eq!(floor.next_timeout(), None, "it came");
    }

    #[test]
    fn of_many_peers_the_oldest_word_is_forgotten() {
        let mut floor = Floor::default();
        for at in 0..=WORDS_MAX as u64 {
            let mut id = [0; 32];
            id[..8].copy_from_slice(&at.to_be_bytes());
            floor.take(Time(at), PeerId(id));
        }
        assert_eq!(floor.0.len(), WORDS_MAX);
        assert_eq!(floor.judge(Time(SECOND), PeerId([0; 32]), true), Answer::Granted);
    }
}
