//! Keeping the tree flat, and its strong peers near the root.
//!
//! Every parent knows from aggregates where below it there are slots, how deep its branches are, and who its
//! strongest grandchild is. When that has been uneven for a while it asks one peer to move ([`Message::Move`]):
//! the deepest viewer up to a slot nearer the root, a much stronger grandchild up into the first place below
//! itself, its weakest child down when it feeds one more than it should. Whoever moves is fed by its old parent
//! until the new one feeds it. A tree that is even is left alone: nobody says anything.

use super::Tree;
use super::seek::{Better, Seek};
use crate::bounded::List;
use crate::id::PeerId;
use crate::message::{Message, Move, PLACES_MAX, Path, Place};
use crate::outbox::View;
use crate::time::{SECOND, Time};

/// So long the tree must have been uneven, and a child asked to move isn't asked again: aggregates of three tiers
/// have come up by then.
const UNEVEN_US: u64 = 3 * SECOND;
/// One peer is asked to move at a time, this often.
const MOVE_EACH_US: u64 = SECOND / 2;
/// Whoever has changed its parent stays so long, unless that one fails it: without it several ancestors, each with
/// news of another age, pass one viewer around.
pub(super) const STAY_US: u64 = 5 * SECOND;
/// A stronger peer that was invited and hasn't come within this time doesn't come.
const INVITED_US_MAX: u64 = 5 * SECOND;
/// A child in whose place another was taken, and that hasn't gone within this time, stays.
const REPLACED_US_MAX: u64 = 10 * SECOND;
/// A grandchild changes places with a child when it could feed this many times as many peers, and two more.
const STRONGER: u8 = 2;

/// What would make the tree below this peer more even.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shift {
    /// The deepest viewer of a child's branch goes to a place nearer the root; the child or the other mixer that has
    /// it, if it isn't here.
    Up { branch: PeerId, place: Place, of: Option<PeerId> },
    /// A strong grandchild becomes a child.
    Swap { strong: PeerId },
    /// A weak child goes down, at once if somebody was taken in its place.
    Down { weak: PeerId, places: List<Place, PLACES_MAX>, at_once: bool },
    /// A child, or somebody below it, goes to another mixer with all below it.
    Across { branch: PeerId, leaf: bool, how: Move, co_mixer: PeerId },
}

/// What this peer does about an uneven tree.
#[derive(Debug, Default)]
pub(super) struct Balance {
    /// The next move, while the tree is uneven.
    move_at: Option<Time>,
    /// Until then whoever could move was asked already, and what they do is awaited.
    awaits: bool,
    /// A strong grandchild that may take the slot in reserve.
    invited: Option<(PeerId, Time)>,
    /// Who was taken in place of which child, and when.
    replaces: Option<(PeerId, PeerId, Time)>,
}

impl Tree {
    /// Whether `peer` was asked to come, and may take the slot in reserve.
    pub(super) fn is_invited(&self, peer: &PeerId) -> bool {
        self.balance.invited.is_some_and(|(invited, _)| invited == *peer)
    }

    /// The slot in reserve is spoken for.
    pub(super) fn makes_room(&self) -> bool {
        self.balance.invited.is_some() || self.balance.replaces.is_some()
    }

    /// A peer is taken in place of a child.
    pub(super) fn take_in_place_of(&mut self, now: Time, strong: PeerId, weak: PeerId) {
        self.balance.replaces = Some((strong, weak, now));
    }

    /// Whether `peer` was taken in place of a child that is still here.
    pub(super) fn is_taken_in_place(&self, peer: &PeerId) -> bool {
        self.balance.replaces.is_some_and(|(strong, ..)| strong == *peer)
    }

    /// Whether who was taken in place of a child hasn't come yet: until then there may be one more than are fed.
    pub(super) fn is_awaited_in_place(&self) -> bool {
        let served = |peer| self.children.get(&peer).is_some_and(|child| child.served);
        self.balance.replaces.is_some_and(|(strong, ..)| !served(strong))
    }

    /// The child that `strong` was taken in place of, which has to go before that is fed, for even the slot in reserve is
    /// taken.
    pub(super) fn gives_way_now(&mut self, strong: &PeerId) -> Option<PeerId> {
        let replaces = self.balance.replaces.take_if(|(taken, ..)| taken == strong);
        replaces.map(|(_, weak, _)| weak)
    }

    /// When a peer is to be asked to move.
    pub(super) fn next_move(&self) -> Option<Time> {
        let invited = self.balance.invited.map(|(_, at)| at + INVITED_US_MAX);
        let replaces = self.balance.replaces.map(|(.., at)| at + REPLACED_US_MAX);
        self.balance.move_at.into_iter().chain(invited).chain(replaces).min()
    }

