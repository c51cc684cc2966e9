//! Pushed pictures and sound are encoded in the configured format, and pushing never blocks the application.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::time::Duration;

use plenary_media::codec::{CodecError, Codecs, EncodedPicture, VideoEncoder, VideoFormat};
use plenary_media::{
    Capture, CaptureCounts, CaptureFormat, Clock, Encoded, Picture, PictureView, RawError, RawFormat,
    RawInput, SOUND_FRAMES_WAITING_MAX, TimeError,
};
use plenary_proto::identity::MediaKind;
use plenary_testkit::fake::{Content, FakeCodecs, WithEncoders};

/// Only limits the time for which a test may hang.
const PATIENCE: Duration = Duration::from_secs(20);
const FORMAT: VideoFormat = VideoFormat { width: 160, height: 90, fps: 30, bitrate_bps: 100_000 };
const PICTURE_US: u64 = 33_333;
const SOUND_US: u64 = 20_000;

/// An application with pictures of any size and a clock that it doesn't wait for: times begin five seconds
/// ago.
struct Application {
    capture: Capture,
    input: RawInput,
    frames: Receiver<Encoded>,
    now_us: u64,
}

impl Application {
    fn new(raw: RawFormat, codecs: impl Codecs + 'static) -> Application {
        let clock = Clock::start();
        let (sink, frames) = channel();
        let sink = Box::new(move |encoded| drop(sink.send(encoded)));
        let format = CaptureFormat { video: FORMAT, sound_bitrate_bps: 32_000 };
        let (capture, input) = Capture::start_raw(raw, Arc::new(codecs), clock, format, sink).unwrap();
        Application { capture, input, frames, now_us: clock.now_us() - 5_000_000 }
    }

    /// Pushes a picture of this size and brightness.
    fn show(&mut self, (width, height): (usize, usize), luma: u8) -> u64 {
        let mut picture = Picture::black(width, height);
        picture.planes_mut()[0].fill(luma);
        self.now_us += PICTURE_US;
        self.input.push_picture(&picture.view().into(), self.now_us).unwrap();
        self.now_us
    }

    /// Pushes 20 ms of sound with equal samples.
    fn say(&mut self, value: f32) -> u64 {
        self.now_us += SOUND_US;
        self.input.push_sound(&[value; 960][..], self.now_us).unwrap();
        self.now_us
    }

    fn next(&self) -> Encoded {
        self.frames.recv_timeout(PATIENCE).unwrap()
    }

    fn counts(&self) -> CaptureCounts {
        assert_eq!(self.input.counts(), self.capture.counts());
        self.input.counts()
    }
}

fn content(encoded: &Encoded) -> Content {
    Content::of(&encoded.data).unwrap()
}

#[test]
fn pictures_of_any_size_and_sound_come_out_with_their_capture_times() {
    let mut application = Application::new(RawFormat::default(), FakeCodecs::default());
    let sizes = [((160, 90), [160, 90]), ((160, 90), [160, 90]), ((90, 160), [50, 90]), ((32, 16), [32, 16])];
    for (number, (size, encoded_size)) in sizes.into_iter().enumerate() {
        let luma = 50 + number as u8;
        let captured_us = application.show(size, luma);
        let encoded = application.next();
        assert_eq!((encoded.kind, encoded.captured_us), (MediaKind::Video, captured_us));
        assert_eq!((content(&encoded).size, content(&encoded).colour), (encoded_size, [luma, 128, 128]));
        assert_eq!(encoded.key, number != 1, "a new encoder begins with a key frame");

        let captured_us = application.say(0.1);
        let encoded = application.next();
        assert_eq!((encoded.kind, encoded.captured_us), (MediaKind::Sound, captured_us));
        assert_eq!(encoded.level, Some(20));
    }
    assert_eq!(application.counts(), CaptureCounts { encoded_frames: 4, ..CaptureCounts::default() });
    assert_eq!(application.input.trouble(), None);
}

