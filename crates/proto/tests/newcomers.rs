//! Guests that try to get past the host's rules: by replaced invites, by tickets of their own, by many ids, and by what
//! the host signed in an earlier session.

use plenary_proto::bounded::Text;
use plenary_proto::message::*;
use plenary_proto::seal::{Countersigned, Keypair, Signed};
use plenary_proto::{Address, Command, Event, HostConfig, Input, Output, RoomConfig, Via};

use crate::samples::brain::{
    Brain, SECOND, candidate, consenting, events, hosting, roster_of, said, speaker, viewing,
};
use crate::samples::{NEVER, NOW, key, list, room};

/// A host, key 2, that neither mixes nor views.
fn host_with(change: impl FnOnce(&mut HostConfig)) -> Brain {
    let mut host = hosting();
    change(&mut host);
    Brain::new(2, RoomConfig { host: Some(host), speaks: true, views: false, ..viewing() })
}

fn join(ticket: Option<Signed<Ticket>>) -> Message {
    Message::Member(MemberMessage::Join(Join { name: Text::truncated("Zoë"), ticket, ..Join::viewer("x") }))
}

/// A ticket for a peer, signed by another one.
fn ticket_by(signer: u8, peer: u8) -> Signed<Ticket> {
    Signed::new(&key(signer), &room(), 7, 15, NOW + 600, Ticket { peer: key(peer).id() })
}

fn is_admitted(outputs: &[Output], to: u8) -> bool {
    said(outputs, to).iter().any(|message| matches!(message, Message::Member(MemberMessage::Admit(_))))
}

fn refusal(outputs: &[Output], to: u8) -> Option<Refusal> {
    said(outputs, to).into_iter().find_map(|message| match message {
        Message::Member(MemberMessage::Refuse(refusal)) => Some(refusal.signed.body),
        _ => None,
    })
}

/// Hands in a request under the key of a replaced invite.
fn by_old_invite(host: &mut Brain, from: u8, ticket: Option<Signed<Ticket>>) -> Vec<Output> {
    let message = join(ticket).verify(&room(), &key(1).id(), NOW + host.now / SECOND).unwrap();
    host.give(Input::OldInvite { from: key(from).id(), via: Via::Signal, message })
}

/// A guest on the open stage, key 6, that consents to mix; neither named by the host nor a voter.
fn comes_on_stage(host: &mut Brain) {
    host.hears(6, Message::Member(MemberMessage::Join(Join { mixes: true, ..Join::viewer("Mallory") })));
    host.rests_for(SECOND);
}

#[test]
fn a_replaced_invite_admits_members_of_the_host_alone() {
    let mut host = host_with(|_| {});
    let outputs = host.hears(5, join(None));
    let ticket = said(&outputs, 5).into_iter().find_map(|message| match message {
        Message::Member(MemberMessage::Admit(admit)) => admit.ticket.clone(),
        _ => None,
    });
    comes_on_stage(&mut host);
    for (peer, shown) in
        [(7, None), (7, Some(ticket_by(7, 7))), (7, Some(ticket_by(6, 7))), (7, ticket.clone())]
    {
        let outputs = by_old_invite(&mut host, peer, shown);
        assert_eq!(refusal(&outputs, peer), Some(Refusal::OldInvite), "{outputs:?}");
        host.rests_for(2 * SECOND);
    }
    let outputs = by_old_invite(&mut host, 5, ticket);
    assert!(is_admitted(&outputs, 5), "{outputs:?}");
    host.give(Input::Command(Command::Remove(key(7).id())));
    host.rests_for(2 * SECOND);
    assert_eq!(refusal(&by_old_invite(&mut host, 7, None), 7), Some(Refusal::Removed));
    // a peer that isn't the host answers nothing
    let mut member = Brain::new(3, consenting());
    member.adopts(&[speaker(2), candidate(3)], |_| {});
    assert_eq!(said(&by_old_invite(&mut member, 7, None), 7), Vec::<&Message>::new());
}

