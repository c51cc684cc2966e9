//! Frame assembly: turns the RTP packets of one stream's video or sound back into frames.
//!
//! The caller pushes each packet with its packet number (contiguous per stream and kind, from 1), in any
//! order, and then calls [`Assembler::poll`] until it returns `None`. [`Assembler::next_timeout`] says when
//! to poll again even if no packet arrives. Frames come out in order, each number once, as whole access units
//! or Opus packets.
//!
//! When a later packet arrives, the assembler waits `hole_us_max` for the missing ones before it. Then the
//! frame is lost, and packets of it that arrive later are ignored.
//! - Sound continues at once with the next packet.
//! - Video reports [`Assembled::KeyWanted`] once and outputs no frame until a keyframe, since the following
//!   frames reference a missing picture. Video also starts at a keyframe.
//! - A picture that a relay thinned out ([`LEFT_OUT`](crate::payload::LEFT_OUT)) is no loss: no other picture
//!   references it, so the frames after it continue.
//!
//! A frame without an identity, or with the identity of another stream or of other packets, is discarded. So is one
//! whose number leaps: each frame has a packet of its own, so frame numbers can't grow faster than packet numbers.
//!
//! The assembler holds at most [`PACKETS_HELD_MAX`] packets and [`BYTES_HELD_MAX`] bytes. Beyond that it
//! drops the oldest packets, and their frames are lost. A packet [`JUMP_MAX`] or more ahead restarts the
//! assembly.

use plenary_proto::ordered::OrderedMap;
use std::mem;
use std::ops::RangeInclusive;

use bytes::Bytes;
use plenary_proto::StreamId;
use plenary_proto::identity::opus::UNMARKED_LEN_MAX;
use plenary_proto::identity::{FrameIdentity, MediaKind, h264, opus};

use crate::payload::h264::{is_left_out, join, starts_key};
use crate::{Frame, SOUND_FRAME_US};

/// Maximum packets held: about 14 s of a program at 1.5 Mbit/s. A guess.
pub const PACKETS_HELD_MAX: usize = 2048;
/// Maximum payload bytes held. A guess.
pub const BYTES_HELD_MAX: usize = 4 << 20;
/// A jump of packet numbers at least this large restarts the assembly instead of counting as loss. A guess:
/// twice the number of packets that can be held.
pub const JUMP_MAX: u64 = 2 * PACKETS_HELD_MAX as u64;
/// Largest packet number: they have 48 bits.
const NUMBER_MAX: u64 = (1 << 48) - 1;

/// One received packet, without RTP's sequence number and SSRC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// The stream's packet number, from the header extension. Packets with a number of more than 48 bits are
    /// ignored.
    pub number: u64,
    /// RTP timestamp, equal for all packets of a frame.
    pub timestamp: u32,
    /// RTP marker bit: set on the last packet of an access unit.
    pub marker: bool,
    /// RTP payload.
    pub payload: Bytes,
    /// Sound level from the RTP header extension (RFC 6464), if present.
    pub level: Option<u8>,
}

/// Output of the assembler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Assembled {
    /// The next frame.
    Frame(Frame),
    /// A picture is missing: no further frame follows until a keyframe. Reported once per loss.
    KeyWanted,
    /// A relay thinned out this picture, which no other picture references.
    LeftOut,
    /// A whole picture, whose first packet has this number, is none of this stream's: its maker has not made it so.
    /// [`KeyWanted`](Self::KeyWanted) follows.
    Unreadable {
        /// Number of the picture's first packet.
        first_packet: u64,
    },
}

/// Counters of an assembler since its creation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AssemblyCounts {
    /// Frames output.
    pub frames: u64,
    /// Pictures that relays thinned out.
    pub frames_left_out: u64,
    /// Missing packets given up.
    pub packets_lost: u64,
    /// Duplicate packets, and packets that arrived after being given up.
    pub packets_late: u64,
    /// Complete frames discarded: unreadable, without this stream's identity, or with a frame number already
    /// output.
    pub frames_refused: u64,
}

/// Assembles the frames of one stream and kind.
#[derive(Debug)]
pub struct Assembler {
    kind: MediaKind,
    /// `None` on a leg of a browser.
    stream: Option<StreamId>,
    hole_us_max: u64,
    held: OrderedMap<u64, HeldPacket>,
    bytes_held: usize,
    cursor: Cursor,
    key_wanted: bool,
    /// Packet number of the last packet of the newest frame output, and the frame's identity.
    newest: Option<(u64, FrameIdentity)>,
    /// The next frame counts whatever number the newest one had.
    renumbers: bool,
    counts: AssemblyCounts,
}

#[derive(Debug)]
struct HeldPacket {
    timestamp: u32,
    marker: bool,
    starts_key: bool,
    payload: Bytes,
    level: Option<u8>,
    arrived_us: u64,
}

