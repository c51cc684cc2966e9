//! What a peer knows of its room at one moment.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{ConnectionState, Layout, Shedding};
use crate::id::{PeerId, Rank, ShortId};
use crate::message::{Entry, MixPolicy, Muted, PeerRates, Sharing, Vote};
use crate::score::Tally;
use crate::stage::Mode;

/// A peer on stage.
#[doc(alias = "Participant")]
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
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
    /// Whether it refuses to be shown alone, by its own word: mixers forward its own stream to no peer.
    pub no_solo: bool,
    /// Whether it records what it receives, by its own word.
    pub records: bool,
    /// Whether the host has marked it as an agent, which may hear each speaker apart.
    pub is_agent: bool,
    /// Whether it is the host or a peer named by the host: named peers vote, and mix where the policy requires a name.
    pub named: bool,
    /// Whether it speaks at present, as heard at this peer; pauses between words don't end it.
    pub speaking: bool,
}

impl Member {
    /// Returns an entry of the roster for applications. `speaking`: the peers that speak at present; `agents`: those
    /// that the roster marks.
    pub fn new(entry: &Entry, speaking: &[PeerId], agents: &[PeerId]) -> Member {
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

/// By which way the datagrams of a link go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(test, derive(ts_rs::TS))]
#[non_exhaustive]
pub enum Way {
    /// From one end to the other, through NATs at most.
    #[default]
    Direct,
    /// Over a TURN server of either end (RFC 8656).
    Relayed,
    /// Through a tunnel: another member passes the datagrams on, and can't read them.
    Carried,
    /// Through a tunnel by the rendezvous, over both ends' websockets.
    Websocket,
}

/// The NAT in front of this peer, as STUN servers and other peers show it (RFC 5780, 4.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(test, derive(ts_rs::TS))]
#[non_exhaustive]
pub enum Nat {
    /// Not known: nobody, or one server alone, has told an address yet.
    #[default]
    Unknown,
    /// None: others see this peer's own address.
    Open,
    /// It gives a socket one port for all other ends, so two peers behind such NATs reach each other.
    OnePort,
    /// It gives a socket a port for each other end (symmetric), so only peers in the open, or behind a NAT that lets
    /// any port in, reach this one.
    PortEach,
}

/// A connected link with a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[non_exhaustive]
pub struct LinkTo {
    /// Id of the peer.
    pub peer: PeerId,
    /// Its way.
    pub way: Way,
}

impl LinkTo {
    /// A link with this peer, by this way.
    pub fn new(peer: PeerId, way: Way) -> LinkTo {
        LinkTo { peer, way }
    }
}

/// A peer's knowledge of its room at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[non_exhaustive]
pub struct Snapshot {
    /// Id of this peer; null before it has joined.
    pub peer: Option<PeerId>,
    /// State of this peer's connection with the room.
    pub connection: ConnectionState,
    /// Epoch of the roster; 0 before the host has answered.
    pub epoch: u32,
    /// Mode of the stage: mesh, pass-through or mixer.
    pub mode: Mode,
    /// Number of other speakers that this one sends to and hears in a mesh.
    pub meshed: usize,
    /// Title of the room; empty for none.
    pub title: String,
    /// The host; null before there is a roster.
    pub host: Option<PeerId>,
    /// Whether nobody new is admitted.
    pub locked: bool,
    /// Whether newcomers wait in the lobby.
    pub lobby: bool,
    /// Whether any peer may speak on request.
    pub stage_open: bool,
    /// Which of the peers that consent may mix.
    pub mix_policy: MixPolicy,
    /// Layout of the program; a described one without its description.
    #[serde(serialize_with = "name_of")]
    #[cfg_attr(test, ts(type = "\"grid\" | \"active\" | \"share\" | \"side-by-side\" | \"custom\""))]
    pub layout: Layout,
    /// Peers on stage, the host first.
    pub stage: Vec<Member>,
    /// Whether viewers watch from beside the stage.
    pub audience: bool,
    /// At the host: number of viewers, as the mixers count them, some seconds old; null at any other peer.
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
    /// Peers on the way of the program, from its mixer to this peer; empty while this peer is not fed.
    pub path: Vec<ShortId>,
    /// Hops from the mixer; 0 at a mixer, null while this peer is not fed.
    pub depth: Option<usize>,
    /// Children that this peer feeds.
    pub children: Vec<PeerId>,
    /// Peers with a reserved slot here: this peer is their backup parent.
    pub promised: Vec<PeerId>,
    /// Number of viewers below this peer, as its children report.
    pub viewers_below: u32,
    /// Number of links that are up, wanted, or being established.
    pub link_count: usize,
    /// Connected links; two with a peer while a new one replaces an old one.
    pub links: Vec<LinkTo>,
    /// The way of the link with the parent; null without a parent.
    pub way: Option<Way>,
    /// The NAT in front of this peer; unknown at pages, since browsers don't tell.
    pub nat: Nat,
    /// Whether this peer makes the program.
    pub mixing: bool,
    /// Whether this peer is on stage as a speaker.
    pub speaks: bool,
    /// Whether this peer wants the program.
    pub views: bool,
    /// Lateness of this machine's own timers, at most, within the last one to two seconds, in milliseconds, rounded
    /// down to tens. Above 100 ms the machine is short of CPU.
    pub late_ms: u32,
    /// Load that this peer sheds because its machine is short of CPU.
    pub shedding: Shedding,
    /// Uplink bandwidth of this peer as measured by its parents, bits per second; null before a measurement.
    pub uplink_bps: Option<u64>,
    /// Bit rates of the peers on the program's way to this one, the mixer's first, as the command "ask-rates" requested
    /// them in the last 10 s; otherwise empty.
    pub rates_above: Vec<PeerRates>,
    /// Figures of the candidates in the last election, the best first, as this peer computed them; empty if it
    /// knows only the outcome, as a viewer does.
    #[cfg_attr(test, ts(as = "Vec<Tally>"))]
    pub scores: Arc<[Tally]>,
}

fn name_of<S: serde::Serializer>(layout: &Layout, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(layout.name())
}
