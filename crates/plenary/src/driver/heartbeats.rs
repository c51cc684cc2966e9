//! The heartbeat channel: heads towards children, pings and what they tell of clocks.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use plenary_proto::message::{Heartbeat, path_hash};
use plenary_proto::pauses::Pauses;
use plenary_proto::watchdog::PING_US;
use plenary_proto::{PeerId, RoomState};
use plenary_rtc::LinkId;

use super::peers::Peers;
use crate::flow::Flow;

/// Time without media after which a parent sends heads to its children, and their interval: shorter than the
/// shortest allowed silence of a parent (`PARENT_SILENT_US`, 150 ms).
const FEED_HEAD_US: u64 = 100_000;
/// Interval of a mixer's heads to the standby and the other mixers, also while no speaker sends. A guess: as to
/// children.
const WATCH_HEAD_US: u64 = 100_000;
/// Interval of heads to promised backups. A guess: as often as pings.
const BACKUP_HEAD_US: u64 = 500_000;
/// Pings whose round trip is compared: the shortest of them says most of the clocks.
const SAMPLES_MAX: usize = 16;

#[derive(Clone, Copy, Debug)]
struct Sample {
    rtt_us: u64,
    /// To be added to the peer's clock to get ours.
    offset_us: i64,
}

/// What goes over the heartbeat channels.
#[derive(Default)]
pub(crate) struct Heartbeats {
    /// Peers that we promised to feed, and when their next head is due.
    promised: BTreeMap<PeerId, u64>,
    feed_head_us: u64,
    watch_head_us: u64,
    /// When all were pinged last.
    round_us: u64,
    /// Who was pinged at all.
    pinged: BTreeSet<PeerId>,
    pauses: Pauses,
    samples: BTreeMap<PeerId, VecDeque<Sample>>,
}

impl Heartbeats {
    /// Sends a peer heads from now on.
    pub(crate) fn promise(&mut self, peer: PeerId) {
        self.promised.insert(peer, 0);
    }

    /// Sends a peer heads no more.
    pub(crate) fn unpromise(&mut self, peer: &PeerId) {
        self.promised.remove(peer);
    }

    pub(crate) fn forget(&mut self, peer: &PeerId) {
        self.promised.remove(peer);
        self.pinged.remove(peer);
        self.pauses.forget(peer);
        self.samples.remove(peer);
    }

    /// Asks a peer how far it is.
    pub(crate) fn ask_head(&self, flow: &Flow, peer: &PeerId) {
        let link = flow.state().links.get(&(*peer, plenary_proto::message::LinkKind::Peer)).copied();
        if let (Some(link), Some(sending)) = (link, flow.sending()) {
            sending.heartbeat(link, &Heartbeat::HeadWanted);
        }
    }

    fn head(flow: &Flow, brain: &RoomState) -> Heartbeat {
        let path = brain.snapshot().path;
        let mut head = flow.state().program().head();
        head.depth = path.len().saturating_sub(1).min(255) as u8;
        head.path_hash = path_hash(&path);
        Heartbeat::Head(head)
    }

    /// Sends what is due.
    pub(crate) fn on_time(&mut self, flow: &Flow, peers: &Peers, brain: &RoomState) {
        let Some(sending) = flow.sending() else { return };
        let now_us = flow.now_us();
        let up: BTreeMap<PeerId, LinkId> = peers.up().collect();
        let mut due: Vec<LinkId> = Vec::new();
        for (peer, at_us) in &mut self.promised {
            if let (true, Some(link)) = (*at_us <= now_us, up.get(peer)) {
                *at_us = now_us + BACKUP_HEAD_US;
                due.push(*link);
            }
        }
        let (children, forwarded_us): (Vec<_>, _) = {
            let mut state = flow.state();
            let program = state.program();
            (program.links().collect(), program.forwarded_us)
        };
        if now_us >= forwarded_us + FEED_HEAD_US && now_us >= self.feed_head_us {
            self.feed_head_us = now_us + FEED_HEAD_US;
            due.extend(children);
        }
        if now_us >= self.watch_head_us {
            self.watch_head_us = now_us + WATCH_HEAD_US;
            let state = flow.state();
            due.extend(state.inflow.forwarding_to().filter_map(|peer| up.get(peer)));
        }
        if !due.is_empty() {
            let head = Self::head(flow, brain);
            due.into_iter().for_each(|link| sending.heartbeat(link, &head));
        }
        // all at one moment: a pause at our own end shows in all answers
        let round = now_us >= self.round_us + PING_US;
        if round {
            self.round_us = now_us;
            self.pauses.pinged(flow.time(now_us));
        }
        for (peer, link) in up {
            // whoever is new isn't kept waiting: its clock and round trip are wanted soon
            if self.pinged.insert(peer) || round {
                sending.heartbeat(link, &Heartbeat::Ping { sent_us: now_us });
            }
        }
    }

