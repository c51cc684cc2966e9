//! The program's picture: at each step the mixer redraws the tiles that changed, and encodes the canvas once.

use plenary_proto::ordered::OrderedMap;
use std::sync::Arc;
use std::time::Instant;

use plenary_proto::app::Effort;

use super::effort::{EffortChange, Governor, Went, Work as _};
use super::feed::Ready;
use super::pace::{Step, Steps};
use super::stats::{CpuMeter, Spent, count};
use super::{MixerOutput, MixerPart, Orders, Shared, Stage, lock};
use crate::codec::{CodecError, Codecs, EncodedPicture, VideoEncoder, VideoFormat};
use crate::compose::{Composer, Tile};
use crate::keys::KeyFrames;

/// Maximum age of a picture on its tile, after which the tile shows initials.
const PICTURE_US_MAX: u64 = 2_000_000;
/// Maximum number of steps that the encoder may be late before steps are skipped: 67 ms at 30 a second. A
/// guess.
const BEHIND_MAX: u64 = 2;

/// Makes program pictures until the mixer ends, or until it can't.
pub(super) fn run(shared: &Shared, format: &VideoFormat) {
    shared.keep_running(MixerPart::Compositor, || {
        // the guard has reported why there is no encoder
        let Ok(program) = VideoProgram::new(Arc::new(shared.codecs.clone()), format) else { return };
        let (size, mut cpu) = (program.size(), CpuMeter::new(&shared.counts));
        let mut turns = Turns::new(shared, program);
        if shared.stage().size != size {
            // after a panic at a lower effort
            *lock(&shared.strain) = turns.governor.strain();
            shared.restage(|stage| stage.size = size);
            shared.give(MixerOutput::TilesMoved);
        }
        while turns.turn(shared, &mut cpu) {}
    });
}

/// Makes program pictures in time, at the rate that the effort allows.
pub(super) struct Turns {
    program: VideoProgram,
    steps: Steps,
    governor: Governor,
    /// Steps skipped since the last picture.
    skipped: u64,
}

impl Turns {
    pub(super) fn new(shared: &Shared, program: VideoProgram) -> Turns {
        let steps = Steps::new(u64::from(shared.fps), BEHIND_MAX);
        Turns { program, steps, governor: Governor::new(), skipped: 0 }
    }

    /// Waits for the next step, and makes its picture if it is due. Returns false when the mixer ends.
    pub(super) fn turn(&mut self, shared: &Shared, cpu: &mut CpuMeter<'_>) -> bool {
        let Some(orders) = shared.orders() else { return false };
        let step = self.plan(shared, orders.started);
        if !shared.wait_until(step.due_us) {
            return true; // the playout delay or the orders may have changed
        }
        let Some(orders) = shared.take_orders() else { return false };
        let (begun, begun_us) = (Instant::now(), (shared.clock)());
        match self.program.step(step.captured_us, &shared.stage(), &orders, cpu) {
            Ok(Some(picture)) => {
                let added_us = (shared.clock)().saturating_sub(step.due_us);
                {
                    let mut times = lock(&shared.times);
                    times.added_latency.record(added_us);
                    times.compose_encode.record(begun.elapsed().as_micros() as u64);
                }
                count(&shared.counts.encoded, 1);
                shared.give(MixerOutput::Video { picture, captured_us: step.captured_us });
            }
            Ok(None) => {}
            Err(error) => {
                tracing::debug!(%error, "a program picture could not be encoded");
                count(&shared.counts.codec_errors, 1);
            }
        }
        count(&shared.counts.turns, 1);
        self.steps.done();
        self.govern(shared, orders.started, begun_us);
        cpu.lap(Spent::Rest); // all the work of a stopped mixer
        true
    }

    /// Returns the next step, and counts the steps skipped before it.
    pub(super) fn plan(&mut self, shared: &Shared, started: bool) -> Step {
        let step = self.steps.next((shared.clock)(), shared.delay_us());
        if started {
            count(&shared.counts.skipped, step.skipped);
            self.skipped += step.skipped;
        }
        step
    }

    /// Adjusts the effort to the available time, by the duration of the picture that was begun at `begun_us`.
    fn govern(&mut self, shared: &Shared, started: bool, begun_us: u64) {
        let overruns = shared.stage().inputs.iter().map(|(_, feed)| feed.take_overruns()).sum();
        let skipped = std::mem::take(&mut self.skipped);
        if !started {
            self.governor.rest();
            return;
        }
        let now_us = (shared.clock)();
        let busy_us = now_us.saturating_sub(begun_us);
        let change = self.governor.went(Went { now_us, busy_us, skipped, overruns });
        if let Some(change) = change {
            self.change(shared, change, now_us);
        }
        *lock(&shared.strain) = self.governor.strain();
    }

    fn change(&mut self, shared: &Shared, change: EffortChange, now_us: u64) {
        let before = self.program.effort;
        if let Err(error) = self.program.set_effort(change.effort) {
            tracing::warn!(%error, "the mixer's effort stays at {before}, not {}", change.effort);
            count(&shared.counts.codec_errors, 1);
            self.governor.refused(before, now_us);
            return;
        }
        tracing::info!("the mixer's effort is {} now: {}", change.effort, change.why);
        self.steps.set_stride(u64::from(change.effort.steps_per_picture()));
        let size = self.program.size();
        *lock(&shared.strain) = self.governor.strain();
        shared.give(MixerOutput::Effort(change));
        if shared.stage().size != size {
            shared.restage(|stage| stage.size = size);
        }
        shared.give(MixerOutput::TilesMoved); // input pictures of another size or rate are needed
    }
}

