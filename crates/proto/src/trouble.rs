//! Trouble: fault counts from the stage that call an election against the sitting mixers.
//!
//! Bodies on stage count faults of the mix: changes of what limits their encoder's quality, and faults seen
//! in the program ([`crate::suffering`]). Each peer reports its count of the last [`WINDOW_US`] to the stage,
//! one number, at most once per [`TELL_US`]. There is trouble when the counts reach [`COUNT`] and come from
//! at least half of the speakers that don't mix, and from more than one. So the bad line of one peer, or a
//! few liars, cause no election. No count causes one until a mixer has been in force for [`TENURE_US`].
//!
//! A peer that hears the program and hasn't seen a picture for a second says so at once, by a count above any other
//! ([`PICTURELESS`]). When half of the speakers say it together, there is trouble without that wait: the mixer's line
//! works, and its encoder doesn't.
//!
//! A mixer in force reports only on itself: that it can't produce the program as requested, and hasn't for a
//! while. Its report alone is enough, and counts earlier: it could leave as well, and its claims are
//! distrusted in the election that follows.

use crate::ordered::OrderedMap;
use std::collections::VecDeque;

use crate::bounded::Bound;
use crate::id::{PeerId, Rank};
use crate::message::{ElectionMessage, ElectionReason, Message, ROSTER_MAX};
use crate::time::{SECOND, Time};
use crate::view::View;

/// Time for which a counted fault counts. A guess: four reports of a peer, one each [`TELL_US`].
pub(crate) const WINDOW_US: u64 = 20 * SECOND;
/// Maximum number of one-second counts kept: one window's, and the second in which it ends.
const SECONDS_MAX: usize = (WINDOW_US / SECOND) as usize + 1;
/// Faults within a window that make trouble. A guess; above [`COUNT_OF_ONE`], so that no peer makes
/// trouble by itself.
const COUNT: u32 = 5;
/// Maximum faults counted of one peer. A guess: more than half of [`COUNT`].
const COUNT_OF_ONE: u32 = 3;
/// Minimum interval between this peer's reports to the stage. Reports of another peer within half of it are
/// ignored. A guess.
pub(crate) const TELL_US: u64 = 5 * SECOND;
/// Time for which a mixer's report on itself counts; it is repeated twice in that time while the overload
/// lasts. Reports from before its election no longer count, because they are at least [`WINDOW_US`] old when
/// reports are first evaluated. A guess.
const OWN_WORD_US: u64 = 2 * TELL_US;
/// Time in force before trouble can call an election against a mixer: five windows, so at most six such
/// elections in ten minutes.
pub(crate) const TENURE_US: u64 = 5 * WINDOW_US;

/// Count in a report that means: the program is heard, and no picture has come for a second. Receivers that don't know
/// it take it for [`COUNT_OF_ONE`].
const PICTURELESS: u32 = COUNT_OF_ONE + 1;
/// Time in force before speakers without pictures can call an election: a mixer that has begun has made pictures by
/// then. A guess.
const PICTURELESS_AFTER_US: u64 = 5 * SECOND;

/// Faults that this peer has counted, and the reports of the others.
#[derive(Debug, Default)]
pub(crate) struct Trouble {
    /// Faults counted here, one entry per second, at most one window's.
    own: VecDeque<(Time, u32)>,
    told_at: Option<Time>,
    /// Last report of each peer on stage, this peer included: arrival time and count.
    heard: OrderedMap<PeerId, (Time, u32)>,
    rank: Rank,
    since: Time,
}

impl Trouble {
    /// Returns whether the rank in force has changed. If so, clears all counts, because other mixers start
    /// without any.
    pub(crate) fn mandate_changed(&mut self, now: Time, rank: Rank) -> bool {
        let others = rank != self.rank;
        if others {
            *self = Trouble { rank, since: now, ..Trouble::default() };
        }
        others
    }

    /// Reports to the stage that this peer, as a mixer in force, can't produce the program as requested.
    pub(crate) fn overloaded(&mut self, view: &mut View<'_>) {
        if view.mandate.mixers.contains(&view.me) && self.may_tell(view) {
            self.tell(view, COUNT_OF_ONE);
        }
    }

    /// Reports to the stage that the program is heard and not seen here. To be called about once a second meanwhile.
    pub(crate) fn pictureless(&mut self, view: &mut View<'_>) {
        // receivers ignore reports that come faster
        let early = self.told_at.is_some_and(|at| view.now.since(at) < TELL_US / 2);
        if view.on_stage() && !early && !view.mandate.mixers.contains(&view.me) {
            self.tell(view, PICTURELESS);
        }
    }

    fn may_tell(&self, view: &View<'_>) -> bool {
        view.on_stage() && self.told_at.is_none_or(|at| view.now.since(at) >= TELL_US)
    }

    fn tell(&mut self, view: &mut View<'_>, sum: u32) {
        self.told_at = Some(view.now);
        self.take(view, view.me, sum);
        view.send_stage(&Message::Election(ElectionMessage::Trouble { count: sum.min(PICTURELESS) as u8 }));
    }

