//! Several mixers in one room: distribution of speakers and audience over them, and the death of a mixer.

use std::collections::BTreeMap;

use crate::support::{calm, plan, run, run_on, seeds, under};
use plenary_proto::time::{MS, SECOND};
use plenary_proto::{Event, PeerId, Time};
use plenary_sim::checkers::liveness;
use plenary_sim::plan::Leave;
use plenary_sim::{Kind, World, WorldPlan};

const SEEDS: std::ops::Range<u64> = 0..10;

#[test]
fn each_of_two_mixers_is_the_home_of_half_the_speakers() {
    for seed in seeds(SEEDS) {
        let world = run(served_by(2, plan(4, 3, 24)), seed, 12);
        let mixers = world.mixers();
        assert_eq!(mixers.len(), 2, "seed {seed}");
        assert_eq!(world.snapshot(world.planned(0)).standbys.len(), 1, "seed {seed}");
        assert_eq!(homes(&world, 4).into_values().collect::<Vec<_>>(), [2, 2], "seed {seed}");
        calm(&world);
    }
}

#[test]
fn the_audience_is_spread_over_both_mixers_and_again_when_one_has_died() {
    for seed in seeds(SEEDS) {
        let mut world = run(served_by(2, plan(4, 4, 40)), seed, 25);
        audience_is_spread(&world, seed);
        calm(&world);
        world.kill(world.mixers()[0]);
        run_on(&mut world, 40);
        assert_eq!(world.mixers().len(), 2, "seed {seed}");
        audience_is_spread(&world, seed);
        calm(&world);
    }
}

