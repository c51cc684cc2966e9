//! Where pictures and sound come from when there is no camera: files, and a test pattern.
//!
//! A source plays in media time, which starts at 0 and rises for ever: at its end it starts anew, picture and
//! sound together. It is as quick as it is asked; [`Capture`](crate::Capture) plays it in real time.

#[cfg(feature = "files")]
mod file;
#[cfg(feature = "files")]
mod mp4;
mod pattern;
#[cfg(feature = "files")]
mod sound;
#[cfg(feature = "files")]
mod wav;
#[cfg(feature = "files")]
mod y4m;

#[cfg(feature = "files")]
pub use file::open_source;
pub use pattern::TestSource;

use crate::PictureView;

/// Size and rate of a source's pictures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SourcePictures {
    /// Pixels, even.
    pub width: usize,
    /// Pixels, even.
    pub height: usize,
    /// Pictures per second, the mean where they come irregularly.
    pub fps: f64,
}

/// Plays pictures, sound, or both, over and over.
pub trait Source: Send {
    /// What its pictures are like; `None` when it has sound only.
    fn pictures(&self) -> Option<SourcePictures>;

    /// Channels of its sound, 1 or 2; `None` when it has pictures only.
    fn channels(&self) -> Option<u8>;

    /// Goes on to the next picture, and returns when it is due, in microseconds of media time; `None` when the
    /// source has no pictures.
    ///
    /// # Errors
    /// [`SourceError`] when the file can't be read any more; the source has ended then.
    fn next_picture(&mut self) -> Result<Option<u64>, SourceError>;

    /// The picture that [`next_picture`](Source::next_picture) went on to.
    fn picture(&mut self) -> PictureView<'_>;

    /// Writes the next [`SOUND_FRAME_LEN`](crate::SOUND_FRAME_LEN) samples per channel, interleaved, −1 to 1:
    /// without holes from media time 0 on. Silence when the source has no sound.
    ///
    /// # Errors
    /// [`SourceError`] when the file can't be read any more; the source has ended then.
    fn next_sound(&mut self, samples: &mut [f32]) -> Result<(), SourceError>;
}

/// Why a file can't be played, in one line that names it.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {fault}")]
pub struct SourceError {
    /// The file as it was given.
    pub path: String,
    /// The reason.
    #[source]
    pub fault: SourceFault,
}

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
pub enum SourceFault {
    /// It can't be opened or read.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// It has no bytes.
    #[error("the file is empty")]
    Empty,
    /// Its beginning is none that is known.
    #[error("neither MP4, nor Y4M, nor WAV")]
    Unknown,
    /// It is cut off or broken.
    #[error("damaged {container}: {reason}")]
    Damaged {
        /// `MP4`, `Y4M` or `WAV`.
        container: &'static str,
        /// What is missing or wrong.
        reason: String,
    },
    /// An MP4 file has sound only, or nothing.
    #[error("no video track")]
    NoVideo,
    /// A codec, or a kind of it, that can't be decoded here.
    #[error("{found} is not supported; {wanted}")]
    Unsupported {
        /// What the file has.
        found: String,
        /// What it may have.
        wanted: &'static str,
    },
}
