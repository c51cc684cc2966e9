//! The mixing desk: what this peer does in the mix, as the brain says it.
//!
//! At rest there is nothing. Warm, the speakers' frames are decoded and nothing else. Mixing, the program is
//! composed and encoded, or with one speaker passed through: that speaker's frames get the program's identity and
//! nobody decodes them. Between the two the stream goes on; the switch is at a key frame.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use plenary_media::Clock;
use plenary_media::Encoded;
use plenary_media::codec::{Codecs, EncodedPicture, VideoFormat};
use plenary_media::compose::Layout;
use plenary_media::mixer::{
    Effort, EffortChange, Input as MixerInput, Mixer, MixerConfig, MixerOutput, MixerStats,
};
use plenary_proto::identity::MediaKind;
use plenary_proto::message::{ProgramFormat, VideoRequest};
use plenary_proto::{MixRole, PeerId, Rank, StreamKind};
use plenary_rtc::{Contributor, Contributors};

use tracing::Span;

use crate::flow::{Flow, Inbound, Maker, Spread};
use crate::random_bytes;

/// What a tile's picture costs: 640×360 at 30 fps in 600 kbit/s (our measurement of quality, media bench).
const MILLIBITS_PER_PIXEL: u64 = 87;
/// However small a tile is, its picture gets this much.
const TILE_BPS_MIN: u64 = 100_000;
/// A desk that has no picture of a speaker after this long doesn't wait for it.
const WARM_US_MAX: u64 = 1_200_000;
/// Maximum number of speakers heard at a time. A guess.
const HEARD_MAX: usize = 5;
/// Times as a mixer that are remembered.
const TENURES_MAX: usize = 64;
/// Changes of the mixer's effort that wait to be told; they come seconds apart.
const EFFORTS_MAX: usize = 16;

/// One speaker, as the roster has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tile {
    pub(crate) peer: PeerId,
    pub(crate) name: String,
}

/// How this peer's time as a mixer went.
#[derive(Clone, Debug, PartialEq)]
pub struct Tenure {
    /// The mandate.
    pub rank: Rank,
    /// Frames were passed through at its end, not composed.
    pub pass_through: bool,
    /// When it began, microseconds since 1970.
    pub since_us: u64,
    /// When it ended; `None` while it lasts.
    pub until_us: Option<u64>,
    /// Speakers' pictures decoded.
    pub decoded_frames: u64,
    /// Program pictures encoded.
    pub encoded_frames: u64,
    /// Program pictures made, encoded or passed through.
    pub frames: u64,
    /// Composing and encoding one picture; `None` when passed through.
    pub compose_encode: Option<Spread>,
    /// From when a picture was due to when it was out; `None` when passed through.
    pub added_latency: Option<Spread>,
    /// What the program's picture may cost, bits per second: what the room asks for, or less, as viewers' lines have it.
    pub rate_bps: u32,
    /// Processor time of the mixer's threads, microseconds.
    pub cpu_us: u64,
    /// The least work that it spent on pictures: anything but [`Effort::Full`] was for want of time.
    pub least_effort: Effort,
}

/// Since when a speaker is in the mix: capture times, microseconds since 1970 by the mixer's clock. What the mixer makes
/// of that time on shows the speaker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OnDesk {
    /// Of its first key frame since it has been on stage.
    pub picture_us: Option<u64>,
    /// Of its first sound.
    pub sound_us: Option<u64>,
}

/// Counters of the mixer at one moment.
#[derive(Clone, Copy, Debug, Default)]
struct Mark {
    decoded: u64,
    encoded: u64,
    made: u64,
    cpu_us: u64,
}

