//! Network proximity: estimates the delay between peers and the delay of the program at each place, so that
//! viewers are placed below near parents that get the program early.
//!
//! Some peers of the stage are landmarks. Every viewer links with them briefly after it is first fed, and
//! measures its round trips to them. From the round trips of two peers to the same landmarks, any peer can
//! estimate the delay between the two before they are linked. Parents report to their children how late the
//! program leaves them. From both, a viewer estimates the delay at another place, and moves there if it is
//! clearly better ([`seek_better`]).
//!
//! A parent without a free slot accepts a near peer that forwards fast in place of a child that is far, slow,
//! or feeds no other peer. That child goes down a level: below the newcomer if that is the shortest detour.
//!
//! [`seek_better`]: Tree::seek_better

use crate::ordered::OrderedSet;

use super::Tree;
use super::above::Up;
use super::balance::STAY_US;
use super::child::Child;
use super::seek::{Better, Seek};
use crate::bounded::{Bound, List};
use crate::id::PeerId;
use crate::io::Output;
use crate::links::Want;
use crate::message::{
    Attach, LANDMARKS_MAX, LinkKind, Path, Place, Reach, Roster, RoundTrip, RoundTrips, TreeMessage,
    Whereabouts,
};
use crate::rng::Backoff;
use crate::time::{MS, SECOND, Time};
use crate::view::View;

/// Delay (± a quarter) after which a newly fed viewer measures its round trips, so that joining comes first;
/// also the delay between the measurement and the first search for a better place.
const BEGIN_US: u64 = SECOND / 2;
/// Time for links with landmarks to come up and some pings to be answered.
const PINGS_US: u64 = 2 * SECOND;
/// Backoff for measuring again when landmarks were busy or didn't answer.
const BEGIN_AGAIN: Backoff = Backoff::new(5 * SECOND, 300 * SECOND);
/// Minimum number of landmarks in common from which a distance is estimated. A single one tells how far a
/// peer is, but not in which direction.
const LANDMARKS_MIN: usize = 2;
/// Assumed one-way delay between two peers when no landmark tells: the far end of a continent and part of a
/// sea. A guess.
const UNKNOWN_US: u64 = 60 * MS;
/// Assumed sending time of one frame per child while the uplink is unknown: an uplink of some 20 Mbit/s.
const UNKNOWN_SENDING_US: u64 = 3 * MS;
/// Time by which a page, which sends whole frames through its browser, holds a frame longer than a relay holds its
/// packets. Measured in Chromium, for a frame of six packets.
const PAGE_HOP_US: u64 = 17 * MS;
/// Cost of one level of depth when places are compared, besides the hop itself, in microseconds of delay:
/// repairs of lost packets, and one more peer that may fail.
const LEVEL_US: u64 = 10 * MS;
/// Penalty per level down to the nearest free slot when detours are compared, in microseconds of delay. Deep
/// slots are known less well. With a smaller penalty the tree gets deeper where delays have no structure.
const DOWN_US: u64 = 40 * MS;
/// Delay that a hop adds: packets are received, processed, and wait for the radio. A guess.
const HOP_US: u64 = 5 * MS;
/// Minimum gain for which a viewer moves to a better place, or a twentieth of its present delay if that is
/// longer. The reported delays are no more precise than that.
const GAIN_US: u64 = 15 * MS;
/// Additional gain required for each level that the new place is deeper. Without it a tree of equal peers
/// gets deep, though each single step has a reason.
const DEEPER_US: u64 = 20 * MS;
/// Change of the program's delay from which the children are notified.
const TELL_US: u64 = 5 * MS;
/// Backoff between searches for a better place: 6 s at first, 600 s at most.
const BETTER: Backoff = Backoff::new(6 * SECOND, 600 * SECOND);
/// A child gives way to a peer that would pass frames on to its children sooner than the child does, by at
/// least this.
const SOONER_US: u64 = 40 * MS;
/// The frames of a child that gives way may arrive through the other peer later than now, by at most this.
const DETOUR_US: u64 = 5 * MS;

