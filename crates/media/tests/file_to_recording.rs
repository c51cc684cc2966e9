//! Checks the example's recordings with ffmpeg.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use plenary_media::BuiltinCodecs;
use plenary_media::codec::Codecs;
use plenary_media::source::{TestSource, open_source};
use plenary_testkit::judge::{Layout, TimeCode, recording};

#[path = "../../../examples/file_to_recording.rs"]
#[expect(dead_code, reason = "its main is for the command line")]
mod example;

fn codecs() -> Arc<dyn Codecs> {
    Arc::new(BuiltinCodecs::default())
}

#[test]
fn the_test_source_arrives_picture_by_picture_with_its_tone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("test.mp4");
    for index in [0, 5] {
        let source = Box::new(TestSource::new(index, 640, 360, 30));
        assert_eq!(example::record(source, &codecs(), &path, 4_000_000).unwrap(), 120 + 200);
        let recording = recording(&path, &Layout::Single).unwrap();
        assert_eq!(recording.ffmpeg_errors, [""; 0]);
        assert_eq!((recording.width, recording.height, recording.frames.len()), (640, 360, 120));
        assert!((recording.fps() - 30.0).abs() < 0.01 && (recording.duration_s - 4.0).abs() < 0.01);
        for (number, frame) in (0..).zip(&recording.frames) {
            assert_eq!(frame.codes, [Some(TimeCode { index, number })]);
            assert_eq!(frame.flashes, [number % 30 < 3], "picture {number}");
            assert!(
                (frame.at_s - f64::from(number) / 30.0).abs() < 0.001,
                "picture {number}: {} s",
                frame.at_s
            );
        }
        assert!(recording.gaps(0.04).is_empty() && recording.longest_still_s(0) < 0.04);
        assert!(recording.sound_gaps.is_empty());

        let skews = recording.skews_ms(0);
        assert!(skews.len() == 3 && skews.iter().all(|skew| skew.abs() < 10.0), "{skews:?}");
        let sound = recording.sound.unwrap();
        for other in 0..8 {
            let level = sound.tone_db(other, 0.2..3.9);
            let wanted = if other == index { -21.0..-19.0 } else { -120.0..-50.0 };
            assert!(wanted.contains(&level), "tone {other} at {level} dB");
        }
        let beep = sound.level_db(1.02..1.08);
        assert!((beep + 8.0).abs() < 1.0, "{beep} dB");
    }
}

#[test]
fn a_film_becomes_a_recording() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("film.mp4");
    let film = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/media/bbb-720p25-5s.mp4");
    let source = open_source(&film, &codecs()).unwrap();
    // 6 s reach into the second loop
    example::record(source, &codecs(), &path, 6_000_000).unwrap();
    let recording = recording(&path, &Layout::Single).unwrap();
    assert_eq!(recording.ffmpeg_errors, [""; 0]);
    assert_eq!((recording.width, recording.height, recording.frames.len()), (640, 360, 150));
    assert!((recording.fps() - 25.0).abs() < 0.01 && recording.gaps(0.05).is_empty());
    let level = recording.sound.unwrap().level_db(0.0..6.0);
    assert!((-50.0..-20.0).contains(&level), "{level} dB");
}

#[test]
fn four_recordings_side_by_side_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-nostdin"]);
    for index in 0..4 {
        let path = folder.path().join(format!("{index}.mp4"));
        let source = Box::new(TestSource::new(index, 320, 180, 30));
        example::record(source, &codecs(), &path, 3_000_000).unwrap();
        command.arg("-i").arg(path);
    }
    let grid = folder.path().join("grid.mp4");
    let places = "xstack=inputs=4:layout=0_0|w0_0|0_h0|w0_h0";
    // 0.5: four beeps at once would be too loud; the last is delayed by 60 ms
    let mix = "[3:a]adelay=60:all=1[d];[0:a][1:a][2:a][d]amix=inputs=4:normalize=0,volume=0.5[m]";
    command.args([
        "-filter_complex",
        &format!("[0:v][1:v][2:v][3:v]{places}[v];{mix}"),
        "-map",
        "[v]",
        "-map",
        "[m]",
    ]);
    command.args([
        "-c:v",
        "libx264",
        "-preset",
        "ultrafast",
        "-b:v",
        "1500k",
        "-c:a",
        "libopus",
        "-b:a",
        "128k",
    ]);
    assert!(command.arg(&grid).status().unwrap().success());

    let recording = recording(&grid, &Layout::grid(4)).unwrap();
    assert_eq!((recording.width, recording.height, recording.frames.len()), (640, 360, 90));
    for (number, frame) in (0..).zip(&recording.frames) {
        let wanted: Vec<_> = (0..4).map(|index| Some(TimeCode { index, number })).collect();
        assert_eq!(frame.codes, wanted);
    }
    let sound = recording.sound.as_ref().unwrap();
    for index in 0..4 {
        let level = sound.tone_db(index, 0.2..2.9);
        assert!((level + 26.02).abs() < 1.0, "tone {index} at {level} dB");
        let skews = recording.skews_ms(index.into());
        let late_ms = if index == 3 { 60.0 } else { 0.0 };
        assert!(
            !skews.is_empty() && skews.iter().all(|skew| (skew - late_ms).abs() < 15.0),
            "{index}: {skews:?}"
        );
    }
    assert!(sound.tone_db(5, 0.2..2.9) < -50.0);
}
