//! Admission and membership: the rules in the roster, tickets of members, and the key of the invite in force.

use serde::{Deserialize, Serialize};
use zeroize::Zeroize as _;

use super::roster::ROSTER_MAX;
use crate::bounded::List;
use crate::id::PeerId;
use crate::seal::Statement;

/// Maximum removed peers that a roster names. Past it the oldest is dropped: a new invite keeps it out.
pub const REMOVED_MAX: usize = ROSTER_MAX;

/// Maximum agents that a roster names: each gets every speaker's sound of a mixer, some 40 kbit/s a speaker. A guess: a
/// transcriber, and bots for a few languages.
pub const AGENTS_MAX: usize = 8;

/// Media that a speaker doesn't send at present.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Muted {
    /// No picture.
    pub picture: bool,
    /// No sound.
    pub sound: bool,
}

/// The rules by which the host admits newcomers, and the peers that it removed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    /// Generation of the invite. An invite of an earlier generation admits nobody any more; members stay.
    pub generation: u16,
    /// BLAKE3 of the envelope key of this generation, by which members recognize the key.
    pub key_hash: [u8; 16],
    /// No newcomer is admitted.
    pub locked: bool,
    /// Each newcomer waits until the host admits it.
    pub lobby: bool,
    /// The room has ended: every peer leaves.
    pub ended: bool,
    /// Peers that the host removed, the last ones at the end. No peer links with them.
    pub removed: List<PeerId, REMOVED_MAX>,
    /// Peers that get each speaker's sound apart, on stage or not.
    pub agents: List<PeerId, AGENTS_MAX>,
}

impl Access {
    /// Takes a peer's mark as an agent.
    pub(crate) fn unmark(&mut self, peer: &PeerId) {
        self.agents = List::truncated(self.agents.iter().copied().filter(|agent| agent != peer));
    }
}

/// Membership ticket: the host, or a peer on stage in its stead, has admitted this peer. Valid for ten minutes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// The admitted peer.
    pub peer: PeerId,
}

impl Statement for Ticket {
    const CONTEXT: &'static str = "ticket";
}

/// Key of the envelopes of one invite generation, passed between members on their links.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GenerationKey {
    /// Generation of the invite.
    pub generation: u16,
    /// The key.
    pub key: [u8; 32],
}

impl Drop for GenerationKey {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

impl std::fmt::Debug for GenerationKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "GenerationKey({}, …)", self.generation)
    }
}
