//! Loss repair of one leg: the receiver tracks missing packets and sends NACKs, the sender keeps a history
//! for retransmission.
//!
//! The receiver requests a missing packet (RTCP NACK, RFC 4585) shortly after a packet with a higher number
//! arrived, then again after one round trip, after another one, then after two, four and so on. The intervals
//! grow because a queue that is filling up makes the path slower than measured, and on a congested line each
//! needless repair delays the other packets. The sender keeps its last packets and retransmits the requested
//! ones.
//!
//! Each NACK is sent twice, and a packet that was lost twice is retransmitted twice. Both cost little. On a
//! line that loses 5 % in each direction, the first attempt then fails with a probability of 1 in 20 instead
//! of 1 in 10, and the second of 1 in 200.
//!
//! The NACK interceptors of the stack are not used, for three reasons:
//!
//! - They scan for gaps by a timer, even when nothing is missing (at 20 ms a fifth of the cost of a viewer's
//!   link: 12.1 against 9.3 µs per packet).
//! - They repeat a NACK before the answer can have arrived (three times over 30 ms links).
//! - They allocate memory for the packets of each slot, used or not.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use plenary_proto::packet::MediaPacket;

/// Time that a packet may be late by reordering before it counts as missing. A guess; shorter than a frame
/// interval.
const REORDER_MAX: Duration = Duration::from_millis(5);
/// Minimum interval between two requests for the same packet.
const RETRY_MIN: Duration = Duration::from_millis(20);
/// Requests for the same packet within this interval count as one: a NACK is sent in several copies.
const SAME_REQUEST_MAX: Duration = Duration::from_millis(10);
/// Maximum interval between two requests: slower paths are beyond repair.
const RETRY_MAX: Duration = Duration::from_millis(500);
/// Round-trip time assumed until one was measured.
const RTT_UNKNOWN: Duration = Duration::from_millis(100);
/// Maximum number of requests for one packet.
const REQUESTS_MAX: u8 = 8;
/// Maximum number of retransmissions of one packet, over all requests.
const REPAIRS_MAX: u8 = 8;
/// Number of new packets that earn one retransmission. Up to `REPAIRS_AT_ONCE_MAX` retransmissions may be
/// sent at once, which covers an outage of a second. On a congested path repairs get lost too, and additional
/// repairs add to the congestion (measured without this limit on a path a sixth too narrow: six repairs per
/// packet).
const PACKETS_PER_REPAIR: usize = 2;
const REPAIRS_AT_ONCE_MAX: usize = REPAIR_PACKETS_MAX / 2;
/// The same limit for repeated retransmissions of a packet, since a repeated request may only be too early. A
/// line with 20 % loss needs one per 20 packets. A guess.
const PACKETS_PER_REPEAT: usize = 4;
const REPEATS_AT_ONCE_MAX: usize = 32;
/// Number of packets kept for repair in each slot: 1.6 s of 3 Mbit/s. A larger gap is not repaired: it was an
/// outage, and a keyframe is cheaper.
pub(crate) const REPAIR_PACKETS_MAX: usize = 512;

/// The missing packets of one leg, at the receiver.
#[derive(Debug)]
pub(crate) struct Holes {
    /// Newest sequence number, extended above 16 bits by the number of wraps.
    newest: u64,
    missing: BTreeMap<u64, Request>,
}

#[derive(Debug)]
struct Request {
    requests: u8,
    due: Instant,
}

impl Default for Holes {
    fn default() -> Self {
        // a leg begins at number 0, so the very first packet can be missing, too
        Holes { newest: u64::from(u16::MAX), missing: BTreeMap::new() }
    }
}

impl Holes {
    /// Begins a leg of a browser, which numbers from any number on: this is the first to arrive. Numbers before it fit
    /// below.
    pub(crate) fn begin(&mut self, sequence_number: u16) {
        self.newest = (1 << 16) + u64::from(sequence_number) - 1;
    }

