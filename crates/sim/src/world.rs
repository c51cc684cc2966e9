//! The world: time, peers, links, messages, and the script of what goes wrong.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use plenary_proto::bounded::{List, Text};
use plenary_proto::message::{
    Beat, Consent, Delivery, Description, LinkKind, Message, Offer, ProgramFormat, Setup, VideoAsk,
};
use plenary_proto::seal::Keypair;
use plenary_proto::time::{MS, SECOND};
use plenary_proto::{
    Address, Command, Event, HostConfig, Input, Output, PeerId, RoomConfig, RoomId, RoomState, Time, Via,
};

use crate::checkers::{Checkers, Violation};
use crate::dice::Dice;
use crate::media::{Frame, LINK_DEAD_US};
use crate::peer::{Peer, Served};
use crate::plan::{Delays, Kind, WorldPlan};

/// The wall clock at the world's time 0.
const UNIX_S_AT_ZERO: u64 = 1_800_000_000;
/// Links of one event's consequences; past it something runs in a circle.
const OUTPUTS_MAX: usize = 100_000;

/// Something that will happen.
#[derive(Clone, Debug)]
pub(crate) enum Happening {
    Join(usize),
    Wake(usize),
    Input(usize, Box<Input>),
    /// The rendezvous passes a message on.
    Signal {
        to: usize,
        from: usize,
        message: Box<Message>,
    },
    Control {
        to: usize,
        from: usize,
        message: Box<Message>,
    },
    Mesh {
        to: usize,
        from: usize,
        route: Vec<usize>,
        at: usize,
        message: Box<Message>,
    },
    LinkUp {
        a: usize,
        b: usize,
        kind: LinkKind,
        attempt: u64,
    },
    LinkDown {
        at: usize,
        other: usize,
        kind: LinkKind,
        attempt: u64,
    },
    Frame {
        to: usize,
        from: usize,
        frame: Frame,
    },
    Beat {
        to: usize,
        from: usize,
        beat: Beat,
    },
    Arrival {
        to: usize,
        from: usize,
        media: bool,
    },
    Produce(usize),
    Warm(usize),
    Look(usize),
    Presence,
}

impl Happening {
    /// The peer that has to do something about it.
    fn whose(&self) -> Option<usize> {
        match self {
            Happening::Wake(at)
            | Happening::Input(at, _)
            | Happening::LinkDown { at, .. }
            | Happening::Produce(at)
            | Happening::Warm(at)
            | Happening::Look(at) => Some(*at),
            Happening::Signal { to, .. }
            | Happening::Control { to, .. }
            | Happening::Mesh { to, .. }
            | Happening::Frame { to, .. }
            | Happening::Beat { to, .. }
            | Happening::Arrival { to, .. } => Some(*to),
            Happening::Join(_) | Happening::LinkUp { .. } | Happening::Presence => None,
        }
    }
}

/// Peers, links and time, all from one seed.
#[derive(Debug)]
pub struct World {
    pub(crate) now: Time,
    pub(crate) room: RoomId,
    pub(crate) peers: Vec<Peer>,
    pub(crate) index: BTreeMap<PeerId, usize>,
    pub(crate) made: Vec<Frame>,
    pub(crate) frames_sent: u64,
    pub(crate) looking: BTreeSet<usize>,
    seed: u64,
    plan: WorldPlan,
    keys: Vec<Keypair>,
    root: Keypair,
    dice: Dice,
    queue: BinaryHeap<Reverse<(Time, u64)>>,
    happenings: BTreeMap<u64, Happening>,
    sequence: u64,
    attempts: BTreeMap<(usize, usize, LinkKind), u64>,
    signal_up: bool,
    /// Peers that nobody else reaches.
    cut: BTreeSet<usize>,
    trace: blake3::Hasher,
    control_messages: u64,
    narrates: bool,
    /// Peers whose part in the room has changed since the checkers looked.
    changed: BTreeSet<usize>,
    checkers: Checkers,
    #[cfg(feature = "mutants")]
    pub(crate) faults: crate::faults::Faults,
}

