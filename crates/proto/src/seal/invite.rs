//! Invites: URLs that admit a peer to a room.
//!
//! The form is `http(s)://HOST[:PORT]/[PATH]#B`, or `plenary:#B` without an address. B is base64url of the
//! postcard of [`Invite`]. Browsers don't send the part after `#`, and the part before it contains no secret.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use argon2::{Algorithm, Argon2, Params, Version};
use base64ct::{Base64UrlUnpadded, Encoding as _};
use hkdf::Hkdf;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use zeroize::{Zeroize as _, Zeroizing};

use super::envelope::RoomKey;
use super::keys::{Keypair, Signature, verify};
use crate::app::Reason;
use crate::bounded::{List, Text, composed};
use crate::id::{PeerId, RoomId};

/// Maximum rendezvous hints of an invite.
pub const INVITE_HINTS_MAX: usize = 4;
pub(crate) const HINT_LEN_MAX: usize = 128;
const INVITE_LEN_MAX: usize = 2048;
/// Maximum bytes of host and port: a DNS name (RFC 1035) and a port.
const AUTHORITY_LEN_MAX: usize = 253 + 6;
/// Maximum bytes of a page's path. A guess.
const PATH_LEN_MAX: usize = 256;
/// Maximum links in a text that are tried as invites: each may cost a signature's check. A guess.
const CANDIDATES_MAX: usize = 16;
const VERSION: u8 = 2;
const KEY_CHECK_LEN: usize = 8;
const CHECKSUM_LEN: usize = 4;
/// Cost of Argon2id: 19 MiB, two passes, one lane (OWASP Password Storage Cheat Sheet, 2023).
const ARGON2_KIB: u32 = 19 * 1024;
const ARGON2_PASSES: u32 = 2;
const ARGON2_LANES: u32 = 1;

/// Secret part of an invite: 128 random bits. Wiped from memory when dropped.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomSecret(pub [u8; 16]);

impl Drop for RoomSecret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for RoomSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RoomSecret(…)")
    }
}

/// Secret seed of the key pair by which holders of an invite enter the room at its rendezvous.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DoorSeed(pub [u8; 32]);

impl Drop for DoorSeed {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for DoorSeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DoorSeed(…)")
    }
}

/// Room settings that a joiner needs to know before it asks to join.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InviteFlags {
    /// Whether the room's key requires a password in addition.
    pub password: bool,
    /// Whether every peer that asks may speak; otherwise the host admits each speaker.
    pub stage_open: bool,
}

/// Invite: all that a peer needs to find a room and be admitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invite {
    /// Where the link leads, `http(s)://HOST[:PORT]` or `http(s)://HOST[:PORT]/PATH`: to the rendezvous, or to a page
    /// elsewhere; `None` for `plenary:`.
    pub place: Option<String>,
    signed: Body,
    signature: Signature,
    secrets: Secrets,
}

/// What the root key signs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Body {
    version: u8,
    room: RoomId,
    root: PeerId,
    flags: InviteFlags,
    hints: List<Text<HINT_LEN_MAX>, INVITE_HINTS_MAX>,
    expires_unix_s: u64,
}

/// What a later host may replace, which doesn't have the root key. A forged one opens no envelope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Secrets {
    generation: u16,
    secret: RoomSecret,
    key_check: [u8; KEY_CHECK_LEN],
    /// Seed of the door of the room's first invite, which the rendezvous knows; `None` in that one.
    door: Option<DoorSeed>,
}

/// Error of an invite, or of the password given for it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.reason())]
#[non_exhaustive]
pub enum InviteError {
    /// The text does not begin like an invite.
    NotAnInvite,
    /// The address for the page can't stand in an invite.
    NotAPage,
    /// The address of the rendezvous is too long for an invite that leads to a page elsewhere.
    LongRendezvous,
    /// The part after `#` is damaged.
    #[error("{reason}: {0}", reason = self.reason())]
    Malformed(&'static str),
    /// The invite is of another version.
    #[error("{reason}: it has version {0}, this program reads version {VERSION}", reason = self.reason())]
    Version(u8),
    /// The invite has expired.
    Expired,
    /// The room has a password, and none was given.
    PasswordNeeded,
    /// The key derived with this password is not the room's.
    WrongPassword,
}

impl InviteError {
    /// Returns what is wrong.
    pub fn reason(&self) -> Reason {
        match self {
            InviteError::NotAnInvite => Reason::NotAnInvite,
            InviteError::NotAPage => Reason::NotAPage,
            InviteError::LongRendezvous => Reason::LongRendezvous,
            InviteError::Malformed(_) => Reason::InviteDamaged,
            InviteError::Version(_) => Reason::InviteVersion,
            InviteError::Expired => Reason::InviteExpired,
            InviteError::PasswordNeeded => Reason::PasswordNeeded,
            InviteError::WrongPassword => Reason::WrongPassword,
        }
    }
}

impl Invite {
    /// Creates the invite of the room with the root key `root`.
    ///
    /// Takes about 30 ms of processor time when there is a password. Hints beyond [`INVITE_HINTS_MAX`] are
    /// dropped, and each is cut to 128 bytes.
    pub fn create(
        root: &Keypair,
        (generation, secret): (u16, RoomSecret),
        password: Option<&str>,
        stage_open: bool,
        place: Option<String>,
        hints: &[&str],
        expires_unix_s: u64,
    ) -> Invite {
        let room = RoomId::of_root(&root.id());
        let signed = Body {
            version: VERSION,
            room,
            root: root.id(),
            flags: InviteFlags { password: password.is_some(), stage_open },
            hints: List::truncated(hints.iter().map(|hint| Text::truncated(hint))),
            expires_unix_s,
        };
        let signature = root.sign(&signed.covered());
        Invite { place, signed, signature, secrets: Secrets::new(generation, secret, password, &room) }
    }

