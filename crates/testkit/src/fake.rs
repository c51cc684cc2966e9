//! Fake codecs, fast and deterministic, for tests of the layers above the codecs.
//!
//! An encoded picture is a slice NAL unit, with parameter sets before keyframes, that holds in plain text the
//! picture's size, number and mean colour; decoding yields a picture of that size in that colour. As with
//! real codecs, after a lost frame decoding fails until a keyframe. An encoded sound frame holds the mean of
//! its samples and the mean of the previous frame, as FEC for a lost frame; decoding yields the mean for
//! 20 ms.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use plenary_media::codec::{
    CodecError, Codecs, EncodedPicture, SoundDecoder, SoundEncoder, VideoDecoder, VideoEncoder, VideoFormat,
};
use plenary_media::{Picture, PictureView};
use plenary_proto::identity::h264::nals;

const NAME: &str = "fake";
const NAL_KEY: u8 = 0x65;
const NAL_DELTA: u8 = 0x61;
/// First byte of a slice: first_mb_in_slice = 0 and a slice type.
const SLICE_BEGIN: u8 = 0x88;
/// Picture parameter set like openh264's; no decoder reads it.
const PPS: [u8; 4] = [0x68, 0xce, 0x3c, 0x80];
/// Table-of-contents byte of fullband CELT, 20 ms, one frame; without the stereo bit.
const TOC: u8 = 31 << 3;
const TOC_STEREO: u8 = 4;
const CODE_MASK: u8 = 3;
/// Bytes that `identity::opus::mark` inserts between the TOC and the frame: frame count and padding length.
const MARK_LEN: usize = 2;

/// Factory of encoders and decoders that take no time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FakeCodecs {
    /// Minimum bytes of a keyframe, for tests that need a given number of packets.
    pub key_len_min: usize,
    /// Minimum bytes of any other frame.
    pub delta_len_min: usize,
}

impl Codecs for FakeCodecs {
    fn video_encoder(&self, format: &VideoFormat) -> Result<Box<dyn VideoEncoder>, CodecError> {
        Ok(Box::new(FakeVideoEncoder { codecs: *self, format: *format, number: 0 }))
    }

    fn video_decoder(&self) -> Result<Box<dyn VideoDecoder>, CodecError> {
        Ok(Box::new(FakeVideoDecoder { next: None, picture: Picture::black(2, 2) }))
    }

    fn sound_encoder(&self, channels: u8, _bitrate_bps: u32) -> Result<Box<dyn SoundEncoder>, CodecError> {
        Ok(Box::new(FakeSoundEncoder { stereo: channels == 2, before: 0.0 }))
    }

    fn sound_decoder(&self, _channels: u8) -> Result<Box<dyn SoundDecoder>, CodecError> {
        Ok(Box::new(FakeSoundDecoder { last: 0.0 }))
    }
}

/// Fake codecs, but with video encoders supplied by the test.
pub struct WithEncoders<F>(F);

impl<F> WithEncoders<F>
where
    F: Fn(&VideoFormat) -> Result<Box<dyn VideoEncoder>, CodecError> + Send + Sync,
{
    /// Creates codecs that get their video encoders from `make`.
    pub fn new(make: F) -> WithEncoders<F> {
        WithEncoders(make)
    }
}

impl<F> Codecs for WithEncoders<F>
where
    F: Fn(&VideoFormat) -> Result<Box<dyn VideoEncoder>, CodecError> + Send + Sync + 'static,
{
    fn video_encoder(&self, format: &VideoFormat) -> Result<Box<dyn VideoEncoder>, CodecError> {
        (self.0)(format)
    }

    fn video_decoder(&self) -> Result<Box<dyn VideoDecoder>, CodecError> {
        FakeCodecs::default().video_decoder()
    }

    fn sound_encoder(&self, channels: u8, bitrate_bps: u32) -> Result<Box<dyn SoundEncoder>, CodecError> {
        FakeCodecs::default().sound_encoder(channels, bitrate_bps)
    }

    fn sound_decoder(&self, channels: u8) -> Result<Box<dyn SoundDecoder>, CodecError> {
        FakeCodecs::default().sound_decoder(channels)
    }
}

/// Fake codecs with a configurable encoding time per picture, as on a busy machine.
#[derive(Clone, Debug, Default)]
pub struct SlowCodecs {
    /// The underlying codecs.
    pub codecs: FakeCodecs,
    /// Encoding time of each picture in microseconds, from the next picture on; at first 0.
    pub encode_us: Arc<AtomicU32>,
}