    /// A heartbeat has come. Gives the difference of the clocks and the round trip when they are known better now.
    pub(crate) fn received(
        &mut self,
        flow: &Flow,
        brain: &RoomState,
        peer: PeerId,
        link: LinkId,
        heartbeat: Heartbeat,
    ) -> Option<(i64, u64)> {
        let sending = flow.sending()?;
        let now_us = flow.now_us();
        match heartbeat {
            Heartbeat::Head(head) => {
                let mut state = flow.state();
                // a program beside ours says nothing of ours: its clock is another
                let ours = state.program().head();
                if head.stream == ours.stream || head.rank > ours.rank || ours.captured_us == 0 {
                    state.watches.head(&peer, flow.time(now_us), head.captured_us);
                }
                None
            }
            Heartbeat::HeadWanted => {
                sending.heartbeat(link, &Self::head(flow, brain));
                None
            }
            Heartbeat::Ping { sent_us } => {
                sending.heartbeat(
                    link,
                    &Heartbeat::Pong { sent_us, received_us: now_us, replied_us: flow.now_us() },
                );
                None
            }
            Heartbeat::Pong { sent_us, received_us, replied_us } => {
                self.pauses.answered(peer, flow.time(sent_us), flow.time(now_us));
                self.sample(peer, sent_us, received_us, replied_us, now_us)
            }
        }
    }

    /// Four times of a ping: the round trip, and the offset of the clocks as if both ways took alike (RFC 5905).
    fn sample(
        &mut self,
        peer: PeerId,
        sent_us: u64,
        received_us: u64,
        replied_us: u64,
        now_us: u64,
    ) -> Option<(i64, u64)> {
        let away_us = now_us.checked_sub(sent_us)?;
        let rtt_us = away_us.checked_sub(replied_us.checked_sub(received_us)?)?;
        let there = i64::try_from(received_us).ok()?.checked_sub(i64::try_from(sent_us).ok()?)?;
        let back = i64::try_from(replied_us).ok()?.checked_sub(i64::try_from(now_us).ok()?)?;
        let offset_us = -(there.checked_add(back)? / 2);
        let samples = self.samples.entry(peer).or_default();
        if samples.len() >= SAMPLES_MAX {
            samples.pop_front();
        }
        samples.push_back(Sample { rtt_us, offset_us });
        let best = samples.iter().min_by_key(|sample| sample.rtt_us)?;
        Some((best.offset_us, best.rtt_us))
    }

    /// How often a peer pauses, of a million answers.
    pub(crate) fn paused_ppm(&self, peer: &PeerId) -> u32 {
        self.pauses.paused_ppm(peer)
    }

    /// The round trips to all peers that have answered a ping of late.
    pub(crate) fn rtts_us(&self) -> Vec<(PeerId, u32)> {
        let known = self.samples.keys().filter_map(|peer| Some((*peer, self.rtt_us(peer)?)));
        known.map(|(peer, rtt_us)| (peer, rtt_us.min(u64::from(u32::MAX)) as u32)).collect()
    }

    /// The round trip to a peer, as far as it is known.
    pub(crate) fn rtt_us(&self, peer: &PeerId) -> Option<u64> {
        self.samples.get(peer)?.iter().map(|sample| sample.rtt_us).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(heartbeats: &mut Heartbeats, times: [u64; 4]) -> Option<(i64, u64)> {
        heartbeats.sample(PeerId([1; 32]), times[0], times[1], times[2], times[3])
    }

    #[test]
    fn a_clock_that_is_ahead_gives_a_negative_offset_and_the_shortest_round_trip_decides() {
        let mut heartbeats = Heartbeats::default();
        // the peer's clock is 1000 ahead; 50 there, 50 back, 10 in between
        assert_eq!(sample(&mut heartbeats, [10_000, 11_050, 11_060, 10_110]), Some((-1000, 100)));
        // 500 there, 50 back: worse, so the first one stays
        assert_eq!(sample(&mut heartbeats, [20_000, 21_500, 21_510, 20_560]), Some((-1000, 100)));
        assert_eq!(heartbeats.rtt_us(&PeerId([1; 32])), Some(100));
    }

    #[test]
    fn times_that_cannot_be_are_ignored() {
        let mut heartbeats = Heartbeats::default();
        for times in [[10, 20, 15, 30], [100, 0, 0, 50], [0, u64::MAX, u64::MAX, 10], [0, 0, 100, 10]] {
            assert_eq!(sample(&mut heartbeats, times), None, "{times:?}");
        }
    }
}
