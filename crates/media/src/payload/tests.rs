//! Round trips of the payload format, and rejected input.

use bytes::Bytes;
use plenary_proto::StreamId;
use plenary_proto::identity::{FrameIdentity, MediaKind, h264 as identity};
use proptest::prelude::*;

use super::h264::{join, starts_key};
use super::*;

#[test]
fn a_small_picture_and_its_identity_share_a_packet() {
    let frame = video(false, &[nal(1, 300)]);
    let payloads = packetize(&frame).unwrap();
    assert_eq!(payloads.len(), 1);
    assert_eq!(payloads[0].bytes[0], 0x60 | 24, "a STAP-A as important as the slice");
    assert_eq!(joined(&payloads), frame.data);
}

#[test]
fn a_packet_is_filled_to_the_last_byte_and_not_beyond() {
    // a STAP-A has one byte of header and two for each length
    for (rest, expected) in [(0, 1), (1, 2)] {
        let small = 200;
        let frame =
            raw(MediaKind::Video, annex_b(&[nal(1, small), nal(1, PAYLOAD_LEN_MAX - 5 - small + rest)]));
        let payloads = packetize(&frame).unwrap();
        assert_eq!(payloads.len(), expected);
        assert!(payloads.iter().all(|payload| payload.bytes.len() <= PAYLOAD_LEN_MAX));
    }
    for (len, expected) in [(PAYLOAD_LEN_MAX, 1), (PAYLOAD_LEN_MAX + 1, 2)] {
        assert_eq!(packetize(&raw(MediaKind::Video, annex_b(&[nal(1, len)]))).unwrap().len(), expected);
    }
}

#[test]
fn a_key_frame_begins_with_parameter_sets_and_ends_with_its_identity() {
    let payloads = packetize(&video(true, &[nal(7, 12), nal(8, 5), nal(5, 30_000)])).unwrap();
    let kinds: Vec<u8> = payloads.iter().map(|payload| payload.bytes[0] & 0x1f).collect();
    assert_eq!(kinds[0], 24);
    let (last, slices) = kinds[1..].split_last().unwrap();
    assert!(*last == 23 && slices.iter().all(|&kind| kind == 28));
    assert_eq!(slices.len(), 29_999_usize.div_ceil(PAYLOAD_LEN_MAX - 2));
    assert!(starts_key(&payloads[0].bytes) && !starts_key(&payloads[1].bytes));
}

#[test]
fn the_payloads_of_an_access_unit_are_these() {
    // every implementation must cut alike (PROTOCOL 1.4): a peer below a browser makes the originator's packets again
    let frame = video(true, &[nal(7, 12), nal(8, 5), nal(5, 3_000)]);
    let payloads = packetize(&frame).unwrap();
    let cut: Vec<(usize, &[u8])> =
        payloads.iter().map(|payload| (payload.bytes.len(), &payload.bytes[..2])).collect();
    let golden: [(usize, &[u8]); 5] = [
        (1 + 2 + 12 + 2 + 5, &[0x78, 0]),
        (2 + 1_000, &[0x7c, 0x85]),
        (2 + 1_000, &[0x7c, 0x05]),
        (2 + 999, &[0x7c, 0x45]),
        (frame.data.len() - 3_000 - 17 - 4 * 4, &[0x17, b'p']),
    ];
    assert_eq!(cut, golden);
}

#[test]
fn a_frame_that_a_browser_wrote_anew_gives_the_originators_payloads() {
    let frame = video(true, &[nal(7, 12), nal(8, 5), nal(5, 3_000)]);
    let three_byte_start_codes: Vec<u8> =
        identity::nals(&frame.data).flat_map(|nal| [&[0, 0, 1], nal.bytes].concat()).collect();
    let rewritten = Frame { data: three_byte_start_codes.into(), ..frame.clone() };
    assert_eq!(packetize(&rewritten), packetize(&frame));
}

