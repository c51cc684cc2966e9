//! What the application sees, as JSON: events, and a snapshot.

use plenary_body::people::{self, People};
use plenary_body::{Body, BodyEvent, Spread};
use plenary_proto::app::{ConnectionState, Layout, Reason};
use plenary_proto::message::{LinkKind, MixPolicy, PeerRates, Sharing, Vote};
use plenary_proto::packet::LinkId;
use plenary_proto::seal::InviteError;
use plenary_proto::{Event, Mode, Newcomer, PeerId, ShortId};
use serde::Serialize;

/// A reason, with its sentence for applications that have no text of their own for it.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Why {
    pub(crate) reason: Reason,
    why: String,
}

impl From<Reason> for Why {
    fn from(reason: Reason) -> Why {
        Why { reason, why: reason.to_string() }
    }
}

impl From<InviteError> for Why {
    fn from(error: InviteError) -> Why {
        Why { reason: error.reason(), why: error.to_string() }
    }
}

/// Events for the application. A `label` is a peer's name as it is shown: [`People::label`].
#[derive(Debug, Serialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub(crate) enum PageEvent {
    /// The state has changed.
    State { state: ConnectionState },
    /// The host has admitted this peer, or this peer has opened the room.
    Admitted,
    /// The rendezvous became available or unavailable.
    Rendezvous { up: bool, reason: Option<Reason> },
    /// The page can't join.
    Refused(Why),
    /// Something keeps this peer from its room, or from what its user wants, and may pass.
    Trouble(Why),
    /// The host removed this peer.
    Removed,
    /// The host ended the room.
    Ended,
    /// This peer has left.
    Left,
    /// The peer waits in the lobby.
    InLobby,
    /// The roster has changed.
    Stage { epoch: u32 },
    /// The parent has changed.
    Parent { peer: Option<String> },
    /// The backup parent has changed.
    Backup { peer: Option<String> },
    /// Nobody mixes.
    NoMixer,
    /// All places in the tree are taken: this viewer gets no program.
    NoPlace,
    /// The peers that speak have changed.
    Speaking { dominant: Option<String>, speaking: Vec<String> },
    /// The invite of a room that this page has opened: the first, and each later one.
    Invite { invite: String },
    /// At the host: a newcomer waits in the lobby, at most one a second; `others` have come before it since the last
    /// one that was told.
    Knock { peer: String, name: String, label: String, mixes: bool, others: usize },
    /// At the host, which takes its room back: a host that the stage chose meanwhile had removed a peer, which may come
    /// back.
    RemovedByAnother { peer: String, name: String, label: String, by: String, by_label: String },
    /// At the host: a peer wants to speak, at most one a second, as newcomers.
    FloorWanted { peer: String, name: String, label: String, others: usize },
    /// This peer has got the floor, or has lost it.
    Floor { speaks: bool },
    /// The host offers the floor.
    FloorOffered,
    /// The host denied the floor.
    FloorDenied,
    /// The host has muted this peer, which may unmute itself.
    MutedByHost { picture: bool, sound: bool },
    /// A peer on stage has told the room a text.
    Told { from: String, label: String, host: bool, named: bool, text: String },
    /// The pinned speaker's own picture comes, or is unavailable.
    Solo { speaker: String, comes: bool },
    /// The pinned speaker doesn't allow that it is shown alone.
    SoloRefused { speaker: String },
    /// The host has changed.
    Host { peer: Option<String> },
    /// The mode of the stage has changed.
    Mode { mode: Mode },
    /// At the host: members complain that a viewer forwards nothing.
    NotForwarding { peer: String, name: String, label: String },
    /// The peers that mix have changed, or how they are named: [`people::mixers`], or `None` while nobody does.
    MixedBy { mixers: Vec<String>, text: Option<String> },
    /// The user has asked for a list.
    Lists { list: List },
}

/// List that a user asks for.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum List {
    /// The people in the room, and in the lobby.
    People,
    /// The people that ask for the floor.
    Hands,
    /// The commands.
    Commands,
}

impl PageEvent {
    /// Returns an event of the body as the application gets it, if it does.
    pub(crate) fn of(event: &BodyEvent, body: &Body, now_us: u64) -> Option<PageEvent> {
        match event {
            BodyEvent::Speaking { dominant, speaking } => Some(PageEvent::Speaking {
                dominant: dominant.as_ref().map(hex),
                speaking: speaking.iter().map(hex).collect(),
            }),
            BodyEvent::Brain(event) => PageEvent::of_brain(event, body, now_us),
            _ => None,
        }
    }

