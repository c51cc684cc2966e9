//! Media that arrived from each peer over the last 20 s: its bitrate, and how much of the streams that the peer made.

use plenary_proto::ordered::OrderedMap;

use plenary_media::payload::LEFT_OUT;
use plenary_proto::identity::MediaKind;
use plenary_proto::message::MediaSeen;
use plenary_proto::packet::MediaPacket;
use plenary_proto::{PeerId, StreamId};

/// Whole seconds over which media is counted.
const SPAN_S: u64 = 20;
/// Number of counters of seconds: those of the span, and of the present second.
const SECONDS: usize = SPAN_S as usize + 1;
/// Pause after which numbers of packets in between don't count as missing: the peer stopped feeding this one.
const PAUSE_S: u64 = 2;
/// Maximum number of streams that are followed of a peer, pictures and sound counted separately: its program, its own
/// stream and a mix-minus, before and after a change of streams.
const STREAMS_MAX: usize = 12;

/// Counts of one second.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    /// Bytes of RTP packets.
    bytes: u64,
    /// Packets of the peer's own streams that were sent, by their numbers.
    sent: u32,
    /// Packets of these that arrived.
    arrived: u32,
}

/// Media of one peer.
#[derive(Debug)]
struct Source {
    /// First second with media, unless none arrived for [`SPAN_S`] since.
    since_s: u64,
    /// Newest second with media.
    last_s: u64,
    /// Counts by second modulo [`SECONDS`].
    seconds: [Counts; SECONDS],
    /// Newest number of each stream that the peer makes, and the second of its arrival.
    newest: OrderedMap<(StreamId, MediaKind), (u64, u64)>,
}

impl Source {
    fn new(now_s: u64) -> Source {
        Source {
            since_s: now_s,
            last_s: now_s,
            seconds: [Counts::default(); SECONDS],
            newest: OrderedMap::new(),
        }
    }

    /// Returns the counts of the present second; clears those of seconds that have left the span.
    fn at(&mut self, now_s: u64) -> &mut Counts {
        if now_s > self.last_s + SPAN_S {
            *self = Source::new(now_s);
        }
        for second in self.last_s + 1..=now_s {
            self.seconds[second as usize % SECONDS] = Counts::default();
        }
        self.last_s = self.last_s.max(now_s);
        &mut self.seconds[now_s as usize % SECONDS]
    }

    /// Counts a packet of a stream that the peer makes.
    fn own(&mut self, key: (StreamId, MediaKind), number: u64, is_fresh: bool, here: bool, now_s: u64) {
        let follows = self.newest.get(&key).filter(|(_, at_s)| now_s < at_s + PAUSE_S).copied();
        let is_newer = follows.is_none_or(|(newest, _)| number > newest);
        if is_newer {
            if !self.newest.contains_key(&key) && self.newest.len() >= STREAMS_MAX {
                self.newest.retain(|_, (_, at_s)| now_s < *at_s + PAUSE_S);
            }
            if self.newest.len() < STREAMS_MAX {
                self.newest.insert(key, (number, now_s));
            }
        }
        let sent = follows.map_or(1, |(newest, _)| number.saturating_sub(newest));
        let counts = self.at(now_s);
        counts.sent = counts.sent.saturating_add(u32::try_from(sent).unwrap_or(u32::MAX));
        // an older packet counts unless the other of two feeders has sent it already
        counts.arrived += u32::from(here && (is_newer || is_fresh));
    }
}

/// Media that arrived, by sender.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    sources: OrderedMap<PeerId, Source>,
}

impl Arrivals {
    /// Counts a packet from a peer. `is_own`: the peer makes the stream. `is_fresh`: first copy of the packet.
    pub(crate) fn packet(
        &mut self,
        peer: PeerId,
        kind: MediaKind,
        packet: &MediaPacket,
        (is_own, is_fresh): (bool, bool),
        bytes: u64,
        now_us: u64,
    ) {
        let now_s = now_us / 1_000_000;
        let source = self.sources.entry(peer).or_insert_with(|| Source::new(now_s));
        let here = packet.payload != LEFT_OUT;
        if here {
            source.at(now_s).bytes += bytes;
        }
        if is_own {
            let key = (packet.identity.stream, kind);
            source.own(key, packet.identity.number, is_fresh, here, now_s);
        }
    }

    /// Returns the number of peers with media.
    pub(crate) fn peers(&self) -> usize {
        self.sources.len()
    }

    /// Forgets a peer without a link.
    pub(crate) fn forget(&mut self, peer: &PeerId) {
        self.sources.remove(peer);
    }

