//! Simulated bodies: they carry out their brains' outputs, and deliver messages to the brains.

use std::collections::BTreeSet;

use plenary_proto::bounded::List;
use plenary_proto::message::{
    ElectionMessage, FailoverMessage, LinkMessage, MediaMessage, MemberMessage, Message, Offer, Relay,
    RouteMessage, TreeMessage, VideoRequest,
};
use plenary_proto::time::{MS, SECOND};
use plenary_proto::{Address, Input, Output, PeerId, Via};

use super::{Happening, UNIX_S_AT_ZERO, World};
use crate::peer::Served;

/// Time from a message's arrival at the rendezvous to its delivery, beside the delay between the two peers. A guess.
const RENDEZVOUS_US: u64 = 10 * MS;
/// Time until the rendezvous reports an unknown recipient to the sender. A guess.
const UNDELIVERABLE_US: u64 = 20 * MS;

impl World {
    pub(super) fn carry_out(&mut self, at: usize, output: Output) {
        #[cfg(debug_assertions)]
        let Some(output) = self.misdo(at, output) else { return };
        self.note_change(at, &output);
        if let Output::Control(_, Message::Election(ElectionMessage::Ballot(_))) = output {
            self.ballot_by = Some(self.peers[at].id);
        }
        match output {
            Output::Control(to, message) => self.control(at, &to, message),
            Output::Loose(to, message) => self.loose(at, &to, message),
            Output::Signal(to, message) => self.signal(at, to, message),
            Output::Relay { next, to, route, message } => {
                if let Ok(sealed) = List::try_from(message.to_bytes()) {
                    let from = self.peers[at].id;
                    self.control(
                        at,
                        &next,
                        Message::Route(RouteMessage::Relay(Relay { from, to, route, passed: 0, sealed })),
                    );
                }
            }
            Output::Offer { peer, kind, .. } => self.describe(at, peer, kind),
            Output::Answer { peer, offer: Offer { kind, .. }, .. } => self.describe(at, peer, kind),
            Output::Accept(peer, answer) => self.accept(at, &peer, answer.kind),
            Output::Paths(..) | Output::IceRestart(..) => {} // simulated ends know each other's addresses
            Output::Tunnel(command) => self.tunnel(at, command),
            Output::Close(peer, kind) => self.close(at, &peer, kind),
            Output::Watch { parent, backup } => {
                let [parent, backup] = [parent, backup].map(|peer| self.directory.find(&peer?));
                self.watch(at, parent, backup);
            }
            Output::WatchMixers(mixers) => {
                let mixers: Vec<usize> =
                    mixers.iter().filter_map(|mixer| self.directory.find(mixer)).collect();
                self.watch_mixers(at, &mixers);
            }
            // without `sound`: a viewing speaker, which gets its mix-minus separately and has no place in the tree
            Output::Serve { peer, from, sound } => {
                if let Some(child) = self.directory.find(&peer) {
                    self.serve(at, child, from, sound);
                }
            }
            Output::ServeHeads(peer) => {
                if let Some(child) = self.directory.find(&peer) {
                    self.stop_flow(at, child);
                    self.peers[at].serve(Served { child, since: self.now, ..Served::default() });
                    self.look_soon(at);
                }
            }
            Output::Suspect(peer) => {
                if let Some(child) = self.directory.find(&peer) {
                    self.suspect(at, child);
                }
            }
            Output::Unserve(peer) => {
                if let Some(child) = self.directory.find(&peer) {
                    self.stop_flow(at, child);
                    self.peers[at].served.retain(|served| served.child != child);
                }
            }
            Output::Follow { peer, stream, id } => {
                if let Some(from) = self.directory.find(&peer) {
                    self.follow(at, from, stream.slot, id, stream.spec);
                }
            }
            Output::Senders(sources) => self.peers[at].sources = sources,
            Output::Mandate(in_force) => self.peers[at].in_force = in_force,
            Output::EncodeAs(_)
            | Output::EncodeBesideAs(_)
            | Output::SendBeside(_)
            | Output::Speakers(_)
            | Output::Homes(_) => {}
            Output::SendOwn(to) => self.peers[at].sending_to = to.into_iter().map(|(peer, _)| peer).collect(),
            Output::CallHome { speaker, rank } => {
                let video = VideoRequest { width: 640, height: 360, fps: 30, bitrate_bps: 600_000 };
                if speaker != self.peers[at].id {
                    self.control(
                        at,
                        &speaker,
                        Message::Media(MediaMessage::Home { rank, video, resume: None, beside: None }),
                    );
                }
            }
            Output::TellRoundTrips => {
                let rtts_us = self.round_trips_us(at);
                self.push(self.now, Happening::Input(at, Box::new(Input::RoundTrips(rtts_us))));
            }
            Output::AnswerHeard { to, mixer } => {
                let silent_us = self.directory.find(&mixer).and_then(|mixer| self.silent_us(at, mixer));
                self.control(at, &to, Message::Failover(FailoverMessage::Heard { mixer, silent_us }));
            }
            // nobody asks in rooms of brains alone
            Output::AnswerRates { .. } => {}
            Output::RequestFeed(peer) => {
                let from = self.have(at);
                if let Some(other) = self.directory.find(&peer) {
                    self.peers[at].asked.retain(|asked| *asked != other);
                    self.peers[at].asked.push(other);
                }
                self.control(at, &peer, Message::Tree(TreeMessage::Feed { from }));
            }
            Output::Role(role) => self.take_role(at, role),
            Output::Forward(to) => {
                let forwarding_to = to.iter().filter_map(|peer| self.directory.find(peer)).collect();
                self.peers[at].forwarding_to = forwarding_to;
            }
            Output::Solos(solos) => self.peers[at].solos = solos,
            Output::Voices(routes) => self.peers[at].voices = routes,
            Output::Train { peer, train, bytes, rate_bps } => self.train(at, &peer, train, bytes, rate_bps),
            Output::Claim => {}  // the simulated rendezvous knows no root keys
            Output::Key(_) => {} // simulated envelopes are not encrypted
            Output::Event(event) => self.follow_event(at, event),
        }
    }

