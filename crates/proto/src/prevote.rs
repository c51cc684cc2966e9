//! Opening an election takes more than one peer's word.
//!
//! Every peer on stage sees for itself whether the room needs an election, and since when. Whoever's turn it is
//! ([`PreVotes::opens_at`]) asks the others for pre-votes. Who sees the same need, under the same mandate, answers with its
//! signature, at once or as soon as it sees it; pre-votes of a majority of the roster are the [`Opening`] that
//! goes to the stage, and without them nobody measures, votes, or counts a term up. A lost pre-vote costs a few
//! small messages, and is asked for again after a back-off; a minority never opens anything.

use std::collections::BTreeMap;

use crate::bounded::{Bound, List};
use crate::id::PeerId;
use crate::mandate::Mandate;
use crate::message::{ElectionReason, Message, Need, Opening, ROSTER_MAX};
use crate::outbox::View;
use crate::score::Alone;
use crate::seal::Signature;
use crate::stage::{Mode, Stage};
use crate::time::{MS, SECOND, Time};

/// The roster must have been still for this long before the room's first election, so that those who join
/// together are measured together; but it doesn't wait longer than [`SETTLE_US_MAX`].
const SETTLE_US: u64 = 700 * MS;
const SETTLE_US_MAX: u64 = 3 * SECOND;
/// Other needs must last this long.
const NEED_US: u64 = 200 * MS;
/// The same candidates are voted on once more, for want of a standby or of mixers, only after this, then after twice as
/// long, [`AGAIN_DOUBLINGS_MAX`] times. Guesses; longer than the host takes to find that somebody is gone, and less than ten
/// elections in ten minutes where who is wanted can't be had.
const AGAIN_US: u64 = 10 * SECOND;
const AGAIN_DOUBLINGS_MAX: u32 = 3;
/// A challenger is looked at once more after this. A guess: long enough for what disturbed one measurement to be
/// over, and at most ten rounds in ten minutes even if each had another reason.
const CHALLENGE_US: u64 = 60 * SECOND;
/// A mixer that this peer has had no link with for so long is gone, whatever the roster says: its host may be gone
/// too. Links are given up after 5 s of silence, so this is twice as long for whoever sees only that.
const UNREACHED_US: u64 = 5 * SECOND;
/// The next in line opens when nobody has for this long.
const NEXT_OPENER_US: u64 = 4 * SECOND;
/// Pre-votes that are missing are asked for again after this, then after twice as long, up to
/// [`ASK_US_MAX`]. Guesses: a round trip over the worst way, and about what a partition lasts.
const ASK_US: u64 = SECOND;
const ASK_US_MAX: u64 = 8 * SECOND;
/// Who is asked before it sees the need remembers it for this long: until it is asked again.
const ASKED_US: u64 = ASK_US_MAX + SECOND;
/// A pre-vote binds for this long: nobody helps two openers at once. A guess; an opener that has a majority
/// needs a round trip to use it.
const GIVEN_US: u64 = 3 * SECOND;
/// A pre-vote is given for a term so far past the last that is known here: openings may have been missed, but
/// nobody runs through the numbers.
const TERMS_AHEAD_MAX: u32 = 4;

/// A need as this peer sees it.
#[derive(Clone, Copy, Debug)]
struct Needed {
    reason: ElectionReason,
    /// It must last this long before anybody opens.
    lasts_us: u64,
    since: Time,
}

/// Pre-votes that this peer asks for.
#[derive(Debug)]
struct Asking {
    epoch: u32,
    need: Need,
    votes: BTreeMap<PeerId, Signature>,
    again_at: Time,
    wait_us: u64,
}

/// Pre-votes that somebody asks of us.
#[derive(Debug)]
struct PreVoteRequest {
    epoch: u32,
    need: Need,
    at: Time,
}

/// What an outcome was decided by.
#[derive(Debug, Default)]
struct Considered {
    /// Who could be elected.
    candidates: Vec<PeerId>,
    /// How many mixers came of it.
    mixers: usize,
    /// How many the host asked for; 0: as many as are needed.
    asked: u8,
    /// What one mixer would have had to carry.
    alone: Alone,
    /// How many outcomes in a row were decided by the same before it.
    repeated: u32,
}

