//! From pictures and sound to encoded frames: the half of a capture that doesn't care where they come from.
//!
//! [`VideoEncoding`] fits pictures into the format that was asked for and decides which are key frames.
//! [`SoundEncoding`] tells how loud each frame is. Both are called with what is to be encoded and return what
//! came of it; threads and time are their caller's.

use std::sync::Arc;

use bytes::Bytes;
use plenary_proto::StreamId;
use plenary_proto::identity::opus::UNMARKED_LEN_MAX;
use plenary_proto::identity::{FrameIdentity, MediaKind, h264, opus};

use crate::codec::{CodecError, Codecs, SoundEncoder, VideoEncoder, VideoFormat};
use crate::keys::KeyFrames;
use crate::level::level;
use crate::picture::PICTURE_SIDE_MIN;
use crate::scale::{Rect, Scaler};
use crate::{Frame, Picture, PictureView};

/// Of frames that needn't be sent, one in so many is: 400 ms. Opus encoders have something to say by then (RFC 7587, 3.1.3);
/// whoever hears nothing for longer takes the speaker for gone.
const SILENT_FRAMES_MAX: u32 = 20;
/// Smallest side that encoders take.
const SIDE_MIN: usize = PICTURE_SIDE_MIN as usize;

/// A frame as its encoder made it, before it gets its identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// Picture or sound.
    pub kind: MediaKind,
    /// When it was captured, in microseconds of the process's clock.
    pub captured_us: u64,
    /// An access unit in Annex B form, or an Opus packet.
    pub data: Bytes,
    /// Decodable without any earlier frame; false for sound.
    pub key: bool,
    /// Temporal layer; 0 for sound.
    pub temporal: u8,
    /// How loud the sound is, in −dBov: 0 loudest, 127 silent (RFC 6464); `None` for pictures.
    pub level: Option<u8>,
}

impl Encoded {
    /// The frame of that number of a stream, its identity also in its bytes, where every player and relay leaves it
    /// alone. Silence of one or two bytes has no room for it: its identity follows from its neighbours. `None` for
    /// a picture that is no access unit.
    pub fn identified(&self, stream: StreamId, number: u32) -> Option<Frame> {
        let Encoded { kind, captured_us, key, temporal, level, .. } = *self;
        let identity = FrameIdentity { stream, number, captured_us, temporal, key, epoch: 0 };
        let data = match kind {
            MediaKind::Video => h264::mark(&self.data, &identity)?.into(),
            MediaKind::Sound => {
                opus::mark(&self.data, &identity).map_or_else(|| self.data.clone(), Bytes::from)
            }
        };
        Some(Frame { kind, identity, data, level })
    }
}

/// Encodes pictures of any size into one requested format.
pub struct VideoEncoding {
    codecs: Arc<dyn Codecs>,
    requested: VideoFormat,
    encoder: Option<(VideoFormat, Box<dyn VideoEncoder>)>,
    scaler: Scaler,
    /// The picture in the encoder's size, when it came in another.
    scaled: Picture,
    keys: KeyFrames,
}

impl VideoEncoding {
    /// Pictures will fit into `requested`, in their own shape, and are not enlarged.
    pub fn new(codecs: Arc<dyn Codecs>, requested: VideoFormat) -> VideoEncoding {
        VideoEncoding {
            codecs,
            requested,
            encoder: None,
            scaler: Scaler::new(),
            scaled: Picture::black(2, 2),
            keys: KeyFrames::default(),
        }
    }

    /// Changes the format from the next picture on. Another size or rate of pictures makes a new encoder, so
    /// the next frame is a key frame; another bit rate does not.
    pub fn set_format(&mut self, format: VideoFormat) {
        self.requested = format;
    }

    /// Makes the next frame a key frame that is at least [`KEY_INTERVAL_US_MIN`](crate::KEY_INTERVAL_US_MIN) after
    /// the last.
    pub fn want_key(&mut self) {
        self.keys.want();
    }

    /// Encodes one picture; `None` when the encoder skips it.
    ///
    /// # Errors
    /// [`CodecError`] when the codec refuses the format or fails; the next picture gets a new encoder.
    pub fn push(
        &mut self,
        picture: &PictureView<'_>,
        captured_us: u64,
    ) -> Result<Option<Encoded>, CodecError> {
        self.prepare((picture.width, picture.height))?;
        let Some((format, encoder)) = &mut self.encoder else { return Ok(None) };
        let key = self.keys.is_due(captured_us);
        let size = (usize::from(format.width), usize::from(format.height));
        let encoded = if (picture.width, picture.height) == size {
            encoder.encode(picture, key)
        } else {
            if (self.scaled.width(), self.scaled.height()) != size {
                self.scaled = Picture::black(size.0, size.1);
            }
            let all = Rect { x: 0, y: 0, width: size.0, height: size.1 };
            self.scaler.draw(picture, &mut self.scaled, all);
            encoder.encode(&self.scaled.view(), key)
        };
        let encoded = encoded.inspect_err(|_| self.encoder = None)?;
        let Some(encoded) = encoded else { return Ok(None) };
        if encoded.key {
            self.keys.made(captured_us);
        }
        Ok(Some(Encoded {
            kind: MediaKind::Video,
            captured_us,
            data: encoded.data,
            key: encoded.key,
            temporal: encoded.temporal,
            level: None,
        }))
    }

