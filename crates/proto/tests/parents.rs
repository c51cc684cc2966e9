//! The child's side of the tree: changes of parent without a gap, patience, backups, and failovers that reach
//! a viewer.

use crate::samples::brain::{
    MS, SECOND, events, is_attach, path, places_below, receivers, said, says, times_said, untimed,
};
use crate::samples::viewer::Viewer;
use crate::samples::{failover, key};
use plenary_proto::message::{Attach, FailoverMessage, Message, Path, Purpose, TreeMessage, Whereabouts};
use plenary_proto::{Command, Event, Input, Output, Verdict};

fn verdict(viewer: &mut Viewer, peer: u8, verdict: Verdict) -> Vec<Output> {
    viewer.give(Input::Verdict { peer: key(peer).id(), verdict })
}

fn accept(at: &[u8]) -> Message {
    Message::Tree(TreeMessage::Accept {
        purpose: Purpose::Parent,
        path: path(at),
        whereabouts: Whereabouts::default(),
    })
}

fn feeding(path: Path) -> Message {
    Message::Tree(TreeMessage::Feeding { path, whereabouts: Whereabouts::default() })
}

fn requests_feed_of(outputs: &[Output], peer: u8) -> bool {
    outputs.contains(&Output::RequestFeed(key(peer).id()))
}

fn is_detach(message: &Message) -> bool {
    *message == Message::Tree(TreeMessage::Detach)
}

fn above(viewer: &Viewer) -> [Option<u8>; 2] {
    let seed = |peer| (1..=99).find(|seed| key(*seed).id() == peer);
    let snapshot = viewer.room.snapshot();
    [snapshot.parent, snapshot.backup].map(|peer| peer.and_then(seed))
}

/// Lets a fed viewer search, and a peer at this path accept it.
fn turns_to(viewer: &mut Viewer, peer: u8, at: &[u8]) -> Vec<Output> {
    viewer.give(Input::Command(Command::ReconnectUpstream));
    let places = places_below(&at[..at.len() - 1], &[peer]);
    viewer.hears(3, Message::Tree(TreeMessage::Redirect { purpose: Purpose::Parent, places }));
    viewer.hears(peer, accept(at))
}

/// Gives the viewer the sampled failover of key 4 over key 3, which its outcome allows.
fn hears_failover(viewer: &mut Viewer, from: u8) {
    assert_eq!((viewer.epoch(), viewer.term()), (7, failover().body.rank.term));
    viewer.hears(from, Message::Failover(FailoverMessage::Failover(failover())));
}

#[test]
fn a_failed_parent_is_released_only_when_the_packets_of_the_backup_arrive() {
    let mut viewer = Viewer::with_backup();
    viewer.is_joined_by(20, Attach::newcomer());
    let failed = verdict(&mut viewer, 10, Verdict::Silent);
    assert!(requests_feed_of(&failed, 11), "{failed:?}");
    assert!(!says(&failed, 10, is_detach));
    assert_eq!(above(&viewer)[0], Some(10));
    let fed = viewer.give(Input::Fed(key(11).id()));
    assert!(says(&fed, 10, is_detach), "{fed:?}");
    assert!(events(&fed).contains(&&Event::Parent { peer: Some(key(11).id()) }));
    assert!(
        says(&fed, 20, |message| *message == Message::Tree(TreeMessage::PathIs(path(&[3, 11, 5])))),
        "{fed:?}"
    );
    assert_eq!(above(&viewer)[0], Some(11));
}

#[test]
fn a_parent_that_recovers_before_the_backup_delivers_stays_the_parent() {
    let mut viewer = Viewer::with_backup();
    verdict(&mut viewer, 10, Verdict::Silent);
    let recovered = verdict(&mut viewer, 10, Verdict::Ok);
    assert!(
        says(&recovered, 11, |message| *message == Message::Tree(TreeMessage::StopFeed)),
        "{recovered:?}"
    );
    assert_eq!(above(&viewer), [Some(10), Some(11)]);
    viewer.give(Input::Fed(key(11).id()));
    assert_eq!(above(&viewer), [Some(10), Some(11)], "packets that were on their way change nothing");
}

