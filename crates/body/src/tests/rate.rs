//! The bitrate of a mixer's picture, by the links with its viewers.

use plenary_proto::ordered::OrderedSet;

use plenary_proto::packet::{LinkId, LinkStats};

use crate::rate::ProgramRate;

const WANTED_BPS: u32 = 1_000_000;
const LINK: LinkId = LinkId(1);

/// One link with a viewer.
#[derive(Default)]
struct Line {
    rate: ProgramRate,
    stats: LinkStats,
    thin: OrderedSet<LinkId>,
}

impl Line {
    /// A second passes in which the link loses some of 100 packets, at this round-trip time. Returns the rate.
    fn second(&mut self, lost: u64, rtt_ms: u64) -> u32 {
        self.stats.packets_sent += 100 - lost;
        self.stats.repairs_sent += lost;
        self.stats.rtt_us = Some(rtt_ms * 1_000);
        self.rate.observe(WANTED_BPS, WANTED_BPS, &[(LINK, self.stats)], &self.thin)
    }
}

#[test]
fn a_link_that_loses_a_tenth_in_three_checks_lowers_the_rate_once_in_five() {
    let mut line = Line::default();
    let rates: Vec<_> = (0..9).map(|_| line.second(10, 50)).collect();
    assert_eq!(rates[..4], [1_000_000, 1_000_000, 1_000_000, 850_000]);
    assert_eq!(rates[4..], [850_000, 850_000, 850_000, 850_000, 722_500]);
}

#[test]
fn a_queue_of_100_ms_lowers_the_rate_without_any_loss() {
    for (rtt_ms, rate_bps) in [(149, WANTED_BPS), (150, 850_000)] {
        let mut line = Line::default();
        line.second(0, 50);
        (0..2).for_each(|_| _ = line.second(0, rtt_ms));
        assert_eq!(line.second(0, rtt_ms), rate_bps, "{rtt_ms} ms after 50 ms");
    }
}

#[test]
fn a_link_with_little_loss_raises_the_rate_unless_it_is_thinned() {
    for (thinned, lost, rate_bps) in [(false, 2, 892_500), (false, 3, 850_000), (true, 0, 850_000)] {
        let mut line = Line::default();
        (0..6).for_each(|_| _ = line.second(10, 50));
        line.thin = thinned.then_some(LINK).into_iter().collect();
        assert_eq!(line.second(lost, 50), rate_bps, "thinned: {thinned}, {lost} lost");
        assert!(line.rate.leaves_behind(LINK, WANTED_BPS) && !line.rate.leaves_behind(LINK, rate_bps - 1));
    }
}

#[test]
fn a_link_that_was_never_checked_counts_as_left_behind() {
    let mut line = Line::default();
    assert!(line.rate.leaves_behind(LINK, 1));
    line.second(0, 50);
    assert!(!line.rate.leaves_behind(LINK, WANTED_BPS));
}
