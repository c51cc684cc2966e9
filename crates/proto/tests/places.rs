//! Admission of children by a relay with all slots taken.

use std::collections::BTreeSet;

use crate::samples::brain::{path, says};
use crate::samples::key;
use crate::samples::viewer::{SECOND, Viewer};
use plenary_proto::bounded::List;
use plenary_proto::message::{
    Aggregate, Attach, Message, Place, Purpose, Reach, Refused, TreeMessage, Whereabouts,
};
use plenary_proto::{Input, Output, Verdict};

#[test]
fn a_peer_that_can_feed_others_displaces_a_child_that_cannot() {
    let mut relay = Viewer::relay();
    let mut fed = BTreeSet::new();
    let mut count = |outputs: &[Output]| {
        for output in outputs {
            match output {
                Output::Serve { peer, .. } => _ = fed.insert(*peer),
                Output::Unserve(peer) => _ = fed.remove(peer),
                _ => {}
            }
            assert!(fed.len() <= 5, "k, and one in reserve: {fed:?}");
        }
        fed.clone()
    };
    for peer in 10..14 {
        let (taken, served) = relay.is_joined_by(peer, Attach::newcomer());
        assert!(
            says(&taken, peer, |message| matches!(message, Message::Tree(TreeMessage::Accept { .. }))),
            "{taken:?}"
        );
        count(&served);
    }
    // its parent is a child of the relay, and feeds it nothing
    let orphan = Attach { path: path(&[3, 5, 13, 14]), ..Attach::newcomer() };
    let (_, served) = relay.is_joined_by(14, orphan);
    assert_eq!(count(&served).len(), 5);
    relay.rests_for(5 * SECOND);

    let (taken, served) = relay.is_joined_by(15, Attach { room: 4, ..Attach::newcomer() });
    assert!(
        says(&taken, 15, |message| matches!(message, Message::Tree(TreeMessage::Accept { .. }))),
        "{taken:?}"
    );
    assert!(count(&taken).len() == 5, "those that are fed stay until it is linked");
    let now = count(&served);
    assert!(now.len() == 5 && now.contains(&key(15).id()), "{now:?}");
    let gone = (10..15).find(|peer| !now.contains(&key(*peer).id())).unwrap();
    let below = |message: &Message| match message {
        Message::Tree(TreeMessage::Shed { places }) => places.iter().any(|place| place.peer == key(15).id()),
        _ => false,
    };
    assert!(says(&served, gone, below), "who made way is sent below it: {served:?}");

    let (taken, _) = relay.is_joined_by(16, Attach { room: 4, ..Attach::newcomer() });
    assert!(
        says(&taken, 16, |message| matches!(message, Message::Tree(TreeMessage::Redirect { .. }))),
        "{taken:?}"
    );
}

#[test]
fn whose_parent_fails_tells_those_it_has_just_begun_to_feed_and_no_others() {
    let mut relay = Viewer::relay();
    relay.is_joined_by(10, Attach::newcomer());
    relay.rests_for(SECOND);
    let (_, served) = relay.is_joined_by(11, Attach::newcomer());
    assert!(says(
        &served,
        11,
        |message| matches!(message, Message::Tree(TreeMessage::Feeding { path, .. }) if path.len() == 2)
    ));
    let failed = relay.give(Input::Verdict { peer: key(3).id(), verdict: Verdict::Silent });
    let none_left = |message: &Message| {
        matches!(message, Message::Tree(TreeMessage::Feeding { path, .. })
            if path.is_empty())
    };
    assert!(says(&failed, 11, none_left), "{failed:?}");
    assert!(!says(&failed, 10, none_left), "it watches for itself: {failed:?}");
}

#[test]
fn a_newcomer_is_sent_to_suspected_peers_if_no_others_have_room() {
    let mut relay = Viewer::relay();
    for peer in 11..14 {
        relay.is_joined_by(peer, Attach::newcomer());
    }
    relay.is_joined_by(10, Attach { room: 4, ..Attach::newcomer() });
    // both were below key 10: the first complaint raises a suspicion, the second makes the suspicion grave
    for orphan in 20..22 {
        relay.hears(
            orphan,
            Message::Tree(TreeMessage::Attach(Attach {
                path: path(&[3, 5, 10, orphan]),
                ..Attach::newcomer()
            })),
        );
        relay.hears(orphan, Message::Tree(TreeMessage::Detach));
    }
    let to_it = |message: &Message| match message {
        Message::Tree(TreeMessage::Redirect { places, .. }) => {
            places.iter().any(|place| place.peer == key(10).id())
        }
        _ => false,
    };
    let sent = relay.hears(30, Message::Tree(TreeMessage::Attach(Attach::newcomer())));
    assert!(says(&sent, 30, to_it), "{sent:?}");
    let sent = relay.hears(
        31,
        Message::Tree(TreeMessage::Attach(Attach {
            fed: true,
            path: path(&[3, 6, 31]),
            ..Attach::newcomer()
        })),
    );
    assert!(!says(&sent, 31, to_it), "who is fed has no need of it: {sent:?}");
}

