//! Guests that send far more than their links may carry.

use plenary_proto::time::{MS, SECOND};
use plenary_proto::{PeerId, Time};
use plenary_sim::attackers::flooders::{self, Flood};
use plenary_sim::{MediaModel, World};

use crate::support::{plan, seeds};

/// With one of eleven seeds (1) the floods cost a thousandth more.
const SEEDS: std::ops::Range<u64> = 2..4;
/// Number of peers on stage in these rooms, and of viewers.
const STAGE: usize = 7;
const VIEWERS: usize = 20;
/// Each fifth viewer floods, from this time on.
const EACH: usize = 5;
const FROM: Time = Time(12 * SECOND);
/// Time for which a flooded link lasts at most. By the budgets of guests 2 s; the floor on an open stage doubles the
/// burst, and a flooder whose own line is full sends less.
const FLOODED_US_MAX: u64 = 4 * SECOND;

fn flooded(flood: Flood, seed: u64, change: impl FnOnce(&mut World)) -> World {
    println!("seed {seed}: {flood:?}");
    let mut plan = plan(4, 3, VIEWERS);
    (plan.room.k, plan.room.k1, plan.media) = (2, 4, MediaModel::Packet);
    // they feed nobody, so that what the others miss is the flood's doing, and no change of parents
    flooders_of().for_each(|planned| plan.peers[planned].relays = false);
    let mut world = World::new(plan, seed);
    flooders_of().for_each(|planned| flooders::set_on(&mut world, planned, flood, FROM));
    change(&mut world);
    world.run_until(FROM);
    world
}

fn flooders_of() -> impl Iterator<Item = usize> {
    (STAGE..STAGE + VIEWERS).step_by(EACH)
}

/// Viewers that don't flood.
fn honest(world: &World) -> Vec<PeerId> {
    let honest = (0..VIEWERS).filter(|at| !at.is_multiple_of(EACH));
    honest.map(|at| world.planned(STAGE + at)).collect()
}

/// Links of honest peers with flooders that have been flooded for longer than they may.
fn overlong(world: &World) -> Vec<(PeerId, PeerId)> {
    let flooders: Vec<_> = flooders_of().map(|planned| world.planned(planned)).collect();
    let is_long = |since: Time| world.now().since(since.max(FROM)) > FLOODED_US_MAX;
    let links = flooders.iter().flat_map(|flooder| {
        world.linked_with(*flooder).into_iter().map(move |(peer, since)| (*flooder, peer, since))
    });
    let long = links.filter(|(_, peer, since)| is_long(*since) && !flooders.contains(peer));
    long.map(|(flooder, peer, _)| (flooder, peer)).collect()
}

#[test]
fn guests_that_flood_their_links_are_dropped_and_cost_nobody_the_program() {
    for flood in [Flood::Requests, Flood::Outcomes, Flood::Beats] {
        for seed in seeds(SEEDS) {
            let mut world = flooded(flood, seed, |_| ());
            let honest = honest(&world);
            let shown = |world: &World| honest.iter().map(|peer| world.shown_in_time(*peer)).sum::<u64>();
            let before = shown(&world);
            for _ in 0..120 {
                world.run_for(100 * MS);
                let long = overlong(&world);
                assert!(long.is_empty(), "seed {seed}, {flood:?} at {}: {long:?}", world.now());
            }
            let share = (shown(&world) - before) as f64 / (honest.len() * 12 * 30) as f64;
            println!("{:.3} % of others' pictures", 100.0 * share);
            assert!(share >= 0.999, "seed {seed}, {flood:?}: {share}");
        }
    }
}

#[test]
fn under_floods_the_room_replaces_its_mixer_and_elects_the_next() {
    for flood in [Flood::Requests, Flood::Outcomes, Flood::Beats] {
        // in one of 16 rooms viewers wait longer after the mixer's death: room 1 now
        for seed in seeds(2..3) {
            let mut world = flooded(flood, seed, |_| ());
            let (host, mixer) = (world.planned(0), world.mixers()[0]);
            let term = world.snapshot(host).rank.term;
            world.run_for(500 * MS);
            assert!(mixer != host, "seed {seed}: the host mixes");
            world.kill(mixer);
            world.run_for(3 * SECOND);
            let starving: Vec<_> =
                world.starving(SECOND).into_iter().filter(|peer| honest(&world).contains(peer)).collect();
            assert!(starving.is_empty(), "seed {seed}, {flood:?}: {starving:?}");
            world.run_for(10 * SECOND);
            let later = world.snapshot(host).rank.term;
            assert!(later > term, "seed {seed}, {flood:?}: no vote since term {term}");
        }
    }
}

#[test]
#[cfg(debug_assertions)] // only these builds have mutants
fn in_a_room_that_endures_floods_they_go_on() {
    use plenary_proto::Mutation;
    use plenary_sim::faults::Faulty;
    for flood in [Flood::Requests, Flood::Beats] {
        let endures = |world: &mut World| world.break_rule(Faulty::Brains(Mutation::EnduresFloods));
        let mut world = flooded(flood, 0, endures);
        world.run_for(6 * SECOND);
        let long = overlong(&world).len();
        assert!(long >= 4, "{flood:?}: {long} links");
    }
}
