//! The UDP socket of a link, with large buffers for bulk transfers, batch receive, segmentation offload,
//! counters, round-trip measurement, and the shaper; or the socket behind a relay.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use quinn_udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use crate::mux::{Datagrams, Place, SharedSocket};
use crate::path::Turn;
use crate::shaper::{DelayLine, Fate, Shaper};
use crate::wire::Wire;

/// Socket buffer sizes. A burst of SCTP overflows the usual 208 KiB, and each loss at the end of a burst
/// costs 1 s (measured: 2 MB/s instead of 100).
pub(crate) const RECEIVE_BUFFER_BYTES: usize = 4 << 20;
const SEND_BUFFER_BYTES: usize = 1 << 20;

/// Time from the first DTLS datagram during which all DTLS datagrams, including SCTP, are sent twice: each
/// lost datagram of a handshake costs 1 s, and a link is given up and recreated when its set-up takes 5 s.
const OPENING_MAX: Duration = Duration::from_secs(3);
/// Loss, as one in n packets, above which a link keeps sending DTLS datagrams of at most `MESSAGE_LEN_MAX`
/// bytes twice. SCTP, too, waits at least 1 s (RTO.Min of RFC 9260) before it retransmits a lost message that
/// no other message follows.
const LOSSY_ONE_IN: u64 = 50;
const MESSAGE_LEN_MAX: usize = 400;

/// Number of buffers that one receive call fills. Each takes several datagrams of one sender (GRO).
const BATCH: usize = 8;
/// Size of a receive buffer: the largest UDP payload, and so the most that the kernel coalesces.
const BUFFER_BYTES: usize = 1 << 16;

thread_local! {
    /// Receive buffers, shared by the tasks of all links on this thread.
    static BUFFERS: RefCell<Vec<u8>> = RefCell::new(vec![0; BATCH * BUFFER_BYTES]);
}

/// A socket of a link, the link's place at a shared one, or a socket of the link at a TURN server.
pub(crate) struct LinkSocket {
    io: Arc<UdpSocket>,
    options: Arc<UdpSocketState>,
    local: SocketAddr,
    /// The link's place, if other links have the same socket.
    place: Option<Place>,
    /// The allocation at a TURN server, by which all that the link sends and receives here goes.
    turn: Option<Box<Turn>>,
    /// Requests to the TURN server that wait for the socket: each request once for each time that it is repeated.
    requests: VecDeque<Vec<u8>>,
    /// Completes when a shared socket takes datagrams again.
    writable: Option<Pin<Box<dyn Future<Output = io::Result<()>> + Send>>>,
    wire: Arc<Wire>,
    shaper: Shaper,
    /// Created when the shaper first delays a datagram.
    delay_line: Option<DelayLine>,
    path_free: Instant,
    check_sent: Option<(TransactionId, Instant)>,
    /// Time of the first DTLS datagram.
    opened: Option<Instant>,
}

impl LinkSocket {
    /// Binds a socket for this link alone; must be called within a tokio runtime.
    pub(crate) fn bind(address: SocketAddr, wire: Arc<Wire>, shaper: Shaper) -> io::Result<LinkSocket> {
        let (io, options) = bind(address)?;
        let local = io.local_addr()?;
        Ok(LinkSocket::new((Arc::new(io), Arc::new(options), local), None, wire, shaper))
    }

    /// Binds a socket for this link's relay.
    pub(crate) fn bind_relay(
        address: SocketAddr,
        turn: Turn,
        wire: Arc<Wire>,
        shaper: Shaper,
    ) -> io::Result<LinkSocket> {
        let socket = LinkSocket::bind(address, wire, shaper)?;
        Ok(LinkSocket { turn: Some(Box::new(turn)), ..socket })
    }

    /// Takes a place at a shared socket, for a link with this user fragment.
    pub(crate) fn share(
        socket: &Arc<SharedSocket>,
        ufrag: &str,
        wire: Arc<Wire>,
        shaper: Shaper,
    ) -> LinkSocket {
        let SharedSocket { io, options, local, .. } = &**socket;
        let place = Some(socket.place(ufrag));
        LinkSocket::new((io.clone(), options.clone(), *local), place, wire, shaper)
    }

