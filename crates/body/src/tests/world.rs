//! A room of whole bodies in virtual time: links and rendezvous delay everything alike, and lose nothing.

use std::time::Duration;

use plenary_proto::Event;
use plenary_proto::bounded::{List, Text};
use plenary_proto::message::{
    Candidate, CodecSource, Consent, Description, Fingerprints, Pieces, ProgramFormat, Relay, RouteMessage,
    Setup, loose_to_bytes,
};
use plenary_proto::ordered::OrderedMap;
use plenary_proto::rendezvous::Address;
use plenary_proto::{HostConfig, Input, RoomConfig, RoomState, Time, Via};

use super::letters::{key, letters, room_key};
use super::*;
use crate::body::{Body, BodyConfig, In};
use crate::correspondence::{Correspondence, Told};
use crate::hear::Heard;
use crate::mix::{MixCommand, MixFigures};
use crate::outs::Picture;
use crate::received::ReceivedFrame;
use crate::shell::{MaySay, Shell};

/// Delay of links and rendezvous.
const DELAY_US: u64 = 10 * MS;
const STEP_US: u64 = 5 * MS;
const PATIENCE: Duration = Duration::from_secs(10);
const PICTURE_US: u64 = 40 * MS;
/// The clock of all peers at the begin.
const ZERO_US: u64 = 1_700_000_000_000_000;

/// Something on its way to a peer.
enum Coming {
    In(In),
    Packet(LinkId, u8, MediaPacket),
    KeyframeWanted(LinkId, u8),
    /// The link is connected.
    Connected(LinkId),
    Bytes(LinkId, Channel, Vec<u8>),
    /// The sender, and the envelope.
    Envelope(PeerId, Vec<u8>),
}

/// One peer of the room.
pub(super) struct Peer {
    pub(super) id: PeerId,
    pub(super) body: Body,
    correspondence: Correspondence,
    /// The other end of each link.
    ends: OrderedMap<LinkId, (usize, LinkId)>,
    camera: Option<Camera>,
    pub(super) alive: bool,
    /// Frames, events and mixer commands so far.
    pub(super) frames: Vec<ReceivedFrame>,
    pub(super) events: Vec<Event>,
    pub(super) mix: Vec<MixCommand>,
}

/// Part of a peer in the room.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Speaker,
    Candidate,
    Viewer,
}

/// All peers; the first one is the host.
pub(super) struct World {
    pub(super) now_us: u64,
    pub(super) peers: Vec<Peer>,
    coming: OrderedMap<(u64, u64), (usize, Coming)>,
    count: u64,
    /// Envelopes that the rendezvous delivered to named peers, each with its author. Envelopes to the host are left
    /// out: every member can open them, and answers for an absent host.
    delivered: Vec<(PeerId, Vec<u8>)>,
}

pub(super) fn description(peer: usize, link: LinkId) -> Description {
    Description {
        ufrag: Text::truncated(&format!("p{peer:02}x{:06}", link.0)),
        pwd: Text::truncated("0123456789abcdefghijklmn"),
        fingerprint: [6; 32],
        setup: Setup::ActPass,
        payload_types: None,
        browser: None,
        candidates: List::truncated([Candidate::Host(([127, 0, 0, 1], 40_000).into())]),
        sctp: None,
        hello: None,
    }
}

/// Returns the peer and link that a description belongs to.
fn described(description: &Description) -> (usize, LinkId) {
    let (peer, link) = description.ufrag[1..].split_once('x').unwrap();
    (peer.parse().unwrap(), LinkId(link.parse().unwrap()))
}

impl World {
    pub(super) fn new(parts: &[Part]) -> World {
        let peers = parts.iter().enumerate().map(|(at, part)| Peer::new(at, *part)).collect();
        let mut world =
            World { now_us: ZERO_US, peers, coming: OrderedMap::new(), count: 0, delivered: Vec::new() };
        for (peer, part) in parts.iter().enumerate() {
            world.input(peer, In::Timeout);
            world.input(peer, In::SignalUp(true));
            if *part == Part::Speaker {
                world.input(peer, In::Publish { shares: false });
            }
        }
        world
    }

