//! H.264 by openh264: an encoder for live conversation, and decoders for live media and for files.
//!
//! The encoder makes constrained baseline with one slice per picture, on one thread, without look-ahead, and
//! signals BT.709 in limited range, as for all pictures in plenary. Parameter sets keep their ids and precede
//! each IDR picture; the encoder makes IDR pictures only on request.
//!
//! Low complexity without adaptive quantisation and background detection was the best setting measured: 1.5
//! to 4 dB better than x264 ultrafast at equal bitrate, for 20 to 40 % more time.
//!
//! The plain settings turn background detection on and deblocking off. Of the options that can still change
//! at run time, that saves the most time, measured at 720p and 1.5 Mbit/s: 9 % for a film (at a loss of
//! 1.8 dB), 14 % for four films in a grid (0.1 dB), 23 % for a grid with three of its films standing still
//! (3 dB).

use ::openh264::OpenH264API;
use ::openh264::decoder::{DecodedYUV, Decoder, DecoderConfig, Flush};
use ::openh264::encoder::{
    BitRate, Complexity, Encoder, EncoderConfig, FrameRate, FrameType, RateControlMode, SpsPpsStrategy,
    UsageType, VuiConfig,
};
use ::openh264::formats::{YUVSlices, YUVSource};
use bytes::Bytes;
use openh264_sys2::{
    ENCODER_OPTION_BITRATE, ENCODER_OPTION_FRAME_RATE, ENCODER_OPTION_SVC_ENCODE_PARAM_EXT,
    ENCODER_OPTION_TRACE_LEVEL, SBitrateInfo, SEncParamExt, SPATIAL_LAYER_ALL, WELS_LOG_QUIET,
};

use crate::codec::{CodecError, EncodedPicture, VideoDecoder, VideoEncoder, VideoFormat};
use crate::picture::{PICTURE_SIDE_MIN, PICTURE_SIDES_MAX};
use crate::{Picture, PictureView, PlaneView};

const NAME: &str = "openh264";
/// Lowest bitrate requested from the codec. A guess.
const BITRATE_BPS_MIN: u32 = 10_000;
/// `UNSPECIFIED_BIT_RATE` of codec_app_def.h: the level's own limit applies.
const BITRATE_MAX_OF_LEVEL: i32 = 0;
/// Highest bitrate of level 5.2, baseline (ITU-T H.264 table A-1).
const BITRATE_BPS_MAX: u32 = 240_000_000;
/// Maximum pictures per second.
const FPS_MAX: u8 = 60;
/// Maximum number of temporal layers of the encoder.
pub const TEMPORAL_LAYERS_MAX: u8 = 4;

pub(crate) struct Openh264Encoder {
    encoder: Encoder,
    format: VideoFormat,
    plain: bool,
}

impl Openh264Encoder {
    pub(crate) fn new(format: &VideoFormat, temporal_layers: u8) -> Result<Openh264Encoder, CodecError> {
        check(format)?;
        let bitrate_bps = format.bitrate_bps.clamp(BITRATE_BPS_MIN, BITRATE_BPS_MAX);
        let config = EncoderConfig::new()
            .usage_type(UsageType::CameraVideoRealTime)
            .complexity(Complexity::Low)
            .num_threads(1)
            .rate_control_mode(RateControlMode::Bitrate)
            .bitrate(BitRate::from_bps(bitrate_bps))
            .max_frame_rate(FrameRate::from_hz(f32::from(format.fps)))
            .skip_frames(false)
            .adaptive_quantization(false)
            .background_detection(true) // `prepare` turns it off
            .scene_change_detect(false)
            .sps_pps_strategy(SpsPpsStrategy::ConstantId)
            .vui(VuiConfig::bt709());
        let mut encoder = Encoder::with_api_config(OpenH264API::from_source(), config).map_err(failed)?;
        silence(&mut encoder)?;
        let mut encoder = Openh264Encoder { encoder, format: *format, plain: false };
        encoder.prepare(temporal_layers)?;
        Ok(encoder)
    }

    /// Encodes and discards a first picture, then changes options of the codec behind the wrapper's back; the
    /// next picture is an IDR picture again.
    ///
    /// The wrapper configures the codec at its first picture, with two options in the way: one temporal
    /// layer, and the first bitrate as the maximum, so that each later increase is reported as an error. Both
    /// are changed here.
    ///
    /// Background detection is toggled as well, since that makes the codec reinitialise. Without it, the rate
    /// control expected the next IDR picture to be as cheap as the black one: it took 176 kB at 1.5 Mbit/s
    /// instead of 87, followed by seconds of bad pictures.
    fn prepare(&mut self, temporal_layers: u8) -> Result<(), CodecError> {
        let black = Picture::black(self.format.width.into(), self.format.height.into());
        self.encode(&black.view(), true)?;
        self.set_up(|params| {
            params.iTemporalLayerNum = temporal_layers.clamp(1, TEMPORAL_LAYERS_MAX).into();
            params.bEnableBackgroundDetection = false;
        })
    }

