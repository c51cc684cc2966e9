//! Degradation reports: viewers with degraded playback call an election.
//!
//! Viewers count faults of the program as speakers do ([`crate::suffering`]). A viewer that has counted
//! [`SUFFERS`] faults in a window reports to its parent how many viewers in its subtree have degraded
//! playback: itself, and the degraded viewers that its children reported. A viewer without faults of its own
//! forwards nothing, because the faults reported by its children arise below it. So the effect of one relay's
//! bad line stays within its branch, a healthy room sends nothing, and a peer keeps one report per child. A
//! mixer adds up the reports of its first tier. When at least two children report, and a fifth of all viewers
//! below are degraded, the mixer reports to the stage.
//!
//! No peer on stage can verify these reports, and an attacker can add any number of viewers. So the reports
//! only cause an election: no mixer is distrusted for them, sitting mixers keep their bonus, and only the
//! stage's own measurements unseat a mixer. After one such election the next waits for [`AGAIN_US`].

use crate::ordered::OrderedMap;

use crate::bounded::Bound;
use crate::id::PeerId;
use crate::message::{ElectionMessage, ElectionReason, MIXERS_MAX, Message, Sufferers};
use crate::time::{SECOND, Time};
use crate::tree::CHILDREN_AND_PROMISES_MAX;
use crate::trouble::{TELL_US, TENURE_US, WINDOW_US};
use crate::view::View;

/// Faults within a window from which a viewer counts as degraded: the maximum counted of one speaker. A
/// guess.
const SUFFERS: u32 = 3;
/// Percentage of degraded viewers from which the audience calls an election. A guess.
const SUFFERING_PERCENT: u64 = 20;
/// Minimum number of first-tier children that report degradation, each over a line of its own: one child is
/// no evidence. A guess.
const BRANCHES_MIN: usize = 2;
/// Time after an election called by the audience before the audience can call another. Viewers can
/// lie, so their reports cause one election in ten minutes at most.
const AGAIN_US: u64 = 600 * SECOND;

/// Position of this peer in the tree, as far as degradation reports need it.
#[derive(Debug)]
pub(crate) struct TreePosition {
    pub(crate) parent: Option<PeerId>,
    /// Peers that this peer feeds.
    pub(crate) children: Vec<PeerId>,
    pub(crate) viewers_below: u32,
}

/// Degradation report of a child on its subtree.
#[derive(Clone, Copy, Debug)]
struct Reported {
    at: Time,
    suffering: u32,
}

/// Degradation reports received, and the time of this peer's last own report.
#[derive(Debug, Default)]
pub(crate) struct Audience {
    below: OrderedMap<PeerId, Reported>,
    told_at: Option<Time>,
    /// At a peer on stage: mixers in force that reported a degraded audience, and when.
    heard: OrderedMap<PeerId, Time>,
}

impl Audience {
    /// Forgets all reports when other mixers are in force.
    pub(crate) fn mandate_changed(&mut self) {
        *self = Audience::default();
    }

    /// Takes the faults that this peer's body has counted in the last window, and reports to the parent when
    /// due.
    pub(crate) fn counted(&mut self, view: &mut View<'_>, place: &TreePosition, sum: u32) {
        let Some(parent) = place.parent.filter(|_| sum >= SUFFERS && self.may_tell(view.now)) else { return };
        self.told_at = Some(view.now);
        let (_, below) = self.suffering(view.now, place);
        let sufferers =
            Sufferers { suffering: below.saturating_add(1), viewers: place.viewers_below.saturating_add(1) };
        view.out.send(parent, ElectionMessage::Suffering(sufferers));
    }

    /// Handles a degradation report: from a child, or at a peer on stage from a mixer.
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

    /// At a mixer: reports to the stage when enough of its audience is degraded.
    fn judge(&mut self, view: &mut View<'_>, place: &TreePosition) {
        let (branches, suffering) = self.suffering(view.now, place);
        let sufferers = Sufferers { suffering, viewers: place.viewers_below };
        if branches >= BRANCHES_MIN && is_much(sufferers) && self.may_tell(view.now) {
            self.told_at = Some(view.now);
            self.says(view, view.me);
            view.send_stage(&Message::Election(ElectionMessage::Suffering(sufferers)));
        }
    }

    fn says(&mut self, view: &View<'_>, mixer: PeerId) {
        self.heard.insert(mixer, view.now);
        self.heard.retain(|peer, _| view.mandate.mixers.contains(peer));
    }

    fn may_tell(&self, now: Time) -> bool {
        self.told_at.is_none_or(|at| now.since(at) >= TELL_US)
    }

    /// Returns the number of children with a current report, and of the degraded viewers in these reports.
    fn suffering(&self, now: Time, place: &TreePosition) -> (usize, u32) {
        let fresh = self
            .below
            .iter()
            .filter(|(peer, word)| now.since(word.at) < WINDOW_US && place.children.contains(peer));
        fresh.fold((0, 0), |(branches, sum), (_, word)| (branches + 1, word.suffering.saturating_add(sum)))
    }

    /// Returns whether degradation reports call for an election under a mandate that is in force since
    /// `since`.
    pub(crate) fn suffers(&self, view: &View<'_>, since: Time) -> bool {
        let called = |reason| reason == ElectionReason::Audience;
        let again = view.mandate.decided.as_ref().is_some_and(|decided| called(decided.body.reason));
        let patience_us = if again { AGAIN_US } else { TENURE_US };
        let fresh = |at: &Time| view.now.since(*at) < WINDOW_US;
        view.now.since(since) >= patience_us && self.heard.values().any(fresh)
    }

    pub(crate) fn bounds(&self) -> [Bound; 2] {
        [
            Bound::new(
                "children that report a degraded program below",
                self.below.len(),
                CHILDREN_AND_PROMISES_MAX,
            ),
            Bound::new("mixers that report a degraded audience", self.heard.len(), MIXERS_MAX),
        ]
    }
}

/// Returns whether the degraded viewers are at least a fifth of all viewers.
fn is_much(Sufferers { suffering, viewers }: Sufferers) -> bool {
    suffering > 0 && u64::from(suffering) * 100 >= u64::from(viewers) * SUFFERING_PERCENT
}
