//! Media of one peer in one room: packets from links to children, mixer and application.
//!
//! A state machine: each call states the time, and returns the IO that it needs as [`Outs`]. The brain decides which
//! peer feeds which; the media carry it out.

mod browsers;
mod hand_over;
mod keyframes;
mod mixing;
mod publishing;

pub use browsers::Shown;

use plenary_proto::ordered::{OrderedMap, OrderedSet};
use std::collections::VecDeque;

use plenary_proto::app::Solo;
use plenary_proto::bounded::Bound;
use plenary_proto::identity::MediaKind;
use plenary_proto::link_layout::is_video;
use plenary_proto::message::{
    Head, LinkKind, MediaMessage, MediaSeen, Message, PEER_SLOTS, ROSTER_MAX, Resume, StreamUse, TreeMessage,
};
use plenary_proto::packet::{LinkId, MediaPacket};
use plenary_proto::seal::Keypair;
use plenary_proto::{PeerId, RoomId, Senders, StreamId, StreamKind, StreamSpec, Time};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

use crate::EARLY_US;
use crate::arrivals::Arrivals;
use crate::catch_up::CatchUp;
use crate::doubt::DOUBTS_MAX;
use crate::in_step::InStep;
use crate::inflow::{Inflow, STREAMS_MAX, TRUNK_CODES, slot_code, trunk_of};
use crate::lag::Lag;
use crate::left_out::LeftOut;
use crate::link_table::LinkTable;
use crate::mix::Mix;
use crate::outs::{Notice, Outs};
use crate::oversize::{PictureSize, PixelsMax};
use crate::own::{BESIDE_SLOTS, OWN_SLOTS};
use crate::program::{PROGRAM_SLOTS, Program, STREAMS_MAX as PROGRAM_STREAMS_MAX};
use crate::published::Published;
use crate::rebuild::Rebuild;
use crate::repeats::Repeats;
use crate::solo::{SOLO_SLOTS, SoloWish};
use crate::stats::{FrameSeen, Reception, ReceptionStats};
use crate::stream::Pushed;
use crate::traffic::rtp_bytes;
use crate::voices::{Speaking, Voices};
use crate::watches::Watches;

/// Maximum number of packets that are kept before their stream is announced: about one GOP.
const EARLY_MAX: usize = 1024;
/// Time after leaving the stage in which the program's sound may repeat what the mix-minus had: what caches hold, and a
/// search for a parent.
const SOUND_FROM_US_MAX: u64 = 5_000_000;
/// Maximum number of streams with packets in one slot: the announced stream, and earlier ones with packets that are
/// still being retransmitted. On trunks a speaker's second picture has its slot too, and counts apart.
const SLOT_STREAMS_MAX: usize = 3;

/// Returns the maximum number of streams in the slot with that code: an agent gets all speakers' sound in one slot.
const fn slot_streams_max(code: u8) -> usize {
    if code == SOLO_SLOTS[0] { ROSTER_MAX + SLOT_STREAMS_MAX } else { SLOT_STREAMS_MAX }
}

/// A packet that overtook the announcement of its stream.
pub(crate) struct Early {
    peer: PeerId,
    code: u8,
    link: LinkId,
    slot: u8,
    packet: MediaPacket,
    arrived_us: u64,
}

/// Maximum number of slots that streams of a peer are announced in: three of the ordinary link, those of trunks.
const PEER_SLOTS_MAX: usize = 3 + (TRUNK_CODES.end - TRUNK_CODES.start) as usize / 2;

/// Returns whether streams of that kind have a slot with that code (docs/PROTOCOL.md, 4.2).
fn is_slot_of(code: u8, kind: StreamKind) -> bool {
    match kind {
        StreamKind::Program => code == PROGRAM_SLOTS[0],
        StreamKind::MixMinus => code == OWN_SLOTS[0],
        StreamKind::Speaker | StreamKind::Share => {
            code == OWN_SLOTS[0] || code == SOLO_SLOTS[0] || TRUNK_CODES.contains(&code)
        }
        StreamKind::Beside => code == BESIDE_SLOTS[0] || TRUNK_CODES.contains(&code),
    }
}

/// A stream that the brain accepts from a peer.
#[derive(Clone, Copy)]
struct Followed {
    id: StreamId,
    kind: StreamKind,
    /// Whether that peer makes it; else it forwards it.
    is_own: bool,
}

