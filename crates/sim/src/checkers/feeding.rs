//! Who feeds whom: no cycle, one parent, no more children than there is room for.

use std::collections::{BTreeMap, BTreeSet};

use plenary_proto::time::SECOND;
use plenary_proto::{PeerId, Time};

use super::Found;
use crate::world::World;

/// Children beyond its cap that a relay may have called in by promises (DESIGN §8 reserves one place).
pub(super) const RESERVE: usize = 1;
/// Two peers may feed one so long: a change of parent is make-before-break, whoever has lost a child without a word finds
/// out after 1.5 s, and the word itself may be lost three times: probes show it the first time, it comes again after a
/// second, and after two, and all of that takes some ways (`RETRANSMIT_US`, `PROBE_US`).
const OVERLAP_US_MAX: u64 = 3 * SECOND + SECOND / 2;
/// Peers may feed each other in a circle so long: two that move at once learn of it by the path's news, which go
/// round sixteen links of 60 ms within a second; one of these letters may be lost twice, which probes show the first time, and
/// comes again after a second (`RETRANSMIT_US`, `PROBE_US`).
const CIRCLE_US_MAX: u64 = 2 * SECOND + SECOND / 4;
/// A mixer that mixes no more hands over its first tier within this: it retires for 4 s, then sheds.
const SHED_US_MAX: u64 = 8 * SECOND;
/// A train that meets a radio's pause shows a line wider than it is, until two others have followed; and then the children that
/// it doesn't carry look for other places.
const MEASURED_US_MAX: u64 = 6 * SECOND;

/// One peer's part in the tree, as its body carries it out.
#[derive(Debug, Default)]
struct Part {
    feeds: BTreeSet<usize>,
    fed_by: BTreeSet<usize>,
    /// When who feeds it changed last.
    fed_anew_at: Option<Time>,
    parent: Option<usize>,
    slots: usize,
    /// It had more slots until then.
    lost_slots: Option<(Time, usize)>,
    /// It feeds more than it has slots, since then.
    over_since: Option<Time>,
}

/// The tree as it is carried out, and what in it lasts.
#[derive(Debug, Default)]
pub(super) struct Feeding {
    parts: Vec<Part>,
    /// Fed by more than one, since then.
    crowded: BTreeMap<usize, Time>,
    /// In a circle, since then, and with whom: those that follow each other, broken each in time, are not one.
    circling: BTreeMap<usize, (Time, Vec<usize>)>,
}

impl Feeding {
    /// A peer's part has changed.
    pub(super) fn changed(&mut self, world: &World, at: usize, found: &mut Found) {
        while self.parts.len() <= at {
            self.parts.push(Part::default());
        }
        let feeds = world.feeds(at);
        if feeds != self.parts[at].feeds {
            self.feeds_changed(world, at, feeds);
        }
        self.parts[at].parent = world.fed_by(at);
        self.self_relay(world, at, found);
        self.capacity(world, at, found);
        let mut circling = std::mem::take(&mut self.circling);
        circling.retain(|start, (_, circle)| self.circle(*start).as_ref() == Some(circle));
        if let Some(circle) = self.circle(at) {
            circling.entry(at).or_insert((world.now(), circle));
        }
        self.circling = circling;
    }

    fn feeds_changed(&mut self, world: &World, at: usize, feeds: BTreeSet<usize>) {
        let before = std::mem::replace(&mut self.parts[at].feeds, feeds.clone());
        for child in before.symmetric_difference(&feeds) {
            while self.parts.len() <= *child {
                self.parts.push(Part::default());
            }
            let child_part = &mut self.parts[*child];
            child_part.fed_anew_at = Some(world.now());
            let fed_by = &mut child_part.fed_by;
            if feeds.contains(child) {
                fed_by.insert(at)
            } else {
                fed_by.remove(&at)
            };
            self.count_parents(world, *child);
        }
    }

    /// When who feeds a peer changed last, if only for a moment.
    pub(super) fn fed_anew_at(&self, at: usize) -> Option<Time> {
        self.parts.get(at)?.fed_anew_at
    }

    fn count_parents(&mut self, world: &World, child: usize) {
        if self.feeders(world, child).len() > 1 {
            self.crowded.entry(child).or_insert(world.now());
        } else {
            self.crowded.remove(&child);
        }
    }

    /// Who sends a peer media: a machine that stands still doesn't, whatever it means to, and of whoever breaks the
    /// rules nobody knows.
    fn feeders(&self, world: &World, child: usize) -> Vec<usize> {
        let feeders = self.parts[child].fed_by.iter().copied();
        let does =
            |by: &usize| world.peers[*by].stalled_until <= world.now() && !world.deviates(world.id(*by));
        feeders.filter(does).collect()
    }

    fn self_relay(&self, world: &World, at: usize, found: &mut Found) {
        let part = &self.parts[at];
        if part.feeds.contains(&at) || part.parent == Some(at) {
            found.say(world.now(), "self-relay", format!("{:?} feeds itself", world.id(at)));
        }
    }

