//! TLS with ring; trusts Mozilla's roots and the certificates of the caller.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{CertificateError, ClientConfig, Error, RootCertStore};

use super::Io;
use crate::signal::Outage;

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
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|_| "TLS can't be set up")?
            .with_root_certificates(roots)
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
