//! The world: its clock, its peers, and the one event queue.
//!
//! [`World::new`] takes a plan and a seed, and everything follows from these two. The world processes events
//! sequentially: a brain receives an input, and its outputs are carried out before the next event is
//! processed. `bodies` carries outputs out, `links` sets links up and tears them down, `script` is the
//! interface of tests and scenarios to the world.

mod bodies;
mod correspond;
mod flights;
mod links;
mod machines;
mod mirror;
mod pages;
mod pings;
mod script;
mod shells;
mod tunnels;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use plenary_body::Outs;
use plenary_media::mixer::MixerOutput;
use plenary_proto::bounded::{List, Text};
use plenary_proto::identity::MediaKind;
use plenary_proto::message::{CodecSource, Consent, Heartbeat, LinkKind, Message, ProgramFormat};
use plenary_proto::packet::LinkId;
use plenary_proto::seal::{Keypair, Verifier};
use plenary_proto::time::SECOND;
use plenary_proto::{
    Event, HostConfig, Input, Output, PeerId, RoomConfig, RoomId, RoomState, StreamId, StreamSpec, Time,
    Verdict,
};

use crate::arrivals::Latencies;
use crate::attackers::{self, Attack};
use crate::checkers::{Checkers, Violation};
use crate::dice::{Dice, SmallDice};
use crate::directory::Directory;
use crate::media::Frame;
use crate::net::Network;
use crate::peer::{Mind, Peer};
use crate::plan::{Kind, MediaModel, WorldPlan};
use crate::queue::Queue;
use crate::shell::{Role, SharedDeviation, Shell, lock};
use crate::trace::Trace;
use machines::Machines;
pub(crate) use pages::PlaceNoted;

/// Unix time in seconds at the world's time 0.
pub(crate) const UNIX_S_AT_ZERO: u64 = 1_800_000_000;
/// Maximum number of outputs that one input may cause; beyond it the simulator panics, since the brain is in
/// an endless loop.
const OUTPUTS_MAX: usize = 100_000;
/// Interval, in wake-ups within one second, at which the checkers examine a brain that wakes often.
const WAKES_LOOKED_AT: u32 = 100;
/// Size of the cache of verified signatures: room for all statements of some seconds.
const VERIFIED_SLOTS: usize = 1 << 14;
/// Longest time that a stalled machine holds a datagram. Datagrams that arrive earlier than this before the
/// machine resumes are lost, as in a socket's buffer: 2 MB hold some seconds of the program. Control messages
/// always wait.
const HELD_US_MAX: u64 = 2 * SECOND;

