//! Application data down the tree: receivers, order, and what survives the death of relays.

use crate::support::seeds;
use plenary_proto::app::Reason;
use plenary_proto::message::{DATA_LEN_MAX, Delivery, LOOSE_LEN_MAX};
use plenary_proto::time::{MS, SECOND};
use plenary_proto::{Event, PeerId, Time};
use plenary_sim::attackers::talkers;
use plenary_sim::plan::Access;
use plenary_sim::{MediaModel, NetPlan, PeerPlan, RoomPlan, World, WorldPlan};

const SEEDS: std::ops::Range<u64> = 0..10;
const PIECES: u32 = 40;

#[test]
fn what_a_speaker_tells_the_room_reaches_everyone_once_and_in_order() {
    for seed in seeds(SEEDS) {
        let mut world = settled(seed, 0);
        let source = world.planned(1);
        for piece in 0..PIECES {
            world.publish(source, Delivery::Reliable, &piece.to_le_bytes());
            world.run_for(20 * MS);
        }
        world.run_for(2 * SECOND);
        everyone_has_all(&world, source, seed);
    }
}

#[test]
fn data_survives_the_death_of_the_whole_first_tier() {
    for seed in seeds(SEEDS) {
        let mut world = settled(seed, 5_000);
        let source = world.planned(1);
        for piece in 0..PIECES {
            world.publish(source, Delivery::Reliable, &piece.to_le_bytes());
            world.run_for(20 * MS);
            if piece == PIECES / 2 {
                at_depth(&world, 1).into_iter().for_each(|peer| world.kill(peer));
            }
        }
        world.run_for(8 * SECOND);
        everyone_has_all(&world, source, seed);
    }
}

#[test]
fn data_survives_the_death_of_the_mixer() {
    for seed in seeds(SEEDS) {
        let mut world = settled(seed, 5_000);
        let source = world.planned(1);
        for piece in 0..PIECES {
            world.publish(source, Delivery::Reliable, &piece.to_le_bytes());
            world.run_for(50 * MS);
            if piece == PIECES / 2 {
                world.mixers().into_iter().for_each(|peer| world.kill(peer));
            }
        }
        world.run_for(8 * SECOND);
        everyone_has_all(&world, source, seed);
    }
}

#[test]
fn the_mixer_too_can_tell_the_room_something() {
    for seed in seeds(SEEDS) {
        let mut world = settled(seed, 0);
        let source = world.mixers()[0];
        (0..PIECES).for_each(|piece| world.publish(source, Delivery::Reliable, &piece.to_le_bytes()));
        world.run_for(2 * SECOND);
        everyone_has_all(&world, source, seed);
    }
}

#[test]
fn loose_data_may_be_lost_but_never_comes_twice_or_late() {
    for seed in seeds(SEEDS) {
        let mut world = settled(seed, 20_000);
        let source = world.planned(1);
        for piece in 0..PIECES {
            world.publish(source, Delivery::Loose, &piece.to_le_bytes());
            world.run_for(20 * MS);
        }
        world.run_for(2 * SECOND);
        let viewers = world.viewers();
        let mut got = 0;
        for viewer in &viewers {
            let pieces = heard(&world, *viewer, source);
            assert!(pieces.windows(2).all(|pair| pair[0] < pair[1]), "seed {seed}: {pieces:?}");
            got += pieces.len();
        }
        let share = got as f64 / (viewers.len() * PIECES as usize) as f64;
        assert!((0.7..1.0).contains(&share), "seed {seed}: {share}");
    }
}

/// The plan of the other tests, with a viewer that joins after 12 s.
fn plan_with_a_newcomer() -> WorldPlan {
    let mut plan = plan(0);
    plan.peers.push(PeerPlan { joins_at: Time(12 * SECOND), ..viewer(0) });
    plan
}

