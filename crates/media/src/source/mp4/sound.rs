//! Sound track of an MP4 file.

use shiguredo_mp4::boxes::{Mp4aBox, SampleEntry};
use symphonia_codec_aac::AacDecoder;
use symphonia_core::codecs::audio::well_known::CODEC_ID_AAC;
use symphonia_core::codecs::audio::{AudioCodecParameters, AudioDecoder, AudioDecoderOptions};
use symphonia_core::packet::PacketRef;
use symphonia_core::units::{Duration, Timestamp};

use super::index::{Track, name};
use super::{Packets, SOUND_WANTED, damaged};
use crate::SAMPLE_RATE;
use crate::codec::CodecError;
use crate::opus::OpusDecoder;
use crate::source::SourceFault;
use crate::source::sound::SoundReader;

/// object_type_indication of MPEG-4 audio (ISO/IEC 14496-1); MP3 and other codecs use the same box.
const MPEG4_AUDIO: u8 = 0x40;
/// audioObjectType of AAC-LC.
const AAC_LC: u8 = 2;
/// Tolerance in microseconds below which a packet follows the previous one without a gap: times are rounded,
/// and don't include the samples that Opus skips.
const WAVER_US: i64 = 20_000;
/// Silent samples per channel generated at a time.
const SILENCE_LEN: usize = 4096;

enum Decoder {
    Aac { decoder: Box<AacDecoder>, samples: Vec<f32> },
    Opus { decoder: OpusDecoder, channels: u8 },
}

pub(super) struct Mp4Sound {
    packets: Packets,
    track: Track,
    decoder: Decoder,
    rate: u32,
    channels: usize,
    next: usize,
    /// Samples of all channels to skip at the start of each round, and the number still to skip in this
    /// round.
    skip: usize,
    to_skip: usize,
    /// Samples of all channels produced in this round.
    made: usize,
    /// Whether silence is being generated for a gap.
    in_gap: bool,
    decoded: Vec<f32>,
    failures: u64,
}

impl Mp4Sound {
    pub(super) fn new(packets: Packets, track: Track) -> Result<Mp4Sound, SourceFault> {
        let (decoder, rate, channels, pre_skip) = match &track.entry {
            SampleEntry::Mp4a(entry) => {
                let (decoder, rate, channels) = aac(entry)?;
                (Decoder::Aac { decoder: Box::new(decoder), samples: Vec::new() }, rate, channels, 0)
            }
            SampleEntry::Opus(entry) => {
                let channels = entry.dops_box.output_channel_count;
                let decoder = OpusDecoder::new(channels).map_err(|_| too_many(channels.into()))?;
                let decoder = Decoder::Opus { decoder, channels };
                (decoder, SAMPLE_RATE, channels.into(), usize::from(entry.dops_box.pre_skip))
            }
            entry => {
                let found = format!("sound as {}", name(entry));
                return Err(SourceFault::Unsupported { found, wanted: SOUND_WANTED });
            }
        };
        let begin_us = track.packets.first().map_or(0, |packet| packet.at_us);
        // an edit list gives the samples to skip, Opus pre-skip included; without an edit list, the pre-skip
        // applies
        let skip = match begin_us {
            ..0 => samples_of(begin_us.saturating_neg(), rate, channels),
            _ => pre_skip * channels,
        };
        let mut sound = Mp4Sound {
            packets,
            track,
            decoder,
            rate,
            channels,
            next: 0,
            skip,
            to_skip: 0,
            made: 0,
            in_gap: false,
            decoded: Vec::new(),
            failures: 0,
        };
        sound.rewind()?;
        Ok(sound)
    }

    /// Number of silent samples to generate before the next packet: sound may start late, and recordings have
    /// gaps.
    fn silence(&self) -> usize {
        let due = samples_of(self.track.packets[self.next].at_us, self.rate, self.channels);
        let waver =
            if self.next == 0 || self.in_gap { 0 } else { samples_of(WAVER_US, self.rate, self.channels) };
        let missing = due.saturating_sub(self.made);
        if missing > waver { missing.min(SILENCE_LEN * self.channels) } else { 0 }
    }

