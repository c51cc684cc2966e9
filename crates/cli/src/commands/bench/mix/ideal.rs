//! Reference program picture: the camera pictures without coding loss, scaled with a high-quality filter.

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use plenary_media::scale::Rect;
use plenary_media::{Picture, PictureView};

/// Reference program picture.
pub(super) struct Ideal {
    canvas: Picture,
    resizer: Resizer,
}

impl Ideal {
    /// Starts with this background.
    pub(super) fn new(ground: Picture) -> Ideal {
        Ideal { canvas: ground, resizer: Resizer::new() }
    }

    /// Scales a picture to `place` with a three-lobed Lanczos filter.
    pub(super) fn draw(&mut self, picture: &Picture, place: Rect) -> anyhow::Result<()> {
        let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Lanczos3));
        let width = self.canvas.width();
        let planes = self.canvas.planes_mut().into_iter().zip(picture.view().planes);
        for ((to, from), half) in planes.zip([1, 2, 2]) {
            let size = |whole: usize| (whole / half) as u32;
            let source =
                ImageRef::new(size(picture.width()), size(picture.height()), from.samples, PixelType::U8)?;
            let mut scaled = Image::new(size(place.width), size(place.height), PixelType::U8);
            self.resizer.resize(&source, &mut scaled, &options)?;
            let stride = width / half;
            let rows = to.chunks_mut(stride).skip(place.y / half);
            for (row, scaled) in rows.zip(scaled.buffer().chunks(place.width / half)) {
                row[place.x / half..][..scaled.len()].copy_from_slice(scaled);
            }
        }
        Ok(())
    }

    pub(super) fn picture(&self) -> &Picture {
        &self.canvas
    }
}

/// Peak signal-to-noise ratio of luma, over all pictures added.
#[derive(Debug, Default)]
pub(super) struct Psnr {
    squares: u64,
    samples: u64,
}

impl Psnr {
    /// Adds a picture of the same size as its reference.
    pub(super) fn add(&mut self, shown: &PictureView<'_>, ideal: &Picture) {
        let luma = shown.planes[0];
        let rows = luma.samples.chunks(luma.stride).zip(ideal.samples().chunks(ideal.width()));
        for (shown, ideal) in rows.take(ideal.height()) {
            let square = |(one, other): (&u8, &u8)| u64::from(one.abs_diff(*other)).pow(2);
            self.squares += shown.iter().zip(ideal).map(square).sum::<u64>();
            self.samples += ideal.len() as u64;
        }
    }

    /// Returns the ratio in dB; `None` if there is no difference, or no picture.
    pub(super) fn db(&self) -> Option<f64> {
        let mean = self.squares as f64 / self.samples.max(1) as f64;
        (mean > 0.0).then(|| 10.0 * (255.0 * 255.0 / mean).log10())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grey(width: usize, height: usize, luma: u8) -> Picture {
        let mut picture = Picture::black(width, height);
        picture.planes_mut()[0].fill(luma);
        picture
    }

    #[test]
    fn a_picture_lands_on_its_place_alone() {
        let mut ideal = Ideal::new(grey(64, 64, 20));
        ideal.draw(&grey(64, 32, 200), Rect { x: 32, y: 16, width: 32, height: 16 }).unwrap();
        let sample = |x: usize, y: usize| ideal.picture().samples()[y * 64 + x];
        for ((x, y), expected) in
            [((32, 16), 200), ((63, 31), 200), ((31, 16), 20), ((32, 15), 20), ((32, 32), 20)]
        {
            assert_eq!(sample(x, y), expected, "{x} {y}");
        }
    }

    #[test]
    fn a_difference_of_one_is_48_db_and_none_has_no_figure() {
        let mut psnr = Psnr::default();
        psnr.add(&grey(32, 32, 100).view(), &grey(32, 32, 100));
        assert_eq!(psnr.db(), None);
        let mut psnr = Psnr::default();
        psnr.add(&grey(32, 32, 101).view(), &grey(32, 32, 100));
        assert!((psnr.db().unwrap() - 48.13).abs() < 0.01);
    }
}
