//! Changes of the stage while the room goes on.

use crate::support::{calm, plan, run, run_on, seeds};
use plenary_proto::time::{MS, SECOND};
use plenary_proto::{Command, Event, Mode, PeerId, Time};
use plenary_sim::World;

const SEEDS: std::ops::Range<u64> = 0..10;
/// Events in a room while its host promotes a viewer; arguments are world, host and viewer.
type Race = fn(&mut World, PeerId, PeerId);
/// Time by which a promoted viewer must be seen and heard, as required.
const PROMOTED_US_MAX: u64 = 2 * SECOND;

#[test]
fn a_viewer_is_promoted_and_demoted_and_nobody_loses_the_picture() {
    for seed in seeds(SEEDS) {
        let mut world = run(plan(4, 3, 24), seed, 10);
        let host = world.planned(0);
        // the relay with the most children has the most to hand over
        let viewer =
            *world.viewers().iter().max_by_key(|viewer| world.snapshot(**viewer).children.len()).unwrap();
        let before = world.now();
        world.command(host, Command::Promote(viewer));
        let us = until(&mut world, seed, |world| world.sending_to(viewer) == world.mixers());
        assert!(us <= PROMOTED_US_MAX, "seed {seed}: it is heard after {us} us");
        run_on(&mut world, 8);
        let snapshot = world.snapshot(viewer);
        assert!(snapshot.parent.is_none() && snapshot.children.is_empty(), "seed {seed}: {snapshot:?}");
        no_gap(&world, seed, before);
        calm(&world);

        world.command(host, Command::Demote(viewer));
        let demoted = world.now();
        let us = until(&mut world, seed, |world| world.snapshot(viewer).parent.is_some());
        assert!(us <= PROMOTED_US_MAX, "seed {seed}: it is fed after {us} us");
        assert!(world.sending_to(viewer).is_empty(), "seed {seed}");
        run_on(&mut world, 8);
        let told: Vec<_> = world.events(viewer).iter().filter_map(|(_, event)| floor(event)).collect();
        assert_eq!(told, [true, false], "seed {seed}");
        no_gap(&world, seed, demoted);
        calm(&world);
    }
}

#[test]
fn whoever_may_speak_comes_and_goes_as_it_likes() {
    for seed in seeds(SEEDS) {
        let mut world = run(plan(2, 2, 6), seed, 8);
        let viewer = world.viewers()[0];
        for _ in 0..2 {
            world.command(viewer, Command::Speak(true));
            let us = until(&mut world, seed, |world| world.sending_to(viewer) == world.mixers());
            assert!(us <= PROMOTED_US_MAX, "seed {seed}: {us}");
            world.command(viewer, Command::Speak(false));
            let us = until(&mut world, seed, |world| world.snapshot(viewer).parent.is_some());
            assert!(us <= PROMOTED_US_MAX, "seed {seed}: {us}");
        }
        run_on(&mut world, 5);
        calm(&world);
    }
}

#[test]
fn a_promotion_may_be_repeated_overtaken_or_come_too_late() {
    let races: [(&str, Race); 6] = [
        ("twice", |world, host, viewer| {
            world.command(host, Command::Promote(viewer));
            world.command(host, Command::Promote(viewer));
        }),
        ("and back at once", |world, host, viewer| {
            world.command(host, Command::Promote(viewer));
            world.run_for(150 * MS);
            world.command(host, Command::Demote(viewer));
        }),
        ("while it leaves", |world, host, viewer| {
            world.command(host, Command::Promote(viewer));
            world.leave(viewer);
        }),
        ("once it is dead", |world, host, viewer| {
            world.kill(viewer);
            world.command(host, Command::Promote(viewer));
        }),
        ("and it dies", |world, host, viewer| {
            world.command(host, Command::Promote(viewer));
            world.run_for(400 * MS);
            world.kill(viewer);
        }),
        ("while the mixer's successor is voted on", |world, host, viewer| {
            world.kill(world.mixers()[0]);
            world.run_for(700 * MS);
            world.command(host, Command::Promote(viewer));
        }),
    ];
    for seed in seeds(SEEDS).step_by(2) {
        for (name, race) in races {
            println!("{name}");
            let mut world = run(plan(4, 3, 12), seed, 10);
            let (host, viewer) = (world.planned(0), world.viewers()[3]);
            race(&mut world, host, viewer);
            run_on(&mut world, 15);
            let speaks = world.living().any(|peer| peer == viewer) && !world.sending_to(viewer).is_empty();
            let meant = matches!(name, "twice" | "while the mixer's successor is voted on");
            assert_eq!(speaks, meant, "seed {seed}: {name}");
            calm(&world);
        }
    }
}

