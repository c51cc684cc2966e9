//! Electing mixers.
//!
//! One peer on stage opens, with the pre-votes of a majority ([`crate::prevote`]). The stage measures the candidates
//! ([`crate::probe`]) and sends signed reports to the whole stage. When all are in, or time is up, the opener
//! issues a ballot: every report and claim it holds, and the outcome that follows. A peer on stage recomputes the
//! outcome and signs it, or answers with what the ballot lacks; then it is issued once more. With the
//! signatures of a majority of the roster the outcome is decided, and goes to everyone.
//!
//! Nobody signs for two openers in a term, nor a second ballot of one opener that leaves out what the first one
//! held. A term that comes to nothing is followed by the next one.

use std::collections::{BTreeMap, BTreeSet};

use crate::audience::{Audience, TreePosition};
use crate::bounded::{Bound, List};
use crate::doubts::{believed, doubts};
use crate::hysteresis::{Seats, seats};
use crate::id::PeerId;
use crate::io::Event;
use crate::mandate::Mandate;
use crate::message::{
    BALLOT_REPORTS_MAX, Ballot, Claim, Decided, ElectionReason, Message, Need, Opening, Outcome, ROSTER_MAX,
    Report, Roster, Sufferers,
};
use crate::outbox::{Note, View};
use crate::prevote::PreVotes;
use crate::probe::{LARGE_STAGE, Reports, measurers};
use crate::score::{Sitting, Tally, elect, tally, uplinks_bps};
use crate::seal::{Signature, Signed};
use crate::stage::Stage;
use crate::time::{SECOND, Time};
use crate::trouble::Trouble;

/// A small stage's reports are in by then (DESIGN §5: a ballot binds within 6 s of opening), a large one's by
/// the later time.
const REPORTS_US_MAX: u64 = 4 * SECOND;
const REPORTS_US_MAX_LARGE: u64 = 10 * SECOND;
/// A ballot that lacked something is issued again when every vote is in, or after this.
const VOTES_US_MAX: u64 = SECOND;
/// A ballot that found no majority is issued again, under the roster of that moment.
const REISSUE_US: u64 = 2 * SECOND;
/// An election that isn't decided so long after its reports were due has failed.
const FAILED_US: u64 = 6 * SECOND;
/// A signer insists on reports it has held for this long (DESIGN §6).
const INSIST_US: u64 = SECOND;
/// How many ballots an opener issues in a term, and others look at.
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
    /// Ballots that its opener has issued, as far as they came here.
    issues: u8,
    /// What the last one held.
    shown: BTreeSet<Shown>,
}

/// One piece of evidence: a report by (candidate, measurer) and its counter; a claim by (sender, sender) and 0, for
/// whoever claims anew may be taken at its newer word.
type Shown = (PeerId, PeerId, u64);

#[derive(Debug)]
struct Issued {
    hash: [u8; 32],
    epoch: u32,
    outcome: Outcome,
    tallies: Vec<Tally>,
    votes: BTreeMap<PeerId, Signature>,
    at: Time,
    /// Who answered that something is lacking.
    lacking: BTreeSet<PeerId>,
}

/// This peer's part in elections.
#[derive(Debug, Default)]
pub(crate) struct Election {
    open: Option<Open>,
    reports: Reports,
    /// The newest claim of each peer on stage, and when it came.
    claims: BTreeMap<PeerId, (Time, Signed<Claim>)>,
    pre_votes: PreVotes,
    trouble: Trouble,
    audience: Audience,
    /// The term that we signed a ballot in last, and whose: nobody signs for two openers in one term.
    pledged: Option<(u32, PeerId)>,
    /// The last term that was decided.
    decided: u32,
    /// Tallies of the ballot we signed, for our own application.
    tallies: Vec<Tally>,
    wake_at: Option<Time>,
}

impl Election {
    pub(crate) fn roster_changed(&mut self, now: Time) {
        self.pre_votes.roster_changed(now);
    }

    /// What a decided outcome's candidates scored, as far as this peer recomputed it.
    pub(crate) fn take_tallies(&mut self) -> Vec<Tally> {
        std::mem::take(&mut self.tallies)
    }

