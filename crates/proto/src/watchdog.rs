//! Failure detector: tells a dead peer from a slow one.
//!
//! Bodies keep one watch for each link that a peer depends on, feed it arrivals and heads, and give the brain
//! the verdict when it changes. The allowed silence follows from the link itself: four times the 99th
//! percentile of its gaps, but no less than a floor, so that a jittery link isn't given up for its jitter.

use crate::io::Verdict;
use crate::time::{MS, Time};

/// Minimum allowed silence of a feeding parent. A guess: one and a half intervals of its heads, so that a parent
/// without media isn't silent; and half of the 300 ms within which 95 % of orphans are to be fed again (target of
/// scenario `parent-killed`).
pub const PARENT_SILENT_US: u64 = 150 * MS;
/// Silence after which a parent counts as dead while the child's backup is ahead, however jittery the
/// parent's link: four frames at 30 a second.
pub const DEAD_US: u64 = 133 * MS;
/// Minimum allowed silence of a backup: three of its heads.
pub const BACKUP_SILENT_US: u64 = 1_500 * MS;
/// Minimum allowed silence of a mixer that its standby watches. A guess: two of its heads in a row, one each
/// 100 ms, may be lost. Simulated: stalls of 300 ms replaced no living mixer in 3,000 mixer-hours (scenario
/// `mixer-stalls`).
pub const MIXER_SILENT_US: u64 = 350 * MS;
/// Allowed silence of such a mixer before its first media: it warms up first. A guess.
pub const MIXER_BEGIN_US: u64 = 2_000 * MS;
/// Minimum allowed silence of a fed child, which pings its parent every [`PING_US`].
pub const CHILD_SILENT_US: u64 = 1_500 * MS;
/// Minimum time for a suspected child, one that its own children have lost, to show that it lives; two round
/// trips if they take longer. A guess.
const SUSPECT_US_MIN: u64 = 200 * MS;
/// Interval of pings between linked peers.
pub const PING_US: u64 = 500 * MS;
/// Time without a new frame after which a child requests a head from its backup. Half of
/// [`PARENT_SILENT_US`], so that the head can arrive before the parent counts as silent.
pub const ASK_US: u64 = 75 * MS;
/// Lead of the backup in program time, and the duration of that lead, from which the parent is at fault. A
/// guess: three frames at 30 a second.
pub const AHEAD_US: u64 = 100 * MS;
/// Time without a new frame after which a feed is given up even if no peer is known to be ahead. A guess:
/// twice the 300 ms within which a parent is to replace its own parent (target of scenario `parent-killed`).
pub const STALLED_US: u64 = 600 * MS;
/// Maximum silence allowed for a link's jitter. A guess.
const SILENT_US_MAX: u64 = 2_000 * MS;
/// Minimum number of gaps before their percentile counts: one gap in two hundred may be an accident. A guess.
const GAPS_MIN: u32 = 200;
/// Span for a feed's usual lateness, which is the minimum of the present and the previous span. Growing
/// queues are faster than that and show; drifting clocks are slower and don't. A guess.
const USUAL_US: u64 = 5_000 * MS;
/// Time before the lateness of a new parent's frames is measured: until then frames of the previous parent,
/// and of the new parent's cache, still arrive. A guess.
const SETTLE_US: u64 = 500 * MS;
/// Interval of head requests to the backup while the feed stands still. A guess.
const ASK_AGAIN_US: u64 = 50 * MS;

/// Time by which a capture time must lie before the newest one to begin a new count: the newest one was
/// false, or the stream's clock was set anew. A guess: longer than pictures wait for repairs while sound goes
/// on, and than a cached GOP.
pub const ANEW_US: u64 = 5_000 * MS;

/// Returns whether a capture time begins a new count after the newest one.
pub fn is_anew(newest_us: u64, captured_us: u64) -> bool {
    captured_us.saturating_add(ANEW_US) < newest_us
}

