//! A host that opens its room again with the keys of an earlier session: it asks those who have stayed, and goes on
//! from what they have.

use crate::samples::brain::{
    Brain, MS, SECOND, candidate, consenting, hosting, roster_of, said, says, speaker, untimed, viewing,
};
use crate::samples::{NEVER, key, list, named, room};
use plenary_proto::message::*;
use plenary_proto::seal::{Countersigned, Signed};
use plenary_proto::{Address, Command, HostConfig, Input, Output, Reopening, RoomConfig};

/// Returns a host, key 2, that opens its room again with a number of its keys: two above the highest of its session.
fn reopening(reign: u32) -> Brain {
    let host = HostConfig { reign, stage_open: false, ..hosting() };
    Brain::new(2, RoomConfig { host: Some(host), speaks: true, ..viewing() })
}

/// The stage that the host has left: two speakers, of which one votes, and a mixer.
fn stage() -> Vec<Entry> {
    let unnamed = Entry { votes: Vote::No, ..speaker(6) };
    vec![Entry { index: 1, ..speaker(4) }, Entry { index: 2, ..unnamed }, candidate(3)]
}

/// Returns a roster of an heir, key 3, under these reigns.
fn of_heir(entries: &[Entry], reigns: Vec<Reign>, change: impl FnOnce(&mut Roster)) -> Message {
    let Message::Member(MemberMessage::Roster(roster)) = roster_of(50, entries, change) else { panic!() };
    let epoch = first_epoch(reigns.last().map_or(0, Reign::number)) + 5;
    let body = Roster { host: key(3).id(), ..roster.body.clone() };
    let signed = Signed::new(&key(3), &room(), epoch, epoch.into(), NEVER, body);
    Message::Member(MemberMessage::Roster(SignedRoster::new(ProvenRoster {
        signed,
        reigns: Reigns(list(reigns)),
    })))
}

/// The host has handed the room over as it left.
fn handed_over(number: u32) -> Vec<Reign> {
    vec![Reign::Named { named: named(&key(1), 50, number, 3) }]
}

/// The stage has chosen key 3 under the last roster of the host, which had that stage.
fn chosen(number: u32, before: &[Entry]) -> Vec<Reign> {
    let own = |roster: &mut Roster| roster.heirs = list(vec![key(3).id()]);
    let Message::Member(MemberMessage::Roster(under)) = roster_of(50, before, own) else { panic!() };
    let body = Heir { number, host: key(3).id() };
    let sign = |seed: u8| {
        let keys = key(seed);
        (keys.id(), Countersigned::<Heir, ROSTER_MAX>::countersign(&keys, &room(), under.epoch, &body))
    };
    let signatures = list([3, 4].map(sign).to_vec());
    let chosen = Countersigned { epoch: under.epoch, body, signatures };
    vec![Reign::Chosen { under: under.signed.clone(), chosen }]
}

fn asks(outputs: &[(u64, Output)]) -> Vec<u64> {
    let asks = |output: &Output| {
        matches!(output, Output::Signal(Address::Host, Message::Member(MemberMessage::Roster(_))))
    };
    outputs.iter().filter(|(_, output)| asks(output)).map(|(at, _)| at / MS).collect()
}

/// Returns the reigns of the newest roster that the host, key 2, has sent.
fn new_reigns(outputs: &[Output]) -> Reigns {
    let rosters = outputs.iter().filter_map(|output| match output {
        Output::Signal(_, Message::Member(MemberMessage::Roster(roster)))
        | Output::Control(_, Message::Member(MemberMessage::Roster(roster))) => Some(roster),
        _ => None,
    });
    let newest = rosters.filter(|roster| roster.body.host == key(2).id()).max_by_key(|roster| roster.epoch);
    newest.unwrap().reigns.clone()
}

fn peers(host: &Brain) -> Vec<(u8, bool, Vote)> {
    let seed = |entry: &Entry| (1..20).find(|seed| key(*seed).id() == entry.peer).unwrap();
    let entries = &host.room.roster().unwrap().entries;
    entries.iter().map(|entry| (seed(entry), entry.speaks, entry.votes)).collect()
}

