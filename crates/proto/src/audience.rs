//! What the audience suffers from.
//!
//! Viewers count what goes wrong with the program as speakers do ([`crate::suffering`]). Who has counted [`SUFFERS`] in a window
//! tells whoever feeds it how many suffer from there on down: itself, and those below that say so. Who is fine itself passes
//! nothing on, since what those below it suffer from begins below it; so one relay's bad line stays where it is, a room
//! that is well says nothing, and nobody keeps more than a word of each child. A mixer adds up its first tier, and when
//! two of it at least, and a fifth of all below, suffer, it tells the stage.
//!
//! Nobody on stage can check that, and viewers come as many as they like. So the word brings about an election and no
//! more: nobody is doubted for it, whoever mixes keeps its edge, and only what the stage measures itself unseats it. After
//! one such election the next one waits for [`AGAIN_US`].

use std::collections::BTreeMap;

use crate::bounded::Bound;
use crate::id::PeerId;
use crate::message::{ElectionReason, MIXERS_MAX, Message, Sufferers};
use crate::outbox::View;
use crate::time::{SECOND, Time};
use crate::tree::CHILDREN_AND_PROMISES_MAX;
use crate::trouble::{TELL_US, TENURE_US, WINDOW_US};

/// A viewer that has counted so much in a window suffers: as much as counts of one speaker. A guess.
const SUFFERS: u32 = 3;
/// The audience suffers when so much of it does (DESIGN §6).
const SUFFERING_PERCENT: u64 = 20;
/// And so many of the first tier, each with a line of its own: one of them is no proof.
const BRANCHES_MIN: usize = 2;
/// How long after an election that the audience called it may call another (DESIGN §6: changes per ten minutes are bounded).
const AGAIN_US: u64 = 600 * SECOND;

/// Our place in the tree, as far as it matters here.
#[derive(Debug)]
pub(crate) struct TreePosition {
    pub(crate) parent: Option<PeerId>,
    /// Whom we feed.
    pub(crate) children: Vec<PeerId>,
    pub(crate) viewers_below: u32,
}

/// What a child says of those from there on down.
#[derive(Clone, Copy, Debug)]
struct Reported {
    at: Time,
    suffering: u32,
}

/// What we know of the audience's suffering, and what we have said of it.
#[derive(Debug, Default)]
pub(crate) struct Audience {
    below: BTreeMap<PeerId, Reported>,
    told_at: Option<Time>,
    /// On stage: mixers in force that say that their audience suffers, and when.
    heard: BTreeMap<PeerId, Time>,
}

impl Audience {
    /// Other mixers are in force: what was suffered before is forgotten.
    pub(crate) fn mandate_changed(&mut self) {
        *self = Audience::default();
    }

    /// Our own body has counted something: so much has gone wrong here in the last window.
    pub(crate) fn counted(&mut self, view: &mut View<'_>, place: &TreePosition, sum: u32) {
        let Some(parent) = place.parent.filter(|_| sum >= SUFFERS && self.may_tell(view.now)) else { return };
        self.told_at = Some(view.now);
        let (_, below) = self.suffering(view.now, place);
        let sufferers =
            Sufferers { suffering: below.saturating_add(1), viewers: place.viewers_below.saturating_add(1) };
        view.out.send(parent, Message::Suffering(sufferers));
    }

    /// A child, or at a peer on stage a mixer, tells how many suffer, and of how many.
    pub(crate) fn heard(
        &mut self,
        view: &mut View<'_>,
        place: &TreePosition,
        from: PeerId,
        sufferers: Sufferers,
    ) {
        if view.on_stage() && view.mandate.mixers.contains(&from) {
            if is_much(sufferers) {
                self.says(view, from);
            }
        } else if place.children.contains(&from) {
            let suffering = sufferers.suffering.min(sufferers.viewers);
            self.below.insert(from, Reported { at: view.now, suffering });
            self.below.retain(|peer, _| place.children.contains(peer));
            if view.mixes() {
                self.judge(view, place);
            }
        }
    }

    /// As a mixer: tells the stage when enough of our audience suffers.
    fn judge(&mut self, view: &mut View<'_>, place: &TreePosition) {
        let (branches, suffering) = self.suffering(view.now, place);
        let sufferers = Sufferers { suffering, viewers: place.viewers_below };
        if branches >= BRANCHES_MIN && is_much(sufferers) && self.may_tell(view.now) {
            self.told_at = Some(view.now);
            self.says(view, view.me);
            view.send_stage(&Message::Suffering(sufferers));
        }
    }

    fn says(&mut self, view: &View<'_>, mixer: PeerId) {
        self.heard.insert(mixer, view.now);
        self.heard.retain(|peer, _| view.mandate.mixers.contains(peer));
    }

    fn may_tell(&self, now: Time) -> bool {
        self.told_at.is_none_or(|at| now.since(at) >= TELL_US)
    }

    /// How many children say now that they suffer, and how many viewers with them.
    fn suffering(&self, now: Time, place: &TreePosition) -> (usize, u32) {
        let fresh = self
            .below
            .iter()
            .filter(|(peer, word)| now.since(word.at) < WINDOW_US && place.children.contains(peer));
        fresh.fold((0, 0), |(branches, sum), (_, word)| (branches + 1, word.suffering.saturating_add(sum)))
    }

    /// Whether the audience suffers so that an election is called for, under a mandate in force since then.
    pub(crate) fn suffers(&self, view: &View<'_>, since: Time) -> bool {
        let called = |reason| reason == ElectionReason::Audience;
        let again = view.mandate.decided.as_ref().is_some_and(|decided| called(decided.body.reason));
        let patience_us = if again { AGAIN_US } else { TENURE_US };
        let fresh = |at: &Time| view.now.since(*at) < WINDOW_US;
        view.now.since(since) >= patience_us && self.heard.values().any(fresh)
    }

    pub(crate) fn bounds(&self) -> [Bound; 2] {
        [
            Bound::new("children below whom viewers suffer", self.below.len(), CHILDREN_AND_PROMISES_MAX),
            Bound::new("mixers whose audience suffers", self.heard.len(), MIXERS_MAX),
        ]
    }
}

/// Whether so many are a fifth of all.
fn is_much(Sufferers { suffering, viewers }: Sufferers) -> bool {
    suffering > 0 && u64::from(suffering) * 100 >= u64::from(viewers) * SUFFERING_PERCENT
}
