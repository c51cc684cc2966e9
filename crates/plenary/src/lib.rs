//! Video rooms without a central server.
//!
//! A [`Room`] is one peer's part in one room: a speaker, a viewer, a headless mixer, or several of these.
//! Peers find each other through a rendezvous that sees only sealed envelopes. They measure each other and
//! elect the strongest peers as mixers. Viewers forward the mixed program to further viewers along a relay
//! tree.
//!
//! ```no_run
//! # #[cfg(feature = "files")]
//! # async fn example() -> Result<(), plenary::Error> {
//! use plenary::{HostOptions, Options, Room};
//!
//! // one machine opens a room and speaks in it
//! let host = Room::host(Options::speaker("Ada"), HostOptions::default()).await?;
//! let talk = host.publish_file("talk.mp4").await?; // until it is dropped
//! let invite = host.invite().expect("nobody has replaced it yet");
//! println!("{invite}");
//!
//! // another machine watches, and forwards the program to further viewers
//! let viewer = Room::join(&invite, Options::viewer("Zoë")).await?;
//! let recording = viewer.record("program.mp4")?;
//! let mut pictures = viewer.pictures()?;
//! while let Some(decoded) = pictures.next().await {
//!     println!("{} x {}", decoded.picture.width(), decoded.picture.height());
//! }
//! recording.finish()?;
//! viewer.close().await;
//! # Ok(()) }
//! ```
//!
//! # Publishing
//!
//! | call | what is published |
//! | --- | --- |
//! | [`Room::publish`], [`Room::publish_file`](Room#method.publish_file) | a source or a file, played in a loop |
//! | [`Room::publish_raw`] | I420 or NV12 pictures and f32 or i16 sound with capture times; encoded by this library, in the format the mixer requests |
//! | [`Room::publish_encoded`] | H.264 and Opus that the application encodes in the format the mixer requests |
//!
//! Each returns a track, which unpublishes when it is dropped, and has a twin with a [`TrackKind`] (`publish_as`,
//! `publish_raw_as`, …) for a picture or a sound alone, and for screens. A peer publishes one picture and one
//! sound at a time, as often as it likes.
//!
//! # Receiving, and what a slow receiver loses
//!
//! | call | what is received | if the receiver is slow |
//! | --- | --- | --- |
//! | [`Room::frames`] | encoded frames with their identity | video is dropped up to the next keyframe, sound until there is room; [`ReceivedFrame::missed`] counts the dropped frames |
//! | [`Room::frames_from_key`] | the same from a keyframe on, which it asks for ([`Room::want_keyframe`]) | the same |
//! | [`Room::pictures`] | I420 with strides and capture time | the four oldest pictures stay queued, later pictures are dropped |
//! | [`Room::sound`] | an even stream of 20 ms frames of f32 at 48 kHz | half a second stays queued, later sound is dropped |
//! | [`Room::voices`] | at an agent: each speaker's sound apart, at the rate that it asks for, with its capture time | five seconds of one speaker stay queued, later sound is dropped; [`Voice::missed`] counts it |
//! | [`Room::events`] | [`RoomEvent`]s | the oldest events are dropped; [`RoomEvent::Missed`] says how many |
//! | [`Room::watch`] | [`RoomSnapshot`]s | only the newest snapshot is seen |
//!
//! A slow receiver never blocks the room or another receiver. All of these streams end when the room is
//! closed; later calls return [`Error::Closed`].
//!
//! # Leaving and closing
//!
//! [`Room::leave`] hands the program and this peer's children over to other peers first. [`Room::close`]
//! waits until links, threads and files are closed. Dropping the last clone of a room leaves in the
//! background. [`Room::closed`] waits for the end, and says how it came. There is no
//! global state, but for the measured speed of codecs: a process may hold any number of rooms. Each room logs inside
//! its own `tracing` span,
//! `room{me=…}`.
//!
//! # Runtime
//!
//! A room runs on tokio, with IO and time enabled: the runtime around [`Room::host`] or [`Room::join`], or
//! [`Options::runtime`]. All other calls may come from anywhere. Encoders, decoders and recordings have threads of
//! their own. A dropped `join` leaves nothing behind.
//!
//! # Features
//!
//! | feature | provides | without it |
//! | --- | --- | --- |
//! | `codecs` | openh264 and libopus as [`media::codec::Codecs`] | the peer can still receive encoded frames, relay, record, mix in pass-through mode, and publish what the application encodes |
//! | `files` | [`Room::publish_file`](Room#method.publish_file): mp4, y4m, wav | |
//! | `labels` | names under the tiles of a mix | tiles have no names |
//!
//! All features are on by default. [`Options::codecs`] takes the application's own codecs, with or without the feature
//! `codecs`. Events, snapshots and what is in them implement `serde::Serialize`, commands `Deserialize` as well.
//!
//! Times are microseconds since 1970 by the clock named with them. Rates are bits per second. Pictures are
//! I420 in limited range. Sound is f32 from −1 to 1 at 48 kHz.
#![warn(clippy::unwrap_used)]

