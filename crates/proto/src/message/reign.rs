//! Host succession: the proof that a peer may sign rosters, after the root key's holder or a later host is
//! gone.
//!
//! A roster names heirs. When the host has been silent for long, a majority of that roster may make one of
//! the heirs host. The host may also name its successor, and the root key may name the host at any time. The new
//! host signs rosters with its own key from then on: its [`Reign`].
//!
//! Roster, votes, next roster and so on form a chain from the root key to the signer of the newest roster.
//! The chain travels with the roster, so every peer that knows the room's id can check it. The number of the
//! reign is in the highest bits of the epoch, so all rosters of a later reign are newer than those of an
//! earlier one.

use std::ops::Deref;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use strum::EnumCount;

use super::Signatures;
use super::access::Muted;
use super::roster::{ROSTER_MAX, Refusal, Roster, Weight};
use crate::bounded::List;
use crate::id::{PeerId, RoomId};
use crate::seal::{Countersigned, SealError, Signature, Signed, Statement, Verifier};

/// Orders of the host to members, reports to the host, and votes for heirs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, EnumCount)]
pub enum HostMessage {
    /// The host offers the receiver the floor (true), or takes or denies it (false).
    Floor(bool),
    /// The host asks a speaker to send no picture or no sound.
    MuteWanted(Muted),
    /// A mixer in force reports the number of viewers in its tree to the host.
    Audience {
        /// Number of viewers in the sender's tree.
        viewers: u32,
        /// Number of those off stage that record what they receive.
        recorders: u32,
    },
    /// The host hands the room over to the receiver, which signs the next roster.
    HandOver(Signed<Successor>),
    /// An heir asks the stage to make it host, since the host is silent.
    ReignWanted {
        /// Epoch of the last roster.
        epoch: u32,
        /// Number of the proposed reign.
        number: u32,
    },
    /// Answer to [`HostMessage::ReignWanted`].
    ReignVote {
        /// Epoch of the last roster.
        epoch: u32,
        /// Number of the proposed reign.
        number: u32,
        /// Signature under the [`Heir`]; `None` when the voter has signed for another heir under this number.
        signature: Option<Signature>,
    },
}

impl HostMessage {
    /// Checks the signatures in the message, but for votes, which the brain checks: it knows the signed statement.
    pub(super) fn check(&self, signatures: &mut Signatures<'_>) -> Result<(), SealError> {
        match self {
            HostMessage::HandOver(named) => signatures.signed(named),
            _ => Ok(()),
        }
    }
}

/// Maximum reigns after the root key's. The proofs of three reigns over a full stage, with a full admission,
/// still fit an envelope. After the last reign the last roster stays in force.
pub const REIGNS_MAX: usize = 3;
/// Position of the reign's number in an epoch: the bits below it count the reign's rosters. A million rosters are a
/// change each second for twelve days.
const REIGN_SHIFT: u32 = 20;
/// Maximum number of a reign.
pub const REIGN_NUMBER_MAX: u32 = u32::MAX >> REIGN_SHIFT;
/// Maximum distance of a chosen reign's number above the last one: divided votes use up a number each, and no
/// majority may use up all numbers. A guess.
pub(crate) const REIGNS_AHEAD_MAX: u32 = 16;

/// Returns the number of the reign that an epoch belongs to; 0 under the root key.
pub fn reign_of(epoch: u32) -> u32 {
    epoch >> REIGN_SHIFT
}

/// Returns the first epoch of a reign.
pub fn first_epoch(number: u32) -> u32 {
    (number.min(REIGN_NUMBER_MAX) << REIGN_SHIFT) + 1
}

/// Proposal of a new host, countersigned by the stage when the host is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heir {
    /// Number of the reign: above the last one, at most [`REIGN_NUMBER_MAX`]. A peer signs for at most one
    /// heir per number.
    pub number: u32,
    /// The heir that becomes host.
    pub host: PeerId,
}

impl Statement for Heir {
    const CONTEXT: &'static str = "heir";
}

/// Appointment of a host by the key that signs rosters, or by the root key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Successor {
    /// Number of the reign: above the last one.
    pub number: u32,
    /// The peer that becomes host.
    pub host: PeerId,
}

