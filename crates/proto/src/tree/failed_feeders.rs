//! Feeders that failed this peer recently; searches ask them last.

use crate::bounded::Bound;
use crate::id::PeerId;
use crate::time::{SECOND, Time};

/// Maximum number of failed feeders remembered. A guess: two searches.
const FAILED_FEEDERS_MAX: usize = 16;

/// Time for which the host is told of a feeder that broke its word, as long as a complaint counts there; for which a
/// forger isn't asked at all; and within which a second pause of a parent isn't taken for one of a radio.
const RECENT_US: u64 = 60 * SECOND;

/// Peers that accepted this peer and then fed it nothing or forged media, fed it too late, or couldn't be linked.
#[derive(Clone, Debug, Default)]
pub(super) struct FailedFeeders {
    /// Oldest first.
    peers: Vec<(PeerId, Failed)>,
    /// The last peer that said it feeds this peer and sent nothing or forged media, and when it was given up.
    broke_its_word: Option<(PeerId, Time)>,
    /// Peers that received a complaint about a forger in their redirect, and the time of it; oldest first.
    told: Vec<(PeerId, Time)>,
}

/// How a feeder failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failed {
    /// The link could not be made. Some NATs admit only peers that were contacted from inside; peers below
    /// the feeder may be behind other NATs.
    ToLink,
    ToFeed,
    /// It sent media that their maker never made.
    Forged {
        at: Time,
    },
    /// As a parent it paused while another peer sent frames: a failed feeder only if this happens again.
    Paused {
        at: Time,
    },
}

impl FailedFeeders {
    /// Records that a peer accepted this peer, and then sent no program or sent it too late.
    pub(super) fn fed_nothing(&mut self, peer: PeerId) {
        self.push(peer, Failed::ToFeed);
    }

    /// Records that a peer said it feeds this peer, and then sent no packet at all, or media that their maker never
    /// made. An honest peer that says so sends at least what its cache holds.
    pub(super) fn broke_its_word(&mut self, now: Time, peer: PeerId) {
        self.broke_its_word = Some((peer, now));
    }

    /// Returns the last peer that broke its word within a minute.
    pub(super) fn word_broken_by(&self, now: Time) -> Option<PeerId> {
        self.broke_its_word.filter(|(_, at)| now.since(*at) < RECENT_US).map(|(peer, _)| peer)
    }

    /// Records that a peer feeds this peer now.
    pub(super) fn feeds(&mut self, peer: &PeerId) {
        self.broke_its_word.take_if(|(before, _)| before == peer);
    }

    /// Records that a peer sent media that their maker never made.
    pub(super) fn forged(&mut self, now: Time, peer: PeerId) {
        self.push(peer, Failed::Forged { at: now });
        self.broke_its_word(now, peer);
    }

    /// Records that a parent was at fault while another peer had the program. Returns whether to ask it again first,
    /// as after the pause of a radio: not after a second one within a minute, which counts as feeding nothing.
    pub(super) fn paused(&mut self, now: Time, peer: PeerId) -> bool {
        let is_again = |failed: &Failed| match failed {
            Failed::Paused { at } => now.since(*at) < RECENT_US,
            Failed::ToFeed | Failed::Forged { .. } => true,
            Failed::ToLink => false,
        };
        let again = self.peers.iter().any(|(known, failed)| *known == peer && is_again(failed));
        self.push(peer, if again { Failed::ToFeed } else { Failed::Paused { at: now } });
        !again
    }

    /// Returns the peers that forged within a minute.
    pub(super) fn forgers(&self, now: Time) -> impl Iterator<Item = PeerId> {
        let is_recent =
            move |failed: &Failed| matches!(failed, Failed::Forged { at } if now.since(*at) < RECENT_US);
        self.peers.iter().filter(move |(_, failed)| is_recent(failed)).map(|(peer, _)| *peer)
    }

    /// Records a complaint to a peer about a forger in its redirect.
    pub(super) fn tells(&mut self, now: Time, peer: PeerId) {
        self.told.retain(|(known, at)| *known != peer && now.since(*at) < RECENT_US);
        if self.told.len() >= FAILED_FEEDERS_MAX {
            self.told.remove(0);
        }
        self.told.push((peer, now));
    }

    /// Returns the receivers of complaints within the last minute. A second forger in a redirect suggests an
    /// accomplice.
    pub(super) fn told(&self, now: Time) -> Vec<PeerId> {
        self.told.iter().filter(|(_, at)| now.since(*at) < RECENT_US).map(|(peer, _)| *peer).collect()
    }

    /// Records that no link with a peer that accepted this peer came up.
    pub(super) fn was_not_linked(&mut self, peer: PeerId) {
        self.push(peer, Failed::ToLink);
    }

