//! Storms: small rooms with faults at drawn times, followed by a calm.
//!
//! A [`Storm`] is plain data that determines everything, so a failing one can be kept as a file
//! (`crates/sim/seeds/`), rerun at any time, and reduced: [`smallest`] removes what the failure doesn't need.
//! [`Storm::drawn`] generates any number of storms, one for each seed.

use plenary_proto::time::{MS, SECOND};
use plenary_proto::{Command, PeerId, Time};
use serde::{Deserialize, Serialize};

use crate::checkers::{CALM_US, Violation, found_at_last};
use crate::dice::{Dice, SmallDice};
use crate::people::Devices;
use crate::plan::{Bursts, Kind, NetPlan, Pauses, PeerPlan, RoomPlan, WorldPlan};
use crate::units::Share;
use crate::world::World;

/// Maximum number of faults in one storm.
const ACTS_MAX: u64 = 6;
/// Time without faults at the beginning, milliseconds.
const SETTLED_MS: u64 = 8_000;
/// Period after that in which the faults begin, milliseconds.
const STORM_MS: u64 = 10_000;

/// Target of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Whom {
    /// The lead mixer at that moment.
    Mixer,
    /// Standby 1 at that moment.
    Standby,
    /// The viewer with the most children.
    Relay,
    /// The peer at this index in the plan, but never the host.
    Peer(usize),
}

/// A fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wrong {
    /// A peer crashes.
    Kill(Whom),
    /// A peer leaves politely.
    Leave(Whom),
    /// A peer's machine stalls for this time, milliseconds.
    Stall(Whom, u64),
    /// A peer's machine sleeps for this time, milliseconds.
    Sleep(Whom, u64),
    /// The host gives a peer the floor.
    Promote(Whom),
    /// The host sends a peer back to the audience.
    Demote(Whom),
    /// A partition separates this percentage of the peers, drawn and never with the host, for this time in
    /// milliseconds.
    Part(u8, u64),
    /// The independent loss rises to this many packets per million for this time, milliseconds.
    Loss(u32, u64),
    /// The rendezvous is down for this time, milliseconds.
    RendezvousAway(u64),
    /// The rendezvous dies permanently.
    NoRendezvous,
}

impl Wrong {
    /// Time until the fault ends by itself, milliseconds.
    fn lasts_ms(self) -> u64 {
        match self {
            Wrong::Stall(_, ms) | Wrong::Sleep(_, ms) => ms,
            Wrong::Part(_, ms) | Wrong::Loss(_, ms) | Wrong::RendezvousAway(ms) => ms,
            _ => 0,
        }
    }
}

/// A fault and its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Act {
    /// Time of the fault in the world, milliseconds.
    pub at_ms: u64,
    /// The fault.
    pub wrong: Wrong,
}

/// A small room, and the faults in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Storm {
    /// The violation that the storm once showed; empty for a storm that was only drawn.
    #[serde(default)]
    pub showed: String,
    /// Seed of the world.
    pub seed: u64,
    /// Number of speakers, including the host.
    pub speakers: usize,
    /// Number of candidates that don't speak or watch.
    pub candidates: usize,
    /// Number of viewers that join at the beginning.
    pub viewers: usize,
    /// Number of viewers that join during the storm, one each quarter of a second.
    pub late: usize,
    /// Maximum number of children of a relay.
    pub k: u8,
    /// Maximum number of children of a mixer.
    pub k1: u8,
    /// Longest one-way delay, milliseconds; delays are drawn from 5 ms up to this.
    pub delay_ms_max: u64,
    /// Independent loss, per million packets.
    pub loss_ppm: u32,
    /// Bursty loss, per million packets.
    #[serde(default)]
    pub bursts_ppm: u32,
    /// Maximum jitter of a packet, milliseconds.
    #[serde(default)]
    pub jitter_ms: u64,
    /// Mean time between two pauses of a radio, seconds; 0: no pauses.
    #[serde(default)]
    pub pauses_each_s: u64,
    /// Whether the peers have drawn devices and access lines; otherwise all have computers on wires.
    #[serde(default)]
    pub devices: bool,
    /// Whether the audience is behind NATs of all kinds.
    #[serde(default)]
    pub nats: bool,
    /// Maximum clock drift, in millionths.
    #[serde(default)]
    pub clock_ppm: u16,
    /// Number of mixers that the host wants; 0: as many as are needed.
    #[serde(default)]
    pub mixers: u8,
    /// Length of the calm before the liveness checks, milliseconds.
    pub calm_ms: u64,
    /// The faults, in any order.
    pub acts: Vec<Act>,
}

