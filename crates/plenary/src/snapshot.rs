//! Snapshot of a peer's knowledge of its room.

use std::sync::Arc;

use plenary_body::{Body, Shedding};
use plenary_proto::app::ConnectionState;
use plenary_proto::message::{Entry, MixPolicy, Muted, PeerRates, Sharing, Vote};
use plenary_proto::{Mode, PeerId, Rank, Tally};

/// A peer on stage.
#[doc(alias = "Participant")]
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Member {
    /// Id of the peer.
    pub peer: PeerId,
    /// Name shown under its picture.
    pub name: String,
    /// Whether it is a speaker, which sends picture and sound.
    pub speaks: bool,
    /// Number of the speaker, counted from 0 in the order of joining over all speakers ever. It is kept while
    /// the peer is on stage and never given to another. 0 also for peers that don't speak.
    pub index: u8,
    /// Whether it consents to mix.
    pub mixes: bool,
    /// Whether the host has lost contact with it for 5 s.
    pub away: bool,
    /// What it doesn't send at present, if it is a speaker, by its own word.
    pub muted: Muted,
    /// Whether it sends a screen or a film, alone or beside its camera, by its own word.
    pub shares: bool,
    /// Whether it refuses to be shown alone, by its own word: mixers forward its own stream to nobody who requests it.
    pub no_solo: bool,
    /// Whether it records what it receives, by its own word ([`Room::announce_recording`]).
    ///
    /// [`Room::announce_recording`]: crate::Room::announce_recording
    pub records: bool,
    /// Whether the host has marked it as an agent, which may hear each speaker apart ([`Room::voices`]).
    ///
    /// [`Room::voices`]: crate::Room::voices
    pub is_agent: bool,
    /// Whether it is the host or a peer named by the host: named peers vote, and mix where the policy requires a name.
    pub named: bool,
    /// Whether it speaks at present, as heard at this peer; pauses between words don't end it.
    pub speaking: bool,
}

impl Member {
    pub(crate) fn new(entry: &Entry, speaking: &[PeerId], agents: &[PeerId]) -> Member {
        Member {
            peer: entry.peer,
            name: entry.name.to_string(),
            speaks: entry.speaks,
            index: entry.index,
            mixes: entry.mixes,
            away: entry.away,
            muted: entry.muted,
            shares: entry.shares != Sharing::No,
            no_solo: entry.no_solo,
            records: entry.records,
            is_agent: agents.contains(&entry.peer),
            named: entry.votes == Vote::Named,
            speaking: speaking.contains(&entry.peer),
        }
    }
}

/// A peer's knowledge of its room at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct RoomSnapshot {
    /// State of this peer's connection with the room.
    pub connection: ConnectionState,
    /// Epoch of the roster; 0 before the host has answered.
    pub epoch: u32,
    /// Mode of the stage: mesh, pass-through or mixer.
    pub mode: Mode,
    /// Title of the room; empty for none.
    pub title: String,
    /// The host; `None` before there is a roster.
    pub host: Option<PeerId>,
    /// Whether any peer may speak on request.
    pub stage_open: bool,
    /// Which of the peers that consent may mix.
    pub mix_policy: MixPolicy,
    /// Peers on stage, the host first.
    pub stage: Vec<Member>,
    /// Whether viewers watch from beside the stage.
    pub audience: bool,
    /// At the host: number of viewers, as the mixers count them, some seconds old; `None` at any other peer.
    pub viewers: Option<u32>,
    /// Number of viewers that record what they receive, by their own word, some seconds old; peers on stage say so
    /// themselves ([`Member::records`]).
    pub recorders: u32,
    /// Rank of the mandate in force.
    pub rank: Rank,
    /// The mixers in force.
    pub mixers: Vec<PeerId>,
    /// The warm standbys.
    pub standbys: Vec<PeerId>,
    /// Home mixer: the mixer that this speaker sends its stream to.
    pub home_mixer: Option<PeerId>,
    /// The parent, which feeds this peer.
    pub parent: Option<PeerId>,
    /// Number of changes from one parent to another.
    pub reparented: u32,
    /// The backup parent, which feeds this peer at once if the parent fails.
    pub backup: Option<PeerId>,
    /// Hops from the mixer; 0 at a mixer, `None` while this peer is not fed.
    pub depth: Option<usize>,
    /// Children that this peer feeds.
    pub children: Vec<PeerId>,
    /// Peers with a reserved slot here: this peer is their backup parent.
    pub promised: Vec<PeerId>,
    /// Whether this peer makes the program.
    pub mixing: bool,
    /// Whether this peer is on stage as a speaker.
    pub speaks: bool,
    /// Lateness of this machine's own timers, at most, within the last one to two seconds, in milliseconds, rounded
    /// down to tens. Above 100 ms the machine is short of CPU.
    pub late_ms: u32,
    /// Load that this peer sheds because its machine is short of CPU.
    #[cfg_attr(feature = "serde", serde(serialize_with = "as_word"))]
    pub shedding: Shedding,
    /// Uplink bandwidth of this peer as measured by its parents, bits per second; `None` before a
    /// measurement.
    pub uplink_bps: Option<u64>,
    /// Bit rates of the peers on the program's way to this one, the mixer's first, as
    /// [`Room::ask_rates`](crate::Room::ask_rates) requested them in the last 10 s; otherwise empty.
    pub rates_above: Vec<PeerRates>,
    /// Figures of the candidates in the last election, the best first, as this peer computed them; empty if it
    /// knows only the outcome, as a viewer does.
    pub scores: Arc<[Tally]>,
}

/// Serializes a value without fields as its name.
#[cfg(feature = "serde")]
fn as_word<S: serde::Serializer>(of: &impl std::fmt::Debug, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{of:?}"))
}

impl RoomSnapshot {
    pub(crate) fn new(
        body: &Body,
        connection: ConnectionState,
        scores: Arc<[Tally]>,
        speaking: &[PeerId],
    ) -> RoomSnapshot {
        let brain = body.snapshot();
        let member = |entry: &Entry| Member::new(entry, speaking, body.agents());
        RoomSnapshot {
            connection,
            scores,
            epoch: brain.epoch,
            mode: brain.mode,
            stage: body.stage().iter().map(member).collect(),
            title: body.roster().map(|roster| roster.title.to_string()).unwrap_or_default(),
            host: brain.host,
            stage_open: body.roster().is_some_and(|roster| roster.stage_open),
            mix_policy: body.roster().map_or_else(MixPolicy::default, |roster| roster.mixing),
            audience: body.roster().is_some_and(|roster| roster.audience),
            viewers: brain.viewers,
            recorders: body.roster().map_or(0, |roster| roster.recorders),
            rank: brain.rank,
            mixers: brain.mixers,
            standbys: brain.standbys,
            home_mixer: body.home().filter(|_| brain.mode != Mode::Mesh),
            parent: brain.parent,
            reparented: body.reparented(),
            backup: brain.backup,
            depth: brain.path.len().checked_sub(1),
            children: brain.children,
            promised: brain.promised,
            mixing: brain.mixing,
            speaks: brain.speaks,
            shedding: body.shedding(),
            late_ms: (body.late_us() / 10_000 * 10) as u32,
            uplink_bps: brain.uplink_bps,
            rates_above: brain.rates_above,
        }
    }
}
