//! Network model: how long a packet takes from one peer to another, and whether it arrives.
//!
//! A body hands over a packet and learns at once when it will arrive, or that it is lost: each packet costs
//! one call and no event of its own. On its path the packet waits at the sender's uplink, travels the one-way
//! delay with some jitter, waits for the end of a radio's pause at either end, and waits at the receiver's
//! downlink. It is lost independently, in a burst of its path, because a queue is full, or because of a
//! partition.
//!
//! Guarantees: a path doesn't reorder packets; equal seeds and calls give equal answers on any machine;
//! traffic on one path affects another only through the queues that they share. Memory is some words for each
//! peer, and some for each path in use until [`Network::forget`].

mod burst;
mod line;
mod pause;

use std::collections::BTreeMap;
use std::net::IpAddr;

use plenary_proto::Time;

use crate::dice::SmallDice;
use crate::plan::{Access, Delays, Location, Nat, NetPlan, Pauses};
use burst::Weather;
use line::Line;

/// Initial retransmission timeout of a reliable message, microseconds; it doubles with each retransmission.
/// SCTP's minimum (RFC 9260, 16), which the stack in use has too.
pub const RETRANSMIT_US: u64 = 1_000_000;
/// Interval of the probes that follow a single message, microseconds: messages are usually alone in flight,
/// with no later packet to reveal their loss (`crates/rtc/src/traffic.rs`).
pub const PROBE_US: u64 = 30_000;
/// Maximum number of probes, sent while the message isn't acknowledged.
const PROBES_MAX: u64 = 6;
/// Number of later packets that reveal the loss of a message to SCTP (fast retransmit, RFC 9260, 7.2.4). A
/// message is fast-retransmitted once.
const PROBES_TELLING: usize = 3;
/// Number of transmissions of a reliable message after which its channel fails (Association.Max.Retrans, RFC
/// 9260, 16).
pub const TRIES_MAX: u32 = 10;
/// Maximum retransmission timeout, microseconds (RTO.Max, RFC 9260, 16).
const RETRANSMIT_US_MAX: u64 = 60_000_000;

/// Seed component of the draws for datagrams that leave no state behind.
const UNFOLLOWED: u64 = 0x756e_666f_6c6c;

/// One end of the network: a peer's access.
#[derive(Clone, Debug)]
struct End {
    access: Access,
    place: Location,
    /// Index into the lines.
    line: usize,
    /// Side of the partition that the end is on.
    side: u32,
    /// Paths in use from here, sorted by their other end.
    ways: Vec<(u32, Way)>,
}

/// Path in one direction between two peers.
#[derive(Clone, Copy, Debug)]
struct Way {
    dice: SmallDice,
    weather: Weather,
    /// Arrival of the last datagram.
    datagram_at: Time,
    /// Arrival of the last message of the reliable channel.
    message_at: Time,
}

/// The network of one world.
#[derive(Debug)]
pub struct Network {
    plan: NetPlan,
    seed: u64,
    ends: Vec<End>,
    lines: Vec<Line>,
    /// Independent loss per million packets, each with the time from which it applies, in order of time. The
    /// fate of retransmissions is decided ahead, at the rate of their own time.
    losses: Vec<(Time, u32)>,
    /// By which peer packets between two others go, the lower index first; `None`: they are lost.
    detours: BTreeMap<(usize, usize), Option<usize>>,
    /// Index of each line that several peers share, by the plan's number for it.
    shared: BTreeMap<u32, usize>,
}

impl End {
    /// Index of the path to another end in the sorted list; `Err`: its insertion index.
    fn way_at(&self, to: u32) -> Result<usize, usize> {
        self.ways.binary_search_by_key(&to, |(other, _)| *other)
    }
}

impl Network {
    /// A network without peers.
    pub fn new(plan: &NetPlan, seed: u64) -> Network {
        let losses = vec![(Time(0), plan.loss_ppm)];
        let (plan, ends, lines, shared) = (plan.clone(), Vec::new(), Vec::new(), BTreeMap::new());
        Network { plan, seed, ends, lines, losses, detours: BTreeMap::new(), shared }
    }

