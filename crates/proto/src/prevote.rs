//! Pre-votes: an election opens only with the consent of a majority, so that no peer opens one alone.
//!
//! Each peer on stage determines by itself whether the room needs an election, and since when. The peer next
//! in line ([`PreVotes::opens_at`]) becomes the opener and requests pre-votes from the present peers on
//! stage. A peer that sees the same need under the same mandate answers with its signature, at once or as
//! soon as it sees the need. The pre-votes of a majority of the roster form the [`Opening`], which the opener
//! sends to the stage. Without an opening no peer measures, votes, or raises the term.
//!
//! Lost pre-votes cost a few small messages, and the opener requests them again after a back-off. A minority
//! never opens an election.

use crate::ordered::OrderedMap;

use crate::bounded::{Bound, List};
use crate::id::PeerId;
use crate::mandate::{Mandate, TERMS_AHEAD_MAX};
use crate::message::{ElectionMessage, ElectionReason, Need, Opening, ROSTER_MAX, Roster};
use crate::score::Alone;
use crate::seal::Signature;
use crate::stage::{Mode, Stage};
use crate::time::{MS, SECOND, Time};
use crate::view::View;

/// Time for which the roster must be unchanged before the room's first election, so that peers that join
/// together are measured together. The wait ends after [`SETTLE_US_MAX`] in any case. Guesses.
const SETTLE_US: u64 = 700 * MS;
const SETTLE_US_MAX: u64 = 3 * SECOND;
/// Time for which any other need must last before an election opens. A guess.
const NEED_US: u64 = 200 * MS;
/// Time before the same candidates are voted on again because a standby or mixers are missing. It doubles
/// with each repetition, at most [`AGAIN_DOUBLINGS_MAX`] times. Guesses: longer than the host takes to notice
/// that a peer is gone, and fewer than ten elections in ten minutes where the wanted mixers can't be had.
const AGAIN_US: u64 = 10 * SECOND;
const AGAIN_DOUBLINGS_MAX: u32 = 3;
/// Time before the second election round on a challenger. A guess: long enough for a disturbance of one
/// measurement to be over, and at most ten rounds in ten minutes even if each had another reason.
const CHALLENGE_US: u64 = 60 * SECOND;
/// Time without a link to a mixer after which the mixer counts as gone, even if the roster has it present:
/// its host may be gone too. A link is given up after 5 s of silence, so a peer without other evidence waits
/// twice as long.
const UNREACHED_US: u64 = 5 * SECOND;
/// Time after which the next peer in line opens the election if none has opened before. A guess.
const NEXT_OPENER_US: u64 = 4 * SECOND;
/// Interval after which missing pre-votes are requested again; doubles up to [`ASK_US_MAX`]. Guesses: a round
/// trip over the worst path, and about the duration of a partition.
const ASK_US: u64 = SECOND;
const ASK_US_MAX: u64 = 8 * SECOND;
/// Time for which a peer remembers a pre-vote request for a need that it doesn't see yet: until the next
/// request.
const ASKED_US: u64 = ASK_US_MAX + SECOND;
/// Time for which a pre-vote binds the peer to one opener, so that it doesn't support two at once. A guess:
/// an opener with a majority needs a round trip to use it.
const GIVEN_US: u64 = 3 * SECOND;

/// Need for an election as this peer sees it.
#[derive(Clone, Copy, Debug)]
struct Needed {
    reason: ElectionReason,
    /// Time for which the need must last before an election opens.
    lasts_us: u64,
    since: Time,
}

/// Pre-votes that this peer requests as the opener.
#[derive(Debug)]
struct Asking {
    epoch: u32,
    need: Need,
    votes: OrderedMap<PeerId, Signature>,
    again_at: Time,
    wait_us: u64,
}

/// Another opener's request for this peer's pre-vote.
#[derive(Debug)]
struct PreVoteRequest {
    epoch: u32,
    need: Need,
    at: Time,
}

