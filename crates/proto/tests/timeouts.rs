//! Timers under any inputs: a timeout that was handled is never due again at once, and a brain that gets no
//! further input wakes rarely.

use std::sync::LazyLock;

use crate::samples::brain::{
    Brain, MS, SECOND, candidate, consenting, path, places_below, program, roster_of, speaker, viewing,
};
use crate::samples::viewer::Viewer;
use crate::samples::{key, samples, wish};
use plenary_proto::bounded::List;
use plenary_proto::message::*;
use plenary_proto::{Command, Input, Rank, RoomConfig, Time, Verdict};
use proptest::prelude::*;

/// Peers that the inputs come from: stage, parents, children, and a stranger.
const PEERS: [u8; 9] = [2, 3, 4, 6, 10, 11, 20, 21, 30];
/// Maximum wakes of a brain within 5 ms and within a second, without other inputs. Its fastest timers are those
/// of 25 ms and more; several may be due in a row.
const WAKES_AT_ONCE_MAX: usize = 12;
const WAKES_PER_S_MAX: usize = 60;

static SAMPLES: LazyLock<Vec<Message>> = LazyLock::new(samples);

#[derive(Clone, Debug)]
enum Step {
    Says(u8, Message),
    Sample(u8, usize),
    Gives(Input),
    Waits(u64),
}

fn peer() -> impl Strategy<Value = u8> {
    prop::sample::select(&PEERS[..])
}

fn number() -> impl Strategy<Value = u32> {
    prop_oneof![0..9u32, Just(u32::MAX), Just(u32::MAX / 2), any::<u32>()]
}

fn rank() -> impl Strategy<Value = Rank> {
    (0..6u32, 0..4u16).prop_map(|(term, failover_count)| Rank { term, failover_count })
}

/// Draws the path of a peer: below a mixer, with the brain itself (key 5) among the peers above it at times.
fn path_to(peer: u8) -> impl Strategy<Value = Path> {
    prop::collection::vec(prop::sample::select(&[3u8, 4, 5, 6, 10, 11, 40, 41, 42, 43][..]), 0..17).prop_map(
        move |mut above| {
            above.dedup();
            above.retain(|other| *other != peer);
            above.truncate(15);
            above.push(peer);
            path(&above)
        },
    )
}

fn aggregate() -> impl Strategy<Value = Aggregate> {
    (
        number(),
        any::<[u16; 8]>(),
        any::<[u16; 8]>(),
        any::<u8>(),
        number(),
        any::<u8>(),
        prop::option::of((peer(), any::<u8>())),
        number(),
    )
        .prop_map(|(viewers, free, promises, room, sending_us, deepest, strongest, recorders)| {
            let strongest = strongest.map(|(peer, room)| (key(peer).id(), room));
            Aggregate { viewers, free, promises, room, sending_us, deepest, strongest, recorders }
        })
}

fn whereabouts() -> impl Strategy<Value = Whereabouts> {
    (prop::option::of(number()), prop::collection::vec((peer(), number()), 0..4)).prop_map(
        |(late_us, trips)| {
            let trips = trips.iter().map(|(peer, us)| RoundTrip::new(&key(*peer).id(), *us));
            Whereabouts { late_us, round_trips: List::truncated(trips) }
        },
    )
}

