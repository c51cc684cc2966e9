//! Runs a built-in scenario or one in a file, and prints its summary: `scenario NAME|FILE.toml [SEED [RUNS
//! [VIEWERS]]]`.

use plenary_sim::scenario::{Scenario, named, names};

const USAGE: &str = "scenario NAME|FILE.toml [SEED [RUNS [VIEWERS]]]";

fn main() -> Result<(), String> {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or_default();
    let in_file = || name.ends_with(".toml").then(|| Scenario::open(&name));
    let mut scenario = named(&name).or_else(in_file).unwrap_or_else(|| {
        let known = names().collect::<Vec<_>>().join(", ");
        Err(format!("{name:?} is no scenario: {USAGE}, where NAME is one of {known}"))
    })?;
    let number = |text: String| text.parse::<u64>().map_err(|_| format!("{text} is no number: {USAGE}"));
    let numbers = arguments.map(number).collect::<Result<Vec<_>, _>>()?;
    let (seed, runs, viewers) = match numbers[..] {
        [] => (1, 1, None),
        [seed] => (seed, 1, None),
        [seed, runs] => (seed, runs, None),
        [seed, runs, viewers] => (seed, runs, Some(viewers)),
        _ => return Err(USAGE.to_owned()),
    };
    if let Some(viewers) = viewers {
        scenario = scenario.with_audience(viewers as usize)?;
    }
    let report = scenario.run(seed, runs);
    println!("{}", report.summary());
    report.violations.iter().take(5).for_each(|violation| println!("{violation}"));
    Ok(())
}
