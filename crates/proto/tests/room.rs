//! Robustness of the brain: under inputs in any order from any peer it never panics, settles, and stays
//! within bounds.

use std::sync::LazyLock;

use crate::samples::brain::{admitting, hosting};
use crate::samples::{self, *};
use plenary_proto::app::Layout;
use plenary_proto::bounded::{List, Text};
use plenary_proto::message::*;
use plenary_proto::seal::{Signed, Verified};
use plenary_proto::{
    Address, Command, Event, Input, Output, PeerId, Rank, RoomConfig, RoomState, Time, Verdict, Via,
};
use proptest::prelude::*;

/// Keys 2 to 4 are on the sampled roster or named in it; 8 and 9 are strangers.
const OTHERS: [u8; 5] = [2, 3, 4, 8, 9];

static VERIFIED: LazyLock<Vec<Verified<Message>>> = LazyLock::new(|| {
    let verify = |message: Message| message.verify(&samples::room(), &key(1).id(), NOW).unwrap();
    samples().into_iter().map(verify).collect()
});

#[derive(Clone, Debug)]
enum Step {
    Message { from: u8, via: u8, sample: usize },
    Link { peer: u8, kind: u8, up: bool },
    Described { peer: u8, kind: u8 },
    Verdict { peer: u8, verdict: u8 },
    Measured { peer: u8, train: u32, some: bool },
    Plain(u8, u8),
    Wait(u32),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let peer = || prop::sample::select(&OTHERS[..]);
    let sample = 0..VERIFIED.len();
    let step = prop_oneof![
        6 => (peer(), 0..3u8, sample).prop_map(|(from, via, sample)| Step::Message { from, via, sample }),
        2 => (peer(), 0..2u8, any::<bool>()).prop_map(|(peer, kind, up)| Step::Link { peer, kind, up }),
        1 => (peer(), 0..2u8).prop_map(|(peer, kind)| Step::Described { peer, kind }),
        1 => (peer(), 0..4u8).prop_map(|(peer, verdict)| Step::Verdict { peer, verdict }),
        1 => (peer(), 0..4u32, any::<bool>(), any::<bool>()).prop_map(|(peer, train, below, some)| {
            // trains of children have numbers of their own range
            Step::Measured { peer, train: train | u32::from(below) << 31, some }
        }),
        2 => (peer(), 0..16u8).prop_map(|(peer, what)| Step::Plain(peer, what)),
        3 => (0..3_000_000u32).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 1..120)
}

fn config(me: u8, hosts: bool) -> RoomConfig {
    RoomConfig {
        room: room(),
        root: key(1).id(),
        host: hosts.then(hosting),
        name: Text::truncated("me"),
        speaks: me == 2,
        views: me != 3,
        no_solo: false,
        consent: if me == 2 { Consent::Never } else { Consent::Always },
        relays: true,
        children_max: 8,
        uplink_bps_max: None,
        carries: true,
        sends_trains: true,
        key: None,
        unix_us_at_zero: NOW * 1_000_000,
    }
}

#[cfg(debug_assertions)] // only these builds have rules to break
#[test]
fn machines_that_notify_each_other_in_a_circle_come_to_rest() {
    let mut room = RoomState::new(key(2), config(2, true), 7, Time(0));
    drain(&mut room);
    room.mutate(plenary_proto::Mutation::NotifiesInCircles);
    room.handle(Time(1), Input::Timeout);
    let dropped = |output: &Output| matches!(output, Output::Event(Event::NotesDropped { notes: 1 }));
    assert_eq!(drain(&mut room).iter().filter(|output| dropped(output)).count(), 1);
}

/// Drains the outbox; fails when a brain never stops producing outputs.
fn drain(room: &mut RoomState) -> Vec<Output> {
    let outputs: Vec<_> = std::iter::from_fn(|| room.poll_output()).take(10_000).collect();
    assert!(outputs.len() < 10_000, "never at rest");
    outputs
}

