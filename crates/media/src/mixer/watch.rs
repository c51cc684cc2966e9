//! Watch over the thread that makes pictures: the last resort, when neither a codec's guard nor a panic told that it
//! makes none.

use std::time::Duration;

/// Time without a turn of the picture thread after which a mixer has failed. Longer than it takes to replace two hung
/// codecs one after the other.
pub const STALL_MAX: Duration = Duration::from_secs(2);
/// Maximum time between two looks that counts: a look that comes later says that the machine stalled.
const LOOK_US_MAX: u64 = 100_000;

/// What the last looks saw.
#[derive(Debug, Default)]
pub(super) struct Watch {
    looked_us: Option<u64>,
    turns: u64,
    still_us: u64,
}

impl Watch {
    /// Compares the number of turns so far; returns whether it has stood still for [`STALL_MAX`].
    pub(super) fn stalls(&mut self, now_us: u64, started: bool, turns: u64) -> bool {
        let since_us = self.looked_us.replace(now_us).map_or(0, |before_us| now_us.saturating_sub(before_us));
        let moved = std::mem::replace(&mut self.turns, turns) != turns;
        self.still_us = if moved || !started { 0 } else { self.still_us + since_us.min(LOOK_US_MAX) };
        Duration::from_micros(self.still_us) >= STALL_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_stands_still_is_seen_and_a_machine_that_slept_is_not() {
        let mut watch = Watch::default();
        let mut now_us = 0;
        let mut looks = |watch: &mut Watch, count: u64, apart_us: u64, started: bool, turns_per_look: u64| {
            (0..count)
                .filter(|look| {
                    now_us += apart_us;
                    watch.stalls(now_us, started, look * turns_per_look)
                })
                .count()
        };
        assert_eq!(looks(&mut watch, 400, 25_000, true, 1), 0, "it works");
        assert_eq!(looks(&mut watch, 400, 25_000, false, 0), 0, "a standby makes nothing");
        assert_eq!(looks(&mut watch, 3, 3_600_000_000, true, 0), 0, "the machine slept");
        assert!(looks(&mut watch, 100, 25_000, true, 0) > 0, "it stands still");
    }
}
