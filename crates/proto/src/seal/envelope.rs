//! Envelopes: signed messages, encrypted against the rendezvous and the peers that forward them.
//!
//! Bytes: version (1), generation of the room's key (2), nonce (24), XChaCha20-Poly1305 of the postcard of a [`Signed`]
//! message. The room id is part of the associated data. All members share the room's key, so any member can decrypt any
//! envelope. The signature covers the recipient, and an [`Opener`] refuses envelopes for other peers.

use crate::ordered::OrderedMap;
use std::collections::VecDeque;
use std::fmt;

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::keys::Keypair;
use super::signed::{SealError, Signed, Statement};
use crate::id::{PeerId, RoomId};
use crate::message::GenerationKey;

/// Maximum bytes of an envelope; a rendezvous refuses longer ones.
pub const ENVELOPE_LEN_MAX: usize = 96 * 1024;
const VERSION: u8 = 2;
/// Bytes before the nonce: version and generation.
const HEADER_LEN: usize = 3;
/// Bytes of an envelope's nonce, which must be random.
pub const NONCE_LEN: usize = 24;
/// Lifetime of an envelope: five minutes, long enough for clocks that were set by hand, short enough that the
/// memory against replays stays small.
const ENVELOPE_LIFE_S: u64 = 300;
/// Maximum senders remembered against replays: four times the audience of a large room's host.
const SENDERS_MAX: usize = 4096;
/// Maximum keys of one opener: of the invite in force, and of those that it has replaced lately. A guess.
pub(super) const KEYS_MAX: usize = 4;
/// Anti-replay window: an envelope may arrive up to this many counters late (as in RFC 4303).
const WINDOW: u64 = 64;

/// Key of a room's envelopes. Wiped from memory when dropped.
#[derive(Clone)]
pub struct RoomKey {
    room: RoomId,
    generation: u16,
    key: Zeroizing<[u8; 32]>,
    /// Seed of the door of the room's first invite, which later invites keep.
    door: Option<Zeroizing<[u8; 32]>>,
    /// Argon2id hash of the room's password, from which the keys of later invites are derived, too; the password itself
    /// isn't kept. `None` in a room without a password, and in a key that another member passed on.
    password_hash: Option<Zeroizing<[u8; 32]>>,
}

impl RoomKey {
    pub(super) fn new(room: RoomId, generation: u16, key: Zeroizing<[u8; 32]>) -> RoomKey {
        RoomKey { room, generation, key, door: None, password_hash: None }
    }

    pub(super) fn with_password_hash(self, password_hash: Option<Zeroizing<[u8; 32]>>) -> RoomKey {
        RoomKey { password_hash, ..self }
    }

    pub(super) fn password_hash(&self) -> Option<&[u8; 32]> {
        self.password_hash.as_deref()
    }

    /// Returns the id of the key's room.
    pub fn room(&self) -> RoomId {
        self.room
    }

    /// Returns the key with the door of the room's first invite.
    pub(super) fn with_door(self, door: [u8; 32]) -> RoomKey {
        RoomKey { door: Some(Zeroizing::new(door)), ..self }
    }

    /// Returns the key pair by which a holder of an invite proves to a rendezvous that it is one. The rendezvous knows
    /// the public key only, and can't derive this key from it.
    pub fn door(&self) -> Keypair {
        Keypair::from_seed(&self.door_seed())
    }

    /// Returns the secret seed of the door.
    pub fn door_seed(&self) -> Zeroizing<[u8; 32]> {
        let derived = || Zeroizing::new(blake3::derive_key("plenary 1 rendezvous door", &*self.key));
        self.door.clone().unwrap_or_else(derived)
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new((&*self.key).into())
    }

    /// Returns the key of a generation, as another member passed it on.
    pub fn of_member(room: RoomId, key: &GenerationKey) -> RoomKey {
        RoomKey::new(room, key.generation, Zeroizing::new(key.key))
    }

    /// Returns the key as it is passed on to another member.
    pub fn for_member(&self) -> GenerationKey {
        GenerationKey { generation: self.generation, key: *self.key }
    }

    /// Returns the hash by which the roster names the key.
    pub fn hash(&self) -> [u8; 16] {
        key_hash(&self.room, &self.key)
    }

    /// Returns the generation of the invite that the key comes from.
    pub fn generation(&self) -> u16 {
        self.generation
    }

    fn header(&self) -> [u8; HEADER_LEN] {
        let [high, low] = self.generation.to_be_bytes();
        [VERSION, high, low]
    }

    fn associated(&self) -> [u8; HEADER_LEN + 16] {
        let mut associated = [0; HEADER_LEN + 16];
        associated[..HEADER_LEN].copy_from_slice(&self.header());
        associated[HEADER_LEN..].copy_from_slice(&self.room.0);
        associated
    }
}

