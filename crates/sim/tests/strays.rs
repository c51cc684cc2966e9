//! Media that nobody asked for, and packets that leap ahead of the program.

use plenary_proto::PeerId;
use plenary_proto::time::{MS, SECOND};
use plenary_sim::deviation::Deviation;
use plenary_sim::strays::{Leaper, Scatterer};
use plenary_sim::{MediaModel, World, WorldPlan};

use crate::support::{plan, run_on, seeds};

const SEEDS: std::ops::Range<u64> = 0..4;
/// Number of peers on stage in these rooms, and of viewers.
const STAGE: usize = 7;
const VIEWERS: usize = 30;

/// A room of bodies with a narrow tree in which each fifth viewer deviates.
fn attacked(plan: &WorldPlan, seed: u64, deviation: impl Fn() -> Box<dyn Deviation>) -> World {
    let mut world = World::new(plan.clone(), seed);
    for planned in (STAGE..STAGE + VIEWERS).step_by(5) {
        world.deviate_from_the_start(planned, deviation());
    }
    run_on(&mut world, 15);
    world
}

fn narrow() -> WorldPlan {
    let mut plan = plan(4, 3, VIEWERS);
    (plan.room.k, plan.room.k1, plan.media) = (2, 4, MediaModel::Packet);
    plan
}

/// The viewers that keep to the rules.
fn honest(world: &World) -> Vec<PeerId> {
    let honest = (0..VIEWERS).filter(|at| !at.is_multiple_of(5));
    honest.map(|at| world.planned(STAGE + at)).collect()
}

fn longest_gaps_us(world: &World, since: plenary_proto::Time) -> Vec<u64> {
    honest(world).iter().map(|viewer| world.longest_gap_us(*viewer, since)).collect()
}

#[test]
fn viewers_show_their_forged_program_to_nobody_who_is_not_below_them() {
    for seed in seeds(SEEDS) {
        let mut plan = narrow();
        for peer in plan.peers.iter_mut().skip(STAGE).step_by(5) {
            peer.relays = false;
        }
        let mut world = attacked(&plan, seed, || Box::<Scatterer>::default());
        let since = world.now();
        run_on(&mut world, 10);
        let forged = world.delivery().frames_forged;
        assert!(forged.is_none_or(|forged| forged == 0.0), "seed {seed}: {forged:?}");
        let gaps = longest_gaps_us(&world, since);
        assert!(gaps.iter().all(|gap| *gap < SECOND), "seed {seed}: {gaps:?}");
    }
}

#[test]
fn one_packet_far_ahead_costs_no_more_than_a_change_of_parents() {
    for (ahead, gap_us_max) in [(1 << 48, 500 * MS), (1_500, 3 * SECOND)] {
        for seed in seeds(SEEDS) {
            let mut world = attacked(&narrow(), seed, || Box::new(Leaper::by(ahead)));
            let since = world.now();
            run_on(&mut world, 15);
            let gaps = longest_gaps_us(&world, since);
            assert!(gaps.iter().all(|gap| *gap < gap_us_max), "seed {seed}, {ahead} ahead: {gaps:?}");
        }
    }
}