fn run(me: u8, hosts: bool, steps: &[Step]) -> (RoomState, Vec<Output>) {
    let mut room = RoomState::new(key(me), config(me, hosts), 7, Time(0));
    let mut outputs = drain(&mut room);
    let mut now = Time(0);
    let kind = |kind: u8| if kind == 0 { LinkKind::Peer } else { LinkKind::Trunk(0) };
    for step in steps {
        let id = |seed: &u8| key(*seed).id();
        let input = match step {
            Step::Message { from, via, sample } => {
                let message = VERIFIED[*sample].clone();
                let via = match via {
                    0 => Via::Link,
                    1 => Via::Signal,
                    _ => Via::Mesh(List::truncated([key(4).id().short()])),
                };
                Input::Message { from: id(from), via, message }
            }
            Step::Link { peer, kind: which, up: true } => Input::LinkUp(id(peer), kind(*which)),
            Step::Link { peer, kind: which, up: false } => Input::LinkDown(id(peer), kind(*which)),
            Step::Described { peer, kind: which } => {
                Input::Described { peer: id(peer), kind: kind(*which), description: description() }
            }
            Step::Verdict { peer, verdict } => {
                let verdicts = [Verdict::Ok, Verdict::Silent, Verdict::Behind, Verdict::Stalled];
                Input::Verdict { peer: id(peer), verdict: verdicts[usize::from(*verdict)] }
            }
            Step::Measured { peer, train, some } => {
                let bandwidth_bps = some.then_some(50_000_000);
                Input::Measured {
                    peer: id(peer),
                    train: *train,
                    bandwidth_bps,
                    rtt_us: 1000,
                    paused_ppm: 0,
                    media: None,
                    address: None,
                }
            }
            Step::Plain(peer, what) => match what {
                0 => Input::SignalUp(true),
                1 => Input::SignalUp(false),
                2 => Input::Undeliverable(Some(id(peer))),
                3 => Input::Heard(id(peer)),
                4 => Input::Fed(id(peer)),
                5 => Input::CodecTimes { encode_us: 4000, decode_us: 1500, source: CodecSource::Bench },
                6 => Input::Warm,
                7 => Input::Misbehaved(id(peer)),
                8 => Input::Command(Command::ReconnectUpstream),
                9 => Input::Command(Command::SetMixers(*peer)),
                10 => Input::Command(Command::Leave),
                11 => Input::Command(Command::SetLayout(Layout::Custom(List::truncated([*peer])))),
                12 => Input::Overloaded,
                13 => Input::CannotMix,
                14 => Input::Pictureless,
                _ => Input::Undeliverable(None),
            },
            Step::Wait(us) => {
                now = now + u64::from(*us);
                Input::Timeout
            }
        };
        room.handle(now, input);
        outputs.extend(drain(&mut room));
        assert!(room.next_timeout().is_none_or(|due| due > now), "{step:?} leaves a timeout behind");
        let snapshot = room.snapshot();
        assert!(snapshot.link_count <= 256 && snapshot.children.len() <= 64, "{snapshot:?}");
    }
    (room, outputs)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_order_of_inputs_makes_a_brain_panic(me in prop::sample::select(&[2u8, 3, 4, 5][..]), hosts: bool, steps in steps()) {
        run(me, hosts, &steps);
    }

    #[test]
    fn the_same_inputs_give_the_same_outputs(steps in steps()) {
        prop_assert_eq!(run(4, false, &steps).1, run(4, false, &steps).1);
    }
}

fn events(outputs: &[Output]) -> Vec<&Event> {
    outputs
        .iter()
        .filter_map(|output| if let Output::Event(event) = output { Some(event) } else { None })
        .collect()
}

fn message(room: &mut RoomState, from: PeerId, message: Message) -> Vec<Output> {
    let message = message.verify(&samples::room(), &key(1).id(), NOW).unwrap();
    room.handle(Time(1), Input::Message { from, via: Via::Link, message });
    drain(room)
}

