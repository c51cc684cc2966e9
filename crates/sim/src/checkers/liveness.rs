//! Checks what must hold once there have been no faults for a while. Attackers are owed nothing: honest peers
//! must be fed among attackers, but attackers themselves need not find a parent.

use std::collections::{BTreeMap, BTreeSet};

use plenary_proto::time::SECOND;
use plenary_proto::{Event, Mode, PeerId, Rank, ShortId, Snapshot};

use super::feeding::RESERVE;
use super::reach::{Feeder, left_out};
use super::{Found, Violation};
use crate::world::World;

/// Time without faults after which a room counts as calm: an election of a small stage takes 6 s, one after a
/// failover is decided within 3 s.
pub const CALM_US: u64 = 10 * SECOND;
/// Time without a frame after which a viewer counts as not fed.
const STARVING_US: u64 = SECOND / 2;
/// Period before the check in which changes count as flapping: by its beginning every earlier fault has been
/// answered.
pub(crate) const STEADY_US: u64 = 5 * SECOND;
/// Maximum time for a viewer count to travel up one tier.
const TOLD_US: u64 = SECOND;
/// Maximum time for news of a move to travel down the tree: it is sent at once, and a lost message is
/// retransmitted after a second.
const NEWS_US: u64 = SECOND;
/// Maximum time for a moving child's `Detach` to reach its old parent: it may be lost twice, and is
/// retransmitted after one second and after two more.
const FAREWELL_US: u64 = 3 * SECOND;
/// Time allowed to find a backup after a change of parent or the loss of a backup: a failed search is
/// repeated after this long at most.
const SEARCH_US: u64 = 3 * SECOND;
/// Maximum number of moves of one viewer by its own choice within [`STEADY_US`]: one, to a better place.
const MOVES_MAX: usize = 1;
/// Maximum number of parent changes within [`STEADY_US`], including those after a parent's fault: losses and
/// pauses cause one now and then, and may hit the next parent as well.
const CHANGES_MAX: usize = 3;
/// Maximum number of promises to backups that a relay makes within its free slots (PROTOCOL.md, 12.1). Where
/// no peer has a promise left, a viewer can't have a backup.
const PROMISES_MAX: usize = 4;
/// Maximum number of promises that a standby makes to the first tiers of mixers: half of the children and
/// promises that a peer may keep.
const STANDBY_PROMISES_MAX: usize = 64;

/// Checker that finds viewers without a program.
const FED: &str = "fed";
/// Checker that finds viewers without a backup.
const NO_BACKUP: &str = "no-backup";
/// Checker that compares the views of parents and children.
const BOTH_ENDS: &str = "both-ends-agree";
/// Checker of the mixers' viewer count.
const COUNTED: &str = "counted";

/// Violations of what must hold after [`CALM_US`] without faults, and all safety violations found before.
pub fn liveness(world: &World) -> Vec<Violation> {
    let room = Calm::of(world);
    let mut found = Found::default();
    room.one_mixer_set(&mut found);
    // program and tree require a living peer that consents to mix, and a living mixer or a majority that can
    // elect one
    if room.living.keys().any(|peer| world.consents(*peer)) && room.has_mixers_or_votes() {
        room.fed(&mut found);
        room.both_ends_agree(&mut found);
        room.backups(&mut found);
        room.no_flapping(&mut found);
        room.counted(&mut found);
    }
    world.violations().iter().cloned().chain(found.kept).collect()
}

/// Violations at the end of a run that persist.
pub(crate) fn found_at_last(world: &mut World) -> Vec<Violation> {
    let mut found = liveness(world);
    keep_lasting(world, &mut found);
    found
}

/// Runs the world on for a while if some violations may be transient, and removes those that have gone. A
/// viewer with a parent that fails in the ongoing losses is being fed again by then; a promise that was given
/// back a moment ago is found by the next search; a wrong viewer count caused by a branch in transit is
/// corrected; and a viewer learns that its parent has just sent it away. The violations that persist stay in
/// `found`.
pub(crate) fn keep_lasting(world: &mut World, found: &mut Vec<Violation>) {
    let may_pass = |violation: &Violation| [FED, NO_BACKUP, BOTH_ENDS, COUNTED].contains(&violation.checker);
    if !found.iter().any(may_pass) {
        return;
    }
    world.run_for(SEARCH_US);
    let later = liveness(world);
    let whose = |violation: &Violation| match violation.checker {
        COUNTED => None,
        _ => violation.what.split(' ').next().map(str::to_owned),
    };
    let same = |one: &Violation, two: &Violation| two.checker == one.checker && whose(two) == whose(one);
    let lasts = |one: &Violation| later.iter().any(|two| same(one, two));
    found.retain(|violation| !may_pass(violation) || lasts(violation));
}

