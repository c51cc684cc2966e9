//! Secrets that an application holds or keeps: an identity, a room's keys, a password. All are wiped from memory
//! when dropped, and none is shown by `Debug`.

use std::fmt;
use std::fs::File;
use std::path::Path;

use data_encoding::BASE64URL_NOPAD;
use plenary_proto::PeerId;
use plenary_proto::app::Reason;
use plenary_proto::seal::{self, Invite, Keypair, RoomSecret};
use zeroize::Zeroizing;

use crate::error::Error;
use crate::{random_bytes, secret_file};

/// First words of the files, with the version of their format.
const IDENTITY_FILE: &str = "plenary identity 1 ";
const ROOM_KEYS_FILE: &str = "plenary room keys 2 ";
/// Bytes or a file that are no identity or no room keys of this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", Reason::BadKeys)]
pub struct NoKeys;

/// Password of a room.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Zeroizing<String>);

impl Password {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for Password {
    fn from(text: String) -> Password {
        Password(Zeroizing::new(text))
    }
}

impl From<&str> for Password {
    fn from(text: &str) -> Password {
        text.to_owned().into()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// Lasting identity of a peer: the secret key behind its [`PeerId`].
///
/// Without one, a peer has a new id in each room. Two peers of one room must not share an identity.
#[derive(Clone)]
pub struct Identity(pub(crate) Keypair);

impl Identity {
    /// Makes a new identity from the system's randomness.
    pub fn generate() -> Identity {
        Identity(Keypair::from_seed(&random_seed()))
    }

    /// Returns the identity of 32 secret bytes, for example derived from a key that the application holds.
    pub fn from_seed(seed: [u8; 32]) -> Identity {
        Identity(Keypair::from_seed(&Zeroizing::new(seed)))
    }

    /// Returns the 32 secret bytes, to store them.
    pub fn seed(&self) -> Zeroizing<[u8; 32]> {
        self.0.seed()
    }

    /// Returns the id that peers know this identity by.
    pub fn peer(&self) -> PeerId {
        self.0.id()
    }

    /// Reads an identity from a file; without the file, makes an identity and writes it there, for this user alone
    /// (mode 0600).
    ///
    /// # Errors
    /// [`Error::Io`] if the file can't be read or written, or if others may read it; [`Error::NoKeysIn`] if it holds
    /// something else.
    pub fn load_or_create(path: impl AsRef<Path>) -> Result<Identity, Error> {
        let path = path.as_ref();
        if let Some(bytes) = read(path, IDENTITY_FILE)? {
            let seed = bytes[..].try_into().map_err(|_| Error::NoKeysIn(path.into()))?;
            let seed: Zeroizing<[u8; 32]> = Zeroizing::new(seed);
            return Ok(Identity(Keypair::from_seed(&seed)));
        }
        let made = Identity::generate();
        secret_file::create(path, &text(IDENTITY_FILE, &*made.seed()))?;
        Ok(made)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({:?})", self.peer())
    }
}

/// Keys of a room. Their holder hosts the room.
///
/// A host that restarts with them ([`HostOptions::keys`](crate::HostOptions::keys)) goes on with its room: the
/// same root key and identity, so that members accept it, and the same secret and generation, so that invites
/// that were given out stay good. Peers that it removed stay out.
///
/// Keep the keys that [`Room::room_keys`](crate::Room::room_keys) returns while the room is open, not those that opened
/// it: a room that opens again with them goes by none of the statements of earlier sessions, which their guests may
/// have kept. Such a room admits its first peers after 3 s, in which members that have stayed show themselves.
#[derive(Clone)]
pub struct RoomKeys(pub(crate) seal::RoomKeys);

impl RoomKeys {
    /// Makes the keys of a new room.
    pub fn generate() -> RoomKeys {
        RoomKeys::of(Identity::generate())
    }

    /// Makes the keys of a new room with this host.
    pub fn of(host: Identity) -> RoomKeys {
        let root = Keypair::from_seed(&random_seed());
        RoomKeys(seal::RoomKeys::new(root, host.0, RoomSecret(random_bytes())))
    }

    /// Returns the host's identity.
    pub fn host(&self) -> PeerId {
        self.0.host.id()
    }

    /// Encodes the keys, to store them.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        self.0.to_bytes()
    }

    /// Decodes keys.
    ///
    /// # Errors
    /// [`NoKeys`] if the bytes are not those of [`to_bytes`](Self::to_bytes).
    pub fn from_bytes(bytes: &[u8]) -> Result<RoomKeys, NoKeys> {
        Ok(RoomKeys(seal::RoomKeys::from_bytes(bytes).map_err(|_| NoKeys)?))
    }

    /// Reads keys from a file; `None` without the file.
    ///
    /// # Errors
    /// [`Error::Io`] if the file can't be read, or if others may read it; [`Error::NoKeysIn`] if it holds
    /// something else.
    pub fn load(path: impl AsRef<Path>) -> Result<Option<RoomKeys>, Error> {
        let path = path.as_ref();
        let bytes = read(path, ROOM_KEYS_FILE)?;
        let keys = bytes.map(|bytes| RoomKeys::from_bytes(&bytes)).transpose();
        keys.map_err(|NoKeys| Error::NoKeysIn(path.into()))
    }

    /// Writes the keys to a file, for this user alone (mode 0600). A crash leaves the old file or the new one.
    ///
    /// # Errors
    /// [`Error::Io`] if the file can't be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        secret_file::replace(path.as_ref(), &text(ROOM_KEYS_FILE, &self.to_bytes()))
    }

