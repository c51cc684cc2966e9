//! Plan of a world: everything about it except its seed, as plain data.
//!
//! Tests write plans by hand from the constants here ([`PeerPlan::VIEWER`], [`NetPlan::HOME`] and so on);
//! scenarios draw them from distributions of people and networks. A plan contains no randomness: the world
//! draws random events (losses, stalls) from its seed.

use plenary_proto::Time;
use plenary_proto::message::Consent;
use plenary_proto::time::{MS, SECOND};
use serde::Deserialize;

use crate::attackers::Attack;

/// Role in which a peer joins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Sends video and audio.
    Speaker,
    /// Doesn't speak or watch, and consents to mix.
    Candidate,
    /// Watches the program.
    Viewer,
}

/// NAT behaviour (RFC 4787), which decides which peers can be linked with each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Nat {
    /// Public address: reachable by every peer.
    #[default]
    Open,
    /// Endpoint-independent mapping and filtering: hole punching works.
    Cone,
    /// Endpoint-independent mapping; filtering depends on the other end's address and port.
    PortRestricted,
    /// Mapping depends on the other end: reachable only by `Open` and `Cone`.
    Symmetric,
}

/// A peer's network access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// Uplink, bits per second.
    pub up_bps: u64,
    /// Downlink, bits per second.
    pub down_bps: u64,
    /// NAT in front of the peer.
    pub nat: Nat,
    /// Whether the last metres are radio, with pauses as [`NetPlan::pauses`] says.
    pub wireless: bool,
    /// Peers with the same number share one uplink and one downlink; `None`: a line of its own.
    pub line: Option<u32>,
}

impl Access {
    /// 100 Mbit/s in both directions, wired, with a public address.
    pub const WIRE: Access =
        Access { up_bps: 100_000_000, down_bps: 100_000_000, nat: Nat::Open, wireless: false, line: None };
}

/// Location of a peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Location {
    /// Index into the regions of [`Delays::Regions`].
    pub region: u16,
    /// One-way delay from the peer to its region's backbone, microseconds.
    pub last_mile_us: u32,
}

/// Departure of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leave {
    /// Time of the departure.
    pub at: Time,
    /// Whether the peer leaves politely; otherwise it crashes without notice.
    pub polite: bool,
}

/// Stalls of a machine: it sends nothing meanwhile, and what arrives waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stalls {
    /// Mean time between two stalls, microseconds; drawn from an exponential distribution.
    pub mean_gap_us: u64,
    /// Length of each stall, microseconds.
    pub us: u64,
}

/// Machine whose processor time is limited; all peers on it share that time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MachinePlan {
    /// Number of the machine.
    pub number: u32,
    /// Number of its cores; the first peer's figure counts.
    pub cores: u8,
}

/// Kind of a page's browser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Browser {
    /// Chromium and what is made of it: it can relay.
    Chromium,
    /// Firefox: it can't relay, for lack of `MediaStreamTrackGenerator`.
    Firefox,
    /// Safari: it can't relay either.
    Safari,
}

/// Times for which a page's tab is shown and hidden by turns, drawn from exponential distributions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turns {
    /// Mean time shown, microseconds.
    pub shown_us: u64,
    /// Mean time hidden, microseconds.
    pub hidden_us: u64,
    /// Time after which the tab stays as it is.
    pub until: Time,
}

/// What makes a peer a page, and decides how many children it takes. Counts at packet level only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PagePlan {
    /// Its browser.
    pub browser: Browser,
    /// Whether it runs on battery.
    pub on_battery: bool,
    /// Whether its line is metered.
    pub is_metered: bool,
    /// When its tab is hidden; `None`: it is always shown.
    pub turns: Option<Turns>,
    /// Number of pages above a page from which on it takes no children; `None`: without limit.
    pub hops_max: Option<u8>,
}

impl PagePlan {
    /// A page that relays at any place in the tree, and is always shown.
    pub const RELAY: PagePlan = PagePlan {
        browser: Browser::Chromium,
        on_battery: false,
        is_metered: false,
        turns: None,
        hops_max: None,
    };
    /// Maximum number of children of a page: `CHILDREN_MAX` in `web/src/relay-limit.ts`.
    pub const CHILDREN_MAX: u8 = 3;

