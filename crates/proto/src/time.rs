//! The brain's clock: microseconds since a start chosen by the body.

use std::fmt;
use std::ops::{Add, Sub};

/// One millisecond in the unit of [`Time`].
pub const MS: u64 = 1_000;
/// One second in the unit of [`Time`].
pub const SECOND: u64 = 1_000_000;

/// An instant, in microseconds since the body's start; never the wall clock.
///
/// An integer, so that it prints and compares alike on every machine. Durations are plain `u64` microseconds,
/// with names that end in `_us`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub u64);

impl Time {
    /// Returns the microseconds from `earlier` to `self`; 0 when `earlier` is later.
    pub fn since(self, earlier: Time) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Returns the milliseconds since the body's start, rounded down.
    pub fn as_ms(self) -> u64 {
        self.0 / MS
    }
}

impl Add<u64> for Time {
    type Output = Time;
    fn add(self, duration_us: u64) -> Time {
        Time(self.0.saturating_add(duration_us))
    }
}

impl Sub<u64> for Time {
    type Output = Time;
    fn sub(self, duration_us: u64) -> Time {
        Time(self.0.saturating_sub(duration_us))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}s", self.0 / SECOND, self.0 % SECOND)
    }
}