/// Returns the hash by which a roster names the key of a generation.
pub(crate) fn key_hash(room: &RoomId, key: &[u8; 32]) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new_derive_key("plenary 2 envelope key");
    hasher.update(&room.0).update(key);
    let mut hash = [0; 16];
    hasher.finalize_xof().fill(&mut hash);
    hash
}

impl fmt::Debug for RoomKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RoomKey({:?})", self.room)
    }
}

/// Signed content of an envelope: the bytes of a control message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Letter(Vec<u8>);

impl Statement for Letter {
    const CONTEXT: &'static str = "letter";
}

/// Maximum time at which counters begin, in milliseconds since 1970: the year 2527. Later ones would not fit into a
/// counter.
const COUNTER_MS_MAX: u64 = (1 << 44) - 1;

/// Returns the value from which the counters of a peer's statements rise that starts at this time: the milliseconds
/// since 1970, shifted left by 20. A session that starts a millisecond later counts above all that the earlier one has
/// signed.
pub fn counter_at(unix_us: u64) -> u64 {
    (unix_us / 1_000).min(COUNTER_MS_MAX) << 20
}

/// Seals the messages of one peer.
#[derive(Debug)]
pub struct Sealer {
    me: Keypair,
    key: RoomKey,
    counter: u64,
    has_sealed: bool,
}

impl Sealer {
    /// Creates a sealer that counts from `counter_start`. The start must be above all counters that this key
    /// has used: [`counter_at`] computes one.
    pub fn new(me: Keypair, key: RoomKey, counter_start: u64) -> Sealer {
        Sealer { me, key, counter: counter_start, has_sealed: false }
    }

    /// Counts from the start that a corrected clock gives. A counter in use never falls.
    pub fn count_from(&mut self, start: u64) {
        self.counter = if self.has_sealed { self.counter.max(start) } else { start };
    }

    /// Seals with another key from now on.
    pub fn set_key(&mut self, key: RoomKey) {
        self.key = key;
    }

    /// Returns the generation of the key.
    pub fn generation(&self) -> u16 {
        self.key.generation
    }

    /// Returns the keys of the peer whose messages these are.
    pub fn keys(&self) -> &Keypair {
        &self.me
    }

    /// Seals the bytes of a message. `nonce` must be random; `recipient` is `None` when any member may read
    /// the message.
    ///
    /// # Errors
    /// [`SealError::Malformed`] when the envelope would be longer than [`ENVELOPE_LEN_MAX`].
    pub fn seal(
        &mut self,
        recipient: Option<PeerId>,
        message: &[u8],
        now_unix_s: u64,
        nonce: [u8; NONCE_LEN],
    ) -> Result<Vec<u8>, SealError> {
        let key = self.key.clone();
        self.seal_with(&key, recipient, message, now_unix_s, nonce)
    }

    /// Like [`seal`](Self::seal), with the key of another generation: for a recipient with an older key.
    ///
    /// # Errors
    /// [`SealError::Malformed`] when the envelope would be longer than [`ENVELOPE_LEN_MAX`].
    pub fn seal_with(
        &mut self,
        key: &RoomKey,
        recipient: Option<PeerId>,
        message: &[u8],
        now_unix_s: u64,
        nonce: [u8; NONCE_LEN],
    ) -> Result<Vec<u8>, SealError> {
        self.counter += 1;
        self.has_sealed = true;
        let expires_unix_s = now_unix_s.saturating_add(ENVELOPE_LIFE_S);
        let letter = Letter(message.to_vec());
        let signed =
            Signed::addressed(&self.me, &key.room, recipient, 0, self.counter, expires_unix_s, letter);
        let plain = postcard::to_allocvec(&signed).map_err(|_| SealError::Malformed)?;
        let payload = Payload { msg: &plain, aad: &key.associated() };
        let sealed = key.cipher().encrypt(&XNonce::from(nonce), payload).map_err(|_| SealError::Malformed)?;
        let mut envelope = Vec::with_capacity(HEADER_LEN + NONCE_LEN + sealed.len());
        envelope.extend_from_slice(&key.header());
        envelope.extend_from_slice(&nonce);
        envelope.extend_from_slice(&sealed);
        if envelope.len() > ENVELOPE_LEN_MAX {
            return Err(SealError::Malformed);
        }
        Ok(envelope)
    }
}

/// Content of an opened envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The peer that sealed it.
    pub sender: PeerId,
    /// The bytes of a control message.
    pub message: Vec<u8>,
    /// Generation of the key that it was sealed with.
    pub generation: u16,
}

/// Opens envelopes for one peer, each once.
#[derive(Debug)]
pub struct Opener {
    me: PeerId,
    /// Known keys, the newest last.
    keys: Vec<RoomKey>,
    seen: OrderedMap<PeerId, Seen>,
    order: VecDeque<PeerId>,
}

