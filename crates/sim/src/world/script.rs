//! What tests and scenarios do to a world, and ask of it.

use std::collections::BTreeSet;

use plenary_proto::bounded::List;
use plenary_proto::message::{Consent, Delivery};
use plenary_proto::{BrainSnapshot, Command, Event, Input, PeerId, RoomState, Time};

use super::links::LINK_DEAD_US;
use super::{Happening, World};
use crate::deviation::Deviation;
use crate::units::Share;

impl World {
    /// The peer that was planned at that place, once it is there.
    pub fn planned(&self, planned: usize) -> PeerId {
        self.keys[planned].id()
    }

    /// The place of a peer in the plan.
    pub(crate) fn planned_at(&self, id: &PeerId) -> Option<usize> {
        self.directory.find(id).map(|at| self.peers[at].planned)
    }

    /// Whether a peer would mix.
    pub(crate) fn consents(&self, id: PeerId) -> bool {
        self.plan.peers[self.peers[self.at(id)].planned].consent != Consent::Never
    }

    /// The peer that was planned at that place, if it is there yet.
    pub(crate) fn try_planned(&self, planned: usize) -> Option<PeerId> {
        self.peers.iter().find(|peer| peer.planned == planned).map(|peer| peer.id)
    }

    /// Where a peer is among those that have joined.
    ///
    /// # Panics
    /// When it hasn't joined.
    pub(crate) fn at(&self, id: PeerId) -> usize {
        self.directory.find(&id).expect("a script names peers that have joined")
    }

    /// From now on nothing comes from that peer, and nothing gets to it.
    pub fn kill(&mut self, id: PeerId) {
        let at = self.at(id);
        if self.peers[at].is_there() {
            self.peers[at].alive = false;
            self.changed.insert(at);
            self.falls_quiet(at);
            self.links_die(at, None);
        }
    }

    /// The peer's machine stands still for so many microseconds: nothing is sent, and what comes waits. Longer
    /// than links stand without a sign of life, it has lost them all when it comes back.
    pub fn stall(&mut self, id: PeerId, us: u64) {
        self.stall_at(self.at(id), us);
    }

    fn stall_at(&mut self, at: usize, us: u64) {
        if self.stand_still(at, us) {
            self.end_links(at, us, self.now + us);
        }
    }

    /// The peer's machine sleeps for so many microseconds: nothing is sent, datagrams that come are lost, what is
    /// said on links that survive is said again when it wakes, and its clock doesn't know of the time. What links
    /// the others have given up it finds out by their silence once it is awake.
    pub fn sleep(&mut self, id: PeerId, us: u64) {
        let at = self.at(id);
        if self.stand_still(at, us) {
            self.peers[at].asleep_since = Some(self.now);
            self.end_links(at, us, self.now + us + LINK_DEAD_US);
        }
    }

    /// Stands still; false if it does for as long already.
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

    /// Whoever was quiet for so long has lost its links; it finds that out at `noticed`.
    fn end_links(&mut self, at: usize, quiet_us: u64, noticed: Time) {
        if quiet_us >= LINK_DEAD_US {
            self.links_die(at, Some(noticed));
        }
    }

