//! One peer of one room, without IO: the brain decides, and the rest of the body carries it out.

use plenary_proto::ordered::OrderedMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use plenary_media::Encoded;
use plenary_media::mixer::MixerOutput;
use plenary_proto::app::{ConnectionState, LinkTo, Shedding, Solo, Way};
use plenary_proto::evidence::Evidence;
use plenary_proto::identity::MediaKind;
use plenary_proto::message::{
    Description, Entry, FurtherCandidates, GenerationKey, Head, IceRestart, LinkKind, MediaMessage, Message,
    Muted, ProbeMessage, Resume, Roster, Sharing, VideoRequest, path_hash,
};
use plenary_proto::packet::{BrowserPacket, LinkId, LinkStats, MediaPacket};
use plenary_proto::seal::Verified;
use plenary_proto::{
    Command, DirectoryEntry, Input, Mode, Newcomer, PeerId, Rank, RoomState, Snapshot, StreamId, Tally, Time,
    Via,
};

use crate::between::Between;
use crate::codec_times::CodecTimes;
use crate::heartbeats::Heartbeats;
use crate::lag::{Load, TICK_US};
use crate::loss::SoundLoss;
use crate::media::{Media, MediaConfig, Shown};
use crate::members::Members;
use crate::mix::{MixFigures, OnDesk, Requested, Tenure};
use crate::outs::{Notice, Outs, Picture};
use crate::page_uplink::PageUplink;
use crate::rate::ProgramRate;
use crate::received::Origin;
use crate::stats::{FrameSeen, ReceptionStats};
use crate::thin::Thinning;
use crate::traffic::{Ledger, Throughput, Traffic};

/// Input of the body.
#[derive(Debug)]
pub enum In {
    /// The time of [`Body::next_timeout`] has come.
    Timeout,
    /// A command of the application, where nobody waits for the answer: else [`Body::obey`].
    Command(Command),
    /// At the host: a new invite is in force, with this key.
    Renew(GenerationKey),
    /// This peer's own stream has a new source of picture and sound.
    Publish {
        /// Whether the source is a screen or a film.
        shares: bool,
    },
    /// The sources of this peer's own stream have changed: it goes on, unless a screen or a film takes the place of a
    /// camera, or the other way round.
    Sources(Sources),
    /// A new link has its description.
    Described {
        /// The link.
        link: LinkId,
        /// Description of this end.
        description: Description,
    },
    /// Further candidates of this end of a new link.
    PathsFound {
        /// The link.
        link: LinkId,
        /// The candidates.
        candidates: FurtherCandidates,
    },
    /// A new link has found no path yet: the other end is a native peer.
    PathWanted(LinkId),
    /// Whether the rendezvous carries links.
    RendezvousCarries(bool),
    /// Whether a link goes through a tunnel. Comes ahead of [`In::LinkUp`], and after an ICE restart.
    LinkCarried(LinkId, bool),
    /// This end of an ICE restart of a link.
    IceRestart {
        /// The link.
        link: LinkId,
        /// Credentials and candidates for the other end. The body sets the link kind.
        restart: Box<IceRestart>,
    },
    /// A link is up.
    LinkUp(LinkId),
    /// A link has ended.
    LinkDown(LinkId),
    /// A packet train has arrived.
    Measured {
        /// The link.
        link: LinkId,
        /// Number of the train.
        train: u32,
        /// Bandwidth in bits per second, if enough packets arrived.
        bandwidth_bps: Option<u64>,
        /// Address of the other end, if known.
        address: Option<IpAddr>,
    },
    /// A benchmark of this machine's codecs has ended: time for one 1280×720 picture. Until the first one, a peer
    /// that consents to mix claims nothing.
    Bench {
        /// Time to encode, in microseconds.
        encode_us: u32,
        /// Time to decode, in microseconds.
        decode_us: u32,
    },
    /// This machine's codecs can't mix: the benchmark failed.
    CannotMix,
    /// The links refused to send a train.
    TrainRefused {
        /// The link.
        link: LinkId,
        /// Number of the train.
        train: u32,
    },
    /// A message with valid signatures.
    Message {
        /// Author of the message.
        from: PeerId,
        /// Transport by which it arrived.
        via: Via,
        /// The message.
        message: Verified<Message>,
    },
    /// A request to join, with valid signatures, under the key of an invite that has been replaced.
    OldInvite {
        /// Author of the message.
        from: PeerId,
        /// Transport by which it arrived.
        via: Via,
        /// The request.
        message: Verified<Message>,
    },
    /// A peer sent bytes that are no message, or an invalid signature.
    Misbehaved(PeerId),
    /// A peer's process has restarted ([`Letters::take_restart`](crate::Letters::take_restart)).
    Restarted(PeerId),
    /// A peer sent on a link what no honest end sends, or ended its task.
    LinkAbused(PeerId),
    /// The rendezvous became available or unavailable.
    SignalUp(bool),
    /// The rendezvous takes one envelope for the host ahead of its welcome.
    SignalOpens,
    /// The rendezvous does not know that peer; `None`: it knows no host.
    Undeliverable(Option<PeerId>),
    /// An event of packets or frames.
    Notice(Notice),
    /// An input that only the brain needs: the codec bench, or what a simulator gives it.
    Brain(Box<Input>),
}

