//! Encryption of a link: the DTLS connection, and the SRTP keys that its handshake exports (RFC 5764).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::{Buf as _, Bytes, BytesMut};
use rtc::dtls::cipher_suite::CipherSuiteId;
use rtc::dtls::config::{ClientAuthType, ConfigBuilder, ExtendedMasterSecretType, HandshakeConfig};
use rtc::dtls::endpoint::{Endpoint, EndpointEvent};
use rtc::dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc::dtls::state::State;
use rtc::rtp;
use rtc::shared::error::{Error, Result};
use rtc::shared::marshal::{Marshal as _, MarshalSize as _, Unmarshal as _};
use rtc::shared::{TransportContext, TransportProtocol};
use rtc::srtp::config::{Config, LABEL_EXTRACTOR_DTLS_SRTP};
use rtc::srtp::context::Context;
use rtc::srtp::option::{srtcp_replay_protection, srtp_replay_protection};
use rtc::srtp::protection_profile::ProtectionProfile;

use crate::credentials::{Credentials, fingerprint};
use crate::screen::{Records, Verdict};

/// Size of the SRTP and SRTCP replay windows, in packets: 6 s of 1.5 Mbit/s (RFC 3711 requires at least 64).
const REPLAY_WINDOW: usize = 1_024;
/// SRTP profiles, in order of preference: AEAD, and what browsers need not have more than (RFC 8827, 6.5), which
/// natives don't accept of each other.
const PROFILES: [(SrtpProtectionProfile, ProtectionProfile); 3] = [
    (SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm, ProtectionProfile::AeadAes128Gcm),
    (SrtpProtectionProfile::Srtp_Aead_Aes_256_Gcm, ProtectionProfile::AeadAes256Gcm),
    (SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80, ProtectionProfile::Aes128CmHmacSha1_80),
];
/// The first ones of [`PROFILES`] are AEAD.
const AEAD_PROFILES: usize = 2;

/// Cipher suites of DTLS: AEAD only. By default the stack also offers AES-256-CBC with SHA-1.
pub(crate) const CIPHER_SUITES: [CipherSuiteId; 4] = [
    CipherSuiteId::Tls_Ecdhe_Ecdsa_With_Aes_128_Gcm_Sha256,
    CipherSuiteId::Tls_Ecdhe_Ecdsa_With_ChaCha20_Poly1305_Sha256,
    CipherSuiteId::Tls_Ecdhe_Rsa_With_Aes_128_Gcm_Sha256,
    CipherSuiteId::Tls_Ecdhe_Rsa_With_ChaCha20_Poly1305_Sha256,
];

/// The DTLS connection of a link.
///
/// The stack's endpoints of DTLS and SCTP tell connections apart by the other end's address. A link has one
/// connection, and ICE may move it to another address, so both endpoints are given placeholders: [`this_end`] and
/// [`other_end`].
pub(crate) struct Dtls {
    endpoint: Endpoint,
    credentials: Credentials,
    /// Configuration of a client, until its handshake begins.
    waiting: Option<Arc<HandshakeConfig>>,
    pub(crate) is_client: bool,
    screen: Records,
}

/// Content of a DTLS datagram.
pub(crate) enum Secured {
    /// The handshake is complete.
    Keys(Box<Srtp>),
    /// A packet of SCTP.
    Packet(Bytes),
    /// The other end has closed the connection.
    Closed,
}