    fn new(
        (io, options, local): (Arc<UdpSocket>, Arc<UdpSocketState>, SocketAddr),
        place: Option<Place>,
        wire: Arc<Wire>,
        shaper: Shaper,
    ) -> LinkSocket {
        LinkSocket {
            io,
            options,
            local,
            place,
            turn: None,
            requests: VecDeque::new(),
            writable: None,
            wire,
            shaper,
            delay_line: None,
            path_free: Instant::now(),
            check_sent: None,
            opened: None,
        }
    }

    /// Returns the link's place at a shared socket.
    pub(crate) fn place(&self) -> Option<&Place> {
        self.place.as_ref()
    }

    /// Returns the address of the socket, or the relayed address in front of it.
    pub(crate) fn local(&self) -> SocketAddr {
        self.turn.as_ref().and_then(|turn| turn.relayed()).unwrap_or(self.local)
    }

    /// Returns the socket's address at this machine.
    pub(crate) fn base(&self) -> SocketAddr {
        self.local
    }

    /// Returns the allocation of a relay.
    pub(crate) fn turn(&mut self) -> Option<&mut Turn> {
        self.turn.as_deref_mut()
    }

    /// Time at which a request to the TURN server is due.
    pub(crate) fn request_due(&self) -> Option<Instant> {
        self.turn.as_ref()?.poll_timeout()
    }

    /// Maximum number of datagrams in one send; 1 where the kernel doesn't segment, and by a relay.
    pub(crate) fn segments_max(&self) -> usize {
        if self.turn.is_some() { 1 } else { self.options.max_gso_segments() }
    }