impl World {
    /// A world whose peers will join as planned.
    pub fn new(plan: WorldPlan, seed: u64) -> World {
        let mut dice = Dice::new(seed);
        let mut key = || {
            let mut bytes = [0; 32];
            bytes.chunks_exact_mut(8).for_each(|chunk| chunk.copy_from_slice(&dice.next().to_le_bytes()));
            Keypair::from_seed(&bytes)
        };
        let root = key();
        let keys = plan.peers.iter().map(|_| key()).collect();
        let mut world = World {
            now: Time(0),
            room: RoomId::of_root(&root.id()),
            peers: Vec::new(),
            index: BTreeMap::new(),
            made: Vec::new(),
            frames_sent: 0,
            looking: BTreeSet::new(),
            seed,
            plan,
            keys,
            root,
            dice,
            queue: BinaryHeap::new(),
            happenings: BTreeMap::new(),
            sequence: 0,
            attempts: BTreeMap::new(),
            signal_up: true,
            cut: BTreeSet::new(),
            trace: blake3::Hasher::new(),
            control_messages: 0,
            narrates: false,
            changed: BTreeSet::new(),
            checkers: Checkers::default(),
            #[cfg(feature = "mutants")]
            faults: Default::default(),
        };
        let mut joins: Vec<_> =
            world.plan.peers.iter().enumerate().map(|(at, peer)| (peer.joins_at, at)).collect();
        joins.sort();
        assert!(joins.first().is_some_and(|(_, at)| *at == 0), "the host joins first");
        for (joins_at, at) in joins {
            world.push(joins_at, Happening::Join(at));
        }
        world.push(Time(SECOND), Happening::Presence);
        world
    }

    /// The plan it follows.
    pub(crate) fn plan(&self) -> &WorldPlan {
        &self.plan
    }

    /// What the safety checkers have found so far; the first [`VIOLATIONS_MAX`](crate::checkers::VIOLATIONS_MAX).
    pub fn violations(&self) -> &[Violation] {
        self.checkers.found()
    }

    pub(crate) fn id(&self, at: usize) -> PeerId {
        self.peers[at].id
    }

    /// What everything follows from.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The world's time.
    pub fn now(&self) -> Time {
        self.now
    }

    /// Tells on stderr what every brain wants done, from now on.
    pub fn narrate(&mut self, narrates: bool) {
        self.narrates = narrates;
    }

    /// Runs until `end`.
    pub fn run_until(&mut self, end: Time) {
        while self.queue.peek().is_some_and(|Reverse((at, _))| *at <= end) {
            self.step();
        }
        self.now = self.now.max(end);
        self.check();
    }

    /// Runs for so many microseconds more.
    pub fn run_for(&mut self, us: u64) {
        self.run_until(self.now + us);
    }

    /// Lets one thing happen.
    fn step(&mut self) {
        let Some(Reverse((at, sequence))) = self.queue.pop() else { return };
        let Some(happening) = self.happenings.remove(&sequence) else { return };
        self.now = at;
        let stalled_until = happening.whose().map(|at| self.peers[at].stalled_until);
        match stalled_until.filter(|until| *until > at) {
            Some(until) => self.push(until, happening),
            None => self.happen(happening),
        }
        if !self.changed.is_empty() {
            self.check();
        }
    }

    /// Lets the checkers look at what has changed.
    fn check(&mut self) {
        let changed: Vec<_> = std::mem::take(&mut self.changed).into_iter().collect();
        let mut checkers = std::mem::take(&mut self.checkers);
        checkers.look(self, &changed);
        self.checkers = checkers;
    }

