//! Dispatch of peers' messages: each goes to the machine responsible for its kind.

use super::RoomState;
use crate::app::Event;
use crate::id::PeerId;
use crate::io::{Address, Output};
use crate::message::{
    Failover, LinkKind, Message, PictureWanted, Refused, Reign, Relay, SignedRoster, reign_of,
};
use crate::mixing::Call;
use crate::mutation::Mutation;
use crate::outbox::Note;
use crate::seal::Signed;
use crate::tickets::is_own;
use crate::time::{SECOND, Time};
use crate::tree::is_path_of;
use crate::uplink::Uplink;
use crate::view::View;

/// Number of violations at which a peer is dropped.
pub(super) const VIOLATIONS_MAX: u32 = 8;
/// Time after which one violation of a peer is forgotten, so that rare faults never add up. A guess.
const VIOLATION_LIFE_US: u64 = 60 * SECOND;
/// Time for which a dropped peer's messages are ignored; then it begins anew. A guess: as long as a doubted claim is
/// ignored. Longer would keep nobody away, since a new key is a new peer.
pub(super) const IGNORED_US: u64 = 600 * SECOND;
/// Violations that the abuse of a link counts as, so that the second one within a minute drops the peer.
const ABUSE_VIOLATIONS: u32 = VIOLATIONS_MAX / 2;
/// Maximum peers with remembered violations.
pub(super) const VIOLATIONS_KEPT: usize = 256;

