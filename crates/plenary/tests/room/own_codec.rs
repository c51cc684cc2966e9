//! The application's own encoders and decoders are used for everything that is encoded and decoded.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use plenary::media::codec::{
    CodecError, Codecs, EncodedPicture, SoundDecoder, SoundEncoder, VideoDecoder, VideoEncoder, VideoFormat,
};
use plenary::media::{Picture, PictureView, RawFormat};
use plenary::{Consent, Mode, Options, Room};
use plenary_testkit::fake::FakeCodecs;
use tokio::time::MissedTickBehavior;

use crate::support::*;

/// Counts of the calls of one peer's codecs.
#[derive(Debug, Default)]
struct Calls {
    pictures_encoded: AtomicU64,
    pictures_decoded: AtomicU64,
    sound_encoded: AtomicU64,
    sound_decoded: AtomicU64,
    /// Number of encoders with DTX on.
    leave_silence_out: AtomicU64,
    /// Loss that an encoder was last set to, in percent, plus 1.
    loss: AtomicU64,
}

impl Calls {
    /// Returns the number of pictures encoded and decoded, and of sound frames encoded and decoded.
    fn seen(&self) -> [u64; 4] {
        [&self.pictures_encoded, &self.pictures_decoded, &self.sound_encoded, &self.sound_decoded]
            .map(|count| count.load(Ordering::Relaxed))
    }
}

/// An application's codecs: they count calls, and delegate the work.
#[derive(Clone, Default)]
struct OwnCodecs(Arc<Calls>);

/// One encoder or decoder of the application.
struct Own<T: ?Sized>(Arc<Calls>, Box<T>);

impl Codecs for OwnCodecs {
    fn video_encoder(&self, format: &VideoFormat) -> Result<Box<dyn VideoEncoder>, CodecError> {
        Ok(Box::new(Own(self.0.clone(), FakeCodecs::default().video_encoder(format)?)))
    }

    fn video_decoder(&self) -> Result<Box<dyn VideoDecoder>, CodecError> {
        Ok(Box::new(Own(self.0.clone(), FakeCodecs::default().video_decoder()?)))
    }

    fn sound_encoder(&self, channels: u8, bitrate_bps: u32) -> Result<Box<dyn SoundEncoder>, CodecError> {
        Ok(Box::new(Own(self.0.clone(), FakeCodecs::default().sound_encoder(channels, bitrate_bps)?)))
    }

    fn sound_decoder(&self, channels: u8) -> Result<Box<dyn SoundDecoder>, CodecError> {
        Ok(Box::new(Own(self.0.clone(), FakeCodecs::default().sound_decoder(channels)?)))
    }
}

impl VideoEncoder for Own<dyn VideoEncoder> {
    fn encode(&mut self, picture: &PictureView<'_>, key: bool) -> Result<Option<EncodedPicture>, CodecError> {
        self.0.pictures_encoded.fetch_add(1, Ordering::Relaxed);
        self.1.encode(picture, key)
    }

    fn set_bitrate(&mut self, bitrate_bps: u32) {
        self.1.set_bitrate(bitrate_bps);
    }
}

impl VideoDecoder for Own<dyn VideoDecoder> {
    fn decode(&mut self, access_unit: &[u8]) -> Result<Option<PictureView<'_>>, CodecError> {
        self.0.pictures_decoded.fetch_add(1, Ordering::Relaxed);
        self.1.decode(access_unit)
    }
}

impl SoundEncoder for Own<dyn SoundEncoder> {
    fn encode(&mut self, samples: &[f32]) -> Result<Bytes, CodecError> {
        self.0.sound_encoded.fetch_add(1, Ordering::Relaxed);
        self.1.encode(samples)
    }

    fn set_dtx(&mut self, on: bool) {
        let count = &self.0.leave_silence_out;
        if on {
            count.fetch_add(1, Ordering::Relaxed)
        } else {
            count.fetch_sub(1, Ordering::Relaxed)
        };
    }

    fn set_loss(&mut self, percent: u8) {
        self.0.loss.store(u64::from(percent) + 1, Ordering::Relaxed);
    }
}

