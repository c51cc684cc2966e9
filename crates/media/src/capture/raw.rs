//! Push input of a capture: encodes the application's media on a thread of its own, so that pushing never
//! waits for an encoder.
//!
//! One picture waits for the encoder; a newer picture replaces it, and the loss is counted. Sound has a queue
//! of [`SOUND_FRAMES_WAITING_MAX`] frames; beyond that the oldest are dropped and counted. Sound is encoded
//! first: a frame costs little time, and a gap would be audible. Media pushed while paused, and pictures
//! above the frame rate, are still validated, but neither copied nor kept.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use super::encoding::{Encoding, Pace};
use super::{CaptureCounts, Shared, locked};
use crate::raw::{Cutter, RawError, RawFormat, RawPicture, RawSound, check_time};
use crate::{Clock, Picture};

/// Maximum sound frames queued for the encoder: 500 ms, longer than encoding any picture takes. A guess.
pub const SOUND_FRAMES_WAITING_MAX: usize = 25;

/// Input handle with which an application pushes pictures and sound, from any thread.
pub struct RawInput {
    shared: Arc<Shared>,
    waiting: Arc<Mutex<Waiting>>,
    clock: Clock,
    fps: u8,
    pictures: Mutex<Pictures>,
    sound: Mutex<Cutter>,
}

/// Media pushed but not yet encoded.
struct Waiting {
    picture: Option<(Picture, u64)>,
    /// Buffer reused for the next picture.
    spare: Option<Picture>,
    sound: VecDeque<(Vec<f32>, u64)>,
    fps: u8,
}

#[derive(Default)]
struct Pictures {
    before_us: Option<u64>,
    pace: Pace,
}

impl RawInput {
    pub(super) fn new(format: RawFormat, clock: Clock, shared: Arc<Shared>) -> Result<RawInput, RawError> {
        let sound = Mutex::new(Cutter::new(&format)?);
        let waiting = Waiting { picture: None, spare: None, sound: VecDeque::new(), fps: format.fps };
        let (waiting, pictures) = (Arc::new(Mutex::new(waiting)), Mutex::default());
        Ok(RawInput { shared, waiting, clock, fps: format.fps, pictures, sound })
    }

    /// Pushes a picture captured at `captured_us`, in microseconds since 1970 by the capture's clock. The
    /// size may change from picture to picture.
    ///
    /// # Errors
    /// [`RawError::Size`], [`RawError::Stride`], [`RawError::Plane`], [`RawError::Time`],
    /// [`RawError::Closed`]: the picture was discarded.
    pub fn push_picture(&self, picture: &RawPicture<'_>, captured_us: u64) -> Result<(), RawError> {
        picture.check()?;
        let wanted = self.shared.wanted().ok_or(RawError::Closed)?;
        // held until the picture is queued, so that pictures of two threads can't overtake each other
        let mut pictures = locked(&self.pictures);
        check_time("picture", captured_us, pictures.before_us, self.clock.now_us())?;
        pictures.before_us = Some(captured_us);
        let fps = wanted.video.fps.min(self.fps);
        if wanted.video_paused || !pictures.pace.turn(captured_us, fps) {
            return Ok(());
        }
        let spare = locked(&self.waiting).spare.take();
        let mut copy = spare.unwrap_or_else(|| Picture::black(2, 2));
        picture.copy_to(&mut copy);
        {
            let mut waiting = locked(&self.waiting);
            waiting.fps = fps;
            if let Some((before, _)) = waiting.picture.replace((copy, captured_us)) {
                self.shared.dropped_frames.fetch_add(1, Ordering::Relaxed);
                waiting.spare = Some(before);
            }
        }
        self.shared.change(|wanted| wanted.nudged = true);
        Ok(())
    }

    /// Pushes a chunk of sound; `captured_us` is the capture time of its first sample, in microseconds since
    /// 1970 by the capture's clock. A chunk that begins within 20 ms of the end of the previous chunk
    /// continues it; after a longer gap, silence fills up the last frame.
    ///
    /// # Errors
    /// [`RawError::Length`], [`RawError::NotFinite`], [`RawError::Time`], [`RawError::Overlap`], [`RawError::Closed`]:
    /// the chunk was discarded. [`RawError::Resampling`].
    pub fn push_sound<'a>(&self, sound: impl Into<RawSound<'a>>, captured_us: u64) -> Result<(), RawError> {
        let sound = sound.into();
        let wanted = self.shared.wanted().ok_or(RawError::Closed)?;
        let mut cutter = locked(&self.sound);
        let now_us = self.clock.now_us();
        if wanted.sound_paused {
            return cutter.pass(sound, captured_us, now_us);
        }
        let mut whole = false;
        let cut = cutter.push(sound, captured_us, now_us, |samples, captured_us| {
            whole = true;
            let mut waiting = locked(&self.waiting);
            if waiting.sound.len() == SOUND_FRAMES_WAITING_MAX {
                waiting.sound.pop_front();
                self.shared.dropped_sound_frames.fetch_add(1, Ordering::Relaxed);
            }
            waiting.sound.push_back((samples, captured_us));
        });
        if whole {
            self.shared.change(|wanted| wanted.nudged = true);
        }
        cut
    }

    /// Returns the counters of encoded and dropped frames.
    pub fn counts(&self) -> CaptureCounts {
        self.shared.counts()
    }

    /// The latest encoding problem in one line.
    pub fn trouble(&self) -> Option<String> {
        locked(&self.shared.trouble).clone()
    }
}

/// State owned by the capture's thread.
pub(super) struct Taker {
    waiting: Arc<Mutex<Waiting>>,
    encoding: Encoding,
}

enum Next {
    Sound(Vec<f32>, u64),
    Picture(Picture, u8, u64),
}

impl Taker {
    pub(super) fn new(input: &RawInput, encoding: Encoding) -> Taker {
        Taker { waiting: input.waiting.clone(), encoding }
    }

    pub(super) fn run(mut self) {
        while self.encoding.shared.wait_for_nudge() {
            while let Some(next) = self.next() {
                let Some(wanted) = self.encoding.shared.wanted() else { return };
                match next {
                    Next::Sound(samples, captured_us) => self.encoding.sound(&samples, captured_us, &wanted),
                    Next::Picture(picture, fps, captured_us) => {
                        if !wanted.video_paused {
                            self.encoding.picture(&picture.view(), fps, captured_us, &wanted);
                        }
                        locked(&self.waiting).spare = Some(picture);
                    }
                }
            }
        }
    }

    fn next(&self) -> Option<Next> {
        let mut waiting = locked(&self.waiting);
        if let Some((samples, captured_us)) = waiting.sound.pop_front() {
            return Some(Next::Sound(samples, captured_us));
        }
        let (picture, captured_us) = waiting.picture.take()?;
        Some(Next::Picture(picture, waiting.fps, captured_us))
    }
}
