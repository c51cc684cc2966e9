//! Which of the peers that we are linked with pause: a radio hears nothing for some hundred milliseconds now and then, a machine
//! stands still.
//!
//! Probes of some seconds don't see that. Bodies keep one of these beside the brain, and ping all linked peers at one moment,
//! each [`PING_US`](crate::watchdog::PING_US). An answer is late by what it took past the quickest one of late. A pause at our own end
//! holds up a whole round, one at another's that peer's answer alone: so what counts is by how much it is later than the middle one
//! of the others. Lost pings say nothing. Only our own clock is read: nobody talks itself on time.

use std::collections::{BTreeMap, VecDeque};

use crate::id::PeerId;
use crate::time::{MS, Time};

/// An answer that is so much later than the others' has met a pause: the least that radios pause for (Wi-Fi: 100 to 500 ms).
/// Jitter, and a train in the way, are below that.
const PAUSED_US: u64 = 100 * MS;
/// A round is judged when so many have left after it: 2 s, longer than radios pause.
const ROUNDS_OPEN: usize = 4;
/// Shares are taken of at least so many answers: five minutes' worth. What was seen of a link for a short time counts as if all
/// had been well before.
const ANSWERS_MIN: u32 = 600;
/// After so many answers, twenty minutes' worth, the counts are halved: the last quarter of an hour or so counts.
const HALVE_AFTER: u32 = 2_400;
/// The quickest answer is that of the last one to two spans of so many: ways change.
const QUICKEST_SPAN: u32 = 64;

/// What was seen of one peer.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    answers: u32,
    late: u32,
    /// Answers in this span, their quickest, and that of the span before, microseconds.
    in_span: u32,
    quickest_us: Option<u64>,
    quickest_before_us: Option<u64>,
}

impl Seen {
    /// By how much an answer that took so long is later than the quickest.
    fn late_us(&mut self, took_us: u64) -> u64 {
        if self.in_span >= QUICKEST_SPAN {
            (self.in_span, self.quickest_before_us) = (0, self.quickest_us.take());
        }
        self.in_span += 1;
        let quickest_us = self.quickest_us.map_or(took_us, |us| us.min(took_us));
        self.quickest_us = Some(quickest_us);
        took_us - self.quickest_before_us.map_or(quickest_us, |us| us.min(quickest_us))
    }

    fn count(&mut self, is_late: bool) {
        if self.answers >= HALVE_AFTER {
            (self.answers, self.late) = (self.answers / 2, self.late / 2);
        }
        self.answers += 1;
        self.late += u32::from(is_late);
    }
}

/// Pings that left at one moment, and how long each answer took.
#[derive(Clone, Debug)]
struct Round {
    sent: Time,
    took_us: BTreeMap<PeerId, u64>,
}

/// The pauses of the peers that we are linked with.
#[derive(Clone, Debug, Default)]
pub struct Pauses {
    rounds: VecDeque<Round>,
    seen: BTreeMap<PeerId, Seen>,
}

impl Pauses {
    /// A round of pings leaves.
    pub fn pinged(&mut self, now: Time) {
        self.rounds.push_back(Round { sent: now, took_us: BTreeMap::new() });
        if self.rounds.len() > ROUNDS_OPEN
            && let Some(round) = self.rounds.pop_front()
        {
            self.judge(&round);
        }
    }

    /// A peer has answered the ping that left at `sent`; the first answer counts.
    pub fn answered(&mut self, peer: PeerId, sent: Time, now: Time) {
        if let Some(round) = self.rounds.iter_mut().find(|round| round.sent == sent) {
            round.took_us.entry(peer).or_insert_with(|| now.since(sent));
        }
    }

    /// The link with a peer is no more.
    pub fn forget(&mut self, peer: &PeerId) {
        self.seen.remove(peer);
        self.rounds.iter_mut().for_each(|round| {
            round.took_us.remove(peer);
        });
    }

    /// Of a million answers of a peer, those that met a pause at its end; 0 where nothing is known.
    pub fn paused_ppm(&self, peer: &PeerId) -> u32 {
        let share = |seen: &Seen| u64::from(seen.late) * 1_000_000 / u64::from(seen.answers.max(ANSWERS_MIN));
        self.seen.get(peer).map_or(0, share) as u32
    }

