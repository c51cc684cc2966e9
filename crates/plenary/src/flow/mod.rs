//! Media on its way through this peer, past the brain: packets come in on the links' own tasks, are forwarded
//! at once, put together to frames, and given to whoever uses them.
//!
//! One lock guards all of it; what may take long (decoding, encoding, the application) happens on other threads
//! behind bounded queues. The brain says who feeds whom ([`crate::driver`]); here it is only carried out.

mod cache;
mod catch_up;
mod in_step;
mod inflow;
mod key_wish;
mod maker;
mod notices;
mod outlets;
mod own;
mod past;
mod program;
mod sending;
mod sink;
mod solo;
mod stats;
mod voices;
mod watches;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use plenary_media::Encoded;
use plenary_media::{Clock, Frame};
use plenary_proto::identity::MediaKind;
use plenary_proto::message::{LinkKind, Message, Resume, StreamUse};
use plenary_proto::{InForce, PeerId, RoomId, StreamId, StreamKind, StreamSpec, Time};
use plenary_rtc::{LinkId, MediaPacket, PacketSink};
use tracing::Span;

pub(crate) use inflow::Inbound;
pub(crate) use maker::Maker;
pub(crate) use notices::Notice;
use notices::Notices;
pub use outlets::{Origin, ReceivedFrame};
pub(crate) use own::Own;
pub(crate) use sending::Sending;
pub use stats::{FrameSeen, Gap, ReceptionStats, Spread};

use crate::desk::Desk;
use catch_up::CatchUp;
use in_step::{Held, InStep};
use inflow::Inflow;
use maker::lane;
use outlets::Outlets;
use own::OWN_SLOTS;
use program::Program;
pub use solo::Solo;
use solo::SoloWish;
use stats::Reception;
use voices::{Speaking, Voices};
use watches::Watches;

/// Packets that overtook the announcement of their stream: a group of pictures' worth.
const EARLY_MAX: usize = 1024;
/// They are kept for so long.
const EARLY_US: u64 = 1_000_000;
/// Streams that a slot may carry packets of: the announced one, and those before it that are still being repaired.
const SLOT_STREAMS_MAX: usize = 3;
/// A hole is waited for until a third repair may have come, 3.5 round trips; on short links as long as two legs of 60 ms
/// take for two. Past the longest it is quicker to begin anew: a picture doesn't stand still for 700 ms.
const HOLE_RTTS: u64 = 4;
const HOLE_US_MIN: u64 = 250_000;
const HOLE_US_MAX: u64 = 600_000;

struct Early {
    peer: PeerId,
    code: u8,
    link: LinkId,
    slot: u8,
    packet: MediaPacket,
    arrived_us: u64,
}

/// Everything the lock guards.
pub(crate) struct State {
    pub(crate) links: BTreeMap<(PeerId, LinkKind), LinkId>,
    by_id: BTreeMap<LinkId, (PeerId, LinkKind)>,
    followed: BTreeMap<(PeerId, u8), VecDeque<(StreamId, StreamKind)>>,
    early: VecDeque<Early>,
    program: Program,
    pub(crate) inflow: Inflow,
    pub(crate) own: Option<Own>,
    pub(crate) outlets: Outlets,
    solo: SoloWish,
    pub(crate) watches: Watches,
    reception: Reception,
    voices: Voices,
    catch_up: CatchUp,
    in_step: InStep,
    /// Who was asked to feed us and hasn't yet.
    asked: Option<PeerId>,
    parent: Option<PeerId>,
    /// The mixer that our own stream goes to.
    home: Option<PeerId>,
    desk: Option<Arc<Desk>>,
    mesh: bool,
    views: bool,
    speaks: bool,
    /// A speaker hears a mix of its own instead of the program's sound, from the first frame of it on.
    own_mix: bool,
    /// Of the program's sound, what was captured before this isn't for the application: it heard its own mix then.
    sound_from_us: u64,
    /// By kind: what this peer makes of it goes to nobody.
    muted: [bool; 2],
    made: Vec<FrameSeen>,
    /// RTP header, extensions and payload of the program's packets that the tree brought, once each.
    tree_bytes: u64,
    keeps_log: bool,
    /// A child or a mixer wants a key frame of our own stream.
    own_key_wanted: bool,
}

