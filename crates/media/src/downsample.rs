//! Sample rate conversion from 48 kHz to the rates that speech recognizers take.

use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Fft, FixedSync, Resampler};

use crate::{SAMPLE_RATE, SOUND_FRAME_LEN, SOUND_FRAME_US};

/// Rates that [`Downsampled`] makes, in Hz: those of Opus (RFC 6716, 2), all divisors of 48 kHz.
pub const DOWNSAMPLED_RATES: [u32; 5] = [8_000, 12_000, 16_000, 24_000, SAMPLE_RATE];

/// Conversion of frames of 20 ms from 48 kHz to a lower rate.
pub struct Downsampled {
    /// `None` for 48 kHz, which is passed on as it is.
    resampler: Option<Fft<f32>>,
    channels: usize,
}

impl Downsampled {
    /// Makes a conversion to one of [`DOWNSAMPLED_RATES`]; `None` for another rate, and without channels.
    pub fn new(rate: u32, channels: u8) -> Option<Downsampled> {
        let channels = usize::from(channels);
        if !DOWNSAMPLED_RATES.contains(&rate) || channels == 0 {
            return None;
        }
        let make =
            || Fft::new(SAMPLE_RATE as usize, rate as usize, SOUND_FRAME_LEN, channels, FixedSync::Both);
        let resampler = if rate == SAMPLE_RATE { None } else { Some(make().ok()?) };
        Some(Downsampled { resampler, channels })
    }

    /// Time by which the filter delays the sound, microseconds.
    pub fn delay_us(&self) -> u64 {
        self.resampler.as_ref().map_or(0, |resampler| {
            let frame_len = resampler.output_frames_max().max(1) as u64;
            resampler.output_delay() as u64 * SOUND_FRAME_US / frame_len
        })
    }

    /// Converts a frame: [`SOUND_FRAME_LEN`] samples a channel, interleaved. `None` for another length.
    pub fn frame(&mut self, samples: &[f32]) -> Option<Vec<f32>> {
        if samples.len() != SOUND_FRAME_LEN * self.channels {
            return None;
        }
        let Some(resampler) = &mut self.resampler else { return Some(samples.to_vec()) };
        let frames = resampler.output_frames_next();
        let mut converted = vec![0.0; frames * self.channels];
        let input = InterleavedSlice::new(samples, self.channels, SOUND_FRAME_LEN).ok()?;
        let mut output = InterleavedSlice::new_mut(&mut converted, self.channels, frames).ok()?;
        resampler.process_into_buffer(&input, &mut output, None).ok()?;
        Some(converted)
    }

    /// Forgets the sound before: what follows doesn't continue it.
    pub fn reset(&mut self) {
        if let Some(resampler) = &mut self.resampler {
            resampler.reset();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::f32::consts::TAU;

    use super::*;

    /// Returns the share of a tone of that frequency in the sound at a rate, as an amplitude.
    fn amplitude(sound: &[f32], rate: u32, hz: f32) -> f32 {
        let at = |index: usize| TAU * hz * index as f32 / rate as f32;
        let (sin, cos) = sound.iter().enumerate().fold((0.0, 0.0), |(sin, cos), (index, sample)| {
            (sin + sample * at(index).sin(), cos + sample * at(index).cos())
        });
        2.0 * f32::hypot(sin, cos) / sound.len() as f32
    }

    #[test]
    fn each_rate_has_20_ms_a_frame_keeps_speech_and_drops_what_it_cannot_hold() {
        for rate in DOWNSAMPLED_RATES {
            let mut downsampled = Downsampled::new(rate, 1).unwrap();
            let mut sound = Vec::new();
            for frame in 0..50 {
                let sample = |index: usize| {
                    let at_s = (frame * SOUND_FRAME_LEN + index) as f32 / SAMPLE_RATE as f32;
                    0.4 * (TAU * 1_000.0 * at_s).sin() + 0.4 * (TAU * 15_000.0 * at_s).sin()
                };
                let frame: Vec<f32> = (0..SOUND_FRAME_LEN).map(sample).collect();
                let converted = downsampled.frame(&frame).unwrap();
                assert_eq!(converted.len(), rate as usize / 50, "{rate}");
                sound.extend(converted);
            }
            let second_half = &sound[sound.len() / 2..];
            assert!((amplitude(second_half, rate, 1_000.0) - 0.4).abs() < 0.02, "{rate}");
            let rest: f32 =
                second_half.iter().map(|sample| sample * sample).sum::<f32>() / second_half.len() as f32;
            let power = if rate == SAMPLE_RATE { 0.16 } else { 0.08 };
            assert!((rest - power).abs() < 0.01 || rate == 24_000, "{rate}: {rest}");
        }
        assert!(Downsampled::new(44_100, 1).is_none() && Downsampled::new(16_000, 0).is_none());
    }

    #[test]
    fn a_click_comes_out_as_late_as_the_delay_says() {
        for rate in DOWNSAMPLED_RATES {
            let mut downsampled = Downsampled::new(rate, 2).unwrap();
            let mut click = vec![0.0; 2 * SOUND_FRAME_LEN];
            click[2 * 480] = 1.0; // 10 ms
            let mut sound = downsampled.frame(&click).unwrap();
            sound.extend(downsampled.frame(&vec![0.0; 2 * SOUND_FRAME_LEN]).unwrap());
            let left: Vec<f32> = sound.iter().step_by(2).copied().collect();
            let loudest = (0..left.len()).max_by(|a, b| left[*a].abs().total_cmp(&left[*b].abs())).unwrap();
            let late_us = loudest as u64 * 1_000_000 / u64::from(rate) - 10_000;
            assert!(
                late_us.abs_diff(downsampled.delay_us()) <= 1_000_000 / u64::from(rate),
                "{rate}: {late_us}"
            );
        }
    }
}
