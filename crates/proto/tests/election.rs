//! Ballots and votes: when the opener issues, what a signer signs, and whose votes count.

use crate::samples::brain::{
    Brain, MS, SECOND, away, candidate, consenting, events, outcome_of, receivers, said, says, speaker,
    times_said, viewing,
};
use crate::samples::{NEVER, NOW, key, list, room};
use plenary_proto::bounded::List;
use plenary_proto::message::{
    Ballot, Claim, CodecSource, Decided, ElectionMessage, ElectionReason, Entry, LineId, Message, Need,
    Opening, Outcome, Report,
};
use plenary_proto::seal::Signed;
use plenary_proto::{Event, Output, Rank, RoomConfig};

/// Five peers on stage: the host, key 2, speaks; the others consent to mix.
fn stage() -> Vec<Entry> {
    vec![speaker(2), candidate(3), candidate(4), candidate(6), candidate(7)]
}

fn first_need() -> Need {
    Need { term: 1, under: Rank::default(), reason: ElectionReason::Opening, opener: key(2).id() }
}

/// Creates a peer of the stage in an election that the host opened.
fn in_election(seed: u8, entries: &[Entry]) -> Brain {
    let config = if seed == 2 { RoomConfig { speaks: true, ..viewing() } } else { consenting() };
    let mut brain = Brain::new(seed, config);
    brain.adopts(entries, |_| ());
    let need = first_need();
    if seed == 2 {
        brain.runs_for(800 * MS);
    }
    let mut outputs = Vec::new();
    for entry in entries {
        let voter = (3..60).find(|seed| key(*seed).id() == entry.peer);
        let Some(voter) = voter.filter(|_| seed == 2 && opened(&outputs).is_none()) else { continue };
        let signature = Opening::countersign(&key(voter), &room(), 7, &need);
        outputs.extend(
            brain.hears(voter, Message::Election(ElectionMessage::PreVote { epoch: 7, term: 1, signature })),
        );
    }
    if seed != 2 {
        let sign = |seed: u8| (key(seed).id(), Opening::countersign(&key(seed), &room(), 7, &need));
        let signatures = List::truncated([2, 3, 4, 6, 7].map(sign));
        outputs.extend(brain.hears(
            2,
            Message::Election(ElectionMessage::Opening(Box::new(Opening {
                epoch: 7,
                body: need,
                signatures,
            }))),
        ));
    }
    assert_eq!(opened(&outputs), Some(1));
    brain
}

fn opened(outputs: &[Output]) -> Option<u32> {
    events(outputs).iter().find_map(|event| match event {
        Event::ElectionOpened { term, .. } => Some(*term),
        _ => None,
    })
}

fn is_ballot(message: &Message) -> bool {
    matches!(message, Message::Election(ElectionMessage::Ballot(_)))
}

fn ballot_in(outputs: &[Output]) -> Option<Ballot> {
    said(outputs, 3).into_iter().find_map(|message| match message {
        Message::Election(ElectionMessage::Ballot(ballot)) => Some(ballot.body.clone()),
        _ => None,
    })
}

/// Runs until the opener issues a ballot.
fn issued(opener: &mut Brain) -> Ballot {
    let end = opener.now + 5 * SECOND;
    while opener.now < end {
        let outputs: Vec<_> = opener.runs_for(10 * MS).into_iter().map(|(_, output)| output).collect();
        if let Some(ballot) = ballot_in(&outputs) {
            return ballot;
        }
    }
    panic!("no ballot");
}

fn claim_at(by: u8, term: u32, counter: u64, expires: u64) -> Signed<Claim> {
    let claim = Claim {
        term,
        encode_us: 4_100,
        decode_us: 1_500,
        codec_source: CodecSource::Bench,
        codec_age_s: 0,
        uplink_bps_max: None,
        rate_percent: 100,
        round_trips: List::new(),
    };
    Signed::new(&key(by), &room(), 7, counter, expires, claim)
}

fn claim(by: u8) -> Signed<Claim> {
    claim_at(by, 1, 11, NOW + 600)
}