/// What this peer knows of its network location.
#[derive(Debug)]
pub(super) struct Near {
    /// This peer's round trips to landmarks.
    trips: RoundTrips,
    /// Landmarks being measured.
    measured: OrderedSet<(PeerId, LinkKind)>,
    begin_at: Option<Time>,
    begin_again: Backoff,
    /// When the body is asked for the round trips of the links.
    ask_at: Option<Time>,
    /// Measured one-way delay to the parent, in microseconds, and the parent it belongs to.
    to_parent_us: Option<(PeerId, u64)>,
    /// The program's delay that the children were told last.
    told_us: Option<u64>,
    better_at: Option<Time>,
    better: Backoff,
    /// The place of the last parent that failed; the failure may have been a short stall only.
    before: Option<Place>,
}

impl Default for Near {
    fn default() -> Near {
        Near {
            trips: List::new(),
            measured: OrderedSet::new(),
            begin_at: None,
            begin_again: BEGIN_AGAIN,
            ask_at: None,
            to_parent_us: None,
            told_us: None,
            better_at: None,
            better: BETTER,
            before: None,
        }
    }
}

impl Near {
    pub(super) fn trips(&self) -> &RoundTrips {
        &self.trips
    }

    pub(super) fn next_timeout(&self) -> Option<Time> {
        [self.begin_at, self.ask_at, self.better_at].into_iter().flatten().min()
    }

    pub(super) fn bounds(&self) -> Bound {
        Bound::new("landmarks", self.measured.len(), LANDMARKS_MAX)
    }
}

/// Returns a lower bound of the one-way delay between two peers: half of the greatest difference of their
/// round trips to the same landmark. `None` with fewer than [`LANDMARKS_MIN`] landmarks in common. The lower
/// bound gave better trees in simulation than the midpoint of lower and upper bound.
pub(super) fn delay_us(one: &RoundTrips, other: &RoundTrips) -> Option<u64> {
    let both =
        one.iter().flat_map(|to| other.iter().filter(|trip| trip.is_alike(to)).map(move |trip| (to, trip)));
    let both = both.map(|(one, other)| (u64::from(one.rtt_us()), u64::from(other.rtt_us())));
    let (least, count) =
        both.fold((0, 0), |(least, count), (one, other)| (one.abs_diff(other).max(least), count + 1));
    (count >= LANDMARKS_MIN).then_some(least / 2)
}

/// Returns how long the uplink needs to send one frame to `children` children, at most one second.
fn sending_to_us(view: &View<'_>, roster: &Roster, children: usize) -> u64 {
    let bits = u64::from(roster.rules.program.bitrate_bps) / u64::from(roster.rules.program.fps.max(1));
    let us = |bps: u64| (bits * children as u64 * SECOND / bps.max(1)).min(SECOND);
    view.uplink_bps().map_or(UNKNOWN_SENDING_US * children as u64, us)
}

/// Returns by how much this peer holds a frame longer than a relay that forwards packets.
fn page_hop_us(view: &View<'_>) -> u64 {
    if view.config.sends_trains { 0 } else { PAGE_HOP_US }
}

impl Tree {
    /// Returns the landmarks: present peers on stage that don't mix, candidates first, because mixers are
    /// linked with all candidates.
    fn landmarks(&self, view: &View<'_>) -> OrderedSet<(PeerId, LinkKind)> {
        let entries = view.stage.entries().iter().filter(|entry| !entry.away && entry.peer != view.me);
        let idle = entries.filter(|entry| !view.mandate.mixers.contains(&entry.peer));
        let (would, others): (Vec<_>, Vec<_>) =
            idle.partition(|entry| view.stage.candidates().contains(&entry.peer));
        let all = would.into_iter().chain(others).take(LANDMARKS_MAX);
        all.map(|entry| (entry.peer, LinkKind::Peer)).collect()
    }

