//! Balancing of the tree: when a parent requests a move, of which peer, and which requests a peer follows.

use crate::samples::brain::{
    Brain, MS, SECOND, candidate, consenting, is_attach, path, places_below, receivers, said, says, speaker,
    times_said, untimed,
};
use crate::samples::key;
use crate::samples::viewer::Viewer;
use plenary_proto::bounded::List;
use plenary_proto::message::{Aggregate, Attach, Message, Move, Place, Purpose, TreeMessage, Whereabouts};
use plenary_proto::{Command, Input, Output, RoomConfig, Verdict};

fn child_of(room: u8) -> Attach {
    Attach { room, ..Attach::newcomer() }
}

/// Returns an aggregate without free slots.
fn levels(deepest: u8, viewers: u32) -> Aggregate {
    Aggregate { viewers, deepest, room: 4, ..Aggregate::default() }
}

fn is_move(message: &Message) -> bool {
    matches!(message, Message::Tree(TreeMessage::Move { .. }))
}

fn place(peer: u8, at: &[u8]) -> Place {
    Place { peer: key(peer).id(), path: path(at) }
}

fn moves(how: Move, places: &[Place]) -> Message {
    Message::Tree(TreeMessage::Move { how, places: List::truncated(places.iter().cloned()) })
}

/// Returns a relay with two free slots, and a branch of three levels below key 10.
fn uneven() -> Viewer {
    let mut relay = Viewer::relay();
    relay.is_joined_by(10, child_of(4));
    relay.is_joined_by(11, child_of(4));
    relay.hears(10, Message::Tree(TreeMessage::Aggregate(levels(3, 3))));
    relay
}

#[test]
fn a_relay_asks_the_deepest_branch_for_one_viewer_after_3_s() {
    let mut relay = uneven();
    let start = relay.now;
    let timed = relay.runs_for(5 * SECOND);
    let [at] = times_said(&timed, 10, is_move)[..] else { panic!("{timed:?}") };
    assert!((2_250..=3_750).contains(&((at - start) / MS)), "{}", at - start);
    assert!(times_said(&timed, 11, is_move).is_empty());
    let asked = untimed(timed);
    let expected = moves(Move::Deepest, &[place(5, &[3, 5])]);
    assert!(says(&asked, 10, |message| *message == expected), "{asked:?}");
    let again = times_said(&relay.runs_for(5 * SECOND), 10, is_move);
    assert_eq!(again.first(), Some(&(at + 3 * SECOND)), "the child has reported no effect");
}

#[test]
fn a_relay_asks_for_the_next_move_when_the_effect_of_the_first_shows() {
    let mut relay = uneven();
    relay.hears(10, Message::Tree(TreeMessage::Aggregate(levels(4, 6))));
    let mut asked = relay.now;
    while asked == relay.now {
        let timed = relay.runs_for(10 * MS);
        asked = times_said(&timed, 10, is_move).first().copied().unwrap_or(relay.now);
        assert!(asked < 60 * SECOND);
    }
    relay.hears(10, Message::Tree(TreeMessage::Aggregate(levels(3, 5))));
    let start = relay.now;
    let timed = relay.runs_for(2 * SECOND);
    let [at] = times_said(&timed, 10, is_move)[..] else { panic!("{timed:?}") };
    assert!(at - start <= 625 * MS, "{}", at - start);
}

#[test]
fn a_relay_requests_no_move_where_the_tree_is_even_again_within_3_s() {
    let mut relay = uneven();
    relay.runs_for(2 * SECOND);
    relay.hears(10, Message::Tree(TreeMessage::Aggregate(levels(1, 1))));
    let timed = untimed(relay.runs_for(60 * SECOND));
    assert!(receivers(&timed, is_move).is_empty(), "{timed:?}");
}

#[test]
fn a_relay_that_is_busy_leaves_or_is_not_fed_requests_no_move() {
    let changes: [fn(&mut Viewer); 2] = [
        |relay| _ = relay.give(Input::Busy(true)),
        |relay| _ = relay.give(Input::Verdict { peer: key(3).id(), verdict: Verdict::Stalled }),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let mut relay = uneven();
        change(&mut relay);
        let timed = untimed(relay.runs_for(20 * SECOND));
        assert!(receivers(&timed, is_move).is_empty(), "change {number}: {timed:?}");
    }
}