fn report(by: u8, on: u8, bandwidth_bps: u64) -> Signed<Report> {
    let report = Report {
        term: 1,
        candidate: key(on).id(),
        bandwidth_bps,
        rtt_us: 30_000,
        paused_ppm: 0,
        media: None,
        line: None,
    };
    Signed::new(&key(by), &room(), 7, 20 + u64::from(on), NOW + 600, report)
}

/// Gives a peer the reports of all on all candidates, and all claims.
fn hears_all(brain: &mut Brain, bps: u64) -> Vec<Output> {
    let mut outputs = Vec::new();
    for on in [3, 4, 6, 7] {
        for by in [2, 3, 4, 6, 7].into_iter().filter(|by| *by != on) {
            outputs.extend(brain.hears(3, Message::Election(ElectionMessage::Report(report(by, on, bps)))));
        }
        outputs.extend(brain.hears(on, Message::Election(ElectionMessage::Claim(claim(on)))));
    }
    outputs
}

fn hash(ballot: &Ballot) -> [u8; 32] {
    *blake3::hash(&postcard::to_allocvec(ballot).unwrap()).as_bytes()
}

fn vote(by: u8, ballot: &Ballot) -> Message {
    let signature = Decided::countersign(&key(by), &room(), 7, &ballot.outcome);
    Message::Election(ElectionMessage::Vote { term: ballot.outcome.term, ballot: hash(ballot), signature })
}

fn signed(by: u8, epoch: u32, ballot: Ballot) -> Message {
    Message::Election(ElectionMessage::Ballot(Box::new(Signed::new(
        &key(by),
        &room(),
        epoch,
        99,
        NOW + 600,
        ballot,
    ))))
}

fn votes(outputs: &[Output]) -> bool {
    says(outputs, 2, |message| matches!(message, Message::Election(ElectionMessage::Vote { .. })))
}

fn rejects(outputs: &[Output]) -> bool {
    events(outputs).iter().any(|event| matches!(event, Event::BallotRejected { .. }))
}

#[test]
fn the_opener_issues_once_all_evidence_is_in_or_after_4_s() {
    let mut opener = in_election(2, &stage());
    let start = opener.now;
    let timed = opener.runs_for(4_100 * MS);
    assert_eq!(times_said(&timed, 3, is_ballot)[0] - start, 4 * SECOND);
    let mut opener = in_election(2, &stage());
    let outputs = hears_all(&mut opener, 50_000_000);
    let mut told = receivers(&outputs, is_ballot);
    told.sort_unstable();
    assert_eq!(told, [3, 4, 6, 7], "the whole stage gets it");
    let ballot = ballot_in(&outputs).unwrap();
    assert_eq!((ballot.reports.len(), ballot.claims.len()), (12, 4), "three drawn measurers each");
    let distrusted = hears_all(&mut in_election(2, &stage()), u64::MAX);
    assert!(ballot_in(&distrusted).is_some(), "absurd figures overflow no sum");
}

#[test]
fn the_opener_of_a_stage_with_more_than_8_candidates_waits_10_s() {
    let entries: Vec<Entry> = [speaker(2)].into_iter().chain((3..13).map(candidate)).collect();
    let mut opener = in_election(2, &entries);
    let start = opener.now;
    assert_eq!(times_said(&opener.runs_for(10_100 * MS), 3, is_ballot)[0] - start, 10 * SECOND);
}

#[test]
fn the_opener_issues_3_times_and_then_the_need_leads_to_the_next_term() {
    let mut opener = in_election(2, &stage());
    let start = opener.now;
    let timed = opener.runs_for(12 * SECOND);
    let times: Vec<_> = times_said(&timed, 3, is_ballot).iter().map(|at| (at - start) / MS).collect();
    assert_eq!(times, [4_000, 6_000, 8_000]);
    let next = |message: &Message| {
        matches!(message, Message::Election(ElectionMessage::PreVoteWanted { need, .. })
            if need.term == 2)
    };
    let next = times_said(&timed, 3, next);
    assert!(next[0] >= start + 10 * SECOND && next[0] <= start + 11 * SECOND, "{next:?}");
}

