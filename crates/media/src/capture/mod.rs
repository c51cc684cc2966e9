//! What a speaker sends, from where it comes to encoded frames: one thread per capture encodes.
//!
//! What is captured is a source that is played in real time (`player.rs`), or what an application hands over
//! (`raw.rs`). Controls are what is wanted last, so no queue of them can grow; they are seen before the next frame.

mod encoding;
mod player;
mod raw;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

pub use player::{HALT_US_MAX, LATE_US_MAX};
pub use raw::{RawInput, SOUND_FRAMES_WAITING_MAX};

use crate::Clock;
use crate::codec::{Codecs, VideoFormat};
use crate::encode::Encoded;
use crate::raw::{RawError, RawFormat};
use crate::source::Source;
use encoding::Encoding;
use player::Player;
use raw::Taker;

/// What a capture is to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CaptureFormat {
    /// Bounds of the pictures, most frames per second, bit rate.
    pub video: VideoFormat,
    /// Bits per second of the sound.
    pub sound_bitrate_bps: u32,
}

/// What a capture has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CaptureCounts {
    /// Pictures encoded.
    pub encoded_frames: u64,
    /// Pictures that came too late to be encoded, or gave way to a newer one.
    pub dropped_frames: u64,
    /// 20 ms frames of an application's sound that found no room. A source's sound is never dropped.
    pub dropped_sound_frames: u64,
}

/// A running capture; dropping it stops it.
pub struct Capture {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// What a capture's thread, its owner and an application that hands pictures over have in common.
struct Shared {
    wanted: Mutex<Wanted>,
    changed: Condvar,
    encoded_frames: AtomicU64,
    dropped_frames: AtomicU64,
    dropped_sound_frames: AtomicU64,
    trouble: Mutex<Option<String>>,
}

#[derive(Clone, Copy)]
struct Wanted {
    stop: bool,
    /// Something was handed over.
    nudged: bool,
    video: VideoFormat,
    key: bool,
    video_paused: bool,
    sound_paused: bool,
    loss_percent: Option<u8>,
    dtx: bool,
}

impl Capture {
    /// Starts to play `source`; `sink` gets each frame on the capture's thread and must be quick: while it
    /// runs, nothing is captured.
    ///
    /// # Errors
    /// When the operating system has no thread to give.
    pub fn start(
        source: Box<dyn Source>,
        codecs: Arc<dyn Codecs>,
        clock: Clock,
        format: CaptureFormat,
        sink: Box<dyn FnMut(Encoded) + Send>,
    ) -> std::io::Result<Capture> {
        let shared = Arc::new(Shared::new(&format));
        let channels = source.channels().unwrap_or(1);
        let encoding = Encoding::new(codecs, channels, format, sink, shared.clone());
        let player = Player::new(source, clock, encoding);
        Capture::spawn(shared, move || player.run())
    }

    /// Starts to encode what is handed over to the [`RawInput`]; `sink` as for [`start`](Capture::start). Without
    /// the capture, or when it is dropped, nothing can be handed over any more.
    ///
    /// # Errors
    /// [`RawError::Format`] when such sound or such a rate isn't taken; [`RawError::Io`] when the operating system
    /// has no thread to give.
    pub fn start_raw(
        raw: RawFormat,
        codecs: Arc<dyn Codecs>,
        clock: Clock,
        format: CaptureFormat,
        sink: Box<dyn FnMut(Encoded) + Send>,
    ) -> Result<(Capture, RawInput), RawError> {
        let shared = Arc::new(Shared::new(&format));
        let input = RawInput::new(raw, clock, shared.clone())?;
        let encoding = Encoding::new(codecs, raw.channels, format, sink, shared.clone());
        let taker = Taker::new(&input, encoding);
        let capture =
            Capture::spawn(shared, move || taker.run()).map_err(|error| RawError::Io(error.kind()))?;
        Ok((capture, input))
    }

    fn spawn(shared: Arc<Shared>, run: impl FnOnce() + Send + 'static) -> std::io::Result<Capture> {
        let span = tracing::Span::current();
        let thread = thread::Builder::new().name("capture".to_owned()).spawn(move || span.in_scope(run))?;
        Ok(Capture { shared, thread: Some(thread) })
    }