impl RoomState {
    pub(super) fn message(&mut self, from: PeerId, message: Message) {
        match message {
            Message::Join(join) => {
                if let Some(host) = self.membership.host() {
                    host.join(&mut self.shared.view(), from, &join);
                    if self.shared.mandate.mutated.is(Mutation::RemembersTheAudience) {
                        host.remember(self.shared.now, from);
                    }
                } else if let Some(answer) = self.membership.vouch(&mut self.shared.view(), from, &join) {
                    self.shared.out.send(from, answer);
                }
            }
            Message::Admit(_) if self.membership.is_refused() => {}
            Message::Admit(admit) => {
                self.remind_host(from, &admit.roster);
                let is_newest = admit.roster.epoch >= self.shared.stage.epoch();
                let by_host = is_newest && admit.roster.body.host == from;
                if let Some(ticket) = &admit.ticket {
                    self.shared.links.set_ticket(ticket.clone()); // for the links that this peer wants by the roster
                }
                self.take_roster(from, admit.roster);
                admit.under.into_iter().for_each(|under| self.take_roster(from, under));
                self.membership.admitted(&mut self.shared.view(), by_host);
                self.tell_what_admission_lacks(from, &admit.failovers);
                admit.confirmed.into_iter().for_each(|word| self.shared.out.note(Note::Confirmed(word)));
                if let Some(decided) = admit.decided {
                    self.shared.out.note(Note::Decided(Box::new(decided), self.believes_host_gone(&from)));
                }
                for failover in admit.failovers.iter() {
                    self.shared.out.note(Note::Failover(failover.clone()));
                }
                self.hand_round();
                if let Some(ticket) = &admit.ticket {
                    self.take_ticket(ticket);
                }
                if let Some(key) = admit.key {
                    self.key_told(None, key);
                }
                self.tree.update(&mut self.shared.view());
            }
            Message::Refuse(refusal) => {
                self.remind_under(from, refusal.signed.epoch, |known| known.body.host == from);
                self.membership.refused(&mut self.shared.view(), &refusal.signed);
            }
            Message::ReignWanted { epoch, number } => {
                self.heirs.wanted(&mut self.shared.view(), from, epoch, number);
            }
            Message::ReignVote { epoch, number, signature } => {
                self.heirs.vote(&mut self.shared.view(), from, (epoch, number), signature);
            }
            Message::Roster(roster) => {
                self.remind_host(from, &roster);
                self.take_roster(from, roster);
            }
            Message::HandOver(named) => {
                let by_host =
                    self.shared.stage.is_key_of(0, &named.sender) || named.sender == self.shared.config.root;
                let next = reign_of(self.shared.stage.epoch()) + 1 == named.body.number;
                if by_host && next && named.body.host == self.shared.me && self.shared.view().on_stage() {
                    self.shared.out.note(Note::Chosen(Box::new(Reign::Named { named })));
                }
            }
            Message::Confirmed(word) => self.shared.out.note(Note::Confirmed(word)),
            Message::Leave => {
                self.shared.out.note(Note::Gone(from));
                self.tree.drop_child(&mut self.shared.view(), from);
            }
            early @ (Message::LinkWanted { .. } | Message::Offer(_))
                if self.shared.stage.roster().is_none() =>
            {
                self.keep_early_request(from, early);
            }
            Message::LinkWanted { kind, ticket } => {
                if let Some(ticket) = &ticket {
                    self.ticket_shown(from, ticket);
                }
                let is_known = self.may_be_linked(&from, kind);
                self.shared.links.link_wanted(self.shared.now, &mut self.shared.out, from, kind, is_known);
            }
            Message::Offer(offer) => {
                if let Some(ticket) = &offer.ticket {
                    self.ticket_shown(from, ticket);
                }
                let is_known = self.may_be_linked(&from, offer.kind);
                self.shared.links.offered(self.shared.now, &mut self.shared.out, from, offer, is_known);
            }
            Message::Answer(answer) => self.shared.links.answered(&mut self.shared.out, from, answer),
            Message::Bye(kind) => self.shared.links.bye(self.shared.now, &mut self.shared.out, from, kind),
            Message::Relay(relay) => self.forward(from, relay),
            Message::Stream(stream) => self.announced(from, stream),
            Message::Home { rank, video, resume, beside } => {
                let call = Call { rank, own: PictureWanted { video, resume }, beside };
                self.mixing.home(&mut self.shared.view(), from, call);
            }
            Message::Started(spec) if spec.maker == from => {
                self.mixing.started(&mut self.shared.view(), &spec)
            }
            Message::Started(_) => {}
            Message::HearWanted { mixer } if self.shared.stage.contains(&from) => {
                self.shared.out.act(Output::AnswerHeard { to: from, mixer });
            }
            Message::HearWanted { .. } => {}
            Message::Heard { mixer, silent_us } => {
                self.succession.heard(&self.shared.view(), from, mixer, silent_us);
            }
            Message::Failover(failover) => {
                if let Some(alive) = self.shared.mandate.denial(&failover).cloned() {
                    // the sender follows or forwards a failover that its mixer has denied
                    self.shared.out.send(from, Message::Alive(alive));
                    return;
                }
                let mixing = self.mixing.has_program();
                let mine = self.succession.may_take(&mut self.shared.view(), &failover, mixing);
                let on_stage = self.shared.stage.contains(&self.shared.me);
                if mine && (on_stage || self.tree.believes(&self.shared.view(), from, &failover)) {
                    self.shared.out.note(Note::Failover(failover));
                }
            }
            Message::Alive(alive) if self.is_removed(&alive.sender) => {} // it mixes no more, alive or not
            Message::Alive(alive) => self.shared.out.note(Note::Alive(alive)),
            Message::FailoverWanted { rank, wish } => {
                self.succession.wanted(&mut self.shared.view(), from, rank, wish);
            }
            Message::ProbeWanted { train, bytes, rate_bps } => {
                let now = self.shared.now;
                let ours = Uplink::is_ours(train);
                if ours && !self.uplink.lets_measure(now, &from, bytes, rate_bps) {
                    // this peer did not request the measurement, or the trains exceed its limits
                    self.shared.out.send(from, Message::ProbeBusy { train });
                } else if self.probe.wanted(&mut self.shared.view(), from, (train, bytes, rate_bps), ours)
                    && ours
                {
                    self.uplink.sent(now, &from);
                }
            }
            Message::ProbeBusy { train } => {
                if !self.uplink.busy(&mut self.shared.view(), from, train) {
                    self.probe.busy(&mut self.shared.view(), from, train);
                }
            }
            Message::UplinkWanted => {
                if self.tree.is_below(&from) {
                    self.uplink.wanted(&self.shared.view(), from);
                }
            }
            Message::RatesWanted => {
                let (above, children) = (self.peer_above(), self.tree.below().0.len());
                self.rates.wanted(&mut self.shared.view(), above, from, children);
            }
            Message::Rates(rates) => self.rates.told(self.shared.now, from, rates),
            Message::Uplink { bps } => {
                self.uplink.told(&self.shared.view(), from, bps);
                self.update_uplink();
            }
            Message::Claim(claim) => {
                self.probe.claimed(&claim);
                self.election.claim(&self.shared.view(), claim);
            }
            Message::Report(report) => self.election.report(&self.shared.view(), report),
            Message::PreVoteWanted { epoch, need } => {
                self.election.pre_vote_wanted(&mut self.shared.view(), from, epoch, need);
            }
            Message::PreVote { epoch, term, signature } => {
                self.election.pre_vote(&self.shared.view(), from, epoch, term, signature);
            }
            Message::Trouble { count } => self.election.trouble(&self.shared.view(), from, count),
            Message::Suffering(sufferers) => {
                let place = self.place();
                self.election.suffering(&mut self.shared.view(), &place, from, sufferers);
            }
            Message::Opening(opening) => self.election.opening(&mut self.shared.view(), *opening),
            Message::Ballot(ballot) => self.election.ballot(&mut self.shared.view(), *ballot),
            Message::Vote { term, ballot, signature } => {
                self.election.vote(&mut self.shared.view(), from, term, ballot, signature);
            }
            Message::Lacking { term, reports, claims } => {
                self.election.lacking(&mut self.shared.view(), from, term, &reports, &claims);
            }
            Message::Decided(decided) => {
                self.shared.out.note(Note::Decided(decided, self.believes_host_gone(&from)));
            }
            Message::Audience { viewers, recorders } if self.shared.mandate.has_mixed(&from) => {
                if let Some(host) = self.membership.host() {
                    host.audience(self.shared.now, from, viewers, recorders);
                }
            }
            Message::Audience { .. } => {}
            Message::Floor(speaks) if self.shared.stage.host() == Some(from) => self.floor(speaks),
            Message::Floor(_) => {} // only the host grants and takes the floor
            Message::Attach(attach) => {
                if let Some(ticket) = &attach.ticket {
                    self.ticket_shown(from, ticket);
                }
                if self.is_member(&from) {
                    self.tree.attach(&mut self.shared.view(), from, &attach);
                } else {
                    let (purpose, reason) = (attach.purpose, Refused::NoTicket);
                    self.shared.out.send(from, Message::Refused { purpose, reason });
                }
            }
            Message::Accept { path, .. } | Message::Feeding { path, .. } | Message::PathIs(path)
                if !is_path_of(&path, &from) =>
            {
                self.misbehaved(from);
            }
            Message::Accept { purpose, path, whereabouts } => {
                self.tree.accepted(&mut self.shared.view(), from, purpose, path, whereabouts);
            }
            Message::Feeding { path, whereabouts } => {
                self.tree.fed_by(&mut self.shared.view(), from, path, whereabouts);
            }
            Message::Whereabouts(whereabouts) => {
                self.tree.whereabouts_of(&mut self.shared.view(), from, whereabouts);
            }
            Message::Redirect { purpose, places } => {
                self.router.places(self.shared.now, &self.shared.links, self.tree.path(), &places);
                self.tree.redirected(&mut self.shared.view(), from, purpose, &places);
            }
            Message::Refused { purpose, reason } => {
                if reason == Refused::NoTicket {
                    self.membership.join_at(self.shared.now); // for a new ticket
                }
                self.tree.refused(&mut self.shared.view(), from, purpose, reason);
            }
            Message::Feed { .. } if !self.is_member(&from) => self.shared.out.send(from, Message::Dismiss),
            Message::Feed { from: resume } => self.tree.feed(&mut self.shared.view(), from, resume),
            Message::StopFeed => self.tree.stop_feed(&mut self.shared.view(), from),
            Message::Detach => self.tree.drop_child(&mut self.shared.view(), from),
            Message::Dismiss => self.tree.dismissed_by(&mut self.shared.view(), from),
            Message::Shed { places } => {
                self.router.places(self.shared.now, &self.shared.links, self.tree.path(), &places);
                self.tree.shed_by(&mut self.shared.view(), from, &places);
            }
            Message::Aggregate(below) => self.tree.aggregate(&mut self.shared.view(), from, below),
            Message::Move { how, places } => {
                self.router.places(self.shared.now, &self.shared.links, self.tree.path(), &places);
                self.tree.asked_to_move(&mut self.shared.view(), from, how, &places);
            }
            Message::PathIs(path) => self.tree.path_is(&mut self.shared.view(), from, path),
            Message::Data(data) => {
                let (children, _) = self.tree.below();
                self.broadcast.data(&mut self.shared.view(), &children, from, data);
            }
            Message::DataStands(stands) => self.broadcast.stood(&mut self.shared.view(), &stands),
            Message::DataHeld(held) => {
                let is_child = self.tree.below().0.contains(&from);
                self.broadcast.held_by(&mut self.shared.view(), from, &held, is_child);
            }
            Message::SoloWanted { speaker } => {
                let (mixes, tree) = (self.mixing.is_mixing(), &self.tree);
                let spares = |view: &View<'_>, more: usize| tree.uplink_spares(view, more);
                self.solo.wanted(&mut self.shared.view(), from, speaker, mixes, spares);
            }
            Message::Solo { speaker, comes } => {
                self.solo.answered(&mut self.shared.view(), from, speaker, comes);
                self.update_solo();
            }
            Message::VoicesWanted(wanted) => {
                self.voices.wanted(&mut self.shared.view(), from, wanted, self.mixing.is_mixing());
            }
            Message::Voices(comes) => {
                self.voices.answered(&mut self.shared.view(), from, comes);
                self.update_solo();
            }
            Message::VoiceClocks(_) => {} // the body's
            Message::Digest(theirs) => {
                let is_kin = self.tree.is_below(&from) || self.is_rival(&from);
                if self.anti_entropy.received(&mut self.shared.view(), from, is_kin, theirs) {
                    self.send_state(from);
                }
            }
            Message::Ticket(ticket) => self.ticket_shown(from, &ticket),
            Message::Position { name, parent, depth, fed_nothing, ticket } => {
                if (is_own(&self.shared.view(), &from, ticket.as_deref()) || self.is_member(&from))
                    && let Some(host) = self.membership.host()
                {
                    host.position(&mut self.shared.view(), from, &name, (parent, depth), fed_nothing);
                }
            }
            Message::Key(key) if self.is_member(&from) => self.key_told(Some(from), key),
            Message::Key(_) => {}
            Message::MuteWanted(muted) if self.shared.stage.host() == Some(from) => {
                self.shared.out.event(Event::MutedByHost(muted));
            }
            Message::MuteWanted(_) => {}
            Message::InLobby => self.membership.in_lobby(&mut self.shared.view()),
            Message::LinkProof(_) => {} // the ends of a link check it before the brain knows of the link
            Message::Recalled(_) => {}  // of the media alone, which the body takes
        }
    }

