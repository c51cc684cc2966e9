//! Mandate: which peers mix, under which rank, and the proof of it.
//!
//! In term 0 the roster names an acting mixer. After that an outcome signed by a majority names mixers and
//! standbys. Within its term, standbys and other mixers may fail over from a mixer that is gone, one failover
//! after another.
//!
//! A peer follows the highest rank that it has proof of, and ignores ranks without proof. Only this module
//! changes the mandate; all other parts of the state machine read it.

use std::cmp::Reverse;
use std::collections::VecDeque;

use crate::app::Event;
use crate::bounded::Bound;
use crate::id::{InForce, PeerId, Rank, StreamKind, StreamSpec};
use crate::io::Output;
use crate::message::{Alive, Confirmed, Decided, FAILOVERS_MAX, Failover, MIXERS_MAX, Outcome, SignedRoster};
use crate::mutation::{Mutated, Mutation};
use crate::outbox::{Note, Outbox};
use crate::score::Tally;
use crate::seal::Signed;
use crate::stage::Stage;
use crate::time::Time;

/// Maximum distance of a term above the last known term: this peer may have missed openings and outcomes, but nobody
/// may use up the term numbers. A guess.
pub(crate) const TERMS_AHEAD_MAX: u32 = 4;
/// Maximum by which a failover's count may exceed the newest known: 256. A term has at most [`FAILOVERS_MAX`]
/// failovers. A single peer may sign all of them, and with the most mixers and standbys it owns only every
/// 16th count.
const FAILOVERS_AHEAD_MAX: u16 = (FAILOVERS_MAX * 2 * MIXERS_MAX) as u16;

/// Maximum number of past (rank, mixer) pairs remembered, so that their streams are recognized while they
/// end.
const RANKS_KEPT: usize = 32;

/// The mixers in force, and the proof.
///
/// The term's outcome names mixers and standbys, and failovers change them. Each failover names the rank that
/// it follows. The highest one counts, together with the chain of failovers that it follows; failovers denied
/// by a living mixer, and those that follow them, don't count. So all peers at one rank have the same mixers,
/// and peers that know the same statements are at the same rank, independent of the order of arrival.
#[derive(Debug, Default)]
pub(crate) struct Mandate {
    pub(crate) rank: Rank,
    pub(crate) mixers: Vec<PeerId>,
    pub(crate) standbys: Vec<PeerId>,
    pub(crate) decided: Option<Decided>,
    /// The host's newest word on which outcome is in force.
    pub(crate) confirmed: Option<Signed<Confirmed>>,
    /// The roster that the outcome's signatures refer to. Without it, the outcome proves nothing to a
    /// newcomer.
    under: Option<SignedRoster>,
    /// The term's failovers that weren't denied, sorted by rank.
    pub(crate) failovers: Vec<Signed<Failover>>,
    /// Denials of this term's failovers, in the order of arrival here.
    pub(crate) alives: Vec<Signed<Alive>>,
    /// Highest failover count of this term that has been announced here, denied ones included. The next
    /// failover must exceed it.
    newest: u16,
    /// The newest failover in force was requested by the mixer that it replaces.
    pub(crate) polite: bool,
    makers: VecDeque<(Rank, PeerId)>,
    /// An outcome that waits for its roster or for the host's word, and whether the host was believed gone.
    early: Option<(Decided, bool)>,
    /// The protocol rule that this instance breaks, for tests. Stored here because every part reads the
    /// mandate.
    pub(crate) mutated: Mutated,
}

/// Circumstances under which a peer judges an outcome.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Judge {
    pub(crate) now: Time,
    /// The peer is the host: no other peer confirms outcomes to it.
    pub(crate) hosts: bool,
    /// The peer believes that the host is gone.
    pub(crate) absent: bool,
}

/// Mixers and standbys after a chain of failovers.
struct Seats {
    rank: Rank,
    mixers: Vec<PeerId>,
    standbys: Vec<PeerId>,
    polite: bool,
}

