//! The parent's side of the tree: refusals by their reasons, promises, aggregates, and children that leave or
//! are sent away.

use crate::samples::brain::{
    MS, SECOND, candidate, path, receivers, roster_of, said, says, speaker, times_of, times_said, viewing,
};
use crate::samples::key;
use crate::samples::viewer::Viewer;
use plenary_proto::message::{
    Aggregate, Attach, MemberMessage, Message, ProbeMessage, Purpose, Reach, Refused, TreeMessage,
};
use plenary_proto::{Command, Event, Input, Output, RoomConfig, Verdict};

fn backup(at: &[u8]) -> Attach {
    Attach { purpose: Purpose::Backup, path: path(at), fed: true, ..Attach::newcomer() }
}

/// A newcomer with room for four children.
pub(crate) fn relay_to_be() -> Attach {
    Attach { room: 4, ..Attach::newcomer() }
}

/// Returns the reason of a refusal; `None` after an acceptance.
fn refusal(outputs: &[Output], to: u8) -> Option<Refused> {
    match said(outputs, to)[..] {
        [Message::Tree(TreeMessage::Refused { reason, .. }), ..] => Some(*reason),
        [Message::Tree(TreeMessage::Accept { .. }), ..] => None,
        ref other => panic!("{other:?}"),
    }
}

fn is_accept(message: &Message) -> bool {
    matches!(message, Message::Tree(TreeMessage::Accept { .. }))
}

fn is_dismiss(message: &Message) -> bool {
    *message == Message::Tree(TreeMessage::Dismiss)
}

fn is_shed(message: &Message) -> bool {
    matches!(message, Message::Tree(TreeMessage::Shed { .. }))
}

fn aggregates(timed: &[(u64, Output)]) -> Vec<(u64, Aggregate)> {
    let of = |(at, output): &(u64, Output)| match said(std::slice::from_ref(output), 3)[..] {
        [Message::Tree(TreeMessage::Aggregate(sum))] => Some((*at, *sum)),
        _ => None,
    };
    timed.iter().filter_map(of).collect()
}

#[test]
fn a_relay_refuses_a_child_that_is_above_it() {
    let mut relay = Viewer::new();
    relay.is_fed_by(10, &[3, 10]);
    for above in [3, 10] {
        let outputs = relay.hears(above, Message::Tree(TreeMessage::Attach(Attach::newcomer())));
        assert_eq!(refusal(&outputs, above), Some(Refused::Cycle), "{above}");
    }
    let outputs = relay.hears(20, Message::Tree(TreeMessage::Attach(Attach::newcomer())));
    assert_eq!(refusal(&outputs, 20), None);
}

#[test]
fn a_peer_takes_children_once_a_parent_has_accepted_it() {
    let mut viewer = Viewer::new();
    let outputs = viewer.hears(20, Message::Tree(TreeMessage::Attach(Attach::newcomer())));
    assert_eq!(refusal(&outputs, 20), Some(Refused::NotFed));
    viewer.is_taken_by(3, &[3]);
    let outputs = viewer.hears(20, Message::Tree(TreeMessage::Attach(Attach::newcomer())));
    let expected = path(&[3, 5, 20]);
    let accepted = |message: &Message| match message {
        Message::Tree(TreeMessage::Accept { path, .. }) => path[..] == expected[..2],
        _ => false,
    };
    assert!(says(&outputs, 20, accepted), "{outputs:?}");
}

#[test]
fn a_relay_promises_no_place_to_a_backup_child_that_would_fail_with_it() {
    for (asker, at, reason) in [
        (20, &[3, 5, 20][..], Refused::SameBranch),
        (20, &[3, 5, 12, 20], Refused::SameBranch),
        (20, &[3, 20], Refused::SameBranch), // fed by the relay's own parent
    ] {
        let mut relay = Viewer::relay();
        let outputs = relay.hears(asker, Message::Tree(TreeMessage::Attach(backup(at))));
        assert_eq!(refusal(&outputs, asker), Some(reason), "{at:?}");
    }
    let mut relay = Viewer::relay();
    let outputs = relay.hears(20, Message::Tree(TreeMessage::Attach(backup(&[3, 6, 20]))));
    assert_eq!(refusal(&outputs, 20), None, "another branch");
    let (outputs, _) = relay.is_joined_by(21, Attach::newcomer());
    assert_eq!(refusal(&outputs, 21), None);
    let outputs = relay.hears(21, Message::Tree(TreeMessage::Attach(backup(&[3, 6, 21]))));
    assert_eq!(refusal(&outputs, 21), Some(Refused::SameBranch), "a child of the relay");
}