#[test]
fn packets_of_a_peer_that_was_not_asked_to_feed_change_no_parent() {
    let mut viewer = Viewer::with_backup();
    for peer in [11, 20] {
        viewer.give(Input::Fed(key(peer).id()));
        assert_eq!(above(&viewer), [Some(10), Some(11)]);
    }
}

#[test]
fn an_unfed_viewer_looks_elsewhere_after_200_ms_without_an_answer() {
    for (answered, seeks_after_ms) in [(false, Some(200)), (true, None)] {
        let mut viewer = Viewer::new();
        let taken = viewer.is_taken_by(3, &[3]);
        assert!(requests_feed_of(&taken, 3), "{taken:?}");
        if answered {
            viewer.hears(3, feeding(path(&[3])));
        }
        let start = viewer.now;
        let timed = viewer.runs_for(1_495 * MS);
        let sought = times_said(&timed, 3, is_attach).first().map(|at| (at - start).div_ceil(10 * MS) * 10);
        assert_eq!(sought, seeks_after_ms, "answered: {answered}");
        assert!(times_said(&timed, 3, is_detach).is_empty());
        assert_eq!(times_said(&viewer.runs_for(10 * MS), 3, is_detach).len(), 1, "answered: {answered}");
    }
}

#[test]
fn a_feeder_without_a_program_makes_an_unfed_viewer_search_at_once() {
    for (at, seeks) in [(&[3, 20][..], true), (&[3], false)] {
        let feeder = *at.last().unwrap();
        let mut viewer = Viewer::new();
        viewer.hears(
            3,
            Message::Tree(TreeMessage::Redirect {
                purpose: Purpose::Parent,
                places: places_below(&[3], &[20]),
            }),
        );
        viewer.is_taken_by(feeder, at);
        let outputs = viewer.hears(feeder, feeding(Path::default()));
        assert_eq!(says(&outputs, 3, is_attach), seeks, "{at:?}");
    }
}

#[test]
fn a_fed_viewer_waits_6_s_for_a_peer_that_was_asked_to_feed() {
    let mut viewer = Viewer::with_backup();
    let taken = turns_to(&mut viewer, 20, &[3, 20]);
    assert!(requests_feed_of(&taken, 20), "{taken:?}");
    let timed = viewer.runs_for(5_990 * MS);
    assert!(times_said(&timed, 20, is_detach).is_empty());
    let timed = viewer.runs_for(20 * MS);
    assert_eq!(times_said(&timed, 20, is_detach).len(), 1, "{timed:?}");
    assert_eq!(above(&viewer), [Some(10), Some(11)]);
}

#[test]
fn a_viewer_gives_up_a_peer_that_is_not_linked_within_6_s() {
    let mut viewer = Viewer::new();
    viewer.unlinked.insert(key(20).id());
    viewer.hears(
        3,
        Message::Tree(TreeMessage::Redirect { purpose: Purpose::Parent, places: places_below(&[3], &[20]) }),
    );
    viewer.hears(20, accept(&[3, 20]));
    viewer.unlinked.insert(key(3).id());
    assert!(times_said(&viewer.runs_for(5_990 * MS), 20, is_detach).is_empty());
    assert_eq!(times_said(&viewer.runs_for(20 * MS), 20, is_detach).len(), 1);
}

#[test]
fn a_peer_that_feeds_without_being_asked_is_stopped() {
    let mut viewer = Viewer::with_backup();
    for (peer, back) in [(11, Message::Tree(TreeMessage::StopFeed)), (20, Message::Tree(TreeMessage::Detach))]
    {
        let outputs = viewer.hears(peer, feeding(path(&[3, peer])));
        assert_eq!(said(&outputs, peer), [&back]);
    }
    let outputs = viewer.hears(10, feeding(path(&[3, 10])));
    assert!(said(&outputs, 10).is_empty(), "the parent was asked: {outputs:?}");
}

