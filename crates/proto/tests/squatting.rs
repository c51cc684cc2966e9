//! Ids cost nothing: who decides while strangers are on stage, what the host's word proves, and how the root key keeps
//! its room.

use crate::samples::brain::{
    Brain, SECOND, candidate, consenting, decided_by, hosting, outcome_of, roster_of, said, says, speaker,
    untimed, viewing,
};
use crate::samples::{NEVER, key, list, named, room};
use plenary_proto::message::*;
use plenary_proto::seal::{Countersigned, Signed};
use plenary_proto::{Command, Event, Input, Output, RoomConfig};

/// Returns the entry of a candidate without a vote.
fn stranger(seed: u8) -> Entry {
    Entry { votes: Vote::No, ..candidate(seed) }
}

/// The host, key 2, and two strangers that came right after it.
fn squatted() -> Vec<Entry> {
    vec![speaker(2), stranger(3), stranger(4)]
}

/// The squatted stage, and those that came later.
fn full() -> Vec<Entry> {
    [squatted(), vec![stranger(6), stranger(7)]].concat()
}

fn heirs(roster: &mut Roster) {
    roster.heirs = list(vec![key(3).id(), key(6).id()]);
}

fn signed(message: Message) -> SignedRoster {
    match message {
        Message::Member(MemberMessage::Roster(roster)) => roster,
        Message::Member(MemberMessage::Admit(admit)) => admit.roster,
        other => panic!("{other:?}"),
    }
}

/// Returns the first roster of an heir that these peers chose.
fn reign(under: &SignedRoster, number: u32, heir: u8, by: &[u8]) -> Message {
    let body = Heir { number, host: key(heir).id() };
    let sign = |seed: &u8| {
        let keys = key(*seed);
        (keys.id(), Countersigned::<Heir, ROSTER_MAX>::countersign(&keys, &room(), under.epoch, &body))
    };
    let signatures = list(by.iter().map(sign).collect());
    let chosen = Countersigned { epoch: under.epoch, body, signatures };
    let mut reigns = under.reigns.0.to_vec();
    reigns.push(Reign::Chosen { under: under.signed.clone(), chosen });
    reigned(under, heir, reigns)
}

/// Returns the first roster of a host at the end of this chain, with the entries of `before`.
fn reigned(before: &SignedRoster, host: u8, reigns: Vec<Reign>) -> Message {
    let epoch = first_epoch(reigns.last().map_or(0, Reign::number));
    let body = Roster { host: key(host).id(), ..before.body.clone() };
    let signed = Signed::new(&key(host), &room(), epoch, epoch.into(), NEVER, body);
    Message::Member(MemberMessage::Roster(SignedRoster::new(ProvenRoster {
        signed,
        reigns: Reigns(list(reigns)),
    })))
}

fn decided(epoch: u32, term: u32, by: &[u8]) -> Message {
    Message::Election(ElectionMessage::Decided(Box::new(decided_by(
        epoch,
        &outcome_of(term, &[3], &[4]),
        by,
    ))))
}

fn confirmed(by: u8, epoch: u32, term: u32) -> Message {
    let word = Confirmed::of(&outcome_of(term, &[3], &[4]));
    Message::Election(ElectionMessage::Confirmed(Signed::new(&key(by), &room(), epoch, 100, NEVER, word)))
}

/// A peer on stage, key 6, which knows the squatted roster, epoch 7, and the one after it.
fn on_stage() -> Brain {
    let mut peer = Brain::new(6, consenting());
    peer.adopts(&squatted(), heirs);
    peer.adopts(&full(), heirs);
    peer
}

#[test]
fn two_ids_that_came_right_after_the_host_decide_no_term_and_no_host() {
    let mut peer = on_stage();
    for term in [1, u32::MAX] {
        peer.hears(3, decided(7, term, &[3, 4]));
        assert_eq!(peer.term(), 0, "term {term}");
    }
    let under = signed(roster_of(7, &squatted(), heirs));
    peer.hears(3, reign(&under, 1, 3, &[3, 4]));
    assert_eq!(peer.room.snapshot().host, Some(key(2).id()));
    // nor those that are most of the newest roster
    peer.hears(3, decided(8, 1, &[3, 4, 6, 7]));
    let under = signed(roster_of(8, &full(), heirs));
    peer.hears(3, reign(&under, 1, 3, &[3, 4, 7]));
    assert_eq!((peer.term(), peer.room.snapshot().host), (0, Some(key(2).id())));
    peer.hears(2, decided(8, 1, &[2]));
    assert_eq!(peer.term(), 1, "the host may");
}

