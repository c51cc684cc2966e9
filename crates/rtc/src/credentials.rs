//! Credentials of a peer: its DTLS certificate, and the ICE user fragment and password of each link.

use rtc::crypto::{HashAlgorithm, RTCCryptoProvider, SignatureScheme};
use rtc::dtls::crypto::Certificate;
use rtc::peer_connection::certificate::{CertificateParams, RTCCertificate};
use rtc::shared::error::{Error, Result};

use std::sync::Arc;

/// The DTLS certificate of a peer, used on all its links.
#[derive(Clone)]
pub(crate) struct Credentials {
    pub(crate) provider: Arc<dyn RTCCryptoProvider>,
    pub(crate) certificate: Certificate,
    /// SHA-256 fingerprint of the certificate.
    pub(crate) fingerprint: [u8; 32],
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("fingerprint", &self.fingerprint).finish_non_exhaustive()
    }
}

impl Credentials {
    pub(crate) fn generate() -> Result<Credentials> {
        let provider = rtc::crypto::default_provider().map_err(other)?;
        let scheme = SignatureScheme::EcdsaP256Sha256;
        let generated = RTCCertificate::generate(provider.crypto(), scheme, CertificateParams::default())?;
        let certificate = generated.dtls_certificate;
        let der = certificate.certificate.first().ok_or(Error::ErrNonCertificate)?;
        let fingerprint = fingerprint(provider.as_ref(), der)?;
        Ok(Credentials { provider, certificate, fingerprint })
    }
}

/// SHA-256 fingerprint of a certificate (RFC 8122).
pub(crate) fn fingerprint(provider: &dyn RTCCryptoProvider, certificate: &[u8]) -> Result<[u8; 32]> {
    let hash = provider.crypto().hash(HashAlgorithm::Sha256, certificate).map_err(other)?;
    <[u8; 32]>::try_from(&hash[..]).map_err(|_| other("a SHA-256 hash has 32 bytes"))
}

fn other(error: impl ToString) -> Error {
    Error::Crypto(error.to_string())
}

/// Generates the ICE user fragment and password of one link: 48 and 144 random bits (RFC 8445, 5.3 requires
/// 24 and 128).
pub(crate) fn ice_credentials() -> std::result::Result<(String, String), getrandom::Error> {
    const ICE_CHARACTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut random = [0; 32];
    getrandom::fill(&mut random)?;
    let mut text =
        random.iter().filter_map(|byte| ICE_CHARACTERS.get(usize::from(byte & 63))).map(|&c| char::from(c));
    Ok((text.by_ref().take(8).collect(), text.collect()))
}
