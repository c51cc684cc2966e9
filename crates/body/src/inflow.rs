//! Streams for this peer's own use: the speakers' at a mixer, at its standby or in a mesh; the mix-minus at a
//! speaker.
//!
//! A mixer forwards its speakers' packets unchanged, as an SFU does, to the other mixers and to warm standbys: on
//! trunk links, the k-th speaker in the k-th pair of slots. Packets that arrived on a trunk are forwarded only to
//! peers that requested that one speaker (solo), or each speaker's sound (agents).

use plenary_proto::ordered::OrderedMap;

use plenary_media::Frame;
use plenary_proto::identity::MediaKind;
use plenary_proto::message::{LinkKind, MediaMessage, Message, ROSTER_MAX, Resume, StreamUse};
use plenary_proto::packet::{LinkId, MediaPacket};
use plenary_proto::{PeerId, RoomId, StreamId, StreamKind, StreamSpec};

use crate::apart::Apart;
use crate::doubt::Doubts;
use crate::link_table::LinkTable;
use crate::maker::lane;
use crate::outs::Outs;
use crate::past::Pasts;
use crate::seat::Seat;
use crate::solo::SOLO_SLOTS;
use crate::stream::{Polled, Pushed, Stream, hole_us_max};

/// Maximum number of streams known at a time: old and new of a full roster.
pub(crate) const STREAMS_MAX: usize = 128;
/// Maximum number of streams of one peer: a speaker's old and new one, and a mixer's mix-minus, old and new.
const STREAMS_OF_ONE_MAX: usize = 4;
/// Maximum number of streams beside one speaker's own: old and new.
const BESIDE_OF_ONE_MAX: usize = 2;
/// Maximum payload bytes that are cached of a stream's pictures, and of its sound: 2.5 s of 6.7 Mbit/s, and of
/// 800 kbit/s. A guess.
const CACHED_BYTES_MAX: [usize; 2] = [2 << 20, 256 << 10];
/// Wait for a missing packet of a speaker's sound, in microseconds. The jitter buffer waits as well, 40 ms on a clean
/// link: sound that is delayed longer here is too late there.
const SOUND_HOLE_US_MAX: u64 = 30_000;
/// Time without packets after which no keyframes of a stream are requested any more.
const KEY_WISH_US_MAX: u64 = 2_000_000;
/// Streams on one trunk link.
const TRUNK_STREAMS: usize = 8;

/// Codes of trunks' slots: as many trunks as a full roster needs.
pub(crate) const TRUNK_CODES: std::ops::Range<u8> = 16..16 + 16 * (ROSTER_MAX / TRUNK_STREAMS) as u8;

/// Returns the number of a slot in announcements: slots of trunks come after those of the ordinary link.
pub(crate) fn slot_code(kind: LinkKind, slot: u8) -> u8 {
    match kind {
        LinkKind::Peer => slot,
        LinkKind::Trunk(trunk) => 16u8.saturating_mul(trunk.saturating_add(1)).saturating_add(slot),
    }
}

/// Returns the trunk of a slot with that code; `None` for a slot of the ordinary link.
pub(crate) fn trunk_of(code: u8) -> Option<u8> {
    (code / 16).checked_sub(1)
}

/// A frame for this peer's own use.
#[derive(Debug)]
pub(crate) struct Inbound {
    pub(crate) maker: PeerId,
    pub(crate) kind: StreamKind,
    pub(crate) frame: Frame,
    /// Time at which its last packet arrived or was given up, in microseconds.
    pub(crate) arrived_us: u64,
}