    /// Sends the admitting peer the failovers of this peer that the admission lacks. The successor and all
    /// peers that it reached may be gone; or the mixer has denied the failover, and the answer is its denial.
    fn tell_what_admission_lacks(&mut self, from: PeerId, known: &[Signed<Failover>]) {
        for failover in self.shared.mandate.failovers.iter().filter(|ours| !known.contains(ours)) {
            self.shared.out.send(from, Message::Failover(failover.clone()));
        }
    }

    /// Sends the newest roster to a host that speaks under an older one: this peer's host, or one that the root key has
    /// named. It has restarted with the room's keys, and goes on from that roster.
    fn remind_host(&mut self, from: PeerId, roster: &SignedRoster) {
        let root = self.shared.config.root;
        let is_by_root = roster.sender == root || roster.reigns.host_by(&root) == Some(from);
        let is_host =
            |known: &SignedRoster| known.body.host == from || (is_by_root && roster.body.host == from);
        self.remind_under(from, roster.epoch, is_host);
    }

    fn remind_under(&mut self, from: PeerId, epoch: u32, is_host: impl Fn(&SignedRoster) -> bool) {
        let known = self.shared.stage.signed().filter(|known| epoch < known.epoch && is_host(known)).cloned();
        let Some(known) = known.map(Message::Roster) else { return };
        if self.shared.links.is_up(&from) {
            // perhaps the link of a process that is gone
            self.shared.out.act(Output::Signal(Address::Peer(from), known.clone()));
        }
        self.shared.out.send(from, known);
    }

