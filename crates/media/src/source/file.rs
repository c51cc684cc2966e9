//! File sources: the first bytes of a file decide its format, never its name.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use super::reader::{Opened, PictureReader};
use super::sound::LoopedSound;
use super::{Source, SourceError, SourceFault, SourcePictures, mp4, wav, y4m};
use crate::codec::Codecs;
use crate::{Picture, PictureView};

struct FileSource {
    path: String,
    pictures: Option<Box<dyn PictureReader>>,
    sound: Option<LoopedSound>,
    /// Picture shown before the first picture, or when the file has no video.
    black: Picture,
}

/// Opens an MP4 file with H.264 (and AAC-LC or Opus, mono or stereo), a Y4M file, or a WAV file.
///
/// The file plays in a loop. In an MP4 file, each round lasts as long as the video if the sound ends within
/// 100 ms of it. Otherwise a round lasts as long as the longer track, while the shorter one is silent, or
/// shows its last picture, until the end of the round. A truncated frame at the end of a file is skipped, and
/// so are pictures that can't be decoded.
///
/// # Errors
/// [`SourceError`], which names the file and the fault in one line.
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
