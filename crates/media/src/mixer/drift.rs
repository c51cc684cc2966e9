//! Clock drift correction: brings the sound of one speaker from the sender's clock to the local clock.
//!
//! Sound cards run up to some 200 ppm fast or slow: 20 ms, a whole frame, in 100 s. [`Drift`] measures how
//! early or late a speaker's frames are played, and from that how many more or fewer samples to take per
//! step. [`Retimed`] resamples accordingly. While the error stays below [`LEAST_US`], samples pass unchanged.

use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Adjustable, FixedAsync, Resampler, Slip};

use crate::mix::{append, channels};
use crate::{SAMPLE_RATE, SOUND_FRAME_LEN, SOUND_FRAME_US};

/// Playout error at which the correction begins, microseconds. A stream that begins is up to half a frame
/// off, and a clock estimated only from arrivals moves by some ms.
pub(super) const LEAST_US: f64 = 12_000.0;
/// Playout error below which the correction ends, microseconds, if the clocks hardly drift. A guess.
const BACK_US: f64 = 6_000.0;
/// Drift below which the clocks hardly drift, ppm: half a frame in a quarter of an hour. A guess.
const HARDLY_PPM: f64 = 10.0;
/// Maximum change of the playout speed, ppm: 1.7 cents of pitch; changes below 3 cents are inaudible.
const PPM_MAX: f64 = 1_000.0;
/// Maximum clock drift assumed, ppm: real clocks stay below 200. A guess.
const DRIFT_PPM_MAX: f64 = 500.0;
/// Time constant of the correction, seconds, critically damped. A guess: much longer than the 10 s over which
/// a clock is estimated from arrivals.
const SETTLE_S: f64 = 60.0;
/// Weight of a new frame in the smoothed playout error: most of a change is taken within 2 s. A guess.
const SMOOTHING: f64 = 0.02;
/// Change of the playout error that counts as a jump, microseconds: frames were skipped or concealed.
const JUMP_US: f64 = 10_000.0;
const STEP_S: f64 = SOUND_FRAME_US as f64 / 1e6;

/// Estimates the drift of one speaker's clock, frame by frame.
#[derive(Debug, Default)]
pub(super) struct Drift {
    /// Smoothed time by which frames are played early; `None` before the first.
    early_us: Option<f64>,
    /// Estimate of how fast the speaker's clock runs.
    fast_ppm: f64,
    corrects: bool,
}

impl Drift {
    /// Takes the time by which a frame was played early.
    pub(super) fn observe(&mut self, early_us: i64) {
        let early_us = early_us as f64;
        let before_us = self.early_us.filter(|before_us| (early_us - before_us).abs() < JUMP_US);
        let smooth_us =
            before_us.map_or(early_us, |before_us| before_us + SMOOTHING * (early_us - before_us));
        self.early_us = Some(smooth_us);
        self.corrects |= smooth_us.abs() > LEAST_US;
        if !self.corrects {
            return;
        }
        // At the limit the speed doesn't show the drift.
        if self.unbounded_ppm().abs() < PPM_MAX {
            self.fast_ppm -= smooth_us * STEP_S / (SETTLE_S * SETTLE_S);
            self.fast_ppm = self.fast_ppm.clamp(-DRIFT_PPM_MAX, DRIFT_PPM_MAX);
        }
        if smooth_us.abs() < BACK_US && self.fast_ppm.abs() < HARDLY_PPM {
            (self.corrects, self.fast_ppm) = (false, 0.0);
        }
    }

    /// Returns how many more of the speaker's samples to take than are played, ppm; exactly 0 while there is
    /// nothing to correct.
    pub(super) fn ppm(&self) -> f64 {
        if self.corrects { self.unbounded_ppm().clamp(-PPM_MAX, PPM_MAX) } else { 0.0 }
    }

    fn unbounded_ppm(&self) -> f64 {
        self.fast_ppm - self.early_us.unwrap_or(0.0) * 2.0 / SETTLE_S
    }
}

/// Resamples the decoded sound of one speaker to the local clock.
#[derive(Debug, Default)]
pub(super) struct Retimed {
    /// Whether samples have two channels, interleaved; both are resampled alike.
    stereo: bool,
    /// Samples decoded and not played yet: less than a frame between two steps.
    held: Vec<f32>,
    /// Removes and adds single samples, blended over 128; created when there is drift for the first time.
    slip: Option<Slip<f32>>,
    ppm: f64,
}

impl Retimed {
    /// Returns the duration of the sound decoded and not played yet, microseconds.
    pub(super) fn held_us(&self) -> u64 {
        (self.held.len() / channels(self.stereo)) as u64 * 1_000_000 / u64::from(SAMPLE_RATE)
    }

    /// Sets whether samples have two channels from now on, both in and out.
    pub(super) fn set_stereo(&mut self, stereo: bool) {
        let mut held = Vec::new();
        append(&mut held, stereo, &self.held, self.stereo);
        // the slip is created again by the next step, if there is drift
        *self = Retimed { stereo, held, ..Retimed::default() };
    }

    /// Returns the samples decoded last and not played yet: the end of a frame.
    pub(super) fn held_mut(&mut self) -> &mut [f32] {
        &mut self.held
    }

    /// Sets how many more samples to take than are played, ppm.
    pub(super) fn set_ppm(&mut self, ppm: f64) {
        if ppm == self.ppm {
            return;
        }
        self.ppm = ppm;
        if self.slip.is_none() {
            self.slip = Slip::new(SOUND_FRAME_LEN, channels(self.stereo), FixedAsync::Output)
                .inspect_err(|error| tracing::warn!(%error, "a speaker's clock is not followed"))
                .ok();
        }
        if let Some(slip) = &mut self.slip {
            let ratio = 1.0 / (1.0 + ppm / 1e6);
            if let Err(error) = slip.set_resample_ratio(ratio, false) {
                tracing::warn!(ppm, %error, "a speaker's clock is followed less closely");
            }
        }
    }

    /// Plays the next 20 ms. Calls `decode` for each frame needed, 0 to 2 of them, with the time by which the
    /// frame begins after the start of this step, microseconds.
    pub(super) fn play(&mut self, samples: &mut [f32], mut decode: impl FnMut(u64, &mut [f32])) {
        if self.held.is_empty() && self.ppm == 0.0 {
            return decode(0, samples);
        }
        let channels = channels(self.stereo);
        let needed = self.slip.as_ref().map_or(SOUND_FRAME_LEN, |slip| slip.input_frames_next());
        while self.held.len() < needed * channels {
            let (begin, behind_us) = (self.held.len(), self.held_us());
            self.held.resize(begin + SOUND_FRAME_LEN * channels, 0.0);
            decode(behind_us, &mut self.held[begin..]);
        }
        let taken = self.slip_into(samples).unwrap_or_else(|| {
            samples.copy_from_slice(&self.held[..SOUND_FRAME_LEN * channels]);
            SOUND_FRAME_LEN
        });
        self.held.drain(..taken * channels);
    }

    /// Resamples one step, and returns how many samples per channel it took; `None` when there is no slip, or
    /// it failed.
    fn slip_into(&mut self, samples: &mut [f32]) -> Option<usize> {
        let slip = self.slip.as_mut()?;
        let channels = channels(self.stereo);
        let held = InterleavedSlice::new(&self.held, channels, self.held.len() / channels).ok()?;
        let mut played = InterleavedSlice::new_mut(samples, channels, SOUND_FRAME_LEN).ok()?;
        slip.process_into_buffer(&held, &mut played, None).ok().map(|(taken, _)| taken)
    }
}

#[cfg(test)]
mod tests;
