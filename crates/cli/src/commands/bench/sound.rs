//! `plenary bench sound`: measures the processor time that a mixer spends on the sound of many speakers.
//!
//! The mixer is the real one, under a simulated clock that advances in steps of 20 ms. Speakers take turns: a
//! few speak at a time, while the others send quiet room noise. The lower bound runs beside it on the same
//! frames: a bare decoder for each active speaker, and bare encoders for the mix and for each mix-minus.
//! Ratios are medians over [`PAIRS`] stretches of both. Video is negligible in size and is not measured.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use cpu_time::ThreadTime;
use plenary_media::codec::{Codecs, SoundDecoder, SoundEncoder, VideoFormat};
use plenary_media::compose::Layout;
use plenary_media::mixer::{Input, Mixer, MixerConfig, MixerOutput};
use plenary_media::source::{Source, TestSource, open_source};
use plenary_media::{BuiltinCodecs, Frame, SOUND_FRAME_LEN, SOUND_FRAME_US, SoundEncoding};
use plenary_proto::StreamId;
use serde::Serialize;

use super::spread::Spread;
use crate::args::SoundBenchArgs;
use crate::json::{self, round};
use crate::{Failure, usage};

const PROGRAM: VideoFormat = VideoFormat { width: 64, height: 36, fps: 1, bitrate_bps: 20_000 };
/// Bit rates of the mix and of a speaker, as in rooms.
const SOUND_BPS: u32 = 48_000;
const SPEAKER_BPS: u32 = 32_000;
/// Number of stretches in which mixer and lower bound are measured side by side.
const PAIRS: u64 = 12;
/// Duration of a turn, after which other speakers speak: 4 s.
const TURN_STEPS: u64 = 200;
const STEPS_PER_S: u64 = 1_000_000 / SOUND_FRAME_US;
/// Peak amplitude of room noise: −60 dBov root mean square.
const NOISE: f32 = 0.0017;
/// Steps before the measurement.
const WARM_UP: u64 = 100;
const TRANSIT_US: u64 = 30_000;
/// Capture time of the first step: any whole second.
const START_US: u64 = 1_800_000_000_000_000;
/// Timeout for the mixer's first step; a slower mixer has failed.
const PATIENCE: Duration = Duration::from_secs(20);
/// Time to wait for a step's sound. The playout delay varies, so some steps have no sound and some have two
/// frames.
const WAIT: Duration = Duration::from_millis(3);
/// Maximum share of steps without a mix. With more of them the figures would flatter the mixer. Two per cent
/// are normal, since the playout delay varies.
const LEFT_OUT_MAX: f64 = 0.02;

#[derive(Debug, Serialize)]
struct SoundReport {
    speakers: u8,
    heard: u8,
    seconds: u16,
    loss_percent: u8,
    /// Percent of one core, at real-time speed.
    core_percent: f64,
    bound_core_percent: f64,
    over_bound: Spread,
    /// Encoded frames per step of 20 ms: the mix, and the mix-minus of each speaker that is heard.
    encoded_per_step: f64,
}

/// Processor time of one stretch, microseconds.
#[derive(Clone, Copy, Debug, Default)]
struct Stretch {
    mixer: u64,
    bound: u64,
}

pub(super) fn run(args: &SoundBenchArgs) -> Result<(), Failure> {
    if args.heard > args.speakers {
        return Err(usage(format!("--heard {}: there are only {} speakers", args.heard, args.speakers)));
    }
    if let Some(to) = &args.json {
        json::can_be_made(to, None)?;
    }
    let report = bench(args)?;
    match &args.json {
        Some(to) => json::write(to, &report)?,
        None => say_text!("{}", summary(&report)),
    }
    Ok(())
}

fn bench(args: &SoundBenchArgs) -> anyhow::Result<SoundReport> {
    let mut side_by_side = SideBySide::new(args)?;
    for _ in 0..WARM_UP {
        side_by_side.step()?;
    }
    (side_by_side.mixing.mixes, side_by_side.mixing.encoded) = (0, 0);
    let steps = u64::from(args.seconds) * STEPS_PER_S / PAIRS;
    let mut stretches = Vec::new();
    for _ in 0..PAIRS {
        let begun = side_by_side.spent();
        for _ in 0..steps {
            side_by_side.step()?;
        }
        let ended = side_by_side.spent();
        stretches.push(Stretch { mixer: ended.mixer - begun.mixer, bound: ended.bound - begun.bound });
    }
    let steps = PAIRS * steps;
    let mixes = side_by_side.mixing.mixes;
    ensure!(
        mixes as f64 >= steps as f64 * (1.0 - LEFT_OUT_MAX),
        "the mixer made {mixes} steps of {steps}: the machine is too busy to be measured"
    );
    let percent = |of: fn(&Stretch) -> u64| {
        let spent_us: u64 = stretches.iter().map(of).sum();
        round(spent_us as f64 / (steps * SOUND_FRAME_US) as f64 * 100.0)
    };
    Ok(SoundReport {
        speakers: args.speakers,
        heard: args.heard,
        seconds: args.seconds,
        loss_percent: args.loss,
        core_percent: percent(|stretch| stretch.mixer),
        bound_core_percent: percent(|stretch| stretch.bound),
        over_bound: Spread::of(stretches.iter().map(|stretch| stretch.mixer as f64 / stretch.bound as f64)),
        encoded_per_step: round(side_by_side.mixing.encoded as f64 / steps as f64),
    })
}

