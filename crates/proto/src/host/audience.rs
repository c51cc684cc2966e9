//! What the host knows of its audience: the numbers that mixers report, and when it heard of them.

use super::{AUDIENCE_GONE_US, Host, LOOK_US};
use crate::id::PeerId;
use crate::message::MIXERS_MAX;
use crate::time::{SECOND, Time};

/// Minimum interval between changes of the number of viewers that record: each costs a roster. A guess.
const RECORDERS_US: u64 = 5 * SECOND;

impl Host {
    /// Takes a mixer's count of the viewers in its tree, and of those that record.
    pub(crate) fn audience(&mut self, now: Time, mixer: PeerId, viewers: u32, recorders: u32) {
        if viewers > 0 {
            self.audience_seen = now;
        }
        if self.viewers.len() >= MIXERS_MAX && !self.viewers.contains_key(&mixer) {
            let oldest = self.viewers.iter().min_by_key(|(_, (.., at))| *at).map(|(mixer, _)| *mixer);
            oldest.and_then(|oldest| self.viewers.remove(&oldest));
        }
        self.viewers.insert(mixer, (viewers, recorders.min(viewers), now));
    }

    /// If this machine slept or was stopped, it has heard nobody meanwhile, which says nothing of the others: the time
    /// isn't counted as their silence.
    pub(super) fn forgive_standstill(&mut self, now: Time) {
        let us = now.since(self.look_at);
        if us < LOOK_US {
            return;
        }
        for at in self.heard.values_mut() {
            *at = *at + us;
        }
        for (.., at) in self.viewers.values_mut() {
            *at = *at + us;
        }
        self.audience_seen = self.audience_seen + us;
    }

    /// Returns the number of viewers, as the mixers counted them within the last [`AUDIENCE_GONE_US`].
    pub(crate) fn viewers(&self, now: Time) -> u32 {
        self.counted(now).fold(0, |sum: u32, (viewers, _)| sum.saturating_add(viewers))
    }

    /// Returns the fresh counts of the mixers: viewers, and those that record.
    fn counted(&self, now: Time) -> impl Iterator<Item = (u32, u32)> {
        let fresh = self.viewers.values().filter(move |(.., at)| now.since(*at) < AUDIENCE_GONE_US);
        fresh.map(|(viewers, recorders, _)| (*viewers, *recorders))
    }

    /// Takes the number of viewers that record into the next roster. Returns whether it has changed there.
    pub(super) fn count_recorders(&mut self, now: Time) -> bool {
        let recorders = self.counted(now).fold(0, |sum: u32, (_, recorders)| sum.saturating_add(recorders));
        let changes = recorders != self.recorders.0 && now.since(self.recorders.1) >= RECORDERS_US;
        if changes {
            self.recorders = (recorders, now);
        }
        changes
    }
}
