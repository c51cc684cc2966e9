//! Command-line arguments as they are typed; the commands interpret them.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use plenary::{Consent, HostOptions, MixPolicy, ProgramFormat, Shape, StunServer, TurnServer};
use plenary_media::TEMPORAL_LAYERS_MAX;
use plenary_media::compose::Layout;
use plenary_media::mixer::INPUTS_MAX;

use crate::commands::bench::Server;
use crate::serving::ServeArgs;
use crate::units;

/// Video rooms without a central server.
#[derive(Debug, Parser)]
#[command(name = "plenary", version, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a whole room on this machine: speakers, mixer candidates, and viewers in a relay tree.
    #[command(after_help = "Example:\n  plenary demo --speakers 2 --viewers 6 --duration 10s --out out")]
    Demo(DemoArgs),
    /// Run one peer of a demo in this process, as its standard input says.
    #[command(hide = true)]
    DemoPeer(DemoArgs),
    /// Open a room and print its invite.
    #[command(after_help = "Example:\n  plenary host --speak --listen 127.0.0.1:7420 --duration 1m\n  \
                            plenary host --listen 127.0.0.1:7420 --embed https://example.org --duration 1m")]
    Host(Box<HostArgs>),
    /// Join a room.
    #[command(after_help = "Example:\n  plenary join \"$INVITE\" --view --record room.mp4 --duration 10s")]
    Join(JoinArgs),
    /// Join a room as a strong machine that only mixes.
    #[command(after_help = "Example:\n  plenary mixer \"$INVITE\" --duration 1m")]
    Mixer(MixerArgs),
    /// Run the signalling server alone.
    #[command(after_help = "Example:\n  plenary rendezvous --listen 127.0.0.1:7420\n  \
                            plenary rendezvous --listen 127.0.0.1:7420 --embed https://example.org")]
    Rendezvous(RendezvousArgs),
    /// Measure this machine's codecs and, with an invite, the network path to the room's candidates.
    #[command(after_help = "Example:\n  plenary probe --json -")]
    Probe(ProbeArgs),
    /// Check whether a recording is what the room's mixers made
    #[command(after_help = "Example:\n  plenary verify room.mp4 --room \"$INVITE\"")]
    Verify(VerifyArgs),
    /// Write index and lengths of recordings that a crash has left without them, in place; a torn end is cut off
    #[command(after_help = "Example:\n  plenary repair room.mp4 room-2.mp4")]
    Repair(RepairArgs),
    /// Make a lasting key, or read it, and print the line that lists of members want: the id, and the name that it has
    /// signed
    #[command(after_help = "Example:\n  plenary identity ada.key --name Ada >> members.txt\n  \
                            plenary host --only-members members.txt --duration 1m")]
    Identity(IdentityArgs),
    /// Simulate a room of many peers in one deterministic world.
    #[command(after_help = "Example:\n  plenary sim mixer-lost --runs 5 --json -")]
    Sim(SimArgs),
    /// Run this project's benchmarks: of mixer, sound, relay and brain.
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

/// Whether this peer does something for others, or asks its router to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum AutoOrNever {
    Auto,
    Never,
}