fn said(peer: u8) -> impl Strategy<Value = Message> {
    let purpose = || prop::sample::select(&[Purpose::Parent, Purpose::Backup][..]);
    let reach = prop::sample::select(&[Reach::Anywhere, Reach::OnlyBelow, Reach::OnlyHere][..]);
    let how = prop_oneof![
        Just(Move::Deepest),
        Just(Move::Up),
        Just(Move::Down),
        (any::<u8>(), number()).prop_map(|(level, viewers_max)| Move::Across { level, viewers_max }),
    ];
    let places = || {
        prop::collection::vec(prop::sample::select(&[3u8, 4, 5, 10, 11, 20, 50, 51, 52, 53][..]), 0..5)
            .prop_map(|peers| places_below(&[3], &peers[..peers.len().min(4)]))
    };
    prop_oneof![
        (purpose(), path_to(peer), number(), any::<u8>(), any::<bool>(), reach).prop_map(
            |(purpose, path, viewers_below, room, fed, reach)| {
                let sending_us = viewers_below;
                let round_trips = List::new();
                Message::Tree(TreeMessage::Attach(Attach {
                    purpose,
                    path,
                    viewers_below,
                    room,
                    sending_us,
                    fed,
                    round_trips,
                    reach,
                    ticket: None,
                }))
            }
        ),
        (purpose(), path_to(peer), whereabouts()).prop_map(|(purpose, path, whereabouts)| Message::Tree(
            TreeMessage::Accept { purpose, path, whereabouts }
        )),
        (purpose(), places())
            .prop_map(|(purpose, places)| Message::Tree(TreeMessage::Redirect { purpose, places })),
        purpose().prop_map(|purpose| Message::Tree(TreeMessage::Refused { purpose, reason: Refused::Full })),
        Just(Message::Tree(TreeMessage::Feed { from: None })),
        Just(Message::Tree(TreeMessage::StopFeed)),
        Just(Message::Tree(TreeMessage::Detach)),
        Just(Message::Tree(TreeMessage::Dismiss)),
        places().prop_map(|places| Message::Tree(TreeMessage::Shed { places })),
        aggregate().prop_map(TreeMessage::Aggregate).prop_map(Message::from),
        path_to(peer).prop_map(TreeMessage::PathIs).prop_map(Message::from),
        (path_to(peer), whereabouts())
            .prop_map(|(path, whereabouts)| Message::Tree(TreeMessage::Feeding { path, whereabouts })),
        whereabouts().prop_map(TreeMessage::Whereabouts).prop_map(Message::from),
        (how, places()).prop_map(|(how, places)| Message::Tree(TreeMessage::Move { how, places })),
        Just(Message::Probe(ProbeMessage::UplinkWanted)),
        Just(Message::Probe(ProbeMessage::RatesWanted)),
        Just(Message::Probe(ProbeMessage::Rates(List::new()))),
        any::<u64>().prop_map(|bps| Message::Probe(ProbeMessage::Uplink { bps })),
        (number(), number(), any::<u64>()).prop_map(|(train, bytes, rate_bps)| {
            Message::Probe(ProbeMessage::ProbeWanted { train, bytes, rate_bps })
        }),
        number().prop_map(|train| Message::Probe(ProbeMessage::ProbeBusy { train })),
        (peer_id(), prop::option::of(number()))
            .prop_map(|(mixer, silent_us)| Message::Failover(FailoverMessage::Heard { mixer, silent_us })),
        rank().prop_map(|rank| Message::Failover(FailoverMessage::FailoverWanted {
            rank,
            wish: wish(3, rank, 4)
        })),
        rank().prop_map(move |rank| Message::Media(MediaMessage::Started(program(
            peer,
            rank.term,
            rank.failover_count
        )))),
        any::<u8>().prop_map(|count| Message::Election(ElectionMessage::Trouble { count })),
        peer_id()
            .prop_map(|with| TunnelMessage::Wanted { with, kind: LinkKind::Peer })
            .prop_map(Message::from),
        (peer_id(), any::<u16>())
            .prop_map(|(with, channel)| TunnelMessage::Opened { with, kind: LinkKind::Peer, channel })
            .prop_map(Message::from),
        peer_id()
            .prop_map(|with| TunnelMessage::Closed { with, kind: LinkKind::Peer })
            .prop_map(Message::from),
        (number(), number()).prop_map(|(suffering, viewers)| Message::Election(ElectionMessage::Suffering(
            Sufferers { suffering, viewers }
        ))),
        (0..9u32, rank()).prop_map(move |(term, under)| {
            let need = Need { term, under, reason: ElectionReason::MixerGone, opener: key(peer).id() };
            Message::Election(ElectionMessage::PreVoteWanted { epoch: 7, need })
        }),
    ]
}

fn peer_id() -> impl Strategy<Value = plenary_proto::PeerId> {
    peer().prop_map(|seed| key(seed).id())
}

