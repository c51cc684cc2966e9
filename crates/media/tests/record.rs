//! Recordings are playable, no matter what arrives and how they end.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use plenary_media::codec::{Codecs, VideoFormat};
use plenary_media::source::{Source, TestSource, open_source};
use plenary_media::{
    BuiltinCodecs, Encoded, FRAGMENT_BYTES_MAX, Frame, RecordError, Recorder, SOUND_FRAME_LEN,
    SOUND_FRAME_US, SoundEncoding, VideoEncoding,
};
use plenary_proto::StreamId;
use plenary_proto::identity::{MediaKind, h264};
use plenary_testkit::fake::FakeCodecs;
use plenary_testkit::judge::{Layout, Recording, recording};
use proptest::prelude::*;
use shiguredo_mp4::boxes::MoofBox;
use shiguredo_mp4::{BoxHeader, Decode};
use tempfile::TempDir;

pub(crate) const A: StreamId = StreamId([1; 8]);
const B: StreamId = StreamId([2; 8]);
/// Capture time at which the streams begin, on the mixer's clock.
pub(crate) const T_US: u64 = 1_763_627_671_166_665;
pub(crate) const SMALL: VideoFormat = VideoFormat { width: 320, height: 180, fps: 30, bitrate_bps: 200_000 };
const LARGE: VideoFormat = VideoFormat { width: 640, height: 360, fps: 30, bitrate_bps: 500_000 };

#[test]
fn a_gap_in_what_arrives_is_a_gap_in_the_file() {
    let (_folder, path) = target();
    let mut recorder = Recorder::create(&path).unwrap();
    for frame in stream(A, 1, SMALL, T_US, 5.0) {
        if !(1.5..4.0).contains(&seconds(&frame)) {
            recorder.push(&frame).unwrap();
        }
    }
    recorder.finish().unwrap();
    let judged = judged(&path);
    assert_eq!(judged.frames.len(), 75);
    let [(from, to)] = judged.gaps(0.05)[..] else { panic!("{:?}", judged.gaps(0.05)) };
    assert!((from - 1.4667).abs() < 0.002 && (to - 4.0).abs() < 0.002, "{from} to {to}");
    let [(from, to)] = judged.sound_gaps[..] else { panic!("{:?}", judged.sound_gaps) };
    assert!((from - 1.5).abs() < 0.002 && (to - 4.0).abs() < 0.002, "{from} to {to}");
    // no packet's duration extends into the gap, so that players show it
    let sound = fragments(&std::fs::read(&path).unwrap()).into_iter().filter(|fragment| fragment.track == 2);
    let durations: Vec<_> = sound.flat_map(|fragment| fragment.durations).collect();
    assert!(durations.len() == 125 && durations.iter().all(|duration| *duration == 960), "{durations:?}");
    // after the gap the codes match their times, and sound is still in sync
    for frame in &judged.frames {
        let code = frame.codes[0].unwrap();
        assert!((f64::from(code.number) / 30.0 - frame.at_s).abs() < 0.002, "{code:?} at {}", frame.at_s);
    }
    assert!(judged.skews_ms(0).iter().all(|skew| skew.abs() < 12.0), "{:?}", judged.skews_ms(0));
    // the recording also plays as a source
    let codecs: Arc<dyn Codecs> = Arc::new(BuiltinCodecs::default());
    let mut source = open_source(&path, &codecs).unwrap();
    let mut frame = [0.0; 2 * SOUND_FRAME_LEN];
    let mut loud = || {
        source.next_sound(&mut frame).unwrap();
        frame.iter().any(|sample| sample.abs() > 0.05)
    };
    let heard: Vec<_> = (0..250).map(|_| loud()).collect();
    assert!(heard[1..74].iter().all(|loud| *loud) && heard[202..249].iter().all(|loud| *loud));
    assert!(heard[76..200].iter().all(|loud| !loud), "{heard:?}");
    let sound = judged.sound.unwrap();
    assert!(sound.level_db(1.6..3.9) < -100.0 && sound.tone_db(1, 4.2..4.9) > -21.0);
}