impl Codecs for SlowCodecs {
    fn video_encoder(&self, format: &VideoFormat) -> Result<Box<dyn VideoEncoder>, CodecError> {
        Ok(Box::new(SlowVideoEncoder(self.codecs.video_encoder(format)?, self.encode_us.clone())))
    }

    fn video_decoder(&self) -> Result<Box<dyn VideoDecoder>, CodecError> {
        self.codecs.video_decoder()
    }

    fn sound_encoder(&self, channels: u8, bitrate_bps: u32) -> Result<Box<dyn SoundEncoder>, CodecError> {
        self.codecs.sound_encoder(channels, bitrate_bps)
    }

    fn sound_decoder(&self, channels: u8) -> Result<Box<dyn SoundDecoder>, CodecError> {
        self.codecs.sound_decoder(channels)
    }
}

struct SlowVideoEncoder(Box<dyn VideoEncoder>, Arc<AtomicU32>);

impl VideoEncoder for SlowVideoEncoder {
    fn encode(&mut self, picture: &PictureView<'_>, key: bool) -> Result<Option<EncodedPicture>, CodecError> {
        #[expect(clippy::disallowed_methods, reason = "encoders are called on threads of the mixer")]
        std::thread::sleep(Duration::from_micros(self.1.load(Ordering::Relaxed).into()));
        self.0.encode(picture, key)
    }

    fn set_bitrate(&mut self, bitrate_bps: u32) {
        self.0.set_bitrate(bitrate_bps);
    }

    fn set_frame_rate(&mut self, fps: u8) {
        self.0.set_frame_rate(fps);
    }

    fn set_plain(&mut self, plain: bool) {
        self.0.set_plain(plain);
    }
}

struct FakeVideoEncoder {
    codecs: FakeCodecs,
    format: VideoFormat,
    number: u32,
}

impl VideoEncoder for FakeVideoEncoder {
    fn encode(&mut self, picture: &PictureView<'_>, key: bool) -> Result<Option<EncodedPicture>, CodecError> {
        let size = (picture.width, picture.height);
        if size != (self.format.width.into(), self.format.height.into()) {
            return Err(CodecError::Failed { codec: NAME, code: format!("a picture of {size:?}") });
        }
        let key = key || self.number == 0;
        let mut data = Vec::new();
        if key {
            append_nal(&mut data, &sps(self.format.width, self.format.height));
            append_nal(&mut data, &PPS);
        }
        let content = Content { size: [size.0, size.1], number: self.number, colour: mean_colour(picture) };
        let mut slice = vec![if key { NAL_KEY } else { NAL_DELTA }, SLICE_BEGIN];
        slice.extend(content.to_text().bytes());
        append_nal(&mut data, &slice);
        let len_min = if key { self.codecs.key_len_min } else { self.codecs.delta_len_min };
        data.resize(data.len().max(len_min), b'.');
        self.number += 1;
        Ok(Some(EncodedPicture::new(Bytes::from(data), key)))
    }

    fn set_bitrate(&mut self, bitrate_bps: u32) {
        self.format.bitrate_bps = bitrate_bps;
    }
}

/// Content of a fake picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Content {
    /// Width and height in pixels.
    pub size: [usize; 2],
    /// Number of the picture, counted by its encoder from 0.
    pub number: u32,
    /// Mean of each plane, over a sparse grid of samples.
    pub colour: [u8; 3],
}

impl Content {
    /// Reads the content of an access unit; `None` when the access unit isn't fake.
    pub fn of(access_unit: &[u8]) -> Option<Content> {
        let slice =
            nals(access_unit).find(|nal| matches!(nal.bytes.first(), Some(&(NAL_KEY | NAL_DELTA))))?;
        let text = std::str::from_utf8(slice.bytes.get(2..)?).ok()?;
        let mut fields = text.split(' ').map(|field| u32::from_str_radix(field, 16).ok());
        let mut field = || fields.next().flatten();
        Some(Content {
            size: [field()? as usize, field()? as usize],
            number: field()?,
            colour: [field()? as u8, field()? as u8, field()? as u8],
        })
    }

    fn to_text(self) -> String {
        let Content { size: [width, height], number, colour: [luma, cb, cr] } = self;
        format!("{width:x} {height:x} {number:x} {luma:x} {cb:x} {cr:x} ")
    }
}

struct FakeVideoDecoder {
    /// Number of the next decodable picture; `None` until a keyframe.
    next: Option<u32>,
    picture: Picture,
}

