//! Thinning: a child on a link that doesn't carry all pictures gets only the base temporal layer.
//!
//! Each child's link is judged once a second, as in [`crate::rate`]. An overfull link gets only the pictures
//! that other pictures refer to, which are half of them, until it has not been overfull for a while. If it
//! becomes overfull again soon after that, the next wait is twice as long. A browser's link is thinned again at the
//! first check that finds a queue, not at the third: browsers ask for each packet that overflows it, which fills it
//! further. If a thinned link still loses as great a share of its fewer packets, without a queue, the loss is random;
//! the link then gets all pictures again. Sound is never thinned.

use plenary_proto::ordered::{OrderedMap, OrderedSet};

use plenary_proto::packet::{LinkId, LinkStats};

use crate::page_uplink::SETTLED_LOOKS;
use crate::rate::{Full, Fullness};

/// Checks without overload after which all pictures are tried again. A guess.
const CALM_LOOKS_MIN: u32 = 10;
/// Number of consecutive checks with almost no loss after which the losses were a burst that is over, where no queue
/// was seen. A relay that feeds a whole branch lost half of the pictures for ten seconds by a burst of one. A guess.
const EASY_LOOKS: u32 = 3;
/// Upper limit of that number, which doubles with each failed attempt. A guess: one attempt degrades 2 to 4 s
/// of each such period.
const CALM_LOOKS_MAX: u32 = 160;
/// An attempt to send all pictures again has failed if the link is overloaded within this many checks. A guess.
const ATTEMPT_LOOKS: u32 = 30;
/// Number of checks over which a trial measures whether thinning reduces the loss. A guess.
const TRIAL_LOOKS: u32 = 10;
/// Thinning does not help if at least this share of the loss remains. On a link that carries two thirds of
/// all packets, thinning leaves no loss.
const STAYS_MIN: f64 = 0.7;
/// Loss above this share is never taken as random.
const CHANCE_MAX: f64 = 0.2;
/// Factor by which random loss varies.
const CHANCE_MORE: f64 = 1.5;

#[derive(Debug)]
struct Path {
    fullness: Fullness,
    /// Checks so far.
    looks: u32,
    is_thin: bool,
    /// Checks without overload while the link is thinned, since the last overload.
    calm: u32,
    /// Number of such checks after which all pictures are tried again.
    wait: u32,
    /// Number of consecutive checks with almost no loss while the link is thinned; `None` where they don't count, since
    /// a queue was seen after the link's begin, or an attempt has failed.
    easy: Option<u32>,
    /// Checks since all pictures were tried again.
    tried: Option<u32>,
    trial: Option<Trial>,
    /// Random loss: share of packets that the link loses however few are sent.
    by_chance: f64,
}

/// Trial of whether thinning reduces the loss.
#[derive(Debug)]
struct Trial {
    lost_before: f64,
    /// Sum of the loss of all checks of the trial.
    lost_sum: f64,
    looks: u32,
    /// Whether packets waited in a queue before or during the trial.
    queues: bool,
}

impl Default for Path {
    fn default() -> Path {
        Path {
            fullness: Fullness::default(),
            looks: 0,
            is_thin: false,
            calm: 0,
            wait: CALM_LOOKS_MIN,
            easy: None,
            tried: None,
            trial: None,
            by_chance: 0.0,
        }
    }
}

/// Tracks which children's links are thinned.
#[derive(Debug, Default)]
pub(crate) struct Thinning {
    paths: OrderedMap<LinkId, Path>,
}

impl Thinning {
    /// Updates all links from their counters, and returns the links to thin. Only links for which `may` is
    /// true begin to be thinned. To be called once a second.
    pub(crate) fn observe(
        &mut self,
        links: &[(LinkId, LinkStats)],
        may: impl Fn(LinkId) -> bool,
        is_browser: impl Fn(LinkId) -> bool,
    ) -> OrderedSet<LinkId> {
        self.paths.retain(|link, _| links.iter().any(|(known, _)| known == link));
        for (link, stats) in links {
            self.paths.entry(*link).or_default().observe(stats, may(*link), is_browser(*link));
        }
        self.thin()
    }

