//! Peers that violate the protocol: they are refused, without effect on other peers.

use std::time::Duration;

use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _};
use plenary_proto::RoomId;
use plenary_proto::rendezvous::{
    DOORS_MAX, Doors, EARLY_LEN_MAX, FromPeer, FromRendezvous, Hello, HostProof, WIRE_VERSION,
};
use plenary_proto::seal::ENVELOPE_LEN_MAX;
use plenary_signal::{
    Address, Limits, Outage, Refusal, Rendezvous, Signal, SignalError, SignalEvent, WebsocketConfig,
    WebsocketSignal,
};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::accept_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::support::{
    ANY_PORT, RawPeer, Received, config, door, doors, envelope, key, next, peer, rendezvous, rendezvous_at,
    room, root, until_undeliverable, up, within,
};

/// Asserts that a host and a guest in the room still reach each other.
async fn assert_served(host: &dyn Signal, guest: &dyn Signal) {
    guest.send(Address::Host, "hello".into()).unwrap();
    assert_eq!(next(host).await, envelope(2, "hello"));
    host.send(peer(2), "hello".into()).unwrap();
    assert_eq!(next(guest).await, envelope(1, "hello"));
}

#[tokio::test]
async fn what_is_no_frame_ends_its_connection_with_a_reason() {
    let rendezvous = rendezvous(Limits::default()).await;
    let host = up(config(&rendezvous, 1)).await;
    let guest = up(config(&rendezvous, 2)).await;
    let binary = |bytes: &'static [u8]| Message::Binary(Bytes::from_static(bytes));
    let second_hello = FromPeer::Hello(Box::new(Hello::new(room(), &[0; 32], &key(9), &door(), None)));
    let of_ten_megabytes = || Message::Binary(Bytes::from(vec![WIRE_VERSION; 10 << 20]));
    for (entered, message, refusal, code) in [
        (true, Message::text("hello"), Refusal::Malformed, CloseCode::Protocol),
        (true, binary(b""), Refusal::Malformed, CloseCode::Protocol),
        (true, binary(&[WIRE_VERSION, 1, 0, 200]), Refusal::Malformed, CloseCode::Protocol),
        (true, Message::Binary(second_hello.to_bytes()), Refusal::Malformed, CloseCode::Protocol),
        (true, binary(&[9, 2]), Refusal::Version, CloseCode::Protocol),
        (true, of_ten_megabytes(), Refusal::TooLong, CloseCode::Size),
        (false, of_ten_megabytes(), Refusal::TooLong, CloseCode::Size),
        (false, Message::text("hello"), Refusal::Malformed, CloseCode::Protocol),
        (false, binary(&[9, 0]), Refusal::Version, CloseCode::Protocol),
        (false, binary(&[WIRE_VERSION, 2]), Refusal::Malformed, CloseCode::Protocol),
        (false, Message::Binary(second_hello.to_bytes()), Refusal::BadProof, CloseCode::Policy),
    ] {
        let mut raw = match entered {
            true => RawPeer::enter(&rendezvous, 9).await,
            false => RawPeer::open(&rendezvous).await,
        };
        if !entered {
            raw.challenge().await;
        }
        within(raw.0.send(message)).await.unwrap();
        assert_eq!(raw.received().await, Received::Refused(refusal));
        assert_eq!(raw.received().await, Received::Close(code));
        assert_eq!(raw.received().await, Received::Gone);
        assert_served(&host, &guest).await;
    }
}

#[tokio::test]
async fn a_frame_is_judged_by_its_length_before_it_is_read() {
    let rendezvous = rendezvous(Limits::default()).await;
    let mut raw = RawPeer::enter(&rendezvous, 1).await;
    // RFC 6455, 5.2: the head of a final binary frame, masked, with a 64-bit length, and no payload behind it
    let mut head = vec![0x82, 0xff];
    head.extend_from_slice(&u64::to_be_bytes(10 << 20));
    head.extend_from_slice(&[1, 2, 3, 4]);
    raw.0.get_mut().write_all(&head).await.unwrap();
    assert_eq!(raw.received().await, Received::Refused(Refusal::TooLong));
}

