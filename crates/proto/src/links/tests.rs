//! Tests of the link table.

use super::requests::*;
use super::*;
use crate::message::Candidate;
use crate::outbox::Item;

/// Returns a table of links that are up and that this peer hasn't wanted for long.
fn idle(others: u8) -> LinkTable {
    let (mut links, mut out) = (LinkTable::new(PeerId([0; 32])), Outbox::default());
    for other in (1..=others).map(|other| PeerId([other; 32])) {
        links.want(Time(0), &mut out, Want::Parent, other);
        links.link_up(Time(0), &mut out, other, LinkKind::Peer);
        links.unwant(Time(0), Want::Parent, other);
    }
    links
}

#[test]
fn without_a_rendezvous_the_last_two_links_stay_until_there_are_others() {
    for (alone, others, expected) in [(true, 1, 1), (true, 2, 2), (true, 5, 2), (false, 5, 0)] {
        let (mut links, mut out) = (idle(others), Outbox::default());
        links.set_signal_up(!alone);
        let mut rng = Rng::new(0);
        for seconds in 1..10 {
            links.on_time(Time(seconds * SECOND), &mut out, &mut rng);
            // The other ends don't want the links any more either.
            for other in (1..=others).map(|other| PeerId([other; 32])) {
                links.bye(Time(seconds * SECOND), &mut out, other, LinkKind::Peer);
            }
        }
        let left = links.links.values().filter(|link| !link.bye_said).count();
        assert_eq!(left, expected, "of {others}, alone: {alone}");
        let due = links.next_timeout();
        assert!(due.is_none_or(|due| due > Time(9 * SECOND)), "and nothing is done again and again");
    }
}

fn offer(number: u32) -> Offer {
    let description = Description {
        ufrag: crate::bounded::Text::truncated(&format!("fragment{number}")),
        pwd: crate::bounded::Text::default(),
        fingerprint: [6; 32],
        setup: crate::message::Setup::ActPass,
        payload_types: None,
        browser: None,
        candidates: crate::bounded::List::new(),
        sctp: None,
        hello: None,
    };
    Offer { kind: LinkKind::Peer, description, ticket: None }
}

/// Returns a table of the peer with the highest id, so that all others offer.
fn answering() -> LinkTable {
    LinkTable::new(PeerId([255; 32]))
}

fn answers(out: &mut Outbox) -> usize {
    let is_answer =
        |item: &crate::outbox::Item| matches!(item, crate::outbox::Item::Do(Output::Answer { .. }));
    let count = out.items.iter().filter(|item| is_answer(item)).count();
    out.items.clear();
    count
}

#[test]
fn a_peer_that_offers_a_new_link_all_the_time_is_answered_once_a_second() {
    let (mut links, mut out, mut rng) = (answering(), Outbox::default(), Rng::new(0));
    let mut answered = 0;
    for number in 0..500u32 {
        let now = Time(u64::from(number) * 10 * MS);
        links.offered(now, &mut out, PeerId([1; 32]), offer(number), true);
        if links.next_timeout().is_some_and(|due| due <= now) {
            links.on_time(now, &mut out, &mut rng);
        }
        answered += answers(&mut out);
    }
    assert_eq!(answered, 5);
}

