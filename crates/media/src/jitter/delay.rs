//! Delay estimate of the jitter buffer: how long to hold a speaker's sound.

use std::collections::VecDeque;

use super::clock_map::TRANSIT_US_MAX;
use crate::SOUND_FRAME_US;

/// Shortest hold time, used on a clean link.
pub const HOLD_US_MIN: u64 = 40_000;
/// Longest hold time, on any link.
pub const HOLD_US_MAX: u64 = 250_000;
/// Window of the delay estimate in frames: 10 s. A guess: long enough to measure 0.2 % of loss, short enough
/// to forget a bad phase.
const WINDOW: usize = 500;
/// Threshold of a lossy link: more than one frame in 500 (0.2 %) missing. Also the share of frames that may arrive
/// later than they are held on a link without losses.
const LOSSY_ONE_IN: usize = 500;
/// Fewest missing frames of a lossy link: a single one doesn't count.
const LOSSY_COUNT_MIN: usize = 2;
/// Decrease of the transit from one frame to the next that shows that they arrived together: half of a frame.
const QUEUED_US: i64 = SOUND_FRAME_US as i64 / 2;
/// Interval of the delay estimate in frames: 100 ms.
const JUDGE_EVERY: u32 = 5;
/// Frames after a change of path until the delay is estimated again: 2 s. A guess: with fewer frames the 95th
/// percentile mostly measures the disturbance of the change itself.
const JUDGED_ANEW_AFTER: u32 = 100;
/// Latest frames that set the delay at a change of path: 500 ms. A guess: jitter from the opening of a room
/// lies before that.
const LATEST: usize = 25;
/// Decrease of the delay per estimate, 10 ms per second, the rate at which the program's delay falls. A
/// guess: slow enough to be inaudible.
const FALL_US: u64 = 10_000 * SOUND_FRAME_US * JUDGE_EVERY as u64 / 1_000_000;

/// Outcome of one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transit {
    /// The frame arrived; arrival − capture, in microseconds.
    Took(i64),
    /// The same for a frame that arrived together with its predecessor: a standstill had held up both.
    Queued(i64),
    /// The frame was missing when its successor arrived.
    Missing,
    /// DTX omitted the frame. It only takes up its time in the window.
    LeftOut,
}

#[derive(Debug)]
pub(super) struct Delay {
    /// Outcomes of the newest frames.
    transits: VecDeque<Transit>,
    rtt_us: u64,
    /// Lead by which sound is pulled before its due time.
    ahead_us: u64,
    current_us: u64,
    unjudged: u32,
    /// Frames left until the delay is estimated after a change of path.
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

    /// Clears the history. The delay becomes what the latest frames need.
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

    /// Counts frames that DTX omitted.
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
        let before_us = match self.transits.back() {
            Some(Transit::Took(before_us) | Transit::Queued(before_us)) => *before_us,
            _ => transit_us,
        };
        let is_queued = before_us.saturating_sub(transit_us) > QUEUED_US;
        self.remember(if is_queued { Transit::Queued(transit_us) } else { Transit::Took(transit_us) });
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
            Transit::Took(transit_us) | Transit::Queued(transit_us) => Some(*transit_us),
            Transit::Missing | Transit::LeftOut => None,
        };
        let Some(floor_us) = self.transits.iter().filter_map(took).min() else { return HOLD_US_MIN };
        let missing = self.transits.iter().filter(|transit| **transit == Transit::Missing).count();
        let lossy = missing >= LOSSY_COUNT_MIN && missing * LOSSY_ONE_IN > self.transits.len();
        // a standstill of 300 ms makes fifteen frames late, and is one event all the same
        let counts = |transit: &&Transit| lossy || !matches!(transit, Transit::Queued(_));
        let counted = self.transits.iter().filter(counts).filter_map(took);
        let mut jitters: Vec<i64> = counted.map(|transit_us| transit_us.saturating_sub(floor_us)).collect();
        // On a lossy link the latest frames are the repaired ones, which the round trip covers.
        let late_max = if lossy { jitters.len() / 20 } else { (jitters.len() / LOSSY_ONE_IN).max(1) };
        let rank = jitters.len().saturating_sub(1 + late_max);
        // a false sender's frames may all seem queued
        let jitter_us = if jitters.is_empty() { 0 } else { *jitters.select_nth_unstable(rank).1 };
        let repair_us = if lossy { self.rtt_us.saturating_mul(6) / 5 } else { 0 };
        let needed_us = repair_us.saturating_add(jitter_us.unsigned_abs()).saturating_add(self.ahead_us);
        let hold_us = needed_us.clamp(HOLD_US_MIN, HOLD_US_MAX);
        // The floor is clamped like the clock map's: a sender that claims to be further away only delays
        // itself.
        hold_us.saturating_add_signed(floor_us.clamp(0, TRANSIT_US_MAX))
    }
}
