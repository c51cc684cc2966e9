//! Fake codecs with bytes that a test can read: pictures of a single grey, and tones.
//!
//! A picture frame states its size, its grey and the frame that it references; the decoder fails unless it
//! has decoded that frame last. The encoder writes one byte for each 40 × 40 samples of the canvas. A sound
//! packet states its number, a tone that continues from number to number, and its amplitude; encoded sound is
//! the samples themselves.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use plenary_proto::StreamId;
use plenary_proto::identity::opus::UNMARKED_LEN_MAX;
use plenary_proto::identity::{FrameIdentity, MediaKind};

use crate::codec::{
    CodecError, Codecs, EncodedPicture, SoundDecoder, SoundEncoder, VideoDecoder, VideoEncoder, VideoFormat,
};
use crate::{Frame, Picture, PictureView, SAMPLE_RATE, SOUND_FRAME_LEN, SOUND_FRAME_US};

/// Counts of the operations of all codecs made.
#[derive(Debug, Default)]
pub(super) struct Log {
    pub(super) video_decoders: AtomicUsize,
    pub(super) pictures_decoded: AtomicUsize,
    pub(super) pictures_encoded: AtomicUsize,
    pub(super) sounds_decoded: AtomicUsize,
    pub(super) sounds_encoded: AtomicUsize,
    /// Sum of the losses set on encoders, percent.
    pub(super) losses_told: AtomicUsize,
}

#[derive(Clone, Debug, Default)]
pub(super) struct FakeCodecs(pub(super) Arc<Log>);

fn add(counter: &AtomicUsize) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Codecs for FakeCodecs {
    fn video_encoder(&self, format: &VideoFormat) -> Result<Box<dyn VideoEncoder>, CodecError> {
        if format.width == 0 {
            return Err(CodecError::Failed { codec: "fake", code: "no width".to_owned() });
        }
        Ok(Box::new(FakeVideoEncoder { log: Arc::clone(&self.0), bitrate_bps: format.bitrate_bps }))
    }

    fn video_decoder(&self) -> Result<Box<dyn VideoDecoder>, CodecError> {
        add(&self.0.video_decoders);
        Ok(Box::new(FakeVideoDecoder {
            log: Arc::clone(&self.0),
            newest: None,
            picture: Picture::black(2, 2),
        }))
    }

    fn sound_encoder(&self, channels: u8, _bitrate_bps: u32) -> Result<Box<dyn SoundEncoder>, CodecError> {
        assert_eq!(channels, 1);
        Ok(Box::new(FakeSoundEncoder { log: Arc::clone(&self.0) }))
    }

    fn sound_decoder(&self, channels: u8) -> Result<Box<dyn SoundDecoder>, CodecError> {
        assert_eq!(channels, 1);
        Ok(Box::new(FakeSoundDecoder { log: Arc::clone(&self.0), newest: None, cold: 0 }))
    }
}

/// Contents of a picture frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grey {
    pub(super) number: u32,
    pub(super) captured_us: u64,
    pub(super) key: bool,
    pub(super) size: (usize, usize),
    pub(super) luma: u8,
}

/// Returns a picture frame of the input `id`.
pub(super) fn picture_frame(id: u64, grey: Grey) -> Frame {
    let Grey { number, size: (width, height), luma, key, .. } = grey;
    broken_frame(id, grey, &format!("{number} {} {width} {height} {luma}", if key { 0 } else { number - 1 }))
}

/// Returns a picture frame with these contents.
pub(super) fn broken_frame(id: u64, grey: Grey, contents: &str) -> Frame {
    let Grey { number, captured_us, key, .. } = grey;
    let identity = FrameIdentity { key, ..FrameIdentity::single(stream(id), number, captured_us) };
    Frame { kind: MediaKind::Video, identity, data: Bytes::copy_from_slice(contents.as_bytes()), level: None }
}

/// Returns a sound frame of the input `id`: the tone `hz` at `amplitude` in thousandths.
pub(super) fn sound_frame(id: u64, number: u32, captured_us: u64, hz: u32, amplitude: u32) -> Frame {
    let identity = FrameIdentity::single(stream(id), number, captured_us);
    let data = format!("{number} {hz} {amplitude}").into_bytes().into();
    Frame { kind: MediaKind::Sound, identity, data, level: None }
}

pub(super) fn stream(id: u64) -> StreamId {
    StreamId(id.to_be_bytes())
}

/// Returns the grey that the encoder saw in a tile of `columns` × `columns` on 1280 × 720.
pub(super) fn grey_of_tile(picture: &EncodedPicture, columns: usize, tile: usize) -> u8 {
    let (across, down) = (1280 / 40, 720 / 40);
    let (row, column) = (tile / columns, tile % columns);
    // a third from the left and the top, off the initials in the middle
    let x = (column * 3 + 1) * across / (columns * 3);
    let y = (row * 3 + 1) * down / (columns * 3);
    grey_at(picture, x * 40, y * 40)
}

/// Returns the grey that the encoder saw near a point of 1280 × 720.
pub(super) fn grey_at(picture: &EncodedPicture, x: usize, y: usize) -> u8 {
    picture.data[y / 40 * (1280 / 40) + x / 40]
}

