//! A living host rules: what other peers decide without it, what a host may do that the stage chose, and how many
//! unnamed candidates come on stage.

use crate::samples::brain::{
    Brain, SECOND, candidate, consenting, decided_by, events, hosting, outcome_of, roster_of, said, speaker,
    viewing,
};
use crate::samples::{NEVER, NOW, key, list, room};
use plenary_proto::message::*;
use plenary_proto::seal::{Countersigned, Signed};
use plenary_proto::{Command, Event, HostConfig, Input, Output, RoomConfig, Via};

/// A candidate that waited for five minutes on stage.
fn patient(seed: u8) -> Entry {
    Entry { votes: Vote::ByTime, ..candidate(seed) }
}

fn newcomer(seed: u8) -> Entry {
    Entry { votes: Vote::No, ..candidate(seed) }
}

/// The host, key 2, two patient strangers, and two newcomers.
fn stage() -> Vec<Entry> {
    vec![speaker(2), patient(3), patient(4), newcomer(6), newcomer(7)]
}

/// The same, and a peer that the host named.
fn with_named() -> Vec<Entry> {
    [stage(), vec![candidate(8)]].concat()
}

fn heirs(roster: &mut Roster) {
    roster.heirs = list(vec![key(3).id(), key(8).id()]);
}

fn decided(epoch: u32, term: u32, by: &[u8]) -> Message {
    Message::Election(ElectionMessage::Decided(Box::new(decided_by(
        epoch,
        &outcome_of(term, &[3], &[4]),
        by,
    ))))
}

fn signed(message: Message) -> SignedRoster {
    let Message::Member(MemberMessage::Roster(roster)) = message else { panic!("{message:?}") };
    roster
}

/// A roster by an heir that these peers chose under a roster; `number` tells the rosters of its reign apart.
fn by_heir(
    under: &SignedRoster,
    (heir, number): (u8, u32),
    by: &[u8],
    change: impl FnOnce(&mut Roster),
) -> Message {
    let body = Heir { number: 1, host: key(heir).id() };
    let sign = |seed: &u8| {
        let keys = key(*seed);
        (keys.id(), Countersigned::<Heir, ROSTER_MAX>::countersign(&keys, &room(), under.epoch, &body))
    };
    let chosen = Countersigned { epoch: under.epoch, body, signatures: list(by.iter().map(sign).collect()) };
    let reigns = Reigns(list(vec![Reign::Chosen { under: under.signed.clone(), chosen }]));
    let mut roster = Roster { host: key(heir).id(), ..under.body.clone() };
    change(&mut roster);
    let epoch = first_epoch(1) + number;
    let signed = Signed::new(&key(heir), &room(), epoch, epoch.into(), NEVER, roster);
    Message::Member(MemberMessage::Roster(SignedRoster::new(ProvenRoster { signed, reigns })))
}

/// A member on that stage, key 6, in whose room the host has signed the outcome of term 1.
fn member(stage: &[Entry]) -> Brain {
    let mut peer = Brain::new(6, consenting());
    peer.adopts(stage, heirs);
    let named = (1..20)
        .filter(|seed| stage.iter().any(|entry| entry.peer == key(*seed).id() && entry.votes == Vote::Named));
    peer.hears(2, decided(7, 1, &named.collect::<Vec<u8>>()));
    assert_eq!(peer.term(), 1);
    peer
}

fn host_of(peer: &Brain) -> u8 {
    let host = peer.room.snapshot().host.unwrap();
    (1..20).find(|seed| key(*seed).id() == host).unwrap()
}

/// Hears a roster from an accomplice, unless too few have signed: then it isn't even verified.
fn hears_if_proven(peer: &mut Brain, roster: Message) {
    if let Ok(message) = roster.verify(&room(), &key(1).id(), NOW + peer.now / SECOND) {
        peer.give(Input::Message { from: key(3).id(), via: Via::Link, message });
    }
}

