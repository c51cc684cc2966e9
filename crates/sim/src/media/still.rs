//! The program sent down a fixed tree, packet by packet, over a separate network with the same loss, jitter
//! and pauses: what a tree would be worth that never had to be built and never changes.
//!
//! At packet level a frame is as many packets as a body would make of it, and lost packets are repaired by the same
//! rules, at frame level those of `frame` apply. Brains and all their messages are left out.

use std::collections::BTreeMap;

use plenary_proto::Time;

use super::frame::{TRIES_MAX, asked_after_us};
use super::repair::{Budget, REQUESTS_MAX, requested_after_us};
use super::{FRAME_US, frame_bytes};
use crate::arrivals::Latencies;
use crate::net::Network;
use crate::plan::{MediaModel, WorldPlan};
use crate::queue::Queue;

/// Frames that may still be completed; an older frame is complete, or has lost a packet for good.
const FRAMES_KEPT: u64 = 90;

/// Maximum packet size in bytes, headers included (docs/PROTOCOL.md, 1.4).
const PACKET_BYTES_MAX: usize = 1_200;
/// Maximum number of packets per frame, reached at 18 Mbit/s; packets of a program with a higher rate are
/// longer.
const PARTS_MAX: usize = 64;

/// Number of packets per frame of a plan's program, and their size in bytes.
fn parts(plan: &WorldPlan) -> (u8, usize) {
    let bytes = frame_bytes(plan);
    let parts = match plan.media {
        MediaModel::Packet => bytes.div_ceil(PACKET_BYTES_MAX).clamp(1, PARTS_MAX),
        MediaModel::Frame | MediaModel::Fluid => 1,
    };
    (parts as u8, bytes.div_ceil(parts))
}

/// One packet of one frame.
#[derive(Clone, Copy, Debug)]
struct Part {
    frame: u64,
    captured: Time,
    part: u8,
}

/// Events of a packet.
#[derive(Clone, Copy, Debug)]
enum Step {
    Make { frame: u64 },
    Comes { to: usize, part: Part },
    Again { from: usize, to: usize, part: Part, requests: u32, repairs: u32 },
}

/// A tree, and how far the program has got in it.
#[derive(Debug)]
struct Still<'a> {
    plan: &'a WorldPlan,
    net: Network,
    /// Network end of each peer, by index in the plan.
    ends: Vec<usize>,
    children: Vec<Vec<usize>>,
    /// For each peer and frame, a bit mask of the packets that have arrived.
    have: Vec<BTreeMap<u64, u64>>,
    /// Budget for retransmissions of each peer's link with its parent.
    budgets: Vec<Budget>,
    steps: Queue<Step>,
    latencies: Latencies,
}

/// Sends the program down a tree from `from` to `until`; returns the latencies of its frames. The tree is a
/// list of (parent, child) pairs by index in the plan.
pub(crate) fn latencies(
    plan: &WorldPlan,
    seed: u64,
    edges: &[(usize, usize)],
    (from, until): (Time, Time),
) -> Latencies {
    // ends are numbered in the order of joining, as in a world, since pauses are drawn by these numbers
    let mut order: Vec<usize> = (0..plan.peers.len()).collect();
    order.sort_by_key(|at| (plan.peers[*at].joins_at, *at));
    let mut net = Network::new(&plan.net, seed);
    let mut ends = vec![0; plan.peers.len()];
    for at in order {
        ends[at] = net.add(plan.peers[at].access, plan.peers[at].place);
    }
    let mut children = vec![Vec::new(); plan.peers.len()];
    edges.iter().for_each(|(parent, child)| children[*parent].push(*child));
    let have = vec![BTreeMap::new(); plan.peers.len()];
    let budgets = vec![Budget::default(); plan.peers.len()];
    let (steps, latencies) = (Queue::new(), Latencies::default());
    let mut still = Still { plan, net, ends, children, have, budgets, steps, latencies };
    let fed: Vec<usize> = edges.iter().map(|(_, child)| *child).collect();
    let roots: Vec<usize> =
        (0..plan.peers.len()).filter(|at| !still.children[*at].is_empty() && !fed.contains(at)).collect();
    still.steps.push(from, Step::Make { frame: 1 });
    while let Some((now, step)) = still.steps.pop_until(until) {
        still.take(now, step, &roots);
    }
    still.latencies
}

