//! A speaker's sound, brought from its clock to ours.
//!
//! Sound cards run up to some 200 ppm fast or slow: 20 ms, a whole frame, in 100 s. [`Drift`] follows how far a
//! speaker's frames are off their time, and wants a few samples more or fewer taken in each step; [`Retimed`] takes
//! them. Up to [`LEAST_US`] off nothing is done, and the samples are those that were decoded.

use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Adjustable, FixedAsync, Resampler, Slip};

use crate::mix::{append, channels};
use crate::{SAMPLE_RATE, SOUND_FRAME_LEN, SOUND_FRAME_US};

/// Frames this far off their time begin to be brought back, microseconds: whoever begins is up to half a frame off, and
/// where its clock is only guessed from arrivals, the guess moves by some ms.
pub(super) const LEAST_US: f64 = 12_000.0;
/// When they are back within this, microseconds, and the clocks hardly drift, samples pass untouched again. A guess.
const BACK_US: f64 = 6_000.0;
/// What counts as hardly drifting, ppm: half a frame in a quarter of an hour. A guess.
const HARDLY_PPM: f64 = 10.0;
/// Sound is sped up or slowed down by this at most, ppm: 1.7 cents, while nobody hears less than 3.
const PPM_MAX: f64 = 1_000.0;
/// Clocks are believed to drift by this at most, ppm: real ones stay below 200. A guess.
const DRIFT_PPM_MAX: f64 = 500.0;
/// Time constant with which frames come back to their time, seconds, critically damped. A guess: much longer than the
/// 10 s in which a clock is guessed from arrivals.
const SETTLE_S: f64 = 60.0;
/// Share of the way that the smoothed distance goes towards a new frame's: most of it within 2 s. A guess.
const SMOOTHING: f64 = 0.02;
/// A frame so much further off than those before is a jump, microseconds: frames were left out or made up.
const JUMP_US: f64 = 10_000.0;
const STEP_S: f64 = SOUND_FRAME_US as f64 / 1e6;

/// Follows one speaker's clock, frame by frame.
#[derive(Debug, Default)]
pub(super) struct Drift {
    /// By how much frames are played before their time; `None` before the first.
    early_us: Option<f64>,
    /// By how much the speaker's clock is fast, as known so far.
    fast_ppm: f64,
    corrects: bool,
}

impl Drift {
    /// A frame was played so much before its time.
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
        // At its limit the speed says nothing of the drift.
        if self.unbounded_ppm().abs() < PPM_MAX {
            self.fast_ppm -= smooth_us * STEP_S / (SETTLE_S * SETTLE_S);
            self.fast_ppm = self.fast_ppm.clamp(-DRIFT_PPM_MAX, DRIFT_PPM_MAX);
        }
        if smooth_us.abs() < BACK_US && self.fast_ppm.abs() < HARDLY_PPM {
            (self.corrects, self.fast_ppm) = (false, 0.0);
        }
    }

    /// How much more of the speaker's samples should be taken than are played, ppm; exactly 0 while there is nothing to
    /// correct.
    pub(super) fn ppm(&self) -> f64 {
        if self.corrects { self.unbounded_ppm().clamp(-PPM_MAX, PPM_MAX) } else { 0.0 }
    }

    fn unbounded_ppm(&self) -> f64 {
        self.fast_ppm - self.early_us.unwrap_or(0.0) * 2.0 / SETTLE_S
    }
}

/// Decoded sound of one speaker, on its way to our time.
#[derive(Debug, Default)]
pub(super) struct Retimed {
    /// Of two channels, interleaved, both retimed alike.
    stereo: bool,
    /// Decoded and not played yet: less than a frame between two steps.
    held: Vec<f32>,
    /// Leaves out and adds single samples, blended over 128; made when there is drift for the first time.
    slip: Option<Slip<f32>>,
    ppm: f64,
}

impl Retimed {
    /// How long the sound lasts that was decoded and not played yet, microseconds.
    pub(super) fn held_us(&self) -> u64 {
        (self.held.len() / channels(self.stereo)) as u64 * 1_000_000 / u64::from(SAMPLE_RATE)
    }

    /// From now on takes and gives samples of two channels, or of one.
    pub(super) fn set_stereo(&mut self, stereo: bool) {
        let mut held = Vec::new();
        append(&mut held, stereo, &self.held, self.stereo);
        // its slip is made again as soon as there is drift, by the next step
        *self = Retimed { stereo, held, ..Retimed::default() };
    }

    /// What was decoded last and not played yet: the end of a frame.
    pub(super) fn held_mut(&mut self) -> &mut [f32] {
        &mut self.held
    }

    /// Sets how much more is to be taken than is played, ppm.
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

    /// Plays the next 20 ms: as many frames as that takes, 0 to 2 of them, are asked of `decode`, which is told how
    /// far behind this step's begin each begins, microseconds.
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

    /// Gives how many samples per channel it took; `None` when there is no slip, or it failed.
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
