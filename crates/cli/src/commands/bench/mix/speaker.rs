//! Camera and encoder of a speaker, as a mixer sees them.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use plenary_media::codec::{Codecs, VideoEncoder, VideoFormat};
use plenary_media::scale::{Rect, Scaler};
use plenary_media::source::{Source, TestSource, open_source};
use plenary_media::{Frame, Picture, SOUND_FRAME_LEN, SoundEncoding};
use plenary_proto::StreamId;
use plenary_proto::identity::{FrameIdentity, MediaKind};

/// Offset between speakers that play the same file, in pictures: a little over a second.
const APART: u32 = 37;
/// Bit rate of a speaker at 640×360@30. Larger formats scale with the power of 3/4 of their pixels per
/// second.
const BPS_AT_360P: f64 = 600_000.0;
const SOUND_BPS: u32 = 32_000;
/// Packets of silence per second: the rate of an encoder with DTX.
const SOUNDS_PER_S: u32 = 3;

pub(super) struct Speaker {
    source: Box<dyn Source>,
    scaler: Scaler,
    picture: Picture,
    encoder: Box<dyn VideoEncoder>,
    sound: SoundEncoding,
    stream: StreamId,
    stands_still: bool,
    fps: u32,
}

impl Speaker {
    /// `index` distinguishes the speakers; without a file the speaker sends the test picture.
    pub(super) fn new(
        codecs: &Arc<dyn Codecs>,
        file: Option<&Path>,
        format: &VideoFormat,
        index: u8,
        stands_still: bool,
    ) -> anyhow::Result<Speaker> {
        let VideoFormat { width, height, fps, .. } = *format;
        let pixels = f64::from(width) * f64::from(height) * f64::from(fps) / (640.0 * 360.0 * 30.0);
        let format = VideoFormat { bitrate_bps: (BPS_AT_360P * pixels.powf(0.75)) as u32, ..*format };
        let mut source = match file {
            Some(file) => open_source(file, codecs)?,
            None => Box::new(TestSource::new(index, width, height, fps)),
        };
        if source.pictures().is_none() {
            bail!("{}: the source has no pictures", file.unwrap_or(Path::new("the test picture")).display());
        }
        for _ in 0..u32::from(index) * APART {
            source.next_picture()?;
        }
        Ok(Speaker {
            source,
            scaler: Scaler::new(),
            picture: Picture::black(width.into(), height.into()),
            encoder: codecs.video_encoder(&format)?,
            sound: SoundEncoding::new(&**codecs, 1, SOUND_BPS)?,
            stream: StreamId(u64::from(index).to_be_bytes()),
            stands_still,
            fps: fps.into(),
        })
    }

    /// Returns the frame that the speaker sends for the program picture of that number, if any. A file
    /// advances one picture per step, whatever its frame rate.
    pub(super) fn next(&mut self, number: u32, captured_us: u64) -> anyhow::Result<Option<Frame>> {
        if !self.stands_still || number == 0 {
            self.source.next_picture()?;
            let view = self.source.picture();
            let (width, height) = (self.picture.width(), self.picture.height());
            let whole = Rect { x: 0, y: 0, width, height };
            self.scaler.draw(&view, &mut self.picture, whole.fit(view.width, view.height));
        } else if !number.is_multiple_of(self.fps) {
            return Ok(None);
        }
        let encoded = self.encoder.encode(&self.picture.view(), number == 0)?;
        Ok(encoded.map(|encoded| {
            let identity = FrameIdentity {
                temporal: encoded.temporal,
                key: encoded.key,
                ..FrameIdentity::single(self.stream, number + 1, captured_us)
            };
            Frame { kind: MediaKind::Video, identity, data: encoded.data, level: None }
        }))
    }

    /// Returns the silence that the speaker sends for the program picture of that number, if any. Without
    /// sound its tile would show the mute mark, which other software doesn't draw.
    pub(super) fn silence(&mut self, number: u32, captured_us: u64) -> anyhow::Result<Option<Frame>> {
        let apart = (self.fps / SOUNDS_PER_S).max(1);
        if !number.is_multiple_of(apart) {
            return Ok(None);
        }
        let encoded = self
            .sound
            .push(&[0.0; SOUND_FRAME_LEN], captured_us)?
            .context("the sound encoder yielded no frame")?;
        let sound = number / apart + 1;
        Ok(encoded.identified(self.stream, sound, sound.into()))
    }

    /// Returns the last camera picture.
    pub(super) fn picture(&self) -> &Picture {
        &self.picture
    }
}
