//! `plenary sim`: many brains in one deterministic world.

use std::fmt::Write as _;
use std::time::Instant;

use plenary_sim::scenario::{PLANNED, SCENARIOS, named};
use serde::Serialize;

use crate::args::SimArgs;
use crate::json::{self, round};
use crate::{Failure, not_yet, usage};

#[derive(Serialize)]
struct Timed {
    #[serde(flatten)]
    report: plenary_sim::Report,
    wall_s: f64,
}

/// A few lines for a person.
fn summary(timed: &Timed) -> String {
    let Timed { report, wall_s } = timed;
    let mut text = format!(
        "{}: {} runs from seed {}, {} peers, {:.0} s of room time in {wall_s:.1} s\n",
        report.scenario, report.runs, report.seed, report.peers, report.room_time_s
    );
    let within = 100.0 * report.delivery.frames_within_1s;
    let _ = writeln!(text, "pictures within 1 s: {within:.2} %; depth {}", report.depth_max);
    for (what, times) in
        [("election", &report.decided_ms), ("first picture", &report.join_ms), ("repair", &report.repair_ms)]
    {
        if let Some(times) = times {
            let _ = writeln!(text, "{what}: {:.0} ms (p50), {:.0} ms (p95)", times.p50, times.p95);
        }
    }
    text
}

pub(crate) fn run(args: SimArgs) -> Result<(), Failure> {
    match &*args.scenario {
        "list" => {
            for scenario in SCENARIOS {
                println!("{:18} {}", scenario.name, scenario.line);
            }
            return Ok(());
        }
        "compare" => return Err(not_yet("sim compare")),
        file if file.ends_with(".toml") => return Err(not_yet("a scenario of one's own")),
        name if PLANNED.contains(&name) => return Err(not_yet(&format!("sim {name}"))),
        _ => {}
    }
    let Some(scenario) = named(&args.scenario) else {
        return Err(usage(format!("{}: no such scenario; `plenary sim list` names them", args.scenario)));
    };
    let started = Instant::now();
    let report = scenario.run(args.seed, args.runs, args.peers);
    let report = Timed { report, wall_s: round(started.elapsed().as_secs_f64()) };
    let violations = report.report.violations.clone();
    match &args.json {
        Some(to) => json::write(to, &report)?,
        None => eprint!("{}", summary(&report)),
    }
    match violations.first() {
        None => Ok(()),
        Some(first) => Err(anyhow::anyhow!("{} violations, the first: {first}", violations.len()).into()),
    }
}
