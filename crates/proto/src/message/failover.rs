//! Messages of a failover, by which a peer follows a mixer without an election.

use serde::{Deserialize, Serialize};
use strum::EnumCount;

use super::Signatures;
use super::election::MIXERS_MAX;
use crate::bounded::List;
use crate::id::{PeerId, Rank, RoomId};
use crate::seal::{Countersigned, Keypair, SealError, Signature, Signed, Statement, Verifier};

/// A mixer that is gone, is silent or leaves, and its successor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, EnumCount)]
pub enum FailoverMessage {
    /// A mixer's standby asks a peer on stage for how long the mixer has been silent.
    HearWanted {
        /// The mixer that the standby no longer hears.
        mixer: PeerId,
    },
    /// Answer to [`FailoverMessage::HearWanted`].
    Heard {
        /// The mixer asked about.
        mixer: PeerId,
        /// Time since the answering peer last received anything from the mixer, microseconds; `None` when the
        /// two aren't linked.
        silent_us: Option<u32>,
    },
    /// Declaration of a failover; forwarded down the tree.
    Failover(Signed<Failover>),
    /// Denial of a failover by the living mixer; forwarded down the tree.
    Alive(Signed<Alive>),
    /// A leaving mixer requests that its standby takes over now.
    FailoverWanted {
        /// Rank of the mandate that the mixer gives up.
        rank: Rank,
        /// Signature of the mixer under its [`Resignation`] in favour of the receiver.
        wish: Signature,
    },
}

impl FailoverMessage {
    /// Checks the signatures in the message.
    pub(super) fn check(&self, signatures: &mut Signatures<'_>) -> Result<(), SealError> {
        match self {
            FailoverMessage::Failover(failover) => signatures.failover(failover),
            FailoverMessage::Alive(alive) => signatures.signed(alive),
            _ => Ok(()),
        }
    }
}

/// Maximum failovers of one term; further ones are rejected. Each removes a mixer or a standby from the
/// outcome, so more cannot follow from it.
pub const FAILOVERS_MAX: usize = 2 * MIXERS_MAX;

/// Failover without an election: a standby or another mixer takes over from a mixer that fell silent or
/// leaves.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Failover {
    /// Rank of the new mandate: the same term, and the signer's next failover count.
    pub rank: Rank,
    /// Rank of the mandate that the failover follows.
    pub after: Rank,
    /// The mixer that is replaced.
    pub over: PeerId,
    /// The mixer's signature under its [`Resignation`], if it requested the failover because it leaves.
    pub wish: Option<Box<Signature>>,
}

impl Statement for Failover {
    const CONTEXT: &'static str = "take-over";
}

impl Failover {
    /// Whether the replaced mixer requested the failover.
    pub fn is_polite(&self) -> bool {
        self.wish.is_some()
    }
}

impl Signed<Failover> {
    /// Verifies the signature, and that of the replaced mixer under its wish.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn verify_both(
        &self,
        verifier: &mut Verifier,
        room: &RoomId,
        now_unix_s: u64,
    ) -> Result<(), SealError> {
        self.verify_with(verifier, room, now_unix_s)?;
        let Failover { after, over, wish, .. } = &self.body;
        let body = Resignation { rank: *after, successor: self.sender };
        let signatures = List::truncated(wish.as_deref().map(|signature| (*over, *signature)));
        Countersigned::<_, 1> { epoch: 0, body, signatures }.verify_with(verifier, room)
    }
}

/// A mixer's wish that its standby takes over from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resignation {
    /// Rank of the mandate that the mixer gives up.
    pub rank: Rank,
    /// The standby that takes over.
    pub successor: PeerId,
}

impl Statement for Resignation {
    const CONTEXT: &'static str = "resignation";
}

impl Resignation {
    /// Signs the wish.
    pub fn sign(&self, mixer: &Keypair, room: &RoomId) -> Signature {
        Countersigned::<_, 1>::countersign(mixer, room, 0, self)
    }

    /// Whether the mixer signed the wish.
    pub fn is_by(&self, mixer: &PeerId, room: &RoomId, signature: &Signature) -> bool {
        Countersigned::<_, 1>::verify_one(room, 0, self, mixer, signature).is_ok()
    }
}

/// Denial by a living mixer of a failover over it. In this term the denied successor may take over from that
/// mixer only at the mixer's own request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alive {
    /// Rank of the mandate that the mixer keeps.
    pub rank: Rank,
    /// Rank of the denied failover.
    pub denied: Rank,
    /// The peer that declared the denied failover.
    pub successor: PeerId,
}

impl Statement for Alive {
    const CONTEXT: &'static str = "alive";
}
