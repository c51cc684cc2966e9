//! Frame and packet identity: encoded bytes, and robustness of the readers against arbitrary bytes.

use plenary_proto::StreamId;
use plenary_proto::identity::{FrameIdentity, PacketIdentity, h264, opus};
use proptest::prelude::*;

const IDENTITY: FrameIdentity = FrameIdentity {
    stream: StreamId([0x9d, 0x4e, 0x27, 0x13, 0x09, 0x04, 0x82, 0xc1]),
    number: 5,
    captured_us: 1_763_627_671_166_665,
    temporal: 2,
    key: false,
    epoch: 1,
    first_packet: 0x0102_0304,
};
const BODY: &str = "029d4e2713090482c1000000050006440290db1ec9020001000001020304";

fn hex(text: &str) -> Vec<u8> {
    data_encoding::HEXLOWER.decode(text.replace(' ', "").as_bytes()).unwrap()
}

#[test]
fn a_frame_identity_is_these_30_bytes() {
    assert_eq!(IDENTITY.to_bytes(), hex(BODY)[..]);
    assert_eq!(FrameIdentity::from_bytes(&hex(BODY)), Some(IDENTITY));
}

#[test]
fn a_longer_body_is_read_and_a_shorter_or_later_one_is_not() {
    let mut longer = hex(BODY);
    longer.extend([7; 9]);
    assert_eq!(FrameIdentity::from_bytes(&longer), Some(IDENTITY));
    assert_eq!(FrameIdentity::from_bytes(&hex(BODY)[..29]), None);
    longer[0] = 3;
    assert_eq!(FrameIdentity::from_bytes(&longer), None);
}

#[test]
fn a_packet_identity_is_these_14_bytes() {
    let packet = PacketIdentity { stream: IDENTITY.stream, number: 0x0102_0304_0506 };
    assert_eq!(packet.to_bytes(), hex("9d4e2713090482c1 010203040506")[..]);
    assert_eq!(PacketIdentity::from_bytes(&packet.to_bytes()), Some(packet));
    assert_eq!(PacketIdentity::from_bytes(&packet.to_bytes()[..13]), None);
    assert_eq!(PacketIdentity::from_bytes(&[0; 15]), None);
}

#[test]
fn a_marked_opus_packet_is_these_bytes() {
    let marked = opus::mark(&hex("7801020304"), &IDENTITY).unwrap();
    assert_eq!(marked, hex(&format!("7b4124 01020304 00000000 f51e {BODY}")));
    assert_eq!(opus::read(&marked), Some(IDENTITY));
}

#[test]
fn every_code_of_opus_keeps_its_frames_and_loses_its_old_padding() {
    let golden = [
        ("79 0102", "7b4224 0102"),                // two frames of one size
        ("7a 01 aabbcc", "7bc224 01 aabbcc"),      // two frames of different sizes
        ("7b 03 010203", "7b4324 010203"),         // three frames of one size
        ("7b 43 02 010203 eeee", "7b4324 010203"), // the same, with two bytes of padding
    ];
    for (packet, expected) in golden {
        let marked = opus::mark(&hex(packet), &IDENTITY).unwrap();
        assert_eq!(marked, hex(&format!("{expected} 00000000 f51e {BODY}")), "{packet}");
    }
}

#[test]
fn marking_an_opus_packet_again_replaces_the_identity() {
    let once = opus::mark(&hex("7801020304"), &IDENTITY).unwrap();
    let other = FrameIdentity { number: 6, ..IDENTITY };
    assert_eq!(
        opus::mark(&once, &other),
        opus::mark(&hex("7801020304"), &other).map(|mut marked| {
            marked[0] = 0x7b;
            marked
        })
    );
    assert_eq!(opus::read(&opus::mark(&once, &other).unwrap()), Some(other));
}

#[test]
fn without_its_marks_a_frame_is_as_the_encoder_made_it() {
    for packet in ["7801020304", "79 0102", "7a 01 aabbcc", "7b 03 010203", "7b 83 01 01 010203"] {
        let marked = opus::mark(&hex(packet), &IDENTITY).unwrap();
        assert_eq!(opus::plain(&marked), Some(hex(packet)), "{packet}");
    }
    assert_eq!(opus::plain(&hex("7b 43 02 010203 eeee")), None, "padding of another kind");
    let unit = hex("00000001 6742 00000001 658884");
    for tail in [&[][..], &[0, 0, 1, 7, 0]] {
        let marked = h264::mark_with(&unit, &IDENTITY, tail).unwrap();
        assert!(marked.len() > unit.len());
        assert_eq!(marked[..h264::plain_len(&marked)], unit);
    }
    assert_eq!(h264::plain_len(&unit), unit.len());
    assert_eq!(h264::plain_len(&[]), 0);
}

#[test]
fn silence_of_two_bytes_is_left_alone() {
    assert_eq!(opus::mark(&[0x78, 0xff], &IDENTITY), None);
    assert_eq!(opus::mark(&[0x78], &IDENTITY), None);
    assert_eq!(opus::mark(&[], &IDENTITY), None);
}

