//! Measures all scenarios and writes `docs/measurements`: `measure DIR [--runs N] [--seed N]`. Each scenario
//! runs as often as its row says, but at most `--runs` times.

mod plots;
mod tables;

use std::error::Error;
use std::path::PathBuf;
use std::time::Instant;

use plenary_sim::Report;
use plenary_sim::scenario::{Samples, Scenario, named};
use plenary_sim::units::Span;

/// Scenarios to measure: name, maximum number of runs, and a reference for comparison. Each scenario has its
/// full size; one run of the largest takes some minutes, so its number of runs is small.
const ROWS: &[(&str, u64, &str)] = &[
    ("election-50", 20, "nobody known"),
    ("election-liars", 20, "nobody known"),
    ("calm-room", 20, "nobody known"),
    ("mixer-lost", 20, "commercial apps: seconds to 50 s"),
    ("mixer-stalls", 40, "nobody known"),
    ("mixer-radio", 20, "nobody known"),
    ("partition", 20, "nobody known"),
    ("churn-500", 20, "Peerbit: bytes 1.15"),
    ("prm-10k", 20, "PRM (Banerjee et al., 2003): 97 % within 600 ms at 10,000"),
    ("flash-5k", 20, "nobody known"),
    ("top-killed", 20, "nobody known"),
    ("parent-killed", 20, "Peerbit: 750 ms"),
    ("mixed-uplinks", 20, "the oracle's tree"),
    ("equal-peers", 20, "⌈log₄ 250⌉ + 1 levels"),
    ("scale-100k", 1, "nobody known"),
    ("peer-tree-data", 20, "nobody known"),
    ("peer-tree-recover", 20, "nobody known"),
    ("pages-500", 2, "nobody known"),
    ("two-mixers", 20, "nobody known"),
    ("sleepers", 20, "nobody known"),
    ("loss-rises", 20, "nobody known"),
    ("false-relays", 20, "nobody known"),
    ("climbers", 20, "nobody known"),
    ("forgers", 20, "nobody known"),
    ("free-riders", 20, "nobody known"),
    ("sybils", 20, "nobody known"),
    ("world-evening", 20, "nobody known"),
    ("busy-machines", 5, "nobody known"),
];
/// Cores of each peer's machine in the column with limited processor time, and the most runs for it.
const CORES: u8 = 2;
const RUNS_ON_MACHINES_MAX: u64 = 5;
/// Audience sizes in the plots of depth and memory.
const AUDIENCES: [usize; 4] = [30, 100, 1_000, 10_000];
/// Churn rates in runs of `churn-500`, in percent of the viewers per minute, and the number of viewers in
/// these runs.
const CHURN: [u64; 5] = [2, 5, 10, 20, 40];
const CHURN_AUDIENCE: usize = 100;

/// Results of one scenario.
struct Measured {
    report: Report,
    /// The same with limited processor time, for scenarios at packet level.
    on_machines: Option<Report>,
    samples: Samples,
    wall_s: f64,
    compared: &'static str,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().ok_or("measure DIR [--runs N] [--seed N]")?);
    let (mut runs_each, mut seed) = (None, 1);
    while let Some(flag) = arguments.next() {
        let value: u64 = arguments.next().ok_or(format!("{flag} needs a number"))?.parse()?;
        match &*flag {
            "--runs" => runs_each = Some(value),
            "--seed" => seed = value,
            _ => return Err(format!("{flag}: no such flag").into()),
        }
    }
    std::fs::create_dir_all(&folder)?;
    let mut all = Vec::new();
    for (name, runs, compared) in ROWS {
        let runs = runs_each.map_or(*runs, |most: u64| most.min(*runs));
        let scenario = by_name(name)?;
        let mut measured = measure(&scenario, seed, runs, compared);
        if measured.report.media_model == "packet" {
            let runs = runs.min(RUNS_ON_MACHINES_MAX);
            measured.on_machines = Some(scenario.with_own_machines(CORES).run(seed, runs));
        }
        all.push(measured);
    }
    let mut smaller = Vec::new();
    for viewers in AUDIENCES {
        let mut scenario = by_name("scale-100k")?.with_audience(viewers)?;
        scenario.storm = Span(150_000_000);
        smaller.push(measure(&scenario, seed, 1, ""));
    }
    let largest = all.iter().filter(|one| one.report.scenario == "scale-100k");
    let sizes: Vec<&Measured> = smaller.iter().chain(largest).collect();
    let mut churned = Vec::new();
    for percent in CHURN {
        let scenario = by_name("churn-500")?.with_audience(CHURN_AUDIENCE)?;
        let stay_us = 60_000_000 * 100 / percent;
        churned.push((percent, measure(&scenario.with_stays(Span(stay_us)), seed, 2, "")));
    }
    tables::write(&folder, &all, &sizes)?;
    plots::write(&folder, &all, &sizes, &churned)
}

fn by_name(name: &str) -> Result<Scenario, String> {
    named(name).unwrap_or_else(|| Err(format!("{name}: no such scenario")))
}

fn measure(scenario: &Scenario, seed: u64, runs: u64, compared: &'static str) -> Measured {
    let started = Instant::now();
    let (report, samples) = scenario.measure(seed, runs);
    let wall_s = started.elapsed().as_secs_f64();
    eprintln!("{}: {} peers, {runs} runs in {wall_s:.1} s", report.scenario, report.peers);
    Measured { report, on_machines: None, samples, wall_s, compared }
}
