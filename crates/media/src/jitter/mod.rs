//! Jitter buffer for one speaker's sound, played in steps of 20 ms.
//!
//! [`JitterBuffer::push`] takes frames in any order. [`JitterBuffer::pull`] is called once per 20 ms of
//! playback, with the capture time that is due, and returns the action: decode a packet, conceal a loss, or
//! be silent. The buffer estimates its delay from the arrival times ([`JitterBuffer::delay_us`]); the player
//! subtracts that delay, or a longer one shared by several speakers, from the current time. All times are in
//! the local clock; [`ClockMap`] converts a sender's capture times.
//!
//! Playback follows frame numbers; capture times only set the pace. When they deviate by 20 ms from the time
//! pulled, because a clock jumped or a path changed, the buffer skips a frame or conceals an extra one. It
//! does so in a quiet moment or where a frame is missing anyway; beyond [`SKEW_US_MAX`] it corrects the
//! playback at any moment. A player that tracks the drift ([`JitterBuffer::early_us`]) and resamples the
//! decoded sound keeps the deviation below that.
//!
//! With DTX a speaker omits silent frames (RFC 7587, 3.1.3). Omitted frames have no numbers, so none is
//! missing. A packet of one or two bytes marks the start of a silence, the next frame's capture time marks
//! its end. Until then the silence continues, for a second at most, and its steps count as neither late nor
//! lost.

mod clock_map;
mod delay;

use plenary_proto::ordered::OrderedMap;

use bytes::Bytes;
use plenary_proto::identity::opus::UNMARKED_LEN_MAX;

pub use clock_map::{ClockMap, RecentLeast, TRANSIT_US_MAX};
use delay::Delay;
pub use delay::{HOLD_US_MAX, HOLD_US_MIN};

use crate::SOUND_FRAME_US;
use crate::level::LEVEL_SILENT;

/// Maximum frames held, 2.5 s: ten times the longest delay. At the limit the buffer drops the oldest frames.
pub const FRAMES_HELD_MAX: usize = 128;
/// Largest deviation from the due time, in microseconds; beyond it the buffer corrects sound even at an
/// audible moment. Two rounds of Opus and the limiter add 14 ms, and a program's picture is up to 33 ms old,
/// so sound stays within 40 ms of the speaker's lips.
pub const SKEW_US_MAX: i64 = 22_000;
/// Largest gap in frame numbers treated as loss: 1 s. A larger one restarts playback. A guess.
const GAP_MAX: u32 = 50;
/// Maximum consecutive concealed frames before silence. libopus fades its concealment out within 100 ms.
const CONCEALED_MAX: u32 = 5;
const FRAME_US: i64 = SOUND_FRAME_US as i64;
/// Longest DTX pause in steps: 1 s. After that the speaker counts as gone, since a speaker in DTX sends an
/// update each 400 ms.
const PAUSE_MAX: u32 = 50;
/// Tolerance at the start of playback: it begins with the frame nearest to its due time.
const NEAREST_US: i64 = FRAME_US / 2;

/// Action for 20 ms of playback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pulled {
    /// Decode this packet.
    Packet(Bytes),
    /// Conceal a lost frame.
    Lost {
        /// The successor of the lost packet, if it has arrived: it may carry an FEC copy.
        next: Option<Bytes>,
    },
    /// DTX pause: the speaker was silent and sent no frame. Continue with the previous background sound, as
    /// for a loss.
    Pause,
    /// Play digital silence: the speaker is mute, or gone.
    Silence,
}

/// Counters of a jitter buffer since its creation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JitterCounts {
    /// Frames that arrived after their due time.
    pub late: u64,
    /// Frames concealed because one was missing.
    pub concealed: u64,
    /// Frames dropped to catch up, or because the buffer was full.
    pub skipped: u64,
    /// Extra frames concealed to slow down.
    pub inserted: u64,
}

/// Jitter buffer of one speaker's sound.
#[derive(Debug, Default)]
pub struct JitterBuffer {
    held: OrderedMap<u32, HeldPacket>,
    /// Number of the frame to play next; `None` while nothing plays.
    next: Option<u32>,
    /// Consecutive steps without a frame.
    missing: u32,
    /// Whether the last frame played marks the start of a silence.
    fell_silent: bool,
    /// Steps since the last frame of this silence.
    paused: u32,
    /// Level announced with the last packet played.
    said: Option<u8>,
    newest: Option<u32>,
    /// Number and capture time of the newest frame that carries a capture time of its own.
    newest_timed: Option<(u32, u64)>,
    /// Frames captured before this time took the previous path, and don't count in the delay estimate.
    judged_from_us: u64,
    /// Capture time minus pulled time of the packet returned last; `None` when the last pull returned no
    /// packet, or a silence marker.
    early_us: Option<i64>,
    /// Level of the last pull: that of its packet, or in a pause of the last packet played; otherwise silent.
    level: Option<u8>,
    delay: Delay,
    counts: JitterCounts,
}

