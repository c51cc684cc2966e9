//! Rate limit of log entries that strangers can cause: one entry a second, which counts the events since the last one.

use std::time::{Duration, Instant};

/// Minimum interval between entries.
const INTERVAL: Duration = Duration::from_secs(1);

/// Decides when the next entry is due.
#[derive(Debug, Default)]
pub(super) struct Seldom {
    /// Events since the last entry.
    count: u64,
    logged: Option<Instant>,
}

impl Seldom {
    /// Counts an event. Returns the number of events since the last entry, this one included, if an entry is due.
    pub(super) fn due(&mut self, now: Instant) -> Option<u64> {
        self.count += 1;
        if self.logged.is_some_and(|logged| now.saturating_duration_since(logged) < INTERVAL) {
            return None;
        }
        self.logged = Some(now);
        Some(std::mem::take(&mut self.count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_entry_a_second_tells_of_all_events() {
        let start = Instant::now();
        let mut seldom = Seldom::default();
        let entries: Vec<_> =
            (0..=20).filter_map(|tenth| seldom.due(start + tenth * INTERVAL / 10)).collect();
        assert_eq!(entries, [1, 10, 10]);
    }
}
