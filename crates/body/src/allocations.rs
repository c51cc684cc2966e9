//! Test: a packet on its way through a relay allocates nothing.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use plenary_media::Encoded;
use plenary_media::Picture;
use plenary_media::codec::{Codecs as _, VideoFormat};
use plenary_proto::identity::MediaKind;
use plenary_proto::message::{LinkKind, StreamUse};
use plenary_proto::packet::{Contributors, MediaPacket};
use plenary_proto::{InForce, PeerId, Rank, RoomId, Senders, StreamKind};
use plenary_testkit::fake::FakeCodecs;

use crate::maker::Maker;
use crate::media::{Media, MediaConfig};
use crate::outs::{Out, Outs};

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, which counts the allocations of each thread.
struct Counting;

// SAFETY: all calls are passed to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, len: usize) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { System.realloc(block, layout, len) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

const CHILDREN: u8 = 4;
const FPS: u64 = 30;

/// A relay with a parent and children.
struct Relay {
    media: Media,
    maker: Maker,
    via: plenary_proto::packet::LinkId,
    now_us: u64,
}

impl Relay {
    fn new() -> Relay {
        let (me, parent, room) = (PeerId([9; 32]), PeerId([1; 32]), RoomId([0; 16]));
        let config = MediaConfig {
            me,
            room,
            zero_us: 0,
            keeps_log: false,
            views: true,
            speaks: false,
            is_page: false,
            seed: 1,
            keys: None,
        };
        let (mut media, mut outs, now_us) = (Media::new(config, 0), Outs::default(), 1_000_000);
        let rank = Rank { term: 1, failover_count: 0 };
        let maker = Maker::new(&room, parent, StreamKind::Program, rank, [0; 8]);
        media.program.set_in_force(InForce { rank, mixers: vec![parent] });
        let mut link = |media: &mut Media, peer| {
            let link = media.links.open(peer, LinkKind::Peer);
            media.link_up(link, &mut outs);
            link
        };
        let via = link(&mut media, parent);
        let children: Vec<_> = (0..CHILDREN).map(|child| PeerId([20 + child; 32])).collect();
        children.iter().for_each(|child| _ = link(&mut media, *child));
        media.set_sources(Senders { program: vec![parent], ..Senders::default() });
        media.watch(Some(parent), None, now_us);
        media.follow(parent, StreamUse { slot: 0, spec: maker.spec }, maker.id, now_us, &mut outs);
        for child in children {
            media.serve(child, None, true, now_us, &mut outs);
        }
        Relay { media, maker, via, now_us }
    }

    /// Returns the packets of one second of pictures, by frame.
    fn second(&mut self) -> Vec<Vec<MediaPacket>> {
        let format = VideoFormat { width: 320, height: 180, fps: FPS as u8, bitrate_bps: 300_000 };
        let codecs = FakeCodecs { key_len_min: 9_000, delta_len_min: 4_000 };
        let mut encoder = codecs.video_encoder(&format).unwrap();
        let picture = Picture::black(320, 180);
        let frames = (0..FPS).map(|at| {
            let made = encoder.encode(&picture.view(), at == 0).unwrap().unwrap();
            let encoded = Encoded {
                kind: MediaKind::Video,
                data: made.data,
                captured_us: self.now_us + at * 1_000_000 / FPS,
                key: made.key,
                temporal: 0,
                level: None,
            };
            self.maker.make(&encoded, &Contributors::new()).unwrap().1
        });
        frames.collect()
    }

    /// Relays one second. Returns the allocations of packets that end no frame, their number, and the allocations of
    /// those that end one.
    fn relay(&mut self) -> (u64, u64, u64) {
        let (mut within, mut packets, mut at_end) = (0, 0, 0);
        for frame in self.second() {
            self.now_us += 1_000_000 / FPS;
            let last = frame.len() - 1;
            for (at, packet) in frame.into_iter().enumerate() {
                let mut outs = Outs::default();
                let before = ALLOCATIONS.get();
                self.media.packet(self.via, 0, packet, self.now_us, &mut outs);
                let allocated = ALLOCATIONS.get() - before;
                let forwarded = outs
                    .sends
                    .iter()
                    .any(|out| matches!(out, Out::Forward { to, .. } if to.len() == usize::from(CHILDREN)));
                assert!(forwarded || self.now_us < 2_000_000);
                if at == last {
                    at_end += allocated;
                } else {
                    (within, packets) = (within + allocated, packets + 1);
                }
            }
        }
        (within, packets, at_end)
    }
}

#[test]
fn a_relay_allocates_nothing_for_a_packet_and_a_few_times_for_a_frame() {
    let mut relay = Relay::new();
    // rings and maps reach their size: the cache keeps 2.5 s
    (0..10).for_each(|_| _ = relay.relay());
    let (within, packets, at_end) = relay.relay();
    println!("{packets} packets within frames: {within} allocations; {FPS} frames: {at_end}");
    assert!(packets >= 2 * FPS);
    assert_eq!(within, 0);
    assert!(at_end <= 8 * FPS, "a frame is put together and handed over");
}