#[test]
fn another_stream_plays_on_in_another_size_and_by_another_clock() {
    // (clock offset of the second mixer, position of its first picture in the file)
    for (off_us, begin_s) in [(0i64, 2.5), (37_000_000, 2.0), (-90_000_000, 2.0)] {
        let (_folder, path) = target();
        let mut recorder = Recorder::create(&path).unwrap();
        let second_us = (T_US + 2_500_000).wrapping_add_signed(off_us);
        let second = stream(B, 2, LARGE, second_us, 2.0);
        for frame in stream(A, 1, SMALL, T_US, 2.0).iter().chain(&second) {
            recorder.push(frame).unwrap();
        }
        assert_eq!(recorder.left_out(), 0);
        recorder.finish().unwrap();
        let judged = judged(&path);
        assert_eq!(judged.frames.len(), 120, "{off_us}");
        let first = judged.frames.iter().find(|frame| frame.codes[0].unwrap().index == 2).unwrap();
        assert!((first.at_s - begin_s).abs() < 0.03, "{off_us}: the second begins at {}", first.at_s);
        assert_eq!(judged.numbers(0).len(), 120);
        assert!(judged.gaps(begin_s - 1.9).is_empty(), "{:?}", judged.gaps(0.05));
        assert!(
            judged.skews_ms(0).iter().all(|skew| skew.abs() < 12.0),
            "{off_us}: {:?}",
            judged.skews_ms(0)
        );
    }
}

#[test]
fn pictures_of_another_maker_that_the_file_has_already_are_not_seen_again() {
    let (_folder, path) = target();
    let mut recorder = Recorder::create(&path).unwrap();
    let before = |frame: &&Frame| seconds(frame) < 1.0;
    for frame in stream(A, 1, SMALL, T_US, 2.0).iter().filter(before) {
        recorder.push(frame).unwrap();
    }
    for frame in &stream(B, 1, SMALL, T_US, 2.0) {
        match frame.kind {
            MediaKind::Video if before(&frame) => recorder.catch_up(frame).unwrap(),
            MediaKind::Sound if before(&frame) => {}
            _ => recorder.push(frame).unwrap(),
        }
    }
    recorder.finish().unwrap();
    let judged = judged(&path);
    assert_eq!(judged.numbers(0), (0..60).collect::<Vec<_>>());
    assert!(judged.gaps(0.04).is_empty() && judged.sound_gaps.is_empty(), "{:?}", judged.gaps(0.04));
}

#[test]
fn pictures_of_another_mixer_replace_those_that_the_file_has_already() {
    // The second mixer's keyframe is that much before the end of the first mixer's pictures, and its clock is
    // early. What a slow clock captures counts as repeated for as long as it is behind, at most 500 ms.
    let rows = [
        (0.03, 0),
        (0.2, 0),
        (0.2, 11),
        (0.2, 9_000),
        (0.24, 16_000),
        (0.7, 0),
        (0.0, 300_000),
        (0.2, 300_000),
        (0.2, 1_000_000),
        (0.2, 2_500_000),
    ];
    for (past_s, early_us) in rows {
        let (_folder, path) = target();
        let mut recorder = Recorder::create(&path).unwrap();
        let before = |frame: &&Frame| seconds(frame) < 1.0;
        for frame in stream(A, 1, SMALL, T_US, 2.0).iter().filter(before) {
            recorder.push(frame).unwrap();
        }
        let mut repeated = 0;
        let begin_us = T_US + 1_000_000 - (past_s * 1e6) as u64 - early_us;
        for frame in &stream(B, 1, SMALL, begin_us, 1.0) {
            let captured_us = frame.identity.captured_us;
            let believed = captured_us >= begin_us + (past_s * 1e6) as u64 + 500_000;
            match frame.kind {
                MediaKind::Video if !believed && captured_us <= T_US + 1_000_000 - 33_333 => {
                    recorder.catch_up(frame).unwrap();
                    repeated += 1;
                }
                MediaKind::Sound if !believed && captured_us < T_US + 1_000_000 => {}
                _ => recorder.push(frame).unwrap(),
            }
        }
        recorder.finish().unwrap();
        let times: Vec<f64> = judged(&path).frames.iter().map(|frame| frame.at_s).collect();
        let steps = times.windows(2).map(|pair| pair[1] - pair[0]);
        let (least, most) =
            steps.fold((1.0f64, 0.0f64), |(least, most), step| (least.min(step), most.max(step)));
        assert!(least > 0.016 && most < 0.05, "{past_s} s, {early_us} µs: {least} to {most} s apart");
        let replaced = 60 - times.len();
        assert!(replaced.abs_diff(repeated) <= 1, "{past_s} s, {early_us} µs: {replaced} for {repeated}");
    }
}

