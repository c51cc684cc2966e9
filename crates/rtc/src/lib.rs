//! Links between plenary peers over WebRTC, and a network shaper for tests and demos. The WebRTC stack stays
//! behind this seam: the public API of this crate names none of its types.
//!
//! One [`Links`] drives all links of a peer. The peer submits [`Command`]s, which never block, and reads
//! [`Event`]s; each media packet is handed to a [`PacketSink`] by a synchronous call. A test driver, or a
//! driver over another stack, implements [`LinkDriver`].
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use plenary_proto::message::LinkKind;
//! # use plenary_rtc::*;
//! # async fn example(sink: Arc<dyn PacketSink>) -> Result<(), LinkError> {
//! let (links, mut events) = Links::new(LinksConfig::default(), sink)?;
//! links.submit(Command::Offer { link: LinkId(1), kind: LinkKind::Peer, is_stranger: false });
//! while let Some(event) = events.next().await {
//!     match event {
//!         Event::Described { link, description } => { /* to the other peer, which answers */ }
//!         Event::Connected { link, .. } => { /* packets and messages may go */ }
//!         _ => {}
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # The path of a packet
//!
//! The task of a link reads a datagram, decrypts it, checks for losses before it, and calls the sink
//! on that same task. The sink submits one [`Command::Forward`] that names all children. The packet enters
//! the bounded queue of each child's link, and the tasks of these links are woken once per burst. Each
//! task gives the packet the next sequence number of its leg, encrypts it and sends it. A hop costs one
//! task switch and no copy of the payload, and no child delays another.
#![warn(clippy::unwrap_used)]

// Lets the unit tests include the support module of the integration tests, which names this crate.
#[cfg(test)]
extern crate self as plenary_rtc;

mod agent;
#[cfg(feature = "bench")]
pub mod bench;
mod channels;
mod checks;
mod connection;
mod credentials;
#[cfg(any(test, feature = "raw"))]
mod ends;
mod events;
mod feedback;
mod handle;
mod legs;
mod link;
mod links;
mod moving;
mod mux;
mod packet_queue;
mod path;
mod ports;
mod queue;
#[cfg(feature = "raw")]
pub mod raw;
mod relays;
mod repair;
mod restart;
mod screen;
mod seam;
mod secure;
mod shaper;
mod shared;
mod snap;
mod socket;
mod sync;
#[cfg(feature = "raw")]
pub mod targets;
mod traffic;
mod train;
mod trains;
mod transport;
mod tunnels;
mod wire;

#[cfg(test)]
#[path = "../tests/links/support.rs"]
mod support;
#[cfg(test)]
#[path = "../tests/links/turn_messages.rs"]
mod turn_messages;

pub use events::Events;
pub use links::{LinkError, Links};
pub use path::{TurnServer, ask_stun};
pub use plenary_proto::link_layout::DescriptionError;
pub use plenary_proto::packet::{
    BrowserPacket, CONTRIBUTORS_MAX, Contributor, Contributors, Destinations, LinkId, LinkStats, MediaPacket,
    PAYLOAD_LEN_MAX,
};
pub use ports::{AddressChange, local_addresses};
#[cfg(feature = "raw")]
pub use raw::Raw;
pub use seam::{
    CARRIED_BYTES_MAX, Channel, Command, DownReason, Event, LinkDriver, PacketSink, SenderReport,
};
pub use shaper::{Shape, ShapedTcp, Shaper};
pub use shared::LinksConfig;
pub use train::{Arrival, TRAIN_BYTES_MAX, TRAIN_DURATION_US_MAX, TrainArrivals};
pub use tunnels::{CarriedFigures, Courier};