    /// Adds faults that this peer's body has counted, and reports the sum to the stage when due.
    pub(crate) fn counted(&mut self, view: &mut View<'_>, count: u16) {
        let now = view.now;
        match self.own.back_mut() {
            Some((at, sum)) if now.since(*at) < SECOND => *sum = sum.saturating_add(count.into()),
            _ => self.own.push_back((now, count.into())),
        }
        while self.own.front().is_some_and(|(at, _)| now.since(*at) >= WINDOW_US) {
            self.own.pop_front();
        }
        let sum = self.sum();
        // a mixer doesn't report on the program: what it sees of the program says nothing about the program's
        // maker
        if sum > 0 && !view.mandate.mixers.contains(&view.me) && self.may_tell(view) {
            self.tell(view, sum.min(COUNT_OF_ONE));
        }
    }

    /// Returns the faults counted here in the last window, as of the last count.
    pub(crate) fn sum(&self) -> u32 {
        self.own.iter().fold(0, |sum, (_, count)| sum.saturating_add(*count))
    }

    /// Returns the time since when the present mixers are in force.
    pub(crate) fn since(&self) -> Time {
        self.since
    }

    /// Handles a report of another peer.
    pub(crate) fn heard(&mut self, view: &View<'_>, from: PeerId, count: u8) {
        let early = self.heard.get(&from).is_some_and(|(at, _)| view.now.since(*at) < TELL_US / 2);
        if !early && view.stage.contains(&from) {
            self.take(view, from, count.into());
        }
    }

    fn take(&mut self, view: &View<'_>, of: PeerId, count: u32) {
        self.heard.insert(of, (view.now, count.min(PICTURELESS)));
        self.heard.retain(|peer, _| view.stage.contains(peer));
    }

    pub(crate) fn bounds(&self) -> [Bound; 2] {
        [
            Bound::new("seconds with a degraded mix", self.own.len(), SECONDS_MAX),
            Bound::new("peers that report a degraded mix", self.heard.len(), ROSTER_MAX),
        ]
    }

    /// Returns whether there is trouble now that calls for an election.
    pub(crate) fn is_there(&self, view: &View<'_>) -> bool {
        if self.is_given_up(view) || self.lacks_pictures(view) {
            return true;
        }
        if view.now.since(self.since) < TENURE_US {
            return false;
        }
        let (mut sum, mut speakers, mut complaining) = (0, 0, 0);
        for entry in view.stage.present().filter(|entry| entry.speaks) {
            if view.mandate.mixers.contains(&entry.peer) {
                continue;
            }
            speakers += 1;
            let fresh = |(at, _): &&(Time, u32)| view.now.since(*at) < WINDOW_US;
            if let Some((_, count)) = self.heard.get(&entry.peer).filter(fresh) {
                complaining += 1;
                sum += count.min(&COUNT_OF_ONE);
            }
        }
        sum >= COUNT && complaining > 1 && 2 * complaining >= speakers
    }

    /// Returns whether half of the speakers that don't mix, and more than one, hear the program and don't see it, while
    /// there is another candidate to try. Not soon after an election for trouble: its cause may be another.
    fn lacks_pictures(&self, view: &View<'_>) -> bool {
        let mandate = view.mandate;
        let decided = mandate.decided.as_ref();
        let again = decided.is_some_and(|decided| decided.body.reason == ElectionReason::Trouble);
        let given_us = if again { TENURE_US } else { PICTURELESS_AFTER_US };
        if view.now.since(self.since) < given_us || view.stage.candidates().len() <= mandate.mixers.len() {
            return false;
        }
        let says = |peer: &PeerId| {
            let word = self.heard.get(peer).filter(|(at, _)| view.now.since(*at) < TELL_US);
            word.is_some_and(|(_, count)| *count >= PICTURELESS)
        };
        let judges = |peer: &PeerId| !mandate.mixers.contains(peer);
        let speakers = view.stage.present().filter(|entry| entry.speaks).map(|entry| entry.peer);
        let speakers: Vec<PeerId> = speakers.filter(judges).collect();
        let saying = speakers.iter().filter(|peer| says(peer)).count();
        saying > 1 && 2 * saying >= speakers.len()
    }

    /// Returns whether a mixer in force reports itself overloaded while there is another candidate to try.
    /// Such a report counts once the mandate has been in force for [`WINDOW_US`], or for [`TENURE_US`] if the
    /// last election was for trouble already.
    fn is_given_up(&self, view: &View<'_>) -> bool {
        let mandate = view.mandate;
        let decided = mandate.decided.as_ref();
        let again = decided.is_some_and(|decided| decided.body.reason == ElectionReason::Trouble);
        let given_us = if again { TENURE_US } else { WINDOW_US };
        let fresh = |(at, _): &(Time, u32)| view.now.since(*at) < OWN_WORD_US;
        view.now.since(self.since) >= given_us
            && view.stage.candidates().len() > mandate.mixers.len()
            && mandate.mixers.iter().any(|mixer| self.heard.get(mixer).is_some_and(fresh))
    }
}
