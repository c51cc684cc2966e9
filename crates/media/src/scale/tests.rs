//! Tests of fitting, copying, halving and scaling; and of equality between the portable and AVX2 rows.

use proptest::prelude::*;

use super::*;

#[test]
fn a_fit_keeps_the_shape_in_the_middle() {
    let tile = Rect { x: 100, y: 200, width: 426, height: 240 };
    let rows = [
        ((640, 360), (100, 200, 426, 240)),
        ((1280, 720), (100, 200, 426, 240)),
        ((360, 640), (244, 200, 136, 240)), // portrait
        ((400, 400), (192, 200, 240, 240)),
        ((4000, 2), (100, 318, 426, 2)),
        ((2, 4000), (312, 200, 2, 240)),
        ((0, 0), (192, 200, 240, 240)),
        ((usize::MAX, 1), (100, 318, 426, 2)),
    ];
    for ((width, height), (x, y, fit_width, fit_height)) in rows {
        let expected = Rect { x, y, width: fit_width, height: fit_height };
        assert_eq!(tile.fit(width, height), expected, "{width}x{height}");
    }
}

#[test]
fn a_copy_is_exact_and_touches_nothing_else() {
    let source = ramp(64, 36);
    let mut canvas = Picture::black(128, 72);
    let rect = Rect { x: 20, y: 10, width: 64, height: 36 };
    Scaler::new().draw(&source.view(), &mut canvas, rect);
    for (plane, half) in [1, 2, 2].into_iter().enumerate() {
        for y in 0..72_usize / half {
            for x in 0..128_usize / half {
                let (in_x, in_y) = (x.wrapping_sub(20 / half), y.wrapping_sub(10 / half));
                let inside = in_x < 64 / half && in_y < 36 / half;
                let black = if plane == 0 { 16 } else { 128 };
                let expected = if inside { sample(&source, plane, in_x, in_y) } else { black };
                assert_eq!(sample(&canvas, plane, x, y), expected, "plane {plane} at {x}, {y}");
            }
        }
    }
}

#[test]
fn a_half_is_the_mean_of_four() {
    let source = ramp(64, 36);
    let mut canvas = Picture::black(32, 18);
    Scaler::new().draw(&source.view(), &mut canvas, Rect { x: 0, y: 0, width: 32, height: 18 });
    for y in 0..18 {
        for x in 0..32 {
            let four = [(0, 0), (1, 0), (0, 1), (1, 1)];
            let sum: u16 =
                four.iter().map(|(i, j)| u16::from(sample(&source, 0, 2 * x + i, 2 * y + j))).sum();
            assert_eq!(u16::from(sample(&canvas, 0, x, y)), (sum + 2) / 4);
        }
    }
}

#[test]
fn the_right_place_of_the_source_is_drawn_at_every_ratio() {
    // A linear ramp stays linear, except at the edges and for the kernel's ripple.
    let source = ramp(640, 360);
    for (width, height) in [(1280, 720), (960, 540), (426, 240), (320, 180), (212, 120), (80, 44), (640, 100)]
    {
        let mut canvas = Picture::black(width, height);
        Scaler::new().draw(&source.view(), &mut canvas, Rect { x: 0, y: 0, width, height });
        for y in 0..height {
            for x in 0..width {
                let at = |at: usize, size: usize, target: usize| {
                    ((at as f64 + 0.5) * size as f64 / target as f64 - 0.5).clamp(0.0, size as f64 - 1.0)
                };
                let expected = at(x, 640, width) * 0.25 + at(y, 360, height) * 0.2;
                let error = f64::from(sample(&canvas, 0, x, y)) - expected;
                // Halving drops an odd last column or row: 80 x 44 is drawn from 45 rows, an eighth.
                assert!(error.abs() < 1.8, "{error} at {x}, {y} of {width}x{height}");
            }
        }
    }
}

#[test]
fn what_can_not_be_drawn_is_left_out() {
    let source = ramp(64, 36);
    let mut cut = source.view();
    cut.planes[1].samples = &cut.planes[1].samples[1..];
    let mut narrow = source.view();
    narrow.planes[0].stride = 10;
    let whole = Rect { x: 0, y: 0, width: 64, height: 36 };
    let rows = [
        (cut, whole),
        (narrow, whole),
        (PictureView { width: 0, ..source.view() }, whole),
        (source.view(), Rect { x: 2, ..whole }),
        (source.view(), Rect { width: 63, ..whole }),
        (source.view(), Rect { width: 0, ..whole }),
    ];
    for (view, rect) in rows {
        let mut canvas = Picture::black(64, 36);
        Scaler::new().draw(&view, &mut canvas, rect);
        assert_eq!(canvas, Picture::black(64, 36), "{rect:?}");
    }
}