#[test]
fn two_ids_that_waited_five_minutes_decide_nothing_beside_a_heard_host() {
    for stage in [stage(), with_named()] {
        let mut peer = member(&stage);
        for (second, by) in (0..20_u8).zip([[3, 4].as_slice(), &[3, 4, 7], &[3, 4, 6, 7]].into_iter().cycle())
        {
            peer.rests_for(SECOND);
            peer.hears(2, Message::Link(LinkMessage::Bye(LinkKind::Trunk(7)))); // the host is heard
            peer.hears(3, decided(7, 2, by));
            assert_eq!(peer.term(), 1, "after {second} s, by {by:?}");
        }
        let under = signed(roster_of(7, &stage, heirs));
        hears_if_proven(&mut peer, by_heir(&under, (3, 1), &[3, 4], |_| {}));
        assert_eq!(host_of(&peer), 2);
    }
}

#[test]
fn the_host_follows_no_outcome_of_peers_that_it_did_not_name() {
    let mut host = Brain::new(2, RoomConfig { host: Some(hosting()), speaks: true, ..viewing() });
    for seed in [3, 4] {
        host.hears(
            seed,
            Message::Member(MemberMessage::Join(Join { mixes: true, ..Join::viewer("Mallory") })),
        );
    }
    for _ in 0..160 {
        for seed in [3, 4] {
            host.give(Input::Heard(key(seed).id()));
        }
        host.runs_for(2 * SECOND);
    }
    let roster = host.room.roster().unwrap();
    let votes = |seed: u8| roster.entries.iter().find(|entry| entry.peer == key(seed).id()).unwrap().votes;
    assert_eq!([2, 3, 4].map(votes), [Vote::Named, Vote::ByTime, Vote::ByTime]);
    let term = host.term();
    host.hears(3, decided(host.room.epoch(), term + 1, &[3, 4]));
    assert_eq!((host.term(), host_of(&host)), (term, 2));
}

#[test]
fn an_outcome_waits_for_the_host_s_word_or_until_it_is_missed() {
    let named = || vec![speaker(2), candidate(3), candidate(4), newcomer(6)];
    let mut peer = member(&named());
    peer.hears(3, decided(7, 2, &[3, 4]));
    peer.runs_for(7 * SECOND);
    assert_eq!(peer.term(), 1, "the host was heard seven seconds ago");
    peer.runs_for(SECOND + SECOND / 10);
    assert_eq!(peer.term(), 2, "the host is missed");

    let mut peer = member(&named());
    peer.hears(3, decided(7, 2, &[3, 4]));
    let word = Confirmed::of(&outcome_of(2, &[3], &[4]));
    peer.hears(
        3,
        Message::Election(ElectionMessage::Confirmed(Signed::new(&key(1), &room(), 7, 100, NEVER, word))),
    );
    assert_eq!(peer.term(), 2, "the host's word");
}

#[test]
fn votes_by_time_count_for_a_missed_host_and_without_named_peers() {
    for (stage, by, counts) in [
        (stage(), &[3, 4][..], true),
        (stage(), &[3, 7], false),
        (with_named(), &[3, 4, 7], false),
        (with_named(), &[8], true),
        ([stage(), vec![crate::samples::brain::away(candidate(8))]].concat(), &[3, 4, 8], true),
    ] {
        let mut peer = member(&stage);
        let under = signed(roster_of(7, &stage, heirs));
        peer.rests_for(8 * SECOND);
        let heir = if by == [8] { 8 } else { 3 };
        let roster = by_heir(&under, (heir, 1), by, |_| {});
        hears_if_proven(&mut peer, roster);
        assert_eq!(host_of(&peer) == heir, counts, "{by:?} of {} peers", stage.len());
    }
}

