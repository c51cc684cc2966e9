//! The plan of a world: everything about it but its seed, as plain data.
//!
//! Tests write plans by hand from the constants here ([`PeerPlan::VIEWER`], [`NetPlan::HOME`] and so on),
//! scenarios draw them from distributions of people and networks. A plan has no chance in it: what it leaves
//! to chance (losses, stalls) the world draws from its seed.

use plenary_proto::Time;
use plenary_proto::message::Consent;
use plenary_proto::time::{MS, SECOND};
use serde::Deserialize;

use crate::attackers::Attack;

/// What a peer is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Sends picture and sound.
    Speaker,
    /// A headless peer that would mix.
    Candidate,
    /// Watches.
    Viewer,
}

/// How the network translates a peer's addresses (RFC 4787), and so whom it can be linked with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Nat {
    /// A public address: everyone reaches it.
    #[default]
    Open,
    /// Mapping and filtering don't depend on the other end: hole punching works.
    Cone,
    /// Mapping doesn't depend on the other end, filtering depends on its address and port.
    PortRestricted,
    /// Another port for each other end: reached only by `Open` and `Cone`.
    Symmetric,
}

/// How a peer is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// Uplink, bits per second.
    pub up_bps: u64,
    /// Downlink, bits per second.
    pub down_bps: u64,
    /// What stands between it and the others.
    pub nat: Nat,
    /// Its last metres are radio: it pauses as [`NetPlan::pauses`] says.
    pub wireless: bool,
    /// Peers of one number share one uplink and one downlink; `None`: a line of its own.
    pub line: Option<u32>,
}

impl Access {
    /// 100 Mbit/s both ways, on a wire, with a public address.
    pub const WIRE: Access =
        Access { up_bps: 100_000_000, down_bps: 100_000_000, nat: Nat::Open, wireless: false, line: None };
}

/// Where a peer is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Location {
    /// Index into the regions of [`Delays::Regions`].
    pub region: u16,
    /// One way from the peer to its region's backbone.
    pub last_mile_us: u32,
}

/// When a peer goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leave {
    /// Then.
    pub at: Time,
    /// It says so first; otherwise it is dead from one moment to the next.
    pub polite: bool,
}

/// A machine that stands still now and then: nothing is sent, and what comes waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stalls {
    /// Between two of them on average; the times are drawn exponentially.
    pub mean_gap_us: u64,
    /// How long each lasts.
    pub us: u64,
}

/// One peer, before it is there.
#[derive(Clone, Copy, Debug)]
pub struct PeerPlan {
    /// What it is there for.
    pub kind: Kind,
    /// When it joins.
    pub joins_at: Time,
    /// A speaker that sees the program, too. A viewer does in any case.
    pub sees: bool,
    /// How it is connected.
    pub access: Access,
    /// Where it is.
    pub place: Location,
    /// It passes the program on.
    pub relays: bool,
    /// Most children its user allows.
    pub children_max: u8,
    /// Whether it would mix.
    pub consent: Consent,
    /// Its machine's time to encode one 720p picture; as a mixer it makes no more pictures than that allows.
    pub encode_us: u32,
    /// Its machine's time to decode one.
    pub decode_us: u32,
    /// How much too fast its clock goes, in millionths; negative: too slow.
    pub clock_ppm: i32,
    /// When it goes; `None`: it stays.
    pub leaves: Option<Leave>,
    /// How its machine stands still; `None`: never.
    pub stalls: Option<Stalls>,
    /// What rules it breaks; `None`: it is honest.
    pub attack: Option<Attack>,
}

/// Between two of a cast: within a link's set-up, so that they meet while it goes on.
const APART_US: u64 = 37 * MS;

impl PeerPlan {
    /// Watches and forwards, from the beginning on.
    pub const VIEWER: PeerPlan = PeerPlan {
        kind: Kind::Viewer,
        joins_at: Time(0),
        sees: false,
        access: Access::WIRE,
        place: Location { region: 0, last_mile_us: 0 },
        relays: true,
        children_max: 64,
        consent: Consent::Never,
        encode_us: 4_000,
        decode_us: 1_500,
        clock_ppm: 0,
        leaves: None,
        stalls: None,
        attack: None,
    };
    /// Sends picture and sound, and never mixes.
    pub const SPEAKER: PeerPlan = PeerPlan { kind: Kind::Speaker, ..PeerPlan::VIEWER };
    /// Would mix, and does nothing else.
    pub const CANDIDATE: PeerPlan =
        PeerPlan { kind: Kind::Candidate, consent: Consent::Always, ..PeerPlan::VIEWER };

