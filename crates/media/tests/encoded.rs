//! Frames that an application encodes: what other encoders make is taken or refused by name.

use std::process::Command;

use plenary_media::codec::{Codecs as _, VideoFormat};
use plenary_media::{BuiltinCodecs, Clock, EncodedChecks, EncodedError, Picture, TimeError};
use plenary_proto::identity::h264::nals;

/// NAL unit types: a keyframe's slice, a sequence parameter set, an access unit delimiter.
const KEY: u8 = 5;
const SPS: u8 = 7;
const DELIMITER: u8 = 9;
const START_CODE: [u8; 4] = [0, 0, 0, 1];

/// Forty pictures of x264, in the order of decoding, each with whether it is a keyframe.
fn x264(profile: &str, parameters: &str) -> Vec<(bool, Vec<u8>)> {
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-nostdin", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=30"]);
    command.args(["-frames:v", "40", "-pix_fmt", "yuv420p", "-c:v", "libx264", "-profile:v", profile]);
    let parameters = format!("aud=1:repeat-headers=1:keyint=20:scenecut=0:{parameters}");
    command.args(["-x264-params", &parameters, "-f", "h264", "-"]);
    let stream = command.output().unwrap().stdout;
    let mut units: Vec<(bool, Vec<u8>)> = Vec::new();
    for nal in nals(&stream) {
        if nal.kind() == DELIMITER {
            units.push((false, Vec::new()));
        }
        let (key, unit) = units.last_mut().unwrap();
        *key |= nal.kind() == KEY;
        unit.extend(START_CODE);
        unit.extend(nal.bytes);
    }
    assert_eq!(units.len(), 40);
    units
}

/// Pushes pictures of x264, and returns how many were taken, and the errors.
fn pushed(profile: &str, parameters: &str) -> (usize, Vec<EncodedError>) {
    let clock = Clock::start();
    let (checks, begin_us) = (EncodedChecks::new(clock), clock.now_us());
    let (mut sent, mut refused) = (0, Vec::new());
    for (at, (key, unit)) in x264(profile, parameters).iter().enumerate() {
        let taken = checks.picture(unit, *key, begin_us + at as u64 * 33_333, || sent += 1);
        refused.extend(taken.err());
    }
    (sent, refused)
}

fn refusal(access_unit: &[u8], key: bool) -> Option<EncodedError> {
    let clock = Clock::start();
    let mut sent = false;
    let refusal = EncodedChecks::new(clock).picture(access_unit, key, clock.now_us(), || sent = true).err();
    assert_eq!(sent, refusal.is_none());
    refusal
}

fn refusal_of_sound(packet: &[u8]) -> Option<EncodedError> {
    let clock = Clock::start();
    EncodedChecks::new(clock).sound(packet, clock.now_us(), || ()).err()
}

/// A keyframe of the built-in encoder, and the picture after it.
fn two_pictures() -> [Vec<u8>; 2] {
    let format = VideoFormat { width: 160, height: 96, fps: 30, bitrate_bps: 200_000 };
    let mut encoder = BuiltinCodecs::default().video_encoder(&format).unwrap();
    [true, false].map(|key| {
        let picture = Picture::black(160, 96);
        encoder.encode(&picture.view(), key).unwrap().unwrap().data.to_vec()
    })
}

/// A copy of an access unit without its units of a type.
fn without(access_unit: &[u8], kind: u8) -> Vec<u8> {
    let kept = nals(access_unit).filter(|nal| nal.kind() != kind);
    kept.flat_map(|nal| [&START_CODE[..], nal.bytes].concat()).collect()
}

#[test]
fn pictures_of_x264_are_taken_but_for_b_pictures_which_are_named() {
    for (profile, parameters) in [
        ("baseline", "bframes=0"),
        ("baseline", "bframes=0:slices=4"),
        ("high", "bframes=0"),
        ("main", "bframes=0"),
    ] {
        assert_eq!(pushed(profile, parameters), (40, Vec::new()), "{profile} {parameters}");
    }
    let (sent, refused) = pushed("high", "bframes=2:b-adapt=0");
    assert!((12..20).contains(&sent), "{sent} of 40");
    assert_eq!(refused.len() + sent, 40);
    assert!(refused.iter().all(|error| *error == EncodedError::BPicture), "{refused:?}");
}

