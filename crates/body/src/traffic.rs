//! Traffic accounting: the size of packets, and how much of what this peer sends goes to its children.

use plenary_proto::ordered::{OrderedMap, OrderedSet};

use plenary_proto::packet::{LinkId, LinkStats, MediaPacket};

/// Length of an RTP header, and of the header of its extensions.
const RTP_HEADER_BYTES: usize = 12 + 4;
/// Length of the extensions of each packet: its identity, and the transport-wide sequence number.
const EXTENSIONS_BYTES: usize = 15 + 3;

/// UDP payload that this peer has sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// On links to viewers while this peer fed them: media, repairs, heads, connectivity checks.
    pub to_children_bytes: u64,
    /// On all links.
    pub bytes: u64,
}

/// Sums the traffic of links.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Bytes of each link at the last count.
    counted: OrderedMap<LinkId, u64>,
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
            let known = self.counted.insert(link, stats.udp_bytes_sent).unwrap_or(0);
            let sent = stats.udp_bytes_sent.saturating_sub(known);
            self.total.bytes += sent;
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
    fn bytes_count_for_children_from_the_count_before_until_the_count_after_they_were_fed() {
        let mut ledger = Ledger::default();
        let (viewer, other) = (LinkId(1), LinkId(2));
        let mut count = |sent: [u64; 2], children: &[LinkId]| {
            let stats = |bytes| LinkStats { udp_bytes_sent: bytes, ..LinkStats::default() };
            let links = [(viewer, stats(sent[0])), (other, stats(sent[1]))];
            ledger.count(links.into_iter(), children.iter().copied().collect());
            ledger.total()
        };
        count([100, 100], &[]);
        count([200, 200], &[viewer]);
        count([300, 300], &[]);
        assert_eq!(count([400, 400], &[]), Traffic { to_children_bytes: 200, bytes: 800 });
        ledger.forget(viewer);
        assert_eq!(ledger.total().bytes, 800);
    }
}