#[derive(Debug)]
struct HeldPacket {
    captured_us: u64,
    packet: Bytes,
    level: Option<u8>,
}

impl JitterBuffer {
    /// Creates an empty buffer for one stream; the stream's frame numbers never restart.
    pub fn new() -> JitterBuffer {
        JitterBuffer::default()
    }

    /// Takes the frame `number`, with its capture and arrival times in the local clock. Duplicates are
    /// ignored.
    pub fn push(&mut self, number: u32, captured_us: u64, packet: Bytes, arrived_us: u64) {
        self.push_said(number, captured_us, packet, None, arrived_us);
    }

    /// Like [`push`](JitterBuffer::push), with the level announced for the packet (RFC 6464).
    pub fn push_said(
        &mut self,
        number: u32,
        captured_us: u64,
        packet: Bytes,
        level: Option<u8>,
        arrived_us: u64,
    ) {
        let missed = self.newest.map_or(0, |newest| number.saturating_sub(newest).saturating_sub(1));
        self.newest = self.newest.max(Some(number));
        if captured_us >= self.judged_from_us {
            self.delay.missed(missed);
            if packet.len() > UNMARKED_LEN_MAX {
                let left_out = self.left_out(number, captured_us);
                self.delay.left_out(left_out);
                self.delay.arrived(arrived_us.wrapping_sub(captured_us).cast_signed());
            }
        }
        if self.next.is_some_and(|next| number < next) {
            self.counts.late += 1;
            return;
        }
        self.held.entry(number).or_insert(HeldPacket { captured_us, packet, level });
        if self.held.len() > FRAMES_HELD_MAX {
            self.held.pop_first();
            self.counts.skipped += 1;
        }
    }

    /// Returns the action for the 20 ms captured from `captured_us` on. `quiet`: the sound played last is
    /// hardly audible, so that skipping or repeating a frame isn't audible either.
    pub fn pull(&mut self, captured_us: u64, quiet: bool) -> Pulled {
        (self.early_us, self.level) = (None, Some(LEVEL_SILENT));
        let Some(mut next) = self.next else { return self.begin(captured_us) };
        loop {
            let Some((&number, first)) = self.held.first_key_value() else {
                return self.run_dry(next, captured_us);
            };
            if number - next > GAP_MAX {
                self.next = None;
                return self.begin(captured_us);
            }
            if self.fell_silent && number == next && first.packet.len() <= UNMARKED_LEN_MAX {
                // The silence continues. The marker's capture time is unknown: an update sent in between may
                // have been lost.
                (self.paused, self.said) = (0, first.level);
                self.held.pop_first();
                next = next.saturating_add(1);
                self.next = Some(next);
                continue;
            }
            // Due time of the frame `next`: that of the first frame held, minus their distance.
            let distance_us = i64::from(number - next) * FRAME_US;
            let early_us =
                (first.captured_us.wrapping_sub(captured_us).cast_signed()).saturating_sub(distance_us);
            let unheard = quiet || self.missing > 0 || number > next;
            let skew_us_max = if unheard { FRAME_US } else { SKEW_US_MAX };
            if early_us > if self.pauses() { NEAREST_US } else { skew_us_max } {
                return self.wait();
            }
            if early_us < -skew_us_max {
                self.held.remove(&next);
                self.counts.skipped += 1;
                next = next.saturating_add(1);
                self.next = Some(next);
                continue;
            }
            return self.play(next, captured_us);
        }
    }

    /// How long before its due time the last [`pull`](JitterBuffer::pull) returned its packet, in
    /// microseconds. Constant as long as neither clock drifts. `None` when it returned no packet, or a
    /// silence marker, which carries no capture time of its own.
    pub fn early_us(&self) -> Option<i64> {
        self.early_us
    }

    /// Level of the packet returned by the last [`pull`](JitterBuffer::pull), or in a pause of the last
    /// packet played. Silent when it returned no packet, `None` when no level was announced.
    pub fn level(&self) -> Option<u8> {
        self.level
    }

    /// Level of the loudest packet waiting to be played, or in a pause of the last packet played. Silent when
    /// no packet waits, `None` when a packet has no announced level.
    pub fn level_ahead(&self) -> Option<u8> {
        let pauses = self.next.is_some() && self.fell_silent && self.paused < PAUSE_MAX;
        let before = if pauses && self.held.is_empty() { self.said? } else { LEVEL_SILENT };
        self.held.values().try_fold(before, |loudest, held| Some(loudest.min(held.level?)))
    }

    /// Sets how long before its due time sound is pulled, in microseconds: a player that resamples needs the
    /// next frame while this one plays. The delay includes this lead.
    pub fn set_ahead_us(&mut self, ahead_us: u64) {
        self.delay.set_ahead_us(ahead_us);
    }