    fn of_brain(event: &Event, body: &Body, now_us: u64) -> Option<PageEvent> {
        let label = |peer: &PeerId, name: &str| People::of(body, now_us).label(peer, name);
        Some(match event {
            Event::Refused(refusal) => PageEvent::Refused(refusal.reason().into()),
            Event::Removed => PageEvent::Removed,
            Event::Ended => PageEvent::Ended,
            Event::Left => PageEvent::Left,
            Event::InLobby => PageEvent::InLobby,
            Event::Roster { epoch } => PageEvent::Stage { epoch: *epoch },
            Event::Parent(peer) => PageEvent::Parent { peer: peer.as_ref().map(hex) },
            Event::Backup(peer) => PageEvent::Backup { peer: peer.as_ref().map(hex) },
            Event::NoMixer => PageEvent::NoMixer,
            Event::NoPlace => PageEvent::NoPlace,
            Event::RemovedByAnother { peer, name, by } => {
                let people = People::of(body, now_us);
                PageEvent::RemovedByAnother {
                    peer: hex(peer),
                    name: name.clone(),
                    label: if name.is_empty() { people.id(peer) } else { people.label(peer, name) },
                    by: hex(by),
                    by_label: people.label_of(by),
                }
            }
            Event::Floor(speaks) => PageEvent::Floor { speaks: *speaks },
            Event::FloorOffered => PageEvent::FloorOffered,
            Event::FloorDenied => PageEvent::FloorDenied,
            Event::MuteWanted(muted) => PageEvent::MutedByHost { picture: muted.picture, sound: muted.sound },
            // other applications may tell bytes that are no text
            Event::Data { from, bytes, .. } => {
                let text = String::from_utf8(bytes.clone()).ok()?;
                let entry = body.stage().iter().find(|entry| entry.peer == *from);
                PageEvent::Told {
                    from: hex(from),
                    label: People::of(body, now_us).label_of(from),
                    host: body.roster().is_some_and(|roster| roster.host == *from),
                    named: entry.is_some_and(|entry| entry.votes == Vote::Named),
                    text,
                }
            }
            Event::Solo { speaker, comes } => PageEvent::Solo { speaker: hex(speaker), comes: *comes },
            Event::SoloRefused { speaker } => PageEvent::SoloRefused { speaker: hex(speaker) },
            Event::Host(peer) => PageEvent::Host { peer: peer.as_ref().map(hex) },
            Event::Mode(mode) => PageEvent::Mode { mode: *mode },
            Event::NotForwarding { peer, name } => {
                PageEvent::NotForwarding { peer: hex(peer), name: name.clone(), label: label(peer, name) }
            }
            _ => return None,
        })
    }

    /// Returns a newcomer, told as one of several.
    pub(crate) fn of_knock(newcomer: Newcomer, others: usize, people: &People) -> PageEvent {
        let Newcomer { peer, name, mixes } = newcomer;
        PageEvent::Knock { peer: hex(&peer), label: people.label(&peer, &name), name, mixes, others }
    }

    /// Returns a peer that asks for the floor, told as one of several.
    pub(crate) fn of_hand((peer, name): (PeerId, String), others: usize, people: &People) -> PageEvent {
        PageEvent::FloorWanted { peer: hex(&peer), label: people.label(&peer, &name), name, others }
    }

    /// Returns which peers mix.
    pub(crate) fn of_mixers(body: &Body, people: &People) -> PageEvent {
        let mixers = body.brain().mixers();
        PageEvent::MixedBy { mixers: mixers.iter().map(hex).collect(), text: mixed_by(body, people) }
    }

    /// Whether nothing comes after it.
    pub(crate) fn is_end(&self) -> bool {
        matches!(self, PageEvent::Refused(_) | PageEvent::Removed | PageEvent::Ended | PageEvent::Left)
    }
}

/// A peer on stage.
#[derive(Debug, Serialize)]
struct Member {
    peer: String,
    name: String,
    /// The name as it is shown: [`People::label`].
    label: String,
    speaks: bool,
    away: bool,
    muted: [bool; 2],
    shares: bool,
    /// It consents to mix.
    mixes: bool,
    /// It is the host, or the host named it.
    named: bool,
}

/// A peer that waits for a decision of the host.
#[derive(Debug, Serialize)]
struct Named {
    peer: String,
    name: String,
    label: String,
}

