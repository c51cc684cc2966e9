//! A parent measures the uplinks of its children: trains, their sizes and rates, and when it stops; and how a
//! viewer uses the figures of its parents.

use crate::samples::brain::{
    self, Brain, MS, SECOND, consenting, receivers, said, says, speaker, times_said,
};
use crate::samples::viewer::Viewer;
use crate::samples::{NOW, key, room};
use plenary_proto::bounded::List;
use plenary_proto::message::{
    Attach, Claim, CodecSource, ElectionMessage, ElectionReason, Message, Need, Opening, ProbeMessage,
    Purpose, TreeMessage,
};
use plenary_proto::seal::Signed;
use plenary_proto::{CodecClaim, Command, Event, Input, Output, Rank};

const FIRST_TRAIN: u32 = 1 << 31;

/// A train that a child was asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Train {
    number: u32,
    bytes: u32,
    rate_bps: u64,
}

fn trains(outputs: &[Output], child: u8) -> Vec<Train> {
    let train = |message: &Message| match message {
        Message::Probe(ProbeMessage::ProbeWanted { train, bytes, rate_bps }) => {
            Some(Train { number: *train, bytes: *bytes, rate_bps: *rate_bps })
        }
        _ => None,
    };
    said(outputs, child).into_iter().filter_map(train).collect()
}

fn told(outputs: &[Output], child: u8) -> Option<u64> {
    said(outputs, child).into_iter().find_map(|message| match message {
        Message::Probe(ProbeMessage::Uplink { bps }) => Some(*bps),
        _ => None,
    })
}

fn is_train(message: &Message) -> bool {
    matches!(message, Message::Probe(ProbeMessage::ProbeWanted { .. }))
}

/// Returns a relay with these children.
fn parent(children: &[u8]) -> Viewer {
    let mut relay = Viewer::relay();
    for child in children {
        relay.is_joined_by(*child, Attach { room: 4, ..Attach::newcomer() });
    }
    relay
}

fn wants(parent: &mut Viewer, child: u8) -> Vec<Output> {
    let mut outputs = parent.hears(child, Message::Probe(ProbeMessage::UplinkWanted));
    outputs.extend(parent.runs_for(MS).into_iter().map(|(_, output)| output));
    outputs
}

fn measured(parent: &mut Viewer, child: u8, train: Train, bps: Option<u64>) -> Vec<Output> {
    let mut outputs = parent.give(Input::Measured {
        peer: key(child).id(),
        train: train.number,
        bandwidth_bps: bps,
        rtt_us: 0,
        paused_ppm: 0,
        media: None,
        address: None,
    });
    outputs.extend(parent.runs_for(MS).into_iter().map(|(_, output)| output));
    outputs
}

#[test]
fn a_parent_tells_a_child_the_median_after_each_of_three_trains() {
    let mut parent = parent(&[10]);
    let asked = wants(&mut parent, 10);
    let [first] = trains(&asked, 10)[..] else { panic!("{asked:?}") };
    assert_eq!((first.bytes, first.rate_bps), (26_400, 0), "as fast as it goes");
    assert!(first.number >= FIRST_TRAIN);
    let outputs = measured(&mut parent, 10, first, Some(8_000_000));
    assert_eq!(told(&outputs, 10), Some(8_000_000));
    let [second] = trains(&outputs, 10)[..] else { panic!("{outputs:?}") };
    assert_eq!((second.bytes, second.rate_bps), (80_000, 16_000_000), "80 ms of it, at twice its rate");
    let outputs = measured(&mut parent, 10, second, Some(12_000_000));
    assert_eq!(told(&outputs, 10), Some(8_000_000), "of two the lower");
    let [third] = trains(&outputs, 10)[..] else { panic!("{outputs:?}") };
    let outputs = measured(&mut parent, 10, third, Some(90_000_000));
    assert_eq!((told(&outputs, 10), trains(&outputs, 10).len()), (Some(12_000_000), 0));
    let later = parent.runs_for(60 * SECOND);
    assert!(times_said(&later, 10, is_train).is_empty());
}

