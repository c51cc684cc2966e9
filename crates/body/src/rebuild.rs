//! Legs of browsers: whole frames out of a browser's packets, and out of them the packets of their originator.
//!
//! A browser packetizes and numbers anew what it sends. The identity inside each frame says its stream and the number
//! of its first packet, and packetization is deterministic (PROTOCOL 1.4), so the originator's packets are made again,
//! and everything behind treats them like those of other peers.

use plenary_proto::ordered::OrderedMap;

use bytes::Bytes;
use plenary_media::Frame;
use plenary_media::assembly::{Assembled, Assembler, Packet};
use plenary_media::payload::packetize;
use plenary_proto::identity::{MediaKind, PacketIdentity, h264, opus};
use plenary_proto::packet::{BrowserPacket, Contributors, LinkId, MediaPacket};

use crate::key_wish::KeyWish;
use crate::left_out::LeftOut;

/// Time for which a leg waits for a missing packet, in microseconds. A browser retransmits after a round trip; pictures
/// behind a hole that stays would be useless anyway, while sound has its jitter buffer behind this. Guesses.
const PICTURE_HOLE_US_MAX: u64 = 400_000;
const SOUND_HOLE_US_MAX: u64 = 60_000;

/// One leg of a browser.
#[derive(Debug)]
struct Leg {
    assembler: Assembler,
    key_wish: KeyWish,
    left_out: LeftOut,
}

/// All legs on which packets of browsers have arrived.
#[derive(Debug, Default)]
pub(crate) struct Rebuild {
    legs: OrderedMap<(LinkId, u8), Leg>,
}

impl Rebuild {
    /// Takes a packet of a browser. Returns the originators' packets that are complete now.
    pub(crate) fn packet(
        &mut self,
        link: LinkId,
        slot: u8,
        packet: BrowserPacket,
        now_us: u64,
    ) -> Vec<MediaPacket> {
        let (kind, hole_us_max) = match slot.is_multiple_of(2) {
            true => (MediaKind::Video, PICTURE_HOLE_US_MAX),
            false => (MediaKind::Sound, SOUND_HOLE_US_MAX),
        };
        let leg = self.legs.entry((link, slot)).or_insert_with(|| Leg {
            assembler: Assembler::of_browser(kind, hole_us_max),
            key_wish: KeyWish::default(),
            left_out: LeftOut::default(),
        });
        leg.assembler.push(
            now_us,
            Packet {
                number: packet.sequence_number,
                timestamp: packet.timestamp,
                marker: packet.marker,
                payload: packet.payload,
                level: packet.audio_level,
            },
        );
        leg.rebuilt(now_us)
    }

    /// Returns what the passing of time has completed: packets by link and slot.
    pub(crate) fn on_time(&mut self, now_us: u64) -> Vec<(LinkId, u8, MediaPacket)> {
        let of_leg = |(&(link, slot), leg): (&(LinkId, u8), &mut Leg)| {
            let packets = leg.rebuilt(now_us).into_iter();
            packets.map(move |packet| (link, slot, packet)).collect::<Vec<_>>()
        };
        self.legs.iter_mut().flat_map(of_leg).collect()
    }

    /// Returns the legs on which a keyframe request is due, as link and slot.
    pub(crate) fn key_wishes(&mut self, now_us: u64) -> Vec<(LinkId, u8)> {
        let due = self.legs.iter_mut().filter_map(|(at, leg)| leg.key_wish.take_due(now_us).then_some(*at));
        due.collect()
    }

    /// Forgets the legs of a link that has ended.
    pub(crate) fn forget(&mut self, link: LinkId) {
        self.legs.retain(|(of, _), _| *of != link);
    }

    /// Returns the number of legs.
    pub(crate) fn legs(&self) -> usize {
        self.legs.len()
    }
}

impl Leg {
    fn rebuilt(&mut self, now_us: u64) -> Vec<MediaPacket> {
        let mut packets = Vec::new();
        while let Some(assembled) = self.assembler.poll(now_us) {
            match assembled {
                Assembled::Frame(frame) => {
                    if frame.identity.key {
                        self.key_wish.met();
                    }
                    let made = originals(&frame);
                    if frame.kind == MediaKind::Video {
                        packets.extend(self.left_out.before(&frame, &made));
                    }
                    packets.extend(made);
                }
                Assembled::KeyWanted => _ = self.key_wish.wish(),
                Assembled::LeftOut | Assembled::Unreadable { .. } => {}
            }
        }
        packets
    }
}

/// Reads the identity in a whole frame; `None` without one, as in a silent sound packet of one or two bytes.
pub(crate) fn identified(kind: MediaKind, data: Bytes, level: Option<u8>) -> Option<Frame> {
    let identity = match kind {
        MediaKind::Video => h264::read(&data),
        MediaKind::Sound => opus::read(&data),
    }?;
    Some(Frame { kind, identity, data, level })
}

/// Makes the originator's packets of a frame. Empty when packetization fails.
pub(crate) fn originals(frame: &Frame) -> Vec<MediaPacket> {
    let payloads = packetize(frame).unwrap_or_default().into_iter();
    let numbered = (frame.identity.first_packet..).zip(payloads);
    let packets = numbered.map(|(number, payload)| MediaPacket {
        identity: PacketIdentity { stream: frame.identity.stream, number },
        timestamp: payload.timestamp,
        marker: payload.marker,
        key_start: payload.key_start,
        audio_level: frame.level,
        contributors: Contributors::new(),
        payload: payload.bytes,
    });
    packets.collect()
}
