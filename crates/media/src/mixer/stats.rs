//! Statistics of a mixer.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use plenary_proto::app::Effort;

/// Median and 95th percentile of a distribution, accurate to 6 %.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Percentiles {
    /// Median.
    pub p50: u64,
    /// 95th percentile.
    pub p95: u64,
}

/// Statistics of a mixer since its start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MixerStats {
    /// Pictures decoded, summed over all inputs, including inputs that have left.
    pub decoded_frames: u64,
    /// Program pictures encoded.
    pub encoded_frames: u64,
    /// Program pictures skipped, because composing and encoding fell behind the clock.
    pub skipped_frames: u64,
    /// How much work the mixer spends on its pictures. Pictures left out by a lower effort don't count as
    /// skipped.
    pub effort: Effort,
    /// Errors of codecs, decoders and encoders together.
    pub codec_errors: u64,
    /// Time to compose and encode a program picture, microseconds; `None` before the first.
    pub compose_encode_us: Option<Percentiles>,
    /// Latency that the mixer adds to its jitter buffers' delay: from the time when a program picture was due
    /// (its capture time plus the playout delay) until its output, microseconds; `None` before the first.
    pub added_latency_us: Option<Percentiles>,
    /// Playout delay, from capture until a picture or sound is due, microseconds.
    pub playout_delay_us: u64,
    /// CPU time of all the mixer's threads; `None` where the system doesn't report it.
    pub cpu: Option<MixerCpu>,
    /// Wall time of the codecs.
    pub codec: CodecWork,
    /// Statistics of the present inputs, in their order.
    pub inputs: Vec<InputStats>,
}

/// Wall time of a mixer's video codecs on pictures of at least 640×360. It includes waits for the processor, so it
/// shows that other programs use the machine. Small pictures take more time per pixel and are left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CodecWork {
    /// Time to encode, microseconds.
    pub encode_us: u64,
    /// Pixels encoded.
    pub encoded_pixels: u64,
    /// Time to decode, microseconds.
    pub decode_us: u64,
    /// Pixels decoded.
    pub decoded_pixels: u64,
}

impl CodecWork {
    /// Returns the sum of the work of two mixers.
    pub fn plus(&self, other: &CodecWork) -> CodecWork {
        CodecWork {
            encode_us: self.encode_us + other.encode_us,
            encoded_pixels: self.encoded_pixels + other.encoded_pixels,
            decode_us: self.decode_us + other.decode_us,
            decoded_pixels: self.decoded_pixels + other.decoded_pixels,
        }
    }
}

/// Minimum size of the pictures in [`CodecWork`].
const PIXELS_MIN: u64 = 640 * 360;

/// CPU time of a mixer's threads, microseconds: by kind of work, and in total.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MixerCpu {
    /// Time in the inputs' video decoders.
    pub decode_us: u64,
    /// Time to scale pictures to their tiles, and to draw them and their labels on the canvas.
    pub scale_us: u64,
    /// Time in the program's video encoder.
    pub encode_us: u64,
    /// Time for all sound.
    pub sound_us: u64,
    /// Total: all of the above and the rest (queues, wake-ups, outputs).
    pub total_us: u64,
}

impl MixerCpu {
    /// Returns the CPU time spent since `before`, an earlier value of the same mixer.
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

/// Statistics of one input since it was added.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InputStats {
    /// Identifier of the input.
    pub id: u64,
    /// Pictures decoded.
    pub decoded_frames: u64,
    /// Pictures that the decoder refused.
    pub failed_frames: u64,
    /// Pictures not decoded: before a keyframe, duplicates, or beyond the queue's limit.
    pub dropped_frames: u64,
    /// Pictures and sound frames that arrived after their playout time.
    pub late_frames: u64,
    /// Sound frames concealed because they were missing.
    pub concealed_frames: u64,
}

/// Counters shared by the mixer's threads.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) decoded: AtomicU64,
    pub(super) encoded: AtomicU64,
    pub(super) skipped: AtomicU64,
    pub(super) codec_errors: AtomicU64,
    /// Turns of the thread that makes pictures, whether they made one or not.
    pub(super) turns: AtomicU64,
    cpu_ns: [AtomicU64; 5],
    /// Wall time in nanoseconds and pixels: of encoding, of decoding.
    codec: [[AtomicU64; 2]; 2],
}

