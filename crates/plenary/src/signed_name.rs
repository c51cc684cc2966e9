//! Names with their peers' signatures, for lists of members: no line can claim another peer's id.

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use plenary_proto::PeerId;
use plenary_proto::bounded::{composed, plain};
use plenary_proto::message::NAME_LEN_MAX;
use plenary_proto::seal::{Signature, verify};

use crate::error::Error;
use crate::secrets::Identity;

/// Bytes that are read of a file with a signed name, which is no longer than 64 + 1 + 128 + 1 + [`NAME_LEN_MAX`] and a
/// line end.
const LINE_LEN_MAX: u64 = 512;
/// First bytes of what is signed.
const DOMAIN: &[u8] = b"plenary 1 name";

/// A peer's id and name, with its signature of the name. As text: 64 hex digits, 128 hex digits, and the name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedName {
    peer: PeerId,
    name: String,
    signature: Signature,
}

/// A text that is no signed name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignedNameError {
    /// The text has another form, or an empty name.
    #[error("this is no id with a signature and a name")]
    Malformed,
    /// The name is longer than 64 bytes, or has control characters.
    #[error("a name has up to {NAME_LEN_MAX} bytes and no control characters")]
    Name,
    /// The id's owner has signed another name, or none.
    #[error("the name isn't signed by this id")]
    Forged,
}

impl SignedName {
    /// Signs the name of an identity.
    ///
    /// # Errors
    /// [`SignedNameError::Name`].
    pub fn new(identity: &Identity, name: &str) -> Result<SignedName, SignedNameError> {
        let name = checked(&composed(name))?;
        let signature = identity.0.sign(&[DOMAIN, name.as_bytes()].concat());
        Ok(SignedName { peer: identity.peer(), name, signature })
    }

    /// Returns the peer's id.
    pub fn peer(&self) -> PeerId {
        self.peer
    }

    /// Returns the name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the path of the signed name of a key file: `FILE.pub`.
    pub fn path_of(key_file: impl AsRef<Path>) -> PathBuf {
        let mut path = key_file.as_ref().as_os_str().to_owned();
        path.push(".pub");
        path.into()
    }

    /// Reads the name of an identity from beside its key file; `None` without such a file.
    ///
    /// # Errors
    /// [`Error::Io`] if the file can't be read, or holds another peer's name.
    pub fn load(identity: &Identity, key_file: impl AsRef<Path>) -> Result<Option<SignedName>, Error> {
        let path = SignedName::path_of(key_file);
        let read = |path: &Path| {
            let mut text = String::new();
            File::open(path)?.take(LINE_LEN_MAX).read_to_string(&mut text).map(|_| text)
        };
        let text = match read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            text => text.map_err(|error| of(&path, error))?,
        };
        let refused =
            |error: SignedNameError| of(&path, std::io::Error::new(std::io::ErrorKind::InvalidData, error));
        let name: SignedName = text.trim_end().parse().map_err(refused)?;
        if name.peer != identity.peer() {
            return Err(refused(SignedNameError::Forged));
        }
        Ok(Some(name))
    }

    /// Writes the name beside its key file.
    ///
    /// # Errors
    /// [`Error::Io`] if the file can't be written.
    pub fn save(&self, key_file: impl AsRef<Path>) -> Result<(), Error> {
        let path = SignedName::path_of(key_file);
        std::fs::write(&path, format!("{self}\n")).map_err(|error| of(&path, error))
    }
}

fn of(path: &Path, error: std::io::Error) -> Error {
    Error::Io { what: path.display().to_string(), error }
}

fn checked(name: &str) -> Result<String, SignedNameError> {
    let name = name.trim();
    let is_right = !name.is_empty() && name.len() <= NAME_LEN_MAX && plain(name) == name;
    is_right.then(|| name.to_owned()).ok_or(SignedNameError::Name)
}

impl fmt::Display for SignedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.peer, HEXLOWER.encode(&self.signature.0), self.name)
    }
}

impl FromStr for SignedName {
    type Err = SignedNameError;

    fn from_str(text: &str) -> Result<SignedName, SignedNameError> {
        let mut words = text.splitn(3, ' ');
        let peer = words.next().and_then(|word| word.parse().ok());
        let signature = words.next().and_then(|word| HEXLOWER_PERMISSIVE.decode(word.as_bytes()).ok());
        let signature = signature.and_then(|bytes| bytes.try_into().ok()).map(Signature);
        let (Some(peer), Some(signature), Some(name)) = (peer, signature, words.next()) else {
            return Err(SignedNameError::Malformed);
        };
        let name = checked(name)?;
        verify(&peer, &[DOMAIN, name.as_bytes()].concat(), &signature)
            .map_err(|_| SignedNameError::Forged)?;
        Ok(SignedName { peer, name, signature })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_as_it_was_signed_and_no_other_one_is() {
        let ada = Identity::from_seed([1; 32]);
        let signed = SignedName::new(&ada, " Ada Lovelace ").unwrap();
        assert_eq!((signed.name(), signed.peer()), ("Ada Lovelace", ada.peer()));
        let text = signed.to_string();
        assert_eq!(text.parse(), Ok(signed));
        for (from, to, error) in [
            ("Lovelace", "Byron", SignedNameError::Forged),
            (" Ada Lovelace", "", SignedNameError::Malformed),
            ("Ada", "Ada\u{202e}", SignedNameError::Name),
            (&text[..2], "zz", SignedNameError::Malformed),
        ] {
            assert_eq!(text.replacen(from, to, 1).parse::<SignedName>(), Err(error), "{to}");
        }
        let ben = Identity::from_seed([2; 32]);
        let of_ben = text.replacen(&text[..64], &ben.peer().to_string(), 1);
        assert_eq!(of_ben.parse::<SignedName>(), Err(SignedNameError::Forged));
        assert_eq!(SignedName::new(&ada, &"a".repeat(NAME_LEN_MAX + 1)), Err(SignedNameError::Name));
    }

    #[test]
    fn a_name_is_kept_beside_its_key_and_not_taken_from_another_one() {
        let folder = tempfile::tempdir().unwrap();
        let (key, ada) = (folder.path().join("ada.key"), Identity::from_seed([1; 32]));
        assert_eq!(SignedName::load(&ada, &key).unwrap(), None);
        let signed = SignedName::new(&ada, "Ada").unwrap();
        signed.save(&key).unwrap();
        assert_eq!(SignedName::load(&ada, &key).unwrap(), Some(signed));
        let error = SignedName::load(&Identity::from_seed([2; 32]), &key).unwrap_err().to_string();
        assert!(error.contains("ada.key.pub"), "{error}");
    }
}