    pub(super) fn input(&mut self, peer: usize, input: In) {
        self.call(peer, |body, now_us, outs| body.handle(now_us, input, outs));
    }

    pub(super) fn call<T>(&mut self, peer: usize, act: impl FnOnce(&mut Body, u64, &mut Outs) -> T) -> T {
        let mut outs = Outs::default();
        let result = act(&mut self.peers[peer].body, self.now_us, &mut outs);
        self.carry_out(peer, outs);
        result
    }

    fn send(&mut self, to: usize, coming: Coming) {
        self.count += 1;
        self.coming.insert((self.now_us + DELAY_US, self.count), (to, coming));
    }

    /// Sends to the other end of a link, if there is one.
    fn send_on(&mut self, from: usize, link: LinkId, coming: impl Fn(LinkId) -> Coming) {
        if let Some((to, end)) = self.peers[from].ends.get(&link).copied() {
            self.send(to, coming(end));
        }
    }

    fn carry_out(&mut self, peer: usize, outs: Outs) {
        for out in outs.sends {
            self.put_out(peer, out);
        }
        for envelope in outs.envelopes {
            At(self, peer).post_sealed(envelope);
        }
        let Peer { frames, events, mix, .. } = &mut self.peers[peer];
        frames.extend(outs.frames);
        events.extend(outs.events);
        mix.extend(outs.mix);
        for notice in outs.notices {
            self.input(peer, In::Notice(notice));
        }
        if outs.figures_wanted {
            self.call(peer, |body, _, outs| body.set_figures(MixFigures::default(), outs));
        }
    }

    fn put_out(&mut self, peer: usize, out: Out) {
        match out {
            Out::Frame { .. } | Out::SenderReport { .. } => {} // of pages and for browsers alone
            Out::Forward { to, packet } => {
                for (link, slot) in to {
                    self.send_on(peer, link, |end| Coming::Packet(end, slot, packet.clone()));
                }
            }
            Out::Control { link, message } => {
                for piece in Pieces::of(&message.to_bytes()) {
                    self.send_on(peer, link, |end| Coming::Bytes(end, Channel::Control, piece.clone()));
                }
            }
            Out::Loose { link, message } => {
                let bytes = loose_to_bytes(&message);
                self.send_on(peer, link, |end| Coming::Bytes(end, Channel::Heartbeat, bytes.clone()));
            }
            Out::Heartbeat { link, heartbeat } => {
                let bytes = heartbeat.to_bytes();
                self.send_on(peer, link, |end| Coming::Bytes(end, Channel::Heartbeat, bytes.clone()));
            }
            Out::KeyframeWanted { link, slot } => {
                self.send_on(peer, link, |end| Coming::KeyframeWanted(end, slot));
            }
            Out::Train { link, train, .. } => self.send_on(peer, link, |link| {
                let bandwidth_bps = Some(50_000_000);
                Coming::In(In::Measured { link, train, bandwidth_bps, address: None })
            }),
            Out::Offer { link, .. } | Out::Answer { link, .. } => {
                let description = description(peer, link);
                self.send(peer, Coming::In(In::Described { link, description }));
            }
            Out::Accept { link, answer } => {
                let (other, end) = described(&answer);
                self.peers[peer].ends.insert(link, (other, end));
                self.peers[other].ends.insert(end, (peer, link));
                self.send(peer, Coming::Connected(link));
                self.send(other, Coming::Connected(end));
            }
            // what arrives is handled at once, and ends know each other's addresses
            Out::Pause { .. } | Out::Paths { .. } | Out::Tunnel(_) | Out::IceRestart { .. } => {}
            Out::Close { link } => {
                self.send(peer, Coming::In(In::LinkDown(link)));
                if let Some((other, end)) = self.peers[peer].ends.remove(&link) {
                    self.send(other, Coming::In(In::LinkDown(end)));
                }
            }
        }
    }

