//! Computes how many viewers no tree can feed: NATs restrict which peers can be linked, and those peers have
//! a limited number of slots.

use crate::net::traverses;
use crate::plan::Nat;

const NATS: [Nat; 4] = [Nat::Open, Nat::Cone, Nat::PortRestricted, Nat::Symmetric];

/// A peer that feeds others or could: its NAT, and its number of slots.
pub(super) type Feeder = (Nat, usize);

/// Minimum number of these viewers that remain without a parent: the maximum, over all sets of viewers, of
/// the set's size minus the slots of all other peers that can be linked with a member of the set (deficiency
/// version of Hall's theorem; O. Ore: "Graphs and matching theorems", 1955). Peers behind the same kind of
/// NAT can be linked with the same peers, so it suffices to try sets of NAT kinds.
pub(super) fn left_out(mixers: &[Feeder], viewers: &[Feeder]) -> usize {
    let behind = |feeders: &[Feeder], nat: Nat| {
        let slots = feeders.iter().filter(|(other, _)| *other == nat).map(|(_, slots)| *slots);
        slots.fold((0, 0), |(count, sum), slots| (count + 1, sum + slots))
    };
    let viewers: [(usize, usize); NATS.len()] = NATS.map(|nat| behind(viewers, nat));
    let mixers: [(usize, usize); NATS.len()] = NATS.map(|nat| behind(mixers, nat));
    let left_out = |bits: usize| {
        let set = || (0..NATS.len()).filter(|at| bits >> at & 1 == 1);
        // a member doesn't count as its own feeder: another member must be linkable
        let reaches = |at: usize, own: usize| {
            let others = |one: usize| viewers[one].0 > if one == at { own } else { 0 };
            set().any(|one| traverses(NATS[one], NATS[at]) && others(one))
        };
        let slots = |feeders: &[(usize, usize)], own| -> usize {
            let reaching = feeders.iter().enumerate().filter(|(at, _)| reaches(*at, own));
            reaching.map(|(_, (_, slots))| slots).sum()
        };
        let waiting: usize = set().map(|at| viewers[at].0).sum();
        waiting.saturating_sub(slots(&mixers, 0) + slots(&viewers, 1))
    };
    (1..1 << NATS.len()).map(left_out).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_can_be_linked_with_a_full_mixer_alone_stays_out() {
        use Nat::{Cone, Open, PortRestricted, Symmetric};
        let mixer = |slots| [(Open, slots)];
        let viewers = [(Symmetric, 4), (Symmetric, 4), (Symmetric, 4), (PortRestricted, 4)];
        assert_eq!(left_out(&mixer(3), &viewers), 1);
        assert_eq!(left_out(&mixer(4), &viewers), 0);
        // the additional viewer can be linked with every peer: it takes the fourth slot and is fed by the
        // port-restricted one
        assert_eq!(left_out(&mixer(3), &[&viewers[..], &[(Cone, 1)]].concat()), 0);
        assert_eq!(left_out(&mixer(3), &[&viewers[..], &[(Cone, 0)]].concat()), 1);
        // two viewers that can be linked with each other, and two that can't
        assert_eq!(left_out(&mixer(1), &[(PortRestricted, 1), (PortRestricted, 0)]), 0);
        assert_eq!(left_out(&mixer(1), &[(Symmetric, 1), (Symmetric, 0)]), 1);
        assert_eq!(left_out(&mixer(3), &[(Open, 0); 5]), 2);
    }
}