    /// Asks for other pictures; another size or rate makes a new encoder, whose first frame is a key frame.
    pub fn set_video(&self, video: VideoFormat) {
        self.shared.change(|wanted| wanted.video = video);
    }

    /// Asks for a key frame; more than one wish in a second makes one.
    pub fn want_key(&self) {
        self.shared.change(|wanted| wanted.key = true);
    }

    /// Lets the pictures pass unencoded, or encodes them again, beginning with a key frame.
    pub fn pause_video(&self, paused: bool) {
        self.shared.change(|wanted| {
            wanted.key |= wanted.video_paused && !paused;
            wanted.video_paused = paused;
        });
    }

    /// Lets the sound pass unencoded, or encodes it again.
    pub fn pause_sound(&self, paused: bool) {
        self.shared.change(|wanted| wanted.sound_paused = paused);
    }

    /// Tells how many of 100 packets of sound get lost on the way.
    pub fn set_loss(&self, percent: u8) {
        self.shared.change(|wanted| wanted.loss_percent = Some(percent));
    }

    /// Leaves frames of sound out in which nobody speaks, or no more; off at first. Of those in a row the first is given,
    /// as one or two bytes, and one each 400 ms. For whoever decodes: a recording would have gaps.
    pub fn set_dtx(&self, on: bool) {
        self.shared.change(|wanted| wanted.dtx = on);
    }

    /// What it has done so far.
    pub fn counts(&self) -> CaptureCounts {
        self.shared.counts()
    }

    /// The last thing that went wrong, in one line: an encoder that refuses, or a source that ended.
    pub fn trouble(&self) -> Option<String> {
        locked(&self.shared.trouble).clone()
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.shared.change(|wanted| wanted.stop = true);
        let Some(thread) = self.thread.take() else { return };
        // a sink that drops its own capture can't wait for itself
        if thread.thread().id() != thread::current().id() {
            let _ = thread.join();
        }
    }
}

/// Nothing that panics is called while these locks are held.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn new(format: &CaptureFormat) -> Shared {
        let wanted = Wanted {
            stop: false,
            nudged: false,
            video: format.video,
            key: false,
            video_paused: false,
            sound_paused: false,
            loss_percent: None,
            dtx: false,
        };
        Shared {
            wanted: Mutex::new(wanted),
            changed: Condvar::new(),
            encoded_frames: AtomicU64::new(0),
            dropped_frames: AtomicU64::new(0),
            dropped_sound_frames: AtomicU64::new(0),
            trouble: Mutex::new(None),
        }
    }

    fn change(&self, change: impl FnOnce(&mut Wanted)) {
        change(&mut locked(&self.wanted));
        self.changed.notify_one();
    }

    /// What is wanted now; `None` when that is to stop.
    fn wanted(&self) -> Option<Wanted> {
        let wanted = *locked(&self.wanted);
        (!wanted.stop).then_some(wanted)
    }

    /// What is wanted at a time, once it has come; `None` when that is to stop.
    fn wait_until(&self, clock: Clock, at_us: u64) -> Option<Wanted> {
        let mut wanted = locked(&self.wanted);
        loop {
            let left = clock.until(at_us);
            if wanted.stop || left.is_zero() {
                break;
            }
            wanted = self.changed.wait_timeout(wanted, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        (!wanted.stop).then_some(*wanted)
    }

    /// Waits until something was handed over; false when it is time to stop.
    fn wait_for_nudge(&self) -> bool {
        let idle = |wanted: &mut Wanted| !wanted.stop && !wanted.nudged;
        let waited = self.changed.wait_while(locked(&self.wanted), idle);
        let mut wanted = waited.unwrap_or_else(PoisonError::into_inner);
        wanted.nudged = false;
        !wanted.stop
    }

    fn counts(&self) -> CaptureCounts {
        CaptureCounts {
            encoded_frames: self.encoded_frames.load(Ordering::Relaxed),
            dropped_frames: self.dropped_frames.load(Ordering::Relaxed),
            dropped_sound_frames: self.dropped_sound_frames.load(Ordering::Relaxed),
        }
    }

    /// Keeps the latest trouble, and logs it when it is a new one.
    fn note(&self, error: &dyn std::error::Error) {
        let line = error.to_string();
        let mut trouble = locked(&self.trouble);
        if trouble.as_ref() != Some(&line) {
            tracing::warn!("capture: {line}");
            *trouble = Some(line);
        }
    }
}