#[test]
fn another_maker_s_key_frame_takes_the_place_of_a_picture_just_before_it() {
    // The last picture is 33 ms before the end of the first stream. With a larger overlap the second stream
    // is shifted behind it.
    for (early_us, pictures) in [(26_000, 59), (10_000, 59), (70_000, 60)] {
        let (_folder, path) = target();
        let mut recorder = Recorder::create(&path).unwrap();
        let first = stream(A, 1, SMALL, T_US, 1.0);
        let second = stream(B, 2, SMALL, T_US + 1_000_000 - early_us, 1.0);
        first.iter().chain(&second).for_each(|frame| recorder.push(frame).unwrap());
        recorder.finish().unwrap();
        // ffmpeg reports an error for two pictures within one thirtieth of a second
        assert_eq!(judged(&path).frames.len(), pictures, "{early_us}");
    }
}

#[test]
fn a_stream_begins_at_its_key_frame() {
    let (_folder, path) = target();
    let mut recorder = Recorder::create(&path).unwrap();
    let first = stream(A, 1, SMALL, T_US, 1.0);
    let second = stream(B, 2, SMALL, T_US + 1_000_000, 2.5);
    // the second stream starts in the middle: its first keyframe is at 2 s
    let arrived = first.iter().chain(second.iter().filter(|frame| frame.identity.number > 5));
    arrived.for_each(|frame| recorder.push(frame).unwrap());
    assert_eq!(recorder.left_out(), 55);
    recorder.finish().unwrap();
    let judged = judged(&path);
    assert_eq!(judged.frames.len(), 30 + 15);
    assert!(judged.longest_still_s(0) > 1.9);
}

#[test]
fn sound_may_begin_late_or_never_and_pictures_may_never_come() {
    // (with pictures, start of sound, pictures and start of sound in the file)
    let rows = [
        (true, 0.25, 60, Some(0.25)),
        (true, 1.2, 60, Some(1.2)),
        (true, 9.0, 60, None),
        (false, 0.0, 0, Some(0.0)),
    ];
    for (pictures, sound_from, frames, sound_begin) in rows {
        let (_folder, path) = target();
        let mut recorder = Recorder::create(&path).unwrap();
        for frame in stream(A, 1, SMALL, T_US, 2.0) {
            let wanted = match frame.kind {
                MediaKind::Video => pictures,
                MediaKind::Sound => seconds(&frame) >= sound_from,
            };
            if wanted {
                recorder.push(&frame).unwrap();
            }
        }
        recorder.finish().unwrap();
        let judged = judged(&path);
        assert_eq!(judged.frames.len(), frames, "sound from {sound_from}");
        let close = match (judged.sound_begin_s, sound_begin) {
            (Some(found), Some(wanted)) => (found - wanted).abs() < 0.021,
            (found, wanted) => found.is_none() && wanted.is_none(),
        };
        assert!(close, "sound from {sound_from}: {:?}", judged.sound_begin_s);
        let tone = judged.sound.map(|sound| sound.tone_db(1, 1.4..1.9));
        assert!(tone.is_none_or(|tone| tone > -21.0), "{tone:?}");
    }
}

#[test]
fn pictures_that_come_too_late_are_left_out() {
    let (_folder, path) = target();
    let mut recorder = Recorder::create(&path).unwrap();
    let frames = stream_of(&FakeCodecs::default(), A, 1, SMALL, T_US, 7.0);
    let (video, sound): (Vec<_>, Vec<_>) = frames.iter().partition(|frame| frame.kind == MediaKind::Video);
    let len = || std::fs::metadata(&path).unwrap().len();
    for frame in &sound {
        recorder.push(frame).unwrap();
        assert_eq!(len() > 0, seconds(frame) >= 5.0, "at {}", seconds(frame));
    }
    video.iter().for_each(|frame| recorder.push(frame).unwrap());
    assert_eq!(recorder.left_out(), video.len() as u64);
}

