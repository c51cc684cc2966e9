//! `plenary bench mix`: measures the processor time that a mixer spends on each program picture.
//!
//! The mixer is the real one, with all its threads, under a simulated clock that advances from picture to
//! picture. The lower bound runs beside it on the same frames: a bare decoder for each speaker and one bare
//! encoder, without any mixing. The two take turns frame by frame, so that other load on the machine affects
//! both. Figures are medians over [`PAIRS`] stretches of both. Sound is not measured: speakers send silence.

mod ideal;
mod keep;
mod speaker;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use cpu_time::ThreadTime;
use plenary_media::codec::{Codecs, EncodedPicture, VideoDecoder, VideoEncoder, VideoFormat};
use plenary_media::compose::{Composer, Layout, Tile};
use plenary_media::mixer::{Input, Mixer, MixerConfig, MixerCpu, MixerOutput};
use plenary_media::{BuiltinCodecs, Frame, Picture};
use serde::Serialize;

use super::spread::Spread;
use crate::args::MixBenchArgs;
use crate::json::{self, round};
use crate::{Failure, usage};
use ideal::{Ideal, Psnr};
use keep::Kept;
use speaker::Speaker;

/// Number of stretches in which mixer and lower bound are measured side by side.
const PAIRS: u32 = 12;
/// Pictures before the measurement, for keyframes, cold caches, and a rate control that has to settle.
const WARM_UP: u32 = 15;
/// Time from the arrival of frames at the mixer to the time when their program picture is due.
const AHEAD_US: u64 = 5_000;
/// Timeout for one picture; a slower mixer has failed.
const PATIENCE: Duration = Duration::from_secs(20);
/// Interval of checks whether all frames are decoded.
const LOOK: Duration = Duration::from_micros(200);
/// Capture time of the first picture: any whole second.
const START_US: u64 = 1_800_000_000_000_000;

#[derive(Debug, Serialize)]
struct MixReport {
    inputs: u8,
    #[serde(rename = "in")]
    input: String,
    out: String,
    frames: u32,
    frozen: u8,
    temporal_layers: u8,
    cpu_ms_per_frame: Shares,
    bound_ms_per_frame: f64,
    bound: Bound,
    /// Ratio of decoding, scaling and encoding to the lower bound.
    work_over_bound: Spread,
    total_over_bound: Spread,
    psnr_db: Option<f64>,
    kbit_s: f64,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Shares {
    total: f64,
    decode: f64,
    scale: f64,
    encode: f64,
    rest: f64,
}

#[derive(Debug, Serialize)]
struct Bound {
    decode: f64,
    encode: f64,
    spread: Spread,
}

/// Processor time of one stretch, milliseconds per program picture.
#[derive(Clone, Copy, Debug, Default)]
struct Stretch {
    decode: f64,
    scale: f64,
    encode: f64,
    total: f64,
    bound_decode: f64,
    bound_encode: f64,
}

impl Stretch {
    fn bound(&self) -> f64 {
        self.bound_decode + self.bound_encode
    }

