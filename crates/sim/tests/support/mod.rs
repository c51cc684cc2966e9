//! Small rooms that several tests share: planned, run under the safety checkers, and checked for calm.

use plenary_proto::PeerId;
use plenary_proto::time::SECOND;
use plenary_sim::checkers::{liveness, safety};
use plenary_sim::{MediaModel, NetPlan, PeerPlan, RoomPlan, World, WorldPlan};

/// The seeds of a test, shifted by the environment variable `PLENARY_SEED` if it is set.
pub(crate) fn seeds(usual: std::ops::Range<u64>) -> std::ops::Range<u64> {
    let first =
        std::env::var("PLENARY_SEED").map_or(0, |seed| seed.parse().expect("PLENARY_SEED is a number"));
    first + usual.start..first + usual.end
}

/// Runs `run` on each item, on as many threads as there are cores. A panic in one of them is a panic of the caller.
pub(crate) fn side_by_side<T: Send>(items: Vec<T>, run: impl Fn(T) + Sync) {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let waiting = std::sync::Mutex::new(items);
    let next = || waiting.lock().unwrap().pop();
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while let Some(item) = next() {
                    run(item);
                }
            });
        }
    });
}

/// A room with speakers (the first one is the host), candidates and viewers, on links of 5 to 40 ms with 0.5
/// % loss, all of which join within a second.
pub(crate) fn plan(speakers: usize, candidates: usize, viewers: usize) -> WorldPlan {
    WorldPlan {
        room: RoomPlan { k: 4, k1: 6, ..RoomPlan::DEFAULT },
        net: NetPlan::HOME,
        media: MediaModel::Frame,
        peers: PeerPlan::cast(speakers, candidates, viewers),
    }
}

/// Runs a world of this plan for `seconds` seconds.
pub(crate) fn run(plan: WorldPlan, seed: u64, seconds: u64) -> World {
    println!("seed {seed}");
    let mut world = World::new(plan, seed);
    run_on(&mut world, seconds);
    world
}

/// Runs a world for `seconds` more seconds, and asserts that no safety checker finds a violation.
pub(crate) fn run_on(world: &mut World, seconds: u64) {
    for _ in 0..seconds * 2 {
        world.run_for(SECOND / 2);
        let violations = safety(world);
        assert!(violations.is_empty(), "seed {} at {}: {violations:?}", world.seed(), world.now());
    }
}

/// Asserts everything that must hold in a calm.
pub(crate) fn calm(world: &World) {
    let violations = liveness(world);
    assert!(violations.is_empty(), "seed {} at {}: {violations:#?}", world.seed(), world.now());
}

/// Viewers that get their program from this mixer.
pub(crate) fn under(world: &World, mixer: PeerId) -> Vec<PeerId> {
    let viewers = world.viewers().into_iter();
    viewers.filter(|viewer| world.snapshot(*viewer).path.first() == Some(&mixer.short())).collect()
}