/// Frames that arrive in one slot of a link, at a page.
#[derive(Debug, Default)]
struct PageLeg {
    left_out: LeftOut,
    /// Size of the pictures that the browser's decoder was given.
    size: PictureSize,
    /// Pictures or sound.
    repeats: Repeats,
}

/// Fixed properties of a peer's media.
#[derive(Clone, Debug)]
pub(crate) struct MediaConfig {
    /// This peer.
    pub(crate) me: PeerId,
    /// The room.
    pub(crate) room: RoomId,
    /// The brain's time 0, in microseconds.
    pub(crate) zero_us: u64,
    /// Whether every picture is logged.
    pub(crate) keeps_log: bool,
    /// Whether the application shows the program.
    pub(crate) views: bool,
    /// Whether this peer is on stage as a speaker.
    pub(crate) speaks: bool,
    /// This peer is a page.
    pub(crate) is_page: bool,
    /// Seed of the starts of this peer's streams, which tell them apart.
    pub(crate) seed: u64,
    /// Keys that seal this peer's streams; `None` in a room without seals.
    pub(crate) keys: Option<Keypair>,
}

/// Media of one peer.
pub(crate) struct Media {
    me: PeerId,
    room: RoomId,
    keys: Option<Keypair>,
    zero_us: u64,
    rng: ChaCha8Rng,
    pub(crate) links: LinkTable,
    /// Streams that the brain accepts, by peer and slot, the newest last.
    followed: OrderedMap<(PeerId, u8), VecDeque<Followed>>,
    /// Peers with streams that count.
    sources: Senders,
    pub(crate) early: VecDeque<Early>,
    pub(crate) program: Program,
    pub(crate) inflow: Inflow,
    published: Published,
    pub(crate) mix: Mix,
    solo: SoloWish,
    pub(crate) watches: Watches,
    pub(crate) lag: Lag,
    arrivals: Arrivals,
    rebuild: Rebuild,
    /// At a page: the legs of pictures.
    page_legs: OrderedMap<(LinkId, u8), PageLeg>,
    /// Limits of the pictures that the application shows.
    pub(crate) pixels_max: PixelsMax,
    reception: Reception,
    voices: Voices,
    catch_up: CatchUp,
    in_step: InStep,
    /// Peer that was asked to feed this one, until its first packet.
    asked: Option<PeerId>,
    parent: Option<PeerId>,
    /// Home mixer: the mixer that gets this peer's own stream.
    home: Option<PeerId>,
    mesh: bool,
    views: bool,
    speaks: bool,
    /// Whether this speaker hears its mix-minus instead of the program's sound: since its first frame.
    own_mix: bool,
    /// Capture time before which the program's sound is not for the application, which heard a mix-minus then, and
    /// until when this counts: a peer may claim any capture time.
    sound_from_us: (u64, u64),
    made: Vec<FrameSeen>,
    /// Bytes of the program's packets that arrived from the feeder (RTP header, extensions and payload), each packet
    /// once.
    tree_bytes: u64,
    keeps_log: bool,
}

impl Media {
    /// Returns the media of a peer without links and streams.
    pub(crate) fn new(config: MediaConfig, now_us: u64) -> Media {
        let MediaConfig { me, room, zero_us, keeps_log, views, speaks, is_page, seed, keys } = config;
        let sealed = keys.is_some().then_some(room);
        Media {
            me,
            room,
            zero_us,
            rng: ChaCha8Rng::seed_from_u64(seed),
            links: LinkTable::default(),
            followed: OrderedMap::new(),
            sources: Senders::default(),
            early: VecDeque::new(),
            program: Program::new(is_page, sealed),
            inflow: Inflow::new(sealed),
            published: Published::default(),
            mix: Mix::new(me, room, keys.clone()),
            keys,
            solo: SoloWish::default(),
            watches: Watches::default(),
            lag: Lag::default(),
            arrivals: Arrivals::default(),
            rebuild: Rebuild::default(),
            page_legs: OrderedMap::new(),
            pixels_max: PixelsMax::default(),
            reception: Reception::new(now_us, keeps_log),
            voices: Voices::default(),
            catch_up: CatchUp::default(),
            in_step: InStep::default(),
            asked: None,
            parent: None,
            home: None,
            mesh: true,
            views,
            speaks,
            own_mix: speaks,
            sound_from_us: (0, 0),
            made: Vec::new(),
            tree_bytes: 0,
            keeps_log,
        }
    }