#[test]
fn a_relay_invites_a_strong_grandchild_and_reserves_a_slot_for_5_s() {
    for (waits_ms, taken) in [(4_900, true), (5_100, false)] {
        let mut relay = Viewer::relay();
        for (peer, room) in [(10, 4), (11, 4), (12, 4), (13, 1)] {
            relay.is_joined_by(peer, child_of(room));
        }
        let strong = Aggregate { strongest: Some((key(30).id(), 12)), ..levels(2, 2) };
        relay.hears(10, Message::Tree(TreeMessage::Aggregate(strong)));
        let mut invited = None;
        while invited.is_none() {
            invited = times_said(&relay.runs_for(10 * MS), 30, is_move).first().copied();
            assert!(relay.now < 60 * SECOND);
        }
        let other = relay.hears(31, Message::Tree(TreeMessage::Attach(child_of(4))));
        assert!(
            !says(&other, 31, |message| matches!(message, Message::Tree(TreeMessage::Accept { .. }))),
            "{other:?}"
        );
        relay.runs_until(invited.unwrap() + waits_ms * MS);
        let fed = Attach { fed: true, path: path(&[3, 5, 10, 30]), ..child_of(12) };
        let outputs = relay.hears(30, Message::Tree(TreeMessage::Attach(fed)));
        let accepted =
            says(&outputs, 30, |message| matches!(message, Message::Tree(TreeMessage::Accept { .. })));
        assert_eq!(accepted, taken, "after {waits_ms} ms: {outputs:?}");
    }
}

#[test]
fn a_relay_invites_no_grandchild_hardly_stronger_than_its_weakest_child() {
    for (room, invited) in [(9, false), (10, true)] {
        let mut relay = Viewer::relay();
        (10..14).for_each(|peer| _ = relay.is_joined_by(peer, child_of(4)));
        let strong = Aggregate { strongest: Some((key(30).id(), room)), ..levels(2, 2) };
        relay.hears(10, Message::Tree(TreeMessage::Aggregate(strong)));
        let timed = relay.runs_for(4 * SECOND);
        assert_eq!(!times_said(&timed, 30, is_move).is_empty(), invited, "room for {room}, and 4");
    }
}

#[test]
fn a_relay_with_too_many_children_sends_only_the_weakest_one_down() {
    let mut relay = Viewer::relay();
    for (peer, room) in [(10, 4), (11, 1), (12, 4), (13, 4)] {
        relay.is_joined_by(peer, child_of(room));
    }
    relay.is_joined_by(14, Attach { path: path(&[3, 5, 10, 14]), ..child_of(4) });
    assert_eq!(relay.room.snapshot().children.len(), 5);
    let timed = untimed(relay.runs_for(5 * SECOND));
    assert_eq!(receivers(&timed, is_move), [11]);
    let places = said(&timed, 11).into_iter().find_map(|message| match message {
        Message::Tree(TreeMessage::Move { how: Move::Down, places }) => Some(places.clone()),
        _ => None,
    });
    let places = places.unwrap();
    assert_eq!(places.len(), 4);
    assert!(places.iter().all(|place| place.peer != key(11).id() && place.path[..2] == path(&[3, 5])[..]));
}

/// Returns a viewer at path 3, 10, 11, 5.
fn deep() -> Viewer {
    let mut viewer = Viewer::new();
    viewer.is_fed_by(11, &[3, 10, 11]);
    viewer.runs_for(10 * MS);
    viewer
}

#[test]
fn a_viewer_moves_only_at_the_wish_of_its_parent_or_grandparent() {
    for (from, how, followed) in [
        (11, Move::Deepest, true),
        (11, Move::Down, true),
        (11, Move::Up, true),
        (10, Move::Up, true),
        (10, Move::Deepest, false),
        (10, Move::Down, false),
        (3, Move::Up, false),
        (20, Move::Up, false),
        (20, Move::Across { level: 2, viewers_max: 9 }, false),
    ] {
        let mut viewer = deep();
        let outputs = viewer.hears(from, moves(how, &[place(30, &[3, 30])]));
        assert_eq!(says(&outputs, 30, is_attach), followed, "{how:?} from {from}");
    }
}

#[test]
fn a_viewer_does_not_move_while_it_searches_or_its_feed_is_at_fault() {
    let wish = || moves(Move::Deepest, &[place(30, &[3, 30])]);
    let mut viewer = deep();
    viewer.give(Input::Verdict { peer: key(11).id(), verdict: Verdict::Stalled });
    assert!(!says(&viewer.hears(11, wish()), 30, is_attach), "its feed is at fault");
    let mut viewer = deep();
    assert!(says(&viewer.hears(11, moves(Move::Up, &[place(31, &[3, 31])])), 31, is_attach));
    assert!(!says(&viewer.hears(11, wish()), 30, is_attach), "it searches already");
    let mut viewer = deep();
    viewer.turns_to(12, &[3, 10, 12]);
    viewer.runs_for(4_900 * MS);
    assert!(!says(&viewer.hears(12, wish()), 30, is_attach), "it has just moved");
    viewer.runs_for(100 * MS);
    assert!(says(&viewer.hears(12, wish()), 30, is_attach));
}