proptest! {
    #[test]
    fn any_size_into_any_rectangle(
        (width, height, pad) in (1_usize..90, 1_usize..90, 0_usize..9),
        (x, y, to_width, to_height) in (0_usize..20, 0_usize..20, 1_usize..60, 1_usize..60),
    ) {
        let (width, height) = (2 * width, 2 * height);
        let rect = Rect { x: 2 * x, y: 2 * y, width: 2 * to_width, height: 2 * to_height };
        let planes = [(width, height, 200_u8), (width / 2, height / 2, 50), (width / 2, height / 2, 90)];
        let samples = planes.map(|(width, height, value)| {
            let mut plane = vec![0; (width + pad) * (height - 1)];
            plane.resize((width + pad) * (height - 1) + width, 0);
            for row in plane.chunks_mut(width + pad) {
                row[..width].fill(value);
            }
            plane
        });
        let view = |index: usize| PlaneView { samples: &samples[index], stride: planes[index].0 + pad };
        let mut canvas = Picture::black(160, 160);
        let mut scaler = Scaler::new();
        for _ in 0..2 {
            scaler.draw(&PictureView { width, height, planes: [view(0), view(1), view(2)] }, &mut canvas, rect);
        }
        for (plane, (_, _, value)) in planes.into_iter().enumerate() {
            let half = if plane == 0 { 1 } else { 2 };
            for y in 0..160 / half {
                for x in 0..160 / half {
                    let inside = (rect.x / half..(rect.x + rect.width) / half).contains(&x)
                        && (rect.y / half..(rect.y + rect.height) / half).contains(&y);
                    let expected = if inside { value } else { [16, 128, 128][plane] };
                    prop_assert_eq!(sample(&canvas, plane, x, y), expected);
                }
            }
        }
    }
}

/// Returns a picture with luma x/4 + y/5 and a different chroma.
fn ramp(width: usize, height: usize) -> Picture {
    let luma =
        (0..height).flat_map(|y| (0..width).map(move |x| (x as f64 * 0.25 + y as f64 * 0.2).round() as u8));
    let chroma = (0..width * height / 2).map(|at| at as u8);
    Picture::from_samples(width, height, luma.chain(chroma).collect()).unwrap()
}

fn sample(picture: &Picture, plane: usize, x: usize, y: usize) -> u8 {
    let plane = picture.view().planes[plane];
    plane.samples[y * plane.stride + x]
}

#[cfg(target_arch = "x86_64")]
mod by_instructions {
    use super::super::avx2;
    use super::super::plain::{self, WINDOW};
    use super::super::rows::{Plan, Taps};
    use super::*;

    proptest! {
        #[test]
        fn avx2_gives_the_samples_of_plain_code(
            one in prop::collection::vec(any::<u8>(), 2..700),
            seed in any::<u8>(),
            drawn in any::<usize>(),
            target in 1_usize..1500,
        ) {
            if !avx2::is_there() {
                return Ok(());
            }
            let other: Vec<u8> = one.iter().map(|sample| sample.rotate_left(3) ^ seed).collect();
            let both = |len: usize| (vec![7_u8; len], vec![7_u8; len]);

            let (mut by_plain, mut by_avx2) = both(one.len() / 2);
            plain::halve(&one, &other, &mut by_plain);
            // SAFETY: the processor has AVX2.
            unsafe { avx2::halve(&one, &other, &mut by_avx2) };
            prop_assert_eq!(&by_plain, &by_avx2);

            let (mut by_plain, mut by_avx2) = both(one.len() + 3);
            let (third, fourth): (Vec<u8>, Vec<u8>) = one.iter().rev().map(|&at| (at, at ^ seed)).unzip();
            let rows = [&*one, &other, &third, &fourth];
            let Taps { weights, .. } = Taps::of_side(one.len(), target).nth(drawn % target).unwrap();
            plain::blend(rows, weights, &mut by_plain);
            // SAFETY: the processor has AVX2.
            unsafe { avx2::blend(rows, weights, &mut by_avx2) };
            prop_assert_eq!(&by_plain, &by_avx2);

            // larger reductions are halved first
            if one.len() >= WINDOW && 12 * target > 7 * one.len() {
                let mut plan = Plan::default();
                plan.prepare(one.len(), target);
                let (mut by_plain, mut by_avx2) = both(target);
                plain::stretch(plan.blocks(), &one, &mut by_plain);
                // SAFETY: the processor has AVX2.
                unsafe { avx2::stretch(plan.blocks(), &one, &mut by_avx2) };
                prop_assert_eq!(&by_plain, &by_avx2);
            }
        }
    }
}
