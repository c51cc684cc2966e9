//! Pictures and sound handed to the application in step.
//!
//! Where nothing is lost, both come about as long after their capture, and are handed over at once. Where losses are
//! repaired, pictures wait behind a hole for a round trip and more while sound goes on, or the other way round. Then both
//! are held until the same time after their capture, so late that nearly all have come; whoever comes later isn't held.
//! What is forwarded to children never waits for this.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use plenary_media::Frame;
use plenary_proto::StreamId;
use tokio::sync::Notify;

use super::maker::lane;
use super::outlets::Origin;

/// Frames of a kind that the hold is judged by: ten seconds of pictures, six of sound.
const WINDOW: usize = 300;
/// They are judged each time so many more have come.
const JUDGE_EVERY: u32 = 15;
/// Fewer say nothing.
const JUDGED_MIN: usize = 30;
/// What a newcomer is sent of the past doesn't tell how long the way takes: nothing counts for so long.
const SETTLE_US: u64 = 500_000;
/// Frames are held from where one in `LATE_ONE_IN` comes later than the first by more than `IN_STEP_US`. A burst behind
/// a change of parents is less than that, repairs of 2 % are more: each holds up the frames behind it.
const LATE_ONE_IN: usize = 6;
const IN_STEP_US: i64 = 30_000;
/// And they are held so long that one in so many comes later yet.
const BEHIND_ONE_IN: usize = 25;
/// Longer nobody waits for the others: a hole is given up by then.
const HOLD_US_MAX: i64 = 600_000;
/// The hold is given up again by so much each time it is judged: some 10 ms in a second, slower than anybody sees or hears.
const FALL_US: i64 = 2_000;
/// Frames held at most: past that the oldest are handed over.
const HELD_MAX: usize = 160;

/// A frame for the application.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) origin: Origin,
    pub(super) frame: Frame,
    /// When it was whole.
    pub(super) came_us: u64,
    /// It was there before as another mixer's.
    pub(super) past: bool,
}

/// One kind's stream, and how long its frames took.
#[derive(Debug, Default)]
struct Lane {
    stream: Option<StreamId>,
    begun_us: u64,
    /// Arrival − capture, oldest first; two clocks.
    transits_us: VecDeque<i64>,
    /// The least of this stream as long as there are few of them.
    least_us: Option<i64>,
    /// When its newest frame is due: none overtakes another.
    due_us: i64,
}

impl Lane {
    fn floor_us(&self) -> Option<i64> {
        let judged = || self.transits_us.iter().min().copied();
        if self.transits_us.len() < JUDGED_MIN { self.least_us } else { judged() }
    }
}

/// What waits to be handed over.
#[derive(Debug, Default)]
pub(super) struct InStep {
    lanes: [Lane; 2],
    unjudged: u32,
    /// How much longer than the quickest frame takes all are held; 0 when nobody is.
    hold_us: i64,
    /// The quickest.
    floor_us: i64,
    /// By when they are due, and in which order they came.
    held: BTreeMap<(i64, u64), Held>,
    count: u64,
    /// Something is due where nothing was.
    changed: Arc<Notify>,
}

impl InStep {
    /// Told when [`next_due_us`](InStep::next_due_us) has changed from nothing to something.
    pub(super) fn changed(&self) -> Arc<Notify> {
        self.changed.clone()
    }

    /// Takes a frame that came at `now_us`; [`pop`](InStep::pop) gives it when its time has come.
    pub(super) fn push(&mut self, held: Held, now_us: u64) {
        let identity = &held.frame.identity;
        let transit_us = now_us.wrapping_sub(identity.captured_us).cast_signed();
        let at = lane(held.frame.kind);
        let lane = &mut self.lanes[at];
        if lane.stream != Some(identity.stream) {
            // nothing of the one before is in the way of what follows
            let before = std::mem::take(&mut self.held);
            self.held = before.into_iter().map(|((_, number), held)| ((0, number), held)).collect();
            self.unjudged = 0;
            *lane = Lane { stream: Some(identity.stream), begun_us: now_us, ..Lane::default() };
        }
        if !held.past {
            lane.least_us = lane.least_us.into_iter().chain([transit_us]).min();
        }
        let is_new = lane.transits_us.len() < JUDGED_MIN;
        if !held.past && now_us.saturating_sub(lane.begun_us) >= SETTLE_US {
            if lane.transits_us.len() == WINDOW {
                lane.transits_us.pop_front();
            }
            lane.transits_us.push_back(transit_us);
            self.unjudged += 1;
            if self.unjudged >= JUDGE_EVERY {
                self.unjudged = 0;
                self.judge();
            }
        }
        if is_new {
            self.floor_us = self.quickest_us().unwrap_or(transit_us);
        }
        let due_us = match self.hold_us {
            0 => 0,
            _ if held.past => 0,
            hold_us => {
                let due_us = identity.captured_us.cast_signed().saturating_add(self.floor_us);
                // whatever time a maker claims
                due_us.saturating_add(hold_us).min(now_us.cast_signed().saturating_add(HOLD_US_MAX))
            }
        };
        let due_us = due_us.max(self.lanes[at].due_us);
        self.lanes[at].due_us = due_us;
        if self.held.is_empty() {
            self.changed.notify_one();
        }
        self.count += 1;
        self.held.insert((due_us, self.count), held);
    }

