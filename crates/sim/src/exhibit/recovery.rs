//! Which viewers lose the program by an act, and when each sees it again.

use plenary_proto::Time;
use plenary_proto::time::SECOND;

use super::{Act, cast, sees};
use crate::world::World;

/// Time after an act within which a loss of the program counts as its effect: the shortest observation.
const LOSSES_US: u64 = 3 * SECOND;
/// Longest observation.
const OBSERVED_US_MAX: u64 = 30 * SECOND;

/// Effect of an act on one viewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Not observed: absent, killed or cut off by the act, or without the program already before.
    Apart,
    /// Sees the program as before.
    Sees,
    /// Has no program.
    Lost,
    /// Sees the program again, that many microseconds after the act. A viewer that loses it once more within
    /// [`LOSSES_US`] of the act is [`Fate::Lost`] again.
    Again(u64),
}

/// Observation of the viewers after an act.
#[derive(Debug)]
pub(super) struct Recovery {
    act: Act,
    from: Time,
    /// By index in the plan.
    fates: Vec<Fate>,
    is_over: bool,
}

/// Figures of a recovery.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Figures {
    /// Number of the act.
    pub(super) act: u32,
    /// Number of viewers that lost the program, or had none.
    pub(super) lost: u32,
    /// Number of these viewers with the program again.
    pub(super) again: u32,
    /// Time from the act until half of these saw it again, and until the last did, microseconds.
    pub(super) half_us: u64,
    pub(super) last_us: u64,
    /// Whether the observation is over.
    pub(super) is_over: bool,
}

impl Recovery {
    /// Notes which viewers see the program right before an act.
    pub(super) fn from(act: Act, world: &World) -> Recovery {
        let mut fates = vec![Fate::Apart; world.plan().peers.len()];
        for peer in world.peers.iter().filter(|peer| peer.is_there() && peer.views) {
            let waits = act == Act::Heal && !sees(peer, world.now());
            fates[peer.planned] = match (waits, sees(peer, world.now())) {
                (true, _) => Fate::Lost,
                (false, true) => Fate::Sees,
                (false, false) => Fate::Apart,
            };
        }
        Recovery { act, from: world.now(), fates, is_over: false }
    }

    /// Begins the observation right after the act.
    pub(super) fn begun(mut self, world: &World, cut: Option<usize>) -> Recovery {
        for peer in &world.peers {
            if !peer.is_there() || cut == Some(cast::continent_of(world, peer.planned)) {
                self.fates[peer.planned] = Fate::Apart;
            }
        }
        // viewers that the act has brought
        let brought = &world.plan().peers[self.fates.len()..];
        self.fates.extend(brought.iter().map(|peer| if peer.watches() { Fate::Lost } else { Fate::Apart }));
        self
    }

    /// Reads the world after a step.
    pub(super) fn observe(&mut self, world: &World) {
        if self.is_over {
            return;
        }
        let after_us = world.now().since(self.from);
        for peer in &world.peers {
            let Some(fate) = self.fates.get_mut(peer.planned) else { continue };
            *fate = match *fate {
                Fate::Apart => continue,
                _ if !peer.is_there() => Fate::Apart,
                Fate::Sees | Fate::Again(_) if after_us <= LOSSES_US && !sees(peer, world.now()) => {
                    Fate::Lost
                }
                Fate::Lost if sees(peer, world.now()) => Fate::Again(after_us),
                same => same,
            };
        }
        let waits = self.fates.contains(&Fate::Lost);
        self.is_over = after_us >= if waits { OBSERVED_US_MAX } else { LOSSES_US };
    }

    pub(super) fn figures(&self) -> Figures {
        let mut again_us: Vec<u64> = Vec::new();
        again_us.extend(self.fates.iter().filter_map(|fate| match fate {
            Fate::Again(us) => Some(*us),
            _ => None,
        }));
        again_us.sort_unstable();
        let waiting = self.fates.iter().filter(|fate| **fate == Fate::Lost).count();
        Figures {
            act: self.act.number(),
            lost: (again_us.len() + waiting) as u32,
            again: again_us.len() as u32,
            half_us: again_us.get(again_us.len().saturating_sub(1) / 2).copied().unwrap_or_default(),
            last_us: again_us.last().copied().unwrap_or_default(),
            is_over: self.is_over,
        }
    }
}
