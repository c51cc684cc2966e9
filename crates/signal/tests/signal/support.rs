//! Shared by the tests: keys, a rendezvous, connected peers, a raw peer that sends single frames, and a
//! switch that cuts a connection silently.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _};
use plenary_proto::rendezvous::{Doors, FromPeer, FromRendezvous, Hello, HostProof};
use plenary_proto::seal::Keypair;
use plenary_proto::{PeerId, RoomId};
use plenary_signal::{
    Address, Io, Limits, Refusal, Rendezvous, RendezvousConfig, SIGNAL_PATH, Signal, SignalEvent,
    WebsocketConfig, WebsocketSignal, WrapTcp,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::{WebSocketStream, client_async};

/// Timeout for a hanging test; not part of any measurement.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) const ANY_PORT: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// Awaits a future, with the timeout `PATIENCE`.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it takes too long")
}

pub(crate) fn key(number: u16) -> Keypair {
    let mut seed = [7; 32];
    seed[..2].copy_from_slice(&number.to_be_bytes());
    Keypair::from_seed(&seed)
}

/// The room with the root key `root()`.
pub(crate) fn room() -> RoomId {
    RoomId::of_root(&root().id())
}

pub(crate) fn root() -> Keypair {
    key(0)
}

/// The key that whoever holds the room's invite has.
pub(crate) fn door() -> Keypair {
    key(50_000)
}

pub(crate) fn doors() -> Doors {
    Doors::truncated([door().id()])
}

pub(crate) fn peer(number: u16) -> Address {
    Address::Peer(key(number).id())
}

/// A rendezvous that has been there for a while: it holds nobody whose room isn't open.
pub(crate) async fn rendezvous(limits: Limits) -> Rendezvous {
    rendezvous_at(ANY_PORT, Limits { holds_newcomers: Duration::ZERO, ..limits })
}

pub(crate) fn rendezvous_at(address: SocketAddr, limits: Limits) -> Rendezvous {
    Rendezvous::bind(address, RendezvousConfig { limits, ..RendezvousConfig::default() }).unwrap()
}

pub(crate) fn url(rendezvous: &Rendezvous) -> String {
    format!("http://{}", rendezvous.local_addr())
}

/// Configuration of a peer; number 1 is the host.
pub(crate) fn config(rendezvous: &Rendezvous, number: u16) -> WebsocketConfig {
    let mut config = WebsocketConfig::new(url(rendezvous), room(), key(number), door());
    config.root = (number == 1).then(root);
    config
}

/// Connects a peer and waits until it is up.
pub(crate) async fn up(config: WebsocketConfig) -> WebsocketSignal {
    let signal = WebsocketSignal::connect(config).unwrap();
    assert_eq!(next(&signal).await, SignalEvent::Up);
    signal
}

/// Returns the next event other than the time, and that tunnels are carried.
pub(crate) async fn next(signal: &dyn Signal) -> SignalEvent {
    loop {
        match within(signal.next()).await.expect("the signal has ended") {
            SignalEvent::Clock { .. } | SignalEvent::Opens | SignalEvent::Carries => {}
            event => return event,
        }
    }
}

/// Waits for the event `Up`; returns the events before it.
pub(crate) async fn until_up(signal: &dyn Signal) -> Vec<SignalEvent> {
    let mut before = Vec::new();
    within(async {
        loop {
            match next(signal).await {
                SignalEvent::Up => return before,
                event => before.push(event),
            }
        }
    })
    .await
}

/// Sends until an envelope is undeliverable. Envelopes sent while the peer is leaving are lost silently.
pub(crate) async fn until_undeliverable(signal: &dyn Signal, to: Address) {
    let asking = async {
        loop {
            signal.send(to, "are you there?".into()).unwrap();
            tokio::select! {
                event = next(signal) => return event,
                () = tokio::time::sleep(Duration::from_millis(50)) => {}
            }
        }
    };
    assert_eq!(within(asking).await, SignalEvent::Undeliverable { to });
}

pub(crate) fn envelope(from: u16, bytes: impl Into<Bytes>) -> SignalEvent {
    SignalEvent::Envelope { from: key(from).id(), bytes: bytes.into() }
}

/// A peer that sends single frames, as the test requires.
pub(crate) struct RawPeer(pub(crate) WebSocketStream<TcpStream>);

/// A frame received by a [`RawPeer`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Received {
    Envelope(PeerId, Bytes),
    Tunnel(PeerId, Bytes),
    Undeliverable(Address),
    Refused(Refusal),
    Close(CloseCode),
    Gone,
}

