//! Messages of the tree.

use super::Sender;
use crate::bounded::List;
use crate::id::PeerId;
use crate::message::{Attach, PLACES_MAX, Place, Refused, TreeMessage};
use crate::room::RoomState;
use crate::tree::is_path_of;

impl RoomState {
    /// Feeds belong to links; the tree itself tells parent, backup and children from other senders.
    pub(super) fn accepts_tree(&self, sender: Sender<'_>, message: &TreeMessage) -> bool {
        match message {
            TreeMessage::Feed { .. } | TreeMessage::StopFeed => sender.is_linked,
            TreeMessage::Newcomer { .. } => {
                sender.is_linked && self.shared.stage.host() == Some(*sender.peer)
            }
            TreeMessage::Attach(_)
            | TreeMessage::Accept { .. }
            | TreeMessage::Redirect { .. }
            | TreeMessage::Refused { .. }
            | TreeMessage::Feeding { .. }
            | TreeMessage::Detach
            | TreeMessage::Dismiss
            | TreeMessage::Shed { .. }
            | TreeMessage::Aggregate(_)
            | TreeMessage::PathIs(_)
            | TreeMessage::Whereabouts(_)
            | TreeMessage::Move { .. } => true,
        }
    }

    pub(super) fn on_tree(&mut self, from: PeerId, message: TreeMessage) {
        match message {
            TreeMessage::Accept { path, .. }
            | TreeMessage::Feeding { path, .. }
            | TreeMessage::PathIs(path)
                if !is_path_of(&path, &from) =>
            {
                self.misbehaved(from);
            }
            TreeMessage::Attach(attach) => self.on_attach(from, &attach),
            TreeMessage::Accept { purpose, path, whereabouts } => {
                self.tree.accepted(&mut self.shared.view(), from, purpose, path, whereabouts);
            }
            TreeMessage::Redirect { purpose, places } => {
                self.learn_places(&places);
                self.tree.redirected(&mut self.shared.view(), from, purpose, &places);
            }
            TreeMessage::Refused { purpose, reason } => {
                if reason == Refused::NoTicket {
                    self.membership.join_at(self.shared.now); // for a new ticket
                }
                self.tree.refused(&mut self.shared.view(), from, purpose, reason);
            }
            TreeMessage::Feed { .. } if !self.is_member(&from) => {
                self.shared.out.send(from, TreeMessage::Dismiss);
            }
            TreeMessage::Feed { from: resume } => self.tree.feed(&mut self.shared.view(), from, resume),
            TreeMessage::Feeding { path, whereabouts } => {
                self.tree.fed_by(&mut self.shared.view(), from, path, whereabouts);
            }
            TreeMessage::StopFeed => self.tree.stop_feed(&mut self.shared.view(), from),
            TreeMessage::Detach => self.tree.drop_child(&mut self.shared.view(), from),
            TreeMessage::Dismiss => self.tree.dismissed_by(&mut self.shared.view(), from),
            TreeMessage::Shed { places } => {
                self.learn_places(&places);
                self.tree.shed_by(&mut self.shared.view(), from, &places);
            }
            TreeMessage::Aggregate(below) => self.tree.aggregate(&mut self.shared.view(), from, below),
            TreeMessage::PathIs(path) => self.tree.path_is(&mut self.shared.view(), from, path),
            TreeMessage::Whereabouts(whereabouts) => {
                self.tree.whereabouts_of(&mut self.shared.view(), from, whereabouts);
            }
            TreeMessage::Move { how, places } => {
                self.learn_places(&places);
                self.tree.asked_to_move(&mut self.shared.view(), from, how, &places);
            }
            TreeMessage::Newcomer { peer, children } => {
                self.tree.welcome(&mut self.shared.view(), peer, children);
            }
        }
    }

    fn on_attach(&mut self, from: PeerId, attach: &Attach) {
        if let Some(ticket) = &attach.ticket {
            self.ticket_shown(from, ticket);
        }
        if self.is_member(&from) {
            self.tree.attach(&mut self.shared.view(), from, attach);
        } else {
            let (purpose, reason) = (attach.purpose, Refused::NoTicket);
            self.shared.out.send(from, TreeMessage::Refused { purpose, reason });
        }
    }

    /// Remembers the paths to the places that a peer names, since envelopes reach them so.
    fn learn_places(&mut self, places: &List<Place, PLACES_MAX>) {
        self.router.places(self.shared.now, &self.shared.links, self.tree.path(), places);
    }
}
