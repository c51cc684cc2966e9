//! Packets reordered, lost or forged, and the frames that the assembler outputs.

use proptest::prelude::*;

use super::*;
use crate::payload::{LEFT_OUT, PAYLOAD_LEN_MAX, packetize, timestamp};

const STREAM: StreamId = StreamId([9; 8]);
const HOLE_US: u64 = 100_000;
/// Lengths of frames with 4, 1, 2, 1, 2 and 4 packets.
const LENGTHS: [usize; 6] = [2_500, 300, 1_500, 300, 1_500, 2_500];

#[test]
fn a_sounds_level_comes_along_and_a_pictures_does_not() {
    for kind in [MediaKind::Sound, MediaKind::Video] {
        let made = match kind {
            MediaKind::Sound => sound(&[20, 30]),
            MediaKind::Video => video(&[20, 30], &[0]),
        };
        let said = packets(&made).into_iter().map(|packet| Packet { level: Some(33), ..packet });
        let mut reader = Assembler::new(STREAM, kind, 0);
        let levels: Vec<Option<u8>> = feed(&mut reader, 0, &said.collect::<Vec<_>>())
            .into_iter()
            .map(|assembled| match assembled {
                Assembled::Frame(frame) => frame.level,
                other => panic!("{other:?}: nothing is missing"),
            })
            .collect();
        assert_eq!(levels, vec![(kind == MediaKind::Sound).then_some(33); 2]);
    }
}

#[test]
fn packets_in_order_give_every_frame() {
    let made = video(&LENGTHS, &[0, 5]);
    let mut reader = Assembler::new(STREAM, MediaKind::Video, HOLE_US);
    assert_eq!(numbers(&feed(&mut reader, 0, &packets(&made)), &made), [1, 2, 3, 4, 5, 6]);
    assert_eq!(reader.counts(), AssemblyCounts { frames: 6, ..AssemblyCounts::default() });
    assert_eq!(reader.next_timeout(), None);
}

#[test]
fn pictures_that_were_left_out_on_the_way_are_no_loss() {
    let made = video(&LENGTHS, &[0]);
    let mut all = packets(&made);
    let [third, fifth, sixth] = [3, 5, 6].map(|number| first_packet(&all, &made, number));
    // all of one picture, the beginning of another, and the end of a third
    for index in [third, third + 1, fifth, all.len() - 1] {
        all[index].payload = Bytes::from_static(LEFT_OUT);
    }
    let mut reader = Assembler::new(STREAM, MediaKind::Video, HOLE_US);
    let given = feed(&mut reader, 0, &all);
    let left_out: Vec<_> = given.iter().map(|assembled| *assembled == Assembled::LeftOut).collect();
    assert_eq!(left_out, [false, false, true, false, true, true]);
    let counts = AssemblyCounts { frames: 3, frames_left_out: 3, ..AssemblyCounts::default() };
    assert_eq!(reader.counts(), counts);
    assert!(sixth < all.len() - 1, "of more than one packet");
    assert_eq!(reader.next_timeout(), None);
}

#[test]
fn padding_of_a_browser_between_frames_is_no_loss() {
    let made = video(&LENGTHS, &[0, 5]);
    let mut all = Vec::new();
    for packet in packets(&made) {
        let ends = packet.marker;
        let padding = Packet { marker: false, payload: Bytes::new(), ..packet.clone() };
        all.push(packet);
        all.extend(std::iter::repeat_n(padding, if ends { 3 } else { 0 }));
    }
    // a leg numbers all that it carries, and may begin with padding
    all.rotate_right(2);
    all.iter_mut().zip(1..).for_each(|(packet, number)| packet.number = number);
    let mut reader = Assembler::of_browser(MediaKind::Video, HOLE_US);
    assert_eq!(numbers(&feed(&mut reader, 0, &all), &made), [1, 2, 3, 4, 5, 6]);
    assert_eq!(reader.counts(), AssemblyCounts { frames: 6, ..AssemblyCounts::default() });
}

#[test]
fn nobody_begins_at_a_key_frame_that_was_left_out() {
    let made = video(&LENGTHS, &[0, 5]);
    let mut all = packets(&made);
    all[1].payload = Bytes::from_static(LEFT_OUT);
    let mut reader = Assembler::new(STREAM, MediaKind::Video, HOLE_US);
    let given = feed(&mut reader, 0, &all);
    assert_eq!(given[0], Assembled::KeyWanted);
    assert_eq!(numbers(&given[1..], &made), [6]);
}

