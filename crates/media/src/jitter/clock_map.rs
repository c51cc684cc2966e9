//! From a maker's clock to ours.
//!
//! The two differ by an offset that is measured from outside (the ping and pong of a link), or else taken to be
//! the least difference between arrival and capture in the last [`WINDOW_S`] seconds, as if the quickest packet
//! had taken no time. That window also follows the drift of the clocks, 1 ms in 10 s at 100 ppm.
//!
//! A measured offset is believed within bounds: no frame arrives before its capture, and none of the quickest
//! takes longer than [`TRANSIT_US_MAX`]. So a wrong or lying clock makes a speaker's own sound and picture
//! early or late, together, and holds nobody else up.

use std::collections::VecDeque;

/// The quickest frames are taken to be on the way for this long at most. A guess: the longest paths on Earth
/// have some 150 ms one way (ITU-T G.114 calls more than that unsuitable for talk).
pub const TRANSIT_US_MAX: i64 = 150_000;
/// Seconds over which the least difference is taken. A guess.
const WINDOW_S: u64 = 10;

/// Maps one maker's capture times to the local clock.
#[derive(Debug, Default)]
pub struct ClockMap {
    /// The least arrival − capture of each local second, at most [`WINDOW_S`] of them.
    least_us: VecDeque<(u64, i64)>,
    offset_us: Option<i64>,
}

impl ClockMap {
    /// Knows nothing: until the first frame, capture times map to themselves.
    pub fn new() -> ClockMap {
        ClockMap::default()
    }

    /// Learns from a frame of this maker, whatever its kind.
    pub fn observe(&mut self, captured_us: u64, arrived_us: u64) {
        let difference_us = arrived_us.wrapping_sub(captured_us).cast_signed();
        let second = arrived_us / 1_000_000;
        match self.least_us.back_mut() {
            Some((newest, least)) if second <= *newest => *least = difference_us.min(*least),
            _ => self.least_us.push_back((second, difference_us)),
        }
        while self.least_us.front().is_some_and(|&(oldest, _)| oldest + WINDOW_S <= second) {
            self.least_us.pop_front();
        }
    }

    /// Sets what to add to the maker's time to get ours, as measured; `None` when nobody measures.
    pub fn set_offset_us(&mut self, offset_us: Option<i64>) {
        self.offset_us = offset_us;
    }

    /// The local time of a capture.
    pub fn to_local(&self, captured_us: u64) -> u64 {
        let least = self.least_us.iter().map(|&(_, least)| least).min();
        let offset_us = match (least, self.offset_us) {
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
    /// The maker's clock is this much behind ours.
    const BEHIND_US: u64 = 700_000_000;

    #[test]
    fn a_measured_offset_is_used_and_bounded() {
        // the quickest frame took 30 ms; what is measured, and what a capture then maps to
        let rows = [
            (None, 30_000),
            (Some(BEHIND_US as i64), 0),
            (Some(BEHIND_US as i64 + 10_000), 10_000),
            (Some(BEHIND_US as i64 + 50_000), 30_000), // nothing arrives before its capture
            (Some(i64::MAX), 30_000),
            (Some(i64::MIN), 30_000 - TRANSIT_US_MAX), // nor takes forever
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
            assert!(map.least_us.len() <= WINDOW_S as usize);
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
