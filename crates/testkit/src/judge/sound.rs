//! Analysis of the speakers' tones in a recording's sound.

use std::f64::consts::TAU;
use std::ops::Range;

use rustfft::FftPlanner;
use rustfft::num_complex::Complex;

pub(super) const RATE_HZ: u32 = 48_000;
/// Samples in an analysis window of 20 ms: all tones, 300 + 150 × index Hz, are multiples of 50 Hz, so none
/// leaks into another.
const WINDOW_LEN: usize = 960;
/// Step in samples when searching for a beep's start: 1 ms.
const HOP_LEN: usize = 48;
/// Distance in Hz within which energy belongs to a tone: its main lobe in the weighted window, and its fades.
const BESIDE_HZ: f64 = 120.0;
/// Level reported for silence, in dBFS.
const FLOOR_DB: f64 = -120.0;

/// Sound at 48 kHz with one channel.
#[derive(Clone, Debug, Default)]
pub struct Sound {
    /// Samples from −1 to 1.
    pub samples: Vec<f32>,
}

impl Sound {
    pub(super) fn new(samples: Vec<f32>) -> Sound {
        Sound { samples }
    }

    /// Duration in seconds.
    pub fn duration_s(&self) -> f64 {
        self.samples.len() as f64 / f64::from(RATE_HZ)
    }

    fn part(&self, range_s: &Range<f64>) -> &[f32] {
        let at = |s: f64| ((s * f64::from(RATE_HZ)) as usize).min(self.samples.len());
        &self.samples[at(range_s.start)..at(range_s.end).max(at(range_s.start))]
    }

    /// Level of a speaker's steady tone in a range of seconds, in dBFS. It is the median over windows, so
    /// that beeps don't count.
    pub fn tone_db(&self, index: u8, range_s: Range<f64>) -> f64 {
        let windows = self.part(&range_s).chunks_exact(WINDOW_LEN);
        let mut amplitudes: Vec<_> = windows.map(|window| amplitude(window, tone_hz(index))).collect();
        amplitudes.sort_by(f64::total_cmp);
        db(amplitudes.get(amplitudes.len() / 2).copied().unwrap_or(0.0))
    }

    /// Lowest level of a speaker's tone over the 100 ms steps of a range of seconds, in dBFS: lost or
    /// concealed sound lowers it.
    pub fn weakest_tone_db(&self, index: u8, range_s: Range<f64>) -> f64 {
        let steps = ((range_s.end - range_s.start) * 10.0) as usize;
        let begin_s = |step: usize| range_s.start + step as f64 / 10.0;
        let tones = (0..steps).map(|step| self.tone_db(index, begin_s(step)..begin_s(step + 1)));
        tones.fold(f64::INFINITY, f64::min)
    }

    /// Level of the entire sound in a range of seconds, in dBFS: 0 for a full-scale sine.
    pub fn level_db(&self, range_s: Range<f64>) -> f64 {
        let part = self.part(&range_s);
        let energy: f64 = part.iter().map(|sample| f64::from(*sample).powi(2)).sum();
        db((2.0 * energy / part.len().max(1) as f64).sqrt())
    }

    /// Level of each 100 ms, in dBFS.
    pub fn levels_db(&self) -> Vec<f64> {
        let steps = (self.duration_s() * 10.0) as usize;
        (0..steps).map(|step| self.level_db(step as f64 / 10.0..(step + 1) as f64 / 10.0)).collect()
    }

    /// Loudest frequencies in a range of seconds, in Hz with their dBFS: loudest first, at least 40 Hz apart.
    pub fn peaks(&self, range_s: Range<f64>, count: usize) -> Vec<(f64, f64)> {
        let part = self.part(&range_s);
        let len = part.len();
        // Hann window: its main lobe is 4 bins wide, and it halves a sine's peak
        let hann = |at: usize| 0.5 - 0.5 * (TAU * at as f64 / len as f64).cos();
        let mut bins: Vec<_> =
            part.iter().enumerate().map(|(at, x)| Complex::new(f64::from(*x) * hann(at), 0.0)).collect();
        if bins.is_empty() {
            return Vec::new();
        }
        FftPlanner::new().plan_fft_forward(len).process(&mut bins);
        let hz = |bin: usize| bin as f64 * f64::from(RATE_HZ) / len as f64;
        let mut loudest: Vec<_> = bins[..len / 2]
            .iter()
            .enumerate()
            .map(|(bin, x)| (hz(bin), x.norm() * 4.0 / len as f64))
            .collect();
        loudest.sort_by(|a, b| b.1.total_cmp(&a.1));
        let mut peaks: Vec<(f64, f64)> = Vec::new();
        for (hz, amplitude) in loudest {
            if peaks.len() == count {
                break;
            }
            if peaks.iter().all(|(peak, _)| (peak - hz).abs() >= 40.0) {
                peaks.push((hz, db(amplitude)));
            }
        }
        peaks
    }

