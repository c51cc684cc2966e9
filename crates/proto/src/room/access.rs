//! Membership of the room: tickets, removals, and the keys of later invites.

use super::RoomState;
use crate::id::PeerId;
use crate::io::{Output, Via};
use crate::links::OFFER_WAITS_US_MAX;
use crate::message::{GenerationKey, LinkMessage, MemberMessage, Message, ROSTER_MAX, Ticket};
use crate::seal::{Signed, key_hash};
use crate::time::Time;

/// Maximum number of keys that wait for the roster that names them. A guess: a few liars beside an honest neighbour.
pub(super) const EARLY_KEYS_MAX: usize = 8;
/// Maximum number of offers, and requests for them, that wait for this peer's first roster: those of a full stage.
pub(super) const EARLY_REQUESTS_MAX: usize = ROSTER_MAX;

/// An offer of a link, or a request for one, that came before this peer knew any roster.
#[derive(Debug)]
pub(super) struct EarlyRequest {
    at: Time,
    from: PeerId,
    message: LinkMessage,
}

impl RoomState {
    /// Takes a ticket for this peer, and shows it to the linked peers.
    pub(super) fn take_ticket(&mut self, ticket: &Signed<Ticket>) {
        if !self.tickets.take(&mut self.shared.view(), ticket) {
            return;
        }
        self.shared.ticket = Some(ticket.clone());
        for peer in self.shared.links.up() {
            self.shared.out.send(peer, MemberMessage::Ticket(ticket.clone()));
        }
    }

    /// Handles another peer's ticket. A linked peer that wasn't known as a member is sent the room's state.
    pub(super) fn ticket_shown(&mut self, from: PeerId, ticket: &Signed<Ticket>) {
        if self.tickets.shown(&self.shared.view(), from, ticket) && self.shared.links.is_up(&from) {
            self.send_state(from);
        }
    }

    /// Returns whether a peer belongs to the room.
    pub(super) fn is_member(&mut self, peer: &PeerId) -> bool {
        self.tickets.is_member(&self.shared.view(), peer)
    }

    /// Renews this peer's ticket, and closes the links of strangers.
    pub(super) fn tickets_on_time(&mut self) {
        let (renews, strangers) = self.tickets.on_time(&self.shared.view());
        if renews {
            self.membership.join_at(self.shared.now);
        }
        for peer in strangers {
            self.part_from(peer);
            self.shared.links.drop_peer(self.shared.now, &mut self.shared.out, peer);
        }
    }

    /// Ends each relation with a peer but the link.
    fn part_from(&mut self, peer: PeerId) {
        self.streams.forget(&peer);
        self.tree.drop_child(&mut self.shared.view(), peer);
        self.tree.dismissed_by(&mut self.shared.view(), peer);
    }

    /// Follows a newer roster: peers that it removes are sent it, and get nothing more.
    pub(super) fn access_changed(&mut self) {
        let removed = self.tickets.roster_changed(&self.shared.view());
        for peer in removed {
            if let Some(roster) = self.shared.stage.signed() {
                self.shared
                    .out
                    .act(Output::Control(peer, Message::Member(MemberMessage::Roster(roster.clone()))));
            }
            self.part_from(peer);
        }
        let roster = self.shared.stage.roster();
        let removed = roster.map_or_else(Default::default, |roster| roster.rules.access.removed.clone());
        for peer in removed.iter() {
            self.shared.links.drop_offers(peer);
            self.close_trunks_of_removed(*peer);
        }
        for (from, key) in std::mem::take(&mut self.early_keys) {
            self.key_told(Some(from), key);
        }
        for EarlyRequest { at, from, message } in std::mem::take(&mut self.early_requests) {
            let is_fresh = self.shared.now.since(at) < OFFER_WAITS_US_MAX;
            let message = Message::Link(message);
            if is_fresh && self.may_say(&from, &Via::Signal, &message) {
                self.message(from, message);
            }
        }
    }

    /// Keeps a request for a link until this peer has a roster, by which it judges the other end. Of many the oldest
    /// goes.
    pub(super) fn keep_early_request(&mut self, from: PeerId, message: LinkMessage) {
        let is_same = |early: &EarlyRequest| {
            early.from == from && std::mem::discriminant(&early.message) == std::mem::discriminant(&message)
        };
        self.early_requests.retain(|early| !is_same(early));
        if self.early_requests.len() == EARLY_REQUESTS_MAX {
            self.early_requests.remove(0);
        }
        self.early_requests.push(EarlyRequest { at: self.shared.now, from, message });
    }

    /// Closes the trunks with a removed peer. The roster goes over the peer link, which stays a moment longer.
    pub(super) fn close_trunks_of_removed(&mut self, peer: PeerId) {
        if self.is_removed(&peer) {
            self.shared.links.drop_trunks(self.shared.now, &mut self.shared.out, peer);
        }
    }

    /// The host has made a new invite: its key goes to all linked members, and from them to all others.
    pub(super) fn renew(&mut self, key: GenerationKey) {
        let hash = key_hash(&self.shared.config.room, &key.key);
        let generation = key.generation;
        let now = self.shared.now;
        if let Some(host) = self.membership.host().filter(|host| !host.is_bound(now)) {
            host.renew(&mut self.shared.view(), generation, hash);
            self.adopt_key(key, None);
        }
    }

    /// Takes the key of a later invite from a linked member, if it is the one that the roster names. One that overtakes
    /// its roster waits for it.
    pub(super) fn key_told(&mut self, from: Option<PeerId>, key: GenerationKey) {
        let is_newer = self.shared.key.as_ref().is_none_or(|known| known.generation < key.generation);
        let is_named = self.shared.stage.roster().is_some_and(|roster| {
            let hash = key_hash(&self.shared.config.room, &key.key);
            (roster.rules.access.generation, roster.rules.access.key_hash) == (key.generation, hash)
        });
        if is_newer && is_named {
            self.adopt_key(key, from);
        } else if let Some(from) = from.filter(|_| is_newer) {
            self.early_keys.retain(|(other, _)| *other != from);
            if self.early_keys.len() == EARLY_KEYS_MAX {
                self.early_keys.remove(0);
            }
            self.early_keys.push((from, key));
        }
    }

    fn adopt_key(&mut self, key: GenerationKey, from: Option<PeerId>) {
        self.shared.out.act(Output::Key(key.clone()));
        self.shared.key = Some(key);
        let linked: Vec<_> = self.shared.links.up().filter(|peer| Some(*peer) != from).collect();
        for peer in linked {
            self.tell_key(peer);
        }
    }

    /// Sends a linked member the roster that names the newest key, and that key.
    pub(super) fn tell_key(&mut self, peer: PeerId) {
        let Some(key) = self.shared.key.clone().filter(|key| key.generation > 0) else { return };
        if self.is_member(&peer) {
            self.shared.out.act(Output::Control(peer, Message::Member(MemberMessage::Key(key))));
        }
    }
}