#[test]
fn a_majority_decides_for_a_peer_that_has_missed_the_host_for_8_s() {
    let mut peer = on_stage();
    peer.hears(2, decided(8, 1, &[2]));
    let under = signed(roster_of(8, &full(), heirs));
    peer.rests_for(7 * SECOND);
    peer.hears(3, decided(8, 2, &[3, 4, 7]));
    peer.hears(3, reign(&under, 1, 6, &[3, 4, 7]));
    assert_eq!((peer.term(), peer.room.snapshot().host), (1, Some(key(2).id())));
    peer.rests_for(SECOND);
    peer.hears(3, decided(8, 2, &[3, 4]));
    assert_eq!(peer.term(), 1, "two of five");
    peer.hears(3, decided(8, 2, &[3, 4, 7]));
    assert_eq!(peer.term(), 2);
    let old = signed(roster_of(7, &squatted(), heirs));
    peer.rests_for(30 * SECOND);
    peer.hears(3, reign(&old, 1, 3, &[3, 4]));
    assert_eq!(peer.room.snapshot().host, Some(key(2).id()), "the roster is too old");
    peer.hears(3, reign(&under, 1, 3, &[3, 4, 7]));
    assert_eq!(peer.room.snapshot().host, Some(key(3).id()));
}

#[test]
fn a_viewer_believes_its_parent_alone_that_the_host_is_gone() {
    let mut viewer = crate::samples::viewer::Viewer::among(&full(), &[3], &[4], viewing());
    viewer.is_fed_by(3, &[3]);
    viewer.rests_for(20 * SECOND);
    let before = signed(roster_of(viewer.epoch() + 1, &full(), heirs));
    viewer.hears(3, Message::Member(MemberMessage::Roster(before.clone())));
    let rival = reign(&before, 1, 6, &[6, 7, 4]);
    let outputs = viewer.hears(7, rival.clone());
    assert_eq!(viewer.room.snapshot().host, Some(key(2).id()));
    assert!(says(&outputs, 2, |message| *message == rival), "the host is told: {outputs:?}");
    viewer.hears(3, rival);
    assert_eq!(viewer.room.snapshot().host, Some(key(6).id()));
}

#[test]
fn an_outcome_counts_until_its_roster_has_been_superseded_for_30_s() {
    let voters = || vec![speaker(2), candidate(3), candidate(4)];
    let later = || vec![speaker(2), candidate(6), candidate(7)];
    for (after_us, counts) in [(29 * SECOND, true), (31 * SECOND, false)] {
        let mut peer = Brain::new(6, consenting());
        peer.adopts(&voters(), |_| ());
        peer.hears(2, decided(7, 1, &[2, 3, 4]));
        peer.rests_for(2 * SECOND);
        peer.adopts(&later(), |_| ());
        peer.rests_for(after_us);
        peer.hears(3, decided(7, 2, &[3, 4]));
        assert_eq!(peer.term(), if counts { 2 } else { 1 }, "after {after_us} us");
        peer.hears(3, confirmed(1, 8, 2));
        assert_eq!(peer.term(), 2, "the host's word counts at any time");
    }
}

#[test]
fn terms_rise_by_4_at_most_unless_the_host_has_signed() {
    let voters = || vec![speaker(2), candidate(3), candidate(4), candidate(6)];
    for (term, by, taken) in [
        (5, &[3, 4, 6][..], true),
        (6, &[3, 4, 6], false),
        (u32::MAX, &[3, 4, 6], false),
        (60, &[2, 3, 4], true),
    ] {
        let mut peer = Brain::new(6, consenting());
        peer.adopts(&voters(), |_| ());
        peer.hears(2, decided(7, 1, &[2, 3, 4]));
        peer.rests_for(8 * SECOND); // the host is missed
        peer.hears(3, decided(7, term, by));
        assert_eq!(peer.term() == term, taken, "{term} by {by:?}");
    }
}

