//! Simulated peers as shells: what comes on links and by the rendezvous passes the correspondence of the real one.
//!
//! Envelopes are neither encrypted nor signed, and all peers share one memory of verified signatures. The proofs of
//! identity on a new link come with it, and take no time of their own.

use plenary_body::{Body, Correspondence, In, MaySay, Out, Outs, Shell as _, Told};
use plenary_proto::link_layout::Channel;
use plenary_proto::message::{
    Fingerprints, Heartbeat, LinkKind, LinkMessage, LinkProof, Message, Pieces, loose_to_bytes,
};
use plenary_proto::packet::LinkId;
use plenary_proto::rendezvous::Address as SignalAddress;
use plenary_proto::{Address, Input, PeerId};

use super::World;
use crate::shell::clock_us;

/// A peer of a world, as the shell of its body.
pub(super) struct At<'a>(pub(super) &'a mut World, pub(super) usize);

impl plenary_body::Shell for At<'_> {
    fn with_body<T: Default>(&mut self, act: impl FnOnce(&mut Body, u64, &mut Outs) -> T) -> T {
        let mut result = T::default();
        self.0.with_body(self.1, |body, now_us, outs| result = act(body, now_us, outs));
        result
    }

    fn correspond<T: Default>(&mut self, act: impl FnOnce(&mut Correspondence, u64, MaySay<'_>) -> T) -> T {
        let At(World { peers, verifier, now, .. }, at) = self;
        let now_us = clock_us(peers[*at].clock(*now));
        let Some(shell) = peers[*at].shell_mut() else { return T::default() };
        let (brain, correspondence) = (shell.body.brain(), &mut shell.correspondence);
        correspondence.with_memory(verifier, |correspondence| {
            act(correspondence, now_us, &|from, via, message| brain.may_say(from, via, message))
        })
    }

    fn peer_of(&self, link: LinkId) -> Option<PeerId> {
        self.0.peers[self.1].shell()?.body.link_of(link).map(|(peer, _)| peer)
    }

    fn send(&mut self, out: Out) {
        match out {
            // it comes with the link
            Out::Control { message, .. } if matches!(*message, Message::Link(LinkMessage::LinkProof(_))) => {}
            out => self.0.send_out(self.1, out),
        }
    }

    fn post(&mut self, to: SignalAddress, envelope: Vec<u8>) {
        let to = match to {
            SignalAddress::Host => Address::Host,
            SignalAddress::Peer(peer) => Address::Peer(peer),
        };
        if let Ok(message) = Message::from_bytes(&envelope) {
            self.0.signal(self.1, to, message);
        }
    }

    /// Simulated peers have no application that listens.
    fn tell(&mut self, _: Told) {}

    /// Messages wait while a machine has stalled.
    fn input(&mut self, input: In) {
        let At(world, at) = self;
        match input {
            In::Message { from, via, message } => world.input(*at, Input::Message { from, via, message }),
            In::Misbehaved(from) => world.input(*at, Input::Misbehaved(from)),
            input => world.with_body(*at, |body, now_us, outs| body.handle(now_us, input, outs)),
        }
    }
}

impl World {
    /// Delivers a message of a link's control channel. Of a peer that was killed meanwhile only the arrival counts.
    pub(super) fn control_arrived(&mut self, to: usize, from: usize, message: &Message) {
        let Some(link) = self.peers[to].link_id(from, LinkKind::Peer) else { return };
        let is_whole = self.both_alive(to, from);
        for piece in Pieces::of(&message.to_bytes()) {
            if is_whole {
                At(self, to).received(link, Channel::Control, &piece);
            } else {
                self.with_body(to, |body, now_us, outs| {
                    body.received(now_us, link, Channel::Control, &piece, outs);
                });
            }
        }
    }

    /// Delivers loose data.
    pub(super) fn loosely_said(&mut self, to: usize, from: usize, message: &Message) {
        if let Some(link) = self.peers[to].link_id(from, LinkKind::Peer) {
            At(self, to).received(link, Channel::Heartbeat, &loose_to_bytes(message));
        }
    }

