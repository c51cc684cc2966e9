//! Looped sound at 48 kHz, from a reader of finite length with a sample rate of its own.
//!
//! Rounds are joined at the reader's rate, before resampling, so that the resampler gets one continuous
//! signal. In rounds of a fixed length, longer sound is cut, and shorter sound is followed by silence. The
//! boundaries are computed from the start of playback, so they never drift from the pictures' boundaries.

use super::SourceFault;
use crate::SAMPLE_RATE;
use crate::resample::{RATES, Resampled};

/// Reads a file's sound once, from start to end, at the file's sample rate.
pub(super) trait SoundReader: Send {
    /// Sample rate in samples per second.
    fn rate(&self) -> u32;

    /// Number of interleaved channels.
    fn channels(&self) -> usize;

    /// Appends more samples; returns `false` at the end.
    fn read(&mut self, samples: &mut Vec<f32>) -> Result<bool, SourceFault>;

    /// Returns to the start.
    fn rewind(&mut self) -> Result<(), SourceFault>;
}

pub(super) struct LoopedSound {
    rounds: Rounds,
    resampler: Option<ResampledRounds>,
}

impl LoopedSound {
    /// Loops the reader's sound in rounds of `round_us`, or of the sound's own length.
    pub(super) fn new(
        reader: Box<dyn SoundReader>,
        round_us: Option<u64>,
    ) -> Result<LoopedSound, SourceFault> {
        let (rate, channels) = (reader.rate(), reader.channels());
        let unsupported = |found, wanted| Err(SourceFault::Unsupported { found, wanted });
        if !(1..=2).contains(&channels) {
            return unsupported(format!("sound of {channels} channels"), "sound must be mono or stereo");
        }
        if !RATES.contains(&rate) {
            return unsupported(format!("sound at {rate} Hz"), "sound must have 8 to 96 kHz");
        }
        let resampler = (rate != SAMPLE_RATE).then(|| ResampledRounds::new(rate, channels)).transpose()?;
        let rounds = Rounds { reader, round_us, round: 0, end: 0, at: 0, ahead: Vec::new(), used: 0 };
        let mut sound = LoopedSound { rounds, resampler };
        sound.rounds.begin_round(0);
        Ok(sound)
    }

    pub(super) fn channels(&self) -> u8 {
        self.rounds.reader.channels() as u8
    }

    /// Fills `samples` with the next samples.
    pub(super) fn read(&mut self, samples: &mut [f32]) -> Result<(), SourceFault> {
        match &mut self.resampler {
            None => self.rounds.read(samples),
            Some(resampler) => resampler.read(&mut self.rounds, samples),
        }
    }
}

/// The reader's sound, round after round. Positions count samples per channel from the start of playback.
struct Rounds {
    reader: Box<dyn SoundReader>,
    round_us: Option<u64>,
    round: u64,
    /// End of the current round; unknown while rounds have the sound's own length.
    end: u64,
    at: u64,
    /// Samples read ahead, of which the first `used` are consumed.
    ahead: Vec<f32>,
    used: usize,
}

impl Rounds {
    fn begin_round(&mut self, round: u64) {
        self.round = round;
        self.end = match self.round_us {
            Some(round_us) => {
                let end = u128::from(round + 1) * u128::from(round_us) * u128::from(self.reader.rate());
                (end / 1_000_000) as u64
            }
            None => u64::MAX,
        };
    }

    fn read(&mut self, mut samples: &mut [f32]) -> Result<(), SourceFault> {
        let channels = self.reader.channels();
        let mut empty_rounds = 0;
        while !samples.is_empty() {
            if self.used == self.ahead.len() {
                self.ahead.clear();
                self.used = 0;
            }
            let left = (self.end - self.at).saturating_mul(channels as u64) as usize;
            if left > 0 && self.ahead.is_empty() && self.reader.read(&mut self.ahead)? {
                continue;
            }
            let part = match self.ahead.len() - self.used {
                // the reader has ended: silence for the rest of the round
                0 if self.round_us.is_some() => left.min(samples.len()),
                0 => 0,
                ready => ready.min(left).min(samples.len()),
            };
            let (now, later) = samples.split_at_mut(part);
            match self.ahead.get(self.used..self.used + part) {
                Some(ready) => {
                    now.copy_from_slice(ready);
                    self.used += part;
                }
                None => now.fill(0.0),
            }
            samples = later;
            self.at += (part / channels) as u64;
            let over = self.at == self.end || (part == 0 && self.round_us.is_none());
            if over {
                empty_rounds = if part == 0 { empty_rounds + 1 } else { 0 };
                if empty_rounds > 1 {
                    return Err(SourceFault::Damaged { container: "sound", reason: "no samples".to_owned() });
                }
                self.ahead.clear();
                self.used = 0;
                self.reader.rewind()?;
                self.begin_round(self.round + 1);
            }
        }
        Ok(())
    }
}

struct ResampledRounds {
    resampled: Resampled,
    input: Vec<f32>,
    output: Vec<f32>,
    /// Samples of `output` already returned, or discarded as the resampler's own delay.
    used: usize,
}

impl ResampledRounds {
    fn new(rate: u32, channels: usize) -> Result<ResampledRounds, SourceFault> {
        let resampled = Resampled::new(rate, channels).map_err(resampling)?;
        let used = resampled.delay_len();
        Ok(ResampledRounds { resampled, input: Vec::new(), output: Vec::new(), used })
    }

    fn read(&mut self, rounds: &mut Rounds, samples: &mut [f32]) -> Result<(), SourceFault> {
        while self.output.len() < self.used + samples.len() {
            let consumed = self.used.min(self.output.len());
            self.output.drain(..consumed);
            self.used -= consumed;
            self.input.resize(self.resampled.input_len(), 0.0);
            rounds.read(&mut self.input)?;
            self.resampled.process(&self.input, &mut self.output).map_err(resampling)?;
        }
        samples.copy_from_slice(&self.output[self.used..][..samples.len()]);
        self.used += samples.len();
        Ok(())
    }
}

fn resampling(reason: String) -> SourceFault {
    SourceFault::Damaged { container: "sound", reason }
}
