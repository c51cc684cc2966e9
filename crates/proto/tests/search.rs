//! Search for a place in the tree: the order of requests, their number, retries, and unwanted answers.

use crate::samples::brain::{
    MS, SECOND, events, is_attach, path, places_below, receivers, said, says, times_said, untimed,
};
use crate::samples::key;
use crate::samples::viewer::Viewer;
use plenary_proto::bounded::List;
use plenary_proto::message::{Attach, Message, Path, Place, Purpose, Refused, TreeMessage, Whereabouts};
use plenary_proto::{Command, Event, Input, Output, Verdict};

fn redirect(above: &[u8], peers: &[u8]) -> Message {
    Message::Tree(TreeMessage::Redirect { purpose: Purpose::Parent, places: places_below(above, peers) })
}

fn accept(path: Path) -> Message {
    Message::Tree(TreeMessage::Accept { purpose: Purpose::Parent, path, whereabouts: Whereabouts::default() })
}

fn refused() -> Message {
    Message::Tree(TreeMessage::Refused { purpose: Purpose::Parent, reason: Refused::Full })
}

fn requests_feed_of(outputs: &[Output], peer: u8) -> bool {
    outputs.contains(&Output::RequestFeed(key(peer).id()))
}

/// Returns the peers asked for a place, and when.
fn asked(timed: &[(u64, Output)]) -> Vec<(u64, u8)> {
    let of_one = |(at, output): &(u64, Output)| {
        receivers(std::slice::from_ref(output), is_attach).first().map(|peer| (*at, *peer))
    };
    timed.iter().filter_map(of_one).collect()
}

#[test]
fn a_search_asks_the_places_of_a_redirect_in_order_every_300_ms() {
    let mut viewer = Viewer::new();
    viewer.hears(3, redirect(&[3], &[20, 21, 22, 23]));
    let first = viewer.hears(3, redirect(&[3], &[24, 25, 26, 27]));
    let start = viewer.now;
    assert_eq!(receivers(&first, is_attach), [24], "the newest redirect comes first");
    let later = asked(&viewer.runs_for(2_500 * MS));
    let due = [(300, 25), (600, 26), (900, 27), (2_400, 21)];
    assert_eq!(later, due.map(|(ms, peer)| (start + ms * MS, peer)), "the fifth waits for the patience");
}

#[test]
fn a_parent_that_answers_no_request_is_asked_through_the_rendezvous() {
    let mut viewer = Viewer::new();
    viewer.is_fed_by(3, &[3]);
    let start = viewer.now;
    let mut timed: Vec<_> = viewer
        .give(Input::Verdict { peer: key(3).id(), verdict: Verdict::Silent })
        .into_iter()
        .map(|output| (start, output))
        .collect();
    timed.extend(viewer.runs_for(2 * SECOND));
    let ways = timed.iter().filter_map(|(at, output)| match output {
        Output::Control(_, Message::Tree(TreeMessage::Attach(_))) => Some((*at - start, false)),
        Output::Signal(_, Message::Tree(TreeMessage::Attach(_))) => Some((*at - start, true)),
        _ => None,
    });
    let ways: Vec<_> = ways.collect();
    assert_eq!(ways[0], (0, false), "a pause of the parent's radio is no reason to ask elsewhere");
    assert!(ways.len() > 2 && ways[1..].iter().all(|(_, beside)| *beside), "{ways:?}");
    assert!(ways[1].0 <= 500 * MS, "{ways:?}");
}

/// Returns when the application of a viewer was told that the room has no place for it, in milliseconds after `since`.
fn told_of_no_place(timed: &[(u64, Output)], since: u64) -> Vec<u64> {
    let told = timed.iter().filter(|(_, output)| matches!(output, Output::Event(Event::NoPlace)));
    told.map(|(at, _)| (at - since) / MS).collect()
}

