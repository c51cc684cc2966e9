//! Test harness of one brain in virtual time: gives it inputs, runs its timers, and returns its outputs.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use plenary_proto::bounded::{List, Text};
use plenary_proto::message::*;
use plenary_proto::seal::Signed;
use plenary_proto::{
    Address, Event, HostConfig, Input, Output, PeerId, Rank, RoomConfig, RoomState, StreamKind, StreamSpec,
    Time, Via,
};

use super::{NEVER, NOW, key, outcome, room, roster};

pub(crate) const MS: u64 = 1_000;
pub(crate) const SECOND: u64 = 1_000_000;

/// One brain, and the time.
pub(crate) struct Brain {
    pub(crate) room: RoomState,
    pub(crate) now: u64,
    /// Peers with which no link comes up.
    pub(crate) unlinked: BTreeSet<PeerId>,
    /// Peers with a peer link that is up.
    linked: BTreeSet<PeerId>,
    /// Voters of the roster given last, and its epoch.
    voters: Vec<u8>,
    epoch: u32,
}

/// Returns the configuration of a peer that views, relays, and doesn't consent to mix.
pub(crate) fn viewing() -> RoomConfig {
    RoomConfig {
        room: room(),
        root: key(1).id(),
        host: None,
        name: Text::truncated("me"),
        speaks: false,
        views: true,
        no_solo: false,
        consent: Consent::Never,
        relays: true,
        children_max: 8,
        uplink_bps_max: None,
        carries: true,
        sends_trains: true,
        key: None,
        unix_us_at_zero: NOW * 1_000_000,
    }
}

/// Returns the configuration of a host with an open stage and no lobby, without limits.
pub(crate) fn hosting() -> HostConfig {
    HostConfig {
        root: key(1),
        stage_open: true,
        mixing: None,
        program: ProgramFormat { width: 1280, height: 720, fps: 30, bitrate_bps: 1_500_000 },
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
    }
}

/// Returns the admission to a room in which nothing is decided yet, without a ticket.
pub(crate) fn admitting(roster: SignedRoster) -> Admit {
    Admit {
        roster,
        under: None,
        decided: None,
        confirmed: None,
        failovers: List::new(),
        ticket: None,
        key: None,
    }
}

/// Returns the configuration of a peer that consents to mix, and neither speaks nor views.
pub(crate) fn consenting() -> RoomConfig {
    RoomConfig { views: false, consent: Consent::Always, ..viewing() }
}

fn entry(seed: u8, speaks: bool, mixes: bool) -> Entry {
    let name = Text::truncated("Ada");
    Entry {
        peer: key(seed).id(),
        name,
        speaks,
        views: false,
        mixes,
        away: false,
        index: seed,
        votes: Vote::Named,
        muted: Muted::default(),
        shares: Sharing::No,
        no_solo: false,
        session: 0,
        records: false,
    }
}

/// Returns the roster entry of a peer that speaks and doesn't consent to mix.
pub(crate) fn speaker(seed: u8) -> Entry {
    entry(seed, true, false)
}

/// Returns the roster entry of a peer that consents to mix and doesn't speak.
pub(crate) fn candidate(seed: u8) -> Entry {
    entry(seed, false, true)
}

pub(crate) fn away(entry: Entry) -> Entry {
    Entry { away: true, ..entry }
}

impl Brain {
    /// Creates the brain of the peer with that key, which has a rendezvous and knows no roster.
    pub(crate) fn new(seed: u8, config: RoomConfig) -> Brain {
        let room = RoomState::new(key(seed), config, 7, Time(0));
        let (unlinked, linked) = (BTreeSet::new(), BTreeSet::new());
        let mut brain = Brain { room, now: 0, unlinked, linked, voters: Vec::new(), epoch: 0 };
        brain.give(Input::SignalUp(true));
        brain
    }

