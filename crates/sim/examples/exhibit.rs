//! An exhibit with a script, natively: `exhibit SEED PEERS UNTIL_MS [AT_MS:ACT:WHICH…]` prints the trace at the end,
//! and to stderr what each second took and the effect of the acts. `crates/sim/wasm/check` compares the trace with that
//! of wasm32.
//!
//! Acts: 0 kill peer WHICH, 1 kill the mixer, 2 kill the host, 3 kill the rendezvous, 4 revive it, 5 cut off continent
//! WHICH, 6 heal, 7 kill 30 %, 8 newcomers.

use std::time::Instant;

use plenary_proto::time::MS;
use plenary_sim::exhibit::{Act, Exhibit, HEADER_WORDS};

fn main() {
    let mut args = std::env::args().skip(1);
    let mut number = |default: u64| args.next().and_then(|text| text.parse().ok()).unwrap_or(default);
    let (seed, peers, until_ms) = (number(1), number(200), number(20_000));
    let acts: Vec<(u64, Act)> = args.filter_map(|text| read(&text)).collect();
    let mut exhibit = Exhibit::new(seed, peers as usize);
    let (mut next, mut began) = (acts.iter().peekable(), Instant::now());
    while exhibit.now().0 < until_ms * MS {
        while let Some((at_ms, act)) = next.next_if(|(at_ms, _)| at_ms * MS <= exhibit.now().0) {
            eprintln!("{at_ms} ms: {act:?} {}", exhibit.act(*act));
        }
        let due_ms = next.peek().map_or(until_ms, |(at_ms, _)| *at_ms).min(until_ms);
        let left_us = (due_ms * MS).saturating_sub(exhibit.now().0).clamp(20 * MS, 1_000 * MS);
        exhibit.run_for(left_us);
        let words = exhibit.view().chunks_exact(4).take(HEADER_WORDS);
        let words: Vec<i32> =
            words.filter_map(|word| Some(i32::from_le_bytes(word.try_into().ok()?))).collect();
        eprintln!("{words:?} {} ms", began.elapsed().as_millis());
        began = Instant::now();
    }
    for violation in exhibit.violations() {
        eprintln!("{violation:?}");
    }
    println!("{seed} {:016x}", exhibit.trace());
}

fn read(text: &str) -> Option<(u64, Act)> {
    let mut parts = text.split(':');
    let at_ms = parts.next()?.parse().ok()?;
    let mut number = || parts.next()?.parse().ok();
    let act = number()?;
    Some((at_ms, Act::numbered(act, number().unwrap_or_default())?))
}