    /// Adds or renews an entry; at the limit the oldest one is forgotten. That a peer forged outlasts lesser failures.
    fn push(&mut self, peer: PeerId, mut failed: Failed) {
        if let Some(at) = self.peers.iter().position(|(known, _)| *known == peer) {
            let (_, before) = self.peers.remove(at);
            if matches!((before, failed), (Failed::Forged { .. }, Failed::ToLink | Failed::ToFeed)) {
                failed = before;
            }
        }
        if self.peers.len() >= FAILED_FEEDERS_MAX {
            self.peers.remove(0);
        }
        self.peers.push((peer, failed));
    }

    pub(super) fn contains(&self, peer: &PeerId) -> bool {
        self.peers.iter().any(|(known, failed)| known == peer && !matches!(failed, Failed::Paused { .. }))
    }

    /// Returns whether a peer that this one was linked with fed it nothing, too late, or forged media.
    pub(super) fn is_failed(&self, peer: &PeerId) -> bool {
        self.contains(peer) && !self.is_unlinked(peer)
    }

    /// Returns whether the last failure of the peer was that no link with it came up.
    pub(super) fn is_unlinked(&self, peer: &PeerId) -> bool {
        self.peers.contains(&(*peer, Failed::ToLink))
    }

    pub(super) fn bounds(&self) -> [Bound; 2] {
        [
            Bound::new("failed feeders", self.peers.len(), FAILED_FEEDERS_MAX),
            Bound::new("peers told of forgers", self.told.len(), FAILED_FEEDERS_MAX),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(number: u8) -> PeerId {
        PeerId([number; 32])
    }

    #[test]
    fn the_last_16_failed_feeders_are_remembered() {
        let mut failed = FailedFeeders::default();
        (0..16).for_each(|number| failed.fed_nothing(peer(number)));
        failed.fed_nothing(peer(0));
        failed.fed_nothing(peer(16));
        assert!(failed.contains(&peer(0)) && !failed.contains(&peer(1)) && failed.contains(&peer(2)));
        (17..200).for_each(|number| failed.was_not_linked(peer(number)));
        (0..200).for_each(|number| failed.tells(Time(0), peer(number)));
        assert!(failed.bounds().iter().all(|bound| (bound.len, bound.max) == (16, 16)));
        assert_eq!((failed.told(Time(0)).len(), failed.told(Time(60 * SECOND)).len()), (16, 0));
    }

    #[test]
    fn a_feeder_that_broke_its_word_is_told_of_for_a_minute_unless_it_feeds() {
        let mut failed = FailedFeeders::default();
        failed.broke_its_word(Time(0), peer(1));
        failed.feeds(&peer(2));
        assert_eq!(failed.word_broken_by(Time(59 * SECOND)), Some(peer(1)));
        assert_eq!(failed.word_broken_by(Time(60 * SECOND)), None);
        failed.feeds(&peer(1));
        assert_eq!(failed.word_broken_by(Time(0)), None);
    }

    #[test]
    fn a_forger_is_one_for_a_minute_whatever_else_it_fails_in() {
        let mut failed = FailedFeeders::default();
        failed.forged(Time(0), peer(1));
        failed.was_not_linked(peer(1));
        failed.fed_nothing(peer(2));
        let forgers = |at: u64| failed.forgers(Time(at * SECOND)).collect::<Vec<_>>();
        assert_eq!((forgers(59), forgers(60)), (vec![peer(1)], vec![]));
        assert!(failed.contains(&peer(1)) && failed.word_broken_by(Time(0)) == Some(peer(1)));
    }

    #[test]
    fn a_parent_that_pauses_twice_within_a_minute_is_a_failed_feeder() {
        let mut failed = FailedFeeders::default();
        assert!(failed.paused(Time(0), peer(1)) && !failed.contains(&peer(1)));
        assert!(failed.paused(Time(60 * SECOND), peer(1)) && !failed.is_failed(&peer(1)));
        assert!(!failed.paused(Time(119 * SECOND), peer(1)) && failed.is_failed(&peer(1)));
        assert!(!failed.paused(Time(300 * SECOND), peer(1)), "it has fed nothing before");
    }

    #[test]
    fn only_the_last_failure_of_a_feeder_counts() {
        let mut failed = FailedFeeders::default();
        failed.was_not_linked(peer(1));
        assert!(failed.is_unlinked(&peer(1)));
        failed.fed_nothing(peer(1));
        assert!(failed.contains(&peer(1)) && !failed.is_unlinked(&peer(1)));
        failed.was_not_linked(peer(1));
        assert!(failed.is_unlinked(&peer(1)));
    }
}