/// Media on its way through one peer of one room.
pub(crate) struct Flow {
    me: PeerId,
    room: RoomId,
    clock: Clock,
    zero_us: u64,
    sending: OnceLock<Sending>,
    notices: Notices,
    span: Span,
    state: Mutex<State>,
}

/// What a flow needs to know from the start.
pub(crate) struct FlowConfig {
    pub(crate) me: PeerId,
    pub(crate) room: RoomId,
    pub(crate) clock: Clock,
    /// The brain's time 0.
    pub(crate) zero_us: u64,
    pub(crate) keeps_log: bool,
    pub(crate) views: bool,
    pub(crate) speaks: bool,
    /// The room's: links, mixer and capture call on tasks and threads of their own.
    pub(crate) span: Span,
}

impl Flow {
    pub(crate) fn new(config: FlowConfig) -> Arc<Flow> {
        let FlowConfig { me, room, clock, zero_us, keeps_log, views, speaks, span } = config;
        let state = State {
            links: BTreeMap::new(),
            by_id: BTreeMap::new(),
            followed: BTreeMap::new(),
            early: VecDeque::new(),
            program: Program::new(),
            inflow: Inflow::default(),
            own: None,
            outlets: Outlets::default(),
            solo: SoloWish::default(),
            watches: Watches::default(),
            reception: Reception::new(clock.now_us(), keeps_log),
            voices: Voices::default(),
            catch_up: CatchUp::default(),
            in_step: InStep::default(),
            asked: None,
            parent: None,
            home: None,
            desk: None,
            mesh: true,
            views,
            speaks,
            own_mix: speaks,
            sound_from_us: 0,
            muted: [false; 2],
            made: Vec::new(),
            tree_bytes: 0,
            keeps_log,
            own_key_wanted: false,
        };
        let (sending, notices, state) = (OnceLock::new(), Notices::default(), Mutex::new(state));
        Arc::new(Flow { me, room, clock, zero_us, sending, notices, span, state })
    }

    /// Connects it with the links, once they are there.
    pub(crate) fn connect(&self, sending: Sending) {
        let _ = self.sending.set(sending);
    }

    pub(crate) fn sending(&self) -> Option<&Sending> {
        self.sending.get()
    }

