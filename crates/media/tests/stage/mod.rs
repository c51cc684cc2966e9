//! A stage on one machine: speakers encode their sources and send them over paths with delay and jitter; the
//! packets are reassembled and mixed by a real mixer, all on a simulated clock.
//!
//! That clock stops until the speakers and the mixer have done their work, so a busy machine only slows a
//! test down. It runs at most in real time, since the mixer's threads wait in real time.

mod speaker;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use plenary_media::codec::{Codecs, VideoFormat};
use plenary_media::compose::Layout;
use plenary_media::mixer::{Input, Mixer, MixerConfig, MixerOutput};
use plenary_media::source::Source;
use plenary_media::{BuiltinCodecs, Encoded, Frame, Recorder, SOUND_FRAME_LEN, SOUND_FRAME_US};
use plenary_proto::StreamId;
use plenary_proto::identity::MediaKind;
use speaker::Speaker;

/// Format of the speakers' video.
pub(crate) const INPUT: VideoFormat = VideoFormat { width: 640, height: 360, fps: 30, bitrate_bps: 600_000 };
/// Format of the program.
pub(crate) const PROGRAM: VideoFormat =
    VideoFormat { width: 1280, height: 720, fps: 30, bitrate_bps: 1_500_000 };
/// Higher than in a call, so that clicks stand out from the coding noise beside a tone.
const SOUND_BITRATE_BPS: u32 = 96_000;
const START_US: u64 = 1_763_627_671_166_665;
const STEP_US: u64 = 5_000;
const PICTURE_US: u64 = 33_334;
/// Only limits the time for which a test may hang.
const PATIENCE: Duration = Duration::from_secs(30);

/// The path from a speaker to the mixer, and the speaker's clock.
#[derive(Clone, Copy, Default)]
pub(crate) struct Way {
    /// Minimum delay, microseconds.
    pub(crate) delay_us: u64,
    /// Maximum additional delay of a packet, microseconds; packets may overtake each other.
    pub(crate) jitter_us: u64,
    /// Start of the speaker, microseconds after the stage.
    pub(crate) begins_us: u64,
    /// Clock of the speaker relative to the mixer's, microseconds ahead.
    pub(crate) ahead_us: i64,
    /// Whether the mixer is given the clock offset.
    pub(crate) measured: bool,
}

/// The stage's clock, and the names of the threads that have read it.
struct Clock {
    now_us: AtomicU64,
    readers: Mutex<BTreeSet<String>>,
}

impl Clock {
    fn read(&self) -> u64 {
        let reader = std::thread::current().name().unwrap_or_default().to_owned();
        self.readers.lock().unwrap().insert(reader);
        self.now_us.load(Ordering::SeqCst)
    }

    fn was_read_by(&self, thread: &str) -> bool {
        self.readers.lock().unwrap().contains(thread)
    }
}

/// Speakers, a mixer, and its outputs.
pub(crate) struct Stage {
    clock: Arc<Clock>,
    mixer: Mixer,
    outputs: Receiver<MixerOutput>,
    inputs: Vec<Input>,
    speakers: Vec<Speaker>,
    /// Capture times of the newest program picture and sound; initially a time before all of them.
    newest_us: [u64; 2],
    /// Frames of the program, marked.
    program: Vec<Frame>,
    /// Mix-minus packets of each speaker.
    minus: BTreeMap<u64, Vec<Bytes>>,
}

impl Stage {
    /// A stage on which all speakers send and hear; their ids are the indices in `sources`.
    pub(crate) fn new(sources: Vec<(Box<dyn Source>, Way)>) -> Stage {
        let codecs: Arc<dyn Codecs> = Arc::new(BuiltinCodecs::default());
        let clock = Arc::new(Clock { now_us: START_US.into(), readers: Mutex::default() });
        let (send, outputs) = channel();
        let config = MixerConfig {
            program: PROGRAM,
            layout: Layout::Grid,
            sound_bitrate_bps: SOUND_BITRATE_BPS,
            heard_max: 5,
            codecs: Arc::clone(&codecs),
            falls_back: true,
        };
        let output = move |output| drop(send.send(output));
        let mixers = Arc::clone(&clock);
        let mixer = Mixer::start(config, move || mixers.read(), output).unwrap();
        // The clock starts after both threads of the mixer have read it.
        while !["mixer-video", "mixer-sound"].into_iter().all(|thread| clock.was_read_by(thread)) {
            std::thread::yield_now();
        }
        let newest_us = [START_US - mixer.stats().playout_delay_us; 2];
        let input = |id: u64| Input { name: format!("Speaker {id}"), hears: true, ..Input::new(id) };
        let inputs: Vec<_> = (0..sources.len() as u64).map(input).collect();
        mixer.set_inputs(inputs.clone()).unwrap();
        for (input, (_, way)) in inputs.iter().zip(&sources).filter(|(_, (_, way))| way.measured) {
            mixer.set_clock_offset(input.id, Some(-way.ahead_us));
        }
        mixer.begin(0);
        let speakers = (0..).zip(sources).map(|(id, (source, way))| Speaker::new(id, source, way, &codecs));
        Stage {
            clock,
            mixer,
            outputs,
            inputs,
            speakers: speakers.collect(),
            newest_us,
            program: Vec::new(),
            minus: BTreeMap::new(),
        }
    }

