//! Memory of a brain: bounded, independent of audience, time and what peers send.

#[path = "../../proto/tests/samples/mod.rs"]
mod samples;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::BTreeMap;

use plenary_proto::bounded::{List, Text};
use plenary_proto::message::*;
use plenary_proto::{HostConfig, Input, PeerId, RoomConfig, RoomState, ShortId, Time, Via};
use plenary_sim::stand::{Part, Stand, bytes_per_peer};
use samples::*;

thread_local! {
    /// Net bytes allocated by this thread; per thread, since tests run in parallel.
    static ALLOCATED: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    let _ = ALLOCATED.try_with(|allocated| allocated.set(allocated.get() + bytes));
}

fn allocated() -> usize {
    ALLOCATED.with(|allocated| usize::try_from(allocated.get()).unwrap_or(0))
}

struct Counting;

// SAFETY: all calls are forwarded unchanged to the system allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller upholds the contract of `alloc`, which is the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

#[test]
fn a_brain_does_not_grow_with_the_audience() {
    let of = |audience| bytes_per_peer(audience, 4, allocated);
    let [small, middle, large] = [100, 1_000, 10_000].map(of);
    println!("{small:.0}, {middle:.0} and {large:.0} bytes in rooms of 100, 1000 and 10000 viewers");
    assert!(small > 1_000.0, "nothing was counted");
    // routes to the first 128 newcomers are learned, and none to later ones
    assert!(middle < 1.5 * small && large < 1.1 * middle);
}

#[test]
fn a_brain_does_not_grow_while_peers_come_and_go_for_hours() {
    for part in [Part::Relay, Part::Mixer] {
        let before = allocated();
        let mut stand = Stand::new(part, 200);
        let hours: Vec<usize> = (0..4)
            .map(|_| {
                stand.churn(360);
                allocated() - before
            })
            .collect();
        println!("{part:?}: {hours:?} bytes after each hour");
        // lists that still grow in the first hour, like the learned routes, are full by the second
        assert!(hours[3] <= hours[1] + hours[1] / 20, "{part:?}: {hours:?}");
    }
}

fn config(hosts: bool) -> RoomConfig {
    let program = ProgramFormat { width: 1280, height: 720, fps: 30, bitrate_bps: 1_500_000 };
    let host = HostConfig {
        root: key(1),
        stage_open: true,
        mixing: None,
        program,
        k: 4,
        k1: 6,
        mixers: 0,
        invite_expires_us: None,
        layout: List::new(),
        title: Text::default(),
        lobby: false,
        members: Vec::new(),
        removed: Vec::new(),
        locked: false,
        reign: 0,
    };
    RoomConfig {
        room: room(),
        root: key(1).id(),
        host: hosts.then_some(host),
        name: Text::truncated("me"),
        speaks: hosts,
        views: !hosts,
        no_solo: false,
        consent: Consent::Always,
        relays: true,
        children_max: 64,
        uplink_bps_max: None,
        carries: true,
        sends_trains: true,
        key: None,
        unix_us_at_zero: NOW * 1_000_000,
    }
}