#[test]
fn a_viewer_leaves_a_parent_whose_path_loops_or_holds_16_peers() {
    let full: Vec<u8> = [3].into_iter().chain(40..54).chain([10]).collect();
    for wrong in [vec![3, 5, 10], full] {
        let mut viewer = Viewer::with_backup();
        let outputs = viewer.hears(10, Message::Tree(TreeMessage::PathIs(path(&wrong))));
        assert!(says(&outputs, 10, is_detach), "{wrong:?}: {outputs:?}");
        assert!(events(&outputs).contains(&&Event::Parent { peer: None }), "{wrong:?}");
        let outputs =
            [outputs, viewer.runs_for(10 * MS).into_iter().map(|(_, output)| output).collect()].concat();
        assert!(says(&outputs, 3, is_attach), "{wrong:?}: {outputs:?}");
    }
}

#[test]
fn a_viewer_moves_with_its_parent_and_ignores_the_paths_of_strangers() {
    let mut viewer = Viewer::with_backup();
    viewer.hears(20, Message::Tree(TreeMessage::PathIs(path(&[3, 20]))));
    assert_eq!(*viewer.room.path(), path(&[3, 10, 5]));
    viewer.hears(10, Message::Tree(TreeMessage::PathIs(path(&[3, 12, 10]))));
    assert_eq!(*viewer.room.path(), path(&[3, 12, 10, 5]));
}

#[test]
fn a_backup_that_moves_below_the_parent_or_below_the_viewer_is_replaced() {
    for moved in [&[3, 10, 11][..], &[3, 10, 5, 11]] {
        let mut viewer = Viewer::with_backup();
        let outputs = viewer.hears(11, Message::Tree(TreeMessage::PathIs(path(moved))));
        assert!(says(&outputs, 11, is_detach), "{outputs:?}");
        assert_eq!(above(&viewer), [Some(10), None]);
        let timed = viewer.runs_for(10 * MS);
        let backup = |message: &Message| {
            matches!(message, Message::Tree(TreeMessage::Attach(Attach { purpose: Purpose::Backup, .. })))
        };
        assert!(says(&outputs, 3, backup) || !times_said(&timed, 3, backup).is_empty(), "{timed:?}");
    }
}

#[test]
fn a_backup_that_falls_silent_or_is_not_linked_within_6_s_is_replaced() {
    let mut viewer = Viewer::with_backup();
    let outputs = verdict(&mut viewer, 11, Verdict::Silent);
    assert!(says(&outputs, 11, is_detach) && above(&viewer)[1].is_none(), "{outputs:?}");

    let mut viewer = Viewer::under(&[3], &[4]);
    viewer.is_fed_by(10, &[3, 10]);
    viewer.unlinked.insert(key(11).id());
    viewer.is_promised_by(11, &[3, 11]);
    viewer.runs_for(5_990 * MS);
    assert_eq!(above(&viewer)[1], Some(11));
    viewer.runs_for(20 * MS);
    assert_eq!(above(&viewer)[1], None);
}

#[test]
fn a_viewer_of_the_first_tier_keeps_the_standby_as_backup() {
    let backup = |message: &Message| {
        matches!(message, Message::Tree(TreeMessage::Attach(Attach { purpose: Purpose::Backup, .. })))
    };
    for (standbys, asked) in [(&[4][..], &[4][..]), (&[], &[])] {
        let mut viewer = Viewer::under(&[3], standbys);
        viewer.is_taken_by(3, &[3]);
        let mut outputs = viewer.give(Input::Fed(key(3).id()));
        outputs.extend(viewer.runs_for(5 * MS).into_iter().map(|(_, output)| output));
        assert_eq!(receivers(&outputs, backup), asked);
    }
}

