//! The network between the bodies: how long a packet is under way, and whether it arrives.
//!
//! A body hands over a packet and is told at once when it arrives, or that it never does: every packet costs
//! one call and no event of its own. On its way it waits at the sender's uplink, crosses the distance with
//! some jitter, waits out a pause of a radio at either end, and waits at the receiver's downlink. It is lost
//! alone, or in a burst of its way, or because a queue is full, or because a partition stands between.
//!
//! Promised: ways keep the order of their packets, equal seeds and calls give equal answers on any machine, and
//! what happens on one way doesn't depend on the packets of others but through the queues that they share.
//! Kept are some words for each peer, and some for each way in use until [`Network::forget`].

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

/// A message of a reliable channel that nothing tells of comes again after this long, then after twice as long,
/// and so on: the least time-out of SCTP (RFC 9260, 16), which the stack in use has too.
pub const RETRANSMIT_US: u64 = 1_000_000;
/// Messages are alone on their way, so probes follow them, this far apart (`crates/rtc/src/traffic.rs`) ...
pub const PROBE_US: u64 = 30_000;
/// ... so many, while nothing says that the message is there.
const PROBES_MAX: u64 = 6;
/// Of a message that so many later packets have overtaken SCTP knows that it was lost (RFC 9260, 7.2.4). It sends
/// it again once at their word.
const PROBES_TELLING: usize = 3;
/// A reliable message is sent so many times; then its channel has failed (Association.Max.Retrans, RFC 9260, 16).
pub const TRIES_MAX: u32 = 10;
/// Two repetitions are no further apart (RTO.Max, RFC 9260, 16).
const RETRANSMIT_US_MAX: u64 = 60_000_000;

/// Sets draws for datagrams that aren't followed apart from all others of the seed.
const UNFOLLOWED: u64 = 0x756e_666f_6c6c;

/// One end of the network: where a peer is connected.
#[derive(Clone, Debug)]
struct End {
    access: Access,
    place: Location,
    /// Index into the lines.
    line: usize,
    /// Which side of a partition it is on.
    side: u32,
    /// Ways from here that are in use, by their other end.
    ways: Vec<(u32, Way)>,
}

/// One direction between two peers.
#[derive(Clone, Copy, Debug)]
struct Way {
    dice: SmallDice,
    weather: Weather,
    /// When the last datagram arrives.
    datagram_at: Time,
    /// When the last message of the reliable channel arrives.
    message_at: Time,
}

/// The network of one world.
#[derive(Debug)]
pub struct Network {
    plan: NetPlan,
    seed: u64,
    ends: Vec<End>,
    lines: Vec<Line>,
    /// How many of a million packets are lost alone, and from when on, in order of time: repetitions are decided
    /// ahead, at the rate of their own time.
    losses: Vec<(Time, u32)>,
    /// Lines that peers share, by the plan's numbers for them.
    shared: BTreeMap<u32, usize>,
}

impl End {
    /// Where among its ways that to another end is, or would be.
    fn way_at(&self, to: u32) -> Result<usize, usize> {
        self.ways.binary_search_by_key(&to, |(other, _)| *other)
    }
}

impl Network {
    /// A network without anyone in it.
    pub fn new(plan: &NetPlan, seed: u64) -> Network {
        let losses = vec![(Time(0), plan.loss_ppm)];
        let (plan, ends, lines, shared) = (plan.clone(), Vec::new(), Vec::new(), BTreeMap::new());
        Network { plan, seed, ends, lines, losses, shared }
    }

    /// Connects a peer; gives its index, which counts up from 0.
    pub fn add(&mut self, access: Access, place: Location) -> usize {
        let fresh = self.lines.len();
        let line = access.line.map_or(fresh, |number| *self.shared.entry(number).or_insert(fresh));
        if line == fresh {
            self.lines.push(Line::new(access.up_bps, access.down_bps));
        }
        self.ends.push(End { access, place, line, side: 0, ways: Vec::new() });
        self.ends.len() - 1
    }

    /// A peer's uplink carries so much from now on.
    pub fn set_uplink(&mut self, end: usize, bps: u64) {
        self.lines[self.ends[end].line].up.set_rate(bps);
    }

    /// The public address that an end is behind: one for each line.
    pub(crate) fn address(&self, end: usize) -> IpAddr {
        let [_, b, c, d] = (self.ends[end].line as u32).to_be_bytes();
        IpAddr::from([11, b, c, d])
    }

