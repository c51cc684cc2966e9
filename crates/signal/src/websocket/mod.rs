//! A peer's end of a rendezvous: one connection, kept up by itself.
//!
//! One task dials, proves who the peer is, and carries envelopes both ways; when the connection breaks it
//! says so and tries again. Until it was up for the first time it gives up after a while, and at once if the
//! room is unknown or full; after that it tries for ever, with at most 10 s between tries, because a
//! rendezvous that restarts has forgotten the rooms until their hosts are back.

mod backoff;
mod dial;
mod send_queue;
mod tcp;
#[cfg(feature = "tls")]
mod tls;
mod upkeep;

use std::sync::{Arc, Mutex as SyncMutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use plenary_proto::RoomId;
use plenary_proto::seal::Keypair;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::signal::{Signal, SignalError, SignalEvent, check_len};
use crate::wire::Address;
use dial::Dial;
use send_queue::SendQueue;
use upkeep::{CLOSING_MAX, Upkeep};

/// Most events that wait to be fetched; then the connection is not read.
const EVENTS_MAX: usize = 256;

/// A stream of bytes both ways.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// Puts something between a TCP connection and what uses it: a shaper, say, or a switch that cuts it.
pub type WrapTcp = Arc<dyn Fn(TcpStream) -> Box<dyn Io> + Send + Sync>;

/// Where a peer connects to, and as whom.
#[derive(Clone)]
pub struct WebsocketConfig {
    /// The rendezvous: `http://HOST[:PORT]` or, with the feature `tls`, `https://HOST[:PORT]`; no path.
    pub url: String,
    /// The room to get into.
    pub room: RoomId,
    /// Signs the rendezvous' challenge, which proves the peer's id.
    pub me: Keypair,
    /// Of the host only: the room's root key, which opens the room.
    pub root: Option<Keypair>,
    /// Applied to each TCP connection, below TLS; by default there is none.
    pub wrap: Option<WrapTcp>,
    /// How long it may take until the first connection is up: 10 s by default.
    pub patience: Duration,
    /// Certificates (DER) that are trusted besides Mozilla's roots, for `https://`.
    pub roots_der: Vec<Bytes>,
}

impl WebsocketConfig {
    /// A joiner's, with all defaults.
    pub fn new(url: impl Into<String>, room: RoomId, me: Keypair) -> WebsocketConfig {
        let patience = Duration::from_secs(10);
        WebsocketConfig { url: url.into(), room, me, root: None, wrap: None, patience, roots_der: Vec::new() }
    }
}

/// A [`Signal`] over a websocket to a [`Rendezvous`](crate::Rendezvous).
///
/// Up to 256 envelopes wait while there is no connection, or while the rendezvous takes them only slowly;
/// each is dropped after 10 s, since a protocol that retries has repeated it by then. An envelope that was
/// being written when the connection broke is lost. Up to 256 events wait to be fetched; then nothing more is
/// read, and whoever doesn't fetch any for 15 s loses the connection. Dropped, it disconnects at once.
#[derive(Debug)]
pub struct WebsocketSignal {
    send_queue: Arc<SendQueue>,
    events: Mutex<mpsc::Receiver<SignalEvent>>,
    closing: CancellationToken,
    upkeep: SyncMutex<Option<JoinHandle<()>>>,
}

impl WebsocketSignal {
    /// Begins to connect, in a task of the current tokio runtime; how it goes is told by events: `Up`, or
    /// `Down` for each failed try and in the end `Ended`.
    ///
    /// # Errors
    /// [`SignalError::BadUrl`].
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn connect(config: WebsocketConfig) -> Result<WebsocketSignal, SignalError> {
        let patience = config.patience;
        let dial = Dial::new(config)?;
        let send_queue = Arc::new(SendQueue::default());
        let closing = CancellationToken::new();
        let (told, events) = mpsc::channel(EVENTS_MAX);
        let upkeep = Upkeep::new(dial, send_queue.clone(), told, closing.clone(), patience);
        let upkeep = tokio::spawn(upkeep.run().in_current_span());
        Ok(WebsocketSignal {
            send_queue,
            events: Mutex::new(events),
            closing,
            upkeep: SyncMutex::new(Some(upkeep)),
        })
    }
}

#[async_trait]
impl Signal for WebsocketSignal {
    fn send(&self, to: Address, envelope: Bytes) -> Result<(), SignalError> {
        check_len(&envelope)?;
        self.send_queue.push(to, envelope, Instant::now())
    }

    async fn next(&self) -> Option<SignalEvent> {
        self.events.lock().await.recv().await
    }

    async fn close(&self) {
        self.send_queue.end();
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