    /// Converts a time of the clock to the brain's time.
    pub(crate) fn time(&self, now_us: u64) -> Time {
        Time(now_us.saturating_sub(self.zero_us))
    }

    /// Converts the brain's time to a time of the clock, in microseconds.
    pub(crate) fn clock_us(&self, time: Time) -> u64 {
        time.0.saturating_add(self.zero_us)
    }

    /// Returns the time that failure detectors use: the brain's, without the time that this machine has lost.
    pub(crate) fn watch_time(&self, now_us: u64) -> Time {
        self.time(now_us.saturating_sub(self.lag.lost_us(now_us)))
    }

    fn start(&mut self) -> [u8; 8] {
        let mut start = [0; 8];
        self.rng.fill_bytes(&mut start);
        start
    }

    // ── links ────────────────────────────────────────────────────────────────────────────────────────────────

    /// Records that a link is up: packets may be sent on it. Returns peer and kind, unless a newer link replaced it.
    pub(crate) fn link_up(&mut self, link: LinkId, outs: &mut Outs) -> Option<(PeerId, LinkKind)> {
        let (peer, kind) = self.links.set_up(link)?;
        self.inflow.link_changed(&peer);
        self.mix.link_up(&peer);
        if kind == LinkKind::Peer {
            for own in self.published.streams_mut() {
                own.key_wanted |= own.link_changed(peer, Some(link), outs);
            }
        }
        Some((peer, kind))
    }

    /// Handles the end of a link. Returns peer and kind, unless this peer closed the link or a newer one replaced it.
    pub(crate) fn link_down(&mut self, link: LinkId, outs: &mut Outs) -> Option<(PeerId, LinkKind)> {
        self.rebuild.forget(link);
        self.page_legs.retain(|(of, _), _| *of != link);
        let (peer, kind, up) = self.links.remove(link)?;
        self.forget_link(peer, kind, up, outs);
        Some((peer, kind))
    }

    /// Forgets a link that this peer closes, and returns it.
    pub(crate) fn link_closed(&mut self, peer: PeerId, kind: LinkKind, outs: &mut Outs) -> Option<LinkId> {
        let (link, up) = self.links.forget(&peer, kind)?;
        self.rebuild.forget(link);
        self.page_legs.retain(|(of, _), _| *of != link);
        self.forget_link(peer, kind, up, outs);
        Some(link)
    }

    fn forget_link(&mut self, peer: PeerId, kind: LinkKind, was_up: bool, outs: &mut Outs) {
        // things arrive also on links that are replaced before they are up
        if !self.links.is_known(&peer) {
            self.watches.forget(&peer);
            self.arrivals.forget(&peer);
        }
        if !was_up {
            return;
        }
        self.inflow.link_changed(&peer);
        // streams of trunks are announced on the ordinary link
        let links = &self.links;
        let is_linked = links.up(&peer, LinkKind::Peer).is_some();
        let stays = |code: u8| match trunk_of(code) {
            None => is_linked,
            Some(trunk) => is_linked || links.up(&peer, LinkKind::Trunk(trunk)).is_some(),
        };
        self.followed.retain(|(from, code), _| *from != peer || stays(*code));
        if kind == LinkKind::Peer {
            self.early.retain(|early| early.peer != peer);
            self.unserve(&peer);
            for own in self.published.streams_mut() {
                own.link_changed(peer, None, outs);
            }
        }
    }

    /// Returns the ordinary link with a peer, if it is up.
    pub(crate) fn link(&self, peer: &PeerId) -> Option<LinkId> {
        self.links.up(peer, LinkKind::Peer)
    }

    // ── decisions of the brain ───────────────────────────────────────────────────────────────────────────────

