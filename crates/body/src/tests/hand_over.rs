//! Frames for the application: of the program, of a mesh, and of a mix-minus.

use super::*;
use crate::body::Sources;
use crate::outs::{Paused, Picture};
use crate::own::OWN_SLOTS;
use crate::program::PROGRAM_HOLE_US;
use crate::stats::Gap;
use plenary_proto::message::Sharing;

const VIDEO: MediaKind = MediaKind::Video;
const SOUND: MediaKind = MediaKind::Sound;

/// A speaker that [`ADA`] mixes for. Returns the link, the program and the mix-minus.
fn on_stage() -> (Stand, LinkId, Source, Source) {
    let (mut stand, ada, program) = Stand::fed_by_ada(true);
    let minus = Source::new(ADA, StreamKind::MixMinus);
    stand.media.watch(None, None, stand.now_us);
    stand.media.publish_anew(false);
    stand.media.send_own(vec![(ADA, None)], stand.now_us, &mut stand.outs);
    stand.follow(ADA, OWN_SLOTS[0], &minus);
    stand.take();
    (stand, ada, program, minus)
}

#[test]
fn in_a_mesh_the_application_gets_each_speaker_s_frames() {
    let mut stand = Stand::new(true);
    let ada = stand.link(ADA, LinkKind::Peer);
    let mut source = Source::new(ADA, StreamKind::Speaker);
    stand.follow(ADA, OWN_SLOTS[0], &source);
    stand.come(ada, OWN_SLOTS[0], source.picture(true, BEGIN_US));
    stand.come(ada, OWN_SLOTS[1], source.sound(BEGIN_US));
    let origin = Origin::Speaker(ADA);
    assert_eq!(given(&stand.take()), [(origin, VIDEO, BEGIN_US), (origin, SOUND, BEGIN_US)]);
    assert_eq!(stand.media.levels(&[ADA, BEN], stand.now_us), [(ADA, LEVEL), (BEN, 127)]);
    assert_eq!(stand.media.reception(stand.now_us).frames_received, 1);
    stand.media.set_mesh(false);
    stand.come(ada, OWN_SLOTS[0], source.picture(false, BEGIN_US + FRAME_US));
    assert_eq!(given(&stand.take()), [], "the program has this speaker");
}

#[test]
fn pictures_from_before_a_peer_learned_of_the_mesh_reach_its_decoder() {
    let mut stand = Stand::new(true);
    let ada = stand.link(ADA, LinkKind::Peer);
    let mut source = Source::new(ADA, StreamKind::Speaker);
    stand.media.set_mesh(false);
    stand.follow(ADA, OWN_SLOTS[0], &source);
    stand.come(ada, OWN_SLOTS[0], source.picture(true, BEGIN_US));
    stand.come(ada, OWN_SLOTS[1], source.sound(BEGIN_US));
    assert_eq!(given(&stand.take()), []);
    stand.media.set_mesh(true);
    stand.media.show_speakers(stand.now_us, &mut stand.outs);
    stand.come(ada, OWN_SLOTS[0], source.picture(false, BEGIN_US + FRAME_US));
    let outs = stand.take();
    let origin = Origin::Speaker(ADA);
    assert_eq!(given(&outs), [(origin, VIDEO, BEGIN_US), (origin, VIDEO, BEGIN_US + FRAME_US)]);
    assert_eq!(outs.frames.iter().map(|received| received.catches_up).collect::<Vec<_>>(), [true, false]);
}

#[test]
fn a_speaker_hears_its_mix_minus_and_sees_the_program() {
    let (mut stand, ada, mut program, mut minus) = on_stage();
    stand.come(ada, 0, program.picture(true, BEGIN_US));
    stand.come(ada, 1, program.sound_of(BEGIN_US, &[ME]));
    stand.come(ada, OWN_SLOTS[1], minus.sound_of(BEGIN_US, &[BEN]));
    assert_eq!(
        given(&stand.take()),
        [(Origin::Program, VIDEO, BEGIN_US), (Origin::MixMinus, SOUND, BEGIN_US)]
    );
    assert_eq!(stand.media.levels(&[ME, BEN], BEGIN_US), [(ME, 127), (BEN, LEVEL)]);
}

#[test]
fn a_former_mixer_s_mix_minus_is_not_heard() {
    let (mut stand, ada, _, mut minus) = on_stage();
    stand.media.send_own(vec![(BEN, None)], stand.now_us, &mut stand.outs);
    stand.come(ada, OWN_SLOTS[1], minus.sound(BEGIN_US));
    assert_eq!(given(&stand.take()), []);
    stand.media.send_own(vec![(ADA, None)], stand.now_us, &mut stand.outs);
    stand.come(ada, OWN_SLOTS[1], minus.sound(BEGIN_US + SOUND_US));
    assert_eq!(given(&stand.take()), [(Origin::MixMinus, SOUND, BEGIN_US + SOUND_US)]);
}

