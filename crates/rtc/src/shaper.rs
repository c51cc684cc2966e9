//! Network shaper for tests and demos: adds delay, loss and a rate limit to a peer's network, or cuts it off.
//!
//! Each peer has one [`Shaper`], which all its links and TCP streams pass through. A shape applies to each
//! link separately and only to datagrams that this peer sends: both ends need the same shape. A plain shape
//! costs one atomic load per send. [`Shaper::kill`] acts like a power cut: no datagram and no TCP byte of
//! this peer is sent or received any more, its connections are not closed, and no other peer is notified.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::mpsc;

use crate::sync::lock;

/// Maximum queueing delay in front of a rate limit; beyond it datagrams are dropped. 200 ms is common in home
/// routers; a guess.
const QUEUE_MAX: Duration = Duration::from_millis(200);
/// Maximum number of delayed datagrams per socket; further ones are lost. 1 s of 60 Mbit/s in 120-byte
/// datagrams.
const DELAYED_MAX: usize = 65_536;
/// Length of the IPv4 and UDP headers, which count against the rate limit.
const HEADER_BYTES: u64 = 28;
/// Maximum number of TCP streams of a killed peer that are kept open, so that their other ends see no close.
/// Beyond it the oldest is closed.
const DEAD_STREAMS_MAX: usize = 64;

/// Treatment of the datagrams that a peer sends. The default is a plain network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// One-way delay, in microseconds. Order is kept.
    pub delay_us: u64,
    /// Lost datagrams per million, drawn from the seed.
    pub loss_ppm: u32,
    /// Rate limit in bits per second of UDP and IP, per link, with a queue of 200 ms in front; 0 for no
    /// limit.
    pub rate_bps: u64,
}

/// Shaper of one peer's network; clones share it.
#[derive(Clone, Debug)]
pub struct Shaper(Arc<State>);

#[derive(Debug)]
struct State {
    is_plain: AtomicBool,
    is_killed: AtomicBool,
    /// Addresses that datagrams reach; empty for all.
    reached: Mutex<Vec<SocketAddr>>,
    reaches_all: AtomicBool,
    shape: Mutex<Shape>,
    draws: AtomicU64,
    bytes_sent: AtomicU64,
    packets_sent: AtomicU64,
    dead_streams: Mutex<Vec<TcpStream>>,
}

/// Result of shaping one datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Lost,
    Leaves(Instant),
}

impl Default for Shaper {
    fn default() -> Self {
        Shaper::new(0)
    }
}

impl Shaper {
    /// Creates a plain network. Losses of a later shape are drawn from `seed`.
    pub fn new(seed: u64) -> Shaper {
        Shaper(Arc::new(State {
            is_plain: AtomicBool::new(true),
            is_killed: AtomicBool::new(false),
            reached: Mutex::default(),
            reaches_all: AtomicBool::new(true),
            shape: Mutex::new(Shape::default()),
            draws: AtomicU64::new(seed),
            bytes_sent: AtomicU64::new(0),
            packets_sent: AtomicU64::new(0),
            dead_streams: Mutex::new(Vec::new()),
        }))
    }

    /// Sets the shape for all datagrams from the next one on.
    pub fn set(&self, shape: Shape) {
        *lock(&self.0.shape) = shape;
        self.0.is_plain.store(shape == Shape::default(), Ordering::Release);
    }

    /// Has datagrams reach these addresses only from the next one on, as behind a strict firewall; empty for all.
    pub fn reach_only(&self, addresses: Vec<SocketAddr>) {
        self.0.reaches_all.store(addresses.is_empty(), Ordering::Release);
        *lock(&self.0.reached) = addresses;
    }

    /// Cuts the peer off permanently.
    pub fn kill(&self) {
        self.0.is_killed.store(true, Ordering::Release);
    }

    /// Whether the peer was cut off.
    pub fn is_killed(&self) -> bool {
        self.0.is_killed.load(Ordering::Acquire)
    }

    /// UDP payload bytes sent by all links of this peer, including lost datagrams.
    pub fn bytes_sent(&self) -> u64 {
        self.0.bytes_sent.load(Ordering::Relaxed)
    }

