//! Violations of the protocol: each counts against its sender, which is dropped at the limit.

use super::RoomState;
use crate::app::Event;
use crate::id::PeerId;
use crate::mutation::Mutation;
use crate::outbox::Note;
use crate::time::{SECOND, Time};

/// Number of violations at which a peer is dropped.
pub(super) const VIOLATIONS_MAX: u32 = 8;
/// Time after which one violation of a peer is forgotten, so that rare faults never add up. A guess.
const VIOLATION_LIFE_US: u64 = 60 * SECOND;
/// Time for which a dropped peer's messages are ignored; then it begins anew. A guess: as long as a doubted claim is
/// ignored. Longer would keep nobody away, since a new key is a new peer.
pub(super) const IGNORED_US: u64 = 600 * SECOND;
/// Violations that the abuse of a link counts as, so that the second one within a minute drops the peer.
const ABUSE_VIOLATIONS: u32 = VIOLATIONS_MAX / 2;
/// Maximum peers with remembered violations.
pub(super) const VIOLATIONS_KEPT: usize = 256;

impl RoomState {
    /// Counts a violation of a peer, and drops the peer at the limit.
    pub(super) fn misbehaved(&mut self, peer: PeerId) {
        self.violated(peer, 1);
    }

    /// Ends the links with a peer that has abused them.
    pub(super) fn abused(&mut self, peer: PeerId) {
        if self.shared.mandate.mutated.is(Mutation::EnduresFloods) {
            return;
        }
        self.shared.links.drop_peer(self.shared.now, &mut self.shared.out, peer);
        self.violated(peer, ABUSE_VIOLATIONS);
    }

    fn violated(&mut self, peer: PeerId, times: u32) {
        let now = self.shared.now;
        if self.violations.len() >= VIOLATIONS_KEPT && !self.violations.contains_key(&peer) {
            // the peer with the fewest violations is evicted, so a peer can't clear its record by sending
            // others ahead
            let least =
                self.violations.iter().min_by_key(|(_, record)| record.count(now)).map(|(peer, _)| *peer);
            least.and_then(|least| self.violations.remove(&least));
        }
        let record = self.violations.entry(peer).or_insert(Violations { count: 0, since: now });
        let before = record.count(now);
        let count = before.saturating_add(times).min(VIOLATIONS_MAX);
        if before < count {
            // the part of a minute that has passed counts on
            let part_us = if before == 0 { 0 } else { now.since(record.since) % VIOLATION_LIFE_US };
            let dropped = count == VIOLATIONS_MAX;
            *record = Violations { count, since: if dropped { now } else { now - part_us } };
            self.shared.out.event(Event::PeerMisbehaved { peer, count, dropped });
            if dropped {
                self.shared.links.drop_peer(now, &mut self.shared.out, peer);
                self.shared.out.note(Note::Gone(peer));
            }
        }
    }

    /// Returns whether a peer was dropped for its violations, and is still ignored.
    pub(super) fn ignores(&self, peer: &PeerId) -> bool {
        self.violations.get(peer).is_some_and(|record| record.count(self.shared.now) >= VIOLATIONS_MAX)
    }
}

/// Violations of a peer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Violations {
    count: u32,
    /// Start of the minute after which the oldest violation is forgotten; for a dropped peer, the time of the drop.
    since: Time,
}

impl Violations {
    /// One violation at time 0.
    #[cfg(test)]
    pub(super) fn one() -> Violations {
        Violations { count: 1, since: Time(0) }
    }

    /// Number of violations that are not forgotten yet.
    fn count(self, now: Time) -> u32 {
        let passed_us = now.since(self.since);
        if self.count >= VIOLATIONS_MAX {
            return if passed_us < IGNORED_US { self.count } else { 0 };
        }
        self.count.saturating_sub(u32::try_from(passed_us / VIOLATION_LIFE_US).unwrap_or(u32::MAX))
    }
}
