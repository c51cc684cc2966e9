//! Life of a room in the simulator, one behaviour per test, each with several seeds.

use crate::support::{calm, plan, run, run_on, seeds};
use plenary_proto::message::ElectionReason;
use plenary_proto::time::{MS, SECOND};
use plenary_proto::{Event, Mode, PeerId, Rank, Time};
use plenary_sim::scenario;
use plenary_sim::units::{Share, Span};
use plenary_sim::{PeerPlan, World};

const SEEDS: std::ops::Range<u64> = 0..10;

#[test]
fn the_opening_is_decided_by_a_majority_within_six_seconds() {
    for seed in seeds(SEEDS) {
        let world = run(plan(4, 3, 24), seed, 12);
        let host = world.planned(0);
        let opened = when(&world, host, |event| matches!(event, Event::ElectionOpened { term: 1, .. }));
        let decided = when(&world, host, |event| matches!(event, Event::Elected { term: 1, .. }));
        assert!(decided.since(opened) <= 6 * SECOND, "seed {seed}: {}", decided.since(opened));
        let Event::Elected { signatures, roster, mixers, standbys, tallies, .. } =
            event(&world, host, |event| matches!(event, Event::Elected { .. }))
        else {
            unreachable!()
        };
        assert_eq!((roster, mixers.len(), standbys.len()), (Some(7), 1, 1), "seed {seed}");
        assert!(2 * signatures > 7, "seed {seed}: {signatures} of 7");
        assert_eq!(tallies.len(), 3);
        assert!(tallies.iter().all(|tally| tally.measurers == 3 && tally.encode_us.is_some()), "seed {seed}");
    }
}

#[test]
fn every_viewer_gets_nearly_every_frame_and_the_tree_is_flat() {
    for seed in seeds(SEEDS) {
        let world = run(plan(4, 3, 24), seed, 15);
        let delivery = world.delivery();
        assert!(delivery.frames_within_1s >= Some(0.99), "seed {seed}: {delivery:?}");
        assert!(
            world.depths().iter().all(|depth| (1..=3).contains(depth)),
            "seed {seed}: {:?}",
            world.depths()
        );
        calm(&world);
    }
}

#[test]
fn every_viewer_has_a_backup_in_another_branch() {
    for seed in seeds(SEEDS) {
        let world = run(plan(4, 3, 24), seed, 12);
        for viewer in world.viewers() {
            let snapshot = world.snapshot(viewer);
            let (parent, backup) = (snapshot.parent.unwrap(), snapshot.backup);
            let Some(backup) = backup else { panic!("seed {seed}: {viewer:?} has no backup") };
            assert!(!world.snapshot(backup).path.contains(&parent.short()), "seed {seed}");
            assert!(!world.snapshot(backup).path.contains(&viewer.short()), "seed {seed}");
        }
    }
}

#[test]
fn a_killed_mixer_is_replaced_by_its_standby_before_any_vote() {
    for seed in seeds(SEEDS) {
        let mut world = run(plan(4, 3, 24), seed, 10);
        let mixer = world.mixers()[0];
        let standby = world.snapshot(world.planned(0)).standbys[0];
        world.kill(mixer);
        let killed = world.now();
        world.run_for(15 * SECOND);
        let host = world.planned(0);
        let taken = when(&world, host, |event| matches!(event, Event::Failover { polite: false, .. }));
        let voted = when(&world, host, |event| matches!(event, Event::Elected { term: 2.., .. }));
        assert!(taken.since(killed) < SECOND, "seed {seed}: {}", taken.since(killed));
        assert!(taken < voted, "seed {seed}");
        assert!(world.mixers() == [standby] || !world.mixers().contains(&mixer), "seed {seed}");
        let reason = event(&world, host, |event| matches!(event, Event::Elected { term: 2.., .. }));
        assert!(matches!(reason, Event::Elected { reason: ElectionReason::MixerGone, .. }), "seed {seed}");
        for viewer in world.viewers() {
            let gap = world.longest_gap_us(viewer, killed - SECOND);
            assert!(gap < 1500 * MS, "seed {seed}: {viewer:?} waited {gap} us");
        }
        // viewers that have just moved, or lost their backup to its children, search for another
        let without = |viewer: &PeerId| world.snapshot(*viewer).backup.is_none();
        let looking: Vec<_> = world.viewers().into_iter().filter(without).collect();
        world.run_for(SECOND);
        for viewer in looking {
            assert!(
                world.snapshot(viewer).backup.is_some(),
                "seed {seed}: {viewer:?} has no backup any more"
            );
        }
        calm(&world);
    }
}

