//! Electing mixers.
//!
//! One peer on stage opens: it says so to the others, who measure the candidates ([`crate::probe`]) and send
//! signed reports to the whole stage. When all are in, or time is up, the opener issues a ballot: every report
//! and claim it holds, and the outcome that follows. A peer on stage recomputes the outcome and signs it, or
//! answers with what the ballot lacks; then it is issued once more. With the signatures of a majority of the
//! roster the outcome is decided, and goes to everyone.
//!
//! Who opens: the host; if the need lasts and no election opens, the next in the order of the roster, each
//! [`NEXT_OPENER_US`] later. A term that comes to nothing is followed by the next one.

use std::collections::BTreeMap;

use crate::bounded::List;
use crate::id::{PeerId, Rank};
use crate::io::Event;
use crate::message::{
    Ballot, Claim, Decided, ElectionReason, Message, Outcome, Report, Roster, SignedRoster,
};
use crate::outbox::{Note, View};
use crate::probe::{Reports, measurers};
use crate::roster::{Mode, Stage};
use crate::score::{Tally, elect, tally};
use crate::seal::{Signature, Signed};
use crate::time::{MS, SECOND, Time};

/// The roster must have been still for this long before the room's first election, so that those who join
/// together are measured together; but it doesn't wait longer than [`SETTLE_US_MAX`].
const SETTLE_US: u64 = 700 * MS;
const SETTLE_US_MAX: u64 = 3 * SECOND;
/// Other needs must last this long.
const NEED_US: u64 = 200 * MS;
/// The same candidates are voted on once more, for want of a standby, only after this. A guess; longer than the
/// host takes to find that somebody is gone.
const AGAIN_US: u64 = 10 * SECOND;
/// The next in line opens when nobody has for this long.
const NEXT_OPENER_US: u64 = 4 * SECOND;
/// A small stage's reports are in by then (DESIGN §5: a ballot binds within 6 s of opening), a large one's by
/// the later time.
const REPORTS_US_MAX: u64 = 4 * SECOND;
const REPORTS_US_MAX_LARGE: u64 = 10 * SECOND;
const LARGE_STAGE: usize = 8;
/// A ballot that lacked something is issued again when every vote is in, or after this.
const VOTES_US_MAX: u64 = SECOND;
/// A ballot that found no majority is issued again, under the roster of that moment.
const REISSUE_US: u64 = 2 * SECOND;
/// An election that isn't decided so long after its reports were due has failed.
const FAILED_US: u64 = 6 * SECOND;
/// A signer insists on reports it has held for this long (DESIGN §6).
const INSIST_US: u64 = SECOND;
/// How many ballots of one opener a peer signs in a term.
const ISSUES_MAX: u8 = 3;

/// An election as this peer knows it.
#[derive(Debug)]
struct Open {
    term: u32,
    reason: ElectionReason,
    opener: PeerId,
    since: Time,
    /// The opener's ballot, as issued last.
    ballot: Option<Issued>,
    issues: u8,
    /// Ballots we have signed.
    signed: u8,
}

#[derive(Debug)]
struct Issued {
    hash: [u8; 32],
    epoch: u32,
    outcome: Outcome,
    tallies: Vec<Tally>,
    votes: BTreeMap<PeerId, Signature>,
    at: Time,
    lacking: bool,
}

/// This peer's part in elections.
#[derive(Debug, Default)]
pub(crate) struct Election {
    open: Option<Open>,
    reports: Reports,
    claims: BTreeMap<PeerId, Signed<Claim>>,
    need: Option<(ElectionReason, Time)>,
    roster_at: Time,
    /// Who could be elected when the outcome in force was decided.
    considered: Vec<PeerId>,
    /// The term that we signed a ballot in last, and whose: nobody signs for two openers in one term.
    pledged: Option<(u32, PeerId)>,
    /// The last term that was decided, and the highest heard of.
    decided: u32,
    term: u32,
    /// Tallies of the ballot we signed, for our own application.
    tallies: Vec<Tally>,
    wake_at: Option<Time>,
}