impl VideoDecoder for FakeVideoDecoder {
    fn decode(&mut self, access_unit: &[u8]) -> Result<Option<PictureView<'_>>, CodecError> {
        let broken = |code: &str| CodecError::Decode { codec: NAME, code: code.to_owned() };
        let content = Content::of(access_unit).ok_or_else(|| broken("not a fake picture"))?;
        let key = nals(access_unit).any(|nal| nal.bytes.first() == Some(&NAL_KEY));
        if !key && self.next != Some(content.number) {
            self.next = None;
            return Err(broken("reference lost"));
        }
        self.next = Some(content.number + 1);
        let [width, height] = content.size;
        if (self.picture.width(), self.picture.height()) != (width, height) {
            self.picture = Picture::black(width, height);
        }
        for (plane, mean) in self.picture.planes_mut().into_iter().zip(content.colour) {
            plane.fill(mean);
        }
        Ok(Some(self.picture.view()))
    }
}

fn append_nal(data: &mut Vec<u8>, nal: &[u8]) {
    data.extend([0, 0, 0, 1]);
    data.extend(nal);
}

fn mean_colour(picture: &PictureView<'_>) -> [u8; 3] {
    const STEP: usize = 7;
    [0, 1, 2].map(|index| {
        let plane = picture.planes[index];
        let shrink = if index == 0 { 1 } else { 2 };
        let rows = plane.samples.chunks(plane.stride).take(picture.height / shrink).step_by(STEP);
        let samples = rows.flat_map(|row| row[..picture.width / shrink].iter().step_by(STEP));
        let (sum, count) =
            samples.fold((0u64, 0u64), |(sum, count), sample| (sum + u64::from(*sample), count + 1));
        (sum / count.max(1)) as u8
    })
}

/// Builds a valid sequence parameter set: constrained baseline, level 3.1, one reference, cropped to the size
/// (ITU-T H.264, 7.3.2.1.1).
fn sps(width: u16, height: u16) -> Vec<u8> {
    let (width_mbs, height_mbs) = (width.div_ceil(16), height.div_ceil(16));
    let crop = |side: u16, mbs: u16| u32::from(mbs * 16 - side) / 2;
    let mut bits = Bits(vec![0x67, 66, 0xc0, 31], 8);
    bits.golomb(0); // seq_parameter_set_id
    bits.golomb(0); // log2_max_frame_num_minus4
    bits.golomb(2); // pic_order_cnt_type
    bits.golomb(1); // max_num_ref_frames
    bits.push(0, 1); // gaps_in_frame_num_value_allowed_flag
    bits.golomb(u32::from(width_mbs) - 1);
    bits.golomb(u32::from(height_mbs) - 1);
    bits.push(0b11, 2); // frame_mbs_only_flag, direct_8x8_inference_flag
    bits.push(1, 1); // frame_cropping_flag
    for offset in [0, crop(width, width_mbs), 0, crop(height, height_mbs)] {
        bits.golomb(offset);
    }
    bits.push(0, 1); // vui_parameters_present_flag
    bits.push(1, 1); // rbsp_stop_one_bit
    bits.0
}

/// Bit writer: the bytes, and the number of bits used in the last byte.
struct Bits(Vec<u8>, u32);

impl Bits {
    fn push(&mut self, value: u32, count: u32) {
        for shift in (0..count).rev() {
            if self.1 == 8 {
                self.0.push(0);
                self.1 = 0;
            }
            self.1 += 1;
            if let Some(last) = self.0.last_mut() {
                *last |= ((value >> shift & 1) as u8) << (8 - self.1);
            }
        }
    }

    /// Writes an Exp-Golomb code (ITU-T H.264, 9.1).
    fn golomb(&mut self, value: u32) {
        let len = (value + 1).ilog2();
        self.push(0, len);
        self.push(value + 1, len + 1);
    }
}

struct FakeSoundEncoder {
    stereo: bool,
    before: f32,
}

impl SoundEncoder for FakeSoundEncoder {
    fn encode(&mut self, samples: &[f32]) -> Result<Bytes, CodecError> {
        let sum: f64 = samples.iter().map(|sample| f64::from(*sample)).sum();
        let mean = (sum / samples.len().max(1) as f64) as f32;
        let mut packet = vec![TOC | if self.stereo { TOC_STEREO } else { 0 }];
        packet.extend(mean.to_be_bytes());
        packet.extend(self.before.to_be_bytes());
        self.before = mean;
        Ok(Bytes::from(packet))
    }
}