#[test]
fn all_agree_on_one_mixer_after_one_has_stood_still() {
    for seed in seeds(SEEDS).step_by(2) {
        for stall_ms in [250, 500, 700, 1_500] {
            let mut world = run(plan(4, 3, 12), seed, 10);
            let (host, mixer) = (world.planned(0), world.mixers()[0]);
            world.stall(mixer, stall_ms * MS);
            let stalled = world.now();
            world.run_for(25 * SECOND); // a denied successor is no longer a standby: a vote follows
            let told = |wanted: fn(&Event) -> bool| world.events(host).iter().any(|(_, event)| wanted(event));
            let failed_over = told(|event| matches!(event, Event::Failover { .. }));
            if stall_ms < 350 {
                assert!(!failed_over, "seed {seed}: {stall_ms} ms are no death");
            }
            if failed_over && !told(|event| matches!(event, Event::Elected { term: 2.., .. })) {
                assert!(told(|event| matches!(event, Event::Withdrawn { .. })), "seed {seed}, {stall_ms} ms");
                assert_eq!(world.mixers(), [mixer], "seed {seed}, {stall_ms} ms");
            }
            let mixing: Vec<_> = world.living().filter(|peer| world.snapshot(*peer).mixing).collect();
            assert_eq!(mixing, world.mixers(), "seed {seed}, {stall_ms} ms");
            let gap_ms_max = if stall_ms < 350 { 2 * stall_ms } else { 2_500 };
            for viewer in world.viewers() {
                let gap = world.longest_gap_us(viewer, stalled - SECOND);
                assert!(gap < gap_ms_max * MS, "seed {seed}, {stall_ms} ms: {viewer:?} waited {gap} us");
            }
            calm(&world);
        }
    }
}

#[test]
fn a_standby_that_stood_still_itself_declares_nobody_gone() {
    for seed in seeds(SEEDS) {
        for (mixer_ms, standby_ms) in [(0, 350), (0, 1_000), (0, 3_000), (280, 500)] {
            let mut world = run(plan(4, 3, 12), seed, 10);
            let (host, mixer) = (world.planned(0), world.mixers()[0]);
            world.stall(mixer, mixer_ms * MS);
            world.run_for(mixer_ms * MS * 9 / 10);
            world.stall(world.snapshot(host).standbys[0], standby_ms * MS);
            world.run_for(10 * SECOND);
            let failed_over = |(_, event): &(Time, Event)| matches!(event, Event::Failover { .. });
            assert!(
                !world.events(host).iter().any(failed_over),
                "seed {seed}: {mixer_ms} and {standby_ms} ms"
            );
            assert_eq!(world.mixers(), [mixer], "seed {seed}");
        }
    }
}

#[test]
fn the_vote_after_a_failover_comes_soon_and_keeps_whoever_took_over() {
    for seed in seeds(SEEDS) {
        let mut world = run(plan(4, 3, 12), seed, 10);
        let host = world.planned(0);
        let before = world.snapshot(host);
        world.kill(before.mixers[0]);
        world.run_for(20 * SECOND);
        let taken = when(&world, host, |event| matches!(event, Event::Failover { .. }));
        let voted = when(&world, host, |event| matches!(event, Event::Elected { term: 2, .. }));
        assert!(voted.since(taken) < 3 * SECOND, "seed {seed}: {}", voted.since(taken));
        let after = world.snapshot(host);
        assert_eq!(after.rank, Rank { term: 2, failover_count: 0 }, "seed {seed}: one vote was enough");
        assert_eq!(after.mixers, before.standbys, "seed {seed}");
        assert_eq!(after.standbys.len(), 1, "seed {seed}");
        assert_ne!(after.standbys, before.mixers, "seed {seed}: the dead one stands by");
    }
}

