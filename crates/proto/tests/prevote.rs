//! Pre-votes: which need opens an election and when, whose pre-votes count, and which openings are followed.

use crate::samples::brain::{
    Brain, MS, SECOND, away, candidate, consenting, decided_by, events, outcome_of, receivers, said, says,
    speaker, times_said, untimed, viewing,
};
use crate::samples::{failover, key, room};
use plenary_proto::message::{
    ElectionMessage, ElectionReason, Entry, FailoverMessage, Message, Need, Opening, Outcome, Roster,
};
use plenary_proto::seal::Signed;
use plenary_proto::{Event, Input, Output, Rank, RoomConfig};

/// Five peers on stage: the host, key 2, speaks; the others consent to mix.
fn stage() -> Vec<Entry> {
    vec![speaker(2), candidate(3), candidate(4), candidate(6), candidate(7)]
}

/// Returns the stage with these peers away.
fn without(gone: &[u8]) -> Vec<Entry> {
    let is_gone = |entry: &Entry| gone.iter().any(|seed| key(*seed).id() == entry.peer);
    stage().into_iter().map(|entry| if is_gone(&entry) { away(entry) } else { entry }).collect()
}

fn on_stage(seed: u8) -> Brain {
    let config = if seed == 2 { RoomConfig { speaks: true, ..viewing() } } else { consenting() };
    let mut brain = Brain::new(seed, config);
    brain.adopts(&stage(), |_| ());
    brain
}

/// Creates the host in a room where key 3 mixes and key 4 stands by in term 3.
fn host_in_term_3() -> Brain {
    let mut host = on_stage(2);
    host.elects(3, &[3], &[4]);
    host
}

fn first_need(opener: u8) -> Need {
    let reason = ElectionReason::Opening;
    Need { term: 1, under: Rank::default(), reason, opener: key(opener).id() }
}

fn is_wanted(message: &Message) -> bool {
    matches!(message, Message::Election(ElectionMessage::PreVoteWanted { .. }))
}

fn is_vote(message: &Message) -> bool {
    matches!(message, Message::Election(ElectionMessage::PreVote { .. }))
}

fn pre_vote(by: u8, epoch: u32, need: &Need) -> Message {
    let signature = Opening::countersign(&key(by), &room(), epoch, need);
    Message::Election(ElectionMessage::PreVote { epoch, term: need.term, signature })
}

fn opening(epoch: u32, need: Need, by: &[u8]) -> Message {
    let sign = |seed: &u8| (key(*seed).id(), Opening::countersign(&key(*seed), &room(), epoch, &need));
    let signatures = crate::samples::list(by.iter().map(sign).collect());
    Message::Election(ElectionMessage::Opening(Box::new(Opening { epoch, body: need, signatures })))
}

fn opens(outputs: &[Output]) -> Option<u32> {
    let term = |event: &&Event| match event {
        Event::ElectionOpened { term, .. } => Some(*term),
        _ => None,
    };
    events(outputs).iter().find_map(term)
}

/// Returns the milliseconds until the brain requests a pre-vote of key 6, and the reason.
fn requests(brain: &mut Brain, within_us: u64) -> Option<(u64, ElectionReason)> {
    let start = brain.now;
    for (at, output) in brain.runs_for(within_us) {
        if let [Message::Election(ElectionMessage::PreVoteWanted { need, .. })] = said(&[output], 6)[..] {
            return Some(((at - start) / MS, need.reason));
        }
    }
    None
}

#[test]
fn the_host_opens_after_700_ms_without_roster_changes_or_after_3_s() {
    let mut host = on_stage(2);
    host.runs_for(600 * MS);
    host.adopts(&stage(), |roster| roster.rules.k = 5);
    assert_eq!(requests(&mut host, SECOND), Some((700, ElectionReason::Opening)));

    let mut host = on_stage(2);
    let start = host.now;
    let mut times = Vec::new();
    for change in 0..8 {
        host.adopts(&stage(), |roster| roster.rules.k = 5 + change);
        times.extend(times_said(&host.runs_for(500 * MS), 6, is_wanted));
    }
    assert_eq!((times[0] - start).div_ceil(MS), 3_000);
}

#[test]
fn the_peer_that_is_n_th_on_the_roster_opens_n_times_4_s_later() {
    for (seed, ms) in [(3, 4_700), (4, 8_700), (7, 16_700)] {
        let mut peer = on_stage(seed);
        let asked = times_said(&peer.runs_for(20 * SECOND), 6, is_wanted);
        assert_eq!(asked[0] / MS, ms, "key {seed}");
    }
    let mut peer = on_stage(4);
    peer.adopts(&without(&[2, 3]), |_| ());
    assert_eq!(requests(&mut peer, 5 * SECOND), Some((700, ElectionReason::Opening)));
}