struct State {
    role: MixRole,
    since_us: u64,
    tiles: Vec<Tile>,
    /// Speakers that get their mix-minus from here.
    homes: Vec<PeerId>,
    format: ProgramFormat,
    /// What the picture costs at present, of what the format allows.
    rate_bps: u32,
    layout: Layout,
    /// As links to the first viewers have it.
    loss_percent: Option<u8>,
    program: Option<Maker>,
    started: bool,
    /// Whose frames are passed through now.
    passing_through: Option<PeerId>,
    /// When composing begins instead, whoever's picture is still missing.
    compose_at_us: u64,
    minus: BTreeMap<PeerId, (Maker, bool)>,
    tenures: Vec<Tenure>,
    mark: Mark,
    least_effort: Effort,
    /// What is still to be told.
    efforts: VecDeque<EffortChange>,
    warm_told: bool,
    key_seen: bool,
    on_desk: BTreeMap<PeerId, OnDesk>,
    /// Speakers that show a screen or a film, by their streams.
    sharing: BTreeSet<PeerId>,
    /// From each speaker's clock to ours.
    offsets_us: BTreeMap<PeerId, i64>,
}

impl State {
    /// Whom the mixer knows by that name.
    fn speaker(&self, id: u64) -> Option<PeerId> {
        self.tiles.iter().map(|tile| tile.peer).find(|peer| input_id(peer) == id)
    }

    /// The mixer's voices, as packets name them.
    fn named(&self, voices: &[(u64, u8)]) -> Contributors {
        let voice = |&(id, level): &(u64, u8)| {
            self.speaker(id).map(|speaker| Contributor { csrc: speaker.csrc(), level })
        };
        voices.iter().filter_map(voice).collect()
    }
}

/// What this peer does in the mix.
pub(crate) struct Desk {
    me: PeerId,
    flow: Weak<Flow>,
    clock: Clock,
    codecs: Option<Arc<dyn Codecs>>,
    sound_bitrate_bps: u32,
    /// The room's: links and mixer call on tasks and threads of their own.
    span: Span,
    state: Mutex<State>,
    mixer: Mutex<Option<Arc<Mixer>>>,
    /// Held while inputs are named to the mixer: of two that do so at a time the later one knows more.
    naming: Mutex<()>,
    /// What mixers did that have ended.
    past: Mutex<Mark>,
    tiles_moved: AtomicBool,
}

/// Whether a new stream of the program begins with a role, where one has begun under that rank.
fn begins_anew(begun: Option<Rank>, role: MixRole) -> bool {
    matches!(role, MixRole::Mix { .. }) && !begun.is_some_and(|begun| role.continues(begun))
}

/// The mixer's name for a speaker.
fn input_id(peer: &PeerId) -> u64 {
    u64::from_be_bytes(peer.short().0)
}

impl Desk {
    /// At rest. Without codecs it can pass through, and nothing else.
    pub(crate) fn new(
        me: PeerId,
        flow: &Arc<Flow>,
        clock: Clock,
        codecs: Option<Arc<dyn Codecs>>,
        sound_bitrate_bps: u32,
    ) -> Arc<Desk> {
        let state = State {
            role: MixRole::Rest,
            since_us: 0,
            tiles: Vec::new(),
            homes: Vec::new(),
            format: ProgramFormat { width: 1280, height: 720, fps: 30, bitrate_bps: 1_500_000 },
            rate_bps: 1_500_000,
            layout: Layout::Grid,
            loss_percent: None,
            program: None,
            started: false,
            passing_through: None,
            compose_at_us: 0,
            minus: BTreeMap::new(),
            tenures: Vec::new(),
            mark: Mark::default(),
            least_effort: Effort::Full,
            efforts: VecDeque::new(),
            warm_told: false,
            key_seen: false,
            on_desk: BTreeMap::new(),
            sharing: BTreeSet::new(),
            offsets_us: BTreeMap::new(),
        };
        let (state, mixer, past) = (Mutex::new(state), Mutex::new(None), Mutex::default());
        Arc::new(Desk {
            me,
            flow: Arc::downgrade(flow),
            clock,
            codecs,
            sound_bitrate_bps,
            span: flow.span().clone(),
            state,
            mixer,
            naming: Mutex::new(()),
            past,
            tiles_moved: AtomicBool::new(false),
        })
    }

