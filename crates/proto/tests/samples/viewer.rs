//! Test harness of a viewer: gives it inputs, and returns its outputs.

use std::ops::{Deref, DerefMut};

use plenary_proto::bounded::List;
use plenary_proto::message::{
    Entry, LinkKind, Message, Place, ProbeMessage, Purpose, TreeMessage, Whereabouts,
};
use plenary_proto::{Command, Input, Output, RoomConfig};

use super::brain::{Brain, candidate, path, places_below, speaker, viewing};
use super::key;

pub(crate) use super::brain::SECOND;
/// First number of the trains that parents request of their children.
const FIRST: u32 = 1 << 31;

/// A viewer, key 5. Key 2 is the host and a speaker; key 3 mixes.
pub(crate) struct Viewer(Brain);

impl Deref for Viewer {
    type Target = Brain;
    fn deref(&self) -> &Brain {
        &self.0
    }
}

impl DerefMut for Viewer {
    fn deref_mut(&mut self) -> &mut Brain {
        &mut self.0
    }
}

impl Viewer {
    pub(crate) fn new() -> Viewer {
        Viewer::under(&[3], &[])
    }

    /// Creates a viewer in a room with these mixers and standbys.
    pub(crate) fn under(mixers: &[u8], standbys: &[u8]) -> Viewer {
        let candidates = mixers.iter().chain(standbys).map(|seed| candidate(*seed));
        let entries: Vec<Entry> = [speaker(2)].into_iter().chain(candidates).collect();
        Viewer::among(&entries, mixers, standbys, viewing())
    }

    /// Creates a viewer in a room with this roster.
    pub(crate) fn among(entries: &[Entry], mixers: &[u8], standbys: &[u8], config: RoomConfig) -> Viewer {
        let mut viewer = Brain::new(5, config);
        // as in term 0, so that the viewer searches at once
        viewer.adopts(entries, |roster| roster.acting = Some(key(mixers[0]).id()));
        viewer.elects(3, mixers, standbys);
        Viewer(viewer)
    }

    /// Creates a relay fed by key 3. No parent measures its uplink, so it counts as wide.
    pub(crate) fn relay() -> Viewer {
        let mut relay = Viewer::new();
        relay.is_fed_by(3, &[3]);
        for second in [2, 40] {
            relay.rests_until(second * SECOND);
        }
        relay
    }

    /// Creates a viewer fed by key 10 at path 3, 10, with key 11 as backup.
    pub(crate) fn with_backup() -> Viewer {
        let mut viewer = Viewer::under(&[3], &[4]);
        viewer.is_fed_by(10, &[3, 10]);
        viewer.is_promised_by(11, &[3, 11]);
        viewer
    }

    pub(crate) fn into_brain(self) -> Brain {
        self.0
    }

    /// A parent at this path accepts the viewer, and its first packets arrive.
    pub(crate) fn is_fed_by(&mut self, parent: u8, path: &[u8]) {
        self.is_sent_to(parent, path);
        self.is_taken_by(parent, path);
        self.give(Input::Fed(key(parent).id()));
        assert_eq!(self.room.snapshot().parent, Some(key(parent).id()));
    }

    /// The mixer redirects the viewer to a peer that is no mixer.
    fn is_sent_to(&mut self, parent: u8, path: &[u8]) {
        if let [root, .., _] = path {
            let places = places_below(&path[..path.len() - 1], &[parent]);
            self.hears(*root, Message::Tree(TreeMessage::Redirect { purpose: Purpose::Parent, places }));
        }
    }

    /// A peer at this path becomes the backup.
    pub(crate) fn is_promised_by(&mut self, backup: u8, at: &[u8]) {
        let purpose = Purpose::Backup;
        let places = places_below(&at[..at.len() - 1], &[backup]);
        self.hears(at[0], Message::Tree(TreeMessage::Redirect { purpose, places }));
        let whereabouts = Whereabouts::default();
        self.hears(backup, Message::Tree(TreeMessage::Accept { purpose, path: path(at), whereabouts }));
        assert_eq!(self.room.snapshot().backup, Some(key(backup).id()));
    }

    /// A fed viewer searches on behalf of its application, and a peer at this path feeds it.
    pub(crate) fn turns_to(&mut self, parent: u8, path: &[u8]) {
        self.give(Input::Command(Command::ReconnectUpstream));
        self.is_fed_by(parent, path);
    }

    /// A parent at this path accepts the viewer as a child.
    pub(crate) fn is_taken_by(&mut self, parent: u8, path: &[u8]) -> Vec<Output> {
        let path = List::truncated(path.iter().map(|peer| key(*peer).id().short()));
        let whereabouts = Whereabouts::default();
        let mut outputs = self.hears(
            parent,
            Message::Tree(TreeMessage::Accept { purpose: Purpose::Parent, path, whereabouts }),
        );
        outputs.extend(self.is_linked_with(key(parent).id(), LinkKind::Peer));
        outputs
    }

    pub(crate) fn is_shed_by(&mut self, parent: u8, to: u8) {
        let path = List::truncated([parent, to].map(|peer| key(peer).id().short()));
        let places = List::truncated([Place { peer: key(to).id(), path }]);
        self.hears(parent, Message::Tree(TreeMessage::Shed { places }));
    }

    /// A parent requests trains of this size and rate; returns the bytes of each train sent.
    pub(crate) fn sends_trains(&mut self, parent: u8, bytes: u32, rate_bps: u64) -> Vec<u32> {
        let mut sent = Vec::new();
        for number in 0..6 {
            let outputs = self.hears(
                parent,
                Message::Probe(ProbeMessage::ProbeWanted { train: FIRST + number, bytes, rate_bps }),
            );
            sent.extend(outputs.iter().filter_map(|output| match output {
                Output::Train { bytes, .. } => Some(*bytes),
                _ => None,
            }));
            self.rests_for(SECOND / 4);
        }
        sent
    }

    /// A parent measures the viewer's uplink, and reports this bandwidth after each train.
    pub(crate) fn is_measured_by(&mut self, parent: u8, bps: u64) {
        for _ in self.sends_trains(parent, 26_400, 0) {
            self.is_told(parent, bps);
        }
        assert_eq!(self.room.snapshot().uplink_bps, Some(bps));
    }

    pub(crate) fn is_told(&mut self, by: u8, bps: u64) -> Option<u64> {
        self.hears(by, Message::Probe(ProbeMessage::Uplink { bps }));
        self.room.snapshot().uplink_bps
    }
}
