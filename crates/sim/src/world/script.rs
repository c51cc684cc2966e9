//! Interface of tests and scenarios to a world: faults, commands, and queries.

use std::collections::BTreeSet;

use plenary_proto::message::{Consent, Delivery};
use plenary_proto::seal::Keypair;
use plenary_proto::{Command, Event, Input, PeerId, RoomState, Snapshot, Time, VoiceRoutes};

use super::links::LINK_DEAD_US;
use super::{Happening, World, shared};
use crate::deviation::Deviation;
use crate::peer::Peer;
use crate::plan::PeerPlan;
use crate::shell::SharedDeviation;
use crate::units::Share;

impl World {
    /// Id of the peer at this index in the plan, whether it has joined or not.
    pub fn planned(&self, planned: usize) -> PeerId {
        self.keys[planned].id()
    }

    /// Keys of the peer at this index in the plan, for an attacker that owns it.
    pub(crate) fn keys_of(&self, planned: usize) -> Keypair {
        self.keys[planned].clone()
    }

    /// Id of the room.
    pub(crate) fn room(&self) -> plenary_proto::RoomId {
        self.room
    }

    /// Index of a peer in the plan; `None` if it hasn't joined.
    pub(crate) fn planned_at(&self, id: &PeerId) -> Option<usize> {
        self.directory.find(id).map(|at| self.peers[at].planned)
    }

    /// Whether a peer consents to mix.
    pub(crate) fn consents(&self, id: PeerId) -> bool {
        self.plan.peers[self.peers[self.at(id)].planned].consent != Consent::Never
    }

    /// Id of the peer at this index in the plan, if it has joined.
    pub(crate) fn try_planned(&self, planned: usize) -> Option<PeerId> {
        self.peers.iter().find(|peer| peer.planned == planned).map(|peer| peer.id)
    }

    /// Index of a peer among those that have joined.
    ///
    /// # Panics
    /// If the peer hasn't joined.
    pub(crate) fn at(&self, id: PeerId) -> usize {
        self.directory.find(&id).expect("a script names peers that have joined")
    }

    /// Adds a peer to the plan; it joins at its time, or now if that has passed.
    pub(crate) fn bring(&mut self, peer: PeerPlan) {
        let planned = self.plan.peers.len();
        let mut bytes = [0; 32];
        bytes.chunks_exact_mut(8).for_each(|chunk| chunk.copy_from_slice(&self.dice.next().to_le_bytes()));
        self.keys.push(Keypair::from_seed(&bytes));
        self.plan.peers.push(peer);
        self.push(peer.joins_at.max(self.now), Happening::Join(planned));
    }

    /// Crashes a peer: from now on it neither sends nor receives anything.
    pub fn kill(&mut self, id: PeerId) {
        let at = self.at(id);
        if self.peers[at].is_there() {
            self.peers[at].alive = false;
            self.changed.insert(at);
            self.falls_quiet(at);
            self.links_die(at, None);
        }
    }

    /// Stalls a peer's machine for `us` microseconds: it sends nothing, and what arrives waits. If the stall
    /// is longer than links survive without a sign of life, the peer has lost all of them when it resumes.
    pub fn stall(&mut self, id: PeerId, us: u64) {
        self.stall_at(self.at(id), us);
    }

    fn stall_at(&mut self, at: usize, us: u64) {
        if self.stand_still(at, us) {
            self.end_links(at, us, self.now + us);
        }
    }

    /// Puts a peer's machine to sleep for `us` microseconds: it sends nothing, arriving datagrams are lost,
    /// messages on surviving links are sent again when it wakes, and its clock doesn't count the time. The
    /// peer finds out by silence, once it is awake, which links the other ends have closed.
    pub fn sleep(&mut self, id: PeerId, us: u64) {
        let at = self.at(id);
        if self.stand_still(at, us) {
            self.peers[at].asleep_since = Some(self.now);
            self.end_links(at, us, self.now + us + LINK_DEAD_US);
        }
    }

