//! The media legs of a link: converts media packets of the seam to RTP and back.
//!
//! [`Legs`] numbers each leg without gaps, independent of the streams that the leg carries, and repairs losses.
//! A packet without the identity extension is not from a plenary peer and is dropped.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use bytes::Bytes;
use plenary_proto::identity::PacketIdentity;
use plenary_proto::message::PayloadTypes;
use plenary_proto::packet::{
    BrowserPacket, CONTRIBUTORS_MAX, Contributor, Contributors, LinkId, MediaPacket,
};
use rtc::rtcp::payload_feedbacks::full_intra_request::FullIntraRequest;
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc::rtcp::transport_feedbacks::transport_layer_nack::{
    TransportLayerNack, nack_pairs_from_sequence_numbers,
};
use rtc::rtp;

use crate::feedback::BrowserFeedback;
use crate::packet_queue::Outgoing;
use crate::repair::{History, Holes, REPAIR_PACKETS_MAX};
use crate::seam::{PacketSink, SenderReport};
use crate::sync::lock;
use crate::wire::{TURN_PACKETS_MAX, Wire};
use plenary_proto::link_layout::{
    AUDIO_LEVEL_EXTENSION_ID, CONTRIBUTORS_EXTENSION_ID, PACKET_EXTENSION_ID, SLOTS_MAX, is_video,
};

/// Number of copies of each NACK, since a NACK may be lost as well.
const ASKING_COPIES: usize = 2;
/// RFC 6464: the highest bit flags voice activity (RFC 6465: unused), the other bits are the level.
const LEVEL_MASK: u8 = 0x7f;
/// RFC 6464 level of a quiet room: sound at it or below isn't speech.
const QUIET_LEVEL: u8 = 55;

/// The media legs of a link.
pub(crate) struct Legs {
    link: LinkId,
    wire: Arc<Wire>,
    sink: Arc<dyn PacketSink>,
    payload_types: PayloadTypes,
    epoch: Instant,
    sending: [Sending; SLOTS_MAX],
    /// Missing packets of each slot that this end receives.
    holes: [Holes; SLOTS_MAX],
    /// Slots in which a browser's packets have arrived.
    begun: [bool; SLOTS_MAX],
    /// RTCP for a browser, from its first packet on.
    feedback: Option<BrowserFeedback>,
    taken: VecDeque<Outgoing>,
    writing: VecDeque<Leaving>,
}

/// A packet on its way to the other end.
pub(crate) enum Leaving {
    Rtp(rtp::Packet),
    Rtcp(Box<dyn rtc::rtcp::Packet>),
}

/// Sender state of one slot.
#[derive(Default)]
struct Sending {
    history: History,
    /// For sender reports.
    packets: u32,
    payload_bytes: u32,
}

impl Legs {
    pub(crate) fn new(
        link: LinkId,
        wire: Arc<Wire>,
        sink: Arc<dyn PacketSink>,
        payload_types: PayloadTypes,
        epoch: Instant,
    ) -> Legs {
        Legs {
            link,
            wire,
            sink,
            payload_types,
            epoch,
            sending: Default::default(),
            holes: Default::default(),
            begun: Default::default(),
            feedback: None,
            taken: VecDeque::new(),
            writing: VecDeque::new(),
        }
    }

