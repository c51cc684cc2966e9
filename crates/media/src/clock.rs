//! Process clock: wall time when the process started, monotonic from then on, also while the machine sleeps.
//!
//! Capture times travel with every frame and are compared on other machines, so they count from 1970. A wall
//! clock may step, and media must not step with it; so a process starts one `Clock` and passes copies of it
//! to all its parts. What depends on the wall clock itself goes by that of the rendezvous.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Monotonic clock in microseconds since 1970.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// Reading of the system's clock.
    started: Duration,
    started_us: u64,
    /// Rate offset from the system's clock, in parts per million; positive is faster.
    drift_ppm: i32,
}

/// Parts per million in one.
const MILLION: u128 = 1_000_000;
/// Largest rate offset in either direction: 10 %.
const DRIFT_PPM_MAX: i32 = 100_000;

impl Clock {
    /// Starts a clock from one reading of the wall clock.
    pub fn start() -> Clock {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Clock { started: awake_or_asleep(), started_us: since_1970.as_micros() as u64, drift_ppm: 0 }
    }

    /// Returns the same clock with a rate offset in parts per million, limited to ±10 %, to simulate clock
    /// drift. The clocks of two sound cards differ by up to 200 ppm.
    pub fn drifting(self, ppm: i32) -> Clock {
        Clock { drift_ppm: ppm.clamp(-DRIFT_PPM_MAX, DRIFT_PPM_MAX), ..self }
    }

    /// Current time in microseconds since 1970.
    pub fn now_us(&self) -> u64 {
        self.started_us
            + (awake_or_asleep().saturating_sub(self.started).as_micros() * self.speed() / MILLION) as u64
    }

    /// Time left until `at_us`; zero when `at_us` has passed.
    pub fn until(&self, at_us: u64) -> Duration {
        let left_us = u128::from(at_us.saturating_sub(self.now_us()));
        Duration::from_micros((left_us * MILLION).div_ceil(self.speed()) as u64)
    }

    /// Microseconds of this clock per second of the system's clock.
    fn speed(&self) -> u128 {
        MILLION.saturating_add_signed(self.drift_ppm.into())
    }
}

/// Reads the system's clock that never steps and counts the time asleep. `Instant` leaves it out on Linux and Apple's
/// systems, so that a peer that has slept would date everything late.
#[cfg(unix)]
fn awake_or_asleep() -> Duration {
    use nix::time::{ClockId, clock_gettime};
    // on Apple's systems and the BSDs CLOCK_MONOTONIC itself goes on, and Instant reads another clock
    #[cfg(any(target_os = "linux", target_os = "android"))]
    const CLOCK: ClockId = ClockId::CLOCK_BOOTTIME;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    const CLOCK: ClockId = ClockId::CLOCK_MONOTONIC;
    // the clock exists on every system that is named here
    clock_gettime(CLOCK).map(Duration::from).unwrap_or_default()
}

/// Reads the system's clock that never steps. On Windows it counts the time asleep.
#[cfg(not(unix))]
fn awake_or_asleep() -> Duration {
    use std::sync::OnceLock;
    use std::time::Instant;
    static FIRST: OnceLock<Instant> = OnceLock::new();
    FIRST.get_or_init(Instant::now).elapsed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drifting_clock_goes_on_from_the_same_moment_at_its_own_speed() {
        let started = awake_or_asleep().checked_sub(Duration::from_secs(50)).unwrap();
        let clock = Clock { started, started_us: 5_000_000, drift_ppm: 0 };
        let [slow, right, fast] = [-200, 0, 200].map(|ppm| clock.drifting(ppm).now_us());
        let ahead = |now_us: u64, of_us: u64| now_us.cast_signed() - of_us.cast_signed();
        assert!(ahead(right, 55_000_000) >= 0);
        assert!(ahead(fast, right) >= 10_000 && ahead(right, slow) >= 10_000);
        let (at_us, fast) = (fast + 10_000_000_000, clock.drifting(100_000));
        let real_us = (at_us - fast.now_us()) * 10 / 11;
        assert!(fast.until(at_us).as_micros() as u64 <= real_us + 1);
        assert_eq!(fast.until(0), Duration::ZERO);
    }
}
