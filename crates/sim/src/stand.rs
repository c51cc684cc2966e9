//! Test stand for one brain, which measures its speed and memory.
//!
//! A [`Stand`] brings a brain into its part in a calm room (stage elected, links up, children fed) by
//! answering its requests as a body and honest peers would. [`Stand::calm`] then gives it the inputs of such
//! a peer in some seconds of calm: timeouts when they are due, signs of life from all linked peers,
//! children's aggregates, watchdog verdicts, and newcomers to be redirected. The size of the room has the
//! same effect as in a real room: on the aggregates, the length of paths, and the number of newcomers that
//! have asked for a place so far.

use std::collections::VecDeque;
use std::time::Duration;

use plenary_proto::bounded::{List, Text};
use plenary_proto::message::{
    Access, Admit, Aggregate, Attach, Consent, Decided, ElectionReason, Entry, FailoverMessage, LinkKind,
    LinkMessage, MemberMessage, Message, MixPolicy, Muted, Outcome, Path, Place, ProbeMessage, ProgramFormat,
    Purpose, Roster, Rules, Sharing, SignedRoster, Ticket, TreeMessage, Vote, Whereabouts,
};
use plenary_proto::seal::{Keypair, Signed, Verified};
use plenary_proto::time::{MS, SECOND};
use plenary_proto::{
    Address, Input, MixRole, Output, PeerId, Rank, RoomConfig, RoomId, RoomState, ShortId, StreamKind,
    StreamSpec, Time, Verdict, Via,
};

/// Unix time in seconds at the stand's time 0.
const UNIX_S_AT_ZERO: u64 = 1_800_000_000;
/// Number of speakers, the host among them, and of candidates on the stand's stage: a usual panel.
const SPEAKERS: u8 = 6;
const CANDIDATES: u8 = 6;
/// Limits of the stand's room, the defaults of a room: children of a relay, and the program's bitrate.
const K: u8 = 4;
const PROGRAM_BPS: u32 = 1_500_000;
/// First number of the trains by which parents measure their children (PROTOCOL.md, 12.10).
const UPLINK_TRAIN: u32 = 1 << 31;
const K1: u8 = 10;
const TERM: u32 = 1;
/// Maximum number of inputs that follow from one input; beyond it the stand panics, since stand and brain are
/// Interval at which the children show new tickets, as peers do.
const TICKETS_US: u64 = 290 * SECOND;
/// in an endless loop.
const ANSWERS_MAX: usize = 10_000;

/// The brain's part in its room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Watches, and feeds no other peer.
    Viewer,
    /// Watches, and feeds `k` other peers.
    Relay,
    /// Makes the program, and feeds `k1` viewers.
    Mixer,
    /// Speaks on stage, without watching.
    Speaker,
}

impl Part {
    /// All parts.
    pub const ALL: [Part; 4] = [Part::Viewer, Part::Relay, Part::Mixer, Part::Speaker];
}

/// A brain and its simulated surroundings.
#[derive(Debug)]
pub struct Stand {
    brain: RoomState,
    part: Part,
    now: Time,
    me: PeerId,
    room: RoomId,
    stage: Vec<PeerId>,
    children: Vec<PeerId>,
    admit: Admit,
    audience: u32,
    newcomers: u32,
    /// When the children last showed their tickets.
    tickets_at: Time,
}

/// Measured speed of a brain.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Speed {
    /// Number of inputs handled.
    pub inputs: u64,
    /// Time to handle them, including fetching outputs and timeouts.
    pub took: Duration,
}

impl Speed {
    /// Inputs per second.
    pub fn inputs_per_s(&self) -> f64 {
        self.inputs as f64 / self.took.as_secs_f64().max(1e-9)
    }
}

fn key(number: u8) -> Keypair {
    Keypair::from_seed(&[number; 32])
}

/// A peer that never signs anything.
fn stranger(number: u32) -> PeerId {
    PeerId(*blake3::hash(&number.to_le_bytes()).as_bytes())
}

/// Keys of the stage: the host and the other speakers, then the mixer, its standby and the other candidates.
fn stage_key(place: u8) -> Keypair {
    key(2 + place)
}

