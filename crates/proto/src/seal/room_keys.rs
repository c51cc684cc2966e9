//! Keys of a room, as its host keeps them.

use zeroize::Zeroizing;

use super::envelope::KEYS_MAX;
use super::invite::derive;
use super::{DoorSeed, Invite, InviteError, Keypair, RoomKey, RoomSecret};
use crate::PeerId;
use crate::app::Reason;
use crate::message::{Access, REMOVED_MAX, reign_of};

/// Version of the encoded keys.
const VERSION: u8 = 5;
/// Version without earlier invites, which is read too.
const VERSION_WITHOUT_EARLIER: u8 = 4;
/// Bytes before the earlier invites and the removed peers: version, root key, host's key, secret, generation, door,
/// hash of the key, reign, lock, number of earlier invites.
const FIXED_LEN: usize = 1 + 32 + 32 + 16 + 2 + 32 + 16 + 4 + 1 + 1;
/// Bytes of an earlier invite: generation and secret.
const EARLIER_LEN: usize = 2 + 16;
/// Maximum earlier invites: the newest one's key and theirs fill an [`Opener`](super::Opener).
const EARLIER_MAX: usize = KEYS_MAX - 1;

/// Generation and secret of an earlier invite.
pub type Earlier = (u16, RoomSecret);

/// Bytes that are no room keys of this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", Reason::BadKeys)]
pub struct NoRoomKeys;

/// Keys of a room. Their holder hosts the room, also after a restart: members accept it, and invites stay good.
#[derive(Clone)]
pub struct RoomKeys {
    /// The room's root key.
    pub root: Keypair,
    /// The host's own key.
    pub host: Keypair,
    /// Secret of the newest invite.
    pub secret: RoomSecret,
    /// Generation of the newest invite.
    pub generation: u16,
    /// Generations and secrets of the invites that the newest has replaced lately, at most three: by these members come
    /// back, and others are told that the invite was replaced.
    pub earlier: Vec<Earlier>,
    /// Door of the room's first invite, once there is a later one.
    pub door: Option<DoorSeed>,
    /// Hash of the newest invite's key, once the room has been open: another password would give another key, which no
    /// member has.
    pub key_hash: Option<[u8; 16]>,
    /// Peers that the host has removed, the last ones at the end.
    pub removed: Vec<PeerId>,
    /// Number of the reign under which the room opens next.
    pub reign: u32,
    /// Whether the room is locked: nobody new is admitted.
    pub locked: bool,
}

impl RoomKeys {
    /// Returns the keys of a new room.
    pub fn new(root: Keypair, host: Keypair, secret: RoomSecret) -> RoomKeys {
        RoomKeys {
            root,
            host,
            secret,
            generation: 0,
            earlier: Vec::new(),
            door: None,
            key_hash: None,
            removed: Vec::new(),
            reign: 0,
            locked: false,
        }
    }

    /// Returns the newest invite and its key, as the room opens with this password. The places are those of
    /// [`Invite::places`]. Takes about 60 ms of processor time when there is a password.
    ///
    /// # Errors
    /// [`InviteError::PasswordNeeded`] and [`InviteError::WrongPassword`] if the room was open with another password
    /// before.
    pub fn open(
        &mut self,
        password: Option<&str>,
        stage_open: bool,
        (place, hint): (Option<String>, Option<String>),
        expires_unix_s: u64,
    ) -> Result<(Invite, RoomKey), InviteError> {
        let secret = (self.generation, self.secret.clone());
        let hints = hint.as_deref();
        let invite =
            Invite::create(&self.root, secret, password, stage_open, place, hints.as_slice(), expires_unix_s);
        let invite = invite.with_door(self.door.clone());
        let key = invite.key(password)?;
        match (self.key_hash, password) {
            (Some(hash), None) if hash != key.hash() => return Err(InviteError::PasswordNeeded),
            (Some(hash), Some(_)) if hash != key.hash() => return Err(InviteError::WrongPassword),
            _ => self.key_hash = Some(key.hash()),
        }
        Ok((invite, key))
    }

    /// Returns the keys of the earlier invites, beside that of the newest.
    pub fn earlier_keys(&self, newest: &RoomKey) -> Vec<RoomKey> {
        let (room, hash) = (newest.room(), newest.password_hash());
        let derived = |(generation, secret): &Earlier| derive(*generation, secret, hash, &room).0;
        self.earlier.iter().map(derived).collect()
    }

    /// Notes the room's newest invite, and its key.
    pub fn follow(&mut self, invite: &Invite, key: &RoomKey) {
        if invite.generation() != self.generation {
            self.earlier.push((self.generation, self.secret.clone()));
            self.earlier.drain(..self.earlier.len().saturating_sub(EARLIER_MAX));
        }
        (self.secret, self.generation) = (invite.secret().clone(), invite.generation());
        (self.door, self.key_hash) = (invite.door().cloned(), Some(key.hash()));
    }

