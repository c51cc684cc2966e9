//! Who may come in, and who is put out: the host's answers, tickets, removal, and keys of later invites.

use crate::samples::brain::{
    Brain, MS, SECOND, admitting, candidate, events, hosting, path, places_below, roster_of, said, says,
    speaker, untimed, viewing,
};
use crate::samples::viewer::Viewer;
use crate::samples::{NOW, key, room, ticket};
use plenary_proto::bounded::{List, Text};
use plenary_proto::message::*;
use plenary_proto::seal::{Invite, RoomSecret, Signed};
use plenary_proto::{Command, Event, HostConfig, Input, Output, RoomConfig, Via};

/// A host, key 2, that neither mixes nor views.
fn host_with(change: impl FnOnce(&mut HostConfig)) -> Brain {
    let mut host = hosting();
    change(&mut host);
    Brain::new(2, RoomConfig { host: Some(host), speaks: true, views: false, ..viewing() })
}

fn host() -> Brain {
    host_with(|_| {})
}

fn join(ticket: Option<Signed<Ticket>>) -> Message {
    Message::Member(MemberMessage::Join(Join { name: Text::truncated("Zoë"), ticket, ..Join::viewer("x") }))
}

/// The host's answer to a joiner.
#[derive(Debug, PartialEq)]
enum Answer {
    Admitted,
    Refused(Refusal),
    Waits,
    Nothing,
}

fn answer(outputs: &[Output], to: u8) -> Answer {
    let answers = said(outputs, to).into_iter().find_map(|message| match message {
        Message::Member(MemberMessage::Admit(_)) => Some(Answer::Admitted),
        Message::Member(MemberMessage::Refuse(refusal)) => Some(Answer::Refused(refusal.signed.body)),
        Message::Member(MemberMessage::InLobby) => Some(Answer::Waits),
        _ => None,
    });
    answers.unwrap_or(Answer::Nothing)
}

fn asks(host: &mut Brain, peer: u8) -> Answer {
    let outputs = host.hears(peer, join(None));
    answer(&outputs, peer)
}

/// Returns the ticket in an admission.
fn ticket_in(outputs: &[Output], to: u8) -> Signed<Ticket> {
    let tickets = said(outputs, to).into_iter().find_map(|message| match message {
        Message::Member(MemberMessage::Admit(admit)) => admit.ticket.clone(),
        _ => None,
    });
    tickets.expect("a ticket")
}

#[test]
fn a_locked_room_admits_nobody_new_and_whoever_is_in_may_come_back() {
    let mut host = host();
    let admitted = host.hears(5, join(None));
    assert_eq!(answer(&admitted, 5), Answer::Admitted);
    host.give(Input::Command(Command::Lock(true)));
    assert_eq!(asks(&mut host, 6), Answer::Refused(Refusal::Locked));
    assert_eq!(asks(&mut host, 5), Answer::Admitted, "it is in the directory");
    let ticket = ticket_in(&admitted, 5);
    host.give(Input::Command(Command::Lock(false)));
    assert_eq!(asks(&mut host, 6), Answer::Admitted);

    // a host that knows nothing but the ticket, as after a restart
    let mut host = host_with(|_| {});
    host.give(Input::Command(Command::Lock(true)));
    let outputs = host.hears(5, join(Some(ticket.clone())));
    assert_eq!(answer(&outputs, 5), Answer::Admitted);
    let outputs = host.hears(6, join(Some(ticket)));
    assert_eq!(answer(&outputs, 6), Answer::Refused(Refusal::Locked), "another peer's ticket");
}

