//! Options that an application sets before it hosts or joins a room.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use plenary_media::Clock;
use plenary_media::codec::Codecs;
use plenary_media::compose::Layout;
use plenary_proto::message::{Consent, MixPolicy, ProgramFormat};
use plenary_proto::{HostConfig, PeerId};
use plenary_signal::{MoreFigures, PageOrigin, Router};
use tokio::runtime::Handle;

use crate::advertise::Advertise;
use crate::certificate::Certificate;
use crate::event::OnEvent;
use crate::secrets::{Identity, Password, RoomKeys};
use crate::stun::StunServer;
use crate::testing::Testing;
use crate::turn::{ServeTurn, TurnServer};

/// Options of one peer in one room.
///
/// Start from [`Options::viewer`], [`Options::speaker`] or [`Options::mixer`]; then set fields, or chain the
/// methods of the same names.
///
/// ```
/// use plenary::{Consent, Options};
///
/// let options = Options::speaker("Ada").mix(Consent::Never).relays(false);
/// assert!(options.speaks && !options.relays);
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct Options {
    /// Name shown under this peer's picture; without space at its ends, and cut to 64 bytes of UTF-8.
    pub name: String,
    /// Joins as a speaker, which sends picture and sound.
    pub speaks: bool,
    /// Receives the program. A speaker that views gets the program's picture; a speaker hears the other
    /// speakers in any case.
    pub views: bool,
    /// Whether this peer consents to mix. Without [`codecs`](Self::codecs) it never mixes.
    pub mix: Consent,
    /// Forwards the program to further viewers. On by default; any peer may opt out.
    pub relays: bool,
    /// Maximum number of children that this peer feeds; 64 by default. A relay also feeds no more than the
    /// room's [`k`](HostOptions::k), and a mixer no more than [`k1`](HostOptions::k1), as far as the uplink
    /// carries them. A mixer feeds at least one child, even if this is 0.
    pub children_max: u8,
    /// Uplink bandwidth that this peer may use, bits per second; `None` for no limit.
    pub uplink_bps_max: Option<u64>,
    /// Largest picture size, frame rate and bit rate that this peer sends; `None` for whatever the mixer
    /// requests.
    pub picture_max: Option<ProgramFormat>,
    /// The published source is a screen or a film instead of a voice; off by default. [`Layout::Share`] shows
    /// its picture large. Two-channel sound is encoded in stereo at a bit rate for music, and quiet passages
    /// are always sent (no DTX).
    pub shares: bool,
    /// Whether other peers may see this speaker's own stream alone, by [`Room::set_solo`](crate::Room::set_solo); on by
    /// default. The program shows the speaker in any case. [`Room::allow_solo`](crate::Room::allow_solo) changes it
    /// later.
    pub solo_allowed: bool,
    /// Password of the room.
    pub password: Option<Password>,
    /// Lasting identity of this peer; `None` for a new one. A host with [`HostOptions::keys`] has theirs.
    pub identity: Option<Identity>,
    /// Local addresses that media sockets bind to; empty for all addresses of this machine.
    pub bind: Vec<IpAddr>,
    /// UDP ports for media, one per link; `None` for any free port.
    pub udp_ports: Option<RangeInclusive<u16>>,
    /// UDP port for all media, in place of one per link, for a firewall or a router's forwarding; `None`, the default,
    /// for a port per link. Rooms of one process need a port each. A second link with the same peer takes a port of its
    /// own at the answering end, which needs none open.
    pub udp_port: Option<u16>,
    /// Sends connectivity checks only where the other end's came from (ICE-lite), so nothing to addresses that a
    /// stranger names; for a machine in the open. Two such peers link as others do. Off by default.
    pub ice_lite: bool,
    /// Asks the router of a home network to let others in: at a host's own rendezvous, unless it is
    /// [advertised](HostOptions::advertise) or [`nat_1to1`](Self::nat_1to1) is known, and then the invite names the
    /// router's address; and at [`udp_port`](Self::udp_port). Off by default. [`Room::port_map`](crate::Room::port_map)
    /// says what came of it.
    pub maps_ports: bool,
    /// Address of a one-to-one NAT in front of this machine, as cloud providers have it, which leaves ports as they
    /// are. Other peers are told it beside this machine's own addresses. The invite names it for a host's own
    /// rendezvous that is not [advertised](HostOptions::advertise). `None`, the default, for no such NAT.
    pub nat_1to1: Option<IpAddr>,
    /// Carries links between others that can't reach each other, as members that are linked with both ends do: sealed
    /// datagrams, 16 links at most, 4 Mbit/s each way of each, and half of [`uplink_bps_max`](Self::uplink_bps_max). On
    /// by default; others carry this peer's links in any case.
    pub carries: bool,
    /// STUN servers to ask, beside the rendezvous, under which address other peers see this one; those of the first
    /// three addresses of each family. None by default.
    pub stun: Vec<StunServer>,
    /// TURN servers at which links get a relay where there is no other way, the first of each family, beside that of
    /// the rendezvous.
    pub turn: Vec<TurnServer>,
    /// Time that the rendezvous may stay unreachable before joining fails; 10 s by default.
    pub patience: Duration,
    /// Certificates (DER) trusted for a rendezvous at `https://`, beside those of public authorities; none by default
    /// ([`Certificate::load_roots`]).
    pub tls_roots: Vec<Bytes>,
    /// Encoders and decoders; by default the built-in ones, if the feature `codecs` is compiled in.
    pub codecs: Option<Arc<dyn Codecs>>,
    /// Whether the built-in codecs stand in for the application's own [`codecs`](Self::codecs) that fail twice, if the
    /// feature `codecs` is compiled in; on by default. [`RoomEvent::CodecFailed`](crate::RoomEvent::CodecFailed) tells.
    pub falls_back: bool,
    /// Folder in which what was measured of this machine is kept for the next start, in a file that its user alone may
    /// read: how fast the codecs are, by their [`name`](Codecs::name). `None`, the default, keeps nothing.
    pub cache: Option<PathBuf>,
    /// Clock of this peer; rooms of one process may share one. By default each `Options` starts its own
    /// clock.
    pub clock: Clock,
    /// Callback for each event, also while the room is being joined. It runs on the room's own task and must
    /// return quickly.
    pub on_event: Option<OnEvent>,
    /// Tokio runtime that runs the room, with IO and time enabled; `None` for the runtime around the call of
    /// [`Room::host`](crate::Room::host) or [`Room::join`](crate::Room::join). All calls may come from outside it.
    pub runtime: Option<Handle>,
    /// Knobs for tests and measurements.
    #[doc(hidden)]
    pub testing: Testing,
}

