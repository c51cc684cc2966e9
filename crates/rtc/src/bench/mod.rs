//! Benchmark of a relay: processor time and delay of each forwarded packet, beside the bare stack in the same run.
//!
//! Source, relay and children (leaves) each run on threads of their own. The processor time of the relay's threads
//! covers receiving, connectivity checks, feedback and sending; it is divided by the packets sent. The bare stack
//! forwards as in its own examples: one task per track awaits the write to each child. Rounds alternate between the
//! two, since other work on the machine affects both.
//!
//! Linux only: the processor time of threads is read from `/proc`.

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot set up its links ends with the reason")]

mod bare;
mod host;
mod ours;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use plenary_proto::packet::{LinkId, MediaPacket};

use crate::links::Links;
use crate::seam::PacketSink;
use host::Host;

/// Interval between the source's frames.
pub const FRAME_INTERVAL: Duration = Duration::from_millis(40);
const WARM_UP: Duration = Duration::from_millis(1_500);
/// Number of bytes at the end of a frame's last payload that hold its send time, in microseconds since the start.
const STAMP_LEN: usize = 8;

/// Link from the source, at the relay.
pub const UPSTREAM: LinkId = LinkId(1);

/// Returns the relay's link with a child.
pub fn downstream(child: usize) -> LinkId {
    LinkId(2 + child as u64)
}

/// Work of a benchmark.
#[derive(Clone, Copy, Debug)]
pub struct Work {
    /// Number of children.
    pub children: usize,
    /// Number of worker threads of the relay.
    pub workers: usize,
    /// Time that is measured.
    pub measured: Duration,
}

/// Makes the packets of the source's next frame. The last 8 bytes of a frame are overwritten.
pub type Source = Box<dyn FnMut() -> Vec<MediaPacket> + Send>;

/// Makes a relay: a sink that forwards what arrives on [`UPSTREAM`] to all [`downstream`] links, in slot 0.
pub type Relay = Box<dyn FnOnce(Weak<Links>) -> Arc<dyn PacketSink> + Send>;

/// Figures of one round.
#[derive(Clone, Debug)]
pub struct Figures {
    /// Processor time of the relay for each packet sent, in microseconds.
    pub us_per_packet: f64,
    /// Processor time of a child for each packet received, in microseconds.
    pub leaf_us_per_packet: f64,
    /// Share of the packets that arrived at the children.
    pub delivered: f64,
    /// Delay from the source's call to the child's, of each frame's last packet, in microseconds, ascending.
    pub delays_us: Vec<u32>,
}

impl Figures {
    /// Returns a percentile of the delays, in microseconds.
    pub fn delay_us(&self, percent: usize) -> u32 {
        let last = self.delays_us.len().saturating_sub(1);
        self.delays_us.get(last * percent / 100).copied().unwrap_or_default()
    }
}

/// Runs one round over the bare stack.
pub async fn bare(work: Work, source: Source) -> Figures {
    measure(bare::start(work, source).await, work).await
}

/// Runs one round over this crate.
pub async fn ours(work: Work, source: Source, relay: Relay) -> Figures {
    measure(ours::start(work, source, relay).await, work).await
}

/// A running relay with its source and leaves; stops when dropped.
struct Running {
    relay: Host,
    leaves: Host,
    _source: Host,
    sent: Arc<AtomicU64>,
    arrived: Arc<Arrivals>,
    _links: Box<dyn Send>,
}

/// Packets that arrived at the leaves.
struct Arrivals {
    start: Instant,
    packets: AtomicU64,
    is_measured: AtomicBool,
    delays_us: Mutex<Vec<u32>>,
}

impl Arrivals {
    fn new(start: Instant) -> Arrivals {
        Arrivals {
            start,
            packets: AtomicU64::new(0),
            is_measured: AtomicBool::new(false),
            delays_us: Mutex::default(),
        }
    }

    fn arrived(&self, marker: bool, payload: &[u8]) {
        self.packets.fetch_add(1, Ordering::Relaxed);
        if marker
            && self.is_measured.load(Ordering::Relaxed)
            && let Some(stamp) = payload.last_chunk::<STAMP_LEN>()
        {
            let now_us = self.start.elapsed().as_micros() as u64;
            let delay_us = now_us.saturating_sub(u64::from_be_bytes(*stamp));
            self.delays_us.lock().unwrap().push(u32::try_from(delay_us).unwrap_or(u32::MAX));
        }
    }
}

/// Returns a packet with the send time in its payload, if it ends a frame.
fn stamped(mut packet: MediaPacket, start: Instant) -> MediaPacket {
    if !packet.marker {
        return packet;
    }
    let mut payload = packet.payload.to_vec();
    if let Some(stamp) = payload.last_chunk_mut::<STAMP_LEN>() {
        *stamp = (start.elapsed().as_micros() as u64).to_be_bytes();
    }
    packet.payload = payload.into();
    packet
}

async fn measure(running: Running, work: Work) -> Figures {
    tokio::time::sleep(WARM_UP).await;
    running.arrived.is_measured.store(true, Ordering::Relaxed);
    let counts = || {
        let (sent, arrived) = (&running.sent, &running.arrived.packets);
        (sent.load(Ordering::Relaxed), arrived.load(Ordering::Relaxed))
    };
    let (relay, leaves, (sent, arrived)) = (running.relay.cpu_us(), running.leaves.cpu_us(), counts());
    tokio::time::sleep(work.measured).await;
    let (relay, leaves) = (running.relay.cpu_us() - relay, running.leaves.cpu_us() - leaves);
    let (sent_after, arrived_after) = counts();
    let due = (sent_after - sent) as f64 * work.children as f64;
    let mut delays_us = std::mem::take(&mut *running.arrived.delays_us.lock().unwrap());
    delays_us.sort_unstable();
    Figures {
        us_per_packet: relay / due,
        leaf_us_per_packet: leaves / due,
        delivered: (arrived_after - arrived) as f64 / due,
        delays_us,
    }
}
