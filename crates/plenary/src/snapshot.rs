//! What a peer knows of its room at one moment.

use plenary_proto::message::{Entry, Roster};
use plenary_proto::{BrainSnapshot, Mode, PeerId, Rank};

/// One peer on stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Who.
    pub peer: PeerId,
    /// As shown under its picture.
    pub name: String,
    /// It sends picture and sound.
    pub speaks: bool,
    /// Its place among all who ever spoke here, from 0, in the order of joining: kept while it is on stage, and no
    /// other's afterwards. 0 also for those who don't speak.
    pub index: u8,
    /// It would mix.
    pub mixes: bool,
    /// The host hasn't reached it for 5 s.
    pub away: bool,
}

/// How this peer stands with its room.
///
/// A viewer is connected while somebody feeds it (or it makes the program itself). Whoever is on stage is connected
/// while it hears of anybody else who is present there, or is alone. [`RoomEvent::Connection`] tells each change.
///
/// [`RoomEvent::Connection`]: crate::RoomEvent::Connection
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ConnectionState {
    /// Not connected yet: the host has still to let us in, or the first link to come up.
    #[default]
    Joining,
    /// Connected, as said above.
    Connected,
    /// Was connected and isn't: another parent or the way back is sought, for as long as the room is held.
    Reconnecting,
    /// Left or closed; it stays so.
    Closed,
}

impl ConnectionState {
    /// What follows, when this peer is linked now or not.
    pub(crate) fn next(self, linked: bool) -> ConnectionState {
        match (self, linked) {
            (ConnectionState::Closed, _) => ConnectionState::Closed,
            (_, true) => ConnectionState::Connected,
            (ConnectionState::Joining, false) => ConnectionState::Joining,
            (ConnectionState::Connected | ConnectionState::Reconnecting, false) => {
                ConnectionState::Reconnecting
            }
        }
    }
}

/// What a peer knows of its room at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoomSnapshot {
    /// How this peer stands with the room.
    pub connection: ConnectionState,
    /// The roster's number; 0 before the host has answered.
    pub epoch: u32,
    /// How the stage is served.
    pub mode: Mode,
    /// The stage, the host first.
    pub stage: Vec<Member>,
    /// Somebody watches besides the stage.
    pub audience: bool,
    /// The mandate in force.
    pub rank: Rank,
    /// Who mixes.
    pub mixers: Vec<PeerId>,
    /// Who is kept warm.
    pub standbys: Vec<PeerId>,
    /// The mixer that our own stream goes to.
    pub home_mixer: Option<PeerId>,
    /// Who feeds us.
    pub parent: Option<PeerId>,
    /// How often another parent has taken over feeding us.
    pub reparented: u32,
    /// Who would at once.
    pub backup: Option<PeerId>,
    /// Hops from the mixer; 0 at a mixer, `None` when we aren't fed.
    pub depth: Option<usize>,
    /// Whom we feed.
    pub children: Vec<PeerId>,
    /// Whom we promised to feed.
    pub promised: Vec<PeerId>,
    /// We make the program.
    pub mixing: bool,
    /// We are on stage as a speaker.
    pub speaks: bool,
    /// What we can send, as whoever feeds us has measured it, bits per second; `None` while nobody has.
    pub uplink_bps: Option<u64>,
}

impl RoomSnapshot {
    pub(crate) fn new(
        brain: &BrainSnapshot,
        entries: &[Entry],
        roster: Option<&Roster>,
        home: Option<PeerId>,
        reparented: u32,
        connection: ConnectionState,
    ) -> RoomSnapshot {
        let member = |entry: &Entry| Member {
            peer: entry.peer,
            name: entry.name.to_string(),
            speaks: entry.speaks,
            index: entry.index,
            mixes: entry.mixes,
            away: entry.away,
        };
        RoomSnapshot {
            connection,
            epoch: brain.epoch,
            mode: brain.mode,
            stage: entries.iter().map(member).collect(),
            audience: roster.is_some_and(|roster| roster.audience),
            rank: brain.rank,
            mixers: brain.mixers.clone(),
            standbys: brain.standbys.clone(),
            home_mixer: home.filter(|_| brain.mode != Mode::Mesh),
            parent: brain.parent,
            reparented,
            backup: brain.backup,
            depth: brain.path.len().checked_sub(1),
            children: brain.children.clone(),
            promised: brain.promised.clone(),
            mixing: brain.mixing,
            speaks: brain.speaks,
            uplink_bps: brain.uplink_bps,
        }
    }
}
