//! One media stream at a peer that receives it: cached packets, frame assembly, keyframe requests.

use std::collections::VecDeque;

use plenary_media::Frame;
use plenary_media::assembly::{Assembled, Assembler};
use plenary_proto::identity::MediaKind;
use plenary_proto::identity::seal::SealCheck;
use plenary_proto::message::Resume;
use plenary_proto::packet::{LinkId, MediaPacket};
use plenary_proto::watchdog::is_anew;
use plenary_proto::{RoomId, StreamId, StreamSpec};

use crate::cache::PacketCache;
use crate::key_wish::KeyWish;
use crate::lead::{Lead, Place};
use crate::maker::{lane, piece};
use crate::oversize::PictureSize;

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

/// Result of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// The packet is new.
    Fresh,
    /// The packet is new, and the stream went back to it.
    WentBack,
    /// The packet was here before.
    Known,
    /// Its number leaps.
    Refused,
}

impl Pushed {
    /// Returns whether the packet is new.
    pub(crate) fn is_fresh(self) -> bool {
        matches!(self, Pushed::Fresh | Pushed::WentBack)
    }
}

/// What a stream has next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Polled {
    /// A frame.
    Frame(Frame),
    /// A keyframe is to be requested.
    KeyWanted,
    /// A picture that a relay thinned out.
    LeftOut,
    /// A frame isn't the maker's. It and what arrived since the last proven one are forgotten.
    Forged,
}