#[test]
fn a_newcomer_gets_what_is_said_from_then_on() {
    for seed in seeds(SEEDS) {
        let mut world = World::new(plan_with_a_newcomer(), seed);
        world.run_until(Time(10 * SECOND));
        let source = world.planned(1);
        world.publish(source, Delivery::Reliable, &0u32.to_le_bytes());
        world.run_until(Time(16 * SECOND));
        world.publish(source, Delivery::Reliable, &1u32.to_le_bytes());
        world.run_for(SECOND);
        let late = *world.viewers().last().expect("it is there");
        assert_eq!(heard(&world, late, source), [1], "seed {seed}");
    }
}

#[test]
fn a_newcomer_whose_parent_dies_at_once_misses_nothing_from_then_on() {
    for seed in seeds(SEEDS) {
        let mut world = World::new(plan_with_a_newcomer(), seed);
        world.run_until(Time(12_800 * MS));
        let late = *world.viewers().last().expect("it is there");
        let parent = world.snapshot(late).parent.unwrap_or_else(|| panic!("seed {seed}: nobody feeds it"));
        let source = world.planned(1);
        world.kill(parent);
        (0..PIECES).for_each(|piece| world.publish(source, Delivery::Reliable, &piece.to_le_bytes()));
        world.run_for(8 * SECOND);
        assert_eq!(heard(&world, late, source), (0..PIECES).collect::<Vec<_>>(), "seed {seed}");
    }
}

#[test]
fn what_may_not_be_said_is_refused_and_not_sent() {
    let mut world = settled(1, 0);
    let (speaker, viewer) = (world.planned(1), world.viewers()[0]);
    let now = world.now();
    let may = |world: &World, peer, delivery, len| world.brain(peer).may_publish(now, delivery, len);
    assert_eq!(may(&world, viewer, Delivery::Reliable, 1), Err(Reason::NotOnStage));
    assert_eq!(may(&world, speaker, Delivery::Reliable, DATA_LEN_MAX + 1), Err(Reason::LongData));
    assert_eq!(may(&world, speaker, Delivery::Loose, LOOSE_LEN_MAX + 1), Err(Reason::LongData));
    world.publish(viewer, Delivery::Reliable, b"I may not");
    let mut said = 0;
    while may(&world, speaker, Delivery::Reliable, DATA_LEN_MAX).is_ok() {
        world.publish(speaker, Delivery::Reliable, &[0; DATA_LEN_MAX]);
        said += 1;
    }
    assert!((4..8).contains(&said), "{said} pieces at once");
    assert_eq!(may(&world, speaker, Delivery::Reliable, DATA_LEN_MAX), Err(Reason::TooFast));
    world.run_for(SECOND);
    assert!(world.brain(speaker).may_publish(world.now(), Delivery::Reliable, DATA_LEN_MAX).is_ok());
    assert!(world.living().all(|peer| heard(&world, peer, viewer).is_empty()));
}

fn viewer(at: u64) -> PeerPlan {
    PeerPlan { joins_at: Time(500 * MS + at * 30 * MS), ..PeerPlan::VIEWER }
}

/// Thirty viewers below a mixer with four children; relays have two each.
fn plan(loss_ppm: u32) -> WorldPlan {
    let stage = [PeerPlan::SPEAKER, PeerPlan::SPEAKER, PeerPlan::CANDIDATE, PeerPlan::CANDIDATE];
    let stage = stage.into_iter().zip(0..);
    let mut peers: Vec<_> =
        stage.map(|(peer, at)| PeerPlan { joins_at: Time(at * 20 * MS), ..peer }).collect();
    peers.extend((0..30).map(viewer));
    WorldPlan {
        room: RoomPlan { k: 2, k1: 4, ..RoomPlan::DEFAULT },
        net: NetPlan::drawn(5 * MS, 40 * MS, loss_ppm),
        media: MediaModel::Frame,
        peers,
    }
}

fn settled(seed: u64, loss_ppm: u32) -> World {
    let mut world = World::new(plan(loss_ppm), seed);
    world.run_until(Time(10 * SECOND));
    world
}

