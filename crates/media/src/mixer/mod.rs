//! The mixer: decodes, composites and re-encodes the speakers' streams into the program.
//!
//! The caller registers inputs with a [`Mixer`] and pushes their frames as they arrive; pushing never blocks.
//! The mixer outputs encoded pictures and sound packets, not yet numbered. It runs its own threads: one
//! decodes the pictures of each input, one composes and encodes the program's picture, one does all sound.
//!
//! A new mixer is stopped, and [`Mixer::stop`] stops it again: its decoders keep running, so it knows every
//! input's current picture and level, but it composes and encodes nothing. A standby mixer stays in this
//! state.
//!
//! Pictures and sound are released on one clock. Program pictures have capture times at whole steps of the
//! local clock and are released one playout delay later: the longest delay that any input's jitter buffer
//! requests, plus some time to decode. Each program picture shows the newest picture of each speaker captured
//! by its time, so the lips and voice of a speaker stay in sync. A late speaker keeps its last picture; after
//! 2 s without a picture its tile shows initials. When a decoder fails, only its own input loses pictures,
//! until the next keyframe, which the mixer requests.
//!
//! A mixer that can't make the whole program in time lowers its [`Effort`]. Sound has a thread of its own and
//! isn't affected.
//!
//! Codecs that fail, panic or hang are replaced ([`GuardedCodecs`]), and so is a thread that panics; each time there is
//! a [`MixerOutput::CodecFailed`]. When nothing is left to try, or no picture was made for [`STALL_MAX`],
//! [`Mixer::has_failed`] is true: another peer should mix. What one input's pictures do to their decoder never makes a
//! mixer fail, since any speaker could have every mixer resign.
//!
//! Outputs are delivered one at a time, on the mixer's threads. The output callback must neither block nor
//! drop the mixer.

mod decode;
mod drift;
mod effort;
mod feed;
mod pace;
mod sound;
mod speaker;
mod stats;
mod video;
mod watch;

use plenary_proto::ordered::OrderedSet;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::Frame;
use crate::codec::{Codecs, EncodedPicture, VideoFormat};
use crate::compose::{Guest, Layout, Placement};
use crate::guard::{CodecFailure, CodecPart, CodecRemedy, GuardedCodecs, RECOVERED, words_of};
use crate::jitter::HOLD_US_MIN;
pub use effort::EffortChange;
use effort::Strain;
use feed::Feed;
pub use plenary_proto::app::{Effort, EffortWhy};
pub(crate) use stats::thread_cpu;
pub use stats::{CodecWork, InputStats, MixerCpu, MixerStats, Percentiles};
use stats::{Counts, Histogram};
pub use watch::STALL_MAX;
use watch::Watch;

/// Maximum number of inputs; further ones are ignored. More than the largest stage, 50, needs.
pub const INPUTS_MAX: usize = 64;
/// Maximum time for which a waiting thread sleeps before it reads the clock again, in case the clock isn't
/// the system's.
const WAIT_MAX: Duration = Duration::from_millis(100);

/// Configuration of a mixer.
#[derive(Clone)]
pub struct MixerConfig {
    /// Format of the program's picture.
    pub program: VideoFormat,
    /// Layout of the program's tiles.
    pub layout: Layout,
    /// Bitrate of each encoded mono sound stream, bits per second; stereo gets twice that.
    pub sound_bitrate_bps: u32,
    /// Maximum number of speakers heard at a time.
    pub heard_max: usize,
    /// Factory for the encoders and decoders.
    pub codecs: Arc<dyn Codecs>,
    /// Whether the built-in codecs stand in for those that fail.
    pub falls_back: bool,
}

/// One speaker to be mixed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// Unique identifier under which its frames are pushed.
    pub id: u64,
    /// Name shown on its tile.
    pub name: String,
    /// Whether the speaker is muted: it isn't heard, and its tile has the mute mark. The tile of an input
    /// that sends pictures without sound has that mark too.
    pub muted: bool,
    /// Whether the input is a shared screen or film: its picture is eligible for the large tile of
    /// [`Layout::Share`], and its sound is kept in stereo.
    pub shares: bool,
    /// For the second picture of a speaker, the input with the first one. It has no sound: a shared screen beside a
    /// camera makes the speaker's sound stereo, and never speaks.
    pub beside: Option<u64>,
    /// Whether the input gets [`MixerOutput::MixMinus`].
    pub hears: bool,
}

