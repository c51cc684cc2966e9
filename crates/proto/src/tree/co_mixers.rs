//! Spreading the audience over several mixers.
//!
//! Newcomers begin at any of the mixers, so their trees grow alike; but mixers come and go, and each takes its tree
//! along. So all mixers in force tell each other what lies below them, and whichever has many more viewers than the
//! one with fewest asks a peer below it to move there with all that hangs on it. It is asked like everyone who moves,
//! and fed until its new parent feeds it.

use std::collections::BTreeMap;

use super::Tree;
use super::balance::Shift;
use super::child::Child;
use super::down::VIEWERS_US;
use crate::bounded::{Bound, List};
use crate::id::PeerId;
use crate::message::{Aggregate, MIXERS_MAX, Message, Move, PLACES_MAX, Place, Purpose};
use crate::outbox::View;
use crate::time::{SECOND, Time};

/// Trees that differ by less than this share of both are left alone: 60 to 40, in percent. A guess.
const UNEVEN_PERCENT: u64 = 20;
/// Whoever was asked to go has gone by then, and both mixers have told of it.
const SPREAD_US: u64 = 2 * VIEWERS_US + SECOND;
/// Nor are those that differ by so few viewers.
const UNEVEN_MIN: u64 = 2;

/// Who is on the way to another mixer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    /// One viewer each.
    Leaves(u32),
    /// A child, or whoever below it, with all that hangs on it.
    Branch,
}

/// What the other mixers in force say.
#[derive(Debug, Default)]
pub(super) struct CoMixers {
    told: BTreeMap<PeerId, Aggregate>,
    tell_at: Option<Time>,
    /// When somebody was last asked to go to one of them, and how many one by one since they told of all that came before;
    /// a branch goes alone.
    sent: Option<(Time, Sent)>,
}

impl CoMixers {
    /// How far below a co_mixer there is a free slot.
    fn nearest_slot(&self, co_mixer: &PeerId) -> Option<usize> {
        self.told.get(co_mixer)?.nearest_free(Purpose::Parent).map(|(depth, _)| depth)
    }

    /// The co_mixer with the free slot that is nearest to its root.
    pub(super) fn roomiest(&self) -> Option<(usize, PeerId)> {
        self.told.keys().filter_map(|co_mixer| Some((self.nearest_slot(co_mixer)?, *co_mixer))).min()
    }

    /// Mixers below which there is what somebody wants that finds nothing here.
    pub(super) fn places(&self, purpose: Purpose) -> List<Place, PLACES_MAX> {
        let co_mixers = self.told.iter().filter(|(_, told)| told.nearest_free(purpose).is_some());
        List::truncated(co_mixers.map(|(co_mixer, _)| Place::of_mixer(*co_mixer)))
    }

    /// Somebody has been asked to go to the nearest slot there: until the co_mixer's next word, count on that.
    pub(super) fn send_one(&mut self, co_mixer: &PeerId) {
        let Some(slot) = self.nearest_slot(co_mixer) else { return };
        if let Some(told) = self.told.get_mut(co_mixer) {
            told.free[slot] -= 1;
        }
    }

    /// A branch, or a leaf of one, has been asked to go there.
    pub(super) fn send(&mut self, now: Time, co_mixer: &PeerId, leaf: bool) {
        self.send_one(co_mixer);
        let sent = match self.under_way(now) {
            Some(Sent::Leaves(leaves)) if leaf => Sent::Leaves(leaves + 1),
            _ if leaf => Sent::Leaves(1),
            _ => Sent::Branch,
        };
        self.sent = Some((now, sent));
    }

    /// Whom the mixers' words may not tell of yet.
    fn under_way(&self, now: Time) -> Option<Sent> {
        self.sent.filter(|(at, _)| now.since(*at) < SPREAD_US).map(|(_, sent)| sent)
    }

    pub(super) fn next_timeout(&self) -> Option<Time> {
        self.tell_at
    }

    pub(super) fn bounds(&self) -> [Bound; 1] {
        [Bound::new("other mixers' trees", self.told.len(), MIXERS_MAX)]
    }
}