    /// Accepts a stream from a peer in a slot, and handles its packets that arrived before.
    pub(crate) fn follow(
        &mut self,
        peer: PeerId,
        stream: StreamUse,
        id: StreamId,
        now_us: u64,
        outs: &mut Outs,
    ) {
        let code = stream.slot & !1;
        // a peer announces its streams anew on each new link
        if !is_slot_of(code, stream.spec.kind) || !self.links.is_known(&peer) {
            return;
        }
        let slot = self.followed.entry((peer, code)).or_default();
        slot.retain(|known| known.id != id);
        slot.push_back(Followed { id, kind: stream.spec.kind, is_own: stream.spec.maker == peer });
        let is_beside = |kind: StreamKind| kind == StreamKind::Beside;
        let is_alike = |known: &Followed| is_beside(known.kind) == is_beside(stream.spec.kind);
        let most = if is_beside(stream.spec.kind) { SLOT_STREAMS_MAX } else { slot_streams_max(code) };
        if slot.iter().filter(|known| is_alike(known)).count() > most {
            slot.iter().position(is_alike).and_then(|oldest| slot.remove(oldest));
        }
        match stream.spec.kind {
            StreamKind::Program => self.program.follow(id, stream.spec, now_us),
            StreamKind::Speaker | StreamKind::Share | StreamKind::Beside | StreamKind::MixMinus => {
                self.inflow.follow(id, stream.spec, now_us);
            }
        }
        let (now, later): (VecDeque<_>, VecDeque<_>) =
            std::mem::take(&mut self.early).into_iter().partition(|early| {
                early.peer == peer && early.code & !1 == code && early.packet.identity.stream == id
            });
        self.early = later;
        // a page's browser has got none of them to decode
        if self.program.is_page && now.iter().any(|early| is_video(early.slot)) {
            now.front().into_iter().for_each(|early| outs.want_key(early.link, code));
        }
        for early in now {
            self.packet(early.link, early.slot, early.packet, now_us, outs);
        }
    }

    /// Sets the peers with streams that count.
    pub(crate) fn set_sources(&mut self, sources: Senders) {
        self.sources = sources;
    }

    /// Sets whether the stage is a mesh; then the application gets the other speakers' own streams.
    pub(crate) fn set_mesh(&mut self, mesh: bool) {
        self.mesh = mesh;
    }

    /// Sets the application's request for one speaker's own stream.
    pub(crate) fn set_solo(&mut self, wish: Option<Solo>, outs: &mut Outs) {
        let returns = self.solo.set(wish);
        if let Some(solo) = wish {
            self.inflow.wish_key_of(&solo.speaker); // a mixer has the stream already
        }
        self.program_returns(returns, outs);
    }

    /// Sets the speakers that must not be shown alone.
    pub(crate) fn set_refusing_solo(&mut self, refusing: OrderedSet<PeerId>, outs: &mut Outs) {
        let returns = self.solo.set_refusing(refusing);
        self.program_returns(returns, outs);
    }

    /// Sets whether the stream of the requested speaker comes.
    pub(crate) fn set_solo_coming(&mut self, speaker: PeerId, comes: bool) {
        self.solo.set_coming(speaker, comes);
    }

    /// Asks for a keyframe if the application gets the program again.
    fn program_returns(&mut self, returns: bool, outs: &mut Outs) {
        if returns && self.mix.is_mixing() {
            self.want_program_key(outs);
        } else if returns {
            self.want_key_upstream(outs);
        }
    }

    /// Records that this peer has come on stage as a speaker, or has left it.
    pub(crate) fn set_floor(&mut self, speaks: bool, views: bool, now_us: u64) {
        (self.speaks, self.views) = (speaks, views);
        if !speaks && std::mem::take(&mut self.own_mix) {
            // a new parent sends all the sound that was missed, with this peer's own voice in it
            self.sound_from_us = (self.program.head().captured_us, now_us.saturating_add(SOUND_FROM_US_MAX));
        }
    }

    /// Feeds a child, from a position in the program.
    pub(crate) fn serve(
        &mut self,
        peer: PeerId,
        from: Option<Resume>,
        sound: bool,
        now_us: u64,
        outs: &mut Outs,
    ) {
        if let Some(link) = self.link(&peer) {
            let is_browser = self.links.is_browser(link);
            self.program.serve(peer, (link, is_browser), sound, from, now_us, outs);
            if sound {
                self.watches.watch_child(peer, self.watch_time(now_us));
            }
        }
    }

    /// Stops feeding a child.
    pub(crate) fn unserve(&mut self, peer: &PeerId) {
        self.program.unserve(peer);
        self.watches.unwatch_child(peer);
    }

