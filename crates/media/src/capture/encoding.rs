//! Encoding half of a capture, independent of the input: encodes, counts and delivers the requested frames.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{CaptureFormat, Shared, Wanted, locked};
use crate::PictureView;
use crate::codec::{CodecError, Codecs, VideoFormat};
use crate::encode::{Encoded, SoundEncoding, VideoEncoding};

/// Tolerance for a picture before its slot, in microseconds: covers rounded capture times, not a different
/// frame rate.
const EARLY_US_MAX: u64 = 1_000;

/// A capture's encoders, and the sink of their frames.
pub(super) struct Encoding {
    codecs: Arc<dyn Codecs>,
    channels: u8,
    sound_bitrate_bps: u32,
    sink: Box<dyn FnMut(Encoded) + Send>,
    pub(super) shared: Arc<Shared>,
    video: VideoEncoding,
    sound: Option<SoundEncoding>,
    loss_percent: Option<u8>,
    dtx: bool,
}

impl Encoding {
    pub(super) fn new(
        codecs: Arc<dyn Codecs>,
        channels: u8,
        format: CaptureFormat,
        sink: Box<dyn FnMut(Encoded) + Send>,
        shared: Arc<Shared>,
    ) -> Encoding {
        Encoding {
            video: VideoEncoding::new(codecs.clone(), format.video),
            codecs,
            channels,
            sound_bitrate_bps: format.sound_bitrate_bps,
            sink,
            shared,
            sound: None,
            loss_percent: None,
            dtx: false,
        }
    }

    /// Encodes a picture at a frame rate of `fps`.
    pub(super) fn picture(&mut self, picture: &PictureView<'_>, fps: u8, captured_us: u64, wanted: &Wanted) {
        self.video.set_format(VideoFormat { fps, ..wanted.video });
        if wanted.key {
            locked(&self.shared.wanted).key = false;
            self.video.want_key();
        }
        match self.video.push(picture, captured_us) {
            Ok(None) => {}
            Ok(Some(encoded)) => {
                self.shared.encoded_frames.fetch_add(1, Ordering::Relaxed);
                (self.sink)(encoded);
            }
            Err(error) => self.shared.note(&error),
        }
    }

    /// Encodes 20 ms of sound, unless sound is paused.
    pub(super) fn sound(&mut self, samples: &[f32], captured_us: u64, wanted: &Wanted) {
        if wanted.sound_paused {
            return;
        }
        match self.encoded_sound(samples, captured_us, wanted) {
            Ok(Some(encoded)) => (self.sink)(encoded),
            Ok(None) => {}
            Err(error) => self.shared.note(&error),
        }
    }

    fn encoded_sound(
        &mut self,
        samples: &[f32],
        captured_us: u64,
        wanted: &Wanted,
    ) -> Result<Option<Encoded>, CodecError> {
        let sound = match &mut self.sound {
            Some(sound) => sound,
            slot => slot.insert(SoundEncoding::new(&*self.codecs, self.channels, self.sound_bitrate_bps)?),
        };
        if let Some(percent) = wanted.loss_percent.filter(|_| wanted.loss_percent != self.loss_percent) {
            sound.set_loss(percent);
            self.loss_percent = wanted.loss_percent;
        }
        if std::mem::replace(&mut self.dtx, wanted.dtx) != wanted.dtx {
            sound.set_dtx(wanted.dtx);
        }
        sound.push(samples, captured_us)
    }
}

/// Thins pictures to a maximum frame rate, evenly; slower pictures pass unchanged.
#[derive(Default)]
pub(super) struct Pace {
    /// Time of the next slot, in units of 1/fps µs, so that steps of 1/30 s don't drift.
    next: u64,
    fps: u8,
}

impl Pace {
    /// Whether to send the picture captured at `at_us`.
    pub(super) fn turn(&mut self, at_us: u64, fps: u8) -> bool {
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
        // (source's pictures per second, requested frame rate, pictures sent in 10 s)
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
