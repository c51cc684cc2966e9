//! The built-in codecs fulfil the traits' contracts.

use std::time::Duration;

use plenary_media::codec::{CodecError, Codecs, EncodedPicture, VideoEncoder, VideoFormat};
use plenary_media::payload::{LEFT_OUT, is_spare, packetize};
use plenary_media::source::{Source, TestSource, open_source};
use plenary_media::{BuiltinCodecs, CODEC_BENCH_BUDGET_MAX, Encoded, Picture, SOUND_FRAME_LEN, codec_bench};
use plenary_proto::StreamId;
use plenary_proto::identity::h264::nals;
use plenary_proto::identity::{FrameIdentity, MediaKind, opus};
use plenary_testkit::fake::FakeCodecs;
use plenary_testkit::judge::psnr_db;
use proptest::prelude::*;

const SMALL: VideoFormat = VideoFormat { width: 320, height: 180, fps: 30, bitrate_bps: 300_000 };

#[test]
fn pictures_of_all_sizes_survive_encoding() {
    let sizes = [
        (16, 16),
        (18, 16),
        (16, 1080),
        (640, 360),
        (360, 640),
        (426, 240),
        (1366, 768),
        (3840, 2160),
        (2160, 3840),
    ];
    for (width, height) in sizes {
        let format = VideoFormat { width, height, fps: 30, bitrate_bps: 8_000_000 };
        let mut source = TestSource::new(1, width, height, 30);
        let mut encoder = BuiltinCodecs::default().video_encoder(&format).unwrap();
        let mut decoder = BuiltinCodecs::default().video_decoder().unwrap();
        for number in 0..3 {
            source.next_picture().unwrap();
            let encoded = encoder.encode(&source.picture(), false).unwrap().unwrap();
            assert_eq!(encoded.key, number == 0, "{width}x{height}");
            let decoded = decoder.decode(&encoded.data).unwrap().unwrap();
            let psnr = psnr_db(&source.picture(), &decoded);
            assert!(psnr > 24.0, "{width}x{height}: {psnr:.1} dB");
        }
    }
}

#[test]
fn formats_that_the_encoder_refuses_are_named() {
    let rows = [
        ((641, 360, 30), "openh264: 641x360: width and height must be even"),
        ((14, 360, 30), "openh264: 14x360 is smaller than 16x16"),
        ((3842, 2160, 30), "openh264: 3842x2160 is larger than 3840x2160"),
        ((3000, 2162, 30), "openh264: 3000x2162 is larger than 3840x2160"),
        ((640, 360, 0), "openh264: 0 frames per second are not in 1 to 60"),
        ((640, 360, 61), "openh264: 61 frames per second are not in 1 to 60"),
    ];
    for ((width, height, fps), wanted) in rows {
        let format = VideoFormat { width, height, fps, bitrate_bps: 300_000 };
        let refused = BuiltinCodecs::default().video_encoder(&format).err().map(|error| error.to_string());
        assert_eq!(refused.as_deref(), Some(wanted));
    }
    let mut encoder = BuiltinCodecs::default().video_encoder(&SMALL).unwrap();
    let refused = encoder.encode(&Picture::black(640, 360).view(), false);
    assert!(matches!(refused, Err(CodecError::Failed { .. })));
    assert!(BuiltinCodecs::default().sound_encoder(3, 32_000).is_err());
    assert!(BuiltinCodecs::default().sound_decoder(0).is_err());
}

#[test]
fn parameter_sets_stay_the_same_for_the_whole_stream() {
    let mut source = TestSource::new(2, SMALL.width, SMALL.height, SMALL.fps);
    let mut encoder = BuiltinCodecs::default().video_encoder(&SMALL).unwrap();
    let mut sets = Vec::new();
    for (bitrate_bps, key) in
        [(300_000, false), (5_000_000, true), (u32::MAX, true), (0, true), (300_000, false)]
    {
        encoder.set_bitrate(bitrate_bps);
        let encoded = next(&mut source, &mut *encoder, key);
        let kinds: Vec<_> = nals(&encoded.data).map(|nal| nal.kind()).collect();
        assert_eq!(kinds, if encoded.key { vec![7, 8, 5] } else { vec![1] });
        sets.extend(
            nals(&encoded.data).filter(|nal| [7, 8].contains(&nal.kind())).map(|nal| nal.bytes.to_vec()),
        );
    }
    assert_eq!(sets.len(), 8);
    assert!(sets.chunks(2).all(|pair| pair == &sets[..2]));
    // constrained baseline: profile 66, constraint_set1_flag
    assert!(sets[0][1] == 66 && sets[0][2] & 0x40 != 0, "{:x?}", sets[0]);
}

