//! One UDP port for all links: a socket on each address of this machine, and a task that hands arriving datagrams to
//! the links.
//!
//! Links send by the sockets themselves. A second link with the same end takes a port of its own: by ports and
//! addresses alone nobody could tell their packets apart ([`Mux::sockets`]).

mod demux;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use futures::task::AtomicWaker;
use quinn_udp::UdpSocketState;
use tokio::net::UdpSocket;
use tokio::runtime;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::socket::{self, RECEIVE_BUFFER_BYTES};
use crate::sync::lock;
use demux::{Demux, Key};

/// The sockets of the shared port.
#[derive(Debug)]
pub(crate) struct Mux {
    port: u16,
    sockets: Mutex<BTreeMap<IpAddr, Arc<SharedSocket>>>,
    runtime: runtime::Handle,
    /// Each socket's task holds a clone.
    alive: mpsc::Sender<()>,
}

/// A socket of the shared port. Its task ends with it.
#[derive(Debug)]
pub(crate) struct SharedSocket {
    pub(crate) io: Arc<UdpSocket>,
    pub(crate) options: Arc<UdpSocketState>,
    pub(crate) local: SocketAddr,
    links: Arc<Mutex<Demux<Arc<Inbox>>>>,
    reads: AbortHandle,
}

/// The place of one link at a shared socket.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) socket: Arc<SharedSocket>,
    key: Key,
    inbox: Arc<Inbox>,
}

/// Datagrams that wait for one link's task.
#[derive(Debug, Default)]
struct Inbox {
    arrived: Mutex<Arrived>,
    waker: AtomicWaker,
    /// The other end's address now belongs to a later link.
    is_replaced: AtomicBool,
}

#[derive(Debug, Default)]
struct Arrived {
    datagrams: VecDeque<Datagrams>,
    bytes: usize,
}

/// Datagrams of one sender that arrived together.
#[derive(Debug)]
pub(crate) struct Datagrams {
    pub(crate) contents: Bytes,
    /// Length of each but the last.
    pub(crate) stride: usize,
    pub(crate) from: SocketAddr,
    pub(crate) at: Instant,
}

impl Mux {
    /// Binds the port on these addresses, and leaves out any address where binding fails.
    ///
    /// # Errors
    /// Binding fails on every address; the last reason.
    pub(crate) fn bind(
        port: u16,
        addresses: &[IpAddr],
        runtime: runtime::Handle,
        alive: mpsc::Sender<()>,
    ) -> io::Result<Mux> {
        let mux = Mux { port, sockets: Mutex::default(), runtime, alive };
        let mut why = io::ErrorKind::AddrNotAvailable.into();
        for &ip in addresses {
            match mux.open(ip) {
                Ok(socket) => _ = lock(&mux.sockets).insert(ip, socket),
                Err(error) => why = error,
            }
        }
        if lock(&mux.sockets).is_empty() { Err(why) } else { Ok(mux) }
    }

    fn open(&self, ip: IpAddr) -> io::Result<Arc<SharedSocket>> {
        let _inside = self.runtime.enter();
        let (io, options) = socket::bind(SocketAddr::new(ip, self.port))?;
        let (io, options, local) = (Arc::new(io), Arc::new(options), SocketAddr::new(ip, self.port));
        let links = Arc::<Mutex<Demux<_>>>::default();
        let reading = read(io.clone(), options.clone(), links.clone());
        let alive = self.alive.clone();
        let reads = self.runtime.spawn(async move {
            let _alive = alive;
            reading.await;
        });
        Ok(Arc::new(SharedSocket { io, options, local, links, reads: reads.abort_handle() }))
    }

