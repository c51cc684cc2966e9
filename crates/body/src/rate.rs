//! Congestion control of the program's picture at a mixer: the bit rate that at least three quarters of the
//! mixer's viewers can take.
//!
//! Each link is judged by itself, once a second, by its loss, like the loss-based half of Google Congestion
//! Control (draft-ietf-rmcat-gcc-02, section 6), and by its queue. A link that loses a tenth of its packets,
//! or on which the round-trip time grows by [`QUEUE_US_MAX`], carries less than is sent on it. A link with
//! almost no loss and no queue may carry more. Between the two nothing changes: a radio link with 5 % loss
//! isn't helped by a worse picture.

use plenary_proto::ordered::{OrderedMap, OrderedSet};
use std::collections::VecDeque;

use plenary_proto::packet::{LinkId, LinkStats};

use crate::loss::{share_lost, worst_but_a_quarter};

/// Share of packets sent again, or dropped at the sender, from which a link is overfull.
const LOST_MAX: f64 = 0.10;
/// Share of packets up to which the link's rate may rise.
const LOST_EASY: f64 = 0.02;
/// Queue from which a link is overfull: microseconds of round-trip time above the recent minimum. A guess:
/// half of what home routers buffer.
const QUEUE_US_MAX: u64 = 100_000;
/// Queue up to which the link's rate may rise. A guess.
const QUEUE_US_EASY: u64 = 40_000;
/// Number of checks over which the minimum round-trip time is taken: half a minute.
const LOOKS: usize = 30;
/// Factor from the rate sent on an overfull link to its new estimated rate.
const FALL: f64 = 0.85;
/// Factor by which a link's rate is raised per check: it doubles in a quarter of a minute.
const RISE: f64 = 1.05;
/// Number of consecutive checks that make a link overfull. A single one may be due to this machine, which was
/// busy.
const OVERFULL_LOOKS: u32 = 3;
/// Number of checks that are ignored after a fall: the queue has to drain before it says anything.
const SETTLING_LOOKS: u32 = 2;
/// Minimum rate of the picture, as a share of the room's rate, however little the links carry.
const SHARE_MIN: f64 = 0.15;

/// Load of a link, check by check.
#[derive(Debug, Default)]
pub(crate) struct Fullness {
    /// Counters at the last check.
    before: Option<LinkStats>,
    rtts_us: VecDeque<u64>,
    /// Number of consecutive checks that found the link overfull.
    overfull: u32,
    settling: u32,
    /// Share of packets lost, at the last check with enough packets.
    lost: f64,
    /// Queue at that check, in microseconds: round-trip time above the recent minimum, and the wait at this end.
    queue_us: u64,
}

/// Result of a check of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// The link carries less than is sent on it, for several consecutive checks.
    Over,
    /// The link may carry more.
    Easy,
}

#[derive(Debug, Default)]
struct Path {
    fullness: Fullness,
    carries_bps: f64,
}

/// Tracks the capacity of the links to the first tier of viewers.
#[derive(Debug, Default)]
pub(crate) struct ProgramRate {
    paths: OrderedMap<LinkId, Path>,
}

impl ProgramRate {
    /// Returns the picture's bit rate, at most `wanted_bps`, from the links' counters. `sent_bps` is the
    /// present rate; links in `thin` get only a part of it. To be called once a second.
    pub(crate) fn observe(
        &mut self,
        wanted_bps: u32,
        sent_bps: u32,
        links: &[(LinkId, LinkStats)],
        thin: &OrderedSet<LinkId>,
    ) -> u32 {
        let wanted = f64::from(wanted_bps);
        self.paths.retain(|link, _| links.iter().any(|(known, _)| known == link));
        for (link, stats) in links {
            let path =
                self.paths.entry(*link).or_insert_with(|| Path { carries_bps: wanted, ..Path::default() });
            path.observe(f64::from(sent_bps), stats, thin.contains(link));
            // at least one step below the minimum rate: from further below, the rise would take minutes
            path.carries_bps = path.carries_bps.clamp(wanted * SHARE_MIN * FALL, wanted);
        }
        let mut carried: Vec<f64> = self.paths.values().map(|path| path.carries_bps).collect();
        carried.sort_unstable_by(f64::total_cmp);
        let carried = worst_but_a_quarter(&carried).unwrap_or(wanted);
        carried.clamp(wanted * SHARE_MIN, wanted) as u32
    }