/// A future event.
#[derive(Debug)]
pub(crate) enum Happening {
    Join(usize),
    Wake(usize),
    Input(usize, Box<Input>),
    /// The rendezvous delivers a message.
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
    LinkUp {
        a: usize,
        b: usize,
        kind: LinkKind,
        attempt: u32,
    },
    LinkDown {
        at: usize,
        other: usize,
        kind: LinkKind,
        attempt: u32,
    },
    /// An end of a link that is being made has found no path.
    PathWanted {
        at: usize,
        other: usize,
        kind: LinkKind,
        attempt: u32,
    },
    /// A link comes up through a tunnel.
    Carried {
        a: usize,
        b: usize,
        kind: LinkKind,
        attempt: u32,
    },
    /// The ends of a carried link go over to another carrier.
    Turns {
        a: usize,
        b: usize,
        way: usize,
    },
    /// A partition has separated the two peers for as long as a link survives without a sign of life
    /// ([`LINK_DEAD_US`](links::LINK_DEAD_US)).
    Parted {
        a: usize,
        b: usize,
        kind: LinkKind,
        attempt: u32,
    },
    Train(Box<links::Train>),
    Presence,
    // events that the plan schedules
    Leaves(usize),
    Stalls(usize),
    Awakes(usize),
    // events of the program
    Frame {
        to: usize,
        from: usize,
        frame: Box<Frame>,
    },
    /// Retransmission of a frame that was lost.
    Again {
        to: usize,
        from: usize,
        frame: Box<Frame>,
        tries: u32,
    },
    Heartbeat {
        to: usize,
        from: usize,
        heartbeat: Heartbeat,
    },
    Arrival {
        to: usize,
        from: usize,
        media: bool,
    },
    /// A child can't continue without a keyframe.
    KeyWanted {
        to: usize,
        from: usize,
    },
    /// The flow from `from` changes: it now carries this stream, and this many millionths of it. `None`:
    /// nothing.
    Flows {
        to: usize,
        from: usize,
        stream: Option<Box<(StreamSpec, u32)>>,
    },
    Produce(usize),
    Warm(usize),
    // events of bodies
    /// A body's periodic work.
    Tick(usize),
    /// Held frames are due for the application.
    Due(usize),
    /// A peer that has come on stage starts its stream.
    Publish(usize),
    /// The next frame of a speaker's own stream.
    Capture(usize, MediaKind),
    /// The next frame of a mixer.
    Compose(usize, MediaKind),
    /// Another output of a mixer.
    Mixed(usize, Box<MixerOutput>),
    /// A packet is sent: delayed by its sender, or requested again.
    Flies(Box<flights::Flight>),
    FliesAgain(Box<flights::Flight>),
    /// A packet arrives.
    Lands(Box<flights::Flight>),
    /// Loose data arrives.
    Loose {
        to: usize,
        from: usize,
        message: Box<Message>,
    },
    /// A request for a keyframe of the stream in a slot of a link arrives.
    PictureWanted {
        to: usize,
        from: usize,
        kind: LinkKind,
        slot: u8,
    },
    /// A machine is free for the next of its waiting events.
    Works(u32),
    /// The last event of a link that a body has closed.
    LinkEnded(usize, LinkId),
    /// A page's tab is shown or hidden.
    TabTurns(usize),
    /// The places of all viewers are noted, and pages set their numbers of children by them.
    Places,
    Look(usize),
    ChildLook {
        at: usize,
        child: usize,
    },
}

impl Happening {
    /// The peer that handles this event. While its machine is stalled the event waits, or is dropped. `None`:
    /// no machine's stall affects the event.
    fn whose(&self) -> Option<usize> {
        match self {
            Happening::Wake(at)
            | Happening::Input(at, _)
            | Happening::LinkDown { at, .. }
            | Happening::PathWanted { at, .. }
            | Happening::Produce(at)
            | Happening::Warm(at)
            | Happening::Tick(at)
            | Happening::Due(at)
            | Happening::Publish(at)
            | Happening::Capture(at, _)
            | Happening::Compose(at, _)
            | Happening::Mixed(at, _)
            | Happening::LinkEnded(at, _)
            | Happening::TabTurns(at)
            | Happening::Look(at)
            | Happening::ChildLook { at, .. }
            | Happening::Leaves(at) => Some(*at),
            Happening::Signal { to, .. }
            | Happening::Control { to, .. }
            | Happening::Frame { to, .. }
            | Happening::Heartbeat { to, .. }
            | Happening::Arrival { to, .. }
            | Happening::KeyWanted { to, .. }
            | Happening::Loose { to, .. }
            | Happening::PictureWanted { to, .. }
            | Happening::Flows { to, .. } => Some(*to),
            Happening::Lands(flight) => Some(flight.to),
            Happening::Flies(flight) | Happening::FliesAgain(flight) => Some(flight.from),
            Happening::Again { from, .. } => Some(*from),
            Happening::Train(train) => Some(train.from),
            Happening::Join(_)
            | Happening::LinkUp { .. }
            | Happening::Carried { .. }
            | Happening::Turns { .. }
            | Happening::Parted { .. }
            | Happening::Presence
            | Happening::Places
            | Happening::Works(_)
            | Happening::Stalls(_)
            | Happening::Awakes(_) => None,
        }
    }