    /// Maximum number of children of the page with so many pages above it, while its tab is hidden or shown.
    pub fn children_max(&self, is_hidden: bool, pages_above: usize) -> u8 {
        let relays = self.browser == Browser::Chromium && !self.on_battery && !self.is_metered;
        let is_low = self.hops_max.is_some_and(|most| pages_above >= usize::from(most));
        if relays && !is_hidden && !is_low { PagePlan::CHILDREN_MAX } else { 0 }
    }
}

/// Plan of one peer.
#[derive(Clone, Copy, Debug)]
pub struct PeerPlan {
    /// Role of the peer.
    pub kind: Kind,
    /// Time at which the peer joins.
    pub joins_at: Time,
    /// Whether a speaker also sees the program. A viewer always does.
    pub sees: bool,
    /// Network access.
    pub access: Access,
    /// Location.
    pub place: Location,
    /// Whether the peer relays the program.
    pub relays: bool,
    /// Maximum number of children that its user allows.
    pub children_max: u8,
    /// Whether the peer consents to mix.
    pub consent: Consent,
    /// Time to encode one 720p picture, microseconds. As a mixer the peer makes no more pictures than this
    /// allows.
    pub encode_us: u32,
    /// Time to decode one 720p picture, microseconds.
    pub decode_us: u32,
    /// Clock drift in millionths; positive: too fast, negative: too slow.
    pub clock_ppm: i32,
    /// Departure; `None`: the peer stays.
    pub leaves: Option<Leave>,
    /// Stalls of its machine; `None`: there are none.
    pub stalls: Option<Stalls>,
    /// Machine on which it runs; `None`: one of its own that is never busy. Counts at packet level only.
    pub machine: Option<MachinePlan>,
    /// Attack on the protocol; `None`: the peer is honest.
    pub attack: Option<Attack>,
    /// The peer is a page in a browser; `None`: it is a native peer.
    pub page: Option<PagePlan>,
}

/// Time between two arrivals of a cast: less than a link's set-up takes, so that peers arrive during others'
/// set-up.
const APART_US: u64 = 37 * MS;

impl PeerPlan {
    /// A viewer that relays, from the beginning on.
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
        machine: None,
        attack: None,
        page: None,
    };
    /// A speaker that never mixes.
    pub const SPEAKER: PeerPlan = PeerPlan { kind: Kind::Speaker, ..PeerPlan::VIEWER };
    /// A candidate that neither speaks nor watches.
    pub const CANDIDATE: PeerPlan =
        PeerPlan { kind: Kind::Candidate, consent: Consent::Always, ..PeerPlan::VIEWER };

    /// Speakers (the first one is the host), candidates and viewers, joining in this order: 37 ms apart
    /// during the first second, the rest together at its end.
    pub fn cast(speakers: usize, candidates: usize, viewers: usize) -> Vec<PeerPlan> {
        let kinds = [(Kind::Speaker, speakers), (Kind::Candidate, candidates), (Kind::Viewer, viewers)];
        let kinds = kinds.into_iter().flat_map(|(kind, count)| std::iter::repeat_n(kind, count));
        let joins_at = |at: usize| Time((at as u64 * APART_US).min(SECOND));
        kinds
            .enumerate()
            .map(|(at, kind)| PeerPlan { joins_at: joins_at(at), ..PeerPlan::of(kind) })
            .collect()
    }

    /// Whether the peer wants the program.
    pub(crate) fn watches(&self) -> bool {
        self.kind == Kind::Viewer || (self.kind == Kind::Speaker && self.sees)
    }

    /// The default plan of a peer of this kind, one of the constants above.
    pub const fn of(kind: Kind) -> PeerPlan {
        match kind {
            Kind::Speaker => PeerPlan::SPEAKER,
            Kind::Candidate => PeerPlan::CANDIDATE,
            Kind::Viewer => PeerPlan::VIEWER,
        }
    }
}

/// Settings that the host decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoomPlan {
    /// Maximum number of children of a peer that isn't a mixer.
    pub k: u8,
    /// Maximum number of viewers that one mixer feeds.
    pub k1: u8,
    /// Number of mixers; 0: as many as are needed.
    pub mixers: u8,
    /// Bitrate of the program's video, bits per second.
    pub program_bps: u32,
    /// The host names every peer on stage, so each has a vote and the limit on unnamed candidates is void.
    pub names: bool,
}

