//! Rooms of fake speakers in fake time, and one in real time.

use plenary_proto::ordered::OrderedMap;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use plenary_proto::identity::{FrameIdentity, MediaKind};
use proptest::prelude::*;

use super::decode::PictureDecoder;
use super::fake::{
    FakeCodecs, Grey, broken_frame, grey_at, grey_of_tile, picture_frame, sound_frame, sound_time, stream,
    tone_in,
};
use super::feed::{FRAMES_QUEUED_MAX, PICTURES_READY_MAX, Work};
use super::sound::{SoundProgram, wanted_delay_us};
use super::stats::CpuMeter;
use super::video::VideoProgram;
use super::*;
use crate::PictureView;
use crate::SOUND_FRAME_US;
use crate::codec::{CodecError, SoundDecoder, SoundEncoder, VideoDecoder, VideoEncoder};
use crate::jitter::{HOLD_US_MAX, Pulled, TRANSIT_US_MAX};
use crate::scale::Rect;

const START_US: u64 = 1_763_627_600_000_000;
const SECOND_US: u64 = 1_000_000;
const FORMAT: VideoFormat = VideoFormat { width: 1280, height: 720, fps: 25, bitrate_bps: 1_500_000 };
const STEP_US: u64 = 40_000;
const OFF: u8 = 44; // background of a tile without a picture

fn ids(voices: &[(u64, u8)]) -> Vec<u64> {
    voices.iter().map(|(id, _)| *id).collect()
}

#[test]
fn each_tile_shows_its_newest_picture_whose_time_has_come() {
    let mut room = Room::of(4);
    for id in 0..4 {
        // every input has a picture every 40 ms, of grey 50 + 10 × its tile + its number
        for number in 1..=8 {
            room.show(id, number, START_US + u64::from(number) * STEP_US, 50 + 10 * id as u8 + number as u8);
        }
    }
    let rows = [(START_US + STEP_US, 1), (START_US + 3 * STEP_US + 39_999, 3), (START_US + 20 * STEP_US, 8)];
    for (captured_us, number) in rows {
        let picture = room.step(captured_us).unwrap();
        for tile in 0..4 {
            assert_eq!(grey_of_tile(&picture, 2, tile), 50 + 10 * tile as u8 + number, "at {captured_us}");
        }
    }
}

#[test]
fn who_stops_keeps_its_picture_for_two_seconds_and_then_has_initials() {
    let mut room = Room::of(4);
    let rows = [
        (0, OFF), // no picture yet
        (1, 200),
        (1 + 2 * SECOND_US, 200),
        (2 + 2 * SECOND_US, OFF),
    ];
    for (after_us, grey) in rows {
        if after_us == 1 {
            room.show(2, 1, START_US + 1, 200);
        }
        assert_eq!(grey_of_tile(&room.step(START_US + after_us).unwrap(), 2, 2), grey, "after {after_us}");
    }
    room.show(2, 2, START_US + 3 * SECOND_US, 90);
    assert_eq!(grey_of_tile(&room.step(START_US + 3 * SECOND_US).unwrap(), 2, 2), 90, "and back again");
}

#[test]
fn a_failing_decoder_holds_its_picture_and_costs_nobody_else_a_frame() {
    let mut room = Room::of(4);
    let mut asked = 0;
    for number in 1..=100_u32 {
        let captured_us = START_US + u64::from(number) * STEP_US;
        room.now_us = captured_us;
        let grey = room.grey(number, captured_us, 60 + number as u8);
        room.push_and_decode(0, picture_frame(0, grey));
        match number {
            10 => asked += room.push_and_decode(1, broken_frame(1, grey, "garbage")),
            // The speaker answers the second keyframe request, sent 25 frames after the first.
            60 => asked += room.push_and_decode(1, picture_frame(1, Grey { key: true, ..grey })),
            _ => asked += room.push_and_decode(1, picture_frame(1, grey)),
        }
        let picture = room.step(captured_us).unwrap();
        assert_eq!(grey_of_tile(&picture, 2, 0), 60 + number as u8);
        let shown = if (10..60).contains(&number) { 9 } else { number };
        assert_eq!(grey_of_tile(&picture, 2, 1), 60 + shown as u8, "frame {number}");
    }
    assert_eq!(asked, 2, "once when it failed, and once a second later");
    let stats = room.stage.feed(1).unwrap().stats();
    assert_eq!((stats.failed_frames, stats.dropped_frames, stats.decoded_frames), (1, 49, 50));
}

#[test]
fn a_decoder_that_gives_nothing_is_asked_a_key_frame_for() {
    let mut room = Room::of(1);
    let grey = room.grey(1, START_US, 100);
    assert_eq!(room.push_and_decode(0, broken_frame(0, grey, "nothing")), 1);
}

