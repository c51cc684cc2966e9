//! Originator of a stream: numbers frames and packets, embeds the frames' identities and seals, and packetizes.

use plenary_media::Encoded;
use plenary_media::Frame;
use plenary_media::assembly::Packet;
use plenary_media::payload::packetize;
use plenary_proto::identity::seal::Sealer;
use plenary_proto::identity::{MediaKind, PacketIdentity};
use plenary_proto::packet::{Contributors, MediaPacket};
use plenary_proto::seal::Keypair;
use plenary_proto::{PeerId, Rank, RoomId, StreamId, StreamKind, StreamSpec};

/// Originator's state of one stream.
#[derive(Debug)]
pub(crate) struct Maker {
    room: RoomId,
    pub(crate) spec: StreamSpec,
    pub(crate) id: StreamId,
    frames: [u32; 2],
    packets: [u64; 2],
    captured_us: [u64; 2],
    /// Keys of the maker, with which it seals its frames; `None` in a room that doesn't seal.
    keys: Option<Keypair>,
    sealers: Option<[Sealer; 2]>,
}

/// Returns the index of a kind's numbering in a stream: 0 for video, 1 for sound.
pub(crate) fn lane(kind: MediaKind) -> usize {
    match kind {
        MediaKind::Video => 0,
        MediaKind::Sound => 1,
    }
}

/// Returns the part of a packet that an assembler needs.
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
    /// Starts a new stream of `maker`. `start` makes its id unique.
    pub(crate) fn new(room: &RoomId, maker: PeerId, kind: StreamKind, rank: Rank, start: [u8; 8]) -> Maker {
        let spec = StreamSpec { maker, kind, rank, rung: 0, start };
        Maker {
            room: *room,
            spec,
            id: spec.id(room),
            frames: [0; 2],
            packets: [0; 2],
            captured_us: [0; 2],
            keys: None,
            sealers: None,
        }
    }

    /// Seals the frames with these keys of the maker, if there are any.
    pub(crate) fn sealed_by(mut self, keys: Option<&Keypair>) -> Maker {
        let sealer = |kind| keys.map(|keys| Sealer::new(keys.clone(), self.room, kind));
        self.sealers = sealer(MediaKind::Video).zip(sealer(MediaKind::Sound)).map(<[Sealer; 2]>::from);
        self.keys = keys.cloned();
        self
    }

    /// Starts another stream of the same kind.
    pub(crate) fn anew(&self, start: [u8; 8]) -> Maker {
        let StreamSpec { maker, kind, rank, .. } = self.spec;
        Maker::new(&self.room, maker, kind, rank, start).sealed_by(self.keys.as_ref())
    }

    /// Numbers a frame, embeds its identity, and cuts it into packets; `contributors` are the voices mixed in
    /// it. Returns `None` for data that is no valid frame of its kind; no number is used up then.
    pub(crate) fn make(
        &mut self,
        encoded: &Encoded,
        contributors: &Contributors,
    ) -> Option<(Frame, Vec<MediaPacket>)> {
        let lane = lane(encoded.kind);
        let sealer = self.sealers.as_mut().map(|sealers| &mut sealers[lane]);
        let frame = encoded.sealed(self.id, self.frames[lane] + 1, self.packets[lane] + 1, sealer)?;
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

    /// Returns the number of frames of a kind made so far.
    pub(crate) fn frames(&self, kind: MediaKind) -> u32 {
        self.frames[lane(kind)]
    }

    /// Returns the capture time of the newest frame of a kind; 0 before the first.
    pub(crate) fn captured_us(&self, kind: MediaKind) -> u64 {
        self.captured_us[lane(kind)]
    }
}
