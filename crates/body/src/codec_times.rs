//! Codec times for this peer's claims: from the pictures that its mixer encodes and decodes, or from a short benchmark
//! while it doesn't encode; the newer of the two counts.
//!
//! The times are wall times, so they rise when other programs take the processor. Claims change only when the times
//! have changed by more than they vary.

use std::collections::VecDeque;

use plenary_media::mixer::CodecWork;
use plenary_proto::message::{CLAIM_PIXELS, CodecSource};

/// Interval of samples of the mixer's pictures. A guess: 150 pictures of 30 a second.
const SAMPLE_US: u64 = 5_000_000;
/// Time over which samples count.
const SPAN_US: u64 = 100_000_000;
/// Maximum number of samples.
const SAMPLES_MAX: usize = (SPAN_US / SAMPLE_US) as usize;
/// Minimum interval of benchmarks, and maximum age of a measurement on an idle machine.
const BENCH_US: u64 = 60_000_000;
/// Smallest relative change that is claimed. Of 20 benchmarks beside programs at low priority that used all cores, 19
/// took up to 25 % longer than the median.
const CHANGE_MIN: f64 = 0.25;

/// Claimed time to encode a picture on a machine that is short of processor time: no program's frame interval is as
/// long.
const BUSY_US: u32 = 1_000_000;

/// Codec times, in microseconds for one 1280×720 picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claimed {
    pub(crate) encode_us: u32,
    pub(crate) decode_us: u32,
    pub(crate) source: CodecSource,
}

/// Samples of the time for one picture, each with its time.
#[derive(Debug, Default)]
struct Series(VecDeque<(u64, u32)>);

impl Series {
    /// Adds the mean of the pictures of one interval, if there were any.
    fn push(&mut self, now_us: u64, spent_us: u64, pixels: u64) {
        self.0.retain(|(at_us, _)| now_us < at_us + SPAN_US);
        if let Some(us) = (spent_us * CLAIM_PIXELS).checked_div(pixels) {
            self.0.push_back((now_us, u32::try_from(us).unwrap_or(u32::MAX).max(1)));
            self.0.drain(..self.0.len().saturating_sub(SAMPLES_MAX));
        }
    }

    /// Returns the median of the samples and their median deviation from it; `None` without a sample since `since_us`.
    fn median(&self, since_us: u64) -> Option<(u32, u32)> {
        self.0.back().filter(|(at_us, _)| *at_us >= since_us)?;
        let middle = |mut values: Vec<u32>| {
            values.sort_unstable();
            values.get(values.len() / 2).copied()
        };
        let median = middle(self.0.iter().map(|(_, us)| *us).collect())?;
        let deviation = middle(self.0.iter().map(|(_, us)| us.abs_diff(median)).collect())?;
        Some((median, deviation))
    }
}

/// Codec times of this machine.
#[derive(Debug, Default)]
pub(crate) struct CodecTimes {
    /// Work of the mixer at the last sample.
    before: CodecWork,
    sampled_us: u64,
    encode: Series,
    decode: Series,
    /// Time and result of the last benchmark.
    bench: Option<(u64, [u32; 2])>,
    /// Time of the last pictures that were encoded, and of the last benchmark that was requested.
    encoded_us: u64,
    asked_us: u64,
    claimed: Option<Claimed>,
    is_busy: bool,
}

impl CodecTimes {
    /// Takes the result of a benchmark. Returns what to claim.
    pub(crate) fn bench(&mut self, now_us: u64, encode_us: u32, decode_us: u32) -> Claimed {
        self.bench = Some((now_us, [encode_us, decode_us]));
        self.asked_us = now_us;
        self.claim()
    }

    /// Sets whether this machine is short of processor time: then it claims that it can't mix in real time. Returns
    /// what to claim.
    pub(crate) fn set_busy(&mut self, is_busy: bool) -> Option<Claimed> {
        self.is_busy = is_busy;
        self.claimed.map(|claimed| self.as_busy(claimed))
    }

    fn as_busy(&self, claimed: Claimed) -> Claimed {
        let encode_us = if self.is_busy { claimed.encode_us.max(BUSY_US) } else { claimed.encode_us };
        Claimed { encode_us, ..claimed }
    }

    /// Takes the mixer's work so far. Returns what to claim, if there is a new measurement.
    pub(crate) fn observe(&mut self, now_us: u64, work: &CodecWork) -> Option<Claimed> {
        if self.bench.is_none() || now_us < self.sampled_us + SAMPLE_US {
            return None; // this peer doesn't mix, or the sample isn't due
        }
        self.sampled_us = now_us;
        let before = std::mem::replace(&mut self.before, *work);
        let since = |now: u64, before: u64| now.saturating_sub(before);
        let [encoded, decoded] = [
            since(work.encoded_pixels, before.encoded_pixels),
            since(work.decoded_pixels, before.decoded_pixels),
        ];
        self.encode.push(now_us, since(work.encode_us, before.encode_us), encoded);
        self.decode.push(now_us, since(work.decode_us, before.decode_us), decoded);
        if encoded > 0 {
            self.encoded_us = now_us;
        }
        (encoded > 0 || decoded > 0).then(|| self.claim())
    }

    /// Returns whether a peer that doesn't mix is to run a benchmark now; counts it as requested. A machine that is
    /// short of processor time runs none.
    pub(crate) fn takes_bench(&mut self, now_us: u64) -> bool {
        let due =
            self.bench.is_some() && !self.is_busy && now_us >= self.encoded_us.max(self.asked_us) + BENCH_US;
        if due {
            self.asked_us = now_us;
        }
        due
    }