    /// Stalls a peer's machine; returns false if it is dead, or stalled for at least as long already.
    fn stand_still(&mut self, at: usize, us: u64) -> bool {
        let until = self.now + us;
        if !self.peers[at].is_there() || self.peers[at].stalled_until >= until {
            return false;
        }
        if self.peers[at].stalled_until <= self.now {
            self.peers[at].stalled_from = self.now;
        }
        self.peers[at].stalled_until = until;
        self.falls_quiet(at);
        self.push(until, Happening::Awakes(at));
        true
    }

    /// Schedules the loss of a silent peer's links if the silence of `quiet_us` is long enough; the peer
    /// notices at `noticed`.
    fn end_links(&mut self, at: usize, quiet_us: u64, noticed: Time) {
        if quiet_us >= LINK_DEAD_US {
            self.links_die(at, Some(noticed));
        }
    }

    /// Begins a planned stall.
    pub(super) fn stalls(&mut self, at: usize) {
        if let Some(stalls) =
            self.plan.peers[self.peers[at].planned].stalls.filter(|_| self.peers[at].is_there())
        {
            self.stall_at(at, stalls.us);
            self.await_stall(at);
        }
    }

    pub(super) fn awakes(&mut self, at: usize) {
        let peer = &mut self.peers[at];
        if !peer.alive || peer.stalled_until > self.now {
            return;
        }
        let slept_us = peer.asleep_since.take().map_or(0, |since| self.now.since(since));
        peer.slept_us += slept_us;
        self.resumes(at);
        if slept_us >= LINK_DEAD_US && self.signal_up {
            // the rendezvous has closed its connection, too
            self.input(at, Input::SignalUp(false));
            self.input(at, Input::SignalUp(true));
        }
    }

    /// Makes a peer leave politely.
    pub fn leave(&mut self, id: PeerId) {
        let at = self.at(id);
        self.input(at, Input::Command(Command::Leave));
    }

    /// Handles a planned departure, polite or as a crash.
    pub(super) fn leaves(&mut self, at: usize) {
        let Some(leave) = self.plan.peers[self.peers[at].planned].leaves else { return };
        let id = self.peers[at].id;
        if leave.polite { self.leave(id) } else { self.kill(id) }
    }

    /// Closes the links of a peer that has left.
    pub(super) fn left(&mut self, at: usize) {
        self.peers[at].left = true;
        for link in self.peers[at].links.clone() {
            // its last messages are in flight, and must arrive first
            let attempt = self.attempt(at, link.other, link.kind);
            let delay = 2 * self.net.one_way_us(at, link.other);
            let down = Happening::LinkDown { at: link.other, other: at, kind: link.kind, attempt };
            self.push(self.now + delay, down);
        }
        self.falls_quiet(at);
    }

    /// Publishes application data from a peer on stage.
    pub fn publish(&mut self, id: PeerId, delivery: Delivery, bytes: &[u8]) {
        self.command(id, Command::Tell(delivery, bytes.to_vec()));
    }

    /// Passes a command from the application to a peer's brain.
    pub fn command(&mut self, id: PeerId, command: Command) {
        let at = self.at(id);
        self.input(at, Input::Command(command));
    }

    /// Stops the rendezvous.
    pub fn kill_rendezvous(&mut self) {
        self.set_rendezvous(false);
    }

    /// Starts the rendezvous again.
    pub fn revive_rendezvous(&mut self) {
        self.set_rendezvous(true);
    }

    fn set_rendezvous(&mut self, up: bool) {
        self.signal_up = up;
        for at in 0..self.peers.len() {
            self.input(at, Input::SignalUp(up));
        }
    }

    /// Changes the rate of a peer's uplink, bits per second.
    pub fn set_uplink(&mut self, id: PeerId, bps: u64) {
        let at = self.at(id);
        self.net.set_uplink(at, bps);
    }

    /// Reports `count` degradations of the program at a peer to its brain.
    pub fn suffer(&mut self, id: PeerId, count: u16) {
        let at = self.at(id);
        self.input(at, Input::Trouble(count));
    }

    /// Reports to a peer's brain that the program is heard there, and not seen.
    pub fn lack_pictures(&mut self, id: PeerId) {
        let at = self.at(id);
        self.input(at, Input::Pictureless);
    }

