//! Clock mapping: converts a sender's capture times to the local clock.
//!
//! The offset between the two clocks is either measured by the caller (ping and pong on a link), or estimated
//! as the least difference between arrival and capture in the last [`WINDOW_S`] seconds, as if the fastest
//! packet had no transit time. The window also follows clock drift, 1 ms in 10 s at 100 ppm.
//!
//! A measured offset is clamped: no frame arrives before its capture, and the fastest frame is in transit for
//! [`TRANSIT_US_MAX`] at most. A wrong or lying clock therefore shifts only the sender's own sound and
//! picture, both together, and delays no other speaker.

use std::collections::VecDeque;

/// Upper bound on the one-way delay of the fastest frames, in microseconds. A guess: the longest paths on
/// Earth take about 150 ms one way (ITU-T G.114 calls longer delays unsuitable for conversation).
pub const TRANSIT_US_MAX: i64 = 150_000;
/// Window of the least difference, in seconds. A guess.
const WINDOW_S: u64 = 10;

/// Least value of the last few seconds. It keeps one value for each second.
#[derive(Clone, Debug)]
pub struct RecentLeast {
    span_s: u64,
    /// Each second with its least value, oldest first.
    seconds: VecDeque<(u64, i64)>,
}

impl RecentLeast {
    /// Creates an empty one. It keeps values of the present second and of the `span_s` − 1 seconds before.
    pub fn of_seconds(span_s: u64) -> RecentLeast {
        RecentLeast { span_s, seconds: VecDeque::new() }
    }

    /// Adds a value.
    pub fn observe(&mut self, now_us: u64, value: i64) {
        let second = now_us / 1_000_000;
        match self.seconds.back_mut() {
            Some((newest, least)) if second <= *newest => *least = value.min(*least),
            _ => self.seconds.push_back((second, value)),
        }
        self.forget_old(now_us);
    }

    /// Drops values that are too old by now.
    pub fn forget_old(&mut self, now_us: u64) {
        let second = now_us / 1_000_000;
        while self.seconds.pop_front_if(|(oldest, _)| *oldest + self.span_s <= second).is_some() {}
    }

    /// Returns the least of the values kept; `None` without any.
    pub fn least(&self) -> Option<i64> {
        self.seconds.iter().map(|&(_, least)| least).min()
    }
}

/// Maps one sender's capture times to the local clock.
#[derive(Debug)]
pub struct ClockMap {
    /// Least arrival − capture.
    least_us: RecentLeast,
    offset_us: Option<i64>,
}

impl Default for ClockMap {
    fn default() -> ClockMap {
        ClockMap { least_us: RecentLeast::of_seconds(WINDOW_S), offset_us: None }
    }
}

impl ClockMap {
    /// Creates an empty map; until the first frame, capture times map to themselves.
    pub fn new() -> ClockMap {
        ClockMap::default()
    }

    /// Observes a frame of this sender, video or sound.
    pub fn observe(&mut self, captured_us: u64, arrived_us: u64) {
        let difference_us = arrived_us.wrapping_sub(captured_us).cast_signed();
        self.least_us.observe(arrived_us, difference_us);
    }

    /// Sets the measured offset from the sender's clock to the local clock, in microseconds; `None` when it
    /// isn't measured.
    pub fn set_offset_us(&mut self, offset_us: Option<i64>) {
        self.offset_us = offset_us;
    }

    /// Converts a capture time to the local clock.
    pub fn to_local(&self, captured_us: u64) -> u64 {
        let offset_us = match (self.least_us.least(), self.offset_us) {
            (Some(least), Some(offset)) => {
                least.saturating_sub(least.saturating_sub(offset).clamp(0, TRANSIT_US_MAX))
            }
            (least, offset) => least.or(offset).unwrap_or(0),
        };
        captured_us.saturating_add_signed(offset_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCAL_US: u64 = 1_000_000_000;
    /// Lag of the sender's clock behind the local clock.
    const BEHIND_US: u64 = 700_000_000;

    #[test]
    fn a_measured_offset_is_used_and_bounded() {
        // the fastest frame took 30 ms; the measured offset, and the transit time left after mapping
        let rows = [
            (None, 30_000),
            (Some(BEHIND_US as i64), 0),
            (Some(BEHIND_US as i64 + 10_000), 10_000),
            (Some(BEHIND_US as i64 + 50_000), 30_000), // no frame arrives before its capture
            (Some(i64::MAX), 30_000),
            (Some(i64::MIN), 30_000 - TRANSIT_US_MAX), // no frame takes longer than the bound
            (Some(0), 30_000 - TRANSIT_US_MAX),
        ];
        for (offset_us, expected) in rows {
            let mut map = ClockMap::new();
            map.set_offset_us(offset_us);
            for (frame, delay_us) in [40_000, 30_000, 90_000].into_iter().enumerate() {
                let captured_us = LOCAL_US + frame as u64 * 20_000;
                map.observe(captured_us - BEHIND_US, captured_us + delay_us);
            }
            let mapped = map.to_local(LOCAL_US - BEHIND_US) as i64;
            assert_eq!(mapped - LOCAL_US as i64, expected, "{offset_us:?}");
        }
    }

    #[test]
    fn drift_is_followed() {
        let mut map = ClockMap::new();
        let drifted = |elapsed_us: u64| elapsed_us + elapsed_us / 5_000; // 200 ppm fast
        for frame in 0..50 * 600 {
            let elapsed_us = frame * 20_000;
            map.observe(drifted(elapsed_us), LOCAL_US + elapsed_us);
            let error_us = map.to_local(drifted(elapsed_us)).abs_diff(LOCAL_US + elapsed_us);
            assert!(error_us <= 10 * 200, "{error_us} after {elapsed_us}");
            assert!(map.least_us.seconds.len() <= WINDOW_S as usize);
        }
    }

    #[test]
    fn absurd_times_break_nothing() {
        let mut map = ClockMap::new();
        for captured_us in [0, u64::MAX, 1 << 63, 1] {
            for arrived_us in [0, LOCAL_US, u64::MAX] {
                map.observe(captured_us, arrived_us);
                map.set_offset_us(Some(i64::MIN));
                map.to_local(captured_us);
            }
        }
    }
}
