//! What machines share: the one ordered queue of outputs, and a view of the room.
//!
//! Machines never call each other. What one of them wants the others to know it leaves as a [`Note`]; the
//! dispatcher hands notes round until there are none.

use std::collections::VecDeque;

use crate::config::RoomConfig;
use crate::hashed_draw::draw_key;
use crate::id::{PeerId, Rank};
use crate::io::{Event, Output};
use crate::links::LinkTable;
use crate::mandate::Mandate;
use crate::message::{Alive, Decided, ElectionReason, Failover, LinkKind, Message, Reign, SignedRoster};
use crate::probe::Draw;
use crate::rng::Rng;
use crate::seal::{Keypair, Signed, Statement};
use crate::stage::Stage;
use crate::time::{SECOND, Time};
use crate::uplink::UplinkEstimate;

/// Statements of the stage are good for ten minutes: clocks that were set by hand are off by less.
pub(crate) const STATEMENT_LIFE_S: u64 = 600;

/// What one machine tells the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Note {
    /// A roster to be taken, if it is newer: the host has signed one, or one has come.
    Signed(SignedRoster),
    /// A newer roster is in force.
    Roster,
    /// Other mixers, or the same under another rank, are in force.
    Mandate,
    /// A link has come up.
    LinkUp(PeerId, LinkKind),
    /// A peer that we are linked with already has become a child.
    Below(PeerId),
    /// A link has gone.
    LinkDown(PeerId, LinkKind),
    /// An election has opened: measure.
    Opened(u32, ElectionReason),
    /// A majority has signed; from the opener's own count.
    Decided(Box<Decided>),
    /// We take over; from the succession's own declaration.
    Failover(Signed<Failover>),
    /// A mixer that was declared gone lives.
    Alive(Signed<Alive>),
    /// We have begun to mix, or stopped.
    Mixing(bool),
    /// The stage has made us host.
    Chosen(Box<Reign>),
    /// Viewers below us, ourselves included, by the tree's count.
    Viewers(u32),
    /// Another peer is asked to feed us.
    RequestsFeed(PeerId),
    /// Another parent feeds us.
    Fed(PeerId),
    /// A peer is gone for good: it said so, or was dropped.
    Gone(PeerId),
    /// No mixer takes us: ask the host where things stand.
    Lost,
    /// The tree feeds that peer no more; as a speaker it may still get the program's picture.
    TreeUnserves(PeerId),
    /// The mix serves that peer no picture any more; as a viewer it may still be fed.
    MixUnserves(PeerId),
}

/// Something to be done or sent.
#[derive(Debug)]
pub(crate) enum Item {
    Do(Output),
    Send(PeerId, Message),
    SendHost(Message),
}

/// The queue of outputs, and the notes between machines.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    pub(crate) items: VecDeque<Item>,
    pub(crate) notes: VecDeque<Note>,
}

impl Outbox {
    /// Something for the body to do.
    pub(crate) fn act(&mut self, output: Output) {
        self.items.push_back(Item::Do(output));
    }

    /// A message, by whatever way there is.
    pub(crate) fn send(&mut self, to: PeerId, message: Message) {
        self.items.push_back(Item::Send(to, message));
    }

    /// A message to whoever holds the root key.
    pub(crate) fn send_host(&mut self, message: Message) {
        self.items.push_back(Item::SendHost(message));
    }

    /// Something for the application.
    pub(crate) fn event(&mut self, event: Event) {
        self.act(Output::Event(event));
    }

    /// Something for the other machines.
    pub(crate) fn note(&mut self, note: Note) {
        self.notes.push_back(note);
    }
}

/// What every machine sees of the room, and what all of them may use.
pub(crate) struct View<'a> {
    pub(crate) now: Time,
    pub(crate) me: PeerId,
    pub(crate) keys: &'a Keypair,
    pub(crate) config: &'a RoomConfig,
    pub(crate) stage: &'a Stage,
    pub(crate) mandate: &'a Mandate,
    pub(crate) links: &'a mut LinkTable,
    pub(crate) out: &'a mut Outbox,
    pub(crate) rng: &'a mut Rng,
    pub(crate) counter: &'a mut u64,
    /// What we can send.
    pub(crate) uplink: UplinkEstimate,
}