    pub(crate) fn push(&mut self, at: Time, happening: Happening) {
        self.sequence += 1;
        self.queue.push(Reverse((at, self.sequence)));
        self.happenings.insert(self.sequence, happening);
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Join(planned) => self.join(planned),
            Happening::Wake(at) => {
                let due = self.peers[at].wake_at.is_some_and(|wake| wake <= self.now);
                if due {
                    self.peers[at].wake_at = None;
                    self.input(at, Input::Timeout);
                }
            }
            Happening::Input(at, input) => self.input(at, *input),
            Happening::Signal { to, from, message } => {
                if self.signal_up {
                    self.deliver(to, from, Via::Signal, *message);
                }
            }
            Happening::Control { to, from, message } => {
                if self.link_is_up(from, to) || matches!(*message, Message::Bye(_)) {
                    self.heard(to, from, false);
                    self.deliver(to, from, Via::Link, *message);
                }
            }
            Happening::Mesh { to, from, route, at, message } => self.pass_on(to, from, route, at, message),
            Happening::LinkUp { a, b, kind, attempt } => self.link_up(a, b, kind, attempt),
            Happening::LinkDown { at, other, kind, attempt } => {
                if self.attempts.get(&pair(at, other, kind)) == Some(&attempt) {
                    self.link_down(at, other, kind);
                }
            }
            Happening::Frame { to, from, frame } if self.both_alive(to, from) => {
                self.frame_arrived(to, from, frame)
            }
            Happening::Beat { to, from, beat } if self.both_alive(to, from) => {
                self.beat_arrived(to, from, beat)
            }
            Happening::Arrival { to, from, media } if self.both_alive(to, from) => {
                self.heard(to, from, media)
            }
            Happening::Frame { .. } | Happening::Beat { .. } | Happening::Arrival { .. } => {}
            Happening::Produce(at) => self.produce(at),
            Happening::Warm(at) => self.input(at, Input::Warm),
            Happening::Look(at) => self.look(at),
            Happening::Presence => self.presence(),
        }
    }

    fn both_alive(&self, a: usize, b: usize) -> bool {
        self.peers[a].alive && self.peers[b].alive && self.cut.contains(&a) == self.cut.contains(&b)
    }

    fn join(&mut self, planned: usize) {
        let plan = self.plan.peers[planned];
        let at = self.peers.len();
        let host = (planned == 0).then(|| HostConfig {
            root: self.root.clone(),
            stage_open: true,
            program: ProgramFormat {
                width: 1280,
                height: 720,
                fps: 30,
                bitrate_bps: self.plan.room.program_bps,
            },
            k: self.plan.room.k,
            k1: self.plan.room.k1,
            mixers: self.plan.room.mixers,
            invite_expires_us: None,
        });
        let config = RoomConfig {
            room: self.room,
            root: self.root.id(),
            host,
            name: Text::truncated(&format!("{:?} {planned}", plan.kind)),
            speaks: plan.kind == Kind::Speaker,
            views: plan.kind == Kind::Viewer,
            consent: plan.consent,
            relays: plan.relays,
            children_max: plan.children_max,
            uplink_bps_max: (plan.kind == Kind::Viewer).then_some(plan.access.up_bps),
            unix_s_at_zero: UNIX_S_AT_ZERO,
        };
        let keys = self.keys[planned].clone();
        let id = keys.id();
        #[cfg_attr(not(feature = "mutants"), expect(unused_mut, reason = "mutants change it"))]
        let mut brain = RoomState::new(keys, config, self.seed ^ planned as u64, self.now);
        #[cfg(feature = "mutants")]
        self.faults.of_brain(planned).into_iter().for_each(|mutation| brain.mutate(mutation));
        self.peers.push(Peer::new(brain, id, self.now, planned, &plan));
        self.index.insert(id, at);
        if self.signal_up {
            self.input(at, Input::SignalUp(true));
        }
        if plan.consent != Consent::Never {
            let (encode_us, decode_us) = (plan.encode_us, plan.decode_us);
            self.input(at, Input::Bench { encode_us, decode_us });
        }
    }

    /// Hands one input to a brain and does what it says.
    pub(crate) fn input(&mut self, at: usize, input: Input) {
        let peer = &mut self.peers[at];
        if !peer.alive || peer.left {
            return;
        }
        peer.inputs += 1;
        peer.brain.handle(self.now, input);
        for count in 0.. {
            assert!(count < OUTPUTS_MAX, "a brain never comes to rest");
            let Some(output) = self.peers[at].brain.poll_output() else { break };
            self.note_in_trace(at, &output);
            self.carry_out(at, output);
        }
        let due = self.peers[at].brain.next_timeout();
        if let Some(due) = due
            && self.peers[at].wake_at.is_none_or(|wake| due < wake)
        {
            self.peers[at].wake_at = Some(due);
            self.push(due, Happening::Wake(at));
        }
    }

    fn note_in_trace(&mut self, at: usize, output: &Output) {
        if self.narrates {
            eprintln!("{} {:?} {output:?}", self.now, self.peers[at].id);
        }
        self.trace.update(&self.now.0.to_le_bytes());
        self.trace.update(&(at as u64).to_le_bytes());
        match output {
            Output::Control(_, message) | Output::Signal(_, message) => {
                self.trace.update(&message.to_bytes())
            }
            other => self.trace.update(format!("{other:?}").as_bytes()),
        };
    }

    fn carry_out(&mut self, at: usize, output: Output) {
        #[cfg(feature = "mutants")]
        let Some(output) = self.misdo(at, output) else { return };
        if let Output::Serve { .. }
        | Output::ServeHeads(_)
        | Output::Unserve(_)
        | Output::Watch { .. }
        | Output::Mandate(_)
        | Output::Role(_)
        | Output::Event(_) = output
        {
            self.changed.insert(at);
        }
        match output {
            Output::Control(to, message) => self.control(at, to, message),
            Output::Loose(to, message) => {
                let to_at = self.index.get(&to).copied();
                if let Some(to_at) = to_at {
                    let happening = Happening::Control { to: to_at, from: at, message: Box::new(message) };
                    self.datagram(at, to, happening);
                }
            }
            Output::Signal(to, message) => self.signal(at, to, message),
            Output::Relay { to, route, message, .. } => {
                let hops = route.iter().map(|short| self.short(short)).collect::<Option<Vec<_>>>();
                if let (Some(mut hops), Some(to)) = (hops, self.index.get(&to).copied()) {
                    if hops.last() != Some(&to) {
                        hops.push(to); // the way up to a mixer names it already
                    }
                    let first = hops[0];
                    let delay = self.delay(at, first);
                    let happening = Happening::Mesh {
                        to: first,
                        from: at,
                        route: hops,
                        at: 0,
                        message: Box::new(message),
                    };
                    self.push(self.now + delay, happening);
                }
            }
            Output::Offer(peer, kind) => self.describe(at, peer, kind),
            Output::Answer(peer, Offer { kind, .. }) => self.describe(at, peer, kind),
            Output::Accept(peer, answer) => {
                let Some(other) = self.index.get(&peer).copied() else { return };
                let attempt = self.attempt(at, other, answer.kind);
                let delay = 3 * self.delay(at, other) + 5 * MS;
                self.push(
                    self.now + delay,
                    Happening::LinkUp { a: at, b: other, kind: answer.kind, attempt },
                );
            }
            Output::Close(peer, kind) => self.close(at, peer, kind),
            Output::Watch { parent, backup } => self.watch(at, parent, backup),
            Output::WatchMixer(mixer) => self.watch_mixer(at, mixer),
            Output::Serve { peer, from, .. } => {
                self.serve(at, peer, from);
                self.look_soon(at);
            }
            Output::ServeHeads(peer) => {
                self.peers[at].served.insert(peer, Served::default());
                self.look_soon(at);
            }
            Output::Unserve(peer) => {
                self.peers[at].served.remove(&peer);
            }
            Output::Follow { peer, stream, id } => {
                self.follow(at, peer, stream.slot, id, stream.spec);
            }
            Output::Mandate(_) | Output::Ask(_) => {}
            Output::Speak(to) => self.peers[at].speaking_to = to.into_iter().map(|(peer, _)| peer).collect(),
            Output::CallHome { speaker, rank } => {
                let ask = VideoAsk { width: 640, height: 360, fps: 30, bitrate_bps: 600_000 };
                if speaker != self.peers[at].id {
                    self.control(at, speaker, Message::Home { rank, ask, resume: None });
                }
            }
            Output::AnswerHeard { to, mixer } => {
                let last = self.index.get(&mixer).and_then(|mixer| self.peers[at].last_from.get(mixer));
                let silent_us = last.map(|last| self.now.since(*last).min(u32::MAX.into()) as u32);
                self.control(at, to, Message::Heard { mixer, silent_us });
            }
            Output::AskFeed(peer) => {
                let from = self.have(at);
                self.peers[at].asked.insert(peer);
                self.control(at, peer, Message::Feed { from });
            }
            Output::Role(role) => self.take_role(at, role),
            Output::Pass(to) => self.peers[at].passing = to,
            Output::Speakers(_) => {}
            Output::Train { peer, train, bytes, rate_bps } => self.train(at, peer, train, bytes, rate_bps),
            Output::Event(event) => {
                match event {
                    Event::Left => self.peers[at].left = true,
                    // whoever is offered the floor takes it
                    Event::FloorOffered => {
                        let take = Input::Command(Command::Speak(true));
                        self.push(self.now + MS, Happening::Input(at, Box::new(take)));
                    }
                    _ => {}
                }
                self.peers[at].events.push((self.now, event));
            }
        }
    }

    fn short(&self, short: &plenary_proto::ShortId) -> Option<usize> {
        self.index.iter().find(|(id, _)| id.short() == *short).map(|(_, at)| *at)
    }

    /// One way between two peers: drawn once for each pair.
    pub(crate) fn delay(&self, a: usize, b: usize) -> u64 {
        match &self.plan.net.delays {
            Delays::Drawn { least_us, most_us } => {
                let pair = (a.min(b) as u64) << 32 | a.max(b) as u64;
                let mut dice = Dice::new(self.seed ^ pair.wrapping_mul(0x9e37_79b9_7f4a_7c15));
                dice.between(*least_us, *most_us)
            }
            Delays::Regions(one_way) => {
                let (a, b) = (self.peers[a].place, self.peers[b].place);
                let between =
                    one_way.get(usize::from(a.region)).and_then(|row| row.get(usize::from(b.region)));
                u64::from(between.copied().unwrap_or(0))
                    + u64::from(a.last_mile_us)
                    + u64::from(b.last_mile_us)
            }
        }
    }

    fn deliver(&mut self, to: usize, from: usize, via: Via, message: Message) {
        if !self.both_alive(to, from) {
            return;
        }
        let sender = self.peers[from].id;
        match message.verify(&self.room, &self.root.id(), UNIX_S_AT_ZERO + self.now.0 / SECOND) {
            Ok(message) => self.input(to, Input::Message { from: sender, via, message }),
            Err(_) => self.input(to, Input::Misbehaved(sender)),
        }
    }

    pub(crate) fn control(&mut self, at: usize, to: PeerId, message: Message) {
        let Some(to) = self.index.get(&to).copied() else { return };
        if !self.link_is_up(at, to) {
            return;
        }
        self.control_messages += 1;
        // a lost piece of a reliable channel comes a round trip later
        let lost = self.dice.chance(self.plan.net.loss_ppm);
        let delay = self.delay(at, to) * if lost { 3 } else { 1 };
        self.push(self.now + delay, Happening::Control { to, from: at, message: Box::new(message) });
    }

    fn signal(&mut self, at: usize, to: Address, message: Message) {
        let to = match to {
            // without its host the rendezvous gives what is for it to whoever has been there for longest
            Address::Host => {
                let there = |peer: &usize| self.peers[*peer].alive && !self.peers[*peer].left && *peer != at;
                Some((0..self.peers.len()).find(there).unwrap_or(0))
            }
            Address::Peer(peer) => self.index.get(&peer).copied(),
        };
        match to {
            Some(to) if self.peers[to].alive && !self.peers[to].left => {
                let delay = self.delay(at, to) + 10 * MS;
                self.push(self.now + delay, Happening::Signal { to, from: at, message: Box::new(message) });
            }
            _ => {
                let id = to.map(|to| self.peers[to].id);
                let back = Happening::Input(at, Box::new(Input::Undeliverable(id)));
                self.push(self.now + 20 * MS, back);
            }
        }
    }

    fn pass_on(&mut self, to: usize, from: usize, route: Vec<usize>, at: usize, message: Box<Message>) {
        let linked = self.link_is_up(if at == 0 { from } else { route[at - 1] }, to);
        if !self.peers[to].alive || !linked {
            return;
        }
        match route.get(at + 1) {
            None => {
                let between = route[..route.len() - 1].iter().map(|hop| self.peers[*hop].id.short());
                let via = Via::Mesh(List::truncated(between));
                self.deliver(to, from, via, *message);
            }
            Some(&next) => {
                let delay = self.delay(to, next);
                let happening = Happening::Mesh { to: next, from, route, at: at + 1, message };
                self.push(self.now + delay, happening);
            }
        }
    }

    fn attempt(&mut self, a: usize, b: usize, kind: LinkKind) -> u64 {
        *self.attempts.entry(pair(a, b, kind)).or_default()
    }

    fn describe(&mut self, at: usize, peer: PeerId, kind: LinkKind) {
        let description = Description {
            ufrag: Text::truncated(&format!("{:08x}", self.sequence)),
            pwd: Text::truncated("simulated-password-0123"),
            fingerprint: [at as u8; 32],
            setup: Setup::ActPass,
            payload_types: None,
            candidates: List::new(),
        };
        let input = Input::Described { peer, kind, description };
        self.push(self.now + MS, Happening::Input(at, Box::new(input)));
    }

    fn link_up(&mut self, a: usize, b: usize, kind: LinkKind, attempt: u64) {
        if self.attempts.get(&pair(a, b, kind)) != Some(&attempt) || !self.both_alive(a, b) {
            return;
        }
        for (at, other) in [(a, b), (b, a)] {
            self.peers[at].up.insert((other, kind));
        }
        for (at, other) in [(a, b), (b, a)] {
            let id = self.peers[other].id;
            self.input(at, Input::LinkUp(id, kind));
        }
    }

    fn link_down(&mut self, at: usize, other: usize, kind: LinkKind) {
        self.peers[at].up.remove(&(other, kind));
        let id = self.peers[other].id;
        if kind == LinkKind::Peer {
            self.peers[at].followed.retain(|(from, _), _| *from != id);
        }
        self.input(at, Input::LinkDown(id, kind));
    }

    fn close(&mut self, at: usize, peer: PeerId, kind: LinkKind) {
        let Some(other) = self.index.get(&peer).copied() else { return };
        let attempt = self.attempts.entry(pair(at, other, kind)).or_default();
        *attempt += 1;
        let attempt = *attempt;
        self.peers[at].up.remove(&(other, kind));
        if self.peers[other].up.contains(&(at, kind)) {
            let delay = self.delay(at, other);
            self.push(self.now + delay, Happening::LinkDown { at: other, other: at, kind, attempt });
        }
    }

    /// A frame on a link: lost ones come a round trip later, repaired.
    pub(crate) fn media(&mut self, at: usize, to: PeerId, frame: Frame) {
        let Some(to) = self.index.get(&to).copied() else { return };
        if self.link_is_up(at, to) {
            let lost = self.dice.chance(self.plan.net.loss_ppm);
            let delay = self.delay(at, to) * if lost { 3 } else { 1 } + MS;
            self.push(self.now + delay, Happening::Frame { to, from: at, frame });
        }
    }

    /// A beat, or the bare arrival of something: lost ones are lost.
    pub(crate) fn datagram(&mut self, at: usize, to: PeerId, mut happening: Happening) {
        let Some(index) = self.index.get(&to).copied() else { return };
        if !self.link_is_up(at, index) || self.dice.chance(self.plan.net.loss_ppm) {
            return;
        }
        match &mut happening {
            Happening::Beat { to, .. } | Happening::Arrival { to, .. } => *to = index,
            _ => {}
        }
        let delay = self.delay(at, index);
        self.push(self.now + delay, happening);
    }

    fn train(&mut self, at: usize, peer: PeerId, train: u32, bytes: u32, rate_bps: u64) {
        let Some(to) = self.index.get(&peer).copied() else { return };
        let uplink = self.peers[at].uplink_bps;
        let rate = if rate_bps == 0 { uplink } else { rate_bps.min(uplink) };
        let noise = self.dice.between(985, 1015);
        let id = self.peers[at].id;
        let delay = self.delay(at, to);
        let input = Input::Measured {
            peer: id,
            train,
            bandwidth_bps: Some(uplink.min(rate.max(1)) * noise / 1000),
            rtt_us: 2 * delay as u32,
        };
        let took = u64::from(bytes) * 8 * SECOND / rate.max(1);
        self.push(self.now + delay + took, Happening::Input(to, Box::new(input)));
    }

    /// Once a second the host hears of everyone it is linked with, and they of it.
    fn presence(&mut self) {
        self.push(self.now + SECOND, Happening::Presence);
        for at in 0..self.peers.len() {
            let me = self.peers[at].id;
            let Some(host) = self.peers[at].brain.roster().map(|roster| roster.host) else { continue };
            let up: Vec<_> = self.peers[at].up.iter().map(|(other, _)| *other).collect();
            for other in up {
                let id = self.peers[other].id;
                if (host == me || host == id) && self.both_alive(at, other) {
                    self.input(at, Input::Heard(id));
                }
            }
        }
    }
}

