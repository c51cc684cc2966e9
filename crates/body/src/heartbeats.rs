//! The heartbeat channel: heads for children, backups and other mixers; pings, which measure round trips, clocks and
//! stalls.

use plenary_proto::ordered::{OrderedMap, OrderedSet};
use std::collections::VecDeque;

use plenary_proto::message::{Head, Heartbeat, LinkKind};
use plenary_proto::packet::LinkId;
use plenary_proto::pauses::Pauses;
use plenary_proto::watchdog::PING_US;
use plenary_proto::{PeerId, Time};

use crate::media::Media;
use crate::outs::Outs;

/// Time without media after which a parent sends heads to its children, and their interval: shorter than the
/// shortest allowed silence of a parent (`PARENT_SILENT_US`, 150 ms).
const FEED_HEAD_US: u64 = 100_000;
/// Interval of a mixer's heads to the standby and the other mixers, also while no speaker sends. A guess: as to
/// children.
const WATCH_HEAD_US: u64 = 100_000;
/// Interval of heads to promised backups. A guess: as often as pings.
const BACKUP_HEAD_US: u64 = 500_000;
/// Number of rounds of pings of which one reaches children and promised backups, too: 2 s. They ping this peer in each
/// round, so their silence shows; of its own pings it needs only the round trip. At 60 viewers pings, pongs and their
/// acknowledgements were a sixth of all datagrams.
const ROUNDS_PER_PING_BELOW: u64 = 4;
/// Number of pings whose round trips are compared: the shortest one tells the offset of the clocks best.
const SAMPLES_MAX: usize = 16;

/// Span of the answers that show a queue, in microseconds: two rounds of pings, of which a pause of the radio delays
/// one.
const QUEUE_SPAN_US: u64 = 1_000_000;
/// Number of answers of a peer from which these show a queue. A guess: two seconds of pings.
const QUEUE_SAMPLES_MIN: usize = 4;

/// Result of one ping.
#[derive(Clone, Copy, Debug)]
struct Sample {
    /// Time of the answer.
    at_us: u64,
    rtt_us: u64,
    /// Added to the peer's clock to get the local one.
    offset_us: i64,
}

/// Offset of a peer's clock, and its round-trip time, in microseconds.
pub(crate) type ClockSample = (i64, u64);

/// State of the heartbeat channels.
#[derive(Default)]
pub(crate) struct Heartbeats {
    /// Peers that this one is the backup of, and when their next head is due.
    promised: OrderedMap<PeerId, u64>,
    feed_head_us: u64,
    sound_head_us: u64,
    watch_head_us: u64,
    /// Time of the last round of pings, and the number of rounds.
    round_us: u64,
    rounds: u64,
    /// Peers that were pinged at all.
    pinged: OrderedSet<PeerId>,
    pauses: Pauses,
    samples: OrderedMap<PeerId, VecDeque<Sample>>,
}

impl Heartbeats {
    /// Sends a peer heads from now on.
    pub(crate) fn promise(&mut self, peer: PeerId) {
        self.promised.insert(peer, 0);
    }

    /// Sends a peer no more heads.
    pub(crate) fn unpromise(&mut self, peer: &PeerId) {
        self.promised.remove(peer);
    }

    /// Forgets a peer without a link.
    pub(crate) fn forget(&mut self, peer: &PeerId) {
        self.promised.remove(peer);
        self.pinged.remove(peer);
        self.pauses.forget(peer);
        self.samples.remove(peer);
    }

