//! Links of peers that nobody has let in: the host and members neither offer nor answer, whatever such a peer shows.
//! Members show their tickets, and are linked at once.

use plenary_proto::bounded::{List, Text};
use plenary_proto::message::*;
use plenary_proto::seal::Signed;
use plenary_proto::{Command, HostConfig, Input, Output, RoomConfig, Via};

use crate::samples::brain::{
    Brain, MS, SECOND, admitting, candidate, hosting, path, places_below, roster_of, said, says, speaker,
    viewing,
};
use crate::samples::viewer::Viewer;
use crate::samples::{NOW, description, key, offer, room};

type Shown = Option<Box<Signed<Ticket>>>;

fn host_with(change: impl FnOnce(&mut HostConfig)) -> Brain {
    let mut host = hosting();
    change(&mut host);
    Brain::new(2, RoomConfig { host: Some(host), speaks: true, ..viewing() })
}

fn ticket(by: u8, peer: u8, expires_unix_s: u64) -> Shown {
    Some(Box::new(Signed::new(&key(by), &room(), 7, 15, expires_unix_s, Ticket { peer: key(peer).id() })))
}

/// Gives a message as it stands, through the rendezvous, if the brain listens to it.
fn gives(brain: &mut Brain, from: u8, message: Message) -> Vec<Output> {
    let from = key(from).id();
    if !brain.room.may_say(&from, &Via::Signal, &message) {
        return Vec::new();
    }
    let message = message.verify(&room(), &key(1).id(), NOW + brain.now / SECOND).unwrap();
    brain.give(Input::Message { from, via: Via::Signal, message })
}

/// Asks for a link in both ways, of which its id allows one. Returns whether the brain makes one, and so tells its
/// addresses.
fn gets_a_link(brain: &mut Brain, peer: u8, shown: &Shown) -> bool {
    brain.unlinked.insert(key(peer).id());
    let (kind, ticket) = (LinkKind::Peer, shown.clone());
    let mut outputs =
        gives(brain, peer, Message::Link(LinkMessage::LinkWanted { kind, ticket: ticket.clone() }));
    let description = Description { ufrag: Text::truncated(&format!("anew{}", brain.now)), ..description() };
    outputs.extend(gives(
        brain,
        peer,
        Message::Link(LinkMessage::Offer(Offer { kind, description, ticket })),
    ));
    // whoever has a link would wait for the next one
    brain.give(Input::LinkDown(key(peer).id(), kind));
    brain.rests_for(2 * SECOND);
    let is_its = |output: &Output| match output {
        Output::Offer { peer: with, .. } | Output::Answer { peer: with, .. } => *with == key(peer).id(),
        _ => false,
    };
    outputs.iter().any(is_its)
}

/// What peers show that were not let in.
fn forgeries(peer: u8) -> Vec<(&'static str, Shown)> {
    vec![
        ("nothing", None),
        ("its own word", ticket(peer, peer, NOW + 600)),
        ("another's word", ticket(77, peer, NOW + 600)),
        ("another's ticket", ticket(2, 77, NOW + 600)),
        ("a ticket that has ended", ticket(2, peer, NOW)),
    ]
}

#[test]
fn nobody_whom_the_host_keeps_out_gets_a_link_or_an_address() {
    type Closes = fn(&mut Brain, u8);
    let ways: [(&str, Closes); 5] = [
        ("has not asked", |_, _| ()),
        ("in the lobby", |host, peer| {
            host.give(Input::Command(Command::Lobby(true)));
            let outputs = host.hears(peer, Message::Member(MemberMessage::Join(Join::viewer("Mallory"))));
            assert!(says(&outputs, peer, |message| *message == Message::Member(MemberMessage::InLobby)));
        }),
        ("denied", |host, peer| {
            host.give(Input::Command(Command::Lobby(true)));
            host.hears(peer, Message::Member(MemberMessage::Join(Join::viewer("Mallory"))));
            host.give(Input::Command(Command::Deny(key(peer).id())));
        }),
        ("locked out", |host, peer| {
            host.give(Input::Command(Command::Lock(true)));
            host.hears(peer, Message::Member(MemberMessage::Join(Join::viewer("Mallory"))));
        }),
        ("expired", |host, peer| {
            host.rests_for(20 * SECOND);
            let outputs = host.hears(peer, Message::Member(MemberMessage::Join(Join::viewer("Mallory"))));
            assert!(says(&outputs, peer, |message| matches!(
                message,
                Message::Member(MemberMessage::Refuse(_))
            )));
        }),
    ];
    for (why, closes) in ways {
        let expires = (why == "expired").then_some(10 * SECOND);
        let mut host = host_with(|host| host.invite_expires_us = expires);
        host.rests_for(SECOND);
        for peer in 20..36 {
            closes(&mut host, peer);
            for (shown, ticket) in forgeries(peer) {
                assert!(!gets_a_link(&mut host, peer, &ticket), "{why}, {peer} shows {shown}");
            }
        }
    }
}