/// What a script does to the world.
impl World {
    /// The peer that was planned at that place, once it is there.
    pub fn planned(&self, planned: usize) -> PeerId {
        self.keys[planned].id()
    }

    /// The place of a peer in the plan.
    pub(crate) fn planned_at(&self, id: &PeerId) -> Option<usize> {
        self.index.get(id).map(|at| self.peers[*at].planned)
    }

    /// Whether a peer would mix.
    pub(crate) fn consents(&self, id: PeerId) -> bool {
        let planned = self.peers[self.index[&id]].planned;
        self.plan.peers[planned].consent != Consent::Never
    }

    /// The peer that was planned at that place, if it is there yet.
    pub(crate) fn try_planned(&self, planned: usize) -> Option<PeerId> {
        self.peers.iter().find(|peer| peer.planned == planned).map(|peer| peer.id)
    }

    /// From now on nothing comes from that peer, and nothing gets to it.
    pub fn kill(&mut self, id: PeerId) {
        let at = self.index[&id];
        self.peers[at].alive = false;
        self.changed.insert(at);
        let up: Vec<_> = self.peers[at].up.iter().copied().collect();
        for (other, kind) in up {
            let attempt = self.attempt(at, other, kind);
            self.push(self.now + LINK_DEAD_US, Happening::LinkDown { at: other, other: at, kind, attempt });
        }
    }

