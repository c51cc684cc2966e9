//! Peers whose frames are carried by HTTP requests.

use std::time::Duration;

use plenary_proto::rendezvous::{FRAME_LEN_MAX, FromPeer, FromRendezvous, Hello};
use plenary_signal::{Address, Limits, Refusal, Rendezvous, Signal, SignalEvent};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{door, doors, envelope, key, next, peer, rendezvous, room, until_undeliverable, within};

/// Sends one request; returns status and body of the answer.
async fn ask(rendezvous: &Rendezvous, method: &str, path: &str, body: &[u8]) -> (u16, Vec<u8>) {
    let mut tcp = TcpStream::connect(rendezvous.local_addr()).await.unwrap();
    let len = body.len();
    let head = format!(
        "{method} /signal/fetch{path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\nContent-Length: {len}\r\n\r\n"
    );
    tcp.write_all(head.as_bytes()).await.unwrap();
    // a body that is too long is not read to its end
    let _ = tcp.write_all(body).await;
    let mut answer = Vec::new();
    within(tcp.read_to_end(&mut answer)).await.unwrap();
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(answer[..end].to_vec()).unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), answer[end + 4..].to_vec())
}

/// A body of these frames.
fn body(frames: &[&[u8]]) -> Vec<u8> {
    frames.iter().flat_map(|frame| [&(frame.len() as u32).to_be_bytes()[..], frame].concat()).collect()
}

/// Asks again and again, more slowly than the limit on new connections.
async fn until(so: impl AsyncFn() -> bool) {
    let asking = async {
        while !so().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    within(asking).await;
}

/// A connection carried by requests.
struct Fetching<'a> {
    rendezvous: &'a Rendezvous,
    path: String,
}

impl<'a> Fetching<'a> {
    async fn open(rendezvous: &'a Rendezvous) -> Result<Self, u16> {
        match ask(rendezvous, "POST", "", b"").await {
            (201, key) => Ok(Fetching { rendezvous, path: format!("/{}", String::from_utf8(key).unwrap()) }),
            (status, _) => Err(status),
        }
    }

    /// Opens a connection and enters the room.
    async fn enter(rendezvous: &'a Rendezvous, number: u16) -> Self {
        let fetching = Fetching::open(rendezvous).await.unwrap();
        let mut came = Vec::new();
        while came.len() < 2 {
            came.extend(fetching.frames().await.unwrap());
        }
        assert!(matches!(FromRendezvous::from_bytes(&came[0]), Ok(FromRendezvous::Clock { .. })));
        let FromRendezvous::Challenge { nonce } = FromRendezvous::from_bytes(&came[1]).unwrap() else {
            panic!("no challenge")
        };
        let hello = Hello::new(room(), &nonce, &key(number), &door(), None);
        assert_eq!(fetching.say(&[FromPeer::Hello(Box::new(hello))]).await, 204);
        let [welcome] = &fetching.frames().await.unwrap()[..] else { panic!("no welcome alone") };
        assert!(matches!(FromRendezvous::from_bytes(welcome), Ok(FromRendezvous::Welcome { .. })));
        fetching
    }