/// Streams for this peer's own use.
#[derive(Default)]
pub(crate) struct Inflow {
    pub(crate) streams: OrderedMap<StreamId, Stream>,
    /// Peers that get all speakers, and the streams announced in each slot, a speaker's second picture apart.
    forwarding_to: OrderedMap<PeerId, OrderedMap<(u8, bool), StreamId>>,
    /// The speakers in the order of their slots.
    speakers: Vec<PeerId>,
    /// Peers that get one speaker: the speaker, and the stream announced.
    solos: OrderedMap<PeerId, (PeerId, Option<StreamId>)>,
    solo_pasts: Pasts,
    pub(crate) apart: Apart,
    /// The room, if its streams are sealed.
    sealed: Option<RoomId>,
    pub(crate) doubts: Doubts,
    /// Recalls that are to be sent.
    recalls: Vec<(PeerId, StreamId)>,
}

/// Destination of a forwarded stream.
struct Onward {
    /// Link of the packets.
    link: LinkId,
    /// Link of the announcements.
    control: LinkId,
    /// Slot of the pictures; the sound has the next one.
    slot: u8,
    /// Number of that slot in announcements.
    code: u8,
}

impl Inflow {
    /// Returns an inflow without streams; `sealed` is the room, if its streams are sealed.
    pub(crate) fn new(sealed: Option<RoomId>) -> Inflow {
        Inflow { sealed, ..Inflow::default() }
    }

    /// Allows a stream.
    pub(crate) fn follow(&mut self, id: StreamId, spec: StreamSpec, now_us: u64) {
        if self.streams.contains_key(&id) {
            return;
        }
        let is_beside = |spec: &StreamSpec| spec.kind == StreamKind::Beside;
        let is_its =
            |stream: &Stream| stream.spec.maker == spec.maker && is_beside(&stream.spec) == is_beside(&spec);
        let most = if is_beside(&spec) { BESIDE_OF_ONE_MAX } else { STREAMS_OF_ONE_MAX };
        if self.streams.values().filter(|stream| is_its(stream)).count() >= most {
            self.drop_oldest(is_its);
        } else if self.streams.len() >= STREAMS_MAX {
            self.drop_oldest(|_| true);
        }
        let stream = Stream::new(id, spec, [hole_us_max(0), SOUND_HOLE_US_MAX], now_us);
        self.streams.insert(id, stream.of_bytes(CACHED_BYTES_MAX).checked(self.sealed));
    }

    /// Drops the stream of these that was not used for longest.
    fn drop_oldest(&mut self, of: impl Fn(&Stream) -> bool) {
        let of = self.streams.iter().filter(|(_, stream)| of(stream));
        let oldest = of.min_by_key(|(_, stream)| stream.used_us).map(|(id, _)| *id);
        oldest.and_then(|oldest| self.streams.remove(&oldest));
    }

    /// Handles a packet from a link, in a slot, of the maker or of another peer; or from this peer's own encoder.
    pub(crate) fn packet(
        &mut self,
        kind: MediaKind,
        packet: &MediaPacket,
        via: Option<((LinkId, u8), bool)>,
        now_us: u64,
        out: &mut Vec<Inbound>,
    ) -> Pushed {
        if via.is_some_and(|((link, _), _)| !self.doubts.takes(link)) {
            return Pushed::Refused;
        }
        let Some(stream) = self.streams.get_mut(&packet.identity.stream) else { return Pushed::Refused };
        let pushed = match via {
            None if stream.push_own(kind, packet, now_us) => Pushed::Fresh,
            None => Pushed::Known,
            Some(((link, _), is_own)) => {
                if stream.via.is_some_and(|(before, _)| before != link) {
                    stream.another_sender();
                }
                stream.push(kind, packet, (link, is_own), now_us)
            }
        };
        if !pushed.is_fresh() {
            return pushed;
        }
        if via.is_some() && (kind == MediaKind::Video || !stream.has_pictures()) {
            stream.via = via.map(|(via, _)| via);
        }
        if take_frames(stream, kind, now_us, out) {
            let link = via.map(|((link, _), _)| link);
            link.into_iter().for_each(|link| self.is_forged(packet.identity.stream, link, now_us));
        }
        pushed
    }