/// Returns the time that a suspected child has to show that it lives, for a round trip of `rtt_us`, in
/// microseconds.
pub fn suspect_us(rtt_us: u64) -> u64 {
    SUSPECT_US_MIN.max(rtt_us.saturating_mul(2))
}

/// Number of gap buckets, each a quarter octave from 1 ms up; 60 reach half a minute.
const BUCKETS: usize = 60;
/// Number of gaps at which the counts are halved, so that about the last minute weighs most.
const HALVE_AFTER: u32 = 2_000;

/// Histogram of the gaps between arrivals on one link.
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

    /// Returns the upper end of the 99th percentile's bucket, in microseconds; 0 below [`GAPS_MIN`] gaps.
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

/// Detects the silence of one peer.
#[derive(Clone, Debug)]
pub struct SilenceWatch {
    floor_us: u64,
    unfed_us: u64,
    last: Time,
    /// Whether media has arrived.
    fed: bool,
    gaps: Gaps,
    /// Deadline by which a suspected peer must show that it lives.
    suspected: Option<Time>,
    /// Lateness of this machine, which any silence may be due to.
    slack_us: u64,
}

impl SilenceWatch {
    /// Starts now, as if a packet had just arrived. Silence up to `floor_us` is always allowed.
    pub fn new(now: Time, floor_us: u64) -> SilenceWatch {
        SilenceWatch {
            floor_us,
            unfed_us: floor_us,
            last: now,
            fed: false,
            gaps: Gaps { counts: [0; BUCKETS], total: 0 },
            suspected: None,
            slack_us: 0,
        }
    }

    /// Sets how late this machine's own timers are, in microseconds: so much more silence is allowed.
    pub fn set_slack_us(&mut self, slack_us: u64) {
        self.slack_us = slack_us;
    }

    /// Sets the silence allowed before any media has arrived.
    pub fn unfed(mut self, unfed_us: u64) -> SilenceWatch {
        self.unfed_us = unfed_us;
        self
    }

    /// Records an arrival other than media: a head or a message.
    pub fn arrived(&mut self, now: Time) {
        self.last = self.last.max(now);
        self.suspected = None;
    }

    /// Records that another peer reports this peer dead: it has [`suspect_us`] from now to show that it
    /// lives.
    pub fn suspect(&mut self, now: Time, rtt_us: u64) {
        self.suspected.get_or_insert(now + suspect_us(rtt_us));
    }

    /// Returns whether the peer is suspected and hasn't shown yet that it lives.
    pub fn is_suspected(&self) -> bool {
        self.suspected.is_some()
    }

    /// Records a media packet. Only gaps before media packets are counted: the gaps of an idle link don't
    /// tell how regular it is.
    pub fn fed(&mut self, now: Time) {
        let gap_us = now.since(self.last);
        if self.fed && gap_us >= MS {
            self.gaps.add(gap_us);
        }
        self.fed = true;
        self.arrived(now);
    }

    /// Returns the silence allowed now, in microseconds.
    pub fn limit_us(&self) -> u64 {
        if !self.fed {
            return self.unfed_us;
        }
        self.floor_us.max((4 * self.gaps.p99_us()).min(SILENT_US_MAX))
    }

    /// Returns the time since the last arrival, in microseconds.
    pub fn silent_us(&self, now: Time) -> u64 {
        now.since(self.last)
    }

    /// Returns [`Verdict::Silent`] past the limit or a suspect's deadline, [`Verdict::Behind`] past half of
    /// the limit, otherwise [`Verdict::Ok`].
    pub fn verdict(&self, now: Time) -> Verdict {
        match self.silent_us(now).saturating_sub(self.slack_us) {
            _ if self.suspected.is_some_and(|due| due + self.slack_us <= now) => Verdict::Silent,
            silent if silent >= self.limit_us() => Verdict::Silent,
            silent if silent >= self.limit_us() / 2 => Verdict::Behind,
            _ => Verdict::Ok,
        }
    }
}

