//! What an encoder or decoder must do. They may be slow: callers run them on threads of their own.

use bytes::Bytes;

use crate::PictureView;

/// What a video encoder is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VideoFormat {
    /// Pixels, even, at least 16.
    pub width: u16,
    /// Pixels, even, at least 16.
    pub height: u16,
    /// Frames per second, 1 to 60: what the rate control reckons with.
    pub fps: u8,
    /// Bits per second.
    pub bitrate_bps: u32,
}

/// What a video encoder made of one picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedPicture {
    /// One access unit in Annex B form, one slice, parameter sets before each key frame.
    pub data: Bytes,
    /// An IDR picture.
    pub key: bool,
    /// Temporal layer.
    pub temporal: u8,
}

/// What a codec could not do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The bytes can't be decoded; after it a decoder wants a key frame.
    #[error("{codec}: the frame cannot be decoded ({code})")]
    Decode {
        /// The codec's name.
        codec: &'static str,
        /// As the codec says it.
        code: String,
    },
    /// The codec refuses the format, or failed.
    #[error("{codec}: {code}")]
    Failed {
        /// The codec's name.
        codec: &'static str,
        /// As the codec says it.
        code: String,
    },
}

/// Makes H.264, constrained baseline, one slice per picture.
pub trait VideoEncoder: Send {
    /// Encodes a picture of the format's size; `None` when rate control skips it.
    ///
    /// # Errors
    /// [`CodecError::Failed`]; the next picture may be tried.
    fn encode(&mut self, picture: &PictureView<'_>, key: bool) -> Result<Option<EncodedPicture>, CodecError>;

    /// Changes the rate from the next picture on, without a key frame.
    fn set_bitrate(&mut self, bitrate_bps: u32);

    /// Changes how many pictures come in a second, 1 to 60, from the next one on, without a key frame. An encoder
    /// whose rate control goes by the clock does nothing.
    fn set_frame_rate(&mut self, _fps: u8) {}

    /// From the next picture on uses its cheapest settings, at the cost of quality, or its usual ones again. That
    /// picture may be a key frame. An encoder without a choice does nothing.
    fn set_plain(&mut self, _plain: bool) {}
}

/// Reads H.264.
pub trait VideoDecoder: Send {
    /// Decodes one access unit; the picture is valid until the next call. `None` when there is none yet.
    ///
    /// # Errors
    /// [`CodecError::Decode`]; ask the sender for a key frame, and go on.
    fn decode(&mut self, access_unit: &[u8]) -> Result<Option<PictureView<'_>>, CodecError>;

    /// Takes the next picture that was held back for reordering; `None` when there is no more. To be called at
    /// the end of a stream. A decoder that holds nothing back has nothing to do.
    ///
    /// # Errors
    /// [`CodecError::Decode`]; what was held back is lost.
    fn flush(&mut self) -> Result<Option<PictureView<'_>>, CodecError> {
        Ok(None)
    }
}

/// Makes Opus, 20 ms at 48 kHz.
pub trait SoundEncoder: Send {
    /// Encodes [`SOUND_FRAME_LEN`](crate::SOUND_FRAME_LEN) samples per channel, interleaved, −1 to 1.
    ///
    /// # Errors
    /// [`CodecError::Failed`].
    fn encode(&mut self, samples: &[f32]) -> Result<Bytes, CodecError>;

    /// Tells how many of 100 packets get lost on the way, so that packets carry more or fewer copies of those
    /// before them. An encoder without such copies does nothing.
    fn set_loss(&mut self, _percent: u8) {}

    /// From the next frame on says of those in which nobody speaks that they needn't be sent: by packets of one or two
    /// bytes, with a longer one each 400 ms (discontinuous transmission; RFC 7587, 3.1.3). Off at first. An encoder that
    /// can't do this does nothing.
    fn set_dtx(&mut self, _on: bool) {}
}

/// Reads Opus.
pub trait SoundDecoder: Send {
    /// Decodes a packet into `samples` (one frame, interleaved).
    ///
    /// # Errors
    /// [`CodecError::Decode`]; `samples` is silence then.
    fn decode(&mut self, packet: &[u8], samples: &mut [f32]) -> Result<(), CodecError>;

    /// Makes up a lost frame: from the copy that the following packet carries, if that is given and has one,
    /// otherwise from the past.
    fn conceal(&mut self, next: Option<&[u8]>, samples: &mut [f32]);
}

/// Makes encoders and decoders: the built-in ones, or an application's own.
pub trait Codecs: Send + Sync {
    /// A new H.264 encoder; its first picture is a key frame.
    ///
    /// # Errors
    /// [`CodecError::Failed`] when the format is refused.
    fn video_encoder(&self, format: &VideoFormat) -> Result<Box<dyn VideoEncoder>, CodecError>;

    /// A new H.264 encoder for a program, which relays forward: with pictures that no other one needs (nal_ref_idc 0), if
    /// it can, so that those may be left out where a line is slow. As [`video_encoder`](Self::video_encoder) by default.
    ///
    /// # Errors
    /// [`CodecError::Failed`] when the format is refused.
    fn program_encoder(&self, format: &VideoFormat) -> Result<Box<dyn VideoEncoder>, CodecError> {
        self.video_encoder(format)
    }

    /// A new H.264 decoder for calls: each picture comes with its access unit.
    ///
    /// # Errors
    /// [`CodecError::Failed`].
    fn video_decoder(&self) -> Result<Box<dyn VideoDecoder>, CodecError>;

    /// A new H.264 decoder for files with B pictures: pictures come in the order of their display, some access
    /// units late, the last ones by [`VideoDecoder::flush`].
    ///
    /// # Errors
    /// [`CodecError::Failed`], always unless the codecs can do this.
    fn reordering_video_decoder(&self) -> Result<Box<dyn VideoDecoder>, CodecError> {
        Err(CodecError::Failed { codec: "H.264", code: "no B pictures".to_owned() })
    }

    /// A new Opus encoder for 1 or 2 channels.
    ///
    /// # Errors
    /// [`CodecError::Failed`].
    fn sound_encoder(&self, channels: u8, bitrate_bps: u32) -> Result<Box<dyn SoundEncoder>, CodecError>;

    /// A new Opus decoder whose output has 1 or 2 channels.
    ///
    /// # Errors
    /// [`CodecError::Failed`].
    fn sound_decoder(&self, channels: u8) -> Result<Box<dyn SoundDecoder>, CodecError>;
}