    /// Records the arrival of a packet. Returns its number, extended above 16 bits.
    pub(crate) fn arrived(&mut self, sequence_number: u16, now: Instant) -> u64 {
        let newest = self.newest;
        let ahead = i64::from(sequence_number.wrapping_sub(newest as u16) as i16);
        let number = newest.saturating_add_signed(ahead);
        if ahead <= 0 {
            self.missing.remove(&number);
            return number;
        }
        self.newest = number;
        let due = now + REORDER_MAX;
        if number - newest <= REPAIR_PACKETS_MAX as u64 {
            self.missing.extend((newest + 1..number).map(|hole| (hole, Request { requests: 0, due })));
        }
        // the sender keeps no packets older than this
        let oldest = number.saturating_sub(REPAIR_PACKETS_MAX as u64);
        self.missing = self.missing.split_off(&oldest);
        number
    }

    /// Sequence numbers to be requested now, in order.
    pub(crate) fn due(&mut self, now: Instant, rtt: Option<Duration>) -> Vec<u16> {
        // a quarter more than the round trip, for the turns of both tasks and for jitter
        let retry = (rtt.unwrap_or(RTT_UNKNOWN) * 5 / 4).clamp(RETRY_MIN, RETRY_MAX);
        let mut due = Vec::new();
        self.missing.retain(|&number, request| {
            if request.due > now {
                return true;
            }
            if request.requests == REQUESTS_MAX {
                return false;
            }
            due.push(number as u16);
            let wait = (retry * (1 << request.requests.saturating_sub(1))).min(RETRY_MAX);
            *request = Request { requests: request.requests + 1, due: now + wait };
            true
        });
        due
    }

    /// Time at which the next request is due.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.missing.values().map(|request| request.due).min()
    }
}

/// The sender's history of one leg: the last packets, with contiguous sequence numbers.
#[derive(Debug)]
pub(crate) struct History {
    packets: VecDeque<Sent>,
    /// Credit for retransmissions of all kinds.
    repairs: Credit,
    /// Credit for repeated retransmissions of the same packet.
    repeats: Credit,
    /// Sequence number of the next packet.
    next: u16,
}

/// A budget for retransmissions, earned by new packets.
#[derive(Debug)]
struct Credit {
    /// Budget left, counted in new packets.
    packets: usize,
    price: usize,
    at_once_max: usize,
}

impl Credit {
    fn new(price: usize, at_once_max: usize) -> Credit {
        Credit { packets: at_once_max * price, price, at_once_max }
    }

    fn earn(&mut self) {
        self.packets = (self.packets + 1).min(self.at_once_max * self.price);
    }

    fn affords(&self) -> usize {
        self.packets / self.price
    }

    fn spend(&mut self, repairs: usize) {
        self.packets = self.packets.saturating_sub(repairs * self.price);
    }
}

#[derive(Debug)]
struct Sent {
    packet: MediaPacket,
    repairs: u8,
    repaired_at: Option<Instant>,
}

impl Default for History {
    fn default() -> Self {
        History {
            packets: VecDeque::new(),
            repairs: Credit::new(PACKETS_PER_REPAIR, REPAIRS_AT_ONCE_MAX),
            repeats: Credit::new(PACKETS_PER_REPEAT, REPEATS_AT_ONCE_MAX),
            next: 0,
        }
    }
}

impl History {
    /// Appends a packet and returns its sequence number.
    pub(crate) fn push(&mut self, packet: MediaPacket) -> u16 {
        if self.packets.len() == REPAIR_PACKETS_MAX {
            self.packets.pop_front();
        }
        self.packets.push_back(Sent { packet, repairs: 0, repaired_at: None });
        self.repairs.earn();
        self.repeats.earn();
        let number = self.next;
        self.next = number.wrapping_add(1);
        number
    }