/// One stream: pictures and sound.
pub(crate) struct Stream {
    id: StreamId,
    pub(crate) spec: StreamSpec,
    caches: [PacketCache; 2],
    assemblers: [Assembler; 2],
    leads: [Lead; 2],
    /// Checks of the frames' seals; `None` in a room without seals.
    checks: Option<[SealCheck; 2]>,
    /// Whether packets have come by another peer than the maker, which would have no reason to forge its own.
    is_forwarded: bool,
    /// Frames that were put together anew when the stream went back, and not output before.
    waiting: [VecDeque<Assembled>; 2],
    /// Link and first slot that the newest packet arrived in; `None` for a stream that this peer makes.
    pub(crate) via: Option<(LinkId, u8)>,
    pub(crate) key_wish: KeyWish,
    /// Size of the pictures that the application was handed.
    pub(crate) size: PictureSize,
    /// Capture time of the newest frame, in microseconds by the maker's clock.
    pub(crate) captured_us: u64,
    /// The next frame's capture time counts whatever the newest one's was.
    captures_anew: bool,
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
            leads: Default::default(),
            checks: None,
            is_forwarded: false,
            waiting: Default::default(),
            via: None,
            key_wish: KeyWish::default(),
            size: PictureSize::default(),
            captured_us: 0,
            captures_anew: false,
            used_us: now_us,
        }
    }

    /// Has the seals of a room's streams checked.
    pub(crate) fn checked(mut self, room: Option<RoomId>) -> Stream {
        let maker = self.spec.maker;
        let check = |room| [MediaKind::Video, MediaKind::Sound].map(|kind| SealCheck::new(maker, room, kind));
        self.checks = room.map(check);
        self
    }

    /// Limits the payload bytes that the caches keep, of pictures and of sound.
    pub(crate) fn of_bytes(mut self, bytes_max: [usize; 2]) -> Stream {
        self.caches = bytes_max.map(PacketCache::of_bytes);
        self
    }

    /// Returns the payload bytes that are cached.
    #[cfg(test)]
    pub(crate) fn cached_bytes(&self) -> usize {
        self.caches.iter().map(PacketCache::bytes).sum()
    }

    /// Evicts cached packets that are too old.
    pub(crate) fn trim(&mut self, now_us: u64) {
        self.caches.iter_mut().for_each(|cache| cache.trim(now_us));
    }

    /// Adds a packet that arrived on a link, of the maker or of another peer, to cache and assembler.
    pub(crate) fn push(
        &mut self,
        kind: MediaKind,
        packet: &MediaPacket,
        (link, is_own): (LinkId, bool),
        now_us: u64,
    ) -> Pushed {
        self.is_forwarded |= !is_own;
        let at = lane(kind);
        let newest = (!self.caches[at].is_empty()).then(|| self.caches[at].newest());
        let number = packet.identity.number;
        let is_known = self.caches[at].arrived_us(number).is_some();
        let place = self.leads[at].judge(newest, number, is_known, link, now_us);
        match place {
            Place::Leaps => return Pushed::Refused,
            Place::Fits => {}
            Place::GoesBack => {
                let newest = self.assemblers[at].newest_packet().filter(|newest| *newest < number);
                self.go_back(kind, number, newest, now_us);
            }
        }
        match (self.push_own(kind, packet, now_us), place) {
            (false, _) => Pushed::Known,
            (true, Place::GoesBack) => Pushed::WentBack,
            (true, _) => Pushed::Fresh,
        }
    }

    /// Adds a packet that was made here, or judged before, to cache and assembler. Returns false for a packet
    /// that was here before.
    pub(crate) fn push_own(&mut self, kind: MediaKind, packet: &MediaPacket, now_us: u64) -> bool {
        let fresh = self.keep(kind, packet, now_us);
        if fresh {
            self.assemblers[lane(kind)].push(now_us, piece(packet));
        }
        fresh
    }

    /// Forgets the packets from this number on, as far as they arrived before. Frames up to packet `output` were
    /// output, and aren't output again.
    fn go_back(&mut self, kind: MediaKind, number: u64, output: Option<u64>, now_us: u64) {
        let at = lane(kind);
        if let Some(checks) = &mut self.checks {
            checks[at].begin_anew();
        }
        self.waiting[at].retain(|assembled| match assembled {
            Assembled::Frame(frame) => frame.identity.first_packet < number,
            _ => true,
        });
        self.caches[at].forget_from(number);
        let hole_us_max = self.assemblers[at].hole_us_max();
        let mut assembler = Assembler::new(self.id, kind, hole_us_max);
        let from = match kind {
            MediaKind::Video => self.caches[at].group_start(),
            MediaKind::Sound => output.map(|newest| newest.saturating_add(1)),
        };
        for packet in from.into_iter().flat_map(|from| self.caches[at].from(from)) {
            assembler.push(now_us, piece(packet));
            while let Some(assembled) = assembler.poll(now_us) {
                if assembler.newest_packet() > output {
                    self.waiting[at].push_back(assembled);
                }
            }
        }
        self.assemblers[at] = assembler;
        self.captures_anew = true;
    }

    /// Another peer feeds the stream, or its feeder has announced it anew: what the former one claimed without
    /// proof, the lead in numbers and times, doesn't bind the new one.
    pub(crate) fn another_sender(&mut self) {
        self.leads.iter_mut().for_each(Lead::another_sender);
        self.assemblers.iter_mut().for_each(Assembler::another_sender);
        self.captures_anew = true;
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
    pub(crate) fn poll(&mut self, kind: MediaKind, now_us: u64) -> Option<Polled> {
        let waiting = self.waiting[lane(kind)].pop_front();
        let assembled = waiting.or_else(|| self.assemblers[lane(kind)].poll(now_us))?;
        let check = self.checks.as_mut().filter(|_| self.is_forwarded).map(|checks| &mut checks[lane(kind)]);
        let checked = match (assembled, check) {
            (Assembled::KeyWanted, _) => return Some(Polled::KeyWanted),
            (Assembled::LeftOut, _) => return Some(Polled::LeftOut),
            (Assembled::Unreadable { .. }, None) => return self.poll(kind, now_us),
            (Assembled::Unreadable { first_packet }, Some(check)) => Err(check.forged(first_packet)),
            (Assembled::Frame(frame), None) => Ok(frame),
            (Assembled::Frame(frame), Some(check)) => {
                check.take(&frame.data, &frame.identity).map(|()| frame)
            }
        };
        let frame = match checked {
            Ok(frame) => frame,
            Err(forged) => {
                self.go_back(kind, forged.from_packet, forged.from_packet.checked_sub(1), now_us);
                return Some(Polled::Forged);
            }
        };
        self.captured(frame.identity.captured_us);
        if kind == MediaKind::Video && frame.identity.key {
            self.key_wish.met();
        }
        Some(Polled::Frame(frame))
    }

    /// Forgets what isn't proven yet: its sender recalls it.
    pub(crate) fn forget_unproven(&mut self, now_us: u64) {
        for kind in [MediaKind::Video, MediaKind::Sound] {
            let checks = self.checks.as_ref().map(|checks| &checks[lane(kind)]);
            let newest = self.assemblers[lane(kind)].newest_packet();
            let proven = checks.and_then(SealCheck::unproven_from).map_or(newest, |from| from.checked_sub(1));
            if let Some(proven) = proven {
                self.go_back(kind, proven.saturating_add(1), Some(proven), now_us);
            }
        }
    }

    /// Returns whether a frame that comes whole, out of its order, may be decoded.
    pub(crate) fn may_be_decoded(&mut self, frame: &Frame) -> bool {
        let check = self.checks.as_mut().map(|checks| &mut checks[lane(frame.kind)]);
        check.is_none_or(|check| check.may_be_decoded(&frame.data, &frame.identity))
    }

    /// Takes the capture time of a new frame into account.
    pub(crate) fn captured(&mut self, captured_us: u64) {
        let is_newer = captured_us > self.captured_us;
        if std::mem::take(&mut self.captures_anew) || is_newer || is_anew(self.captured_us, captured_us) {
            self.captured_us = captured_us;
        }
    }

    /// Sets the wait for missing packets of pictures, in microseconds.
    pub(crate) fn wait_for_holes(&mut self, hole_us_max: u64) {
        self.assemblers[lane(MediaKind::Video)].set_hole_us_max(hole_us_max);
    }

    /// Sets the round-trip time of the link that the pictures arrive on, in microseconds.
    pub(crate) fn set_rtt_us(&mut self, rtt_us: u64) {
        self.wait_for_holes(hole_us_max(rtt_us));
    }

    /// Returns whether pictures are cached.
    pub(crate) fn has_pictures(&self) -> bool {
        !self.caches[lane(MediaKind::Video)].is_empty()
    }

    /// Returns the position in the stream: the newest packets here.
    pub(crate) fn position(&self) -> Resume {
        let [video, sound] = &self.caches;
        Resume { stream: self.id, video_packet: video.newest(), sound_packet: sound.newest() }
    }

    /// Returns the position from which another peer is to continue the stream: behind it, packets are missing that may
    /// still be repaired. If the numbers stand still, the highest one may be false: then it is the newest frame.
    pub(crate) fn resume(&self, now_us: u64) -> Resume {
        let since_us = now_us.saturating_sub(HOLE_US_MAX);
        let [video_packet, sound_packet] = [0, 1].map(|lane: usize| {
            let whole = self.caches[lane].whole_up_to(since_us);
            let frame = self.assemblers[lane].newest_packet();
            frame.filter(|frame| *frame < whole && self.leads[lane].stands(now_us)).unwrap_or(whole)
        });
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

    /// Returns the whole frames of the current GOP that were output, and the sound since its keyframe. Sound comes
    /// first.
    pub(crate) fn group(&self, now_us: u64) -> Vec<Frame> {
        let Some(from) = self.group_start() else { return Vec::new() };
        let mut frames = Vec::new();
        for kind in [MediaKind::Sound, MediaKind::Video] {
            let at = lane(kind);
            let mut assembler = Assembler::new(self.id, kind, 0);
            let is_output = |frame: &Frame| {
                // a stream that is made here is never assembled
                self.assemblers[at].newest_packet().is_none_or(|newest| frame.identity.first_packet <= newest)
            };
            for packet in self.caches[at].from(from[at]) {
                assembler.push(now_us, piece(packet));
                while let Some(assembled) = assembler.poll(now_us) {
                    if let Assembled::Frame(frame) = assembled
                        && is_output(&frame)
                    {
                        frames.push(frame);
                    }
                }
            }
        }
        frames
    }

    /// Adds the packets of the same stream that `known` received at `since_us` or later: those of its newest
    /// GOP, and the sound.
    pub(crate) fn take_since(&mut self, known: &Stream, since_us: u64, now_us: u64) {
        let [video, sound] = &known.caches;
        let group = video.group_start().unwrap_or(0);
        self.via = known.via;
        self.is_forwarded |= known.is_forwarded;
        for packet in video.come_since(group, since_us) {
            self.push_own(MediaKind::Video, packet, now_us);
        }
        for packet in sound.come_since(0, since_us) {
            self.push_own(MediaKind::Sound, packet, now_us);
        }
    }
}
