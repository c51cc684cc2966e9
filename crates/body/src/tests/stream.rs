//! One stream: numbering at its maker; cache, positions and holes at a receiver.

use super::*;
use crate::stream::{HOLE_US_MIN, Polled, Stream, hole_us_max};

const VIDEO: MediaKind = MediaKind::Video;
const SOUND: MediaKind = MediaKind::Sound;

fn receiver(source: &Source) -> Stream {
    let Maker { id, spec, .. } = source.maker;
    Stream::new(id, spec, [hole_us_max(0), HOLE_US_MIN], BEGIN_US)
}

fn push(
    stream: &mut Stream,
    kind: MediaKind,
    (_, packets): &(Frame, Vec<MediaPacket>),
    now_us: u64,
) -> usize {
    packets.iter().filter(|packet| stream.push(kind, packet, (LinkId(1), true), now_us).is_fresh()).count()
}

fn polled(stream: &mut Stream, kind: MediaKind, now_us: u64) -> Vec<Polled> {
    std::iter::from_fn(|| stream.poll(kind, now_us)).collect()
}

#[test]
fn a_maker_numbers_frames_and_packets_of_each_kind_from_1() {
    let mut source = Source::new(ADA, StreamKind::Speaker);
    source.camera.len_min = 3_000;
    let (first, second) = (source.picture(true, BEGIN_US), source.picture(false, BEGIN_US + FRAME_US));
    assert_eq!([&first, &second].map(|made| made.0.identity.number), [1, 2]);
    let numbers: Vec<_> = first.1.iter().chain(&second.1).map(|packet| packet.identity.number).collect();
    assert!(first.1.len() >= 3 && numbers.iter().copied().eq(1..=numbers.len() as u64), "{numbers:?}");
    let marked: Vec<_> = first.1.iter().map(|packet| packet.marker).collect();
    assert!(marked.iter().filter(|marker| **marker).count() == 1 && marked.last() == Some(&true));
    assert!(first.1[0].key_start && first.1[1..].iter().chain(&second.1).all(|packet| !packet.key_start));
    let sound = source.sound_of(BEGIN_US, &[BEN]);
    assert_eq!((sound.0.identity.number, sound.1[0].identity.number), (1, 1));
    assert_eq!((sound.1[0].audio_level, sound.1[0].contributors.len()), (Some(LEVEL), 1));
    assert_eq!((source.maker.frames(VIDEO), source.maker.frames(SOUND)), (2, 1));
    assert_eq!(source.maker.captured_us(VIDEO), BEGIN_US + FRAME_US);
}

#[test]
fn data_that_are_no_frame_use_up_no_number() {
    let mut source = Source::new(ADA, StreamKind::Speaker);
    let mut broken = source.camera.picture(true, BEGIN_US);
    broken.data = Bytes::from_static(b"no access unit");
    assert!(source.maker.make(&broken, &Contributors::new()).is_none());
    let mut broken = source.camera.sound(BEGIN_US);
    broken.data = Bytes::new();
    assert!(source.maker.make(&broken, &Contributors::new()).is_none());
    assert_eq!((source.maker.frames(VIDEO), source.maker.captured_us(VIDEO)), (0, 0));
    assert_eq!(source.picture(true, BEGIN_US).1[0].identity.number, 1);
}

#[test]
fn streams_of_one_maker_differ_by_their_start_kind_and_rank() {
    let other = Rank { term: 2, failover_count: 0 };
    let make = |kind, rank, start| Maker::new(&ROOM, ADA, kind, rank, [start; 8]).id;
    let program = StreamKind::Program;
    let ids = [
        make(program, RANK, 0),
        make(program, RANK, 1),
        make(program, other, 0),
        make(StreamKind::Speaker, RANK, 0),
        Maker::new(&ROOM, BEN, program, RANK, [0; 8]).id,
        Maker::new(&RoomId([1; 16]), ADA, program, RANK, [0; 8]).id,
    ];
    let distinct: plenary_proto::ordered::OrderedSet<_> = ids.iter().collect();
    assert_eq!(distinct.len(), ids.len());
}

#[test]
fn the_wait_for_a_missing_packet_is_four_round_trips_within_limits() {
    for (rtt_ms, hole_ms) in [(0, 250), (62, 250), (63, 252), (100, 400), (150, 600), (4_000, 600)] {
        assert_eq!(hole_us_max(rtt_ms * MS), hole_ms * MS, "{rtt_ms} ms");
    }
    assert_eq!(hole_us_max(u64::MAX), 600 * MS);
}