#[test]
fn a_hole_is_waited_for_and_then_given_up() {
    let made = video(&LENGTHS, &[0, 5]);
    let all = packets(&made);
    let missing = first_packet(&all, &made, 3);
    let mut reader = Assembler::new(STREAM, MediaKind::Video, HOLE_US);
    assert_eq!(numbers(&feed(&mut reader, 0, &all[..missing]), &made), [1, 2]);
    assert_eq!(feed(&mut reader, 1_000, &all[missing + 1..missing + 2]), []);
    assert_eq!(reader.next_timeout(), Some(1_000 + HOLE_US));
    assert_eq!(reader.poll(1_000 + HOLE_US - 1), None);
    assert_eq!(reader.poll(1_000 + HOLE_US), Some(Assembled::KeyWanted));
    assert_eq!(feed(&mut reader, 1_000 + HOLE_US, &all[missing..=missing]), [], "it comes behind its time");
    assert_eq!((reader.counts().packets_late, reader.counts().packets_lost), (1, 1));
}

#[test]
fn a_repaired_hole_costs_nothing() {
    let made = video(&LENGTHS, &[0, 5]);
    let mut all = packets(&made);
    let missing = all.remove(first_packet(&all, &made, 3));
    let mut reader = Assembler::new(STREAM, MediaKind::Video, HOLE_US);
    assert_eq!(numbers(&feed(&mut reader, 0, &all), &made), [1, 2]);
    assert_eq!(numbers(&feed(&mut reader, HOLE_US - 1, &[missing]), &made), [3, 4, 5, 6]);
}

#[test]
fn after_a_loss_video_asks_once_and_goes_on_at_the_next_key_frame() {
    let made = video(&LENGTHS, &[0, 5]);
    let mut all = packets(&made);
    all.remove(first_packet(&all, &made, 3));
    let (before, key) = all.split_at(first_packet(&all, &made, 6));
    let mut reader = Assembler::new(STREAM, MediaKind::Video, HOLE_US);
    assert_eq!(numbers(&feed(&mut reader, 0, before), &made), [1, 2]);
    assert_eq!(drain(&mut reader, HOLE_US), [Assembled::KeyWanted]);
    assert_eq!(drain(&mut reader, 10 * HOLE_US), []);
    assert_eq!(numbers(&feed(&mut reader, 10 * HOLE_US, key), &made), [6]);
}

#[test]
fn a_key_frame_that_is_here_is_given_as_soon_as_the_loss_is_certain() {
    let made = video(&LENGTHS, &[0, 5]);
    let mut all = packets(&made);
    all.remove(first_packet(&all, &made, 3));
    let mut reader = Assembler::new(STREAM, MediaKind::Video, HOLE_US);
    feed(&mut reader, 0, &all);
    let given = drain(&mut reader, HOLE_US);
    assert_eq!(given[0], Assembled::KeyWanted);
    assert_eq!(numbers(&given[1..], &made), [6]);
}

#[test]
fn whoever_begins_in_the_middle_gets_a_key_frame_first() {
    let made = video(&LENGTHS, &[0, 5]);
    let all = packets(&made);
    let key = first_packet(&all, &made, 6);
    for begin in 1..=key {
        let mut reader = Assembler::new(STREAM, MediaKind::Video, HOLE_US);
        assert_eq!(numbers(&feed(&mut reader, 0, &all[begin..]), &made), [6], "from packet {begin}");
    }
    let mut reader = Assembler::new(STREAM, MediaKind::Video, HOLE_US);
    assert_eq!(feed(&mut reader, 0, &all[1..key]), []);
    assert_eq!(reader.next_timeout(), Some(HOLE_US));
    assert_eq!(drain(&mut reader, HOLE_US), [Assembled::KeyWanted]);
}

#[test]
fn sound_goes_on_at_once_after_a_loss() {
    let made = sound(&[80; 5]);
    let mut all = packets(&made);
    all.drain(1..3);
    let mut reader = Assembler::new(STREAM, MediaKind::Sound, HOLE_US);
    assert_eq!(numbers(&feed(&mut reader, 0, &all), &made), [1]);
    assert_eq!(numbers(&drain(&mut reader, HOLE_US), &made), [4, 5]);
    assert_eq!(reader.counts().packets_lost, 2);
}

