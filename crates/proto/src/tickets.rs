//! Membership tickets: which linked peers belong to the room.
//!
//! The host, or a peer on stage in its stead, gives each peer that it admits a signed ticket, and renews it. A peer
//! shows its ticket with each offer of a link and each request for one, on each new link, and with each request for a
//! place in the tree. Without a ticket it learns no address, and gets only links that the other end wants. A linked
//! peer without a ticket is told and fed nothing, and its link is closed after [`STRANGER_US_MAX`]. Peers on stage need
//! no ticket: the roster names them. A peer that the host has removed has no valid ticket any more. A ticket that a
//! peer on stage has signed in the host's stead is valid only while the room is open to newcomers: not locked, without
//! a lobby, and before its invite expires.

use crate::ordered::OrderedMap;

use crate::bounded::Bound;
use crate::id::PeerId;
use crate::links::LINKS_MAX;
use crate::mandate::Mandate;
use crate::message::{Join, Ticket};
use crate::mutation::Mutation;
use crate::seal::Signed;
use crate::stage::Stage;
use crate::time::{MS, SECOND, Time};
use crate::view::{STATEMENT_LIFE_S, View};

/// Time for which a linked peer may lack a valid ticket. A guess: a renewal that takes several attempts.
const STRANGER_US_MAX: u64 = 10 * SECOND;
/// Age at which a ticket is renewed: half of its life, less up to a minute, so that not all members renew at once.
const RENEW_US: u64 = STATEMENT_LIFE_S * SECOND / 2;
const RENEW_SPREAD_US: u64 = 60 * SECOND;
/// Interval at which a renewal is requested again.
const RENEW_AGAIN_US: u64 = 20 * SECOND;
/// Time for which the link to a removed peer stays, so that the roster that removes it arrives. A guess: a round trip
/// between continents.
const PARTING_US: u64 = 250 * MS;

/// What tickets are judged by.
#[derive(Clone, Copy)]
pub(crate) struct Grounds<'a> {
    pub(crate) stage: &'a Stage,
    pub(crate) mandate: &'a Mandate,
    pub(crate) now: Time,
    /// The wall clock, seconds since 1970.
    pub(crate) unix_s: u64,
}

impl<'a> Grounds<'a> {
    fn of(view: &'a View<'_>) -> Grounds<'a> {
        Grounds { stage: view.stage, mandate: view.mandate, now: view.now, unix_s: view.unix_s() }
    }

    /// Returns whether a ticket that a peer shows is valid, and its own.
    pub(crate) fn owns(&self, peer: &PeerId, ticket: Option<&Signed<Ticket>>) -> bool {
        let own = ticket.filter(|ticket| ticket.body.peer == *peer);
        own.is_some_and(|ticket| self.until(ticket).is_some())
    }

    /// Returns the end of a ticket by this peer's time; `None` if it has ended, or its signer may admit nobody.
    fn until(&self, ticket: &Signed<Ticket>) -> Option<Time> {
        let signer = &ticket.sender;
        let may_admit = self.stage.has_hosted(signer) || (self.is_open() && self.stage.was_on_stage(signer));
        let admits = may_admit && !is_removed(self.stage, self.mandate, signer);
        // a signer with a clock that is ahead can't make its tickets last longer
        let left_s = ticket.expires_unix_s.checked_sub(self.unix_s)?.min(STATEMENT_LIFE_S);
        (admits && left_s > 0 && !is_removed(self.stage, self.mandate, &ticket.body.peer))
            .then(|| self.now + left_s * SECOND)
    }

    /// Returns whether the room takes newcomers without the host.
    fn is_open(&self) -> bool {
        let Some(roster) = self.stage.roster() else { return false };
        let expired = roster.rules.expires_unix_s.is_some_and(|expires| expires <= self.unix_s);
        !expired && !roster.rules.access.locked && !roster.rules.access.lobby
    }
}

/// Standing of another peer.
#[derive(Clone, Copy, Debug)]
struct Standing {
    /// End of its ticket, by this peer's clock.
    until: Option<Time>,
    /// Time at which its link is closed if it has no valid ticket then; `None` while it isn't linked.
    closes_at: Option<Time>,
}

/// Tickets of others, and when this peer renews its own.
#[derive(Debug, Default)]
pub(crate) struct Tickets {
    renew_at: Option<Time>,
    others: OrderedMap<PeerId, Standing>,
}

impl Tickets {
    /// Returns whether this is a valid ticket for this peer; if so, schedules its renewal.
    pub(crate) fn take(&mut self, view: &mut View<'_>, ticket: &Signed<Ticket>) -> bool {
        let is_valid = Grounds::of(view).owns(&view.me, Some(ticket));
        if is_valid {
            self.renew_at = Some(view.now + (RENEW_US - view.rng.below(RENEW_SPREAD_US)));
        }
        is_valid
    }

    /// Handles another peer's ticket. Returns whether that peer was a stranger and is a member now.
    pub(crate) fn shown(&mut self, view: &View<'_>, from: PeerId, ticket: &Signed<Ticket>) -> bool {
        let Some(until) = Grounds::of(view).until(ticket).filter(|_| ticket.body.peer == from) else {
            return false;
        };
        let was_member = self.is_member(view, &from);
        match self.others.get_mut(&from) {
            Some(standing) => standing.until = standing.until.max(Some(until)),
            None => self.insert(from, Standing { until: Some(until), closes_at: None }),
        }
        !was_member
    }