impl Seats {
    /// Returns the seats after one more failover. A standby takes the mixer's place; another mixer goes on
    /// with one mixer fewer. `None` when the signer isn't entitled, `over` is no mixer, or the rank isn't
    /// higher.
    fn after(&self, failover: &Signed<Failover>, anyone: bool) -> Option<Seats> {
        let (by, rank, over) = (failover.sender, failover.body.rank, failover.body.over);
        let place = self.mixers.iter().position(|mixer| *mixer == over)?;
        let mixes = self.mixers.contains(&by);
        if by == over || !(mixes || anyone || self.standbys.contains(&by)) || rank <= self.rank {
            return None;
        }
        let (mut mixers, mut standbys) = (self.mixers.clone(), self.standbys.clone());
        if mixes {
            mixers.remove(place);
        } else {
            mixers[place] = by;
        }
        standbys.retain(|standby| *standby != by);
        Some(Seats { rank, mixers, standbys, polite: failover.body.is_polite() })
    }
}

impl Mandate {
    fn in_force(&self) -> InForce {
        InForce { rank: self.rank, mixers: self.mixers.clone() }
    }

    /// Returns whether a program stream is made by a peer that may make it: a mixer in force, or one of the
    /// remembered ranks. A mixer that was elected again continues the stream it began under an earlier rank.
    pub(crate) fn allows(&self, spec: &StreamSpec) -> bool {
        let known = || self.in_force().makes(spec) || self.makers.contains(&(spec.rank, spec.maker));
        spec.kind == StreamKind::Program && known()
    }

    /// Returns whether a peer mixes, or has mixed under one of the last [`RANKS_KEPT`] ranks.
    pub(crate) fn has_mixed(&self, peer: &PeerId) -> bool {
        self.makers.iter().any(|(_, maker)| maker == peer)
    }

    /// Returns the mixers that an election or a failover has put in force, which the next election favors;
    /// empty in term 0.
    pub(crate) fn sitting(&self) -> &[PeerId] {
        if self.rank.term == 0 { &[] } else { &self.mixers }
    }

    /// Returns the uplink of each mixer that the outcome in force names, in bits per second; 0 if it wasn't
    /// measured.
    pub(crate) fn uplinks_bps(&self) -> impl Iterator<Item = (&PeerId, u64)> {
        let outcome = self.decided.iter().map(|decided| &decided.body);
        outcome.flat_map(|outcome| outcome.mixers.iter().zip(outcome.uplinks_bps.iter().copied()))
    }

    /// Returns whether a peer was a mixer of this term and was replaced because it fell silent. It stays on
    /// the roster until the host finds it gone.
    pub(crate) fn has_lost(&self, peer: &PeerId) -> bool {
        self.led_to(self.rank).any(|failover| failover.body.over == *peer && !failover.body.is_polite())
    }

    /// Returns whether the mixer that a failover replaces has asked for it.
    pub(crate) fn is_polite(&self, failover: &Failover) -> bool {
        failover.is_polite() || self.mutated.is(Mutation::BelievesAllWishes)
    }

    /// Returns whether a living mixer has denied a failover by `successor`.
    pub(crate) fn bars(&self, mixer: &PeerId, successor: &PeerId) -> bool {
        self.alives.iter().any(|alive| alive.sender == *mixer && alive.body.successor == *successor)
    }

    /// Returns the statement by which a failover of this term is denied, if there is one.
    pub(crate) fn denial(&self, failover: &Signed<Failover>) -> Option<&Signed<Alive>> {
        let Failover { rank, over, .. } = failover.body;
        let polite = self.is_polite(&failover.body);
        let denies = |alive: &&Signed<Alive>| alive.sender == over && alive.body.successor == failover.sender;
        self.alives.iter().find(denies).filter(|_| !polite && rank.term == self.rank.term)
    }

    /// Returns whether no mixer in force has denied a failover by this standby, so that it may fail over from
    /// each of them.
    pub(crate) fn is_free(&self, standby: &PeerId) -> bool {
        !self.mixers.iter().any(|mixer| self.bars(mixer, standby))
    }

    /// Returns the roster of the last election.
    pub(crate) fn under(&self) -> Option<&SignedRoster> {
        self.under.as_ref()
    }

    /// Returns the roster of the last election if it is older than that of `epoch`.
    pub(crate) fn under_before(&self, epoch: u32) -> Option<&SignedRoster> {
        self.under.as_ref().filter(|under| under.epoch < epoch)
    }