    /// Returns how late the program arrives at this peer, in microseconds after the mixer; `None` when
    /// unknown.
    fn late_us(&self) -> Option<u64> {
        if self.mixing {
            return Some(0);
        }
        let parent = self.parent.as_ref()?;
        let whereabouts = parent.whereabouts.as_ref()?;
        let late_us = u64::from(whereabouts.late_us?);
        let told_us = || delay_us(&whereabouts.round_trips, &self.near.trips);
        let delay_us = self.measured_us(parent).or_else(told_us)?;
        Some(late_us + delay_us)
    }

    /// Returns the part of the measured delay to the parent that the landmark estimate (a lower bound)
    /// misses. It is capped at what this peer's own line may account for, half the round trip to its nearest
    /// landmark, since the line adds the same delay towards every peer. Without this correction, all places
    /// with an estimated delay would look nearer than the parent, where the delay is measured.
    fn untold_us(&self) -> u64 {
        let untold = |parent: &Up| {
            let told_us = delay_us(&parent.whereabouts.as_ref()?.round_trips, &self.near.trips)?;
            Some(self.measured_us(parent)?.saturating_sub(told_us))
        };
        let nearest_us = self.near.trips.iter().map(|trip| u64::from(trip.rtt_us())).min();
        let our_line_us = nearest_us.unwrap_or_default() / 2;
        self.parent.as_ref().and_then(untold).unwrap_or_default().min(our_line_us)
    }

    /// Returns the measured one-way delay from the parent, if there is one.
    fn measured_us(&self, parent: &Up) -> Option<u64> {
        self.near.to_parent_us.filter(|(peer, _)| *peer == parent.peer).map(|(_, us)| us)
    }

    /// Returns how late the program leaves this peer for its children.
    fn leaves_us(&self, view: &View<'_>) -> Option<u64> {
        Some(self.late_us()? + self.sending_us(view))
    }

    /// Returns the report for parents and children: how late the program leaves this peer, and its round
    /// trips to landmarks.
    pub(super) fn whereabouts(&self, view: &View<'_>) -> Whereabouts {
        let late_us = self.leaves_us(view).map(|us| us.min(u32::MAX.into()) as u32);
        Whereabouts { late_us, round_trips: self.near.trips.clone() }
    }

    /// Returns the delay that this peer adds for one more child. All children are served in parallel, so it
    /// depends on their number.
    fn sending_us(&self, view: &View<'_>) -> u64 {
        HOP_US
            + page_hop_us(view)
            + view.stage.roster().map_or(0, |roster| sending_to_us(view, roster, self.fed_count() + 1))
    }

    /// Returns how long one frame takes to all children that this peer may have at any place, rounded down to
    /// `TELL_US`: differences between similar peers are below the precision, and other criteria decide
    /// between them.
    pub(super) fn sending_to_all_us(&self, view: &View<'_>) -> u32 {
        let us = |roster| sending_to_us(view, roster, self.capacity_as_relay(view, roster));
        ((view.stage.roster().map_or(0, us) + page_hop_us(view)) / TELL_US * TELL_US) as u32
    }

    /// Returns the cost of a place, lower is better: the program's delay there, and its depth.
    fn worth_us(late_us: u64, path_len: usize) -> u64 {
        late_us + LEVEL_US * path_len as u64
    }

    /// Returns whether a place below the given peer is better enough than the present place; `None` when
    /// either delay is unknown.
    pub(super) fn is_better_below(
        &self,
        path: &Path,
        whereabouts: &Whereabouts,
        enough: Better,
    ) -> Option<bool> {
        let ours_us = self.late_us()?;
        let delay_us = delay_us(&whereabouts.round_trips, &self.near.trips)? + self.untold_us();
        let theirs_us = u64::from(whereabouts.late_us?) + delay_us;
        let margin_us = match enough {
            Better::ByFar => GAIN_US.max(ours_us / 20),
            Better::NotWorse => 0,
        };
        let deeper = (path.len() + 1).saturating_sub(self.path.len()) as u64;
        let margin_us = margin_us + deeper * DEEPER_US;
        let ours_us = Tree::worth_us(ours_us, self.path.len());
        Some(Tree::worth_us(theirs_us, path.len() + 1) + margin_us <= ours_us)
    }