mod advertise;
mod benches;
mod certificate;
mod desk;
mod driver;
mod error;
mod event;
mod flow;
mod from_key;
mod governing;
mod hosting;
mod line_share;
mod listen;
pub mod media;
mod notices;
mod open;
mod options;
mod outlets;
mod port_map;
mod power;
mod publish;
mod reachable;
mod record;
mod room;
mod secret_file;
mod secrets;
mod signed_name;
mod stun;
#[doc(hidden)]
pub mod testing;
mod threads;
mod track;
mod tunnels;
mod turn;
#[cfg(feature = "files")]
mod verify;
mod voices;

pub use advertise::{Advertise, NoAddress};
pub use certificate::Certificate;
pub use error::{Error, PublishRefusal};
pub use event::{EVENTS_MAX, Events, OnEvent};
pub use from_key::FramesFromKey;
pub use governing::Listed;
pub use hosting::Host;
pub use listen::{DecodedPicture, DecodedSound, Pictures, Sound};
pub use options::{HostOptions, Options};
#[doc(hidden)]
pub use plenary_body::OnDesk;
pub use plenary_body::{FrameSeen, Gap, Origin, ReceivedFrame, ReceptionStats, Spread, Tenure, Traffic};
pub use plenary_media::{RepairError, Repaired, repair_recording};
pub use plenary_proto::app::line;
pub use plenary_proto::app::{
    CodecOutcome, CodecUse, Command, ConnectionState, Departure, Effort, EffortWhy, End, Event as RoomEvent,
    Layout, LinkTo, Listing, Member, Nat, Reason, Shedding, Snapshot as RoomSnapshot, Solo, Way, Why,
};
pub use plenary_proto::identity::{FrameIdentity, MediaKind};
pub use plenary_proto::message::{
    AGENTS_MAX, CodecSource, Consent, DATA_LEN_MAX, Delivery, ElectionReason, LOOSE_LEN_MAX, MediaSeen,
    MixPolicy, Muted, PeerRates, ProgramFormat, VideoRequest,
};
pub use plenary_proto::seal::{Invite, InviteError};
pub use plenary_proto::{
    CodecClaim, Mode, Newcomer, NoPeerId, PeerId, Rank, ShortId, Sources, StreamId, Tally, VoicesState,
};
pub use plenary_rtc::{CarriedFigures, LinkError};
#[doc(hidden)]
pub use plenary_rtc::{Shape, Shaper};
pub use plenary_signal::{
    Authority, FIGURES_TYPE, Figures, MoreFigures, NoOrigin, Outage, PageOrigin,
    Refusal as RendezvousRefusal, RendezvousError, Router, ServerTls, SignalError, TlsError,
};
pub use port_map::{Outer, PortMap, PortMapping};
pub use publish::{EncodedTrack, RawTrack, Wish};
pub use record::{AnnouncedRecording, RecordParts, Recording, RecordingState};
pub use room::{Frames, Room};
pub use secrets::{Identity, NoKeys, Password, RoomKeys, RoomKeysLock, save_invite, save_secret};
pub use signed_name::{SignedName, SignedNameError};
pub use stun::{NatSeen, NoStunServer, StunServer, ask_stun};
pub use threads::CLOSE_MAX;
pub use track::{Track, TrackKind};
pub use turn::{NoTurnServer, ServeTurn, TurnServer};
#[cfg(feature = "files")]
pub use verify::{Verified, VerifyError, verify_recording};
pub use voices::{Voice, VoiceStream, Voices, VoicesError, VoicesOf};

/// The guide for applications; doc tests compile its code.
#[cfg(all(doctest, feature = "files"))]
#[doc = include_str!("../EMBEDDING.md")]
pub struct Guide;

/// Returns random bytes from the operating system, for keys, nonces and ids.
fn random_bytes<const LEN: usize>() -> [u8; LEN] {
    let mut bytes = [0; LEN];
    getrandom::fill(&mut bytes).expect("the system has randomness");
    bytes
}

fn random_u64() -> u64 {
    u64::from_ne_bytes(random_bytes())
}