    fn is_datagram(&self) -> bool {
        matches!(
            self,
            Happening::Frame { .. }
                | Happening::Heartbeat { .. }
                | Happening::Arrival { .. }
                | Happening::KeyWanted { .. }
                | Happening::Lands(_)
                | Happening::Loose { .. }
                | Happening::PictureWanted { .. }
        )
    }
}

/// The simulated world: peers, links and time, all derived from one seed.
#[derive(Debug)]
pub struct World {
    pub(crate) now: Time,
    pub(crate) room: RoomId,
    pub(crate) peers: Vec<Peer>,
    pub(crate) directory: Directory,
    pub(crate) net: Network,
    pub(crate) plan: WorldPlan,
    pub(crate) deviations: BTreeMap<usize, SharedDeviation>,
    /// Deviations of peers that haven't joined yet, by index in the plan.
    pub(crate) deviations_planned: BTreeMap<usize, SharedDeviation>,
    /// The peer that issued the latest ballot.
    pub(crate) ballot_by: Option<PeerId>,
    /// Packets of the program sent so far on all links. At frame level each packet is a whole frame.
    pub(crate) packets_sent: u64,
    /// Peers that any roster has named as host.
    pub(crate) hosts: BTreeSet<usize>,
    /// Peers planned as speakers or candidates, in the order of joining.
    stage: Vec<usize>,
    /// When the present partition began.
    pub(crate) parted_at: Time,
    /// Messages on links across the partition: sent since it began, or in flight when it began.
    unsaid: Vec<links::Unsaid>,
    /// The maker of each program that has begun.
    pub(crate) makers: BTreeMap<StreamId, usize>,
    /// Whether the room's streams are sealed: where somebody forges them.
    seals: bool,
    /// Whether any relay has forged packets.
    forges: bool,
    /// Forged pictures that were shown, and that others refer to.
    base_forged: u64,
    /// Latencies from capture to picture shown in a room with pages: of pages and native peers, by depth and pages
    /// above.
    pub(crate) shown_by_place: BTreeMap<(bool, (u8, u8)), Latencies>,
    /// Bytes of envelopes on each link, by sender and receiver, in rooms where any peer deviates.
    carried: BTreeMap<(usize, usize), u64>,
    /// Outputs of a body, between two calls empty.
    outs: Outs,
    seed: u64,
    keys: Vec<Keypair>,
    root: Keypair,
    dice: Dice,
    queue: Queue<Happening>,
    /// Generation of the link between two peers, by kind. It is incremented when a link comes up or is
    /// closed; pending events of an older generation are void.
    attempts: HashMap<(u32, u32, LinkKind), u32>,
    tunnels: tunnels::Tunnels,
    signal_up: bool,
    machines: Machines,
    verifier: Verifier,
    trace: Trace,
    narrates: bool,
    /// Peers with a change of their part in the room since the checkers last ran.
    changed: BTreeSet<usize>,
    checkers: Checkers,
    #[cfg(debug_assertions)]
    pub(crate) faults: crate::faults::Faults,
}

impl World {
    /// Returns how many forged pictures were shown that other pictures refer to.
    pub fn base_pictures_forged(&self) -> u64 {
        self.base_forged
    }

