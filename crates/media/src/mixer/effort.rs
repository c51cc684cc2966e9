//! Load control: how much work a mixer spends on its pictures.
//!
//! An overloaded mixer skips pictures whenever it has fallen behind: the program is late and uneven, and
//! everything else on the machine suffers. A [`Governor`] measures each picture and instead lowers the work
//! in the steps of [`Effort`]. It steps down as soon as one short stretch of pictures shows overload. It
//! steps up after there has been enough spare time for the next step's work for a while. When the mixer can't
//! keep the higher step, the wait before the next attempt doubles.

use plenary_proto::app::{Effort, EffortWhy};

use crate::codec::VideoFormat;
use crate::picture::PICTURE_SIDE_MIN;

/// Duration of a stretch over which pictures are judged. A guess: a short stall of the machine, which costs
/// 100 ms, has little weight in it, and the last of the three steps down is taken after 6 to 8 s.
const STRETCH_US: u64 = 2_000_000;
/// Maximum busy share of the thread, percent, above which it can't keep up for long. A guess.
const BUSY_PERCENT_MAX: u64 = 90;
/// Share of skipped steps from which the effort is lowered, percent. A guess: viewers notice three of 30 in a
/// second.
const SKIPPED_PERCENT_MIN: u64 = 10;
/// Minimum number of gaps before skipped steps count: a single gap is a stall of the machine, and predicts
/// nothing.
const GAPS_MIN: u64 = 2;
/// Maximum busy share of the thread predicted for a higher effort, percent; above that none is tried. A
/// guess.
const ROOM_PERCENT: u64 = 75;
/// Initial time for which there must have been spare time before a higher effort is tried. A guess.
const WAIT_US_MIN: u64 = 10_000_000;
/// Maximum of that time after failed attempts. A guess: in such a period one attempt spoils 2 to 4 s.
const WAIT_US_MAX: u64 = 160_000_000;
/// Time within which an attempt that ends counts as failed. A guess: longer than two detections of overload
/// take.
const ATTEMPT_US: u64 = 30_000_000;
/// Time at reduced rate or size after which the program falls short. A guess.
const LASTS_US: u64 = 10_000_000;

/// A change of the mixer's effort.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EffortChange {
    /// The new effort.
    pub effort: Effort,
    /// The reason.
    pub why: EffortWhy,
}

/// What each effort means.
pub(super) trait Work: Sized {
    /// Returns the next step down.
    fn less(self) -> Self;
    /// Returns the next step up.
    fn more(self) -> Self;
    /// Returns how much busier the next step up makes a thread, percent.
    fn more_busy_percent(self) -> u64;
    /// Returns whether the encoder uses its cheapest settings.
    fn is_plain(&self) -> bool;
    /// Returns the format made at this effort.
    fn format(self, full: &VideoFormat) -> VideoFormat;
}

impl Work for Effort {
    fn less(self) -> Effort {
        match self {
            Effort::Full => Effort::PlainEncoder,
            Effort::PlainEncoder => Effort::HalfRate,
            Effort::HalfRate | Effort::HalfSize => Effort::HalfSize,
        }
    }

    fn more(self) -> Effort {
        match self {
            Effort::Full | Effort::PlainEncoder => Effort::Full,
            Effort::HalfRate => Effort::PlainEncoder,
            Effort::HalfSize => Effort::HalfRate,
        }
    }

    /// The encoder's share is measured (see [`crate::openh264`]); twice the pictures take at most twice the work, four
    /// times the samples four times.
    fn more_busy_percent(self) -> u64 {
        match self {
            Effort::Full => 100,
            Effort::PlainEncoder => 130,
            Effort::HalfRate => 200,
            Effort::HalfSize => 400,
        }
    }

    fn is_plain(&self) -> bool {
        *self >= Effort::PlainEncoder
    }