    /// From now on these peers and all others don't reach each other.
    pub fn partition(&mut self, side: &[PeerId]) {
        self.cut = side.iter().map(|id| self.index[id]).collect();
        for at in 0..self.peers.len() {
            let up: Vec<_> = self.peers[at].up.iter().copied().collect();
            for (other, kind) in up {
                if self.cut.contains(&at) != self.cut.contains(&other) {
                    let attempt = self.attempt(at, other, kind);
                    self.push(self.now + LINK_DEAD_US, Happening::LinkDown { at, other, kind, attempt });
                }
            }
        }
    }

    /// Everybody reaches everybody again.
    pub fn heal(&mut self) {
        self.cut.clear();
    }

    /// The peer's machine stands still for so many microseconds: nothing is sent, and what comes waits.
    pub fn stall(&mut self, id: PeerId, us: u64) {
        let at = self.index[&id];
        self.peers[at].stalled_until = self.now + us;
    }

    /// The peer leaves politely.
    pub fn leave(&mut self, id: PeerId) {
        let at = self.index[&id];
        self.input(at, Input::Command(Command::Leave));
    }

    /// A peer on stage tells the room something.
    pub fn publish(&mut self, id: PeerId, delivery: Delivery, bytes: &[u8]) {
        let at = self.index[&id];
        let bytes = List::truncated(bytes.iter().copied());
        self.input(at, Input::Command(Command::Publish(delivery, bytes)));
    }

