//! Ways between the two ends of a link: the candidates of both ends, the addresses of this one as others see them, and
//! its relays at TURN servers.

mod ask;
mod candidates;
mod migration;
mod nat;
mod reflex;
mod turn;

pub use ask::ask_stun;
pub(crate) use candidates::{ADDRESSES_MAX, Checked, Outer, candidates};
pub(crate) use migration::Migration;
pub(crate) use nat::{Behaviour, behaviour};
pub(crate) use reflex::{Reflex, Seen};
pub use turn::TurnServer;
pub(crate) use turn::{Relay, Turn};