    /// Connects a peer; returns its index. Indices count up from 0.
    pub fn add(&mut self, access: Access, place: Location) -> usize {
        let fresh = self.lines.len();
        let line = access.line.map_or(fresh, |number| *self.shared.entry(number).or_insert(fresh));
        if line == fresh {
            self.lines.push(Line::new(access.up_bps, access.down_bps));
        }
        self.ends.push(End { access, place, line, side: 0, ways: Vec::new() });
        self.ends.len() - 1
    }

    /// Changes the rate of a peer's uplink, bits per second.
    pub fn set_uplink(&mut self, end: usize, bps: u64) {
        self.lines[self.ends[end].line].up.set_rate(bps);
    }

    /// Public address of an end: one for each line.
    pub(crate) fn address(&self, end: usize) -> IpAddr {
        let [_, b, c, d] = (self.ends[end].line as u32).to_be_bytes();
        IpAddr::from([11, b, c, d])
    }

    /// Sends packets between two peers by a third from now on, over both of its lines; `None`: directly.
    pub fn detour(&mut self, a: usize, b: usize, by: Option<usize>) {
        let pair = (a.min(b), a.max(b));
        match by {
            Some(by) => _ = self.detours.insert(pair, Some(by)),
            None => _ = self.detours.remove(&pair),
        }
    }

    /// Loses packets between two peers until there is another detour: the present one is gone.
    pub fn block(&mut self, a: usize, b: usize) {
        self.detours.insert((a.min(b), a.max(b)), None);
    }

    /// Returns by which peer packets between two others go; `usize::MAX` while they are lost.
    pub fn detour_of(&self, a: usize, b: usize) -> Option<usize> {
        self.detours.get(&(a.min(b), a.max(b))).map(|by| by.unwrap_or(usize::MAX))
    }

    /// Propagation delay between two peers, without queues and jitter, microseconds; the same in both
    /// directions.
    pub fn one_way_us(&self, a: usize, b: usize) -> u64 {
        match self.detours.get(&(a.min(b), a.max(b))) {
            Some(Some(by)) => self.direct_us(a, *by) + self.direct_us(*by, b),
            _ => self.direct_us(a, b),
        }
    }

    fn direct_us(&self, a: usize, b: usize) -> u64 {
        match &self.plan.delays {
            Delays::Drawn { least_us, most_us } => {
                let pair = [self.seed, a.min(b) as u64, a.max(b) as u64];
                SmallDice::of(&pair).between(*least_us, *most_us)
            }
            Delays::Regions(table) => {
                let [one, other] = [a, b].map(|end| self.ends[end].place);
                let row = table.get(usize::from(one.region.min(other.region)));
                let between = row.and_then(|row| row.get(usize::from(one.region.max(other.region))));
                let between = between.copied().unwrap_or(0);
                u64::from(one.last_mile_us) + u64::from(between) + u64::from(other.last_mile_us)
            }
        }
    }

    /// Sends a datagram; returns its arrival, or `None` if it is lost.
    pub fn send(&mut self, now: Time, from: usize, to: usize, bytes: usize) -> Option<Time> {
        if self.are_parted(from, to) {
            return None;
        }
        let arrives = self.cross(now, from, to, bytes)?;
        let way = self.way(from, to, now);
        way.datagram_at = arrives.max(way.datagram_at);
        Some(way.datagram_at)
    }

    /// Arrival of a small datagram that isn't simulated as an event. It is subject to losses, jitter and
    /// pauses, not to queues, and affects no other packet.
    pub(crate) fn would_arrive(&self, now: Time, from: usize, to: usize) -> Option<Time> {
        let mut dice = SmallDice::of(&[self.seed, UNFOLLOWED, from as u64, to as u64, now.0]);
        let burst_ppm = self.plan.bursts.map_or(0, |bursts| bursts.mean_loss_ppm());
        let is_lost = self.detour_of(from, to) == Some(usize::MAX);
        if is_lost || self.are_parted(from, to) || dice.chance(self.loss_ppm(now)) || dice.chance(burst_ppm) {
            return None;
        }
        let sent = self.awake(from, now);
        let there = sent + self.one_way_us(from, to) + dice.between(0, self.plan.jitter_us);
        Some(self.awake(to, there))
    }