    /// Speakers (the first one is the host), candidates and viewers, who come in that order, 37 ms apart as long
    /// as a second lasts, and then together.
    pub fn cast(speakers: usize, candidates: usize, viewers: usize) -> Vec<PeerPlan> {
        let kinds = [(Kind::Speaker, speakers), (Kind::Candidate, candidates), (Kind::Viewer, viewers)];
        let kinds = kinds.into_iter().flat_map(|(kind, count)| std::iter::repeat_n(kind, count));
        let joins_at = |at: usize| Time((at as u64 * APART_US).min(SECOND));
        kinds
            .enumerate()
            .map(|(at, kind)| PeerPlan { joins_at: joins_at(at), ..PeerPlan::of(kind) })
            .collect()
    }

    /// Whether it wants the program.
    pub(crate) fn watches(&self) -> bool {
        self.kind == Kind::Viewer || (self.kind == Kind::Speaker && self.sees)
    }

    /// One of that kind, as the constants above have it.
    pub const fn of(kind: Kind) -> PeerPlan {
        match kind {
            Kind::Speaker => PeerPlan::SPEAKER,
            Kind::Candidate => PeerPlan::CANDIDATE,
            Kind::Viewer => PeerPlan::VIEWER,
        }
    }
}

/// What the host decides for the room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoomPlan {
    /// Most children of a peer that is no mixer.
    pub k: u8,
    /// Most viewers one mixer feeds.
    pub k1: u8,
    /// How many mixers; 0 leaves it to need.
    pub mixers: u8,
    /// The program's video, bits per second.
    pub program_bps: u32,
}

impl RoomPlan {
    /// The defaults of a room (DESIGN §8).
    pub const DEFAULT: RoomPlan = RoomPlan { k: 4, k1: 10, mixers: 0, program_bps: 1_500_000 };
}

/// How long the ways between peers are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delays {
    /// One way, drawn evenly for each pair of peers.
    Drawn {
        /// Least.
        least_us: u64,
        /// Most.
        most_us: u64,
    },
    /// One way between the regions' backbones, by [`Location::region`]; both ends' last miles come on top.
    Regions(Vec<Vec<u32>>),
}

/// Losses that come together (Gilbert–Elliott).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bursts {
    /// How long one lasts on average.
    pub mean_us: u64,
    /// Between two of them on average.
    pub mean_gap_us: u64,
    /// Lost within one, of a million packets.
    pub loss_ppm: u32,
}

/// A radio that hears nothing for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pauses {
    /// Between two of them on average.
    pub mean_gap_us: u64,
    /// Each lasts at least so long.
    pub least_us: u64,
    /// And at most so long.
    pub most_us: u64,
}

/// What the network does to packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetPlan {
    /// How long the ways are.
    pub delays: Delays,
    /// Lost on each way, independently, of a million packets.
    pub loss_ppm: u32,
    /// Losses that come together; `None`: there are none.
    pub bursts: Option<Bursts>,
    /// Pauses of wireless ends; `None`: there are none.
    pub pauses: Option<Pauses>,
    /// Each packet is late by up to so much, drawn evenly.
    pub jitter_us: u64,
    /// What would wait at an uplink or downlink for longer than this is dropped.
    pub queue_us_max: u64,
}

impl NetPlan {
    /// Ways of 5 to 40 ms with half a percent of loss.
    pub const HOME: NetPlan = NetPlan::drawn(5 * MS, 40 * MS, 5_000);

    /// Ways between these bounds, with that independent loss and nothing else.
    pub const fn drawn(least_us: u64, most_us: u64, loss_ppm: u32) -> NetPlan {
        NetPlan {
            delays: Delays::Drawn { least_us, most_us },
            loss_ppm,
            bursts: None,
            pauses: None,
            jitter_us: 0,
            queue_us_max: SECOND,
        }
    }
}

/// How closely the program is followed on its way down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MediaModel {
    /// Each packet of each frame on each hop: queued, lost, asked for and sent again; a frame is shown when its last
    /// packet is there. For 1,000 viewers.
    Packet,
    /// The same with frames in one packet each, however long. For 10,000.
    #[default]
    Frame,
    /// Rates: who is fed by whom, how much of the program gets through each uplink and downlink, and how late it
    /// is. For 100,000.
    Fluid,
}

impl MediaModel {
    /// As in reports.
    pub const fn name(self) -> &'static str {
        match self {
            MediaModel::Packet => "packet",
            MediaModel::Frame => "frame",
            MediaModel::Fluid => "fluid",
        }
    }

    /// The closest that is affordable for so many viewers.
    pub const fn for_viewers(viewers: usize) -> MediaModel {
        match viewers {
            0..=1_000 => MediaModel::Packet,
            1_001..=10_000 => MediaModel::Frame,
            _ => MediaModel::Fluid,
        }
    }
}

/// Everything about a world but its seed.
#[derive(Clone, Debug)]
pub struct WorldPlan {
    /// What the host decides.
    pub room: RoomPlan,
    /// The network.
    pub net: NetPlan,
    /// How closely the program is followed.
    pub media: MediaModel,
    /// The peers, the host first.
    pub peers: Vec<PeerPlan>,
}
