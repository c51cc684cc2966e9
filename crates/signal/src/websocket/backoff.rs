//! Backoff between connection attempts: exponential with full jitter, so that the peers of a restarted
//! rendezvous don't all reconnect at once (M. Brooker, "Exponential Backoff And Jitter", AWS 2015).

use std::time::Duration;

/// Maximum wait after the first failure.
const BACKOFF_MIN: Duration = Duration::from_millis(100);
/// Maximum wait after any failure.
const BACKOFF_MAX: Duration = Duration::from_secs(10);

/// Counts consecutive failures and derives the wait.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Counts one more failure and returns the wait; `random` is uniform over all of `u32`.
    pub(super) fn wait(&mut self, random: u32) -> Duration {
        let bound = BACKOFF_MIN.saturating_mul(1 << self.failures.min(16)).min(BACKOFF_MAX);
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
        let mut backoff = Backoff::default();
        let longest: Vec<_> = (0..9).map(|_| backoff.wait(u32::MAX).as_millis()).collect();
        assert_eq!(longest, [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
        assert_eq!(backoff.wait(0), Duration::ZERO);
        assert_eq!(backoff.wait(u32::MAX / 2).as_secs(), 4);
        backoff.reset();
        assert_eq!(backoff.wait(u32::MAX), BACKOFF_MIN);
        backoff.failures = u32::MAX;
        assert_eq!(backoff.wait(u32::MAX), BACKOFF_MAX);
    }
}
