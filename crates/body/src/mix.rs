//! The mixing role of this peer: rest, warm standby, or making the program, composed or passed through.
//!
//! A state machine beside the mixer, which runs on threads of its own. [`Mix`] sends it commands, gets its outputs
//! back, and knows its figures as of the last update; it never waits for it.
//!
//! At rest there is no mixer. A warm standby decodes the speakers' frames and encodes nothing. A mixer composes and
//! encodes the program; with one speaker it passes that speaker's frames through instead: they get the program's
//! identity, and no peer decodes them on the way. A change between the two keeps the stream, and happens at a
//! keyframe.

use plenary_proto::ordered::{OrderedMap, OrderedSet};
use std::collections::VecDeque;

use bytes::Bytes;
use plenary_media::codec::{EncodedPicture, VideoFormat};
use plenary_media::compose::{Layout, Placement};
use plenary_media::mixer::{
    CodecWork, Effort, EffortChange, Input as MixInput, MixerOutput, MixerPart, Percentiles, STALL_MAX,
};
use plenary_media::{CodecRemedy, Encoded, Frame};
use plenary_proto::identity::MediaKind;
use plenary_proto::message::{ProgramFormat, VideoRequest};
use plenary_proto::packet::{Contributor, Contributors, MediaPacket};
use plenary_proto::seal::Keypair;
use plenary_proto::{MixRole, PeerId, Rank, RoomId, StreamId, StreamKind, StreamSpec};

use crate::excess::Excess;
use crate::inflow::Inbound;
use crate::maker::Maker;
use crate::outs::MixerFailure;
use crate::oversize::PixelsMax;
use crate::seat::Seat;

mod requests;
mod tenures;

pub(crate) use requests::{Requested, TILE_BPS_MIN};

use tenures::Mark;
pub use tenures::Tenure;

/// Time after which a mixer no longer waits for a speaker's first picture.
const WARM_US_MAX: u64 = 1_200_000;
/// Text on the tile of a speaker with pictures beyond the request.
const LEFT_OUT: &str = " (picture too large)";
/// Maximum number of effort changes that wait to be reported; they are seconds apart.
const EFFORTS_MAX: usize = 16;
/// Maximum number of failures of the mixer that wait to be reported. A guess: the parts' guards report a few each.
const FAILURES_MAX: usize = 16;

/// A picture of a speaker on the roster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tile {
    /// Names the speaker and one of its pictures.
    pub(crate) seat: Seat,
    /// Name shown on its tile.
    pub(crate) name: String,
}

/// Command to the mixer. The shell carries commands out in their order.
#[derive(Clone, Debug, PartialEq)]
pub enum MixCommand {
    /// Starts a mixer, unless one runs.
    Keep {
        /// Format of the program's picture.
        format: VideoFormat,
        /// Layout of the tiles.
        layout: Layout,
        /// Packet loss of the sound in percent, if known.
        loss_percent: Option<u8>,
    },
    /// Ends the mixer.
    End,
    /// Sets the speakers to mix.
    Inputs(Vec<MixInput>),
    /// Sets the layout of the tiles.
    Layout(Layout),
    /// Sets the bitrate of the picture, in bits per second.
    Bitrate(u32),
    /// Sets the packet loss of the sound, in percent.
    Loss(u8),
    /// Starts composing and encoding, from this capture time on.
    Begin {
        /// Earliest capture time of the output, in microseconds.
        from_us: u64,
    },
    /// Stops composing and encoding; decoding goes on.
    Stop,
    /// Requests a keyframe of the program.
    Key,
    /// Sets the clock offset of an input and its round-trip time, in microseconds.
    Clock {
        /// The input.
        id: u64,
        /// Added to the input's capture times to get local time.
        offset_us: i64,
        /// Round-trip time of the link to the speaker.
        rtt_us: u64,
    },
    /// Hands over a frame of an input.
    Frame {
        /// The input.
        id: u64,
        /// The frame.
        frame: Frame,
        /// Time at which it was complete, in microseconds.
        arrived_us: u64,
    },
}