/// The canvas, the pictures on it, and the encoder.
pub(super) struct VideoProgram {
    codecs: Arc<dyn Codecs>,
    /// The configured format, with the bitrate at the start.
    full: VideoFormat,
    effort: Effort,
    composer: Composer,
    encoder: Box<dyn VideoEncoder>,
    /// The picture that each input shows.
    shown: OrderedMap<u64, Shown>,
    /// Revision of the stage that the composer has; `None` when it has none.
    stage_revision: Option<u64>,
    /// The ordered bitrate. At the lowest effort the encoder gets only half of it.
    bitrate_bps: u32,
    keys: KeyFrames,
}

struct Shown {
    ready: Ready,
    on_canvas: bool,
}

impl VideoProgram {
    pub(super) fn new(codecs: Arc<dyn Codecs>, format: &VideoFormat) -> Result<VideoProgram, CodecError> {
        Ok(VideoProgram {
            encoder: codecs.program_encoder(format)?,
            codecs,
            full: *format,
            effort: Effort::Full,
            composer: Composer::new(usize::from(format.width), usize::from(format.height)),
            shown: OrderedMap::new(),
            stage_revision: None,
            bitrate_bps: format.bitrate_bps,
            keys: KeyFrames::default(),
        })
    }

    /// Changes the effort from the next picture on. A change of size recreates the encoder, so it comes with
    /// a keyframe.
    ///
    /// # Errors
    /// [`CodecError`] when the codecs refuse that size; then nothing changes.
    pub(super) fn set_effort(&mut self, effort: Effort) -> Result<(), CodecError> {
        let format = self.format(effort);
        if (usize::from(format.width), usize::from(format.height)) != self.size() {
            self.encoder = self.codecs.program_encoder(&format)?;
            self.composer = Composer::new(usize::from(format.width), usize::from(format.height));
            self.shown.values_mut().for_each(|shown| shown.on_canvas = false);
            self.stage_revision = None;
            self.keys.begin_anew();
        } else {
            self.encoder.set_frame_rate(format.fps);
            self.encoder.set_bitrate(format.bitrate_bps);
        }
        self.encoder.set_plain(effort.is_plain());
        self.effort = effort;
        Ok(())
    }

    /// Returns the format at that effort, at the ordered bitrate.
    fn format(&self, effort: Effort) -> VideoFormat {
        effort.format(&VideoFormat { bitrate_bps: self.bitrate_bps, ..self.full })
    }

    /// Returns the size of the canvas.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.composer.picture().width(), self.composer.picture().height())
    }

    /// Makes the program picture of `captured_us`. A stopped mixer draws nothing, but still takes the inputs'
    /// pictures, so that its first picture is right.
    pub(super) fn step(
        &mut self,
        captured_us: u64,
        stage: &Stage,
        orders: &Orders,
        cpu: &mut CpuMeter<'_>,
    ) -> Result<Option<EncodedPicture>, CodecError> {
        self.follow(captured_us, stage);
        if orders.begins {
            self.keys.begin_anew();
        }
        if !orders.started || captured_us < orders.from_us {
            return Ok(None);
        }
        cpu.lap(Spent::Rest);
        self.compose(captured_us, stage);
        cpu.lap(Spent::Scale);
        if self.bitrate_bps != orders.bitrate_bps {
            self.bitrate_bps = orders.bitrate_bps;
            self.encoder.set_bitrate(self.format(self.effort).bitrate_bps);
        }
        if orders.key_wanted {
            self.keys.want();
        }
        let key = self.keys.is_due(captured_us);
        let view = self.composer.picture().view();
        let pixels = (view.width * view.height) as u64;
        let picture = self.encoder.encode(&view, key);
        let took = cpu.lap(Spent::Encode);
        cpu.counts.encoded(took, pixels);
        let picture = picture?;
        if picture.as_ref().is_some_and(|picture| picture.key) {
            self.keys.made(captured_us);
        }
        Ok(picture)
    }

    /// Returns the canvas as composed last.
    #[cfg(test)]
    pub(super) fn canvas(&self) -> &crate::Picture {
        self.composer.picture()
    }

    /// Returns how many tiles were drawn.
    #[cfg(test)]
    pub(super) fn drawn(&self) -> u64 {
        self.composer.drawn()
    }

    /// Updates the tiles from the stage, and takes the newest picture of each input.
    fn follow(&mut self, captured_us: u64, stage: &Stage) {
        if self.stage_revision != Some(stage.revision) {
            self.stage_revision = Some(stage.revision);
            let tiles = stage.tiles.iter().filter_map(|&(id, place)| {
                let input = stage.input(id)?;
                let muted = input.muted || stage.mute.contains(&id);
                Some(Tile { id, name: input.name.clone(), muted, place })
            });
            self.composer.set_tiles(&tiles.collect::<Vec<_>>(), stage.layout.background());
            self.shown.retain(|id, _| stage.feed(*id).is_some());
        }
        for (input, feed) in &stage.inputs {
            if let Some(ready) = feed.take_due(captured_us)
                && let Some(before) = self.shown.insert(input.id, Shown { ready, on_canvas: false })
            {
                feed.recycle(before.ready.picture);
            }
        }
    }

    fn compose(&mut self, captured_us: u64, stage: &Stage) {
        for (id, _) in &stage.tiles {
            let recent =
                |shown: &&mut Shown| captured_us.saturating_sub(shown.ready.captured_us) <= PICTURE_US_MAX;
            match self.shown.get_mut(id).filter(recent) {
                Some(shown) if shown.on_canvas && !self.composer.needs(*id) => {}
                Some(shown) => {
                    self.composer.draw(*id, &shown.ready.picture.view());
                    shown.on_canvas = true;
                }
                None => {
                    self.composer.switch_off(*id);
                    if let Some(shown) = self.shown.get_mut(id) {
                        shown.on_canvas = false;
                    }
                }
            }
        }
    }
}
