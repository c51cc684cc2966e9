//! Many brains in one deterministic world.
//!
//! A [`World`] holds everything that one seed determines: peers, links, a rendezvous, the program's frames, and
//! what goes wrong. It drives the same `RoomState` that the library drives, and stands in for its body: links
//! take their set-up time, messages their delay, frames go from parent to child one by one. Equal seeds give
//! equal traces, on any machine.
//!
//! Modelled: delays, loss (of frames, as the delay of a repair; of beats), deaths, a rendezvous that dies. The
//! program is modelled frame by frame; sound, codecs and bandwidth limits of links are not.
#![warn(clippy::unwrap_used)]

pub mod checkers;
mod compare;
mod dice;
#[cfg(feature = "mutants")]
pub mod faults;
mod media;
pub mod net;
pub mod oracle;
mod peer;
pub mod people;
pub mod plan;
mod report;
pub mod rooms;
pub mod scenario;
pub mod stand;
pub mod storm;
pub mod units;
mod world;

pub use compare::compare;
pub use plan::{Kind, MediaModel, NetPlan, PeerPlan, RoomPlan, WorldPlan};
pub use report::{Aim, Delivery, Depth, Elections, Found, Percentiles, Received, Report};
pub use world::World;