    /// Reports to a peer's brain that its codecs fail and nothing is left to try. A headless mixer becomes a
    /// viewer.
    pub fn lose_codecs(&mut self, id: PeerId) {
        let at = self.at(id);
        self.peers[at].views |= !self.peers[at].speaks;
        self.input(at, Input::CannotMix);
    }

    /// Reports to a peer's brain that its mixer makes less of the program than required.
    pub fn overload(&mut self, id: PeerId) {
        let at = self.at(id);
        self.input(at, Input::Overloaded);
    }

    /// Partitions the network: from now on these peers and all others can't reach each other.
    pub fn partition(&mut self, side: &[PeerId]) {
        let side = side.iter().map(|peer| self.at(*peer)).collect();
        self.net.partition(&[side]);
        self.parted_at = self.now;
        self.say_the_unsaid();
        self.links_part();
        self.flows_part();
    }

    /// Sets the rate of independent packet loss from time `at` on, up to the next planned change. It should
    /// be set ahead, since the time of a lost message's retransmission is decided when the message is first
    /// sent.
    pub fn lose_from(&mut self, at: Time, share: Share) {
        self.net.plan_loss_ppm(at, share.0);
    }

    /// Ends the partition.
    pub fn heal(&mut self) {
        self.net.heal();
        self.say_the_unsaid();
        self.flows_part();
    }

    /// Makes a peer deviate from the protocol from now on; replaces an earlier deviation.
    pub fn deviate(&mut self, id: PeerId, deviation: Box<dyn Deviation>) {
        let at = self.at(id);
        self.deviate_at(at, shared(deviation));
    }

    /// Makes a peer deviate from the moment at which it joins, by index in the plan.
    pub fn deviate_from_the_start(&mut self, planned: usize, deviation: Box<dyn Deviation>) {
        self.deviations_planned.insert(planned, shared(deviation));
    }

    pub(super) fn deviate_at(&mut self, at: usize, deviation: SharedDeviation) {
        if let Some(shell) = self.peers[at].shell() {
            shell.hand.get().deviation = Some(deviation.clone());
        }
        self.deviations.insert(at, deviation);
    }

    /// Whether a peer deviates from the protocol.
    pub(crate) fn deviates(&self, id: PeerId) -> bool {
        self.deviations.contains_key(&self.at(id))
    }

    /// The peer that issued the latest ballot: the opener of the latest election.
    pub fn ballot_by(&self) -> Option<PeerId> {
        self.ballot_by
    }

    /// Since when nothing from `from` has reached `to`; `None` if packets get through.
    pub(crate) fn unheard_since(&self, from: usize, to: usize) -> Option<Time> {
        match self.peers[from].quiet_since {
            Some(since) => Some(since + self.net.one_way_us(from, to)),
            None if self.net.are_parted(from, to) => Some(self.parted_at + self.net.one_way_us(from, to)),
            None => None,
        }
    }

    /// The mixers in force, according to the first host.
    pub fn mixers(&self) -> Vec<PeerId> {
        self.snapshot(self.planned(0)).mixers
    }

    /// Mixers, or in a mesh peers, that a speaker sends its stream to.
    pub fn sending_to(&self, id: PeerId) -> &[PeerId] {
        &self.peers[self.at(id)].sending_to
    }

    /// Returns where each speaker's sound goes apart at a peer.
    pub fn voices(&self, id: PeerId) -> &VoiceRoutes {
        &self.peers[self.at(id)].voices
    }

    /// Pairs of receiver and speaker: the single speakers' own streams that a mixer forwards.
    pub fn solos(&self, id: PeerId) -> &[(PeerId, PeerId)] {
        &self.peers[self.at(id)].solos
    }

    /// Snapshot of a peer's brain.
    pub fn snapshot(&self, id: PeerId) -> Snapshot {
        self.peers[self.at(id)].brain().snapshot()
    }

    /// Living peers whose tables hold an established link with this peer, and the times at which these links came up.
    pub fn linked_with(&self, id: PeerId) -> Vec<(PeerId, Time)> {
        let other = self.at(id);
        let links =
            |peer: &'_ Peer| peer.links.iter().find(|link| link.other == other).map(|link| link.since);
        let there = self.peers.iter().filter(|peer| peer.is_there());
        there.filter_map(|peer| Some((peer.id, links(peer)?))).collect()
    }