#[test]
fn peers_that_the_host_lists_pass_lock_lobby_expiry_and_a_replaced_invite() {
    let listed = |host: &mut HostConfig| host.members = vec![key(5).id()];
    let mut host = host_with(|host| {
        listed(host);
        host.invite_expires_us = Some(SECOND);
    });
    host.rests_for(5 * SECOND);
    assert_eq!(refusal(&host.hears(6, join(None)), 6), Some(Refusal::Expired));
    assert!(is_admitted(&host.hears(5, join(None)), 5), "after its end");

    let mut host = host_with(listed);
    host.give(Input::Command(Command::Lobby(true)));
    host.give(Input::Command(Command::Lock(true)));
    assert_eq!(refusal(&host.hears(6, join(None)), 6), Some(Refusal::Locked));
    assert!(is_admitted(&host.hears(5, join(None)), 5), "through lock and lobby");

    let mut host = host_with(listed);
    assert_eq!(refusal(&by_old_invite(&mut host, 6, None), 6), Some(Refusal::OldInvite));
    assert!(is_admitted(&by_old_invite(&mut host, 5, None), 5), "by a replaced invite");
    host.give(Input::Command(Command::SetMembers(vec![key(6).id()])));
    host.rests_for(2 * SECOND);
    assert!(is_admitted(&by_old_invite(&mut host, 6, None), 6), "listed later");
    host.give(Input::Command(Command::Remove(key(6).id())));
    host.give(Input::Command(Command::SetMembers(vec![key(6).id()])));
    host.rests_for(2 * SECOND);
    assert_eq!(refusal(&by_old_invite(&mut host, 6, None), 6), Some(Refusal::Removed), "removed is removed");
}

#[test]
fn tickets_by_guests_on_stage_pass_neither_lock_nor_lobby_nor_expiry() {
    for closed in ["lobby", "lock", "expiry"] {
        let expires = (closed == "expiry").then_some(5 * SECOND);
        let mut host = host_with(|host| host.invite_expires_us = expires);
        comes_on_stage(&mut host);
        match closed {
            "lobby" => _ = host.give(Input::Command(Command::Lobby(true))),
            "lock" => _ = host.give(Input::Command(Command::Lock(true))),
            _ => host.rests_for(6 * SECOND),
        }
        // before the roster says that the room is closed, and after it
        for peer in [50, 51] {
            let outputs = host.hears(peer, join(Some(ticket_by(6, peer))));
            assert!(!is_admitted(&outputs, peer), "{closed}, {peer}: {outputs:?}");
            host.rests_for(SECOND);
        }
        // a ticket of the host's own does
        let outputs = host.hears(52, join(Some(ticket_by(2, 52))));
        assert!(is_admitted(&outputs, 52), "{closed}: {outputs:?}");
    }
}

#[test]
fn an_invite_ends_a_time_after_the_opening_whatever_the_rendezvous_tells() {
    for later_s in [-7200, 7200] {
        let mut host = host_with(|host| host.invite_expires_us = Some(600 * SECOND));
        host.give(Input::RoomTime { later_s });
        host.rests_for(590 * SECOND);
        let outputs = host.hears(50, join(None));
        assert!(is_admitted(&outputs, 50), "{later_s}: {outputs:?}");
        host.rests_for(11 * SECOND);
        let outputs = host.hears(51, join(None));
        assert_eq!(refusal(&outputs, 51), Some(Refusal::Expired), "{later_s}: {outputs:?}");
    }
}

#[test]
fn what_a_peer_signs_lasts_ten_minutes_by_the_rooms_time() {
    for later_s in [-7200, 7200] {
        let mut host = host_with(|_| {});
        host.give(Input::RoomTime { later_s });
        let outputs = host.hears(50, join(None));
        let ticket = said(&outputs, 50).into_iter().find_map(|message| match message {
            Message::Member(MemberMessage::Admit(admit)) => admit.ticket.clone(),
            _ => None,
        });
        let ends_s = ticket.unwrap().expires_unix_s;
        assert!(ends_s.abs_diff((NOW + 600).saturating_add_signed(later_s)) <= 2, "{ends_s}");
    }
}