#[test]
fn the_bit_rate_changes_without_a_key_frame() {
    let mut source = TestSource::new(2, 640, 360, 30);
    let format = VideoFormat { width: 640, height: 360, ..SMALL };
    let mut encoder = BuiltinCodecs::default().video_encoder(&format).unwrap();
    next(&mut source, &mut *encoder, false);
    let mut measure = |bitrate_bps: u32| {
        encoder.set_bitrate(bitrate_bps);
        let frames: Vec<_> = (0..45).map(|_| next(&mut source, &mut *encoder, false)).collect();
        assert!(frames.iter().all(|frame| !frame.key));
        // the rate control needs some frames to converge
        frames[15..].iter().map(|frame| frame.data.len() as f64 * 8.0).sum::<f64>()
    };
    for bitrate_bps in [400_000, 1_600_000, 400_000] {
        let measured = measure(bitrate_bps);
        let off = measured / f64::from(bitrate_bps);
        assert!((0.75..1.25).contains(&off), "{bitrate_bps} asked, {measured} made");
    }
}

#[test]
fn the_first_key_frame_is_not_taken_for_as_cheap_as_a_black_one() {
    let format = VideoFormat { width: 640, height: 360, bitrate_bps: 600_000, ..SMALL };
    let random = (0..640 * 360 * 3 / 2_u32).map(|at| 96 + (at.wrapping_mul(2_654_435_761) >> 26) as u8);
    let meadow = Picture::from_samples(640, 360, random.collect()).unwrap();
    for temporal_layers in [1, 2] {
        let mut encoder = BuiltinCodecs { temporal_layers }.video_encoder(&format).unwrap();
        let frames = (0..61).map(|number| encoder.encode(&meadow.view(), number % 60 == 0).unwrap().unwrap());
        let keys: Vec<_> = frames.filter(|frame| frame.key).map(|frame| frame.data.len()).collect();
        assert!(keys.len() == 2 && keys[0] * 2 <= keys[1] * 5, "{temporal_layers} layers: {keys:?} bytes");
    }
}

#[test]
fn plain_settings_begin_with_a_key_frame_and_keep_the_rate_and_the_stream() {
    let format = VideoFormat { width: 640, height: 360, bitrate_bps: 600_000, ..SMALL };
    let mut source = TestSource::new(2, format.width, format.height, format.fps);
    let mut encoder = BuiltinCodecs::default().video_encoder(&format).unwrap();
    let mut usual = BuiltinCodecs::default().video_encoder(&format).unwrap();
    usual.set_bitrate(400_000);
    let mut decoder = BuiltinCodecs::default().video_decoder().unwrap();
    let mut differ = 0;
    for (number, plain) in [false, true, true, false].into_iter().enumerate() {
        encoder.set_plain(plain);
        encoder.set_bitrate(400_000);
        let mut bytes = 0;
        for picture in 0..60 {
            source.next_picture().unwrap();
            let encoded = encoder.encode(&source.picture(), false).unwrap().unwrap();
            let begins = picture == 0 && number != 2; // the third part continues the stream
            assert_eq!(encoded.key, begins, "picture {picture} of part {number}");
            let decoded = decoder.decode(&encoded.data).unwrap().unwrap();
            assert!(psnr_db(&source.picture(), &decoded) > 24.0);
            let as_usual = usual.encode(&source.picture(), encoded.key).unwrap().unwrap();
            differ += u32::from(plain && as_usual.data != encoded.data);
            bytes += if picture >= 15 { encoded.data.len() } else { 0 };
        }
        let measured = bytes * 8 * 30 / 45;
        assert!((300_000..500_000).contains(&measured), "part {number}: {measured}");
    }
    assert!(differ > 100, "{differ}");
}