#[test]
fn a_peer_that_keeps_breaking_the_rules_is_dropped_and_not_heard_again() {
    let mut room = RoomState::new(key(2), config(2, true), 7, Time(0));
    let stranger = key(9).id();
    drain(&mut room);
    let dropped = |outputs: &[Output]| {
        events(outputs).iter().any(|event| matches!(event, Event::PeerMisbehaved { dropped: true, .. }))
    };
    for count in 1..=8 {
        room.handle(Time(1), Input::Misbehaved(stranger));
        assert_eq!(dropped(&drain(&mut room)), count == 8);
    }
    let join = Message::Member(MemberMessage::Join(Join::viewer("x")));
    assert_eq!(message(&mut room, stranger, join.clone()), []);
    assert_ne!(message(&mut room, key(8).id(), join), []);
}

#[test]
fn an_older_roster_or_one_by_another_root_changes_nothing() {
    let mut room = RoomState::new(key(5), config(5, false), 7, Time(0));
    message(&mut room, key(2).id(), Message::Member(MemberMessage::Roster(roster())));
    assert_eq!(room.snapshot().epoch, 7);
    let acting_none = Roster { acting: None, ..roster().body.clone() };
    let older = Signed::new(&key(1), &samples::room(), 6, 6, NEVER, acting_none).into();
    assert_eq!(message(&mut room, key(3).id(), Message::Member(MemberMessage::Roster(older))), []);
    let forged = Signed::new(&key(9), &samples::room(), 8, 8, NEVER, roster().body.clone()).into();
    assert!(
        Message::Member(MemberMessage::Roster(forged)).verify(&samples::room(), &key(1).id(), NOW).is_err()
    );
}

#[test]
fn an_outcome_that_no_majority_signed_is_ignored() {
    let mut room = RoomState::new(key(5), config(5, false), 7, Time(0));
    message(&mut room, key(2).id(), Message::Member(MemberMessage::Roster(roster())));
    message(&mut room, key(2).id(), Message::Election(ElectionMessage::Decided(Box::new(decided()))));
    assert_eq!(room.snapshot().rank.term, 0, "one of two is no majority");
    let both = [2, 3]
        .map(|seed| (key(seed).id(), Decided::countersign(&key(seed), &samples::room(), 7, &outcome())));
    let signatures = List::truncated(both);
    message(
        &mut room,
        key(2).id(),
        Message::Election(ElectionMessage::Decided(Box::new(Decided { signatures, ..decided() }))),
    );
    assert_eq!(room.snapshot().rank.term, 3);
}

#[test]
fn a_vote_by_a_peer_that_is_not_on_the_roster_does_not_count() {
    let mut room = RoomState::new(key(5), config(5, false), 7, Time(0));
    message(&mut room, key(2).id(), Message::Member(MemberMessage::Roster(roster())));
    let two = [2, 9]
        .map(|seed| (key(seed).id(), Decided::countersign(&key(seed), &samples::room(), 7, &outcome())));
    let signatures = List::truncated(two);
    message(
        &mut room,
        key(2).id(),
        Message::Election(ElectionMessage::Decided(Box::new(Decided { signatures, ..decided() }))),
    );
    assert_eq!(room.snapshot().rank.term, 0);
}

#[test]
fn an_outcome_under_an_older_roster_counts_when_that_roster_has_come() {
    let mut room = RoomState::new(key(5), config(5, false), 7, Time(0));
    let newer = Signed::new(&key(1), &samples::room(), 8, 8, NEVER, roster().body.clone()).into();
    message(&mut room, key(2).id(), Message::Member(MemberMessage::Roster(newer)));
    let both = [2, 3]
        .map(|seed| (key(seed).id(), Decided::countersign(&key(seed), &samples::room(), 7, &outcome())));
    let outcome = Message::Election(ElectionMessage::Decided(Box::new(Decided {
        signatures: List::truncated(both),
        ..decided()
    })));
    message(&mut room, key(2).id(), outcome.clone());
    assert_eq!(room.snapshot().rank.term, 0, "nobody knows whose signatures count");
    message(&mut room, key(2).id(), Message::Member(MemberMessage::Roster(roster())));
    assert_eq!(room.snapshot().epoch, 8, "the newer one stays in force");
    message(&mut room, key(2).id(), outcome);
    assert_eq!(room.snapshot().rank.term, 3);
}

