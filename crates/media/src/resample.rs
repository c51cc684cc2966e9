//! Sound of another rate brought to 48 kHz, block by block.

use std::ops::RangeInclusive;

use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Fft, FixedSync, Resampler};

use crate::{SAMPLE_RATE, SOUND_FRAME_LEN};

/// Rates that are resampled.
pub(crate) const RATES: RangeInclusive<u32> = 8_000..=96_000;

/// A resampler with its state. Its output begins [`delay_len`](Resampled::delay_len) samples late.
pub(crate) struct Resampled {
    resampler: Fft<f32>,
    channels: usize,
}

impl Resampled {
    /// From a rate of [`RATES`]. The error is rubato's own word for what it doesn't do.
    pub(crate) fn new(rate: u32, channels: usize) -> Result<Resampled, String> {
        let (from, to) = (rate as usize, SAMPLE_RATE as usize);
        let resampler = Fft::new(from, to, SOUND_FRAME_LEN, channels, FixedSync::Output).map_err(text)?;
        Ok(Resampled { resampler, channels })
    }

    /// Interleaved samples of the output's beginning that stand for nothing.
    pub(crate) fn delay_len(&self) -> usize {
        self.resampler.output_delay() * self.channels
    }

    /// Interleaved samples that the next block takes.
    pub(crate) fn input_len(&self) -> usize {
        self.resampler.input_frames_next() * self.channels
    }

    /// Appends what becomes of a block of [`input_len`](Resampled::input_len) samples.
    pub(crate) fn process(&mut self, input: &[f32], output: &mut Vec<f32>) -> Result<(), String> {
        let (frames_in, frames_out) = (input.len() / self.channels, self.resampler.output_frames_next());
        let begin = output.len();
        output.resize(begin + frames_out * self.channels, 0.0);
        let input = InterleavedSlice::new(input, self.channels, frames_in).map_err(text)?;
        let mut output =
            InterleavedSlice::new_mut(&mut output[begin..], self.channels, frames_out).map_err(text)?;
        self.resampler.process_into_buffer(&input, &mut output, None).map_err(text)?;
        Ok(())
    }

    /// Forgets what it has heard.
    pub(crate) fn reset(&mut self) {
        self.resampler.reset();
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