    /// Returns the bit rate that the better half of the links carry, in percent of `wanted_bps`. A narrow uplink of
    /// this peer affects all of its links, a narrow downlink of a viewer only one.
    pub(crate) fn carried_percent(&self, wanted_bps: u32) -> u8 {
        let mut carried: Vec<f64> = self.paths.values().map(|path| path.carries_bps).collect();
        carried.sort_unstable_by(f64::total_cmp);
        let median = carried.get(carried.len() / 2).copied().unwrap_or(f64::from(wanted_bps));
        (100.0 * median / f64::from(wanted_bps.max(1))).min(100.0) as u8
    }

    /// Whether the picture's rate exceeds what a link carries. True for ignored links, the worst ones, and
    /// for a link that was never checked.
    pub(crate) fn leaves_behind(&self, link: LinkId, sent_bps: u32) -> bool {
        self.paths.get(&link).is_none_or(|path| path.carries_bps < f64::from(sent_bps))
    }
}

impl Path {
    fn observe(&mut self, sent_bps: f64, stats: &LinkStats, thin: bool) {
        match self.fullness.observe(stats) {
            Some(Full::Over) => self.carries_bps = sent_bps.min(self.carries_bps) * FALL,
            // the thinned stream is below the full rate, so it does not show that the full rate fits
            Some(Full::Easy) if !thin => {
                self.carries_bps = (self.carries_bps * RISE).min(sent_bps * 2.0).max(self.carries_bps);
            }
            _ => {}
        }
    }
}

impl Fullness {
    /// Updates the load from the link's counters; to be called once a second.
    pub(crate) fn observe(&mut self, stats: &LinkStats) -> Option<Full> {
        if let Some(rtt_us) = stats.rtt_us {
            self.rtts_us.push_back(rtt_us);
            self.rtts_us.drain(..self.rtts_us.len().saturating_sub(LOOKS));
        }
        let before = self.before.replace(*stats)?;
        let lost = share_lost(&before, stats)?;
        let least_us = self.rtts_us.iter().min().copied().unwrap_or_default();
        let queue_us =
            stats.rtt_us.unwrap_or_default().saturating_sub(least_us).saturating_add(stats.queue_us);
        (self.lost, self.queue_us) = (lost, queue_us);
        if self.settling > 0 {
            self.settling -= 1;
            return None;
        }
        let overfull = lost >= LOST_MAX || queue_us >= QUEUE_US_MAX;
        self.overfull = if overfull { self.overfull + 1 } else { 0 };
        if self.overfull >= OVERFULL_LOOKS {
            (self.overfull, self.settling) = (0, SETTLING_LOOKS);
            return Some(Full::Over);
        }
        (lost <= LOST_EASY && queue_us <= QUEUE_US_EASY).then_some(Full::Easy)
    }

    /// Returns the share of packets lost, at the last check with enough packets.
    pub(crate) fn lost(&self) -> f64 {
        self.lost
    }

