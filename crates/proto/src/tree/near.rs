//! Who is near whom, and how late the program is where: so that peers hang below those whom it reaches soon and who
//! are near.
//!
//! Some peers of the stage are landmarks. Every viewer links with them for a moment once it is fed, and so knows its
//! round trips to them; whoever compares two peers' knows about how far they are from each other before there is a link
//! between them. Parents tell their children how late the program is when it leaves them. With both, a place can be
//! reckoned beforehand, and a viewer that finds one that is better by far moves there ([`seek_better`]).
//!
//! A parent without a free slot takes a peer that is near and sends fast in place of a child that is far or slow, or feeds
//! nobody itself: that one goes down, below the newcomer if it is on its way.
//!
//! [`seek_better`]: Tree::seek_better

use std::collections::BTreeSet;

use super::Tree;
use super::balance::STAY_US;
use super::child::Child;
use super::seek::{Better, Seek};
use super::up::Up;
use crate::bounded::{Bound, List};
use crate::id::PeerId;
use crate::io::Output;
use crate::links::Want;
use crate::message::{
    Attach, LANDMARKS_MAX, LinkKind, Message, Path, Place, Reach, Roster, RoundTrip, RoundTrips, Whereabouts,
};
use crate::outbox::View;
use crate::rng::Backoff;
use crate::time::{MS, SECOND, Time};

/// Whoever is fed measures its round trips after about this long, so that joining comes first; and looks for a better
/// place so long after it knows them.
const BEGIN_US: u64 = SECOND / 2;
/// Links with landmarks are up by then, and some pings answered.
const PINGS_US: u64 = 2 * SECOND;
/// Landmarks that were busy, or didn't answer, are asked again.
const BEGIN_AGAIN: Backoff = Backoff::new(5 * SECOND, 300 * SECOND);
/// Fewer landmarks in common say nothing of how far two peers are.
const LANDMARKS_MIN: usize = 2;
/// Of whom nothing is known is as far as the other end of a continent and some of a sea.
const UNKNOWN_US: u64 = 60 * MS;
/// A frame takes so long to leave for each child while nobody knows: a line of some 20 Mbit/s.
const UNKNOWN_SENDING_US: u64 = 3 * MS;
/// A level costs as much as so much of way, beside its hop: what is lost and comes again, and whoever may fail.
const LEVEL_US: u64 = 10 * MS;
/// So much of detour is taken for a slot that is a level nearer: where slots are further down is known less well, and
/// where ways have no order the tree gets deep by less.
const DOWN_US: u64 = 40 * MS;
/// What a hop adds to the way: packets are taken in, and wait for the radio.
const HOP_US: u64 = 5 * MS;
/// A place must be better by this, and by a twentieth: what is told is known no better.
const GAIN_US: u64 = 15 * MS;
/// And for each level that it is deeper by so much more: else a tree of peers alike gets deep, each step with its reason.
const DEEPER_US: u64 = 20 * MS;
/// Children are told how late the program is when that has changed by this much.
const TELL_US: u64 = 5 * MS;
/// Better places are looked for at first after this, then less and less often.
const BETTER: Backoff = Backoff::new(6 * SECOND, 600 * SECOND);
/// A child gives way for a peer that those below it get a frame from sooner by this.
const SOONER_US: u64 = 40 * MS;
/// And over which its own frames come no later than this.
const DETOUR_US: u64 = 5 * MS;

/// What a peer knows of where it is.
#[derive(Debug)]
pub(super) struct Near {
    /// Our round trips to landmarks.
    trips: RoundTrips,
    /// Landmarks that we are measuring.
    measured: BTreeSet<(PeerId, LinkKind)>,
    begin_at: Option<Time>,
    begin_again: Backoff,
    /// Our body is asked for round trips then.
    ask_at: Option<Time>,
    /// To our parent, as far as it is known.
    to_parent_us: Option<(PeerId, u64)>,
    /// How late our children think the program leaves us.
    told_us: Option<u64>,
    better_at: Option<Time>,
    better: Backoff,
    /// The place that failed us last: it may have been but a pause.
    before: Option<Place>,
}