#[test]
fn a_shed_viewer_turns_to_its_backup_or_else_to_the_places_named() {
    let shed = || Message::Tree(TreeMessage::Shed { places: places_below(&[3], &[20, 21]) });
    let mut viewer = Viewer::with_backup();
    let outputs = viewer.hears(9, shed());
    assert!(receivers(&outputs, is_attach).is_empty(), "a stranger sheds nobody: {outputs:?}");
    let outputs = viewer.hears(10, shed());
    assert!(requests_feed_of(&outputs, 11) && !says(&outputs, 10, is_detach), "{outputs:?}");

    let mut viewer = Viewer::new();
    viewer.is_fed_by(10, &[3, 10]);
    let outputs = viewer.hears(10, shed());
    assert_eq!(receivers(&outputs, is_attach), [20], "{outputs:?}");
    assert_eq!(above(&viewer)[0], Some(10), "it is fed until it has another place");

    let mut viewer = Viewer::with_backup();
    viewer.hears(11, shed());
    assert_eq!(above(&viewer), [Some(10), None], "a backup that sheds is replaced");

    let mut viewer = Viewer::new();
    viewer.is_taken_by(3, &[3]);
    let outputs = viewer.hears(3, shed());
    assert_eq!(receivers(&outputs, is_attach), [20], "so is a peer that was to feed: {outputs:?}");
}

#[test]
fn a_dismissed_viewer_asks_its_backup_and_searches_beside_it() {
    let mut viewer = Viewer::with_backup();
    viewer.hears(9, Message::Tree(TreeMessage::Dismiss));
    assert_eq!(above(&viewer), [Some(10), Some(11)], "strangers dismiss nobody");
    let outputs = viewer.hears(10, Message::Tree(TreeMessage::Dismiss));
    assert_eq!(above(&viewer)[0], None);
    assert!(requests_feed_of(&outputs, 11) && says(&outputs, 3, is_attach), "{outputs:?}");
}

#[test]
fn only_a_silent_parent_sets_off_a_search_beside_the_backup() {
    for (fault, seeks) in [(Verdict::Silent, true), (Verdict::Stalled, false), (Verdict::Behind, false)] {
        let mut viewer = Viewer::with_backup();
        let outputs = verdict(&mut viewer, 10, fault);
        assert!(requests_feed_of(&outputs, 11), "{fault:?}");
        assert_eq!(says(&outputs, 3, is_attach), seeks, "{fault:?}: {outputs:?}");
    }
    let mut viewer = Viewer::with_backup();
    verdict(&mut viewer, 10, Verdict::Silent);
    viewer.hears(11, feeding(path(&[3, 11])));
    let outputs = viewer.hears(3, accept(&[3]));
    assert!(says(&outputs, 3, is_detach), "the backup has answered, so others are declined: {outputs:?}");
}

/// A viewer with a dead parent, whose linked backup was requested to feed just now, and which the mixer has accepted
/// meanwhile.
fn accepted_beside_the_backup() -> Viewer {
    let mut viewer = Viewer::with_backup();
    assert!(requests_feed_of(&verdict(&mut viewer, 10, Verdict::Silent), 11));
    let outputs = viewer.hears(3, accept(&[3]));
    assert!(!says(&outputs, 11, is_detach) && !says(&outputs, 3, is_detach), "{outputs:?}");
    viewer
}

#[test]
fn a_place_found_beside_the_backup_is_returned_when_the_backup_answers() {
    let mut viewer = accepted_beside_the_backup();
    assert!(says(&viewer.hears(11, feeding(path(&[3, 11]))), 3, is_detach));
    let mut viewer = accepted_beside_the_backup();
    let outputs = viewer.give(Input::Fed(key(11).id()));
    assert!(says(&outputs, 3, is_detach), "{outputs:?}");
    assert_eq!(above(&viewer)[0], Some(11));
}

#[test]
fn a_place_found_beside_the_backup_is_taken_if_the_backup_does_not_feed() {
    let mut viewer = accepted_beside_the_backup();
    assert!(!requests_feed_of(&untimed(viewer.runs_for(180 * MS)), 3));
    assert!(requests_feed_of(&untimed(viewer.runs_for(40 * MS)), 3));
    let mut viewer = accepted_beside_the_backup();
    assert!(requests_feed_of(&viewer.hears(11, feeding(path(&[]))), 3));
    let mut viewer = accepted_beside_the_backup();
    assert!(requests_feed_of(&viewer.hears(11, Message::Tree(TreeMessage::Dismiss)), 3));
}

