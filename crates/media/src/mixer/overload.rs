//! Overloaded mixers, in fake time: the clock advances by what encoding costs.

use std::sync::atomic::Ordering;
use std::sync::mpsc;

use super::decode::PictureDecoder;
use super::fake::{FakeCodecs, Grey, picture_frame, sound_frame, sound_time, tone_in};
use super::feed::Work;
use super::sound::SoundProgram;
use super::stats::CpuMeter;
use super::video::{Turns, VideoProgram};
use super::*;
use crate::PictureView;
use crate::SOUND_FRAME_US;
use crate::codec::{CodecError, SoundDecoder, SoundEncoder, VideoDecoder, VideoEncoder};

const START_US: u64 = 1_763_627_600_000_000;
const SECOND_US: u64 = 1_000_000;
const FORMAT: VideoFormat = VideoFormat { width: 1280, height: 720, fps: 30, bitrate_bps: 1_500_000 };

/// The fake clock, and the encoding time of a picture.
#[derive(Clone, Default)]
struct Cost {
    now_us: Arc<AtomicU64>,
    /// Encoding time at full effort.
    picture_us: Arc<AtomicU64>,
}

/// Codecs with encoders that take time: in proportion to the samples of a picture, and three quarters of that
/// with plain settings.
struct CostlyCodecs {
    codecs: Arc<dyn Codecs>,
    cost: Cost,
    /// Samples of a picture at full size, which takes the whole encoding time.
    full: u64,
    /// Whether smaller pictures are refused.
    refuses: bool,
}