impl RawPeer {
    /// Opens the websocket and sends no frame.
    pub(crate) async fn open(rendezvous: &Rendezvous) -> RawPeer {
        let address = rendezvous.local_addr();
        let tcp = TcpStream::connect(address).await.unwrap();
        let request = format!("ws://{address}{SIGNAL_PATH}");
        RawPeer(within(client_async(request, tcp)).await.unwrap().0)
    }

    pub(crate) async fn challenge(&mut self) -> [u8; 32] {
        loop {
            let Message::Binary(frame) = within(self.0.next()).await.unwrap().unwrap() else {
                panic!("no frame");
            };
            match FromRendezvous::from_bytes(&frame).unwrap() {
                FromRendezvous::Clock { .. } => {}
                FromRendezvous::Challenge { nonce } => return nonce,
                other => panic!("{other:?} out of turn"),
            }
        }
    }

    /// Connects a peer and enters the room.
    pub(crate) async fn enter(rendezvous: &Rendezvous, number: u16) -> RawPeer {
        let mut raw = RawPeer::open(rendezvous).await;
        let nonce = raw.challenge().await;
        let proof = || HostProof::new(room(), &nonce, key(number).id(), &root(), &doors());
        let hello = Hello::new(room(), &nonce, &key(number), &door(), (number == 1).then(proof));
        raw.say(&FromPeer::Hello(Box::new(hello))).await;
        raw.welcome().await;
        raw
    }

    /// Waits until the peer is in the room.
    pub(crate) async fn welcome(&mut self) {
        loop {
            let Message::Binary(frame) = within(self.0.next()).await.unwrap().unwrap() else {
                panic!("no frame");
            };
            match FromRendezvous::from_bytes(&frame).unwrap() {
                FromRendezvous::Clock { .. } | FromRendezvous::Carries => {}
                FromRendezvous::Welcome { .. } => return,
                other => panic!("{other:?} out of turn"),
            }
        }
    }

    pub(crate) async fn say(&mut self, frame: &FromPeer<'_>) {
        self.0.send(Message::Binary(frame.to_bytes())).await.unwrap();
    }

    /// Returns the next frame that is neither a ping nor the time.
    pub(crate) async fn received(&mut self) -> Received {
        loop {
            let frame = match within(self.0.next()).await {
                Some(Ok(Message::Binary(frame))) => frame,
                Some(Ok(Message::Close(close))) => {
                    return Received::Close(close.map_or(CloseCode::Status, |close| close.code));
                }
                Some(Ok(_)) => continue,
                Some(Err(_)) | None => return Received::Gone,
            };
            match FromRendezvous::from_bytes(&frame).unwrap() {
                FromRendezvous::Ping | FromRendezvous::Clock { .. } => {}
                FromRendezvous::Deliver { from, envelope } => {
                    return Received::Envelope(from, Bytes::copy_from_slice(envelope));
                }
                FromRendezvous::Tunnel { from, batch } => {
                    return Received::Tunnel(from, Bytes::copy_from_slice(batch));
                }
                FromRendezvous::Undeliverable { to } => return Received::Undeliverable(to),
                FromRendezvous::Refused(refusal) => return Received::Refused(refusal),
                other => panic!("{other:?} out of turn"),
            }
        }
    }
}

/// Cuts the connections that were wrapped by [`Switch::wrap`], like a pulled cable: no byte passes any more,
/// and neither end is notified.
#[derive(Clone, Default)]
pub(crate) struct Switch(Arc<AtomicBool>);

impl Switch {
    pub(crate) fn cut(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(crate) fn mend(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    pub(crate) fn wrap(&self) -> WrapTcp {
        let switch = self.clone();
        Arc::new(move |tcp| Box::new(Cuttable { tcp, switch: switch.clone() }) as Box<dyn Io>)
    }
}

struct Cuttable {
    tcp: TcpStream,
    switch: Switch,
}

impl Cuttable {
    fn is_cut(&self) -> bool {
        self.switch.0.load(Ordering::Relaxed)
    }
}

impl AsyncRead for Cuttable {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.is_cut() {
            return Poll::Pending;
        }
        Pin::new(&mut self.tcp).poll_read(context, buffer)
    }
}

impl AsyncWrite for Cuttable {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.is_cut() {
            return Poll::Ready(Ok(bytes.len()));
        }
        Pin::new(&mut self.tcp).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_cut() {
            return Poll::Pending;
        }
        Pin::new(&mut self.tcp).poll_shutdown(context)
    }
}
