//! Accepted media is passed on unchanged; invalid media is rejected with a precise error and leaves no state
//! behind.

use proptest::prelude::*;

use super::*;
use crate::{Picture, PlaneView, SOUND_FRAME_LEN};

const NOW_US: u64 = 1_790_000_000_000_000;

/// A value that differs by sample and plane, and never equals the padding.
fn sample(plane: usize, x: usize, y: usize) -> u8 {
    ((plane * 80 + x * 3 + y * 7) % 251) as u8
}

const PADDING: u8 = 255;

/// A plane with the bytes `pixel(x, y)`; the last row ends with its last pixel.
fn plane<const BYTES: usize>(
    (width, height): (usize, usize),
    stride: usize,
    pixel: impl Fn(usize, usize) -> [u8; BYTES],
) -> Vec<u8> {
    let mut samples = vec![PADDING; stride * (height - 1) + width * BYTES];
    for (y, row) in samples.chunks_mut(stride).enumerate() {
        for (x, bytes) in row[..width * BYTES].chunks_exact_mut(BYTES).enumerate() {
            bytes.copy_from_slice(&pixel(x, y));
        }
    }
    samples
}

fn copied(picture: &RawPicture<'_>) -> Picture {
    let mut copy = Picture::black(64, 2); // the old content doesn't matter
    picture.copy_to(&mut copy);
    copy
}

#[test]
fn i420_and_nv12_of_any_size_and_stride_give_the_same_picture() {
    for (width, height, padding) in
        [(16usize, 16usize, 0), (17, 16, 3), (16, 19, 1), (33, 21, 32), (160, 90, 0)]
    {
        let half = (width.div_ceil(2), height.div_ceil(2));
        let luma = plane((width, height), width + padding, |x, y| [sample(0, x, y)]);
        let [cb, cr] = [1, 2].map(|at| plane(half, half.0 + padding, |x, y| [sample(at, x, y)]));
        let both = plane(half, 2 * half.0 + padding, |x, y| [sample(1, x, y), sample(2, x, y)]);
        let view = |samples, stride| PlaneView { samples, stride };
        let luma = view(&luma, width + padding);
        let (cb, cr) = (view(&cb, half.0 + padding), view(&cr, half.0 + padding));
        let i420 = RawPicture::I420 { width, height, planes: [luma, cb, cr] };
        let chroma = view(&both, 2 * half.0 + padding);
        let nv12 = RawPicture::Nv12 { width, height, luma, chroma };
        assert_eq!((i420.check(), nv12.check()), (Ok(()), Ok(())), "{width}x{height}");

        let (even_width, even_height) = (width & !1, height & !1);
        let expected = [(0, 1), (1, 2), (2, 2)].map(|(at, shrink)| {
            plane((even_width / shrink, even_height / shrink), even_width / shrink, |x, y| [sample(at, x, y)])
        });
        let expected = Picture::from_samples(even_width, even_height, expected.concat()).unwrap();
        assert_eq!(copied(&i420), expected);
        assert_eq!(copied(&nv12), expected);
    }
}

#[test]
fn what_is_wrong_with_a_picture_is_said() {
    let bytes = vec![0; 64 * 64];
    let view = |len, stride| PlaneView { samples: &bytes[..len], stride };
    let i420 = |width, height, planes| RawPicture::I420 { width, height, planes };
    let whole = [view(64 * 64, 64), view(32 * 32, 32), view(32 * 32, 32)];
    assert_eq!(i420(64, 64, whole).check(), Ok(()));
    let rows = [
        (i420(15, 64, whole), "a picture of 15x64: 16x16 to 3840x2160, or upright, are taken"),
        (i420(64, 2161, whole), "luma: 4096 bytes instead of 138304"), // upright pictures may be high
        (i420(2161, 2161, whole), "a picture of 2161x2161: 16x16 to 3840x2160, or upright, are taken"),
        (
            i420(64, usize::MAX, whole),
            "a picture of 64x18446744073709551615: 16x16 to 3840x2160, or upright, are taken",
        ),
        (
            i420(64, 64, [view(4096, 63), whole[1], whole[2]]),
            "luma: a stride of 63 is shorter than a row of 64 bytes",
        ),
        (i420(64, 64, [whole[0], view(1023, 32), whole[2]]), "Cb: 1023 bytes instead of 1024"),
        (
            i420(64, 64, [whole[0], whole[1], view(1024, usize::MAX)]),
            "Cr: 1024 bytes instead of 18446744073709551615",
        ),
        (
            i420(63, 63, [whole[0], view(31 * 31, 31), whole[2]]),
            "Cb: a stride of 31 is shorter than a row of 32 bytes",
        ),
        (
            RawPicture::Nv12 { width: 64, height: 64, luma: whole[0], chroma: view(2048, 62) },
            "chroma: a stride of 62 is shorter than a row of 64 bytes",
        ),
        (
            RawPicture::Nv12 { width: 64, height: 64, luma: whole[0], chroma: view(2047, 64) },
            "chroma: 2047 bytes instead of 2048",
        ),
    ];
    for (picture, said) in rows {
        assert_eq!(picture.check().unwrap_err().to_string(), said);
    }
}

