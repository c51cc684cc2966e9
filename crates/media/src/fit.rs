//! Makes pictures smaller, to the size that was asked for.
//!
//! Each sample of the result is the mean of the area it came from. This is for one picture per frame at a
//! speaker; nothing is ever enlarged, because who shows the picture can do that as well.

use crate::{Picture, PictureView, PlaneView};

/// The shares of an area add up to this, in either direction.
const WHOLE: u32 = 1 << SHARE_BITS;
const SHARE_BITS: u32 = 12;
/// Two shares of 12 bits and a sample of 8 fill 32 bits: none to spare for rounding.
const SPARE_BITS: u32 = 4;
const SUM_BITS: u32 = 2 * SHARE_BITS - SPARE_BITS;
/// Smallest side that encoders take.
const SIDE_MIN: usize = 16;

/// The largest even size of the same shape that fits into `bounds`, and is no larger than `size`. No side gets
/// shorter than 16 pixels; a very long picture is squeezed then.
pub(crate) fn fitted(size: (usize, usize), bounds: (usize, usize)) -> (usize, usize) {
    let (width, height) = (size.0.max(1), size.1.max(1));
    let even = |side: usize| (side & !1).max(SIDE_MIN);
    if width <= bounds.0 && height <= bounds.1 {
        return (even(width), even(height));
    }
    // to the nearest even number, and not past the bounds
    let scaled = |side: usize, to: usize, of: usize, bound: usize| even(((side * to) / of + 1).min(bound));
    match width * bounds.1 > height * bounds.0 {
        true => (even(bounds.0), scaled(height, bounds.0, width, bounds.1)),
        false => (scaled(width, bounds.1, height, bounds.0), even(bounds.1)),
    }
}

/// Draws `from` into all of `to`.
pub(crate) fn shrink(from: &PictureView<'_>, to: &mut Picture) {
    let (width, height) = (to.width(), to.height());
    for ((plane, from_plane), shrink) in to.planes_mut().into_iter().zip(from.planes).zip([1, 2, 2]) {
        let columns = areas(from.width / shrink, width / shrink);
        let rows = areas(from.height / shrink, height / shrink);
        shrink_plane(&from_plane, &columns, &rows, plane);
    }
}

/// The samples that one sample of the result is made of: where they begin, and the share of each.
type Area = (usize, Vec<u32>);

fn areas(from: usize, to: usize) -> Vec<Area> {
    (0..to)
        .map(|at| {
            // in units of 1/to of a sample of the original
            let (begin, end) = (at * from, (at + 1) * from);
            let (first, last) = (begin / to, (end - 1) / to);
            let covered = |index: usize| ((index + 1) * to).min(end) - (index * to).max(begin);
            let mut shares: Vec<_> =
                (first..=last).map(|index| (covered(index) * WHOLE as usize / from) as u32).collect();
            let rest = WHOLE - shares.iter().sum::<u32>();
            shares[0] += rest;
            (first, shares)
        })
        .collect()
}

fn shrink_plane(from: &PlaneView<'_>, columns: &[Area], rows: &[Area], to: &mut [u8]) {
    let from_width = columns.last().map_or(0, |(begin, shares)| begin + shares.len());
    let mut sums = vec![0u32; from_width];
    for ((top, shares), line) in rows.iter().zip(to.chunks_exact_mut(columns.len())) {
        sums.fill(0);
        for (y, share) in (*top..).zip(shares) {
            let samples = &from.samples[y * from.stride..][..from_width];
            for (sum, sample) in sums.iter_mut().zip(samples) {
                *sum += u32::from(*sample) * share;
            }
        }
        for (sample, (left, shares)) in line.iter_mut().zip(columns) {
            let sum: u32 =
                sums[*left..].iter().zip(shares).map(|(sum, share)| (sum >> SPARE_BITS) * share).sum();
            *sample = ((sum + (1 << (SUM_BITS - 1))) >> SUM_BITS) as u8;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_keeps_its_shape_and_is_never_enlarged() {
        // (size, bounds, fitted)
        let rows = [
            ((1280, 720), (640, 360), (640, 360)),
            ((640, 360), (640, 360), (640, 360)),
            ((320, 180), (640, 360), (320, 180)),
            ((720, 1280), (640, 360), (202, 360)),
            ((1920, 800), (640, 360), (640, 266)),
            ((641, 361), (640, 360), (640, 360)),
            ((1000, 20), (500, 500), (500, 16)),
            ((1, 1), (640, 360), (16, 16)),
        ];
        for (size, bounds, wanted) in rows {
            assert_eq!(fitted(size, bounds), wanted, "{size:?} into {bounds:?}");
        }
    }

    #[test]
    fn the_mean_of_each_area_is_kept() {
        let (width, height) = (96, 54);
        let mut picture = Picture::black(width, height);
        let [luma, cb, cr] = picture.planes_mut();
        for (at, sample) in luma.iter_mut().enumerate() {
            *sample = (at % width * 2 + at / width) as u8;
        }
        cb.fill(240);
        cr.fill(17);
        for size in [(64, 36), (32, 18), (40, 54), (96, 54), (94, 16)] {
            let mut small = Picture::black(size.0, size.1);
            shrink(&picture.view(), &mut small);
            let [luma, cb, cr] = small.planes_mut();
            assert!(cb.iter().all(|&sample| sample == 240) && cr.iter().all(|&sample| sample == 17));
            for (at, &sample) in luma.iter().enumerate() {
                let middle =
                    |at: usize, from: usize, to: usize| (at as f64 + 0.5) * from as f64 / to as f64 - 0.5;
                let (x, y) = (middle(at % size.0, width, size.0), middle(at / size.0, height, size.1));
                let wanted = x * 2.0 + y;
                assert!((f64::from(sample) - wanted).abs() <= 1.0, "{size:?} at {at}: {sample} for {wanted}");
            }
        }
    }
}