    /// Creates a world; its peers will join as planned.
    pub fn new(plan: WorldPlan, seed: u64) -> World {
        let mut dice = Dice::new(seed);
        let mut key = || {
            let mut bytes = [0; 32];
            bytes.chunks_exact_mut(8).for_each(|chunk| chunk.copy_from_slice(&dice.next().to_le_bytes()));
            Keypair::from_seed(&bytes)
        };
        let root = key();
        let keys = plan.peers.iter().map(|_| key()).collect();
        let mut joins: Vec<_> = plan.peers.iter().enumerate().map(|(at, peer)| (peer.joins_at, at)).collect();
        joins.sort_unstable();
        assert!(joins.first().is_some_and(|(_, at)| *at == 0), "the host joins first");
        let mut world = World {
            now: Time(0),
            room: RoomId::of_root(&root.id()),
            peers: Vec::with_capacity(plan.peers.len()),
            directory: Directory::default(),
            net: Network::new(&plan.net, seed),
            seals: plan.peers.iter().any(|peer| peer.attack == Some(Attack::Forge)),
            plan,
            deviations: BTreeMap::new(),
            deviations_planned: BTreeMap::new(),
            ballot_by: None,
            packets_sent: 0,
            hosts: BTreeSet::new(),
            stage: Vec::new(),
            parted_at: Time(0),
            unsaid: Vec::new(),
            makers: BTreeMap::new(),
            forges: false,
            base_forged: 0,
            shown_by_place: BTreeMap::new(),
            carried: BTreeMap::new(),
            outs: Outs::default(),
            seed,
            keys,
            root,
            dice,
            queue: Queue::new(),
            attempts: HashMap::new(),
            tunnels: tunnels::Tunnels::default(),
            signal_up: true,
            machines: Machines::default(),
            verifier: Verifier::new(VERIFIED_SLOTS),
            trace: Trace::default(),
            narrates: false,
            changed: BTreeSet::new(),
            checkers: Checkers::default(),
            #[cfg(debug_assertions)]
            faults: Default::default(),
        };
        for (joins_at, at) in joins {
            world.push(joins_at, Happening::Join(at));
        }
        world.push(Time(SECOND), Happening::Presence);
        if world.plan.peers.iter().any(|peer| peer.page.is_some()) {
            world.push(Time(SECOND), Happening::Places);
        }
        world
    }

    /// The plan of this world.
    pub(crate) fn plan(&self) -> &WorldPlan {
        &self.plan
    }

    /// Violations that the safety checkers have found so far; only the first
    /// [`VIOLATIONS_MAX`](crate::checkers::VIOLATIONS_MAX) are kept.
    pub fn violations(&self) -> &[Violation] {
        self.checkers.found()
    }

    /// When the set of peers that feed this peer last changed, however briefly.
    pub(crate) fn fed_anew_at(&self, peer: PeerId) -> Option<Time> {
        self.checkers.fed_anew_at(self.at(peer))
    }

    /// Whether a peer's watchdog currently finds its parent at fault.
    pub(crate) fn parent_is_at_fault(&self, peer: PeerId) -> bool {
        self.peers[self.at(peer)].parent_verdict != Verdict::Ok
    }

    /// Number of times since `since` that a peer left a parent that fed it well.
    pub(crate) fn moves_since(&self, peer: PeerId, since: Time) -> usize {
        self.peers[self.at(peer)].moves.iter().filter(|at| **at >= since).count()
    }

    pub(crate) fn id(&self, at: usize) -> PeerId {
        self.peers[at].id
    }

    /// The seed of this world.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The world's current time.
    pub fn now(&self) -> Time {
        self.now
    }

    /// Switches printing of every brain's outputs to stderr on or off.
    pub fn narrate(&mut self, narrates: bool) {
        self.narrates = narrates;
    }

    /// Prints a snapshot of every living peer to stderr, if narration is on.
    pub(crate) fn narrate_the_living(&self) {
        for peer in self.living().filter(|_| self.narrates) {
            eprintln!("{peer:?} {:?}", self.snapshot(peer));
        }
    }

    /// Runs until `end`.
    pub fn run_until(&mut self, end: Time) {
        while let Some((at, happening)) = self.queue.pop_until(end) {
            self.now = at;
            self.step(happening);
        }
        self.now = self.now.max(end);
        self.check();
    }

    /// Runs for `us` microseconds.
    pub fn run_for(&mut self, us: u64) {
        self.run_until(self.now + us);
    }