fn signed_roster(room: &RoomId) -> SignedRoster {
    let entry = |place: u8| Entry {
        peer: stage_key(place).id(),
        name: Text::truncated(&format!("peer {place}")),
        speaks: place < SPEAKERS,
        views: false,
        mixes: place >= SPEAKERS,
        away: false,
        index: place.min(SPEAKERS),
        votes: Vote::Named,
        muted: Muted::default(),
        shares: Sharing::No,
        no_solo: false,
        session: 0,
        records: false,
    };
    let roster = Roster {
        host: stage_key(0).id(),
        entries: List::truncated((0..SPEAKERS + CANDIDATES).map(entry)),
        acting: Some(stage_key(SPEAKERS).id()),
        audience: true,
        heirs: List::new(),
        recorders: 0,
        rules: Rules {
            program: ProgramFormat { width: 1280, height: 720, fps: 30, bitrate_bps: PROGRAM_BPS },
            k: K,
            k1: K1,
            mixers: 0,
            stage_open: true,
            mixing: MixPolicy::Anyone,
            expires_unix_s: None,
            layout: List::new(),
            title: Text::default(),
            access: Access::default(),
        },
    };
    Signed::new(&key(1), room, 1, 1, u64::MAX, roster).into()
}

/// Returns a peer's ticket, signed by the host at this time.
fn ticket(room: &RoomId, now: Time, peer: PeerId) -> Signed<Ticket> {
    let expires_unix_s = UNIX_S_AT_ZERO + now.0 / SECOND + 600;
    Signed::new(&stage_key(0), room, 1, 1, expires_unix_s, Ticket { peer })
}

fn decided(room: &RoomId) -> Decided {
    let outcome = Outcome {
        term: TERM,
        reason: ElectionReason::Opening,
        mixers: List::truncated([stage_key(SPEAKERS).id()]),
        uplinks_bps: List::truncated([0]),
        standbys: List::truncated([stage_key(SPEAKERS + 1).id()]),
        evidence: [0; 32],
        challenger: None,
        doubts: List::new(),
    };
    let majority = (0..SPEAKERS + CANDIDATES).take(usize::from(SPEAKERS + CANDIDATES) / 2 + 1);
    let signatures = majority.map(|place| {
        let keys = stage_key(place);
        (keys.id(), Decided::countersign(&keys, room, 1, &outcome))
    });
    Decided { epoch: 1, signatures: List::truncated(signatures), body: outcome }
}

impl Stand {
    /// Creates a stand with a brain in this part of a calm room. The room has `audience` viewers, each of
    /// which has asked the brain for a place once.
    pub fn new(part: Part, audience: u32) -> Stand {
        let room = RoomId::of_root(&key(1).id());
        let keys = match part {
            Part::Viewer | Part::Relay => key(100),
            Part::Mixer => stage_key(SPEAKERS),
            Part::Speaker => stage_key(1),
        };
        let me = keys.id();
        let config = RoomConfig {
            room,
            root: key(1).id(),
            host: None,
            name: Text::truncated("stand"),
            speaks: part == Part::Speaker,
            views: matches!(part, Part::Viewer | Part::Relay),
            no_solo: false,
            consent: if part == Part::Mixer { Consent::Always } else { Consent::Never },
            relays: part == Part::Relay,
            children_max: if part == Part::Mixer { K1 } else { K },
            uplink_bps_max: None,
            carries: true,
            sends_trains: true,
            key: None,
            unix_us_at_zero: UNIX_S_AT_ZERO * 1_000_000,
        };
        let admit = Admit {
            roster: signed_roster(&room),
            under: None,
            decided: Some(decided(&room)),
            confirmed: None,
            failovers: List::new(),
            ticket: Some(ticket(&room, Time(0), me)),
            key: None,
        };
        let mut stand = Stand {
            brain: RoomState::new(keys, config, 1, Time(0)),
            part,
            now: Time(0),
            me,
            room,
            stage: (0..SPEAKERS + CANDIDATES).map(|place| stage_key(place).id()).collect(),
            children: Vec::new(),
            admit,
            audience,
            newcomers: 0,
            tickets_at: Time(0),
        };
        stand.stage.retain(|peer| *peer != me);
        stand.come_in();
        for _ in 0..audience {
            stand.now = stand.now + MS;
            let input = stand.newcomer();
            stand.give(input);
        }
        stand.run_for(5 * SECOND);
        stand
    }

    /// The brain's snapshot, to verify that its part is as it should be.
    pub fn snapshot(&self) -> plenary_proto::Snapshot {
        self.brain.snapshot()
    }

