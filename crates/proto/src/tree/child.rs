//! State kept of one child: its aggregates, the newcomers redirected to its branch, and the suspicion against
//! it.

use super::balance::STAY_US;
use super::{AGGREGATE_US, PROMISES_MAX, RESERVE};
use crate::id::PeerId;
use crate::message::{Aggregate, DEPTHS_MAX, Purpose, Resume, RoundTrips};
use crate::time::{SECOND, Time};

/// Time after which a redirected newcomer has taken its slot and the child's aggregate shows it: two
/// aggregate intervals.
pub(super) const SENT_US_MAX: u64 = 2 * AGGREGATE_US;
/// How long a first suspicion lasts: within it a child has shown that it lives, or has been dropped. A guess.
const SUSPECTED_US: u64 = SECOND;
/// Factor by which each further complaining peer prolongs the suspicion. At most `SUSPICIONS_MAX` peers are
/// counted, so a suspicion lasts 256 s at most. A guess.
const SUSPECTED_TIMES: u64 = 4;
const SUSPICIONS_MAX: u32 = 5;
/// Time without complaints after which a lapsed suspicion is forgotten and the count starts again. A guess.
const FORGIVEN_US: u64 = 60 * SECOND;

/// A child: a peer that this peer feeds, will feed, or has promised to feed as its backup.
#[derive(Clone, Debug)]
pub(super) struct Child {
    /// The child takes a slot: it was accepted as a child, or has activated its backup promise.
    pub(super) fed: bool,
    /// The child has requested the program (`Feed`) and receives it.
    pub(super) served: bool,
    /// The child's pending request for the program, received while this peer had none to send; with the
    /// child's resume point if it named one.
    pub(super) waits: Option<Option<Resume>>,
    /// When the child last requested the program.
    pub(super) asked_feed_at: Option<Time>,
    pub(super) linked: bool,
    pub(super) since: Time,
    /// The child's last aggregate: what lies below it, by its own report.
    pub(super) told: Aggregate,
    /// The last aggregate, less the slots to which this peer has redirected newcomers since.
    pub(super) below: Aggregate,
    /// When this peer last redirected a newcomer to the child, if no aggregate has arrived since.
    pub(super) sent_at: Option<Time>,
    /// Complaints by peers that the child should have fed and that came to this peer instead.
    pub(super) suspicion: Suspicion,
    /// The child's round trips to landmarks.
    pub(super) trips: RoundTrips,
    /// The child had no place in the tree before.
    pub(super) has_just_joined: bool,
    /// The child asked with [`Reach::OnlyHere`](crate::message::Reach::OnlyHere): no link with any other
    /// possible parent came up.
    pub(super) is_only_here: bool,
    /// When the child was last asked to move itself or a peer of its branch.
    pub(super) asked_at: Option<Time>,
    /// The child is one too many for this peer's uplink or its user's limit: it was asked to leave, and is sent away at
    /// this time.
    pub(super) sheds_at: Option<Time>,
}

/// Suspicion that a child doesn't feed its own children.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Suspicion {
    /// The last complaining peer, which the child should have fed, and the time of its complaint.
    by: Option<PeerId>,
    at: Time,
    /// Number of complaints by different peers in a row, capped at `SUSPICIONS_MAX`.
    times: u32,
    pub(super) until: Option<Time>,
}

impl Suspicion {
    /// Records a complaint: a peer that the child should have fed asks this peer for a place.
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

    /// Returns whether at least two peers have complained and the suspicion hasn't lapsed. Free slots that
    /// the child reports don't count then.
    pub(super) fn is_grave(&self) -> bool {
        self.times > 1 && self.until.is_some()
    }
}

impl Aggregate {
    /// Returns the depth of the nearest free slot (for [`Purpose::Backup`]: of the nearest free promise) and
    /// how many are free at that depth.
    pub(super) fn nearest_free(&self, purpose: Purpose) -> Option<(usize, u16)> {
        let free = match purpose {
            Purpose::Parent => &self.free,
            Purpose::Backup => &self.promises,
        };
        free.iter().copied().enumerate().find(|(_, free)| *free > 0)
    }

    /// Returns the aggregate with one slot or promise fewer at `depth`.
    pub(super) fn less_one(mut self, purpose: Purpose, depth: usize) -> Aggregate {
        let free = match purpose {
            Purpose::Parent => &mut self.free,
            Purpose::Backup => &mut self.promises,
        };
        free[depth] = free[depth].saturating_sub(1);
        self
    }