/// A peer in the lobby.
#[derive(Debug, Serialize)]
struct Waiting {
    peer: String,
    name: String,
    label: String,
    /// The newcomer only mixes, and letting it in names it.
    mixes: bool,
}

/// A peer in the host's directory.
#[derive(Debug, Serialize)]
struct Listed {
    peer: String,
    name: String,
    label: String,
    parent: Option<String>,
    depth: u8,
}

/// Quantiles of a time, in milliseconds.
#[derive(Debug, Serialize)]
struct Quantiles {
    p50: f64,
    p95: f64,
}

/// A link, with the peer at its other end and its way, "direct" or "relayed".
#[derive(Debug, Serialize)]
struct LinkTo {
    peer: String,
    way: &'static str,
}

/// Bit rates of a peer on the program's way.
#[derive(Debug, Serialize)]
struct RatesOf {
    /// First 8 bytes of its id.
    peer: String,
    received_bps: u64,
    sent_bps: u64,
    children: u8,
}

/// Kinds of media that this peer sends of its own.
#[derive(Debug, Serialize)]
struct Sends {
    picture: bool,
    sound: bool,
}

/// What the page knows of its room.
#[derive(Debug, Serialize)]
pub(crate) struct Snapshot {
    peer: String,
    state: ConnectionState,
    title: String,
    mode: Mode,
    /// Number of other speakers that this one sends to and hears in a mesh.
    meshed: usize,
    host: Option<String>,
    /// At a page that has opened the room, otherwise `None`.
    invite: Option<String>,
    locked: bool,
    lobby: bool,
    stage_open: bool,
    /// Which of the peers that consent may mix.
    mix_policy: MixPolicy,
    layout: &'static str,
    stage: Vec<Member>,
    /// At the host: newcomers in the lobby.
    waiting: Vec<Waiting>,
    /// At the host: peers that want to speak.
    wanting: Vec<Named>,
    /// At the host: its directory.
    audience: Vec<Listed>,
    /// At the host: number of viewers.
    viewers: Option<u32>,
    mixers: Vec<String>,
    /// The mixers as they are shown beside the program.
    mixed_by: Option<String>,
    speaks: bool,
    sends: Sends,
    parent: Option<String>,
    /// The way of the link to the parent: "direct" or "relayed".
    way: Option<&'static str>,
    backup: Option<String>,
    children: Vec<String>,
    /// First 8 bytes of the peers on the way of the program, from its mixer to this peer.
    path: Vec<String>,
    /// Bit rates of the peers on that way above this one, if they were requested in the last 10 s.
    rates_above: Vec<RatesOf>,
    depth: Option<usize>,
    reparented: u32,
    links: Vec<LinkTo>,
    late_ms: u32,
    uplink_bps: Option<u64>,
    first_frame_ms: Option<f64>,
    frames_received: u64,
    frames_expected: u64,
    frames_left_out: u64,
    frames_late: u64,
    /// `None` before any picture.
    longest_video_gap_ms: Option<f64>,
    longest_audio_gap_ms: Option<f64>,
    latency_ms: Option<Quantiles>,
    sound_latency_ms: Option<Quantiles>,
    av_skew_ms: Option<Quantiles>,
}

/// What a snapshot says of the page itself.
pub(crate) struct About<'a> {
    pub(crate) me: &'a PeerId,
    pub(crate) state: ConnectionState,
    pub(crate) invite: Option<String>,
    /// Returns by which way a link goes that is up.
    pub(crate) way: &'a dyn Fn(LinkId) -> Option<&'static str>,
}

