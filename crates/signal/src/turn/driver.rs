//! The sockets of a TURN server: those at which clients come, their streams, and the relays.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use plenary_proto::PeerId;
use plenary_proto::bounded::Text;
use plenary_proto::network::is_public;
use plenary_proto::rendezvous::TurnAccess;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::{interval, sleep, timeout, timeout_at};
use tracing::debug;

use super::TurnConfig;
use super::allocation::LIFETIME;
use super::credentials::Keys;
use super::message::{FRAME_LEN_MAX, Wish, frame_len};
use super::server::{ClientAddress, Output, Transport, TurnServer};
use crate::stun::{self, Answers};
use crate::wall::wall_unix_s;

/// Time for which credentials open relays. Members of a room get newer ones before half of it is over.
pub(crate) const CREDENTIALS_TIME: Duration = Duration::from_secs(3_600);
/// Frames that wait for a client with a stream; past it they are dropped, as a router drops datagrams. A guess: 100 ms
/// of the fastest relay.
const STREAM_QUEUE_MAX: usize = 128;
/// Ports of a range that are tried for a relay.
const PORT_TRIES_MAX: u16 = 64;
/// Length of the kernel's queue of datagrams of all clients, in bytes: some 60 ms at the rate of all relays. Linux's
/// default holds 6 ms.
const UDP_BUFFER: usize = 2 << 20;
/// Pause after an error of a socket, which may last. A guess.
const ERROR_PAUSE: Duration = Duration::from_millis(10);

/// A running TURN server. Clones are the same one.
#[derive(Clone, Debug)]
pub(crate) struct Turn(Arc<Inside>);

#[derive(Debug)]
struct Inside {
    server: Mutex<TurnServer<Arc<Relay>>>,
    keys: Keys,
    answers: Mutex<Answers>,
    /// Socket at which clients come by UDP.
    udp: UdpSocket,
    streams: Mutex<HashMap<SocketAddr, mpsc::Sender<Vec<u8>>>>,
    ports: Option<RangeInclusive<u16>>,
    /// Address that members are told.
    ip: Option<IpAddr>,
    port: u16,
    has_tls: bool,
}

/// The socket of a relay, and the task that reads it.
#[derive(Debug)]
struct Relay {
    socket: Arc<UdpSocket>,
    reading: AbortHandle,
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

impl Turn {
    /// Prepares a server behind a UDP socket. `ip` is told to members in place of the rendezvous' host.
    ///
    /// # Errors
    /// The machine has no randomness.
    pub(crate) fn new(
        config: TurnConfig,
        udp: UdpSocket,
        ip: Option<IpAddr>,
        has_tls: bool,
    ) -> io::Result<Turn> {
        let keys = Keys::draw().ok_or_else(|| io::Error::other("no randomness for a TURN server"))?;
        let port = udp.local_addr()?.port();
        // the system may allow less
        let _ = socket2::SockRef::from(&udp).set_recv_buffer_size(UDP_BUFFER);
        let start = (Instant::now(), wall_unix_s());
        let server = TurnServer::new(config.limits, keys.clone(), config.addresses, is_own, start);
        Ok(Turn(Arc::new(Inside {
            server: Mutex::new(server),
            keys,
            answers: Mutex::new(Answers::new(start.0)),
            udp,
            streams: Mutex::default(),
            ports: config.ports,
            ip,
            port,
            has_tls,
        })))
    }

