//! What the program's picture may cost: as much as three quarters of those whom the mixer feeds can take.
//!
//! Each link is judged by itself, once a second, as the loss-based half of Google's congestion control does
//! (draft-ietf-rmcat-gcc-02, section 6), and by its queue: one that loses a tenth, or on which the round trip grows by
//! [`QUEUE_US_MAX`], carries less than is sent on it; one that loses next to nothing and has no queue may carry more.
//! Between the two nothing changes: a radio that loses a twentieth isn't helped by a worse picture.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use plenary_rtc::{LinkId, LinkStats};

use crate::loss::{share_lost, worst_but_a_quarter};

/// From this share of packets on that had to be sent again, or were dropped here, a link is overfull.
const LOST_MAX: f64 = 0.10;
/// Up to this share it may carry more.
const LOST_EASY: f64 = 0.02;
/// From a queue of so much on, microseconds of round trip above the least lately, it is overfull. A guess: half of what
/// home routers hold.
const QUEUE_US_MAX: u64 = 100_000;
/// With less than this queue it may carry more. A guess.
const QUEUE_US_EASY: u64 = 40_000;
/// Looks over which the least round trip is taken: half a minute.
const LOOKS: usize = 30;
/// What an overfull link is taken to carry, of what was sent on it.
const FALL: f64 = 0.85;
/// By this factor what a link carries is tried to be more, per look: doubled in a quarter of a minute.
const RISE: f64 = 1.05;
/// It is overfull when so many looks in a row say so: one may be the machine's, which was busy.
const OVERFULL_LOOKS: u32 = 2;
/// After a fall it is waited for this many looks: the queue has to drain before it tells anything.
const SETTLING_LOOKS: u32 = 2;
/// However little they carry, the picture gets this share of what the room asks for.
const SHARE_MIN: f64 = 0.15;

/// How full a link is, look by look.
#[derive(Debug, Default)]
pub(crate) struct Fullness {
    /// Counters at the last look.
    before: Option<LinkStats>,
    rtts_us: VecDeque<u64>,
    /// Looks in a row that found it overfull.
    overfull: u32,
    settling: u32,
    /// Share of packets that got lost, at the last look that could tell.
    lost: f64,
    /// Microseconds of round trip above the least lately, then.
    queue_us: u64,
}

/// What a look at a link says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// More is sent than it carries: for some looks in a row.
    Over,
    /// It may carry more.
    Easy,
}

#[derive(Debug, Default)]
struct Path {
    fullness: Fullness,
    carries_bps: f64,
}

/// Follows what the links of the first tier carry.
#[derive(Debug, Default)]
pub(crate) struct ProgramRate {
    paths: BTreeMap<LinkId, Path>,
}

impl ProgramRate {
    /// The picture's rate, bits per second, of `wanted_bps` at most, from what these links have counted by now; `sent_bps` is
    /// the present one, of which `thin` links get only a part. To be called once a second.
    pub(crate) fn observe(
        &mut self,
        wanted_bps: u32,
        sent_bps: u32,
        links: &[(LinkId, LinkStats)],
        thin: &BTreeSet<LinkId>,
    ) -> u32 {
        let wanted = f64::from(wanted_bps);
        self.paths.retain(|link, _| links.iter().any(|(known, _)| known == link));
        for (link, stats) in links {
            let path =
                self.paths.entry(*link).or_insert_with(|| Path { carries_bps: wanted, ..Path::default() });
            path.observe(f64::from(sent_bps), stats, thin.contains(link));
            // no lower than a step below the least rate, or it would take minutes to come back from there
            path.carries_bps = path.carries_bps.clamp(wanted * SHARE_MIN * FALL, wanted);
        }
        let mut carried: Vec<f64> = self.paths.values().map(|path| path.carries_bps).collect();
        carried.sort_unstable_by(f64::total_cmp);
        let carried = worst_but_a_quarter(&carried).unwrap_or(wanted);
        carried.clamp(wanted * SHARE_MIN, wanted) as u32
    }

    /// Whether the picture's rate is more than a link carries: of the quarter that isn't waited for, or a link that wasn't
    /// looked at.
    pub(crate) fn leaves_behind(&self, link: LinkId, sent_bps: u32) -> bool {
        self.paths.get(&link).is_none_or(|path| path.carries_bps < f64::from(sent_bps))
    }
}

impl Path {
    fn observe(&mut self, sent_bps: f64, stats: &LinkStats, thin: bool) {
        match self.fullness.observe(stats) {
            Some(Full::Over) => self.carries_bps = sent_bps.min(self.carries_bps) * FALL,
            // what isn't sent proves nothing
            Some(Full::Easy) if !thin => {
                self.carries_bps = (self.carries_bps * RISE).min(sent_bps * 2.0).max(self.carries_bps);
            }
            _ => {}
        }
    }
}

