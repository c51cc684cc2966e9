//! Effect of an event on viewers: a killed or leaving peer interrupts the program of the viewers below it in the tree,
//! and each of them waits for its next picture.

use std::collections::{BTreeMap, BTreeSet};

use plenary::PeerId;
use serde::Serialize;

use super::actor::Actor;
use super::cast::Cast;
use crate::json::round;

/// Time after an event during which waits are attributed to it.
const AFTERMATH_US: u64 = 10_000_000;
/// Time after an event by which frames sent before it have arrived. A guess.
const ON_THE_WAY_US: u64 = 1_000_000;
/// Maximum wait at the end of a viewer that isn't cut off: the time of eight pictures.
const CUT_OFF_US: u64 = 250_000;

/// Returns the viewers that receive the program through the target. A viewer that comes on stage or leaves it (`moves`)
/// is itself affected.
pub(crate) fn affected(cast: &Cast, target: &Actor, moves: bool) -> BTreeSet<usize> {
    let viewers = cast.present().into_iter().filter_map(|actor| {
        let index = actor.part.viewer_index()?;
        Some((index, actor.peer, actor.glance().parent))
    });
    below(target.peer, moves, viewers)
}

/// Returns the indexes of the viewers below a peer of the tree, and its own if `itself`. Each viewer comes with its
/// index, its id and its parent.
fn below(
    peer: PeerId,
    itself: bool,
    viewers: impl Iterator<Item = (usize, PeerId, Option<PeerId>)>,
) -> BTreeSet<usize> {
    let mut children: BTreeMap<PeerId, Vec<(usize, PeerId)>> = BTreeMap::new();
    let mut found = BTreeSet::new();
    for (index, viewer, parent) in viewers {
        if itself && viewer == peer {
            found.insert(index);
        }
        if let Some(parent) = parent {
            children.entry(parent).or_default().push((index, viewer));
        }
    }
    let mut above = vec![peer];
    while let Some(parent) = above.pop() {
        // removed, so that viewers that are just changing their parents, and form a ring, are visited once
        for (index, viewer) in children.remove(&parent).unwrap_or_default() {
            found.insert(index);
            above.push(viewer);
        }
    }
    found
}

/// An event's time, the viewers that it affects, and their waits.
#[derive(Clone, Debug, Default)]
pub(crate) struct Aftermath {
    pub(crate) at_us: u64,
    pub(crate) viewers: BTreeSet<usize>,
    /// Waits of those present at the end; `None` of a viewer that got no further picture.
    waits_us: Vec<Option<u64>>,
}

impl Aftermath {
    pub(crate) fn new(at_us: u64, viewers: BTreeSet<usize>) -> Aftermath {
        Aftermath { at_us, viewers, waits_us: Vec::new() }
    }

    /// Adds the wait of a viewer that is present at the end, if it was affected. `arrivals_us` are the times of its
    /// pictures before the end, in ascending order.
    pub(crate) fn judge(&mut self, viewer: usize, arrivals_us: &[u64], next_at_us: Option<u64>, end_us: u64) {
        if self.viewers.contains(&viewer) {
            self.waits_us.push(wait_us(arrivals_us, self.at_us, next_at_us, end_us));
        }
    }

    pub(crate) fn waits_us(&self) -> impl Iterator<Item = u64> {
        self.waits_us.iter().copied().flatten()
    }

    /// Returns the number of affected viewers without the program, of those present at the end.
    pub(crate) fn not_resumed(&self) -> usize {
        self.waits_us.iter().filter(|wait_us| wait_us.is_none()).count()
    }
}

/// Waiting times of the viewers that got the program again, milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Resumed {
    pub(crate) p50: f64,
    pub(crate) p95: f64,
    pub(crate) max: f64,
}

impl Resumed {
    pub(crate) fn of_us(mut waits: Vec<u64>) -> Option<Resumed> {
        waits.sort_unstable();
        let last = waits.len().checked_sub(1)?;
        let at = |percent: usize| round(waits[last * percent / 100] as f64 / 1000.0);
        Some(Resumed { p50: at(50), p95: at(95), max: at(100) })
    }
}

