//! Rooms whose host dies, or is cut off from them.

use plenary_proto::message::reign_of;
use plenary_proto::time::{MS, SECOND};
use plenary_proto::{Command, PeerId, Time};
use plenary_sim::checkers::{liveness, safety};
use plenary_sim::{Kind, MediaModel, NetPlan, PeerPlan, RoomPlan, World, WorldPlan};

const SEEDS: std::ops::Range<u64> = 0..8;
/// The first heir waits for 10 s; then it takes some round trips.
const CHOSEN_US_MAX: u64 = 12 * SECOND;

#[test]
fn a_dead_hosts_heir_goes_on_with_the_room() {
    for seed in SEEDS {
        let mut plan = plan(4, 3, 12);
        let late = plan.peers.len();
        let joins = |kind, s| PeerPlan { joins_at: Time(s * SECOND), ..PeerPlan::of(kind) };
        plan.peers.extend([joins(Kind::Viewer, 26), joins(Kind::Speaker, 27)]);
        let mut world = run(plan, seed, 10);
        let (host, heir) = (world.planned(0), world.planned(4));
        world.kill(host);
        let killed = world.now();
        while !world.living().all(|peer| world.snapshot(peer).host == Some(heir)) {
            run_on(&mut world, seed, 1);
            assert!(world.now().since(killed) <= CHOSEN_US_MAX, "seed {seed}: {}", hosts(&world));
        }
        let left_s = 29 - world.now().0 / SECOND;
        run_on(&mut world, seed, left_s);
        let (viewer, speaker) = (world.planned(late), world.planned(late + 1));
        assert!(world.snapshot(viewer).parent.is_some(), "seed {seed}: nobody lets a viewer in");
        let mixer = world.snapshot(heir).mixers[0];
        assert_eq!(world.speaking_to(speaker), [mixer], "seed {seed}: nobody lets a speaker in");

        world.kill(mixer);
        let alive = if mixer == heir { world.planned(5) } else { heir };
        run_on(&mut world, seed, 20);
        let snapshot = world.snapshot(alive);
        assert!(!snapshot.mixers.contains(&mixer) && snapshot.rank.regency == 0, "seed {seed}: no vote");

        if mixer != heir {
            world.command(heir, Command::Promote(viewer));
            run_on(&mut world, seed, 4);
            assert_eq!(world.speaking_to(viewer), world.snapshot(heir).mixers, "seed {seed}");
        }
        calm(&world, seed);
    }
}

#[test]
fn a_host_that_comes_back_is_a_member() {
    for seed in SEEDS {
        let mut world = run(plan(4, 3, 12), seed, 10);
        let (host, heir) = (world.planned(0), world.planned(4));
        world.partition(&[host]);
        run_on(&mut world, seed, 16);
        assert_eq!(world.snapshot(heir).host, Some(heir), "seed {seed}");
        assert_eq!(world.snapshot(host).host, Some(host), "seed {seed}");
        world.heal();
        run_on(&mut world, seed, 20);
        assert!(world.living().all(|peer| world.snapshot(peer).host == Some(heir)), "{}", hosts(&world));
        assert_eq!(world.speaking_to(host), world.snapshot(heir).mixers, "seed {seed}: it speaks again");
        assert_eq!(reign_of(world.snapshot(host).epoch), 1, "seed {seed}");
        calm(&world, seed);
    }
}

#[test]
fn a_minority_gets_no_new_host_and_a_short_loss_changes_nothing() {
    for seed in SEEDS {
        let mut world = run(plan(4, 3, 6), seed, 10);
        let host = world.planned(0);
        // candidates, heirs all of them, but three of seven
        let cut: Vec<PeerId> = (4..7).map(|planned| world.planned(planned)).collect();
        world.partition(&cut);
        run_on(&mut world, seed, 30);
        assert!(world.living().all(|peer| world.snapshot(peer).host == Some(host)), "{}", hosts(&world));
        world.heal();
        run_on(&mut world, seed, 20);
        world.partition(&[host]);
        run_on(&mut world, seed, 7);
        world.heal();
        run_on(&mut world, seed, 20);
        assert!(world.living().all(|peer| world.snapshot(peer).host == Some(host)), "{}", hosts(&world));
        calm(&world, seed);
    }
}

#[test]
fn one_heir_after_the_other_may_die() {
    for seed in SEEDS.step_by(2) {
        let mut world = run(plan(6, 3, 6), seed, 10);
        // the host and its first heir at once; then the next one
        world.kill(world.planned(0));
        world.kill(world.planned(6));
        run_on(&mut world, seed, 25);
        let second = world.planned(7);
        assert!(world.living().all(|peer| world.snapshot(peer).host == Some(second)), "{}", hosts(&world));
        world.kill(second);
        run_on(&mut world, seed, 30);
        let third = world.planned(8);
        assert!(world.living().all(|peer| world.snapshot(peer).host == Some(third)), "{}", hosts(&world));
        assert_eq!(reign_of(world.snapshot(third).epoch), 2, "seed {seed}");
        calm(&world, seed);
    }
}

fn hosts(world: &World) -> String {
    let named: Vec<_> = world.living().map(|peer| (peer, world.snapshot(peer).host)).collect();
    format!("seed {} at {}: {named:?}", world.seed(), world.now())
}

/// Speakers (the first one is the host), candidates and viewers, on links of 5 to 40 ms with 0.5 % loss.
fn plan(speakers: usize, candidates: usize, viewers: usize) -> WorldPlan {
    let kinds = [(Kind::Speaker, speakers), (Kind::Candidate, candidates), (Kind::Viewer, viewers)];
    let kinds = kinds.into_iter().flat_map(|(kind, count)| std::iter::repeat_n(kind, count));
    let peers = kinds.enumerate().map(|(at, kind)| PeerPlan {
        joins_at: Time((at as u64 * 37 * MS).min(SECOND)),
        ..PeerPlan::of(kind)
    });
    WorldPlan {
        room: RoomPlan { k: 4, k1: 6, ..RoomPlan::DEFAULT },
        net: NetPlan::HOME,
        media: MediaModel::Frame,
        peers: peers.collect(),
    }
}

fn run(plan: WorldPlan, seed: u64, seconds: u64) -> World {
    println!("seed {seed}");
    let mut world = World::new(plan, seed);
    run_on(&mut world, seed, seconds);
    world
}

fn run_on(world: &mut World, seed: u64, seconds: u64) {
    for _ in 0..seconds * 2 {
        world.run_for(SECOND / 2);
        let violations = safety(world);
        assert!(violations.is_empty(), "seed {seed} at {}: {violations:?}", world.now());
    }
}

fn calm(world: &World, seed: u64) {
    let violations = liveness(world);
    assert!(violations.is_empty(), "seed {seed} at {}: {violations:#?}", world.now());
}
