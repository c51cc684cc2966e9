//! What one peer may ask of another: who may say what, how often, and what a violation costs for how long.

use plenary_proto::message::*;
use plenary_proto::seal::Signed;
use plenary_proto::{Event, HostConfig, Input, Output, RoomConfig, Via};

use crate::samples::brain::{
    Brain, SECOND, admitting, candidate, consenting, events, hosting, says, speaker, viewing,
};
use crate::samples::viewer::Viewer;
use crate::samples::{NEVER, NOW, claim, key, list, opening, outcome, refusal, report, room, roster};

fn ballot(opener: u8) -> Message {
    let ballot = Ballot {
        reports: list(vec![report()]),
        claims: list(vec![claim()]),
        sitting: list(vec![]),
        outcome: outcome(),
    };
    Message::Election(ElectionMessage::Ballot(Box::new(Signed::new(
        &key(opener),
        &room(),
        7,
        13,
        NEVER,
        ballot,
    ))))
}

fn admit() -> Message {
    Message::Member(MemberMessage::Admit(Box::new(admitting(roster()))))
}

fn lacking() -> Message {
    Message::Election(ElectionMessage::Lacking {
        term: 3,
        reports: list(vec![report()]),
        claims: list(vec![claim()]),
    })
}

fn data(source: u8, number: u64, signed_unix_s: u64) -> Message {
    let bytes = list(b"hello".to_vec());
    let data = Data { run: NOW, number, delivery: Delivery::Reliable, bytes };
    Message::Data(DataMessage::Data(Signed::new(&key(source), &room(), 7, number, signed_unix_s + 600, data)))
}

#[test]
fn a_viewer_makes_nobody_verify_a_ballot_or_what_it_was_not_asked_for() {
    let stage = [speaker(2), candidate(3), candidate(4)];
    let mut member = Brain::new(4, consenting());
    member.adopts(&stage, |_| ());
    member.runs_for(20 * SECOND);
    let may_say = |from: u8, message: &Message| member.room.may_say(&key(from).id(), &Via::Link, message);
    for message in [
        ballot(9),
        lacking(),
        Message::Election(ElectionMessage::Opening(Box::new(opening()))),
        Message::Election(ElectionMessage::Claim(claim())),
        Message::Election(ElectionMessage::Report(report())),
        data(9, 1, NOW),
    ] {
        assert!(!may_say(9, &message), "{message:?}");
    }
    assert!(!may_say(3, &ballot(3)), "no election is open");
    assert!(!may_say(3, &lacking()), "this peer has issued no ballot");
    assert!(may_say(3, &Message::Election(ElectionMessage::Claim(claim()))) && may_say(2, &data(2, 1, NOW)));
    assert!(
        may_say(9, &Message::Member(MemberMessage::Roster(roster()))),
        "the link's other end may know a newer one"
    );
    assert!(may_say(9, &Message::Member(MemberMessage::Leave)));
}

#[test]
fn an_admission_counts_while_it_is_asked_for() {
    let may_say = |brain: &Brain, message| brain.room.may_say(&key(2).id(), &Via::Signal, &message);
    let newcomer = Brain::new(5, viewing());
    assert!(may_say(&newcomer, admit()), "it has just asked");
    let mut member = Brain::new(3, consenting());
    member.hears(2, admit());
    member.runs_for(11 * SECOND);
    assert!(!may_say(&member, admit()));
    assert!(!may_say(&member, Message::Member(MemberMessage::Refuse(Box::new(refusal())))));
}

#[test]
fn carried_letters_and_feeds_belong_to_links() {
    let viewer = Viewer::relay();
    let stop = Message::Tree(TreeMessage::StopFeed);
    assert!(viewer.room.may_say(&key(9).id(), &Via::Link, &stop));
    assert!(!viewer.room.may_say(&key(9).id(), &Via::Signal, &stop));
}

fn dropped(outputs: &[Output]) -> bool {
    events(outputs).iter().any(|event| matches!(event, Event::PeerMisbehaved { dropped: true, .. }))
}

#[test]
fn violations_that_are_a_minute_apart_never_add_up() {
    let mut brain = Viewer::relay();
    let mallory = key(9).id();
    for _ in 0..30 {
        let outputs = brain.give(Input::Misbehaved(mallory));
        assert!(!dropped(&outputs));
        brain.now += 60 * SECOND;
    }
    let mut count = 0;
    while !dropped(&brain.give(Input::Misbehaved(mallory))) {
        count += 1;
        brain.now += 5 * SECOND;
    }
    assert!((7..10).contains(&count), "{count}");
    assert!(!brain.room.may_say(&mallory, &Via::Link, &Message::Member(MemberMessage::Leave)));
    brain.now += 599 * SECOND;
    brain.give(Input::Timeout);
    assert!(!brain.room.may_say(&mallory, &Via::Link, &Message::Member(MemberMessage::Leave)));
    brain.now += 2 * SECOND;
    brain.give(Input::Timeout);
    assert!(
        brain.room.may_say(&mallory, &Via::Link, &Message::Member(MemberMessage::Leave)),
        "it begins anew after ten minutes"
    );
}

