//! Populations: when people arrive, from which region, with what device, and when they leave.
//!
//! A [`Group`] describes a population, [`draw`] turns groups into plans of peers. Each person has random
//! numbers of its own, so a larger group begins with the people of the smaller one.

mod devices;
pub mod geography;

use plenary_proto::Time;
use plenary_proto::time::SECOND;
use serde::Deserialize;

use crate::attackers::Attack;
use crate::dice::SmallDice;
use crate::plan::{Kind, Leave, MachinePlan, PeerPlan, Stalls, Turns};
use crate::units::{Share, Span};
pub use devices::Devices;

/// Maximum number of peers in one world; later arrivals are not drawn.
pub const PEERS_MAX: usize = 200_000;
/// Maximum time until a departed peer is replaced, in refilled groups.
const REFILL_US: u64 = SECOND;
/// Number of time slots by which arrivals of the shape [`Shape::Zipf`] are ranked.
const ZIPF_SLOTS: u64 = 64;

/// A group of similar people.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Group {
    /// Role of the peers.
    pub kind: Kind,
    /// Number of peers.
    pub count: usize,
    /// Whether speakers also see the program, each from its own mixer, outside the tree. Viewers always do,
    /// candidates never.
    #[serde(default)]
    pub sees: bool,
    /// Mix of devices.
    #[serde(default)]
    pub devices: Devices,
    /// Whether the peers are behind NATs.
    #[serde(default)]
    pub nats: bool,
    /// Region of all peers; without it, each peer's region is drawn.
    #[serde(default)]
    pub region: Option<String>,
    /// When the peers arrive.
    #[serde(default)]
    pub arrival: Arrival,
    /// How long the peers stay; without it, to the end.
    #[serde(default)]
    pub stay: Option<Stay>,
    /// Share of the departing peers that leave politely.
    #[serde(default)]
    pub polite: Share,
    /// Whether each departing peer is replaced by another, so that the number stays constant.
    #[serde(default)]
    pub refilled: bool,
    /// Stalls of the peers' machines.
    #[serde(default)]
    pub stalls: Option<StallsEach>,
    /// Machines of limited processor time that the peers share; by default, processor time is unlimited.
    #[serde(default)]
    pub machines: Option<MachinesOf>,
    /// Attack that the peers carry out.
    #[serde(default)]
    pub attack: Option<Attack>,
    /// Whether all peers share one line, that of the first of them: one machine with many identities, or a
    /// school.
    #[serde(default)]
    pub one_line: bool,
    /// Maximum clock drift in millionths, in either direction.
    #[serde(default)]
    pub clock_ppm: u16,
    /// The viewers are pages in browsers; by default, they are native peers.
    #[serde(default)]
    pub pages: Option<Pages>,
}

/// Pages in browsers.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Pages {
    /// Mean time for which a tab is shown.
    pub shown: Span,
    /// Mean time for which a tab is hidden; `0s`: never.
    pub hidden: Span,
    /// Number of pages above a page from which on it takes no children; by default, without limit.
    #[serde(default)]
    pub hops_max: Option<u8>,
}

/// Arrival of a group.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Arrival {
    /// Time of the first arrival.
    pub from: Span,
    /// Period within which all peers arrive.
    pub within: Span,
    /// Distribution over the period.
    pub shape: Shape,
}

impl Arrival {
    /// Time by which all peers have arrived.
    pub fn ends(&self) -> Span {
        Span(self.from.0.saturating_add(self.within.0))
    }
}

/// Distribution of arrivals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Shape {
    /// Evenly spaced.
    #[default]
    Steady,
    /// Uniformly random: a flash crowd.
    Crowd,
    /// The period is divided into 64 slots, and the n-th gets a share proportional to 1/n: most peers arrive
    /// at the beginning.
    Zipf,
}

/// Distribution of the length of stay.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Stay {
    /// Exponential with this mean: the remaining stay doesn't depend on the time already stayed.
    Exponential(Span),
    /// Heavy-tailed with this mean: Pareto distribution with exponent 2, of infinite variance.
    HeavyTailed(Span),
}

/// Stalls of machines.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StallsEach {
    /// Length of a stall.
    pub last: Span,
    /// Mean time between two stalls.
    pub each: Span,
}

/// Machines that a group shares, by turns.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MachinesOf {
    /// Number of machines. Groups that give the same `first` share machines.
    pub count: u16,
    /// Number of the first machine.
    #[serde(default)]
    pub first: u16,
    /// Number of cores of each.
    pub cores: u8,
}

