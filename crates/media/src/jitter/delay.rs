//! How long a speaker's sound should be held.

use std::collections::VecDeque;

use super::clock_map::TRANSIT_US_MAX;
use crate::SOUND_FRAME_US;

/// Held at least, on a clean link.
pub const HOLD_US_MIN: u64 = 40_000;
/// Held at most, whatever the link does.
pub const HOLD_US_MAX: u64 = 250_000;
/// Frames judged: 10 s. A guess: long enough for 0.2 % to be a number, short enough to forget.
const WINDOW: usize = 500;
/// From this share of frames on that were lost, or late for the shortest hold, the link counts as lossy: 0.2 %.
const LOSSY_ONE_IN: usize = 500;
/// One mishap is none.
const LOSSY_COUNT_MIN: usize = 2;
/// The delay is judged anew after this many frames: 100 ms.
const JUDGE_EVERY: u32 = 5;
/// After a change of path it is not judged before this many have come: 2 s. A guess: the p95 of fewer is made by
/// the commotion of the change.
const JUDGED_ANEW_AFTER: u32 = 100;
/// At a change of path the delay is judged by so many frames: 500 ms. A guess: what a room's opening stirred up
/// is over by then.
const LATEST: usize = 25;
/// The delay falls by 10 ms in a second, as fast as the program follows. A guess: slower than anybody hears.
const FALL_US: u64 = 10_000 * SOUND_FRAME_US * JUDGE_EVERY as u64 / 1_000_000;

/// What came of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transit {
    /// Arrival − capture, microseconds.
    Took(i64),
    /// It was missing when its successor came.
    Missing,
    /// It was never sent: nobody spoke. It only takes its time.
    LeftOut,
}

#[derive(Debug)]
pub(super) struct Delay {
    /// Of the newest frames.
    transits: VecDeque<Transit>,
    rtt_us: u64,
    /// Sound is taken by so much before its time.
    ahead_us: u64,
    current_us: u64,
    unjudged: u32,
    /// Frames still to come before the delay is judged.
    unsettled: u32,
}

impl Default for Delay {
    fn default() -> Delay {
        Delay {
            transits: VecDeque::new(),
            rtt_us: 0,
            ahead_us: 0,
            current_us: HOLD_US_MIN,
            unjudged: 0,
            unsettled: 0,
        }
    }
}

impl Delay {
    pub(super) fn current_us(&self) -> u64 {
        self.current_us
    }

    pub(super) fn set_rtt_us(&mut self, rtt_us: u64) {
        self.rtt_us = rtt_us;
    }

    pub(super) fn set_ahead_us(&mut self, ahead_us: u64) {
        self.ahead_us = ahead_us;
    }

    /// Forgets how it was until now. The delay goes on from what the latest frames needed.
    pub(super) fn forget(&mut self) {
        self.transits.retain(|transit| *transit != Transit::LeftOut);
        self.transits.drain(..self.transits.len().saturating_sub(LATEST));
        self.current_us = self.wanted_us();
        self.transits.clear();
        self.unsettled = JUDGED_ANEW_AFTER;
    }

    pub(super) fn missed(&mut self, count: u32) {
        for _ in 0..count.min(WINDOW as u32) {
            self.remember(Transit::Missing);
        }
    }

    /// So many frames weren't sent, since nobody spoke.
    pub(super) fn left_out(&mut self, count: u32) {
        let count = count.min(WINDOW as u32);
        for _ in 0..count {
            self.remember(Transit::LeftOut);
        }
        let settling = count.min(self.unsettled);
        self.unsettled -= settling;
        self.unjudged += count - settling;
    }

    pub(super) fn arrived(&mut self, transit_us: i64) {
        self.remember(Transit::Took(transit_us));
        self.unsettled = self.unsettled.saturating_sub(1);
        if self.unsettled > 0 {
            return;
        }
        self.unjudged += 1;
        if self.unjudged >= JUDGE_EVERY || self.transits.len() < JUDGE_EVERY as usize {
            let wanted_us = self.wanted_us();
            let fall_us = FALL_US * u64::from((self.unjudged / JUDGE_EVERY).max(1));
            self.current_us = wanted_us.max(self.current_us.saturating_sub(fall_us));
            self.unjudged = 0;
        }
    }

    fn remember(&mut self, transit: Transit) {
        if self.transits.len() == WINDOW {
            self.transits.pop_front();
        }
        self.transits.push_back(transit);
    }

    fn wanted_us(&self) -> u64 {
        let took = |transit: &Transit| match transit {
            Transit::Took(transit_us) => Some(*transit_us),
            Transit::Missing | Transit::LeftOut => None,
        };
        let mut jitters: Vec<i64> = self.transits.iter().filter_map(took).collect();
        let Some(floor_us) = jitters.iter().min().copied() else { return HOLD_US_MIN };
        for transit in &mut jitters {
            *transit = transit.saturating_sub(floor_us);
        }
        let late = jitters.iter().filter(|&&jitter| jitter > HOLD_US_MIN as i64).count();
        let missing = self.transits.iter().filter(|transit| **transit == Transit::Missing).count();
        let disturbed = missing + late;
        let lossy = disturbed >= LOSSY_COUNT_MIN && disturbed * LOSSY_ONE_IN > self.transits.len();
        let rank = jitters.len() * 95 / 100;
        let (_, p95, _) = jitters.select_nth_unstable(rank);
        let repair_us = if lossy { self.rtt_us.saturating_mul(6) / 5 } else { 0 };
        let needed_us = repair_us.saturating_add(p95.unsigned_abs()).saturating_add(self.ahead_us);
        let hold_us = needed_us.clamp(HOLD_US_MIN, HOLD_US_MAX);
        // Whoever claims to be further away than the clock map allows only makes itself late.
        hold_us.saturating_add_signed(floor_us.clamp(0, TRANSIT_US_MAX))
    }
}
