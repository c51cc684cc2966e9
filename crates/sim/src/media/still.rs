//! The program sent down a fixed tree, packet by packet, over a separate network with the same loss, jitter
//! and pauses: what a tree would be worth that never had to be built and never changes.
//!
//! The rules are those of `frame`: the same packets, queues and retransmission requests. Brains and all their
//! messages are left out.

use std::collections::BTreeMap;

use plenary_proto::Time;

use super::frame::{TRIES_MAX, asked_after_us};
use super::{FRAME_US, parts};
use crate::arrivals::Latencies;
use crate::net::Network;
use crate::plan::WorldPlan;
use crate::queue::Queue;

/// Frames that may still be completed; an older frame is complete, or has lost a packet for good.
const FRAMES_KEPT: u64 = 90;

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
    Again { from: usize, to: usize, part: Part, tries: u32 },
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
    let mut still =
        Still { plan, net, ends, children, have, steps: Queue::new(), latencies: Latencies::default() };
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
            Step::Again { from, to, part, tries } => self.send(now, from, to, part, tries),
        }
    }

    fn forward(&mut self, now: Time, at: usize, part: Part) {
        for nth in 0..self.children[at].len() {
            self.send(now, at, self.children[at][nth], part, 0);
        }
    }

    fn send(&mut self, now: Time, from: usize, to: usize, part: Part, tries: u32) {
        let (parts, bytes) = parts(self.plan);
        let (one, other) = (self.ends[from], self.ends[to]);
        match self.net.send(now, one, other, bytes) {
            Some(arrives) => self.steps.push(arrives, Step::Comes { to, part }),
            None if tries < TRIES_MAX => {
                let last = part.part + 1 == parts;
                let asked = now + asked_after_us(&mut self.net, self.plan.media, now, (one, other), last);
                self.steps.push(asked, Step::Again { from, to, part, tries: tries + 1 });
            }
            None => {}
        }
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
    fn a_frame_takes_the_ways_and_the_uplinks_of_those_above_and_more_in_bad_weather() {
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