/// Draws all peers of these groups, the host first. There are no arrivals or departures after `until`.
///
/// The first group must not be empty: its first member is the host, which is present from the beginning to
/// the end.
pub fn draw(groups: &[Group], until: Time, seed: u64) -> Vec<PeerPlan> {
    let mut peers = Vec::new();
    for (number, group) in groups.iter().enumerate() {
        for at in 0..group.count {
            let mut dice = SmallDice::of(&[seed, number as u64, at as u64]);
            let mut comes = Some(group.arrival.draw(at, group.count, &mut dice));
            // a replacement continues with the same random numbers
            while let Some(joins_at) = comes.take().filter(|_| peers.len() < PEERS_MAX) {
                let mut peer = group.member(joins_at, &mut dice);
                if let Some(turns) = peer.page.as_mut().and_then(|page| page.turns.as_mut()) {
                    turns.until = until;
                }
                if group.one_line {
                    peer.access.line = Some(number as u32);
                }
                let of = |machines: MachinesOf| {
                    let nth = at % usize::from(machines.count.max(1));
                    MachinePlan { number: u32::from(machines.first) + nth as u32, cores: machines.cores }
                };
                peer.machine = group.machines.map(of);
                if peers.is_empty() {
                    (peer.joins_at, peer.leaves) = (Time(0), None);
                }
                peer.leaves = peer.leaves.filter(|leave| leave.at < until);
                comes =
                    peer.leaves.filter(|_| group.refilled).map(|leave| leave.at + dice.between(0, REFILL_US));
                comes = comes.filter(|at| *at < until);
                peers.push(peer);
            }
        }
    }
    peers
}

impl Group {
    fn member(&self, joins_at: Time, dice: &mut SmallDice) -> PeerPlan {
        let mut peer = PeerPlan { joins_at, sees: self.sees, ..PeerPlan::of(self.kind) };
        self.devices.equip(&mut peer, self.nats, dice);
        let somewhere = geography::drawn(dice.between(0, 99));
        peer.place.region = self.region.as_deref().and_then(geography::region).unwrap_or(somewhere);
        let polite = dice.chance(self.polite.0);
        let even = dice.next();
        peer.leaves = self.stay.map(|stay| Leave { at: joins_at + stay.length_us(even, dice), polite });
        peer.stalls = self.stalls.map(|stalls| Stalls { mean_gap_us: stalls.each.0, us: stalls.last.0 });
        peer.attack = self.attack;
        peer.relays &= self.attack != Some(Attack::RideFree);
        let most = u64::from(self.clock_ppm);
        peer.clock_ppm = dice.between(0, 2 * most) as i32 - i32::from(self.clock_ppm);
        if let Some(pages) = self.pages {
            devices::browse(&mut peer, dice);
            let Pages { shown, hidden, hops_max } = pages;
            if let Some(page) = &mut peer.page {
                let turns = Turns { shown_us: shown.0, hidden_us: hidden.0, until: Time(u64::MAX) };
                page.turns = Some(turns).filter(|turns| turns.hidden_us > 0);
                page.hops_max = hops_max;
            }
        }
        peer
    }
}

impl Arrival {
    fn draw(&self, at: usize, count: usize, dice: &mut SmallDice) -> Time {
        let within = self.within.0;
        let after = match self.shape {
            Shape::Steady => (u128::from(within) * at as u128 / count.max(1) as u128) as u64,
            Shape::Crowd => dice.between(0, within),
            Shape::Zipf => {
                // 1/n in millionths
                let weights = (1..=ZIPF_SLOTS).map(|rank| 1_000_000 / rank);
                let mut draw = dice.between(0, weights.clone().sum::<u64>() - 1);
                let slot = weights.take_while(|weight| {
                    let later = draw >= *weight;
                    draw = draw.saturating_sub(*weight);
                    later
                });
                let slot = slot.count() as u64;
                within * slot / ZIPF_SLOTS + dice.between(0, within / ZIPF_SLOTS)
            }
        };
        Time(self.from.0 + after)
    }
}