#[test]
fn a_host_with_the_keys_of_an_earlier_session_asks_before_it_reigns() {
    let mut host = reopening(2);
    let first: Vec<_> = host.give(Input::SignalUp(true)).into_iter().map(|output| (0, output)).collect();
    assert_eq!(
        (asks(&first), host.room.reopening()),
        (vec![0], Reopening::Asks),
        "of whoever has stayed there"
    );
    let outputs = host.runs_for(4 * SECOND);
    assert_eq!(asks(&outputs), [500, 1000, 1500, 2000, 2500]);
    let claims: Vec<_> = outputs.iter().filter(|(_, output)| *output == Output::Claim).collect();
    assert!(matches!(claims[..], [(3_000_000..3_000_010, _)]), "{claims:?}");
    assert_eq!((host.room.reopening(), reign_of(host.room.epoch())), (Reopening::Unanswered, 2));
    // asked to take the room back, it asks once more
    host.give(Input::Command(Command::TakeBack));
    assert_eq!(asks(&host.runs_for(600 * MS)).len(), 1);
    // a new room has nobody to ask
    let mut host = reopening(0);
    host.give(Input::SignalUp(true));
    assert_eq!(asks(&host.runs_for(4 * SECOND)), []);
    assert_eq!(host.room.reopening(), Reopening::Done);
}

#[test]
fn it_goes_on_soon_from_the_stage_of_its_heir() {
    let mut host = reopening(2);
    host.give(Input::SignalUp(true));
    host.runs_for(100 * MS);
    let newcomer = Message::Member(MemberMessage::Join(Join::viewer("Zoë")));
    let outputs = host.hears(9, newcomer);
    assert!(
        !says(&outputs, 9, |message| matches!(message, Message::Member(MemberMessage::Admit(_)))),
        "not yet"
    );
    let change = |roster: &mut Roster| {
        roster.rules.mixers = 3;
        roster.rules.access.removed = list(vec![key(8).id()]);
    };
    // any member may have it, and the rendezvous chooses whom it asks
    host.hears(4, of_heir(&stage(), handed_over(1), change));
    let outputs = host.runs_for(300 * MS);
    assert!(outputs.iter().any(|(_, output)| *output == Output::Claim));
    let outputs: Vec<_> = outputs.into_iter().map(|(_, output)| output).collect();
    assert!(
        says(&outputs, 9, |message| matches!(message, Message::Member(MemberMessage::Admit(_)))),
        "who asked need not ask again"
    );
    assert_eq!((host.room.reopening(), reign_of(host.room.epoch())), (Reopening::Done, 2));
    let named = |seed, speaks| (seed, speaks, Vote::Named);
    assert_eq!(peers(&host), [named(2, true), named(4, true), (6, true, Vote::No), named(3, false)]);
    let roster = host.room.roster().unwrap();
    assert_eq!((roster.rules.mixers, &roster.rules.access.removed[..]), (3, &[key(8).id()][..]));
    let reigns = new_reigns(&outputs);
    assert!(!reigns.voids(50) && !reigns.voids(first_epoch(1) + 5), "what was decided stays in force");
    assert!(reigns.voids(first_epoch(1) + 6));
    assert!(says(
        &outputs,
        4,
        |message| matches!(message, Message::Member(MemberMessage::Roster(roster)) if roster.body.host == key(2).id())
    ));
}

#[test]
fn of_a_chosen_host_it_takes_the_stage_and_no_votes_or_settings() {
    let before = [speaker(2), Entry { index: 1, ..speaker(4) }, candidate(3)];
    let mut host = reopening(2);
    host.give(Input::SignalUp(true));
    let change = |roster: &mut Roster| {
        roster.rules.mixers = 3;
        let named = |entry: &Entry| Entry { votes: Vote::Named, ..entry.clone() };
        roster.entries = list(roster.entries.iter().map(named).collect());
        roster.rules.access.removed = list(vec![key(8).id()]);
    };
    host.hears(4, of_heir(&stage(), chosen(1, &before), change));
    host.runs_for(300 * MS);
    assert_eq!(host.room.reopening(), Reopening::Done);
    let named = |seed, speaks| (seed, speaks, Vote::Named);
    assert_eq!(peers(&host), [named(2, true), named(4, true), named(3, false), (6, true, Vote::No)]);
    let roster = host.room.roster().unwrap();
    assert_eq!(
        (roster.rules.mixers, roster.rules.access.removed.len()),
        (0, 0),
        "removals are the application's to judge"
    );
}

#[test]
fn a_roster_of_an_heir_of_an_earlier_session_is_no_answer() {
    // its keys know of reign 2, and what an heir did under reign 1 may be a replay
    let mut host = reopening(4);
    host.give(Input::SignalUp(true));
    host.hears(4, of_heir(&stage(), handed_over(1), |_| ()));
    host.runs_for(4 * SECOND);
    assert_eq!((host.room.reopening(), peers(&host).len()), (Reopening::Unanswered, 1));
    host.hears(3, of_heir(&stage(), handed_over(2), |_| ()));
    assert_eq!(peers(&host).len(), 1);
}

