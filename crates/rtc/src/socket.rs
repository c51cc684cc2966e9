//! The UDP sockets of a link, with large buffers for bulk transfers, nudges, counters, round-trip
//! measurement, and the shaper.
//!
//! The stack gets its sockets from a [`Runtime`]; [`LinkRuntime`] is the tokio runtime with these sockets.

use std::future::Future;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use futures::task::AtomicWaker;
use webrtc::runtime::{
    AsyncInterval, AsyncTcpListener, AsyncTcpStream, AsyncUdpSocket, JoinHandle, RecvMeta, Runtime,
    TokioRuntime, Transmit,
};

use crate::shaper::{DelayLine, Fate, Shaper};
use crate::sync::lock;
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

type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The tokio runtime, with the sockets of one link.
#[derive(Debug)]
pub(crate) struct LinkRuntime {
    pub(crate) wire: Arc<Wire>,
    pub(crate) shaper: Shaper,
}

impl Runtime for LinkRuntime {
    fn wrap_udp_socket(&self, socket: std::net::UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        let options = socket2::SockRef::from(&socket);
        // the kernel may grant less, which costs only speed
        let _ = options.set_recv_buffer_size(RECEIVE_BUFFER_BYTES);
        let _ = options.set_send_buffer_size(SEND_BUFFER_BYTES);
        Ok(Arc::new(LinkSocket {
            inner: TokioRuntime.wrap_udp_socket(socket)?,
            waker: self.wire.add_waker(),
            wire: self.wire.clone(),
            shaper: self.shaper.clone(),
            delay_line: OnceLock::new(),
            path_free: Mutex::new(Instant::now()),
            check_sent: Mutex::new(None),
            opened: OnceLock::new(),
        }))
    }

    fn spawn(&self, future: Boxed<'static, ()>) -> Box<dyn JoinHandle> {
        TokioRuntime.spawn(future)
    }

    fn wrap_tcp_listener(&self, listener: std::net::TcpListener) -> io::Result<Arc<dyn AsyncTcpListener>> {
        TokioRuntime.wrap_tcp_listener(listener)
    }

    fn connect_tcp<'a>(&'a self, to: SocketAddr) -> Boxed<'a, io::Result<Arc<dyn AsyncTcpStream>>> {
        Box::pin(async move { TokioRuntime.connect_tcp(to).await })
    }

    fn resolve_host<'a>(&'a self, host: &'a str) -> Boxed<'a, io::Result<Vec<SocketAddr>>> {
        Box::pin(async move { TokioRuntime.resolve_host(host).await })
    }

    fn sleep(&self, duration: Duration) -> Boxed<'static, ()> {
        TokioRuntime.sleep(duration)
    }

    fn interval(&self, period: Duration) -> Box<dyn AsyncInterval> {
        TokioRuntime.interval(period)
    }

    fn block_on(&self, future: Pin<Box<dyn Future<Output = ()> + '_>>) {
        TokioRuntime.block_on(future);
    }
}

#[derive(Debug)]
struct LinkSocket {
    inner: Arc<dyn AsyncUdpSocket>,
    waker: Arc<AtomicWaker>,
    wire: Arc<Wire>,
    shaper: Shaper,
    /// Created when the shaper first delays a datagram.
    delay_line: OnceLock<DelayLine>,
    path_free: Mutex<Instant>,
    check_sent: Mutex<Option<(TransactionId, Instant)>>,
    /// Time of the first DTLS datagram.
    opened: OnceLock<Instant>,
}