#[test]
fn a_decoder_that_can_not_keep_up_goes_on_at_a_key_frame() {
    // (numbers of the keyframes in the queue, where decoding resumes)
    for (keys, expected) in [(vec![1], None), (vec![1, 40], Some(40)), (vec![1, 20, 50], Some(50))] {
        let feed = Feed::new(7);
        for number in 1..=FRAMES_QUEUED_MAX as u32 + 1 {
            let key = keys.contains(&number);
            let grey = Grey { number, captured_us: START_US, key, size: (64, 36), luma: 0 };
            feed.push(picture_frame(7, grey), START_US);
        }
        match (feed.poll(START_US), expected) {
            (Some(Work::RequestKeyframe), None) => assert_eq!(feed.poll(START_US), None),
            (Some(Work::Decode(frame)), Some(number)) => assert_eq!(frame.identity.number, number),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn pictures_that_wait_for_their_time_are_bounded() {
    let mut room = Room::of(1);
    for number in 1..=3 * PICTURES_READY_MAX as u32 {
        room.show(0, number, START_US + u64::from(number) * STEP_US, number as u8 + 50);
    }
    // Only the newest 16 are left: at the time of the 20th, no picture is due yet.
    assert_eq!(grey_of_tile(&room.step(START_US + 20 * STEP_US).unwrap(), 1, 0), OFF);
    assert_eq!(grey_of_tile(&room.step(START_US + 40 * STEP_US).unwrap(), 1, 0), 90);
}

#[test]
fn a_new_stream_begins_at_its_key_frame() {
    let mut room = Room::of(1);
    room.show(0, 50, START_US, 100);
    for (number, key, asked) in [(1, false, 1), (2, true, 0)] {
        let mut frame = picture_frame(0, Grey { key, ..room.grey(number, START_US + STEP_US, 200) });
        frame.identity.stream = stream(99);
        assert_eq!(room.push_and_decode(0, frame), asked);
    }
    assert_eq!(grey_of_tile(&room.step(START_US + STEP_US).unwrap(), 1, 0), 200);
}

#[test]
fn sizes_and_shapes_may_change_in_mid_stream() {
    let mut room = Room::of(4);
    let sizes = [(640, 360), (1280, 720), (360, 640), (64, 36), (1920, 1080), (2, 2), (640, 360)];
    for (number, size) in (1..).zip(sizes) {
        let captured_us = START_US + u64::from(number) * STEP_US;
        let grey = Grey { size, ..room.grey(number, captured_us, 100 + number as u8) };
        room.push_and_decode(3, picture_frame(3, grey));
        room.step(captured_us).unwrap();
        let rect = Rect { x: 640, y: 360, width: 640, height: 360 }.fit(size.0, size.1);
        let canvas = room.video.canvas();
        let sample = |x: usize, y: usize| canvas.samples()[y * 1280 + x];
        assert_eq!(sample(rect.x + rect.width / 2, rect.y + 2), 100 + number as u8, "{size:?}");
        if rect.x > 640 {
            assert!(sample(rect.x - 1, rect.y + 2) < 40, "{size:?} has bars");
        }
    }
}

#[test]
fn a_tile_that_nobody_changed_is_not_drawn_again() {
    let mut room = Room::of(4);
    for id in 0..4 {
        room.show(id, 1, START_US, 100);
    }
    room.step(START_US).unwrap();
    let drawn = room.video.drawn();
    for step in 1..40 {
        room.show(0, step + 1, START_US + u64::from(step) * STEP_US, 100);
        room.step(START_US + u64::from(step) * STEP_US).unwrap();
    }
    assert_eq!(room.video.drawn() - drawn, 39);
}

#[test]
fn key_frames_come_first_when_wanted_and_every_two_seconds() {
    let mut room = Room::of(1);
    let mut keys = Vec::new();
    for step in 0..200_u64 {
        // requested at 0.4 s (made at 1 s) and three times from 3.2 s on (made once, at 4 s)
        room.orders.key_wanted = [10, 80, 81, 82].contains(&step);
        if room.step(START_US + step * STEP_US).unwrap().key {
            keys.push(step * STEP_US / 1_000);
        }
    }
    assert_eq!(keys, [0, 1_000, 3_000, 4_000, 6_000]);

    room.orders.started = false;
    assert_eq!(room.step(START_US + 200 * STEP_US), None);
    (room.orders.started, room.orders.begins) = (true, true);
    room.orders.from_us = START_US + 202 * STEP_US;
    assert_eq!(room.step(START_US + 201 * STEP_US), None, "that was in the program before");
    room.orders.begins = false; // the order is given once
    assert!(room.step(START_US + 202 * STEP_US).unwrap().key, "whoever begins to speak begins with one");
}

#[test]
fn a_silent_mixer_decodes_and_neither_draws_nor_encodes() {
    let mut room = Room::of(2);
    room.orders.started = false;
    for number in 1..=30 {
        let captured_us = START_US + u64::from(number) * STEP_US;
        room.show(0, number, captured_us, 100 + number as u8);
        room.say(0, number, captured_us, 400);
        assert_eq!(room.step(captured_us), None);
        assert_eq!(room.hear(captured_us), []);
    }
    assert_eq!(room.video.drawn(), 0);
    let log = &room.codecs.0;
    assert_eq!(log.pictures_decoded.load(Ordering::Relaxed), 30);
    assert_eq!(log.pictures_encoded.load(Ordering::Relaxed), 0);
    assert_eq!(log.sounds_encoded.load(Ordering::Relaxed), 0);

    room.orders.started = true;
    assert!(room.step(START_US + 31 * STEP_US).is_some());
    assert_eq!(room.video.canvas().samples()[360 * 1280 + 300], 130, "the newest picture at once");
}

#[test]
fn inputs_that_stay_keep_their_picture_when_the_layout_changes() {
    let mut room = Room::of(1);
    room.show(0, 1, START_US, 100);
    assert_eq!(grey_of_tile(&room.step(START_US).unwrap(), 1, 0), 100);
    let feed = room.stage.feed(0).unwrap();
    room.set_stage(4);
    assert!(Arc::ptr_eq(&feed, &room.stage.feed(0).unwrap()));
    assert_eq!(grey_of_tile(&room.step(START_US + STEP_US).unwrap(), 2, 0), 100);
    room.show(0, 2, START_US + 2 * STEP_US, 110); // a frame that references the one before the change
    assert_eq!(grey_of_tile(&room.step(START_US + 2 * STEP_US).unwrap(), 2, 0), 110);
    assert_eq!(room.codecs.0.video_decoders.load(Ordering::Relaxed), 1);
}

#[test]
fn whoever_speaks_becomes_large_without_a_key_frame() {
    let mut room = Room::of(4);
    room.restage(|stage| stage.layout = Layout::Active);
    (0..4).for_each(|id| room.show(id, 1, START_US, 100 + 10 * id as u8));
    let large = |picture: &EncodedPicture| grey_at(picture, 400, 300);
    assert_eq!(large(&room.step(START_US).unwrap()), 100, "nobody has spoken");
    for (speaker, from) in [(2, 1), (3, 201), (2, 401)] {
        for number in from..from + 200 {
            let captured_us = sound_time(START_US, number);
            room.say(speaker, number, captured_us, hz(speaker));
            room.hear(captured_us);
            if room.sound.dominant().spoke() != room.stage.spoke {
                let spoke = room.sound.dominant().spoke().to_vec();
                room.restage(|stage| stage.spoke = spoke);
            }
            (0..4).for_each(|id| room.show(id, 1 + number, captured_us, 100 + 10 * id as u8));
        }
        let picture = room.step(sound_time(START_US, from + 200)).unwrap();
        assert_eq!(large(&picture), 100 + 10 * speaker as u8, "{speaker} speaks");
        assert_eq!(grey_at(&picture, 1100, 200), 100, "the strip begins with the first");
    }
}

#[test]
fn a_change_of_layout_makes_no_key_frame_and_redraws_what_stands_still() {
    let mut room = Room::of(3);
    (0..3).for_each(|id| room.show(id, 1, START_US, 100 + 10 * id as u8));
    assert!(room.step(START_US).unwrap().key);
    let rows = [
        (Layout::Share, [(100, 100, 100), (400, 300, 100), (1100, 300, 110), (1100, 450, 120)]),
        (Layout::SideBySide, [(100, 100, 100), (600, 700, 100), (700, 100, 110), (1200, 700, 110)]),
        (Layout::Grid, [(100, 100, 100), (700, 100, 110), (400, 500, 120), (100, 500, 24)]),
    ];
    for (step, (layout, seen)) in (1..).zip(rows) {
        room.restage(|stage| stage.layout = layout.clone());
        let picture = room.step(START_US + step * STEP_US).unwrap();
        assert!(!picture.key);
        for (x, y, expected) in seen {
            assert_eq!(grey_at(&picture, x, y), expected, "{layout:?} at {x}, {y}");
        }
    }
}

#[test]
fn the_rate_reaches_the_encoder() {
    let mut room = Room::of(1);
    for bitrate_bps in [1_500_000, 400_000] {
        room.orders.bitrate_bps = bitrate_bps;
        let picture = room.step(START_US).unwrap();
        assert_eq!(picture.data[picture.data.len() - 4..], bitrate_bps.to_be_bytes());
    }
}

#[test]
fn nobody_hears_itself_and_who_is_silent_gets_the_programs_own_packet() {
    let mut room = Room::of(4);
    for number in 1..=20 {
        let captured_us = sound_time(START_US, number);
        for id in 0..3 {
            room.say(id, number, captured_us, hz(id)); // the fourth speaker is silent
        }
        let outputs = room.hear(captured_us);
        if number < 10 {
            continue;
        }
        let Some(MixerOutput::Sound { packet: shared, contributors, level, .. }) = outputs.first() else {
            panic!("{outputs:?}");
        };
        assert_eq!(ids(contributors), [0, 1, 2]);
        assert!((10..30).contains(level), "{level}");
        let minus: OrderedMap<u64, &Bytes> = outputs[1..]
            .iter()
            .map(|output| match output {
                MixerOutput::MixMinus { id, packet, .. } => (*id, packet),
                other => panic!("{other:?}"),
            })
            .collect();
        for id in 0..3 {
            assert!(tone_in(shared, hz(id)) > 0.09);
            for other in 0..3 {
                let tone = tone_in(minus[&id], hz(other));
                assert!(if other == id { tone < 0.001 } else { tone > 0.09 }, "{id} hears {tone} of {other}");
            }
        }
        assert_eq!(minus[&3], shared);
    }
    let encoded = room.codecs.0.sounds_encoded.load(Ordering::Relaxed);
    assert!(encoded <= 20 * 4, "one shared and three without: {encoded}");
}

#[test]
fn whoever_shows_pictures_without_sound_for_a_second_is_mute() {
    let mut room = Room::of(3);
    let feeds = [0, 1, 2].map(|id| room.stage.feed(id).unwrap());
    let mute = |now_us| feeds.each_ref().map(|feed| feed.is_mute(now_us));
    let at = |ms: u64| START_US + ms * 1_000;
    for number in 1..=50 {
        let captured_us = at(u64::from(number) * 40);
        room.show(0, number, captured_us, 100);
        room.show(1, number, captured_us, 100);
        room.say(0, number, captured_us, 400);
        room.say(2, number, captured_us, 400);
        let long = number >= 26; // a new speaker's frames may arrive in any order
        assert_eq!(mute(captured_us), [false, long, false], "picture {number}");
    }
    room.say(1, 1, at(2_000), 400);
    assert_eq!(mute(at(2_000)), [false; 3]);
    assert_eq!(mute(at(9_000)), [false; 3], "whoever sends nothing at all is away, not mute");
}

#[test]
fn a_screen_beside_a_camera_is_not_mute() {
    let mut room = Room::of(2);
    room.restage(|stage| stage.inputs[1].0.beside = Some(0));
    for number in 1..=50 {
        let captured_us = START_US + u64::from(number) * 40_000;
        room.show(0, number, captured_us, 100);
        room.show(1, number, captured_us, 100);
    }
    assert_eq!(super::sound::mute(&room.stage, START_US + 2_000_000), [0]);
}

#[test]
fn a_mute_speaker_has_the_mark_on_its_tile() {
    let mut room = Room::of(2);
    room.show(0, 1, START_US, 100);
    room.show(1, 1, START_US, 100);
    room.step(START_US);
    let without = room.video.canvas().clone();
    room.restage(|stage| stage.mute = vec![1]);
    room.step(START_US + STEP_US);
    assert!(*room.video.canvas() != without);
    room.restage(|stage| stage.mute = vec![]);
    room.step(START_US + 2 * STEP_US);
    assert!(*room.video.canvas() == without);
}

#[test]
fn the_loudest_are_heard_but_no_muted_one() {
    let mut room = Room::of(8);
    room.change(|inputs| inputs[6].muted = true);
    let mut heard = Vec::new();
    for number in 1..=50 {
        let captured_us = sound_time(START_US, number);
        for id in 0..8_u64 {
            let frame = sound_frame(id, number, captured_us, hz(id), 20 << id);
            room.stage.feed(id).unwrap().push(frame, captured_us);
        }
        for output in room.hear(captured_us) {
            if let MixerOutput::Sound { contributors, .. } = output {
                heard = ids(&contributors);
            }
        }
    }
    assert_eq!(heard, [2, 3, 4, 5, 7], "the muted one takes nobody's place");
    room.change(|inputs| inputs[7].muted = true);
    let contributors = |outputs: Vec<MixerOutput>| match &outputs[0] {
        MixerOutput::Sound { contributors, .. } => ids(contributors),
        other => panic!("{other:?}"),
    };
    assert!(contributors(room.hear(sound_time(START_US, 51))).contains(&7), "fading");
    assert!(!contributors(room.hear(sound_time(START_US, 52))).contains(&7));
}

#[test]
fn who_leaves_is_faded_out() {
    let mut room = Room::of(2);
    let feed = room.stage.feed(0).unwrap();
    let mut edge = 0.0_f32;
    let mut before: Option<f32> = None;
    for number in 1..=20 {
        let captured_us = sound_time(START_US, number);
        feed.push(sound_frame(0, number, captured_us, 50, 100), captured_us);
        if number == 15 {
            room.set_stage(0);
        }
        for output in room.hear(captured_us) {
            let MixerOutput::Sound { packet, .. } = output else { continue };
            for bytes in packet.chunks_exact(4) {
                let sample = f32::from_le_bytes(bytes.try_into().unwrap());
                edge = edge.max(before.map_or(0.0, |before| (sample - before).abs()));
                before = Some(sample);
            }
        }
    }
    assert!(edge < 0.002, "a step of {edge}"); // the tone itself has steps of 0.0007
    assert_eq!(before, Some(0.0));
}

#[test]
fn sound_that_is_no_sound_is_silence() {
    let mut room = Room::of(2);
    for number in 1..=10 {
        let captured_us = sound_time(START_US, number);
        let mut frame = sound_frame(0, number, captured_us, 400, 100);
        frame.data = Bytes::from_static(b"garbage");
        room.stage.feed(0).unwrap().push(frame, captured_us);
        room.say(1, number, captured_us, 500);
        for output in room.hear(captured_us) {
            if let MixerOutput::Sound { packet, contributors, .. } = output {
                assert!(tone_in(&packet, 500).is_finite());
                assert!(!ids(&contributors).contains(&0));
            }
        }
    }
    assert!(room.counts.codec_errors.load(Ordering::Relaxed) >= 9);
}

#[test]
fn picture_and_sound_of_a_speaker_stay_together() {
    // A clock offset of 12345 s, a path of 60 ms with up to 30 ms of jitter, and pictures later than sound.
    const OFF_US: u64 = 12_345 * SECOND_US;
    const APART_US_MAX: i64 = 40_000;
    for measured in [true, false] {
        let mut room = Room::of(1);
        let feed = room.stage.feed(0).unwrap();
        feed.set_clock_offset_us(measured.then_some(OFF_US as i64));
        let mut events = OrderedMap::new();
        for number in 1..=500_u32 {
            let jitter_us = u64::from(number * 7 % 31) * 1_000;
            let captured_us = sound_time(START_US, number);
            let frame = sound_frame(0, number, captured_us - OFF_US, 440, 100);
            events.insert((captured_us + 60_000 + jitter_us, number), frame);
            if number % 2 == 0 {
                let luma = (number / 2 % 128) as u8 + 100;
                let grey = Grey { key: number == 2, ..room.grey(number / 2, captured_us - OFF_US, luma) };
                events.insert((captured_us + 65_000 + jitter_us, number + 1_000), picture_frame(0, grey));
            }
        }
        let mut delay_us = 50_000;
        let mut events = events.into_iter().peekable();
        let mut checked = 0;
        for tick in 1..490 {
            let now_us = START_US + tick * SOUND_FRAME_US;
            while let Some(((arrived_us, _), frame)) =
                events.next_if(|((arrived_us, _), _)| *arrived_us <= now_us)
            {
                room.now_us = arrived_us;
                room.push_and_decode(0, frame);
            }
            delay_us = pace::follow(delay_us, wanted_delay_us(now_us, &room.stage));
            let program_us = now_us - delay_us;
            let sound = feed.pull_sound(program_us, 0, true).pulled;
            let picture = room.step(program_us).unwrap();
            if let Pulled::Packet(packet) = sound
                && tick > 100
            {
                let text = String::from_utf8(packet.to_vec()).unwrap();
                let heard: u64 = text.split(' ').next().unwrap().parse().unwrap();
                let shown = u64::from(grey_of_tile(&picture, 1, 0) - 100) * 2;
                let apart = (heard as i64 - shown as i64).rem_euclid(256);
                let apart_us = apart.min(256 - apart) * SOUND_FRAME_US as i64;
                assert!(apart_us <= APART_US_MAX, "{apart_us} at tick {tick}");
                checked += 1;
            }
        }
        assert!(checked > 350, "{checked}");
        let stats = feed.stats();
        assert!(stats.concealed_frames < 10, "{stats:?}");
    }
}

#[test]
fn the_playout_delay_is_that_of_the_input_that_needs_most() {
    let mut room = Room::of(3);
    assert_eq!(wanted_delay_us(START_US, &room.stage), HOLD_US_MIN + sound::DECODE_US);
    for (id, transit_us) in [(0, 5_000), (1, 90_000)] {
        let feed = room.stage.feed(id).unwrap();
        feed.set_clock_offset_us(Some(0));
        for number in 1..=50 {
            let captured_us = sound_time(START_US, number);
            feed.push(sound_frame(id, number, captured_us, 400, 100), captured_us + transit_us);
        }
    }
    let now_us = sound_time(START_US, 50);
    assert_eq!(wanted_delay_us(now_us, &room.stage), 90_000 + HOLD_US_MIN + sound::DECODE_US);
    assert_eq!(
        wanted_delay_us(now_us + 5 * SECOND_US, &room.stage),
        HOLD_US_MIN + sound::DECODE_US,
        "long silent"
    );
    room.set_stage(1);
    assert_eq!(wanted_delay_us(now_us, &room.stage), 5_000 + HOLD_US_MIN + sound::DECODE_US);
}

#[test]
fn a_format_that_no_codec_takes_makes_the_mixer_fail_and_says_so() {
    let config = MixerConfig { program: VideoFormat { width: 0, ..FORMAT }, ..config(FakeCodecs::default()) };
    let (outputs, given) = mpsc::channel();
    let mixer = Mixer::start(config, now_us, move |output| drop(outputs.send(output))).unwrap();
    let failed = |output| match output {
        MixerOutput::CodecFailed { what: MixerPart::Encoder, remedy, .. } => Some(remedy),
        _ => None,
    };
    let mut remedies =
        std::iter::from_fn(|| given.recv_timeout(Duration::from_secs(20)).ok()).filter_map(failed);
    while remedies.next() != Some(CodecRemedy::GaveUp) {}
    assert!(mixer.has_failed());
}

/// Codecs whose program encoders die at their third picture in one way, and those of an input's pictures panic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dies {
    Fails,
    Panics,
    Hangs,
    LeavesOut,
}

struct DyingCodecs(Dies, FakeCodecs);

struct DyingEncoder(Dies, u32, Box<dyn VideoEncoder>);

impl Codecs for DyingCodecs {
    fn video_encoder(&self, format: &VideoFormat) -> Result<Box<dyn VideoEncoder>, CodecError> {
        Ok(Box::new(DyingEncoder(self.0, 0, self.1.video_encoder(format)?)))
    }
    fn video_decoder(&self) -> Result<Box<dyn VideoDecoder>, CodecError> {
        self.1.video_decoder()
    }
    fn sound_encoder(&self, channels: u8, bps: u32) -> Result<Box<dyn SoundEncoder>, CodecError> {
        self.1.sound_encoder(channels, bps)
    }
    fn sound_decoder(&self, channels: u8) -> Result<Box<dyn SoundDecoder>, CodecError> {
        self.1.sound_decoder(channels)
    }
}

impl VideoEncoder for DyingEncoder {
    fn encode(&mut self, picture: &PictureView<'_>, key: bool) -> Result<Option<EncodedPicture>, CodecError> {
        self.1 += 1;
        if self.1 < 3 {
            return self.2.encode(picture, key);
        }
        match self.0 {
            Dies::Fails => Err(CodecError::Failed { codec: "fake", code: "session lost".to_owned() }),
            Dies::Panics => panic!("an encoder that fails as badly as it can"),
            Dies::Hangs => loop {
                std::thread::park();
            },
            Dies::LeavesOut => Ok(None),
        }
    }
    fn set_bitrate(&mut self, _: u32) {}
}

#[cfg(feature = "codecs")]
#[test]
fn a_mixer_outlives_its_encoder_by_a_new_one_and_the_builtin_one() {
    for dies in [Dies::Fails, Dies::Panics, Dies::Hangs, Dies::LeavesOut] {
        let (outputs, given) = mpsc::channel();
        let fakes = config(FakeCodecs::default());
        let config = MixerConfig { codecs: Arc::new(DyingCodecs(dies, FakeCodecs::default())), ..fakes };
        let mixer =
            Mixer::start(config, now_us, move |output| drop(outputs.send((now_us(), output)))).unwrap();
        mixer.begin(0);
        let (mut remedies, mut pictures, mut keys, mut gap_us) = (Vec::new(), 0, 0, 0);
        let mut before_us = None;
        while pictures < 20 {
            match given.recv_timeout(Duration::from_secs(20)).unwrap() {
                (_, MixerOutput::CodecFailed { what: MixerPart::Encoder, remedy, .. }) => {
                    remedies.push(remedy)
                }
                (at_us, MixerOutput::Video { picture, .. }) => {
                    (pictures, keys) = (pictures + 1, keys + u32::from(picture.key));
                    gap_us = gap_us.max(at_us - before_us.replace(at_us).unwrap_or(at_us));
                }
                _ => {}
            }
        }
        assert_eq!(remedies, [CodecRemedy::Restarted, CodecRemedy::ReplacedByBuiltin], "{dies:?}");
        assert!(keys >= 3, "{dies:?}: each encoder begins with a keyframe: {keys}");
        assert!(!mixer.has_failed());
        let began = Instant::now();
        drop(mixer);
        eprintln!("{dies:?}: longest gap {} ms, closed in {:?}", gap_us / 1_000, began.elapsed());
        assert!(gap_us < 5 * SECOND_US, "{dies:?}: {gap_us} µs");
        assert!(began.elapsed() < Duration::from_secs(5), "{dies:?}");
    }
}

#[test]
fn a_real_mixer_keeps_time_and_survives_a_decoder_that_panics() {
    let (outputs, given) = mpsc::channel();
    let codecs = FakeCodecs::default();
    let send = move |output| drop(outputs.send(output));
    let mixer = Mixer::start(config(codecs.clone()), now_us, send).unwrap();
    mixer.set_inputs((0..5).map(input).collect()).unwrap();
    mixer.begin(0);
    let start_us = now_us();
    let (mut numbers, mut pictures, mut sounds, mut minus) = ([1_u32; 5], Vec::new(), Vec::new(), 0);
    while (pictures.len() < 25 || sounds.len() < 40) && now_us() < start_us + 20 * SECOND_US {
        for id in 0..4_u64 {
            let number = &mut numbers[id as usize];
            while sound_time(start_us, *number) < now_us() {
                let captured_us = sound_time(start_us, *number);
                mixer.push(id, sound_frame(id, *number, captured_us, hz(id), 100), now_us());
                let grey = Grey {
                    number: *number,
                    captured_us,
                    key: *number == 1,
                    size: (640, 360),
                    luma: 100 + id as u8,
                };
                let broken = id == 3 && *number == 5;
                let frame = if broken { broken_frame(id, grey, "panic") } else { picture_frame(id, grey) };
                mixer.push(id, frame, now_us());
                *number += 1;
            }
        }
        match given.recv_timeout(Duration::from_millis(5)) {
            Ok(MixerOutput::Video { picture, captured_us }) => pictures.push((captured_us, picture)),
            Ok(MixerOutput::Sound { captured_us, contributors, .. }) => {
                sounds.push((captured_us, ids(&contributors)))
            }
            Ok(MixerOutput::MixMinus { id, .. }) => minus += usize::from(id == 4),
            _ => {}
        }
    }
    let stats = mixer.stats();
    drop(mixer);
    assert!(given.try_iter().count() < 1_000 && given.recv().is_err(), "all threads are gone");

    assert!(pictures[0].1.key && !pictures[1].1.key);
    assert!(pictures.windows(2).all(|two| two[0].0 < two[1].0));
    assert!(pictures.iter().all(|(captured_us, _)| captured_us % STEP_US == 0));
    assert!(sounds.windows(2).all(|two| two[0].0 < two[1].0 && two[1].0 % SOUND_FRAME_US == 0));
    let upper_row = |picture: &EncodedPicture| [100, 500, 900].map(|x| grey_at(picture, x, 180));
    assert!(pictures.iter().any(|(_, picture)| upper_row(picture) == [100, 101, 102]));
    assert!(sounds.iter().any(|(_, contributors)| *contributors == [0, 1, 2, 3]));
    assert!(minus > 0);
    assert!(stats.encoded_frames >= 25 && stats.decoded_frames >= 25, "{stats:?}");
    assert!(stats.added_latency_us.is_some() && stats.compose_encode_us.is_some());
    assert_eq!(stats.inputs.len(), 5);
}

#[test]
fn a_mixer_that_falls_silent_and_speaks_again_begins_with_a_key_frame() {
    let (outputs, given) = mpsc::channel();
    let send = move |output| drop(outputs.send(output));
    let mixer = Mixer::start(config(FakeCodecs::default()), now_us, send).unwrap();
    let is_key = || loop {
        if let MixerOutput::Video { picture, .. } = given.recv_timeout(Duration::from_secs(20)).unwrap() {
            return picture.key;
        }
    };
    mixer.begin(0);
    assert!(is_key());
    for _ in 0..3 {
        mixer.stop();
        mixer.begin(0); // however short the interruption
        assert!((0..40).any(|_| is_key()), "without this, a key frame comes every 50 pictures");
    }
}

#[test]
fn inputs_past_the_limit_are_left_out_and_their_threads_end() {
    let codecs = FakeCodecs::default();
    let mixer = Mixer::start(config(codecs), now_us, |_| ()).unwrap();
    mixer.set_inputs((0..INPUTS_MAX as u64 + 10).chain(0..5).map(input).collect()).unwrap();
    let stats = mixer.stats();
    assert_eq!(
        stats.inputs.iter().map(|input| input.id).collect::<Vec<_>>(),
        (0..INPUTS_MAX as u64).collect::<Vec<_>>()
    );
    mixer.set_inputs(vec![input(3)]).unwrap();
    mixer.push(5, sound_frame(5, 1, START_US, 400, 100), START_US); // an input that has left
    let patience = now_us() + 20 * SECOND_US;
    while lock(&mixer.threads).iter().filter(|thread| !thread.is_finished()).count() > 3 {
        assert!(now_us() < patience, "threads of inputs that left go on");
        std::thread::yield_now();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn no_frame_breaks_the_mixer(frames in prop::collection::vec(wild_frame(), 1..60)) {
        let mut room = Room::of(3);
        for (step, (id, frame, arrives_us)) in (1..).zip(frames) {
            room.now_us = arrives_us;
            room.push_and_decode(id, frame);
            let captured_us = START_US + step * SOUND_FRAME_US;
            prop_assert!(room.step(captured_us).is_some());
            for output in room.hear(captured_us) {
                let (MixerOutput::Sound { packet, .. } | MixerOutput::MixMinus { packet, .. }) = output else { continue };
                let samples = packet.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()));
                prop_assert!(samples.into_iter().all(|sample| sample.abs() <= 1.0));
            }
            let delay_us = wanted_delay_us(arrives_us, &room.stage);
            prop_assert!(delay_us <= (TRANSIT_US_MAX as u64) + HOLD_US_MAX + sound::DECODE_US);
        }
    }
}

/// Generates frames of three inputs: any identity, and contents that may be decodable or not.
fn wild_frame() -> impl Strategy<Value = (u64, Frame, u64)> {
    let near = START_US..START_US + 2 * SECOND_US;
    let time = prop_oneof![4 => near.clone(), 1 => any::<u64>()];
    let number = prop_oneof![4 => 1_u32..200, 1 => any::<u32>()];
    let contents = prop_oneof![
        (0_usize..300, 0_usize..300)
            .prop_map(|(width, height)| format!("1 0 {width} {height} 99").into_bytes()),
        (100_u32..900, 0_u32..20_000).prop_map(|(hz, amplitude)| format!("1 {hz} {amplitude}").into_bytes()),
        any::<Vec<u8>>(),
    ];
    (0_u64..3, 0_u64..2, number, time, near, any::<(bool, bool, Option<u8>)>(), contents).prop_map(
        |(id, maker, number, captured_us, arrives_us, (is_sound, key, level), contents)| {
            let identity = FrameIdentity { key, ..FrameIdentity::single(stream(maker), number, captured_us) };
            let kind = if is_sound { MediaKind::Sound } else { MediaKind::Video };
            (id, Frame { kind, identity, data: contents.into(), level }, arrives_us)
        },
    )
}

/// Speakers, and the parts of a mixer without its threads.
struct Room {
    codecs: FakeCodecs,
    stage: Stage,
    orders: Orders,
    video: VideoProgram,
    sound: SoundProgram,
    decoders: OrderedMap<u64, PictureDecoder>,
    counts: Counts,
    now_us: u64,
}

impl Room {
    fn of(inputs: u64) -> Room {
        let codecs = FakeCodecs::default();
        let shared: Arc<dyn Codecs> = Arc::new(codecs.clone());
        let mut room = Room {
            video: VideoProgram::new(Arc::clone(&shared), &FORMAT).unwrap(),
            sound: SoundProgram::new(Arc::clone(&shared), 32_000, 5).unwrap(),
            codecs,
            stage: Stage { size: (1280, 720), ..Stage::default() },
            orders: Orders {
                started: true,
                from_us: 0,
                begins: false,
                key_wanted: false,
                bitrate_bps: FORMAT.bitrate_bps,
                loss_percent: None,
            },
            decoders: OrderedMap::new(),
            counts: Counts::default(),
            now_us: START_US,
        };
        room.set_stage(inputs);
        room
    }

    /// Sets the inputs as `Mixer::set_inputs` does, without threads.
    fn set_stage(&mut self, inputs: u64) {
        let known = |id| self.stage.feed(id).unwrap_or_else(|| Arc::new(Feed::new(id)));
        let inputs: Vec<_> = (0..inputs).map(|id| (input(id), known(id))).collect();
        self.restage(|stage| stage.inputs = inputs);
    }

    fn restage(&mut self, change: impl FnOnce(&mut Stage)) {
        self.stage = self.stage.changed(change);
    }

    fn change(&mut self, change: impl FnOnce(&mut [Input])) {
        let mut inputs: Vec<Input> = self.stage.inputs.iter().map(|(input, _)| input.clone()).collect();
        change(&mut inputs);
        self.stage.revision += 1;
        for ((before, _), after) in self.stage.inputs.iter_mut().zip(inputs) {
            *before = after;
        }
    }

    fn grey(&self, number: u32, captured_us: u64, luma: u8) -> Grey {
        Grey { number, captured_us, key: number == 1, size: (640, 360), luma }
    }

    /// Pushes a frame and runs its decoder. Returns the number of keyframe requests.
    fn push_and_decode(&mut self, id: u64, frame: Frame) -> usize {
        let feed = self.stage.feed(id).unwrap();
        let codecs: Arc<dyn Codecs> = Arc::new(self.codecs.clone());
        let decoder = self.decoders.entry(id).or_insert_with(|| PictureDecoder::new(codecs));
        feed.push(frame, self.now_us);
        let mut asked = 0;
        while let Some(work) = feed.poll(self.now_us) {
            match work {
                Work::Decode(frame) => {
                    if decoder.decode(&frame, &feed, &mut CpuMeter::new(&self.counts)).is_err() {
                        feed.failed();
                    }
                }
                Work::RequestKeyframe => asked += 1,
                Work::End => panic!("nobody left"),
            }
        }
        asked
    }

    /// Pushes a picture that arrives without delay.
    fn show(&mut self, id: u64, number: u32, captured_us: u64, luma: u8) {
        self.now_us = captured_us;
        let mut grey = self.grey(number, captured_us, luma);
        grey.key |= !self.decoders.contains_key(&id);
        self.push_and_decode(id, picture_frame(id, grey));
    }

    /// Pushes a sound frame that arrives without delay.
    fn say(&mut self, id: u64, number: u32, captured_us: u64, hz: u32) {
        let frame = sound_frame(id, number, captured_us, hz, 100);
        self.stage.feed(id).unwrap().push(frame, captured_us);
    }

    fn step(&mut self, captured_us: u64) -> Option<EncodedPicture> {
        self.video.step(captured_us, &self.stage, &self.orders, &mut CpuMeter::new(&self.counts)).unwrap()
    }

    fn hear(&mut self, captured_us: u64) -> Vec<MixerOutput> {
        self.sound.step(captured_us, &self.stage, self.orders.started, &self.counts)
    }
}

fn input(id: u64) -> Input {
    Input { name: format!("Speaker {id}"), hears: true, ..Input::new(id) }
}

/// Returns the frequency of an input's tone: whole periods in 20 ms.
fn hz(id: u64) -> u32 {
    400 + 150 * id as u32
}

fn config(codecs: FakeCodecs) -> MixerConfig {
    let codecs = Arc::new(codecs);
    MixerConfig {
        program: FORMAT,
        layout: Layout::Grid,
        sound_bitrate_bps: 32_000,
        heard_max: 5,
        codecs,
        falls_back: true,
    }
}

fn now_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as u64
}
