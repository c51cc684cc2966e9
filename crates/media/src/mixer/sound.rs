//! The program's sound: every 20 ms the mixer decodes the loudest speakers and mixes them. It encodes the mix
//! once for all receivers, and once more without the own voice for each speaker that is heard (mix-minus).
//!
//! The mix is mono, except while an input that shares a screen or a film is heard: that sound is decoded,
//! mixed and encoded in stereo. The encoders are then replaced, and prepared as below; decoders take packets
//! of either kind.
//!
//! When a speaker begins or stops being heard, the packets sent to it therefore come from another encoder,
//! but each Opus frame builds on those before. That would click. So a mix-minus encoder first encodes what
//! the shared one encoded last, and is kept for a while after both have the same input again.

use plenary_proto::ordered::OrderedMap;
use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::pace::{Steps, follow};
use super::speaker::Speaker;
use super::stats::{Counts, CpuMeter, Spent, count};
use super::{MixerOutput, MixerPart, Shared, Stage};
use crate::SOUND_FRAME_US;
use crate::codec::{CodecError, Codecs, SoundEncoder};
use crate::jitter::HOLD_US_MIN;
use crate::level::{LEVEL_SILENT, Loudest, level};
use crate::mix::{SoundMix, Voice, append, channels};
use crate::speaking::DominantSpeaker;

/// Maximum number of steps that sound may be late before steps are skipped: 200 ms, since a gap is worse than
/// a burst. A guess.
const BEHIND_MAX: u64 = 10;
/// Time added to the largest delay that an input's sound needs, so that the pictures that came with it are
/// decoded in time. A guess: several times what openh264 takes for 720p (1.5 ms).
pub(super) const DECODE_US: u64 = 10_000;
/// Number of speakers decoded in addition to the `heard_max` loudest: a guess of how many begin to speak in
/// one step.
const NEXT_MAX: usize = 3;
/// Hysteresis in favour of speakers already decoded, dB, so that equally loud speakers don't alternate. A
/// guess.
const DECODED_BONUS_DB: f32 = 3.0;
/// Steps of the shared mix that a mix-minus encoder encodes before its first packet is used: 500 ms, 2 to 4
/// ms of work with libopus. Measured: for speech 1 step makes most of the difference and 5 all of it, but
/// with fewer than 20 the encoder hasn't yet detected that a tone isn't speech, and codes it otherwise than
/// the shared one does.
const REHEARSED_STEPS: usize = 25;
/// Factor of the stereo bitrate over the mono bitrate: each side gets as much as mono.
const STEREO_RATE: u32 = 2;

/// Configuration of the program's sound.
#[derive(Clone, Copy, Debug)]
pub(super) struct SoundConfig {
    /// Bitrate of each mono stream, bits per second.
    pub(super) bitrate_bps: u32,
    /// Maximum number of speakers heard at a time.
    pub(super) heard_max: usize,
}

/// Mixes the program's sound, and sets the playout delay, until the mixer ends, or until it can't.
pub(super) fn run(shared: &Shared, config: SoundConfig) {
    shared.keep_running(MixerPart::SoundMix, || {
        let SoundConfig { bitrate_bps, heard_max } = config;
        // the guard has reported why there is no encoder
        let codecs = Arc::new(shared.codecs.clone());
        let Ok(program) = SoundProgram::new(codecs, bitrate_bps, heard_max) else { return };
        mix(shared, program);
    });
}

fn mix(shared: &Shared, mut program: SoundProgram) {
    let mut steps = Steps::new(1_000_000 / SOUND_FRAME_US, BEHIND_MAX);
    let mut cpu = CpuMeter::new(&shared.counts);
    while let Some(orders) = shared.orders() {
        let step = steps.next((shared.clock)(), shared.delay_us());
        if !shared.wait_until(step.due_us) {
            continue;
        }
        let stage = shared.stage();
        program.set_loss(orders.loss_percent);
        let started = orders.started && step.captured_us >= orders.from_us;
        for output in program.step(step.captured_us, &stage, started, &shared.counts) {
            shared.give(output);
        }
        let (spoke, mute) = (program.dominant().spoke(), mute(&stage, (shared.clock)()));
        if spoke != stage.spoke || mute != stage.mute {
            shared.restage(|stage| (stage.spoke, stage.mute) = (spoke.to_vec(), mute));
            if shared.stage().tiles != stage.tiles {
                shared.give(MixerOutput::TilesMoved);
            }
        }
        steps.done();
        let wanted_us = wanted_delay_us((shared.clock)(), &stage);
        let delay_us = if orders.started { follow(shared.delay_us(), wanted_us) } else { wanted_us };
        shared.set_delay_us(delay_us);
        cpu.lap(Spent::Sound);
    }
}

/// Returns the inputs that send pictures without sound. A second picture has none by nature, and is left out.
pub(super) fn mute(stage: &Stage, now_us: u64) -> Vec<u64> {
    let mute = stage.inputs.iter().filter(|(input, feed)| input.beside.is_none() && feed.is_mute(now_us));
    mute.map(|(input, _)| input.id).collect()
}