/// Figures of the mixer, as of the last update.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MixFigures {
    /// Pictures decoded by all mixers so far.
    pub decoded: u64,
    /// Pictures encoded by all mixers so far.
    pub encoded: u64,
    /// CPU time of all mixers so far, in microseconds.
    pub cpu_us: u64,
    /// Wall time of the video codecs of all mixers so far.
    pub codec: CodecWork,
    /// Work that the mixer spends on pictures.
    pub effort: Effort,
    /// Whether the program has had less than its configured frame rate or size for a while.
    pub falls_short: bool,
    /// Whether the mixer can't make the program, and nothing is left to try.
    pub failed: bool,
    /// Inputs of which at least one picture was decoded.
    pub pictured: Vec<u64>,
    /// Tile of each input.
    pub places: Vec<(u64, Placement)>,
    /// Time to compose and encode one picture, in microseconds.
    pub compose_encode_us: Option<Percentiles>,
    /// Latency that the mixer adds, from a picture's due time to its output, in microseconds.
    pub added_latency_us: Option<Percentiles>,
}

/// Begin of a speaker's part in the mix: capture times, microseconds since 1970 by the mixer's clock. Later pictures of
/// the program show the speaker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OnDesk {
    /// Capture time of its first keyframe since it came on stage.
    pub picture_us: Option<u64>,
    /// Capture time of its first sound.
    pub sound_us: Option<u64>,
}

/// A frame of the program, or of a mix-minus, with its packets.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) frame: Frame,
    pub(crate) packets: Vec<MediaPacket>,
    /// The stream, if this is its first keyframe.
    pub(crate) begins: Option<StreamSpec>,
}

/// A mix-minus sound frame.
pub(crate) struct Minus<'a> {
    pub(crate) speaker: PeerId,
    pub(crate) stream: (StreamId, StreamSpec),
    pub(crate) packets: Vec<MediaPacket>,
    /// Whether the stream was announced to the speaker.
    pub(crate) announced: &'a mut bool,
}

/// Result of an output of the mixer.
pub(crate) enum Mixed<'a> {
    Program(Made),
    Minus(Minus<'a>),
    /// This picture can't be decoded before its next keyframe.
    KeyWanted(Seat),
    Nothing,
}

/// What a change of role means for streams.
#[derive(Debug, Default)]
pub(crate) struct RoleChange {
    /// A new stream of the program begins.
    pub(crate) begins: Option<(StreamId, StreamSpec)>,
    /// A stream of the program has ended.
    pub(crate) ended: Option<StreamId>,
    /// Every speaker is asked for a keyframe.
    pub(crate) keys_wanted: bool,
}

/// State of this peer's mixing.
pub(crate) struct Mix {
    me: PeerId,
    room: RoomId,
    /// Keys with which the program and the mix-minus are sealed.
    keys: Option<Keypair>,
    role: MixRole,
    since_us: u64,
    tiles: Vec<Tile>,
    /// Speakers that get their mix-minus from this peer.
    homes: Vec<PeerId>,
    format: ProgramFormat,
    /// Present bitrate of the picture, at most that of the format.
    rate_bps: u32,
    layout: Layout,
    /// Packet loss on the links to the first tier, in percent.
    loss_percent: Option<u8>,
    program: Option<Maker>,
    /// Whether the program's first keyframe was made.
    started: bool,
    /// Speaker with frames that are passed through.
    passing_through: Option<PeerId>,
    /// Time since which sound of the speaker to pass through has come without a picture.
    unpictured_us: Option<u64>,
    /// Time at which composing replaces passing through even if a speaker's picture is missing.
    compose_at_us: u64,
    /// Mix-minus streams by speaker, and whether the speaker knows the stream.
    minus: OrderedMap<PeerId, (Maker, bool)>,
    /// Whether a mixer was requested.
    has_mixer: bool,
    figures: MixFigures,
    tenures: Vec<Tenure>,
    mark: Mark,
    least_effort: Effort,
    efforts: VecDeque<EffortChange>,
    failures: VecDeque<MixerFailure>,
    /// Whether a failure for good was reported.
    gave_up: bool,
    /// Whether the brain was told that this peer can't mix.
    failed_told: bool,
    tiles_moved: bool,
    warm_told: bool,
    key_seen: bool,
    on_desk: OrderedMap<PeerId, OnDesk>,
    /// Speakers that share a screen or a film, by their streams.
    sharing: OrderedSet<PeerId>,
    /// Each speaker's pictures, compared with the requests.
    excess: OrderedMap<Seat, Excess>,
    /// Those with tiles that say so.
    exceeding: OrderedSet<Seat>,
    /// Offset from each speaker's clock to the local clock, in microseconds.
    offsets_us: OrderedMap<PeerId, i64>,
}