/// Sources of a peer's own stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// Whether this peer publishes pictures.
    pub picture: bool,
    /// Whether this peer publishes sound.
    pub sound: bool,
    /// Whether a screen or a film is the only picture that this peer publishes.
    pub shares: bool,
    /// Whether there are two pictures, a camera's, and a screen or film beside it. A home mixer gets both, the peers of
    /// a mesh the screen in place of the camera.
    pub beside: bool,
}

/// Fixed properties of a body.
#[derive(Clone, Copy, Debug)]
pub struct BodyConfig {
    /// This peer.
    pub me: PeerId,
    /// The room.
    pub room: plenary_proto::RoomId,
    /// The brain's time 0, in microseconds.
    pub zero_us: u64,
    /// Whether every picture is logged.
    pub keeps_log: bool,
    /// Whether the application shows the program.
    pub views: bool,
    /// Whether this peer joins as a speaker.
    pub speaks: bool,
    /// This peer is a page: its browser packetizes, and gets and gives whole frames.
    pub is_page: bool,
    /// Seed of the starts of this peer's streams, which tell them apart.
    pub seed: u64,
    /// Whether makers seal their streams, and receivers check the seals: only simulations save this time.
    pub seals: bool,
}

/// Interval at which [`Body::tick`] is to be called.
pub const TICK: Duration = Duration::from_micros(TICK_US);

/// Maximum number of notices that a tick gives again. A guess: a peer asks few others to feed it, and starts few
/// streams.
const REPEATED_MAX: usize = 64;

/// One peer of one room. Each call states the time of the peer's clock, in microseconds.
pub struct Body {
    pub(crate) me: PeerId,
    pub(crate) brain: RoomState,
    pub(crate) between: Option<Box<dyn Between>>,
    pub(crate) media: Media,
    pub(crate) heartbeats: Heartbeats,
    pub(crate) ledger: Ledger,
    pub(crate) throughput: Throughput,
    pub(crate) load: Load,
    pub(crate) rate: ProgramRate,
    pub(crate) codec_times: CodecTimes,
    /// How much of the program's bitrate the links carry, in percent, as the brain knows it.
    pub(crate) rate_percent: u8,
    pub(crate) thinning: Thinning,
    /// At a page: what its line up carries, and what the brain knows of it.
    pub(crate) page_uplink: Option<PageUplink>,
    pub(crate) told_carries: Option<u8>,
    pub(crate) own_loss: SoundLoss,
    pub(crate) program_loss: SoundLoss,
    /// When the brain was last told that something arrived from a peer.
    pub(crate) told_heard_us: OrderedMap<PeerId, u64>,
    /// Peers that get this peer's own stream, and their positions.
    pub(crate) sending_to: Vec<(PeerId, Option<Resume>)>,
    /// Speakers that this mixer calls home, and the pictures it has requested of each.
    pub(crate) called: OrderedMap<PeerId, (Rank, Option<Requested>)>,
    /// Picture that a mixer requests of this peer, and the one beside it.
    pub(crate) requested: Option<VideoRequest>,
    pub(crate) requested_beside: Option<VideoRequest>,
    /// Requests that the encoders were told last while there are two pictures.
    pub(crate) told_requests: [Option<VideoRequest>; 2],
    /// Home mixer that gets the picture beside this peer's own.
    pub(crate) beside_to: Option<PeerId>,
    pub(crate) mode: Mode,
    pub(crate) mode_since_us: u64,
    /// Notices that the next tick gives again.
    pub(crate) repeated: Vec<Notice>,
    /// Number of parents so far.
    pub(crate) parents_had: u32,
    /// Time of the next adaptation to the links.
    pub(crate) adapt_us: u64,
    /// Time of the next count of the traffic.
    pub(crate) count_us: u64,
    /// What the brain was told that this peer sends: muted, shares.
    pub(crate) told_sends: (Muted, Sharing),
    /// The stage as the application knows it.
    pub(crate) members: Members,
    /// Figures of the last election.
    pub(crate) scores: Arc<[Tally]>,
}

