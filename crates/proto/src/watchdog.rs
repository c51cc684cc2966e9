//! Telling a dead peer from a slow one.
//!
//! Bodies keep one of these for each link that somebody depends on, feed it arrivals and heads, and give the
//! brain a verdict when it changes. How long a silence may last follows from the link itself: four times the
//! 99th percentile of its gaps, but never less than a floor, so that a jittery link isn't given up for its
//! jitter.

use crate::io::Verdict;
use crate::time::{MS, Time};

/// A feeding parent may be silent for this long at least (DESIGN §8).
pub const PARENT_SILENT_US: u64 = 150 * MS;
/// A parent of whom nothing at all has come for this long, while its child's backup is ahead, is dead: four frames
/// at 30 a second. How jittery its link is doesn't matter then.
pub const DEAD_US: u64 = 133 * MS;
/// A backup may be silent for this long: three of its heads.
pub const BACKUP_SILENT_US: u64 = 1_500 * MS;
/// A mixer that its standby watches may (DESIGN §6).
pub const MIXER_SILENT_US: u64 = 350 * MS;
/// Nothing may have come from it yet for this long: it warms up first. A guess.
pub const MIXER_BEGIN_US: u64 = 2_000 * MS;
/// A child that is fed, and pings its parent each [`PING_US`], may.
pub const CHILD_SILENT_US: u64 = 1_500 * MS;
/// A child whose own children have lost it has this long to show that it lives, or two round trips if these take
/// longer. A guess.
const SUSPECT_US_MIN: u64 = 200 * MS;
/// Peers above and below ping each other this often.
pub const PING_US: u64 = 500 * MS;
/// A feed that has been silent for this long makes the child ask its backup how far it is (DESIGN §8).
pub const ASK_US: u64 = 75 * MS;
/// A backup must be ahead by so much of the program, and for so long, before the parent is at fault.
pub const AHEAD_US: u64 = 100 * MS;
/// A feed that brings nothing new for this long is given up even when nobody is known to be ahead.
pub const STALLED_US: u64 = 600 * MS;
/// However jittery a link is, a longer silence is not waited for. A guess.
const SILENT_US_MAX: u64 = 2_000 * MS;
/// With fewer gaps than this a percentile says nothing: one in two hundred may be an accident.
const GAPS_MIN: u32 = 200;
/// How late a feed usually is, is the least of the last one to two spans of this: queues that grow faster show, and
/// clocks that drift don't.
const USUAL_US: u64 = 5_000 * MS;
/// How late a new parent's frames are isn't known before this: what the one before has sent still comes, and what the
/// new one had in its cache.
const SETTLE_US: u64 = 500 * MS;
/// How often the backup is asked while the feed stands still.
const ASK_AGAIN_US: u64 = 50 * MS;

/// How long a child that is suspected, a round trip away, has to show that it lives.
pub fn suspect_us(rtt_us: u64) -> u64 {
    SUSPECT_US_MIN.max(2 * rtt_us)
}

/// Gaps are counted in buckets of a quarter octave from 1 ms up: 60 of them reach half a minute.
const BUCKETS: usize = 60;
/// After so many gaps the counts are halved, so that the last minute or so weighs most.
const HALVE_AFTER: u32 = 2_000;

/// The gaps between arrivals on one link.
#[derive(Clone, Debug)]
struct Gaps {
    counts: [u16; BUCKETS],
    total: u32,
}

impl Gaps {
    fn add(&mut self, gap_us: u64) {
        let ms = (gap_us / MS).max(1);
        let octave = ms.ilog2();
        let quarter = ((ms * 4) >> octave) - 4;
        let bucket = (octave as usize * 4 + quarter as usize).min(BUCKETS - 1);
        self.counts[bucket] = self.counts[bucket].saturating_add(1);
        self.total += 1;
        if self.total >= HALVE_AFTER {
            self.counts.iter_mut().for_each(|count| *count /= 2);
            self.total = self.counts.iter().map(|count| u32::from(*count)).sum();
        }
    }

