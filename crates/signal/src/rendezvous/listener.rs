//! Accepts TCP connections and serves their HTTP requests, within the limits on number, rate and time.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use axum::extract::ConnectInfo;
use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tracing::{debug, error, warn};

use super::Lobby;
use super::seldom::Seldom;
#[cfg(feature = "tls")]
use super::tls::{self, Opened};
use crate::gate::{Gate, Pass, Turned};
use crate::limits::Limits;
use crate::turn::{self, Turn};

/// Maximum length of a request's head, in bytes: hyper's minimum. Browsers send about 1 KiB, and no cookies of this
/// page.
const HEAD_LEN_MAX: usize = 8 * 1024;
/// Length of the kernel's queue of connections that are not accepted yet: Linux's own limit
/// (net.core.somaxconn since 5.4). With the usual 1024, 1000 peers that connected at once took 1.3 s, since
/// some had to repeat their SYN.
const BACKLOG: i32 = 4096;
/// Pause of accepting after an error that shows a lack of resources, mostly of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Bytes of a connection that are read before it is known to speak HTTP.
const PEEKED_LEN: usize = 64;
/// Time for the answer to a last request, in intervals of the pings: twice what a request for mail waits. A guess.
const ANSWER_PINGS: u32 = 4;

/// Listens on `address`, even while connections of a rendezvous that just closed linger there; at `[::]` for IPv4 too,
/// and for IPv4 alone on a machine without IPv6.
pub(super) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let is_all_v6 = address.is_ipv6() && address.ip().is_unspecified();
    match listen_at(address) {
        Err(error) if is_all_v6 && lacks_ipv6(&error) => {
            listen_at(SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port())))
        }
        listening => listening,
    }
}

fn listen_at(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    // on Windows this option would let another program take the port over
    #[cfg(not(windows))]
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Whether a socket couldn't be made or bound since the machine has no IPv6, or has switched it off.
fn lacks_ipv6(error: &io::Error) -> bool {
    use io::ErrorKind::{AddrNotAvailable, Unsupported};
    let no_family = if cfg!(target_os = "linux") { 97 } else { 47 }; // EAFNOSUPPORT, which has no kind
    matches!(error.kind(), AddrNotAvailable | Unsupported) || error.raw_os_error() == Some(no_family)
}

/// What is served at a port.
#[derive(Clone, Debug)]
pub(super) struct Served {
    /// HTTP.
    pub(super) routes: Option<Router>,
    /// TURN.
    pub(super) turn: Option<Turn>,
}

/// Accepts connections until the lobby closes.
pub(super) async fn serve(listener: TcpListener, served: Served, lobby: Lobby) {
    let mut logged = Seldom::default();
    let accepting = async {
        loop {
            match listener.accept().await {
                Ok((stream, address)) => match Gate::pass(&lobby.gate, address.ip(), Instant::now()) {
                    Ok(pass) => {
                        lobby.switchboard.counts().connections.fetch_add(1, Relaxed);
                        let serving = connection(stream, address, pass, served.clone(), lobby.clone());
                        lobby.tasks.spawn(serving);
                    }
                    Err(turned) => {
                        let counts = lobby.switchboard.counts();
                        let count = match turned {
                            Turned::Full => &counts.turned_full,
                            Turned::TooFast => &counts.turned_fast,
                        };
                        count.fetch_add(1, Relaxed);
                        turn_away(&stream, address, turned, lobby.is_secure(), &mut logged);
                    }
                },
                Err(error) if concerns_one_connection(&error) => debug!(%error, "a connection broke early"),
                Err(error) => {
                    error!(%error, "cannot accept connections");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    };
    lobby.switchboard.closing().run_until_cancelled(accepting).await;
}

fn concerns_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// Answers a rejected connection without a task and without waiting for the request. Under TLS it closes without an
/// answer, which would cost a handshake.
fn turn_away(stream: &TcpStream, address: SocketAddr, turned: Turned, is_secure: bool, logged: &mut Seldom) {
    let status = match turned {
        Turned::Full => "503 Service Unavailable",
        Turned::TooFast => "429 Too Many Requests",
    };
    let response = format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    if !is_secure {
        // best effort: the connection closes in any case
        let _ = stream.try_write(response.as_bytes());
    }
    if let Some(count) = logged.due(Instant::now()) {
        warn!(%address, status, count, "connections were turned away, this one the last");
    }
}

/// Serves one connection until it closes or becomes a websocket.
async fn connection(stream: TcpStream, address: SocketAddr, pass: Arc<Pass>, served: Served, lobby: Lobby) {
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%address, %error, "cannot switch Nagle's algorithm off");
    }
    let limits = lobby.switchboard.limits();
    let of_connection =
        |router: Router| router.layer(Extension(pass.clone())).layer(Extension(ConnectInfo(address)));
    let Served { routes, turn } = served;
    let routes = routes.map(of_connection);
    let turn = turn.as_ref();
    let serving = async {
        #[cfg(feature = "tls")]
        if let Some(tls) = &lobby.tls {
            return match tls.open(stream, limits.hello_timeout).await {
                Ok(Opened::Secure(stream)) => open(stream, routes, turn, limits, address).await,
                Ok(Opened::Plain(stream)) => {
                    let redirects = routes.map(|_| of_connection(tls::redirects(&lobby)));
                    open(stream, redirects, turn, limits, address).await;
                }
                Err(error) => debug!(%address, %error, "a connection was not secured"),
            };
        }
        open(stream, routes, turn, limits, address).await;
    };
    lobby.switchboard.closing().run_until_cancelled(serving).await;
}

/// Serves TURN or HTTP, as the first byte tells.
async fn open<S>(stream: S, routes: Option<Router>, turn: Option<&Turn>, limits: &Limits, address: SocketAddr)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Some(turn) = turn else {
        if let Some(routes) = routes {
            http(stream, routes, limits, address).await;
        }
        return;
    };
    let mut stream = BufReader::with_capacity(PEEKED_LEN, stream);
    let first = match timeout(limits.hello_timeout, stream.fill_buf()).await {
        Ok(Ok([first, ..])) => *first,
        _ => return debug!(%address, "a connection has sent nothing"),
    };
    if turn::is_message(first) {
        turn.serve_stream(stream, address, limits.hello_timeout).await;
    } else if let Some(routes) = routes {
        http(stream, routes, limits, address).await;
    }
}

/// Serves HTTP until the connection closes or becomes a websocket, within the limits on time. At the limit a request in
/// progress may still be answered.
async fn http<S>(stream: S, routes: Router, limits: &Limits, address: SocketAddr)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.hello_timeout)
        .max_buf_size(HEAD_LEN_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes))
        .with_upgrades();
    let mut serving = pin!(serving);
    let served = match timeout(limits.http_max, serving.as_mut()).await {
        Ok(served) => Ok(served),
        Err(_) => {
            serving.as_mut().graceful_shutdown();
            timeout(limits.http_max.min(ANSWER_PINGS * limits.ping_interval), serving).await
        }
    };
    match served {
        Ok(Err(error)) => debug!(%address, %error, "a connection ended"),
        Err(_) => warn!(%address, "a connection was closed: it took too long"),
        Ok(Ok(())) => {}
    }
}
