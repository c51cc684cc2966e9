//! Repair of lost packets at packet level, by the rules of `crates/rtc/src/repair.rs`: when a lost packet is sent
//! again, and in how many copies.

use plenary_proto::Time;
use plenary_proto::time::MS;

use crate::net::Network;

/// Maximum number of retransmissions of one packet (`REPAIRS_MAX`).
pub(crate) const REPAIRS_MAX: u32 = 8;
/// Time from a gap to its NACK (`REORDER_MAX`).
const NACK_US: u64 = 5 * MS;
/// Bounds of the interval between two NACKs for the same packet (`RETRY_MIN`, `RETRY_MAX`).
const RETRY_US_MIN: u64 = 20 * MS;
const RETRY_US_MAX: u64 = 500 * MS;
/// Copies of a NACK, and of a packet that was lost more than once.
const COPIES: u32 = 2;
/// Size of a NACK on the wire in bytes, with all headers.
const NACK_BYTES: usize = 120;

/// Number of copies in which a packet is sent that was lost `losses` times.
pub(crate) fn copies(losses: u32) -> u32 {
    if losses < 2 { 1 } else { COPIES }
}

/// Time from the loss of a packet, sent now for the `losses`-th time in vain, until it is sent again, microseconds.
/// `unseen_us` passes until the next packet of its slot, which shows the gap.
pub(crate) fn again_after_us(
    net: &mut Network,
    now: Time,
    (from, to): (usize, usize),
    losses: u32,
    unseen_us: u64,
) -> u64 {
    let round_us = 2 * net.one_way_us(from, to);
    let retry_us = (round_us * 5 / 4).clamp(RETRY_US_MIN, RETRY_US_MAX);
    let wait_us = |requests: u32| (retry_us << requests.saturating_sub(1)).min(RETRY_US_MAX);
    // the request that brought the latest copy is the last one so far; before the first loss there was none
    let mut after_us = match losses {
        0 | 1 => round_us + NACK_US + unseen_us,
        _ => wait_us(losses - 1),
    };
    let mut requests = losses.max(1);
    while requests < REPAIRS_MAX {
        let heard = (0..COPIES).filter(|_| net.send(now, to, from, NACK_BYTES).is_some()).count();
        if heard > 0 {
            break;
        }
        after_us += wait_us(requests);
        requests += 1;
    }
    after_us
}
