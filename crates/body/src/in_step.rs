//! Lip sync: hands pictures and sound to the application with the same delay after capture.
//!
//! Without loss, pictures and sound take about equally long, and are handed over at once. Where losses are
//! repaired, pictures wait behind a missing packet for a round trip and more while sound goes on, or the
//! reverse. Then frames of both kinds are held until the same delay after their capture, so long that nearly
//! all have arrived; frames that arrive later aren't held. Forwarding to children never waits for this.

use plenary_proto::ordered::OrderedMap;
use std::collections::VecDeque;

use plenary_media::Frame;
use plenary_media::jitter::RecentLeast;
use plenary_proto::StreamId;

use crate::maker::lane;
use crate::received::Origin;

/// Number of frames of each kind from which the hold is computed: ten seconds of pictures, six of sound.
const WINDOW: usize = 300;
/// Number of new frames, of both kinds together, after which the hold is computed again.
const JUDGE_EVERY: u32 = 15;
/// Minimum number of frames of each kind for computing the hold.
const JUDGED_MIN: usize = 30;
/// Time after the start of a stream without measurements: the past that a new child is sent doesn't show the
/// transit time.
const SETTLE_US: u64 = 500_000;
/// Seconds, the present one included, within which the quickest frame is searched. A mixer lowers its delay by 10 ms
/// a second, 20 ms within this time; frames later by [`IN_STEP_US`] count as late.
const FLOOR_SPAN_S: u64 = 2;
/// Frames are held if one in `LATE_ONE_IN` takes longer than the quickest by more than `IN_STEP_US`. A burst
/// after a change of parents delays fewer frames, repairs of 2 % loss delay more: each repair also delays the
/// frames behind it.
const LATE_ONE_IN: usize = 6;
const IN_STEP_US: i64 = 30_000;
/// The hold is so long that one frame in `BEHIND_ONE_IN` arrives even later.
const BEHIND_ONE_IN: usize = 25;
/// Maximum hold, microseconds. A guess: a picture that misses a packet may come later still (`PROGRAM_HOLE_US`).
const HOLD_US_MAX: i64 = 600_000;
/// Maximum decrease of the hold per computation: about 10 ms per second, too slow to be seen or heard.
const FALL_US: i64 = 2_000;
/// Maximum number of held frames; past that the first due are handed over.
const HELD_MAX: usize = 160;

/// A frame for the application.
#[derive(Debug)]
pub(crate) struct HeldFrame {
    pub(crate) origin: Origin,
    pub(crate) frame: Frame,
    /// Time at which the frame was complete.
    pub(crate) came_us: u64,
    /// Whether the application already has the frame from another mixer.
    pub(crate) past: bool,
}

/// Stream of one kind, with the transit times (arrival − capture, by two clocks) of its frames.
#[derive(Debug)]
struct Lane {
    stream: Option<StreamId>,
    begun_us: u64,
    /// Transit of the quickest frame that arrived lately.
    quickest_us: RecentLeast,
    /// Excess of each frame's transit over that of the quickest frame of both kinds, oldest first.
    excesses_us: VecDeque<i64>,
    /// Due time of the newest frame; no later frame is due earlier.
    due_us: i64,
}

impl Default for Lane {
    fn default() -> Lane {
        Lane {
            stream: None,
            begun_us: 0,
            quickest_us: RecentLeast::of_seconds(FLOOR_SPAN_S),
            excesses_us: VecDeque::new(),
            due_us: 0,
        }
    }
}

/// Frames that wait for their hand-over.
#[derive(Debug, Default)]
pub(crate) struct InStep {
    lanes: [Lane; 2],
    unjudged: u32,
    /// Delay of all frames beyond the transit of the quickest frame; 0 if frames aren't held.
    hold_us: i64,
    /// Transit of the quickest frame.
    floor_us: i64,
    /// Held frames, by due time and order of arrival.
    held: OrderedMap<(i64, u64), HeldFrame>,
    count: u64,
}

