//! Sound framing: cuts chunks of any length into frames of 20 ms, each with its capture time.
//!
//! A chunk that begins within [`ALIGNED_US_MAX`] of the end of the previous chunk continues it, since capture
//! times jitter while samples don't. The deviation is corrected gradually by slewing the frames' capture
//! times; so a sound card faster or slower than the clock stays in sync with its pictures. After a longer
//! gap, silence fills up the last frame, and the next frame begins with the chunk.

use super::{RawError, RawFormat, RawSound, check_time};
#[cfg(feature = "codecs")]
use crate::resample::Resampled;
use crate::{SAMPLE_RATE, SOUND_FRAME_LEN};

/// Largest deviation of a chunk from its expected start, in microseconds: one frame. A later chunk restarts
/// framing, an earlier one is an overlap.
pub(crate) const ALIGNED_US_MAX: i64 = 20_000;
const SECOND_US: u64 = 1_000_000;
/// Slew limit: a chunk moves the frames' times by at most half of its deviation, so that they keep
/// increasing.
const SLEW_PART_MAX: u64 = 2;

/// Cuts one stream of sound into frames.
pub(crate) struct Cutter {
    channels: usize,
    rate: u32,
    #[cfg(feature = "codecs")]
    resampled: Option<Resampling>,
    /// Samples at 48 kHz that don't fill a frame yet.
    left: Vec<f32>,
    /// Capture time of the previous chunk.
    before_us: Option<u64>,
    aligned: Option<Alignment>,
}

/// Mapping from sample counts to capture times.
#[derive(Clone, Copy, Debug)]
struct Alignment {
    origin_us: u64,
    /// Sum of the slews since the origin, in nanoseconds; positive is later.
    slewed_ns: i64,
    /// Samples per channel received, at the input rate.
    taken: u64,
    /// Samples per channel cut into frames, at 48 kHz.
    cut: u64,
}

impl Alignment {
    fn at(&self, samples: u64, rate: u32) -> u64 {
        let since_us = samples.saturating_mul(SECOND_US) / u64::from(rate);
        (self.origin_us + since_us).saturating_add_signed(self.slewed_ns / 1_000)
    }
}

#[cfg(feature = "codecs")]
struct Resampling {
    resampled: Resampled,
    /// Input samples that don't fill a resampler block yet.
    ahead: Vec<f32>,
    /// Output samples still to be discarded as the resampler's own delay.
    skip: usize,
}

impl Cutter {
    /// Creates a cutter for a format.
    ///
    /// # Errors
    /// [`RawError::Format`].
    pub(crate) fn new(format: &RawFormat) -> Result<Cutter, RawError> {
        format.check()?;
        let (channels, rate) = (usize::from(format.channels), format.sample_rate);
        #[cfg(feature = "codecs")]
        let resampled = (rate != SAMPLE_RATE).then(|| Resampling::new(rate, channels)).transpose()?;
        Ok(Cutter {
            channels,
            rate,
            #[cfg(feature = "codecs")]
            resampled,
            left: Vec::new(),
            before_us: None,
            aligned: None,
        })
    }

    /// Takes a chunk and passes each complete frame to `frame`, with increasing capture times.
    ///
    /// # Errors
    /// [`RawError::Length`], [`RawError::NotFinite`], [`RawError::Time`], [`RawError::Overlap`]: the chunk was
    /// discarded. [`RawError::Resampling`].
    pub(crate) fn push(
        &mut self,
        sound: RawSound<'_>,
        captured_us: u64,
        now_us: u64,
        mut frame: impl FnMut(Vec<f32>, u64),
    ) -> Result<(), RawError> {
        let off_us = self.check(sound, captured_us, now_us)?;
        self.before_us = Some(captured_us);
        let taken = (sound.len() / self.channels) as u64;
        let Some(off_us) = off_us.filter(|off_us| *off_us <= ALIGNED_US_MAX) else {
            self.finish(&mut frame)?;
            self.aligned = Some(Alignment { origin_us: captured_us, slewed_ns: 0, taken, cut: 0 });
            return self.take(sound, &mut frame);
        };
        if let Some(aligned) = &mut self.aligned {
            let rate = u64::from(self.rate);
            let part = taken.min(rate / SLEW_PART_MAX).cast_signed();
            aligned.slewed_ns += off_us * 1_000 * part / rate.cast_signed();
            aligned.taken += taken;
        }
        self.take(sound, &mut frame)
    }

    /// Validates and discards a chunk, as while sound is paused; the next chunk starts a new frame.
    ///
    /// # Errors
    /// Same as [`push`](Cutter::push).
    pub(crate) fn pass(
        &mut self,
        sound: RawSound<'_>,
        captured_us: u64,
        now_us: u64,
    ) -> Result<(), RawError> {
        self.check(sound, captured_us, now_us)?;
        self.before_us = Some(captured_us);
        self.forget();
        let taken = (sound.len() / self.channels) as u64;
        let passed = Alignment { origin_us: captured_us, slewed_ns: 0, taken, cut: 0 };
        let origin_us = passed.at(taken, self.rate);
        self.aligned = Some(Alignment { origin_us, taken: 0, ..passed });
        Ok(())
    }