#[tokio::test]
async fn before_it_is_let_in_a_peer_sends_no_more_than_a_hello() {
    // no refusal here comes of time
    let rendezvous = rendezvous(Limits { hello_timeout: Duration::from_secs(60), ..Limits::default() }).await;
    let mut raw = RawPeer::open(&rendezvous).await;
    raw.challenge().await;
    // the head of a frame that is allowed later, and the first part of its payload
    let mut part = vec![0x82, 0xff];
    part.extend_from_slice(&u64::to_be_bytes(98_000));
    part.resize(2000, 0);
    raw.0.get_mut().write_all(&part).await.unwrap();
    assert_eq!(raw.received().await, Received::Refused(Refusal::TooLong));
    // the longest hello: a host's, with all its doors
    let mut raw = RawPeer::open(&rendezvous).await;
    let nonce = raw.challenge().await;
    let doors = Doors::truncated([1, 2, 3, 4].map(|number| key(number).id()));
    assert_eq!(doors.len(), DOORS_MAX);
    let host = HostProof::new(room(), &nonce, key(9).id(), &root(), &doors);
    let hello = Hello::new(room(), &nonce, &key(9), &key(1), Some(host));
    raw.say(&FromPeer::Hello(Box::new(hello))).await;
    raw.welcome().await;
    let longest = vec![7; ENVELOPE_LEN_MAX];
    let guest = rendezvous.attach(room(), key(2).id()).unwrap();
    assert_eq!(next(&guest).await, SignalEvent::Up);
    raw.say(&FromPeer::Send { to: peer(2), envelope: &longest }).await;
    assert_eq!(next(&guest).await, envelope(9, longest));
}

#[tokio::test]
async fn one_short_frame_may_follow_a_hello_ahead_of_the_welcome() {
    let holds_newcomers = Duration::from_secs(60);
    let rendezvous = rendezvous_at(ANY_PORT, Limits { holds_newcomers, ..Limits::default() });
    let host = up(config(&rendezvous, 1)).await;
    let send = |len: usize| FromPeer::Send { to: Address::Host, envelope: &vec![7; len] }.to_bytes();
    for (frames, refusal) in [
        (vec![send(EARLY_LEN_MAX)], None),
        // the room isn't known yet: what comes meanwhile is all that a stranger may send
        (vec![send(1), send(1)], Some(Refusal::Malformed)),
        (vec![send(3 * EARLY_LEN_MAX)], Some(Refusal::TooLong)),
    ] {
        let mut raw = RawPeer::open(&rendezvous).await;
        let nonce = raw.challenge().await;
        let in_room = if refusal.is_none() { room() } else { RoomId([99; 16]) };
        let hello = Hello::new(in_room, &nonce, &key(9), &door(), None);
        raw.say(&FromPeer::Hello(Box::new(hello))).await;
        for frame in frames {
            raw.0.send(Message::Binary(frame)).await.unwrap();
        }
        match refusal {
            None => {
                raw.welcome().await;
                assert_eq!(next(&host).await, envelope(9, vec![7; EARLY_LEN_MAX]));
            }
            Some(refusal) => assert_eq!(raw.received().await, Received::Refused(refusal)),
        }
    }
}

