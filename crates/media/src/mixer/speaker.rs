//! One speaker's sound: decoded, brought to our time, and the mix encoded that lacks it.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::drift::{Drift, Retimed};
use super::feed::Feed;
use crate::SOUND_FRAME_LEN;
use crate::codec::{CodecError, Codecs, SoundDecoder, SoundEncoder};
use crate::jitter::Pulled;
use crate::level::{LEVEL_SILENT, level};

/// A frame quieter than this may be left out or doubled unheard, −dBov. A guess.
const QUIET_LEVEL: u8 = 50;
/// Decoded samples beyond this are no sound.
const SAMPLE_MAX: f32 = 8.0;

pub(super) struct Speaker {
    pub(super) feed: Arc<Feed>,
    decoder: Option<Box<dyn SoundDecoder>>,
    drift: Drift,
    retimed: Retimed,
    /// Its 20 ms: [`SOUND_FRAME_LEN`] samples, −1 to 1.
    pub(super) samples: Vec<f32>,
    /// Of these samples, by RFC 6464.
    pub(super) level: u8,
    /// Encodes the mix without this speaker's voice, while there is one.
    pub(super) minus: Option<Box<dyn SoundEncoder>>,
}

impl Speaker {
    pub(super) fn new(feed: Arc<Feed>) -> Speaker {
        Speaker {
            feed,
            decoder: None,
            drift: Drift::default(),
            retimed: Retimed::default(),
            samples: vec![0.0; SOUND_FRAME_LEN],
            level: LEVEL_SILENT,
            minus: None,
        }
    }

    /// Brings `samples` and `level` to the 20 ms from `captured_us` on.
    pub(super) fn decode(&mut self, captured_us: u64, codecs: &dyn Codecs) -> Result<(), CodecError> {
        let Speaker { feed, decoder, drift, retimed, samples, .. } = self;
        let quiet = self.level > QUIET_LEVEL;
        let mut result = Ok(());
        retimed.set_ppm(drift.ppm());
        retimed.play(samples, |ahead_us, frame| {
            let (pulled, early_us) = feed.pull_sound(captured_us, ahead_us, quiet);
            if let Some(early_us) = early_us {
                drift.observe(early_us);
            }
            if let Err(error) = decode_frame(pulled, decoder, codecs, frame) {
                frame.fill(0.0);
                result = Err(error);
            }
        });
        self.level = level(&self.samples);
        result
    }

    #[cfg(test)]
    pub(super) fn drift(&self) -> &Drift {
        &self.drift
    }

    /// Encodes the mix without this speaker; a new encoder rehearses what was heard so far.
    pub(super) fn encode_minus(
        &mut self,
        samples: &[f32],
        recent: &VecDeque<Vec<f32>>,
        made: impl FnOnce() -> Result<Box<dyn SoundEncoder>, CodecError>,
    ) -> Result<Bytes, CodecError> {
        let encoder = match &mut self.minus {
            Some(encoder) => encoder,
            none => {
                let encoder = none.insert(made()?);
                for heard in recent {
                    encoder.encode(heard)?;
                }
                encoder
            }
        };
        encoder.encode(samples)
    }
}

/// Decodes one frame, or makes it up; the decoder is made for the first.
fn decode_frame(
    pulled: Pulled,
    decoder: &mut Option<Box<dyn SoundDecoder>>,
    codecs: &dyn Codecs,
    samples: &mut [f32],
) -> Result<(), CodecError> {
    if pulled == Pulled::Silence {
        samples.fill(0.0);
        return Ok(());
    }
    let decoder = match decoder {
        Some(decoder) => decoder,
        none => none.insert(codecs.sound_decoder(1)?),
    };
    match pulled {
        Pulled::Packet(packet) => decoder.decode(&packet, samples)?,
        Pulled::Lost { next } => decoder.conceal(next.as_deref(), samples),
        Pulled::Silence => {}
    }
    for sample in samples {
        // also what isn't a number
        *sample = if sample.abs() <= SAMPLE_MAX { *sample } else { 0.0 };
    }
    Ok(())
}
