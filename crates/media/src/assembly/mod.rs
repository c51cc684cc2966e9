//! Packets in, frames out: one stream's video or sound, put together again.
//!
//! The body gives each packet with its packet number (contiguous per stream and kind, from 1) in whatever order
//! it came, and asks [`Assembler::poll`] until nothing is left; [`Assembler::next_timeout`] says when to ask
//! again although nothing came. Frames leave in order, each number once, as whole access units or Opus packets.
//!
//! A missing packet is waited for, `hole_us_max` from the moment a later one came; what comes behind its time
//! is ignored. Then the frame is lost. Sound goes on at once with the next packet. Video says
//! [`Assembled::KeyWanted`] once and gives nothing more until a key frame, since what follows would be decoded
//! from a picture that isn't there; video also begins at a key frame. No other picture needs one that was left out on the way
//! ([`LEFT_OUT`](crate::payload::LEFT_OUT)): what follows goes on. A frame without identity, or with another stream's, is
//! never given.
//!
//! At most [`PACKETS_HELD_MAX`] packets and [`BYTES_HELD_MAX`] bytes are held: past that the oldest go, and
//! what they belonged to is lost. A packet [`JUMP_MAX`] or more ahead begins anew.

use std::collections::BTreeMap;
use std::mem;

use bytes::Bytes;
use plenary_proto::StreamId;
use plenary_proto::identity::opus::UNMARKED_LEN_MAX;
use plenary_proto::identity::{FrameIdentity, MediaKind, h264, opus};

use crate::payload::h264::{is_left_out, join, starts_key};
use crate::{Frame, SOUND_FRAME_US};

/// Packets held at most: some 14 s of a program of 1.5 Mbit/s. A guess.
pub const PACKETS_HELD_MAX: usize = 2048;
/// Payload bytes held at most. A guess.
pub const BYTES_HELD_MAX: usize = 4 << 20;
/// A step of packet numbers this large is a new beginning, not a loss. A guess: twice what can be held.
pub const JUMP_MAX: u64 = 2 * PACKETS_HELD_MAX as u64;
/// Packet numbers have 48 bits.
const NUMBER_MAX: u64 = (1 << 48) - 1;

/// One packet as it came, without RTP's own numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// The stream's packet number, from the header extension; one of more than 48 bits is ignored.
    pub number: u64,
    /// RTP time; equal for all packets of a frame.
    pub timestamp: u32,
    /// RTP's marker: the last packet of an access unit.
    pub marker: bool,
    /// RTP's payload.
    pub payload: Bytes,
    /// RFC 6464's level of sound, if the header has one.
    pub level: Option<u8>,
}

/// What comes out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Assembled {
    /// The next frame.
    Frame(Frame),
    /// A picture is missing: nothing comes until a key frame. Said once for each loss.
    KeyWanted,
    /// A picture was left out on the way, which no other one needs.
    LeftOut,
}

/// What an assembler saw since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AssemblyCounts {
    /// Frames given.
    pub frames: u64,
    /// Pictures left out on the way.
    pub frames_left_out: u64,
    /// Packets given up.
    pub packets_lost: u64,
    /// Packets that came twice, or behind their time.
    pub packets_late: u64,
    /// Whole frames that were not given: unreadable, without this stream's identity, or of a number already
    /// given.
    pub frames_refused: u64,
}

/// Puts the frames of one stream and kind together.
#[derive(Debug)]
pub struct Assembler {
    kind: MediaKind,
    stream: StreamId,
    hole_us_max: u64,
    held: BTreeMap<u64, Held>,
    bytes_held: usize,
    cursor: Cursor,
    key_wanted: bool,
    /// The newest frame given, and the number of its last packet.
    newest: Option<(u64, FrameIdentity)>,
    counts: AssemblyCounts,
}

#[derive(Debug)]
struct Held {
    timestamp: u32,
    marker: bool,
    starts_key: bool,
    payload: Bytes,
    level: Option<u8>,
    arrived_us: u64,
}

/// How far the reading is.
#[derive(Clone, Copy, Debug)]
enum Cursor {
    /// Looks for the first packet of a key frame, or of all if it is sound; numbers below `from` are past.
    /// `asked`: a key frame has been asked for.
    Seeking { from: u64, asked: bool },
    /// `first` begins a frame, of which the packets below `end` are here. `entering`: it must be a key frame.
    Following { first: u64, end: u64, entering: bool },
}

/// What a whole frame turned out to be.
enum Whole {
    Frame(Frame),
    /// Its number was given before.
    Repeated,
    Unreadable,
}

