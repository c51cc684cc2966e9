//! The mixer: speakers in, the program out.
//!
//! The body gives a [`Mixer`] its inputs and pushes their frames as they come; the mixer gives out encoded
//! pictures and sound, still without numbers, from threads of its own: one decodes each input's pictures, one
//! composes and encodes the program's picture, one does all sound. Nothing that is pushed ever waits.
//!
//! A mixer is silent until [`Mixer::speak`]: its decoders run, so it knows what everybody shows and says, but
//! it composes and encodes nothing. That is what a standby does all day.
//!
//! Pictures and sound leave on one clock. Program pictures have capture times at whole steps of the local
//! clock, and leave when the playout delay has passed since: the longest that an input's jitter buffer wants,
//! and some time to decode. Each shows every speaker's newest picture captured by then, so a speaker's lips and
//! voice stay together; a speaker that is late holds its last picture, one without a picture for 2 s gets a
//! tile that says so. A decoder that fails costs its own input pictures until a key frame, which is asked for,
//! and nobody else anything.
//!
//! A mixer that can't make all of the program in time makes less of it: see [`Effort`]. Sound has a thread of its own and
//! isn't touched.
//!
//! Outputs are given one at a time, on the mixer's threads: whoever takes them must not block, nor end the
//! mixer.

mod decode;
mod drift;
mod effort;
mod feed;
mod pace;
mod sound;
mod speaker;
mod stats;
mod video;

use std::collections::BTreeSet;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;

use crate::Frame;
use crate::codec::{CodecError, Codecs, EncodedPicture, VideoFormat};
use crate::compose::{Guest, Layout, Placement};
use crate::jitter::HOLD_US_MIN;
use effort::Strain;
pub use effort::{Effort, EffortChange, EffortWhy};
use feed::Feed;
use stats::{Counts, Histogram};
pub use stats::{InputStats, MixerCpu, MixerStats, Percentiles};

/// Inputs at most; those past it are left out. More than a stage of 50 has.
pub const INPUTS_MAX: usize = 64;
/// A waiting thread looks at the clock at least this often, in case it isn't the system's.
const WAIT_MAX: Duration = Duration::from_millis(100);

/// What a mixer makes.
#[derive(Clone)]
pub struct MixerConfig {
    /// The program's picture.
    pub program: VideoFormat,
    /// How its tiles are laid out.
    pub layout: Layout,
    /// Bits per second of each encoded sound while it is mono; stereo gets twice that.
    pub sound_bitrate_bps: u32,
    /// How many speakers are heard at a time; 5 by design.
    pub heard_max: usize,
    /// Makes the encoders and decoders.
    pub codecs: Arc<dyn Codecs>,
}

/// One speaker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// By which its frames are pushed; unique.
    pub id: u64,
    /// Shown on its tile.
    pub name: String,
    /// Isn't heard, and has the mute mark, as has whoever's pictures come without sound.
    pub muted: bool,
    /// What it sends is a screen or a film: its picture is one for [`Layout::Share`], and its sound is kept in stereo.
    pub shares: bool,
    /// Is to get [`MixerOutput::MixMinus`].
    pub hears: bool,
}

/// What a mixer gives out. Sound is 20 ms a packet, mono; stereo while somebody is heard who shares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MixerOutput {
    /// The next program picture.
    Video {
        /// As the encoder made it, unmarked.
        picture: EncodedPicture,
        /// Local time: a whole step of the program's frame rate.
        captured_us: u64,
    },
    /// The next 20 ms of the program's sound.
    Sound {
        /// As the encoder made it, unmarked.
        packet: Bytes,
        /// Local time: a whole multiple of 20 ms.
        captured_us: u64,
        /// By RFC 6464.
        level: u8,
        /// Whose voices are in it, and how loud each is (RFC 6464).
        contributors: Vec<(u64, u8)>,
    },
    /// The next 20 ms for one input that hears: the program's sound without its own voice.
    MixMinus {
        /// For whom.
        id: u64,
        /// The program's own packet when the input's voice isn't in that.
        packet: Bytes,
        /// Local time: a whole multiple of 20 ms.
        captured_us: u64,
        /// By RFC 6464.
        level: u8,
        /// As in the program's sound, less its own.
        contributors: Vec<(u64, u8)>,
    },
    /// Whoever speaks has another tile now, and others may have: see [`Mixer::place`]. Or pictures are wanted at another
    /// rate: see [`Mixer::effort`].
    TilesMoved,
    /// The mixer does less work for its pictures than before, or more. With another size comes a key frame.
    Effort(EffortChange),
    /// An input can't be decoded before a key frame. Said at most once a second for each input.
    KeyWanted {
        /// Of whom.
        id: u64,
    },
}

