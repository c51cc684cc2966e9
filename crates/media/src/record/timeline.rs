//! Recording timeline: maps capture times to file times when the program's stream, and with it the mixer's
//! clock, changes.
//!
//! Within one stream, capture times are trusted. At a change of stream, the new mixer's clock is taken to be
//! the same clock if it continues from the end of the file with a gap of at most [`GAP_US_MAX`]; otherwise
//! the new stream is shifted to begin at the end of the file. Picture and sound of one stream always get the
//! same shift. Frames of the two newest streams may alternate.

use plenary_proto::StreamId;
use plenary_proto::identity::MediaKind;

/// Longest gap accepted between two streams, in microseconds. A guess: a failover takes a second or two.
pub(super) const GAP_US_MAX: i64 = 10_000_000;
/// Longest gap accepted within a stream, in microseconds. A guess: longer than any broken stream is recorded.
pub(super) const PAUSE_US_MAX: i64 = 3_600_000_000;
/// Largest step back within a stream, in microseconds, that counts as jitter: a picture is then placed right
/// behind its predecessor. A larger one is a clock jump.
pub(super) const STEP_BACK_US_MAX: i64 = 500_000;
/// Shortest distance between pictures in microseconds: more than a tick of 1/90 000 s.
pub(super) const PICTURE_US_MIN: i64 = 12;

#[derive(Default)]
pub(super) struct Timeline {
    /// Newest stream, and the shift of its capture times.
    current: Option<(StreamId, i64)>,
    /// Previous stream and its shift; its last frames may still arrive.
    previous: Option<(StreamId, i64)>,
    /// Earliest free time for the next picture, and for the next sound.
    video_us: Option<i64>,
    sound_us: Option<i64>,
    /// Start of the last packet of sound.
    sound_begin_us: i64,
}

impl Timeline {
    /// Returns the file time of a picture, in microseconds from the first frame; always later than all
    /// previous pictures.
    pub(super) fn place_video(&mut self, stream: StreamId, captured_us: u64) -> i64 {
        let at_us = self.place(MediaKind::Video, stream, captured_us);
        let at_us = self.video_us.map_or(at_us, |free| at_us.max(free));
        self.end_video(at_us)
    }

    /// Earliest free time for the next picture.
    pub(super) fn video_free_us(&self) -> i64 {
        self.video_us.unwrap_or(0)
    }

    /// Moves the newest picture, and the end of the pictures with it, to `at_us`, which it returns.
    pub(super) fn end_video(&mut self, at_us: i64) -> i64 {
        self.video_us = Some(at_us + PICTURE_US_MIN);
        at_us
    }

    /// Returns the file time of a sound packet; `None` when the file already has sound for most of its
    /// duration.
    pub(super) fn place_sound(
        &mut self,
        stream: StreamId,
        captured_us: u64,
        duration_us: i64,
    ) -> Option<i64> {
        let at_us = self.place(MediaKind::Sound, stream, captured_us);
        let had = |free| at_us + duration_us / 2 < free || at_us <= self.sound_begin_us;
        if self.sound_us.is_some_and(had) {
            return None;
        }
        (self.sound_begin_us, self.sound_us) = (at_us, Some(at_us + duration_us));
        Some(at_us)
    }