    /// Returns the rank of the last denied failover known here.
    pub(crate) fn withdrawn(&self) -> Option<Rank> {
        self.alives.last().map(|alive| alive.body.denied)
    }

    /// Returns the first standby.
    pub(crate) fn standby(&self) -> Option<PeerId> {
        self.standbys.first().copied()
    }

    /// Returns the lead mixer, the first elected.
    pub(crate) fn lead(&self) -> Option<PeerId> {
        self.mixers.first().copied()
    }

    /// Takes a new roster into account: it names the acting mixer of term 0, and an outcome may have waited
    /// for it. An outcome decided under a host that had already been succeeded is void.
    pub(crate) fn roster_changed(&mut self, out: &mut Outbox, stage: &Stage) {
        let is_void = |decided: &Decided| stage.voids(decided.epoch) && !self.confirms_still(stage, decided);
        if self.decided.as_ref().is_some_and(is_void) {
            self.forget();
        }
        self.follow_acting(out, stage);
        if let Some((early, absent)) = self.early.take() {
            out.note(Note::Decided(Box::new(early), absent)); // as a note, so that it is forwarded to the children
        }
    }

    /// Returns whether an outcome waits for the host's word, which doesn't come if the host is gone.
    pub(crate) fn waits_for_host(&self) -> bool {
        self.early.as_ref().is_some_and(|(_, absent)| !absent)
    }

    /// Judges the outcome that waits for the host's word again, now that the host is missed.
    pub(crate) fn host_missed(&mut self, out: &mut Outbox) {
        if let Some((early, _)) = self.early.take() {
            out.note(Note::Decided(Box::new(early), true));
        }
    }

    /// Drops the outcome in force, which is void.
    fn forget(&mut self) {
        let (makers, mutated) = (std::mem::take(&mut self.makers), self.mutated);
        let (confirmed, early) = (self.confirmed.take(), self.early.take());
        *self = Mandate { makers, mutated, confirmed, early, ..Mandate::default() };
    }

    fn follow_acting(&mut self, out: &mut Outbox, stage: &Stage) {
        if self.rank == Rank::default()
            && let Some(roster) = stage.roster()
        {
            let acting: Vec<_> = roster.acting.into_iter().collect();
            if self.mixers != acting {
                self.mixers = acting;
                self.remember(out);
            }
        }
    }

    /// Puts an outcome in force if a majority of its roster signed it and its term is new. An outcome under a
    /// roster that isn't known yet is kept until that arrives, and one that only the host's word can prove until that
    /// arrives.
    pub(crate) fn decide(
        &mut self,
        out: &mut Outbox,
        stage: &Stage,
        judge: Judge,
        decided: Decided,
        tallies: Vec<Tally>,
    ) -> bool {
        let Outcome { term, mixers, standbys, .. } = &decided.body;
        let doubled = mixers.iter().any(|mixer| standbys.contains(mixer));
        let again = *term == self.rank.term && self.mutated.is(Mutation::RunsBack);
        let kept = self.rank.term > 0 && self.mutated.is(Mutation::KeepsItsMixer);
        let confirmed = self.confirms(&decided);
        let void = stage.voids(decided.epoch) && !confirmed;
        if void || kept || mixers.is_empty() || doubled {
            return false;
        }
        let follows = again || self.yields_to(stage, &decided);
        let signers = decided.signatures.iter().map(|(signer, _)| signer);
        let majority = stage.decides(decided.epoch, signers, judge.absent);
        let unknown = majority.is_none() && decided.epoch > stage.epoch();
        if !(majority == Some(true) || unknown || confirmed) {
            return false;
        }
        if !follows || !(confirmed || (majority == Some(true) && self.counts(stage, judge, &decided))) {
            // the host may follow it instead of the outcome in force here
            let later = self.decided.as_ref().is_none_or(|known| decided.epoch > known.epoch);
            if follows || later || confirmed {
                self.early = Some((decided, judge.absent));
            }
            return false;
        }
        self.rank = Rank { term: decided.body.term, failover_count: 0 };
        self.mixers = decided.body.mixers.to_vec();
        self.standbys = decided.body.standbys.to_vec();
        if self.mutated.is(Mutation::ConfusesOutcome) {
            std::mem::swap(&mut self.mixers, &mut self.standbys);
        }
        self.failovers.clear();
        self.alives.clear();
        (self.newest, self.polite) = (0, false);
        out.event(Event::Elected {
            term: decided.body.term,
            reason: decided.body.reason,
            signatures: decided.signatures.len(),
            roster: stage.size(decided.epoch).map(|(peers, _)| peers),
            mixers: self.mixers.clone(),
            standbys: self.standbys.clone(),
            tallies,
        });
        self.under = stage.at(decided.epoch).cloned();
        self.decided = Some(decided);
        self.remember(out);
        true
    }

