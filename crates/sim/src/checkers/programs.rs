//! Who makes a program: nobody without a mandate, but for as long as it takes to retire.

use std::collections::BTreeMap;

use plenary_proto::Time;
use plenary_proto::time::SECOND;

use super::Found;
use crate::world::World;

/// Whoever mixes no more makes its program so long beside the new one: it retires for 4 s at most, and what it does
/// then takes a moment.
const RETIRING_US_MAX: u64 = 6 * SECOND;

/// Who makes a program that is in force at nobody, by its own mandate.
#[derive(Debug, Default)]
pub(super) struct Programs {
    /// Since when.
    unasked: BTreeMap<usize, Time>,
}

impl Programs {
    /// A peer's part has changed.
    pub(super) fn changed(&mut self, world: &World, at: usize) {
        let peer = &world.peers[at];
        let named = peer.in_force.mixers.contains(&peer.id);
        if peer.is_there() && peer.is_mixing() && !named {
            self.unasked.entry(at).or_insert(world.now());
        } else {
            self.unasked.remove(&at);
        }
    }

    /// What may be for a moment may not last; a machine that stands still can't retire, and whoever has nobody to hand
    /// over to goes on.
    pub(super) fn time_passed(&mut self, world: &World, found: &mut Found) {
        let now = world.now();
        for (at, since) in &mut self.unasked {
            let mixers = world.peers[*at].in_force.mixers.iter();
            let mut named = mixers.filter_map(|mixer| world.directory.find(mixer));
            // who isn't linked with the new one, or parted from it, doesn't hear that it has begun; and what a partition held
            // back comes with its next repetition
            let hands_over = |mixer: usize| {
                let new = &world.peers[mixer];
                let linked = world.link_is_up(*at, mixer) && !world.net.are_parted(*at, mixer);
                let hears = linked && world.net.told_by(mixer, *at).is_none_or(|told_by| told_by <= now);
                new.is_there() && new.is_mixing() && hears
            };
            if !named.any(hands_over) {
                *since = now;
            }
            let stood = world.peers[*at].stalled_until;
            if now.since(*since) > RETIRING_US_MAX && now.since(stood) > RETIRING_US_MAX {
                *since = now; // said again when it lasts as long again
                found.say(now, "one-program", format!("{:?} goes on mixing", world.id(*at)));
            }
        }
    }
}