#[test]
fn the_program_s_sound_goes_on_where_the_mix_minus_ended() {
    let (mut stand, ada, mut program, mut minus) = on_stage();
    stand.come(ada, 0, program.picture(true, BEGIN_US));
    stand.come(ada, OWN_SLOTS[1], minus.sound(BEGIN_US));
    stand.come(ada, 0, program.picture(false, BEGIN_US + FRAME_US));
    stand.media.set_floor(false, true, stand.now_us);
    stand.take();
    for at in 0..4 {
        stand.come(ada, 1, program.sound(BEGIN_US + at * SOUND_US));
    }
    stand.come(ada, OWN_SLOTS[1], minus.sound(BEGIN_US + SOUND_US));
    let heard = [2, 3].map(|at| (Origin::Program, SOUND, BEGIN_US + at * SOUND_US));
    assert_eq!(given(&stand.take()), heard, "what was heard before is not heard again");
}

#[test]
fn a_peer_that_does_not_view_gets_no_program_but_counts_and_forwards_it() {
    let (mut stand, ada, mut program) = Stand::fed_by_ada(false);
    stand.media.set_floor(false, false, stand.now_us);
    let child = stand.serve(BEN, None, true);
    stand.come(ada, 0, program.picture(true, BEGIN_US));
    let outs = stand.take();
    assert_eq!((given(&outs), sent_on(&outs, child).len()), (vec![], 1));
    assert!(stand.media.reception(stand.now_us).program_bytes > 0);
}

#[test]
fn repeated_pictures_are_marked_and_repeated_sound_is_dropped() {
    let (mut stand, ada, mut program) = Stand::fed_by_ada(false);
    for at in 0..4 {
        stand.come(ada, 0, program.picture(at == 0, BEGIN_US + at * FRAME_US));
        stand.come(ada, 1, program.sound(BEGIN_US + at * SOUND_US));
    }
    stand.take();
    let ben = stand.link(BEN, LinkKind::Peer);
    let mut other = Source::new(BEN, StreamKind::Program);
    stand.media.program.set_in_force(InForce { rank: RANK, mixers: vec![ADA, BEN] });
    stand.follow(BEN, 0, &other);
    stand.media.watch(Some(BEN), None, stand.now_us);
    for at in 2..6 {
        stand.come(ben, 0, other.picture(at == 2, BEGIN_US + at * FRAME_US));
        stand.come(ben, 1, other.sound(BEGIN_US + at * SOUND_US));
    }
    let frames = stand.take().frames;
    let of = |kind| frames.iter().filter(move |given| given.frame.kind == kind);
    assert_eq!(of(VIDEO).map(|given| given.catches_up).collect::<Vec<_>>(), [true, true, false, false]);
    let heard: Vec<_> = of(SOUND).map(|given| given.frame.identity.captured_us).collect();
    assert_eq!(heard, [4, 5].map(|at| BEGIN_US + at * SOUND_US));
    assert_eq!(stand.media.reception(stand.now_us).frames_received, 6, "repetitions count once");
}

#[test]
fn the_second_mixer_s_program_is_not_shown_while_the_first_one_feeds() {
    let (mut stand, ada, mut program) = Stand::fed_by_ada(false);
    stand.come(ada, 0, program.picture(true, BEGIN_US));
    let ben = stand.link(BEN, LinkKind::Peer);
    let mut other = Source::new(BEN, StreamKind::Program);
    stand.media.program.set_in_force(InForce { rank: RANK, mixers: vec![ADA, BEN] });
    stand.follow(BEN, 0, &other);
    stand.take();
    stand.come(ben, 0, other.picture(true, BEGIN_US + FRAME_US));
    assert_eq!(given(&stand.take()), []);
    // ada is out of force: its program gives way, whichever link it comes by
    stand.media.program.set_in_force(InForce { rank: RANK, mixers: vec![BEN] });
    stand.come(ben, 0, other.picture(true, BEGIN_US + 2 * FRAME_US));
    assert_eq!(given(&stand.take()), [(Origin::Program, VIDEO, BEGIN_US + 2 * FRAME_US)]);
    stand.come(ada, 0, program.picture(true, BEGIN_US + 3 * FRAME_US));
    assert_eq!(given(&stand.take()), []);
}