#[test]
fn the_first_flood_ends_the_links_and_the_second_drops_the_peer() {
    let mut brain = Viewer::relay();
    brain.is_linked_by(9);
    let mallory = key(9).id();
    let first = brain.give(Input::LinkAbused(mallory));
    assert!(first.contains(&Output::Close(mallory, LinkKind::Peer)) && !dropped(&first));
    assert!(dropped(&brain.give(Input::LinkAbused(mallory))));
}

fn join(speaks: bool) -> Message {
    Message::Member(MemberMessage::Join(Join { speaks, ..Join::viewer("x") }))
}

/// Returns a host that decides who speaks.
fn host() -> Brain {
    let config = HostConfig { stage_open: false, k1: 10, mixers: 1, ..hosting() };
    Brain::new(2, RoomConfig { host: Some(config), speaks: true, ..viewing() })
}

#[test]
fn a_peer_that_asks_to_join_without_end_is_answered_once_a_second() {
    let mut host = host();
    let is_answer = |message: &Message| {
        matches!(message, Message::Member(MemberMessage::Admit(_) | MemberMessage::Refuse(_)))
    };
    let mut answered = 0;
    let mut asked = 0;
    for _ in 0..1_000 {
        let outputs = host.hears(9, join(true));
        answered += usize::from(says(&outputs, 9, is_answer));
        asked += events(&outputs).iter().filter(|event| matches!(event, Event::FloorWanted { .. })).count();
        host.now += SECOND / 100;
    }
    assert!((10..=13).contains(&answered), "{answered} answers in ten seconds");
    assert!(asked <= answered, "{asked}");
    // each of the others has its own
    let mut crowd = 0;
    for _ in 0..4 {
        for seed in 10..=255 {
            crowd += usize::from(says(&host.hears(seed, join(false)), seed, is_answer));
        }
    }
    assert_eq!(crowd, 3 * 246);
    host.now += SECOND;
    assert!(says(&host.hears(9, join(false)), 9, is_answer));
}

#[test]
fn a_stranger_s_word_on_the_sources_of_data_mutes_none_of_them() {
    let stands = |next| {
        Message::Data(DataMessage::DataStands(list(vec![DataHeld { source: key(2).id(), run: NOW, next }])))
    };
    let shown = |outputs: &[Output]| events(outputs).iter().any(|event| matches!(event, Event::Data { .. }));
    // a viewer beside it says that everything was said already
    let mut viewer = Viewer::new();
    viewer.is_linked_by(9);
    assert!(!viewer.room.may_say(&key(9).id(), &Via::Link, &stands(u64::MAX)));
    viewer.hears(9, stands(u64::MAX));
    viewer.hears(3, stands(5));
    viewer.is_fed_by(3, &[3]);
    viewer.now += 2 * SECOND;
    assert!(shown(&viewer.hears(3, data(2, 5, NOW + 1))));
}

#[test]
fn a_liar_s_word_on_a_source_holds_no_longer_than_until_the_source_speaks() {
    for (run, next) in [(NOW, u64::MAX), (u64::MAX, 1), (NOW, 1 << 40)] {
        let stands =
            Message::Data(DataMessage::DataStands(list(vec![DataHeld { source: key(2).id(), run, next }])));
        let numbers = |outputs: &[Output]| {
            events(outputs).iter().filter(|event| matches!(event, Event::Data { .. })).count()
        };
        let mut viewer = Viewer::new();
        viewer.hears(3, stands); // a mixer
        viewer.is_fed_by(3, &[3]);
        let since = NOW + viewer.now / SECOND;
        assert_eq!(numbers(&viewer.hears(3, data(2, 6, since - 30))), 0, "from before it came");
        viewer.now += 2 * SECOND;
        assert_eq!(numbers(&viewer.hears(3, data(2, 7, since + 2))), 1, "{run} {next}");
        assert_eq!(numbers(&viewer.hears(3, data(2, 8, since + 2))), 1);
        assert_eq!(numbers(&viewer.hears(3, data(2, 7, since + 2))), 0);
    }
}

#[test]
fn a_link_s_proof_is_nothing_to_the_brain() {
    let fingerprints = Fingerprints { own: [1; 32], other: [2; 32] };
    let proof = LinkProof::sign(&key(9), &room(), &key(5).id(), &fingerprints);
    assert_eq!(Viewer::relay().hears(9, Message::Link(LinkMessage::LinkProof(proof))), []);
}