    /// Datagrams sent by all links of this peer, including lost ones.
    pub fn packets_sent(&self) -> u64 {
        self.0.packets_sent.load(Ordering::Relaxed)
    }

    /// Attaches a TCP stream to this peer's network: only [`kill`](Self::kill) applies to it, not delay, loss
    /// or rate.
    pub fn tcp(&self, stream: TcpStream) -> ShapedTcp {
        ShapedTcp { stream: Some(stream), shaper: self.clone() }
    }

    pub(crate) fn count(&self, bytes: usize, packets: usize) {
        self.0.bytes_sent.fetch_add(bytes as u64, Ordering::Relaxed);
        self.0.packets_sent.fetch_add(packets as u64, Ordering::Relaxed);
    }

    pub(crate) fn reaches(&self, address: SocketAddr) -> bool {
        self.0.reaches_all.load(Ordering::Acquire) || lock(&self.0.reached).contains(&address)
    }

    pub(crate) fn is_plain(&self) -> bool {
        self.0.is_plain.load(Ordering::Acquire)
    }

    /// Shapes a datagram of `len` bytes; `path_free` is the time at which the path has sent all earlier
    /// datagrams.
    pub(crate) fn fate(&self, len: usize, now: Instant, path_free: &mut Instant) -> Fate {
        let shape = *lock(&self.0.shape);
        if self.draw_ppm() < shape.loss_ppm {
            return Fate::Lost;
        }
        let bits_us = (len as u64 + HEADER_BYTES) * 8_000_000;
        let free = (*path_free).max(now);
        if free > now + QUEUE_MAX && shape.rate_bps > 0 {
            return Fate::Lost;
        }
        *path_free = free + Duration::from_nanos((bits_us * 1_000).checked_div(shape.rate_bps).unwrap_or(0));
        Fate::Leaves(*path_free + Duration::from_micros(shape.delay_us))
    }

    /// SplitMix64 (Steele, Lea, Flood 2014), reduced to 0..1 000 000.
    fn draw_ppm(&self) -> u32 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut bits = self.0.draws.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((bits ^ (bits >> 31)) % 1_000_000) as u32
    }
}

/// Delay line of one socket: sends datagrams in order, each at its time. Its task ends when the socket is
/// dropped and all delayed datagrams were sent.
#[derive(Debug)]
pub(crate) struct DelayLine {
    queue: mpsc::Sender<Delayed>,
    waiting: Arc<AtomicUsize>,
}

type Delayed = (Instant, SocketAddr, Bytes);

impl DelayLine {
    /// Spawns the task that sends; must be called within a tokio runtime.
    pub(crate) fn new(socket: Arc<UdpSocket>, shaper: Shaper) -> DelayLine {
        let (queue, mut delayed) = mpsc::channel::<Delayed>(DELAYED_MAX);
        let waiting = Arc::new(AtomicUsize::new(0));
        let left = waiting.clone();
        tokio::spawn(async move {
            while let Some((at, to, bytes)) = delayed.recv().await {
                tokio::time::sleep_until(at.into()).await;
                if !shaper.is_killed() {
                    // a datagram that cannot be sent counts as lost
                    let _ = socket.send_to(&bytes, to).await;
                }
                left.fetch_sub(1, Ordering::Release);
            }
        });
        DelayLine { queue, waiting }
    }

    pub(crate) fn push(&self, at: Instant, to: SocketAddr, datagram: &[u8]) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        if self.queue.try_send((at, to, Bytes::copy_from_slice(datagram))).is_err() {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Whether no datagram is delayed at present, so that one sent directly overtakes none.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.load(Ordering::Acquire) == 0
    }
}

/// A TCP stream of a peer that may be killed. Then writes are discarded, reads never complete, and the other
/// end does not notice the close as long as the shaper exists.
#[derive(Debug)]
pub struct ShapedTcp {
    /// `None` only during drop.
    stream: Option<TcpStream>,
    shaper: Shaper,
}

impl ShapedTcp {
    /// The underlying stream; `None` when the peer is killed.
    fn alive(&mut self) -> Option<Pin<&mut TcpStream>> {
        if self.shaper.is_killed() {
            return None;
        }
        self.stream.as_mut().map(Pin::new)
    }
}