impl Input {
    /// Returns the input of a camera and a voice without a name, which gets no [`MixerOutput::MixMinus`].
    pub fn new(id: u64) -> Input {
        Input { id, name: String::new(), muted: false, shares: false, beside: None, hears: false }
    }
}

/// Output of a mixer. Sound packets are 20 ms, mono; stereo while a sharing input is heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MixerOutput {
    /// The next program picture.
    Video {
        /// The picture as the encoder made it, unmarked.
        picture: EncodedPicture,
        /// Capture time on the local clock: a whole step of the program's frame rate.
        captured_us: u64,
    },
    /// The next 20 ms of the program's sound.
    Sound {
        /// The packet as the encoder made it, unmarked.
        packet: Bytes,
        /// Capture time on the local clock: a whole multiple of 20 ms.
        captured_us: u64,
        /// Audio level, RFC 6464.
        level: u8,
        /// The inputs heard in the mix, each with its audio level (RFC 6464).
        contributors: Vec<(u64, u8)>,
    },
    /// The next 20 ms of mix-minus for one input that hears: the program's sound without its own voice.
    MixMinus {
        /// The receiving input.
        id: u64,
        /// The mix-minus packet; the program's own packet when the input's voice isn't in the program.
        packet: Bytes,
        /// Capture time on the local clock: a whole multiple of 20 ms.
        captured_us: u64,
        /// Audio level, RFC 6464.
        level: u8,
        /// The contributors of the program's sound, except this input.
        contributors: Vec<(u64, u8)>,
    },
    /// Tiles have moved, for example because the dominant speaker changed: see [`Mixer::place`]. Also sent
    /// when the mixer needs input pictures of another size or rate: see [`Mixer::effort`].
    TilesMoved,
    /// The mixer changed the work that it spends on its pictures. A change of size comes with a keyframe.
    Effort(EffortChange),
    /// A codec or a thread of the mixer failed and was replaced, or couldn't be.
    CodecFailed {
        /// What failed.
        what: MixerPart,
        /// What happened, in one line.
        text: String,
        /// What followed.
        remedy: CodecRemedy,
    },
    /// Keyframe request: an input can't be decoded before its next keyframe. At most one a second per input.
    KeyWanted {
        /// The input that needs a keyframe.
        id: u64,
    },
}

/// Part of a mixer that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MixerPart {
    /// The encoder of the program's pictures.
    Encoder,
    /// The thread that composes pictures.
    Compositor,
    /// The decoder of this input's pictures.
    Decoder(u64),
    /// An encoder of the program's sound, or of a mix-minus.
    SoundEncoder,
    /// The decoder of an input's sound.
    SoundDecoder,
    /// The thread that mixes sound.
    SoundMix,
}

impl MixerPart {
    /// Returns the part of the mixer that such a codec belongs to.
    fn of(part: CodecPart, input: Option<u64>) -> MixerPart {
        match (part, input) {
            (CodecPart::VideoDecoder, Some(id)) => MixerPart::Decoder(id),
            (CodecPart::SoundEncoder, _) => MixerPart::SoundEncoder,
            (CodecPart::SoundDecoder, _) => MixerPart::SoundDecoder,
            _ => MixerPart::Encoder,
        }
    }

    /// Returns whether there is no program without this part.
    pub fn is_vital(self) -> bool {
        !matches!(self, MixerPart::Decoder(_) | MixerPart::SoundDecoder)
    }
}

