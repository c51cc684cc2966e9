//! Strangers that download: they get their share of the line, and leave the rest to others.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get;
use plenary_proto::RoomId;
use plenary_proto::rendezvous::{FromPeer, Hello, HostProof};
use plenary_signal::{Address, Limits, Rate, Rendezvous, RendezvousConfig, Signal as _, SignalEvent};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::support::{
    ANY_PORT, RawPeer, Received, config, door, doors, envelope, key, next, peer, room, up, within,
};

/// Length of what is sent in one turn.
const TURN: usize = 16 << 10;
/// Lengths of the files `/large` and `/small`.
const LARGE: usize = 1 << 20;
const SMALL: usize = 4 * TURN;

fn serve(limits: Limits) -> Rendezvous {
    let file = |len: usize| get(async move || vec![b'x'; len]);
    let page = Router::new().route("/large", file(LARGE)).route("/small", file(SMALL));
    let config = RendezvousConfig { limits, page: Some(page), ..RendezvousConfig::default() };
    Rendezvous::bind(ANY_PORT, config).unwrap()
}

/// Connects from another address of this machine, and sends that many requests at once.
async fn request(rendezvous: &Rendezvous, from: u8, path: &str, times: usize) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::new(127, 0, 0, from), 0).into()).unwrap();
    let mut tcp = socket.connect(rendezvous.local_addr()).await.unwrap();
    let requests = format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n").repeat(times);
    tcp.write_all(requests.as_bytes()).await.unwrap();
    tcp
}

/// Counts what comes, as long as the task runs.
async fn count(mut tcp: TcpStream, counted: Arc<AtomicUsize>) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(len @ 1..) = tcp.read(&mut buffer).await {
        counted.fetch_add(len, Ordering::Relaxed);
    }
}