#[test]
fn what_is_refused_is_not_sent_and_hinders_nothing() {
    let mut application = Application::new(RawFormat::default(), FakeCodecs::default());
    let picture = Picture::black(160, 90);
    let shown_us = application.show((160, 90), 50);
    let back = application.input.push_picture(&picture.view().into(), shown_us);
    assert!(matches!(back, Err(RawError::Time(TimeError::NotRising { what: "picture", .. }))), "{back:?}");
    let far = application.input.push_picture(&picture.view().into(), 1_000);
    assert!(matches!(far, Err(RawError::Time(TimeError::Off { what: "picture", .. }))), "{far:?}");
    let mut short = picture.view();
    short.planes[2].samples = &short.planes[2].samples[1..];
    let short = application.input.push_picture(&short.into(), shown_us + PICTURE_US);
    assert!(matches!(short, Err(RawError::Plane { plane: "Cr", len: 3599, wanted: 3600 })), "{short:?}");
    let wrong = application.input.push_sound(&[f32::INFINITY; 960][..], shown_us);
    assert!(matches!(wrong, Err(RawError::NotFinite { at: 0, .. })), "{wrong:?}");
    assert_eq!(application.next().captured_us, shown_us);
    let shown_us = application.show((160, 90), 60);
    assert_eq!(application.next().captured_us, shown_us);
    let said_us = application.say(0.5);
    assert_eq!(application.next().captured_us, said_us);
    assert_eq!(application.counts(), CaptureCounts { encoded_frames: 2, ..CaptureCounts::default() });
}

#[test]
fn the_newest_picture_and_half_a_second_of_sound_wait_for_a_busy_encoder() {
    let (codecs, begun, goes_on) = gated();
    let mut application = Application::new(RawFormat::default(), codecs);
    let first_us = application.show((160, 90), 50);
    begun.recv_timeout(PATIENCE).unwrap();
    // the encoder blocks until it is released, but pushing doesn't
    let shown = [60, 70, 80, 90].map(|luma| application.show((160, 90), luma));
    let said: Vec<_> = (0..SOUND_FRAMES_WAITING_MAX + 3).map(|_| application.say(0.5)).collect();
    let dropped = CaptureCounts { encoded_frames: 0, dropped_frames: 3, dropped_sound_frames: 3 };
    assert_eq!(application.counts(), dropped);

    drop(goes_on);
    assert_eq!(application.next().captured_us, first_us);
    for said_us in &said[3..] {
        let encoded = application.next();
        assert_eq!((encoded.kind, encoded.captured_us), (MediaKind::Sound, *said_us));
    }
    let newest = application.next();
    assert_eq!((content(&newest).colour[0], newest.captured_us), (90, shown[3]));
    assert_eq!(application.counts(), CaptureCounts { encoded_frames: 2, ..dropped });
}

#[test]
fn what_is_asked_for_is_made() {
    let mut application = Application::new(RawFormat::default(), FakeCodecs::default());
    application.show((160, 90), 50);
    assert!(application.next().key);

    application.capture.set_video(VideoFormat { width: 80, height: 80, ..FORMAT });
    application.show((160, 90), 50);
    let smaller = application.next();
    assert_eq!((content(&smaller).size, smaller.key), ([80, 46], true));

    // a third of the pictures
    application.capture.set_video(VideoFormat { fps: 10, ..FORMAT });
    for number in 0..30 {
        let shown_us = application.show((160, 90), 50);
        if number % 3 == 0 {
            assert_eq!(application.next().captured_us, shown_us, "picture {number}");
        }
    }
    let counts = CaptureCounts { encoded_frames: 2 + 10, ..CaptureCounts::default() };
    assert_eq!(application.counts(), counts, "what isn't wanted isn't lost");
}