/// Arguments that demo, host, join and mixer share.
#[derive(Clone, Debug, Args)]
pub(crate) struct RoomArgs {
    /// File to play: mp4 (H.264 with AAC-LC or Opus), y4m or wav; without one, a test picture and tone
    #[arg(long, value_name = "FILE")]
    pub(crate) source: Vec<PathBuf>,
    /// Largest picture that a speaker sends, for example 640x360@30
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    pub(crate) speaker_size: Option<ProgramFormat>,
    /// The source is a screen or a film: shown large in the layout `share`, with sound in stereo
    #[arg(long)]
    pub(crate) share: bool,
    /// Refuse to be shown alone: nobody gets this speaker's own stream by --solo
    #[arg(long)]
    pub(crate) no_solo: bool,
    /// Picture format of the program; host only [default: 1280x720@30]
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    pub(crate) program: Option<ProgramFormat>,
    /// Bit rate of the program; host only [default: 1500kbit]
    #[arg(long, value_name = "RATE", value_parser = units::bitrate)]
    pub(crate) bitrate: Option<u32>,
    /// Number of mixers, however few watch, or auto; host only [default: auto]
    #[arg(long, value_name = "N", value_parser = units::mixers)]
    pub(crate) mixers: Option<u8>,
    /// Whether this peer mixes [default: auto; speakers of a demo never do if there are candidates]
    #[arg(long, value_enum, value_name = "WHEN")]
    pub(crate) mix: Option<MixWord>,
    /// Maximum children per peer: of every relay if set by the host [default: 4], else of this peer
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=64))]
    pub(crate) k: Option<u8>,
    /// Maximum viewers that one mixer feeds; host only [default: 10]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=64))]
    pub(crate) k1: Option<u8>,
    /// Whether this peer forwards the program to further viewers
    #[arg(long, value_enum, value_name = "WHEN", default_value = "auto")]
    pub(crate) relay: AutoOrNever,
    /// Uplink bandwidth that this peer may use
    #[arg(long, value_name = "RATE", value_parser = units::rate)]
    pub(crate) max_uplink: Option<u64>,
    /// Layout of the program: grid, active (dominant speaker large), share (first screen or film large, else
    /// first speaker), side-by-side, or a TOML file that describes it; host only [default: grid]
    #[arg(long, value_name = "LAYOUT", value_parser = units::layout)]
    pub(crate) layout: Option<Layout>,
    /// Name shown under this peer's picture; in a demo, the host's
    #[arg(long, value_name = "TEXT")]
    pub(crate) name: Option<String>,
    /// Password of the room: TEXT, which `ps` shows to every user of this machine; better @FILE, - for a line of
    /// standard input, or PLENARY_PASSWORD
    #[arg(long, value_name = "TEXT")]
    pub(crate) password: Option<String>,
    /// Directory for the files of a demo
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// File for the report; - for standard output
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Seed of all random draws; without it, a demo draws a seed and reports it
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// Log level: error, warn, info, debug, trace [default: RUST_LOG, else warn; for a demo info]
    #[arg(long, value_name = "LEVEL")]
    pub(crate) log: Option<tracing::Level>,
    #[command(flatten)]
    pub(crate) network: NetworkArgs,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct NetworkArgs {
    /// TCP address of the signalling server and its page [default for host: all addresses, any port]
    #[arg(long, value_name = "IP[:PORT]", value_parser = listen)]
    pub(crate) listen: Option<SocketAddr>,
    /// File with certificates (PEM) to trust for a rendezvous at https://, beside public authorities: that of a
    /// host with --tls self
    #[arg(long, value_name = "FILE")]
    pub(crate) tls_trust: Vec<PathBuf>,
    /// Address of this machine for media, repeatable, and for a host's own server; otherwise all of them
    #[arg(long, value_name = "IP", value_parser = own_address)]
    pub(crate) bind: Vec<IpAddr>,
    /// UDP ports for media, one per link
    #[arg(long, value_name = "A-B", value_parser = ports)]
    pub(crate) udp_ports: Option<RangeInclusive<u16>>,
    /// UDP port for all media, in place of one per link: for a firewall or router that lets one port in. Not that of
    /// --listen
    #[arg(long, value_name = "P", conflicts_with = "udp_ports", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) udp_port: Option<u16>,
    /// Whether to ask the router of a home network to let others in: at the port of a host's own server, unless it is
    /// advertised, and at --udp-port
    #[arg(long, value_enum, value_name = "WHEN", default_value = "auto")]
    pub(crate) port_map: AutoOrNever,
    /// Address of a one-to-one NAT in front of this machine, as in clouds: told to others beside its own addresses, and
    /// named by a host's invite
    #[arg(long, value_name = "IP", value_parser = outer_address)]
    pub(crate) nat_1to1: Option<IpAddr>,
    /// Check only addresses that the other end's checks came from, for a machine in the open (ICE-lite)
    #[arg(long)]
    pub(crate) ice_lite: bool,
    /// Whether to carry links between others that can't reach each other: sealed, 4 Mbit/s each, half of --max-uplink
    #[arg(long, value_enum, value_name = "WHEN", default_value = "auto")]
    pub(crate) carry: AutoOrNever,
    /// STUN server to ask for this machine's outer address, beside the rendezvous; repeatable: stun:HOST[:PORT]
    #[arg(long, value_name = "URL")]
    pub(crate) stun: Vec<StunServer>,
    /// TURN server for relays to peers that are reached by no other way, beside the rendezvous'; repeatable:
    /// turn:HOST[:PORT]
    #[arg(long, value_name = "URL", requires = "turn_user")]
    pub(crate) turn: Vec<TurnServer>,
    /// Username at the TURN servers
    #[arg(long, value_name = "NAME", requires = "turn")]
    pub(crate) turn_user: Option<String>,
    /// Password at the TURN servers; @FILE, - for a line of standard input, or PLENARY_TURN_SECRET hide it from `ps`
    #[arg(long, value_name = "SECRET", requires = "turn")]
    pub(crate) turn_secret: Option<String>,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct DemoArgs {
    #[command(flatten)]
    pub(crate) room: RoomArgs,
    /// Number of speakers; the first one is the host
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=16))]
    pub(crate) speakers: u16,
    /// Number of viewers
    #[arg(long, value_name = "N", default_value_t = 24, value_parser = clap::value_parser!(u16).range(0..=1000))]
    pub(crate) viewers: u16,
    /// Number of viewers that join at the same time, at start-up
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) joining: u16,
    /// Number of further peers that only mix
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(0..=16))]
    pub(crate) candidates: u16,
    /// Duration, from the creation of the room
    #[arg(long, value_name = "D", value_parser = units::some_time, default_value = "20s")]
    pub(crate) duration: Duration,
    /// Emulated network of each link, in both directions: delay=30ms,loss=1%,rate=5mbit
    #[arg(long, value_name = "SHAPE", value_parser = units::link)]
    pub(crate) link: Option<Shape>,
    /// Clock drift in millionths: the second speaker's clock is fast, the third's slow
    #[arg(long, value_name = "PPM", default_value_t = 0, value_parser = clap::value_parser!(i32).range(0..=10_000))]
    pub(crate) drift: i32,
    /// Event at a time: 10s:kill=mixer, kill=relay, kill=speaker, leave=mixer, add=speaker, add=viewer,
    /// promote=viewer, demote=viewer, halve=mixer (its links then carry half of their rate or, if unlimited,
    /// half of the program's; less than the program's rate causes an election once its mandate is 100 s old)
    #[arg(long, value_name = "TIME:WHAT", value_parser = units::at)]
    pub(crate) at: Vec<units::At>,
    /// Record all viewers and keep their recordings, instead of three
    #[arg(long)]
    pub(crate) record_all: bool,
    /// Share of the viewers replaced over time, once all have joined: 10%/min; half leave, half are killed
    #[arg(long, value_name = "RATE", value_parser = units::churn)]
    pub(crate) churn: Option<units::Churn>,
    /// Run each peer but the host in its own process, at most 50 peers
    #[arg(long)]
    pub(crate) processes: bool,
}