    /// The upper end of the bucket that the 99th percentile falls into; 0 before there are enough gaps.
    fn p99_us(&self) -> u64 {
        if self.total < GAPS_MIN {
            return 0;
        }
        let mut above = self.total / 100;
        for (bucket, count) in self.counts.iter().enumerate().rev() {
            let count = u32::from(*count);
            if count > above {
                let (octave, quarter) = (bucket as u64 / 4, bucket as u64 % 4);
                return ((4 + quarter + 1) << octave) * MS / 4;
            }
            above -= count;
        }
        0
    }
}

/// Watches one peer for silence.
#[derive(Clone, Debug)]
pub struct SilenceWatch {
    floor_us: u64,
    unfed_us: u64,
    last: Time,
    /// Media has come.
    fed: bool,
    gaps: Gaps,
    /// It has to have shown by then that it lives.
    suspected: Option<Time>,
}

impl SilenceWatch {
    /// Begins now, as if something had just come. Silence up to `floor_us` is always allowed.
    pub fn new(now: Time, floor_us: u64) -> SilenceWatch {
        SilenceWatch {
            floor_us,
            unfed_us: floor_us,
            last: now,
            fed: false,
            gaps: Gaps { counts: [0; BUCKETS], total: 0 },
            suspected: None,
        }
    }

    /// Silence up to so much is allowed before any media has come.
    pub fn unfed(mut self, unfed_us: u64) -> SilenceWatch {
        self.unfed_us = unfed_us;
        self
    }

    /// Something came: a head, a message, anything but media.
    pub fn arrived(&mut self, now: Time) {
        self.last = self.last.max(now);
        self.suspected = None;
    }

    /// Somebody says that it is dead: from now on it has [`suspect_us`] to show that it isn't.
    pub fn suspect(&mut self, now: Time, rtt_us: u64) {
        self.suspected.get_or_insert(now + suspect_us(rtt_us));
    }

    /// Whether it has yet to show that it lives.
    pub fn is_suspected(&self) -> bool {
        self.suspected.is_some()
    }

    /// A packet of media came. Only the silences before these are counted: how seldom a link speaks that
    /// carries nothing says nothing of how regular it is.
    pub fn fed(&mut self, now: Time) {
        let gap_us = now.since(self.last);
        if self.fed && gap_us >= MS {
            self.gaps.add(gap_us);
        }
        self.fed = true;
        self.arrived(now);
    }

    /// How long a silence may last now.
    pub fn limit_us(&self) -> u64 {
        if !self.fed {
            return self.unfed_us;
        }
        self.floor_us.max((4 * self.gaps.p99_us()).min(SILENT_US_MAX))
    }

    /// How long nothing has come.
    pub fn silent_us(&self, now: Time) -> u64 {
        now.since(self.last)
    }

    /// [`Verdict::Silent`] past the limit, [`Verdict::Behind`] past half of it, otherwise [`Verdict::Ok`].
    pub fn verdict(&self, now: Time) -> Verdict {
        match self.silent_us(now) {
            _ if self.suspected.is_some_and(|due| due <= now) => Verdict::Silent,
            silent if silent >= self.limit_us() => Verdict::Silent,
            silent if silent >= self.limit_us() / 2 => Verdict::Behind,
            _ => Verdict::Ok,
        }
    }
}

/// How late frames come, by clocks that may differ by whatever.
#[derive(Clone, Copy, Debug, Default)]
struct Lateness {
    /// When this span began, and the least of it.
    least: Option<(Time, i64)>,
    /// The least of the span before.
    before: Option<i64>,
}

impl Lateness {
    fn of(now: Time, captured_us: u64) -> i64 {
        now.0.wrapping_sub(captured_us) as i64
    }

    fn add(&mut self, now: Time, captured_us: u64) {
        let late_us = Lateness::of(now, captured_us);
        self.least = match self.least {
            Some((since, least)) if now.since(since) < USUAL_US => Some((since, least.min(late_us))),
            ended => {
                self.before = ended.map(|(_, least)| least);
                Some((now, late_us))
            }
        };
    }

