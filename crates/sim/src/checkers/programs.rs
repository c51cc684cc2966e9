//! Checks that no peer makes a program without a mandate, except for the time that it takes to retire.

use std::collections::BTreeMap;

use plenary_proto::Time;
use plenary_proto::time::SECOND;

use super::Found;
use crate::world::World;

/// Maximum time that a peer without a mandate keeps making its program beside the new one: it retires within
/// 4 s, and the steps after that take a moment.
const RETIRING_US_MAX: u64 = 6 * SECOND;

/// Peers that make a program although their own mandate doesn't name them.
#[derive(Debug, Default)]
pub(super) struct Programs {
    /// Start time of each unauthorized program, by peer.
    unasked: BTreeMap<usize, Time>,
}

impl Programs {
    /// Updates the state of a peer that has changed.
    pub(super) fn changed(&mut self, world: &World, at: usize) {
        let peer = &world.peers[at];
        let named = peer.in_force.mixers.contains(&peer.id);
        if peer.is_there() && peer.is_mixing() && !named {
            self.unasked.entry(at).or_insert(world.now());
        } else {
            self.unasked.remove(&at);
        }
    }

    /// Reports peers that have gone on for too long. The time doesn't count while the machine is stalled,
    /// since it can't retire, or while there is no mixer to hand over to.
    pub(super) fn time_passed(&mut self, world: &World, found: &mut Found) {
        let now = world.now();
        for (at, since) in &mut self.unasked {
            let mixers = world.peers[*at].in_force.mixers.iter();
            let mut named = mixers.filter_map(|mixer| world.directory.find(mixer));
            // without a link to the new mixer, or across a partition, the retiring mixer doesn't hear that
            // the new one has begun; messages held back by a partition arrive with their next retransmission
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
                *since = now; // reported again if it lasts as long again
                found.say(now, "one-program", format!("{:?} goes on mixing", world.id(*at)));
            }
        }
    }
}
