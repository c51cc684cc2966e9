//! What applications tell the whole room.

use serde::{Deserialize, Serialize};

use super::roster::ROSTER_MAX;
use crate::bounded::List;
use crate::id::PeerId;
use crate::seal::Statement;

/// Most bytes of one piece of application data: with its signature it fits one message of the control channel.
pub const DATA_LEN_MAX: usize = 8 * 1024;
/// Most bytes of one that may be lost: with its signature it fits one datagram.
pub const LOOSE_LEN_MAX: usize = 900;

/// How sure it must be that everyone gets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Delivery {
    /// In order, and again where it was lost.
    Reliable,
    /// Once, by whatever way is quickest; an older one never comes after a newer one.
    Loose,
}

/// One piece of application data. Whoever is on stage may sign one; everyone forwards it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Data {
    /// Rises each time its source starts anew: the wall clock in seconds.
    pub run: u64,
    /// Counts the source's pieces of this delivery in this run, from 1.
    pub number: u64,
    /// How sure it must be.
    pub delivery: Delivery,
    /// What the application said.
    pub bytes: List<u8, DATA_LEN_MAX>,
}

impl Statement for Data {
    const CONTEXT: &'static str = "data";
}

/// How far a peer has got in one source's reliable data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataHeld {
    /// Whose.
    pub source: PeerId,
    /// Which run.
    pub run: u64,
    /// Everything below this number is there.
    pub next: u64,
}

/// How far a peer has got in everybody's.
pub type DataHeldAll = List<DataHeld, ROSTER_MAX>;
