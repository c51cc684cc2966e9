//! Checks a brain's memory: no list or map exceeds its bound at any time, in every build.

use super::Found;
use crate::world::World;

/// Checks a peer that has changed.
pub(super) fn changed(world: &World, at: usize, found: &mut Found) {
    for bound in world.peers[at].brain().bounds().filter(|bound| bound.len > bound.max) {
        let what = format!("{:?} keeps {} {}, of {}", world.id(at), bound.len, bound.of, bound.max);
        found.say(world.now(), "bounded-memory", what);
    }
}