    /// Sets the round-trip times of links, in microseconds: they determine the wait for missing packets of pictures.
    pub(crate) fn set_rtts_us(&mut self, rtt_us: impl Fn(LinkId) -> Option<u64>) {
        for stream in self.streams.values_mut() {
            if let Some(rtt_us) = stream.via.and_then(|(link, _)| rtt_us(link)) {
                stream.set_rtt_us(rtt_us);
            }
        }
    }

    /// Gives up packets that were waited for long enough, and requests the keyframes that are due. To be called some
    /// 40 times a second.
    pub(crate) fn on_time(&mut self, now_us: u64, out: &mut Vec<Inbound>, outs: &mut Outs) {
        let mut forged = Vec::new();
        for (id, stream) in &mut self.streams {
            for kind in [MediaKind::Video, MediaKind::Sound] {
                if take_frames(stream, kind, now_us, out) {
                    forged.extend(stream.via.map(|(link, _)| (*id, link)));
                }
            }
            stream.trim(now_us);
            // the requests end with the stream
            let is_alive = now_us.saturating_sub(stream.used_us) < KEY_WISH_US_MAX;
            if is_alive && let Some((link, slot)) = stream.via.filter(|_| stream.key_wish.take_due(now_us)) {
                outs.want_key(link, slot);
            }
        }
        forged.into_iter().for_each(|(id, link)| self.is_forged(id, link, now_us));
    }

    /// Handles a forged frame of a stream that came by a link: recalls what was forwarded of it.
    pub(crate) fn is_forged(&mut self, id: StreamId, link: LinkId, now_us: u64) {
        if let Some(stream) = self.streams.get_mut(&id) {
            tracing::warn!("a frame of {id:?} isn't its maker's");
            stream.forget_unproven(now_us);
            self.doubts.forged(link, now_us);
            self.recall(id);
        }
    }

    /// The peer at a link recalls what it forwarded of a stream.
    pub(crate) fn recalled(&mut self, id: &StreamId, link: LinkId, now_us: u64) {
        let is_via = |stream: &&mut Stream| stream.via.is_some_and(|(via, _)| via == link);
        let Some(stream) = self.streams.get_mut(id).filter(is_via) else { return };
        if self.doubts.recalled(link, now_us) {
            stream.forget_unproven(now_us);
            self.recall(*id);
        }
    }

    /// Recalls what was forwarded of a stream. What came by a trunk is forwarded to those alone that get one speaker,
    /// and to agents.
    fn recall(&mut self, id: StreamId) {
        let gets_it = |(_, (_, told)): &(&PeerId, &(PeerId, Option<StreamId>))| *told == Some(id);
        self.recalls.extend(self.solos.iter().filter(gets_it).map(|(peer, _)| (*peer, id)));
        self.recalls.extend(self.apart.receivers_of(&id).map(|peer| (peer, id)));
    }

    /// Returns whether a whole frame, out of its order, may be decoded.
    pub(crate) fn may_be_decoded(&mut self, frame: &Frame) -> bool {
        self.streams.get_mut(&frame.identity.stream).is_some_and(|stream| stream.may_be_decoded(frame))
    }

    /// Returns the peers that what was forwarded of a stream is to be recalled from.
    pub(crate) fn take_recalls(&mut self) -> Vec<(PeerId, StreamId)> {
        std::mem::take(&mut self.recalls)
    }

    /// Returns the link and slot that a speaker's picture arrives in, if any.
    pub(crate) fn source_of(&self, of: impl Into<Seat>) -> Option<(LinkId, u8)> {
        self.newest_of(of.into()).and_then(|stream| stream.via)
    }

    /// Requests a keyframe of a speaker until one arrives.
    pub(crate) fn wish_key_of(&mut self, of: impl Into<Seat>) {
        let id = self.have(of).map(|have| have.stream);
        if let Some(stream) = id.and_then(|id| self.streams.get_mut(&id)) {
            stream.key_wish.wish();
        }
    }