#[test]
fn silence_has_the_identity_that_its_neighbours_imply() {
    let made = sound(&[80, 1, 2, 80, 1]);
    let mut all = packets(&made);
    let mut reader = Assembler::new(STREAM, MediaKind::Sound, HOLE_US);
    assert_eq!(numbers(&feed(&mut reader, 0, &all), &made), [1, 2, 3, 4, 5]);

    all.remove(1); // also across a loss
    let mut reader = Assembler::new(STREAM, MediaKind::Sound, HOLE_US);
    assert_eq!(numbers(&feed(&mut reader, 0, &all), &made), [1]);
    assert_eq!(numbers(&drain(&mut reader, HOLE_US), &made), [3, 4, 5]);

    let mut reader = Assembler::new(STREAM, MediaKind::Sound, HOLE_US);
    assert_eq!(numbers(&feed(&mut reader, 0, &all[1..]), &made), [4, 5], "nothing to go by at first");
}

#[test]
fn a_frame_without_this_streams_identity_is_never_given() {
    let made = sound(&[80, 80]);
    let mut foreign = Assembler::new(StreamId([1; 8]), MediaKind::Sound, HOLE_US);
    assert_eq!(feed(&mut foreign, 0, &packets(&made)), []);
    assert_eq!(foreign.counts().frames_refused, 2);

    let mut all = packets(&video(&LENGTHS, &[0, 5]));
    let plain: Vec<u8> = [&[0x18, 0, 2, 0x67, 1, 0, 2, 0x65][..], &[7]].concat();
    all[0] = Packet { marker: true, payload: plain.into(), ..all[0].clone() };
    all.truncate(1);
    let mut reader = Assembler::new(STREAM, MediaKind::Video, HOLE_US);
    assert_eq!(feed(&mut reader, 0, &all), [Assembled::KeyWanted]);
    assert_eq!(reader.counts().frames_refused, 1);
}

#[test]
fn a_frame_number_is_given_once_even_under_new_packet_numbers() {
    let made = sound(&[80, 80]);
    let mut all = packets(&made);
    all.extend(packets(&made).into_iter().map(|packet| Packet { number: packet.number + 2, ..packet }));
    let mut reader = Assembler::new(STREAM, MediaKind::Sound, HOLE_US);
    assert_eq!(numbers(&feed(&mut reader, 0, &all), &made), [1, 2]);
    assert_eq!(reader.counts().frames_refused, 2);
}

#[test]
fn a_forgotten_marker_only_delays_the_frame() {
    let made = video(&LENGTHS, &[0]);
    let mut all = packets(&made);
    for packet in &mut all {
        packet.marker = false;
    }
    let mut reader = Assembler::new(STREAM, MediaKind::Video, HOLE_US);
    assert_eq!(numbers(&feed(&mut reader, 0, &all), &made), [1, 2, 3, 4, 5]);
}

#[test]
fn the_oldest_packets_go_when_too_many_or_too_large_ones_are_held() {
    // Packet 1 starts playback, packet 2 never arrives, all others wait for it.
    let rows = [(PACKETS_HELD_MAX + 10, 80), (BYTES_HELD_MAX / 60_000 + 10, 60_000)];
    for (count, len) in rows {
        let mut reader = Assembler::new(STREAM, MediaKind::Video, HOLE_US);
        let key = packets(&video(&[300], &[0]));
        reader.push(0, key[0].clone());
        assert!(matches!(reader.poll(0), Some(Assembled::Frame(_))));
        for number in 0..count as u64 {
            let payload = vec![0x41; len].into();
            reader.push(0, Packet { number: number + 3, timestamp: 1, marker: false, payload, level: None });
            assert!(reader.held.len() <= PACKETS_HELD_MAX);
            assert!(reader.bytes_held <= BYTES_HELD_MAX);
        }
        assert_eq!(reader.poll(0), Some(Assembled::KeyWanted));
        assert!(reader.counts().packets_lost >= 9, "{:?}", reader.counts());
    }
}

