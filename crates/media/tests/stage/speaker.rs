//! One speaker: encodes a source and cuts it into packets, which arrive with delay and out of order.

use std::collections::BTreeMap;
use std::sync::Arc;

use plenary_media::assembly::{Assembled, Assembler, Packet};
use plenary_media::codec::Codecs;
use plenary_media::payload::packetize;
use plenary_media::source::Source;
use plenary_media::{Encoded, Frame, SOUND_FRAME_LEN, SOUND_FRAME_US, SoundEncoding, VideoEncoding};
use plenary_proto::StreamId;
use plenary_proto::identity::MediaKind;

use super::{INPUT, SOUND_BITRATE_BPS, START_US, Way};

/// Time for which the receiver waits for a missing packet after a later one.
const HOLE_US_MAX: u64 = 60_000;

pub(crate) struct Speaker {
    pub(crate) id: u64,
    pub(crate) pictures_arrived: u64,
    source: Box<dyn Source>,
    way: Way,
    video: VideoEncoding,
    sound: SoundEncoding,
    /// Media times of the next picture and sound frame.
    next_picture_us: Option<u64>,
    next_sound_us: u64,
    lanes: [Lane; 2],
    random: u64,
}

/// Packets of one media kind.
struct Lane {
    frames: u32,
    packets: u64,
    /// Packets in transit, by arrival time and number.
    under_way: BTreeMap<(u64, u64), Packet>,
    assembler: Assembler,
}

impl Speaker {
    pub(crate) fn new(id: u64, mut source: Box<dyn Source>, way: Way, codecs: &Arc<dyn Codecs>) -> Speaker {
        let lane = |kind| Lane {
            frames: 0,
            packets: 0,
            under_way: BTreeMap::new(),
            assembler: Assembler::new(stream(id), kind, HOLE_US_MAX),
        };
        Speaker {
            id,
            pictures_arrived: 0,
            next_picture_us: source.next_picture().unwrap(),
            next_sound_us: 0,
            source,
            way,
            video: VideoEncoding::new(Arc::clone(codecs), INPUT),
            sound: SoundEncoding::new(&**codecs, 1, SOUND_BITRATE_BPS).unwrap(),
            lanes: [lane(MediaKind::Video), lane(MediaKind::Sound)],
            random: id + 1,
        }
    }

    pub(crate) fn want_key(&mut self) {
        self.video.want_key();
    }

    /// Encodes and sends the media captured until now.
    pub(crate) fn speak(&mut self, now_us: u64) {
        let begun_us = START_US + self.way.begins_us;
        let Some(media_us) = now_us.checked_sub(begun_us) else { return };
        let own_begun_us = begun_us.wrapping_add_signed(self.way.ahead_us);
        while let Some(at_us) = self.next_picture_us.filter(|at_us| *at_us <= media_us) {
            let encoded = self.video.push(&self.source.picture(), own_begun_us + at_us).unwrap().unwrap();
            self.send(&encoded, begun_us + at_us);
            self.next_picture_us = self.source.next_picture().unwrap();
        }
        // a sound frame is complete at its last sample
        while self.next_sound_us + SOUND_FRAME_US <= media_us {
            let mut samples = [0.0; SOUND_FRAME_LEN];
            self.source.next_sound(&mut samples).unwrap();
            let encoded = self.sound.push(&samples, own_begun_us + self.next_sound_us).unwrap().unwrap();
            self.send(&encoded, begun_us + self.next_sound_us + SOUND_FRAME_US);
            self.next_sound_us += SOUND_FRAME_US;
        }
    }

    fn send(&mut self, encoded: &Encoded, sent_us: u64) {
        let lane = &mut self.lanes[encoded.kind as usize];
        lane.frames += 1;
        let frame = encoded.identified(stream(self.id), lane.frames, lane.packets + 1).unwrap();
        for payload in packetize(&frame).unwrap() {
            lane.packets += 1;
            self.random =
                self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let arrives_us = sent_us + self.way.delay_us + (self.random >> 33) % (self.way.jitter_us + 1);
            let packet = Packet {
                number: lane.packets,
                timestamp: payload.timestamp,
                marker: payload.marker,
                payload: payload.bytes,
                level: frame.level,
            };
            lane.under_way.insert((arrives_us, lane.packets), packet);
        }
    }

    /// Returns the frames completed by now.
    pub(crate) fn arrived(&mut self, now_us: u64) -> Vec<Frame> {
        let mut frames = Vec::new();
        for lane in &mut self.lanes {
            while let Some(entry) = lane.under_way.first_entry().filter(|entry| entry.key().0 <= now_us) {
                lane.assembler.push(now_us, entry.remove());
            }
            while let Some(assembled) = lane.assembler.poll(now_us) {
                match assembled {
                    Assembled::Frame(frame) => frames.push(frame),
                    Assembled::KeyWanted => self.video.want_key(),
                    Assembled::LeftOut | Assembled::Unreadable { .. } => {}
                }
            }
        }
        self.pictures_arrived += frames.iter().filter(|frame| frame.kind == MediaKind::Video).count() as u64;
        frames
    }
}

fn stream(id: u64) -> StreamId {
    StreamId(id.to_be_bytes())
}
