//! Tree balancing: keeps the tree flat, and its strong peers near the root.
//!
//! From aggregates, every parent knows where there are free slots below it, how deep its branches are, and
//! which grandchild is the strongest. When the tree has been uneven for a while, the parent requests one move
//! at a time ([`TreeMessage::Move`]):
//!
//! - the deepest viewer moves up to a slot nearer the root;
//! - a much stronger grandchild moves up into the first place below this peer;
//! - the weakest child moves down when this peer feeds one more than it should.
//!
//! A peer that moves is fed by its old parent until the new one feeds it. In a balanced tree no messages are
//! sent.

use super::Tree;
use super::seek::{Better, Seek};
use crate::bounded::List;
use crate::id::PeerId;
use crate::message::{Move, PLACES_MAX, Path, Place, TreeMessage};
use crate::time::{SECOND, Time};
use crate::view::View;

/// How long the tree must have been uneven before a move is requested, and before the same child is asked
/// again: three tiers' aggregates have arrived by then.
const UNEVEN_US: u64 = 3 * SECOND;
/// Interval between two requests to move (± a quarter); one peer is asked at a time.
const MOVE_EACH_US: u64 = SECOND / 2;
/// How long a peer stays with a new parent unless that parent fails. Without it, several ancestors with
/// aggregates of different ages pass the same viewer around.
pub(super) const STAY_US: u64 = 5 * SECOND;
/// Timeout after which an invited stronger peer no longer gets the reserve slot.
const INVITED_US_MAX: u64 = 5 * SECOND;
/// Timeout after which a child that should have given way to another peer stays.
const REPLACED_US_MAX: u64 = 10 * SECOND;
/// A grandchild changes places with a child if it could feed at least this many times as many peers, plus
/// two.
const STRONGER: u8 = 2;

/// A move that would make the tree below this peer more even.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shift {
    /// The deepest viewer of a child's branch moves to a place nearer the root. `of` is the child or the
    /// other mixer with the free slot; `None` if the slot is this peer's own.
    Up { branch: PeerId, place: Place, of: Option<PeerId> },
    /// A strong grandchild becomes a child.
    Swap { strong: PeerId },
    /// A weak child moves down; at once if another peer was accepted in its place.
    Down { weak: PeerId, places: List<Place, PLACES_MAX>, at_once: bool },
    /// A child, or a peer below it, moves to another mixer with its whole branch.
    Across { branch: PeerId, leaf: bool, how: Move, co_mixer: PeerId },
}

/// State of this peer's tree balancing.
#[derive(Debug, Default)]
pub(super) struct Balance {
    /// When the next move is due, while the tree is uneven.
    move_at: Option<Time>,
    /// All peers that could move were asked already; `move_at` is when the first may be asked again.
    awaits: bool,
    /// A strong grandchild that may take the reserve slot, and when it was invited.
    invited: Option<(PeerId, Time)>,
    /// The peer accepted in place of a child, that child, and when this happened.
    replaces: Option<(PeerId, PeerId, Time)>,
}

impl Tree {
    /// Returns whether `peer` was invited, so that it may take the reserve slot.
    pub(super) fn is_invited(&self, peer: &PeerId) -> bool {
        self.balance.invited.is_some_and(|(invited, _)| invited == *peer)
    }

    /// Returns whether the reserve slot is already assigned.
    pub(super) fn makes_room(&self) -> bool {
        self.balance.invited.is_some() || self.balance.replaces.is_some()
    }

    /// Records that `strong` is accepted in place of the child `weak`.
    pub(super) fn take_in_place_of(&mut self, now: Time, strong: PeerId, weak: PeerId) {
        self.balance.replaces = Some((strong, weak, now));
    }

    /// Returns whether `peer` was accepted in place of a child that is still here.
    pub(super) fn is_taken_in_place(&self, peer: &PeerId) -> bool {
        self.balance.replaces.is_some_and(|(strong, ..)| strong == *peer)
    }

    /// Returns whether the peer that was accepted in place of a child isn't served yet. Until then the
    /// accepted children may exceed the slots by one.
    pub(super) fn is_awaited_in_place(&self) -> bool {
        let served = |peer| self.children.get(&peer).is_some_and(|child| child.served);
        self.balance.replaces.is_some_and(|(strong, ..)| !served(strong))
    }

    /// Takes the child that gives way to `strong`. It must leave before `strong` is served when even the
    /// reserve slot is taken.
    pub(super) fn gives_way_now(&mut self, strong: &PeerId) -> Option<PeerId> {
        let replaces = self.balance.replaces.take_if(|(taken, ..)| taken == strong);
        replaces.map(|(_, weak, _)| weak)
    }

    /// Returns when the balance must be checked next.
    pub(super) fn next_move(&self) -> Option<Time> {
        let invited = self.balance.invited.map(|(_, at)| at + INVITED_US_MAX);
        let replaces = self.balance.replaces.map(|(.., at)| at + REPLACED_US_MAX);
        self.balance.move_at.into_iter().chain(invited).chain(replaces).min()
    }

