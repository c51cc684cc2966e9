//! Files as sources: what kind a file is is told by its first bytes, never by its name.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use super::sound::LoopedSound;
use super::{Source, SourceError, SourceFault, SourcePictures, mp4, wav, y4m};
use crate::codec::Codecs;
use crate::{Picture, PictureView};

/// Longest side of a file's pictures: what the H.264 level limits of today's codecs allow, and a bound on memory.
pub(super) const SIDE_MAX: usize = 8192;
/// What a codec must be for a file to be played.
pub(super) const VIDEO_WANTED: &str = "video must be H.264, 8-bit 4:2:0, progressive";

/// Plays a file's pictures in media time, over and over.
pub(super) trait PictureReader: Send {
    fn pictures(&self) -> SourcePictures;

    /// Goes on to the next picture, and returns when it is due.
    fn advance(&mut self) -> Result<u64, SourceFault>;

    fn picture(&self) -> PictureView<'_>;
}

/// The parts of a file that can be played.
pub(super) struct Opened {
    pub(super) pictures: Option<Box<dyn PictureReader>>,
    pub(super) sound: Option<LoopedSound>,
}

struct FileSource {
    path: String,
    pictures: Option<Box<dyn PictureReader>>,
    sound: Option<LoopedSound>,
    /// Shown before the first picture, or when there is none.
    black: Picture,
}

/// Opens an MP4 file with H.264 (and AAC-LC or Opus, mono or stereo), a Y4M file, or a WAV file.
///
/// A file plays over and over. The picture of an MP4 file sets the pace if the sound ends within 100 ms of it;
/// otherwise a round is as long as the longer of the two, and the shorter one is silent, or stands still, until
/// the end of the round. What is cut off at the end of a file is left out. Pictures that can't be decoded are
/// left out too.
///
/// # Errors
/// [`SourceError`], which says in one line what is wrong with which file.
pub fn open_source(path: &Path, codecs: &Arc<dyn Codecs>) -> Result<Box<dyn Source>, SourceError> {
    let name = path.display().to_string();
    match open(path, codecs) {
        Ok(Opened { pictures, sound }) => {
            Ok(Box::new(FileSource { path: name, pictures, sound, black: Picture::black(2, 2) }))
        }
        Err(fault) => Err(SourceError { path: name, fault }),
    }
}

fn open(path: &Path, codecs: &Arc<dyn Codecs>) -> Result<Opened, SourceFault> {
    let mut beginning = Vec::new();
    File::open(path)?.take(12).read_to_end(&mut beginning)?;
    match &beginning[..] {
        [] => Err(SourceFault::Empty),
        [b'Y', b'U', b'V', b'4', b'M', b'P', b'E', b'G', b'2', ..] => y4m::open(path),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'A', b'V', b'E'] => wav::open(path),
        [_, _, _, _, kind @ .., _, _, _, _] if mp4::FIRST_BOXES.contains(&kind) => mp4::open(path, codecs),
        _ => Err(SourceFault::Unknown),
    }
}

impl FileSource {
    fn named<T>(&self, result: Result<T, SourceFault>) -> Result<T, SourceError> {
        result.map_err(|fault| SourceError { path: self.path.clone(), fault })
    }
}

impl Source for FileSource {
    fn pictures(&self) -> Option<SourcePictures> {
        self.pictures.as_ref().map(|pictures| pictures.pictures())
    }

    fn channels(&self) -> Option<u8> {
        self.sound.as_ref().map(LoopedSound::channels)
    }

    fn next_picture(&mut self) -> Result<Option<u64>, SourceError> {
        let due = self.pictures.as_mut().map(|pictures| pictures.advance()).transpose();
        self.named(due)
    }

    fn picture(&mut self) -> PictureView<'_> {
        match &self.pictures {
            Some(pictures) => pictures.picture(),
            None => self.black.view(),
        }
    }

    fn next_sound(&mut self, samples: &mut [f32]) -> Result<(), SourceError> {
        let read = match &mut self.sound {
            Some(sound) => sound.read(samples),
            None => {
                samples.fill(0.0);
                Ok(())
            }
        };
        self.named(read)
    }
}

/// Sizes that can be played, rounded down to even.
pub(super) fn even_size(width: usize, height: usize) -> Result<(usize, usize), SourceFault> {
    if !(2..=SIDE_MAX).contains(&width) || !(2..=SIDE_MAX).contains(&height) {
        let found = format!("a picture of {width}x{height}");
        return Err(SourceFault::Unsupported { found, wanted: "sides must be 2 to 8192 pixels" });
    }
    Ok((width & !1, height & !1))
}