#[test]
fn the_opener_issues_again_with_the_evidence_that_was_missing() {
    let lacking = || {
        let (reports, claims) = (List::new(), list(vec![claim(6)]));
        Message::Election(ElectionMessage::Lacking { term: 1, reports, claims })
    };
    let mut opener = in_election(2, &stage());
    assert_eq!(issued(&mut opener).claims.len(), 0);
    let start = opener.now;
    for (from, message) in [
        (9, lacking()),
        (
            3,
            Message::Election(ElectionMessage::Lacking {
                term: 2,
                reports: List::new(),
                claims: List::new(),
            }),
        ),
    ] {
        opener.hears(from, message);
    }
    opener.hears(3, lacking());
    let timed = opener.runs_for(1_100 * MS);
    let [at] = times_said(&timed, 3, is_ballot)[..] else { panic!("{timed:?}") };
    assert!((980..=1_000).contains(&((at - start) / MS)), "{}", at - start);
    let outputs: Vec<_> = timed.into_iter().map(|(_, output)| output).collect();
    assert_eq!(ballot_in(&outputs).unwrap().claims.len(), 1);

    let mut opener = in_election(2, &stage());
    issued(&mut opener);
    for from in [3, 4, 6] {
        assert!(ballot_in(&opener.hears(from, lacking())).is_none());
    }
    assert!(ballot_in(&opener.hears(7, lacking())).is_some());
}

#[test]
fn the_votes_of_a_majority_for_the_ballot_issued_last_decide() {
    let mut opener = in_election(2, &stage());
    let ballot = ballot_in(&hears_all(&mut opener, 50_000_000)).unwrap();
    let other = Ballot { outcome: outcome_of(1, &[7], &[6]), ..ballot.clone() };
    let Message::Election(ElectionMessage::Vote { term, ballot: hash, signature }) = vote(3, &ballot) else {
        unreachable!()
    };
    for (from, message) in [
        (3, vote(3, &ballot)),
        (3, vote(3, &ballot)), // once more
        (9, vote(9, &ballot)), // a stranger
        (4, vote(4, &other)),  // another ballot
        (4, Message::Election(ElectionMessage::Vote { term, ballot: hash, signature })), // another signer
        (4, Message::Election(ElectionMessage::Vote { term: 2, ballot: hash, signature })), // another term
    ] {
        opener.hears(from, message);
        assert_eq!(opener.term(), 0, "from {from}");
    }
    let outputs = opener.hears(4, vote(4, &ballot));
    assert_eq!(opener.term(), 1);
    assert_eq!(opener.room.mixers(), &ballot.outcome.mixers[..]);
    let mut told =
        receivers(&outputs, |message| matches!(message, Message::Election(ElectionMessage::Decided(_))));
    told.sort_unstable();
    told.dedup();
    assert_eq!(told, [3, 4, 6, 7]);
    let signatures = |event: &&Event| matches!(event, Event::Elected { signatures: 3, roster: Some(5), .. });
    assert!(events(&outputs).iter().any(signatures), "{outputs:?}");
}

#[test]
fn a_vote_for_an_earlier_ballot_does_not_count() {
    let mut opener = in_election(2, &stage());
    let first = issued(&mut opener);
    opener.hears(6, Message::Election(ElectionMessage::Claim(claim(6))));
    let second = issued(&mut opener);
    assert_ne!(hash(&first), hash(&second));
    for voter in [3, 4, 6, 7] {
        opener.hears(voter, vote(voter, &first));
    }
    assert_eq!(opener.term(), 0);
    (3..5).for_each(|voter| _ = opener.hears(voter, vote(voter, &second)));
    assert_eq!(opener.term(), 1);
}

/// Returns a ballot with all evidence, and a signer that has just heard it all.
fn ballot_and_signer() -> (Ballot, Brain) {
    let ballot = ballot_in(&hears_all(&mut in_election(2, &stage()), 50_000_000)).unwrap();
    let mut signer = in_election(6, &stage());
    hears_all(&mut signer, 50_000_000);
    (ballot, signer)
}