    fn format(self, full: &VideoFormat) -> VideoFormat {
        let mut format = VideoFormat { fps: full.fps.div_ceil(self.steps_per_picture()), ..*full };
        if self == Effort::HalfSize {
            let half = |side: u16| ((side / 2) & !1).max(PICTURE_SIDE_MIN);
            (format.width, format.height) = (half(full.width), half(full.height));
            // a quarter of the samples at half the bitrate still gives each sample more bits
            format.bitrate_bps = full.bitrate_bps / 2;
        }
        format
    }
}

/// Measurements of one picture.
#[derive(Clone, Copy, Debug)]
pub(super) struct Went {
    /// When the picture was output, by the local clock.
    pub(super) now_us: u64,
    /// How long the thread worked on it.
    pub(super) busy_us: u64,
    /// Number of steps skipped before it because the thread was late.
    pub(super) skipped: u64,
    /// Number of decoder queues cut since the previous picture because the decoder was too slow.
    pub(super) overruns: u64,
}

/// The mixer's effort as published to other threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Strain {
    pub(super) effort: Effort,
    /// Time since which the program's rate or size has been reduced, by the local clock.
    short_since_us: Option<u64>,
}

impl Strain {
    /// Returns whether the program has been reduced for [`LASTS_US`].
    pub(super) fn falls_short(&self, now_us: u64) -> bool {
        self.short_since_us.is_some_and(|since_us| now_us.saturating_sub(since_us) >= LASTS_US)
    }
}

/// Measurements of one stretch of pictures.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    since_us: u64,
    made: u64,
    skipped: u64,
    gaps: u64,
    overruns: u64,
    busy_us: u64,
}

/// Controller that chooses the effort.
#[derive(Debug)]
pub(super) struct Governor {
    strain: Strain,
    lowest: Effort,
    stretch: Option<Stretch>,
    rests: bool,
    /// Time since which there has been enough spare time for the next step up.
    room_since_us: Option<u64>,
    wait_us: u64,
    /// Time of the last attempt at a higher effort.
    tried_us: Option<u64>,
}

impl Governor {
    /// A controller at full effort.
    pub(super) fn new() -> Governor {
        Governor {
            strain: Strain::default(),
            lowest: Effort::HalfSize,
            stretch: None,
            rests: true,
            room_since_us: None,
            wait_us: WAIT_US_MIN,
            tried_us: None,
        }
    }

    pub(super) fn strain(&self) -> Strain {
        self.strain
    }

    /// Discards the measurements while no pictures are made.
    pub(super) fn rest(&mut self) {
        (self.stretch, self.room_since_us, self.rests) = (None, None, true);
    }

    /// Takes the measurements of a picture. Returns the change when the effort is another from the next
    /// picture on.
    pub(super) fn went(&mut self, went: Went) -> Option<EffortChange> {
        let Went { now_us, busy_us, skipped, overruns } = went;
        let begun_us = now_us.saturating_sub(busy_us);
        let short_since_us = &mut self.strain.short_since_us;
        if std::mem::take(&mut self.rests) && short_since_us.is_some() {
            *short_since_us = Some(begun_us); // the time without a program doesn't count
        }
        let stretch = self.stretch.get_or_insert(Stretch {
            since_us: begun_us,
            made: 0,
            skipped: 0,
            gaps: 0,
            overruns: 0,
            busy_us: 0,
        });
        stretch.made += 1;
        stretch.skipped += skipped;
        stretch.gaps += u64::from(skipped > 0);
        stretch.overruns += overruns;
        stretch.busy_us += busy_us;
        let stretch = *stretch;
        if now_us.saturating_sub(stretch.since_us) < STRETCH_US {
            return None;
        }
        self.stretch = None;
        self.judge(&stretch, now_us)
    }