impl Tree {
    /// Another mixer tells what lies below it.
    pub(super) fn co_mixer(&mut self, view: &mut View<'_>, from: PeerId, below: Aggregate) {
        if self.mixing && view.mandate.mixers.contains(&from) && from != view.me {
            self.co_mixers.told.insert(from, below);
            self.settle(view);
        }
    }

    /// Tells the other mixers what lies below us, while there are any.
    pub(super) fn tell_co_mixers(&mut self, view: &mut View<'_>) {
        let mixers = &view.mandate.mixers;
        self.co_mixers.told.retain(|co_mixer, _| mixers.contains(co_mixer));
        if !self.mixing || mixers.len() < 2 || !mixers.contains(&view.me) {
            self.co_mixers = CoMixers::default();
            return;
        }
        if self.co_mixers.tell_at.is_some_and(|at| at > view.now) {
            return;
        }
        self.co_mixers.tell_at = Some(view.now + VIEWERS_US);
        let below = self.summed(view);
        for co_mixer in view.mandate.mixers.iter().filter(|mixer| **mixer != view.me) {
            view.out.send(*co_mixer, Message::Aggregate(below));
        }
    }

    /// What would make our tree and the smallest of the others more alike: somebody goes there with all below it, to
    /// the level it is at. In the first tier it is the child that leaves them most alike; below, one of the largest.
    pub(super) fn shift_across(&self, view: &View<'_>) -> Option<Shift> {
        let under_way = match self.co_mixers.under_way(view.now) {
            Some(Sent::Branch) => return None,
            Some(Sent::Leaves(leaves)) => leaves,
            None => 0,
        };
        let (co_mixer, told) =
            self.co_mixers.told.iter().min_by_key(|(co_mixer, told)| (told.viewers, **co_mixer))?;
        let (ours, theirs) = (self.viewers_below(), told.viewers);
        let difference = ours.checked_sub(theirs)?.checked_sub(2 * under_way)?;
        let both = u64::from(ours) + u64::from(theirs);
        if u64::from(difference) <= (UNEVEN_PERCENT * both).div_ceil(100).max(UNEVEN_MIN) {
            return None;
        }
        let level = self.co_mixers.nearest_slot(co_mixer)?;
        let asked = |child: &Child| child.was_asked(view.now, SPREAD_US);
        // in the first tier the children go themselves, and whoever has just moved wouldn't
        let goes = |child: &Child| !asked(child) && (level > 0 || child.may_move(view.now));
        let served = self.served().filter(|(_, child)| goes(child));
        let served = served.map(|(peer, child)| (*peer, &child.told));
        let branch = if level == 0 {
            let left = |viewers: u32| difference.abs_diff(viewers.saturating_mul(2));
            let going = served.map(|(peer, told)| (left(told.viewers), peer)).min();
            going.filter(|(left, _)| *left < difference)?.1
        } else {
            let deep = served.filter(|(_, told)| usize::from(told.deepest) > level);
            deep.max_by_key(|(peer, told)| (told.viewers, *peer))?.0
        };
        let leaf = self.children.get(&branch)?.told.deepest as usize == level + 1;
        let how = Move::Across { level: level as u8, viewers_max: difference / 2 };
        Some(Shift::Across { branch, leaf, how, co_mixer: *co_mixer })
    }

    /// Somebody below us is to go to another mixer: our largest branch that isn't larger than it may be.
    pub(super) fn send_across(&mut self, view: &mut View<'_>, how: Move, places: &[Place]) {
        let Move::Across { level, viewers_max } = how else { return };
        let deeper = usize::from(level) + 2 - self.path.len();
        let served = self.served().map(|(peer, child)| (&child.told, *peer));
        let fits = served.filter(|(told, _)| {
            usize::from(told.deepest) >= deeper && (deeper > 1 || told.viewers <= viewers_max)
        });
        if let Some((_, branch)) = fits.max_by_key(|(told, peer)| (told.viewers, *peer)) {
            self.ask_child(view, branch, how, List::truncated(places.iter().cloned()));
        }
    }
}
