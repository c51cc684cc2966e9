//! Lag of this machine: how late its own timers fire.
//!
//! A machine that is short of CPU handles arrivals late, and would take its own lateness for the silence of other
//! peers. So failure detectors count only the time in which the machine was on time, as the local health of Lifeguard
//! (Dadgar, Phillips, Currey, 2018) multiplies SWIM's timeouts.

use plenary_proto::app::Shedding;

/// Interval at which [`Body::tick`](crate::Body::tick) is to be called, in microseconds.
pub(crate) const TICK_US: u64 = 25_000;
/// Excess over the interval up to which a tick is on time. A guess: timers of 1 ms, and a time slice of the system.
const ON_TIME_US: u64 = 10_000;
/// Span over which the longest excess is kept: the present span and the previous one. A guess.
const SPAN_US: u64 = 1_000_000;

/// Lateness of the longest tick from which a machine is short of processor time, microseconds; its own degradations are
/// not reported. Each further step of load shedding begins at twice the lateness of the one before. A guess: a third of
/// a freeze (`FREEZE_US`).
pub(crate) const LATE_US: u64 = 100_000;
/// Consecutive checks, one each second, after which the next step of load shedding begins, and after which a step ends.
/// The first: one late tick counts for two checks. The second is a guess: a machine that sheds load may be on time for
/// that reason.
const WORSE_LOOKS: u32 = 3;
const BETTER_LOOKS: u32 = 5;

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

/// Which load this peer sheds, by the lateness of its machine.
#[derive(Debug, Default)]
pub(crate) struct Load {
    shedding: Shedding,
    /// Number of consecutive checks that were worse than the present step, or better.
    worse: u32,
    better: u32,
    /// Highest step that one of the better checks called for.
    highest: Shedding,
}

impl Load {
    /// Returns the load that this peer sheds.
    pub(crate) fn shedding(&self) -> Shedding {
        self.shedding
    }

    /// Counts a check. Returns the new step after a change. A change upwards is one step; downwards it may be several.
    pub(crate) fn observe(&mut self, late_us: u64) -> Option<Shedding> {
        let called_for = step_at(late_us);
        self.worse = if called_for > self.shedding { self.worse + 1 } else { 0 };
        self.better = if called_for < self.shedding { self.better + 1 } else { 0 };
        self.highest = if self.better > 1 { self.highest.max(called_for) } else { called_for };
        self.shedding = if self.worse == WORSE_LOOKS {
            step_after(self.shedding)
        } else if self.better == BETTER_LOOKS {
            self.highest
        } else {
            return None;
        };
        (self.worse, self.better) = (0, 0);
        Some(self.shedding)
    }
}

/// Returns the step that a lateness calls for.
fn step_at(late_us: u64) -> Shedding {
    match late_us / LATE_US {
        0 => Shedding::Nothing,
        1 => Shedding::Children,
        2..4 => Shedding::HalfThePictures,
        _ => Shedding::Decoding,
    }
}

fn step_after(step: Shedding) -> Shedding {
    match step {
        Shedding::Nothing => Shedding::Children,
        Shedding::Children => Shedding::HalfThePictures,
        _ => Shedding::Decoding,
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

    /// The steps that checks of these latenesses, in milliseconds, lead to.
    fn steps(load: &mut Load, late_ms: &[u64]) -> Vec<Shedding> {
        late_ms.iter().filter_map(|late_ms| load.observe(late_ms * 1_000)).collect()
    }

    #[test]
    fn load_is_shed_after_three_late_checks_in_a_row() {
        let mut load = Load::default();
        assert_eq!(steps(&mut load, &[100, 150, 99, 100, 150, 0]), []);
        assert_eq!(steps(&mut load, &[150; 20]), [Shedding::Children]);
        assert_eq!(steps(&mut load, &[0, 0, 0, 0, 100, 0, 0, 0, 0]), []);
        assert_eq!(steps(&mut load, &[0; 20]), [Shedding::Nothing]);
    }

    #[test]
    fn each_further_step_takes_twice_the_lateness_and_three_more_checks() {
        let mut load = Load::default();
        assert_eq!(steps(&mut load, &[900; 3]), [Shedding::Children]);
        assert_eq!(steps(&mut load, &[399; 20]), [Shedding::HalfThePictures]);
        assert_eq!(steps(&mut load, &[400, 800, 900, 2_000]), [Shedding::Decoding]);
        assert_eq!(steps(&mut load, &[0, 0, 0, 200, 100]), [Shedding::HalfThePictures]);
        assert_eq!(steps(&mut load, &[0; 5]), [Shedding::Nothing]);
    }
}
