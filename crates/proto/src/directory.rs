//! Directory: the peers in the room as the host knows them, the audience included.
//!
//! A peer enters it when the host admits it, and reports its position in the tree from then on. Nobody but the host
//! holds it; a later host gets the reports anew. The first [`DIRECTORY_MAX`] peers stand in full; of a larger room it
//! is an even sample, drawn by a hash of the ids that only this host can compute. The number of viewers is counted
//! exactly by the mixers.

use crate::ordered::OrderedMap;

use crate::bounded::{Bound, Text};
use crate::id::PeerId;
use crate::message::NAME_LEN_MAX;
use crate::seal::Keypair;
use crate::time::{SECOND, Time};

/// Maximum peers of a directory.
pub const DIRECTORY_MAX: usize = 1000;
/// Time after its last report at which a peer is taken off: two lives of a ticket, with which each peer reports.
const SILENT_US_MAX: u64 = 1200 * SECOND;
/// Interval at which silent peers are taken off.
const LOOK_US: u64 = 60 * SECOND;

/// A peer in the room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryEntry {
    /// Its name; empty if it isn't known.
    pub name: Text<NAME_LEN_MAX>,
    /// The peer that feeds it; `None` for none, and on stage.
    pub parent: Option<PeerId>,
    /// Hops from the mixer; 0 for a peer that isn't fed, and on stage.
    pub depth: u8,
    /// Time at which the host admitted it, or first heard of it.
    pub since: Time,
    seen: Time,
}

/// The directory of the host.
#[derive(Debug, Default)]
pub(crate) struct Directory {
    entries: OrderedMap<PeerId, DirectoryEntry>,
    look_at: Option<Time>,
    /// Secret of this host: without it nobody can make ids that belong to the sample.
    salt: [u8; 32],
}

impl Directory {
    pub(crate) fn new(host: &Keypair) -> Directory {
        let salt = blake3::derive_key("plenary 1 sample of the directory", &*host.seed());
        Directory { salt, ..Directory::default() }
    }

    /// Returns a peer's rank in the sample: the lower, the sooner it belongs to it.
    fn sample_rank(&self, peer: &PeerId) -> [u8; 32] {
        *blake3::keyed_hash(&self.salt, &peer.0).as_bytes()
    }

    /// Records a peer that the host admits.
    pub(crate) fn joined(&mut self, now: Time, peer: PeerId, name: &Text<NAME_LEN_MAX>) {
        if let Some(entry) = self.entry(now, peer) {
            entry.name = name.clone();
        }
    }

    /// Records a member's report of its position.
    pub(crate) fn moved(
        &mut self,
        now: Time,
        peer: PeerId,
        name: &Text<NAME_LEN_MAX>,
        (parent, depth): (Option<PeerId>, u8),
    ) {
        if let Some(entry) = self.entry(now, peer) {
            (entry.name, entry.parent, entry.depth) = (name.clone(), parent, depth);
        }
    }

    /// Returns a peer's entry, and creates it if the peer belongs to the sample.
    fn entry(&mut self, now: Time, peer: PeerId) -> Option<&mut DirectoryEntry> {
        if !self.entries.contains_key(&peer) {
            if self.entries.len() >= DIRECTORY_MAX {
                let last = self.entries.keys().max_by_key(|other| self.sample_rank(other)).copied()?;
                if self.sample_rank(&last) <= self.sample_rank(&peer) {
                    return None;
                }
                self.entries.remove(&last);
            }
            let entry =
                DirectoryEntry { name: Text::default(), parent: None, depth: 0, since: now, seen: now };
            self.entries.insert(peer, entry);
        }
        self.look_at.get_or_insert(now + LOOK_US);
        let entry = self.entries.get_mut(&peer)?;
        entry.seen = now;
        Some(entry)
    }

    /// Takes off a peer that left.
    pub(crate) fn left(&mut self, peer: &PeerId) -> Option<DirectoryEntry> {
        self.entries.remove(peer)
    }

    pub(crate) fn get(&self, peer: &PeerId) -> Option<&DirectoryEntry> {
        self.entries.get(peer)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&PeerId, &DirectoryEntry)> {
        self.entries.iter()
    }

    pub(crate) fn on_time(&mut self, now: Time) {
        if self.look_at.is_some_and(|at| at <= now) {
            self.entries.retain(|_, entry| now.since(entry.seen) < SILENT_US_MAX);
            self.look_at = (!self.entries.is_empty()).then_some(now + LOOK_US);
        }
    }

    pub(crate) fn next_timeout(&self) -> Option<Time> {
        self.look_at
    }

    pub(crate) fn bound(&self) -> Bound {
        Bound::new("directory", self.entries.len(), DIRECTORY_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::peer;

    #[test]
    fn a_room_beyond_the_limit_is_an_even_sample_however_its_peers_arrive() {
        let arrive = |numbers: &mut dyn Iterator<Item = u16>| {
            let mut directory = Directory::default();
            numbers.for_each(|number| directory.joined(Time(1), peer(number), &Text::default()));
            assert_eq!(directory.entries.len(), DIRECTORY_MAX);
            directory.entries.into_keys().collect::<Vec<_>>()
        };
        let sample = arrive(&mut (0..3_000));
        assert_eq!(sample, arrive(&mut (0..3_000).rev()));
        let early = sample.iter().filter(|id| **id < peer(1_500)).count();
        assert!((400..600).contains(&early), "{early} of the first half");
    }

    #[test]
    fn a_peer_that_reports_no_more_is_taken_off() {
        let mut directory = Directory::default();
        for number in [1, 2] {
            directory.joined(Time(0), peer(number), &Text::default());
        }
        directory.moved(Time(600 * SECOND), peer(2), &Text::default(), (Some(peer(1)), 2));
        for minute in 1..=20 {
            directory.on_time(Time(60 * minute * SECOND));
        }
        assert_eq!(directory.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [peer(2)]);
    }
}