    /// Processes one event, unless the machine of its peer is stalled or busy.
    fn step(&mut self, happening: Happening) {
        if let Some(happening) = self.unless_stalled(happening) {
            self.work(happening);
        }
        if !self.changed.is_empty() {
            self.check();
        }
    }

    /// Returns the event, or postpones it while the machine of its peer is stalled.
    fn unless_stalled(&mut self, happening: Happening) -> Option<Happening> {
        let until = happening.whose().map_or(Time(0), |at| self.peers[at].stalled_until);
        if until <= self.now {
            return Some(happening);
        }
        if !happening.is_datagram() || self.is_held(&happening, until) {
            self.push(until, happening);
        }
        None
    }

    /// Whether a stalled machine still receives a datagram when it resumes at `until`: not when it sleeps,
    /// and not when the datagram would wait longer than [`HELD_US_MAX`].
    fn is_held(&self, happening: &Happening, until: Time) -> bool {
        let asleep = happening.whose().is_some_and(|at| self.peers[at].asleep_since.is_some());
        !asleep && until.since(self.now) <= HELD_US_MAX
    }

    /// Runs the checkers on the peers that have changed.
    fn check(&mut self) {
        let changed: Vec<_> = std::mem::take(&mut self.changed).into_iter().collect();
        let mut checkers = std::mem::take(&mut self.checkers);
        checkers.check(self, &changed);
        self.checkers = checkers;
    }