#[test]
fn a_wanted_key_frame_comes_within_a_second_of_pictures() {
    let mut application = Application::new(RawFormat::default(), FakeCodecs::default());
    application.show((160, 90), 50);
    assert!(application.next().key);
    application.capture.want_key();
    let mut keys = Vec::new();
    for number in 0..40 {
        application.show((160, 90), 50);
        keys.extend(application.next().key.then_some(number));
    }
    assert_eq!(keys.len(), 1, "{keys:?}"); // and no second one for the same request
}

#[test]
fn while_nobody_listens_nothing_is_encoded_and_nothing_of_it_comes_later() {
    let mut application = Application::new(RawFormat::default(), FakeCodecs::default());
    application.capture.pause_video(true);
    application.capture.pause_sound(true);
    for _ in 0..20 {
        application.show((160, 90), 50);
        application.say(0.5);
    }
    let picture = Picture::black(160, 90);
    let back = application.input.push_picture(&picture.view().into(), application.now_us - 1_000_000);
    assert!(
        matches!(back, Err(RawError::Time(TimeError::NotRising { .. }))),
        "mistakes are told all the same: {back:?}"
    );
    application.capture.pause_video(false);
    application.capture.pause_sound(false);
    let shown_us = application.show((160, 90), 70);
    let first = application.next();
    assert_eq!((first.captured_us, first.key, content(&first).number), (shown_us, true, 0));
    let said_us = application.say(0.25);
    assert_eq!(application.next().captured_us, said_us);
    assert_eq!(application.counts(), CaptureCounts { encoded_frames: 1, ..CaptureCounts::default() });
}

#[test]
fn once_the_capture_has_ended_nothing_is_taken() {
    let Application { capture, input, frames, now_us } =
        Application::new(RawFormat::default(), FakeCodecs::default());
    drop(capture);
    let picture = Picture::black(160, 90);
    assert_eq!(input.push_picture(&picture.view().into(), now_us), Err(RawError::Closed));
    assert_eq!(input.push_sound(&[0i16; 960][..], now_us), Err(RawError::Closed));
    assert!(frames.recv_timeout(PATIENCE).is_err(), "the sink is gone with the thread");
}

#[test]
fn an_encoder_that_refuses_is_told_of_and_sound_goes_on() {
    let refusing =
        WithEncoders::new(|_| Err(CodecError::Failed { codec: "refusing", code: "no pictures".to_owned() }));
    let mut application = Application::new(RawFormat::default(), refusing);
    application.show((160, 90), 50);
    // sound is encoded first, so the picture may be encoded late
    for _ in 0..100 {
        let said_us = application.say(0.5);
        assert_eq!(application.next().captured_us, said_us);
        if application.input.trouble().is_some() {
            break;
        }
    }
    assert_eq!(application.input.trouble().as_deref(), Some("refusing: no pictures"));
}

/// Codecs that report when an encoder begins, and block it until the returned sender is dropped.
fn gated() -> (impl Codecs + 'static, Receiver<()>, Sender<()>) {
    let (begins, begun) = sync_channel(100);
    let (goes_on, gate) = channel();
    let gate = std::sync::Mutex::new(Some(gate));
    let codecs = WithEncoders::new(move |format| {
        let gate = gate.lock().unwrap().take();
        let encoder = FakeCodecs::default().video_encoder(format)?;
        Ok(Box::new(GatedEncoder(encoder, begins.clone(), gate)))
    });
    (codecs, begun, goes_on)
}

struct GatedEncoder(Box<dyn VideoEncoder>, SyncSender<()>, Option<Receiver<()>>);

impl VideoEncoder for GatedEncoder {
    fn encode(&mut self, picture: &PictureView<'_>, key: bool) -> Result<Option<EncodedPicture>, CodecError> {
        self.1.send(()).unwrap();
        if let Some(gate) = self.2.take() {
            assert!(gate.recv_timeout(PATIENCE).is_err(), "nothing is ever sent");
        }
        self.0.encode(picture, key)
    }

    fn set_bitrate(&mut self, bitrate_bps: u32) {
        self.0.set_bitrate(bitrate_bps);
    }
}