#[test]
fn only_who_was_asked_measures_our_uplink_and_tells_what_it_carries() {
    let mut room = RoomState::new(key(3), config(3, false), 7, Time(0));
    message(&mut room, key(2).id(), Message::Member(MemberMessage::Roster(roster())));
    room.handle(Time(1), Input::LinkUp(key(2).id(), LinkKind::Peer));
    drain(&mut room);
    let said = message(
        &mut room,
        key(2).id(),
        Message::Probe(ProbeMessage::ProbeWanted { train: 1 << 31, bytes: 26_400, rate_bps: 0 }),
    );
    let refused = |output: &Output| {
        matches!(output, Output::Control(_, Message::Probe(ProbeMessage::ProbeBusy { train: 0x8000_0000 })))
    };
    assert!(said.iter().any(refused), "{said:?}");
    assert!(!said.iter().any(|output| matches!(output, Output::Train { .. })), "{said:?}");
    message(&mut room, key(2).id(), Message::Probe(ProbeMessage::Uplink { bps: 1 }));
    assert_eq!(room.snapshot().uplink_bps, None);
}

#[test]
fn a_path_that_cannot_be_is_a_violation() {
    let (from, other) = (key(2).id(), key(3).id());
    let paths = [vec![from, from], vec![other, from, other, from], vec![from, other]];
    for (number, path) in paths.into_iter().enumerate() {
        let mut room = RoomState::new(key(5), config(5, false), 7, Time(0));
        message(&mut room, from, Message::Member(MemberMessage::Roster(roster())));
        let path: Path = List::truncated(path.iter().map(PeerId::short));
        for message_of_it in [
            Message::Tree(TreeMessage::PathIs(path.clone())),
            Message::Tree(TreeMessage::Feeding { path: path.clone(), whereabouts: Whereabouts::default() }),
            Message::Tree(TreeMessage::Accept {
                purpose: Purpose::Parent,
                path,
                whereabouts: Whereabouts::default(),
            }),
        ] {
            let outputs = message(&mut room, from, message_of_it);
            let misbehaved =
                |event: &&Event| matches!(event, Event::PeerMisbehaved { peer, .. } if *peer == from);
            assert!(events(&outputs).iter().any(misbehaved), "row {number}: {outputs:?}");
        }
    }
}

#[test]
fn an_election_opens_only_when_a_majority_wants_it() {
    let signed = |by: &[u8]| {
        let sign =
            |seed: &u8| (key(*seed).id(), Opening::countersign(&key(*seed), &samples::room(), 7, &need()));
        Opening { epoch: 7, body: need(), signatures: List::truncated(by.iter().map(sign)) }
    };
    // the roster has two voters, keys 2 and 3
    for (by, opens) in [(&[2][..], false), (&[2, 2], false), (&[2, 9], false), (&[2, 3], true)] {
        let mut room = RoomState::new(key(3), config(3, false), 7, Time(0));
        message(&mut room, key(2).id(), Message::Member(MemberMessage::Roster(roster())));
        let outputs = message(
            &mut room,
            key(2).id(),
            Message::Election(ElectionMessage::Opening(Box::new(signed(by)))),
        );
        let opened =
            events(&outputs).iter().any(|event| matches!(event, Event::ElectionOpened { term: 3, .. }));
        assert_eq!(opened, opens, "{by:?}");
    }
}

