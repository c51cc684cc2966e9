//! `plenary sim`: simulates rooms of many peers in one deterministic world.

use std::path::Path;
use std::time::Instant;

use anyhow::Context as _;
use plenary_sim::kept::Broken;
use plenary_sim::scenario::{Scenario, named, names};
use serde::Serialize;
use serde_json::Value;

use crate::args::SimArgs;
use crate::demo::process::rss_max_mib;
use crate::json::{self, round};
use crate::{Failure, bounded_file, usage};

/// Maximum length of a report that is compared, in bytes. A guess: hundreds of violations.
const REPORT_LEN_MAX: u64 = 64 << 20;

/// Report with the time and the memory that the run took on this machine.
#[derive(Serialize)]
struct Timed {
    #[serde(flatten)]
    report: plenary_sim::Report,
    wall_s: f64,
    rss_mib: f64,
}

pub(crate) fn run(args: SimArgs) -> Result<(), Failure> {
    let plays = args.peers.is_some() || args.seed.is_some() || args.runs.is_some() || args.keep.is_some();
    match (&*args.scenario, &*args.files) {
        (word @ ("list" | "compare"), _) if plays => Err(usage(format!(
            "{word} runs no scenario: --peers, --seed, --runs and --keep are for scenarios"
        ))),
        ("list", []) => list(args.json.as_deref()),
        ("compare", _) if args.json.is_some() => {
            Err(usage("compare prints lines, no report: --json is for scenarios and list"))
        }
        ("compare", [before, after]) => compare(before, after),
        ("compare", _) => Err(usage("compare takes two reports: plenary sim compare BEFORE.json AFTER.json")),
        (_, []) => play(&args),
        (_, [first, ..]) => Err(usage(format!("{}: one scenario at a time", first.display()))),
    }
}

/// Built-in scenario in a list.
#[derive(Serialize)]
struct Listed {
    scenario: &'static str,
    title: String,
}

fn list(to: Option<&Path>) -> Result<(), Failure> {
    let listed = |name| Ok(Listed { scenario: name, title: scenario(name)?.title });
    let all = names().map(listed).collect::<Result<Vec<_>, Failure>>()?;
    if let Some(to) = to {
        return Ok(json::write(to, &all)?);
    }
    let lines = all.iter().map(|one| format!("{:18} {}\n", one.scenario, one.title));
    Ok(json::say(&lines.collect::<String>())?)
}

fn compare(before: &Path, after: &Path) -> Result<(), Failure> {
    let read = |path: &Path| -> anyhow::Result<Value> {
        let told = || format!("cannot read {}", path.display());
        let text = bounded_file::text(path, REPORT_LEN_MAX).with_context(told)?;
        let report: Value =
            serde_json::from_str(&text).with_context(|| format!("{} is no report", path.display()))?;
        let named = ["scenario", "trace_hash"].iter().all(|figure| report[*figure].is_string());
        anyhow::ensure!(named, "{} is no report of plenary sim", path.display());
        Ok(report)
    };
    Ok(json::say(&plenary_sim::compare(&read(before)?, &read(after)?))?)
}

/// Returns the scenario of that name, or the one in that file.
fn scenario(name: &str) -> Result<Scenario, Failure> {
    if name.ends_with(".toml") {
        return Scenario::open(name).map_err(|what| anyhow::anyhow!(what).into());
    }
    let Some(scenario) = named(name) else {
        return Err(usage(format!(
            "{name}: no such scenario; `plenary sim list` names them, and a file's name ends in .toml"
        )));
    };
    scenario.map_err(|what| anyhow::anyhow!(what).into())
}

fn play(args: &SimArgs) -> Result<(), Failure> {
    let mut scenario = scenario(&args.scenario)?;
    if let Some(viewers) = args.peers {
        scenario = scenario.with_audience(viewers).map_err(usage)?;
    }
    if let Some(file) = args.json.as_ref().filter(|file| *file != Path::new("-")) {
        json::can_be_made(file, None)?;
    }
    if args.keep.is_some() && args.scenario.ends_with(".toml") {
        return Err(usage("--keep is for built-in scenarios: a scenario file may change later"));
    }
    if let Some(folder) = args.keep.as_ref().filter(|folder| !folder.is_dir()) {
        return Err(anyhow::anyhow!(
            "cannot keep anything in {}: there is no such directory",
            folder.display()
        )
        .into());
    }
    let started = Instant::now();
    let report = scenario.run(args.seed.unwrap_or(1), args.runs.unwrap_or(1));
    let wall_s = round(started.elapsed().as_secs_f64());
    let timed = Timed { report, wall_s, rss_mib: round(rss_max_mib()) };
    match &args.json {
        Some(to) => json::write(to, &timed)?,
        None => {
            say!("{}  {:<26} {wall_s:.1} s, {:.0} MiB", timed.report.summary(), "took", timed.rss_mib)
        }
    }
    if let Some(folder) = &args.keep {
        keep(folder, &timed.report, args.peers)?;
    }
    match &*timed.report.violations {
        [] => Ok(()),
        [first, ..] => {
            Err(anyhow::anyhow!("{} violations, the first: {first}", timed.report.violations.len()).into())
        }
    }
}

/// Writes each violation to its own file.
fn keep(folder: &Path, report: &plenary_sim::Report, viewers: Option<usize>) -> Result<(), Failure> {
    for (file, broken) in Broken::of(report, viewers).map_err(anyhow::Error::msg)? {
        let path = folder.join(file);
        std::fs::write(&path, broken.text()).with_context(|| format!("cannot write {}", path.display()))?;
        say!("kept in {}", path.display());
    }
    Ok(())
}
