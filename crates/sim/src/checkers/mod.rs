//! Judges of a world, apart from what they judge.

use std::collections::BTreeMap;

use plenary_proto::{PeerId, Rank};

use crate::world::World;

/// Something that must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which checker found it.
    pub checker: &'static str,
    /// What it found.
    pub what: String,
}

/// All that must hold at every moment.
pub fn safety(world: &World) -> Vec<Violation> {
    let mut found = Vec::new();
    no_cycle(world, &mut found);
    capacity(world, &mut found);
    one_outcome(world, &mut found);
    found
}

/// All that must hold once nothing has gone wrong for a while.
pub fn liveness(world: &World) -> Vec<Violation> {
    let mut found = safety(world);
    let mut say = |checker, what| found.push(Violation { checker, what });
    for peer in world.starving(500_000) {
        say("fed", format!("{peer:?} has had no frame for 500 ms"));
    }
    let ranks: BTreeMap<_, Vec<_>> = world.living().fold(BTreeMap::new(), |mut ranks, peer| {
        let snapshot = world.snapshot(peer);
        ranks.entry((snapshot.rank, snapshot.mixers)).or_insert_with(Vec::new).push(peer);
        ranks
    });
    if ranks.len() > 1 {
        say("one-mixer-set", format!("{ranks:?}"));
    }
    for viewer in world.viewers() {
        let snapshot = world.snapshot(viewer);
        let Some(parent) = snapshot.parent else { continue };
        if !world.snapshot(parent).children.contains(&viewer) {
            say("both-ends-agree", format!("{viewer:?} calls {parent:?} its parent"));
        }
    }
    found
}

/// Following parents never leads back.
fn no_cycle(world: &World, found: &mut Vec<Violation>) {
    for start in world.viewers() {
        let mut seen = vec![start];
        let mut at = start;
        while let Some(parent) = world.snapshot(at).parent {
            if seen.contains(&parent) {
                // two ends of a change may disagree for a moment; a cycle that carries a program may not be
                let starves = world.starving(2_000_000).contains(&start);
                if starves {
                    found.push(Violation { checker: "no-cycle", what: format!("{seen:?} -> {parent:?}") });
                }
                break;
            }
            seen.push(parent);
            at = parent;
        }
    }
}

/// Nobody feeds more than it may, one more for a promise called in.
fn capacity(world: &World, found: &mut Vec<Violation>) {
    for peer in world.living() {
        let snapshot = world.snapshot(peer);
        let most = world.capacity_of(&snapshot);
        if snapshot.children.len() > most {
            let what = format!("{peer:?} feeds {} of {most}", snapshot.children.len());
            found.push(Violation { checker: "capacity", what });
        }
    }
}

/// Everyone who knows of a rank knows the same mixers under it.
fn one_outcome(world: &World, found: &mut Vec<Violation>) {
    let mut outcomes: BTreeMap<Rank, (PeerId, Vec<PeerId>)> = BTreeMap::new();
    for peer in world.living() {
        let snapshot = world.snapshot(peer);
        if snapshot.rank == Rank::default() {
            continue;
        }
        let (first, mixers) = outcomes.entry(snapshot.rank).or_insert((peer, snapshot.mixers.clone()));
        if *mixers != snapshot.mixers {
            let what =
                format!("{}: {first:?} says {mixers:?}, {peer:?} says {:?}", snapshot.rank, snapshot.mixers);
            found.push(Violation { checker: "one-outcome", what });
        }
    }
}