    /// Gives an input and returns the outputs. Each link that the brain wants comes up at once, except with
    /// the peers in `unlinked`; those with children come up by [`Brain::is_linked_by`].
    pub(crate) fn give(&mut self, input: Input) -> Vec<Output> {
        self.now += 1;
        let parent = match &input {
            Input::Message { from, message, .. } => match &**message {
                Message::Tree(TreeMessage::Accept { purpose: Purpose::Parent, .. }) => Some(*from),
                _ => None,
            },
            Input::LinkDown(peer, LinkKind::Peer) => {
                self.linked.remove(peer);
                None
            }
            _ => None,
        };
        self.room.handle(Time(self.now), input);
        let mut outputs: Vec<Output> = std::iter::from_fn(|| self.room.poll_output()).collect();
        for output in &outputs {
            if let Output::Close(peer, LinkKind::Peer) = output {
                self.linked.remove(peer);
            }
        }
        let has_said = |peer: &PeerId, is_such: fn(&Message) -> bool| {
            let says = |output: &&Output| match output {
                Output::Signal(Address::Peer(to), message)
                | Output::Control(to, message)
                | Output::Relay { to, message, .. } => to == peer && is_such(message),
                _ => false,
            };
            outputs.iter().any(|output| says(&output))
        };
        let accepts = |message: &Message| matches!(message, Message::Tree(TreeMessage::Accept { .. }));
        let declines = |message: &Message| matches!(message, Message::Tree(TreeMessage::Detach));
        let is_child = |peer: &PeerId| has_said(peer, accepts);
        // a parent offers with its acceptance
        let parent = parent.filter(|parent| {
            !self.unlinked.contains(parent) && !self.linked.contains(parent) && !has_said(parent, declines)
        });
        let wanted = |output: &Output| match output {
            Output::Offer { peer, kind: LinkKind::Peer, .. } if is_child(peer) => None,
            Output::Offer { peer, kind, .. } => Some((*peer, *kind, true)),
            Output::Signal(Address::Peer(peer), Message::Link(LinkMessage::LinkWanted { kind, .. }))
            | Output::Relay {
                to: peer, message: Message::Link(LinkMessage::LinkWanted { kind, .. }), ..
            } => Some((*peer, *kind, false)),
            _ => None,
        };
        let wanted: Vec<_> = outputs.iter().filter_map(wanted).collect();
        let by_parent = parent.map(|parent| (parent, LinkKind::Peer, false));
        for (peer, kind, offered) in wanted.into_iter().chain(by_parent) {
            if self.unlinked.contains(&peer) {
                continue;
            }
            if !offered {
                outputs.extend(self.hears_id(peer, super::offer(kind)));
            }
            outputs.extend(self.is_linked_with(peer, kind));
        }
        outputs
    }

    /// Hears a message of a member: it shows a ticket wherever one may stand.
    pub(crate) fn hears(&mut self, from: u8, message: Message) -> Vec<Output> {
        self.hears_id(key(from).id(), message)
    }

    fn hears_id(&mut self, from: PeerId, mut message: Message) -> Vec<Output> {
        match &mut message {
            Message::Tree(TreeMessage::Attach(Attach { ticket: ticket @ None, .. })) => {
                *ticket = self.ticket_of(from)
            }
            Message::Link(LinkMessage::Offer(Offer { ticket: ticket @ None, .. }))
            | Message::Link(LinkMessage::LinkWanted { ticket: ticket @ None, .. }) => {
                *ticket = self.ticket_of(from).map(Box::new);
            }
            _ => {}
        }
        let unix_s = NOW + self.now / SECOND;
        let message = message.verify(&room(), &key(1).id(), unix_s).unwrap();
        self.give(Input::Message { from, via: Via::Link, message })
    }

    /// Returns a ticket of a peer, signed by the host of the roster in force.
    fn ticket_of(&self, peer: PeerId) -> Option<Signed<Ticket>> {
        let host = self.room.roster()?.host;
        let host = (1..100).map(key).find(|key| key.id() == host)?;
        let expires = NOW + self.now / SECOND + 600;
        Some(Signed::new(&host, &room(), self.epoch, 15, expires, Ticket { peer }))
    }

    /// Handles a link that is up, and the ticket that its other end shows first.
    pub(crate) fn is_linked_with(&mut self, peer: PeerId, kind: LinkKind) -> Vec<Output> {
        let mut outputs = self.give(Input::LinkUp(peer, kind));
        if kind == LinkKind::Peer {
            self.linked.insert(peer);
        }
        if let Some(ticket) = self.ticket_of(peer).filter(|_| kind == LinkKind::Peer) {
            outputs.extend(self.hears_id(peer, Message::Member(MemberMessage::Ticket(ticket))));
        }
        outputs
    }

