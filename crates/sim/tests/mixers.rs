//! Several mixers in one room: how speakers and audience are spread over them, and what becomes of it when one dies.

use std::collections::BTreeMap;

use plenary_proto::time::{MS, SECOND};
use plenary_proto::{PeerId, Time};
use plenary_sim::checkers::{liveness, safety};
use plenary_sim::{Kind, MediaModel, NetPlan, PeerPlan, RoomPlan, World, WorldPlan};

const SEEDS: std::ops::Range<u64> = 0..10;

#[test]
fn each_of_two_mixers_is_the_home_of_half_the_speakers() {
    for seed in SEEDS {
        let world = run(plan(2, 4, 3, 24), seed, 12);
        let mixers = world.mixers();
        assert_eq!(mixers.len(), 2, "seed {seed}");
        assert_eq!(world.snapshot(world.planned(0)).standbys.len(), 1, "seed {seed}");
        assert_eq!(homes(&world, 4).into_values().collect::<Vec<_>>(), [2, 2], "seed {seed}");
        calm(&world, seed);
    }
}

#[test]
fn two_mixers_die_one_after_the_other_and_the_third_serves_everyone() {
    let mut gaps_us = [Vec::new(), Vec::new()];
    for seed in SEEDS {
        let mut world = run(plan(2, 4, 3, 24), seed, 12);
        for (death, gaps_us) in gaps_us.iter_mut().enumerate() {
            let mixer = world.mixers()[0];
            let mixers = world.mixers().len();
            let affected = under(&world, mixer);
            world.kill(mixer);
            let killed = world.now();
            world.run_for(10 * SECOND);
            let left = world.mixers();
            assert!(!left.contains(&mixer), "seed {seed}, death {death}: {left:?}");
            assert_eq!(left.len(), if death == 0 { mixers } else { mixers - 1 }, "seed {seed}: {left:?}");
            for viewer in affected {
                gaps_us.push(world.longest_gap_us(viewer, killed - SECOND));
            }
            let homes = homes(&world, 4);
            assert!(homes.keys().all(|home| left.contains(home)), "seed {seed}: {homes:?} of {left:?}");
            calm(&world, seed);
        }
    }
    for (death, gaps_us) in gaps_us.iter_mut().enumerate() {
        gaps_us.sort_unstable();
        let at = |percent| gaps_us[(gaps_us.len() - 1) * percent / 100];
        println!(
            "death {death}: {} viewers, p50 {} p95 {} max {} us",
            gaps_us.len(),
            at(50),
            at(95),
            at(100)
        );
        assert!(at(50) <= 500 * MS && at(95) <= SECOND, "death {death}: {} {}", at(50), at(95));
    }
}

/// How many speakers each home has.
fn homes(world: &World, speakers: usize) -> BTreeMap<PeerId, usize> {
    let mut homes = BTreeMap::new();
    for speaker in 0..speakers {
        for home in world.speaking_to(world.planned(speaker)) {
            *homes.entry(*home).or_default() += 1;
        }
    }
    homes
}

/// Viewers whose program comes from that mixer.
fn under(world: &World, mixer: PeerId) -> Vec<PeerId> {
    let viewers = world.viewers().into_iter();
    viewers.filter(|viewer| world.snapshot(*viewer).path.first() == Some(&mixer.short())).collect()
}

/// A room whose host wants so many mixers: speakers (the first one is the host), candidates and viewers, who join
/// within a second.
fn plan(mixers: u8, speakers: usize, candidates: usize, viewers: usize) -> WorldPlan {
    let kinds = [(Kind::Speaker, speakers), (Kind::Candidate, candidates), (Kind::Viewer, viewers)];
    let kinds = kinds.into_iter().flat_map(|(kind, count)| std::iter::repeat_n(kind, count));
    let peers = kinds.enumerate().map(|(at, kind)| PeerPlan {
        joins_at: Time((at as u64 * 37 * MS).min(SECOND)),
        ..PeerPlan::of(kind)
    });
    WorldPlan {
        room: RoomPlan { k: 4, k1: 6, mixers, ..RoomPlan::DEFAULT },
        net: NetPlan::HOME,
        media: MediaModel::Frame,
        peers: peers.collect(),
    }
}

fn run(plan: WorldPlan, seed: u64, seconds: u64) -> World {
    println!("seed {seed}");
    let mut world = World::new(plan, seed);
    for _ in 0..seconds * 2 {
        world.run_for(SECOND / 2);
        let violations = safety(&world);
        assert!(violations.is_empty(), "seed {seed} at {}: {violations:?}", world.now());
    }
    world
}

fn calm(world: &World, seed: u64) {
    let violations = liveness(world);
    assert!(violations.is_empty(), "seed {seed} at {}: {violations:#?}", world.now());
}