    /// Validates a chunk. Returns how much later than expected it begins, in microseconds, or `None` for the
    /// first chunk.
    fn check(&self, sound: RawSound<'_>, captured_us: u64, now_us: u64) -> Result<Option<i64>, RawError> {
        sound.check(self.channels)?;
        check_time("sound", captured_us, self.before_us, now_us)?;
        let len_us = (sound.len() / self.channels) as u64 * SECOND_US / u64::from(self.rate);
        check_time("sound", captured_us + len_us, None, now_us)?;
        let end_us = self.aligned.map(|aligned| aligned.at(aligned.taken, self.rate));
        let off_us = end_us.map(|end_us| captured_us.wrapping_sub(end_us).cast_signed());
        match off_us.filter(|off_us| *off_us < -ALIGNED_US_MAX) {
            Some(off_us) => Err(RawError::Overlap { by_us: off_us.unsigned_abs() }),
            None => Ok(off_us),
        }
    }

    fn take(&mut self, sound: RawSound<'_>, frame: &mut impl FnMut(Vec<f32>, u64)) -> Result<(), RawError> {
        #[cfg(feature = "codecs")]
        if let Some(resampled) = &mut self.resampled {
            sound.append_to(&mut resampled.ahead);
            resampled.run(&mut self.left)?;
            self.cut(frame);
            return Ok(());
        }
        sound.append_to(&mut self.left);
        self.cut(frame);
        Ok(())
    }

    fn cut(&mut self, frame: &mut impl FnMut(Vec<f32>, u64)) {
        let Some(aligned) = &mut self.aligned else { return };
        let len = SOUND_FRAME_LEN * self.channels;
        let whole = self.left.len() / len * len;
        for samples in self.left[..whole].chunks_exact(len) {
            frame(samples.to_vec(), aligned.at(aligned.cut, SAMPLE_RATE));
            aligned.cut += SOUND_FRAME_LEN as u64;
        }
        self.left.drain(..whole);
    }

    /// Outputs the remaining samples, filled up with silence to a whole frame.
    fn finish(&mut self, frame: &mut impl FnMut(Vec<f32>, u64)) -> Result<(), RawError> {
        #[cfg(feature = "codecs")]
        if let (Some(resampled), Some(aligned)) = (&mut self.resampled, &self.aligned) {
            let whole = aligned.taken.saturating_mul(SAMPLE_RATE.into()) / u64::from(self.rate);
            let left = whole.saturating_sub(aligned.cut) as usize * self.channels;
            resampled.finish(&mut self.left, left)?;
        }
        let len = SOUND_FRAME_LEN * self.channels;
        self.left.resize(self.left.len().next_multiple_of(len), 0.0);
        self.cut(frame);
        self.forget();
        Ok(())
    }

    fn forget(&mut self) {
        self.left.clear();
        #[cfg(feature = "codecs")]
        if let Some(resampled) = &mut self.resampled {
            resampled.begin_anew();
        }
    }
}

#[cfg(feature = "codecs")]
impl Resampling {
    fn new(rate: u32, channels: usize) -> Result<Resampling, RawError> {
        let resampled = Resampled::new(rate, channels).map_err(RawError::Resampling)?;
        let skip = resampled.delay_len();
        Ok(Resampling { resampled, ahead: Vec::new(), skip })
    }

    /// Resamples all complete blocks and appends them to `output`.
    fn run(&mut self, output: &mut Vec<f32>) -> Result<(), RawError> {
        let mut used = 0;
        let mut done = Ok(());
        while let Some(block) = self.ahead[used..].get(..self.resampled.input_len()) {
            let begin = output.len();
            done = self.resampled.process(block, output).map_err(RawError::Resampling);
            if done.is_err() {
                break;
            }
            used += block.len();
            let skipped = self.skip.min(output.len() - begin);
            output.drain(begin..begin + skipped);
            self.skip -= skipped;
        }
        self.ahead.drain(..used);
        done
    }

    /// Appends the rest of the sound, so that `output` has `len` values: silence flushes the resampler.
    fn finish(&mut self, output: &mut Vec<f32>, len: usize) -> Result<(), RawError> {
        while output.len() < len {
            self.ahead.resize(self.resampled.input_len().max(self.ahead.len()), 0.0);
            self.run(output)?;
        }
        output.truncate(len);
        Ok(())
    }

    fn begin_anew(&mut self) {
        self.resampled.reset();
        self.ahead.clear();
        self.skip = self.resampled.delay_len();
    }
}
