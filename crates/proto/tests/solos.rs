//! Solo streams of speakers that refuse to be shown alone: the mixers' side, the speaker's, and the requester's.

use crate::samples::brain::{
    Brain, SECOND, candidate, consenting, events, hosting, program, said, says, speaker, times_said, viewing,
};
use crate::samples::key;
use crate::samples::viewer::Viewer;
use plenary_proto::app::Solo;
use plenary_proto::message::{Entry, Join, MediaMessage, MemberMessage, Message};
use plenary_proto::{Command, Event, Input, Output, RoomConfig};

fn refusing(entry: Entry) -> Entry {
    Entry { no_solo: true, ..entry }
}

/// Returns a mixer, key 3, with this stage, that has begun its program and is linked with a viewer, key 10.
fn mixer(stage: &[Entry], config: RoomConfig) -> Brain {
    let mut mixer = Brain::new(3, config);
    mixer.adopts(stage, |_| {});
    mixer.elects(1, &[3], &[]);
    mixer.give(Input::Started(program(3, 1, 0)));
    mixer.is_linked_by(10);
    mixer
}

fn wanted(speaker: u8) -> Message {
    Message::Media(MediaMessage::SoloWanted { speaker: Some(key(speaker).id()) })
}

/// Returns whether a peer's request for a speaker is granted.
fn grants(brain: &mut Brain, from: u8, of: u8) -> bool {
    let outputs = brain.hears(from, wanted(of));
    let answers = said(&outputs, from);
    let answer = |comes| Message::Media(MediaMessage::Solo { speaker: key(of).id(), comes });
    assert!(answers.contains(&&answer(true)) != answers.contains(&&answer(false)), "{outputs:?}");
    answers.contains(&&answer(true))
}

fn ends(outputs: &[Output], of: u8, to: u8) -> bool {
    let is_told = says(outputs, to, |message| {
        *message == Message::Media(MediaMessage::Solo { speaker: key(of).id(), comes: false })
    });
    is_told && outputs.contains(&Output::Solos(Vec::new()))
}

#[test]
fn a_mixer_refuses_and_ends_streams_of_a_speaker_that_refuses() {
    let stage = |ben: Entry| [speaker(2), ben, candidate(3)];
    let mut mixer = mixer(&stage(speaker(7)), consenting());
    assert!(grants(&mut mixer, 10, 7));
    let outputs = mixer.adopts(&stage(refusing(speaker(7))), |_| {});
    assert!(ends(&outputs, 7, 10), "{outputs:?}");
    assert!(!grants(&mut mixer, 10, 7) && !grants(&mut mixer, 2, 7), "to viewers and on stage");
    assert!(grants(&mut mixer, 10, 2), "of another speaker");
    assert!(!grants(&mut mixer, 10, 7), "a request takes the place of the one before");
    mixer.adopts(&stage(speaker(7)), |_| {});
    assert!(grants(&mut mixer, 10, 7));
}

#[test]
fn a_speaker_that_mixes_refuses_from_the_moment_it_says_so() {
    let both = Entry { speaks: true, ..candidate(3) };
    let stage = [speaker(2), both, speaker(7)];
    let mut mixer = mixer(&stage, RoomConfig { speaks: true, ..consenting() });
    assert!(grants(&mut mixer, 10, 3));
    let outputs = mixer.give(Input::Command(Command::AllowSolo(false)));
    assert!(ends(&outputs, 3, 10), "before the host has heard of it: {outputs:?}");
    assert!(!grants(&mut mixer, 10, 3));

    let mut ben = Brain::new(7, RoomConfig { speaks: true, no_solo: true, ..viewing() });
    ben.adopts(&[speaker(2), candidate(3), refusing(speaker(7))], |_| {});
    ben.elects(1, &[3], &[]);
    ben.is_linked_by(10);
    assert!(!grants(&mut ben, 10, 7));
}

#[test]
fn a_viewer_is_told_that_a_speaker_refuses_and_asks_once_it_allows() {
    let mut viewer = Viewer::new();
    let stage = |ada: Entry| [ada, candidate(3)];
    viewer.adopts(&stage(refusing(speaker(2))), |_| {});
    let ada = key(2).id();
    let outputs = viewer.give(Input::Command(Command::Solo(Some(Solo { speaker: ada, instead: false }))));
    assert_eq!(events(&outputs), [&Event::SoloRefused { speaker: ada }]);
    let timed = viewer.runs_for(40 * SECOND);
    assert!(times_said(&timed, 3, |message| *message == wanted(2)).is_empty(), "{timed:?}");
    let outputs = viewer.adopts(&stage(speaker(2)), |_| {});
    assert!(says(&outputs, 3, |message| *message == wanted(2)), "{outputs:?}");
    let outputs = viewer.hears(3, Message::Media(MediaMessage::Solo { speaker: ada, comes: true }));
    assert!(events(&outputs).contains(&&Event::Solo { speaker: ada, comes: true }));
    let outputs = viewer.adopts(&stage(refusing(speaker(2))), |_| {});
    assert!(events(&outputs).contains(&&Event::SoloRefused { speaker: ada }), "{outputs:?}");
}

#[test]
fn the_roster_repeats_what_a_speaker_allows() {
    let mut host = Brain::new(
        2,
        RoomConfig { host: Some(hosting()), speaks: true, no_solo: true, views: false, ..viewing() },
    );
    let refuses = |host: &Brain| -> Vec<bool> {
        host.room.roster().unwrap().entries.iter().map(|entry| entry.no_solo).collect()
    };
    assert_eq!(refuses(&host), [true]);
    host.hears(
        7,
        Message::Member(MemberMessage::Join(Join { speaks: true, no_solo: true, ..Join::viewer("x") })),
    );
    host.give(Input::Command(Command::AllowSolo(true)));
    host.runs_for(SECOND);
    assert_eq!(refuses(&host), [false, true]);

    // a speaker repeats it while the roster says something else
    let mut ben = Brain::new(7, RoomConfig { speaks: true, ..viewing() });
    let stage = |ben: Entry| [speaker(2), candidate(3), ben];
    ben.adopts(&stage(speaker(7)), |_| {});
    let joins = |timed: &[(u64, Output)]| {
        let said = timed.iter().filter_map(|(_, output)| match output {
            Output::Signal(_, Message::Member(MemberMessage::Join(join)))
            | Output::Control(_, Message::Member(MemberMessage::Join(join))) => Some(join.no_solo),
            _ => None,
        });
        said.collect::<Vec<_>>()
    };
    ben.runs_for(SECOND);
    ben.give(Input::Command(Command::AllowSolo(false)));
    let timed = ben.runs_for(20 * SECOND);
    assert!(joins(&timed).len() > 1 && joins(&timed).iter().all(|no_solo| *no_solo), "{timed:?}");
}
