//! A mixer that passes the frames of a single speaker through, and the changes between this and composing.

use plenary_media::mixer::MixerOutput;
use plenary_proto::MixRole;

use super::mix_roles::{Booth, id, inputs};
use super::*;
use crate::mix::{MixCommand, Mixed};

const COMPOSING: MixRole = MixRole::Mix { rank: RANK, pass_through: false };
const PASSING: MixRole = MixRole::Mix { rank: RANK, pass_through: true };
const MARGIN_US: u64 = 1_000_000 / 30 * 3 / 4;

fn is_begin(command: &MixCommand) -> bool {
    matches!(command, MixCommand::Begin { .. })
}

/// A picture that the mixer composed.
fn composed(key: bool) -> MixerOutput {
    let Encoded { data, key, temporal, captured_us, .. } = Camera::new().picture(key, BEGIN_US);
    let picture = plenary_media::codec::EncodedPicture::new(data, key).in_layer(temporal);
    MixerOutput::Video { picture, captured_us }
}

#[test]
fn a_single_speaker_s_frames_get_the_identity_of_the_program() {
    let mut booth = Booth::new(&[ADA]);
    let (change, commands) = booth.role(PASSING);
    assert!(change.keys_wanted && commands.is_empty(), "nothing is decoded: {commands:?}");
    let (stream, spec) = change.begins.unwrap();
    booth.mix.set_clock(&ADA, -700_000, 30_000, &mut Vec::new());
    assert!(booth.picture(0, false, BEGIN_US).is_none() && booth.sound(0, BEGIN_US).is_none());
    assert!(!booth.mix.passes_through());
    let made = booth.picture(0, true, BEGIN_US + FRAME_US).unwrap();
    assert!(booth.mix.passes_through());
    assert_eq!(
        (made.begins, made.frame.identity.stream, made.frame.identity.number),
        (Some(spec), stream, 1)
    );
    assert_eq!(made.frame.identity.captured_us, BEGIN_US + FRAME_US - 700_000, "by the mixer's clock");
    let sound = booth.sound(0, BEGIN_US + FRAME_US).unwrap();
    assert_eq!(sound.packets[0].contributors.to_vec(), [Contributor { csrc: ADA.csrc(), level: LEVEL }]);
    let delta = booth.picture(0, false, BEGIN_US + 2 * FRAME_US).unwrap();
    assert!(delta.begins.is_none() && delta.frame.identity.number == 2 && !delta.frame.identity.key);
    assert_eq!(booth.take(), []);
    let tenures = booth.mix.tenures();
    assert!(tenures[0].pass_through && tenures[0].frames == 2);
}

#[test]
fn a_single_speaker_with_sound_alone_is_composed_until_its_first_keyframe() {
    let mut booth = Booth::new(&[ADA]);
    booth.role(PASSING);
    assert_eq!(booth.update(5_000_000), (false, vec![]), "it may send nothing at all");
    assert!(booth.sound(0, BEGIN_US).is_none());
    assert_eq!(booth.update(25_000), (false, vec![]));
    assert_eq!(booth.update(1_000_000), (false, vec![]), "its camera may begin later");
    let (_, commands) = booth.update(200_000);
    assert!(matches!(commands[0], MixCommand::Keep { .. }) && is_begin(commands.last().unwrap()));
    assert!(matches!(booth.mix.mixed(composed(true), [0; 8]), Mixed::Program(_)));
    assert_eq!(booth.update(2_000_000), (false, vec![]));
    booth.sound(0, BEGIN_US + SOUND_US);
    booth.take();
    booth.picture(0, true, BEGIN_US + 2 * SOUND_US).unwrap();
    assert_eq!(booth.take(), [MixCommand::End]);
}

#[test]
fn a_speaker_that_restarts_its_source_stays_in_the_same_program() {
    let mut booth = Booth::new(&[ADA]);
    booth.role(PASSING);
    let before = booth.picture(0, true, BEGIN_US).unwrap();
    let mut source = Source::new(ADA, StreamKind::Speaker);
    source.restart();
    let (key, _) = source.picture(true, BEGIN_US + FRAME_US);
    let after = booth.arrives(key, 0).unwrap();
    assert_eq!(after.frame.identity.stream, before.frame.identity.stream);
    assert_eq!((after.frame.identity.number, after.begins), (2, None));
}