impl Default for Near {
    fn default() -> Near {
        Near {
            trips: List::new(),
            measured: BTreeSet::new(),
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

/// How long one way between two peers is at least, by their round trips to the same landmarks. By trial the tree is better
/// by this than by what lies between it and the most that it can be.
pub(super) fn delay_us(one: &RoundTrips, other: &RoundTrips) -> Option<u64> {
    let both =
        one.iter().flat_map(|to| other.iter().filter(|trip| trip.is_alike(to)).map(move |trip| (to, trip)));
    let both = both.map(|(one, other)| (u64::from(one.rtt_us()), u64::from(other.rtt_us())));
    let (least, count) =
        both.fold((0, 0), |(least, count), (one, other)| (one.abs_diff(other).max(least), count + 1));
    (count >= LANDMARKS_MIN).then_some(least / 2)
}

/// How long a frame of the program takes to leave us for so many children, a second at most.
fn sending_to_us(view: &View<'_>, roster: &Roster, children: usize) -> u64 {
    let bits = u64::from(roster.program.bitrate_bps) / u64::from(roster.program.fps.max(1));
    let us = |bps: u64| (bits * children as u64 * SECOND / bps.max(1)).min(SECOND);
    view.uplink_bps().map_or(UNKNOWN_SENDING_US * children as u64, us)
}

impl Tree {
    /// Whom everyone in the audience measures its round trip to: the first of the stage that don't mix, those who would
    /// first, since mixers are linked with them.
    fn landmarks(&self, view: &View<'_>) -> BTreeSet<(PeerId, LinkKind)> {
        let entries = view.stage.entries().iter().filter(|entry| !entry.away && entry.peer != view.me);
        let idle = entries.filter(|entry| !view.mandate.mixers.contains(&entry.peer));
        let (would, others): (Vec<_>, Vec<_>) = idle.partition(|entry| entry.mixes);
        let all = would.into_iter().chain(others).take(LANDMARKS_MAX);
        all.map(|entry| (entry.peer, LinkKind::Peer)).collect()
    }

    /// How late the program is here; `None` when nobody says.
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

    /// What of the way to our parent landmarks don't tell, who tell the least that it can be: as much of it as our own line
    /// may be, which is the same to anybody. Without it, places whose way is reckoned would all look nearer than the one
    /// whose way is measured.
    fn untold_us(&self) -> u64 {
        let untold = |parent: &Up| {
            let told_us = delay_us(&parent.whereabouts.as_ref()?.round_trips, &self.near.trips)?;
            Some(self.measured_us(parent)?.saturating_sub(told_us))
        };
        let nearest_us = self.near.trips.iter().map(|trip| u64::from(trip.rtt_us())).min();
        let our_line_us = nearest_us.unwrap_or_default() / 2;
        self.parent.as_ref().and_then(untold).unwrap_or_default().min(our_line_us)
    }

    /// How long a frame takes to us from there, if that was measured.
    fn measured_us(&self, parent: &Up) -> Option<u64> {
        self.near.to_parent_us.filter(|(peer, _)| *peer == parent.peer).map(|(_, us)| us)
    }

    /// How late the program leaves us.
    fn leaves_us(&self, view: &View<'_>) -> Option<u64> {
        Some(self.late_us()? + self.sending_us(view))
    }

    /// How late the program leaves us, and our round trips.
    pub(super) fn whereabouts(&self, view: &View<'_>) -> Whereabouts {
        let late_us = self.leaves_us(view).map(|us| us.min(u32::MAX.into()) as u32);
        Whereabouts { late_us, round_trips: self.near.trips.clone() }
    }

    /// How long a frame takes here on its way to one child more: those who are fed are served side by side.
    fn sending_us(&self, view: &View<'_>) -> u64 {
        HOP_US + view.stage.roster().map_or(0, |roster| sending_to_us(view, roster, self.fed_count() + 1))
    }

    /// How long a frame takes to all the children that we may have, wherever we go; no closer than it is known, for peers alike
    /// are chosen by other things.
    pub(super) fn sending_to_all_us(&self, view: &View<'_>) -> u32 {
        let us = |roster| sending_to_us(view, roster, self.capacity_as_relay(view, roster));
        (view.stage.roster().map_or(0, us) / TELL_US * TELL_US) as u32
    }

    /// What a place is worth, the less the better: how late the program would be there, and how many levels deep it is.
    fn worth_us(late_us: u64, path_len: usize) -> u64 {
        late_us + LEVEL_US * path_len as u64
    }

    /// Whether the place below a peer is better enough than ours; `None` when nobody knows.
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

    /// How far the nearest place below a child is, for a peer with these round trips: over the child, past what it sends to
    /// others, and down.
    pub(super) fn detour_us(&self, child: &Child, peer: &RoundTrips, depth: usize) -> u64 {
        let down_us = DOWN_US * depth as u64 + u64::from(child.told.sending_us);
        if peer.is_empty() {
            return down_us;
        }
        let delays = delay_us(&self.near.trips, &child.trips).zip(delay_us(&child.trips, peer));
        down_us + delays.map_or(2 * UNKNOWN_US, |(here, there)| here + there)
    }

    /// The child that gives way for a peer that is nearer, sends faster, or would feed others: that whose frames are passed
    /// on latest. It goes below that peer, and no deeper than others are but for a peer that nobody feeds.
    pub(super) fn gives_way(&self, view: &View<'_>, from: PeerId, attach: &Attach) -> Option<PeerId> {
        let slot = || self.children.values().any(|child| child.nearest_slot().is_some());
        let feeds = attach.room > 0 || attach.viewers_below > 0 && slot();
        let (taken, capacity) = (self.fed_count(), self.capacity(view));
        let most = if attach.fed { capacity } else { self.most(view) };
        if self.makes_room() || !(capacity..=most).contains(&taken) {
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
                return None; // it is sent there
            }
            // those that could feed others would wait for ever for those that can't
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

    /// The child that gives way for a peer that can be linked with nobody else: it feeds nobody, and another child has a slot for
    /// it. No more come so than we have slots, the one in reserve left out: those that gave way may be back with the same word.
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

    /// A child, or whoever feeds us, says where it is.
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

    /// The program begins here: those who have waited for it don't know how late it is.
    pub(super) fn begins_here(&mut self, view: &mut View<'_>) {
        self.near.told_us = None;
        self.tell_late(view);
    }

    /// Tells the children how late the program leaves us, when that has changed.
    pub(super) fn tell_late(&mut self, view: &mut View<'_>) {
        let Some(late_us) = self.leaves_us(view) else { return };
        if self.near.told_us.is_none_or(|told_us| told_us.abs_diff(late_us) >= TELL_US) {
            self.near.told_us = Some(late_us);
            let whereabouts = self.whereabouts(view);
            for (child, _) in self.served() {
                view.out.send(*child, Message::Whereabouts(whereabouts.clone()));
            }
        }
    }

    /// Another parent feeds us, perhaps since the one before has failed: how far is it? And is there a better one?
    pub(super) fn has_moved(&mut self, view: &mut View<'_>, before: Option<Place>) {
        self.near.before = before;
        self.near.ask_at = Some(view.now + PINGS_US);
        self.near.better_at = Some(view.now + STAY_US + view.rng.jitter(BEGIN_US));
        self.near.better.reset();
        self.tell_late(view);
    }

    /// Sees that we know where we are, while we are fed.
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
            view.links.want_only(view.now, view.out, Want::Landmark, &BTreeSet::new());
        }
    }

    /// Our body says how far those are that we are linked with.
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
                    view.out.send(parent.peer, Message::Whereabouts(whereabouts));
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

    /// Looks for a better place, from the mixer down.
    fn seek_better(&mut self, view: &mut View<'_>) {
        let busy =
            self.at_fault || self.next.is_some() || self.seek_parent.is_some() || self.is_new_here(view);
        // whoever hangs on a mixer is where it could be; several mixers spread the audience first
        if view.mandate.mixers.len() > 1
            || busy
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
        // whoever feeds others would take them along
        let path_len_max = self.path.len() - usize::from(self.feeds());
        let seek = Seek::to_move(view.now, &begin.collect::<Vec<_>>(), path_len_max, parent.peer);
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
    fn peers_as_far_from_the_same_landmarks_are_near_and_others_are_as_far_as_these_say() {
        let here = trips([20, 100, 240]);
        let way = |other| delay_us(&here, &trips(other)).unwrap() / MS;
        assert_eq!(way([24, 104, 244]), 2);
        assert!(way([120, 20, 260]) >= 50, "another continent");
        assert!(way([240, 200, 20]) > way([120, 20, 260]), "and one beyond");
        assert_eq!(delay_us(&here, &List::truncated(here.iter().take(1).copied())), None);
        assert_eq!(delay_us(&here, &List::new()), None);
    }
}
