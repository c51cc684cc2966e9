//! Plays a source in real time and encodes it: a speaker without a camera.
//!
//! One thread per capture. The source's media time is laid on the process's clock once, at the start; a frame's
//! capture time is when it was due, not when it was ready, so picture and sound keep together whatever encoding
//! takes. A picture that is more than [`LATE_US_MAX`] late is dropped and counted; sound is not. After a halt of
//! [`HALT_US_MAX`] (the machine slept) the media time is laid on the clock anew.
//!
//! Controls are what is wanted last, so no queue of them can grow; they are seen before the next frame.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use crate::codec::{Codecs, VideoFormat};
use crate::encode::{Encoded, SoundEncoding, VideoEncoding};
use crate::source::{Source, SourceError};
use crate::{Clock, SOUND_FRAME_LEN, SOUND_FRAME_US};

/// A picture later than this is not worth encoding (guess).
pub const LATE_US_MAX: u64 = 200_000;
/// Later than this, the capture goes on from now (guess).
pub const HALT_US_MAX: u64 = 2_000_000;
/// A picture may come this much before its turn: rounding of times, not another rate.
const EARLY_US_MAX: u64 = 1_000;

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
    /// Pictures that came too late to be encoded.
    pub dropped_frames: u64,
}

/// A running capture; dropping it stops it.
pub struct Capture {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    wanted: Mutex<Wanted>,
    changed: Condvar,
    encoded_frames: AtomicU64,
    dropped_frames: AtomicU64,
    trouble: Mutex<Option<String>>,
}

