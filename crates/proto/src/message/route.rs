//! Envelopes that linked peers forward for others.

use serde::{Deserialize, Serialize};
use strum::EnumCount;

use super::tree::PATH_LEN_MAX;
use crate::bounded::List;
use crate::id::{PeerId, ShortId};
use crate::seal::ENVELOPE_LEN_MAX;

/// Envelopes that are forwarded for others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, EnumCount)]
pub enum RouteMessage {
    /// An envelope to be forwarded to its recipient.
    Relay(Relay),
}

/// Maximum hops of an envelope that linked peers forward: up the sender's path, across the stage, and down
/// the recipient's path.
pub const RELAY_HOPS_MAX: usize = 2 * PATH_LEN_MAX + 4;

/// A sealed envelope that linked peers forward along a route chosen by its sender.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relay {
    /// The peer that sealed the envelope; a reply travels to it along the reversed route.
    pub from: PeerId,
    /// Recipient of the envelope.
    pub to: PeerId,
    /// The peers between sender and recipient, in order.
    pub route: List<ShortId, RELAY_HOPS_MAX>,
    /// Number of peers of the route that the envelope has passed.
    pub passed: u8,
    /// The sealed envelope.
    pub sealed: List<u8, ENVELOPE_LEN_MAX>,
}

impl Relay {
    /// Returns whether the linked peer `by` can have sent this: it is the author, or the last peer that the envelope
    /// has passed. The route names nobody twice, and not the author.
    pub fn may_come_from(&self, by: &PeerId) -> bool {
        let last = match usize::from(self.passed).checked_sub(1) {
            None => Some(self.from.short()),
            Some(last) => self.route.get(last).copied(),
        };
        let mut named: Vec<ShortId> = self.route.iter().copied().chain([self.from.short()]).collect();
        let count = named.len();
        named.sort_unstable();
        named.dedup();
        named.len() == count && last == Some(by.short()) && (self.passed > 0 || self.from == *by)
    }
}