/// Returns the amplitude of the tone `hz` in encoded sound.
pub(super) fn tone_in(packet: &[u8], hz: u32) -> f32 {
    let samples =
        packet.chunks_exact(4).map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]));
    let (mut sine, mut cosine) = (0.0, 0.0);
    for (at, sample) in samples.enumerate() {
        let phase = phase(at, hz);
        sine += sample * phase.sin();
        cosine += sample * phase.cos();
    }
    sine.hypot(cosine) * 2.0 / SOUND_FRAME_LEN as f32
}

fn phase(at: usize, hz: u32) -> f32 {
    at as f32 * hz as f32 * std::f32::consts::TAU / SAMPLE_RATE as f32
}

struct FakeVideoDecoder {
    log: Arc<Log>,
    newest: Option<u32>,
    picture: Picture,
}

impl VideoDecoder for FakeVideoDecoder {
    fn decode(&mut self, access_unit: &[u8]) -> Result<Option<PictureView<'_>>, CodecError> {
        let refused = |code: &str| CodecError::Decode { codec: "fake", code: code.to_owned() };
        let text = std::str::from_utf8(access_unit).map_err(|_| refused("no text"))?;
        if text == "panic" {
            panic!("a decoder that fails as badly as it can");
        }
        if text == "nothing" {
            return Ok(None);
        }
        let fields: Option<Vec<u32>> = text.split(' ').map(|field| field.parse().ok()).collect();
        let Some(&[number, reference, width, height, luma]) = fields.as_deref() else {
            self.newest = None;
            return Err(refused("no picture"));
        };
        if reference != 0 && self.newest != Some(reference) {
            self.newest = None;
            return Err(refused("no reference"));
        }
        self.newest = Some(number);
        add(&self.log.pictures_decoded);
        self.picture = Picture::black(width as usize, height as usize);
        self.picture.planes_mut()[0].fill(luma as u8);
        Ok(Some(self.picture.view()))
    }
}

struct FakeVideoEncoder {
    log: Arc<Log>,
    bitrate_bps: u32,
}

impl VideoEncoder for FakeVideoEncoder {
    fn encode(&mut self, picture: &PictureView<'_>, key: bool) -> Result<Option<EncodedPicture>, CodecError> {
        add(&self.log.pictures_encoded);
        let luma = picture.planes[0];
        let rows = (20..picture.height).step_by(40);
        let samples = rows
            .flat_map(|y| (20..picture.width).step_by(40).map(move |x| luma.samples[y * luma.stride + x]));
        let data: Vec<u8> = samples.chain(self.bitrate_bps.to_be_bytes()).collect();
        Ok(Some(EncodedPicture { data: data.into(), key, temporal: 0 }))
    }

    fn set_bitrate(&mut self, bitrate_bps: u32) {
        self.bitrate_bps = bitrate_bps;
    }
}

/// Like a real decoder it builds on previous frames: after a missing frame the next few are only half as
/// loud.
struct FakeSoundDecoder {
    log: Arc<Log>,
    newest: Option<u32>,
    cold: u32,
}

/// Number of frames that a decoder takes to recover.
const COLD: u32 = 3;

impl SoundDecoder for FakeSoundDecoder {
    fn decode(&mut self, packet: &[u8], samples: &mut [f32]) -> Result<(), CodecError> {
        if (1..=UNMARKED_LEN_MAX).contains(&packet.len()) {
            samples.fill(0.0);
            return Ok(());
        }
        let text = std::str::from_utf8(packet).unwrap_or_default();
        let fields: Option<Vec<u32>> = text.split(' ').map(|field| field.parse().ok()).collect();
        let Some(&[number, hz, amplitude]) = fields.as_deref() else {
            samples.fill(f32::NAN);
            return Err(CodecError::Decode { codec: "fake", code: "no sound".to_owned() });
        };
        add(&self.log.sounds_decoded);
        let follows = self.newest.is_none_or(|newest| number == newest.wrapping_add(1));
        self.cold = if follows { self.cold.saturating_sub(1) } else { COLD };
        self.newest = Some(number);
        let amplitude = if self.cold > 0 { amplitude as f32 / 2.0 } else { amplitude as f32 };
        let begin = u64::from(number) * SOUND_FRAME_LEN as u64;
        for (at, sample) in (begin..).zip(samples) {
            // without whole turns
            let at = at * u64::from(hz) % u64::from(SAMPLE_RATE);
            *sample = amplitude / 1000.0 * phase(at as usize, 1).sin();
        }
        Ok(())
    }

    fn conceal(&mut self, _next: Option<&[u8]>, samples: &mut [f32]) {
        samples.fill(0.0);
    }
}

struct FakeSoundEncoder {
    log: Arc<Log>,
}

impl SoundEncoder for FakeSoundEncoder {
    fn encode(&mut self, samples: &[f32]) -> Result<Bytes, CodecError> {
        add(&self.log.sounds_encoded);
        assert_eq!(samples.len(), SOUND_FRAME_LEN);
        Ok(samples.iter().flat_map(|sample| sample.to_le_bytes()).collect::<Vec<u8>>().into())
    }

    fn set_loss(&mut self, percent: u8) {
        self.log.losses_told.fetch_add(percent.into(), Ordering::Relaxed);
    }
}

/// Returns the capture time of the frame `number` of a source that began at `start_us`.
pub(super) fn sound_time(start_us: u64, number: u32) -> u64 {
    start_us + u64::from(number) * SOUND_FRAME_US
}
