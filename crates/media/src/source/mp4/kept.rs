//! Frames of a recording as they are in the file, with the notes beside them
//! ([`Recorder::note`](crate::Recorder::note)).

use std::fs::File;
use std::path::Path;

use plenary_proto::identity::{FrameIdentity, MediaKind, h264, opus};
use shiguredo_mp4::bitstream::h264::{LengthSize, length_prefixed_to_annexb};

use super::{Packets, damaged, index};
use crate::source::SourceFault;

/// A frame as its maker sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptFrame {
    /// Picture or sound.
    pub kind: MediaKind,
    /// Identity; `None` for one without, as a file of another program has them, or a silent packet of sound.
    pub identity: Option<FrameIdentity>,
    /// Access unit in Annex B form, or Opus packet.
    pub data: Vec<u8>,
}

/// A recording that is read.
pub struct KeptFrames {
    packets: Packets,
    movie: index::Movie,
    notes: Vec<Vec<u8>>,
}

impl KeptFrames {
    /// Opens an MP4 file.
    ///
    /// # Errors
    /// [`SourceFault`] for a file that can't be read.
    pub fn open(path: &Path) -> Result<KeptFrames, SourceFault> {
        let mut file = File::open(path)?;
        let movie = index::read(&mut file)?;
        let notes = index::notes(&mut file)?;
        Ok(KeptFrames { packets: Packets::new(path)?, movie, notes })
    }

    /// Returns whether the file holds more than the frames that are returned, beyond a cut-off end: further tracks or
    /// formats, too many frames, or boxes that can't be read. Players may show some of that.
    pub fn has_unread(&self) -> bool {
        self.movie.has_unread
    }

    /// Returns the notes, in the order of the file.
    pub fn notes(&self) -> &[Vec<u8>] {
        &self.notes
    }

    /// Calls a function for each frame: the pictures, then the sound, both in the order of the file.
    ///
    /// # Errors
    /// [`SourceFault`] for a frame that can't be read.
    pub fn each(&mut self, mut each: impl FnMut(KeptFrame)) -> Result<(), SourceFault> {
        for packet in self.movie.video.iter().flat_map(|track| &track.packets) {
            let bytes = self.packets.read(packet)?;
            let kept =
                length_prefixed_to_annexb(bytes, LengthSize::FourBytes).map_err(|_| damaged("a picture"))?;
            let data = h264::without_sei(&kept);
            each(KeptFrame { kind: MediaKind::Video, identity: h264::read(&data), data });
        }
        for packet in self.movie.sound.iter().flat_map(|track| &track.packets) {
            let data = self.packets.read(packet)?.to_vec();
            each(KeptFrame { kind: MediaKind::Sound, identity: opus::read(&data), data });
        }
        Ok(())
    }
}