#[test]
fn tickets_by_guests_on_stage_are_worth_nothing_to_members_either() {
    let guest = Entry { votes: Vote::No, ..candidate(6) };
    for closed in ["lobby", "lock", "expiry"] {
        let mut member = Brain::new(4, consenting());
        member.adopts(&[speaker(2), candidate(3), candidate(4), guest.clone()], |roster| match closed {
            "lobby" => roster.rules.access.lobby = true,
            "lock" => roster.rules.access.locked = true,
            _ => roster.rules.expires_unix_s = Some(NOW),
        });
        let outputs = member.hears(51, join(Some(ticket_by(6, 51))));
        assert!(!is_admitted(&outputs, 51), "{closed}: {outputs:?}");
        let outputs = member.hears(52, join(Some(ticket_by(2, 52))));
        assert!(is_admitted(&outputs, 52), "{closed}: {outputs:?}");
    }
}

#[test]
fn requests_of_made_up_ids_leave_answers_for_newcomers_and_members() {
    let ids = 1000;
    let mut host = host_with(|_| {});
    let made_up: Vec<_> = (0..ids)
        .map(|number: u32| {
            let mut seed = [7; 32];
            seed[..4].copy_from_slice(&number.to_be_bytes());
            Keypair::from_seed(&seed).id()
        })
        .collect();
    let (mut renewed, mut came) = (0, 0);
    for second in 0..30_u64 {
        for (at, id) in made_up.iter().enumerate() {
            let now_s = NOW + host.now / SECOND;
            let message = join(None).verify(&room(), &key(1).id(), now_s).unwrap();
            host.give(Input::Message { from: *id, via: Via::Signal, message });
            host.rests_for(SECOND / ids as u64);
            if at != (second * 377) as usize % ids as usize {
                continue;
            }
            // one member's renewal, and one newcomer, each second at another time
            let (member, newcomer) = (100 + second as u8, 200 + second as u8);
            renewed += u32::from(is_admitted(&host.hears(member, join(Some(ticket_by(2, member)))), member));
            came += u32::from(is_admitted(&host.hears(newcomer, join(None)), newcomer));
        }
    }
    assert_eq!(renewed, 30);
    assert!(came >= 8, "{came} of 30 newcomers at their first request");
}

/// A roster by a peer that a majority of the stage made host, in the stead of key 2.
fn roster_by_heir(host: &Brain, change: impl FnOnce(&mut Roster)) -> Message {
    let epoch = host.room.snapshot().epoch + 1;
    let stage = [speaker(2), candidate(3), candidate(4), candidate(6)];
    let Message::Member(MemberMessage::Roster(under)) =
        roster_of(epoch, &stage, |roster| roster.heirs = list(vec![key(3).id()]))
    else {
        panic!()
    };
    let body = Heir { number: 1, host: key(3).id() };
    let signs = |seed: u8| {
        let signature =
            Countersigned::<Heir, ROSTER_MAX>::countersign(&key(seed), &room(), under.epoch, &body);
        (key(seed).id(), signature)
    };
    let chosen =
        Countersigned { epoch: under.epoch, body, signatures: list(vec![signs(3), signs(4), signs(6)]) };
    let mut roster = Roster { host: key(3).id(), ..under.body.clone() };
    change(&mut roster);
    let epoch = first_epoch(1) + 5;
    let signed = Signed::new(&key(3), &room(), epoch, epoch.into(), NEVER, roster);
    let reigns = Reigns(list(vec![Reign::Chosen { under: under.signed.clone(), chosen }]));
    Message::Member(MemberMessage::Roster(SignedRoster::new(ProvenRoster { signed, reigns })))
}

#[test]
fn a_host_that_takes_its_room_back_is_told_of_others_removals() {
    let mut host = host_with(|host| host.removed = vec![key(6).id()]);
    host.rests_for(SECOND);
    let message = roster_by_heir(&host, |roster| {
        roster.rules.access.removed = list(vec![key(9).id()]);
        roster.rules.access.locked = true;
    });
    let outputs = host.hears(4, message);
    let told = |event: &&Event| matches!(event, Event::RemovedByAnother { peer, by, .. } if *peer == key(9).id() && *by == key(3).id());
    assert_eq!(events(&outputs).into_iter().filter(told).count(), 1, "{outputs:?}");
    let roster = host.room.roster().unwrap();
    assert_eq!((roster.host, &roster.rules.access.removed[..]), (key(2).id(), &[key(6).id()][..]));
    assert!(roster.rules.access.locked);
    assert!(roster.entries.iter().any(|entry| entry.peer == key(4).id()), "it takes over the stage");
    assert!(roster.entries.iter().all(|entry| entry.peer != key(6).id()), "less the removed peers");
    host.give(Input::Command(Command::Remove(key(9).id()))); // the host confirms
    host.rests_for(3 * SECOND);
    assert_eq!(refusal(&host.hears(9, join(None)), 9), Some(Refusal::Removed));
}