    /// How long after their capture frames are handed over, microseconds between two clocks; `None` where nobody is held.
    pub(super) fn plan_us(&self) -> Option<i64> {
        (self.hold_us > 0).then(|| self.floor_us.saturating_add(self.hold_us))
    }

    /// A frame whose time has come, in the order of their times.
    pub(super) fn pop(&mut self, now_us: u64) -> Option<Held> {
        let is_due = self.next_due_us()? <= now_us || self.hold_us == 0 || self.held.len() > HELD_MAX;
        is_due.then(|| self.held.pop_first()).flatten().map(|(_, held)| held)
    }

    /// Whatever waits, at the end.
    pub(super) fn pop_any(&mut self) -> Option<Held> {
        self.held.pop_first().map(|(_, held)| held)
    }

    /// When the next frame is due.
    pub(super) fn next_due_us(&self) -> Option<u64> {
        self.held.keys().next().map(|(due_us, _)| u64::try_from(*due_us).unwrap_or(0))
    }

    fn quickest_us(&self) -> Option<i64> {
        self.lanes.iter().filter_map(Lane::floor_us).min()
    }

    /// Sees how far apart frames come.
    fn judge(&mut self) {
        if self.lanes.iter().any(|lane| lane.transits_us.len() < JUDGED_MIN) {
            return; // nothing to be in step with
        }
        let [mut late_us, mut behind_us] = [i64::MIN; 2];
        for lane in &self.lanes {
            let mut sorted: Vec<i64> = lane.transits_us.iter().copied().collect();
            sorted.sort_unstable();
            let but_one_in = |share: usize| sorted[(sorted.len() - 1) - (sorted.len() - 1) / share];
            late_us = late_us.max(but_one_in(LATE_ONE_IN));
            behind_us = behind_us.max(but_one_in(BEHIND_ONE_IN));
        }
        let Some(floor_us) = self.quickest_us() else { return };
        self.floor_us = floor_us;
        let is_late = late_us.saturating_sub(floor_us) > IN_STEP_US;
        let wanted_us = if is_late { behind_us.saturating_sub(floor_us) } else { 0 };
        self.hold_us = wanted_us.max(self.hold_us - FALL_US).clamp(0, HOLD_US_MAX);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use plenary_proto::identity::{FrameIdentity, MediaKind};

    use super::*;

    const MS: u64 = 1_000;

    fn held(kind: MediaKind, stream: u8, captured_us: u64) -> Held {
        let stream = StreamId([stream; 8]);
        let identity = FrameIdentity { stream, number: 1, captured_us, temporal: 0, key: false, epoch: 0 };
        let frame = Frame { kind, identity, data: Bytes::new(), level: None };
        Held { origin: Origin::Program, frame, came_us: 0, past: false }
    }

    /// Plays so many seconds of a stream, whose frames come when `arrives` says for each kind and capture time, both in
    /// microseconds; gives kind, capture time and hand-over of each.
    fn play(
        in_step: &mut InStep,
        stream: u8,
        seconds: std::ops::Range<u64>,
        arrives: impl Fn(MediaKind, u64) -> u64,
    ) -> Vec<(MediaKind, u64, u64)> {
        let mut coming: BTreeMap<u64, Vec<Held>> = BTreeMap::new();
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

    /// How far apart picture and newest sound are handed over, after their capture: 95 of 100 are below.
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

    /// Every sixth picture, and every twentieth frame of sound, is repaired, and holds up those behind it.
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
    fn where_repairs_hold_frames_up_pictures_and_sound_are_handed_over_in_step() {
        let mut in_step = InStep::default();
        let without = skew_us(&play(&mut InStep::default(), 1, 0..2, repaired));
        assert!(without > 80_000, "{without}");
        play(&mut in_step, 1, 0..8, repaired);
        let given = play(&mut in_step, 1, 8..20, repaired);
        assert!(skew_us(&given) <= 5_000, "{}", skew_us(&given));
        let latest = given.iter().map(|(_, captured_us, at_us)| at_us - captured_us).max().unwrap();
        assert!(latest < 170_000, "nobody waits longer than the slowest: {latest}");
        let captured = |kind| given.iter().filter(move |one| one.0 == kind).map(|one| one.1);
        assert!(captured(MediaKind::Video).is_sorted() && captured(MediaKind::Sound).is_sorted());
    }

    #[test]
    fn where_nothing_is_lost_nothing_waits_also_behind_an_outage() {
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
    fn another_stream_is_held_as_the_one_before_though_its_maker_s_clock_differs() {
        let mut in_step = InStep::default();
        play(&mut in_step, 1, 0..10, repaired);
        let hold_us = in_step.hold_us;
        assert!(hold_us > 0);
        // by that clock everything is captured 300 ms earlier
        let given = play(&mut in_step, 2, 12..16, |kind, captured_us| repaired(kind, captured_us) + 300_000);
        assert!(given.iter().all(|(_, captured_us, at_us)| at_us - captured_us <= 500_000));
        assert!(skew_us(&given[given.len() / 2..]) <= 20_000, "{}", skew_us(&given[given.len() / 2..]));
    }

    #[test]
    fn what_a_newcomer_to_a_stream_is_sent_of_the_past_holds_up_nothing_and_nothing_overtakes() {
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
            in_step.push(Held { past, ..held(MediaKind::Video, stream, captured_us) }, now_us);
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
    fn a_maker_that_claims_any_time_holds_its_frames_up_no_longer_than_others_wait() {
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
    fn what_waits_is_bounded_and_comes_out_at_the_end() {
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
