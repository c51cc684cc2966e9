//! Who may sign rosters: the root key, and after it whoever the stage made host when the host was gone.
//!
//! A roster names heirs. When its host has been away for long, a majority of that roster may make one of them host
//! ([`Reign`]), who signs rosters with its own key from then on. Roster, votes and roster again make a chain from
//! the root key to the signer of the newest one; it travels along, so that anyone can check it who knows the room's
//! id. The number of the reign stands in the highest bits of the epoch: a later reign's rosters are newer than all
//! of an earlier one.

use std::ops::Deref;

use serde::{Deserialize, Serialize};

use super::roster::{ROSTER_MAX, Refusal, Roster, SignedRoster};
use crate::bounded::List;
use crate::id::{PeerId, RoomId};
use crate::seal::{Countersigned, SealError, Signed, Statement, Verifier};

/// Most heirs that a roster names.
pub const HEIRS_MAX: usize = 4;
/// Most hosts after the first: the proofs of three reigns over a full stage, with a full admission, fit an envelope.
/// Past it the last roster stays.
pub const REIGNS_MAX: usize = 3;
/// The bits of an epoch below the number of its reign.
const REIGN_SHIFT: u32 = 28;
/// The highest number of a reign.
pub const REIGN_NUMBER_MAX: u32 = u32::MAX >> REIGN_SHIFT;

/// The number of the reign that an epoch is of; 0 under the root key.
pub fn reign_of(epoch: u32) -> u32 {
    epoch >> REIGN_SHIFT
}

/// The first epoch of a reign.
pub fn first_epoch(number: u32) -> u32 {
    (number.min(REIGN_NUMBER_MAX) << REIGN_SHIFT) + 1
}

/// What the stage signs when its host is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heir {
    /// The number of its reign: above the last, at most [`REIGN_NUMBER_MAX`]. Nobody signs for two under one number.
    pub number: u32,
    /// Who is to be host.
    pub host: PeerId,
}

impl Statement for Heir {
    const CONTEXT: &'static str = "heir";
}

/// One host after another, and the proof.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reign {
    /// The last roster of the host before: it names the heirs and the voters.
    pub under: Signed<Roster>,
    /// The new one, signed by a majority of it ([`Roster::is_majority`]).
    pub chosen: Countersigned<Heir, ROSTER_MAX>,
}

impl Reign {
    /// Whether the votes, whose signatures are checked elsewhere, make that heir host.
    fn is_won(&self) -> bool {
        let Heir { number, host } = self.chosen.body;
        let signers = self.chosen.signatures.iter().map(|(signer, _)| signer);
        self.chosen.epoch == self.under.epoch
            && (reign_of(self.under.epoch) + 1..=REIGN_NUMBER_MAX).contains(&number)
            && self.under.body.heirs.contains(&host)
            && self.under.body.is_majority(signers)
    }
}

/// The hosts since the one with the root key, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reigns(pub List<Reign, REIGNS_MAX>);

impl Reigns {
    /// Who signs for the room by these, and the number of the reign.
    ///
    /// # Errors
    /// [`SealError`] when a signature or a majority is missing somewhere on the way from the root key.
    pub fn verify_with(
        &self,
        verifier: &mut Verifier,
        room: &RoomId,
        root: &PeerId,
        now_unix_s: u64,
    ) -> Result<(PeerId, u32), SealError> {
        let (mut signer, mut number) = (*root, 0);
        for reign in &self.0 {
            reign.under.verify_with(verifier, room, now_unix_s)?;
            reign.chosen.verify_with(verifier, room)?;
            if reign.under.sender != signer || reign_of(reign.under.epoch) != number || !reign.is_won() {
                return Err(SealError::WrongSender);
            }
            Heir { number, host: signer } = reign.chosen.body;
        }
        Ok((signer, number))
    }

    /// Checks that a statement is by whoever signs for the room by these; gives the number of the reign.
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

    /// Whether a roster was signed by a host that had been succeeded, by those who knew the roster before it: nothing
    /// decided under it counts.
    pub fn voids(&self, epoch: u32) -> bool {
        let before = |reign: &Reign| reign.under.epoch;
        self.0.iter().any(|reign| reign_of(before(reign)) == reign_of(epoch) && epoch > before(reign))
    }
}

/// A roster with its signature, and the proof that its signer may sign it; `epoch` and `counter` are its number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProvenRoster {
    /// The roster.
    pub signed: Signed<Roster>,
    /// From the root key to the signer.
    pub reigns: Reigns,
}

impl ProvenRoster {
    /// Checks everything from the root key to the roster.
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

/// By the root key's word.
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

/// A refusal, signed by whoever signs rosters: nobody else can turn a joiner away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedRefusal {
    /// Why, to the joiner.
    pub signed: Signed<Refusal>,
    /// From the root key to the signer.
    pub reigns: Reigns,
}

impl SignedRefusal {
    /// Checks everything from the root key to the refusal.
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
