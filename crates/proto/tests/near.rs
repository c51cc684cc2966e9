//! Proximity: measuring the distance to landmarks, and searching for a place nearer to the program.

use crate::samples::brain::{
    MS, SECOND, candidate, is_attach, path, places_below, receivers, said, says, speaker, times_of,
    times_said, untimed, viewing,
};
use crate::samples::key;
use crate::samples::viewer::Viewer;
use plenary_proto::bounded::List;
use plenary_proto::message::{
    Attach, LinkMessage, Message, Purpose, RoundTrip, RoundTrips, TreeMessage, Whereabouts,
};
use plenary_proto::{Input, Output, PeerId};

/// Landmarks: candidates that don't mix.
const LANDMARKS: [u8; 4] = [6, 7, 8, 9];

fn in_room(mixers: &[u8]) -> Viewer {
    let mixing = mixers.iter().map(|seed| candidate(*seed));
    let others = LANDMARKS.map(candidate);
    let entries: Vec<_> = [speaker(2)].into_iter().chain(mixing).chain(others).collect();
    Viewer::among(&entries, mixers, &[], viewing())
}

fn tells(outputs: &[(u64, Output)]) -> Vec<u64> {
    times_of(outputs, |output| *output == Output::TellRoundTrips)
}

fn round_trips(ms: [u32; 4]) -> Vec<(PeerId, u32)> {
    LANDMARKS.iter().zip(ms).map(|(peer, ms)| (key(*peer).id(), ms * 1_000)).collect()
}

fn trips(ms: [u32; 4]) -> RoundTrips {
    List::truncated(round_trips(ms).iter().map(|(peer, us)| RoundTrip::new(peer, *us)))
}

fn accept(at: &[u8], late_ms: u32, ms: [u32; 4]) -> Message {
    let whereabouts = Whereabouts { late_us: Some(late_ms * 1_000), round_trips: trips(ms) };
    Message::Tree(TreeMessage::Accept { purpose: Purpose::Parent, path: path(at), whereabouts })
}

fn wants_link(output: &Output, peer: u8) -> bool {
    let id = key(peer).id();
    matches!(output, Output::Offer { peer, .. } if *peer == id)
        || says(std::slice::from_ref(output), peer, |message| {
            matches!(message, Message::Link(LinkMessage::LinkWanted { .. }))
        })
}

/// A viewer at path 3, 10, 11, 5 that has measured its landmarks, and gets the program 200 ms late.
fn far() -> Viewer {
    let mut viewer = in_room(&[3]);
    viewer.is_fed_by(11, &[3, 10, 11]);
    viewer.is_measured_by(11, 20_000_000);
    let late = Whereabouts { late_us: Some(190_000), round_trips: trips([100, 120, 140, 160]) };
    viewer.hears(11, Message::Tree(TreeMessage::Whereabouts(late)));
    while tells(&viewer.runs_for(10 * MS)).is_empty() {
        assert!(viewer.now < 5 * SECOND);
    }
    let mut rtts = round_trips([20, 40, 60, 80]);
    rtts.push((key(11).id(), 20_000));
    viewer.give(Input::RoundTrips(rtts));
    viewer
}

/// Runs until the viewer asks the mixer for a better place; returns the time.
fn looks_for_better(viewer: &mut Viewer) -> u64 {
    let end = viewer.now + 700 * SECOND;
    while viewer.now < end {
        let timed = viewer.runs_for(10 * MS);
        if let Some(at) = times_said(&timed, 3, |message| {
            matches!(
                message,
                Message::Tree(TreeMessage::Attach(Attach { fed: true, purpose: Purpose::Parent, .. }))
            )
        })
        .first()
        {
            return *at;
        }
        if !tells(&timed).is_empty() {
            let mut rtts = round_trips([20, 40, 60, 80]);
            rtts.push((key(11).id(), 20_000));
            viewer.give(Input::RoundTrips(rtts));
        }
    }
    panic!("no search");
}