impl Election {
    pub(crate) fn roster_changed(&mut self, now: Time) {
        self.roster_at = now;
    }

    /// What a decided outcome's candidates scored, as far as this peer recomputed it.
    pub(crate) fn take_tallies(&mut self) -> Vec<Tally> {
        std::mem::take(&mut self.tallies)
    }

    /// An outcome is in force.
    pub(crate) fn mandate_changed(&mut self, rank: Rank, stage: &Stage) {
        if rank.term > self.decided {
            self.decided = rank.term;
            self.considered = stage.candidates();
        }
        self.term = self.term.max(rank.term);
        if self.open.as_ref().is_some_and(|open| open.term <= rank.term) {
            self.open = None;
        }
    }

    /// No election is open, as far as this peer knows.
    pub(crate) fn is_over(&self) -> bool {
        self.open.is_none()
    }

    /// Why an election is needed now, if it is.
    fn need(&self, view: &View<'_>) -> Option<ElectionReason> {
        let candidates = view.stage.candidates();
        if view.stage.mode() == Mode::Mesh || candidates.is_empty() {
            return None;
        }
        let mandate = view.mandate;
        if mandate.rank.term == 0 {
            return Some(ElectionReason::Opening);
        }
        if mandate.rank.regency > 0 {
            return Some(if mandate.polite { ElectionReason::Leave } else { ElectionReason::MixerGone });
        }
        let present = |peer: &PeerId| candidates.contains(peer);
        let mixers = mandate.mixers.iter().filter(|peer| present(peer)).count();
        if mixers < mandate.mixers.len() {
            return Some(ElectionReason::MixerGone);
        }
        let standby = mandate.standbys.iter().any(present);
        let short = mixers != mixers_wanted(view.stage) || (!standby && candidates.len() > mixers);
        short.then_some(ElectionReason::Count)
    }

    /// How long after the need has come this peer opens: the host at once, then the others in roster order.
    fn patience_us(view: &View<'_>) -> u64 {
        let place = view.stage.present().position(|entry| entry.peer == view.me);
        place.map_or(u64::MAX, |place| place as u64 * NEXT_OPENER_US)
    }

    /// Looks at everything anew; to be called after whatever may have changed an election, and in time.
    pub(crate) fn look(&mut self, view: &mut View<'_>) {
        self.wake_at = None;
        if !view.on_stage() {
            return;
        }
        if self.open.as_ref().is_some_and(|open| view.now >= open.since + reports_us_max(view) + FAILED_US) {
            self.open = None;
        }
        self.follow_need(view);
        self.conduct(view);
    }

    fn wake(&mut self, at: Time) {
        self.wake_at = Some(self.wake_at.map_or(at, |known| known.min(at)));
    }

    /// Sees whether there is a need, and opens when it has lasted and it is our turn.
    fn follow_need(&mut self, view: &mut View<'_>) {
        let need = if self.open.is_some() { None } else { self.need(view) };
        let Some(reason) = need else {
            self.need = None;
            return;
        };
        let since = match self.need {
            Some((known, since)) if known == reason => since,
            _ => view.now,
        };
        self.need = Some((reason, since));
        let opens_at = self.opens_at(view, reason, since);
        if view.now >= opens_at {
            self.need = None;
            self.begin(view, reason);
        } else {
            self.wake(opens_at);
        }
    }

    fn opens_at(&self, view: &View<'_>, reason: ElectionReason, since: Time) -> Time {
        let settled = match reason {
            ElectionReason::Opening => (self.roster_at.max(since) + SETTLE_US).min(since + SETTLE_US_MAX),
            // who couldn't be measured may be on the way out; no use in asking the same again at once
            ElectionReason::Count
                if view.mandate.mixers.len() == mixers_wanted(view.stage)
                    && self.considered == view.stage.candidates() =>
            {
                since + AGAIN_US
            }
            _ => since + NEED_US,
        };
        Time(settled.0.saturating_add(Self::patience_us(view)))
    }

