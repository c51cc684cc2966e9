//! Explores drawn storms: `explore --minutes N [--from SEED] [--keep FOLDER]` runs storms on all cores until
//! time is up, writes the reduced form of each failing one to a file, and fails if there is any. `explore FILE.toml`
//! reruns the case of a file with narration, a storm or a run of a scenario. `explore FILE.toml --draws N` reruns it
//! with N other seeds: a case that passes with its own seed isn't fixed if a change has merely altered its random
//! draws.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use plenary_sim::kept::Kept;
use plenary_sim::storm::{Storm, smallest};

/// Maximum number of storms that are run to reduce a failing one.
const SHRINKING_RUNS: usize = 200;
/// Maximum duration: a month.
const MINUTES_MAX: u64 = 31 * 24 * 60;

const USAGE: &str =
    "explore --minutes N [--from SEED] [--keep FOLDER], explore FILE.toml, or explore FILE.toml --draws N";

fn main() -> Result<(), String> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let number = |text: &str| text.parse::<u64>().map_err(|_| format!("{text} is no number: {USAGE}"));
    let minutes = |text: &str| Ok::<_, String>(Duration::from_secs(60 * number(text)?.min(MINUTES_MAX)));
    match arguments[..] {
        ["--minutes", time] => explore(minutes(time)?, 0, ".")?,
        ["--minutes", time, "--from", first] => explore(minutes(time)?, number(first)?, ".")?,
        ["--minutes", time, "--from", first, "--keep", folder] => {
            explore(minutes(time)?, number(first)?, folder)?
        }
        [file] if !file.starts_with("--") => println!("{:#?}", read(file)?.run(true)),
        [file, "--draws", draws] => redraw(&read(file)?, number(draws)?),
        _ => return Err(USAGE.to_owned()),
    }
    Ok(())
}

fn read(file: &str) -> Result<Kept, String> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("cannot read {file}: {error}"))?;
    Kept::read(&text).map_err(|what| format!("{file} keeps neither a storm nor a run of a scenario: {what}"))
}

/// Reruns a case under `draws` seeds, and prints the failing ones.
fn redraw(kept: &Kept, draws: u64) {
    let mut failed = 0;
    for seed in (kept.seed()..).take(draws as usize) {
        if let Some((checker, what)) = outcome(&kept.under(seed)) {
            failed += 1;
            println!("seed {seed}: {checker}: {what}");
        }
    }
    println!("{draws} draws, {failed} failed");
}

/// Fails when a storm does.
fn explore(time: Duration, first: u64, folder: &str) -> Result<(), String> {
    let begun = Instant::now();
    let (seeds, failed) = (AtomicU64::new(first), AtomicU64::new(0));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while begun.elapsed() < time {
                    let seed = seeds.fetch_add(1, Ordering::Relaxed);
                    failed.fetch_add(u64::from(fails(seed, folder)), Ordering::Relaxed);
                }
            });
        }
    });
    let (storms, failed) = (seeds.into_inner() - first, failed.into_inner());
    println!("{storms} storms, {failed} failed");
    if failed == 0 { Ok(()) } else { Err(format!("{failed} storms failed")) }
}

/// Whether the storm of this seed breaks something; then its smallest form is kept.
fn fails(seed: u64, folder: &str) -> bool {
    let storm = Storm::drawn(seed);
    let Some((checker, _)) = storm_outcome(&storm) else { return false };
    let still = |storm: &Storm| storm_outcome(storm).is_some_and(|(found, _)| found == checker);
    let mut least = smallest(storm, SHRINKING_RUNS, still);
    let what = storm_outcome(&least).map_or(String::new(), |(_, what)| what);
    least.showed = format!("{checker}: {what}");
    let file = format!("{folder}/{checker}-{seed}.toml");
    std::fs::write(&file, toml::to_string(&least).expect("a storm is plain data")).expect("it is written");
    println!("seed {seed}: {checker}, {} acts left: {file}", least.acts.len());
    true
}

/// First violation of a run, as checker and description; a brain that violates its own invariants panics.
fn outcome(kept: &Kept) -> Option<(&'static str, String)> {
    match std::panic::catch_unwind(|| kept.run(false)) {
        Ok(violations) => violations.into_iter().next().map(|first| (first.checker, first.what)),
        Err(_) => Some(("panic", "a brain's invariant".to_owned())),
    }
}

fn storm_outcome(storm: &Storm) -> Option<(&'static str, String)> {
    outcome(&Kept::Storm(storm.clone()))
}