#[test]
fn a_fed_viewer_links_with_landmarks_and_reports_its_round_trips() {
    let mut viewer = in_room(&[3]);
    viewer.is_fed_by(11, &[3, 10, 11]);
    let start = viewer.now;
    let timed = viewer.runs_for(3 * SECOND);
    for peer in [2, 3, 6, 7, 8, 9] {
        let times = times_of(&timed, |output| wants_link(output, peer));
        assert_eq!(times.len(), usize::from(LANDMARKS.contains(&peer)), "{peer}: {timed:?}");
        assert!(times.iter().all(|at| (375..=625).contains(&((at - start) / MS))), "{times:?}");
    }
    let asked = tells(&timed);
    assert!(asked.iter().any(|at| (2_375..=2_625).contains(&((at - start) / MS))), "{asked:?}");
    let outputs = viewer.give(Input::RoundTrips(round_trips([20, 40, 60, 80])));
    let expected = trips([20, 40, 60, 80]);
    let told = |message: &Message| match message {
        Message::Tree(TreeMessage::Whereabouts(Whereabouts { round_trips, .. })) => {
            round_trips.len() == 4 && expected.iter().all(|trip| round_trips.contains(trip))
        }
        _ => false,
    };
    assert!(says(&outputs, 11, told), "{outputs:?}");
}

#[test]
fn a_viewer_measures_silent_landmarks_again_and_keeps_the_fuller_list() {
    let mut viewer = in_room(&[3]);
    viewer.is_fed_by(11, &[3, 10, 11]);
    viewer.runs_for(3 * SECOND);
    let outputs = viewer.give(Input::RoundTrips(round_trips([20, 40, 60, 0])));
    let told = |outputs: &[Output]| {
        says(outputs, 11, |message| matches!(message, Message::Tree(TreeMessage::Whereabouts(_))))
    };
    assert!(told(&outputs), "{outputs:?}");
    let again = tells(&viewer.runs_for(2_500 * MS + 2 * SECOND));
    assert!(again.is_empty(), "not before 2.5 s: {again:?}");
    let again = tells(&viewer.runs_for(2_600 * MS));
    assert_eq!(again.len(), 1);
    let outputs = viewer.give(Input::RoundTrips(round_trips([20, 40, 0, 0])));
    assert!(!told(&outputs), "it knows three: {outputs:?}");
}

#[test]
fn a_viewer_reports_nothing_while_fewer_than_two_landmarks_answer() {
    let mut viewer = in_room(&[3]);
    viewer.is_fed_by(11, &[3, 10, 11]);
    viewer.runs_for(3 * SECOND);
    let outputs = viewer.give(Input::RoundTrips(round_trips([20, 0, 0, 0])));
    assert!(
        !says(&outputs, 11, |message| matches!(message, Message::Tree(TreeMessage::Whereabouts(_)))),
        "{outputs:?}"
    );
    let mut viewer = Viewer::new(); // the host is the only peer that doesn't mix
    viewer.is_fed_by(11, &[3, 10, 11]);
    let timed = viewer.runs_for(60 * SECOND);
    assert!(times_of(&timed, |output| wants_link(output, 2)).is_empty(), "one landmark gives no direction");
}

#[test]
fn a_viewer_below_the_first_tier_seeks_better_places_ever_more_rarely() {
    let mut viewer = far();
    let mut times = Vec::new();
    for _ in 0..6 {
        times.push(looks_for_better(&mut viewer));
        let (purpose, reason) = (Purpose::Parent, plenary_proto::message::Refused::Full);
        viewer.hears(3, Message::Tree(TreeMessage::Refused { purpose, reason }));
    }
    let gaps: Vec<u64> = times.windows(2).map(|pair| (pair[1] - pair[0]) / MS).collect();
    for (gap, bound) in gaps.iter().skip(1).zip([6_000u64, 12_000, 24_000, 48_000]) {
        assert!((bound / 2..=bound * 2 + 50).contains(gap), "{gaps:?}");
    }
    assert!(gaps.last() > gaps.first(), "{gaps:?}");
}

