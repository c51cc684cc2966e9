//! Messages that travel in envelopes: sealed on the way out, opened and verified on the way in.

use bytes::Bytes;
use plenary_proto::message::{Message, MessageError};
use plenary_proto::seal::{Opener, SealError, Sealer, Verified};
use plenary_proto::{PeerId, RoomId};

use crate::random_bytes;

/// What seals and opens for one peer in one room.
pub(crate) struct Letters {
    room: RoomId,
    root: PeerId,
    sealer: Sealer,
    opener: Opener,
}

/// What came of bytes from another peer.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one at a time, for a moment")]
pub(crate) enum Letter {
    /// A message whose signatures hold.
    Message(PeerId, Verified<Message>),
    /// A later version's message, or an envelope that is of no use: nobody's fault.
    Nothing,
    /// The sender violated the protocol.
    Bad(PeerId),
}

impl Letters {
    pub(crate) fn new(room: RoomId, root: PeerId, sealer: Sealer, opener: Opener) -> Letters {
        Letters { room, root, sealer, opener }
    }

    /// Seals a message; `None` when it is too long for an envelope.
    pub(crate) fn seal(&mut self, to: Option<PeerId>, message: &Message, now_us: u64) -> Option<Bytes> {
        let sealed = self.sealer.seal(to, &message.to_bytes(), now_us / 1_000_000, random_bytes());
        match sealed {
            Ok(sealed) => Some(Bytes::from(sealed)),
            Err(error) => {
                tracing::warn!("a message could not be sealed: {error}");
                None
            }
        }
    }

    /// Opens an envelope.
    pub(crate) fn open(&mut self, envelope: &[u8], now_us: u64) -> Letter {
        match self.opener.open(envelope, now_us / 1_000_000) {
            Ok(opened) => self.read(opened.sender, &opened.message, now_us),
            Err(SealError::Signature(_)) => Letter::Nothing, // whoever made it didn't sign as whom it says
            Err(error) => {
                tracing::debug!("an envelope is of no use: {error}");
                Letter::Nothing
            }
        }
    }

    /// Reads and verifies the bytes of a message that `from` wrote.
    pub(crate) fn read(&self, from: PeerId, bytes: &[u8], now_us: u64) -> Letter {
        match Message::from_bytes(bytes) {
            Ok(message) => match message.verify(&self.room, &self.root, now_us / 1_000_000) {
                Ok(message) => Letter::Message(from, message),
                // what others stated and this peer forwarded may simply be old
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
