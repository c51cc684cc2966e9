//! Streams that come to this peer for its own use: speakers' at a mixer, its standby or in a mesh, a mix-minus
//! at a speaker.
//!
//! A mixer passes what its speakers send on, unchanged, to the other mixers and to peers that are warm: on trunk
//! links, the k-th speaker in the k-th pair of slots. What came on a trunk goes no further than to peers that wish
//! for that one speaker.

use std::collections::BTreeMap;

use plenary_media::Frame;
use plenary_media::assembly::{Assembled, Assembler};
use plenary_proto::identity::MediaKind;
use plenary_proto::message::{LinkKind, Message, Resume, StreamUse};
use plenary_proto::{PeerId, StreamId, StreamKind, StreamSpec};
use plenary_rtc::{LinkId, MediaPacket};

use super::cache::PacketCache;
use super::hole_us_max;
use super::key_wish::KeyWish;
use super::maker::{lane, piece};
use super::past::Pasts;
use super::sending::Sending;
use super::solo::SOLO_SLOTS;

/// Streams known at one time: a full roster's, old and new.
const STREAMS_MAX: usize = 128;
/// A hole in a speaker's sound is waited for this long. The jitter buffer has its own patience, 40 ms on a clean link:
/// what is held up longer here comes too late there.
const SOUND_HOLE_US_MAX: u64 = 30_000;
/// A stream of which nothing has come for so long isn't asked for key frames.
const KEY_WISH_US_MAX: u64 = 2_000_000;
/// Streams on one trunk link.
const TRUNK_STREAMS: usize = 8;

/// The number by which a slot is announced: those of trunks stand behind those of the ordinary link.
pub(crate) fn slot_code(kind: LinkKind, slot: u8) -> u8 {
    match kind {
        LinkKind::Peer => slot,
        LinkKind::Trunk(trunk) => 16u8.saturating_mul(trunk.saturating_add(1)).saturating_add(slot),
    }
}

struct Stream {
    spec: StreamSpec,
    caches: [PacketCache; 2],
    assemblers: [Assembler; 2],
    /// Where its video came from last, to ask for key frames there.
    via: Option<(LinkId, u8)>,
    key_wish: KeyWish,
    used_us: u64,
}

/// A frame for whoever uses it.
#[derive(Debug)]
pub(crate) struct Inbound {
    pub(crate) maker: PeerId,
    pub(crate) kind: StreamKind,
    pub(crate) frame: Frame,
    /// When its last packet came, or was given up.
    pub(crate) arrived_us: u64,
}

/// Streams for this peer's own use.
#[derive(Default)]
pub(crate) struct Inflow {
    streams: BTreeMap<StreamId, Stream>,
    /// Whom the speakers are forwarded to, and which stream each of its slots was announced with.
    forwarding_to: BTreeMap<PeerId, BTreeMap<u8, StreamId>>,
    /// The speakers in the order of their slots.
    speakers: Vec<PeerId>,
    /// Who gets a single speaker, whom, and which stream was announced.
    solos: BTreeMap<PeerId, (PeerId, Option<StreamId>)>,
    solo_pasts: Pasts,
}

/// Where a stream is forwarded to.
struct Onward {
    /// For its packets.
    link: LinkId,
    /// For what is said about it.
    control: LinkId,
    /// The slot of its pictures there; that of its sound comes next.
    slot: u8,
    /// That slot's number in announcements.
    code: u8,
}

impl Inflow {
    /// A stream may come.
    pub(crate) fn follow(&mut self, id: StreamId, spec: StreamSpec, now_us: u64) {
        if self.streams.contains_key(&id) {
            return;
        }
        if self.streams.len() >= STREAMS_MAX
            && let Some(oldest) =
                self.streams.iter().min_by_key(|(_, stream)| stream.used_us).map(|(id, _)| *id)
        {
            self.streams.remove(&oldest);
        }
        let assemblers = [
            Assembler::new(id, MediaKind::Video, hole_us_max(0)),
            Assembler::new(id, MediaKind::Sound, SOUND_HOLE_US_MAX),
        ];
        let stream = Stream {
            spec,
            caches: Default::default(),
            assemblers,
            via: None,
            key_wish: KeyWish::default(),
            used_us: now_us,
        };
        self.streams.insert(id, stream);
    }

