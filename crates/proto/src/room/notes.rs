//! Delivery of the notes between machines, one by one until none are left.

use super::{RoomState, Shared};
use crate::app::Event;
use crate::id::PeerId;
use crate::mandate::Judge;
use crate::message::{
    ElectionMessage, FailoverMessage, HostMessage, LinkKind, MemberMessage, Message, SignedRoster,
    TreeMessage, reign_of,
};
use crate::mutation::{Mutated, Mutation};
use crate::outbox::Note;
use crate::stage::Silence;

/// Maximum notes per call of [`RoomState::hand_round`]. One input calls it up to three times: once for an
/// `Admit`, then once before and once after due timers run. More notes indicate a cycle: the rest is dropped,
/// and [`Event::NotesDropped`] reports it. A guess.
const TURNS_MAX: usize = 1024;

impl RoomState {
    pub(super) fn hand_round(&mut self) {
        let mut turns = 0;
        loop {
            while let Some(note) = self.shared.out.notes.pop_front() {
                turns += 1;
                if turns > TURNS_MAX {
                    let notes = 1 + std::mem::take(&mut self.shared.out.notes).len();
                    self.shared.out.event(Event::NotesDropped { notes });
                    self.shared.mandate.mutated = Mutated::default(); // one cycle is enough for a test
                    return;
                }
                self.note(note);
            }
            self.mixing.set_feeds(self.tree.feeds());
            self.election.update(&mut self.shared.view());
            if self.shared.mandate.mutated.is(Mutation::NotifiesInCircles) {
                self.shared.out.note(Note::Lost);
            }
            if self.shared.out.notes.is_empty() {
                return;
            }
        }
    }