#[test]
fn a_signer_votes_for_the_outcome_that_it_computes_itself() {
    let (ballot, mut signer) = ballot_and_signer();
    let outputs = signer.hears(2, signed(2, 7, ballot.clone()));
    let expected = vote(6, &ballot);
    assert!(says(&outputs, 2, |message| *message == expected), "{outputs:?}");
}

#[test]
fn a_signer_rejects_a_ballot_that_its_evidence_does_not_bear_out() {
    type Forge = fn(&mut Ballot);
    let forge: [(&str, Forge); 7] = [
        ("another mixer", |ballot| ballot.outcome.mixers = list(vec![ballot.outcome.standbys[0]])),
        ("no standby", |ballot| ballot.outcome.standbys = List::new()),
        ("sitting mixers in term 0", |ballot| ballot.sitting = list(vec![key(3).id()])),
        ("unsorted claims", |ballot| {
            let reversed: Vec<_> = ballot.claims.iter().rev().cloned().collect();
            ballot.claims = list(reversed);
        }),
        ("a report twice", |ballot| {
            let twice: Vec<_> = ballot.reports.iter().take(1).chain(ballot.reports.iter()).cloned().collect();
            ballot.reports = list(twice);
        }),
        ("a report on another term", |ballot| {
            let mut reports = ballot.reports.to_vec();
            let body = Report { term: 2, ..reports[0].body };
            let by = [2, 3, 4, 6, 7].into_iter().find(|seed| key(*seed).id() == reports[0].sender).unwrap();
            reports[0] = Signed::new(&key(by), &room(), 7, 20, NOW + 600, body);
            ballot.reports = list(reports);
        }),
        ("a higher uplink", |ballot| ballot.outcome.uplinks_bps = list(vec![900_000_000])),
    ];
    for (name, forge) in forge {
        let (mut ballot, mut signer) = ballot_and_signer();
        forge(&mut ballot);
        let outputs = signer.hears(2, signed(2, 7, ballot));
        assert!(!votes(&outputs) && rejects(&outputs), "{name}: {outputs:?}");
    }
}

#[test]
fn a_signer_ignores_ballots_of_another_opener_term_or_reason() {
    for (by, epoch, change) in [
        (3, 7, None),
        (2, 9, None),
        (2, 7, Some((2, ElectionReason::Opening))),
        (2, 7, Some((1, ElectionReason::Count))),
    ] {
        let (mut ballot, mut signer) = ballot_and_signer();
        if let Some((term, reason)) = change {
            ballot.outcome = Outcome { term, reason, ..ballot.outcome };
        }
        let outputs = signer.hears(by, signed(by, epoch, ballot));
        assert!(!votes(&outputs) && !rejects(&outputs), "{by} {epoch} {change:?}: {outputs:?}");
    }
    let (ballot, mut signer) = ballot_and_signer();
    let mut entries = stage();
    entries[0] = away(entries[0].clone());
    signer.adopts(&entries, |_| ());
    assert!(!votes(&signer.hears(2, signed(2, 7, ballot))), "the opener is away, so its election is over");
}

#[test]
fn a_signer_considers_3_ballots_of_an_opening() {
    let (ballot, mut signer) = ballot_and_signer();
    let wrong =
        Ballot { outcome: Outcome { standbys: List::new(), ..ballot.outcome.clone() }, ..ballot.clone() };
    for _ in 0..2 {
        assert!(rejects(&signer.hears(2, signed(2, 7, wrong.clone()))));
    }
    assert!(votes(&signer.hears(2, signed(2, 7, ballot.clone()))));
    assert!(!votes(&signer.hears(2, signed(2, 7, ballot))));
}

