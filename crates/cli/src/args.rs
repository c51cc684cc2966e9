//! What was typed. What it means is decided by the commands.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use plenary::{Consent, HostOptions, ProgramFormat, Shape};
use plenary_media::TEMPORAL_LAYERS_MAX;
use plenary_media::compose::Layout;
use plenary_media::mixer::INPUTS_MAX;

use crate::units;

/// Video rooms with no server in the middle.
#[derive(Debug, Parser)]
#[command(name = "plenary", version, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// A whole room on this machine: speakers, candidates that elect, mixers, viewers in a tree.
    #[command(after_help = "Example:\n  plenary demo --speakers 2 --viewers 6 --duration 10s --out out")]
    Demo(DemoArgs),
    /// Open a room and print its invite.
    #[command(after_help = "Example:\n  plenary host --speak --listen 127.0.0.1:7420 --duration 1m")]
    Host(HostArgs),
    /// Join a room.
    #[command(after_help = "Example:\n  plenary join \"$INVITE\" --view --record room.mp4 --duration 10s")]
    Join(JoinArgs),
    /// Join a room as a strong peer that is there to mix.
    #[command(after_help = "Example:\n  plenary mixer \"$INVITE\" --duration 1m")]
    Mixer(MixerArgs),
    /// The signalling server alone.
    #[command(after_help = "Example:\n  plenary rendezvous --listen 127.0.0.1:7420")]
    Rendezvous(RendezvousArgs),
    /// What this machine can do; with an invite, what its way to the room's candidates can.
    #[command(after_help = "Example:\n  plenary probe --json -")]
    Probe(ProbeArgs),
    /// Many brains in one deterministic world.
    #[command(after_help = "Example:\n  plenary sim mixer-lost --runs 5 --json -")]
    Sim(SimArgs),
    /// The project's own measurements: of the mixer and of the brain; of relaying not yet.
    #[command(subcommand, after_help = "Example:\n  plenary bench brain --json -")]
    Bench(BenchCommand),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum MixWord {
    Auto,
    Never,
    Always,
}