    /// Takes the brain out of the stand.
    pub fn into_brain(self) -> RoomState {
        self.brain
    }

    /// Replaces children: `changes` of them leave, each followed by a new one, one every ten seconds.
    pub fn churn(&mut self, changes: u32) {
        for change in 0..changes {
            self.run_for(10 * SECOND);
            if let Some(gone) = self.children.first().copied() {
                self.children.remove(0);
                match change % 3 {
                    0 => self.say(gone, Message::Tree(TreeMessage::Detach)),
                    1 => self.give(Input::LinkDown(gone, LinkKind::Peer)),
                    _ => self.give(Input::Verdict { peer: gone, verdict: Verdict::Silent }),
                }
                self.newcomers += 1;
                self.take_child(stranger(self.newcomers));
            }
        }
        self.run_for(10 * SECOND);
    }

    fn take_child(&mut self, child: PeerId) {
        self.children.push(child);
        let attach = self.attach(child);
        self.say(child, Message::Tree(TreeMessage::Attach(attach)));
        self.say(child, Message::Link(LinkMessage::LinkWanted { kind: LinkKind::Peer, ticket: None }));
        self.give(Input::LinkUp(child, LinkKind::Peer));
        self.say(child, Message::Tree(TreeMessage::Feed { from: None }));
        let aggregate = self.aggregate(0);
        self.say(child, aggregate);
    }

    /// Request of a peer with a ticket for a place.
    fn attach(&self, peer: PeerId) -> Attach {
        Attach { ticket: Some(ticket(&self.room, self.now, peer)), ..Attach::newcomer() }
    }

    /// The children show their tickets anew.
    fn show_tickets(&mut self) {
        for child in self.children.clone() {
            self.say(child, Message::Member(MemberMessage::Ticket(ticket(&self.room, self.now, child))));
        }
    }

    fn come_in(&mut self) {
        self.give(Input::SignalUp(true));
        self.run_for(2 * SECOND); // it joins; the peers that it asks answer
        let places = match self.part {
            Part::Viewer | Part::Speaker => 0,
            Part::Relay => K - 1, // one slot is reserved for promises
            Part::Mixer => K1,
        };
        for number in 0..u32::from(places) {
            self.take_child(stranger(u32::MAX - number));
        }
    }

    /// Aggregate of a child: its share of the audience, slightly different each round.
    fn aggregate(&self, round: u32) -> Message {
        let share = self.audience / (self.children.len() as u32).max(1);
        let mut below = Aggregate { viewers: share + round % 7, ..Aggregate::default() };
        below.free[1..4].fill((round % 5) as u16);
        below.promises[1..4].fill(4);
        Message::Tree(TreeMessage::Aggregate(below))
    }

    fn newcomer(&mut self) -> Input {
        self.newcomers += 1;
        let attach = self.attach(stranger(self.newcomers));
        let route = List::truncated(self.stage.iter().take(2).map(PeerId::short));
        self.heard(stranger(self.newcomers), Via::Mesh(route), Message::Tree(TreeMessage::Attach(attach)))
    }

    fn verified(&self, message: Message) -> Verified<Message> {
        let unix_s = UNIX_S_AT_ZERO + self.now.0 / SECOND;
        message.verify(&self.room, &key(1).id(), unix_s).expect("the stand signs what it says")
    }

    fn heard(&self, from: PeerId, via: Via, message: Message) -> Input {
        Input::Message { from, via, message: self.verified(message) }
    }

    fn say(&mut self, from: PeerId, message: Message) {
        let input = self.heard(from, Via::Link, message);
        self.give(input);
    }

    /// Hands an input to the brain, followed by all answers to its outputs.
    fn give(&mut self, input: Input) {
        let mut inputs = VecDeque::from([input]);
        for count in 0.. {
            let Some(input) = inputs.pop_front() else { break };
            assert!(count < ANSWERS_MAX, "stand and brain go on answering each other");
            self.brain.handle(self.now, input);
            while let Some(output) = self.brain.poll_output() {
                inputs.extend(self.answer(output));
            }
        }
    }

    fn run_for(&mut self, us: u64) {
        let end = self.now + us;
        while let Some(due) = self.brain.next_timeout().filter(|due| *due <= end) {
            self.now = due;
            self.give(Input::Timeout);
        }
        if end.since(self.tickets_at) >= TICKETS_US {
            self.tickets_at = end;
            self.show_tickets();
        }
        self.now = end;
    }