#[test]
fn a_viewer_in_a_full_room_is_told_once_after_10_s() {
    let mut viewer = Viewer::new();
    let start = viewer.now;
    let mut timed = Vec::new();
    let mut refuses_for = |viewer: &mut Viewer, us: u64| {
        let end = viewer.now + us;
        while viewer.now < end {
            timed.extend(viewer.hears(3, refused()).into_iter().map(|output| (viewer.now, output)));
            timed.extend(viewer.runs_for(100 * MS));
        }
        told_of_no_place(&std::mem::take(&mut timed), start)
    };
    assert_eq!(refuses_for(&mut viewer, 9_800 * MS), []);
    let told = refuses_for(&mut viewer, 60 * SECOND);
    assert!(matches!(told[..], [9_900..=10_100]), "{told:?}");
    viewer.turns_to(3, &[3]);
    assert_eq!(refuses_for(&mut viewer, 20 * SECOND), [], "it has a parent");
    viewer.hears(3, Message::Tree(TreeMessage::Dismiss));
    assert_eq!(refuses_for(&mut viewer, 9_800 * MS), []);
    assert_eq!(refuses_for(&mut viewer, 20 * SECOND).len(), 1);
}

#[test]
fn a_viewer_that_nobody_answers_is_not_told_that_the_room_is_full() {
    let mut viewer = Viewer::new();
    let start = viewer.now;
    assert_eq!(told_of_no_place(&viewer.runs_for(60 * SECOND), start), []);
}

#[test]
fn a_search_follows_32_answers_and_then_starts_again_at_the_mixer() {
    let mut viewer = Viewer::new();
    let mut from = 3;
    let mut asked_in_all = 1;
    for next in 20..80 {
        let outputs = viewer.hears(from, redirect(&[3], &[next]));
        let Some(peer) = receivers(&outputs, is_attach).first().copied() else { break };
        assert_eq!(peer, next);
        (from, asked_in_all) = (next, asked_in_all + 1);
    }
    assert_eq!(asked_in_all, 32, "the mixer, and 31 redirected to");
    let start = viewer.now;
    let again = viewer.runs_for(200 * MS);
    let [(at, 3)] = asked(&again)[..] else { panic!("{again:?}") };
    assert!(at >= start + 100 * MS, "after the back-off");
}

#[test]
fn a_search_asks_no_peer_twice_until_it_starts_again() {
    let mut viewer = Viewer::new();
    let first = viewer.hears(3, redirect(&[3], &[20]));
    assert_eq!(receivers(&first, is_attach), [20]);
    let second = viewer.hears(20, redirect(&[3], &[21]));
    assert_eq!(receivers(&second, is_attach), [21]);
    for (from, to) in [(21, 20), (20, 21), (21, 3)] {
        let looped = viewer.hears(from, redirect(&[3], &[to]));
        assert!(receivers(&looped, is_attach).is_empty(), "{looped:?}");
    }
    let again = asked(&viewer.runs_for(200 * MS));
    assert!(matches!(again[..], [(_, 3)]), "it starts at the mixer: {again:?}");
}

#[test]
fn a_search_asks_neither_the_searcher_nor_a_peer_below_it() {
    let mut viewer = Viewer::new();
    let places = || {
        let of = |peer: u8, at: &[u8]| Place { peer: key(peer).id(), path: path(at) };
        List::truncated([of(5, &[3, 5]), of(20, &[3, 5, 20]), of(21, &[3, 21])])
    };
    let outputs =
        viewer.hears(3, Message::Tree(TreeMessage::Redirect { purpose: Purpose::Parent, places: places() }));
    assert_eq!(receivers(&outputs, is_attach), [21]);
    viewer.hears(21, accept(path(&[3, 21])));
    viewer.give(Input::Fed(key(21).id()));
    let outputs = viewer.hears(21, Message::Tree(TreeMessage::Shed { places: places() }));
    let later = untimed(viewer.runs_for(SECOND));
    for outputs in [outputs, later] {
        assert!(!says(&outputs, 5, is_attach) && !says(&outputs, 20, is_attach), "{outputs:?}");
    }
}