impl From<MixWord> for Consent {
    fn from(word: MixWord) -> Consent {
        match word {
            MixWord::Auto => Consent::Auto,
            MixWord::Never => Consent::Never,
            MixWord::Always => Consent::Always,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RelayWord {
    Auto,
    Never,
}

/// What demo, host, join and mixer have in common.
#[derive(Clone, Debug, Args)]
pub(crate) struct RoomArgs {
    /// A file to play: mp4 (H.264 with AAC-LC or Opus), y4m or wav; without one, a test picture and tone
    #[arg(long, value_name = "FILE")]
    pub(crate) source: Vec<PathBuf>,
    /// The largest picture a speaker sends, for example 640x360@30
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    pub(crate) speaker_size: Option<ProgramFormat>,
    /// What is played is a screen or a film: large in the layout `share`, and in stereo
    #[arg(long)]
    pub(crate) share: bool,
    /// The program's picture; the host says [default: 1280x720@30]
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    pub(crate) program: Option<ProgramFormat>,
    /// The program's bit rate; the host says [default: 1500kbit]
    #[arg(long, value_name = "RATE", value_parser = units::bitrate)]
    pub(crate) bitrate: Option<u32>,
    /// How many mixers: auto or a number; the host says [default: auto]
    #[arg(long, value_name = "N", value_parser = units::mixers)]
    pub(crate) mixers: Option<u8>,
    /// Whether this peer mixes [default: auto; a demo's speakers never, unless there are no candidates]
    #[arg(long, value_enum, value_name = "WHEN")]
    pub(crate) mix: Option<MixWord>,
    /// Most children: a host's word for all who are no mixers [default: 4], a guest's for itself
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=64))]
    pub(crate) k: Option<u8>,
    /// Most viewers that one mixer feeds; the host says [default: 10]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=64))]
    pub(crate) k1: Option<u8>,
    /// Whether this peer passes the program on
    #[arg(long, value_enum, value_name = "WHEN", default_value = "auto")]
    pub(crate) relay: RelayWord,
    /// The uplink this peer may use
    #[arg(long, value_name = "RATE", value_parser = units::rate)]
    pub(crate) max_uplink: Option<u64>,
    /// How the program is laid out: grid, active (whoever speaks large), share (whoever plays a screen or film large, else the first speaker), side-by-side, or a
    /// TOML file that describes it; the host says [default: grid]
    #[arg(long, value_name = "LAYOUT", value_parser = units::layout)]
    pub(crate) layout: Option<Layout>,
    /// The name under this peer's picture; in a demo, the host's
    #[arg(long, value_name = "TEXT")]
    pub(crate) name: Option<String>,
    /// The room's password
    #[arg(long, value_name = "TEXT")]
    pub(crate) password: Option<String>,
    /// Where a demo writes its files
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Where the report goes; - for standard output
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Decides every draw; without it, a demo draws one and reports it
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// How much is logged: error, warn, info, debug, trace [default: what RUST_LOG says, or warn; for a demo info]
    #[arg(long, value_name = "LEVEL")]
    pub(crate) log: Option<tracing::Level>,
    #[command(flatten)]
    pub(crate) network: NetworkArgs,
    /// Use the camera (not yet)
    #[arg(long)]
    pub(crate) camera: bool,
    /// Use the microphone (not yet)
    #[arg(long)]
    pub(crate) mic: bool,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct NetworkArgs {
    /// TCP address of signalling and page [default for host: all addresses, any port]
    #[arg(long, value_name = "IP[:PORT]", value_parser = listen)]
    pub(crate) listen: Option<SocketAddr>,
    /// UDP ports for media, one per link
    #[arg(long, value_name = "A-B", value_parser = ports)]
    pub(crate) udp_ports: Option<RangeInclusive<u16>>,
    /// The public address of this machine behind its NAT (not yet)
    #[arg(long, value_name = "IP")]
    pub(crate) nat_1to1: Option<IpAddr>,
    /// A STUN server (not yet)
    #[arg(long, value_name = "URL")]
    pub(crate) stun: Option<String>,
    /// A TURN server (not yet)
    #[arg(long, value_name = "URL")]
    pub(crate) turn: Option<String>,
    /// Answer checks only, on a public address (not yet)
    #[arg(long)]
    pub(crate) ice_lite: bool,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct DemoArgs {
    #[command(flatten)]
    pub(crate) room: RoomArgs,
    /// How many speak; the first one is the host
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=16))]
    pub(crate) speakers: u16,
    /// How many watch
    #[arg(long, value_name = "N", default_value_t = 24, value_parser = clap::value_parser!(u16).range(0..=200))]
    pub(crate) viewers: u16,
    /// How many further peers are there to mix
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(0..=16))]
    pub(crate) candidates: u16,
    /// How long, from the creation of the room
    #[arg(long, value_name = "D", value_parser = units::some_time, default_value = "20s")]
    pub(crate) duration: Duration,
    /// What each link does, both ways: delay=30ms,loss=1%,rate=5mbit
    #[arg(long, value_name = "SHAPE", value_parser = units::link)]
    pub(crate) link: Option<Shape>,
    /// The second speaker's clock is fast by so many millionths, the third's slow
    #[arg(long, value_name = "PPM", default_value_t = 0, value_parser = clap::value_parser!(i32).range(0..=10_000))]
    pub(crate) drift: i32,
    /// Something that happens: 10s:kill=mixer, kill=relay, kill=speaker, leave=mixer, add=speaker, add=viewer, promote=viewer, demote=viewer, halve=mixer (its links then carry half of their rate, or of the program where they have none; less than the program calls a vote, 100 s into its term)
    #[arg(long, value_name = "TIME:WHAT", value_parser = units::at)]
    pub(crate) at: Vec<units::At>,
    /// Keep every viewer's recording, not those of three
    #[arg(long)]
    pub(crate) record_all: bool,
    /// Viewers that come and go (not yet)
    #[arg(long, value_name = "RATE")]
    pub(crate) churn: Option<String>,
    /// A process for each peer (not yet)
    #[arg(long)]
    pub(crate) processes: bool,
}