#[test]
fn members_make_no_link_with_strangers_also_when_a_guest_vouches() {
    let mut relay = Viewer::relay();
    relay.is_joined_by(20, Attach::newcomer());
    let guests = [speaker(2), candidate(3), Entry { votes: Vote::No, ..candidate(50) }];
    relay.unlinked.insert(key(50).id()); // it may be a landmark
    relay.adopts(&guests, |roster| roster.rules.access.locked = true);
    for peer in 30..46 {
        let by_guest = ("a guest's word in a locked room", ticket(50, peer, NOW + 600));
        for (shown, ticket) in forgeries(peer).into_iter().chain([by_guest]) {
            assert!(!gets_a_link(&mut relay, peer, &ticket), "{peer} shows {shown}");
        }
        assert!(gets_a_link(&mut relay, peer, &ticket(2, peer, NOW + 600)), "{peer} shows the host's word");
    }
    assert!(gets_a_link(&mut relay, 50, &None), "it is on stage");
    assert!(gets_a_link(&mut relay, 20, &None), "it is a child");
}

#[test]
fn an_invalid_ticket_costs_no_signature_and_a_removed_peer_s_offer_goes() {
    let mut relay = Viewer::relay();
    let asks = |ticket| Message::Link(LinkMessage::LinkWanted { kind: LinkKind::Peer, ticket });
    for peer in 30..34 {
        for (shown, ticket) in forgeries(peer) {
            assert!(!relay.room.may_say(&key(peer).id(), &Via::Link, &asks(ticket)), "{shown}");
        }
    }
    // nine strangers with tickets: the last one waits, and is removed meanwhile
    let mut asked = Vec::new();
    let strangers: Vec<u8> = (30..60).filter(|peer| key(*peer).id() < key(5).id()).take(9).collect();
    for peer in &strangers {
        relay.unlinked.insert(key(*peer).id());
        asked.extend(relay.hears(*peer, offer(LinkKind::Peer)));
    }
    let answers =
        |outputs: &[Output]| outputs.iter().filter(|output| matches!(output, Output::Answer { .. })).count();
    assert_eq!(answers(&asked), 8);
    let last = key(strangers[8]).id();
    relay.adopts(&[speaker(2), candidate(3)], |roster| {
        roster.rules.access.removed = List::truncated([last]);
    });
    relay.give(Input::LinkDown(key(strangers[0]).id(), LinkKind::Peer));
    let later = relay.runs_for(3 * SECOND);
    assert!(!later.iter().any(|(_, output)| matches!(output, Output::Answer { .. })), "{later:?}");
}

/// What a request for a link shows.
fn shown_in(message: &Message) -> Option<Shown> {
    match message {
        Message::Link(LinkMessage::LinkWanted { ticket, .. })
        | Message::Link(LinkMessage::Offer(Offer { ticket, .. })) => Some(ticket.clone()),
        _ => None,
    }
}

