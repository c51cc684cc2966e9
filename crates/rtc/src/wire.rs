//! State shared by the commands of a link and the task of its connection.
//!
//! A command from any thread stores its packet, message or request here and wakes the task, which costs one
//! turn of its loop, independent of the number of packets waiting. Each turn takes one batch of media, so
//! that a caller that submits packets without pause cannot keep the task from sending.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};
use std::task::Waker;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::task::AtomicWaker;
use plenary_proto::app::Way;
use plenary_proto::message::BrowserMedia;
use plenary_proto::packet::{LinkStats, MediaPacket};
use tokio::sync::Notify;

use crate::packet_queue::{PacketQueue, Pushed};
use crate::seam::SenderReport;
use crate::sync::lock;
use crate::train::Departures;
use crate::tunnels::{self, By};
use plenary_proto::link_layout::{Ssrcs, is_video};

/// Maximum number of frames of tunnels that wait for a link's task, as many as a batch of arrivals several times over.
/// A guess.
const FRAMES_MAX: usize = 256;
/// Value of `rtt_us` until a round trip was measured.
const RTT_UNKNOWN: u64 = u64::MAX;

#[derive(Debug)]
pub(crate) struct Wire {
    /// SSRCs of this end.
    pub(crate) local: Ssrcs,
    /// SSRCs of the other end, once its description is known.
    pub(crate) remote: OnceLock<Ssrcs>,
    /// RTP parameters of the other end, if it is a browser.
    pub(crate) browser: OnceLock<BrowserMedia>,
    /// Whether the other end takes pictures: it is no browser without H.264.
    pub(crate) takes_pictures: AtomicBool,
    /// Packets and RTCP to be sent.
    pub(crate) packet_queue: Mutex<PacketQueue>,
    /// Frames of tunnels to be sent.
    frames: Mutex<VecDeque<Bytes>>,
    /// The link's own tunnels.
    pub(crate) tunnel: tunnels::End,
    /// The packet train being sent.
    pub(crate) departures: Mutex<Option<Departures>>,
    /// Notified by the first drop since the drop counts were last taken.
    pub(crate) dropped: Notify,
    pub(crate) counters: Counters,
    /// Addresses of this end's sockets, and then the one that the link goes by.
    bound: Mutex<Vec<IpAddr>>,
    /// Source address of the answer to the newest check.
    answered_from: Mutex<Option<IpAddr>>,
    /// By which way the link goes.
    way: Mutex<Way>,
    wakeups: Wakeups,
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

/// Maximum number of packets that a link takes in one turn of its task: a train of 200 kB, or the past that a newcomer
/// gets, would otherwise lie in memory sealed. A frame of 1.5 Mbit/s has 7 packets.
pub(crate) const TURN_PACKETS_MAX: usize = 16;

/// What the link's task was woken for.
#[derive(Debug, Default)]
struct Wakeups {
    waker: AtomicWaker,
    /// Packets, RTCP or a train wait.
    media: AtomicBool,
    /// Messages wait.
    messages: AtomicBool,
    /// Frames of tunnels wait.
    frames: AtomicBool,
}

/// Clears a flag and returns whether it was set. The flag is read first, since most turns are for a datagram that
/// arrived, and then none is set.
fn take(flag: &AtomicBool) -> bool {
    flag.load(Ordering::Acquire) && flag.swap(false, Ordering::AcqRel)
}

impl Wire {
    pub(crate) fn new(local: Ssrcs, queue_packets_max: usize) -> Wire {
        let slot_count = local.slots().len() as u8;
        Wire {
            local,
            remote: OnceLock::new(),
            browser: OnceLock::new(),
            takes_pictures: AtomicBool::new(true),
            packet_queue: Mutex::new(PacketQueue::new(slot_count, queue_packets_max)),
            frames: Mutex::default(),
            tunnel: tunnels::End::default(),
            departures: Mutex::new(None),
            dropped: Notify::new(),
            bound: Mutex::default(),
            answered_from: Mutex::new(None),
            way: Mutex::default(),
            counters: Counters { rtt_us: AtomicU64::new(RTT_UNKNOWN), ..Counters::default() },
            wakeups: Wakeups::default(),
            #[cfg(test)]
            is_stalled: AtomicBool::new(false),
        }
    }