    /// Whether this peer makes the program.
    pub(crate) fn is_mixing(&self) -> bool {
        matches!(self.state.lock().role, MixRole::Mix { .. })
    }

    // ── what the brain has decided ───────────────────────────────────────────────────────────────────────────────

    /// Takes on a role.
    pub(crate) fn set_role(self: &Arc<Self>, role: MixRole) {
        let now_us = self.clock.now_us();
        let (mark, effort) = (self.mark(), self.effort());
        let mut state = self.state.lock();
        let before = std::mem::replace(&mut state.role, role);
        let begins = begins_anew(state.program.as_ref().map(|maker| maker.spec.rank), role);
        let pass_through = match role {
            MixRole::Rest => None,
            MixRole::Warm { pass_through } | MixRole::Mix { pass_through, .. } => Some(pass_through),
        };
        if let MixRole::Mix { rank, .. } = before {
            let same = matches!(role, MixRole::Mix { rank: next, .. } if next == rank);
            if !same {
                self.end_tenure(&mut state, rank, mark, now_us);
            }
        }
        if std::mem::discriminant(&before) != std::mem::discriminant(&role) {
            (state.since_us, state.warm_told, state.key_seen) = (now_us, false, false);
        }
        match role {
            MixRole::Mix { rank, .. } => {
                if begins {
                    let Some(flow) = self.flow.upgrade() else { return };
                    let maker = Maker::new(&flow.room(), self.me, StreamKind::Program, rank, random_bytes());
                    flow.follow_own_program(maker.id, maker.spec);
                    (state.program, state.started, state.passing_through) = (Some(maker), false, None);
                }
                if !matches!(before, MixRole::Mix { rank: known, .. } if known == rank) {
                    (state.since_us, state.mark, state.least_effort) = (now_us, mark, effort);
                }
            }
            MixRole::Rest | MixRole::Warm { .. } => {
                state.passing_through = None;
                state.rate_bps = state.format.bitrate_bps;
                if let (Some(maker), Some(flow)) = (state.program.take(), self.flow.upgrade()) {
                    flow.end_own_program(&maker.id);
                }
            }
        }
        if role == MixRole::Rest {
            state.minus.clear();
        }
        if pass_through == Some(false) {
            state.compose_at_us = now_us + WARM_US_MAX;
        }
        drop(state);
        match pass_through {
            // composed frames go on until there is a key frame to pass through
            Some(true) => self.want_keys(),
            Some(false) => {
                self.keep_mixer();
                if let Some(mixer) = self.mixer().filter(|_| begins) {
                    mixer.want_key(); // one that runs already is in the middle of a group of pictures
                }
            }
            None => self.end_mixer_soon(),
        }
        self.steer();
    }

    /// The speakers and the program's format have changed.
    pub(crate) fn set_tiles(self: &Arc<Self>, tiles: Vec<Tile>, format: ProgramFormat, layout: Layout) {
        let mut state = self.state.lock();
        let laid_out_anew = (state.layout != layout).then(|| layout.clone());
        if state.format.bitrate_bps != format.bitrate_bps {
            state.rate_bps = format.bitrate_bps;
        }
        (state.tiles, state.format, state.layout) = (tiles, format, layout);
        let present: Vec<_> = state.tiles.iter().map(|tile| tile.peer).collect();
        state.minus.retain(|peer, _| present.contains(peer));
        state.on_desk.retain(|peer, _| present.contains(peer));
        state.sharing.retain(|peer| present.contains(peer));
        let lost = state.passing_through.take_if(|peer| !present.contains(peer)).is_some();
        drop(state);
        if lost {
            self.want_keys();
        }
        if let (Some(layout), Some(mixer)) = (laid_out_anew, self.mixer()) {
            mixer.set_layout(layout);
        }
        self.set_inputs();
    }

