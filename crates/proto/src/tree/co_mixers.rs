//! Balancing the audience over several mixers.
//!
//! Newcomers start at a random mixer, so the mixers' trees grow evenly; but mixers come and go, each with its
//! whole tree. Therefore all mixers in force send each other their aggregates. A mixer with many more viewers
//! than the smallest one requests a peer below it to move there with its whole branch ([`Move::Across`]). As
//! with every move, the old parent feeds that peer until the new one does.

use crate::ordered::OrderedMap;

use super::Tree;
use super::balance::Shift;
use super::child::Child;
use super::down::VIEWERS_US;
use crate::bounded::{Bound, List};
use crate::id::PeerId;
use crate::message::{Aggregate, MIXERS_MAX, Move, PLACES_MAX, Place, Purpose, TreeMessage};
use crate::time::{SECOND, Time};
use crate::view::View;

/// Difference up to which two trees are left alone, in percent of their viewers together: 60 to 40. A guess.
const UNEVEN_PERCENT: u64 = 20;
/// Time after which a requested move is complete and the aggregates of both mixers show it.
const SPREAD_US: u64 = 2 * VIEWERS_US + SECOND;
/// Difference up to which two trees are left alone, in viewers.
const UNEVEN_MIN: u64 = 2;

/// Viewers on their way to another mixer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    /// This many single viewers.
    Leaves(u32),
    /// One branch: a child, or a peer below it, together with its own subtree.
    Branch,
}

/// The aggregates of the other mixers in force.
#[derive(Debug, Default)]
pub(super) struct CoMixers {
    told: OrderedMap<PeerId, Aggregate>,
    tell_at: Option<Time>,
    /// When a move to another mixer was last requested, and the moves under way. Single viewers may follow
    /// each other before the aggregates show them; a branch moves alone.
    sent: Option<(Time, Sent)>,
}

impl CoMixers {
    /// Returns the depth of the free slot nearest to the root in another mixer's tree.
    fn nearest_slot(&self, co_mixer: &PeerId) -> Option<usize> {
        self.told.get(co_mixer)?.nearest_free(Purpose::Parent).map(|(depth, _)| depth)
    }

    /// Returns the other mixer with the free slot nearest to its root, and the depth of the slot.
    pub(super) fn roomiest(&self) -> Option<(usize, PeerId)> {
        self.told.keys().filter_map(|co_mixer| Some((self.nearest_slot(co_mixer)?, *co_mixer))).min()
    }

    /// Returns the other mixers that have a free slot or promise, for askers that find none here.
    pub(super) fn places(&self, purpose: Purpose) -> List<Place, PLACES_MAX> {
        let co_mixers = self.told.iter().filter(|(_, told)| told.nearest_free(purpose).is_some());
        List::truncated(co_mixers.map(|(co_mixer, _)| Place::of_mixer(*co_mixer)))
    }

    /// Counts a peer that was sent to the nearest slot of another mixer, until that mixer's next aggregate.
    pub(super) fn send_one(&mut self, co_mixer: &PeerId) {
        let Some(slot) = self.nearest_slot(co_mixer) else { return };
        if let Some(told) = self.told.get_mut(co_mixer) {
            told.free[slot] -= 1;
        }
    }

    /// Records that a branch, or a single viewer (`leaf`), was requested to move to another mixer.
    pub(super) fn send(&mut self, now: Time, co_mixer: &PeerId, leaf: bool) {
        self.send_one(co_mixer);
        let sent = match self.under_way(now) {
            Some(Sent::Leaves(leaves)) if leaf => Sent::Leaves(leaves + 1),
            _ if leaf => Sent::Leaves(1),
            _ => Sent::Branch,
        };
        self.sent = Some((now, sent));
    }

    /// Returns the requested moves that the mixers' aggregates may not show yet.
    fn under_way(&self, now: Time) -> Option<Sent> {
        self.sent.filter(|(at, _)| now.since(*at) < SPREAD_US).map(|(_, sent)| sent)
    }

    pub(super) fn next_timeout(&self) -> Option<Time> {
        self.tell_at
    }

    pub(super) fn bounds(&self) -> [Bound; 1] {
        [Bound::new("aggregates of co-mixers", self.told.len(), MIXERS_MAX)]
    }
}

impl Tree {
    /// Takes the aggregate of another mixer.
    pub(super) fn co_mixer(&mut self, view: &mut View<'_>, from: PeerId, below: Aggregate) {
        if self.mixing && view.mandate.mixers.contains(&from) && from != view.me {
            self.co_mixers.told.insert(from, below);
            self.settle(view);
        }
    }

    /// Sends this mixer's aggregate to the other mixers in force, every [`VIEWERS_US`].
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
            view.out.send(*co_mixer, TreeMessage::Aggregate(below));
        }
    }

    /// Selects a branch to move to the smallest of the other trees, at the level of that tree's nearest free
    /// slot, if the two trees are uneven. In the first tier it is the child that leaves the trees most alike;
    /// below it, the largest branch that is deep enough.
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
        // In the first tier the children themselves move, and a child that has just moved would refuse.
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

    /// Forwards a request to move to another mixer into the largest branch that is deep enough and, at the
    /// requested level, not too large.
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
