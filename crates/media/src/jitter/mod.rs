//! One speaker's sound, held until its time, then given in steps of 20 ms.
//!
//! [`JitterBuffer::push`] takes frames as they come, in any order; [`JitterBuffer::pull`] is called once for
//! each 20 ms that are played, with the capture time that is due, and says what to do: decode a packet, conceal
//! a loss, or be silent. How long sound should be held is measured from what came ([`JitterBuffer::delay_us`]);
//! whoever plays subtracts that delay, or a longer one shared by several speakers, from the present. All times
//! are of the local clock; [`ClockMap`] brings a maker's capture times there.
//!
//! Frames follow each other by number. Their capture times only set the pace: when they run 20 ms away from
//! what is asked for, because a clock jumped or a path changed, one frame is left out or concealed once more, in a
//! quiet moment or where something is missing anyway; at [`SKEW_US_MAX`] at any moment. Whoever sees them drift
//! ([`JitterBuffer::early_us`]) and retimes what it decodes never lets it come to that.
//!
//! A speaker may leave silence out (RFC 7587, 3.1.3): frames that aren't sent have no numbers, so none is missing. A
//! packet of one or two bytes says that it begins; where it ends the next frame's capture time tells. Until then it
//! goes on, for a second at most, and the frames in between count as neither late nor lost.

mod clock_map;
mod delay;

use std::collections::BTreeMap;

use bytes::Bytes;
use plenary_proto::identity::opus::UNMARKED_LEN_MAX;

pub use clock_map::{ClockMap, TRANSIT_US_MAX};
use delay::Delay;
pub use delay::{HOLD_US_MAX, HOLD_US_MIN};

use crate::SOUND_FRAME_US;
use crate::level::LEVEL_SILENT;

/// Frames held at most, 2.5 s: ten times the longest delay. Past that the oldest go.
pub const FRAMES_HELD_MAX: usize = 128;
/// Sound further off its time than this is brought back even where it can be heard. Two rounds of Opus and the
/// limiter add 14 ms, and a program's picture is up to 33 ms old: so sound stays within 40 ms of its speaker's
/// lips.
pub const SKEW_US_MAX: i64 = 22_000;
/// More missing frames than this are no loss but a new beginning: 1 s. A guess.
const GAP_MAX: u32 = 50;
/// Frames made up in a row before there is silence. Concealment fades within 100 ms (libopus).
const CONCEALED_MAX: u32 = 5;
const FRAME_US: i64 = SOUND_FRAME_US as i64;
/// A speaker that leaves frames out says so each 400 ms; after this many it is gone: 1 s.
const PAUSE_MAX: u32 = 50;
/// Whoever begins does so with the frame nearest to its time.
const NEAREST_US: i64 = FRAME_US / 2;

/// What to play for 20 ms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pulled {
    /// Decode this.
    Packet(Bytes),
    /// Make a frame up.
    Lost {
        /// The packet behind the lost one, when it is here: it may carry a copy.
        next: Option<Bytes>,
    },
    /// Nothing was said, and so nothing was sent: go on with what it sounded like before, as for a loss.
    Pause,
    /// Nothing is to be heard: digital silence, or nobody is there.
    Silence,
}

/// What a jitter buffer saw since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JitterCounts {
    /// Frames that came when their time was over.
    pub late: u64,
    /// Frames made up because one was missing.
    pub concealed: u64,
    /// Frames left out to catch up, or for want of room.
    pub skipped: u64,
    /// Frames made up to slow down.
    pub inserted: u64,
}

/// Holds one speaker's sound.
#[derive(Debug, Default)]
pub struct JitterBuffer {
    held: BTreeMap<u32, Held>,
    /// The frame to be played next; `None` while nothing plays.
    next: Option<u32>,
    /// Frames since the last that was there.
    missing: u32,
    /// The last frame played said that silence follows.
    fell_silent: bool,
    /// Steps since then.
    paused: u32,
    /// How loud the last packet that was played is said to be.
    said: Option<u8>,
    newest: Option<u32>,
    /// Of the newest frame that has a capture time of its own: number, time.
    newest_timed: Option<(u32, u64)>,
    /// Frames captured before came another way, and say nothing of how long this one takes.
    judged_from_us: u64,
    /// How much before its time the packet was given that was given last; `None` when something else was.
    early_us: Option<i64>,
    /// How loud the packet is said to be that was given last; silent when none was.
    level: Option<u8>,
    delay: Delay,
    counts: JitterCounts,
}

#[derive(Debug)]
struct Held {
    captured_us: u64,
    packet: Bytes,
    level: Option<u8>,
}

impl JitterBuffer {
    /// An empty one, for one stream: frame numbers never go back.
    pub fn new() -> JitterBuffer {
        JitterBuffer::default()
    }

    /// Takes the frame `number`, captured and arrived at these local times. One it had before is ignored.
    pub fn push(&mut self, number: u32, captured_us: u64, packet: Bytes, arrived_us: u64) {
        self.push_said(number, captured_us, packet, None, arrived_us);
    }