impl Stay {
    fn length_us(self, even: u64, dice: &mut SmallDice) -> u64 {
        match self {
            Stay::Exponential(mean) => dice.exponential(mean.0),
            // half the mean divided by the square root of a uniform draw in (0, 1]
            Stay::HeavyTailed(mean) => {
                let root = even.max(1).isqrt().max(1);
                ((u128::from(mean.0 / 2) << 32) / u128::from(root)).min(u64::MAX.into()) as u64
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use plenary_proto::time::MS;

    use super::*;

    fn viewers(count: usize) -> Group {
        Group {
            kind: Kind::Viewer,
            count,
            sees: false,
            devices: Devices::default(),
            nats: false,
            region: None,
            arrival: Arrival::default(),
            stay: None,
            polite: Share(0),
            refilled: false,
            stalls: None,
            machines: None,
            attack: None,
            one_line: false,
            clock_ppm: 0,
            pages: None,
        }
    }

    fn joins(shape: Shape) -> Vec<u64> {
        let arrival = Arrival { from: Span(SECOND), within: Span(10 * SECOND), shape };
        let group = Group { arrival, ..viewers(10_000) };
        let peers = draw(&[group], Time(60 * SECOND), 1);
        let mut joins: Vec<_> = peers[1..].iter().map(|peer| peer.joins_at.0).collect();
        joins.sort_unstable();
        joins
    }

    #[test]
    fn arrivals_keep_to_their_time_and_their_shape() {
        for (shape, first_half) in [(Shape::Steady, 5_000), (Shape::Crowd, 5_000), (Shape::Zipf, 8_555)] {
            let joins = joins(shape);
            assert!(joins[0] >= SECOND && *joins.last().unwrap() <= 11 * SECOND, "{shape:?}");
            let early = joins.iter().filter(|at| **at < 6 * SECOND).count();
            assert!(early.abs_diff(first_half) < 150, "{shape:?}: {early} in the first half");
        }
    }

    #[test]
    fn stays_have_their_mean_and_a_heavy_tail_is_heavier() {
        let stays = |stay| {
            let group = Group { stay: Some(stay), ..viewers(40_000) };
            let peers = draw(&[group], Time(u64::MAX / 2), 3);
            peers[1..].iter().map(|peer| peer.leaves.unwrap().at.0).collect::<Vec<_>>()
        };
        let longer = |stays: &[u64], us: u64| stays.iter().filter(|stay| **stay > us).count();
        let even = stays(Stay::Exponential(Span(600 * SECOND)));
        let mean = even.iter().sum::<u64>() / 39_999 / SECOND;
        assert!((585..615).contains(&mean), "{mean} s");
        let heavy = stays(Stay::HeavyTailed(Span(600 * SECOND)));
        // a quarter stays longer than the mean, one in 400 longer than ten times the mean (exponentially one
        // in 22,026)
        assert!(longer(&heavy, 600 * SECOND).abs_diff(10_000) < 300, "{}", longer(&heavy, 600 * SECOND));
        assert!(longer(&heavy, 6_000 * SECOND).abs_diff(100) < 35, "{}", longer(&heavy, 6_000 * SECOND));
        assert!(longer(&even, 6_000 * SECOND) < 10);
    }

    #[test]
    fn a_refilled_group_is_as_large_all_the_time() {
        let stay = Some(Stay::Exponential(Span(60 * SECOND)));
        let group = Group { stay, refilled: true, polite: Share(500_000), ..viewers(2_000) };
        let peers = draw(&[group], Time(300 * SECOND), 5);
        let there = |at: Time| {
            let there = peers
                .iter()
                .filter(|peer| peer.joins_at <= at && peer.leaves.is_none_or(|leave| leave.at > at));
            there.count()
        };
        for second in (1..300).step_by(20) {
            let there = there(Time(second * SECOND));
            assert!((1_950..=2_000).contains(&there), "{there} after {second} s");
        }
        // 2000 departures per 60 s on average, half of them polite
        let gone: Vec<_> = peers.iter().flat_map(|peer| peer.leaves).collect();
        assert!(gone.len().abs_diff(10_000) < 400, "{}", gone.len());
        let polite = gone.iter().filter(|leave| leave.polite).count();
        assert!((2 * polite).abs_diff(gone.len()) < 400, "{polite} of {}", gone.len());
        assert!(gone.iter().all(|leave| leave.at < Time(300 * SECOND)));
    }

    #[test]
    fn a_larger_group_begins_with_the_people_of_the_smaller() {
        let devices = Devices { phone: 1, laptop: 2, ..Devices::default() };
        let arrival = Arrival { within: Span(10 * SECOND), shape: Shape::Crowd, ..Arrival::default() };
        let of = |count| {
            draw(&[Group { devices, arrival, clock_ppm: 50, ..viewers(count) }], Time(60 * SECOND), 9)
        };
        let (few, many) = (of(20), of(200));
        assert_eq!(format!("{few:?}"), format!("{:?}", &many[..20]));
        assert!(many.iter().any(|peer| peer.clock_ppm > 20) && many.iter().any(|peer| peer.clock_ppm < -20));
        assert!(many[1].joins_at > Time(MS) || many[2].joins_at > Time(MS));
    }
}