#[test]
fn a_refused_search_waits_twice_as_long_each_time_up_to_2_s() {
    let mut viewer = Viewer::new();
    for bound_ms in [200, 400, 800, 1_600, 2_000, 2_000] {
        let now = viewer.now;
        viewer.hears(3, refused());
        let times = times_said(&viewer.runs_for(bound_ms * MS + 1), 3, is_attach);
        let [at] = times[..] else { panic!("{bound_ms}: {times:?}") };
        let waited = at - now;
        assert!((bound_ms * MS / 2..=bound_ms * MS + 1).contains(&waited), "{bound_ms}: {waited}");
        viewer.now = at + 1;
    }
}

#[test]
fn a_search_without_any_answer_starts_again_after_1500_ms() {
    let mut viewer = Viewer::new();
    let start = viewer.now;
    assert!(asked(&viewer.runs_until(start + 1_490 * MS)).is_empty());
    let again = asked(&viewer.runs_until(start + 1_710 * MS));
    assert!(matches!(again[..], [(_, 3)]), "{again:?}");

    let mut viewer = Viewer::new();
    viewer.hears(3, redirect(&[3], &[20]));
    viewer.runs_for(1_550 * MS);
    let late = viewer.hears(20, accept(path(&[3, 20])));
    assert!(requests_feed_of(&late, 20), "it came after the search had started again: {late:?}");

    let mut viewer = Viewer::new();
    viewer.hears(3, redirect(&[3], &[20]));
    viewer.runs_for(8 * SECOND);
    let too_late = viewer.hears(20, accept(path(&[3, 20])));
    assert!(says(&too_late, 20, |message| *message == Message::Tree(TreeMessage::Detach)), "{too_late:?}");
    assert!(!requests_feed_of(&too_late, 20));
}

#[test]
fn a_search_goes_on_after_an_acceptance_with_a_full_or_looping_path() {
    let full: Vec<u8> = [3].into_iter().chain(40..54).chain([20]).collect();
    for cyclic in [vec![3, 5, 20], full] {
        let mut viewer = Viewer::new();
        viewer.hears(3, redirect(&[3], &[20, 21]));
        let outputs = viewer.hears(20, accept(path(&cyclic)));
        assert!(!requests_feed_of(&outputs, 20), "{outputs:?}");
        assert_eq!(receivers(&outputs, is_attach), [21], "{cyclic:?}");
    }
}

#[test]
fn an_acceptance_that_nobody_asked_for_is_given_back() {
    let mut viewer = Viewer::with_backup();
    for (from, back) in [(20, Message::Tree(TreeMessage::Detach)), (11, Message::Tree(TreeMessage::StopFeed))]
    {
        let outputs = viewer.hears(from, accept(path(&[3, from])));
        assert_eq!(said(&outputs, from), [&back], "from {from}");
    }
    let outputs = viewer.hears(10, accept(path(&[3, 10])));
    assert!(said(&outputs, 10).is_empty(), "the parent keeps its child: {outputs:?}");
}

#[test]
fn an_acceptance_for_a_backup_by_the_parent_is_not_taken() {
    let mut viewer = Viewer::new();
    viewer.is_fed_by(10, &[3, 10]);
    let purpose = Purpose::Backup;
    viewer.hears(3, Message::Tree(TreeMessage::Redirect { purpose, places: places_below(&[3], &[10, 11]) }));
    let whereabouts = Whereabouts::default();
    let outputs =
        viewer.hears(10, Message::Tree(TreeMessage::Accept { purpose, path: path(&[3, 10]), whereabouts }));
    assert_eq!(receivers(&outputs, is_attach), [11], "the next place is asked: {outputs:?}");
    assert_eq!(viewer.room.snapshot().backup, None);
}

#[test]
fn a_viewer_that_has_lost_its_feed_asks_all_places_at_once() {
    let mut viewer = Viewer::new();
    viewer.is_fed_by(10, &[3, 10]);
    let lost = viewer.give(Input::Verdict { peer: key(10).id(), verdict: Verdict::Behind });
    assert_eq!(receivers(&lost, is_attach), [3], "the search begins at the top of its path: {lost:?}");
    let outputs = viewer.hears(3, redirect(&[3], &[20, 10, 21, 22]));
    assert_eq!(receivers(&outputs, is_attach), [20, 21, 22]);
    let now = viewer.now;
    let later = asked(&viewer.runs_for(300 * MS));
    assert_eq!(later, [(now + 300 * MS, 10)]);
}