/// Reading position in the packet numbers.
#[derive(Clone, Copy, Debug)]
enum Cursor {
    /// Searches for the first packet of a keyframe, or for any packet of sound; packet numbers below `from`
    /// are past. `asked`: a keyframe has been requested.
    Seeking { from: u64, asked: bool },
    /// The next frame begins at packet `first`; its packets below `end` have arrived. `entering`: it must be
    /// a keyframe.
    Following { first: u64, end: u64, entering: bool },
}

/// Result of reading a complete frame.
enum Whole {
    Frame(Frame),
    /// A frame with its number was output before.
    Repeated,
    /// Its number leaps further than its packets.
    Leaps,
    Unreadable,
}

impl Assembler {
    /// Creates an assembler for the `kind` of `stream`, with a timeout of `hole_us_max` microseconds for
    /// missing packets. For sound the timeout should be shorter than the jitter buffer's delay: packets that
    /// wait behind a gap reach the jitter buffer late.
    pub fn new(stream: StreamId, kind: MediaKind, hole_us_max: u64) -> Assembler {
        Assembler { stream: Some(stream), ..Assembler::of_browser(kind, hole_us_max) }
    }

    /// Creates an assembler for one leg of a browser. Its packets are numbered by the leg, and frames of any stream may
    /// follow each other; the numbers of frames and packets in their identities are not checked against those of the
    /// leg.
    pub fn of_browser(kind: MediaKind, hole_us_max: u64) -> Assembler {
        Assembler {
            kind,
            stream: None,
            hole_us_max,
            held: OrderedMap::new(),
            bytes_held: 0,
            cursor: Cursor::Seeking { from: 0, asked: false },
            key_wanted: false,
            newest: None,
            renumbers: false,
            counts: AssemblyCounts::default(),
        }
    }

    /// Returns the number of the last packet of the newest frame output.
    pub fn newest_packet(&self) -> Option<u64> {
        self.newest.map(|(packet, _)| packet)
    }

    /// Forgets the number of the newest frame output: the packets come from another peer from now on, and the
    /// former one may have claimed any number.
    pub fn another_sender(&mut self) {
        self.renumbers = true;
    }

    /// Sets the timeout for missing packets, in microseconds: the longest time that a retransmission may
    /// take.
    pub fn set_hole_us_max(&mut self, hole_us_max: u64) {
        self.hole_us_max = hole_us_max;
    }

    /// Returns the timeout for missing packets, in microseconds.
    pub fn hole_us_max(&self) -> u64 {
        self.hole_us_max
    }

    /// Returns the counters.
    pub fn counts(&self) -> AssemblyCounts {
        self.counts
    }