    /// Changes parameters of an encoder that has made a picture; the next picture is an IDR picture.
    fn set_up(&mut self, change: impl FnOnce(&mut SEncParamExt)) -> Result<(), CodecError> {
        let mut params = SEncParamExt::default();
        // SAFETY: the encoder is initialised by its first picture, and the option's type is SEncParamExt.
        let code = unsafe {
            let api = self.encoder.raw_api();
            let code = api.get_option(ENCODER_OPTION_SVC_ENCODE_PARAM_EXT, (&raw mut params).cast());
            change(&mut params);
            params.sSpatialLayers[0].iMaxSpatialBitrate = BITRATE_MAX_OF_LEVEL;
            code | api.set_option(ENCODER_OPTION_SVC_ENCODE_PARAM_EXT, (&raw mut params).cast())
        };
        self.encoder.force_intra_frame();
        accepted(code)
    }
}

/// Silences the codec's log. The wrapper silences the log only after configuring the codec, too late for the
/// codec's warnings about that.
fn silence(encoder: &mut Encoder) -> Result<(), CodecError> {
    let mut level = WELS_LOG_QUIET;
    // SAFETY: this option may be set before the encoder is initialised, and its type is an int.
    accepted(unsafe { encoder.raw_api().set_option(ENCODER_OPTION_TRACE_LEVEL, (&raw mut level).cast()) })
}

/// Rejects formats that the codec would refuse anyway, with an error that names the limit.
fn check(format: &VideoFormat) -> Result<(), CodecError> {
    let VideoFormat { width, height, fps, .. } = *format;
    let refuse = |why: String| Err(CodecError::Failed { codec: NAME, code: why });
    let (long, short) = (width.max(height), width.min(height));
    if !width.is_multiple_of(2) || !height.is_multiple_of(2) {
        return refuse(format!("{width}x{height}: width and height must be even"));
    }
    if short < PICTURE_SIDE_MIN {
        return refuse(format!("{width}x{height} is smaller than {PICTURE_SIDE_MIN}x{PICTURE_SIDE_MIN}"));
    }
    if long > PICTURE_SIDES_MAX.0 || short > PICTURE_SIDES_MAX.1 {
        let (long, short) = PICTURE_SIDES_MAX;
        return refuse(format!("{width}x{height} is larger than {long}x{short}"));
    }
    if !(1..=FPS_MAX).contains(&fps) {
        return refuse(format!("{fps} frames per second are not in 1 to {FPS_MAX}"));
    }
    Ok(())
}

impl VideoEncoder for Openh264Encoder {
    fn encode(&mut self, picture: &PictureView<'_>, key: bool) -> Result<Option<EncodedPicture>, CodecError> {
        let (width, height) = (usize::from(self.format.width), usize::from(self.format.height));
        if (picture.width, picture.height) != (width, height) {
            let code = format!("picture of {}x{} instead of {width}x{height}", picture.width, picture.height);
            return Err(CodecError::Failed { codec: NAME, code });
        }
        if key {
            self.encoder.force_intra_frame();
        }
        let [luma, cb, cr] = picture.planes;
        let source = YUVSlices::new(
            (luma.samples, cb.samples, cr.samples),
            (width, height),
            (luma.stride, cb.stride, cr.stride),
        );
        let encoded = self.encoder.encode(&source).map_err(failed)?;
        let temporal = (0..encoded.num_layers())
            .filter_map(|index| encoded.layer(index))
            .find(|layer| layer.is_video())
            .map(|layer| layer.raw_info().uiTemporalId);
        let (Some(temporal), data) = (temporal, encoded.to_vec()) else { return Ok(None) };
        let key = encoded.frame_type() == FrameType::IDR;
        Ok(Some(EncodedPicture { data: Bytes::from(data), key, temporal }))
    }

    fn set_bitrate(&mut self, bitrate_bps: u32) {
        let bitrate_bps = bitrate_bps.clamp(BITRATE_BPS_MIN, BITRATE_BPS_MAX);
        let mut rate = SBitrateInfo { iLayer: SPATIAL_LAYER_ALL, iBitrate: bitrate_bps as i32 };
        // SAFETY: the encoder is initialised, and the option's type is SBitrateInfo.
        let code =
            unsafe { self.encoder.raw_api().set_option(ENCODER_OPTION_BITRATE, (&raw mut rate).cast()) };
        if let Err(error) = accepted(code) {
            tracing::warn!(bitrate_bps, %error, "the encoder keeps its rate");
        }
    }