    /// A peer's application wants something.
    pub fn command(&mut self, id: PeerId, command: Command) {
        let at = self.index[&id];
        self.input(at, Input::Command(command));
    }

    /// The rendezvous dies.
    pub fn kill_rendezvous(&mut self) {
        self.signal_up = false;
        for at in 0..self.peers.len() {
            self.input(at, Input::SignalUp(false));
        }
    }

    /// Who mixes, by the host's word.
    pub fn mixers(&self) -> Vec<PeerId> {
        self.snapshot(self.planned(0)).mixers
    }

    /// Whom a speaker sends its stream to.
    pub fn speaking_to(&self, id: PeerId) -> &[PeerId] {
        &self.peers[self.index[&id]].speaking_to
    }

    /// A peer's own word on where it is.
    pub fn snapshot(&self, id: PeerId) -> plenary_proto::BrainSnapshot {
        self.peers[self.index[&id]].brain.snapshot()
    }

    /// A peer's brain, to be asked.
    pub fn brain(&self, id: PeerId) -> &RoomState {
        &self.peers[self.index[&id]].brain
    }

    /// All events of a peer, with their times.
    pub fn events(&self, id: PeerId) -> &[(Time, Event)] {
        &self.peers[self.index[&id]].events
    }

    /// Everyone who is there, lives and hasn't left.
    pub fn living(&self) -> impl Iterator<Item = PeerId> {
        self.peers.iter().filter(|peer| peer.alive && !peer.left).map(|peer| peer.id)
    }

    /// Living peers that watch.
    pub fn viewers(&self) -> Vec<PeerId> {
        self.peers.iter().filter(|peer| peer.alive && !peer.left && peer.views).map(|peer| peer.id).collect()
    }

    /// A hash of everything every brain has said so far.
    pub fn trace_hash(&self) -> String {
        self.trace.finalize().to_hex().as_str()[..16].to_owned()
    }

    /// Inputs of all brains so far.
    pub fn inputs(&self) -> u64 {
        self.peers.iter().map(|peer| peer.inputs).sum()
    }
}

fn pair(a: usize, b: usize, kind: LinkKind) -> (usize, usize, LinkKind) {
    (a.min(b), a.max(b), kind)
}