/// Conditions under which an outcome was decided.
#[derive(Debug, Default)]
struct Considered {
    /// Candidates throughout that election, and the session of each.
    candidates: Vec<(PeerId, u8)>,
    /// Number of mixers elected.
    mixers: usize,
    /// Number of mixers that the host requested; 0: by need.
    asked: u8,
    /// Load that a single mixer would have had to carry.
    alone: Alone,
    /// Number of outcomes directly before it with the same conditions and number of mixers.
    repeated: u32,
}

impl Considered {
    fn of(roster: &Roster, mixers: usize) -> Considered {
        let mut candidates: Vec<_> =
            roster.candidates().map(|candidate| (candidate.peer, candidate.session)).collect();
        candidates.sort_unstable();
        Considered { candidates, mixers, asked: roster.rules.mixers, alone: Alone::of(roster), repeated: 0 }
    }

    /// Returns whether `other` has the same candidates, requested number of mixers and elected number of
    /// mixers.
    fn is_as(&self, other: &Considered) -> bool {
        (&self.candidates, self.mixers, self.asked) == (&other.candidates, other.mixers, other.asked)
    }
}

/// State machine of this peer for opening elections.
#[derive(Debug, Default)]
pub(crate) struct PreVotes {
    need: Option<Needed>,
    roster_at: Time,
    /// Conditions when the outcome in force was decided.
    considered: Considered,
    /// Newest opening with a majority, for peers that missed it.
    opened: Option<Box<Opening>>,
    /// Opening under a roster that hasn't arrived yet.
    early: Option<Box<Opening>>,
    asking: Option<Asking>,
    /// Requests by opener; peers on stage only.
    asked: OrderedMap<PeerId, PreVoteRequest>,
    /// Opener that got this peer's last pre-vote, and when.
    given: Option<(PeerId, Time)>,
    wake_at: Option<Time>,
}

impl PreVotes {
    pub(crate) fn roster_changed(&mut self, now: Time) {
        self.roster_at = now;
    }

    /// Records the conditions of a new outcome in force.
    pub(crate) fn decided(&mut self, stage: &Stage, mandate: &Mandate) {
        let Some(roster) = stage.roster() else { return };
        let mut now = Considered::of(roster, mandate.mixers.len());
        // a candidate that came after the opening isn't in the outcome
        let opened = self.opened.as_ref().filter(|opened| opened.body.term == mandate.rank.term);
        if let Some(roster) = opened.and_then(|opened| stage.at(opened.epoch)) {
            let then = Considered::of(&roster.body, 0).candidates;
            now.candidates.retain(|candidate| then.contains(candidate));
        }
        if now.is_as(&self.considered) {
            now.repeated = self.considered.repeated.saturating_add(1);
        }
        self.considered = now;
        self.asking = None;
    }

    pub(crate) fn bounds(&self) -> [Bound; 3] {
        let votes = self.asking.as_ref().map_or(0, |asking| asking.votes.len());
        [
            Bound::new("candidates of the last ballot", self.considered.candidates.len(), ROSTER_MAX),
            Bound::new("pre-votes for this peer", votes, ROSTER_MAX),
            Bound::new("peers that request a pre-vote", self.asked.len(), ROSTER_MAX),
        ]
    }

    pub(crate) fn next_timeout(&self) -> Option<Time> {
        self.wake_at
    }

    fn wake(&mut self, at: Time) {
        self.wake_at = Some(self.wake_at.map_or(at, |known| known.min(at)));
    }

    /// Returns the highest term opened or decided by a majority, as far as this peer knows.
    pub(crate) fn term(&self, view: &View<'_>) -> u32 {
        self.opened.as_ref().map_or(0, |opened| opened.body.term).max(view.rank().term)
    }

    /// Returns whether an opening of `term` or a later term has arrived at this peer.
    pub(crate) fn has_opened(&self, term: u32) -> bool {
        self.opened.as_ref().is_some_and(|opened| opened.body.term >= term)
    }

