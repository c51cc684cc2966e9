//! Test harness of a viewer: gives it inputs, and returns its outputs.

use plenary_proto::bounded::{List, Text};
use plenary_proto::message::{Consent, Decided, LinkKind, Message, Place, Purpose, Whereabouts};
use plenary_proto::{Input, Output, RoomConfig, RoomState, Time, Via};

use super::{NOW, decided, key, outcome, roster};

pub(crate) const SECOND: u64 = 1_000_000;
/// First number of the trains that parents request of their children.
const FIRST: u32 = 1 << 31;

/// A viewer, key 5, in the sampled room.
pub(crate) struct Viewer {
    pub(crate) room: RoomState,
    pub(crate) now: u64,
}

impl Viewer {
    pub(crate) fn new() -> Viewer {
        let config = RoomConfig {
            room: super::room(),
            root: key(1).id(),
            host: None,
            name: Text::truncated("me"),
            speaks: false,
            views: true,
            consent: Consent::Never,
            relays: true,
            children_max: 8,
            uplink_bps_max: None,
            unix_s_at_zero: NOW,
        };
        let mut viewer = Viewer { room: RoomState::new(key(5), config, 7, Time(0)), now: 0 };
        viewer.give(Input::SignalUp(true));
        viewer.hears(2, Message::Roster(roster()));
        let vote = |seed| (key(seed).id(), Decided::countersign(&key(seed), &super::room(), 7, &outcome()));
        let signatures = List::truncated([2, 3].map(vote));
        viewer.hears(2, Message::Decided(Box::new(Decided { signatures, ..decided() })));
        viewer
    }

    /// Gives an input and returns the outputs; each offered link comes up at once.
    pub(crate) fn give(&mut self, input: Input) -> Vec<Output> {
        self.now += 1;
        self.room.handle(Time(self.now), input);
        let mut outputs: Vec<Output> = std::iter::from_fn(|| self.room.poll_output()).collect();
        let offered = |output: &Output| match output {
            Output::Offer(peer, kind) => Some((*peer, *kind)),
            _ => None,
        };
        for (peer, kind) in outputs.iter().filter_map(offered).collect::<Vec<_>>() {
            outputs.extend(self.give(Input::LinkUp(peer, kind)));
        }
        outputs
    }

    pub(crate) fn hears(&mut self, from: u8, message: Message) -> Vec<Output> {
        let message = message.verify(&super::room(), &key(1).id(), NOW).unwrap();
        self.give(Input::Message { from: key(from).id(), via: Via::Link, message })
    }

    pub(crate) fn rests_until(&mut self, us: u64) {
        self.now = us;
        self.give(Input::Timeout);
    }

    /// A parent at this path accepts the viewer as a child.
    pub(crate) fn is_taken_by(&mut self, parent: u8, path: &[u8]) -> Vec<Output> {
        let path = List::truncated(path.iter().map(|peer| key(*peer).id().short()));
        let whereabouts = Whereabouts::default();
        let mut outputs = self.hears(parent, Message::Accept { purpose: Purpose::Parent, path, whereabouts });
        outputs.extend(self.give(Input::LinkUp(key(parent).id(), LinkKind::Peer)));
        outputs
    }

    pub(crate) fn is_shed_by(&mut self, parent: u8, to: u8) {
        let path = List::truncated([parent, to].map(|peer| key(peer).id().short()));
        let places = List::truncated([Place { peer: key(to).id(), path }]);
        self.hears(parent, Message::Shed { places });
    }

    /// A parent requests trains of this size and rate; returns the bytes of each train sent.
    pub(crate) fn sends_trains(&mut self, parent: u8, bytes: u32, rate_bps: u64) -> Vec<u32> {
        let mut sent = Vec::new();
        for number in 0..6 {
            let outputs = self.hears(parent, Message::ProbeWanted { train: FIRST + number, bytes, rate_bps });
            sent.extend(outputs.iter().filter_map(|output| match output {
                Output::Train { bytes, .. } => Some(*bytes),
                _ => None,
            }));
            self.rests_until(self.now + SECOND / 4);
        }
        sent
    }

    pub(crate) fn is_told(&mut self, by: u8, bps: u64) -> Option<u64> {
        self.hears(by, Message::Uplink { bps });
        self.room.snapshot().uplink_bps
    }
}