    pub(crate) fn forward(&self, slot: u8, packet: MediaPacket) {
        if is_video(slot) && !self.takes_pictures.load(Ordering::Relaxed) {
            return;
        }
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

    /// Queues a frame of a tunnel. Returns whether there was room.
    pub(crate) fn send_frame(&self, frame: Bytes) -> bool {
        let mut frames = lock(&self.frames);
        let has_room = frames.len() < FRAMES_MAX;
        if has_room {
            frames.push_back(frame);
            drop(frames);
            if !self.wakeups.frames.swap(true, Ordering::AcqRel) {
                self.wakeups.waker.wake();
            }
        }
        has_room
    }

    /// Called by the link's task: whether frames of tunnels wait since the last call.
    pub(crate) fn take_frames_wait(&self) -> bool {
        take(&self.wakeups.frames)
    }

    /// Called by the link's task: the frames to be sent now.
    pub(crate) fn take_frames(&self) -> VecDeque<Bytes> {
        std::mem::take(&mut *lock(&self.frames))
    }

    /// Lets the link go through a tunnel, too.
    pub(crate) fn open_tunnel(&self, by: By) {
        if self.tunnel.open(by) {
            self.wakeups.waker.wake();
        }
    }

    /// Keeps a datagram that came through a tunnel of the link for its task.
    pub(crate) fn arrived_by_tunnel(&self, by: By, datagram: &[u8]) {
        if self.tunnel.push(by, datagram) {
            self.wakeups.waker.wake();
        }
    }

    /// Wakes the link's task for one turn that sends media.
    pub(crate) fn nudge(&self) {
        if !self.wakeups.media.swap(true, Ordering::AcqRel) {
            self.wakeups.waker.wake();
        }
    }

    /// Wakes the link's task to send messages.
    pub(crate) fn messages_wait(&self) {
        if !self.wakeups.messages.swap(true, Ordering::AcqRel) {
            self.wakeups.waker.wake();
        }
    }

    /// Called by the link's task before it sleeps, so that [`Wire::nudge`] and [`Wire::messages_wait`] wake it.
    pub(crate) fn register(&self, waker: &Waker) {
        self.wakeups.waker.register(waker);
    }

    /// Called by the link's task: whether this turn sends media.
    pub(crate) fn take_nudge(&self) -> bool {
        take(&self.wakeups.media)
    }

    /// Called by the link's task: whether messages wait since the last call.
    pub(crate) fn take_messages_wait(&self) -> bool {
        take(&self.wakeups.messages)
    }

    /// Records the round-trip time of a check, and the source address of its answer; `None`: a tunnel.
    pub(crate) fn answered(&self, rtt: Duration, from: Option<IpAddr>) {
        self.counters.rtt_us.store(rtt.as_micros() as u64, Ordering::Relaxed);
        *lock(&self.answered_from) = from;
    }

    /// Round-trip time of the newest check.
    pub(crate) fn rtt(&self) -> Option<Duration> {
        let rtt_us = self.counters.rtt_us.load(Ordering::Relaxed);
        (rtt_us != RTT_UNKNOWN).then(|| Duration::from_micros(rtt_us))
    }

    /// Sets the address of this end that the link goes by from now on, and its way. Through a tunnel it goes by none.
    pub(crate) fn set_path(&self, address: Option<IpAddr>, way: Way) {
        self.set_bound(address);
        *lock(&self.way) = way;
    }

    /// Whether the link is connected, so that ICE can be restarted.
    pub(crate) fn can_restart(&self) -> bool {
        lock(&self.packet_queue).is_open()
    }

    /// Sets the addresses of this end's sockets.
    pub(crate) fn set_bound(&self, addresses: impl IntoIterator<Item = IpAddr>) {
        *lock(&self.bound) = addresses.into_iter().collect();
    }

    /// Returns whether this machine, with these addresses, has none left of those that the link may go by.
    pub(crate) fn is_unbound(&self, addresses: &[IpAddr]) -> bool {
        let bound = lock(&self.bound);
        !bound.is_empty() && !bound.iter().any(|ip| ip.is_unspecified() || addresses.contains(ip))
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
            queue_us: 0,
            remote: *lock(&self.answered_from),
            way: *lock(&self.way),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use bytes::Bytes;
    use plenary_proto::StreamId;
    use plenary_proto::identity::PacketIdentity;
    use plenary_proto::message::LinkKind;

    use super::*;

    #[test]
    fn a_browser_without_h264_is_sent_sound_only() {
        let wire = Wire::new(Ssrcs::of(LinkKind::Peer, "abcd"), 64);
        lock(&wire.packet_queue).open();
        let packet = MediaPacket {
            identity: PacketIdentity { stream: StreamId([1; 8]), number: 1 },
            timestamp: 0,
            marker: false,
            key_start: true,
            audio_level: None,
            contributors: Default::default(),
            payload: Bytes::from_static(b"x"),
        };
        for (takes_pictures, slots) in [(true, vec![0, 1, 2, 3]), (false, vec![1, 3])] {
            wire.takes_pictures.store(takes_pictures, Ordering::Relaxed);
            (0..4).for_each(|slot| wire.forward(slot, packet.clone()));
            let mut taken = VecDeque::new();
            lock(&wire.packet_queue).take_packets(&mut taken, 64);
            assert_eq!(taken.iter().map(|(slot, _)| *slot).collect::<Vec<_>>(), slots);
        }
        assert_eq!(wire.stats().packets_dropped, 0);
    }
}