impl Considered {
    fn of(stage: &Stage, candidates: &[PeerId], mixers: usize) -> Considered {
        Considered {
            candidates: candidates.to_vec(),
            mixers,
            asked: stage.roster().map_or(0, |roster| roster.mixers),
            alone: stage.roster().map(Alone::of).unwrap_or_default(),
            repeated: 0,
        }
    }

    /// Whether `other` came of the same candidates and the same wish, and as many mixers of it.
    fn is_as(&self, other: &Considered) -> bool {
        (&self.candidates, self.mixers, self.asked) == (&other.candidates, other.mixers, other.asked)
    }
}

/// This peer's part in opening elections.
#[derive(Debug, Default)]
pub(crate) struct PreVotes {
    need: Option<Needed>,
    roster_at: Time,
    /// When the outcome in force was decided.
    considered: Considered,
    /// The last opening that a majority wanted, for those who missed it.
    opened: Option<Box<Opening>>,
    /// An opening under a roster that hasn't come yet.
    early: Option<Box<Opening>>,
    asking: Option<Asking>,
    /// By who asks; peers on stage only.
    asked: BTreeMap<PeerId, PreVoteRequest>,
    /// Whom we gave our last pre-vote, and when.
    given: Option<(PeerId, Time)>,
    wake_at: Option<Time>,
}

impl PreVotes {
    pub(crate) fn roster_changed(&mut self, now: Time) {
        self.roster_at = now;
    }

    /// A new outcome is in force.
    pub(crate) fn decided(&mut self, stage: &Stage, mandate: &Mandate) {
        let mut now = Considered::of(stage, stage.candidates(), mandate.mixers.len());
        if now.is_as(&self.considered) {
            now.repeated = self.considered.repeated.saturating_add(1);
        }
        self.considered = now;
        self.asking = None;
    }

    pub(crate) fn bounds(&self) -> [Bound; 3] {
        let votes = self.asking.as_ref().map_or(0, |asking| asking.votes.len());
        [
            Bound::new("candidates that were considered", self.considered.candidates.len(), ROSTER_MAX),
            Bound::new("pre-votes that we asked for", votes, ROSTER_MAX),
            Bound::new("peers that ask for our pre-vote", self.asked.len(), ROSTER_MAX),
        ]
    }

    pub(crate) fn next_timeout(&self) -> Option<Time> {
        self.wake_at
    }

    fn wake(&mut self, at: Time) {
        self.wake_at = Some(self.wake_at.map_or(at, |known| known.min(at)));
    }

    /// The highest term that a majority has opened or decided, as far as it is known here.
    pub(crate) fn term(&self, view: &View<'_>) -> u32 {
        self.opened.as_ref().map_or(0, |opened| opened.body.term).max(view.rank().term)
    }

    /// Whether an opening of that term, or a later one, has come here.
    pub(crate) fn has_opened(&self, term: u32) -> bool {
        self.opened.as_ref().is_some_and(|opened| opened.body.term >= term)
    }

    /// Looks at everything anew, while no election is open (`idle`) or one is, and what the program suffers by, if it does; gives the opening that a majority
    /// wants of us, or that has waited for its roster.
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

    /// Notes what is needed, and since when.
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

    /// Why an election is needed now, if it is, and how long that must last.
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
            // who couldn't be measured may be on the way out; no use in asking the same again at once
            let again = Considered::of(view.stage, candidates, mixers).is_as(&self.considered);
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