    /// How much later than usual a frame would be that came only now; `None` while nobody knows.
    fn past_usual_us(&self, now: Time, captured_us: u64) -> Option<i64> {
        let usual_us = self.least.map(|(_, least)| least).into_iter().chain(self.before).min()?;
        Some(Lateness::of(now, captured_us).saturating_sub(usual_us))
    }
}

/// Watches the link that feeds us, and compares it with the backup's heads.
#[derive(Clone, Debug)]
pub struct FeedWatch {
    parent: SilenceWatch,
    since: Time,
    /// Capture time of the newest frame we hold, and since when.
    newest_us: u64,
    newest_at: Time,
    late: Lateness,
    /// Capture time of the backup's newest frame.
    backup_us: u64,
    ahead_since: Option<Time>,
    /// The parent was said to be behind, and we haven't caught up since.
    behind: bool,
    asked_at: Option<Time>,
}

impl FeedWatch {
    /// Begins now.
    pub fn new(now: Time) -> FeedWatch {
        FeedWatch {
            parent: SilenceWatch::new(now, PARENT_SILENT_US),
            since: now,
            newest_us: 0,
            newest_at: now,
            late: Lateness::default(),
            backup_us: 0,
            ahead_since: None,
            behind: false,
            asked_at: None,
        }
    }

    /// Something but media came from the parent.
    pub fn arrived(&mut self, now: Time) {
        self.parent.arrived(now);
    }

    /// A packet of media came from the parent.
    pub fn fed(&mut self, now: Time) {
        self.parent.fed(now);
    }

    /// A frame of the program was here before this parent.
    pub fn held(&mut self, captured_us: u64) {
        self.newest_us = self.newest_us.max(captured_us);
    }

    /// A frame of the program is here, from whomever.
    pub fn progressed(&mut self, now: Time, captured_us: u64) {
        if captured_us > self.newest_us {
            self.newest_us = captured_us;
            self.newest_at = now;
            if now.since(self.since) >= SETTLE_US {
                self.late.add(now, captured_us);
            }
            self.compare(now);
        }
    }

    /// Another peer is the backup. Not to be said when there is none any more: it may have been asked to feed us, and what it
    /// told of the parent is as true as before.
    pub fn another_backup(&mut self) {
        (self.backup_us, self.ahead_since) = (0, None);
    }

    /// The backup told how far it is.
    pub fn backup_head(&mut self, now: Time, captured_us: u64) {
        self.backup_us = self.backup_us.max(captured_us);
        self.compare(now);
    }

    /// A backup that is nearer to the mixer is always ahead: the parent must be later than it usually is, too, or
    /// while nobody knows that, silent.
    fn compare(&mut self, now: Time) {
        let ahead = self.newest_us > 0 && self.backup_us >= self.newest_us.saturating_add(AHEAD_US);
        let late = match self.late.past_usual_us(now, self.newest_us) {
            Some(us) => us >= AHEAD_US as i64,
            None => self.parent.silent_us(now) >= ASK_US,
        };
        if ahead && late {
            self.ahead_since.get_or_insert(now);
        } else {
            self.ahead_since = None;
        }
    }

    /// Whether the backup is to be asked for its head now; at most each 50 ms.
    pub fn asks_backup(&mut self, now: Time) -> bool {
        let due = self.asked_at.is_none_or(|at| now.since(at) >= ASK_AGAIN_US);
        let asks = now.since(self.newest_at) >= ASK_US && due;
        if asks {
            self.asked_at = Some(now);
        }
        asks
    }

