//! Nobody on stage stays behind: anti-entropy among the stage (Demers et al., "Epidemic algorithms for replicated
//! database maintenance", 1987).
//!
//! News of rosters and mandates is said once, to everyone. What was said across a partition, or on a link that closed,
//! is lost. So each peer on stage tells another, drawn, now and then how far it has got, and whoever knows more says so.

use std::collections::BTreeMap;

use crate::bounded::Bound;
use crate::id::PeerId;
use crate::message::{Digest, Message, ROSTER_MAX};
use crate::outbox::View;
use crate::time::{SECOND, Time};

/// So often, give or take a quarter. A guess: a stage of 50 sends ten short messages a second in all, and one that is
/// behind is found within some seconds, since it tells and is told.
const DIGEST_EACH_US: u64 = 5 * SECOND;
/// Nobody is told where things stand more often than this: a roster may have some kilobytes.
const ANSWER_EACH_US: u64 = SECOND;

/// This peer's part in it.
#[derive(Debug, Default)]
pub(crate) struct AntiEntropy {
    digest_at: Option<Time>,
    /// Who was told where things stand, and when.
    answered: BTreeMap<PeerId, Time>,
}

impl AntiEntropy {
    /// A newer roster is in force: only the stage takes part.
    pub(crate) fn roster_changed(&mut self, view: &mut View<'_>) {
        self.answered.retain(|peer, _| view.stage.contains(peer));
        self.digest_at = match self.digest_at {
            _ if !view.on_stage() || view.stage.entries().len() < 2 => None,
            None => Some(view.now + view.rng.jitter(DIGEST_EACH_US)),
            at => at,
        };
    }

    /// Somebody on stage says how far it has got. True when it is to be told where things stand.
    pub(crate) fn received(&mut self, view: &mut View<'_>, from: PeerId, theirs: Digest) -> bool {
        let mine = digest(view, false);
        let they_lack = mine.epoch > theirs.epoch || mine.rank > theirs.rank;
        let we_lack = theirs.epoch > mine.epoch || theirs.rank > mine.rank;
        let differ = mine.rank == theirs.rank && mine.evidence != theirs.evidence;
        if !view.stage.contains(&from) && theirs.asks && theirs.epoch > mine.epoch {
            view.out.send(from, Message::Digest(mine)); // perhaps it is on that roster: it is short, and tells nothing
        }
        if !view.stage.contains(&from) || !(they_lack || we_lack || differ) {
            return false;
        }
        if self.answered.get(&from).is_some_and(|at| view.now.since(*at) < ANSWER_EACH_US) {
            return false;
        }
        self.answered.insert(from, view.now);
        if (we_lack || differ) && theirs.asks {
            view.out.send(from, Message::Digest(mine));
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
            view.out.send(*peer, Message::Digest(digest));
        }
    }

    pub(crate) fn next_timeout(&self) -> Option<Time> {
        self.digest_at
    }

    pub(crate) fn bounds(&self) -> [Bound; 1] {
        [Bound::new("peers that were told where things stand", self.answered.len(), ROSTER_MAX)]
    }
}

/// How far we have got.
fn digest(view: &View<'_>, asks: bool) -> Digest {
    let evidence = view.mandate.decided.as_ref().map_or([0; 32], |decided| decided.body.evidence);
    Digest { epoch: view.stage.epoch(), rank: view.rank(), evidence, asks }
}