#[test]
fn a_new_frame_rate_shares_the_bits_out_anew_without_a_key_frame() {
    let format = VideoFormat { width: 640, height: 360, bitrate_bps: 600_000, ..SMALL };
    let mut source = TestSource::new(2, format.width, format.height, format.fps);
    let mut encoder = BuiltinCodecs::default().video_encoder(&format).unwrap();
    next(&mut source, &mut *encoder, false);
    let mut measure = |fps: u8| {
        encoder.set_frame_rate(fps);
        let frames: Vec<_> = (0..60).map(|_| next(&mut source, &mut *encoder, false)).collect();
        assert!(frames.iter().all(|frame| !frame.key));
        frames[15..].iter().map(|frame| frame.data.len()).sum::<usize>() * 8 * usize::from(fps) / 45
    };
    for fps in [30, 15, 30] {
        let measured = measure(fps);
        assert!((450_000..750_000).contains(&measured), "{measured} at {fps} a second");
    }
}

#[test]
fn after_a_lost_frame_nothing_decodes_until_a_key_frame() {
    let mut source = TestSource::new(2, SMALL.width, SMALL.height, SMALL.fps);
    let mut encoder = BuiltinCodecs::default().video_encoder(&SMALL).unwrap();
    let mut decoder = BuiltinCodecs::default().video_decoder().unwrap();
    let mut decoded = Vec::new();
    for number in 0..10 {
        let encoded = next(&mut source, &mut *encoder, number == 8);
        if number == 3 {
            continue;
        }
        decoded.push(match decoder.decode(&encoded.data) {
            Ok(Some(picture)) => psnr_db(&source.picture(), &picture) > 24.0,
            Ok(None) => false,
            Err(error) => {
                assert!(matches!(error, CodecError::Decode { .. }), "{error}");
                false
            }
        });
    }
    assert_eq!(decoded, [true, true, true, false, false, false, false, true, true]);
}

#[test]
fn a_frame_without_a_picture_is_an_error_and_harms_nothing() {
    let mut source = TestSource::new(2, SMALL.width, SMALL.height, SMALL.fps);
    let mut encoder = BuiltinCodecs::default().video_encoder(&SMALL).unwrap();
    let mut decoder = BuiltinCodecs::default().video_decoder().unwrap();
    assert!(matches!(decoder.decode(&next(&mut source, &mut *encoder, false).data), Ok(Some(_))));
    assert!(decoder.decode(&[]).is_err());
    assert!(matches!(decoder.decode(&next(&mut source, &mut *encoder, false).data), Ok(Some(_))));
    assert!(matches!(decoder.flush(), Ok(None)));
}

#[test]
fn upper_temporal_layers_can_be_left_out() {
    let mut source = TestSource::new(2, SMALL.width, SMALL.height, SMALL.fps);
    let mut encoder = BuiltinCodecs { temporal_layers: 3 }.program_encoder(&SMALL).unwrap();
    let frames: Vec<_> = (0..13).map(|_| next(&mut source, &mut *encoder, false)).collect();
    let layers: Vec<_> = frames.iter().map(|frame| frame.temporal).collect();
    assert_eq!(layers, [0, 2, 1, 2, 0, 2, 1, 2, 0, 2, 1, 2, 0]);
    for (top, count) in [(2, 13), (1, 7), (0, 4)] {
        let mut decoder = BuiltinCodecs::default().video_decoder().unwrap();
        let kept: Vec<_> = frames.iter().filter(|frame| frame.temporal <= top).collect();
        assert!(kept.iter().all(|frame| matches!(decoder.decode(&frame.data), Ok(Some(_)))));
        assert_eq!(kept.len(), count);
    }
    // a relay can recognize the top layer by nal_ref_idc 0
    let unreferenced = |data: &[u8]| nals(data).all(|nal| nal.bytes[0] & 0x60 == 0);
    assert!(frames.iter().all(|frame| unreferenced(&frame.data) == (frame.temporal == 2)));
}