    fn judge(&mut self, round: &Round) {
        let late = round.took_us.iter().map(|(peer, took_us)| {
            let late_us = self.seen.entry(*peer).or_default().late_us(*took_us);
            (late_us, *peer)
        });
        let mut late: Vec<(u64, PeerId)> = late.collect();
        late.sort_unstable();
        for (at, (late_us, peer)) in late.iter().enumerate() {
            // the lower middle of the others, who stand in the same order without this one
            let middle = late.len().saturating_sub(2) / 2;
            let own_us = late.get(middle + usize::from(middle >= at)).map_or(0, |(us, _)| *us);
            let paused = *late_us >= own_us.saturating_add(PAUSED_US);
            if let Some(seen) = self.seen.get_mut(peer) {
                seen.count(paused);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watchdog::PING_US;

    fn peer(id: u8) -> PeerId {
        PeerId([id; 32])
    }

    /// So many rounds, in which these are how late each of three peers answers, beside 30 ms; `None`: never.
    fn seen(rounds: u64, late_ms: impl Fn(u64) -> [Option<u64>; 3]) -> [u32; 3] {
        let mut pauses = Pauses::default();
        for round in 0..rounds + ROUNDS_OPEN as u64 {
            let sent = Time(round * PING_US);
            pauses.pinged(sent);
            for (id, late_ms) in (1..).zip(late_ms(round)) {
                if let Some(late_ms) = late_ms.filter(|_| round < rounds) {
                    pauses.answered(peer(id), sent, sent + (30 + late_ms) * MS);
                }
            }
        }
        [1, 2, 3].map(|id| pauses.paused_ppm(&peer(id)))
    }

    #[test]
    fn whoever_is_late_alone_pauses_and_whoever_is_late_with_the_others_does_not() {
        let each_hundredth = |round: u64, ms: u64| Some(if round % 100 == 99 { ms } else { 0 });
        for (late_ms, expected, what) in [
            ((|_| [Some(0); 3]) as fn(u64) -> [Option<u64>; 3], [0; 3], "nobody is late"),
            (|_| [Some(900); 3], [0; 3], "always as late as the quickest is on time"),
            (|round| [Some(0), Some(0), Some(round % 90)], [0; 3], "jitter is no pause"),
            (|round| [Some(0), Some(0), Some(300 * u64::from(round % 100 == 99))], [0, 0, 10_000], "a radio"),
            (|round| [Some(300 * u64::from(round % 100 == 99)); 3], [0; 3], "our own"),
            (|round| [None, None, Some(300 * u64::from(round % 100 == 99))], [0, 0, 10_000], "alone"),
            (|round| [Some(0), Some(0), (round % 50 != 0).then_some(0)], [0; 3], "a lost ping is no pause"),
        ] {
            assert_eq!(seen(2_000, late_ms), expected, "{what}");
        }
        let both =
            seen(2_000, |round| [each_hundredth(round, 250), Some(0), each_hundredth(round + 50, 250)]);
        assert_eq!(both, [10_000, 0, 10_000]);
    }

    #[test]
    fn what_was_seen_for_a_short_time_counts_little_and_what_is_long_past_no_more() {
        let once = |at: u64| move |round: u64| [Some(0), Some(0), Some(300 * u64::from(round == at))];
        assert_eq!(seen(20, once(10))[2], 1_000_000 / ANSWERS_MIN);
        assert_eq!(seen(2 * u64::from(HALVE_AFTER), once(10))[2], 0);
    }

    #[test]
    fn a_way_that_has_become_longer_is_no_pause_for_long() {
        let longer = |round: u64| [Some(0), Some(0), Some(if round < 100 { 0 } else { 200 })];
        let late = u64::from(seen(1_200, longer)[2]) * 1_200 / 1_000_000;
        assert!((1..=2 * u64::from(QUICKEST_SPAN)).contains(&late), "{late}");
    }

    #[test]
    fn a_link_that_is_gone_is_forgotten() {
        let mut pauses = Pauses::default();
        for round in 0..10 {
            let sent = Time(round * PING_US);
            pauses.pinged(sent);
            pauses.answered(peer(1), sent, sent + (30 + 300 * (round % 2)) * MS);
        }
        assert!(pauses.paused_ppm(&peer(1)) > 0);
        pauses.forget(&peer(1));
        assert_eq!(pauses.paused_ppm(&peer(1)), 0);
    }
}