impl Body {
    /// Returns a body with that brain. Its outputs so far come with the first call of [`handle`](Body::handle).
    pub fn new(brain: RoomState, config: BodyConfig, now_us: u64) -> Body {
        let BodyConfig { me, room, zero_us, keeps_log, views, speaks, is_page, seed, seals } = config;
        let keys = seals.then(|| brain.keys().clone());
        let config = MediaConfig { me, room, zero_us, keeps_log, views, speaks, is_page, seed, keys };
        let media = Media::new(config, now_us);
        Body {
            me,
            brain,
            between: None,
            media,
            heartbeats: Heartbeats::default(),
            ledger: Ledger::default(),
            throughput: Throughput::default(),
            load: Load::default(),
            rate: ProgramRate::default(),
            codec_times: CodecTimes::default(),
            rate_percent: 100,
            thinning: Thinning::default(),
            page_uplink: is_page.then(PageUplink::default),
            told_carries: None,
            own_loss: SoundLoss::default(),
            program_loss: SoundLoss::default(),
            told_heard_us: OrderedMap::new(),
            sending_to: Vec::new(),
            called: OrderedMap::new(),
            requested: None,
            requested_beside: None,
            told_requests: [None; 2],
            beside_to: None,
            mode: Mode::default(),
            mode_since_us: 0,
            repeated: Vec::new(),
            parents_had: 0,
            adapt_us: 0,
            count_us: 0,
            told_sends: Default::default(),
            members: Members::default(),
            scores: Arc::default(),
        }
    }

    /// Notes that this page's browser has no H.264: the program counts by its sound, and by the heads of the parent.
    pub fn hear_only(&mut self) {
        self.media.program.hears_only = true;
    }

    /// Puts an interceptor between brain and body.
    pub fn set_between(&mut self, between: Box<dyn Between>) {
        self.between = Some(between);
    }

    /// Converts a time of the clock to the brain's time.
    pub fn time(&self, now_us: u64) -> Time {
        self.media.time(now_us)
    }

    /// Returns the time at which [`In::Timeout`] is due, in microseconds.
    pub fn next_timeout(&self) -> Option<u64> {
        self.brain.next_timeout().map(|time| self.media.clock_us(time))
    }

    /// Hands an input about a link to the brain, unless a newer one has replaced the link.
    fn link_input(
        &mut self,
        now_us: u64,
        link: LinkId,
        outs: &mut Outs,
        input: impl FnOnce(PeerId, LinkKind) -> Input,
    ) {
        if let Some((peer, kind)) = self.media.links.of(link) {
            self.input(now_us, input(peer, kind), outs);
        }
    }

