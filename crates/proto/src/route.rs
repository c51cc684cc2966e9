//! How a message gets to a peer: on its link, through the rendezvous, or through linked peers.
//!
//! Without a rendezvous an envelope takes a route that its sender chose: a learned one (redirects name whole
//! paths, and what came by a route is answered along it), or up our own path to the mixer, who is linked with
//! the whole stage, or across one peer of the stage.

use std::collections::BTreeMap;

use crate::bounded::{Bound, List};
use crate::id::{PeerId, ShortId};
use crate::io::{Address, Output};
use crate::links::LinkTable;
use crate::message::{Message, Path, Place, RELAY_HOPS_MAX, Relay};
use crate::roster::Stage;
use crate::time::{SECOND, Time};

/// Most learned routes.
const ROUTES_MAX: usize = 128;
/// A peer the rendezvous doesn't know is not looked for there for so long.
const ABSENT_US: u64 = 5 * SECOND;

type Route = List<ShortId, RELAY_HOPS_MAX>;

/// What this peer knows of ways to others.
#[derive(Debug)]
pub(crate) struct Router {
    me: PeerId,
    signal_up: bool,
    /// Learned routes, and when.
    learned: BTreeMap<PeerId, (Time, Route)>,
    /// Whom the rendezvous doesn't know.
    absent: BTreeMap<PeerId, Time>,
}

impl Router {
    pub(crate) fn new(me: PeerId) -> Router {
        Router { me, signal_up: false, learned: BTreeMap::new(), absent: BTreeMap::new() }
    }

    pub(crate) fn set_signal_up(&mut self, up: bool) {
        self.signal_up = up;
        self.absent.clear();
    }

    pub(crate) fn signal_up(&self) -> bool {
        self.signal_up
    }

    /// The rendezvous doesn't know this peer.
    pub(crate) fn absent(&mut self, now: Time, peer: PeerId) {
        if self.absent.len() >= ROUTES_MAX && !self.absent.contains_key(&peer) {
            let oldest = self.absent.iter().min_by_key(|(_, at)| **at).map(|(peer, _)| *peer);
            oldest.and_then(|oldest| self.absent.remove(&oldest));
        }
        self.absent.insert(peer, now);
    }

    /// An envelope came from `from` by these peers: answers go back the same way.
    pub(crate) fn came_by(&mut self, now: Time, from: PeerId, route: &[ShortId]) {
        self.learn(now, from, List::truncated(route.iter().rev().copied()));
    }

    /// Places we were sent to lie below the mixer of their path; `mine` is our own path.
    pub(crate) fn places(&mut self, now: Time, links: &LinkTable, mine: &Path, places: &[Place]) {
        for place in places {
            let Some((_, above)) = place.path.split_last() else { continue };
            let linked = above.iter().rposition(|id| links.up_short(id).is_some());
            // over the lowest peer of its path that we are linked with, else up to the mixer and down again
            let route: Vec<ShortId> = match linked {
                Some(at) => above[at..].to_vec(),
                None => {
                    let up = mine.iter().rev().skip(1).copied();
                    let down = above.iter().copied().filter(|id| mine.first() != Some(id));
                    up.chain(down).collect()
                }
            };
            self.learn(now, place.peer, List::truncated(route));
        }
    }

    pub(crate) fn bounds(&self) -> [Bound; 2] {
        [
            Bound::new("learned routes", self.learned.len(), ROUTES_MAX),
            Bound::new("peers that the rendezvous doesn't know", self.absent.len(), ROUTES_MAX),
        ]
    }

    fn learn(&mut self, now: Time, peer: PeerId, route: Route) {
        if self.learned.len() >= ROUTES_MAX && !self.learned.contains_key(&peer) {
            let oldest = self.learned.iter().min_by_key(|(_, (at, _))| *at).map(|(peer, _)| *peer);
            if let Some(oldest) = oldest {
                self.learned.remove(&oldest);
            }
        }
        self.learned.insert(peer, (now, route));
    }

    /// The way to `to`; `None` when there is none.
    pub(crate) fn resolve(
        &self,
        now: Time,
        links: &LinkTable,
        stage: &Stage,
        mine: &Path,
        to: PeerId,
        message: Message,
    ) -> Option<Output> {
        if to == self.me {
            return None;
        }
        if links.is_up(&to) {
            return Some(Output::Control(to, message));
        }
        let absent = self.absent.get(&to).is_some_and(|at| now.since(*at) < ABSENT_US);
        if self.signal_up && !absent {
            return Some(Output::Signal(Address::Peer(to), message));
        }
        let (next, route) = self.mesh(links, stage, mine, to)?;
        Some(Output::Relay { next, to, route, message })
    }

    /// A route through linked peers, and the first of them.
    fn mesh(&self, links: &LinkTable, stage: &Stage, mine: &Path, to: PeerId) -> Option<(PeerId, Route)> {
        let usable = |route: &Route| route.first().and_then(|first| links.up_short(first));
        if let Some((_, route)) = self.learned.get(&to)
            && let Some(next) = usable(route)
        {
            return Some((next, route.clone()));
        }
        let up: Route = List::truncated(mine.iter().rev().skip(1).copied());
        if let Some(next) = usable(&up) {
            return Some((next, up));
        }
        // whoever on stage we are linked with: the host first, who is linked with everyone
        let linked =
            stage.entries().iter().map(|entry| entry.peer).find(|peer| links.is_up(peer) && *peer != to);
        let next = linked.or_else(|| links.up().next())?;
        Some((next, List::truncated([next.short()])))
    }

    /// Passes an envelope on along its route; `None` when the next peer isn't linked, or the route is at its end.
    pub(crate) fn pass_on(&self, links: &LinkTable, mut relay: Relay) -> Option<Output> {
        let at = usize::from(relay.passed);
        if relay.route.get(at) != Some(&self.me.short()) {
            return None;
        }
        relay.passed += 1;
        let next = match relay.route.get(at + 1) {
            Some(id) => links.up_short(id)?,
            None if links.is_up(&relay.to) => relay.to,
            None => return None,
        };
        Some(Output::Control(next, Message::Relay(relay)))
    }
}
