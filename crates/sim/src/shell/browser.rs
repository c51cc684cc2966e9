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
/// Time by which Chromium shows a picture later than the fastest pictures come: its jitter buffer. Measured with 1 %
/// loss at 60 ms: 57 ms; without loss 13 ms (two processes on one machine, emulated line).
const JITTER_US: u64 = 57_000;
/// Time to decode and show a picture: a guess.
const SHOW_US: u64 = 10_000;
/// By how much the fastest picture's latency counts as longer with each picture, so that a longer way shows: 1 ms a
/// second.
const LEAK_US: u64 = 33;

/// What a page knows of its tab and its pictures.
#[derive(Debug, Default)]
pub(crate) struct PageState {
    pub(crate) is_hidden: bool,
    /// Maximum number of children, as its brain was told.
    pub(crate) children_max: u8,
    /// Capture time of the newest picture that is decoded, so that no older one is shown any more.
    newest: Time,
    /// Pictures that wait to be decoded: capture time, and when they are shown.
    waiting: BTreeMap<Time, Time>,
    /// Latency of the fastest picture lately.
    fastest_us: Option<u64>,
}

impl PageState {
    /// Returns when the browser shows a picture that comes now. `None` if it is known, as a new parent's first pictures
    /// are, or if a later one is decoded already.
    pub(crate) fn shown_at(&mut self, now: Time, captured: Time) -> Option<Time> {
        while let Some(first) = self.waiting.first_entry().filter(|first| *first.get() <= now + SHOW_US) {
            self.newest = self.newest.max(*first.key());
            first.remove();
        }
        if captured <= self.newest || self.waiting.contains_key(&captured) {
            return None;
        }
        let came_us = now.since(captured);
        let fastest_us = self.fastest_us.map_or(came_us, |before| (before + LEAK_US).min(came_us));
        self.fastest_us = Some(fastest_us);
        let shown = captured + came_us.max(fastest_us + JITTER_US) + SHOW_US;
        self.waiting.insert(captured, shown);
        Some(shown)
    }
}

/// Pictures before a keyframe that was whole sooner: libwebrtc's packet buffer still completes them until the keyframe
/// is decoded.
#[derive(Debug)]
struct Overtaken {
    held: BTreeMap<u64, MediaPacket>,
    /// Number of the next packet.
    next: u64,
    /// Number of the keyframe's first packet.
    end: u64,
    /// When the keyframe is decoded.
    until_us: u64,
}

/// Receiver of one slot of a link in a browser. Sound is handed on as it comes. A picture is handed on when all packets
/// before it have come; a keyframe waits for none.
#[derive(Debug)]
pub(crate) struct Receiver {
    kind: MediaKind,
    held: BTreeMap<u64, MediaPacket>,
    /// Number of the next packet; `None` before the first keyframe.
    next: Option<u64>,
    overtaken: Option<Overtaken>,
    assembler: Assembler,
    /// Number of packets given to the assembler.
    given: u64,
}

impl Receiver {
    pub(crate) fn new(slot: u8) -> Receiver {
        let kind = if slot.is_multiple_of(2) { MediaKind::Video } else { MediaKind::Sound };
        let assembler = Assembler::of_browser(kind, HOLE_US_MAX);
        Receiver { kind, held: BTreeMap::new(), next: None, overtaken: None, assembler, given: 0 }
    }

    /// Takes a packet, and returns the frames that are whole now.
    pub(crate) fn take(&mut self, number: u64, packet: MediaPacket, now_us: u64) -> Vec<Frame> {
        if self.kind == MediaKind::Sound {
            return self.assemble(vec![packet], now_us);
        }
        if self.next.is_some_and(|next| number < next) {
            return self.take_late(number, packet, now_us);
        }
        self.held.insert(number, packet);
        if self.held.len() > HELD_MAX {
            self.held.clear(); // the next keyframe counts
            self.next = None;
        }
        let mut frames = Vec::new();
        while let Some(packets) = self.next_whole().or_else(|| self.next_key(now_us)) {
            frames.extend(self.assemble(packets, now_us));
        }
        frames
    }

    /// Takes a packet of pictures that a keyframe has overtaken.
    fn take_late(&mut self, number: u64, packet: MediaPacket, now_us: u64) -> Vec<Frame> {
        self.overtaken.take_if(|overtaken| overtaken.until_us <= now_us);
        let is_of = |overtaken: &&mut Overtaken| (overtaken.next..overtaken.end).contains(&number);
        let Some(overtaken) = self.overtaken.as_mut().filter(is_of) else { return Vec::new() };
        overtaken.held.insert(number, packet);
        let mut whole = Vec::new();
        while overtaken.next < overtaken.end
            && let Some(packets) = take_whole(&mut overtaken.held, overtaken.next)
        {
            overtaken.next += packets.len() as u64;
            whole.extend(packets);
        }
        self.assembler.another_sender(); // the numbers of these pictures are below the keyframe's
        self.assemble(whole, now_us)
    }