#[test]
fn a_sample_counts_at_most_as_the_rate_of_its_train() {
    let mut parent = parent(&[10]);
    let asked = wants(&mut parent, 10);
    let first = trains(&asked, 10)[0];
    let outputs = measured(&mut parent, 10, first, Some(u64::MAX));
    let second = trains(&outputs, 10)[0];
    // 16 × (k + 2) × 1.5 Mbit/s
    assert_eq!((second.bytes, second.rate_bps), (200_000, 144_000_000));
    let outputs = measured(&mut parent, 10, second, Some(u64::MAX));
    assert_eq!(told(&outputs, 10), Some(144_000_000));
}

#[test]
fn two_failed_trains_end_a_measurement() {
    let mut parent_of_silent = parent(&[10]);
    let asked = wants(&mut parent_of_silent, 10);
    let first = trains(&asked, 10)[0];
    let start = parent_of_silent.now;
    let timed = parent_of_silent.runs_for(10 * SECOND);
    let times = times_said(&timed, 10, is_train);
    assert!(matches!(times[..], [at] if (at - start).abs_diff(SECOND) <= 2 * MS), "{times:?}");
    assert!(
        times_said(&timed, 10, |message| matches!(message, Message::Probe(ProbeMessage::Uplink { .. })))
            .is_empty()
    );
    let late = measured(&mut parent_of_silent, 10, first, Some(8_000_000));
    assert_eq!(told(&late, 10), None, "a train that ends too late counts no more");

    let mut parent = parent(&[10]);
    let asked = wants(&mut parent, 10);
    let first = trains(&asked, 10)[0];
    let outputs = measured(&mut parent, 10, first, None);
    assert_eq!(told(&outputs, 10), None, "one may be lost");
    let second = trains(&outputs, 10)[0];
    let outputs = measured(&mut parent, 10, second, None);
    assert_eq!((told(&outputs, 10), trains(&outputs, 10).len()), (Some(0), 0));
}

#[test]
fn a_busy_child_is_asked_20_times() {
    let mut parent = parent(&[10]);
    let asked = wants(&mut parent, 10);
    let mut train = trains(&asked, 10)[0];
    let mut asked = 1;
    loop {
        parent.hears(10, Message::Probe(ProbeMessage::ProbeBusy { train: train.number }));
        parent.hears(10, Message::Probe(ProbeMessage::ProbeBusy { train: train.number })); // the same answer once more
        let outputs: Vec<_> = parent.runs_for(100 * MS).into_iter().map(|(_, output)| output).collect();
        let Some(next) = trains(&outputs, 10).first().copied() else { break };
        (train, asked) = (next, asked + 1);
        assert!(asked <= 20);
    }
    assert_eq!(asked, 20);
}

#[test]
fn four_children_are_awaited_at_once_at_first_and_then_one_by_one() {
    let mut parent = parent(&[10, 11, 12, 13]);
    parent.is_joined_by(
        14,
        Attach { path: crate::samples::brain::path(&[3, 5, 10, 14]), ..Attach::newcomer() },
    );
    assert_eq!(parent.room.snapshot().children.len(), 5);
    let mut first = Vec::new();
    for child in 10..15 {
        let asked = wants(&mut parent, child);
        first.extend(trains(&asked, child).into_iter().map(|train| (child, train)));
    }
    assert_eq!(first.iter().map(|(child, _)| *child).collect::<Vec<_>>(), [10, 11, 12, 13]);
    let outputs = measured(&mut parent, 10, first[0].1, Some(8_000_000));
    assert_eq!(receivers(&outputs, is_train), [14], "first trains come first");
    first.push((14, trains(&outputs, 14)[0]));
    for (child, train) in first.iter().skip(1).take(3) {
        let outputs = measured(&mut parent, *child, *train, Some(8_000_000));
        assert!(receivers(&outputs, is_train).is_empty(), "one is awaited: {outputs:?}");
    }
    let (last, train) = first[4];
    let outputs = measured(&mut parent, last, train, Some(8_000_000));
    assert_eq!(receivers(&outputs, is_train).len(), 1, "{outputs:?}");
}