#[test]
fn a_viewer_looks_for_no_better_place_in_the_first_tier_or_when_busy() {
    let cases: [(&[u8], u8, &[u8], bool); 3] =
        [(&[3], 3, &[3], false), (&[3, 4], 11, &[3, 10, 11], false), (&[3], 11, &[3, 10, 11], true)];
    for (mixers, parent, at, is_busy) in cases {
        let mut viewer = in_room(mixers);
        viewer.is_fed_by(parent, at);
        let late = Whereabouts { late_us: Some(190_000), round_trips: trips([100, 120, 140, 160]) };
        viewer.hears(parent, Message::Tree(TreeMessage::Whereabouts(late)));
        viewer.runs_for(3 * SECOND);
        viewer.give(Input::RoundTrips(round_trips([20, 40, 60, 80])));
        viewer.give(Input::Busy(is_busy));
        let timed = viewer.runs_for(60 * SECOND);
        let better = |message: &Message| {
            matches!(message, Message::Tree(TreeMessage::Attach(Attach { purpose: Purpose::Parent, .. })))
        };
        assert!(receivers(&untimed(timed), better).is_empty(), "{mixers:?}");
    }
}

#[test]
fn a_viewer_goes_only_where_the_program_is_15_ms_earlier() {
    // at its place the program is 200 ms late, three levels down; there it is one level up
    for (late_ms, goes) in [(100, true), (186, true), (200, false), (500, false)] {
        let mut viewer = far();
        looks_for_better(&mut viewer);
        viewer.hears(
            3,
            Message::Tree(TreeMessage::Redirect {
                purpose: Purpose::Parent,
                places: places_below(&[3], &[20]),
            }),
        );
        let outputs = viewer.hears(20, accept(&[3, 20], late_ms, [20, 40, 60, 80]));
        assert_eq!(outputs.contains(&Output::RequestFeed(key(20).id())), goes, "{late_ms} ms: {outputs:?}");
        assert_eq!(
            says(&outputs, 20, |message| *message == Message::Tree(TreeMessage::Detach)),
            !goes,
            "{late_ms} ms"
        );
    }
}

#[test]
fn a_viewer_that_feeds_others_goes_no_deeper_for_a_better_place() {
    for (feeds, at, goes) in [
        (false, &[3, 12, 13, 20][..], true),
        (true, &[3, 12, 13, 20], false),
        (true, &[3, 13, 20], true),
        (false, &[3, 12, 13, 14, 20], false),
    ] {
        let mut viewer = far();
        if feeds {
            viewer.is_joined_by(30, Attach::newcomer());
            assert_eq!(viewer.room.snapshot().children, [key(30).id()]);
        }
        looks_for_better(&mut viewer);
        let places = places_below(&at[..at.len() - 1], &[20]);
        viewer.hears(3, Message::Tree(TreeMessage::Redirect { purpose: Purpose::Parent, places }));
        let outputs = viewer.hears(20, accept(at, 0, [20, 40, 60, 80]));
        assert_eq!(outputs.contains(&Output::RequestFeed(key(20).id())), goes, "{at:?}, feeds: {feeds}");
    }
}

#[test]
fn a_viewer_stays_after_three_places_that_were_no_better() {
    let mut viewer = far();
    looks_for_better(&mut viewer);
    let places = places_below(&[3], &[20, 21, 22, 23]);
    let outputs = viewer.hears(3, Message::Tree(TreeMessage::Redirect { purpose: Purpose::Parent, places }));
    let mut asked = receivers(&outputs, is_attach);
    for peer in [20, 21, 22] {
        assert_eq!(asked, [peer]);
        let outputs = viewer.hears(peer, accept(&[3, peer], 500, [20, 40, 60, 80]));
        assert_eq!(said(&outputs, peer), [&Message::Tree(TreeMessage::Detach)]);
        asked = receivers(&outputs, is_attach);
    }
    assert!(asked.is_empty(), "{asked:?}");
}

