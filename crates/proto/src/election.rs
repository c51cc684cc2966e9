//! Leader election: a majority of the stage decides which peers mix.
//!
//! 1. The opener, a peer on stage, collects the pre-votes of a majority ([`crate::prevote`]) and sends the
//!    opening to the stage.
//! 2. The drawn measurers measure the candidates ([`crate::probe`]) and send signed reports to the whole
//!    stage.
//! 3. When all reports and claims are in, or the timeout has passed, the opener issues a ballot: the reports
//!    and claims that it holds, and the outcome that follows from them.
//! 4. Each peer on stage recomputes the outcome. It signs the outcome as its vote, or answers with the
//!    reports and claims that the ballot lacks. In the latter case the opener issues the ballot again.
//! 5. With the signatures of a majority of the roster the outcome is decided, and the opener sends it to
//!    every peer on stage.
//!
//! No peer signs for two openers in one term, nor a later ballot of the same opener that leaves out evidence
//! of the earlier ballot. A term without a decision is followed by the next term.

use crate::ordered::{OrderedMap, OrderedSet};

use crate::app::Event;
use crate::audience::{Audience, TreePosition};
use crate::bounded::{Bound, List};
use crate::doubts::{believed, doubts};
use crate::hysteresis::{Seats, seats};
use crate::id::PeerId;
use crate::mandate::Mandate;
use crate::message::{
    BALLOT_REPORTS_MAX, Ballot, Claim, Decided, ElectionMessage, ElectionReason, Message, Need, Opening,
    Outcome, ROSTER_MAX, Report, Roster, Sufferers,
};
use crate::outbox::Note;
use crate::prevote::PreVotes;
use crate::probe::{LARGE_STAGE, Reports, measurers};
use crate::score::{Sitting, Tally, elect, tally, uplinks_bps};
use crate::seal::{Signature, Signed};
use crate::stage::Stage;
use crate::time::{SECOND, Time};
use crate::trouble::Trouble;
use crate::view::View;

/// Timeout for the reports after an opening with at most [`LARGE_STAGE`] candidates: 2 s remain for votes
/// and a reissue, so that a ballot is decided within 6 s of the opening. With more candidates the timeout is
/// [`REPORTS_US_MAX_LARGE`], so that 95 % are decided within 12 s (target of scenario `election-50`).
const REPORTS_US_MAX: u64 = 4 * SECOND;
const REPORTS_US_MAX_LARGE: u64 = 10 * SECOND;
/// Time after which the opener reissues a ballot that lacked evidence, unless every voter has answered
/// before. A guess.
const VOTES_US_MAX: u64 = SECOND;
/// Time after which the opener reissues a ballot without a majority, under the roster then in force. A guess.
const REISSUE_US: u64 = 2 * SECOND;
/// Time from the report timeout until an undecided election counts as failed. A guess.
const FAILED_US: u64 = 6 * SECOND;
/// Time for which a signer must have held a report or claim to insist on it in the ballot. A guess: newer
/// evidence may still be on its way to the opener, and would cost a reissue.
const INSIST_US: u64 = SECOND;
/// Maximum number of ballots that the opener issues in one term, and that other peers examine. A guess.
const ISSUES_MAX: u8 = 3;

/// An open election as this peer knows it.
#[derive(Debug)]
struct Open {
    term: u32,
    reason: ElectionReason,
    opener: PeerId,
    since: Time,
    /// The ballot that this peer issued last as the opener; `None` at other peers.
    ballot: Option<Issued>,
    /// Number of ballots issued by this peer as the opener, or received from another opener.
    issues: u8,
    /// Evidence in the opener's ballot that this peer signed last.
    shown: OrderedSet<Shown>,
}

/// One piece of evidence. A report is (candidate, measurer, counter). A claim is (sender, sender, 0), because
/// a candidate's newer claim may replace its older claim.
type Shown = (PeerId, PeerId, u64);