    pub(crate) fn state(&self) -> parking_lot::MutexGuard<'_, State> {
        self.state.lock()
    }

    /// The span that everything of this room happens in.
    pub(crate) fn span(&self) -> &Span {
        &self.span
    }

    pub(crate) fn now_us(&self) -> u64 {
        self.clock.now_us()
    }

    /// The brain's time of a moment of the clock.
    pub(crate) fn time(&self, now_us: u64) -> Time {
        Time(now_us.saturating_sub(self.zero_us))
    }

    fn notify(&self, notice: Notice) {
        if !self.notices.push(notice) {
            let _inside = self.span.enter();
            tracing::error!("the driver does not keep up: a notice is lost");
        }
    }

    /// Waits for what the brain must hear of next.
    pub(crate) async fn next_notice(&self) -> Notice {
        self.notices.next().await
    }

    // ── links ────────────────────────────────────────────────────────────────────────────────────────────────────

    pub(crate) fn link_opened(&self, peer: PeerId, kind: LinkKind, link: LinkId) {
        self.state().by_id.insert(link, (peer, kind));
    }

    pub(crate) fn link_up(&self, peer: PeerId, kind: LinkKind, link: LinkId) {
        let Some(sending) = self.sending() else { return };
        let mut state = self.state();
        state.links.insert((peer, kind), link);
        state.inflow.link_changed(&peer);
        if kind == LinkKind::Peer {
            let wanted = state.own.as_mut().is_some_and(|own| own.link_changed(peer, Some(link), sending));
            state.own_key_wanted |= wanted;
        }
    }

    pub(crate) fn link_down(&self, link: LinkId) {
        let Some(sending) = self.sending() else { return };
        let mut state = self.state();
        let Some((peer, kind)) = state.by_id.remove(&link) else { return };
        if state.links.get(&(peer, kind)) != Some(&link) {
            return;
        }
        state.links.remove(&(peer, kind));
        state.inflow.link_changed(&peer);
        if kind == LinkKind::Peer {
            state.program.unserve(&peer);
            state.watches.unwatch_child(&peer);
            state.watches.forget(&peer);
            state.followed.retain(|(from, code), _| *from != peer || *code >= 16);
            if let Some(own) = &mut state.own {
                own.link_changed(peer, None, sending);
            }
        }
    }

    // ── what the brain has decided ───────────────────────────────────────────────────────────────────────────────

    /// A stream may be taken from a peer in a slot: so may its packets that came before this was known.
    pub(crate) fn follow(&self, peer: PeerId, stream: StreamUse, id: StreamId) {
        let now_us = self.now_us();
        let mut state = self.state();
        let code = stream.slot & !1;
        let slot = state.followed.entry((peer, code)).or_default();
        slot.retain(|(known, _)| *known != id);
        slot.push_back((id, stream.spec.kind));
        if slot.len() > SLOT_STREAMS_MAX {
            slot.pop_front();
        }
        match stream.spec.kind {
            StreamKind::Program => state.program.follow(id, stream.spec, now_us),
            StreamKind::Speaker | StreamKind::Share | StreamKind::MixMinus => {
                state.inflow.follow(id, stream.spec, now_us);
            }
        }
        let (now, later): (VecDeque<_>, VecDeque<_>) =
            std::mem::take(&mut state.early).into_iter().partition(|early| {
                early.peer == peer && early.code & !1 == code && early.packet.identity.stream == id
            });
        state.early = later;
        drop(state);
        for early in now {
            self.packet(early.link, early.slot, early.packet, early.arrived_us);
        }
    }

    pub(crate) fn set_in_force(&self, in_force: InForce) {
        self.state().program.set_in_force(in_force);
    }

    /// Whether this is a mesh: then the application gets the other speakers' own streams.
    pub(crate) fn set_mesh(&self, mesh: bool) {
        self.state().mesh = mesh;
    }

    /// The application wishes for a speaker's own stream, or for none.
    pub(crate) fn set_solo(&self, wish: Option<Solo>) {
        let mut state = self.state();
        let returns = state.solo.set(wish);
        if let Some(solo) = wish {
            state.inflow.wish_key_of(&solo.speaker); // where it comes already
        }
        drop(state);
        if returns {
            match self.mixing_desk() {
                Some(desk) => desk.want_key(),
                None => self.want_key_upstream(),
            }
        }
    }

    /// Our own mixer, if it makes the program. It is never asked anything under our lock: it takes this one under its own.
    fn mixing_desk(&self) -> Option<Arc<Desk>> {
        let desk = self.state().desk.clone();
        desk.filter(|desk| desk.is_mixing())
    }

    /// This peer has come on stage as a speaker, or gone back to watching.
    pub(crate) fn set_floor(&self, speaks: bool, views: bool) {
        let mut state = self.state();
        (state.speaks, state.views) = (speaks, views);
        if !speaks && std::mem::take(&mut state.own_mix) {
            // a new parent sends all the sound that was missed, with our own voice in it
            state.sound_from_us = state.program.head().captured_us;
        }
    }

    pub(crate) fn serve(&self, peer: PeerId, from: Option<Resume>, sound: bool) {
        let Some(sending) = self.sending() else { return };
        let now_us = self.now_us();
        let mut state = self.state();
        let state = &mut *state;
        if let Some(link) = state.links.get(&(peer, LinkKind::Peer)) {
            state.program.serve(peer, *link, sound, from, now_us, sending);
            if sound {
                state.watches.watch_child(peer, self.time(now_us));
            }
        }
    }

    pub(crate) fn unserve(&self, peer: &PeerId) {
        let mut state = self.state();
        state.program.unserve(peer);
        state.watches.unwatch_child(peer);
    }

    pub(crate) fn watch(&self, parent: Option<PeerId>, backup: Option<PeerId>) {
        let now_us = self.now_us();
        let mut state = self.state();
        state.parent = parent;
        // who was asked, and is the backup once more, needn't feed us
        state.asked.take_if(|asked| backup == Some(*asked));
        let feeder = state.feeder_link();
        state.program.set_feeder(feeder);
        let newest_us = state.program.head().captured_us;
        state.watches.watch_feed(parent, backup, newest_us, self.time(now_us));
    }

    /// Asks a linked peer to feed us from where we are.
    pub(crate) fn request_feed(&self, peer: PeerId) {
        let Some(sending) = self.sending() else { return };
        let mut state = self.state();
        if let Some(link) = state.links.get(&(peer, LinkKind::Peer)).copied() {
            state.asked = Some(peer);
            sending.control(link, &Message::Feed { from: state.program.have() });
        }
    }

    pub(crate) fn send_own(&self, to: Vec<(PeerId, Option<Resume>)>) {
        let Some(sending) = self.sending() else { return };
        let now_us = self.now_us();
        let mut guard = self.state();
        let state = &mut *guard;
        state.home = if let [(home, _)] = &to[..] { Some(*home) } else { None };
        let feeder = state.feeder_link();
        state.program.set_feeder(feeder);
        let Some(own) = &mut state.own else { return };
        let local = to.iter().any(|(peer, _)| *peer == self.me);
        if local {
            state.inflow.follow(own.maker().id, own.maker().spec, now_us);
        }
        let (key_wanted, packets) = own.send_to(to, &state.links, sending);
        state.own_key_wanted |= key_wanted;
        let inbound = state.take_own(packets, now_us, sending);
        let desk = state.desk.clone();
        drop(guard);
        self.use_inbound(desk, inbound);
    }

    pub(crate) fn set_desk(&self, desk: Option<Arc<Desk>>) -> Option<Arc<Desk>> {
        std::mem::replace(&mut self.state().desk, desk)
    }

    /// Our own program has begun.
    pub(crate) fn started(&self, spec: StreamSpec) {
        self.notify(Notice::Started(spec));
    }

    /// A stream of the program that this peer makes itself.
    pub(crate) fn follow_own_program(&self, id: StreamId, spec: StreamSpec) {
        let now_us = self.now_us();
        self.state().program.follow(id, spec, now_us);
    }

    /// It has ended: nobody begins with it any more.
    pub(crate) fn end_own_program(&self, id: &StreamId) {
        self.state().program.end(id);
    }

    /// Whether somebody wants a key frame of our own stream; asked once.
    pub(crate) fn take_own_key_wanted(&self) -> bool {
        std::mem::take(&mut self.state().own_key_wanted)
    }

    /// How often the program has suffered here since this was asked last.
    pub(crate) fn take_suffered(&self, fps_wanted: Option<u8>) -> u16 {
        let mut state = self.state();
        let count = state.program.take_suffered(self.now_us(), fps_wanted);
        state.reception.degraded(count);
        count
    }

    /// A picture of the program can't be decoded here: whoever feeds us is asked for a key frame.
    pub(crate) fn want_key_upstream(&self) {
        let link = self.state().feeder_link();
        if let (Some(link), Some(sending)) = (link, self.sending()) {
            sending.want_key(link, program::PROGRAM_SLOTS[0]);
        }
    }

    /// A child can't go on without a key frame; those of many are asked for as one.
    fn want_key_for_child(&self) {
        let now_us = self.now_us();
        let mut state = self.state();
        if let (Some(link), Some(sending)) = (state.feeder_link(), self.sending())
            && state.program.child_wants_key(now_us)
        {
            sending.want_key(link, program::PROGRAM_SLOTS[0]);
        }
    }

    /// Asks a speaker for a key frame.
    pub(crate) fn want_key_of(&self, speaker: &PeerId) {
        let mut state = self.state();
        if *speaker == self.me {
            state.own_key_wanted = true;
        } else if let (Some((link, slot)), Some(sending)) = (state.inflow.source_of(speaker), self.sending())
        {
            sending.want_key(link, slot);
        }
    }

    // ── what this peer makes ─────────────────────────────────────────────────────────────────────────────────────

    /// A frame of this peer's own picture or sound.
    pub(crate) fn publish(&self, encoded: &Encoded) {
        let _inside = self.span.enter();
        let Some(sending) = self.sending() else { return };
        let now_us = self.now_us();
        let mut guard = self.state();
        let state = &mut *guard;
        if state.muted[lane(encoded.kind)] {
            return;
        }
        let Some(own) = &mut state.own else { return };
        let packets = own.publish(encoded, now_us, &state.links, sending);
        state.voices.heard_alone(&self.me, encoded.level, now_us);
        let packets = packets.into_iter().map(|packet| (encoded.kind, packet));
        let inbound = state.take_own(packets, now_us, sending);
        let desk = state.desk.clone();
        drop(guard);
        self.use_inbound(desk, inbound);
    }

    /// Sends nothing of that kind from now on, or goes on, pictures with a key frame.
    pub(crate) fn mute(&self, kind: MediaKind, muted: bool) {
        let mut state = self.state();
        let before = std::mem::replace(&mut state.muted[lane(kind)], muted);
        state.own_key_wanted |= kind == MediaKind::Video && before && !muted;
    }

    /// A frame of the program that this peer makes, with its packets.
    pub(crate) fn make_program(&self, frame: Frame, packets: &[MediaPacket]) {
        let Some(sending) = self.sending() else { return };
        let now_us = self.now_us();
        let mut state = self.state();
        let state = &mut *state;
        if state.keeps_log && frame.kind == MediaKind::Video {
            let identity = &frame.identity;
            state.made.push(FrameSeen {
                stream: identity.stream,
                number: identity.number,
                captured_us: identity.captured_us,
                at_us: now_us,
            });
        }
        if frame.kind == MediaKind::Sound && !state.own_mix {
            packets.iter().for_each(|packet| state.voices.heard(&packet.contributors, now_us));
        }
        if let Some(frame) = state.program.own(frame, packets, now_us, sending) {
            state.show(&frame, now_us);
        }
    }

    /// Sends a packet of a speaker's mix-minus; `told` says whether the speaker knows of the stream.
    pub(crate) fn send_mix_minus(
        &self,
        speaker: &PeerId,
        maker: &Maker,
        packets: Vec<MediaPacket>,
        told: bool,
    ) -> bool {
        let Some(sending) = self.sending() else { return false };
        if *speaker == self.me {
            let now_us = self.now_us();
            let mut guard = self.state();
            guard.inflow.follow(maker.id, maker.spec, now_us);
            let mut inbound = Vec::new();
            for packet in &packets {
                guard.voices.heard(&packet.contributors, now_us);
                guard.inflow.packet(MediaKind::Sound, packet, None, now_us, &mut inbound);
            }
            drop(guard);
            self.use_inbound(None, inbound);
            return true;
        }
        let Some(link) = self.state().links.get(&(*speaker, LinkKind::Peer)).copied() else { return false };
        if !told {
            sending.control(link, &Message::Stream(StreamUse { slot: OWN_SLOTS[0], spec: maker.spec }));
        }
        for packet in packets {
            sending.forward([(link, OWN_SLOTS[1])].into_iter().collect(), packet);
        }
        true
    }

    // ── time ─────────────────────────────────────────────────────────────────────────────────────────────────────

    /// To be called some 40 times a second: gives up holes, and tells who is to be asked for its head.
    pub(crate) fn on_time(&self) -> Vec<PeerId> {
        let Some(sending) = self.sending() else { return Vec::new() };
        let now_us = self.now_us();
        let mut guard = self.state();
        let state = &mut *guard;
        let arrived = state.program.on_time(now_us, sending);
        let ask = arrived.key_wanted.then(|| state.feeder_link()).flatten();
        state.reception.left_out(arrived.left_out);
        state.hand_over(arrived.frames, now_us, self.time(now_us));
        let mut inbound = Vec::new();
        for (link, slot) in state.inflow.on_time(now_us, &mut inbound) {
            sending.want_key(link, slot);
        }
        while state.early.front().is_some_and(|early| early.arrived_us + EARLY_US < now_us) {
            state.early.pop_front();
        }
        let asks = state.watches.asks(self.time(now_us));
        let desk = state.desk.clone();
        drop(guard);
        if let Some(link) = ask {
            sending.want_key(link, program::PROGRAM_SLOTS[0]);
        }
        self.use_inbound(desk, inbound);
        asks
    }

    /// To be called about once a second with the links' round trips, microseconds.
    pub(crate) fn set_rtts_us(&self, rtts_us: &BTreeMap<LinkId, u64>) {
        let rtt_us = |link| rtts_us.get(&link).copied();
        let mut state = self.state();
        if let Some(rtt_us) = state.program.feeder().and_then(rtt_us) {
            state.program.set_rtt_us(rtt_us);
        }
        state.inflow.set_rtts_us(rtt_us);
    }

    /// Until a frame that is held for the application is due.
    pub(crate) async fn until_due(&self) {
        let changed = self.state().in_step.changed();
        loop {
            let next_us = self.state().in_step.next_due_us();
            let Some(next_us) = next_us else {
                changed.notified().await;
                continue;
            };
            return tokio::time::sleep(self.clock.until(next_us)).await;
        }
    }

    /// Hands over what is due.
    pub(crate) fn hand_over_due(&self) {
        let now_us = self.now_us();
        self.state().give_due(now_us);
    }

    /// Nothing more comes: hands over what waits, and ends.
    pub(crate) fn close(&self) {
        let now_us = self.now_us();
        let mut state = self.state();
        while let Some(held) = state.in_step.pop_any() {
            state.give(held, now_us);
        }
        state.outlets.close();
    }

    /// How loud each of these is heard here at present, by RFC 6464.
    pub(crate) fn levels(&self, speakers: &[PeerId]) -> Vec<(PeerId, u8)> {
        self.state().voices.levels(speakers, self.now_us())
    }

    /// Who among these speaks, when that has changed since this was asked last.
    pub(crate) fn take_speaking(&self, speakers: &[PeerId]) -> Option<Speaking> {
        self.state().voices.update(speakers, self.now_us())
    }

    /// What came of the program so far.
    pub(crate) fn reception(&self) -> ReceptionStats {
        let state = self.state();
        ReceptionStats { program_bytes: state.tree_bytes, ..state.reception.stats(self.now_us()) }
    }

    /// Every picture of the program that this peer made, if a log is kept.
    pub(crate) fn made(&self) -> Vec<FrameSeen> {
        self.state().made.clone()
    }

    /// Gives frames for this peer's own use to the mixer, or in a mesh to the application.
    fn use_inbound(&self, desk: Option<Arc<Desk>>, inbound: Vec<Inbound>) {
        for one in inbound {
            let mut state = self.state();
            let origin = match one.kind {
                // the mixer that was our home until now may not know it yet
                StreamKind::MixMinus if state.home.is_some_and(|home| home != one.maker) => continue,
                StreamKind::MixMinus => Some(Origin::MixMinus),
                kind if kind.is_speakers() && state.mesh && one.maker != self.me => {
                    Some(Origin::Speaker(one.maker))
                }
                _ => None,
            };
            if origin == Some(Origin::MixMinus) && !state.speaks {
                continue; // what was on its way when we left the stage; the program's sound is back
            }
            if origin == Some(Origin::MixMinus) {
                state.own_mix |= state.speaks;
                state.hold(Origin::MixMinus, one.frame, false, self.now_us());
                continue;
            }
            if let Some(origin) = origin {
                state.reception.frame(&one.frame, one.arrived_us);
                state.outlets.give(&ReceivedFrame::new(origin, one.frame, one.arrived_us));
                continue;
            }
            if one.maker != self.me
                && let Some(solo) = state.solo.takes(&one.maker, &one.frame)
            {
                // a speaker hears that one in its own mix, too
                let heard_anyway = state.own_mix && one.frame.kind == MediaKind::Sound;
                let frame = one.frame.clone();
                let received = ReceivedFrame::new(Origin::Speaker(one.maker), frame, one.arrived_us);
                state.outlets.give(&ReceivedFrame { beside: !solo.instead || heard_anyway, ..received });
            }
            drop(state);
            if let Some(desk) = &desk {
                desk.take(&one);
            }
        }
    }

    /// The room whose streams these are.
    pub(crate) fn room(&self) -> RoomId {
        self.room
    }
}