    /// Handles an input, and everything that follows from it.
    pub fn handle(&mut self, now_us: u64, input: In, outs: &mut Outs) {
        match input {
            In::Timeout => self.input(now_us, Input::Timeout, outs),
            In::Command(command) => {
                if let Err(why) = self.obey(now_us, command, outs) {
                    tracing::debug!("a command isn't carried out: {why}");
                }
            }
            In::Renew(key) => self.input(now_us, Input::Renew(key), outs),
            In::Publish { shares } => self.publish_anew(shares, now_us, outs),
            In::Sources(sources) => self.set_sources(sources, now_us, outs),
            In::Described { link, description } => {
                self.link_input(now_us, link, outs, |peer, kind| Input::Described { peer, kind, description })
            }
            In::PathsFound { link, candidates } => {
                self.link_input(now_us, link, outs, |peer, kind| Input::PathsFound { peer, kind, candidates })
            }
            In::PathWanted(link) => self.link_input(now_us, link, outs, Input::PathWanted),
            In::RendezvousCarries(carries) => self.input(now_us, Input::RendezvousCarries(carries), outs),
            In::LinkCarried(link, is_carried) => {
                self.link_input(now_us, link, outs, |peer, kind| Input::LinkCarried(peer, kind, is_carried))
            }
            In::IceRestart { link, mut restart } => self.link_input(now_us, link, outs, |peer, kind| {
                restart.kind = kind;
                Input::IceRestart(peer, restart)
            }),
            In::LinkUp(link) => {
                if let Some((peer, kind)) = self.media.link_up(link, outs) {
                    self.input(now_us, Input::LinkUp(peer, kind), outs);
                }
            }
            In::LinkDown(link) => {
                self.ledger.forget(link);
                let Some((peer, kind)) = self.media.link_down(link, outs) else { return };
                if kind == LinkKind::Peer {
                    self.heartbeats.forget(&peer);
                }
                self.input(now_us, Input::LinkDown(peer, kind), outs);
            }
            In::Measured { link, train, bandwidth_bps, address } => {
                if let Some((peer, _)) = self.media.links.of(link) {
                    let rtt_us = self.heartbeats.rtt_us(&peer).unwrap_or(0);
                    let paused_ppm = self.heartbeats.paused_ppm(&peer);
                    let media = self.media.media_seen(&peer, now_us);
                    let input =
                        Input::Measured { peer, train, bandwidth_bps, rtt_us, paused_ppm, media, address };
                    self.input(now_us, input, outs);
                }
            }
            In::Bench { encode_us, decode_us } => {
                let claimed = self.codec_times.bench(now_us, encode_us, decode_us);
                self.claim_codec_times(claimed, now_us, outs);
            }
            In::CannotMix => self.input(now_us, Input::CannotMix, outs),
            In::TrainRefused { link, train } => {
                if let Some((_, LinkKind::Peer)) = self.media.links.of(link) {
                    outs.control(link, Message::Probe(ProbeMessage::ProbeBusy { train }));
                }
            }
            In::Message { from, via, message } => {
                if let Message::Media(MediaMessage::Recalled(stream)) = *message {
                    self.media.recalled(from, stream, now_us, outs);
                }
                if let Message::Media(MediaMessage::VoiceClocks(clocks)) = &*message {
                    self.media.inflow.apart.clocks_told(from, clocks);
                }
                self.input(now_us, Input::Message { from, via, message }, outs);
            }
            In::OldInvite { from, via, message } => {
                self.input(now_us, Input::OldInvite { from, via, message }, outs);
            }
            In::Misbehaved(peer) => self.input(now_us, Input::Misbehaved(peer), outs),
            In::Restarted(peer) => self.input(now_us, Input::Restarted(peer), outs),
            In::LinkAbused(peer) => self.input(now_us, Input::LinkAbused(peer), outs),
            In::SignalUp(up) => self.input(now_us, Input::SignalUp(up), outs),
            In::SignalOpens => self.input(now_us, Input::SignalOpens, outs),
            In::Undeliverable(peer) => self.input(now_us, Input::Undeliverable(peer), outs),
            In::Notice(Notice::Fed(peer)) => {
                self.input(now_us, Input::Fed(peer), outs);
                self.media.renew_feeder();
            }
            In::Notice(Notice::Started(spec)) => self.input(now_us, Input::Started(spec), outs),
            In::Notice(Notice::Forged(peer)) => self.input(now_us, Input::Forged(peer), outs),
            In::Brain(input) => self.input(now_us, *input, outs),
        }
    }

