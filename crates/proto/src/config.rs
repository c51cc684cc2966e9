//! What a body tells the brain at the start.

use crate::bounded::Text;
use crate::id::{PeerId, RoomId};
use crate::message::{Consent, NAME_LEN_MAX, ProgramFormat, ProgramLayout};
use crate::seal::Keypair;

/// Most children of any peer: a first tier of ten mixers' worth.
pub const CHILDREN_MAX: u8 = 64;

/// What this peer wants and allows.
#[derive(Clone, Debug)]
pub struct RoomConfig {
    /// The room.
    pub room: RoomId,
    /// The room's root public key.
    pub root: PeerId,
    /// What only the host has.
    pub host: Option<HostConfig>,
    /// As shown under this peer's picture.
    pub name: Text<NAME_LEN_MAX>,
    /// It sends picture and sound.
    pub speaks: bool,
    /// It wants the program.
    pub views: bool,
    /// Whether it would mix.
    pub consent: Consent,
    /// It passes the program on to others.
    pub relays: bool,
    /// Most children as a relay, as this peer's user wants it; the room's own bounds hold as well.
    pub children_max: u8,
    /// The uplink its user allows, bits per second.
    pub uplink_bps_max: Option<u64>,
    /// The wall clock at [`Time`](crate::Time) 0, in seconds since 1970: what expiries are reckoned from.
    pub unix_s_at_zero: u64,
}

/// The host's own part of a room.
#[derive(Clone, Debug)]
pub struct HostConfig {
    /// The room's root key, which signs the roster.
    pub root: Keypair,
    /// Whoever asks may speak.
    pub stage_open: bool,
    /// The picture the audience gets.
    pub program: ProgramFormat,
    /// Most children of a peer that is no mixer.
    pub k: u8,
    /// Most viewers one mixer feeds.
    pub k1: u8,
    /// How many mixers; 0 leaves it to need.
    pub mixers: u8,
    /// When the invite ends, in microseconds of the brain's time; `None` for never.
    pub invite_expires_us: Option<u64>,
    /// How the program is laid out, for whoever mixes.
    pub layout: ProgramLayout,
}
