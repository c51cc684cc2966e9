//! Sound that a speaker receives: written to a WAV file, and checked for the speaker's own tone.

use std::f64::consts::TAU;
use std::fs::File;
use std::io::BufWriter;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use hound::{SampleFormat, WavSpec, WavWriter};
use parking_lot::Mutex;
use plenary::Sound;
use tokio::task::JoinHandle;

use crate::json::round;

const RATE: u32 = 48_000;
/// Number of samples that are analysed: the last 8 s.
const JUDGED: usize = 8 * RATE as usize;
/// Number of 20 ms frames after which the file is made playable as it is, for a process that may be killed.
const FLUSHED_EACH: usize = 50;

/// Recorder of the sound that a speaker receives.
pub(crate) struct Heard {
    task: Mutex<Option<JoinHandle<anyhow::Result<()>>>>,
    last: Arc<Mutex<Vec<f32>>>,
    index: Option<usize>,
}

impl Heard {
    /// Writes the sound to `file`. `index` is the speaker's index, if all speakers play the test source.
    pub(crate) fn start(mut sound: Sound, file: PathBuf, index: Option<usize>) -> anyhow::Result<Heard> {
        let spec =
            WavSpec { channels: 1, sample_rate: RATE, bits_per_sample: 16, sample_format: SampleFormat::Int };
        let output = File::create(&file).with_context(|| format!("cannot write {}", file.display()))?;
        let mut writer = WavWriter::new(BufWriter::new(output), spec)?;
        let last: Arc<Mutex<Vec<f32>>> = Arc::default();
        let kept = last.clone();
        let task = tokio::spawn(async move {
            let mut frames = 0_usize;
            while let Some(frame) = sound.next().await {
                for sample in frame.mono() {
                    writer.write_sample((sample * f32::from(i16::MAX)) as i16)?;
                }
                let mut kept = kept.lock();
                kept.extend(frame.mono());
                let over = kept.len().saturating_sub(2 * JUDGED);
                kept.drain(..over);
                drop(kept);
                frames += 1;
                if frames.is_multiple_of(FLUSHED_EACH) {
                    writer.flush()?;
                }
            }
            writer.finalize()?;
            Ok(())
        });
        Ok(Heard { task: Mutex::new(Some(task)), last, index })
    }

    /// Returns the level of the speaker's own tone relative to the mean of the other speakers' tones in the
    /// last 8 s, in dB. `None` without the test source, without other speakers, or if none of them was heard.
    pub(crate) fn self_db(&self, speakers: &[usize]) -> Option<f64> {
        let own = self.index?;
        let kept = self.last.lock();
        let judged = &kept[kept.len().saturating_sub(JUDGED)..];
        let power = |index: usize| tone_power(judged, 300.0 + 150.0 * index as f64);
        let others: Vec<f64> =
            speakers.iter().filter(|index| **index != own).map(|index| power(*index)).collect();
        let mean = others.iter().sum::<f64>() / others.len() as f64;
        let floor = 1e-12; // −120 dB: lower bound, to avoid the logarithm of zero
        let heard = 1e-9; // −90 dB: above a codec's noise floor
        (!others.is_empty() && mean > heard).then(|| round(10.0 * (power(own).max(floor) / mean).log10()))
    }

    /// Waits until the file is written. The room must be closed, or closing.
    pub(crate) async fn finish(&self) -> anyhow::Result<()> {
        let task = self.task.lock().take();
        match task {
            Some(task) => task.await?,
            None => Ok(()),
        }
    }
}

/// Returns the power at one frequency (Goertzel 1958), averaged over windows of a second. In shorter windows
/// the on- and offsets of beeps at a neighbouring frequency would leak into the result.
fn tone_power(samples: &[f32], hz: f64) -> f64 {
    let window = RATE as usize;
    let coefficient = 2.0 * (TAU * hz / f64::from(RATE)).cos();
    let powers: Vec<f64> = samples
        .windows(window)
        .step_by(window / 2)
        .map(|samples| {
            let (mut before, mut last) = (0.0, 0.0);
            for (at, sample) in samples.iter().enumerate() {
                // Hann window: suppresses loud tones 150 Hz away
                let weight = 0.5 - 0.5 * (TAU * at as f64 / window as f64).cos();
                let next = f64::from(*sample) * weight + coefficient * last - before;
                (before, last) = (last, next);
            }
            (last * last + before * before - coefficient * last * before) / (window * window) as f64
        })
        .collect();
    powers.iter().sum::<f64>() / powers.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(index: usize, tones: &[(f64, f64)]) -> Heard {
        let sample = |at: usize| {
            let tone = |(hz, level): &(f64, f64)| level * (TAU * hz * at as f64 / f64::from(RATE)).sin();
            tones.iter().map(tone).sum::<f64>() as f32
        };
        let last = Arc::new(Mutex::new((0..JUDGED).map(sample).collect()));
        Heard { task: Mutex::new(None), last, index: Some(index) }
    }

    #[test]
    fn an_own_tone_is_measured_against_the_mean_of_the_others() {
        let alike = heard(0, &[(300.0, 0.1), (450.0, 0.1), (600.0, 0.1)]);
        assert!(alike.self_db(&[0, 1, 2]).unwrap().abs() < 0.5);
        let forty_down = heard(1, &[(300.0, 0.1), (450.0, 0.001), (600.0, 0.1)]);
        assert!((-40.5..-39.5).contains(&forty_down.self_db(&[0, 1, 2]).unwrap()));
        let gone = heard(1, &[(300.0, 0.1), (600.0, 0.1)]);
        assert!(gone.self_db(&[0, 1, 2]).unwrap() < -55.0);
    }

    #[test]
    fn beeps_of_others_are_not_taken_for_the_own_tone() {
        let beeps = |at: usize| {
            let loud = (at + 1_776) % RATE as usize <= RATE as usize / 10;
            let hz = 450.0 * TAU * at as f64 / f64::from(RATE);
            (if loud { 0.4 } else { 0.1 } * hz.sin()) as f32
        };
        let last = Arc::new(Mutex::new((0..JUDGED).map(beeps).collect()));
        let heard = Heard { task: Mutex::new(None), last, index: Some(0) };
        assert!(heard.self_db(&[0, 1]).unwrap() < -50.0, "{:?}", heard.self_db(&[0, 1]));
    }

    #[test]
    fn without_others_or_sound_there_is_nothing_to_say() {
        assert_eq!(heard(0, &[(300.0, 0.1)]).self_db(&[0]), None);
        assert_eq!(heard(0, &[]).self_db(&[0, 1]), None);
    }
}
