//! Checks a brain's timers: a bounded number of wake-ups a second, since otherwise they would occupy a
//! processor core.

use super::Found;
use crate::world::World;

/// Maximum number of timer wake-ups of a brain within a second. The fastest timer ticks each 50 ms; many
/// timers run in parallel when fifty candidates are measured.
const WAKES_PER_S_MAX: u32 = 400;

/// Checks a peer that has changed.
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
