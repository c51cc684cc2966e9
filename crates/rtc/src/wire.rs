//! State shared by the commands of a link and the driver task of its connection.
//!
//! A command from any thread stores its packet or request here and nudges the driver; the driver's
//! interceptors pick it up. A nudge makes the link's socket return an empty datagram, which costs the driver
//! one turn of its loop, independent of the number of packets waiting. (The driver's own interface is an
//! async call per packet and costs one turn for each. At 6 Mbit/s to 32 children a forwarded packet takes 7.2
//! µs of processor time by that interface, and 2.9 µs by nudges.) Each turn takes one batch, so that a caller
//! that submits packets without pause cannot keep the driver from sending.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use futures::task::AtomicWaker;
use plenary_proto::packet::{LinkStats, MediaPacket};
use tokio::sync::Notify;

use crate::packet_queue::{PacketQueue, Pushed};
use crate::seam::SenderReport;
use crate::sync::lock;
use crate::template::Ssrcs;
use crate::train::Departures;

/// Value of `rtt_us` until a round trip was measured.
const RTT_UNKNOWN: u64 = u64::MAX;

#[derive(Debug)]
pub(crate) struct Wire {
    /// SSRCs of this end.
    pub(crate) local: Ssrcs,
    /// SSRCs of the other end, once its description is known.
    pub(crate) remote: OnceLock<Ssrcs>,
    /// Packets and RTCP to be sent.
    pub(crate) packet_queue: Mutex<PacketQueue>,
    /// The packet train being sent.
    pub(crate) departures: Mutex<Option<Departures>>,
    /// Notified by the first drop since the drop counts were last taken.
    pub(crate) dropped: Notify,
    pub(crate) counters: Counters,
    /// Source address of the answer to the newest check.
    answered_from: Mutex<Option<IpAddr>>,
    nudges: Nudges,
    /// Whether the link's sockets accept no datagrams.
    #[cfg(test)]
    pub(crate) is_stalled: AtomicBool,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) udp_bytes_sent: AtomicU64,
    pub(crate) udp_bytes_received: AtomicU64,
    pub(crate) packets_sent: AtomicU64,
    pub(crate) packets_received: AtomicU64,
    pub(crate) repairs_requested: AtomicU64,
    pub(crate) repairs_sent: AtomicU64,
    packets_dropped: AtomicU64,
    rtt_us: AtomicU64,
}

impl Counters {
    /// Whether more than one of `one_in` media packets so far was repaired, in both directions together;
    /// `false` below 100 packets.
    pub(crate) fn loses(&self, one_in: u64) -> bool {
        const PACKETS_MIN: u64 = 100;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let packets = read(&self.packets_sent) + read(&self.packets_received);
        let repairs = read(&self.repairs_sent) + read(&self.repairs_requested);
        packets >= PACKETS_MIN && repairs * one_in > packets
    }
}

/// Maximum number of packets that a link hands to the stack in one turn of its driver. The stack carries all of them
/// from handler to handler in queues that never shrink: a train of 200 kB, or the past that a newcomer gets, left a
/// megabyte in each link end. A frame of 1.5 Mbit/s has 7 packets.
pub(crate) const TURN_PACKETS_MAX: usize = 16;

#[derive(Debug, Default)]
struct Nudges {
    /// The next socket read is to return an empty datagram.
    wanted: AtomicBool,
    /// A socket returned the empty datagram: the next batch of media may be taken.
    granted: AtomicBool,
    /// The same for the packet train being sent.
    train_granted: AtomicBool,
    /// Wakers of the tasks that wait for the link's sockets.
    wakers: Mutex<Vec<Arc<AtomicWaker>>>,
}

impl Wire {
    pub(crate) fn new(local: Ssrcs, queue_packets_max: usize) -> Wire {
        let slot_count = local.slots().len() as u8;
        Wire {
            local,
            remote: OnceLock::new(),
            packet_queue: Mutex::new(PacketQueue::new(slot_count, queue_packets_max)),
            departures: Mutex::new(None),
            dropped: Notify::new(),
            answered_from: Mutex::new(None),
            counters: Counters { rtt_us: AtomicU64::new(RTT_UNKNOWN), ..Counters::default() },
            nudges: Nudges::default(),
            #[cfg(test)]
            is_stalled: AtomicBool::new(false),
        }
    }