#[test]
fn a_parent_measures_no_strangers_and_no_child_twice_within_2_s() {
    let mut parent = parent(&[10]);
    assert!(receivers(&wants(&mut parent, 30), is_train).is_empty());
    let asked = wants(&mut parent, 10);
    let mut train = trains(&asked, 10)[0];
    assert!(trains(&wants(&mut parent, 10), 10).is_empty(), "it is being measured");
    for _ in 0..2 {
        let outputs = measured(&mut parent, 10, train, Some(8_000_000));
        train = trains(&outputs, 10)[0];
    }
    measured(&mut parent, 10, train, Some(8_000_000));
    parent.runs_for(1_900 * MS);
    assert!(trains(&wants(&mut parent, 10), 10).is_empty());
    parent.runs_for(200 * MS);
    let asked = wants(&mut parent, 10);
    let train = trains(&asked, 10)[0];
    parent.hears(10, Message::Tree(TreeMessage::Detach));
    let outputs = measured(&mut parent, 10, train, Some(8_000_000));
    assert!(trains(&outputs, 10).is_empty(), "{outputs:?}");
}

#[test]
fn results_of_trains_that_nobody_awaits_are_dropped() {
    let mut parent = parent(&[10]);
    let asked = wants(&mut parent, 10);
    let first = trains(&asked, 10)[0];
    let other = Train { number: first.number + 7, ..first };
    for (child, train) in [(10, other), (30, first)] {
        let outputs = measured(&mut parent, child, train, Some(1));
        assert_eq!(told(&outputs, 10).or(told(&outputs, 30)), None);
    }
    assert_eq!(told(&measured(&mut parent, 10, first, Some(8_000_000)), 10), Some(8_000_000));
}

#[test]
fn a_newer_figure_of_the_same_parent_replaces_the_older_one() {
    let mut viewer = Viewer::new();
    viewer.is_fed_by(3, &[3]);
    assert!(viewer.sends_trains(3, 26_400, 0).len() >= 4);
    for bps in [20_000_000, 30_000_000, 5_000_000, u64::MAX] {
        let counts = bps.min(10_000_000_000_000);
        assert_eq!(viewer.is_told(3, bps), Some(counts));
    }
}

#[test]
fn a_figure_expires_when_another_parent_reports_1200_s_later() {
    for (after_s, kept) in [(1_100, 20_000_000), (1_250, 2_000_000)] {
        let mut viewer = Viewer::new();
        viewer.is_fed_by(3, &[3]);
        assert!(viewer.sends_trains(3, 26_400, 0).len() >= 2);
        (0..2).for_each(|_| _ = viewer.is_told(3, 20_000_000));
        viewer.rests_for(after_s * SECOND);
        viewer.is_shed_by(3, 4);
        viewer.is_taken_by(4, &[3, 4]);
        assert!(viewer.sends_trains(4, 26_400, 0).len() >= 2);
        viewer.is_told(4, 2_000_000);
        assert_eq!(viewer.is_told(4, 2_000_000), Some(kept), "after {after_s} s");
    }
}

#[test]
fn a_viewer_without_a_figure_asks_again_after_a_back_off() {
    let mut viewer = Viewer::new();
    viewer.is_taken_by(3, &[3]);
    let start = viewer.now;
    viewer.give(Input::Fed(key(3).id()));
    let mut last = start;
    for bound_s in [5, 10, 20, 40, 80, 160, 300, 300] {
        let timed = viewer.runs_for((31 + bound_s) * SECOND);
        let asked = times_said(&timed, 3, |message| *message == Message::Probe(ProbeMessage::UplinkWanted));
        let waited = (asked[0] - last) / SECOND;
        assert!((30 + bound_s / 2 - 1..=30 + bound_s).contains(&waited), "{bound_s}: {waited}");
        (last, viewer.now) = (asked[0], asked[0]);
    }
}