#[test]
fn composed_frames_continue_until_the_remaining_speaker_sends_a_keyframe() {
    let mut booth = Booth::new(&[ADA, BEN]);
    booth.role(COMPOSING);
    let Mixed::Program(first) = booth.mix.mixed(composed(true), [0; 8]) else { panic!("no picture") };
    booth.tiles(&[ADA]);
    booth.take();
    let (change, commands) = booth.role(PASSING);
    assert!(change.keys_wanted && change.begins.is_none() && commands.iter().all(is_begin));
    assert!(booth.picture(0, false, BEGIN_US).is_none());
    assert!(matches!(booth.mix.mixed(composed(false), [0; 8]), Mixed::Program(_)));
    booth.take();
    let key = booth.picture(0, true, BEGIN_US + 2 * FRAME_US).unwrap();
    assert_eq!(booth.take(), [MixCommand::End]);
    assert_eq!((key.frame.identity.stream, key.frame.identity.number), (first.frame.identity.stream, 3));
    assert!(
        matches!(booth.mix.mixed(composed(false), [0; 8]), Mixed::Nothing),
        "an output of the ended mixer"
    );
}

#[test]
fn frames_are_passed_through_until_the_mixer_has_every_speaker_s_picture() {
    for late in [false, true] {
        let mut booth = Booth::new(&[ADA, BEN]);
        booth.role(PASSING);
        booth.picture(0, true, BEGIN_US).unwrap();
        let (_, commands) = booth.role(COMPOSING);
        assert!(matches!(commands[0], MixCommand::Keep { .. }));
        assert_eq!(commands[1..], [inputs(&[(ADA, false), (BEN, false)]), MixCommand::Stop]);
        let passed_us = BEGIN_US + FRAME_US;
        assert!(booth.picture(0, false, passed_us).is_some());
        assert!(booth.picture(1, true, passed_us).is_none());
        let to_mixer = |command: &MixCommand| match command {
            MixCommand::Frame { id, .. } => Some(*id),
            _ => None,
        };
        assert_eq!(booth.take().iter().filter_map(to_mixer).collect::<Vec<_>>(), [id(ADA), id(BEN)]);
        assert!(matches!(booth.mix.mixed(composed(true), [0; 8]), Mixed::Nothing));
        booth.pictured(&[ADA]);
        let mut commands = Vec::new();
        assert!(!booth.mix.update(booth.now_us + 1_199_999, &mut commands) && commands.is_empty());
        if !late {
            booth.pictured(&[ADA, BEN]);
        }
        booth.mix.update(booth.now_us + 1_199_999 + u64::from(late), &mut commands);
        assert_eq!(commands, [MixCommand::Begin { from_us: passed_us + MARGIN_US }]);
        assert!(booth.picture(0, false, passed_us + FRAME_US).is_none());
    }
}

#[test]
fn keyframes_are_wanted_when_the_passed_through_speaker_leaves() {
    let mut booth = Booth::new(&[ADA]);
    booth.role(PASSING);
    assert!(!booth.tiles(&[ADA]));
    booth.picture(0, true, BEGIN_US).unwrap();
    assert!(!booth.tiles(&[ADA]));
    assert!(booth.tiles(&[BEN]));
    assert!(!booth.mix.passes_through());
}

#[test]
fn a_capture_time_at_the_end_of_all_clocks_stops_no_mixer() {
    let mut booth = Booth::new(&[ADA]);
    booth.role(PASSING);
    booth.picture(0, true, u64::MAX).unwrap();
    booth.role(COMPOSING);
    booth.take();
    booth.pictured(&[ADA]);
    let mut commands = Vec::new();
    booth.mix.update(booth.now_us, &mut commands);
    assert_eq!(commands, [MixCommand::Begin { from_us: u64::MAX }]);
}