    /// Level of the sound more than 120 Hz away from all given tones, in dBFS: in windows of 20 ms, every
    /// 5 ms. Clicks are visible as peaks.
    pub fn beside_db(&self, tones_hz: &[f64], range_s: Range<f64>) -> Vec<f64> {
        let fft = FftPlanner::new().plan_fft_forward(WINDOW_LEN);
        let hz = |bin: usize| bin as f64 * f64::from(RATE_HZ) / WINDOW_LEN as f64;
        let beside = |bin: &usize| tones_hz.iter().all(|tone| (tone - hz(*bin)).abs() > BESIDE_HZ);
        let hann: Vec<_> =
            (0..WINDOW_LEN).map(|at| 0.5 - 0.5 * (TAU * at as f64 / WINDOW_LEN as f64).cos()).collect();
        let weight: f64 = hann.iter().map(|weight| weight * weight).sum();
        let level_db = |window: &[f32]| {
            let weighted = window.iter().zip(&hann).map(|(x, weight)| f64::from(*x) * weight);
            let mut bins: Vec<_> = weighted.map(|x| Complex::new(x, 0.0)).collect();
            fft.process(&mut bins);
            let energy: f64 = (0..WINDOW_LEN / 2).filter(beside).map(|bin| bins[bin].norm_sqr()).sum();
            // factor 2 for the negative frequencies, and 2 since a full-scale sine has half the energy
            db((4.0 * energy / (WINDOW_LEN as f64 * weight)).sqrt())
        };
        self.part(&range_s).windows(WINDOW_LEN).step_by(WINDOW_LEN / 4).map(level_db).collect()
    }

    /// Start times of a speaker's beeps, in seconds: where the tone's amplitude crosses the middle of its
    /// step to 12 dB louder.
    pub fn beeps_s(&self, index: u8) -> Vec<f64> {
        let hz = tone_hz(index);
        let windows = self.samples.windows(WINDOW_LEN).step_by(HOP_LEN);
        let amplitudes: Vec<_> = windows.map(|window| amplitude(window, hz)).collect();
        let mut sorted = amplitudes.clone();
        sorted.sort_by(f64::total_cmp);
        let at = |share: f64| sorted.get((sorted.len() as f64 * share) as usize).copied().unwrap_or(0.0);
        let (quiet, loud) = (at(0.5), at(0.97));
        if loud < 2.0 * quiet || loud < 0.001 {
            return Vec::new();
        }
        let threshold = (quiet + loud) / 2.0;
        let mut beeps: Vec<f64> = Vec::new();
        for (number, pair) in amplitudes.windows(2).enumerate() {
            if pair[0] < threshold && pair[1] >= threshold {
                // at half of the step the window's centre is at the start of the beep
                let part = (threshold - pair[0]) / (pair[1] - pair[0]);
                let middle = (number as f64 + part) * HOP_LEN as f64 + WINDOW_LEN as f64 / 2.0;
                let beep = middle / f64::from(RATE_HZ);
                if beeps.last().is_none_or(|last| beep - last > 0.5) {
                    beeps.push(beep);
                }
            }
        }
        beeps
    }
}

fn tone_hz(index: u8) -> f64 {
    300.0 + 150.0 * f64::from(index)
}

fn db(amplitude: f64) -> f64 {
    (20.0 * amplitude.log10()).max(FLOOR_DB)
}

