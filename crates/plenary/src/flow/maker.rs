//! Making a stream: each frame gets its number and its identity, each packet its own.

use plenary_media::Encoded;
use plenary_media::Frame;
use plenary_media::assembly::Packet;
use plenary_media::payload::packetize;
use plenary_proto::identity::{MediaKind, PacketIdentity};
use plenary_proto::{PeerId, Rank, RoomId, StreamId, StreamKind, StreamSpec};
use plenary_rtc::{Contributors, MediaPacket};

/// The maker's end of one stream.
#[derive(Debug)]
pub(crate) struct Maker {
    pub(crate) spec: StreamSpec,
    pub(crate) id: StreamId,
    frames: [u32; 2],
    packets: [u64; 2],
    captured_us: [u64; 2],
}

/// Which of a stream's two numberings.
pub(crate) fn lane(kind: MediaKind) -> usize {
    match kind {
        MediaKind::Video => 0,
        MediaKind::Sound => 1,
    }
}

/// What an assembler needs of a packet.
pub(crate) fn piece(packet: &MediaPacket) -> Packet {
    Packet {
        number: packet.identity.number,
        timestamp: packet.timestamp,
        marker: packet.marker,
        payload: packet.payload.clone(),
        level: packet.audio_level,
    }
}

impl Maker {
    /// A new stream of `maker`, with an id of its own.
    pub(crate) fn new(room: &RoomId, maker: PeerId, kind: StreamKind, rank: Rank, start: [u8; 8]) -> Maker {
        let spec = StreamSpec { maker, kind, rank, rung: 0, start };
        Maker { spec, id: spec.id(room), frames: [0; 2], packets: [0; 2], captured_us: [0; 2] }
    }

    /// Numbers a frame, in which these voices are mixed, marks it, and cuts it into packets. `None` for what is no frame
    /// of its kind: it takes no number.
    pub(crate) fn make(
        &mut self,
        encoded: &Encoded,
        contributors: &Contributors,
    ) -> Option<(Frame, Vec<MediaPacket>)> {
        let lane = lane(encoded.kind);
        let frame = encoded.identified(self.id, self.frames[lane] + 1)?;
        let payloads = match packetize(&frame) {
            Ok(payloads) => payloads,
            Err(error) => {
                tracing::warn!("a frame is left out: {error}");
                return None;
            }
        };
        self.frames[lane] += 1;
        self.captured_us[lane] = encoded.captured_us;
        let packets = payloads.into_iter().map(|payload| {
            self.packets[lane] += 1;
            MediaPacket {
                identity: PacketIdentity { stream: self.id, number: self.packets[lane] },
                timestamp: payload.timestamp,
                marker: payload.marker,
                key_start: payload.key_start,
                audio_level: encoded.level,
                contributors: contributors.clone(),
                payload: payload.bytes,
            }
        });
        let packets = packets.collect();
        Some((frame, packets))
    }

    /// How many frames of a kind were made.
    pub(crate) fn frames(&self, kind: MediaKind) -> u32 {
        self.frames[lane(kind)]
    }

    /// Capture time of the newest frame of a kind; 0 before there is one.
    pub(crate) fn captured_us(&self, kind: MediaKind) -> u64 {
        self.captured_us[lane(kind)]
    }
}
