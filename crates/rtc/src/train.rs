//! Packet trains (bandwidth probes): bursts of packets without content. Their spacing at the receiver shows
//! the bandwidth of the path.
//!
//! A bottleneck spreads packets that arrive faster than its rate: they leave it one transmission time apart,
//! independent of losses. The receiver therefore needs only the arrival times. The first half of a train is
//! ignored, because token buckets let it pass faster (measured: the whole train reads 4 % high at 20 Mbit/s
//! and 30 % at 100; its second half is within 1 % from 200 kB up).
//!
//! A train has no slot but an SSRC of its own. It is sent and received nearest the wire, below NACK and
//! feedback: these would distort the measurement with repairs, and would take the train's sequence numbers
//! for losses.
//!
//! Each packet has [`PACKET_LEN`] bytes: number of the train, index, count (4 bytes each, big endian),
//! padding.

use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};

/// Maximum payload bytes of a train.
pub const TRAIN_BYTES_MAX: u32 = 2_000_000;
/// Maximum duration of a paced train, in microseconds.
pub const TRAIN_DURATION_US_MAX: u64 = 1_200_000;
/// Payload bytes of each packet.
const PACKET_LEN: usize = 1_100;
const HEAD_LEN: usize = 12;
/// Maximum number of packets of a train.
const PACKETS_MAX: u32 = TRAIN_BYTES_MAX.div_ceil(PACKET_LEN as u32);
/// Silence after which a train counts as complete although its last packet has not arrived.
const SILENCE_MAX: Duration = Duration::from_millis(300);
/// Bytes that each packet occupies on the path beside its payload: Ethernet 14, IPv4 20, UDP 8, RTP 12, SRTP
/// tag 10, and 2 that were within the error when measured against tbf.
const OVERHEAD_BYTES: u64 = 66;
/// Minimum number of arrivals for a bandwidth estimate. A guess.
const ARRIVALS_MIN: usize = 20;

/// Arrival times of the packets of one train.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrainArrivals {
    /// Number of packets that were sent.
    pub packets_sent: u32,
    /// Packets that arrived, in the order of arrival; at most `packets_sent`.
    pub arrivals: Vec<Arrival>,
}

/// Arrival of one packet of a train.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Microseconds since [`LinksConfig::epoch`](crate::LinksConfig::epoch).
    pub at_us: u64,
    /// RTP payload bytes.
    pub payload_len: u16,
}

impl TrainArrivals {
    /// Bandwidth of the path in bits per second of Ethernet frames: the bits of the second half of the
    /// arrivals divided by their duration. `None` with fewer than 20 arrivals, or when the second half
    /// arrived at one instant.
    pub fn bandwidth_bps(&self) -> Option<u64> {
        let half = self.arrivals.get(self.arrivals.len() / 2..)?;
        let (first, rest) = half.split_first()?;
        if self.arrivals.len() < ARRIVALS_MIN {
            return None;
        }
        let elapsed_us = rest.last()?.at_us.saturating_sub(first.at_us);
        let bytes: u64 = rest.iter().map(|arrival| u64::from(arrival.payload_len) + OVERHEAD_BYTES).sum();
        (bytes * 8 * 1_000_000).checked_div(elapsed_us)
    }
}

/// A packet train being sent.
#[derive(Debug)]
pub(crate) struct Departures {
    train: u32,
    count: u32,
    sent: u32,
    started: Instant,
    rate_bps: u64,
}

impl Departures {
    /// Creates a train of about `bytes`, paced at `rate_bps`, or at full speed with 0. It is cut to the
    /// maximum size and duration.
    pub(crate) fn new(train: u32, bytes: u32, rate_bps: u64, now: Instant) -> Departures {
        let mut bytes = u64::from(bytes.min(TRAIN_BYTES_MAX));
        if rate_bps > 0 {
            bytes = bytes.min(rate_bps.saturating_mul(TRAIN_DURATION_US_MAX) / 8_000_000);
        }
        let count = (bytes.div_ceil(PACKET_LEN as u64) as u32).clamp(1, PACKETS_MAX);
        Departures { train, count, sent: 0, started: now, rate_bps }
    }

