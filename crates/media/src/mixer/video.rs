//! The program's picture: each step, what changed is composed, and all is encoded once.

use std::collections::BTreeMap;
use std::time::Instant;

use super::feed::Ready;
use super::pace::Steps;
use super::stats::{CpuMeter, Spent, count};
use super::{MixerOutput, Orders, Shared, Stage, lock};
use crate::codec::{CodecError, EncodedPicture, VideoEncoder, VideoFormat};
use crate::compose::{Composer, Tile};
use crate::keys::KeyFrames;

/// A picture older than this gives way to initials.
const PICTURE_US_MAX: u64 = 2_000_000;
/// Steps that the encoder may be late before some are left out: 67 ms at 30 a second. A guess.
const BEHIND_MAX: u64 = 2;

/// Makes pictures until the mixer ends.
pub(super) fn run(shared: &Shared, mut program: VideoProgram) {
    let mut steps = Steps::new(u64::from(shared.fps), BEHIND_MAX);
    let mut cpu = CpuMeter::new(&shared.counts);
    while let Some(orders) = shared.orders() {
        let step = steps.next((shared.clock)(), shared.delay_us());
        count(&shared.counts.skipped, if orders.speaking { step.skipped } else { 0 });
        if !shared.wait_until(step.due_us) {
            continue; // the delay or the orders changed
        }
        let Some(orders) = shared.take_orders() else { return };
        let begun = Instant::now();
        match program.step(step.captured_us, &shared.stage(), &orders, &mut cpu) {
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
        steps.done();
        cpu.lap(Spent::Rest); // of a silent mixer that is all
    }
}

/// The canvas, what is on it, and the encoder.
pub(super) struct VideoProgram {
    composer: Composer,
    encoder: Box<dyn VideoEncoder>,
    /// What each input shows.
    shown: BTreeMap<u64, Shown>,
    stage_revision: u64,
    bitrate_bps: u32,
    keys: KeyFrames,
}

struct Shown {
    ready: Ready,
    on_canvas: bool,
}

impl VideoProgram {
    pub(super) fn new(format: &VideoFormat, encoder: Box<dyn VideoEncoder>) -> VideoProgram {
        VideoProgram {
            composer: Composer::new(usize::from(format.width), usize::from(format.height)),
            encoder,
            shown: BTreeMap::new(),
            stage_revision: 0,
            bitrate_bps: format.bitrate_bps,
            keys: KeyFrames::default(),
        }
    }

    /// The picture of `captured_us`. When the mixer is silent nothing is drawn, but pictures are followed, so
    /// that the first one drawn is right.
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
        if !orders.speaking || captured_us < orders.from_us {
            return Ok(None);
        }
        cpu.lap(Spent::Rest);
        self.compose(captured_us, stage);
        cpu.lap(Spent::Scale);
        if self.bitrate_bps != orders.bitrate_bps {
            self.bitrate_bps = orders.bitrate_bps;
            self.encoder.set_bitrate(orders.bitrate_bps);
        }
        if orders.key_wanted {
            self.keys.want();
        }
        let key = self.keys.is_due(captured_us);
        let picture = self.encoder.encode(&self.composer.picture().view(), key);
        cpu.lap(Spent::Encode);
        let picture = picture?;
        if picture.as_ref().is_some_and(|picture| picture.key) {
            self.keys.made(captured_us);
        }
        Ok(picture)
    }

    /// What was composed last.
    #[cfg(test)]
    pub(super) fn canvas(&self) -> &crate::Picture {
        self.composer.picture()
    }

    /// How many tiles were drawn.
    #[cfg(test)]
    pub(super) fn drawn(&self) -> u64 {
        self.composer.drawn()
    }

    /// Takes over who is on stage, and each input's newest picture.
    fn follow(&mut self, captured_us: u64, stage: &Stage) {
        if self.stage_revision != stage.revision {
            self.stage_revision = stage.revision;
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