fn input() -> impl Strategy<Value = Input> {
    let verdict =
        prop::sample::select(&[Verdict::Ok, Verdict::Silent, Verdict::Behind, Verdict::Stalled][..]);
    let measured = (peer_id(), 0..6u32, any::<bool>(), prop::option::of(any::<u64>()), number());
    prop_oneof![
        (peer_id(), verdict).prop_map(|(peer, verdict)| Input::Verdict { peer, verdict }),
        peer_id().prop_map(Input::Fed),
        peer_id().prop_map(|peer| Input::LinkDown(peer, LinkKind::Peer)),
        peer_id().prop_map(|peer| Input::LinkUp(peer, LinkKind::Peer)),
        peer_id().prop_map(|peer| Input::Undeliverable(Some(peer))),
        any::<bool>().prop_map(Input::Busy),
        prop::option::of(any::<u8>()).prop_map(Input::UplinkCarries),
        any::<bool>().prop_map(Input::SignalUp),
        any::<u16>().prop_map(Input::Trouble),
        any::<u8>().prop_map(Input::RatePercent),
        Just(Input::Warm),
        Just(Input::Overloaded),
        Just(Input::CannotMix),
        Just(Input::Pictureless),
        Just(Input::Command(Command::ReconnectUpstream)),
        rank().prop_map(|rank| Input::Started(program(5, rank.term, rank.failover_count))),
        prop::collection::vec((peer_id(), number()), 0..9).prop_map(Input::RoundTrips),
        (number(), number()).prop_map(|(encode_us, decode_us)| Input::CodecTimes {
            encode_us,
            decode_us,
            source: CodecSource::Bench
        }),
        measured.prop_map(|(peer, train, below, bandwidth_bps, us)| Input::Measured {
            peer,
            train: train | u32::from(below) << 31,
            bandwidth_bps,
            rtt_us: us,
            paused_ppm: us,
            media: None,
            address: None,
        }),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => peer().prop_flat_map(|peer| said(peer).prop_map(move |message| Step::Says(peer, message))),
        2 => (peer(), any::<prop::sample::Index>()).prop_map(|(peer, at)| Step::Sample(peer, at.index(SAMPLES.len()))),
        3 => input().prop_map(Step::Gives),
        2 => (0..4 * SECOND).prop_map(Step::Waits),
    ];
    prop::collection::vec(step, 1..50)
}

/// Returns the brain of key 5 in one of its parts: viewer, relay, mixer beside another, standby, opener.
fn brain(part: u8) -> Brain {
    let entries = [speaker(2), candidate(3), candidate(4), candidate(6), candidate(5)];
    match part {
        0 => Viewer::with_backup().into_brain(),
        1 => {
            let mut relay = Viewer::relay();
            (10..13).for_each(|peer| _ = relay.is_joined_by(peer, Attach { room: 4, ..Attach::newcomer() }));
            relay.into_brain()
        }
        2 | 3 => {
            let mut brain = Brain::new(5, consenting());
            brain.adopts(&entries, |_| ());
            let (mixers, standbys) =
                if part == 2 { (&[5, 3][..], &[4][..]) } else { (&[3, 4][..], &[5][..]) };
            brain.elects(3, mixers, standbys);
            (10..13).for_each(|peer| _ = brain.is_joined_by(peer, Attach { room: 4, ..Attach::newcomer() }));
            brain
        }
        _ => {
            let mut brain = Brain::new(5, RoomConfig { speaks: true, ..viewing() });
            let entries = [speaker(5), candidate(3), candidate(4), candidate(6), speaker(2)];
            brain.hears(2, roster_of(7, &entries, |_| ()));
            brain
        }
    }
}

/// Hands each timeout in when it is due for a while, and checks the wakes.
fn wakes_rarely(brain: &mut Brain, us: u64) -> Result<(), TestCaseError> {
    let end = brain.now + us;
    let mut wakes: Vec<u64> = Vec::new();
    while let Some(due) = brain.room.next_timeout().filter(|due| due.0 <= end) {
        prop_assert!(due.0 > wakes.last().copied().unwrap_or(0), "due again at {}", due);
        brain.now = due.0;
        brain.room.handle(due, Input::Timeout);
        while brain.room.poll_output().is_some() {}
        prop_assert!(brain.room.next_timeout().is_none_or(|next| next > due), "due in the past at {}", due);
        wakes.push(due.0);
        let since = |us: u64| wakes.iter().rev().take_while(|at| **at + us > due.0).count();
        prop_assert!(since(5 * MS) <= WAKES_AT_ONCE_MAX, "a tight loop: {:?}", wakes);
        prop_assert!(since(SECOND) <= WAKES_PER_S_MAX, "too often: {:?}", wakes);
    }
    brain.now = brain.now.max(end);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_timeout_leads_to_a_later_one_and_a_brain_at_rest_wakes_rarely(part in 0..5u8, steps in steps()) {
        let mut brain = brain(part);
        for step in steps {
            match step {
                Step::Says(peer, message) => _ = brain.hears(peer, message),
                Step::Sample(peer, at) => _ = brain.hears(peer, SAMPLES[at].clone()),
                Step::Gives(input) => _ = brain.give(input),
                Step::Waits(us) => wakes_rarely(&mut brain, us)?,
            }
            let now = Time(brain.now);
            prop_assert!(brain.room.next_timeout().is_none_or(|due| due > now));
        }
        wakes_rarely(&mut brain, 3 * SECOND)?;
    }
}