impl Codecs for CostlyCodecs {
    fn video_encoder(&self, format: &VideoFormat) -> Result<Box<dyn VideoEncoder>, CodecError> {
        let samples = u64::from(format.width) * u64::from(format.height);
        if self.refuses && samples < self.full {
            return Err(CodecError::Failed { codec: "costly", code: "too small".to_owned() });
        }
        let share = (samples, self.full);
        let inner = self.codecs.video_encoder(format)?;
        Ok(Box::new(CostlyEncoder { inner, cost: self.cost.clone(), share, plain: false }))
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

struct CostlyEncoder {
    inner: Box<dyn VideoEncoder>,
    cost: Cost,
    share: (u64, u64),
    plain: bool,
}

impl VideoEncoder for CostlyEncoder {
    fn encode(&mut self, picture: &PictureView<'_>, key: bool) -> Result<Option<EncodedPicture>, CodecError> {
        let full_us = self.cost.picture_us.load(Ordering::Relaxed) * self.share.0 / self.share.1;
        let picture_us = if self.plain { full_us * 3 / 4 } else { full_us };
        self.cost.now_us.fetch_add(picture_us, Ordering::Relaxed);
        self.inner.encode(picture, key)
    }

    fn set_bitrate(&mut self, bitrate_bps: u32) {
        self.inner.set_bitrate(bitrate_bps);
    }

    fn set_frame_rate(&mut self, fps: u8) {
        self.inner.set_frame_rate(fps);
    }

    fn set_plain(&mut self, plain: bool) {
        self.plain = plain;
        self.inner.set_plain(plain);
    }
}

/// A program picture and the time of its output.
#[derive(Clone, Debug)]
struct Out {
    captured_us: u64,
    at_us: u64,
    picture: EncodedPicture,
}

/// Four speakers and a started mixer, without threads.
struct Room {
    cost: Cost,
    fake: bool,
    shared: Shared,
    turns: Turns,
    sound: SoundProgram,
    decoders: Vec<PictureDecoder>,
    given: mpsc::Receiver<(u64, MixerOutput)>,
    /// Number of the next sound frame, and of the next picture, of each speaker.
    numbers: (u32, u32),
    pictures: Vec<Out>,
    efforts: Vec<Effort>,
    moved: u32,
    /// By capture time, whether the speakers' tone is in the program's sound.
    heard: Vec<(u64, bool)>,
}

impl Room {
    fn of(codecs: Arc<dyn Codecs>, fake: bool, format: VideoFormat, refuses: bool) -> Room {
        let cost = Cost::default();
        cost.now_us.store(START_US, Ordering::Relaxed);
        let full = u64::from(format.width) * u64::from(format.height);
        let codecs: Arc<dyn Codecs> = Arc::new(CostlyCodecs { codecs, cost: cost.clone(), full, refuses });
        let (send, given) = mpsc::channel();
        let (clock, at) = (Arc::clone(&cost.now_us), Arc::clone(&cost.now_us));
        let shared = Shared::new(
            GuardedCodecs::new(Arc::clone(&codecs), true, |_| ()),
            &format,
            Layout::Grid,
            Box::new(move || clock.load(Ordering::Relaxed)),
            Box::new(move |output| drop(send.send((at.load(Ordering::Relaxed), output)))),
        );
        shared.restage(|stage| {
            stage.inputs = (0..4).map(|id| (Input::new(id), Arc::new(Feed::new(id)))).collect()
        });
        if let Some(orders) = &mut *lock(&shared.orders) {
            (orders.started, orders.begins) = (true, true);
        }
        let video = VideoProgram::new(Arc::clone(&codecs), &format).unwrap();
        Room {
            turns: Turns::new(&shared, video),
            sound: SoundProgram::new(Arc::clone(&codecs), 32_000, 5).unwrap(),
            decoders: (0..4).map(|_| PictureDecoder::new(Arc::clone(&codecs))).collect(),
            cost,
            fake,
            shared,
            given,
            numbers: (1, 1),
            pictures: Vec::new(),
            efforts: Vec::new(),
            moved: 0,
            heard: Vec::new(),
        }
    }

    fn fake() -> Room {
        Room::of(Arc::new(FakeCodecs::default()), true, FORMAT, false)
    }

    fn now_us(&self) -> u64 {
        self.cost.now_us.load(Ordering::Relaxed)
    }

    /// Runs for some seconds, with a fixed encoding time per picture.
    fn run(&mut self, seconds: u64, picture_us: u64) {
        self.cost.picture_us.store(picture_us, Ordering::Relaxed);
        let until_us = self.now_us() + seconds * SECOND_US;
        while self.now_us() < until_us {
            self.speakers();
            let due_us = self.turns.plan(&self.shared, true).due_us;
            self.cost.now_us.fetch_max(due_us, Ordering::Relaxed);
            let mut cpu = CpuMeter::new(&self.shared.counts);
            assert!(self.turns.turn(&self.shared, &mut cpu));
            self.take();
        }
    }

    /// Pushes the speakers' frames until now, and mixes their sound at once, since sound has a thread of its
    /// own.
    fn speakers(&mut self) {
        let now_us = self.now_us();
        let stage = self.shared.stage();
        let counts = Counts::default();
        while self.fake && sound_time(START_US, self.numbers.0) <= now_us {
            let captured_us = sound_time(START_US, self.numbers.0);
            for (input, feed) in &stage.inputs {
                feed.push(sound_frame(input.id, self.numbers.0, captured_us, 400, 100), captured_us);
            }
            self.numbers.0 += 1;
            for output in self.sound.step(captured_us, &stage, true, &counts) {
                if let MixerOutput::Sound { packet, captured_us, .. } = output {
                    self.heard.push((captured_us, tone_in(&packet, 400) > 0.09));
                }
            }
        }
        while self.fake && START_US + u64::from(self.numbers.1) * 33_333 <= now_us {
            let (number, captured_us) = (self.numbers.1, START_US + u64::from(self.numbers.1) * 33_333);
            for ((input, feed), decoder) in stage.inputs.iter().zip(&mut self.decoders) {
                let luma = 100 + 10 * input.id as u8;
                let grey = Grey { number, captured_us, key: number == 1, size: (640, 360), luma };
                feed.push(picture_frame(input.id, grey), captured_us);
                while let Some(Work::Decode(frame)) = feed.poll(captured_us) {
                    decoder.decode(&frame, feed, &mut CpuMeter::new(&counts)).unwrap();
                }
            }
            self.numbers.1 += 1;
        }
    }

    fn take(&mut self) {
        for (at_us, output) in self.given.try_iter() {
            match output {
                MixerOutput::Video { picture, captured_us } => {
                    self.pictures.push(Out { captured_us, at_us, picture });
                }
                MixerOutput::Effort(change) => self.efforts.push(change.effort),
                MixerOutput::TilesMoved => self.moved += 1,
                _ => {}
            }
        }
    }

    /// Returns the pictures of the last seconds.
    fn last(&self, seconds: u64) -> &[Out] {
        let from_us = self.now_us() - seconds * SECOND_US;
        &self.pictures[self.pictures.partition_point(|out| out.captured_us < from_us)..]
    }

    /// Returns by how much the pictures of the last seconds were output too late, at most.
    fn late_us(&self, seconds: u64) -> u64 {
        let late = self.last(seconds).iter().map(|out| out.at_us - out.captured_us - self.shared.delay_us());
        late.max().unwrap()
    }
}

/// Returns the greys of the four tiles, and the number of 40 × 40 squares.
fn greys(picture: &EncodedPicture) -> (Vec<u8>, usize) {
    let squares = picture.data.len() - 4;
    // 32 × 18 squares, or 16 × 9
    let (across, down) = if squares == 32 * 18 { (32, 18) } else { (16, 9) };
    let at = |column: usize, row: usize| picture.data[row * across + column];
    let (x, y) = (across / 6, down / 6);
    (vec![at(x, y), at(across / 2 + x, y), at(x, down / 2 + y), at(across / 2 + x, down / 2 + y)], squares)
}

use Effort::*;

#[test]
fn whoever_is_too_slow_goes_down_step_by_step_to_a_rate_that_it_keeps() {
    // (encoding time at full effort, efforts taken, stride of the steps, 40 × 40 squares of a picture)
    let rows: [(u64, &[Effort], u64, usize); 4] = [
        (25_000, &[], 1, 576),
        (38_000, &[PlainEncoder], 1, 576),
        (60_000, &[PlainEncoder, HalfRate], 2, 576),
        (200_000, &[PlainEncoder, HalfRate, HalfSize], 2, 144),
    ];
    for (cost_us, said, stride, squares) in rows {
        let mut room = Room::fake();
        room.run(10, cost_us);
        let skipped = room.shared.counts.skipped.load(Ordering::Relaxed);
        room.run(20, cost_us);
        assert_eq!(room.efforts, said, "{cost_us}");
        assert_eq!(room.moved, said.len() as u32, "others are asked for what is shown now");
        assert_eq!(
            room.shared.counts.skipped.load(Ordering::Relaxed),
            skipped,
            "{cost_us}: nothing is left out"
        );
        let steady = room.last(20);
        let apart = steady.windows(2).map(|two| two[1].captured_us - two[0].captured_us);
        let step_us = stride * SECOND_US / 30;
        assert!(apart.into_iter().all(|apart| apart.abs_diff(step_us) <= 1), "{cost_us}");
        let whole = |out: &Out| {
            let step = (out.captured_us * 30).div_ceil(SECOND_US);
            step.is_multiple_of(stride) && step * SECOND_US / 30 == out.captured_us
        };
        assert!(steady.iter().all(whole), "{cost_us}");
        assert!(room.late_us(20) <= cost_us, "{cost_us}: {} late", room.late_us(20));
        let (tiles, of) = greys(&steady.last().unwrap().picture);
        assert_eq!((tiles, of), (vec![100, 110, 120, 130], squares));
    }
}

#[test]
fn sound_goes_on_whatever_becomes_of_the_picture() {
    let mut room = Room::fake();
    room.run(10, 200_000);
    room.run(40, 5_000);
    assert_eq!(room.efforts.len(), 6);
    let expected = (1..).map(|number| sound_time(START_US, number));
    assert!(room.heard.iter().map(|(captured_us, _)| *captured_us).eq(expected.take(room.heard.len())));
    assert!(room.heard.len() as u64 >= 49 * SECOND_US / SOUND_FRAME_US);
    assert!(room.heard[20..].iter().all(|(_, tone)| *tone));
}

#[test]
fn whoever_has_time_again_returns_step_by_step_and_stays() {
    let mut room = Room::fake();
    room.run(10, 200_000);
    assert_eq!(room.efforts, [PlainEncoder, HalfRate, HalfSize]);
    room.run(200, 10_000);
    assert_eq!(room.efforts[3..], [HalfRate, PlainEncoder, Full]);
    assert!((599..=600).contains(&room.last(20).len()));
    let (tiles, of) = greys(&room.pictures.last().unwrap().picture);
    assert_eq!((tiles, of), (vec![100, 110, 120, 130], 576));
}

#[test]
fn another_size_begins_with_a_key_frame_and_another_rate_does_not() {
    let mut room = Room::fake();
    room.run(10, 200_000);
    room.run(40, 5_000);
    let of = |out: &Out| out.picture.data.len();
    for two in room.pictures.windows(2).filter(|two| of(&two[0]) != of(&two[1])) {
        assert!(two[1].picture.key);
    }
    let sizes = room.pictures.windows(2).filter(|two| of(&two[0]) != of(&two[1])).count();
    assert_eq!(sizes, 2, "down and up");
    // the keyframes of both changes, the first, and one every two seconds
    let keys = room.pictures.iter().filter(|out| out.picture.key).count();
    assert!((24..=29).contains(&keys), "{keys}");
}

#[test]
fn tiles_and_bits_are_halved_with_the_size() {
    let mut room = Room::fake();
    let bits = |room: &Room| {
        let data = &room.pictures.last().unwrap().picture.data;
        u32::from_be_bytes(data[data.len() - 4..].try_into().unwrap())
    };
    room.run(1, 5_000);
    let tile = room.shared.stage().feed(3).unwrap().tile().rect;
    assert_eq!((tile.x, tile.y, tile.width, tile.height), (640, 360, 640, 360));
    assert_eq!(bits(&room), 1_500_000);
    room.run(10, 200_000);
    let tile = room.shared.stage().feed(3).unwrap().tile().rect;
    assert_eq!((tile.x, tile.y, tile.width, tile.height), (320, 180, 320, 180));
    assert_eq!(bits(&room), 750_000);
    lock(&room.shared.orders).as_mut().unwrap().bitrate_bps = 1_000_000;
    room.run(1, 200_000);
    assert_eq!(bits(&room), 500_000);
}

#[test]
fn a_size_that_is_refused_leaves_the_program_as_it_is() {
    let mut room = Room::of(Arc::new(FakeCodecs::default()), true, FORMAT, true);
    room.run(60, 200_000);
    assert_eq!(room.efforts, [PlainEncoder, HalfRate]);
    assert_eq!(room.shared.counts.codec_errors.load(Ordering::Relaxed), 1, "it is asked once");
    assert!(room.last(10).iter().all(|out| greys(&out.picture).1 == 576));
    assert!(room.last(10).len() >= 55, "{}", room.last(10).len());
    assert!(lock(&room.shared.strain).falls_short(room.now_us()));
}

#[test]
fn a_decoder_that_is_too_slow_lowers_the_effort_and_a_flood_does_not() {
    for (apart_us, lowers) in [(33_333, true), (1_000, false)] {
        let mut room = Room::fake();
        room.run(1, 5_000);
        let feed = room.shared.stage().feed(2).unwrap();
        for number in 0..100_u32 {
            let captured_us = room.now_us() + u64::from(number) * apart_us;
            let grey =
                Grey { number: 1_000 + number, captured_us, key: number == 0, size: (640, 360), luma: 9 };
            feed.push(picture_frame(2, grey), captured_us);
        }
        room.fake = false; // stops the decoding
        room.run(3, 5_000);
        assert_eq!(room.efforts.first().copied(), lowers.then_some(PlainEncoder), "{apart_us} apart");
    }
}

#[cfg(feature = "codecs")]
#[test]
fn whoever_watches_decodes_all_of_it_in_whatever_size() {
    use plenary_proto::ordered::OrderedSet;

    let codecs: Arc<dyn Codecs> = Arc::new(crate::BuiltinCodecs::default());
    let format = VideoFormat { width: 320, height: 180, fps: 30, bitrate_bps: 300_000 };
    let mut room = Room::of(Arc::clone(&codecs), false, format, false);
    room.run(10, 200_000);
    room.run(40, 1_000);
    assert_eq!(room.efforts, [PlainEncoder, HalfRate, HalfSize, HalfRate, PlainEncoder, Full]);
    let mut decoder = codecs.video_decoder().unwrap();
    let mut sizes = OrderedSet::new();
    for out in &room.pictures {
        let picture = decoder.decode(&out.picture.data).unwrap().unwrap();
        sizes.insert((picture.width, picture.height));
    }
    assert_eq!(sizes.into_iter().collect::<Vec<_>>(), [(160, 90), (320, 180)]);
}