/// Error of a mixer operation.
#[derive(Debug, thiserror::Error)]
pub enum MixerError {
    /// The operating system refused to start a thread.
    #[error("a thread of the mixer could not be started: {0}")]
    Thread(#[from] io::Error),
}

/// A running mixer. Dropping it ends its threads, and waits until the encodings and decodings in progress are
/// done; not longer for a codec that hangs than its guard does.
pub struct Mixer {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// State shared by all threads of the mixer.
struct Shared {
    codecs: GuardedCodecs,
    /// Whether a vital part has failed for good.
    failed: AtomicBool,
    watch: Mutex<Watch>,
    clock: Box<dyn Fn() -> u64 + Send + Sync>,
    output: Mutex<Box<dyn FnMut(MixerOutput) + Send>>,
    fps: u8,
    stage: Mutex<Arc<Stage>>,
    /// The present orders; `None` once the mixer ends.
    orders: Mutex<Option<Orders>>,
    ordered: Condvar,
    playout_delay_us: AtomicU64,
    counts: Counts,
    times: Mutex<Times>,
    strain: Mutex<Strain>,
}

/// The inputs mixed, in the order of the stage, and their tiles.
#[derive(Clone, Debug, Default)]
struct Stage {
    revision: u64,
    /// Size of the canvas.
    size: (usize, usize),
    inputs: Vec<(Input, Arc<Feed>)>,
    layout: Layout,
    /// Inputs that have been dominant speakers, the latest first.
    spoke: Vec<u64>,
    /// Inputs that send pictures without sound.
    mute: Vec<u64>,
    /// Tiles in the order in which they are drawn.
    tiles: Vec<(u64, Placement)>,
}

/// Instructions to the mixer's threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Orders {
    started: bool,
    /// Capture time of the first output.
    from_us: u64,
    /// Set when a stopped mixer starts, until the video thread takes it and makes the next picture a
    /// keyframe.
    begins: bool,
    /// Whether a keyframe was requested.
    key_wanted: bool,
    bitrate_bps: u32,
    /// Packet loss of the sound, if known.
    loss_percent: Option<u8>,
}

#[derive(Debug, Default)]
struct Times {
    compose_encode: Histogram,
    added_latency: Histogram,
}

/// Locks a mutex, ignoring poison: a panic in the application's output callback leaves no state half changed.
fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Mixer {
    /// Starts the threads of a mixer that is stopped and has no inputs.
    ///
    /// `clock` is the local clock: microseconds since 1970 that never go back. `output` receives the mixer's
    /// outputs; the [module](self) states its restrictions.
    ///
    /// # Errors
    /// [`MixerError`] when a thread can't be started.
    pub fn start(
        config: MixerConfig,
        clock: impl Fn() -> u64 + Send + Sync + 'static,
        output: impl FnMut(MixerOutput) + Send + 'static,
    ) -> Result<Mixer, MixerError> {
        let MixerConfig { program, layout, sound_bitrate_bps, heard_max, codecs, falls_back } = config;
        let shared = Arc::new_cyclic(|shared: &Weak<Shared>| {
            let shared = Weak::clone(shared);
            let report = move |failure| Shared::codec_failed(&shared, failure, None);
            let codecs = GuardedCodecs::new(codecs, falls_back, report);
            Shared::new(codecs, &program, layout, Box::new(clock), Box::new(output))
        });
        let mixer = Mixer { shared, threads: Mutex::default() };
        let video = mixer.spawn("mixer-video".to_owned(), move |shared| video::run(shared, &program))?;
        lock(&mixer.threads).push(video);
        let config = sound::SoundConfig { bitrate_bps: sound_bitrate_bps, heard_max };
        let sound = mixer.spawn("mixer-sound".to_owned(), move |shared| sound::run(shared, config))?;
        lock(&mixer.threads).push(sound);
        Ok(mixer)
    }

    /// Sets the inputs to mix, in the order of their tiles. Inputs that stay keep their decoders and buffers,
    /// even if their other properties change. Of several inputs with the same identifier the first counts;
    /// inputs beyond [`INPUTS_MAX`] are ignored.
    ///
    /// # Errors
    /// [`MixerError::Thread`] when a decoder's thread can't be started; the previous inputs then stay.
    pub fn set_inputs(&self, inputs: Vec<Input>) -> Result<(), MixerError> {
        let mut threads = lock(&self.threads); // one change at a time
        threads.retain(|thread| !thread.is_finished());
        let before = self.shared.stage();
        let mut ids = OrderedSet::new();
        let (mut next, mut entering) = (Vec::new(), Vec::new());
        for input in inputs.into_iter().filter(|input| ids.insert(input.id)).take(INPUTS_MAX) {
            let feed = before.feed(input.id).unwrap_or_else(|| {
                let feed = Arc::new(Feed::new(input.id));
                entering.push(Arc::clone(&feed));
                feed
            });
            next.push((input, feed));
        }
        for feed in &entering {
            let (own, weak, id) = (Arc::clone(feed), Arc::downgrade(&self.shared), feed.id);
            let report = move |failure| Shared::codec_failed(&weak, failure, Some(id));
            let codecs = Arc::new(self.shared.codecs.reporting(report));
            let run = move |shared: &Shared| decode::run(shared, &own, codecs);
            match self.spawn(format!("mixer-in-{}", feed.id), run) {
                Ok(thread) => threads.push(thread),
                Err(error) => {
                    entering.iter().for_each(|feed| feed.close());
                    return Err(error);
                }
            }
        }
        self.shared.restage(|stage| stage.inputs = next);
        let after = self.shared.stage();
        let leaving = before.inputs.iter().filter(|(input, _)| after.feed(input.id).is_none());
        leaving.for_each(|(_, feed)| feed.close());
        Ok(())
    }

    /// Sets the layout of the tiles; this causes no keyframe.
    pub fn set_layout(&self, layout: Layout) {
        self.shared.restage(|stage| stage.layout = layout);
    }

    /// Returns the tile of an input: where its picture is drawn, or, if it has no tile at present, the
    /// smallest tile of the layout. `None` for an unknown input.
    pub fn place(&self, id: u64) -> Option<Placement> {
        self.shared.stage().feed(id).map(|feed| feed.tile())
    }

    /// Pushes a frame of an input, which arrived completely at `arrived_us` of the local clock. Frames of an
    /// input come in order. Frames of unknown inputs are dropped, and so are pictures beyond the limit of the
    /// input's queue.
    pub fn push(&self, id: u64, frame: Frame, arrived_us: u64) {
        if let Some(feed) = self.shared.stage().feed(id) {
            feed.push(frame, arrived_us);
        }
    }

    /// Sets the clock offset of an input: what to add to its capture times to get local time, microseconds,
    /// as measured by its link; `None` when it isn't measured. See [`ClockMap`](crate::jitter::ClockMap).
    pub fn set_clock_offset(&self, id: u64, offset_us: Option<i64>) {
        if let Some(feed) = self.shared.stage().feed(id) {
            feed.set_clock_offset_us(offset_us);
        }
    }

    /// Sets the RTT to an input, microseconds: the time that a retransmission takes.
    pub fn set_rtt(&self, id: u64, rtt_us: u64) {
        if let Some(feed) = self.shared.stage().feed(id) {
            feed.set_rtt_us(rtt_us);
        }
    }

    /// Starts composing, mixing and encoding, with a keyframe. The first picture and sound have capture times
    /// of at least `from_us`: 0, or just after the last frame of the program so far.
    ///
    /// A stopped mixer received its inputs through another mixer, so their jitter statistics are discarded.
    pub fn begin(&self, from_us: u64) {
        let mut begins = false;
        self.order(|orders| {
            begins = !orders.started;
            orders.begins |= begins;
            orders.from_us = from_us;
            orders.started = true;
        });
        if begins {
            let now_us = (self.shared.clock)();
            let stage = self.shared.stage();
            stage.inputs.iter().for_each(|(_, feed)| feed.path_changed(now_us));
            // no receiver has heard this mixer's program yet, so the playout delay may jump
            self.shared.set_delay_us(sound::wanted_delay_us(now_us, &stage));
        }
    }

    /// Stops composing, mixing and encoding; the decoders keep running.
    pub fn stop(&self) {
        self.order(|orders| orders.started = false);
    }

    /// Requests a keyframe. Several requests within a second count as one.
    pub fn want_key(&self) {
        self.order(|orders| orders.key_wanted = true);
    }

    /// Sets the program's video bitrate, bits per second.
    pub fn set_bitrate(&self, bitrate_bps: u32) {
        self.order(|orders| orders.bitrate_bps = bitrate_bps);
    }

    /// Sets the packet loss of the sound, percent.
    pub fn set_loss(&self, percent: u8) {
        self.order(|orders| orders.loss_percent = Some(percent));
    }

    /// Reports that the clock has jumped: the waiting threads read it again at once. Only needed for a clock
    /// other than the system's.
    pub fn clock_jumped(&self) {
        let _orders = lock(&self.shared.orders); // a thread that has read the clock waits by now
        self.shared.ordered.notify_all();
    }

    /// Returns how much work the mixer spends on its pictures at present.
    pub fn effort(&self) -> Effort {
        lock(&self.shared.strain).effort
    }

    /// Returns whether the program has had less than the configured frame rate or size for a while, because
    /// of insufficient CPU time. False for a stopped mixer.
    pub fn falls_short(&self) -> bool {
        let started = self.shared.orders().is_some_and(|orders| orders.started);
        started && lock(&self.shared.strain).falls_short((self.shared.clock)())
    }

    /// Returns whether the mixer can't make its program: an encoder failed and nothing is left to try, or no picture
    /// was made for [`STALL_MAX`]. To be called at least ten times a second while it is started: only time between
    /// calls that are close counts, since a machine that stalls as a whole says nothing about the mixer.
    pub fn has_failed(&self) -> bool {
        let started = self.shared.orders().is_some_and(|orders| orders.started);
        let turns = self.shared.counts.turns.load(Ordering::Relaxed);
        let now_us = (self.shared.clock)();
        let stalls = lock(&self.shared.watch).stalls(now_us, started, turns);
        stalls || self.shared.failed.load(Ordering::Relaxed)
    }

    /// Returns statistics of the mixer since its start.
    pub fn stats(&self) -> MixerStats {
        let counts = &self.shared.counts;
        let times = lock(&self.shared.times);
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        MixerStats {
            decoded_frames: read(&counts.decoded),
            encoded_frames: read(&counts.encoded),
            skipped_frames: read(&counts.skipped),
            effort: self.effort(),
            codec_errors: read(&counts.codec_errors),
            compose_encode_us: times.compose_encode.percentiles(),
            added_latency_us: times.added_latency.percentiles(),
            playout_delay_us: self.shared.delay_us(),
            cpu: self.shared.cpu(),
            codec: counts.codec(),
            inputs: self.shared.stage().inputs.iter().map(|(_, feed)| feed.stats()).collect(),
        }
    }

    fn order(&self, change: impl FnOnce(&mut Orders)) {
        if let Some(orders) = &mut *lock(&self.shared.orders) {
            change(orders);
        }
        self.shared.ordered.notify_all();
    }

    fn spawn(
        &self,
        name: String,
        work: impl FnOnce(&Shared) + Send + 'static,
    ) -> Result<JoinHandle<()>, MixerError> {
        let shared = Arc::clone(&self.shared);
        let span = tracing::Span::current();
        Ok(std::thread::Builder::new().name(name).spawn(move || span.in_scope(|| work(&shared)))?)
    }
}

impl Stage {
    fn feed(&self, id: u64) -> Option<Arc<Feed>> {
        self.inputs.iter().find(|(input, _)| input.id == id).map(|(_, feed)| Arc::clone(feed))
    }