    /// Time since the last arrival at `at` from `other`; `None` without a link between them.
    fn silent_us(&self, at: usize, other: usize) -> Option<u32> {
        let link = self.peers[at].link(other)?;
        let last = match self.unheard_since(other, at) {
            Some(since) => link.heard_at.max(since),
            // the other peer sends mix-minus to this one continuously
            None if self.peers[other].is_mixing()
                && self.peers[at].sending_to.contains(&self.peers[other].id) =>
            {
                self.now
            }
            None => link.heard_at.max(self.pinged_at(other)),
        };
        Some(self.now.since(last).min(u32::MAX.into()) as u32)
    }

    /// Delivers a message that arrived by the rendezvous or a link to a bare brain.
    pub(super) fn deliver(&mut self, to: usize, from: usize, via: Via, message: Message) {
        if !self.both_alive(to, from) {
            return;
        }
        self.read(to, self.peers[from].id, via, message);
    }

    fn read(&mut self, to: usize, sender: PeerId, via: Via, message: Message) {
        if !self.peers[to].brain().may_say(&sender, &via, &message) {
            return;
        }
        let unix_s = UNIX_S_AT_ZERO + self.now.0 / SECOND;
        match message.verify_with(&mut self.verifier, &self.room, &self.root.id(), unix_s) {
            Ok(message) => self.input(to, Input::Message { from: sender, via, message }),
            Err(_) => self.input(to, Input::Misbehaved(sender)),
        }
    }

    /// Sends a message on the control channel of the link with a peer.
    pub(crate) fn control(&mut self, at: usize, to: &PeerId, message: Message) {
        if let Some(to) = self.directory.find(to) {
            self.control_to(at, to, message);
        }
    }

    /// Sends a message on the control channel of a link, if that is up.
    pub(super) fn control_to(&mut self, at: usize, to: usize, message: Message) {
        if !self.link_is_up(at, to) {
            return;
        }
        let bytes = size_of_message(&message);
        if let Message::Route(RouteMessage::Relay(_)) = message
            && !self.deviations.is_empty()
        {
            *self.carried.entry((at, to)).or_default() += bytes as u64;
        }
        self.say_reliably(at, to, bytes, Happening::Control { to, from: at, message: Box::new(message) });
    }

    /// Sends loose data, which may be lost.
    fn loose(&mut self, at: usize, to: &PeerId, message: Message) {
        if let Some(to) = self.directory.find(to).filter(|to| self.link_is_up(at, *to))
            && let Some(arrives) = self.net.send(self.now, at, to, size_of_message(&message))
        {
            self.push(arrives, Happening::Control { to, from: at, message: Box::new(message) });
        }
    }

