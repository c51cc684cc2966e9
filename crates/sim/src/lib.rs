//! Deterministic simulator of a whole room: thousands of brains in one world.
//!
//! A [`World`] holds everything that one seed determines: peers, links, a rendezvous, the program's frames,
//! and faults. It drives the same `RoomState` that the library drives, and takes the place of its body: link
//! set-up takes its time, messages have their delay, packets travel from parent to child one by one. Equal
//! seeds give equal traces, on any machine.
//!
//! Modelled: access lines with queues, delays, independent and bursty packet loss, Wi-Fi pauses, NATs,
//! partitions, crashes, machines that stall or sleep, clock drift, polite leaving, a rendezvous that dies,
//! and peers that violate the protocol. The program is followed packet by packet, in larger rooms frame by
//! frame, and in very large rooms as a fluid, of which only changes are followed. Audio and codecs are not
//! modelled.
#![warn(clippy::unwrap_used)]

mod arrivals;
pub mod attackers;
pub mod checkers;
mod compare;
pub mod deviation;
mod dice;
mod directory;
pub mod exhibit;
#[cfg(debug_assertions)]
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
mod shell;
pub mod stand;
pub mod storm;
pub mod strays;
mod trace;
pub mod units;
mod world;

pub use compare::compare;
pub use plan::{Kind, MediaModel, Nat, NetPlan, PeerPlan, RoomPlan, WorldPlan};
pub use report::{
    Aim, Delivery, Depth, Elections, Found, PagePlace, PagesFigures, PagesSeen, Percentiles, Received, Report,
};
pub use world::World;