#[test]
fn missing_pre_votes_are_requested_again_after_1_2_4_and_then_every_8_s() {
    let mut host = on_stage(2);
    let mut timed = host.runs_for(900 * MS);
    host.hears(3, pre_vote(3, 7, &first_need(2)));
    timed.extend(host.runs_for(30 * SECOND));
    let times: Vec<_> = times_said(&timed, 6, is_wanted).iter().map(|at| at / MS).collect();
    assert_eq!(times, [700, 1_700, 3_700, 7_700, 15_700, 23_700]);
    assert_eq!(times_said(&timed, 3, is_wanted).len(), 1, "its pre-vote has arrived");
}

#[test]
fn only_the_pre_votes_of_a_majority_open_an_election() {
    let mut host = on_stage(2);
    host.runs_for(900 * MS);
    let (epoch, need) = (host.epoch(), first_need(2));
    let signature_of_3 = Opening::countersign(&key(3), &room(), epoch, &need);
    for (from, message) in [
        (3, pre_vote(3, epoch, &need)),
        (3, pre_vote(3, epoch, &need)),                     // once more
        (9, pre_vote(9, epoch, &need)),                     // a stranger
        (4, pre_vote(4, epoch + 1, &need)),                 // another roster
        (4, pre_vote(4, epoch, &Need { term: 2, ..need })), // another term
        (4, pre_vote(4, epoch, &first_need(6))),            // another opener
        // another signer
        (4, Message::Election(ElectionMessage::PreVote { epoch, term: 1, signature: signature_of_3 })),
    ] {
        let outputs = host.hears(from, message);
        assert_eq!(opens(&outputs), None, "from {from}");
    }
    let outputs = host.hears(4, pre_vote(4, epoch, &need));
    assert_eq!(opens(&outputs), Some(1));
    let mut told =
        receivers(&outputs, |message| matches!(message, Message::Election(ElectionMessage::Opening(_))));
    told.sort_unstable();
    assert_eq!(told, [3, 4, 6, 7], "the whole stage is told");
}

#[test]
fn a_peer_gives_its_pre_vote_to_the_first_requester_on_the_roster() {
    let mut peer = on_stage(6);
    let wanted =
        |opener: u8| Message::Election(ElectionMessage::PreVoteWanted { epoch: 7, need: first_need(opener) });
    peer.hears(4, wanted(4));
    peer.hears(2, wanted(2));
    let timed = peer.runs_for(800 * MS);
    let given = times_said(&timed, 2, is_vote);
    assert_eq!((given.len(), times_said(&timed, 4, is_vote).len()), (1, 0));
    let timed = peer.runs_until(given[0] + 2_999 * MS);
    assert!(times_said(&timed, 4, is_vote).is_empty());
    assert_eq!(times_said(&peer.runs_for(2 * MS), 4, is_vote), [given[0] + 3 * SECOND]);
}

#[test]
fn a_peer_that_gave_a_pre_vote_does_not_open_for_3_s() {
    let mut peer = on_stage(3);
    peer.runs_until(4 * SECOND);
    let outputs =
        peer.hears(2, Message::Election(ElectionMessage::PreVoteWanted { epoch: 7, need: first_need(2) }));
    assert!(says(&outputs, 2, is_vote), "{outputs:?}");
    let given = peer.now;
    let timed = peer.runs_for(10 * SECOND);
    assert_eq!(times_said(&timed, 6, is_wanted)[0], given + 3 * SECOND);
}

#[test]
fn a_request_is_kept_for_9_s_until_the_peer_sees_the_need_as_well() {
    for (after_ms, given) in [(8_700, true), (9_100, false)] {
        let mut peer = on_stage(6);
        peer.elects(3, &[3], &[4]);
        let under = Rank { term: 3, failover_count: 0 };
        let need = Need { term: 4, under, reason: ElectionReason::MixerGone, opener: key(2).id() };
        let outputs = peer.hears(2, Message::Election(ElectionMessage::PreVoteWanted { epoch: 7, need }));
        assert!(!says(&outputs, 2, is_vote));
        peer.runs_for(after_ms * MS);
        peer.adopts(&without(&[3]), |_| ());
        let timed = peer.runs_for(SECOND);
        assert_eq!(!times_said(&timed, 2, is_vote).is_empty(), given, "after {after_ms} ms");
    }
}

