//! Queues of one input, between the network and the program's picture and sound.
//!
//! A [`Feed`] is shared by the thread that pushes frames, the input's decoder, and the two threads that make
//! the program. Encoded pictures wait in a queue of [`FRAMES_QUEUED_MAX`], decoded ones in a queue of
//! [`PICTURES_READY_MAX`]; sound waits in a jitter buffer.
//!
//! When the queue of encoded pictures is full, it is cut to the newest keyframe: the program then shows the
//! last good picture, never a broken one. The time that the queue took to fill tells a slow decoder from a
//! flood, which fills it at once.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard};

use plenary_proto::StreamId;
use plenary_proto::identity::MediaKind;

use super::lock;
use super::stats::InputStats;
use crate::compose::Placement;
use crate::jitter::{ClockMap, JitterBuffer, JitterCounts, Pulled};
use crate::{Frame, Picture};

/// Maximum number of encoded pictures that wait for the decoder.
pub(super) const FRAMES_QUEUED_MAX: usize = 64;
/// Maximum bytes of the encoded pictures that wait for the decoder: eight access units of the maximum length.
const BYTES_QUEUED_MAX: usize = 8 * crate::payload::ACCESS_UNIT_LEN_MAX;
/// Maximum number of decoded pictures that wait for their playout time: 500 ms at 30 a second, more than the
/// longest playout delay.
pub(super) const PICTURES_READY_MAX: usize = 16;
/// Maximum number of picture buffers kept for reuse.
const SPARE_MAX: usize = 4;
/// Minimum interval between two keyframe requests.
const KEY_INTERVAL_US: u64 = 1_000_000;
/// Minimum time in which a queue fills when the decoder is too slow; a queue that fills faster is flooded. A
/// guess: 64 pictures a second are more than the usual rate.
const OVERRUN_US_MIN: u64 = 1_000_000;
/// Time after the last sound frame for which the input counts for the playout delay. A guess.
const SOUND_LIVE_US: u64 = 2_000_000;
/// Time without sound after which an input with pictures counts as mute. A guess: encoders with DTX send a
/// packet every 400 ms during silence (libopus).
const MUTE_US: u64 = 1_000_000;

/// Frames of one input.
#[derive(Debug)]
pub(super) struct Feed {
    pub(super) id: u64,
    state: Mutex<State>,
    changed: Condvar,
}

/// The decoder's next task.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Work {
    Decode(Frame),
    RequestKeyframe,
    /// The input left.
    End,
}

/// What to play for 20 ms.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) pulled: Pulled,
    /// See [`JitterBuffer::early_us`].
    pub(super) early_us: Option<i64>,
    /// See [`JitterBuffer::level`].
    pub(super) level: Option<u8>,
}

/// A decoded picture, scaled to its tile.
#[derive(Debug)]
pub(super) struct Ready {
    /// Capture time on the local clock.
    pub(super) captured_us: u64,
    pub(super) picture: Picture,
}

#[derive(Debug, Default)]
struct State {
    closed: bool,
    clock: ClockMap,
    rtt_us: u64,
    tile: Placement,

    /// Arrival of the first frame.
    since_us: Option<u64>,
    video_arrived_us: Option<u64>,
    /// Stream and number of the newest picture that arrived.
    newest_video: Option<(StreamId, u32)>,
    /// Encoded pictures, each with its arrival time on the local clock.
    queue: VecDeque<(u64, Frame)>,
    queue_bytes: usize,
    /// How often the queue was cut because the decoder was too slow, since the last [`Feed::take_overruns`].
    overruns: u64,
    /// A keyframe arrived, and no picture was dropped since.
    decodable: bool,
    key_due: bool,
    key_asked_us: Option<u64>,
    ready: VecDeque<Ready>,
    spare: Vec<Picture>,
    /// Capture time up to which pictures were taken.
    taken_us: u64,

    sound_stream: Option<StreamId>,
    sound: JitterBuffer,
    sound_arrived_us: Option<u64>,
    /// Counts of the previous sound streams.
    sound_before: JitterCounts,

    counts: InputStats,
}