#[test]
fn a_newcomer_takes_an_outcome_by_the_hosts_signature_only() {
    let voters = || vec![speaker(2), candidate(3), candidate(4)];
    let newcomer = || {
        let mut peer = Brain::new(5, viewing());
        peer.adopts(&voters(), |_| ());
        peer
    };
    let mut peer = newcomer();
    peer.hears(3, decided(7, 2, &[3, 4]));
    assert_eq!(peer.term(), 0, "they may have left long ago");
    peer.hears(3, confirmed(3, 7, 2));
    peer.hears(3, confirmed(1, 7, 1));
    assert_eq!(peer.term(), 0, "another's word, and a word on another term");
    let word = Confirmed::of(&outcome_of(2, &[3], &[4]));
    peer.hears(
        3,
        Message::Election(ElectionMessage::Confirmed(Signed::new(&key(1), &room(), 7, 101, NEVER, word))),
    );
    assert_eq!(peer.term(), 2, "the outcome waited for the host's word");
    let mut peer = newcomer();
    peer.hears(3, decided(7, 2, &[2, 4]));
    assert_eq!(peer.term(), 2);
}

#[test]
fn an_old_outcome_that_the_host_does_not_follow_is_dropped() {
    let voters = || vec![speaker(2), candidate(3), candidate(4)];
    let later = || vec![speaker(2), candidate(6), candidate(7)];
    let mut peer = Brain::new(6, consenting());
    peer.adopts(&voters(), |_| ());
    peer.hears(2, decided(7, 1, &[2, 3, 4]));
    peer.hears(3, decided(7, 2, &[3, 4]));
    peer.adopts(&later(), |_| ());
    let other = Outcome { evidence: [99; 32], ..outcome_of(2, &[7], &[6]) };
    let word = |counter| {
        let word = Confirmed::of(&other);
        Message::Election(ElectionMessage::Confirmed(Signed::new(&key(1), &room(), 8, counter, NEVER, word)))
    };
    peer.hears(2, word(100));
    peer.hears(2, Message::Election(ElectionMessage::Decided(Box::new(decided_by(8, &other, &[2, 6, 7])))));
    let mixer = peer.room.mixers()[0];
    peer.rests_for(31 * SECOND);
    peer.hears(2, word(101));
    assert_eq!((peer.term(), peer.room.mixers()), (2, &[key(7).id()][..]), "before: {mixer:?}");
}

fn host() -> Brain {
    Brain::new(2, RoomConfig { host: Some(hosting()), speaks: true, ..viewing() })
}

fn join(speaks: bool) -> Message {
    Message::Member(MemberMessage::Join(Join { speaks, views: false, mixes: true, ..Join::viewer("x") }))
}

fn with_vote(brain: &Brain, vote: Vote) -> Vec<u8> {
    let entries = &brain.room.roster().unwrap().entries;
    let seed = |entry: &Entry| (1..20).find(|seed| key(*seed).id() == entry.peer).unwrap();
    entries.iter().filter(|entry| entry.votes == vote).map(seed).collect()
}

fn voters(brain: &Brain) -> Vec<u8> {
    with_vote(brain, Vote::Named)
}

fn waiters(brain: &Brain) -> Vec<u8> {
    with_vote(brain, Vote::ByTime)
}

#[test]
fn a_peer_votes_after_5_minutes_on_stage_or_when_the_host_names_it() {
    let mut host = host();
    host.hears(3, join(true));
    host.hears(4, join(false));
    assert_eq!(voters(&host), [2]);
    host.give(Input::Command(Command::Promote(key(3).id())));
    host.runs_for(SECOND);
    assert_eq!(voters(&host), [2, 3]);
    let runs = |host: &mut Brain, seconds: u64| {
        for _ in 0..seconds / 2 {
            for seed in [3, 4] {
                host.give(Input::Heard(key(seed).id()));
            }
            host.runs_for(2 * SECOND);
        }
    };
    for _ in 0..2 {
        runs(&mut host, 290);
        assert_eq!(voters(&host), [2, 3]);
        host.hears(4, Message::Member(MemberMessage::Leave));
        host.hears(4, join(false));
    }
    runs(&mut host, 310);
    assert_eq!(voters(&host), [2, 3], "while the host lives");
    assert_eq!(waiters(&host), [4]);
}

