//! Members whose envelopes are to go back and forth between others.

use std::collections::BTreeMap;

use plenary_proto::time::SECOND;
use plenary_proto::{PeerId, Time};
use plenary_sim::attackers::loopers::Looper;
use plenary_sim::{MediaModel, World};

use crate::support::{plan, seeds};

const SEEDS: std::ops::Range<u64> = 0..3;
/// Number of peers on stage in these rooms, and of viewers.
const STAGE: usize = 7;
const VIEWERS: usize = 20;
const FROM: Time = Time(12 * SECOND);
/// Two viewers and a candidate.
const LOOPERS: [usize; 3] = [STAGE - 1, STAGE, STAGE + 3];

fn looped(seed: u64, change: impl FnOnce(&mut World)) -> World {
    println!("seed {seed}");
    let mut plan = plan(4, 3, VIEWERS);
    (plan.room.k, plan.room.k1, plan.media) = (2, 4, MediaModel::Packet);
    let mut world = World::new(plan, seed);
    for planned in LOOPERS {
        let to = world.planned(STAGE + VIEWERS - 1);
        world.deviate_from_the_start(planned, Box::new(Looper::new(world.planned(planned), to, FROM)));
    }
    change(&mut world);
    world.run_until(FROM);
    world
}

/// Bytes of envelopes that the loopers have sent to each peer, and the most that any other peer has sent to one.
fn carried(world: &World) -> (u64, u64) {
    let loopers = LOOPERS.map(|planned| world.planned(planned));
    let (mut sent, mut most) = (0, 0);
    for (from, _, bytes) in world.carried() {
        if loopers.contains(&from) { sent += bytes } else { most = bytes.max(most) }
    }
    (sent, most)
}

/// Links between peers that don't loop, each with the time at which it came up.
fn links(world: &World) -> BTreeMap<(PeerId, PeerId), Time> {
    let loopers = LOOPERS.map(|planned| world.planned(planned));
    let others: Vec<_> = world.living().filter(|peer| !loopers.contains(peer)).collect();
    let of = |peer: &PeerId| {
        let peer = *peer;
        world.linked_with(peer).into_iter().map(move |(other, since)| ((other, peer), since))
    };
    others.iter().flat_map(of).filter(|((other, _), _)| others.contains(other)).collect()
}

/// Links of the stage and of the tree that have ended since: others are made for measurements, and given up.
fn ended(world: &World, before: &BTreeMap<(PeerId, PeerId), Time>) -> Vec<(PeerId, PeerId)> {
    let now = links(world);
    let stage: Vec<_> = (0..STAGE).map(|planned| world.planned(planned)).collect();
    let is_kept = |(a, b): &(PeerId, PeerId)| {
        (stage.contains(a) && stage.contains(b)) || world.snapshot(*a).parent == Some(*b)
    };
    let gone = before.iter().filter(|(ends, since)| is_kept(ends) && now.get(*ends) != Some(*since));
    gone.map(|(ends, _)| *ends).collect()
}

#[test]
fn envelopes_that_are_to_go_back_and_forth_are_not_forwarded() {
    for seed in seeds(SEEDS) {
        let mut world = looped(seed, |_| ());
        let before = links(&world);
        world.run_for(15 * SECOND);
        let (sent, most) = carried(&world);
        assert!(sent > 1 << 20, "seed {seed}: the loopers have sent {sent} bytes");
        assert!(most <= 64 * 1024, "seed {seed}: of {sent} bytes {most} went on between two others");
        let ended = ended(&world, &before);
        assert!(ended.is_empty(), "seed {seed}: {ended:?}");
        for viewer in world.viewers() {
            let gap = world.longest_gap_us(viewer, FROM);
            assert!(gap <= 500 * 1000, "seed {seed}: {viewer:?} waited {gap} us");
        }
    }
}

#[test]
#[cfg(debug_assertions)] // only these builds have mutants
fn a_looper_s_bytes_multiply_in_a_room_that_forwards_in_circles() {
    use plenary_proto::Mutation;
    use plenary_sim::faults::Faulty;
    let circles = |world: &mut World| world.break_rule(Faulty::Brains(Mutation::ForwardsInCircles));
    let mut world = looped(0, circles);
    let before = links(&world);
    world.run_for(4 * SECOND);
    let (sent, _) = carried(&world);
    let loopers = LOOPERS.map(|planned| world.planned(planned));
    let others: u64 =
        world.carried().filter(|(from, ..)| !loopers.contains(from)).map(|(.., bytes)| bytes).sum();
    let gaps = world.viewers().into_iter().map(|viewer| world.longest_gap_us(viewer, FROM));
    println!(
        "{sent} bytes sent, {others} forwarded; gap of {:?} us; ended: {}",
        gaps.max(),
        ended(&world, &before).len()
    );
    assert!(others > 2 * sent, "{sent} bytes sent, {others} forwarded");
}
