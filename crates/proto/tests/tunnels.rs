//! Links that others carry: who is asked, who carries, and when it ends.

use plenary_proto::message::{LinkKind, Message, TunnelMessage};
use plenary_proto::{Input, Output, PeerId, RoomConfig, TunnelCommand, Via};

use crate::samples::brain::{Brain, SECOND, receivers, said, says, speaker, untimed, viewing};
use crate::samples::key;

type Command = TunnelCommand<(PeerId, LinkKind), PeerId>;

const KIND: LinkKind = LinkKind::Peer;

fn speaking() -> RoomConfig {
    RoomConfig { speaks: true, ..viewing() }
}

/// Seeds of three keys in the order of their ids.
fn in_order() -> [u8; 3] {
    let mut seeds = [5, 6, 7];
    seeds.sort_by_key(|seed| key(*seed).id());
    seeds
}

/// The speaker with the lowest of three ids, beside a host. It can't reach the speaker with the highest id. Returns its
/// brain, and the seeds of the two other speakers.
fn cut_off() -> (Brain, u8, u8) {
    let [low, middle, high] = in_order();
    let mut brain = Brain::new(low, speaking());
    brain.unlinked.insert(key(high).id());
    brain.adopts(&[2, 5, 6, 7].map(speaker), |_| {});
    (brain, middle, high)
}

fn commands(outputs: &[Output]) -> Vec<Command> {
    let command = |output: &Output| match output {
        Output::Tunnel(command) => Some(*command),
        _ => None,
    };
    outputs.iter().filter_map(command).collect()
}

fn is_wanted(message: &Message) -> bool {
    matches!(message, Message::Tunnel(TunnelMessage::Wanted { .. }))
}

fn wanted(with: u8) -> Message {
    Message::Tunnel(TunnelMessage::Wanted { with: key(with).id(), kind: KIND })
}

fn unwanted(with: u8) -> Message {
    Message::Tunnel(TunnelMessage::Unwanted { with: key(with).id(), kind: KIND })
}

fn opened(with: u8, channel: u16) -> Message {
    Message::Tunnel(TunnelMessage::Opened { with: key(with).id(), kind: KIND, channel })
}

fn closed(with: u8) -> Message {
    Message::Tunnel(TunnelMessage::Closed { with: key(with).id(), kind: KIND })
}

fn misses_path(brain: &mut Brain, other: u8) -> Vec<Output> {
    brain.give(Input::PathWanted(key(other).id(), KIND))
}

/// The link with a peer comes up through a tunnel.
fn is_carried(brain: &mut Brain, other: u8) -> Vec<Output> {
    brain.give(Input::LinkCarried(key(other).id(), KIND, true));
    brain.is_linked_with(key(other).id(), KIND)
}

#[test]
fn two_members_are_asked_to_carry_a_link_and_the_host_first() {
    let (mut brain, middle, high) = cut_off();
    let outputs = misses_path(&mut brain, high);
    assert_eq!(receivers(&outputs, is_wanted), [2, middle]);
    let (link, carrier) = ((key(high).id(), KIND), key(2).id());
    let outputs = brain.hears(2, opened(high, 9));
    assert_eq!(commands(&outputs), [Command::Open { link, carrier, channel: 9 }]);
    brain.hears(middle, opened(high, 300));
    assert!(commands(&is_carried(&mut brain, high)).is_empty(), "both stay");
    let renewed = untimed(brain.runs_for(11 * SECOND));
    assert_eq!(receivers(&renewed, is_wanted), [2, middle]);
}