    /// Takes the right to host with the keys of a file, before they are loaded. Only one process has it, until it drops
    /// the lock or ends: two hosts with the same keys would each admit peers to a room of their own.
    ///
    /// # Errors
    /// [`Error::KeysInUse`] if another process has it; [`Error::Io`] if the lock's file, whose name ends in `.lock`,
    /// can't be written.
    pub fn lock(path: impl AsRef<Path>) -> Result<RoomKeysLock, Error> {
        let path = path.as_ref();
        secret_file::lock(path)?.map(RoomKeysLock).ok_or_else(|| Error::KeysInUse(path.into()))
    }
}

/// The right to host with the keys of a file, until it is dropped ([`RoomKeys::lock`]).
#[derive(Debug)]
pub struct RoomKeysLock(#[expect(dead_code, reason = "it is held, not used")] File);

impl fmt::Debug for RoomKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RoomKeys({:?}, …)", self.0.root.id())
    }
}

/// Writes an invite to a file, for this user alone (mode 0600): it admits any reader.
///
/// # Errors
/// [`Error::Io`] if the file can't be written.
pub fn save_invite(invite: &Invite, path: impl AsRef<Path>) -> Result<(), Error> {
    secret_file::replace(path.as_ref(), &Zeroizing::new(format!("{invite}\n")))
}

/// Writes a line to a file, for this user alone (mode 0600), such as an address that holds a secret.
///
/// # Errors
/// [`Error::Io`] if the file can't be written.
pub fn save_secret(line: &str, path: impl AsRef<Path>) -> Result<(), Error> {
    secret_file::replace(path.as_ref(), &Zeroizing::new(format!("{line}\n")))
}

pub(crate) fn random_seed() -> Zeroizing<[u8; 32]> {
    Zeroizing::new(random_bytes())
}

/// Returns a secret as the line of a file.
fn text(kind: &str, bytes: &[u8]) -> Zeroizing<String> {
    let encoded = Zeroizing::new(BASE64URL_NOPAD.encode(bytes));
    let mut text = Zeroizing::new(String::with_capacity(kind.len() + encoded.len() + 1));
    text.extend([kind, &encoded, "\n"]);
    text
}

/// Reads the secret of a file of that kind; `None` without the file.
fn read(path: &Path, kind: &str) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
    let Some(text) = secret_file::read(path)? else { return Ok(None) };
    let encoded = text.trim_end().strip_prefix(kind);
    let bytes = encoded.and_then(|encoded| BASE64URL_NOPAD.decode(encoded.as_bytes()).ok());
    Ok(Some(Zeroizing::new(bytes.ok_or_else(|| Error::NoKeysIn(path.into()))?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_replace_no_device_and_follow_links() {
        let folder = tempfile::tempdir().unwrap();
        let (link, target) = (folder.path().join("link"), folder.path().join("target"));
        save_secret("one", &target).unwrap();
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(&target, &link).unwrap();
            save_secret("two", &link).unwrap();
            assert!(link.is_symlink());
            assert_eq!(std::fs::read_to_string(&target).unwrap(), "two\n");
            let why = save_secret("three", "/dev/null").unwrap_err().to_string();
            assert_eq!(why, "cannot write /dev/null: it is no regular file");
        }
        assert!(save_secret("four", folder.path()).is_err(), "a folder");
    }

    #[test]
    fn the_keys_of_a_file_have_one_host_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("keys");
        let held = RoomKeys::lock(&file).unwrap();
        RoomKeys::generate().save(&file).unwrap();
        assert!(matches!(RoomKeys::lock(&file), Err(Error::KeysInUse(named)) if named == file));
        drop(held);
        RoomKeys::lock(&file).unwrap();
    }

    #[test]
    fn an_identity_is_made_once_and_kept_for_its_user_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("identity");
        let made = Identity::load_or_create(&file).unwrap();
        assert_eq!(Identity::load_or_create(&file).unwrap().peer(), made.peer());
        assert_eq!(Identity::from_seed(*made.seed()).peer(), made.peer());
        assert_ne!(Identity::generate().peer(), made.peer());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = |mode| std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
            mode(0o644);
            assert!(matches!(Identity::load_or_create(&file), Err(Error::Io { .. })), "others can read it");
            mode(0o600);
        }
        assert!(matches!(RoomKeys::load(&file), Err(Error::NoKeysIn(_))), "a file of another kind");
        std::fs::write(&file, "plenary identity 1 AAAA").unwrap();
        assert!(matches!(Identity::load_or_create(&file), Err(Error::NoKeysIn(_))));
    }

    #[test]
    fn room_keys_come_back_from_bytes_and_files_and_show_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("keys");
        assert!(RoomKeys::load(&file).unwrap().is_none());
        let keys = RoomKeys(seal::RoomKeys {
            generation: 513,
            reign: 70_000,
            locked: true,
            ..RoomKeys::generate().0
        });
        keys.save(&file).unwrap();
        keys.save(&file).unwrap(); // in place of the first
        let read = RoomKeys::load(&file).unwrap().unwrap();
        assert_eq!(*read.to_bytes(), *keys.to_bytes());
        assert_eq!((read.host(), read.0.root.id()), (keys.host(), keys.0.root.id()));
        assert_eq!((read.0.generation, read.0.reign, read.0.locked), (513, 70_000, true));
        let bytes = keys.to_bytes();
        for len in 0..bytes.len() {
            assert!(RoomKeys::from_bytes(&bytes[..len]).is_err(), "{len} bytes");
        }
        assert!(RoomKeys::from_bytes(&[&bytes[..], &[0]].concat()).is_err());
        let shown = format!("{keys:?} {:?} {:?}", Password::from("tulip"), Identity::generate());
        assert!(!shown.contains("tulip") && shown.len() < 120, "{shown}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no half-written file is left");
    }
}
