//! TLS of a rendezvous: its certificate, and the handshake on its port.
//!
//! The first byte of a connection tells TLS from plain HTTP, which is redirected to https at the same address.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::{StatusCode, header, uri};
use axum::middleware;
use axum::response::{IntoResponse as _, Redirect, Response};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject as _};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{Error, InconsistentKeys, ServerConfig};
use tokio_rustls::server::TlsStream;

use super::{Lobby, downloads};

/// First byte of a TLS handshake (RFC 8446, 5.1: the content type of its record).
const HANDSHAKE: u8 = 22;

/// Certificate and private key by which a rendezvous serves https. Clones share them.
#[derive(Clone)]
pub struct ServerTls(Arc<Mutex<TlsAcceptor>>);

/// Reason that a certificate or a key cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The certificates cannot be read.
    #[error("it holds no certificate in PEM: {0}")]
    Certificate(String),
    /// The private key cannot be read.
    #[error("it holds no private key in PEM: {0}")]
    Key(String),
    /// The private key is not the certificate's.
    #[error("the private key belongs to another certificate")]
    OtherKey,
}

impl ServerTls {
    /// Reads a chain of certificates, the server's own first, and its private key (PKCS #8, PKCS #1 or SEC 1), all in
    /// PEM.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn from_pem(certificates: &[u8], key: &[u8]) -> Result<ServerTls, TlsError> {
        let chain: Vec<_> = certificates_from_pem(certificates)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| TlsError::Key(reason(&error)))?;
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError::Certificate(error.to_string()))?
            .with_no_client_auth()
            .with_single_cert(chain, key);
        let mut config = config.map_err(|error| match error {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => TlsError::OtherKey,
            Error::InvalidCertificate(error) => TlsError::Certificate(error.to_string()),
            other => TlsError::Key(other.to_string()),
        })?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(ServerTls(Arc::new(Mutex::new(TlsAcceptor::from(Arc::new(config))))))
    }

    /// Serves with another certificate from the next connection on, at all servers that have a clone of this.
    pub fn replace(&self, with: &ServerTls) {
        let newer = with.acceptor();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = newer;
    }

    fn acceptor(&self) -> TlsAcceptor {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Shakes hands with a connection within `handshake_max`.
    pub(super) async fn open(&self, stream: TcpStream, handshake_max: Duration) -> io::Result<Opened> {
        let opening = async {
            let mut first = [0];
            stream.peek(&mut first).await?;
            if first != [HANDSHAKE] {
                return Ok(Opened::Plain(stream));
            }
            Ok(Opened::Secure(Box::new(self.acceptor().accept(stream).await?)))
        };
        timeout(handshake_max, opening).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl std::fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ServerTls")
    }
}

/// A connection after its first bytes.
pub(super) enum Opened {
    Secure(Box<TlsStream<TcpStream>>),
    /// It speaks no TLS.
    Plain(TcpStream),
}

/// Reads all certificates of a PEM text; returns them in DER.
///
/// # Errors
/// [`TlsError::Certificate`], also if there is none.
pub fn certificates_from_pem(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    let wrong = |error: pem::Error| TlsError::Certificate(reason(&error));
    let found = read.map_err(wrong)?;
    if found.is_empty() { Err(wrong(pem::Error::NoItemsFound)) } else { Ok(found) }
}

fn reason(error: &pem::Error) -> String {
    match error {
        pem::Error::NoItemsFound => "there is no such block".to_owned(),
        other => other.to_string(),
    }
}

/// Returns the routes for plain HTTP on a port of https: a redirect of each request.
pub(super) fn redirects(lobby: &Lobby) -> Router {
    let pace = middleware::from_fn_with_state(lobby.clone(), downloads::pace_refusals);
    Router::new().fallback(redirect).layer(pace)
}

async fn redirect(request: Request) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let host = host.and_then(|host| host.parse::<uri::Authority>().ok());
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    match host {
        Some(host) => Redirect::temporary(&format!("https://{host}{path}")).into_response(),
        None => (StatusCode::BAD_REQUEST, "This address speaks https.\n").into_response(),
    }
}