    /// Returns whether to pass on a request for a speaker's keyframe now, and if so counts it.
    pub(crate) fn may_ask_key_of(&mut self, of: impl Into<Seat>, now_us: u64) -> bool {
        let id = self.have(of).map(|have| have.stream);
        id.and_then(|id| self.streams.get_mut(&id)).is_some_and(|stream| stream.key_wish.may_ask(now_us))
    }

    /// Returns the speakers' pictures that were output since the newest keyframe of each.
    pub(crate) fn pictures(&self, now_us: u64) -> impl Iterator<Item = (PeerId, Frame)> {
        let of_speakers = self.streams.values().filter(|stream| stream.spec.kind.is_speakers());
        of_speakers.flat_map(move |stream| {
            let pictures = stream.group(now_us).into_iter().filter(|frame| frame.kind == MediaKind::Video);
            pictures.map(|frame| (stream.spec.maker, frame))
        })
    }

    /// Returns the position in a speaker's stream.
    pub(crate) fn have(&self, of: impl Into<Seat>) -> Option<Resume> {
        self.newest_of(of.into()).map(Stream::position)
    }

    fn newest_of(&self, seat: Seat) -> Option<&Stream> {
        let is_its = |stream: &&Stream| Seat::of(&stream.spec) == Some(seat);
        self.streams.values().filter(is_its).max_by_key(|stream| stream.used_us)
    }

    /// Sets the peers that get one speaker: pairs of peer and speaker.
    pub(crate) fn set_solos(&mut self, solos: &[(PeerId, PeerId)]) {
        let before = std::mem::take(&mut self.solos);
        self.solos.extend(solos.iter().map(|(peer, speaker)| {
            let announced = before.get(peer).filter(|(known, _)| known == speaker);
            (*peer, (*speaker, announced.and_then(|(_, stream)| *stream)))
        }));
    }

    /// Returns the speaker that a peer gets.
    pub(crate) fn solo_of(&self, peer: &PeerId) -> Option<PeerId> {
        self.solos.get(peer).map(|(speaker, _)| *speaker)
    }

    /// Returns the speaker in a slot of a trunk.
    pub(crate) fn speaker_at(&self, trunk: u8, slot: u8) -> Option<PeerId> {
        self.speakers.get(usize::from(trunk) * TRUNK_STREAMS + usize::from(slot / 2)).copied()
    }

    /// Sets the speakers, in the order of their slots on trunks.
    pub(crate) fn set_speakers(&mut self, speakers: Vec<PeerId>) {
        if self.speakers != speakers {
            self.speakers = speakers;
            self.forwarding_to.values_mut().for_each(OrderedMap::clear);
        }
    }

    /// Sets the peers that get all speakers.
    pub(crate) fn set_forwarding_to(&mut self, peers: &[PeerId]) {
        self.forwarding_to.retain(|peer, _| peers.contains(peer));
        for peer in peers {
            self.forwarding_to.entry(*peer).or_default();
        }
    }

    /// Returns the peers that get all speakers.
    pub(crate) fn forwarding_to(&self) -> impl Iterator<Item = &PeerId> {
        self.forwarding_to.keys()
    }

    /// Forgets the announcements to a peer: a link with it is new or gone.
    pub(crate) fn link_changed(&mut self, peer: &PeerId) {
        if let Some(announced) = self.forwarding_to.get_mut(peer) {
            announced.clear();
        }
        if let Some((_, announced)) = self.solos.get_mut(peer) {
            *announced = None;
        }
        self.apart.link_changed(peer);
    }

