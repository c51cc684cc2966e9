//! How far the peers of a stage are from each other, by what a ballot's reports say of round trips.
//!
//! Three peers measure each candidate, so of all pairs only a few are measured. For the others two bounds hold,
//! about as well as triangles hold in the internet: a way is no longer than any detour over measured ways, and
//! no shorter than the difference of two that begin at one peer. The middle between the two stands for it.
//! Integers, in the order of the roster: everyone who recomputes a ballot gets the same.

use crate::id::PeerId;
use crate::message::{Report, Roster};
use crate::seal::Signed;

/// A way of which nothing is known: as long as one across an ocean.
const UNKNOWN_US: u64 = 100_000;
/// No way is that long; a sum of two doesn't overflow.
const NONE_US: u64 = u64::MAX / 4;

/// One-way delays between all peers of a roster, microseconds.
#[derive(Debug)]
pub(crate) struct Ways {
    peers: Vec<PeerId>,
    us: Vec<u64>,
}

impl Ways {
    /// From the round trips that peers of the roster report of each other; those of 0 aren't known.
    pub(crate) fn of(roster: &Roster, reports: &[Signed<Report>]) -> Ways {
        let peers: Vec<PeerId> = roster.entries.iter().map(|entry| entry.peer).collect();
        let n = peers.len();
        let place = |peer: &PeerId| peers.iter().position(|known| known == peer);
        let mut measured = vec![NONE_US; n * n];
        for at in 0..n {
            measured[at * n + at] = 0;
        }
        for report in reports.iter().filter(|report| report.body.rtt_us > 0) {
            let (Some(one), Some(other)) = (place(&report.sender), place(&report.body.candidate)) else {
                continue;
            };
            if one != other {
                let way_us = u64::from(report.body.rtt_us / 2);
                // both ends may have measured it: the longer one, so that nobody talks itself nearer
                let known = measured[one * n + other];
                let way_us = if known == NONE_US { way_us } else { known.max(way_us) };
                (measured[one * n + other], measured[other * n + one]) = (way_us, way_us);
            }
        }
        Ways { us: completed(&measured, n), peers }
    }

    /// Mean of the ways from a peer to those others; `None` when there are none.
    pub(crate) fn mean_us<'a>(&self, from: &PeerId, to: impl Iterator<Item = &'a PeerId>) -> Option<u64> {
        let place = |peer: &PeerId| self.peers.iter().position(|known| known == peer);
        let from = place(from)?;
        let others = to.filter_map(place).filter(|other| *other != from);
        let ways = others.map(|other| self.us[from * self.peers.len() + other]);
        let (sum, count) = ways.fold((0, 0), |(sum, count), us| (sum + us, count + 1));
        u64::checked_div(sum, count)
    }
}

/// All ways, from those that are measured.
fn completed(measured: &[u64], n: usize) -> Vec<u64> {
    // the shortest detours (Floyd, 1962)
    let mut detour = measured.to_vec();
    for over in 0..n {
        for from in 0..n {
            for to in 0..n {
                let us = detour[from * n + over] + detour[over * n + to];
                detour[from * n + to] = detour[from * n + to].min(us);
            }
        }
    }
    let difference = |one: usize, other: usize, over: usize| {
        let us = measured[one * n + over];
        if us == NONE_US { 0 } else { us.saturating_sub(detour[over * n + other]) }
    };
    let mut ways = measured.to_vec();
    for (at, way) in ways.iter_mut().enumerate().filter(|(_, way)| **way == NONE_US) {
        let (from, to) = (at / n, at % n);
        let least = (0..n).map(|over| difference(from, to, over).max(difference(to, from, over))).max();
        let most = detour[at];
        *way = if most >= NONE_US { UNKNOWN_US } else { (most + least.unwrap_or(0)) / 2 };
    }
    ways
}