impl Statement for Successor {
    const CONTEXT: &'static str = "successor";
}

/// Succession of one host to another, with its proof.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(clippy::large_enum_variant, reason = "a chain has at most three, on the heap")]
pub enum Reign {
    /// The stage chose an heir, because the host was silent.
    Chosen {
        /// The last roster of the preceding host, which names the heirs and the voters.
        under: Signed<Roster>,
        /// The new host, countersigned by a majority of that roster ([`Roster::weigh`]).
        chosen: Countersigned<Heir, ROSTER_MAX>,
    },
    /// The preceding host named its successor, or the root key the host, after any reign. The statement's
    /// epoch is that of the last roster before.
    Named {
        /// The new host.
        named: Signed<Successor>,
    },
}

impl Reign {
    /// Returns the number of the reign.
    pub fn number(&self) -> u32 {
        match self {
            Reign::Chosen { chosen, .. } => chosen.body.number,
            Reign::Named { named } => named.body.number,
        }
    }

    /// Returns the host of the reign.
    pub fn host(&self) -> PeerId {
        match self {
            Reign::Chosen { chosen, .. } => chosen.body.host,
            Reign::Named { named } => named.body.host,
        }
    }

    /// Returns whether the reign names a peer: as its host, or as the preceding host.
    pub(crate) fn involves(&self, peer: &PeerId) -> bool {
        let before = match self {
            Reign::Chosen { under, .. } => under.body.host,
            Reign::Named { named } => named.sender,
        };
        self.host() == *peer || before == *peer
    }

    /// Whether a majority of the stage chose the host, without its predecessor's signature.
    pub fn is_chosen(&self) -> bool {
        matches!(self, Reign::Chosen { .. })
    }

    /// Whether the root key named the host.
    pub fn is_by(&self, root: &PeerId) -> bool {
        matches!(self, Reign::Named { named } if named.sender == *root)
    }

    /// Returns what the proof weighs.
    pub fn weight(&self) -> Weight {
        match self {
            Reign::Chosen { under, chosen } => {
                under.body.weigh(chosen.signatures.iter().map(|(signer, _)| signer))
            }
            Reign::Named { .. } => Weight::Majority,
        }
    }

    /// Returns the epoch of the last roster before the reign.
    fn after(&self) -> u32 {
        match self {
            Reign::Chosen { under, .. } => under.epoch,
            Reign::Named { named } => named.epoch,
        }
    }

    /// Checks the reign as the one after the reign `before`; `signer` signed the rosters of that one.
    fn verify_after(
        &self,
        (signer, before): (PeerId, u32),
        verifier: &mut Verifier,
        (room, root): (&RoomId, &PeerId),
        now_unix_s: u64,
    ) -> Result<(), SealError> {
        let (number, host) = (self.number(), self.host());
        let proper = match self {
            Reign::Chosen { under, chosen } => {
                under.verify_with(verifier, room, now_unix_s)?;
                chosen.verify_with(verifier, room)?;
                under.sender == signer
                    && chosen.epoch == under.epoch
                    && number <= before + REIGNS_AHEAD_MAX
                    && under.body.heirs.contains(&host)
                    && self.weight() != Weight::Few
            }
            Reign::Named { named } => {
                named.verify_with(verifier, room, now_unix_s)?;
                named.sender == *root || named.sender == signer
            }
        };
        let follows = self.is_by(root) || reign_of(self.after()) == before;
        let rises = (before + 1..=REIGN_NUMBER_MAX).contains(&number);
        if !proper || !follows || !rises || reign_of(self.after()) >= number {
            return Err(SealError::WrongSender);
        }
        Ok(())
    }
}

/// Chain of successions since the host with the root key, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reigns(pub List<Reign, REIGNS_MAX>);

