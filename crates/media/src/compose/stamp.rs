//! Small drawings with transparency, created once and blended into the canvas each time a tile is drawn.

use crate::Picture;
use crate::scale::Rect;

/// A colour: luma, Cb, Cr in limited range (BT.709).
pub type Color = [u8; 3];

/// Coverage mask of a shape: how much of each sample it covers, 0 to 255, rows without padding.
#[derive(Clone, Debug, Default)]
pub(super) struct Cover {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) samples: Vec<u8>,
}

impl Cover {
    /// Draws a mask from a function that returns the coverage at a sample's centre, 0 to 1.
    pub(super) fn draw(width: usize, height: usize, share: impl Fn(f32, f32) -> f32) -> Cover {
        let at = |x: usize, y: usize| share(x as f32 + 0.5, y as f32 + 0.5).clamp(0.0, 1.0) * 255.0;
        let samples = (0..height).flat_map(|y| (0..width).map(move |x| (x, y))).map(|(x, y)| at(x, y) as u8);
        Cover { width, height, samples: samples.collect() }
    }

    fn at(&self, x: isize, y: isize) -> u16 {
        let (Ok(x), Ok(y)) = (usize::try_from(x), usize::try_from(y)) else { return 0 };
        let inside = x < self.width && y < self.height;
        if inside { u16::from(self.samples[y * self.width + x]) } else { 0 }
    }
}

/// A drawing: for each sample the factor for the background, and the value added to it.
#[derive(Clone, Debug)]
pub(super) struct Stamp {
    width: usize,
    height: usize,
    planes: [Layer; 3],
}

#[derive(Clone, Debug)]
struct Layer {
    /// Factor for the background in 256 parts: 256 leaves it unchanged.
    keep: Vec<u16>,
    add: Vec<u8>,
}

impl Stamp {
    /// A transparent drawing; width and height are rounded up to even.
    pub(super) fn new(width: usize, height: usize) -> Stamp {
        let (width, height) = (width.next_multiple_of(2), height.next_multiple_of(2));
        let layer = |len: usize| Layer { keep: vec![256; len], add: vec![0; len] };
        let len = width * height;
        Stamp { width, height, planes: [layer(len), layer(len / 4), layer(len / 4)] }
    }

    pub(super) fn width(&self) -> usize {
        self.width
    }

    pub(super) fn height(&self) -> usize {
        self.height
    }

    /// Paints a shape with its upper left corner at `x`, `y`; `opacity` in 256 parts.
    pub(super) fn paint(&mut self, cover: &Cover, (x, y): (usize, usize), color: Color, opacity: u16) {
        let (x, y) = (x as isize, y as isize);
        for (index, layer) in self.planes.iter_mut().enumerate() {
            let step = if index == 0 { 1 } else { 2 };
            let width = self.width / step;
            for at in 0..layer.keep.len() {
                let (left, top) = ((at % width * step) as isize - x, (at / width * step) as isize - y);
                let share = if step == 1 {
                    cover.at(left, top)
                } else {
                    let four = [(0, 0), (1, 0), (0, 1), (1, 1)];
                    four.iter().map(|(right, down)| cover.at(left + right, top + down)).sum::<u16>() / 4
                };
                // 255 is full coverage
                let paint = u32::from(share + share / 128) * u32::from(opacity) / 256;
                let keep = 256 - paint;
                layer.keep[at] = (u32::from(layer.keep[at]) * keep / 256) as u16;
                layer.add[at] =
                    ((u32::from(layer.add[at]) * keep + u32::from(color[index]) * paint) / 256) as u8;
            }
        }
    }

    /// Blends the drawing into a picture; parts beyond the picture are cut off. `x` and `y` are even.
    pub(super) fn put(&self, picture: &mut Picture, (x, y): (usize, usize)) {
        let (width, height) = (picture.width(), picture.height());
        for (index, (plane, layer)) in picture.planes_mut().into_iter().zip(&self.planes).enumerate() {
            let half = if index == 0 { 1 } else { 2 };
            let rows = plane.chunks_exact_mut(width / half).skip(y / half).take(height / half);
            let own = self.width / half;
            for (row, (keep, add)) in rows.zip(layer.keep.chunks_exact(own).zip(layer.add.chunks_exact(own)))
            {
                let below = row.get_mut(x / half..).unwrap_or_default();
                for (sample, (keep, add)) in below.iter_mut().zip(keep.iter().zip(add)) {
                    // the sum is at most 255, since keep and paint add up to 256
                    *sample = ((u16::from(*sample).wrapping_mul(*keep) >> 8) as u8).wrapping_add(*add);
                }
            }
        }
    }
}

/// Fills the whole picture.
pub(super) fn clear(picture: &mut Picture, color: Color) {
    for (plane, value) in picture.planes_mut().into_iter().zip(color) {
        plane.fill(value);
    }
}

/// Fills a rectangle, which must be even and within the picture.
pub(super) fn fill(picture: &mut Picture, rect: Rect, color: Color) {
    let width = picture.width();
    for (index, (plane, value)) in picture.planes_mut().into_iter().zip(color).enumerate() {
        let half = if index == 0 { 1 } else { 2 };
        let rows = plane.chunks_exact_mut(width / half).skip(rect.y / half).take(rect.height / half);
        for row in rows {
            row[rect.x / half..][..rect.width / half].fill(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_opaque_replaces_and_what_is_transparent_stays() {
        let mut stamp = Stamp::new(8, 4);
        let left_half = Cover::draw(4, 4, |_, _| 1.0);
        stamp.paint(&left_half, (0, 0), [200, 90, 160], 256);
        let mut picture = Picture::black(16, 8);
        clear(&mut picture, [100, 110, 120]);
        stamp.put(&mut picture, (4, 2));
        let sums: Vec<u32> =
            picture.planes_mut().iter().map(|p| p.iter().map(|&s| u32::from(s)).sum()).collect();
        assert_eq!(sums, [128 * 100 + 16 * 100, 32 * 110 - 4 * 20, 32 * 120 + 4 * 40]);
    }

    #[test]
    fn layers_over_each_other_never_overflow() {
        let mut stamp = Stamp::new(2, 2);
        let all = Cover::draw(2, 2, |_, _| 1.0);
        for opacity in [100, 255, 7, 256, 31] {
            stamp.paint(&all, (0, 0), [255; 3], opacity);
            let mut picture = Picture::black(2, 2);
            clear(&mut picture, [255; 3]);
            stamp.put(&mut picture, (0, 0));
            assert!(picture.samples().iter().all(|&sample| sample >= 250), "{:?}", picture.samples());
        }
    }

    #[test]
    fn what_does_not_fit_is_cut_off() {
        let mut stamp = Stamp::new(8, 8);
        stamp.paint(&Cover::draw(8, 8, |_, _| 1.0), (0, 0), [235, 128, 128], 256);
        let mut picture = Picture::black(8, 8);
        for corner in [(6, 6), (8, 0), (0, 8), (100, 100)] {
            stamp.put(&mut picture, corner);
        }
        assert_eq!(picture.samples().iter().filter(|&&sample| sample == 235).count(), 4);
    }
}