    /// Delivers a heartbeat.
    pub(crate) fn beat(&mut self, to: usize, from: usize, heartbeat: Heartbeat) {
        let Some(link) = self.peers[to].link_id(from, LinkKind::Peer) else { return };
        if let Heartbeat::Pong { sent_us, .. } = heartbeat {
            let now_us = clock_us(self.peers[to].clock(self.now));
            if let Some(leg) = self.peers[to].shell_mut().and_then(|shell| shell.legs.get_mut(&link)) {
                leg.stats.rtt_us = now_us.checked_sub(sent_us).or(leg.stats.rtt_us);
            }
        }
        At(self, to).received(link, Channel::Heartbeat, &heartbeat.to_bytes());
    }

    /// Delivers a keyframe request.
    pub(super) fn picture_wanted(&mut self, to: usize, from: usize, kind: LinkKind, slot: u8) {
        if let Some(link) = self.peers[to].link_id(from, kind) {
            self.with_body(to, |body, now_us, outs| body.keyframe_wanted(now_us, link, slot, outs));
        }
    }

    /// Delivers an envelope.
    pub(super) fn envelope_came(&mut self, to: usize, from: usize, message: &Message) {
        let from = self.peers[from].id;
        At(self, to).delivered(from, &message.to_bytes());
    }

    /// Tells a body that a link is up, or has ended.
    pub(super) fn tell_link(&mut self, at: usize, link: LinkId, up: bool) {
        if !up {
            if let Some(shell) = self.peers[at].shell_mut() {
                shell.legs.remove(&link);
            }
            return At(self, at).disconnected(link);
        }
        self.spend_on_link(at);
        let Some((other, _)) = self.other_end(at, link) else { return };
        let [own, others] = [at, other].map(|end| [end as u8; 32]);
        At(self, at).connected(link, Fingerprints { own, other: others });
        let (keys, me) = (self.peers[other].brain().keys(), self.peers[at].id);
        let proof = LinkProof::sign(keys, &self.room, &me, &Fingerprints { own: others, other: own });
        let piece = [&[0], &Message::Link(LinkMessage::LinkProof(proof)).to_bytes()[..]].concat();
        At(self, at).received(link, Channel::Control, &piece);
    }
}

#[cfg(test)]
mod tests {
    use plenary_proto::Time;
    use plenary_proto::time::SECOND;
    use plenary_testkit::first_messages::{FirstMessage, Then, first_messages};

    use super::*;
    use crate::scenario::Scenario;

    /// Two speakers of a room in bodies, linked with each other.
    fn room() -> World {
        let groups = "title = ''\nmedia = 'packet'\nstorm = '4s'\ncalm = '6s'\n\
                      [[peers]]\nkind = 'speaker'\ncount = 2\n";
        let mut world = World::new(Scenario::read("two", groups).unwrap().plan(1), 1);
        world.run_until(Time(4 * SECOND));
        world
    }

    #[test]
    fn a_simulated_body_takes_first_messages_on_a_link_as_natives_do() {
        let (at, other) = (0, 1);
        let own = Fingerprints { own: [1; 32], other: [2; 32] };
        let others = Fingerprints { own: own.other, other: own.own };
        let world = room();
        let link = world.peers[at].link_id(other, LinkKind::Peer).unwrap();
        let (keys, me) = (world.peers[other].brain().keys().clone(), world.peers[at].id);
        for FirstMessage { name, channel, bytes, then } in first_messages(&keys, &world.room, &me, &others) {
            let mut world = room();
            world.peers[at].shell_mut().unwrap().correspondence.ended(link);
            At(&mut world, at).connected(link, own);
            At(&mut world, at).received(link, channel, &bytes);
            let is_up = world.peers[at].shell().unwrap().correspondence.is_proven(link);
            let became = match world.link_is_up(at, other) {
                false => Then::Closed,
                true if is_up => Then::Up,
                true => Then::Waits,
            };
            assert_eq!(became, then, "{name}");
        }
    }
}