#[test]
fn each_packet_with_slices_says_whether_another_picture_needs_its_own() {
    const KIND_IDENTITY: u8 = 23;
    let size = VideoFormat { width: 640, height: 360, fps: 30, bitrate_bps: 2_000_000 };
    let mut packets = [0; 2];
    for format in [SMALL, size] {
        let mut source = TestSource::new(2, format.width, format.height, format.fps);
        let mut encoder = BuiltinCodecs { temporal_layers: 2 }.program_encoder(&format).unwrap();
        for number in 1..=12 {
            let EncodedPicture { data, key, temporal, .. } = next(&mut source, &mut *encoder, false);
            let encoded =
                Encoded { kind: MediaKind::Video, captured_us: 0, data, key, temporal, level: None };
            let payloads = packetize(&encoded.identified(StreamId([1; 8]), number, 1).unwrap()).unwrap();
            let with_slices = payloads.iter().filter(|payload| payload.bytes[0] & 0x1f != KIND_IDENTITY);
            assert!(with_slices.clone().all(|payload| is_spare(&payload.bytes) == (temporal == 1)));
            packets[usize::from(temporal)] += with_slices.count();
        }
    }
    assert!(packets.iter().all(|count| *count > 12), "{packets:?}: some were cut");
    assert!(is_spare(LEFT_OUT) && !is_spare(&[]) && !is_spare(&[24, 0, 9, 1]));
}

#[test]
fn sound_is_decoded_as_loud_as_it_was() {
    for (channels, bitrate_bps) in [(1, 32_000), (2, 64_000)] {
        let mut source = TestSource::new(3, 32, 32, 30);
        let mut encoder = BuiltinCodecs::default().sound_encoder(channels, bitrate_bps).unwrap();
        let mut decoder = BuiltinCodecs::default().sound_decoder(channels).unwrap();
        let len = SOUND_FRAME_LEN * usize::from(channels);
        let (mut energy, mut decoded_energy) = (0.0, 0.0);
        for _ in 0..50 {
            let mut mono = [0.0; SOUND_FRAME_LEN];
            source.next_sound(&mut mono).unwrap();
            let samples: Vec<_> = mono.iter().flat_map(|&sample| vec![sample; channels.into()]).collect();
            let packet = encoder.encode(&samples).unwrap();
            let mut decoded = vec![0.0; len];
            decoder.decode(&packet, &mut decoded).unwrap();
            energy += samples.iter().map(|sample| sample * sample).sum::<f32>();
            decoded_energy += decoded.iter().map(|sample| sample * sample).sum::<f32>();
        }
        let off_db = 10.0 * (decoded_energy / energy).log10();
        assert!(off_db.abs() < 1.0, "{channels} channels: {off_db:.2} dB");
    }
}

#[test]
fn a_lost_packet_is_had_from_the_next_one() {
    let packets = speech_packets(20);
    let mut noise = [0.0f64; 2]; // with the next packet's redundancy, and without
    let mut signal = 0.0f64;
    for (share, help) in noise.iter_mut().zip([true, false]) {
        let mut whole = BuiltinCodecs::default().sound_decoder(1).unwrap();
        let mut lossy = BuiltinCodecs::default().sound_decoder(1).unwrap();
        for pair in packets.windows(2).step_by(2) {
            let (mut wanted, mut made) = ([0.0; SOUND_FRAME_LEN], [0.0; SOUND_FRAME_LEN]);
            whole.decode(&pair[0], &mut wanted).unwrap();
            lossy.conceal(help.then_some(&pair[1]), &mut made);
            for (wanted, made) in wanted.iter().zip(made) {
                *share += f64::from(wanted - made).powi(2);
                signal += f64::from(*wanted).powi(2) / 2.0;
            }
            whole.decode(&pair[1], &mut wanted).unwrap();
            lossy.decode(&pair[1], &mut made).unwrap();
        }
    }
    let db = |noise: f64| 10.0 * (signal / noise).log10();
    assert!(db(noise[0]) > db(noise[1]) + 3.0, "{:.1} and {:.1} dB", db(noise[0]), db(noise[1]));
}