/// Options of the room that only its host sets, beside its own [`Options`]: set fields of
/// [`HostOptions::default`], or chain the methods of the same names.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HostOptions {
    /// TCP address on which the host's own rendezvous listens; `None`, the default, for all addresses, of IPv6 and
    /// IPv4, and any free port. Ignored when `rendezvous` is set.
    pub listen: Option<SocketAddr>,
    /// URL of another rendezvous to use instead, `http://HOST[:PORT]` or `https://…`.
    pub rendezvous: Option<String>,
    /// Address that the invite names for the host's own rendezvous; `None` for the one it listens on.
    pub advertise: Option<Advertise>,
    /// Certificate of the host's own rendezvous, which then serves https; `None` for plain HTTP.
    pub certificate: Option<Certificate>,
    /// Page that the host's own rendezvous serves, beside signalling, at the address that the invite names; by default
    /// a line of text.
    pub page: Option<Router>,
    /// A TURN server beside the host's own rendezvous, for peers that no others reach; `None`, the default, for none.
    pub turn: Option<ServeTurn>,
    /// Serves `/healthz` and, for Prometheus, `/metrics` at the host's own rendezvous: its figures, and these. Anyone
    /// may read them. `None`, the default, serves neither.
    pub figures: Option<MoreFigures>,
    /// Address of a page that is served elsewhere, `https://HOST[:PORT][/PATH]`: the invite leads there, and the page
    /// to the rendezvous. `None`, the default, where the rendezvous serves the page. The host's own rendezvous lets
    /// pages of that origin in; another one must list it.
    pub page_at: Option<String>,
    /// Origins of further pages elsewhere that may connect to the host's own rendezvous. None by default: a browser is
    /// let in with the page that this rendezvous serves, and with the one of `page_at`. Native peers are always let in.
    pub embed: Vec<PageOrigin>,
    /// Every peer with the invite may speak. On by default.
    pub stage_open: bool,
    /// Which of the peers that consent may mix: they see and hear all speakers, and make the program. `None`, the
    /// default: anyone if the stage is open at first, otherwise this host and peers that it named.
    pub mixing: Option<MixPolicy>,
    /// Lifetime of the invite; one day by default.
    pub invite_life: Duration,
    /// Format of the program's picture; 1280×720 at 30 fps and 1.5 Mbit/s by default.
    pub program: ProgramFormat,
    /// Maximum number of children of a relay; 4 by default.
    pub k: u8,
    /// Maximum number of viewers that one mixer feeds; 10 by default.
    pub k1: u8,
    /// Number of mixers, at most 8, from the start and however few peers watch. 0, the default, adapts it to the need:
    /// none for two speakers without an audience, and more than one only if the load exceeds the uplink of one mixer.
    pub mixers: u8,
    /// Layout of the program; a grid by default.
    pub layout: Layout,
    /// Newcomers wait in the lobby until the host lets them in ([`Host::admit`](crate::Host::admit)). Off by default.
    pub lobby: bool,
    /// Peers that come in without waiting, by any of the newest four invites, also when that has expired or the room is
    /// locked; at most 1000.
    pub members: Vec<PeerId>,
    /// Title of the room; cut to 64 characters. Empty by default.
    pub title: String,
    /// Keys of a room that this host has opened before, from [`Room::room_keys`](crate::Room::room_keys); it goes on
    /// with that room. `None` opens a new room.
    pub keys: Option<RoomKeys>,
}