#[test]
fn a_viewer_does_not_move_back_to_a_relay_that_fed_it_nothing_or_forged() {
    let failures: [fn(&mut Viewer); 2] = [
        |viewer| drop(viewer.give(Input::Verdict { peer: key(11).id(), verdict: Verdict::Behind })),
        |viewer| drop(viewer.give(Input::Forged(key(11).id()))),
    ];
    for (at, fails) in failures.into_iter().enumerate() {
        let mut viewer = deep();
        fails(&mut viewer);
        viewer.turns_to(12, &[3, 10, 12]);
        viewer.runs_for(6 * SECOND);
        let wish = |to: u8| moves(Move::Down, &[place(to, &[3, 10, to])]);
        assert!(!says(&viewer.hears(12, wish(11)), 11, is_attach), "failure {at}");
        assert!(says(&viewer.hears(12, wish(30)), 30, is_attach), "failure {at}");
    }
}

#[test]
fn a_viewer_moves_to_a_mixer_in_force_that_once_fed_it_nothing() {
    for (failed, at, moved) in [(4, &[4][..], true), (7, &[3, 7], false)] {
        let mut viewer = Viewer::under(&[3, 4], &[]);
        viewer.is_fed_by(3, &[3]);
        for (from, to, path) in [(3, failed, at), (failed, 3, &[3][..])] {
            viewer.give(Input::Command(Command::ReconnectUpstream));
            let places = List::truncated([place(to, path)]);
            viewer.hears(from, Message::Tree(TreeMessage::Redirect { purpose: Purpose::Parent, places }));
            viewer.is_fed_by(to, path);
            if to == failed {
                viewer.give(Input::Verdict { peer: key(failed).id(), verdict: Verdict::Behind });
            }
        }
        viewer.runs_for(6 * SECOND);
        let across = moves(Move::Across { level: 0, viewers_max: 9 }, &[place(failed, at)]);
        let outputs = viewer.hears(3, across);
        assert_eq!(says(&outputs, failed, is_attach), moved, "{failed}: {outputs:?}");
    }
}

#[test]
fn a_viewer_that_is_to_move_up_takes_no_place_as_deep_as_its_own() {
    for (at, taken) in [(&[3, 30][..], true), (&[3, 9, 30], false)] {
        let mut viewer = deep();
        viewer.hears(11, moves(Move::Deepest, &[place(30, &[3, 30])]));
        let (purpose, whereabouts) = (Purpose::Parent, Whereabouts::default());
        let outputs =
            viewer.hears(30, Message::Tree(TreeMessage::Accept { purpose, path: path(at), whereabouts }));
        assert_eq!(outputs.contains(&Output::RequestFeed(key(30).id())), taken, "{at:?}");
        assert_eq!(
            says(&outputs, 30, |message| *message == Message::Tree(TreeMessage::Detach)),
            !taken,
            "{at:?}"
        );
        let later = untimed(viewer.runs_for(3 * SECOND));
        let parent = |message: &Message| {
            matches!(message, Message::Tree(TreeMessage::Attach(of))
                if of.purpose == Purpose::Parent)
        };
        assert!(receivers(&later, parent).is_empty(), "a fed viewer needs none: {later:?}");
        assert_eq!(viewer.room.snapshot().parent, Some(key(11).id()));
    }
}

#[test]
fn a_viewer_that_is_asked_to_move_to_itself_or_below_itself_asks_nobody() {
    for there in [place(5, &[3, 10, 11, 5]), place(30, &[3, 10, 11, 5, 30])] {
        let mut viewer = deep();
        let outputs = viewer.hears(11, moves(Move::Down, &[there]));
        assert!(receivers(&outputs, is_attach).is_empty(), "{outputs:?}");
    }
}

#[test]
fn a_relay_forwards_a_request_for_its_deepest_viewer_to_gain_a_level() {
    let mut relay = uneven();
    let deep = relay.hears(3, moves(Move::Deepest, &[place(30, &[3, 6, 7, 8, 30])]));
    assert!(receivers(&deep, is_move).is_empty(), "no level is gained: {deep:?}");
    let root = || moves(Move::Deepest, &[place(3, &[3])]);
    let outputs = relay.hears(3, root());
    assert_eq!(said(&outputs, 10), [&root()]);
    let outputs = relay.hears(3, root());
    assert_eq!(receivers(&outputs, is_move), [11], "the next deepest branch has its turn: {outputs:?}");
    let outputs = relay.hears(20, root());
    assert!(receivers(&outputs, is_move).is_empty(), "a stranger moves nobody: {outputs:?}");
}