    /// An outcome is in force.
    pub(crate) fn mandate_changed(&mut self, now: Time, mandate: &Mandate, stage: &Stage) {
        let rank = mandate.rank;
        if self.trouble.mandate_changed(now, rank) {
            self.audience.mandate_changed();
        }
        if rank.term > self.decided {
            self.decided = rank.term;
            self.pre_votes.decided(stage, mandate);
        }
        if self.open.as_ref().is_some_and(|open| open.term <= rank.term) {
            self.open = None;
        }
    }

    /// Whether an opening of that term, or a later one, has come here.
    pub(crate) fn has_opened(&self, term: u32) -> bool {
        self.pre_votes.has_opened(term)
    }

    /// No election is open, as far as this peer knows.
    pub(crate) fn is_over(&self) -> bool {
        self.open.is_none()
    }

    /// Looks at everything anew; to be called after whatever may have changed an election, and in time.
    pub(crate) fn update(&mut self, view: &mut View<'_>) {
        self.wake_at = None;
        if !view.on_stage() {
            return;
        }
        let over = |open: &Open| {
            let late = view.now >= open.since + reports_us_max(view) + FAILED_US;
            late || !view.stage.present().any(|entry| entry.peer == open.opener)
        };
        if self.open.as_ref().is_some_and(over) {
            self.open = None;
        }
        let suffers = if self.trouble.is_there(view) {
            Some(ElectionReason::Trouble)
        } else {
            self.audience.suffers(view, self.trouble.since()).then_some(ElectionReason::Audience)
        };
        if let Some(opening) = self.pre_votes.update(view, self.open.is_none(), suffers) {
            if opening.body.opener == view.me {
                view.send_stage(&Message::Opening(Box::new(opening.clone())));
            }
            self.enter(view, opening.body);
        }
        if let Some(at) = self.pre_votes.next_timeout() {
            self.wake(at);
        }
        self.conduct(view);
    }

    fn wake(&mut self, at: Time) {
        self.wake_at = Some(self.wake_at.map_or(at, |known| known.min(at)));
    }

    /// An election has opened, by us or by another.
    fn enter(&mut self, view: &mut View<'_>, Need { term, reason, opener, .. }: Need) {
        self.reports.clear();
        self.tallies.clear();
        self.open = Some(Open {
            term,
            reason,
            opener,
            since: view.now,
            ballot: None,
            issues: 0,
            shown: BTreeSet::new(),
        });
        view.out.event(Event::ElectionOpened { term, reason });
        view.out.note(Note::Opened(term, reason));
    }

    /// Our body says that the mix suffers.
    pub(crate) fn suffered(&mut self, view: &mut View<'_>, place: &TreePosition, count: u16) {
        self.trouble.counted(view, count);
        self.audience.counted(view, place, self.trouble.sum());
    }

    /// Our body says that its mixer can't make what is asked of it.
    pub(crate) fn overloaded(&mut self, view: &mut View<'_>) {
        self.trouble.overloaded(view);
    }

    /// So many viewers suffer, of so many, by the word of a child or a mixer.
    pub(crate) fn suffering(
        &mut self,
        view: &mut View<'_>,
        place: &TreePosition,
        from: PeerId,
        sufferers: Sufferers,
    ) {
        self.audience.heard(view, place, from, sufferers);
    }

    /// Another peer does.
    pub(crate) fn trouble(&mut self, view: &View<'_>, from: PeerId, count: u8) {
        self.trouble.heard(view, from, count);
    }

    /// Somebody asks for our pre-vote.
    pub(crate) fn pre_vote_wanted(&mut self, view: &mut View<'_>, from: PeerId, epoch: u32, need: Need) {
        self.pre_votes.wanted(view, from, epoch, need);
    }

    /// A pre-vote has come.
    pub(crate) fn pre_vote(
        &mut self,
        view: &View<'_>,
        from: PeerId,
        epoch: u32,
        term: u32,
        signature: Signature,
    ) {
        self.pre_votes.vote(view, from, epoch, term, signature);
    }