    /// Returns the sockets on these addresses of this machine, for a link to an end that has told `remotes` so far. A
    /// socket on an address that has come is bound, and one on an address that has gone is closed. `None`: the end has
    /// another link here, or no address can be bound.
    pub(crate) fn sockets(
        &self,
        addresses: &[IpAddr],
        remotes: &[SocketAddr],
    ) -> Option<Vec<Arc<SharedSocket>>> {
        let mut sockets = lock(&self.sockets);
        sockets.retain(|ip, _| addresses.contains(ip));
        for ip in addresses {
            if !sockets.contains_key(ip) {
                match self.open(*ip) {
                    Ok(socket) => _ = sockets.insert(*ip, socket),
                    Err(error) => tracing::debug!(%ip, %error, "the shared port cannot be bound"),
                }
            }
        }
        let is_known = sockets.values().any(|socket| lock(&socket.links).knows_any(remotes));
        // in the order of the addresses: the first ones come first among the candidates
        let found: Vec<_> = addresses.iter().filter_map(|ip| sockets.get(ip).cloned()).collect();
        (!is_known && !found.is_empty()).then_some(found)
    }
}

impl SharedSocket {
    /// Adds a link by this end's user fragment.
    pub(crate) fn place(self: &Arc<Self>, ufrag: &str) -> Place {
        let inbox = Arc::<Inbox>::default();
        let key = lock(&self.links).add(ufrag, inbox.clone());
        Place { socket: self.clone(), key, inbox }
    }
}

impl Drop for SharedSocket {
    fn drop(&mut self) {
        self.reads.abort();
    }
}

impl Place {
    /// Notes what the link sends: the answer to a check is for this link.
    pub(crate) fn sent(&self, datagram: &[u8], to: SocketAddr) {
        lock(&self.socket.links).sent(self.key, datagram, to);
    }

    /// Adds a further user fragment of this end, of an ICE restart.
    pub(crate) fn also(&self, ufrag: &str) {
        lock(&self.socket.links).also(self.key, ufrag);
    }

    /// Notes addresses that the other end has told.
    pub(crate) fn told(&self, addresses: impl Iterator<Item = SocketAddr>) {
        lock(&self.socket.links).told(self.key, addresses);
    }

    /// Notes an address from which the other end has answered a check.
    pub(crate) fn learned(&self, address: SocketAddr) {
        if let Some(before) = lock(&self.socket.links).learned(self.key, address) {
            before.is_replaced.store(true, Ordering::Relaxed);
            before.waker.wake();
        }
    }

    /// Whether the other end's address belongs to a later link: the other end has started again.
    pub(crate) fn is_replaced(&self) -> bool {
        self.inbox.is_replaced.load(Ordering::Relaxed)
    }

    /// Returns what has arrived next.
    pub(crate) fn poll_recv(&self, cx: &mut Context<'_>) -> Poll<Datagrams> {
        self.inbox.waker.register(cx.waker());
        match lock(&self.inbox.arrived).take() {
            Some(datagrams) => Poll::Ready(datagrams),
            None => Poll::Pending,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.socket.links).remove(self.key);
    }
}

impl Arrived {
    fn take(&mut self) -> Option<Datagrams> {
        let datagrams = self.datagrams.pop_front()?;
        self.bytes -= datagrams.contents.len();
        Some(datagrams)
    }
}

impl Inbox {
    /// Adds datagrams, unless as many bytes wait as a socket of the link's own would hold.
    fn push(&self, datagrams: Datagrams) {
        let mut arrived = lock(&self.arrived);
        if arrived.bytes + datagrams.contents.len() > RECEIVE_BUFFER_BYTES {
            return;
        }
        arrived.bytes += datagrams.contents.len();
        arrived.datagrams.push_back(datagrams);
        drop(arrived);
        self.waker.wake();
    }
}

/// Reads what arrives, and hands it to the links.
async fn read(io: Arc<UdpSocket>, options: Arc<UdpSocketState>, links: Arc<Mutex<Demux<Arc<Inbox>>>>) {
    while io.readable().await.is_ok() {
        socket::receive(&io, &options, |contents, stride, from| {
            let at = Instant::now();
            let mut links = lock(&links);
            // the kernel coalesces datagrams of one sender, mostly of one class; checks are routed one by one
            let first = contents.get(..stride.min(contents.len())).unwrap_or_default();
            let len = if socket::Class::of(first) == socket::Class::Check { stride } else { contents.len() };
            for part in contents.chunks(len.max(1)) {
                if let Some(inbox) = links.route(part, from) {
                    inbox.push(Datagrams { contents: Bytes::copy_from_slice(part), stride, from, at });
                }
            }
        });
    }
}