/// Arguments that host, join and mixer share, beside those of a demo.
#[derive(Clone, Debug, Args)]
pub(crate) struct StayArgs {
    /// Record received media, without re-encoding, and tell the room so; an existing FILE is kept, and FILE-2 written;
    /// in the name %Y %m %d %H %M %S stand for the local date and time
    #[arg(long, value_name = "FILE")]
    pub(crate) record: Option<PathBuf>,
    /// Begin a further recording when this one is so large or long: 500MB, 2GB, 30m
    #[arg(long, value_name = "SIZE|D", value_parser = units::record_max, requires = "record")]
    pub(crate) record_max: Option<units::RecordMax>,
    /// Save the last picture
    #[arg(long, value_name = "FILE.png")]
    pub(crate) snapshot: Option<PathBuf>,
    /// Leave gracefully after this time in the room
    #[arg(long, value_name = "D", value_parser = units::some_time)]
    pub(crate) duration: Option<Duration>,
    /// Lasting key of this peer, made if the file is absent; otherwise each start draws a new key. A name that `plenary
    /// identity` has signed is the default of --name
    #[arg(long, value_name = "FILE")]
    pub(crate) identity: Option<PathBuf>,
    /// Serve `/metrics` for Prometheus, and `/healthz`, at this address
    #[arg(long, value_name = "IP:PORT")]
    pub(crate) metrics: Option<SocketAddr>,
    #[command(flatten)]
    pub(crate) format: LogArgs,
}