    fn input(&self, id: u64) -> Option<&Input> {
        self.inputs.iter().map(|(input, _)| input).find(|input| input.id == id)
    }

    /// Returns a changed copy of the stage with a new layout.
    fn changed(&self, change: impl FnOnce(&mut Stage)) -> Stage {
        let mut next = self.clone();
        change(&mut next);
        next.revision += 1;
        next.lay_out();
        next
    }

    /// Computes the tile of each input, which is the size that its decoder scales to. Inputs without a tile
    /// get the size of the smallest tile, since they may be given one at any time.
    fn lay_out(&mut self) {
        let guest =
            |(input, _): &(Input, _)| Guest { id: input.id, name: input.name.clone(), shares: input.shares };
        let guests: Vec<Guest> = self.inputs.iter().map(guest).collect();
        self.tiles = self.layout.places(&guests, &self.spoke, self.size);
        let smallest = self.tiles.iter().map(|(_, place)| *place).min_by_key(|place| place.rect.width);
        for (input, feed) in &self.inputs {
            let own = self.tiles.iter().find(|(id, _)| *id == input.id).map(|(_, place)| *place);
            feed.set_tile(own.or(smallest).unwrap_or_default());
        }
    }
}

impl Drop for Mixer {
    fn drop(&mut self) {
        *lock(&self.shared.orders) = None;
        self.shared.ordered.notify_all();
        for (_, feed) in &self.shared.stage().inputs {
            feed.close();
        }
        for thread in lock(&self.threads).drain(..) {
            // A panic of the thread was reported where it happened.
            drop(thread.join());
        }
    }
}

impl Shared {
    /// State of a stopped mixer without inputs.
    fn new(
        codecs: GuardedCodecs,
        program: &VideoFormat,
        layout: Layout,
        clock: Box<dyn Fn() -> u64 + Send + Sync>,
        output: Box<dyn FnMut(MixerOutput) + Send>,
    ) -> Shared {
        let size = (usize::from(program.width), usize::from(program.height));
        Shared {
            codecs,
            failed: AtomicBool::new(false),
            watch: Mutex::default(),
            clock,
            output: Mutex::new(output),
            fps: program.fps.max(1),
            stage: Mutex::new(Arc::new(Stage { layout, size, ..Stage::default() })),
            orders: Mutex::new(Some(Orders {
                started: false,
                from_us: 0,
                begins: false,
                key_wanted: false,
                bitrate_bps: program.bitrate_bps,
                loss_percent: None,
            })),
            ordered: Condvar::new(),
            playout_delay_us: AtomicU64::new(HOLD_US_MIN + sound::DECODE_US),
            counts: Counts::default(),
            times: Mutex::default(),
            strain: Mutex::default(),
        }
    }