impl State {
    /// Where the program comes from: the parent, or on stage, where nobody has one, the home.
    fn feeder_link(&self) -> Option<LinkId> {
        self.links.get(&(self.parent.or(self.home)?, LinkKind::Peer)).copied()
    }

    /// Packets of our own stream, when this peer is one of those it goes to.
    fn take_own(
        &mut self,
        packets: impl IntoIterator<Item = (MediaKind, MediaPacket)>,
        now_us: u64,
        sending: &Sending,
    ) -> Vec<Inbound> {
        let mut inbound = Vec::new();
        for (kind, packet) in packets {
            if self.inflow.packet(kind, &packet, None, now_us, &mut inbound) {
                self.inflow.forward(kind, &packet, false, now_us, &self.links, sending);
            }
        }
        inbound
    }

    /// Frames of the program for the application.
    fn hand_over(&mut self, frames: Vec<Frame>, now_us: u64, now: Time) {
        for frame in frames {
            self.watches.progressed(now, frame.identity.captured_us);
            self.show(&frame, now_us);
        }
    }

    /// A frame of the program for the application. Speakers get a mix of the others instead of its sound: nobody
    /// hears itself.
    fn show(&mut self, frame: &Frame, now_us: u64) {
        let wanted = match frame.kind {
            MediaKind::Video => true,
            MediaKind::Sound => !self.own_mix && frame.identity.captured_us >= self.sound_from_us,
        };
        if !self.views || !wanted {
            return;
        }
        let past = self.catch_up.is_past(frame, now_us);
        if !past || frame.kind == MediaKind::Video {
            self.hold(Origin::Program, frame.clone(), past, now_us);
        }
    }