    /// Sends a message on a reliable channel, behind those sent before; returns its arrival.
    ///
    /// Nothing crosses a partition: messages sent meanwhile are sent later by
    /// [`send_late`](Network::send_late).
    ///
    /// # Errors
    /// The time at which the channel fails, if [`TRIES_MAX`] transmissions were lost. Messages sent
    /// after it arrive no sooner.
    pub fn send_reliable(&mut self, now: Time, from: usize, to: usize, bytes: usize) -> Result<Time, Time> {
        let arrives = match self.cross(now, from, to, bytes) {
            Some(arrives) => Ok(arrives),
            None => self.try_again(now, from, to),
        };
        let way = self.way(from, to, now);
        let (Ok(at) | Err(at)) = arrives;
        way.message_at = way.message_at.max(at);
        let at = way.message_at;
        arrives.map(|_| at).map_err(|_| at)
    }

    /// Sends a message again that was sent at `said` and held back by a partition since: it is carried by the
    /// first retransmission due after `now`. Returns its arrival.
    pub fn send_late(&mut self, now: Time, said: Time, from: usize, to: usize) -> Time {
        let (mut tried_at, mut wait_us) = (said, RETRANSMIT_US);
        while tried_at < now {
            tried_at = tried_at + wait_us;
            wait_us *= 2;
        }
        let arrives = tried_at + self.one_way_us(from, to);
        let way = self.way(from, to, now);
        way.message_at = arrives.max(way.message_at);
        way.message_at
    }

    /// Arrival of the last message sent so far from one end to another.
    pub(crate) fn told_by(&self, from: usize, to: usize) -> Option<Time> {
        let end = &self.ends[from];
        end.way_at(to as u32).ok().map(|at| end.ways[at].1.message_at)
    }

    /// Whether ICE finds a path between two peers without a relay server.
    pub fn can_connect(&self, a: usize, b: usize) -> bool {
        let [one, other] = [a, b].map(|end| self.ends[end].access.nat);
        !self.are_parted(a, b) && traverses(one, other)
    }

    /// Partitions the network: from now on only peers of the same group reach each other. The peers in no
    /// group form one more.
    pub fn partition(&mut self, groups: &[Vec<usize>]) {
        self.heal();
        for (side, group) in (1..).zip(groups) {
            for end in group {
                self.ends[*end].side = side;
            }
        }
    }

    /// Ends the partition.
    pub fn heal(&mut self) {
        self.ends.iter_mut().for_each(|end| end.side = 0);
    }

    /// Whether a partition separates two peers.
    pub fn are_parted(&self, a: usize, b: usize) -> bool {
        self.ends[a].side != self.ends[b].side
    }

    /// Sets the independent loss per million packets from time `from` on, up to the next planned change. It
    /// should be planned ahead: retransmissions decided already keep the rate planned at that moment.
    pub fn plan_loss_ppm(&mut self, from: Time, loss_ppm: u32) {
        let after = self.losses.partition_point(|(planned, _)| *planned <= from);
        self.losses.insert(after, (from, loss_ppm));
    }

    /// Independent loss per million packets at a time.
    fn loss_ppm(&self, at: Time) -> u32 {
        let since = self.losses.partition_point(|(planned, _)| *planned <= at);
        since.checked_sub(1).map_or(0, |since| self.losses[since].1)
    }

    /// Forgets the paths between two peers that no longer have a link.
    pub fn forget(&mut self, a: usize, b: usize) {
        for (from, to) in [(a, b), (b, a)] {
            self.ends[from].ways.retain(|(other, _)| *other as usize != to);
        }
    }

    /// Retransmits a lost message until it arrives. Queues don't see retransmissions, since these are later
    /// than any packet that the queues have seen.
    fn try_again(&mut self, now: Time, from: usize, to: usize) -> Result<Time, Time> {
        let distance = self.one_way_us(from, to);
        let probes = (1..=PROBES_MAX).map(|probe| now + probe * PROBE_US);
        let heard = probes.filter(|at| !self.loses(now, from, to, *at)).nth(PROBES_TELLING - 1);
        let told_at = heard.map(|probed_at| probed_at + 2 * distance);
        let mut tried_at = told_at.unwrap_or(now + RETRANSMIT_US);
        let timed_out = u32::from(told_at.is_none());
        for again in (timed_out..).take(TRIES_MAX as usize - 1) {
            tried_at = self.awake(from, tried_at);
            if !self.loses(now, from, to, tried_at) {
                return Ok(self.awake(to, tried_at + distance));
            }
            tried_at = tried_at + (RETRANSMIT_US << again).min(RETRANSMIT_US_MAX);
        }
        Err(tried_at)
    }

