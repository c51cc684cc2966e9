//! When a brain wants to be woken: a bounded number of times a second, or it costs its machine a core.

use super::Found;
use crate::world::World;

/// Most wakes of a brain's clock within a second. The quickest clock in it ticks each 50 ms; many run beside each other where
/// fifty candidates are measured.
const WAKES_PER_S_MAX: u32 = 400;

/// Something has happened at a peer.
pub(super) fn changed(world: &World, at: usize, found: &mut Found) {
    let wakes = world.peers[at].wakes.count;
    if wakes > WAKES_PER_S_MAX {
        found.say(
            world.now(),
            "restless",
            format!("{:?} is woken {wakes} times within a second", world.id(at)),
        );
    }
}
