//! Whom no tree has a place for: NATs let some be linked with few others, and these have only so many slots.

use crate::net::traverses;
use crate::plan::Nat;

const NATS: [Nat; 4] = [Nat::Open, Nat::Cone, Nat::PortRestricted, Nat::Symmetric];

/// A peer that feeds others, or would: its NAT, and its slots.
pub(super) type Feeder = (Nat, usize);

/// So many of these viewers stay out at least: as many as any set of them is larger than the slots of all others that can be
/// linked with one of them (O. Ore: "Graphs and matching theorems", 1955). Whoever is behind like NATs can be linked with the
/// same peers, so sets of NATs will do.
pub(super) fn left_out(mixers: &[Feeder], viewers: &[Feeder]) -> usize {
    let behind = |feeders: &[Feeder], nat: Nat| {
        let slots = feeders.iter().filter(|(other, _)| *other == nat).map(|(_, slots)| *slots);
        slots.fold((0, 0), |(count, sum), slots| (count + 1, sum + slots))
    };
    let viewers: [(usize, usize); NATS.len()] = NATS.map(|nat| behind(viewers, nat));
    let mixers: [(usize, usize); NATS.len()] = NATS.map(|nat| behind(mixers, nat));
    let left_out = |bits: usize| {
        let set = || (0..NATS.len()).filter(|at| bits >> at & 1 == 1);
        // a viewer needs another one of the set, which it isn't itself
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
        // one more, that all can be linked with, takes the fourth, and is fed by the port-restricted one
        assert_eq!(left_out(&mixer(3), &[&viewers[..], &[(Cone, 1)]].concat()), 0);
        assert_eq!(left_out(&mixer(3), &[&viewers[..], &[(Cone, 0)]].concat()), 1);
        // two that can be linked with each other
        assert_eq!(left_out(&mixer(1), &[(PortRestricted, 1), (PortRestricted, 0)]), 0);
        assert_eq!(left_out(&mixer(1), &[(Symmetric, 1), (Symmetric, 0)]), 1);
        assert_eq!(left_out(&mixer(3), &[(Open, 0); 5]), 2);
    }
}