    fn judge(&mut self, stretch: &Stretch, now_us: u64) -> Option<EffortChange> {
        if let Some(why) = stretch.falls_behind(now_us) {
            self.room_since_us = None;
            return self.lower(why, now_us);
        }
        let busy_percent = stretch.busy_percent(now_us);
        let more_percent = busy_percent * self.strain.effort.more_busy_percent() / 100;
        if stretch.skipped > 0 || more_percent > ROOM_PERCENT || self.strain.effort == Effort::Full {
            self.room_since_us = None;
            return None;
        }
        let since_us = *self.room_since_us.get_or_insert(stretch.since_us);
        (now_us.saturating_sub(since_us) >= self.wait_us).then(|| {
            if self.tried_us.is_some_and(|tried_us| now_us.saturating_sub(tried_us) >= ATTEMPT_US) {
                self.wait_us = WAIT_US_MIN; // the last attempt succeeded
            }
            self.tried_us = Some(now_us);
            self.change(self.strain.effort.more(), EffortWhy::Room(as_percent(busy_percent)), now_us)
        })
    }

    fn lower(&mut self, why: EffortWhy, now_us: u64) -> Option<EffortChange> {
        if let Some(tried_us) = self.tried_us.take() {
            let failed = now_us.saturating_sub(tried_us) < ATTEMPT_US;
            self.wait_us = if failed { (2 * self.wait_us).min(WAIT_US_MAX) } else { WAIT_US_MIN };
        }
        let lower = self.strain.effort.less().min(self.lowest);
        (lower > self.strain.effort).then(|| self.change(lower, why, now_us))
    }

    fn change(&mut self, effort: Effort, why: EffortWhy, now_us: u64) -> EffortChange {
        self.room_since_us = None;
        let short_since_us = self.strain.short_since_us.unwrap_or(now_us);
        self.strain = Strain { effort, short_since_us: effort.is_short().then_some(short_since_us) };
        EffortChange { effort, why }
    }

    /// Handles a refusal of the last change: the effort is `stays` again, and a refused lower one isn't tried
    /// again.
    pub(super) fn refused(&mut self, stays: Effort, now_us: u64) {
        if stays < self.strain.effort {
            self.lowest = stays;
        }
        let short_since_us = self.strain.short_since_us.unwrap_or(now_us);
        self.strain = Strain { effort: stays, short_since_us: stays.is_short().then_some(short_since_us) };
    }
}

impl Stretch {
    fn busy_percent(&self, now_us: u64) -> u64 {
        self.busy_us * 100 / now_us.saturating_sub(self.since_us).max(1)
    }

    /// Returns the reason to lower the effort, if there is one.
    fn falls_behind(&self, now_us: u64) -> Option<EffortWhy> {
        let skipped_percent = self.skipped * 100 / (self.made + self.skipped).max(1);
        let busy_percent = self.busy_percent(now_us);
        if skipped_percent >= SKIPPED_PERCENT_MIN && self.gaps >= GAPS_MIN {
            Some(EffortWhy::Skipped(as_percent(skipped_percent)))
        } else if busy_percent > BUSY_PERCENT_MAX {
            Some(EffortWhy::Busy(as_percent(busy_percent)))
        } else {
            (self.overruns > 0).then_some(EffortWhy::DecoderBehind)
        }
    }
}