    /// Handles a message that arrived on a link.
    pub(super) fn said(&mut self, to: usize, from: usize, message: Message) {
        let is_up = self.link_is_up(from, to) && self.link_is_up(to, from);
        if is_up || matches!(message, Message::Link(LinkMessage::Bye(_))) {
            if self.has_bodies() {
                return self.control_arrived(to, from, &message);
            }
            self.heard(to, from, false);
            match message {
                Message::Route(RouteMessage::Relay(relay)) if relay.to == self.peers[to].id => {
                    if relay.may_come_from(&self.peers[from].id) {
                        self.open(to, relay);
                    }
                }
                message => self.deliver(to, from, Via::Link, message),
            }
        }
    }

    /// Opens an envelope that linked peers forwarded; simulated envelopes are not encrypted.
    fn open(&mut self, to: usize, relay: Relay) {
        if let Ok(message) = Message::from_bytes(&relay.sealed) {
            self.read(to, relay.from, Via::Mesh(relay.route), message);
        }
    }

    pub(super) fn signal(&mut self, at: usize, to: Address, message: Message) {
        let to = match to {
            // the host is peer 0; without it the rendezvous delivers to the member connected for longest
            Address::Host => {
                let there = |peer: &usize| self.peers[*peer].is_there() && *peer != at;
                Some((0..self.peers.len()).find(there).unwrap_or(0))
            }
            Address::Peer(peer) => self.directory.find(&peer),
        };
        match to {
            // a partition cuts the path through the rendezvous as well
            Some(to) if self.net.are_parted(at, to) => {}
            Some(to) if self.peers[to].is_there() => {
                let arrives = self.now + self.net.one_way_us(at, to) + RENDEZVOUS_US;
                self.push(arrives, Happening::Signal { to, from: at, message: Box::new(message) });
            }
            _ => {
                let id = to.map(|to| self.peers[to].id);
                let back = Happening::Input(at, Box::new(Input::Undeliverable(id)));
                self.push(self.now + UNDELIVERABLE_US, back);
            }
        }
    }

    pub(super) fn signalled(&mut self, to: usize, from: usize, message: Message) {
        if !self.signal_up {
            return;
        }
        if !self.has_bodies() {
            self.deliver(to, from, Via::Signal, message);
        } else if self.both_alive(to, from) {
            self.envelope_came(to, from, &message);
        }
    }

    /// Host named by the newest roster of `at`.
    fn host_of(&self, at: usize) -> Option<usize> {
        self.directory.find(&self.peers[at].brain().roster()?.host)
    }

    pub(super) fn note_host(&mut self, at: usize) {
        if let Some(host) = self.host_of(at) {
            self.hosts.insert(host);
        }
    }

    /// Once a second: reports arrivals between the host and the peers linked with it to their brains, and degradations
    /// of the program to all brains.
    pub(super) fn presence(&mut self) {
        if self.has_bodies() {
            return; // they tell their brains themselves
        }
        self.push(self.now + SECOND, Happening::Presence);
        self.tell_suffering();
        self.ping_the_stage();
        // only hosts and peers linked with them are visited: visiting all is too slow with 100,000 peers
        let hosts = self.hosts.iter().copied();
        let linked = self.hosts.iter().flat_map(|host| self.peers[*host].links.iter().map(|link| link.other));
        let near: BTreeSet<usize> = hosts.chain(linked).collect();
        for at in near {
            let Some(host) = self.host_of(at) else { continue };
            let linked = self.peers[at].links.iter().map(|link| link.other);
            let heard: Vec<_> = linked.filter(|other| host == at || host == *other).collect();
            for other in heard {
                if self.unheard_since(other, at).is_none() {
                    let id = self.peers[other].id;
                    self.input(at, Input::Heard(id));
                }
            }
        }
    }
}

/// Estimated length of a message on the wire, in bytes. Encoding each message only for its length would dominate the
/// simulation's cost. Messages with statements count as long as a roster of ten peers, envelopes as long as they are
/// and at least that long, others as long as a path.
pub(super) fn size_of_message(message: &Message) -> usize {
    match message {
        Message::Member(MemberMessage::Admit(_))
        | Message::Election(ElectionMessage::Ballot(_) | ElectionMessage::Decided(_))
        | Message::Election(ElectionMessage::Lacking { .. }) => 2_000,
        Message::Member(MemberMessage::Roster(_)) => 800,
        Message::Route(RouteMessage::Relay(relay)) => relay.sealed.len().max(800),
        _ => 150,
    }
}