impl Storm {
    /// Draws a storm from a seed.
    pub fn drawn(seed: u64) -> Storm {
        let mut dice = Dice::new(seed);
        let mut draw = |low, high| dice.between(low, high);
        let (speakers, candidates, viewers) =
            (draw(1, 4) as usize, draw(1, 4) as usize, draw(1, 24) as usize);
        let acts = (0..draw(1, ACTS_MAX)).map(|_| {
            let whom = match draw(0, 3) {
                0 => Whom::Mixer,
                1 => Whom::Standby,
                2 => Whom::Relay,
                _ => Whom::Peer(draw(1, (speakers + candidates + viewers) as u64 - 1) as usize),
            };
            let wrong = match draw(0, 15) {
                0..=3 => Wrong::Kill(whom),
                4..=5 => Wrong::Leave(whom),
                6..=8 => Wrong::Stall(whom, draw(100, 3_000)),
                9 => Wrong::Sleep(whom, draw(500, 12_000)),
                10 => Wrong::Promote(whom),
                11 => Wrong::Demote(whom),
                12 => Wrong::Part(draw(5, 50) as u8, draw(200, 9_000)),
                13 => Wrong::Loss(draw(20_000, 150_000) as u32, draw(500, 5_000)),
                14 => Wrong::RendezvousAway(draw(500, 8_000)),
                _ => Wrong::NoRendezvous,
            };
            Act { at_ms: SETTLED_MS + draw(0, STORM_MS), wrong }
        });
        let acts: Vec<Act> = acts.collect();
        // without a rendezvous no peer can join
        let shut = |act: &Act| matches!(act.wrong, Wrong::NoRendezvous | Wrong::RendezvousAway(_));
        let open = !acts.iter().any(shut);
        let late = if open { draw(0, 6) as usize } else { 0 };
        let (k, k1) = (draw(2, 4) as u8, draw(2, 8) as u8); // at least 2: a chain ends at 15 (PATH_LEN_MAX)
        let (delay_ms_max, loss_ppm) = (draw(6, 80), draw(0, 20_000) as u32);
        let mut now_and_then = |low, high| if draw(0, 1) == 0 { draw(low, high) } else { 0 };
        let devices = now_and_then(1, 1) > 0;
        Storm {
            showed: String::new(),
            seed,
            speakers,
            candidates,
            viewers,
            late,
            k,
            k1,
            delay_ms_max,
            loss_ppm,
            bursts_ppm: now_and_then(1_000, 10_000) as u32,
            jitter_ms: now_and_then(1, 20),
            pauses_each_s: now_and_then(20, 120),
            devices,
            nats: devices && now_and_then(1, 1) > 0,
            clock_ppm: now_and_then(1, 200) as u16,
            mixers: now_and_then(1, 2) as u8,
            calm_ms: CALM_US / MS + 10_000,
            acts,
        }
    }

