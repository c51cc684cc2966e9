//! Real-time playback of a source, for a speaker without a camera.
//!
//! The source's media time is anchored to the process clock once, at the start. A frame's capture time is the
//! time at which it was due, not the time at which it was ready, so picture and sound stay in sync however
//! long encoding takes. A picture more than [`LATE_US_MAX`] late is dropped and counted; sound never is.
//! After a stall of [`HALT_US_MAX`] (the machine slept) the media time is anchored again.

use std::sync::atomic::Ordering;

use super::Wanted;
use super::encoding::{Encoding, Pace};
use crate::source::{Source, SourceError};
use crate::{Clock, SOUND_FRAME_LEN, SOUND_FRAME_US};

/// Delay in microseconds after which a picture is dropped instead of encoded. A guess.
pub const LATE_US_MAX: u64 = 200_000;
/// Stall in microseconds after which playback continues from the current time. A guess.
pub const HALT_US_MAX: u64 = 2_000_000;

/// State owned by the capture's thread.
pub(super) struct Player {
    source: Box<dyn Source>,
    clock: Clock,
    encoding: Encoding,
    /// Clock time of media time 0.
    origin_us: u64,
    pace: Pace,
}

impl Player {
    pub(super) fn new(source: Box<dyn Source>, clock: Clock, encoding: Encoding) -> Player {
        Player { source, clock, encoding, origin_us: clock.now_us(), pace: Pace::default() }
    }

    pub(super) fn run(mut self) {
        if let Err(error) = self.play() {
            self.encoding.shared.note(&error);
        }
    }

    /// Plays until the capture stops or the source ends.
    fn play(&mut self) -> Result<(), SourceError> {
        let channels = self.source.channels();
        let mut samples = vec![0.0; SOUND_FRAME_LEN * usize::from(channels.unwrap_or(0))];
        let mut sound_us = channels.map(|_| 0);
        let mut picture_us = self.source.next_picture()?;
        loop {
            let due_us = match (sound_us, picture_us) {
                (Some(sound), Some(picture)) => sound.min(picture),
                (Some(one), None) | (None, Some(one)) => one,
                (None, None) => return Ok(()),
            };
            let Some(wanted) = self.wait(due_us) else { return Ok(()) };
            if sound_us == Some(due_us) {
                self.source.next_sound(&mut samples)?;
                self.encoding.sound(&samples, self.origin_us + due_us, &wanted);
                sound_us = Some(due_us + SOUND_FRAME_US);
            } else {
                self.picture(due_us, &wanted);
                picture_us = self.source.next_picture()?;
            }
        }
    }

    /// Waits until a media time and returns the requested state then; `None` when the capture is to stop.
    fn wait(&mut self, due_us: u64) -> Option<Wanted> {
        let late_us = self.clock.now_us().saturating_sub(self.origin_us + due_us);
        if late_us > HALT_US_MAX {
            self.origin_us += late_us;
        }
        self.encoding.shared.wait_until(self.clock, self.origin_us + due_us)
    }

    fn picture(&mut self, at_us: u64, wanted: &Wanted) {
        let fps_max = self.source.pictures().map_or(60.0, |pictures| pictures.fps.round().clamp(1.0, 60.0));
        let fps = wanted.video.fps.min(fps_max as u8);
        if wanted.video_paused || !self.pace.turn(at_us, fps) {
            return;
        }
        let captured_us = self.origin_us + at_us;
        if self.clock.now_us() > captured_us + LATE_US_MAX {
            self.encoding.shared.dropped_frames.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.encoding.picture(&self.source.picture(), fps, captured_us, wanted);
    }
}