    fn work(&self) -> f64 {
        self.decode + self.scale + self.encode
    }
}

pub(super) fn run(args: &MixBenchArgs) -> Result<(), Failure> {
    if args.frozen > args.inputs {
        return Err(usage(format!("--frozen {}: there are only {} speakers", args.frozen, args.inputs)));
    }
    if args.frozen > 0 && args.keep.is_some() {
        return Err(usage(
            "--keep: still pictures (--frozen) are sent once a second, which other software could not read",
        ));
    }
    if let Some(to) = &args.json {
        json::can_be_made(to, args.keep.as_deref())?;
    }
    let report = bench(args)?;
    match &args.json {
        Some(to) => json::write(to, &report)?,
        None => say_text!("{}", summary(&report)),
    }
    Ok(())
}

fn bench(args: &MixBenchArgs) -> anyhow::Result<MixReport> {
    let program = VideoFormat { bitrate_bps: args.bitrate, ..format(&args.program) };
    let codecs: Arc<dyn Codecs> = Arc::new(BuiltinCodecs { temporal_layers: args.temporal_layers });
    let speakers = (0..args.inputs).map(|index| {
        let source = args.source.get(usize::from(index) % args.source.len().max(1));
        let stands_still = index >= args.inputs - args.frozen;
        Speaker::new(&codecs, source.map(|file| &**file), &format(&args.input), index, stands_still)
    });
    let mut speakers = speakers.collect::<anyhow::Result<Vec<_>>>()?;
    let mut kept = args.keep.as_deref().map(|folder| Kept::create(folder, args)).transpose()?;
    let mut mixing = Mixing::start(&codecs, &program, args.inputs)?;
    let mut bound = BareCodecs::new(&codecs, &program, args.inputs)?;
    let mut ideal = Ideal::new(bound.composer.picture().clone());
    let (mut psnr, mut viewer) = (Psnr::default(), codecs.video_decoder()?);
    let mut stretches = Vec::new();
    let (mut bytes, mut before) = (0, Mark::default());

    for number in 0..WARM_UP + args.frames {
        let counted = number.checked_sub(WARM_UP);
        let due_us = mixing.begin(number);
        let mut frames = Vec::new();
        for (index, speaker) in speakers.iter_mut().enumerate() {
            let captured_us = captured_us(number, program.fps);
            if let Some(silence) = speaker.silence(number, captured_us)? {
                mixing.push(index, &silence, captured_us);
            }
            if let Some(frame) = speaker.next(number, captured_us)? {
                frames.push((index, frame));
            }
            ideal.draw(speaker.picture(), bound.place(index, speaker.picture()))?;
        }
        let picture = by_turns(number, due_us, &frames, &mut mixing, &mut bound)?;
        let shown = viewer.decode(&picture.data)?;
        if let Some(kept) = &mut kept {
            kept.add(&frames, &picture, ideal.picture())?;
        }
        let Some(counted) = counted else {
            before = Mark { mixer: mixing.cpu()?, ..bound.spent };
            continue;
        };
        bytes += picture.data.len();
        if let Some(shown) = &shown {
            psnr.add(shown, ideal.picture());
        }
        // the lengths of stretches differ by one picture at most
        let done = |counted: u32| u64::from(counted) * u64::from(PAIRS) / u64::from(args.frames);
        if done(counted + 1) > done(counted) {
            let now = Mark { mixer: mixing.cpu()?, ..bound.spent };
            stretches.push(now.since(&before));
            before = now;
        }
    }
    if let Some(kept) = kept {
        kept.finish()?;
    }
    let seconds = f64::from(args.frames) / f64::from(program.fps);
    Ok(report(args, &stretches, psnr.db(), bytes as f64 * 8.0 / seconds / 1e3))
}

fn report(args: &MixBenchArgs, stretches: &[Stretch], psnr_db: Option<f64>, kbit_s: f64) -> MixReport {
    let median = |of: fn(&Stretch) -> f64| Spread::of(stretches.iter().map(of)).median;
    let size = |format: &plenary::ProgramFormat| format!("{}x{}@{}", format.width, format.height, format.fps);
    MixReport {
        inputs: args.inputs,
        input: size(&args.input),
        out: size(&args.program),
        frames: args.frames,
        frozen: args.frozen,
        temporal_layers: args.temporal_layers,
        cpu_ms_per_frame: Shares {
            total: median(|stretch| stretch.total),
            decode: median(|stretch| stretch.decode),
            scale: median(|stretch| stretch.scale),
            encode: median(|stretch| stretch.encode),
            rest: median(|stretch| stretch.total - stretch.work()),
        },
        bound_ms_per_frame: median(Stretch::bound),
        bound: Bound {
            decode: median(|stretch| stretch.bound_decode),
            encode: median(|stretch| stretch.bound_encode),
            spread: Spread::of(stretches.iter().map(Stretch::bound)),
        },
        work_over_bound: Spread::of(stretches.iter().map(|stretch| stretch.work() / stretch.bound())),
        total_over_bound: Spread::of(stretches.iter().map(|stretch| stretch.total / stretch.bound())),
        psnr_db: psnr_db.map(round),
        kbit_s: round(kbit_s),
    }
}

fn summary(report: &MixReport) -> String {
    let Shares { total, decode, scale, encode, rest } = report.cpu_ms_per_frame;
    let psnr = report.psnr_db.map_or("same as the ideal".to_owned(), |db| format!("{db:.2} dB"));
    format!(
        "{} x {} -> {}: {total:.2} ms CPU a picture (decode {decode:.2}, scale {scale:.2}, encode {encode:.2}, rest {rest:.2})\n\
         bound {:.2} ms; work over bound {:.3}, total over bound {:.3}; {psnr}, {:.0} kbit/s\n",
        report.inputs,
        report.input,
        report.out,
        report.bound_ms_per_frame,
        report.work_over_bound.median,
        report.total_over_bound.median,
        report.kbit_s,
    )
}

fn format(format: &plenary::ProgramFormat) -> VideoFormat {
    let plenary::ProgramFormat { width, height, fps, bitrate_bps } = *format;
    VideoFormat { width, height, fps, bitrate_bps }
}

/// Returns the capture time of a picture as the mixer computes it: whole steps of the program's frame rate.
fn captured_us(number: u32, fps: u8) -> u64 {
    START_US + u64::from(number) * 1_000_000 / u64::from(fps)
}

/// Processor time spent so far.
#[derive(Clone, Copy, Debug, Default)]
struct Mark {
    mixer: MixerCpu,
    decode: Duration,
    encode: Duration,
    pictures: u32,
}

impl Mark {
    fn since(&self, before: &Mark) -> Stretch {
        let pictures = f64::from((self.pictures - before.pictures).max(1));
        let mixer = self.mixer.since(&before.mixer);
        let mixer_ms = |us: u64| us as f64 / 1e3 / pictures;
        let bound_ms = |now: Duration, before: Duration| (now - before).as_secs_f64() * 1e3 / pictures;
        Stretch {
            decode: mixer_ms(mixer.decode_us),
            scale: mixer_ms(mixer.scale_us),
            encode: mixer_ms(mixer.encode_us),
            total: mixer_ms(mixer.total_us.saturating_sub(mixer.sound_us)),
            bound_decode: bound_ms(self.decode, before.decode),
            bound_encode: bound_ms(self.encode, before.encode),
        }
    }
}

/// Makes one program picture with both, taking turns frame by frame. Each speaker's frame arrives separately,
/// since speakers are not synchronized.
fn by_turns(
    number: u32,
    due_us: u64,
    frames: &[(usize, Frame)],
    mixing: &mut Mixing,
    bound: &mut BareCodecs,
) -> anyhow::Result<EncodedPicture> {
    // alternate the order, since the second run of a frame finds the data in the caches
    let mixer_first = number.is_multiple_of(2);
    for (index, frame) in frames {
        if mixer_first {
            mixing.decode(*index, frame)?;
        }
        bound.decode(*index, frame)?;
        if !mixer_first {
            mixing.decode(*index, frame)?;
        }
    }
    if mixer_first {
        let picture = mixing.encode(number, due_us)?;
        bound.encode()?;
        return Ok(picture);
    }
    bound.encode()?;
    mixing.encode(number, due_us)
}

/// The mixer, and its clock.
struct Mixing {
    mixer: Mixer,
    clock_us: Arc<AtomicU64>,
    /// Program pictures with their capture times.
    pictures: mpsc::Receiver<(u64, EncodedPicture)>,
    fps: u8,
    pushed: u64,
}

impl Mixing {
    fn start(codecs: &Arc<dyn Codecs>, program: &VideoFormat, inputs: u8) -> anyhow::Result<Mixing> {
        let clock_us = Arc::new(AtomicU64::new(START_US));
        let (give, pictures) = mpsc::channel();
        let config = MixerConfig {
            program: *program,
            layout: Layout::Grid,
            sound_bitrate_bps: 32_000,
            heard_max: 5,
            codecs: Arc::clone(codecs),
            falls_back: true,
        };
        let clock = Arc::clone(&clock_us);
        let output = move |output| {
            if let MixerOutput::Video { picture, captured_us } = output {
                // the receiver is gone once the bench has failed
                let _ = give.send((captured_us, picture));
            }
        };
        let mixer = Mixer::start(config, move || clock.load(Ordering::SeqCst), output)?;
        let input = Input::new;
        mixer.set_inputs((0..u64::from(inputs)).map(input).collect())?;
        // speakers and mixer share one clock; without an offset the mixer would assume a network delay of
        // zero
        (0..u64::from(inputs)).for_each(|id| mixer.set_clock_offset(id, Some(0)));
        mixer.begin(START_US);
        Ok(Mixing { mixer, clock_us, pictures, fps: program.fps, pushed: 0 })
    }