    fn arrive(&mut self, peer: usize, coming: Coming) {
        match coming {
            Coming::In(In::LinkDown(link)) => At(self, peer).disconnected(link),
            Coming::In(input) => self.input(peer, input),
            Coming::Packet(link, slot, packet) => {
                self.call(peer, |body, now_us, outs| body.packet(now_us, link, slot, packet, outs));
            }
            Coming::KeyframeWanted(link, slot) => {
                self.call(peer, |body, now_us, outs| body.keyframe_wanted(now_us, link, slot, outs));
            }
            Coming::Connected(link) => {
                let fingerprint = description(peer, link).fingerprint;
                At(self, peer).connected(link, Fingerprints { own: fingerprint, other: fingerprint });
            }
            Coming::Bytes(link, channel, bytes) => At(self, peer).received(link, channel, &bytes),
            Coming::Envelope(from, sealed) => At(self, peer).delivered(from, &sealed),
        }
    }

    /// Delivers each envelope to a named peer so far to a peer once more, through the rendezvous and by a linked peer.
    /// Returns the number of those, and how many of them the peer reads.
    pub(super) fn replay(&mut self, peer: usize, by: usize) -> [usize; 2] {
        let (now_us, by, to) = (self.now_us, self.peers[by].id, self.peers[peer].id);
        let Peer { correspondence, body, .. } = &mut self.peers[peer];
        let may_say = |from: &PeerId, via: &Via, said: &Message| body.brain().may_say(from, via, said);
        let mut read = 0;
        for (from, sealed) in &self.delivered {
            let again = correspondence.open(*from, sealed, now_us, may_say);
            let route = List::truncated([by.short()]);
            let sealed = List::truncated(sealed.iter().copied());
            let relay =
                Message::Route(RouteMessage::Relay(Relay { from: *from, to, route, passed: 1, sealed }));
            let carried = Heard { from: by, message: relay.to_bytes() };
            let carried = correspondence.read(&carried, now_us, may_say);
            read += [again, carried].iter().filter(|steps| !steps.is_empty()).count();
        }
        [self.delivered.len(), read]
    }

    /// Runs for some milliseconds.
    pub(super) fn run(&mut self, ms: u64) {
        for _ in 0..ms * MS / STEP_US {
            self.now_us += STEP_US;
            while let Some(first) = self.coming.first_entry().filter(|first| first.key().0 <= self.now_us) {
                let (peer, coming) = first.remove();
                if self.peers[peer].alive {
                    self.arrive(peer, coming);
                }
            }
            for peer in 0..self.peers.len() {
                if self.peers[peer].alive {
                    self.step(peer);
                }
            }
        }
    }

    fn step(&mut self, peer: usize) {
        let (now_us, since_us) = (self.now_us, self.now_us - ZERO_US);
        if self.peers[peer].body.next_timeout().is_some_and(|due_us| due_us <= now_us) {
            self.input(peer, In::Timeout);
            let next_us = self.peers[peer].body.next_timeout();
            assert!(next_us.is_none_or(|next_us| next_us > now_us), "a timeout is left behind");
        }
        if since_us.is_multiple_of(TICK_US) {
            self.call(peer, |body, now_us, outs| {
                body.set_figures(MixFigures::default(), outs);
                body.tick(now_us, |_| None, outs);
            });
        }
        if let Some(mut camera) = self.peers[peer].camera.take() {
            if since_us.is_multiple_of(PICTURE_US) {
                let picture = camera.picture(since_us.is_multiple_of(25 * PICTURE_US), now_us);
                self.call(peer, |body, now_us, outs| body.publish(now_us, &picture, Picture::Camera, outs));
            }
            if since_us.is_multiple_of(SOUND_US) {
                let sound = camera.sound(now_us);
                self.call(peer, |body, now_us, outs| body.publish(now_us, &sound, Picture::Camera, outs));
            }
            self.peers[peer].camera = Some(camera);
        }
        self.call(peer, |body, now_us, outs| body.hand_over_due(now_us, outs));
    }