    /// Reports the failure of a codec. `input`: the speaker's input of a picture decoder.
    fn codec_failed(shared: &Weak<Shared>, failure: CodecFailure, input: Option<u64>) {
        if let Some(shared) = shared.upgrade() {
            shared.part_failed(MixerPart::of(failure.part, input), failure.text, failure.remedy);
        }
    }

    fn part_failed(&self, what: MixerPart, text: String, remedy: CodecRemedy) {
        if what.is_vital() && remedy == CodecRemedy::GaveUp {
            self.failed.store(true, Ordering::Relaxed);
        }
        self.give(MixerOutput::CodecFailed { what, text, remedy });
    }

    /// Runs a thread's work until it ends. When it panics it begins anew, once; after [`RECOVERED`] of work, once more.
    fn keep_running(&self, what: MixerPart, mut work: impl FnMut()) {
        let mut spent = false;
        loop {
            let begun = Instant::now();
            let Err(panic) = catch_unwind(AssertUnwindSafe(&mut work)) else { return };
            spent &= begun.elapsed() < RECOVERED;
            let remedy = if spent { CodecRemedy::GaveUp } else { CodecRemedy::Restarted };
            tracing::error!("a thread of the mixer panicked, {remedy}");
            self.part_failed(what, format!("it panicked: {}", words_of(&*panic)), remedy);
            if std::mem::replace(&mut spent, true) {
                return;
            }
        }
    }