impl Reigns {
    /// Returns the peer that signs for the room at the end of the chain, and the number of its reign.
    ///
    /// # Errors
    /// [`SealError`] when a signature or a majority is missing somewhere in the chain from the root key.
    pub fn verify_with(
        &self,
        verifier: &mut Verifier,
        room: &RoomId,
        root: &PeerId,
        now_unix_s: u64,
    ) -> Result<(PeerId, u32), SealError> {
        let (mut signer, mut number) = (*root, 0);
        for reign in &self.0 {
            reign.verify_after((signer, number), verifier, (room, root), now_unix_s)?;
            (signer, number) = (reign.host(), reign.number());
        }
        Ok((signer, number))
    }

    /// Checks that the host at the end of the chain signed a statement; returns the number of its reign.
    fn verify_signed<T: Statement>(
        &self,
        signed: &Signed<T>,
        verifier: &mut Verifier,
        room: &RoomId,
        root: &PeerId,
        now_unix_s: u64,
    ) -> Result<u32, SealError> {
        let (signer, number) = self.verify_with(verifier, room, root, now_unix_s)?;
        if signed.sender != signer {
            return Err(SealError::WrongSender);
        }
        signed.verify_with(verifier, room, now_unix_s)?;
        Ok(number)
    }

    /// Returns the last rosters of hosts that the stage replaced, in order.
    pub(crate) fn superseded(&self) -> impl Iterator<Item = &Signed<Roster>> {
        self.0.iter().filter_map(|reign| match reign {
            Reign::Chosen { under, .. } => Some(under),
            Reign::Named { .. } => None,
        })
    }

    /// Returns the number of the last reign; 0 for that of the root key.
    pub fn number(&self) -> u32 {
        self.0.last().map_or(0, Reign::number)
    }

    /// Returns the host that the root key named last; `None` if it named none.
    pub fn host_by(&self, root: &PeerId) -> Option<PeerId> {
        self.0.iter().rev().find(|reign| reign.is_by(root)).map(Reign::host)
    }

    /// Whether a roster of this epoch is void: its host signed it after the roster that the next reign follows.
    /// Nothing decided under a void roster counts.
    pub fn voids(&self, epoch: u32) -> bool {
        let before = Reign::after;
        self.0.iter().any(|reign| reign_of(before(reign)) == reign_of(epoch) && epoch > before(reign))
    }
}

/// A roster with its host's signature and chain of reigns. Shared and immutable: it is kept for many epochs
/// and sent to every peer.
pub type SignedRoster = Arc<ProvenRoster>;

/// A signed roster with the proof that its signer is host. The statement's `epoch` and `counter` are the
/// roster's number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProvenRoster {
    /// The signed roster.
    pub signed: Signed<Roster>,
    /// Chain from the root key to the signer.
    pub reigns: Reigns,
}

impl ProvenRoster {
    /// Checks the chain from the root key, and the roster's signature.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn verify_with(
        &self,
        verifier: &mut Verifier,
        room: &RoomId,
        root: &PeerId,
        now_unix_s: u64,
    ) -> Result<(), SealError> {
        let number = self.reigns.verify_signed(&self.signed, verifier, room, root, now_unix_s)?;
        if reign_of(self.epoch) == number { Ok(()) } else { Err(SealError::WrongSender) }
    }
}

/// A roster signed by the root key, which needs no chain.
impl From<Signed<Roster>> for SignedRoster {
    fn from(signed: Signed<Roster>) -> SignedRoster {
        SignedRoster::new(ProvenRoster { signed, reigns: Reigns::default() })
    }
}

impl Deref for ProvenRoster {
    type Target = Signed<Roster>;
    fn deref(&self) -> &Signed<Roster> {
        &self.signed
    }
}

/// A refusal, signed like a roster: no peer but the host can turn a joiner away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedRefusal {
    /// Reason, addressed to the joiner.
    pub signed: Signed<Refusal>,
    /// Chain from the root key to the signer.
    pub reigns: Reigns,
}

impl SignedRefusal {
    /// Checks the chain from the root key, and the refusal's signature.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn verify_with(
        &self,
        verifier: &mut Verifier,
        room: &RoomId,
        root: &PeerId,
        now_unix_s: u64,
    ) -> Result<(), SealError> {
        self.reigns.verify_signed(&self.signed, verifier, room, root, now_unix_s).map(drop)
    }
}
