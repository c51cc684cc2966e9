//! Sealing and verification: messages that travel in envelopes, and the signatures in messages.
//!
//! These are the expensive operations, so they stand beside the body's state: a shell does them outside its lock.
//!
//! When the host makes a new invite, members pass its key on, and envelopes are sealed with it from then on. Envelopes under
//! a replaced key count for [`OLD_KEY_US`] more. After that they only let members in that were away meanwhile, which show
//! their ticket.

use std::collections::BTreeMap;

use plenary_proto::message::{GenerationKey, Join, MESSAGE_VERSION, Message, MessageError};
use plenary_proto::seal::{NONCE_LEN, Opener, RoomKey, SealError, Sealer, Verified};
use plenary_proto::{PeerId, RoomId};

/// Time for which all envelopes under a replaced key count. A guess: the new key has passed all links by then.
const OLD_KEY_US: u64 = 10_000_000;
/// Maximum peers that are known to have an older key. Past it the oldest is forgotten.
const BEHIND_MAX: usize = 256;
/// Minimum interval at which peers of another version are told so.
const NOTICE_US: u64 = 1_000_000;
/// Version of a notice, which all versions read: `00`, and the version that its sender speaks.
const NOTICE: u8 = 0;

/// Seals and opens envelopes of one peer in one room.
pub struct Letters {
    room: RoomId,
    root: PeerId,
    sealer: Sealer,
    opener: Opener,
    /// Newest generation of the invite, and when its key came.
    generation: u16,
    renewed_us: Option<u64>,
    /// Peers that sealed their last envelope with an older key, and when.
    behind: BTreeMap<PeerId, (u16, u64)>,
    notice_us: Option<u64>,
}

/// Result of reading bytes from another peer.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one at a time, for a moment")]
pub enum Letter {
    /// A message with valid signatures, and its author.
    Message(PeerId, Verified<Message>),
    /// A peer without a ticket asks to join by an invite that has been replaced.
    OldInvite(PeerId),
    /// The peer speaks another version of the protocol. `is_notice`: it has read this peer's version itself.
    OtherVersion {
        /// The peer.
        from: PeerId,
        /// The version that it speaks.
        version: u8,
        /// Whether it told so in answer to a message of this peer.
        is_notice: bool,
    },
    /// A message of an unknown variant, an expired statement, or a useless envelope: no peer's violation.
    Nothing,
    /// An envelope whose sender's clock differs from this machine's by more than five minutes.
    OtherClock,
    /// The sender violated the protocol.
    Bad(PeerId),
}

impl Letters {
    /// Returns the letters of a peer in the room that `root` founded.
    pub fn new(room: RoomId, root: PeerId, generation: u16, sealer: Sealer, opener: Opener) -> Letters {
        let (renewed_us, behind, notice_us) = (None, BTreeMap::new(), None);
        Letters { room, root, sealer, opener, generation, renewed_us, behind, notice_us }
    }

    /// Seals and opens with the key of a later invite from now on.
    pub fn set_key(&mut self, key: &GenerationKey, now_us: u64) {
        let key = RoomKey::of_member(self.room, key);
        self.generation = key.generation();
        self.renewed_us = Some(now_us);
        self.sealer.set_key(key.clone());
        self.opener.add_key(key);
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
        self.seal_bytes(to, &message.to_bytes(), now_us, nonce)
    }

    /// Seals a notice for a peer that speaks another version; `None` if one was sealed within the last second.
    pub fn seal_notice(&mut self, to: PeerId, now_us: u64, nonce: [u8; NONCE_LEN]) -> Option<Vec<u8>> {
        if self.notice_us.is_some_and(|at| now_us.saturating_sub(at) < NOTICE_US) {
            return None;
        }
        self.notice_us = Some(now_us);
        self.seal_bytes(Some(to), &[NOTICE, MESSAGE_VERSION], now_us, nonce)
    }

    fn seal_bytes(
        &mut self,
        to: Option<PeerId>,
        bytes: &[u8],
        now_us: u64,
        nonce: [u8; NONCE_LEN],
    ) -> Option<Vec<u8>> {
        let now_unix_s = now_us / 1_000_000;
        let older =
            to.and_then(|to| self.behind.get(&to)).and_then(|(generation, _)| self.opener.key(*generation));
        let sealed = match older.cloned() {
            Some(key) => self.sealer.seal_with(&key, to, bytes, now_unix_s, nonce),
            None => self.sealer.seal(to, bytes, now_unix_s, nonce),
        };
        sealed.inspect_err(|error| tracing::warn!("a message could not be sealed: {error}")).ok()
    }

    /// Opens an envelope, and verifies its message.
    pub fn open(&mut self, envelope: &[u8], now_us: u64) -> Letter {
        let opened = match self.opener.open(envelope, now_us / 1_000_000) {
            Ok(opened) => opened,
            Err(SealError::Signature(_)) => return Letter::Nothing, // the true author is unknown
            Err(SealError::Expired) => return Letter::OtherClock,
            Err(error) => {
                tracing::debug!("an envelope is of no use: {error}");
                return Letter::Nothing;
            }
        };
        let from = opened.sender;
        let is_old = opened.generation != self.generation;
        if is_old {
            self.is_behind(from, opened.generation, now_us);
        } else {
            self.behind.remove(&from);
        }
        let letter = self.read(from, &opened.message, now_us);
        let counts = !is_old || self.renewed_us.is_some_and(|at| now_us.saturating_sub(at) < OLD_KEY_US);
        match letter {
            Letter::Message(from, message) if !counts => match &*message {
                Message::Join(Join { ticket: Some(_), .. }) => Letter::Message(from, message),
                Message::Join(_) => Letter::OldInvite(from),
                _ => Letter::Nothing,
            },
            letter => letter,
        }
    }

    /// Remembers that a peer has an older key only.
    fn is_behind(&mut self, peer: PeerId, generation: u16, now_us: u64) {
        if self.behind.len() >= BEHIND_MAX && !self.behind.contains_key(&peer) {
            let oldest = self.behind.iter().min_by_key(|(_, (_, at_us))| *at_us).map(|(peer, _)| *peer);
            oldest.and_then(|oldest| self.behind.remove(&oldest));
        }
        self.behind.insert(peer, (generation, now_us));
    }

    /// Decodes and verifies a message of that author.
    pub fn read(&self, from: PeerId, bytes: &[u8], now_us: u64) -> Letter {
        if let [NOTICE, version] = bytes {
            return Letter::OtherVersion { from, version: *version, is_notice: true };
        }
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
            Err(MessageError::Version(version)) => Letter::OtherVersion { from, version, is_notice: false },
            Err(error) => {
                tracing::warn!(peer = ?from, "{error}");
                Letter::Bad(from)
            }
        }
    }
}
