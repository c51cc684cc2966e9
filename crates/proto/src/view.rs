//! The view of the room that the dispatcher gives each machine, and the resources that machines share.

use crate::bounded::List;
use crate::config::RoomConfig;
use crate::hashed_draw::{DrawKey, draw_key};
use crate::id::{PeerId, Rank};
use crate::links::LinkTable;
use crate::mandate::Mandate;
use crate::message::{Admit, GenerationKey, Message, SignedRoster, Ticket};
use crate::outbox::Outbox;
use crate::rng::Rng;
use crate::seal::{Keypair, Signed, Statement};
use crate::stage::Stage;
use crate::time::Time;

/// Lifetime of the stage's signed statements: ten minutes, more than the error of clocks that were set by
/// hand.
pub(crate) const STATEMENT_LIFE_S: u64 = 600;

/// Returns the time at which a statement of the stage was signed, seconds since 1970 by its sender's clock.
pub(crate) fn signed_unix_s<T>(statement: &Signed<T>) -> u64 {
    statement.expires_unix_s.saturating_sub(STATEMENT_LIFE_S)
}

/// Estimate of this peer's uplink for the other machines of the brain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct UplinkEstimate {
    /// Bandwidth in bits per second; `None` if unknown, 0 for a while if no parent has reported in time.
    pub(crate) bps: Option<u64>,
    /// Whether the first figure is expected soon.
    pub(crate) is_awaited: bool,
    /// Number of children that it carries, the reserve included, where none measures it; `None` without a limit.
    pub(crate) children_max: Option<u8>,
}

/// View of the room that every machine gets, with the resources shared by all machines.
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
    /// This peer's membership ticket.
    pub(crate) ticket: Option<&'a Signed<Ticket>>,
    /// Key of the newest invite that this peer knows.
    pub(crate) key: Option<&'a GenerationKey>,
    /// Whether this peer records what it receives.
    pub(crate) records: bool,
    /// Estimate of this peer's uplink.
    pub(crate) uplink: UplinkEstimate,
}

impl View<'_> {
    /// Signs a statement to all peers under the present roster.
    pub(crate) fn sign<T: Statement>(&mut self, body: T) -> Signed<T> {
        let expires = self.unix_s() + STATEMENT_LIFE_S;
        self.sign_until(expires, body)
    }

    /// Returns the wall clock, seconds since 1970.
    pub(crate) fn unix_s(&self) -> u64 {
        self.config.unix_s(self.now)
    }

    /// Signs a statement that never expires.
    pub(crate) fn sign_for_ever<T: Statement>(&mut self, body: T) -> Signed<T> {
        self.sign_until(u64::MAX, body)
    }

    fn sign_until<T: Statement>(&mut self, expires_unix_s: u64, body: T) -> Signed<T> {
        *self.counter += 1;
        Signed::new(self.keys, &self.config.room, self.stage.epoch(), *self.counter, expires_unix_s, body)
    }

    /// Sends to every other peer on stage, including away ones.
    pub(crate) fn send_stage(&mut self, message: &Message) {
        for entry in self.stage.entries() {
            if entry.peer != self.me {
                self.out.send(entry.peer, message.clone());
            }
        }
    }

    /// Forwards a peer's message to the whole stage to all linked peers on stage: its author may be dead by
    /// now, or cut off from them. No effect for messages by this peer or when it isn't on stage.
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

    /// Returns the key of the measurers' draw: a hash of the room and of the last outcome's term and
    /// evidence.
    pub(crate) fn draw(&self) -> DrawKey {
        let room = &self.config.room.0;
        match self.mandate.decided.as_ref().map(|decided| &decided.body) {
            None => draw_key("plenary 1 draw", &[room]),
            Some(outcome) => {
                draw_key("plenary 1 draw", &[room, &outcome.term.to_be_bytes(), &outcome.evidence])
            }
        }
    }

    /// Returns this peer's uplink as far as it is known, bits per second: at most the user's cap.
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

    /// Whether this peer is a mixer in force.
    pub(crate) fn mixes(&self) -> bool {
        self.mandate.mixers.contains(&self.me)
    }

    /// Returns the successor of a mixer, denials aside: standby 1 if it is present, else the next present
    /// mixer in the mandate's order, which wraps around from the last to the lead.
    pub(crate) fn standby_of(&self, mixer: &PeerId) -> Option<PeerId> {
        self.in_line(mixer).next()
    }

    /// Returns the peer that may declare a mixer gone: the first in line that the mixer has not denied in
    /// this term.
    pub(crate) fn successor(&self, mixer: &PeerId) -> Option<PeerId> {
        self.in_line(mixer).find(|peer| !self.mandate.bars(mixer, peer))
    }

    /// Returns the backup of a mixer's first tier: its successor, or its standby when the mixer has denied
    /// all in line.
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

    /// Signs a ticket for a peer.
    pub(crate) fn ticket_for(&mut self, peer: PeerId) -> Signed<Ticket> {
        self.sign(Ticket { peer })
    }

    /// Returns the message that admits a peer, with the present state of the room. `is_member`: the peer was a member
    /// before, and may hold an older invite's key.
    pub(crate) fn admission(&mut self, peer: PeerId, roster: &SignedRoster, is_member: bool) -> Admit {
        let ticket = Some(self.ticket_for(peer));
        Admit {
            roster: roster.clone(),
            under: self.mandate.under_before(roster.epoch).cloned(),
            decided: self.mandate.decided.clone(),
            confirmed: self.mandate.confirmed.clone(),
            failovers: List::truncated(self.mandate.failovers.iter().cloned()),
            ticket,
            key: self.key.filter(|key| is_member && key.generation > 0).cloned(),
        }
    }

    /// Returns the rank in force.
    pub(crate) fn rank(&self) -> Rank {
        self.mandate.rank
    }
}
