//! Carries sealed envelopes between peers of a room that are not linked yet.
//!
//! A peer that wants in knows the room's id and where a rendezvous is. Through a [`Signal`] it hands over
//! envelopes (`plenary_proto::seal`) addressed to the host or to a peer, and takes out those for itself. Who
//! carries them sees ids and sizes, never contents.
//!
//! - [`Rendezvous`] is the server: websockets over HTTP, standalone or inside the host's own process.
//! - [`WebsocketSignal`] is a peer's end of it, and stays connected by itself.
//! - [`LocalSignal`] is the end of a peer in the rendezvous's own process; on a [`Switchboard`] alone it is a
//!   network in memory.
//!
//! What is promised: `from` is proven (each peer signs a challenge with its key), and only the holder of a
//! room's root key is reached as [`Address::Host`]. What is not: an envelope may get lost, in an outage or
//! where a queue is full, so whoever sends retries. Two envelopes that both arrive, arrive in order.
//! The bytes on the wire are in [`wire`] and in docs/RENDEZVOUS.md.

#![warn(clippy::unwrap_used)]

mod gate;
mod limits;
mod local;
mod mailbox;
mod rendezvous;
mod rooms;
mod signal;
mod socket;
mod switchboard;
mod websocket;
pub mod wire;

pub use limits::{Limits, Rate};
pub use local::LocalSignal;
pub use rendezvous::{Rendezvous, RendezvousConfig, RendezvousError, SIGNAL_PATH};
pub use signal::{Outage, Signal, SignalError, SignalEvent};
pub use switchboard::Switchboard;
pub use websocket::{Io, WebsocketConfig, WebsocketSignal, WrapTcp};
pub use wire::{Address, Refusal};