    /// Whether the mixer has moved tiles since this was asked last: who speaks has changed.
    pub(crate) fn tiles_moved(&self) -> bool {
        self.tiles_moved.swap(false, Ordering::Relaxed)
    }

    /// What the program's picture may cost, and costs at present, bits per second.
    pub(crate) fn rates_bps(&self) -> (u32, u32) {
        let state = self.state.lock();
        (state.format.bitrate_bps, state.rate_bps)
    }

    /// Lets the program's picture cost so much from now on: by our encoder, or, passed through, by its speaker's.
    pub(crate) fn set_rate(&self, rate_bps: u32) {
        self.state.lock().rate_bps = rate_bps;
        if let Some(mixer) = self.mixer() {
            mixer.set_bitrate(rate_bps);
        }
    }

    /// So many of 100 packets of the program's sound, and of speakers' own mixes, get lost on the way.
    pub(crate) fn set_loss(&self, percent: u8) {
        self.state.lock().loss_percent = Some(percent);
        if let Some(mixer) = self.mixer() {
            mixer.set_loss(percent);
        }
    }

    /// These speakers get their mix-minus from here, and no others.
    pub(crate) fn set_homes(&self, homes: Vec<PeerId>) {
        let mut state = self.state.lock();
        state.minus.retain(|speaker, _| homes.contains(speaker));
        state.homes = homes;
        drop(state);
        self.set_inputs();
    }

    /// Whether the mixer has made less than what was asked of it for a while.
    pub(crate) fn falls_short(&self) -> bool {
        let state = self.state.lock();
        let composes = matches!(state.role, MixRole::Mix { .. }) && state.passing_through.is_none();
        drop(state);
        composes && self.mixer().is_some_and(|mixer| mixer.falls_short())
    }

    /// How the mixer's effort has changed since this was asked last.
    pub(crate) fn take_efforts(&self) -> VecDeque<EffortChange> {
        std::mem::take(&mut self.state.lock().efforts)
    }

    /// The picture wanted of a speaker: its tile's size, as often as the mixer makes one; or the whole program's if it is
    /// passed through.
    pub(crate) fn request_of(&self, speaker: &PeerId) -> VideoRequest {
        let state = self.state.lock();
        let ProgramFormat { width, height, fps, bitrate_bps } = state.format;
        if matches!(state.role, MixRole::Mix { pass_through: true, .. }) {
            return VideoRequest { width, height, fps, bitrate_bps: state.rate_bps };
        }
        drop(state);
        let place = self.mixer().and_then(|mixer| mixer.place(input_id(speaker)));
        let (tile_width, tile_height) =
            place.map_or((width, height), |place| place.picture_size((width, height)));
        let fps = fps.div_ceil(self.effort().steps_per_picture());
        let pixels = u64::from(tile_width) * u64::from(tile_height);
        let bps = (pixels * u64::from(fps) * MILLIBITS_PER_PIXEL / 1000).max(TILE_BPS_MIN);
        VideoRequest {
            width: tile_width,
            height: tile_height,
            fps,
            bitrate_bps: bps.min(u64::from(bitrate_bps)) as u32,
        }
    }

    /// Somebody below lost the program's picture.
    pub(crate) fn want_key(&self) {
        if self.state.lock().passing_through.is_some() {
            self.want_keys();
        } else if let Some(mixer) = self.mixer() {
            mixer.want_key();
        }
    }

    /// Asks every speaker for a key frame.
    fn want_keys(&self) {
        let speakers: Vec<_> = self.state.lock().tiles.iter().map(|tile| tile.peer).collect();
        if let Some(flow) = self.flow.upgrade() {
            speakers.iter().for_each(|speaker| flow.want_key_of(speaker));
        }
    }

    // ── the mixer ────────────────────────────────────────────────────────────────────────────────────────────────