    /// One way between two peers as the light goes, without queues and jitter: the same in both directions.
    pub fn one_way_us(&self, a: usize, b: usize) -> u64 {
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

    /// Sends a datagram; tells when it arrives, `None` when it never does.
    pub fn send(&mut self, now: Time, from: usize, to: usize, bytes: usize) -> Option<Time> {
        if self.are_parted(from, to) {
            return None;
        }
        let arrives = self.cross(now, from, to, bytes)?;
        let way = self.way(from, to, now);
        way.datagram_at = arrives.max(way.datagram_at);
        Some(way.datagram_at)
    }

    /// When a small datagram arrives that isn't followed: it meets losses, jitter and pauses, queues don't see it, and what
    /// happens to it changes nothing for others.
    pub(crate) fn would_arrive(&self, now: Time, from: usize, to: usize) -> Option<Time> {
        let mut dice = SmallDice::of(&[self.seed, UNFOLLOWED, from as u64, to as u64, now.0]);
        let burst_ppm = self.plan.bursts.map_or(0, |bursts| bursts.mean_loss_ppm());
        if self.are_parted(from, to) || dice.chance(self.loss_ppm(now)) || dice.chance(burst_ppm) {
            return None;
        }
        let sent = self.awake(from, now);
        let there = sent + self.one_way_us(from, to) + dice.between(0, self.plan.jitter_us);
        Some(self.awake(to, there))
    }

    /// Sends a message on a reliable channel, behind those sent before; tells when it arrives.
    ///
    /// Nothing gets across a partition: what is said meanwhile is said again by [`send_late`](Network::send_late).
    ///
    /// # Errors
    /// When the channel will have failed: [`TRIES_MAX`] were lost. What is sent after it arrives no sooner.
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

    /// Sends a message once more that was said at `said` and has got nowhere since: with the first repetition that
    /// is due after `now`.
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

    /// When the last message arrives of those that were said from one end to another until now.
    pub(crate) fn told_by(&self, from: usize, to: usize) -> Option<Time> {
        let end = &self.ends[from];
        end.way_at(to as u32).ok().map(|at| end.ways[at].1.message_at)
    }

    /// Whether ICE finds a way between the two without a relay.
    pub fn can_connect(&self, a: usize, b: usize) -> bool {
        let [one, other] = [a, b].map(|end| self.ends[end].access.nat);
        !self.are_parted(a, b) && traverses(one, other)
    }

    /// From now on only peers of one group reach each other; whoever is in none is with the others like it.
    pub fn partition(&mut self, groups: &[Vec<usize>]) {
        self.heal();
        for (side, group) in (1..).zip(groups) {
            for end in group {
                self.ends[*end].side = side;
            }
        }
    }

    /// Everyone reaches everyone again.
    pub fn heal(&mut self) {
        self.ends.iter_mut().for_each(|end| end.side = 0);
    }

    /// A partition stands between the two.
    pub fn are_parted(&self, a: usize, b: usize) -> bool {
        self.ends[a].side != self.ends[b].side
    }

    /// From then on so many of a million packets are lost alone, up to what is planned for later. A plan is best made
    /// ahead: repetitions that are decided already keep to what was planned when they were.
    pub fn plan_loss_ppm(&mut self, from: Time, loss_ppm: u32) {
        let after = self.losses.partition_point(|(planned, _)| *planned <= from);
        self.losses.insert(after, (from, loss_ppm));
    }

    /// How many of a million packets are lost alone at that time.
    fn loss_ppm(&self, at: Time) -> u32 {
        let since = self.losses.partition_point(|(planned, _)| *planned <= at);
        since.checked_sub(1).map_or(0, |since| self.losses[since].1)
    }

    /// The two have no link any more: nothing is remembered of the ways between them.
    pub fn forget(&mut self, a: usize, b: usize) {
        for (from, to) in [(a, b), (b, a)] {
            self.ends[from].ways.retain(|(other, _)| *other as usize != to);
        }
    }

    /// A message that was lost, sent again until it isn't. Queues don't see it: it comes later than all that
    /// they were told of.
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

    /// Whether a packet that leaves at `at`, later than `now`, is lost.
    fn loses(&mut self, now: Time, from: usize, to: usize, at: Time) -> bool {
        let (loss_ppm, bursts) = (self.loss_ppm(at), self.plan.bursts);
        let way = self.way(from, to, now);
        let burst_ppm = bursts.map_or(0, |bursts| way.weather.loss_ppm_at(at, &bursts));
        let alone = way.dice.chance(loss_ppm);
        way.dice.chance(burst_ppm) || alone
    }

    /// One try: queues, distance, chance and pauses.
    fn cross(&mut self, now: Time, from: usize, to: usize, bytes: usize) -> Option<Time> {
        let longest_us = self.plan.queue_us_max;
        let awake = self.awake(from, now);
        let up = self.ends[from].line;
        let sent = self.lines[up].up.pass(now, awake, bytes, longest_us)?;
        let (loss_ppm, bursts, jitter_us) = (self.loss_ppm(now), self.plan.bursts, self.plan.jitter_us);
        let distance = self.one_way_us(from, to);
        let way = self.way(from, to, now);
        let burst_ppm = bursts.map_or(0, |bursts| way.weather.loss_ppm(now, &bursts, &mut way.dice));
        let jitter = if jitter_us == 0 { 0 } else { way.dice.between(0, jitter_us) };
        // both are drawn in any case, so that a changed rate changes nothing but the losses
        let alone = way.dice.chance(loss_ppm);
        if way.dice.chance(burst_ppm) || alone {
            return None;
        }
        let there = sent + distance + jitter;
        let awake = self.awake(to, there);
        let down = self.ends[to].line;
        self.lines[down].down.pass(there, awake, bytes, longest_us)
    }

    /// When the radio of an end hears again; at once if it does now, or there is none.
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
                // numbered by when it came to be: a way that was forgotten doesn't repeat itself
                let mut dice = SmallDice::of(&[seed, from as u64, to.into(), now.0]);
                let weather = Weather::drawn(now, bursts.as_ref(), &mut dice);
                ways.insert(at, (to, Way { dice, weather, datagram_at: now, message_at: now }));
                at
            }
        };
        &mut ways[at].1
    }
}

/// Whether hole punching works between two kinds of NAT (RFC 5128; RFC 4787 names the behaviours).
pub(crate) fn traverses(one: Nat, other: Nat) -> bool {
    !matches!((one.max(other), one.min(other)), (Nat::Symmetric, Nat::Symmetric | Nat::PortRestricted))
}

impl Pauses {
    /// A laptop's Wi-Fi: 100 to 500 ms, as scans, roaming and busy channels make them; twice a minute is a guess.
    pub const WIFI: Pauses = Pauses { mean_gap_us: 30_000_000, least_us: 100_000, most_us: 500_000 };
}

#[cfg(test)]
mod tests;