#[test]
fn a_removed_peer_is_refused_for_good_whatever_it_shows() {
    let mut host = host();
    let ticket = ticket_in(&host.hears(5, join(None)), 5);
    let outputs = host.give(Input::Command(Command::Remove(key(5).id())));
    let names_it = |message: &Message| match message {
        Message::Member(MemberMessage::Roster(roster)) => {
            roster.body.rules.access.removed[..] == [key(5).id()]
        }
        _ => false,
    };
    assert!(says(&outputs, 5, names_it), "it is told at once: {outputs:?}");
    assert_eq!(asks(&mut host, 5), Answer::Refused(Refusal::Removed));
    let outputs = host.hears(5, join(Some(ticket)));
    assert_eq!(answer(&outputs, 5), Answer::Refused(Refusal::Removed));
    let mut restarted = host_with(|host| host.removed = vec![key(5).id()]);
    assert_eq!(asks(&mut restarted, 5), Answer::Refused(Refusal::Removed));
    assert_eq!(asks(&mut restarted, 6), Answer::Admitted);
}

#[test]
fn the_host_names_the_last_of_many_removed_peers_and_never_itself() {
    let mut host = host();
    host.give(Input::Command(Command::Remove(key(2).id())));
    assert!(host.room.roster().unwrap().rules.access.removed.is_empty());
    (3..100).for_each(|peer| _ = host.give(Input::Command(Command::Remove(key(peer).id()))));
    let removed = host.room.roster().unwrap().rules.access.removed.to_vec();
    let last: Vec<_> = (100 - REMOVED_MAX as u8..100).map(|peer| key(peer).id()).collect();
    assert_eq!(removed, last);
}

#[test]
fn a_newcomer_waits_in_the_lobby_until_the_host_decides() {
    let mut host = host_with(|host| (host.lobby, host.members) = (true, vec![key(9).id()]));
    let outputs = host.hears(5, join(None));
    assert_eq!(answer(&outputs, 5), Answer::Waits);
    assert!(events(&outputs).contains(&&Event::Knock {
        peer: key(5).id(),
        name: "Zoë".to_owned(),
        mixes: false
    }));
    let outputs = host.hears(5, join(None));
    assert!(events(&outputs).is_empty(), "the application knows");
    assert_eq!(host.room.lobby().unwrap().count(), 1);
    let outputs = host.give(Input::Command(Command::Admit(key(5).id())));
    assert_eq!(answer(&outputs, 5), Answer::Admitted, "without another request");
    assert_eq!(host.room.lobby().unwrap().count(), 0);
    host.rests_for(SECOND);
    assert_eq!(asks(&mut host, 5), Answer::Admitted, "it need not wait again");

    assert_eq!(asks(&mut host, 6), Answer::Waits);
    let outputs = host.give(Input::Command(Command::Deny(key(6).id())));
    assert_eq!(answer(&outputs, 6), Answer::Refused(Refusal::Denied));

    assert_eq!(asks(&mut host, 9), Answer::Admitted, "a member");
    host.give(Input::Command(Command::Admit(key(7).id())));
    assert_eq!(asks(&mut host, 7), Answer::Admitted, "let in before it came");
}

#[test]
fn the_lobby_holds_64_peers_and_forgets_those_that_ask_no_more() {
    let mut host = host_with(|host| host.lobby = true);
    (10..74).for_each(|peer| assert_eq!(asks(&mut host, peer), Answer::Waits));
    assert_eq!(asks(&mut host, 80), Answer::Nothing);
    host.rests_for(16 * SECOND);
    assert_eq!(host.room.lobby().unwrap().count(), 0, "also before anybody else asks");
    assert_eq!(asks(&mut host, 80), Answer::Waits);
    assert_eq!(host.room.lobby().unwrap().count(), 1);
}

#[test]
fn a_peer_in_the_lobby_tells_its_application_once() {
    let mut viewer = Brain::new(5, viewing());
    let told = |outputs: &[Output]| events(outputs).contains(&&Event::InLobby);
    assert!(told(&viewer.hears(2, Message::Member(MemberMessage::InLobby))));
    assert!(!told(&viewer.hears(2, Message::Member(MemberMessage::InLobby))));
}

