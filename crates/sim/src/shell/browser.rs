//! A page's browser: frames out of packets, in order, and packets out of frames.

use std::collections::BTreeMap;

use plenary_media::Frame;
use plenary_media::assembly::{Assembled, Assembler, Packet};
use plenary_media::payload::{packetize, timestamp};
use plenary_proto::Time;
use plenary_proto::identity::{MediaKind, PacketIdentity};
use plenary_proto::packet::{Contributors, MediaPacket};

/// Longest wait for a missing packet in the assembler, which gets no packet that has one before it.
const HOLE_US_MAX: u64 = 1_000_000;
/// Maximum number of packets held behind a missing one, as in libwebrtc's packet buffer.
const HELD_MAX: usize = 2_048;
/// Time by which Chromium shows a picture later than the fastest pictures come: its jitter buffer. Measured with 1 % loss at
/// 60 ms: 57 ms; without loss 13 ms (two processes on one machine, emulated line).
const JITTER_US: u64 = 57_000;
/// Time to decode and show a picture: a guess.
const SHOW_US: u64 = 10_000;
/// By how much the fastest picture's latency counts as longer with each picture, so that a longer way shows: 1 ms a second.
const LEAK_US: u64 = 33;

/// What a page knows of its tab and its pictures.
#[derive(Debug, Default)]
pub(crate) struct PageState {
    pub(crate) is_hidden: bool,
    /// Maximum number of children, as its brain was told.
    pub(crate) children_max: u8,
    /// Capture time of the newest picture shown.
    newest: Time,
    /// Latency of the fastest picture lately.
    fastest_us: Option<u64>,
}

impl PageState {
    /// Returns whether a picture was captured after all that were shown: a new parent's first pictures repeat the former one's.
    pub(crate) fn is_new(&mut self, captured: Time) -> bool {
        let is_new = captured > self.newest;
        self.newest = self.newest.max(captured);
        is_new
    }

    /// Returns the latency with which the browser shows a picture that came with this latency.
    pub(crate) fn shown_after_us(&mut self, came_us: u64) -> u64 {
        let fastest_us = self.fastest_us.map_or(came_us, |before| (before + LEAK_US).min(came_us));
        self.fastest_us = Some(fastest_us);
        came_us.max(fastest_us + JITTER_US) + SHOW_US
    }
}

/// Receiver of one slot of a link in a browser. Sound is handed on as it comes. A picture is handed on when all packets before
/// it have come; a keyframe waits for none.
#[derive(Debug)]
pub(crate) struct Receiver {
    kind: MediaKind,
    held: BTreeMap<u64, MediaPacket>,
    /// Number of the next packet; `None` before the first keyframe.
    next: Option<u64>,
    assembler: Assembler,
    /// Number of packets given to the assembler.
    given: u64,
}

impl Receiver {
    pub(crate) fn new(slot: u8) -> Receiver {
        let kind = if slot.is_multiple_of(2) { MediaKind::Video } else { MediaKind::Sound };
        let assembler = Assembler::of_browser(kind, HOLE_US_MAX);
        Receiver { kind, held: BTreeMap::new(), next: None, assembler, given: 0 }
    }

    /// Takes a packet, and returns the frames that are whole now.
    pub(crate) fn take(&mut self, number: u64, packet: MediaPacket, now_us: u64) -> Vec<Frame> {
        if self.kind == MediaKind::Sound {
            return self.assemble(vec![packet], now_us);
        }
        if self.next.is_some_and(|next| number < next) {
            return Vec::new();
        }
        self.held.insert(number, packet);
        if self.held.len() > HELD_MAX {
            self.held.clear(); // the next keyframe counts
            self.next = None;
        }
        let mut frames = Vec::new();
        while let Some(packets) = self.next_whole().or_else(|| self.next_key()) {
            frames.extend(self.assemble(packets, now_us));
        }
        frames
    }

    /// Takes the next picture, if it is whole.
    fn next_whole(&mut self) -> Option<Vec<MediaPacket>> {
        let first = self.next?;
        self.take_whole(first)
    }

    /// Takes the first keyframe that is whole, with what lies before it.
    fn next_key(&mut self) -> Option<Vec<MediaPacket>> {
        let starts: Vec<u64> =
            self.held.iter().filter(|(_, packet)| packet.key_start).map(|(number, _)| *number).collect();
        starts.into_iter().find_map(|first| self.take_whole(first))
    }

    fn take_whole(&mut self, first: u64) -> Option<Vec<MediaPacket>> {
        let ends = |number: &u64| self.held.get(number).is_none_or(|packet| packet.marker);
        let last = (first..).find(ends).filter(|last| self.held.contains_key(last))?;
        let later = self.held.split_off(&(last + 1));
        let packets = std::mem::replace(&mut self.held, later).split_off(&first);
        self.next = Some(last + 1);
        Some(packets.into_values().collect())
    }

    fn assemble(&mut self, packets: Vec<MediaPacket>, now_us: u64) -> Vec<Frame> {
        for packet in packets {
            self.given += 1;
            let MediaPacket { timestamp, marker, payload, audio_level: level, .. } = packet;
            self.assembler.push(now_us, Packet { number: self.given, timestamp, marker, payload, level });
        }
        let mut frames = Vec::new();
        while let Some(assembled) = self.assembler.poll(now_us) {
            frames.extend(match assembled {
                Assembled::Frame(frame) => Some(frame),
                Assembled::KeyWanted | Assembled::LeftOut => None,
            });
        }
        frames
    }
}

/// Returns the packets in which a browser sends a whole frame, with a timestamp of that time.
pub(crate) fn packets_of(frame: &Frame, at_us: u64) -> Vec<MediaPacket> {
    let payloads = packetize(frame).unwrap_or_default().into_iter();
    let numbered = (frame.identity.first_packet..).zip(payloads);
    let packets = numbered.map(|(number, payload)| MediaPacket {
        identity: PacketIdentity { stream: frame.identity.stream, number },
        timestamp: timestamp(frame.kind, at_us),
        marker: payload.marker,
        key_start: payload.key_start,
        audio_level: frame.level,
        contributors: Contributors::new(),
        payload: payload.bytes,
    });
    packets.collect()
}