    /// Returns the aggregate with `room` more slots at `depth`, and the backup promises that a peer with that
    /// many slots makes (up to `PROMISES_MAX`).
    pub(super) fn with_room(mut self, depth: usize, room: u8) -> Aggregate {
        let depth = depth.min(DEPTHS_MAX - 1);
        self.free[depth] = self.free[depth].saturating_add(room.into());
        let promises = if room > 0 { (usize::from(room) + RESERVE).min(PROMISES_MAX) as u16 } else { 0 };
        self.promises[depth] = self.promises[depth].saturating_add(promises);
        self
    }
}

impl Child {
    /// Returns the number of children that the child may have, by its own report. Returns 0 while the
    /// suspicion is grave and the branch holds no other viewer. A peer with a stalled radio is suspected as
    /// well, but its children come back.
    pub(super) fn room(&self) -> u8 {
        if self.suspicion.is_grave() && self.told.viewers <= 1 { 0 } else { self.told.room }
    }

    /// Returns whether the child would follow a request to move: it has just joined the room, or has been
    /// here for `STAY_US`.
    pub(super) fn may_move(&self, now: Time) -> bool {
        self.has_just_joined || now.since(self.since) >= STAY_US
    }

    /// Returns whether the child would follow a request to move, and has no viewers below it.
    pub(super) fn may_move_alone(&self, now: Time) -> bool {
        self.may_move(now) && self.told.deepest <= 1
    }

    /// Returns the depth of the nearest free slot below the child; `None` under a grave suspicion.
    pub(super) fn nearest_slot(&self) -> Option<usize> {
        let free = self.below.nearest_free(Purpose::Parent).filter(|_| !self.suspicion.is_grave());
        free.map(|(depth, _)| depth)
    }

    /// Counts a peer that is sent to the nearest slot below the child, until the child's next aggregate.
    pub(super) fn send_one(&mut self, now: Time) {
        if let Some((depth, _)) = self.below.nearest_free(Purpose::Parent) {
            self.below = self.below.less_one(Purpose::Parent, depth);
            self.sent_at = Some(now);
        }
    }

    /// Restores the slots counted for redirected peers that the child's aggregates still don't show after
    /// `SENT_US_MAX`, since these peers didn't stay. Also ends a lapsed suspicion.
    pub(super) fn forget_sent(&mut self, now: Time) {
        self.suspicion.until.take_if(|until| *until <= now);
        if self.sent_at.take_if(|at| now.since(*at) >= SENT_US_MAX).is_some() {
            self.below = self.told;
        }
    }

    /// Returns whether newcomers must not be sent to the child because it may be dead.
    pub(super) fn is_suspected(&self, now: Time, purpose: Purpose) -> bool {
        let until = self.suspicion.until.is_some_and(|until| until > now);
        // A parent that feeds no peer makes a poor backup, but any backup is better than none: for backups
        // the suspicion ends `SUSPECTED_US` after the last complaint.
        until && (purpose == Purpose::Parent || now.since(self.suspicion.at) < SUSPECTED_US)
    }

    /// Records that the child is asked to move itself or a peer of its branch.
    pub(super) fn asked_to_move(&mut self, now: Time) {
        self.asked_at = Some(now);
    }

    /// Returns when the child may be asked to move again, if the effect of a move takes `us` to show in its
    /// aggregates.
    pub(super) fn asked_again_at(&self, us: u64) -> Option<Time> {
        self.asked_at.map(|at| at + us)
    }