    /// Bytes of envelopes that each peer has forwarded or sent to another one on their link, in rooms where any peer
    /// deviates.
    pub fn carried(&self) -> impl Iterator<Item = (PeerId, PeerId, u64)> {
        let ids = |at: usize| self.peers[at].id;
        self.carried.iter().map(move |((from, to), bytes)| (ids(*from), ids(*to), *bytes))
    }

    /// Number of pictures of the program that were shown at a peer within a second of their capture.
    pub fn shown_in_time(&self, id: PeerId) -> u64 {
        self.peers[self.at(id)].arrivals.within_1s
    }

    /// Living peers that feed this one.
    pub fn feeders_of(&self, id: PeerId) -> Vec<PeerId> {
        let child = self.at(id);
        let feeds = |peer: &&Peer| peer.served.iter().any(|served| served.media && served.child == child);
        self.peers.iter().filter(|peer| peer.is_there()).filter(feeds).map(|peer| peer.id).collect()
    }

    /// When a picture of the program was last shown at a peer.
    pub fn shown_at(&self, id: PeerId) -> Option<Time> {
        self.peers[self.at(id)].arrivals.last()
    }

    /// All (parent, child) pairs by index in the plan; each parent's children in the order in which it serves
    /// them.
    pub(crate) fn edges(&self) -> Vec<(usize, usize)> {
        let mut edges = Vec::new();
        for (at, peer) in self.peers.iter().enumerate().filter(|(_, peer)| peer.is_there()) {
            let fed = peer
                .served
                .iter()
                .filter(|served| served.media && self.peers[served.child].parent == Some(at));
            edges.extend(fed.map(|served| (peer.planned, self.peers[served.child].planned)));
        }
        edges
    }

    /// A peer's brain.
    pub fn brain(&self, id: PeerId) -> &RoomState {
        self.peers[self.at(id)].brain()
    }

    /// Events of a peer after its first `told` events, and the number of events so far.
    pub(crate) fn events_since(&self, id: PeerId, told: usize) -> (&[(Time, Event)], usize) {
        self.peers[self.at(id)].events_since(told)
    }

    /// Events of a peer, with their times.
    pub fn events(&self, id: PeerId) -> &[(Time, Event)] {
        self.events_since(id, 0).0
    }

    /// All peers that are alive and haven't left.
    pub fn living(&self) -> impl Iterator<Item = PeerId> {
        self.peers.iter().filter(|peer| peer.is_there()).map(|peer| peer.id)
    }

    /// Living peers that no chain of links connects with the main part of the room while there is no
    /// rendezvous. A peer that lost all its links then can neither be found nor find others.
    pub(crate) fn stranded(&self) -> BTreeSet<PeerId> {
        let living = || (0..self.peers.len()).filter(|at| self.peers[*at].is_there());
        let mut groups: Vec<BTreeSet<usize>> = Vec::new();
        for start in living().filter(|_| !self.signal_up) {
            if groups.iter().any(|group| group.contains(&start)) {
                continue;
            }
            let (mut group, mut new) = (BTreeSet::from([start]), vec![start]);
            while let Some(at) = new.pop() {
                let linked = self.peers[at].links.iter().map(|link| link.other);
                let there =
                    linked.filter(|other| self.peers[*other].is_there() && self.link_is_up(*other, at));
                new.extend(there.filter(|other| group.insert(*other)));
            }
            groups.push(group);
        }
        // on a tie the first group: the host's, if the host lives
        let size = |group: &BTreeSet<usize>| {
            (group.iter().filter(|at| !self.peers[**at].views).count(), group.len())
        };
        let most = groups.iter().map(size).max();
        let room = groups.iter().position(|group| Some(size(group)) == most);
        let others = groups.iter().enumerate().filter(|(at, _)| Some(*at) != room);
        others.flat_map(|(_, group)| group).map(|at| self.peers[*at].id).collect()
    }

    /// Living peers that watch.
    pub fn viewers(&self) -> Vec<PeerId> {
        self.peers.iter().filter(|peer| peer.is_there() && peer.views).map(|peer| peer.id).collect()
    }
}
