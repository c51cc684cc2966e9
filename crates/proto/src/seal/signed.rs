//! Statements with a signature that says who made them, in which room, for whom and until when.

use std::ops::Deref;

use serde::{Deserialize, Serialize};

use super::keys::{Keypair, Signature, SignatureError};
use super::verifier::Verifier;
use crate::bounded::List;
use crate::id::{PeerId, RoomId};

/// Something that can be signed. `CONTEXT` keeps one kind of statement from being taken for another.
pub trait Statement: Serialize {
    /// Names the kind, in lower case; never changed.
    const CONTEXT: &'static str;
}

/// A statement and its signature, which covers (protocol, kind, room, epoch, sender, recipient, counter,
/// expiry, body).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signed<T> {
    /// Who made it.
    pub sender: PeerId,
    /// For whom; `None` for everyone.
    pub recipient: Option<PeerId>,
    /// The epoch it belongs to: of the roster for statements of the stage, of the key for envelopes.
    pub epoch: u32,
    /// Rises with each statement of one sender, except where the kind says what it counts.
    pub counter: u64,
    /// When it ends, in seconds since 1970; `u64::MAX` for never.
    pub expires_unix_s: u64,
    /// What is stated.
    pub body: T,
    /// The sender's.
    pub signature: Signature,
}

/// What is wrong with a statement or envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// Not signed by whom it says.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// Its time is over.
    #[error("it has expired")]
    Expired,
    /// Its sender is not the one this kind must come from.
    #[error("it comes from the wrong sender")]
    WrongSender,
    /// It was seen before, or is older than what is remembered.
    #[error("it was seen before")]
    Replayed,
    /// It does not open with this room's key.
    #[error("it does not open with this room's key")]
    WrongKey,
    /// It is for somebody else.
    #[error("it is for another peer")]
    WrongRecipient,
    /// The bytes are no statement, or longer than allowed.
    #[error("it cannot be read")]
    Malformed,
}

/// The bytes a signature covers.
fn covered<T: Statement>(
    room: &RoomId,
    epoch: u32,
    sender: &PeerId,
    recipient: Option<&PeerId>,
    counter: u64,
    expires_unix_s: u64,
    body: &T,
) -> Vec<u8> {
    let mut bytes = b"plenary 1 ".to_vec();
    bytes.extend_from_slice(T::CONTEXT.as_bytes());
    bytes.push(0);
    bytes.extend_from_slice(&room.0);
    bytes.extend_from_slice(&epoch.to_be_bytes());
    bytes.extend_from_slice(&sender.0);
    bytes.push(recipient.is_some() as u8);
    bytes.extend_from_slice(recipient.map_or(&[], |recipient| &recipient.0));
    bytes.extend_from_slice(&counter.to_be_bytes());
    bytes.extend_from_slice(&expires_unix_s.to_be_bytes());
    postcard::to_extend(body, bytes).expect("a statement is plain data, and a vector grows")
}

impl<T: Statement> Signed<T> {
    /// Signs `body` for everyone.
    pub fn new(me: &Keypair, room: &RoomId, epoch: u32, counter: u64, expires_unix_s: u64, body: T) -> Self {
        Self::addressed(me, room, None, epoch, counter, expires_unix_s, body)
    }

    /// Signs `body` for `recipient`, or for everyone.
    pub fn addressed(
        me: &Keypair,
        room: &RoomId,
        recipient: Option<PeerId>,
        epoch: u32,
        counter: u64,
        expires_unix_s: u64,
        body: T,
    ) -> Self {
        let sender = me.id();
        let bytes = covered(room, epoch, &sender, recipient.as_ref(), counter, expires_unix_s, &body);
        Signed { sender, recipient, epoch, counter, expires_unix_s, body, signature: me.sign(&bytes) }
    }

    /// Checks signature and expiry.
    ///
    /// # Errors
    /// [`SealError::Signature`] or [`SealError::Expired`].
    pub fn verify(&self, room: &RoomId, now_unix_s: u64) -> Result<(), SealError> {
        self.verify_with(&mut Verifier::default(), room, now_unix_s)
    }

    /// The same, but a signature that `verifier` remembers isn't checked again.
    ///
    /// # Errors
    /// [`SealError::Signature`] or [`SealError::Expired`].
    pub fn verify_with(
        &self,
        verifier: &mut Verifier,
        room: &RoomId,
        now_unix_s: u64,
    ) -> Result<(), SealError> {
        let bytes = covered(
            room,
            self.epoch,
            &self.sender,
            self.recipient.as_ref(),
            self.counter,
            self.expires_unix_s,
            &self.body,
        );
        verifier.verify(&self.sender, &bytes, &self.signature)?;
        if self.expires_unix_s < now_unix_s {
            return Err(SealError::Expired);
        }
        Ok(())
    }
}

/// One statement that several peers signed alike: an election's outcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Countersigned<T, const MAX: usize> {
    /// The epoch of the roster that the signers are of.
    pub epoch: u32,
    /// What they state; the counter of the covered bytes is 0, the expiry never.
    pub body: T,
    /// Who signed, with each signature; no order is promised, and no signer counts twice.
    pub signatures: List<(PeerId, Signature), MAX>,
}

impl<T: Statement, const MAX: usize> Countersigned<T, MAX> {
    /// One peer's signature under `body`.
    pub fn countersign(me: &Keypair, room: &RoomId, epoch: u32, body: &T) -> Signature {
        me.sign(&covered(room, epoch, &me.id(), None, 0, u64::MAX, body))
    }

    /// Checks a signature made by [`countersign`](Self::countersign).
    ///
    /// # Errors
    /// [`SignatureError`] when it does not hold.
    pub fn verify_one(
        room: &RoomId,
        epoch: u32,
        body: &T,
        signer: &PeerId,
        signature: &Signature,
    ) -> Result<(), SignatureError> {
        let bytes = covered(room, epoch, signer, None, 0, u64::MAX, body);
        Verifier::default().verify(signer, &bytes, signature)
    }

    /// Checks every signature. Whether the signers are a majority of their roster is the brain's to judge.
    ///
    /// # Errors
    /// [`SealError::Signature`] when one does not hold.
    pub fn verify(&self, room: &RoomId) -> Result<(), SealError> {
        self.verify_with(&mut Verifier::default(), room)
    }

    /// The same, but a signature that `verifier` remembers isn't checked again.
    ///
    /// # Errors
    /// [`SealError::Signature`] when one does not hold.
    pub fn verify_with(&self, verifier: &mut Verifier, room: &RoomId) -> Result<(), SealError> {
        for (signer, signature) in &self.signatures {
            let bytes = covered(room, self.epoch, signer, None, 0, u64::MAX, &self.body);
            verifier.verify(signer, &bytes, signature)?;
        }
        Ok(())
    }
}

/// Something whose signatures hold. Only this crate makes one, so whoever has one need not check again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified<T>(T);

impl<T> Verified<T> {
    pub(crate) fn new(checked: T) -> Self {
        Verified(checked)
    }

    /// What was checked.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> Deref for Verified<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}