#[test]
fn a_viewer_that_seeks_a_better_place_first_asks_the_parent_that_failed() {
    let mut viewer = far();
    viewer.give(Input::Verdict { peer: key(11).id(), verdict: plenary_proto::Verdict::Stalled });
    viewer.is_fed_by(12, &[3, 10, 12]);
    let late = Whereabouts { late_us: Some(190_000), round_trips: trips([100, 120, 140, 160]) };
    viewer.hears(12, Message::Tree(TreeMessage::Whereabouts(late)));
    let timed = viewer.runs_for(6 * SECOND);
    let asked = untimed(timed);
    let fed = |message: &Message| {
        matches!(
            message,
            Message::Tree(TreeMessage::Attach(Attach { fed: true, purpose: Purpose::Parent, .. }))
        )
    };
    assert_eq!(receivers(&asked, fed).first(), Some(&11), "{asked:?}");
}

#[test]
fn a_relay_tells_its_children_when_its_delay_changes_by_5_ms() {
    let mut viewer = far();
    viewer.is_joined_by(30, Attach::newcomer());
    let mut hears = |late_us| {
        let whereabouts = Whereabouts { late_us: Some(late_us), round_trips: trips([100, 120, 140, 160]) };
        let outputs = viewer.hears(11, Message::Tree(TreeMessage::Whereabouts(whereabouts)));
        says(&outputs, 30, |message| matches!(message, Message::Tree(TreeMessage::Whereabouts(_))))
    };
    assert!(hears(300_000));
    assert!(!hears(304_000));
    assert!(hears(305_000));
    assert!(!hears(305_000));
    assert!(hears(0));
    assert!(hears(u32::MAX), "an absurd figure is passed on, and no sum overflows");
}

#[test]
fn a_full_relay_lets_a_far_child_give_way_to_a_near_searcher() {
    // seen from the relay the children are 100 ms away, and the searcher is near
    for (searcher_ms, taken) in [([24, 44, 64, 84], true), ([220, 240, 260, 280], false)] {
        let mut relay = in_room(&[3]);
        relay.is_fed_by(3, &[3]);
        relay.runs_for(40 * SECOND);
        relay.give(Input::RoundTrips(round_trips([20, 40, 60, 80])));
        relay.runs_for(3 * SECOND);
        relay.give(Input::RoundTrips(round_trips([20, 40, 60, 80])));
        for peer in 10..14 {
            let round_trips = trips([220, 240, 260, 280]);
            relay.is_joined_by(
                peer,
                Attach { room: 4, sending_us: 20_000, round_trips, ..Attach::newcomer() },
            );
        }
        let deeper =
            plenary_proto::message::Aggregate { viewers: 2, deepest: 2, room: 4, ..Default::default() };
        relay.hears(10, Message::Tree(TreeMessage::Aggregate(deeper)));
        relay.runs_for(6 * SECOND);
        let round_trips = trips(searcher_ms);
        let searcher =
            Attach { room: 4, fed: true, path: path(&[3, 6, 7, 20]), round_trips, ..Attach::newcomer() };
        let (outputs, served) = relay.is_joined_by(20, searcher);
        let accepted =
            says(&outputs, 20, |message| matches!(message, Message::Tree(TreeMessage::Accept { .. })));
        assert_eq!(accepted, taken, "{outputs:?}");
        let down = receivers(&served, |message| matches!(message, Message::Tree(TreeMessage::Move { .. })));
        assert_eq!(down.len(), usize::from(taken), "one child is asked to move down at once: {served:?}");
        assert!(!down.contains(&10), "a child of the deepest branch stays");
    }
}
