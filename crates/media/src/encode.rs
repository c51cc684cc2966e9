//! Encoding stage of a capture, independent of where pictures and sound come from.
//!
//! [`VideoEncoding`] fits pictures into the requested format and schedules keyframes. [`SoundEncoding`]
//! measures the level of each frame. Both are synchronous: they take raw media and return encoded frames;
//! threads and timing belong to the caller.

use std::sync::Arc;

use bytes::Bytes;
use plenary_proto::StreamId;
use plenary_proto::identity::opus::UNMARKED_LEN_MAX;
use plenary_proto::identity::seal::Sealer;
use plenary_proto::identity::{FrameIdentity, MediaKind, h264, opus};

use crate::codec::{CodecError, Codecs, SoundEncoder, VideoEncoder, VideoFormat};
use crate::keys::KeyFrames;
use crate::level::level;
use crate::picture::PICTURE_SIDE_MIN;
use crate::scale::{Rect, Scaler};
use crate::{Frame, Picture, PictureView};

/// DTX interval in frames: while the encoder reports silence, one frame of this many is sent, each 400 ms.
/// Opus encoders send an update by then as well (RFC 7587, 3.1.3); a jitter buffer that gets nothing for 1 s
/// takes the speaker for gone.
const SILENT_FRAMES_MAX: u32 = 20;
/// Smallest side that encoders accept.
const SIDE_MIN: usize = PICTURE_SIDE_MIN as usize;

/// An encoded frame before it gets its identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// Picture or sound.
    pub kind: MediaKind,
    /// Capture time, in microseconds of the process's clock.
    pub captured_us: u64,
    /// An access unit in Annex B form, or an Opus packet.
    pub data: Bytes,
    /// Whether the frame is decodable without any earlier frame; false for sound.
    pub key: bool,
    /// Temporal layer; 0 for sound.
    pub temporal: u8,
    /// Sound level in −dBov: 0 is loudest, 127 silent (RFC 6464). `None` for pictures.
    pub level: Option<u8>,
}

impl Encoded {
    /// Turns it into frame `number` of `stream`, which begins with packet `first_packet`, and embeds the identity in
    /// the bytes, where players and relays leave it untouched. A silent packet of one or two bytes has no room for it:
    /// the receiver derives its identity from the neighbours. Returns `None` for a picture that is not an access unit.
    pub fn identified(&self, stream: StreamId, number: u32, first_packet: u64) -> Option<Frame> {
        self.sealed(stream, number, first_packet, None)
    }

    /// Embeds the identity, and a seal behind it where one is due; as [`identified`](Self::identified).
    pub fn sealed(
        &self,
        stream: StreamId,
        number: u32,
        first_packet: u64,
        sealer: Option<&mut Sealer>,
    ) -> Option<Frame> {
        let Encoded { kind, captured_us, key, temporal, level, .. } = *self;
        let identity = FrameIdentity { stream, number, captured_us, temporal, key, epoch: 0, first_packet };
        let tail = sealer.map(|sealer| sealer.seal(&self.data, &identity)).unwrap_or_default();
        let data = match kind {
            MediaKind::Video => h264::mark_with(&self.data, &identity, &tail)?.into(),
            MediaKind::Sound => {
                let marked = opus::mark_with(&self.data, &identity, &tail);
                marked.map_or_else(|| self.data.clone(), Bytes::from)
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
    /// The picture scaled to the encoder's size, when it came in another.
    scaled: Picture,
    keys: KeyFrames,
}

impl VideoEncoding {
    /// Creates an encoding that fits pictures into `requested`: they keep their aspect ratio and are never
    /// enlarged.
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

    /// Changes the format from the next picture on. Another size or frame rate creates a new encoder, so the
    /// next frame is a keyframe; another bitrate does not.
    pub fn set_format(&mut self, format: VideoFormat) {
        self.requested = format;
    }

    /// Requests a keyframe: the next frame at least [`KEY_INTERVAL_US_MIN`](crate::KEY_INTERVAL_US_MIN) after
    /// the last keyframe.
    pub fn want_key(&mut self) {
        self.keys.want();
    }

    /// Encodes one picture; returns `None` when the encoder skips the picture.
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

    /// Ensures that the encoder matches pictures of this size, by a new bitrate or a new encoder.
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
                // drop the old encoder first: two large encoders at once take a lot of memory
                *slot = None;
                *slot = Some((format, self.codecs.video_encoder(&format)?));
                self.keys.begin_anew();
            }
        }
        Ok(())
    }
}

/// Encodes sound in frames of 20 ms.
pub struct SoundEncoding {
    encoder: Box<dyn SoundEncoder>,
    dtx: bool,
    /// Consecutive frames that DTX allows to omit, modulo the DTX interval.
    silent: u32,
}

impl SoundEncoding {
    /// Creates an encoding for 1 or 2 channels.
    ///
    /// # Errors
    /// [`CodecError::Failed`] when the codec refuses the parameters.
    pub fn new(codecs: &dyn Codecs, channels: u8, bitrate_bps: u32) -> Result<SoundEncoding, CodecError> {
        Ok(SoundEncoding { encoder: codecs.sound_encoder(channels, bitrate_bps)?, dtx: false, silent: 0 })
    }

    /// Switches DTX on or off: frames without speech are omitted, see [`SoundEncoder::set_dtx`]. Off at
    /// first.
    pub fn set_dtx(&mut self, on: bool) {
        (self.dtx, self.silent) = (on, 0);
        self.encoder.set_dtx(on);
    }

    /// Sets the expected packet loss in percent.
    pub fn set_loss(&mut self, percent: u8) {
        self.encoder.set_loss(percent);
    }

    /// Encodes [`SOUND_FRAME_LEN`](crate::SOUND_FRAME_LEN) samples per channel, interleaved, −1 to 1. Returns
    /// `None` for a frame that DTX omits. The first frame of a silence is never omitted: its packet of one or
    /// two bytes announces the silence, which would otherwise look like loss until the next packet arrives.
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

/// Largest even size of the same aspect ratio that fits into `bounds` and doesn't exceed `size`: enlarging is
/// left to the display. No side gets shorter than 16 pixels; a very long picture is distorted then.
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

    /// Encoder that marks every frame as not worth sending, with or without DTX.
    struct Mute;

    impl SoundEncoder for Mute {
        fn encode(&mut self, _samples: &[f32]) -> Result<Bytes, CodecError> {
            Ok(Bytes::from_static(&[0x78]))
        }
    }

    #[test]
    fn one_frame_each_400_ms_is_sent_of_those_that_need_not_be_sent() {
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