    /// Sends one datagram, or several of one length, of which the last may be shorter.
    pub(crate) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        transmit: &Transmit<'_>,
    ) -> Poll<io::Result<()>> {
        #[cfg(test)]
        if self.wire.is_stalled.load(Ordering::Relaxed) {
            return Poll::Pending;
        }
        if self.shaper.is_killed() {
            return Poll::Ready(Ok(()));
        }
        let class = Class::of(transmit.contents);
        let mut wrapped = Vec::new();
        let to_server;
        let outer = match &mut self.turn {
            None => transmit,
            Some(turn) => {
                let (peer, data) = (transmit.destination, transmit.contents);
                if !turn.wrap(Instant::now(), peer, data, class != Class::Check, &mut wrapped) {
                    return Poll::Ready(Ok(()));
                }
                to_server = datagram(turn.server(), &wrapped);
                &to_server
            }
        };
        if class == Class::Check {
            if let Some((Check::Request, id)) = Check::of(transmit.contents) {
                self.check_sent = Some((id, Instant::now()));
            }
            self.place.iter().for_each(|place| place.sent(transmit.contents, transmit.destination));
        }
        ready!(self.send_once(cx, outer))?;
        if class == Class::Dtls && self.sends_twice(segment_len(transmit)) {
            // the datagram is sent, even if its copy fails
            let _ = self.send_once(cx, outer);
        }
        Poll::Ready(Ok(()))
    }

    /// Sends the requests to the TURN server that are due, as far as the socket takes them.
    pub(crate) fn send_requests(&mut self, cx: &mut Context<'_>, now: Instant) {
        let Some(turn) = self.turn.as_mut() else { return };
        self.requests.extend(turn.take_due(now));
        let _ = self.poll_requests(cx);
    }

    /// Sends the requests to the TURN server that wait: a socket that was bound just now takes none yet.
    pub(crate) fn poll_requests(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(server) = self.turn.as_ref().map(|turn| turn.server()) else { return Poll::Ready(()) };
        while let Some(request) = self.requests.front().cloned().filter(|_| !self.shaper.is_killed()) {
            if let Err(error) = ready!(self.send_once(cx, &datagram(server, &request))) {
                tracing::debug!(%server, %error, "a request to a TURN server was not sent");
            }
            self.requests.pop_front();
        }
        Poll::Ready(())
    }

    fn send_once(&mut self, cx: &mut Context<'_>, transmit: &Transmit<'_>) -> Poll<io::Result<()>> {
        if !self.shaper.reaches(transmit.destination) {
            return Poll::Ready(Ok(()));
        }
        if !self.shaper.is_plain() || self.delay_line.as_ref().is_some_and(|line| !line.is_empty()) {
            self.send_shaped(transmit);
        } else {
            loop {
                let send = || self.options.try_send(UdpSockRef::from(&*self.io), transmit);
                match self.io.try_io(Interest::WRITABLE, send) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        ready!(self.poll_writable(cx))?
                    }
                    sent => break sent?,
                }
            }
        }
        let len = transmit.contents.len();
        self.wire.counters.udp_bytes_sent.fetch_add(len as u64, Ordering::Relaxed);
        self.shaper.count(len, len.div_ceil(segment_len(transmit)));
        Poll::Ready(Ok(()))
    }

    /// Waits until the socket takes datagrams.
    fn poll_writable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.place.is_none() {
            return self.io.poll_send_ready(cx);
        }
        // tokio's poll functions wake one task of a socket only, its futures all
        let writable = self.writable.get_or_insert_with(|| {
            let io = self.io.clone();
            Box::pin(async move { io.writable().await })
        });
        let ready = ready!(writable.as_mut().poll(cx));
        self.writable = None;
        Poll::Ready(ready)
    }

    /// Whether a DTLS datagram of `len` bytes is sent twice at present. The replay windows of the receiver
    /// drop the copy.
    fn sends_twice(&mut self, len: usize) -> bool {
        let opened = self.opened.get_or_insert_with(Instant::now);
        opened.elapsed() < OPENING_MAX || (len <= MESSAGE_LEN_MAX && self.wire.counters.loses(LOSSY_ONE_IN))
    }

    fn send_shaped(&mut self, transmit: &Transmit<'_>) {
        let now = Instant::now();
        for datagram in transmit.contents.chunks(segment_len(transmit)) {
            let fate = self.shaper.fate(datagram.len(), now, &mut self.path_free);
            if let Fate::Leaves(at) = fate {
                let line = self
                    .delay_line
                    .get_or_insert_with(|| DelayLine::new(self.io.clone(), self.shaper.clone()));
                line.push(at, transmit.destination, datagram);
            }
        }
    }

    /// Receives one batch of datagrams and hands each to `arrived`, with its arrival time. An error that concerns an
    /// earlier datagram of this socket, like an unreachable port, counts as an empty batch.
    pub(crate) fn poll_recv(
        &mut self,
        cx: &mut Context<'_>,
        mut arrived: impl FnMut(&[u8], SocketAddr, Instant),
    ) -> Poll<()> {
        let LinkSocket { io, options, place, turn, wire, shaper, check_sent, .. } = self;
        let mut arrive = |contents: &[u8], stride: usize, from: SocketAddr, at: Option<Instant>| {
            // a killed peer reads and discards its datagrams
            if shaper.is_killed() {
                return;
            }
            wire.counters.udp_bytes_received.fetch_add(contents.len() as u64, Ordering::Relaxed);
            for datagram in contents.chunks(stride.max(1)) {
                // the time of each, by which packet trains are measured
                let at = at.unwrap_or_else(Instant::now);
                let inner = match turn {
                    None => Some((from, datagram)),
                    Some(turn) if turn.server() == from => turn.receive(at, datagram),
                    Some(_) => None,
                };
                if let Some((from, datagram)) = inner {
                    time_check(check_sent, wire, datagram, Some(from.ip()));
                    arrived(datagram, from, at);
                }
            }
        };
        if let Some(place) = place {
            let Datagrams { contents, stride, from, at } = ready!(place.poll_recv(cx));
            arrive(&contents, stride, from, Some(at));
            return Poll::Ready(());
        }
        while !receive(io, options, |contents, stride, from| arrive(contents, stride, from, None)) {
            if ready!(io.poll_recv_ready(cx)).is_err() {
                return Poll::Pending; // the runtime shuts down
            }
        }
        Poll::Ready(())
    }
}

/// Measures the round trip of an answered check. `from`: the address that answered; `None` through a tunnel.
pub(crate) fn time_check(
    sent: &mut Option<(TransactionId, Instant)>,
    wire: &Wire,
    datagram: &[u8],
    from: Option<IpAddr>,
) {
    if let Some((Check::Response, id)) = Check::of(datagram)
        && let Some((_, at)) = sent.take_if(|(asked, _)| *asked == id)
    {
        wire.answered(at.elapsed(), from);
    }
}

/// Binds a socket with large buffers; must be called within a tokio runtime.
pub(crate) fn bind(address: SocketAddr) -> io::Result<(UdpSocket, UdpSocketState)> {
    let socket = std::net::UdpSocket::bind(address)?;
    socket.set_nonblocking(true)?;
    let kernel = socket2::SockRef::from(&socket);
    // the kernel may grant less, which costs only speed
    let _ = kernel.set_recv_buffer_size(RECEIVE_BUFFER_BYTES);
    let _ = kernel.set_send_buffer_size(SEND_BUFFER_BYTES);
    let options = UdpSocketState::new(UdpSockRef::from(&socket))?;
    Ok((UdpSocket::from_std(socket)?, options))
}