impl AsyncRead for ShapedTcp {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let read = match this.alive() {
            Some(stream) => stream.poll_read(cx, buf),
            None => Poll::Pending,
        };
        // the peer was killed during the read: the bytes are discarded
        if read.is_ready() && this.shaper.is_killed() {
            buf.set_filled(before);
            return Poll::Pending;
        }
        read
    }
}

impl AsyncWrite for ShapedTcp {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut().alive() {
            Some(stream) => stream.poll_write(cx, buf),
            None => Poll::Ready(Ok(buf.len())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut().alive() {
            Some(stream) => stream.poll_flush(cx),
            None => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut().alive() {
            Some(stream) => stream.poll_shutdown(cx),
            None => Poll::Ready(Ok(())),
        }
    }
}

impl Drop for ShapedTcp {
    fn drop(&mut self) {
        // closing would send a FIN, which a killed peer does not do
        if let Some(stream) = self.stream.take().filter(|_| self.shaper.is_killed()) {
            let mut dead = lock(&self.shaper.0.dead_streams);
            if dead.len() == DEAD_STREAMS_MAX {
                dead.remove(0);
            }
            dead.push(stream);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::timeout;

    #[test]
    fn losses_are_drawn_from_the_seed() {
        let draw = |seed| {
            let shaper = Shaper::new(seed);
            shaper.set(Shape { loss_ppm: 20_000, ..Shape::default() });
            let (now, mut free) = (Instant::now(), Instant::now());
            (0..10_000).map(|_| shaper.fate(100, now, &mut free) == Fate::Lost).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        let lost = draw(7).iter().filter(|&&lost| lost).count();
        assert!((150..250).contains(&lost), "{lost} of 10000 at 2 %");
    }

    #[test]
    fn a_narrow_path_spaces_datagrams_and_drops_what_its_queue_cannot_hold() {
        let shaper = Shaper::new(0);
        shaper.set(Shape { rate_bps: 8_000_000, delay_us: 30_000, ..Shape::default() });
        let now = Instant::now();
        let mut free = now;
        // a datagram of 972 bytes takes a millisecond with its headers
        let fates: Vec<_> = (0..300).map(|_| shaper.fate(972, now, &mut free)).collect();
        for (sent, fate) in (1..=201).zip(&fates) {
            assert_eq!(*fate, Fate::Leaves(now + Duration::from_millis(sent + 30)), "{sent}");
        }
        assert!(fates.iter().skip(201).all(|fate| *fate == Fate::Lost));
        let later = now + Duration::from_secs(1);
        assert_eq!(shaper.fate(972, later, &mut free), Fate::Leaves(later + Duration::from_millis(31)));
    }

    #[tokio::test]
    async fn a_killed_peer_says_nothing_over_tcp_and_never_hears_again() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let connect = TcpStream::connect(listener.local_addr().unwrap());
        let (near, far) = tokio::join!(connect, listener.accept());
        let (shaper, mut far) = (Shaper::new(0), far.unwrap().0);
        let mut near = shaper.tcp(near.unwrap());
        let mut bytes = [0; 5];
        near.write_all(b"hello").await.unwrap();
        far.read_exact(&mut bytes).await.unwrap();
        far.write_all(b"there").await.unwrap();
        near.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"there");

        shaper.kill();
        near.write_all(b"swallowed").await.unwrap();
        near.shutdown().await.unwrap();
        far.write_all(b"in vain").await.unwrap();
        let silence = Duration::from_millis(100);
        assert!(timeout(silence, near.read_exact(&mut bytes)).await.is_err(), "no byte, no end");
        drop(near);
        assert!(timeout(silence, far.read_exact(&mut bytes)).await.is_err(), "no byte, no end");
        drop(shaper);
        assert!(timeout(Duration::from_secs(10), far.read_exact(&mut bytes)).await.unwrap().is_err());
    }

    #[tokio::test]
    async fn dead_streams_are_bounded() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let shaper = Shaper::new(0);
        shaper.kill();
        for _ in 0..DEAD_STREAMS_MAX + 3 {
            drop(shaper.tcp(TcpStream::connect(listener.local_addr().unwrap()).await.unwrap()));
            listener.accept().await.unwrap();
        }
        assert_eq!(lock(&shaper.0.dead_streams).len(), DEAD_STREAMS_MAX);
    }
}