/// Returns the messages of one of many hostile members, all of them well-formed.
fn abuse(sybil: u32) -> Vec<Message> {
    let other = ShortId(u64::from(sybil).to_le_bytes());
    let path: Path = List::truncated([other]);
    let join = |speaks, mixes| Join { speaks, mixes, ..Join::viewer("sybil") };
    let aggregate =
        Aggregate { viewers: u32::MAX, free: [u16::MAX; 8], promises: [u16::MAX; 8], ..Aggregate::default() };
    let round_trips = List::truncated([RoundTrip::new(&key(sybil as u8).id(), 30_000)]);
    let attach = |purpose| Attach {
        purpose,
        path: path.clone(),
        viewers_below: u32::MAX,
        room: u8::MAX,
        sending_us: u32::MAX,
        fed: true,
        round_trips: round_trips.clone(),
        reach: Reach::Anywhere,
        ticket: None,
    };
    let spec = plenary_proto::StreamSpec {
        maker: key(9).id(),
        kind: plenary_proto::StreamKind::Program,
        rank: RANK,
        rung: 0,
        start: sybil.to_le_bytes().repeat(2).try_into().unwrap(),
    };
    vec![
        Message::Member(MemberMessage::Join(join(sybil.is_multiple_of(2), sybil.is_multiple_of(3)))),
        Message::Link(LinkMessage::LinkWanted { kind: LinkKind::Trunk(sybil as u8), ticket: None }),
        Message::Link(LinkMessage::Offer(Offer {
            kind: LinkKind::Peer,
            description: description(),
            ticket: None,
        })),
        Message::Tree(TreeMessage::Attach(attach(Purpose::Parent))),
        Message::Tree(TreeMessage::Attach(attach(Purpose::Backup))),
        Message::Tree(TreeMessage::Feed { from: None }),
        Message::Tree(TreeMessage::Aggregate(aggregate)),
        Message::Tree(TreeMessage::Redirect { purpose: Purpose::Parent, places: places() }),
        Message::Tree(TreeMessage::Shed { places: places() }),
        Message::Media(MediaMessage::Stream(StreamUse { slot: sybil as u8, spec })),
        Message::Probe(ProbeMessage::ProbeWanted { train: sybil, bytes: u32::MAX, rate_bps: 1 }),
        Message::Tree(TreeMessage::PathIs(List::truncated([other, other]))),
    ]
}

/// Feeds the brain the messages of hostile members, by all transports, eight members a second.
fn abused(hosts: bool, sybils: std::ops::Range<u32>, brain: &mut RoomState) {
    for sybil in sybils {
        let from = PeerId(*blake3::hash(&sybil.to_le_bytes()).as_bytes());
        let now = Time(u64::from(sybil) * 120_000);
        for (number, message) in abuse(sybil).into_iter().enumerate() {
            let message = message.verify(&room(), &key(1).id(), NOW).unwrap();
            let via =
                if number % 2 == 0 { Via::Signal } else { Via::Mesh(List::truncated([from.short(); 36])) };
            brain.handle(now, Input::Message { from, via, message });
        }
        brain.handle(now, Input::Undeliverable(Some(from)));
        brain.handle(now, Input::LinkUp(from, LinkKind::Peer));
        while brain.poll_output().is_some() {}
        for bound in brain.bounds() {
            assert!(bound.len <= bound.max, "host {hosts}, sybil {sybil}: {bound:?}");
        }
    }
}

#[test]
fn hostile_members_cannot_make_a_brain_grow() {
    for hosts in [true, false] {
        let before = allocated();
        let mut brain = RoomState::new(key(2), config(hosts), 7, Time(0));
        let mut grown = Vec::new();
        if !hosts {
            let roster =
                Message::Member(MemberMessage::Roster(roster())).verify(&room(), &key(1).id(), NOW).unwrap();
            brain.handle(Time(0), Input::Message { from: key(2).id(), via: Via::Link, message: roster });
        }
        for tenth in 0..10 {
            abused(hosts, 300 * tenth..300 * (tenth + 1), &mut brain);
            grown.push(allocated() - before);
        }
        println!("host {hosts}: {grown:?} bytes after each 300");
        let worst = grown[1..4].iter().max().unwrap();
        assert!(grown[4..].iter().all(|bytes| *bytes <= worst + worst / 4), "host {hosts}: {grown:?}");
        assert!(*worst < 4 << 20, "host {hosts}: {grown:?}");
    }
}

#[test]
fn every_bound_stands_in_the_documentation() {
    let text = include_str!("../../../docs/CONSTANTS.md");
    let mut brain = RoomState::new(key(9), config(false), 7, Time(0));
    let roster = Message::Member(MemberMessage::Roster(roster())).verify(&room(), &key(1).id(), NOW).unwrap();
    brain.handle(Time(0), Input::Message { from: key(2).id(), via: Via::Link, message: roster });
    let bounds: BTreeMap<_, _> = brain.bounds().map(|bound| (bound.of, bound.max)).collect();
    assert!(bounds.contains_key("peers tried in a search"), "the brain seeks a place");
    for (of, max) in bounds {
        let row = format!("| {of} | {max} |");
        assert!(text.contains(&row), "missing: {row}");
    }
}
