//! What an application says about its room before it begins.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use plenary_media::Clock;
use plenary_media::codec::Codecs;
use plenary_media::compose::Layout;
use plenary_proto::message::{Consent, ProgramFormat};
use plenary_rtc::Shaper;

use crate::event::OnEvent;

/// How one peer takes part in one room.
///
/// [`Options::viewer`], [`Options::speaker`] and [`Options::mixer`] are good beginnings; change what you like.
#[derive(Clone)]
pub struct Options {
    /// As shown under this peer's picture; cut to 64 bytes of UTF-8.
    pub name: String,
    /// Sends picture and sound.
    pub speaks: bool,
    /// Wants the program. A speaker that views gets its picture, and the others' sound in any case.
    pub views: bool,
    /// Whether it would mix. Without [`codecs`](Self::codecs) it never does.
    pub mix: Consent,
    /// Passes the program on to others. On by default; everyone may opt out.
    pub relays: bool,
    /// Most children this peer feeds as a relay, if the room allows more; 64 by default. As a mixer it feeds as
    /// many as the room has a mixer feed and its uplink carries.
    pub children_max: u8,
    /// The uplink this peer may use, bits per second; `None` for what is there.
    pub uplink_bps_max: Option<u64>,
    /// The largest picture this peer sends; `None` for whatever a mixer asks for.
    pub picture_max: Option<ProgramFormat>,
    /// What this peer publishes is a screen or a film: it is the large one in [`Layout::Share`]; its sound, if it has two
    /// channels, is encoded in stereo at a rate for music, and no quiet passage of it is left out. Off by default: it is a
    /// voice.
    pub shares: bool,
    /// The room's password.
    pub password: Option<String>,
    /// Local addresses for media; empty for all of this machine.
    pub bind: Vec<IpAddr>,
    /// UDP ports for media, one per link; `None` for any.
    pub udp_ports: Option<RangeInclusive<u16>>,
    /// How long the rendezvous may be out of reach before joining fails; 10 s by default.
    pub patience: Duration,
    /// Encoders and decoders: the built-in ones by default, where they are compiled in.
    pub codecs: Option<Arc<dyn Codecs>>,
    /// Processor time for one 1280×720 picture, encoding and decoding, microseconds, if it is known already:
    /// otherwise a peer that would mix measures for at most 300 ms before it joins.
    pub bench: Option<(u32, u32)>,
    /// A worse network than the real one; a plain one by default.
    pub shaper: Shaper,
    /// The clock of this process: rooms of one process may share it. By default it is started with the room.
    pub clock: Clock,
    /// Decides every draw of the brain; by default it is random.
    pub seed: Option<u64>,
    /// Is called with each event, also while the room is being joined, on the room's own task: it must be quick.
    pub on_event: Option<OnEvent>,
    /// Keeps a log of every picture received or made, for reports: 2 MB in half an hour, where it ends.
    pub keep_frame_log: bool,
}

/// What the host of a room lays down beside its own [`Options`].
#[derive(Clone, Debug)]
pub struct HostOptions {
    /// Where its own rendezvous listens (TCP); `None` to use `rendezvous`.
    pub listen: Option<SocketAddr>,
    /// Another rendezvous: `http://HOST[:PORT]` or `https://…`.
    pub rendezvous: Option<String>,
    /// Whoever has the invite may speak. On by default.
    pub stage_open: bool,
    /// How long the invite is good for; a day by default.
    pub invite_life: Duration,
    /// The program's picture; 1280×720 at 30 fps and 1.5 Mbit/s by default.
    pub program: ProgramFormat,
    /// Most children of a peer that is no mixer; 4 by default.
    pub k: u8,
    /// Most viewers one mixer feeds; 10 by default.
    pub k1: u8,
    /// How many mixers; 0, the default, leaves it to need.
    pub mixers: u8,
    /// How mixers lay the program out; a grid by default.
    pub layout: Layout,
}

impl Options {
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
            password: None,
            bind: Vec::new(),
            udp_ports: None,
            patience: Duration::from_secs(10),
            codecs: builtin_codecs(),
            bench: None,
            shaper: Shaper::default(),
            clock: Clock::start(),
            seed: None,
            on_event: None,
            keep_frame_log: false,
        }
    }

    /// Someone who watches and forwards.
    pub fn viewer(name: &str) -> Options {
        Options { views: true, ..Options::new(name) }
    }

    /// Someone who speaks, sees the program, and mixes if need be.
    pub fn speaker(name: &str) -> Options {
        Options { speaks: true, views: true, mix: Consent::Auto, ..Options::new(name) }
    }

    /// A strong machine that is there to mix.
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

impl Default for HostOptions {
    fn default() -> Self {
        HostOptions {
            listen: Some(SocketAddr::from(([0, 0, 0, 0], 0))),
            rendezvous: None,
            stage_open: true,
            invite_life: Duration::from_secs(24 * 3600),
            program: ProgramFormat { width: 1280, height: 720, fps: 30, bitrate_bps: 1_500_000 },
            k: 4,
            k1: 10,
            mixers: 0,
            layout: Layout::Grid,
        }
    }
}