    /// Opens an election.
    fn begin(&mut self, view: &mut View<'_>, reason: ElectionReason) {
        let term = self.term.max(view.rank().term) + 1;
        view.send_stage(&Message::Opening { term, reason });
        let me = view.me;
        self.enter(view, term, reason, me);
    }

    /// An election has opened, by us or by another.
    fn enter(&mut self, view: &mut View<'_>, term: u32, reason: ElectionReason, opener: PeerId) {
        self.term = term;
        self.reports.clear();
        self.tallies.clear();
        self.open = Some(Open { term, reason, opener, since: view.now, ballot: None, issues: 0, signed: 0 });
        view.out.event(Event::ElectionOpened { term, reason });
        view.out.note(Note::Opened(term, reason));
    }

    /// Another peer opens.
    pub(crate) fn opening(&mut self, view: &mut View<'_>, from: PeerId, term: u32, reason: ElectionReason) {
        // one step at a time: nobody can burn the numbers
        let next = term > view.rank().term && term <= view.rank().term.saturating_add(ROUNDS_MAX);
        let newer = self.open.as_ref().is_none_or(|open| (term, open.opener) > (open.term, from));
        if view.on_stage() && view.stage.contains(&from) && next && term >= self.term && newer {
            self.enter(view, term, reason, from);
        }
    }

    pub(crate) fn report(&mut self, view: &View<'_>, report: Signed<Report>) {
        let right = self.open.as_ref().is_some_and(|open| open.term == report.body.term);
        if right && view.stage.contains(&report.sender) && view.stage.contains(&report.body.candidate) {
            self.reports.add(view.now, report);
        }
    }

    pub(crate) fn claim(&mut self, view: &View<'_>, claim: Signed<Claim>) {
        let newer = self.claims.get(&claim.sender).is_none_or(|known| known.counter < claim.counter);
        if newer && view.stage.contains(&claim.sender) {
            self.claims.insert(claim.sender, claim);
            self.claims.retain(|peer, _| view.stage.contains(peer));
        }
    }

    /// The opener's work: issue the ballot, and issue it again.
    fn conduct(&mut self, view: &mut View<'_>) {
        let Some(open) = &self.open else { return };
        let (since, issues) = (open.since, open.issues);
        let failed_at = since + reports_us_max(view) + FAILED_US;
        if open.opener != view.me || self.is_pledged_elsewhere(open.term, view.me) {
            self.wake(failed_at);
            return;
        }
        let due_at = match &open.ballot {
            None if self.all_reported(view) => view.now,
            None => since + reports_us_max(view),
            Some(_) if issues >= ISSUES_MAX => failed_at,
            Some(issued) if issued.lacking => {
                let all_in =
                    view.stage.voters(issued.epoch).is_some_and(|voters| issued.votes.len() >= voters);
                if all_in { view.now } else { issued.at + VOTES_US_MAX }
            }
            Some(issued) => issued.at + REISSUE_US,
        };
        if due_at <= view.now && issues < ISSUES_MAX {
            self.issue(view);
        } else {
            self.wake(due_at);
        }
    }

    fn is_pledged_elsewhere(&self, term: u32, opener: PeerId) -> bool {
        self.pledged.is_some_and(|(pledged, to)| pledged == term && to != opener)
    }

    /// Whether every candidate's measurers have reported, and every candidate has made its claim. Nothing is
    /// expected of or about a mixer that fell silent.
    fn all_reported(&self, view: &View<'_>) -> bool {
        let (Some(open), Some(roster)) = (&self.open, view.stage.roster()) else { return false };
        let lives = |peer: &PeerId| view.mandate.lost() != Some(*peer);
        view.stage.candidates().iter().filter(|candidate| lives(candidate)).all(|candidate| {
            let mut measured = measurers(roster, open.term, candidate).into_iter().filter(lives);
            self.claims.contains_key(candidate) && measured.all(|peer| self.reports.has(candidate, &peer))
        })
    }