#[test]
fn a_member_shows_its_ticket_with_each_request_for_a_link() {
    let own = *ticket(2, 5, NOW + 600).unwrap();
    let kind = LinkKind::Peer;
    let mut ways = [0; 2];
    for parent in 10..26 {
        let mut member = Viewer::new();
        let Message::Member(MemberMessage::Roster(roster)) =
            roster_of(8, &[speaker(2), candidate(3)], |_| {})
        else {
            unreachable!()
        };
        let admission = Admit { ticket: Some(own.clone()), ..admitting(roster) };
        member.hears(2, Message::Member(MemberMessage::Admit(Box::new(admission))));
        member.unlinked.insert(key(parent).id());
        let places = places_below(&[3], &[parent]);
        member.hears(3, Message::Tree(TreeMessage::Redirect { purpose: Purpose::Parent, places }));
        let (path, whereabouts) = (path(&[3, parent]), Whereabouts::default());
        let accepted = Message::Tree(TreeMessage::Accept { purpose: Purpose::Parent, path, whereabouts });
        member.hears(parent, accepted);
        // the parent's own offer is lost
        let by = member.now + 1_600 * MS;
        let later = member.runs_until(by);
        let mut outputs: Vec<Output> = later.into_iter().map(|(_, output)| output).collect();
        outputs.extend(member.give(Input::Described {
            peer: key(parent).id(),
            kind,
            description: description(),
        }));
        let shown: Vec<Shown> = said(&outputs, parent).into_iter().filter_map(shown_in).collect();
        assert_eq!(shown, [Some(Box::new(own.clone()))], "{parent}");
        ways[usize::from(key(parent).id() < key(5).id())] += 1;
    }
    assert!(ways.iter().all(|way| *way > 0), "offers and requests for offers: {ways:?}");
}

#[test]
fn a_peer_that_showed_its_ticket_is_told_the_state_once_linked() {
    let mut relay = Viewer::relay();
    relay.unlinked.insert(key(6).id());
    let ticket = ticket(2, 6, NOW + 600);
    let wants = Message::Link(LinkMessage::LinkWanted { kind: LinkKind::Peer, ticket: ticket.clone() });
    let offers =
        Message::Link(LinkMessage::Offer(Offer { kind: LinkKind::Peer, description: description(), ticket }));
    gives(&mut relay, 6, wants);
    gives(&mut relay, 6, offers);
    let outputs = relay.give(Input::LinkUp(key(6).id(), LinkKind::Peer));
    assert!(
        said(&outputs, 6).iter().any(|message| matches!(message, Message::Member(MemberMessage::Roster(_)))),
        "{outputs:?}"
    );
}

#[test]
fn an_offer_that_overtakes_the_admission_is_answered_after_it() {
    let kind = LinkKind::Peer;
    let Message::Member(MemberMessage::Roster(roster)) = roster_of(7, &[speaker(2), candidate(3)], |_| {})
    else {
        unreachable!()
    };
    let answered = |newcomer: u8, after_us: u64| {
        let mut brain = Brain::new(newcomer, viewing());
        let mut outputs = Vec::new();
        for peer in [2, 3, 40] {
            brain.unlinked.insert(key(peer).id());
            outputs.extend(gives(
                &mut brain,
                peer,
                Message::Link(LinkMessage::LinkWanted { kind, ticket: None }),
            ));
            outputs.extend(gives(&mut brain, peer, offer(kind)));
        }
        assert!(!outputs.iter().any(|output| matches!(output, Output::Offer { .. } | Output::Answer { .. })));
        brain.rests_for(after_us);
        let outputs =
            gives(&mut brain, 2, Message::Member(MemberMessage::Admit(Box::new(admitting(roster.clone())))));
        let linked = |peer: u8| {
            let is_its = |output: &Output| match output {
                Output::Offer { peer: with, .. } | Output::Answer { peer: with, .. } => {
                    *with == key(peer).id()
                }
                _ => false,
            };
            outputs.iter().any(is_its)
        };
        [2, 3, 40].map(linked)
    };
    for newcomer in 10..26 {
        assert_eq!(answered(newcomer, 50_000), [true, true, false], "{newcomer}: the stage, and no stranger");
        assert_eq!(answered(newcomer, 5 * SECOND), [false; 3], "{newcomer}: their senders ask again by then");
    }
}
