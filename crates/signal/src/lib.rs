//! Signalling: carries sealed envelopes between peers of a room that are not linked yet.
//!
//! A joining peer knows the room's id and the address of a rendezvous. Through a [`Signal`] it sends
//! envelopes (`plenary_proto::seal`) addressed to the host or to a peer, and receives the envelopes addressed
//! to itself. The carrier sees ids and sizes, never contents.
//!
//! - [`Rendezvous`] is the server: websockets over HTTP or https, standalone or inside the host's process. Browsers
//!   without websockets send and fetch the same frames by requests.
//! - [`WebsocketSignal`] is the client of a peer; it reconnects by itself.
//! - [`LocalSignal`] is the client of a peer in the rendezvous's own process. On a [`Switchboard`] without a
//!   rendezvous it forms a network in memory.
//!
//! Guarantees:
//!
//! - The sender's id `from` is authenticated: each peer signs a challenge with its key.
//! - [`Address::Host`] reaches the holder of the room's root key, or, while it is absent, the longest-present
//!   members.
//! - Envelopes that arrive, arrive in order.
//!
//! Between two peers without a path a rendezvous also carries the sealed datagrams of their link ([`Signal::tunnel`]).
//!
//! Delivery is not guaranteed: an envelope may be lost in an outage or at a full queue, so senders retry. The
//! wire format is in [`plenary_proto::rendezvous`] and in docs/RENDEZVOUS.md.

#![warn(clippy::unwrap_used)]

mod figures;
mod gate;
mod limits;
mod local;
mod mailbox;
mod owner;
mod page_origin;
mod rendezvous;
mod rooms;
mod signal;
mod socket;
mod stun;
mod switchboard;
mod tunnels;
mod turn;
mod wall;
mod websocket;

pub use axum::Router;
pub use axum::http::uri::Authority;
pub use figures::{FIGURES_TYPE, Figures};
pub use limits::{Limits, Rate};
pub use local::LocalSignal;
pub use page_origin::{NoOrigin, PageOrigin};
pub use plenary_proto::rendezvous::Outage;
pub use plenary_proto::rendezvous::{Address, Doors, Refusal, SIGNAL_PATH};
pub use rendezvous::{MoreFigures, Rendezvous, RendezvousConfig, RendezvousError};
#[cfg(feature = "tls")]
pub use rendezvous::{ServerTls, TlsError, certificates_from_pem};
pub use signal::{Signal, SignalError, SignalEvent};
pub use switchboard::Switchboard;
#[cfg(feature = "targets")]
#[doc(hidden)]
pub use turn::target;
pub use turn::{RelayAddress, TurnConfig, TurnLimits};
pub use websocket::{Io, WebsocketConfig, WebsocketSignal, WrapTcp};