    /// Returns the packet with that number and the number of copies to be sent now. `None` if the packet is
    /// no longer kept, was retransmitted just now or too often, or the budget is spent.
    pub(crate) fn again(&mut self, sequence_number: u16, now: Instant) -> Option<(MediaPacket, usize)> {
        let back = usize::from(self.next.wrapping_sub(sequence_number));
        let index = self.packets.len().checked_sub(back)?;
        let sent = self.packets.get_mut(index)?;
        if sent.repaired_at.is_some_and(|at| now.saturating_duration_since(at) < SAME_REQUEST_MAX) {
            return None;
        }
        let copies = if sent.repairs == 0 {
            self.repairs.affords().min(1)
        } else {
            self.repairs.affords().min(self.repeats.affords()).min(2)
        };
        if copies == 0 || sent.repairs >= REPAIRS_MAX {
            return None;
        }
        self.repairs.spend(copies);
        if sent.repairs > 0 {
            self.repeats.spend(copies);
        }
        (sent.repairs, sent.repaired_at) = (sent.repairs + 1, Some(now));
        Some((sent.packet.clone(), copies))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use plenary_proto::StreamId;
    use plenary_proto::identity::PacketIdentity;
    use proptest::prelude::*;

    const NOTHING: [u16; 0] = [];
    const MS: Duration = Duration::from_millis(1);

    fn arrive(holes: &mut Holes, numbers: impl IntoIterator<Item = u16>, now: Instant) {
        numbers.into_iter().for_each(|number| _ = holes.arrived(number, now));
    }

    #[test]
    fn a_hole_is_asked_for_less_and_less_often_until_it_is_filled() {
        let (start, rtt) = (Instant::now(), Some(60 * MS));
        let mut holes = Holes::default();
        arrive(&mut holes, [1, 3, 6], start);
        assert_eq!(holes.due(start + 4 * MS, rtt), NOTHING, "it may only have been overtaken");
        assert_eq!(holes.deadline(), Some(start + 5 * MS));
        assert_eq!(holes.due(start + 5 * MS, rtt), [0, 2, 4, 5]);
        assert_eq!(holes.due(start + 79 * MS, rtt), NOTHING, "the answer is on its way");
        holes.arrived(4, start + 66 * MS);
        arrive(&mut holes, [8], start + 75 * MS);
        assert_eq!(holes.due(start + 80 * MS, rtt), [0, 2, 5, 7]);
        assert_eq!(holes.due(start + 155 * MS, rtt), [0, 2, 5, 7]);
        arrive(&mut holes, [7], start);
        assert_eq!(holes.due(start + 304 * MS, rtt), NOTHING, "the answers may wait in a queue");
        assert_eq!(holes.due(start + 305 * MS, rtt), [0, 2, 5]);
        arrive(&mut holes, [2, 5, 5, 0], start);
        assert_eq!(holes.deadline(), None);
    }

    #[test]
    fn a_packet_that_never_comes_is_given_up() {
        let mut now = Instant::now();
        let mut holes = Holes::default();
        arrive(&mut holes, [0, 2], now);
        let mut requests = 0;
        while let Some(deadline) = holes.deadline() {
            now = deadline;
            requests += holes.due(now, None).len();
        }
        assert_eq!(requests, usize::from(REQUESTS_MAX));
    }

    #[test]
    fn numbers_wrap() {
        let now = Instant::now();
        let mut holes = Holes { newest: 65_532, ..Holes::default() };
        arrive(&mut holes, [65_533, 65_535, 1], now);
        assert_eq!(holes.due(now + 5 * MS, None), [65_534, 0]);
        arrive(&mut holes, [0, 65_534], now);
        assert_eq!(holes.deadline(), None);
    }

    #[test]
    fn an_outage_is_no_hole() {
        let now = Instant::now();
        let mut holes = Holes::default();
        arrive(&mut holes, [0, 2, 3 + REPAIR_PACKETS_MAX as u16], now);
        assert_eq!(holes.due(now + 5 * MS, None), NOTHING, "the other end has none of it any more");
    }

    fn packet(number: u64) -> MediaPacket {
        MediaPacket {
            identity: PacketIdentity { stream: StreamId([1; 8]), number },
            timestamp: 0,
            marker: false,
            key_start: false,
            audio_level: None,
            contributors: Default::default(),
            payload: Bytes::new(),
        }
    }

    #[test]
    fn the_last_packets_can_be_sent_again_a_few_times() {
        let (mut history, mut now) = (History::default(), Instant::now());
        let mut again = |history: &mut History, number: u64| {
            now += SAME_REQUEST_MAX;
            history.again(number as u16, now).map(|(packet, copies)| (packet.identity.number, copies))
        };
        assert_eq!(again(&mut history, 0), None);
        for number in 0..70_000 {
            assert_eq!(history.push(packet(number)), number as u16);
        }
        let oldest = 70_000 - REPAIR_PACKETS_MAX as u64;
        assert_eq!(again(&mut history, oldest), Some((oldest, 1)));
        assert_eq!(again(&mut history, oldest - 1), None);
        assert_eq!(again(&mut history, 70_000), None, "not sent yet");
        for repairs in 0..REPAIRS_MAX {
            let copies = if repairs == 0 { 1 } else { 2 };
            assert_eq!(again(&mut history, 69_999), Some((69_999, copies)));
        }
        assert_eq!(again(&mut history, 69_999), None);
    }

    #[test]
    fn a_request_that_comes_twice_is_answered_once() {
        let (mut history, now) = (History::default(), Instant::now());
        history.push(packet(0));
        assert!(history.again(0, now).is_some());
        assert_eq!(history.again(0, now + SAME_REQUEST_MAX - MS), None);
        assert_eq!(history.again(0, now + RETRY_MIN).map(|(_, copies)| copies), Some(2), "it was lost twice");
    }

    #[test]
    fn what_is_sent_again_is_a_part_of_what_is_sent_however_much_is_asked_for() {
        let (mut history, mut now) = (History::default(), Instant::now());
        let mut repairs = 0;
        for number in 0..10_000 {
            let number = history.push(packet(number));
            now += SAME_REQUEST_MAX;
            let asked = (0..8).filter_map(|back| history.again(number.wrapping_sub(back), now));
            repairs += asked.map(|(_, copies)| copies).sum::<usize>();
        }
        assert!(repairs.abs_diff(10_000 / PACKETS_PER_REPAIR) <= REPAIRS_AT_ONCE_MAX, "{repairs}");
        for number in 10_000..20_000 {
            // a while without loss, before an outage
            history.push(packet(number));
        }
        let outage =
            (0..REPAIRS_AT_ONCE_MAX as u16).filter(|back| history.again(19_999 - back, now).is_some());
        assert_eq!(outage.count(), REPAIRS_AT_ONCE_MAX);
    }

    #[test]
    fn all_that_an_outage_took_is_sent_once_and_little_of_it_again_soon() {
        let (mut history, start) = (History::default(), Instant::now());
        let lost: Vec<u16> = (0..100).map(|number| history.push(packet(number))).collect();
        let mut ask = |after: Duration| -> usize {
            let sent = lost.iter().filter_map(|number| history.again(*number, start + after));
            sent.map(|(_, copies)| copies).sum()
        };
        assert_eq!(ask(Duration::ZERO), lost.len());
        assert_eq!((1..5).map(|times| ask(times * RETRY_MIN)).sum::<usize>(), REPEATS_AT_ONCE_MAX);
    }

    proptest! {
        #[test]
        fn whatever_numbers_come_requests_stay_bounded(
            numbers in proptest::collection::vec(any::<u16>(), 0..200),
        ) {
            let mut now = Instant::now();
            let mut holes = Holes::default();
            for number in numbers {
                holes.arrived(number, now);
                now += MS;
                prop_assert!(holes.due(now, None).len() <= REPAIR_PACKETS_MAX);
                prop_assert!(holes.missing.len() <= REPAIR_PACKETS_MAX);
            }
        }

        #[test]
        fn what_is_lost_and_repaired_leaves_no_hole(
            start in any::<u16>(),
            lost in proptest::collection::vec(any::<bool>(), 2..300),
        ) {
            let mut now = Instant::now();
            let mut holes = Holes { newest: u64::from(start) + 70_000, ..Holes::default() };
            let start = holes.newest as u16;
            // the first and the last packet arrive: they show that the packets between them are missing
            let last = lost.len() - 1;
            for (index, lost) in (0_u16..).zip(&lost) {
                if !lost || index == 0 || usize::from(index) == last {
                    holes.arrived(start.wrapping_add(index), now);
                }
            }
            now += REORDER_MAX;
            let expected = lost.iter().skip(1).take(last.saturating_sub(1)).filter(|&&lost| lost).count();
            let asked = holes.due(now, None);
            prop_assert_eq!(asked.len(), expected);
            arrive(&mut holes, asked, now);
            prop_assert_eq!(holes.deadline(), None);
        }
    }
}