    /// As many as the host asks for, no more than there are candidates. When it leaves that to need: as many as were elected,
    /// unless the job has grown past what one carries since then, or has shrunk to that.
    fn mixers_wanted(&self, view: &View<'_>) -> usize {
        let Some(roster) = view.stage.roster() else { return 1 };
        let elected = self.considered.mixers.max(1);
        let (before, alone) = (&self.considered.alone, Alone::of(roster));
        let widest_bps = view.mandate.uplinks_bps().map(|(_, bps)| bps).max().unwrap_or(0);
        let left_to_need = self.considered.asked != 0;
        let wanted = match usize::from(roster.mixers) {
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

    /// When a need has lasted long enough.
    fn ripe_at(&self, Needed { reason, lasts_us, since }: Needed) -> Time {
        match reason {
            ElectionReason::Opening => (self.roster_at.max(since) + lasts_us).min(since + SETTLE_US_MAX),
            _ => since + lasts_us,
        }
    }

    /// When this peer opens: the host once the need is ripe, then the others in the order of the roster.
    fn opens_at(&self, view: &View<'_>, needed: Needed) -> Time {
        let place = view.stage.present().position(|entry| entry.peer == view.me);
        let patience_us = place.map_or(u64::MAX, |place| place as u64 * NEXT_OPENER_US);
        Time(self.ripe_at(needed).0.saturating_add(patience_us))
    }

    fn is_bound_to_another(&self, view: &View<'_>, opener: PeerId) -> Option<Time> {
        let (to, at) = self.given?;
        (to != opener && view.now < at + GIVEN_US).then_some(at + GIVEN_US)
    }

    /// Asks for pre-votes, when it is our turn; gives the opening once a majority has given them.
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
                return self.count(view);
            }
            Some(asking) if asking.need.under == need.under => (2 * asking.wait_us).min(ASK_US_MAX),
            _ => ASK_US,
        };
        let epoch = view.stage.epoch();
        let kept = self.asking.take().filter(|asking| asking.need == need && asking.epoch == epoch);
        let mut votes = kept.map_or_else(BTreeMap::new, |asking| asking.votes);
        votes
            .entry(view.me)
            .or_insert_with(|| Opening::countersign(view.keys, &view.config.room, epoch, &need));
        for entry in view.stage.present() {
            if !votes.contains_key(&entry.peer) {
                view.out.send(entry.peer, Message::PreVoteWanted { epoch, need });
            }
        }
        self.given = Some((view.me, view.now));
        self.asking = Some(Asking { epoch, need, votes, again_at: view.now + wait_us, wait_us });
        self.wake(view.now + wait_us);
        self.count(view)
    }

    /// Somebody asks for our pre-vote.
    pub(crate) fn wanted(&mut self, view: &mut View<'_>, from: PeerId, epoch: u32, need: Need) {
        if !view.on_stage() || !view.stage.contains(&from) || need.opener != from {
            return;
        }
        // whoever is behind is told what it has missed: it asks anew by itself
        if let Some(opened) = self.opened.as_ref().filter(|opened| opened.body.term >= need.term) {
            view.out.send(from, Message::Opening(opened.clone()));
        }
        if need.under.term < view.rank().term
            && let Some(decided) = &view.mandate.decided
        {
            view.out.send(from, Message::Decided(Box::new(decided.clone())));
        }
        self.asked.insert(from, PreVoteRequest { epoch, need, at: view.now });
        self.asked.retain(|peer, _| view.stage.contains(peer));
    }

    /// Gives one pre-vote to whoever comes first on the roster of those who ask for what we need too.
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
            view.out.send(opener, Message::PreVote { epoch, term: need.term, signature });
        }
    }

    /// A pre-vote has come.
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

    /// Our own opening, when a majority of its roster wants it.
    fn count(&mut self, view: &View<'_>) -> Option<Opening> {
        let asking = self.asking.as_ref()?;
        if view.stage.majority(asking.epoch, asking.votes.keys()) != Some(true) {
            return None;
        }
        let Asking { epoch, need, votes, .. } = self.asking.take()?;
        let opening = Opening { epoch, body: need, signatures: List::truncated(votes) };
        self.opened = Some(Box::new(opening.clone()));
        Some(opening)
    }

    /// An opening has come: gives it back when a majority wants it and it is news.
    pub(crate) fn opening(&mut self, view: &View<'_>, opening: Opening) -> Option<Opening> {
        let Need { term, under, opener, .. } = opening.body;
        let known = self.opened.as_ref().map(|opened| (opened.body.term, opened.body.opener));
        // of two openers of one term, the lower id's counts
        let newer = known.is_none_or(|(known, of)| term > known || (term == known && opener < of));
        let new = newer && term > under.term && under.term >= view.rank().term;
        if !new || !view.on_stage() || !view.stage.contains(&opener) {
            return None;
        }
        match view.stage.majority(opening.epoch, opening.signatures.iter().map(|(signer, _)| signer)) {
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
