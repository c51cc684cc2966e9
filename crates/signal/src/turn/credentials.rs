//! Credentials of a TURN server: time-limited ones that need no table of users, and nonces that need none of clients.
//!
//! A username is `EXPIRY:USER`, the expiry in seconds since 1970, and its password Base64(HMAC-SHA1(secret, username)):
//! the scheme of draft-uberti-behave-turn-rest-00, as coturn has it. A nonce holds the time at which it was made, and a
//! MAC over that time and the client's address, so that nobody elsewhere can use it.

use std::net::SocketAddr;
use std::sync::Arc;

use base64ct::{Base64, Base64UrlUnpadded, Encoding as _};
use rtc_crypto::{HmacAlgorithm, RTCCryptoProvider, constant_time_eq, default_provider};
use rtc_stun::attributes::*;
use rtc_stun::integrity::MessageIntegrity;
use rtc_stun::message::*;

use super::message::Code;

/// Realm of the server: it is in each answer to a stranger, and short therefore.
pub(super) const REALM: &str = "plenary";
/// Time for which a nonce is good, in seconds: as recommended by RFC 8656, section 5.
const NONCE_S_MAX: u64 = 3_600;
/// Length of a nonce's MAC in bytes: one of 2^64 guesses.
const NONCE_MAC_LEN: usize = 8;
/// Maximum length of a username, a realm or a nonce that is looked at.
const TEXT_LEN_MAX: usize = 64;

/// Makes and checks credentials. Clones share the keys.
#[derive(Clone)]
pub(super) struct Keys {
    crypto: Arc<dyn RTCCryptoProvider>,
    /// Makes passwords; new in each process.
    secret: [u8; 32],
    /// Makes nonces.
    nonces: [u8; 32],
}

/// The signer of a request.
#[derive(Debug)]
pub(super) struct Signer {
    pub(super) username: String,
    /// Time at which the username expires, in seconds since 1970.
    pub(super) expiry_unix_s: u64,
    /// The key by which requests and their answers are signed.
    pub(super) key: Vec<u8>,
}

impl Signer {
    /// The user that the username names.
    pub(super) fn user(&self) -> &str {
        self.username.split_once(':').map_or(&self.username, |(_, user)| user)
    }
}

impl Keys {
    /// Draws new keys; `None` where the machine has no randomness or no cryptography.
    pub(super) fn draw() -> Option<Keys> {
        let crypto = default_provider().ok()?;
        let (mut secret, mut nonces) = ([0; 32], [0; 32]);
        crypto.random().fill(&mut secret).ok()?;
        crypto.random().fill(&mut nonces).ok()?;
        Some(Keys { crypto, secret, nonces })
    }

    /// Returns a username for `user` until that time, and its password.
    pub(super) fn username(&self, user: &str, expiry_unix_s: u64) -> Option<(String, String)> {
        let username = format!("{expiry_unix_s}:{user}");
        let password = self.password(&username)?;
        Some((username, password))
    }

    fn password(&self, username: &str) -> Option<String> {
        Some(Base64::encode_string(&self.mac(&self.secret, &[username.as_bytes()])?))
    }

    /// Checks the signature of a client's request, and removes the attributes that it doesn't cover. Costs some 5 µs.
    pub(super) fn check(
        &self,
        unix_s: u64,
        client: SocketAddr,
        request: &mut Message,
    ) -> Result<Signer, Code> {
        let is_signature = |attribute: &RawAttribute| attribute.typ == ATTR_MESSAGE_INTEGRITY;
        let signature = request.attributes.0.iter().position(is_signature).ok_or(Code::Unauthenticated)?;
        let text = |wanted| {
            let covered = request.attributes.0.iter().take(signature);
            let value = covered.filter(|attribute| attribute.typ == wanted).map(|found| &found.value).next();
            let text = value.and_then(|value| str::from_utf8(value).ok());
            text.filter(|text| text.len() <= TEXT_LEN_MAX).map(str::to_owned).ok_or(Code::BadRequest)
        };
        let (username, realm, nonce) = (text(ATTR_USERNAME)?, text(ATTR_REALM)?, text(ATTR_NONCE)?);
        if !self.is_fresh(&nonce, unix_s, client) {
            return Err(Code::StaleNonce);
        }
        let expiry = username.split_once(':').and_then(|(expiry, _)| expiry.parse().ok());
        let expiry_unix_s = expiry.ok_or(Code::Unauthenticated)?;
        if realm != REALM {
            return Err(Code::Unauthenticated);
        }
        let password = self.password(&username);
        let key = password.and_then(|password| self.key(username.clone(), realm, password));
        let key = key.ok_or(Code::InsufficientCapacity)?;
        MessageIntegrity::check(request, &key, self.crypto.crypto()).map_err(|_| Code::Unauthenticated)?;
        request.attributes.0.truncate(signature);
        Ok(Signer { username, expiry_unix_s, key })
    }

    /// Returns the key by which requests with a password are signed (RFC 8489, section 9.2.2).
    pub(super) fn key(&self, username: String, realm: String, password: String) -> Option<Vec<u8>> {
        MessageIntegrity::long_term_integrity_key(username, realm, password, self.crypto.crypto()).ok()
    }

    /// Signs a message.
    pub(super) fn sign(&self, answer: &mut Message, key: &[u8]) -> Option<()> {
        let crypto = self.crypto.crypto();
        MessageIntegrity::new_raw_integrity_with_provider(key, crypto).add_to(answer).ok()
    }

    /// Returns a nonce for a client.
    pub(super) fn nonce(&self, unix_s: u64, client: SocketAddr) -> Option<String> {
        let made = u32::try_from(unix_s).ok()?.to_be_bytes();
        let mac = self.mac(&self.nonces, &[&made, client.to_string().as_bytes()])?;
        Some(Base64UrlUnpadded::encode_string(&[&made[..], &mac[..NONCE_MAC_LEN]].concat()))
    }

    fn is_fresh(&self, nonce: &str, unix_s: u64, client: SocketAddr) -> bool {
        let bytes = Base64UrlUnpadded::decode_vec(nonce).unwrap_or_default();
        let Some(made) = bytes.first_chunk() else { return false };
        let made = u64::from(u32::from_be_bytes(*made));
        let Some(good) = self.nonce(made, client) else { return false };
        constant_time_eq(good.as_bytes(), nonce.as_bytes()) && unix_s.saturating_sub(made) <= NONCE_S_MAX
    }

    fn mac(&self, key: &[u8], input: &[&[u8]]) -> Option<[u8; 20]> {
        let mut mac = [0; 20];
        self.crypto.crypto().new_hmac(HmacAlgorithm::Sha1, key).ok()?.sign(input, &mut mac).ok()?;
        Some(mac)
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys")
    }
}
