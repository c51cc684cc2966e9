//! Peers that record: marks on stage, and the number of viewers that do.

use crate::samples::brain::{
    Brain, MS, SECOND, admitting, candidate, hosting, roster_of, said, speaker, viewing,
};
use crate::samples::viewer::Viewer;
use plenary_proto::message::{
    Aggregate, Attach, Entry, HostMessage, Join, MemberMessage, Message, TreeMessage,
};
use plenary_proto::{Command, Input, Output, RoomConfig};

fn records(brain: &mut Brain, records: bool) -> Vec<Output> {
    brain.give(Input::Command(Command::Records(records)))
}

/// Returns whether the requests to the host among these outputs say that this peer records.
fn joins(outputs: &[Output]) -> Vec<bool> {
    let of = |output: &Output| match output {
        Output::Signal(_, Message::Member(MemberMessage::Join(join)))
        | Output::Control(_, Message::Member(MemberMessage::Join(join))) => Some(join.records),
        _ => None,
    };
    outputs.iter().filter_map(of).collect()
}

/// Returns the number of recorders that a peer told its parent, the mixer.
fn told(outputs: &[Output]) -> Vec<u32> {
    let of = |message: &&Message| match message {
        Message::Tree(TreeMessage::Aggregate(sum)) => Some(sum.recorders),
        _ => None,
    };
    said(outputs, 3).iter().filter_map(of).collect()
}

#[test]
fn the_roster_says_who_on_stage_records_until_it_ends() {
    let config = RoomConfig { host: Some(hosting()), speaks: true, views: false, ..viewing() };
    let mut host = Brain::new(2, config);
    let shown = |host: &Brain| -> Vec<bool> {
        host.room.roster().unwrap().entries.iter().map(|entry| entry.records).collect()
    };
    assert_eq!(shown(&host), [false]);
    host.hears(
        7,
        Message::Member(MemberMessage::Join(Join { speaks: true, records: true, ..Join::viewer("x") })),
    );
    records(&mut host, true);
    host.runs_for(SECOND);
    assert_eq!(shown(&host), [true, true]);
    host.hears(7, Message::Member(MemberMessage::Join(Join { speaks: true, ..Join::viewer("x") })));
    records(&mut host, false);
    host.runs_for(SECOND);
    assert_eq!(shown(&host), [false, false]);
}

#[test]
fn a_peer_on_stage_repeats_that_it_records_until_the_roster_says_so() {
    // a mixer records as well, and doesn't speak
    let config = RoomConfig { views: false, ..viewing() };
    let mut mixer = Brain::new(7, RoomConfig { consent: plenary_proto::message::Consent::Always, ..config });
    let stage = [speaker(2), candidate(3), candidate(7)];
    let roster = |epoch, records| {
        let entries = stage.clone().map(|entry| Entry { records: records && entry.index == 7, ..entry });
        match roster_of(epoch, &entries, |_| {}) {
            Message::Member(MemberMessage::Roster(signed)) => signed,
            other => panic!("{other:?}"),
        }
    };
    mixer.hears(2, Message::Member(MemberMessage::Admit(Box::new(admitting(roster(7, false))))));
    assert!(records(&mut mixer, false).is_empty(), "nothing new");
    assert_eq!(joins(&records(&mut mixer, true)), [true]);
    mixer.hears(2, Message::Member(MemberMessage::Admit(Box::new(admitting(roster(8, true))))));
    let timed = mixer.runs_for(60 * SECOND).into_iter().map(|(_, output)| output).collect::<Vec<_>>();
    assert_eq!(joins(&timed), [] as [bool; 0], "it stands in the roster");
    assert_eq!(
        joins(&mixer.hears(2, Message::Member(MemberMessage::Roster(roster(9, false))))),
        [true],
        "it was lost"
    );
}

#[test]
fn a_relay_counts_the_recorders_below_it_and_itself() {
    let mut relay = Viewer::relay();
    relay.is_joined_by(10, Attach::newcomer());
    relay.runs_for(5 * SECOND);
    let told_within = |relay: &mut Viewer, first: Vec<Output>| {
        let later = relay.runs_for(5 * SECOND).into_iter().map(|(_, output)| output);
        told(&first.into_iter().chain(later).collect::<Vec<_>>())
    };
    let begun = relay.give(Input::Command(Command::Records(true)));
    assert_eq!(joins(&begun), [] as [bool; 0], "off stage the tree counts");
    assert_eq!(told_within(&mut relay, begun), [1]);
    let below = |viewers, recorders| Aggregate { viewers, recorders, deepest: 1, ..Aggregate::default() };
    let outputs = relay.hears(10, Message::Tree(TreeMessage::Aggregate(below(4, 3))));
    assert_eq!(told_within(&mut relay, outputs), [4]);
    let outputs = relay.hears(10, Message::Tree(TreeMessage::Aggregate(below(4, u32::MAX))));
    assert_eq!(told_within(&mut relay, outputs), [5], "no more of them than viewers");
    let ended = relay.give(Input::Command(Command::Records(false)));
    assert_eq!(told_within(&mut relay, ended), [4]);
}

#[test]
fn the_roster_has_the_number_of_viewers_that_record() {
    let config = RoomConfig { host: Some(hosting()), speaks: true, views: false, ..viewing() };
    let mut host = Brain::new(2, config);
    host.hears(
        3,
        Message::Member(MemberMessage::Join(Join { views: false, mixes: true, ..Join::viewer("mixer") })),
    );
    host.hears(10, Message::Member(MemberMessage::Join(Join::viewer("viewer"))));
    host.runs_for(6 * SECOND);
    let shown = |host: &Brain| host.room.roster().unwrap().recorders;
    let counts = |viewers, recorders| Message::Host(HostMessage::Audience { viewers, recorders });
    host.hears(10, counts(9, 9));
    host.runs_for(2 * SECOND);
    assert_eq!(shown(&host), 0, "no mixer said so");
    host.hears(3, counts(9, 100));
    host.runs_for(2 * SECOND);
    assert_eq!(shown(&host), 9, "no more than viewers");
    let epoch = host.room.epoch();
    for recorders in 0..8 {
        host.hears(3, counts(9, recorders));
        host.runs_for(250 * MS);
    }
    assert_eq!(host.room.epoch(), epoch, "not within five seconds");
    for _ in 0..3 {
        host.hears(3, counts(9, 2));
        host.runs_for(2 * SECOND);
    }
    assert_eq!(shown(&host), 2);
    host.runs_for(20 * SECOND);
    assert_eq!(shown(&host), 0, "the mixer is silent");
}