#[test]
fn a_jump_of_packet_numbers_begins_anew() {
    let mut made = sound(&[80; 4]);
    made[2..].iter_mut().for_each(number_later);
    let mut all = packets(&made);
    for packet in &mut all[2..] {
        packet.number += JUMP_MAX;
    }
    let mut reader = Assembler::new(STREAM, MediaKind::Sound, u64::MAX);
    assert_eq!(numbers(&feed(&mut reader, 0, &all), &made), [1, 2, 3, 4]);

    let mut made = video(&LENGTHS, &[0, 5]);
    made[5..].iter_mut().for_each(number_later);
    let mut all = packets(&made);
    let key = first_packet(&all, &made, 6);
    for packet in &mut all[key..] {
        packet.number += JUMP_MAX;
    }
    let mut reader = Assembler::new(STREAM, MediaKind::Video, u64::MAX);
    assert_eq!(numbers(&feed(&mut reader, 0, &all[..key]), &made), [1, 2, 3, 4, 5]);
    let given = feed(&mut reader, 0, &all[key..]);
    assert_eq!(given[0], Assembled::KeyWanted);
    assert_eq!(numbers(&given[1..], &made), [6]);
}

proptest! {
    #[test]
    fn any_order_without_loss_gives_all_frames(
        lengths in prop::collection::vec(1_usize..4 * PAYLOAD_LEN_MAX, 1..40),
        is_sound: bool,
        keys in prop::collection::vec(prop::sample::select((0..400_u64).collect::<Vec<_>>()), 400),
    ) {
        let (kind, made) = if is_sound {
            (MediaKind::Sound, sound(&lengths.iter().map(|len| len % 500 + 3).collect::<Vec<_>>()))
        } else {
            (MediaKind::Video, video(&lengths, &[0]))
        };
        let mut all = packets(&made);
        let rest = all.split_off(1);
        let mut rest: Vec<_> = rest.into_iter().zip(keys.iter().cycle()).collect();
        rest.sort_by_key(|(_, key)| **key);
        all.extend(rest.into_iter().flat_map(|(packet, key)| vec![packet; 1 + (*key % 3 == 0) as usize]));
        let mut reader = Assembler::new(STREAM, kind, HOLE_US);
        let expected: Vec<u32> = (1..=made.len() as u32).collect();
        prop_assert_eq!(numbers(&feed(&mut reader, 0, &all), &made), expected);
    }

    #[test]
    fn whatever_comes_no_frame_is_wrong_repeated_or_without_its_reference(
        lengths in prop::collection::vec(1_usize..3_000, 10..40),
        is_sound: bool,
        steps in prop::collection::vec((0_usize..120, 0_u64..HOLE_US), 1..200),
    ) {
        let (kind, made) = if is_sound {
            (MediaKind::Sound, sound(&lengths.iter().map(|len| len % 300 + 1).collect::<Vec<_>>()))
        } else {
            (MediaKind::Video, video(&lengths, &[0, 7, 14, 21]))
        };
        let all = packets(&made);
        let mut reader = Assembler::new(STREAM, kind, HOLE_US);
        let mut now_us = 0;
        let mut before: Option<FrameIdentity> = None;
        for (index, (step, wait_us)) in steps.into_iter().enumerate() {
            // Mostly forward, sometimes anywhere: losses, duplicates and late packets all occur.
            let at = if step < 100 { index + step % 4 } else { step * 7 };
            now_us += wait_us / 20;
            for assembled in feed(&mut reader, now_us, &[all[at % all.len()].clone()]) {
                let Assembled::Frame(frame) = assembled else { continue };
                prop_assert!(made[frame.identity.number as usize - 1] == frame);
                let number_before = before.map_or(0, |identity| identity.number);
                prop_assert!(frame.identity.number > number_before);
                let follows = frame.identity.number == number_before + 1 && before.is_some();
                prop_assert!(is_sound || frame.identity.key || follows);
                before = Some(frame.identity);
            }
        }
    }

    #[test]
    fn no_bytes_break_it(
        is_sound: bool,
        packets in prop::collection::vec((any::<u64>(), 0_u64..60, any::<(u32, bool)>(), any::<Vec<u8>>()), 0..100),
    ) {
        let kind = if is_sound { MediaKind::Sound } else { MediaKind::Video };
        let mut reader = Assembler::new(STREAM, kind, 10);
        for (now_us, (wild, tame, (timestamp, marker), payload)) in (0..).zip(packets) {
            let number = if wild % 5 == 0 { wild } else { tame };
            let packet = Packet { number, timestamp: timestamp % 3, marker, payload: payload.into(), level: None };
            for assembled in feed(&mut reader, now_us, &[packet]) {
                prop_assert_eq!(assembled, Assembled::KeyWanted, "no frame has an identity");
            }
        }
    }
}

