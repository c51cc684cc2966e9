//! Video rooms with no server in the middle.
//!
//! A [`Room`] is one peer's part in one room: a speaker, a viewer, a headless mixer, or several of these. Peers
//! find each other through a rendezvous that sees only sealed envelopes, measure each other, elect the strongest
//! as mixers, and the audience passes the mixed program on to itself.
//!
//! ```no_run
//! # #[cfg(feature = "files")]
//! # async fn example() -> Result<(), plenary::Error> {
//! use plenary::{HostOptions, Options, Room};
//!
//! // one machine opens a room and speaks in it
//! let host = Room::host(Options::speaker("Ada"), HostOptions::default()).await?;
//! host.publish_file("talk.mp4".as_ref()).await?;
//! println!("{}", host.invite());
//!
//! // another one watches, and forwards what it gets
//! let viewer = Room::join(host.invite(), Options::viewer("Zoë")).await?;
//! let recording = viewer.record("program.mp4".as_ref())?;
//! let mut pictures = viewer.pictures()?;
//! while let Some(decoded) = pictures.next().await {
//!     println!("{} x {}", decoded.picture.width(), decoded.picture.height());
//! }
//! recording.finish()?;
//! viewer.close().await;
//! # Ok(()) }
//! ```
//!
//! # What goes in
//!
//! | | what |
//! | --- | --- |
//! | [`Room::publish`], [`Room::publish_file`](Room#method.publish_file) | a source or a file, played over and over |
//! | [`Room::publish_raw`] | pictures in I420 or NV12, sound in f32 or i16, with their capture times; encoded here, as the mixer asks |
//! | [`Room::publish_encoded`] | H.264 and Opus that the application encodes as the mixer asks |
//!
//! # What comes out, and what happens to who doesn't take it
//!
//! | | what | who doesn't keep up |
//! | --- | --- | --- |
//! | [`Room::frames`] | encoded frames with their identity | loses whole runs, up to a key frame; [`ReceivedFrame::missed`] |
//! | [`Room::pictures`] | I420 with strides and capture time | gets the oldest four that wait, later ones are dropped |
//! | [`Room::sound`] | 20 ms of f32 at 48 kHz, an even stream | gets half a second, later sound is dropped |
//! | [`Room::events`] | [`RoomEvent`]s | loses the oldest, and is told how many: [`RoomEvent::Missed`] |
//! | [`Room::watch`] | [`RoomSnapshot`]s | sees the newest |
//!
//! Nobody who is slow to take something holds up the room, or anyone else who listens. All of these end when the
//! room is closed, and calls give [`Error::Closed`] from then on.
//!
//! # Ends
//!
//! [`Room::leave`] hands the program and our children over first; [`Room::close`] waits until links, threads and
//! files are closed; dropping a room does the same without waiting. Nothing is global: a process may hold any
//! number of rooms, and what each logs is in a `tracing` span `room{me=…}`.
//!
//! # Features
//!
//! | feature | gives | without it |
//! | --- | --- | --- |
//! | `codecs` | openh264 and libopus behind [`media::codec::Codecs`] | a peer views encoded frames, relays, records, passes through, and publishes what the application encodes |
//! | `files` | [`Room::publish_file`](Room#method.publish_file): mp4, y4m, wav | |
//! | `labels` | names under the tiles of a mix | tiles without names |
//!
//! All are on by default. [`Options::codecs`] takes an application's own codecs, with or without the feature.
//!
//! Times are microseconds since 1970 by the clock that is named with them, rates bits per second, pictures I420 in
//! limited range, sound f32 from −1 to 1 at 48 kHz.
#![warn(clippy::unwrap_used)]

mod desk;
mod driver;
mod error;
mod event;
mod flow;
mod layout;
mod listen;
mod loss;
mod open;
mod options;
mod power;
mod publish;
mod rate;
mod record;
mod room;
mod snapshot;
mod thin;
mod threads;

pub use desk::{OnDesk, Tenure};
pub use driver::Traffic;
pub use error::Error;
pub use event::{EVENTS_MAX, Events, OnEvent, RoomEvent};
pub use flow::{FrameSeen, Gap, Origin, ReceivedFrame, ReceptionStats, Solo, Spread};
pub use listen::{DecodedPicture, DecodedSound, Pictures, Sound};
pub use options::{HostOptions, Options};
pub use plenary_media as media;
pub use plenary_media::mixer::{Effort, EffortWhy};
pub use plenary_proto::identity::{FrameIdentity, MediaKind};
pub use plenary_proto::message::{
    Consent, DATA_LEN_MAX, Delivery, ElectionReason, LOOSE_LEN_MAX, ProgramFormat, Refusal, VideoRequest,
};
pub use plenary_proto::seal::{Invite, InviteError};
pub use plenary_proto::{DataRefusal, Mode, PeerId, Rank, StreamId, Tally};
pub use plenary_rtc::{LinkError, Shape, Shaper};
pub use plenary_signal::{Outage, Refusal as RendezvousRefusal, RendezvousError, SignalError};
pub use publish::{EncodedTrack, RawTrack, Wish};
pub use record::Recording;
pub use room::{Frames, Room};
pub use snapshot::{ConnectionState, Member, RoomSnapshot};

/// Random bytes from the system, for keys, nonces and ids.
fn random_bytes<const LEN: usize>() -> [u8; LEN] {
    let mut bytes = [0; LEN];
    getrandom::fill(&mut bytes).expect("the system has randomness");
    bytes
}

fn random_u64() -> u64 {
    u64::from_ne_bytes(random_bytes())
}
