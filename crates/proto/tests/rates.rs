//! Bit rates of the peers on the program's way, on request.

use crate::children::relay_to_be;
use crate::samples::brain::receivers;
use crate::samples::key;
use crate::samples::viewer::{SECOND, Viewer};
use plenary_proto::bounded::List;
use plenary_proto::message::{Message, PeerRates, ProbeMessage};
use plenary_proto::{Command, Input, Output};

fn rates(peer: u8) -> PeerRates {
    PeerRates { peer: key(peer).id().short(), received_bps: 1_000, sent_bps: 2_000, children: 2 }
}

fn all_of(peers: &[u8]) -> Message {
    Message::Probe(ProbeMessage::Rates(List::truncated(peers.iter().map(|peer| rates(*peer)))))
}

/// Returns the peers that these outputs ask for rates.
fn asked(outputs: &[Output]) -> Vec<u8> {
    receivers(outputs, |message| *message == Message::Probe(ProbeMessage::RatesWanted))
}

#[test]
fn a_viewer_asks_its_parent_for_rates_once_a_second_at_most() {
    let mut viewer = Viewer::new();
    viewer.is_fed_by(10, &[3, 10]);
    let ask = || Input::Command(Command::AskRates);
    assert_eq!(asked(&viewer.give(ask())), [10]);
    assert!(asked(&viewer.give(ask())).is_empty());
    viewer.hears(10, all_of(&[3, 10]));
    assert_eq!(viewer.room.snapshot().rates_above, [rates(3), rates(10)]);
    viewer.rests_for(SECOND);
    assert_eq!(asked(&viewer.give(ask())), [10]);
    viewer.rests_for(10 * SECOND);
    assert!(viewer.room.snapshot().rates_above.is_empty());
}

#[test]
fn rates_count_only_from_the_parent_that_was_asked() {
    let mut viewer = Viewer::with_backup();
    viewer.hears(10, all_of(&[3, 10]));
    assert!(viewer.room.snapshot().rates_above.is_empty(), "nobody was asked");
    viewer.give(Input::Command(Command::AskRates));
    viewer.hears(11, all_of(&[3, 11]));
    assert!(viewer.room.snapshot().rates_above.is_empty(), "the backup wasn't asked");
    viewer.hears(10, all_of(&[3, 10]));
    assert_eq!(viewer.room.snapshot().rates_above.len(), 2);
    viewer.turns_to(12, &[3, 12]);
    assert!(viewer.room.snapshot().rates_above.is_empty());
}

#[test]
fn a_child_gets_the_rates_that_are_known_and_strangers_get_nothing() {
    let mut relay = Viewer::relay();
    relay.is_joined_by(20, relay_to_be());
    let answer = |outputs: &[Output]| {
        let of = |output: &Output| match output {
            Output::AnswerRates { to, above, children } => Some((*to, above.to_vec(), *children)),
            _ => None,
        };
        outputs.iter().find_map(of)
    };
    let outputs = relay.hears(20, Message::Probe(ProbeMessage::RatesWanted));
    assert_eq!(answer(&outputs), Some((key(20).id(), vec![], 1)));
    assert_eq!(asked(&outputs), [3]);
    relay.hears(3, all_of(&[3]));
    assert_eq!(
        answer(&relay.hears(20, Message::Probe(ProbeMessage::RatesWanted))),
        None,
        "it was answered just now"
    );
    relay.rests_for(SECOND);
    assert_eq!(
        answer(&relay.hears(20, Message::Probe(ProbeMessage::RatesWanted))),
        Some((key(20).id(), vec![rates(3)], 1))
    );
    assert!(relay.hears(30, Message::Probe(ProbeMessage::RatesWanted)).is_empty());
}