#[test]
fn a_peer_that_leaves_or_does_not_relay_takes_no_children() {
    let mut relay = Viewer::relay();
    relay.is_joined_by(20, Attach::newcomer());
    relay.give(Input::Command(Command::Leave));
    let outputs = relay.hears(21, Message::Tree(TreeMessage::Attach(Attach::newcomer())));
    assert_eq!(refusal(&outputs, 21), Some(Refused::Closed));
    for config in [
        RoomConfig { relays: false, ..viewing() },
        RoomConfig { children_max: 0, ..viewing() },
        RoomConfig { uplink_bps_max: Some(2_999_999), ..viewing() }, // less than two programs
    ] {
        let mut viewer = Viewer::among(&[speaker(2), candidate(3)], &[3], &[], config);
        viewer.is_fed_by(3, &[3]);
        for attach in [Attach::newcomer(), backup(&[3, 6, 21])] {
            let outputs = viewer.hears(21, Message::Tree(TreeMessage::Attach(attach)));
            assert_eq!(refusal(&outputs, 21), Some(Refused::Full));
        }
    }
}

#[test]
fn a_relay_promises_4_places_and_no_more_than_it_has_slots_left() {
    for (children, promises) in [(0u8, 4), (2, 3), (4, 1)] {
        let mut relay = Viewer::relay();
        for peer in 10..10 + children {
            relay.is_joined_by(peer, relay_to_be());
        }
        for (count, peer) in (20..28).enumerate() {
            let outputs = relay.hears(peer, Message::Tree(TreeMessage::Attach(backup(&[3, 6, peer]))));
            let taken = says(&outputs, peer, is_accept);
            assert_eq!(taken, count < promises, "{children} children, promise {count}");
            let again = relay.hears(peer, Message::Tree(TreeMessage::Attach(backup(&[3, 6, peer]))));
            assert_eq!(says(&again, peer, is_accept), taken, "a promise is confirmed");
        }
        assert_eq!(relay.room.snapshot().promised.len(), promises);
    }
}

#[test]
fn a_relay_takes_back_promises_that_its_children_leave_no_slots_for() {
    let mut relay = Viewer::relay();
    for peer in 20..24 {
        relay.hears(peer, Message::Tree(TreeMessage::Attach(backup(&[3, 6, peer]))));
        relay.is_linked_by(peer);
    }
    relay.hears(10, Message::Tree(TreeMessage::Attach(relay_to_be())));
    relay.is_linked_by(10);
    relay.hears(11, Message::Tree(TreeMessage::Attach(relay_to_be())));
    relay.is_linked_by(11);
    let first = relay.hears(10, Message::Tree(TreeMessage::Feed { from: None }));
    assert!(receivers(&first, is_dismiss).is_empty(), "the other child may go elsewhere: {first:?}");
    let second = relay.hears(11, Message::Tree(TreeMessage::Feed { from: None }));
    let gone = receivers(&second, is_dismiss);
    let last = (20..24).max_by_key(|peer| key(*peer).id()).unwrap();
    assert_eq!(gone, [last], "of the promised the highest id");
    assert_eq!(relay.room.snapshot().promised.len(), 3);
}

#[test]
fn a_relay_keeps_its_promises_while_its_own_parent_is_at_fault() {
    let mut relay = Viewer::relay();
    for peer in 20..24 {
        relay.hears(peer, Message::Tree(TreeMessage::Attach(backup(&[3, 6, peer]))));
    }
    relay.give(Input::Verdict { peer: key(3).id(), verdict: Verdict::Stalled });
    for peer in [10, 11] {
        let (_, outputs) = relay.is_joined_by(peer, relay_to_be());
        assert!(receivers(&outputs, is_dismiss).is_empty(), "{outputs:?}");
    }
    let outputs = relay.give(Input::Verdict { peer: key(3).id(), verdict: Verdict::Ok });
    assert_eq!(receivers(&outputs, is_dismiss).len(), 1, "{outputs:?}");
}

