//! Benchmark of a relay: processor time and delay of each forwarded packet, beside the bare stack in the same run.
//!
//! Source and children (leaves) each run on one thread of their own, and the relay on its own threads, or in a process
//! of its own: another server, too, if its end of each link is a [`RelayEnd`]. The processor time of the relay covers
//! receiving, connectivity checks, feedback and sending; it is divided by the packets sent. The bare stack forwards
//! as in its own examples: one task per track awaits the write to each child.
//!
//! Linux only: processor time and memory are read from `/proc`.

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot set up its links ends with the reason")]

mod bare;
mod crowd;
mod host;
mod ours;

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use plenary_proto::identity::h264;
use plenary_proto::message::Description;
use plenary_proto::packet::{LinkId, MediaPacket};

pub use bare::BareRelay;
pub use crowd::{CrowdFigures, CrowdWork, RATE_BPS_MAX, crowd};
use host::{Host, threads_cpu_us};
pub use ours::{OurRelay, Relay};

/// Interval between the source's frames.
pub const FRAME_INTERVAL: Duration = Duration::from_millis(40);
const WARM_UP: Duration = Duration::from_millis(1_500);
/// Time limit of each step of setting up a link. A guess.
const STEP_MAX: Duration = Duration::from_secs(10);
/// Clock ticks a second in `/proc/stat`.
const TICKS_PER_SECOND: f64 = 100.0;
/// Number of bytes in a frame's last payload that hold its send time, in microseconds since the start: one for each
/// hexadecimal digit, so that no start code arises.
const STAMP_LEN: usize = 16;
/// Bits that make a byte of a digit.
const DIGIT: u8 = 0x40;

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
    /// Address of source and children.
    pub address: IpAddr,
    /// Time that is measured.
    pub measured: Duration,
}

/// Makes the packets of the source's next frame. The send time of a frame is written into the tail of its
/// identity, or, without one, over its last 16 bytes.
pub type Source = Box<dyn FnMut() -> Vec<MediaPacket> + Send>;

/// Reason why a round failed.
pub type Failed = Box<dyn std::error::Error + Send + Sync>;

/// The end of all links at a relay, in this process or another. `D` describes an end of a link: [`Description`] or, on
/// the bare stack, SDP.
#[async_trait]
pub trait RelayEnd<D>: Send {
    /// Answers the source's offer.
    async fn publish(&mut self, offer: D) -> Result<D, Failed>;

    /// Offers a link to the next child.
    async fn subscribe(&mut self) -> Result<D, Failed>;

    /// Accepts the answer to the last offer.
    async fn accept(&mut self, answer: D) -> Result<(), Failed>;

    /// Returns the processor time so far, in microseconds.
    fn cpu_us(&self) -> f64;

    /// Returns the id of the relay's process.
    fn process(&self) -> u32 {
        std::process::id()
    }
}

/// Returns the processor time of a process's threads so far, user and system, in microseconds.
pub fn process_cpu_us(process: u32) -> f64 {
    threads_cpu_us(process, |_| true)
}

/// Returns the resident memory of a process, in KiB.
fn resident_kib(process: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let value = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    value.and_then(|value| value.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}

/// Returns the processor time of the whole machine so far, in microseconds.
fn machine_cpu_us() -> f64 {
    let statistics = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let ticks = statistics.lines().next().unwrap_or_default().split_whitespace().skip(1);
    let ticks: Vec<f64> = ticks.filter_map(|ticks| ticks.parse().ok()).collect();
    // user, nice, system, idle, iowait, irq, softirq, steal; what follows is counted in user and nice as well
    let busy = ticks.iter().enumerate().filter(|(field, _)| *field < 8 && ![3, 4].contains(field));
    busy.map(|(_, ticks)| ticks).sum::<f64>() / TICKS_PER_SECOND * 1e6
}

/// Waits for a step of setting up, at most [`STEP_MAX`].
async fn in_time<T>(what: &str, step: impl Future<Output = Result<T, Failed>>) -> Result<T, Failed> {
    match tokio::time::timeout(STEP_MAX, step).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(reason)) => Err(format!("{what}: {reason}").into()),
        Err(_) => Err(format!("{what}: none in {} s", STEP_MAX.as_secs()).into()),
    }
}

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
    /// Number of packets that the source sent, per second.
    pub packets_per_s: f64,
    /// Resident memory that the relay's process has gained since its source was connected, for each child, in KiB.
    /// Meaningless when relay and leaves share a process.
    pub kib_per_child: f64,
    /// Processor time of other processes on the machine while the round was measured, in cores.
    pub others_cores: f64,
}

impl Figures {
    /// Returns a percentile of the delays, in microseconds.
    pub fn delay_us(&self, percent: usize) -> u32 {
        let last = self.delays_us.len().saturating_sub(1);
        self.delays_us.get(last * percent / 100).copied().unwrap_or_default()
    }
}