/// Why a mixer could not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum MixerError {
    /// An encoder could not be made.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// The system refused a thread.
    #[error("a thread of the mixer could not be started: {0}")]
    Thread(#[from] io::Error),
}

/// A running mixer. Dropping it ends its threads, and waits for what they are just encoding or decoding.
pub struct Mixer {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// What all threads know.
struct Shared {
    codecs: Arc<dyn Codecs>,
    clock: Box<dyn Fn() -> u64 + Send + Sync>,
    output: Mutex<Box<dyn FnMut(MixerOutput) + Send>>,
    fps: u8,
    stage: Mutex<Arc<Stage>>,
    /// `None` once the mixer ends.
    orders: Mutex<Option<Orders>>,
    ordered: Condvar,
    playout_delay_us: AtomicU64,
    counts: Counts,
    times: Mutex<Times>,
    strain: Mutex<Strain>,
}

/// Who is mixed, in the stage's order, and who has which tile.
#[derive(Clone, Debug, Default)]
struct Stage {
    revision: u64,
    /// Of the canvas.
    size: (usize, usize),
    inputs: Vec<(Input, Arc<Feed>)>,
    layout: Layout,
    /// Dominant speakers, the last first.
    spoke: Vec<u64>,
    /// Whose pictures come without sound.
    mute: Vec<u64>,
    /// In the order in which they are drawn.
    tiles: Vec<(u64, Placement)>,
}

/// What the threads are to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Orders {
    started: bool,
    /// Capture time of what it says first.
    from_us: u64,
    /// It was silent until now: the next picture is a key frame.
    begins: bool,
    /// A key frame is wished for.
    key_wanted: bool,
    bitrate_bps: u32,
    /// Of the sound, if that is known.
    loss_percent: Option<u8>,
}

#[derive(Debug, Default)]
struct Times {
    compose_encode: Histogram,
    added_latency: Histogram,
}