fn at_depth(world: &World, depth: usize) -> Vec<PeerId> {
    let viewers = world.viewers().into_iter();
    viewers.filter(|viewer| world.snapshot(*viewer).path.len() == depth + 1).collect()
}

fn heard(world: &World, peer: PeerId, source: PeerId) -> Vec<u32> {
    let told = world.events(peer).iter().filter_map(|(_, event)| match event {
        Event::Data { from, bytes, .. } if *from == source => bytes.first_chunk().copied(),
        _ => None,
    });
    told.map(u32::from_le_bytes).collect()
}

fn everyone_has_all(world: &World, source: PeerId, seed: u64) {
    for peer in world.living().filter(|peer| *peer != source) {
        let pieces = heard(world, peer, source);
        assert_eq!(pieces, (0..PIECES).collect::<Vec<_>>(), "seed {seed}: {peer:?}");
    }
}

/// Number of talkers: with the host and an honest candidate they fill the stage.
const TALKERS: usize = 62;
const TALK_FROM: Time = Time(20 * SECOND);

/// A full stage: the host, a speaker; a candidate with a wide uplink; and talkers that speak. The viewers have lines of
/// 3 Mbit/s, beside a program of 1.5 Mbit/s.
fn full_stage(viewers: u64) -> WorldPlan {
    let talker = |at: u64| {
        let access = Access { up_bps: 2_500_000, ..Access::WIRE };
        PeerPlan { joins_at: Time(SECOND + at * 20 * MS), access, ..PeerPlan::SPEAKER }
    };
    let narrow = Access { up_bps: 6_000_000, down_bps: 3_000_000, ..Access::WIRE };
    let listens =
        |at: u64| PeerPlan { access: narrow, joins_at: Time(3 * SECOND + at * 100 * MS), ..viewer(0) };
    let mut peers = vec![PeerPlan::SPEAKER, PeerPlan { joins_at: Time(20 * MS), ..PeerPlan::CANDIDATE }];
    peers.extend((0..TALKERS as u64).map(talker));
    peers.extend((0..viewers).map(listens));
    WorldPlan {
        room: RoomPlan { k: 2, k1: 4, ..RoomPlan::DEFAULT },
        net: NetPlan::drawn(5 * MS, 40 * MS, 0),
        media: MediaModel::Packet,
        peers,
    }
}

#[test]
fn sixty_two_that_talk_without_end_cost_no_viewer_the_program() {
    for seed in seeds(0..1) {
        let mut world = World::new(full_stage(8), seed);
        talkers::set_on(&mut world, 2..2 + TALKERS, TALK_FROM);
        world.run_until(TALK_FROM);
        let (host, viewers) = (world.planned(0), world.viewers());
        let shown = |world: &World| viewers.iter().map(|peer| world.shown_in_time(*peer)).sum::<u64>();
        let before = shown(&world);
        let told = 6;
        for line in 0..told {
            world.publish(host, Delivery::Reliable, &u32::to_le_bytes(line));
            world.run_for(SECOND);
        }
        let share = (shown(&world) - before) as f64 / f64::from(viewers.len() as u32 * told * 30);
        let bytes = |viewer: &PeerId| {
            let came = world.events(*viewer).iter().filter_map(|(_, event)| match event {
                Event::Data { bytes, .. } => Some(bytes.len()),
                _ => None,
            });
            came.sum::<usize>() / told as usize
        };
        let most = viewers.iter().map(bytes).max().unwrap();
        println!("seed {seed}: {:.2} % of the pictures; {most} bytes of data a second", 100.0 * share);
        assert!(share >= 0.99, "seed {seed}: {share}");
        // 24 KiB a second, and as much at once
        let allowed = 24 * 1024 * (told as usize + 1) / told as usize;
        assert!(most <= allowed, "seed {seed}: {most} bytes a second, {allowed} allowed");
        world.run_for(SECOND);
        for viewer in &viewers {
            assert_eq!(
                heard(&world, *viewer, host),
                (0..told).collect::<Vec<_>>(),
                "seed {seed}: {viewer:?}"
            );
        }
    }
}