    /// Re-evaluates the need, and returns an opening that is ready: this peer's own with a majority, or
    /// another that waited for its roster. `idle`: no election is open. `suffers`: the reason, if the program
    /// is degraded.
    pub(crate) fn update(
        &mut self,
        view: &mut View<'_>,
        idle: bool,
        suffers: Option<ElectionReason>,
    ) -> Option<Opening> {
        self.wake_at = None;
        if let Some(early) = self.early.take()
            && let Some(opening) = self.opening(view, *early)
        {
            return Some(opening);
        }
        self.follow_need(view, idle, suffers);
        let opening = self.request_pre_votes(view);
        if opening.is_none() {
            self.answer(view);
        }
        opening
    }

    /// Updates the present need and the time when it arose.
    fn follow_need(&mut self, view: &View<'_>, idle: bool, suffers: Option<ElectionReason>) {
        let wanted = if idle { self.wanted_now(view, suffers) } else { None };
        self.need = wanted.map(|(reason, lasts_us)| match self.need {
            Some(known) if (known.reason, known.lasts_us) == (reason, lasts_us) => known,
            _ => Needed { reason, lasts_us, since: view.now },
        });
        if self.need.is_none() {
            self.asking = None;
        }
    }

    /// Returns the reason for which an election is needed now, and the time for which the need must last
    /// first.
    fn wanted_now(&self, view: &View<'_>, suffers: Option<ElectionReason>) -> Option<(ElectionReason, u64)> {
        let candidates = view.stage.candidates();
        if view.stage.mode() == Mode::Mesh || candidates.is_empty() {
            return None;
        }
        let mandate = view.mandate;
        if mandate.rank.term == 0 {
            return Some((ElectionReason::Opening, SETTLE_US));
        }
        if mandate.rank.failover_count > 0 {
            let reason = if mandate.polite { ElectionReason::Leave } else { ElectionReason::MixerGone };
            return Some((reason, NEED_US));
        }
        let present = |peer: &PeerId| candidates.contains(peer);
        let mixers = mandate.mixers.iter().filter(|peer| present(peer)).count();
        if mixers < mandate.mixers.len() {
            return Some((ElectionReason::MixerGone, NEED_US));
        }
        let standby = mandate.standbys.iter().any(|peer| present(peer) && mandate.is_free(peer));
        let wanted = self.mixers_wanted(view);
        if mixers != wanted || (!standby && candidates.len() > mixers) {
            // a candidate that couldn't be measured may be leaving, so an immediate repetition would be
            // useless
            let now = view.stage.roster().map(|roster| Considered::of(roster, mixers));
            let again = now.is_some_and(|now| now.is_as(&self.considered));
            let again_us = AGAIN_US << self.considered.repeated.min(AGAIN_DOUBLINGS_MAX);
            return Some((ElectionReason::Count, if again { again_us } else { NEED_US }));
        }
        if mandate.mixers.iter().any(|mixer| *mixer != view.me && !view.links.is_up(mixer)) {
            return Some((ElectionReason::MixerGone, UNREACHED_US));
        }
        if let Some(reason) = suffers {
            return Some((reason, NEED_US));
        }
        let challenger = mandate.decided.as_ref().and_then(|decided| decided.body.challenger);
        challenger.filter(present).map(|_| (ElectionReason::Count, CHALLENGE_US))
    }

    /// Returns the number of mixers wanted: the number that the host requests, capped at the number of
    /// candidates. If the host leaves it to need, the number elected before, unless the load has since
    /// outgrown the uplink of one mixer (then two) or shrunk to it (then one).
    fn mixers_wanted(&self, view: &View<'_>) -> usize {
        let Some(roster) = view.stage.roster() else { return 1 };
        let elected = self.considered.mixers.max(1);
        let (before, alone) = (&self.considered.alone, Alone::of(roster));
        let widest_bps = view.mandate.uplinks_bps().map(|(_, bps)| bps).max().unwrap_or(0);
        let left_to_need = self.considered.asked != 0;
        let wanted = match usize::from(roster.rules.mixers) {
            0 if elected == 1 && alone.least_bps > before.least_bps && widest_bps < alone.least_bps => 2,
            0 if elected > 1
                && widest_bps >= alone.whole_bps
                && (left_to_need || alone.whole_bps < before.whole_bps) =>
            {
                1
            }
            0 => elected,
            asked => asked,
        };
        wanted.min(view.stage.candidates().len())
    }