    /// Returns whether the host has confirmed an outcome, and its word isn't void itself.
    fn confirms_still(&self, stage: &Stage, decided: &Decided) -> bool {
        self.confirms(decided) && self.confirmed.as_ref().is_some_and(|word| !stage.voids(word.epoch))
    }

    /// Returns whether the host has confirmed an outcome.
    fn confirms(&self, decided: &Decided) -> bool {
        self.confirmed.as_ref().is_some_and(|word| word.body == Confirmed::of(&decided.body))
    }

    /// Returns whether an outcome that its signers decide counts here without the host's word: the host signed it, or
    /// is gone. It is recent and not far ahead. A peer without an outcome can't tell what is recent, so the host must
    /// have signed.
    fn counts(&self, stage: &Stage, judge: Judge, decided: &Decided) -> bool {
        let mut signers = decided.signatures.iter().map(|(signer, _)| signer);
        let by_host = judge.hosts || signers.clone().any(|signer| stage.is_host_of(decided.epoch, signer));
        let near = decided.body.term <= self.rank.term.saturating_add(TERMS_AHEAD_MAX);
        // while the host is heard, its word comes, or the outcome isn't the room's
        let known = by_host || (judge.absent && self.rank.term > 0 && near);
        known && Self::is_recent(stage, judge, decided.epoch, &mut signers)
    }

    /// Returns whether the roster of an outcome still counts, or its signers decide for the newest roster too.
    fn is_recent(
        stage: &Stage,
        judge: Judge,
        epoch: u32,
        signers: &mut dyn Iterator<Item = &PeerId>,
    ) -> bool {
        stage.is_fresh(judge.now, epoch) || stage.decides(stage.epoch(), signers, judge.absent) == Some(true)
    }

    /// Takes the host's word on which outcome is in force, if it is newer than the last word. An outcome that waited
    /// for it follows. An outcome in force under a superseded roster is dropped when the host confirms another: host
    /// and peer were cut off from each other.
    pub(crate) fn confirm(
        &mut self,
        out: &mut Outbox,
        stage: &Stage,
        judge: Judge,
        word: Signed<Confirmed>,
    ) -> bool {
        let newer = self
            .confirmed
            .as_ref()
            .is_none_or(|known| (known.epoch, known.counter) < (word.epoch, word.counter));
        if !newer || !stage.is_key_of(word.epoch, &word.sender) {
            return false;
        }
        let (term, later) = (word.body.term, word.epoch);
        self.confirmed = Some(word);
        if let Some(known) = &self.decided {
            let mut signers = known.signatures.iter().map(|(signer, _)| signer);
            let stale = known.epoch < later
                && term <= known.body.term
                && !self.confirms(known)
                && !Self::is_recent(stage, judge, known.epoch, &mut signers);
            if stale {
                self.forget();
                self.follow_acting(out, stage);
                out.note(Note::Mandate);
            }
        }
        let named = self.early.as_ref().is_some_and(|(early, _)| self.confirms(early));
        if named && let Some((early, absent)) = self.early.take() {
            out.note(Note::Decided(Box::new(early), absent));
        }
        true
    }

    /// Returns whether an outcome supersedes the one in force. A higher term does. If two halves of a
    /// partitioned room have decided the same term, the outcome with more voters wins, then the one with the
    /// lower evidence hash, so that all peers choose alike.
    fn yields_to(&self, stage: &Stage, decided: &Decided) -> bool {
        let weight = |of: &Decided| (stage.size(of.epoch), Reverse(of.body.evidence));
        match &self.decided {
            Some(known) if known.body.term == decided.body.term => {
                known.body.evidence != decided.body.evidence && weight(known) < weight(decided)
            }
            _ => decided.body.term > self.rank.term,
        }
    }