/// Amplitude of one frequency in a window (Goertzel's algorithm).
fn amplitude(window: &[f32], hz: f64) -> f64 {
    let turn = TAU * hz / f64::from(RATE_HZ);
    let factor = 2.0 * turn.cos();
    let (one, two) =
        window.iter().fold((0.0, 0.0), |(one, two), sample| (f64::from(*sample) + factor * one - two, one));
    let power = one * one + two * two - factor * one * two;
    2.0 * power.max(0.0).sqrt() / window.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tones of two speakers as the test source makes them, the second 30 ms later.
    fn two_speakers() -> Sound {
        let tone = |at: f64, hz: f64| {
            let beep = at >= 0.0 && at.fract() < 0.1;
            (TAU * hz * at).sin() * if beep { 0.1 * 3.981 } else { 0.1 }
        };
        let sample = |at: u32| {
            let at = f64::from(at) / f64::from(RATE_HZ);
            (tone(at, 300.0) + tone(at - 0.03, 750.0)) as f32
        };
        Sound::new((0..4 * RATE_HZ).map(sample).collect())
    }

    #[test]
    fn each_tone_is_measured_as_if_alone() {
        let sound = two_speakers();
        for (index, wanted) in [(0, -20.0), (3, -20.0), (1, FLOOR_DB), (2, FLOOR_DB)] {
            let found = sound.tone_db(index, 0.0..4.0);
            assert!((found - wanted).abs() < 0.5 || found.max(wanted) < -50.0, "{index}: {found}");
        }
        let peaks = sound.peaks(0.2..0.9, 2);
        assert!(
            peaks.iter().all(|(hz, db)| [300.0, 750.0].iter().any(|tone| (tone - hz).abs() < 2.0)
                && (db + 20.0).abs() < 1.0),
            "{peaks:?}"
        );
    }

    #[test]
    fn beeps_are_found_to_the_millisecond() {
        let sound = two_speakers();
        for (index, late) in [(0, 0.0), (3, 0.03)] {
            let beeps = sound.beeps_s(index);
            // the first beep has no quieter sound before it
            let wanted = [1.0, 2.0, 3.0].map(|second| second + late);
            let later: Vec<_> = beeps.iter().filter(|beep| **beep > 0.5).collect();
            assert_eq!(later.len(), 3, "{beeps:?}");
            assert!(
                later.iter().zip(wanted).all(|(beep, wanted)| (*beep - wanted).abs() < 0.002),
                "{beeps:?}"
            );
        }
    }

    #[test]
    fn what_is_beside_the_tones_is_told_from_them() {
        let mut sound = two_speakers();
        let quiet = sound.beside_db(&[300.0, 750.0], 0.2..0.9);
        assert!(quiet.len() == 137 && quiet.iter().all(|level| *level < -80.0), "{quiet:?}");
        let third = sound.beside_db(&[300.0], 0.2..0.9);
        assert!(third.iter().all(|level| (level + 20.0).abs() < 0.1), "{third:?}");
        // a click of one sample, half a second in, with its energy spread over 20 ms
        sound.samples[RATE_HZ as usize / 2] += 0.5;
        let clicked = sound.beside_db(&[300.0, 750.0], 0.2..0.9);
        let heard: Vec<_> = clicked.iter().filter(|level| **level > -40.0).collect();
        assert!((2..=4).contains(&heard.len()), "{heard:?}");
        let loudest = clicked.into_iter().fold(FLOOR_DB, f64::max);
        assert!((loudest + 28.5).abs() < 1.0, "{loudest}");
    }

    #[test]
    fn levels_follow_the_sound() {
        let mut sound = two_speakers();
        sound.samples[RATE_HZ as usize..2 * RATE_HZ as usize].fill(0.0);
        let levels = sound.levels_db();
        assert_eq!(levels.len(), 40);
        assert!(levels[10..20].iter().all(|level| *level == FLOOR_DB));
        assert!((levels[5] + 17.0).abs() < 0.2, "{}", levels[5]);
    }

    #[test]
    fn a_tone_that_is_missing_for_a_while_is_weak_there() {
        let mut sound = two_speakers();
        let weakest = |sound: &Sound| [0, 3].map(|index| sound.weakest_tone_db(index, 1.0..4.0));
        assert!(weakest(&sound).iter().all(|db| *db > -21.0), "{:?}", weakest(&sound));
        let hole = 2 * RATE_HZ as usize + 960;
        sound.samples[hole..hole + 3 * WINDOW_LEN].fill(0.0);
        assert!(weakest(&sound).iter().all(|db| *db < -60.0), "{:?}", weakest(&sound));
    }
}