/// Methods that set the field of their name and return the options.
macro_rules! setters {
    ($($name:ident: $type:ty),* $(,)?) => { $(
        #[doc = concat!("Sets [`", stringify!($name), "`](#structfield.", stringify!($name), ").")]
        #[must_use]
        pub fn $name(mut self, $name: $type) -> Self {
            self.$name = $name;
            self
        }
    )* };
}

impl Options {
    setters! {
        speaks: bool,
        views: bool,
        mix: Consent,
        relays: bool,
        children_max: u8,
        uplink_bps_max: Option<u64>,
        picture_max: Option<ProgramFormat>,
        shares: bool,
        solo_allowed: bool,
        password: Option<Password>,
        identity: Option<Identity>,
        bind: Vec<IpAddr>,
        udp_ports: Option<RangeInclusive<u16>>,
        udp_port: Option<u16>,
        ice_lite: bool,
        maps_ports: bool,
        nat_1to1: Option<IpAddr>,
        carries: bool,
        stun: Vec<StunServer>,
        turn: Vec<TurnServer>,
        patience: Duration,
        tls_roots: Vec<Bytes>,
        codecs: Option<Arc<dyn Codecs>>,
        falls_back: bool,
        cache: Option<PathBuf>,
        clock: Clock,
        on_event: Option<OnEvent>,
        runtime: Option<Handle>,
    }

    /// Sets [`name`](#structfield.name).
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Sets the knobs for tests and measurements.
    #[doc(hidden)]
    #[must_use]
    pub fn testing(mut self, testing: Testing) -> Self {
        self.testing = testing;
        self
    }

    fn new(name: &str) -> Options {
        Options {
            name: name.to_owned(),
            speaks: false,
            views: false,
            mix: Consent::Never,
            relays: true,
            children_max: 64,
            uplink_bps_max: None,
            picture_max: None,
            shares: false,
            solo_allowed: true,
            password: None,
            identity: None,
            bind: Vec::new(),
            udp_ports: None,
            udp_port: None,
            ice_lite: false,
            maps_ports: false,
            nat_1to1: None,
            carries: true,
            stun: Vec::new(),
            turn: Vec::new(),
            patience: Duration::from_secs(10),
            tls_roots: Vec::new(),
            codecs: builtin_codecs(),
            falls_back: true,
            cache: None,
            clock: Clock::start(),
            on_event: None,
            runtime: None,
            testing: Testing::default(),
        }
    }

    /// Returns options for a viewer: a peer that watches the program and forwards it.
    pub fn viewer(name: &str) -> Options {
        Options { views: true, ..Options::new(name) }
    }

    /// Returns options for a speaker that views the program, and mixes if it is elected.
    pub fn speaker(name: &str) -> Options {
        Options { speaks: true, views: true, mix: Consent::Auto, ..Options::new(name) }
    }

    /// Returns options for a strong machine that joins only to mix.
    pub fn mixer(name: &str) -> Options {
        Options { mix: Consent::Always, ..Options::new(name) }
    }
}

#[cfg(feature = "codecs")]
fn builtin_codecs() -> Option<Arc<dyn Codecs>> {
    Some(Arc::new(plenary_media::BuiltinCodecs::default()))
}

#[cfg(not(feature = "codecs"))]
fn builtin_codecs() -> Option<Arc<dyn Codecs>> {
    None
}

impl HostOptions {
    setters! {
        listen: Option<SocketAddr>,
        rendezvous: Option<String>,
        advertise: Option<Advertise>,
        certificate: Option<Certificate>,
        page: Option<Router>,
        figures: Option<MoreFigures>,
        page_at: Option<String>,
        turn: Option<ServeTurn>,
        embed: Vec<PageOrigin>,
        stage_open: bool,
        mixing: Option<MixPolicy>,
        invite_life: Duration,
        program: ProgramFormat,
        k: u8,
        k1: u8,
        mixers: u8,
        layout: Layout,
        keys: Option<RoomKeys>,
        lobby: bool,
        members: Vec<PeerId>,
    }

    /// Sets [`title`](#structfield.title).
    #[must_use]
    pub fn title(mut self, title: impl Into<String>) -> Self {
        self.title = title.into();
        self
    }
}

impl Default for HostOptions {
    fn default() -> Self {
        HostOptions {
            listen: None,
            rendezvous: None,
            advertise: None,
            certificate: None,
            page: None,
            figures: None,
            page_at: None,
            turn: None,
            embed: Vec::new(),
            stage_open: true,
            mixing: None,
            invite_life: Duration::from_secs(24 * 3600),
            program: HostConfig::PROGRAM,
            k: HostConfig::K,
            k1: HostConfig::K1,
            mixers: 0,
            layout: Layout::Grid,
            lobby: false,
            members: Vec::new(),
            title: String::new(),
            keys: None,
        }
    }
}
