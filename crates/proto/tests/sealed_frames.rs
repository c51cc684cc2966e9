//! Seals of frames: what a check lets pass, and each way in which a relay could show something else.

use plenary_proto::identity::seal::{Forged, HASHES_MAX, SOUND_STEP, SealCheck, Sealer, UNPROVEN_MAX};
use plenary_proto::identity::{FrameIdentity, MediaKind, h264, opus};
use plenary_proto::seal::Keypair;
use plenary_proto::{RoomId, StreamId};
use proptest::prelude::*;

const ROOM: RoomId = RoomId([7; 16]);
const STREAM: StreamId = StreamId([9; 8]);
/// Header byte of a keyframe's slice.
const KEY: u8 = 0x65;
/// Header byte of a slice that other pictures refer to.
const BASE: u8 = 0x61;
/// Header byte of a slice that no other picture refers to.
const SPARE: u8 = 0x01;
/// A kept frame: its bytes and its identity.
type Sealed = (Vec<u8>, FrameIdentity);

fn maker() -> Keypair {
    Keypair::from_seed(&[1; 32])
}

fn identity(number: u32, key: bool) -> FrameIdentity {
    FrameIdentity { key, ..FrameIdentity::single(STREAM, number, u64::from(number) * 20_000) }
}

/// The frames of a maker whose pictures have these slices, numbered from 1.
fn pictures(slices: &[u8]) -> Vec<Sealed> {
    let mut sealer = Sealer::new(maker(), ROOM, MediaKind::Video);
    let of = |(number, slice): (u32, &u8)| {
        let (data, identity) =
            (vec![0, 0, 0, 1, *slice, number as u8, 0x80], identity(number, *slice == KEY));
        let tail = sealer.seal(&data, &identity);
        (h264::mark_with(&data, &identity, &tail).unwrap(), identity)
    };
    (1..).zip(slices).map(of).collect()
}

/// Packets of sound of these lengths.
fn sounds(lens: &[usize]) -> Vec<Sealed> {
    let mut sealer = Sealer::new(maker(), ROOM, MediaKind::Sound);
    let of = |(number, len): (u32, &usize)| {
        let (data, identity) = (vec![0x78; *len], identity(number, false));
        let tail = sealer.seal(&data, &identity);
        (opus::mark_with(&data, &identity, &tail).unwrap_or(data), identity)
    };
    (1..).zip(lens).map(of).collect()
}

fn check(kind: MediaKind) -> SealCheck {
    SealCheck::new(maker().id(), ROOM, kind)
}

/// Takes frames. Returns the index of the first one at which something false is noticed.
fn noticed(kind: MediaKind, frames: &[Sealed]) -> Option<(usize, Forged)> {
    let mut check = check(kind);
    let take = |(at, (data, identity)): (usize, &Sealed)| Some((at, check.take(data, identity).err()?));
    frames.iter().enumerate().find_map(take)
}

/// A group of pictures of which every second one is spare.
fn group() -> Vec<Sealed> {
    let slices: Vec<u8> = (0..12).map(|at| if at % 2 == 1 { SPARE } else { BASE }).collect();
    pictures(&[&[KEY, SPARE], &slices[..]].concat())
}

#[test]
fn the_maker_s_frames_pass_whole_and_with_gaps_that_honest_relays_leave() {
    assert_eq!(noticed(MediaKind::Video, &group()), None);
    let thinned: Vec<_> = group().into_iter().filter(|(data, _)| !h264::is_spare(data)).collect();
    assert_eq!(thinned.len(), 7);
    assert_eq!(noticed(MediaKind::Video, &thinned), None);
    let speech = sounds(&[40; 50]);
    assert_eq!(noticed(MediaKind::Sound, &speech), None);
    for lost in 0..3 {
        let heard = speech.iter().enumerate().filter(|(at, _)| at % 3 != lost).map(|(_, one)| one.clone());
        assert_eq!(noticed(MediaKind::Sound, &heard.collect::<Vec<_>>()), None, "{lost}");
    }
    let pauses: Vec<usize> = (0..100).map(|at| if at % 40 < 23 { 40 } else { 1 }).collect();
    assert_eq!(noticed(MediaKind::Sound, &sounds(&pauses)), None);
}

