//! Rate limits of a link's control messages and heartbeats.
//!
//! A message beyond the budget is still handled, since the channel is reliable; but the link isn't read again until the
//! debt is repaid, and through the flow control of the channel the other end waits. A link that stays over its budget
//! ends.

use plenary_proto::Time;
use plenary_proto::bucket::{Bucket, Rate};
use plenary_proto::message::Budgeted;
use plenary_proto::time::SECOND;

/// Bytes of control messages of a link. A guess: a quiet link carries less than 1 KiB a second; the state at its begin
/// and a full ballot are up to 50 and 95 KiB.
pub(crate) const CONTROL: Rate = Rate { per_s: 64 * 1024, burst: 256 * 1024 };
/// The same for a link with a peer on stage, where an election moves ballots, reports and claims. A guess: the opener
/// issues three ballots of at most 95 KiB each.
pub(crate) const CONTROL_ON_STAGE: Rate = Rate { per_s: 128 * 1024, burst: 512 * 1024 };
/// Bytes of envelopes that the other end forwards for others; what exceeds them counts as its own. Twice what a peer
/// forwards to one link, so that an honest one is never blamed for others.
const CARRIED: Rate = Rate { per_s: 256 * 1024, burst: 1024 * 1024 };
/// Bytes of application data of all sources; what exceeds them counts as control. Twice what all sources say together:
/// a parent also sends again what was missed. At once as much as a peer keeps, twice: from a new parent all of it comes
/// again.
const DATA: Rate = Rate { per_s: 192 * 1024, burst: 1024 * 1024 };
/// Heartbeats of a link; further ones are dropped, and count as control. An honest end sends 10 heads a second, and at
/// most 8 pings and answers. A guess.
const BEATS: Rate = Rate { per_s: 50, burst: 100 };
/// Bytes counted per piece of a message beside the message's length.
const OVERHEAD_BYTES: u64 = 64;
/// Time over the budget after which a link ends.
const OVER_US_MAX: u64 = SECOND;
/// Share of a second's budget that must be left for a link to count as within it again.
const REST: u64 = 8;

/// What follows from a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Charged {
    /// The link is within its budget.
    Within,
    /// The link isn't to be read for this time, in microseconds.
    Pause(u64),
    /// The link has exceeded its budget for a second, and must end.
    Over,
}

/// Budgets of one link.
#[derive(Clone, Debug)]
pub(crate) struct LinkBudget {
    is_on_stage: bool,
    control: Bucket,
    carried: Bucket,
    data: Bucket,
    beats: Bucket,
    over_since: Option<Time>,
}

impl LinkBudget {
    /// Full budgets of a link with a peer that isn't on stage, as far as this peer knows.
    pub(crate) fn new(now: Time) -> LinkBudget {
        LinkBudget {
            is_on_stage: false,
            control: Bucket::new(CONTROL, now),
            carried: Bucket::new(CARRIED, now),
            data: Bucket::new(DATA, now),
            beats: Bucket::new(BEATS, now),
            over_since: None,
        }
    }

    /// Charges a message of the control channel, or one that may be lost.
    pub(crate) fn message(&mut self, now: Time, kind: Budgeted, len: usize, is_on_stage: bool) -> Charged {
        if self.is_on_stage != is_on_stage {
            // what was used stays used, or a peer that comes and goes had no limit
            let used = to_i64(control_of(self.is_on_stage).burst) - self.control.level(now);
            self.is_on_stage = is_on_stage;
            self.control = Bucket::new(control_of(is_on_stage), now);
            self.control.owe(now, used.max(0).unsigned_abs());
        }
        let bytes = len as u64 + OVERHEAD_BYTES;
        let is_free = match kind {
            Budgeted::Carried => self.carried.take(now, bytes),
            Budgeted::Data => self.data.take(now, bytes),
            Budgeted::Control => false,
        };
        if is_free { Charged::Within } else { self.charge(now, bytes) }
    }

    /// Charges a heartbeat; `None` within the budget. The caller drops heartbeats beyond it.
    pub(crate) fn beat(&mut self, now: Time, len: usize) -> Option<Charged> {
        let is_free = self.beats.take(now, 1);
        (!is_free).then(|| self.charge(now, len as u64 + OVERHEAD_BYTES))
    }

    fn charge(&mut self, now: Time, bytes: u64) -> Charged {
        if self.control.level(now) >= to_i64(control_of(self.is_on_stage).per_s / REST) {
            self.over_since = None;
        }
        let pause_us = self.control.owe(now, bytes);
        if pause_us == 0 {
            return Charged::Within;
        }
        let since = *self.over_since.get_or_insert(now);
        if now.since(since) >= OVER_US_MAX { Charged::Over } else { Charged::Pause(pause_us) }
    }
}