    /// Watches parent and backup.
    pub(crate) fn watch(&mut self, parent: Option<PeerId>, backup: Option<PeerId>, now_us: u64) {
        self.parent = parent;
        self.program.set_feeder(self.feeder_link());
        let newest_us = self.program.head().captured_us;
        self.watches.watch_feed(parent, backup, newest_us, self.watch_time(now_us));
    }

    /// Sets the feeder by the brain's decision: the brain may not want the peer that has begun to feed this one any
    /// more.
    pub(crate) fn renew_feeder(&mut self) {
        self.program.set_feeder(self.feeder_link());
    }

    /// Asks a linked peer to feed this one, from the present position.
    pub(crate) fn request_feed(&mut self, peer: PeerId, now_us: u64, outs: &mut Outs) {
        if let Some(link) = self.link(&peer) {
            self.asked = Some(peer);
            outs.control(link, Message::Tree(TreeMessage::Feed { from: self.program.have(now_us) }));
        }
    }

    // ── packets ──────────────────────────────────────────────────────────────────────────────────────────────

    /// Handles a packet that arrived in a slot of a link.
    pub(crate) fn packet(
        &mut self,
        link: LinkId,
        slot: u8,
        packet: MediaPacket,
        now_us: u64,
        outs: &mut Outs,
    ) {
        let Some((peer, link_kind)) = self.links.of(link) else { return };
        self.watches.fed(peer, self.watch_time(now_us));
        let code = slot_code(link_kind, slot);
        let id = packet.identity.stream;
        let streams = self.followed.get(&(peer, code & !1));
        let known = streams.and_then(|streams| streams.iter().find(|known| known.id == id));
        let Some(Followed { kind: stream_kind, is_own, .. }) = known.copied() else {
            if self.early.len() >= EARLY_MAX {
                self.drop_early();
            }
            self.early.push_back(Early { peer, code, link, slot, packet, arrived_us: now_us });
            return;
        };
        if !self.sources.take(&peer, stream_kind, is_own) {
            return;
        }
        let kind = if slot.is_multiple_of(2) { MediaKind::Video } else { MediaKind::Sound };
        let via = (link, slot & !1);
        let bytes = rtp_bytes(&packet);
        if stream_kind == StreamKind::Program {
            if self.asked.take_if(|asked| *asked == peer).is_some() {
                self.program.set_feeder(Some(link));
                outs.notices.push(Notice::Fed(peer));
            }
            let arrived = self.program.packet(kind, &packet, (via, is_own), now_us, outs);
            if arrived.refused {
                return;
            }
            self.arrivals.packet(peer, kind, &packet, (is_own, arrived.fresh), bytes, now_us);
            // a speaker, or a peer that was one a moment ago, gets pictures from its mixer beside the tree
            if arrived.fresh && !self.speaks && self.program.feeder() == Some(link) {
                self.tree_bytes += bytes;
            }
            if arrived.fresh && kind == MediaKind::Sound && !self.own_mix {
                self.voices.heard(&packet.contributors, now_us);
            }
            self.use_arrived(arrived, now_us, outs);
            return;
        }
        let mut inbound = Vec::new();
        let pushed = self.inflow.packet(kind, &packet, Some((via, is_own)), now_us, &mut inbound);
        self.send_recalls(outs);
        if pushed == Pushed::Refused {
            return;
        }
        let is_fresh = pushed.is_fresh();
        self.arrivals.packet(peer, kind, &packet, (is_own, is_fresh), bytes, now_us);
        if is_fresh {
            match (kind, stream_kind) {
                (MediaKind::Video, _) => {}
                (MediaKind::Sound, StreamKind::MixMinus) => self.voices.heard(&packet.contributors, now_us),
                (MediaKind::Sound, _) if self.mesh => {
                    self.voices.heard_alone(&peer, packet.audio_level, now_us);
                }
                (MediaKind::Sound, _) => {}
            }
            let by_trunk = link_kind != LinkKind::Peer;
            self.inflow.forward(kind, &packet, by_trunk, now_us, &self.links, outs);
        }
        self.use_inbound(inbound, now_us, outs);
    }

