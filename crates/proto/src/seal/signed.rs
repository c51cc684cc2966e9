//! Signed statements: the signature binds author, room, recipient and expiry.

use std::ops::Deref;

use serde::{Deserialize, Serialize};

use super::keys::{Keypair, Signature, SignatureError};
use super::verifier::Verifier;
use crate::bounded::List;
use crate::id::{PeerId, RoomId};

/// A kind of statement that can be signed. `CONTEXT` separates the domains of different kinds.
pub trait Statement: Serialize {
    /// Name of the kind, in lower case; never changed.
    const CONTEXT: &'static str;
}

/// A statement and its signature, which covers (protocol, kind, room, epoch, sender, recipient, counter,
/// expiry, body).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signed<T> {
    /// Author of the statement.
    pub sender: PeerId,
    /// Recipient; `None` for all members.
    pub recipient: Option<PeerId>,
    /// Epoch that the statement belongs to: of the roster for statements of the stage, of the key (0 so far)
    /// for envelopes.
    pub epoch: u32,
    /// Counter that rises with each statement of one sender, unless the kind defines it otherwise: a roster's
    /// is its epoch.
    pub counter: u64,
    /// Expiry, seconds since 1970; `u64::MAX` for never.
    pub expires_unix_s: u64,
    /// The statement itself.
    pub body: T,
    /// Signature of the sender.
    pub signature: Signature,
}

/// Error of a statement or envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The stated sender did not sign it.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// It has expired, or the expiry of an envelope is too far ahead.
    #[error("it has expired")]
    Expired,
    /// Its sender may not make statements of this kind.
    #[error("it comes from the wrong sender")]
    WrongSender,
    /// It was opened before, or is older than the replay window.
    #[error("it was seen before")]
    Replayed,
    /// It does not decrypt with this room's key.
    #[error("it does not open with this room's key")]
    WrongKey,
    /// Its recipient is another peer.
    #[error("it is for another peer")]
    WrongRecipient,
    /// It is malformed, or longer than allowed.
    #[error("it cannot be read")]
    Malformed,
}

/// Returns the bytes that a signature covers.
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
    /// Signs `body` for all members.
    pub fn new(me: &Keypair, room: &RoomId, epoch: u32, counter: u64, expires_unix_s: u64, body: T) -> Self {
        Self::addressed(me, room, None, epoch, counter, expires_unix_s, body)
    }

    /// Signs `body` for `recipient`, or for all members.
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

    /// Verifies signature and expiry.
    ///
    /// # Errors
    /// [`SealError::Signature`] or [`SealError::Expired`].
    pub fn verify(&self, room: &RoomId, now_unix_s: u64) -> Result<(), SealError> {
        self.verify_with(&mut Verifier::default(), room, now_unix_s)
    }

    /// Like [`verify`](Self::verify), but skips a signature that `verifier` remembers.
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

/// A statement that several peers signed: the outcome of an election, for example.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Countersigned<T, const MAX: usize> {
    /// Epoch of the signers' roster.
    pub epoch: u32,
    /// The statement itself. Each signature covers counter 0 and no expiry.
    pub body: T,
    /// Signers and their signatures, in no particular order. A signer counts once.
    pub signatures: List<(PeerId, Signature), MAX>,
}

impl<T: Statement, const MAX: usize> Countersigned<T, MAX> {
    /// Signs `body` as one of the signers.
    pub fn countersign(me: &Keypair, room: &RoomId, epoch: u32, body: &T) -> Signature {
        me.sign(&covered(room, epoch, &me.id(), None, 0, u64::MAX, body))
    }

    /// Verifies a signature made by [`countersign`](Self::countersign).
    ///
    /// # Errors
    /// [`SignatureError`] when it is invalid.
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

    /// Verifies every signature. The brain checks whether the signers are a majority of their roster.
    ///
    /// # Errors
    /// [`SealError::Signature`] when one is invalid.
    pub fn verify(&self, room: &RoomId) -> Result<(), SealError> {
        self.verify_with(&mut Verifier::default(), room)
    }

    /// Like [`verify`](Self::verify), but skips signatures that `verifier` remembers.
    ///
    /// # Errors
    /// [`SealError::Signature`] when one is invalid.
    pub fn verify_with(&self, verifier: &mut Verifier, room: &RoomId) -> Result<(), SealError> {
        for (signer, signature) in &self.signatures {
            let bytes = covered(room, self.epoch, signer, None, 0, u64::MAX, &self.body);
            verifier.verify(signer, &bytes, signature)?;
        }
        Ok(())
    }
}

/// A value with verified signatures. Only this crate constructs it, so its holder need not verify again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified<T>(T);

impl<T> Verified<T> {
    pub(crate) fn new(checked: T) -> Self {
        Verified(checked)
    }

    /// Returns the verified value.
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