impl Still<'_> {
    fn take(&mut self, now: Time, step: Step, roots: &[usize]) {
        match step {
            Step::Make { frame } => {
                self.steps.push(now + FRAME_US, Step::Make { frame: frame + 1 });
                for part in 0..parts(self.plan).0 {
                    let part = Part { frame, captured: now, part };
                    roots.iter().for_each(|root| self.forward(now, *root, part));
                }
            }
            Step::Comes { to, part } => self.comes(now, to, part),
            Step::Again { from, to, part, requests, repairs } => {
                let copies = match self.plan.media {
                    MediaModel::Packet => self.budgets[to].spend(repairs),
                    MediaModel::Frame | MediaModel::Fluid => 1,
                };
                self.send(now, (from, to), part, (requests, repairs + u32::from(copies > 0)), copies);
            }
        }
    }

    fn forward(&mut self, now: Time, at: usize, part: Part) {
        for nth in 0..self.children[at].len() {
            let child = self.children[at][nth];
            self.budgets[child].earn();
            self.send(now, (at, child), part, (0, 0), 1);
        }
    }

    /// Sends copies of a packet that was requested and sent again so many times before.
    fn send(
        &mut self,
        now: Time,
        (from, to): (usize, usize),
        part: Part,
        (requests, repairs): (u32, u32),
        copies: u32,
    ) {
        let (parts, bytes) = parts(self.plan);
        let (one, other) = (self.ends[from], self.ends[to]);
        let mut arrives = None;
        for _ in 0..copies {
            arrives = arrives.or(self.net.send(now, one, other, bytes));
        }
        if let Some(arrives) = arrives {
            return self.steps.push(arrives, Step::Comes { to, part });
        }
        let (after_us, requests) = match self.plan.media {
            MediaModel::Packet if requests < REQUESTS_MAX => {
                let unseen_us = if part.part + 1 == parts { FRAME_US } else { 0 };
                requested_after_us(&mut self.net, now, (one, other), requests, unseen_us)
            }
            MediaModel::Frame if requests < TRIES_MAX => {
                (asked_after_us(&self.net, one, other), requests + 1)
            }
            _ => return,
        };
        self.steps.push(now + after_us, Step::Again { from, to, part, requests, repairs });
    }

    fn comes(&mut self, now: Time, at: usize, part: Part) {
        let all = u64::MAX >> (u64::BITS - u32::from(parts(self.plan).0));
        let have = self.have[at].entry(part.frame).or_default();
        *have |= 1 << part.part;
        if *have == all {
            self.latencies.add(now.since(part.captured), 1);
        }
        if self.have[at].len() as u64 > FRAMES_KEPT {
            self.have[at].pop_first();
        }
        self.forward(now, at, part);
    }
}

#[cfg(test)]
mod tests {
    use plenary_proto::time::{MS, SECOND};

    use super::*;
    use crate::plan::{MediaModel, NetPlan, PeerPlan, RoomPlan};

    #[test]
    fn a_frame_takes_the_ways_and_uplinks_above_it_and_more_in_bad_weather() {
        let mean_us = |loss_ppm| {
            let net = NetPlan::drawn(30 * MS, 30 * MS, loss_ppm);
            let peers = PeerPlan::cast(1, 1, 3);
            let plan = WorldPlan { room: RoomPlan::DEFAULT, net, media: MediaModel::Packet, peers };
            latencies(&plan, 7, &[(1, 2), (2, 3), (3, 4)], (Time(0), Time(20 * SECOND))).mean_us()
        };
        // one, two and three hops; a frame of 50,000 bits occupies 100 Mbit/s for 500 us
        let (fair, bad) = (mean_us(0), mean_us(20_000));
        assert!(fair.abs_diff(60 * MS) < 6 * MS, "{fair} us");
        assert!((fair + 10 * MS..fair + 60 * MS).contains(&bad), "{fair} us, and {bad} us with losses");
    }
}
