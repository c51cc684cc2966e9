//! The rendezvous: a small web server through which peers of a room find each other.
//!
//! With a certificate it serves https and wss, without one http and ws. `GET /` answers with a short text, `/signal`
//! opens a websocket that speaks [frames](plenary_proto::rendezvous), requests below `/signal/fetch` carry the same
//! frames where a browser opens no websocket, and all other requests go to a page that the embedding program may add.
//! The UDP port of the same number answers STUN requests; a TURN server may be added, there or elsewhere. All state is
//! in memory, in a [`Switchboard`]: an envelope moves from the incoming connection to the recipient's mailbox and is
//! stored nowhere else.
//!
//! One task accepts connections. Each connection has a task of its own: first plain HTTP, then, after an
//! upgrade, a second task for the websocket. A connection that violates the protocol is refused with a reason
//! and closed, without effect on the others.

mod callers;
mod connection;
mod datagrams;
mod downloads;
mod fetch;
mod inlet;
mod leash;
mod listener;
mod outflow;
mod seldom;
#[cfg(feature = "tls")]
mod tls;
mod watched;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::uri::Authority;
use axum::http::{StatusCode, header};
use axum::middleware;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Extension, Router};
use hyper_util::rt::TokioIo;
use plenary_proto::{PeerId, RoomId};
use tokio_tungstenite::tungstenite::handshake::server::create_response_with_body;
use tokio_util::task::TaskTracker;
use tracing::field::display;
use tracing::{debug, info, warn};

use crate::gate::{Gate, Pass};
use crate::limits::Limits;
use crate::local::LocalSignal;
use crate::page_origin::PageOrigin;
use crate::switchboard::Switchboard;
use crate::turn::{Turn, TurnConfig};
use callers::Callers;
use connection::Carrier;
pub(crate) use downloads::Downloads;
use fetch::Fetched;
use listener::Served;
use outflow::Outflow;
use plenary_proto::rendezvous::{Doors, Refusal, SIGNAL_PATH};
#[cfg(feature = "tls")]
pub use tls::{ServerTls, TlsError, certificates_from_pem};
pub use watched::MoreFigures;

/// Answer to `GET /` when no page was added.
const GREETING: &str = "This is a plenary rendezvous. To get into a room, run: plenary join INVITE\n";

/// Configuration of a rendezvous.
#[derive(Clone, Debug, Default)]
pub struct RendezvousConfig {
    /// Resource limits.
    pub limits: Limits,
    /// Routes for all paths but [`SIGNAL_PATH`] and those below it; by default a line of text at `/`.
    pub page: Option<Router>,
    /// Origins of pages elsewhere that may connect, beside those that are served here. A browser names its page's
    /// origin; native peers name none, and are let in.
    pub embed: Vec<PageOrigin>,
    /// Host by which others reach this server, with its port, or else the one it listens on: a page there may connect,
    /// also behind a proxy that names another host. Without a certificate, pages under other names than this one,
    /// addresses, and `localhost` then count as pages elsewhere. `None` lets a page in under whichever name it was
    /// served.
    pub advertised: Option<Authority>,
    /// Serves `/healthz` and, in the text format of Prometheus, `/metrics`: the rendezvous's own figures and these.
    /// Anyone may read them. `None`, the default, serves neither; otherwise `page` has no such routes.
    pub figures: Option<MoreFigures>,
    /// A TURN server for members of the rooms; by default there is none.
    pub turn: Option<TurnConfig>,
    /// Certificate for https; by default the rendezvous serves plain HTTP. With it, plain requests are redirected to
    /// https on the same port.
    #[cfg(feature = "tls")]
    pub tls: Option<ServerTls>,
}

/// Reason that a rendezvous could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RendezvousError {
    /// Another program listens on the address already.
    #[error("{address} is in use: another program listens there")]
    AddressInUse {
        /// The address to listen on.
        address: SocketAddr,
    },
    /// Listening failed for another reason.
    #[error("cannot listen on {address}: {error}")]
    Bind {
        /// The address to listen on.
        address: SocketAddr,
        /// The error of the system.
        error: io::Error,
    },
}

/// A running rendezvous. Dropping it closes it in the background, like [`close`](Rendezvous::close).
#[derive(Debug)]
pub struct Rendezvous {
    lobby: Lobby,
    local_addr: SocketAddr,
}

/// State shared by the routes of a rendezvous.
#[derive(Clone, Debug)]
struct Lobby {
    switchboard: Switchboard,
    gate: Arc<Mutex<Gate>>,
    fetched: Arc<Fetched>,
    callers: Arc<Callers>,
    outflow: Arc<Outflow>,
    turn: Option<Turn>,
    #[cfg(feature = "tls")]
    tls: Option<ServerTls>,
    /// All tasks that must have ended before closing is complete.
    tasks: TaskTracker,
}

