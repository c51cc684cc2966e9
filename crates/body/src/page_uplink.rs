//! How many children a page's line up carries. No peer measures it, since a page sends no trains (PROTOCOL 12.10): the page
//! sees its queue, in the answers to its pings and in what its browser says of its own.
//!
//! A line that is full while it feeds children carries fewer than these for a while.

use std::collections::VecDeque;

/// Queue from which a line is full, and up to which it is free, in microseconds: those of [`crate::rate`].
const FULL_US: u64 = 100_000;
const FREE_US: u64 = 40_000;
/// Number of checks, one a second, that prove a line full, or in a row free: a single one may show another load on the line.
/// Checks that find it full count up to the proof that it is free, since the first children of a narrow line leave within a
/// second.
const LOOKS: u32 = 2;
/// Number of checks, the present one included, in which children that have left meanwhile count: a queue of a second drains,
/// and shows in answers that come after it.
const FED_LOOKS: usize = 3;
/// Time for which a line that was full carries fewer children, in microseconds: as long as a measured figure counts (`OLD_US`).
/// After 30 s, the pictures that newcomers are sent at once filled it again: with 83 pages for each native relay 52 % of the
/// viewers never waited for 500 ms, and 68 % with this time (simulated, one run).
const AGAIN_US: u64 = 600_000_000;

/// What a page has seen of its line up.
#[derive(Debug, Default)]
pub(crate) struct PageUplink {
    /// Number of children that it carries; `None` without a limit.
    carries: Option<u8>,
    /// Largest number of children at a time in each of the last checks, the newest last.
    fed: VecDeque<usize>,
    /// Number of checks that found it full since it was last free, and number of consecutive checks that found it free.
    full: u32,
    free: u32,
    /// When it is tried anew.
    again_us: Option<u64>,
}

impl PageUplink {
    /// Returns the number of children that the line carries; `None` without a limit.
    pub(crate) fn carries(&self) -> Option<u8> {
        self.carries
    }

    /// Checks the line: `fed` children at a time were fed since the last check, and packets wait for `queue_us` in it, if that
    /// showed. To be called once a second.
    pub(crate) fn observe(&mut self, now_us: u64, fed: usize, queue_us: Option<u64>) {
        if self.again_us.take_if(|at_us| *at_us <= now_us).is_some() {
            self.carries = None;
        }
        if self.fed.len() >= FED_LOOKS {
            self.fed.pop_front();
        }
        self.fed.push_back(fed);
        let lately = self.fed.iter().copied().max().unwrap_or_default();
        let Some(queue_us) = queue_us.filter(|_| lately > 0) else { return };
        self.full += u32::from(queue_us >= FULL_US);
        self.free = if queue_us <= FREE_US && fed > 0 { self.free + 1 } else { 0 };
        if self.full >= LOOKS {
            let fewer = u8::try_from(lately - 1).unwrap_or(u8::MAX);
            self.carries = Some(self.carries.map_or(fewer, |known| known.min(fewer)));
            self.full = 0;
            self.fed.clear(); // those that are left count anew
            self.again_us = Some(now_us.saturating_add(AGAIN_US));
        } else if self.free >= LOOKS {
            self.full = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks the line once a second, each time with these children and this queue, and returns what it carries then.
    fn look(line: &mut PageUplink, from_s: u64, seen: &[(usize, Option<u64>)]) -> Option<u8> {
        for (at_s, (fed, queue_us)) in (from_s..).zip(seen) {
            line.observe(at_s * 1_000_000, *fed, *queue_us);
        }
        line.carries()
    }

    #[test]
    fn other_loads_on_a_line_that_is_free_between_them_limit_nothing() {
        let mut line = PageUplink::default();
        let other_loads = [(3, Some(150_000)), (3, Some(0)), (3, Some(0)), (3, Some(150_000))];
        assert_eq!(look(&mut line, 0, &other_loads), None);
    }

    #[test]
    fn a_full_line_carries_fewer_children_than_it_fed_until_it_is_tried_anew() {
        let mut line = PageUplink::default();
        assert_eq!(look(&mut line, 0, &[(3, Some(200_000)), (3, None), (3, Some(200_000))]), Some(2));
        assert_eq!(look(&mut line, 3, &[(2, Some(200_000)), (2, Some(200_000))]), Some(1));
        assert_eq!(look(&mut line, 5, &[(1, Some(0)); 599]), Some(1));
        assert_eq!(look(&mut line, 604, &[(1, Some(0))]), None);
    }

    #[test]
    fn a_line_that_carries_no_child_is_seen_even_if_its_children_leave_at_once() {
        let mut line = PageUplink::default();
        let left =
            [(1, Some(30_000)), (0, Some(600_000)), (0, None), (0, None), (1, Some(0)), (1, Some(300_000))];
        assert_eq!(look(&mut line, 0, &left), Some(0));
        assert_eq!(look(&mut line, 6, &[(0, Some(0)); 599]), Some(0));
        assert_eq!(look(&mut line, 605, &[(0, Some(0))]), None);
    }

    #[test]
    fn a_queue_while_no_child_is_fed_limits_nothing() {
        let mut line = PageUplink::default();
        assert_eq!(look(&mut line, 0, &[(0, Some(500_000)); 30]), None);
    }
}
