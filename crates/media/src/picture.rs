//! Pictures in I420: one luma plane and two chroma planes of half the width and height, 8 bits per sample,
//! limited range.

use crate::scale::Rect;

/// Smallest width and height that encoders accept: one macroblock.
pub const PICTURE_SIDE_MIN: u16 = 16;
/// Largest longer and shorter side that encoders accept (level 5.2).
pub const PICTURE_SIDES_MAX: (u16, u16) = (3840, 2160);

/// One plane of a borrowed picture.
#[derive(Clone, Copy, Debug)]
pub struct PlaneView<'a> {
    /// `stride × height` samples; the last row may end after `width`.
    pub samples: &'a [u8],
    /// Samples from the start of one row to the start of the next.
    pub stride: usize,
}

/// A borrowed picture: a decoder's own buffer, or a [`Picture`].
#[derive(Clone, Copy, Debug)]
pub struct PictureView<'a> {
    /// Width in pixels, even.
    pub width: usize,
    /// Height in pixels, even.
    pub height: usize,
    /// Luma, then the two chroma planes at half width and height.
    pub planes: [PlaneView<'a>; 3],
}

impl<'a> PictureView<'a> {
    /// Returns the part of the picture inside `rect`; `None` when `rect` has odd numbers or exceeds the
    /// picture, or samples are missing.
    pub fn cut(&self, rect: Rect) -> Option<PictureView<'a>> {
        if !rect.is_within(self.width, self.height) {
            return None;
        }
        let part = |index: usize, half: usize| {
            let PlaneView { samples, stride } = self.planes[index];
            let begin = (rect.y / half).checked_mul(stride)?.checked_add(rect.x / half)?;
            Some(PlaneView { samples: samples.get(begin..)?, stride })
        };
        let planes = [part(0, 1)?, part(1, 2)?, part(2, 2)?];
        Some(PictureView { width: rect.width, height: rect.height, planes })
    }
}

/// An owned picture without padding: luma of `width × height` samples, then Cb and Cr of a quarter each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    width: usize,
    height: usize,
    samples: Vec<u8>,
}

/// Luma and chroma of black, in limited range.
const BLACK: (u8, u8) = (16, 128);

impl Picture {
    /// Creates a black picture. Width and height are rounded down to even numbers, and are at least 2.
    pub fn black(width: usize, height: usize) -> Picture {
        let (width, height) = ((width & !1).max(2), (height & !1).max(2));
        let mut samples = vec![BLACK.0; width * height];
        samples.resize(width * height * 3 / 2, BLACK.1);
        Picture { width, height, samples }
    }

    /// Creates a picture from `width × height × 3 / 2` samples, luma first. Returns `None` when a side is odd
    /// or zero, or the number of samples doesn't match.
    pub fn from_samples(width: usize, height: usize, samples: Vec<u8>) -> Option<Picture> {
        let even = width > 0 && height > 0 && width.is_multiple_of(2) && height.is_multiple_of(2);
        (even && samples.len() == width * height * 3 / 2).then_some(Picture { width, height, samples })
    }

    /// Copies a borrowed picture.
    pub fn copy_of(view: &PictureView<'_>) -> Picture {
        let mut picture = Picture { width: view.width, height: view.height, samples: Vec::new() };
        picture.copy_from(view);
        picture
    }

    /// Overwrites this picture with a copy of `view`, reusing the allocation.
    pub fn copy_from(&mut self, view: &PictureView<'_>) {
        (self.width, self.height) = (view.width, view.height);
        self.samples.clear();
        self.samples.reserve(view.width * view.height * 3 / 2);
        for (plane, shrink) in view.planes.iter().zip([1, 2, 2]) {
            for row in plane.samples.chunks(plane.stride).take(view.height / shrink) {
                self.samples.extend_from_slice(&row[..view.width / shrink]);
            }
        }
    }

    /// Width in pixels, even.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Height in pixels, even.
    pub fn height(&self) -> usize {
        self.height
    }

    /// All samples, luma first, rows without padding.
    pub fn samples(&self) -> &[u8] {
        &self.samples
    }

    /// The three planes as mutable slices, for drawing; the luma stride is the width, the chroma stride half
    /// of it.
    pub fn planes_mut(&mut self) -> [&mut [u8]; 3] {
        let (luma, chroma) = self.samples.split_at_mut(self.width * self.height);
        let (cb, cr) = chroma.split_at_mut(self.width * self.height / 4);
        [luma, cb, cr]
    }

    /// Borrows the picture in the form that decoders and encoders use.
    pub fn view(&self) -> PictureView<'_> {
        let (luma, chroma) = self.samples.split_at(self.width * self.height);
        let (cb, cr) = chroma.split_at(self.width * self.height / 4);
        let half = self.width / 2;
        PictureView {
            width: self.width,
            height: self.height,
            planes: [
                PlaneView { samples: luma, stride: self.width },
                PlaneView { samples: cb, stride: half },
                PlaneView { samples: cr, stride: half },
            ],
        }
    }
}