    fn plan(&self) -> WorldPlan {
        let mut peers = PeerPlan::cast(self.speakers, self.candidates, self.viewers);
        let late = (0..self.late as u64).map(|at| {
            let joins_at = Time(SETTLED_MS * MS + at * SECOND / 4);
            PeerPlan { joins_at, ..PeerPlan::VIEWER }
        });
        peers.extend(late);
        peers.iter_mut().enumerate().for_each(|(at, peer)| self.equip(at, peer));
        WorldPlan {
            room: RoomPlan { k: self.k, k1: self.k1, mixers: self.mixers, ..RoomPlan::DEFAULT },
            net: NetPlan {
                bursts: (self.bursts_ppm > 0).then(|| Bursts::losing(self.bursts_ppm)),
                pauses: (self.pauses_each_s > 0)
                    .then_some(Pauses { mean_gap_us: self.pauses_each_s * SECOND, ..Pauses::WIFI }),
                jitter_us: self.jitter_ms * MS,
                ..NetPlan::drawn(5 * MS, self.delay_ms_max.max(5) * MS, self.loss_ppm)
            },
            media: Default::default(),
            peers,
        }
    }

    /// Gives a peer its device, access line and clock.
    fn equip(&self, at: usize, peer: &mut PeerPlan) {
        let mut dice = SmallDice::of(&[self.seed, 0xe91b, at as u64]);
        if self.devices {
            // candidates are servers: with drawn devices, the room's single candidate might have a line too
            // narrow for a program
            let devices = match peer.kind {
                Kind::Speaker => Devices { laptop: 3, desktop: 1, ..Devices::default() },
                Kind::Candidate => Devices { server: 1, ..Devices::default() },
                Kind::Viewer => Devices { phone: 3, laptop: 4, desktop: 2, server: 1 },
            };
            // on stage all peers must reach each other; those that can't would need TURN, which isn't
            // modelled
            devices.equip(peer, self.nats && peer.kind == Kind::Viewer, &mut dice);
            // in so small a room the tree would lack slots if some peers didn't relay
            peer.relays = true;
        }
        let most = i32::from(self.clock_ppm);
        peer.clock_ppm = dice.between(0, 2 * most as u64) as i32 - most;
    }

    /// Creates the storm's world, before its first event.
    pub fn world(&self) -> World {
        World::new(self.plan(), self.seed)
    }

    /// Runs the storm to the end of the calm; returns the violations.
    pub fn run(&self) -> Vec<Violation> {
        let mut world = self.world();
        self.run_in(&mut world);
        found_at_last(&mut world)
    }

    /// Runs the storm in a world made from its own plan.
    pub fn run_in(&self, world: &mut World) {
        let mut steps: Vec<(u64, bool, Wrong)> = Vec::new();
        for act in &self.acts {
            steps.push((act.at_ms, true, act.wrong));
            steps.push((act.at_ms + act.wrong.lasts_ms(), false, act.wrong));
        }
        steps.sort_by_key(|(at_ms, begins, _)| (*at_ms, *begins));
        for (at_ms, begins, wrong) in &steps {
            if let Wrong::Loss(ppm, _) = wrong {
                let ppm = if *begins { *ppm } else { self.loss_ppm };
                world.lose_from(Time(at_ms * MS), Share(ppm));
            }
        }
        for (at_ms, begins, wrong) in &steps {
            world.run_until(Time(at_ms * MS));
            if *begins { self.go_wrong(world, *wrong) } else { self.is_over(world, *wrong) }
        }
        let late_ms = SETTLED_MS + self.late as u64 * 250;
        let over_ms = steps.last().map_or(0, |(at_ms, ..)| *at_ms).max(late_ms);
        world.run_until(Time((over_ms + self.calm_ms) * MS));
    }