#[test]
fn two_mixers_die_one_after_the_other_and_the_third_serves_everyone() {
    let mut gaps_us = [Vec::new(), Vec::new()];
    for seed in seeds(SEEDS) {
        let mut world = run(served_by(2, plan(4, 3, 24)), seed, 12);
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
            calm(&world);
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

#[test]
fn one_of_two_mixers_leaves_without_a_gap_and_speakers_are_spread_again() {
    let mut gaps_us = Vec::new();
    for seed in seeds(SEEDS) {
        let mut plan = served_by(2, plan(4, 4, 40));
        plan.peers.iter_mut().filter(|peer| peer.kind == Kind::Speaker).for_each(|peer| peer.sees = true);
        let mut world = run(plan, seed, 25);
        let mixer = world.mixers()[seed as usize % 2];
        world.leave(mixer);
        let left = world.now();
        run_on(&mut world, 20);
        assert_eq!(world.mixers().len(), 2, "seed {seed}");
        assert_eq!(homes(&world, 4).into_values().collect::<Vec<_>>(), [2, 2], "seed {seed}");
        // all peers that watch, the speakers included
        for peer in world.viewers() {
            gaps_us.push((world.longest_gap_us(peer, left - SECOND), peer, seed));
        }
        calm(&world);
    }
    let (gap_us, peer, seed) = gaps_us.into_iter().max().unwrap();
    println!("{peer:?} waits {gap_us} us with seed {seed}");
    assert!(gap_us <= 200 * MS, "seed {seed}: {peer:?} waited {gap_us} us");
}

#[test]
fn a_second_mixer_comes_and_goes_with_the_speakers_that_need_it() {
    // with few seeds (1) a fourth vote comes
    for seed in seeds(2..12) {
        // one uplink carries a stage of two speakers and four viewers, but not one of eight speakers and two
        // viewers
        let mut narrow = plan(8, 3, 12);
        narrow.room.k1 = 4;
        for (at, peer) in narrow.peers.iter_mut().enumerate() {
            if peer.kind == Kind::Candidate {
                peer.access.up_bps = 8_300_000;
            } else if (2..8).contains(&at) {
                peer.joins_at = Time(15 * SECOND);
                peer.leaves = Some(Leave { at: Time(50 * SECOND), polite: true });
            }
        }
        let mut world = run(narrow, seed, 0);
        for (seconds, mixers) in [(14, 1), (34, 2), (47, 1)] {
            run_on(&mut world, seconds);
            assert_eq!(world.mixers().len(), mixers, "seed {seed} at {}", world.now());
            calm(&world);
        }
        let host = world.planned(0);
        let votes = world.events(host).iter().filter(|(_, event)| matches!(event, Event::Elected { .. }));
        assert_eq!(votes.count(), 3, "seed {seed}: a vote for each change");
    }
}

#[test]
fn a_late_viewer_sees_whichever_of_two_mixers_it_is_moved_to() {
    for seed in seeds(SEEDS) {
        let mut plan = served_by(2, plan(4, 3, 10));
        plan.room.k1 = 4;
        // the early viewers leave and others join, so the audience moves gradually from mixer to mixer
        let viewers = plan.peers.iter_mut().filter(|peer| peer.kind == Kind::Viewer);
        for (at, viewer) in viewers.enumerate() {
            let at_us = (15 + 3 * at as u64) * SECOND;
            match at % 2 {
                0 => viewer.leaves = Some(Leave { at: Time(at_us), polite: at % 4 == 0 }),
                _ => viewer.joins_at = Time(at_us),
            }
        }
        let world = run(plan, seed, 60);
        calm(&world);
    }
}

#[test]
fn two_mixers_that_leave_at_once_sign_no_failover_count_twice() {
    for seed in seeds(SEEDS) {
        let mut world = run(served_by(2, plan(4, 2, 12)), seed, 15);
        world.mixers().into_iter().for_each(|mixer| world.leave(mixer));
        world.run_for(10 * SECOND);
        let twice = liveness(&world).into_iter().filter(|violation| violation.checker == "one-outcome");
        assert_eq!(twice.count(), 0, "seed {seed}");
    }
}

#[test]
fn a_host_gets_no_second_mixer_whose_line_carries_no_program() {
    for seed in seeds(SEEDS) {
        let mut plan = served_by(2, plan(4, 3, 24));
        let candidates = plan.peers.iter_mut().filter(|peer| peer.kind == Kind::Candidate);
        for (at, peer) in candidates.enumerate() {
            peer.access.up_bps = if at == 1 { 30_000_000 } else { 900_000 };
        }
        let strong = 5;
        let world = run(plan, seed, 240);
        assert_eq!(world.mixers(), [world.planned(strong)], "seed {seed}");
        let host = world.planned(0);
        let votes = world.events(host).iter().filter(|(_, event)| matches!(event, Event::Elected { .. }));
        // votes after 10, 20, 40, 80 and 80 s
        assert!((2..=6).contains(&votes.count()), "seed {seed}");
        calm(&world);
    }
}

/// Number of speakers for each home mixer.
fn homes(world: &World, speakers: usize) -> BTreeMap<PeerId, usize> {
    let mut homes = BTreeMap::new();
    for speaker in 0..speakers {
        for home in world.sending_to(world.planned(speaker)) {
            *homes.entry(*home).or_default() += 1;
        }
    }
    homes
}

/// Asserts that neither mixer feeds more than 60 % of the viewers.
fn audience_is_spread(world: &World, seed: u64) {
    let [one, other] = world.mixers()[..] else { panic!("seed {seed}: {:?}", world.mixers()) };
    let (one, other) = (under(world, one).len(), under(world, other).len());
    assert!(one + other == 40 && one.abs_diff(other) <= 8, "seed {seed}: {one} and {other}");
}

/// A room with this number of mixers, as the host requires.
fn served_by(mixers: u8, mut plan: WorldPlan) -> WorldPlan {
    plan.room.mixers = mixers;
    plan
}

#[test]
fn two_mixers_are_not_elected_behind_one_line_that_carries_one() {
    for seed in seeds(0..20) {
        let mut plan = plan(4, 4, 12);
        plan.room.mixers = 2;
        let candidates = plan.peers.iter_mut().filter(|peer| peer.kind == Kind::Candidate);
        for (at, peer) in candidates.enumerate() {
            // the first three candidates share one line
            (peer.access.up_bps, peer.access.line) = (18_000_000, (at < 3).then_some(1));
        }
        let mut world = run(plan, seed, 15);
        let house = [4, 5, 6].map(|planned| world.planned(planned));
        let mixers = world.mixers();
        let alike = mixers.iter().filter(|mixer| house.contains(mixer)).count();
        assert_eq!(mixers.len(), 2, "seed {seed}");
        assert!(alike <= 1, "seed {seed}: both are behind one line");
        run_on(&mut world, 10);
        calm(&world);
    }
}