/// Speakers, mixer and lower bound, which run side by side.
struct SideBySide {
    rooms: Vec<Room>,
    mixing: Mixing,
    bound: BareCodecs,
    heard: u64,
    step: u64,
}

impl SideBySide {
    fn new(args: &SoundBenchArgs) -> anyhow::Result<SideBySide> {
        let codecs: Arc<dyn Codecs> = Arc::new(BuiltinCodecs::default());
        let rooms = (0..u64::from(args.speakers)).map(|id| Room::new(id, &codecs, &args.source));
        let mut rooms: Vec<_> = rooms.collect::<anyhow::Result<_>>()?;
        let mixing = Mixing::start(&codecs, args.speakers, args.heard)?;
        let mut bound = BareCodecs::new(&codecs, args.heard)?;
        rooms.iter_mut().for_each(|room| room.encoding.set_loss(args.loss));
        mixing.mixer.set_loss(args.loss);
        bound.encoders.iter_mut().for_each(|encoder| encoder.set_loss(args.loss));
        Ok(SideBySide { rooms, mixing, bound, heard: args.heard.into(), step: 0 })
    }

    fn step(&mut self) -> anyhow::Result<()> {
        let captured_us = START_US + self.step * SOUND_FRAME_US;
        let (speakers, turn) = (self.rooms.len() as u64, self.step / TURN_STEPS);
        let first = turn * self.heard % speakers;
        let mut frames = Vec::new();
        for room in &mut self.rooms {
            let speaks = (room.id + speakers - first) % speakers < self.heard;
            frames.push((room.id, speaks, room.frame(captured_us, speaks)?));
        }
        let spoken: Vec<_> =
            frames.iter().filter(|(_, speaks, _)| *speaks).map(|(id, _, frame)| (*id, frame)).collect();
        self.bound.step(&spoken)?;
        let frames = frames.into_iter().map(|(id, _, frame)| (id, frame));
        self.mixing.step(frames, captured_us + TRANSIT_US, self.step == 0);
        self.step += 1;
        Ok(())
    }

    fn spent(&self) -> Stretch {
        let cpu = self.mixing.mixer.stats().cpu.unwrap_or_default();
        Stretch { mixer: cpu.sound_us, bound: self.bound.spent.as_micros() as u64 }
    }
}

/// The mixer, its clock, and counts of its output.
struct Mixing {
    mixer: Mixer,
    now_us: Arc<AtomicU64>,
    outputs: mpsc::Receiver<MixerOutput>,
    shared: Bytes,
    mixes: u64,
    /// Encoded frames: mixes, and mix-minuses of the speakers that are heard.
    encoded: u64,
}

impl Mixing {
    fn start(codecs: &Arc<dyn Codecs>, speakers: u8, heard: u8) -> anyhow::Result<Mixing> {
        let now_us = Arc::new(AtomicU64::new(START_US));
        let clock = Arc::clone(&now_us);
        let (made, outputs) = mpsc::channel();
        let config = MixerConfig {
            program: PROGRAM,
            layout: Layout::Grid,
            sound_bitrate_bps: SOUND_BPS,
            heard_max: heard.into(),
            codecs: Arc::clone(codecs),
            falls_back: true,
        };
        let mixer = Mixer::start(
            config,
            move || clock.load(Ordering::SeqCst),
            move |output| drop(made.send(output)), // the receiver is gone at the end
        )?;
        let input = |id| Input { hears: true, ..Input::new(id) };
        mixer.set_inputs((0..speakers.into()).map(input).collect())?;
        mixer.begin(0);
        Ok(Mixing { mixer, now_us, outputs, shared: Bytes::new(), mixes: 0, encoded: 0 })
    }