    fn note(&mut self, note: Note) {
        match note {
            Note::Signed(roster) => self.adopt(roster),
            Note::Proven(roster, absent) => self.judge_roster(roster, absent),
            Note::Roster => {
                self.election.roster_changed(self.shared.now);
                self.shared.mandate.roster_changed(&mut self.shared.out, &self.shared.stage);
                self.membership.roster_changed(&mut self.shared.view());
                self.heirs.roster_changed(&self.shared.view());
                self.access_changed();
                self.anti_entropy.roster_changed(&mut self.shared.view());
                self.probe.spread_claim(&mut self.shared.view());
                self.probe.take_on(&mut self.shared.view());
                self.take_own_claim();
                self.update();
            }
            Note::Admitted(newcomer, children) => {
                // several mixers share newcomers as those draw
                match self.shared.mandate.mixers[..] {
                    [mixer] if self.shared.links.is_up(&mixer) => {
                        self.shared.out.send(mixer, TreeMessage::Newcomer { peer: newcomer, children });
                    }
                    _ => self.tree.welcome(&mut self.shared.view(), newcomer, children),
                }
            }
            Note::Mandate => {
                self.election.mandate_changed(self.shared.now, &self.shared.mandate, &self.shared.stage);
                if self.election.is_over() {
                    self.probe.closed(&mut self.shared.view());
                }
                self.update();
            }
            Note::Decided(decided, absent) => {
                let tallies = self.election.take_tallies();
                let message = Message::Election(ElectionMessage::Decided(decided.clone()));
                // this peer missed the election, so its side of a partition may have missed it too: forward
                // the outcome
                let missed = self.shared.mandate.decided.is_some()
                    && !self.election.has_opened(decided.body.term)
                    && self.shared.view().on_stage();
                let judge = self.judge(absent);
                let Shared { out, stage, mandate, .. } = &mut self.shared;
                if mandate.decide(out, stage, judge, *decided, tallies) {
                    let under = self.shared.mandate.under_before(self.shared.stage.epoch()).cloned();
                    for message in
                        under.map(MemberMessage::Roster).map(Message::from).into_iter().chain([message])
                    {
                        self.tree.forward_down(&mut self.shared.view(), &message, None);
                        if missed {
                            self.shared.view().send_stage(&message);
                        }
                    }
                    if let Some(host) = self.membership.host() {
                        host.confirm(&mut self.shared.view());
                    }
                }
            }
            Note::Confirmed(word) => {
                let message = Message::Election(ElectionMessage::Confirmed(word.clone()));
                let judge = self.judge(false);
                let Shared { out, stage, mandate, .. } = &mut self.shared;
                if mandate.confirm(out, stage, judge, word) {
                    self.tree.forward_down(&mut self.shared.view(), &message, None);
                }
            }
            Note::Failover(failover) => {
                let (by, message) =
                    (failover.sender, Message::Failover(FailoverMessage::Failover(failover.clone())));
                let after = failover.body.after;
                if self.shared.mandate.failover(&mut self.shared.out, failover) {
                    // a child that rejected an earlier failover of the chain could not apply this one
                    let before: Vec<_> = self.shared.mandate.led_to(after).cloned().collect();
                    for before in before.into_iter().rev().map(FailoverMessage::Failover).map(Message::from) {
                        self.tree.forward_down(&mut self.shared.view(), &before, None);
                    }
                    self.tree.forward_down(&mut self.shared.view(), &message, None);
                    self.shared.view().forward_across(&message, &by);
                }
            }
            Note::Alive(alive) => {
                let (by, message) = (alive.sender, Message::Failover(FailoverMessage::Alive(alive.clone())));
                if self.shared.mandate.alive(&mut self.shared.out, alive) {
                    self.tree.forward_down(&mut self.shared.view(), &message, None);
                    self.shared.view().forward_across(&message, &by);
                    self.update(); // another peer watches the mixer, even if its mandate hasn't changed here
                }
            }
            Note::LinkUp(peer, LinkKind::Peer) => {
                self.tunnels.link_changed(&mut self.shared.view(), peer, LinkKind::Peer, true);
                self.tickets.link_up(&self.shared.view(), peer);
                self.broadcast.link_up(&peer);
                if let Some(ticket) = &self.shared.ticket {
                    self.shared.out.send(peer, MemberMessage::Ticket(ticket.clone()));
                }
                self.send_state(peer);
                self.mixing.link_changed(&mut self.shared.view(), peer, true);
                self.tree.link_changed(&mut self.shared.view(), peer, true);
                self.update_solo();
            }
            Note::LinkDown(peer, LinkKind::Peer) => {
                self.tunnels.link_changed(&mut self.shared.view(), peer, LinkKind::Peer, false);
                self.tickets.link_down(&self.shared.view(), &peer);
                self.streams.forget(&peer);
                self.mixing.link_changed(&mut self.shared.view(), peer, false);
                self.tree.link_changed(&mut self.shared.view(), peer, false);
                self.update_solo();
            }
            Note::LinkUp(peer, kind @ LinkKind::Trunk(_)) => {
                self.tunnels.link_changed(&mut self.shared.view(), peer, kind, true);
                self.close_trunks_of_removed(peer);
            }
            Note::LinkDown(peer, kind @ LinkKind::Trunk(_)) => {
                self.tunnels.link_changed(&mut self.shared.view(), peer, kind, false);
            }
            Note::Below(peer) => self.send_state(peer),
            Note::Opened(term, _) => {
                self.probe.opened(&mut self.shared.view(), term);
            }
            Note::Mixing(mixing) => {
                self.tree.mixing(&mut self.shared.view(), mixing);
                self.update_solo();
            }
            Note::Chosen(reign) => {
                self.membership.succeed(&mut self.shared.view(), *reign);
                if let Some(host) = self.membership.host() {
                    host.confirm(&mut self.shared.view());
                }
            }
            Note::Viewers(viewers, recorders) => {
                if self.shared.mandate.mixers.contains(&self.shared.me) {
                    match self.shared.stage.host() {
                        Some(host) if host == self.shared.me => {
                            if let Some(host) = self.membership.host() {
                                host.audience(self.shared.now, self.shared.me, viewers, recorders);
                            }
                        }
                        Some(host) => {
                            self.shared.out.send(host, HostMessage::Audience { viewers, recorders });
                        }
                        None => {}
                    }
                }
            }
            Note::RequestsFeed(parent) => {
                self.uplink.is_to_be_fed(&mut self.shared.view(), parent);
                self.heirs.ask_state(&mut self.shared.view(), parent);
                self.update_uplink();
            }
            Note::Fed(parent) => {
                self.membership.parent_changed(self.shared.now);
                self.broadcast.parent_changed(&mut self.shared.view(), parent);
            }
            Note::Gone(peer) => {
                if let Some(host) = self.membership.host() {
                    host.gone(self.shared.now, peer);
                }
            }
            Note::TreeUnserves(peer) => self.mixing.tree_unserves(&mut self.shared.view(), peer),
            Note::MixUnserves(peer) => self.tree.mix_unserves(&mut self.shared.view(), peer),
            Note::Lost => self.membership.join_at(self.shared.now),
        }
    }

    fn adopt(&mut self, roster: SignedRoster) {
        let message = Message::Member(MemberMessage::Roster(roster.clone()));
        if self.shared.stage.adopt(self.shared.now, roster) {
            self.tree.forward_down(&mut self.shared.view(), &message, None);
            self.shared.out.note(Note::Roster);
        }
    }

    /// Adopts a received roster. A host that another one replaces tells the peers that the other may not know.
    fn follow(&mut self, roster: SignedRoster) {
        let Shared { stage, me, .. } = &self.shared;
        if stage.host() == Some(*me) && roster.body.host != *me && roster.epoch > stage.epoch() {
            let is_known = |peer: &PeerId| roster.body.entries.iter().any(|entry| entry.peer == *peer);
            let mine = stage.entries().iter().map(|entry| entry.peer);
            let unknown: Vec<_> = mine.filter(|peer| !is_known(peer)).collect();
            for peer in unknown {
                self.shared.out.send(peer, MemberMessage::Roster(roster.clone()));
            }
        }
        self.adopt(roster);
    }