/// Step of a sender's counter that shows a later session of it. Sessions begin at least 2^20 apart ([`counter_at`]),
/// and a session seals fewer envelopes than this for others between two for one recipient.
const SESSION_STEP: u64 = 1 << 19;

/// Anti-replay state of one sender: its highest counter, and a bitmap of the 64 counters before it.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    newest: u64,
    before: u64,
    /// The sender has restarted, and [`Opener::take_restart`] hasn't told so yet.
    has_restarted: bool,
}

impl Seen {
    fn accept(&mut self, counter: u64) -> bool {
        if counter > self.newest {
            let step = counter - self.newest;
            let shifted = if step < WINDOW { self.before << step } else { 0 };
            let previous = if self.newest > 0 && step <= WINDOW { 1 << (step - 1) } else { 0 };
            let has_restarted = self.has_restarted || (self.newest > 0 && step >= SESSION_STEP);
            *self = Seen { newest: counter, before: shifted | previous, has_restarted };
            return true;
        }
        let age = self.newest - counter;
        if age == 0 || age > WINDOW {
            return false;
        }
        let bit = 1 << (age - 1);
        let fresh = self.before & bit == 0;
        self.before |= bit;
        fresh
    }
}

impl Opener {
    /// Creates an opener for envelopes sealed with `key`, for `me` or for all members.
    pub fn new(me: PeerId, key: RoomKey) -> Opener {
        Opener { me, keys: vec![key], seen: OrderedMap::new(), order: VecDeque::new() }
    }

    /// Opens envelopes sealed with these keys of earlier invites too, the newest of them last.
    #[must_use]
    pub fn with_earlier(mut self, keys: Vec<RoomKey>) -> Opener {
        let free = KEYS_MAX.saturating_sub(self.keys.len());
        let surplus = keys.len().saturating_sub(free);
        self.keys.splice(..0, keys.into_iter().skip(surplus));
        self
    }

    /// Opens envelopes sealed with this key too. Of more than four keys the oldest is forgotten.
    pub fn add_key(&mut self, key: RoomKey) {
        if self.keys.len() == KEYS_MAX {
            self.keys.remove(0);
        }
        self.keys.push(key);
    }

    /// Returns the key of a generation.
    pub fn key(&self, generation: u16) -> Option<&RoomKey> {
        self.keys.iter().find(|key| key.generation == generation)
    }

    /// Decrypts an envelope, and checks recipient, signature, expiry and replay.
    ///
    /// # Errors
    /// Each variant of [`SealError`] but `WrongSender`. The counter of a refused envelope is not remembered.
    pub fn open(&mut self, envelope: &[u8], now_unix_s: u64) -> Result<Opened, SealError> {
        if envelope.len() > ENVELOPE_LEN_MAX {
            return Err(SealError::Malformed);
        }
        let (header, rest) = envelope.split_first_chunk::<HEADER_LEN>().ok_or(SealError::Malformed)?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>().ok_or(SealError::Malformed)?;
        if header[0] != VERSION {
            return Err(SealError::Malformed);
        }
        let key = self.keys.iter().find(|key| key.header() == *header).ok_or(SealError::WrongKey)?;
        let (room, generation) = (key.room, key.generation);
        let payload = Payload { msg: sealed, aad: &key.associated() };
        let plain = key.cipher().decrypt(&XNonce::from(*nonce), payload).map_err(|_| SealError::WrongKey)?;
        let signed: Signed<Letter> = postcard::from_bytes(&plain).map_err(|_| SealError::Malformed)?;
        if signed.recipient.is_some_and(|recipient| recipient != self.me) {
            return Err(SealError::WrongRecipient);
        }
        signed.verify(&room, now_unix_s)?;
        if signed.expires_unix_s > now_unix_s.saturating_add(2 * ENVELOPE_LIFE_S) {
            // the sender's clock is so far ahead that the envelope would outlive the memory against replays
            return Err(SealError::Expired);
        }
        if !self.remembered(signed.sender).accept(signed.counter) {
            return Err(SealError::Replayed);
        }
        Ok(Opened { sender: signed.sender, message: signed.body.0, generation })
    }

    /// Returns, once, whether a sender's envelopes are those of a later session than before: its process has restarted.
    pub fn take_restart(&mut self, sender: &PeerId) -> bool {
        self.seen.get_mut(sender).is_some_and(|seen| std::mem::take(&mut seen.has_restarted))
    }

    fn remembered(&mut self, sender: PeerId) -> &mut Seen {
        if !self.seen.contains_key(&sender) {
            if self.order.len() >= SENDERS_MAX
                && let Some(oldest) = self.order.pop_front()
            {
                self.seen.remove(&oldest);
            }
            self.order.push_back(sender);
        }
        self.seen.entry(sender).or_default()
    }
}