    /// Takes a packet that arrived at `now_us`.
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
        let held = HeldPacket {
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

    /// Returns the next output that is ready at `now_us`. Called until it returns `None`, after each packet
    /// and at [`next_timeout`](Self::next_timeout).
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

    /// Time at which [`poll`](Self::poll) has output even without a new packet; `None` when only new packets
    /// can produce output.
    pub fn next_timeout(&self) -> Option<u64> {
        let waiting = match self.cursor {
            Cursor::Seeking { asked, .. } if asked || self.kind == MediaKind::Sound => None,
            Cursor::Seeking { .. } => self.held.values().next(),
            Cursor::Following { end, .. } => self.held.range(end..).next().map(|(_, held)| held),
        };
        waiting.map(|held| held.arrived_us.saturating_add(self.hole_us_max))
    }

    /// Oldest packet number still of interest.
    fn first(&self) -> Option<u64> {
        match self.cursor {
            Cursor::Seeking { .. } => self.held.keys().next().copied(),
            Cursor::Following { first, .. } => Some(first),
        }
    }

    /// Finds the first packet to start from; `None` while it has not arrived.
    fn seek(&mut self, now_us: u64) -> Option<()> {
        let begins = |held: &HeldPacket| self.kind == MediaKind::Sound || held.starts_key;
        if let Some(first) = self.held.iter().find(|(_, held)| begins(held)).map(|(&number, _)| number) {
            self.drop_below(first);
            self.cursor = Cursor::Following { first, end: first, entering: self.kind == MediaKind::Video };
            return Some(());
        }
        // Packets within the timeout are kept, since the first packet of their keyframe may still arrive;
        // older ones are dropped.
        let old = |held: &HeldPacket| held.arrived_us.saturating_add(self.hole_us_max) <= now_us;
        let last_old =
            self.held.iter().take_while(|(_, held)| old(held)).last().map(|(&number, _)| number)?;
        self.drop_below(last_old + 1);
        self.seek_from(last_old + 1);
        self.key_wanted.then_some(())
    }

    /// Returns the number of the last packet of the frame that begins at `first`, when the frame is complete.
    fn frame_end(&mut self, first: u64, mut end: u64) -> Option<u64> {
        let timestamp = self.held.get(&first)?.timestamp;
        let last = loop {
            let Some(held) = self.held.get(&end) else { break None };
            if held.timestamp != timestamp {
                break Some(end - 1); // the sender forgot the marker
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

    /// Removes a complete frame from the held packets. Returns `None` when the frame is discarded; the cursor
    /// then says where to continue.
    fn take_frame(&mut self, first: u64, last: u64, entering: bool) -> Option<Assembled> {
        let mut payloads = Vec::new();
        let mut level = None;
        for number in first..=last {
            let held = self.held.remove(&number)?;
            self.bytes_held -= held.payload.len();
            payloads.push(held.payload);
            level = held.level;
        }
        // a browser that probes for bandwidth sends padding, with numbers of the leg and the time of the last frame
        let is_padding = self.stream.is_none() && payloads.iter().all(Bytes::is_empty);
        self.cursor = Cursor::Following { first: last + 1, end: last + 1, entering: entering && is_padding };
        if is_padding {
            return None;
        }
        // A relay may start to thin in the middle of a picture, and it forwards an identity that has a
        // payload of its own; so one filler payload is enough.
        let left_out = || payloads.iter().any(|payload| is_left_out(payload));
        if self.kind == MediaKind::Video && !entering && left_out() {
            self.counts.frames_left_out += 1;
            return Some(Assembled::LeftOut);
        }
        let whole = match self.kind {
            MediaKind::Video => self.access_unit(last, &payloads),
            MediaKind::Sound => self.sound(last, payloads.swap_remove(0)),
        };
        match whole {
            Whole::Frame(mut frame) if frame.identity.key || !entering => {
                frame.level = level.filter(|_| self.kind == MediaKind::Sound);
                self.newest = Some((last, frame.identity));
                self.renumbers = false;
                self.counts.frames += 1;
                return Some(Assembled::Frame(frame));
            }
            Whole::Repeated if !entering => {}
            Whole::Unreadable if !entering && self.kind == MediaKind::Video => {
                self.counts.frames_refused += 1;
                self.seek_from(last + 1);
                return Some(Assembled::Unreadable { first_packet: first });
            }
            _ if self.kind == MediaKind::Video => self.seek_from(last + 1),
            _ => {}
        }
        self.counts.frames_refused += 1;
        None
    }

    fn access_unit(&self, last: u64, payloads: &[Bytes]) -> Whole {
        let data = join(payloads.iter().map(|payload| &payload[..]));
        let first = last.saturating_sub(payloads.len() as u64 - 1);
        match data.and_then(|data| Some((h264::read(&data)?, data))) {
            Some((identity, data)) => self.checked(first..=last, identity, data),
            None => Whole::Unreadable,
        }
    }

    /// Reads an Opus packet. A packet too short to carry an identity gets the one implied by its neighbour.
    fn sound(&self, number: u64, packet: Bytes) -> Whole {
        let identity = match packet.len() {
            0 => None,
            len if len <= UNMARKED_LEN_MAX => self.implied(number),
            _ => opus::read(&packet),
        };
        identity.map_or(Whole::Unreadable, |identity| self.checked(number..=number, identity, packet))
    }

    fn implied(&self, number: u64) -> Option<FrameIdentity> {
        let (newest_packet, newest) = self.newest?;
        let steps = u32::try_from(number.checked_sub(newest_packet)?).ok()?;
        Some(FrameIdentity {
            number: newest.number.checked_add(steps)?,
            captured_us: newest.captured_us.checked_add(u64::from(steps) * SOUND_FRAME_US)?,
            first_packet: newest.first_packet.checked_add(u64::from(steps))?,
            ..newest
        })
    }

    /// Checks the identity of a frame that came in these packets.
    fn checked(&self, packets: RangeInclusive<u64>, identity: FrameIdentity, data: Bytes) -> Whole {
        let (first, last) = packets.into_inner();
        let is_consistent = self.stream.is_none_or(|stream| {
            let is_possible = identity.first_packet == first && u64::from(identity.number) <= last;
            identity.stream == stream && is_possible
        });
        if !is_consistent {
            return Whole::Unreadable;
        }
        let leaps = |(packet, newest): (u64, FrameIdentity)| {
            let frames = u64::from(identity.number.saturating_sub(newest.number));
            frames > last.saturating_sub(packet)
        };
        let is_bound = |newest: &FrameIdentity| newest.stream == identity.stream && !self.renumbers;
        match self.newest.filter(|(_, newest)| is_bound(newest)) {
            Some((_, newest)) if identity.number <= newest.number => Whole::Repeated,
            Some(newest) if self.stream.is_some() && leaps(newest) => Whole::Leaps,
            _ => Whole::Frame(Frame { kind: self.kind, identity, data, level: None }),
        }
    }

    /// Skips a gap after its timeout; returns `None` when there is no gap or the timeout is still running.
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

    /// Continues at packet `next` after a loss.
    fn lose(&mut self, next: u64) {
        match self.kind {
            MediaKind::Video => self.seek_from(next),
            MediaKind::Sound => self.cursor = Cursor::Following { first: next, end: next, entering: false },
        }
    }

    /// Searches for a keyframe from packet `from` on, and requests one unless a request is already out.
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