#[test]
fn the_only_viewer_of_one_speaker_is_promoted_and_the_two_are_alone() {
    for seed in seeds(SEEDS) {
        let mut world = run(plan(1, 2, 1), seed, 8);
        let (host, viewer) = (world.planned(0), world.viewers()[0]);
        assert_eq!(world.snapshot(host).mode, Mode::PassThrough, "seed {seed}");
        world.command(host, Command::Promote(viewer));
        run_on(&mut world, 10);
        assert_eq!(world.snapshot(host).mode, Mode::Mesh, "seed {seed}");
        assert_eq!(world.sending_to(viewer), [host], "seed {seed}");
        assert_eq!(world.sending_to(host), [viewer], "seed {seed}");
        world.command(host, Command::Demote(viewer));
        run_on(&mut world, 8);
        assert_eq!(world.snapshot(host).mode, Mode::PassThrough, "seed {seed}");
        calm(&world);
    }
}

#[test]
fn on_a_closed_stage_the_host_decides() {
    for seed in seeds(SEEDS) {
        let mut world = run(plan(2, 2, 6), seed, 8);
        let (host, speaker) = (world.planned(0), world.planned(1));
        world.command(host, Command::OpenStage(false));
        let wanted = |world: &World| {
            let wants = |event: &Event| match event {
                Event::FloorWanted { peer, .. } => Some(*peer),
                _ => None,
            };
            world.events(host).iter().filter_map(|(_, event)| wants(event)).collect::<Vec<_>>()
        };
        let [first, second] = world.viewers()[..2] else { unreachable!() };
        for viewer in [first, second] {
            world.command(viewer, Command::Speak(true));
        }
        run_on(&mut world, 2);
        assert_eq!(wanted(&world).len(), 2, "seed {seed}: each asked once");
        assert!(world.sending_to(first).is_empty(), "seed {seed}");
        world.command(host, Command::Promote(first));
        world.command(host, Command::Demote(second));
        run_on(&mut world, 3);
        assert_eq!(world.sending_to(first).len(), 1, "seed {seed}");
        assert!(world.sending_to(second).is_empty(), "seed {seed}");
        let denied = |event: &Event| *event == Event::FloorDenied;
        assert!(world.events(second).iter().any(|(_, event)| denied(event)), "seed {seed}");
        assert!(!world.events(first).iter().any(|(_, event)| denied(event)), "seed {seed}");
        assert_eq!(world.sending_to(speaker).len(), 1, "seed {seed}: whoever was there stays");
        run_on(&mut world, 4);
        calm(&world);
    }
}

fn floor(event: &Event) -> Option<bool> {
    match event {
        Event::Floor { speaks } => Some(*speaks),
        _ => None,
    }
}

/// Time until a condition holds, microseconds, in steps of 50 ms.
fn until(world: &mut World, seed: u64, reached: impl Fn(&World) -> bool) -> u64 {
    let begun = world.now();
    while !reached(world) {
        world.run_for(50 * MS);
        assert!(world.now().since(begun) < 20 * SECOND, "seed {seed}: never");
    }
    world.now().since(begun)
}

/// Asserts that no viewer has waited for a frame since `since`.
fn no_gap(world: &World, seed: u64, since: Time) {
    for viewer in world.viewers() {
        let gap = world.longest_gap_us(viewer, since);
        assert!(gap <= 300 * MS, "seed {seed}: {viewer:?} waited {gap} us");
    }
}