#[test]
fn an_opener_that_is_behind_gets_the_opening_or_outcome_it_missed() {
    let mut peer = on_stage(6);
    let outputs = peer.hears(3, opening(7, first_need(3), &[2, 3, 4]));
    assert_eq!(opens(&outputs), Some(1));
    let wanted =
        |opener: u8| Message::Election(ElectionMessage::PreVoteWanted { epoch: 7, need: first_need(opener) });
    let outputs = peer.hears(2, wanted(2));
    assert!(
        says(&outputs, 2, |message| matches!(message, Message::Election(ElectionMessage::Opening(_)))),
        "{outputs:?}"
    );
    peer.elects(3, &[3], &[4]);
    let outputs = peer.hears(2, wanted(2));
    assert!(
        says(&outputs, 2, |message| matches!(message, Message::Election(ElectionMessage::Decided(_)))),
        "{outputs:?}"
    );
    for (from, opener) in [(9, 9), (4, 2)] {
        let outputs = peer.hears(from, wanted(opener));
        assert!(said(&outputs, from).is_empty(), "{from} for {opener}: {outputs:?}");
    }
}

#[test]
fn a_peer_follows_a_newer_opening_or_that_of_a_lower_id_in_one_term() {
    let (low, high) = if key(3).id() < key(4).id() { (3, 4) } else { (4, 3) };
    let by = |opener: u8, term| opening(7, Need { term, ..first_need(opener) }, &[2, 3, 4]);
    let mut peer = on_stage(6);
    for (message, opened) in [
        (by(high, 2), Some(2)),
        (by(high, 2), None),
        (by(high, 1), None),
        (by(low, 2), Some(2)),
        (by(high, 2), None),
        (by(9, 3), None),
        (opening(7, Need { term: 3, ..first_need(2) }, &[2, 3]), None),
        (opening(7, Need { term: 3, ..first_need(2) }, &[2, 2, 9]), None),
        (by(2, 3), Some(3)),
    ] {
        assert_eq!(opens(&peer.hears(2, message.clone())), opened, "{message:?}");
    }
    peer.elects(5, &[3], &[4]);
    assert_eq!(opens(&peer.hears(2, by(2, 6))), None, "its opener doesn't know the outcome in force");
    let under = Rank { term: 7, failover_count: 0 };
    let backwards = Need { term: 7, under, ..first_need(2) };
    assert_eq!(opens(&peer.hears(2, opening(7, backwards, &[2, 3, 4]))), None, "it is of its own term");
}

#[test]
fn an_opening_under_a_later_roster_is_followed_when_that_roster_arrives() {
    let mut peer = on_stage(6);
    assert_eq!(opens(&peer.hears(2, opening(8, first_need(2), &[2, 3, 4]))), None);
    let outputs = peer.adopts(&stage(), |_| ());
    assert_eq!((peer.epoch(), opens(&outputs)), (8, Some(1)));
}

#[test]
fn a_room_that_needs_no_election_opens_none() {
    assert_eq!(requests(&mut host_in_term_3(), 120 * SECOND), None);
}

#[test]
fn each_need_has_its_reason_and_the_time_for_which_it_lasts() {
    type Change = fn(&mut Brain);
    let rows: [(&str, Change, u64, ElectionReason); 8] = [
        (
            "failover",
            |host| _ = host.hears(4, Message::Failover(FailoverMessage::Failover(failover()))),
            200,
            ElectionReason::MixerGone,
        ),
        (
            "polite failover",
            |host| {
                let under = Rank { term: 3, failover_count: 0 };
                let wish = Some(crate::samples::wish(3, under, 4).into());
                let polite = plenary_proto::message::Failover { wish, ..failover().body };
                host.hears(
                    4,
                    Message::Failover(FailoverMessage::Failover(Signed::new(
                        &key(4),
                        &room(),
                        7,
                        9,
                        u64::MAX,
                        polite,
                    ))),
                );
            },
            200,
            ElectionReason::Leave,
        ),
        ("mixer away", |host| _ = host.adopts(&without(&[3]), |_| ()), 200, ElectionReason::MixerGone),
        ("standby away", |host| _ = host.adopts(&without(&[4]), |_| ()), 200, ElectionReason::Count),
        (
            "two mixers wanted",
            |host| _ = host.adopts(&stage(), |roster: &mut Roster| roster.rules.mixers = 2),
            200,
            ElectionReason::Count,
        ),
        (
            "no standby, in the second outcome with the same candidates",
            |host| _ = host.elects(4, &[3], &[]),
            20_000,
            ElectionReason::Count,
        ),
        (
            "no link with the mixer",
            |host| {
                host.unlinked.insert(key(3).id());
                host.loses_link(3);
            },
            5_000,
            ElectionReason::MixerGone,
        ),
        (
            "challenger",
            |host| {
                host.takes(Outcome { challenger: Some(key(6).id()), ..outcome_of(4, &[3], &[4]) });
            },
            60_000,
            ElectionReason::Count,
        ),
    ];
    for (name, change, ms, reason) in rows {
        let mut host = host_in_term_3();
        host.runs_for(20 * SECOND);
        change(&mut host);
        assert_eq!(requests(&mut host, 70 * SECOND), Some((ms, reason)), "{name}");
    }
}

