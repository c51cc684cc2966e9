//! What a mixer did so far.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cpu_time::ThreadTime;

use super::effort::Effort;

/// The middle and the long end of a distribution, to 6 %.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Percentiles {
    /// Half of all values are at most this.
    pub p50: u64,
    /// 95 % of all values are at most this.
    pub p95: u64,
}

/// What a mixer did since it was started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MixerStats {
    /// Pictures decoded, of all inputs, those that left included.
    pub decoded_frames: u64,
    /// Program pictures encoded.
    pub encoded_frames: u64,
    /// Program pictures left out, because composing and encoding fell behind the clock.
    pub skipped_frames: u64,
    /// How much work it spends on its pictures. Those that less work leaves out aren't among the skipped ones.
    pub effort: Effort,
    /// What codecs refused, decoders and encoders together.
    pub codec_errors: u64,
    /// Time from a picture's turn to its last bit, microseconds; `None` before the first.
    pub compose_encode_us: Option<Percentiles>,
    /// What the mixer adds behind its jitter buffer: from the moment a program picture was due (its capture
    /// time plus the playout delay) until it was given out, microseconds; `None` before the first.
    pub added_latency_us: Option<Percentiles>,
    /// The playout delay, from capture until a picture or sound is due, microseconds.
    pub playout_delay_us: u64,
    /// What all the mixer's threads spent; `None` where the system doesn't tell.
    pub cpu: Option<MixerCpu>,
    /// The present inputs, in their order.
    pub inputs: Vec<InputStats>,
}

/// CPU time of a mixer's threads, microseconds: its parts, and all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MixerCpu {
    /// In the inputs' video decoders.
    pub decode_us: u64,
    /// Scaling pictures to their tiles, and drawing them, with labels, on the canvas.
    pub scale_us: u64,
    /// In the program's video encoder.
    pub encode_us: u64,
    /// All that is done for sound.
    pub sound_us: u64,
    /// All of the above and the rest: queues, wake-ups, outputs.
    pub total_us: u64,
}

impl MixerCpu {
    /// What was spent behind `before`, an earlier value of the same mixer.
    pub fn since(&self, before: &MixerCpu) -> MixerCpu {
        MixerCpu {
            decode_us: self.decode_us.saturating_sub(before.decode_us),
            scale_us: self.scale_us.saturating_sub(before.scale_us),
            encode_us: self.encode_us.saturating_sub(before.encode_us),
            sound_us: self.sound_us.saturating_sub(before.sound_us),
            total_us: self.total_us.saturating_sub(before.total_us),
        }
    }
}

/// What came from one input since it was added.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InputStats {
    /// Whose they are.
    pub id: u64,
    /// Pictures decoded.
    pub decoded_frames: u64,
    /// Pictures the decoder refused.
    pub failed_frames: u64,
    /// Pictures not decoded: waiting for a key frame, repeated, or beyond the queue's limit.
    pub dropped_frames: u64,
    /// Pictures and sound that came when their time was over.
    pub late_frames: u64,
    /// Sound frames made up for missing ones.
    pub concealed_frames: u64,
}

/// Counters that the threads share.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) decoded: AtomicU64,
    pub(super) encoded: AtomicU64,
    pub(super) skipped: AtomicU64,
    pub(super) codec_errors: AtomicU64,
    cpu_ns: [AtomicU64; 5],
}

/// What a thread spends its time on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spent {
    Decode,
    Scale,
    Encode,
    Sound,
    Rest,
}

impl Counts {
    pub(super) fn cpu(&self) -> Option<MixerCpu> {
        thread_cpu()?;
        let [decode_us, scale_us, encode_us, sound_us, rest_us] =
            self.cpu_ns.each_ref().map(|nanos| nanos.load(Ordering::Relaxed) / 1_000);
        let total_us = decode_us + scale_us + encode_us + sound_us + rest_us;
        Some(MixerCpu { decode_us, scale_us, encode_us, sound_us, total_us })
    }
}