#[test]
fn reception_counts_missing_and_late_pictures_and_long_gaps() {
    let (mut stand, ada, mut program) = Stand::fed_by_ada(false);
    let at = |at: u64| BEGIN_US + at * FRAME_US;
    stand.now_us = at(0) + 40_000;
    stand.come(ada, 0, program.picture(true, at(0)));
    let _lost = [program.picture(false, at(1)), program.picture(false, at(2))];
    stand.now_us = at(3) + 1_000_001;
    stand.come(ada, 0, program.picture(true, at(3)));
    stand.pass(PROGRAM_HOLE_US);
    let stats = stand.media.reception(stand.now_us);
    assert_eq!((stats.frames_received, stats.frames_expected, stats.frames_late), (2, 4, 1));
    assert_eq!(stats.first_frame_ms, Some(40.0));
    assert_eq!(stats.gaps, [Gap { from_us: at(0) + 40_000, to_us: stand.now_us }]);
    assert_eq!(stats.longest_audio_gap_ms, None);
}

#[test]
fn the_log_names_each_picture_that_was_received_or_made() {
    let config = MediaConfig {
        me: ME,
        room: ROOM,
        zero_us: 0,
        keeps_log: true,
        views: true,
        speaks: false,
        is_page: false,
        seed: 1,
        keys: None,
    };
    let (kept, mut camera) = (Media::new(config, BEGIN_US), Camera::new());
    let mut stand = Stand { media: kept, outs: Outs::default(), now_us: BEGIN_US + 5_000 };
    let role = plenary_proto::MixRole::Mix { rank: RANK, pass_through: false };
    stand.media.set_role(role, stand.now_us, &mut stand.outs);
    let Encoded { data, key, temporal, .. } = camera.picture(true, BEGIN_US);
    let picture = plenary_media::codec::EncodedPicture::new(data, key).in_layer(temporal);
    let output = plenary_media::mixer::MixerOutput::Video { picture, captured_us: BEGIN_US };
    stand.media.mixed(output, stand.now_us, &mut stand.outs);
    let made = stand.media.made();
    assert_eq!((made[0].number, made[0].captured_us, made[0].at_us), (1, BEGIN_US, stand.now_us));
    assert_eq!(stand.media.reception(stand.now_us).log, made);
}

#[test]
fn muted_media_is_not_sent_and_unmuted_pictures_begin_with_a_keyframe() {
    let (mut stand, ada, ..) = on_stage();
    let mut camera = Camera::new();
    let mut publish_as = |stand: &mut Stand, key: bool| {
        let (picture, sound) = (camera.picture(key, BEGIN_US), camera.sound(BEGIN_US));
        for encoded in [picture, sound] {
            stand.media.publish(&encoded, Picture::Camera, stand.now_us, &mut stand.outs);
        }
        sent_on(&stand.take(), ada).iter().map(|(slot, _)| *slot).collect::<Vec<_>>()
    };
    assert!(stand.own_key_wanted(), "a new target without a cached keyframe");
    let mut publish = |stand: &mut Stand| publish_as(stand, false);
    assert_eq!(publish(&mut stand), OWN_SLOTS);
    stand.media.mute(SOUND, true);
    assert_eq!(publish(&mut stand), OWN_SLOTS[..1]);
    stand.media.mute(VIDEO, true);
    assert_eq!(publish(&mut stand).len(), 0);
    assert_eq!(stand.media.pictures_sent(), 2);
    stand.media.mute(SOUND, false);
    assert!(!stand.own_key_wanted());
    stand.media.mute(VIDEO, false);
    assert!(stand.own_key_wanted());
    stand.media.mute(VIDEO, false);
    assert!(!stand.own_key_wanted(), "they were not muted");
    for _ in 0..2 {
        assert_eq!(publish_as(&mut stand, false), OWN_SLOTS[1..], "these refer to pictures that nobody has");
        assert_eq!(publish_as(&mut stand, true), OWN_SLOTS);
        assert_eq!(publish_as(&mut stand, false), OWN_SLOTS);
        // another camera: its first picture, a keyframe, may come before the source is known
        stand.media.set_own_sources(sources(false, true));
        assert_eq!(publish_as(&mut stand, true), OWN_SLOTS[1..]);
        stand.media.set_own_sources(sources(true, true));
        assert!(stand.own_key_wanted());
    }
}

#[test]
fn a_speaker_with_a_microphone_alone_states_that_it_sends_no_picture() {
    let mut stand = Stand::new(true);
    let muted_at = |stand: &Stand, now_us: u64| {
        let (muted, _) = stand.media.sends(now_us);
        (muted.picture, muted.sound)
    };
    let muted = |stand: &Stand| muted_at(stand, 0);
    assert_eq!(muted(&stand), (false, false), "a source may be about to come");
    assert_eq!(muted_at(&stand, 1_000_000), (true, true), "none has come");
    stand.media.set_own_sources(sources(false, true));
    assert_eq!(muted(&stand), (true, false));
    stand.media.set_own_sources(sources(true, true));
    assert_eq!(muted(&stand), (false, false));
    stand.media.set_own_sources(sources(false, false));
    assert_eq!(muted(&stand), (true, true));
}