    /// Returns the CPU time of the mixer's threads and of its codecs' own.
    fn cpu(&self) -> Option<MixerCpu> {
        let mut cpu = self.counts.cpu()?;
        let own_us = |part| self.codecs.cpu_ns(part) / 1_000;
        let [encode_us, decode_us] = [CodecPart::ProgramEncoder, CodecPart::VideoDecoder].map(own_us);
        let sound_us = own_us(CodecPart::SoundEncoder) + own_us(CodecPart::SoundDecoder);
        cpu.encode_us += encode_us;
        cpu.decode_us += decode_us;
        cpu.sound_us += sound_us;
        cpu.total_us += encode_us + decode_us + sound_us;
        Some(cpu)
    }

    fn give(&self, output: MixerOutput) {
        (lock(&self.output))(output);
    }

    fn stage(&self) -> Arc<Stage> {
        Arc::clone(&lock(&self.stage))
    }

    /// Changes the stage and computes the layout again.
    fn restage(&self, change: impl FnOnce(&mut Stage)) {
        let mut stage = lock(&self.stage);
        *stage = Arc::new(stage.changed(change));
    }

    fn delay_us(&self) -> u64 {
        self.playout_delay_us.load(Ordering::Relaxed)
    }

    fn set_delay_us(&self, delay_us: u64) {
        self.playout_delay_us.store(delay_us, Ordering::Relaxed);
    }

    /// Returns the present orders; `None` when the mixer ends.
    fn orders(&self) -> Option<Orders> {
        *lock(&self.orders)
    }

    /// Returns the present orders and clears the one-time requests among them.
    fn take_orders(&self) -> Option<Orders> {
        let mut orders = lock(&self.orders);
        let taken = *orders;
        if let Some(orders) = &mut *orders {
            (orders.begins, orders.key_wanted) = (false, false);
        }
        taken
    }

    /// Waits until the clock reaches `due_us`. Returns false when the thread was woken before, or should read
    /// the clock again.
    fn wait_until(&self, due_us: u64) -> bool {
        let orders = lock(&self.orders);
        let now_us = (self.clock)();
        if now_us < due_us && orders.is_some() {
            let wait = Duration::from_micros(due_us - now_us).min(WAIT_MAX);
            drop(self.ordered.wait_timeout(orders, wait));
            return false;
        }
        now_us >= due_us
    }
}

#[cfg(test)]
mod fake;
#[cfg(test)]
mod overload;
#[cfg(test)]
mod tests;