impl Rendezvous {
    /// Listens on `address` (TCP; port 0 for any free port) and serves until closed or dropped.
    ///
    /// # Errors
    /// [`RendezvousError::AddressInUse`] or [`RendezvousError::Bind`].
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn bind(address: SocketAddr, config: RendezvousConfig) -> Result<Rendezvous, RendezvousError> {
        let wrong = |error| cannot_listen(address, error);
        let listener = listener::listen(address).map_err(wrong)?;
        let local_addr = listener.local_addr().map_err(wrong)?;
        let turn_at = config.turn.as_ref().and_then(|turn| turn.listen);
        let listen_at = |at| {
            let listening = listener::listen(at).and_then(|listener| Ok((listener.local_addr()?, listener)));
            listening.map_err(|error| cannot_listen(at, error))
        };
        let turn_listener = turn_at.map(listen_at).transpose()?;
        let switchboard = Switchboard::new(config.limits);
        let gate = Arc::new(Mutex::new(Gate::new(switchboard.limits().clone())));
        #[cfg(feature = "tls")]
        let is_secure = config.tls.is_some();
        #[cfg(not(feature = "tls"))]
        let is_secure = false;
        let outflow = Outflow::new(switchboard.limits().outflow_bytes_per_s);
        let turn_addr = turn_listener.as_ref().map_or(local_addr, |(turn_addr, _)| *turn_addr);
        let turn = config.turn.map(|turn| turn_server(turn, turn_addr, is_secure)).transpose();
        let turn = turn.map_err(|error| cannot_listen(turn_addr, error))?;
        let callers = Callers::new(config.embed, config.advertised, is_secure, local_addr.port());
        let lobby = Lobby {
            switchboard,
            gate,
            fetched: Arc::default(),
            callers: Arc::new(callers),
            outflow: Arc::new(outflow),
            turn,
            #[cfg(feature = "tls")]
            tls: config.tls,
            tasks: TaskTracker::new(),
        };
        let router = lobby.router(config.page, config.figures);
        let at_own_port = lobby.turn.clone().filter(|_| turn_listener.is_none());
        let answers_stun = at_own_port.is_none();
        let served = Served { routes: Some(router), turn: at_own_port };
        lobby.tasks.spawn(listener::serve(listener, served, lobby.clone()));
        if let Some((_, listener)) = turn_listener {
            let served = Served { routes: None, turn: lobby.turn.clone() };
            lobby.tasks.spawn(listener::serve(listener, served, lobby.clone()));
        }
        if let Some(turn) = lobby.turn.clone() {
            let closing = lobby.switchboard.closing().clone();
            lobby.tasks.spawn(async move { closing.run_until_cancelled(turn.serve()).await });
        }
        let (outflow, closing) = (lobby.outflow.clone(), lobby.switchboard.closing().clone());
        lobby.tasks.spawn(async move { closing.run_until_cancelled(outflow.serve()).await });
        match answers_stun.then(|| datagrams::bind(local_addr)) {
            None => {}
            Some(Ok(socket)) => _ = lobby.tasks.spawn(datagrams::serve(socket, lobby.clone())),
            Some(Err(error)) => {
                warn!(address = %local_addr, %error, "pages learn no address of theirs here: no UDP port")
            }
        }
        info!(address = %local_addr, "a rendezvous listens");
        Ok(Rendezvous { lobby, local_addr })
    }

    /// The address on which the rendezvous listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Addresses of this machine at which a TURN server takes clients; empty without one. A socket that sends a STUN
    /// binding indication there (RFC 8489) is reached by its relays.
    pub fn turn_addrs(&self) -> Vec<SocketAddr> {
        self.lobby.turn.as_ref().map(Turn::local_addrs).unwrap_or_default()
    }

    /// Whether the rendezvous serves https instead of plain HTTP.
    pub fn is_secure(&self) -> bool {
        self.lobby.is_secure()
    }

    /// Sets the number of bytes per second that are sent to all strangers together
    /// ([`Limits::outflow_bytes_per_s`]), from now on: less than the line carries, so that it is not theirs alone.
    pub fn set_outflow(&self, bytes_per_s: u32) {
        self.lobby.outflow.set_rate(bytes_per_s);
    }

    /// The rooms, for peers in the same process.
    pub fn switchboard(&self) -> &Switchboard {
        &self.lobby.switchboard
    }

