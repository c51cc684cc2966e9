//! Standbys that take the mixer's place as if it had asked for that.

use plenary_proto::PeerId;
use plenary_proto::time::MS;
use plenary_sim::attackers::usurpers;
use plenary_sim::{MediaModel, World};

use crate::support::{plan, run_on, seeds};

const SEEDS: std::ops::Range<u64> = 0..6;

fn room(seed: u64, change: impl FnOnce(&mut World)) -> World {
    println!("seed {seed}");
    let mut plan = plan(4, 3, 20);
    (plan.room.k, plan.room.k1, plan.media) = (2, 4, MediaModel::Packet);
    let mut world = World::new(plan, seed);
    change(&mut world);
    run_on(&mut world, 12);
    world
}

/// Peers that follow somebody else than this mixer: viewers by their path, all others by the mandate in force.
fn unfaithful(world: &World, mixer: PeerId, standby: PeerId) -> Vec<PeerId> {
    let viewers = world.viewers();
    let is_unfaithful = |peer: &PeerId| {
        let snapshot = world.snapshot(*peer);
        let above = snapshot.path.first().is_some_and(|root| *root != mixer.short());
        if viewers.contains(peer) { above } else { snapshot.mixers != [mixer] }
    };
    world.living().filter(|peer| *peer != standby && is_unfaithful(peer)).collect()
}

#[test]
fn a_standby_takes_no_living_mixer_s_place_by_a_wish_that_is_missing_forged_or_old() {
    for seed in seeds(SEEDS) {
        let mut world = room(seed, |_| ());
        let since = world.now();
        let (mixer, standby) = usurpers::set_on(&mut world).expect("a standby");
        let mut longest_us = 0;
        let mut unfaithful_since = None;
        for _ in 0..100 {
            world.run_for(100 * MS);
            let now = world.now();
            let some = unfaithful(&world, mixer, standby);
            let viewers = world.viewers();
            assert!(!some.iter().any(|peer| viewers.contains(peer)), "seed {seed} at {now}: {some:?} follow");
            match unfaithful_since {
                None if !some.is_empty() => unfaithful_since = Some(now),
                Some(since) if some.is_empty() => {
                    longest_us = longest_us.max(now.since(since));
                    unfaithful_since = None;
                }
                _ => {}
            }
        }
        assert!(world.snapshot(mixer).mixing && unfaithful_since.is_none(), "seed {seed}");
        // until the mixer's denial arrives
        assert!(longest_us <= 300 * MS, "seed {seed}: the stage is deceived for {longest_us} us");
        for viewer in world.viewers() {
            let gap = world.longest_gap_us(viewer, since);
            assert!(gap <= 300 * MS, "seed {seed}: {viewer:?} waited {gap} us");
        }
        run_on(&mut world, 2);
    }
}

#[test]
#[cfg(debug_assertions)] // only these builds have mutants
fn in_a_room_that_believes_a_standby_s_word_it_takes_the_mixer_s_place() {
    use plenary_proto::Mutation;
    use plenary_sim::faults::Faulty;
    for seed in seeds(0..2) {
        let believes = |world: &mut World| world.break_rule(Faulty::Brains(Mutation::BelievesAllWishes));
        let mut world = room(seed, believes);
        let (mixer, standby) = usurpers::set_on(&mut world).expect("a standby");
        world.run_for(1_900 * MS); // later the stage drops it for the wishes that don't hold
        assert_eq!(world.mixers(), [standby], "seed {seed}");
        let away = unfaithful(&world, mixer, standby).len();
        assert!(away > 20, "seed {seed}: {away} peers follow it");
    }
}
