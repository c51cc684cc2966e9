//! The invite: the URL that lets someone in.
//!
//! `http(s)://HOST[:PORT]/#B`, or `plenary:#B` without a rendezvous. B is base64url of the postcard of
//! [`Invite`]. Browsers keep what stands behind `#` to themselves, and nothing secret stands before it.

use std::fmt;
use std::str::FromStr;

use argon2::{Algorithm, Argon2, Params, Version};
use data_encoding::BASE64URL_NOPAD;
use hkdf::Hkdf;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::envelope::RoomKey;
use super::keys::{Keypair, Signature, verify};
use crate::bounded::{List, Text};
use crate::id::{PeerId, RoomId};

/// Most rendezvous hints an invite carries.
pub const INVITE_HINTS_MAX: usize = 4;
const HINT_LEN_MAX: usize = 128;
const INVITE_LEN_MAX: usize = 2048;
/// A DNS name (RFC 1035) and a port.
const AUTHORITY_LEN_MAX: usize = 253 + 6;
const VERSION: u8 = 1;
const KEY_CHECK_LEN: usize = 8;
/// Argon2id's cost: 19 MiB, two passes, one lane (OWASP Password Storage Cheat Sheet, 2023).
const ARGON2_KIB: u32 = 19 * 1024;
const ARGON2_PASSES: u32 = 2;
const ARGON2_LANES: u32 = 1;

/// The secret part of an invite: 128 random bits.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomSecret(pub [u8; 16]);

impl fmt::Debug for RoomSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RoomSecret(…)")
    }
}

/// What a joiner should know before it asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InviteFlags {
    /// The key needs a password as well.
    pub password: bool,
    /// Whoever asks may speak; otherwise the host admits each speaker.
    pub stage_open: bool,
}

/// Everything needed to find a room and to be let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invite {
    /// Where the rendezvous is: `http://HOST[:PORT]` or `https://…`; `None` for `plenary:`.
    pub rendezvous: Option<String>,
    signed: Body,
    signature: Signature,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Body {
    version: u8,
    room: RoomId,
    root: PeerId,
    secret: RoomSecret,
    flags: InviteFlags,
    hints: List<Text<HINT_LEN_MAX>, INVITE_HINTS_MAX>,
    expires_unix_s: u64,
    key_check: [u8; KEY_CHECK_LEN],
}

/// What is wrong with an invite, or with the password given for it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InviteError {
    /// It does not begin like one.
    #[error("an invite looks like http://HOST/#… or plenary:#…")]
    NotAnInvite,
    /// What stands behind `#` is damaged.
    #[error("the invite is damaged: {0}")]
    Malformed(&'static str),
    /// Made by a later version.
    #[error("the invite is of version {0}, this program reads version {VERSION}")]
    Version(u8),
    /// Its time is over.
    #[error("the invite has expired")]
    Expired,
    /// The room has a password, and none was given.
    #[error("this room needs a password")]
    PasswordNeeded,
    /// The key that follows from this password is not the room's.
    #[error("wrong password")]
    WrongPassword,
}

impl Invite {
    /// Makes the invite of the room whose root key is `root`.
    ///
    /// Takes about 30 ms of processor time when there is a password. Hints past [`INVITE_HINTS_MAX`] are
    /// dropped, each is cut to 128 bytes.
    pub fn create(
        root: &Keypair,
        secret: RoomSecret,
        password: Option<&str>,
        stage_open: bool,
        rendezvous: Option<String>,
        hints: &[&str],
        expires_unix_s: u64,
    ) -> Invite {
        let room = RoomId::of_root(&root.id());
        let key_check = derive(&secret, password, &room).1;
        let signed = Body {
            version: VERSION,
            room,
            root: root.id(),
            secret,
            flags: InviteFlags { password: password.is_some(), stage_open },
            hints: List::truncated(hints.iter().map(|hint| Text::truncated(hint))),
            expires_unix_s,
            key_check,
        };
        let signature = root.sign(&signed.covered());
        Invite { rendezvous, signed, signature }
    }

    /// The room it leads to.
    pub fn room(&self) -> RoomId {
        self.signed.room
    }

    /// The room's root public key.
    pub fn root(&self) -> PeerId {
        self.signed.root
    }

    /// What the host laid down.
    pub fn flags(&self) -> InviteFlags {
        self.signed.flags
    }

    /// Further places to look for the room.
    pub fn hints(&self) -> impl Iterator<Item = &str> {
        self.signed.hints.iter().map(|hint| &**hint)
    }

    /// When it ends, in seconds since 1970. The admitting host judges by its own clock.
    pub fn expires_unix_s(&self) -> u64 {
        self.signed.expires_unix_s
    }