#[test]
fn a_viewer_takes_no_place_at_a_forger_or_below_one_for_a_minute() {
    let below_forger = || Place { peer: key(23).id(), path: path(&[3, 10, 23]) };
    for (waits_us, expected) in [(0, vec![20]), (61 * SECOND, vec![10, 20, 23])] {
        let mut viewer = Viewer::new();
        viewer.is_fed_by(10, &[3, 10]);
        viewer.give(Input::Forged(key(10).id()));
        viewer.runs_for(waits_us);
        let places =
            places_below(&[3], &[20, 10]).iter().cloned().chain([below_forger()]).collect::<Vec<_>>();
        let outputs = viewer.hears(
            3,
            Message::Tree(TreeMessage::Redirect {
                purpose: Purpose::Parent,
                places: List::truncated(places),
            }),
        );
        let mut asked = receivers(&outputs, is_attach);
        asked.extend(self::asked(&viewer.runs_for(1_000 * MS)).into_iter().map(|(_, peer)| peer));
        asked.retain(|peer| *peer != 3);
        asked.sort_unstable();
        assert_eq!(asked, expected, "after {waits_us} us");
    }
}

/// Returns what the complaints that a viewer sends to a peer name: the purpose, and the path below the accused peer.
fn complaints(outputs: &[Output], to: u8) -> Vec<(Purpose, Path)> {
    let complains = |message: &&Message| match message {
        Message::Tree(TreeMessage::Attach(attach)) => {
            (!attach.fed && !attach.path.is_empty()).then(|| (attach.purpose, attach.path.clone()))
        }
        _ => None,
    };
    said(outputs, to).into_iter().filter_map(|message| complains(&message)).collect()
}

#[test]
fn the_peer_that_named_a_forger_hears_of_it_by_the_search_that_follows() {
    let mut viewer = Viewer::new();
    viewer.is_fed_by(10, &[3, 10]);
    let alone = viewer.give(Input::Forged(key(10).id()));
    assert_eq!(complaints(&alone, 3), [(Purpose::Parent, path(&[3, 10, 5]))]);

    let mut viewer = Viewer::with_backup();
    let lost = viewer.give(Input::Forged(key(10).id()));
    assert!(requests_feed_of(&lost, 11) && complaints(&lost, 3).is_empty(), "{lost:?}");
    let fed = viewer.give(Input::Fed(key(11).id()));
    assert_eq!(complaints(&fed, 3), [(Purpose::Backup, path(&[3, 10, 5]))]);
    let later = viewer.runs_for(5 * SECOND);
    assert!(complaints(&untimed(later), 3).is_empty(), "once");

    let mut viewer = Viewer::with_backup();
    viewer.loses_link(10);
    let fed = viewer.give(Input::Fed(key(11).id()));
    assert!(complaints(&fed, 3).is_empty(), "it was merely lost: {fed:?}");
}

#[test]
fn a_peer_that_names_a_second_forger_is_complained_of_not_asked_first() {
    for (waits_us, told, names) in [(0, 3, vec![3, 20, 5]), (61 * SECOND, 20, vec![3, 20, 31, 5])] {
        let mut viewer = Viewer::new();
        let mut forged = Vec::new();
        for forger in [30, 31] {
            viewer.hears(3, redirect(&[3], &[20]));
            viewer.hears(20, redirect(&[3, 20], &[forger]));
            viewer.is_taken_by(forger, &[3, 20, forger]);
            viewer.give(Input::Fed(key(forger).id()));
            viewer.runs_for(if forger == 31 { waits_us } else { 0 });
            forged = viewer.give(Input::Forged(key(forger).id()));
            if forger == 30 {
                assert_eq!(complaints(&forged, 20), [(Purpose::Parent, path(&[3, 20, 30, 5]))]);
                assert_eq!(receivers(&forged, is_attach), [20, 3], "the mixer is asked as well");
            }
        }
        assert_eq!(complaints(&forged, told), [(Purpose::Parent, path(&names))], "after {waits_us} us");
        assert_eq!(receivers(&forged, is_attach)[0], told);
    }
}