#[test]
fn an_ended_room_admits_nobody_and_each_peer_passes_the_news_on() {
    let mut host = host();
    host.hears(5, join(None));
    let outputs = host.give(Input::Command(Command::End));
    assert!(events(&outputs).contains(&&Event::Ended));
    assert_eq!(asks(&mut host, 5), Answer::Refused(Refusal::Closed));

    let mut relay = Viewer::relay();
    relay.is_joined_by(20, Attach::newcomer());
    let outputs = relay.adopts(&[speaker(2), candidate(3)], |roster| roster.rules.access.ended = true);
    assert!(events(&outputs).contains(&&Event::Ended));
    assert!(
        says(&outputs, 20, |message| matches!(message, Message::Member(MemberMessage::Roster(_)))),
        "{outputs:?}"
    );
}

#[test]
fn the_end_is_told_to_the_lobby_and_to_viewers_without_a_parent() {
    let mut host = host_with(|host| (host.lobby, host.members) = (true, vec![key(5).id()]));
    assert_eq!(asks(&mut host, 5), Answer::Admitted);
    assert_eq!(asks(&mut host, 6), Answer::Waits);
    let outputs = host.give(Input::Command(Command::End));
    assert_eq!(answer(&outputs, 6), Answer::Refused(Refusal::Closed));
    let ended = |message: &Message| {
        matches!(message, Message::Member(MemberMessage::Roster(roster))
            if roster.signed.body.rules.access.ended)
    };
    assert!(says(&outputs, 5, ended), "{outputs:?}");
    assert_eq!(host.room.lobby().unwrap().count(), 0);
}

#[test]
fn the_host_lists_raised_hands_until_it_decides_or_they_are_lowered() {
    let raises = |speaks: bool| Message::Member(MemberMessage::Join(Join { speaks, ..Join::viewer("Zoë") }));
    let mut host = host_with(|host| host.stage_open = false);
    let hands = |host: &Brain| -> Vec<String> {
        host.room.hands().into_iter().map(|(_, name)| name.to_owned()).collect()
    };
    for peer in 5..8 {
        assert_eq!(hands(&host), Vec::<String>::new(), "before {peer}");
        host.rests_for(SECOND);
        host.hears(peer, raises(false));
        host.rests_for(SECOND);
        host.hears(peer, raises(true));
        assert_eq!(hands(&host), ["Zoë"]);
        host.rests_for(SECOND);
        match peer {
            5 => _ = host.give(Input::Command(Command::Demote(key(peer).id()))),
            6 => _ = host.hears(peer, raises(false)),
            _ => _ = host.hears(peer, Message::Member(MemberMessage::Leave)),
        }
    }
    assert_eq!(hands(&host), Vec::<String>::new());
}

#[test]
fn a_speaker_that_may_not_mix_is_told_that_the_stage_is_closed() {
    let mut host = host_with(|host| host.stage_open = false);
    let speaks = Join { speaks: true, mixes: true, views: false, ..Join::viewer("Zoë") };
    let outputs = host.hears(5, Message::Member(MemberMessage::Join(speaks)));
    assert_eq!(answer(&outputs, 5), Answer::Refused(Refusal::StageClosed));
    assert!(host.room.hands().is_empty() && !outputs.iter().any(|output| matches!(output, Output::Event(_))));
}

#[test]
fn a_joiner_by_a_replaced_invite_is_refused_by_the_host_only() {
    let asks = || {
        let message = join(None).verify(&room(), &key(1).id(), NOW).unwrap();
        Input::OldInvite { from: key(5).id(), via: Via::Signal, message }
    };
    assert_eq!(answer(&host().give(asks()), 5), Answer::Refused(Refusal::OldInvite));
    assert_eq!(answer(&Viewer::relay().give(asks()), 5), Answer::Nothing);
}

