//! A peer below us: what it says of itself and its branch, where we have sent others, and what speaks against it.

use super::AGGREGATE_US;
use super::balance::STAY_US;
use super::down::{PROMISES_MAX, RESERVE};
use crate::id::PeerId;
use crate::message::{Aggregate, DEPTHS_MAX, Purpose, Resume, RoundTrips};
use crate::time::{SECOND, Time};

/// Whoever was sent to a place has taken it by then, and the aggregate has come up: two aggregates' time.
pub(super) const SENT_US_MAX: u64 = 2 * AGGREGATE_US;
/// A child that is suspected has shown by then that it lives, or is none any more. A guess.
const SUSPECTED_US: u64 = SECOND;
/// Each further peer that comes from there suspects it so many times as long, at most: five minutes. A guess.
const SUSPECTED_TIMES: u64 = 4;
const SUSPICIONS_MAX: u32 = 5;
/// After this they are forgotten. A guess.
const FORGIVEN_US: u64 = 60 * SECOND;

/// A peer below us.
#[derive(Clone, Debug)]
pub(super) struct Child {
    /// It was accepted as a child, or has called in its promise.
    pub(super) fed: bool,
    /// It asked to be fed, and is.
    pub(super) served: bool,
    /// It asked to be fed, from there on, when we had no program.
    pub(super) waits: Option<Option<Resume>>,
    /// When it asked for that last.
    pub(super) asked_feed_at: Option<Time>,
    pub(super) linked: bool,
    pub(super) since: Time,
    /// What lies below it, by its own word.
    pub(super) told: Aggregate,
    /// The same, with those we have sent there since.
    pub(super) below: Aggregate,
    /// When we sent somebody there last, if its own word is older.
    pub(super) sent_at: Option<Time>,
    /// Those whom it should have fed came to us.
    pub(super) suspicion: Suspicion,
    /// Its round trips to landmarks.
    pub(super) trips: RoundTrips,
    /// It had no place before.
    pub(super) has_just_joined: bool,
    /// It found nobody else that it could be linked with.
    pub(super) is_only_here: bool,
    /// When it was asked last to move, or to have somebody below it move.
    pub(super) asked_at: Option<Time>,
    /// Our uplink doesn't carry it: it was told to go, and is sent away then.
    pub(super) sheds_at: Option<Time>,
}

/// What speaks against a child.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Suspicion {
    /// Who came last, whom it should have fed, and when.
    by: Option<PeerId>,
    at: Time,
    /// How many did, one after the other.
    times: u32,
    pub(super) until: Option<Time>,
}

impl Suspicion {
    /// A peer that it should have fed comes to us.
    pub(super) fn raise(&mut self, now: Time, by: PeerId) {
        if self.until.is_none() && now.since(self.at) >= FORGIVEN_US {
            *self = Suspicion::default();
        }
        if self.by.replace(by) != Some(by) {
            self.times = (self.times + 1).min(SUSPICIONS_MAX);
        }
        self.at = now;
        self.until = Some(now + SUSPECTED_US * SUSPECTED_TIMES.pow(self.times.saturating_sub(1)));
    }

    /// What several say: the slots that it tells of are worth nothing.
    pub(super) fn is_grave(&self) -> bool {
        self.times > 1 && self.until.is_some()
    }
}

impl Aggregate {
    /// How far below there is something free nearest, and how much of it.
    pub(super) fn nearest_free(&self, purpose: Purpose) -> Option<(usize, u16)> {
        let free = match purpose {
            Purpose::Parent => &self.free,
            Purpose::Backup => &self.promises,
        };
        free.iter().copied().enumerate().find(|(_, free)| *free > 0)
    }

    /// With one free less, so far below.
    pub(super) fn less_one(mut self, purpose: Purpose, depth: usize) -> Aggregate {
        let free = match purpose {
            Purpose::Parent => &mut self.free,
            Purpose::Backup => &mut self.promises,
        };
        free[depth] = free[depth].saturating_sub(1);
        self
    }

    /// With so many slots more, and promises if there are any, so far below.
    pub(super) fn with_room(mut self, depth: usize, room: u8) -> Aggregate {
        let depth = depth.min(DEPTHS_MAX - 1);
        self.free[depth] = self.free[depth].saturating_add(room.into());
        let promises = if room > 0 { (usize::from(room) + RESERVE).min(PROMISES_MAX) as u16 } else { 0 };
        self.promises[depth] = self.promises[depth].saturating_add(promises);
        self
    }
}

impl Child {
    /// Children that it may have by its own word. It has room for none of whom several say that it feeds them nothing, as
    /// long as nobody stays below it: a radio that has paused is suspected as well, and those come back.
    pub(super) fn room(&self) -> u8 {
        if self.suspicion.is_grave() && self.told.viewers <= 1 { 0 } else { self.told.room }
    }

    /// It would go if it were asked to: it has just joined the room, or has been here for a while.
    pub(super) fn may_move(&self, now: Time) -> bool {
        self.has_just_joined || now.since(self.since) >= STAY_US
    }

    /// The same, with nobody below it.
    pub(super) fn may_move_alone(&self, now: Time) -> bool {
        self.may_move(now) && self.told.deepest <= 1
    }

    /// How far below it there is a free slot.
    pub(super) fn nearest_slot(&self) -> Option<usize> {
        let free = self.below.nearest_free(Purpose::Parent).filter(|_| !self.suspicion.is_grave());
        free.map(|(depth, _)| depth)
    }

    /// Somebody is sent to its nearest slot: until its next aggregate, count on that.
    pub(super) fn send_one(&mut self, now: Time) {
        if let Some((depth, _)) = self.below.nearest_free(Purpose::Parent) {
            self.below = self.below.less_one(Purpose::Parent, depth);
            self.sent_at = Some(now);
        }
    }

    /// Whoever was sent there long ago, and isn't in its word, didn't stay.
    pub(super) fn forget_sent(&mut self, now: Time) {
        self.suspicion.until.take_if(|until| *until <= now);
        if self.sent_at.take_if(|at| now.since(*at) >= SENT_US_MAX).is_some() {
            self.below = self.told;
        }
    }

    /// Whether it may be dead.
    pub(super) fn is_suspected(&self, now: Time, purpose: Purpose) -> bool {
        let until = self.suspicion.until.is_some_and(|until| until > now);
        // whoever feeds nobody would be a bad backup, but any is better than none
        until && (purpose == Purpose::Parent || now.since(self.suspicion.at) < SUSPECTED_US)
    }

    /// It is asked to move, or to have somebody move.
    pub(super) fn asked_to_move(&mut self, now: Time) {
        self.asked_at = Some(now);
    }

    /// When it may be asked again, if what it does takes so long to be in its word.
    pub(super) fn asked_again_at(&self, us: u64) -> Option<Time> {
        self.asked_at.map(|at| at + us)
    }

    /// What it was asked less than `us` ago may not be in its word yet.
    pub(super) fn was_asked(&self, now: Time, us: u64) -> bool {
        self.asked_again_at(us).is_some_and(|at| at > now)
    }
}