#[test]
fn ice_restarts_of_links_that_are_up_are_told_past_the_link() {
    let (peer, kind) = (PeerId([9; 32]), LinkKind::Peer);
    let (mut links, mut out) = (LinkTable::new(PeerId([1; 32])), Outbox::default());
    let restart = |address: &str| {
        let candidates = List::truncated([Candidate::Host(address.parse().unwrap())]);
        let text = Text::truncated("abcd");
        let (link_ufrag, ufrag, pwd) = (text.clone(), text, Text::truncated("password"));
        Box::new(IceRestart { kind, link_ufrag, answers: None, ufrag, pwd, candidates })
    };
    let count = |out: &mut Outbox| {
        let is_sent = |item: &Item| matches!(item, Item::SendBeside(_, Message::Link(_)));
        let is_taken = |item: &Item| matches!(item, Item::Do(Output::IceRestart(..)));
        let counts = [is_sent, is_taken]
            .map(|which: fn(&Item) -> bool| out.items.iter().filter(|item| which(item)).count());
        out.items.clear();
        counts
    };
    links.want(Time(0), &mut out, Want::Stage, peer);
    links.restart_begun(&mut out, peer, restart("203.0.113.5:7"));
    links.restart_told(Time(0), &mut out, peer, restart("203.0.113.5:7"));
    assert_eq!(count(&mut out), [0, 0], "the link is being made");
    links.link_up(Time(0), &mut out, peer, kind);
    links.paths_found(
        &mut out,
        peer,
        kind,
        List::truncated([Candidate::Reflexive("203.0.113.5:7".parse().unwrap())]),
    );
    assert_eq!(count(&mut out), [0, 0], "there is no restart");
    links.restart_begun(&mut out, peer, restart("203.0.113.5:7"));
    links.paths_found(
        &mut out,
        peer,
        kind,
        List::truncated([Candidate::Reflexive("203.0.113.5:7".parse().unwrap())]),
    );
    assert_eq!(count(&mut out), [2, 0]);
    for ms in 0..100 {
        links.restart_told(Time(ms * 10 * MS), &mut out, peer, restart("203.0.113.5:7"));
    }
    assert_eq!(count(&mut out), [0, 5], "five a second");
    links.restart_told(Time(2 * SECOND), &mut out, peer, restart("0.0.0.0:7"));
    assert_eq!(count(&mut out), [0, 0], "no address of anybody");
    let answer = IceRestart { answers: Some(Text::truncated("abcd")), ..*restart("203.0.113.5:7") };
    links.restart_told(Time(3 * SECOND), &mut out, peer, Box::new(answer));
    assert_eq!(count(&mut out), [1, 1], "further candidates once more, since they may have been lost");
}

#[test]
fn further_candidates_are_told_and_checked_while_a_link_is_made() {
    let peer = PeerId([9; 32]);
    let kind = LinkKind::Peer;
    let mut links = LinkTable::new(PeerId([1; 32]));
    let mut out = Outbox::default();
    let found_at = |address: &str| List::truncated([Candidate::Reflexive(address.parse().unwrap())]);
    let found = || found_at("203.0.113.5:7");
    let told = |links: &mut LinkTable, out: &mut Outbox| {
        links.paths_found(out, peer, kind, found());
        links.paths_told(out, peer, Paths { kind, ufrag: Text::truncated("abcd"), candidates: found() });
        let is_sent = |item: &Item| matches!(item, Item::Send(_, Message::Link(LinkMessage::Paths(_))));
        let is_checked = |item: &Item| matches!(item, Item::Do(Output::Paths(..)));
        let counts = [out.items.iter().any(is_sent), out.items.iter().any(is_checked)];
        out.items.clear();
        counts
    };
    assert_eq!(told(&mut links, &mut out), [false; 2], "no link");
    links.want(Time(0), &mut out, Want::Stage, peer);
    assert_eq!(told(&mut links, &mut out), [false, true], "not described yet");
    links.described(&mut out, peer, kind, offer(1).description);
    assert_eq!(told(&mut links, &mut out), [true; 2]);
    for useless in ["203.0.113.5:0", "0.0.0.0:7", "224.0.0.1:7"] {
        let candidates = found_at(useless);
        links.paths_told(&mut out, peer, Paths { kind, ufrag: Text::truncated("abcd"), candidates });
        assert!(out.items.is_empty(), "{useless}");
    }
    links.link_up(Time(0), &mut out, peer, kind);
    assert_eq!(told(&mut links, &mut out), [false; 2], "the link is up");
}

#[test]
fn strangers_have_at_most_eight_links_under_way() {
    let (mut links, mut out, mut rng) = (answering(), Outbox::default(), Rng::new(0));
    let peer = |number: u8| PeerId([number; 32]);
    for number in 0..200 {
        links.offered(Time(0), &mut out, peer(number), offer(0), false);
    }
    assert_eq!(answers(&mut out), STRANGERS_MAX);
    assert_eq!(links.waiting.len(), OFFERS_WAITING_MAX);
    links.offered(Time(0), &mut out, peer(254), offer(0), true);
    assert_eq!(answers(&mut out), 1, "who is known doesn't wait");
    links.link_up(Time(MS), &mut out, peer(0), LinkKind::Peer);
    assert!(links.next_timeout().is_some_and(|due| due <= Time(MS)));
    links.on_time(Time(MS), &mut out, &mut rng);
    assert_eq!(answers(&mut out), 1);
    links.on_time(Time(MAKE_US_MAX), &mut out, &mut rng);
    assert!(links.waiting.is_empty() && links.next_timeout().is_none_or(|due| due > Time(MAKE_US_MAX)));
}