/// Links a peer whose ticket ends before the link is up.
fn links_as_stranger(relay: &mut Viewer, peer: u8) -> Vec<Output> {
    let kind = LinkKind::Peer;
    relay.unlinked.insert(key(peer).id());
    let expires = NOW + relay.now / SECOND + 1;
    let ends_soon = Signed::new(&key(2), &room(), 7, 15, expires, Ticket { peer: key(peer).id() });
    let ticket = Some(Box::new(ends_soon));
    let mut asked =
        relay.hears(peer, Message::Link(LinkMessage::LinkWanted { kind, ticket: ticket.clone() }));
    let description = crate::samples::description();
    asked.extend(relay.hears(peer, Message::Link(LinkMessage::Offer(Offer { kind, description, ticket }))));
    let is_link = |output: &Output| matches!(output, Output::Offer { .. } | Output::Answer { .. });
    assert!(asked.iter().any(is_link), "{asked:?}");
    relay.rests_for(SECOND);
    relay.give(Input::LinkUp(key(peer).id(), kind))
}

fn is_state(message: &Message) -> bool {
    matches!(
        message,
        Message::Member(MemberMessage::Roster(_))
            | Message::Election(ElectionMessage::Decided(_))
            | Message::Failover(FailoverMessage::Failover(_))
            | Message::Data(DataMessage::DataStands(_))
            | Message::Member(MemberMessage::Key(_))
    )
}

fn closes(outputs: &[Output], peer: u8) -> bool {
    outputs.contains(&Output::Close(key(peer).id(), LinkKind::Peer))
}

#[test]
fn a_linked_peer_whose_ticket_has_ended_is_parted_from_after_10_s() {
    let mut relay = Viewer::relay();
    let outputs = links_as_stranger(&mut relay, 20);
    assert!(!says(&outputs, 20, is_state), "{outputs:?}");
    let outputs = untimed(relay.runs_for(9_900 * MS));
    assert!(!says(&outputs, 20, is_state) && !closes(&outputs, 20));
    assert!(closes(&untimed(relay.runs_for(200 * MS)), 20));
}

#[test]
fn a_linked_peer_is_told_the_state_of_the_room_once_it_shows_its_ticket() {
    let mut relay = Viewer::relay();
    links_as_stranger(&mut relay, 20);
    let outputs = relay.hears(20, Message::Member(MemberMessage::Ticket(ticket(20, 2))));
    assert!(says(&outputs, 20, is_state), "{outputs:?}");
    assert!(!closes(&untimed(relay.runs_for(60 * SECOND)), 20));
}

#[test]
fn only_tickets_of_peers_on_stage_count_and_only_for_those_they_name() {
    for (shown, why) in [
        (ticket(21, 2), "another peer's"),
        (ticket(20, 20), "signed by itself"),
        (ticket(20, 30), "signed by a viewer"),
        (Signed { expires_unix_s: NOW, ..ticket(20, 2) }, "expired"),
    ] {
        let mut relay = Viewer::relay();
        links_as_stranger(&mut relay, 20);
        let shown = Signed::new(
            &(1..100).map(key).find(|key| key.id() == shown.sender).unwrap(),
            &room(),
            7,
            15,
            shown.expires_unix_s,
            shown.body,
        );
        let message =
            Message::Member(MemberMessage::Ticket(shown.clone())).verify(&room(), &key(1).id(), NOW);
        let Ok(message) = message else { continue };
        let via = plenary_proto::Via::Link;
        let outputs = relay.give(Input::Message { from: key(20).id(), via, message });
        assert!(!says(&outputs, 20, is_state), "{why}");
        let attach = Message::Tree(TreeMessage::Attach(Attach { ticket: Some(shown), ..Attach::newcomer() }));
        let outputs = relay.hears(20, attach);
        let reasons: Vec<_> = said(&outputs, 20);
        assert!(
            matches!(reasons[..], [Message::Tree(TreeMessage::Refused { reason: Refused::NoTicket, .. })]),
            "{why}: {reasons:?}"
        );
        let outputs = relay.hears(20, Message::Tree(TreeMessage::Feed { from: None }));
        assert!(says(&outputs, 20, |message| *message == Message::Tree(TreeMessage::Dismiss)), "{why}");
    }
}