/// What two strangers do with a hiccup of nine seconds: their reign's first or next roster ends the room, removes
/// everybody, or locks its members out with a new invite.
#[test]
fn a_host_that_the_stage_chose_ends_and_removes_nothing_for_ten_seconds() {
    type Act = fn(&mut Roster);
    let acts: [Act; 3] = [
        |roster| roster.rules.access.ended = true,
        |roster| roster.rules.access.removed = list((6..9).map(|seed| key(seed).id()).collect()),
        |roster| roster.rules.access.generation = 1,
    ];
    for act in acts {
        for first_is_harmless in [false, true] {
            let mut peer = member(&stage());
            let under = signed(roster_of(7, &stage(), heirs));
            peer.rests_for(9 * SECOND);
            if first_is_harmless {
                peer.hears(3, by_heir(&under, (3, 1), &[3, 4], |_| {}));
                assert_eq!(host_of(&peer), 3);
            }
            let outputs = peer.hears(3, by_heir(&under, (3, 2), &[3, 4], act));
            let over = |outputs: &[Output]| {
                events(outputs).iter().any(|event| matches!(event, Event::Ended | Event::Removed))
            };
            assert!(!over(&outputs));
            assert!(!peer.room.roster().unwrap().rules.access.ended);
            // the host is back, and takes its room back
            let named =
                Signed::new(&key(1), &room(), 7, 7, NEVER, Successor { number: 2, host: key(2).id() });
            let back = Roster { host: key(2).id(), ..under.body.clone() };
            let epoch = first_epoch(2);
            let back = Signed::new(&key(2), &room(), epoch, epoch.into(), NEVER, back);
            let reigns = Reigns(list(vec![Reign::Named { named }]));
            peer.hears(
                2,
                Message::Member(MemberMessage::Roster(SignedRoster::new(ProvenRoster {
                    signed: back,
                    reigns,
                }))),
            );
            let outputs: Vec<Output> =
                peer.runs_for(30 * SECOND).into_iter().map(|(_, output)| output).collect();
            assert!(!over(&outputs));
            assert_eq!(host_of(&peer), 2);
            assert!(peer.room.roster().unwrap().rules.access.removed.is_empty());
        }
        // a host that stays away is replaced in full
        let mut peer = member(&stage());
        let under = signed(roster_of(7, &stage(), heirs));
        peer.rests_for(9 * SECOND);
        peer.hears(3, by_heir(&under, (3, 1), &[3, 4], |_| {}));
        peer.hears(3, by_heir(&under, (3, 2), &[3, 4], act));
        let before = peer.room.roster().unwrap().rules.access.clone();
        peer.runs_for(3 * SECOND);
        assert_ne!(peer.room.roster().unwrap().rules.access, before, "after twelve seconds");
    }
}

#[test]
fn an_heir_itself_waits_before_it_removes_anybody() {
    let mut heir = Brain::new(3, consenting());
    heir.adopts(&stage(), heirs);
    heir.runs_for(10 * SECOND + SECOND / 10);
    let epoch = heir.room.epoch();
    let body = Heir { number: 1, host: key(3).id() };
    let signature = Countersigned::<Heir, ROSTER_MAX>::countersign(&key(4), &room(), epoch, &body);
    heir.hears(4, Message::Host(HostMessage::ReignVote { epoch, number: 1, signature: Some(signature) }));
    assert_eq!(host_of(&heir), 3);
    heir.give(Input::Command(Command::Remove(key(7).id())));
    heir.give(Input::Command(Command::End));
    let access = heir.room.roster().unwrap().rules.access.clone();
    assert!(access.removed.is_empty() && !access.ended);
    heir.runs_for(2 * SECOND);
    heir.give(Input::Command(Command::Remove(key(7).id())));
    assert_eq!(heir.room.roster().unwrap().rules.access.removed[..], [key(7).id()]);
}

// ── candidates ───────────────────────────────────────────────────────────────────────────────────────────────────