    /// Payload of the next packet, if it is due.
    pub(crate) fn next(&mut self, now: Instant) -> Option<Bytes> {
        if self.is_over() || now < self.due() {
            return None;
        }
        let mut payload = BytesMut::with_capacity(PACKET_LEN);
        payload.put_u32(self.train);
        payload.put_u32(self.sent);
        payload.put_u32(self.count);
        payload.put_bytes(0xa5, PACKET_LEN - HEAD_LEN);
        self.sent += 1;
        Some(payload.freeze())
    }

    /// Time at which the next packet is due.
    pub(crate) fn due(&self) -> Instant {
        let bits = u64::from(self.sent) * PACKET_LEN as u64 * 8;
        let after_us = (bits * 1_000_000).checked_div(self.rate_bps).unwrap_or(0);
        self.started + Duration::from_micros(after_us)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.sent == self.count
    }
}

/// Collects the arrivals of one train after the other.
#[derive(Debug)]
pub(crate) struct Gathering {
    epoch: Instant,
    current: Option<Current>,
    finished: Option<u32>,
}

#[derive(Debug)]
struct Current {
    train: u32,
    arrivals: TrainArrivals,
    newest: Instant,
}

impl Gathering {
    pub(crate) fn new(epoch: Instant) -> Gathering {
        Gathering { epoch, current: None, finished: None }
    }

    /// Records a packet of a train. Returns the train that it completes: its own as the last packet, or the
    /// previous train as the first packet of a new one. Malformed packets and packets of a completed train
    /// are ignored.
    pub(crate) fn arrived(&mut self, now: Instant, payload: &[u8]) -> Option<(u32, TrainArrivals)> {
        let (head, _) = payload.split_first_chunk::<HEAD_LEN>()?;
        let field =
            |at: usize| head[at..at + 4].iter().fold(0_u32, |number, &byte| number << 8 | u32::from(byte));
        let (train, index, count) = (field(0), field(4), field(8));
        if index >= count || count > PACKETS_MAX || self.finished == Some(train) {
            return None;
        }
        let earlier =
            self.current.take_if(|current| current.train != train).map(|current| self.finish(current));
        let arrivals = TrainArrivals { packets_sent: count, arrivals: Vec::new() };
        let current = self.current.get_or_insert(Current { train, arrivals, newest: now });
        current.newest = now;
        let arrivals = &mut current.arrivals;
        if (arrivals.arrivals.len() as u64) < u64::from(arrivals.packets_sent) {
            let at_us = now.saturating_duration_since(self.epoch).as_micros() as u64;
            let payload_len = payload.len().min(usize::from(u16::MAX)) as u16;
            arrivals.arrivals.push(Arrival { at_us, payload_len });
        }
        if index + 1 < count || earlier.is_some() {
            return earlier;
        }
        let current = self.current.take()?;
        Some(self.finish(current))
    }