#[test]
fn what_is_no_access_unit_or_contradicts_its_mark_is_refused() {
    let [key, other] = two_pictures();
    assert_eq!((refusal(&key, true), refusal(&other, false)), (None, None));
    assert_eq!(refusal(&[], false), Some(EncodedError::Empty { what: "picture" }));
    assert_eq!(refusal(&key, false), Some(EncodedError::KeyContradicts { key: false }));
    assert_eq!(refusal(&other, true), Some(EncodedError::KeyContradicts { key: true }));
    assert_eq!(refusal(&without(&key, SPS), true), Some(EncodedError::NoParameterSets));
    assert_eq!(refusal(&without(&key, KEY), true), Some(EncodedError::NoSlice));
    assert_eq!(refusal(&[&other[..], &other].concat(), false), Some(EncodedError::SeveralPictures));
    // lengths in place of start codes, as in MP4
    let unit = nals(&other).next().unwrap().bytes;
    let avcc = [&(unit.len() as u32).to_be_bytes()[..], unit].concat();
    assert_eq!(refusal(&avcc, false), Some(EncodedError::NotAnnexB));
    assert_eq!(refusal(&[7; 300], false), Some(EncodedError::NotAnnexB));
    assert_eq!(refusal(&[0, 0, 0, 1, 0x61], false), Some(EncodedError::BrokenSlice));
    let aggregate = [&other[..], &[0, 0, 1, 24, 0, 1]].concat();
    assert_eq!(refusal(&aggregate, false), Some(EncodedError::NalUnit { header: 24 }));
    let long = [&other[..], &vec![1; 1 << 20]].concat();
    assert!(matches!(refusal(&long, false), Some(EncodedError::TooLong { what: "picture", .. })));
    for seed in 0..5_000u32 {
        let bytes: Vec<u8> = (0..seed % 50)
            .map(|at| (seed.wrapping_mul(2_654_435_761).rotate_left(at * 7) ^ at) as u8)
            .collect();
        let _ = refusal(&[&START_CODE[..], &bytes].concat(), seed % 2 == 0);
        let _ = refusal_of_sound(&bytes);
    }
}

#[test]
fn one_opus_packet_of_20_ms_is_taken_and_no_other() {
    // configurations 1 (SILK, 20 ms), 13 (hybrid, 20 ms), 31 (CELT, 20 ms), and 30 (CELT, 10 ms) twice
    for packet in
        [&[1 << 3, 7][..], &[13 << 3, 7], &[31 << 3], &[30 << 3 | 1, 7, 7], &[29 << 3 | 3, 4, 7, 7, 7, 7]]
    {
        assert_eq!(refusal_of_sound(packet), None, "{packet:?}");
    }
    for (packet, duration_us) in [
        (&[3 << 3, 7][..], 60_000),
        (&[30 << 3, 7], 10_000),
        (&[28 << 3, 7], 2_500),
        (&[31 << 3 | 3, 3, 7], 60_000),
    ] {
        assert_eq!(refusal_of_sound(packet), Some(EncodedError::Duration { duration_us }), "{packet:?}");
    }
    assert_eq!(refusal_of_sound(&[31 << 3 | 3]), Some(EncodedError::NotOpus));
    assert_eq!(refusal_of_sound(&[]), Some(EncodedError::Empty { what: "sound" }));
    assert!(matches!(refusal_of_sound(&[31 << 3; 1000]), Some(EncodedError::TooLong { what: "sound", .. })));
}

#[test]
fn capture_times_rise_near_the_clock_for_pictures_and_sound_each() {
    let [key, other] = two_pictures();
    let clock = Clock::start();
    let (checks, now_us) = (EncodedChecks::new(clock), clock.now_us());
    let mut sent = Vec::new();
    assert_eq!(checks.picture(&key, true, now_us, || sent.push(0)), Ok(()));
    let back = checks.picture(&other, false, now_us, || sent.push(1));
    assert!(
        matches!(back, Err(EncodedError::Time(TimeError::NotRising { what: "picture", .. }))),
        "{back:?}"
    );
    assert_eq!(checks.sound(&[31 << 3, 7], now_us, || sent.push(2)), Ok(()), "sound has times of its own");
    for far_us in [0, u64::MAX, now_us + 11_000_000] {
        let far = checks.sound(&[31 << 3, 7], far_us, || sent.push(3));
        assert!(matches!(far, Err(EncodedError::Time(TimeError::Off { what: "sound", .. }))), "{far:?}");
    }
    assert_eq!(
        checks.picture(&other, false, now_us + 1, || sent.push(4)),
        Ok(()),
        "refused times don't count"
    );
    assert_eq!(sent, [0, 2, 4]);
}