#[test]
fn children_wait_1_s_for_the_first_figure_and_are_sent_away_without_one() {
    for (figure, served) in [(Some(20_000_000), 1), (Some(1_500_000), 0), (None, 0)] {
        let mut viewer = Viewer::new();
        viewer.is_taken_by(3, &[3]);
        let start = viewer.now;
        viewer.give(Input::Fed(key(3).id()));
        let (_, outputs) = viewer.is_joined_by(20, Attach { room: 4, ..Attach::newcomer() });
        assert!(says(&outputs, 20, |message| matches!(message, Message::Tree(TreeMessage::Feeding { .. }))));
        assert!(viewer.room.snapshot().children.is_empty(), "it is linked, and waits");
        if let Some(bps) = figure {
            viewer.hears(
                3,
                Message::Probe(ProbeMessage::ProbeWanted { train: FIRST_TRAIN, bytes: 26_400, rate_bps: 0 }),
            );
            viewer.hears(3, Message::Probe(ProbeMessage::Uplink { bps }));
        }
        viewer.runs_until(start + 1_010 * MS);
        let snapshot = viewer.room.snapshot();
        assert_eq!(snapshot.children.len(), served, "{figure:?}");
        assert!(snapshot.promised.is_empty(), "{figure:?}");
        if figure.is_none() {
            let asked = |viewer: &mut Viewer| {
                let outputs = viewer
                    .hears(21, Message::Tree(TreeMessage::Attach(Attach { room: 4, ..Attach::newcomer() })));
                says(&outputs, 21, |message| {
                    matches!(message, Message::Tree(TreeMessage::Accept { purpose: Purpose::Parent, .. }))
                })
            };
            viewer.runs_until(start + 30 * SECOND);
            assert!(!asked(&mut viewer), "it takes none for 30 s");
            viewer.runs_until(start + 32 * SECOND);
            assert!(asked(&mut viewer), "then its uplink counts as wide");
        }
    }
}

fn claims_and_trains(outputs: &[Output], to: u8) -> (usize, usize) {
    let claims = said(outputs, to)
        .into_iter()
        .filter(|message| matches!(message, Message::Election(ElectionMessage::Claim(_))));
    let trains = outputs.iter().filter(|output| matches!(output, Output::Train { .. }));
    (claims.count(), trains.count())
}

#[test]
fn a_candidate_gives_peers_beside_the_stage_a_train_and_a_mixer_none() {
    let mut candidate = Brain::new(3, consenting());
    candidate.adopts(&[speaker(2), brain::candidate(3), brain::candidate(4)], |_| ());
    candidate.give(Input::CodecTimes { encode_us: 4_000, decode_us: 1_500, source: CodecSource::Bench });
    candidate.is_linked_by(50);
    let asks = Message::Probe(ProbeMessage::ProbeWanted { train: 1, bytes: 26_400, rate_bps: 0 });
    assert_eq!(claims_and_trains(&candidate.hears(50, asks.clone()), 50), (1, 1));
    assert_eq!(claims_and_trains(&candidate.hears(50, asks.clone()), 50), (0, 0), "at once again");
    candidate.elects(1, &[3], &[4]);
    candidate.rests_for(SECOND);
    assert_eq!(claims_and_trains(&candidate.hears(50, asks), 50), (1, 0), "media flows");
}