/// How a long-running command logs.
#[derive(Clone, Debug, Args)]
pub(crate) struct LogArgs {
    /// Log lines as text, or as JSON objects for a log collector, which then reads only JSON on standard error
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "text")]
    pub(crate) log_format: LogFormat,
    /// File with the log level, or with a filter like RUST_LOG, in place of --log; a service reads it again at SIGHUP
    #[arg(long, value_name = "FILE", conflicts_with = "log")]
    pub(crate) log_filter: Option<PathBuf>,
}

/// Form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    Text,
    Json,
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
    #[arg(long, value_name = "URL", conflicts_with_all = ["advertise", "embed", "tls", "tls_cert", "tls_key"])]
    pub(crate) rendezvous: Option<String>,
    #[command(flatten)]
    pub(crate) serve: ServeArgs,
    /// The invite leads to this page on a static host, and the page to the rendezvous
    #[arg(long, value_name = "URL")]
    pub(crate) page_at: Option<String>,
    /// For tests: a link with ?auto=speak opens camera and microphone of a visitor without a click
    #[arg(long)]
    pub(crate) page_auto_speak: bool,
    /// Lifetime of the invite
    #[arg(long, value_name = "D", value_parser = units::some_time, default_value = "24h")]
    pub(crate) invite_life: Duration,
    /// Write the invite to this file, for this user alone, instead of standard output
    #[arg(long, value_name = "FILE")]
    pub(crate) invite_file: Option<PathBuf>,
    /// Keys of the room, made if the file is absent: a host that comes back with them, and at the same address, goes on
    /// with its room
    #[arg(long, value_name = "FILE")]
    pub(crate) room_keys: Option<PathBuf>,
    /// Write the address of the room's tree, which holds a secret, to this file, for this user alone, instead of
    /// standard error
    #[arg(long, value_name = "FILE", conflicts_with = "rendezvous")]
    pub(crate) tree_file: Option<PathBuf>,
    /// Title of the room, up to 64 characters
    #[arg(long, value_name = "TEXT")]
    pub(crate) title: Option<String>,
    /// Newcomers wait until the host types /admit
    #[arg(long)]
    pub(crate) lobby: bool,
    /// File with the ids of peers that need not wait, a line each (`plenary identity` prints them); they vote, and may
    /// mix
    #[arg(long, value_name = "FILE")]
    pub(crate) members: Option<PathBuf>,
    /// File like that of --members: only these peers come in without the host's /admit, vote and mix
    #[arg(long, value_name = "FILE", conflicts_with = "members")]
    pub(crate) only_members: Option<PathBuf>,
    /// Whether anyone may speak, or the host lets speakers and mixers on stage one by one [default: open]
    #[arg(long, value_enum, default_value = "open", hide_default_value = true)]
    pub(crate) stage: Stage,
    /// Peers that may be elected mixer: anyone, or only the host and the peers that it has named [default: anyone; on a
    /// closed stage named]
    #[arg(long, value_enum)]
    pub(crate) mixing: Option<Mixing>,
}