    /// Mutes or unmutes a speaker at the mixer.
    pub(crate) fn mute(&mut self, id: u64, muted: bool) {
        self.inputs[id as usize].muted = muted;
        self.mixer.set_inputs(self.inputs.clone()).unwrap();
    }

    /// Runs the stage for this duration of its clock.
    pub(crate) fn play(&mut self, length_us: u64) {
        for _ in 0..length_us / STEP_US {
            let now_us = self.clock.now_us.fetch_add(STEP_US, Ordering::SeqCst) + STEP_US;
            for speaker in &mut self.speakers {
                speaker.speak(now_us);
                for frame in speaker.arrived(now_us) {
                    self.mixer.push(speaker.id, frame, now_us);
                }
            }
            let begun = Instant::now();
            loop {
                while let Ok(output) = self.outputs.recv_timeout(Duration::from_millis(1)) {
                    self.take(output);
                }
                if self.settled(now_us) {
                    break;
                }
                assert!(begun.elapsed() < PATIENCE, "the mixer hangs: {:?}", self.mixer.stats());
            }
        }
        let stats = self.mixer.stats();
        assert_eq!((stats.skipped_frames, stats.codec_errors), (0, 0), "{stats:?}");
    }

    /// Returns whether every pushed picture is decoded, and all due outputs were received.
    fn settled(&self, now_us: u64) -> bool {
        let stats = self.mixer.stats();
        let decoded = self.speakers.iter().zip(&stats.inputs).all(|(speaker, input)| {
            speaker.pictures_arrived == input.decoded_frames + input.failed_frames + input.dropped_frames
        });
        let mut steps = self.newest_us.iter().zip([PICTURE_US, SOUND_FRAME_US]);
        decoded && steps.all(|(newest_us, step_us)| newest_us + step_us + stats.playout_delay_us > now_us)
    }

    fn take(&mut self, output: MixerOutput) {
        let (kind, captured_us, key, temporal, data) = match output {
            MixerOutput::Video { picture, captured_us } => {
                (MediaKind::Video, captured_us, picture.key, picture.temporal, picture.data)
            }
            MixerOutput::Sound { packet, captured_us, .. } => {
                (MediaKind::Sound, captured_us, false, 0, packet)
            }
            MixerOutput::MixMinus { id, packet, .. } => {
                return self.minus.entry(id).or_default().push(packet);
            }
            MixerOutput::KeyWanted { id } => return self.speakers[id as usize].want_key(),
            MixerOutput::TilesMoved | MixerOutput::Effort(_) => return,
            MixerOutput::CodecFailed { what, text, .. } => panic!("{what:?} failed: {text}"),
        };
        let newest_us = &mut self.newest_us[kind as usize];
        assert!(*newest_us < captured_us);
        *newest_us = captured_us;
        let encoded = Encoded { kind, captured_us, data, key, temporal, level: None };
        let number = self.program.iter().filter(|frame| frame.kind == kind).count() as u32 + 1;
        self.program.push(encoded.identified(StreamId(*b"program!"), number, 1).unwrap());
    }

    /// Records the program so far.
    pub(crate) fn record(&self, path: &Path) {
        let mut recorder = Recorder::create(path).unwrap();
        self.program.iter().for_each(|frame| recorder.push(frame).unwrap());
        recorder.finish().unwrap();
    }

    /// Returns the sound that a speaker has heard so far.
    pub(crate) fn heard(&self, id: u64) -> Vec<f32> {
        decoded(self.minus.get(&id).into_iter().flatten())
    }

    /// Returns the program's sound so far, decoded without loss.
    pub(crate) fn program_sound(&self) -> Vec<f32> {
        let sound = self.program.iter().filter(|frame| frame.kind == MediaKind::Sound);
        decoded(sound.map(|frame| &frame.data))
    }
}

fn decoded<'a>(packets: impl Iterator<Item = &'a Bytes>) -> Vec<f32> {
    let mut decoder = BuiltinCodecs::default().sound_decoder(1).unwrap();
    let mut frame = [0.0; SOUND_FRAME_LEN];
    let mut samples = Vec::new();
    for packet in packets {
        decoder.decode(packet, &mut frame).unwrap();
        samples.extend(frame);
    }
    samples
}
