//! What a viewer can send is measured by its parents: few trains for whoever asks, and no word counts without one.

mod samples;

use plenary_proto::bounded::{List, Text};
use plenary_proto::message::{Consent, Decided, LinkKind, Message, Place, Purpose, Whereabouts};
use plenary_proto::{Input, Output, PeerId, RoomConfig, RoomState, Time, Via};
use samples::{NOW, decided, key, outcome, roster};

const SECOND: u64 = 1_000_000;
/// Parents number the trains of children from here on.
const FIRST: u32 = 1 << 31;

/// A viewer, key 5, of the sampled room, and what it wanted done last.
struct Viewer {
    room: RoomState,
    now: u64,
}

impl Viewer {
    fn new() -> Viewer {
        let config = RoomConfig {
            room: samples::room(),
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
        let vote = |seed| (key(seed).id(), Decided::countersign(&key(seed), &samples::room(), 7, &outcome()));
        let signatures = List::truncated([2, 3].map(vote));
        viewer.hears(2, Message::Decided(Box::new(Decided { signatures, ..decided() })));
        viewer
    }

    /// Hands over an input; offers of links are taken at once.
    fn give(&mut self, input: Input) -> Vec<Output> {
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

    fn hears(&mut self, from: u8, message: Message) -> Vec<Output> {
        let message = message.verify(&samples::room(), &key(1).id(), NOW).unwrap();
        self.give(Input::Message { from: key(from).id(), via: Via::Link, message })
    }

    fn rests_until(&mut self, us: u64) {
        self.now = us;
        self.give(Input::Timeout);
    }

    /// That peer takes it as a child, below those.
    fn is_taken_by(&mut self, parent: u8, path: &[u8]) -> Vec<Output> {
        let path = List::truncated(path.iter().map(|peer| key(*peer).id().short()));
        let whereabouts = Whereabouts::default();
        let mut outputs = self.hears(parent, Message::Accept { purpose: Purpose::Parent, path, whereabouts });
        outputs.extend(self.give(Input::LinkUp(key(parent).id(), LinkKind::Peer)));
        outputs
    }

    fn is_shed_by(&mut self, parent: u8, to: u8) {
        let path = List::truncated([parent, to].map(|peer| key(peer).id().short()));
        let places = List::truncated([Place { peer: key(to).id(), path }]);
        self.hears(parent, Message::Shed { places });
    }

    /// A parent asks for trains of that size; gives how many bytes come.
    fn sends_trains(&mut self, parent: u8, bytes: u32, rate_bps: u64) -> Vec<u32> {
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

    fn is_told(&mut self, by: u8, bps: u64) -> Option<u64> {
        self.hears(by, Message::Uplink { bps });
        self.room.snapshot().uplink_bps
    }
}

fn asks(outputs: &[Output], whom: PeerId) -> bool {
    outputs
        .iter()
        .any(|output| matches!(output, Output::Control(peer, Message::UplinkWanted) if *peer == whom))
}

#[test]
fn parents_that_pass_us_on_to_each_other_get_few_trains_and_small_ones() {
    let mut viewer = Viewer::new();
    let taken = viewer.is_taken_by(3, &[3]);
    assert!(asks(&taken, key(3).id()), "{taken:?}");
    assert!(viewer.sends_trains(3, 200_000, 0).is_empty(), "as fast as it goes only a guess is sent");
    let (mut sent, mut parent) = (Vec::new(), 3);
    while viewer.now < 60 * SECOND {
        sent.extend(viewer.sends_trains(parent, 200_000, 20_000_000));
        let other = 7 - parent;
        viewer.is_shed_by(parent, other);
        viewer.is_taken_by(other, if other == 3 { &[3] } else { &[3, 4] });
        parent = other;
    }
    assert!((1..=12).contains(&sent.len()), "{} trains within a minute", sent.len());
}

#[test]
fn what_a_parent_tells_counts_once_for_each_train_and_the_most_of_several_stays() {
    let mut viewer = Viewer::new();
    viewer.is_taken_by(3, &[3]);
    viewer.give(Input::Fed(key(3).id()));
    assert_eq!(viewer.is_told(3, 20_000_000), None, "it has had no train");
    assert!(!viewer.sends_trains(3, 26_400, 0).is_empty());
    for _ in 0..3 {
        assert_eq!(viewer.is_told(3, 20_000_000), Some(20_000_000));
    }
    // by then it is asked for again
    viewer.rests_until(viewer.now + 700 * SECOND);
    viewer.is_shed_by(3, 4);
    viewer.is_taken_by(4, &[3, 4]);
    let sent = viewer.sends_trains(4, 26_400, 0).len();
    assert!(sent > 0, "it is asked after so long");
    for _ in 0..sent {
        assert_eq!(viewer.is_told(4, 1_000_000), Some(20_000_000), "another has seen more");
    }
    for bps in [0, 7, 90_000_000] {
        assert_eq!(viewer.is_told(4, bps), Some(20_000_000), "it has said what its trains showed");
    }
}