#[test]
fn whatever_ends_a_recording_it_plays() {
    let (folder, path) = target();
    let mut recorder = Recorder::create(&path).unwrap();
    let frames = stream(A, 1, SMALL, T_US, 3.0);
    let mut pushed = 0;
    for frame in &frames {
        recorder.push(frame).unwrap();
        pushed += usize::from(frame.kind == MediaKind::Video);
        let at = seconds(frame);
        // the header is written with the first keyframe, and at most half a second is missing
        let bytes = std::fs::read(&path).unwrap();
        assert!(bytes.starts_with(b"\0\0") && !bytes.is_empty() || pushed == 0);
        if at > 1.0 && pushed % 17 == 0 && frame.kind == MediaKind::Video {
            let crashed = folder.path().join("crashed.mp4");
            std::fs::write(&crashed, &bytes).unwrap();
            let judged = judged(&crashed);
            assert!(judged.frames.len() + 17 >= pushed, "{} of {pushed}", judged.frames.len());
            assert!(judged.sound.unwrap().duration_s() > at - 0.6);
        }
    }
    drop(recorder);
    let whole = judged(&path);
    assert_eq!((whole.frames.len(), whole.longest_still_s(0) < 0.04), (90, true));

    // a file cut anywhere plays up to that point, and its pictures are correct
    let bytes = std::fs::read(&path).unwrap();
    for share in [0.37, 0.52, 0.68, 0.93] {
        let torn = folder.path().join("torn.mp4");
        std::fs::write(&torn, &bytes[..(bytes.len() as f64 * share) as usize]).unwrap();
        let judged = recording(&torn, &Layout::Single).unwrap();
        let readable = (0..)
            .zip(&judged.frames)
            .take_while(|(number, frame)| frame.codes[0].is_some_and(|code| code.number == *number));
        assert!(readable.count() as f64 > 90.0 * share - 16.0, "{share}: {}", judged.frames.len());
    }
}

#[test]
fn packets_of_silence_are_recorded() {
    let (_folder, path) = target();
    let mut recorder = Recorder::create(&path).unwrap();
    for mut frame in stream(A, 1, SMALL, T_US, 2.0) {
        if frame.kind == MediaKind::Sound && (0.5..1.0).contains(&seconds(&frame)) {
            // discontinuous transmission (DTX): only the first byte
            frame.data = Bytes::from(vec![frame.data[0] & !3]);
        }
        recorder.push(&frame).unwrap();
    }
    recorder.finish().unwrap();
    let judged = judged(&path);
    assert!(judged.sound_gaps.is_empty(), "{:?}", judged.sound_gaps);
    let sound = judged.sound.unwrap();
    assert!(sound.tone_db(1, 1.2..1.9) > -21.0 && (sound.duration_s() - 2.0).abs() < 0.05);
}

#[test]
fn sound_that_becomes_stereo_has_its_sides_and_mono_sound_is_on_both() {
    const SECOND: u32 = 50;
    let (_folder, path) = target();
    let mut recorder = Recorder::create(&path).unwrap();
    let mut encodings = [1, 2].map(|channels| {
        SoundEncoding::new(&BuiltinCodecs::default(), channels, 48_000 * u32::from(channels)).unwrap()
    });
    for number in 0..3 * SECOND {
        let stereo = (SECOND..2 * SECOND).contains(&number);
        let tone = |at: usize| 0.2 * (at as f32 * 440.0 / 48_000.0 * std::f32::consts::TAU).sin();
        let moments = (0..SOUND_FRAME_LEN).map(|at| tone(number as usize * SOUND_FRAME_LEN + at));
        let samples: Vec<f32> =
            if stereo { moments.flat_map(|sample| [sample, 0.0]).collect() } else { moments.collect() };
        let captured_us = T_US + u64::from(number) * SOUND_FRAME_US;
        let encoded = encodings[usize::from(stereo)].push(&samples, captured_us).unwrap().unwrap();
        recorder.push(&encoded.identified(A, number + 1, 1).unwrap()).unwrap();
    }
    recorder.finish().unwrap();
    let mut command = std::process::Command::new("ffmpeg");
    command.args(["-v", "error", "-nostdin", "-i"]).arg(&path).args(["-map", "0:a:0", "-f", "f32le", "-"]);
    let output = command.output().expect("ffmpeg is installed");
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    let samples = output.stdout.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    let samples: Vec<f32> = samples.collect();
    // every second has all its samples, except for the codec's delay and the switches
    assert!(samples.len().abs_diff(3 * 2 * 48_000) < 2 * 2_000, "{}", samples.len());
    for (second, sides) in [(0, [true, true]), (1, [true, false]), (2, [true, true])] {
        let middle = &samples[(second * 96_000 + 20_000)..(second * 96_000 + 80_000)];
        for (side, loud) in sides.into_iter().enumerate() {
            let energy: f32 = middle.iter().skip(side).step_by(2).map(|sample| sample * sample).sum();
            let db = 10.0 * (energy / 30_000.0).log10();
            let wanted = if loud { -18.5..-15.5 } else { f32::NEG_INFINITY..-50.0 };
            assert!(wanted.contains(&db), "side {side} in second {second}: {db} dB");
        }
    }
}