    /// Adds a peer. At the limit it displaces one that isn't linked.
    fn insert(&mut self, peer: PeerId, standing: Standing) {
        if self.others.len() >= LINKS_MAX {
            let other = self.others.iter().find(|(_, standing)| standing.closes_at.is_none());
            let Some(other) = other.map(|(peer, _)| *peer) else { return };
            self.others.remove(&other);
        }
        self.others.insert(peer, standing);
    }

    /// Returns whether a peer belongs to the room: it is on stage, or has shown a valid ticket, and isn't removed.
    pub(crate) fn is_member(&self, view: &View<'_>, peer: &PeerId) -> bool {
        let is_in = view.stage.contains(peer) || self.has_shown(view.now, peer);
        is_in && !is_removed(view.stage, view.mandate, peer)
    }

    /// Returns whether a peer has shown a ticket that hasn't ended.
    pub(crate) fn has_shown(&self, now: Time, peer: &PeerId) -> bool {
        self.others.get(peer).is_some_and(|standing| standing.until > Some(now))
    }

    /// Handles a link that came up.
    pub(crate) fn link_up(&mut self, view: &View<'_>, peer: PeerId) {
        // a link that was under way when its other end was removed
        let removed = is_removed(view.stage, view.mandate, &peer);
        let closes_at = Some(view.now + if removed { PARTING_US } else { STRANGER_US_MAX });
        match self.others.get_mut(&peer) {
            Some(standing) => standing.closes_at = closes_at,
            None => self.insert(peer, Standing { until: None, closes_at }),
        }
    }

    /// Handles a link that is down.
    pub(crate) fn link_down(&mut self, view: &View<'_>, peer: &PeerId) {
        self.others.retain(|other, standing| {
            if other == peer {
                standing.closes_at = None;
            }
            standing.closes_at.is_some() || standing.until > Some(view.now)
        });
    }

    /// Handles a newer roster. Returns the linked peers that it removes, which get it from this peer; their links are
    /// closed a moment later.
    pub(crate) fn roster_changed(&mut self, view: &View<'_>) -> Vec<PeerId> {
        let mut removed = Vec::new();
        for (peer, standing) in &mut self.others {
            if is_removed(view.stage, view.mandate, peer) {
                let is_new =
                    standing.until.take().is_some() || standing.closes_at > Some(view.now + PARTING_US);
                if standing.closes_at.is_some() && is_new {
                    standing.closes_at = Some(view.now + PARTING_US);
                    removed.push(*peer);
                }
            } else if standing.closes_at.is_some() && !view.stage.contains(peer) && standing.until.is_none() {
                // a peer that has left the stage shows its ticket within this time
                standing.closes_at = standing.closes_at.max(Some(view.now + STRANGER_US_MAX));
            }
        }
        removed
    }

    /// Returns whether this peer's ticket needs renewal now, and the strangers among the linked peers, to be
    /// disconnected.
    pub(crate) fn on_time(&mut self, view: &View<'_>) -> (bool, Vec<PeerId>) {
        let renews = self.renew_at.is_some_and(|at| at <= view.now);
        if renews {
            self.renew_at = Some(view.now + RENEW_AGAIN_US);
        }
        let (mut strangers, now) = (Vec::new(), view.now);
        for (peer, standing) in &mut self.others {
            let Some(at) = standing.closes_at.filter(|at| *at <= now) else { continue };
            let removed = is_removed(view.stage, view.mandate, peer);
            let until = standing.until.filter(|until| *until > now && !removed);
            if removed || (until.is_none() && !view.stage.contains(peer)) {
                strangers.push(*peer);
            } else {
                // looked at again when its ticket has ended; a peer on stage, from time to time
                standing.closes_at = Some(until.unwrap_or(at) + STRANGER_US_MAX);
            }
        }
        (renews, strangers)
    }

    pub(crate) fn next_timeout(&self) -> Option<Time> {
        self.others.values().filter_map(|standing| standing.closes_at).chain(self.renew_at).min()
    }

    pub(crate) fn bounds(&self) -> [Bound; 1] {
        [Bound::new("peers with a known ticket", self.others.len(), LINKS_MAX)]
    }
}

/// Returns whether the host has removed a peer.
pub(crate) fn is_removed(stage: &Stage, mandate: &Mandate, peer: &PeerId) -> bool {
    stage.has_removed(peer) && !mandate.mutated.is(Mutation::KeepsTheRemoved)
}

/// Returns whether a joiner shows a valid ticket of its own, signed by the host or a former host.
pub(crate) fn has_ticket_of_host(view: &View<'_>, joiner: &PeerId, join: &Join) -> bool {
    has_ticket(view, joiner, join)
        && join.ticket.as_ref().is_some_and(|ticket| view.stage.has_hosted(&ticket.sender))
}

/// Returns whether a joiner shows a valid ticket of its own.
pub(crate) fn has_ticket(view: &View<'_>, joiner: &PeerId, join: &Join) -> bool {
    is_own(view, joiner, join.ticket.as_ref())
}

/// Returns whether a ticket that a peer shows is valid, and its own.
pub(crate) fn is_own(view: &View<'_>, peer: &PeerId, ticket: Option<&Signed<Ticket>>) -> bool {
    Grounds::of(view).owns(peer, ticket)
}
