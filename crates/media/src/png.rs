//! PNG output of a picture.
//!
//! All pictures in plenary are taken as BT.709 in limited range, regardless of size: the encoder signals
//! that, and the mixer composites pictures without converting them. PNG files are converted accordingly.

use std::io::Write;

use ::png::{BitDepth, ColorType, Compression, Encoder, EncodingError};

use crate::PictureView;

/// Fractional bits of the fixed-point matrix.
const SHIFT: i32 = 16;
/// Fixed-point factors from limited range to full range: 255 / 219 for luma; for chroma 255 / 224 times
/// BT.709's 1.5748, 0.1873, 0.4681 and 1.8556.
const LUMA: i32 = 76_309;
const CR_TO_RED: i32 = 117_489;
const CB_TO_GREEN: i32 = -13_975;
const CR_TO_GREEN: i32 = -34_925;
const CB_TO_BLUE: i32 = 138_438;

/// Writes a picture as 8-bit RGB PNG.
///
/// # Errors
/// When writing to `out` fails.
pub fn write_png(picture: &PictureView<'_>, out: impl Write) -> std::io::Result<()> {
    let side = |pixels: usize| u32::try_from(pixels).unwrap_or(u32::MAX);
    let mut encoder = Encoder::new(out, side(picture.width), side(picture.height));
    encoder.set_color(ColorType::Rgb);
    encoder.set_depth(BitDepth::Eight);
    encoder.set_compression(Compression::Fast);
    let written = encoder.write_header().and_then(|mut png| {
        png.write_image_data(&rgb(picture))?;
        png.finish()
    });
    written.map_err(|error| match error {
        EncodingError::IoError(error) => error,
        error => std::io::Error::other(error),
    })
}

/// Converts to `width × height` pixels of red, green and blue, without padding.
fn rgb(picture: &PictureView<'_>) -> Vec<u8> {
    let mut rgb = Vec::with_capacity(picture.width * picture.height * 3);
    let [luma, cb, cr] = picture.planes;
    for y in 0..picture.height {
        let luma = &luma.samples[y * luma.stride..];
        let (cb, cr) = (&cb.samples[y / 2 * cb.stride..], &cr.samples[y / 2 * cr.stride..]);
        for x in 0..picture.width {
            let luma = LUMA * (i32::from(luma[x]) - 16) + (1 << (SHIFT - 1));
            let (cb, cr) = (i32::from(cb[x / 2]) - 128, i32::from(cr[x / 2]) - 128);
            let red = luma + CR_TO_RED * cr;
            let green = luma + CB_TO_GREEN * cb + CR_TO_GREEN * cr;
            let blue = luma + CB_TO_BLUE * cb;
            rgb.extend([red, green, blue].map(|channel| (channel >> SHIFT).clamp(0, 255) as u8));
        }
    }
    rgb
}