    /// Has an encoder for pictures of this size.
    fn prepare(&mut self, size: (usize, usize)) -> Result<(), CodecError> {
        let (width, height) = fitted(size, (self.requested.width.into(), self.requested.height.into()));
        let format = VideoFormat { width: width as u16, height: height as u16, ..self.requested };
        let bitrate_bps = format.bitrate_bps;
        match &mut self.encoder {
            Some((had, _)) if *had == format => {}
            Some((had, encoder)) if (VideoFormat { bitrate_bps, ..*had }) == format => {
                encoder.set_bitrate(bitrate_bps);
                *had = format;
            }
            slot => {
                // the old one goes first: two large encoders at once are a lot of memory
                *slot = None;
                *slot = Some((format, self.codecs.video_encoder(&format)?));
                self.keys.begin_anew();
            }
        }
        Ok(())
    }
}

/// Encodes sound, 20 ms a frame.
pub struct SoundEncoding {
    encoder: Box<dyn SoundEncoder>,
    dtx: bool,
    /// Frames in a row that needn't be sent.
    silent: u32,
}

impl SoundEncoding {
    /// For 1 or 2 channels.
    ///
    /// # Errors
    /// [`CodecError::Failed`] when the codec refuses that.
    pub fn new(codecs: &dyn Codecs, channels: u8, bitrate_bps: u32) -> Result<SoundEncoding, CodecError> {
        Ok(SoundEncoding { encoder: codecs.sound_encoder(channels, bitrate_bps)?, dtx: false, silent: 0 })
    }

    /// Leaves frames out in which nobody speaks, or no more: see [`SoundEncoder::set_dtx`]. Off at first.
    pub fn set_dtx(&mut self, on: bool) {
        (self.dtx, self.silent) = (on, 0);
        self.encoder.set_dtx(on);
    }

    /// Tells how many of 100 packets get lost on the way.
    pub fn set_loss(&mut self, percent: u8) {
        self.encoder.set_loss(percent);
    }

    /// Encodes [`SOUND_FRAME_LEN`](crate::SOUND_FRAME_LEN) samples per channel, interleaved, −1 to 1. `None` for a frame
    /// that is left out. The first of those in a row isn't: of one or two bytes, it tells that silence follows, which
    /// otherwise would look like loss until the next one comes.
    ///
    /// # Errors
    /// [`CodecError::Failed`].
    pub fn push(&mut self, samples: &[f32], captured_us: u64) -> Result<Option<Encoded>, CodecError> {
        let data = self.encoder.encode(samples)?;
        if self.dtx && data.len() <= UNMARKED_LEN_MAX {
            self.silent = self.silent % SILENT_FRAMES_MAX + 1;
            if self.silent > 1 {
                return Ok(None);
            }
        } else {
            self.silent = 0;
        }
        let level = Some(level(samples));
        Ok(Some(Encoded { kind: MediaKind::Sound, captured_us, data, key: false, temporal: 0, level }))
    }
}

/// The largest even size of the same shape that fits into `bounds` and is no larger than `size`: who shows a
/// picture can enlarge it as well. No side gets shorter than 16 pixels; a very long picture is squeezed then.
fn fitted(size: (usize, usize), bounds: (usize, usize)) -> (usize, usize) {
    let small = size.0 <= bounds.0 && size.1 <= bounds.1;
    let bounds = Rect { x: 0, y: 0, width: bounds.0, height: bounds.1 };
    let Rect { width, height, .. } = bounds.fit(size.0, size.1);
    let (width, height) = if small { size } else { (width, height) };
    ((width & !1).max(SIDE_MIN), (height & !1).max(SIDE_MIN))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Says of every frame that it needn't be sent, whoever asked.
    struct Mute;

    impl SoundEncoder for Mute {
        fn encode(&mut self, _samples: &[f32]) -> Result<Bytes, CodecError> {
            Ok(Bytes::from_static(&[0x78]))
        }
    }

    #[test]
    fn of_frames_that_need_not_be_sent_one_each_400_ms_is_and_all_where_none_may_be_left_out() {
        let mut encoding = SoundEncoding { encoder: Box::new(Mute), dtx: false, silent: 0 };
        let mut sent = |dtx: bool| -> Vec<u64> {
            encoding.set_dtx(dtx);
            let frames = (0..50).filter_map(|frame| encoding.push(&[0.0], frame).unwrap());
            frames.map(|encoded| encoded.captured_us).collect()
        };
        assert_eq!(sent(false).len(), 50);
        assert_eq!(sent(true), [0, 20, 40]);
        assert_eq!(sent(false).len(), 50);
    }

    #[test]
    fn a_picture_keeps_its_shape_and_is_never_enlarged() {
        // (size, bounds, fitted)
        let rows = [
            ((1280, 720), (640, 360), (640, 360)),
            ((640, 360), (640, 360), (640, 360)),
            ((320, 180), (640, 360), (320, 180)),
            ((720, 1280), (640, 360), (202, 360)),
            ((1920, 800), (640, 360), (640, 266)),
            ((641, 361), (640, 360), (640, 360)),
            ((1000, 20), (500, 500), (500, 16)),
            ((1, 1), (640, 360), (16, 16)),
        ];
        for (size, bounds, wanted) in rows {
            assert_eq!(fitted(size, bounds), wanted, "{size:?} into {bounds:?}");
        }
    }
}