    /// Looks whether the tree is uneven, and asks a peer to move if it has been for a while.
    pub(super) fn keep_balance(&mut self, view: &mut View<'_>) {
        self.balance.invited.take_if(|(_, at)| view.now.since(*at) >= INVITED_US_MAX);
        self.balance.replaces.take_if(|(strong, weak, at)| {
            let both = self.children.contains_key(strong) && self.children.contains_key(weak);
            !both || view.now.since(*at) >= REPLACED_US_MAX
        });
        self.forget_sent(view.now);
        let shift = self.shift(view);
        match (shift, self.balance.move_at) {
            // when what was asked shows, it is looked at again
            (None, at) => {
                self.balance.move_at = at.and_then(|_| self.asked_until(view.now));
                self.balance.awaits = self.balance.move_at.is_some();
            }
            (Some(shift @ Shift::Down { at_once: true, .. }), _) => self.ask_to_move(view, shift),
            (Some(_), Some(at)) if self.balance.awaits && at > view.now => {
                self.balance.awaits = false; // it has shown
                self.balance.move_at = Some(at.min(view.now + view.rng.jitter(MOVE_EACH_US)));
            }
            (Some(_), None) => self.balance.move_at = Some(view.now + view.rng.jitter(UNEVEN_US)),
            (Some(shift), Some(at)) if at <= view.now => {
                self.balance.move_at = Some(view.now + view.rng.jitter(MOVE_EACH_US));
                self.ask_to_move(view, shift);
            }
            _ => {}
        }
    }

    fn ask_to_move(&mut self, view: &mut View<'_>, shift: Shift) {
        match shift {
            Shift::Up { branch, place, of } => {
                match of.map(|of| (of, self.children.get_mut(&of))) {
                    Some((_, Some(child))) => child.send_one(view.now),
                    Some((co_mixer, None)) => self.co_mixers.send_one(&co_mixer),
                    None => {}
                }
                let places = List::truncated([place]);
                self.ask_child(view, branch, Move::Deepest, places);
            }
            Shift::Swap { strong } => {
                self.balance.invited = Some((strong, view.now));
                let places = List::truncated([Place { peer: view.me, path: self.path.clone() }]);
                view.out.send(strong, Message::Move { how: Move::Up, places });
            }
            Shift::Down { weak, places, .. } => self.ask_child(view, weak, Move::Down, places),
            Shift::Across { branch, leaf, how, co_mixer } => {
                self.co_mixers.send(view.now, &co_mixer, leaf);
                self.ask_child(view, branch, how, List::truncated([Place::of_mixer(co_mixer)]));
            }
        }
    }

    pub(super) fn ask_child(
        &mut self,
        view: &mut View<'_>,
        peer: PeerId,
        how: Move,
        places: List<Place, PLACES_MAX>,
    ) {
        if let Some(child) = self.children.get_mut(&peer) {
            child.asked_to_move(view.now);
        }
        view.out.send(peer, Message::Move { how, places });
    }

    /// When the first of those that were asked lately may be asked again.
    fn asked_until(&self, now: Time) -> Option<Time> {
        self.children
            .values()
            .filter_map(|child| child.asked_again_at(UNEVEN_US))
            .filter(|at| *at > now)
            .min()
    }

    /// The child below which the deepest viewer is, of those whose word can be trusted: what others were asked
    /// lately isn't in it yet.
    fn deepest_branch(&self, now: Time) -> Option<(PeerId, u8)> {
        let known = self.served().filter(|(_, child)| !child.was_asked(now, UNEVEN_US));
        known.map(|(peer, child)| (*peer, child.told.deepest)).max_by_key(|(_, deepest)| *deepest)
    }

    fn shift(&self, view: &View<'_>) -> Option<Shift> {
        let fed = self.mixing || (self.parent.is_some() && !self.at_fault);
        if !fed || self.path.is_empty() || self.leaving.is_some() || self.children.is_empty() {
            return None;
        }
        let (capacity, children) = (self.capacity(view), self.fed_count());
        if children > capacity {
            self.shift_down(view)
        } else {
            self.shift_up(view).or_else(|| self.swap(view)).or_else(|| self.shift_across(view))
        }
    }

    fn path_of(&self, child: &PeerId) -> Path {
        Path::truncated(self.path.iter().copied().chain([child.short()]))
    }

    /// The slot in reserve is taken: the weakest child makes room, one at a time.
    fn shift_down(&self, view: &View<'_>) -> Option<Shift> {
        let weak = match self.balance.replaces {
            // whoever was taken feeds others as soon as it is fed
            Some((strong, ..)) if !self.children.get(&strong).is_some_and(|child| child.served) => {
                return None;
            }
            Some((_, weak, _)) => weak,
            None if self.children.values().any(|child| child.was_asked(view.now, UNEVEN_US)) => return None,
            None => self.weakest()?,
        };
        let leaving = self.children.get(&weak).filter(|child| !child.was_asked(view.now, UNEVEN_US))?;
        let mut slots: Vec<_> = self
            .served()
            .filter(|(peer, _)| **peer != weak)
            .filter_map(|(peer, child)| child.nearest_slot().map(|depth| (depth, child, *peer)))
            .map(|(depth, child, peer)| (self.detour_us(child, &leaving.trips, depth), peer))
            .collect();
        slots.sort_unstable();
        let places = slots.iter().map(|(_, peer)| Place { peer: *peer, path: self.path_of(peer) });
        let places: List<_, PLACES_MAX> = List::truncated(places);
        let at_once = self.balance.replaces.is_some();
        (!places.is_empty()).then_some(Shift::Down { weak, places, at_once })
    }