#[test]
fn the_end_with_the_higher_id_asks_nobody_and_takes_what_it_is_told() {
    let [low, _, high] = in_order();
    let mut brain = Brain::new(high, speaking());
    brain.unlinked.insert(key(low).id());
    brain.adopts(&[2, 5, 6, 7].map(speaker), |_| {});
    brain.hears(low, crate::samples::offer(KIND));
    assert!(receivers(&misses_path(&mut brain, low), is_wanted).is_empty());
    let (link, carrier) = ((key(low).id(), KIND), key(2).id());
    let outputs = brain.hears(2, opened(low, 9));
    assert_eq!(commands(&outputs), [Command::Open { link, carrier, channel: 9 }]);
    assert!(receivers(&untimed(brain.runs_for(3 * SECOND)), is_wanted).is_empty());
}

#[test]
fn a_carrier_that_refuses_is_silent_or_dies_is_replaced() {
    let (mut brain, middle, high) = cut_off();
    misses_path(&mut brain, high);
    let left = || [2, middle];
    brain.hears(2, closed(high));
    let asked = untimed(brain.runs_for(2 * SECOND));
    assert!(receivers(&asked, is_wanted).is_empty(), "there is no other one");
    let asked = untimed(brain.runs_for(9 * SECOND));
    assert!(receivers(&asked, is_wanted).is_empty(), "the link was given up meanwhile");
    let (mut brain, middle, high) = cut_off();
    misses_path(&mut brain, high);
    left().iter().enumerate().for_each(|(at, carrier)| _ = brain.hears(*carrier, opened(high, at as u16)));
    is_carried(&mut brain, high);
    let outputs = brain.loses_link(middle);
    let (link, carrier) = ((key(high).id(), KIND), key(middle).id());
    assert_eq!(commands(&outputs), [Command::Shut { link, carrier }]);
    brain.is_linked_by(middle);
    let asked = untimed(brain.runs_for(11 * SECOND));
    assert!(receivers(&asked, is_wanted).contains(&middle), "it is back");
}

#[test]
fn a_link_that_is_direct_after_all_needs_no_tunnel() {
    let (mut brain, middle, high) = cut_off();
    misses_path(&mut brain, high);
    brain.hears(2, opened(high, 9));
    let outputs = brain.is_linked_with(key(high).id(), KIND);
    let (link, carrier) = ((key(high).id(), KIND), key(2).id());
    assert_eq!(commands(&outputs), [Command::Shut { link, carrier }]);
    for carrier in [2, middle] {
        assert!(said(&outputs, carrier).contains(&&unwanted(high)), "{carrier}");
    }
    let late = brain.hears(middle, opened(high, 4));
    assert!(commands(&late).is_empty() && says(&late, middle, |message| *message == unwanted(high)));
    assert!(receivers(&untimed(brain.runs_for(12 * SECOND)), is_wanted).is_empty());
}

#[test]
fn the_rendezvous_carries_where_no_peer_does() {
    let (mut brain, middle, high) = cut_off();
    brain.give(Input::RendezvousCarries(true));
    misses_path(&mut brain, high);
    assert!(commands(&brain.hears(2, closed(high))).is_empty(), "another one was asked");
    let peer = key(high).id();
    let outputs = brain.hears(middle, closed(high));
    assert_eq!(commands(&outputs), [Command::OpenByRendezvous { link: (peer, KIND), peer }]);
}

/// A host linked with all others, and its first tunnel between 5 and 6.
fn carrying(config: RoomConfig) -> (Brain, Vec<Output>) {
    let mut brain = Brain::new(2, RoomConfig { speaks: true, ..config });
    brain.adopts(&[2, 5, 6, 7].map(speaker), |_| {});
    [5, 6, 7].iter().for_each(|peer| _ = brain.is_linked_by(*peer));
    let outputs = brain.hears(5, wanted(6));
    (brain, outputs)
}

