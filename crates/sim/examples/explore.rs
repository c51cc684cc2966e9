//! Draws storms until time is up, and writes the smallest form of each failing one to a file:
//! `explore --minutes N [--from SEED]`; `explore FILE.toml` narrates one.

use std::time::{Duration, Instant};

use plenary_sim::checkers::liveness;
use plenary_sim::storm::{Storm, smallest};

/// Storms that are tried to make a failing one smaller.
const SHRINKING_RUNS: usize = 200;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |name: &str, default: u64| {
        let at = arguments.iter().position(|argument| argument == name);
        at.and_then(|at| arguments.get(at + 1)?.parse().ok()).unwrap_or(default)
    };
    match arguments.first() {
        Some(file) if !file.starts_with("--") => narrate(file),
        _ => explore(Duration::from_secs(60 * number("--minutes", 1)), number("--from", 0)),
    }
}

fn narrate(file: &str) {
    let text = std::fs::read_to_string(file).expect("the file can be read");
    let storm: Storm = toml::from_str(&text).expect("the file is a storm");
    let mut world = storm.world();
    world.narrate(true);
    storm.run_in(&mut world);
    for peer in world.living() {
        eprintln!("{peer:?} {:?}", world.snapshot(peer));
    }
    println!("{:#?}", liveness(&world));
}

fn explore(time: Duration, first: u64) {
    let begun = Instant::now();
    let mut failed = 0;
    let mut seed = first;
    while begun.elapsed() < time {
        let storm = Storm::drawn(seed);
        if let Some((checker, _)) = outcome(&storm) {
            failed += 1;
            let still = |storm: &Storm| outcome(storm).is_some_and(|(found, _)| found == checker);
            let mut least = smallest(storm, SHRINKING_RUNS, still);
            let what = outcome(&least).map_or(String::new(), |(_, what)| what);
            least.showed = format!("{checker}: {what}");
            let file = format!("{checker}-{seed}.toml");
            std::fs::write(&file, toml::to_string(&least).expect("a storm is plain data"))
                .expect("it is written");
            println!("seed {seed}: {checker}, {} acts left: {file}", least.acts.len());
        }
        seed += 1;
    }
    println!("{} storms, {failed} failed", seed - first);
}

/// What a storm breaks first, and how; a brain whose own invariants break panics.
fn outcome(storm: &Storm) -> Option<(&'static str, String)> {
    match std::panic::catch_unwind(|| storm.run()) {
        Ok(violations) => violations.into_iter().next().map(|first| (first.checker, first.what)),
        Err(_) => Some(("panic", "a brain's invariant".to_owned())),
    }
}