    /// Returns the delay from this peer over the child to `peer`, plus the child's sending time and the
    /// penalty for the depth of the free slot. Unknown delays count as twice [`UNKNOWN_US`] in all.
    pub(super) fn detour_us(&self, child: &Child, peer: &RoundTrips, depth: usize) -> u64 {
        let down_us = DOWN_US * depth as u64 + u64::from(child.told.sending_us);
        if peer.is_empty() {
            return down_us;
        }
        let delays = delay_us(&self.near.trips, &child.trips).zip(delay_us(&child.trips, peer));
        down_us + delays.map_or(2 * UNKNOWN_US, |(here, there)| here + there)
    }

    /// Returns the child that gives way to the asker when all slots but the reserve are taken.
    ///
    /// For a fed asker that could feed others, or feeds some while a child has a free slot: a child that
    /// can't feed, else the child that passes frames on latest, provided that the asker would pass them on
    /// sooner. It moves below the asker or another child, and is never in the deepest branch. For an unfed
    /// asker that could feed: the farthest child that can't feed and has no viewers below it, however deep it
    /// goes then.
    pub(super) fn gives_way(&self, view: &View<'_>, from: PeerId, attach: &Attach) -> Option<PeerId> {
        let slot = || self.children.values().any(|child| child.nearest_slot().is_some());
        let feeds = attach.room > 0 || attach.viewers_below > 0 && slot();
        let (taken, capacity) = (self.fed_count(), self.capacity(view));
        let most = if attach.fed { capacity } else { self.most(view) };
        if self.is_busy || self.makes_room() || !(capacity..=most).contains(&taken) {
            return None;
        }
        if attach.reach == Reach::OnlyHere && !attach.fed {
            return self.gives_way_here(view, from, capacity);
        }
        if !feeds {
            return None;
        }
        if !attach.fed {
            if slot() {
                return None; // the asker is redirected to that slot
            }
            // Otherwise peers that could feed others would wait indefinitely for peers that can't.
            let may = |child: &Child| child.may_move_alone(view.now) && child.room() == 0;
            let may = self.served().filter(|(peer, child)| **peer != from && may(child));
            let far_us = |child: &Child| delay_us(&self.near.trips, &child.trips);
            return may.map(|(peer, child)| (far_us(child), *peer)).max().map(|(_, peer)| peer);
        }
        let near_us = delay_us(&self.near.trips, &attach.round_trips)? + u64::from(attach.sending_us);
        let others = || self.served().filter(|(peer, _)| **peer != from);
        let levels = others().map(|(_, child)| child.told.deepest).max()?;
        let may = others().filter(|(_, child)| child.may_move(view.now) && child.told.deepest < levels);
        let far = may.filter_map(|(peer, child)| {
            let far_us = delay_us(&self.near.trips, &child.trips)?;
            let on_us = delay_us(&attach.round_trips, &child.trips)?;
            let (idle, forwarded_us) = (child.room() == 0, far_us + u64::from(child.told.sending_us));
            let sooner = near_us + SOONER_US <= forwarded_us && near_us + on_us <= far_us + DETOUR_US;
            (idle || sooner).then_some((idle, forwarded_us, *peer))
        });
        far.max().map(|(.., peer)| peer)
    }