#[cfg(feature = "codecs")]
const RATES_TAKEN: &[u32] = &[8_000, 16_000, 44_100, 48_000, 96_000];
#[cfg(not(feature = "codecs"))]
const RATES_TAKEN: &[u32] = &[48_000];

proptest! {
    #[test]
    fn a_picture_is_refused_if_a_sample_is_missing_and_else_copied_whole(
        nv12: bool,
        (width, height) in (14usize..24, 14usize..24),
        strides in [0usize..40, 0usize..40, 0usize..40],
        lens in [0usize..900, 0usize..500, 0usize..500],
    ) {
        let bytes: Vec<u8> = (0..900).map(|at| (at % 251) as u8).collect();
        let planes: [PlaneView<'_>; 3] =
            std::array::from_fn(|at| PlaneView { samples: &bytes[..lens[at]], stride: strides[at] });
        // bytes per row, and rows, of each plane
        let half = (width.div_ceil(2), height.div_ceil(2));
        let (picture, calls_for) = if nv12 {
            let [luma, chroma, _] = planes;
            (RawPicture::Nv12 { width, height, luma, chroma }, vec![(width, height), (2 * half.0, half.1)])
        } else {
            (RawPicture::I420 { width, height, planes }, vec![(width, height), half, half])
        };
        let whole = calls_for.iter().zip(&planes).all(|(&(row, rows), plane)| {
            row <= plane.stride && (0..rows).all(|y| y * plane.stride + row <= plane.samples.len())
        });
        prop_assert_eq!(picture.check().is_ok(), whole && width >= 16 && height >= 16);
        if picture.check().is_ok() {
            let copy = copied(&picture);
            prop_assert_eq!((copy.width(), copy.height()), (width & !1, height & !1));
            let view = copy.view();
            let at = |plane: usize, x: usize, y: usize| planes[plane].samples[y * strides[plane] + x];
            for (x, y) in (0..height / 2).flat_map(|y| (0..width / 2).map(move |x| (x, y))) {
                let got = view.planes.map(|plane| plane.samples[y * plane.stride + x]);
                let [cb, cr] =
                    if nv12 { [at(1, 2 * x, y), at(1, 2 * x + 1, y)] } else { [at(1, x, y), at(2, x, y)] };
                prop_assert_eq!(got, [at(0, x, y), cb, cr]);
            }
        }
    }

    #[test]
    fn sound_is_refused_exactly_when_wrong_and_frames_are_whole_and_in_order(
        stereo: bool,
        sixteen: bool,
        rate in prop::sample::select(RATES_TAKEN),
        // number of values; deviation from the due time in ms; index of a sample that is NaN
        chunks in prop::collection::vec((0usize..9_000, -300i64..300, prop::option::weighted(0.1, 0usize..9_000)), 1..12),
    ) {
        let channels = if stereo { 2 } else { 1 };
        let format = RawFormat { fps: 30, channels: channels as u8, sample_rate: rate };
        let mut cutter = Cutter::new(&format).unwrap();
        let mut frames: Vec<(Vec<f32>, u64)> = Vec::new();
        let (mut turn_us, mut before_us, mut end_us) = (NOW_US, None, None::<u64>);
        for (len, late_ms, broken) in chunks {
            let captured_us = turn_us.saturating_add_signed(late_ms * 1_000);
            let mut floats = vec![0.25; len];
            if let Some(sample) = broken.and_then(|at| floats.get_mut(at)) {
                *sample = f32::NAN;
            }
            let broken = !sixteen && floats.iter().any(|sample| sample.is_nan());
            let integers = vec![8_192; len];
            let sound = if sixteen { RawSound::I16(&integers) } else { RawSound::F32(&floats) };
            let right = len > 0
                && len.is_multiple_of(channels)
                && !broken
                && before_us.is_none_or(|before| captured_us > before);
            let pushed = cutter.push(sound, captured_us, NOW_US, |samples, at| frames.push((samples, at)));
            // the overlap tolerated depends on earlier slewing: at most half of 20 ms
            match end_us.map(|end| captured_us.wrapping_sub(end).cast_signed()) {
                Some(-40_000..=-10_000) if right => {}
                off => prop_assert_eq!(pushed.is_ok(), right && off.is_none_or(|off| off > -20_000), "{:?}", pushed),
            }
            if pushed.is_ok() {
                let len_us = (len / channels) as u64 * 1_000_000 / u64::from(rate);
                before_us = Some(captured_us);
                turn_us = captured_us + len_us;
                let gap = end_us.is_none_or(|end| captured_us > end + 20_000);
                end_us = Some(if gap { turn_us } else { end_us.unwrap_or(0) + len_us });
            }
        }
        for (samples, _) in &frames {
            prop_assert_eq!(samples.len(), SOUND_FRAME_LEN * channels);
        }
        for pair in frames.windows(2) {
            prop_assert!(pair[1].1 > pair[0].1, "{} after {}", pair[1].1, pair[0].1);
        }
    }
}

const MONO: RawFormat = RawFormat { fps: 30, channels: 1, sample_rate: 48_000 };

/// Pushes one chunk and returns the resulting frames.
fn push(cutter: &mut Cutter, samples: &[f32], captured_us: u64) -> Result<Vec<(Vec<f32>, u64)>, RawError> {
    let mut frames = Vec::new();
    cutter
        .push(RawSound::F32(samples), captured_us, captured_us, |samples, at| frames.push((samples, at)))?;
    Ok(frames)
}

#[test]
fn sound_in_chunks_of_any_length_comes_out_as_it_was() {
    for chunk in [1, 441, 480, 960, 1024, 9_999] {
        let mut cutter = Cutter::new(&MONO).unwrap();
        let samples: Vec<f32> = (0..96_000).map(|at| at as f32 / 96_000.0).collect();
        let mut frames = Vec::new();
        for (number, part) in samples.chunks(chunk).enumerate() {
            let captured_us = NOW_US + (number * chunk) as u64 * 1_000_000 / 48_000;
            frames.extend(push(&mut cutter, part, captured_us).unwrap());
        }
        assert_eq!(frames.len(), 100);
        for (number, (_, captured_us)) in frames.iter().enumerate() {
            let off_us = captured_us.abs_diff(NOW_US + number as u64 * 20_000);
            assert!(off_us <= 1, "frame {number} is {off_us} µs off");
        }
        assert!(frames.into_iter().flat_map(|(samples, _)| samples).eq(samples));
    }
}

#[test]
fn after_a_gap_the_rest_is_filled_up_and_sound_goes_on_at_its_own_time() {
    let mut cutter = Cutter::new(&MONO).unwrap();
    assert_eq!(push(&mut cutter, &[0.5; 480], NOW_US).unwrap(), []);
    // 10 ms of sound, then a gap of 25 ms
    let frames = push(&mut cutter, &[0.25; 960], NOW_US + 35_000).unwrap();
    let filled = [vec![0.5; 480], vec![0.0; 480]].concat();
    assert_eq!(frames, [(filled, NOW_US), (vec![0.25; 960], NOW_US + 35_000)]);
    // a gap of 15 ms is jitter: no sample is inserted
    assert_eq!(push(&mut cutter, &[0.1; 500], NOW_US + 70_000).unwrap(), []);
    let frames = push(&mut cutter, &[0.2; 460], NOW_US + 70_500).unwrap();
    assert_eq!(frames[0].0, [vec![0.1; 500], vec![0.2; 460]].concat());
    assert!(frames[0].1.abs_diff(NOW_US + 55_000) < 1_000, "{}", frames[0].1 - NOW_US);
}

#[test]
fn a_sound_card_that_runs_quick_or_slow_stays_with_the_clock() {
    for ppm in [-300i64, 300] {
        let mut cutter = Cutter::new(&MONO).unwrap();
        let mut worst_us = 0;
        for chunk in 0..30_000u64 {
            // ten minutes; each chunk reports its start by the clock, with ±3 ms of jitter
            let true_us =
                NOW_US + (chunk * 20_000).saturating_add_signed((chunk * 20_000) as i64 * ppm / 1_000_000);
            let jitter_us = chunk * 7_919 % 6_000;
            for (_, captured_us) in push(&mut cutter, &[0.1; 960], true_us + jitter_us).unwrap() {
                worst_us = worst_us.max(captured_us.abs_diff(true_us + 3_000));
            }
        }
        assert!(worst_us < 4_000, "{ppm} ppm: {worst_us} µs off"); // the first frame takes its chunk's jitter
    }
}

#[test]
fn what_is_wrong_with_sound_is_said_and_leaves_no_trace() {
    let mut cutter = Cutter::new(&RawFormat { channels: 2, ..MONO }).unwrap();
    assert_eq!(push(&mut cutter, &[0.5; 960], NOW_US).unwrap(), []);
    let long = vec![0.0; 2 * 48_000 * 11];
    let rows: [(&[f32], u64, u64, &str); 8] = [
        (&[], 10_000, 0, "0 values of sound are not one or more for each of 2 channels"),
        (&[0.0; 961], 10_000, 0, "961 values of sound are not one or more for each of 2 channels"),
        (&[0.0, f32::NAN], 10_000, 0, "sound: value 1 is NaN"),
        (&[0.0, 0.0, f32::NEG_INFINITY, 0.0], 10_000, 0, "sound: value 2 is -inf"),
        (
            &[0.0; 2],
            0,
            0,
            "sound captured at 1790000000000000 µs, after one of 1790000000000000 µs: capture times must rise",
        ),
        (
            &[0.0; 2],
            10_010_001,
            10_000,
            "sound of 1790000010010001 µs: more than 10 s from 1790000000010000 µs, which it is by the room's clock",
        ),
        (
            &[0.0; 2],
            10_000,
            10_010_001,
            "sound of 1790000000010000 µs: more than 10 s from 1790000010010001 µs, which it is by the room's clock",
        ),
        (
            &long,
            10_000,
            10_000,
            "sound of 1790000011010000 µs: more than 10 s from 1790000000010000 µs, which it is by the room's clock",
        ),
    ];
    for (samples, captured_us, now_us, said) in rows {
        let (captured_us, now_us) = (NOW_US + captured_us, NOW_US + now_us);
        let refused = cutter.push(RawSound::F32(samples), captured_us, now_us, |_, _| panic!("{said}"));
        assert_eq!(refused.unwrap_err().to_string(), said);
        assert!(cutter.pass(RawSound::F32(samples), captured_us, now_us).is_err(), "{said}");
    }
    let frames = push(&mut cutter, &[0.25; 960], NOW_US + 10_000).unwrap();
    assert_eq!(frames, [([vec![0.5; 960], vec![0.25; 960]].concat(), NOW_US)]);

    // 21 ms of the previous sound would be heard twice
    push(&mut cutter, &[0.0; 2 * 4_800], NOW_US + 20_000).unwrap();
    let refused = push(&mut cutter, &[0.0; 2], NOW_US + 99_000);
    assert_eq!(refused, Err(RawError::Overlap { by_us: 21_000 }));
}

#[test]
fn sound_that_nobody_wanted_is_not_heard_later() {
    let mut cutter = Cutter::new(&MONO).unwrap();
    assert_eq!(push(&mut cutter, &[0.5; 480], NOW_US).unwrap(), []);
    cutter.pass(RawSound::F32(&[0.5; 480]), NOW_US + 10_000, NOW_US).unwrap();
    let frames = push(&mut cutter, &[0.25; 960], NOW_US + 20_000).unwrap();
    assert_eq!(frames, [(vec![0.25; 960], NOW_US + 20_000)]);
}

#[test]
fn formats_that_nobody_encodes_are_refused() {
    let rows = [
        (RawFormat { fps: 0, ..MONO }, "0 pictures per second are not in 1 to 60"),
        (RawFormat { fps: 61, ..MONO }, "61 pictures per second are not in 1 to 60"),
        (RawFormat { channels: 0, ..MONO }, "0 channels are not 1 or 2"),
        (RawFormat { channels: 3, ..MONO }, "3 channels are not 1 or 2"),
        (RawFormat { sample_rate: 0, ..MONO }, "sound at 0 Hz is not taken; 48000 Hz is"),
        (RawFormat { sample_rate: 44_101, ..MONO }, "sound at 44101 Hz is not taken; 48000 Hz is"),
        (RawFormat { sample_rate: 192_000, ..MONO }, "sound at 192000 Hz is not taken; 48000 Hz is"),
    ];
    for (format, said) in rows {
        assert_eq!(Cutter::new(&format).err().map(|error| error.to_string()).as_deref(), Some(said));
    }
}

#[cfg(feature = "codecs")]
#[test]
fn sound_of_another_rate_keeps_its_pitch_its_length_and_its_time() {
    for rate in [8_000u32, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100, 88_200, 96_000] {
        let mut cutter = Cutter::new(&RawFormat { sample_rate: rate, ..MONO }).unwrap();
        // a second of 440 Hz from 0.5 s on, in chunks of about 10 ms; then a gap, which flushes the rest
        let tone = |at: u32| {
            let phase = 440.0 * f64::from(at) / f64::from(rate) * std::f64::consts::TAU;
            if at < rate / 2 { 0.0 } else { (0.5 * phase.sin()) as f32 }
        };
        let samples: Vec<f32> = (0..rate * 3 / 2).map(tone).collect();
        let chunk = rate as usize / 100;
        let mut frames = Vec::new();
        for (number, part) in samples.chunks(chunk).enumerate() {
            let captured_us = NOW_US + (number * chunk) as u64 * 1_000_000 / u64::from(rate);
            frames.extend(push(&mut cutter, part, captured_us).unwrap());
        }
        frames.extend(push(&mut cutter, &[0.0], NOW_US + 2_000_000).unwrap());
        assert_eq!(frames.len(), 75, "{rate} Hz");
        for (number, (_, captured_us)) in frames.iter().enumerate() {
            assert!(captured_us.abs_diff(NOW_US + number as u64 * 20_000) < 500, "{rate} Hz, frame {number}");
        }
        let heard: Vec<f32> = frames.into_iter().flat_map(|(samples, _)| samples).collect();
        // compared sample by sample while the tone is steady, which checks pitch, loudness and timing at once
        let worst = (26_000u32..70_000).map(|at| {
            let phase = 440.0 * f64::from(at) / 48_000.0 * std::f64::consts::TAU;
            (f64::from(heard[at as usize]) - 0.5 * phase.sin()).abs()
        });
        let worst = worst.fold(0.0, f64::max);
        // the filter's centre may lie between two samples of the input
        let half_a_sample = 0.5 * 440.0 * std::f64::consts::TAU * 0.5 / f64::from(rate);
        assert!(worst < 0.01 + half_a_sample, "{rate} Hz: {worst} off");
        assert!(heard[..23_000].iter().all(|sample| sample.abs() < 0.01), "{rate} Hz: before its time");
    }
}

#[cfg(feature = "codecs")]
#[test]
fn nothing_of_what_was_left_out_lingers_in_the_resampler() {
    let mut cutter = Cutter::new(&RawFormat { sample_rate: 44_100, ..MONO }).unwrap();
    push(&mut cutter, &[0.9; 1_323], NOW_US).unwrap();
    cutter.pass(RawSound::F32(&[0.9; 441]), NOW_US + 30_000, NOW_US).unwrap();
    let frames = push(&mut cutter, &[0.0; 4_410], NOW_US + 40_000).unwrap();
    assert_eq!(frames[0].1, NOW_US + 40_000);
    assert!(frames.iter().flat_map(|(samples, _)| samples).all(|sample| *sample == 0.0));
}
