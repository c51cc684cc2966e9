//! Trace hashes of two small worlds, 64 bits each: `trace SEED…` prints them. `crates/sim/wasm` prints those
//! of the wasm32 build, and both must be equal.

use plenary_proto::time::SECOND;
use plenary_sim::scenario::Scenario;
use plenary_sim::{MediaModel, NetPlan, PeerPlan, RoomPlan, World, WorldPlan};

/// A room that opens, elects a mixer, feeds its viewers, loses its mixer and is fed again.
pub fn trace(seed: u64) -> u64 {
    let plan = WorldPlan {
        peers: PeerPlan::cast(3, 3, 14),
        net: NetPlan::HOME,
        room: RoomPlan { k: 2, k1: 3, ..RoomPlan::DEFAULT },
        media: MediaModel::Frame,
    };
    lived(plan, seed)
}

/// Scenario with everything else that a world can contain.
const ROUGH: &str = "
    title = 'all that can be drawn'
    media = 'packet'
    storm = '12s'
    calm = '5s'
    [room]
    k = 3
    k1 = 4
    [net]
    ways = 'regions'
    loss = '1%'
    bursts = '1%'
    pauses-each = '8s'
    jitter = '10ms'
    [[peers]]
    kind = 'speaker'
    count = 2
    devices = { laptop = 1 }
    nats = true
    clock-ppm = 100
    [[peers]]
    kind = 'candidate'
    count = 3
    devices = { desktop = 1, server = 1 }
    arrival = { from = '80ms', within = '60ms' }
    [[peers]]
    kind = 'viewer'
    count = 14
    devices = { phone = 2, laptop = 3, desktop = 2, server = 1 }
    nats = true
    arrival = { from = '500ms', within = '4s', shape = 'zipf' }
    stay = { heavy-tailed = '12s' }
    polite = '50%'
    refilled = true
    stalls = { each = '6s', last = '300ms' }
    clock-ppm = 100
    [[peers]]
    kind = 'viewer'
    count = 2
    arrival = { from = '1s' }
    attack = 'drop'
    [[peers]]
    kind = 'viewer'
    count = 2
    arrival = { from = '1s' }
    attack = 'delay 300ms'
";

/// The same events in a world with drawn people, devices, lines, NATs, network impairments, clocks, and some
/// attackers.
pub fn trace_in_the_rough(seed: u64) -> u64 {
    let scenario = Scenario::read("rough", ROUGH).unwrap_or_else(|error| panic!("{error}"));
    lived(scenario.plan(seed), seed)
}

fn lived(plan: WorldPlan, seed: u64) -> u64 {
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
        println!("{seed} {:016x} {:016x}", trace(seed), trace_in_the_rough(seed));
    }
}