#[derive(Clone, Copy)]
struct Wanted {
    stop: bool,
    video: VideoFormat,
    key: bool,
    video_paused: bool,
    sound_paused: bool,
    loss_percent: Option<u8>,
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
        let wanted = Wanted {
            stop: false,
            video: format.video,
            key: false,
            video_paused: false,
            sound_paused: false,
            loss_percent: None,
        };
        let shared = Arc::new(Shared {
            wanted: Mutex::new(wanted),
            changed: Condvar::new(),
            encoded_frames: AtomicU64::new(0),
            dropped_frames: AtomicU64::new(0),
            trouble: Mutex::new(None),
        });
        let player = Player::new(source, codecs, clock, format, sink, shared.clone());
        let span = tracing::Span::current();
        let thread = thread::Builder::new()
            .name("capture".to_owned())
            .spawn(move || span.in_scope(|| player.run()))?;
        Ok(Capture { shared, thread: Some(thread) })
    }

    /// Asks for other pictures; another size or rate makes a new encoder, whose first frame is a key frame.
    pub fn ask(&self, video: VideoFormat) {
        self.change(|wanted| wanted.video = video);
    }

    /// Asks for a key frame; more than one wish in a second makes one.
    pub fn want_key(&self) {
        self.change(|wanted| wanted.key = true);
    }

    /// Lets the pictures pass unencoded, or encodes them again, beginning with a key frame.
    pub fn pause_video(&self, paused: bool) {
        self.change(|wanted| {
            wanted.key |= wanted.video_paused && !paused;
            wanted.video_paused = paused;
        });
    }

    /// Lets the sound pass unencoded, or encodes it again.
    pub fn pause_sound(&self, paused: bool) {
        self.change(|wanted| wanted.sound_paused = paused);
    }

    /// Tells how many of 100 packets of sound get lost on the way.
    pub fn set_loss(&self, percent: u8) {
        self.change(|wanted| wanted.loss_percent = Some(percent));
    }

    /// What it has done so far.
    pub fn counts(&self) -> CaptureCounts {
        CaptureCounts {
            encoded_frames: self.shared.encoded_frames.load(Ordering::Relaxed),
            dropped_frames: self.shared.dropped_frames.load(Ordering::Relaxed),
        }
    }

    /// The last thing that went wrong, in one line: an encoder that refuses, or a source that ended.
    pub fn trouble(&self) -> Option<String> {
        locked(&self.shared.trouble).clone()
    }

    fn change(&self, change: impl FnOnce(&mut Wanted)) {
        change(&mut locked(&self.shared.wanted));
        self.shared.changed.notify_one();
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.change(|wanted| wanted.stop = true);
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

/// What the thread owns.
struct Player {
    source: Box<dyn Source>,
    codecs: Arc<dyn Codecs>,
    clock: Clock,
    sound_bitrate_bps: u32,
    sink: Box<dyn FnMut(Encoded) + Send>,
    shared: Arc<Shared>,
    video: VideoEncoding,
    sound: Option<SoundEncoding>,
    loss_percent: Option<u8>,
    /// The clock at media time 0.
    origin_us: u64,
    pace: Pace,
}

impl Player {
    fn new(
        source: Box<dyn Source>,
        codecs: Arc<dyn Codecs>,
        clock: Clock,
        format: CaptureFormat,
        sink: Box<dyn FnMut(Encoded) + Send>,
        shared: Arc<Shared>,
    ) -> Player {
        Player {
            source,
            video: VideoEncoding::new(codecs.clone(), format.video),
            codecs,
            clock,
            sound_bitrate_bps: format.sound_bitrate_bps,
            sink,
            shared,
            sound: None,
            loss_percent: None,
            origin_us: clock.now_us(),
            pace: Pace::default(),
        }
    }

    fn run(mut self) {
        if let Err(error) = self.play() {
            self.note(&error);
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
                self.sound(&samples, due_us, &wanted);
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
        let mut wanted = locked(&self.shared.wanted);
        loop {
            let left = self.clock.until(self.origin_us + due_us);
            if wanted.stop || left.is_zero() {
                break;
            }
            let waited = self.shared.changed.wait_timeout(wanted, left);
            wanted = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        (!wanted.stop).then_some(*wanted)
    }

    fn picture(&mut self, at_us: u64, wanted: &Wanted) {
        let fps_max = self.source.pictures().map_or(60.0, |pictures| pictures.fps.round().clamp(1.0, 60.0));
        let fps = wanted.video.fps.min(fps_max as u8);
        if wanted.video_paused || !self.pace.turn(at_us, fps) {
            return;
        }
        let captured_us = self.origin_us + at_us;
        if self.clock.now_us() > captured_us + LATE_US_MAX {
            self.shared.dropped_frames.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.video.ask(VideoFormat { fps, ..wanted.video });
        if wanted.key {
            locked(&self.shared.wanted).key = false;
            self.video.want_key();
        }
        match self.video.push(&self.source.picture(), captured_us) {
            Ok(None) => {}
            Ok(Some(encoded)) => {
                self.shared.encoded_frames.fetch_add(1, Ordering::Relaxed);
                (self.sink)(encoded);
            }
            Err(error) => self.note(&error),
        }
    }

    fn sound(&mut self, samples: &[f32], at_us: u64, wanted: &Wanted) {
        if wanted.sound_paused {
            return;
        }
        match self.encoded_sound(samples, at_us, wanted.loss_percent) {
            Ok(encoded) => (self.sink)(encoded),
            Err(error) => self.note(&error),
        }
    }

    fn encoded_sound(
        &mut self,
        samples: &[f32],
        at_us: u64,
        loss_percent: Option<u8>,
    ) -> Result<Encoded, crate::codec::CodecError> {
        let sound = match &mut self.sound {
            Some(sound) => sound,
            slot => {
                let channels = self.source.channels().unwrap_or(1);
                slot.insert(SoundEncoding::new(&*self.codecs, channels, self.sound_bitrate_bps)?)
            }
        };
        if let Some(percent) = loss_percent.filter(|_| loss_percent != self.loss_percent) {
            sound.set_loss(percent);
            self.loss_percent = loss_percent;
        }
        sound.push(samples, self.origin_us + at_us)
    }

    /// Keeps the latest trouble, and logs it when it is a new one.
    fn note(&self, error: &dyn std::error::Error) {
        let line = error.to_string();
        let mut trouble = locked(&self.shared.trouble);
        if trouble.as_ref() != Some(&line) {
            tracing::warn!("capture: {line}");
            *trouble = Some(line);
        }
    }
}

/// Thins pictures out to a rate, evenly; slower ones pass as they are.
#[derive(Default)]
struct Pace {
    /// In units of 1/fps µs, so that 1/30 s doesn't drift.
    next: u64,
    fps: u8,
}

impl Pace {
    /// Whether the picture of this media time is to be sent.
    fn turn(&mut self, at_us: u64, fps: u8) -> bool {
        let unit = u64::from(fps.max(1));
        if self.fps != fps {
            (self.fps, self.next) = (fps, at_us * unit);
        }
        let turn = (at_us + EARLY_US_MAX) * unit >= self.next;
        if turn {
            self.next = (self.next + 1_000_000).max(at_us * unit);
        }
        turn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_thinned_out_evenly_and_never_doubled() {
        // (pictures per second of the source, asked for, sent in 10 s)
        let rows = [
            (30.0, 30, 300),
            (60.0, 30, 300),
            (50.0, 30, 300),
            (25.0, 30, 250),
            (29.97, 30, 300),
            (30.0, 7, 70),
        ];
        for (source_fps, asked, wanted) in rows {
            let mut pace = Pace::default();
            let due = |number: u64| (number as f64 * 1e6 / source_fps) as u64;
            let sent: Vec<_> =
                (0..).map(due).take_while(|at| *at < 10_000_000).filter(|at| pace.turn(*at, asked)).collect();
            assert_eq!(sent.len(), wanted, "{source_fps} to {asked}");
            let longest = sent.windows(2).map(|pair| pair[1] - pair[0]).max();
            let bound = 1e6 / f64::from(asked) + 1e6 / source_fps;
            assert!(longest.is_some_and(|gap| gap as f64 <= bound), "{source_fps} to {asked}: {longest:?}");
        }
    }
}
