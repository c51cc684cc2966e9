//! Sealing and verification: messages that travel in envelopes, and the signatures in messages.
//!
//! These are the expensive operations, so they stand beside the body's state: a shell does them outside its lock.

use plenary_proto::message::{Message, MessageError};
use plenary_proto::seal::{NONCE_LEN, Opener, SealError, Sealer, Verified};
use plenary_proto::{PeerId, RoomId};

/// Seals and opens envelopes of one peer in one room.
pub struct Letters {
    room: RoomId,
    root: PeerId,
    sealer: Sealer,
    opener: Opener,
}

/// Result of reading bytes from another peer.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one at a time, for a moment")]
pub enum Letter {
    /// A message with valid signatures, and its author.
    Message(PeerId, Verified<Message>),
    /// A message of an unknown variant, an expired statement, or a useless envelope: no peer's violation.
    Nothing,
    /// The sender violated the protocol.
    Bad(PeerId),
}

impl Letters {
    /// Returns the letters of a peer in the room that `root` founded.
    pub fn new(room: RoomId, root: PeerId, sealer: Sealer, opener: Opener) -> Letters {
        Letters { room, root, sealer, opener }
    }

    /// Seals a message for a peer, or for the host (`None`). `nonce` must be random. Returns `None` for a message
    /// that is too long for an envelope.
    pub fn seal(
        &mut self,
        to: Option<PeerId>,
        message: &Message,
        now_us: u64,
        nonce: [u8; NONCE_LEN],
    ) -> Option<Vec<u8>> {
        let sealed = self.sealer.seal(to, &message.to_bytes(), now_us / 1_000_000, nonce);
        sealed.inspect_err(|error| tracing::warn!("a message could not be sealed: {error}")).ok()
    }

    /// Opens an envelope, and verifies its message.
    pub fn open(&mut self, envelope: &[u8], now_us: u64) -> Letter {
        match self.opener.open(envelope, now_us / 1_000_000) {
            Ok(opened) => self.read(opened.sender, &opened.message, now_us),
            Err(SealError::Signature(_)) => Letter::Nothing, // the true author is unknown
            Err(error) => {
                tracing::debug!("an envelope is of no use: {error}");
                Letter::Nothing
            }
        }
    }

    /// Decodes and verifies a message of that author.
    pub fn read(&self, from: PeerId, bytes: &[u8], now_us: u64) -> Letter {
        match Message::from_bytes(bytes) {
            Ok(message) => match message.verify(&self.room, &self.root, now_us / 1_000_000) {
                Ok(message) => Letter::Message(from, message),
                // a statement of another peer that the author forwarded may simply be old
                Err(SealError::Expired) => Letter::Nothing,
                Err(error) => {
                    tracing::warn!(peer = ?from, "a signed statement does not hold: {error}");
                    Letter::Bad(from)
                }
            },
            Err(MessageError::Unknown(_)) => Letter::Nothing,
            Err(error) => {
                tracing::warn!(peer = ?from, "{error}");
                Letter::Bad(from)
            }
        }
    }
}
