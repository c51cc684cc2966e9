//! Plugs in an application's own codecs, such as a hardware encoder. The device is tried first; if it refuses
//! a format, the built-in encoder takes over.
//!
//! ```text
//! cargo run -p plenary --example own_codec                       # for some seconds
//! ```
//!
//! The "hardware" here is software, so that the example runs anywhere. Like many devices, it only accepts
//! pictures with a width and height of whole macroblocks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use plenary::media::codec::{
    CodecError, Codecs, EncodedPicture, SoundDecoder, SoundEncoder, VideoDecoder, VideoEncoder, VideoFormat,
};
use plenary::media::source::TestSource;
use plenary::media::{BuiltinCodecs, PictureView};
use plenary::{Consent, HostOptions, Options, Room};

/// Width and height that the device accepts are multiples of this.
const MACROBLOCK: u16 = 16;
/// Number of program pictures that the viewer watches. The program's format is in whole macroblocks, the
/// format that speakers send at first isn't.
const PICTURES: usize = 90;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // each peer has its own device, so that the reports show which peer encoded and decoded
    let [ada_codecs, max_codecs, zoe_codecs] = [0; 3].map(|_| Arc::new(DeviceCodecs::default()));
    let with = |options: Options, codecs: &Arc<DeviceCodecs>| options.codecs(Some(codecs.clone()));
    let never = |name| Options::speaker(name).mix(Consent::Never);
    let ada = Room::host(with(never("Ada"), &ada_codecs), HostOptions::default()).await?;
    let invite = ada.invite().context("no invite")?;
    let ben = Room::join(&invite, never("Ben")).await?;
    for (index, room) in [&ada, &ben].into_iter().enumerate() {
        room.publish(Box::new(TestSource::new(index as u8, 640, 360, 30))).await?.detach();
    }
    let max = Room::join(&invite, with(Options::mixer("Max"), &max_codecs)).await?;
    let zoe = Room::join(&invite, with(Options::viewer("Zoë"), &zoe_codecs)).await?;

    let mut pictures = zoe.pictures()?;
    let watch = async {
        for _ in 0..PICTURES {
            pictures.next().await.context("the room has ended")?;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(Duration::from_secs(20), watch).await.context("no program came")??;
    for (name, codecs) in [("speaker", &ada_codecs), ("mixer", &max_codecs), ("viewer", &zoe_codecs)] {
        println!("{name}: {}", codecs.report());
    }
    anyhow::ensure!(max_codecs.device.frames.load(Relaxed) > 0, "the mixer didn't use its device");
    anyhow::ensure!(zoe_codecs.decoder.frames.load(Relaxed) > 0, "the viewer didn't use its decoder");
    for room in [zoe, max, ben, ada] {
        room.close().await;
    }
    Ok(())
}

/// Codecs that try the device before the built-in encoder.
#[derive(Default)]
struct DeviceCodecs {
    builtin: BuiltinCodecs,
    device: Arc<Work>,
    fallback: Arc<Work>,
    decoder: Arc<Work>,
}

/// Number of frames processed, and the time spent on them.
#[derive(Default)]
struct Work {
    frames: AtomicU64,
    spent_us: AtomicU64,
}

impl Work {
    fn timed<T>(&self, work: impl FnOnce() -> T) -> T {
        let begun = Instant::now();
        let done = work();
        self.frames.fetch_add(1, Relaxed);
        self.spent_us.fetch_add(begun.elapsed().as_micros() as u64, Relaxed);
        done
    }

    fn report(&self) -> String {
        let (frames, spent_us) = (self.frames.load(Relaxed), self.spent_us.load(Relaxed));
        match frames {
            0 => "none".to_owned(),
            _ => format!("{frames} at {:.2} ms", spent_us as f64 / frames as f64 / 1e3),
        }
    }
}

impl DeviceCodecs {
    /// Creates an encoder on the device; an error if the device refuses the format.
    fn device(&self, format: &VideoFormat) -> Result<Box<dyn VideoEncoder>, CodecError> {
        let VideoFormat { width, height, .. } = *format;
        if !width.is_multiple_of(MACROBLOCK) || !height.is_multiple_of(MACROBLOCK) {
            let code = format!("{width}x{height} is not in whole macroblocks");
            return Err(CodecError::Failed { codec: "device", code });
        }
        self.builtin.video_encoder(format)
    }

    fn report(&self) -> String {
        let [device, fallback, decoder] =
            [&self.device, &self.fallback, &self.decoder].map(|work| work.report());
        format!("pictures encoded by the device: {device}; by the built-in: {fallback}; decoded: {decoder}")
    }
}

impl Codecs for DeviceCodecs {
    fn video_encoder(&self, format: &VideoFormat) -> Result<Box<dyn VideoEncoder>, CodecError> {
        let (encoder, work) = match self.device(format) {
            Ok(encoder) => (encoder, &self.device),
            Err(refused) => {
                eprintln!("{refused}: the built-in encoder takes it");
                (self.builtin.video_encoder(format)?, &self.fallback)
            }
        };
        Ok(Box::new(TimedEncoder { encoder, work: work.clone() }))
    }

    fn video_decoder(&self) -> Result<Box<dyn VideoDecoder>, CodecError> {
        let decoder = self.builtin.video_decoder()?;
        Ok(Box::new(TimedDecoder { decoder, work: self.decoder.clone() }))
    }

    fn sound_encoder(&self, channels: u8, bitrate_bps: u32) -> Result<Box<dyn SoundEncoder>, CodecError> {
        self.builtin.sound_encoder(channels, bitrate_bps)
    }

    fn sound_decoder(&self, channels: u8) -> Result<Box<dyn SoundDecoder>, CodecError> {
        self.builtin.sound_decoder(channels)
    }
}

struct TimedEncoder {
    encoder: Box<dyn VideoEncoder>,
    work: Arc<Work>,
}

impl VideoEncoder for TimedEncoder {
    fn encode(&mut self, picture: &PictureView<'_>, key: bool) -> Result<Option<EncodedPicture>, CodecError> {
        self.work.timed(|| self.encoder.encode(picture, key))
    }

    fn set_bitrate(&mut self, bitrate_bps: u32) {
        self.encoder.set_bitrate(bitrate_bps);
    }
}

struct TimedDecoder {
    decoder: Box<dyn VideoDecoder>,
    work: Arc<Work>,
}

impl VideoDecoder for TimedDecoder {
    fn decode(&mut self, access_unit: &[u8]) -> Result<Option<PictureView<'_>>, CodecError> {
        self.work.timed(|| self.decoder.decode(access_unit))
    }
}