    /// Decodes a packet into `decoded`. A packet that can't be decoded becomes silence: with AAC of the
    /// previous packet's length, with Opus as a gap before the next packet.
    fn decode(&mut self, index: usize) -> Result<(), SourceFault> {
        let packet = self.packets.read(&self.track.packets[index])?;
        let result = match &mut self.decoder {
            Decoder::Aac { decoder, samples } => decode_aac(decoder, packet, samples, &mut self.decoded),
            Decoder::Opus { decoder, .. } => {
                decoder.decode_any(packet, &mut self.decoded).map_err(|error| error.to_string())
            }
        };
        if let Err(error) = result {
            self.failures += 1;
            if self.failures == 1 {
                tracing::warn!("MP4: sound that can't be decoded is silent: {error}");
            }
            self.decoded.fill(0.0);
        }
        Ok(())
    }
}

impl SoundReader for Mp4Sound {
    fn rate(&self) -> u32 {
        self.rate
    }

    fn channels(&self) -> usize {
        self.channels
    }

    fn read(&mut self, samples: &mut Vec<f32>) -> Result<bool, SourceFault> {
        if self.next == self.track.packets.len() {
            return Ok(false);
        }
        let silence = self.silence();
        self.in_gap = silence > 0;
        if self.in_gap {
            samples.resize(samples.len() + silence, 0.0);
            self.made += silence;
            return Ok(true);
        }
        self.decode(self.next)?;
        self.next += 1;
        let skipped = self.to_skip.min(self.decoded.len());
        self.to_skip -= skipped;
        samples.extend_from_slice(&self.decoded[skipped..]);
        self.made += self.decoded.len() - skipped;
        Ok(true)
    }

    fn rewind(&mut self) -> Result<(), SourceFault> {
        self.next = 0;
        (self.to_skip, self.made) = (self.skip, 0);
        match &mut self.decoder {
            Decoder::Aac { decoder, .. } => decoder.reset(),
            Decoder::Opus { decoder, channels } => {
                *decoder = OpusDecoder::new(*channels).map_err(|error: CodecError| damaged(error))?;
            }
        }
        Ok(())
    }
}

/// Number of samples of all channels in a duration; 0 for a negative one.
fn samples_of(us: i64, rate: u32, channels: usize) -> usize {
    let us = u64::try_from(us).unwrap_or(0);
    (u128::from(us) * u128::from(rate) / 1_000_000) as usize * channels
}

fn aac(entry: &Mp4aBox) -> Result<(AacDecoder, u32, usize), SourceFault> {
    let config = &entry.esds_box.es.dec_config_descr;
    let unsupported = |found: String| SourceFault::Unsupported { found, wanted: SOUND_WANTED };
    if config.object_type_indication != MPEG4_AUDIO {
        return Err(unsupported(format!("sound of MPEG type {:#04x}", config.object_type_indication)));
    }
    let Some(specific) = &config.dec_specific_info else {
        return Err(damaged("AAC without its configuration"));
    };
    let mut params = AudioCodecParameters::new();
    params.for_codec(CODEC_ID_AAC).with_extra_data(specific.payload.clone().into_boxed_slice());
    let decoder = AacDecoder::try_new(&params, &AudioDecoderOptions::default()).map_err(|_| {
        // audioObjectType (5 bits), samplingFrequencyIndex (4), channelConfiguration (4): ISO/IEC 14496-3,
        // 1.6.2
        let [first, second] = [0, 1].map(|at| specific.payload.get(at).copied().unwrap_or(0));
        match (first >> 3, second >> 3 & 0xf) {
            (AAC_LC, 7) => too_many(8),
            (AAC_LC, channels @ 3..=6) => too_many(channels.into()),
            (AAC_LC, _) => unsupported("a kind of AAC-LC with extensions".to_owned()),
            (kind, _) => unsupported(format!("AAC of object type {kind}")),
        }
    })?;
    let params = decoder.codec_params();
    let channels = params.channels.as_ref().map_or(0, |channels| channels.count());
    let rate = params.sample_rate.unwrap_or(0);
    Ok((decoder, rate, channels))
}

fn too_many(channels: u16) -> SourceFault {
    SourceFault::Unsupported { found: format!("sound of {channels} channels"), wanted: SOUND_WANTED }
}

fn decode_aac(
    decoder: &mut AacDecoder,
    packet: &[u8],
    samples: &mut Vec<f32>,
    decoded: &mut Vec<f32>,
) -> Result<(), String> {
    let packet = PacketRef::new(0, Timestamp::new(0), Duration::new(0), packet);
    let buffer = decoder.decode_ref(&packet).map_err(|error| error.to_string())?;
    buffer.copy_to_vec_interleaved(samples);
    std::mem::swap(samples, decoded);
    Ok(())
}