/// Lateness of frames, by two clocks with an arbitrary offset.
#[derive(Clone, Copy, Debug, Default)]
struct Lateness {
    /// Start of the present span, and the minimum lateness in it.
    least: Option<(Time, i64)>,
    /// Minimum lateness of the previous span.
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

    /// Returns how much later than usual a frame would be that arrived only now, in microseconds; `None`
    /// before any lateness was measured.
    fn past_usual_us(&self, now: Time, captured_us: u64) -> Option<i64> {
        let usual_us = self.least.map(|(_, least)| least).into_iter().chain(self.before).min()?;
        Some(Lateness::of(now, captured_us).saturating_sub(usual_us))
    }
}

/// Watches the link to the feeding parent, and compares it with the backup's heads.
#[derive(Clone, Debug)]
pub struct FeedWatch {
    parent: SilenceWatch,
    since: Time,
    /// Capture time of the newest frame held, and its arrival time.
    newest_us: u64,
    newest_at: Time,
    late: Lateness,
    /// Capture time of the backup's newest frame.
    backup_us: u64,
    ahead_since: Option<Time>,
    /// Whether the parent was judged behind, and this peer hasn't caught up since.
    behind: bool,
    asked_at: Option<Time>,
    /// Whether no frame has arrived since this parent began: its first one counts whatever the capture time
    /// of the frames before was.
    begins: bool,
    /// Whether the newest picture that the parent brought could not be shown.
    is_false: bool,
    /// Lateness of this machine, by which any two arrivals may differ.
    slack_us: u64,
}