    /// Drops the oldest packet of the peer with the most early packets, so that no peer displaces the others'.
    fn drop_early(&mut self) {
        let mut counts: OrderedMap<PeerId, usize> = OrderedMap::new();
        self.early.iter().for_each(|early| *counts.entry(early.peer).or_default() += 1);
        let most = counts.iter().max_by_key(|(_, count)| **count).map(|(peer, _)| *peer);
        if let Some(at) = self.early.iter().position(|early| Some(early.peer) == most) {
            self.early.remove(at);
        }
    }

    /// Returns the properties of a stream that this peer receives or makes.
    pub(crate) fn spec_of(&self, stream: &StreamId) -> Option<StreamSpec> {
        let streams = [&self.program.streams, &self.inflow.streams];
        streams.into_iter().find_map(|streams| streams.get(stream)).map(|stream| stream.spec)
    }

    /// A peer recalls what it forwarded of a stream since the last frame that was proven.
    pub(crate) fn recalled(&mut self, from: PeerId, stream: StreamId, now_us: u64, outs: &mut Outs) {
        if let Some(link) = self.link(&from) {
            self.program.recalled(&stream, link, now_us, outs);
            self.inflow.recalled(&stream, link, now_us);
            self.send_recalls(outs);
        }
    }

    /// Recalls what was forwarded of forged streams of speakers.
    fn send_recalls(&mut self, outs: &mut Outs) {
        for (peer, stream) in self.inflow.take_recalls() {
            if let Some(link) = self.link(&peer) {
                outs.control(link, Message::Media(MediaMessage::Recalled(stream)));
            }
        }
    }

    /// Returns the fill levels of the tables of streams and packets.
    pub(crate) fn bounds(&self) -> [Bound; 9] {
        let peers = self.links.known();
        let followed = self.followed.values().map(VecDeque::len).sum();
        let of = |of, len, max| Bound { of, len, max };
        [
            of("early packets", self.early.len(), EARLY_MAX),
            of("streams of the program", self.program.streams.len(), PROGRAM_STREAMS_MAX),
            of("streams for own use", self.inflow.streams.len(), STREAMS_MAX),
            of(
                "links with forged frames",
                self.program.doubts.len().max(self.inflow.doubts.len()),
                DOUBTS_MAX,
            ),
            of("followed streams", followed, peers * (PEER_SLOTS_MAX * 2 * SLOT_STREAMS_MAX + ROSTER_MAX)),
            of("legs of browsers", self.rebuild.legs(), self.links.all().count() * PEER_SLOTS),
            of("legs with pictures at a page", self.page_legs.len(), self.links.all().count() * PEER_SLOTS),
            of("peers with media", self.arrivals.peers(), peers),
            of("peers that something arrived from", self.watches.peers(), peers),
        ]
    }

    /// Returns the number of peers and slots with followed streams.
    #[cfg(test)]
    pub(crate) fn followed_slots(&self) -> usize {
        self.followed.len()
    }

    /// Records that anything but media arrived from a peer.
    pub(crate) fn arrived(&mut self, peer: PeerId, now_us: u64) {
        self.watches.arrived(peer, self.watch_time(now_us));
    }

    /// Returns when anything arrived from a peer last.
    pub(crate) fn last_arrival(&self, peer: &PeerId) -> Option<Time> {
        self.watches.last(peer)
    }

    /// Handles the head of a peer's program, at a page that takes no pictures. The parent of such a page sends nothing
    /// while there is no sound, and none to a speaker: its heads show that it feeds.
    pub(crate) fn feeders_head(&mut self, peer: &PeerId, head: &Head, now_us: u64, outs: &mut Outs) {
        let announced = self.followed.get(&(*peer, PROGRAM_SLOTS[0]));
        let is_program = |known: &Followed| known.kind == StreamKind::Program;
        if !self.program.hears_only || !announced.is_some_and(|known| known.iter().any(is_program)) {
            return;
        }
        if self.asked.take_if(|asked| asked == peer).is_some() {
            self.program.set_feeder(self.link(peer));
            outs.notices.push(Notice::Fed(*peer));
        }
        if self.parent.or(self.home) == Some(*peer) {
            self.watches.progressed(self.watch_time(now_us), head.captured_us);
        }
    }

    /// Handles the head of a peer's program.
    pub(crate) fn backup_head(&mut self, peer: &PeerId, head: &Head, now_us: u64) {
        let ours = self.program.head();
        // another mixer's program has another clock, so its head can't be compared
        if head.stream == ours.stream || head.rank > ours.rank || ours.captured_us == 0 {
            self.watches.head(peer, self.watch_time(now_us), head.captured_us);
        }
    }