/// Returns the longest wait of a viewer for its next picture after an event, and before the next event.
/// `None` if no picture arrived any more. The arrivals are those before the end, in ascending order.
fn wait_us(arrivals_us: &[u64], at_us: u64, next_at_us: Option<u64>, end_us: u64) -> Option<u64> {
    let last_us = *arrivals_us.last()?;
    let until_us = next_at_us.unwrap_or(u64::MAX).clamp(at_us + ON_THE_WAY_US, at_us + AFTERMATH_US);
    let from = arrivals_us.partition_point(|arrived_us| *arrived_us <= at_us).saturating_sub(1);
    let waits = arrivals_us[from..].windows(2).filter(|pair| pair[1] > at_us);
    let longest_us = waits.take_while(|pair| pair[0] < until_us).map(|pair| pair[1] - pair[0]).max();
    let waiting_us = end_us.saturating_sub(last_us);
    let cut_off = last_us < until_us && waiting_us > CUT_OFF_US.max(longest_us.unwrap_or(0));
    longest_us.filter(|_| !cut_off)
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000;

    /// Returns 30 capture times a second between two times.
    fn pictures(from_us: u64, to_us: u64) -> impl Iterator<Item = u64> {
        (0..).map(move |number| from_us + number * S / 30).take_while(move |at_us| *at_us < to_us)
    }

    #[test]
    fn a_wait_ends_with_the_next_picture_or_never() {
        let end = 20 * S;
        for (what, arrivals, at, next_at, waited_us) in [
            ("again", pictures(S, 5 * S).chain(pictures(6 * S, end)).collect(), 5 * S, None, Some(1_033_000)),
            ("never", pictures(S, 5 * S).collect(), 5 * S, None, None),
            ("not cut off", pictures(S, end).collect(), 5 * S, None, Some(33_333)),
            ("lost by what came next", pictures(S, 8 * S).collect(), 5 * S, Some(7_900_000), Some(33_333)),
            (
                "after a long time",
                pictures(S, 5 * S).chain(pictures(17 * S, end)).collect(),
                5 * S,
                None,
                Some(12_033_000),
            ),
            ("two things at once", pictures(S, 5 * S + S / 5).collect(), 5 * S, Some(5 * S + 1_000), None),
            ("never any", Vec::new(), 5 * S, None, None),
        ] {
            let arrivals: Vec<u64> = arrivals;
            let waited = wait_us(&arrivals, at, next_at, end);
            let near = |one: u64, other: u64| one.abs_diff(other) < 1_000;
            let right = waited.zip(waited_us).map_or(waited == waited_us, |(one, other)| near(one, other));
            assert!(right, "{what}: {waited:?}");
        }
    }

    #[test]
    fn times_are_of_those_who_got_it_again() {
        assert_eq!(Resumed::of_us(Vec::new()), None);
        let resumed = Resumed::of_us(vec![900_000, 100_000, 200_000]);
        assert_eq!(resumed, Some(Resumed { p50: 200.0, p95: 200.0, max: 900.0 }));
    }

    #[test]
    fn all_viewers_below_a_peer_are_affected_also_while_some_form_a_ring() {
        let peer = |number: u8| PeerId([number; 32]);
        let viewer = |index: usize, parent: u8| (index, peer(index as u8), Some(peer(parent)));
        let tree = [viewer(1, 100), viewer(2, 1), viewer(3, 1), viewer(4, 3), viewer(5, 100)];
        let ring = [viewer(6, 7), viewer(7, 6), (8, peer(8), None)];
        let viewers = || tree.into_iter().chain(ring);
        for (of, itself, expected) in [
            (1, false, vec![2, 3, 4]),
            (1, true, vec![1, 2, 3, 4]),
            (100, true, vec![1, 2, 3, 4, 5]),
            (4, false, vec![]),
            (6, false, vec![6, 7]),
            (9, true, vec![]),
        ] {
            assert_eq!(below(peer(of), itself, viewers()), expected.into_iter().collect(), "{of}");
        }
    }
}