impl Dtls {
    /// Prepares a connection. `expected` is the fingerprint of the other end's certificate.
    pub(crate) fn new(
        credentials: &Credentials,
        expected: [u8; 32],
        is_client: bool,
        is_browser: bool,
    ) -> Result<Dtls> {
        let profiles = PROFILES.iter().take(if is_browser { PROFILES.len() } else { AEAD_PROFILES });
        let provider = credentials.provider.clone();
        let checks = provider.clone();
        let verify = move |chain: &[Vec<u8>], _: &[_]| {
            let certificate = chain.first().ok_or(Error::ErrNonCertificate)?;
            let is_expected = fingerprint(checks.as_ref(), certificate)? == expected;
            is_expected.then_some(()).ok_or(Error::ErrNoMatchingCertificateFingerprint)
        };
        let config = ConfigBuilder::default()
            .with_crypto_provider(provider)
            .with_certificates(vec![credentials.certificate.clone()])
            .with_cipher_suites(CIPHER_SUITES.to_vec())
            .with_srtp_protection_profiles(profiles.map(|(offered, _)| *offered).collect())
            .with_client_auth(ClientAuthType::RequireAnyClientCert)
            // certificates are self-signed; the fingerprint in the description identifies the other end
            .with_insecure_skip_verify(true)
            .with_verify_peer_certificate(Some(Arc::new(verify)))
            // as the stack names it, which otherwise warns at each link that no name was set
            .with_server_name("localhost".to_owned())
            .with_extended_master_secret(ExtendedMasterSecretType::Require)
            .build(is_client, None)?;
        let config = Arc::new(config);
        let (waiting, server) = if is_client { (Some(config), None) } else { (None, Some(config)) };
        let endpoint = Endpoint::new(this_end(), TransportProtocol::UDP, server);
        let screen = Records::new(is_client);
        Ok(Dtls { endpoint, credentials: credentials.clone(), waiting, is_client, screen })
    }

    /// Called when ICE has found a path: a client begins its handshake.
    pub(crate) fn path_found(&mut self, now: Instant) -> Result<()> {
        self.waiting.take().map_or(Ok(()), |config| self.endpoint.connect(now, other_end(), config, None))
    }

    pub(crate) fn read(&mut self, now: Instant, datagram: &[u8], secured: &mut Vec<Secured>) -> Result<()> {
        if self.screen.datagram(datagram) == Verdict::Drop {
            return Err(Error::Other("the screen lets no such records pass".to_owned()));
        }
        for event in self.endpoint.read(now, other_end(), None, BytesMut::from(datagram))? {
            match event {
                EndpointEvent::HandshakeComplete => {
                    self.screen.complete();
                    let state = self.endpoint.get_connection_state(other_end());
                    let srtp = Srtp::new(state.ok_or(Error::ErrDtlsTransportNotStarted)?, &self.credentials)?;
                    secured.push(Secured::Keys(Box::new(srtp)));
                }
                EndpointEvent::ApplicationData(packet) => secured.push(Secured::Packet(packet.freeze())),
                EndpointEvent::PeerClosed => secured.push(Secured::Closed),
                _ => {}
            }
        }
        Ok(())
    }

    /// Encrypts a packet of SCTP.
    pub(crate) fn write(&mut self, now: Instant, packet: &[u8]) -> Result<()> {
        self.endpoint.write(now, other_end(), packet)
    }

    pub(crate) fn poll_transmit(&mut self) -> Option<BytesMut> {
        self.endpoint.poll_transmit().map(|transmit| transmit.message)
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Result<()> {
        if self.poll_timeout().is_some_and(|due| due <= now) {
            self.endpoint.handle_timeout(other_end(), now)?;
        }
        Ok(())
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.endpoint.poll_timeout(&other_end())
    }

    /// Tells the other end that the connection is over (`close_notify`).
    pub(crate) fn close(&mut self, now: Instant) -> Result<()> {
        self.endpoint.close(now)
    }
}

/// Placeholder for the address of this end.
pub(crate) fn this_end() -> SocketAddr {
    TransportContext::default().local_addr
}

/// Placeholder for the address of the other end.
pub(crate) fn other_end() -> SocketAddr {
    TransportContext::default().peer_addr
}

/// The SRTP keys of a link, and its replay windows.
pub(crate) struct Srtp {
    local: Context,
    remote: Context,
    /// A packet before its encryption.
    plain: Vec<u8>,
}

impl Srtp {
    fn new(state: &State, credentials: &Credentials) -> Result<Srtp> {
        let agreed = state.srtp_protection_profile();
        let profile = PROFILES.iter().find(|(offered, _)| *offered == agreed);
        let (_, profile) = profile.copied().ok_or(Error::ErrNoSuchSrtpProfile)?;
        let mut config = Config { profile, ..Config::default() };
        let material =
            state.export_keying_material(LABEL_EXTRACTOR_DTLS_SRTP, &[], config.keying_material_len())?;
        config.set_session_keys_from_keying_material(material.as_ref(), state.is_client())?;
        let (keys, crypto) = (&config.keys, credentials.provider.crypto());
        let local =
            Context::new(&keys.local_master_key, &keys.local_master_salt, profile, None, None, crypto)?;
        let remote = Context::new(
            &keys.remote_master_key,
            &keys.remote_master_salt,
            profile,
            Some(srtp_replay_protection(REPLAY_WINDOW)),
            Some(srtcp_replay_protection(REPLAY_WINDOW)),
            crypto,
        )?;
        Ok(Srtp { local, remote, plain: Vec::new() })
    }