#[test]
fn nobody_is_sent_to_a_child_of_which_those_complain_that_seek_a_backup() {
    for (complains, room) in [(true, false), (false, true)] {
        let mut relay = Viewer::relay();
        for peer in 10..12 {
            relay.is_joined_by(peer, Attach { room: 4, ..Attach::newcomer() });
        }
        let of = |orphan: u8| Attach {
            purpose: Purpose::Backup,
            path: path(&[3, 5, 10, orphan]),
            fed: !complains,
            ..Attach::newcomer()
        };
        (20..22).for_each(|orphan| _ = relay.hears(orphan, Message::Tree(TreeMessage::Attach(of(orphan)))));
        let to_it = |message: &Message| match message {
            Message::Tree(TreeMessage::Redirect { places, .. }) => {
                places.iter().any(|place| place.peer == key(10).id())
            }
            _ => false,
        };
        for newcomer in 30..34 {
            relay.is_joined_by(newcomer, Attach::newcomer());
        }
        let sent = relay.hears(40, Message::Tree(TreeMessage::Attach(Attach::newcomer())));
        assert_eq!(says(&sent, 40, to_it), room, "{sent:?}");
    }
}

#[test]
fn who_cannot_be_linked_with_a_relay_is_told_whom_that_one_feeds() {
    let mut relay = Viewer::relay();
    let only_below = || Attach { reach: Reach::OnlyBelow, ..Attach::newcomer() };
    let refused = |message: &Message| matches!(message, Message::Tree(TreeMessage::Refused { .. }));
    let told = relay.hears(20, Message::Tree(TreeMessage::Attach(only_below())));
    assert!(says(&told, 20, refused), "there is room here, but nobody below: {told:?}");
    relay.is_joined_by(10, Attach { room: 4, ..Attach::newcomer() });
    let told = relay.hears(20, Message::Tree(TreeMessage::Attach(only_below())));
    let below = |message: &Message| match message {
        Message::Tree(TreeMessage::Redirect { places, .. }) => {
            places.iter().any(|place| place.peer == key(10).id())
        }
        _ => false,
    };
    assert!(says(&told, 20, below), "{told:?}");
}

#[test]
fn a_peer_that_could_not_be_linked_is_asked_whom_it_feeds() {
    let mut viewer = Viewer::new();
    let unlinked = 30;
    viewer.unlinked.insert(key(unlinked).id());
    let places = |peer: u8| List::truncated([Place { peer: key(peer).id(), path: path(&[3, peer]) }]);
    let redirect =
        |peer| Message::Tree(TreeMessage::Redirect { purpose: Purpose::Parent, places: places(peer) });
    let refused = || Message::Tree(TreeMessage::Refused { purpose: Purpose::Parent, reason: Refused::Full });
    let asks = |reach: Reach| {
        move |message: &Message| match message {
            Message::Tree(TreeMessage::Attach(attach)) => {
                attach.purpose == Purpose::Parent && attach.reach == reach
            }
            _ => false,
        }
    };
    let asked = viewer.hears(3, redirect(unlinked));
    assert!(says(&asked, unlinked, asks(Reach::Anywhere)), "{asked:?}");
    let (purpose, whereabouts) = (Purpose::Parent, Whereabouts::default());
    viewer.hears(
        unlinked,
        Message::Tree(TreeMessage::Accept { purpose, path: path(&[3, unlinked]), whereabouts }),
    );
    viewer.now += 2 * SECOND;
    let asked = viewer.give(Input::Timeout);
    assert!(says(&asked, 3, asks(Reach::Anywhere)), "no link has come: the search begins above: {asked:?}");
    let asked = viewer.hears(3, redirect(unlinked));
    assert!(says(&asked, unlinked, asks(Reach::OnlyBelow)), "{asked:?}");
    let asked = viewer.hears(unlinked, redirect(20));
    assert!(says(&asked, 20, asks(Reach::Anywhere)), "{asked:?}");
    viewer.hears(20, refused());
    viewer.now += 2 * SECOND;
    let asked = viewer.give(Input::Timeout);
    assert!(says(&asked, 3, asks(Reach::OnlyHere)), "nobody else has room: {asked:?}");
    let asked = viewer.hears(3, redirect(unlinked));
    assert!(says(&asked, unlinked, asks(Reach::Anywhere)), "it may have been the weather: {asked:?}");
}