    /// A majority opens, by another peer's word.
    pub(crate) fn opening(&mut self, view: &mut View<'_>, opening: Opening) {
        if let Some(opening) = self.pre_votes.opening(view, opening) {
            self.enter(view, opening.body);
        }
    }

    pub(crate) fn report(&mut self, view: &View<'_>, report: Signed<Report>) {
        let right = self.open.as_ref().is_some_and(|open| open.term == report.body.term);
        if right && view.stage.contains(&report.sender) && view.stage.contains(&report.body.candidate) {
            self.reports.add(view.now, report);
        }
    }

    pub(crate) fn claim(&mut self, view: &View<'_>, claim: Signed<Claim>) {
        let newer = self.claims.get(&claim.sender).is_none_or(|(_, known)| known.counter < claim.counter);
        if newer && view.stage.contains(&claim.sender) {
            self.claims.insert(claim.sender, (view.now, claim));
            self.claims.retain(|peer, _| view.stage.contains(peer));
        }
    }

    /// The opener's work: issue the ballot, and issue it again.
    fn conduct(&mut self, view: &mut View<'_>) {
        let Some(open) = &self.open else { return };
        let (since, issues) = (open.since, open.issues);
        let failed_at = since + reports_us_max(view) + FAILED_US;
        let term = open.term;
        if open.opener != view.me || self.is_pledged_elsewhere(term, view.me) {
            self.wake(failed_at);
            return;
        }
        let due_at = match &open.ballot {
            None if self.all_reported(view, term) => view.now,
            None => since + reports_us_max(view),
            Some(_) if issues >= ISSUES_MAX => failed_at,
            Some(issued) if !issued.lacking.is_empty() => {
                let answered = issued.votes.keys().chain(&issued.lacking).collect::<BTreeSet<_>>().len();
                let all_in = view.stage.voters(issued.epoch).is_some_and(|voters| answered >= voters);
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

    /// Whether every candidate's measurers have reported, and every candidate has made its claim for it. Nothing is
    /// expected of or about a mixer that fell silent.
    fn all_reported(&self, view: &View<'_>, term: u32) -> bool {
        let Some(roster) = view.stage.roster() else { return false };
        let draw = view.draw();
        let lives = |peer: &PeerId| !view.mandate.has_lost(peer);
        view.stage.candidates().iter().filter(|candidate| lives(candidate)).all(|candidate| {
            let mut measured = measurers(roster, &draw, candidate).into_iter().filter(lives);
            let claimed = self.claims.get(candidate).is_some_and(|(_, claim)| claim.body.term >= term);
            claimed && measured.all(|peer| self.reports.has(candidate, &peer))
        })
    }

    /// Issues the ballot, with our own signature under its outcome.
    fn issue(&mut self, view: &mut View<'_>) {
        let Some(open) = &mut self.open else { return };
        let Some(roster) = view.stage.roster() else { return };
        let term = open.term;
        let reports =
            self.reports.iter().map(|(_, report)| report).filter(|report| due(view, roster, term, report));
        let reports: List<_, _> = List::truncated(reports.cloned());
        let candidates = view.stage.candidates();
        let unix_s = view.unix_s();
        let counts =
            |claim: &&Signed<Claim>| candidates.contains(&claim.sender) && claim.expires_unix_s >= unix_s;
        let claims = self.claims.values().map(|(_, claim)| claim).filter(counts);
        let claims: List<_, _> = List::truncated(claims.cloned());
        let sitting: List<_, _> = List::truncated(view.mandate.sitting().iter().copied());
        let (outcome, tallies) = outcome_of(view, roster, (term, open.reason), &reports, &claims);
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
            lacking: BTreeSet::new(),
        });
        let signed = view.sign(ballot);
        view.send_stage(&Message::Ballot(Box::new(signed)));
        self.count(view);
    }

    /// The opener's ballot has come: sign it, or send what it lacks.
    pub(crate) fn ballot(&mut self, view: &mut View<'_>, ballot: Signed<Ballot>) {
        let Ballot { reports, claims, sitting, outcome } = &ballot.body;
        let term = outcome.term;
        let pledged = self.is_pledged_elsewhere(term, ballot.sender);
        let its =
            |open: &&mut Open| (open.opener, open.term, open.reason) == (ballot.sender, term, outcome.reason);
        let Some(open) = self.open.as_mut().filter(its) else { return };
        let Some(roster) = view.stage.at(ballot.epoch).map(|signed| &signed.body) else { return };
        if pledged || open.issues >= ISSUES_MAX {
            return;
        }
        open.issues += 1;
        let (missing, unclaimed) = self.missing_in(view, roster, term, &ballot.body);
        if !missing.is_empty() || !unclaimed.is_empty() {
            let (reports, claims) = (List::truncated(missing), List::truncated(unclaimed));
            view.out.send(ballot.sender, Message::Lacking { term, reports, claims });
            return;
        }
        let Some(open) = &mut self.open else { return };
        let shown = shown(&ballot.body);
        let proper = **sitting == *view.mandate.sitting()
            && is_sorted(&ballot.body)
            && shown.is_superset(&open.shown)
            && reports.iter().all(|report| due(view, roster, term, report));
        let reckoned = proper.then(|| outcome_of(view, roster, (term, open.reason), reports, claims));
        let Some((_, tallies)) = reckoned.filter(|(expected, _)| expected == outcome) else {
            view.out.event(Event::BallotRejected { term, opener: ballot.sender });
            return;
        };
        let signature = Decided::countersign(view.keys, &view.config.room, ballot.epoch, outcome);
        open.shown = shown;
        self.pledged = Some((term, open.opener));
        self.tallies = tallies;
        view.out.send(ballot.sender, Message::Vote { term, ballot: ballot_hash(&ballot.body), signature });
    }

    /// Reports and claims that we have held for a second and the ballot doesn't know. Of a measurer that says two
    /// things, and of a candidate that claims anew, either will do: nobody holds up a vote by that.
    fn missing_in(
        &self,
        view: &View<'_>,
        roster: &Roster,
        term: u32,
        ballot: &Ballot,
    ) -> (Vec<Signed<Report>>, Vec<Signed<Claim>>) {
        let held = |at: &Time| view.now.since(*at) >= INSIST_US;
        let by: BTreeSet<_> =
            ballot.reports.iter().map(|report| (report.body.candidate, report.sender)).collect();
        let reports = self.reports.iter().filter(|(at, report)| {
            held(at)
                && due(view, roster, term, report)
                && !by.contains(&(report.body.candidate, report.sender))
        });
        let candidate = |peer: &PeerId| {
            roster.entries.iter().any(|entry| entry.peer == *peer && entry.mixes && !entry.away)
        };
        let claims = self.claims.values().filter(|(at, claim)| {
            let counts = candidate(&claim.sender) && claim.expires_unix_s >= view.unix_s();
            counts && held(at) && !ballot.claims.iter().any(|known| known.sender == claim.sender)
        });
        (
            reports.map(|(_, report)| report.clone()).collect(),
            claims.map(|(_, claim)| claim.clone()).collect(),
        )
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
        if issued.hash == ballot && view.stage.contains(&from) && issued.votes.len() < ROSTER_MAX && holds() {
            issued.votes.insert(from, signature);
            self.count(view);
        }
    }

    /// A signer holds what the ballot lacks.
    pub(crate) fn lacking(
        &mut self,
        view: &mut View<'_>,
        from: PeerId,
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
            issued.lacking.extend(view.stage.contains(&from).then_some(from));
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

    pub(crate) fn bounds(&self) -> impl Iterator<Item = Bound> {
        let issued = self.open.as_ref().and_then(|open| open.ballot.as_ref());
        let shown = self.open.as_ref().map_or(0, |open| open.shown.len());
        let own = [
            Bound::new("claims", self.claims.len(), ROSTER_MAX),
            Bound::new("what a signed ballot held", shown, BALLOT_REPORTS_MAX + ROSTER_MAX),
            Bound::new("votes on our ballot", issued.map_or(0, |issued| issued.votes.len()), ROSTER_MAX),
        ];
        let own = own.into_iter().chain(self.trouble.bounds()).chain(self.audience.bounds());
        own.chain(self.reports.bounds()).chain(self.pre_votes.bounds())
    }

    pub(crate) fn next_timeout(&self) -> Option<Time> {
        self.wake_at
    }
}

fn reports_us_max(view: &View<'_>) -> u64 {
    if view.stage.candidates().len() <= LARGE_STAGE { REPORTS_US_MAX } else { REPORTS_US_MAX_LARGE }
}

/// Whether a report is by one of those who had to measure.
fn due(view: &View<'_>, roster: &Roster, term: u32, report: &Signed<Report>) -> bool {
    let Report { term: of, candidate, .. } = &report.body;
    *of == term && measurers(roster, &view.draw(), candidate).contains(&report.sender)
}

/// What a ballot holds, piece by piece.
fn shown(ballot: &Ballot) -> BTreeSet<Shown> {
    let reports = ballot.reports.iter();
    let reports = reports.map(|report| (report.body.candidate, report.sender, report.counter));
    let claims = ballot.claims.iter().map(|claim| (claim.sender, claim.sender, 0));
    reports.chain(claims).collect()
}

/// One report per measurer and candidate, one claim per candidate, in their order: nothing counts twice.
fn is_sorted(ballot: &Ballot) -> bool {
    let key = |report: &Signed<Report>| (report.body.candidate, report.sender);
    ballot.reports.is_sorted_by(|a, b| key(a) < key(b))
        && ballot.claims.is_sorted_by(|a, b| a.sender < b.sender)
}

/// Sitting mixers have an edge, and what is known of their lines counts, but not when it is they that the room suffers
/// from.
fn favoured(reason: ElectionReason, mandate: &Mandate) -> Vec<Sitting> {
    if reason == ElectionReason::Trouble {
        return Vec::new();
    }
    let known_bps = |mixer| mandate.uplinks_bps().find(|(peer, _)| *peer == mixer).map_or(0, |(_, bps)| bps);
    mandate.sitting().iter().map(|mixer| (*mixer, known_bps(mixer))).collect()
}

/// The outcome that follows from a ballot's reports and claims under the mandate in force, and how the candidates did.
fn outcome_of(
    view: &View<'_>,
    roster: &Roster,
    (term, reason): (u32, ElectionReason),
    reports: &[Signed<Report>],
    claims: &[Signed<Claim>],
) -> (Outcome, Vec<Tally>) {
    let sitting = view.mandate.sitting();
    let before = view.mandate.decided.as_ref().map(|decided| &decided.body);
    let doubts = doubts(before, reason, sitting, claims);
    let tallies = tally(roster, reports, &believed(claims, &doubts), &favoured(reason, view.mandate));
    let elected = elect(roster, &tallies, sitting.len());
    let challenged = before.and_then(|before| before.challenger);
    let Seats { mixers, standbys, challenger } = seats(elected, &tallies, sitting, challenged, reason);
    let uplinks_bps = List::truncated(uplinks_bps(roster, &tallies, &mixers));
    let (mixers, standbys) = (List::truncated(mixers), List::truncated(standbys));
    let evidence = evidence(reports, claims, sitting);
    let outcome = Outcome { term, reason, mixers, uplinks_bps, standbys, challenger, doubts, evidence };
    (outcome, tallies)
}

fn evidence(reports: &[Signed<Report>], claims: &[Signed<Claim>], sitting: &[PeerId]) -> [u8; 32] {
    let bytes = postcard::to_allocvec(&(reports, claims, sitting));
    *blake3::hash(&bytes.expect("statements are plain data, and a vector grows")).as_bytes()
}

fn ballot_hash(ballot: &Ballot) -> [u8; 32] {
    let bytes = postcard::to_allocvec(ballot).expect("a ballot is plain data, and a vector grows");
    *blake3::hash(&bytes).as_bytes()
}
