//! Regression cases: rooms that once failed, kept as files (`crates/sim/seeds`). A case is a drawn storm,
//! reduced; a run of a built-in scenario; or a scenario of its own. Every case can be run again, narrated,
//! and tried under other seeds.

use plenary_proto::time::SECOND;
use serde::{Deserialize, Serialize};

use crate::checkers::{Violation, found_at_last};
use crate::report::Report;
use crate::scenario::{Scenario, named};
use crate::storm::Storm;

/// Maximum size of a case in peer seconds, since every test run repeats all of them: a hundred peers for a
/// minute, three times, take some seconds.
pub const PEER_SECONDS_MAX: u64 = 20_000;

/// A run of a built-in scenario under the seed that broke it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Broken {
    /// The violation that it showed.
    pub showed: String,
    /// Name of the scenario.
    pub scenario: String,
    /// Seed of the world.
    pub seed: u64,
    /// Number of viewers, if it differs from the scenario's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub viewers: Option<usize>,
}

/// A scenario that exists in this file only, under the seed that broke it. The file has `showed` and `seed`,
/// followed by the keys of a scenario file.
#[derive(Clone, Debug)]
pub struct Room {
    /// The violation that it showed.
    pub showed: String,
    /// Seed of the world.
    pub seed: u64,
    /// The scenario.
    pub scenario: Box<Scenario>,
}

/// Content of a file.
#[derive(Clone, Debug)]
pub enum Kept {
    /// A drawn storm.
    Storm(Storm),
    /// A run of a built-in scenario.
    Scenario(Broken, Box<Scenario>),
    /// A scenario of its own.
    Room(Room),
}

impl Kept {
    /// Parses a file.
    pub fn read(text: &str) -> Result<Kept, String> {
        let table: toml::Table = toml::from_str(text).map_err(|error| error.to_string())?;
        if table.contains_key("peers") {
            return Room::read(table).map(Kept::Room);
        }
        if !table.contains_key("scenario") {
            return table.try_into().map(Kept::Storm).map_err(|error| error.to_string());
        }
        let broken: Broken = table.try_into().map_err(|error| error.to_string())?;
        let scenario = broken.scenario()?;
        Ok(Kept::Scenario(broken, Box::new(scenario)))
    }

    /// The violation that it showed when it was kept.
    pub fn showed(&self) -> &str {
        match self {
            Kept::Storm(storm) => &storm.showed,
            Kept::Scenario(broken, _) => &broken.showed,
            Kept::Room(room) => &room.showed,
        }
    }

    /// Seed of the world.
    pub fn seed(&self) -> u64 {
        match self {
            Kept::Storm(storm) => storm.seed,
            Kept::Scenario(broken, _) => broken.seed,
            Kept::Room(room) => room.seed,
        }
    }

    /// The same case under another seed.
    pub fn under(&self, seed: u64) -> Kept {
        match self.clone() {
            Kept::Storm(storm) => Kept::Storm(Storm { seed, ..storm }),
            Kept::Scenario(broken, scenario) => Kept::Scenario(Broken { seed, ..broken }, scenario),
            Kept::Room(room) => Kept::Room(Room { seed, ..room }),
        }
    }

    /// Runs the case; returns the violations that the checkers find. If `narrates` is set, all outputs of the
    /// brains are printed to stderr.
    pub fn run(&self, narrates: bool) -> Vec<Violation> {
        match self {
            Kept::Storm(storm) => {
                let mut world = storm.world();
                world.narrate(narrates);
                storm.run_in(&mut world);
                world.narrate_the_living();
                found_at_last(&mut world)
            }
            Kept::Scenario(broken, scenario) => scenario.violations(broken.seed, narrates),
            Kept::Room(room) => room.scenario.violations(room.seed, narrates),
        }
    }
}

impl Room {
    fn read(mut table: toml::Table) -> Result<Room, String> {
        let showed = table.remove("showed").as_ref().and_then(toml::Value::as_str).map(str::to_owned);
        let seed = table.remove("seed").as_ref().and_then(toml::Value::as_integer);
        let (Some(showed), Some(Ok(seed))) = (showed, seed.map(u64::try_from)) else {
            return Err("a room says what it `showed`, and under which `seed`".to_owned());
        };
        let scenario = Scenario::read("kept", &table.to_string())?;
        may_be_kept(&scenario)?;
        Ok(Room { showed, seed, scenario: Box::new(scenario) })
    }
}

/// Refuses a scenario that takes too long to be repeated in every test run.
fn may_be_kept(scenario: &Scenario) -> Result<(), String> {
    let peer_seconds = scenario.people() as u64 * ((scenario.storm.0 + scenario.calm.0) / SECOND);
    if peer_seconds > PEER_SECONDS_MAX {
        let too_much = "peers times seconds are too much to be run again for ever";
        return Err(format!("{}: {peer_seconds} {too_much}: at most {PEER_SECONDS_MAX}", scenario.name));
    }
    Ok(())
}

impl Broken {
    /// The failed runs of a report, each with its file name. The report must be of a built-in scenario with
    /// this number of viewers.
    pub fn of(report: &Report, viewers: Option<usize>) -> Result<Vec<(String, Broken)>, String> {
        let mut broken: Vec<(String, Broken)> = Vec::new();
        for found in &report.violations {
            if broken.last().is_some_and(|(_, last)| last.seed == found.seed) {
                continue; // the first violation of a run tells most
            }
            let file = format!("{}-{}-{}.toml", found.checker, report.scenario, found.seed);
            let showed = format!("{}: {}", found.checker, found.what);
            let run = Broken { showed, scenario: report.scenario.clone(), seed: found.seed, viewers };
            run.scenario()?;
            broken.push((file, run));
        }
        Ok(broken)
    }

    /// The file's content.
    pub fn text(&self) -> String {
        toml::to_string(self).unwrap_or_default() // plain data
    }

    /// Looks up the scenario; an error if it is unknown or too large to keep.
    fn scenario(&self) -> Result<Scenario, String> {
        let known = named(&self.scenario);
        let scenario = known.ok_or_else(|| format!("{}: no scenario that comes along", self.scenario))??;
        let scenario = match self.viewers {
            Some(viewers) => scenario.with_audience(viewers)?,
            None => scenario,
        };
        may_be_kept(&scenario)?;
        Ok(scenario)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Found;

    #[test]
    fn what_broke_is_kept_once_for_each_seed_and_only_what_can_be_run_again() {
        let mut report = named("parent-killed").unwrap().unwrap().with_audience(4).unwrap().run(1, 1);
        let found =
            |seed, checker: &str| Found { seed, at_ms: 1, checker: checker.into(), what: "so".into() };
        report.violations = vec![found(3, "fed"), found(3, "backup"), found(9, "backup")];
        let kept = Broken::of(&report, Some(4)).unwrap();
        let files: Vec<&str> = kept.iter().map(|(file, _)| &**file).collect();
        assert_eq!(files, ["fed-parent-killed-3.toml", "backup-parent-killed-9.toml"]);
        let text = kept[1].1.text();
        let Ok(Kept::Scenario(read, scenario)) = Kept::read(&text) else { panic!("{text}") };
        assert_eq!((&read, scenario.people()), (&kept[1].1, report.peers));
        assert_eq!((read.seed, &*read.showed, read.viewers), (9, "backup: so", Some(4)));
        for (scenario, told) in [("scale-100k", "too much"), ("mine", "no scenario that comes along")] {
            report.scenario = scenario.to_owned();
            assert!(Broken::of(&report, None).unwrap_err().contains(told), "{scenario}");
        }
    }
}