#[test]
fn flags_and_timestamp_are_those_of_the_access_unit() {
    for (key, nals) in [(false, vec![nal(1, 5_000)]), (true, vec![nal(7, 12), nal(8, 5), nal(5, 5_000)])] {
        let frame = video(key, &nals);
        let payloads = packetize(&frame).unwrap();
        let last = payloads.len() - 1;
        for (index, payload) in payloads.iter().enumerate() {
            assert_eq!(payload.marker, index == last);
            assert_eq!(payload.frame_start, index == 0);
            assert_eq!(payload.key_start, key && index == 0);
            assert_eq!(payload.timestamp, timestamp(MediaKind::Video, frame.identity.captured_us));
        }
    }
}

#[test]
fn fragments_of_one_slice_are_about_equally_long() {
    let payloads = packetize(&video(false, &[nal(1, 3 * PAYLOAD_LEN_MAX)])).unwrap();
    let (_identity, fragments) = payloads.split_last().unwrap();
    let lengths: Vec<usize> = fragments.iter().map(|payload| payload.bytes.len()).collect();
    let (least, most) = (lengths.iter().min().unwrap(), lengths.iter().max().unwrap());
    assert!(most - least < lengths.len(), "{lengths:?}");
}

#[test]
fn an_opus_packet_is_a_payload() {
    let frame = sound(vec![0x78; 90]);
    let payloads = packetize(&frame).unwrap();
    assert_eq!(payloads.len(), 1);
    assert_eq!(payloads[0].bytes, frame.data);
    assert!(payloads[0].frame_start && !payloads[0].marker && !payloads[0].key_start);
    assert_eq!(payloads[0].timestamp, timestamp(MediaKind::Sound, frame.identity.captured_us));
}

#[test]
fn rtp_time_counts_from_the_capture_clocks_zero_and_wraps() {
    let rows = [
        (MediaKind::Video, 0, 0),
        (MediaKind::Video, 33_333, 2_999),
        (MediaKind::Video, 1_000_000, 90_000),
        (MediaKind::Sound, 20_000, 960),
        (MediaKind::Sound, 1_763_627_671_166_665, 1_763_627_671_166_665_u64.wrapping_mul(6) / 125),
        (MediaKind::Video, u64::MAX, (u128::from(u64::MAX) * 9 / 100) as u64),
    ];
    for (kind, captured_us, expected) in rows {
        assert_eq!(timestamp(kind, captured_us), expected as u32, "{kind:?} {captured_us}");
    }
}

#[test]
fn what_can_not_be_sent_is_refused() {
    let too_long = ACCESS_UNIT_LEN_MAX + 1;
    let rows = [
        (raw(MediaKind::Video, vec![]), PayloadError::Empty),
        (raw(MediaKind::Video, vec![1, 2, 3, 4]), PayloadError::Empty),
        (raw(MediaKind::Video, vec![0, 0, 1]), PayloadError::Empty),
        (raw(MediaKind::Video, vec![0, 0, 1, 28, 1, 2]), PayloadError::NalKind { kind: 28 }),
        (raw(MediaKind::Video, vec![0, 0, 1, 0x40]), PayloadError::NalKind { kind: 0 }),
        (
            raw(MediaKind::Video, vec![0; too_long]),
            PayloadError::TooLong { len: too_long, len_max: ACCESS_UNIT_LEN_MAX },
        ),
        (raw(MediaKind::Sound, vec![]), PayloadError::Empty),
        (
            raw(MediaKind::Sound, vec![0x78; PAYLOAD_LEN_MAX + 1]),
            PayloadError::TooLong { len: PAYLOAD_LEN_MAX + 1, len_max: PAYLOAD_LEN_MAX },
        ),
    ];
    for (frame, error) in rows {
        assert_eq!(packetize(&frame), Err(error));
    }
}