#[tokio::test]
async fn a_peer_that_leaves_a_message_unfinished_is_taken_for_dead() {
    let ping_interval = Duration::from_millis(100);
    let rendezvous = rendezvous(Limits { ping_interval, ..Limits::default() }).await;
    let host = up(config(&rendezvous, 1)).await;
    let mut raw = RawPeer::enter(&rendezvous, 9).await;
    // RFC 6455, 5.2 and 5.4: the first fragment of a masked binary message, and masked pings behind it
    let (fragment, ping) = ([0x02, 0x81, 0, 0, 0, 0, 7], [0x89, 0x80, 0, 0, 0, 0]);
    raw.0.get_mut().write_all(&fragment).await.unwrap();
    let pinging = async {
        while raw.0.get_mut().write_all(&ping).await.is_ok() {
            tokio::time::sleep(ping_interval / 4).await;
        }
    };
    tokio::join!(within(pinging), until_undeliverable(&host, peer(9)));
}

#[tokio::test]
async fn frames_of_a_later_version_are_passed_over() {
    let rendezvous = rendezvous(Limits::default()).await;
    let host = up(config(&rendezvous, 1)).await;
    let mut raw = RawPeer::enter(&rendezvous, 9).await;
    let later = [WIRE_VERSION, 100, 1, 2, 3];
    within(raw.0.send(Message::Binary(Bytes::copy_from_slice(&later)))).await.unwrap();
    raw.say(&FromPeer::Send { to: Address::Host, envelope: b"hello" }).await;
    assert_eq!(next(&host).await, envelope(9, "hello"));
}

#[tokio::test]
async fn who_says_nothing_is_not_waited_for() {
    let hello_timeout = Duration::from_millis(300);
    let rendezvous = rendezvous(Limits { hello_timeout, ..Limits::default() }).await;
    let mut raw = RawPeer::open(&rendezvous).await;
    raw.challenge().await;
    assert_eq!(raw.received().await, Received::Refused(Refusal::Late));
    // websocket pings are no hello
    let mut pinging = RawPeer::open(&rendezvous).await;
    let last_words = within(async {
        loop {
            let _ = pinging.0.send(Message::Ping(Bytes::new())).await;
            match pinging.0.next().await {
                Some(Ok(Message::Binary(frame))) if frame[1] == 2 => break frame,
                Some(Ok(_)) => {}
                other => panic!("{other:?}"),
            }
        }
    });
    let last_words = last_words.await;
    assert_eq!(FromRendezvous::from_bytes(&last_words), Ok(FromRendezvous::Refused(Refusal::Late)));
}

