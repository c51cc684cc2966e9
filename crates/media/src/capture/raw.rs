//! Encodes what an application hands over, on a thread of its own, so that whoever hands over never waits for an
//! encoder.
//!
//! One picture waits for the encoder; a newer one takes its place and the loss is counted. Of sound
//! [`SOUND_FRAMES_WAITING_MAX`] frames wait; past that the oldest are dropped and counted. Sound goes first: a frame of it
//! costs little, and a hole in it is heard. What isn't wanted is checked all the same, and neither copied nor kept.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use super::encoding::{Encoding, Pace};
use super::{CaptureCounts, Shared, locked};
use crate::raw::{Cutter, RawError, RawFormat, RawPicture, RawSound, check_time};
use crate::{Clock, Picture};

/// Frames of sound that wait for the encoder: 500 ms, more than any picture takes. A guess.
pub const SOUND_FRAMES_WAITING_MAX: usize = 25;

/// Where an application hands pictures and sound over, from any thread.
pub struct RawInput {
    shared: Arc<Shared>,
    waiting: Arc<Mutex<Waiting>>,
    clock: Clock,
    fps: u8,
    pictures: Mutex<Pictures>,
    sound: Mutex<Cutter>,
}

/// What was handed over and isn't encoded yet.
struct Waiting {
    picture: Option<(Picture, u64)>,
    /// Memory for the next one.
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

    /// Hands a picture over, captured at a time in microseconds since 1970 by the capture's clock. Its size may be
    /// another each time.
    ///
    /// # Errors
    /// [`RawError::Size`], [`RawError::Stride`], [`RawError::Plane`], [`RawError::NotRising`], [`RawError::Off`],
    /// [`RawError::Closed`]: nothing was taken.
    pub fn push_picture(&self, picture: &RawPicture<'_>, captured_us: u64) -> Result<(), RawError> {
        picture.check()?;
        let wanted = self.shared.wanted().ok_or(RawError::Closed)?;
        // held until the picture waits: two threads' pictures don't overtake each other
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

    /// Hands sound over, whose first sample was captured at a time in microseconds since 1970 by the capture's
    /// clock. A chunk goes on where the one before ended if it begins within 20 ms of there; after a longer gap
    /// there is silence in between.
    ///
    /// # Errors
    /// [`RawError::Length`], [`RawError::NotFinite`], [`RawError::NotRising`], [`RawError::Overlap`],
    /// [`RawError::Off`], [`RawError::Closed`]: nothing was taken. [`RawError::Resampling`].
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

    /// What was encoded and dropped so far.
    pub fn counts(&self) -> CaptureCounts {
        self.shared.counts()
    }

    /// The last thing that went wrong in encoding, in one line.
    pub fn trouble(&self) -> Option<String> {
        locked(&self.shared.trouble).clone()
    }
}

/// What the thread owns.
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