#[test]
fn a_removed_child_gets_nothing_more_and_its_link_is_closed_once_it_knows() {
    let mut relay = Viewer::relay();
    relay.is_joined_by(20, Attach::newcomer());
    let remove = |roster: &mut Roster| roster.rules.access.removed = List::truncated([key(20).id()]);
    let outputs = relay.adopts(&[speaker(2), candidate(3)], remove);
    assert!(outputs.contains(&Output::Unserve(key(20).id())), "{outputs:?}");
    assert!(says(&outputs, 20, |message| matches!(message, Message::Member(MemberMessage::Roster(_)))));
    assert!(!closes(&outputs, 20));
    assert!(closes(&untimed(relay.runs_for(300 * MS)), 20));
    let (taken, _) = relay.is_joined_by(20, Attach::newcomer());
    let reasons = said(&taken, 20);
    assert!(
        matches!(reasons[..], [Message::Tree(TreeMessage::Refused { reason: Refused::NoTicket, .. }), ..]),
        "{reasons:?}"
    );
}

#[test]
fn members_drop_what_a_removed_peer_says_and_do_not_let_it_in() {
    let mut relay = Viewer::relay();
    relay.is_joined_by(20, Attach::newcomer());
    let said = [
        Message::Tree(TreeMessage::Feed { from: None }),
        Message::Probe(ProbeMessage::UplinkWanted),
        Message::Data(DataMessage::DataHeld(List::new())),
    ];
    let hears = |relay: &Viewer, message: &Message| relay.room.may_say(&key(20).id(), &Via::Link, message);
    assert!(said.iter().all(|message| hears(&relay, message)));
    let remove = |roster: &mut Roster| roster.rules.access.removed = List::truncated([key(20).id()]);
    relay.adopts(&[speaker(2), candidate(3)], remove);
    assert!(!said.iter().any(|message| hears(&relay, message)));
    assert!(hears(&relay, &Message::Tree(TreeMessage::Detach)), "it lets go");
    for shown in [None, Some(ticket(20, 2))] {
        assert_eq!(answer(&relay.hears(20, join(shown)), 20), Answer::Nothing);
    }
    assert_eq!(answer(&relay.hears(21, join(None)), 21), Answer::Admitted);
}

#[test]
fn a_viewer_of_a_removed_parent_turns_to_its_backup_at_once() {
    let mut viewer = Viewer::with_backup();
    let remove = |roster: &mut Roster| roster.rules.access.removed = List::truncated([key(10).id()]);
    let outputs = viewer.adopts(&[speaker(2), candidate(3), candidate(4)], remove);
    assert!(outputs.contains(&Output::RequestFeed(key(11).id())), "{outputs:?}");
}

#[test]
fn a_removed_peer_is_told_so_once() {
    let mut viewer = Viewer::relay();
    let remove = |roster: &mut Roster| roster.rules.access.removed = List::truncated([key(5).id()]);
    let told = |outputs: &[Output]| events(outputs).contains(&&Event::Removed);
    assert!(told(&viewer.adopts(&[speaker(2), candidate(3)], remove)));
    assert!(!told(&viewer.adopts(&[speaker(2), candidate(3)], remove)));
}

#[test]
fn a_ticket_of_a_removed_peer_on_stage_admits_nobody() {
    let mut relay = Viewer::relay();
    let remove = |roster: &mut Roster| roster.rules.access.removed = List::truncated([key(3).id()]);
    relay.adopts(&[speaker(2), candidate(4)], remove);
    links_as_stranger(&mut relay, 20);
    assert!(!says(&relay.hears(20, Message::Member(MemberMessage::Ticket(ticket(20, 3)))), 20, is_state));
    assert!(says(&relay.hears(20, Message::Member(MemberMessage::Ticket(ticket(20, 2)))), 20, is_state));
}