    /// Returns what a member of a room, which has come from that address, needs to use the server.
    pub(crate) fn access(&self, peer: &PeerId, from: Option<IpAddr>) -> Option<TurnAccess> {
        // it would not reach a private address, or a browser would ask its user for leave to
        if self.0.ip.is_some_and(|ip| !is_public(ip)) && from.is_some_and(is_public) {
            return None;
        }
        let user: String = peer.0[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        let expiry_unix_s = wall_unix_s() + CREDENTIALS_TIME.as_secs();
        let (username, password) = self.0.keys.username(&user, expiry_unix_s)?;
        Some(TurnAccess {
            ip: self.0.ip,
            port: self.0.port,
            has_tls: self.0.has_tls,
            username: Text::truncated(&username),
            password: Text::truncated(&password),
        })
    }

    /// Addresses of this machine at which clients come, as relays are bound.
    pub(crate) fn local_addrs(&self) -> Vec<SocketAddr> {
        self.server().binds().map(|ip| SocketAddr::new(ip, self.0.port)).collect()
    }

    /// Notes that a socket has asked for its address by STUN elsewhere: one of this machine is reached by relays then.
    pub(crate) fn asked(&self, from: SocketAddr) {
        self.server().asked(Instant::now(), from);
    }

    /// Returns the number of relays.
    pub(crate) fn count(&self) -> usize {
        self.server().count()
    }

    /// Serves clients that come by UDP, and ends relays that have expired. Never returns.
    pub(crate) async fn serve(&self) {
        let expiring = async {
            let mut seconds = interval(Duration::from_secs(1));
            loop {
                seconds.tick().await;
                self.server().expire(Instant::now());
            }
        };
        let receiving = async {
            let mut buffer = vec![0; FRAME_LEN_MAX];
            loop {
                match self.0.udp.recv_from(&mut buffer).await {
                    Ok((len, address)) => {
                        self.receive(ClientAddress { transport: Transport::Udp, address }, &buffer[..len]);
                    }
                    // mostly an ICMP error for an earlier answer
                    Err(error) => {
                        debug!(%error, "no datagram of a TURN client was received");
                        sleep(ERROR_PAUSE).await;
                    }
                }
            }
        };
        tokio::join!(expiring, receiving);
    }

    /// Serves a client's stream until it ends. A client without a relay has `patience` to get one; one with a relay
    /// refreshes it.
    pub(crate) async fn serve_stream<S>(&self, stream: S, address: SocketAddr, patience: Duration)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let client = ClientAddress { transport: Transport::Stream, address };
        let (mut read, mut write) = tokio::io::split(stream);
        let (sender, mut waiting) = mpsc::channel::<Vec<u8>>(STREAM_QUEUE_MAX);
        let _open = OpenStream::new(self, client, sender);
        let writing = async {
            while let Some(frame) = waiting.recv().await {
                if !matches!(timeout(patience, write.write_all(&frame)).await, Ok(Ok(()))) {
                    return "it reads nothing";
                }
                if waiting.is_empty() && write.flush().await.is_err() {
                    return "it has gone";
                }
            }
            "it is closed"
        };
        let reading = async {
            let mut buffer = BytesMut::with_capacity(FRAME_LEN_MAX);
            let mut until = Instant::now() + patience;
            let mut had_relay = false;
            loop {
                match timeout_at(until.into(), read.read_buf(&mut buffer)).await {
                    Err(_) => return "it has no relay",
                    Ok(Ok(1..)) => {}
                    Ok(_) => return "it has gone",
                }
                loop {
                    match frame_len(&buffer) {
                        Ok(Some(len)) => self.receive(client, &buffer.split_to(len)),
                        Ok(None) => break,
                        Err(_) => return "it sent no frame of TURN",
                    }
                }
                let has_relay = self.server().knows(client);
                if has_relay {
                    until = Instant::now() + LIFETIME;
                } else if had_relay {
                    until = Instant::now() + patience;
                }
                had_relay = has_relay;
            }
        };
        let why = tokio::select! {
            why = reading => why,
            why = writing => why,
        };
        debug!(%address, why, "a stream of a TURN client ends");
    }

    /// Handles a datagram of a client, or a frame of its stream.
    fn receive(&self, client: ClientAddress, bytes: &[u8]) {
        let now = Instant::now();
        let mut server = self.server();
        let tells_of_itself = client.transport == Transport::Udp && stun::is_indication(bytes);
        let asks_address = stun::is_request(bytes);
        let is_stranger = !server.knows(client) || asks_address || tells_of_itself;
        let mut answers = is_stranger.then(|| lock(&self.0.answers));
        // before parsing, so that a flood costs little
        if answers.as_mut().is_some_and(|answers| !answers.allow(client.address.ip(), now)) {
            return;
        }
        if tells_of_itself {
            server.asked(now, client.address);
            answers.iter_mut().for_each(|answers| answers.count(client.address.ip()));
            return;
        }
        let output = if asks_address {
            if client.transport == Transport::Udp {
                server.asked(now, client.address);
            }
            stun::answer(bytes, client.address).map(|answer| Output::ToClient(client, answer))
        } else {
            server.handle(now, client, bytes)
        };
        let Some(output) = output else { return };
        if let Some(answers) = &mut answers {
            answers.count(client.address.ip());
        }
        match output {
            Output::ToClient(client, bytes) => self.to_client(client, bytes),
            Output::ToPeer(relay, peer, bytes) => _ = relay.socket.try_send_to(bytes, peer),
            Output::Open(client, address, wish) => {
                let bound = match self.bind(client, address.bind, wish) {
                    Ok(bound) => Some(bound),
                    Err(error) => {
                        debug!(address = %address.bind, %error, "a relay was not opened");
                        None
                    }
                };
                if let Some(Output::ToClient(client, bytes)) = server.opened(now, client, bound) {
                    self.to_client(client, bytes);
                }
            }
        }
    }

