//! TLS with ring; trusts Mozilla's roots and the certificates of the caller: as authorities, and as servers' own.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

use super::Io;
use plenary_proto::rendezvous::Outage;

pub(super) struct Tls {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl Tls {
    pub(super) fn new(host: &str, roots_der: &[Bytes]) -> Result<Tls, &'static str> {
        let mut roots: RootCertStore = webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect();
        for der in roots_der {
            roots
                .add(CertificateDer::from(der.to_vec()))
                .map_err(|_| "a certificate to be trusted with it can't be read")?;
        }
        let provider = Arc::new(ring::default_provider());
        let known = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone());
        let known = known.build().map_err(|_| "TLS can't be set up")?;
        let pinned = roots_der.iter().map(|der| CertificateDer::from(der.to_vec())).collect();
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|_| "TLS can't be set up")?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(PinnedOrKnown { pinned, known }))
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let name = ServerName::try_from(host.to_owned()).map_err(|_| "it names no host")?;
        Ok(Tls { connector: TlsConnector::from(Arc::new(config)), name })
    }

    pub(super) async fn connect(&self, io: Box<dyn Io>) -> Result<Box<dyn Io>, Outage> {
        match self.connector.connect(self.name.clone(), io).await {
            Ok(secured) => Ok(Box::new(secured)),
            Err(error) => Err(untrusted(&error).unwrap_or_else(|| Outage::Connect(error.to_string()))),
        }
    }
}

/// Accepts a server with a certificate that the caller trusts, or with one that is certified for its name.
///
/// The usual self-signed certificate is that of an authority, often without a name, which no certificate check accepts
/// as a server's; equality with the trusted one proves more than such a check. The handshake proves that the server has
/// its key.
#[derive(Debug)]
struct PinnedOrKnown {
    pinned: Vec<CertificateDer<'static>>,
    known: Arc<WebPkiServerVerifier>,
}

impl ServerCertVerifier for PinnedOrKnown {
    fn verify_server_cert(
        &self,
        own: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.pinned.contains(own) {
            return Ok(ServerCertVerified::assertion());
        }
        self.known.verify_server_cert(own, chain, name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.known.verify_tls12_signature(message, own, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.known.verify_tls13_signature(message, own, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.known.supported_verify_schemes()
    }
}

/// Returns the outage of a certificate that was not accepted.
fn untrusted(error: &io::Error) -> Option<Outage> {
    match error.get_ref()?.downcast_ref()? {
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            Some(Outage::Untrusted("no authority that this peer knows has signed it".to_owned()))
        }
        Error::InvalidCertificate(why) => Some(Outage::Untrusted(why.to_string())),
        _ => None,
    }
}
