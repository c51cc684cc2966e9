//! Sound of one speaker: decoding, clock drift correction, and the encoder of its mix-minus.

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

/// Level below which a frame is quiet enough to be dropped or duplicated inaudibly, −dBov. A guess.
const QUIET_LEVEL: u8 = 50;
/// Maximum magnitude of a decoded sample; larger values are invalid and become silence.
const SAMPLE_MAX: f32 = 8.0;
/// Maximum number of recent undecoded frames kept per speaker, 120 ms, which a decoder that is needed again
/// decodes to catch up. Measured with libopus and speech: the difference from a decoder that never paused is
/// −6 dB with 1 frame, −17 dB with 3, −23 dB with 4 and −30 dB with 6.
const MISSED_MAX: usize = 6;

pub(super) struct Speaker {
    pub(super) feed: Arc<Feed>,
    decoder: Option<Box<dyn SoundDecoder>>,
    is_decoded: bool,
    /// Amount by which the speaker overstated its level, dB, decreasing by 1 dB per step. So a speaker that
    /// lies about its level gains one step of decoding in some seconds.
    overstated_db: u8,
    /// Frames played lately without decoding, at most [`MISSED_MAX`].
    missed: VecDeque<Pulled>,
    drift: Drift,
    retimed: Retimed,
    /// Whether stereo sound of this speaker is kept in stereo.
    stereo: bool,
    /// The current 20 ms: [`SOUND_FRAME_LEN`] samples per channel, interleaved, −1 to 1.
    pub(super) samples: Vec<f32>,
    /// Audio level of `samples`, RFC 6464; while the speaker isn't decoded, the level that its packets state.
    pub(super) level: u8,
    /// Encoder of the mix without this speaker's voice, while there is such a mix.
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

    /// Sets whether the speaker is decoded from the next step on. Otherwise its samples are silence.
    pub(super) fn set_decoded(&mut self, decoded: bool) {
        self.is_decoded = decoded;
    }

    /// Returns whether its samples have two channels.
    pub(super) fn is_stereo(&self) -> bool {
        self.stereo
    }

    /// Sets whether its samples are stereo, from the next step on. A change discards the decoder's state.
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

    /// Returns the level that the speaker may soon have: the level stated by its waiting packets, corrected
    /// by how much it overstated before. `None` when not all of them state a level.
    pub(super) fn expected_level(&self) -> Option<u8> {
        self.feed.level_ahead().map(|said| self.corrected(said))
    }

    /// Sets `samples` and `level` to those of the 20 ms that begin at `captured_us`.
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
                // a DTX pause may be long, and takes one entry to catch up on
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
        } // in a step without a new frame the previous stated level holds
        result
    }

    fn corrected(&self, said: u8) -> u8 {
        said.saturating_add(self.overstated_db).min(LEVEL_SILENT)
    }

    /// Decodes the frames that were missed lately, so that the decoder is in the state that it would have
    /// without the interruption.
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
        // the end of the last frame hasn't been played yet
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

    /// Encodes the mix without this speaker; a new encoder first encodes the recent shared mix, to get its
    /// state.
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

/// Decodes or conceals one frame; the decoder is created for the first.
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
        // the decoder's concealment fades to the background noise that it heard before
        Pulled::Pause => decoder.conceal(None, samples),
        Pulled::Silence => {}
    }
    for sample in samples {
        // this also removes NaN
        *sample = if sample.abs() <= SAMPLE_MAX { *sample } else { 0.0 };
    }
    Ok(())
}
