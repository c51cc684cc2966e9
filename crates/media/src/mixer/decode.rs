//! Video decoding of one input. It runs on a thread of its own and scales each picture to the input's tile,
//! so that the decoder's buffer is free again and the composing thread only copies.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::feed::{Feed, Work};
use super::stats::{CpuMeter, Spent, count};
use super::{MixerOutput, Shared};
use crate::codec::{CodecError, Codecs, VideoDecoder};
use crate::scale::{Rect, Scaler, is_whole};
use crate::{Frame, Picture, PictureView};

/// Decodes until the input leaves.
pub(super) fn run(shared: &Shared, feed: &Feed, codecs: Arc<dyn Codecs>) {
    let mut pictures = PictureDecoder::new(codecs);
    let mut cpu = CpuMeter::new(&shared.counts);
    loop {
        let work = feed.wait(&*shared.clock);
        cpu.lap(Spent::Rest);
        match work {
            Work::Decode(frame) => match pictures.decode(&frame, feed, &mut cpu) {
                Ok(pictures) => count(&shared.counts.decoded, pictures),
                Err(error) => refused(feed, &shared.counts.codec_errors, &error),
            },
            Work::RequestKeyframe => shared.give(MixerOutput::KeyWanted { id: feed.id }),
            Work::End => return,
        }
    }
}

fn refused(feed: &Feed, errors: &AtomicU64, error: &CodecError) {
    tracing::debug!(input = feed.id, %error, "a picture could not be decoded");
    count(errors, 1);
    feed.failed();
}

/// Decoder and scaler of one input.
pub(super) struct PictureDecoder {
    codecs: Arc<dyn Codecs>,
    decoder: Option<Box<dyn VideoDecoder>>,
    scaler: Scaler,
}

impl PictureDecoder {
    pub(super) fn new(codecs: Arc<dyn Codecs>) -> PictureDecoder {
        PictureDecoder { codecs, decoder: None, scaler: Scaler::new() }
    }

    /// Decodes a frame into the queue of `feed`, and returns the number of pictures: one or none. The decoder
    /// is created for the first frame, and again for the next one if that failed.
    pub(super) fn decode(
        &mut self,
        frame: &Frame,
        feed: &Feed,
        cpu: &mut CpuMeter<'_>,
    ) -> Result<u64, CodecError> {
        let decoder = match &mut self.decoder {
            Some(decoder) => decoder,
            none => none.insert(self.codecs.video_decoder()?),
        };
        let decoded = decoder.decode(&frame.data);
        let took = cpu.lap(Spent::Decode);
        match decoded? {
            Some(view) if is_whole(&view) => {
                cpu.counts.decoded(took, (view.width * view.height) as u64);
                let picture = fitted(&view, feed, &mut self.scaler);
                cpu.lap(Spent::Scale);
                feed.decoded(frame.identity.captured_us, picture);
                Ok(1)
            }
            Some(_) => {
                let code = "planes shorter than the picture".to_owned();
                Err(CodecError::Decode { codec: "video decoder", code })
            }
            None => {
                feed.nothing_decoded();
                Ok(0)
            }
        }
    }
}

/// Returns the picture scaled to its tile.
fn fitted(view: &PictureView<'_>, feed: &Feed, scaler: &mut Scaler) -> Picture {
    let (view, rect) = feed.tile().of(view).unwrap_or((*view, Rect::default()));
    let mut picture = feed.spare();
    if (picture.width(), picture.height()) != (rect.width, rect.height) {
        picture = Picture::black(rect.width, rect.height);
    }
    scaler.draw(&view, &mut picture, Rect { x: 0, y: 0, ..rect });
    picture
}