    fn set_frame_rate(&mut self, fps: u8) {
        let mut rate = f32::from(fps.clamp(1, FPS_MAX));
        // SAFETY: the encoder is initialised, and the option's type is float.
        let code =
            unsafe { self.encoder.raw_api().set_option(ENCODER_OPTION_FRAME_RATE, (&raw mut rate).cast()) };
        if let Err(error) = accepted(code) {
            tracing::warn!(fps, %error, "the encoder keeps its frame rate");
        }
    }

    /// Toggling background detection makes the codec reinitialise; only then does it apply the deblocking
    /// setting.
    fn set_plain(&mut self, plain: bool) {
        if self.plain == plain {
            return;
        }
        self.plain = plain;
        let changed = self.set_up(|params| {
            params.bEnableBackgroundDetection = plain;
            params.iLoopFilterDisableIdc = plain.into();
        });
        if let Err(error) = changed {
            tracing::warn!(plain, %error, "the encoder keeps its settings");
        }
    }
}

/// Decoder without error concealment: after a frame that can't be decoded, every further frame is an error
/// until a keyframe, so the decoder never outputs a corrupt picture.
pub(crate) struct Openh264Decoder {
    decoder: Decoder,
    /// Pictures still held back when the stream ended, the last one first.
    held_back: Vec<Picture>,
    flushed: Picture,
}

impl Openh264Decoder {
    /// Creates a decoder. With `reordering`, pictures are output late and in display order; otherwise each
    /// access unit yields its picture at once.
    pub(crate) fn new(reordering: bool) -> Result<Openh264Decoder, CodecError> {
        let flush = if reordering { Flush::NoFlush } else { Flush::Flush };
        let config = DecoderConfig::new().flush_after_decode(flush);
        let decoder = Decoder::with_api_config(OpenH264API::from_source(), config).map_err(failed)?;
        Ok(Openh264Decoder { decoder, held_back: Vec::new(), flushed: Picture::black(2, 2) })
    }
}

impl VideoDecoder for Openh264Decoder {
    fn decode(&mut self, access_unit: &[u8]) -> Result<Option<PictureView<'_>>, CodecError> {
        if access_unit.is_empty() {
            // the codec would take an empty frame as the end of the stream
            return Err(CodecError::Decode { codec: NAME, code: "an empty frame".to_owned() });
        }
        match self.decoder.decode(access_unit) {
            Ok(picture) => Ok(picture.as_ref().map(view)),
            Err(error) => Err(broken(&error)),
        }
    }

    fn flush(&mut self) -> Result<Option<PictureView<'_>>, CodecError> {
        if self.held_back.is_empty() {
            let pictures = self.decoder.flush_remaining().map_err(|error| broken(&error))?;
            self.held_back = pictures.iter().rev().map(|picture| Picture::copy_of(&view(picture))).collect();
        }
        let Some(picture) = self.held_back.pop() else { return Ok(None) };
        self.flushed = picture;
        Ok(Some(self.flushed.view()))
    }
}

/// Borrows the decoder's own buffer, without a copy.
fn view<'a>(picture: &DecodedYUV<'a>) -> PictureView<'a> {
    let (width, height) = picture.dimensions();
    let strides: [usize; 3] = picture.strides().into();
    let planes = [picture.y(), picture.u(), picture.v()];
    let plane = |index: usize| PlaneView {
        // SAFETY: `DecodedYUV<'a>` keeps its planes as `&'a [u8]` and only hands them out for a shorter time;
        // `'a` borrows the decoder, which does not touch them before its next call.
        samples: unsafe { std::slice::from_raw_parts(planes[index].as_ptr(), planes[index].len()) },
        stride: strides[index],
    };
    PictureView { width, height, planes: [plane(0), plane(1), plane(2)] }
}

fn accepted(code: std::os::raw::c_int) -> Result<(), CodecError> {
    match code {
        0 => Ok(()),
        code => Err(CodecError::Failed { codec: NAME, code: format!("option refused, code {code}") }),
    }
}

fn failed(error: ::openh264::Error) -> CodecError {
    CodecError::Failed { codec: NAME, code: code_of(&error) }
}

fn broken(error: &::openh264::Error) -> CodecError {
    CodecError::Decode { codec: NAME, code: code_of(error) }
}

/// Describes the error in a few words; the wrapper's own text contains a backtrace.
fn code_of(error: &::openh264::Error) -> String {
    const BITS: [(i64, &str); 6] = [
        (0x01, "not a whole frame"),
        (0x02, "reference lost"),
        (0x04, "broken bitstream"),
        (0x08, "dependent layer lost"),
        (0x10, "no usable parameter sets"),
        (0x4000, "out of memory"),
    ];
    let code = error.native_code();
    let words: Vec<_> = BITS.iter().filter(|(bit, _)| code & bit != 0).map(|(_, word)| *word).collect();
    match (code, words.is_empty()) {
        (0, _) => error.to_string(),
        (_, true) => format!("code {code}"),
        (_, false) => words.join(", "),
    }
}
