//! Standbys that take the mixer's place as if it had asked for that, and peers on stage that deny its death.

use plenary_proto::message::{FailoverMessage, Message};
use plenary_proto::time::MS;
use plenary_proto::{PeerId, Time};
use plenary_sim::attackers::usurpers;
use plenary_sim::deviation::{Deviation, Saying};
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
fn a_standby_takes_no_living_mixer_s_place_without_a_valid_wish() {
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

/// Says all the time that it hears these mixers.
#[derive(Debug)]
struct Vouches {
    mixers: Vec<PeerId>,
    next: Time,
}

impl Deviation for Vouches {
    fn says(&mut self, now: Time, linked: &[PeerId]) -> Vec<Saying> {
        if now < self.next {
            return Vec::new();
        }
        self.next = now + 100 * MS;
        let heard =
            |mixer: &PeerId| Message::Failover(FailoverMessage::Heard { mixer: *mixer, silent_us: Some(0) });
        let to_each = |peer: &PeerId| {
            let peer = *peer;
            self.mixers
                .iter()
                .map(heard)
                .map(move |message| Saying::Control(peer, message))
                .collect::<Vec<_>>()
        };
        linked.iter().flat_map(to_each).collect()
    }
}

#[test]
fn a_peer_on_stage_that_claims_to_hear_a_dead_mixer_delays_no_failover() {
    let mut tried = 0;
    for seed in seeds(SEEDS) {
        let mut world = room(seed, |_| ());
        let mixer = world.mixers()[0];
        let standby = world.snapshot(mixer).standbys.first().copied();
        let stage: Vec<PeerId> = (0..7).map(|at| world.planned(at)).collect();
        if stage[0] == mixer {
            continue; // the host's death is another matter
        }
        tried += 1;
        let liar = stage[1..].iter().find(|peer| **peer != mixer && Some(**peer) != standby).copied();
        let liar = liar.expect("a third peer");
        world.deviate(liar, Box::new(Vouches { mixers: vec![mixer], next: Time(0) }));
        world.run_for(1_000 * MS);
        let since = world.now();
        world.kill(mixer);
        world.run_for(5_000 * MS);
        for viewer in world.viewers() {
            let gap_us = world.longest_gap_us(viewer, since);
            assert!(gap_us <= 1_000 * MS, "seed {seed}: {viewer:?} has no picture for {gap_us} us");
        }
    }
    assert!(tried > 0, "the host mixes in each of these rooms: nothing was tried");
}