/// What a guest has kept of earlier sessions of the room: the roster that ended it, one from before a removal, and its
/// own appointment as host, by which it signs a roster now.
fn of_earlier_sessions() -> [Message; 3] {
    let stage = [speaker(2), candidate(3)];
    let named = Signed::new(&key(1), &room(), 40, 77, NEVER, Successor { number: 1, host: key(6).id() });
    let Message::Member(MemberMessage::Roster(last)) = roster_of(40, &stage, |_| {}) else { panic!() };
    let epoch = first_epoch(1);
    let signed = Signed::new(
        &key(6),
        &room(),
        epoch,
        epoch.into(),
        NEVER,
        Roster { host: key(6).id(), ..last.body.clone() },
    );
    let reigns = Reigns(list(vec![Reign::Named { named }]));
    [
        roster_of(60, &stage, |roster| roster.rules.access.ended = true),
        roster_of(57, &stage, |_| {}),
        Message::Member(MemberMessage::Roster(SignedRoster::new(ProvenRoster { signed, reigns }))),
    ]
}

#[test]
fn signatures_of_earlier_sessions_neither_end_nor_take_a_reopened_room() {
    for at_once in [true, false] {
        let mut host = host_with(|host| (host.removed, host.reign) = (vec![key(5).id()], 2));
        let outputs = host.hears(8, join(None));
        assert!(!is_admitted(&outputs, 8), "members that have stayed may show themselves first");
        if !at_once {
            host.rests_for(4 * SECOND);
            assert!(is_admitted(&host.hears(8, join(None)), 8));
        }
        for old in of_earlier_sessions() {
            let outputs = host.hears(6, old);
            assert!(!events(&outputs).contains(&&Event::Ended), "{outputs:?}");
        }
        host.rests_for(4 * SECOND);
        let roster = host.room.roster().unwrap();
        assert_eq!((roster.host, &roster.rules.access.removed[..]), (key(2).id(), &[key(5).id()][..]));
        assert!(!roster.rules.access.ended && reign_of(host.room.snapshot().epoch) >= 2);
        assert_eq!(refusal(&host.hears(5, join(None)), 5), Some(Refusal::Removed));
        assert!(is_admitted(&host.hears(9, join(None)), 9));
    }
}

#[test]
fn the_roster_tells_a_restarted_process_from_the_one_before_once_it_joins() {
    let mut host = host_with(|_| ());
    let joins = Join { mixes: true, ..Join::viewer("Ben") };
    let session = |host: &Brain| {
        let roster = host.room.roster().unwrap();
        roster.entries.iter().find(|entry| entry.peer == key(3).id()).map(|entry| entry.session)
    };
    host.give(Input::Restarted(key(3).id()));
    let mut before = None;
    for _ in 0..3 {
        host.rests_for(2 * SECOND);
        assert_eq!(session(&host), before, "it hasn't asked yet");
        host.hears(3, Message::Member(MemberMessage::Join(joins.clone())));
        host.rests_for(2 * SECOND);
        let now = session(&host);
        assert!(now != before, "{now:?}");
        host.hears(3, Message::Member(MemberMessage::Join(joins.clone())));
        host.rests_for(2 * SECOND);
        assert_eq!(session(&host), now);
        host.give(Input::Restarted(key(3).id()));
        before = now;
    }
}

#[test]
fn a_member_of_a_reopened_room_follows_no_roster_of_earlier_sessions() {
    let mut host = host_with(|host| host.reign = 2);
    host.rests_for(4 * SECOND);
    let outputs =
        host.hears(3, Message::Member(MemberMessage::Join(Join { mixes: true, ..Join::viewer("Ben") })));
    let admission = said(&outputs, 3).into_iter().find_map(|message| match message {
        Message::Member(MemberMessage::Admit(admit)) => {
            Some(Message::Member(MemberMessage::Admit(admit.clone())))
        }
        _ => None,
    });
    let mut member = Brain::new(3, consenting());
    member.give(Input::SignalUp(true));
    member.hears(2, admission.unwrap());
    for old in of_earlier_sessions() {
        let outputs = member.hears(6, old);
        assert!(!events(&outputs).contains(&&Event::Ended), "{outputs:?}");
    }
    assert_eq!(member.room.snapshot().host, Some(key(2).id()));
}