#[test]
fn a_measurement_of_a_mixer_that_grants_no_train_ends_with_its_claim() {
    let mut viewer = Viewer::relay();
    let epoch = viewer.epoch();
    let claim = |age_s| {
        let claim = Claim {
            term: 1,
            encode_us: 4_000,
            decode_us: 1_500,
            codec_source: CodecSource::Frames,
            codec_age_s: age_s,
            uplink_bps_max: None,
            rate_percent: 100,
            round_trips: List::new(),
        };
        Message::Election(ElectionMessage::Claim(Signed::new(
            &key(3),
            &room(),
            epoch,
            1_000 + u64::from(age_s),
            NOW + 600,
            claim,
        )))
    };
    let mut outputs = viewer.give(Input::Command(Command::Measure(key(3).id())));
    let (mut measured, mut claimed) = (Vec::new(), false);
    for _ in 0..200 {
        outputs.extend(viewer.runs_for(100 * MS).into_iter().map(|(_, output)| output));
        for train in trains(&outputs, 3) {
            if !std::mem::replace(&mut claimed, true) {
                viewer.hears(3, claim(7));
            }
            outputs.extend(viewer.hears(3, Message::Probe(ProbeMessage::ProbeBusy { train: train.number })));
        }
        measured.extend(brain::events(&outputs).into_iter().filter_map(|event| match event {
            Event::Measured { samples_bps, codec, .. } => Some((samples_bps.clone(), *codec)),
            _ => None,
        }));
        outputs.clear();
    }
    let codec = CodecClaim { encode_us: 4_000, decode_us: 1_500, source: CodecSource::Frames, age_s: 7 };
    assert_eq!(measured, [(vec![], Some(codec))]);
}

/// These peers ask for trains as large and fast as can be, 20 times a second for 10 s. Returns the bits a second of
/// each train sent.
fn trains_for_all(candidate: &mut Brain, askers: std::ops::Range<u8>) -> Vec<u64> {
    let mut sent = Vec::new();
    for train in 0..200 {
        candidate.now += 50 * MS;
        for asker in askers.clone() {
            let asks = Message::Probe(ProbeMessage::ProbeWanted { train, bytes: 200_000, rate_bps: 0 });
            sent.extend(candidate.hears(asker, asks).iter().filter_map(|output| match output {
                Output::Train { rate_bps, .. } => Some(*rate_bps),
                _ => None,
            }));
        }
    }
    sent
}

/// A candidate on a stage with ten guests.
fn candidate_among_guests() -> Brain {
    let entries = [speaker(2), brain::candidate(3), brain::candidate(4)].into_iter();
    let entries: Vec<_> = entries.chain((50..60).map(speaker)).collect();
    let mut candidate = Brain::new(3, consenting());
    candidate.adopts(&entries, |_| ());
    candidate
}

#[test]
fn guests_on_stage_get_a_train_each_500_ms_in_all_and_from_a_mixer_none() {
    let mut candidate = candidate_among_guests();
    let sent = trains_for_all(&mut candidate, 50..60).len();
    assert!((15..=20).contains(&sent), "{sent}");
    candidate.elects(1, &[4], &[]);
    let sent = trains_for_all(&mut candidate, 50..60);
    let paced = |rate_bps: &u64| (1..=100_000_000).contains(rate_bps);
    assert!(sent.len() <= 20 && sent.iter().all(paced), "media flows: {sent:?}");
    candidate.elects(2, &[3], &[]);
    assert_eq!(trains_for_all(&mut candidate, 50..60), []);
}

#[test]
fn a_measurer_gets_a_measurement_s_trains_and_one_a_second() {
    let mut candidate = candidate_among_guests();
    let need = Need { term: 1, under: Rank::default(), reason: ElectionReason::Opening, opener: key(2).id() };
    let sign = |seed: u8| (key(seed).id(), Opening::countersign(&key(seed), &room(), 7, &need));
    let signatures = crate::samples::list([2, 4].into_iter().chain(50..60).map(sign).collect());
    let opening = Opening { epoch: candidate.epoch(), body: need, signatures };
    let outputs = candidate.hears(2, Message::Election(ElectionMessage::Opening(Box::new(opening))));
    let opened = |event: &&Event| matches!(event, Event::ElectionOpened { .. });
    assert!(brain::events(&outputs).iter().any(opened));
    let measurers = 3;
    let sent = trains_for_all(&mut candidate, 50..60).len();
    let most = measurers * (6 + 10) + 20;
    assert!((30..=most).contains(&sent), "{sent} of at most {most}");
}