    /// Returns the links to thin, by the last check.
    pub(crate) fn thin(&self) -> OrderedSet<LinkId> {
        self.paths.iter().filter(|(_, path)| path.is_thin).map(|(link, _)| *link).collect()
    }
}

impl Path {
    fn observe(&mut self, stats: &LinkStats, may: bool, is_browser: bool) {
        let full = self.fullness.observe(stats);
        self.looks = self.looks.saturating_add(1);
        self.tried = self.tried.map(|looks| looks + 1);
        if !self.is_thin {
            let attempts = self.tried.is_some_and(|looks| looks <= ATTEMPT_LOOKS);
            let overflows = is_browser && attempts && self.fullness.queues();
            if (full == Some(Full::Over) || overflows) && may && !self.loses_by_chance() {
                let failed = attempts;
                self.tried = None;
                self.wait = if failed { (2 * self.wait).min(CALM_LOOKS_MAX) } else { CALM_LOOKS_MIN };
                (self.is_thin, self.calm) = (true, 0);
                let begins = self.looks <= SETTLED_LOOKS && stats.queue_us > 0;
                self.easy = (!failed && (begins || !self.fullness.queues())).then_some(0);
                self.trial = Some(Trial::new(&self.fullness));
            }
            return;
        }
        if let Some(trial) = &mut self.trial
            && let Some(by_chance) = trial.observe(&self.fullness)
        {
            self.by_chance = by_chance;
            self.is_thin = by_chance < trial.lost_before * STAYS_MIN;
            self.trial = None;
            if !self.is_thin {
                return;
            }
        }
        // calm is anything but overload, not `Full::Easy`: a link with 5 % random loss is never easy
        self.calm = if full == Some(Full::Over) && !self.loses_by_chance() { 0 } else { self.calm + 1 };
        self.easy = self.easy.map(|looks| if full == Some(Full::Easy) { looks + 1 } else { 0 });
        if self.calm >= self.wait || self.easy >= Some(EASY_LOOKS) {
            (self.is_thin, self.tried) = (false, Some(0));
        }
    }

    fn loses_by_chance(&self) -> bool {
        !self.fullness.queues() && self.fullness.lost() <= self.by_chance * CHANCE_MORE
    }
}

impl Trial {
    fn new(full: &Fullness) -> Trial {
        Trial { lost_before: full.lost(), lost_sum: 0.0, looks: 0, queues: full.queues() }
    }

