//! Statistics of the program's arrival at one peer. They are counters and not frames, so memory doesn't grow
//! with time.

use std::collections::VecDeque;

use plenary_proto::Time;
use plenary_proto::time::{MS, SECOND};

use crate::media::FRAME_US;
use crate::report::Percentiles;

/// Shortest gap that is remembered as such: one frame may be missing.
const GAP_US_MIN: u64 = 50 * MS;
/// Maximum number of gaps remembered; the oldest is forgotten first.
const GAPS_KEPT: usize = 64;
/// Number of latency buckets. A bucket is a quarter octave wide; 64 of them reach from 1 ms to a minute.
const BUCKETS: usize = 64;

/// Histogram of latencies.
#[derive(Clone, Debug)]
pub(crate) struct Latencies([u64; BUCKETS]);

impl Default for Latencies {
    fn default() -> Self {
        Latencies([0; BUCKETS])
    }
}

impl Latencies {
    /// Counts `frames` frames with a latency of `us`.
    pub(crate) fn add(&mut self, us: u64, frames: u64) {
        let ms = (us / MS).max(1);
        let octave = ms.ilog2();
        let quarter = ((ms * 4) >> octave) - 4;
        let bucket = (octave as usize * 4 + quarter as usize).min(BUCKETS - 1);
        self.0[bucket] += frames;
    }

    pub(crate) fn add_all(&mut self, other: &Latencies) {
        for (sum, count) in self.0.iter_mut().zip(other.0) {
            *sum += count;
        }
    }

    /// The latencies counted since `earlier`, a former state of this histogram.
    pub(crate) fn since(&self, earlier: &Latencies) -> Latencies {
        let mut later = self.clone();
        for (count, before) in later.0.iter_mut().zip(earlier.0) {
            *count = count.saturating_sub(before);
        }
        later
    }

    /// Number of frames counted.
    pub(crate) fn count(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Mean latency, each bucket counted by its midpoint.
    pub(crate) fn mean_us(&self) -> u64 {
        let middle = |bucket: usize| ((9 + 2 * (bucket as u64 % 4)) << (bucket / 4)) * MS / 8;
        let sum: u64 = self.0.iter().enumerate().map(|(bucket, count)| middle(bucket) * count).sum();
        sum.checked_div(self.0.iter().sum()).unwrap_or(0)
    }

    /// Median, 95th percentile and maximum in milliseconds, each the midpoint of its bucket; `None` if
    /// nothing was counted.
    pub(crate) fn percentiles(&self) -> Option<Percentiles> {
        let total: u64 = self.0.iter().sum();
        let at = |share: f64| {
            let mut below = (total.saturating_sub(1) as f64 * share) as u64;
            let bucket = self.0.iter().position(|count| {
                let within = below < *count;
                below = below.saturating_sub(*count);
                within
            });
            let bucket = bucket.unwrap_or(0) as u32;
            f64::from(9 + 2 * (bucket % 4)) / 8.0 * f64::from(1 << (bucket / 4))
        };
        (total > 0).then(|| Percentiles { p50: at(0.5), p95: at(0.95), max: at(1.0) })
    }
}

/// Statistics of the frames that one peer received.
#[derive(Clone, Debug, Default)]
pub(crate) struct Arrivals {
    first: Option<Time>,
    last: Option<Time>,
    /// Frames that arrived within this time of their capture.
    pub(crate) within_600ms: u64,
    pub(crate) within_1s: u64,
    pub(crate) latencies: Option<Box<Latencies>>,
    /// Frames that a relay had forged.
    pub(crate) forged: u64,
    pub(crate) longest_gap_us: u64,
    /// Gaps: when each ended, and its length in microseconds.
    gaps: VecDeque<(Time, u32)>,
}

impl Arrivals {
    /// Counts a frame that arrives now.
    pub(crate) fn frame(&mut self, now: Time, captured: Time, forged: bool) {
        self.shown(now, now, captured, forged);
    }

    /// Counts a frame that is shown now, and was complete at `came`: pictures may wait for sound. Latencies are
    /// those of complete frames.
    pub(crate) fn shown(&mut self, now: Time, came: Time, captured: Time, forged: bool) {
        self.forged += u64::from(forged);
        let begun = self.begin(now);
        // a newcomer's cached frames don't count, only those captured since its first frame arrived
        if captured >= begun {
            self.count_late(now.since(captured), came.since(captured), 1);
        }
        self.last = Some(now);
    }

