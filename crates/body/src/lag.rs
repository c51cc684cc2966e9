//! Lag of this machine: how late its own timers fire.
//!
//! A machine that is short of CPU handles arrivals late, and would take its own lateness for the silence of other
//! peers. So failure detectors count only the time in which the machine was on time, as the local health of Lifeguard
//! (Dadgar, Phillips, Currey, 2018) multiplies SWIM's timeouts.

/// Interval at which [`Body::tick`](crate::Body::tick) is to be called, in microseconds.
pub(crate) const TICK_US: u64 = 25_000;
/// Excess over the interval up to which a tick is on time. A guess: timers of 1 ms, and a time slice of the system.
const ON_TIME_US: u64 = 10_000;
/// Span over which the longest excess is kept: the present span and the previous one. A guess.
const SPAN_US: u64 = 1_000_000;

/// Consecutive checks, one each second, with a late tick after which this machine is short of processor time, and
/// without one after which it no longer is. The first: one late tick counts for two checks. The second is a guess: a
/// machine that takes no more children may be on time for that reason.
const BUSY_LOOKS: u32 = 3;
const IDLE_LOOKS: u32 = 5;

/// Measures the lag of this machine by the body's ticks.
#[derive(Debug, Default)]
pub(crate) struct Lag {
    ticked_us: Option<u64>,
    /// Time lost so far: sum of the excesses of late ticks above [`ON_TIME_US`].
    lost_us: u64,
    /// Start of the present span.
    span_us: u64,
    /// Longest excess of the present span, and of the one before.
    longest_us: [u64; 2],
}

impl Lag {
    /// Records a tick.
    pub(crate) fn tick(&mut self, now_us: u64) {
        let due_us = self.ticked_us.replace(now_us).map_or(now_us, |ticked_us| ticked_us + TICK_US);
        let excess_us = now_us.saturating_sub(due_us);
        if now_us.saturating_sub(self.span_us) >= SPAN_US {
            self.span_us = now_us;
            self.longest_us = [0, self.longest_us[0]];
        }
        if excess_us > ON_TIME_US {
            self.lost_us += excess_us - ON_TIME_US;
            self.longest_us[0] = self.longest_us[0].max(excess_us);
        }
    }

    /// Returns the time that this machine has lost, in microseconds, the delay of a tick that is overdue included.
    pub(crate) fn lost_us(&self, now_us: u64) -> u64 {
        let due_us = self.ticked_us.map_or(now_us, |ticked_us| ticked_us + TICK_US + ON_TIME_US);
        self.lost_us + now_us.saturating_sub(due_us)
    }

    /// Returns the longest lateness of a tick within the last one to two seconds, in microseconds; 0 if all were on
    /// time.
    pub(crate) fn late_us(&self) -> u64 {
        self.longest_us[0].max(self.longest_us[1])
    }
}

/// Whether this machine is short of processor time.
#[derive(Debug, Default)]
pub(crate) struct Load {
    is_busy: bool,
    /// Number of consecutive checks that say otherwise.
    looks: u32,
}

impl Load {
    /// Counts a check. Returns the new state if it changes.
    pub(crate) fn observe(&mut self, is_late: bool) -> Option<bool> {
        self.looks = if is_late == self.is_busy { 0 } else { self.looks + 1 };
        if self.looks < if self.is_busy { IDLE_LOOKS } else { BUSY_LOOKS } {
            return None;
        }
        (self.is_busy, self.looks) = (is_late, 0);
        Some(is_late)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_within_a_time_slice_of_their_interval_are_on_time() {
        let mut lag = Lag::default();
        (0..400).for_each(|tick| lag.tick(1_000_000 + tick * TICK_US + tick % 3 * 3_000));
        assert_eq!((lag.lost_us(1_000_000 + 400 * TICK_US), lag.late_us()), (0, 0));
    }

    #[test]
    fn a_stall_is_lost_time_and_is_forgotten_after_two_seconds() {
        let mut lag = Lag::default();
        lag.tick(0);
        assert_eq!(lag.lost_us(325_000), 290_000, "the tick is overdue");
        lag.tick(325_000);
        assert_eq!((lag.lost_us(325_000), lag.late_us()), (290_000, 300_000));
        let mut now_us = 325_000;
        for _ in 0..39 {
            now_us += TICK_US;
            lag.tick(now_us);
        }
        assert_eq!(lag.late_us(), 300_000, "within the second");
        for _ in 0..80 {
            now_us += TICK_US;
            lag.tick(now_us);
        }
        assert_eq!((lag.lost_us(now_us), lag.late_us()), (290_000, 0));
    }

    #[test]
    fn a_machine_is_busy_after_three_late_checks_in_a_row_and_idle_after_five_on_time() {
        let mut load = Load::default();
        let mut observe =
            |late: &[bool]| late.iter().filter_map(|late| load.observe(*late)).collect::<Vec<_>>();
        assert_eq!(observe(&[true, true, false, true, true, false]), [false; 0]);
        assert_eq!(observe(&[true, true, true, true]), [true]);
        assert_eq!(observe(&[false, false, false, false, true, false, false, false, false]), [false; 0]);
        assert_eq!(observe(&[false, false]), [false]);
    }
}