#[test]
fn an_answer_that_comes_late_counts_as_well() {
    let mut host = reopening(2);
    host.give(Input::SignalUp(true));
    host.runs_for(4 * SECOND);
    host.hears(
        9,
        Message::Member(MemberMessage::Join(Join { speaks: true, mixes: true, ..Join::viewer("Zoë") })),
    );
    let mut outputs = host.hears(3, of_heir(&stage(), handed_over(1), |_| ()));
    outputs.extend(untimed(host.runs_for(100 * MS)));
    assert_eq!(host.room.reopening(), Reopening::Done);
    let seeds: Vec<u8> = peers(&host).into_iter().map(|(seed, ..)| seed).collect();
    assert_eq!(seeds, [2, 9, 4, 6, 3].into_iter().filter(|seed| seeds.contains(seed)).collect::<Vec<_>>());
    assert!([4, 6, 3].iter().all(|seed| seeds.contains(seed)), "{seeds:?}");
    assert!(!new_reigns(&outputs).voids(50), "what was decided stays in force");
    // once
    host.hears(3, of_heir(&[stage(), vec![speaker(10)]].concat(), handed_over(1), |_| ()));
    host.runs_for(100 * MS);
    assert!(!peers(&host).iter().any(|(seed, ..)| *seed == 10));
}

#[test]
fn a_reign_handed_on_before_its_own_began_does_not_bind_it() {
    let mut host = reopening(2);
    host.give(Input::SignalUp(true));
    host.runs_for(4 * SECOND);
    // the heir to which it handed the room handed it on, and that one's reign is above its own
    let by_heir = Reign::Named { named: named(&key(3), first_epoch(1), 2, 3) };
    let later = Reign::Named { named: named(&key(3), first_epoch(2), 3, 3) };
    host.hears(3, of_heir(&stage(), [handed_over(1), vec![by_heir, later]].concat(), |_| ()));
    host.runs_for(100 * MS);
    let now = host.room.snapshot();
    assert_eq!((now.host, reign_of(now.epoch)), (Some(key(2).id()), 4));
    assert_eq!(peers(&host).len(), 4);
}

#[test]
fn members_answer_a_host_that_the_root_key_names_and_nobody_else() {
    for (asks, answered) in [(2, true), (7, false)] {
        let mut member = Brain::new(4, consenting());
        member.give(Input::SignalUp(true));
        member.hears(3, of_heir(&stage(), handed_over(1), |_| ()));
        let Message::Member(MemberMessage::Roster(first)) = roster_of(1, &[speaker(2)], |_| ()) else {
            panic!()
        };
        let outputs = member.hears(asks, Message::Member(MemberMessage::Roster(first)));
        let newest = |message: &Message| {
            matches!(message, Message::Member(MemberMessage::Roster(roster))
                if reign_of(roster.epoch) == 1)
        };
        assert_eq!(says(&outputs, asks, newest), answered, "{:?}", said(&outputs, asks));
    }
}

#[test]
fn an_heir_shows_the_room_to_whoever_opens_the_rendezvous_again() {
    let mut heir = Brain::new(3, consenting());
    heir.adopts(&[speaker(2), candidate(3)], |_| ());
    let epoch = heir.epoch();
    heir.hears(2, Message::Host(HostMessage::HandOver(named(&key(1), epoch, 1, 3))));
    assert_eq!(heir.room.snapshot().host, Some(key(3).id()));
    heir.give(Input::SignalUp(false));
    let shows = |output: &Output| {
        matches!(output, Output::Signal(Address::Host, Message::Member(MemberMessage::Roster(_))))
    };
    assert!(heir.give(Input::SignalUp(true)).iter().any(shows));
}

#[test]
fn a_host_that_died_goes_on_from_its_last_roster() {
    let mut member = Brain::new(4, consenting());
    member.give(Input::SignalUp(true));
    member.is_linked_with(key(2).id(), LinkKind::Peer);
    member.hears(2, roster_of(50, &[vec![speaker(2)], stage()].concat(), |_| ()));
    let mut host = reopening(2);
    let asked = host.give(Input::SignalUp(true));
    let asks = asked.into_iter().find_map(|output| match output {
        Output::Signal(Address::Host, message) => Some(message),
        _ => None,
    });
    // the link of the process that died looks alive for a while
    let outputs = member.hears(2, asks.unwrap());
    let answer = outputs.into_iter().find_map(|output| match output {
        Output::Signal(Address::Peer(to), message) if to == key(2).id() => Some(message),
        _ => None,
    });
    host.hears(4, answer.unwrap());
    let outputs = untimed(host.runs_for(400 * MS));
    assert_eq!((host.room.reopening(), peers(&host).len()), (Reopening::Done, 4));
    assert!(!new_reigns(&outputs).voids(50), "what was decided stays in force");
}