    /// Returns the child that gives way to an asker that can link with no other parent: a child with no
    /// viewers below it, provided that another child has a slot to take it. At most `capacity` children are
    /// accepted this way, since the displaced ones may return with the same request.
    fn gives_way_here(&self, view: &View<'_>, from: PeerId, capacity: usize) -> Option<PeerId> {
        let only_here = self.served().filter(|(_, child)| child.is_only_here).count();
        if only_here >= capacity {
            return None;
        }
        let elsewhere =
            |weak: &PeerId| self.served().any(|(peer, child)| peer != weak && child.nearest_slot().is_some());
        let idle = self.served().filter(|(peer, child)| {
            **peer != from && child.may_move_alone(view.now) && !child.is_only_here && elsewhere(peer)
        });
        idle.min_by_key(|(peer, child)| (child.room(), **peer)).map(|(peer, _)| *peer)
    }

    /// Handles a location report of a child, the parent, the backup or `next`.
    pub(crate) fn whereabouts_of(&mut self, view: &mut View<'_>, from: PeerId, whereabouts: Whereabouts) {
        if let Some(child) = self.children.get_mut(&from) {
            child.trips = whereabouts.round_trips;
        } else {
            for up in [&mut self.parent, &mut self.backup, &mut self.next].into_iter().flatten() {
                if up.peer == from {
                    up.whereabouts = Some(whereabouts.clone());
                }
            }
            self.tell_late(view);
        }
    }

    /// This peer begins to mix: children that waited for the program don't know its delay yet.
    pub(super) fn begins_here(&mut self, view: &mut View<'_>) {
        self.near.told_us = None;
        self.tell_late(view);
    }

    /// Notifies the children when the delay at which the program leaves this peer has changed by [`TELL_US`].
    pub(super) fn tell_late(&mut self, view: &mut View<'_>) {
        let Some(late_us) = self.leaves_us(view) else { return };
        if self.near.told_us.is_none_or(|told_us| told_us.abs_diff(late_us) >= TELL_US) {
            self.near.told_us = Some(late_us);
            let whereabouts = self.whereabouts(view);
            for (child, _) in self.served() {
                view.out.send(*child, TreeMessage::Whereabouts(whereabouts.clone()));
            }
        }
    }

    /// The parent has changed; `before` is the place of the previous parent if it failed. Schedules a
    /// measurement of the new parent and a search for a better place.
    pub(super) fn has_moved(&mut self, view: &mut View<'_>, before: Option<Place>) {
        self.near.before = before;
        self.near.ask_at = Some(view.now + PINGS_US);
        self.near.better_at = Some(view.now + STAY_US + view.rng.jitter(BEGIN_US));
        self.near.better.reset();
        self.tell_late(view);
    }

    /// Schedules a measurement of the round trips to landmarks while this peer is fed and has none.
    pub(super) fn keep_near(&mut self, view: &mut View<'_>) {
        if self.parent.is_none() || !self.is_viewer(view) {
            (self.near.begin_at, self.near.better_at) = (None, None);
            self.stop_measuring(view);
        } else if self.near.trips.is_empty() && self.near.measured.is_empty() && self.near.begin_at.is_none()
        {
            self.near.begin_at = Some(view.now + view.rng.jitter(BEGIN_US));
        }
    }

    fn stop_measuring(&mut self, view: &mut View<'_>) {
        if !self.near.measured.is_empty() {
            self.near.measured.clear();
            view.links.want_only(view.now, view.out, Want::Landmark, &OrderedSet::new());
        }
    }

