//! Senders of streams that a peer accepts: peers that it asked, and of mixers in force or just replaced.

use crate::samples::brain::{Brain, SECOND, candidate, consenting, program, speaker};
use crate::samples::key;
use crate::samples::viewer::Viewer;
use plenary_proto::message::{Attach, MediaMessage, Message, StreamUse};
use plenary_proto::{Input, Output, Rank, StreamKind, StreamSpec, Verdict};

fn program_in_force(mixer: u8) -> StreamSpec {
    program(mixer, 3, 0)
}

fn speech(speaker: u8) -> StreamSpec {
    StreamSpec { kind: StreamKind::Speaker, rank: Rank::default(), ..program(speaker, 0, 0) }
}

/// Returns whether a peer's announcement is followed at once.
fn follows(brain: &mut Brain, from: u8, slot: u8, spec: StreamSpec) -> bool {
    let said = brain.hears(from, Message::Media(MediaMessage::Stream(StreamUse { slot, spec })));
    said.iter().any(|output| matches!(output, Output::Follow { peer, .. } if *peer == key(from).id()))
}

#[test]
fn a_viewer_takes_the_program_only_from_its_parent_or_a_called_backup() {
    let mut viewer = Viewer::with_backup();
    viewer.is_joined_by(20, Attach::newcomer());
    let spec = program_in_force(3);
    assert!(follows(&mut viewer, 10, 0, spec));
    // the backup, a child, and a peer on stage that isn't its maker
    for from in [11, 20, 2] {
        assert!(!follows(&mut viewer, from, 0, spec), "{from}");
    }
    // another stream of the mixer in force, announced by a peer that wasn't asked
    assert!(!follows(&mut viewer, 20, 0, StreamSpec { start: [7; 8], ..spec }));
    viewer.give(Input::Verdict { peer: key(10).id(), verdict: Verdict::Silent });
    assert!(follows(&mut viewer, 11, 0, spec), "it was asked");
    viewer.give(Input::Fed(key(11).id()));
    assert!(!follows(&mut viewer, 10, 0, spec), "the parent was at fault");
}

#[test]
fn the_packets_of_a_parent_that_was_left_without_fault_count_for_a_second() {
    let mut viewer = Viewer::with_backup();
    let spec = program_in_force(3);
    viewer.turns_to(12, &[3, 12]);
    assert!(follows(&mut viewer, 10, 0, spec));
    viewer.runs_for(SECOND + 1);
    assert!(!follows(&mut viewer, 10, 0, spec) && follows(&mut viewer, 12, 0, spec));
}

#[test]
fn an_announcement_of_a_peer_that_was_not_asked_does_not_wait() {
    let mut viewer = Viewer::with_backup();
    let next = StreamSpec { rank: Rank { term: 4, failover_count: 0 }, ..program_in_force(4) };
    for from in [10, 11, 2] {
        assert!(!follows(&mut viewer, from, 0, next), "{from}");
    }
    let decided = viewer.elects(4, &[4], &[3]);
    let followed = decided.iter().filter_map(|output| match output {
        Output::Follow { peer, .. } => Some(*peer),
        _ => None,
    });
    assert_eq!(followed.collect::<Vec<_>>(), [key(10).id()]);
}

#[test]
fn a_mixer_takes_no_program_and_not_its_own_from_others() {
    let mut mixer = Brain::new(3, consenting());
    mixer.adopts(&[speaker(2), candidate(3), candidate(4)], |_| ());
    mixer.elects(3, &[3, 4], &[]);
    let own = program_in_force(3);
    mixer.give(Input::Started(own));
    assert!(mixer.room.snapshot().mixing);
    mixer.is_joined_by(20, Attach::newcomer());
    for (from, spec) in [(20, own), (2, own), (4, program_in_force(4)), (20, program_in_force(4))] {
        assert!(!follows(&mut mixer, from, 0, spec), "{from}: {spec:?}");
    }
}

#[test]
fn a_replaced_mixer_forwards_speakers_to_the_stage_for_ten_seconds() {
    let mut brain = Brain::new(6, consenting());
    brain.adopts(&[speaker(2), candidate(3), candidate(4), candidate(6), speaker(7)], |_| ());
    brain.elects(1, &[3], &[6]);
    brain.hears(3, Message::Media(MediaMessage::Started(program(3, 1, 0))));
    let (trunk, other) = (16, 18);
    assert!(follows(&mut brain, 3, trunk, speech(2)));
    assert!(!follows(&mut brain, 4, trunk, speech(2)) && follows(&mut brain, 2, 2, speech(2)));
    brain.elects(2, &[4], &[6]);
    assert!(follows(&mut brain, 3, trunk, speech(2)), "until the new mixer has begun");
    brain.hears(4, Message::Media(MediaMessage::Started(program(4, 2, 0))));
    assert!(follows(&mut brain, 3, other, speech(7)), "it retires");
    brain.runs_for(11 * SECOND);
    assert!(!follows(&mut brain, 3, trunk, speech(2)) && follows(&mut brain, 4, trunk, speech(2)));
    let minus = StreamSpec { kind: StreamKind::MixMinus, ..program(3, 1, 0) };
    assert!(!follows(&mut brain, 3, 2, minus));
    assert!(follows(&mut brain, 4, 2, StreamSpec { kind: StreamKind::MixMinus, ..program(4, 2, 0) }));
}

#[test]
fn one_peer_s_announcements_without_proof_displace_no_other_s() {
    let mut brain = Brain::new(6, consenting());
    brain.adopts(&[speaker(2), candidate(3), candidate(4), candidate(6)], |_| ());
    brain.elects(1, &[3], &[6]);
    let next = program(4, 2, 0);
    assert!(!follows(&mut brain, 4, 0, next));
    for slot in 0..=255 {
        assert!(!follows(&mut brain, 20, slot, speech(20)));
    }
    let decided = brain.elects(2, &[4], &[6]);
    assert!(
        decided.iter().any(|output| matches!(output, Output::Follow { stream, .. } if stream.spec == next))
    );
}
