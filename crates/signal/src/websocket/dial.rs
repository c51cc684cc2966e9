//! Opening a websocket to a rendezvous: name resolution, TCP, TLS, HTTP.

use std::sync::Arc;

use plenary_proto::rendezvous::{FrameError, Outage, SIGNAL_PATH};
use tokio::net::lookup_host;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::http::Uri;
use tokio_tungstenite::tungstenite::http::uri::Scheme;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

#[cfg(feature = "tls")]
use super::tls::Tls;
use super::{Io, WebsocketConfig, WrapTcp, tcp};
use crate::signal::SignalError;
use crate::socket::{self, Heard};

/// Parameters of a connection attempt.
pub(super) struct Dial {
    pub(super) url: String,
    host: String,
    port: u16,
    /// `ws://…/signal`, with or without TLS below.
    websocket_url: String,
    wrap: Option<WrapTcp>,
    #[cfg(feature = "tls")]
    tls: Option<Tls>,
}

impl Dial {
    /// # Errors
    /// [`SignalError::BadUrl`].
    pub(super) fn new(config: &WebsocketConfig) -> Result<Dial, SignalError> {
        let bad = |why| SignalError::BadUrl { url: config.url.clone(), why };
        let uri: Uri = config.url.parse().map_err(|_| bad("it is no URL"))?;
        let secure = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTP => false,
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            _ => return Err(bad("it begins neither with http:// nor with https://")),
        };
        if uri.query().is_some() {
            return Err(bad("something stands behind its path"));
        }
        let below = uri.path().trim_end_matches('/'); // a proxy may serve it below a path
        let authority = uri.authority().ok_or_else(|| bad("it names no host"))?;
        let port = match authority.as_str().strip_prefix(authority.host()) {
            _ if authority.host().is_empty() => return Err(bad("it names no host")),
            None => return Err(bad("something stands before the host")),
            Some("") if secure => 443,
            Some("") => 80,
            Some(port) => {
                let port = port.strip_prefix(':').and_then(|port| port.parse().ok());
                port.ok_or_else(|| bad("its port is no number up to 65535"))?
            }
        };
        let bare = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        #[cfg(not(feature = "tls"))]
        if secure {
            return Err(bad("this program was built without TLS"));
        }
        #[cfg(feature = "tls")]
        let tls = secure.then(|| Tls::new(&bare, &config.roots_der)).transpose().map_err(bad)?;
        Ok(Dial {
            host: bare,
            port,
            websocket_url: format!("ws://{authority}{below}{SIGNAL_PATH}"),
            url: config.url.clone(),
            wrap: config.wrap.clone(),
            #[cfg(feature = "tls")]
            tls,
        })
    }

    /// Opens the websocket.
    pub(super) async fn open(self: Arc<Dial>) -> Result<WebSocketStream<Box<dyn Io>>, Outage> {
        let failed = |error: std::io::Error| Outage::Connect(error.to_string());
        let addresses = lookup_host((&*self.host, self.port)).await.map_err(failed)?;
        let tcp = tcp::connect_first(addresses).await.map_err(failed)?;
        tcp.set_nodelay(true).map_err(failed)?;
        let io: Box<dyn Io> = match &self.wrap {
            Some(wrap) => wrap(tcp),
            None => Box::new(tcp),
        };
        #[cfg(feature = "tls")]
        let io = match &self.tls {
            Some(tls) => tls.connect(io).await?,
            None => io,
        };
        let (socket, _) = client_async_with_config(&*self.websocket_url, io, Some(socket::bounds()))
            .await
            .map_err(not_upgraded)?;
        Ok(socket)
    }
}

fn not_upgraded(error: Error) -> Outage {
    match error {
        Error::Http(response) => Outage::Http(response.status().as_u16()),
        Error::Io(error) => Outage::Connect(error.to_string()),
        other => Outage::Protocol(other.to_string()),
    }
}

/// Converts a received item other than an expected frame to the outage that it means.
pub(super) fn outage(heard: Heard) -> Outage {
    match heard {
        Heard::Gone(why) => Outage::Closed(why),
        Heard::Malformed(what) => Outage::Protocol(what),
        Heard::TooLong => Outage::Protocol(FrameError::TooLong.to_string()),
        Heard::Frame(_) | Heard::Life => Outage::Protocol("a frame out of turn".to_owned()),
    }
}
