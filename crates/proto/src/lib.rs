//! The brain of a plenary room: a pure state machine, without sockets, clocks, threads or codecs.
//!
//! What this crate holds in common with every body that drives it (the tokio library, the page, the
//! simulator): the formats of media identity ([`identity`]), of keys and envelopes ([`seal`]) and of control
//! messages ([`message`]).

#![warn(clippy::unwrap_used)]

pub mod bounded;
mod id;
pub mod identity;
pub mod message;
pub mod seal;
pub mod time;

pub use id::{PeerId, Rank, RoomId, ShortId, StreamId, StreamKind, StreamSpec};
pub use time::Time;