    /// Sends to a client, if that is possible at once.
    fn to_client(&self, client: ClientAddress, bytes: Vec<u8>) {
        match client.transport {
            Transport::Udp => _ = self.0.udp.try_send_to(&bytes, client.address),
            Transport::Stream => {
                let streams = lock(&self.0.streams);
                if let Some(stream) = streams.get(&client.address) {
                    let _ = stream.try_send(bytes);
                }
            }
        }
    }

    /// Binds a relay for a client, and begins to read it.
    fn bind(&self, client: ClientAddress, ip: IpAddr, wish: Wish) -> io::Result<(u16, Arc<Relay>)> {
        let socket = bind(ip, self.0.ports.as_ref(), wish.even_port)?;
        socket.set_nonblocking(true)?;
        let socket = Arc::new(UdpSocket::from_std(socket)?);
        let port = socket.local_addr()?.port();
        // the server owns the task: with it, all its relays end
        let (turn, reads) = (Arc::downgrade(&self.0), socket.clone());
        let reading = tokio::spawn(async move {
            let mut buffer = vec![0; FRAME_LEN_MAX];
            loop {
                let (len, peer) = match reads.recv_from(&mut buffer).await {
                    Ok(received) => received,
                    Err(_) => {
                        sleep(ERROR_PAUSE).await;
                        continue;
                    }
                };
                let Some(turn) = turn.upgrade().map(Turn) else { return };
                let bytes = turn.server().receive_from_peer(Instant::now(), client, peer, &buffer[..len]);
                if let Some(bytes) = bytes {
                    turn.to_client(client, bytes);
                }
            }
        });
        Ok((port, Arc::new(Relay { socket, reading: reading.abort_handle() })))
    }

    fn server(&self) -> MutexGuard<'_, TurnServer<Arc<Relay>>> {
        lock(&self.0.server)
    }
}

/// A client's stream, known as long as it is open.
struct OpenStream<'a> {
    turn: &'a Turn,
    client: ClientAddress,
    sender: mpsc::Sender<Vec<u8>>,
}

impl<'a> OpenStream<'a> {
    fn new(turn: &'a Turn, client: ClientAddress, sender: mpsc::Sender<Vec<u8>>) -> OpenStream<'a> {
        turn.server().gone(client); // of an earlier stream from the same port: its end was not seen yet
        lock(&turn.0.streams).insert(client.address, sender.clone());
        OpenStream { turn, client, sender }
    }
}

impl Drop for OpenStream<'_> {
    fn drop(&mut self) {
        let mut streams = lock(&self.turn.0.streams);
        if streams.get(&self.client.address).is_some_and(|known| known.same_channel(&self.sender)) {
            streams.remove(&self.client.address);
            drop(streams);
            self.turn.server().gone(self.client);
        }
    }
}

/// Binds a UDP socket at a port of that range, if one is given.
fn bind(ip: IpAddr, ports: Option<&RangeInclusive<u16>>, even_port: bool) -> io::Result<std::net::UdpSocket> {
    let (first, count) = match ports {
        Some(ports) => (*ports.start(), ports.end().saturating_sub(*ports.start()).saturating_add(1)),
        None => (0, 1),
    };
    let draw = |below: u16| {
        Ok::<_, io::Error>((getrandom::u32().map_err(io::Error::other)? % u32::from(below)) as u16)
    };
    let start = draw(count)?;
    let mut last = io::ErrorKind::AddrInUse.into();
    for attempt in 0..PORT_TRIES_MAX.min(count.max(16)) {
        let port = if first == 0 { 0 } else { first + (start.wrapping_add(attempt)) % count };
        match std::net::UdpSocket::bind((ip, port)) {
            Ok(socket) if even_port && !socket.local_addr()?.port().is_multiple_of(2) => {}
            Ok(socket) => return Ok(socket),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Tells an address of this machine: a socket can be bound there.
fn is_own(ip: IpAddr) -> bool {
    std::net::UdpSocket::bind((ip, 0)).is_ok()
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
