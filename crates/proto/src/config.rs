//! Configuration that a body gives the brain at its start.

use crate::bounded::Text;
use crate::id::{PeerId, RoomId};
use crate::message::{
    Consent, GenerationKey, MixPolicy, NAME_LEN_MAX, ProgramFormat, ProgramLayout, TITLE_LEN_MAX,
};
use crate::seal::{Keypair, RoomKeys};
use crate::time::{SECOND, Time};

/// Maximum children of any peer: the first tiers of ten mixers.
pub const CHILDREN_MAX: u8 = 64;

/// This peer's part in the room, and its user's limits.
#[derive(Clone, Debug)]
pub struct RoomConfig {
    /// The room's id.
    pub room: RoomId,
    /// The room's root public key.
    pub root: PeerId,
    /// The host's configuration; `None` for all other peers.
    pub host: Option<HostConfig>,
    /// Name shown under this peer's picture.
    pub name: Text<NAME_LEN_MAX>,
    /// The peer sends video and audio.
    pub speaks: bool,
    /// The peer's own stream must not be forwarded to peers that request it alone.
    pub no_solo: bool,
    /// The peer wants the program.
    pub views: bool,
    /// The peer's consent to mix.
    pub consent: Consent,
    /// The peer forwards the program to other peers.
    pub relays: bool,
    /// Maximum children as a relay, set by this peer's user; the room's limits apply as well.
    pub children_max: u8,
    /// Uplink cap set by this peer's user, bits per second.
    pub uplink_bps_max: Option<u64>,
    /// The peer carries links of others that can't reach each other.
    pub carries: bool,
    /// The peer can send packet trains, by which its parents measure its uplink. A page can't: only its user's and the
    /// room's limits count there.
    pub sends_trains: bool,
    /// Key of the invite by which the peer comes. Members pass on the keys of later invites.
    pub key: Option<GenerationKey>,
    /// Wall clock at [`Time`](crate::Time) 0, microseconds since 1970; the base of all expiries.
    /// [`Input::RoomTime`](crate::Input) corrects it.
    pub unix_us_at_zero: u64,
}

impl RoomConfig {
    /// Returns the wall clock at a time, microseconds since 1970.
    pub(crate) fn unix_us(&self, now: Time) -> u64 {
        self.unix_us_at_zero.saturating_add(now.0)
    }

    /// Returns the wall clock at a time, seconds since 1970.
    pub(crate) fn unix_s(&self, now: Time) -> u64 {
        self.unix_us(now) / SECOND
    }
}

/// The host's configuration of a room.
#[derive(Clone, Debug)]
pub struct HostConfig {
    /// The room's root key, which signs the roster.
    pub root: Keypair,
    /// Whether every peer that asks may speak.
    pub stage_open: bool,
    /// Which of the peers that consent may mix; `None`: anyone if the room opens with an open stage, otherwise peers
    /// that the host named.
    pub mixing: Option<MixPolicy>,
    /// Video format of the program.
    pub program: ProgramFormat,
    /// Maximum children of a peer that is no mixer.
    pub k: u8,
    /// Maximum viewers that one mixer feeds.
    pub k1: u8,
    /// Number of mixers; 0 adapts it to the need.
    pub mixers: u8,
    /// Expiry of the invite, microseconds of the brain's time; `None` for never.
    pub invite_expires_us: Option<u64>,
    /// Layout of the program, interpreted by the mixers.
    pub layout: ProgramLayout,
    /// Title of the room; empty for none.
    pub title: Text<TITLE_LEN_MAX>,
    /// Whether each newcomer waits until the application admits it.
    pub lobby: bool,
    /// Peers that need not wait there, and that the host names: they count as voters, and may mix.
    pub members: Vec<PeerId>,
    /// Peers that were removed before the host restarted.
    pub removed: Vec<PeerId>,
    /// Whether the room was locked before the host restarted.
    pub locked: bool,
    /// Number of the reign under which the room opens; 0 for a new room. A number above all of earlier sessions takes
    /// the force from everything that was signed then.
    pub reign: u32,
}

impl HostConfig {
    /// Format of the program's picture unless the host asks for another.
    pub const PROGRAM: ProgramFormat =
        ProgramFormat { width: 1280, height: 720, fps: 30, bitrate_bps: 1_500_000 };
    /// Maximum number of children of a relay unless the host asks for another.
    pub const K: u8 = 4;
    /// Maximum number of viewers that one mixer feeds unless the host asks for another.
    pub const K1: u8 = 10;

    /// Returns the configuration of a room with an open stage, a grid and as many mixers as it needs.
    pub fn new(keys: &RoomKeys) -> HostConfig {
        HostConfig {
            root: keys.root.clone(),
            stage_open: true,
            mixing: None,
            program: HostConfig::PROGRAM,
            k: HostConfig::K,
            k1: HostConfig::K1,
            mixers: 0,
            invite_expires_us: None,
            layout: ProgramLayout::new(),
            title: Text::truncated(""),
            lobby: false,
            members: Vec::new(),
            removed: keys.removed.clone(),
            locked: keys.locked,
            reign: keys.reign,
        }
    }
}
