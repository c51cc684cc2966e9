//! Peers that sent frames which their maker never made: deceived themselves, or forgers.
//!
//! A relay forwards packets before it can check their frame, so an honest one passes forged frames on for a moment. It
//! notices as soon as the peers below it do, and recalls them. A peer that doesn't recall what it sent is at fault.

use std::collections::VecDeque;

use plenary_proto::packet::LinkId;

/// Time for which a peer may recall what it sent, in microseconds. Control messages wait behind nothing but the
/// network; the rest is a guess.
const RECALL_US: u64 = 150_000;
/// Number of recalls that count within [`WITHIN_US`]: more show that the peer forges, or keeps a feeder that does.
const RECALLS_MAX: usize = 3;
const WITHIN_US: u64 = 10_000_000;
/// Maximum number of links under each heading. A guess: more than feed a peer at a time.
const LINKS_MAX: usize = 16;

/// The links of such peers.
#[derive(Debug, Default)]
pub(crate) struct Doubts {
    /// Links with peers that may still recall frames, and the time of the first forged frame.
    waiting: VecDeque<(LinkId, u64)>,
    /// Recalls of the last seconds.
    recalls: VecDeque<(LinkId, u64)>,
    /// Links that feed this peer no longer.
    barred: VecDeque<LinkId>,
}

impl Doubts {
    /// Records that a forged frame came by a link.
    pub(crate) fn forged(&mut self, link: LinkId, now_us: u64) {
        let recalled =
            |(from, at_us): &(LinkId, u64)| *from == link && now_us.saturating_sub(*at_us) < RECALL_US;
        if self.recalls.iter().any(recalled) || !self.takes(link) {
            return;
        }
        push(&mut self.waiting, (link, now_us));
    }

    /// Records that the peer at a link recalls what it sent. Returns whether that counts.
    pub(crate) fn recalled(&mut self, link: LinkId, now_us: u64) -> bool {
        while self.recalls.pop_front_if(|(_, at_us)| now_us.saturating_sub(*at_us) >= WITHIN_US).is_some() {}
        let counts = self.recalls.iter().filter(|(from, _)| *from == link).count() < RECALLS_MAX;
        if counts {
            self.waiting.retain(|(from, _)| *from != link);
            push(&mut self.recalls, (link, now_us));
        }
        counts
    }

    /// Returns whether packets of a link are taken.
    pub(crate) fn takes(&self, link: LinkId) -> bool {
        !self.barred.contains(&link) && !self.waiting.iter().any(|(from, _)| *from == link)
    }

    /// Returns the links of the peers that haven't recalled what they sent: they are at fault, once.
    pub(crate) fn at_fault(&mut self, now_us: u64) -> Vec<LinkId> {
        let is_over = |(_, at_us): &(LinkId, u64)| now_us.saturating_sub(*at_us) >= RECALL_US;
        let over: Vec<_> = self.waiting.iter().filter(|one| is_over(one)).map(|(link, _)| *link).collect();
        self.waiting.retain(|one| !is_over(one));
        over.iter().for_each(|link| push(&mut self.barred, *link));
        over
    }

    /// Returns the number of links under doubt or barred, and recalls.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len().max(self.recalls.len()).max(self.barred.len())
    }
}

/// Maximum of [`Doubts::len`].
pub(crate) const DOUBTS_MAX: usize = LINKS_MAX;

/// Adds to a list, and drops the oldest entry of a full one.
fn push<T>(list: &mut VecDeque<T>, one: T) {
    if list.len() >= LINKS_MAX {
        list.pop_front();
    }
    list.push_back(one);
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADA: LinkId = LinkId(1);
    const BEN: LinkId = LinkId(2);

    #[test]
    fn a_peer_that_recalls_nothing_is_at_fault_once_after_150_ms() {
        let mut doubts = Doubts::default();
        doubts.forged(ADA, 0);
        doubts.forged(ADA, 50_000);
        assert!(!doubts.takes(ADA) && doubts.takes(BEN));
        assert_eq!(doubts.at_fault(RECALL_US - 1), []);
        assert_eq!(doubts.at_fault(RECALL_US), [ADA]);
        doubts.forged(ADA, 2 * RECALL_US);
        assert_eq!(doubts.at_fault(9 * RECALL_US), []);
        assert!(!doubts.takes(ADA) && doubts.takes(BEN));
    }

    #[test]
    fn a_peer_that_recalls_what_it_sent_is_taken_from_again_before_or_after() {
        let mut doubts = Doubts::default();
        doubts.forged(ADA, 0);
        assert!(doubts.recalled(ADA, 100_000) && doubts.takes(ADA));
        doubts.forged(ADA, 200_000);
        assert!(doubts.takes(ADA), "the recall came first");
        assert_eq!(doubts.at_fault(WITHIN_US), []);
    }

    #[test]
    fn a_fourth_recall_within_ten_seconds_does_not_count() {
        let mut doubts = Doubts::default();
        let counts: Vec<_> = (0..4).map(|at| doubts.recalled(ADA, at * 1_000_000)).collect();
        assert_eq!(counts, [true, true, true, false]);
        assert!(doubts.recalled(BEN, 4_000_000) && doubts.recalled(ADA, WITHIN_US));
        (0..100).for_each(|link| doubts.forged(LinkId(link + 10), 0));
        assert_eq!(doubts.len(), DOUBTS_MAX);
    }
}
