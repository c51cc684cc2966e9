//! Attackers that send unrequested media: directly to all linked peers, or mixed into the packets that a relay
//! forwards.

use bytes::Bytes;
use plenary_media::Encoded;
use plenary_media::payload::packetize;
use plenary_proto::identity::{MediaKind, PacketIdentity};
use plenary_proto::message::{MediaMessage, Message, StreamUse};
use plenary_proto::packet::{Contributors, MediaPacket};
use plenary_proto::time::SECOND;
use plenary_proto::{Input, RoomId, StreamKind, StreamSpec, Time};

use crate::deviation::{Deviation, Stray};
use crate::shell::clock_us;
use crate::shell::pictures::forged_picture;

/// Code of the program's slot.
const PROGRAM: u8 = 0;

/// Learns the program's spec from announcements.
fn program_of(input: &Input) -> Option<StreamSpec> {
    match input {
        Input::Message { message, .. } => match &**message {
            Message::Media(MediaMessage::Stream(StreamUse { spec, .. }))
                if spec.kind == StreamKind::Program =>
            {
                Some(*spec)
            }
            _ => None,
        },
        _ => None,
    }
}

/// A viewer that announces a program of its own making in the name of the mixer in force, to all that it is
/// linked with: above, beside and below.
#[derive(Debug, Default)]
pub struct Scatterer {
    spec: Option<StreamSpec>,
    pictures: u32,
    packets: u64,
}

impl Deviation for Scatterer {
    fn input(&mut self, _: Time, input: Input) -> Option<Input> {
        if let Some(spec) = program_of(&input) {
            self.spec = Some(StreamSpec { start: [0xfa; 8], ..spec });
        }
        Some(input)
    }

    fn strays(&mut self, now: Time, room: &RoomId, came: &MediaPacket) -> Option<Stray> {
        let spec = self.spec.filter(|_| came.marker && came.audio_level.is_none())?;
        let encoded = Encoded {
            kind: MediaKind::Video,
            data: forged_picture(),
            captured_us: clock_us(now),
            key: true,
            temporal: 0,
            level: None,
        };
        self.pictures += 1;
        let stream = spec.id(room);
        let payloads = packetize(&encoded.identified(stream, self.pictures, self.packets + 1)?).ok()?;
        let packets = payloads.into_iter().map(|payload| {
            self.packets += 1;
            MediaPacket {
                identity: PacketIdentity { stream, number: self.packets },
                timestamp: payload.timestamp,
                marker: payload.marker,
                key_start: payload.key_start,
                audio_level: None,
                contributors: Contributors::new(),
                payload: payload.bytes,
            }
        });
        let packets = packets.collect();
        Some(Stray { to_all: true, announces: Some(StreamUse { slot: PROGRAM, spec }), packets })
    }
}

/// Interval of a leaper's leaps.
const LEAP_US: u64 = 10 * SECOND;

/// A relay that forwards the program, and from time to time a packet far ahead of it.
#[derive(Debug)]
pub struct Leaper {
    ahead: u64,
    leapt_at: Time,
}

impl Leaper {
    /// A relay that sends packets this many numbers ahead, at most to the highest number.
    pub fn by(ahead: u64) -> Leaper {
        Leaper { ahead, leapt_at: Time(0) }
    }
}

impl Deviation for Leaper {
    fn strays(&mut self, now: Time, _: &RoomId, came: &MediaPacket) -> Option<Stray> {
        if now.since(self.leapt_at) < LEAP_US || came.audio_level.is_some() {
            return None;
        }
        self.leapt_at = now;
        let mut leap = came.clone();
        leap.identity.number = came.identity.number.saturating_add(self.ahead).min((1 << 48) - 1);
        leap.payload = Bytes::from_static(&[0x61, 0x88, 0x55]);
        Some(Stray { to_all: false, announces: None, packets: vec![leap] })
    }
}