    /// Returns the link's random loss at the end of the trial; `None` before, or if the loss is too high or a
    /// queue was seen.
    fn observe(&mut self, full: &Fullness) -> Option<f64> {
        self.queues |= full.queues();
        self.lost_sum += full.lost();
        self.looks += 1;
        let lost = self.lost_sum / f64::from(self.looks);
        (self.looks == TRIAL_LOOKS && !self.queues && lost <= CHANCE_MAX).then_some(lost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINK: LinkId = LinkId(7);
    /// Packets sent per second, and those of the base temporal layer.
    const PACKETS: u64 = 200;
    const NEEDED: u64 = 120;

    /// Link that carries a number of packets per second, and loses a percentage at random.
    struct Line {
        thinning: Thinning,
        carries: u64,
        loses_percent: u64,
        stats: LinkStats,
        may: bool,
        is_browser: bool,
    }

    impl Line {
        fn new(carries: u64) -> Line {
            Line {
                thinning: Thinning::default(),
                carries,
                loses_percent: 0,
                stats: LinkStats::default(),
                may: true,
                is_browser: false,
            }
        }

        /// Runs for some seconds; returns in which of them the link was thinned.
        fn run(&mut self, seconds: usize) -> Vec<bool> {
            let mut thin = false;
            (0..seconds)
                .map(|_| {
                    let sent = if thin { NEEDED } else { PACKETS };
                    self.stats.packets_sent += sent;
                    self.stats.repairs_sent +=
                        sent.saturating_sub(self.carries) + sent * self.loses_percent / 100;
                    self.stats.queue_us = if self.is_browser && sent > self.carries { 150_000 } else { 0 };
                    let (may, is_browser) = (self.may, self.is_browser);
                    let thinned = self.thinning.observe(&[(LINK, self.stats)], |_| may, |_| is_browser);
                    thin = thinned.contains(&LINK);
                    thin
                })
                .collect()
        }
    }

    #[test]
    fn a_link_that_carries_all_pictures_gets_all() {
        assert!(!Line::new(PACKETS).run(100).contains(&true));
        assert!(!Line::new(PACKETS * 95 / 100).run(100).contains(&true), "a radio link");
    }

    #[test]
    fn a_narrow_link_is_thinned_and_tried_less_and_less_often() {
        let mut line = Line::new(NEEDED);
        let thin = line.run(600);
        assert!(thin.iter().position(|thin| *thin).unwrap() <= 4);
        let attempts: Vec<_> = (1..600).filter(|&at| thin[at - 1] && !thin[at]).collect();
        assert!((4..=6).contains(&attempts.len()), "{attempts:?}");
        let apart: Vec<_> = attempts.windows(2).map(|two| two[1] - two[0]).collect();
        assert!(apart.windows(2).all(|two| two[0] <= two[1]) && apart.last() >= Some(&160), "{apart:?}");
        line.carries = PACKETS;
        assert!(!line.run(400).last().unwrap(), "the link is wide again");
    }

    #[test]
    fn a_burst_of_loss_leaves_pictures_out_only_until_it_is_seen_to_be_over() {
        let mut line = Line { loses_percent: 30, ..Line::new(PACKETS) };
        assert_eq!(line.run(4), [false, false, false, true]);
        line.loses_percent = 1;
        let thin = line.run(30);
        assert!((3..8).contains(&thin.iter().filter(|thin| **thin).count()), "{thin:?}");
    }

    #[test]
    fn an_attempt_over_a_browser_s_narrow_link_ends_after_a_second() {
        for (is_browser, seconds) in [(true, 1), (false, 3)] {
            let mut line = Line { is_browser, ..Line::new(NEEDED) };
            let thin = line.run(60);
            let first = thin.iter().position(|thin| *thin).unwrap();
            let attempt: Vec<_> =
                thin[first..].iter().skip_while(|thin| **thin).take_while(|thin| !**thin).collect();
            assert_eq!(attempt.len(), seconds, "{thin:?}");
        }
    }

    #[test]
    fn a_slow_browser_sends_all_pictures_again_as_soon_as_none_waits() {
        let mut line = Line { is_browser: true, ..Line::new(NEEDED) };
        assert!(line.run(5).contains(&true));
        line.carries = PACKETS;
        let thin = line.run(20);
        assert!(thin.iter().filter(|thin| **thin).count() <= 6 && !thin[19], "{thin:?}");
    }

    #[test]
    fn a_link_with_loss_gets_all_pictures_again_once_it_is_wide_enough() {
        let mut line = Line { loses_percent: 5, ..Line::new(NEEDED) };
        assert!(line.run(10).contains(&true));
        line.carries = PACKETS;
        assert!(!line.run(30).last().unwrap());
    }

    #[test]
    fn a_link_with_random_loss_gets_all_pictures_until_it_is_too_narrow() {
        let mut line = Line { loses_percent: 12, ..Line::new(PACKETS) };
        let thin = line.run(120);
        assert!(thin.iter().filter(|thin| **thin).count() <= TRIAL_LOOKS as usize, "{thin:?}");
        line.carries = NEEDED;
        let thin = line.run(60);
        assert!(thin.iter().filter(|thin| **thin).count() >= 45, "{thin:?}");
        line.carries = PACKETS;
        assert!(!line.run(200).last().unwrap(), "the link is wide again");
    }

    #[test]
    fn a_link_that_is_far_too_narrow_stays_thinned() {
        for carries in [PACKETS * 2 / 5, PACKETS / 5, 0] {
            let mut line = Line::new(carries);
            assert!(line.run(120)[5..].iter().all(|thin| *thin), "{carries} packets of {PACKETS}");
        }
    }

    #[test]
    fn a_link_that_the_bitrate_follows_is_not_thinned() {
        let mut line = Line { may: false, ..Line::new(NEEDED) };
        assert!(!line.run(60).contains(&true));
        line.may = true;
        assert!(line.run(5).contains(&true));
    }
}
