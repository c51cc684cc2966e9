//! The send queue of a link: media packets, keyframe requests and sender reports that the link's task has not
//! taken yet. Bounded.
//!
//! A slow link must not delay the others, so senders never wait: packets that do not fit are dropped. In a
//! video slot all packets up to the next keyframe are dropped, since packets after a gap cannot be decoded;
//! in a sound slot the oldest packet is dropped, since the newest is the most useful. Sequence numbers are
//! assigned when packets are taken out, so a leg shows no gaps.

use plenary_proto::packet::{MediaPacket, PAYLOAD_LEN_MAX};
use std::collections::VecDeque;

use crate::seam::SenderReport;
use plenary_proto::link_layout::{SLOTS_MAX, is_video};

/// A packet and its slot.
pub(crate) type Outgoing = (u8, MediaPacket);

/// The send queue of one link.
#[derive(Debug)]
pub(crate) struct PacketQueue {
    is_open: bool,
    queue: VecDeque<Outgoing>,
    queue_max: usize,
    slot_count: u8,
    /// Bit per slot: drop video until a keyframe.
    waits_for_key: u16,
    /// Bit per slot: request a keyframe from the other end.
    keyframes_wanted: u16,
    reports: [Option<SenderReport>; SLOTS_MAX],
    dropped: [u32; SLOTS_MAX],
}

/// Result of pushing a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    Queued,
    /// The packet was dropped, or the oldest sound packet in its place; drops are being reported already.
    Dropped,
    /// Like `Dropped`, but the first drop since the counts were last taken.
    FirstDropped,
    /// The link is not connected, has no such slot, or the payload is too long.
    Refused,
}

impl PacketQueue {
    pub(crate) fn new(slot_count: u8, queue_max: usize) -> PacketQueue {
        PacketQueue {
            is_open: false,
            queue: VecDeque::new(),
            queue_max,
            slot_count,
            waits_for_key: 0,
            keyframes_wanted: 0,
            reports: [None; SLOTS_MAX],
            dropped: [0; SLOTS_MAX],
        }
    }

    /// Accepts packets from now on: the link is connected.
    pub(crate) fn open(&mut self) {
        self.is_open = true;
    }

    pub(crate) fn is_open(&self) -> bool {
        self.is_open
    }

    pub(crate) fn push(&mut self, slot: u8, packet: MediaPacket) -> Pushed {
        if !self.takes(slot) || packet.payload.len() > PAYLOAD_LEN_MAX {
            return Pushed::Refused;
        }
        let bit = 1_u16 << slot;
        if self.waits_for_key & bit != 0 {
            if !packet.key_start || self.queue.len() >= self.queue_max {
                return self.drop_in(slot);
            }
            self.waits_for_key &= !bit;
        }
        if self.queue.len() < self.queue_max {
            self.queue.push_back((slot, packet));
            return Pushed::Queued;
        }
        if is_video(slot) {
            self.waits_for_key |= bit;
        } else if let Some(oldest) = self.queue.iter().position(|&(of, _)| of == slot) {
            self.queue.remove(oldest);
            self.queue.push_back((slot, packet));
        }
        self.drop_in(slot)
    }

    fn drop_in(&mut self, slot: u8) -> Pushed {
        let is_first = self.dropped.iter().all(|&count| count == 0);
        if let Some(count) = self.dropped.get_mut(usize::from(slot)) {
            *count = count.saturating_add(1);
        }
        if is_first { Pushed::FirstDropped } else { Pushed::Dropped }
    }

    /// Whether the link is connected and has the slot.
    fn takes(&self, slot: u8) -> bool {
        self.is_open && slot < self.slot_count
    }

    pub(crate) fn want_keyframe(&mut self, slot: u8) -> bool {
        let takes = self.takes(slot);
        if takes {
            self.keyframes_wanted |= 1 << slot;
        }
        takes
    }

    pub(crate) fn report(&mut self, slot: u8, report: SenderReport) -> bool {
        if !self.takes(slot) {
            return false;
        }
        let place = self.reports.get_mut(usize::from(slot));
        place.map(|place| *place = Some(report)).is_some()
    }