    /// Returns what arrived from a peer over the last 20 s; `None` unless it did throughout.
    pub(crate) fn of(&mut self, peer: &PeerId, now_us: u64) -> Option<MediaSeen> {
        let now_s = now_us / 1_000_000;
        let source = self.sources.get_mut(peer)?;
        source.at(now_s);
        if now_s < source.since_s + SPAN_S {
            return None;
        }
        let span = (now_s - SPAN_S..now_s).map(|second| source.seconds[second as usize % SECONDS]);
        let [bytes, sent, arrived] = span.fold([0u64; 3], |[bytes, sent, arrived], second| {
            [bytes + second.bytes, sent + u64::from(second.sent), arrived + u64::from(second.arrived)]
        });
        Some(MediaSeen {
            bitrate_bps: bytes.saturating_mul(8) / SPAN_S,
            arrived_percent: (100 * arrived).checked_div(sent).map(|percent| percent.min(100) as u8),
        })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use plenary_proto::identity::PacketIdentity;
    use plenary_proto::packet::Contributors;

    use super::*;

    const PEER: PeerId = PeerId([7; 32]);

    fn packet(number: u64, payload: &'static [u8]) -> MediaPacket {
        MediaPacket {
            identity: PacketIdentity { stream: StreamId([1; 8]), number },
            timestamp: 0,
            marker: false,
            key_start: false,
            audio_level: None,
            contributors: Contributors::new(),
            payload: Bytes::from_static(payload),
        }
    }

    /// Gives `arrivals` 50 packets of 100 bytes in each of these seconds, less those that `arrives` denies.
    fn run(
        arrivals: &mut Arrivals,
        seconds: std::ops::Range<u64>,
        arrives: impl Fn(u64) -> Option<&'static [u8]>,
    ) {
        for number in seconds.start * 50..seconds.end * 50 {
            if let Some(payload) = arrives(number) {
                let packet = packet(number + 1, payload);
                arrivals.packet(PEER, MediaKind::Video, &packet, (true, true), 100, number * 20_000);
            }
        }
    }

    #[test]
    fn the_figures_are_those_of_the_last_20_seconds_and_absent_before() {
        let mut arrivals = Arrivals::default();
        run(&mut arrivals, 0..19, |_| Some(b"x"));
        assert_eq!(arrivals.of(&PEER, 19_000_000), None);
        run(&mut arrivals, 19..30, |_| Some(b"x"));
        let all = MediaSeen { bitrate_bps: 40_000, arrived_percent: Some(100) };
        assert_eq!(arrivals.of(&PEER, 30_000_000), Some(all));
        run(&mut arrivals, 30..50, |number| (number % 10 < 6).then_some(b"x"));
        let part = MediaSeen { bitrate_bps: 24_000, arrived_percent: Some(60) };
        assert_eq!(arrivals.of(&PEER, 50_000_000), Some(part));
        assert_eq!(arrivals.of(&PEER, 80_000_000), None, "nothing for 20 s");
        assert_eq!(arrivals.of(&PeerId([8; 32]), 50_000_000), None);
    }

    #[test]
    fn pictures_left_out_did_not_arrive_and_a_pause_of_the_feed_is_no_loss() {
        let mut arrivals = Arrivals::default();
        run(&mut arrivals, 0..21, |number| Some(if number % 2 == 0 { b"x" } else { LEFT_OUT }));
        let half = MediaSeen { bitrate_bps: 20_000, arrived_percent: Some(50) };
        assert_eq!(arrivals.of(&PEER, 21_000_000), Some(half));
        let mut arrivals = Arrivals::default();
        run(&mut arrivals, 0..10, |_| Some(b"x"));
        run(&mut arrivals, 15..21, |_| Some(b"x"));
        assert_eq!(arrivals.of(&PEER, 21_000_000).and_then(|seen| seen.arrived_percent), Some(100));
    }

    #[test]
    fn repaired_packets_count_and_copies_do_not() {
        let mut arrivals = Arrivals::default();
        let mut give = |number, is_fresh, at_us| {
            arrivals.packet(PEER, MediaKind::Video, &packet(number, b"x"), (true, is_fresh), 100, at_us);
        };
        for number in 0..1_050 {
            // every other packet is lost, and repaired a little later; a second feeder's copy follows
            let number = [number + 2, number][usize::from(number % 2 == 1)];
            give(number, true, number * 20_000);
            give(number, false, number * 20_000);
        }
        let seen = arrivals.of(&PEER, 21_000_000).expect("20 s");
        assert!((98..=100).contains(&seen.arrived_percent.expect("its own")), "{seen:?}");
    }

    #[test]
    fn of_forwarded_streams_only_the_bitrate_counts_and_memory_is_bounded() {
        let mut arrivals = Arrivals::default();
        for number in 0..1_050 {
            let packet = packet(number, b"x");
            arrivals.packet(PEER, MediaKind::Sound, &packet, (false, true), 100, number * 20_000);
        }
        let seen = arrivals.of(&PEER, 21_000_000);
        assert_eq!(seen, Some(MediaSeen { bitrate_bps: 40_000, arrived_percent: None }));
        for stream in 0..200u8 {
            let mut packet = packet(1, b"x");
            packet.identity.stream = StreamId([stream; 8]);
            arrivals.packet(PEER, MediaKind::Sound, &packet, (true, true), 100, 21_000_000);
        }
        assert_eq!(arrivals.sources[&PEER].newest.len(), STREAMS_MAX);
    }
}