impl Fullness {
    /// To be called once a second.
    pub(crate) fn observe(&mut self, stats: &LinkStats) -> Option<Full> {
        if let Some(rtt_us) = stats.rtt_us {
            self.rtts_us.push_back(rtt_us);
            self.rtts_us.drain(..self.rtts_us.len().saturating_sub(LOOKS));
        }
        let before = self.before.replace(*stats)?;
        let lost = share_lost(&before, stats)?;
        let least_us = self.rtts_us.iter().min().copied().unwrap_or_default();
        let queue_us = stats.rtt_us.unwrap_or_default().saturating_sub(least_us);
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

    /// Share of packets that got lost, at the last look that could tell.
    pub(crate) fn lost(&self) -> f64 {
        self.lost
    }

    /// Whether packets waited in a queue then, so that what gets lost is too much for the line.
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

    /// Lines that carry so much, lose so much by chance, and have a queue of 200 ms; what the rate leaves behind is thinned.
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

        /// Rates over so many seconds.
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
            self.thinning.observe(&links, may);
            self.sent_bps
        }
    }

    #[test]
    fn lines_that_carry_it_get_all_that_is_wanted() {
        assert!(Lines::new(&[(9_000_000, 0.0); 5]).run(60).iter().all(|bps| *bps == WANTED_BPS));
        assert_eq!(
            ProgramRate::default().observe(WANTED_BPS, WANTED_BPS, &[], &BTreeSet::new()),
            WANTED_BPS,
            "nobody watches"
        );
    }

    #[test]
    fn one_slow_answer_is_no_queue() {
        let mut lines = Lines::new(&[(9_000_000, 0.0)]);
        for second in 0..60 {
            lines.lines[0].0 = if second % 3 == 0 { 100_000 } else { 9_000_000 };
            assert_eq!(lines.second(), WANTED_BPS);
        }
    }

    #[test]
    fn loss_by_chance_is_no_reason_for_a_worse_picture() {
        assert!(Lines::new(&[(9_000_000, 0.05); 4]).run(60).iter().all(|bps| *bps == WANTED_BPS));
    }

    #[test]
    fn the_rate_falls_to_what_the_lines_carry_and_returns_when_they_carry_more() {
        let mut lines = Lines::new(&[(800_000, 0.0); 3]);
        let rates = lines.run(60);
        assert!(rates[20..].iter().all(|bps| (600_000..=900_000).contains(bps)), "{rates:?}");
        lines.lines.iter_mut().for_each(|(bps, _, _)| *bps = 9_000_000);
        let rates = lines.run(30);
        assert_eq!(rates.last(), Some(&WANTED_BPS), "{rates:?}");
    }

    #[test]
    fn a_quarter_of_the_lines_is_not_waited_for() {
        // nine viewers: two slow ones go without, three don't
        let lines = |slow: usize| (0..9).map(move |at| (if at < slow { 300_000 } else { 9_000_000 }, 0.0));
        let rate_with = |slow| *Lines::new(&lines(slow).collect::<Vec<_>>()).run(60).last().unwrap();
        assert_eq!(rate_with(2), WANTED_BPS);
        assert!(rate_with(3) < 400_000);
    }

    #[test]
    fn lines_that_get_fewer_pictures_do_not_make_the_rate_rise() {
        // of five the two worst go without: the second is the one that the rate is for
        let mut lines = Lines::new(&[300_000, 900_000, 900_000, 900_000, 9_000_000].map(|bps| (bps, 0.02)));
        lines.run(60);
        let rates = lines.run(240);
        let mean = rates.iter().map(|bps| f64::from(*bps)).sum::<f64>() / rates.len() as f64;
        assert!((600e3..950e3).contains(&mean), "{mean}");
    }

    #[test]
    fn the_picture_keeps_a_share_however_bad_the_lines_are() {
        let rates = Lines::new(&[(1_000, 0.9); 2]).run(120);
        assert_eq!(rates.last(), Some(&(WANTED_BPS * 15 / 100)));
    }

    #[test]
    fn lines_that_have_gone_count_no_more() {
        let mut lines = Lines::new(&[(300_000, 0.0), (9_000_000, 0.0)]);
        lines.run(30);
        lines.lines.remove(0);
        lines.lines.insert(0, (9_000_000, 0.0, LinkStats::default()));
        let links = [(LinkId(7), lines.lines[0].2)];
        assert_eq!(lines.rate.observe(WANTED_BPS, lines.sent_bps, &links, &BTreeSet::new()), WANTED_BPS);
    }
}