    /// Sends the heads and pings that are due. `head` returns this peer's position; `is_on_stage` tells which peers are
    /// on stage: others measure their stalls.
    pub(crate) fn on_time(
        &mut self,
        media: &Media,
        head: &dyn Fn() -> Head,
        is_on_stage: &dyn Fn(&PeerId) -> bool,
        now_us: u64,
        outs: &mut Outs,
    ) {
        let link = |peer: &PeerId| media.links.up(peer, LinkKind::Peer);
        let mut due: Vec<LinkId> = Vec::new();
        for (peer, at_us) in &mut self.promised {
            if let (true, Some(link)) = (*at_us <= now_us, link(peer)) {
                *at_us = now_us + BACKUP_HEAD_US;
                due.push(link);
            }
        }
        if now_us >= media.program.forwarded_us + FEED_HEAD_US && now_us >= self.feed_head_us {
            self.feed_head_us = now_us + FEED_HEAD_US;
            due.extend(media.program.links());
        } else if now_us >= self.sound_head_us {
            // a child without pictures gets no media while there is no sound
            self.sound_head_us = now_us + FEED_HEAD_US;
            due.extend(media.program.links().filter(|link| !media.links.takes_pictures(*link)));
        }
        if now_us >= self.watch_head_us {
            self.watch_head_us = now_us + WATCH_HEAD_US;
            due.extend(media.inflow.forwarding_to().filter_map(link));
        }
        if !due.is_empty() {
            let head = Heartbeat::Head(head());
            due.into_iter().for_each(|link| outs.heartbeat(link, head));
        }
        // all peers at one time: a stall of this peer then shows in all answers
        let round = now_us >= self.round_us + PING_US;
        if round {
            self.round_us = now_us;
            self.rounds += 1;
            self.pauses.pinged(media.time(now_us));
        }
        let all = self.rounds.is_multiple_of(ROUNDS_PER_PING_BELOW);
        for (peer, link) in media.links.peers() {
            let is_below = || self.promised.contains_key(&peer) || media.program.feeds(&peer);
            // a new peer's clock and round-trip time are needed soon
            if self.pinged.insert(peer) || round && (all || is_on_stage(&peer) || !is_below()) {
                outs.heartbeat(link, Heartbeat::Ping { sent_us: now_us });
            }
        }
    }

    /// Pings all peers at once, beside the rounds: no peer has sent anything for a while.
    pub(crate) fn ping_all(media: &Media, now_us: u64, outs: &mut Outs) {
        for (_, link) in media.links.peers() {
            outs.heartbeat(link, Heartbeat::Ping { sent_us: now_us });
        }
    }

    /// Handles the answer to a ping: four times in microseconds, and the present one. Returns the best sample so far.
    pub(crate) fn pong(
        &mut self,
        peer: PeerId,
        [sent_us, received_us, replied_us]: [u64; 3],
        now_us: u64,
        time: impl Fn(u64) -> Time,
    ) -> Option<ClockSample> {
        self.pauses.answered(peer, time(sent_us), time(now_us));
        self.sample(peer, sent_us, received_us, replied_us, now_us)
    }

    /// Computes the round-trip time and, as if both directions took equally long, the offset of the clocks (RFC 5905).
    fn sample(
        &mut self,
        peer: PeerId,
        sent_us: u64,
        received_us: u64,
        replied_us: u64,
        now_us: u64,
    ) -> Option<ClockSample> {
        let away_us = now_us.checked_sub(sent_us)?;
        let rtt_us = away_us.checked_sub(replied_us.checked_sub(received_us)?)?;
        let there = i64::try_from(received_us).ok()?.checked_sub(i64::try_from(sent_us).ok()?)?;
        let back = i64::try_from(replied_us).ok()?.checked_sub(i64::try_from(now_us).ok()?)?;
        let offset_us = -(there.checked_add(back)? / 2);
        let samples = self.samples.entry(peer).or_default();
        if samples.len() >= SAMPLES_MAX {
            samples.pop_front();
        }
        samples.push_back(Sample { at_us: now_us, rtt_us, offset_us });
        let best = samples.iter().min_by_key(|sample| sample.rtt_us)?;
        Some((best.offset_us, best.rtt_us))
    }

    /// Returns the number of peers that were pinged, or have answered.
    pub(crate) fn peers(&self) -> usize {
        self.pinged.len().max(self.samples.len()).max(self.promised.len())
    }

    /// Returns how often a peer stalls, in answers per million.
    pub(crate) fn paused_ppm(&self, peer: &PeerId) -> u32 {
        self.pauses.paused_ppm(peer)
    }