    /// Advances the clock to the arrival of the frames for a program picture. Returns the time when the
    /// picture is due.
    fn begin(&self, number: u32) -> u64 {
        let due_us = captured_us(number, self.fps) + self.mixer.stats().playout_delay_us;
        self.jump(due_us - AHEAD_US);
        due_us
    }

    fn push(&self, id: usize, frame: &Frame, arrived_us: u64) {
        self.mixer.push(id as u64, frame.clone(), arrived_us);
    }

    #[expect(clippy::disallowed_methods, reason = "no runtime here: this is an OS thread")]
    fn decode(&mut self, id: usize, frame: &Frame) -> anyhow::Result<()> {
        self.push(id, frame, self.clock_us.load(Ordering::SeqCst));
        self.pushed += 1;
        let begun = Instant::now();
        while self.mixer.stats().decoded_frames < self.pushed {
            if begun.elapsed() > PATIENCE {
                bail!("the mixer doesn't decode what the speakers sent: {:?}", self.mixer.stats());
            }
            std::thread::sleep(LOOK);
        }
        Ok(())
    }

    /// Returns the program picture of that number. Skips a picture that was made too early because the
    /// playout delay shrank.
    fn encode(&self, number: u32, due_us: u64) -> anyhow::Result<EncodedPicture> {
        self.jump(due_us);
        loop {
            let (made_us, picture) =
                self.pictures.recv_timeout(PATIENCE).context("the mixer gives no picture")?;
            if made_us >= captured_us(number, self.fps) {
                return Ok(picture);
            }
        }
    }