/// Returns the playout delay that is sufficient for all inputs.
pub(super) fn wanted_delay_us(now_us: u64, stage: &Stage) -> u64 {
    let wanted = stage.inputs.iter().filter_map(|(_, feed)| feed.delay_us(now_us));
    wanted.max().unwrap_or(HOLD_US_MIN) + DECODE_US
}

/// The speakers' decoders, the mix, and its encoders.
pub(super) struct SoundProgram {
    codecs: Arc<dyn Codecs>,
    bitrate_bps: u32,
    loss_percent: Option<u8>,
    encoder: Box<dyn SoundEncoder>,
    /// Whether the encoders are stereo.
    stereo: bool,
    speakers: OrderedMap<u64, Speaker>,
    loudest: Loudest,
    heard_max: usize,
    dominant: DominantSpeaker,
    mix: SoundMix,
    /// The newest steps of the shared mix, at most [`REHEARSED_STEPS`].
    recent: VecDeque<Vec<f32>>,
}

impl SoundProgram {
    pub(super) fn new(
        codecs: Arc<dyn Codecs>,
        bitrate_bps: u32,
        heard_max: usize,
    ) -> Result<SoundProgram, CodecError> {
        Ok(SoundProgram {
            encoder: codecs.sound_encoder(1, bitrate_bps)?,
            stereo: false,
            codecs,
            bitrate_bps,
            loss_percent: None,
            speakers: OrderedMap::new(),
            loudest: Loudest::new(heard_max),
            heard_max,
            dominant: DominantSpeaker::new(),
            mix: SoundMix::new(),
            recent: VecDeque::new(),
        })
    }

    /// Sets the packet loss of all encoders, percent, if it is known and has changed.
    pub(super) fn set_loss(&mut self, percent: Option<u8>) {
        let Some(percent) = percent.filter(|_| percent != self.loss_percent) else { return };
        self.loss_percent = Some(percent);
        let minus = self.speakers.values_mut().filter_map(|speaker| speaker.minus.as_mut());
        minus.chain([&mut self.encoder]).for_each(|encoder| encoder.set_loss(percent));
    }

    /// Makes the sound of the 20 ms from `captured_us` on. A stopped mixer only updates the speakers' levels.
    pub(super) fn step(
        &mut self,
        captured_us: u64,
        stage: &Stage,
        started: bool,
        counts: &Counts,
    ) -> Vec<MixerOutput> {
        let sounding = || stage.inputs.iter().filter(|(input, _)| input.beside.is_none());
        for (input, feed) in sounding() {
            let known = self.speakers.get(&input.id).is_some_and(|speaker| Arc::ptr_eq(&speaker.feed, feed));
            if !known {
                self.speakers.insert(input.id, Speaker::new(Arc::clone(feed)));
            }
            if let Some(speaker) = self.speakers.get_mut(&input.id) {
                let is_stereo =
                    stage.inputs.iter().any(|(other, _)| other.beside == Some(input.id) && other.shares);
                speaker.set_stereo(input.shares || is_stereo);
            }
        }
        self.choose_decoded(stage);
        for speaker in self.speakers.values_mut() {
            if let Err(error) = speaker.play(captured_us, &*self.codecs) {
                tracing::debug!(input = speaker.feed.id, %error, "sound could not be decoded");
                count(&counts.codec_errors, 1);
            }
        }
        let levels = sounding().map(|(input, _)| {
            let level = self.speakers.get(&input.id).map_or(LEVEL_SILENT, |speaker| speaker.level);
            (input.id, if input.muted { LEVEL_SILENT } else { level })
        });
        let levels: Vec<_> = levels.collect();
        self.loudest.update(&levels);
        self.dominant.update(captured_us, &levels);
        let outputs = if started {
            self.mix_and_encode(captured_us, stage, counts)
        } else {
            self.mix = SoundMix::new(); // after a restart all voices fade in
            self.recent.clear();
            self.speakers.values_mut().for_each(|speaker| speaker.minus = None);
            Vec::new()
        };
        // An input that left was faded out in this step.
        self.speakers.retain(|id, _| stage.feed(*id).is_some());
        outputs
    }

    /// Chooses the speakers to decode: those heard, the likely next ones, and speakers that state no level.
    /// The mixer ranks the others by the levels that their packets state, and decodes them before they are
    /// heard.
    fn choose_decoded(&mut self, stage: &Stage) {
        let mut ranked = Vec::new();
        for (id, speaker) in &mut self.speakers {
            let mut decoded = self.loudest.hears(*id);
            if stage.input(*id).is_some_and(|input| !input.muted) {
                match speaker.expected_level() {
                    Some(_) if speaker.is_decoded() => {
                        // a measured level is better than a stated one
                        ranked.push((self.loudest.prospect_db(*id, LEVEL_SILENT) - DECODED_BONUS_DB, *id));
                    }
                    Some(said) if said < LEVEL_SILENT => {
                        ranked.push((self.loudest.prospect_db(*id, said), *id));
                    }
                    Some(_) => {}
                    None => decoded = true,
                }
            }
            speaker.set_decoded(decoded);
        }
        ranked.sort_unstable_by(|(one, _), (other, _)| one.total_cmp(other));
        for (_, id) in ranked.into_iter().take(self.heard_max.saturating_add(NEXT_MAX)) {
            if let Some(speaker) = self.speakers.get_mut(&id) {
                speaker.set_decoded(true);
            }
        }
    }

