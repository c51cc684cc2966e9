//! A capture follows its schedule and its configured format.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use bytes::Bytes;
use plenary_media::codec::{
    CodecError, Codecs, SoundDecoder, SoundEncoder, VideoDecoder, VideoEncoder, VideoFormat,
};
use plenary_media::source::{Source, SourceError, SourceFault, SourcePictures, TestSource};
use plenary_media::{
    Capture, CaptureFormat, Clock, Encoded, Picture, PictureView, SOUND_FRAME_LEN, SoundEncoding,
    VideoEncoding,
};
use plenary_proto::identity::MediaKind;
use plenary_testkit::fake::{Content, FakeCodecs, SlowCodecs};

/// Only limits the time for which a test may hang.
const PATIENCE: Duration = Duration::from_secs(20);
const FORMAT: VideoFormat = VideoFormat { width: 160, height: 90, fps: 30, bitrate_bps: 100_000 };

#[test]
fn frames_carry_the_times_when_they_were_due() {
    let clock = Clock::start();
    let begin_us = clock.now_us();
    let (capture, frames) = start(test_source(), Arc::new(FakeCodecs::default()), clock);
    let got: Vec<_> = take(&frames, 100);
    let times = |kind| got.iter().filter(move |frame| frame.kind == kind).map(|frame| frame.captured_us);
    let origin_us = times(MediaKind::Sound).next().unwrap();
    assert!(origin_us >= begin_us && origin_us <= clock.now_us());
    for (number, at_us) in times(MediaKind::Sound).enumerate() {
        assert_eq!(at_us, origin_us + number as u64 * 20_000);
    }
    // on a machine that stalls, pictures may be missing, but none has another time
    let mut schedule = (0..).map(|number| origin_us + number * 1_000_000 / 30);
    assert!(times(MediaKind::Video).all(|at_us| schedule.by_ref().find(|due| *due >= at_us) == Some(at_us)));
    assert!(got.windows(2).all(|pair| pair[0].captured_us <= pair[1].captured_us));
    assert!(capture.counts().encoded_frames >= times(MediaKind::Video).count() as u64);
    assert_eq!(capture.trouble(), None);
}

#[test]
fn what_is_asked_for_comes_with_a_key_frame() {
    let (capture, frames) = start(test_source(), Arc::new(FakeCodecs::default()), Clock::start());
    let first = next_picture(&frames);
    assert_eq!((first.key, Content::of(&first.data).unwrap().size), (true, [160, 90]));

    capture.set_video(VideoFormat { width: 80, height: 80, ..FORMAT });
    let smaller = find(&frames, |content| content.size == [80, 46]);
    assert!(smaller.key);

    // a change of the bitrate causes no keyframe
    capture.set_video(VideoFormat { width: 80, height: 80, bitrate_bps: 50_000, ..FORMAT });
    let mut numbers = (0..5).map(|_| Content::of(&next_picture(&frames).data).unwrap().number);
    assert!(numbers.by_ref().is_sorted() && capture.trouble().is_none());

    // a lower frame rate recreates the encoder
    capture.set_video(VideoFormat { fps: 10, ..FORMAT });
    let slower = find(&frames, |content| content.size == [160, 90]);
    let then = next_picture(&frames);
    assert!(slower.key && !then.key);
    assert!(then.captured_us - slower.captured_us > 99_000);
}

#[test]
fn a_paused_encoder_stands_still_and_goes_on_with_a_key_frame() {
    let (capture, frames) = start(test_source(), Arc::new(FakeCodecs::default()), Clock::start());
    next_picture(&frames);
    capture.pause_video(true);
    // sound continues; after some frames of it no picture can be in transit
    while take(&frames, 25).iter().any(|frame| frame.kind == MediaKind::Video) {}
    let encoded = capture.counts().encoded_frames;
    assert!(take(&frames, 25).iter().all(|frame| frame.kind == MediaKind::Sound));
    assert_eq!(capture.counts().encoded_frames, encoded);

    capture.pause_sound(true);
    capture.pause_video(false);
    let again = next_picture(&frames);
    let content = Content::of(&again.data).unwrap();
    assert!(again.key, "more than a second after the last key frame");
    assert_eq!(u64::from(content.number), encoded, "the same encoder");
    while take(&frames, 10).iter().any(|frame| frame.kind == MediaKind::Sound) {}
    capture.pause_sound(false);
    while take(&frames, 10).iter().all(|frame| frame.kind == MediaKind::Video) {}
}

#[test]
fn a_wanted_key_frame_comes_and_wishes_are_merged() {
    let (capture, frames) = start(test_source(), Arc::new(FakeCodecs::default()), Clock::start());
    let first = next_picture(&frames);
    assert!(first.key);
    let mut keys = vec![first.captured_us];
    while keys.len() < 4 {
        capture.want_key();
        let frame = next_picture(&frames);
        if frame.key {
            keys.push(frame.captured_us);
        }
    }
    // at most one a second despite many requests, but earlier than the periodic ones
    assert!(keys.windows(2).all(|pair| pair[1] - pair[0] >= 1_000_000), "{keys:?}");
    assert!(keys.windows(2).any(|pair| pair[1] - pair[0] < 1_900_000), "{keys:?}");
}

