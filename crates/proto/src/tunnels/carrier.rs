//! The tunnels that this peer carries for others.

use crate::bounded::Bound;
use crate::bucket::{Buckets, Rate};
use crate::id::PeerId;
use crate::io::{Output, TunnelCommand};
use crate::message::{LinkKind, TunnelMessage};
use crate::ordered::OrderedMap;
use crate::time::Time;
use crate::view::View;

use super::LEASE_US;

/// Maximum number of links that a peer carries, and of those of which no end is on stage. At 4 Mbit/s each way
/// (`TUNNEL_RATE` of the links) all take what a small server has. Guesses.
const CARRIED_MAX: usize = 16;
const CARRIED_OFF_STAGE_MAX: usize = 8;
/// Requests of one peer: one for each other peer of a full stage at once, and as many renewals. A guess.
const REQUESTS: Rate = Rate { per_s: 16, burst: 128 };
/// Number of peers with a request rate of their own: more than a peer has links.
const ASKERS_MAX: usize = 256;

#[derive(Debug)]
struct Tunnel {
    ends: [PeerId; 2],
    kind: LinkKind,
    renewed: Time,
}

impl Tunnel {
    fn is_between(&self, one: &PeerId, other: &PeerId, kind: LinkKind) -> bool {
        self.kind == kind && self.ends.contains(one) && self.ends.contains(other)
    }
}

/// The tunnels by their numbers.
#[derive(Debug)]
pub(super) struct Carrier {
    tunnels: OrderedMap<u16, Tunnel>,
    next: u16,
    asked: Buckets<ASKERS_MAX>,
}

impl Default for Carrier {
    fn default() -> Self {
        Carrier { tunnels: OrderedMap::new(), next: 0, asked: Buckets::new(REQUESTS) }
    }
}

impl Carrier {
    /// A linked peer requests that its link with another one is carried.
    pub(super) fn wanted(&mut self, view: &mut View<'_>, from: PeerId, with: PeerId, kind: LinkKind) {
        if with == from || with == view.me || !self.asked.take(view.now, from, 1) {
            return;
        }
        let known = self.tunnels.iter_mut().find(|(_, tunnel)| tunnel.is_between(&from, &with, kind));
        if let Some((&channel, tunnel)) = known {
            tunnel.renewed = view.now;
            view.out.send(from, TunnelMessage::Opened { with, kind, channel });
            return;
        }
        if !self.may_carry(view, [from, with]) {
            view.out.send(from, TunnelMessage::Closed { with, kind });
            return;
        }
        let channel = self.free_channel();
        self.tunnels.insert(channel, Tunnel { ends: [from, with], kind, renewed: view.now });
        view.out.act(Output::Tunnel(TunnelCommand::Carry { channel, between: [from, with] }));
        for (end, with) in [(from, with), (with, from)] {
            view.out.send(end, TunnelMessage::Opened { with, kind, channel });
        }
    }

    /// A tunnel goes by links of the two ends with this peer that are up, and not carried themselves.
    fn may_carry(&self, view: &View<'_>, ends: [PeerId; 2]) -> bool {
        let is_off_stage = |ends: &[PeerId; 2]| !ends.iter().any(|end| view.stage.contains(end));
        let off_stage = self.tunnels.values().filter(|tunnel| is_off_stage(&tunnel.ends)).count();
        view.config.carries
            && self.tunnels.len() < CARRIED_MAX
            && (!is_off_stage(&ends) || off_stage < CARRIED_OFF_STAGE_MAX)
            && ends.iter().all(|end| view.links.is_up(end) && !view.links.is_carried(end, LinkKind::Peer))
    }

    fn free_channel(&mut self) -> u16 {
        loop {
            self.next = self.next.wrapping_add(1);
            if !self.tunnels.contains_key(&self.next) {
                return self.next;
            }
        }
    }

    /// An end needs the tunnel no more.
    pub(super) fn unwanted(&mut self, view: &mut View<'_>, from: PeerId, with: PeerId, kind: LinkKind) {
        self.end(view, |tunnel| tunnel.is_between(&from, &with, kind), Some(from));
    }

    /// The link with an end of tunnels has ended.
    pub(super) fn end_gone(&mut self, view: &mut View<'_>, peer: PeerId) {
        self.end(view, |tunnel| tunnel.ends.contains(&peer), Some(peer));
    }

    pub(super) fn on_time(&mut self, view: &mut View<'_>) {
        let now = view.now;
        self.end(view, |tunnel| now.since(tunnel.renewed) >= LEASE_US, None);
    }

    /// Ends tunnels, and tells their ends, except one that knows.
    fn end(&mut self, view: &mut View<'_>, is_over: impl Fn(&Tunnel) -> bool, knows: Option<PeerId>) {
        let over: Vec<u16> =
            self.tunnels.iter().filter(|(_, tunnel)| is_over(tunnel)).map(|(channel, _)| *channel).collect();
        for channel in over {
            let Some(Tunnel { ends: [one, other], kind, .. }) = self.tunnels.remove(&channel) else {
                continue;
            };
            view.out.act(Output::Tunnel(TunnelCommand::Uncarry { channel }));
            for (end, with) in [(one, other), (other, one)] {
                if Some(end) != knows {
                    view.out.send(end, TunnelMessage::Closed { with, kind });
                }
            }
        }
    }

    pub(super) fn next_timeout(&self) -> Option<Time> {
        self.tunnels.values().map(|tunnel| tunnel.renewed + LEASE_US).min()
    }

    pub(super) fn bounds(&self) -> [Bound; 2] {
        [
            Bound::new("links carried for others", self.tunnels.len(), CARRIED_MAX),
            Bound::new("peers that asked for tunnels", self.asked.len(), ASKERS_MAX),
        ]
    }
}