fn host_with(change: impl FnOnce(&mut HostConfig)) -> Brain {
    let mut config = hosting();
    change(&mut config);
    Brain::new(2, RoomConfig { host: Some(config), speaks: true, ..viewing() })
}

fn joins(host: &mut Brain, seed: u8, join: Join) -> Vec<Output> {
    let outputs = host.hears(seed, Message::Member(MemberMessage::Join(join)));
    host.rests_for(SECOND);
    outputs
}

fn only_mixing() -> Join {
    Join { mixes: true, views: false, ..Join::viewer("Mallory") }
}

fn on_stage(host: &Brain) -> Vec<u8> {
    let seed = |entry: &Entry| (1..120).find(|seed| key(*seed).id() == entry.peer).unwrap();
    host.room.roster().unwrap().entries.iter().map(seed).collect()
}

fn knocks(outputs: &[Output]) -> usize {
    events(outputs).iter().filter(|event| matches!(event, Event::Knock { mixes: true, .. })).count()
}

/// Keeps the peers on stage from being away.
fn hear(host: &mut Brain) {
    for seed in on_stage(host) {
        host.give(Input::Heard(key(seed).id()));
    }
}

#[test]
fn an_open_stage_takes_eight_unnamed_candidates_and_speakers_still_come() {
    let mut host = host_with(|_| {});
    for seed in 20..83 {
        let outputs = joins(&mut host, seed, only_mixing());
        hear(&mut host);
        let refused = said(&outputs, seed)
            .iter()
            .any(|message| matches!(message, Message::Member(MemberMessage::Refuse(_))));
        assert_eq!(refused, seed >= 28, "{seed}");
    }
    assert_eq!(on_stage(&host).len(), 1 + 8);
    // one that also views is a viewer, one that also speaks a speaker, without being a candidate
    joins(&mut host, 90, Join { mixes: true, ..Join::viewer("Ben") });
    assert!(!on_stage(&host).contains(&90));
    joins(&mut host, 91, Join { speaks: true, ..only_mixing() });
    let entry = host.room.roster().unwrap().entries.iter().find(|entry| entry.peer == key(91).id()).cloned();
    assert!(entry.is_some_and(|entry| entry.speaks && !entry.mixes));
    // a named one always is
    host.give(Input::Command(Command::Promote(key(92).id())));
    joins(&mut host, 92, only_mixing());
    assert!(on_stage(&host).contains(&92));
}

#[test]
fn on_a_full_stage_speakers_and_named_peers_displace_unnamed_candidates() {
    let mut host = host_with(|host| host.members = vec![key(110).id()]);
    for seed in 20..28 {
        joins(&mut host, seed, only_mixing());
        hear(&mut host);
    }
    for seed in 30..85 {
        joins(&mut host, seed, Join { speaks: true, mixes: false, ..only_mixing() });
        hear(&mut host);
    }
    assert_eq!(on_stage(&host).len(), ROSTER_MAX);
    joins(&mut host, 100, Join { speaks: true, mixes: false, ..only_mixing() });
    hear(&mut host);
    joins(&mut host, 110, only_mixing());
    let stage = on_stage(&host);
    assert!(stage.contains(&100) && stage.contains(&110) && stage.len() == ROSTER_MAX);
    let unnamed = (20..28).filter(|seed| stage.contains(seed)).count();
    assert_eq!(unnamed, 6);
}

#[test]
fn on_a_closed_stage_candidates_ask_once_and_wait_for_the_host() {
    let mut host = host_with(|host| host.stage_open = false);
    let mut asked = 0;
    for seed in 20..40 {
        for _ in 0..2 {
            let outputs = joins(&mut host, seed, only_mixing());
            asked += knocks(&outputs);
            assert!(
                said(&outputs, seed)
                    .iter()
                    .any(|message| matches!(message, Message::Member(MemberMessage::InLobby)))
            );
        }
    }
    assert_eq!((asked, on_stage(&host)), (20, vec![2]));
    host.give(Input::Command(Command::Admit(key(20).id())));
    joins(&mut host, 20, only_mixing());
    assert_eq!(on_stage(&host), [2, 20]);
    assert_eq!(host.room.roster().unwrap().rules.mixing, MixPolicy::Named);
    assert_eq!(host.room.candidates(), [key(20).id()]);
}

