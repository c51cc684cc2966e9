//! Tunnels: links that a third peer carries where the NATs of both ends let no path through.

use std::collections::BTreeMap;

use plenary_body::In;
use plenary_proto::message::LinkKind;
use plenary_proto::packet::LinkId;
use plenary_proto::time::{MS, SECOND};
use plenary_proto::{Input, PeerId, TunnelCommand};

use super::links::LINK_DEAD_US;
use super::{Happening, World};

/// Time without a path after which an end asks for carriers (`crates/rtc/src/relays.rs`).
pub(super) const PATH_WAIT_US: u64 = 500 * MS;
/// Time that ICE waits for a better pair than one of relays (`crates/rtc/src/agent.rs`).
const RELAY_WAIT_US: u64 = SECOND;
/// Silence after which an end goes over to its other carrier (`crates/rtc/src/tunnels/ways.rs`).
const SILENCE_US: u64 = 350 * MS;

/// A tunnel: carrier, and its number there.
type Tunnel = (usize, u16);

/// What carriers and ends have opened.
#[derive(Debug, Default)]
pub(super) struct Tunnels {
    carried: BTreeMap<Tunnel, [usize; 2]>,
    /// By end, other end and kind of the link.
    opened: BTreeMap<(usize, usize, LinkKind), Vec<Tunnel>>,
}

impl World {
    /// Returns the number of links that a peer carries for others.
    pub fn carries(&self, id: PeerId) -> usize {
        let at = self.at(id);
        self.tunnels.carried.keys().filter(|(carrier, _)| *carrier == at).count()
    }

    /// An end has found no path for [`PATH_WAIT_US`].
    pub(super) fn path_wanted(&mut self, at: usize, other: usize, kind: LinkKind, attempt: u32) {
        if self.attempt(at, other, kind) == attempt {
            self.tell_end(at, other, kind, In::PathWanted, Input::PathWanted);
        }
    }

    fn tell_end(
        &mut self,
        at: usize,
        other: usize,
        kind: LinkKind,
        of_body: fn(LinkId) -> In,
        of_brain: fn(PeerId, LinkKind) -> Input,
    ) {
        let peer = self.peers[other].id;
        if !self.has_bodies() {
            self.input(at, of_brain(peer, kind));
        } else if let Some(link) = self.newest_link(at, other, kind) {
            self.with_body(at, |body, now_us, outs| body.handle(now_us, of_body(link), outs));
        }
    }

    /// Carries out what a body says about tunnels.
    pub(super) fn tunnel_of_links(&mut self, at: usize, command: TunnelCommand<LinkId, LinkId>) {
        let end = |link| self.other_end(at, link).map(|(other, kind)| (self.peers[other].id, kind));
        let carrier = |link| end(link).map(|(peer, _)| peer);
        if let Some(command) = command.renamed(end, carrier) {
            self.tunnel(at, command);
        }
    }

    /// Carries out what a brain says about tunnels. The simulated rendezvous carries none.
    pub(super) fn tunnel(&mut self, at: usize, command: TunnelCommand<(PeerId, LinkKind), PeerId>) {
        let find = |peer: &PeerId| self.directory.find(peer);
        match command {
            TunnelCommand::Carry { channel, between } => {
                if let [Some(one), Some(other)] = between.map(|end| find(&end)) {
                    self.tunnels.carried.insert((at, channel), [one, other]);
                }
            }
            TunnelCommand::Uncarry { channel } => {
                if let Some([one, other]) = self.tunnels.carried.remove(&(at, channel)) {
                    self.retake(one, other);
                }
            }
            TunnelCommand::Open { link: (peer, kind), carrier, channel } => {
                let (Some(other), Some(carrier)) = (find(&peer), find(&carrier)) else { return };
                let opened = self.tunnels.opened.entry((at, other, kind)).or_default();
                opened.retain(|(by, _)| *by != carrier);
                opened.push((carrier, channel));
                if self.peers[at].is_up(other, kind) {
                    self.retake(at, other);
                } else if !self.ways(at, other, kind).is_empty() {
                    let (a, b, attempt) = (at, other, self.attempt(at, other, kind));
                    self.push(self.now + RELAY_WAIT_US, Happening::Carried { a, b, kind, attempt });
                }
            }
            TunnelCommand::Shut { link: (peer, kind), carrier } => {
                let (Some(other), Some(carrier)) = (find(&peer), find(&carrier)) else { return };
                if let Some(opened) = self.tunnels.opened.get_mut(&(at, other, kind)) {
                    opened.retain(|(by, _)| *by != carrier);
                    self.retake(at, other);
                }
            }
            TunnelCommand::OpenByRendezvous { .. } => {}
        }
    }

