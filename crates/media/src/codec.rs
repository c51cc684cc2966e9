//! Codec interface: the traits that encoders and decoders implement. A codec may block: callers run it on a
//! thread of its own. What fails, panics or hangs is replaced: see [`GuardedCodecs`](crate::GuardedCodecs).

use std::any::Any;

use bytes::Bytes;

use crate::PictureView;

/// Parameters of a video encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VideoFormat {
    /// Width in pixels, even, at least 16.
    pub width: u16,
    /// Height in pixels, even, at least 16.
    pub height: u16,
    /// Frames per second, 1 to 60, as the rate control assumes them.
    pub fps: u8,
    /// Target bitrate in bits per second.
    pub bitrate_bps: u32,
}

/// One encoded picture.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EncodedPicture {
    /// One access unit in Annex B form: one slice, with parameter sets in front of each keyframe.
    pub data: Bytes,
    /// Whether the picture is an IDR picture.
    pub key: bool,
    /// Temporal layer; 0 is the base layer.
    pub temporal: u8,
}

impl EncodedPicture {
    /// Returns a picture of the base layer. `key`: whether it is an IDR picture.
    pub fn new(data: Bytes, key: bool) -> EncodedPicture {
        EncodedPicture { data, key, temporal: 0 }
    }

    /// Returns the picture as one of that temporal layer.
    pub fn in_layer(self, temporal: u8) -> EncodedPicture {
        EncodedPicture { temporal, ..self }
    }
}

/// Error of an encoder or decoder.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// The decoder can't decode the frame; it needs a keyframe next.
    #[error("{codec}: the frame cannot be decoded ({code})")]
    Decode {
        /// The codec's name.
        codec: &'static str,
        /// The codec's own error code or message.
        code: String,
    },
    /// The codec refuses the format, or failed.
    #[error("{codec}: {code}")]
    Failed {
        /// The codec's name.
        codec: &'static str,
        /// The codec's own error code or message.
        code: String,
    },
}

/// H.264 encoder: constrained baseline, one slice per picture.
pub trait VideoEncoder: Send {
    /// Encodes a picture of the format's size; returns `None` when the rate control skips the picture.
    ///
    /// # Errors
    /// [`CodecError::Failed`]; the caller makes a new encoder.
    fn encode(&mut self, picture: &PictureView<'_>, key: bool) -> Result<Option<EncodedPicture>, CodecError>;

    /// Changes the target bitrate from the next picture on, without a keyframe.
    fn set_bitrate(&mut self, bitrate_bps: u32);

    /// Changes the frame rate, 1 to 60 pictures per second, from the next picture on, without a keyframe.
    /// Encoders that derive their rate control from the clock ignore it.
    fn set_frame_rate(&mut self, _fps: u8) {}

    /// Switches to the encoder's cheapest settings, at the cost of quality, or back to the usual settings.
    /// The change takes effect with the next picture, which may become a keyframe. Encoders with a single set
    /// of settings ignore it.
    fn set_plain(&mut self, _plain: bool) {}
}

/// H.264 decoder.
pub trait VideoDecoder: Send {
    /// Decodes one access unit; the returned picture is valid until the next call. Returns `None` while the
    /// decoder has no picture to output yet.
    ///
    /// # Errors
    /// [`CodecError::Decode`]; the caller requests a keyframe from the sender and continues.
    fn decode(&mut self, access_unit: &[u8]) -> Result<Option<PictureView<'_>>, CodecError>;

    /// Returns the next picture held back for reordering, `None` when the decoder holds no more. Called at
    /// the end of a stream. By default returns `None`, for decoders that never reorder.
    ///
    /// # Errors
    /// [`CodecError::Decode`]; the pictures held back are lost.
    fn flush(&mut self) -> Result<Option<PictureView<'_>>, CodecError> {
        Ok(None)
    }
}