#[test]
fn a_large_fragment_is_written_early() {
    let (_folder, path) = target();
    let mut recorder = Recorder::create(&path).unwrap();
    let codecs = FakeCodecs { key_len_min: FRAGMENT_BYTES_MAX / 4, delta_len_min: FRAGMENT_BYTES_MAX / 4 };
    let frames = stream_of(&codecs, A, 1, SMALL, T_US, 0.4);
    let header_len = {
        recorder.push(frames.iter().find(|frame| frame.kind == MediaKind::Video).unwrap()).unwrap();
        std::fs::metadata(&path).unwrap().len()
    };
    for frame in frames.iter().filter(|frame| frame.kind == MediaKind::Video).skip(1).take(3) {
        assert_eq!(std::fs::metadata(&path).unwrap().len(), header_len);
        recorder.push(frame).unwrap();
    }
    assert!(std::fs::metadata(&path).unwrap().len() > FRAGMENT_BYTES_MAX as u64 / 2);
}

#[test]
fn a_full_disk_ends_the_recording_with_an_error() {
    let frames = stream_of(&FakeCodecs::default(), A, 1, SMALL, T_US, 1.0);
    let mut recorder = Recorder::create(Path::new("/dev/full")).unwrap();
    let mut results = frames.iter().map(|frame| recorder.push(frame));
    let error = results.find_map(Result::err).unwrap();
    assert!(matches!(error, RecordError::Io { .. }), "{error}");
    assert_eq!(error.to_string(), "/dev/full: No space left on device (os error 28)");
    assert!(results.all(|result| matches!(result, Err(RecordError::Ended))));
    drop(results);
    assert!(matches!(recorder.finish(), Err(RecordError::Ended)));
    assert!(matches!(Recorder::create(Path::new("/nowhere/a.mp4")), Err(RecordError::Io { .. })));
}

#[test]
fn a_key_frame_without_parameter_sets_is_refused_and_the_next_is_not() {
    let (_folder, path) = target();
    let mut recorder = Recorder::create(&path).unwrap();
    let frames = stream_of(&FakeCodecs::default(), A, 1, SMALL, T_US, 2.5);
    let video: Vec<_> = frames.into_iter().filter(|frame| frame.kind == MediaKind::Video).collect();
    let slice = h264::nals(&video[0].data).last().unwrap().offset;
    let bare = Frame { data: video[0].data.slice(slice..), ..video[0].clone() };
    assert!(matches!(recorder.push(&bare), Err(RecordError::Refused(_))));
    video[1..].iter().for_each(|frame| recorder.push(frame).unwrap());
    // the pictures before the keyframe at 2 s
    assert_eq!(recorder.left_out(), 59);
    recorder.finish().unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn fragments_follow_each_other_whatever_arrives(
        frames in prop::collection::vec((any::<bool>(), any::<bool>(), 0..3u8, 0..6_000_000u64, prop::collection::vec(any::<u8>(), 0..40)), 1..120),
        wild in any::<u64>(),
    ) {
        let (_folder, path) = target();
        let mut recorder = Recorder::create(&path).unwrap();
        let made = stream_of(&FakeCodecs::default(), A, 1, SMALL, T_US, 0.1);
        let picture = made.iter().find(|frame| frame.identity.key).unwrap();
        for (at, (video, garbage, stream, after_us, bytes)) in frames.into_iter().enumerate() {
            let mut frame = picture.clone();
            frame.kind = if video { MediaKind::Video } else { MediaKind::Sound };
            frame.identity.stream = StreamId([stream; 8]);
            frame.identity.captured_us = if at % 31 == 30 { wild } else { T_US + after_us };
            if garbage || !video {
                frame.data = Bytes::from(bytes);
            }
            let _ = recorder.push(&frame);
        }
        let _ = recorder.finish();
        check_fragments(&std::fs::read(&path).unwrap())?;
    }
}

