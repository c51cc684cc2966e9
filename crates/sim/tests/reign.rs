//! Rooms in which the host dies or is cut off.

use crate::support::{calm, plan, run, run_on, seeds};
use plenary_proto::message::reign_of;
use plenary_proto::time::SECOND;
use plenary_proto::{Command, Event, PeerId, Time};
use plenary_sim::{Kind, PeerPlan, World};

const SEEDS: std::ops::Range<u64> = 0..8;
/// Time by which an heir must be host: the first heir waits 10 s, then some round trips follow.
const CHOSEN_US_MAX: u64 = 12 * SECOND;

#[test]
fn a_dead_hosts_heir_goes_on_with_the_room() {
    for seed in seeds(SEEDS) {
        let mut plan = plan(4, 3, 12);
        let late = plan.peers.len();
        let joins = |kind, s| PeerPlan { joins_at: Time(s * SECOND), ..PeerPlan::of(kind) };
        plan.peers.extend([joins(Kind::Viewer, 26), joins(Kind::Speaker, 27)]);
        let mut world = run(plan, seed, 10);
        let (host, heir) = (world.planned(0), world.planned(1));
        world.kill(host);
        let killed = world.now();
        while !world.living().all(|peer| world.snapshot(peer).host == Some(heir)) {
            run_on(&mut world, 1);
            assert!(world.now().since(killed) <= CHOSEN_US_MAX, "seed {seed}: {}", hosts(&world));
        }
        let left_s = 29 - world.now().0 / SECOND;
        run_on(&mut world, left_s);
        let (viewer, speaker) = (world.planned(late), world.planned(late + 1));
        assert!(world.snapshot(viewer).parent.is_some(), "seed {seed}: nobody lets a viewer in");
        let mixer = world.snapshot(heir).mixers[0];
        assert_eq!(world.sending_to(speaker), [mixer], "seed {seed}: nobody lets a speaker in");

        world.kill(mixer);
        let alive = if mixer == heir { world.planned(5) } else { heir };
        run_on(&mut world, 20);
        let snapshot = world.snapshot(alive);
        assert!(
            !snapshot.mixers.contains(&mixer) && snapshot.rank.failover_count == 0,
            "seed {seed}: no vote"
        );

        if mixer != heir {
            world.command(heir, Command::Promote(viewer));
            run_on(&mut world, 4);
            assert_eq!(world.sending_to(viewer), world.snapshot(heir).mixers, "seed {seed}");
        }
        calm(&world);
    }
}

#[test]
fn a_host_that_comes_back_takes_its_room_back() {
    for (seed, away_s) in seeds(SEEDS).zip([16, 90, 300].into_iter().cycle()) {
        let mut world = run(plan(4, 3, 12), seed, 10);
        let (host, heir) = (world.planned(0), world.planned(1));
        cut_off(&mut world, host, away_s, heir);
        all_follow(&mut world, host, 20);
        assert_eq!(world.sending_to(host), world.snapshot(heir).mixers, "seed {seed}: it speaks again");
        assert_eq!(reign_of(world.snapshot(host).epoch), 2, "seed {seed}");
    }
}

#[test]
fn a_host_that_was_long_away_takes_back_a_room_that_nobody_mixes() {
    for (seed, away_s) in seeds(SEEDS).zip([16, 45, 90, 300].into_iter().cycle()) {
        let viewers = if seed % 8 < 4 { 0 } else { 6 };
        let mut world = run(plan(3, 0, viewers), seed, 10);
        let (host, heir) = (world.planned(0), world.planned(1));
        cut_off(&mut world, host, away_s, heir);
        all_follow(&mut world, host, 20);
    }
}

#[test]
fn a_chosen_host_that_was_long_away_follows_the_next_one() {
    for (seed, away_s) in seeds(SEEDS).zip([16, 90, 300].into_iter().cycle()) {
        let mut world = run(plan(4, 0, 0), seed, 10);
        let (second, third) = (world.planned(1), world.planned(2));
        world.kill(world.planned(0));
        run_on(&mut world, 75); // the dead host leaves the roster: two of three elect the next one
        assert_eq!(world.snapshot(third).host, Some(second), "seed {seed}: {}", hosts(&world));
        cut_off(&mut world, second, away_s, third);
        all_follow(&mut world, third, 30);
    }
}

#[test]
fn a_host_hands_the_room_over_and_takes_it_back_when_it_wants_to() {
    for seed in seeds(SEEDS) {
        let mut world = run(plan(4, 3, 12), seed, 10);
        let (host, next) = (world.planned(0), world.planned(1));
        world.command(host, Command::HandOver(next));
        run_on(&mut world, 3);
        assert!(world.living().all(|peer| world.snapshot(peer).host == Some(next)), "{}", hosts(&world));
        run_on(&mut world, 40);
        assert!(world.living().all(|peer| world.snapshot(peer).host == Some(next)), "{}", hosts(&world));
        calm(&world);
        world.command(next, Command::HandOver(world.planned(4)));
        run_on(&mut world, 3);
        let third = world.planned(4);
        assert!(world.living().all(|peer| world.snapshot(peer).host == Some(third)), "{}", hosts(&world));
        world.command(host, Command::TakeBack);
        run_on(&mut world, 5);
        assert!(world.living().all(|peer| world.snapshot(peer).host == Some(host)), "{}", hosts(&world));
        calm(&world);
    }
}

