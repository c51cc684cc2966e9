//! What a brain keeps: no list or map of it is longer than it may be, whatever happens, in every build.

use super::Found;
use crate::world::World;

/// Something has happened at a peer.
pub(super) fn changed(world: &World, at: usize, found: &mut Found) {
    for bound in world.peers[at].brain.bounds().filter(|bound| bound.len > bound.max) {
        let what = format!("{:?} keeps {} {}, of {}", world.id(at), bound.len, bound.of, bound.max);
        found.say(world.now(), "bounded-memory", what);
    }
}