/// Runs one round with source and leaves on the bare stack.
pub async fn bare(work: Work, relay: &mut dyn RelayEnd<String>, source: Source) -> Result<Figures, Failed> {
    let running = bare::start(work, relay, source).await?;
    Ok(measure(running, work, relay).await)
}

/// Runs one round with source and leaves over this crate.
pub async fn ours(
    work: Work,
    relay: &mut dyn RelayEnd<Description>,
    source: Source,
) -> Result<Figures, Failed> {
    let running = ours::start(work, relay, source).await?;
    Ok(measure(running, work, relay).await)
}

/// Source and leaves of a relay; they stop when dropped.
struct Running {
    leaves: Host,
    _source: Host,
    sent: Arc<AtomicU64>,
    arrived: Arc<Arrivals>,
    /// Resident memory of the relay's process before the children came.
    before_kib: f64,
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
            && let Some(stamp) = payload[..payload.len() - trailing_len(payload)].last_chunk::<STAMP_LEN>()
        {
            let now_us = self.start.elapsed().as_micros() as u64;
            let sent_us = stamp.iter().fold(0, |us, digit| us << 4 | u64::from(digit & !DIGIT));
            let delay_us = now_us.saturating_sub(sent_us);
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
    let sent_us = start.elapsed().as_micros() as u64;
    let digits = (0..STAMP_LEN as u64).rev().map(|digit| DIGIT | (sent_us >> (4 * digit) & 0xf) as u8);
    match identity_at(&payload) {
        Some(at) => {
            // in a STAP-A, a length of two bytes precedes the unit's header
            if payload[0] & 0x1f == 24
                && let Some([high, low, _]) = payload[..at].last_chunk_mut()
            {
                [*high, *low] = (u16::from_be_bytes([*high, *low]) + STAMP_LEN as u16).to_be_bytes();
            }
            let end = payload.len() - trailing_len(&payload);
            payload.splice(end..end, digits);
        }
        None => {
            let begin = payload.len().saturating_sub(STAMP_LEN);
            payload.truncate(begin);
            payload.extend(digits);
        }
    }
    packet.payload = payload.into();
    packet
}

/// Position of a frame's identity, behind the header of its NAL unit.
fn identity_at(payload: &[u8]) -> Option<usize> {
    payload.windows(h264::TAG.len()).rposition(|bytes| bytes == h264::TAG)
}

/// Length of the trailing bits behind the tail of an identity; 0 without an identity.
fn trailing_len(payload: &[u8]) -> usize {
    usize::from(identity_at(payload).is_some())
}

/// Counters at one instant.
struct Reading {
    at: Instant,
    relay_us: f64,
    leaves_us: f64,
    own_us: f64,
    machine_us: f64,
    sent: u64,
    arrived: u64,
}

impl Reading {
    fn take<D>(running: &Running, relay: &dyn RelayEnd<D>) -> Reading {
        Reading {
            at: Instant::now(),
            relay_us: relay.cpu_us(),
            leaves_us: running.leaves.cpu_us(),
            own_us: process_cpu_us(std::process::id()),
            machine_us: machine_cpu_us(),
            sent: running.sent.load(Ordering::Relaxed),
            arrived: running.arrived.packets.load(Ordering::Relaxed),
        }
    }
}

async fn measure<D>(running: Running, work: Work, relay: &dyn RelayEnd<D>) -> Figures {
    tokio::time::sleep(WARM_UP).await;
    running.arrived.is_measured.store(true, Ordering::Relaxed);
    let before = Reading::take(&running, relay);
    tokio::time::sleep(work.measured).await;
    let after = Reading::take(&running, relay);
    let (sent, children) = ((after.sent - before.sent) as f64, work.children as f64);
    let (due, duration) = (sent * children, after.at - before.at);
    let relay_us = after.relay_us - before.relay_us;
    let measured_us =
        after.own_us - before.own_us + if relay.process() == std::process::id() { 0.0 } else { relay_us };
    let others_us = after.machine_us - before.machine_us - measured_us;
    let mut delays_us = std::mem::take(&mut *running.arrived.delays_us.lock().unwrap());
    delays_us.sort_unstable();
    Figures {
        us_per_packet: relay_us / due,
        leaf_us_per_packet: (after.leaves_us - before.leaves_us) / due,
        delivered: (after.arrived - before.arrived) as f64 / due,
        delays_us,
        packets_per_s: sent / duration.as_secs_f64(),
        kib_per_child: (resident_kib(relay.process()) - running.before_kib) / children,
        others_cores: others_us.max(0.0) / 1e6 / duration.as_secs_f64(),
    }
}
