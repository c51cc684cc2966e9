//! Offers of other peers, their requests for offers, and the limits of how many this peer accepts.

use super::{ASKED_US_MAX, LINKS_MAX, Link, LinkTable, MAKE_US_MAX, State};
use crate::id::PeerId;
use crate::io::Output;
use crate::message::{LinkKind, Offer, ROSTER_MAX};
use crate::outbox::Outbox;
use crate::time::{SECOND, Time};

/// Minimum interval between two accepted offers of one peer and kind; a later offer waits. Each costs a socket, a
/// handshake, and connectivity checks to addresses of the sender's choice. A guess.
pub(super) const OFFER_EACH_US: u64 = SECOND;
/// Number of trunks between two peers: those of a full roster.
pub(super) const TRUNKS_MAX: u8 = (ROSTER_MAX / 8) as u8;
/// Maximum number of links under way that only a stranger wants: a peer off stage and outside the subtree. A guess.
pub(super) const STRANGERS_MAX: usize = 8;
/// Maximum number of offers that wait for their turn, and how long: 1 s less than their senders wait. A guess.
pub(super) const OFFERS_WAITING_MAX: usize = 64;
pub(crate) const OFFER_WAITS_US_MAX: u64 = MAKE_US_MAX - SECOND;

/// An offer, or a request for one, that waits for its turn.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) since: Time,
    /// `None` for a request.
    offer: Option<Offer>,
    is_stranger: bool,
}

impl LinkTable {
    /// Handles `LinkWanted`: the other end requests an offer. `is_known`: as in [`offered`](Self::offered).
    pub(crate) fn link_wanted(
        &mut self,
        now: Time,
        out: &mut Outbox,
        peer: PeerId,
        kind: LinkKind,
        is_known: bool,
    ) {
        if peer > self.me {
            self.asked(now, out, (peer, kind), None, is_known);
        }
    }

    /// Handles the other end's offer. `is_known`: the other end is a stage peer or a descendant.
    pub(crate) fn offered(
        &mut self,
        now: Time,
        out: &mut Outbox,
        peer: PeerId,
        offer: Offer,
        is_known: bool,
    ) {
        let key = (peer, offer.kind);
        let link = self.links.get(&key);
        let is_awaited = link.is_some_and(|link| matches!(link.state, State::Requested { .. }));
        if peer >= self.me && !is_awaited {
            return;
        }
        let taken = link.and_then(|link| link.taken.as_ref());
        if taken.is_some_and(|(ufrag, _)| **ufrag == *offer.description.ufrag) {
            return; // a duplicate
        }
        self.asked(now, out, key, Some(offer), is_known);
    }

    /// Accepts an offer or a request for one, now or in its turn.
    fn asked(
        &mut self,
        now: Time,
        out: &mut Outbox,
        key: (PeerId, LinkKind),
        offer: Option<Offer>,
        is_known: bool,
    ) {
        let is_stranger = !is_known && self.links.get(&key).is_none_or(|link| link.wants == 0);
        let is_trunk = matches!(key.1, LinkKind::Trunk(_));
        if (is_stranger && is_trunk) || matches!(key.1, LinkKind::Trunk(TRUNKS_MAX..)) {
            return; // trunks are for mixers
        }
        let waiting = Waiting { since: now, offer, is_stranger };
        if self.may_accept(now, key, &waiting) {
            self.waiting.remove(&key);
            self.accept(now, out, key, waiting);
        } else if self.waiting.len() < OFFERS_WAITING_MAX || self.waiting.contains_key(&key) {
            self.waiting.insert(key, waiting);
        }
    }

    /// Returns whether an offer or a request may be accepted now. A request of a known peer needs no rest: it costs
    /// no checks, and [`accept`](Self::accept) ignores one that came early.
    fn may_accept(&self, now: Time, key: (PeerId, LinkKind), waiting: &Waiting) -> bool {
        let is_rested = self.accepted.get(&key).is_none_or(|at| now.since(*at) >= OFFER_EACH_US);
        let needs_rest = waiting.is_stranger || waiting.offer.is_some();
        (is_rested || !needs_rest) && !(waiting.is_stranger && self.is_crowded())
    }

    /// Returns whether [`STRANGERS_MAX`] links with strangers are under way.
    fn is_crowded(&self) -> bool {
        let counts = |link: &&Link| link.is_stranger && matches!(link.state, State::Making { .. });
        self.links.values().filter(counts).count() >= STRANGERS_MAX
    }

    fn accept(&mut self, now: Time, out: &mut Outbox, key: (PeerId, LinkKind), waiting: Waiting) {
        let Waiting { offer, is_stranger, .. } = waiting;
        let Some(link) = self.entry_for_other(now, key) else { return };
        match (&link.state, &offer) {
            // This end's offer is on its way.
            (State::Making { since, .. }, None) if now.since(*since) < ASKED_US_MAX => return,
            // The request is repeated because the other end's answer, or the news that this end is up, is
            // still on its way.
            (State::Up { since }, None) if now.since(*since) < SECOND => return,
            (State::Making { .. } | State::Up { .. }, _) => self.drop_link(now, out, key),
            _ => {}
        }
        let Some(link) = self.links.get_mut(&key) else { return };
        link.is_stranger = is_stranger;
        self.accepted.retain(|_, at| now.since(*at) < OFFER_EACH_US);
        if self.accepted.len() < LINKS_MAX {
            self.accepted.insert(key, now);
        }
        let Some(offer) = offer else { return self.make(now, out, key) };
        link.taken = Some((offer.description.ufrag.to_string(), offer.description.fingerprint));
        (link.bye_heard, link.is_carried) = (false, false);
        link.state = State::Making { since: now, sent: None };
        out.act(Output::Answer { peer: key.0, offer, is_stranger });
    }

    /// Accepts waiting offers in turn, and drops offers that have waited for too long.
    pub(super) fn accept_waiting(&mut self, now: Time, out: &mut Outbox) {
        self.waiting.retain(|_, waiting| now.since(waiting.since) < OFFER_WAITS_US_MAX);
        loop {
            let due = self.waiting.iter().filter(|(key, waiting)| self.may_accept(now, **key, waiting));
            let Some(key) = due.min_by_key(|(_, waiting)| waiting.since).map(|(key, _)| *key) else { return };
            if let Some(waiting) = self.waiting.remove(&key) {
                self.accept(now, out, key, waiting);
            }
        }
    }

    /// Returns when [`accept_waiting`](Self::accept_waiting) has something to do.
    pub(super) fn waiting_timeout(&self) -> Option<Time> {
        let is_crowded = self.is_crowded();
        let due = |(key, waiting): (&(PeerId, LinkKind), &Waiting)| {
            let expires = waiting.since + OFFER_WAITS_US_MAX;
            let rested = self.accepted.get(key).map_or(waiting.since, |at| *at + OFFER_EACH_US);
            if waiting.is_stranger && is_crowded { expires } else { expires.min(rested) }
        };
        self.waiting.iter().map(due).min()
    }

    /// Drops a peer's waiting offers, so that no further link begins.
    pub(crate) fn drop_offers(&mut self, peer: &PeerId) {
        self.waiting.retain(|(other, _), _| other != peer);
    }
}
