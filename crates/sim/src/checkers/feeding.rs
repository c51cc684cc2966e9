//! Checks the tree: no cycle, one parent per viewer, no more children than a peer has slots.

use std::collections::{BTreeMap, BTreeSet};

use plenary_proto::time::SECOND;
use plenary_proto::{PeerId, Time};

use super::Found;
use crate::world::World;

/// Children that a relay may feed beyond its cap: one slot is reserved for backups that are activated
/// (PROTOCOL.md, 12.1).
pub(super) const RESERVE: usize = 1;
/// Maximum time for which two peers may feed one viewer. A change of parent is make-before-break; a parent
/// that a child left without notice finds out after 1.5 s; and the notice may be lost three times: probes
/// reveal the first loss, then it is retransmitted after one second and after two more, and each step takes
/// some one-way delays (`RETRANSMIT_US`, `PROBE_US`).
const OVERLAP_US_MAX: u64 = 3 * SECOND + SECOND / 2;
/// Maximum time for which peers may feed each other in a circle. Two peers that move simultaneously learn of
/// the circle from the path updates, which travel around sixteen links of 60 ms within a second. One of these
/// messages may be lost twice: probes reveal the first loss, and after the second it is retransmitted after a
/// second (`RETRANSMIT_US`, `PROBE_US`).
const CIRCLE_US_MAX: u64 = 2 * SECOND + SECOND / 4;
/// Maximum time for a former mixer to hand over its first tier: it retires for 4 s, then sheds its children.
const SHED_US_MAX: u64 = 8 * SECOND;
/// Maximum time for which a relay may feed more children than its uplink carries. A packet train that meets a
/// radio's pause overestimates the uplink until two other trains have followed; then the surplus children
/// look for other places.
const MEASURED_US_MAX: u64 = 6 * SECOND;

/// One peer's part in the tree, as its body carries it out.
#[derive(Debug, Default)]
struct Part {
    feeds: BTreeSet<usize>,
    fed_by: BTreeSet<usize>,
    /// When the set of peers that feed this peer last changed.
    fed_anew_at: Option<Time>,
    parent: Option<usize>,
    slots: usize,
    /// When it last lost slots, and the number of slots it had before.
    lost_slots: Option<(Time, usize)>,
    /// Start of the time with more children than slots.
    over_since: Option<Time>,
}

/// The tree as the bodies carry it out, and conditions that mustn't last.
#[derive(Debug, Default)]
pub(super) struct Feeding {
    parts: Vec<Part>,
    /// Viewers with more than one feeder, each with the start time of the overlap.
    crowded: BTreeMap<usize, Time>,
    /// Viewers in a circle, each with the start time and the circle's members. Successive circles with
    /// different members, each resolved in time, count separately.
    circling: BTreeMap<usize, (Time, Vec<usize>)>,
}

impl Feeding {
    /// Checks a peer that has changed.
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

    /// When the set of peers that feed this peer last changed, however briefly.
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

    /// The peers that send media to a child. A stalled machine doesn't count, even if its state says that it
    /// feeds the child, and neither does an attacker, since what it sends is unknown.
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

    /// The peers of the feeding circle that a peer is in, if any.
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
                return None; // leads into another circle, which is found at its own members
            }
            circle.push(parent);
            at = parent;
        }
        None
    }

    /// Reports conditions that have lasted too long.
    pub(super) fn time_passed(&mut self, world: &World, found: &mut Found) {
        let now = world.now();
        let late = self.crowded.iter().filter(|(_, since)| now.since(**since) > OVERLAP_US_MAX);
        for at in late.map(|(at, _)| *at).collect::<Vec<_>>() {
            self.crowded.insert(at, now); // reported again if it lasts as long again
            // only feeders that have fed it for as long without a stall: others have just begun; a relay with
            // a parent at fault sends nothing
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
    /// The living viewers that a body sends media to in the tree. Speakers that also watch are served outside
    /// the tree; the feeder decides by its own roster which peers these are.
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

    /// The peer that a body takes for its parent.
    fn fed_by(&self, at: usize) -> Option<usize> {
        let peer = &self.peers[at];
        peer.parent.filter(|_| peer.is_there())
    }

    /// Maximum number of viewers that a peer may feed.
    pub(super) fn slots_of(&self, peer: PeerId) -> usize {
        self.slots(self.at(peer))
    }

    /// Maximum number of viewers that a peer may feed. For a relay the true uplink counts; whether an elected
    /// mixer can do its job is for the oracle to judge.
    fn slots(&self, at: usize) -> usize {
        let planned = self.peers[at].planned;
        let uplink =
            self.plan().peers[planned].access.up_bps / u64::from(self.plan().room.program_bps.max(1));
        let most = self.slots_by_rule(at);
        // a page's uplink is never measured
        if self.is_root(at) || self.is_page(at) { most } else { most.min(uplink as usize) }
    }

    /// Whether a peer mixes or stands by.
    fn is_root(&self, at: usize) -> bool {
        let peer = &self.peers[at];
        let serves = [peer.brain().mixers(), peer.brain().standbys()].concat().contains(&peer.id);
        serves || peer.is_mixing()
    }

    /// Maximum number of viewers that a peer may feed if its uplink were unlimited.
    fn slots_by_rule(&self, at: usize) -> usize {
        let (peer, plan) = (&self.peers[at], self.plan());
        if self.is_root(at) {
            return usize::from(plan.room.k1) + RESERVE;
        }
        let mine = &plan.peers[peer.planned];
        if let Some(page) = peer.shell().and_then(|shell| shell.page.as_ref()) {
            let reserve = if page.children_max > 0 { RESERVE } else { 0 };
            return usize::from(plan.room.k.min(page.children_max)) + reserve;
        }
        if !mine.relays {
            return 0;
        }
        (usize::from(plan.room.k) + RESERVE).min(usize::from(mine.children_max))
    }
}
