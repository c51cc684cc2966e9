//! Capture pipeline of a speaker: from raw media to encoded frames, on one encoding thread per capture.
//!
//! The input is either a source played in real time (`player.rs`), or media that the application pushes
//! (`raw.rs`). Control calls overwrite the requested state instead of being queued, so no backlog can grow;
//! the thread reads that state before each frame.

mod encoding;
mod player;
mod raw;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

pub use player::{HALT_US_MAX, LATE_US_MAX};
pub use raw::{RawInput, SOUND_FRAMES_WAITING_MAX};

use crate::Clock;
use crate::codec::{Codecs, VideoFormat};
use crate::encode::Encoded;
use crate::guard::words_of;
use crate::raw::{RawError, RawFormat};
use crate::source::Source;
use encoding::Encoding;
use player::Player;
use raw::Taker;

/// Output format of a capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CaptureFormat {
    /// Maximum picture size, maximum frame rate, and bitrate.
    pub video: VideoFormat,
    /// Bitrate of the sound in bits per second.
    pub sound_bitrate_bps: u32,
}

/// Counters of a capture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CaptureCounts {
    /// Pictures encoded.
    pub encoded_frames: u64,
    /// Pictures dropped because they were too late, or were replaced by a newer picture before encoding.
    pub dropped_frames: u64,
    /// Frames of 20 ms of the application's sound dropped because the queue was full. A source's sound is
    /// never dropped.
    pub dropped_sound_frames: u64,
}

/// A running capture; dropping it stops it.
pub struct Capture {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// State shared by a capture's thread, its owner, and the application that pushes media.
struct Shared {
    wanted: Mutex<Wanted>,
    changed: Condvar,
    encoded_frames: AtomicU64,
    dropped_frames: AtomicU64,
    dropped_sound_frames: AtomicU64,
    trouble: Mutex<Option<String>>,
    /// Whether the thread has ended by a panic, of the source for example.
    panicked: AtomicBool,
}

#[derive(Clone, Copy)]
struct Wanted {
    stop: bool,
    /// New media has been pushed.
    nudged: bool,
    video: VideoFormat,
    key: bool,
    video_paused: bool,
    sound_paused: bool,
    loss_percent: Option<u8>,
    dtx: bool,
}

impl Capture {
    /// Starts to play `source`. The capture's thread calls `sink` with each encoded frame; `sink` must return
    /// quickly, since nothing is captured meanwhile.
    ///
    /// # Errors
    /// When the operating system can't start a thread.
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

    /// Starts to encode the media pushed to the [`RawInput`]; `sink` as for [`start`](Capture::start). Once
    /// the capture is dropped, pushing fails.
    ///
    /// # Errors
    /// [`RawError::Format`] when the sound format or frame rate isn't supported; [`RawError::Io`] when the
    /// operating system can't start a thread.
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
        let (span, own) = (tracing::Span::current(), shared.clone());
        let run = move || {
            if let Err(panic) = catch_unwind(AssertUnwindSafe(move || span.in_scope(run))) {
                *locked(&own.trouble) = Some(format!("it panicked: {}", words_of(&*panic)));
                own.panicked.store(true, Ordering::Relaxed);
            }
        };
        let thread = thread::Builder::new().name("capture".to_owned()).spawn(run)?;
        Ok(Capture { shared, thread: Some(thread) })
    }

    /// Changes the video format. Another size or frame rate creates a new encoder, which starts with a
    /// keyframe.
    pub fn set_video(&self, video: VideoFormat) {
        self.shared.change(|wanted| wanted.video = video);
    }

    /// Requests a keyframe. Several requests within a second yield one keyframe.
    pub fn want_key(&self) {
        self.shared.change(|wanted| wanted.key = true);
    }

    /// Pauses video: pictures are discarded without encoding. Resuming starts with a keyframe.
    pub fn pause_video(&self, paused: bool) {
        self.shared.change(|wanted| {
            wanted.key |= wanted.video_paused && !paused;
            wanted.video_paused = paused;
        });
    }

    /// Pauses or resumes sound: while paused, sound is discarded without encoding.
    pub fn pause_sound(&self, paused: bool) {
        self.shared.change(|wanted| wanted.sound_paused = paused);
    }

    /// Sets the expected loss of sound packets in percent.
    pub fn set_loss(&self, percent: u8) {
        self.shared.change(|wanted| wanted.loss_percent = Some(percent));
    }

    /// Switches DTX on or off; off at first. With DTX, frames without speech are omitted, except the first of
    /// a silence, of one or two bytes, and one each 400 ms. For receivers that decode live; a recording of
    /// the frames would have gaps.
    pub fn set_dtx(&self, on: bool) {
        self.shared.change(|wanted| wanted.dtx = on);
    }

    /// Returns the counters.
    pub fn counts(&self) -> CaptureCounts {
        self.shared.counts()
    }

    /// Returns whether the capture's thread has ended by a panic, of its source for example; [`trouble`](Self::trouble)
    /// says which.
    pub fn has_panicked(&self) -> bool {
        self.shared.panicked.load(Ordering::Relaxed)
    }

    /// The latest problem in one line: an encoder that refuses a format, or a source that ended with an
    /// error.
    pub fn trouble(&self) -> Option<String> {
        locked(&self.shared.trouble).clone()
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.shared.change(|wanted| wanted.stop = true);
        let Some(thread) = self.thread.take() else { return };
        // a sink that drops its own capture runs on this thread, and can't join it
        if thread.thread().id() != thread::current().id() {
            let _ = thread.join();
        }
    }
}

/// Locks a mutex, ignoring poisoning: no code that runs under these locks panics.
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
            panicked: AtomicBool::new(false),
        }
    }

    fn change(&self, change: impl FnOnce(&mut Wanted)) {
        change(&mut locked(&self.wanted));
        self.changed.notify_one();
    }

    /// Returns the requested state; `None` when the capture is to stop.
    fn wanted(&self) -> Option<Wanted> {
        let wanted = *locked(&self.wanted);
        (!wanted.stop).then_some(wanted)
    }

    /// Waits until the time `at_us` and returns the requested state then; `None` when the capture is to stop.
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

    /// Waits for new media; returns false when the capture is to stop.
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

    /// Stores the latest problem, and logs it when it differs from the previous one.
    fn note(&self, error: &dyn std::error::Error) {
        let line = error.to_string();
        let mut trouble = locked(&self.trouble);
        if trouble.as_ref() != Some(&line) {
            tracing::warn!("capture: {line}");
            *trouble = Some(line);
        }
    }
}