    fn weakest(&self) -> Option<PeerId> {
        let served = self.served();
        served.min_by_key(|(_, child)| (child.room(), child.told.viewers)).map(|(peer, _)| *peer)
    }

    /// There is a slot nearer the root than the deepest viewer's parent is.
    fn shift_up(&self, view: &View<'_>) -> Option<Shift> {
        let (branch, deepest) = self.deepest_branch(view.now)?;
        let own = (self.fed_count() < self.capacity(view)).then_some((0, None));
        let others = self.served().filter(|(peer, _)| **peer != branch);
        let below = others.filter_map(|(peer, child)| Some((child.nearest_slot()? + 1, Some(*peer))));
        let elsewhere = self.co_mixers.roomiest().map(|(level, co_mixer)| (level, Some(co_mixer)));
        let (level, of) = own.into_iter().chain(below).chain(elsewhere).min()?;
        let place = match of {
            Some(co_mixer) if !self.children.contains_key(&co_mixer) => Place::of_mixer(co_mixer),
            Some(peer) => Place { peer, path: self.path_of(&peer) },
            None => Place { peer: view.me, path: self.path.clone() },
        };
        (usize::from(deepest) > level + 1).then_some(Shift::Up { branch, place, of })
    }

    /// A grandchild could feed many more than the weakest child can.
    fn swap(&self, view: &View<'_>) -> Option<Shift> {
        if self.balance.invited.is_some() || self.fed_count() < self.capacity(view) {
            return None;
        }
        let weak = self.weakest()?;
        let room = self.children.get(&weak)?.room();
        let strongest = self.children.iter().filter_map(|(peer, child)| Some((child.told.strongest?, *peer)));
        let ((strong, most), parent) = strongest.max_by_key(|((peer, most), _)| (*most, *peer))?;
        // the weak one needs a place to go to: the slot that the strong one leaves, or any other
        let elsewhere = parent != weak
            || self.children.iter().any(|(peer, child)| *peer != weak && child.nearest_slot().is_some());
        let stronger = most >= room.saturating_mul(STRONGER).saturating_add(2);
        (stronger && elsewhere && strong != view.me).then_some(Shift::Swap { strong })
    }

    /// A peer above us asks us, or the deepest viewer below us, to move.
    pub(crate) fn asked_to_move(&mut self, view: &mut View<'_>, from: PeerId, how: Move, places: &[Place]) {
        let by_parent = self.parent.as_ref().is_some_and(|parent| parent.peer == from);
        let by_grandparent =
            self.path.len().checked_sub(3).and_then(|at| self.path.get(at)) == Some(&from.short());
        if !(by_parent || by_grandparent && how == Move::Up) {
            return;
        }
        if matches!(how, Move::Across { level, .. } if usize::from(level) + 2 > self.path.len()) {
            self.send_across(view, how, places);
        } else if how != Move::Deepest || !self.feeds() {
            self.move_to(view, how, places);
        } else if let Some((branch, deepest)) = self.deepest_branch(view.now)
            && places
                .first()
                .is_some_and(|place| self.path.len() + usize::from(deepest) > place.path.len() + 1)
        {
            self.ask_child(view, branch, how, List::truncated(places.iter().cloned()));
        }
    }

    /// We have changed our parent lately. Who has just come hangs where there was room, and may go on at once.
    pub(super) fn is_new_here(&self, view: &View<'_>) -> bool {
        self.has_changed && self.parent_since.is_some_and(|since| view.now.since(since) < STAY_US)
    }

    fn move_to(&mut self, view: &mut View<'_>, how: Move, places: &[Place]) {
        let busy = self.at_fault || self.next.is_some() || self.seek_parent.is_some();
        let Some(parent) = self.parent.as_ref().map(|parent| parent.peer) else { return };
        if busy || self.is_new_here(view) || !self.is_viewer(view) {
            return;
        }
        let shorter = self.path.len().saturating_sub(2);
        let path_max = match how {
            Move::Deepest | Move::Up => shorter,
            Move::Across { .. } => shorter + 1,
            Move::Down => crate::message::PATH_LEN_MAX,
        };
        let seek = Seek::to_move(view.now, places, path_max, parent);
        let willing = matches!(how, Move::Deepest | Move::Up);
        self.seek_parent = Some(if willing { seek.if_better(Better::NotWorse) } else { seek });
        self.on_time_up(view);
    }
}
