//! Tunnels: where two peers can't reach each other, members that are linked with both carry the datagrams of their
//! link.
//!
//! One end asks ([`ends`]): the peer with the lower id, or the one off stage. Two carriers are kept for each link, so
//! that either may die, and a lost one is replaced. Any native peer carries ([`carrier`]), within bounds, for peers
//! that it is linked with. A carrier holds no key, and what it carries goes nowhere but to the other end. Where no peer
//! carries, the rendezvous does.

mod carrier;
mod ends;

use crate::bounded::Bound;
use crate::id::PeerId;
use crate::message::{LinkKind, TunnelMessage};
use crate::time::{SECOND, Time};
use crate::view::View;
use carrier::Carrier;
use ends::Ends;

/// Interval at which a tunnel is requested anew while it is used. A guess.
const RENEW_US: u64 = 10 * SECOND;
/// Time after which a carrier ends a tunnel that was not requested anew: two requests may be lost.
const LEASE_US: u64 = 3 * RENEW_US;

/// The tunnels of this peer's links, and those that it carries for others.
#[derive(Debug, Default)]
pub(crate) struct Tunnels {
    ends: Ends,
    carrier: Carrier,
}

impl Tunnels {
    /// The rendezvous carries links from now on, or no more.
    pub(crate) fn rendezvous_carries(&mut self, carries: bool) {
        self.ends.rendezvous_carries = carries;
    }

    /// A link that is being made has found no path yet.
    pub(crate) fn path_wanted(&mut self, view: &mut View<'_>, peer: PeerId, kind: LinkKind) {
        self.ends.path_wanted(view, (peer, kind));
    }

    /// Handles a message of a linked peer.
    pub(crate) fn message(&mut self, view: &mut View<'_>, from: PeerId, message: TunnelMessage) {
        match message {
            TunnelMessage::Wanted { with, kind } => self.carrier.wanted(view, from, with, kind),
            TunnelMessage::Unwanted { with, kind } => self.carrier.unwanted(view, from, with, kind),
            TunnelMessage::Opened { with, kind, channel } => {
                self.ends.opened(view, from, (with, kind), channel);
            }
            TunnelMessage::Closed { with, kind } => self.ends.closed(view, from, (with, kind)),
        }
    }

    /// A link is connected or lost, or changes its path.
    pub(crate) fn link_changed(&mut self, view: &mut View<'_>, peer: PeerId, kind: LinkKind, is_up: bool) {
        self.ends.link_changed(view, (peer, kind));
        if kind == LinkKind::Peer && !is_up {
            self.ends.carrier_gone(view, peer);
            self.carrier.end_gone(view, peer);
        }
    }

    pub(crate) fn on_time(&mut self, view: &mut View<'_>) {
        self.ends.on_time(view);
        self.carrier.on_time(view);
    }

    pub(crate) fn next_timeout(&self) -> Option<Time> {
        [self.ends.next_timeout(), self.carrier.next_timeout()].into_iter().flatten().min()
    }

    pub(crate) fn bounds(&self) -> [Bound; 3] {
        let [carried, asked] = self.carrier.bounds();
        [self.ends.bound(), carried, asked]
    }
}
