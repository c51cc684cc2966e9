//! Readers of the tracks of a file, whatever its format.

use super::sound::LoopedSound;
use super::{SourceFault, SourcePictures};
use crate::PictureView;

/// Longest side of a file's pictures in pixels: the largest that the H.264 levels in common use allow, and a
/// limit on memory.
pub(super) const SIDE_MAX: usize = 8192;
/// Video formats that can be played.
pub(super) const VIDEO_WANTED: &str = "video must be H.264, 8-bit 4:2:0, progressive";

/// Reads a file's pictures in media time, in a loop.
pub(super) trait PictureReader: Send {
    fn pictures(&self) -> SourcePictures;

    /// Advances to the next picture and returns its due time in media time.
    fn advance(&mut self) -> Result<u64, SourceFault>;

    fn picture(&self) -> PictureView<'_>;
}

/// Readers of the playable tracks of a file.
pub(super) struct Opened {
    pub(super) pictures: Option<Box<dyn PictureReader>>,
    pub(super) sound: Option<LoopedSound>,
}

/// Checks that a picture size can be played, and rounds it down to even sides.
pub(super) fn even_size(width: usize, height: usize) -> Result<(usize, usize), SourceFault> {
    if !(2..=SIDE_MAX).contains(&width) || !(2..=SIDE_MAX).contains(&height) {
        let found = format!("a picture of {width}x{height}");
        return Err(SourceFault::Unsupported { found, wanted: "sides must be 2 to 8192 pixels" });
    }
    Ok((width & !1, height & !1))
}
