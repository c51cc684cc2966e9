//! Application data: pieces that a peer on stage sends to the whole room, down the same tree as the program.

use serde::{Deserialize, Serialize};
use strum::EnumCount;

use super::Signatures;
use super::roster::ROSTER_MAX;
use crate::bounded::List;
use crate::id::PeerId;
use crate::seal::{SealError, Signed, Statement};

/// Application data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, EnumCount)]
pub enum DataMessage {
    /// A piece of application data; forwarded.
    Data(Signed<Data>),
    /// The sender's positions in reliable application data: a request for later pieces.
    DataHeld(DataHeldAll),
    /// The sender's positions in reliable application data, sent when a link comes up. A newcomer starts
    /// there.
    DataStands(DataHeldAll),
}

impl DataMessage {
    /// Checks the signatures in the message.
    pub(super) fn check(&self, signatures: &mut Signatures<'_>) -> Result<(), SealError> {
        match self {
            DataMessage::Data(data) => signatures.signed(data),
            DataMessage::DataHeld(_) | DataMessage::DataStands(_) => Ok(()),
        }
    }
}

/// Maximum bytes of one piece of application data. With its signature it fits one message of the control
/// channel.
pub const DATA_LEN_MAX: usize = 8 * 1024;
/// Maximum bytes of one piece of loose (lossy) application data. With its signature it fits one datagram.
pub const LOOSE_LEN_MAX: usize = 900;

/// Delivery guarantee of a piece of application data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "kebab-case")]
pub enum Delivery {
    /// In order and without duplicates; lost pieces are repaired.
    Reliable,
    /// At most once, as a datagram. A piece that arrives after a newer one is dropped.
    Loose,
}

/// One piece of application data. Only peers on stage may sign one; every peer forwards it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Data {
    /// Run of the source: the wall clock, seconds since 1970, of its first publication after a restart. It
    /// therefore rises with each restart.
    pub run: u64,
    /// Sequence number of the piece, counted from 1 per source, run and delivery.
    pub number: u64,
    /// Delivery guarantee.
    pub delivery: Delivery,
    /// Payload, opaque to the brain.
    pub bytes: List<u8, DATA_LEN_MAX>,
}

impl Statement for Data {
    const CONTEXT: &'static str = "data";
}

/// A receiver's position in one source's reliable data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataHeld {
    /// The peer that signed the data.
    pub source: PeerId,
    /// The source's run.
    pub run: u64,
    /// Next expected number: the receiver has every lower one.
    pub next: u64,
}

/// A receiver's positions in the reliable data of all sources.
pub type DataHeldAll = List<DataHeld, ROSTER_MAX>;
