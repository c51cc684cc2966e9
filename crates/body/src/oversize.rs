//! Pictures far larger than the program: no peer needs any, and they are dropped before they are decoded.
//!
//! A decoder makes room for the size that a picture states: some hundred MiB for the largest one of H.264. A mixer
//! judges what it decodes of its speakers by its requests ([`crate::excess`]). This is for what the application shows:
//! the program, and speakers' own streams.

use plenary_media::Frame;
use plenary_media::sps::coded_pixels;
use plenary_proto::identity::MediaKind;
use plenary_proto::message::ProgramFormat;

use crate::excess::{PIXELS_MAX, PIXELS_MIN};

/// Maximum coded pixels of a picture. 0 before the room's program is known: pictures that state a size are dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PixelsMax {
    /// In the program.
    pub(crate) program: u64,
    /// In a speaker's own stream: as much as a mixer takes of a speaker that has not had its request yet.
    pub(crate) speaker: u64,
}

impl PixelsMax {
    pub(crate) fn of(format: ProgramFormat) -> PixelsMax {
        let pixels = u64::from(format.width) * u64::from(format.height);
        let program = (PIXELS_MAX * pixels).max(PIXELS_MIN);
        PixelsMax { program, speaker: PIXELS_MAX * program }
    }
}

/// Size of the pictures that one decoder is given.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PictureSize {
    /// Coded pixels of the newest picture that stated its size.
    pixels: u64,
    /// A picture was dropped: pictures up to the next keyframe reference it.
    is_broken: bool,
}

impl PictureSize {
    /// Returns whether the decoder may be given a frame. Sound always fits.
    pub(crate) fn fits(&mut self, frame: &Frame, pixels_max: u64) -> bool {
        if frame.kind != MediaKind::Video {
            return true;
        }
        // whether it is a keyframe is the sender's word
        self.pixels = coded_pixels(&frame.data).unwrap_or(self.pixels);
        self.is_broken = self.pixels > pixels_max || (self.is_broken && !frame.identity.key);
        !self.is_broken
    }
}