/// Receives one batch, and calls `arrived` for each sender with the bytes of its datagrams, the length of all datagrams
/// but the last, and its address. Returns whether anything was received, be it an error. A batch that isn't full has
/// emptied the socket; the socket then counts as not ready, which saves the call that would fail.
pub(crate) fn receive(
    io: &UdpSocket,
    options: &UdpSocketState,
    mut arrived: impl FnMut(&[u8], usize, SocketAddr),
) -> bool {
    BUFFERS.with_borrow_mut(|bytes| {
        let (mut metas, mut filled) = ([RecvMeta::default(); BATCH], 0);
        let received = io.try_io(Interest::READABLE, || {
            let mut buffers = bytes.chunks_mut(BUFFER_BYTES).map(IoSliceMut::new);
            let mut buffers: [IoSliceMut<'_>; BATCH] =
                std::array::from_fn(|_| buffers.next().unwrap_or_else(|| IoSliceMut::new(&mut [])));
            filled = options.recv(UdpSockRef::from(io), &mut buffers, &mut metas)?;
            if filled < BATCH { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
        });
        for (buffer, meta) in bytes.chunks(BUFFER_BYTES).zip(&metas).take(filled) {
            arrived(buffer.get(..meta.len).unwrap_or_default(), meta.stride, meta.addr);
        }
        filled > 0 || received.is_err_and(|error| error.kind() != io::ErrorKind::WouldBlock)
    })
}

/// One datagram.
fn datagram(destination: SocketAddr, contents: &[u8]) -> Transmit<'_> {
    Transmit { destination, ecn: None, contents, segment_size: None, src_ip: None }
}

/// Length of each datagram of a send but the last.
fn segment_len(transmit: &Transmit<'_>) -> usize {
    transmit.segment_size.unwrap_or(transmit.contents.len()).max(1)
}

/// Class of a datagram by its first byte (RFC 7983).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// A connectivity check, or anything unknown.
    Check,
    /// DTLS: handshakes, and messages over SCTP.
    Dtls,
    /// RTP and RTCP.
    Media,
    /// A frame of a tunnel (`tunnels/frame.rs`).
    Tunnel,
}

impl Class {
    pub(crate) fn of(datagram: &[u8]) -> Class {
        match datagram.first() {
            Some(20..64) => Class::Dtls,
            Some(80 | 81) => Class::Tunnel,
            Some(128..192) => Class::Media,
            _ => Class::Check,
        }
    }
}

pub(crate) type TransactionId = [u8; 12];

/// A connectivity check (RFC 8445), or a request to a STUN server, parsed as far as its timing and its link require.
pub(crate) enum Check {
    Request,
    /// A request to a STUN server: it has no attributes, and measures no link.
    Question,
    Response,
}

impl Check {
    pub(crate) fn of(datagram: &[u8]) -> Option<(Check, TransactionId)> {
        /// RFC 8489, section 5.
        const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
        let ([kind @ .., _, _, c0, c1, c2, c3], rest) = datagram.split_first_chunk::<8>()?;
        if [*c0, *c1, *c2, *c3] != MAGIC_COOKIE {
            return None;
        }
        let (id, _) = rest.split_first_chunk()?;
        match kind {
            [0x00, 0x01] if rest.len() == id.len() => Some((Check::Question, *id)),
            [0x00, 0x01] => Some((Check::Request, *id)),
            [0x01, 0x01] => Some((Check::Response, *id)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handshakes_and_messages_are_told_from_checks_and_media() {
        const HANDSHAKE: u8 = 22;
        const APPLICATION: u8 = 23;
        let [check, rtp, rtcp] = [[0, 1], [0x80, 102], [0x81, 205]];
        assert!([HANDSHAKE, APPLICATION].iter().all(|kind| Class::of(&[*kind, 254]) == Class::Dtls));
        assert!([&check[..], &[]].iter().all(|other| Class::of(other) == Class::Check));
        assert!([rtp, rtcp].iter().all(|other| Class::of(other) == Class::Media));
    }
}