    /// Whether a packet that is sent at `at`, later than `now`, is lost.
    fn loses(&mut self, now: Time, from: usize, to: usize, at: Time) -> bool {
        let (loss_ppm, bursts) = (self.loss_ppm(at), self.plan.bursts);
        let way = self.way(from, to, now);
        let burst_ppm = bursts.map_or(0, |bursts| way.weather.loss_ppm_at(at, &bursts));
        let alone = way.dice.chance(loss_ppm);
        way.dice.chance(burst_ppm) || alone
    }

    /// One transmission, by a third peer where there is a detour.
    fn cross(&mut self, now: Time, from: usize, to: usize, bytes: usize) -> Option<Time> {
        match self.detours.get(&(from.min(to), from.max(to))) {
            None => self.hop(now, from, to, bytes),
            Some(None) => None,
            Some(&Some(by)) => {
                let there = self.hop(now, from, by, bytes)?;
                self.hop(there, by, to, bytes)
            }
        }
    }

    /// One transmission over the lines of two peers: queues, delay, loss and pauses.
    fn hop(&mut self, now: Time, from: usize, to: usize, bytes: usize) -> Option<Time> {
        let longest_us = self.plan.queue_us_max;
        let awake = self.awake(from, now);
        let up = self.ends[from].line;
        let sent = self.lines[up].up.pass(now, awake, bytes, longest_us)?;
        let (loss_ppm, bursts, jitter_us) = (self.loss_ppm(now), self.plan.bursts, self.plan.jitter_us);
        let distance = self.direct_us(from, to);
        let way = self.way(from, to, now);
        let burst_ppm = bursts.map_or(0, |bursts| way.weather.loss_ppm(now, &bursts, &mut way.dice));
        let jitter = if jitter_us == 0 { 0 } else { way.dice.between(0, jitter_us) };
        // both are drawn in any case, so a changed loss rate changes nothing but the losses
        let alone = way.dice.chance(loss_ppm);
        if way.dice.chance(burst_ppm) || alone {
            return None;
        }
        let there = sent + distance + jitter;
        let awake = self.awake(to, there);
        let down = self.ends[to].line;
        self.lines[down].down.pass(there, awake, bytes, longest_us)
    }

    /// End of the pause that an end's radio is in at `at`; `at` itself if it isn't pausing or there is no
    /// radio.
    fn awake(&self, end: usize, at: Time) -> Time {
        match self.plan.pauses {
            Some(pauses) if self.ends[end].access.wireless => pause::end(&pauses, self.seed, end, at),
            _ => at,
        }
    }

    fn way(&mut self, from: usize, to: usize, now: Time) -> &mut Way {
        let (seed, to) = (self.seed, to as u32);
        let bursts = self.plan.bursts;
        let end = &mut self.ends[from];
        let known = end.way_at(to);
        let ways = &mut end.ways;
        let at = match known {
            Ok(at) => at,
            Err(at) => {
                // seeded with the time of creation, so a path that was forgotten doesn't repeat its draws
                let mut dice = SmallDice::of(&[seed, from as u64, to.into(), now.0]);
                let weather = Weather::drawn(now, bursts.as_ref(), &mut dice);
                ways.insert(at, (to, Way { dice, weather, datagram_at: now, message_at: now }));
                at
            }
        };
        &mut ways[at].1
    }
}

/// Whether hole punching works between two kinds of NAT (RFC 5128; behaviours as in RFC 4787).
pub(crate) fn traverses(one: Nat, other: Nat) -> bool {
    !matches!((one.max(other), one.min(other)), (Nat::Symmetric, Nat::Symmetric | Nat::PortRestricted))
}

impl Pauses {
    /// A laptop's Wi-Fi: 100 to 500 ms, as caused by scans, roaming and busy channels. Twice a minute is a
    /// guess.
    pub const WIFI: Pauses = Pauses { mean_gap_us: 30_000_000, least_us: 100_000, most_us: 500_000 };
}

#[cfg(test)]
mod tests;