    pub(crate) fn push(&mut self, at: Time, happening: Happening) {
        self.queue.push(at, happening);
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Join(planned) => self.join(planned),
            Happening::Wake(at) => self.wake(at),
            Happening::Input(at, input) => self.input(at, *input),
            Happening::Signal { to, from, message } => self.signalled(to, from, *message),
            Happening::Control { to, from, .. } if self.net.are_parted(from, to) => {
                self.say_again(from, to, happening);
            }
            Happening::Control { to, from, message } => self.said(to, from, *message),
            Happening::LinkUp { a, b, kind, attempt } => self.link_up(a, b, kind, attempt),
            Happening::Works(machine) => self.works(machine),
            Happening::Tick(at) => self.tick(at),
            Happening::Due(at) => self.hand_over(at),
            Happening::Publish(at) => self.publish_from_now(at),
            Happening::Capture(at, kind) => self.capture(at, kind),
            Happening::Compose(at, kind) => self.compose(at, kind),
            Happening::Mixed(at, output) => {
                self.with_body(at, |body, now_us, outs| body.mixed(now_us, *output, outs));
            }
            Happening::Flies(flight) => self.flies(flight),
            Happening::FliesAgain(flight) => self.flies_again(flight),
            Happening::Lands(flight) if self.both_alive(flight.to, flight.from) => self.lands(*flight),
            Happening::Loose { to, from, message } if self.both_alive(to, from) => {
                self.loosely_said(to, from, &message);
            }
            Happening::PictureWanted { to, from, kind, slot } if self.both_alive(to, from) => {
                self.picture_wanted(to, from, kind, slot);
            }
            Happening::LinkEnded(at, link) => self.tell_link(at, link, false),
            Happening::TabTurns(at) => self.tab_turns(at),
            Happening::Places => self.note_places(),
            Happening::LinkDown { at, other, kind, attempt } => {
                if self.attempt(at, other, kind) == attempt {
                    self.link_down(at, other, kind);
                }
            }
            Happening::PathWanted { at, other, kind, attempt } => self.path_wanted(at, other, kind, attempt),
            Happening::Carried { a, b, kind, attempt } => self.carried_up(a, b, kind, attempt),
            Happening::Turns { a, b, way } => self.turns(a, b, way),
            Happening::Parted { a, b, kind, attempt } => self.parted(a, b, kind, attempt),
            Happening::Train(train) => self.train_goes_on(*train),
            Happening::Presence => self.presence(),
            Happening::Leaves(at) => self.leaves(at),
            Happening::Stalls(at) => self.stalls(at),
            Happening::Awakes(at) => self.awakes(at),
            program => self.program(program),
        }
    }

    pub(crate) fn both_alive(&self, a: usize, b: usize) -> bool {
        self.peers[a].alive && self.peers[b].alive && !self.net.are_parted(a, b)
    }

    /// Returns the peers of the stage that the host names.
    fn named(&self) -> Vec<PeerId> {
        let planned = self.plan.peers.iter().zip(&self.keys).skip(1);
        let on_stage = planned.filter(|(plan, _)| self.plan.room.names && plan.kind != Kind::Viewer);
        on_stage.map(|(_, keys)| keys.id()).collect()
    }

    fn join(&mut self, planned: usize) {
        let plan = self.plan.peers[planned];
        let room = self.plan.room;
        let at = self.peers.len();
        let host = (planned == 0).then(|| HostConfig {
            root: self.root.clone(),
            stage_open: true,
            mixing: None,
            program: ProgramFormat { width: 1280, height: 720, fps: 30, bitrate_bps: room.program_bps },
            k: room.k,
            k1: room.k1,
            mixers: room.mixers,
            invite_expires_us: None,
            layout: List::new(),
            title: Text::default(),
            lobby: false,
            members: self.named(),
            removed: Vec::new(),
            locked: false,
            reign: 0,
        });
        let config = RoomConfig {
            room: self.room,
            root: self.root.id(),
            host,
            name: Text::truncated(&format!("{:?} {planned}", plan.kind)),
            speaks: plan.kind == Kind::Speaker,
            views: plan.watches(),
            no_solo: false,
            consent: plan.consent,
            relays: plan.relays,
            children_max: plan.page.map_or(plan.children_max, |page| page.children_max(false, 0)),
            uplink_bps_max: None, // its parent measures it
            carries: plan.page.is_none(),
            sends_trains: plan.page.is_none(),
            key: None,
            unix_us_at_zero: UNIX_S_AT_ZERO * 1_000_000,
        };
        let keys = self.keys[planned].clone();
        let id = keys.id();
        plan.machine.into_iter().for_each(|machine| self.machines.add(machine));
        #[cfg_attr(not(debug_assertions), expect(unused_mut, reason = "mutants change it"))]
        let mut brain = RoomState::new(keys, config, self.seed ^ planned as u64, self.now);
        #[cfg(debug_assertions)]
        self.faults.of_brain(planned).into_iter().for_each(|mutation| brain.mutate(mutation));
        let bodied = self.has_bodies();
        let mind = if bodied {
            let role = Role {
                views: plan.watches(),
                speaks: plan.kind == Kind::Speaker,
                is_page: plan.page.is_some(),
                seals: self.seals,
            };
            // a stream's id doesn't tell how many peers have joined
            let seed = SmallDice::of(&[self.seed, 0x626f_6479, planned as u64]).next();
            Mind::Shell(Box::new(Shell::new(brain, (self.room, self.root.id()), role, self.now, seed)))
        } else {
            Mind::Bare(brain)
        };
        self.peers.push(Peer::new(mind, id, self.now, planned, &plan));
        self.net.add(plan.access, plan.place);
        self.directory.insert(&id, at);
        if plan.kind != Kind::Viewer {
            self.stage.push(at);
        }
        if let Some(deviation) = plan.attack.and_then(attackers::deviation).map(shared) {
            self.deviate_at(at, deviation);
        }
        if let Some(deviation) = self.deviations_planned.remove(&planned) {
            self.deviate_at(at, deviation);
        }
        if let Some(leave) = plan.leaves {
            self.push(leave.at.max(self.now), Happening::Leaves(at));
        }
        if plan.stalls.is_some() {
            self.await_stall(at);
        }
        if self.signal_up {
            self.input(at, Input::SignalUp(true));
        }
        if plan.consent != Consent::Never {
            let (encode_us, decode_us) = (plan.encode_us, plan.decode_us);
            self.input(at, Input::CodecTimes { encode_us, decode_us, source: CodecSource::Bench });
        }
        if bodied {
            self.start_shell(at);
            self.start_page(at);
        }
    }

    /// Handles a timer. The brain may have moved its timeout since the timer was set; the timer is then set
    /// again.
    fn wake(&mut self, at: usize) {
        if self.peers[at].wake_at.is_some_and(|wake| wake <= self.now) {
            self.peers[at].wake_at = None;
            let peer = &self.peers[at];
            match peer.brain().next_timeout() {
                Some(due) if due <= peer.clock(self.now) => {
                    if self.peers[at].wakes.count(self.now).is_multiple_of(WAKES_LOOKED_AT) {
                        self.changed.insert(at);
                    }
                    self.input(at, Input::Timeout);
                }
                _ => self.wake_when_due(at),
            }
        }
    }

    fn wake_when_due(&mut self, at: usize) {
        let peer = &mut self.peers[at];
        let Some(due) = peer.brain().next_timeout() else { return };
        let due = peer.clock_shows(due).max(self.now);
        if peer.wake_at.is_none_or(|wake| due < wake) {
            peer.wake_at = Some(due);
            self.push(due, Happening::Wake(at));
        }
    }

    /// Hands one input to a brain and carries out its outputs.
    pub(crate) fn input(&mut self, at: usize, input: Input) {
        if !self.peers[at].is_there() {
            return;
        }
        let until = self.peers[at].stalled_until;
        if until > self.now {
            return self.push(until, Happening::Input(at, Box::new(input)));
        }
        if self.has_bodies() {
            return self.tell_body(at, input);
        }
        let input = match self.deviations.get(&at) {
            None => Some(input),
            Some(deviation) => lock(deviation).input(self.now, input),
        };
        let Some(input) = input else { return };
        let peer = &mut self.peers[at];
        peer.inputs += 1;
        let local = peer.clock(self.now);
        let Some(brain) = peer.bare() else { return };
        brain.handle(local, input);
        for count in 0.. {
            assert!(count < OUTPUTS_MAX, "a brain never comes to rest");
            let Some(output) = self.peers[at].bare().and_then(RoomState::poll_output) else { break };
            self.note_said(at, &output);
            self.deviate_and_carry_out(at, output);
        }
        self.wake_when_due(at);
    }

    fn deviate_and_carry_out(&mut self, at: usize, output: Output) {
        match self.deviations.get(&at) {
            None => self.carry_out(at, output),
            Some(deviation) => {
                let mut instead = Vec::new();
                lock(deviation).output(self.now, output, &mut instead);
                instead.into_iter().for_each(|output| self.carry_out(at, output));
            }
        }
    }

    fn remember(&mut self, at: usize, event: Event) {
        let many = self.plan.media == MediaModel::Fluid;
        let peer = &mut self.peers[at];
        if many && peer.views && matches!(event, Event::Stage { .. } | Event::Mode { .. }) {
            return; // would be the same event a hundred thousand times
        }
        peer.remember(self.now, event);
    }

    /// Draws the time of a machine's next stall.
    fn await_stall(&mut self, at: usize) {
        let Some(stalls) = self.plan.peers[self.peers[at].planned].stalls else { return };
        let gap_us =
            SmallDice::of(&[self.seed, 0x57a11, at as u64, self.now.0]).exponential(stalls.mean_gap_us);
        self.push(self.now + gap_us, Happening::Stalls(at));
    }

    /// Hash of all outputs of all brains so far.
    pub fn trace_hash(&self) -> String {
        self.trace.hash()
    }

    /// Number of inputs of all brains so far.
    pub fn inputs(&self) -> u64 {
        self.peers.iter().map(|peer| peer.inputs).sum()
    }
}

/// A deviation for the world and for a body.
pub(super) fn shared(deviation: Box<dyn crate::deviation::Deviation>) -> SharedDeviation {
    std::sync::Arc::new(std::sync::Mutex::new(deviation))
}