impl FeedWatch {
    /// Starts now.
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
            begins: true,
            is_false: false,
            slack_us: 0,
        }
    }

    /// Sets how late this machine's own timers are, in microseconds: so much more silence and lag is allowed.
    pub fn set_slack_us(&mut self, slack_us: u64) {
        self.slack_us = slack_us;
        self.parent.set_slack_us(slack_us);
    }

    /// Records an arrival from the parent other than media.
    pub fn arrived(&mut self, now: Time) {
        self.parent.arrived(now);
    }

    /// Records a media packet from the parent.
    pub fn fed(&mut self, now: Time) {
        self.parent.fed(now);
    }

    /// Records a frame of the program that was held before this parent.
    pub fn held(&mut self, captured_us: u64) {
        self.newest_us = self.newest_us.max(captured_us);
    }

    /// Records a frame of the program, from any peer.
    pub fn progressed(&mut self, now: Time, captured_us: u64) {
        let begins = std::mem::take(&mut self.begins);
        if begins || captured_us > self.newest_us || is_anew(self.newest_us, captured_us) {
            self.newest_us = captured_us;
            self.newest_at = now;
            if now.since(self.since) >= SETTLE_US {
                self.late.add(now, captured_us);
            }
            self.compare(now);
        }
    }

    /// Records whether the newest picture that the parent brought could be shown. One that no honest peer makes puts
    /// the parent at fault until the next one that can.
    pub fn judged(&mut self, is_shown: bool) {
        self.is_false = !is_shown;
    }

    /// Starts comparing with another backup. Not to be called when the backup goes without a replacement: it
    /// may have been asked to feed this peer, and its heads still show that the parent is behind.
    pub fn another_backup(&mut self) {
        (self.backup_us, self.ahead_since) = (0, None);
    }

    /// Takes a head of the backup.
    pub fn backup_head(&mut self, now: Time, captured_us: u64) {
        self.backup_us = self.backup_us.max(captured_us);
        self.compare(now);
    }

    /// Compares the feed with the backup. A backup nearer to the mixer is always ahead, so the parent must
    /// also be later than usual, or silent while its usual lateness is unknown.
    fn compare(&mut self, now: Time) {
        let ahead_us = AHEAD_US + self.slack_us;
        let ahead = self.newest_us > 0 && self.backup_us >= self.newest_us.saturating_add(ahead_us);
        let late = match self.late.past_usual_us(now, self.newest_us) {
            Some(us) => us >= ahead_us as i64,
            None => self.parent.silent_us(now) >= ASK_US + self.slack_us,
        };
        if ahead && late {
            self.ahead_since.get_or_insert(now);
        } else {
            self.ahead_since = None;
        }
    }

    /// Returns whether to request a head from the backup now; at most every 50 ms.
    pub fn asks_backup(&mut self, now: Time) -> bool {
        let due = self.asked_at.is_none_or(|at| now.since(at) >= ASK_AGAIN_US);
        let asks = now.since(self.newest_at) >= ASK_US && due;
        if asks {
            self.asked_at = Some(now);
        }
        asks
    }

    /// Returns the verdict on the parent. A parent that was behind stays so until this peer has caught up: a
    /// head alone brings no frame.
    pub fn verdict(&mut self, now: Time) -> Verdict {
        let dead = self.parent.silent_us(now) >= DEAD_US + self.slack_us;
        let given_up = |since: Time| self.behind || dead || now.since(since) >= AHEAD_US + self.slack_us;
        self.behind = self.ahead_since.is_some_and(given_up);
        if self.parent.verdict(now) == Verdict::Silent {
            Verdict::Silent
        } else if self.behind || self.is_false {
            Verdict::Behind
        } else if self.newest_us > 0 && now.since(self.newest_at) >= STALLED_US + self.slack_us {
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
            watch.suspect(at(250), rtt_ms * MS); // a second suspicion changes nothing
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
    fn a_late_machine_allows_as_much_more_silence_and_lag() {
        for (slack_ms, silent) in [(0, Verdict::Silent), (200, Verdict::Ok)] {
            let mut watch = SilenceWatch::new(at(0), PARENT_SILENT_US);
            (0..400).for_each(|tick| watch.fed(at(tick * 20)));
            watch.set_slack_us(slack_ms * MS);
            assert_eq!(watch.verdict(at(7980 + 200)), silent);
            assert_eq!(watch.verdict(at(7980 + 350)), Verdict::Silent);
        }
        for (slack_ms, behind) in [(0, Verdict::Behind), (200, Verdict::Ok)] {
            let mut watch = FeedWatch::new(at(0));
            (1..=30).for_each(|tick| {
                watch.fed(at(tick * 33));
                watch.progressed(at(tick * 33), tick * 33 * MS);
            });
            watch.set_slack_us(slack_ms * MS);
            (1000..1200).step_by(10).for_each(|ms| watch.arrived(at(ms)));
            watch.backup_head(at(1100), 1095 * MS);
            assert_eq!(watch.verdict(at(1200)), behind);
        }
    }

    #[test]
    fn a_parent_whose_backup_is_ahead_is_behind_after_100_ms() {
        let mut watch = FeedWatch::new(at(0));
        (1..=30).for_each(|tick| {
            watch.fed(at(tick * 33));
            watch.progressed(at(tick * 33), tick * 33 * MS);
        });
        for ms in (1000..1300).step_by(10) {
            watch.arrived(at(ms)); // alive, but no new frame
        }
        assert!(watch.asks_backup(at(1075)) && !watch.asks_backup(at(1100)) && watch.asks_backup(at(1125)));
        watch.backup_head(at(1100), 1095 * MS);
        assert_eq!(watch.verdict(at(1199)), Verdict::Ok);
        assert_eq!(watch.verdict(at(1200)), Verdict::Behind);
        watch.progressed(at(1210), 1200 * MS);
        assert_eq!(watch.verdict(at(1210)), Verdict::Ok);
    }

    #[test]
    fn a_parent_that_is_silent_while_its_backup_is_ahead_is_at_fault() {
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
    fn a_backup_that_is_nearer_to_the_mixer_is_no_fault_of_the_parent() {
        let clock = u64::MAX / 2; // the mixer's clock is unrelated to this peer's
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