    /// Records that the program begins or resumes at `now`. The frames of the interruption arrive at once, as
    /// far back as the parents have cached them.
    pub(crate) fn resumed(&mut self, now: Time, cached_us_max: u64) {
        let missed_us = self.last.map_or(0, |last| now.since(last)).min(cached_us_max);
        self.begin(now);
        for late in 1..=missed_us / FRAME_US {
            self.count(late * FRAME_US, 1);
        }
        self.last = Some(now);
    }

    /// Accounts for an uninterrupted flow since the last call until `now`: `share_ppm` millionths of the
    /// program, at that latency.
    pub(crate) fn flowed(&mut self, now: Time, latency_us: u64, share_ppm: u32) {
        let Some(last) = self.last else { return };
        self.count(latency_us, now.since(last) / FRAME_US * u64::from(share_ppm) / 1_000_000);
        self.last = Some(now);
    }

    fn begin(&mut self, now: Time) -> Time {
        let gap_us = self.last.map_or(0, |last| now.since(last));
        self.longest_gap_us = self.longest_gap_us.max(gap_us);
        if gap_us >= GAP_US_MIN {
            if self.gaps.len() >= GAPS_KEPT {
                self.gaps.pop_front();
            }
            self.gaps.push_back((now, gap_us.min(u32::MAX.into()) as u32));
        }
        *self.first.get_or_insert(now)
    }

    fn count(&mut self, latency_us: u64, frames: u64) {
        self.count_late(latency_us, latency_us, frames);
    }

    /// Counts frames that were shown that long after their capture, and complete after `latency_us`.
    fn count_late(&mut self, shown_us: u64, latency_us: u64, frames: u64) {
        self.within_600ms += frames * u64::from(shown_us <= 600 * MS);
        self.within_1s += frames * u64::from(shown_us <= SECOND);
        if frames > 0 {
            self.latencies.get_or_insert_default().add(latency_us, frames);
        }
    }

    pub(crate) fn first(&self) -> Option<Time> {
        self.first
    }

    pub(crate) fn last(&self) -> Option<Time> {
        self.last
    }

    /// Longest time without a new frame between `from` and `now`.
    pub(crate) fn longest_gap_us(&self, from: Time, now: Time) -> u64 {
        let Some((first, last)) = self.first.zip(self.last) else { return now.since(from) };
        let within = |(end, gap_us): &(Time, u32)| end.since(from.max(first).max(*end - u64::from(*gap_us)));
        let longest = self.gaps.iter().map(within).max().unwrap_or(0);
        let frame_us = if now > first { FRAME_US } else { 0 };
        longest.max(now.since(last.max(from))).max(frame_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Time {
        Time(ms * MS)
    }

    #[test]
    fn gaps_are_found_from_a_moment_on_and_up_to_now() {
        let mut arrivals = Arrivals::default();
        for ms in [100, 130, 160, 1_160, 1_190, 1_390] {
            arrivals.frame(at(ms), at(ms - 20), false);
        }
        assert_eq!(arrivals.longest_gap_us(at(0), at(1_400)), SECOND);
        assert_eq!(arrivals.longest_gap_us(at(660), at(1_400)), 500 * MS);
        assert_eq!(arrivals.longest_gap_us(at(1_200), at(1_400)), 190 * MS);
        assert_eq!(arrivals.longest_gap_us(at(1_200), at(2_390)), SECOND);
        assert_eq!(arrivals.longest_gap_us, SECOND);
    }

    #[test]
    fn frames_are_counted_by_how_late_they_came() {
        let mut arrivals = Arrivals::default();
        arrivals.frame(at(1_000), at(990), false); // captured before it was there
        for late_ms in [50, 599, 700, 1_000, 1_001] {
            arrivals.frame(at(5_000), at(5_000 - late_ms), false);
        }
        assert_eq!((arrivals.within_600ms, arrivals.within_1s), (2, 4));
        arrivals.flowed(at(6_000), 80 * MS, 1_000_000);
        assert_eq!(arrivals.within_600ms, 2 + 30);
        arrivals.resumed(at(6_900), 2 * SECOND); // 27 frames, 18 of them at most 600 ms late
        assert_eq!((arrivals.within_600ms, arrivals.within_1s), (2 + 30 + 18, 4 + 30 + 27));
    }
}