#[test]
fn a_hole_in_pictures_is_waited_for_as_long_as_the_round_trip_asks() {
    let mut source = Source::new(ADA, StreamKind::Speaker);
    let mut stream = receiver(&source);
    stream.set_rtt_us(100 * MS);
    push(&mut stream, VIDEO, &source.picture(true, BEGIN_US), BEGIN_US);
    assert_eq!(polled(&mut stream, VIDEO, BEGIN_US).len(), 1);
    let _lost = source.picture(false, BEGIN_US + FRAME_US);
    push(&mut stream, VIDEO, &source.picture(false, BEGIN_US + 2 * FRAME_US), BEGIN_US);
    assert_eq!(polled(&mut stream, VIDEO, BEGIN_US + 399 * MS), []);
    assert_eq!(polled(&mut stream, VIDEO, BEGIN_US + 400 * MS), [Polled::KeyWanted]);
    stream.key_wish.wish();
    push(&mut stream, VIDEO, &source.picture(false, BEGIN_US + 3 * FRAME_US), BEGIN_US + 500 * MS);
    assert_eq!(polled(&mut stream, VIDEO, BEGIN_US + 500 * MS), []);
    assert!(stream.key_wish.take_due(BEGIN_US + 500 * MS));
    push(&mut stream, VIDEO, &source.picture(true, BEGIN_US + 4 * FRAME_US), BEGIN_US + 500 * MS);
    assert_eq!(polled(&mut stream, VIDEO, BEGIN_US + 500 * MS).len(), 1);
    assert!(!stream.key_wish.take_due(BEGIN_US + 5_000 * MS), "the keyframe has come");
    assert_eq!(stream.captured_us, BEGIN_US + 4 * FRAME_US);
}

#[test]
fn a_newcomer_begins_at_the_newest_keyframe() {
    let mut source = Source::new(ADA, StreamKind::Speaker);
    let mut stream = receiver(&source);
    let position =
        |video_packet, sound_packet| Resume { stream: source.maker.id, video_packet, sound_packet };
    assert_eq!((stream.position(), stream.group_start()), (position(0, 0), None));
    let mut now_us = BEGIN_US;
    let mut numbers = Vec::new();
    for at in 0..6 {
        now_us += SOUND_US;
        push(&mut stream, SOUND, &source.sound(now_us), now_us);
        push(&mut stream, VIDEO, &source.picture(at % 3 == 0, now_us), now_us);
        numbers.push(stream.group_start().unwrap());
    }
    assert_eq!(stream.position(), Resume { stream: source.maker.id, video_packet: 6, sound_packet: 6 });
    assert_eq!(numbers, [[1, 1], [1, 1], [1, 1], [4, 4], [4, 4], [4, 4]]);
    let since: Vec<_> = stream.since([5, 6]).map(|(kind, packet)| (kind, packet.identity.number)).collect();
    assert_eq!(since, [(SOUND, 6), (VIDEO, 5), (VIDEO, 6)]);
}

#[test]
fn a_stream_that_begins_anew_takes_over_only_what_arrived_since_a_time() {
    let mut source = Source::new(ADA, StreamKind::Program);
    let mut known = receiver(&source);
    known.via = Some((LinkId(4), 0));
    for at in 0..4u64 {
        let now_us = BEGIN_US + at * 1_000;
        push(&mut known, VIDEO, &source.picture(at == 1, now_us), now_us);
        push(&mut known, SOUND, &source.sound(now_us), now_us);
    }
    let mut stream = receiver(&source);
    stream.take_since(&known, BEGIN_US + 1_000, BEGIN_US + 5_000);
    assert_eq!(stream.via, Some((LinkId(4), 0)));
    assert_eq!(stream.since([0, 0]).count(), 3 + 3, "packets 2 to 4 of each kind");
    assert_eq!(polled(&mut stream, VIDEO, BEGIN_US + 5_000).len(), 3);
    let mut stream = receiver(&source);
    stream.take_since(&known, BEGIN_US + 2_000, BEGIN_US + 5_000);
    assert_eq!(polled(&mut stream, VIDEO, BEGIN_US + 5_000), [], "the keyframe arrived before");
    assert_eq!(polled(&mut stream, SOUND, BEGIN_US + 5_000).len(), 2);
}

#[test]
fn a_packet_counts_once_and_only_new_ones_keep_a_stream_in_use() {
    let mut source = Source::new(ADA, StreamKind::Speaker);
    let mut stream = receiver(&source);
    let picture = source.picture(true, BEGIN_US);
    assert_eq!(push(&mut stream, VIDEO, &picture, BEGIN_US + 7), 1);
    assert_eq!(push(&mut stream, VIDEO, &picture, BEGIN_US + 9), 0);
    assert_eq!(stream.used_us, BEGIN_US + 7);
    assert!(!stream.keep(VIDEO, &picture.1[0], BEGIN_US + 9));
}