/// How peers come on stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Stage {
    Open,
    Closed,
}

/// Which peers may mix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mixing {
    Named,
    Anyone,
}

impl From<Mixing> for MixPolicy {
    fn from(mixing: Mixing) -> MixPolicy {
        match mixing {
            Mixing::Named => MixPolicy::Named,
            Mixing::Anyone => MixPolicy::Anyone,
        }
    }
}

#[derive(Clone, Debug, Args)]
pub(crate) struct JoinArgs {
    /// Invite that the host printed; @FILE, - for a line of standard input, or PLENARY_INVITE hide it from `ps`
    pub(crate) invite: Option<String>,
    #[command(flatten)]
    pub(crate) room: RoomArgs,
    #[command(flatten)]
    pub(crate) stay: StayArgs,
    /// Speak, and hear the other speakers
    #[arg(long)]
    pub(crate) speak: bool,
    /// Watch; the default without --speak
    #[arg(long)]
    pub(crate) view: bool,
    /// Keep trying while the room isn't open yet or the rendezvous can't be reached
    #[arg(long)]
    pub(crate) wait: bool,
    /// Watch the own stream of the speaker with this name instead of the program
    #[arg(long, value_name = "NAME")]
    pub(crate) solo: Option<String>,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct MixerArgs {
    /// Invite that the host printed; @FILE, - for a line of standard input, or PLENARY_INVITE hide it from `ps`
    pub(crate) invite: Option<String>,
    #[command(flatten)]
    pub(crate) room: RoomArgs,
    #[command(flatten)]
    pub(crate) stay: StayArgs,
    /// Keep trying while the room isn't open yet or the rendezvous can't be reached; the default without a terminal
    #[arg(long)]
    pub(crate) wait: bool,
    /// End at once if the room isn't open, also without a terminal
    #[arg(long, conflicts_with = "wait")]
    pub(crate) no_wait: bool,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct RendezvousArgs {
    /// TCP address to listen on; [::] stands for all addresses, of IPv4 too
    #[arg(long, value_name = "IP[:PORT]", value_parser = listen, default_value = "[::]:7420")]
    pub(crate) listen: SocketAddr,
    /// Address of this machine to listen on, in place of that in --listen
    #[arg(long, value_name = "IP", value_parser = own_address)]
    pub(crate) bind: Option<IpAddr>,
    #[command(flatten)]
    pub(crate) serve: ServeArgs,
    /// Address of a one-to-one NAT in front of this machine, as in clouds: told as that of --serve-turn's relays
    #[arg(long, value_name = "IP", value_parser = outer_address)]
    pub(crate) nat_1to1: Option<IpAddr>,
    /// Whether to ask the router of a home network to let others in, unless the server is advertised
    #[arg(long, value_enum, value_name = "WHEN", default_value = "auto")]
    pub(crate) port_map: AutoOrNever,
    /// Whether to carry the sealed datagrams of members between which no path exists: up to 4 Mbit/s from each
    #[arg(long, value_enum, value_name = "WHEN", default_value = "auto")]
    pub(crate) carry: AutoOrNever,
    /// Serve `/metrics` for Prometheus, and `/healthz`, at this address too
    #[arg(long, value_name = "IP:PORT")]
    pub(crate) metrics: Option<SocketAddr>,
    /// Log level: error, warn, info, debug, trace [default: RUST_LOG, else info]
    #[arg(long, value_name = "LEVEL")]
    pub(crate) log: Option<tracing::Level>,
    #[command(flatten)]
    pub(crate) format: LogArgs,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct VerifyArgs {
    /// Recording of join, host or mixer
    pub(crate) file: PathBuf,
    /// The room's key: the 64 hex digits that its host prints, or any invite to the room
    #[arg(long, value_name = "KEY")]
    pub(crate) room: String,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct RepairArgs {
    /// Recordings of join, host or mixer, none of them in progress
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct IdentityArgs {
    /// Key file, made if it is absent; its name stands in FILE.pub
    pub(crate) file: PathBuf,
    /// Sign this name, up to 64 bytes; peers with this identity are called so unless they are told another name
    #[arg(long, value_name = "TEXT")]
    pub(crate) name: Option<String>,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct ProbeArgs {
    /// Invite of a room, to measure bandwidth and round trip to its candidates too: as it is, @FILE, - for a line of
    /// standard input, or PLENARY_INVITE
    pub(crate) invite: Option<String>,
    /// Password of the room: TEXT, @FILE, - for a line of standard input, or PLENARY_PASSWORD
    #[arg(long, value_name = "TEXT")]
    pub(crate) password: Option<String>,
    /// File with certificates (PEM) to trust for a rendezvous at https://, beside public authorities
    #[arg(long, value_name = "FILE")]
    pub(crate) tls_trust: Vec<PathBuf>,
    /// STUN server to ask for the NAT in front of this machine, beside the invite's rendezvous; repeatable:
    /// stun:HOST[:PORT]. One alone can't tell all kinds of NATs apart
    #[arg(long, value_name = "URL")]
    pub(crate) stun: Vec<StunServer>,
    /// File for the figures; - for standard output
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct SimArgs {
    /// Scenario, or a FILE.toml with one; `list` names the built-in ones, `compare` takes two reports
    pub(crate) scenario: String,
    /// For `compare`: the earlier report and the later one
    pub(crate) files: Vec<PathBuf>,
    /// Number of viewers, instead of the scenario's
    #[arg(long, value_name = "N")]
    pub(crate) peers: Option<usize>,
    /// First seed [default: 1]
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// Number of seeds, pooled into one report [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub(crate) runs: Option<u64>,
    /// File for the report; - for standard output
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Directory for a file per seed with a violation, to be run again (built-in scenarios only)
    #[arg(long, value_name = "DIR")]
    pub(crate) keep: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    /// Measure the cost of a mixer against bare decoders and one encoder, by turns in the same run.
    #[command(after_help = "Example:\n  plenary bench mix --inputs 4 --frames 60 --json -")]
    Mix(MixBenchArgs),
    /// Measure the cost of mixing sound against bare codecs in the same run.
    #[command(
        after_help = "Example:\n  plenary bench sound --speakers 50 --heard 3 --source voice.wav --json -"
    )]
    Sound(SoundBenchArgs),
    /// Measure the cost and the delay of a relay against the bare WebRTC stack, by turns in the same run.
    #[command(after_help = "Example:\n  plenary bench relay --children 32 --rate 1500kbit --json -")]
    Relay(RelayBenchArgs),
    /// Measure what the links of many viewers cost on the bare WebRTC stack, as a bound for rooms in one process.
    #[command(after_help = "Example:\n  plenary bench crowd --viewers 100 --json -")]
    Crowd(CrowdBenchArgs),
    /// Measure the speed and the memory of a brain, the state machine of one peer.
    #[command(after_help = "Example:\n  plenary bench brain --json -")]
    Brain(BrainBenchArgs),
    /// Measure what the seals of a program cost, in bytes and processor time.
    #[command(after_help = "Example:\n  plenary bench seals --json -")]
    Seals(SealsBenchArgs),
}

#[derive(Clone, Debug, Args)]
pub(crate) struct MixBenchArgs {
    /// Number of speakers that are mixed
    #[arg(long, value_name = "N", default_value = "4", value_parser = clap::value_parser!(u8).range(1..=INPUTS_MAX as i64))]
    pub(crate) inputs: u8,
    /// Picture format that each speaker sends
    #[arg(long = "in", value_name = "SIZE", default_value = "640x360@30", value_parser = units::size)]
    pub(crate) input: ProgramFormat,
    /// Picture format of the program
    #[arg(long = "out", value_name = "SIZE", default_value = "1280x720@30", value_parser = units::size)]
    pub(crate) program: ProgramFormat,
    /// Bit rate of the program
    #[arg(long, value_name = "RATE", default_value = "1500kbit", value_parser = units::bitrate)]
    pub(crate) bitrate: u32,
    /// Files with the speakers' pictures, in turn; without one, the test picture
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub(crate) source: Vec<PathBuf>,
    /// Number of speakers with a still picture, which they send once a second
    #[arg(long, value_name = "N", default_value = "0")]
    pub(crate) frozen: u8,
    /// Temporal layers of the program: rooms use 2, comparable software 1
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u8).range(1..=i64::from(TEMPORAL_LAYERS_MAX)))]
    pub(crate) temporal_layers: u8,
    /// Number of program pictures that are measured
    #[arg(long, value_name = "N", default_value = "240", value_parser = clap::value_parser!(u32).range(12..=100_000))]
    pub(crate) frames: u32,
    /// Directory for the speakers' streams, the program and the ideal picture, to test other software on
    #[arg(long, value_name = "DIR")]
    pub(crate) keep: Option<PathBuf>,
    /// File for the figures; - for standard output
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct SoundBenchArgs {
    /// Number of speakers
    #[arg(long, value_name = "N", default_value = "50", value_parser = clap::value_parser!(u8).range(1..=INPUTS_MAX as i64))]
    pub(crate) speakers: u8,
    /// Number of speakers that speak at a time and are heard
    #[arg(long, value_name = "N", default_value = "3", value_parser = clap::value_parser!(u8).range(1..=INPUTS_MAX as i64))]
    pub(crate) heard: u8,
    /// Duration in seconds, by the speakers' clocks
    #[arg(long, value_name = "N", default_value = "20", value_parser = clap::value_parser!(u16).range(1..=3600))]
    pub(crate) seconds: u16,
    /// Packet loss that the encoders assume, percent; from 1 on they add FEC to voices
    #[arg(long, value_name = "N", default_value = "0", value_parser = clap::value_parser!(u8).range(0..=100))]
    pub(crate) loss: u8,
    /// Files with the speakers' voices, in turn; without one, tones of the test source
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub(crate) source: Vec<PathBuf>,
    /// File for the figures; - for standard output
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct RelayBenchArgs {
    /// Number of children
    #[arg(long, value_name = "N", default_value = "32", value_parser = clap::value_parser!(u16).range(1..=500))]
    pub(crate) children: u16,
    /// Bit rate of the program
    #[arg(long, value_name = "RATE", default_value = "1500kbit", value_parser = units::bitrate)]
    pub(crate) rate: u32,
    /// Worker threads of the relay
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u8).range(1..=64))]
    pub(crate) workers: u8,
    /// Time that each round measures, of each relay
    #[arg(long, value_name = "D", value_parser = units::some_time, default_value = "5s")]
    pub(crate) duration: Duration,
    /// Address of all ends, one of this machine
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    pub(crate) address: IpAddr,
    /// Rounds, in which all relays take turns; medians are reported
    #[arg(long, value_name = "N", default_value = "3", value_parser = clap::value_parser!(u8).range(1..=100))]
    pub(crate) rounds: u8,
    /// Another server to measure: a name, and a command as docs/benchmarks/sfu.md describes
    #[arg(long, value_name = "NAME=COMMAND")]
    pub(crate) server: Vec<Server>,
    /// Measure beside them a relay with this one UDP port for all its links
    #[arg(long, value_name = "P", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) udp_port: Option<u16>,
    /// Relay in this process, as standard input says
    #[arg(long, hide = true, value_enum)]
    pub(crate) part: Option<RelayPart>,
    /// File for the figures; - for standard output
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

/// Relay that a process of `bench relay` runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RelayPart {
    /// The bare stack's.
    Bare,
    /// One with its body.
    Body,
}

impl RelayPart {
    /// Returns the word of the command line.
    pub(crate) fn word(self) -> &'static str {
        match self {
            RelayPart::Bare => "bare",
            RelayPart::Body => "body",
        }
    }
}