#[test]
fn a_mixer_that_leaves_is_followed_without_a_gap() {
    for seed in seeds(SEEDS) {
        let mut world = run(plan(4, 3, 24), seed, 10);
        let mixer = world.mixers()[0];
        let first_tier = world.snapshot(mixer).children;
        world.leave(mixer);
        let left = world.now();
        world.run_for(SECOND);
        let next = world.mixers()[0];
        let lost = first_tier.iter().filter(|child| world.snapshot(**child).parent != Some(next));
        assert_eq!(lost.count(), 0, "seed {seed}: it lets go of whom it has promised to feed");
        world.run_for(9 * SECOND);
        assert!(!world.living().any(|peer| peer == mixer), "seed {seed}: it stays");
        for viewer in world.viewers() {
            let gap = world.longest_gap_us(viewer, left - SECOND);
            assert!(gap <= 200 * MS, "seed {seed}: {viewer:?} waited {gap} us");
        }
        calm(&world);
    }
}

#[test]
fn a_killed_relays_children_are_fed_by_their_backups_and_find_new_ones() {
    for seed in seeds(SEEDS) {
        let mut world = run(plan(4, 3, 24), seed, 10);
        let viewers = world.viewers();
        let relay = *viewers.iter().max_by_key(|viewer| world.snapshot(**viewer).children.len()).unwrap();
        let children = world.snapshot(relay).children;
        assert!(!children.is_empty(), "seed {seed}");
        world.kill(relay);
        let killed = world.now();
        world.run_for(10 * SECOND);
        for child in children {
            let gap = world.longest_gap_us(child, killed - SECOND);
            assert!(gap < SECOND, "seed {seed}: {child:?} waited {gap} us");
            let snapshot = world.snapshot(child);
            assert!(snapshot.parent != Some(relay), "seed {seed}: {snapshot:?}");
            assert!(snapshot.backup != Some(relay), "seed {seed}");
            // a child that loses its backup again later searches for another: calm() checks that it has one
            let found =
                |event: &Event| matches!(event, Event::Backup { peer: Some(backup) } if *backup != relay);
            let again = world.events(child).iter().any(|(at, event)| *at > killed && found(event));
            assert!(again, "seed {seed}: {child:?} found no other backup");
        }
        calm(&world);
    }
}

#[test]
fn children_and_grandchildren_survive_when_all_children_of_a_root_die() {
    for seed in seeds(SEEDS) {
        let mut plan = plan(2, 2, 12);
        (plan.room.k, plan.room.k1) = (2, 4);
        let mut world = run(plan, seed, 12);
        let first_tier: Vec<PeerId> =
            world.viewers().into_iter().filter(|viewer| world.snapshot(*viewer).path.len() == 2).collect();
        assert_eq!(first_tier.len(), 4, "seed {seed}");
        for peer in first_tier {
            world.kill(peer);
        }
        world.run_for(12 * SECOND);
        calm(&world);
    }
}

#[test]
fn two_speakers_alone_are_a_mesh_and_a_viewer_brings_a_mixer() {
    for seed in seeds(SEEDS) {
        let mut plan = plan(2, 2, 1);
        plan.peers.last_mut().unwrap().joins_at = Time(5 * SECOND);
        let mut world = World::new(plan, seed);
        world.run_until(Time(5 * SECOND - 1));
        assert_eq!(world.snapshot(world.planned(0)).mode, Mode::Mesh, "seed {seed}");
        assert!(world.living().all(|peer| !world.snapshot(peer).mixing), "seed {seed}: somebody mixes");
        world.run_for(10 * SECOND);
        assert_eq!(world.snapshot(world.planned(0)).mode, Mode::Mixer, "seed {seed}");
        assert!(!world.viewers().is_empty());
        calm(&world);
    }
}