    /// Returns the time at which a need has lasted long enough.
    fn ripe_at(&self, Needed { reason, lasts_us, since }: Needed) -> Time {
        match reason {
            ElectionReason::Opening => (self.roster_at.max(since) + lasts_us).min(since + SETTLE_US_MAX),
            _ => since + lasts_us,
        }
    }

    /// Returns the time at which this peer opens: the host when the need is ripe, then the other present
    /// peers in roster order, [`NEXT_OPENER_US`] apart.
    fn opens_at(&self, view: &View<'_>, needed: Needed) -> Time {
        let place = view.stage.present().position(|entry| entry.peer == view.me);
        let patience_us = place.map_or(u64::MAX, |place| place as u64 * NEXT_OPENER_US);
        Time(self.ripe_at(needed).0.saturating_add(patience_us))
    }

    fn is_bound_to_another(&self, view: &View<'_>, opener: PeerId) -> Option<Time> {
        let (to, at) = self.given?;
        (to != opener && view.now < at + GIVEN_US).then_some(at + GIVEN_US)
    }

    /// Requests pre-votes when it is this peer's turn, and returns the opening once a majority has given
    /// them.
    fn request_pre_votes(&mut self, view: &mut View<'_>) -> Option<Opening> {
        let needed = self.need?;
        let opens_at = self.opens_at(view, needed);
        let at = opens_at.max(self.is_bound_to_another(view, view.me).unwrap_or(opens_at));
        if view.now < at {
            self.wake(at);
            return None;
        }
        let term = self.term(view).saturating_add(1);
        let need = Need { term, under: view.rank(), reason: needed.reason, opener: view.me };
        let wait_us = match &self.asking {
            Some(asking) if asking.need == need && view.now < asking.again_at => {
                self.wake(asking.again_at);
                return self.count(view, false);
            }
            Some(asking) if asking.need.under == need.under => (2 * asking.wait_us).min(ASK_US_MAX),
            _ => ASK_US,
        };
        let epoch = view.stage.epoch();
        let kept = self.asking.take().filter(|asking| asking.need == need && asking.epoch == epoch);
        let asked_before = kept.is_some();
        let mut votes = kept.map_or_else(OrderedMap::new, |asking| asking.votes);
        votes
            .entry(view.me)
            .or_insert_with(|| Opening::countersign(view.keys, &view.config.room, epoch, &need));
        for entry in view.stage.present() {
            if !votes.contains_key(&entry.peer) {
                view.out.send(entry.peer, ElectionMessage::PreVoteWanted { epoch, need });
            }
        }
        self.given = Some((view.me, view.now));
        self.asking = Some(Asking { epoch, need, votes, again_at: view.now + wait_us, wait_us });
        self.wake(view.now + wait_us);
        self.count(view, asked_before)
    }

    /// Handles an opener's request for this peer's pre-vote.
    pub(crate) fn wanted(&mut self, view: &mut View<'_>, from: PeerId, epoch: u32, need: Need) {
        if !view.on_stage() || !view.stage.contains(&from) || need.opener != from {
            return;
        }
        // send a lagging opener the opening or outcome that it missed; it then requests again by itself
        if let Some(opened) = self.opened.as_ref().filter(|opened| opened.body.term >= need.term) {
            view.out.send(from, ElectionMessage::Opening(opened.clone()));
        }
        if need.under.term < view.rank().term
            && let Some(decided) = &view.mandate.decided
        {
            view.out.send(from, ElectionMessage::Decided(Box::new(decided.clone())));
        }
        self.asked.insert(from, PreVoteRequest { epoch, need, at: view.now });
        self.asked.retain(|peer, _| view.stage.contains(peer));
    }

