//! Complaints: what members report to the host of peers that promised to feed them and sent nothing, or forged media.
//!
//! The host tells its application of a peer when several members name it. Nothing else follows: a person judges, and
//! may remove it. One liar convinces nobody, since each member counts once, and peers that the accused one feeds speak
//! for it. Only the host holds complaints; a later host begins with none.

use crate::ordered::OrderedMap;

use crate::bounded::Bound;
use crate::directory::Directory;
use crate::id::PeerId;
use crate::time::{SECOND, Time};

/// Members that must name a peer before the application hears of it. A guess: one may have a bad line of its own.
const REPORTERS_MIN: usize = 2;
/// Time for which a complaint counts, and interval at which the application hears of the same peer again. A guess: a
/// minute is time for several newcomers to be sent to the same peer.
const COMPLAINT_US: u64 = 60 * SECOND;
/// Maximum number of complaints, one of each member. A guess: more than a crowd reports of a few peers in a minute.
const COMPLAINTS_MAX: usize = 256;
/// Maximum number of peers that the application has heard of within a minute. A guess: more than a person looks at.
const NAMED_MAX: usize = 64;

/// The complaints of the last minute.
#[derive(Debug, Default)]
pub(crate) struct Complaints {
    /// The peer that each member named last, and when.
    by: OrderedMap<PeerId, (PeerId, Time)>,
    /// Peers that the application has heard of, and when.
    named: OrderedMap<PeerId, Time>,
}

impl Complaints {
    /// Takes a listed member's complaint. Returns whether the application is to hear of the peer: at least two members
    /// name it, more than the directory lists below it.
    pub(crate) fn take(&mut self, now: Time, directory: &Directory, from: PeerId, of: PeerId) -> bool {
        self.by.retain(|_, (_, at)| now.since(*at) < COMPLAINT_US);
        self.named.retain(|_, at| now.since(*at) < COMPLAINT_US);
        if from == of || directory.get(&from).is_none() || directory.get(&of).is_none() {
            return false;
        }
        if self.by.len() >= COMPLAINTS_MAX && !self.by.contains_key(&from) {
            let oldest = self.by.iter().min_by_key(|(_, (_, at))| *at).map(|(peer, _)| *peer);
            oldest.and_then(|oldest| self.by.remove(&oldest));
        }
        self.by.insert(from, (of, now));
        let complains = |peer: &PeerId| self.by.get(peer).is_some_and(|(named, _)| *named == of);
        let reporters = self.by.keys().filter(|peer| complains(peer)).count();
        let is_fed = |(peer, parent): &(&PeerId, Option<PeerId>)| *parent == Some(of) && !complains(peer);
        let fed = directory.iter().map(|(peer, entry)| (peer, entry.parent)).filter(is_fed).count();
        let is_named = reporters >= REPORTERS_MIN
            && reporters > fed
            && !self.named.contains_key(&of)
            && self.named.len() < NAMED_MAX;
        if is_named {
            self.named.insert(of, now);
        }
        is_named
    }

    /// Forgets what a peer that is gone has said, and what was said of it.
    pub(crate) fn left(&mut self, peer: &PeerId) {
        self.by.retain(|by, (of, _)| by != peer && of != peer);
    }

    pub(crate) fn bounds(&self) -> [Bound; 2] {
        [
            Bound::new("complaints of members", self.by.len(), COMPLAINTS_MAX),
            Bound::new("peers that members complained of", self.named.len(), NAMED_MAX),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bounded::Text;
    use crate::samples::peer;

    fn listed(peers: std::ops::Range<u16>) -> Directory {
        let mut directory = Directory::default();
        peers.for_each(|number| directory.joined(Time(0), peer(number), &Text::default()));
        directory
    }

    /// A listed peer moves below a parent.
    fn moves(directory: &mut Directory, number: u16, parent: u16) {
        directory.moved(Time(0), peer(number), &Text::default(), (Some(peer(parent)), 2));
    }

    #[test]
    fn a_peer_is_named_when_two_members_say_so_and_once_a_minute() {
        let directory = listed(0..10);
        let mut complaints = Complaints::default();
        let mut says =
            |at_s, from, of| complaints.take(Time(at_s * SECOND), &directory, peer(from), peer(of));
        assert!(!says(0, 1, 9) && !says(1, 1, 9), "one member alone, however often");
        assert!(!says(2, 9, 9) && !says(2, 2, 8), "of itself; of another peer");
        assert!(!says(3, 50, 9) && !says(3, 2, 50), "not in the directory");
        assert!(says(4, 2, 9));
        assert!(!says(5, 3, 9) && !says(63, 1, 9), "the application knows");
        assert!(says(64, 3, 9), "a minute later");
        assert!(!says(200, 1, 9), "the others' complaints are forgotten");
    }

    #[test]
    fn peers_that_the_accused_one_feeds_speak_for_it() {
        let mut directory = listed(0..10);
        (1..4).for_each(|child| moves(&mut directory, child, 9));
        let mut complaints = Complaints::default();
        let mut says = |from| complaints.take(Time(0), &directory, peer(from), peer(9));
        assert!(!says(4) && !says(5) && !says(6), "three against three");
        assert!(says(1), "one of the three changes sides");
    }

    #[test]
    fn who_names_many_peers_takes_one_place_and_who_left_none() {
        let directory = listed(0..700);
        let mut complaints = Complaints::default();
        for of in 1..300 {
            complaints.take(Time(0), &directory, peer(0), peer(of));
        }
        assert_eq!(complaints.by.len(), 1);
        complaints.left(&peer(0));
        assert!(complaints.by.is_empty());
        let named = (1..600).filter(|from| {
            complaints.take(Time(u64::from(*from)), &directory, peer(*from), peer(600 + from / 2 % 100))
        });
        assert_eq!(named.count(), NAMED_MAX);
        assert!(complaints.bounds().iter().all(|bound| bound.len <= bound.max), "{complaints:?}");
        assert_eq!(complaints.by.len(), COMPLAINTS_MAX);
    }
}