    pub(crate) fn receive_rtp(&mut self, now: Instant, packet: rtp::Packet) {
        let slot = self.wire.remote.get().and_then(|remote| remote.slot_of(packet.header.ssrc));
        let Some(slot) = slot else { return };
        let arrived_us = now.saturating_duration_since(self.epoch).as_micros() as u64;
        if let Some(browser) = self.wire.browser.get() {
            let feedback = self.feedback.get_or_insert_with(|| BrowserFeedback::new(browser));
            feedback.rtp(now, &packet.header);
            let packet = self.of_browser(slot, packet, browser.audio_level_id, now);
            self.wire.counters.packets_received.fetch_add(1, Ordering::Relaxed);
            return self.sink.browser_packet(self.link, slot, packet, arrived_us);
        }
        if let Some(holes) = self.holes.get_mut(usize::from(slot)) {
            holes.arrived(packet.header.sequence_number, now);
        }
        let identity = packet.header.get_extension(PACKET_EXTENSION_ID);
        let Some(identity) = identity.and_then(|bytes| PacketIdentity::from_bytes(&bytes)) else { return };
        let level = level(&packet.header, AUDIO_LEVEL_EXTENSION_ID);
        let packet = MediaPacket {
            identity,
            timestamp: packet.header.timestamp,
            marker: packet.header.marker,
            key_start: is_video(slot) && begins_key_frame(&packet.payload),
            audio_level: level.filter(|_| !is_video(slot)),
            contributors: if is_video(slot) { Contributors::new() } else { contributors(&packet.header) },
            payload: packet.payload,
        };
        self.wire.counters.packets_received.fetch_add(1, Ordering::Relaxed);
        self.sink.packet(self.link, slot, packet, arrived_us);
    }

    /// A packet of a browser. Its leg begins at any number.
    fn of_browser(&mut self, slot: u8, packet: rtp::Packet, level_id: u8, now: Instant) -> BrowserPacket {
        let rtp::Packet { header, payload } = packet;
        let has_begun = &mut self.begun[usize::from(slot)];
        let holes = &mut self.holes[usize::from(slot)];
        if !std::mem::replace(has_begun, true) {
            holes.begin(header.sequence_number);
        }
        BrowserPacket {
            sequence_number: holes.arrived(header.sequence_number, now),
            timestamp: header.timestamp,
            marker: header.marker,
            audio_level: level(&header, level_id).filter(|_| !is_video(slot)),
            payload,
        }
    }

    pub(crate) fn receive_rtcp(&mut self, now: Instant, compound: &[Box<dyn rtc::rtcp::Packet>]) {
        if let Some(feedback) = &mut self.feedback {
            feedback.rtcp(now, compound);
        }
        compound.iter().for_each(|packet| self.receive_feedback(now, &**packet));
    }

    fn receive_feedback(&mut self, now: Instant, packet: &dyn rtc::rtcp::Packet) {
        let packet = packet.as_any();
        if let Some(nack) = packet.downcast_ref::<TransportLayerNack>() {
            self.repair(now, nack);
        } else if let Some(pli) = packet.downcast_ref::<PictureLossIndication>() {
            self.keyframe_wanted(pli.media_ssrc);
        } else if let Some(fir) = packet.downcast_ref::<FullIntraRequest>() {
            fir.fir.iter().for_each(|entry| self.keyframe_wanted(entry.ssrc));
        } else if let Some(report) = packet.downcast_ref::<rtc::rtcp::sender_report::SenderReport>() {
            let slot = self.wire.remote.get().and_then(|remote| remote.slot_of(report.ssrc));
            let report = SenderReport { ntp_time: report.ntp_time, rtp_time: report.rtp_time };
            slot.into_iter().for_each(|slot| self.sink.sender_report(self.link, slot, report));
        }
    }

    fn keyframe_wanted(&self, ssrc: u32) {
        if let Some(slot) = self.wire.local.slot_of(ssrc) {
            self.sink.keyframe_wanted(self.link, slot);
        }
    }

