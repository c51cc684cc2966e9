//! The brain of a plenary room: a sans-IO state machine, without sockets, clocks, threads or codecs.
//!
//! A body (the tokio library, the page, the simulator) drives one [`RoomState`] per peer and room. It calls
//! [`handle`](RoomState::handle) with each [`Input`], then carries out what
//! [`poll_output`](RoomState::poll_output) returns until that is `None`. It hands in [`Input::Timeout`] at
//! [`next_timeout`](RoomState::next_timeout).
//!
//! The crate also defines the formats shared by all bodies: media identity ([`identity`]), keys and envelopes
//! ([`seal`]) and control messages ([`message`]).

#![warn(clippy::unwrap_used)]

mod anti_entropy;
pub mod app;
mod asking;
mod audience;
pub mod bounded;
mod broadcast;
pub mod bucket;
mod complaints;
mod config;
mod delays;
mod directory;
mod doubts;
mod election;
pub mod evidence;
mod floor;
mod hashed_draw;
mod heirs;
mod host;
mod hysteresis;
mod id;
pub mod identity;
mod io;
pub mod link_layout;
mod links;
mod lobby;
mod mandate;
mod membership;
pub mod message;
mod mixing;
mod mutation;
pub mod network;
pub mod ordered;
mod outbox;
pub mod packet;
pub mod pauses;
mod prevote;
mod probe;
mod rates;
pub mod rendezvous;
pub mod restart;
mod rng;
mod room;
mod route;
#[cfg(test)]
mod samples;
mod score;
pub mod sdp;
pub mod seal;
mod shares;
mod solo;
mod spread;
mod stage;
mod streams;
mod succession;
pub mod suffering;
mod tickets;
pub mod time;
mod tree;
mod trouble;
mod tunnels;
mod uplink;
mod view;
mod voices;
pub mod watchdog;

pub use app::{Command, Event, Snapshot};
pub use config::{CHILDREN_MAX, HostConfig, RoomConfig};
pub use directory::{DIRECTORY_MAX, DirectoryEntry};
pub use host::Reopening;
pub use id::{InForce, NoPeerId, PeerId, Rank, RoomId, ShortId, StreamId, StreamKind, StreamSpec};
pub use io::{
    Address, CodecClaim, Input, MixRole, Output, Senders, TunnelCommand, Verdict, Via, VoiceRoutes,
    VoicesState,
};
pub use lobby::Newcomer;
#[cfg(debug_assertions)]
#[doc(hidden)]
pub use mutation::Mutation;
pub use room::RoomState;
pub use score::{Sources, Tally};
pub use stage::{MESH_SPEAKERS_MAX, Mode};
pub use time::Time;