    fn step(&mut self, frames: impl Iterator<Item = (u64, Frame)>, now_us: u64, is_first: bool) {
        self.now_us.store(now_us, Ordering::SeqCst);
        for (id, frame) in frames {
            self.mixer.push(id, frame, now_us);
        }
        self.mixer.clock_jumped();
        let mut wait = if is_first { PATIENCE } else { WAIT };
        while let Ok(output) = self.outputs.recv_timeout(wait) {
            wait = Duration::ZERO;
            match output {
                MixerOutput::Sound { packet, .. } => {
                    self.shared = packet;
                    self.mixes += 1;
                    self.encoded += 1;
                }
                // a speaker that isn't heard gets the mix itself
                MixerOutput::MixMinus { packet, .. } => self.encoded += u64::from(packet != self.shared),
                _ => {}
            }
        }
    }
}

/// Lower bound: bare codecs.
struct BareCodecs {
    codecs: Arc<dyn Codecs>,
    decoders: BTreeMap<u64, Box<dyn SoundDecoder>>,
    /// Encoders for the mix, and for each speaker that is heard.
    encoders: Vec<Box<dyn SoundEncoder>>,
    spent: Duration,
}

impl BareCodecs {
    fn new(codecs: &Arc<dyn Codecs>, heard: u8) -> anyhow::Result<BareCodecs> {
        let encoders = (0..=heard).map(|_| codecs.sound_encoder(1, SOUND_BPS));
        let encoders = encoders.collect::<Result<_, _>>()?;
        Ok(BareCodecs {
            codecs: Arc::clone(codecs),
            decoders: BTreeMap::new(),
            encoders,
            spent: Duration::ZERO,
        })
    }

    fn step(&mut self, spoken: &[(u64, &Frame)]) -> anyhow::Result<()> {
        let mut mixes = vec![[0.0; SOUND_FRAME_LEN]; 1 + spoken.len()];
        for (at, (id, frame)) in spoken.iter().enumerate() {
            if !self.decoders.contains_key(id) {
                self.decoders.insert(*id, self.codecs.sound_decoder(1)?);
            }
            let Some(decoder) = self.decoders.get_mut(id) else { continue };
            let mut samples = [0.0; SOUND_FRAME_LEN];
            let begun = ThreadTime::now();
            decoder.decode(&frame.data, &mut samples)?;
            self.spent += begun.elapsed();
            // index 0 is the mix of all, the others are mix-minuses
            let others = mixes.iter_mut().enumerate().filter(|(minus, _)| *minus != at + 1);
            for (mixed, sample) in others.flat_map(|(_, mix)| mix.iter_mut().zip(&samples)) {
                *mixed += sample;
            }
        }
        for (encoder, mix) in self.encoders.iter_mut().zip(&mixes) {
            let begun = ThreadTime::now();
            encoder.encode(mix)?;
            self.spent += begun.elapsed();
        }
        Ok(())
    }
}

/// Microphone and encoder of one speaker.
struct Room {
    id: u64,
    source: Box<dyn Source>,
    channels: usize,
    encoding: SoundEncoding,
    random: u32,
    number: u32,
}

impl Room {
    fn new(id: u64, codecs: &Arc<dyn Codecs>, files: &[PathBuf]) -> anyhow::Result<Room> {
        let file = files.get(id as usize % files.len().max(1));
        let source: Box<dyn Source> = match file {
            Some(file) => open_source(file, codecs)?,
            None => Box::new(TestSource::new(id as u8, PROGRAM.width, PROGRAM.height, PROGRAM.fps)),
        };
        let name = || file.map_or(Path::new("the test source"), |file| file).display();
        let channels =
            source.channels().with_context(|| format!("{}: the source has no sound", name()))?.into();
        let encoding = SoundEncoding::new(&**codecs, 1, SPEAKER_BPS)?;
        Ok(Room { id, source, channels, encoding, random: id as u32 + 1, number: 0 })
    }

    fn frame(&mut self, captured_us: u64, speaks: bool) -> anyhow::Result<Frame> {
        let mut read = vec![0.0; SOUND_FRAME_LEN * self.channels];
        self.source.next_sound(&mut read)?;
        let voice = read.iter().step_by(self.channels).map(|sample| if speaks { *sample } else { 0.0 });
        let samples: Vec<f32> = voice.map(|sample| sample + noise(&mut self.random)).collect();
        let encoded =
            self.encoding.push(&samples, captured_us)?.context("the sound encoder yielded no frame")?;
        self.number += 1;
        let identified = encoded.identified(StreamId(self.id.to_be_bytes()), self.number, self.number.into());
        identified.context("the sound frame is invalid")
    }
}

fn noise(random: &mut u32) -> f32 {
    *random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
    ((*random >> 8) as f32 / (1 << 23) as f32 - 1.0) * NOISE
}

fn summary(report: &SoundReport) -> String {
    format!(
        "{} speakers, {} at a time: {:.2} % of a core; bare codecs {:.2} %; over that {:.3}\n",
        report.speakers,
        report.heard,
        report.core_percent,
        report.bound_core_percent,
        report.over_bound.median,
    )
}