#[test]
fn a_pre_vote_is_given_to_who_sees_the_same_need_once_it_has_lasted() {
    let first =
        Need { term: 1, under: Rank::default(), reason: ElectionReason::Opening, opener: key(2).id() };
    for (need, by, given) in [
        (first, 2, true),
        (Need { term: 4, ..first }, 2, true),
        (Need { term: 5, ..first }, 2, false),
        (Need { term: 0, ..first }, 2, false),
        (Need { reason: ElectionReason::Count, ..first }, 2, false),
        (Need { under: Rank { term: 1, failover_count: 0 }, ..first }, 2, false),
        (first, 9, false),
        (Need { opener: key(9).id(), ..first }, 9, false),
    ] {
        let mut room = RoomState::new(key(3), config(3, false), 7, Time(0));
        room.handle(Time(0), Input::SignalUp(true));
        message(&mut room, key(2).id(), Message::Member(MemberMessage::Roster(roster())));
        let votes = |outputs: &[Output]| {
            let vote = |output: &&Output| {
                matches!(output, Output::Signal(_, Message::Election(ElectionMessage::PreVote { .. })))
            };
            outputs.iter().filter(vote).count()
        };
        let at_once = message(
            &mut room,
            key(by).id(),
            Message::Election(ElectionMessage::PreVoteWanted { epoch: 7, need }),
        );
        assert_eq!(votes(&at_once), 0, "{need:?}: the roster has hardly come");
        let mut later = Vec::new();
        for ms in (100..1500).step_by(100) {
            room.handle(Time(ms * 1000), Input::Timeout);
            later.extend(drain(&mut room));
        }
        assert_eq!(votes(&later), usize::from(given), "{need:?} by {by}");
    }
}

/// Returns the sampled roster without an expiry of the invite, under a newer epoch.
fn roster_with(epoch: u32, change: impl Fn(&mut Roster)) -> Message {
    let mut body = roster().body.clone();
    body.rules.expires_unix_s = None;
    change(&mut body);
    Message::Member(MemberMessage::Roster(
        Signed::new(&key(1), &samples::room(), epoch, epoch.into(), NEVER, body).into(),
    ))
}

fn said_to(outputs: &[Output], peer: PeerId) -> Vec<&Message> {
    let said = outputs.iter().filter_map(|output| match output {
        Output::Signal(Address::Peer(to), message) if *to == peer => Some(message),
        _ => None,
    });
    said.collect()
}

#[test]
fn a_member_lets_viewers_in_in_the_host_s_stead_but_nobody_on_stage() {
    let mut room = RoomState::new(key(3), config(3, false), 7, Time(0));
    room.handle(Time(0), Input::SignalUp(true));
    drain(&mut room);
    let join = |speaks| Message::Member(MemberMessage::Join(Join { speaks, ..Join::viewer("x") }));
    let answered = |room: &mut RoomState, seed: u8, speaks| {
        let outputs = message(room, key(seed).id(), join(speaks));
        match said_to(&outputs, key(seed).id())[..] {
            [] => false,
            [Message::Member(MemberMessage::Admit(_))] => true,
            ref other => panic!("{other:?}"),
        }
    };
    message(&mut room, key(2).id(), Message::Member(MemberMessage::Roster(roster())));
    assert!(!answered(&mut room, 8, false), "the invite has expired");
    message(&mut room, key(2).id(), roster_with(8, |_| ()));
    assert!(answered(&mut room, 8, false));
    assert!(!answered(&mut room, 8, false), "within the same second");
    assert!(!answered(&mut room, 9, true), "who may speak is the host's to say");
    let let_in = (10..100).filter(|seed| answered(&mut room, *seed, false)).count();
    assert_eq!(let_in, 31, "and one before them");
    room.handle(Time(1_100_000), Input::Timeout);
    drain(&mut room);
    let outputs = {
        let message = join(false).verify(&samples::room(), &key(1).id(), NOW).unwrap();
        room.handle(Time(1_100_000), Input::Message { from: key(8).id(), via: Via::Signal, message });
        drain(&mut room)
    };
    assert!(
        matches!(said_to(&outputs, key(8).id())[..], [Message::Member(MemberMessage::Admit(_))]),
        "{outputs:?}"
    );
}