    pub(crate) fn forward(&self, slot: u8, packet: MediaPacket) {
        let pushed = lock(&self.packet_queue).push(slot, packet);
        if pushed == Pushed::Queued {
            return self.nudge();
        }
        self.counters.packets_dropped.fetch_add(1, Ordering::Relaxed);
        if pushed == Pushed::FirstDropped {
            self.dropped.notify_one();
        }
    }

    pub(crate) fn want_keyframe(&self, slot: u8) {
        if lock(&self.packet_queue).want_keyframe(slot) {
            self.nudge();
        }
    }

    pub(crate) fn report(&self, slot: u8, report: SenderReport) {
        if lock(&self.packet_queue).report(slot, report) {
            self.nudge();
        }
    }

    /// Starts a packet train. Returns `false` if another train is being sent or the link is not connected.
    pub(crate) fn send_train(&self, train: u32, bytes: u32, rate_bps: u64) -> bool {
        let is_open = lock(&self.packet_queue).is_open();
        let mut departures = lock(&self.departures);
        let is_free = departures.is_none() && is_open;
        if is_free {
            *departures = Some(Departures::new(train, bytes, rate_bps, Instant::now()));
            drop(departures);
            self.nudge();
        }
        is_free
    }

    /// Wakes the driver for one turn of its loop.
    pub(crate) fn nudge(&self) {
        if !self.nudges.wanted.swap(true, Ordering::AcqRel) {
            lock(&self.nudges.wakers).iter().for_each(|waker| waker.wake());
        }
    }

    /// Called by a socket: whether it has to return an empty datagram now.
    pub(crate) fn take_nudge(&self) -> bool {
        let wanted = self.nudges.wanted.swap(false, Ordering::AcqRel);
        if wanted {
            self.nudges.granted.store(true, Ordering::Release);
            self.nudges.train_granted.store(true, Ordering::Release);
        }
        wanted
    }

    /// Called by the interceptor that empties the send queue: whether it may take a batch in this turn.
    pub(crate) fn take_grant(&self) -> bool {
        self.nudges.granted.swap(false, Ordering::AcqRel)
    }

    /// Called by the interceptor that sends trains: whether it may send a batch in this turn.
    pub(crate) fn take_train_grant(&self) -> bool {
        self.nudges.train_granted.swap(false, Ordering::AcqRel)
    }

    /// Registers a socket, to be woken by nudges.
    pub(crate) fn add_waker(&self) -> Arc<AtomicWaker> {
        let waker = Arc::new(AtomicWaker::new());
        lock(&self.nudges.wakers).push(waker.clone());
        waker
    }

    /// Number of sockets that were created.
    pub(crate) fn sockets(&self) -> usize {
        lock(&self.nudges.wakers).len()
    }

    /// Records the round-trip time of a check, and the source address of its answer.
    pub(crate) fn answered(&self, rtt: Duration, from: IpAddr) {
        self.counters.rtt_us.store(rtt.as_micros() as u64, Ordering::Relaxed);
        *lock(&self.answered_from) = Some(from);
    }

    /// Round-trip time of the newest check.
    pub(crate) fn rtt(&self) -> Option<Duration> {
        let rtt_us = self.counters.rtt_us.load(Ordering::Relaxed);
        (rtt_us != RTT_UNKNOWN).then(|| Duration::from_micros(rtt_us))
    }

    pub(crate) fn stats(&self) -> LinkStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.counters;
        LinkStats {
            udp_bytes_sent: read(&counters.udp_bytes_sent),
            udp_bytes_received: read(&counters.udp_bytes_received),
            packets_sent: read(&counters.packets_sent),
            packets_received: read(&counters.packets_received),
            repairs_requested: read(&counters.repairs_requested),
            repairs_sent: read(&counters.repairs_sent),
            packets_dropped: read(&counters.packets_dropped),
            rtt_us: self.rtt().map(|rtt| rtt.as_micros() as u64),
            remote: *lock(&self.answered_from),
        }
    }
}
