//! Members that send again what others have signed or said.

use plenary_proto::time::SECOND;
use plenary_proto::{Command, PeerId, Time};
use plenary_sim::attackers::replayers::Replayer;
use plenary_sim::checkers::safety;
use plenary_sim::{MediaModel, World};

use crate::support::{plan, seeds};

const SEEDS: std::ops::Range<u64> = 0..4;
/// Number of peers on stage in these rooms, and of viewers.
const STAGE: usize = 7;
const VIEWERS: usize = 10;
/// Two viewers and a candidate.
const REPLAYERS: [usize; 3] = [STAGE - 1, STAGE, STAGE + 3];
/// Viewers that the host promotes and demotes, and removes.
const PROMOTED: usize = STAGE + 4;
const REMOVED: usize = STAGE + 5;
/// The replays begin when the room is in order, and go on during all that happens.
const FROM: Time = Time(8 * SECOND);

/// A room in which two viewers and a candidate replay all that they hear, while the host promotes and demotes a viewer,
/// removes another, and the mixer dies.
fn replayed(seed: u64, change: impl FnOnce(&mut World)) -> World {
    println!("seed {seed}");
    let mut plan = plan(3, 4, VIEWERS);
    (plan.room.k, plan.room.k1, plan.media) = (2, 4, MediaModel::Packet);
    let mut world = World::new(plan, seed);
    let everyone: Vec<_> = (0..STAGE + VIEWERS).map(|planned| world.planned(planned)).collect();
    for planned in REPLAYERS {
        world.deviate_from_the_start(planned, Box::new(Replayer::new(everyone.clone(), FROM)));
    }
    change(&mut world);
    world.run_until(FROM + 2 * SECOND);
    let (host, promoted) = (world.planned(0), world.planned(PROMOTED));
    world.command(host, Command::Promote(promoted));
    world.run_for(3 * SECOND);
    world.command(host, Command::Demote(promoted));
    world.command(host, Command::Remove(world.planned(REMOVED)));
    world.run_for(3 * SECOND);
    let mixer = world.mixers()[0];
    if mixer != host {
        world.kill(mixer);
    }
    world.run_for(14 * SECOND);
    world
}

#[test]
fn what_others_signed_or_said_changes_nothing_when_it_is_sent_again() {
    for seed in seeds(SEEDS) {
        let mut world = replayed(seed, |_| ());
        let violations = safety(&world);
        assert!(violations.is_empty(), "seed {seed}: {violations:?}");
        let host = world.planned(0);
        let [promoted, removed] = [PROMOTED, REMOVED].map(|planned| world.planned(planned));
        let since = world.now();
        world.run_for(10 * SECOND);
        let at_host = world.snapshot(host);
        assert_eq!(at_host.host, Some(host), "seed {seed}");
        let replayers = REPLAYERS.map(|planned| world.planned(planned));
        for peer in world.living().filter(|peer| *peer != removed && !replayers.contains(peer)) {
            let snapshot = world.snapshot(peer);
            let same = (snapshot.host, snapshot.epoch, snapshot.rank, &snapshot.mixers)
                == (at_host.host, at_host.epoch, at_host.rank, &at_host.mixers);
            assert!(same, "seed {seed}: {peer:?} is at {snapshot:?}, the host at {at_host:?}");
        }
        let roster = world.brain(host).roster().unwrap();
        assert!(roster.entries.iter().all(|entry| entry.peer != promoted), "seed {seed}: on stage again");
        assert!(world.linked_with(removed).is_empty(), "seed {seed}: linked again");
        let honest = |viewer: &PeerId| *viewer != removed && !replayers.contains(viewer);
        for viewer in world.viewers().into_iter().filter(honest) {
            let gap = world.longest_gap_us(viewer, since);
            assert!(gap <= SECOND, "seed {seed}: {viewer:?} waited {gap} us");
        }
    }
}

#[test]
#[cfg(debug_assertions)] // only these builds have mutants
fn in_a_room_that_takes_outcomes_again_a_replay_undoes_a_failover() {
    use plenary_proto::Mutation;
    use plenary_sim::faults::Faulty;
    let is_undone = |seed| {
        let world = replayed(seed, |world| world.break_rule(Faulty::Brains(Mutation::RunsBack)));
        safety(&world).iter().any(|violation| violation.checker == "monotone")
    };
    assert!((0..6).any(is_undone), "no replay succeeds");
}