/// Returns the host's newest roster, as a peer is sent it.
fn roster_by(host: &mut Brain, to: u8) -> SignedRoster {
    let outputs = host.hears(to, join(false));
    signed(
        said(&outputs, to)
            .into_iter()
            .find(|message| matches!(message, Message::Member(MemberMessage::Admit(_))))
            .unwrap()
            .clone(),
    )
}

fn reigns(outputs: &[Output], to: u8) -> Vec<u32> {
    let reign = |message: &&Message| match message {
        Message::Member(MemberMessage::Roster(roster)) => Some(reign_of(roster.epoch)),
        _ => None,
    };
    said(outputs, to).iter().filter_map(reign).collect()
}

#[test]
fn the_holder_of_the_root_key_takes_its_room_back() {
    let mut host = host();
    host.hears(3, join(false));
    host.hears(4, join(false));
    let under = roster_by(&mut host, 3);
    let outputs = host.hears(3, reign(&under, 1, 3, &[3, 4]));
    assert_eq!(reigns(&outputs, 4), [2]);
    let now = host.room.snapshot();
    assert_eq!((now.host, reign_of(now.epoch)), (Some(key(2).id()), 2));
    // its peers follow it, whoever they followed before
    let taken = said(&outputs, 4)
        .into_iter()
        .find(|message| matches!(message, Message::Member(MemberMessage::Roster(_))))
        .unwrap();
    for deceived in [false, true] {
        let mut peer = Brain::new(4, consenting());
        peer.hears(2, Message::Member(MemberMessage::Roster(under.clone())));
        if deceived {
            peer.rests_for(9 * SECOND);
            peer.hears(3, reign(&under, 1, 3, &[3, 4]));
            assert_eq!(peer.room.snapshot().host, Some(key(3).id()));
        }
        peer.hears(2, taken.clone());
        assert_eq!(peer.room.snapshot().host, Some(key(2).id()), "deceived: {deceived}");
    }
    // once in 30 s
    let again = signed(taken.clone());
    let outputs = host.hears(3, reign(&again, 3, 3, &[3, 4]));
    assert_eq!((reigns(&outputs, 4), host.room.snapshot().host), (vec![], Some(key(2).id())));
    host.runs_for(31 * SECOND);
    assert_eq!(reigns(&host.hears(3, reign(&again, 3, 3, &[3, 4])), 4), [4]);
}

#[test]
fn a_restarted_host_takes_its_room_back_with_the_peers_it_had() {
    let before = signed(roster_of(50, &full(), heirs));
    for rival in [Message::Member(MemberMessage::Roster(before.clone())), reign(&before, 1, 6, &[3, 6, 7])] {
        let mut host = host();
        host.hears(6, rival);
        let peers: Vec<_> = host.room.roster().unwrap().entries.iter().map(|entry| entry.peer).collect();
        assert_eq!(peers, [2, 3, 4, 6, 7].map(|seed| key(seed).id()));
        assert!(host.room.epoch() > 50 && host.room.snapshot().host == Some(key(2).id()));
    }
}