    /// Returns whether a failover would be accepted: the signer is a standby or another mixer of the rank
    /// that it follows, and owns its count.
    pub(crate) fn may_fail_over(&self, failover: &Signed<Failover>) -> bool {
        self.with(failover).is_some()
    }

    /// Returns the failovers with one more inserted, and the resulting seats; `None` when the new one isn't
    /// acceptable.
    fn with(&self, new: &Signed<Failover>) -> Option<(Vec<Signed<Failover>>, Seats)> {
        let Failover { rank, over, .. } = new.body;
        let own = self.failover_count_after(&new.sender, rank.failover_count.saturating_sub(1))
            == Some(rank.failover_count);
        let barred = !self.is_polite(&new.body) && self.bars(&over, &new.sender);
        if rank.term != self.rank.term || self.is_far(rank) || !own || barred {
            return None;
        }
        let mut failovers = self.failovers.clone();
        match failovers.binary_search_by_key(&rank, |known| known.body.rank) {
            // Two failovers signed for one rank are a violation: all peers keep the lower of the two.
            Ok(at) if new.body < failovers[at].body => failovers[at] = new.clone(),
            Err(at) if failovers.len() < FAILOVERS_MAX => failovers.insert(at, new.clone()),
            _ => return None,
        }
        let seats = self.seats(&mut failovers)?;
        failovers.contains(new).then_some((failovers, seats))
    }

    /// Returns the first failover count above the given one that belongs to this peer; `None` if the peer is
    /// neither standby nor mixer of the outcome. Counts are partitioned round-robin among the eligible peers,
    /// standbys first, so that no two peers can sign the same count.
    fn failover_count_after(&self, peer: &PeerId, failover_count: u16) -> Option<u16> {
        let outcome = &self.decided.as_ref()?.body;
        let mut all = outcome.standbys.iter().chain(outcome.mixers.iter());
        let anyone = self.mutated.is(Mutation::LetsAnyoneFailOver).then_some(0);
        let own = all.position(|other| other == peer).or(anyone)?;
        let count = outcome.standbys.len() + outcome.mixers.len();
        let (failover_count, first) =
            (usize::from(failover_count), usize::from(failover_count) / count * count + own + 1);
        u16::try_from(if first > failover_count { first } else { first + count }).ok()
    }

    /// Returns whether a failover count exceeds the newest known by more than [`FAILOVERS_AHEAD_MAX`].
    fn is_far(&self, rank: Rank) -> bool {
        rank.failover_count > self.newest.saturating_add(FAILOVERS_AHEAD_MAX)
    }

    /// Returns the seats that follow from the outcome and these failovers: those of the highest failover.
    /// Failovers that don't follow from the outcome or from another one in the list are removed, and further ones by
    /// one wish.
    fn seats(&self, failovers: &mut Vec<Signed<Failover>>) -> Option<Seats> {
        let outcome = &self.decided.as_ref()?.body;
        let mut known = vec![Seats {
            rank: Rank { term: outcome.term, failover_count: 0 },
            mixers: outcome.mixers.to_vec(),
            standbys: outcome.standbys.to_vec(),
            polite: false,
        }];
        let anyone = self.mutated.is(Mutation::LetsAnyoneFailOver);
        let mut granted = Vec::new();
        failovers.retain(|failover| {
            let Failover { after, over, .. } = failover.body;
            // one failover per wish: the lowest rank, so that all peers keep the same
            let wish = failover.body.is_polite().then_some((after, over, failover.sender));
            let before = known.iter().find(|seats| seats.rank == after && !granted.contains(&wish));
            let seats = before.and_then(|before| before.after(failover, anyone));
            let fits = seats.is_some();
            if fits && wish.is_some() {
                granted.push(wish);
            }
            known.extend(seats);
            fits
        });
        known.pop()
    }

    fn take_seats(&mut self, out: &mut Outbox, failovers: Vec<Signed<Failover>>, seats: Seats) {
        self.failovers = failovers;
        (self.rank, self.mixers, self.standbys, self.polite) =
            (seats.rank, seats.mixers, seats.standbys, seats.polite);
        self.remember(out);
    }

