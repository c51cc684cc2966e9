//! MP4 reader: H.264 pictures with optional AAC-LC or Opus sound; plain and fragmented files.

mod index;
mod kept;
mod sound;
mod video;

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use index::Packet;
pub use kept::{KeptFrame, KeptFrames};
use sound::Mp4Sound;
use video::Mp4Pictures;

use super::SourceFault;
use super::reader::{Opened, PictureReader};
use super::sound::LoopedSound;
use crate::codec::Codecs;

/// Types of the first box in an MP4 file.
pub(super) const FIRST_BOXES: [&[u8]; 7] = [b"ftyp", b"styp", b"moov", b"mdat", b"free", b"skip", b"wide"];
const SOUND_WANTED: &str = "sound must be AAC-LC or Opus, mono or stereo";
/// Largest difference between the ends of video and sound, in microseconds, that counts as ending together:
/// sound frames and pictures have different durations.
const SAME_END_US: u64 = 100_000;
/// Shortest round in microseconds, so that a file of a single picture without a duration is still shown for a
/// while.
const ROUND_US_MIN: u64 = 10_000;

pub(super) fn open(path: &Path, codecs: &Arc<dyn Codecs>) -> Result<Opened, SourceFault> {
    let movie = index::read(&mut File::open(path)?)?;
    let video = match movie.video {
        Some(video) => video,
        None if movie.has_video => return Err(damaged("no whole picture")),
        None => return Err(SourceFault::NoVideo),
    };
    let video_end_us = video.end_us;
    let sound_end_us = movie.sound.as_ref().map_or(video_end_us, |sound| sound.end_us);
    let round_us = match video_end_us.abs_diff(sound_end_us) {
        0..=SAME_END_US => video_end_us,
        _ => video_end_us.max(sound_end_us),
    };
    let round_us = round_us.max(ROUND_US_MIN);
    let sound = match movie.sound {
        None => None,
        Some(track) => {
            let sound = Mp4Sound::new(Packets::new(path)?, track)?;
            Some(LoopedSound::new(Box::new(sound), Some(round_us))?)
        }
    };
    let pictures = Mp4Pictures::new(Packets::new(path)?, video, round_us, codecs.clone())?;
    let pictures: Box<dyn PictureReader> = Box::new(pictures);
    Ok(Opened { pictures: Some(pictures), sound })
}

/// Reads packets at the offsets that the index gives.
struct Packets {
    file: File,
    bytes: Vec<u8>,
}

impl Packets {
    fn new(path: &Path) -> Result<Packets, SourceFault> {
        Ok(Packets { file: File::open(path)?, bytes: Vec::new() })
    }

    fn read(&mut self, packet: &Packet) -> Result<&[u8], SourceFault> {
        self.file.seek(SeekFrom::Start(packet.offset))?;
        self.bytes.resize(packet.len as usize, 0);
        self.file.read_exact(&mut self.bytes)?;
        Ok(&self.bytes)
    }
}

fn damaged(reason: impl ToString) -> SourceFault {
    SourceFault::Damaged { container: "MP4", reason: reason.to_string() }
}