    /// Whether a peer may still act as host beside this host: this host has replaced that peer by a vote of the stage,
    /// or has taken the room back from that peer.
    pub(super) fn is_rival(&mut self, peer: &PeerId) -> bool {
        let is_deposed = self.membership.host().is_some_and(|host| host.has_deposed(peer));
        is_deposed || self.shared.stage.replaced_hosts(&self.shared.me).contains(peer)
    }

    fn take_roster(&mut self, from: PeerId, roster: SignedRoster) {
        self.shared.out.note(Note::Proven(roster, self.believes_host_gone(&from)));
    }

    /// Forwards an envelope towards its recipient.
    fn forward(&mut self, from: PeerId, relay: Relay) {
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
    pub(super) fn may_be_linked(&self, peer: &PeerId, kind: LinkKind) -> bool {
        self.shared.stage.contains(peer) || (kind == LinkKind::Peer && self.tree.is_below(peer))
    }

    /// Handles the host's offer of the floor (true), or its withdrawal (false).
    fn floor(&mut self, speaks: bool) {
        if speaks {
            self.membership.floor_offered(&mut self.shared.view());
        } else if self.shared.config.speaks {
            let viewed = self.shared.config.views;
            self.set_speaks(false);
            let watches = self.shared.config.views && !viewed;
            self.membership.floor_taken(&mut self.shared.view(), watches);
            self.update();
        }
    }

    /// Counts a violation of a peer, and drops the peer at the limit.
    pub(super) fn misbehaved(&mut self, peer: PeerId) {
        self.violated(peer, 1);
    }

    /// Ends the links with a peer that has abused them.
    pub(super) fn abused(&mut self, peer: PeerId) {
        if self.shared.mandate.mutated.is(Mutation::EnduresFloods) {
            return;
        }
        self.shared.links.drop_peer(self.shared.now, &mut self.shared.out, peer);
        self.violated(peer, ABUSE_VIOLATIONS);
    }

    fn violated(&mut self, peer: PeerId, times: u32) {
        let now = self.shared.now;
        if self.violations.len() >= VIOLATIONS_KEPT && !self.violations.contains_key(&peer) {
            // the peer with the fewest violations is evicted, so a peer can't clear its record by sending
            // others ahead
            let least =
                self.violations.iter().min_by_key(|(_, record)| record.count(now)).map(|(peer, _)| *peer);
            least.and_then(|least| self.violations.remove(&least));
        }
        let record = self.violations.entry(peer).or_insert(Violations { count: 0, since: now });
        let before = record.count(now);
        let count = before.saturating_add(times).min(VIOLATIONS_MAX);
        if before < count {
            // the part of a minute that has passed counts on
            let part_us = if before == 0 { 0 } else { now.since(record.since) % VIOLATION_LIFE_US };
            let dropped = count == VIOLATIONS_MAX;
            *record = Violations { count, since: if dropped { now } else { now - part_us } };
            self.shared.out.event(Event::PeerMisbehaved { peer, count, dropped });
            if dropped {
                self.shared.links.drop_peer(now, &mut self.shared.out, peer);
                self.shared.out.note(Note::Gone(peer));
            }
        }
    }

    /// Returns whether a peer was dropped for its violations, and is still ignored.
    pub(super) fn ignores(&self, peer: &PeerId) -> bool {
        self.violations.get(peer).is_some_and(|record| record.count(self.shared.now) >= VIOLATIONS_MAX)
    }
}

/// Violations of a peer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Violations {
    count: u32,
    /// Start of the minute after which the oldest violation is forgotten; for a dropped peer, the time of the drop.
    since: Time,
}

impl Violations {
    /// One violation at time 0.
    #[cfg(test)]
    pub(super) fn one() -> Violations {
        Violations { count: 1, since: Time(0) }
    }

    /// Number of violations that are not forgotten yet.
    fn count(self, now: Time) -> u32 {
        let passed_us = now.since(self.since);
        if self.count >= VIOLATIONS_MAX {
            return if passed_us < IGNORED_US { self.count } else { 0 };
        }
        self.count.saturating_sub(u32::try_from(passed_us / VIOLATION_LIFE_US).unwrap_or(u32::MAX))
    }
}