    /// Adopts a received roster, unless it is of a reign that doesn't count here. The host with the root key takes its
    /// room back from such a reign, any other peer reports it.
    fn judge_roster(&mut self, roster: SignedRoster, absent: bool) {
        let Shared { now, config, stage, .. } = &self.shared;
        let silence = Silence { of_host: absent, of_all: self.membership.is_forsaken() };
        let accepts = stage.accepts(*now, &roster, &config.root, silence);
        if let Some(host) = self.membership.host() {
            let view = &mut self.shared.view();
            if host.keep_while_opening(view, &roster) || host.take_late_answer(view, &roster) {
                self.shared.stage.keep(roster); // outcomes name it
                return;
            }
            let rivalled = host.is_rivalled(view, &roster);
            if rivalled {
                host.reclaim(view, &roster);
            }
            if host.was_replaced_by(&roster) {
                self.shared.stage.keep(roster);
                return;
            }
            if rivalled {
                return;
            }
        }
        let Shared { now, me, stage, .. } = &mut self.shared;
        if accepts && stage.defers(*now, me, &roster) {
            return;
        }
        if accepts {
            self.follow(roster);
        } else if reign_of(roster.epoch) > self.shared.stage.reign() {
            self.heirs.report(&mut self.shared.view(), &roster);
        }
    }

    fn judge(&self, absent: bool) -> Judge {
        let hosts = self.shared.stage.host() == Some(self.shared.me);
        Judge { now: self.shared.now, hosts, absent }
    }

    /// Returns whether this peer believes that the host is gone, if `from` says so. A peer on stage hears the host
    /// itself, a viewer believes its parent. A host that was cut off was gone for the others.
    pub(super) fn believes_host_gone(&self, from: &PeerId) -> bool {
        let misses_host = self.shared.stage.misses_host(self.shared.now, self.shared.me);
        let on_stage = self.shared.stage.contains(&self.shared.me);
        match self.tree.above().0 {
            Some(_) if !on_stage => self.tree.trusts(from),
            _ => misses_host || self.membership.was_cut_off(self.shared.now),
        }
    }

    /// Updates the machines after a change of roster or mandate.
    pub(super) fn update(&mut self) {
        self.update_streams();
        self.succession.update(&mut self.shared.view());
        self.mixing.update(&mut self.shared.view());
        self.tree.update(&mut self.shared.view());
        self.broadcast.mandate_changed(&mut self.shared.view());
        self.update_solo();
    }

    /// Updates the forwarding of single speakers' streams, and of all speakers' sound, after a change of its inputs.
    pub(super) fn update_solo(&mut self) {
        let mixes = self.mixing.is_mixing();
        self.solo.update(&mut self.shared.view(), mixes, self.tree.path());
        self.voices.update(&mut self.shared.view(), mixes, self.tree.path());
    }

    /// Sends the current state to a member: one newly linked, which may have missed news, or one on stage with
    /// an older or diverging digest.
    pub(super) fn send_state(&mut self, peer: PeerId) {
        if !self.is_member(&peer) && !self.is_rival(&peer) {
            return; // sent when it has shown its ticket
        }
        if let Some(roster) = self.shared.stage.signed() {
            self.shared.out.send(peer, MemberMessage::Roster(roster.clone()));
        }
        // after the roster, by which the other end knows that it may believe this peer
        let view = self.shared.view();
        if let Some(stands) = self.broadcast.stands(&view) {
            view.out.send(peer, stands);
        }
        if view.on_stage() {
            self.broadcast.begin(view.now);
        }
        if let Some(under) = self.shared.mandate.under_before(self.shared.stage.epoch()) {
            self.shared.out.send(peer, MemberMessage::Roster(under.clone()));
        }
        if let Some(word) = &self.shared.mandate.confirmed {
            self.shared.out.send(peer, ElectionMessage::Confirmed(word.clone()));
        }
        if let Some(decided) = &self.shared.mandate.decided {
            self.shared.out.send(peer, ElectionMessage::Decided(Box::new(decided.clone())));
        }
        for failover in &self.shared.mandate.failovers {
            self.shared.out.send(peer, FailoverMessage::Failover(failover.clone()));
        }
        for alive in &self.shared.mandate.alives {
            self.shared.out.send(peer, FailoverMessage::Alive(alive.clone()));
        }
        self.tell_key(peer);
    }

    pub(super) fn take_own_claim(&mut self) {
        if let Some(claim) = self.probe.own_claim().cloned() {
            self.election.claim(&self.shared.view(), claim);
        }
    }
}