/// Adds to a counter.
pub(super) fn count(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}

/// Counts values in buckets of 1/16 of a power of two.
#[derive(Debug)]
pub(super) struct Histogram {
    buckets: Vec<u64>,
}

const PARTS: u64 = 16;
const PARTS_LOG2: u32 = PARTS.ilog2();

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram { buckets: vec![0; bucket(u64::MAX) + 1] }
    }
}

impl Histogram {
    pub(super) fn record(&mut self, value: u64) {
        self.buckets[bucket(value)] += 1;
    }

    pub(super) fn percentiles(&self) -> Option<Percentiles> {
        let total: u64 = self.buckets.iter().sum();
        let at = |percent: u64| {
            let mut left = (total * percent).div_ceil(100);
            self.buckets.iter().position(|&count| {
                left = left.saturating_sub(count);
                left == 0
            })
        };
        (total > 0).then_some(())?;
        Some(Percentiles { p50: value(at(50)?), p95: value(at(95)?) })
    }
}

/// Values below 16 have a bucket each; above, the 4 bits behind the highest one count.
fn bucket(value: u64) -> usize {
    let shift = value.max(PARTS).ilog2() - PARTS_LOG2;
    (u64::from(shift) * PARTS + (value >> shift)) as usize
}

/// The middle of a bucket.
fn value(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    let shift = (bucket / PARTS).saturating_sub(1);
    let least = (bucket - shift * PARTS) << shift;
    least + (1 << shift) / 2
}

/// The CPU time of one thread, added to the mixer's lap by lap.
#[derive(Debug)]
pub(super) struct CpuMeter<'a> {
    counts: &'a Counts,
    counted: Duration,
}

impl<'a> CpuMeter<'a> {
    pub(super) fn new(counts: &'a Counts) -> CpuMeter<'a> {
        CpuMeter { counts, counted: Duration::ZERO }
    }

    /// Puts what the calling thread spent since the last lap down to this. To be called on one thread only.
    pub(super) fn lap(&mut self, on: Spent) {
        if let Some(spent) = thread_cpu() {
            let lap = spent.saturating_sub(self.counted);
            count(&self.counts.cpu_ns[on as usize], lap.as_nanos() as u64);
            self.counted = spent;
        }
    }
}

/// CPU time of the calling thread; `None` where the system doesn't tell.
fn thread_cpu() -> Option<Duration> {
    ThreadTime::try_now().ok().map(|time| time.as_duration())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn percentiles_are_right_to_a_sixteenth() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.percentiles(), None);
        for value in 1..=10_000 {
            histogram.record(value);
        }
        let Percentiles { p50, p95 } = histogram.percentiles().unwrap();
        assert!(p50.abs_diff(5_000) < 5_000 / 16, "{p50}");
        assert!(p95.abs_diff(9_500) < 9_500 / 16, "{p95}");
    }

    proptest! {
        #[test]
        fn every_value_has_its_bucket(wanted: u64, small in 0_u64..100) {
            for wanted in [wanted, small, 0, u64::MAX] {
                let got = value(bucket(wanted));
                prop_assert!(got.abs_diff(wanted) <= wanted / 16);
            }
        }
    }

    #[test]
    fn cpu_time_is_put_down_to_what_it_was_spent_on() {
        let counts = Counts::default();
        let mut meter = CpuMeter::new(&counts);
        meter.lap(Spent::Rest);
        let Some(begin) = thread_cpu() else { return };
        while thread_cpu() < Some(begin + Duration::from_millis(2)) {}
        meter.lap(Spent::Decode);
        let cpu = counts.cpu().unwrap();
        assert!(cpu.decode_us >= 2_000 && cpu.total_us >= cpu.decode_us, "{cpu:?}");
        assert_eq!((cpu.scale_us, cpu.encode_us, cpu.sound_us), (0, 0, 0));
    }
}
