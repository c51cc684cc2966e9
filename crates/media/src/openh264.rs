//! H.264 by openh264: an encoder set up for conversation, and decoders for calls and for files.
//!
//! The encoder makes constrained baseline, one slice per picture, one thread, no look-ahead, and signals BT.709
//! in limited range, as all pictures in plenary are. Parameter sets keep their ids and stand in front of each
//! IDR picture; IDR pictures come only when asked for. Complexity low with adaptive quantisation and
//! background detection off was the best point measured (1.5 to 4 dB over x264 ultrafast at equal rate, for
//! 20 to 40 % more time). Plain settings are background detection without deblocking: of what can still be chosen that
//! is what saves most, 9 % of the time for a film (for 1.8 dB), 14 % for four of it in a grid (0.1 dB), 23 % where
//! three of them stand still (3 dB), 720p in 1.5 Mbit/s.

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
/// Lowest rate to ask of the codec (guess).
const BITRATE_BPS_MIN: u32 = 10_000;
/// `UNSPECIFIED_BIT_RATE` of codec_app_def.h: the level's highest.
const BITRATE_MAX_OF_LEVEL: i32 = 0;
/// Highest rate of level 5.2, baseline (ITU-T H.264 table A-1).
const BITRATE_BPS_MAX: u32 = 240_000_000;
/// Pictures a second at most.
const FPS_MAX: u8 = 60;
/// Most temporal layers that the encoder makes.
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
            .background_detection(true) // until `prepare`
            .scene_change_detect(false)
            .sps_pps_strategy(SpsPpsStrategy::ConstantId)
            .vui(VuiConfig::bt709());
        let mut encoder = Encoder::with_api_config(OpenH264API::from_source(), config).map_err(failed)?;
        silence(&mut encoder)?;
        let mut encoder = Openh264Encoder { encoder, format: *format, plain: false };
        encoder.prepare(temporal_layers)?;
        Ok(encoder)
    }

    /// The wrapper sets the codec up at the first picture, and with options of its own that are in the way:
    /// one temporal layer, and the first rate as the highest, so that each raise is reported as an error. So a
    /// first picture is thrown away, and both are changed behind it; the next picture is an IDR again.
    ///
    /// Background detection is changed as well, since for that the codec begins anew. Else its rate control took the next
    /// IDR for as cheap as a black one: 176 kB at 1.5 Mbit/s in place of 87, and seconds of bad pictures after it.
    fn prepare(&mut self, temporal_layers: u8) -> Result<(), CodecError> {
        let black = Picture::black(self.format.width.into(), self.format.height.into());
        self.encode(&black.view(), true)?;
        self.set_up(|params| {
            params.iTemporalLayerNum = temporal_layers.clamp(1, TEMPORAL_LAYERS_MAX).into();
            params.bEnableBackgroundDetection = false;
        })
    }

    /// Changes parameters of an encoder that has made a picture; the next one is an IDR.
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

/// The wrapper silences the codec after it was set up, too late for a warning about the set-up.
fn silence(encoder: &mut Encoder) -> Result<(), CodecError> {
    let mut level = WELS_LOG_QUIET;
    // SAFETY: this option may be set before the encoder is initialised, and its type is an int.
    accepted(unsafe { encoder.raw_api().set_option(ENCODER_OPTION_TRACE_LEVEL, (&raw mut level).cast()) })
}

/// What the codec would refuse anyway, said so that the reader knows what to change.
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

    /// The codec takes deblocking over only when it is set up anew, which it is for another background detection.
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

/// A decoder without error concealment: after a frame that can't be decoded every further one is an error
/// until a key frame, so that no broken picture is ever shown.
pub(crate) struct Openh264Decoder {
    decoder: Decoder,
    /// What was held back when the stream ended, the last first.
    held_back: Vec<Picture>,
    flushed: Picture,
}

impl Openh264Decoder {
    /// With `reordering`, pictures come in display order and late; else each comes with its access unit.
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
            // to the codec that would be the end of the stream
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

/// The decoder's own memory, without a copy.
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

/// The error in a few words: the wrapper's own text has a backtrace in it.
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