    /// A packet has come by a link, or from this peer's own encoder.
    pub(crate) fn packet(
        &mut self,
        kind: MediaKind,
        packet: &MediaPacket,
        via: Option<(LinkId, u8)>,
        now_us: u64,
        out: &mut Vec<Inbound>,
    ) -> bool {
        let Some(stream) = self.streams.get_mut(&packet.identity.stream) else { return false };
        if !stream.caches[lane(kind)].insert(packet, now_us) {
            return false;
        }
        stream.used_us = now_us;
        if kind == MediaKind::Video && via.is_some() {
            stream.via = via;
        }
        stream.assemblers[lane(kind)].push(now_us, piece(packet));
        stream.take(kind, now_us, out);
        true
    }

    /// How long the round trips of links take, microseconds: holes in pictures are waited for accordingly.
    pub(crate) fn set_rtts_us(&mut self, rtt_us: impl Fn(LinkId) -> Option<u64>) {
        for stream in self.streams.values_mut() {
            if let Some(rtt_us) = stream.via.and_then(|(link, _)| rtt_us(link)) {
                stream.assemblers[lane(MediaKind::Video)].set_hole_us_max(hole_us_max(rtt_us));
            }
        }
    }

    /// Time has passed: holes may have been given up. Gives where key frames are to be asked for.
    pub(crate) fn on_time(&mut self, now_us: u64, out: &mut Vec<Inbound>) -> Vec<(LinkId, u8)> {
        let mut wished = Vec::new();
        for stream in self.streams.values_mut() {
            stream.take(MediaKind::Video, now_us, out);
            stream.take(MediaKind::Sound, now_us, out);
            // nothing has come of one that has ended: nobody is asked for ever
            let is_alive = now_us.saturating_sub(stream.used_us) < KEY_WISH_US_MAX;
            if is_alive && let Some(via) = stream.via.filter(|_| stream.key_wish.take_due(now_us)) {
                wished.push(via);
            }
        }
        wished
    }

    /// Asks for a key frame of a speaker's picture, where it comes from; `None` when that is not known.
    pub(crate) fn source_of(&self, speaker: &PeerId) -> Option<(LinkId, u8)> {
        self.newest_of(speaker).and_then(|stream| stream.via)
    }

    /// A speaker's pictures are of no use here before a key frame: it is asked for until one comes.
    pub(crate) fn wish_key_of(&mut self, speaker: &PeerId) {
        let id = self.have(speaker).map(|have| have.stream);
        if let Some(stream) = id.and_then(|id| self.streams.get_mut(&id)) {
            stream.key_wish.wish();
        }
    }

    /// How far this peer has got in a speaker's stream.
    pub(crate) fn have(&self, speaker: &PeerId) -> Option<Resume> {
        let stream = self.newest_of(speaker)?;
        let id = self.streams.iter().find(|(_, other)| std::ptr::eq(*other, stream)).map(|(id, _)| *id)?;
        let [video, sound] = &stream.caches;
        Some(Resume { stream: id, video_packet: video.newest(), sound_packet: sound.newest() })
    }

    fn newest_of(&self, speaker: &PeerId) -> Option<&Stream> {
        let of_speaker = self
            .streams
            .values()
            .filter(|stream| stream.spec.maker == *speaker && stream.spec.kind.is_speakers());
        of_speaker.max_by_key(|stream| stream.used_us)
    }

    /// Passes these speakers on to single peers from now on: peer and speaker.
    pub(crate) fn set_solos(&mut self, solos: &[(PeerId, PeerId)]) {
        let before = std::mem::take(&mut self.solos);
        self.solos.extend(solos.iter().map(|(peer, speaker)| {
            let announced = before.get(peer).filter(|(known, _)| known == speaker);
            (*peer, (*speaker, announced.and_then(|(_, stream)| *stream)))
        }));
    }

    /// Whom that peer gets.
    pub(crate) fn solo_of(&self, peer: &PeerId) -> Option<PeerId> {
        self.solos.get(peer).map(|(speaker, _)| *speaker)
    }

    /// Whose stream a slot of a trunk carries.
    pub(crate) fn speaker_at(&self, trunk: u8, slot: u8) -> Option<PeerId> {
        self.speakers.get(usize::from(trunk) * TRUNK_STREAMS + usize::from(slot / 2)).copied()
    }

    /// The speakers on stage: their places are those of their slots on trunks.
    pub(crate) fn set_speakers(&mut self, speakers: Vec<PeerId>) {
        if self.speakers != speakers {
            self.speakers = speakers;
            self.forwarding_to.values_mut().for_each(BTreeMap::clear);
        }
    }

