//! Messages of measurements between two peers.

use serde::{Deserialize, Serialize};
use strum::EnumCount;

use super::tree::Rates;

/// Measurements between two peers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, EnumCount)]
pub enum ProbeMessage {
    /// A measurer requests a packet train from a candidate.
    ProbeWanted {
        /// The requester's number for the train.
        train: u32,
        /// Size of the train, bytes.
        bytes: u32,
        /// Rate of the train, bits per second; 0 for as fast as possible.
        rate_bps: u64,
    },
    /// Refusal to send a train now; the requester may retry.
    ProbeBusy {
        /// The requester's number for the train.
        train: u32,
    },
    /// A child requests that its parent measures the child's uplink.
    UplinkWanted,
    /// A parent reports the measured uplink to its child.
    Uplink {
        /// Measured uplink, bits per second.
        bps: u64,
    },
    /// A child, or a peer on stage, requests the bit rates of the receiver and of the peers above it.
    RatesWanted,
    /// Answer to [`ProbeMessage::RatesWanted`]: known rates of the peers above, the sender's rates last.
    Rates(Rates),
}