    fn claim(&mut self) -> Claimed {
        let (bench_us, [bench_encode_us, bench_decode_us]) = self.bench.unwrap_or((0, [1; 2]));
        let frames = self.encode.median(bench_us);
        let (encode_us, encode_noise_us) = frames.unwrap_or((bench_encode_us, 0));
        let (decode_us, decode_noise_us) = self.decode.median(bench_us).unwrap_or((bench_decode_us, 0));
        let source = if frames.is_some() { CodecSource::Frames } else { CodecSource::Bench };
        let is_new = |now: u32, before: u32, noise_us: u32| {
            let least = f64::from(2 * noise_us).max(CHANGE_MIN * f64::from(before));
            f64::from(now.abs_diff(before)) > least
        };
        let claimed = match &mut self.claimed {
            Some(claimed)
                if !is_new(encode_us, claimed.encode_us, encode_noise_us)
                    && !is_new(decode_us, claimed.decode_us, decode_noise_us) =>
            {
                claimed.source = source;
                *claimed
            }
            claimed => *claimed.insert(Claimed { encode_us, decode_us, source }),
        };
        self.as_busy(claimed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    /// Work of a mixer that needs these times for a picture.
    fn works(work: &mut CodecWork, pictures: u64, encode_us: u64, decode_us: u64) {
        *work = work.plus(&CodecWork {
            encode_us: pictures * encode_us,
            encoded_pixels: pictures * CLAIM_PIXELS,
            decode_us: pictures * decode_us / 4,
            decoded_pixels: pictures * CLAIM_PIXELS / 4,
        });
    }

    fn claimed(encode_us: u32, decode_us: u32, source: CodecSource) -> Claimed {
        Claimed { encode_us, decode_us, source }
    }

    #[test]
    fn a_benchmark_is_claimed_until_pictures_show_more() {
        let (mut times, mut work) = (CodecTimes::default(), CodecWork::default());
        assert_eq!(times.observe(9 * SECOND, &work), None, "a peer that can't mix");
        assert_eq!(times.bench(10 * SECOND, 4_000, 1_500), claimed(4_000, 1_500, CodecSource::Bench));
        let mut last = None;
        for second in 11..120 {
            works(&mut work, 30, 8_000, 1_500);
            last = times.observe(second * SECOND, &work).or(last);
        }
        assert_eq!(last, Some(claimed(8_000, 1_500, CodecSource::Frames)));
    }

    #[test]
    fn noise_does_not_change_the_claim_and_a_lasting_change_does() {
        let (mut times, mut work) = (CodecTimes::default(), CodecWork::default());
        times.bench(0, 4_000, 1_500);
        let mut claims = Vec::new();
        for second in 1..400 {
            let noisy_us = if second / 5 % 3 == 0 { 6_500 } else { 5_200 - 100 * (second / 5 % 2) };
            works(&mut work, 30, if second < 200 { noisy_us } else { 3 * noisy_us }, 1_500);
            claims.extend(times.observe(second * SECOND, &work).map(|claim| (second, claim.encode_us)));
        }
        let mut changes: Vec<_> = claims.clone();
        changes.dedup_by_key(|(_, us)| *us);
        let [.., (first, calm_us), (changed, busy_us)] = changes[..] else { panic!("{changes:?}") };
        assert!(first < 30 && (5_000..6_600).contains(&calm_us), "{changes:?}");
        assert!((245..270).contains(&changed) && busy_us > 15_000, "half of the span later: {changes:?}");
    }

    #[test]
    fn an_idle_machine_is_measured_once_a_minute() {
        let (mut times, mut work) = (CodecTimes::default(), CodecWork::default());
        assert!(!times.takes_bench(100 * SECOND), "a peer that can't mix");
        times.bench(0, 4_000, 1_500);
        let asked: Vec<_> = (0..200).filter(|second| times.takes_bench(second * SECOND)).collect();
        assert_eq!(asked, [60, 120, 180]);
        times.bench(181 * SECOND, 12_000, 4_500);
        assert_eq!(times.claimed, Some(claimed(12_000, 4_500, CodecSource::Bench)));
        for second in 182..260 {
            works(&mut work, 30, 4_000, 1_500);
            times.observe(second * SECOND, &work);
        }
        assert!(!times.takes_bench(270 * SECOND), "measured 10 s ago");
        assert!(times.takes_bench(330 * SECOND));
    }

    #[test]
    fn a_machine_short_of_processor_time_claims_that_it_cannot_mix() {
        let mut times = CodecTimes::default();
        assert_eq!(times.set_busy(true), None, "a peer that can't mix");
        times.set_busy(false);
        let idle = times.bench(0, 4_000, 1_500);
        assert_eq!(times.set_busy(true), Some(Claimed { encode_us: BUSY_US, ..idle }));
        assert!(!times.takes_bench(70 * SECOND));
        assert_eq!(times.set_busy(false), Some(idle));
        assert!(times.takes_bench(70 * SECOND));
    }

    #[test]
    fn the_last_pictures_are_claimed_after_mixing_until_the_next_benchmark() {
        let (mut times, mut work) = (CodecTimes::default(), CodecWork::default());
        times.bench(0, 4_000, 1_500);
        for second in 1..40 {
            works(&mut work, 30, 9_000, 1_500);
            times.observe(second * SECOND, &work);
        }
        assert_eq!(times.set_busy(false), Some(claimed(9_000, 1_500, CodecSource::Frames)));
        assert_eq!(times.bench(100 * SECOND, 4_000, 1_500), claimed(4_000, 1_500, CodecSource::Bench));
    }
}