#[test]
fn members_that_have_stayed_are_on_stage_when_the_room_reopens() {
    let mut host = host_with(|host| (host.reign, host.removed) = (2, vec![key(4).id()]));
    let stage = [speaker(2), candidate(3), candidate(4)];
    host.hears(3, roster_of(57, &stage, |roster| roster.rules.access.locked = true));
    host.hears(6, roster_of(50, &[speaker(2), candidate(6)], |_| {}));
    host.rests_for(4 * SECOND);
    let roster = host.room.roster().unwrap();
    let peers: Vec<_> = roster.entries.iter().map(|entry| entry.peer).collect();
    assert_eq!(peers, [key(2).id(), key(3).id()]);
    assert!(roster.rules.access.locked);
    assert_eq!(reign_of(host.room.snapshot().epoch), 2);
}

#[test]
fn a_newcomer_asks_the_host_as_soon_as_the_rendezvous_opens_and_once() {
    let mut newcomer = Brain::new(5, viewing());
    let is_join = |output: &Output| {
        matches!(output, Output::Signal(Address::Host, Message::Member(MemberMessage::Join(_))))
    };
    let joins = |outputs: &[Output]| outputs.iter().filter(|output| is_join(output)).count();
    assert_eq!(joins(&newcomer.give(Input::SignalOpens)), 1);
    assert_eq!(joins(&newcomer.give(Input::SignalUp(true))), 0, "it has asked by this connection");
    let later = newcomer.runs_until(newcomer.now + 2 * SECOND);
    let repeated = later.iter().filter(|(_, output)| is_join(output)).count();
    assert!((1..=4).contains(&repeated), "{repeated} repetitions in 2 s");
}

#[test]
fn a_host_that_mixes_admits_a_newcomer_with_a_place_and_an_offer() {
    let mut host = Brain::new(2, RoomConfig { host: Some(hosting()), speaks: true, ..consenting() });
    host.hears(5, join(None));
    host.rests_for(2 * SECOND);
    let asks = |place| Message::Member(MemberMessage::Join(Join { place, ..Join::viewer("Zoë") }));
    let outputs = host.hears(6, asks(None));
    assert!(is_admitted(&outputs, 6) && said(&outputs, 6).len() == 1, "{outputs:?}");
    let outputs = host.hears(7, asks(Some(0)));
    let said = said(&outputs, 7);
    let [.., Message::Tree(TreeMessage::Accept { purpose: Purpose::Parent, .. })] = &said[..] else {
        panic!("{outputs:?}")
    };
    assert!(is_admitted(&outputs, 7), "ahead of the place");
    let is_offer = |output: &Output| matches!(output, Output::Offer { peer, .. } if *peer == key(7).id());
    assert!(outputs.iter().any(is_offer), "{outputs:?}");
}

#[test]
fn a_mixer_gives_a_newcomer_a_place_on_the_word_of_the_host_alone() {
    let mut mixer = Brain::new(3, consenting());
    mixer.adopts(&[speaker(2), candidate(3), speaker(4)], |_| {});
    mixer.elects(1, &[3], &[]);
    for peer in [2, 4] {
        mixer.is_linked_with(key(peer).id(), LinkKind::Peer);
    }
    let newcomer = Message::Tree(TreeMessage::Newcomer { peer: key(7).id(), children: 0 });
    let is_place = |message: &&Message| matches!(message, Message::Tree(TreeMessage::Accept { .. }));
    let places = |outputs: &[Output]| said(outputs, 7).into_iter().filter(is_place).count();
    assert_eq!(places(&mixer.hears(4, newcomer.clone())), 0, "a speaker says so");
    assert_eq!(places(&mixer.hears(2, newcomer.clone())), 1);
    assert_eq!(places(&mixer.hears(2, newcomer)), 0, "it has its place");
}
