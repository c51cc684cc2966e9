//! Fault counter for the program at a peer that watches it; bodies drive it beside the brain.
//!
//! Three kinds of faults count, each adding one: a keyframe that had to be requested, a picture that froze
//! for 300 ms, and four seconds in which fewer than three quarters of the pictures arrived that mixers are
//! requested to make. The last fault exposes a mixer that claims more than its codec can do: its pictures
//! arrive evenly, so that none freezes, but far too few of them. Pictures are counted at arrival, by the
//! watching peer's clock: neither the maker's picture numbers nor its capture times are trusted. Faults of
//! the watching peer's own line count alike; the reports of other peers tell the two causes apart.

use crate::time::{MS, SECOND, Time};

/// Gap after a picture that counts as a freeze: three picture intervals, or one interval and 150 ms
/// (webrtc-stats, freezeCount), at 10 pictures a second and more.
const FREEZE_US: u64 = 300 * MS;
/// Period over which pictures are counted; for a shorter time a mixer may be busy with a change. A guess.
const STRETCH_US: u64 = 4 * SECOND;
/// Percentage of the requested pictures below which a period counts as a fault. A guess: a quarter less is
/// plain to see, and an honest mixer leaves no picture out.
const ENOUGH_PERCENT: u64 = 75;

/// Time without a picture of a program that is heard after which it counts as pictureless. A guess: three freezes, and
/// longer than a handover takes.
pub const PICTURELESS_US: u64 = SECOND;
/// Time since the last sound within which a program is heard: a few packets of 20 ms on a bad line. A guess.
const SOUND_US: u64 = 300 * MS;

/// Counts the faults of the program at this peer.
#[derive(Debug, Default)]
pub struct Suffering {
    /// Faults since the last call of `take`.
    count: u16,
    picture_at: Option<Time>,
    /// Start of the present period, and the number of pictures since.
    stretch: Option<(Time, u64)>,
    sound_at: Option<Time>,
}

impl Suffering {
    /// Starts with another program: the gap since the end of the previous program isn't its fault.
    pub fn another_program(&mut self) {
        (self.picture_at, self.stretch, self.sound_at) = (None, None, None);
    }

    /// Counts a keyframe that had to be requested.
    pub fn key_wanted(&mut self) {
        self.count = self.count.saturating_add(1);
    }

    /// Records a picture of the program that is shown.
    pub fn picture(&mut self, now: Time) {
        let before = self.picture_at.replace(now);
        let froze = before.is_some_and(|before| now.since(before) >= FREEZE_US);
        self.count = self.count.saturating_add(froze.into());
        // the first picture only starts the period
        match &mut self.stretch {
            Some((_, pictures)) => *pictures += 1,
            None => self.stretch = Some((now, 0)),
        }
    }

    /// Records sound of the program.
    pub fn sound(&mut self, now: Time) {
        self.sound_at = Some(now);
    }

    /// Returns whether the program's sound goes on while its pictures have stopped for [`PICTURELESS_US`], though a
    /// mixer is asked for them: the maker lives, and its encoder may not. To be called about once a second, with
    /// `fps_wanted` as for [`take`](Self::take).
    pub fn is_pictureless(&self, now: Time, fps_wanted: Option<u8>) -> bool {
        let before = |at: Option<Time>, us: u64| at.is_some_and(|at| now.since(at) >= us);
        let hears = self.sound_at.is_some() && !before(self.sound_at, SOUND_US);
        fps_wanted.is_some() && hears && before(self.picture_at, PICTURELESS_US)
    }

    /// Returns the number of faults since the last call. To be called about once a second; `fps_wanted` as
    /// returned by [`RoomState::fps_wanted`](crate::RoomState::fps_wanted).
    pub fn take(&mut self, now: Time, fps_wanted: Option<u8>) -> u16 {
        match (self.stretch, fps_wanted) {
            (Some((since, pictures)), Some(fps)) if now.since(since) >= STRETCH_US => {
                let wanted = u64::from(fps) * now.since(since) / SECOND;
                let short = pictures * 100 < wanted * ENOUGH_PERCENT;
                self.count = self.count.saturating_add(short.into());
                self.stretch = Some((now, 0));
            }
            (_, None) => self.stretch = None,
            _ => {}
        }
        std::mem::take(&mut self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Watches pictures that are `apart_us` apart for `seconds` seconds, and returns the faults counted.
    fn watch(suffering: &mut Suffering, from: Time, seconds: u64, apart_us: u64, wanted: Option<u8>) -> u32 {
        let mut count = 0;
        let mut next = from;
        for second in 1..=seconds {
            let until = from + second * SECOND;
            while next <= until {
                suffering.picture(next);
                next = next + apart_us;
            }
            count += u32::from(suffering.take(until, wanted));
        }
        count
    }

    #[test]
    fn fewer_than_three_quarters_of_the_pictures_wanted_count_as_suffering() {
        for (fps, wanted, counted) in [
            (30, Some(30), 0),
            (24, Some(30), 0),
            (22, Some(30), 5),
            (10, Some(30), 5),
            (10, Some(10), 0),
            (10, None, 0), // no mixer composes: a speaker's own pictures arrive at the speaker's rate
        ] {
            let count = watch(&mut Suffering::default(), Time(SECOND), 20, SECOND / fps, wanted);
            assert_eq!(count, counted, "{fps} of {wanted:?} a second");
        }
    }

    #[test]
    fn a_short_halt_counts_once_and_another_program_begins_anew() {
        let mut suffering = Suffering::default();
        assert_eq!(watch(&mut suffering, Time(SECOND), 4, 33_333, Some(30)), 0);
        assert_eq!(
            watch(&mut suffering, Time(5_500_000), 4, 33_333, Some(30)),
            1,
            "it froze for half a second"
        );
        suffering.another_program();
        assert_eq!(watch(&mut suffering, Time(20 * SECOND), 8, 33_333, Some(30)), 0);
        suffering.key_wanted();
        assert_eq!(suffering.take(Time(28 * SECOND), Some(30)), 1);
        assert_eq!(suffering.take(Time(40 * SECOND), Some(30)), 1, "nothing came at all");
    }

    #[test]
    fn a_program_that_is_heard_and_not_seen_for_a_second_is_pictureless() {
        let mut suffering = Suffering::default();
        let at = |ms: u64| Time(SECOND + ms * MS);
        let rows = [
            // (sound at, picture at, seen at, wanted, pictureless)
            (Some(0), Some(0), 900, Some(30), false),
            (Some(1_000), None, 1_100, Some(30), true),
            (None, None, 1_299, Some(30), true),
            (None, None, 1_300, Some(30), false), // nothing comes at all: another's matter
            (Some(1_400), None, 1_400, None, false), // no mixer composes
            (Some(1_500), Some(1_500), 1_600, Some(30), false),
        ];
        assert!(!suffering.is_pictureless(at(0), Some(30)));
        for (row, (sound, picture, seen, wanted, pictureless)) in rows.into_iter().enumerate() {
            sound.into_iter().for_each(|ms| suffering.sound(at(ms)));
            picture.into_iter().for_each(|ms| suffering.picture(at(ms)));
            assert_eq!(suffering.is_pictureless(at(seen), wanted), pictureless, "row {row}");
        }
        suffering.another_program();
        suffering.sound(at(9_000));
        assert!(!suffering.is_pictureless(at(9_000), Some(30)), "it has shown nothing yet");
    }
}