#[test]
fn a_signer_sends_evidence_held_for_1_s_in_place_of_a_vote() {
    let empty = || issued(&mut in_election(2, &stage()));
    for (held_ms, lacking) in [(990, false), (1_010, true)] {
        let mut signer = in_election(6, &stage());
        hears_all(&mut signer, 50_000_000);
        signer.runs_for(held_ms * MS);
        let outputs = signer.hears(2, signed(2, 7, empty()));
        let sent = said(&outputs, 2).into_iter().find_map(|message| match message {
            Message::Election(ElectionMessage::Lacking { term: 1, reports, claims }) => {
                Some((reports.len(), claims.len()))
            }
            _ => None,
        });
        assert_eq!(sent, lacking.then_some((12, 4)), "{held_ms} ms: {outputs:?}");
        assert_eq!(votes(&outputs), !lacking, "{held_ms} ms");
    }
}

#[test]
fn a_signer_rejects_a_later_ballot_that_leaves_out_evidence() {
    let (ballot, mut signer) = ballot_and_signer();
    assert!(votes(&signer.hears(2, signed(2, 7, ballot))));
    let fewer = issued(&mut in_election(2, &stage()));
    let outputs = signer.hears(2, signed(2, 7, fewer));
    assert!(!votes(&outputs) && rejects(&outputs), "{outputs:?}");
}

#[test]
fn evidence_of_strangers_and_of_other_terms_stays_out_of_the_ballot() {
    let mut opener = in_election(2, &stage());
    let old = Report { term: 0, ..report(3, 4, 1).body };
    for message in [
        Message::Election(ElectionMessage::Report(report(9, 3, 1))),
        Message::Election(ElectionMessage::Report(report(3, 9, 1))),
        Message::Election(ElectionMessage::Report(report(3, 3, 1))), // on itself
        Message::Election(ElectionMessage::Report(Signed::new(&key(3), &room(), 7, 20, NEVER, old))),
        Message::Election(ElectionMessage::Claim(claim(9))),
        Message::Election(ElectionMessage::Claim(claim_at(2, 1, 11, NOW + 600))), // no candidate
        Message::Election(ElectionMessage::Claim(claim_at(4, 1, 11, NOW + 3))),   // expires before the ballot
        Message::Election(ElectionMessage::Claim(claim_at(6, 1, 12, NOW + 600))),
        Message::Election(ElectionMessage::Claim(claim_at(6, 1, 11, NOW + 600))), // older than the one before
    ] {
        opener.hears(3, message);
    }
    let line = LineId::of(&room(), [192, 0, 2, 1].into());
    let first = report(2, 6, 40_000_000);
    let second = Report { bandwidth_bps: 90_000_000, line, ..first.body };
    let later = Signed::new(&key(2), &room(), 7, 90, NOW + 600, second);
    opener.hears(3, Message::Election(ElectionMessage::Report(first.clone())));
    opener.hears(3, Message::Election(ElectionMessage::Report(later)));
    let ballot = issued(&mut opener);
    let claims: Vec<_> = ballot.claims.iter().map(|claim| (claim.sender, claim.counter)).collect();
    assert_eq!(claims, [(key(6).id(), 12)]);
    assert!(ballot.reports.iter().all(|report| *report == first), "the first report of a measurer counts");
}

#[test]
fn a_signer_signs_for_no_other_opener_in_the_same_term() {
    // of two openings of one term the one by the lower id is followed
    let (first, second) = (2, 8);
    assert!(key(second).id() < key(first).id());
    let entries = [speaker(first), candidate(3), candidate(4), candidate(6), candidate(second)];
    let ballot = issued(&mut in_election(first, &entries));
    let mut signer = in_election(6, &entries);
    assert!(votes(&signer.hears(first, signed(first, 7, ballot.clone()))));
    let need = Need { opener: key(second).id(), ..first_need() };
    let sign = |seed: u8| (key(seed).id(), Opening::countersign(&key(seed), &room(), 7, &need));
    let signatures = List::truncated([2, 3, 4].map(sign));
    let outputs = signer.hears(
        second,
        Message::Election(ElectionMessage::Opening(Box::new(Opening { epoch: 7, body: need, signatures }))),
    );
    assert_eq!(opened(&outputs), Some(1));
    let outputs = signer.hears(second, signed(second, 7, ballot));
    assert!(
        !says(&outputs, second, |message| matches!(message, Message::Election(ElectionMessage::Vote { .. }))),
        "{outputs:?}"
    );
}