    /// Passes the speakers on to these peers from now on.
    pub(crate) fn set_forwarding_to(&mut self, peers: &[PeerId]) {
        self.forwarding_to.retain(|peer, _| peers.contains(peer));
        for peer in peers {
            self.forwarding_to.entry(*peer).or_default();
        }
    }

    /// Whom the speakers are forwarded to.
    pub(crate) fn forwarding_to(&self) -> impl Iterator<Item = &PeerId> {
        self.forwarding_to.keys()
    }

    /// A link with a warm peer has gone: all is to be announced anew.
    pub(crate) fn link_changed(&mut self, peer: &PeerId) {
        if let Some(announced) = self.forwarding_to.get_mut(peer) {
            announced.clear();
        }
        if let Some((_, announced)) = self.solos.get_mut(peer) {
            *announced = None;
        }
    }

    /// Passes a fresh packet on to whoever is warm, unless it came by a trunk, and to whoever wishes for its speaker; a
    /// stream that is new there comes with its group of pictures.
    pub(crate) fn forward(
        &mut self,
        kind: MediaKind,
        packet: &MediaPacket,
        by_trunk: bool,
        now_us: u64,
        links: &BTreeMap<(PeerId, LinkKind), LinkId>,
        sending: &Sending,
    ) {
        let id = packet.identity.stream;
        let Some(stream) = self.streams.get(&id).filter(|stream| stream.spec.kind.is_speakers()) else {
            return;
        };
        let maker = stream.spec.maker;
        let place = self.speakers.iter().position(|speaker| *speaker == maker).filter(|_| !by_trunk);
        if let Some(place) = place {
            let trunk = LinkKind::Trunk((place / TRUNK_STREAMS) as u8);
            let slot = 2 * (place % TRUNK_STREAMS) as u8;
            let code = slot_code(trunk, slot);
            for (peer, announced) in &mut self.forwarding_to {
                if let (Some(&link), Some(&control)) =
                    (links.get(&(*peer, trunk)), links.get(&(*peer, LinkKind::Peer)))
                {
                    let onward = Onward { link, control, slot, code };
                    if announced.insert(code, id) != Some(id) {
                        stream.announce(&onward, sending);
                        stream.send_past(&onward, sending);
                    } else {
                        send_on(kind, packet, &onward, sending);
                    }
                }
            }
        }
        for (peer, (_, announced)) in self.solos.iter_mut().filter(|(_, (speaker, _))| *speaker == maker) {
            if let Some(&link) = links.get(&(*peer, LinkKind::Peer)) {
                let [slot, _] = SOLO_SLOTS;
                let onward = Onward { link, control: link, slot, code: slot_code(LinkKind::Peer, slot) };
                let is_new = announced.replace(id) != Some(id);
                if is_new {
                    stream.announce(&onward, sending);
                }
                if is_new && self.solo_pasts.may_send(link, now_us) {
                    stream.send_past(&onward, sending);
                } else {
                    send_on(kind, packet, &onward, sending);
                }
            }
        }
    }
}

fn send_on(kind: MediaKind, packet: &MediaPacket, to: &Onward, sending: &Sending) {
    sending.forward([(to.link, to.slot + lane(kind) as u8)].into_iter().collect(), packet.clone());
}

impl Stream {
    /// Says what comes in that slot.
    fn announce(&self, to: &Onward, sending: &Sending) {
        sending.control(to.control, &Message::Stream(StreamUse { slot: to.code, spec: self.spec }));
    }

    /// Sends the group of pictures up to the newest packet, with the sound since.
    fn send_past(&self, to: &Onward, sending: &Sending) {
        let [video, sound] = &self.caches;
        let key = video.group_start().unwrap_or(0);
        let since = video.arrived_us(key).and_then(|at| sound.first_since(at)).unwrap_or(sound.newest());
        for (kind, cache, from) in [(MediaKind::Sound, sound, since), (MediaKind::Video, video, key)] {
            cache.from(from).for_each(|packet| send_on(kind, packet, to, sending));
        }
    }

    fn take(&mut self, kind: MediaKind, now_us: u64, out: &mut Vec<Inbound>) {
        while let Some(assembled) = self.assemblers[lane(kind)].poll(now_us) {
            match assembled {
                Assembled::Frame(frame) => {
                    if frame.identity.key && kind == MediaKind::Video {
                        self.key_wish.met();
                    }
                    let StreamSpec { maker, kind, .. } = self.spec;
                    out.push(Inbound { maker, kind, frame, arrived_us: now_us });
                }
                Assembled::KeyWanted => {
                    self.key_wish.wish();
                }
                Assembled::LeftOut => {}
            }
        }
    }
}
