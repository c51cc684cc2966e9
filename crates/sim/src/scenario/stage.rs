//! Statistics of the stage in one run: elections, changes of mixers, failovers and whether they were
//! justified.

use std::collections::{BTreeMap, BTreeSet};

use plenary_proto::time::SECOND;
use plenary_proto::{Event, PeerId, Rank, Time};

use crate::report::{Elections, Percentiles, rounded};
use crate::world::World;

/// What the host has reported so far, and the statistics derived from it.
#[derive(Debug, Default)]
pub(crate) struct Stage {
    /// Number of the host's events already read.
    read: usize,
    opened_at: Option<Time>,
    decided_us: Vec<u64>,
    mixers: Vec<PeerId>,
    /// When the first elected mixer was chosen.
    mixing_since: Option<Time>,
    mixing_us: u64,
    changes: u64,
    /// Peers that the script has acted on: a failover from these is justified.
    excused: BTreeSet<PeerId>,
    /// Failovers from living mixers, and whether a viewer followed.
    false_alarms: BTreeMap<Rank, bool>,
    /// End of the partition, and the mixers that the majority of the stage followed then.
    healed: Option<(Time, Vec<PeerId>)>,
    agreed_us: Vec<u64>,
    /// Partitions after which other mixers were in force than those that the majority had followed.
    deposed: u64,
}

impl Stage {
    /// Marks a peer as acted on by the script.
    pub(crate) fn excuse(&mut self, peer: PeerId) {
        self.excused.insert(peer);
    }

    /// Records the end of a partition.
    pub(crate) fn heals(&mut self, world: &World) {
        let mut followed = BTreeMap::<Vec<PeerId>, usize>::new();
        for peer in world.living() {
            let seen = world.snapshot(peer);
            if seen.speaks || !seen.views {
                *followed.entry(seen.mixers).or_default() += 1;
            }
        }
        let most = followed.into_iter().max_by_key(|(_, count)| *count);
        self.healed = most.map(|(mixers, _)| (world.now(), mixers));
    }

    /// Whether the sides of a partition haven't agreed yet.
    pub(crate) fn is_healing(&self) -> bool {
        self.healed.is_some()
    }

    /// Checks whether all peers follow the same mixers again.
    fn look_for_agreement(&mut self, world: &World) {
        let mut followed =
            world.living().map(|peer| world.snapshot(peer)).map(|seen| (seen.rank, seen.mixers));
        let first = followed.next();
        let one = followed.all(|other| Some(other) == first);
        if let Some((at, majority)) = self.healed.take_if(|_| one) {
            self.agreed_us.push(world.now().since(at));
            self.deposed += u64::from(first.is_some_and(|(_, mixers)| mixers != majority));
        }
    }

    /// Reads the host's events since the last call.
    pub(crate) fn observe(&mut self, world: &World) {
        if self.is_healing() {
            self.look_for_agreement(world);
        }
        let (events, told) = world.events_since(world.planned(0), self.read);
        self.read = told;
        for (at, event) in events {
            match event {
                Event::ElectionOpened { .. } => {
                    self.opened_at.get_or_insert(*at);
                }
                Event::Elected { mixers, .. } => {
                    self.decided_us.extend(self.opened_at.take().map(|opened| at.since(opened)));
                    self.mixing_since.get_or_insert(*at);
                    self.follow(mixers.clone());
                }
                Event::Failover { rank, peer, polite } => {
                    let needed = |mixer: &PeerId| {
                        self.excused.contains(mixer) || !world.living().any(|living| living == *mixer)
                    };
                    if !polite && !self.mixers.iter().any(needed) {
                        self.false_alarms.insert(*rank, false);
                    }
                    self.follow(vec![*peer]);
                }
                Event::Withdrawn { .. } => self.mixers = world.mixers(),
                _ => {}
            }
        }
        if let Some((newest, followed)) = self.false_alarms.iter_mut().next_back()
            && !*followed
        {
            *followed = world.viewers().iter().any(|viewer| world.snapshot(*viewer).rank == *newest);
        }
    }

    fn follow(&mut self, mixers: Vec<PeerId>) {
        self.changes += u64::from(!self.mixers.is_empty() && self.mixers != mixers);
        self.mixers = mixers;
    }

    /// Ends the statistics of a run.
    pub(crate) fn close(&mut self, now: Time) {
        // no agreement was reached: it took at least this long
        self.agreed_us.extend(self.healed.take().map(|(at, _)| now.since(at)));
        self.mixing_us = self.mixing_since.map_or(0, |since| now.since(since));
    }
}

impl Elections {
    /// Statistics pooled over the stages of all runs.
    pub(crate) fn pooled<'a>(stages: impl Iterator<Item = &'a Stage> + Clone) -> Elections {
        let sum = |of: fn(&Stage) -> u64| stages.clone().map(of).sum::<u64>() as f64;
        let mixing_s = sum(|stage| stage.mixing_us) / SECOND as f64;
        let per = |count: f64, s: f64| (mixing_s > 0.0).then(|| rounded(count * s / mixing_s));
        let false_failovers =
            sum(|stage| stage.false_alarms.values().filter(|followed| **followed).count() as u64);
        let false_declarations = sum(|stage| stage.false_alarms.len() as u64);
        Elections {
            count: sum(|stage| stage.decided_us.len() as u64) as u64,
            decided_ms: Percentiles::of_us(
                stages.clone().flat_map(|stage| stage.decided_us.clone()).collect(),
            ),
            within_5pct_of_oracle: None,
            agreed_ms: Percentiles::of_us(stages.clone().flat_map(|stage| stage.agreed_us.clone()).collect()),
            deposed_by_a_minority: stages
                .clone()
                .any(|stage| !stage.agreed_us.is_empty())
                .then(|| sum(|stage| stage.deposed) as u64),
            changes_per_10min: per(sum(|stage| stage.changes), 600.0),
            false_failovers_per_1000h: per(false_failovers, 3_600_000.0),
            false_declarations_per_24h: per(false_declarations, 86_400.0),
            mixer_hours: rounded(mixing_s / 3600.0),
        }
    }
}