    /// As [`push`](JitterBuffer::push), with the level that the packet is said to have (RFC 6464).
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
        self.held.entry(number).or_insert(Held { captured_us, packet, level });
        if self.held.len() > FRAMES_HELD_MAX {
            self.held.pop_first();
            self.counts.skipped += 1;
        }
    }

    /// What to play for the 20 ms captured from `captured_us` on. `quiet`: what was played last is hardly
    /// heard, so that a frame more or less isn't either.
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
                // Silence as before. When it was made isn't known: one that was sent meanwhile may have got lost.
                (self.paused, self.said) = (0, first.level);
                self.held.pop_first();
                next = next.saturating_add(1);
                self.next = Some(next);
                continue;
            }
            // When the frame `next` is due: in front of the first that is here by its distance.
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

    /// How much before its time the packet was given that [`pull`](JitterBuffer::pull) gave just now, microseconds: as
    /// long as nobody's clock drifts, this stays the same. `None` when it gave none, or one that marks silence, whose
    /// time isn't its maker's.
    pub fn early_us(&self) -> Option<i64> {
        self.early_us
    }

    /// How loud the packet is said to be that [`pull`](JitterBuffer::pull) gave just now, or in a pause the last one:
    /// silent when it gave none, `None` when nobody said.
    pub fn level(&self) -> Option<u8> {
        self.level
    }

    /// How loud the loudest packet is said to be that waits to be played, or in a pause the last one was: silent when
    /// there is none, `None` when nobody said so of one of them.
    pub fn level_ahead(&self) -> Option<u8> {
        let pauses = self.next.is_some() && self.fell_silent && self.paused < PAUSE_MAX;
        let before = if pauses && self.held.is_empty() { self.said? } else { LEVEL_SILENT };
        self.held.values().try_fold(before, |loudest, held| Some(loudest.min(held.level?)))
    }

    /// Sets how long before its time sound is pulled, microseconds: whoever retimes sound needs the next frame
    /// while this one is being played. The delay covers that too.
    pub fn set_ahead_us(&mut self, ahead_us: u64) {
        self.delay.set_ahead_us(ahead_us);
    }

    /// Sets the round trip to the speaker: a repaired loss takes that long.
    pub fn set_rtt_us(&mut self, rtt_us: u64) {
        self.delay.set_rtt_us(rtt_us);
    }

    /// From now on frames come another way, after some that are sent once more.
    pub fn path_changed(&mut self, now_us: u64) {
        self.judged_from_us = now_us;
        self.delay.forget();
    }

    /// How long after its capture sound should be played, microseconds: the path itself, at most
    /// [`TRANSIT_US_MAX`], and what it takes to be safe from its jitter: [`HOLD_US_MIN`] on a clean link, 1.2
    /// round trips and the 95th percentile of jitter where more than 0.2 % is lost or repaired, at most
    /// [`HOLD_US_MAX`]. Rises at once, falls by 10 ms/s.
    pub fn delay_us(&self) -> u64 {
        self.delay.current_us()
    }

    /// What was seen so far.
    pub fn counts(&self) -> JitterCounts {
        self.counts
    }

    /// Begins with the newest frame whose time has come, or is nearer than half a frame.
    fn begin(&mut self, captured_us: u64) -> Pulled {
        let near_us = captured_us.saturating_add(NEAREST_US.unsigned_abs());
        let due = self.held.iter().filter(|(_, held)| held.captured_us <= near_us).map(|(&number, _)| number);
        let Some(newest_due) = due.max() else { return Pulled::Silence };
        let behind = self.held.split_off(&newest_due);
        self.counts.late += self.held.len() as u64;
        self.held = behind;
        let too_old =
            |held: &Held| held.captured_us.saturating_add(SKEW_US_MAX.unsigned_abs()) <= captured_us;
        if self.held.first_key_value().is_some_and(|(_, held)| too_old(held)) {
            self.held.pop_first();
            self.counts.late += 1;
            return Pulled::Silence;
        }
        self.play(newest_due, captured_us)
    }

    /// Gives the frame `next`, or makes it up.
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

    /// The speaker leaves frames out.
    fn pause(&mut self) -> Pulled {
        self.paused = self.paused.saturating_add(1);
        if self.paused > PAUSE_MAX || self.said == Some(LEVEL_SILENT) {
            return Pulled::Silence; // gone; or there is nothing to go on with
        }
        self.level = self.said;
        Pulled::Pause
    }

    /// Nothing is here: it is late, or the speaker is silent, or gone.
    fn run_dry(&mut self, next: u32, captured_us: u64) -> Pulled {
        if self.fell_silent {
            return self.pause(); // sends nothing, counts nothing
        }
        if self.missing >= CONCEALED_MAX {
            self.next = None;
            self.missing = 0;
            return Pulled::Silence;
        }
        self.play(next, captured_us)
    }

    /// Its time hasn't come: it was sent after a pause, or there is time to fill.
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

    /// How many frames were left out in front of this one: by its number it follows sooner than by its time.
    fn left_out(&mut self, number: u32, captured_us: u64) -> u32 {
        if self.newest_timed.is_some_and(|(newest, _)| number <= newest) {
            return 0;
        }
        let Some((newest, newest_us)) = self.newest_timed.replace((number, captured_us)) else { return 0 };
        let steps = captured_us.saturating_sub(newest_us).saturating_add(SOUND_FRAME_US / 2) / SOUND_FRAME_US;
        u32::try_from(steps).unwrap_or(u32::MAX).saturating_sub(number - newest)
    }

    /// There is silence at present.
    fn pauses(&self) -> bool {
        self.fell_silent || self.missing >= CONCEALED_MAX
    }
}

#[cfg(test)]
mod tests;