#[test]
fn strangers_that_request_offers_get_no_more_links_than_those_that_offer() {
    let (mut links, mut out) = (LinkTable::new(PeerId([0; 32])), Outbox::default());
    let offers = |out: &mut Outbox| {
        let items = std::mem::take(&mut out.items);
        let is_stranger = |item| match item {
            crate::outbox::Item::Do(Output::Offer { is_stranger, .. }) => Some(is_stranger),
            _ => None,
        };
        items.into_iter().filter_map(is_stranger).collect::<Vec<_>>()
    };
    let mut ask = |links: &mut LinkTable, at: Time, peer: u8, is_known: bool| {
        links.link_wanted(at, &mut out, PeerId([peer; 32]), LinkKind::Peer, is_known);
        offers(&mut out)
    };
    let told: Vec<_> = (1..=200).flat_map(|peer| ask(&mut links, Time(0), peer, false)).collect();
    assert_eq!(told, [true; STRANGERS_MAX]);
    assert_eq!(ask(&mut links, Time(0), 210, true), [false], "who is known doesn't wait");
    // one that asks again and again gets an offer each second
    let mut links = LinkTable::new(PeerId([0; 32]));
    let again = (0..500u64).flat_map(|at| ask(&mut links, Time(at * 10 * MS), 1, false));
    assert_eq!(again.count(), 5);
}

#[test]
fn a_child_gets_no_trunk_and_nobody_one_that_no_roster_needs() {
    let peer = PeerId([1; 32]);
    let trunk = |number| Offer { kind: LinkKind::Trunk(number), ..offer(0) };
    for (number, is_known, taken) in [(0, true, 1), (7, true, 1), (8, true, 0), (255, true, 0), (0, false, 0)]
    {
        let (mut links, mut out) = (answering(), Outbox::default());
        links.offered(Time(0), &mut out, peer, trunk(number), is_known);
        assert_eq!(answers(&mut out), taken, "trunk {number}, known: {is_known}");
        let mut links = LinkTable::new(PeerId([0; 32]));
        links.link_wanted(Time(0), &mut out, peer, LinkKind::Trunk(number), is_known);
        assert_eq!(out.items.drain(..).count(), taken, "trunk {number}, known: {is_known}");
    }
}

#[test]
fn a_parent_offers_whatever_the_ids_and_only_an_accepted_child_answers() {
    let (low, high) = (PeerId([1; 32]), PeerId([255; 32]));
    let (mut parent, mut out, mut rng) = (LinkTable::new(high), Outbox::default(), Rng::new(0));
    parent.offer(Time(0), &mut out, low);
    parent.offer(Time(0), &mut out, low);
    let offers = |out: &mut Outbox| {
        let is_offer = |item: &Item| matches!(item, Item::Do(Output::Offer { .. }));
        let count = out.items.iter().filter(|item| is_offer(item)).count();
        out.items.clear();
        count
    };
    assert_eq!(offers(&mut out), 1, "one link is made at a time");

    let mut child = LinkTable::new(low);
    child.offered(Time(0), &mut out, high, offer(1), true);
    assert_eq!(answers(&mut out), 0, "of the higher id, which this peer doesn't await");
    child.await_offer(Time(0), high);
    child.want(Time(0), &mut out, Want::Parent, high);
    assert_eq!(offers(&mut out), 0);
    child.offered(Time(MS), &mut out, high, offer(1), true);
    assert_eq!(answers(&mut out), 1);

    let mut child = LinkTable::new(low);
    child.await_offer(Time(0), high);
    child.want(Time(0), &mut out, Want::Parent, high);
    for ms in (0..2_000).step_by(10) {
        child.on_time(Time(ms * MS), &mut out, &mut rng);
    }
    assert_eq!(offers(&mut out), 1, "the offer was lost: the lower id makes one");
}
