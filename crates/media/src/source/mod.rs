//! Media sources that replace a camera and a microphone: files, and a test pattern.
//!
//! A source plays in media time, which starts at 0 and always increases: at its end a source restarts,
//! picture and sound together. It produces media as fast as the caller reads; [`Capture`](crate::Capture)
//! plays a source in real time.

#[cfg(feature = "files")]
mod file;
#[cfg(feature = "files")]
mod mp4;
mod pattern;
#[cfg(feature = "files")]
mod reader;
#[cfg(feature = "files")]
mod sound;
#[cfg(feature = "files")]
mod wav;
#[cfg(feature = "files")]
mod y4m;

#[cfg(feature = "files")]
pub use file::open_source;
#[cfg(feature = "files")]
pub use mp4::{KeptFrame, KeptFrames};
pub use pattern::TestSource;

use crate::PictureView;

/// Size and frame rate of a source's pictures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SourcePictures {
    /// Width in pixels, even.
    pub width: usize,
    /// Height in pixels, even.
    pub height: usize,
    /// Pictures per second; the mean if their intervals vary.
    pub fps: f64,
}

/// A source of pictures, sound, or both, that loops for ever.
pub trait Source: Send {
    /// Format of the pictures; `None` when the source has sound only.
    fn pictures(&self) -> Option<SourcePictures>;

    /// Number of sound channels, 1 or 2; `None` when the source has pictures only.
    fn channels(&self) -> Option<u8>;

    /// Advances to the next picture and returns its due time in microseconds of media time; `None` when the
    /// source has no pictures.
    ///
    /// # Errors
    /// [`SourceError`] when the file can no longer be read; the source has then ended.
    fn next_picture(&mut self) -> Result<Option<u64>, SourceError>;

    /// Returns the picture that [`next_picture`](Source::next_picture) advanced to.
    fn picture(&mut self) -> PictureView<'_>;

    /// Writes the next [`SOUND_FRAME_LEN`](crate::SOUND_FRAME_LEN) samples per channel, interleaved, −1 to 1,
    /// without gaps from media time 0 on. Writes silence when the source has no sound.
    ///
    /// # Errors
    /// [`SourceError`] when the file can no longer be read; the source has then ended.
    fn next_sound(&mut self, samples: &mut [f32]) -> Result<(), SourceError>;
}

/// Error of playing a file, in one line with the file's path.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {fault}")]
pub struct SourceError {
    /// The path as the caller gave it.
    pub path: String,
    /// The reason.
    #[source]
    pub fault: SourceFault,
}

/// Fault of a file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceFault {
    /// The file can't be opened or read.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// The file has no bytes.
    #[error("the file is empty")]
    Empty,
    /// The file starts like no supported format.
    #[error("neither MP4, nor Y4M, nor WAV")]
    Unknown,
    /// The file is truncated or corrupt.
    #[error("damaged {container}: {reason}")]
    Damaged {
        /// `MP4`, `Y4M` or `WAV`.
        container: &'static str,
        /// The missing or invalid part.
        reason: String,
    },
    /// The MP4 file has no video track.
    #[error("no video track")]
    NoVideo,
    /// The codec, or this variant of it, isn't supported.
    #[error("{found} is not supported; {wanted}")]
    Unsupported {
        /// Format found in the file.
        found: String,
        /// Supported formats.
        wanted: &'static str,
    },
}