    fn mixer(&self) -> Option<Arc<Mixer>> {
        self.mixer.lock().clone()
    }

    fn effort(&self) -> Effort {
        self.mixer().map_or(Effort::Full, |mixer| mixer.effort())
    }

    fn keep_mixer(self: &Arc<Self>) {
        let Some(codecs) = self.codecs.clone() else { return };
        if self.mixer.lock().is_some() {
            return;
        }
        let (ProgramFormat { width, height, fps, .. }, bitrate_bps, layout, loss_percent) = {
            let state = self.state.lock();
            (state.format, state.rate_bps, state.layout.clone(), state.loss_percent)
        };
        let config = MixerConfig {
            program: VideoFormat { width, height, fps, bitrate_bps },
            layout,
            sound_bitrate_bps: self.sound_bitrate_bps,
            heard_max: HEARD_MAX,
            codecs,
        };
        let (clock, desk) = (self.clock, Arc::downgrade(self));
        let output = move |output| {
            if let Some(desk) = desk.upgrade() {
                desk.mixed(output);
            }
        };
        match Mixer::start(config, move || clock.now_us(), output) {
            Ok(mixer) => {
                loss_percent.into_iter().for_each(|percent| mixer.set_loss(percent));
                *self.mixer.lock() = Some(Arc::new(mixer));
            }
            Err(error) => tracing::error!("this peer can't mix: {error}"),
        }
        self.set_inputs();
    }

    /// Takes the mixer off the desk; its figures stay.
    fn take_mixer(&self) -> Option<Arc<Mixer>> {
        let mixer = self.mixer.lock().take()?;
        let stats = mixer.stats();
        let mut past = self.past.lock();
        past.decoded += stats.decoded_frames;
        past.encoded += stats.encoded_frames;
        past.cpu_us += cpu_us(&stats);
        Some(mixer)
    }

    fn set_inputs(&self) {
        let _naming = self.naming.lock();
        let Some(mixer) = self.mixer() else { return };
        let (tiles, homes, sharing) = {
            let state = self.state.lock();
            (state.tiles.clone(), state.homes.clone(), state.sharing.clone())
        };
        let inputs = tiles.into_iter().map(|tile| MixerInput {
            id: input_id(&tile.peer),
            name: tile.name,
            muted: false,
            shares: sharing.contains(&tile.peer),
            hears: homes.contains(&tile.peer),
        });
        if let Err(error) = mixer.set_inputs(inputs.collect()) {
            tracing::error!("a speaker can't be mixed: {error}");
        }
    }

    /// Makes the mixer speak or be silent, as role and frames have it.
    fn steer(&self) {
        let state = self.state.lock();
        let speaks = matches!(state.role, MixRole::Mix { .. }) && state.passing_through.is_none();
        // what was passed through is newer than what a mixer would say now, whose buffers take their time
        let passed_us = state.program.as_ref().map_or(0, |program| program.captured_us(MediaKind::Video));
        let frame_us = 1_000_000 / u64::from(state.format.fps.max(1));
        drop(state);
        if let Some(mixer) = self.mixer() {
            if speaks { mixer.begin(passed_us + frame_us * 3 / 4) } else { mixer.stop() }
        }
    }