fn control_of(is_on_stage: bool) -> Rate {
    if is_on_stage { CONTROL_ON_STAGE } else { CONTROL }
}

fn to_i64(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRANGER: bool = false;

    /// Returns what a peer that sends as much as it is let gets through until its link ends: bytes and time.
    fn flood(len: usize, on: bool) -> (usize, u64) {
        let (mut now, mut bytes, mut budget) = (Time(0), 0, LinkBudget::new(Time(0)));
        loop {
            bytes += len;
            match budget.message(now, Budgeted::Control, len, on) {
                Charged::Within => {}
                Charged::Pause(pause_us) => now = now + pause_us,
                Charged::Over => return (bytes, now.0),
            }
            assert!(bytes < 4 << 20, "nobody minds {bytes} bytes");
        }
    }

    #[test]
    fn a_peer_that_never_stops_gets_its_burst_and_a_second_or_two() {
        for len in [100, 16_000, 100_000] {
            let (bytes, us) = flood(len, STRANGER);
            assert!((SECOND..3 * SECOND).contains(&us), "{len}: {us}");
            assert!(bytes < 640 * 1024, "{len}: {bytes} bytes");
        }
    }

    #[test]
    fn a_peer_at_its_rate_and_a_burst_after_a_pause_are_never_over() {
        let mut budget = LinkBudget::new(Time(0));
        for second in 0..600 {
            for part in 0..10 {
                let now = Time(second * SECOND + part * SECOND / 10);
                assert_eq!(budget.message(now, Budgeted::Control, 6_000, STRANGER), Charged::Within);
            }
        }
        let later = Time(700 * SECOND);
        for _ in 0..2 {
            assert_eq!(budget.message(later, Budgeted::Control, 100_000, STRANGER), Charged::Within);
        }
    }

    #[test]
    fn a_peer_that_comes_on_stage_and_leaves_it_again_and_again_gains_nothing() {
        let mut budget = LinkBudget::new(Time(0));
        let ends = (0..200).find(|step: &u64| {
            let now = Time(step * SECOND / 20);
            let on = step / 10 % 2 == 1;
            budget.message(now, Budgeted::Control, 25_000, on) == Charged::Over
        });
        assert!(ends.is_some_and(|step| step < 60), "{ends:?}");
    }

    #[test]
    fn an_opener_that_issues_its_ballots_in_one_second_is_within_its_budget() {
        let (mut budget, stage) = (LinkBudget::new(Time(0)), true);
        for issue in 0..5 {
            let now = Time(issue * SECOND / 8);
            assert_eq!(budget.message(now, Budgeted::Control, 95_000, stage), Charged::Within);
        }
    }

    #[test]
    fn heartbeats_beyond_fifty_a_second_are_dropped_and_count() {
        let mut budget = LinkBudget::new(Time(0));
        assert_eq!((0..200).filter(|_| budget.beat(Time(0), 30).is_none()).count(), 100);
        let honest = (0..100).map(|at| Time(5 * SECOND + at * SECOND / 50));
        assert!(honest.into_iter().all(|now| budget.beat(now, 30).is_none()));
        let ends =
            (0..1_000_000u64).find(|at| budget.beat(Time(10 * SECOND + at * 10), 30) == Some(Charged::Over));
        assert!(ends.is_some());
    }

    #[test]
    fn a_peer_pays_for_envelopes_and_data_as_for_its_own_words() {
        for kind in [Budgeted::Carried, Budgeted::Data] {
            let (mut now, mut bytes, mut budget) = (Time(0), 0, LinkBudget::new(Time(0)));
            loop {
                bytes += 8_000;
                match budget.message(now, kind, 8_000, STRANGER) {
                    Charged::Within => {}
                    Charged::Pause(pause_us) => now = now + pause_us,
                    Charged::Over => break,
                }
                assert!(bytes < 4 << 20, "nobody minds {bytes} bytes of {kind:?}");
            }
            assert!(now < Time(3 * SECOND), "{kind:?}: {now:?}");
        }
    }

    #[test]
    fn data_of_all_sources_and_what_others_send_over_the_link_cost_it_nothing() {
        let mut budget = LinkBudget::new(Time(0));
        for at in 0..1_000 {
            let now = Time(at * SECOND / 20);
            assert_eq!(budget.message(now, Budgeted::Data, 9_700, STRANGER), Charged::Within);
            assert_eq!(budget.message(now, Budgeted::Carried, 8_000, STRANGER), Charged::Within);
        }
    }
}
