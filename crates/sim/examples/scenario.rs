//! Runs a scenario that comes along, or one in a file, and prints its summary: `scenario NAME|FILE.toml [SEED [RUNS [VIEWERS]]]`.

use plenary_sim::scenario::{Scenario, named, names};

fn main() -> Result<(), String> {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or_default();
    let in_file = || name.ends_with(".toml").then(|| Scenario::open(&name));
    let Some(scenario) = named(&name).or_else(in_file) else {
        names().for_each(|name| println!("{name}"));
        return Ok(());
    };
    let mut number = || arguments.next().and_then(|text| text.parse::<u64>().ok());
    let (seed, runs, viewers) = (number().unwrap_or(1), number().unwrap_or(1), number());
    let mut scenario = scenario?;
    if let Some(viewers) = viewers {
        scenario = scenario.with_audience(viewers as usize)?;
    }
    let report = scenario.run(seed, runs);
    println!("{}", report.summary());
    report.violations.iter().take(5).for_each(|violation| println!("{violation}"));
    Ok(())
}
