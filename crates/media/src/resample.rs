//! Sample rate conversion to 48 kHz, block by block.

use std::ops::RangeInclusive;

use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Fft, FixedSync, Resampler};

use crate::{SAMPLE_RATE, SOUND_FRAME_LEN};

/// Sample rates that can be resampled, in Hz.
pub(crate) const RATES: RangeInclusive<u32> = 8_000..=96_000;

/// A resampler with its filter state. Its output is delayed by [`delay_len`](Resampled::delay_len) samples.
pub(crate) struct Resampled {
    resampler: Fft<f32>,
    channels: usize,
}

impl Resampled {
    /// Creates a resampler for a rate within [`RATES`]. The error is rubato's message for an unsupported
    /// rate.
    pub(crate) fn new(rate: u32, channels: usize) -> Result<Resampled, String> {
        let (from, to) = (rate as usize, SAMPLE_RATE as usize);
        let resampler = Fft::new(from, to, SOUND_FRAME_LEN, channels, FixedSync::Output).map_err(text)?;
        Ok(Resampled { resampler, channels })
    }

    /// Length of the filter delay at the start of the output, in interleaved samples; the caller discards
    /// them.
    pub(crate) fn delay_len(&self) -> usize {
        self.resampler.output_delay() * self.channels
    }

    /// Length of the next input block, in interleaved samples.
    pub(crate) fn input_len(&self) -> usize {
        self.resampler.input_frames_next() * self.channels
    }

    /// Resamples a block of [`input_len`](Resampled::input_len) samples and appends the result to `output`.
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

    /// Clears the filter state.
    pub(crate) fn reset(&mut self) {
        self.resampler.reset();
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
