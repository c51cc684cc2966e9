//! Stall detection for linked peers: now and then a radio receives nothing for some hundred milliseconds, or
//! a machine stands still.
//!
//! Packet trains of a few seconds miss such stalls. Each body keeps one [`Pauses`] beside the brain, and
//! pings all linked peers at the same moment, every [`PING_US`](crate::watchdog::PING_US). The lateness of an
//! answer is its round trip beyond the shortest recent one. A stall at this peer's own end delays a whole
//! round, a stall at another peer's end only that peer's answer. So an answer's lateness is compared with the
//! median lateness of the others in the round. Lost pings count for nothing. Only this peer's own clock is
//! read, so that no peer can claim to be on time.

use crate::ordered::OrderedMap;
use std::collections::VecDeque;

use crate::id::PeerId;
use crate::time::{MS, Time};

/// Lateness beyond the others' median that counts as a stall: the shortest stall of radios (Wi-Fi: 100 to 500
/// ms). Jitter, and packet trains in the way, stay below.
const PAUSED_US: u64 = 100 * MS;
/// Number of later rounds after which a round is evaluated: 2 s, longer than radios stall.
const ROUNDS_OPEN: usize = 4;
/// Minimum number of answers that a stall rate is taken over: five minutes' worth. A link observed for a
/// shorter time counts as if it had been without stalls before. A guess.
const ANSWERS_MIN: u32 = 600;
/// Number of answers, twenty minutes' worth, at which the counts are halved, so that about the last quarter
/// of an hour counts. A guess.
const HALVE_AFTER: u32 = 2_400;
/// Answers per span. The shortest round trip is taken over the present and the previous span, because paths
/// change. A guess.
const QUICKEST_SPAN: u32 = 64;

/// Observations of one peer.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    answers: u32,
    late: u32,
    /// Answers in the present span, and the shortest round trips of the present and the previous span, in
    /// microseconds.
    in_span: u32,
    quickest_us: Option<u64>,
    quickest_before_us: Option<u64>,
}

impl Seen {
    /// Adds an answer, and returns its lateness beyond the shortest round trip.
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

/// Pings sent at one moment, and the time that each answer took.
#[derive(Clone, Debug)]
struct Round {
    sent: Time,
    took_us: OrderedMap<PeerId, u64>,
}

/// Stall rates of the linked peers.
#[derive(Clone, Debug, Default)]
pub struct Pauses {
    rounds: VecDeque<Round>,
    seen: OrderedMap<PeerId, Seen>,
}

impl Pauses {
    /// Starts a round of pings.
    pub fn pinged(&mut self, now: Time) {
        self.rounds.push_back(Round { sent: now, took_us: OrderedMap::new() });
        if self.rounds.len() > ROUNDS_OPEN
            && let Some(round) = self.rounds.pop_front()
        {
            self.judge(&round);
        }
    }

    /// Takes a peer's answer to the ping sent at `sent`; the first answer counts.
    pub fn answered(&mut self, peer: PeerId, sent: Time, now: Time) {
        if let Some(round) = self.rounds.iter_mut().find(|round| round.sent == sent) {
            round.took_us.entry(peer).or_insert_with(|| now.since(sent));
        }
    }

    /// Forgets a peer with which the link has closed.
    pub fn forget(&mut self, peer: &PeerId) {
        self.seen.remove(peer);
        self.rounds.iter_mut().for_each(|round| {
            round.took_us.remove(peer);
        });
    }

    /// Returns a peer's answers per million that met a stall at its end; 0 if nothing is known.
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
            // the lower median of the other answers: they keep their order when this answer is left out
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

    /// Stall rates of three peers after `rounds` rounds; `late_ms`: their lateness beyond 30 ms in each
    /// round, `None` for no answer.
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
    fn only_a_peer_that_is_late_alone_pauses() {
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
    fn what_was_seen_briefly_counts_little_and_what_is_long_past_nothing() {
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