#[test]
fn a_viewer_of_the_first_tier_leaves_the_old_mixer_for_the_new_one() {
    let mut viewer = Viewer::under(&[3], &[4]);
    viewer.is_fed_by(3, &[3]);
    viewer.hears(
        4,
        Message::Tree(TreeMessage::Accept {
            purpose: Purpose::Backup,
            path: path(&[4]),
            whereabouts: Whereabouts::default(),
        }),
    );
    assert_eq!(above(&viewer), [Some(3), Some(4)]);
    let elected = viewer.elects(4, &[4], &[3]);
    assert!(requests_feed_of(&elected, 4) && !says(&elected, 3, is_detach), "{elected:?}");
    let fed = viewer.give(Input::Fed(key(4).id()));
    assert!(says(&fed, 3, is_detach), "{fed:?}");
}

#[test]
fn a_viewer_stays_with_the_old_mixer_until_the_elected_one_begins() {
    let mut viewer = Viewer::under(&[3], &[4]);
    viewer.is_fed_by(3, &[3]);
    viewer.elects(4, &[4], &[]);
    viewer.hears(4, accept(&[4]));
    for _ in 0..3 {
        let timed = viewer.runs_for(6_100 * MS);
        assert!(!times_said(&timed, 4, is_detach).is_empty(), "it is given up after 6 s: {timed:?}");
        assert!(!times_said(&timed, 4, is_attach).is_empty(), "and asked again");
        assert!(times_said(&timed, 3, is_detach).is_empty());
        assert_eq!(above(&viewer)[0], Some(3));
        viewer.hears(4, accept(&[4]));
    }
}

#[test]
fn a_viewer_follows_a_failover_if_its_parent_sends_it_or_its_feed_fails() {
    for (from, fault, failovers) in
        [(20, false, 0), (11, false, 0), (10, false, 1), (20, true, 1), (11, true, 1)]
    {
        let mut viewer = Viewer::with_backup();
        if fault {
            verdict(&mut viewer, 10, Verdict::Stalled);
        }
        hears_failover(&mut viewer, from);
        assert_eq!(viewer.room.rank().failover_count, failovers, "from {from}, at fault: {fault}");
    }
}

#[test]
fn a_failover_sent_by_the_backup_is_followed_when_the_feed_fails() {
    let mut viewer = Viewer::with_backup();
    hears_failover(&mut viewer, 11);
    verdict(&mut viewer, 10, Verdict::Silent);
    assert_eq!(viewer.room.rank().failover_count, 1);

    let mut viewer = Viewer::with_backup();
    hears_failover(&mut viewer, 11);
    turns_to(&mut viewer, 20, &[3, 20]);
    viewer.give(Input::Fed(key(20).id()));
    verdict(&mut viewer, 20, Verdict::Silent);
    assert_eq!(viewer.room.rank().failover_count, 0);

    let mut viewer = Viewer::with_backup();
    hears_failover(&mut viewer, 20);
    verdict(&mut viewer, 10, Verdict::Silent);
    assert_eq!(viewer.room.rank().failover_count, 0, "a stranger's failover is not kept");
}

#[test]
fn a_viewer_keeps_looking_for_a_backup_while_it_finds_none() {
    let mut viewer = Viewer::under(&[3], &[4]);
    viewer.is_fed_by(10, &[3, 10]);
    let backup = |message: &Message| {
        matches!(message, Message::Tree(TreeMessage::Attach(Attach { purpose: Purpose::Backup, .. })))
    };
    viewer.runs_for(20 * SECOND);
    let times = times_said(&viewer.runs_for(20 * SECOND), 3, backup);
    let gaps: Vec<u64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(!gaps.is_empty() && gaps.iter().all(|gap| (3_000 * MS..=4_500 * MS).contains(gap)), "{gaps:?}");
}