struct FakeSoundDecoder {
    last: f32,
}

/// Reads the means of a packet's own frame and of the previous frame, also from a packet with an embedded
/// identity.
fn means(packet: &[u8]) -> Option<[f32; 2]> {
    let (toc, rest) = packet.split_first()?;
    let frame = if toc & CODE_MASK == CODE_MASK { rest.get(MARK_LEN..)? } else { rest };
    let (own, rest) = frame.split_first_chunk::<4>()?;
    let (before, _) = rest.split_first_chunk::<4>()?;
    Some([f32::from_be_bytes(*own), f32::from_be_bytes(*before)])
}

impl SoundDecoder for FakeSoundDecoder {
    fn decode(&mut self, packet: &[u8], samples: &mut [f32]) -> Result<(), CodecError> {
        let Some([own, _]) = means(packet) else {
            samples.fill(0.0);
            return Err(CodecError::Decode { codec: NAME, code: "not fake sound".to_owned() });
        };
        self.last = own;
        samples.fill(own);
        Ok(())
    }

    fn conceal(&mut self, next: Option<&[u8]>, samples: &mut [f32]) {
        if let Some([_, before]) = next.and_then(means) {
            self.last = before;
        }
        samples.fill(self.last);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use plenary_proto::StreamId;
    use plenary_proto::identity::{FrameIdentity, h264, opus};

    const FORMAT: VideoFormat = VideoFormat { width: 638, height: 362, fps: 30, bitrate_bps: 600_000 };
    const IDENTITY: FrameIdentity = FrameIdentity {
        stream: StreamId([7; 8]),
        number: 1,
        captured_us: 1,
        temporal: 0,
        key: true,
        epoch: 0,
        first_packet: 1,
    };

    fn grey(luma: u8) -> Picture {
        let mut picture = Picture::black(638, 362);
        picture.planes_mut()[0].fill(luma);
        picture
    }

    #[test]
    fn a_picture_comes_back_in_its_size_and_colour_through_a_mark() {
        let codecs = FakeCodecs { key_len_min: 5000, delta_len_min: 300 };
        let mut encoder = codecs.video_encoder(&FORMAT).unwrap();
        let mut decoder = codecs.video_decoder().unwrap();
        for (luma, len, key) in [(40, 5000, true), (80, 300, false)] {
            let encoded = encoder.encode(&grey(luma).view(), false).unwrap().unwrap();
            assert_eq!((encoded.key, encoded.data.len()), (key, len));
            let marked = h264::mark(&encoded.data, &IDENTITY).unwrap();
            let picture = decoder.decode(&marked).unwrap().unwrap();
            assert_eq!((picture.width, picture.height, picture.planes[0].samples[0]), (638, 362, luma));
        }
    }

    #[test]
    fn after_a_lost_frame_nothing_decodes_until_a_key_frame() {
        let codecs = FakeCodecs::default();
        let mut encoder = codecs.video_encoder(&FORMAT).unwrap();
        let mut decoder = codecs.video_decoder().unwrap();
        let decoded: Vec<_> = (0..6)
            .map(|number| encoder.encode(&grey(50).view(), number == 4).unwrap().unwrap().data)
            .enumerate()
            .filter(|(number, _)| *number != 2)
            .map(|(_, data)| decoder.decode(&data).is_ok())
            .collect();
        assert_eq!(decoded, [true, true, false, true, true]);
    }

    #[test]
    fn sound_is_decoded_and_concealed_through_a_mark() {
        let codecs = FakeCodecs::default();
        let mut encoder = codecs.sound_encoder(1, 32_000).unwrap();
        let mut decoder = codecs.sound_decoder(1).unwrap();
        let packets = [0.1f32, 0.2, 0.3]
            .map(|value| opus::mark(&encoder.encode(&[value; 960]).unwrap(), &IDENTITY).unwrap());
        let mut samples = [0.0; 960];
        decoder.decode(&packets[0], &mut samples).unwrap();
        assert!((samples[0] - 0.1).abs() < 1e-6);
        decoder.conceal(Some(&packets[2]), &mut samples);
        assert!((samples[0] - 0.2).abs() < 1e-6);
        decoder.conceal(None, &mut samples);
        assert!((samples[959] - 0.2).abs() < 1e-6);
        assert!(decoder.decode(&[1], &mut samples).is_err() && samples[0] == 0.0);
    }
}