#[test]
fn reference_pictures_have_seals_and_every_fourth_packet_of_sound() {
    for (data, _) in group() {
        assert_eq!(h264::tail(&data).unwrap().is_empty(), h264::is_spare(&data));
    }
    let sealed: Vec<_> =
        sounds(&[40; 9]).iter().map(|(data, _)| !opus::tail(data).unwrap().is_empty()).collect();
    assert_eq!(sealed, [true, false, false, false, true, false, false, false, true]);
    // the second seal vouches for the frames since the first, the third also for those before
    let lens: Vec<_> = sounds(&[40; 9]).iter().map(|(data, _)| opus::tail(data).unwrap().len()).collect();
    assert_eq!([lens[0], lens[4], lens[8]], [67, 67 + 30, 67 + 60]);
}

#[test]
fn a_changed_base_picture_is_noticed_at_once_a_spare_one_at_the_next() {
    for at in 0..group().len() {
        let mut frames = group();
        let (data, identity) = &mut frames[at];
        let tail = h264::tail(data).unwrap();
        let other = [&[0, 0, 0, 1, data[4]][..], &[0xee, 0x80]].concat();
        *data = h264::mark_with(&other, identity, &tail).unwrap();
        let seen = if h264::is_spare(&other) { at + 1 } else { at };
        // the spare picture before a base picture isn't proven either
        let from_packet = if at % 2 == 0 { (at as u64).max(1) } else { at as u64 + 1 };
        let last = at + 1 == frames.len();
        let expected = (!last || seen == at).then_some((seen, Forged { from_packet }));
        assert_eq!(noticed(MediaKind::Video, &frames), expected, "{at}");
    }
}

#[test]
fn a_changed_packet_of_sound_is_noticed_within_80_ms() {
    for at in 0..40 {
        let mut frames = sounds(&[40; 60]);
        let (data, identity) = &mut frames[at];
        let tail = opus::tail(data).unwrap();
        *data = opus::mark_with(&[0x78; 41], identity, &tail).unwrap();
        let (seen, forged) = noticed(MediaKind::Sound, &frames).unwrap();
        assert!((at..=at + SOUND_STEP as usize).contains(&seen), "{at}: {seen}");
        assert!(forged.from_packet <= at as u64 + 1);
    }
}

#[test]
fn sound_without_a_seal_under_numbers_of_later_frames_is_noticed() {
    let mut frames = sounds(&[40; 9]);
    let mut check = check(MediaKind::Sound);
    assert!(frames.iter().all(|(data, identity)| check.take(data, identity).is_ok()));
    assert_eq!(check.proven_count(), 9);
    for (data, identity) in &mut frames[1..4] {
        identity.number += 1_000_000;
        *data = opus::mark(&[0x78; 41], identity).unwrap();
    }
    assert_eq!(noticed(MediaKind::Sound, &frames), Some((4, Forged { from_packet: 2 })));
}

#[test]
fn a_base_picture_without_its_seal_or_left_out_is_noticed() {
    let mut stripped = group();
    let (data, identity) = &mut stripped[4];
    *data = h264::mark(data, identity).unwrap();
    assert_eq!(noticed(MediaKind::Video, &stripped), Some((4, Forged { from_packet: 4 })));
    let mut left_out = group();
    left_out.remove(4);
    assert_eq!(noticed(MediaKind::Video, &left_out).map(|(at, _)| at), Some(5), "the next base picture");
}

#[test]
fn frames_of_another_number_room_or_maker_are_noticed() {
    let frames = group();
    let mut check = SealCheck::new(maker().id(), RoomId([8; 16]), MediaKind::Video);
    assert!(check.take(&frames[0].0, &frames[0].1).is_err(), "of another room");
    let mut check = SealCheck::new(Keypair::from_seed(&[2; 32]).id(), ROOM, MediaKind::Video);
    assert!(check.take(&frames[0].0, &frames[0].1).is_err(), "of another maker");
    for as_sound in [false, true] {
        let kind = if as_sound { MediaKind::Sound } else { MediaKind::Video };
        let sealed = if as_sound { sounds(&[40; 9])[8].clone() } else { frames[2].clone() };
        let (data, old) = sealed;
        let new = FrameIdentity { number: 90, ..old };
        let again = match kind {
            MediaKind::Video => h264::mark_with(&data, &new, &h264::tail(&data).unwrap()),
            MediaKind::Sound => opus::mark_with(&data, &new, &opus::tail(&data).unwrap()),
        };
        let mut check = SealCheck::new(maker().id(), ROOM, kind);
        assert!(check.take(&again.unwrap(), &new).is_err(), "an old frame with a new number");
        assert_eq!(check.take(&data, &old), Ok(()));
    }
}

#[test]
fn frames_without_any_seal_pass_only_for_a_moment() {
    let (mut check, data) = (check(MediaKind::Sound), vec![0x78; 40]);
    let unsealed = |number| opus::mark(&data, &identity(number, false)).unwrap();
    let passed =
        (1..100).take_while(|number| check.take(&unsealed(*number), &identity(*number, false)).is_ok());
    assert_eq!(passed.count(), UNPROVEN_MAX);
    // silence needs none
    assert!((200..900).all(|number| check.take(&[0x78], &identity(number, false)).is_ok()));
}