/// The living peers of a calm room, except those that can't find the others.
struct Calm<'a> {
    world: &'a World,
    living: BTreeMap<PeerId, Snapshot>,
}

impl<'a> Calm<'a> {
    fn of(world: &'a World) -> Calm<'a> {
        let lost = world.stranded();
        let living = world.living().filter(|peer| !lost.contains(peer));
        Calm { world, living: living.map(|peer| (peer, world.snapshot(peer))).collect() }
    }

    fn viewers(&self) -> impl Iterator<Item = (PeerId, &Snapshot)> {
        let viewers: BTreeSet<_> = self.world.viewers().into_iter().collect();
        self.living.iter().filter(move |(peer, _)| viewers.contains(*peer)).map(|(peer, seen)| (*peer, seen))
    }

    /// Whether a mixer in force lives, or a majority of the roster that can elect another: dead peers count
    /// as voters until they are forgotten after a minute (PROTOCOL.md, 8.2).
    fn has_mixers_or_votes(&self) -> bool {
        let newest = self.living.iter().max_by_key(|(_, seen)| (seen.epoch, seen.rank));
        let Some((peer, seen)) = newest else { return false };
        let Some((_, roster)) = self.world.roster(self.world.at(*peer)) else { return false };
        let voters = roster.entries.iter().filter(|entry| self.living.contains_key(&entry.peer)).count();
        seen.mixers.iter().any(|mixer| self.living.contains_key(mixer)) || 2 * voters > roster.entries.len()
    }

    fn fed(&self, found: &mut Found) {
        // a radio may be pausing at this moment
        let pause_us = self.world.plan().net.pauses.map_or(0, |pauses| pauses.most_us);
        let starving_us = STARVING_US + pause_us;
        let starving = self.world.starving(starving_us).into_iter();
        // a mesh has no program; but a peer that only watches wants one in any mode, since a room with a
        // viewer is no mesh
        let wants =
            |peer: &PeerId| self.living.get(peer).is_some_and(|seen| seen.mode != Mode::Mesh || !seen.speaks);
        let starving = starving.filter(|peer| wants(peer) && !self.world.deviates(*peer));
        // speakers get the picture from their mixer, and have no place in the tree
        let speaks = |peer: &PeerId| self.living.get(peer).is_some_and(|seen| seen.speaks);
        let (stage, mut audience): (Vec<_>, Vec<_>) = starving.partition(speaks);
        if audience.len() <= self.out_of_reach() {
            audience.clear();
        }
        for peer in stage.into_iter().chain(audience) {
            let what = format!("{peer:?} has had no frame for {} ms", starving_us / 1000);
            found.say(self.world.now(), FED, what);
        }
    }

    /// Number of viewers that no tree can feed because of their NATs. The reserved slot doesn't count, since
    /// only activated backups may use it.
    fn out_of_reach(&self) -> usize {
        let feeder = |peer: PeerId| -> Feeder {
            let planned = self.world.peers[self.world.at(peer)].planned;
            let places = self.world.slots_of(peer).saturating_sub(RESERVE);
            (self.world.plan().peers[planned].access.nat, places)
        };
        let mixers = self.living.iter().filter(|(_, seen)| seen.mixing);
        let mixers: Vec<_> = mixers.map(|(peer, _)| feeder(*peer)).collect();
        let viewers = self.viewers().filter(|(_, seen)| !seen.speaks);
        let viewers: Vec<_> = viewers.map(|(peer, _)| feeder(peer)).collect();
        left_out(&mixers, &viewers)
    }

    fn one_mixer_set(&self, found: &mut Found) {
        let mut sets: BTreeMap<_, Vec<PeerId>> = BTreeMap::new();
        // an attacker's view of the mixers doesn't count
        for (peer, seen) in self.living.iter().filter(|(peer, _)| !self.world.deviates(**peer)) {
            sets.entry((seen.rank, seen.mixers.clone())).or_default().push(*peer);
        }
        if sets.len() > 1 {
            found.say(self.world.now(), "one-mixer-set", format!("{sets:?}"));
        }
    }

    fn both_ends_agree(&self, found: &mut Found) {
        for (viewer, seen) in self.viewers() {
            let Some(parent) = seen.parent else { continue };
            let feeds = self.living.get(&parent).is_some_and(|parent| parent.children.contains(&viewer));
            if !feeds {
                let what = format!("{viewer:?} calls {parent:?} its parent, which feeds it not");
                found.say(self.world.now(), BOTH_ENDS, what);
            }
        }
    }

    /// Checks that every viewer has a backup where one is possible: standby 1 in the first tier; below it a
    /// relay of another branch that isn't above the viewer. The backup must have a promise left, must be
    /// linkable through its NAT, and must be honest, since an attacker may refuse.
    fn backups(&self, found: &mut Found) {
        let givers: Vec<_> = self.living.iter().filter(|(peer, seen)| self.may_promise(peer, seen)).collect();
        let honest = |peer: &PeerId| !self.world.deviates(*peer);
        let fed = |(peer, seen): &(PeerId, &Snapshot)| seen.parent.is_some() && honest(peer);
        for (viewer, seen) in self.viewers().filter(fed) {
            let parent_at = seen.path.len().saturating_sub(2);
            let parent = seen.path.get(parent_at).copied();
            let in_branch =
                |other: &Snapshot| other.path.iter().any(|id| Some(*id) == parent || *id == viewer.short());
            let linkable = |peer| self.world.net.can_connect(self.world.at(peer), self.world.at(viewer));
            let would = |peer: &PeerId| honest(peer) && linkable(*peer);
            // how many peers could promise it a slot
            let could = || match parent_at {
                0 => {
                    let standby = seen.standbys.first().filter(|standby| would(standby));
                    let standby = standby.and_then(|standby| self.living.get(standby));
                    let most = usize::from(self.world.plan().room.k1).min(STANDBY_PROMISES_MAX - 1);
                    usize::from(standby.is_some_and(|standby| standby.promised.len() <= most))
                }
                _ => {
                    let apart = |other: &Snapshot, peer: &PeerId| {
                        !in_branch(other) && !seen.path.contains(&peer.short())
                    };
                    givers.iter().filter(|(peer, other)| would(peer) && apart(other, peer)).count()
                }
            };
            let searched = |event: &Event| {
                matches!(event, Event::Parent { peer: Some(_) } | Event::Backup { peer: None })
            };
            // a viewer with a parent at fault is asking its backup to feed it
            let has = seen.backup.is_some() || self.world.parent_is_at_fault(viewer);
            if !has && self.since_us(&viewer, searched) > SEARCH_US && could() > 0 {
                let what = format!("{viewer:?} has no backup, {} peers could be it: {seen:?}", could());
                found.say(self.world.now(), NO_BACKUP, what);
            }
            let bad = seen
                .backup
                .and_then(|backup| self.living.get(&backup))
                .filter(|other| parent_at > 0 && in_branch(other));
            if bad.is_some_and(|other| self.is_known(&other.path)) {
                let what = format!("{viewer:?} would fall back on its own branch: {:?}", seen.backup);
                found.say(self.world.now(), "backup", what);
            }
        }
    }

    /// Whether no peer of a path has moved so recently that the news may still be in transit.
    fn is_known(&self, path: &[ShortId]) -> bool {
        let moved = |event: &Event| matches!(event, Event::Parent { peer: Some(_) });
        let mut on_path = self.living.keys().filter(|peer| path.contains(&peer.short()));
        on_path.all(|peer| self.since_us(peer, moved) > NEWS_US)
    }

    /// Time since a viewer's latest event of a kind, microseconds.
    fn since_us(&self, viewer: &PeerId, something: impl Fn(&Event) -> bool) -> u64 {
        let mut events = self.world.events(*viewer).iter().rev();
        let last = events.find(|(_, event)| something(event));
        last.map_or(u64::MAX, |(at, _)| self.world.now().since(*at))
    }

    /// Whether a relay has a promise left.
    fn may_promise(&self, peer: &PeerId, seen: &Snapshot) -> bool {
        let relays = !seen.mixing && !seen.path.is_empty() && !seen.children.is_empty();
        let promised = seen.promised.len();
        // its measured uplink, which may show a narrow downlink at the measuring parent
        let program_bps = u64::from(self.world.plan().room.program_bps.max(1));
        let measured = seen.uplink_bps.map_or(usize::MAX, |bps| (bps / program_bps) as usize);
        let room = || seen.children.len() + promised < self.world.slots_of(*peer).min(measured);
        relays && promised < PROMISES_MAX && room()
    }

    fn no_flapping(&self, found: &mut Found) {
        let now = self.world.now();
        for (viewer, _) in self.viewers() {
            let events = self.world.events(viewer).iter().rev();
            let recent = events.take_while(|(at, _)| now.since(*at) <= STEADY_US);
            let changes =
                recent.filter(|(_, event)| matches!(event, Event::Parent { peer: Some(_) })).count();
            let moves = self.world.moves_since(viewer, now - STEADY_US);
            if moves > MOVES_MAX || changes > CHANGES_MAX {
                let seconds = STEADY_US / SECOND;
                let what =
                    format!("{viewer:?} had {changes} parents in {seconds} s, {moves} by its own choice");
                found.say(now, "no-flapping", what);
            }
        }
        let changes = self.changes_of_mixer();
        if changes > 0 {
            let what = format!("{changes} changes of mixer in {} s", STEADY_US / SECOND);
            found.say(now, "no-flapping", what);
        }
    }

    /// Number of times within [`STEADY_US`] that other peers came to mix, according to the host. A vote that
    /// keeps the mixers is no change, and neither is an additional mixer, which the host was waiting for. An
    /// attacker's failover that the mixer denies, once in a term, is no change either.
    fn changes_of_mixer(&self) -> usize {
        let now = self.world.now();
        let mut voted: &[PeerId] = &[];
        let mut successors: Vec<(Rank, &PeerId)> = Vec::new();
        let mut changes = 0;
        for (at, event) in self.world.events(self.world.planned(0)) {
            let changed = match event {
                Event::Elected { mixers, .. } => {
                    let before = match successors.last() {
                        Some((_, successor)) => std::slice::from_ref(*successor),
                        None => voted,
                    };
                    let changed = !before.iter().all(|mixer| mixers.contains(mixer));
                    successors.clear();
                    voted = mixers;
                    changed
                }
                Event::Failover { rank, peer, .. } => {
                    successors.push((*rank, peer));
                    !self.world.deviates(*peer)
                }
                Event::Withdrawn { rank, peer } => {
                    successors.retain(|(failover_count, _)| failover_count != rank);
                    !self.world.deviates(*peer)
                }
                _ => false,
            };
            changes += usize::from(changed && now.since(*at) <= STEADY_US);
        }
        changes
    }

    /// Checks the mixers' viewer count, which was summed up along the tree. A viewer that recently got
    /// another feeder, however briefly, may be counted at both feeders or at neither, with all viewers below
    /// it.
    fn counted(&self, found: &mut Found) {
        let now = self.world.now();
        let mixing: Vec<_> = self.living.values().filter(|seen| seen.mixing).collect();
        let told: u32 = mixing.iter().map(|seen| seen.viewers_below).sum();
        let tiers = self.viewers().map(|(_, seen)| seen.path.len()).max().unwrap_or(0) as u64;
        let settles_us = FAREWELL_US + tiers * TOLD_US;
        let fed_anew = |viewer: &PeerId| {
            let at = self.world.fed_anew_at(*viewer);
            at.is_some_and(|at| now.since(at) <= settles_us)
        };
        let fed = self.viewers().filter(|(_, seen)| seen.parent.is_some()).count();
        let mut fed_by: BTreeMap<_, usize> = BTreeMap::new();
        for child in self.living.values().flat_map(|seen| &seen.children) {
            *fed_by.entry(child).or_default() += 1;
        }
        let fed_twice = |viewer: &PeerId| fed_by.get(viewer).is_some_and(|count| *count > 1);
        let lately = self.viewers().filter(|(viewer, _)| fed_anew(viewer) || fed_twice(viewer));
        let unsettled: u32 = lately.map(|(_, seen)| 1 + seen.viewers_below).sum();
        if !mixing.is_empty() && (told as usize).abs_diff(fed) > unsettled as usize {
            let what = format!("{told} viewers by aggregates, {fed} in truth, {unsettled} on the move");
            found.say(now, COUNTED, what);
        }
    }
}
