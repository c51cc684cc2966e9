//! Video rooms with no server in the middle.
//!
//! A [`Room`] is one peer's part in one room: a speaker, a viewer, a headless mixer, or several of these. Peers
//! find each other through a rendezvous that sees only sealed envelopes, measure each other, elect the strongest
//! as mixers, and the audience passes the mixed program on to itself. A process may hold any number of rooms;
//! nothing here is global.
//!
//! ```no_run
//! # async fn example() -> Result<(), plenary::Error> {
//! use plenary::{HostOptions, Options, Room};
//!
//! let host = Room::host(Options::speaker("Ada"), HostOptions::default()).await?;
//! println!("{}", host.invite());
//!
//! let viewer = Room::join(host.invite(), Options::viewer("Zoë")).await?;
//! let mut pictures = viewer.pictures()?;
//! while let Some(decoded) = pictures.next().await {
//!     println!("{} x {}", decoded.picture.width(), decoded.picture.height());
//! }
//! # Ok(()) }
//! ```
//!
//! Without the feature `codecs` a peer views encoded frames, relays, records, and publishes what the application
//! encodes, with no codec in the build; [`Options::codecs`] takes the application's own.
#![warn(clippy::unwrap_used)]

mod desk;
mod driver;
mod error;
mod event;
mod flow;
mod listen;
mod open;
mod options;
mod power;
mod publish;
mod record;
mod room;
mod snapshot;
mod threads;

pub use desk::Tenure;
pub use driver::Traffic;
pub use error::Error;
pub use event::{EVENTS_MAX, Events, OnEvent, RoomEvent};
pub use flow::{FrameSeen, Gap, Origin, ReceivedFrame, ReceptionStats, Spread};
pub use listen::{DecodedPicture, DecodedSound, Pictures, Sound};
pub use options::{HostOptions, Options};
pub use plenary_media as media;
pub use plenary_proto::identity::{FrameIdentity, MediaKind};
pub use plenary_proto::message::{Consent, ElectionReason, ProgramFormat, Refusal, VideoAsk};
pub use plenary_proto::seal::{Invite, InviteError};
pub use plenary_proto::{Mode, PeerId, Rank, StreamId, Tally};
pub use plenary_rtc::{LinkError, Shape, Shaper};
pub use plenary_signal::{Outage, Refusal as RendezvousRefusal, RendezvousError, SignalError};
pub use publish::{EncodedTrack, Wish};
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
