//! Traffic accounting: the size of packets, and how much of what this peer sends goes to its children.

use plenary_proto::ordered::{OrderedMap, OrderedSet};

use plenary_proto::packet::{LinkId, LinkStats, MediaPacket};

/// Length of an RTP header, and of the header of its extensions.
const RTP_HEADER_BYTES: usize = 12 + 4;
/// Length of the extensions of each packet: its identity, and the transport-wide sequence number.
const EXTENSIONS_BYTES: usize = 15 + 3;

/// UDP payload that this peer has sent and received.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Traffic {
    /// Sent on links to viewers while this peer fed them: media, repairs, heads, connectivity checks.
    pub to_children_bytes: u64,
    /// Sent on all links.
    pub bytes: u64,
    /// Received on all links.
    pub received_bytes: u64,
}

/// Bit rates of this peer, from two sums of its traffic.
#[derive(Debug, Default)]
pub(crate) struct Throughput {
    before: Traffic,
    before_us: u64,
    /// Received and sent between the last two sums, bits per second.
    pub(crate) received_bps: u64,
    pub(crate) sent_bps: u64,
}

impl Throughput {
    /// Takes the sums of now.
    pub(crate) fn observe(&mut self, total: Traffic, now_us: u64) {
        let passed_us = now_us.saturating_sub(self.before_us).max(1);
        let bps = |now: u64, before: u64| now.saturating_sub(before).saturating_mul(8_000_000) / passed_us;
        self.received_bps = bps(total.received_bytes, self.before.received_bytes);
        self.sent_bps = bps(total.bytes, self.before.bytes);
        (self.before, self.before_us) = (total, now_us);
    }
}

/// Sums the traffic of links.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Bytes sent and received of each link at the last count.
    counted: OrderedMap<LinkId, [u64; 2]>,
    /// Links to children at the last count: a child that has left got part of the bytes since then.
    children: OrderedSet<LinkId>,
    total: Traffic,
}

impl Ledger {
    /// Counts what was sent since the last count. `children` are the present links to viewers that this peer feeds.
    pub(crate) fn count(
        &mut self,
        links: impl Iterator<Item = (LinkId, LinkStats)>,
        children: OrderedSet<LinkId>,
    ) {
        for (link, stats) in links {
            let now = [stats.udp_bytes_sent, stats.udp_bytes_received];
            let before = self.counted.insert(link, now).unwrap_or_default();
            let [sent, received] = [0, 1].map(|at| now[at].saturating_sub(before[at]));
            self.total.bytes += sent;
            self.total.received_bytes += received;
            if children.contains(&link) || self.children.contains(&link) {
                self.total.to_children_bytes += sent;
            }
        }
        self.children = children;
    }

    /// Forgets a link that has ended; its bytes stay counted.
    pub(crate) fn forget(&mut self, link: LinkId) {
        self.counted.remove(&link);
    }

    /// Returns the sums of all counts.
    pub(crate) fn total(&self) -> Traffic {
        self.total
    }
}

/// Returns the length of RTP header, extensions and payload.
pub(crate) fn rtp_bytes(packet: &MediaPacket) -> u64 {
    let level = if packet.audio_level.is_some() { 2 } else { 0 };
    let (csrcs, levels) = match packet.contributors.len() {
        0 => (0, 0),
        count => (4 * count, 1 + count),
    };
    let extensions = (EXTENSIONS_BYTES + level + levels).next_multiple_of(4);
    (RTP_HEADER_BYTES + csrcs + extensions + packet.payload.len()) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_count_for_children_until_the_count_after_they_were_fed() {
        let mut ledger = Ledger::default();
        let (viewer, other) = (LinkId(1), LinkId(2));
        let mut count = |sent: [u64; 2], children: &[LinkId]| {
            let stats = |bytes| LinkStats {
                udp_bytes_sent: bytes,
                udp_bytes_received: bytes / 2,
                ..LinkStats::default()
            };
            let links = [(viewer, stats(sent[0])), (other, stats(sent[1]))];
            ledger.count(links.into_iter(), children.iter().copied().collect());
            ledger.total()
        };
        count([100, 100], &[]);
        count([200, 200], &[viewer]);
        count([300, 300], &[]);
        assert_eq!(
            count([400, 400], &[]),
            Traffic { to_children_bytes: 200, bytes: 800, received_bytes: 400 }
        );
        ledger.forget(viewer);
        assert_eq!(ledger.total().bytes, 800);
    }

    #[test]
    fn rates_are_those_between_the_last_two_sums() {
        let mut throughput = Throughput::default();
        throughput.observe(Traffic { bytes: 4_000, received_bytes: 8_000, to_children_bytes: 0 }, 5_000_000);
        throughput.observe(Traffic { bytes: 5_000, received_bytes: 8_500, to_children_bytes: 0 }, 5_500_000);
        assert_eq!((throughput.sent_bps, throughput.received_bps), (16_000, 8_000));
    }
}