    /// Encrypts a packet.
    pub(crate) fn seal(&mut self, packet: &rtp::Packet) -> Result<BytesMut> {
        self.plain.resize(packet.marshal_size(), 0);
        packet.marshal_to(&mut self.plain)?;
        self.local.encrypt_rtp_with_header(&self.plain, &packet.header)
    }

    /// Decrypts a packet, which isn't a replay.
    pub(crate) fn open(&mut self, datagram: &[u8]) -> Result<rtp::Packet> {
        let mut rest = datagram;
        let header = rtp::Header::unmarshal(&mut rest)?;
        let header_len = datagram.len() - rest.remaining();
        let mut payload = self.remote.decrypt_rtp_with_header(datagram, &header)?.freeze();
        if payload.len() < header_len {
            return Err(Error::ErrShortPacket);
        }
        payload.advance(header_len);
        if header.padding {
            let padding_len = payload.last().map_or(usize::MAX, |&len| usize::from(len));
            payload.truncate(payload.len().checked_sub(padding_len).ok_or(Error::ErrShortPacket)?);
        }
        Ok(rtp::Packet { header, payload })
    }

    pub(crate) fn seal_rtcp(&mut self, packet: Box<dyn rtc::rtcp::Packet>) -> Result<BytesMut> {
        let plain = rtc::rtcp::packet::marshal(&[packet])?;
        self.local.encrypt_rtcp(&plain)
    }

    pub(crate) fn open_rtcp(&mut self, datagram: &[u8]) -> Result<Vec<Box<dyn rtc::rtcp::Packet>>> {
        let mut plain = self.remote.decrypt_rtcp(datagram)?;
        rtc::rtcp::packet::unmarshal(&mut plain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the cipher suites in a ClientHello (RFC 6347, 4.2.1; RFC 5246, 7.4.1.2), which travels in plain text.
    fn offered(hello: &[u8]) -> Vec<u16> {
        // record and handshake headers of 13 and 12 bytes, version 2, random 32
        let (session, rest) = hello.get(13 + 12 + 34..).and_then(|rest| rest.split_first()).unwrap();
        let (cookie, rest) = rest.get(usize::from(*session)..).and_then(|rest| rest.split_first()).unwrap();
        let rest = &rest[usize::from(*cookie)..];
        let len = usize::from(u16::from_be_bytes([rest[0], rest[1]]));
        rest[2..2 + len].chunks(2).map(|suite| u16::from_be_bytes([suite[0], suite[1]])).collect()
    }

    #[test]
    fn dtls_offers_aead_suites_only() {
        let (credentials, now) = (Credentials::generate().unwrap(), Instant::now());
        let mut client = Dtls::new(&credentials, [0; 32], true, false).unwrap();
        client.path_found(now).unwrap();
        let hello = std::iter::from_fn(|| client.poll_transmit()).next().unwrap();
        let suites = offered(&hello);
        // the last value is no suite: TLS_EMPTY_RENEGOTIATION_INFO_SCSV (RFC 5746, 3.3)
        let aead = [0xc02b, 0xcca9, 0xc02f, 0xcca8];
        assert!(suites.contains(&0xc02b), "{suites:04x?}");
        assert!(suites.iter().all(|suite| aead.contains(suite) || *suite == 0x00ff), "{suites:04x?}");
    }
}