#[test]
fn a_member_carries_between_peers_that_it_is_linked_with() {
    let (mut brain, outputs) = carrying(viewing());
    let [Command::Carry { channel, between }] = commands(&outputs)[..] else { panic!("{outputs:?}") };
    assert_eq!(between, [5, 6].map(|end| key(end).id()));
    assert!(
        said(&outputs, 5).contains(&&opened(6, channel)) && said(&outputs, 6).contains(&&opened(5, channel))
    );
    let again = brain.hears(6, wanted(5));
    assert!(commands(&again).is_empty() && said(&again, 6) == [&opened(5, channel)], "it is the same tunnel");
    let outputs = brain.hears(6, unwanted(5));
    assert_eq!(commands(&outputs), [Command::Uncarry { channel }]);
    assert_eq!(said(&outputs, 5), [&closed(6)]);
}

#[test]
fn nobody_carries_for_strangers_itself_or_by_a_link_that_is_carried() {
    let (mut brain, _) = carrying(viewing());
    for with in [8, 2, 5] {
        assert!(commands(&brain.hears(5, wanted(with))).is_empty(), "{with}");
    }
    assert_eq!(said(&brain.hears(5, wanted(8)), 5), [&closed(8)]);
    let message = wanted(7);
    assert!(!brain.room.may_say(&key(5).id(), &Via::Signal, &message), "not on a link");
    brain.loses_link(7);
    brain.hears(7, crate::samples::offer(KIND));
    is_carried(&mut brain, 7);
    assert_eq!(said(&brain.hears(5, wanted(7)), 5), [&closed(7)]);
    let (_, outputs) = carrying(RoomConfig { carries: false, ..viewing() });
    assert!(commands(&outputs).is_empty() && said(&outputs, 5).contains(&&closed(6)));
}

#[test]
fn a_tunnel_ends_with_an_end_s_link_or_when_nobody_renews_it() {
    let (mut brain, outputs) = carrying(viewing());
    let [Command::Carry { channel, .. }] = commands(&outputs)[..] else { panic!("{outputs:?}") };
    let outputs = brain.loses_link(6);
    assert_eq!(commands(&outputs), [Command::Uncarry { channel }]);
    assert!(said(&outputs, 5).contains(&&closed(6)));
    let outputs = brain.hears(5, wanted(7));
    let [Command::Carry { channel, .. }] = commands(&outputs)[..] else { panic!("{outputs:?}") };
    assert!(commands(&untimed(brain.runs_for(20 * SECOND))).is_empty());
    brain.hears(5, wanted(7));
    assert!(commands(&untimed(brain.runs_for(29 * SECOND))).is_empty());
    let outputs = untimed(brain.runs_for(2 * SECOND));
    assert_eq!(commands(&outputs), [Command::Uncarry { channel }]);
    assert!(said(&outputs, 5).contains(&&closed(7)) && said(&outputs, 7).contains(&&closed(5)));
}

#[test]
fn a_carrier_takes_sixteen_links_and_eight_of_them_of_the_audience() {
    let mut brain = Brain::new(2, RoomConfig { speaks: true, ..viewing() });
    brain.adopts(&[speaker(2), speaker(5)], |_| {});
    let viewers: Vec<u8> = (20..50).collect();
    [5].iter().chain(&viewers).for_each(|peer| _ = brain.is_linked_by(*peer));
    let mut carried = |pairs: &mut dyn Iterator<Item = (u8, u8)>| {
        pairs.filter(|(from, with)| !commands(&brain.hears(*from, wanted(*with))).is_empty()).count()
    };
    assert_eq!(carried(&mut viewers.chunks(2).map(|pair| (pair[0], pair[1]))), 8);
    assert_eq!(carried(&mut viewers.iter().map(|viewer| (*viewer, 5))), 8, "sixteen in all");
}

#[test]
fn a_thousand_requests_of_one_peer_are_answered_by_a_hundred() {
    let (mut brain, _) = carrying(viewing());
    let answered = (0..1_000).filter(|_| !said(&brain.hears(5, wanted(6)), 5).is_empty()).count();
    assert!((100..130).contains(&answered), "{answered}");
    assert!(!said(&brain.hears(6, wanted(5)), 6).is_empty(), "another one's are answered");
}