    /// Sets the RTT to the speaker: a retransmitted packet arrives that much later.
    pub fn set_rtt_us(&mut self, rtt_us: u64) {
        self.delay.set_rtt_us(rtt_us);
    }

    /// Announces a change of path: from now on frames arrive over another path, after some frames are sent
    /// again.
    pub fn path_changed(&mut self, now_us: u64) {
        self.judged_from_us = now_us;
        self.delay.forget();
    }

    /// Recommended playout delay from capture to playback, in microseconds. It is the sum of the path's
    /// one-way delay, at most [`TRANSIT_US_MAX`], and a hold time against jitter: [`HOLD_US_MIN`] on a clean
    /// link; 1.2 RTTs plus the 95th percentile of jitter where more than 0.2 % is lost or retransmitted; at
    /// most [`HOLD_US_MAX`]. The delay rises at once and falls by 10 ms/s.
    pub fn delay_us(&self) -> u64 {
        self.delay.current_us()
    }

    /// Returns the counters.
    pub fn counts(&self) -> JitterCounts {
        self.counts
    }

    /// Starts playback with the newest frame that is due, or due within half a frame.
    fn begin(&mut self, captured_us: u64) -> Pulled {
        let near_us = captured_us.saturating_add(NEAREST_US.unsigned_abs());
        let due = self.held.iter().filter(|(_, held)| held.captured_us <= near_us).map(|(&number, _)| number);
        let Some(newest_due) = due.max() else { return Pulled::Silence };
        let behind = self.held.split_off(&newest_due);
        self.counts.late += self.held.len() as u64;
        self.held = behind;
        let too_old =
            |held: &HeldPacket| held.captured_us.saturating_add(SKEW_US_MAX.unsigned_abs()) <= captured_us;
        if self.held.first_key_value().is_some_and(|(_, held)| too_old(held)) {
            self.held.pop_first();
            self.counts.late += 1;
            return Pulled::Silence;
        }
        self.play(newest_due, captured_us)
    }

    /// Returns the frame `next`, or conceals it.
    fn play(&mut self, next: u32, captured_us: u64) -> Pulled {
        let behind = next.saturating_add(1);
        self.next = Some(behind);
        if let Some(held) = self.held.remove(&next) {
            (self.missing, self.paused) = (0, 0);
            self.fell_silent = held.packet.len() <= UNMARKED_LEN_MAX;
            let early_us = held.captured_us.wrapping_sub(captured_us).cast_signed();
            self.early_us = (!self.fell_silent).then_some(early_us);
            (self.level, self.said) = (held.level, held.level);
            return Pulled::Packet(held.packet);
        }
        let after = self.held.get(&behind).map(|held| held.packet.clone());
        if self.fell_silent && after.is_none() {
            return self.pause();
        }
        self.missing += 1;
        if self.missing > CONCEALED_MAX {
            return Pulled::Silence;
        }
        self.counts.concealed += 1;
        Pulled::Lost { next: after }
    }

    /// One step of a DTX pause.
    fn pause(&mut self) -> Pulled {
        self.paused = self.paused.saturating_add(1);
        if self.paused > PAUSE_MAX || self.said == Some(LEVEL_SILENT) {
            return Pulled::Silence; // the speaker is gone, or its level was digital silence
        }
        self.level = self.said;
        Pulled::Pause
    }

    /// The buffer is empty: the frame is late, or the speaker is silent or gone.
    fn run_dry(&mut self, next: u32, captured_us: u64) -> Pulled {
        if self.fell_silent {
            return self.pause(); // no frame was sent, so none counts as lost
        }
        if self.missing >= CONCEALED_MAX {
            self.next = None;
            self.missing = 0;
            return Pulled::Silence;
        }
        self.play(next, captured_us)
    }

    /// The next frame is not due yet: it follows a pause, or playback must slow down.
    fn wait(&mut self) -> Pulled {
        if self.fell_silent {
            return self.pause();
        }
        if self.pauses() {
            return Pulled::Silence;
        }
        self.missing += 1;
        self.counts.inserted += 1;
        Pulled::Lost { next: None }
    }

    /// Number of frames that DTX omitted before this one, from its capture time and its number.
    fn left_out(&mut self, number: u32, captured_us: u64) -> u32 {
        if self.newest_timed.is_some_and(|(newest, _)| number <= newest) {
            return 0;
        }
        let Some((newest, newest_us)) = self.newest_timed.replace((number, captured_us)) else { return 0 };
        let steps = captured_us.saturating_sub(newest_us).saturating_add(SOUND_FRAME_US / 2) / SOUND_FRAME_US;
        u32::try_from(steps).unwrap_or(u32::MAX).saturating_sub(number - newest)
    }

    /// Whether playback is silent at present.
    fn pauses(&self) -> bool {
        self.fell_silent || self.missing >= CONCEALED_MAX
    }
}

#[cfg(test)]
mod tests;