fn as_percent(percent: u64) -> u8 {
    percent.min(100) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_US: u64 = 1_000_000;
    const STEP_US: u64 = 33_333;

    /// A mixer with a fixed time per picture at each effort.
    struct Mixer {
        governor: Governor,
        now_us: u64,
        /// Changes of the effort, with the second in which each came.
        said: Vec<(u64, Effort)>,
    }

    impl Mixer {
        fn new() -> Mixer {
            Mixer { governor: Governor::new(), now_us: 0, said: Vec::new() }
        }

        /// Makes pictures for some seconds; each takes the time that `cost_us` returns. Skips late pictures.
        fn run(&mut self, seconds: u64, cost_us: impl Fn(Effort) -> u64) {
            let until_us = self.now_us + seconds * SECOND_US;
            let mut due_us = self.now_us;
            while self.now_us < until_us {
                let step_us = STEP_US * u64::from(self.governor.strain().effort.steps_per_picture());
                let behind = self.now_us.saturating_sub(due_us) / step_us;
                let skipped = if behind > 2 { behind } else { 0 };
                due_us += skipped * step_us;
                let busy_us = cost_us(self.governor.strain().effort);
                self.now_us = self.now_us.max(due_us) + busy_us;
                due_us += step_us;
                let went = Went { now_us: self.now_us, busy_us, skipped, overruns: 0 };
                if let Some(change) = self.governor.went(went) {
                    self.said.push((self.now_us / SECOND_US, change.effort));
                }
            }
        }

        fn efforts(&self) -> Vec<Effort> {
            self.said.iter().map(|(_, effort)| *effort).collect()
        }
    }

    use Effort::*;

    #[test]
    fn the_effort_is_what_can_be_kept_and_no_less() {
        // (time of a picture at full effort, resulting changes of the effort)
        let rows: [(u64, &[Effort]); 5] = [
            (10_000, &[]),
            (29_000, &[]),
            (34_000, &[PlainEncoder]),
            (50_000, &[PlainEncoder, HalfRate]),
            (120_000, &[PlainEncoder, HalfRate, HalfSize]),
        ];
        for (full_us, efforts) in rows {
            let mut mixer = Mixer::new();
            mixer.run(60, |effort| match effort {
                Full => full_us,
                PlainEncoder | HalfRate => full_us * 3 / 4,
                HalfSize => full_us * 3 / 16,
            });
            assert_eq!(mixer.efforts(), efforts, "{full_us}");
            assert!(mixer.said.last().is_none_or(|(at_s, _)| *at_s <= 8), "{full_us}: {:?}", mixer.said);
        }
    }

    #[test]
    fn one_halt_of_the_machine_lowers_nothing() {
        let mut governor = Governor::new();
        for step in 1..=300_u64 {
            let skipped = if step == 100 { 12 } else { 0 };
            let went = Went { now_us: step * STEP_US, busy_us: 5_000, skipped, overruns: 0 };
            assert_eq!(governor.went(went), None);
        }
    }

    #[test]
    fn a_decoder_that_fell_behind_lowers_the_effort() {
        let mut governor = Governor::new();
        let mut changes = (1..=61).filter_map(|step| {
            let went =
                Went { now_us: step * STEP_US, busy_us: 5_000, skipped: 0, overruns: u64::from(step == 9) };
            governor.went(went)
        });
        let expected = EffortChange { effort: PlainEncoder, why: EffortWhy::DecoderBehind };
        assert_eq!(changes.next(), Some(expected));
    }

    #[test]
    fn more_is_tried_when_there_was_room_for_ten_seconds_step_by_step() {
        let mut mixer = Mixer::new();
        mixer.run(10, |_| 150_000);
        assert_eq!(mixer.efforts(), [PlainEncoder, HalfRate, HalfSize]);
        let (had, from_s) = (mixer.said.len(), mixer.now_us / SECOND_US);
        mixer.run(60, |_| 5_000);
        let back: Vec<_> = mixer.said[had..].iter().map(|(at_s, effort)| (at_s - from_s, *effort)).collect();
        assert_eq!(
            back.iter().map(|(_, effort)| *effort).collect::<Vec<_>>(),
            [HalfRate, PlainEncoder, Full]
        );
        let mut before_s = 0;
        for (at_s, effort) in back {
            assert!((9..=13).contains(&(at_s - before_s)), "{effort} after {} s", at_s - before_s);
            before_s = at_s;
        }
    }

    #[test]
    fn without_room_for_the_next_step_nothing_is_tried() {
        // at half rate the thread is busy for 60 % of the time: twice that is too much
        let mut mixer = Mixer::new();
        mixer.run(300, |_| 40_000);
        assert_eq!(mixer.efforts(), [PlainEncoder, HalfRate]);
    }

    #[test]
    fn attempts_that_fail_get_rarer_and_one_that_lasts_ends_that() {
        // an encoder that saves far more with plain settings than the governor assumes
        let cost_us = |effort| if effort == Full { 50_000 } else { 10_000 };
        let mut mixer = Mixer::new();
        mixer.run(1_000, cost_us);
        let tries: Vec<u64> =
            mixer.said.iter().filter(|(_, effort)| *effort == Full).map(|(at_s, _)| *at_s).collect();
        let apart: Vec<u64> = tries.windows(2).map(|two| two[1] - two[0]).collect();
        assert!(
            apart.iter().zip([20, 40, 80, 160, 160]).all(|(apart, wait)| (wait..wait + 6).contains(apart)),
            "{apart:?}"
        );
        assert!(apart.len() >= 5);

        mixer.run(400, |_| 10_000); // back at full effort, which lasts
        assert_eq!(mixer.governor.strain().effort, Full);
        mixer.run(10, cost_us);
        let (had, from_s) = (mixer.said.len(), mixer.now_us / SECOND_US);
        mixer.run(20, |_| 10_000);
        assert_eq!(
            mixer.said[had..].len(),
            1,
            "after 10 s again, from {from_s} s on: {:?}",
            &mixer.said[had..]
        );
    }

    #[test]
    fn a_program_that_is_less_than_asked_for_falls_short_after_ten_seconds() {
        // (time of a picture at full effort, whether the program falls short)
        for (full_us, short) in [(34_000, false), (60_000, true)] {
            let cost_us = |effort| if effort == Full { full_us } else { full_us * 3 / 4 };
            let mut mixer = Mixer::new();
            mixer.run(9, cost_us);
            assert!(!mixer.governor.strain().falls_short(mixer.now_us), "{full_us}");
            mixer.run(20, cost_us);
            assert_eq!(mixer.governor.strain().falls_short(mixer.now_us), short, "{full_us}");
            mixer.governor.rest();
            let again_us = mixer.now_us + 3_600 * SECOND_US;
            let went = Went { now_us: again_us, busy_us: 1_000, skipped: 0, overruns: 0 };
            mixer.governor.went(went);
            assert!(!mixer.governor.strain().falls_short(again_us + SECOND_US), "it was silent for an hour");
        }
    }

    #[test]
    fn a_size_that_no_encoder_takes_is_not_tried_again() {
        let mut mixer = Mixer::new();
        mixer.run(5, |_| 200_000);
        assert_eq!(mixer.efforts(), [PlainEncoder, HalfRate]);
        mixer.run(3, |_| 200_000);
        assert_eq!(mixer.said.pop().map(|(_, effort)| effort), Some(HalfSize));
        mixer.governor.refused(HalfRate, mixer.now_us);
        mixer.run(60, |_| 200_000);
        assert_eq!(mixer.efforts(), [PlainEncoder, HalfRate]);
        assert_eq!(mixer.governor.strain().effort, HalfRate);
    }

    #[test]
    fn half_is_even_and_no_smaller_than_encoders_take() {
        let format = |width, height, fps| VideoFormat { width, height, fps, bitrate_bps: 1_000_000 };
        // (asked for, effort, made)
        let rows = [
            (format(1280, 720, 30), PlainEncoder, (1280, 720, 30, 1_000_000)),
            (format(1280, 720, 30), HalfRate, (1280, 720, 15, 1_000_000)),
            (format(1280, 720, 30), HalfSize, (640, 360, 15, 500_000)),
            (format(854, 480, 25), HalfSize, (426, 240, 13, 500_000)),
            (format(20, 16, 1), HalfSize, (16, 16, 1, 500_000)),
        ];
        for (asked, effort, made) in rows {
            let VideoFormat { width, height, fps, bitrate_bps } = effort.format(&asked);
            assert_eq!((width, height, fps, bitrate_bps), made, "{asked:?} at {effort}");
        }
    }
}