impl Feed {
    pub(super) fn new(id: u64) -> Feed {
        Feed { id, state: Mutex::default(), changed: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Takes a frame; never blocks on decoding or encoding.
    pub(super) fn push(&self, frame: Frame, arrived_us: u64) {
        let mut state = self.state();
        state.clock.observe(frame.identity.captured_us, arrived_us);
        state.since_us = state.since_us.or(Some(arrived_us));
        match frame.kind {
            MediaKind::Video => {
                state.video_arrived_us = Some(arrived_us);
                state.push_video(frame, arrived_us);
                drop(state);
                self.changed.notify_one();
            }
            MediaKind::Sound => state.push_sound(frame, arrived_us),
        }
    }

    /// Returns the decoder's next task, if there is one.
    #[cfg(test)]
    pub(super) fn poll(&self, now_us: u64) -> Option<Work> {
        self.state().poll(now_us)
    }

    /// Waits until there is a task for the decoder.
    pub(super) fn wait(&self, clock: &(dyn Fn() -> u64 + Send + Sync)) -> Work {
        let mut state = self.state();
        loop {
            if let Some(work) = state.poll(clock()) {
                return work;
            }
            state = self.changed.wait(state).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
    }

    /// Adds the decoded picture of a frame; `captured_us` is the capture time on the sender's clock.
    pub(super) fn decoded(&self, captured_us: u64, picture: Picture) {
        let mut state = self.state();
        let captured_us = state.clock.to_local(captured_us);
        state.counts.decoded_frames += 1;
        if captured_us < state.taken_us {
            state.counts.late_frames += 1;
        }
        state.ready.push_back(Ready { captured_us, picture });
        if state.ready.len() > PICTURES_READY_MAX
            && let Some(oldest) = state.ready.pop_front()
        {
            state.recycle(oldest.picture);
        }
    }

    /// Handles a decoder error: drops the queue up to the next keyframe, and requests one if none waits.
    pub(super) fn failed(&self) {
        let mut state = self.state();
        state.counts.failed_frames += 1;
        let next_key = state.queue.iter().position(|(_, frame)| frame.identity.key);
        state.drop_to_key(next_key);
    }

    /// Returns how often the queue was cut because the decoder was too slow, since the last call.
    pub(super) fn take_overruns(&self) -> u64 {
        std::mem::take(&mut self.state().overruns)
    }

    /// Requests a keyframe, since the decoder took a frame without an error and returned no picture.
    pub(super) fn nothing_decoded(&self) {
        self.state().key_due = true;
    }

    /// Returns the newest picture captured by `program_us`, unless an earlier call returned it.
    pub(super) fn take_due(&self, program_us: u64) -> Option<Ready> {
        let mut state = self.state();
        state.taken_us = program_us;
        let mut newest: Option<Ready> = None;
        while state.ready.front().is_some_and(|ready| ready.captured_us <= program_us) {
            if let Some(passed) = std::mem::replace(&mut newest, state.ready.pop_front()) {
                state.recycle(passed.picture);
            }
        }
        newest
    }

    /// Gives a picture's buffer back for reuse.
    pub(super) fn recycle(&self, picture: Picture) {
        self.state().recycle(picture);
    }

    /// Returns a picture buffer.
    pub(super) fn spare(&self) -> Picture {
        self.state().spare.pop().unwrap_or_else(|| Picture::black(2, 2))
    }

    /// Returns what to play for the 20 ms captured from `captured_us + ahead_us` on, pulled `ahead_us` early;
    /// see [`JitterBuffer::pull`].
    pub(super) fn pull_sound(&self, captured_us: u64, ahead_us: u64, quiet: bool) -> Taken {
        let mut state = self.state();
        state.sound.set_ahead_us(ahead_us);
        let pulled = state.sound.pull(captured_us.saturating_add(ahead_us), quiet);
        Taken { pulled, early_us: state.sound.early_us(), level: state.sound.level() }
    }

    /// Returns the level that the waiting sound states; see [`JitterBuffer::level_ahead`].
    pub(super) fn level_ahead(&self) -> Option<u8> {
        self.state().sound.level_ahead()
    }

    /// Returns the counts of the present sound stream.
    #[cfg(test)]
    pub(super) fn sound_counts(&self) -> JitterCounts {
        self.state().sound.counts()
    }

    /// Returns the playout delay that this input's sound needs; `None` when no sound arrived lately.
    pub(super) fn delay_us(&self, now_us: u64) -> Option<u64> {
        let state = self.state();
        let live = state
            .sound_arrived_us
            .is_some_and(|arrived_us| now_us.saturating_sub(arrived_us) < SOUND_LIVE_US);
        live.then(|| state.sound.delay_us())
    }

    /// Returns whether pictures arrive without sound: the speaker's sound is switched off.
    pub(super) fn is_mute(&self, now_us: u64) -> bool {
        let state = self.state();
        let lately = |at_us: Option<u64>| at_us.is_some_and(|at_us| now_us.saturating_sub(at_us) < MUTE_US);
        !lately(state.since_us) && lately(state.video_arrived_us) && !lately(state.sound_arrived_us)
    }

    /// Returns the tile that pictures are scaled to.
    pub(super) fn tile(&self) -> Placement {
        self.state().tile
    }

    pub(super) fn set_tile(&self, tile: Placement) {
        self.state().tile = tile;
    }

    pub(super) fn set_clock_offset_us(&self, offset_us: Option<i64>) {
        self.state().clock.set_offset_us(offset_us);
    }

    pub(super) fn set_rtt_us(&self, rtt_us: u64) {
        let mut state = self.state();
        state.rtt_us = rtt_us;
        state.sound.set_rtt_us(rtt_us);
    }

    /// Discards the jitter statistics: from now on frames come directly from the speaker.
    pub(super) fn path_changed(&self, now_us: u64) {
        self.state().sound.path_changed(now_us);
    }

    /// Ends the decoder.
    pub(super) fn close(&self) {
        self.state().closed = true;
        self.changed.notify_all();
    }

    pub(super) fn stats(&self) -> InputStats {
        let state = self.state();
        let (before, sound) = (state.sound_before, state.sound.counts());
        InputStats {
            id: self.id,
            late_frames: state.counts.late_frames + before.late + sound.late,
            concealed_frames: before.concealed + sound.concealed,
            ..state.counts
        }
    }
}

impl State {
    fn push_video(&mut self, frame: Frame, arrived_us: u64) {
        let identity = frame.identity;
        let place = (identity.stream, identity.number);
        match self.newest_video {
            Some((stream, number)) if stream == identity.stream && identity.number <= number => {
                self.counts.dropped_frames += 1;
                return;
            }
            Some((stream, _)) if stream != identity.stream => self.decodable = false,
            _ => {}
        }
        self.newest_video = Some(place);
        if identity.key {
            (self.decodable, self.key_due) = (true, false);
        }
        if !self.decodable {
            self.counts.dropped_frames += 1;
            self.key_due = true;
            return;
        }
        self.queue_bytes += frame.data.len();
        self.queue.push_back((arrived_us, frame));
        if self.queue.len() > FRAMES_QUEUED_MAX || self.queue_bytes > BYTES_QUEUED_MAX {
            let oldest_us = self.queue.front().map_or(arrived_us, |(oldest_us, _)| *oldest_us);
            self.overruns += u64::from(arrived_us.saturating_sub(oldest_us) >= OVERRUN_US_MIN);
            let newest_key = self.queue.iter().rposition(|(_, frame)| frame.identity.key);
            self.drop_to_key(newest_key.filter(|&index| index > 0));
        }
    }

    /// Drops the queue in front of the keyframe at `index`. Without an index drops the whole queue and
    /// requests a keyframe.
    fn drop_to_key(&mut self, index: Option<usize>) {
        let kept = self.queue.split_off(index.unwrap_or(self.queue.len()));
        self.counts.dropped_frames += self.queue.len() as u64;
        self.queue = kept;
        self.queue_bytes = self.queue.iter().map(|(_, frame)| frame.data.len()).sum();
        self.decodable = index.is_some();
        self.key_due |= !self.decodable;
    }

    fn push_sound(&mut self, frame: Frame, arrived_us: u64) {
        let identity = frame.identity;
        if self.sound_stream != Some(identity.stream) {
            let counts = std::mem::take(&mut self.sound).counts();
            self.sound_before.late += counts.late;
            self.sound_before.concealed += counts.concealed;
            self.sound.set_rtt_us(self.rtt_us);
            self.sound_stream = Some(identity.stream);
        }
        self.sound_arrived_us = Some(arrived_us);
        let captured_us = self.clock.to_local(identity.captured_us);
        self.sound.push_said(identity.number, captured_us, frame.data, frame.level, arrived_us);
    }

    fn poll(&mut self, now_us: u64) -> Option<Work> {
        if self.closed {
            return Some(Work::End);
        }
        let may_ask =
            self.key_asked_us.is_none_or(|asked_us| now_us.saturating_sub(asked_us) >= KEY_INTERVAL_US);
        if self.key_due && may_ask {
            self.key_due = false;
            self.key_asked_us = Some(now_us);
            return Some(Work::RequestKeyframe);
        }
        let (_, frame) = self.queue.pop_front()?;
        self.queue_bytes -= frame.data.len();
        Some(Work::Decode(frame))
    }

    fn recycle(&mut self, picture: Picture) {
        if self.spare.len() < SPARE_MAX {
            self.spare.push(picture);
        }
    }
}