/// Returns a mixer, key 3, beside key 4, with a full first tier of ten viewers.
fn mixer() -> Brain {
    let mut mixer = Brain::new(3, RoomConfig { children_max: 10, ..consenting() });
    mixer.adopts(&[speaker(2), candidate(3), candidate(4)], |_| ());
    mixer.elects(1, &[3, 4], &[]);
    assert!(mixer.room.snapshot().mixing);
    for peer in 10..20 {
        mixer.is_joined_by(peer, child_of(0));
    }
    assert_eq!(mixer.room.snapshot().children.len(), 10);
    mixer.runs_for(6 * SECOND);
    mixer
}

/// Returns the aggregate of another mixer.
fn tree(viewers: u32, free: u16) -> Aggregate {
    Aggregate { viewers, free: [free, 0, 0, 0, 0, 0, 0, 0], room: 10, deepest: 1, ..Aggregate::default() }
}

#[test]
fn mixers_tell_each_other_of_their_trees_every_2_s() {
    let mut mixer = mixer();
    let timed = mixer.runs_for(10 * SECOND);
    let times = times_said(
        &timed,
        4,
        |message| matches!(message, Message::Tree(TreeMessage::Aggregate(sum)) if sum.viewers == 10),
    );
    assert_eq!(times.len(), 5, "{timed:?}");
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] == 2 * SECOND), "{times:?}");
}

#[test]
fn a_mixer_moves_viewers_one_by_one_to_a_smaller_tree() {
    let mut mixer = mixer();
    mixer.hears(4, Message::Tree(TreeMessage::Aggregate(tree(0, 9))));
    let start = mixer.now;
    let timed = mixer.runs_for(7_500 * MS);
    let times: Vec<u64> = (10..20).flat_map(|peer| times_said(&timed, peer, is_move)).collect();
    assert_eq!(times.len(), 4, "6 to 4 is even: {timed:?}");
    let (first, last) = (times.iter().min().unwrap() - start, times.iter().max().unwrap() - start);
    assert!((2_250..=3_750).contains(&(first / MS)) && last - first <= 3 * 625 * MS, "{times:?}");
    let asked = untimed(timed);
    let across = |message: &Message| match message {
        Message::Tree(TreeMessage::Move { how: Move::Across { level: 0, .. }, places }) => {
            *places == places_below(&[], &[4])
        }
        _ => false,
    };
    let mut movers = receivers(&asked, across);
    movers.sort_unstable();
    movers.dedup();
    assert_eq!(movers.len(), 4, "each is another one: {asked:?}");
    let later = untimed(mixer.runs_for(12 * SECOND));
    assert!(!receivers(&later, is_move).is_empty(), "none has gone: {later:?}");
}

#[test]
fn a_mixer_moves_no_viewer_to_a_full_or_hardly_smaller_tree() {
    for (from, told, moves) in [
        (4, tree(5, 5), true),
        (4, tree(6, 5), false),
        (4, tree(0, 0), false),
        (9, tree(0, 5), false),
        (4, Aggregate { free: [u16::MAX; 8], ..tree(u32::MAX, 1) }, false),
    ] {
        let mut mixer = mixer();
        mixer.hears(from, Message::Tree(TreeMessage::Aggregate(told)));
        let timed = untimed(mixer.runs_for(20 * SECOND));
        assert_eq!(!receivers(&timed, is_move).is_empty(), moves, "{from}, {told:?}: {timed:?}");
    }
}

#[test]
fn a_full_mixer_redirects_to_a_mixer_in_force_that_reported_room() {
    let mut mixer = mixer();
    let asks = |mixer: &mut Brain, peer| {
        let outputs = mixer.hears(peer, Message::Tree(TreeMessage::Attach(child_of(0))));
        said(&outputs, peer).into_iter().cloned().next_back().unwrap()
    };
    assert!(matches!(asks(&mut mixer, 30), Message::Tree(TreeMessage::Refused { .. })));
    mixer.hears(4, Message::Tree(TreeMessage::Aggregate(tree(10, 3))));
    let to_4 =
        Message::Tree(TreeMessage::Redirect { purpose: Purpose::Parent, places: places_below(&[], &[4]) });
    assert_eq!(asks(&mut mixer, 30), to_4);
    mixer.elects(2, &[3], &[4]);
    assert!(matches!(asks(&mut mixer, 30), Message::Tree(TreeMessage::Refused { .. })));
}