#[derive(Clone, Debug, Args)]
pub(crate) struct CrowdBenchArgs {
    /// Number of viewers, each with two connections, of which one carries packets
    #[arg(long, value_name = "N", default_value = "100", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) viewers: u16,
    /// Bit rate of the pictures: 30 a second, two packets each
    #[arg(long, value_name = "RATE", default_value = "300kbit", value_parser = units::bitrate)]
    pub(crate) rate: u32,
    /// Time that is measured
    #[arg(long, value_name = "D", value_parser = units::some_time, default_value = "20s")]
    pub(crate) duration: Duration,
    /// File for the figures; - for standard output
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct SealsBenchArgs {
    /// Bit rate of the program's pictures; sound has 64 kbit/s
    #[arg(long, value_name = "RATE", default_value = "1500kbit", value_parser = units::bitrate)]
    pub(crate) bitrate: u32,
    /// File for the figures; - for standard output
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct BrainBenchArgs {
    /// File for the figures; - for standard output
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

/// Parses `IP` or `IP:PORT`; without a port, any free port.
fn listen(text: &str) -> Result<SocketAddr, String> {
    let bare = || text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 0));
    text.parse()
        .or_else(|_| bare())
        .map_err(|_| "an address looks like 127.0.0.1 or 127.0.0.1:7420".to_owned())
}

fn address(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| "an address looks like 192.0.2.1 or 2001:db8::1".to_owned())
}