#[test]
fn a_relay_dismisses_strangers_and_promised_peers_without_a_slot() {
    let mut relay = Viewer::relay();
    relay.is_linked_by(30);
    let outputs = relay.hears(30, Message::Tree(TreeMessage::Feed { from: None }));
    assert_eq!(said(&outputs, 30), [&Message::Tree(TreeMessage::Dismiss)]);

    relay.hears(20, Message::Tree(TreeMessage::Attach(backup(&[3, 6, 20]))));
    relay.hears(21, Message::Tree(TreeMessage::Attach(backup(&[3, 6, 21]))));
    (20..22).for_each(|peer| _ = relay.is_linked_by(peer));
    for peer in 10..13 {
        relay.is_joined_by(peer, relay_to_be());
    }
    for peer in [20, 21] {
        let outputs = relay.hears(peer, Message::Tree(TreeMessage::Feed { from: None }));
        let served =
            |output: &Output| matches!(output, Output::Serve { peer: fed, .. } if *fed == key(peer).id());
        assert!(outputs.iter().any(served), "the slot in reserve is for promises: {outputs:?}");
    }
    assert_eq!(relay.room.snapshot().children.len(), 5);
    relay.hears(22, Message::Tree(TreeMessage::Attach(backup(&[3, 6, 22]))));
    let outputs = relay.hears(22, Message::Tree(TreeMessage::Feed { from: None }));
    assert!(says(&outputs, 22, is_dismiss), "all slots are taken: {outputs:?}");
    assert_eq!(relay.room.snapshot().children.len(), 5);
}

#[test]
fn a_relay_forgets_an_accepted_child_that_is_not_linked_within_10_s() {
    let mut relay = Viewer::relay();
    relay.hears(20, Message::Tree(TreeMessage::Attach(Attach::newcomer())));
    relay.runs_for(9_990 * MS);
    assert_eq!(relay.room.snapshot().promised, [key(20).id()]);
    relay.runs_for(20 * MS);
    assert!(relay.room.snapshot().promised.is_empty());
}

#[test]
fn a_relay_drops_a_child_that_leaves_loses_its_link_or_falls_silent() {
    let ends: [fn(&mut Viewer) -> Vec<Output>; 4] = [
        |relay| relay.hears(20, Message::Tree(TreeMessage::Detach)),
        |relay| relay.hears(20, Message::Member(MemberMessage::Leave)),
        |relay| relay.loses_link(20),
        |relay| relay.give(Input::Verdict { peer: key(20).id(), verdict: Verdict::Silent }),
    ];
    for (number, end) in ends.into_iter().enumerate() {
        let mut relay = Viewer::relay();
        relay.is_joined_by(20, Attach::newcomer());
        relay.hears(21, Message::Tree(TreeMessage::Detach));
        assert_eq!(relay.room.snapshot().children, [key(20).id()]);
        let outputs = end(&mut relay);
        assert!(outputs.contains(&Output::Unserve(key(20).id())), "end {number}: {outputs:?}");
        assert_eq!(says(&outputs, 20, is_dismiss), number == 3, "a silent child learns of it when it wakes");
        assert!(relay.room.snapshot().children.is_empty());
    }
}

#[test]
fn a_child_that_stops_its_feed_keeps_a_promise() {
    let mut relay = Viewer::relay();
    relay.is_joined_by(20, Attach::newcomer());
    let outputs = relay.hears(20, Message::Tree(TreeMessage::StopFeed));
    assert!(outputs.contains(&Output::ServeHeads(key(20).id())), "{outputs:?}");
    let snapshot = relay.room.snapshot();
    assert_eq!((snapshot.children.len(), snapshot.promised), (0, vec![key(20).id()]));
    let outputs = relay.hears(21, Message::Tree(TreeMessage::StopFeed));
    assert_eq!(outputs, [], "a stranger gets none");
}

#[test]
fn a_relay_reports_its_branch_when_it_changes_and_at_most_once_a_second() {
    let mut relay = Viewer::relay();
    relay.is_joined_by(10, relay_to_be());
    relay.runs_for(5 * SECOND);
    assert!(aggregates(&relay.runs_for(60 * SECOND)).is_empty(), "nothing changes");
    let mut timed = Vec::new();
    for viewers in 2..12 {
        let below = Aggregate {
            viewers,
            deepest: 2,
            room: 4,
            free: [3, 4, 0, 0, 0, 0, 0, 7],
            ..Aggregate::default()
        };
        let now = relay.now;
        timed.extend(
            relay
                .hears(10, Message::Tree(TreeMessage::Aggregate(below)))
                .into_iter()
                .map(|output| (now, output)),
        );
        timed.extend(relay.runs_for(400 * MS));
    }
    timed.extend(relay.runs_for(SECOND));
    let told = aggregates(&timed);
    assert!((4..=6).contains(&told.len()), "{told:?}");
    assert!(told.windows(2).all(|pair| pair[1].0 - pair[0].0 >= SECOND - 10), "{told:?}");
    let (_, last) = told.last().unwrap();
    assert_eq!((last.viewers, last.deepest, last.room, last.strongest), (12, 3, 4, Some((key(10).id(), 4))));
    assert_eq!(last.free, [3, 3, 4, 0, 0, 0, 0, 7], "one level deeper");
}