    /// The carriers by which two ends reach each other.
    fn ways(&self, a: usize, b: usize, kind: LinkKind) -> Vec<usize> {
        let opened = |at, other| self.tunnels.opened.get(&(at, other, kind)).map_or(&[][..], Vec::as_slice);
        let works = |tunnel: &&Tunnel| {
            let (carrier, _) = **tunnel;
            let carried = self.tunnels.carried.get(tunnel);
            opened(b, a).contains(tunnel)
                && carried.is_some_and(|ends| ends.contains(&a) && ends.contains(&b))
                && self.peers[carrier].is_there()
                && [a, b].iter().all(|end| {
                    self.link_is_up(*end, carrier)
                        && self.link_is_up(carrier, *end)
                        && !self.net.are_parted(*end, carrier)
                })
        };
        opened(a, b).iter().filter(works).map(|(carrier, _)| *carrier).collect()
    }

    /// ICE has selected the tunnel: both ends come up.
    pub(super) fn carried_up(&mut self, a: usize, b: usize, kind: LinkKind, attempt: u32) {
        let Some(way) = self.ways(a, b, kind).first().copied() else { return };
        if self.attempt(a, b, kind) != attempt {
            return;
        }
        self.net.detour(a, b, Some(way));
        for (at, other) in [(a, b), (b, a)] {
            let of_brain = |peer, kind| Input::LinkCarried(peer, kind, true);
            self.tell_end(at, other, kind, |link| In::LinkCarried(link, true), of_brain);
        }
        self.link_up(a, b, kind, attempt);
    }

    /// A carried link goes over to a carrier that works, or is lost without any.
    fn retake(&mut self, a: usize, b: usize) {
        let Some(present) = self.net.detour_of(a, b) else { return };
        let kinds: Vec<LinkKind> = {
            let of_pair = |(at, other, _): &&(usize, usize, LinkKind)| (*at, *other) == (a, b);
            self.tunnels.opened.keys().filter(of_pair).map(|(_, _, kind)| *kind).collect()
        };
        let ways: Vec<usize> = kinds.iter().flat_map(|kind| self.ways(a, b, *kind)).collect();
        if ways.contains(&present) {
            return;
        }
        self.net.block(a, b);
        let Some(way) = ways.first().copied() else {
            for kind in kinds {
                let attempt = self.attempt(a, b, kind);
                for (at, other) in [(a, b), (b, a)] {
                    self.push(self.now + LINK_DEAD_US, Happening::LinkDown { at, other, kind, attempt });
                }
            }
            return;
        };
        self.push(self.now + SILENCE_US, Happening::Turns { a, b, way });
    }

    /// The ends have gone over to another carrier.
    pub(super) fn turns(&mut self, a: usize, b: usize, way: usize) {
        if self.net.detour_of(a, b).is_some() {
            self.net.detour(a, b, Some(way));
            self.retake(a, b);
        }
    }

    /// A peer no longer carries: it has left, or lost a link with an end.
    pub(super) fn carries_no_more(&mut self, carrier: usize) {
        let mut pairs: Vec<[usize; 2]> = Vec::new();
        for ((by, _), ends) in &self.tunnels.carried {
            if *by == carrier && !pairs.contains(ends) {
                pairs.push(*ends);
            }
        }
        pairs.into_iter().for_each(|[one, other]| self.retake(one, other));
    }

    /// A link has ended at one end: its tunnels are void.
    pub(super) fn forget_tunnels(&mut self, at: usize, other: usize, kind: LinkKind) {
        self.tunnels.opened.remove(&(at, other, kind));
        if kind == LinkKind::Peer && !self.link_is_up(other, at) {
            self.net.detour(at, other, None);
        }
    }
}