impl SoundDecoder for Own<dyn SoundDecoder> {
    fn decode(&mut self, packet: &[u8], samples: &mut [f32]) -> Result<(), CodecError> {
        self.0.sound_decoded.fetch_add(1, Ordering::Relaxed);
        self.1.decode(packet, samples)
    }

    fn conceal(&mut self, next: Option<&[u8]>, samples: &mut [f32]) {
        self.1.conceal(next, samples);
    }
}

/// Returns options with own codecs, and their call counts.
fn own(options: Options) -> (Options, Arc<Calls>) {
    let codecs = OwnCodecs::default();
    let calls = codecs.0.clone();
    (local(options).codecs(Some(Arc::new(codecs))), calls)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn speaker_mixer_and_viewer_use_the_application_s_codecs_and_no_others() {
    let never = |name| Options::speaker(name).mix(Consent::Never);
    let (ada, ada_calls) = own(never("Ada"));
    let (ben, ben_calls) = own(never("Ben"));
    let (max, max_calls) = own(Options::mixer("Max"));
    let (zoe, zoe_calls) = own(Options::viewer("Zoë"));
    let ada = Room::host(ada, small().mixers(1)).await.unwrap();
    let ben = join(&ada, ben).await;
    ada.publish(source(0)).await.unwrap().detach();
    let track = ben.publish_raw(RawFormat::default()).await.unwrap();
    let max = join(&ada, max).await;
    let zoe = join(&ada, zoe).await;
    let (mut pictures, mut sound) = (zoe.pictures().unwrap(), zoe.sound().unwrap());
    until(&ada, "a mixer", |room| room.mode == Mode::Mixer && room.mixers == [max.me()]).await;

    let mut beat = tokio::time::interval(Duration::from_millis(20));
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay); // two pushes at the same time would be refused
    let picture = Picture::black(320, 180);
    let silence = |calls: &Calls| calls.leave_silence_out.load(Ordering::Relaxed);
    let (mut shown, mut all) = (0, false);
    within("all of them at work", async {
        while shown < 30 || !all {
            tokio::select! {
                _ = beat.tick() => {
                    let now_us = track.now_us();
                    track.push_picture(&picture.view().into(), now_us).unwrap();
                    track.push_sound(&[0.1f32; 960][..], now_us).unwrap();
                }
                decoded = pictures.next() => {
                    decoded.unwrap();
                    shown += 1;
                }
                heard = sound.next() => drop(heard.unwrap()),
            }
            let [speakers, mixer, viewer] = [[&ada_calls, &ben_calls], [&max_calls; 2], [&zoe_calls; 2]];
            all = speakers
                .iter()
                .all(|calls| calls.seen()[0] > 10 && calls.seen()[2] > 10 && silence(calls) > 0)
                && mixer[0].seen().iter().all(|count| *count > 10)
                && viewer[0].seen()[1] >= 30
                && viewer[0].seen()[3] > 10
                && speakers.iter().chain(&mixer).all(|calls| calls.loss.load(Ordering::Relaxed) > 0);
        }
    })
    .await;
    assert_eq!(silence(&max_calls), 0, "the program has no gaps");
    // work that only speakers or mixers do
    assert_eq!([zoe_calls.seen()[0], zoe_calls.seen()[2]], [0, 0], "a viewer encodes nothing");
    for calls in [&ada_calls, &ben_calls] {
        assert_eq!([calls.seen()[1], calls.seen()[3]], [0, 0], "who shows nothing decodes nothing");
    }
    // the mixer's tenures count the pictures given to its encoder
    let encoded: u64 = max.tenures().iter().map(|tenure| tenure.encoded_frames).sum();
    assert!(encoded > 0 && max_calls.seen()[0] >= encoded, "{encoded} of {:?}", max_calls.seen());
    // a speaker whose frames are passed through as the program doesn't use DTX
    ben.close().await;
    until(&ada, "one speaker's frames passed through", |room| room.mode == Mode::PassThrough).await;
    within("all of her sound", async {
        while silence(&ada_calls) > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    for room in [zoe, max, ada] {
        room.close().await;
    }
}
