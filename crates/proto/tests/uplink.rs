//! Measurement of a viewer's uplink by its parents: a parent gets few trains, and its reports count only
//! after trains.

use crate::samples::brain::{candidate, says, speaker, viewing};
use crate::samples::key;
use crate::samples::viewer::{SECOND, Viewer};
use plenary_proto::message::{Attach, Message, ProbeMessage, TreeMessage};
use plenary_proto::{Input, Output, PeerId, RoomConfig};

fn asks(outputs: &[Output], whom: PeerId) -> bool {
    outputs.iter().any(|output| {
        matches!(output, Output::Control(peer, Message::Probe(ProbeMessage::UplinkWanted))
            if *peer == whom)
    })
}

#[test]
fn parents_that_pass_us_on_to_each_other_get_few_trains_and_small_ones() {
    let mut viewer = Viewer::new();
    let taken = viewer.is_taken_by(3, &[3]);
    assert!(asks(&taken, key(3).id()), "{taken:?}");
    assert!(viewer.sends_trains(3, 200_000, 0).is_empty(), "as fast as it goes only a guess is sent");
    let (mut sent, mut parent) = (Vec::new(), 3);
    while viewer.now < 60 * SECOND {
        sent.extend(viewer.sends_trains(parent, 200_000, 20_000_000));
        let other = 7 - parent;
        viewer.is_shed_by(parent, other);
        viewer.is_taken_by(other, if other == 3 { &[3] } else { &[3, 4] });
        parent = other;
    }
    assert!((1..=12).contains(&sent.len()), "{} trains within a minute", sent.len());
}

#[test]
fn what_a_parent_tells_counts_once_for_each_train() {
    let mut viewer = Viewer::new();
    viewer.is_taken_by(3, &[3]);
    viewer.give(Input::Fed(key(3).id()));
    assert_eq!(viewer.is_told(3, 20_000_000), None, "it has had no train");
    assert!(!viewer.sends_trains(3, 26_400, 0).is_empty());
    for _ in 0..3 {
        assert_eq!(viewer.is_told(3, 20_000_000), Some(20_000_000));
    }
    // the figure is old enough by now to be measured again
    viewer.rests_for(700 * SECOND);
    viewer.is_shed_by(3, 4);
    viewer.is_taken_by(4, &[3, 4]);
    let sent = viewer.sends_trains(4, 26_400, 0).len();
    assert!(sent > 0, "it is asked after so long");
    for _ in 0..sent {
        assert_eq!(viewer.is_told(4, 1_000_000), Some(20_000_000), "another has seen more");
    }
    for bps in [0, 7, 90_000_000] {
        assert_eq!(viewer.is_told(4, bps), Some(20_000_000), "it has said what its trains showed");
    }
}

#[test]
fn what_one_train_alone_has_shown_is_outdone_by_what_several_have() {
    let mut viewer = Viewer::new();
    viewer.is_taken_by(3, &[3]);
    viewer.give(Input::Fed(key(3).id()));
    assert!(!viewer.sends_trains(3, 26_400, 0).is_empty());
    // one train through a radio's stall, released as a burst: it shows too much
    assert_eq!(viewer.is_told(3, 20_000_000), Some(20_000_000));
    viewer.is_shed_by(3, 4);
    viewer.is_taken_by(4, &[3, 4]);
    assert!(viewer.sends_trains(4, 26_400, 0).len() > 1);
    assert_eq!(viewer.is_told(4, 2_000_000), Some(2_000_000), "of two guesses the lower");
    assert_eq!(viewer.is_told(4, 3_000_000), Some(3_000_000));
}

#[test]
fn a_page_without_trains_asks_for_no_measurement_and_takes_children() {
    let config = RoomConfig { sends_trains: false, ..viewing() };
    let mut page = Viewer::among(&[speaker(2), candidate(3)], &[3], &[], config);
    let taken = page.is_taken_by(3, &[3]);
    assert!(!asks(&taken, key(3).id()), "{taken:?}");
    page.give(Input::Fed(key(3).id()));
    page.rests_for(2 * SECOND);
    let outputs = page.hears(20, Message::Tree(TreeMessage::Attach(Attach::newcomer())));
    let is_accept = |message: &Message| matches!(message, Message::Tree(TreeMessage::Accept { .. }));
    assert!(says(&outputs, 20, is_accept), "its user's and the room's limits alone count: {outputs:?}");
}