    /// Takes a notice back for which the shell has no room: the next [`tick`](Body::tick) gives it again.
    pub fn repeat(&mut self, notice: Notice) {
        if self.repeated.len() < REPEATED_MAX && !self.repeated.contains(&notice) {
            self.repeated.push(notice);
        }
    }

    // ── packets and frames ───────────────────────────────────────────────────────────────────────────────────

    /// Handles a packet that arrived in a slot of a link.
    pub fn packet(&mut self, now_us: u64, link: LinkId, slot: u8, packet: MediaPacket, outs: &mut Outs) {
        self.media.packet(link, slot, packet, now_us, outs);
    }

    /// Handles a packet of a browser that arrived in a slot of a link.
    pub fn browser_packet(
        &mut self,
        now_us: u64,
        link: LinkId,
        slot: u8,
        packet: BrowserPacket,
        outs: &mut Outs,
    ) {
        self.media.browser_packet(link, slot, packet, now_us, outs);
    }

    /// Handles a whole frame that arrived in a slot of a link, at a page: its data, RFC 6464 level and contributing
    /// sources. Returns whether the browser may decode it.
    pub fn frame(
        &mut self,
        now_us: u64,
        at: (LinkId, u8),
        frame: (Bytes, Option<u8>, &[u32]),
        outs: &mut Outs,
    ) -> bool {
        self.know_program_format();
        self.media.frame(at, frame, now_us, outs)
    }

    /// Returns what shows that the maker of a stream had a mandate for it; `None` for a stream that isn't received.
    pub fn evidence(&self, stream: &StreamId) -> Option<Evidence> {
        self.brain.evidence(self.media.spec_of(stream)?)
    }

    /// Returns the bytes of a frame that a page's browser has encoded for the other end of a link, with its identity;
    /// `None` for a frame that isn't to be sent.
    pub fn own_frame(&mut self, now_us: u64, link: LinkId, encoded: &Encoded) -> Option<Bytes> {
        self.media.own_frame(link, encoded, now_us)
    }

    /// Handles a keyframe request for the stream that this peer sends in a slot.
    pub fn keyframe_wanted(&mut self, now_us: u64, link: LinkId, slot: u8, outs: &mut Outs) {
        self.media.keyframe_wanted(link, slot, now_us, outs);
    }

    /// Sends a frame that this peer publishes; `picture`: what a picture shows. Of two pictures that can't both be sent
    /// the screen's frames count.
    pub fn publish(&mut self, now_us: u64, encoded: &Encoded, picture: Picture, outs: &mut Outs) {
        self.media.publish(encoded, picture, now_us, outs);
    }

    /// Handles an output of the mixer.
    pub fn mixed(&mut self, now_us: u64, output: MixerOutput, outs: &mut Outs) {
        self.media.mixed(output, now_us, outs);
    }

    /// Returns the host's directory, with the time in microseconds since each peer came; empty at any other peer.
    pub fn directory(&self, now_us: u64) -> Vec<(PeerId, DirectoryEntry, u64)> {
        let now = self.time(now_us);
        let listed = self.brain.directory().into_iter().flatten();
        listed.map(|(peer, entry)| (*peer, entry.clone(), now.since(entry.since))).collect()
    }

    /// Returns the peers in the host's lobby; none at any other peer.
    pub fn lobby(&self) -> Vec<Newcomer> {
        self.brain.lobby().into_iter().flatten().collect()
    }

    /// At the host: returns the peers that wait for the floor with their names, the oldest request first. Empty at
    /// other peers.
    pub fn hands(&self) -> Vec<(PeerId, String)> {
        self.brain.hands().into_iter().map(|(peer, name)| (peer, name.to_owned())).collect()
    }

    /// Mutes this peer's own pictures or sound, at once; the room hears of it with the next [`tick`](Body::tick).
    /// Unmuted pictures begin with a keyframe.
    pub fn mute(&mut self, kind: MediaKind, muted: bool) {
        self.media.mute(kind, muted);
    }

    /// Returns whether this peer's own pictures or sound are muted.
    pub fn is_muted(&self, kind: MediaKind) -> bool {
        self.media.is_muted(kind)
    }

    /// Returns whether this peer has pictures, and sound, of its own to send: a source that isn't muted.
    pub fn sends(&self) -> [bool; 2] {
        [MediaKind::Video, MediaKind::Sound].map(|kind| self.media.publishes() && self.media.is_sent(kind))
    }