#[test]
fn whoever_on_stage_is_behind_is_told_where_things_stand_once_a_second() {
    let mut room = RoomState::new(key(3), config(3, false), 7, Time(0));
    room.handle(Time(0), Input::SignalUp(true));
    message(&mut room, key(2).id(), Message::Member(MemberMessage::Roster(roster())));
    let digest = |epoch, asks| {
        Message::Member(MemberMessage::Digest(Digest {
            epoch,
            rank: Rank::default(),
            evidence: [0; 32],
            asks,
        }))
    };
    let (stage, stranger) = (key(2).id(), key(9).id());
    let same = message(&mut room, stage, digest(7, true));
    assert_eq!(said_to(&same, stage), [] as [&Message; 0]);
    let behind = message(&mut room, stage, digest(6, true));
    assert!(
        matches!(said_to(&behind, stage)[..], [Message::Member(MemberMessage::Roster(_)), ..]),
        "{behind:?}"
    );
    let again = message(&mut room, stage, digest(6, true));
    assert_eq!(said_to(&again, stage), [] as [&Message; 0], "within the same second");
    let strange = message(&mut room, stranger, digest(6, true));
    assert_eq!(said_to(&strange, stranger), [] as [&Message; 0], "a stranger hears nothing of the room");
    let ours = digest(7, false);
    let ahead = message(&mut room, stranger, digest(9, true));
    assert_eq!(said_to(&ahead, stranger), [&ours], "it may be on a roster that we lack");
    let answer = message(&mut room, stranger, digest(9, false));
    assert_eq!(said_to(&answer, stranger), [] as [&Message; 0], "an answer is not answered");
}

/// Returns the sampled outcome with these mixers, signed by both peers of the roster.
fn decided_for(epoch: u32, mixers: &[u8]) -> Message {
    let ids: Vec<PeerId> = mixers.iter().map(|seed| key(*seed).id()).collect();
    let outcome = Outcome {
        mixers: List::truncated(ids.iter().copied()),
        uplinks_bps: List::truncated(ids.iter().map(|_| 50_000_000)),
        standbys: List::new(),
        ..outcome()
    };
    let sign =
        |seed: u8| (key(seed).id(), Decided::countersign(&key(seed), &samples::room(), epoch, &outcome));
    let signatures = List::truncated([2, 3].map(sign));
    Message::Election(ElectionMessage::Decided(Box::new(Decided {
        epoch,
        body: outcome.clone(),
        signatures,
    })))
}

fn home_call() -> Message {
    let video = VideoRequest { width: 640, height: 360, fps: 30, bitrate_bps: 600_000 };
    Message::Media(MediaMessage::Home {
        rank: Rank { term: 3, failover_count: 0 },
        video,
        resume: None,
        beside: None,
    })
}

fn speaks_to(outputs: &[Output]) -> Vec<PeerId> {
    let speak = |output: &Output| match output {
        Output::SendOwn(targets) => Some(targets.iter().map(|(peer, _)| *peer).collect::<Vec<_>>()),
        _ => None,
    };
    outputs.iter().filter_map(speak).next_back().unwrap_or_default()
}

#[test]
fn a_call_home_before_the_outcome_is_followed_when_the_outcome_comes() {
    let mut room = RoomState::new(key(2), config(2, false), 7, Time(0));
    message(&mut room, key(2).id(), roster_with(8, |_| ()));
    room.handle(Time(1), Input::LinkUp(key(3).id(), LinkKind::Peer));
    drain(&mut room);
    assert_eq!(speaks_to(&message(&mut room, key(3).id(), home_call())), []);
    assert_eq!(speaks_to(&message(&mut room, key(3).id(), decided_for(8, &[3]))), [key(3).id()]);
    // the audience has left: the two speakers form a mesh
    let asks = |outputs: &[Output]| outputs.iter().any(|output| matches!(output, Output::EncodeAs(_)));
    for epoch in 9..12 {
        let outputs = message(&mut room, key(3).id(), roster_with(epoch, |roster| roster.audience = false));
        assert!(!asks(&outputs), "epoch {epoch}: {outputs:?}");
    }
}

#[test]
fn a_mixer_that_speaks_is_its_own_home_whatever_the_other_mixer_says() {
    let both_mix = |roster: &mut Roster| {
        let mut entries = roster.entries.to_vec();
        entries.iter_mut().for_each(|entry| entry.mixes = true);
        (roster.entries, roster.rules.mixers) = (list(entries), 2);
    };
    let mut room =
        RoomState::new(key(2), RoomConfig { consent: Consent::Always, ..config(2, false) }, 7, Time(0));
    message(&mut room, key(3).id(), roster_with(8, both_mix));
    room.handle(Time(1), Input::LinkUp(key(3).id(), LinkKind::Peer));
    drain(&mut room);
    let mut outputs = message(&mut room, key(3).id(), decided_for(8, &[2, 3]));
    room.handle(Time(2_000_000), Input::Timeout);
    outputs.extend(drain(&mut room));
    let own = |output: &Output| matches!(output, Output::CallHome { speaker, .. } if *speaker == key(2).id());
    assert!(room.snapshot().mixing && outputs.iter().any(own), "{outputs:?}");
    let call = home_call().verify(&samples::room(), &key(1).id(), NOW).unwrap();
    room.handle(Time(2_000_001), Input::Message { from: key(3).id(), via: Via::Link, message: call });
    assert_eq!(speaks_to(&drain(&mut room)), [], "it is at home already");
}