#[test]
fn a_promoted_speaker_comes_on_a_stage_that_strangers_besiege() {
    for stage_open in [false, true] {
        let mut host = host_with(|host| host.stage_open = stage_open);
        for seed in 20..83 {
            joins(&mut host, seed, only_mixing());
            hear(&mut host);
        }
        joins(&mut host, 100, Join { speaks: true, ..Join::viewer("Ben") });
        host.give(Input::Command(Command::Promote(key(100).id())));
        joins(&mut host, 100, Join { speaks: true, ..Join::viewer("Ben") });
        assert!(on_stage(&host).contains(&100), "open: {stage_open}");
    }
}

#[test]
fn the_host_removes_all_unnamed_candidates_at_once_and_nobody_else() {
    let mut host = host_with(|host| host.members = vec![key(110).id()]);
    for seed in 20..28 {
        joins(&mut host, seed, only_mixing());
        hear(&mut host);
    }
    joins(&mut host, 30, Join { speaks: true, ..only_mixing() });
    joins(&mut host, 110, only_mixing());
    hear(&mut host);
    let epoch = host.room.epoch();
    host.give(Input::Command(Command::RemoveUnnamed));
    host.runs_for(SECOND);
    let mut stage = on_stage(&host);
    stage.sort_unstable();
    assert_eq!(stage, [2, 30, 110]);
    assert_eq!(host.room.roster().unwrap().rules.access.removed.len(), 8);
    assert_eq!(host.room.epoch(), epoch + 1, "in one roster");
}

#[test]
fn the_host_asks_all_speakers_but_itself_to_be_silent() {
    let mut host = host_with(|_| {});
    for seed in [30, 40] {
        joins(&mut host, seed, Join { speaks: true, ..Join::viewer("Ben") });
        hear(&mut host);
    }
    joins(&mut host, 50, only_mixing());
    let muted = Muted { picture: false, sound: true };
    let outputs = host.give(Input::Command(Command::MuteAll(muted)));
    let asked = |seed| said(&outputs, seed).contains(&&Message::Host(HostMessage::MuteWanted(muted)));
    assert_eq!([2, 30, 40, 50].map(asked), [false, true, true, false]);
}

#[test]
fn the_host_says_which_of_the_peers_that_consent_may_mix() {
    let stage = || vec![speaker(2), newcomer(3), candidate(4), patient(6)];
    for (mixing, eligible) in [(MixPolicy::Anyone, &[3, 4, 6][..]), (MixPolicy::Named, &[4])] {
        let mut peer = Brain::new(6, consenting());
        peer.adopts(&stage(), |roster| roster.rules.mixing = mixing);
        let mut expected: Vec<_> = eligible.iter().map(|seed| key(*seed).id()).collect();
        expected.sort_unstable();
        assert_eq!(peer.room.candidates(), expected);
    }
    let mut host = host_with(|_| {});
    let mixing = |host: &Brain| host.room.roster().unwrap().rules.mixing;
    assert_eq!(mixing(&host), MixPolicy::Anyone);
    host.give(Input::Command(Command::OpenStage(false)));
    host.runs_for(SECOND);
    assert_eq!(mixing(&host), MixPolicy::Anyone, "whoever mixes goes on");
    host.give(Input::Command(Command::SetMixing(MixPolicy::Named)));
    host.runs_for(SECOND);
    assert_eq!(mixing(&host), MixPolicy::Named);
    assert_eq!(
        mixing(&host_with(|host| host.stage_open = false)),
        MixPolicy::Named,
        "the default of a closed stage"
    );
}
