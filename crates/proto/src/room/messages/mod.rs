//! Messages of peers: permission to send each, and the machine that processes it.
//!
//! Each machine has a file: first permissions, then processing. A permission is checked before the signatures in the
//! message are verified, since those of a ballot cost 20 ms. It drops messages by their sender alone; the machine
//! checks the content.

mod data;
mod election;
mod failover;
mod host;
mod link;
mod media;
mod member;
mod probe;
mod tree;

use super::RoomState;
use crate::id::PeerId;
use crate::io::Via;
use crate::message::{LinkMessage, MemberMessage, Message, RouteMessage, TreeMessage};
use crate::tickets;

/// Sender of a message, as permissions tell senders apart.
#[derive(Clone, Copy, Debug)]
struct Sender<'a> {
    peer: &'a PeerId,
    is_on_stage: bool,
    /// Whether the message came over a link with the sender.
    is_linked: bool,
}

impl Sender<'_> {
    fn is_linked_or_on_stage(&self) -> bool {
        self.is_linked || self.is_on_stage
    }
}

/// Returns whether this is a message that a removed peer may still send: it asks for what it is refused, or lets go.
fn is_of_the_removed(message: &Message) -> bool {
    matches!(
        message,
        Message::Member(MemberMessage::Join(_) | MemberMessage::Leave)
            | Message::Link(LinkMessage::Bye(_))
            | Message::Tree(TreeMessage::Attach(_) | TreeMessage::Detach | TreeMessage::StopFeed)
    )
}

impl RoomState {
    /// Returns whether this peer listens to such a message from that peer. The body drops other messages without
    /// verification: it is no violation, since the sender's knowledge of the room may differ from this peer's.
    pub fn may_say(&self, from: &PeerId, via: &Via, message: &Message) -> bool {
        if self.ignores(from) || (self.is_removed(from) && !is_of_the_removed(message)) {
            return false;
        }
        let is_on_stage = self.shared.stage.contains(from);
        let sender = Sender { peer: from, is_on_stage, is_linked: *via == Via::Link };
        match message {
            Message::Member(message) => self.accepts_member(sender, message),
            Message::Host(_) => sender.is_on_stage,
            Message::Link(message) => self.accepts_link(sender, message),
            Message::Route(_) => sender.is_linked,
            Message::Media(message) => self.accepts_media(sender, message),
            Message::Failover(message) => self.accepts_failover(sender, message),
            Message::Probe(message) => self.accepts_probe(sender, message),
            Message::Election(message) => self.accepts_election(sender, message),
            Message::Tree(message) => self.accepts_tree(sender, message),
            Message::Data(message) => self.accepts_data(sender, message),
            // end and carrier talk on their link
            Message::Tunnel(_) => sender.is_linked,
        }
    }

    /// Passes a permitted ([`may_say`](Self::may_say)) and verified message to its machine.
    pub(super) fn message(&mut self, from: PeerId, message: Message) {
        match message {
            Message::Member(message) => self.on_member(from, message),
            Message::Host(message) => self.on_host(from, message),
            Message::Link(message) => self.on_link(from, message),
            Message::Route(RouteMessage::Relay(relay)) => self.forward(from, relay),
            Message::Media(message) => self.on_media(from, message),
            Message::Failover(message) => self.on_failover(from, message),
            Message::Probe(message) => self.on_probe(from, message),
            Message::Election(message) => self.on_election(from, message),
            Message::Tree(message) => self.on_tree(from, message),
            Message::Data(message) => self.on_data(from, message),
            Message::Tunnel(message) => self.tunnels.message(&mut self.shared.view(), from, message),
        }
    }

    /// Returns whether the host has removed a peer.
    pub(super) fn is_removed(&self, peer: &PeerId) -> bool {
        tickets::is_removed(&self.shared.stage, &self.shared.mandate, peer)
    }
}