/// Whether a role begins a new stream of the program, after one that began under `begun`.
fn begins_anew(begun: Option<Rank>, role: MixRole) -> bool {
    matches!(role, MixRole::Mix { .. }) && !begun.is_some_and(|begun| role.continues(begun))
}

fn sound(packet: Bytes, captured_us: u64, level: u8) -> Encoded {
    Encoded { kind: MediaKind::Sound, data: packet, captured_us, key: false, temporal: 0, level: Some(level) }
}

impl Mix {
    pub(crate) fn new(me: PeerId, room: RoomId, keys: Option<Keypair>) -> Mix {
        let format = ProgramFormat { width: 1280, height: 720, fps: 30, bitrate_bps: 1_500_000 };
        Mix {
            me,
            room,
            keys,
            role: MixRole::Rest,
            since_us: 0,
            tiles: Vec::new(),
            homes: Vec::new(),
            rate_bps: format.bitrate_bps,
            format,
            layout: Layout::Grid,
            loss_percent: None,
            program: None,
            started: false,
            passing_through: None,
            unpictured_us: None,
            compose_at_us: 0,
            minus: OrderedMap::new(),
            has_mixer: false,
            figures: MixFigures::default(),
            tenures: Vec::new(),
            mark: Mark::default(),
            least_effort: Effort::Full,
            efforts: VecDeque::new(),
            failures: VecDeque::new(),
            gave_up: false,
            failed_told: false,
            tiles_moved: false,
            warm_told: false,
            key_seen: false,
            on_desk: OrderedMap::new(),
            sharing: OrderedSet::new(),
            excess: OrderedMap::new(),
            exceeding: OrderedSet::new(),
            offsets_us: OrderedMap::new(),
        }
    }

    /// Whether this peer makes the program.
    pub(crate) fn is_mixing(&self) -> bool {
        matches!(self.role, MixRole::Mix { .. })
    }

    /// Whether it makes the program from one speaker's own frames.
    pub(crate) fn passes_through(&self) -> bool {
        self.passing_through.is_some()
    }

    // ── decisions of the brain ───────────────────────────────────────────────────────────────────────────────

    /// Takes on a role. `start` is random; it tells this peer's streams apart.
    pub(crate) fn set_role(
        &mut self,
        role: MixRole,
        now_us: u64,
        start: [u8; 8],
        commands: &mut Vec<MixCommand>,
    ) -> RoleChange {
        let before = std::mem::replace(&mut self.role, role);
        let begins = begins_anew(self.program.as_ref().map(|maker| maker.spec.rank), role);
        let mut change = RoleChange::default();
        if let MixRole::Mix { rank, .. } = before
            && !matches!(role, MixRole::Mix { rank: next, .. } if next == rank)
        {
            self.end_tenure(rank, now_us);
        }
        if std::mem::discriminant(&before) != std::mem::discriminant(&role) {
            (self.since_us, self.warm_told, self.key_seen) = (now_us, false, false);
        }
        let pass_through = match role {
            MixRole::Rest => None,
            MixRole::Warm { pass_through } | MixRole::Mix { pass_through, .. } => Some(pass_through),
        };
        if let MixRole::Mix { rank, .. } = role {
            let mark = self.mark();
            if begins {
                let maker = Maker::new(&self.room, self.me, StreamKind::Program, rank, start)
                    .sealed_by(self.keys.as_ref());
                change.begins = Some((maker.id, maker.spec));
                (self.program, self.started, self.passing_through) = (Some(maker), false, None);
            }
            if !matches!(before, MixRole::Mix { rank: known, .. } if known == rank) {
                (self.since_us, self.mark, self.least_effort) = (now_us, mark, self.figures.effort);
            }
        } else {
            self.passing_through = None;
            self.rate_bps = self.format.bitrate_bps;
            change.ended = self.program.take().map(|maker| maker.id);
        }
        if role == MixRole::Rest {
            self.minus.clear();
        }
        match pass_through {
            // composed frames continue until there is a keyframe to pass through
            Some(true) => change.keys_wanted = true,
            Some(false) => {
                self.compose_at_us = now_us + WARM_US_MAX;
                self.keep_mixer(commands);
                if begins {
                    commands.push(MixCommand::Key); // a mixer that runs already is in the middle of a GOP
                }
            }
            None => self.end_mixer(commands),
        }
        self.steer(commands);
        change
    }

