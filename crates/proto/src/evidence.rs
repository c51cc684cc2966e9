//! Evidence that the maker of a stream had a mandate: recordings keep it beside the frames, for a verification after
//! the end of the room.

use serde::{Deserialize, Serialize};

use crate::id::{PeerId, RoomId, StreamId, StreamKind, StreamSpec};
use crate::message::{Decided, SignedRoster};
use crate::seal::{SealError, Verifier};

/// Maximum bytes of a piece of evidence: a full roster with a long chain of reigns, and an outcome that all have
/// signed.
pub const EVIDENCE_LEN_MAX: usize = 256 << 10;

/// A stream's properties, the roster under which its maker began it, and the outcome that elected it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    spec: StreamSpec,
    roster: SignedRoster,
    decided: Option<Decided>,
}

/// Reason why evidence shows nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvidenceError {
    /// The bytes have another form.
    #[error("the evidence can't be read")]
    Malformed,
    /// A signature is missing, or belongs to another room.
    #[error("the evidence isn't signed by this room's host")]
    Seal(#[from] SealError),
    /// The roster doesn't list the maker with that role, or no majority and no host has elected it.
    #[error("the room gave the maker no mandate for this stream")]
    NoMandate,
}

/// A maker with a mandate for a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mandated {
    /// The stream.
    pub stream: StreamId,
    /// What the stream is.
    pub kind: StreamKind,
    /// The maker. Its key seals the stream.
    pub maker: PeerId,
    /// Its name at the time.
    pub name: String,
}

impl Evidence {
    /// Returns the evidence of a stream, under the roster that its election counts in.
    pub(crate) fn new(spec: StreamSpec, roster: SignedRoster, decided: Option<Decided>) -> Evidence {
        Evidence { spec, roster, decided }
    }

    /// Encodes the evidence.
    pub fn to_bytes(&self) -> Vec<u8> {
        postcard::to_allocvec(self).unwrap_or_default()
    }

    /// Decodes evidence.
    ///
    /// # Errors
    /// [`EvidenceError::Malformed`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Evidence, EvidenceError> {
        let read = Some(bytes).filter(|bytes| bytes.len() <= EVIDENCE_LEN_MAX);
        read.and_then(|bytes| postcard::from_bytes(bytes).ok()).ok_or(EvidenceError::Malformed)
    }

    /// Checks the chain from the room's root key to the stream's maker. A mixer was elected by a majority of the voters
    /// or with the host's signature, or is the acting mixer before the first election; a speaker is on the roster.
    ///
    /// # Errors
    /// [`EvidenceError`].
    pub fn verify(&self, root: &PeerId) -> Result<Mandated, EvidenceError> {
        let (room, verifier, spec) = (RoomId::of_root(root), &mut Verifier::default(), &self.spec);
        self.roster.verify_with(verifier, &room, root, 0)?;
        let roster = &self.roster.body;
        let decided = self.decided.as_ref().filter(|decided| decided.epoch == self.roster.epoch);
        let is_elected = match decided {
            Some(decided) => {
                decided.verify_with(verifier, &room)?;
                let mut signers = decided.signatures.iter().map(|(signer, _)| signer);
                let counts =
                    signers.clone().any(|signer| *signer == roster.host) || roster.is_majority(&mut signers);
                let outcome = &decided.body;
                counts && outcome.mixers.iter().chain(outcome.standbys.iter()).any(|peer| *peer == spec.maker)
            }
            None => roster.acting == Some(spec.maker),
        };
        let entry = roster.entries.iter().find(|entry| entry.peer == spec.maker);
        let has_mandate = match spec.kind {
            StreamKind::Program | StreamKind::MixMinus => is_elected,
            StreamKind::Speaker | StreamKind::Share | StreamKind::Beside => {
                entry.is_some_and(|entry| entry.speaks)
            }
        };
        let entry = entry.filter(|_| has_mandate).ok_or(EvidenceError::NoMandate)?;
        Ok(Mandated {
            stream: spec.id(&room),
            kind: spec.kind,
            maker: spec.maker,
            name: entry.name.to_string(),
        })
    }
}