#[test]
fn a_browser_s_frame_is_judged_alone_before_it_is_decoded() {
    let mut check = check(MediaKind::Video);
    let frames = group();
    assert!(frames.iter().rev().all(|(data, identity)| check.may_be_decoded(data, identity)));
    let (data, first) = &frames[0];
    assert!(!check.may_be_decoded(&h264::mark(data, first).unwrap(), first), "no seal");
    let other = h264::mark_with(&[0, 0, 1, KEY, 9, 9], first, &h264::tail(data).unwrap()).unwrap();
    assert!(!check.may_be_decoded(&other, first), "another picture");
    assert_eq!(check.unproven_from(), None);
}

#[test]
fn a_seal_has_no_more_hashes_than_a_packet_of_sound_can_carry() {
    let many = pictures(&[&[KEY], &[SPARE; 60][..], &[BASE], &[SPARE; 60], &[BASE]].concat());
    let lens: Vec<_> = many.iter().map(|(data, _)| h264::tail(data).unwrap().len()).collect();
    assert_eq!(lens.iter().max(), Some(&(67 + 10 * HASHES_MAX)));
    assert!(opus::mark_with(&[0x78; 40], &identity(1, false), &vec![1; 67 + 10 * HASHES_MAX]).is_some());
    assert_eq!(opus::mark_with(&[0x78; 40], &identity(1, false), &[1; 225]), None);
}

#[test]
fn a_picture_that_was_kept_in_a_file_passes_as_it_was_sent() {
    let mut check = check(MediaKind::Video);
    for (data, identity) in group() {
        let kept = h264::with_sei(&data);
        assert_eq!(h264::read(&kept), None);
        assert_eq!(h264::without_sei(&kept), data);
        assert_eq!(check.take(&h264::without_sei(&kept), &identity), Ok(()));
    }
    let (unmarked, _) = &([0, 0, 0, 1, BASE, 9], ());
    assert_eq!(h264::without_sei(unmarked), unmarked);
}

proptest! {
    #[test]
    fn any_tail_survives_both_kinds(
        tail in prop::collection::vec(any::<u8>(), 0..=217),
        toc: u8,
        frame in prop::collection::vec(any::<u8>(), 2..300),
    ) {
        let identity = identity(3, false);
        let packet = [&[toc & !3][..], &frame].concat();
        let marked = opus::mark_with(&packet, &identity, &tail).unwrap();
        prop_assert_eq!(opus::read(&marked), Some(identity));
        prop_assert_eq!(opus::tail(&marked), Some(tail.clone()));
        let picture = h264::mark_with(&[&[0, 0, 1, 0x61][..], &frame, &[0x80]].concat(), &identity, &tail).unwrap();
        prop_assert_eq!(h264::read(&picture), Some(identity));
        prop_assert_eq!(h264::tail(&picture), Some(tail));
    }

    #[test]
    fn any_bit_that_changes_in_a_sealed_frame_is_noticed(bit in 0usize..2000) {
        let (data, identity) = group()[2].clone();
        let mut changed = data.clone();
        // the first byte, of the start code, says nothing
        let bit = 8 + bit % (8 * (data.len() - 1));
        changed[bit / 8] ^= 1 << (bit % 8);
        let mut check = check(MediaKind::Video);
        // a bit of a start code ends the unit, one of the reserved bits of a header is covered as well
        if let Some(read) = h264::read(&changed) {
            prop_assert!(check.take(&changed, &read).is_err());
        }
        prop_assert!(check.take(&data, &identity).is_ok());
    }

    #[test]
    fn no_bytes_make_a_check_panic(
        data in prop::collection::vec(any::<u8>(), 0..300),
        number in 1u32..,
        tail in prop::collection::vec(0u8..20, 0..200),
    ) {
        let identity = identity(number, number % 2 == 0);
        for kind in [MediaKind::Video, MediaKind::Sound] {
            let marked = match kind {
                MediaKind::Video => h264::mark_with(&data, &identity, &tail),
                MediaKind::Sound => opus::mark_with(&data, &identity, &tail),
            };
            let mut check = SealCheck::new(maker().id(), ROOM, kind);
            let _ = check.take(&marked.unwrap_or(data.clone()), &identity);
            let _ = check.may_be_decoded(&data, &identity);
            let _ = h264::without_sei(&data);
        }
    }
}