impl Snapshot {
    pub(crate) fn new(body: &Body, about: About<'_>, now_us: u64) -> Snapshot {
        let brain = body.snapshot();
        let reception = body.reception(now_us);
        let people = People::of(body, now_us);
        let of_entry = |entry: &plenary_proto::message::Entry| Member {
            peer: hex(&entry.peer),
            name: entry.name.to_string(),
            label: people.label(&entry.peer, &entry.name),
            speaks: entry.speaks,
            away: entry.away,
            muted: [entry.muted.picture, entry.muted.sound],
            shares: entry.shares != Sharing::No,
            mixes: entry.mixes,
            named: entry.votes == Vote::Named,
        };
        let named = |(peer, name): (PeerId, String)| Named {
            peer: hex(&peer),
            label: people.label(&peer, &name),
            name,
        };
        let waits = |Newcomer { peer, name, mixes }: Newcomer| Waiting {
            peer: hex(&peer),
            label: people.label(&peer, &name),
            name,
            mixes,
        };
        let listed = |(peer, entry, _): (PeerId, plenary_proto::DirectoryEntry, u64)| Listed {
            peer: hex(&peer),
            label: people.label(&peer, &entry.name),
            name: entry.name.to_string(),
            parent: entry.parent.as_ref().map(hex),
            depth: entry.depth,
        };
        let quantiles = |spread: Spread| Quantiles { p50: spread.p50_ms, p95: spread.p95_ms };
        let rates_of = |rates: &PeerRates| RatesOf {
            peer: hex_of(&rates.peer.0),
            received_bps: rates.received_bps,
            sent_bps: rates.sent_bps,
            children: rates.children,
        };
        let roster = body.roster();
        let to_parent = brain.parent.and_then(|parent| body.link_with(&parent, LinkKind::Peer));
        let link_to = |link| {
            let (peer, _) = body.link_of(link)?;
            Some(LinkTo { peer: hex(&peer), way: (about.way)(link)? })
        };
        let [picture, sound] = body.sends().map(|sends| sends && brain.speaks);
        Snapshot {
            peer: hex(about.me),
            state: about.state,
            title: roster.map(|roster| roster.title.to_string()).unwrap_or_default(),
            mode: brain.mode,
            meshed: body.brain().meshed(),
            host: brain.host.as_ref().map(hex),
            invite: about.invite,
            locked: roster.is_some_and(|roster| roster.access.locked),
            lobby: roster.is_some_and(|roster| roster.access.lobby),
            stage_open: roster.is_some_and(|roster| roster.stage_open),
            mix_policy: roster.map_or_else(MixPolicy::default, |roster| roster.mixing),
            layout: roster
                .and_then(|roster| Layout::of_roster(&roster.layout))
                .map_or("grid", |layout| layout.name()),
            stage: body.stage().iter().map(of_entry).collect(),
            waiting: body.lobby().into_iter().map(waits).collect(),
            wanting: body.hands().into_iter().map(named).collect(),
            audience: body.directory(now_us).into_iter().map(listed).collect(),
            viewers: brain.viewers,
            mixers: brain.mixers.iter().map(hex).collect(),
            mixed_by: mixed_by(body, &people),
            speaks: brain.speaks,
            sends: Sends { picture, sound },
            parent: brain.parent.as_ref().map(hex),
            way: to_parent.and_then(|link| (about.way)(link)),
            backup: brain.backup.as_ref().map(hex),
            children: brain.children.iter().map(hex).collect(),
            path: brain.path.iter().map(|ShortId(bytes)| hex_of(bytes)).collect(),
            rates_above: brain.rates_above.iter().map(rates_of).collect(),
            depth: brain.path.len().checked_sub(1),
            reparented: body.reparented(),
            links: body.links().filter_map(link_to).collect(),
            late_ms: (body.late_us() / 1000) as u32,
            uplink_bps: brain.uplink_bps,
            first_frame_ms: reception.first_frame_ms,
            frames_received: reception.frames_received,
            frames_expected: reception.frames_expected,
            frames_left_out: reception.frames_left_out,
            frames_late: reception.frames_late,
            longest_video_gap_ms: (reception.frames_received > 0).then_some(reception.longest_video_gap_ms),
            longest_audio_gap_ms: reception.longest_audio_gap_ms,
            latency_ms: reception.latency.map(quantiles),
            sound_latency_ms: reception.sound_latency.map(quantiles),
            av_skew_ms: reception.av_skew.map(quantiles),
        }
    }
}

/// Returns the mixers in force as they are shown beside the program. The mandate proves them, so that no relay can
/// claim others; each of them sees and hears all speakers.
fn mixed_by(body: &Body, people: &People) -> Option<String> {
    let stage = body.stage();
    let mixer = |peer: &PeerId| {
        let entry = stage.iter().find(|entry| entry.peer == *peer);
        (people.label_of(peer), entry.is_some_and(|entry| entry.votes == Vote::Named))
    };
    let mixers: Vec<_> = body.brain().mixers().iter().map(mixer).collect();
    (!mixers.is_empty()).then(|| people::mixers(&mixers))
}

fn hex(peer: &PeerId) -> String {
    hex_of(&peer.0)
}

fn hex_of(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
