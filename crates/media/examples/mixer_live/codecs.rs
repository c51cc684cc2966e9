//! openh264 and libopus behind the codec traits, with the settings that measured best.

use bytes::Bytes;
use openh264::OpenH264API;
use openh264::decoder::{Decoder, DecoderConfig, Flush};
use openh264::encoder::{BitRate, Complexity, Encoder, EncoderConfig, FrameRate, FrameType, RateControlMode};
use openh264::formats::{YUVSlices, YUVSource};
use opus::{Application, Bitrate, Channels};
use plenary_media::codec::{
    CodecError, Codecs, EncodedPicture, SoundDecoder, SoundEncoder, VideoDecoder, VideoEncoder, VideoFormat,
};
use plenary_media::{Picture, PictureView, PlaneView, SAMPLE_RATE};

pub(crate) struct RealCodecs;

fn failed(codec: &'static str, error: &dyn std::fmt::Display) -> CodecError {
    // the wrapper's text has a backtrace in it
    CodecError::Failed { codec, code: error.to_string().lines().next().unwrap_or_default().to_owned() }
}

impl Codecs for RealCodecs {
    fn video_encoder(&self, format: &VideoFormat) -> Result<Box<dyn VideoEncoder>, CodecError> {
        let config = EncoderConfig::new()
            .complexity(Complexity::Low)
            .num_threads(1)
            .rate_control_mode(RateControlMode::Bitrate)
            .bitrate(BitRate::from_bps(format.bitrate_bps))
            .max_frame_rate(FrameRate::from_hz(f32::from(format.fps)))
            .skip_frames(false)
            .adaptive_quantization(false)
            .background_detection(false)
            .scene_change_detect(false);
        let encoder = Encoder::with_api_config(OpenH264API::from_source(), config);
        Ok(Box::new(H264Encoder(encoder.map_err(|error| failed("openh264", &error))?)))
    }

    fn video_decoder(&self) -> Result<Box<dyn VideoDecoder>, CodecError> {
        let config = DecoderConfig::new().flush_after_decode(Flush::Flush);
        let decoder = Decoder::with_api_config(OpenH264API::from_source(), config);
        let decoder = decoder.map_err(|error| failed("openh264", &error))?;
        Ok(Box::new(H264Decoder { decoder, planes: Picture::black(2, 2) }))
    }

    fn sound_encoder(&self, _channels: u8, bitrate_bps: u32) -> Result<Box<dyn SoundEncoder>, CodecError> {
        let made =
            opus::Encoder::new(SAMPLE_RATE, Channels::Mono, Application::Voip).and_then(|mut encoder| {
                encoder.set_bitrate(Bitrate::Bits(bitrate_bps as i32))?;
                encoder.set_inband_fec(true)?;
                encoder.set_packet_loss_perc(5)?;
                encoder.set_complexity(5)?;
                Ok(encoder)
            });
        Ok(Box::new(OpusEncoder(made.map_err(|error| failed("opus", &error))?)))
    }

    fn sound_decoder(&self, _channels: u8) -> Result<Box<dyn SoundDecoder>, CodecError> {
        let decoder = opus::Decoder::new(SAMPLE_RATE, Channels::Mono);
        Ok(Box::new(OpusDecoder(decoder.map_err(|error| failed("opus", &error))?)))
    }
}

struct H264Encoder(Encoder);

impl VideoEncoder for H264Encoder {
    fn encode(&mut self, picture: &PictureView<'_>, key: bool) -> Result<Option<EncodedPicture>, CodecError> {
        if key {
            self.0.force_intra_frame();
        }
        let [luma, cb, cr] = picture.planes;
        let source = YUVSlices::new(
            (luma.samples, cb.samples, cr.samples),
            (picture.width, picture.height),
            (luma.stride, cb.stride, cr.stride),
        );
        let encoded = self.0.encode(&source).map_err(|error| failed("openh264", &error))?;
        let key = encoded.frame_type() == FrameType::IDR;
        Ok(Some(EncodedPicture { data: encoded.to_vec().into(), key, temporal: 0 }))
    }

    fn set_bitrate(&mut self, _bitrate_bps: u32) {}
}

struct H264Decoder {
    decoder: Decoder,
    planes: Picture,
}

impl VideoDecoder for H264Decoder {
    fn decode(&mut self, access_unit: &[u8]) -> Result<Option<PictureView<'_>>, CodecError> {
        let decoded = self.decoder.decode(access_unit);
        let decoded =
            decoded.map_err(|error| CodecError::Decode { codec: "openh264", code: error.to_string() })?;
        let Some(decoded) = decoded else { return Ok(None) };
        // The wrapper lends its planes for less than the decoder's memory lives, so they are copied here.
        let (width, height) = decoded.dimensions();
        let strides: [usize; 3] = decoded.strides().into();
        let plane = |samples, index: usize| PlaneView { samples, stride: strides[index] };
        let planes = [plane(decoded.y(), 0), plane(decoded.u(), 1), plane(decoded.v(), 2)];
        self.planes.copy_from(&PictureView { width, height, planes });
        Ok(Some(self.planes.view()))
    }
}

struct OpusEncoder(opus::Encoder);

impl SoundEncoder for OpusEncoder {
    fn encode(&mut self, samples: &[f32]) -> Result<Bytes, CodecError> {
        let packet = self.0.encode_vec_float(samples, 1275).map_err(|error| failed("opus", &error))?;
        Ok(packet.into())
    }
}

struct OpusDecoder(opus::Decoder);

impl SoundDecoder for OpusDecoder {
    fn decode(&mut self, packet: &[u8], samples: &mut [f32]) -> Result<(), CodecError> {
        self.0.decode_float(packet, samples, false).map(drop).map_err(|error| failed("opus", &error))
    }

    fn conceal(&mut self, next: Option<&[u8]>, samples: &mut [f32]) {
        if self.0.decode_float(next.unwrap_or_default(), samples, next.is_some()).is_err() {
            samples.fill(0.0);
        }
    }
}