    async fn say(&self, frames: &[FromPeer<'_>]) -> u16 {
        let frames: Vec<_> = frames.iter().map(FromPeer::to_bytes).collect();
        let frames: Vec<&[u8]> = frames.iter().map(|frame| &**frame).collect();
        ask(self.rendezvous, "POST", &self.path, &body(&frames)).await.0
    }

    /// Returns the next frames, or the status of an answer without.
    async fn frames(&self) -> Result<Vec<Vec<u8>>, u16> {
        let (status, bytes) = ask(self.rendezvous, "GET", &self.path, b"").await;
        if status != 200 {
            return Err(status);
        }
        let mut rest = &bytes[..];
        let mut frames = Vec::new();
        while let Some((len, after)) = rest.split_first_chunk::<4>() {
            let (frame, after) = after.split_at(u32::from_be_bytes(*len) as usize);
            frames.push(frame.to_vec());
            rest = after;
        }
        Ok(frames)
    }

    /// Returns the refusal that ends the connection.
    async fn refusal(&self) -> Refusal {
        loop {
            for frame in self.frames().await.unwrap() {
                if let FromRendezvous::Refused(refusal) = FromRendezvous::from_bytes(&frame).unwrap() {
                    return refusal;
                }
            }
        }
    }
}

#[tokio::test]
async fn requests_carry_the_frames_of_a_peer_like_a_websocket() {
    let rendezvous = rendezvous(Limits::default()).await;
    let host = rendezvous.attach_host(room(), key(1).id(), doors()).unwrap();
    assert_eq!(next(&host).await, SignalEvent::Up);
    let guest = Fetching::enter(&rendezvous, 2).await;
    let longest = vec![7; plenary_proto::seal::ENVELOPE_LEN_MAX];
    let said = ["one", "two"].map(|text| FromPeer::Send { to: Address::Host, envelope: text.as_bytes() });
    assert_eq!(guest.say(&said).await, 204);
    assert_eq!(guest.say(&[FromPeer::Send { to: Address::Host, envelope: &longest }]).await, 204);
    for expected in [b"one".to_vec(), b"two".to_vec(), longest.clone()] {
        assert_eq!(next(&host).await, envelope(2, expected));
    }
    // more than one answer holds, in order
    for number in 0..4 {
        host.send(peer(2), [vec![number], longest[1..].to_vec()].concat().into()).unwrap();
    }
    let mut heard = Vec::new();
    while heard.len() < 4 {
        for frame in guest.frames().await.unwrap() {
            match FromRendezvous::from_bytes(&frame).unwrap() {
                FromRendezvous::Deliver { from, envelope } => {
                    assert_eq!((from, envelope.len()), (key(1).id(), longest.len()));
                    heard.push(envelope[0]);
                }
                FromRendezvous::Ping | FromRendezvous::Clock { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(heard, [0, 1, 2, 3]);
    assert_eq!(ask(&rendezvous, "DELETE", &guest.path, b"").await.0, 204);
    until_undeliverable(&host, peer(2)).await;
    for method in ["GET", "POST", "DELETE"] {
        assert_eq!(ask(&rendezvous, method, &guest.path, b"").await.0, 404, "{method}");
    }
}

#[tokio::test]
async fn requests_carry_no_datagrams_of_links() {
    let rendezvous = rendezvous(Limits::default()).await;
    let host = rendezvous.attach_host(room(), key(1).id(), doors()).unwrap();
    assert_eq!(next(&host).await, SignalEvent::Up);
    let guest = Fetching::enter(&rendezvous, 2).await; // the welcome follows the time: no tunnels are announced
    assert!(!host.tunnel(key(2).id(), vec![0, 1, 7].into()));
    let tunnel = FromPeer::Tunnel { to: key(1).id(), batch: &[0, 1, 7] };
    let hello = FromPeer::Send { to: Address::Host, envelope: b"hello" };
    assert_eq!(guest.say(&[tunnel, hello]).await, 204);
    assert_eq!(next(&host).await, envelope(2, "hello"), "and no tunnel");
}

#[tokio::test]
async fn a_refusal_is_still_fetched_and_then_the_connection_is_gone() {
    let limits = Limits { hello_timeout: Duration::from_millis(500), ..Limits::default() };
    let rendezvous = rendezvous(limits).await;
    let late = Fetching::open(&rendezvous).await.unwrap();
    assert_eq!(late.refusal().await, Refusal::Late);
    assert_eq!(late.frames().await, Err(404));
    let unknown = Fetching::open(&rendezvous).await.unwrap();
    assert_eq!(unknown.say(&[FromPeer::Pong]).await, 204);
    assert_eq!(unknown.refusal().await, Refusal::Malformed);
    assert_eq!(unknown.frames().await, Err(404));
    // nobody fetches the reason: its place is free again after the same time
    let forgotten = Fetching::open(&rendezvous).await.unwrap();
    until(async || forgotten.say(&[]).await == 404).await;
}

#[tokio::test]
async fn a_peer_that_fetches_no_more_is_taken_for_dead() {
    let limits = Limits { ping_interval: Duration::from_millis(200), ..Limits::default() };
    let rendezvous = rendezvous(limits).await;
    let host = rendezvous.attach_host(room(), key(1).id(), doors()).unwrap();
    assert_eq!(next(&host).await, SignalEvent::Up);
    let _guest = Fetching::enter(&rendezvous, 2).await;
    until_undeliverable(&host, peer(2)).await;
}

#[tokio::test]
async fn requests_out_of_bounds_are_refused() {
    let rendezvous = rendezvous(Limits::default()).await;
    let host = rendezvous.attach_host(room(), key(1).id(), doors()).unwrap();
    assert_eq!(next(&host).await, SignalEvent::Up);
    let guest = Fetching::enter(&rendezvous, 2).await;
    let long = body(&[&vec![0; FRAME_LEN_MAX + 1]]);
    for (body, status) in [(&long[..], 413), (b"\0\0\0\x05ab", 400), (b"\0", 400), (b"", 204)] {
        assert_eq!(ask(&rendezvous, "POST", &guest.path, body).await.0, status);
    }
    for path in ["/0", "/no-key", "/ffffffffffffffffffffffffffffffff", &format!("{}0", guest.path)] {
        assert_eq!(ask(&rendezvous, "GET", path, b"").await.0, 404, "{path}");
    }
    assert_eq!(ask(&rendezvous, "GET", "", b"").await.0, 405);
    // one request for frames at a time; the rendezvous sees when the first one is given up
    let second = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        guest.frames().await
    };
    tokio::select! {
        frames = guest.frames() => panic!("{frames:?} before a second request"),
        status = second => assert_eq!(status, Err(409)),
    }
    until(async || guest.frames().await != Err(409)).await;
}

#[tokio::test]
async fn a_stranger_s_request_is_not_read_beyond_a_hello() {
    let rendezvous = rendezvous(Limits { hello_timeout: Duration::from_secs(60), ..Limits::default() }).await;
    let stranger = Fetching::open(&rendezvous).await.unwrap();
    // bodies that would be allowed later, of which only a part comes
    for (path, sent, status) in [(&*stranger.path, 2000, 413), ("/ffffffffffffffffffffffffffffffff", 0, 404)]
    {
        let mut tcp = TcpStream::connect(rendezvous.local_addr()).await.unwrap();
        let head =
            format!("POST /signal/fetch{path} HTTP/1.1\r\nHost: test\r\nContent-Length: 98000\r\n\r\n");
        tcp.write_all(&[head.as_bytes(), &vec![0; sent]].concat()).await.unwrap();
        let mut answer = [0; 12];
        within(tcp.read_exact(&mut answer)).await.unwrap();
        assert_eq!(answer, *format!("HTTP/1.1 {status}").as_bytes(), "{path}");
    }
    // its hello still counts
    assert_eq!(stranger.say(&[FromPeer::Pong]).await, 204);
    assert_eq!(stranger.refusal().await, Refusal::Malformed);
}

#[tokio::test]
async fn a_request_that_is_never_finished_is_not_waited_for() {
    let ping_interval = Duration::from_millis(100);
    // the connection itself would end no sooner than after a minute
    let hello_timeout = Duration::from_secs(60);
    let rendezvous = rendezvous(Limits { ping_interval, hello_timeout, ..Limits::default() }).await;
    let host = rendezvous.attach_host(room(), key(1).id(), doors()).unwrap();
    assert_eq!(next(&host).await, SignalEvent::Up);
    let guest = Fetching::enter(&rendezvous, 2).await;
    let mut tcp = TcpStream::connect(rendezvous.local_addr()).await.unwrap();
    let path = &guest.path;
    let head = format!("POST /signal/fetch{path} HTTP/1.1\r\nHost: test\r\nContent-Length: 98000\r\n\r\n");
    tcp.write_all(&[head.as_bytes(), &[0; 2000]].concat()).await.unwrap();
    let mut answer = [0; 12];
    within(tcp.read_exact(&mut answer)).await.unwrap();
    assert_eq!(answer, *b"HTTP/1.1 408");
}

#[tokio::test]
async fn connections_carried_by_requests_count_as_those_of_their_address() {
    let limits = Limits { connections_per_address_max: 3, ..Limits::default() };
    let rendezvous = rendezvous(limits).await;
    let mut open = Vec::new();
    // the third place is that of the request itself
    let refused = loop {
        match Fetching::open(&rendezvous).await {
            Ok(fetching) => open.push(fetching),
            Err(status) => break status,
        }
    };
    assert_eq!((open.len(), refused), (2, 503));
    assert_eq!(ask(&rendezvous, "DELETE", &open[0].path, b"").await.0, 204);
    until(async || Fetching::open(&rendezvous).await.is_ok()).await;
}

#[tokio::test]
async fn a_request_that_waits_when_its_connection_is_old_is_still_answered() {
    // the first ping comes when the connection should have ended already
    let (http_max, ping_interval) = (Duration::from_secs(1), Duration::from_millis(1_500));
    let rendezvous = rendezvous(Limits { http_max, ping_interval, ..Limits::default() }).await;
    let host = rendezvous.attach_host(room(), key(1).id(), doors()).unwrap();
    assert_eq!(next(&host).await, SignalEvent::Up);
    let guest = Fetching::enter(&rendezvous, 2).await;
    let ping = &guest.frames().await.unwrap()[0];
    assert!(matches!(FromRendezvous::from_bytes(ping), Ok(FromRendezvous::Clock { .. })));
}