#[test]
fn a_minority_gets_no_new_host_and_a_short_loss_changes_nothing() {
    for seed in seeds(SEEDS) {
        let mut world = run(plan(4, 3, 6), seed, 10);
        let host = world.planned(0);
        // the candidates, all of them heirs, but only three of seven on stage
        let cut: Vec<PeerId> = (4..7).map(|planned| world.planned(planned)).collect();
        world.partition(&cut);
        run_on(&mut world, 30);
        assert!(world.living().all(|peer| world.snapshot(peer).host == Some(host)), "{}", hosts(&world));
        world.heal();
        run_on(&mut world, 20);
        world.partition(&[host]);
        run_on(&mut world, 7);
        world.heal();
        run_on(&mut world, 20);
        assert!(world.living().all(|peer| world.snapshot(peer).host == Some(host)), "{}", hosts(&world));
        calm(&world);
    }
}

#[test]
fn one_heir_after_the_other_may_die() {
    for seed in seeds(SEEDS).step_by(2) {
        let mut world = run(plan(6, 3, 6), seed, 10);
        // the host and its first heir die at once, then the next heir
        world.kill(world.planned(0));
        world.kill(world.planned(1));
        run_on(&mut world, 25);
        let second = world.planned(2);
        assert!(world.living().all(|peer| world.snapshot(peer).host == Some(second)), "{}", hosts(&world));
        world.kill(second);
        run_on(&mut world, 30);
        let third = world.planned(3);
        assert!(world.living().all(|peer| world.snapshot(peer).host == Some(third)), "{}", hosts(&world));
        assert_eq!(reign_of(world.snapshot(third).epoch), 2, "seed {seed}");
        calm(&world);
    }
}

#[test]
fn viewers_get_in_while_nobody_reigns() {
    for seed in seeds(SEEDS) {
        let mut plan = plan(4, 3, 6);
        let late = plan.peers.len();
        plan.peers.push(PeerPlan { joins_at: Time(11 * SECOND), ..PeerPlan::VIEWER });
        let mut world = run(plan, seed, 10);
        world.kill(world.planned(0));
        run_on(&mut world, 5);
        let viewer = world.planned(late);
        assert_eq!(
            world.snapshot(viewer).host,
            Some(world.planned(0)),
            "seed {seed}: it reigns no more, but nobody does"
        );
        let seen = world.events(viewer).iter().any(|(_, event)| *event == Event::Admitted);
        assert!(seen && world.snapshot(viewer).parent.is_some(), "seed {seed}: nobody lets it in");
        run_on(&mut world, 25);
        calm(&world);
    }
}

#[test]
fn viewers_that_know_only_the_dead_hear_of_the_living_from_the_stage() {
    for seed in seeds(SEEDS).step_by(2) {
        let mut world = run(plan(6, 4, 6), seed, 10);
        world.kill(world.planned(0));
        run_on(&mut world, 15);
        // a later host reigns now; asking the rendezvous for the first host doesn't help
        let viewers = world.viewers();
        world.partition(&viewers);
        let known = world.snapshot(world.planned(2));
        let dead = known.host.into_iter().chain(known.mixers).chain(known.standbys);
        dead.for_each(|peer| world.kill(peer));
        run_on(&mut world, 40);
        let of_stage = world.snapshot(world.planned(2));
        let knows = |viewer: &PeerId| {
            world.snapshot(*viewer).mixers.iter().any(|mixer| of_stage.mixers.contains(mixer))
        };
        assert!(!viewers.iter().any(knows), "seed {seed}: {of_stage:?}");
        world.heal();
        run_on(&mut world, 30);
        calm(&world);
    }
}

/// Cuts the host off, until all others have had time to choose the heir; it goes on as host alone.
fn cut_off(world: &mut World, host: PeerId, away_s: u64, heir: PeerId) {
    world.partition(&[host]);
    run_on(world, away_s);
    assert_eq!(world.snapshot(heir).host, Some(heir), "{}", hosts(world));
    assert_eq!(world.snapshot(host).host, Some(host), "{}", hosts(world));
    world.heal();
}

/// Runs on, and asserts that all peers have this host and a calm room.
fn all_follow(world: &mut World, host: PeerId, seconds: u64) {
    run_on(world, seconds);
    assert!(world.living().all(|peer| world.snapshot(peer).host == Some(host)), "{}", hosts(world));
    calm(world);
}

fn hosts(world: &World) -> String {
    let named: Vec<_> = world.living().map(|peer| (peer, world.snapshot(peer).host)).collect();
    format!("seed {} at {}: {named:?}", world.seed(), world.now())
}