#[test]
fn aggregates_with_absurd_figures_are_added_up_to_the_largest_number() {
    let mut relay = Viewer::relay();
    let absurd = Aggregate {
        viewers: u32::MAX,
        free: [u16::MAX; 8],
        promises: [u16::MAX; 8],
        room: u8::MAX,
        sending_us: u32::MAX,
        deepest: u8::MAX,
        strongest: Some((key(5).id(), u8::MAX)),
        recorders: u32::MAX,
    };
    let mut timed = Vec::new();
    for peer in 10..13 {
        let attach = Attach { viewers_below: u32::MAX, room: u8::MAX, ..Attach::newcomer() };
        let (taken, served) = relay.is_joined_by(peer, attach);
        let outputs =
            [taken, served, relay.hears(peer, Message::Tree(TreeMessage::Aggregate(absurd)))].concat();
        timed.extend(outputs.into_iter().map(|output| (relay.now, output)));
        timed.extend(relay.runs_for(20 * SECOND));
    }
    let told = aggregates(&timed);
    let (_, last) = told.last().unwrap();
    assert_eq!((last.viewers, last.deepest), (u32::MAX, u8::MAX));
    assert_eq!((last.free[1..].to_vec(), last.free[0]), (vec![u16::MAX; 7], 1));
    assert_eq!(relay.room.snapshot().viewers_below, u32::MAX);
}

#[test]
fn an_aggregate_by_a_peer_that_is_no_child_is_ignored() {
    let mut relay = Viewer::relay();
    relay.is_joined_by(10, relay_to_be());
    relay.hears(20, Message::Tree(TreeMessage::Attach(backup(&[3, 6, 20]))));
    let many = Aggregate { viewers: 50, free: [9; 8], ..Aggregate::default() };
    for peer in [20, 30] {
        relay.hears(peer, Message::Tree(TreeMessage::Aggregate(many)));
    }
    assert_eq!(relay.room.snapshot().viewers_below, 1);
    let told = aggregates(&relay.runs_for(10 * SECOND));
    assert!(told.iter().all(|(_, sum)| sum.viewers == 2 && sum.free[1] == 4), "{told:?}");
}

#[test]
fn a_relay_redirects_a_crowd_by_the_slots_that_are_left() {
    let mut relay = Viewer::relay();
    for peer in 10..14 {
        relay.is_joined_by(peer, Attach::newcomer());
    }
    let one =
        Aggregate { viewers: 1, free: [1, 0, 0, 0, 0, 0, 0, 0], room: 1, deepest: 1, ..Aggregate::default() };
    relay.hears(10, Message::Tree(TreeMessage::Aggregate(one)));
    let asks = |relay: &mut Viewer, peer| {
        let outputs = relay.hears(peer, Message::Tree(TreeMessage::Attach(Attach::newcomer())));
        says(&outputs, peer, |message| matches!(message, Message::Tree(TreeMessage::Redirect { .. })))
    };
    assert!(asks(&mut relay, 20));
    assert!(!asks(&mut relay, 21), "the one slot is awaited for another");
    relay.runs_for(1_900 * MS);
    assert!(!asks(&mut relay, 22));
    relay.runs_for(200 * MS);
    assert!(asks(&mut relay, 23), "the other has not come");
    relay.hears(10, Message::Tree(TreeMessage::Aggregate(one)));
    assert!(asks(&mut relay, 24), "a newer aggregate counts at once");
}

#[test]
fn a_relay_feeds_no_more_than_its_capacity_and_the_slot_in_reserve() {
    let mut relay = Viewer::relay();
    for peer in 10..250 {
        let orphan = Attach { path: path(&[3, 5, 10, peer]), reach: Reach::OnlyHere, ..Attach::newcomer() };
        relay.is_joined_by(peer, orphan);
        relay.hears(peer, Message::Tree(TreeMessage::Attach(backup(&[3, 6, peer]))));
        let snapshot = relay.room.snapshot();
        assert!(snapshot.children.len() <= 5 && snapshot.promised.len() <= 5, "{snapshot:?}");
    }
}