    /// Returns the keys with which the room opens next, after a session that ended in this epoch with this access:
    /// peers that were removed stay out, a locked room stays locked, and no statement of the session counts. The host
    /// may have handed the room over to a peer that never began its reign, so the next reign is two above.
    #[must_use]
    pub fn after(mut self, epoch: u32, access: &Access) -> RoomKeys {
        self.reign = self.reign.max(reign_of(epoch).saturating_add(2));
        self.removed = access.removed.to_vec();
        self.locked = access.locked;
        self
    }

    /// Encodes the keys, to store them.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(
            FIXED_LEN + EARLIER_LEN * self.earlier.len() + 32 * self.removed.len(),
        ));
        bytes.push(VERSION);
        bytes.extend_from_slice(&*self.root.seed());
        bytes.extend_from_slice(&*self.host.seed());
        bytes.extend_from_slice(&self.secret.0);
        bytes.extend_from_slice(&self.generation.to_be_bytes());
        bytes.extend_from_slice(&self.door.as_ref().map_or([0; 32], |door| door.0));
        bytes.extend_from_slice(&self.key_hash.unwrap_or([0; 16]));
        bytes.extend_from_slice(&self.reign.to_be_bytes());
        bytes.push(self.locked.into());
        bytes.push(self.earlier.len() as u8);
        for (generation, secret) in &self.earlier {
            bytes.extend_from_slice(&generation.to_be_bytes());
            bytes.extend_from_slice(&secret.0);
        }
        self.removed.iter().for_each(|peer| bytes.extend_from_slice(&peer.0));
        bytes
    }

    /// Decodes keys.
    ///
    /// # Errors
    /// [`NoRoomKeys`] if the bytes are not those of [`to_bytes`](Self::to_bytes).
    pub fn from_bytes(bytes: &[u8]) -> Result<RoomKeys, NoRoomKeys> {
        let (version, rest) = bytes.split_first().ok_or(NoRoomKeys)?;
        let (root, rest) = rest.split_first_chunk().ok_or(NoRoomKeys)?;
        let (host, rest) = rest.split_first_chunk().ok_or(NoRoomKeys)?;
        let (secret, rest) = rest.split_first_chunk().ok_or(NoRoomKeys)?;
        let (generation, rest) = rest.split_first_chunk().ok_or(NoRoomKeys)?;
        let (door, rest) = rest.split_first_chunk().ok_or(NoRoomKeys)?;
        let (key_hash, rest) = rest.split_first_chunk().ok_or(NoRoomKeys)?;
        let (reign, rest) = rest.split_first_chunk().ok_or(NoRoomKeys)?;
        let (locked, rest) = rest.split_first().filter(|(locked, _)| **locked <= 1).ok_or(NoRoomKeys)?;
        let (earlier, removed) = match *version {
            VERSION_WITHOUT_EARLIER => (Vec::new(), rest),
            _ => earlier_invites(rest).ok_or(NoRoomKeys)?,
        };
        let key_hash = (*key_hash != [0; 16]).then_some(*key_hash);
        let door = (*door != [0; 32]).then_some(DoorSeed(*door));
        let generation = u16::from_be_bytes(*generation);
        let (removed, rest) = removed.as_chunks::<32>();
        if ![VERSION, VERSION_WITHOUT_EARLIER].contains(version)
            || !rest.is_empty()
            || removed.len() > REMOVED_MAX
        {
            return Err(NoRoomKeys);
        }
        let removed = removed.iter().map(|id| PeerId(*id)).collect();
        let [root, host] = [root, host].map(Keypair::from_seed);
        let (secret, reign) = (RoomSecret(*secret), u32::from_be_bytes(*reign));
        let locked = *locked == 1;
        Ok(RoomKeys { root, host, secret, generation, earlier, door, key_hash, removed, reign, locked })
    }
}

/// Reads the earlier invites; returns them and the rest of the bytes.
fn earlier_invites(bytes: &[u8]) -> Option<(Vec<Earlier>, &[u8])> {
    let (count, rest) = bytes.split_first().filter(|(count, _)| usize::from(**count) <= EARLIER_MAX)?;
    let (listed, rest) = rest.split_at_checked(EARLIER_LEN * usize::from(*count))?;
    let (listed, _) = listed.as_chunks::<EARLIER_LEN>();
    let read = listed.iter().map(|bytes| {
        let ([high, low], secret) = bytes.split_first_chunk()?;
        Some((u16::from_be_bytes([*high, *low]), RoomSecret(secret.try_into().ok()?)))
    });
    Some((read.collect::<Option<_>>()?, rest))
}