    /// A frame of a speaker has come.
    pub(crate) fn take(&self, inbound: &Inbound) {
        let _inside = self.span.enter();
        let mut state = self.state.lock();
        if !state.tiles.iter().any(|tile| tile.peer == inbound.maker) {
            return;
        }
        let shares = inbound.kind == StreamKind::Share;
        if state.sharing.contains(&inbound.maker) != shares {
            if shares {
                state.sharing.insert(inbound.maker)
            } else {
                state.sharing.remove(&inbound.maker)
            };
            drop(state);
            self.set_inputs();
            state = self.state.lock();
        }
        let key = inbound.frame.kind == MediaKind::Video && inbound.frame.identity.key;
        state.key_seen |= key;
        let offset_us = state.offsets_us.get(&inbound.maker).copied().unwrap_or(0);
        let captured_us = inbound.frame.identity.captured_us.saturating_add_signed(offset_us);
        let on_desk = state.on_desk.entry(inbound.maker).or_default();
        match inbound.frame.kind {
            MediaKind::Sound => on_desk.sound_us = on_desk.sound_us.or(Some(captured_us)),
            MediaKind::Video if key => on_desk.picture_us = on_desk.picture_us.or(Some(captured_us)),
            MediaKind::Video => {}
        }
        let wants_pass_through = matches!(state.role, MixRole::Mix { pass_through: true, .. });
        if wants_pass_through && state.passing_through.is_none() && key {
            state.passing_through = Some(inbound.maker);
            drop(state);
            self.end_mixer_soon();
            state = self.state.lock();
        }
        if state.passing_through == Some(inbound.maker) {
            // sound waits for the first picture, so that both begin together
            let begun = state.program.as_ref().is_some_and(|program| program.frames(MediaKind::Video) > 0);
            if key || begun {
                let identity = &inbound.frame.identity;
                let encoded = Encoded {
                    kind: inbound.frame.kind,
                    data: inbound.frame.data.clone(),
                    captured_us,
                    key: identity.key,
                    temporal: identity.temporal,
                    level: inbound.frame.level,
                };
                let voice = |level| Contributor { csrc: inbound.maker.csrc(), level };
                self.make(state, &encoded, &inbound.frame.level.map(voice).into_iter().collect());
            }
        } else {
            drop(state);
        }
        // also while frames are passed through, if it is to compose next: it gets to know everyone's picture
        if let Some(mixer) = self.mixer() {
            mixer.push(input_id(&inbound.maker), inbound.frame.clone(), inbound.arrived_us);
        }
    }

    /// Numbers a frame of the program and sends it on its way.
    fn make(
        &self,
        mut state: parking_lot::MutexGuard<'_, State>,
        encoded: &Encoded,
        contributors: &Contributors,
    ) {
        let made = state.program.as_mut().and_then(|program| program.make(encoded, contributors));
        let Some((frame, packets)) = made else { return };
        let begins = !state.started && frame.identity.key;
        state.started |= begins;
        let spec = state.program.as_ref().map(|program| program.spec);
        drop(state);
        let Some(flow) = self.flow.upgrade() else { return };
        flow.make_program(frame, &packets);
        if let Some(spec) = spec.filter(|_| begins) {
            flow.started(spec);
        }
    }

    /// The mixer gives something out, on one of its threads.
    fn mixed(&self, output: MixerOutput) {
        let _inside = self.span.enter();
        let mut state = self.state.lock();
        match output {
            MixerOutput::Video { picture, captured_us } if state.passing_through.is_none() => {
                let EncodedPicture { data, key, temporal } = picture;
                let encoded =
                    Encoded { kind: MediaKind::Video, data, captured_us, key, temporal, level: None };
                self.make(state, &encoded, &Contributors::new());
            }
            MixerOutput::Sound { packet, captured_us, level, contributors }
                if state.started && state.passing_through.is_none() =>
            {
                let voices = state.named(&contributors);
                self.make(state, &sound(packet, captured_us, level), &voices);
            }
            MixerOutput::MixMinus { id, packet, captured_us, level, contributors } => {
                let voices = state.named(&contributors);
                self.mixed_minus(state, id, &sound(packet, captured_us, level), &voices);
            }
            MixerOutput::KeyWanted { id } => {
                let speaker = state.speaker(id);
                drop(state);
                if let (Some(speaker), Some(flow)) = (speaker, self.flow.upgrade()) {
                    flow.want_key_of(&speaker);
                }
            }
            MixerOutput::Effort(change) => {
                state.least_effort = state.least_effort.max(change.effort);
                state.efforts.push_back(change);
                if state.efforts.len() > EFFORTS_MAX {
                    state.efforts.pop_front();
                }
            }
            MixerOutput::TilesMoved => self.tiles_moved.store(true, Ordering::Relaxed),
            MixerOutput::Video { .. } | MixerOutput::Sound { .. } => {}
        }
    }