/// Access units of about these lengths, with keyframes at `keys`.
fn video(lengths: &[usize], keys: &[usize]) -> Vec<Frame> {
    let mut next_packet = 1;
    let made = lengths.iter().enumerate().map(|(index, &len)| {
        let identity = FrameIdentity { key: keys.contains(&index), ..identity(index, 33_333, next_packet) };
        let start = [0, 0, 0, 1];
        let sets: &[&[u8]] = if identity.key { &[&start, &[0x67, 1, 2], &start, &[0x68, 3]] } else { &[] };
        let slice = if identity.key { 0x65 } else { 0x41 };
        let body: Vec<u8> = (0..len).map(|at| (at * 31 + index) as u8 | 4).collect();
        let unmarked = [sets.concat(), [&start[..], &[slice], &body].concat()].concat();
        let data = h264::mark(&unmarked, &identity).unwrap().into();
        let frame = Frame { kind: MediaKind::Video, identity, data, level: None };
        next_packet += packetize(&frame).unwrap().len() as u64;
        frame
    });
    made.collect()
}

/// Opus packets of these lengths before marking; packets of 1 and 2 bytes stay unmarked.
fn sound(lengths: &[usize]) -> Vec<Frame> {
    let made = lengths.iter().enumerate().map(|(index, &len)| {
        let identity = identity(index, SOUND_FRAME_US, index as u64 + 1);
        let packet: Vec<u8> = std::iter::once(0x78).chain((1..len).map(|at| (at + index) as u8)).collect();
        let data = opus::mark(&packet, &identity).unwrap_or(packet);
        Frame { kind: MediaKind::Sound, identity, data: data.into(), level: None }
    });
    made.collect()
}

fn identity(index: usize, step_us: u64, first_packet: u64) -> FrameIdentity {
    let captured_us = 1_700_000_000_000_000 + index as u64 * step_us;
    let number = index as u32 + 1;
    FrameIdentity { first_packet, ..FrameIdentity::single(STREAM, number, captured_us) }
}

/// Lets the packets of a frame have numbers that are [`JUMP_MAX`] higher.
fn number_later(frame: &mut Frame) {
    frame.identity.first_packet += JUMP_MAX;
    let marked = match frame.kind {
        MediaKind::Video => h264::mark(&frame.data, &frame.identity),
        MediaKind::Sound => opus::mark(&frame.data, &frame.identity),
    };
    frame.data = marked.unwrap().into();
}

/// All packets of the frames, numbered from 1.
fn packets(frames: &[Frame]) -> Vec<Packet> {
    let payloads = frames.iter().flat_map(|frame| packetize(frame).unwrap());
    let numbered = payloads.zip(1..).map(|(payload, number)| Packet {
        number,
        timestamp: payload.timestamp,
        marker: payload.marker,
        payload: payload.bytes,
        level: None,
    });
    numbered.collect()
}

fn feed(reader: &mut Assembler, now_us: u64, packets: &[Packet]) -> Vec<Assembled> {
    let given = packets.iter().flat_map(|packet| {
        reader.push(now_us, packet.clone());
        drain(reader, now_us)
    });
    given.collect()
}

fn drain(reader: &mut Assembler, now_us: u64) -> Vec<Assembled> {
    std::iter::from_fn(|| reader.poll(now_us)).collect()
}

/// The numbers of the frames output, each of which must equal the frame sent.
fn numbers(given: &[Assembled], made: &[Frame]) -> Vec<u32> {
    let given = given.iter().map(|assembled| match assembled {
        Assembled::Frame(frame) => {
            let number = frame.identity.number;
            assert!(*frame == made[number as usize - 1], "frame {number} is not what was made");
            number
        }
        other => panic!("{other:?} came"),
    });
    given.collect()
}

/// Index of the first packet of frame `number`.
fn first_packet(packets: &[Packet], made: &[Frame], number: usize) -> usize {
    let timestamp = timestamp(made[0].kind, made[number - 1].identity.captured_us);
    packets.iter().position(|packet| packet.timestamp == timestamp).unwrap()
}