    /// Returns what waits in this peer's own line: by how much the fastest answer of the last second was later than the
    /// fastest before, at the median peer. `None` without such answers.
    pub(crate) fn queue_us(&self, now_us: u64) -> Option<u64> {
        let known = self.samples.values().filter(|samples| samples.len() >= QUEUE_SAMPLES_MIN);
        let queues = known.filter_map(|samples| {
            let least_us = samples.iter().map(|sample| sample.rtt_us).min()?;
            let lately = samples.iter().filter(|sample| now_us.saturating_sub(sample.at_us) < QUEUE_SPAN_US);
            Some(lately.map(|sample| sample.rtt_us).min()? - least_us)
        });
        let mut queues: Vec<u64> = queues.collect();
        queues.sort_unstable();
        queues.get(queues.len().saturating_sub(1) / 2).copied()
    }

    /// Returns the round-trip times to all peers that have answered a ping, in microseconds.
    pub(crate) fn rtts_us(&self) -> Vec<(PeerId, u32)> {
        self.samples.keys().filter_map(|peer| Some((*peer, self.rtt_us(peer)?))).collect()
    }

    /// Returns the shortest recent round-trip time to a peer, in microseconds.
    pub(crate) fn rtt_us(&self, peer: &PeerId) -> Option<u32> {
        let shortest_us = self.samples.get(peer)?.iter().map(|sample| sample.rtt_us).min()?;
        Some(u32::try_from(shortest_us).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(heartbeats: &mut Heartbeats, times: [u64; 4]) -> Option<ClockSample> {
        heartbeats.sample(PeerId([1; 32]), times[0], times[1], times[2], times[3])
    }

    #[test]
    fn the_shortest_round_trip_decides_the_offset_of_a_clock() {
        let mut heartbeats = Heartbeats::default();
        // the peer's clock is 1000 ahead; 50 there, 50 back, 10 in between
        assert_eq!(sample(&mut heartbeats, [10_000, 11_050, 11_060, 10_110]), Some((-1000, 100)));
        // 500 there, 50 back: worse, so the first one stays
        assert_eq!(sample(&mut heartbeats, [20_000, 21_500, 21_510, 20_560]), Some((-1000, 100)));
        assert_eq!(heartbeats.rtt_us(&PeerId([1; 32])), Some(100));
    }

    #[test]
    fn a_queue_in_this_peer_s_line_delays_the_answers_of_all_peers() {
        let mut heartbeats = Heartbeats::default();
        let answer = |heartbeats: &mut Heartbeats, peer: u8, at_us: u64, rtt_us: u64| {
            let half_us = at_us - rtt_us / 2;
            heartbeats.sample(PeerId([peer; 32]), at_us - rtt_us, half_us, half_us, at_us)
        };
        let round = |heartbeats: &mut Heartbeats, at_us: u64, rtts_us: [u64; 3]| {
            for (peer, rtt_us) in (1..).zip(rtts_us) {
                answer(heartbeats, peer, at_us, rtt_us);
            }
            heartbeats.queue_us(at_us)
        };
        for at in 1..4 {
            assert_eq!(round(&mut heartbeats, at * 1_000_000, [40_000, 60_000, 20_000]), None, "too few");
        }
        assert_eq!(round(&mut heartbeats, 4_000_000, [40_000, 60_000, 20_000]), Some(0));
        assert_eq!(round(&mut heartbeats, 5_500_000, [640_000, 660_000, 620_000]), Some(600_000));
        assert_eq!(round(&mut heartbeats, 6_000_000, [41_000, 61_000, 21_000]), Some(1_000), "a pause");
        assert_eq!(round(&mut heartbeats, 7_500_000, [40_000, 60_000, 900_000]), Some(0), "another's queue");
        assert_eq!(heartbeats.queue_us(9_000_000), None, "no answer lately");
    }

    #[test]
    fn impossible_times_are_ignored() {
        let mut heartbeats = Heartbeats::default();
        for times in [[10, 20, 15, 30], [100, 0, 0, 50], [0, u64::MAX, u64::MAX, 10], [0, 0, 100, 10]] {
            assert_eq!(sample(&mut heartbeats, times), None, "{times:?}");
        }
    }
}