    /// Sets the application's request for one speaker's own stream.
    pub(crate) fn set_solo(&mut self, wish: Option<Solo>, outs: &mut Outs) {
        self.media.set_solo(wish, outs);
    }

    /// Requests a keyframe for the application: of a speaker's own stream, or of the program. Requests within 300 ms
    /// are one.
    pub fn want_key(&mut self, origin: Origin, now_us: u64, outs: &mut Outs) {
        let speaker = match origin {
            Origin::Speaker(speaker) => Some(speaker),
            Origin::Program | Origin::MixMinus => None,
        };
        self.media.application_wants_key(speaker, now_us, outs);
    }

    // ── the mixer ────────────────────────────────────────────────────────────────────────────────────────────

    /// Updates the mixer's figures. Speakers with a tile of another size are asked for another picture.
    pub fn set_figures(&mut self, figures: MixFigures, outs: &mut Outs) {
        self.note_figures(figures);
        self.call_home_again(outs);
    }

    /// Updates the mixer's figures for the tenures alone.
    pub fn note_figures(&mut self, figures: MixFigures) {
        self.media.mix.set_figures(figures);
    }

    /// Ends role and mixer; this peer's tenures stay.
    pub fn close_mixer(&mut self, now_us: u64, outs: &mut Outs) {
        self.media.mix.close(now_us, &mut outs.mix);
    }

    /// Returns this peer's tenures as a mixer, the present one last.
    pub fn tenures(&self) -> Vec<Tenure> {
        self.media.mix.tenures()
    }

    /// Returns the time from which on a speaker is in this peer's mix.
    pub fn on_desk(&self, speaker: &PeerId) -> OnDesk {
        self.media.mix.on_desk(speaker)
    }

    // ── frames for the application ───────────────────────────────────────────────────────────────────────────

    /// Returns when the next held frame is due for the application, in microseconds.
    pub fn next_due_us(&self) -> Option<u64> {
        self.media.next_due_us()
    }

    /// Hands over the frames that are due.
    pub fn hand_over_due(&mut self, now_us: u64, outs: &mut Outs) {
        self.media.hand_over_due(now_us, outs);
    }

    /// Hands over all held frames.
    pub fn hand_over_all(&mut self, now_us: u64, outs: &mut Outs) {
        self.media.hand_over_all(now_us, outs);
    }

    // ── figures ──────────────────────────────────────────────────────────────────────────────────────────────

    /// Returns the brain.
    pub fn brain(&self) -> &RoomState {
        &self.brain
    }

    /// Returns what this peer knows of its room. `connection`: as the correspondence has it
    /// ([`Correspondence::connection`](crate::Correspondence::connection)). `way`: by which way a link goes that is
    /// connected and proven.
    pub fn snapshot(&self, connection: ConnectionState, way: impl Fn(LinkId) -> Option<Way>) -> Snapshot {
        let mut snapshot = self.brain.snapshot();
        for member in &mut snapshot.stage {
            member.speaking = self.members.speaking.contains(&member.peer);
        }
        snapshot.connection = connection;
        let link_to = |link| Some(LinkTo::new(self.link_of(link)?.0, way(link)?));
        snapshot.links = self.links().filter_map(link_to).collect();
        let to_parent = snapshot.parent.and_then(|parent| self.link_with(&parent, LinkKind::Peer));
        snapshot.way = to_parent.and_then(&way);
        snapshot.home_mixer = self.home().filter(|_| snapshot.mode != Mode::Mesh);
        snapshot.reparented = self.reparented();
        snapshot.shedding = self.shedding();
        snapshot.late_ms = (self.late_us() / 10_000 * 10) as u32;
        snapshot.scores = self.scores.clone();
        snapshot
    }

    /// Returns the roster, once there is one.
    pub fn roster(&self) -> Option<&Roster> {
        self.brain.roster()
    }

    /// Returns the peers on stage.
    pub fn stage(&self) -> &[Entry] {
        self.brain.roster().map_or(&[], |roster| &roster.entries)
    }

