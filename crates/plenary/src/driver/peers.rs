//! Which link is whose, and what is remembered of each peer.

use std::collections::BTreeMap;

use plenary_proto::message::{LinkKind, Reassembly, Resume, VideoRequest};
use plenary_proto::{PeerId, Rank};
use plenary_rtc::LinkId;

use crate::flow::Flow;

/// One link, from the command that opened it until it is down.
struct Opened {
    peer: PeerId,
    kind: LinkKind,
    up: bool,
    reassembly: Reassembly,
}

/// Links by name and by peer.
#[derive(Default)]
pub(crate) struct Peers {
    next: u64,
    links: BTreeMap<LinkId, Opened>,
    newest: BTreeMap<(PeerId, LinkKind), LinkId>,
    /// Peers that something came from since it was last asked.
    heard_at_us: BTreeMap<PeerId, u64>,
    pub(crate) sending_to: Vec<(PeerId, Option<Resume>)>,
    /// Speakers that were called home, and the picture they were asked for.
    pub(crate) called: BTreeMap<PeerId, (Rank, VideoRequest)>,
}

impl Peers {
    /// A new link; the one of that kind before it is forgotten.
    pub(crate) fn open(&mut self, peer: PeerId, kind: LinkKind) -> LinkId {
        self.next += 1;
        let link = LinkId(self.next);
        self.links.insert(link, Opened { peer, kind, up: false, reassembly: Reassembly::default() });
        self.newest.insert((peer, kind), link);
        link
    }

    /// The newest link with a peer.
    pub(crate) fn link(&self, peer: &PeerId, kind: LinkKind) -> Option<LinkId> {
        self.newest.get(&(*peer, kind)).copied()
    }

    /// Whose link this is, if it is the newest of its kind.
    pub(crate) fn of(&self, link: LinkId) -> Option<(PeerId, LinkKind)> {
        let opened = self.links.get(&link)?;
        let newest = self.newest.get(&(opened.peer, opened.kind)) == Some(&link);
        newest.then_some((opened.peer, opened.kind))
    }

    pub(crate) fn set_up(&mut self, link: LinkId) {
        if let Some(opened) = self.links.get_mut(&link) {
            opened.up = true;
        }
    }

    /// The link is closed from this end: its last event is of no interest.
    pub(crate) fn forget(&mut self, peer: &PeerId, kind: LinkKind) -> Option<LinkId> {
        self.newest.remove(&(*peer, kind))
    }

    /// The link is down: whose it was, if it was the newest of its kind.
    pub(crate) fn down(&mut self, link: LinkId) -> Option<(PeerId, LinkKind)> {
        let of = self.of(link);
        if let Some(key) = of {
            self.newest.remove(&key);
        }
        self.links.remove(&link);
        of
    }

    pub(crate) fn reassembly(&mut self, link: LinkId) -> Option<&mut Reassembly> {
        self.links.get_mut(&link).map(|opened| &mut opened.reassembly)
    }

    /// Peers with an ordinary link that is up, and the link.
    pub(crate) fn up(&self) -> impl Iterator<Item = (PeerId, LinkId)> {
        let up = self.newest.iter().filter(|((_, kind), _)| *kind == LinkKind::Peer);
        up.filter(|(_, link)| self.links.get(link).is_some_and(|opened| opened.up))
            .map(|((peer, _), link)| (*peer, *link))
    }

    pub(crate) fn all_links(&self) -> Vec<LinkId> {
        self.links.keys().copied().collect()
    }

    /// Linked peers that something came from within the last second and a half; each is told once a second.
    pub(crate) fn take_heard(&mut self, flow: &Flow) -> Vec<PeerId> {
        let now_us = flow.now_us();
        let now = flow.time(now_us);
        let up: Vec<_> = self.up().map(|(peer, _)| peer).collect();
        let state = flow.state();
        let mut heard = Vec::new();
        for peer in up {
            let fresh = state.watches.last(&peer).is_some_and(|last| now.since(last) < 1_500_000);
            let told_us = self.heard_at_us.entry(peer).or_default();
            if fresh && now_us >= *told_us + 1_000_000 {
                *told_us = now_us;
                heard.push(peer);
            }
        }
        drop(state);
        self.heard_at_us.retain(|peer, _| self.newest.contains_key(&(*peer, LinkKind::Peer)));
        heard
    }

    /// The mixer that our own stream goes to; `None` in a mesh, or when we don't speak.
    pub(crate) fn home(&self) -> Option<PeerId> {
        match &self.sending_to[..] {
            [(home, _)] => Some(*home),
            _ => None,
        }
    }
}