#[test]
fn a_relay_asks_the_children_that_its_uplink_does_not_carry_to_leave() {
    let mut relay = Viewer::new();
    relay.is_fed_by(3, &[3]);
    assert!(relay.sends_trains(3, 26_400, 0).len() > 1);
    relay.is_told(3, 20_000_000);
    for (peer, viewers_below) in [(10, 7), (11, 3), (12, 5)] {
        relay.is_joined_by(peer, Attach { viewers_below, ..relay_to_be() });
    }
    // two programs beside the one in reserve: one child, and one in the slot in reserve
    let outputs = relay.hears(3, Message::Probe(ProbeMessage::Uplink { bps: 3_000_000 }));
    assert_eq!(receivers(&outputs, is_shed), [11], "the child with the fewest viewers: {outputs:?}");
    let timed = relay.runs_for(2_990 * MS);
    assert!(times_said(&timed, 11, is_dismiss).is_empty());
    assert_eq!(relay.room.snapshot().children.len(), 3, "it is fed meanwhile");
    let timed = relay.runs_for(20 * MS);
    assert_eq!(times_said(&timed, 11, is_dismiss).len(), 1, "{timed:?}");
    assert_eq!(relay.room.snapshot().children.len(), 2);
}

#[test]
fn a_relay_that_no_longer_wants_to_feed_asks_its_children_to_leave() {
    let mut relay = Viewer::relay();
    (10..13).for_each(|peer| _ = relay.is_joined_by(peer, relay_to_be()));
    let outputs = relay.give(Input::Command(Command::SetChildrenMax(2)));
    assert_eq!(receivers(&outputs, is_shed), [], "the third one has the slot in reserve");
    let outputs = relay.give(Input::Command(Command::SetChildrenMax(0)));
    let mut asked = receivers(&outputs, is_shed);
    asked.sort_unstable();
    assert_eq!(asked, [10, 11, 12]);
    // one of them finds another parent in time
    relay.hears(11, Message::Tree(TreeMessage::Detach));
    let timed = relay.runs_for(2_990 * MS);
    assert!([10, 12].iter().all(|child| times_said(&timed, *child, is_dismiss).is_empty()), "{timed:?}");
    assert_eq!(relay.room.snapshot().children.len(), 2, "they are fed meanwhile");
    let timed = relay.runs_for(20 * MS);
    assert!([10, 12].iter().all(|child| times_said(&timed, *child, is_dismiss).len() == 1), "{timed:?}");
    let outputs = relay.hears(14, Message::Tree(TreeMessage::Attach(relay_to_be())));
    assert!(relay.room.snapshot().children.is_empty(), "{outputs:?}");
    // the user comes back
    relay.give(Input::Command(Command::SetChildrenMax(3)));
    relay.is_joined_by(15, relay_to_be());
    assert_eq!(relay.room.snapshot().children.len(), 1);
}

#[test]
fn a_relay_that_wants_to_feed_again_within_3_s_keeps_its_children() {
    let mut relay = Viewer::relay();
    (10..13).for_each(|peer| _ = relay.is_joined_by(peer, relay_to_be()));
    relay.give(Input::Command(Command::SetChildrenMax(0)));
    relay.runs_for(2 * SECOND);
    relay.give(Input::Command(Command::SetChildrenMax(3)));
    relay.runs_for(5 * SECOND);
    assert_eq!(relay.room.snapshot().children.len(), 3);
}

#[test]
fn a_page_offers_all_its_places_and_compares_itself_as_if_it_had_one() {
    let aggregate = |sends_trains| {
        let config = RoomConfig { sends_trains, ..viewing() };
        let mut relay = Viewer::among(&[speaker(2), candidate(3)], &[3], &[], config);
        relay.is_fed_by(3, &[3]);
        relay.runs_for(40 * SECOND);
        let (_, outputs) = relay.is_joined_by(20, relay_to_be());
        let mut timed: Vec<_> = outputs.into_iter().map(|output| (0, output)).collect();
        timed.extend(relay.runs_for(2 * SECOND));
        aggregates(&timed).last().map(|(_, sum)| (sum.free[0], sum.room))
    };
    // one place is taken
    assert_eq!(aggregate(true), Some((3, 4)));
    assert_eq!(aggregate(false), Some((3, 1)));
}