    /// Returns whether the child was asked to move less than `us` ago, so its aggregate may not show the
    /// effect yet.
    pub(super) fn was_asked(&self, now: Time, us: u64) -> bool {
        self.asked_again_at(us).is_some_and(|at| at > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::MS;

    fn peer(number: u8) -> PeerId {
        PeerId([number; 32])
    }

    /// Returns for how many seconds a suspicion lasts after these complaints, one second apart.
    fn lasts_s(by: &[u8]) -> u64 {
        let (mut suspicion, mut now) = (Suspicion::default(), Time(100 * SECOND));
        for number in by {
            now = now + SECOND;
            suspicion.raise(now, peer(*number));
        }
        suspicion.until.unwrap().since(now) / SECOND
    }

    #[test]
    fn a_suspicion_quadruples_with_each_further_peer_that_complains() {
        for (by, seconds) in [
            (&[1][..], 1),
            (&[1, 1, 1], 1),
            (&[1, 2], 4),
            (&[1, 2, 1], 16),
            (&[1, 2, 3, 4], 64),
            (&[1, 2, 3, 4, 5], 256),
            (&[1, 2, 3, 4, 5, 6, 7, 8], 256),
        ] {
            assert_eq!(lasts_s(by), seconds, "{by:?}");
        }
    }

    #[test]
    fn a_lapsed_suspicion_begins_at_one_second_again_after_a_minute() {
        let child = |suspicion| Child { suspicion, ..child(Aggregate::default()) };
        for (complaints, pause_s, seconds) in [(2u8, 59, 16), (2, 61, 1), (4, 61, 256)] {
            let mut suspicion = Suspicion::default();
            (0..complaints).for_each(|number| suspicion.raise(Time(100 * SECOND), peer(number)));
            let later = Time((100 + pause_s) * SECOND);
            let mut child = child(suspicion);
            child.forget_sent(later);
            child.suspicion.raise(later, peer(9));
            let lasts_s = child.suspicion.until.unwrap().since(later) / SECOND;
            assert_eq!(lasts_s, seconds, "{complaints} complaints, then {pause_s} s");
        }
    }

    fn child(told: Aggregate) -> Child {
        Child {
            fed: true,
            served: true,
            waits: None,
            asked_feed_at: None,
            linked: true,
            since: Time(0),
            told,
            below: told,
            sent_at: None,
            suspicion: Suspicion::default(),
            trips: RoundTrips::default(),
            has_just_joined: false,
            is_only_here: false,
            asked_at: None,
            sheds_at: None,
        }
    }

    #[test]
    fn a_grave_suspicion_hides_the_slots_of_a_child() {
        let told = |viewers| Aggregate { viewers, free: [2; DEPTHS_MAX], room: 4, ..Aggregate::default() };
        for (complaints, viewers, slot, room) in
            [(0, 1, Some(0), 4), (1, 1, Some(0), 4), (2, 1, None, 0), (2, 3, None, 4)]
        {
            let mut child = child(told(viewers));
            let now = Time(100 * SECOND);
            (0..complaints).for_each(|number| child.suspicion.raise(now, peer(number)));
            assert_eq!((child.nearest_slot(), child.room()), (slot, room), "{complaints}, {viewers}");
            let suspected = complaints > 0;
            assert_eq!(child.is_suspected(now, Purpose::Parent), suspected);
            let later = now + SECOND + 10 * MS;
            assert_eq!(child.is_suspected(later, Purpose::Parent), complaints > 1);
            assert!(!child.is_suspected(later, Purpose::Backup), "a poor backup is better than none");
            child.forget_sent(now + 5 * SECOND);
            assert_eq!((child.nearest_slot(), child.room()), (Some(0), 4), "the suspicion has lapsed");
        }
    }

    #[test]
    fn slots_are_counted_without_overflow_at_any_depth() {
        let full = Aggregate {
            free: [u16::MAX; DEPTHS_MAX],
            promises: [u16::MAX; DEPTHS_MAX],
            ..Aggregate::default()
        };
        assert_eq!(full.with_room(usize::MAX, u8::MAX), full);
        let none = Aggregate::default();
        assert_eq!(none.less_one(Purpose::Parent, 3), none);
        for (room, promises) in [(0, 0), (1, 2), (3, 4), (200, 4)] {
            let with = none.with_room(2, room);
            assert_eq!((with.free[2], with.promises[2]), (u16::from(room), promises), "room for {room}");
        }
        let deep = none.with_room(40, 1);
        assert_eq!(deep.nearest_free(Purpose::Parent), Some((DEPTHS_MAX - 1, 1)));
    }

    #[test]
    fn a_peer_sent_to_a_child_takes_a_slot_there_until_2_s_have_passed() {
        let mut child = child(Aggregate { free: [1, 0, 0, 2, 0, 0, 0, 0], ..Aggregate::default() });
        child.send_one(Time(SECOND));
        assert_eq!(child.nearest_slot(), Some(3));
        child.forget_sent(Time(SECOND + SENT_US_MAX - 1));
        assert_eq!(child.nearest_slot(), Some(3));
        child.forget_sent(Time(SECOND + SENT_US_MAX));
        assert_eq!(child.nearest_slot(), Some(0));
    }
}