    fn capacity(&mut self, world: &World, at: usize, found: &mut Found) {
        let now = world.now();
        let slots = world.slots(at);
        let part = &mut self.parts[at];
        if slots < part.slots {
            part.lost_slots = Some((now, part.slots));
        }
        part.slots = slots;
        let lately = part.lost_slots.filter(|(lost, _)| now.since(*lost) <= SHED_US_MAX);
        let most = slots.max(lately.map_or(0, |(_, slots)| slots));
        let over = part.feeds.len() > most;
        let over_since = *part.over_since.get_or_insert(now);
        part.over_since = over.then_some(over_since);
        let measured = now.since(over_since) > MEASURED_US_MAX || part.feeds.len() > world.slots_by_rule(at);
        if over && measured {
            let what = format!("{:?} feeds {} of {most}", world.id(at), part.feeds.len());
            found.say(now, "capacity", what);
        }
    }

    /// The peers of the circle of feeding that a peer is in.
    fn circle(&self, start: usize) -> Option<Vec<usize>> {
        let mut circle = vec![start];
        let mut at = start;
        while let Some(parent) = self.parts[at].parent {
            if !self.parts.get(parent)?.feeds.contains(&at) {
                return None;
            }
            if parent == start {
                return Some(circle);
            }
            if circle.len() > self.parts.len() {
                return None; // it leads into another circle, whose own members are looked at
            }
            circle.push(parent);
            at = parent;
        }
        None
    }

    /// What may be for a moment may not last.
    pub(super) fn time_passed(&mut self, world: &World, found: &mut Found) {
        let now = world.now();
        let late = self.crowded.iter().filter(|(_, since)| now.since(**since) > OVERLAP_US_MAX);
        for at in late.map(|(at, _)| *at).collect::<Vec<_>>() {
            self.crowded.insert(at, now); // said again when it lasts as long again
            // those that have fed it for as long, and haven't stood still meanwhile: others have begun just now; a relay that
            // gets nothing itself sends nothing
            let lasting = |by: &usize| {
                let feeder = &world.peers[*by];
                let since = feeder.served.iter().find(|served| served.child == at).map(|served| served.since);
                let long = |since: Time| now.since(since.max(feeder.stalled_until)) > OVERLAP_US_MAX;
                since.is_some_and(long) && !world.parent_is_at_fault(world.id(*by))
            };
            let feeders = self.feeders(world, at).into_iter().filter(lasting);
            let feeders: Vec<_> = feeders.map(|by| world.id(by)).collect();
            if feeders.len() > 1 {
                found.say(now, "one-parent", format!("{:?} is fed by {feeders:?}", world.id(at)));
            }
        }
        self.circling.retain(|_, (since, circle)| {
            let lasts = now.since(*since) > CIRCLE_US_MAX;
            if lasts {
                let circle: Vec<_> = circle.iter().map(|at| world.id(*at)).collect();
                found.say(now, "no-cycle", format!("fed in a circle: {circle:?}"));
            }
            !lasts
        });
    }
}

/// What the world's bodies do, as this checker sees it.
impl World {
    /// The living viewers that a body sends media to; speakers that also watch are served outside the tree: who is one, the
    /// feeder goes by its own roster.
    fn feeds(&self, at: usize) -> BTreeSet<usize> {
        let feeder = &self.peers[at];
        if !feeder.alive || feeder.left {
            return BTreeSet::new();
        }
        let children = feeder.served.iter().filter(|served| served.media && served.in_tree);
        let children = children.map(|served| served.child);
        let in_tree = |child: &usize| {
            let child = &self.peers[*child];
            child.alive && child.views
        };
        children.filter(in_tree).collect()
    }

    /// The peer whose media a body takes as its parent's.
    fn fed_by(&self, at: usize) -> Option<usize> {
        let peer = &self.peers[at];
        peer.parent.filter(|_| peer.is_there())
    }

    /// Most viewers that a peer may feed.
    pub(super) fn slots_of(&self, peer: PeerId) -> usize {
        self.slots(self.at(peer))
    }

    /// Most viewers that a peer may feed. A relay's true uplink counts; whether a mixer was elected that can
    /// do its job is the oracle's question.
    fn slots(&self, at: usize) -> usize {
        let planned = self.peers[at].planned;
        let uplink =
            self.plan().peers[planned].access.up_bps / u64::from(self.plan().room.program_bps.max(1));
        let most = self.slots_by_rule(at);
        if self.is_root(at) { most } else { most.min(uplink as usize) }
    }

    /// It mixes, or stands by.
    fn is_root(&self, at: usize) -> bool {
        let peer = &self.peers[at];
        let serves = [peer.brain.mixers(), peer.brain.standbys()].concat().contains(&peer.id);
        serves || peer.is_mixing()
    }

    /// The same, if its line carried all.
    fn slots_by_rule(&self, at: usize) -> usize {
        let (peer, plan) = (&self.peers[at], self.plan());
        if self.is_root(at) {
            return usize::from(plan.room.k1) + RESERVE;
        }
        let mine = &plan.peers[peer.planned];
        if !mine.relays {
            return 0;
        }
        (usize::from(plan.room.k) + RESERVE).min(usize::from(mine.children_max))
    }
}