/// Waits until so many bytes have come.
async fn until(counted: &AtomicUsize, bytes: usize) {
    within(async {
        while counted.load(Ordering::Relaxed) < bytes {
            sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn whoever_downloads_without_end_gets_no_more_than_its_address_may() {
    let rate = Rate { per_s: 100_000, burst: 300_000 };
    let rendezvous = serve(Limits { page_bytes_per_address: rate, ..Limits::default() });
    let (counted, started, mut tasks) = (Arc::new(AtomicUsize::new(0)), Instant::now(), JoinSet::new());
    // one connection with many requests, and many connections
    tasks.spawn(count(request(&rendezvous, 1, "/large", 50).await, counted.clone()));
    for _ in 0..20 {
        tasks.spawn(count(request(&rendezvous, 1, "/large", 1).await, counted.clone()));
    }
    until(&counted, 300_000).await;
    sleep(Duration::from_secs(1)).await;
    let (bytes, most) =
        (counted.load(Ordering::Relaxed), 300_000 + 100 * started.elapsed().as_millis() as usize);
    assert!(bytes <= most, "{bytes} bytes came, and {most} at most");
    // another address doesn't notice
    let mut other = request(&rendezvous, 2, "/small", 1).await;
    let mut whole = vec![0; SMALL];
    within(other.read_exact(&mut whole)).await.unwrap();
    let head = String::from_utf8_lossy(&whole[..200]).to_lowercase();
    assert!(
        head.starts_with("http/1.1 200") && head.contains(&format!("content-length: {SMALL}\r\n")),
        "{head}"
    );
}

#[tokio::test]
async fn all_strangers_together_leave_the_line_to_others_and_take_turns() {
    let rendezvous = serve(Limits { outflow_bytes_per_s: 2 << 20, ..Limits::default() });
    let (counted, started, mut tasks) = (Arc::new(AtomicUsize::new(0)), Instant::now(), JoinSet::new());
    for from in 1..=20 {
        for _ in 0..8 {
            tasks.spawn(count(request(&rendezvous, from, "/large", 20).await, counted.clone()));
        }
    }
    until(&counted, 1 << 20).await;
    let before = counted.load(Ordering::Relaxed);
    let mut visitor = request(&rendezvous, 99, "/small", 1).await;
    within(visitor.read_exact(&mut vec![0; SMALL])).await.unwrap();
    let bytes = counted.load(Ordering::Relaxed);
    // one turn of each per turn of the visitor, six in all; behind all others' requests it would have waited for 640
    assert!(bytes - before <= 300 * TURN, "the others got {} turns", (bytes - before) / TURN);
    let most = (2 << 20) / 50 + (2 << 20) * started.elapsed().as_millis() as usize / 1000;
    assert!(bytes + SMALL <= most + TURN, "{bytes} bytes came, and {most} at most");
}

#[tokio::test]
async fn refusals_of_many_small_requests_take_turns_too() {
    let rendezvous = serve(Limits { outflow_bytes_per_s: 1, ..Limits::default() });
    // no websocket, no such connection, no such file
    for (from, path) in ["/signal", "/signal/fetch/0", "/nothing"].into_iter().enumerate() {
        let mut tcp = request(&rendezvous, from as u8 + 1, path, 1000).await;
        let mut answers = Vec::new();
        while let Ok(Ok(1..)) = timeout(Duration::from_millis(300), tcp.read_buf(&mut answers)).await {}
        let count = String::from_utf8(answers).unwrap().matches("HTTP/1.1 4").count();
        assert!(count <= 65, "{count} answers to {path}");
    }
}

#[tokio::test]
async fn an_address_has_eight_requests_at_a_time_and_further_ones_wait() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let counts = (now.clone(), most.clone());
    let page = get(async move || {
        let (now, most) = counts;
        most.fetch_max(now.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
        sleep(Duration::from_millis(100)).await;
        now.fetch_sub(1, Ordering::Relaxed);
        "a page"
    });
    let page = Some(Router::new().route("/", page));
    let rendezvous =
        Rendezvous::bind(ANY_PORT, RendezvousConfig { page, ..RendezvousConfig::default() }).unwrap();
    let mut open = Vec::new();
    for _ in 0..30 {
        open.push(request(&rendezvous, 1, "/", 1).await);
    }
    for mut tcp in open {
        let mut status = [0; 12];
        within(tcp.read_exact(&mut status)).await.unwrap();
        assert_eq!(status, *b"HTTP/1.1 200");
    }
    assert_eq!(most.load(Ordering::Relaxed), 8);
}

#[tokio::test]
async fn a_request_that_has_waited_for_long_is_told_when_to_come_again() {
    let limits = Limits {
        page_requests_per_address_max: 1,
        outflow_bytes_per_s: 1,
        http_max: Duration::from_secs(2),
        ..Limits::default()
    };
    let rendezvous = serve(limits);
    let mut first = request(&rendezvous, 1, "/large", 1).await;
    let mut status = [0; 12];
    within(first.read_exact(&mut status)).await.unwrap();
    let mut second = request(&rendezvous, 1, "/small", 1).await;
    let mut head = vec![0; 100];
    within(second.read_exact(&mut head)).await.unwrap();
    let head = String::from_utf8(head).unwrap().to_lowercase();
    assert!(head.starts_with("http/1.1 503") && head.contains("retry-after: 10\r\n"), "{head}");
}

#[tokio::test]
async fn a_room_of_strangers_waits_like_a_page_and_that_of_the_process_does_not() {
    let limits = Limits { outflow_bytes_per_s: 1, ..Limits::default() };
    let rendezvous = serve(limits);
    let host = rendezvous.attach_host(room(), key(1).id(), doors()).unwrap();
    assert_eq!(next(&host).await, SignalEvent::Up);
    let guest = up(config(&rendezvous, 2)).await;
    // a room whose members are all strangers, and exchange envelopes among themselves
    let strangers = key(60);
    let mut inside = Vec::new();
    for number in [61, 62] {
        let mut raw = RawPeer::open(&rendezvous).await;
        let nonce = raw.challenge().await;
        let id = RoomId::of_root(&strangers.id());
        let host = HostProof::new(id, &nonce, key(number).id(), &strangers, &doors());
        let hello = Hello::new(id, &nonce, &key(number), &door(), Some(host));
        raw.say(&FromPeer::Hello(Box::new(hello))).await;
        raw.welcome().await;
        inside.push(raw);
    }
    let long = vec![7; 10_000];
    for _ in 0..50 {
        inside[0].say(&FromPeer::Send { to: peer(62), envelope: &long }).await;
    }
    for _ in 0..50 {
        host.send(peer(2), long.clone().into()).unwrap();
        assert_eq!(next(&guest).await, envelope(1, long.clone()));
        guest.send(Address::Host, "hello".into()).unwrap();
        assert_eq!(next(&host).await, envelope(2, "hello"));
    }
    let mut came = 0;
    while let Ok(received) = timeout(Duration::from_millis(300), inside[1].received()).await {
        assert_eq!(received, Received::Envelope(key(61).id(), long.clone().into()));
        came += 1;
    }
    assert!((1..=3).contains(&came), "{came} envelopes came");
    rendezvous.set_outflow(1 << 20);
    while came < 50 {
        assert_eq!(inside[1].received().await, Received::Envelope(key(61).id(), long.clone().into()));
        came += 1;
    }
}