#[test]
fn a_speaker_that_comes_late_is_called_home() {
    for seed in seeds(SEEDS) {
        for speakers in [1, 2, 4] {
            let mut plan = plan(speakers, 2, 4);
            let late = PeerPlan { joins_at: Time(8 * SECOND), ..PeerPlan::SPEAKER };
            // this viewer knows neither the roster of the election nor any peer that does
            let after = PeerPlan { joins_at: Time(10 * SECOND), ..PeerPlan::VIEWER };
            plan.peers.extend([late, after]);
            let world = run(plan, seed, 12);
            let late = world.planned(speakers + 2 + 4);
            assert_eq!(world.sending_to(late), world.mixers(), "seed {seed}");
            assert_eq!(world.viewers().len(), 5);
            calm(&world);
        }
    }
}

#[test]
fn one_speaker_before_an_audience_is_passed_through() {
    for seed in seeds(SEEDS) {
        let world = run(plan(1, 3, 10), seed, 10);
        assert_eq!(world.snapshot(world.planned(0)).mode, Mode::PassThrough, "seed {seed}");
        calm(&world);
    }
}

#[test]
fn the_room_goes_on_without_its_rendezvous_and_repairs_itself() {
    for seed in seeds(SEEDS) {
        let mut world = run(plan(4, 3, 24), seed, 10);
        world.kill_rendezvous();
        world.run_for(2 * SECOND);
        let viewers = world.viewers();
        let relay = *viewers.iter().max_by_key(|viewer| world.snapshot(**viewer).children.len()).unwrap();
        world.kill(relay);
        world.run_for(8 * SECOND);
        let mixer = world.mixers()[0];
        world.kill(mixer);
        world.run_for(15 * SECOND);
        assert!(!world.mixers().contains(&mixer), "seed {seed}");
        calm(&world);
    }
}

#[test]
fn a_dead_standby_is_replaced() {
    for seed in seeds(SEEDS) {
        let mut world = run(plan(4, 3, 12), seed, 10);
        let host = world.planned(0);
        let before = world.snapshot(host);
        world.kill(before.standbys[0]);
        world.run_for(15 * SECOND);
        let after = world.snapshot(host);
        assert_eq!(after.mixers, before.mixers, "seed {seed}: the mixer was fine");
        assert_eq!(after.standbys.len(), 1, "seed {seed}");
        assert_ne!(after.standbys, before.standbys, "seed {seed}");
        calm(&world);
    }
}

#[test]
fn a_room_of_one_candidate_has_a_mixer_and_no_standby() {
    for seed in seeds(SEEDS) {
        let world = run(plan(3, 1, 6), seed, 12);
        let snapshot = world.snapshot(world.planned(0));
        assert_eq!((snapshot.mixers.len(), snapshot.standbys.len()), (1, 0), "seed {seed}");
        assert!(snapshot.rank > Rank::default(), "seed {seed}: never elected");
        calm(&world);
    }
}

#[test]
fn hundreds_join_at_once_and_are_fed() {
    let mut plan = plan(4, 3, 300);
    plan.room.k1 = 10;
    let world = run(plan, 1, 20);
    let mut joins = world.join_us();
    joins.sort_unstable();
    assert_eq!(joins.len(), 300);
    assert!(joins[285] < 4 * SECOND, "{}", joins[285]);
    assert!(world.depths().iter().all(|depth| *depth <= 5), "{:?}", world.depths());
    calm(&world);
}

