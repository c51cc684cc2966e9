//! Peers that the host has removed, and that do what they can to stay or come back.

use plenary_proto::time::{MS, SECOND};
use plenary_proto::{Command, PeerId, Time};
use plenary_sim::attackers::outcasts::{self, Friend};
use plenary_sim::{MediaModel, World};

use crate::support::{plan, run_on, seeds};

const SEEDS: std::ops::Range<u64> = 0..4;
/// Number of peers on stage in these rooms, and of viewers.
const STAGE: usize = 7;
const VIEWERS: usize = 20;
/// Time by which a removed peer must be out everywhere, as required.
const OUT_US_MAX: u64 = SECOND;
/// Longest gap in the program of the peers below a removed one, as required.
const GAP_US_MAX: u64 = 500 * MS;

/// A room of bodies with a narrow tree, in which the first viewers to come turn into outcasts when they are removed.
fn room(seed: u64, change: impl FnOnce(&mut World)) -> World {
    println!("seed {seed}");
    let mut plan = plan(4, 3, VIEWERS);
    (plan.room.k, plan.room.k1, plan.media) = (2, 4, MediaModel::Packet);
    let mut world = World::new(plan, seed);
    (STAGE..STAGE + 4).for_each(|planned| outcasts::set_on(&mut world, planned));
    change(&mut world);
    run_on(&mut world, 12);
    world
}

/// Removes the peer with the most children among those that don't accept it; returns it and its children.
fn remove(world: &mut World) -> (PeerId, Vec<PeerId>) {
    let relays = (STAGE..STAGE + 4).map(|planned| world.planned(planned));
    let relay = relays.max_by_key(|peer| world.snapshot(*peer).children.len()).unwrap();
    let children = world.snapshot(relay).children;
    assert!(!children.is_empty(), "seed {}: it feeds nobody", world.seed());
    world.command(world.planned(0), Command::Remove(relay));
    (relay, children)
}

/// What is wrong with how a room deals with an outcast that was removed at `since`: peers that keep a link with it
/// longer than they may, feed it, or are fed by it.
fn wrongs(world: &World, outcast: PeerId, since: Time, friends: &[PeerId]) -> Vec<String> {
    let mut wrongs = Vec::new();
    if world.now().since(since) < OUT_US_MAX {
        return wrongs;
    }
    let are_others = |peers: &[PeerId]| peers.iter().any(|peer| !friends.contains(peer));
    let (linked, feeders) = (world.linked_with(outcast), world.feeders_of(outcast));
    let is_long = |since: &Time| world.now().since(*since) > OUT_US_MAX;
    if linked.iter().any(|(peer, since)| is_long(since) && !friends.contains(peer)) {
        wrongs.push(format!("linked with {linked:?}"));
    }
    if are_others(&feeders) {
        wrongs.push(format!("fed by {feeders:?}"));
    }
    let fed = world.viewers().into_iter().filter(|viewer| *viewer != outcast && !friends.contains(viewer));
    let fed: Vec<_> = fed.filter(|viewer| world.snapshot(*viewer).parent == Some(outcast)).collect();
    if !fed.is_empty() {
        wrongs.push(format!("feeds {fed:?}"));
    }
    // what a friend lets it see nobody can prevent
    if friends.is_empty() && world.shown_at(outcast).is_some_and(|at| at > since + OUT_US_MAX) {
        wrongs.push("shows a picture".to_owned());
    }
    wrongs.into_iter().map(|wrong| format!("seed {} at {}: {wrong}", world.seed(), world.now())).collect()
}

/// Runs a room for some seconds after a removal; returns all that is wrong on the way.
fn wrongs_within(
    world: &mut World,
    seconds: u64,
    outcast: PeerId,
    since: Time,
    friends: &[PeerId],
) -> Vec<String> {
    let mut all = Vec::new();
    for _ in 0..seconds * 10 {
        world.run_for(100 * MS);
        all.extend(wrongs(world, outcast, since, friends));
    }
    all
}

#[test]
fn a_removed_relay_is_out_everywhere_within_a_second() {
    for seed in seeds(SEEDS) {
        let mut world = room(seed, |_| ());
        let since = world.now();
        let (outcast, children) = remove(&mut world);
        let wrongs = wrongs_within(&mut world, 20, outcast, since, &[]);
        assert!(wrongs.is_empty(), "{wrongs:#?}");
        for viewer in world.viewers().into_iter().filter(|viewer| *viewer != outcast) {
            let gap = world.longest_gap_us(viewer, since);
            let is_child = children.contains(&viewer);
            assert!(gap <= GAP_US_MAX, "seed {seed}: {viewer:?} waited {gap} us; a child: {is_child}");
        }
        let directory = world.brain(world.planned(0)).directory().unwrap();
        assert!(directory.into_iter().all(|(peer, _)| *peer != outcast), "seed {seed}");
    }
}

#[test]
fn a_removed_peer_does_not_come_back_by_a_neighbour_that_keeps_it() {
    for seed in seeds(SEEDS) {
        let mut world = room(seed, |_| ());
        let since = world.now();
        let (outcast, children) = remove(&mut world);
        let friend = children[0];
        world.deviate(friend, Box::new(Friend::of(outcast)));
        let mut wrongs = wrongs_within(&mut world, 8, outcast, since, &[friend]);
        world.kill_rendezvous(); // from now on the neighbour is its only way to others
        wrongs.extend(wrongs_within(&mut world, 12, outcast, since, &[friend]));
        assert!(wrongs.is_empty(), "{wrongs:#?}");
        let kept = world.linked_with(outcast).iter().any(|(peer, _)| *peer == friend);
        assert!(kept, "seed {seed}: or this test shows nothing");
    }
}

#[test]
fn a_removed_mixer_makes_no_program_after_a_second() {
    let mut tried = 0;
    for seed in seeds(SEEDS) {
        let mut world = room(seed, |world| (1..STAGE).for_each(|planned| outcasts::set_on(world, planned)));
        let (host, mixer) = (world.planned(0), world.mixers()[0]);
        if mixer == host {
            continue;
        }
        tried += 1;
        let since = world.now();
        world.command(host, Command::Remove(mixer));
        let wrongs = wrongs_within(&mut world, 15, mixer, since, &[]);
        assert!(wrongs.is_empty(), "{wrongs:#?}");
        for viewer in world.viewers() {
            let gap = world.longest_gap_us(viewer, since);
            assert!(gap <= 2 * SECOND, "seed {seed}: {viewer:?} waited {gap} us");
        }
    }
    assert!(tried > 0, "the host mixes in each of these rooms: nothing was tried");
}

#[test]
#[cfg(debug_assertions)] // only these builds have mutants
fn in_a_room_that_keeps_the_removed_a_removed_relay_stays() {
    use plenary_proto::Mutation;
    use plenary_sim::faults::Faulty;
    let mut world = room(0, |world| world.break_rule(Faulty::Brains(Mutation::KeepsTheRemoved)));
    let since = world.now();
    let (outcast, _) = remove(&mut world);
    let wrongs = wrongs_within(&mut world, 5, outcast, since, &[]);
    for wrong in ["linked with", "fed by", "feeds", "shows a picture"] {
        assert!(wrongs.iter().any(|found| found.contains(wrong)), "{wrong}: {wrongs:#?}");
    }
}