impl InStep {
    /// Adds a frame that arrived at `now_us`; [`pop`](InStep::pop) returns it when it is due.
    pub(crate) fn push(&mut self, held: HeldFrame, now_us: u64) {
        let identity = &held.frame.identity;
        let transit_us = now_us.wrapping_sub(identity.captured_us).cast_signed();
        let at = lane(held.frame.kind);
        let lane = &mut self.lanes[at];
        if lane.stream != Some(identity.stream) {
            // frames held so far are due at once, and don't delay the new stream
            let before = std::mem::take(&mut self.held);
            self.held = before.into_iter().map(|((_, number), held)| ((0, number), held)).collect();
            self.unjudged = 0;
            *lane = Lane { stream: Some(identity.stream), begun_us: now_us, ..Lane::default() };
        }
        if !held.past {
            lane.quickest_us.observe(now_us, transit_us);
        }
        self.lanes.iter_mut().for_each(|lane| lane.quickest_us.forget_old(now_us));
        let quickest_us = self.lanes.iter().filter_map(|lane| lane.quickest_us.least()).min();
        self.floor_us = quickest_us.unwrap_or(transit_us);
        let lane = &mut self.lanes[at];
        if !held.past && now_us.saturating_sub(lane.begun_us) >= SETTLE_US {
            if lane.excesses_us.len() == WINDOW {
                lane.excesses_us.pop_front();
            }
            lane.excesses_us.push_back(transit_us.saturating_sub(self.floor_us));
            self.unjudged += 1;
            if self.unjudged >= JUDGE_EVERY {
                self.unjudged = 0;
                self.judge();
            }
        }
        let due_us = match self.hold_us {
            0 => 0,
            _ if held.past => 0,
            hold_us => {
                let due_us = identity.captured_us.cast_signed().saturating_add(self.floor_us);
                // bounded, because an originator may claim any capture time
                due_us.saturating_add(hold_us).min(now_us.cast_signed().saturating_add(HOLD_US_MAX))
            }
        };
        let due_us = due_us.max(self.lanes[at].due_us);
        self.lanes[at].due_us = due_us;
        self.count += 1;
        self.held.insert((due_us, self.count), held);
    }

    /// Returns the delay from capture to hand-over, microseconds between two clocks; `None` if frames aren't
    /// held.
    pub(crate) fn plan_us(&self) -> Option<i64> {
        (self.hold_us > 0).then(|| self.floor_us.saturating_add(self.hold_us))
    }

    /// Returns the next frame to hand over, in order of due time: one that is due, or any if frames aren't
    /// held or more than [`HELD_MAX`] wait.
    pub(crate) fn pop(&mut self, now_us: u64) -> Option<HeldFrame> {
        let is_due = self.next_due_us()? <= now_us || self.hold_us == 0 || self.held.len() > HELD_MAX;
        is_due.then(|| self.held.pop_first()).flatten().map(|(_, held)| held)
    }

    /// Returns the next frame, due or not; called when the room closes.
    pub(crate) fn pop_any(&mut self) -> Option<HeldFrame> {
        self.held.pop_first().map(|(_, held)| held)
    }

    /// Returns the due time of the next frame.
    pub(crate) fn next_due_us(&self) -> Option<u64> {
        self.held.keys().next().map(|(due_us, _)| u64::try_from(*due_us).unwrap_or(0))
    }

