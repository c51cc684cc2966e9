//! The brain's outbox: the ordered queue of outputs, and the notes between machines.
//!
//! No machine changes another one. It leaves a [`Note`] for the others, and the dispatcher delivers notes until none
//! are left; a few are handed another machine to read when they are called (`uplink` the tree, say). The host's
//! commands alone go straight to the host (`room/commands.rs`).

use std::collections::VecDeque;

use crate::app::Event;
use crate::id::PeerId;
use crate::io::Output;
use crate::message::{
    Alive, Confirmed, Decided, ElectionReason, Failover, LinkKind, Message, Reign, SignedRoster,
};
use crate::seal::Signed;

/// Notification from one machine to the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Note {
    /// A roster that this host signed.
    Signed(SignedRoster),
    /// A received roster, to be adopted if it is newer. The flag says whether this peer believes that the host is
    /// gone.
    Proven(SignedRoster, bool),
    /// A newer roster is in force.
    Roster,
    /// The mandate changed: the mixers in force, or their rank.
    Mandate,
    /// A link is up.
    LinkUp(PeerId, LinkKind),
    /// A peer with an existing link became a child.
    Below(PeerId),
    /// A link is down.
    LinkDown(PeerId, LinkKind),
    /// An election opened: measurers start.
    Opened(u32, ElectionReason),
    /// A majority's signatures under an outcome, to be checked: received, or counted by this peer as the
    /// opener. The flag says whether this peer believes that the host is gone.
    Decided(Box<Decided>, bool),
    /// The host's word on the outcome in force: received, or signed by this host.
    Confirmed(Signed<Confirmed>),
    /// A failover to be checked: received, or declared by this peer as the successor.
    Failover(Signed<Failover>),
    /// A denial to be checked: a mixer that was declared gone is alive. Received, or signed by this peer as
    /// that mixer.
    Alive(Signed<Alive>),
    /// This peer has begun to mix (true), or stopped (false).
    Mixing(bool),
    /// This peer is host: the stage chose it, or the host named it.
    Chosen(Box<Reign>),
    /// This host has admitted a newcomer that wants a place in the tree, and would feed that many children.
    Admitted(PeerId, u8),
    /// Number of viewers in this peer's subtree, itself included, as counted by the tree, and of those that record.
    Viewers(u32, u32),
    /// This peer requests to be fed by another peer.
    RequestsFeed(PeerId),
    /// Another parent feeds this peer.
    Fed(PeerId),
    /// A peer left the room, or was dropped for its violations.
    Gone(PeerId),
    /// The search for a parent failed at every known mixer, or a viewer has no tree to join: request the
    /// current state from the host.
    Lost,
    /// The tree no longer feeds that peer; as a speaker it may still get the program's video.
    TreeUnserves(PeerId),
    /// The mix no longer serves that peer video; as a viewer it may still be fed by the tree.
    MixUnserves(PeerId),
}

/// A queued action or message.
#[derive(Debug)]
pub(crate) enum Item {
    Do(Output),
    Send(PeerId, Message),
    SendBeside(PeerId, Message),
    SendHost(Message),
}

/// Queue of outputs, and queue of notes between machines.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    pub(crate) items: VecDeque<Item>,
    pub(crate) notes: VecDeque<Note>,
}

impl Outbox {
    /// Queues work for the body.
    pub(crate) fn act(&mut self, output: Output) {
        self.items.push_back(Item::Do(output));
    }

    /// Queues a message to a peer; the router chooses link, relay or rendezvous when it is polled.
    pub(crate) fn send(&mut self, to: PeerId, message: impl Into<Message>) {
        self.items.push_back(Item::Send(to, message.into()));
    }

    /// Queues a message to a peer that doesn't answer on its link: rendezvous or relays come before the link.
    pub(crate) fn send_beside(&mut self, to: PeerId, message: impl Into<Message>) {
        self.items.push_back(Item::SendBeside(to, message.into()));
    }

    /// Queues a message to the host.
    pub(crate) fn send_host(&mut self, message: impl Into<Message>) {
        self.items.push_back(Item::SendHost(message.into()));
    }

    /// Queues a notification to the application.
    pub(crate) fn event(&mut self, event: Event) {
        self.act(Output::Event(event));
    }

    /// Queues a note to the other machines.
    pub(crate) fn note(&mut self, note: Note) {
        self.notes.push_back(note);
    }
}