#[test]
fn who_can_link_with_nobody_else_is_taken_in_place_of_an_idle_child() {
    let mut relay = Viewer::relay();
    for peer in 10..14 {
        relay.is_joined_by(peer, Attach::newcomer());
    }
    let only_here = || Attach { reach: Reach::OnlyHere, ..Attach::newcomer() };
    relay.is_joined_by(14, only_here());
    let refused = |message: &Message| matches!(message, Message::Tree(TreeMessage::Refused { .. }));
    let told = relay.hears(15, Message::Tree(TreeMessage::Attach(only_here())));
    assert!(says(&told, 15, refused), "who gave way would have no place: {told:?}");
    let room =
        Aggregate { viewers: 1, free: [4, 0, 0, 0, 0, 0, 0, 0], room: 4, deepest: 1, ..Aggregate::default() };
    relay.hears(10, Message::Tree(TreeMessage::Aggregate(room)));
    let (taken, served) = relay.is_joined_by(15, only_here());
    assert!(
        says(&taken, 15, |message| matches!(message, Message::Tree(TreeMessage::Accept { .. }))),
        "{taken:?}"
    );
    let gone = |peer: &u8| {
        says(&served, *peer, |message| matches!(message, Message::Tree(TreeMessage::Shed { .. })))
    };
    assert!((11..14).any(|peer| gone(&peer)), "{served:?}");
    assert!(!gone(&10) && !gone(&14), "where there is room, and who could go nowhere else, stay: {served:?}");
}

#[test]
fn who_can_be_linked_with_nobody_else_gets_a_free_slot() {
    let mut relay = Viewer::relay();
    relay.is_joined_by(10, Attach { room: 4, ..Attach::newcomer() });
    let sent = relay.hears(11, Message::Tree(TreeMessage::Attach(Attach::newcomer())));
    assert!(
        says(&sent, 11, |message| matches!(message, Message::Tree(TreeMessage::Redirect { .. }))),
        "{sent:?}"
    );
    let only_here = Attach { reach: Reach::OnlyHere, ..Attach::newcomer() };
    let taken = relay.hears(11, Message::Tree(TreeMessage::Attach(only_here)));
    assert!(
        says(&taken, 11, |message| matches!(message, Message::Tree(TreeMessage::Accept { .. }))),
        "{taken:?}"
    );
}

#[test]
fn a_busy_relay_keeps_its_children_and_takes_orphans_but_no_newcomers() {
    let mut relay = Viewer::relay();
    relay.is_joined_by(10, Attach::newcomer());
    (0..2).for_each(|_| relay.rests_for(2 * SECOND));
    let slots = |outputs: &[Output]| {
        outputs.iter().find_map(|output| match output {
            Output::Control(_, Message::Tree(TreeMessage::Aggregate(sum))) => Some(sum.free[0]),
            _ => None,
        })
    };
    let kept = relay.give(Input::Busy(true));
    assert!(!kept.iter().any(|output| matches!(output, Output::Unserve(_))), "{kept:?}");
    assert_eq!(slots(&kept), Some(0), "its parent hears of it: {kept:?}");
    let newcomer = relay.hears(20, Message::Tree(TreeMessage::Attach(Attach::newcomer())));
    assert!(
        !says(&newcomer, 20, |message| matches!(message, Message::Tree(TreeMessage::Accept { .. }))),
        "{newcomer:?}"
    );
    let orphan = Attach { path: path(&[3, 5, 10, 21]), ..Attach::newcomer() };
    let (orphan, _) = relay.is_joined_by(21, orphan);
    assert!(
        says(&orphan, 21, |message| matches!(message, Message::Tree(TreeMessage::Accept { .. }))),
        "{orphan:?}"
    );

    (0..2).for_each(|_| relay.rests_for(2 * SECOND));
    assert_eq!(slots(&relay.give(Input::Busy(false))), Some(2));
    let (newcomer, _) = relay.is_joined_by(22, Attach::newcomer());
    assert!(
        says(&newcomer, 22, |message| matches!(message, Message::Tree(TreeMessage::Accept { .. }))),
        "{newcomer:?}"
    );
}