    /// A peer links with this brain by its own wish.
    pub(crate) fn is_linked_by(&mut self, peer: u8) -> Vec<Output> {
        let kind = LinkKind::Peer;
        let mut outputs = self.hears(peer, super::offer(kind));
        outputs.extend(self.hears(peer, Message::Link(LinkMessage::LinkWanted { kind, ticket: None })));
        outputs.extend(self.is_linked_with(key(peer).id(), kind));
        outputs
    }

    /// Lets a peer attach, link and request its feed; returns the outputs after the attach and after the feed
    /// request.
    pub(crate) fn is_joined_by(&mut self, peer: u8, attach: Attach) -> (Vec<Output>, Vec<Output>) {
        let taken = self.hears(peer, Message::Tree(TreeMessage::Attach(attach)));
        self.is_linked_by(peer);
        (taken, self.hears(peer, Message::Tree(TreeMessage::Feed { from: None })))
    }

    pub(crate) fn loses_link(&mut self, peer: u8) -> Vec<Output> {
        self.give(Input::LinkDown(key(peer).id(), LinkKind::Peer))
    }

    /// Handles one timeout at this time, and drops the outputs.
    pub(crate) fn rests_until(&mut self, us: u64) {
        self.now = us;
        self.give(Input::Timeout);
    }

    pub(crate) fn rests_for(&mut self, us: u64) {
        self.rests_until(self.now + us);
    }

    /// Handles each timeout when it is due until this time; returns the outputs with their times.
    pub(crate) fn runs_until(&mut self, us: u64) -> Vec<(u64, Output)> {
        let mut outputs = Vec::new();
        let wakes_max = 100 + us.saturating_sub(self.now) / (5 * MS);
        for wakes in 0.. {
            assert!(wakes < wakes_max, "the brain wakes too often: {outputs:?}");
            let due = self.room.next_timeout().map(|due| due.0).filter(|due| *due <= us);
            let Some(due) = due else { break };
            self.now = self.now.max(due - 1);
            let woken = self.give(Input::Timeout);
            outputs.extend(woken.into_iter().map(|output| (due, output)));
        }
        self.now = self.now.max(us);
        outputs
    }

    pub(crate) fn runs_for(&mut self, us: u64) -> Vec<(u64, Output)> {
        self.runs_until(self.now + us)
    }

    /// Adopts a roster of these entries, changed so. The first entry is the host.
    pub(crate) fn adopts(&mut self, entries: &[Entry], change: impl FnOnce(&mut Roster)) -> Vec<Output> {
        self.epoch = self.epoch.max(6) + 1;
        self.voters =
            (1..100).filter(|seed| entries.iter().any(|entry| entry.peer == key(*seed).id())).collect();
        let signed = roster_of(self.epoch, entries, change);
        self.hears(2, signed)
    }

    /// Takes an outcome that all voters of the roster signed.
    pub(crate) fn elects(&mut self, term: u32, mixers: &[u8], standbys: &[u8]) -> Vec<Output> {
        self.takes(outcome_of(term, mixers, standbys))
    }

    pub(crate) fn takes(&mut self, outcome: Outcome) -> Vec<Output> {
        let decided = Message::Election(ElectionMessage::Decided(Box::new(decided_by(
            self.epoch,
            &outcome,
            &self.voters,
        ))));
        self.hears(2, decided)
    }

    pub(crate) fn epoch(&self) -> u32 {
        self.epoch
    }

    pub(crate) fn term(&self) -> u32 {
        self.room.rank().term
    }
}

pub(crate) fn roster_of(epoch: u32, entries: &[Entry], change: impl FnOnce(&mut Roster)) -> Message {
    let mut body = Roster {
        host: entries[0].peer,
        entries: super::list(entries.to_vec()),
        acting: None,
        heirs: List::new(),
        ..roster().body.clone()
    };
    body.rules.expires_unix_s = None;
    change(&mut body);
    Message::Member(MemberMessage::Roster(
        Signed::new(&key(1), &room(), epoch, epoch.into(), NEVER, body).into(),
    ))
}

