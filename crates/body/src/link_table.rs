//! Link table: which link belongs to which peer.

use plenary_proto::ordered::OrderedMap;

use plenary_proto::link_layout::NO_H264;
use plenary_proto::message::{Description, LinkKind, Reassembly};
use plenary_proto::packet::LinkId;
use plenary_proto::{PeerId, Time};

use crate::budget::LinkBudget;

/// One link, from its creation until its last event.
struct Opened {
    peer: PeerId,
    kind: LinkKind,
    /// The other end is a browser.
    is_browser: bool,
    /// The other end takes pictures: it is no browser without H.264.
    takes_pictures: bool,
    reassembly: Reassembly,
    budget: LinkBudget,
}

/// The newest link of a peer and kind.
#[derive(Clone, Copy)]
struct Newest {
    link: LinkId,
    up: bool,
}

/// Links by id, and by peer and kind.
#[derive(Default)]
pub(crate) struct LinkTable {
    next: u64,
    links: OrderedMap<LinkId, Opened>,
    newest: OrderedMap<(PeerId, LinkKind), Newest>,
}

impl LinkTable {
    /// Adds a new link, which replaces an earlier one of that peer and kind.
    pub(crate) fn open(&mut self, peer: PeerId, kind: LinkKind) -> LinkId {
        self.next += 1;
        let link = LinkId(self.next);
        let (reassembly, budget) = (Reassembly::default(), LinkBudget::new(Time(0)));
        let opened = Opened { peer, kind, is_browser: false, takes_pictures: true, reassembly, budget };
        self.links.insert(link, opened);
        self.newest.insert((peer, kind), Newest { link, up: false });
        link
    }

    /// Records what the other end of a link says of itself.
    pub(crate) fn described(&mut self, link: LinkId, other: &Description) {
        if let Some(opened) = self.links.get_mut(&link) {
            opened.is_browser = other.browser.is_some();
            opened.takes_pictures = other.payload_types.is_none_or(|types| types.h264 != NO_H264);
        }
    }

    pub(crate) fn takes_pictures(&self, link: LinkId) -> bool {
        self.links.get(&link).is_none_or(|opened| opened.takes_pictures)
    }

    pub(crate) fn is_browser(&self, link: LinkId) -> bool {
        self.links.get(&link).is_some_and(|opened| opened.is_browser)
    }

    /// Returns the newest link of a peer and kind, whether it is up or not.
    pub(crate) fn newest(&self, peer: &PeerId, kind: LinkKind) -> Option<LinkId> {
        self.newest.get(&(*peer, kind)).map(|newest| newest.link)
    }

    /// Returns the link of a peer and kind, if it is up.
    pub(crate) fn up(&self, peer: &PeerId, kind: LinkKind) -> Option<LinkId> {
        self.newest.get(&(*peer, kind)).filter(|newest| newest.up).map(|newest| newest.link)
    }

    /// Returns peer and kind of a link, if it is the newest of its kind.
    pub(crate) fn of(&self, link: LinkId) -> Option<(PeerId, LinkKind)> {
        let opened = self.links.get(&link)?;
        let newest = self.newest.get(&(opened.peer, opened.kind))?;
        (newest.link == link).then_some((opened.peer, opened.kind))
    }

    /// Records that a link is up. Returns peer and kind, if the link is the newest of its kind.
    pub(crate) fn set_up(&mut self, link: LinkId) -> Option<(PeerId, LinkKind)> {
        let of = self.of(link)?;
        self.newest.insert(of, Newest { link, up: true });
        Some(of)
    }

    /// Forgets a link that this peer closes, except for its last event. Returns the link, and true if it was up.
    pub(crate) fn forget(&mut self, peer: &PeerId, kind: LinkKind) -> Option<(LinkId, bool)> {
        self.newest.remove(&(*peer, kind)).map(|newest| (newest.link, newest.up))
    }