    /// Sends a speaker what the others say.
    fn mixed_minus(
        &self,
        mut state: parking_lot::MutexGuard<'_, State>,
        id: u64,
        encoded: &Encoded,
        contributors: &Contributors,
    ) {
        let Some(flow) = self.flow.upgrade() else { return };
        let Some(speaker) = state.speaker(id) else { return };
        let MixRole::Mix { rank, .. } = state.role else { return };
        let me = self.me;
        let (maker, told) = state.minus.entry(speaker).or_insert_with(|| {
            (Maker::new(&flow.room(), me, StreamKind::MixMinus, rank, random_bytes()), false)
        });
        if let Some((_, packets)) = maker.make(encoded, contributors) {
            *told = flow.send_mix_minus(&speaker, maker, packets, *told);
        }
    }

    /// A link with a speaker has come up: it is to be told of its mix again.
    pub(crate) fn link_up(&self, peer: &PeerId) {
        if let Some((_, told)) = self.state.lock().minus.get_mut(peer) {
            *told = false;
        }
    }

    /// The difference between a speaker's clock and ours is known better now.
    pub(crate) fn set_clock(&self, speaker: &PeerId, offset_us: i64, rtt_us: u64) {
        self.state.lock().offsets_us.insert(*speaker, offset_us);
        if let Some(mixer) = self.mixer() {
            mixer.set_clock_offset(input_id(speaker), Some(offset_us));
            mixer.set_rtt(input_id(speaker), rtt_us);
        }
    }

    /// Ends a mixer that is not needed any more, away from the thread of a link.
    fn end_mixer_soon(&self) {
        let Some(mixer) = self.take_mixer() else { return };
        let ended = std::thread::Builder::new().name("mixer-end".to_owned()).spawn(move || drop(mixer));
        if let Err(error) = ended {
            tracing::warn!("no thread to end a mixer on: {error}");
        }
    }

    /// Since when a speaker is in this peer's mix.
    pub(crate) fn on_desk(&self, speaker: &PeerId) -> OnDesk {
        self.state.lock().on_desk.get(speaker).copied().unwrap_or_default()
    }

    // ── time and figures ─────────────────────────────────────────────────────────────────────────────────────────

    /// To be called some 40 times a second; true once, when a warm desk is ready to mix.
    pub(crate) fn update(self: &Arc<Self>) -> bool {
        let mut state = self.state.lock();
        // from passing through to composing: as soon as the mixer has a picture of everyone
        if state.passing_through.is_some() && matches!(state.role, MixRole::Mix { pass_through: false, .. }) {
            if self.has_pictures(&state) || self.clock.now_us() >= state.compose_at_us {
                state.passing_through = None;
                drop(state);
                self.steer();
            }
            return false;
        }
        let MixRole::Warm { pass_through } = state.role else { return false };
        if state.warm_told {
            return false;
        }
        let waited = self.clock.now_us().saturating_sub(state.since_us) >= WARM_US_MAX;
        let ready = if pass_through { state.key_seen } else { self.has_pictures(&state) };
        state.warm_told = ready || waited;
        state.warm_told
    }

    fn has_pictures(&self, state: &State) -> bool {
        let Some(stats) = self.mixer().map(|mixer| mixer.stats()) else { return false };
        let decoded = |tile: &Tile| {
            stats.inputs.iter().any(|input| input.id == input_id(&tile.peer) && input.decoded_frames > 0)
        };
        state.tiles.iter().all(decoded)
    }