    /// Answer of body and peers to an output of the brain.
    fn answer(&self, output: Output) -> Option<Input> {
        match output {
            Output::Offer { peer, kind, .. }
            | Output::Signal(Address::Peer(peer), Message::Link(LinkMessage::LinkWanted { kind, .. })) => {
                Some(Input::LinkUp(peer, kind))
            }
            Output::RequestFeed(peer) => Some(Input::Fed(peer)),
            Output::Signal(Address::Host, Message::Member(MemberMessage::Join(_))) => {
                let host = stage_key(0).id();
                let ticket = Some(ticket(&self.room, self.now, self.me));
                Some(self.heard(
                    host,
                    Via::Signal,
                    Message::Member(MemberMessage::Admit(Box::new(Admit { ticket, ..self.admit.clone() }))),
                ))
            }
            Output::Signal(Address::Peer(peer), Message::Tree(TreeMessage::Attach(attach)))
            | Output::Control(peer, Message::Tree(TreeMessage::Attach(attach))) => {
                Some(self.heard(peer, Via::Signal, self.place(peer, attach.purpose)))
            }
            Output::Control(peer, Message::Probe(ProbeMessage::UplinkWanted)) => {
                let guess = Message::Probe(ProbeMessage::ProbeWanted {
                    train: UPLINK_TRAIN,
                    bytes: 1_200,
                    rate_bps: 0,
                });
                Some(self.heard(peer, Via::Link, guess))
            }
            Output::Train { peer, train: UPLINK_TRAIN, .. } => {
                let bps = u64::from(u8::MAX) * u64::from(PROGRAM_BPS);
                Some(self.heard(peer, Via::Link, Message::Probe(ProbeMessage::Uplink { bps })))
            }
            Output::Role(MixRole::Mix { rank, .. }) => Some(Input::Started(self.program(rank))),
            _ => None,
        }
    }

    /// Answer to an `Attach`: a place. The mixer promises no backup, and redirects to its standby.
    fn place(&self, peer: PeerId, purpose: Purpose) -> Message {
        if purpose == Purpose::Backup && peer == stage_key(SPEAKERS).id() {
            let standby = stage_key(SPEAKERS + 1).id();
            let place = Place { peer: standby, path: self.path_of(standby) };
            return Message::Tree(TreeMessage::Redirect { purpose, places: List::truncated([place]) });
        }
        let whereabouts = Whereabouts::default();
        Message::Tree(TreeMessage::Accept { purpose, path: self.path_of(peer), whereabouts })
    }

    /// A mixer's own path, or a path as long as that of a relay half-way down a room of this size.
    fn path_of(&self, peer: PeerId) -> Path {
        if self.stage.contains(&peer) && self.audience < u32::from(K1) {
            return List::truncated([peer.short()]);
        }
        let depth = self.audience.max(1).ilog(u32::from(K)) / 2;
        let above = (0..depth).map(|at| ShortId([at as u8 + 1; 8]));
        List::truncated(above.chain([peer.short()]))
    }

    fn program(&self, rank: Rank) -> StreamSpec {
        StreamSpec { maker: self.me, kind: StreamKind::Program, rank, rung: 0, start: [1; 8] }
    }

    /// Inputs in one second of calm: signs of life from all linked peers, children's aggregates, a brief
    /// verdict on the parent, and now and then a newcomer, a known roster, and a parent that moves.
    fn second(&mut self, round: u32) -> Vec<Input> {
        let mut inputs = Vec::new();
        let above = self.brain.snapshot();
        let above = above.parent.into_iter().chain(above.backup);
        inputs.extend(above.clone().map(Input::Heard));
        for child in self.children.clone() {
            inputs.push(Input::Heard(child));
            inputs.push(self.heard(child, Via::Link, self.aggregate(round)));
        }
        if matches!(self.part, Part::Mixer | Part::Speaker) {
            inputs.extend(self.stage.iter().copied().map(Input::Heard));
            let (asks, mixer) = (self.stage[0], self.stage[usize::from(SPEAKERS) - 1]);
            inputs.push(self.heard(
                asks,
                Via::Link,
                Message::Failover(FailoverMessage::HearWanted { mixer }),
            ));
        }
        for peer in above.take(1) {
            inputs.push(Input::Verdict { peer, verdict: Verdict::Behind });
            inputs.push(Input::Verdict { peer, verdict: Verdict::Ok });
        }
        if !self.children.is_empty() {
            inputs.push(self.newcomer());
        }
        if round.is_multiple_of(10) {
            let from = self.stage[0];
            inputs.push(self.heard(
                from,
                Via::Link,
                Message::Member(MemberMessage::Roster(self.admit.roster.clone())),
            ));
        }
        inputs
    }