impl View<'_> {
    /// Signs a statement to everyone under the present roster.
    pub(crate) fn sign<T: Statement>(&mut self, body: T) -> Signed<T> {
        let expires = self.unix_s() + STATEMENT_LIFE_S;
        self.sign_until(expires, body)
    }

    /// The wall clock, seconds since 1970.
    pub(crate) fn unix_s(&self) -> u64 {
        self.config.unix_s_at_zero + self.now.0 / SECOND
    }

    /// Signs a statement that stays true.
    pub(crate) fn sign_for_ever<T: Statement>(&mut self, body: T) -> Signed<T> {
        self.sign_until(u64::MAX, body)
    }

    fn sign_until<T: Statement>(&mut self, expires_unix_s: u64, body: T) -> Signed<T> {
        *self.counter += 1;
        Signed::new(self.keys, &self.config.room, self.stage.epoch(), *self.counter, expires_unix_s, body)
    }

    /// Sends to everyone else on stage, away or not.
    pub(crate) fn send_stage(&mut self, message: &Message) {
        for entry in self.stage.entries() {
            if entry.peer != self.me {
                self.out.send(entry.peer, message.clone());
            }
        }
    }

    /// Hands what somebody has said to the whole stage on to everyone on stage that we are linked with: its maker may be
    /// dead by now, or cut off from them.
    pub(crate) fn forward_across(&mut self, message: &Message, by: &PeerId) {
        if !self.on_stage() || *by == self.me {
            return;
        }
        for entry in self.stage.entries() {
            if entry.peer != self.me && entry.peer != *by && self.links.is_up(&entry.peer) {
                self.out.send(entry.peer, message.clone());
            }
        }
    }

    /// What measurers are drawn by: the room, and what the outcome in force was found by.
    pub(crate) fn draw(&self) -> Draw {
        let room = &self.config.room.0;
        match self.mandate.decided.as_ref().map(|decided| &decided.body) {
            None => draw_key("plenary 1 draw", &[room]),
            Some(outcome) => {
                draw_key("plenary 1 draw", &[room, &outcome.term.to_be_bytes(), &outcome.evidence])
            }
        }
    }

    /// What this peer's uplink carries as far as it is known, bits per second: no more than its user allows.
    pub(crate) fn uplink_bps(&self) -> Option<u64> {
        self.config.uplink_bps_max.into_iter().chain(self.uplink.bps).min()
    }

    /// Whether this peer is on stage.
    pub(crate) fn on_stage(&self) -> bool {
        self.stage.contains(&self.me)
    }

    /// Whether this peer is on stage as a speaker.
    pub(crate) fn speaks(&self) -> bool {
        self.stage.entry(&self.me).is_some_and(|entry| entry.speaks)
    }

    /// Whether this peer is one of the mixers in force.
    pub(crate) fn mixes(&self) -> bool {
        self.mandate.mixers.contains(&self.me)
    }

    /// Who takes over from a mixer that falls silent or leaves: standby 1 if it is present, else the present mixer that
    /// comes next in rank, the lead after the last.
    pub(crate) fn standby_of(&self, mixer: &PeerId) -> Option<PeerId> {
        self.in_line(mixer).next()
    }

    /// Who declares a mixer gone: its standby, or the next in line where it has denied that one's word in this term.
    pub(crate) fn successor(&self, mixer: &PeerId) -> Option<PeerId> {
        self.in_line(mixer).find(|peer| !self.mandate.bars(mixer, peer))
    }

    /// What a mixer's first tier falls back on: its successor, or, while the mixer has denied everyone's word, its standby all the same.
    pub(crate) fn fallback(&self, mixer: &PeerId) -> Option<PeerId> {
        self.successor(mixer).or_else(|| self.standby_of(mixer))
    }

    fn in_line(&self, mixer: &PeerId) -> impl Iterator<Item = PeerId> {
        let present = |peer: &&PeerId| self.stage.entry(peer).is_some_and(|entry| !entry.away);
        let mixers = &self.mandate.mixers;
        let place = mixers.iter().position(|peer| peer == mixer);
        let next = place.into_iter().flat_map(|place| mixers[place + 1..].iter().chain(&mixers[..place]));
        self.mandate.standbys.iter().take(1).chain(next).filter(present).copied()
    }

    /// The rank in force.
    pub(crate) fn rank(&self) -> Rank {
        self.mandate.rank
    }
}