#[test]
fn a_member_asks_for_a_new_ticket_within_five_minutes_and_shows_it() {
    let mut relay = Viewer::relay();
    let admit = |signed: Signed<Ticket>| {
        let Message::Member(MemberMessage::Roster(roster)) =
            roster_of(6, &[speaker(2), candidate(3)], |_| {})
        else {
            unreachable!()
        };
        Message::Member(MemberMessage::Admit(Box::new(Admit { ticket: Some(signed), ..admitting(roster) })))
    };
    let outputs = relay.hears(2, admit(ticket(5, 2)));
    assert!(
        says(&outputs, 3, |message| *message == Message::Member(MemberMessage::Ticket(ticket(5, 2)))),
        "{outputs:?}"
    );
    let asks = |outputs: &[(u64, Output)]| {
        let join = |output: &Output| match output {
            Output::Signal(_, Message::Member(MemberMessage::Join(join)))
            | Output::Control(_, Message::Member(MemberMessage::Join(join))) => Some(join.ticket.clone()),
            _ => None,
        };
        outputs.iter().find_map(|(at, output)| Some((*at, join(output)?)))
    };
    let begun = relay.now;
    let (at, shown) = asks(&relay.runs_for(301 * SECOND)).expect("a request");
    assert!((239 * SECOND..=301 * SECOND).contains(&(at - begun)), "{at}");
    assert_eq!(shown, Some(ticket(5, 2)));
}

#[test]
fn a_key_counts_if_the_roster_names_it_and_is_passed_on_to_members() {
    let root = key(1);
    let invite = Invite::create(&root, (0, RoomSecret([7; 16])), None, true, None, &[], u64::MAX);
    let newer = invite.renewed((1, RoomSecret([8; 16])), &invite.key(None).unwrap()).1;
    let mut relay = Viewer::relay();
    relay.is_joined_by(20, Attach::newcomer());
    let told = newer.for_member();
    relay.adopts(&[speaker(2), candidate(3)], |roster| {
        (roster.rules.access.generation, roster.rules.access.key_hash) = (newer.generation(), newer.hash());
    });
    let forged = GenerationKey { key: [9; 32], ..told.clone() };
    assert!(
        !relay.hears(3, Message::Member(MemberMessage::Key(forged.clone()))).contains(&Output::Key(forged))
    );
    links_as_stranger(&mut relay, 21);
    assert!(
        !relay
            .hears(21, Message::Member(MemberMessage::Key(told.clone())))
            .contains(&Output::Key(told.clone())),
        "from a stranger"
    );
    let outputs = relay.hears(3, Message::Member(MemberMessage::Key(told.clone())));
    assert!(outputs.contains(&Output::Key(told.clone())));
    assert!(says(&outputs, 20, |message| *message == Message::Member(MemberMessage::Key(told.clone()))));
    assert!(!says(&outputs, 21, |message| matches!(message, Message::Member(MemberMessage::Key(_)))));
    let (_, fed) = relay.is_joined_by(22, Attach::newcomer());
    assert!(!fed.is_empty());
}

/// A viewer's report: two hops from the mixer, or unfed.
fn position(parent: Option<u8>, fed_nothing: Option<u8>) -> Message {
    let id = |peer: Option<u8>| peer.map(|peer| key(peer).id());
    let depth = if parent.is_some() { 2 } else { 0 };
    let (name, parent, fed_nothing) = (Text::truncated("Zoë"), id(parent), id(fed_nothing));
    Message::Member(MemberMessage::Position { name, parent, depth, fed_nothing, ticket: None })
}

/// The same report with a ticket.
fn shows(mut report: Message, own: &Signed<Ticket>) -> Message {
    if let Message::Member(MemberMessage::Position { ticket, .. }) = &mut report {
        *ticket = Some(Box::new(own.clone()));
    }
    report
}

