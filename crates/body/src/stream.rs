//! One media stream at a peer that receives it: cached packets, frame assembly, keyframe requests.

use plenary_media::assembly::{Assembled, Assembler};
use plenary_proto::identity::MediaKind;
use plenary_proto::message::Resume;
use plenary_proto::packet::{LinkId, MediaPacket};
use plenary_proto::{StreamId, StreamSpec};

use crate::cache::PacketCache;
use crate::key_wish::KeyWish;
use crate::maker::{lane, piece};

/// Wait of a mixer for a missing packet of a speaker's picture, in round-trip times: a third retransmission may have
/// arrived after 3.5.
const HOLE_RTTS: u64 = 4;
/// Minimum of that wait: the time that two retransmissions take over two hops of 60 ms. Also the wait for the program's
/// sound, in which a longer pause is worse than a gap.
pub(crate) const HOLE_US_MIN: u64 = 250_000;
/// Maximum of that wait. Beyond it a new keyframe of the speaker is quicker.
const HOLE_US_MAX: u64 = 600_000;

/// Returns the wait for a missing packet over a link with that round-trip time, both in microseconds.
pub(crate) fn hole_us_max(rtt_us: u64) -> u64 {
    rtt_us.saturating_mul(HOLE_RTTS).clamp(HOLE_US_MIN, HOLE_US_MAX)
}

/// One stream: pictures and sound.
pub(crate) struct Stream {
    id: StreamId,
    pub(crate) spec: StreamSpec,
    caches: [PacketCache; 2],
    assemblers: [Assembler; 2],
    /// Link and first slot that the newest packet arrived in; `None` for a stream that this peer makes.
    pub(crate) via: Option<(LinkId, u8)>,
    pub(crate) key_wish: KeyWish,
    /// Capture time of the newest frame, in microseconds by the maker's clock.
    pub(crate) captured_us: u64,
    /// Arrival of the newest packet, in microseconds.
    pub(crate) used_us: u64,
}

impl Stream {
    /// Returns a stream without packets. Holes in pictures and in sound are given up after these times, in
    /// microseconds.
    pub(crate) fn new(id: StreamId, spec: StreamSpec, hole_us_max: [u64; 2], now_us: u64) -> Stream {
        let [video_us, sound_us] = hole_us_max;
        Stream {
            id,
            spec,
            caches: Default::default(),
            assemblers: [
                Assembler::new(id, MediaKind::Video, video_us),
                Assembler::new(id, MediaKind::Sound, sound_us),
            ],
            via: None,
            key_wish: KeyWish::default(),
            captured_us: 0,
            used_us: now_us,
        }
    }

    /// Adds a packet to cache and assembler. Returns false for a packet that was here before.
    pub(crate) fn push(&mut self, kind: MediaKind, packet: &MediaPacket, now_us: u64) -> bool {
        let fresh = self.keep(kind, packet, now_us);
        if fresh {
            self.assemblers[lane(kind)].push(now_us, piece(packet));
        }
        fresh
    }

    /// Adds a packet to the cache alone: its frame is known. Returns false for a packet that was here before.
    pub(crate) fn keep(&mut self, kind: MediaKind, packet: &MediaPacket, now_us: u64) -> bool {
        let fresh = self.caches[lane(kind)].insert(packet, now_us);
        if fresh {
            self.used_us = now_us;
        }
        fresh
    }

    /// Returns what the assembler has next. A keyframe ends the keyframe request.
    pub(crate) fn poll(&mut self, kind: MediaKind, now_us: u64) -> Option<Assembled> {
        let assembled = self.assemblers[lane(kind)].poll(now_us)?;
        if let Assembled::Frame(frame) = &assembled {
            self.captured_us = self.captured_us.max(frame.identity.captured_us);
            if kind == MediaKind::Video && frame.identity.key {
                self.key_wish.met();
            }
        }
        Some(assembled)
    }

    /// Sets the wait for missing packets of pictures, in microseconds.
    pub(crate) fn wait_for_holes(&mut self, hole_us_max: u64) {
        self.assemblers[lane(MediaKind::Video)].set_hole_us_max(hole_us_max);
    }

    /// Sets the round-trip time of the link that the pictures arrive on, in microseconds.
    pub(crate) fn set_rtt_us(&mut self, rtt_us: u64) {
        self.wait_for_holes(hole_us_max(rtt_us));
    }

    /// Returns the position in the stream: the newest packets here.
    pub(crate) fn position(&self) -> Resume {
        let [video, sound] = &self.caches;
        Resume { stream: self.id, video_packet: video.newest(), sound_packet: sound.newest() }
    }

    /// Returns the position from which another peer is to continue the stream: behind it, packets are missing that may
    /// still be repaired.
    pub(crate) fn resume(&self, now_us: u64) -> Resume {
        let since_us = now_us.saturating_sub(HOLE_US_MAX);
        let [video_packet, sound_packet] = [0, 1].map(|lane: usize| self.caches[lane].whole_up_to(since_us));
        Resume { stream: self.id, video_packet, sound_packet }
    }

    /// Returns the numbers of the packets with which a newcomer begins: the newest keyframe, and the sound since
    /// then or the newest packet of it. `None` without a keyframe.
    pub(crate) fn group_start(&self) -> Option<[u64; 2]> {
        let [video, sound] = &self.caches;
        let key = video.group_start()?;
        let since = video.arrived_us(key).and_then(|arrived_us| sound.first_since(arrived_us));
        Some([key, since.unwrap_or(sound.newest())])
    }

    /// Returns the cached packets from these numbers on (pictures, sound). Sound comes first: it is little data,
    /// and must not wait behind two seconds of pictures.
    pub(crate) fn since(&self, from: [u64; 2]) -> impl Iterator<Item = (MediaKind, &MediaPacket)> {
        let of = |kind| self.caches[lane(kind)].from(from[lane(kind)]).map(move |packet| (kind, packet));
        of(MediaKind::Sound).chain(of(MediaKind::Video))
    }

    /// Adds the packets of the same stream that `known` received at `since_us` or later: those of its newest
    /// GOP, and the sound.
    pub(crate) fn take_since(&mut self, known: &Stream, since_us: u64, now_us: u64) {
        let [video, sound] = &known.caches;
        let group = video.group_start().unwrap_or(0);
        self.via = known.via;
        for packet in video.come_since(group, since_us) {
            self.push(MediaKind::Video, packet, now_us);
        }
        for packet in sound.come_since(0, since_us) {
            self.push(MediaKind::Sound, packet, now_us);
        }
    }
}