    /// Lets a peer of this process into an open room; see [`Switchboard::attach`].
    ///
    /// # Errors
    /// As for [`Switchboard::attach`].
    pub fn attach(&self, room: RoomId, me: PeerId) -> Result<LocalSignal, Refusal> {
        self.switchboard().attach(room, me)
    }

    /// Lets the host in that runs in this process; see [`Switchboard::attach_host`].
    ///
    /// # Errors
    /// As for [`Switchboard::attach_host`].
    pub fn attach_host(&self, room: RoomId, me: PeerId, doors: Doors) -> Result<LocalSignal, Refusal> {
        self.switchboard().attach_host(room, me, doors)
    }

    /// Returns its figures, for another server than its own ([`RendezvousConfig::figures`]).
    pub fn figures(&self) -> MoreFigures {
        watched::figures(self.lobby.clone())
    }

    /// Returns the routes at [`SIGNAL_PATH`] and below, and the default page at `/`, to be served by another web server
    /// as well.
    ///
    /// The routes lead to the same rooms. The other web server must limit the number of connections and the
    /// time of their requests. To have the addresses of peers in the log, it must add axum's [`ConnectInfo`].
    pub fn router(&self) -> Router {
        self.lobby.router(None, None)
    }

    /// Notifies every peer, closes all connections (about a second for those that don't answer) and stops
    /// listening. When it returns, all its tasks have ended.
    pub async fn close(self) {
        self.lobby.close();
        self.lobby.tasks.wait().await;
    }
}

fn cannot_listen(address: SocketAddr, error: io::Error) -> RendezvousError {
    match error.kind() {
        io::ErrorKind::AddrInUse => RendezvousError::AddressInUse { address },
        _ => RendezvousError::Bind { address, error },
    }
}

/// Binds the UDP port of a TURN server. Members are told its address if it has one of its own.
fn turn_server(config: TurnConfig, address: SocketAddr, is_secure: bool) -> io::Result<Turn> {
    let own = config.listen.map(|listen| listen.ip()).filter(|ip| !ip.is_unspecified());
    let outer = |ip| config.addresses.iter().find(|relay| relay.bind == ip).map_or(ip, |relay| relay.outer);
    let ip = own.map(outer);
    // the certificate is for the rendezvous' host
    Turn::new(config, datagrams::bind(address)?, ip, is_secure && ip.is_none())
}

impl Drop for Rendezvous {
    fn drop(&mut self) {
        self.lobby.close();
    }
}

impl Lobby {
    fn is_secure(&self) -> bool {
        #[cfg(feature = "tls")]
        return self.tls.is_some();
        #[cfg(not(feature = "tls"))]
        false
    }

    fn close(&self) {
        self.switchboard.close();
        self.tasks.close();
    }

    fn router(&self, page: Option<Router>, figures: Option<MoreFigures>) -> Router {
        let page = page.unwrap_or_else(|| Router::new().route("/", get(GREETING)));
        let page = match figures {
            Some(more) => page.merge(watched::routes(self.clone(), more)),
            None => page,
        };
        let signal = Router::new().route(SIGNAL_PATH, get(signal)).merge(fetch::routes());
        let signal = signal.layer(middleware::from_fn_with_state(self.clone(), callers::check));
        let signal = signal.layer(middleware::from_fn_with_state(self.clone(), downloads::pace_refusals));
        let page = page.layer(middleware::from_fn_with_state(self.clone(), downloads::pace));
        signal.with_state(self.clone()).fallback_service(page)
    }
}

/// Upgrades a request for [`SIGNAL_PATH`] to a websocket, which is served in a task of its own.
async fn signal(
    State(lobby): State<Lobby>,
    address: Option<Extension<ConnectInfo<SocketAddr>>>,
    pass: Option<Extension<Arc<Pass>>>,
    request: Request,
) -> Response {
    let response = match create_response_with_body(&request, Body::empty) {
        Ok(response) => response,
        Err(error) => {
            let upgrade = [(header::UPGRADE, "websocket"), (header::CONNECTION, "upgrade")];
            return (StatusCode::UPGRADE_REQUIRED, upgrade, format!("{error}\n")).into_response();
        }
    };
    let address = address.map(|Extension(ConnectInfo(address))| address);
    let upgrade = hyper::upgrade::on(request);
    lobby.tasks.clone().spawn(async move {
        match upgrade.await {
            Ok(upgraded) => {
                connection::serve(TokioIo::new(upgraded), &lobby, address, Carrier::Websocket).await;
            }
            Err(error) => {
                let address = address.map(display);
                debug!(address, %error, "a connection ended before it was a websocket");
            }
        }
        drop(pass);
    });
    response
}