    fn place(&mut self, kind: MediaKind, stream: StreamId, captured_us: u64) -> i64 {
        let captured_us = i64::try_from(captured_us).unwrap_or(i64::MAX);
        let end_us = self.video_us.max(self.sound_us).unwrap_or(0);
        let free_us = match kind {
            MediaKind::Video => self.video_us,
            MediaKind::Sound => self.sound_us,
        };
        let believed = |shift_us: i64, gap_us_max: i64, back_us_max: i64| {
            let at_us = captured_us.saturating_add(shift_us);
            let from_us = free_us.unwrap_or(0).saturating_sub(back_us_max);
            (from_us..=end_us.saturating_add(gap_us_max)).contains(&at_us).then_some(at_us)
        };
        let begin_at_end = end_us.saturating_sub(captured_us);
        let (shift_us, at_us) = match self.current {
            Some((current, shift_us)) if current == stream => {
                match believed(shift_us, PAUSE_US_MAX, STEP_BACK_US_MAX) {
                    Some(at_us) => return at_us,
                    None => (begin_at_end, end_us),
                }
            }
            Some((_, shift_us)) => {
                let late = self.previous.filter(|(previous, _)| *previous == stream);
                if let Some(at_us) =
                    late.and_then(|(_, shift_us)| believed(shift_us, GAP_US_MAX, STEP_BACK_US_MAX))
                {
                    return at_us;
                }
                self.previous = self.current;
                match believed(shift_us, GAP_US_MAX, 0) {
                    Some(at_us) => (shift_us, at_us),
                    None => (begin_at_end, end_us),
                }
            }
            None => (captured_us.saturating_neg(), 0),
        };
        self.current = Some((stream, shift_us));
        at_us
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const A: StreamId = StreamId([1; 8]);
    const B: StreamId = StreamId([2; 8]);
    const T: u64 = 1_763_627_671_000_000;

    #[test]
    fn gaps_are_kept_and_clocks_that_jump_are_shifted() {
        // capture time of the second stream's first picture relative to the first stream's, and its file
        // time; the file then ends at 2.040 s, with sound
        let rows = [
            ("goes on at once", 2_040_000, 2_040_000),
            ("a gap", 3_500_000, 3_500_000),
            ("the longest gap", 12_040_000, 12_040_000),
            ("a clock that is fast", 12_040_001, 2_040_000),
            ("a clock that is slow", -60_000_000, 2_040_000),
            ("a little back, behind its last picture", 2_010_000, 2_010_000),
            ("a little back, before its last picture", 1_990_000, 2_040_000),
        ];
        for (what, captured, wanted) in rows {
            let mut timeline = Timeline::default();
            for number in 0..=20 {
                assert_eq!(timeline.place_video(A, T + number * 100_000), number as i64 * 100_000);
            }
            for number in 0..102 {
                let at = timeline.place_sound(A, T + number * 20_000, 20_000);
                assert_eq!(at, Some(number as i64 * 20_000));
            }
            let captured = T.wrapping_add_signed(captured);
            assert_eq!(timeline.place_video(B, captured), wanted, "{what}");
            let sound = timeline.place_sound(B, captured + 60_000, 20_000);
            assert_eq!(sound, Some(wanted + 60_000), "{what}: sound keeps with its picture");
        }
    }

    #[test]
    fn frames_of_two_streams_may_come_in_turn() {
        for off in [0, 37_000_000, -37_000_000] {
            let mut timeline = Timeline::default();
            let at = |number: u64| number as i64 * 20_000;
            let captured = |number: u64| T.wrapping_add_signed(off) + number * 20_000;
            assert_eq!(timeline.place_video(A, T), 0);
            assert_eq!(timeline.place_sound(A, T, 20_000), Some(0));
            // the second stream's sound is ahead of the first stream's pictures
            for number in 1..20 {
                assert_eq!(timeline.place_sound(B, captured(number), 20_000), Some(at(number)), "{off}");
                assert_eq!(timeline.place_video(A, T + number * 20_000 - 7_000), at(number) - 7_000, "{off}");
            }
            assert_eq!(timeline.place_video(B, captured(20)), at(20), "{off}");
        }
    }

    #[test]
    fn a_pause_within_a_stream_is_kept_however_long() {
        let mut timeline = Timeline::default();
        assert_eq!(timeline.place_video(A, T), 0);
        assert_eq!(timeline.place_video(A, T + 1_800_000_000), 1_800_000_000);
        assert_eq!(timeline.place_sound(A, T + 1_800_000_000, 20_000), Some(1_800_000_000));
    }

    #[test]
    fn sound_that_the_file_has_is_left_out() {
        let mut timeline = Timeline::default();
        assert_eq!(timeline.place_sound(A, T, 20_000), Some(0));
        assert_eq!(timeline.place_sound(A, T, 20_000), None);
        assert_eq!(timeline.place_sound(A, T + 15_000, 20_000), Some(15_000));
        // a long packet extends further, but is not placed before a short one
        assert_eq!(timeline.place_sound(A, T + 40_000, 2_500), Some(40_000));
        assert_eq!(timeline.place_sound(A, T + 38_000, 60_000), None);
    }

    proptest! {
        #[test]
        fn times_rise_whatever_is_captured(
            frames in prop::collection::vec((any::<bool>(), 0..4u8, prop_oneof![any::<u64>(), T..T + 9_000_000]), 1..200),
        ) {
            let mut timeline = Timeline::default();
            let mut last = [i64::MIN; 2];
            for (video, stream, captured_us) in frames {
                let stream = StreamId([stream; 8]);
                let at_us = match video {
                    true => Some(timeline.place_video(stream, captured_us)),
                    false => timeline.place_sound(stream, captured_us, 20_000),
                };
                if let Some(at_us) = at_us {
                    prop_assert!(at_us > last[usize::from(video)]);
                    last[usize::from(video)] = at_us;
                }
            }
        }
    }
}