    /// Returns the place and the hint of an invite to a room at this rendezvous, `http(s)://HOST[:PORT][/PATH]`, with
    /// its page at `page`; `None` where the rendezvous serves it.
    ///
    /// # Errors
    /// [`InviteError::NotAPage`], [`InviteError::LongRendezvous`].
    pub fn places(rendezvous: &str, page: Option<&str>) -> Result<(String, Option<String>), InviteError> {
        let page = match page {
            None if origin_of(rendezvous) == rendezvous => return Ok((rendezvous.to_owned(), None)),
            // its page is below the same path, and a link alone doesn't tell where that ends
            None => format!("{rendezvous}/"),
            Some(page) => place_of(page).ok_or(InviteError::NotAPage)?,
        };
        let hint = rendezvous.replacen("http", "ws", 1);
        if hint.len() > HINT_LEN_MAX { Err(InviteError::LongRendezvous) } else { Ok((page, Some(hint))) }
    }

    /// Returns the room's invite of a later generation, under the same signature, door, password and expiry, and its
    /// key. `before` is this invite's own key: it holds what the password contributes, so that a host needs the
    /// password once.
    pub fn renewed(&self, (generation, secret): (u16, RoomSecret), before: &RoomKey) -> (Invite, RoomKey) {
        let door = before.door_seed();
        let password_hash = before.password_hash();
        let (key, key_check) = derive(generation, &secret, password_hash, &self.signed.room);
        let secrets = Secrets { generation, secret, key_check, door: Some(DoorSeed(*door)) };
        let key = key.with_door(*door).with_password_hash(password_hash.copied().map(Zeroizing::new));
        (Invite { secrets, ..self.clone() }, key)
    }

    /// Returns the invite that replaces this one, with its key. `newest`: generation that the roster names, since
    /// another host may have replaced it meanwhile. `key` is this invite's own.
    pub fn replaced(&self, newest: u16, secret: RoomSecret, key: &RoomKey) -> (Invite, RoomKey) {
        let generation = self.generation().max(newest).wrapping_add(1);
        self.renewed((generation, secret), key)
    }

    /// Returns the invite with this door, which a host that has restarted kept.
    #[must_use]
    pub fn with_door(mut self, door: Option<DoorSeed>) -> Invite {
        self.secrets.door = door;
        self
    }

    /// Returns the door of a later invite; `None` for the room's first.
    pub fn door(&self) -> Option<&DoorSeed> {
        self.secrets.door.as_ref()
    }

    /// Returns the secret, from which the key of the room's envelopes is derived.
    pub(super) fn secret(&self) -> &RoomSecret {
        &self.secrets.secret
    }

    /// Returns the id of the room.
    pub fn room(&self) -> RoomId {
        self.signed.room
    }

    /// Returns the room's root public key.
    pub fn root(&self) -> PeerId {
        self.signed.root
    }

    /// Returns the generation of the invite. The host makes a new one when it bans a peer or locks the room.
    pub fn generation(&self) -> u16 {
        self.secrets.generation
    }

    /// Returns the room settings that the host fixed in the invite.
    pub fn flags(&self) -> InviteFlags {
        self.signed.flags
    }

    /// Returns the address of the room's rendezvous, `http(s)://HOST[:PORT][/PATH]`: that of the first hint at one,
    /// otherwise that of the link.
    pub fn rendezvous(&self) -> Option<String> {
        let hinted = self.hints().find_map(|hint| {
            let url = hint.strip_prefix("ws").map_or(hint.to_owned(), |rest| format!("http{rest}"));
            place_of(&url).map(|url| url.trim_end_matches('/').to_owned())
        });
        hinted.or_else(|| self.place.as_deref().map(|place| origin_of(place).to_owned()))
    }

