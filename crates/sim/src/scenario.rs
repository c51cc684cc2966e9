//! Named worlds, each with its script.

use plenary_proto::time::{MS, SECOND};
use plenary_proto::{Event, PeerId, Time};

use crate::checkers::{Violation, liveness};
use crate::plan::{Kind, MediaModel, NetPlan, PeerPlan, RoomPlan, WorldPlan};
use crate::report::{Delivery, Percentiles, Report};
use crate::world::World;

/// The room is left alone for so long before anything happens to it.
const SETTLED_US: u64 = 10 * SECOND;

/// What happens once the room has settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Nothing,
    KillMixer,
    /// The viewer with the most children.
    KillParent,
    /// Every peer of the first tier.
    KillFirstTier,
    /// Half of the first two tiers.
    KillHalfOfTop,
}

/// A world that has a name.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// As on the command line.
    pub name: &'static str,
    /// What it is about, in a line.
    pub line: &'static str,
    speakers: usize,
    candidates: usize,
    viewers: usize,
    k: u8,
    k1: u8,
    /// All viewers join within this time.
    joining_us: u64,
    delay_us: (u64, u64),
    loss_ppm: u32,
    act: Act,
    /// How long it goes on after the act.
    after_us: u64,
}

const HOME: Scenario = Scenario {
    name: "",
    line: "",
    speakers: 4,
    candidates: 3,
    viewers: 24,
    k: 4,
    k1: 6,
    joining_us: SECOND,
    delay_us: (5 * MS, 40 * MS),
    loss_ppm: 5_000,
    act: Act::Nothing,
    after_us: 10 * SECOND,
};

/// All scenarios that there are.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "calm-room",
        line: "nothing goes wrong: how often does the mixer change?",
        after_us: 60 * SECOND,
        ..HOME
    },
    Scenario {
        name: "election-50",
        line: "fifty candidates measure each other and elect",
        speakers: 4,
        candidates: 46,
        ..HOME
    },
    Scenario {
        name: "mixer-lost",
        line: "the mixer dies: when is there a program again?",
        act: Act::KillMixer,
        ..HOME
    },
    Scenario {
        name: "parent-killed",
        line: "a relay dies: when are its children fed again? (30 ms links)",
        delay_us: (30 * MS, 30 * MS),
        act: Act::KillParent,
        ..HOME
    },
    Scenario {
        name: "top-killed",
        line: "half of the top two tiers die at once",
        viewers: 100,
        act: Act::KillHalfOfTop,
        ..HOME
    },
    Scenario {
        name: "peer-tree-recover",
        line: "a root with four children, each with its own: all four die",
        speakers: 2,
        candidates: 2,
        viewers: 12,
        k: 2,
        k1: 4,
        act: Act::KillFirstTier,
        ..HOME
    },
];

/// Scenarios of the project's plan that are not there yet.
pub const PLANNED: &[&str] = &[
    "election-liars",
    "partition",
    "churn-500",
    "prm-10k",
    "flash-5k",
    "mixed-uplinks",
    "scale-100k",
    "peer-tree-data",
];

/// The scenario of that name.
pub fn named(name: &str) -> Option<&'static Scenario> {
    SCENARIOS.iter().find(|scenario| scenario.name == name)
}

/// One run's outcome.
#[derive(Default)]
struct Run {
    repairs_us: Vec<u64>,
    joins_us: Vec<u64>,
    decided_us: Vec<u64>,
    delivery: Delivery,
    depth_max: usize,
    inputs: u64,
    room_time_us: u64,
    violations: Vec<String>,
    hash: String,
}

impl Scenario {
    /// Runs it with `runs` seeds from `seed` on, and with `viewers` viewers where that is given.
    pub fn run(&self, seed: u64, runs: u64, viewers: Option<usize>) -> Report {
        let viewers = viewers.unwrap_or(self.viewers);
        let outcomes: Vec<Run> =
            (seed..seed + runs.max(1)).map(|seed| self.run_once(seed, viewers)).collect();
        let pooled =
            |of: fn(&Run) -> &Vec<u64>| Percentiles::of_us(outcomes.iter().flat_map(of).copied().collect());
        let mean = |of: fn(&Delivery) -> f64| {
            outcomes.iter().map(|run| of(&run.delivery)).sum::<f64>() / outcomes.len() as f64
        };
        let peers = self.speakers + self.candidates + viewers;
        let inputs: u64 = outcomes.iter().map(|run| run.inputs).sum();
        let room_time_s = outcomes.iter().map(|run| run.room_time_us).sum::<u64>() as f64 / SECOND as f64;
        let mut hash = blake3::Hasher::new();
        outcomes.iter().for_each(|run| {
            hash.update(run.hash.as_bytes());
        });
        Report {
            scenario: self.name.to_owned(),
            seed,
            runs: runs.max(1),
            peers,
            media_model: "frame",
            room_time_s,
            inputs,
            inputs_per_peer_s: inputs as f64 / room_time_s / peers as f64,
            trace_hash: hash.finalize().to_hex().as_str()[..16].to_owned(),
            delivery: Delivery {
                frames_within_1s: mean(|delivery| delivery.frames_within_1s),
                viewers_without_gap_500ms: mean(|delivery| delivery.viewers_without_gap_500ms),
                bytes_over_ideal: mean(|delivery| delivery.bytes_over_ideal),
                latency_ms: outcomes.first().and_then(|run| run.delivery.latency_ms),
            },
            repair_ms: pooled(|run| &run.repairs_us),
            join_ms: pooled(|run| &run.joins_us),
            decided_ms: pooled(|run| &run.decided_us),
            depth_max: outcomes.iter().map(|run| run.depth_max).max().unwrap_or(0),
            violations: outcomes.iter().flat_map(|run| run.violations.clone()).collect(),
        }
    }