#[test]
fn the_host_hears_of_a_viewer_that_forwards_nothing_from_two_members() {
    let mut host = host();
    for peer in 5..12 {
        let ticket = ticket_in(&host.hears(peer, join(None)), peer);
        host.hears(peer, Message::Member(MemberMessage::Ticket(ticket)));
    }
    let named = |outputs: &[Output]| -> Vec<_> {
        let named = |event: &&Event| match event {
            Event::NotForwarding { peer, name } => Some((*peer, name.clone())),
            _ => None,
        };
        events(outputs).iter().filter_map(named).collect()
    };
    let mut says = |from, parent, of| named(&host.hears(from, position(parent, of)));
    assert!(says(6, Some(3), Some(5)).is_empty() && says(6, Some(3), Some(5)).is_empty(), "one alone");
    assert!(says(40, Some(3), Some(5)).is_empty(), "a stranger");
    assert!(
        says(7, Some(3), Some(3)).is_empty() && says(6, Some(3), Some(2)).is_empty(),
        "on stage, or unlisted"
    );
    assert!(says(6, Some(3), Some(5)).is_empty());
    assert_eq!(says(7, Some(3), Some(5)), [(key(5).id(), "Zoë".to_owned())]);
    assert!(says(8, Some(3), Some(5)).is_empty(), "once a minute");
    // an honest relay, of whom as many liars complain as it feeds
    assert!(says(9, Some(11), None).is_empty() && says(10, Some(11), None).is_empty());
    assert!(says(6, Some(3), Some(11)).is_empty() && says(7, Some(3), Some(11)).is_empty());
}

#[test]
fn a_viewer_reports_who_said_that_it_feeds_it_and_sent_nothing() {
    for (answers, told) in [(&[3, 10][..], Some(key(10).id())), (&[], None)] {
        let mut viewer = Viewer::new();
        let Message::Member(MemberMessage::Roster(roster)) =
            roster_of(7, &[speaker(2), candidate(3)], |_| {})
        else {
            unreachable!()
        };
        let admit = Admit { ticket: Some(ticket(5, 2)), ..admitting(roster) };
        viewer.hears(2, Message::Member(MemberMessage::Admit(Box::new(admit))));
        let places = places_below(&[3], &[10]);
        viewer.hears(3, Message::Tree(TreeMessage::Redirect { purpose: Purpose::Parent, places }));
        viewer.is_taken_by(10, &[3, 10]);
        viewer.hears(
            10,
            Message::Tree(TreeMessage::Feeding { path: path(answers), whereabouts: Whereabouts::default() }),
        );
        viewer.runs_for(2 * SECOND);
        viewer.is_fed_by(11, &[3, 11]);
        let outputs = untimed(viewer.runs_for(13 * SECOND));
        let mut reports = outputs.iter().filter_map(|output| match output {
            Output::Signal(_, Message::Member(MemberMessage::Position { parent, fed_nothing, .. }))
            | Output::Control(_, Message::Member(MemberMessage::Position { parent, fed_nothing, .. })) => {
                Some((*parent, *fed_nothing))
            }
            _ => None,
        });
        assert_eq!(reports.next_back(), Some((Some(key(11).id()), told)), "{answers:?}: {outputs:?}");
    }
}

#[test]
fn a_host_that_stood_still_keeps_stage_and_audience() {
    let mut host = host();
    host.hears(
        3,
        Message::Member(MemberMessage::Join(Join { views: false, mixes: true, ..Join::viewer("Mia") })),
    );
    host.hears(5, join(None));
    host.runs_for(SECOND);
    for _ in 0..3 {
        host.give(Input::Heard(key(3).id()));
        host.hears(3, Message::Host(HostMessage::Audience { viewers: 1, recorders: 0 }));
        host.runs_for(SECOND);
    }
    let shown = |host: &Brain| {
        let roster = host.room.roster().unwrap();
        (roster.entries.iter().map(|entry| entry.away).collect::<Vec<_>>(), roster.audience)
    };
    assert_eq!(shown(&host), (vec![false, false], true));
    host.rests_for(8 * SECOND);
    host.runs_for(2 * SECOND);
    assert_eq!(shown(&host), (vec![false, false], true), "it heard nobody, since it didn't listen");
    host.runs_for(10 * SECOND);
    assert_eq!(shown(&host), (vec![false, true], false), "now it would have heard them");
}

