//! Many brains in one deterministic world.
//!
//! A [`World`] holds everything that one seed determines: peers, links, a rendezvous, the program's frames, and
//! what goes wrong. It drives the same `RoomState` that the library drives, and stands in for its body: links
//! take their set-up time, messages their delay, packets go from parent to child one by one. Equal seeds give
//! equal traces, on any machine.
//!
//! Modelled: lines with queues, delays, losses alone and in bursts, radios that pause, NATs, partitions, deaths,
//! machines that stand still or sleep, clocks that drift, polite leaving, a rendezvous that dies, peers that break the
//! rules. The program goes packet by packet, in larger rooms frame by frame, and in very large ones as a fluid, of
//! which only changes are followed; sound and codecs are not modelled.
#![warn(clippy::unwrap_used)]

mod arrivals;
pub mod attackers;
pub mod checkers;
mod compare;
pub mod deviation;
mod dice;
mod directory;
#[cfg(feature = "mutants")]
pub mod faults;
pub mod kept;
mod media;
pub mod memory;
pub mod net;
pub mod oracle;
mod peer;
pub mod people;
pub mod plan;
mod queue;
mod report;
pub mod rooms;
pub mod scenario;
pub mod stand;
pub mod storm;
mod trace;
pub mod units;
mod world;

pub use compare::compare;
pub use plan::{Kind, MediaModel, NetPlan, PeerPlan, RoomPlan, WorldPlan};
pub use report::{Aim, Delivery, Depth, Elections, Found, Percentiles, Received, Report};
pub use world::World;
