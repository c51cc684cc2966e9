//! Plays a source in real time: a speaker without a camera.
//!
//! The source's media time is laid on the process's clock once, at the start; a frame's capture time is when it was
//! due, not when it was ready, so picture and sound keep together whatever encoding takes. A picture that is more
//! than [`LATE_US_MAX`] late is dropped and counted; sound is not. After a halt of [`HALT_US_MAX`] (the machine
//! slept) the media time is laid on the clock anew.

use std::sync::atomic::Ordering;

use super::Wanted;
use super::encoding::{Encoding, Pace};
use crate::source::{Source, SourceError};
use crate::{Clock, SOUND_FRAME_LEN, SOUND_FRAME_US};

/// A picture later than this is not worth encoding (guess).
pub const LATE_US_MAX: u64 = 200_000;
/// Later than this, the capture goes on from now (guess).
pub const HALT_US_MAX: u64 = 2_000_000;

/// What the thread owns.
pub(super) struct Player {
    source: Box<dyn Source>,
    clock: Clock,
    encoding: Encoding,
    /// The clock at media time 0.
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

    /// Until it is told to stop, or the source ends.
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

    /// Waits until a media time; returns what is wanted then, or `None` when that is to stop.
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
