//! When the program suffers.
//!
//! Bodies on stage count what goes wrong with the mix: changes of what limits their encoder's quality, and what they
//! see of the program ([`crate::suffering`]). Each tells the stage what it has counted in the last [`WINDOW_US`], a number and no more,
//! at most each [`TELL_US`]. There is trouble when enough has been counted ([`COUNT`]) by at least half of the speakers that
//! don't mix: one peer's bad line, or a few that lie, bring about no election. Nor does anything, until a mixer
//! has been in force for [`TENURE_US`].
//!
//! A mixer in force says so only of itself: that it can't make what is asked of it, and hasn't for a while. Its word is enough,
//! and sooner: it could leave as well, and is believed less for it in the vote that follows.

use std::collections::{BTreeMap, VecDeque};

use crate::bounded::Bound;
use crate::id::{PeerId, Rank};
use crate::message::{ElectionReason, Message, ROSTER_MAX};
use crate::outbox::View;
use crate::time::{SECOND, Time};

/// What was counted counts for this long: one report of a bitrate (DESIGN §5).
pub(crate) const WINDOW_US: u64 = 20 * SECOND;
/// Counts of so many seconds are kept at most: a window's, and the one that it ends in.
const SECONDS_MAX: usize = (WINDOW_US / SECOND) as usize + 1;
/// So much in a window is trouble (DESIGN §6).
const COUNT: u32 = 5;
/// One peer is taken at its word only so far: it can't be trouble by itself. A guess, more than half.
const COUNT_OF_ONE: u32 = 3;
/// The stage is told this often at most, and hears a peer half as soon again at most. A guess.
pub(crate) const TELL_US: u64 = 5 * SECOND;
/// A mixer's word of itself counts for this long: it says so twice in that time while it lasts. Words that it said before it was
/// elected are older by [`WINDOW_US`]. A guess.
const OWN_WORD_US: u64 = 2 * TELL_US;
/// Five windows: how long a mixer is given before trouble calls a vote on it (DESIGN §5), and so at most six such votes
/// in ten minutes.
pub(crate) const TENURE_US: u64 = 5 * WINDOW_US;

/// What this peer has counted, and what the others say.
#[derive(Debug, Default)]
pub(crate) struct Trouble {
    /// Counts of one second each, at most as many as a window has.
    own: VecDeque<(Time, u32)>,
    told_at: Option<Time>,
    /// By peers on stage, this one included.
    heard: BTreeMap<PeerId, (Time, u32)>,
    rank: Rank,
    since: Time,
}

impl Trouble {
    /// Whether other mixers are in force: they begin with a clean sheet.
    pub(crate) fn mandate_changed(&mut self, now: Time, rank: Rank) -> bool {
        let others = rank != self.rank;
        if others {
            *self = Trouble { rank, since: now, ..Trouble::default() };
        }
        others
    }

    /// Our own mixer can't make what is asked of it.
    pub(crate) fn overloaded(&mut self, view: &mut View<'_>) {
        if view.mandate.mixers.contains(&view.me) && self.may_tell(view) {
            self.tell(view, COUNT_OF_ONE);
        }
    }

    fn may_tell(&self, view: &View<'_>) -> bool {
        view.on_stage() && self.told_at.is_none_or(|at| view.now.since(at) >= TELL_US)
    }

    fn tell(&mut self, view: &mut View<'_>, sum: u32) {
        self.told_at = Some(view.now);
        self.take(view, view.me, sum);
        view.send_stage(&Message::Trouble { count: sum.min(COUNT_OF_ONE) as u8 });
    }

    /// Our own body has counted something.
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
        // what a mixer sees of the program says nothing of who makes it
        if sum > 0 && !view.mandate.mixers.contains(&view.me) && self.may_tell(view) {
            self.tell(view, sum);
        }
    }

    /// How much our own body has counted in the last window, as of when it counted last.
    pub(crate) fn sum(&self) -> u32 {
        self.own.iter().fold(0, |sum, (_, count)| sum.saturating_add(*count))
    }

    /// Since when the present mixers are in force.
    pub(crate) fn since(&self) -> Time {
        self.since
    }

    /// Another peer has.
    pub(crate) fn heard(&mut self, view: &View<'_>, from: PeerId, count: u8) {
        let early = self.heard.get(&from).is_some_and(|(at, _)| view.now.since(*at) < TELL_US / 2);
        if !early && view.stage.contains(&from) {
            self.take(view, from, count.into());
        }
    }

    fn take(&mut self, view: &View<'_>, of: PeerId, count: u32) {
        self.heard.insert(of, (view.now, count.min(COUNT_OF_ONE)));
        self.heard.retain(|peer, _| view.stage.contains(peer));
    }

    pub(crate) fn bounds(&self) -> [Bound; 2] {
        [
            Bound::new("seconds in which our mix suffered", self.own.len(), SECONDS_MAX),
            Bound::new("peers whose mix suffered", self.heard.len(), ROSTER_MAX),
        ]
    }

    /// Whether there is trouble now that calls for a vote.
    pub(crate) fn is_there(&self, view: &View<'_>) -> bool {
        if self.is_given_up(view) {
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
                sum += count;
            }
        }
        sum >= COUNT && complaining > 1 && 2 * complaining >= speakers
    }

    /// Whether a mixer in force says that it can't, and there is somebody else to try. If the vote before was for trouble already,
    /// mixers are given as long as otherwise.
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