    // ── time ─────────────────────────────────────────────────────────────────────────────────────────────────

    /// Gives up packets that were waited for long enough. Returns the peers to ask for their heads. To be called some
    /// 40 times a second.
    pub(crate) fn on_time(&mut self, now_us: u64, outs: &mut Outs) -> Vec<PeerId> {
        let arrived = self.program.on_time(now_us, outs);
        self.use_arrived(arrived, now_us, outs);
        for (link, slot, packet) in self.rebuild.on_time(now_us) {
            self.packet(link, slot, packet, now_us, outs);
        }
        let due = self.page_legs.iter_mut().map(|(at, leg)| (*at, leg.left_out.due(now_us)));
        for ((link, slot), in_place) in due.filter(|(_, in_place)| !in_place.is_empty()).collect::<Vec<_>>() {
            in_place.into_iter().for_each(|packet| self.packet(link, slot, packet, now_us, outs));
        }
        for (link, slot) in self.rebuild.key_wishes(now_us) {
            outs.want_key(link, slot);
        }
        let mut inbound = Vec::new();
        self.inflow.on_time(now_us, &mut inbound, outs);
        self.use_inbound(inbound, now_us, outs);
        self.send_recalls(outs);
        let forgers = [self.program.doubts.at_fault(now_us), self.inflow.doubts.at_fault(now_us)].concat();
        outs.notices
            .extend(forgers.into_iter().filter_map(|link| Some(Notice::Forged(self.links.of(link)?.0))));
        while self.early.front().is_some_and(|early| early.arrived_us + EARLY_US < now_us) {
            self.early.pop_front();
        }
        self.watches.asks(self.watch_time(now_us))
    }

    /// Sets the round-trip times of links, in microseconds. To be called about once a second.
    pub(crate) fn set_rtts_us(&mut self, rtts_us: &OrderedMap<LinkId, u64>) {
        self.inflow.set_rtts_us(|link| rtts_us.get(&link).copied());
    }

    /// Returns how often the program degraded here since the last call, given the frame rate that the room requests.
    pub(crate) fn take_suffered(&mut self, now_us: u64, fps_wanted: Option<u8>) -> u16 {
        let count = self.program.take_suffered(now_us, fps_wanted);
        self.reception.degraded(count);
        count
    }

    /// Returns when the next held frame is due for the application, in microseconds.
    pub(crate) fn next_due_us(&self) -> Option<u64> {
        self.in_step.next_due_us()
    }

    /// Hands over the frames that are due.
    pub(crate) fn hand_over_due(&mut self, now_us: u64, outs: &mut Outs) {
        while let Some(held) = self.in_step.pop(now_us) {
            self.give(held, now_us, outs);
        }
    }

    /// Hands over all held frames.
    pub(crate) fn hand_over_all(&mut self, now_us: u64, outs: &mut Outs) {
        while let Some(held) = self.in_step.pop_any() {
            self.give(held, now_us, outs);
        }
    }

    // ── figures ─────────────────────────────────────────────────────────────────────────────────────────────

    /// Returns the present audio levels of these speakers (RFC 6464).
    pub(crate) fn levels(&self, speakers: &[PeerId], now_us: u64) -> Vec<(PeerId, u8)> {
        self.voices.levels(speakers, now_us)
    }

    /// Returns which of these speakers are speaking, if that has changed since the last call.
    pub(crate) fn take_speaking(&mut self, speakers: &[PeerId], now_us: u64) -> Option<Speaking> {
        self.voices.update(speakers, now_us)
    }

    /// Returns statistics of the program's reception.
    pub(crate) fn reception(&self, now_us: u64) -> ReceptionStats {
        ReceptionStats { program_bytes: self.tree_bytes, ..self.reception.stats(now_us) }
    }

    /// Returns the media that arrived from a peer over the last 20 s; `None` unless it did throughout.
    pub(crate) fn media_seen(&mut self, peer: &PeerId, now_us: u64) -> Option<MediaSeen> {
        self.arrivals.of(peer, now_us)
    }

    /// Returns the log of the program's pictures that this peer made, if it keeps one.
    pub(crate) fn made(&self) -> &[FrameSeen] {
        &self.made
    }
}