    /// Returns the peers that the host has marked as agents, on stage or not.
    pub fn agents(&self) -> &[PeerId] {
        self.brain.roster().map_or(&[], |roster| &roster.rules.access.agents)
    }

    /// Returns the speakers on stage.
    pub(crate) fn speakers(&self) -> Vec<PeerId> {
        self.stage().iter().filter(|entry| entry.speaks).map(|entry| entry.peer).collect()
    }

    /// Returns the home mixer, which gets this peer's own stream; `None` in a mesh, and for a peer that doesn't speak.
    pub fn home(&self) -> Option<PeerId> {
        match &self.sending_to[..] {
            [(home, _)] => Some(*home),
            _ => None,
        }
    }

    /// Returns how late this machine's timers were, at most, within the last one to two seconds, in microseconds; 0 if
    /// they were on time.
    pub fn late_us(&self) -> u64 {
        self.media.lag.late_us()
    }

    /// Returns the load that this peer sheds because its machine is short of processor time.
    pub fn shedding(&self) -> Shedding {
        self.load.shedding()
    }

    /// Returns the number of changes from one parent to another.
    pub fn reparented(&self) -> u32 {
        self.parents_had.saturating_sub(1)
    }

    /// Returns the time since anything arrived from a peer, in microseconds; `None` if nothing ever did.
    pub fn silent_us(&self, peer: &PeerId, now_us: u64) -> Option<u32> {
        let last = self.media.last_arrival(peer)?;
        Some(u32::try_from(self.media.watch_time(now_us).since(last)).unwrap_or(u32::MAX))
    }

    /// Returns the number of links that are up.
    pub fn links_up(&self) -> usize {
        self.media.links.up_count()
    }

    /// Returns all links, up to their last events.
    pub fn links(&self) -> impl Iterator<Item = LinkId> {
        self.media.links.all()
    }

    /// Returns what a page shows and plays.
    pub fn shown(&self) -> Vec<Shown> {
        self.media.shown(&self.speakers())
    }

    /// Returns the links on which a page sends its own stream.
    pub fn own_links(&self) -> Vec<LinkId> {
        self.media.own_links()
    }

    /// Returns peer and kind of a link, if it is the newest of its kind.
    pub fn link_of(&self, link: LinkId) -> Option<(PeerId, LinkKind)> {
        self.media.links.of(link)
    }

    /// Returns the newest link of a peer and kind, whether it is up or not.
    pub fn link_with(&self, peer: &PeerId, kind: LinkKind) -> Option<LinkId> {
        self.media.links.newest(peer, kind)
    }

    /// Counts this peer's traffic, and returns the sums. `stats` returns the counters of a link.
    pub fn count_traffic(&mut self, stats: impl Fn(LinkId) -> Option<LinkStats>) -> Traffic {
        let counted = self.media.links.all().filter_map(|link| Some((link, stats(link)?)));
        self.ledger.count(counted, self.media.program.viewer_links().collect());
        self.ledger.total()
    }

    /// Returns the present audio levels of these speakers (RFC 6464).
    pub fn levels(&self, speakers: &[PeerId], now_us: u64) -> Vec<(PeerId, u8)> {
        self.media.levels(speakers, now_us)
    }

    /// Returns statistics of the program's reception.
    pub fn reception(&self, now_us: u64) -> ReceptionStats {
        self.media.reception(now_us)
    }

    /// Returns the log of the program's pictures that this peer made, if it keeps one.
    pub fn made(&self) -> &[FrameSeen] {
        self.media.made()
    }

    /// Returns the number of pictures of this peer's own stream so far.
    pub fn pictures_sent(&self) -> u64 {
        self.media.pictures_sent()
    }

    /// Returns the maximum number of peers that got this peer's own stream at a time, since the last election or
    /// failover.
    pub fn targets_most(&self) -> usize {
        self.media.targets_most()
    }
}

/// Returns this peer's position in the program, with its place in the tree.
pub(crate) fn head(brain: &RoomState, media: &Media) -> Head {
    let path = brain.path();
    Head {
        depth: path.len().saturating_sub(1).min(255) as u8,
        path_hash: path_hash(path),
        ..media.program.head()
    }
}