#[test]
fn a_newcomer_that_delivers_a_source_takes_no_later_start() {
    let (source, parent, next) = (key(2), key(3).id(), key(2).id());
    let piece = |number: u64| {
        let bytes = list(number.to_be_bytes().to_vec());
        let data = Data { run: NOW, number, delivery: Delivery::Reliable, bytes };
        Message::Data(DataMessage::Data(Signed::new(&source, &samples::room(), 7, 20 + number, NEVER, data)))
    };
    let stands = |next| {
        Message::Data(DataMessage::DataStands(list(vec![DataHeld { source: source.id(), run: NOW, next }])))
    };
    let told = |outputs: &[Output]| {
        let data = |event: &&Event| match event {
            Event::Data { bytes, .. } => Some(u64::from_be_bytes(bytes[..].try_into().unwrap())),
            _ => None,
        };
        events(outputs).iter().filter_map(data).collect::<Vec<_>>()
    };
    let newcomer = || {
        let mut room = RoomState::new(key(5), config(5, false), 7, Time(0));
        message(&mut room, parent, Message::Member(MemberMessage::Roster(roster())));
        room
    };
    let later = |room: &mut RoomState| {
        message(room, next, stands(9));
        (5..10).flat_map(|number| told(&message(room, next, piece(number)))).collect::<Vec<_>>()
    };
    let mut room = newcomer();
    assert_eq!(told(&message(&mut room, parent, piece(4))), [4]);
    assert_eq!(later(&mut room), [5, 6, 7, 8, 9], "it was owed what came after the piece that it had");
    assert_eq!(later(&mut newcomer()), [9], "without a piece delivered it begins where the source stands");
}

fn admission(roster: Message) -> Message {
    let Message::Member(MemberMessage::Roster(roster)) = roster else { panic!("that is no roster") };
    Message::Member(MemberMessage::Admit(Box::new(admitting(roster))))
}

#[test]
fn a_host_that_restarts_goes_on_from_the_roster_that_a_member_has() {
    let mut host = RoomState::new(key(2), config(2, true), 7, Time(0));
    host.handle(Time(0), Input::SignalUp(true));
    drain(&mut host);
    assert_eq!(host.snapshot().epoch, 1);
    let newcomer = Message::Member(MemberMessage::Join(Join {
        name: Text::truncated("new"),
        speaks: true,
        ..Join::viewer("x")
    }));
    message(&mut host, key(8).id(), newcomer);
    assert_eq!(host.snapshot().epoch, 2);
    let removed = key(9).id();
    let before = roster_with(40, |roster| {
        roster.rules.title = Text::truncated("Breakfast");
        roster.rules.access.removed = list(vec![removed]);
    });
    let outputs = message(&mut host, key(3).id(), before.clone());
    assert_eq!(host.snapshot().epoch, 41, "the next one after its last");
    let now = host.roster().unwrap();
    let peers: Vec<_> = now.entries.iter().map(|entry| entry.peer).collect();
    assert_eq!(peers, [2, 3, 8].map(|seed| key(seed).id()), "the member, and who has come since");
    assert_eq!((&*now.rules.title, &now.rules.access.removed[..]), ("Breakfast", &[removed][..]));
    for member in [3, 8] {
        let told = |message: &&Message| {
            matches!(message, Message::Member(MemberMessage::Roster(roster))
                if roster.epoch == 41)
        };
        assert!(said_to(&outputs, key(member).id()).iter().any(told), "{outputs:?}");
    }
    // neither an older one nor one that names another host changes its host
    message(&mut host, key(3).id(), before);
    assert_eq!(host.snapshot().epoch, 41);
    message(&mut host, key(3).id(), roster_with(50, |roster| roster.host = key(3).id()));
    assert_eq!(
        host.snapshot().host,
        Some(key(2).id()),
        "it takes the room back from another holder of the key"
    );
}

