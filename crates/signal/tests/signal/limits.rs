//! Limits: they hold, and each has its documented effect.

use std::time::Duration;

use axum::Router;
use axum::routing::get;
use bytes::Bytes;
use futures::SinkExt as _;
use plenary_proto::RoomId;
use plenary_proto::rendezvous::FromPeer;
use plenary_signal::{
    Address, Limits, Rate, Refusal, Rendezvous, RendezvousConfig, Signal, SignalError, SignalEvent,
    WebsocketConfig, WebsocketSignal,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio_tungstenite::tungstenite::Message;

use crate::support::{
    ANY_PORT, RawPeer, Received, config, door, doors, envelope, key, next, peer, rendezvous, room,
    until_undeliverable, until_up, up, url, within,
};

#[tokio::test]
async fn a_flood_is_slowed_down_and_others_get_through() {
    let calm = Rate { per_s: 1_000_000, burst: 1_000_000_000 };
    let slow = Rate { per_s: 20, burst: 10 };
    // limits under test, and the length of the flood's envelopes
    for (limits, len) in [
        (Limits { frames: slow, bytes: calm, ..Limits::default() }, 1),
        (Limits { frames: calm, bytes: Rate { per_s: 20_000, burst: 10_000 }, ..Limits::default() }, 1000),
    ] {
        let rendezvous = rendezvous(limits).await;
        let host = rendezvous.attach_host(room(), key(1).id(), doors()).unwrap();
        assert_eq!(next(&host).await, SignalEvent::Up);
        let mut flooder = RawPeer::enter(&rendezvous, 9).await;
        let guest = up(config(&rendezvous, 2)).await;
        const FLOOD: usize = 500;
        let bytes = vec![7; len];
        for _ in 0..FLOOD {
            let frame = FromPeer::Send { to: Address::Host, envelope: &bytes };
            flooder.0.feed(Message::Binary(frame.to_bytes())).await.unwrap();
        }
        within(flooder.0.flush()).await.unwrap();
        // all 500 were sent; the envelope sent after them does not arrive last
        guest.send(Address::Host, "hello".into()).unwrap();
        let mut before = 0;
        loop {
            match next(&host).await {
                event if event == envelope(2, "hello") => break,
                event => assert_eq!(event, envelope(9, bytes.clone())),
            }
            before += 1;
        }
        assert!(before < FLOOD / 2, "{before} envelopes of the flood came first");
        // the flood is slowed down, not lost: more of it arrives
        assert_eq!(next(&host).await, envelope(9, bytes));
    }
}

#[tokio::test]
async fn a_recipient_whose_queue_is_full_misses_envelopes_and_stays() {
    let limits = Limits { queue_bytes_max: 100_000, ..Limits::default() };
    let rendezvous = rendezvous(limits).await;
    let host = rendezvous.attach_host(room(), key(1).id(), doors()).unwrap();
    assert_eq!(next(&host).await, SignalEvent::Up);
    let guest = up(config(&rendezvous, 2)).await;
    let long = Bytes::from(vec![7; 60_000]);
    // within one poll, so that no envelope is taken out in between
    for _ in 0..3 {
        host.send(peer(2), long.clone()).unwrap();
    }
    for _ in 1..3 {
        assert_eq!(next(&host).await, SignalEvent::Undeliverable { to: peer(2) });
    }
    host.send(peer(2), "short".into()).unwrap();
    assert_eq!(next(&guest).await, envelope(1, long));
    assert_eq!(next(&guest).await, envelope(1, "short"));
}

#[tokio::test]
async fn connections_beyond_the_limits_get_an_answer_and_are_closed() {
    let fast = Rate { per_s: 1, burst: 2 };
    for (limits, status) in [
        (Limits { connects_per_address: fast, ..Limits::default() }, "429"),
        (Limits { connections_per_address_max: 2, ..Limits::default() }, "503"),
        (Limits { connections_max: 2, ..Limits::default() }, "503"),
    ] {
        let rendezvous = rendezvous(limits).await;
        let connect = || TcpStream::connect(rendezvous.local_addr());
        let held = [connect().await.unwrap(), connect().await.unwrap()];
        let mut third = connect().await.unwrap();
        let mut answer = String::new();
        within(third.read_to_string(&mut answer)).await.unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        // when one connection has closed, another is accepted
        drop(held);
        until_up(&WebsocketSignal::connect(config(&rendezvous, 1)).unwrap()).await;
    }
}

#[tokio::test]
async fn who_never_reads_the_page_does_not_hold_its_connection_for_ever() {
    let limits = Limits { connections_max: 1, http_max: Duration::from_millis(300), ..Limits::default() };
    // more than the kernel buffers for a client that does not read
    let page = Router::new().route("/", get(|| async { vec![b'x'; 32 << 20] }));
    let config = RendezvousConfig { limits, page: Some(page), ..RendezvousConfig::default() };
    let rendezvous = Rendezvous::bind(ANY_PORT, config).unwrap();
    // returns the connection, and whether it was served
    let ask = async || {
        let mut tcp = TcpStream::connect(rendezvous.local_addr()).await.unwrap();
        let asked = tcp.write_all(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n").await.is_ok();
        let mut status = [0; 12];
        let answered = tcp.read_exact(&mut status).await.is_ok();
        (tcp, asked && answered && status == *b"HTTP/1.1 200")
    };
    let (_stuck, served) = ask().await;
    assert!(served);
    assert!(!ask().await.1);
    within(async { while !ask().await.1 {} }).await;
}

#[tokio::test]
async fn rooms_and_members_are_counted() {
    let limits = Limits { rooms_max: 1, members_max: 2, ..Limits::default() };
    let rendezvous = rendezvous(limits).await;
    let _host = up(config(&rendezvous, 1)).await;
    let _guest = up(config(&rendezvous, 2)).await;
    let refused = async |config| next(&WebsocketSignal::connect(config).unwrap()).await;
    let ended = |refusal| SignalEvent::Ended(SignalError::Refused(refusal));
    assert_eq!(refused(config(&rendezvous, 3)).await, ended(Refusal::RoomFull));
    let mut elsewhere =
        WebsocketConfig::new(url(&rendezvous), RoomId::of_root(&key(50).id()), key(3), door());
    elsewhere.root = Some(key(50));
    assert_eq!(refused(elsewhere).await, ended(Refusal::TooManyRooms));
}

#[tokio::test]
async fn a_peer_that_fetches_late_finds_everything_in_order() {
    let rendezvous = rendezvous(Limits::default()).await;
    let host = rendezvous.attach_host(room(), key(1).id(), doors()).unwrap();
    let guest = up(config(&rendezvous, 2)).await;
    // four times the peer's own queue; the rest waits in TCP and in the rendezvous
    for number in 0..1000 {
        host.send(peer(2), number.to_string().into()).unwrap();
    }
    for number in 0..1000 {
        assert_eq!(next(&guest).await, envelope(1, number.to_string()));
    }
}

#[tokio::test]
async fn a_peer_that_fetches_nothing_loses_its_connection_and_gets_it_back() {
    let ping_interval = Duration::from_millis(200);
    let rendezvous = rendezvous(Limits { ping_interval, ..Limits::default() }).await;
    let host = rendezvous.attach_host(room(), key(1).id(), doors()).unwrap();
    assert_eq!(next(&host).await, SignalEvent::Up);
    let guest = up(config(&rendezvous, 2)).await;
    // more than the event queue holds
    for number in 0..400 {
        host.send(peer(2), number.to_string().into()).unwrap();
    }
    until_undeliverable(&host, peer(2)).await;
    let mut before = until_up(&guest).await.into_iter();
    for number in 0..256 {
        assert_eq!(before.next(), Some(envelope(1, number.to_string())));
    }
    assert!(before.any(|event| matches!(event, SignalEvent::Down { .. })));
    host.send(peer(2), "welcome back".into()).unwrap();
    assert_eq!(next(&guest).await, envelope(1, "welcome back"));
}

#[tokio::test]
async fn an_outbox_that_is_full_says_so() {
    // no server listens on that port, so the queue is not emptied
    let signal =
        WebsocketSignal::connect(WebsocketConfig::new("http://127.0.0.1:9", room(), key(2), door())).unwrap();
    for _ in 0..256 {
        signal.send(Address::Host, "hello".into()).unwrap();
    }
    assert_eq!(signal.send(Address::Host, "hello".into()), Err(SignalError::QueueFull));
}

#[tokio::test]
async fn a_flooding_peer_is_not_disconnected_for_it() {
    let limits = Limits { frames: Rate { per_s: 500, burst: 10 }, ..Limits::default() };
    let rendezvous = rendezvous(limits).await;
    let mut raw = RawPeer::enter(&rendezvous, 1).await.0;
    for _ in 0..100 {
        raw.feed(Message::Binary(FromPeer::Pong.to_bytes())).await.unwrap();
    }
    let to = peer(77);
    raw.feed(Message::Binary(FromPeer::Send { to, envelope: b"" }.to_bytes())).await.unwrap();
    within(raw.flush()).await.unwrap();
    assert_eq!(RawPeer(raw).received().await, Received::Undeliverable(to));
}

#[tokio::test]
async fn a_flood_of_stun_requests_from_one_address_takes_nobody_else_s_answers() {
    /// A binding request (RFC 8489, 6) without attributes.
    const REQUEST: [u8; 20] = [0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7];
    const FLOOD: usize = 1_200;
    let rendezvous = rendezvous(Limits::default()).await;
    let flooder = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let other = UdpSocket::bind("127.0.0.9:0").await.unwrap();
    for _ in 0..FLOOD {
        flooder.send_to(&REQUEST, rendezvous.local_addr()).await.unwrap();
    }
    // requests are lost on the way, so the other one asks until it is answered
    let mut buffer = [0; 64];
    let answered = async {
        loop {
            other.send_to(&REQUEST, rendezvous.local_addr()).await.unwrap();
            tokio::select! {
                received = other.recv_from(&mut buffer) => return received.unwrap().0,
                () = tokio::time::sleep(Duration::from_millis(500)) => {}
            }
        }
    };
    assert_eq!(within(answered).await, 32);
    let answers = std::iter::from_fn(|| flooder.try_recv_from(&mut buffer).ok()).count();
    assert!((1..FLOOD / 4).contains(&answers), "{answers} answers");
}