#[test]
fn dropping_a_capture_ends_it() {
    let (capture, frames) = start(test_source(), Arc::new(FakeCodecs::default()), Clock::start());
    next_picture(&frames);
    drop(capture);
    // frames encoded before are still received, and the sink is dropped
    while frames.try_recv().is_ok() {}
    assert!(matches!(frames.try_recv(), Err(std::sync::mpsc::TryRecvError::Disconnected)));
}

#[test]
fn an_encoder_that_is_too_slow_loses_pictures_and_no_sound() {
    let slow = SlowCodecs { encode_us: Arc::new(150_000.into()), ..SlowCodecs::default() };
    let (capture, frames) = start(test_source(), Arc::new(slow), Clock::start());
    let got = take(&frames, 120);
    let sound: Vec<_> = got.iter().filter(|frame| frame.kind == MediaKind::Sound).collect();
    assert!(sound.windows(2).all(|pair| pair[1].captured_us - pair[0].captured_us == 20_000));
    assert!(capture.counts().dropped_frames > capture.counts().encoded_frames);
    assert!(capture.counts().encoded_frames > 0);
}

#[test]
fn trouble_is_told() {
    let broken = Scripted { pictures: Some(3), sound: Some(40), at: 0, heard: 0 };
    let (capture, frames) = start(Box::new(broken), Arc::new(FakeCodecs::default()), Clock::start());
    while frames.recv_timeout(PATIENCE).is_ok() {}
    // the thread has ended and dropped the sink
    assert_eq!(capture.trouble().as_deref(), Some("scripted: the file is empty"));

    let refused = VideoFormat { width: 161, ..FORMAT };
    let format = CaptureFormat { video: refused, sound_bitrate_bps: 32_000 };
    let (sink, frames) = channel();
    let sink = Box::new(move |encoded| drop(sink.send(encoded)));
    let capture =
        Capture::start(test_source(), Arc::new(RefusingCodecs), Clock::start(), format, sink).unwrap();
    take(&frames, 10);
    assert_eq!(capture.trouble().as_deref(), Some("refusing: no pictures"));
    assert_eq!(capture.counts().encoded_frames, 0);
}

#[test]
fn a_source_without_sound_or_pictures_gives_what_it_has() {
    for (pictures, sound) in [(Some(1000), None), (None, Some(1000))] {
        let source = Box::new(Scripted { pictures, sound, at: 0, heard: 0 });
        let (capture, frames) = start(source, Arc::new(FakeCodecs::default()), Clock::start());
        let wanted = if pictures.is_some() { MediaKind::Video } else { MediaKind::Sound };
        assert!(take(&frames, 10).iter().all(|frame| frame.kind == wanted));
        assert_eq!(capture.trouble(), None);
    }
}

#[test]
fn key_frames_come_first_each_two_seconds_and_when_wanted() {
    let mut encoding = VideoEncoding::new(Arc::new(FakeCodecs::default()), FORMAT);
    let picture = Picture::black(160, 90);
    let mut keys = Vec::new();
    for number in 0..300u64 {
        if [10, 12, 13, 100, 101].contains(&number) {
            encoding.want_key();
        }
        let encoded = encoding.push(&picture.view(), 7_000_000 + number * 1_000_000 / 30).unwrap().unwrap();
        if encoded.key {
            keys.push(number);
        }
    }
    // frame 0 is the first; the requests at 10 to 13 wait until 30; 90 is periodic; the request at 100 waits
    // until 120
    assert_eq!(keys, [0, 30, 90, 120, 180, 240]);
}

#[test]
fn pictures_fit_into_what_is_asked() {
    // (picture size, limits, encoded size)
    let rows = [
        ((1280, 720), (640, 360), [640, 360]),
        ((720, 1280), (640, 360), [202, 360]),
        ((320, 180), (640, 360), [320, 180]),
        ((800, 600), (640, 360), [480, 360]),
    ];
    for (size, (width, height), wanted) in rows {
        let mut encoding =
            VideoEncoding::new(Arc::new(FakeCodecs::default()), VideoFormat { width, height, ..FORMAT });
        let mut picture = Picture::black(size.0, size.1);
        picture.planes_mut()[0].fill(77);
        let encoded = encoding.push(&picture.view(), 0).unwrap().unwrap();
        let content = Content::of(&encoded.data).unwrap();
        assert_eq!((content.size, content.colour), (wanted, [77, 128, 128]), "{size:?}");
    }
}

