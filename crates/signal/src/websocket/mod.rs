//! The websocket client of a rendezvous: one [`Connection`], which reconnects by itself, over TCP and TLS.
//!
//! One task dials when the connection says so, and carries frames in both directions. When the websocket breaks, the
//! connection retries. Before the first one is up, it gives up after a timeout, or at once if the room is unknown or
//! full. Later it retries without end, at most 10 s apart, because a restarted rendezvous knows no rooms until their
//! hosts are back.

mod dial;
mod tcp;
#[cfg(feature = "tls")]
mod tls;
mod upkeep;

use std::sync::{Arc, Mutex as SyncMutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use plenary_proto::seal::Keypair;
use plenary_proto::{PeerId, RoomId};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::signal::{Signal, SignalError, SignalEvent, check_len};
use dial::Dial;
use plenary_proto::rendezvous::{Address, Connection, Doors, Entrance, HostEntrance, NotSent, PATIENCE_US};
use upkeep::{CLOSING_MAX, Shared, Upkeep};

/// Maximum number of events that wait to be fetched. At the limit the connection is not read.
const EVENTS_MAX: usize = 256;

/// A bidirectional byte stream.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// Wraps a TCP connection before use, for example in a shaper or in a switch that cuts it.
pub type WrapTcp = Arc<dyn Fn(TcpStream) -> Box<dyn Io> + Send + Sync>;

/// Configuration of a [`WebsocketSignal`]: the rendezvous, the room, and the peer's keys.
#[derive(Clone)]
pub struct WebsocketConfig {
    /// URL of the rendezvous: `http://HOST[:PORT]` or, with the feature `tls`, `https://HOST[:PORT]`, and a
    /// path below which it is served, if there is one.
    pub url: String,
    /// The room to enter.
    pub room: RoomId,
    /// The peer's key pair. It signs the challenge of the rendezvous, which proves the peer's id.
    pub me: Keypair,
    /// The key pair of the door by which the peer enters
    /// ([`RoomKey::door`](plenary_proto::seal::RoomKey::door)).
    pub door: Keypair,
    /// The room's root key pair, which opens the room by that door; set by the host only.
    pub root: Option<Keypair>,
    /// Whether a host enters as a member first, as one does that opens its room again: what it asks then reaches the
    /// members that have stayed, until [`Signal::claim`]. Where no member has stayed it opens the room at once.
    pub returns: bool,
    /// Wrapper applied to each TCP connection, below TLS; none by default.
    pub wrap: Option<WrapTcp>,
    /// Timeout for the first connection: 10 s by default.
    pub patience: Duration,
    /// Certificates (DER) trusted for `https://` in addition to Mozilla's roots.
    pub roots_der: Vec<Bytes>,
}

impl WebsocketConfig {
    /// Configuration of a joining peer, with all defaults.
    pub fn new(url: impl Into<String>, room: RoomId, me: Keypair, door: Keypair) -> WebsocketConfig {
        WebsocketConfig {
            url: url.into(),
            room,
            me,
            door,
            root: None,
            returns: false,
            wrap: None,
            patience: Duration::from_micros(PATIENCE_US),
            roots_der: Vec::new(),
        }
    }
}

/// A [`Signal`] over a websocket to a [`Rendezvous`](crate::Rendezvous).
///
/// - Up to 256 envelopes are queued while there is no connection or the rendezvous reads slowly. Each is
///   dropped after 10 s, since a protocol that retries has repeated it by then.
/// - An envelope that is being written when the connection breaks is lost.
/// - Up to 256 events wait to be fetched. At the limit the connection is not read, and a peer that fetches
///   none for three ping intervals (15 s by default) loses the connection. Datagrams of tunnels fill at most half of
///   that queue; further ones are dropped.
/// - Dropping the signal disconnects at once.
#[derive(Debug)]
pub struct WebsocketSignal {
    shared: Arc<Shared>,
    events: Mutex<mpsc::Receiver<SignalEvent>>,
    closing: CancellationToken,
    upkeep: SyncMutex<Option<JoinHandle<()>>>,
}

impl WebsocketSignal {
    /// Starts connecting, in a task of the current tokio runtime. Events report the outcome: `Up`, or `Down`
    /// for each failed try and finally `Ended`.
    ///
    /// # Errors
    /// [`SignalError::BadUrl`].
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn connect(config: WebsocketConfig) -> Result<WebsocketSignal, SignalError> {
        let dial = Arc::new(Dial::new(&config)?);
        let WebsocketConfig { room, me, door, root, returns, patience, .. } = config;
        let doors = Doors::truncated([door.id()]);
        let host = root.map(|root| HostEntrance { root, doors, claims: !returns });
        let patience_us = patience.as_micros() as u64;
        let entrance = Entrance { room, me, door, host, patience_us };
        // without a source of randomness the peers of a restarted rendezvous come at the same moments
        let connection = Connection::new(entrance, getrandom::u64().unwrap_or_default());
        let (shared, closing) = (Arc::new(Shared::new(connection)), CancellationToken::new());
        let (told, events) = mpsc::channel(EVENTS_MAX);
        let upkeep = Upkeep { dial, shared: shared.clone(), events: told, closing: closing.clone() };
        let upkeep = tokio::spawn(upkeep.run().in_current_span());
        Ok(WebsocketSignal {
            shared,
            events: Mutex::new(events),
            closing,
            upkeep: SyncMutex::new(Some(upkeep)),
        })
    }

    /// Replaces the doors of the room, now and after each reconnection; by its host only. Each is the public key of a
    /// [`RoomKey::door`](plenary_proto::seal::RoomKey::door). Peers that are in the room stay.
    pub fn set_doors(&self, doors: Doors) {
        self.shared.with(|_, connection| connection.set_doors(doors));
    }
}

#[async_trait]
impl Signal for WebsocketSignal {
    fn send(&self, to: Address, envelope: Bytes) -> Result<(), SignalError> {
        check_len(&envelope)?;
        if self.closing.is_cancelled() {
            return Err(SignalError::Ended);
        }
        let sent = self.shared.with(|now_us, connection| connection.send(now_us, to, envelope));
        sent.map_err(|not_sent| match not_sent {
            NotSent::Full => SignalError::QueueFull,
            NotSent::Ended => SignalError::Ended,
        })
    }

    fn tunnel(&self, to: PeerId, batch: Bytes) -> bool {
        !self.closing.is_cancelled() && self.shared.with(|_, connection| connection.tunnel(to, batch))
    }

    async fn next(&self) -> Option<SignalEvent> {
        self.events.lock().await.recv().await
    }

    fn claim(&self) {
        self.shared.with(|_, connection| connection.claim());
    }

    fn set_on_stage(&self, is_on_stage: bool) {
        self.shared.with(|_, connection| connection.set_on_stage(is_on_stage));
    }

    fn renew(&self) {
        self.shared.renew();
    }

    async fn close(&self) {
        self.closing.cancel();
        let upkeep = self.upkeep.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut upkeep) = upkeep
            && timeout(CLOSING_MAX, &mut upkeep).await.is_err()
        {
            upkeep.abort();
        }
    }
}

impl Drop for WebsocketSignal {
    fn drop(&mut self) {
        if let Some(upkeep) = self.upkeep.get_mut().unwrap_or_else(PoisonError::into_inner) {
            upkeep.abort();
        }
    }
}
