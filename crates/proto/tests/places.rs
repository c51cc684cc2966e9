//! Who gets a place where all are taken.

mod samples;

use std::collections::BTreeSet;

use plenary_proto::bounded::List;
use plenary_proto::message::{Attach, LinkKind, Message, Offer, Path};
use plenary_proto::{Address, Input, Output, Verdict};
use samples::viewer::{SECOND, Viewer};
use samples::{description, key};

/// A relay, fed by key 3.
fn relay() -> Viewer {
    let mut relay = Viewer::new();
    relay.is_taken_by(3, &[3]);
    relay.give(Input::Fed(key(3).id()));
    // nobody tells it what its uplink carries
    for second in [2, 40] {
        relay.rests_until(second * SECOND);
    }
    relay
}

fn path(peers: &[u8]) -> Path {
    List::truncated(peers.iter().map(|peer| key(*peer).id().short()))
}

/// A viewer wants to be fed, and says so once it is taken and linked; gives what is done about both.
fn comes(relay: &mut Viewer, peer: u8, attach: Attach) -> (Vec<Output>, Vec<Output>) {
    let taken = relay.hears(peer, Message::Attach(attach));
    relay.hears(peer, Message::Offer(Offer { kind: LinkKind::Peer, description: description() }));
    relay.give(Input::LinkUp(key(peer).id(), LinkKind::Peer));
    (taken, relay.hears(peer, Message::Feed { from: None }))
}

fn says(outputs: &[Output], to: u8, what: impl Fn(&Message) -> bool) -> bool {
    outputs.iter().any(|output| match output {
        Output::Control(peer, message) | Output::Signal(Address::Peer(peer), message) => {
            *peer == key(to).id() && what(message)
        }
        _ => false,
    })
}

#[test]
fn who_feeds_others_is_taken_though_even_the_slot_in_reserve_is_held_by_those_that_cannot() {
    let mut relay = relay();
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
        let (taken, served) = comes(&mut relay, peer, Attach::newcomer());
        assert!(says(&taken, peer, |message| matches!(message, Message::Accept { .. })), "{taken:?}");
        count(&served);
    }
    // its parent is a child of ours, and feeds it nothing
    let orphan = Attach { path: path(&[3, 5, 13, 14]), ..Attach::newcomer() };
    let (_, served) = comes(&mut relay, 14, orphan);
    assert_eq!(count(&served).len(), 5);
    relay.rests_until(relay.now + 5 * SECOND);

    let (taken, served) = comes(&mut relay, 15, Attach { room: 4, ..Attach::newcomer() });
    assert!(says(&taken, 15, |message| matches!(message, Message::Accept { .. })), "{taken:?}");
    assert!(count(&taken).len() == 5, "those that are fed stay until it is linked");
    let now = count(&served);
    assert!(now.len() == 5 && now.contains(&key(15).id()), "{now:?}");
    let gone = (10..15).find(|peer| !now.contains(&key(*peer).id())).unwrap();
    let below = |message: &Message| match message {
        Message::Shed { places } => places.iter().any(|place| place.peer == key(15).id()),
        _ => false,
    };
    assert!(says(&served, gone, below), "who made way is sent below it: {served:?}");

    let (taken, _) = comes(&mut relay, 16, Attach { room: 4, ..Attach::newcomer() });
    assert!(says(&taken, 16, |message| matches!(message, Message::Redirect { .. })), "{taken:?}");
}

#[test]
fn whose_parent_fails_tells_those_it_has_just_begun_to_feed_and_no_others() {
    let mut relay = relay();
    comes(&mut relay, 10, Attach::newcomer());
    relay.rests_until(relay.now + SECOND);
    let (_, served) = comes(&mut relay, 11, Attach::newcomer());
    assert!(says(&served, 11, |message| matches!(message, Message::Feeding { path, .. } if path.len() == 2)));
    let failed = relay.give(Input::Verdict { peer: key(3).id(), verdict: Verdict::Silent });
    let none_left = |message: &Message| matches!(message, Message::Feeding { path, .. } if path.is_empty());
    assert!(says(&failed, 11, none_left), "{failed:?}");
    assert!(!says(&failed, 10, none_left), "it watches for itself: {failed:?}");
}