/// What host, join and mixer have in common beyond that.
#[derive(Clone, Debug, Args)]
pub(crate) struct StayArgs {
    /// Record what comes, without re-encoding it
    #[arg(long, value_name = "FILE")]
    pub(crate) record: Option<PathBuf>,
    /// Save the last picture
    #[arg(long, value_name = "FILE.png")]
    pub(crate) snapshot: Option<PathBuf>,
    /// Leave politely after this long
    #[arg(long, value_name = "D", value_parser = units::some_time)]
    pub(crate) duration: Option<Duration>,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct HostArgs {
    #[command(flatten)]
    pub(crate) room: RoomArgs,
    #[command(flatten)]
    pub(crate) stay: StayArgs,
    /// Speak
    #[arg(long)]
    pub(crate) speak: bool,
    /// Watch
    #[arg(long)]
    pub(crate) view: bool,
    /// Use another rendezvous instead of serving one
    #[arg(long, value_name = "URL")]
    pub(crate) rendezvous: Option<String>,
    /// How long the invite is good for
    #[arg(long, value_name = "D", value_parser = units::some_time, default_value = "24h")]
    pub(crate) invite_life: Duration,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct JoinArgs {
    /// The invite that the host printed
    pub(crate) invite: String,
    #[command(flatten)]
    pub(crate) room: RoomArgs,
    #[command(flatten)]
    pub(crate) stay: StayArgs,
    /// Speak, and hear the others
    #[arg(long)]
    pub(crate) speak: bool,
    /// Watch; the default without --speak
    #[arg(long)]
    pub(crate) view: bool,
    /// Watch the own stream of whoever has this name on stage, instead of the program
    #[arg(long, value_name = "NAME")]
    pub(crate) solo: Option<String>,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct MixerArgs {
    /// The invite that the host printed
    pub(crate) invite: String,
    #[command(flatten)]
    pub(crate) room: RoomArgs,
    #[command(flatten)]
    pub(crate) stay: StayArgs,
    /// Serve Prometheus metrics (not yet)
    #[arg(long, value_name = "ADDR")]
    pub(crate) metrics: Option<String>,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct RendezvousArgs {
    /// TCP address to listen on
    #[arg(long, value_name = "IP[:PORT]", value_parser = listen, default_value = "0.0.0.0:7420")]
    pub(crate) listen: SocketAddr,
    /// Where rooms are kept (not yet)
    #[arg(long, value_name = "URL")]
    pub(crate) store: Option<String>,
    /// How much is logged: error, warn, info, debug, trace [default: what RUST_LOG says, or info]
    #[arg(long, value_name = "LEVEL")]
    pub(crate) log: Option<tracing::Level>,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct ProbeArgs {
    /// With an invite, bandwidth and round trip to the room's candidates too
    pub(crate) invite: Option<String>,
    /// The room's password
    #[arg(long, value_name = "TEXT")]
    pub(crate) password: Option<String>,
    /// Where the figures go; - for standard output
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct SimArgs {
    /// A scenario, or a FILE.toml with one; `list` names those that come along, `compare` takes two reports
    pub(crate) scenario: String,
    /// For `compare`: the report before, and the one after
    pub(crate) files: Vec<PathBuf>,
    /// How many viewers, instead of the scenario's
    #[arg(long, value_name = "N")]
    pub(crate) peers: Option<usize>,
    /// The first seed [default: 1]
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// How many seeds, pooled into one report [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub(crate) runs: Option<u64>,
    /// Where the report goes; - for standard output
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Where a file is kept for each seed that broke something, to be run again (scenarios that come along only)
    #[arg(long, value_name = "DIR")]
    pub(crate) keep: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    /// What a mixer costs, beside the bound: bare decoders and one encoder, by turns in the same run.
    #[command(after_help = "Example:\n  plenary bench mix --inputs 4 --frames 60 --json -")]
    Mix(MixBenchArgs),
    /// What a mixer costs that only mixes sound, beside bare codecs in the same run.
    #[command(
        after_help = "Example:\n  plenary bench sound --speakers 50 --heard 3 --source voice.wav --json -"
    )]
    Sound(SoundBenchArgs),
    /// What a relay costs (not yet).
    Relay(RelayBenchArgs),
    /// How quick a brain is, and how large.
    #[command(after_help = "Example:\n  plenary bench brain --json -")]
    Brain(BrainBenchArgs),
}

#[derive(Clone, Debug, Args)]
pub(crate) struct MixBenchArgs {
    /// How many speakers are mixed
    #[arg(long, value_name = "N", default_value = "4", value_parser = clap::value_parser!(u8).range(1..=INPUTS_MAX as i64))]
    pub(crate) inputs: u8,
    /// What each speaker sends
    #[arg(long = "in", value_name = "SIZE", default_value = "640x360@30", value_parser = units::size)]
    pub(crate) input: ProgramFormat,
    /// The program's picture
    #[arg(long = "out", value_name = "SIZE", default_value = "1280x720@30", value_parser = units::size)]
    pub(crate) program: ProgramFormat,
    /// The program's bit rate
    #[arg(long, value_name = "RATE", default_value = "1500kbit", value_parser = units::bitrate)]
    pub(crate) bitrate: u32,
    /// Files with the speakers' pictures, in turn; without one, the test picture
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub(crate) source: Vec<PathBuf>,
    /// How many of the speakers stand still, and send a picture each second
    #[arg(long, value_name = "N", default_value = "0")]
    pub(crate) frozen: u8,
    /// Temporal layers of the program: in rooms it has 2, of other software 1
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u8).range(1..=i64::from(TEMPORAL_LAYERS_MAX)))]
    pub(crate) temporal_layers: u8,
    /// How many program pictures are measured
    #[arg(long, value_name = "N", default_value = "240", value_parser = clap::value_parser!(u32).range(12..=100_000))]
    pub(crate) frames: u32,
    /// Where the speakers' streams, the program and the ideal picture are kept, for others to be measured on
    #[arg(long, value_name = "DIR")]
    pub(crate) keep: Option<PathBuf>,
    /// Where the figures go; - for standard output
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct SoundBenchArgs {
    /// How many speakers there are
    #[arg(long, value_name = "N", default_value = "50", value_parser = clap::value_parser!(u8).range(1..=INPUTS_MAX as i64))]
    pub(crate) speakers: u8,
    /// How many of them speak at a time, and are heard
    #[arg(long, value_name = "N", default_value = "3", value_parser = clap::value_parser!(u8).range(1..=INPUTS_MAX as i64))]
    pub(crate) heard: u8,
    /// How long, by the speakers' clocks
    #[arg(long, value_name = "N", default_value = "20", value_parser = clap::value_parser!(u16).range(1..=3600))]
    pub(crate) seconds: u16,
    /// What encoders are told of the lines' loss, percent; from 1 on they make copies of voices
    #[arg(long, value_name = "N", default_value = "0", value_parser = clap::value_parser!(u8).range(0..=100))]
    pub(crate) loss: u8,
    /// Files with the speakers' voices, in turn; without one, the test source's tones
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub(crate) source: Vec<PathBuf>,
    /// Where the figures go; - for standard output
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct RelayBenchArgs {
    /// What exactly is to be measured (not yet)
    #[arg(value_name = "FLAGS", trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) _flags: Vec<String>,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct BrainBenchArgs {
    /// Where the figures go; - for standard output
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

/// `IP` or `IP:PORT`; without a port, any that is free.
fn listen(text: &str) -> Result<SocketAddr, String> {
    let bare = || text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 0));
    text.parse()
        .or_else(|_| bare())
        .map_err(|_| "an address looks like 127.0.0.1 or 127.0.0.1:7420".to_owned())
}

/// `40000-40099`.
fn ports(text: &str) -> Result<RangeInclusive<u16>, String> {
    let wrong = || "ports look like 40000-40099".to_owned();
    let (first, last) = text.split_once('-').ok_or_else(wrong)?;
    let (first, last): (u16, u16) = (first.parse().map_err(|_| wrong())?, last.parse().map_err(|_| wrong())?);
    if first == 0 || last < first {
        return Err(wrong());
    }
    Ok(first..=last)
}

impl RoomArgs {
    /// The first flag whose capability isn't there yet.
    pub(crate) fn not_yet(&self) -> Option<&'static str> {
        let network = &self.network;
        let reserved = [
            (self.camera, "--camera"),
            (self.mic, "--mic"),
            (network.turn.is_some(), "--turn"),
            (network.stun.is_some(), "--stun"),
            (network.nat_1to1.is_some(), "--nat-1to1"),
            (network.ice_lite, "--ice-lite"),
        ];
        reserved.iter().find(|(used, _)| *used).map(|(_, flag)| *flag)
    }

    /// The program's picture with its bit rate.
    pub(crate) fn program(&self) -> ProgramFormat {
        let default = HostOptions::default().program;
        ProgramFormat {
            bitrate_bps: self.bitrate.unwrap_or(default.bitrate_bps),
            ..self.program.unwrap_or(default)
        }
    }

    /// How many mixers; 0 leaves it to need.
    pub(crate) fn mixers(&self) -> u8 {
        self.mixers.unwrap_or(0)
    }

    /// Where the report goes, unless that is standard output.
    pub(crate) fn json_file(&self) -> Option<&PathBuf> {
        self.json.as_ref().filter(|file| *file != Path::new("-"))
    }
}