    /// Sets speakers, format and layout of the program. Returns true if the passed-through speaker
    /// has left, so that every speaker is asked for a keyframe.
    pub(crate) fn set_tiles(
        &mut self,
        tiles: Vec<Tile>,
        format: ProgramFormat,
        layout: Layout,
        commands: &mut Vec<MixCommand>,
    ) -> bool {
        if self.layout != layout && self.has_mixer {
            commands.push(MixCommand::Layout(layout.clone()));
        }
        if self.format.bitrate_bps != format.bitrate_bps {
            self.rate_bps = format.bitrate_bps;
        }
        (self.tiles, self.format, self.layout) = (tiles, format, layout);
        let present: Vec<_> = self.speakers().collect();
        self.minus.retain(|peer, _| present.contains(peer));
        self.on_desk.retain(|peer, _| present.contains(peer));
        self.sharing.retain(|peer| present.contains(peer));
        let has_tile = |seat: &Seat| self.tiles.iter().any(|tile| tile.seat == *seat);
        self.excess.retain(|seat, _| has_tile(seat));
        self.exceeding.retain(has_tile);
        self.offsets_us.retain(|peer, _| present.contains(peer));
        self.set_inputs(commands);
        self.passing_through.take_if(|peer| !present.contains(peer)).is_some()
    }

    /// Sets the speakers that get their mix-minus from this peer.
    pub(crate) fn set_homes(&mut self, homes: Vec<PeerId>, commands: &mut Vec<MixCommand>) {
        self.minus.retain(|speaker, _| homes.contains(speaker));
        self.homes = homes;
        self.set_inputs(commands);
    }

    /// Returns the wall time of the mixer's video codecs so far.
    pub(crate) fn codec(&self) -> &CodecWork {
        &self.figures.codec
    }

    /// Returns the bitrate of the program's picture as the room requests it, and at present, in bits per second.
    pub(crate) fn rates_bps(&self) -> (u32, u32) {
        (self.format.bitrate_bps, self.rate_bps)
    }

    /// Sets the bitrate of the program's picture.
    pub(crate) fn set_rate(&mut self, rate_bps: u32, commands: &mut Vec<MixCommand>) {
        self.rate_bps = rate_bps;
        if self.has_mixer {
            commands.push(MixCommand::Bitrate(rate_bps));
        }
    }

    /// Sets the packet loss of the program's sound and of the mix-minuses, in percent.
    pub(crate) fn set_loss(&mut self, percent: u8, commands: &mut Vec<MixCommand>) {
        self.loss_percent = Some(percent);
        if self.has_mixer {
            commands.push(MixCommand::Loss(percent));
        }
    }

    /// Requests a keyframe of the composed program.
    pub(crate) fn want_key(&self, commands: &mut Vec<MixCommand>) {
        if self.has_mixer {
            commands.push(MixCommand::Key);
        }
    }

    /// Returns the speakers on the roster.
    pub(crate) fn speakers(&self) -> impl Iterator<Item = PeerId> {
        self.tiles.iter().filter(|tile| !tile.seat.beside).map(|tile| tile.seat.peer)
    }