#[derive(Debug)]
struct Issued {
    hash: [u8; 32],
    epoch: u32,
    outcome: Outcome,
    tallies: Vec<Tally>,
    votes: OrderedMap<PeerId, Signature>,
    at: Time,
    /// Peers that hold evidence missing from the ballot.
    lacking: OrderedSet<PeerId>,
}

/// State machine of this peer for elections.
#[derive(Debug, Default)]
pub(crate) struct Election {
    open: Option<Open>,
    reports: Reports,
    /// Newest claim of each peer on stage, with its arrival time.
    claims: OrderedMap<PeerId, (Time, Signed<Claim>)>,
    pre_votes: PreVotes,
    trouble: Trouble,
    audience: Audience,
    /// Last term in which this peer signed a ballot, and that ballot's opener: a peer signs for one opener
    /// per term.
    pledged: Option<(u32, PeerId)>,
    /// Last decided term.
    decided: u32,
    /// Tallies of the ballot that this peer signed last, for its own application.
    tallies: Vec<Tally>,
    wake_at: Option<Time>,
}

impl Election {
    pub(crate) fn roster_changed(&mut self, now: Time) {
        self.pre_votes.roster_changed(now);
    }

    /// Takes the candidates' tallies as this peer recomputed them for the decided outcome; empty if it
    /// didn't.
    pub(crate) fn take_tallies(&mut self) -> Vec<Tally> {
        std::mem::take(&mut self.tallies)
    }

    /// Updates the state for a new mandate in force, and closes an open election of its term or an earlier
    /// term.
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

    /// Returns whether an opening of `term` or a later term has arrived at this peer.
    pub(crate) fn has_opened(&self, term: u32) -> bool {
        self.pre_votes.has_opened(term)
    }

    /// Returns whether this peer would read that ballot if its signatures are valid.
    pub(crate) fn awaits_ballot(&self, ballot: &Signed<Ballot>) -> bool {
        let Outcome { term, reason, .. } = &ballot.body.outcome;
        let is_its = |open: &Open| (open.opener, open.term, open.reason) == (ballot.sender, *term, *reason);
        self.open.as_ref().is_some_and(|open| is_its(open) && open.issues < ISSUES_MAX)
    }

    /// Returns whether this peer has issued a ballot for that term, and waits for votes.
    pub(crate) fn is_opener_of(&self, term: u32) -> bool {
        self.open.as_ref().is_some_and(|open| open.term == term && open.ballot.is_some())
    }

    /// Returns whether no election is open, as far as this peer knows.
    pub(crate) fn is_over(&self) -> bool {
        self.open.is_none()
    }

    /// Re-evaluates the election. Called after every input that may have changed it, and on its timeout.
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
                view.send_stage(&Message::Election(ElectionMessage::Opening(Box::new(opening.clone()))));
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