    /// Takes a failover if it is acceptable. One that isn't the highest changes no seats while the highest
    /// one stands.
    pub(crate) fn failover(&mut self, out: &mut Outbox, failover: Signed<Failover>) -> bool {
        let Some((failovers, seats)) = self.with(&failover) else { return false };
        let Failover { rank, .. } = failover.body;
        let polite = failover.body.is_polite();
        self.newest = self.newest.max(rank.failover_count);
        if seats.rank == rank {
            out.event(Event::Failover { rank, peer: failover.sender, polite });
            self.take_seats(out, failovers, seats);
        } else {
            self.failovers = failovers;
        }
        true
    }

    /// Returns the chain of failovers that led to a rank, the last one first.
    pub(crate) fn led_to(&self, rank: Rank) -> impl Iterator<Item = &Signed<Failover>> {
        let known = |rank| self.failovers.iter().find(move |known| known.body.rank == rank);
        std::iter::successors(known(rank), move |last| known(last.body.after))
    }

    /// Takes a mixer's statement that it is alive: the failover over it ends, and the mixer is in force
    /// again. The statement may arrive before the failover, which is then rejected.
    pub(crate) fn alive(&mut self, out: &mut Outbox, alive: Signed<Alive>) -> bool {
        let Alive { rank, denied, successor } = alive.body;
        let mixed = self.makers.iter().any(|(of, maker)| of.term == rank.term && *maker == alive.sender);
        let known = self.bars(&alive.sender, &successor);
        let terms = rank.term == self.rank.term && denied.term == rank.term;
        // Only eligible successors count. Otherwise an attacker's invented denials would displace genuine
        // ones.
        let may = self.failover_count_after(&successor, 0).is_some();
        if !mixed || known || !terms || !may || rank == denied || self.is_far(denied) {
            return false;
        }
        self.newest = self.newest.max(denied.failover_count);
        let mixer = alive.sender;
        if self.alives.len() >= FAILOVERS_MAX {
            self.alives.remove(0);
        }
        self.alives.push(alive);
        let mut failovers = self.failovers.clone();
        failovers.retain(|of| of.sender != successor || of.body.over != mixer || of.body.is_polite());
        if failovers.len() < self.failovers.len()
            && let Some(seats) = self.seats(&mut failovers)
        {
            let before: Vec<_> = self.led_to(self.rank).cloned().collect();
            self.take_seats(out, failovers, seats);
            // Failovers that followed the denied one are withdrawn too. Another one that didn't count before
            // may count now.
            for of in before.iter().filter(|of| !self.failovers.contains(of)) {
                out.event(Event::Withdrawn { rank: of.body.rank, peer: of.sender });
            }
            if let Some(of) = self.led_to(self.rank).next().filter(|of| !before.contains(of)) {
                let (rank, polite) = (of.body.rank, of.body.is_polite());
                out.event(Event::Failover { rank, peer: of.sender, polite });
            }
        }
        true
    }

    /// Returns the rank of the next failover that a peer may declare; `None` if it may declare none.
    pub(crate) fn next_failover(&self, peer: &PeerId) -> Option<Rank> {
        let failover_count = self.failover_count_after(peer, self.newest)?;
        Some(Rank { term: self.rank.term, failover_count })
    }

    pub(crate) fn bounds(&self) -> [Bound; 3] {
        [
            Bound::new("past ranks' mixers", self.makers.len(), RANKS_KEPT),
            Bound::new("failovers", self.failovers.len(), FAILOVERS_MAX),
            Bound::new("denied failovers", self.alives.len(), FAILOVERS_MAX),
        ]
    }

    fn remember(&mut self, out: &mut Outbox) {
        for mixer in &self.mixers {
            let maker = (self.rank, *mixer);
            if !self.makers.contains(&maker) {
                self.makers.push_back(maker);
            }
        }
        while self.makers.len() > RANKS_KEPT {
            self.makers.pop_front();
        }
        out.act(Output::Mandate(self.in_force()));
        out.note(Note::Mandate);
    }
}

#[cfg(test)]
mod tests;