    /// Updates the offset of a speaker's clock and its round-trip time, in microseconds.
    pub(crate) fn set_clock(
        &mut self,
        speaker: &PeerId,
        offset_us: i64,
        rtt_us: u64,
        commands: &mut Vec<MixCommand>,
    ) {
        self.offsets_us.insert(*speaker, offset_us);
        if self.has_mixer {
            let beside =
                self.tiles.iter().map(|tile| tile.seat).filter(|seat| *seat == Seat::beside(speaker));
            let ids = std::iter::once(Seat::from(speaker)).chain(beside).map(|seat| seat.input_id());
            commands.extend(ids.map(|id| MixCommand::Clock { id, offset_us, rtt_us }));
        }
    }

    /// Forgets that a speaker knows its mix-minus stream: its link is new.
    pub(crate) fn link_up(&mut self, peer: &PeerId) {
        if let Some((_, announced)) = self.minus.get_mut(peer) {
            *announced = false;
        }
    }

    // ── the mixer ────────────────────────────────────────────────────────────────────────────────────────────

    fn keep_mixer(&mut self, commands: &mut Vec<MixCommand>) {
        if std::mem::replace(&mut self.has_mixer, true) {
            return;
        }
        let ProgramFormat { width, height, fps, .. } = self.format;
        commands.push(MixCommand::Keep {
            format: VideoFormat { width, height, fps, bitrate_bps: self.rate_bps },
            layout: self.layout.clone(),
            loss_percent: self.loss_percent,
        });
        self.set_inputs(commands);
    }

    fn end_mixer(&mut self, commands: &mut Vec<MixCommand>) {
        if std::mem::take(&mut self.has_mixer) {
            commands.push(MixCommand::End);
        }
    }

    fn set_inputs(&self, commands: &mut Vec<MixCommand>) {
        if !self.has_mixer {
            return;
        }
        let inputs = self.tiles.iter().map(|tile| MixInput {
            id: tile.seat.input_id(),
            name: self.name_on(tile),
            muted: false, // the mixer hears it: the roster comes later than the first word after a pause
            shares: tile.seat.beside || self.sharing.contains(&tile.seat.peer),
            beside: tile.seat.beside.then(|| Seat::from(&tile.seat.peer).input_id()),
            hears: !tile.seat.beside && self.homes.contains(&tile.seat.peer),
        });
        commands.push(MixCommand::Inputs(inputs.collect()));
    }

    /// Returns the name on a tile, which also says why there is no picture.
    fn name_on(&self, tile: &Tile) -> String {
        match self.exceeding.contains(&tile.seat) {
            true => format!("{}{LEFT_OUT}", tile.name),
            false => tile.name.clone(),
        }
    }

    /// Returns whether a frame is within the bounds of what is asked of its speaker.
    fn admits(&mut self, seat: Seat, frame: &Frame, now_us: u64) -> bool {
        let ProgramFormat { width, height, fps, bitrate_bps } = self.format;
        let program = VideoRequest { width, height, fps, bitrate_bps };
        let asked = self.request_of(seat);
        self.excess.entry(seat).or_default().admits(frame, asked, program, now_us)
    }

    /// Renews the tiles of speakers when their pictures are left out, or no longer are.
    fn tell_excess(&mut self, now_us: u64, commands: &mut Vec<MixCommand>) {
        let told = self.excess.iter().filter(|(_, excess)| excess.is_told(now_us));
        let exceeding: OrderedSet<_> = told.map(|(seat, _)| *seat).collect();
        if exceeding != self.exceeding {
            for seat in exceeding.difference(&self.exceeding) {
                tracing::warn!(speaker = %seat.peer, "pictures beyond the request are left out");
            }
            self.exceeding = exceeding;
            self.set_inputs(commands);
        }
    }

    /// Starts or stops the mixer's output, by role and pass-through.
    fn steer(&self, commands: &mut Vec<MixCommand>) {
        if !self.has_mixer {
            return;
        }
        if !self.is_mixing() || self.passing_through.is_some() {
            commands.push(MixCommand::Stop);
            return;
        }
        // frames that were passed through are newer than the mixer's next ones, which wait in jitter buffers
        let passed_us = self.program.as_ref().map_or(0, |program| program.captured_us(MediaKind::Video));
        let frame_us = 1_000_000 / u64::from(self.format.fps.max(1));
        commands.push(MixCommand::Begin { from_us: passed_us.saturating_add(frame_us * 3 / 4) });
    }