    /// Issues the ballot, with our own signature under its outcome.
    fn issue(&mut self, view: &mut View<'_>) {
        let Some(open) = &mut self.open else { return };
        let Some(roster) = view.stage.roster() else { return };
        let reports =
            self.reports.iter().map(|(_, report)| report).filter(|report| due(roster, open.term, report));
        let reports: List<_, _> = List::truncated(reports.cloned());
        let candidates = view.stage.candidates();
        let unix_s = view.unix_s();
        let counts =
            |claim: &&Signed<Claim>| candidates.contains(&claim.sender) && claim.expires_unix_s >= unix_s;
        let claims: List<_, _> = List::truncated(self.claims.values().filter(counts).cloned());
        let sitting: List<_, _> = List::truncated(view.mandate.sitting().iter().copied());
        let tallies = tally(roster, &reports, &claims, &sitting);
        let evidence = evidence(&reports, &claims, &sitting);
        let outcome = outcome_of(open.term, open.reason, evidence, elect(roster, &tallies));
        let ballot = Ballot { reports, claims, sitting, outcome: outcome.clone() };
        let hash = ballot_hash(&ballot);
        let epoch = view.stage.epoch();
        self.pledged = Some((open.term, view.me));
        let mine = Decided::countersign(view.keys, &view.config.room, epoch, &outcome);
        open.issues += 1;
        open.ballot = Some(Issued {
            hash,
            epoch,
            outcome,
            tallies,
            votes: BTreeMap::from([(view.me, mine)]),
            at: view.now,
            lacking: false,
        });
        let signed = view.sign(ballot);
        view.send_stage(&Message::Ballot(Box::new(signed)));
        self.count(view);
    }

    /// The opener's ballot has come: sign it, or send what it lacks.
    pub(crate) fn ballot(&mut self, view: &mut View<'_>, ballot: Signed<Ballot>) {
        let pledged = self.is_pledged_elsewhere(ballot.body.outcome.term, ballot.sender);
        let Some(open) = &mut self.open else { return };
        let Some(SignedRoster { body: roster, .. }) = view.stage.at(ballot.epoch) else { return };
        let outcome = &ballot.body.outcome;
        let proper =
            open.opener == ballot.sender && open.term == outcome.term && open.reason == outcome.reason;
        if !proper || pledged || open.signed >= ISSUES_MAX {
            return;
        }
        let held = |at: &Time| view.now.since(*at) >= INSIST_US;
        let missing = self.reports.iter().filter(|(at, report)| {
            held(at) && due(roster, open.term, report) && !ballot.body.reports.contains(report)
        });
        let reports: List<_, _> = List::truncated(missing.map(|(_, report)| report.clone()));
        if !reports.is_empty() {
            view.out.send(ballot.sender, Message::Lacking { term: open.term, reports, claims: List::new() });
            return;
        }
        let Ballot { reports, claims, sitting, .. } = &ballot.body;
        let tallies = tally(roster, reports, claims, sitting);
        let evidence = evidence(reports, claims, sitting);
        let expected = outcome_of(open.term, open.reason, evidence, elect(roster, &tallies));
        let sits = **sitting == *view.mandate.sitting();
        let all_due = reports.iter().all(|report| due(roster, open.term, report));
        if !sits || !all_due || expected != *outcome {
            view.out.event(Event::BallotRejected { term: open.term, opener: ballot.sender });
            return;
        }
        open.signed += 1;
        self.pledged = Some((open.term, open.opener));
        self.tallies = tallies;
        let signature = Decided::countersign(view.keys, &view.config.room, ballot.epoch, outcome);
        let vote = Message::Vote { term: open.term, ballot: ballot_hash(&ballot.body), signature };
        view.out.send(ballot.sender, vote);
    }