/// Parses an address that this machine has.
fn own_address(text: &str) -> Result<IpAddr, String> {
    let ip = address(text)?;
    match UdpSocket::bind((ip, 0)) {
        _ if ip.is_unspecified() => Err(format!("{ip} is no single address")),
        Ok(_) => Ok(ip),
        Err(error) => Err(format!("{ip} is no address of this machine: {error}")),
    }
}

/// Parses the address of a NAT.
fn outer_address(text: &str) -> Result<IpAddr, String> {
    let ip = address(text)?;
    match ip.is_unspecified() || ip.is_loopback() || ip.is_multicast() {
        true => Err(format!("{ip} is no address at which others reach this machine")),
        false => Ok(ip),
    }
}

/// Parses `40000-40099`.
pub(crate) fn ports(text: &str) -> Result<RangeInclusive<u16>, String> {
    let wrong = || "ports look like 40000-40099".to_owned();
    let (first, last) = text.split_once('-').ok_or_else(wrong)?;
    let (first, last): (u16, u16) = (first.parse().map_err(|_| wrong())?, last.parse().map_err(|_| wrong())?);
    if first == 0 || last < first {
        return Err(wrong());
    }
    Ok(first..=last)
}

impl RoomArgs {
    /// Returns the program's picture format with its bit rate.
    pub(crate) fn program(&self) -> ProgramFormat {
        let default = HostOptions::default().program;
        ProgramFormat {
            bitrate_bps: self.bitrate.unwrap_or(default.bitrate_bps),
            ..self.program.unwrap_or(default)
        }
    }

    /// Returns the number of mixers; 0 lets the room choose it.
    pub(crate) fn mixers(&self) -> u8 {
        self.mixers.unwrap_or(0)
    }

    /// Returns the file for the report, unless that is standard output.
    pub(crate) fn json_file(&self) -> Option<&PathBuf> {
        self.json.as_ref().filter(|file| *file != Path::new("-"))
    }
}