#[test]
fn the_identity_stands_behind_the_last_slice_and_is_these_bytes() {
    let access_unit = hex("00000001 6742 000001 68ce 00000001 65 88 84");
    let body = "029d4e2713090482c1 0000030005 0006440290db1ec9 02 0001 0000030102 0304";
    let marked = h264::mark(&access_unit, &IDENTITY).unwrap();
    let picture = "00000001 6742 00000001 68ce 00000001 658884";
    assert_eq!(marked, hex(&format!("{picture} 00000001 17 706c656e {body} 80")));
    assert_eq!(h264::read(&marked), Some(IDENTITY));
}

#[test]
fn in_a_recording_the_identity_is_an_sei_message_before_the_first_slice() {
    let access_unit = hex("00000001 6742 000001 68ce 00000001 65 88 84");
    let marked = h264::mark(&access_unit, &IDENTITY).unwrap();
    let body = "029d4e2713090482c1 0000030005 0006440290db1ec9 02 0001 0000030102 0304";
    let sei = format!("06 052e 706c656e617279f19b3e6672616d6531 {body} 80");
    assert_eq!(
        h264::with_sei(&marked),
        hex(&format!("00000001 6742 00000001 68ce 00000001 {sei} 00000001 658884"))
    );
    let unmarked = hex("00000001 6742 00000001 658884");
    assert_eq!(h264::with_sei(&unmarked), unmarked);
}

#[test]
fn an_identity_in_front_of_the_slice_is_none() {
    let marked = h264::mark(&hex("00000001 419a"), &IDENTITY).unwrap();
    let (slice, identity) = marked.split_at(6);
    assert_eq!(h264::read(&[identity, slice].concat()), None);
}

#[test]
fn the_tail_of_an_identity_is_kept_in_recordings() {
    let mut marked = h264::mark(&hex("00000001 419a"), &IDENTITY).unwrap();
    marked.pop();
    marked.extend([7; 300]);
    marked.push(0x80);
    assert_eq!(h264::read(&marked), Some(IDENTITY));
    let moved = h264::with_sei(&marked);
    assert_eq!(moved[..7], hex("00000001 06 05 ff")[..]);
    assert_eq!(usize::from(moved[7]) + 255, 16 + 30 + 300);
    assert!(moved.ends_with(&hex("0707 80 00000001 419a")));
}

#[test]
fn marking_an_access_unit_again_replaces_the_identity() {
    let once = h264::mark(&hex("00000001 41 9a"), &IDENTITY).unwrap();
    let other = FrameIdentity { number: 6, key: true, ..IDENTITY };
    let twice = h264::mark(&once, &other).unwrap();
    assert_eq!(h264::read(&twice), Some(other));
    assert_eq!(h264::nals(&twice).count(), 2);
}

#[test]
fn without_a_slice_there_is_no_identity() {
    assert_eq!(h264::mark(&hex("00000001 6742"), &IDENTITY), None);
    assert_eq!(h264::mark(&[], &IDENTITY), None);
    assert_eq!(h264::read(&hex("00000001 419a")), None);
}

fn identities() -> impl Strategy<Value = FrameIdentity> {
    (any::<[u8; 8]>(), any::<u32>(), any::<u64>(), 0..8u8, any::<bool>(), any::<u16>(), 0..1_u64 << 48)
        .prop_map(|(stream, number, captured_us, temporal, key, epoch, first_packet)| FrameIdentity {
            stream: StreamId(stream),
            number,
            captured_us,
            temporal,
            key,
            epoch,
            first_packet,
        })
}

proptest! {
    #[test]
    fn any_identity_survives_h264_whatever_zeros_it_has(identity in identities(), slice in prop::collection::vec(4..=255u8, 1..99)) {
        let mut access_unit = vec![0, 0, 1, 0x65];
        access_unit.extend(&slice);
        let marked = h264::mark(&access_unit, &identity).unwrap();
        prop_assert_eq!(h264::read(&marked), Some(identity));
        prop_assert!(marked.len() <= access_unit.len() + 1 + 54);
        prop_assert!(marked[1..].starts_with(&access_unit));
    }

    #[test]
    fn any_identity_survives_opus(identity in identities(), toc: u8, frames in prop::collection::vec(any::<u8>(), 2..300)) {
        let mut packet = vec![toc & !3];
        packet.extend(&frames);
        let marked = opus::mark(&packet, &identity).unwrap();
        prop_assert_eq!(opus::read(&marked), Some(identity));
        prop_assert_eq!(marked.len(), packet.len() + 38);
        prop_assert_eq!(&marked[3..][..frames.len()], &frames[..]);
    }

    #[test]
    fn no_bytes_make_a_reader_panic(bytes in prop::collection::vec(prop_oneof![Just(0u8), Just(1), Just(3), Just(6), Just(255), any::<u8>()], 0..400)) {
        let _ = (h264::read(&bytes), h264::read_nal(&bytes), opus::read(&bytes));
        prop_assert!(h264::plain_len(&bytes) <= bytes.len());
        let _ = opus::plain(&bytes);
        let _ = (h264::with_sei(&bytes), h264::mark(&bytes, &IDENTITY), opus::mark(&bytes, &IDENTITY));
        let _ = (FrameIdentity::from_bytes(&bytes), PacketIdentity::from_bytes(&bytes));
        let mut joined = Vec::new();
        for nal in h264::nals(&bytes) {
            joined.extend_from_slice(&[0, 0, 1]);
            joined.extend_from_slice(nal.bytes);
        }
        prop_assert!(joined.len() <= bytes.len() + 3);
    }
}