    fn go_wrong(&self, world: &mut World, wrong: Wrong) {
        let host = world.planned(0);
        match wrong {
            Wrong::Kill(whom) => found(world, whom).into_iter().for_each(|peer| world.kill(peer)),
            Wrong::Leave(whom) => found(world, whom).into_iter().for_each(|peer| world.leave(peer)),
            Wrong::Stall(whom, ms) => {
                found(world, whom).into_iter().for_each(|peer| world.stall(peer, ms * MS));
            }
            Wrong::Sleep(whom, ms) => {
                found(world, whom).into_iter().for_each(|peer| world.sleep(peer, ms * MS));
            }
            Wrong::Promote(whom) => {
                found(world, whom).into_iter().for_each(|peer| world.command(host, Command::Promote(peer)));
            }
            Wrong::Demote(whom) => {
                found(world, whom).into_iter().for_each(|peer| world.command(host, Command::Demote(peer)));
            }
            Wrong::Part(percent, _) => {
                let drawn = |peer: &PeerId| {
                    let at = world.planned_at(peer).unwrap_or(0) as u64;
                    at > 0 && SmallDice::of(&[self.seed, 0x9a27, at]).chance(u32::from(percent) * 10_000)
                };
                let side: Vec<PeerId> = world.living().filter(drawn).collect();
                world.partition(&side);
            }
            Wrong::Loss(..) => {} // planned ahead
            Wrong::RendezvousAway(_) | Wrong::NoRendezvous => world.kill_rendezvous(),
        }
    }

    /// Ends a temporary fault. A rendezvous that has died permanently stays dead.
    fn is_over(&self, world: &mut World, wrong: Wrong) {
        match wrong {
            Wrong::Part(..) => world.heal(),
            Wrong::RendezvousAway(_) if self.acts.iter().all(|act| act.wrong != Wrong::NoRendezvous) => {
                world.revive_rendezvous();
            }
            _ => {}
        }
    }

    /// Variants of the storm with something left out, the largest reductions first.
    fn smaller(&self) -> Vec<Storm> {
        let mut smaller: Vec<Storm> = (0..self.acts.len())
            .map(|left_out| {
                let mut storm = self.clone();
                storm.acts.remove(left_out);
                storm
            })
            .collect();
        for by in [8, 4, 2, 1] {
            let fewer = |count: usize, least: usize| count.saturating_sub(by).max(least);
            smaller.push(Storm { late: fewer(self.late, 0), ..self.clone() });
            smaller.push(Storm { viewers: fewer(self.viewers, 1), ..self.clone() });
            smaller.push(Storm { candidates: fewer(self.candidates, 1), ..self.clone() });
            smaller.push(Storm { speakers: fewer(self.speakers, 1), ..self.clone() });
        }
        smaller.extend([
            Storm { devices: false, nats: false, ..self.clone() },
            Storm { nats: false, ..self.clone() },
            Storm { pauses_each_s: 0, ..self.clone() },
            Storm { bursts_ppm: 0, ..self.clone() },
            Storm { jitter_ms: 0, ..self.clone() },
            Storm { clock_ppm: 0, ..self.clone() },
            Storm { mixers: 0, ..self.clone() },
            Storm { loss_ppm: 0, ..self.clone() },
        ]);
        smaller.retain(|storm| storm != self);
        smaller
    }
}

/// Resolves a target to a living peer other than the host; `None` if it denotes no such peer.
fn found(world: &World, whom: Whom) -> Option<PeerId> {
    let host = world.planned(0);
    let peer = match whom {
        Whom::Mixer => world.mixers().first().copied(),
        Whom::Standby => world.snapshot(host).standbys.first().copied(),
        Whom::Relay => {
            world.viewers().into_iter().max_by_key(|viewer| world.snapshot(*viewer).children.len())
        }
        Whom::Peer(at) => world.try_planned(at),
    };
    peer.filter(|peer| *peer != host && world.living().any(|living| living == *peer))
}

/// Reduces a storm: returns the smallest variant found that still fails according to `fails`, within at most
/// `runs` runs.
pub fn smallest(storm: Storm, runs: usize, fails: impl Fn(&Storm) -> bool) -> Storm {
    let mut smallest = storm;
    let mut left = runs;
    'again: loop {
        for smaller in smallest.smaller() {
            if left == 0 {
                return smallest;
            }
            left -= 1;
            if fails(&smaller) {
                smallest = smaller;
                continue 'again;
            }
        }
        return smallest;
    }
}
