//! Peers that have been of no use to us: they are asked last.

use crate::bounded::Bound;
use crate::id::PeerId;

/// So many are remembered. A guess: two searches.
const FAILED_FEEDERS_MAX: usize = 16;

/// Peers that took us, and fed us nothing, or too late, or couldn't be linked with us.
#[derive(Clone, Debug, Default)]
pub(super) struct FailedFeeders {
    /// The oldest first.
    peers: Vec<(PeerId, Failed)>,
}

/// What it failed to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failed {
    /// Some NATs let nobody through but who is reached from within: those below it may have other NATs.
    ToLink,
    ToFeed,
}

impl FailedFeeders {
    /// A peer took us, and brought nothing, or too late.
    pub(super) fn fed_nothing(&mut self, peer: PeerId) {
        self.push(peer, Failed::ToFeed);
    }

    /// No link with a peer that took us has come about.
    pub(super) fn was_not_linked(&mut self, peer: PeerId) {
        self.push(peer, Failed::ToLink);
    }

    /// At the limit the oldest is forgotten.
    fn push(&mut self, peer: PeerId, failed: Failed) {
        self.peers.retain(|(known, _)| *known != peer);
        if self.peers.len() >= FAILED_FEEDERS_MAX {
            self.peers.remove(0);
        }
        self.peers.push((peer, failed));
    }

    pub(super) fn contains(&self, peer: &PeerId) -> bool {
        self.peers.iter().any(|(known, _)| known == peer)
    }

    /// It is not known to feed nobody, but couldn't be linked with us.
    pub(super) fn is_unlinked(&self, peer: &PeerId) -> bool {
        self.peers.contains(&(*peer, Failed::ToLink))
    }

    pub(super) fn bound(&self) -> Bound {
        Bound::new("peers that fed us nothing", self.peers.len(), FAILED_FEEDERS_MAX)
    }
}