#[test]
fn the_level_of_sound_is_told() {
    let mut sound = SoundEncoding::new(&FakeCodecs::default(), 1, 32_000).unwrap();
    for (amplitude, level) in [(0.0, 127), (0.1, 20), (1.0, 0)] {
        assert_eq!(sound.push(&[amplitude; SOUND_FRAME_LEN], 0).unwrap().unwrap().level, Some(level));
    }
}

#[test]
fn frames_that_need_not_be_sent_are_left_out_while_that_is_wished() {
    let source = Scripted { pictures: None, sound: Some(u64::MAX), at: 0, heard: 0 };
    let (capture, frames) = start(Box::new(source), Arc::new(RefusingCodecs), Clock::start());
    for (dtx, step_us) in [(false, 20_000), (true, 400_000), (false, 20_000)] {
        capture.set_dtx(dtx);
        let mut before_us = take(&frames, 1)[0].captured_us;
        // frames encoded with the previous setting may still arrive
        let reached = (0..40).any(|_| {
            let captured_us = frames.recv_timeout(PATIENCE).unwrap().captured_us;
            captured_us - std::mem::replace(&mut before_us, captured_us) == step_us
        });
        assert!(reached, "{step_us}");
    }
}

fn start(source: Box<dyn Source>, codecs: Arc<dyn Codecs>, clock: Clock) -> (Capture, Receiver<Encoded>) {
    let (sink, frames) = channel();
    let sink = Box::new(move |encoded| drop(sink.send(encoded)));
    let format = CaptureFormat { video: FORMAT, sound_bitrate_bps: 32_000 };
    (Capture::start(source, codecs, clock, format, sink).unwrap(), frames)
}

fn test_source() -> Box<dyn Source> {
    Box::new(TestSource::new(0, 160, 90, 30))
}

fn take(frames: &Receiver<Encoded>, count: usize) -> Vec<Encoded> {
    (0..count).map(|_| frames.recv_timeout(PATIENCE).unwrap()).collect()
}

fn next_picture(frames: &Receiver<Encoded>) -> Encoded {
    std::iter::repeat_with(|| frames.recv_timeout(PATIENCE).unwrap())
        .find(|frame| frame.kind == MediaKind::Video)
        .unwrap()
}

fn find(frames: &Receiver<Encoded>, wanted: impl Fn(&Content) -> bool) -> Encoded {
    (0..100).map(|_| next_picture(frames)).find(|frame| wanted(&Content::of(&frame.data).unwrap())).unwrap()
}

/// A source of black pictures at 30 a second and silence, with an error after the given numbers of frames.
struct Scripted {
    pictures: Option<u64>,
    sound: Option<u64>,
    at: u64,
    heard: u64,
}

impl Scripted {
    fn end() -> SourceError {
        SourceError { path: "scripted".to_owned(), fault: SourceFault::Empty }
    }
}

impl Source for Scripted {
    fn pictures(&self) -> Option<SourcePictures> {
        self.pictures.map(|_| SourcePictures { width: 160, height: 90, fps: 30.0 })
    }

    fn channels(&self) -> Option<u8> {
        self.sound.map(|_| 2)
    }

    fn next_picture(&mut self) -> Result<Option<u64>, SourceError> {
        let Some(count) = self.pictures else { return Ok(None) };
        self.at += 1;
        if self.at > count { Err(Scripted::end()) } else { Ok(Some((self.at - 1) * 33_333)) }
    }

    fn picture(&mut self) -> PictureView<'_> {
        static LUMA: [u8; 160 * 90 * 3 / 2] = [128; 160 * 90 * 3 / 2];
        let plane = |stride| plenary_media::PlaneView { samples: &LUMA, stride };
        PictureView { width: 160, height: 90, planes: [plane(160), plane(80), plane(80)] }
    }

    fn next_sound(&mut self, samples: &mut [f32]) -> Result<(), SourceError> {
        self.heard += 1;
        samples.fill(0.0);
        if self.sound.is_some_and(|count| self.heard > count) { Err(Scripted::end()) } else { Ok(()) }
    }
}

struct RefusingCodecs;

struct Mute;

impl SoundEncoder for Mute {
    fn encode(&mut self, _samples: &[f32]) -> Result<Bytes, CodecError> {
        Ok(Bytes::from_static(&[0xf8]))
    }
}

impl Codecs for RefusingCodecs {
    fn video_encoder(&self, _format: &VideoFormat) -> Result<Box<dyn VideoEncoder>, CodecError> {
        Err(CodecError::Failed { codec: "refusing", code: "no pictures".to_owned() })
    }

    fn video_decoder(&self) -> Result<Box<dyn VideoDecoder>, CodecError> {
        FakeCodecs::default().video_decoder()
    }

    fn sound_encoder(&self, _channels: u8, _bitrate_bps: u32) -> Result<Box<dyn SoundEncoder>, CodecError> {
        Ok(Box::new(Mute))
    }

    fn sound_decoder(&self, channels: u8) -> Result<Box<dyn SoundDecoder>, CodecError> {
        FakeCodecs::default().sound_decoder(channels)
    }
}
