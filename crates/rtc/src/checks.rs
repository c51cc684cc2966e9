//! Budget of connectivity checks. A description names the addresses to check (`path/candidates.rs`), so a peer that can
//! make this peer answer an offer could make it send datagrams to anybody.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use plenary_proto::Time;
use plenary_proto::bucket::{Bucket, Rate};
use rtc::shared::TaggedBytesMut;

use crate::sync::lock;

/// Checks of all links with strangers that have no path yet.
const STRANGERS: Rate = Rate { per_s: 50, burst: 50 };
/// Checks of all other links that have no path yet. A guess: 63 links of a stage at once, each with a check every 20 ms
/// for the 300 ms that their set-up takes.
const OTHERS: Rate = Rate { per_s: 1_000, burst: 1_000 };

/// Checks that the links of one peer may send before they have a path.
#[derive(Debug)]
pub(crate) struct CheckBudget {
    epoch: Instant,
    strangers: Mutex<Bucket>,
    others: Mutex<Bucket>,
}

impl CheckBudget {
    pub(crate) fn new() -> CheckBudget {
        CheckBudget {
            epoch: Instant::now(),
            strangers: Mutex::new(Bucket::new(STRANGERS, Time(0))),
            others: Mutex::new(Bucket::new(OTHERS, Time(0))),
        }
    }

    /// Takes one check from the budget of strangers, or of the others; returns whether it may be sent.
    pub(crate) fn take(&self, is_stranger: bool, now: Instant) -> bool {
        let since_us = now.saturating_duration_since(self.epoch).as_micros();
        let now = Time(u64::try_from(since_us).unwrap_or(u64::MAX));
        lock(if is_stranger { &self.strangers } else { &self.others }).take(now, 1)
    }
}

/// The share of a link in the budget of checks.
pub(crate) struct Checks {
    budget: Arc<CheckBudget>,
    is_stranger: bool,
    /// Place of the check with the first turn among those that are due together.
    turn: usize,
}

impl Checks {
    pub(crate) fn new(budget: Arc<CheckBudget>, is_stranger: bool) -> Checks {
        Checks { budget, is_stranger, turn: 0 }
    }

    /// Sends as many requests as the budget allows, each of those due together in its turn.
    pub(crate) fn send(
        &mut self,
        now: Instant,
        mut due: Vec<TaggedBytesMut>,
        outgoing: &mut VecDeque<TaggedBytesMut>,
    ) {
        let count = due.len().max(1);
        due.rotate_left(self.turn % count);
        let sent = due.iter().take_while(|_| self.budget.take(self.is_stranger, now)).count();
        self.turn = (self.turn % count + sent) % count;
        outgoing.extend(due.drain(..sent));
    }
}

/// Whether a datagram of the ICE agent is a request (RFC 8489, section 5).
pub(crate) fn is_request(datagram: &[u8]) -> bool {
    datagram.starts_with(&[0, 1])
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn strangers_share_fifty_checks_a_second_and_cost_nobody_else_any() {
        let budget = CheckBudget::new();
        let sent = |is_stranger| {
            let ticks = (0..500).map(|at| budget.epoch + Duration::from_millis(10 * at));
            ticks.map(|now| (0..100).filter(|_| budget.take(is_stranger, now)).count()).sum::<usize>()
        };
        assert!((290..=300).contains(&sent(true)), "fifty at once, and fifty a second for five seconds");
        assert!(budget.take(false, budget.epoch + Duration::from_secs(5)));
    }
}