/// Kind of work that CPU time is spent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spent {
    Decode,
    Scale,
    Encode,
    Sound,
    Rest,
}

impl Counts {
    /// Counts a picture that took `wall` to encode.
    pub(super) fn encoded(&self, wall: Duration, pixels: u64) {
        Counts::add(&self.codec[0], wall, pixels);
    }

    /// Counts a picture that took `wall` to decode.
    pub(super) fn decoded(&self, wall: Duration, pixels: u64) {
        Counts::add(&self.codec[1], wall, pixels);
    }

    fn add([nanos, counted]: &[AtomicU64; 2], wall: Duration, pixels: u64) {
        if pixels >= PIXELS_MIN {
            count(nanos, wall.as_nanos() as u64);
            count(counted, pixels);
        }
    }

    pub(super) fn codec(&self) -> CodecWork {
        let [[encode, encoded], [decode, decoded]] =
            self.codec.each_ref().map(|work| work.each_ref().map(|counter| counter.load(Ordering::Relaxed)));
        CodecWork {
            encode_us: encode / 1_000,
            encoded_pixels: encoded,
            decode_us: decode / 1_000,
            decoded_pixels: decoded,
        }
    }

    pub(super) fn cpu(&self) -> Option<MixerCpu> {
        thread_cpu()?;
        let [decode_us, scale_us, encode_us, sound_us, rest_us] =
            self.cpu_ns.each_ref().map(|nanos| nanos.load(Ordering::Relaxed) / 1_000);
        let total_us = decode_us + scale_us + encode_us + sound_us + rest_us;
        Some(MixerCpu { decode_us, scale_us, encode_us, sound_us, total_us })
    }
}

/// Adds `by` to a counter.
pub(super) fn count(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}

/// Histogram with buckets of 1/16 of a power of two.
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

/// Returns the bucket of a value. Values below 16 have a bucket each; above, the highest bit and the 4 bits
/// behind it select the bucket.
fn bucket(value: u64) -> usize {
    let shift = value.max(PARTS).ilog2() - PARTS_LOG2;
    (u64::from(shift) * PARTS + (value >> shift)) as usize
}

/// Returns the middle value of a bucket.
fn value(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    let shift = (bucket / PARTS).saturating_sub(1);
    let least = (bucket - shift * PARTS) << shift;
    least + (1 << shift) / 2
}

/// CPU time of one thread, added lap by lap to the mixer's counters.
#[derive(Debug)]
pub(super) struct CpuMeter<'a> {
    pub(super) counts: &'a Counts,
    counted: Duration,
    /// Wall time at the last lap; `None` where the system doesn't report it.
    lap_at: Option<Instant>,
}

impl<'a> CpuMeter<'a> {
    pub(super) fn new(counts: &'a Counts) -> CpuMeter<'a> {
        CpuMeter { counts, counted: Duration::ZERO, lap_at: wall() }
    }

    /// Attributes the CPU time of the calling thread since the last lap to `on`, and returns the wall time since
    /// then. Call it on one thread only.
    pub(super) fn lap(&mut self, on: Spent) -> Duration {
        let now = wall();
        let before = std::mem::replace(&mut self.lap_at, now);
        let took = now.zip(before).map_or(Duration::ZERO, |(now, before)| now.duration_since(before));
        if let Some(spent) = thread_cpu() {
            let lap = spent.saturating_sub(self.counted);
            count(&self.counts.cpu_ns[on as usize], lap.as_nanos() as u64);
            self.counted = spent;
        }
        took
    }
}

/// Returns the time of the monotonic clock; `None` where the system doesn't report it.
fn wall() -> Option<Instant> {
    #[cfg(not(target_family = "wasm"))]
    return Some(Instant::now());
    #[cfg(target_family = "wasm")]
    return None;
}

/// Returns the CPU time of the calling thread; `None` where the system doesn't report it.
pub(crate) fn thread_cpu() -> Option<Duration> {
    #[cfg(not(target_family = "wasm"))]
    return cpu_time::ThreadTime::try_now().ok().map(|time| time.as_duration());
    #[cfg(target_family = "wasm")]
    return None;
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
