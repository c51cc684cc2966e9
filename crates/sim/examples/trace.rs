//! What one seed comes to in a small world: its trace in 64 bits. `trace SEED…` prints them; `crates/sim/wasm` does the
//! same on wasm32, and they must be alike.

use plenary_proto::time::SECOND;
use plenary_sim::{MediaModel, NetPlan, PeerPlan, RoomPlan, World, WorldPlan};

/// A room opens, elects, feeds its viewers, loses its mixer and is fed again.
pub fn trace(seed: u64) -> u64 {
    let plan = WorldPlan {
        peers: PeerPlan::cast(3, 3, 14),
        net: NetPlan::HOME,
        room: RoomPlan { k: 2, k1: 3, ..RoomPlan::DEFAULT },
        media: MediaModel::Frame,
    };
    let mut world = World::new(plan, seed);
    world.run_for(8 * SECOND);
    world.mixers().into_iter().for_each(|mixer| world.kill(mixer));
    world.run_for(4 * SECOND);
    world
        .trace_hash()
        .chars()
        .filter_map(|digit| digit.to_digit(16))
        .take(16)
        .fold(0, |hash, digit| hash << 4 | u64::from(digit))
}

fn main() {
    for seed in std::env::args().skip(1).filter_map(|seed| seed.parse().ok()) {
        println!("{seed} {:016x}", trace(seed));
    }
}