    /// Forwards a new packet to the peers that get all speakers, unless it arrived on a trunk, to those that get
    /// its speaker, and sound to agents. A stream that is new there begins with its cached GOP. Mixers alone get the
    /// picture beside a speaker's own, in the slot of that.
    pub(crate) fn forward(
        &mut self,
        kind: MediaKind,
        packet: &MediaPacket,
        by_trunk: bool,
        now_us: u64,
        links: &LinkTable,
        outs: &mut Outs,
    ) {
        let id = packet.identity.stream;
        let Some(stream) = self.streams.get(&id) else { return };
        let Some(Seat { peer: maker, beside }) = Seat::of(&stream.spec) else { return };
        let place = self.speakers.iter().position(|speaker| *speaker == maker).filter(|_| !by_trunk);
        if let Some(place) = place {
            let trunk = LinkKind::Trunk((place / TRUNK_STREAMS) as u8);
            let slot = 2 * (place % TRUNK_STREAMS) as u8;
            let code = slot_code(trunk, slot);
            for (peer, announced) in &mut self.forwarding_to {
                if let (Some(link), Some(control)) = (links.up(peer, trunk), links.up(peer, LinkKind::Peer)) {
                    let onward = Onward { link, control, slot, code };
                    if announced.insert((code, beside), id) != Some(id) {
                        announce(stream, &onward, outs);
                        send_past(stream, &onward, outs);
                    } else {
                        send_on(kind, packet, &onward, outs);
                    }
                }
            }
        }
        if beside {
            return;
        }
        for (peer, (_, announced)) in self.solos.iter_mut().filter(|(_, (speaker, _))| *speaker == maker) {
            if let Some(link) = links.up(peer, LinkKind::Peer) {
                let [slot, _] = SOLO_SLOTS;
                let onward = Onward { link, control: link, slot, code: slot_code(LinkKind::Peer, slot) };
                let is_new = announced.replace(id) != Some(id);
                if is_new {
                    announce(stream, &onward, outs);
                }
                if is_new && self.solo_pasts.may_send(link, now_us) {
                    send_past(stream, &onward, outs);
                } else {
                    send_on(kind, packet, &onward, outs);
                }
            }
        }
        if kind == MediaKind::Sound {
            for (peer, announced) in self.apart.receivers(&maker) {
                // a peer that gets this speaker's pictures, too, has its sound with them
                let has_it = self.solos.get(peer).is_some_and(|(speaker, _)| *speaker == maker);
                let Some(link) = links.up(peer, LinkKind::Peer).filter(|_| !has_it) else { continue };
                let [slot, _] = SOLO_SLOTS;
                let onward = Onward { link, control: link, slot, code: slot_code(LinkKind::Peer, slot) };
                if announced.insert(id) {
                    announced.retain(|id| self.streams.contains_key(id));
                    announce(stream, &onward, outs);
                }
                send_on(kind, packet, &onward, outs);
            }
        }
    }
}

fn send_on(kind: MediaKind, packet: &MediaPacket, to: &Onward, outs: &mut Outs) {
    outs.send(to.link, to.slot + lane(kind) as u8, packet.clone());
}

/// Announces a stream in its slot.
fn announce(stream: &Stream, to: &Onward, outs: &mut Outs) {
    outs.control(
        to.control,
        Message::Media(MediaMessage::Stream(StreamUse { slot: to.code, spec: stream.spec })),
    );
}

/// Sends the cached GOP up to the newest packet, with the sound since its keyframe; without a keyframe the cached
/// pictures and the newest packet of sound, so that the packet at hand is among them.
fn send_past(stream: &Stream, to: &Onward, outs: &mut Outs) {
    let from = stream.group_start().unwrap_or([0, stream.position().sound_packet]);
    stream.since(from).for_each(|(kind, packet)| send_on(kind, packet, to, outs));
}

/// Takes the frames that are complete, and notes keyframe requests. Returns whether one is forged.
fn take_frames(stream: &mut Stream, kind: MediaKind, now_us: u64, out: &mut Vec<Inbound>) -> bool {
    let mut is_forged = false;
    while let Some(polled) = stream.poll(kind, now_us) {
        match polled {
            Polled::Frame(frame) => {
                let StreamSpec { maker, kind, .. } = stream.spec;
                out.push(Inbound { maker, kind, frame, arrived_us: now_us });
            }
            Polled::KeyWanted => {
                stream.key_wish.wish();
            }
            Polled::LeftOut => {}
            Polled::Forged => is_forged = true,
        }
    }
    is_forged
}
