//! Scenarios: a world of people and a network, a script of faults, and the figures to measure.
//!
//! A scenario is a TOML file, a built-in one (`crates/sim/scenarios`) or the user's own. It has two phases: a
//! storm, in which people join and leave and the script runs, and a calm, without joins, departures and acts,
//! in which only the network's own impairments go on. Safety checkers run all the time, liveness checkers at
//! the end.

mod act;
mod file;
mod judge;
mod published;
mod run;
mod stage;

pub use act::{Act, Action, Whom};
pub use file::{Net, Room, Scenario, Target, Ways};
pub use judge::Judged;

pub use run::Samples;

/// The built-in scenarios: name and file.
const FILES: &[(&str, &str)] = &[
    ("election-50", include_str!("../../scenarios/election-50.toml")),
    ("election-liars", include_str!("../../scenarios/election-liars.toml")),
    ("calm-room", include_str!("../../scenarios/calm-room.toml")),
    ("mixer-lost", include_str!("../../scenarios/mixer-lost.toml")),
    ("mixer-stalls", include_str!("../../scenarios/mixer-stalls.toml")),
    ("mixer-radio", include_str!("../../scenarios/mixer-radio.toml")),
    ("partition", include_str!("../../scenarios/partition.toml")),
    ("churn-500", include_str!("../../scenarios/churn-500.toml")),
    ("prm-10k", include_str!("../../scenarios/prm-10k.toml")),
    ("flash-5k", include_str!("../../scenarios/flash-5k.toml")),
    ("top-killed", include_str!("../../scenarios/top-killed.toml")),
    ("parent-killed", include_str!("../../scenarios/parent-killed.toml")),
    ("mixed-uplinks", include_str!("../../scenarios/mixed-uplinks.toml")),
    ("pages-500", include_str!("../../scenarios/pages-500.toml")),
    ("equal-peers", include_str!("../../scenarios/equal-peers.toml")),
    ("scale-100k", include_str!("../../scenarios/scale-100k.toml")),
    ("peer-tree-data", include_str!("../../scenarios/peer-tree-data.toml")),
    ("peer-tree-recover", include_str!("../../scenarios/peer-tree-recover.toml")),
    ("sleepers", include_str!("../../scenarios/sleepers.toml")),
    ("loss-rises", include_str!("../../scenarios/loss-rises.toml")),
    ("false-relays", include_str!("../../scenarios/false-relays.toml")),
    ("two-mixers", include_str!("../../scenarios/two-mixers.toml")),
    ("climbers", include_str!("../../scenarios/climbers.toml")),
    ("forgers", include_str!("../../scenarios/forgers.toml")),
    ("free-riders", include_str!("../../scenarios/free-riders.toml")),
    ("sybils", include_str!("../../scenarios/sybils.toml")),
    ("busy-machines", include_str!("../../scenarios/busy-machines.toml")),
    ("world-evening", include_str!("../../scenarios/world-evening.toml")),
];

/// Names of all built-in scenarios.
pub fn names() -> impl Iterator<Item = &'static str> {
    FILES.iter().map(|(name, _)| *name)
}

/// The built-in scenario with this name; `None` if there is none.
pub fn named(name: &str) -> Option<Result<Scenario, String>> {
    let (name, text) = FILES.iter().find(|(known, _)| *known == name)?;
    Some(Scenario::read(name, text))
}