impl Assembler {
    /// For the `kind` of `stream`; waits `hole_us_max` for a missing packet. For sound that should be less than
    /// its jitter buffer holds: what waits behind a hole comes late there.
    pub fn new(stream: StreamId, kind: MediaKind, hole_us_max: u64) -> Assembler {
        Assembler {
            kind,
            stream,
            hole_us_max,
            held: BTreeMap::new(),
            bytes_held: 0,
            cursor: Cursor::Seeking { from: 0, asked: false },
            key_wanted: false,
            newest: None,
            counts: AssemblyCounts::default(),
        }
    }

    /// Changes how long a missing packet is waited for: as long as a repair may take.
    pub fn set_hole_us_max(&mut self, hole_us_max: u64) {
        self.hole_us_max = hole_us_max;
    }

    /// What was seen so far.
    pub fn counts(&self) -> AssemblyCounts {
        self.counts
    }

    /// Takes a packet that came at `now_us`.
    pub fn push(&mut self, now_us: u64, packet: Packet) {
        let past = match self.cursor {
            Cursor::Seeking { from, .. } => from,
            Cursor::Following { end, .. } => end,
        };
        if packet.number < past || packet.number > NUMBER_MAX || self.held.contains_key(&packet.number) {
            self.counts.packets_late += 1;
            return;
        }
        if self.first().is_some_and(|first| packet.number >= first.saturating_add(JUMP_MAX)) {
            self.begin_anew(packet.number);
        }
        self.bytes_held += packet.payload.len();
        let held = Held {
            timestamp: packet.timestamp,
            marker: packet.marker,
            starts_key: self.kind == MediaKind::Video && starts_key(&packet.payload),
            payload: packet.payload,
            level: packet.level,
            arrived_us: now_us,
        };
        self.held.insert(packet.number, held);
        while self.held.len() > PACKETS_HELD_MAX || self.bytes_held > BYTES_HELD_MAX {
            self.drop_oldest();
        }
    }

    /// What is ready at `now_us`; to be called until it answers `None`, after each packet and at
    /// [`next_timeout`](Self::next_timeout).
    pub fn poll(&mut self, now_us: u64) -> Option<Assembled> {
        loop {
            if mem::take(&mut self.key_wanted) {
                return Some(Assembled::KeyWanted);
            }
            match self.cursor {
                Cursor::Seeking { .. } => self.seek(now_us)?,
                Cursor::Following { first, end, entering } => {
                    if let Some(last) = self.frame_end(first, end) {
                        if let Some(taken) = self.take_frame(first, last, entering) {
                            return Some(taken);
                        }
                    } else {
                        self.give_up_hole(now_us)?;
                    }
                }
            }
        }
    }

    /// When [`poll`](Self::poll) has something to say even if nothing comes; `None` when only packets can help.
    pub fn next_timeout(&self) -> Option<u64> {
        let waiting = match self.cursor {
            Cursor::Seeking { asked, .. } if asked || self.kind == MediaKind::Sound => None,
            Cursor::Seeking { .. } => self.held.values().next(),
            Cursor::Following { end, .. } => self.held.range(end..).next().map(|(_, held)| held),
        };
        waiting.map(|held| held.arrived_us.saturating_add(self.hole_us_max))
    }

    /// The oldest packet number that still matters, if any does.
    fn first(&self) -> Option<u64> {
        match self.cursor {
            Cursor::Seeking { .. } => self.held.keys().next().copied(),
            Cursor::Following { first, .. } => Some(first),
        }
    }

    /// Finds where to begin; `None` when that isn't here yet.
    fn seek(&mut self, now_us: u64) -> Option<()> {
        let begins = |held: &Held| self.kind == MediaKind::Sound || held.starts_key;
        if let Some(first) = self.held.iter().find(|(_, held)| begins(held)).map(|(&number, _)| number) {
            self.drop_below(first);
            self.cursor = Cursor::Following { first, end: first, entering: self.kind == MediaKind::Video };
            return Some(());
        }
        // What a key frame's first packet might still come for is kept, the rest is of no use.
        let old = |held: &Held| held.arrived_us.saturating_add(self.hole_us_max) <= now_us;
        let last_old =
            self.held.iter().take_while(|(_, held)| old(held)).last().map(|(&number, _)| number)?;
        self.drop_below(last_old + 1);
        self.seek_from(last_old + 1);
        self.key_wanted.then_some(())
    }

    /// The last packet of the frame that begins at `first`, when all of it is here.
    fn frame_end(&mut self, first: u64, mut end: u64) -> Option<u64> {
        let timestamp = self.held.get(&first)?.timestamp;
        let last = loop {
            let Some(held) = self.held.get(&end) else { break None };
            if held.timestamp != timestamp {
                break Some(end - 1); // its marker was forgotten
            }
            if held.marker || self.kind == MediaKind::Sound {
                break Some(end);
            }
            end += 1;
        };
        if let Cursor::Following { end: scanned, .. } = &mut self.cursor {
            *scanned = end;
        }
        last
    }