    /// The key of the room's envelopes. Takes about 30 ms of processor time when there is a password.
    ///
    /// # Errors
    /// [`InviteError::PasswordNeeded`] and [`InviteError::WrongPassword`], told by the invite itself before
    /// anything is sent. A password for a room without one is [`InviteError::WrongPassword`] too.
    pub fn key(&self, password: Option<&str>) -> Result<RoomKey, InviteError> {
        let Body { secret, flags, room, key_check, .. } = &self.signed;
        if flags.password && password.is_none() {
            return Err(InviteError::PasswordNeeded);
        }
        let (key, check) = derive(secret, password, room);
        if check != *key_check {
            return Err(InviteError::WrongPassword);
        }
        Ok(key)
    }
}

impl Body {
    fn covered(&self) -> Vec<u8> {
        let bytes = b"plenary 1 invite\0".to_vec();
        postcard::to_extend(self, bytes).expect("an invite is plain data, and a vector grows")
    }
}

/// HKDF(secret ‖ Argon2id(password, salt = room id)): the key, and the 8 bytes by which it is told.
fn derive(secret: &RoomSecret, password: Option<&str>, room: &RoomId) -> (RoomKey, [u8; KEY_CHECK_LEN]) {
    let mut material = Zeroizing::new(secret.0.to_vec());
    if let Some(password) = password {
        let params = Params::new(ARGON2_KIB, ARGON2_PASSES, ARGON2_LANES, Some(32))
            .expect("constants within Argon2's bounds");
        let mut hashed = Zeroizing::new([0; 32]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(password.as_bytes(), &room.0, &mut *hashed)
            .expect("salt and output lengths within Argon2's bounds");
        material.extend_from_slice(&*hashed);
    }
    let hkdf = Hkdf::<Sha256>::new(Some(&room.0), &material);
    let mut key = [0; 32];
    hkdf.expand(b"plenary 1 envelope key", &mut key).expect("32 bytes are within HKDF's bound");
    let mut check = [0; KEY_CHECK_LEN];
    hkdf.expand(b"plenary 1 key check", &mut check).expect("8 bytes are within HKDF's bound");
    (RoomKey::new(*room, key), check)
}

/// `http(s)://HOST[:PORT]`, from a URL with nothing more in it than a slash.
fn rendezvous_of(url: &str) -> Option<String> {
    let url = url.strip_suffix('/').unwrap_or(url);
    let (scheme, authority) = url.split_once("://")?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']');
    let fits = (1..=AUTHORITY_LEN_MAX).contains(&authority.len()) && authority.chars().all(plain);
    (matches!(scheme, "http" | "https") && fits).then(|| url.to_owned())
}

impl fmt::Display for Invite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = postcard::to_allocvec(&(&self.signed, &self.signature)).map_err(|_| fmt::Error)?;
        let body = BASE64URL_NOPAD.encode(&bytes);
        match &self.rendezvous {
            Some(rendezvous) => write!(f, "{rendezvous}/#{body}"),
            None => write!(f, "plenary:#{body}"),
        }
    }
}

impl FromStr for Invite {
    type Err = InviteError;

    /// Reads an invite and checks its signature; not its expiry, for that needs a clock.
    fn from_str(text: &str) -> Result<Invite, InviteError> {
        let (place, body) = text.trim().split_once('#').ok_or(InviteError::NotAnInvite)?;
        let rendezvous = match place {
            "plenary:" => None,
            url => Some(rendezvous_of(url).ok_or(InviteError::NotAnInvite)?),
        };
        if body.len() > INVITE_LEN_MAX {
            return Err(InviteError::Malformed("it is too long"));
        }
        let bytes = BASE64URL_NOPAD
            .decode(body.as_bytes())
            .map_err(|_| InviteError::Malformed("a character is wrong or missing"))?;
        match bytes.first() {
            None => return Err(InviteError::Malformed("nothing stands behind the #")),
            Some(&VERSION) => {}
            Some(&other) => return Err(InviteError::Version(other)),
        }
        let ((signed, signature), rest): ((Body, Signature), _) =
            postcard::take_from_bytes(&bytes).map_err(|_| InviteError::Malformed("it ends too early"))?;
        if !rest.is_empty() {
            return Err(InviteError::Malformed("something stands behind its end"));
        }
        if signed.room != RoomId::of_root(&signed.root)
            || verify(&signed.root, &signed.covered(), &signature).is_err()
        {
            return Err(InviteError::Malformed("its signature does not hold"));
        }
        Ok(Invite { rendezvous, signed, signature })
    }
}