impl AsyncUdpSocket for LinkSocket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    fn max_gso_segments(&self) -> usize {
        self.inner.max_gso_segments()
    }

    fn max_gro_segments(&self) -> usize {
        self.inner.max_gro_segments()
    }

    fn poll_send(&self, cx: &mut Context<'_>, transmit: &Transmit<'_>) -> Poll<io::Result<usize>> {
        let len = transmit.contents.len();
        #[cfg(test)]
        if self.wire.is_stalled.load(Ordering::Relaxed) {
            return Poll::Pending;
        }
        if self.shaper.is_killed() {
            return Poll::Ready(Ok(len));
        }
        if let Some((Check::Request, id)) = Check::of(transmit.contents) {
            *lock(&self.check_sent) = Some((id, Instant::now()));
        }
        ready!(self.send_once(cx, transmit))?;
        if is_dtls(transmit.contents) && self.sends_twice(len) {
            // the datagram is sent, even if its copy fails
            let _ = self.send_once(cx, transmit);
        }
        Poll::Ready(Ok(len))
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        self.waker.register(cx.waker());
        if self.wire.take_nudge() {
            if let Some(first) = meta.first_mut() {
                *first = RecvMeta::default();
                first.stride = 1;
            }
            return Poll::Ready(Ok(1));
        }
        loop {
            let filled = ready!(self.inner.poll_recv(cx, bufs, meta))?;
            // a killed peer reads and discards its datagrams; tokio's budget ends a long loop
            if !self.shaper.is_killed() {
                bufs.iter().zip(meta.iter()).take(filled).for_each(|(buf, meta)| self.received(buf, meta));
                return Poll::Ready(Ok(filled));
            }
        }
    }
}

impl LinkSocket {
    fn send_once(&self, cx: &mut Context<'_>, transmit: &Transmit<'_>) -> Poll<io::Result<()>> {
        let len = transmit.contents.len();
        let segment_len = transmit.segment_size.unwrap_or(len).max(1);
        if !self.shaper.is_plain() || self.delay_line.get().is_some_and(|line| !line.is_empty()) {
            self.send_shaped(transmit, segment_len);
        } else {
            ready!(self.inner.poll_send(cx, transmit))?;
        }
        self.wire.counters.udp_bytes_sent.fetch_add(len as u64, Ordering::Relaxed);
        self.shaper.count(len, len.div_ceil(segment_len));
        Poll::Ready(Ok(()))
    }

    /// Whether a DTLS datagram of `len` bytes is sent twice at present. The replay windows of the receiver
    /// drop the copy.
    fn sends_twice(&self, len: usize) -> bool {
        let opened = self.opened.get_or_init(Instant::now);
        opened.elapsed() < OPENING_MAX || (len <= MESSAGE_LEN_MAX && self.wire.counters.loses(LOSSY_ONE_IN))
    }

    fn send_shaped(&self, transmit: &Transmit<'_>, segment_len: usize) {
        let now = Instant::now();
        for datagram in transmit.contents.chunks(segment_len) {
            let fate = self.shaper.fate(datagram.len(), now, &mut lock(&self.path_free));
            if let Fate::Leaves(at) = fate {
                let line =
                    self.delay_line.get_or_init(|| DelayLine::new(self.inner.clone(), self.shaper.clone()));
                line.push(at, transmit.destination, datagram);
            }
        }
    }

    /// Counts a received buffer, and measures the round trip of an answered check.
    fn received(&self, buf: &[u8], meta: &RecvMeta) {
        self.wire.counters.udp_bytes_received.fetch_add(meta.len as u64, Ordering::Relaxed);
        // several datagrams may share the buffer, each of `stride` bytes
        for datagram in buf.get(..meta.len).unwrap_or_default().chunks(meta.stride.max(1)) {
            if let Some((Check::Response, id)) = Check::of(datagram) {
                let sent = lock(&self.check_sent).take_if(|(asked, _)| *asked == id);
                if let Some((_, at)) = sent {
                    self.wire.answered(at.elapsed(), meta.addr.ip());
                }
            }
        }
    }
}

/// Whether a datagram is DTLS, in contrast to connectivity checks and media (RFC 7983).
fn is_dtls(datagram: &[u8]) -> bool {
    datagram.first().is_some_and(|first| (20..64).contains(first))
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
        assert!(is_dtls(&[HANDSHAKE, 254]) && is_dtls(&[APPLICATION, 254]));
        assert!(![&check[..], &rtp, &rtcp, &[]].iter().any(|other| is_dtls(other)));
    }
}