    /// Returns the dominant-speaker detector.
    pub(super) fn dominant(&self) -> &DominantSpeaker {
        &self.dominant
    }

    fn mix_and_encode(&mut self, captured_us: u64, stage: &Stage, counts: &Counts) -> Vec<MixerOutput> {
        let muted = |id: u64| stage.input(id).is_some_and(|input| input.muted);
        let voices = self.speakers.iter().map(|(&id, speaker)| {
            let heard = self.loudest.hears(id) && speaker.is_decoded() && !muted(id);
            Voice { id, samples: &speaker.samples, stereo: speaker.is_stereo(), heard }
        });
        self.mix.mix(&voices.collect::<Vec<_>>());
        if self.mix.is_stereo() != self.stereo
            && let Err(error) = self.change_encoders()
        {
            tracing::warn!(%error, "sound that is shared is mixed in mono");
            count(&counts.codec_errors, 1);
            self.mix.keep_mono();
        }
        let mut outputs = Vec::with_capacity(1 + stage.inputs.len());
        let shared = checked(self.encoder.encode(self.mix.shared()), counts);
        let shared_level = level(self.mix.shared());
        let voice = |id| (id, self.speakers.get(&id).map_or(LEVEL_SILENT, |speaker| speaker.level));
        let contributors: Vec<(u64, u8)> = self.mix.contributors().map(voice).collect();
        if let Some(packet) = shared.clone() {
            let contributors = contributors.clone();
            outputs.push(MixerOutput::Sound { packet, captured_us, level: shared_level, contributors });
        }
        for (input, _) in stage.inputs.iter().filter(|(input, _)| input.hears) {
            let id = input.id;
            let (packet, level) = match self.mix.without(id) {
                Some(samples) => {
                    let Some(speaker) = self.speakers.get_mut(&id) else { continue };
                    let made = || encoder(&*self.codecs, self.bitrate_bps, self.stereo, self.loss_percent);
                    let encoded = speaker.encode_minus(samples, &self.recent, made);
                    (checked(encoded, counts), level(samples))
                }
                None => {
                    if let Some(speaker) = self.speakers.get_mut(&id) {
                        speaker.minus = None;
                    }
                    (shared.clone(), shared_level)
                }
            };
            if let Some(packet) = packet {
                let contributors = contributors.iter().copied().filter(|(voice, _)| *voice != id).collect();
                outputs.push(MixerOutput::MixMinus { id, packet, captured_us, level, contributors });
            }
        }
        self.remember_shared();
        outputs
    }

    /// Replaces the encoders to match the mix's channels: the shared one now, the others when they are
    /// needed.
    fn change_encoders(&mut self) -> Result<(), CodecError> {
        let stereo = self.mix.is_stereo();
        let mut encoder = encoder(&*self.codecs, self.bitrate_bps, stereo, self.loss_percent)?;
        let mut recent = VecDeque::with_capacity(REHEARSED_STEPS);
        for heard in &self.recent {
            let mut fitting = Vec::with_capacity(heard.len() * channels(stereo));
            append(&mut fitting, stereo, heard, self.stereo);
            encoder.encode(&fitting)?;
            recent.push_back(fitting);
        }
        (self.encoder, self.stereo, self.recent) = (encoder, stereo, recent);
        self.speakers.values_mut().for_each(|speaker| speaker.minus = None);
        Ok(())
    }

    fn remember_shared(&mut self) {
        let full = self.recent.len() == REHEARSED_STEPS;
        let mut step = if full { self.recent.pop_front().unwrap_or_default() } else { Vec::new() };
        step.clear();
        step.extend_from_slice(self.mix.shared());
        self.recent.push_back(step);
    }
}

/// Creates an encoder for the mix.
fn encoder(
    codecs: &dyn Codecs,
    bitrate_bps: u32,
    stereo: bool,
    loss_percent: Option<u8>,
) -> Result<Box<dyn SoundEncoder>, CodecError> {
    let bitrate_bps = if stereo { bitrate_bps.saturating_mul(STEREO_RATE) } else { bitrate_bps };
    let mut encoder = codecs.sound_encoder(channels(stereo) as u8, bitrate_bps)?;
    loss_percent.into_iter().for_each(|percent| encoder.set_loss(percent));
    Ok(encoder)
}

fn checked(encoded: Result<Bytes, CodecError>, counts: &Counts) -> Option<Bytes> {
    encoded
        .inspect_err(|error| {
            tracing::debug!(%error, "sound could not be encoded");
            count(&counts.codec_errors, 1);
        })
        .ok()
}

#[cfg(test)]
mod silence;
#[cfg(test)]
mod stereo;
#[cfg(test)]
mod tests;