#[test]
fn whoever_sleeps_is_missed_and_welcome_back() {
    // a relay with its children, a mixer, and the host; one sleep is short enough for links to survive, the
    // other isn't
    type Who = fn(&World) -> PeerId;
    let who: [(&str, Who); 3] = [
        ("relay", |world| {
            let viewers = world.viewers();
            *viewers.iter().max_by_key(|viewer| world.snapshot(**viewer).children.len()).unwrap()
        }),
        ("mixer", |world| world.mixers()[0]),
        ("host", |world| world.planned(0)),
    ];
    for seed in seeds(SEEDS).step_by(2) {
        for (name, who) in who {
            for sleep_s in [2, 20] {
                println!("{name} for {sleep_s} s");
                let mut world = run(plan(4, 3, 16), seed, 10);
                let sleeper = who(&world);
                world.sleep(sleeper, sleep_s * SECOND);
                let slept = world.now();
                run_on(&mut world, sleep_s + 20);
                for viewer in world.viewers().into_iter().filter(|viewer| *viewer != sleeper) {
                    let gap = world.longest_gap_us(viewer, slept - SECOND);
                    assert!(gap < 2_500 * MS, "seed {seed}, {name}, {sleep_s} s: {viewer:?} waited {gap} us");
                }
                let snapshot = world.snapshot(sleeper);
                let others = world.snapshot(world.planned(1));
                assert_eq!(
                    (snapshot.rank, snapshot.mixers),
                    (others.rank, others.mixers),
                    "seed {seed}, {name}"
                );
                calm(&world);
            }
        }
    }
}

#[test]
fn a_room_stands_a_loss_of_a_tenth_for_a_while() {
    for seed in seeds(SEEDS) {
        let mut world = run(plan(4, 3, 24), seed, 10);
        let before = world.received();
        world.lose_from(world.now(), Share(100_000));
        world.lose_from(world.now() + 15 * SECOND, Share(5_000));
        run_on(&mut world, 15);
        run_on(&mut world, 12);
        let after = world.received();
        let shown = (after.frames_within_1s - before.frames_within_1s) as f64;
        let share = shown / (after.frames - before.frames) as f64;
        assert!(share > 0.98, "seed {seed}: {share}");
        calm(&world);
    }
}

#[test]
fn one_seed_gives_one_trace() {
    let trace = |seed| run(plan(4, 3, 12), seed, 8).trace_hash();
    assert_eq!(trace(7), trace(7));
    assert_ne!(trace(7), trace(8));
}

#[test]
fn every_scenario_that_comes_along_runs_without_a_violation() {
    for name in scenario::names() {
        let mut scenario = scenario::named(name).unwrap().unwrap();
        // the scenario's targets need a full run; here only its script is tested
        scenario = scenario.with_audience(12).unwrap();
        scenario.storm = scenario.storm.min(Span(25 * SECOND));
        scenario.acts.retain(|act| act.at <= scenario.storm);
        scenario.calm = scenario.calm.min(Span(12 * SECOND));
        let report = scenario.run(1, 1);
        assert!(report.elections.count > 0, "{name}: {report:#?}");
        // among liars a viewer may fare badly: the scenario's figures show how often
        if !scenario.has_attackers() {
            assert!(report.violations.is_empty(), "{name}: {:#?}", report.violations);
            assert!(report.delivery.frames_within_1s > Some(0.8), "{name}: {report:#?}");
        }
    }
}

fn event(world: &World, peer: PeerId, wanted: impl Fn(&Event) -> bool) -> Event {
    let found = world.events(peer).iter().find(|(_, event)| wanted(event));
    found.unwrap_or_else(|| panic!("not among {:#?}", world.events(peer))).1.clone()
}

fn when(world: &World, peer: PeerId, wanted: impl Fn(&Event) -> bool) -> Time {
    let found = world.events(peer).iter().find(|(_, event)| wanted(event));
    found.unwrap_or_else(|| panic!("not among {:#?}", world.events(peer))).0
}

/// Three hours of mixing, with packet loss and stalling machines (300 nightly, 3,000 by command, PROTOCOL 11.1).
#[test]
fn in_three_hours_nobody_takes_over_from_a_mixer_that_lives() {
    let scenario = scenario::named("mixer-stalls").unwrap().unwrap();
    let report = scenario.run(1, 3);
    let elections = &report.elections;
    assert!(elections.mixer_hours >= 3.0, "{} hours", elections.mixer_hours);
    assert_eq!(elections.false_failovers_per_1000h, Some(0.0));
    assert_eq!(elections.false_declarations_per_24h, Some(0.0), "{elections:?}");
}
