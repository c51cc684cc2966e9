//! Live media in the scores: what arrives from the candidates outside measurements.
//!
//! The bitrate that arrives is a lower bound of an uplink, where trains beside media show less. How much of the
//! requested media arrives is the earliest sign that an uplink has become too narrow, or that another program
//! takes a part of it.

use std::cmp::Reverse;

use crate::message::{Claim, MediaSeen, Report};

/// Percentage of the media requested of a sitting mixer below which it sags: it loses bonus and hysteresis,
/// and the bandwidth known from its election no longer counts. A guess: a link that gets half of the pictures
/// gets two thirds of the packets, and repairs of 5 % loss leave more than 95 %.
const SAGS_PERCENT: u8 = 80;

/// Whether much less of the media requested of a mixer arrives.
pub(super) fn sags(delivered_percent: Option<u8>) -> bool {
    delivered_percent.is_some_and(|percent| percent < SAGS_PERCENT)
}

/// Returns the percentage that counts for candidates without media: the median of the others', so that a few lies
/// don't change it; 100 if there are no others.
pub(super) fn usual_percent(delivered: impl Iterator<Item = u8>) -> u8 {
    let mut delivered: Vec<_> = delivered.collect();
    delivered.sort_unstable();
    delivered.get(delivered.len() / 2).copied().unwrap_or(100)
}

/// What live media shows of a candidate.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LiveMedia {
    /// Bitrate that arrived at all measurers together, in bits per second; `None` if none of them received any.
    pub(super) bitrate_bps: Option<u64>,
    /// Lower bound of the uplink, in bits per second.
    pub(super) uplink_bps: u64,
    /// How much of the requested media arrived, in percent; `None` if unknown.
    pub(super) delivered_percent: Option<u8>,
}

impl LiveMedia {
    /// Evaluates the reports of a candidate, one per measurer, and its claim.
    pub(super) fn of<'a>(
        reports: impl ExactSizeIterator<Item = &'a Report>,
        claim: Option<&Claim>,
    ) -> LiveMedia {
        let measurers = reports.len();
        let seen: Vec<MediaSeen> = reports.filter_map(|report| report.media).collect();
        let bitrates: Vec<_> = seen.iter().map(|media| media.bitrate_bps).collect();
        let arrived = seen.iter().filter_map(|media| media.arrived_percent).collect();
        let delivered_percent = delivered_percent(arrived, measurers, claim);
        LiveMedia {
            bitrate_bps: bitrates.iter().copied().reduce(u64::saturating_add),
            uplink_bps: uplink_bps(bitrates, measurers),
            delivered_percent,
        }
    }
}

/// Returns the uplink that bitrates at some of the measurers show, in bits per second. The sum over the `n`
/// measurers with the highest bitrates is at least `n` times the lowest of these; a majority must be among
/// them, so that a few liars can't raise the figure far.
fn uplink_bps(mut bitrates: Vec<u64>, measurers: usize) -> u64 {
    bitrates.sort_unstable_by_key(|bps| Reverse(*bps));
    let of_majority = bitrates.iter().zip(1..).filter(|(_, count)| 2 * count > measurers as u64);
    of_majority.map(|(bps, count)| bps.saturating_mul(count)).max().unwrap_or(0)
}

/// Returns how much of the media requested of a candidate arrived, in percent: the lower figure of its measurers'
/// agreement and its own claim. Measurers without a figure count as satisfied: `arrived` are the others'
/// figures. So a majority is needed to lower it, of two both. A single measurer is not enough: the
/// sitting mixer may measure its rival.
fn delivered_percent(mut arrived: Vec<u8>, measurers: usize, claim: Option<&Claim>) -> Option<u8> {
    let is_known = !arrived.is_empty() && measurers > 1;
    arrived.resize(measurers, 100);
    arrived.sort_unstable();
    let agreed = is_known.then(|| arrived[measurers / 2]);
    let claimed = claim.map(|claim| claim.rate_percent).filter(|percent| *percent < 100);
    agreed.into_iter().chain(claimed).min().map(|percent| percent.min(100))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_uplink_is_at_least_what_a_majority_of_the_measurers_receives() {
        for (bitrates, measurers, expected) in [
            (&[][..], 3, 0),
            (&[2, 2, 2], 3, 6),
            (&[2, 2], 3, 4),
            (&[2], 3, 0),
            (&[2], 1, 2),
            (&[1_000, 2, 2], 3, 6),
            (&[1_000, 1_000, 2, 2, 2], 5, 10),
            (&[9, 9, 1], 3, 18),
            (&[u64::MAX; 2], 2, u64::MAX),
        ] {
            assert_eq!(uplink_bps(bitrates.to_vec(), measurers), expected, "{bitrates:?} of {measurers}");
        }
    }

    #[test]
    fn one_measurer_alone_cannot_say_that_media_is_missing() {
        for (arrived, measurers, claimed, expected) in [
            (&[][..], 3, 100, None),
            (&[10], 1, 100, None),
            (&[10], 2, 100, Some(100)),
            (&[10], 3, 100, Some(100)),
            (&[10, 90], 2, 100, Some(90)),
            (&[10, 90], 3, 100, Some(90)),
            (&[10, 90, 100], 3, 100, Some(90)),
            (&[10, 20], 5, 100, Some(100)),
            (&[10, 60, 62, 70, 100], 5, 100, Some(62)),
            (&[10, 20, 90, 100], 4, 100, Some(90)),
            (&[100, 100, 100], 3, 60, Some(60)),
            (&[50, 50, 50], 3, 60, Some(50)),
            (&[], 0, 60, Some(60)),
            (&[255, 255], 2, 255, Some(100)),
        ] {
            let claim = Claim { rate_percent: claimed, ..crate::samples::claim() };
            let found = delivered_percent(arrived.to_vec(), measurers, Some(&claim));
            assert_eq!(found, expected, "{arrived:?} of {measurers}, {claimed}");
        }
    }
}
