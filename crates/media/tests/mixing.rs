//! Mixes encoded speakers. ffmpeg checks the recorded program, and the tests check the mix-minus of each
//! speaker.

use std::f64::consts::TAU;

use crate::stage::{INPUT, PROGRAM, Stage, Way};
use plenary_media::source::{Source, SourceError, SourcePictures, TestSource};
use plenary_media::{PictureView, PlaneView};
use plenary_testkit::judge::{Layout, Recording, Sound, recording};

const SKEW_MS_MAX: f64 = 40.0;
const STILL_S_MAX: f64 = 0.1;

#[test]
fn every_tile_of_a_grid_can_be_read_where_the_judge_expects_it() {
    // 5 tiles: two rows, centred on the canvas, with the last row centred
    let mut stage = Stage::new((0..5).map(|index| (speaker(index), Way::default())).collect());
    stage.play(1_200_000);
    let judged = judged(&stage, 5);
    assert_eq!((judged.width, judged.height), (PROGRAM.width.into(), PROGRAM.height.into()));
    for tile in 0..5 {
        let numbers = judged.numbers(tile);
        assert!(numbers.len() >= 28 && numbers.is_sorted(), "{tile}: {numbers:?}");
        let mut codes = judged.frames.iter().filter_map(|frame| frame.codes[tile]);
        assert!(codes.all(|code| usize::from(code.index) == tile));
    }
}

#[test]
fn lips_and_voices_stay_together_and_nobody_hears_itself() {
    let way = Way::default();
    let ways = [
        Way { begins_us: 86_500, jitter_us: 24_000, ..way },
        Way { begins_us: 217_900, delay_us: 39_000, jitter_us: 24_000, ..way },
        Way { begins_us: 391_000, delay_us: 60_000, ahead_us: -3_600_000_000, measured: true, ..way },
        Way { begins_us: 655_000, delay_us: 20_000, jitter_us: 5_000, ahead_us: 77_777_777, ..way },
    ];
    let mut stage = Stage::new((0..).zip(ways).map(|(index, way)| (speaker(index), way)).collect());
    stage.play(5_500_000);

    let mut judged = judged(&stage, 4);
    // without the first second, in which pictures and sound begin and the playout delay rises to fit the
    // paths
    judged.frames.retain(|frame| frame.at_s >= 1.0);
    assert!((judged.fps() - 30.0).abs() < 0.01, "{}", judged.fps());
    assert!(judged.gaps(0.04).is_empty() && judged.sound_gaps.is_empty());
    let sound = judged.sound.as_ref().unwrap();
    for index in 0..4 {
        let tile = usize::from(index);
        let skews = judged.skews_ms(tile);
        assert!(skews.len() >= 4 && skews.iter().all(|skew| skew.abs() <= SKEW_MS_MAX), "{index}: {skews:?}");
        assert!(judged.longest_still_s(tile) <= STILL_S_MAX, "{index}: {}", judged.longest_still_s(tile));
        let tone_db = sound.tone_db(index, 1.0..5.0);
        assert!((tone_db + 20.0).abs() <= 6.0, "{index}: {tone_db}");
    }
    for index in 0..4 {
        let heard = Sound { samples: stage.heard(index.into()) };
        let tone_db = |index| heard.tone_db(index, 1.0..5.0);
        let others_db = (0..4).filter(|other| *other != index).map(tone_db).sum::<f64>() / 3.0;
        assert!((others_db + 20.0).abs() <= 6.0, "{index} hears the others at {others_db}");
        assert!(tone_db(index) <= others_db - 30.0, "{index} hears itself at {}", tone_db(index));
    }
}

#[test]
fn who_begins_or_ceases_to_be_heard_clicks_for_nobody() {
    // No whole periods in 20 ms, so that no frame can replace another.
    const TONES_HZ: [f64; 3] = [317.0, 463.0, 769.0];
    let sources = TONES_HZ.map(|hz| (Box::new(Tone { hz, at: 0 }) as Box<dyn Source>, Way::default()));
    let mut stage = Stage::new(sources.into());
    stage.play(700_000);
    let mut length_s = 0.7;
    // longer than the mixer keeps the mix-minus of a muted speaker
    for (muted, length_us) in [(true, 765_000), (false, 500_000), (true, 765_000), (false, 500_000)] {
        stage.mute(2, muted);
        stage.play(length_us);
        length_s += length_us as f64 / 1e6;
    }
    let played = [stage.heard(0), stage.heard(1), stage.heard(2), stage.program_sound()];
    for (who, samples) in played.into_iter().enumerate() {
        let sound = Sound { samples };
        assert!(sound.duration_s() > length_s - 0.2);
        let range_s = 0.5..sound.duration_s() - 0.1;
        let tones_db = sound.level_db(range_s.clone());
        let loudest_db = sound.beside_db(&TONES_HZ, range_s).into_iter().fold(f64::MIN, f64::max);
        assert!(loudest_db <= tones_db - 30.0, "{who}: {loudest_db:.1} beside tones of {tones_db:.1} dB");
    }
}

fn speaker(index: u8) -> Box<dyn Source> {
    Box::new(TestSource::new(index, INPUT.width, INPUT.height, INPUT.fps))
}

/// Records the program, and checks that ffmpeg reports no errors.
fn judged(stage: &Stage, tiles: usize) -> Recording {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("program.mp4");
    stage.record(&path);
    let judged = recording(&path, &Layout::grid(tiles)).unwrap();
    assert_eq!(judged.ffmpeg_errors, [""; 0]);
    judged
}

/// A steady tone at −20 dBFS, without pictures.
struct Tone {
    hz: f64,
    at: u32,
}

impl Source for Tone {
    fn pictures(&self) -> Option<SourcePictures> {
        None
    }

    fn channels(&self) -> Option<u8> {
        Some(1)
    }

    fn next_picture(&mut self) -> Result<Option<u64>, SourceError> {
        Ok(None)
    }

    fn picture(&mut self) -> PictureView<'_> {
        PictureView { width: 0, height: 0, planes: [PlaneView { samples: &[], stride: 0 }; 3] }
    }

    fn next_sound(&mut self, samples: &mut [f32]) -> Result<(), SourceError> {
        for sample in samples {
            *sample = 0.1 * (TAU * self.hz * f64::from(self.at) / 48_000.0).sin() as f32;
            self.at += 1;
        }
        Ok(())
    }
}
