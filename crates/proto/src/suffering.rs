//! What goes wrong with the program at somebody who watches it: driven by bodies, beside the brain.
//!
//! Three things count, each once: a key frame that had to be asked for, a picture that stood still for 300 ms, and four
//! seconds in which fewer than three quarters of the pictures came that mixers are asked for. The last is what a mixer
//! shows that claims more than its codec can do: its pictures come evenly, so that nothing freezes, and far too few of
//! them. Pictures are counted as they come, by the clock of whoever watches: neither their numbers nor their times of capture are
//! taken at the maker's word. What a bad line of one's own does is counted alike; who else suffers tells the two apart.

use crate::time::{MS, SECOND, Time};

/// A picture that stands still for so long has frozen: three pictures' time, or a picture's and 150 ms (webrtc-stats,
/// freezeCount), at 10 pictures a second and more.
const FREEZE_US: u64 = 300 * MS;
/// Pictures are counted over stretches of so long: shorter than that a mixer may be busy with a change. A guess.
const STRETCH_US: u64 = 4 * SECOND;
/// Whoever makes fewer of the pictures wanted falls short. A guess: a quarter less is plain to see, and an honest mixer leaves
/// none out.
const ENOUGH_PERCENT: u64 = 75;

/// What has gone wrong with the program here.
#[derive(Debug, Default)]
pub struct Suffering {
    /// Since this was taken last.
    count: u16,
    picture_at: Option<Time>,
    /// When the present stretch began, and how many pictures have come in it.
    stretch: Option<(Time, u64)>,
}

impl Suffering {
    /// Another program is shown from now on: what came to an end before it isn't its fault.
    pub fn another_program(&mut self) {
        (self.picture_at, self.stretch) = (None, None);
    }

    /// A key frame had to be asked for.
    pub fn key_wanted(&mut self) {
        self.count = self.count.saturating_add(1);
    }

    /// A picture of the program that is shown has come.
    pub fn picture(&mut self, now: Time) {
        let before = self.picture_at.replace(now);
        let froze = before.is_some_and(|before| now.since(before) >= FREEZE_US);
        self.count = self.count.saturating_add(froze.into());
        // the first picture only begins the stretch
        match &mut self.stretch {
            Some((_, pictures)) => *pictures += 1,
            None => self.stretch = Some((now, 0)),
        }
    }

    /// How much has gone wrong since this was asked last, to be asked each second or so; `fps_wanted` as
    /// [`RoomState::fps_wanted`](crate::RoomState::fps_wanted) says.
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

    /// Watches for so many seconds of pictures that are so far apart, and says what has been counted in all.
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
    fn fewer_than_three_quarters_of_the_pictures_wanted_over_seconds_count_though_none_freezes() {
        for (fps, wanted, counted) in [
            (30, Some(30), 0),
            (24, Some(30), 0),
            (22, Some(30), 5),
            (10, Some(30), 5),
            (10, Some(10), 0),
            (10, None, 0), // nobody composes: a speaker's own pictures come as it makes them
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
}