#[test]
fn frames_held_for_lip_sync_are_due_later_and_all_come_at_the_end() {
    let (mut stand, ada, mut program) = Stand::fed_by_ada(false);
    // sound takes 150 ms longer than pictures
    let mut sounds = std::collections::VecDeque::new();
    let mut waits = false;
    for ms in 0..4_000u64 {
        stand.now_us = BEGIN_US + ms * MS;
        if ms.is_multiple_of(33) {
            stand.come(ada, 0, program.picture(ms == 0, stand.now_us));
        }
        if ms.is_multiple_of(20) {
            sounds.push_back((stand.now_us + 150 * MS, program.sound(stand.now_us)));
        }
        while let Some((_, sound)) = sounds.pop_front_if(|(at_us, _)| *at_us <= stand.now_us) {
            stand.come(ada, 1, sound);
        }
        stand.media.hand_over_due(stand.now_us, &mut stand.outs);
        waits |= stand.outs.frame_waits;
        if ms < 3_999 {
            stand.take();
        }
    }
    assert!(waits && stand.media.next_due_us().is_some_and(|due_us| due_us > stand.now_us));
    stand.take();
    stand.media.hand_over_all(stand.now_us, &mut stand.outs);
    let held = stand.take().frames;
    assert!((4..=6).contains(&held.len()), "the pictures of 150 ms: {}", held.len());
    assert!(
        held.iter().all(|given| given.plan_us.is_some_and(|plan_us| (140_000..=160_000).contains(&plan_us)))
    );
    assert_eq!(stand.media.next_due_us(), None);
}

#[test]
fn a_screen_takes_the_cameras_place_in_a_mesh_and_goes_beside_it_at_home() {
    let (mut stand, ada, ..) = on_stage();
    let mut source = Camera::new();
    let mut sent = |stand: &mut Stand, picture: Picture, key: bool| {
        let encoded = source.picture(key, BEGIN_US);
        stand.media.publish(&encoded, picture, stand.now_us, &mut stand.outs);
        sent_on(&stand.take(), ada).iter().map(|(slot, _)| *slot).collect::<Vec<_>>()
    };
    let (camera, screen, both) =
        (Picture::Camera, Picture::Share, Sources { beside: true, ..sources(true, true) });
    let paused = |stand: &Stand| {
        let Paused { camera, share, sound } = stand.media.paused(true);
        [camera, share, sound]
    };
    assert_eq!(sent(&mut stand, camera, true), [2]);
    assert!(sent(&mut stand, screen, true).is_empty(), "there is no screen");
    stand.media.set_own_sources(both);
    stand.media.send_own(vec![(ADA, None)], stand.now_us, &mut stand.outs);
    assert_eq!(stand.media.sends(0).1, Sharing::Beside);
    assert!(sent(&mut stand, screen, false).is_empty(), "it begins with a keyframe");
    assert_eq!(sent(&mut stand, screen, true), [2]);
    assert_eq!((sent(&mut stand, camera, true), paused(&stand)), (vec![], [true, false, false]));

    assert!(stand.media.set_has_home(true));
    stand.media.send_own(vec![(ADA, None)], stand.now_us, &mut stand.outs);
    stand.media.send_beside((ADA, None), stand.now_us, &mut stand.outs);
    assert_eq!(paused(&stand), [false; 3]);
    stand.media.take_own_keys_wanted();
    assert_eq!((sent(&mut stand, camera, true), sent(&mut stand, screen, true)), (vec![2], vec![4]));
    // each has its requests for keyframes, and its turn after a mute
    stand.media.keyframe_wanted(ada, 4, stand.now_us, &mut stand.outs);
    assert_eq!(stand.media.take_own_keys_wanted(), [screen]);
    stand.media.mute(VIDEO, true);
    assert_eq!((sent(&mut stand, camera, true), sent(&mut stand, screen, true)), (vec![], vec![]));
    stand.media.mute(VIDEO, false);
    assert_eq!(stand.media.take_own_keys_wanted(), [camera, screen]);
    assert_eq!((sent(&mut stand, screen, false), sent(&mut stand, screen, true)), (vec![], vec![4]));
    assert_eq!(sent(&mut stand, camera, true), [2]);

    // the screen goes, and nothing happens to the camera
    stand.media.set_own_sources(sources(true, true));
    assert!(!stand.media.has_beside());
    assert_eq!((sent(&mut stand, camera, false), sent(&mut stand, screen, true)), (vec![2], vec![]));
    assert_eq!(stand.media.sends(0).1, Sharing::No);
}
