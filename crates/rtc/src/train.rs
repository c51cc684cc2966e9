//! Trains of packets without meaning, by whose spacing at the far end a path's bandwidth shows.
//!
//! A bottleneck spreads packets that are sent faster than it carries: they leave it one transmission time
//! apart, however much is lost on the way. So the receiver needs only the arrivals. The first half of a train
//! is not looked at: token buckets let it pass faster (measured: the whole train reads 4 % high at 20 Mbit/s
//! and 30 % at 100; its second half is within 1 % from 200 kB up).
//!
//! A train travels beside the slots, under an SSRC of its own: it is put in and taken out nearest the wire,
//! below NACK and feedback, which would mix repairs into the figure and take its numbers for losses.
//!
//! Each packet is [`PACKET_LEN`] bytes: number of the train, index, count (4 bytes each, big endian), junk.

use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};

/// Most payload bytes of a train.
pub const TRAIN_BYTES_MAX: u32 = 2_000_000;
/// Longest time a paced train may take, microseconds.
pub const TRAIN_DURATION_US_MAX: u64 = 1_200_000;
/// Payload bytes of each packet.
const PACKET_LEN: usize = 1_100;
const HEAD_LEN: usize = 12;
/// Packets of the longest train.
const PACKETS_MAX: u32 = TRAIN_BYTES_MAX.div_ceil(PACKET_LEN as u32);
/// A train whose last packet was lost is over this long after its last arrival.
const SILENCE_MAX: Duration = Duration::from_millis(300);
/// What each packet occupies of a link beside its payload: Ethernet 14, IPv4 20, UDP 8, RTP 12, SRTP tag 10,
/// and 2 that were within the error when measured against tbf.
const OVERHEAD_BYTES: u64 = 66;
/// Fewer arrivals than this say nothing (guess).
const ARRIVALS_MIN: usize = 20;

/// When the packets of a train came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrainArrivals {
    /// How many were sent.
    pub packets_sent: u32,
    /// Those that came, in the order they did; never more than were sent.
    pub arrivals: Vec<Arrival>,
}

/// The arrival of one packet of a train.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Microseconds since [`LinksConfig::epoch`](crate::LinksConfig::epoch).
    pub at_us: u64,
    /// RTP payload bytes.
    pub payload_len: u16,
}

impl TrainArrivals {
    /// The bandwidth of the path in bits per second of Ethernet frames: bits of the second half of the
    /// arrivals over the time they took. `None` with fewer than 20 arrivals, or when the half came at one
    /// instant.
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

/// A train being sent.
#[derive(Debug)]
pub(crate) struct Departures {
    train: u32,
    count: u32,
    sent: u32,
    started: Instant,
    rate_bps: u64,
}

impl Departures {
    /// A train of about `bytes`, at `rate_bps` or, with 0, as fast as it goes; cut to the longest allowed.
    pub(crate) fn new(train: u32, bytes: u32, rate_bps: u64, now: Instant) -> Departures {
        let mut bytes = u64::from(bytes.min(TRAIN_BYTES_MAX));
        if rate_bps > 0 {
            bytes = bytes.min(rate_bps.saturating_mul(TRAIN_DURATION_US_MAX) / 8_000_000);
        }
        let count = (bytes.div_ceil(PACKET_LEN as u64) as u32).clamp(1, PACKETS_MAX);
        Departures { train, count, sent: 0, started: now, rate_bps }
    }

    /// The next packet's payload, if it is time for it.
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

    /// When the next packet is to go.
    pub(crate) fn due(&self) -> Instant {
        let bits = u64::from(self.sent) * PACKET_LEN as u64 * 8;
        let after_us = (bits * 1_000_000).checked_div(self.rate_bps).unwrap_or(0);
        self.started + Duration::from_micros(after_us)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.sent == self.count
    }
}

/// Gathers the arrivals of one train after the other.
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

    /// Takes a train's packet. Returns the train that it ends: its own by being the last, or an earlier one.
    /// Packets that make no sense, or of a train that is over, are ignored.
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

    /// When the current train is over if nothing more comes of it.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.current.as_ref().map(|current| current.newest + SILENCE_MAX)
    }

    /// The current train, if its deadline has passed.
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
        // a token bucket let the first half pass at once, then 1166 bytes took 466 µs each: 20 Mbit/s
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
        // four of five packets are lost at the bottleneck; what passes is spaced by it
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
            // asked for, rate, packets
            (u32::MAX, 0, 1_819),
            (2_000_000, 8_000_000, 1_091), // 1.2 MB is what 1.2 s carry
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
        // the same packet for ever: no more arrivals than packets
        run(&mut gathering, now, 1, &[0; 50], 3);
        assert_eq!(run(&mut gathering, now, 1, &[2], 3), [1]);
        run(&mut gathering, now, 2, &[0; 50], 3);
        let (_, arrivals) = gathering.overdue(now + SILENCE_MAX).unwrap();
        assert_eq!(arrivals.arrivals.len(), 3);
    }
}