#[test]
fn a_page_feeds_no_more_children_than_its_line_carries_with_the_reserve() {
    let config = RoomConfig { sends_trains: false, ..viewing() };
    let mut page = Viewer::among(&[speaker(2), candidate(3)], &[3], &[], config);
    page.is_fed_by(3, &[3]);
    page.give(Input::UplinkCarries(None));
    (10..13).for_each(|peer| _ = page.is_joined_by(peer, relay_to_be()));
    let outputs = page.give(Input::UplinkCarries(Some(2)));
    assert_eq!(receivers(&outputs, is_shed).len(), 1, "one fills the slot in reserve");
    let outputs = page.give(Input::UplinkCarries(Some(0)));
    assert_eq!(receivers(&outputs, is_shed).len(), 2);
    page.runs_for(4 * SECOND);
    assert!(page.room.snapshot().children.is_empty());
    page.is_joined_by(14, relay_to_be());
    assert!(page.room.snapshot().children.is_empty());
    page.give(Input::UplinkCarries(None));
    page.is_joined_by(15, relay_to_be());
    assert_eq!(page.room.snapshot().children.len(), 1);
}

#[test]
fn a_relay_keeps_a_child_that_its_uplink_carries_after_all() {
    let mut relay = Viewer::new();
    relay.is_fed_by(3, &[3]);
    assert!(relay.sends_trains(3, 26_400, 0).len() > 2);
    relay.is_told(3, 20_000_000);
    (10..13).for_each(|peer| _ = relay.is_joined_by(peer, relay_to_be()));
    let outputs = relay.hears(3, Message::Probe(ProbeMessage::Uplink { bps: 3_000_000 }));
    assert_eq!(receivers(&outputs, is_shed).len(), 1);
    relay.hears(3, Message::Probe(ProbeMessage::Uplink { bps: 20_000_000 }));
    relay.runs_for(5 * SECOND);
    assert_eq!(relay.room.snapshot().children.len(), 3);
}

#[test]
fn a_leaving_relay_leaves_once_its_children_have_gone_or_after_1_s() {
    for (goes, left_ms) in [(false, 1_000), (true, 300)] {
        let mut relay = Viewer::relay();
        relay.is_joined_by(20, Attach::newcomer());
        let start = relay.now;
        let outputs = relay.give(Input::Command(Command::Leave));
        assert!(
            says(&outputs, 20, is_shed)
                && !says(&outputs, 3, |message| *message == Message::Tree(TreeMessage::Detach))
        );
        let mut timed = relay.runs_for(250 * MS);
        if goes {
            relay.hears(20, Message::Tree(TreeMessage::Detach));
        }
        timed.extend(relay.runs_for(2 * SECOND));
        let left = times_of(&timed, |output| *output == Output::Event(Event::HandedOver));
        let [at] = left[..] else { panic!("{timed:?}") };
        assert!((left_ms - 60..=left_ms + 60).contains(&((at - start) / MS)), "{}", at - start);
        assert_eq!(times_said(&timed, 20, is_dismiss).len(), usize::from(!goes));
        assert_eq!(times_said(&timed, 3, |message| *message == Message::Tree(TreeMessage::Detach)).len(), 1);
        assert_eq!(
            times_said(&timed, 2, |message| *message == Message::Member(MemberMessage::Leave)).len(),
            1,
            "the host is told"
        );
    }
}

#[test]
fn a_viewer_that_comes_on_stage_sends_its_children_away() {
    let mut relay = Viewer::relay();
    relay.is_joined_by(20, Attach::newcomer());
    let entries = [speaker(2), candidate(3), speaker(5)];
    let outputs = relay.hears(2, roster_of(8, &entries, |_| ()));
    assert!(says(&outputs, 20, is_shed), "{outputs:?}");
    let refused = relay.hears(21, Message::Tree(TreeMessage::Attach(Attach::newcomer())));
    assert_eq!(refusal(&refused, 21), Some(Refused::Closed));
    relay.runs_for(1_990 * MS);
    assert_eq!(relay.room.snapshot().parent, Some(key(3).id()));
    relay.runs_for(20 * MS);
    let snapshot = relay.room.snapshot();
    assert_eq!((snapshot.parent, snapshot.children.len()), (None, 0));
    assert_eq!(snapshot.path, []);
}
