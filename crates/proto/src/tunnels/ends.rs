//! The tunnels of this peer's own links.

use crate::bounded::Bound;
use crate::id::PeerId;
use crate::io::{Output, TunnelCommand};
use crate::links::LINKS_MAX;
use crate::message::{LinkKind, TunnelMessage};
use crate::ordered::OrderedMap;
use crate::time::{SECOND, Time};
use crate::view::View;

use super::RENEW_US;

/// Number of carriers of a link: one may die without a gap.
const CARRIERS: usize = 2;
/// Maximum number of carriers of a link that the other end asks for: two that only say that they carry don't keep out
/// those that do. A guess.
const CARRIERS_TOLD_MAX: usize = 4;
/// Time in which a carrier answers; then another one is asked. A guess: three round trips of a slow path.
const ANSWER_US_MAX: u64 = SECOND;
/// Interval at which links are looked after. A guess.
const LOOK_US: u64 = SECOND;
/// Maximum number of carriers that are remembered as unwilling. A guess: as many as are asked before a link is given
/// up, two a round trip.
const UNWILLING_MAX: usize = 64;

/// A link, by its other end and kind.
type Key = (PeerId, LinkKind);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Asked(Time),
    Open,
}

#[derive(Debug)]
struct End {
    /// This end asks for carriers; else the other one does.
    asks: bool,
    carriers: Vec<(PeerId, Step)>,
    /// Peers that don't carry the link.
    unwilling: Vec<PeerId>,
    renew_at: Time,
    goes_by_rendezvous: bool,
}

/// Links with tunnels, open or requested.
#[derive(Debug, Default)]
pub(super) struct Ends {
    ends: OrderedMap<Key, End>,
    look_at: Option<Time>,
    pub(super) rendezvous_carries: bool,
}

impl Ends {
    /// A link that is being made has found no path yet.
    pub(super) fn path_wanted(&mut self, view: &mut View<'_>, key: Key) {
        if view.links.is_making(&key.0, key.1) && asks(view, &key.0) {
            self.entry(view, key, true);
            self.ask(view, key);
        }
    }

    fn entry(&mut self, view: &View<'_>, key: Key, asks: bool) -> Option<&mut End> {
        if !self.ends.contains_key(&key) && self.ends.len() >= LINKS_MAX {
            return None;
        }
        self.look_at.get_or_insert(view.now + LOOK_US);
        let (carriers, unwilling, renew_at) = (Vec::new(), Vec::new(), view.now + RENEW_US);
        let end = End { asks, carriers, unwilling, renew_at, goes_by_rendezvous: false };
        let end = self.ends.entry(key).or_insert(end);
        end.asks |= asks;
        Some(end)
    }

    /// Asks as many peers as are lacking, or has the rendezvous carry the link where no peer does.
    fn ask(&mut self, view: &mut View<'_>, (peer, kind): Key) {
        let Some(end) = self.ends.get_mut(&(peer, kind)) else { return };
        while end.asks && end.carriers.len() < CARRIERS {
            let is_new = |carrier: &PeerId| {
                !end.unwilling.contains(carrier) && !end.carriers.iter().any(|(known, _)| known == carrier)
            };
            let Some(carrier) = candidates(view, &peer).find(is_new) else { break };
            end.carriers.push((carrier, Step::Asked(view.now)));
            view.out.send(carrier, TunnelMessage::Wanted { with: peer, kind });
        }
        let is_left = end.asks && end.carriers.is_empty() && kind == LinkKind::Peer;
        if is_left && self.rendezvous_carries && !end.goes_by_rendezvous {
            end.goes_by_rendezvous = true;
            view.out.act(Output::Tunnel(TunnelCommand::OpenByRendezvous { link: (peer, kind), peer }));
        }
    }

    /// A linked peer carries a link of this one.
    pub(super) fn opened(&mut self, view: &mut View<'_>, from: PeerId, key: Key, channel: u16) {
        let (with, kind) = key;
        let is_needed = view.links.is_making(&with, kind) || view.links.is_carried(&with, kind);
        let end = if is_needed && from != with { self.entry(view, key, false) } else { None };
        let known = end.and_then(|end| {
            let at = end.carriers.iter().position(|(carrier, _)| *carrier == from);
            let max = if end.asks { CARRIERS } else { CARRIERS_TOLD_MAX };
            if at.is_none() && end.carriers.len() < max {
                end.carriers.push((from, Step::Open));
                return end.carriers.last_mut();
            }
            at.and_then(|at| end.carriers.get_mut(at))
        });
        match known {
            Some((carrier, step)) => {
                *step = Step::Open;
                let command = TunnelCommand::Open { link: key, carrier: *carrier, channel };
                view.out.act(Output::Tunnel(command));
            }
            None => view.out.send(from, TunnelMessage::Unwanted { with, kind }),
        }
    }