    /// Takes the round trips of all links from the body: the parent's, and those of landmarks.
    pub(crate) fn round_trips(&mut self, view: &mut View<'_>, rtts_us: &[(PeerId, u32)]) {
        let to =
            |peer: &PeerId| rtts_us.iter().find(|(other, us)| other == peer && *us > 0).map(|(_, us)| *us);
        if let Some((parent, rtt_us)) = self.parent.as_ref().and_then(|up| Some((up.peer, to(&up.peer)?))) {
            self.near.to_parent_us = Some((parent, u64::from(rtt_us / 2)));
        }
        let measures = !self.near.measured.is_empty();
        if measures || view.on_stage() {
            let landmarks = self.landmarks(view).into_iter().map(|(peer, _)| peer);
            let trips = landmarks.filter_map(|peer| Some(RoundTrip::new(&peer, to(&peer)?)));
            let trips: RoundTrips = List::truncated(trips);
            if measures && trips.len() < self.near.measured.len() {
                self.near.begin_at = Some(view.now + self.near.begin_again.next_us(view.rng));
            }
            if trips.len() >= LANDMARKS_MIN.max(self.near.trips.len()) {
                self.near.trips = trips;
                let whereabouts = self.whereabouts(view);
                if let Some(parent) = self.parent.as_ref().filter(|_| measures) {
                    view.out.send(parent.peer, TreeMessage::Whereabouts(whereabouts));
                    self.near.better_at = Some(view.now + view.rng.jitter(BEGIN_US));
                }
            }
        }
        self.stop_measuring(view);
        self.tell_late(view);
    }

    pub(super) fn on_time_near(&mut self, view: &mut View<'_>) {
        if self.near.begin_at.take_if(|at| *at <= view.now).is_some() {
            let landmarks = self.landmarks(view);
            if landmarks.len() < LANDMARKS_MIN {
                self.near.begin_at = Some(view.now + self.near.begin_again.next_us(view.rng));
            } else {
                view.links.want_only(view.now, view.out, Want::Landmark, &landmarks);
                self.near.measured = landmarks;
                self.near.ask_at = Some(view.now + PINGS_US);
            }
        }
        if self.near.ask_at.take_if(|at| *at <= view.now).is_some() && self.parent.is_some() {
            view.out.act(Output::TellRoundTrips);
        }
        if self.near.better_at.take_if(|at| *at <= view.now).is_some() {
            self.near.better_at = Some(view.now + self.near.better.next_us(view.rng));
            self.seek_better(view);
        }
    }

    /// Searches for a better place, from the mixer down.
    fn seek_better(&mut self, view: &mut View<'_>) {
        let is_moving =
            self.at_fault || self.next.is_some() || self.seek_parent.is_some() || self.is_new_here(view);
        // In the first tier there is no better place. With several mixers, spreading the audience over them
        // comes first. On a machine short of processor time, round trips show its own lateness.
        if view.mandate.mixers.len() > 1
            || is_moving
            || self.is_busy
            || self.path.len() <= 2
            || self.late_us().is_none()
            || self.near.trips.is_empty()
        {
            return;
        }
        let (root, Some(parent)) = (self.path.first().copied(), self.parent.as_ref()) else { return };
        let Some(mixer) = view.mandate.mixers.iter().find(|mixer| Some(mixer.short()) == root) else {
            return;
        };
        let begin = self.near.before.take().into_iter().chain([Place::of_mixer(*mixer)]);
        // A peer with children would take them along, so it doesn't move deeper.
        let path_len_max = self.path.len() - usize::from(self.feeds());
        let seek = Seek::to_move(view, &begin.collect::<Vec<_>>(), path_len_max, parent.peer);
        self.seek_parent = Some(seek.if_better(Better::ByFar));
        self.on_time_up(view);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trips(ms: [u32; 3]) -> RoundTrips {
        let landmark = |at: u8| PeerId([at; 32]);
        List::truncated((0..3).map(|at| RoundTrip::new(&landmark(at), ms[usize::from(at)] * 1_000)))
    }

    #[test]
    fn peers_as_far_from_the_same_landmarks_are_near_each_other() {
        let here = trips([20, 100, 240]);
        let way = |other| delay_us(&here, &trips(other)).unwrap() / MS;
        assert_eq!(way([24, 104, 244]), 2);
        assert!(way([120, 20, 260]) >= 50, "another continent");
        assert!(way([240, 200, 20]) > way([120, 20, 260]), "and one beyond");
        assert_eq!(delay_us(&here, &List::truncated(here.iter().take(1).copied())), None);
        assert_eq!(delay_us(&here, &List::new()), None);
    }
}