    /// Computes the hold from how much later than the quickest frame those of both kinds arrived.
    fn judge(&mut self) {
        if self.lanes.iter().any(|lane| lane.excesses_us.len() < JUDGED_MIN) {
            return; // too few frames of one kind to compare
        }
        let [mut late_us, mut behind_us] = [i64::MIN; 2];
        for lane in &self.lanes {
            let mut excesses_us: Vec<i64> = lane.excesses_us.iter().copied().collect();
            let most = excesses_us.len() - 1;
            let mut but_one_in = |share: usize| *excesses_us.select_nth_unstable(most - most / share).1;
            late_us = late_us.max(but_one_in(LATE_ONE_IN));
            behind_us = behind_us.max(but_one_in(BEHIND_ONE_IN));
        }
        let wanted_us = if late_us > IN_STEP_US { behind_us } else { 0 };
        self.hold_us = wanted_us.max(self.hold_us - FALL_US).clamp(0, HOLD_US_MAX);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use plenary_proto::identity::{FrameIdentity, MediaKind};

    use super::*;

    const MS: u64 = 1_000;

    fn held(kind: MediaKind, stream: u8, captured_us: u64) -> HeldFrame {
        let stream = StreamId([stream; 8]);
        let identity = FrameIdentity::single(stream, 1, captured_us);
        let frame = Frame { kind, identity, data: Bytes::new(), level: None };
        HeldFrame { origin: Origin::Program, frame, came_us: 0, past: false }
    }

    /// Plays the given seconds of a stream. `arrives` returns the arrival time for a kind and a capture time,
    /// both in microseconds. Returns kind, capture time and hand-over time of each frame.
    fn play(
        in_step: &mut InStep,
        stream: u8,
        seconds: std::ops::Range<u64>,
        arrives: impl Fn(MediaKind, u64) -> u64,
    ) -> Vec<(MediaKind, u64, u64)> {
        let mut coming: OrderedMap<u64, Vec<HeldFrame>> = OrderedMap::new();
        for (kind, every_us) in [(MediaKind::Video, 33_333), (MediaKind::Sound, 20_000)] {
            for captured_us in (seconds.start * 1_000_000..seconds.end * 1_000_000).step_by(every_us) {
                let at_us = arrives(kind, captured_us) / MS * MS;
                coming.entry(at_us).or_default().push(held(kind, stream, captured_us));
            }
        }
        let (mut given, end) = (Vec::new(), seconds.end * 1_000 + 1_000);
        for now_us in (seconds.start * 1_000..end).map(|ms| ms * MS) {
            coming.remove(&now_us).into_iter().flatten().for_each(|held| in_step.push(held, now_us));
            while let Some(held) = in_step.pop(now_us) {
                given.push((held.frame.kind, held.frame.identity.captured_us, now_us));
            }
        }
        given
    }

    /// Returns the 95th percentile of the difference in delay between a picture and the newest sound.
    fn skew_us(given: &[(MediaKind, u64, u64)]) -> u64 {
        let (mut sound_us, mut skews) = (None, Vec::new());
        for (kind, captured_us, at_us) in given {
            let took_us = at_us - captured_us;
            match kind {
                MediaKind::Sound => sound_us = Some(took_us),
                MediaKind::Video => skews.extend(sound_us.map(|sound_us: u64| sound_us.abs_diff(took_us))),
            }
        }
        skews.sort_unstable();
        skews[skews.len() * 95 / 100]
    }

    /// Returns the arrival time if every sixth picture and every twentieth frame of sound is repaired, and
    /// delays the frames behind it.
    fn repaired(kind: MediaKind, captured_us: u64) -> u64 {
        let (every_us, one_in) = match kind {
            MediaKind::Video => (33_333, 6),
            MediaKind::Sound => (20_000, 20),
        };
        let number = captured_us / every_us;
        let hole_us = (number - number % one_in) * every_us + 105_000;
        (captured_us + 50_000).max(hole_us + 50_000)
    }

    #[test]
    fn pictures_and_sound_are_handed_over_in_step_while_losses_are_repaired() {
        let mut in_step = InStep::default();
        let unheld_us = skew_us(&play(&mut InStep::default(), 1, 0..2, repaired));
        assert!(unheld_us > 80_000, "{unheld_us}");
        play(&mut in_step, 1, 0..8, repaired);
        let given = play(&mut in_step, 1, 8..20, repaired);
        assert!(skew_us(&given) <= 5_000, "{}", skew_us(&given));
        let latest = given.iter().map(|(_, captured_us, at_us)| at_us - captured_us).max().unwrap();
        assert!(latest < 170_000, "no frame waits longer than the slowest: {latest}");
        let captured = |kind| given.iter().filter(move |frame| frame.0 == kind).map(|frame| frame.1);
        assert!(captured(MediaKind::Video).is_sorted() && captured(MediaKind::Sound).is_sorted());
    }

    #[test]
    fn without_loss_no_frame_is_held_even_after_an_outage() {
        let arrives = |kind: MediaKind, captured_us: u64| {
            let way_us = if kind == MediaKind::Video { 45_000 } else { 30_000 };
            let outage = (5_000_000..5_500_000).contains(&captured_us);
            if outage { 5_500_000 + way_us } else { captured_us + way_us }
        };
        let mut in_step = InStep::default();
        let given = play(&mut in_step, 1, 0..20, arrives);
        for (kind, captured_us, at_us) in given {
            assert!(at_us <= arrives(kind, captured_us), "{captured_us} at {at_us}");
        }
        assert_eq!(in_step.hold_us, 0);
    }

    #[test]
    fn a_mixer_that_lowers_its_delay_slowly_makes_no_frame_wait() {
        // from 12 s on the program is handed over 10 ms earlier each second, until 22 s
        let arrives = |kind: MediaKind, captured_us: u64| {
            let way_us = if kind == MediaKind::Video { 35_000 } else { 30_000 };
            captured_us + way_us + 220_000 - captured_us.clamp(12_000_000, 22_000_000) / 100
        };
        let mut in_step = InStep::default();
        for (kind, captured_us, at_us) in play(&mut in_step, 1, 0..40, arrives) {
            assert!(at_us <= arrives(kind, captured_us), "{captured_us} at {at_us}");
        }
    }

    #[test]
    fn a_new_stream_is_held_like_the_previous_one_even_if_its_clock_differs() {
        let mut in_step = InStep::default();
        play(&mut in_step, 1, 0..10, repaired);
        let hold_us = in_step.hold_us;
        assert!(hold_us > 0);
        // by the new originator's clock, capture times are 300 ms earlier
        let given = play(&mut in_step, 2, 12..16, |kind, captured_us| repaired(kind, captured_us) + 300_000);
        assert!(given.iter().all(|(_, captured_us, at_us)| at_us - captured_us <= 500_000));
        assert!(skew_us(&given[given.len() / 2..]) <= 20_000, "{}", skew_us(&given[given.len() / 2..]));
    }

    #[test]
    fn past_frames_of_a_new_stream_are_not_held_and_frames_stay_in_order() {
        let mut in_step = InStep::default();
        play(&mut in_step, 1, 0..10, repaired);
        let (now_us, mut given) = (10_000_000, Vec::new());
        for (stream, captured_us, past) in [
            (1, 9_950_000, false),
            (2, 8_000_000, true),
            (2, 8_033_333, true),
            (2, 9_966_666, false),
            (2, 9_983_333, false),
        ] {
            in_step.push(HeldFrame { past, ..held(MediaKind::Video, stream, captured_us) }, now_us);
            given.extend(
                std::iter::from_fn(|| in_step.pop(now_us)).map(|held| held.frame.identity.captured_us),
            );
        }
        assert_eq!(given, [9_950_000, 8_000_000, 8_033_333]);
        let last_us = in_step.held.keys().last().map(|(due_us, _)| *due_us).unwrap();
        assert!(last_us < 10_200_000, "{last_us}");
        let waiting = std::iter::from_fn(|| in_step.pop(last_us as u64));
        assert!(waiting.map(|held| held.frame.identity.captured_us).eq([9_966_666, 9_983_333]));
    }

    #[test]
    fn a_false_capture_time_delays_frames_no_longer_than_the_maximum_hold() {
        let mut in_step = InStep::default();
        play(&mut in_step, 1, 0..10, repaired);
        for captured_us in [u64::MAX, u64::MAX / 2, 1 << 63, 0, 20_000_000] {
            for _ in 0..2 * WINDOW {
                in_step.push(held(MediaKind::Video, 1, captured_us), 10_000_000);
                in_step.push(held(MediaKind::Sound, 1, captured_us), 10_000_000);
                while in_step.pop(10_000_000).is_some() {}
            }
        }
        let latest_us = 10_000_000 + HOLD_US_MAX as u64;
        while in_step.pop(latest_us).is_some() {}
        assert!(in_step.held.is_empty());
    }

    #[test]
    fn held_frames_are_bounded_and_are_all_returned_at_the_end() {
        let mut in_step = InStep::default();
        play(&mut in_step, 1, 0..10, repaired);
        for at in 0..1_000 {
            in_step.push(held(MediaKind::Sound, 1, 20_000_000 + at), 10_000_000);
            while in_step.pop(10_000_000).is_some() {}
            assert!(in_step.held.len() <= HELD_MAX);
        }
        assert_eq!(std::iter::from_fn(|| in_step.pop_any()).count(), HELD_MAX);
    }
}
