//! How many children a page's line up carries. No peer measures it, since a page sends no trains (PROTOCOL 12.10): the
//! page sees its queue, in the answers to its pings and in what its browser says of its own.
//!
//! A line that is full while it feeds children carries fewer than these for a while. What waits in the browser for one
//! child may be due to the child's line, so it counts only when it waits for several.

use std::collections::VecDeque;

use plenary_proto::PeerId;
use plenary_proto::ordered::{OrderedMap, OrderedSet};

/// Queue from which a line is full, and up to which it is free, in microseconds: those of [`crate::rate`].
const FULL_US: u64 = 100_000;
const FREE_US: u64 = 40_000;
/// Number of checks, one a second, that prove a line full, or in a row free: a single one may show another load on the
/// line. Checks that find it full count up to the proof that it is free, since the first children of a narrow line
/// leave within a second.
const LOOKS: u32 = 2;
/// Number of checks for which a child has been fed before what waits in the browser for it says much of the line.
/// Browsers begin with a low estimate: for a line without a limit packets of a program of 1.5 Mbit/s waited 0.3 to 1.2
/// s in the first four seconds.
pub(crate) const SETTLED_LOOKS: u32 = 10;
/// Number of children for which packets must wait in the browser before its queue is the line's.
const SLOW_MIN: usize = 2;
/// Number of checks, the present one included, in which children that have left meanwhile count: a queue of a second
/// drains, and shows in answers that come after it.
const FED_LOOKS: usize = 3;
/// Time for which a line that was full carries fewer children, in microseconds: as long as a measured figure counts
/// (`OLD_US`). After 30 s, the pictures that newcomers are sent at once filled it again: with 83 pages for each native
/// relay 52 % of the viewers never waited for 500 ms, and 68 % with this time (simulated, one run).
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
    /// Number of checks for which each child has been fed.
    looks: OrderedMap<PeerId, u32>,
    /// Children, the present ones and earlier ones, for which packets have waited since none waited for one of them.
    slow: OrderedSet<PeerId>,
    /// When it is tried anew.
    again_us: Option<u64>,
}

impl PageUplink {
    /// Returns the number of children that the line carries; `None` without a limit.
    pub(crate) fn carries(&self) -> Option<u8> {
        self.carries
    }

    /// Checks the line: `fed` children at a time were fed since the last check, packets wait for `in_line_us` in it, if
    /// that showed, and before it in the browser as long as `in_browser_us` says for each child. To be called once a
    /// second.
    pub(crate) fn observe(
        &mut self,
        now_us: u64,
        fed: usize,
        in_line_us: Option<u64>,
        in_browser_us: &OrderedMap<PeerId, u64>,
    ) {
        let queue_us = in_line_us.max(self.before_the_line(in_browser_us));
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
            self.slow.clear();
            self.fed.clear(); // those that are left count anew
            self.again_us = Some(now_us.saturating_add(AGAIN_US));
        } else if self.free >= LOOKS {
            self.full = 0;
        }
    }

    /// Returns how long packets wait in the browser for the line; `None` if that isn't known.
    fn before_the_line(&mut self, in_browser_us: &OrderedMap<PeerId, u64>) -> Option<u64> {
        self.looks.retain(|peer, _| in_browser_us.contains_key(peer));
        let mut least_us = None;
        for (peer, wait_us) in in_browser_us {
            let looks = self.looks.entry(*peer).or_default();
            *looks += 1;
            if *looks < SETTLED_LOOKS && *wait_us > FREE_US {
                continue;
            }
            if *wait_us >= FULL_US {
                self.slow.insert(*peer);
            }
            least_us = Some(least_us.map_or(*wait_us, |least_us: u64| least_us.min(*wait_us)));
        }
        if least_us.is_some_and(|wait_us| wait_us <= FREE_US) {
            self.slow.clear();
        }
        least_us.filter(|wait_us| *wait_us <= FREE_US || self.slow.len() >= SLOW_MIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks the line once a second, each time with these children and this queue, and returns what it carries then.
    fn look(line: &mut PageUplink, from_s: u64, seen: &[(usize, Option<u64>)]) -> Option<u8> {
        for (at_s, (fed, queue_us)) in (from_s..).zip(seen) {
            line.observe(at_s * 1_000_000, *fed, *queue_us, &OrderedMap::new());
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
    fn a_line_that_carries_no_child_is_seen_even_if_its_children_leave() {
        let mut line = PageUplink::default();
        let left =
            [(1, Some(30_000)), (0, Some(600_000)), (0, None), (0, None), (1, Some(0)), (1, Some(300_000))];
        assert_eq!(look(&mut line, 0, &left), Some(0));
        assert_eq!(look(&mut line, 6, &[(0, Some(0)); 599]), Some(0));
        assert_eq!(look(&mut line, 605, &[(0, Some(0))]), None);
    }

    /// Checks the line once a second for so long, while packets of these children wait in the browser.
    fn wait(line: &mut PageUplink, from_s: u64, seconds: u64, children: &[(u8, u64)]) -> Option<u8> {
        let in_browser_us =
            children.iter().map(|(child, wait_us)| (PeerId([*child; 32]), *wait_us)).collect();
        for at_s in from_s..from_s + seconds {
            line.observe(at_s * 1_000_000, children.len(), Some(0), &in_browser_us);
        }
        line.carries()
    }

    #[test]
    fn one_child_on_a_narrow_line_limits_nothing() {
        let mut line = PageUplink::default();
        assert_eq!(wait(&mut line, 0, 60, &[(1, 900_000)]), None);
        assert_eq!(wait(&mut line, 60, 60, &[(1, 900_000), (2, 0)]), None, "the other's packets don't wait");
        assert_eq!(wait(&mut line, 120, 60, &[(3, 900_000)]), None, "they didn't");
    }

    #[test]
    fn a_browser_that_begins_slowly_limits_nothing() {
        let mut line = PageUplink::default();
        let seconds = u64::from(SETTLED_LOOKS) - 1;
        assert_eq!(wait(&mut line, 0, seconds, &[(1, 900_000), (2, 900_000)]), None);
        assert_eq!(wait(&mut line, seconds, 60, &[(1, 0), (2, 0)]), None);
    }

    #[test]
    fn a_line_on_which_packets_of_all_children_wait_is_full() {
        let mut line = PageUplink::default();
        assert_eq!(wait(&mut line, 0, 20, &[(1, 300_000), (2, 900_000)]), Some(1));
        let mut line = PageUplink::default();
        assert_eq!(wait(&mut line, 0, 20, &[(1, 300_000)]), None);
        assert_eq!(wait(&mut line, 20, 20, &[(2, 300_000)]), Some(0));
    }

    #[test]
    fn a_queue_while_no_child_is_fed_limits_nothing() {
        let mut line = PageUplink::default();
        assert_eq!(look(&mut line, 0, &[(0, Some(500_000)); 30]), None);
    }
}
