//! Built-in codecs: openh264 and libopus.

use crate::codec::{CodecError, Codecs, SoundDecoder, SoundEncoder, VideoDecoder, VideoEncoder, VideoFormat};
use crate::openh264::{Openh264Decoder, Openh264Encoder};
use crate::opus::{OpusDecoder, OpusEncoder};

/// H.264 by openh264 and Opus by libopus: software codecs with one thread each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BuiltinCodecs {
    /// Temporal layers of programs, 1 to [`TEMPORAL_LAYERS_MAX`](crate::TEMPORAL_LAYERS_MAX). More than one
    /// layer costs 0.5 to 0.8 dB, and lets relays drop the top layer. Speakers' streams have one layer.
    pub temporal_layers: u8,
}

impl Default for BuiltinCodecs {
    /// Returns codecs with two temporal layers.
    fn default() -> BuiltinCodecs {
        BuiltinCodecs { temporal_layers: 2 }
    }
}

impl Codecs for BuiltinCodecs {
    fn name(&self) -> Option<String> {
        Some(format!("openh264, {} layers", self.temporal_layers))
    }

    fn video_encoder(&self, format: &VideoFormat) -> Result<Box<dyn VideoEncoder>, CodecError> {
        Ok(Box::new(Openh264Encoder::new(format, 1)?))
    }

    fn program_encoder(&self, format: &VideoFormat) -> Result<Box<dyn VideoEncoder>, CodecError> {
        Ok(Box::new(Openh264Encoder::new(format, self.temporal_layers)?))
    }

    fn video_decoder(&self) -> Result<Box<dyn VideoDecoder>, CodecError> {
        Ok(Box::new(Openh264Decoder::new(false)?))
    }

    fn reordering_video_decoder(&self) -> Result<Box<dyn VideoDecoder>, CodecError> {
        Ok(Box::new(Openh264Decoder::new(true)?))
    }

    fn sound_encoder(&self, channels: u8, bitrate_bps: u32) -> Result<Box<dyn SoundEncoder>, CodecError> {
        Ok(Box::new(OpusEncoder::new(channels, bitrate_bps)?))
    }

    fn sound_decoder(&self, channels: u8) -> Result<Box<dyn SoundDecoder>, CodecError> {
        Ok(Box::new(OpusDecoder::new(channels)?))
    }
}
