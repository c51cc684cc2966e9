//! Repair of lost packets at packet level, by the rules of `crates/rtc/src/repair.rs`: when a lost packet is requested
//! again, and in how many copies it is then sent.

use plenary_proto::Time;
use plenary_proto::time::MS;

use crate::net::Network;

/// Maximum number of requests for one packet (`REQUESTS_MAX`), and of its retransmissions (`REPAIRS_MAX`).
pub(crate) const REQUESTS_MAX: u32 = 8;
/// Time from a gap to its NACK (`REORDER_MAX`).
const NACK_US: u64 = 5 * MS;
/// Bounds of the interval between two NACKs for the same packet (`RETRY_MIN`, `RETRY_MAX`).
const RETRY_US_MIN: u64 = 20 * MS;
const RETRY_US_MAX: u64 = 500 * MS;
/// Number of copies of a NACK, and of a packet that is sent again once more.
const COPIES: u32 = 2;
/// Size of a NACK on the wire in bytes, with all headers.
const NACK_BYTES: usize = 120;

/// Number of new packets that earn one retransmission, and maximum number of retransmissions at once
/// (`PACKETS_PER_REPAIR`, `REPAIRS_AT_ONCE_MAX`).
const PACKETS_PER_REPAIR: u32 = 2;
const REPAIRS_AT_ONCE_MAX: u32 = 256;
/// The same for repeated retransmissions of a packet (`PACKETS_PER_REPEAT`, `REPEATS_AT_ONCE_MAX`).
const PACKETS_PER_REPEAT: u32 = 4;
const REPEATS_AT_ONCE_MAX: u32 = 32;

/// Budget of one slot of a link for retransmissions, counted in new packets, which earn it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    repairs: u32,
    repeats: u32,
}

impl Default for Budget {
    fn default() -> Budget {
        Budget {
            repairs: REPAIRS_AT_ONCE_MAX * PACKETS_PER_REPAIR,
            repeats: REPEATS_AT_ONCE_MAX * PACKETS_PER_REPEAT,
        }
    }
}

impl Budget {
    /// Counts a new packet.
    pub(crate) fn earn(&mut self) {
        self.repairs = (self.repairs + 1).min(REPAIRS_AT_ONCE_MAX * PACKETS_PER_REPAIR);
        self.repeats = (self.repeats + 1).min(REPEATS_AT_ONCE_MAX * PACKETS_PER_REPEAT);
    }

    /// Returns the number of copies in which a requested packet is sent that was sent again `repairs` times before, and
    /// pays for them.
    pub(crate) fn spend(&mut self, repairs: u32) -> u32 {
        let affordable = self.repairs / PACKETS_PER_REPAIR;
        let copies = match repairs {
            0 => affordable.min(1),
            _ => affordable.min(self.repeats / PACKETS_PER_REPEAT).min(COPIES),
        };
        self.repairs -= copies * PACKETS_PER_REPAIR;
        if repairs > 0 {
            self.repeats -= copies * PACKETS_PER_REPEAT;
        }
        copies
    }
}

/// Returns the time until a packet is requested, from now: it was sent in vain, or its `requests`-th request was not
/// answered. `unseen_us` passes until the next packet of its slot, which shows the gap. Also returns the number of
/// requests so far, of which the last one arrives then.
pub(crate) fn requested_after_us(
    net: &mut Network,
    now: Time,
    (from, to): (usize, usize),
    requests: u32,
    unseen_us: u64,
) -> (u64, u32) {
    let round_us = 2 * net.one_way_us(from, to);
    let retry_us = (round_us * 5 / 4).clamp(RETRY_US_MIN, RETRY_US_MAX);
    let wait_us = |requests: u32| (retry_us << requests.saturating_sub(1)).min(RETRY_US_MAX);
    let mut after_us = if requests == 0 { round_us + NACK_US + unseen_us } else { wait_us(requests) };
    let mut requests = requests + 1;
    while requests < REQUESTS_MAX {
        let heard = (0..COPIES).any(|_| net.send(now, to, from, NACK_BYTES).is_some());
        if heard {
            break;
        }
        after_us += wait_us(requests);
        requests += 1;
    }
    (after_us, requests)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retransmissions_are_a_part_of_what_is_sent() {
        let mut budget = Budget::default();
        assert_eq!([0, 1, 2].map(|repairs| budget.spend(repairs)), [1, 2, 2]);
        let first: u32 = (0..1_000).map(|_| budget.spend(0)).sum();
        assert_eq!(first, REPAIRS_AT_ONCE_MAX - 5);
        let sent: u32 = (0..1_000)
            .map(|_| {
                budget.earn();
                budget.spend(0)
            })
            .sum();
        assert_eq!(sent, 1_000 / PACKETS_PER_REPAIR);
        let mut budget = Budget::default();
        assert_eq!((0..100).map(|_| budget.spend(1)).sum::<u32>(), REPEATS_AT_ONCE_MAX);
    }
}