#[test]
fn a_fed_viewer_takes_no_place_below_a_mixer_that_is_not_in_force() {
    for (fed, taken) in [(true, false), (false, true)] {
        let mut viewer = Viewer::new();
        if fed {
            viewer.is_fed_by(10, &[3, 10]);
            let outputs = viewer.give(Input::Command(Command::ReconnectUpstream));
            assert_eq!(receivers(&outputs, is_attach), [3]);
        }
        viewer.hears(3, redirect(&[9], &[20]));
        let outputs = viewer.hears(20, accept(path(&[9, 20])));
        assert_eq!(requests_feed_of(&outputs, 20), taken, "fed: {fed}");
        assert_eq!(
            says(&outputs, 20, |message| *message == Message::Tree(TreeMessage::Detach)),
            !taken,
            "fed: {fed}"
        );
    }
}

#[test]
fn a_flood_of_redirects_makes_no_search_ask_more_peers_than_it_may() {
    let mut viewer = Viewer::new();
    let mut asked = Vec::new();
    for flood in 0..200u8 {
        let named: Vec<u8> = (0..4).map(|at| 20 + (flood.wrapping_mul(4).wrapping_add(at)) % 200).collect();
        asked.extend(receivers(&viewer.hears(3, redirect(&[3], &named)), is_attach));
    }
    assert_eq!(asked.len(), 31, "32 answers, the last of which ends the search: {asked:?}");
    let bounds: Vec<_> = viewer.room.bounds().filter(|bound| bound.of.contains("search")).collect();
    assert!(bounds.len() >= 4 && bounds.iter().all(|bound| bound.len <= bound.max), "{bounds:?}");
}

#[test]
fn an_answer_by_a_peer_that_was_not_asked_changes_nothing() {
    let mut viewer = Viewer::new();
    for message in [redirect(&[3], &[20, 21]), refused(), accept(path(&[3, 9]))] {
        let outputs = viewer.hears(9, message);
        assert!(receivers(&outputs, is_attach).is_empty() && !requests_feed_of(&outputs, 9), "{outputs:?}");
    }
    let outputs = viewer.hears(3, accept(path(&[3])));
    assert!(requests_feed_of(&outputs, 3), "its search at the mixer goes on: {outputs:?}");
}

#[test]
fn a_search_asks_the_next_place_at_once_when_a_peer_is_unreachable() {
    let mut viewer = Viewer::new();
    viewer.hears(3, redirect(&[3], &[20, 21]));
    let outputs = viewer.give(Input::Undeliverable(Some(key(20).id())));
    assert_eq!(receivers(&outputs, is_attach), [21]);
}

#[test]
fn a_viewer_states_what_it_is_in_each_request_for_a_place() {
    let mut viewer = Viewer::relay();
    viewer.is_joined_by(20, Attach { viewers_below: 6, ..Attach::newcomer() });
    let outputs = viewer.give(Input::Command(Command::ReconnectUpstream));
    let attaches = said(&outputs, 3);
    let [Message::Tree(TreeMessage::Attach(attach))] = attaches[..] else { panic!("{outputs:?}") };
    let stated = (attach.path.clone(), attach.viewers_below, attach.room, attach.fed);
    assert_eq!(stated, (path(&[3, 5]), 7, 3, true), "seven viewers below, and k is 4");
    let failed = viewer.give(Input::Verdict { peer: key(3).id(), verdict: Verdict::Silent });
    viewer.runs_for(3 * SECOND);
    assert!(
        !events(&failed).contains(&&Event::Parent { peer: None }),
        "a parent at fault is still the parent"
    );
}