    /// Gives the brain `seconds` seconds of calm, as fast as it handles them.
    ///
    /// `clock` returns processor or wall time since some start.
    pub fn calm(&mut self, seconds: u32, clock: impl Fn() -> Duration) -> Speed {
        let rounds: Vec<Vec<Input>> = (0..seconds).map(|round| self.second(round)).collect();
        let mut inputs = 0;
        let begun = clock();
        for round in rounds {
            let step_us = SECOND / (round.len() as u64 + 1);
            for input in round {
                inputs += 1 + self.pass_time(step_us);
                self.brain.handle(self.now, input);
                while self.brain.poll_output().is_some() {}
            }
            inputs += self.pass_time(step_us);
        }
        Speed { inputs, took: clock() - begun }
    }

    /// Advances the time and handles the timeouts that become due; returns their number.
    fn pass_time(&mut self, us: u64) -> u64 {
        let end = self.now + us;
        let mut timeouts = 0;
        while let Some(due) = self.brain.next_timeout().filter(|due| *due <= end) {
            self.brain.handle(due, Input::Timeout);
            while self.brain.poll_output().is_some() {}
            timeouts += 1;
        }
        self.now = end;
        timeouts
    }
}

/// Memory of a relay's brain in a room with `audience` viewers, in bytes, averaged over `count` brains.
/// `allocated` returns the number of bytes that the process has allocated.
pub fn bytes_per_peer(audience: u32, count: usize, allocated: impl Fn() -> usize) -> f64 {
    let mut brains = Vec::with_capacity(count);
    let before = allocated();
    brains.extend((0..count).map(|_| Stand::new(Part::Relay, audience).into_brain()));
    let grown = allocated().saturating_sub(before);
    grown as f64 / count as f64 + size_of::<RoomState>() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_is_where_it_should_be_before_and_after_a_minute_of_calm() {
        for part in Part::ALL {
            let mut stand = Stand::new(part, 1000);
            for _ in 0..2 {
                let seen = stand.snapshot();
                assert_eq!(seen.rank.term, TERM, "{part:?}: {seen:?}");
                assert_eq!(seen.mixing, part == Part::Mixer, "{part:?}: {seen:?}");
                let watches = matches!(part, Part::Viewer | Part::Relay);
                assert_eq!(
                    (seen.parent.is_some(), seen.backup.is_some()),
                    (watches, watches),
                    "{part:?}: {seen:?}"
                );
                // one child may have to wait: a slot is reserved for promises
                let fed = seen.children.len();
                assert!(fed <= stand.children.len() && fed + 1 >= stand.children.len(), "{part:?}: {seen:?}");
                stand.calm(60, Duration::default);
            }
        }
    }

    #[test]
    fn whoever_feeds_us_unasked_is_told_to_stop() {
        let mut stand = Stand::new(Part::Viewer, 0);
        let seen = stand.snapshot();
        let (parent, backup) = (seen.parent.expect("it is fed"), seen.backup.expect("it has a backup"));
        // a link may deliver this peer's `Feed` long after it was revoked on another route
        for (from, expected) in [
            (backup, Some(Message::Tree(TreeMessage::StopFeed))),
            (stranger(7), Some(Message::Tree(TreeMessage::Detach))),
            (parent, None),
        ] {
            let path = stand.path_of(from);
            let feeding = Message::Tree(TreeMessage::Feeding { path, whereabouts: Whereabouts::default() });
            stand.brain.handle(stand.now, stand.heard(from, Via::Link, feeding));
            let outputs: Vec<_> = std::iter::from_fn(|| stand.brain.poll_output()).collect();
            let answer = outputs.into_iter().find_map(|output| match output {
                Output::Control(peer, message) | Output::Signal(Address::Peer(peer), message) => {
                    (peer == from).then_some(message)
                }
                _ => None,
            });
            assert_eq!(answer, expected, "{from:?}");
            let seen = stand.snapshot();
            assert_eq!((seen.parent, seen.backup), (Some(parent), Some(backup)));
        }
    }
}