    /// Returns hints at the rendezvous of the room.
    pub fn hints(&self) -> impl Iterator<Item = &str> {
        self.signed.hints.iter().map(|hint| &**hint)
    }

    /// Returns the expiry, seconds since 1970. The admitting host judges it by its own clock.
    pub fn expires_unix_s(&self) -> u64 {
        self.signed.expires_unix_s
    }

    /// Derives the key of the room's envelopes. Takes about 30 ms of processor time when there is a password.
    ///
    /// # Errors
    /// [`InviteError::PasswordNeeded`] and [`InviteError::WrongPassword`], both found from the invite alone,
    /// before anything is sent. A password for a room without one is [`InviteError::WrongPassword`] too.
    pub fn key(&self, password: Option<&str>) -> Result<RoomKey, InviteError> {
        let Body { flags, room, .. } = &self.signed;
        let Secrets { generation, secret, key_check, door } = &self.secrets;
        if flags.password && password.is_none() {
            return Err(InviteError::PasswordNeeded);
        }
        let password_hash = password.map(|password| hash_password(password, room));
        let (key, check) = derive(*generation, secret, password_hash.as_deref(), room);
        if check != *key_check {
            return Err(InviteError::WrongPassword);
        }
        let key = key.with_password_hash(password_hash);
        Ok(match door {
            Some(door) => key.with_door(door.0),
            None => key,
        })
    }
}

impl Secrets {
    fn new(generation: u16, secret: RoomSecret, password: Option<&str>, room: &RoomId) -> Secrets {
        let password_hash = password.map(|password| hash_password(password, room));
        let key_check = derive(generation, &secret, password_hash.as_deref(), room).1;
        Secrets { generation, secret, key_check, door: None }
    }
}

impl Body {
    fn covered(&self) -> Zeroizing<Vec<u8>> {
        // one allocation: growth would leave a copy of the secret behind
        let mut bytes = Vec::with_capacity(INVITE_LEN_MAX);
        bytes.extend_from_slice(b"plenary 2 invite\0");
        Zeroizing::new(postcard::to_extend(self, bytes).expect("an invite is plain data, and a vector grows"))
    }
}

/// Argon2id of a password, with the room id as salt, so every invite of a room shares one hash. Takes about 30 ms.
fn hash_password(password: &str, room: &RoomId) -> Zeroizing<[u8; 32]> {
    let password = Zeroizing::new(composed(password));
    let params = Params::new(ARGON2_KIB, ARGON2_PASSES, ARGON2_LANES, Some(32))
        .expect("constants within Argon2's bounds");
    let mut hash = Zeroizing::new([0; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(password.as_bytes(), &room.0, &mut *hash)
        .expect("salt and output lengths within Argon2's bounds");
    hash
}

/// HKDF(secret ‖ hash of the password): the key, and the 8-byte key check, by which a wrong password is recognized.
pub(super) fn derive(
    generation: u16,
    secret: &RoomSecret,
    password_hash: Option<&[u8; 32]>,
    room: &RoomId,
) -> (RoomKey, [u8; KEY_CHECK_LEN]) {
    let mut material = Zeroizing::new(Vec::with_capacity(secret.0.len() + 32));
    material.extend_from_slice(&secret.0);
    material.extend_from_slice(password_hash.map_or(&[][..], |hash| hash));
    let hkdf = Hkdf::<Sha256>::new(Some(&room.0), &material);
    let mut key = Zeroizing::new([0; 32]);
    hkdf.expand(b"plenary 1 envelope key", &mut *key).expect("32 bytes are within HKDF's bound");
    let mut check = [0; KEY_CHECK_LEN];
    hkdf.expand(b"plenary 1 key check", &mut check).expect("8 bytes are within HKDF's bound");
    (RoomKey::new(*room, generation, key), check)
}

/// Returns the checksum at the end of an invite, by which a damaged secret is told from a wrong password.
fn checksum(bytes: &[u8]) -> [u8; CHECKSUM_LEN] {
    let mut sum = [0; CHECKSUM_LEN];
    sum.copy_from_slice(&blake3::derive_key("plenary 2 invite checksum", bytes)[..CHECKSUM_LEN]);
    sum
}

/// Returns where a URL leads, as [`Invite::place`] has it: without the slash of an empty path. `None` for a URL of
/// another form.
fn place_of(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let of_authority = |c: char| c.is_ascii_alphanumeric() || ".-_:[]".contains(c);
    // RFC 3986, 3.3
    let of_path = |c: char| c.is_ascii_alphanumeric() || "-._~%!$&'()*+,;=:@/".contains(c);
    let fits = (1..=AUTHORITY_LEN_MAX).contains(&authority.len()) && authority.chars().all(of_authority);
    let fits = fits && path.len() <= PATH_LEN_MAX && path.chars().all(of_path);
    let place = if path.is_empty() { url.strip_suffix('/').unwrap_or(url) } else { url };
    (matches!(scheme, "http" | "https") && fits).then(|| place.to_owned())
}

/// Returns what stands before the path of a URL.
fn origin_of(url: &str) -> &str {
    url.match_indices('/').nth(2).map_or(url, |(end, _)| &url[..end])
}

impl fmt::Display for Invite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = Vec::with_capacity(INVITE_LEN_MAX);
        let bytes = postcard::to_extend(&(&self.signed, &self.signature, &self.secrets), bytes);
        let mut bytes = Zeroizing::new(bytes.map_err(|_| fmt::Error)?);
        let sum = checksum(&bytes);
        bytes.extend_from_slice(&sum);
        let body = Zeroizing::new(Base64UrlUnpadded::encode_string(&bytes));
        match &self.place {
            Some(place) if origin_of(place) == place => write!(f, "{place}/#{}", *body),
            Some(place) => write!(f, "{place}#{}", *body),
            None => write!(f, "plenary:#{}", *body),
        }
    }
}

impl FromStr for Invite {
    type Err = InviteError;