impl RoomPlan {
    /// Default settings of a room: those of `HostOptions` in `crates/plenary`.
    pub const DEFAULT: RoomPlan = RoomPlan { k: 4, k1: 10, mixers: 0, program_bps: 1_500_000, names: false };
}

/// One-way delays between peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delays {
    /// Drawn uniformly for each pair of peers.
    Drawn {
        /// Shortest delay, microseconds.
        least_us: u64,
        /// Longest delay, microseconds.
        most_us: u64,
    },
    /// One-way delays between the regions' backbones in microseconds, by [`Location::region`]; both ends'
    /// last miles are added.
    Regions(Vec<Vec<u32>>),
}

/// Bursty loss (Gilbert–Elliott).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bursts {
    /// Mean length of a burst, microseconds.
    pub mean_us: u64,
    /// Mean time between two bursts, microseconds.
    pub mean_gap_us: u64,
    /// Loss within a burst, per million packets.
    pub loss_ppm: u32,
}

/// Pauses of a radio, during which it neither sends nor receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pauses {
    /// Mean time between two pauses, microseconds.
    pub mean_gap_us: u64,
    /// Shortest pause, microseconds.
    pub least_us: u64,
    /// Longest pause, microseconds.
    pub most_us: u64,
}

/// Properties of the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetPlan {
    /// One-way delays.
    pub delays: Delays,
    /// Independent loss on each path, per million packets.
    pub loss_ppm: u32,
    /// Bursty loss; `None`: there is none.
    pub bursts: Option<Bursts>,
    /// Pauses of wireless ends; `None`: there are none.
    pub pauses: Option<Pauses>,
    /// Maximum jitter, microseconds; drawn uniformly for each packet.
    pub jitter_us: u64,
    /// Whether peers carry links between others that NATs part.
    pub tunnels: bool,
    /// Longest queueing time at an uplink or downlink, microseconds; packets that would wait longer are
    /// dropped.
    pub queue_us_max: u64,
}

impl NetPlan {
    /// Delays of 5 to 40 ms and 0.5 % independent loss.
    pub const HOME: NetPlan = NetPlan::drawn(5 * MS, 40 * MS, 5_000);

    /// Delays between these bounds and this independent loss, and no other impairment.
    pub const fn drawn(least_us: u64, most_us: u64, loss_ppm: u32) -> NetPlan {
        NetPlan {
            delays: Delays::Drawn { least_us, most_us },
            loss_ppm,
            bursts: None,
            pauses: None,
            jitter_us: 0,
            tunnels: false,
            queue_us_max: SECOND,
        }
    }
}

/// Level of detail at which the program's distribution is simulated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MediaModel {
    /// Real bodies: each packet on each hop is queued, lost, requested and retransmitted, and frames are shown by the
    /// rules of `plenary-body`. For up to 1,000 viewers.
    Packet,
    /// Brains alone, and each frame of the program as one packet, however long. For up to 10,000 viewers.
    #[default]
    Frame,
    /// Brains alone, and rates: which parent feeds which child, how much of the program each uplink and downlink
    /// carries, and the latency. For up to 100,000 viewers.
    Fluid,
}

impl MediaModel {
    /// Name of the level in reports.
    pub const fn name(self) -> &'static str {
        match self {
            MediaModel::Packet => "packet",
            MediaModel::Frame => "frame",
            MediaModel::Fluid => "fluid",
        }
    }

    /// The most detailed level that is affordable for this number of viewers.
    pub const fn for_viewers(viewers: usize) -> MediaModel {
        match viewers {
            0..=1_000 => MediaModel::Packet,
            1_001..=10_000 => MediaModel::Frame,
            _ => MediaModel::Fluid,
        }
    }
}

/// Everything about a world except its seed.
#[derive(Clone, Debug)]
pub struct WorldPlan {
    /// Settings of the room.
    pub room: RoomPlan,
    /// Properties of the network.
    pub net: NetPlan,
    /// Level of detail of the program's distribution.
    pub media: MediaModel,
    /// The peers, the host first.
    pub peers: Vec<PeerPlan>,
}