    /// Takes a frame of a speaker. Returns a frame of the program if it is passed through.
    pub(crate) fn take(&mut self, inbound: Inbound, commands: &mut Vec<MixCommand>) -> Option<Made> {
        let Inbound { maker, kind, frame, arrived_us } = inbound;
        if kind == StreamKind::Beside {
            self.take_beside(maker, frame, arrived_us, commands);
            return None;
        }
        if !self.speakers().any(|speaker| speaker == maker) {
            return None;
        }
        let shares = kind == StreamKind::Share;
        if self.sharing.contains(&maker) != shares {
            if shares {
                self.sharing.insert(maker)
            } else {
                self.sharing.remove(&maker)
            };
            self.set_inputs(commands);
        }
        if self.role != MixRole::Rest && !self.admits(Seat::from(&maker), &frame, arrived_us) {
            return None;
        }
        let key = frame.kind == MediaKind::Video && frame.identity.key;
        self.key_seen |= key;
        // a speaker that has not had its request yet may send more than a viewer takes
        let pixels = self.excess.get(&Seat::from(&maker)).map_or(0, Excess::pixels);
        let fits = frame.kind == MediaKind::Sound || pixels <= PixelsMax::of(self.format).program;
        let offset_us = self.offsets_us.get(&maker).copied().unwrap_or(0);
        let captured_us = frame.identity.captured_us.saturating_add_signed(offset_us);
        let on_desk = self.on_desk.entry(maker).or_default();
        match frame.kind {
            MediaKind::Sound => on_desk.sound_us = on_desk.sound_us.or(Some(captured_us)),
            MediaKind::Video if key => on_desk.picture_us = on_desk.picture_us.or(Some(captured_us)),
            MediaKind::Video => {}
        }
        if matches!(self.role, MixRole::Mix { pass_through: true, .. })
            && self.passing_through.is_none()
            && key
            && fits
        {
            self.passing_through = Some(maker);
            self.end_mixer(commands);
        }
        // sound waits for the first picture, so that both begin together
        let begun = || self.program.as_ref().is_some_and(|program| program.frames(MediaKind::Video) > 0);
        let passes = self.passing_through == Some(maker) && (key || begun()) && fits;
        let made = passes.then(|| {
            let encoded = Encoded {
                kind: frame.kind,
                data: frame.data.clone(),
                captured_us,
                key: frame.identity.key,
                temporal: frame.identity.temporal,
                level: frame.level,
            };
            let voice = frame.level.map(|level| Contributor { csrc: maker.csrc(), level });
            self.make(&encoded, &voice.into_iter().collect())
        });
        // also while frames are passed through, if composing is next: the mixer needs every speaker's picture
        if self.has_mixer {
            commands.push(MixCommand::Frame { id: Seat::from(&maker).input_id(), frame, arrived_us });
        }
        made.flatten()
    }

    /// Takes a frame of the picture beside a speaker's own stream. It is composed, never passed through, once the
    /// roster says that the speaker sends two. Such a stream has no sound.
    fn take_beside(&mut self, maker: PeerId, frame: Frame, arrived_us: u64, commands: &mut Vec<MixCommand>) {
        let seat = Seat::beside(&maker);
        let is_shown = frame.kind == MediaKind::Video && self.tiles.iter().any(|tile| tile.seat == seat);
        if self.has_mixer && is_shown && self.admits(seat, &frame, arrived_us) {
            commands.push(MixCommand::Frame { id: seat.input_id(), frame, arrived_us });
        }
    }

    /// Numbers a frame of the program and cuts it into packets.
    fn make(&mut self, encoded: &Encoded, contributors: &Contributors) -> Option<Made> {
        let program = self.program.as_mut()?;
        let (frame, packets) = program.make(encoded, contributors)?;
        let begins = !self.started && frame.identity.key;
        self.started |= begins;
        Some(Made { frame, packets, begins: begins.then_some(program.spec) })
    }

