//! The UDP socket of a link, with large buffers for bulk transfers, batch receive, segmentation offload,
//! counters, round-trip measurement, and the shaper.

use std::cell::RefCell;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use quinn_udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use crate::shaper::{DelayLine, Fate, Shaper};
use crate::wire::Wire;

/// Socket buffer sizes. A burst of SCTP overflows the usual 208 KiB, and each loss at the end of a burst
/// costs 1 s (measured: 2 MB/s instead of 100).
const RECEIVE_BUFFER_BYTES: usize = 4 << 20;
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

/// A socket, owned by the task of its link.
#[derive(Debug)]
pub(crate) struct LinkSocket {
    io: Arc<UdpSocket>,
    options: UdpSocketState,
    local: SocketAddr,
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
    /// Binds a socket; must be called within a tokio runtime.
    pub(crate) fn bind(address: SocketAddr, wire: Arc<Wire>, shaper: Shaper) -> io::Result<LinkSocket> {
        let socket = std::net::UdpSocket::bind(address)?;
        socket.set_nonblocking(true)?;
        let kernel = socket2::SockRef::from(&socket);
        // the kernel may grant less, which costs only speed
        let _ = kernel.set_recv_buffer_size(RECEIVE_BUFFER_BYTES);
        let _ = kernel.set_send_buffer_size(SEND_BUFFER_BYTES);
        let options = UdpSocketState::new(UdpSockRef::from(&socket))?;
        let io = Arc::new(UdpSocket::from_std(socket)?);
        Ok(LinkSocket {
            local: io.local_addr()?,
            io,
            options,
            wire,
            shaper,
            delay_line: None,
            path_free: Instant::now(),
            check_sent: None,
            opened: None,
        })
    }

    pub(crate) fn local(&self) -> SocketAddr {
        self.local
    }

    /// Maximum number of datagrams in one send; 1 where the kernel doesn't segment.
    pub(crate) fn segments_max(&self) -> usize {
        self.options.max_gso_segments()
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
        if let Some((Check::Request, id)) = Check::of(transmit.contents) {
            self.check_sent = Some((id, Instant::now()));
        }
        ready!(self.send_once(cx, transmit))?;
        if Class::of(transmit.contents) == Class::Dtls && self.sends_twice(segment_len(transmit)) {
            // the datagram is sent, even if its copy fails
            let _ = self.send_once(cx, transmit);
        }
        Poll::Ready(Ok(()))
    }

    fn send_once(&mut self, cx: &mut Context<'_>, transmit: &Transmit<'_>) -> Poll<io::Result<()>> {
        if !self.shaper.is_plain() || self.delay_line.as_ref().is_some_and(|line| !line.is_empty()) {
            self.send_shaped(transmit);
        } else {
            loop {
                let send = || self.options.try_send(UdpSockRef::from(&*self.io), transmit);
                match self.io.try_io(Interest::WRITABLE, send) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        ready!(self.io.poll_send_ready(cx))?;
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

    /// Receives one batch of datagrams and hands each to `arrived`. An error that concerns an earlier datagram
    /// of this socket, like an unreachable port, counts as an empty batch.
    pub(crate) fn poll_recv(
        &mut self,
        cx: &mut Context<'_>,
        mut arrived: impl FnMut(&[u8], SocketAddr),
    ) -> Poll<()> {
        BUFFERS.with_borrow_mut(|bytes| {
            loop {
                let mut metas = [RecvMeta::default(); BATCH];
                let filled = match self.fill(bytes, &mut metas) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        if ready!(self.io.poll_recv_ready(cx)).is_err() {
                            return Poll::Pending; // the runtime shuts down
                        }
                        continue;
                    }
                    Err(_) => return Poll::Ready(()),
                    Ok(filled) => filled,
                };
                // a killed peer reads and discards its datagrams
                if !self.shaper.is_killed() {
                    for (buffer, meta) in bytes.chunks(BUFFER_BYTES).zip(&metas).take(filled) {
                        let contents = buffer.get(..meta.len).unwrap_or_default();
                        self.wire
                            .counters
                            .udp_bytes_received
                            .fetch_add(contents.len() as u64, Ordering::Relaxed);
                        for datagram in contents.chunks(meta.stride.max(1)) {
                            self.time_check(datagram, meta.addr);
                            arrived(datagram, meta.addr);
                        }
                    }
                }
                return Poll::Ready(());
            }
        })
    }

    /// Fills buffers by one call of the kernel, and returns their number. A batch that isn't full has emptied
    /// the socket; the socket then counts as not ready, which saves the call that would fail.
    fn fill(&self, bytes: &mut [u8], metas: &mut [RecvMeta; BATCH]) -> io::Result<usize> {
        let mut filled = 0;
        let received = self.io.try_io(Interest::READABLE, || {
            let mut buffers = bytes.chunks_mut(BUFFER_BYTES).map(IoSliceMut::new);
            let mut buffers: [IoSliceMut<'_>; BATCH] =
                std::array::from_fn(|_| buffers.next().unwrap_or_else(|| IoSliceMut::new(&mut [])));
            filled = self.options.recv(UdpSockRef::from(&*self.io), &mut buffers, metas)?;
            if filled < BATCH { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
        });
        if filled > 0 { Ok(filled) } else { received.map(|()| 0) }
    }

    /// Measures the round trip of an answered check.
    fn time_check(&mut self, datagram: &[u8], from: SocketAddr) {
        if let Some((Check::Response, id)) = Check::of(datagram)
            && let Some((_, at)) = self.check_sent.take_if(|(asked, _)| *asked == id)
        {
            self.wire.answered(at.elapsed(), from.ip());
        }
    }
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
}

impl Class {
    pub(crate) fn of(datagram: &[u8]) -> Class {
        match datagram.first() {
            Some(20..64) => Class::Dtls,
            Some(128..192) => Class::Media,
            _ => Class::Check,
        }
    }
}

type TransactionId = [u8; 12];

/// A connectivity check (RFC 8445), parsed as far as its timing requires.
enum Check {
    Request,
    Response,
}

impl Check {
    fn of(datagram: &[u8]) -> Option<(Check, TransactionId)> {
        /// RFC 8489, section 5.
        const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
        let ([kind @ .., _, _, c0, c1, c2, c3], rest) = datagram.split_first_chunk::<8>()?;
        if [*c0, *c1, *c2, *c3] != MAGIC_COOKIE {
            return None;
        }
        let (id, _) = rest.split_first_chunk()?;
        match kind {
            // a request to a STUN server has no attributes, and measures no link
            [0x00, 0x01] if rest.len() > id.len() => Some((Check::Request, *id)),
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
