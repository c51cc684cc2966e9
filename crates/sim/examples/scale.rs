//! Performance of a large room: `scale PEERS [SECONDS [SEED]]`. Prints wall time, inputs and memory. The
//! audience joins within a minute, or at 1,000 peers per second if it is larger; then the room runs
//! undisturbed.

use std::time::Instant;

use plenary_proto::Time;
use plenary_proto::time::{MS, SECOND};
use plenary_sim::memory::allocated_bytes;
use plenary_sim::{Kind, MediaModel, NetPlan, PeerPlan, RoomPlan, World, WorldPlan};

const SPEAKERS: usize = 4;
const CANDIDATES: usize = 6;

fn main() {
    let number = |at: usize, default: u64| {
        std::env::args().nth(at).and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let (count, seconds, seed) = (number(1, 1_000) as usize, number(2, 120), number(3, 1));
    let viewers = count.saturating_sub(SPEAKERS + CANDIDATES);
    let joining_us = (viewers as u64 * MS).max(60 * SECOND);
    let kinds = [(Kind::Speaker, SPEAKERS), (Kind::Candidate, CANDIDATES), (Kind::Viewer, viewers)];
    let kinds = kinds.into_iter().flat_map(|(kind, count)| (0..count).map(move |at| (kind, at as u64)));
    let peers = kinds.map(|(kind, at)| PeerPlan {
        joins_at: match kind {
            Kind::Viewer => Time(SECOND + at * joining_us / viewers.max(1) as u64),
            _ => Time(at * 20 * MS),
        },
        ..PeerPlan::of(kind)
    });
    let plan = WorldPlan {
        room: RoomPlan::DEFAULT,
        net: NetPlan::HOME,
        media: MediaModel::Fluid,
        peers: peers.collect(),
    };
    let before = allocated_bytes().unwrap_or(0);
    let started = Instant::now();
    let mut world = World::new(plan, seed);
    for second in 1..=seconds {
        world.run_until(Time(second * SECOND));
        if second % 30 == 0 {
            let wall_s = started.elapsed().as_secs_f64();
            eprintln!("{second} s of room in {wall_s:.1} s, {} starve", world.starving(SECOND).len());
        }
    }
    let wall_s = started.elapsed().as_secs_f64();
    let (inputs, bytes) = (world.inputs() as f64, allocated_bytes().unwrap_or(0).saturating_sub(before));
    let mut joins = world.join_us();
    joins.sort_unstable();
    let depths = world.depths();
    println!("peers {count}, room {seconds} s, seed {seed}, trace {}", world.trace_hash());
    println!("wall {wall_s:.1} s, inputs {inputs}, {:.0} inputs per wall second", inputs / wall_s);
    println!("inputs per peer and second {:.3}", inputs / (count as u64 * seconds) as f64);
    println!("bytes per peer {}, in all {} MiB", bytes / count, bytes >> 20);
    let deepest = depths.iter().max().copied().unwrap_or(0);
    let mean = depths.iter().sum::<usize>() as f64 / depths.len().max(1) as f64;
    println!("fed {} of {viewers}, depth {deepest}, mean {mean:.2}", joins.len());
    if let Some(last) = joins.len().checked_sub(1) {
        println!("joined p50 {} ms, p95 {} ms", joins[last / 2] / MS, joins[last * 95 / 100] / MS);
    }
    println!(
        "starving {}, brain {} bytes",
        world.starving(SECOND).len(),
        size_of::<plenary_proto::RoomState>()
    );
}
