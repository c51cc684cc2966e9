//! What the application sees, as JSON: events, and a snapshot.

use plenary_body::{Body, BodyEvent};
use plenary_proto::rendezvous::Outage;
use plenary_proto::{Event, Mode, PeerId};
use serde::Serialize;

/// State of the page in its room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Standing {
    /// Not admitted yet, or without a first link.
    #[default]
    Joining,
    /// Fed, or in contact with the stage.
    Live,
    /// Contact was lost, and is searched for.
    Reconnecting,
    /// Left, removed, refused, or the room has ended.
    Ended,
}

impl Standing {
    /// Returns the state that follows, depending on whether the page has contact.
    pub(crate) fn next(self, has_contact: bool) -> Standing {
        match (self, has_contact) {
            (Standing::Ended, _) => Standing::Ended,
            (_, true) => Standing::Live,
            (Standing::Joining, false) => Standing::Joining,
            (_, false) => Standing::Reconnecting,
        }
    }
}

/// Events for the application.
#[derive(Debug, Serialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub(crate) enum PageEvent {
    /// The state has changed.
    State { state: Standing },
    /// The rendezvous became available or unavailable.
    Rendezvous { up: bool, why: Option<String> },
    /// The page can't join, and why: one line for the user.
    Refused { why: String },
    /// Something keeps this peer from its room, which may pass: one line for the user.
    Trouble { why: String },
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
    /// The peers that speak have changed.
    Speaking { dominant: Option<String>, speaking: Vec<String> },
}

impl PageEvent {
    /// Returns an event of the body as the application gets it, if it does.
    pub(crate) fn of(event: &BodyEvent) -> Option<PageEvent> {
        Some(match event {
            BodyEvent::Speaking { dominant, speaking } => PageEvent::Speaking {
                dominant: dominant.as_ref().map(hex),
                speaking: speaking.iter().map(hex).collect(),
            },
            BodyEvent::Brain(Event::Refused(refusal)) => PageEvent::Refused { why: refusal.to_string() },
            BodyEvent::Brain(Event::Removed) => PageEvent::Removed,
            BodyEvent::Brain(Event::Ended) => PageEvent::Ended,
            BodyEvent::Brain(Event::Left) => PageEvent::Left,
            BodyEvent::Brain(Event::InLobby) => PageEvent::InLobby,
            BodyEvent::Brain(Event::Roster { epoch }) => PageEvent::Stage { epoch: *epoch },
            BodyEvent::Brain(Event::Parent(peer)) => PageEvent::Parent { peer: peer.as_ref().map(hex) },
            BodyEvent::Brain(Event::Backup(peer)) => PageEvent::Backup { peer: peer.as_ref().map(hex) },
            BodyEvent::Brain(Event::NoMixer) => PageEvent::NoMixer,
            _ => return None,
        })
    }

    pub(crate) fn of_outage(why: &Outage) -> PageEvent {
        PageEvent::Rendezvous { up: false, why: Some(why.to_string()) }
    }

    /// Whether nothing comes after it.
    pub(crate) fn is_end(&self) -> bool {
        matches!(self, PageEvent::Refused { .. } | PageEvent::Removed | PageEvent::Ended | PageEvent::Left)
    }
}

/// A peer on stage.
#[derive(Debug, Serialize)]
struct Member {
    peer: String,
    name: String,
    speaks: bool,
    away: bool,
    muted: [bool; 2],
    shares: bool,
}

/// What the page knows of its room.
#[derive(Debug, Serialize)]
pub(crate) struct Snapshot {
    peer: String,
    state: Standing,
    title: String,
    mode: Mode,
    host: Option<String>,
    stage: Vec<Member>,
    mixers: Vec<String>,
    parent: Option<String>,
    backup: Option<String>,
    children: Vec<String>,
    depth: Option<usize>,
    reparented: u32,
    links: usize,
    frames_received: u64,
    frames_expected: u64,
    longest_video_gap_ms: f64,
    longest_audio_gap_ms: Option<f64>,
}

impl Snapshot {
    pub(crate) fn new(body: &Body, me: &PeerId, state: Standing, now_us: u64) -> Snapshot {
        let brain = body.snapshot();
        let reception = body.reception(now_us);
        let of_entry = |entry: &plenary_proto::message::Entry| Member {
            peer: hex(&entry.peer),
            name: entry.name.to_string(),
            speaks: entry.speaks,
            away: entry.away,
            muted: [entry.muted.picture, entry.muted.sound],
            shares: entry.shares,
        };
        Snapshot {
            peer: hex(me),
            state,
            title: body.roster().map(|roster| roster.title.to_string()).unwrap_or_default(),
            mode: brain.mode,
            host: brain.host.as_ref().map(hex),
            stage: body.stage().iter().map(of_entry).collect(),
            mixers: brain.mixers.iter().map(hex).collect(),
            parent: brain.parent.as_ref().map(hex),
            backup: brain.backup.as_ref().map(hex),
            children: brain.children.iter().map(hex).collect(),
            depth: brain.path.len().checked_sub(1),
            reparented: body.reparented(),
            links: body.links_up(),
            frames_received: reception.frames_received,
            frames_expected: reception.frames_expected,
            longest_video_gap_ms: reception.longest_video_gap_ms,
            longest_audio_gap_ms: reception.longest_audio_gap_ms,
        }
    }
}

fn hex(peer: &PeerId) -> String {
    peer.0.iter().map(|byte| format!("{byte:02x}")).collect()
}
