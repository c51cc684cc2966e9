//! Backoff between connection attempts: exponential with full jitter, so that the peers of a restarted
//! rendezvous don't all reconnect at once (M. Brooker, "Exponential Backoff And Jitter", AWS 2015).

use std::time::Duration;

use plenary_proto::rendezvous::{BACKOFF_ON_STAGE_US_MAX, BACKOFF_US};

/// Counts consecutive failures and derives the wait.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Counts one more failure and returns the wait; `random` is uniform over all of `u32`. An urgent one is that of a
    /// host or a peer on stage.
    pub(super) fn wait(&mut self, random: u32, is_urgent: bool) -> Duration {
        let wait_us_max = if is_urgent { BACKOFF_ON_STAGE_US_MAX } else { BACKOFF_US[1] };
        let bound = Duration::from_micros((BACKOFF_US[0] << self.failures.min(16)).min(wait_us_max));
        self.failures = self.failures.saturating_add(1);
        bound.mul_f64(f64::from(random) / f64::from(u32::MAX))
    }

    /// Forgets the failures.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_any_shorter_one_may_be_drawn() {
        for (is_urgent, expected) in [
            (false, [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]),
            (true, [100, 200, 400, 800, 1600, 2000, 2000, 2000, 2000]),
        ] {
            let mut backoff = Backoff::default();
            let longest: Vec<_> = (0..9).map(|_| backoff.wait(u32::MAX, is_urgent).as_millis()).collect();
            assert_eq!(longest, expected);
            assert_eq!(backoff.wait(0, is_urgent), Duration::ZERO);
            let half = backoff.wait(u32::MAX / 2, is_urgent);
            assert!((2 * half).as_millis().abs_diff(expected[8]) <= 1, "{half:?}");
            backoff.reset();
            assert_eq!(backoff.wait(u32::MAX, is_urgent).as_millis(), 100);
            backoff.failures = u32::MAX;
            assert_eq!(backoff.wait(u32::MAX, is_urgent).as_millis(), expected[8]);
        }
    }
}