    /// Re-evaluates the balance of the tree, and requests a move after it has been uneven for a while.
    pub(super) fn keep_balance(&mut self, view: &mut View<'_>) {
        self.balance.invited.take_if(|(_, at)| view.now.since(*at) >= INVITED_US_MAX);
        self.balance.replaces.take_if(|(strong, weak, at)| {
            let both = self.children.contains_key(strong) && self.children.contains_key(weak);
            !both || view.now.since(*at) >= REPLACED_US_MAX
        });
        self.forget_sent(view.now);
        let shift = self.shift(view);
        match (shift, self.balance.move_at) {
            // While requested moves are under way, the balance is checked again when their effect shows.
            (None, at) => {
                self.balance.move_at = at.and_then(|_| self.asked_until(view.now));
                self.balance.awaits = self.balance.move_at.is_some();
            }
            (Some(shift @ Shift::Down { at_once: true, .. }), _) => self.ask_to_move(view, shift),
            (Some(_), Some(at)) if self.balance.awaits && at > view.now => {
                self.balance.awaits = false; // the effect of a move has shown
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
                view.out.send(strong, TreeMessage::Move { how: Move::Up, places });
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
        view.out.send(peer, TreeMessage::Move { how, places });
    }

    /// Returns when the first of the recently asked children may be asked again.
    fn asked_until(&self, now: Time) -> Option<Time> {
        self.children
            .values()
            .filter_map(|child| child.asked_again_at(UNEVEN_US))
            .filter(|at| *at > now)
            .min()
    }

    /// Returns the child with the deepest branch, and its depth in levels. Recently asked children are left
    /// out, since their aggregates don't show the move yet.
    fn deepest_branch(&self, now: Time) -> Option<(PeerId, u8)> {
        let known = self.served().filter(|(_, child)| !child.was_asked(now, UNEVEN_US));
        known.map(|(peer, child)| (*peer, child.told.deepest)).max_by_key(|(_, deepest)| *deepest)
    }

    fn shift(&self, view: &View<'_>) -> Option<Shift> {
        let fed = self.mixing || (self.parent.is_some() && !self.at_fault);
        if !fed || self.is_busy || self.path.is_empty() || self.leaving.is_some() || self.children.is_empty()
        {
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

    /// Selects a child to move down because the reserve slot is taken: one that gives way, else the weakest.
    /// One at a time.
    fn shift_down(&self, view: &View<'_>) -> Option<Shift> {
        let weak = match self.balance.replaces {
            // The accepted peer has slots for others as soon as it is served.
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

    /// Selects the deepest branch to move up, if there is a slot nearer the root than the deepest viewer's
    /// parent.
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

    /// Selects a grandchild to move up, if it could feed many more peers than the weakest child can.
    fn swap(&self, view: &View<'_>) -> Option<Shift> {
        if self.balance.invited.is_some() || self.fed_count() < self.capacity(view) {
            return None;
        }
        let weak = self.weakest()?;
        let room = self.children.get(&weak)?.room();
        let strongest = self.children.iter().filter_map(|(peer, child)| Some((child.told.strongest?, *peer)));
        let ((strong, most), parent) = strongest.max_by_key(|((peer, most), _)| (*most, *peer))?;
        // The weak child needs another place: the slot vacated by the strong one, or a free slot below
        // another child.
        let elsewhere = parent != weak
            || self.children.iter().any(|(peer, child)| *peer != weak && child.nearest_slot().is_some());
        let stronger = most >= room.saturating_mul(STRONGER).saturating_add(2);
        (stronger && elsewhere && strong != view.me).then_some(Shift::Swap { strong })
    }

    /// Handles `Move`: the parent (for [`Move::Up`] also the grandparent) requests this peer, or a viewer
    /// below it, to move.
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

    /// Returns whether this peer changed its parent recently. A newcomer's first place doesn't count: it was
    /// taken for its free slot, and the newcomer may move on at once.
    pub(super) fn is_new_here(&self, view: &View<'_>) -> bool {
        self.has_changed && self.parent_since.is_some_and(|since| view.now.since(since) < STAY_US)
    }

    fn move_to(&mut self, view: &mut View<'_>, how: Move, places: &[Place]) {
        let busy = self.at_fault || self.next.is_some() || self.seek_parent.is_some();
        let Some(parent) = self.parent.as_ref().map(|parent| parent.peer) else { return };
        if busy || self.is_new_here(view) || !self.is_viewer(view) {
            return;
        }
        // A relay that forwards nothing has free slots, again and again. A mixer is judged by votes instead: one that
        // was late once, as at its beginning, would never get its share of the viewers.
        let mixes = |place: &Place| view.mandate.mixers.contains(&place.peer);
        let may_feed = |place: &&Place| mixes(place) || !self.failed_feeders.is_failed(&place.peer);
        let places: Vec<_> = places.iter().filter(may_feed).cloned().collect();
        if places.is_empty() {
            return;
        }
        let shorter = self.path.len().saturating_sub(2);
        let path_max = match how {
            Move::Deepest | Move::Up => shorter,
            Move::Across { .. } => shorter + 1,
            Move::Down => crate::message::PATH_LEN_MAX,
        };
        let seek = Seek::to_move(view, &places, path_max, parent);
        let willing = matches!(how, Move::Deepest | Move::Up);
        self.seek_parent = Some(if willing { seek.if_better(Better::NotWorse) } else { seek });
        self.on_time_up(view);
    }
}