#[test]
fn the_host_lists_its_audience_and_where_each_peer_is() {
    let mut host = host();
    host.hears(5, join(None));
    let place = |host: &Brain| {
        host.room
            .directory()
            .unwrap()
            .map(|(peer, entry)| (*peer, entry.parent, entry.depth))
            .collect::<Vec<_>>()
    };
    assert_eq!(place(&host), [(key(5).id(), None, 0)]);
    host.hears(6, position(Some(3), None));
    assert_eq!(place(&host).len(), 1, "a stranger's report");
    let own = ticket_in(&host.hears(5, join(None)), 5);
    host.hears(6, shows(position(Some(3), None), &own));
    assert_eq!(place(&host).len(), 1, "a stranger's, with another's ticket");
    host.hears(5, shows(position(Some(3), None), &own));
    assert_eq!(place(&host), [(key(5).id(), Some(key(3).id()), 2)]);
    host.hears(5, Message::Member(MemberMessage::Leave));
    assert_eq!(place(&host), []);
}

#[test]
fn a_viewer_reports_its_position_after_its_parent_changed() {
    let mut viewer = Viewer::new();
    let Message::Member(MemberMessage::Roster(roster)) = roster_of(7, &[speaker(2), candidate(3)], |_| {})
    else {
        unreachable!()
    };
    let admit = Admit { ticket: Some(ticket(5, 2)), ..admitting(roster) };
    viewer.hears(2, Message::Member(MemberMessage::Admit(Box::new(admit))));
    viewer.is_fed_by(10, &[3, 10]);
    let outputs = untimed(viewer.runs_for(13 * SECOND));
    let mut reports = outputs.iter().filter_map(|output| match output {
        Output::Signal(_, Message::Member(MemberMessage::Position { parent, depth, .. }))
        | Output::Control(_, Message::Member(MemberMessage::Position { parent, depth, .. })) => {
            Some((*parent, *depth))
        }
        _ => None,
    });
    assert!(reports.next_back() == Some((Some(key(10).id()), 2)), "{outputs:?}");
    assert_eq!(*viewer.room.path(), path(&[3, 10, 5]));
}

#[test]
fn only_the_host_mutes_a_speaker() {
    let mut viewer = Viewer::relay();
    let muted = Muted { picture: false, sound: true };
    let mutes = |outputs: &[Output]| events(outputs).contains(&&Event::MutedByHost(muted));
    assert!(!mutes(&viewer.hears(3, Message::Host(HostMessage::MuteWanted(muted)))));
    assert!(mutes(&viewer.hears(2, Message::Host(HostMessage::MuteWanted(muted)))));
}

#[test]
fn a_key_that_overtakes_its_roster_waits_for_it() {
    let invite = Invite::create(&key(1), (0, RoomSecret([7; 16])), None, true, None, &[], u64::MAX);
    let newer = invite.renewed((1, RoomSecret([8; 16])), &invite.key(None).unwrap()).1;
    let told = newer.for_member();
    let mut relay = Viewer::relay();
    let outputs = relay.hears(3, Message::Member(MemberMessage::Key(told.clone())));
    assert!(!outputs.contains(&Output::Key(told.clone())));
    let outputs = relay.adopts(&[speaker(2), candidate(3)], |roster| {
        (roster.rules.access.generation, roster.rules.access.key_hash) = (newer.generation(), newer.hash());
    });
    assert!(outputs.contains(&Output::Key(told)), "{outputs:?}");
}