    /// Takes a whole frame out. `None` when it isn't given; the place says then how to go on.
    fn take_frame(&mut self, first: u64, last: u64, entering: bool) -> Option<Assembled> {
        let mut payloads = Vec::new();
        let mut level = None;
        for number in first..=last {
            let held = self.held.remove(&number)?;
            self.bytes_held -= held.payload.len();
            payloads.push(held.payload);
            level = held.level;
        }
        self.cursor = Cursor::Following { first: last + 1, end: last + 1, entering: false };
        // in place of some payloads: its identity is sent where that is alone in one, and leaving out may begin in its midst
        let left_out = || payloads.iter().any(|payload| is_left_out(payload));
        if self.kind == MediaKind::Video && !entering && left_out() {
            self.counts.frames_left_out += 1;
            return Some(Assembled::LeftOut);
        }
        let whole = match self.kind {
            MediaKind::Video => self.access_unit(&payloads),
            MediaKind::Sound => self.sound(last, payloads.swap_remove(0)),
        };
        match whole {
            Whole::Frame(mut frame) if frame.identity.key || !entering => {
                frame.level = level.filter(|_| self.kind == MediaKind::Sound);
                self.newest = Some((last, frame.identity));
                self.counts.frames += 1;
                return Some(Assembled::Frame(frame));
            }
            Whole::Repeated if !entering => {}
            _ if self.kind == MediaKind::Video => self.seek_from(last + 1),
            _ => {}
        }
        self.counts.frames_refused += 1;
        None
    }

    fn access_unit(&self, payloads: &[Bytes]) -> Whole {
        let data = join(payloads.iter().map(|payload| &payload[..]));
        match data.and_then(|data| Some((h264::read(&data)?, data))) {
            Some((identity, data)) => self.checked(identity, data),
            None => Whole::Unreadable,
        }
    }

    /// An Opus packet; one that is too short to be marked gets the identity that its neighbour implies.
    fn sound(&self, number: u64, packet: Bytes) -> Whole {
        let identity = match packet.len() {
            0 => None,
            len if len <= UNMARKED_LEN_MAX => self.implied(number),
            _ => opus::read(&packet),
        };
        identity.map_or(Whole::Unreadable, |identity| self.checked(identity, packet))
    }

    fn implied(&self, number: u64) -> Option<FrameIdentity> {
        let (newest_packet, newest) = self.newest?;
        let steps = u32::try_from(number - newest_packet).ok()?;
        Some(FrameIdentity {
            number: newest.number.checked_add(steps)?,
            captured_us: newest.captured_us.checked_add(u64::from(steps) * SOUND_FRAME_US)?,
            ..newest
        })
    }

    fn checked(&self, identity: FrameIdentity, data: Bytes) -> Whole {
        if identity.stream != self.stream {
            return Whole::Unreadable;
        }
        match self.newest {
            Some((_, newest)) if identity.number <= newest.number => Whole::Repeated,
            _ => Whole::Frame(Frame { kind: self.kind, identity, data, level: None }),
        }
    }

    /// Goes past the hole when it has been waited for long enough; `None` when there is none, or not yet.
    fn give_up_hole(&mut self, now_us: u64) -> Option<()> {
        let Cursor::Following { end, .. } = self.cursor else { return None };
        let (&next, behind) = self.held.range(end..).next()?;
        if behind.arrived_us.saturating_add(self.hole_us_max) > now_us {
            return None;
        }
        self.counts.packets_lost += next - end;
        self.drop_below(next);
        self.lose(next);
        Some(())
    }

    /// Goes on at `next` after a loss.
    fn lose(&mut self, next: u64) {
        match self.kind {
            MediaKind::Video => self.seek_from(next),
            MediaKind::Sound => self.cursor = Cursor::Following { first: next, end: next, entering: false },
        }
    }

    /// Looks for a key frame at `from` or later, and asks for one unless that was done already.
    fn seek_from(&mut self, from: u64) {
        let asked = matches!(self.cursor, Cursor::Seeking { asked: true, .. });
        self.key_wanted |= !asked;
        self.cursor = Cursor::Seeking { from, asked: true };
    }

    fn begin_anew(&mut self, from: u64) {
        self.drop_below(u64::MAX);
        if self.kind == MediaKind::Video {
            self.seek_from(from);
        } else {
            self.cursor = Cursor::Seeking { from, asked: true };
        }
    }

    fn drop_below(&mut self, number: u64) {
        let kept = self.held.split_off(&number);
        let dropped = mem::replace(&mut self.held, kept);
        self.bytes_held -= dropped.values().map(|held| held.payload.len()).sum::<usize>();
    }

    fn drop_oldest(&mut self) {
        if let Some((number, held)) = self.held.pop_first() {
            self.bytes_held -= held.payload.len();
            self.counts.packets_lost += 1;
            self.lose(number + 1);
        }
    }
}

#[cfg(test)]
mod tests;