#[test]
fn a_mark_does_not_change_the_sound() {
    let identity = FrameIdentity::single(StreamId([9; 8]), 1, 7);
    let mut plain = BuiltinCodecs::default().sound_decoder(1).unwrap();
    let mut marked = BuiltinCodecs::default().sound_decoder(1).unwrap();
    for packet in speech_packets(0) {
        let mut samples = [[0.0; SOUND_FRAME_LEN]; 2];
        plain.decode(&packet, &mut samples[0]).unwrap();
        marked.decode(&opus::mark(&packet, &identity).unwrap(), &mut samples[1]).unwrap();
        assert_eq!(samples[0], samples[1]);
    }
}

#[test]
fn packets_that_are_no_sound_are_silent_errors() {
    let mut decoder = BuiltinCodecs::default().sound_decoder(1).unwrap();
    // an empty packet; a frame count of 0; 10 ms instead of 20
    for packet in [&[][..], &[0xff, 0x00], &[0xf0, 1, 2, 3]] {
        let mut samples = [1.0; SOUND_FRAME_LEN];
        assert!(matches!(decoder.decode(packet, &mut samples), Err(CodecError::Decode { .. })), "{packet:?}");
        assert!(samples.iter().all(|sample| *sample == 0.0));
    }
}

#[test]
fn the_bench_ends_with_its_budget() {
    let measured = codec_bench(&BuiltinCodecs::default(), Duration::from_millis(50)).unwrap();
    assert!(measured.encode_us > measured.decode_us && measured.decode_us > 1, "{measured:?}");
    let endless = codec_bench(&FakeCodecs::default(), Duration::MAX).unwrap();
    assert!(
        endless.encode_us >= 1 && Duration::from_micros(endless.encode_us.into()) < CODEC_BENCH_BUDGET_MAX
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn damaged_frames_are_errors_or_pictures(damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8), cut in any::<prop::sample::Index>()) {
        let mut source = TestSource::new(2, 64, 64, 30);
        let format = VideoFormat { width: 64, height: 64, ..SMALL };
        let mut encoder = BuiltinCodecs::default().video_encoder(&format).unwrap();
        let mut decoder = BuiltinCodecs::default().video_decoder().unwrap();
        for _ in 0..3 {
            let mut data = next(&mut source, &mut *encoder, false).data.to_vec();
            for (at, byte) in &damage {
                let at = at.index(data.len());
                data[at] = *byte;
            }
            data.truncate(cut.index(data.len()) + 1);
            if let Ok(Some(picture)) = decoder.decode(&data) {
                prop_assert!(picture.width <= 4096 && picture.planes[0].samples.len() >= picture.width);
            }
        }
    }

    #[test]
    fn any_bytes_are_sound_or_an_error(packet in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut decoder = BuiltinCodecs::default().sound_decoder(2).unwrap();
        let mut samples = [0.0; 2 * SOUND_FRAME_LEN];
        let _ = decoder.decode(&packet, &mut samples);
        decoder.conceal(Some(&packet), &mut samples);
        prop_assert!(samples.iter().all(|sample| sample.is_finite()));
    }
}

fn next(
    source: &mut TestSource,
    encoder: &mut dyn VideoEncoder,
    key: bool,
) -> plenary_media::codec::EncodedPicture {
    source.next_picture().unwrap();
    encoder.encode(&source.picture(), key).unwrap().unwrap()
}

/// Encodes four seconds of speech for this packet loss.
fn speech_packets(loss_percent: u8) -> Vec<bytes::Bytes> {
    let codecs: std::sync::Arc<dyn Codecs> = std::sync::Arc::new(BuiltinCodecs::default());
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/media/speech-2.wav");
    let mut speech = open_source(path.as_ref(), &codecs).unwrap();
    let mut encoder = codecs.sound_encoder(1, 32_000).unwrap();
    encoder.set_loss(loss_percent);
    let mut samples = [0.0; SOUND_FRAME_LEN];
    let packet = |_| {
        speech.next_sound(&mut samples).unwrap();
        encoder.encode(&samples).unwrap()
    };
    (0..200).map(packet).collect()
}