    /// Takes an output of the mixer. `start` is random; it is used for a new mix-minus stream.
    pub(crate) fn mixed(&mut self, output: MixerOutput, start: [u8; 8]) -> Mixed<'_> {
        let composes = self.passing_through.is_none();
        match output {
            MixerOutput::Video { picture, captured_us } if composes => {
                let EncodedPicture { data, key, temporal, .. } = picture;
                let encoded =
                    Encoded { kind: MediaKind::Video, data, captured_us, key, temporal, level: None };
                self.make(&encoded, &Contributors::new()).map_or(Mixed::Nothing, Mixed::Program)
            }
            MixerOutput::Sound { packet, captured_us, level, contributors } if self.started && composes => {
                let voices = self.named(&contributors);
                self.make(&sound(packet, captured_us, level), &voices).map_or(Mixed::Nothing, Mixed::Program)
            }
            MixerOutput::MixMinus { id, packet, captured_us, level, contributors } => {
                let voices = self.named(&contributors);
                let minus = self.make_minus(id, &sound(packet, captured_us, level), &voices, start);
                minus.map_or(Mixed::Nothing, Mixed::Minus)
            }
            MixerOutput::KeyWanted { id } => self.seat(id).map_or(Mixed::Nothing, Mixed::KeyWanted),
            MixerOutput::Effort(change) => {
                self.least_effort = self.least_effort.max(change.effort);
                self.efforts.push_back(change);
                if self.efforts.len() > EFFORTS_MAX {
                    self.efforts.pop_front();
                }
                Mixed::Nothing
            }
            MixerOutput::TilesMoved => {
                self.tiles_moved = true;
                Mixed::Nothing
            }
            MixerOutput::CodecFailed { what, text, remedy } => {
                let speaker = match what {
                    MixerPart::Decoder(id) => self.speaker(id),
                    _ => None,
                };
                self.note_failure(MixerFailure { part: what, speaker, text, remedy });
                Mixed::Nothing
            }
            MixerOutput::Video { .. } | MixerOutput::Sound { .. } => Mixed::Nothing,
        }
    }

    fn make_minus(
        &mut self,
        id: u64,
        encoded: &Encoded,
        contributors: &Contributors,
        start: [u8; 8],
    ) -> Option<Minus<'_>> {
        let speaker = self.speaker(id)?;
        let MixRole::Mix { rank, .. } = self.role else { return None };
        let (room, me, keys) = (&self.room, self.me, self.keys.as_ref());
        let (maker, announced) = self.minus.entry(speaker).or_insert_with(|| {
            (Maker::new(room, me, StreamKind::MixMinus, rank, start).sealed_by(keys), false)
        });
        let (_, packets) = maker.make(encoded, contributors)?;
        Some(Minus { speaker, stream: (maker.id, maker.spec), packets, announced })
    }

    /// Returns the picture behind the mixer's identifier.
    fn seat(&self, id: u64) -> Option<Seat> {
        self.tiles.iter().map(|tile| tile.seat).find(|seat| seat.input_id() == id)
    }

    /// Returns the speaker behind the mixer's identifier.
    fn speaker(&self, id: u64) -> Option<PeerId> {
        self.seat(id).map(|seat| seat.peer)
    }

    /// Returns the mixer's contributors as packets name them.
    fn named(&self, voices: &[(u64, u8)]) -> Contributors {
        let voice = |&(id, level): &(u64, u8)| {
            self.speaker(id).map(|speaker| Contributor { csrc: speaker.csrc(), level })
        };
        voices.iter().filter_map(voice).collect()
    }

    // ── time and figures ─────────────────────────────────────────────────────────────────────────────────────

    /// Updates the mixer's figures.
    pub(crate) fn set_figures(&mut self, figures: MixFigures) {
        self.figures = figures;
    }

    /// Changes from passing through to composing once every speaker has a picture. Returns true once, when a
    /// standby is warm. To be called some 40 times a second.
    pub(crate) fn update(&mut self, now_us: u64, commands: &mut Vec<MixCommand>) -> bool {
        self.tell_excess(now_us, commands);
        if self.passing_through.is_some() && matches!(self.role, MixRole::Mix { pass_through: false, .. }) {
            if self.has_pictures() || now_us >= self.compose_at_us {
                self.passing_through = None;
                self.steer(commands);
            }
            return false;
        }
        self.compose_card(now_us, commands);
        let MixRole::Warm { pass_through } = self.role else { return false };
        if self.warm_told {
            return false;
        }
        let waited = now_us.saturating_sub(self.since_us) >= WARM_US_MAX;
        let ready = if pass_through { self.key_seen } else { self.has_pictures() };
        self.warm_told = ready || waited;
        self.warm_told
    }

    /// Composes the card of a single speaker that sends sound alone, until there is a keyframe to pass through: nothing
    /// begins without a picture.
    fn compose_card(&mut self, now_us: u64, commands: &mut Vec<MixCommand>) {
        let is_unpictured = matches!(self.role, MixRole::Mix { pass_through: true, .. })
            && !self.has_mixer
            && self.passing_through.is_none()
            && self.on_desk.values().any(|speaker| speaker.sound_us.is_some());
        if !is_unpictured {
            self.unpictured_us = None;
        } else if now_us.saturating_sub(*self.unpictured_us.get_or_insert(now_us)) >= WARM_US_MAX {
            self.keep_mixer(commands);
            self.steer(commands);
        }
    }

    fn has_pictures(&self) -> bool {
        self.has_mixer && self.tiles.iter().all(|tile| self.figures.pictured.contains(&tile.seat.input_id()))
    }

    /// Whether the program has had less than its configured frame rate or size for a while.
    pub(crate) fn falls_short(&self) -> bool {
        self.is_mixing() && self.passing_through.is_none() && self.figures.falls_short
    }

    fn note_failure(&mut self, failure: MixerFailure) {
        self.gave_up |= failure.remedy == CodecRemedy::GaveUp && failure.part.is_vital();
        if self.failures.len() < FAILURES_MAX {
            self.failures.push_back(failure);
        }
    }

    /// Returns the failures of the mixer since the last call.
    pub(crate) fn take_failures(&mut self) -> VecDeque<MixerFailure> {
        std::mem::take(&mut self.failures)
    }

    /// Whether its codecs have failed: true once.
    pub(crate) fn takes_failure(&mut self) -> bool {
        if !self.figures.failed || std::mem::replace(&mut self.failed_told, true) {
            return false;
        }
        if !self.gave_up {
            let text = format!("no picture was made for {} s", STALL_MAX.as_secs());
            let (part, remedy) = (MixerPart::Compositor, CodecRemedy::GaveUp);
            self.note_failure(MixerFailure { part, speaker: None, text, remedy });
        }
        true
    }

    /// Returns the effort changes since the last call.
    pub(crate) fn take_efforts(&mut self) -> VecDeque<EffortChange> {
        std::mem::take(&mut self.efforts)
    }

    /// Whether the mixer has moved tiles since the last call.
    pub(crate) fn take_tiles_moved(&mut self) -> bool {
        std::mem::take(&mut self.tiles_moved)
    }

    /// Returns the time from which on a speaker is in this peer's mix.
    pub(crate) fn on_desk(&self, speaker: &PeerId) -> OnDesk {
        self.on_desk.get(speaker).copied().unwrap_or_default()
    }

    /// Ends role and mixer; the tenures stay.
    pub(crate) fn close(&mut self, now_us: u64, commands: &mut Vec<MixCommand>) {
        if let MixRole::Mix { rank, .. } = std::mem::replace(&mut self.role, MixRole::Rest) {
            self.end_tenure(rank, now_us);
        }
        self.end_mixer(commands);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_continues_as_long_as_its_mixer_is_in_force() {
        let rank = |term| Rank { term, failover_count: 0 };
        let mix = |term| MixRole::Mix { rank: rank(term), pass_through: true };
        let rows = [
            (None, mix(1), true),
            (Some(1), mix(1), false),
            (Some(1), mix(3), false),
            // a mandate of a host that had been succeeded was void
            (Some(1), mix(0), true),
            (None, MixRole::Warm { pass_through: true }, false),
            (Some(1), MixRole::Rest, false),
        ];
        for (row, (begun, role, begins)) in rows.into_iter().enumerate() {
            assert_eq!(begins_anew(begun.map(rank), role), begins, "row {row}");
        }
    }
}