#[test]
fn a_host_hands_the_room_over_by_its_own_signature() {
    let mut host = host();
    host.hears(3, join(false));
    let under = roster_by(&mut host, 3);
    let outputs = host.give(Input::Command(Command::HandOver(key(3).id())));
    let order = said(&outputs, 3)
        .into_iter()
        .find(|message| matches!(message, Message::Host(HostMessage::HandOver(_))))
        .unwrap();
    let mut next = Brain::new(3, consenting());
    next.hears(2, Message::Member(MemberMessage::Roster(under.clone())));
    for (by, number) in [(4, 1), (1, 2)] {
        next.hears(4, Message::Host(HostMessage::HandOver(named(&key(by), under.epoch, number, 3))));
        assert_eq!(next.room.snapshot().host, Some(key(2).id()), "by {by}, number {number}");
    }
    let outputs = next.hears(2, order.clone());
    assert_eq!(next.room.snapshot().host, Some(key(3).id()));
    let roster = said(&outputs, 2)
        .into_iter()
        .find(|message| matches!(message, Message::Member(MemberMessage::Roster(_))))
        .unwrap();
    host.hears(3, roster.clone());
    assert_eq!(host.room.snapshot().host, Some(key(3).id()), "it doesn't take back what it gave");
    // in a later reign the host's own key signs
    let mut peer = Brain::new(4, consenting());
    peer.hears(3, roster.clone());
    let by_root = Reign::Named { named: named(&key(1), under.epoch, 1, 3) };
    let by = |seed: u8| Reign::Named { named: named(&key(seed), first_epoch(1), 2, 4) };
    for (seed, holds) in [(3, true), (2, false), (4, false)] {
        let message = reigned(&under, 4, vec![by_root.clone(), by(seed)]);
        assert_eq!(message.verify(&room(), &key(1).id(), crate::samples::NOW).is_ok(), holds, "by {seed}");
    }
    // and the root key takes the room back when it wants to
    host.give(Input::Command(Command::TakeBack));
    assert_eq!(host.room.snapshot().host, Some(key(2).id()));
}

#[test]
fn a_host_that_leaves_hands_the_room_over_before_it_goes() {
    for answers in [true, false] {
        let mut host = host();
        host.hears(3, join(false));
        let under = roster_by(&mut host, 3);
        let has_left = |outputs: &[Output]| outputs.contains(&Output::Event(Event::HandedOver));
        let outputs = host.give(Input::Command(Command::Leave));
        let order = said(&outputs, 3)
            .into_iter()
            .find(|message| matches!(message, Message::Host(HostMessage::HandOver(_))));
        let order = order.expect("the heir is told").clone();
        assert!(!has_left(&outputs) && !has_left(&untimed(host.runs_for(SECOND / 2))));
        if answers {
            let mut heir = Brain::new(3, consenting());
            heir.hears(2, Message::Member(MemberMessage::Roster(under)));
            let outputs = heir.hears(2, order);
            assert_eq!(heir.room.snapshot().host, Some(key(3).id()));
            let first = said(&outputs, 2)
                .into_iter()
                .find(|message| matches!(message, Message::Member(MemberMessage::Roster(_))));
            let mut outputs = host.hears(3, first.unwrap().clone());
            outputs.extend(untimed(host.runs_for(SECOND / 10)));
            assert!(has_left(&outputs), "{outputs:?}");
            assert!(said(&outputs, 3).contains(&&Message::Member(MemberMessage::Leave)), "{outputs:?}");
        } else {
            assert!(has_left(&untimed(host.runs_for(SECOND))));
        }
    }
    let mut alone = host();
    let outputs = alone.give(Input::Command(Command::Leave));
    assert!(outputs.contains(&Output::Event(Event::HandedOver)), "{outputs:?}");
}

#[test]
fn who_may_sit_at_a_peer_comes_before_a_headless_mixer_as_heir() {
    let mut host = host();
    let comes = |host: &mut Brain, peer, speaks, views| {
        host.hears(
            peer,
            Message::Member(MemberMessage::Join(Join { speaks, views, mixes: true, ..Join::viewer("x") })),
        );
    };
    comes(&mut host, 3, false, false);
    comes(&mut host, 4, false, true);
    comes(&mut host, 6, true, false);
    host.rests_for(SECOND);
    let heirs = |host: &Brain| host.room.roster().unwrap().heirs.to_vec();
    assert_eq!(heirs(&host), [4, 6, 3].map(|seed| key(seed).id()));
    // a vote counts for more: ids cost nothing
    host.give(Input::Command(Command::Promote(key(3).id())));
    host.rests_for(SECOND);
    assert_eq!(heirs(&host), [3, 4, 6].map(|seed| key(seed).id()));
}
