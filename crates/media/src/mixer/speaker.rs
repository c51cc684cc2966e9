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
use crate::mix::channels;

/// A frame quieter than this may be left out or doubled unheard, −dBov. A guess.
const QUIET_LEVEL: u8 = 50;
/// Decoded samples beyond this are no sound.
const SAMPLE_MAX: f32 = 8.0;
/// Frames that weren't decoded and are kept, for a decoder that is needed again to catch up on: 120 ms. Measured with
/// libopus and speech: what it then gives differs from what one that never paused gives by −6 dB with 1, −17 dB with 3,
/// −23 dB with 4 and −30 dB with 6.
const MISSED_MAX: usize = 6;

pub(super) struct Speaker {
    pub(super) feed: Arc<Feed>,
    decoder: Option<Box<dyn SoundDecoder>>,
    is_decoded: bool,
    /// By how much it was quieter than it was said to be, dB, less 1 dB for each step since: who lies gains a step in
    /// some seconds by it.
    overstated_db: u8,
    /// What was played undecoded lately, at most [`MISSED_MAX`] frames.
    missed: VecDeque<Pulled>,
    drift: Drift,
    retimed: Retimed,
    /// What it sends is kept in stereo, if it is.
    stereo: bool,
    /// Its 20 ms: [`SOUND_FRAME_LEN`] samples per channel, interleaved, −1 to 1.
    pub(super) samples: Vec<f32>,
    /// Of these samples, by RFC 6464; as it is said to be while it isn't decoded.
    pub(super) level: u8,
    /// Encodes the mix without this speaker's voice, while there is one.
    pub(super) minus: Option<Box<dyn SoundEncoder>>,
}

impl Speaker {
    pub(super) fn new(feed: Arc<Feed>) -> Speaker {
        Speaker {
            feed,
            decoder: None,
            is_decoded: false,
            overstated_db: 0,
            missed: VecDeque::new(),
            drift: Drift::default(),
            retimed: Retimed::default(),
            stereo: false,
            samples: vec![0.0; SOUND_FRAME_LEN],
            level: LEVEL_SILENT,
            minus: None,
        }
    }

    /// Whether it is decoded from the next step on. Otherwise its samples are silence.
    pub(super) fn set_decoded(&mut self, decoded: bool) {
        self.is_decoded = decoded;
    }

    /// Whether its samples have two channels.
    pub(super) fn is_stereo(&self) -> bool {
        self.stereo
    }

    /// Has its samples in stereo from the next step on, or in mono. A change costs its decoder what that had learnt.
    pub(super) fn set_stereo(&mut self, stereo: bool) {
        if stereo == self.stereo {
            return;
        }
        (self.stereo, self.decoder) = (stereo, None);
        self.samples = vec![0.0; SOUND_FRAME_LEN * channels(stereo)];
        self.retimed.set_stereo(stereo);
    }

    pub(super) fn is_decoded(&self) -> bool {
        self.is_decoded
    }

    /// How loud it may be soon, by what is said of it and how right that was; `None` when nobody says so.
    pub(super) fn expected_level(&self) -> Option<u8> {
        self.feed.level_ahead().map(|said| self.corrected(said))
    }

    /// Brings `samples` and `level` to the 20 ms from `captured_us` on.
    pub(super) fn play(&mut self, captured_us: u64, codecs: &dyn Codecs) -> Result<(), CodecError> {
        let mut result = if self.is_decoded { self.catch_up(codecs) } else { Ok(()) };
        let Speaker { feed, decoder, is_decoded, missed, drift, retimed, samples, stereo, .. } = self;
        let quiet = self.level > QUIET_LEVEL;
        let mut said = None;
        retimed.set_ppm(drift.ppm());
        retimed.play(samples, |ahead_us, frame| {
            let taken = feed.pull_sound(captured_us, ahead_us, quiet);
            if let Some(early_us) = taken.early_us {
                drift.observe(early_us);
            }
            said = taken.level;
            if !*is_decoded {
                // a pause is heard as long as it may be, and is one thing to catch up on
                if taken.pulled != Pulled::Pause || missed.back() != Some(&Pulled::Pause) {
                    if missed.len() == MISSED_MAX {
                        missed.pop_front();
                    }
                    missed.push_back(taken.pulled);
                }
                return frame.fill(0.0);
            }
            if let Err(error) = decode_frame(taken.pulled, *stereo, decoder, codecs, frame) {
                frame.fill(0.0);
                result = Err(error);
            }
        });
        self.overstated_db = self.overstated_db.saturating_sub(1);
        if self.is_decoded {
            self.level = level(&self.samples);
            let overstated_db = said.map_or(0, |said| self.level.saturating_sub(said));
            self.overstated_db = self.overstated_db.max(overstated_db);
        } else if let Some(said) = said {
            self.level = self.corrected(said);
        } // in a step without a new frame, what was said of the one before still holds
        result
    }

    fn corrected(&self, said: u8) -> u8 {
        said.saturating_add(self.overstated_db).min(LEVEL_SILENT)
    }

    /// Decodes what was missed lately, so that the decoder is where it would be had it never paused.
    fn catch_up(&mut self, codecs: &dyn Codecs) -> Result<(), CodecError> {
        if self.missed.is_empty() {
            return Ok(());
        }
        let mut frame = vec![0.0; SOUND_FRAME_LEN * channels(self.stereo)];
        let mut result = Ok(());
        for pulled in self.missed.drain(..) {
            if let Err(error) = decode_frame(pulled, self.stereo, &mut self.decoder, codecs, &mut frame) {
                frame.fill(0.0);
                result = Err(error);
            }
        }
        // the end of the last one is still to be played
        let held = self.retimed.held_mut();
        let len = held.len().min(frame.len());
        let (at, from) = (held.len() - len, frame.len() - len);
        held[at..].copy_from_slice(&frame[from..]);
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
    stereo: bool,
    decoder: &mut Option<Box<dyn SoundDecoder>>,
    codecs: &dyn Codecs,
    samples: &mut [f32],
) -> Result<(), CodecError> {
    let unheard = pulled == Pulled::Pause && decoder.is_none();
    if unheard || pulled == Pulled::Silence {
        samples.fill(0.0);
        return Ok(());
    }
    let decoder = match decoder {
        Some(decoder) => decoder,
        none => none.insert(codecs.sound_decoder(channels(stereo) as u8)?),
    };
    match pulled {
        Pulled::Packet(packet) => decoder.decode(&packet, samples)?,
        Pulled::Lost { next } => decoder.conceal(next.as_deref(), samples),
        // what decoders make up fades to the noise that was there before
        Pulled::Pause => decoder.conceal(None, samples),
        Pulled::Silence => {}
    }
    for sample in samples {
        // also what isn't a number
        *sample = if sample.abs() <= SAMPLE_MAX { *sample } else { 0.0 };
    }
    Ok(())
}