    /// A signature has come.
    pub(crate) fn vote(
        &mut self,
        view: &mut View<'_>,
        from: PeerId,
        term: u32,
        ballot: [u8; 32],
        signature: Signature,
    ) {
        let Some(issued) =
            self.open.as_mut().filter(|open| open.term == term).and_then(|open| open.ballot.as_mut())
        else {
            return;
        };
        let holds = || {
            let room = &view.config.room;
            Decided::verify_one(room, issued.epoch, &issued.outcome, &from, &signature).is_ok()
        };
        if issued.hash == ballot && view.stage.contains(&from) && holds() {
            issued.votes.insert(from, signature);
            self.count(view);
        }
    }

    /// A signer holds what the ballot lacks.
    pub(crate) fn lacking(
        &mut self,
        view: &mut View<'_>,
        term: u32,
        reports: &[Signed<Report>],
        claims: &[Signed<Claim>],
    ) {
        for claim in claims {
            self.claim(view, claim.clone());
        }
        for report in reports {
            self.report(view, report.clone());
        }
        let open = self.open.as_mut().filter(|open| open.term == term);
        if let Some(issued) = open.and_then(|open| open.ballot.as_mut()) {
            issued.lacking = true;
        }
    }

    /// Decides when a majority has signed.
    fn count(&mut self, view: &mut View<'_>) {
        let Some(issued) = self.open.as_ref().and_then(|open| open.ballot.as_ref()) else { return };
        if view.stage.majority(issued.epoch, issued.votes.keys()) != Some(true) {
            return;
        }
        let decided = Decided {
            epoch: issued.epoch,
            body: issued.outcome.clone(),
            signatures: List::truncated(issued.votes.iter().map(|(peer, signature)| (*peer, *signature))),
        };
        self.tallies = issued.tallies.clone();
        self.open = None;
        view.send_stage(&Message::Decided(Box::new(decided.clone())));
        view.out.note(Note::Decided(Box::new(decided)));
    }

    pub(crate) fn next_timeout(&self) -> Option<Time> {
        self.wake_at
    }
}

/// How many terms past the one in force an opening may name: elections that came to nothing.
const ROUNDS_MAX: u32 = 64;

/// As many as the host wants, one when it leaves it to need; no more than there are candidates.
fn mixers_wanted(stage: &Stage) -> usize {
    let wanted = usize::from(stage.roster().map_or(1, |roster| roster.mixers.max(1)));
    wanted.min(stage.candidates().len())
}

fn reports_us_max(view: &View<'_>) -> u64 {
    if view.stage.candidates().len() <= LARGE_STAGE { REPORTS_US_MAX } else { REPORTS_US_MAX_LARGE }
}

/// Whether a report is by one of those who had to measure.
fn due(roster: &Roster, term: u32, report: &Signed<Report>) -> bool {
    report.body.term == term && measurers(roster, term, &report.body.candidate).contains(&report.sender)
}

fn outcome_of(
    term: u32,
    reason: ElectionReason,
    evidence: [u8; 32],
    (mixers, standbys): (Vec<PeerId>, Vec<PeerId>),
) -> Outcome {
    Outcome { term, reason, mixers: List::truncated(mixers), standbys: List::truncated(standbys), evidence }
}

fn evidence(reports: &[Signed<Report>], claims: &[Signed<Claim>], sitting: &[PeerId]) -> [u8; 32] {
    let bytes = postcard::to_allocvec(&(reports, claims, sitting));
    *blake3::hash(&bytes.expect("statements are plain data, and a vector grows")).as_bytes()
}

fn ballot_hash(ballot: &Ballot) -> [u8; 32] {
    let bytes = postcard::to_allocvec(ballot).expect("a ballot is plain data, and a vector grows");
    *blake3::hash(&bytes).as_bytes()
}