/// Returns an outcome with these mixers and standbys, and uplinks of 50 Mbit/s.
pub(crate) fn outcome_of(term: u32, mixers: &[u8], standbys: &[u8]) -> Outcome {
    let ids = |seeds: &[u8]| List::truncated(seeds.iter().map(|seed| key(*seed).id()));
    Outcome {
        term,
        mixers: ids(mixers),
        uplinks_bps: List::truncated(mixers.iter().map(|_| 50_000_000)),
        standbys: ids(standbys),
        doubts: List::new(),
        evidence: [term as u8; 32],
        ..outcome()
    }
}

pub(crate) fn decided_by(epoch: u32, outcome: &Outcome, voters: &[u8]) -> Decided {
    let sign = |seed: &u8| (key(*seed).id(), Decided::countersign(&key(*seed), &room(), epoch, outcome));
    Decided { epoch, body: outcome.clone(), signatures: List::truncated(voters.iter().map(sign)) }
}

/// Returns the spec of a program that this mixer began under this rank.
pub(crate) fn program(mixer: u8, term: u32, failover_count: u16) -> StreamSpec {
    let rank = Rank { term, failover_count };
    StreamSpec { maker: key(mixer).id(), kind: StreamKind::Program, rank, rung: 0, start: [mixer; 8] }
}

pub(crate) fn path(peers: &[u8]) -> Path {
    List::truncated(peers.iter().map(|peer| key(*peer).id().short()))
}

/// Returns the place of each peer directly below the given path.
pub(crate) fn places_below(above: &[u8], peers: &[u8]) -> List<Place, PLACES_MAX> {
    let place = |peer: &u8| Place { peer: key(*peer).id(), path: path(&[above, &[*peer]].concat()) };
    List::truncated(peers.iter().map(place))
}

static IDS: LazyLock<Vec<PeerId>> = LazyLock::new(|| (0..=255).map(|seed| key(seed).id()).collect());

fn sent(output: &Output) -> Option<(PeerId, &Message)> {
    match output {
        Output::Control(to, message)
        | Output::Signal(Address::Peer(to), message)
        | Output::Relay { to, message, .. } => Some((*to, message)),
        _ => None,
    }
}

/// Returns the messages among the outputs to this peer.
pub(crate) fn said(outputs: &[Output], to: u8) -> Vec<&Message> {
    let to_it = |(peer, message)| (peer == key(to).id()).then_some(message);
    outputs.iter().filter_map(sent).filter_map(to_it).collect()
}

/// Returns whether such a message to this peer is among the outputs.
pub(crate) fn says(outputs: &[Output], to: u8, what: impl Fn(&Message) -> bool) -> bool {
    said(outputs, to).into_iter().any(what)
}

/// Returns the receivers of such messages, by the seeds of their keys, in order.
pub(crate) fn receivers(outputs: &[Output], what: impl Fn(&Message) -> bool) -> Vec<u8> {
    let seed = |peer: PeerId| IDS.iter().position(|id| *id == peer).unwrap() as u8;
    outputs.iter().filter_map(sent).filter(|(_, message)| what(message)).map(|(peer, _)| seed(peer)).collect()
}

/// Drops the times.
pub(crate) fn untimed(timed: Vec<(u64, Output)>) -> Vec<Output> {
    timed.into_iter().map(|(_, output)| output).collect()
}

/// Returns the times of such messages to this peer.
pub(crate) fn times_said(timed: &[(u64, Output)], to: u8, what: impl Fn(&Message) -> bool) -> Vec<u64> {
    let such =
        |output: &Output| sent(output).is_some_and(|(peer, message)| peer == key(to).id() && what(message));
    timed.iter().filter(|(_, output)| such(output)).map(|(at, _)| *at).collect()
}

/// Returns the times of outputs that match.
pub(crate) fn times_of(timed: &[(u64, Output)], what: impl Fn(&Output) -> bool) -> Vec<u64> {
    timed.iter().filter(|(_, output)| what(output)).map(|(at, _)| *at).collect()
}

pub(crate) fn events(outputs: &[Output]) -> Vec<&Event> {
    let mut events = Vec::new();
    for output in outputs {
        if let Output::Event(event) = output {
            events.push(event);
        }
    }
    events
}

pub(crate) fn is_attach(message: &Message) -> bool {
    matches!(message, Message::Tree(TreeMessage::Attach(_)))
}