    /// Whether packets waited in a queue at that check, so that the losses are due to congestion.
    pub(crate) fn queues(&self) -> bool {
        self.queue_us >= QUEUE_US_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::thin::Thinning;

    const WANTED_BPS: u32 = 1_500_000;
    const PACKET_BITS: u32 = 9_000;

    /// Links of a given capacity and random loss, with a queue of 200 ms. Links that the rate leaves behind
    /// are thinned.
    struct Lines {
        rate: ProgramRate,
        thinning: Thinning,
        sent_bps: u32,
        lines: Vec<(u32, f64, LinkStats)>,
    }

    impl Lines {
        fn new(lines: &[(u32, f64)]) -> Lines {
            let lines = lines.iter().map(|&(bps, loss)| (bps, loss, LinkStats::default())).collect();
            Lines { rate: ProgramRate::default(), thinning: Thinning::default(), sent_bps: WANTED_BPS, lines }
        }

        /// Runs for some seconds and returns the rate of each.
        fn run(&mut self, seconds: usize) -> Vec<u32> {
            (0..seconds).map(|_| self.second()).collect()
        }

        fn second(&mut self) -> u32 {
            let thin = self.thinning.thin();
            for (link, (bps, loss, stats)) in (0..).map(LinkId).zip(&mut self.lines) {
                let all = u64::from(self.sent_bps / PACKET_BITS);
                let packets = if thin.contains(&link) { all * 2 / 3 } else { all };
                let carried = u64::from(*bps / PACKET_BITS);
                stats.packets_sent += packets;
                stats.repairs_sent += packets.saturating_sub(carried) + (packets as f64 * *loss) as u64;
                stats.rtt_us = Some(if packets > carried { 250_000 } else { 50_000 });
            }
            let links: Vec<_> =
                (0..).map(LinkId).zip(self.lines.iter().map(|(_, _, stats)| *stats)).collect();
            self.sent_bps = self.rate.observe(WANTED_BPS, self.sent_bps, &links, &thin);
            let may = |link| self.rate.leaves_behind(link, self.sent_bps);
            self.thinning.observe(&links, may, |_| false);
            self.sent_bps
        }
    }

    #[test]
    fn links_that_carry_the_requested_rate_get_it() {
        assert!(Lines::new(&[(9_000_000, 0.0); 5]).run(60).iter().all(|bps| *bps == WANTED_BPS));
        assert_eq!(
            ProgramRate::default().observe(WANTED_BPS, WANTED_BPS, &[], &OrderedSet::new()),
            WANTED_BPS,
            "without viewers"
        );
    }

    #[test]
    fn a_single_slow_check_is_no_queue() {
        let mut lines = Lines::new(&[(9_000_000, 0.0)]);
        for second in 0..60 {
            lines.lines[0].0 = if second % 3 == 0 { 100_000 } else { 9_000_000 };
            assert_eq!(lines.second(), WANTED_BPS);
        }
    }

    #[test]
    fn random_loss_does_not_lower_the_rate() {
        assert!(Lines::new(&[(9_000_000, 0.05); 4]).run(60).iter().all(|bps| *bps == WANTED_BPS));
    }

    #[test]
    fn the_rate_falls_to_the_capacity_of_the_links_and_rises_with_it() {
        let mut lines = Lines::new(&[(800_000, 0.0); 3]);
        let rates = lines.run(60);
        assert!(rates[20..].iter().all(|bps| (600_000..=900_000).contains(bps)), "{rates:?}");
        lines.lines.iter_mut().for_each(|(bps, _, _)| *bps = 9_000_000);
        let rates = lines.run(30);
        assert_eq!(rates.last(), Some(&WANTED_BPS), "{rates:?}");
    }

    #[test]
    fn the_slowest_quarter_of_the_links_does_not_set_the_rate() {
        // nine viewers: two slow ones are left behind, three are not
        let lines = |slow: usize| (0..9).map(move |at| (if at < slow { 300_000 } else { 9_000_000 }, 0.0));
        let rate_with = |slow| *Lines::new(&lines(slow).collect::<Vec<_>>()).run(60).last().unwrap();
        assert_eq!(rate_with(2), WANTED_BPS);
        assert!(rate_with(3) < 400_000);
    }

    #[test]
    fn thinned_links_do_not_raise_the_rate() {
        // of five links the worst is ignored, and the second worst sets the rate
        let mut lines = Lines::new(&[300_000, 900_000, 900_000, 900_000, 9_000_000].map(|bps| (bps, 0.02)));
        lines.run(60);
        let rates = lines.run(240);
        let mean = rates.iter().map(|bps| f64::from(*bps)).sum::<f64>() / rates.len() as f64;
        assert!((600e3..950e3).contains(&mean), "{mean}");
    }

    #[test]
    fn the_rate_keeps_its_minimum_on_the_worst_links() {
        let rates = Lines::new(&[(1_000, 0.9); 2]).run(120);
        assert_eq!(rates.last(), Some(&(WANTED_BPS * 15 / 100)));
    }

    #[test]
    fn links_that_have_ended_no_longer_count() {
        let mut lines = Lines::new(&[(300_000, 0.0), (9_000_000, 0.0)]);
        lines.run(30);
        lines.lines.remove(0);
        lines.lines.insert(0, (9_000_000, 0.0, LinkStats::default()));
        let links = [(LinkId(7), lines.lines[0].2)];
        assert_eq!(lines.rate.observe(WANTED_BPS, lines.sent_bps, &links, &OrderedSet::new()), WANTED_BPS);
    }
}