    /// What is to be said of the parent. One that was behind is so until we have caught up: a word of it is no frame.
    pub fn verdict(&mut self, now: Time) -> Verdict {
        let dead = self.parent.silent_us(now) >= DEAD_US;
        let given_up = |since: Time| self.behind || dead || now.since(since) >= AHEAD_US;
        self.behind = self.ahead_since.is_some_and(given_up);
        if self.parent.verdict(now) == Verdict::Silent {
            Verdict::Silent
        } else if self.behind {
            Verdict::Behind
        } else if self.newest_us > 0 && now.since(self.newest_at) >= STALLED_US {
            Verdict::Stalled
        } else {
            Verdict::Ok
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Time {
        Time(ms * MS)
    }

    #[test]
    fn a_steady_link_is_silent_after_the_floor() {
        let mut watch = SilenceWatch::new(at(0), PARENT_SILENT_US);
        (0..400).for_each(|tick| watch.fed(at(tick * 20)));
        assert_eq!(watch.verdict(at(7980 + 74)), Verdict::Ok);
        assert_eq!(watch.verdict(at(7980 + 149)), Verdict::Behind);
        assert_eq!(watch.verdict(at(7980 + 150)), Verdict::Silent);
    }

    #[test]
    fn a_jittery_link_is_given_four_times_its_p99() {
        let mut watch = SilenceWatch::new(at(0), PARENT_SILENT_US);
        (0..300).for_each(|tick| watch.fed(at(tick * 100)));
        assert!((400_000..=500_000).contains(&watch.limit_us()), "{}", watch.limit_us());
    }

    #[test]
    fn a_link_that_carried_nothing_for_long_is_not_called_jittery() {
        let mut watch = SilenceWatch::new(at(0), PARENT_SILENT_US);
        (0..300).for_each(|tick| watch.arrived(at(tick * 500)));
        (1..400).for_each(|tick| watch.fed(at(150_000 + tick * 10)));
        assert_eq!(watch.limit_us(), PARENT_SILENT_US);
    }

    #[test]
    fn a_mixer_that_has_not_begun_is_given_time() {
        let mut watch = SilenceWatch::new(at(0), MIXER_SILENT_US).unfed(MIXER_BEGIN_US);
        watch.arrived(at(500));
        assert_eq!(watch.verdict(at(1400)), Verdict::Ok);
        watch.fed(at(1500));
        assert_eq!(watch.verdict(at(1850)), Verdict::Silent);
    }

    #[test]
    fn who_is_suspected_shows_that_it_lives_or_is_silent_soon() {
        for (rtt_ms, answers_at, verdict) in
            [(30, None, Verdict::Silent), (30, Some(130), Verdict::Ok), (150, None, Verdict::Ok)]
        {
            let mut watch = SilenceWatch::new(at(0), CHILD_SILENT_US);
            watch.arrived(at(90));
            watch.suspect(at(100), rtt_ms * MS);
            watch.suspect(at(250), rtt_ms * MS); // whoever says so too changes nothing
            answers_at.into_iter().for_each(|ms| watch.arrived(at(ms)));
            assert_eq!(watch.verdict(at(299)), Verdict::Ok);
            assert_eq!(watch.verdict(at(300)), verdict, "{rtt_ms} {answers_at:?}");
            assert_eq!(watch.is_suspected(), answers_at.is_none());
        }
    }

    #[test]
    fn one_long_gap_in_a_thousand_does_not_count() {
        let mut watch = SilenceWatch::new(at(0), PARENT_SILENT_US);
        let mut now = 0;
        for tick in 0..1000 {
            now += if tick == 500 { 2000 } else { 20 };
            watch.fed(at(now));
        }
        assert_eq!(watch.limit_us(), PARENT_SILENT_US);
    }

    #[test]
    fn a_parent_whose_backup_is_ahead_is_behind_after_100_ms() {
        let mut watch = FeedWatch::new(at(0));
        (1..=30).for_each(|tick| {
            watch.fed(at(tick * 33));
            watch.progressed(at(tick * 33), tick * 33 * MS);
        });
        for ms in (1000..1300).step_by(10) {
            watch.arrived(at(ms)); // alive, but nothing new
        }
        assert!(watch.asks_backup(at(1075)) && !watch.asks_backup(at(1100)) && watch.asks_backup(at(1125)));
        watch.backup_head(at(1100), 1095 * MS);
        assert_eq!(watch.verdict(at(1199)), Verdict::Ok);
        assert_eq!(watch.verdict(at(1200)), Verdict::Behind);
        watch.progressed(at(1210), 1200 * MS);
        assert_eq!(watch.verdict(at(1210)), Verdict::Ok);
    }

    #[test]
    fn a_parent_that_is_silent_while_its_backup_is_ahead_is_dead_however_jittery_its_link() {
        let mut watch = FeedWatch::new(at(0));
        for tick in 1..=300 {
            watch.fed(at(tick * 70));
            watch.progressed(at(tick * 70), tick * 70 * MS);
        }
        assert_eq!(watch.verdict(at(21_200)), Verdict::Ok, "four times its usual gap are 280 ms and more");
        watch.backup_head(at(21_130), 21_105 * MS);
        assert_eq!(watch.verdict(at(21_132)), Verdict::Ok);
        assert_eq!(watch.verdict(at(21_133)), Verdict::Behind);
        watch.another_backup();
        assert_eq!(watch.verdict(at(21_133)), Verdict::Ok, "of this one nothing is known");
        watch.backup_head(at(21_134), 21_105 * MS);
        watch.arrived(at(21_135));
        assert_eq!(watch.verdict(at(21_140)), Verdict::Ok, "it lives");
    }

    #[test]
    fn a_parent_that_was_behind_is_so_until_its_child_has_caught_up() {
        let mut watch = FeedWatch::new(at(0));
        for tick in 1..=30 {
            watch.fed(at(tick * 33));
            watch.progressed(at(tick * 33), tick * 33 * MS);
        }
        watch.backup_head(at(1120), 1115 * MS);
        assert_eq!(watch.verdict(at(1123)), Verdict::Behind, "nothing has come for 133 ms");
        watch.arrived(at(1124));
        assert_eq!(watch.verdict(at(1125)), Verdict::Behind, "a head feeds nobody");
        watch.progressed(at(1130), 1010 * MS);
        assert_eq!(watch.verdict(at(1130)), Verdict::Behind, "nor is one frame what the backup has");
        watch.progressed(at(1140), 1100 * MS);
        assert_eq!(watch.verdict(at(1140)), Verdict::Ok);
    }

    #[test]
    fn a_backup_that_is_nearer_to_the_mixer_is_no_fault_of_the_parent_until_that_is_later_than_usual() {
        let clock = u64::MAX / 2; // the mixer's has nothing to do with ours
        let mut watch = FeedWatch::new(at(0));
        watch.held(clock);
        let feed = |watch: &mut FeedWatch, from: u64, until: u64, late_ms: u64| {
            for ms in (from..until).step_by(33) {
                watch.fed(at(ms));
                watch.progressed(at(ms), clock + (1_000 + ms - late_ms) * MS);
                watch.backup_head(at(ms), clock + (1_000 + ms - 50) * MS);
                if watch.verdict(at(ms)) != Verdict::Ok {
                    return Some(ms);
                }
            }
            None
        };
        assert_eq!(feed(&mut watch, 0, 20_000, 300), None, "250 ms farther from the mixer than its backup");
        let behind = feed(&mut watch, 20_000, 21_000, 420);
        assert!(behind.is_some_and(|ms| (20_200..20_300).contains(&ms)), "{behind:?}");
    }

    #[test]
    fn a_feed_that_stands_still_while_nobody_is_ahead_is_stalled_after_600_ms() {
        let mut watch = FeedWatch::new(at(0));
        watch.progressed(at(10), 5 * MS);
        for ms in (10..=700).step_by(50) {
            watch.arrived(at(ms));
            watch.backup_head(at(ms), 5 * MS);
        }
        assert_eq!(watch.verdict(at(609)), Verdict::Ok);
        assert_eq!(watch.verdict(at(610)), Verdict::Stalled);
    }

    #[test]
    fn before_the_first_frame_only_silence_counts() {
        let mut watch = FeedWatch::new(at(0));
        watch.arrived(at(700));
        watch.backup_head(at(700), 700 * MS);
        assert_eq!(watch.verdict(at(810)), Verdict::Ok);
        assert_eq!(watch.verdict(at(850)), Verdict::Silent);
    }
}
