//! Links that members carry between peers whose NATs let no path through.

use plenary_proto::time::{MS, SECOND};
use plenary_proto::{PeerId, Time};
use plenary_sim::attackers::tunnellers;
use plenary_sim::{Nat, World, WorldPlan};

use crate::support::{plan, run_on, seeds};

const SEEDS: std::ops::Range<u64> = 0..5;

/// A mesh of four speakers, of which the second and third are behind NATs that give a port for each destination.
fn parted() -> WorldPlan {
    let mut plan = plan(4, 0, 0);
    plan.net.tunnels = true;
    [1, 2].iter().for_each(|at| plan.peers[*at].access.nat = Nat::Symmetric);
    plan
}

/// Since when two speakers are linked.
fn linked_since(world: &World, [one, other]: [usize; 2]) -> Option<Time> {
    let [one, other] = [one, other].map(|at| world.planned(at));
    world.linked_with(one).into_iter().find(|(peer, _)| *peer == other).map(|(_, since)| since)
}

#[test]
fn speakers_behind_symmetric_nats_are_linked_by_two_others() {
    for seed in seeds(SEEDS) {
        println!("seed {seed}");
        let mut world = World::new(parted(), seed);
        run_on(&mut world, 6);
        let since = linked_since(&world, [1, 2]).expect("they are not linked");
        assert!(since < Time(4 * SECOND), "seed {seed}: since {since}");
        for carrier in [0, 3] {
            assert_eq!(world.carries(world.planned(carrier)), 1, "seed {seed}: {carrier}");
        }
        let mut world = World::new(WorldPlan { net: plan(4, 0, 0).net, ..parted() }, seed);
        run_on(&mut world, 6);
        assert_eq!(linked_since(&world, [1, 2]), None, "seed {seed}: nobody carries");
    }
}

#[test]
fn a_carried_link_outlives_one_of_its_carriers() {
    for seed in seeds(SEEDS) {
        println!("seed {seed}");
        let mut world = World::new(parted(), seed);
        run_on(&mut world, 6);
        let since = linked_since(&world, [1, 2]);
        world.kill(world.planned(3));
        run_on(&mut world, 10);
        assert!(since.is_some() && linked_since(&world, [1, 2]) == since, "seed {seed}: {since:?}");
        assert_eq!(world.carries(world.planned(0)), 1, "seed {seed}");
    }
}

#[test]
fn who_wants_to_be_carried_everywhere_costs_nobody_the_program() {
    const FROM: Time = Time(8 * SECOND);
    let guests = || (7..27).step_by(4);
    for seed in seeds(0..2) {
        println!("seed {seed}");
        let mut plan = plan(4, 3, 20);
        plan.net.tunnels = true;
        guests().for_each(|guest| plan.peers[guest].relays = false);
        let mut world = World::new(plan, seed);
        guests().for_each(|guest| tunnellers::set_on(&mut world, guest, FROM));
        for _ in 0..40 {
            world.run_for(500 * MS);
            let all: Vec<PeerId> = (0..27).map(|at| world.planned(at)).collect();
            if world.now() < FROM {
                continue;
            }
            let most = all.iter().map(|peer| world.carries(*peer)).max();
            assert!(most <= Some(16), "seed {seed} at {}: {most:?}", world.now());
        }
        let honest: Vec<PeerId> =
            (7..27).filter(|at| guests().all(|guest| guest != *at)).map(|at| world.planned(at)).collect();
        let starving: Vec<_> =
            world.starving(SECOND).into_iter().filter(|peer| honest.contains(peer)).collect();
        assert!(starving.is_empty(), "seed {seed}: {starving:?}");
    }
}