    /// Time at which the current train counts as complete if no further packet arrives.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.current.as_ref().map(|current| current.newest + SILENCE_MAX)
    }

    /// Returns the current train if its deadline has passed.
    pub(crate) fn overdue(&mut self, now: Instant) -> Option<(u32, TrainArrivals)> {
        if self.deadline()? > now {
            return None;
        }
        let current = self.current.take()?;
        Some(self.finish(current))
    }

    fn finish(&mut self, current: Current) -> (u32, TrainArrivals) {
        self.finished = Some(current.train);
        (current.train, current.arrivals)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_half_alone_tells_the_bandwidth() {
        // a token bucket lets the first half pass at once, then 1166 bytes take 466 µs each: 20 Mbit/s
        let arrivals = TrainArrivals {
            packets_sent: 200,
            arrivals: (0..200_u64)
                .map(|index| Arrival { at_us: index.saturating_sub(80) * 466, payload_len: 1_100 })
                .collect(),
        };
        let bandwidth_bps = arrivals.bandwidth_bps().unwrap();
        assert!((19_900_000..20_100_000).contains(&bandwidth_bps), "{bandwidth_bps}");
    }

    #[test]
    fn losses_do_not_change_the_figure() {
        // the bottleneck loses four of five packets and spaces the others
        let arrivals: Vec<_> =
            (0..360).map(|index| Arrival { at_us: index * 466, payload_len: 1_100 }).collect();
        let lossy = TrainArrivals { packets_sent: 1_818, arrivals };
        let bandwidth_bps = lossy.bandwidth_bps().unwrap();
        assert!((19_900_000..20_100_000).contains(&bandwidth_bps), "{bandwidth_bps}");
    }

    #[test]
    fn too_little_says_nothing() {
        let at = |at_us| Arrival { at_us, payload_len: 1_100 };
        let rows: [(&str, Vec<Arrival>); 4] = [
            ("nothing", vec![]),
            ("one", vec![at(5)]),
            ("nineteen", (0..19).map(at).collect()),
            ("all at one instant", vec![at(7); 100]),
        ];
        for (name, arrivals) in rows {
            assert_eq!(TrainArrivals { packets_sent: 100, arrivals }.bandwidth_bps(), None, "{name}");
        }
    }

    #[test]
    fn a_paced_train_leaves_at_its_rate() {
        let start = Instant::now();
        // 8.8 Mbit/s: one packet of 1100 bytes each millisecond
        let mut departures = Departures::new(1, 110_000, 8_800_000, start);
        for millisecond in 0..100 {
            let now = start + Duration::from_millis(millisecond);
            assert!(departures.next(now).is_some());
            assert!(departures.next(now).is_none(), "{millisecond}: two at once");
        }
        assert!(departures.is_over());
    }

    #[test]
    fn a_train_is_cut_to_its_bounds() {
        let now = Instant::now();
        let rows = [
            // requested bytes, rate, packets
            (u32::MAX, 0, 1_819),
            (2_000_000, 8_000_000, 1_091), // 1.2 s carry 1.2 MB
            (2_000_000, u64::MAX, 1_819),
            (0, 0, 1),
            (1_101, 0, 2),
        ];
        for (bytes, rate_bps, packets) in rows {
            assert_eq!(Departures::new(1, bytes, rate_bps, now).count, packets, "{bytes} at {rate_bps}");
        }
    }

    const NOTHING: [u32; 0] = [];

    fn run(gathering: &mut Gathering, now: Instant, train: u32, indices: &[u32], count: u32) -> Vec<u32> {
        let mut over = Vec::new();
        for index in indices {
            let mut payload = BytesMut::zeroed(PACKET_LEN);
            payload[..4].copy_from_slice(&train.to_be_bytes());
            payload[4..8].copy_from_slice(&index.to_be_bytes());
            payload[8..12].copy_from_slice(&count.to_be_bytes());
            over.extend(gathering.arrived(now, &payload).map(|(train, _)| train));
        }
        over
    }

    #[test]
    fn a_train_is_over_with_its_last_packet_or_a_new_train_or_silence() {
        let start = Instant::now();
        let mut gathering = Gathering::new(start);
        assert_eq!(run(&mut gathering, start, 1, &[0, 1, 2], 3), [1]);
        assert_eq!(run(&mut gathering, start, 1, &[1, 2], 3), NOTHING, "stragglers start nothing");
        assert_eq!(run(&mut gathering, start, 2, &[0, 1], 3), NOTHING);
        assert_eq!(run(&mut gathering, start, 3, &[0], 3), [2]);
        assert_eq!(gathering.overdue(start + Duration::from_millis(299)), None);
        let (train, arrivals) = gathering.overdue(start + Duration::from_millis(300)).unwrap();
        assert_eq!((train, arrivals.packets_sent, arrivals.arrivals.len()), (3, 3, 1));
        assert_eq!(gathering.deadline(), None);
    }

    #[test]
    fn a_liar_fills_no_memory() {
        let now = Instant::now();
        let mut gathering = Gathering::new(now);
        assert_eq!(run(&mut gathering, now, 1, &[0], u32::MAX), NOTHING, "longer than any train");
        assert_eq!(run(&mut gathering, now, 1, &[7], 7), NOTHING, "past its own end");
        assert!(gathering.arrived(now, &[1; HEAD_LEN - 1]).is_none(), "too short");
        assert_eq!(gathering.deadline(), None);
        // the same packet repeated: no more arrivals than packets
        run(&mut gathering, now, 1, &[0; 50], 3);
        assert_eq!(run(&mut gathering, now, 1, &[2], 3), [1]);
        run(&mut gathering, now, 2, &[0; 50], 3);
        let (_, arrivals) = gathering.overdue(now + SILENCE_MAX).unwrap();
        assert_eq!(arrivals.arrivals.len(), 3);
    }
}