    /// Returns the events of a peer for which there is something to tell.
    pub(super) fn told<T>(&self, peer: usize, tell: impl Fn(&Event) -> Option<T>) -> Vec<T> {
        self.peers[peer].events.iter().filter_map(tell).collect()
    }
}

/// One of the peers, as its shell.
struct At<'a>(&'a mut World, usize);

impl Shell for At<'_> {
    fn with_body<T: Default>(&mut self, act: impl FnOnce(&mut Body, u64, &mut Outs) -> T) -> T {
        self.0.call(self.1, act)
    }

    fn correspond<T: Default>(&mut self, act: impl FnOnce(&mut Correspondence, u64, MaySay<'_>) -> T) -> T {
        let Peer { correspondence, body, .. } = &mut self.0.peers[self.1];
        act(correspondence, self.0.now_us, &|from, via, said| body.brain().may_say(from, via, said))
    }

    fn peer_of(&self, link: LinkId) -> Option<PeerId> {
        self.0.peers[self.1].body.link_of(link).map(|(peer, _)| peer)
    }

    fn send(&mut self, out: Out) {
        self.0.put_out(self.1, out);
    }

    fn post(&mut self, to: Address, envelope: Vec<u8>) {
        let recipient = if let Address::Peer(peer) = to { Some(peer) } else { None };
        let to = self.0.peers.iter().position(|peer| recipient.is_none_or(|to| peer.id == to));
        let from = self.0.peers[self.1].id;
        if recipient.is_some() {
            self.0.delivered.push((from, envelope.clone()));
        }
        self.0.send(to.unwrap(), Coming::Envelope(from, envelope));
    }

    fn tell(&mut self, told: Told) {
        panic!("{told:?}");
    }
}

impl Peer {
    fn new(at: usize, part: Part) -> Peer {
        let (seed, room) = (at as u8 + 2, room_key().room());
        let (me, root) = (key(seed), key(1));
        let host = HostConfig {
            root: root.clone(),
            stage_open: true,
            mixing: None,
            program: ProgramFormat { width: 320, height: 180, fps: 25, bitrate_bps: 300_000 },
            k: 4,
            k1: 6,
            mixers: 0,
            invite_expires_us: None,
            layout: List::new(),
            title: Text::default(),
            lobby: false,
            members: Vec::new(),
            removed: Vec::new(),
            locked: false,
            reign: 0,
        };
        let config = RoomConfig {
            room,
            root: root.id(),
            host: (at == 0).then_some(host),
            name: Text::truncated(&format!("peer {at}")),
            speaks: part == Part::Speaker,
            views: part != Part::Candidate,
            no_solo: false,
            consent: if part == Part::Candidate { Consent::Always } else { Consent::Never },
            relays: true,
            children_max: 8,
            uplink_bps_max: None,
            carries: true,
            sends_trains: true,
            key: None,
            unix_us_at_zero: ZERO_US,
        };
        let (speaks, views, id) = (config.speaks, config.views, me.id());
        let mut brain = RoomState::new(me, config, u64::from(seed), Time(0));
        if part == Part::Candidate {
            brain.handle(
                Time(0),
                Input::CodecTimes { encode_us: 4_000, decode_us: 1_500, source: CodecSource::Bench },
            );
        }
        let config = BodyConfig {
            me: id,
            room,
            zero_us: ZERO_US,
            keeps_log: false,
            views,
            speaks,
            is_page: false,
            seed: seed.into(),
            seals: true,
        };
        Peer {
            id,
            body: Body::new(brain, config, ZERO_US),
            correspondence: Correspondence::new(letters(seed), [seed; 32], ZERO_US, PATIENCE),
            ends: OrderedMap::new(),
            camera: speaks.then(Camera::new),
            alive: true,
            frames: Vec::new(),
            events: Vec::new(),
            mix: Vec::new(),
        }
    }
}