    /// Removes a link after its last event. Returns peer, kind, and true for a link that was up, if it was the newest
    /// of its kind.
    pub(crate) fn remove(&mut self, link: LinkId) -> Option<(PeerId, LinkKind, bool)> {
        let of = self.of(link);
        self.links.remove(&link);
        let (peer, kind) = of?;
        let (_, up) = self.forget(&peer, kind)?;
        Some((peer, kind, up))
    }

    /// Returns the reassembly of a link's control messages.
    pub(crate) fn reassembly(&mut self, link: LinkId) -> Option<&mut Reassembly> {
        self.links.get_mut(&link).map(|opened| &mut opened.reassembly)
    }

    /// Returns the budgets of a link.
    pub(crate) fn budget(&mut self, link: LinkId) -> Option<&mut LinkBudget> {
        self.links.get_mut(&link).map(|opened| &mut opened.budget)
    }

    /// Returns the peers with an ordinary link that is up, and the link.
    pub(crate) fn peers(&self) -> impl Iterator<Item = (PeerId, LinkId)> {
        let up = self.newest.iter().filter(|((_, kind), newest)| *kind == LinkKind::Peer && newest.up);
        up.map(|((peer, _), newest)| (*peer, newest.link))
    }

    /// Returns whether a peer has a link of any kind; the link need not be up.
    pub(crate) fn is_known(&self, peer: &PeerId) -> bool {
        let first = self.newest.range((*peer, LinkKind::Peer)..).next();
        first.is_some_and(|((known, _), _)| known == peer)
    }

    /// Returns the number of peers that have a link of any kind; the links need not be up.
    pub(crate) fn known(&self) -> usize {
        let mut peers: Vec<_> = self.newest.keys().map(|(peer, _)| peer).collect();
        peers.dedup(); // sorted by peer
        peers.len()
    }

    /// Returns the number of links that are up, trunks included.
    pub(crate) fn up_count(&self) -> usize {
        self.newest.values().filter(|newest| newest.up).count()
    }

    /// Returns the links with browsers that are up.
    pub(crate) fn browsers(&self) -> impl Iterator<Item = LinkId> {
        let up = self.newest.values().filter(|newest| newest.up).map(|newest| newest.link);
        up.filter(|link| self.is_browser(*link))
    }

    /// Returns all links, up to their last events.
    pub(crate) fn all(&self) -> impl Iterator<Item = LinkId> {
        self.links.keys().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: PeerId = PeerId([1; 32]);

    #[test]
    fn a_newer_link_replaces_the_older_one_and_its_end_changes_nothing() {
        let mut table = LinkTable::default();
        let first = table.open(PEER, LinkKind::Peer);
        assert_eq!(table.set_up(first), Some((PEER, LinkKind::Peer)));
        let second = table.open(PEER, LinkKind::Peer);
        assert_eq!((table.of(first), table.up(&PEER, LinkKind::Peer)), (None, None));
        assert_eq!(table.newest(&PEER, LinkKind::Peer), Some(second));
        assert_eq!(table.set_up(first), None, "an event of the older link");
        table.set_up(second);
        let trunk = table.open(PEER, LinkKind::Trunk(3));
        assert_eq!(table.remove(first), None);
        assert_eq!(table.known(), 1);
        assert_eq!(table.peers().collect::<Vec<_>>(), [(PEER, second)]);
        assert_eq!(table.remove(second), Some((PEER, LinkKind::Peer, true)));
        assert!(table.is_known(&PEER), "by its trunk");
        assert_eq!(table.remove(trunk), Some((PEER, LinkKind::Trunk(3), false)));
        assert!(!table.is_known(&PEER) && table.known() == 0);
        assert_eq!(table.all().count() + table.peers().count(), 0);
    }

    #[test]
    fn a_closed_link_counts_no_more_and_stays_listed_until_its_last_event() {
        let mut table = LinkTable::default();
        let link = table.open(PEER, LinkKind::Trunk(0));
        assert_eq!(table.forget(&PEER, LinkKind::Trunk(0)), Some((link, false)));
        assert_eq!((table.of(link), table.all().count()), (None, 1));
        assert_eq!(table.remove(link), None);
        assert_eq!(table.all().count(), 0);
    }
}