#[test]
fn payloads_that_are_not_whole_give_nothing() {
    let rows: [&[&[u8]]; 13] = [
        &[],
        &[&[]],
        &[&[24, 0]],                                       // a size field cut off
        &[&[24, 0, 5, 0x41, 1]],                           // size larger than the rest
        &[&[24, 0, 0]],                                    // an empty NAL unit
        &[&[24, 0, 2, 28, 0x85]],                          // a fragment in an aggregate
        &[&[28]],                                          // no FU header
        &[&[0x7c, 0x85, 1, 2]],                            // no end
        &[&[0x7c, 0x05, 1, 2], &[0x7c, 0x45, 3]],          // no start
        &[&[0x7c, 0x85, 1], &[0x7c, 0x85, 2]],             // two starts
        &[&[0x7c, 0x85, 1], &[0x7c, 0x41, 2]],             // continued with another type
        &[&[0x7c, 0x85, 1], &[0x41, 9], &[0x7c, 0x45, 2]], // another NAL unit between
        &[&[29, 1, 2, 3]],                                 // FU-B: interleaved mode
    ];
    for payloads in rows {
        assert_eq!(join(payloads.iter().copied()), None, "{payloads:02x?}");
    }
}

proptest! {
    #[test]
    fn every_access_unit_comes_back_and_every_payload_fits(
        key: bool,
        parts in prop::collection::vec((prop::sample::select(vec![1_u8, 5, 6, 7, 8, 9, 12]), 1_usize..4_000), 1..8),
    ) {
        let nals: Vec<Vec<u8>> = parts.iter().map(|&(kind, len)| nal(kind, len)).collect();
        let mut frame = raw(MediaKind::Video, annex_b(&nals));
        frame.identity.key = key;
        let payloads = packetize(&frame).unwrap();
        prop_assert_eq!(joined(&payloads), frame.data);
        prop_assert!(payloads.iter().all(|payload| payload.bytes.len() <= PAYLOAD_LEN_MAX));
    }

    #[test]
    fn any_bytes_are_packetized_or_refused(data: Vec<u8>) {
        if let Ok(payloads) = packetize(&raw(MediaKind::Video, data)) {
            prop_assert!(join(payloads.iter().map(|payload| &payload.bytes[..])).is_some());
        }
    }

    #[test]
    fn any_payloads_are_joined_or_refused(
        payloads in prop::collection::vec(
            (prop::sample::select(vec![0x18_u8, 0x1c, 0x41, 0x67]), any::<Vec<u8>>()), 0..6)
    ) {
        let payloads: Vec<Vec<u8>> = payloads.into_iter().map(|(header, body)| [vec![header], body].concat()).collect();
        let _ = join(payloads.iter().map(|payload| &payload[..]));
        for payload in &payloads {
            let _ = starts_key(payload);
        }
    }
}

fn joined(payloads: &[Payload]) -> Bytes {
    join(payloads.iter().map(|payload| &payload.bytes[..])).unwrap()
}

/// A NAL unit of `kind` whose body never looks like a start code.
fn nal(kind: u8, len: usize) -> Vec<u8> {
    (0..len).map(|at| if at == 0 { 0x60 | kind } else { at as u8 | 0x80 }).collect()
}

fn annex_b(nals: &[Vec<u8>]) -> Vec<u8> {
    nals.iter().flat_map(|nal| [&[0, 0, 0, 1][..], nal].concat()).collect()
}

/// A marked access unit.
fn video(key: bool, nals: &[Vec<u8>]) -> Frame {
    let mut frame = raw(MediaKind::Video, vec![]);
    frame.identity.key = key;
    frame.data = identity::mark(&annex_b(nals), &frame.identity).unwrap().into();
    frame
}

fn sound(packet: Vec<u8>) -> Frame {
    raw(MediaKind::Sound, packet)
}

fn raw(kind: MediaKind, data: Vec<u8>) -> Frame {
    let identity = FrameIdentity::single(StreamId([9; 8]), 5, 1_763_627_671_166_665);
    Frame { kind, identity, data: data.into(), level: None }
}