    /// A planned stall.
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
            // the rendezvous has given it up, too
            self.input(at, Input::SignalUp(false));
            self.input(at, Input::SignalUp(true));
        }
    }

    /// The peer leaves politely.
    pub fn leave(&mut self, id: PeerId) {
        let at = self.at(id);
        self.input(at, Input::Command(Command::Leave));
    }

    /// A planned departure.
    pub(super) fn leaves(&mut self, at: usize) {
        let Some(leave) = self.plan.peers[self.peers[at].planned].leaves else { return };
        let id = self.peers[at].id;
        if leave.polite { self.leave(id) } else { self.kill(id) }
    }

    /// A peer has left: its body closes its links.
    pub(super) fn left(&mut self, at: usize) {
        self.peers[at].left = true;
        for link in self.peers[at].links.clone() {
            // what it said last is on its way, and must get there first
            let attempt = self.attempt(at, link.other, link.kind);
            let delay = 2 * self.net.one_way_us(at, link.other);
            let down = Happening::LinkDown { at: link.other, other: at, kind: link.kind, attempt };
            self.push(self.now + delay, down);
        }
        self.falls_quiet(at);
    }

    /// A peer on stage tells the room something.
    pub fn publish(&mut self, id: PeerId, delivery: Delivery, bytes: &[u8]) {
        let bytes = List::truncated(bytes.iter().copied());
        self.command(id, Command::Publish(delivery, bytes));
    }

    /// Something is asked of a peer by its application.
    pub fn command(&mut self, id: PeerId, command: Command) {
        let at = self.at(id);
        self.input(at, Input::Command(command));
    }

    /// The rendezvous dies.
    pub fn kill_rendezvous(&mut self) {
        self.set_rendezvous(false);
    }

    /// The rendezvous is back.
    pub fn revive_rendezvous(&mut self) {
        self.set_rendezvous(true);
    }

    fn set_rendezvous(&mut self, up: bool) {
        self.signal_up = up;
        for at in 0..self.peers.len() {
            self.input(at, Input::SignalUp(up));
        }
    }

    /// The peer's uplink carries so many bits per second from now on.
    pub fn set_uplink(&mut self, id: PeerId, bps: u64) {
        let at = self.at(id);
        self.net.set_uplink(at, bps);
    }

    /// The mix has suffered so many times at that peer.
    pub fn suffer(&mut self, id: PeerId, count: u16) {
        let at = self.at(id);
        self.input(at, Input::Trouble(count));
    }

    /// The peer's mixer makes less than what is asked of it.
    pub fn overload(&mut self, id: PeerId) {
        let at = self.at(id);
        self.input(at, Input::Overloaded);
    }

    /// From now on these peers and all others don't reach each other.
    pub fn partition(&mut self, side: &[PeerId]) {
        let side = side.iter().map(|peer| self.at(*peer)).collect();
        self.net.partition(&[side]);
        self.parted_at = self.now;
        self.say_the_unsaid();
        self.links_part();
        self.flows_part();
    }

    /// From that time on that share of all packets is lost alone, up to what is planned for later: to be said ahead,
    /// for when a lost message comes again is decided when it is first sent.
    pub fn lose_from(&mut self, at: Time, share: Share) {
        self.net.plan_loss_ppm(at, share.0);
    }

    /// Everyone reaches everyone again.
    pub fn heal(&mut self) {
        self.net.heal();
        self.say_the_unsaid();
        self.flows_part();
    }

    /// That peer doesn't keep to the protocol any more; a later deviation takes the place of an earlier one.
    pub fn deviate(&mut self, id: PeerId, deviation: Box<dyn Deviation>) {
        let at = self.at(id);
        self.deviations.insert(at, deviation);
    }

    /// The same, from the moment on at which the peer that was planned at that place joins.
    pub fn deviate_from_the_start(&mut self, planned: usize, deviation: Box<dyn Deviation>) {
        self.deviations_planned.insert(planned, deviation);
    }

    /// Whether a peer doesn't keep to the protocol.
    pub(crate) fn deviates(&self, id: PeerId) -> bool {
        self.deviations.contains_key(&self.at(id))
    }

    /// Who has issued a ballot last: the opener of the latest election.
    pub fn ballot_by(&self) -> Option<PeerId> {
        self.ballot_by
    }

    /// Since when nothing that `from` sends has got to `to`; `None` when it gets there.
    pub(crate) fn unheard_since(&self, from: usize, to: usize) -> Option<Time> {
        match self.peers[from].quiet_since {
            Some(since) => Some(since + self.net.one_way_us(from, to)),
            None if self.net.are_parted(from, to) => Some(self.parted_at + self.net.one_way_us(from, to)),
            None => None,
        }
    }

    /// Who mixes, by the host's word.
    pub fn mixers(&self) -> Vec<PeerId> {
        self.snapshot(self.planned(0)).mixers
    }

    /// Whom a speaker sends its stream to.
    pub fn sending_to(&self, id: PeerId) -> &[PeerId] {
        &self.peers[self.at(id)].sending_to
    }

    /// At a mixer: who gets which speaker's own stream.
    pub fn solos(&self, id: PeerId) -> &[(PeerId, PeerId)] {
        &self.peers[self.at(id)].solos
    }

    /// A peer's own word on where it is.
    pub fn snapshot(&self, id: PeerId) -> BrainSnapshot {
        self.peers[self.at(id)].brain.snapshot()
    }

    /// Who feeds whom, by their places in the plan, each parent's children in the order in which it serves them.
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

    /// A peer's brain, to be asked.
    pub fn brain(&self, id: PeerId) -> &RoomState {
        &self.peers[self.at(id)].brain
    }

    /// What a peer has told since it had told so much, and how much that is by now.
    pub(crate) fn events_since(&self, id: PeerId, told: usize) -> (&[(Time, Event)], usize) {
        self.peers[self.at(id)].events_since(told)
    }

    /// Events of a peer, with their times.
    pub fn events(&self, id: PeerId) -> &[(Time, Event)] {
        self.events_since(id, 0).0
    }

    /// Everyone who is there, lives and hasn't left.
    pub fn living(&self) -> impl Iterator<Item = PeerId> {
        self.peers.iter().filter(|peer| peer.is_there()).map(|peer| peer.id)
    }

    /// Living peers that no chain of links joins with most of the stage, while there is no rendezvous: whoever
    /// lost all its links then can't be found, and finds nobody.
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
        // of equal ones the first: the host's, if it lives
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