    /// Parses an invite and checks its signature. The expiry isn't checked, since that needs a clock. What people paste
    /// around an invite, such as quotes, brackets, words in front of it and a full stop behind it, counts for nothing.
    fn from_str(text: &str) -> Result<Invite, InviteError> {
        let wrong = match exact(text) {
            Ok(invite) => return Ok(invite),
            Err(wrong) => wrong,
        };
        let mut why = Some(wrong).filter(|wrong| *wrong != InviteError::NotAnInvite);
        for candidate in candidates(text) {
            match exact(candidate) {
                Ok(invite) => return Ok(invite),
                Err(wrong) => why = why.or(Some(wrong)),
            }
        }
        Err(why.unwrap_or(InviteError::NotAnInvite))
    }
}

/// Returns the parts of a text that may be invites: from the beginning of a link up to the last character that may
/// stand behind its `#`.
fn candidates(text: &str) -> impl Iterator<Item = &str> {
    let begins = ["http://", "https://", "plenary:#"];
    let starts = text.char_indices().map(|(at, _)| &text[at..]);
    let links = starts.filter(move |rest| begins.iter().any(|begin| rest.starts_with(begin)));
    links.take(CANDIDATES_MAX).filter_map(|link| {
        let (place, body) = link.split_once('#')?;
        let len = body.find(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_'));
        Some(&link[..place.len() + 1 + len.unwrap_or(body.len())])
    })
}

/// Length of the shortest invite, in bytes: version, room, root key, flags, no hints, no expiry, signature, secrets and
/// checksum.
const SHORTEST_LEN: usize = 1 + 16 + 32 + 2 + 1 + 1 + 64;

/// Parses a text that is an invite and nothing else.
fn exact(text: &str) -> Result<Invite, InviteError> {
    let (place, body) = text.trim().split_once('#').ok_or(InviteError::NotAnInvite)?;
    let place = match place {
        "plenary:" => None,
        url => Some(place_of(url).ok_or(InviteError::NotAnInvite)?),
    };
    if body.len() > INVITE_LEN_MAX {
        return Err(InviteError::Malformed("it is too long"));
    }
    let bytes = Base64UrlUnpadded::decode_vec(body);
    let bytes = Zeroizing::new(bytes.map_err(|_| InviteError::Malformed("a character is wrong or missing"))?);
    match bytes.first() {
        None => return Err(InviteError::Malformed("nothing stands behind the #")),
        Some(&VERSION) => {}
        // what is left of a link says no version
        Some(_) if bytes.len() < SHORTEST_LEN => return Err(InviteError::Malformed("it ends too early")),
        Some(&other) => return Err(InviteError::Version(other)),
    }
    let ((signed, signature, secrets), rest): ((Body, Signature, Secrets), _) =
        postcard::take_from_bytes(&bytes).map_err(|_| InviteError::Malformed("it ends too early"))?;
    let read = bytes.len() - rest.len();
    match rest.len().cmp(&CHECKSUM_LEN) {
        Ordering::Less => return Err(InviteError::Malformed("it ends too early")),
        Ordering::Greater => return Err(InviteError::Malformed("something stands behind its end")),
        Ordering::Equal if *rest != checksum(&bytes[..read]) => {
            return Err(InviteError::Malformed("a character is wrong"));
        }
        Ordering::Equal => {}
    }
    if signed.room != RoomId::of_root(&signed.root)
        || verify(&signed.root, &signed.covered(), &signature).is_err()
    {
        return Err(InviteError::Malformed("its signature does not hold"));
    }
    Ok(Invite { place, signed, signature, secrets })
}