#[test]
fn an_election_that_changes_nothing_is_repeated_ever_more_rarely() {
    let mut host = on_stage(2);
    let mut waits = Vec::new();
    for term in 3..9 {
        let under = host.room.rank();
        host.hears(3, opening(7, Need { term, under, ..first_need(3) }, &[2, 3, 4]));
        host.elects(term, &[3], &[]);
        waits.push(requests(&mut host, 100 * SECOND).unwrap().0);
    }
    assert_eq!(waits, [10_000, 20_000, 40_000, 80_000, 80_000, 80_000]);
}

#[test]
fn a_candidate_that_comes_or_goes_in_an_election_is_voted_on_at_once() {
    let back: Vec<Entry> = stage()
        .into_iter()
        .map(|entry| Entry { session: u8::from(entry.peer == key(4).id()), ..entry })
        .collect();
    for (before, after, then, ms) in [
        (stage(), stage(), back.clone(), 200),
        (without(&[4]), stage(), stage(), 200),
        (stage(), without(&[4]), stage(), 200),
        (stage(), stage(), stage(), 4_000), // the rest of 10 s
    ] {
        let mut host = Brain::new(2, RoomConfig { speaks: true, ..viewing() });
        host.adopts(&before, |_| ());
        host.hears(3, opening(host.epoch(), first_need(2), &[2, 3, 7]));
        host.adopts(&after, |_| ());
        host.elects(1, &[3], &[]);
        if ms > 200 || then == back {
            assert_eq!(requests(&mut host, 6 * SECOND), None);
        }
        host.adopts(&then, |_| ());
        let (at, reason) = requests(&mut host, 10 * SECOND).unwrap();
        assert!((ms - 5..=ms).contains(&at) && reason == ElectionReason::Count, "{at} {reason:?}, not {ms}");
    }
}

/// Lets the two speakers report trouble every 5 s; returns the seconds until the host opens.
fn troubled(count: u8, both: bool, from: u8) -> Option<u64> {
    let mut host = Brain::new(2, RoomConfig { speaks: true, ..viewing() });
    host.adopts(&[speaker(2), speaker(8), candidate(3), candidate(4), candidate(6)], |_| ());
    host.elects(3, &[3], &[4]);
    let start = host.now;
    while host.now < start + 130 * SECOND {
        if both {
            host.give(Input::Trouble(3));
        }
        host.hears(from, Message::Election(ElectionMessage::Trouble { count }));
        host.hears(from, Message::Election(ElectionMessage::Trouble { count })); // too soon after the one before
        let timed = host.runs_for(5 * SECOND);
        let at = times_said(&timed, 6, is_wanted).first().copied();
        if let Some(at) = at {
            let wanted = untimed(timed);
            let trouble = |message: &Message| {
                matches!(message, Message::Election(ElectionMessage::PreVoteWanted { need, .. })
                    if need.reason == ElectionReason::Trouble)
            };
            assert!(says(&wanted, 6, trouble), "{wanted:?}");
            return Some((at - start) / SECOND);
        }
    }
    None
}

#[test]
fn trouble_opens_an_election_when_most_speakers_report_it() {
    assert_eq!(troubled(3, true, 8), Some(100));
    assert_eq!(troubled(u8::MAX, false, 8), None, "one speaker alone");
    assert_eq!(troubled(1, true, 8), None, "four faults in all");
    assert_eq!(troubled(3, true, 9), None, "a stranger");
}

#[test]
fn the_outcome_of_a_minority_or_of_an_earlier_term_ends_no_election() {
    let mut peer = on_stage(6);
    peer.hears(2, opening(7, Need { term: 5, ..first_need(2) }, &[2, 3, 4]));
    let outcome = outcome_of(5, &[3], &[4]);
    peer.hears(2, Message::Election(ElectionMessage::Decided(Box::new(decided_by(7, &outcome, &[2, 3])))));
    assert_eq!(peer.term(), 0);
    peer.hears(2, Message::Election(ElectionMessage::Decided(Box::new(decided_by(7, &outcome, &[2, 3, 4])))));
    assert_eq!(peer.term(), 5);
    peer.elects(4, &[4], &[3]);
    assert_eq!((peer.term(), peer.room.mixers()), (5, &[key(3).id()][..]));
}
