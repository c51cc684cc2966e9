//! Anti-entropy among the stage, so that no peer on stage stays behind (Demers et al., "Epidemic algorithms
//! for replicated database maintenance", 1987).
//!
//! New rosters and mandates are sent once, to every peer. Messages across a partition, or on a link that
//! closed, are lost. So each peer on stage regularly sends a digest of its state to a random other peer on
//! stage, and a receiver with newer state answers with that state.
//!
//! A host that was cut off, and the room that chose another one, have no link with each other and don't count as
//! present there. So the chosen host sends its digest to the replaced ones, too.

use crate::ordered::OrderedMap;

use crate::bounded::Bound;
use crate::id::PeerId;
use crate::message::{Digest, MemberMessage, ROSTER_MAX};
use crate::time::{SECOND, Time};
use crate::view::View;

/// Interval of digests, plus or minus a quarter. A guess: a stage of 50 sends ten short messages a second in
/// all, and finds a peer that is behind within some seconds, because every peer both sends and receives
/// digests.
const DIGEST_EACH_US: u64 = 5 * SECOND;
/// Minimum interval between two answers to one peer: a roster may have some kilobytes. A guess.
const ANSWER_EACH_US: u64 = SECOND;

/// State of this peer for anti-entropy.
#[derive(Debug, Default)]
pub(crate) struct AntiEntropy {
    digest_at: Option<Time>,
    /// Peers that were answered, and when.
    answered: OrderedMap<PeerId, Time>,
}

impl AntiEntropy {
    /// Starts or stops sending digests on a newer roster: only the stage takes part.
    pub(crate) fn roster_changed(&mut self, view: &mut View<'_>) {
        self.answered.retain(|peer, _| view.stage.contains(peer));
        let is_alone = view.stage.entries().len() < 2 && view.stage.replaced_hosts(&view.me).is_empty();
        self.digest_at = match self.digest_at {
            _ if !view.on_stage() || is_alone => None,
            None => Some(view.now + view.rng.jitter(DIGEST_EACH_US)),
            at => at,
        };
    }

    /// Handles a digest. `is_kin`: the sender is a child, or reigns beside this peer. Returns whether the sender is to
    /// be sent the current state.
    pub(crate) fn received(
        &mut self,
        view: &mut View<'_>,
        from: PeerId,
        is_kin: bool,
        theirs: Digest,
    ) -> bool {
        let mine = digest(view, false);
        let they_lack = mine.epoch > theirs.epoch || mine.rank > theirs.rank;
        let we_lack = theirs.epoch > mine.epoch || theirs.rank > mine.rank;
        let differ = mine.rank == theirs.rank && mine.evidence != theirs.evidence;
        let is_on_stage = view.stage.contains(&from);
        if !is_on_stage && theirs.asks && theirs.epoch > mine.epoch {
            // the sender may be on that newer roster; a digest is short and reveals nothing
            view.out.send(from, MemberMessage::Digest(mine));
        }
        if !(is_kin || is_on_stage) || !(they_lack || we_lack || differ) {
            return false;
        }
        if self.answered.get(&from).is_some_and(|at| view.now.since(*at) < ANSWER_EACH_US) {
            return false;
        }
        if self.answered.len() >= ROSTER_MAX {
            self.answered.pop_first();
        }
        self.answered.insert(from, view.now);
        if (we_lack || differ) && theirs.asks {
            view.out.send(from, MemberMessage::Digest(mine));
        }
        they_lack || differ
    }

    pub(crate) fn on_time(&mut self, view: &mut View<'_>) {
        if self.digest_at.is_none_or(|at| at > view.now) {
            return;
        }
        self.digest_at = Some(view.now + view.rng.jitter(DIGEST_EACH_US));
        let others: Vec<_> =
            view.stage.present().map(|entry| entry.peer).filter(|peer| *peer != view.me).collect();
        if let Some(peer) = others.get(view.rng.below(others.len() as u64) as usize) {
            let digest = digest(view, true);
            view.out.send(*peer, MemberMessage::Digest(digest));
        }
        for host in view.stage.replaced_hosts(&view.me) {
            let digest = digest(view, true);
            view.out.send(host, MemberMessage::Digest(digest));
        }
    }

    pub(crate) fn next_timeout(&self) -> Option<Time> {
        self.digest_at
    }

    pub(crate) fn bounds(&self) -> [Bound; 1] {
        [Bound::new("peers that were sent the current state", self.answered.len(), ROSTER_MAX)]
    }
}

/// Returns the digest of this peer's state.
pub(crate) fn digest(view: &View<'_>, asks: bool) -> Digest {
    let evidence = view.mandate.decided.as_ref().map_or([0; 32], |decided| decided.body.evidence);
    Digest { epoch: view.stage.epoch(), rank: view.rank(), evidence, asks }
}