/// Opus encoder for frames of 20 ms at 48 kHz.
pub trait SoundEncoder: Send {
    /// Encodes [`SOUND_FRAME_LEN`](crate::SOUND_FRAME_LEN) samples per channel, interleaved, −1 to 1.
    ///
    /// # Errors
    /// [`CodecError::Failed`].
    fn encode(&mut self, samples: &[f32]) -> Result<Bytes, CodecError>;

    /// Sets the expected packet loss in percent, which decides how much FEC (a copy of the previous frame)
    /// the packets carry. Encoders without FEC ignore it.
    fn set_loss(&mut self, _percent: u8) {}

    /// Switches discontinuous transmission (DTX) on or off, from the next frame on. With DTX the encoder
    /// marks frames without speech as not worth sending: their packets are one or two bytes long, with a
    /// longer one each 400 ms (RFC 7587, 3.1.3). Off at first. Encoders without DTX ignore it.
    fn set_dtx(&mut self, _on: bool) {}
}

/// Opus decoder.
pub trait SoundDecoder: Send {
    /// Decodes a packet into `samples` (one frame, interleaved).
    ///
    /// # Errors
    /// [`CodecError::Decode`]; `samples` is then filled with silence.
    fn decode(&mut self, packet: &[u8], samples: &mut [f32]) -> Result<(), CodecError>;

    /// Conceals a lost frame: decodes the FEC copy in the following packet, when `next` is given and carries
    /// one; otherwise extrapolates from the previous frames.
    fn conceal(&mut self, next: Option<&[u8]>, samples: &mut [f32]);
}

/// Factory of encoders and decoders: the built-in ones, or an application's own.
pub trait Codecs: Any + Send + Sync {
    /// Returns a name of the codecs and their version or device, under which what was measured of them is kept;
    /// `None`, the default, keeps nothing.
    fn name(&self) -> Option<String> {
        None
    }

    /// Creates an H.264 encoder; its first picture is a keyframe.
    ///
    /// # Errors
    /// [`CodecError::Failed`] when the codec refuses the format.
    fn video_encoder(&self, format: &VideoFormat) -> Result<Box<dyn VideoEncoder>, CodecError>;

    /// Creates an H.264 encoder for a program, which relays forward. If the codec can, it makes an upper
    /// temporal layer: pictures that no other picture references (nal_ref_idc 0), so that relays can drop
    /// them on slow links. Same as [`video_encoder`](Self::video_encoder) by default.
    ///
    /// # Errors
    /// [`CodecError::Failed`] when the codec refuses the format.
    fn program_encoder(&self, format: &VideoFormat) -> Result<Box<dyn VideoEncoder>, CodecError> {
        self.video_encoder(format)
    }

    /// Creates an H.264 decoder for live media: each access unit yields its picture at once.
    ///
    /// # Errors
    /// [`CodecError::Failed`].
    fn video_decoder(&self) -> Result<Box<dyn VideoDecoder>, CodecError>;

    /// Creates an H.264 decoder for files with B pictures: pictures are output in display order, some access
    /// units late, and the last pictures by [`VideoDecoder::flush`].
    ///
    /// # Errors
    /// [`CodecError::Failed`]; always by default, for codecs that can't reorder.
    fn reordering_video_decoder(&self) -> Result<Box<dyn VideoDecoder>, CodecError> {
        Err(CodecError::Failed { codec: "H.264", code: "no B pictures".to_owned() })
    }

    /// Creates an Opus encoder for 1 or 2 channels.
    ///
    /// # Errors
    /// [`CodecError::Failed`].
    fn sound_encoder(&self, channels: u8, bitrate_bps: u32) -> Result<Box<dyn SoundEncoder>, CodecError>;

    /// Creates an Opus decoder with 1 or 2 output channels.
    ///
    /// # Errors
    /// [`CodecError::Failed`].
    fn sound_decoder(&self, channels: u8) -> Result<Box<dyn SoundDecoder>, CodecError>;
}
