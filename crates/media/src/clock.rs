//! The one clock of a process: wall time when it was started, steady from then on.
//!
//! Capture times travel with every frame and are compared on other machines, so they count from 1970; but a
//! wall clock may step, and media must not step with it. So a process starts one `Clock` and passes copies of
//! it to all parts.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Microseconds since 1970, without steps.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: Instant,
    started_us: u64,
}

impl Clock {
    /// Reads the wall clock once.
    pub fn start() -> Clock {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Clock { started: Instant::now(), started_us: since_1970.as_micros() as u64 }
    }

    /// Now, in microseconds since 1970.
    pub fn now_us(&self) -> u64 {
        self.started_us + self.started.elapsed().as_micros() as u64
    }

    /// How long it is until `at_us`; zero when that has passed.
    pub fn until(&self, at_us: u64) -> Duration {
        Duration::from_micros(at_us.saturating_sub(self.now_us()))
    }
}