    /// Takes the next picture, if it is whole.
    fn next_whole(&mut self) -> Option<Vec<MediaPacket>> {
        let packets = take_whole(&mut self.held, self.next?)?;
        self.next = self.next.map(|next| next + packets.len() as u64);
        Some(packets)
    }

    /// Takes the first keyframe that is whole, before what lies before it.
    fn next_key(&mut self, now_us: u64) -> Option<Vec<MediaPacket>> {
        let starts: Vec<u64> =
            self.held.iter().filter(|(_, packet)| packet.key_start).map(|(number, _)| *number).collect();
        let (first, packets) =
            starts.into_iter().find_map(|first| Some((first, take_whole(&mut self.held, first)?)))?;
        let later = self.held.split_off(&first);
        let held = std::mem::replace(&mut self.held, later);
        let until_us = now_us + JITTER_US;
        self.overtaken = self.next.map(|next| Overtaken { held, next, end: first, until_us });
        self.next = Some(first + packets.len() as u64);
        Some(packets)
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
                Assembled::KeyWanted | Assembled::LeftOut | Assembled::Unreadable { .. } => None,
            });
        }
        frames
    }
}

/// Takes the picture that begins with this packet, if it is whole.
fn take_whole(held: &mut BTreeMap<u64, MediaPacket>, first: u64) -> Option<Vec<MediaPacket>> {
    let ends = |number: &u64| held.get(number).is_none_or(|packet| packet.marker);
    let last = (first..).find(ends).filter(|last| held.contains_key(last))?;
    (first..=last).map(|number| held.remove(&number)).collect()
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

#[cfg(test)]
mod tests {
    use plenary_proto::StreamId;
    use plenary_proto::identity::{FrameIdentity, h264};
    use plenary_proto::time::MS;

    use super::*;
    use crate::shell::pictures::Encoder;

    const NONE: [u32; 0] = [];

    /// Pictures of one leg in numbered packets, two for each; a second keyframe comes with the 31st.
    fn leg() -> Vec<Vec<(u64, MediaPacket)>> {
        let (mut encoder, mut number) = (Encoder::default(), 0);
        let pictures = (0..33u64).map(|at| {
            if at == 1 {
                encoder.want_key();
            }
            let made = encoder.picture(400_000, 33_333);
            let identity = FrameIdentity {
                key: made.key,
                number: at as u32 + 1,
                captured_us: 1_000_000 + at * 33_333,
                first_packet: number + 1,
                ..FrameIdentity::single(StreamId([1; 8]), 1, 0)
            };
            let data = h264::mark(&made.data, &identity).unwrap().into();
            let packets = packets_of(&Frame { kind: MediaKind::Video, identity, data, level: None }, 0);
            let numbered = packets.into_iter().map(|packet| {
                number += 1;
                (number, packet)
            });
            numbered.collect()
        });
        pictures.collect()
    }

    /// Numbers of the pictures that the receiver hands on with these packets.
    fn take(receiver: &mut Receiver, packets: &[(u64, MediaPacket)], now_us: u64) -> Vec<u32> {
        let frames =
            packets.iter().flat_map(|(number, packet)| receiver.take(*number, packet.clone(), now_us));
        frames.map(|frame| frame.identity.number).collect()
    }

    #[test]
    fn pictures_overtaken_by_a_keyframe_are_handed_on_until_it_is_decoded() {
        for (late_us, late) in [(JITTER_US - 1, vec![29, 30]), (JITTER_US, vec![])] {
            let leg = leg();
            assert!(leg[30][0].1.key_start && leg.iter().all(|packets| packets.len() > 1));
            let mut receiver = Receiver::new(0);
            for (number, packets) in (1..).zip(&leg[..28]) {
                assert_eq!(take(&mut receiver, packets, 0), [number]);
            }
            assert_eq!(take(&mut receiver, &leg[28][1..], 0), NONE, "a packet is missing");
            assert_eq!(take(&mut receiver, &leg[29], 0), NONE);
            assert_eq!(take(&mut receiver, &leg[30], 0), [31], "the keyframe");
            assert_eq!(take(&mut receiver, &leg[28][..1], late_us), late);
            assert_eq!(take(&mut receiver, &leg[31], late_us), [32]);
            assert_eq!(take(&mut receiver, &leg[29], late_us), NONE, "they are known");
        }
    }

    #[test]
    fn a_picture_is_shown_once_and_before_later_ones_are_decoded() {
        let mut page = PageState::default();
        let at = |ms: u64| Time(ms * MS);
        assert_eq!(page.shown_at(at(100), at(60)), Some(at(60 + 40 + 57 + 10)));
        assert_eq!(page.shown_at(at(101), at(60)), None, "a new parent repeats it");
        assert_eq!(page.shown_at(at(170), at(127)).map(|shown| shown.0 / MS), Some(127 + 40 + 57 + 10));
        // one between them comes late
        assert!(page.shown_at(at(200), at(94)).is_some_and(|shown| shown <= at(234)));
        assert_eq!(page.shown_at(at(225), at(110)), None, "the later one is being decoded");
    }
}