    fn jump(&self, to_us: u64) {
        self.clock_us.fetch_max(to_us, Ordering::SeqCst);
        self.mixer.clock_jumped();
    }

    fn cpu(&self) -> anyhow::Result<MixerCpu> {
        self.mixer.stats().cpu.context("this system doesn't report threads' processor time")
    }
}

/// Lower bound: nothing but codecs. Composing the picture to encode is not measured.
struct BareCodecs {
    decoders: Vec<Box<dyn VideoDecoder>>,
    encoder: Box<dyn VideoEncoder>,
    composer: Composer,
    begun: bool,
    spent: Mark,
}

impl BareCodecs {
    fn new(codecs: &Arc<dyn Codecs>, program: &VideoFormat, inputs: u8) -> anyhow::Result<BareCodecs> {
        let decoders = (0..inputs).map(|_| codecs.video_decoder()).collect::<Result<_, _>>()?;
        let mut composer = Composer::new(usize::from(program.width), usize::from(program.height));
        let tile = |id| Tile { id, ..Tile::default() };
        composer.set_grid((0..u64::from(inputs)).map(tile).collect());
        let encoder = codecs.program_encoder(program)?;
        Ok(BareCodecs { decoders, encoder, composer, begun: false, spent: Mark::default() })
    }

    /// Returns the rectangle of an input's picture in the program.
    fn place(&self, index: usize, picture: &Picture) -> plenary_media::scale::Rect {
        let tile = self.composer.rect(index as u64).unwrap_or_default();
        tile.fit(picture.width(), picture.height())
    }

    fn decode(&mut self, index: usize, frame: &Frame) -> anyhow::Result<()> {
        let begun = ThreadTime::now();
        let decoded = self.decoders[index].decode(&frame.data);
        self.spent.decode += begun.elapsed();
        if let Some(view) = decoded? {
            self.composer.draw(index as u64, &view);
        }
        Ok(())
    }

    fn encode(&mut self) -> anyhow::Result<()> {
        let key = !std::mem::replace(&mut self.begun, true);
        let begun = ThreadTime::now();
        let encoded = self.encoder.encode(&self.composer.picture().view(), key);
        self.spent.encode += begun.elapsed();
        self.spent.pictures += 1;
        encoded.map(|_| ()).context("the bare encoder failed")
    }
}
