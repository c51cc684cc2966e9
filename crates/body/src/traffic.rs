//! Traffic accounting: how much of what this peer sends goes to its children.

use std::collections::{BTreeMap, BTreeSet};

use plenary_proto::packet::{LinkId, LinkStats};

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
    counted: BTreeMap<LinkId, u64>,
    /// Links to children at the last count: a child that has left got part of the bytes since then.
    children: BTreeSet<LinkId>,
    total: Traffic,
}

impl Ledger {
    /// Counts what was sent since the last count. `children` are the present links to viewers that this peer feeds.
    pub(crate) fn count(
        &mut self,
        links: impl Iterator<Item = (LinkId, LinkStats)>,
        children: BTreeSet<LinkId>,
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