    fn plan(&self, viewers: usize) -> WorldPlan {
        let kinds =
            [(Kind::Speaker, self.speakers), (Kind::Candidate, self.candidates), (Kind::Viewer, viewers)];
        let kinds = kinds.into_iter().flat_map(|(kind, count)| (0..count).map(move |at| (kind, at)));
        let peers = kinds.map(|(kind, at)| PeerPlan {
            joins_at: match kind {
                Kind::Viewer => Time(500 * MS + at as u64 * self.joining_us / viewers.max(1) as u64),
                _ => Time(at as u64 * 20 * MS),
            },
            ..PeerPlan::of(kind)
        });
        WorldPlan {
            peers: peers.collect(),
            room: RoomPlan { k: self.k, k1: self.k1, ..RoomPlan::DEFAULT },
            net: NetPlan::drawn(self.delay_us.0, self.delay_us.1, self.loss_ppm),
            media: MediaModel::Frame,
        }
    }

    fn run_once(&self, seed: u64, viewers: usize) -> Run {
        let mut world = World::new(self.plan(viewers), seed);
        let mut run = Run::default();
        world.run_for(SETTLED_US);
        let killed_at = world.now();
        let affected = self.act(&mut world);
        world.run_for(self.after_us);
        run.violations.extend(liveness(&world).iter().map(|violation| told(seed, violation)));
        run.repairs_us =
            affected.iter().map(|peer| world.longest_gap_us(*peer, killed_at - SECOND)).collect();
        run.joins_us = world.join_us();
        run.decided_us = decided_us(&world);
        run.delivery = world.delivery();
        run.depth_max = world.depths().into_iter().max().unwrap_or(0);
        run.inputs = world.inputs();
        run.room_time_us = world.now().0;
        run.hash = world.trace_hash();
        run
    }

    /// Does what the scenario is about; gives those it hits, who live on.
    fn act(&self, world: &mut World) -> Vec<PeerId> {
        let at_depth = |world: &World, depth: usize| {
            let viewers = world.viewers().into_iter();
            viewers.filter(|viewer| world.snapshot(*viewer).path.len() == depth + 1).collect::<Vec<_>>()
        };
        let dead: Vec<PeerId> = match self.act {
            Act::Nothing => return Vec::new(),
            Act::KillMixer => world.mixers(),
            Act::KillParent => {
                let viewers = world.viewers().into_iter();
                viewers.max_by_key(|viewer| world.snapshot(*viewer).children.len()).into_iter().collect()
            }
            Act::KillFirstTier => at_depth(world, 1),
            Act::KillHalfOfTop => {
                let top = [at_depth(world, 1), at_depth(world, 2)].concat();
                top.into_iter().step_by(2).collect()
            }
        };
        let fed_by_dead = |world: &World, viewer: PeerId| {
            let path = world.snapshot(viewer).path;
            dead.iter().any(|dead| path.contains(&dead.short()))
        };
        let affected = world.viewers().into_iter();
        let affected: Vec<_> = affected.filter(|viewer| fed_by_dead(world, *viewer)).collect();
        dead.iter().for_each(|peer| world.kill(*peer));
        affected.into_iter().filter(|viewer| !dead.contains(viewer)).collect()
    }
}

fn told(seed: u64, violation: &Violation) -> String {
    format!("seed {seed} at {} ms: {}: {}", violation.at_ms, violation.checker, violation.what)
}

/// From each opening that the host saw to its decision.
fn decided_us(world: &World) -> Vec<u64> {
    let mut opened = None;
    let mut times = Vec::new();
    for (at, event) in world.events(world.planned(0)) {
        match event {
            Event::ElectionOpened { .. } => opened = Some(*at),
            Event::Decided { .. } => times.extend(opened.take().map(|opened| at.since(opened))),
            _ => {}
        }
    }
    times
}