    /// Retransmits the packets that a NACK requests.
    fn repair(&mut self, now: Instant, nack: &TransportLayerNack) {
        let Some(slot) = self.wire.local.slot_of(nack.media_ssrc) else { return };
        let asked = nack.nacks.iter().flat_map(|pair| pair.packet_list());
        for number in asked.take(REPAIR_PACKETS_MAX) {
            let sending = self.sending.get_mut(usize::from(slot));
            let again = sending.and_then(|sending| sending.history.again(number, now));
            let Some((packet, copies)) = again else { continue };
            let Some(packet) = self.compose(slot, number, packet) else { continue };
            let packets = std::iter::repeat_n(packet, copies);
            self.writing.extend(packets.map(Leaving::Rtp));
            // the copies are not counted: they are no measure of loss
            self.wire.counters.repairs_sent.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Next time for [`Legs::send_feedback`].
    pub(crate) fn deadline(&mut self) -> Option<Instant> {
        let reports = self.feedback.as_mut().and_then(BrowserFeedback::deadline);
        self.holes.iter().filter_map(Holes::deadline).chain(reports).min()
    }

    /// Sends the RTCP that is due: NACKs for missing packets, and what a browser's congestion control needs.
    pub(crate) fn send_feedback(&mut self, now: Instant) {
        if let Some(feedback) = &mut self.feedback {
            self.writing.extend(feedback.due(now).into_iter().map(Leaving::Rtcp));
        }
        let rtt = self.wire.rtt();
        for (slot, holes) in (0..).zip(&mut self.holes) {
            let due = holes.due(now, rtt);
            let media_ssrc = self.wire.remote.get().and_then(|remote| remote.of_slot(slot));
            let (Some(media_ssrc), false) = (media_ssrc, due.is_empty()) else { continue };
            self.wire.counters.repairs_requested.fetch_add(due.len() as u64, Ordering::Relaxed);
            let sender_ssrc = self.wire.local.of_slot(slot).unwrap_or_default();
            let nack =
                TransportLayerNack { sender_ssrc, media_ssrc, nacks: nack_pairs_from_sequence_numbers(&due) };
            for _ in 0..ASKING_COPIES {
                self.writing.push_back(Leaving::Rtcp(Box::new(nack.clone())));
            }
        }
    }

    /// The next retransmission, RTCP packet, or packet of the batch.
    pub(crate) fn next(&mut self) -> Option<Leaving> {
        if let Some(packet) = self.writing.pop_front() {
            return Some(packet);
        }
        while let Some(outgoing) = self.taken.pop_front() {
            if let Some(packet) = self.next_of_leg(outgoing) {
                return Some(Leaving::Rtp(packet));
            }
        }
        None
    }

    /// Takes a batch of packets and RTCP from the send queue.
    pub(crate) fn take_batch(&mut self) {
        let mut packet_queue = lock(&self.wire.packet_queue);
        let are_left = packet_queue.take_packets(&mut self.taken, TURN_PACKETS_MAX);
        let (keyframes, reports) = packet_queue.take_rtcp();
        drop(packet_queue);
        if are_left {
            self.wire.nudge();
        }
        for slot in keyframes {
            let media_ssrc = self.wire.remote.get().and_then(|remote| remote.of_slot(slot));
            let Some((media_ssrc, sender_ssrc)) = media_ssrc.zip(self.wire.local.of_slot(slot)) else {
                continue;
            };
            let pli = PictureLossIndication { sender_ssrc, media_ssrc };
            self.writing.push_back(Leaving::Rtcp(Box::new(pli)));
        }
        for (slot, report) in reports {
            let Some(sending) = self.sending.get(usize::from(slot)) else { continue };
            if sending.packets == 0 && self.wire.browser.get().is_some() {
                continue;
            }
            let report = rtc::rtcp::sender_report::SenderReport {
                ssrc: self.wire.local.of_slot(slot).unwrap_or_default(),
                ntp_time: report.ntp_time,
                rtp_time: report.rtp_time,
                packet_count: sending.packets,
                octet_count: sending.payload_bytes,
                ..Default::default()
            };
            self.writing.push_back(Leaving::Rtcp(Box::new(report)));
        }
    }

    /// Gives a packet the next sequence number of its leg.
    fn next_of_leg(&mut self, (slot, packet): Outgoing) -> Option<rtp::Packet> {
        let sending = self.sending.get_mut(usize::from(slot))?;
        sending.packets = sending.packets.wrapping_add(1);
        sending.payload_bytes = sending.payload_bytes.wrapping_add(packet.payload.len() as u32);
        let number = sending.history.push(packet.clone());
        self.wire.counters.packets_sent.fetch_add(1, Ordering::Relaxed);
        self.compose(slot, number, packet)
    }

    fn compose(&self, slot: u8, sequence_number: u16, packet: MediaPacket) -> Option<rtp::Packet> {
        let mut header = rtp::header::Header {
            version: 2,
            marker: packet.marker,
            payload_type: if is_video(slot) { self.payload_types.h264 } else { self.payload_types.opus },
            sequence_number,
            timestamp: packet.timestamp,
            ssrc: self.wire.local.of_slot(slot)?,
            extensions: Vec::with_capacity(3),
            ..Default::default()
        };
        // a browser has the identity inside the frame, and its own extension ids
        let browser = self.wire.browser.get();
        if browser.is_none() {
            let identity = Bytes::copy_from_slice(&packet.identity.to_bytes());
            header.set_extension(PACKET_EXTENSION_ID, identity).ok()?;
        }
        let level_id = browser.map_or(AUDIO_LEVEL_EXTENSION_ID, |browser| browser.audio_level_id);
        if let Some(level) = packet.audio_level.filter(|_| !is_video(slot) && level_id != 0) {
            let level = Bytes::copy_from_slice(&[level & LEVEL_MASK]);
            header.set_extension(level_id, level).ok()?;
        }
        if !packet.contributors.is_empty() && !is_video(slot) {
            // a browser tells its page the contributors, not their levels: those that are named can be heard
            let counts = |voice: &&Contributor| browser.is_none() || voice.level < QUIET_LEVEL;
            let named = packet.contributors.iter().filter(counts).take(CONTRIBUTORS_MAX);
            header.csrc = named.clone().map(|voice| voice.csrc).collect();
            if browser.is_none() {
                let levels = named.map(|voice| voice.level & LEVEL_MASK).collect();
                header.set_extension(CONTRIBUTORS_EXTENSION_ID, levels).ok()?;
            }
        }
        Some(rtp::Packet { header, payload: packet.payload })
    }
}

/// RFC 6464 level in the extension with that id.
fn level(header: &rtp::header::Header, id: u8) -> Option<u8> {
    header.get_extension(id)?.first().map(|byte| byte & LEVEL_MASK)
}

/// Contributing speakers of a packet (CSRCs), and their levels.
fn contributors(header: &rtp::header::Header) -> Contributors {
    let levels = header.get_extension(CONTRIBUTORS_EXTENSION_ID).unwrap_or_default();
    let voice = |(index, &csrc): (usize, &u32)| {
        let level = levels.get(index).map_or(LEVEL_MASK, |level| level & LEVEL_MASK);
        Contributor { csrc, level }
    };
    header.csrc.iter().enumerate().map(voice).collect()
}

/// Whether an H.264 payload (RFC 6184) begins a keyframe, which starts with its parameter sets.
fn begins_key_frame(payload: &[u8]) -> bool {
    const TYPE_MASK: u8 = 0x1f;
    const SEQUENCE_PARAMETER_SET: u8 = 7;
    const STAP_A: u8 = 24;
    match payload.split_first() {
        Some((head, mut units)) if head & TYPE_MASK == STAP_A => {
            while let Some((len, rest)) = units.split_first_chunk() {
                if rest.first().is_some_and(|head| head & TYPE_MASK == SEQUENCE_PARAMETER_SET) {
                    return true;
                }
                units = rest.get(usize::from(u16::from_be_bytes(*len))..).unwrap_or_default();
            }
            false
        }
        Some((head, _)) => head & TYPE_MASK == SEQUENCE_PARAMETER_SET,
        None => false,
    }
}