    /// Enters an election opened by this peer or by another peer.
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
            shown: OrderedSet::new(),
        });
        view.out.event(Event::ElectionOpened { term, reason });
        view.out.note(Note::Opened(term, reason));
    }

    /// Takes the body's count of new faults in the program as seen by this peer.
    pub(crate) fn suffered(&mut self, view: &mut View<'_>, place: &TreePosition, count: u16) {
        self.trouble.counted(view, count);
        self.audience.counted(view, place, self.trouble.sum());
    }

    /// Handles the body's report that the program is heard here, and not seen.
    pub(crate) fn pictureless(&mut self, view: &mut View<'_>) {
        self.trouble.pictureless(view);
    }

    /// Handles the body's report that its own mixer can't produce the program as requested.
    pub(crate) fn overloaded(&mut self, view: &mut View<'_>) {
        self.trouble.overloaded(view);
    }

    /// Handles a degradation report from a child or a mixer: degraded viewers, and all viewers, below the
    /// sender.
    pub(crate) fn suffering(
        &mut self,
        view: &mut View<'_>,
        place: &TreePosition,
        from: PeerId,
        sufferers: Sufferers,
    ) {
        self.audience.heard(view, place, from, sufferers);
    }

    /// Handles a trouble report from another peer.
    pub(crate) fn trouble(&mut self, view: &View<'_>, from: PeerId, count: u8) {
        self.trouble.heard(view, from, count);
    }

    /// Handles a request for this peer's pre-vote.
    pub(crate) fn pre_vote_wanted(&mut self, view: &mut View<'_>, from: PeerId, epoch: u32, need: Need) {
        self.pre_votes.wanted(view, from, epoch, need);
    }

    /// Handles a pre-vote that this peer requested.
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

    /// Handles another peer's opening, and enters the election if a majority signed it.
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

    /// Does the opener's work: issues the ballot and reissues it.
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
                let answered = issued.votes.keys().chain(&issued.lacking).collect::<OrderedSet<_>>().len();
                let all_in = view.stage.size(issued.epoch).is_some_and(|(peers, _)| answered >= peers);
                if all_in { view.now } else { issued.at + VOTES_US_MAX }
            }
            Some(issued) => issued.at + REISSUE_US,
        };
        if due_at > view.now || issues >= ISSUES_MAX {
            self.wake(due_at);
        } else if !self.count(view, true) {
            self.issue(view);
        }
    }

    fn is_pledged_elsewhere(&self, term: u32, opener: PeerId) -> bool {
        self.pledged.is_some_and(|(pledged, to)| pledged == term && to != opener)
    }

    /// Returns whether every candidate has been reported by all of its measurers and has claimed for `term`
    /// or a later term. Mixers that fell silent are excluded, and a host that is missed, both as candidates and as
    /// measurers.
    fn all_reported(&self, view: &View<'_>, term: u32) -> bool {
        let Some(roster) = view.stage.roster() else { return false };
        let draw = view.draw();
        let absent = roster.host;
        let misses_host = view.stage.misses_host(view.now, view.me);
        let lives = |peer: &PeerId| !(view.mandate.has_lost(peer) || misses_host && *peer == absent);
        view.stage.candidates().iter().filter(|candidate| lives(candidate)).all(|candidate| {
            let mut measured = measurers(roster, &draw, candidate).into_iter().filter(lives);
            let claimed = self.claims.get(candidate).is_some_and(|(_, claim)| claim.body.term >= term);
            claimed && measured.all(|peer| self.reports.has(candidate, &peer))
        })
    }

    /// Issues the ballot, with this peer's own signature under its outcome.
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
            votes: OrderedMap::from([(view.me, mine)]),
            at: view.now,
            lacking: OrderedSet::new(),
        });
        let signed = view.sign(ballot);
        view.send_stage(&Message::Election(ElectionMessage::Ballot(Box::new(signed))));
        self.count(view, false);
    }

    /// Handles the opener's ballot: votes for its outcome, sends the evidence that it lacks, or rejects it.
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
            view.out.send(ballot.sender, ElectionMessage::Lacking { term, reports, claims });
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
        view.out.send(
            ballot.sender,
            ElectionMessage::Vote { term, ballot: ballot_hash(&ballot.body), signature },
        );
    }

    /// Returns the reports and claims that this peer has held for [`INSIST_US`] and that the ballot lacks. If
    /// a measurer sent two different reports, or a candidate a newer claim, the ballot may contain either
    /// version, so that such a peer can't hold up the vote.
    fn missing_in(
        &self,
        view: &View<'_>,
        roster: &Roster,
        term: u32,
        ballot: &Ballot,
    ) -> (Vec<Signed<Report>>, Vec<Signed<Claim>>) {
        let held = |at: &Time| view.now.since(*at) >= INSIST_US;
        let by: OrderedSet<_> =
            ballot.reports.iter().map(|report| (report.body.candidate, report.sender)).collect();
        let reports = self.reports.iter().filter(|(at, report)| {
            held(at)
                && due(view, roster, term, report)
                && !by.contains(&(report.body.candidate, report.sender))
        });
        let candidate = |peer: &PeerId| {
            roster.entries.iter().any(|entry| entry.peer == *peer && roster.may_mix(entry) && !entry.away)
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

    /// Handles a vote for this peer's ballot.
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
            self.count(view, false);
        }
    }

    /// Handles evidence that a signer holds and this peer's ballot lacks.
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

    /// Decides the election once enough peers have signed the outcome; returns whether they have. `late`: the others
    /// had the time to sign, and lack nothing in the ballot.
    fn count(&mut self, view: &mut View<'_>, late: bool) -> bool {
        let Some(issued) = self.open.as_ref().and_then(|open| open.ballot.as_ref()) else { return false };
        let signers: Vec<_> = issued.votes.keys().copied().collect();
        let late = late && issued.lacking.is_empty();
        if !view.stage.suffices(issued.epoch, &signers, (view.now, view.me), late) {
            return false;
        }
        let decided = Decided {
            epoch: issued.epoch,
            body: issued.outcome.clone(),
            signatures: List::truncated(issued.votes.iter().map(|(peer, signature)| (*peer, *signature))),
        };
        self.tallies = issued.tallies.clone();
        self.open = None;
        view.send_stage(&Message::Election(ElectionMessage::Decided(Box::new(decided.clone()))));
        let absent = view.stage.misses_host(view.now, view.me);
        view.out.note(Note::Decided(Box::new(decided), absent));
        true
    }

    pub(crate) fn bounds(&self) -> impl Iterator<Item = Bound> {
        let issued = self.open.as_ref().and_then(|open| open.ballot.as_ref());
        let shown = self.open.as_ref().map_or(0, |open| open.shown.len());
        let own = [
            Bound::new("claims", self.claims.len(), ROSTER_MAX),
            Bound::new("evidence of the last signed ballot", shown, BALLOT_REPORTS_MAX + ROSTER_MAX),
            Bound::new(
                "votes on this peer's ballot",
                issued.map_or(0, |issued| issued.votes.len()),
                ROSTER_MAX,
            ),
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

/// Returns whether a report is for `term` and by a drawn measurer of its candidate.
fn due(view: &View<'_>, roster: &Roster, term: u32, report: &Signed<Report>) -> bool {
    let Report { term: of, candidate, .. } = &report.body;
    *of == term && measurers(roster, &view.draw(), candidate).contains(&report.sender)
}

/// Returns the pieces of evidence in a ballot.
fn shown(ballot: &Ballot) -> OrderedSet<Shown> {
    let reports = ballot.reports.iter();
    let reports = reports.map(|report| (report.body.candidate, report.sender, report.counter));
    let claims = ballot.claims.iter().map(|claim| (claim.sender, claim.sender, 0));
    reports.chain(claims).collect()
}

/// Returns whether reports and claims are in strictly rising order: one report per candidate and measurer,
/// one claim per candidate, so that none counts twice.
fn is_sorted(ballot: &Ballot) -> bool {
    let key = |report: &Signed<Report>| (report.body.candidate, report.sender);
    ballot.reports.is_sorted_by(|a, b| key(a) < key(b))
        && ballot.claims.is_sorted_by(|a, b| a.sender < b.sender)
}

/// Returns the sitting mixers, which get a bonus, with their known uplinks; none in an election for trouble,
/// because the room suffers from those mixers.
fn favoured(reason: ElectionReason, mandate: &Mandate) -> Vec<Sitting> {
    if reason == ElectionReason::Trouble {
        return Vec::new();
    }
    let known_bps = |mixer| mandate.uplinks_bps().find(|(peer, _)| *peer == mixer).map_or(0, |(_, bps)| bps);
    mandate.sitting().iter().map(|mixer| (*mixer, known_bps(mixer))).collect()
}

/// Computes the outcome that follows from a ballot's reports and claims under the mandate in force, and the
/// candidates' tallies.
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
