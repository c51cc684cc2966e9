//! One attempt to connect to a rendezvous: name resolution, TCP, TLS, websocket, authentication.

use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use plenary_proto::RoomId;
use plenary_proto::seal::Keypair;
use tokio::net::lookup_host;
use tokio::sync::watch;
use tokio_tungstenite::tungstenite::http::Uri;
use tokio_tungstenite::tungstenite::http::uri::Scheme;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

#[cfg(feature = "tls")]
use super::tls::Tls;
use super::{Io, WebsocketConfig, WrapTcp, tcp};
use crate::signal::{Outage, SignalError};
use crate::socket::{self, Heard, heard};
use plenary_proto::rendezvous::{
    Doors, FrameError, FromPeer, FromRendezvous, Hello, HostProof, Refusal, SIGNAL_PATH, silence_ms_max,
};

/// Parameters of a connection attempt.
pub(super) struct Dial {
    pub(super) url: String,
    host: String,
    port: u16,
    /// `ws://…/signal`, with or without TLS below.
    websocket_url: String,
    room: RoomId,
    me: Keypair,
    door: Keypair,
    pub(super) root: Option<Keypair>,
    /// What this peer says as the room's host.
    pub(super) claim: watch::Receiver<Claim>,
    wrap: Option<WrapTcp>,
    #[cfg(feature = "tls")]
    tls: Option<Tls>,
}

/// A connection with the peer in its room.
pub(super) struct Joined {
    pub(super) socket: WebSocketStream<Box<dyn Io>>,
    /// Silence after which the rendezvous counts as gone.
    pub(super) silence_max: Duration,
    /// The wall clock of the rendezvous, seconds since 1970; one of an earlier version tells none.
    pub(super) unix_s: Option<u64>,
    /// The challenge, over which a peer proves later that it is the host, too.
    pub(super) nonce: [u8; 32],
}

/// What a peer with the root key says of itself to the rendezvous.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    /// The room's doors.
    pub(super) doors: Doors,
    /// Whether the peer is the host; else it is a member, like any other.
    pub(super) is_host: bool,
}

impl Dial {
    /// # Errors
    /// [`SignalError::BadUrl`].
    pub(super) fn new(config: WebsocketConfig, claim: watch::Receiver<Claim>) -> Result<Dial, SignalError> {
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
            url: config.url,
            room: config.room,
            me: config.me,
            door: config.door,
            root: config.root,
            claim,
            wrap: config.wrap,
            #[cfg(feature = "tls")]
            tls,
        })
    }

    /// Connects and enters the room.
    pub(super) async fn join(&self) -> Result<Joined, Outage> {
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
        self.greet(socket).await
    }

    /// Returns the proof that this peer is the room's host, over the nonce of a connection; `None` unless it says so.
    pub(super) fn host_proof(&self, nonce: &[u8; 32]) -> Option<HostProof> {
        let Claim { doors, is_host } = self.claim.borrow().clone();
        let root = self.root.as_ref().filter(|_| is_host)?;
        Some(HostProof::new(self.room, nonce, self.me.id(), root, &doors))
    }

    /// Answers the challenge and waits for the welcome.
    async fn greet(&self, mut socket: WebSocketStream<Box<dyn Io>>) -> Result<Joined, Outage> {
        let (mut said, mut told_unix_s) = (None, None);
        loop {
            let frame = match heard(socket.next().await) {
                Heard::Frame(frame) => frame,
                Heard::Life => continue,
                other => return Err(outage(other)),
            };
            match (FromRendezvous::from_bytes(&frame), said) {
                (Ok(FromRendezvous::Challenge { nonce }), None) => {
                    said = Some(nonce);
                    let host = self.host_proof(&nonce);
                    let hello = Hello::new(self.room, &nonce, &self.me, &self.door, host);
                    let frame = FromPeer::Hello(Box::new(hello)).to_bytes();
                    let sent = socket.send(Message::Binary(frame)).await;
                    sent.map_err(|error| outage(socket::trouble(&error)))?;
                }
                (Ok(FromRendezvous::Clock { unix_s }), Some(_)) => told_unix_s = Some(unix_s),
                (Ok(FromRendezvous::Welcome { ping_interval_ms }), Some(nonce)) => {
                    let silence_max = Duration::from_millis(silence_ms_max(ping_interval_ms).into());
                    return Ok(Joined { socket, silence_max, unix_s: told_unix_s, nonce });
                }
                (Ok(FromRendezvous::Refused(refusal)), _) => return Err(Outage::Refused(refusal)),
                (Ok(_), _) => return Err(Outage::Protocol("a frame out of turn".to_owned())),
                (Err(FrameError::Unknown(_)), _) => {}
                (Err(FrameError::Version(_)), _) => return Err(Outage::Refused(Refusal::Version)),
                (Err(error), _) => return Err(Outage::Protocol(error.to_string())),
            }
        }
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
