//! Links between plenary peers over WebRTC, and the network shaper. The stack stays behind this seam: no type
//! of it is part of what this crate offers.
//!
//! One [`Links`] per peer drives all its links. It is told what to do by [`Command`]s, which never block, and
//! tells what happens by [`Event`]s; media comes by a [`PacketSink`], synchronously. Whatever wants to stand
//! in for it, in a test or over another stack, implements [`LinkDriver`].
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use plenary_proto::message::LinkKind;
//! # use plenary_rtc::*;
//! # async fn example(sink: Arc<dyn PacketSink>) -> Result<(), LinkError> {
//! let (links, mut events) = Links::new(LinksConfig::default(), sink)?;
//! links.submit(Command::Offer { link: LinkId(1), kind: LinkKind::Peer });
//! while let Some(event) = events.next().await {
//!     match event {
//!         Event::Described { link, description } => { /* to the other peer, which answers */ }
//!         Event::Connected { link } => { /* packets and messages may go */ }
//!         _ => {}
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # The way of a packet
//!
//! A datagram is read by the driver task of its link, decrypted, looked at for losses before it, and handed
//! to the sink on that same task. The sink submits a [`Command::Forward`] with all children; the packet is
//! put into each child's bounded queue and their drivers are woken, once for a burst. Each numbers it as the
//! next of its leg, encrypts it and sends. So a hop has one task switch and no copy of the payload; nobody
//! waits for a child.
#![warn(clippy::unwrap_used)]

// lets the tests of the parts use what the tests of the whole use
#[cfg(test)]
extern crate self as plenary_rtc;

mod legs;
mod link;
mod links;
mod ports;
mod queue;
mod repair;
mod seam;
mod send_queue;
mod shaper;
mod socket;
mod stack;
mod sync;
mod tap;
mod template;
mod traffic;
mod train;
mod wire;

#[cfg(test)]
#[path = "../tests/links/support.rs"]
mod support;

pub use links::{Events, LinkError, Links, LinksConfig};
pub use seam::{
    CONTRIBUTORS_MAX, Channel, Command, Contributor, Contributors, Destinations, DownReason, Event,
    LinkDriver, LinkId, LinkStats, MediaPacket, PAYLOAD_LEN_MAX, PacketSink, SenderReport,
};
pub use shaper::{Shape, ShapedTcp, Shaper};
pub use template::DescriptionError;
pub use train::{Arrival, TRAIN_BYTES_MAX, TRAIN_DURATION_US_MAX, TrainArrivals};