    /// Moves the oldest packets, `packets_max` at most, to `taken`, which must be empty. Returns whether others are
    /// left.
    pub(crate) fn take_packets(&mut self, taken: &mut VecDeque<Outgoing>, packets_max: usize) -> bool {
        if self.queue.len() <= packets_max {
            std::mem::swap(&mut self.queue, taken);
        } else {
            taken.extend(self.queue.drain(..packets_max));
        }
        !self.queue.is_empty()
    }

    /// Takes the RTCP to send: the slots for which this end requests a keyframe (PLI) from the other end, and the
    /// pending sender reports.
    pub(crate) fn take_rtcp(&mut self) -> (Vec<u8>, Vec<(u8, SenderReport)>) {
        let wanted = std::mem::take(&mut self.keyframes_wanted);
        let slots = (0..self.slot_count).filter(|slot| wanted & (1 << slot) != 0).collect();
        let reports = (0..).zip(&mut self.reports).filter_map(|(slot, report)| Some((slot, report.take()?)));
        (slots, reports.collect())
    }

    /// Takes the number of dropped packets of each slot, since the last call.
    pub(crate) fn take_drops(&mut self) -> Vec<(u8, u32)> {
        let drops = (0..).zip(std::mem::take(&mut self.dropped));
        drops.filter(|&(_, packets)| packets > 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use plenary_proto::StreamId;
    use plenary_proto::identity::PacketIdentity;
    use proptest::prelude::*;

    const NO_DROPS: [(u8, u32); 0] = [];

    fn packet(number: u64, key_start: bool) -> MediaPacket {
        MediaPacket {
            identity: PacketIdentity { stream: StreamId([1; 8]), number },
            timestamp: 0,
            marker: false,
            key_start,
            audio_level: None,
            contributors: Default::default(),
            payload: Bytes::from_static(b"x"),
        }
    }

    fn open(queue_max: usize) -> PacketQueue {
        let mut packet_queue = PacketQueue::new(6, queue_max);
        packet_queue.open();
        packet_queue
    }

    fn numbers(packet_queue: &mut PacketQueue, slot: u8) -> Vec<u64> {
        let mut taken = VecDeque::new();
        packet_queue.take_packets(&mut taken, usize::MAX);
        taken.iter().filter(|(of, _)| *of == slot).map(|(_, packet)| packet.identity.number).collect()
    }

    #[test]
    fn packets_are_taken_in_order_and_in_batches() {
        let (mut packet_queue, mut taken) = (open(9), VecDeque::new());
        (1..=5).for_each(|number| assert_eq!(packet_queue.push(0, packet(number, false)), Pushed::Queued));
        let mut batch = |packets_max| {
            let are_left = packet_queue.take_packets(&mut taken, packets_max);
            (taken.drain(..).map(|(_, packet)| packet.identity.number).collect::<Vec<_>>(), are_left)
        };
        assert_eq!(batch(2), (vec![1, 2], true));
        assert_eq!(batch(2), (vec![3, 4], true));
        assert_eq!(batch(2), (vec![5], false));
        assert_eq!(batch(2), (vec![], false));
    }

    #[test]
    fn video_that_does_not_fit_is_dropped_up_to_the_next_key_frame() {
        let mut packet_queue = open(3);
        for number in 1..=5 {
            packet_queue.push(0, packet(number, false));
        }
        assert_eq!(numbers(&mut packet_queue, 0), [1, 2, 3]);
        for number in 6..=7 {
            assert_eq!(
                packet_queue.push(0, packet(number, false)),
                Pushed::Dropped,
                "there is room, but a hole before it"
            );
        }
        for number in 8..=9 {
            assert_eq!(packet_queue.push(0, packet(number, number == 8)), Pushed::Queued);
        }
        assert_eq!(numbers(&mut packet_queue, 0), [8, 9]);
        assert_eq!(packet_queue.take_drops(), [(0, 4)]);
        assert_eq!(packet_queue.take_drops(), NO_DROPS);
    }

    #[test]
    fn a_key_frame_that_does_not_fit_is_no_end_of_the_drop() {
        let mut packet_queue = open(1);
        packet_queue.push(0, packet(1, true));
        packet_queue.push(0, packet(2, false));
        packet_queue.push(0, packet(3, true));
        assert_eq!(numbers(&mut packet_queue, 0), [1]);
        assert_eq!(packet_queue.push(0, packet(4, false)), Pushed::Dropped);
        assert_eq!(packet_queue.push(0, packet(5, true)), Pushed::Queued);
    }

    #[test]
    fn sound_that_does_not_fit_displaces_the_oldest_sound_of_its_slot() {
        let mut packet_queue = open(4);
        packet_queue.push(0, packet(100, false));
        for number in 1..=5 {
            packet_queue.push(1, packet(number, false));
        }
        assert_eq!(packet_queue.push(3, packet(7, false)), Pushed::Dropped, "none of its own to displace");
        assert_eq!(packet_queue.take_drops(), [(1, 2), (3, 1)]);
        let mut taken = VecDeque::new();
        packet_queue.take_packets(&mut taken, usize::MAX);
        let order: Vec<_> = taken.iter().map(|(slot, packet)| (*slot, packet.identity.number)).collect();
        assert_eq!(order, [(0, 100), (1, 3), (1, 4), (1, 5)]);
    }

    #[test]
    fn a_link_that_is_not_connected_takes_nothing() {
        let mut packet_queue = PacketQueue::new(6, 512);
        let report = SenderReport { ntp_time: 1, rtp_time: 2 };
        assert_eq!(packet_queue.push(0, packet(1, true)), Pushed::Refused);
        assert!(!packet_queue.want_keyframe(0) && !packet_queue.report(0, report));
        packet_queue.open();
        assert_eq!(packet_queue.push(6, packet(1, true)), Pushed::Refused, "no such slot");
        assert!(!packet_queue.want_keyframe(6) && !packet_queue.report(255, report));
        let long = MediaPacket { payload: Bytes::from(vec![0; PAYLOAD_LEN_MAX + 1]), ..packet(1, true) };
        assert_eq!(packet_queue.push(0, long), Pushed::Refused);
        assert_eq!(packet_queue.take_drops(), NO_DROPS);
    }

    #[test]
    fn wishes_for_key_frames_and_reports_are_merged() {
        let mut packet_queue = open(1);
        for slot in [4, 0, 4, 4] {
            assert!(packet_queue.want_keyframe(slot));
        }
        for rtp_time in 0..3 {
            assert!(packet_queue.report(1, SenderReport { ntp_time: 9, rtp_time }));
        }
        assert_eq!(
            packet_queue.take_rtcp(),
            (vec![0, 4], vec![(1, SenderReport { ntp_time: 9, rtp_time: 2 })])
        );
        assert_eq!(packet_queue.take_rtcp(), (vec![], vec![]));
    }

    proptest! {
        #[test]
        fn whatever_comes_the_bound_holds_and_every_packet_is_accounted_for(
            pushes in proptest::collection::vec((0_u8..8, any::<bool>(), 0_u8..10), 0..300),
        ) {
            let mut packet_queue = open(16);
            let (mut taken, mut sent, mut refused) = (VecDeque::new(), 0, 0);
            for (index, &(slot, key_start, take)) in pushes.iter().enumerate() {
                let pushed = packet_queue.push(slot, packet(index as u64, key_start && is_video(slot)));
                refused += usize::from(pushed == Pushed::Refused);
                prop_assert!(packet_queue.queue.len() <= 16);
                if take == 0 {
                    packet_queue.take_packets(&mut taken, usize::MAX);
                    sent += taken.drain(..).count();
                }
            }
            packet_queue.take_packets(&mut taken, usize::MAX);
            sent += taken.len();
            let dropped: u32 = packet_queue.take_drops().iter().map(|(_, packets)| packets).sum();
            prop_assert_eq!(sent + refused + dropped as usize, pushes.len());
        }
    }
}
