//! Raw pictures in I420 or NV12, of even or odd size, with strides.

use super::RawError;
use crate::picture::{PICTURE_SIDE_MIN, PICTURE_SIDES_MAX, Picture, PictureView, PlaneView};

/// A borrowed picture: 8 bits per sample, BT.709 in limited range. The longer side has at most 3840 pixels,
/// the shorter one 16 to 2160. If a side is odd, its last row or column is cut off; chroma planes have half
/// the size, rounded up.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum RawPicture<'a> {
    /// Luma, Cb and Cr in separate planes.
    I420 {
        /// Width in pixels.
        width: usize,
        /// Height in pixels.
        height: usize,
        /// Luma, Cb, Cr.
        planes: [PlaneView<'a>; 3],
    },
    /// A luma plane, and a plane of interleaved Cb and Cr, as cameras and hardware decoders output it.
    Nv12 {
        /// Width in pixels.
        width: usize,
        /// Height in pixels.
        height: usize,
        /// Luma plane.
        luma: PlaneView<'a>,
        /// Chroma plane: Cb, Cr, Cb, …; two bytes for two pixels of a row.
        chroma: PlaneView<'a>,
    },
}

impl<'a> From<PictureView<'a>> for RawPicture<'a> {
    fn from(PictureView { width, height, planes }: PictureView<'a>) -> RawPicture<'a> {
        RawPicture::I420 { width, height, planes }
    }
}

impl RawPicture<'_> {
    /// Checks the size, and that the planes hold all rows of that size.
    ///
    /// # Errors
    /// [`RawError::Size`], [`RawError::Stride`], [`RawError::Plane`].
    pub fn check(&self) -> Result<(), RawError> {
        let (width, height) = match *self {
            RawPicture::I420 { width, height, .. } | RawPicture::Nv12 { width, height, .. } => {
                (width, height)
            }
        };
        let (long, short) = (width.max(height), width.min(height));
        let [side_min, long_max, short_max] =
            [PICTURE_SIDE_MIN, PICTURE_SIDES_MAX.0, PICTURE_SIDES_MAX.1].map(usize::from);
        if short < side_min || long > long_max || short > short_max {
            return Err(RawError::Size { width, height });
        }
        let (half, rows) = (width.div_ceil(2), height.div_ceil(2));
        match self {
            RawPicture::I420 { planes: [luma, cb, cr], .. } => {
                check_plane("luma", luma, width, height)?;
                check_plane("Cb", cb, half, rows)?;
                check_plane("Cr", cr, half, rows)
            }
            RawPicture::Nv12 { luma, chroma, .. } => {
                check_plane("luma", luma, width, height)?;
                check_plane("chroma", chroma, 2 * half, rows)
            }
        }
    }

    /// Copies the picture, cut to even sides. Requires that [`check`](RawPicture::check) has passed.
    pub(crate) fn copy_to(&self, picture: &mut Picture) {
        match *self {
            RawPicture::I420 { width, height, planes } => {
                picture.copy_from(&PictureView { width: width & !1, height: height & !1, planes });
            }
            RawPicture::Nv12 { width, height, luma, chroma } => {
                let (width, height) = (width & !1, height & !1);
                if (picture.width(), picture.height()) != (width, height) {
                    *picture = Picture::black(width, height);
                }
                let [to_luma, to_cb, to_cr] = picture.planes_mut();
                let rows = luma.samples.chunks(luma.stride);
                for (to, row) in to_luma.chunks_exact_mut(width).zip(rows) {
                    to.copy_from_slice(&row[..width]);
                }
                let to = to_cb.chunks_exact_mut(width / 2).zip(to_cr.chunks_exact_mut(width / 2));
                for ((to_cb, to_cr), row) in to.zip(chroma.samples.chunks(chroma.stride)) {
                    let (pairs, _) = row[..width].as_chunks::<2>();
                    for ((cb, cr), pair) in to_cb.iter_mut().zip(to_cr).zip(pairs) {
                        [*cb, *cr] = *pair;
                    }
                }
            }
        }
    }
}

fn check_plane(plane: &'static str, view: &PlaneView<'_>, row: usize, rows: usize) -> Result<(), RawError> {
    let PlaneView { samples, stride } = *view;
    if stride < row {
        return Err(RawError::Stride { plane, stride, row });
    }
    let wanted = stride.saturating_mul(rows - 1).saturating_add(row);
    if samples.len() < wanted {
        return Err(RawError::Plane { plane, len: samples.len(), wanted });
    }
    Ok(())
}