/// A panic of the application's output leaves nothing of ours half done.
fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Mixer {
    /// Starts a silent mixer without inputs.
    ///
    /// `clock` is the local clock: microseconds since 1970 that never go back. `output` is given what the mixer
    /// makes; see the [module](self) for what it must not do.
    ///
    /// # Errors
    /// [`MixerError`] when a codec refuses the formats, or a thread can't be started.
    pub fn start(
        config: MixerConfig,
        clock: impl Fn() -> u64 + Send + Sync + 'static,
        output: impl FnMut(MixerOutput) + Send + 'static,
    ) -> Result<Mixer, MixerError> {
        let MixerConfig { program, layout, sound_bitrate_bps, heard_max, codecs } = config;
        let video = video::VideoProgram::new(Arc::clone(&codecs), &program)?;
        let sound = sound::SoundProgram::new(Arc::clone(&codecs), sound_bitrate_bps, heard_max)?;
        let shared = Arc::new(Shared::new(codecs, &program, layout, Box::new(clock), Box::new(output)));
        let mixer = Mixer { shared, threads: Mutex::default() };
        let video = mixer.spawn("mixer-video".to_owned(), move |shared| video::run(shared, video))?;
        lock(&mixer.threads).push(video);
        let sound = mixer.spawn("mixer-sound".to_owned(), move |shared| sound::run(shared, sound))?;
        lock(&mixer.threads).push(sound);
        Ok(mixer)
    }

    /// Sets who is mixed, in the order of tiles. Inputs that stay keep what they have, whatever else changes
    /// about them. Of an id that occurs twice the first counts; past [`INPUTS_MAX`] none does.
    ///
    /// # Errors
    /// [`MixerError::Thread`] when a decoder's thread can't be started; those who were mixed before still are.
    pub fn set_inputs(&self, inputs: Vec<Input>) -> Result<(), MixerError> {
        let mut threads = lock(&self.threads); // one change at a time
        threads.retain(|thread| !thread.is_finished());
        let before = self.shared.stage();
        let mut ids = BTreeSet::new();
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
            let own = Arc::clone(feed);
            match self.spawn(format!("mixer-in-{}", feed.id), move |shared| decode::run(shared, &own)) {
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

    /// Sets how tiles are laid out, without a key frame.
    pub fn set_layout(&self, layout: Layout) {
        self.shared.restage(|stage| stage.layout = layout);
    }

    /// The tile of an input: where its picture is, or, if it has none just now, one as large as it might get. `None` for
    /// whoever isn't mixed.
    pub fn place(&self, id: u64) -> Option<Placement> {
        self.shared.stage().feed(id).map(|feed| feed.tile())
    }

    /// Gives the mixer a frame of an input, complete since `arrived_us` of the local clock. Frames of an input
    /// come in order. One of nobody known, and pictures past the limit of the input's queue, are dropped.
    pub fn push(&self, id: u64, frame: Frame, arrived_us: u64) {
        if let Some(feed) = self.shared.stage().feed(id) {
            feed.push(frame, arrived_us);
        }
    }

    /// Sets what to add to an input's capture times to get the local clock, microseconds, as measured by its
    /// link; `None` when nobody measures. See [`ClockMap`](crate::jitter::ClockMap).
    pub fn set_clock_offset(&self, id: u64, offset_us: Option<i64>) {
        if let Some(feed) = self.shared.stage().feed(id) {
            feed.set_clock_offset_us(offset_us);
        }
    }

    /// Sets the round trip to an input, microseconds: how long a repair takes.
    pub fn set_rtt(&self, id: u64, rtt_us: u64) {
        if let Some(feed) = self.shared.stage().feed(id) {
            feed.set_rtt_us(rtt_us);
        }
    }

    /// Begins to compose, mix and encode, with a key frame. Until now the inputs came by way of another mixer;
    /// how regular that was says nothing any more. The first picture and sound were captured no earlier than
    /// `from_us`: 0, or behind what was last in the program.
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
            // nobody has heard the program yet, so it may jump
            self.shared.set_delay_us(sound::wanted_delay_us(now_us, &stage));
        }
    }

    /// Ceases to compose, mix and encode; decoders run on.
    pub fn stop(&self) {
        self.order(|orders| orders.started = false);
    }

    /// Asks for a key frame. Several wishes within a second are one.
    pub fn want_key(&self) {
        self.order(|orders| orders.key_wanted = true);
    }

    /// Sets the program's rate, bits per second of video.
    pub fn set_bitrate(&self, bitrate_bps: u32) {
        self.order(|orders| orders.bitrate_bps = bitrate_bps);
    }

    /// Tells how many of 100 packets of sound get lost on the way.
    pub fn set_loss(&self, percent: u8) {
        self.order(|orders| orders.loss_percent = Some(percent));
    }

    /// Tells that the clock has jumped: one that isn't the system's is looked at again at once.
    pub fn clock_jumped(&self) {
        let _orders = lock(&self.shared.orders); // whoever looked before waits by now
        self.shared.ordered.notify_all();
    }

    /// How much work the mixer spends on its pictures now.
    pub fn effort(&self) -> Effort {
        lock(&self.shared.strain).effort
    }

    /// Whether what the mixer says has been less than what was asked of it for a while, for want of time: its rate, or its
    /// size. False of a silent one.
    pub fn falls_short(&self) -> bool {
        let started = self.shared.orders().is_some_and(|orders| orders.started);
        started && lock(&self.shared.strain).falls_short((self.shared.clock)())
    }

    /// What the mixer did so far.
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
            cpu: counts.cpu(),
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

    /// Another stage, laid out anew.
    fn changed(&self, change: impl FnOnce(&mut Stage)) -> Stage {
        let mut next = self.clone();
        change(&mut next);
        next.revision += 1;
        next.lay_out();
        next
    }

    /// Gives each input its tile, and its decoder the size to scale to: those without a tile that of the smallest one, since
    /// they may get one at any time.
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
            // A panic in it (of a codec, or of the output) has been reported where it happened.
            drop(thread.join());
        }
    }
}

impl Shared {
    /// Of a silent mixer without inputs.
    fn new(
        codecs: Arc<dyn Codecs>,
        program: &VideoFormat,
        layout: Layout,
        clock: Box<dyn Fn() -> u64 + Send + Sync>,
        output: Box<dyn FnMut(MixerOutput) + Send>,
    ) -> Shared {
        let size = (usize::from(program.width), usize::from(program.height));
        Shared {
            codecs,
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

    fn give(&self, output: MixerOutput) {
        (lock(&self.output))(output);
    }

    fn stage(&self) -> Arc<Stage> {
        Arc::clone(&lock(&self.stage))
    }

    /// Changes the stage and lays it out anew.
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

    /// What to do; `None` when the mixer ends.
    fn orders(&self) -> Option<Orders> {
        *lock(&self.orders)
    }

    /// What to do, wishes included, which are forgotten then.
    fn take_orders(&self) -> Option<Orders> {
        let mut orders = lock(&self.orders);
        let taken = *orders;
        if let Some(orders) = &mut *orders {
            (orders.begins, orders.key_wanted) = (false, false);
        }
        taken
    }

    /// Waits until the clock says so; false when it was woken before, or it is time to look again.
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
