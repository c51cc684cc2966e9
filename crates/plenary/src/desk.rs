//! The mixer as an actor: it carries out the state machine's commands in their order, and its outputs go back to
//! the state machine.
//!
//! Commands are queued under the state machine's lock and carried out after it is released, by one thread at a
//! time.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use plenary_body::{MixCommand, MixFigures};
use plenary_media::Clock;
use plenary_media::codec::{Codecs, VideoFormat};
use plenary_media::compose::Layout;
use plenary_media::mixer::{CodecWork, Effort, Mixer, MixerConfig, MixerStats};
use tracing::Span;

use crate::flow::Flow;

/// Bitrate of the program's sound, and of each mix-minus, in bits per second.
const PROGRAM_SOUND_BPS: u32 = 48_000;
/// Maximum number of speakers heard at a time. A guess.
const HEARD_MAX: usize = 5;

/// The mixer, and the totals of the mixers before it.
#[derive(Default)]
struct Bench {
    mixer: Option<Arc<Mixer>>,
    decoded: u64,
    encoded: u64,
    cpu_us: u64,
    codec: CodecWork,
    /// Whether a mixer couldn't be started.
    failed: bool,
}

/// Runs this peer's mixer.
pub(crate) struct Desk {
    flow: Weak<Flow>,
    clock: Clock,
    codecs: Option<Arc<dyn Codecs>>,
    /// Whether the built-in codecs stand in for those.
    falls_back: bool,
    /// Span of the room, for commands that a link's task carries out.
    span: Span,
    queue: Mutex<VecDeque<MixCommand>>,
    /// Held by the thread that carries out commands.
    bench: Mutex<Bench>,
}

impl Desk {
    /// Returns a desk without a mixer. Without codecs it never has one.
    pub(crate) fn new(
        flow: Weak<Flow>,
        clock: Clock,
        (codecs, falls_back): (Option<Arc<dyn Codecs>>, bool),
        span: Span,
    ) -> Desk {
        Desk { flow, clock, codecs, falls_back, span, queue: Mutex::default(), bench: Mutex::default() }
    }

    /// Queues commands.
    pub(crate) fn queue(&self, commands: impl ExactSizeIterator<Item = MixCommand>) {
        if commands.len() > 0 {
            self.queue.lock().extend(commands);
        }
    }

    /// Carries out the queued commands, unless another thread does so already. Not to be called on a thread of the
    /// mixer.
    pub(crate) fn run(&self) {
        while !self.queue.lock().is_empty() {
            let Some(mut bench) = self.bench.try_lock() else { return };
            let _inside = self.span.enter();
            loop {
                let next = self.queue.lock().pop_front();
                let Some(command) = next else { break };
                self.execute(&mut bench, command);
            }
            // a command may have been queued by a thread that found the bench locked: the loop looks again
        }
    }

    fn execute(&self, bench: &mut Bench, command: MixCommand) {
        if let MixCommand::Keep { format, layout, loss_percent } = command {
            if bench.mixer.is_none() {
                bench.mixer = self.start(format, layout, loss_percent).map(Arc::new);
                bench.failed = bench.mixer.is_none();
            }
            return;
        }
        let Some(mixer) = &bench.mixer else { return };
        match command {
            MixCommand::Keep { .. } => {}
            MixCommand::End => end_soon(bench.take()),
            MixCommand::Inputs(inputs) => {
                if let Err(error) = mixer.set_inputs(inputs) {
                    tracing::error!("a speaker can't be mixed: {error}");
                }
            }
            MixCommand::Layout(layout) => mixer.set_layout(layout),
            MixCommand::Bitrate(bps) => mixer.set_bitrate(bps),
            MixCommand::Loss(percent) => mixer.set_loss(percent),
            MixCommand::Begin { from_us } => mixer.begin(from_us),
            MixCommand::Stop => mixer.stop(),
            MixCommand::Key => mixer.want_key(),
            MixCommand::Clock { id, offset_us, rtt_us } => {
                mixer.set_clock_offset(id, Some(offset_us));
                mixer.set_rtt(id, rtt_us);
            }
            MixCommand::Frame { id, frame, arrived_us } => mixer.push(id, frame, arrived_us),
        }
    }

    fn start(&self, program: VideoFormat, layout: Layout, loss_percent: Option<u8>) -> Option<Mixer> {
        let config = MixerConfig {
            program,
            layout,
            sound_bitrate_bps: PROGRAM_SOUND_BPS,
            heard_max: HEARD_MAX,
            codecs: self.codecs.clone()?,
            falls_back: self.falls_back,
        };
        let (clock, flow) = (self.clock, self.flow.clone());
        let output = move |output| {
            if let Some(flow) = flow.upgrade() {
                flow.mixed(output);
            }
        };
        match Mixer::start(config, move || clock.now_us(), output) {
            Ok(mixer) => {
                loss_percent.into_iter().for_each(|percent| mixer.set_loss(percent));
                Some(mixer)
            }
            Err(error) => {
                tracing::error!("this peer can't mix: {error}");
                None
            }
        }
    }

    /// Returns the mixer's present figures, after the queued commands.
    pub(crate) fn figures(&self) -> MixFigures {
        self.run();
        let figures = self.bench.lock().figures();
        self.run(); // another thread may have found the bench locked
        figures
    }

    /// Ends the mixer and waits for its threads. No lock is held meanwhile: the threads may be in a call back.
    pub(crate) fn close(&self) {
        let mixer = self.bench.lock().take();
        drop(mixer);
        self.run();
    }
}

impl Bench {
    /// Takes the mixer off the bench; its totals stay.
    fn take(&mut self) -> Option<Arc<Mixer>> {
        let mixer = self.mixer.take()?;
        let stats = mixer.stats();
        self.decoded += stats.decoded_frames;
        self.encoded += stats.encoded_frames;
        self.cpu_us += cpu_us(&stats);
        self.codec = self.codec.plus(&stats.codec);
        Some(mixer)
    }

    fn figures(&self) -> MixFigures {
        let Bench { mixer, decoded, encoded, cpu_us: past_us, codec, failed } = self;
        let past = MixFigures {
            decoded: *decoded,
            encoded: *encoded,
            cpu_us: *past_us,
            codec: *codec,
            effort: Effort::Full,
            failed: *failed,
            ..MixFigures::default()
        };
        let Some(mixer) = mixer else { return past };
        let stats = mixer.stats();
        let pictured = stats.inputs.iter().filter(|input| input.decoded_frames > 0);
        let places = stats.inputs.iter().filter_map(|input| Some((input.id, mixer.place(input.id)?)));
        MixFigures {
            decoded: past.decoded + stats.decoded_frames,
            encoded: past.encoded + stats.encoded_frames,
            cpu_us: past.cpu_us + cpu_us(&stats),
            codec: past.codec.plus(&stats.codec),
            effort: stats.effort,
            falls_short: mixer.falls_short(),
            failed: mixer.has_failed(),
            pictured: pictured.map(|input| input.id).collect(),
            places: places.collect(),
            compose_encode_us: stats.compose_encode_us,
            added_latency_us: stats.added_latency_us,
        }
    }
}

fn cpu_us(stats: &MixerStats) -> u64 {
    stats.cpu.unwrap_or_default().total_us
}

/// Ends a mixer on a thread of its own: its threads may take a picture's time to end, and a link must not wait.
fn end_soon(mixer: Option<Arc<Mixer>>) {
    let ended = std::thread::Builder::new().name("mixer-end".to_owned()).spawn(move || drop(mixer));
    if let Err(error) = ended {
        tracing::warn!("no thread to end a mixer on: {error}");
    }
}