    fn mark(&self) -> Mark {
        let stats = self.mixer().map(|mixer| mixer.stats());
        let made = self.state.lock().program.as_ref().map_or(0, |program| program.frames(MediaKind::Video));
        let past = *self.past.lock();
        let now = |of: fn(&MixerStats) -> u64| stats.as_ref().map_or(0, of);
        Mark {
            decoded: past.decoded + now(|stats| stats.decoded_frames),
            encoded: past.encoded + now(|stats| stats.encoded_frames),
            made: u64::from(made),
            cpu_us: past.cpu_us + now(cpu_us),
        }
    }

    fn end_tenure(&self, state: &mut State, rank: Rank, mark: Mark, now_us: u64) {
        let mut tenure = self.tenure(state, rank, mark);
        tenure.until_us = Some(now_us);
        state.tenures.push(tenure);
        if state.tenures.len() > TENURES_MAX {
            state.tenures.remove(0);
        }
    }

    fn tenure(&self, state: &State, rank: Rank, mark: Mark) -> Tenure {
        let stats = self.mixer().map(|mixer| mixer.stats()).filter(|_| state.passing_through.is_none());
        let spread = |of: Option<plenary_media::mixer::Percentiles>| {
            of.map(|of| Spread { p50_ms: of.p50 as f64 / 1000.0, p95_ms: of.p95 as f64 / 1000.0 })
        };
        Tenure {
            rank,
            pass_through: state.passing_through.is_some(),
            since_us: state.since_us,
            until_us: None,
            decoded_frames: mark.decoded.saturating_sub(state.mark.decoded),
            encoded_frames: mark.encoded.saturating_sub(state.mark.encoded),
            frames: mark.made.saturating_sub(state.mark.made),
            compose_encode: spread(stats.as_ref().and_then(|stats| stats.compose_encode_us)),
            added_latency: spread(stats.as_ref().and_then(|stats| stats.added_latency_us)),
            rate_bps: state.rate_bps,
            cpu_us: mark.cpu_us.saturating_sub(state.mark.cpu_us),
            least_effort: state.least_effort,
        }
    }

    /// How this peer's times as a mixer went, the present one last.
    pub(crate) fn tenures(&self) -> Vec<Tenure> {
        let mark = self.mark();
        let state = self.state.lock();
        let mut tenures = state.tenures.clone();
        if let MixRole::Mix { rank, .. } = state.role {
            tenures.push(self.tenure(&state, rank, mark));
        }
        tenures
    }

    /// Ends the mixer; may wait for its threads.
    pub(crate) fn close(&self) {
        let (now_us, mark) = (self.clock.now_us(), self.mark());
        let mut state = self.state.lock();
        if let MixRole::Mix { rank, .. } = std::mem::replace(&mut state.role, MixRole::Rest) {
            self.end_tenure(&mut state, rank, mark, now_us);
        }
        drop(state);
        drop(self.take_mixer()); // no lock is held: its threads may be waiting for us
    }
}

fn cpu_us(stats: &MixerStats) -> u64 {
    stats.cpu.unwrap_or_default().total_us
}

fn sound(packet: bytes::Bytes, captured_us: u64, level: u8) -> Encoded {
    Encoded { kind: MediaKind::Sound, data: packet, captured_us, key: false, temporal: 0, level: Some(level) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_goes_on_as_long_as_its_mixer_is_in_force() {
        let rank = |term| Rank { term, failover_count: 0 };
        let mix = |term| MixRole::Mix { rank: rank(term), pass_through: true };
        let rows = [
            (None, mix(1), true),
            (Some(1), mix(1), false),
            (Some(1), mix(3), false),
            // what was decided under a host that had been succeeded never was
            (Some(1), mix(0), true),
            (None, MixRole::Warm { pass_through: true }, false),
            (Some(1), MixRole::Rest, false),
        ];
        for (row, (begun, role, begins)) in rows.into_iter().enumerate() {
            assert_eq!(begins_anew(begun.map(rank), role), begins, "row {row}");
        }
    }
}