    /// A frame that is to be handed over in step with those of the other kind.
    fn hold(&mut self, origin: Origin, frame: Frame, past: bool, now_us: u64) {
        self.in_step.push(Held { origin, frame, came_us: now_us, past }, now_us);
        self.give_due(now_us);
    }

    fn give_due(&mut self, now_us: u64) {
        while let Some(held) = self.in_step.pop(now_us) {
            self.give(held, now_us);
        }
    }

    fn give(&mut self, held: Held, now_us: u64) {
        let Held { origin, frame, came_us, past } = held;
        if !past {
            self.reception.frame(&frame, now_us);
        }
        if origin != Origin::Program || self.solo.takes_program(&frame) {
            let received = ReceivedFrame::new(origin, frame, now_us);
            let plan_us = self.in_step.plan_us();
            self.outlets.give(&ReceivedFrame { catches_up: past, came_us, plan_us, ..received });
        }
    }

    /// Heads and children of the program.
    pub(crate) fn program(&mut self) -> &mut Program {
        &mut self.program
    }
}

/// How long to wait for a packet that is missing where the round trip takes so long, both in microseconds.
fn hole_us_max(rtt_us: u64) -> u64 {
    rtt_us.saturating_mul(HOLE_RTTS).clamp(HOLE_US_MIN, HOLE_US_MAX)
}