    /// Gives one pre-vote, to the first opener in roster order that requests it for the need that this peer
    /// sees.
    fn answer(&mut self, view: &mut View<'_>) {
        self.asked.retain(|_, asked| view.now < asked.at + ASKED_US);
        let Some(needed) = self.need.filter(|_| !self.asked.is_empty()) else { return };
        let ripe_at = self.ripe_at(needed);
        if view.now < ripe_at {
            self.wake(ripe_at);
            return;
        }
        let known = self.term(view);
        let fits = |asked: &PreVoteRequest| {
            let Need { term, under, reason: why, .. } = asked.need;
            let next = term > known && term <= known.saturating_add(TERMS_AHEAD_MAX);
            next && under == view.rank() && why == needed.reason && view.stage.at(asked.epoch).is_some()
        };
        let first = view.stage.present().find(|entry| self.asked.get(&entry.peer).is_some_and(fits));
        let Some(opener) = first.map(|entry| entry.peer) else { return };
        if let Some(free_at) = self.is_bound_to_another(view, opener) {
            self.wake(free_at);
        } else if let Some(PreVoteRequest { epoch, need, .. }) = self.asked.remove(&opener) {
            self.given = Some((opener, view.now));
            let signature = Opening::countersign(view.keys, &view.config.room, epoch, &need);
            view.out.send(opener, ElectionMessage::PreVote { epoch, term: need.term, signature });
        }
    }

    /// Handles a pre-vote that this peer requested.
    pub(crate) fn vote(
        &mut self,
        view: &View<'_>,
        from: PeerId,
        epoch: u32,
        term: u32,
        signature: Signature,
    ) {
        if let Some(asking) = &mut self.asking
            && (asking.epoch, asking.need.term) == (epoch, term)
            && view.stage.contains(&from)
            && Opening::verify_one(&view.config.room, epoch, &asking.need, &from, &signature).is_ok()
        {
            asking.votes.insert(from, signature);
        }
    }

    /// Returns this peer's own opening once enough peers have signed. `late`: those that are left had the time to
    /// answer.
    fn count(&mut self, view: &View<'_>, late: bool) -> Option<Opening> {
        let asking = self.asking.as_ref()?;
        let signers: Vec<_> = asking.votes.keys().copied().collect();
        if !view.stage.suffices(asking.epoch, &signers, (view.now, view.me), late) {
            return None;
        }
        let Asking { epoch, need, votes, .. } = self.asking.take()?;
        let opening = Opening { epoch, body: need, signatures: List::truncated(votes) };
        self.opened = Some(Box::new(opening.clone()));
        Some(opening)
    }

    /// Handles an opening, and returns it if a majority signed it and it is newer than the last one.
    pub(crate) fn opening(&mut self, view: &View<'_>, opening: Opening) -> Option<Opening> {
        let Need { term, under, opener, .. } = opening.body;
        let known = self.opened.as_ref().map(|opened| (opened.body.term, opened.body.opener));
        // of two openings of one term, the opener with the lower id wins
        let newer = known.is_none_or(|(known, of)| term > known || (term == known && opener < of));
        let new = newer && term > under.term && under.term >= view.rank().term;
        if !new || !view.on_stage() || !view.stage.contains(&opener) {
            return None;
        }
        let absent = view.stage.misses_host(view.now, view.me);
        let near = term <= self.term(view).saturating_add(TERMS_AHEAD_MAX);
        if !near || (opening.epoch <= view.stage.epoch() && !view.stage.is_fresh(view.now, opening.epoch)) {
            return None;
        }
        match view.stage.decides(opening.epoch, opening.signatures.iter().map(|(signer, _)| signer), absent) {
            Some(true) => {
                self.opened = Some(Box::new(opening.clone()));
                self.asking = None;
                Some(opening)
            }
            None if opening.epoch > view.stage.epoch() => {
                self.early = Some(Box::new(opening));
                None
            }
            _ => None,
        }
    }
}
