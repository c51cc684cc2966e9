//! Messages of links, and envelopes that peers forward along them.

use super::Sender;
use crate::id::PeerId;
use crate::message::{LinkKind, LinkMessage, Relay, Ticket};
use crate::room::RoomState;
use crate::seal::Signed;
use crate::tickets::Grounds;

impl RoomState {
    pub(super) fn accepts_link(&self, sender: Sender<'_>, message: &LinkMessage) -> bool {
        match message {
            LinkMessage::LinkWanted { kind, ticket } => self.may_link(sender.peer, *kind, ticket.as_deref()),
            LinkMessage::Offer(offer) => self.may_link(sender.peer, offer.kind, offer.ticket.as_deref()),
            LinkMessage::Answer(_) | LinkMessage::Bye(_) | LinkMessage::Paths(_) => true,
            LinkMessage::IceRestart(restart) => self.shared.links.is_up_kind(sender.peer, restart.kind),
            // the first message on a link, which its ends check
            LinkMessage::LinkProof(_) => false,
        }
    }

    pub(super) fn on_link(&mut self, from: PeerId, message: LinkMessage) {
        match message {
            early @ (LinkMessage::LinkWanted { .. } | LinkMessage::Offer(_))
                if self.shared.stage.roster().is_none() =>
            {
                self.keep_early_request(from, early);
            }
            LinkMessage::LinkWanted { kind, ticket } => {
                let is_known = self.is_known_for(&from, kind, ticket.as_deref());
                self.shared.links.link_wanted(self.shared.now, &mut self.shared.out, from, kind, is_known);
            }
            LinkMessage::Offer(offer) => {
                let is_known = self.is_known_for(&from, offer.kind, offer.ticket.as_deref());
                self.shared.links.offered(self.shared.now, &mut self.shared.out, from, offer, is_known);
            }
            LinkMessage::Answer(answer) => self.shared.links.answered(&mut self.shared.out, from, answer),
            LinkMessage::Paths(paths) => self.shared.links.paths_told(&mut self.shared.out, from, paths),
            LinkMessage::IceRestart(restart) => {
                self.shared.links.restart_told(self.shared.now, &mut self.shared.out, from, restart);
            }
            LinkMessage::Bye(kind) => {
                self.shared.links.bye(self.shared.now, &mut self.shared.out, from, kind)
            }
            LinkMessage::LinkProof(_) => {} // checked before the brain knows of the link
        }
    }

    /// Notes the ticket that comes with a request for a link, and returns whether the link may stay.
    fn is_known_for(&mut self, from: &PeerId, kind: LinkKind, ticket: Option<&Signed<Ticket>>) -> bool {
        if let Some(ticket) = ticket {
            self.ticket_shown(*from, ticket);
        }
        self.may_be_linked(from, kind)
    }

    /// Returns whether the link with a peer is allowed. Each of these suffices: this peer wants the link, the stage or
    /// the subtree contains the other end, or, for an ordinary link, a ticket proves its membership. An answer tells
    /// addresses, and a link gives access to the network stack: a peer that waits outside gets neither.
    fn may_link(&self, peer: &PeerId, kind: LinkKind, ticket: Option<&Signed<Ticket>>) -> bool {
        let Self { shared, tickets, .. } = self;
        let (now, config) = (shared.now, &shared.config);
        let unix_s = config.unix_s(now);
        let grounds = Grounds { stage: &shared.stage, mandate: &shared.mandate, now, unix_s };
        let is_member = || tickets.has_shown(now, peer) || grounds.owns(peer, ticket);
        // a newcomer that waits for its admission judges when it knows the stage
        let is_early = shared.stage.roster().is_none();
        is_early
            || shared.links.is_wanted(peer, kind)
            || self.may_be_linked(peer, kind)
            || (kind == LinkKind::Peer && is_member())
    }

    /// Forwards an envelope towards its recipient.
    pub(super) fn forward(&mut self, from: PeerId, relay: Relay) {
        if relay.to == self.shared.me {
            // the body opens envelopes for this peer, so none arrives here
            self.misbehaved(from);
            return;
        }
        let around = (&self.shared.links, &self.shared.stage, self.tree.path());
        if let Some(output) = self.router.forward(self.shared.now, from, around, relay) {
            self.shared.out.act(output);
        }
    }

    /// Returns whether a peer is one that this peer may have links of that kind with: on stage, or for the ordinary
    /// link a child.
    pub(in crate::room) fn may_be_linked(&self, peer: &PeerId, kind: LinkKind) -> bool {
        self.shared.stage.contains(peer) || (kind == LinkKind::Peer && self.tree.is_below(peer))
    }
}