    /// A peer doesn't carry a link of this one, or no more.
    pub(super) fn closed(&mut self, view: &mut View<'_>, from: PeerId, key: Key) {
        let Some(end) = self.ends.get_mut(&key) else { return };
        if !drop_carrier(view, end, key, &from) {
            return;
        }
        end.unwilling.push(from);
        end.unwilling.truncate(UNWILLING_MAX);
        self.ask(view, key);
    }

    /// The link with a peer is down, which may have carried others.
    pub(super) fn carrier_gone(&mut self, view: &mut View<'_>, carrier: PeerId) {
        let keys: Vec<Key> = self.ends.keys().copied().collect();
        for key in keys {
            let end = self.ends.get_mut(&key);
            if end.is_some_and(|end| drop_carrier(view, end, key, &carrier)) {
                self.ask(view, key);
            }
        }
    }

    /// A link is up, directly or carried, or down.
    pub(super) fn link_changed(&mut self, view: &mut View<'_>, (peer, kind): Key) {
        if view.links.is_making(&peer, kind) || view.links.is_carried(&peer, kind) {
            return;
        }
        let Some(mut end) = self.ends.remove(&(peer, kind)) else { return };
        for (carrier, _) in end.carriers.clone() {
            drop_carrier(view, &mut end, (peer, kind), &carrier);
            if end.asks {
                view.out.send(carrier, TunnelMessage::Unwanted { with: peer, kind });
            }
        }
    }

    pub(super) fn on_time(&mut self, view: &mut View<'_>) {
        let now = view.now;
        if self.look_at.take_if(|at| *at <= now).is_none() {
            return;
        }
        let keys: Vec<Key> = self.ends.keys().copied().collect();
        for key in keys {
            self.link_changed(view, key);
            let Some(end) = self.ends.get_mut(&key).filter(|end| end.asks) else { continue };
            let is_silent = |step| matches!(step, Step::Asked(at) if now.since(at) >= ANSWER_US_MAX);
            let silent = end.carriers.iter().filter(|(_, step)| is_silent(*step));
            let silent: Vec<PeerId> = silent.map(|(carrier, _)| *carrier).collect();
            end.carriers.retain(|(_, step)| !is_silent(*step));
            end.unwilling.extend(silent);
            end.unwilling.truncate(UNWILLING_MAX);
            if end.renew_at <= now {
                end.renew_at = now + RENEW_US;
                end.unwilling.clear();
                for (carrier, _) in &end.carriers {
                    view.out.send(*carrier, TunnelMessage::Wanted { with: key.0, kind: key.1 });
                }
            }
            self.ask(view, key);
        }
        self.look_at = (!self.ends.is_empty()).then_some(now + LOOK_US);
    }

    pub(super) fn next_timeout(&self) -> Option<Time> {
        self.look_at
    }

    pub(super) fn bound(&self) -> Bound {
        Bound::new("links with tunnels", self.ends.len(), LINKS_MAX)
    }
}

/// Returns whether this end of a link asks for carriers, and not the other one. An end without a roster
/// asks: the other end takes it for a viewer.
fn asks(view: &View<'_>, peer: &PeerId) -> bool {
    let is_on_stage = |peer| view.stage.contains(peer);
    let (own, other) = (is_on_stage(&view.me), is_on_stage(peer));
    view.stage.roster().is_none() || if own == other { view.me < *peer } else { other }
}

/// Returns the peers that may carry a link with `peer`: the host, mixers, others on stage, and other linked peers.
fn candidates<'a>(view: &'a View<'_>, peer: &'a PeerId) -> impl Iterator<Item = PeerId> {
    let stage = view.stage.host().into_iter().chain(view.mandate.mixers.iter().copied());
    let all = stage.chain(view.stage.entries().iter().map(|entry| entry.peer)).chain(view.links.up());
    let links = &view.links;
    all.filter(move |one| one != peer && links.is_up(one) && !links.is_carried(one, LinkKind::Peer))
}

/// Ends the use of a carrier. Returns whether it was one.
fn drop_carrier(view: &mut View<'_>, end: &mut End, link: Key, carrier: &PeerId) -> bool {
    let Some(at) = end.carriers.iter().position(|(known, _)| known == carrier) else { return false };
    let (carrier, step) = end.carriers.remove(at);
    if step == Step::Open {
        view.out.act(Output::Tunnel(TunnelCommand::Shut { link, carrier }));
    }
    true
}