#[tokio::test]
async fn a_request_that_does_not_get_on_is_cut_off() {
    let hello_timeout = Duration::from_millis(300);
    let rendezvous = rendezvous(Limits { hello_timeout, ..Limits::default() }).await;
    let endless = format!("GET / HTTP/1.1\r\nCookie: {}", "x".repeat(1 << 20));
    for sent in ["", "GET /signal HT", "GET /signal HTTP/1.1\r\nHost: test\r\nUpgr", &endless] {
        let mut tcp = TcpStream::connect(rendezvous.local_addr()).await.unwrap();
        let _ = within(tcp.write_all(sent.as_bytes())).await;
        let mut answer = Vec::new();
        let _ = within(tcp.read_to_end(&mut answer)).await;
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    // sends one more byte whenever the server is about to time out
    let mut tcp = TcpStream::connect(rendezvous.local_addr()).await.unwrap();
    tcp.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    within(async {
        while tcp.write_all(b"x").await.is_ok() {
            tokio::time::sleep(hello_timeout / 4).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_request_s_head_is_read_up_to_8_kib() {
    // no answer here comes of time
    let rendezvous = rendezvous(Limits { hello_timeout: Duration::from_secs(60), ..Limits::default() }).await;
    // the second one goes on
    for (len, end, status) in [(7_000, "\r\n\r\n", "404"), (9_000, "", "431")] {
        let mut tcp = TcpStream::connect(rendezvous.local_addr()).await.unwrap();
        let head = format!("GET /nothing HTTP/1.1\r\nHost: test\r\nCookie: {}{end}", "x".repeat(len));
        tcp.write_all(head.as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        within(tcp.read_exact(&mut answer)).await.unwrap();
        assert_eq!(answer, *format!("HTTP/1.1 {status}").as_bytes(), "{len} bytes");
    }
}

#[tokio::test]
async fn a_peer_that_answers_no_ping_is_taken_for_dead() {
    let ping_interval = Duration::from_millis(100);
    let rendezvous = rendezvous(Limits { ping_interval, ..Limits::default() }).await;
    let host = up(config(&rendezvous, 1)).await;
    let dead = RawPeer::enter(&rendezvous, 9).await;
    until_undeliverable(&host, peer(9)).await;
    drop(dead);
}

#[tokio::test]
async fn a_peer_that_reads_nothing_is_disconnected() {
    let limits = Limits {
        members_max: 2,
        send_timeout: Duration::from_millis(300),
        // the peer reads nothing, so it answers no ping either; pings are not under test here
        ping_interval: Duration::from_secs(60),
        ..Limits::default()
    };
    let rendezvous = rendezvous(limits).await;
    let host = rendezvous.attach_host(room(), key(1).id(), doors()).unwrap();
    assert_eq!(next(&host).await, SignalEvent::Up);
    let mut stuck = RawPeer::enter(&rendezvous, 9).await;
    let other = || WebsocketSignal::connect(config(&rendezvous, 2)).unwrap();
    assert_eq!(next(&other()).await, SignalEvent::Ended(SignalError::Refused(Refusal::RoomFull)));

    let chunk = Bytes::from(vec![7; 60_000]);
    let mut sent = 0;
    let undeliverable = loop {
        host.send(peer(9), chunk.clone()).unwrap();
        sent += 1;
        tokio::select! {
            biased;
            event = next(&host) => break event,
            () = tokio::task::yield_now() => {}
        }
    };
    assert_eq!(undeliverable, SignalEvent::Undeliverable { to: peer(9) });
    // another peer can enter after the slow one was disconnected
    let coming_in = async {
        loop {
            let other = other();
            match next(&other).await {
                SignalEvent::Up => return other,
                event => assert_eq!(event, SignalEvent::Ended(SignalError::Refused(Refusal::RoomFull))),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let other = within(coming_in).await;
    assert_served(&host, &other).await;
    let mut received = 0;
    while stuck.received().await == Received::Envelope(key(1).id(), chunk.clone()) {
        received += 1;
    }
    assert!(received < sent, "{received} of {sent}");
}

/// Sends arbitrary messages to a server.
async fn annoy(rendezvous: &Rendezvous, entered: bool, messages: Vec<Message>) {
    let mut raw = match entered {
        true => RawPeer::enter(rendezvous, 9).await,
        false => RawPeer::open(rendezvous).await,
    };
    for message in messages {
        if raw.0.send(message).await.is_err() {
            break;
        }
    }
}

async fn annoy_below(rendezvous: &Rendezvous, bytes: &[u8]) {
    let mut raw = RawPeer::enter(rendezvous, 9).await;
    let _ = raw.0.get_mut().write_all(bytes).await;
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..200)
}

/// Random messages, some of them close enough to a frame to pass the first checks.
fn message() -> impl Strategy<Value = Message> {
    prop_oneof![
        bytes().prop_map(Message::binary),
        (0..11_u8, bytes())
            .prop_map(|(variant, rest)| { Message::binary([&[WIRE_VERSION, variant], &rest[..]].concat()) }),
        ".{0,20}".prop_map(Message::text),
        prop::collection::vec(any::<u8>(), 0..125).prop_map(|bytes| Message::Ping(bytes.into())),
        Just(Message::Close(None)),
    ]
}

fn runner() -> TestRunner {
    TestRunner::new(Config { cases: 64, failure_persistence: None, ..Config::default() })
}

#[test]
fn no_bytes_bring_a_rendezvous_down() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (rendezvous, host, guest) = runtime.block_on(async {
        let rendezvous = rendezvous(Limits::default()).await;
        let host = up(config(&rendezvous, 1)).await;
        let guest = up(config(&rendezvous, 2)).await;
        (rendezvous, host, guest)
    });
    let cases = (any::<bool>(), prop::collection::vec(message(), 1..8), bytes());
    let outcome = runner().run(&cases, |(entered, messages, raw)| {
        runtime.block_on(async {
            annoy(&rendezvous, entered, messages).await;
            annoy_below(&rendezvous, &raw).await;
        });
        Ok(())
    });
    assert_eq!(outcome, Ok(()));
    // some random messages were valid envelopes for the host
    runtime.block_on(async {
        guest.send(Address::Host, "hello".into()).unwrap();
        while next(&host).await != envelope(2, "hello") {}
        within(rendezvous.close()).await;
    });
}

#[test]
fn no_bytes_bring_a_peer_down() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let cases = (any::<bool>(), prop::collection::vec(message(), 1..8));
    let outcome = runner().run(&cases, |(welcome, messages)| {
        runtime.block_on(false_rendezvous(welcome, messages));
        Ok(())
    });
    assert_eq!(outcome, Ok(()));
}

/// A server that lets a peer in, or not, and then sends arbitrary messages.
async fn false_rendezvous(welcome: bool, messages: Vec<Message>) {
    let listener = TcpListener::bind(ANY_PORT).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let mut guest = WebsocketConfig::new(url, room(), key(2), door());
    guest.root = Some(root());
    let guest = WebsocketSignal::connect(guest).unwrap();
    let mut socket = accept_async(listener.accept().await.unwrap().0).await.unwrap();
    if welcome {
        let frames =
            [FromRendezvous::Challenge { nonce: [1; 32] }, FromRendezvous::Welcome { ping_interval_ms: 0 }];
        for frame in frames {
            socket.send(Message::Binary(frame.to_bytes())).await.unwrap();
        }
        assert_eq!(next(&guest).await, SignalEvent::Up);
    }
    for message in messages {
        if socket.send(message).await.is_err() {
            break;
        }
    }
    drop((socket, listener));
    // if the client's task had panicked, no event would report the lost connection
    loop {
        match next(&guest).await {
            SignalEvent::Down { .. } | SignalEvent::Ended(_) => break,
            SignalEvent::Up => assert!(!welcome, "up twice"),
            SignalEvent::Clock { .. } | SignalEvent::Turn(_) | SignalEvent::Opens | SignalEvent::Carries => {}
            SignalEvent::Envelope { .. } | SignalEvent::Undeliverable { .. } => {}
            SignalEvent::Tunnel { .. } => {}
        }
    }
    within(guest.close()).await;
}

#[tokio::test]
async fn a_rendezvous_of_another_version_is_refused_for_good() {
    let listener = TcpListener::bind(ANY_PORT).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let guest = WebsocketSignal::connect(WebsocketConfig::new(url, room(), key(2), door())).unwrap();
    let mut socket = accept_async(listener.accept().await.unwrap().0).await.unwrap();
    socket.send(Message::Binary(Bytes::from_static(&[2, 0, 1, 2, 3]))).await.unwrap();
    assert_eq!(next(&guest).await, SignalEvent::Ended(SignalError::Refused(Refusal::Version)));
}

#[tokio::test]
async fn a_rendezvous_that_sends_too_long_a_frame_is_left() {
    let listener = TcpListener::bind(ANY_PORT).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let guest = WebsocketSignal::connect(WebsocketConfig::new(url, room(), key(2), door())).unwrap();
    let mut socket = accept_async(listener.accept().await.unwrap().0).await.unwrap();
    let _ = within(socket.send(Message::Binary(vec![WIRE_VERSION; 10 << 20].into()))).await;
    let SignalEvent::Down { why, .. } = next(&guest).await else { panic!("it stayed") };
    assert_eq!(why, Outage::Protocol("the frame is too long".to_owned()));
}