#[test]
fn a_member_shows_a_host_that_has_restarted_what_it_signed_before() {
    let mut member = RoomState::new(key(3), config(3, false), 7, Time(0));
    member.handle(Time(0), Input::SignalUp(true));
    let (host, other) = (key(2).id(), key(8).id());
    message(&mut member, host, admission(roster_with(40, |_| ())));
    let reminds = |outputs: &[Output], to| {
        let newest = |message: &&Message| {
            matches!(message, Message::Member(MemberMessage::Roster(roster))
                if roster.epoch == 40)
        };
        said_to(outputs, to).iter().any(newest)
    };
    assert!(reminds(&message(&mut member, host, roster_with(1, |_| ())), host));
    assert!(!reminds(&message(&mut member, other, roster_with(1, |_| ())), other), "others don't sign");
    assert!(!reminds(&message(&mut member, host, roster_with(40, |_| ())), host), "it knows that one");

    // the rendezvous comes back after the host's silence
    let joins = |room: &mut RoomState, until: u64| {
        let mut outputs = Vec::new();
        while let Some(at) = room.next_timeout().filter(|at| at.0 < until) {
            room.handle(at, Input::Timeout);
            outputs.extend(drain(room));
        }
        let asks =
            |output: &&Output| matches!(output, Output::Signal(_, Message::Member(MemberMessage::Join(_))));
        outputs.iter().filter(asks).count()
    };
    for (silent_us, asks) in [(1_000_000, false), (4_000_000, true)] {
        let mut member = RoomState::new(key(3), config(3, false), 7, Time(0));
        member.handle(Time(0), Input::SignalUp(true));
        joins(&mut member, 1); // it asks, so that it takes the answer
        message(&mut member, host, admission(roster_with(40, |_| ())));
        joins(&mut member, silent_us);
        member.handle(Time(silent_us), Input::SignalUp(true));
        drain(&mut member);
        assert_eq!(joins(&mut member, silent_us + 1_000_000) > 0, asks, "after {silent_us} us");
    }
}

#[test]
fn the_last_word_on_what_is_muted_counts_however_quickly_it_comes() {
    let mut host = RoomState::new(key(2), config(2, true), 7, Time(0));
    drain(&mut host);
    let sends = |picture, shares| Input::Sends { muted: Muted { picture, sound: false }, shares };
    for input in [sends(true, Sharing::No), sends(false, Sharing::Alone)] {
        host.handle(Time(1), input); // before the roster with the first word is signed
    }
    host.handle(Time(100_000), Input::Timeout);
    let own = &host.roster().unwrap().entries[0];
    assert_eq!((own.muted, own.shares), (Muted::default(), Sharing::Alone));

    // a member says it to the host, and again when the roster says something else
    let mut member = RoomState::new(key(3), RoomConfig { speaks: true, ..config(3, false) }, 7, Time(0));
    member.handle(Time(0), Input::SignalUp(true));
    let muted = |outputs: &[Output]| {
        let said = outputs.iter().filter_map(|output| match output {
            Output::Signal(_, Message::Member(MemberMessage::Join(join))) => Some(join.muted.picture),
            _ => None,
        });
        said.collect::<Vec<_>>()
    };
    let speaking = |epoch| {
        roster_with(epoch, |roster| {
            roster.entries =
                list(roster.entries.iter().cloned().map(|entry| Entry { speaks: true, ..entry }).collect());
        })
    };
    message(&mut member, key(2).id(), admission(speaking(40)));
    member.handle(Time(2), sends(true, Sharing::No));
    assert_eq!(muted(&drain(&mut member)), [true]);
    assert_eq!(muted(&message(&mut member, key(2).id(), speaking(41))), [true], "it was lost");
}