/// Checks that every fragment of a track begins at the end of the previous one, or later.
fn check_fragments(file: &[u8]) -> Result<(), TestCaseError> {
    let mut ends = [0; 3];
    for Fragment { track, begin, durations } in fragments(file) {
        prop_assert!(begin >= ends[track], "a fragment at {}, but {} was reached", begin, ends[track]);
        ends[track] = begin + durations.iter().sum::<u64>();
    }
    Ok(())
}

/// The part of a fragment that belongs to one track, in ticks.
struct Fragment {
    track: usize,
    begin: u64,
    durations: Vec<u64>,
}

/// Parses the boxes of a file, each of which must be complete.
fn fragments(file: &[u8]) -> Vec<Fragment> {
    let (mut at, mut fragments) = (0, Vec::new());
    while at < file.len() {
        let (header, _) = BoxHeader::decode(&file[at..]).unwrap();
        let len = header.box_size.get() as usize;
        assert!(len >= 8 && at + len <= file.len());
        if header.box_type == MoofBox::TYPE {
            let (moof, _) = MoofBox::decode(&file[at..at + len]).unwrap();
            let samples = || moof.traf_boxes.iter().map(|traf| &traf.trun_boxes[0].samples);
            let payload: u64 = samples().flatten().map(|sample| u64::from(sample.size.unwrap())).sum();
            assert_eq!(BoxHeader::decode(&file[at + len..]).unwrap().0.box_size.get(), 8 + payload);
            fragments.extend(moof.traf_boxes.iter().zip(samples()).map(|(traf, samples)| Fragment {
                track: traf.tfhd_box.track_id as usize,
                begin: traf.tfdt_box.as_ref().unwrap().base_media_decode_time,
                durations: samples.iter().map(|sample| u64::from(sample.duration.unwrap())).collect(),
            }));
        }
        at += len;
    }
    fragments
}

pub(crate) fn target() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("recording.mp4");
    (folder, path)
}

/// Reads a recording, and checks that ffmpeg reports no errors.
pub(crate) fn judged(path: &Path) -> Recording {
    let judged = recording(path, &Layout::Single).unwrap();
    assert_eq!(judged.ffmpeg_errors, [""; 0]);
    judged
}

/// Returns the time from the start of the streams to the capture of a frame.
pub(crate) fn seconds(frame: &Frame) -> f64 {
    frame.identity.captured_us.saturating_sub(T_US) as f64 / 1e6
}

/// Returns the frames of a speaker, pictures and sound interleaved, with a keyframe every 2 s.
pub(crate) fn stream(
    stream: StreamId,
    index: u8,
    format: VideoFormat,
    begin_us: u64,
    length_s: f64,
) -> Vec<Frame> {
    stream_of(&BuiltinCodecs::default(), stream, index, format, begin_us, length_s)
}

pub(crate) fn stream_of(
    codecs: &(impl Codecs + Copy + 'static),
    stream: StreamId,
    index: u8,
    format: VideoFormat,
    begin_us: u64,
    length_s: f64,
) -> Vec<Frame> {
    let mut source = TestSource::new(index, format.width, format.height, format.fps);
    let mut video = VideoEncoding::new(Arc::new(*codecs), format);
    let mut sound = SoundEncoding::new(codecs, 1, 32_000).unwrap();
    let mut frames = Vec::new();
    let mut numbers = [0, 0];
    let mut push = |encoded: Encoded| {
        numbers[encoded.kind as usize] += 1;
        let frame = encoded.identified(stream, numbers[encoded.kind as usize], 1).unwrap();
        assert_ne!(frame.data, encoded.data, "it bears its identity");
        frames.push(frame);
    };
    let mut picture_us = source.next_picture().unwrap().unwrap();
    for sound_us in (0..(length_s * 1e6) as u64).step_by(SOUND_FRAME_US as usize) {
        let mut samples = [0.0; SOUND_FRAME_LEN];
        source.next_sound(&mut samples).unwrap();
        let span: Range<u64> = sound_us..sound_us + SOUND_FRAME_US;
        while span.contains(&picture_us) {
            push(video.push(&source.picture(), begin_us + picture_us).unwrap().unwrap());
            picture_us = source.next_picture().unwrap().unwrap();
        }
        push(sound.push(&samples, begin_us + sound_us).unwrap().unwrap());
    }
    frames
}
