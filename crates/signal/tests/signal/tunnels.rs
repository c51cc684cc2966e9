//! Datagrams of links between peers without a path, over both ends' connections to the rendezvous.

use std::time::Duration;

use bytes::Bytes;
use futures::SinkExt as _;
use plenary_proto::PeerId;
use plenary_proto::rendezvous::{Batch, FromPeer, datagrams};
use plenary_signal::{
    Address, Limits, LocalSignal, MoreFigures, Rate, Refusal, Rendezvous, RendezvousConfig, Signal,
    SignalEvent,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

use crate::support::{
    ANY_PORT, RawPeer, Received, config, doors, envelope, key, next, peer, rendezvous, room, up, within,
};

const TUNNELED: &str = "plenary_rendezvous_tunneled_bytes_total";
const DROPPED: &str = "plenary_rendezvous_tunnel_dropped_bytes_total";

fn id(number: u16) -> PeerId {
    key(number).id()
}

/// A batch with a number in it, of that many datagrams of 1,000 bytes.
fn batch(number: u32, count: usize) -> Bytes {
    let mut batch = Batch::new();
    let mut datagram = vec![7; 1_000];
    datagram[..4].copy_from_slice(&number.to_be_bytes());
    (0..count).for_each(|_| batch.push(&datagram).unwrap());
    batch.take()
}

/// Returns the number of a batch.
fn number(batch: &[u8]) -> u32 {
    let first = datagrams(batch).next().unwrap().unwrap();
    u32::from_be_bytes(*first.first_chunk().unwrap())
}

/// Sends a batch, again while the queue is full.
async fn send(signal: &dyn Signal, to: u16, batch: Bytes) {
    within(async {
        while !signal.tunnel(id(to), batch.clone()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// The host in the process of the rendezvous.
async fn host_of(rendezvous: &Rendezvous) -> LocalSignal {
    let host = rendezvous.attach_host(room(), id(1), doors()).unwrap();
    assert_eq!(next(&host).await, SignalEvent::Up);
    host
}

/// Returns the sum of a figure of the rendezvous.
async fn figure(rendezvous: &Rendezvous, name: &str) -> u64 {
    let mut tcp = TcpStream::connect(rendezvous.local_addr()).await.unwrap();
    tcp.write_all(b"GET /metrics HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    within(tcp.read_to_string(&mut answer)).await.unwrap();
    let line = answer.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in {answer}")).parse().unwrap()
}

/// Waits until so many bytes were dropped.
async fn until_dropped(rendezvous: &Rendezvous, bytes: u64) {
    within(async {
        while figure(rendezvous, DROPPED).await < bytes {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
}

/// A rendezvous that tells its figures.
fn watched(limits: Limits) -> Rendezvous {
    let limits = Limits { holds_newcomers: Duration::ZERO, ..limits };
    let figures = Some(MoreFigures::none());
    Rendezvous::bind(ANY_PORT, RendezvousConfig { limits, figures, ..RendezvousConfig::default() }).unwrap()
}

/// Sends batches from one to the other, and checks that they arrive in order.
async fn assert_carried((from, from_number): (&dyn Signal, u16), (to, to_number): (&dyn Signal, u16)) {
    for at in 0..60 {
        send(from, to_number, batch(at, 1)).await;
    }
    for at in 0..60 {
        assert_eq!(next(to).await, SignalEvent::Tunnel { from: id(from_number), batch: batch(at, 1) });
    }
}

#[tokio::test]
async fn datagrams_arrive_in_order_both_ways() {
    let rendezvous = rendezvous(Limits::default()).await;
    let host = host_of(&rendezvous).await;
    let guests = [up(config(&rendezvous, 2)).await, up(config(&rendezvous, 3)).await];
    assert_carried((&guests[0], 2), (&guests[1], 3)).await;
    assert_carried((&guests[1], 3), (&guests[0], 2)).await;
    // the host in the process of the rendezvous
    assert_carried((&host, 1), (&guests[0], 2)).await;
    assert_carried((&guests[1], 3), (&host, 1)).await;
}

#[tokio::test]
async fn both_kinds_of_signal_tell_that_tunnels_are_carried_before_they_are_up() {
    let rendezvous = rendezvous(Limits::default()).await;
    let host: Box<dyn Signal> = Box::new(rendezvous.attach_host(room(), id(1), doors()).unwrap());
    let guest: Box<dyn Signal> =
        Box::new(plenary_signal::WebsocketSignal::connect(config(&rendezvous, 2)).unwrap());
    for signal in [host, guest] {
        let mut told = Vec::new();
        while told.last() != Some(&SignalEvent::Up) {
            told.push(within(signal.next()).await.unwrap());
        }
        told.retain(|event| *event != SignalEvent::Opens);
        assert!(matches!(told[..], [SignalEvent::Clock { .. }, SignalEvent::Carries, SignalEvent::Up]));
    }
}

#[tokio::test]
async fn a_peer_of_another_room_gets_nothing() {
    let rendezvous = watched(Limits::default());
    let _host = host_of(&rendezvous).await;
    let guest = up(config(&rendezvous, 2)).await;
    let mut elsewhere = config(&rendezvous, 3);
    (elsewhere.room, elsewhere.root) = (plenary_proto::RoomId::of_root(&key(60).id()), Some(key(60)));
    let stranger = up(elsewhere).await;
    send(&guest, 3, batch(1, 1)).await;
    // an envelope behind it shows that the batch was handled
    guest.send(peer(3), "hello".into()).unwrap();
    assert_eq!(next(&guest).await, SignalEvent::Undeliverable { to: peer(3) });
    stranger.send(peer(2), "hello".into()).unwrap();
    assert_eq!(next(&stranger).await, SignalEvent::Undeliverable { to: peer(2) }, "and no tunnel");
    until_dropped(&rendezvous, 1_002).await;
    assert_eq!(figure(&rendezvous, TUNNELED).await, 0);
}

#[tokio::test]
async fn what_exceeds_the_rate_is_dropped_and_envelopes_get_through() {
    let rendezvous = watched(Limits::default());
    let host = host_of(&rendezvous).await;
    let mut flooder = RawPeer::enter(&rendezvous, 9).await;
    // 2 MiB at once, where 128 KiB are let through
    const FLOOD: u32 = 128;
    let len = batch(0, 16).len();
    for at in 0..FLOOD {
        let frame = FromPeer::Tunnel { to: id(1), batch: &batch(at, 16) };
        flooder.0.feed(Message::Binary(frame.to_bytes())).await.unwrap();
    }
    let hello = FromPeer::Send { to: Address::Host, envelope: b"hello" };
    flooder.0.feed(Message::Binary(hello.to_bytes())).await.unwrap();
    within(flooder.0.flush()).await.unwrap();
    let mut arrived = Vec::new();
    loop {
        match next(&host).await {
            SignalEvent::Tunnel { batch, .. } => arrived.push(number(&batch)),
            event => break assert_eq!(event, envelope(9, "hello")),
        }
    }
    while let Ok(Some(SignalEvent::Tunnel { batch, .. })) =
        tokio::time::timeout(Duration::from_millis(500), host.next()).await
    {
        arrived.push(number(&batch));
    }
    // the burst, and what a slow machine lets in meanwhile
    assert!((8..FLOOD as usize / 2).contains(&arrived.len()), "{arrived:?}");
    assert!(arrived.is_sorted());
    let dropped = figure(&rendezvous, DROPPED).await;
    let tunneled = figure(&rendezvous, TUNNELED).await;
    assert_eq!((dropped + tunneled) as usize, FLOOD as usize * len);
    assert_eq!(tunneled as usize, arrived.len() * len);
}

#[tokio::test]
async fn tiny_frames_without_end_are_read_no_faster() {
    let limits = Limits { frames: Rate { per_s: 20, burst: 10 }, ..Limits::default() };
    let rendezvous = rendezvous(limits).await;
    let host = host_of(&rendezvous).await;
    let mut flooder = RawPeer::enter(&rendezvous, 9).await;
    let guest = up(config(&rendezvous, 2)).await;
    // 512 frames are the burst: each counts for 256 bytes
    for _ in 0..10_000 {
        let frame = FromPeer::Tunnel { to: id(1), batch: &[0, 1, 7] };
        flooder.0.feed(Message::Binary(frame.to_bytes())).await.unwrap();
    }
    let last = FromPeer::Send { to: Address::Host, envelope: b"last" };
    flooder.0.feed(Message::Binary(last.to_bytes())).await.unwrap();
    within(flooder.0.flush()).await.unwrap();
    guest.send(Address::Host, "hello".into()).unwrap();
    loop {
        match next(&host).await {
            SignalEvent::Tunnel { from, .. } => assert_eq!(from, id(9)),
            event => break assert_eq!(event, envelope(2, "hello")),
        }
    }
}

#[tokio::test]
async fn datagrams_of_strangers_don_t_wait_long_for_a_full_line() {
    // a room that no peer of the process has opened, and one batch a second for all strangers
    let tunnel_bytes = Rate { per_s: 1 << 20, burst: 1 << 20 };
    let limits = Limits { outflow_bytes_per_s: 16 << 10, tunnel_bytes, ..Limits::default() };
    let rendezvous = watched(limits);
    let _host = up(config(&rendezvous, 1)).await;
    let guests = [up(config(&rendezvous, 2)).await, up(config(&rendezvous, 3)).await];
    for at in 0..10 {
        send(&guests[0], 3, batch(at, 16)).await;
    }
    until_dropped(&rendezvous, 1).await;
    guests[0].send(peer(3), "hello".into()).unwrap();
    let mut arrived = 0;
    loop {
        match next(&guests[1]).await {
            SignalEvent::Tunnel { .. } => arrived += 1,
            event => break assert_eq!(event, envelope(2, "hello")),
        }
    }
    assert!(arrived < 9, "{arrived} of ten");
}

#[tokio::test]
async fn a_rendezvous_that_carries_no_tunnels_announces_none() {
    let rendezvous = watched(Limits { carries: false, ..Limits::default() });
    let host = rendezvous.attach_host(room(), id(1), doors()).unwrap();
    assert!(matches!(within(host.next()).await, Some(SignalEvent::Clock { .. })));
    assert_eq!(within(host.next()).await, Some(SignalEvent::Up));
    let guest = up(config(&rendezvous, 2)).await;
    assert!(!guest.tunnel(id(1), batch(1, 1)) && !host.tunnel(id(2), batch(1, 1)));
    // a peer that sends them all the same
    let mut raw = RawPeer::enter(&rendezvous, 9).await;
    raw.say(&FromPeer::Tunnel { to: id(1), batch: &batch(1, 1) }).await;
    raw.say(&FromPeer::Send { to: Address::Host, envelope: b"hello" }).await;
    assert_eq!(next(&host).await, envelope(9, "hello"), "and no tunnel");
    assert_eq!(figure(&rendezvous, DROPPED).await, 1_002);
}

#[tokio::test]
async fn a_slow_reader_loses_datagrams_and_keeps_its_connection() {
    let send_timeout = Duration::from_secs(1);
    let rendezvous = rendezvous(Limits { send_timeout, ..Limits::default() }).await;
    let host = host_of(&rendezvous).await;
    let mut slow = RawPeer::enter(&rendezvous, 9).await;
    // more than the kernel and the queue hold; peers of the rendezvous' own process have no rate
    const COUNT: u32 = 4_000;
    for at in 0..COUNT {
        assert!(host.tunnel(id(9), batch(at, 16)));
        if at % 16 == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    tokio::time::sleep(2 * send_timeout).await;
    host.send(peer(9), "still there?".into()).unwrap();
    let mut arrived = Vec::new();
    loop {
        match slow.received().await {
            Received::Tunnel(from, batch) => {
                assert_eq!(from, id(1));
                arrived.push(number(&batch));
            }
            other => break assert_eq!(other, Received::Envelope(id(1), "still there?".into())),
        }
    }
    assert!(arrived.is_sorted() && arrived.len() < COUNT as usize, "{} arrived", arrived.len());
    slow.say(&FromPeer::Send { to: Address::Host, envelope: b"yes" }).await;
    assert_eq!(next(&host).await, envelope(9, "yes"));
}

#[tokio::test]
async fn who_fetches_no_events_loses_datagrams_and_no_envelope() {
    let rendezvous = rendezvous(Limits::default()).await;
    let host = host_of(&rendezvous).await;
    let guest = up(config(&rendezvous, 2)).await;
    // four times the queue of events, of which datagrams take half
    for at in 0..1_000 {
        host.tunnel(id(2), batch(at, 1));
        if at % 20 == 0 {
            host.send(peer(2), at.to_string().into()).unwrap();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    host.send(peer(2), "last".into()).unwrap();
    let (mut envelopes, mut batches) = (Vec::new(), 0);
    loop {
        match next(&guest).await {
            SignalEvent::Tunnel { .. } => batches += 1,
            event if event == envelope(1, "last") => break,
            event => envelopes.push(event),
        }
    }
    let sent: Vec<_> = (0..1_000).step_by(20).map(|at| envelope(1, at.to_string())).collect();
    assert_eq!(envelopes, sent, "none is lost, and the connection stays");
    assert!((1..900).contains(&batches), "{batches} batches");
}

#[tokio::test]
async fn what_is_no_batch_ends_its_sender_s_connection() {
    let rendezvous = rendezvous(Limits::default()).await;
    let host = host_of(&rendezvous).await;
    let full = batch(1, 16);
    for (batch, refusal) in [
        (&[][..], Refusal::Malformed),
        (&[0, 0], Refusal::Malformed),
        (&[0, 2, 7], Refusal::Malformed),
        (&[&full[..], &full[..]].concat(), Refusal::TooLong),
    ] {
        let mut raw = RawPeer::enter(&rendezvous, 9).await;
        raw.say(&FromPeer::Tunnel { to: id(1), batch }).await;
        assert_eq!(raw.received().await, Received::Refused(refusal));
        assert!(!host.tunnel(id(9), Bytes::copy_from_slice(batch)), "nor does this process send it");
    }
    let mut raw = RawPeer::open(&rendezvous).await;
    raw.challenge().await;
    raw.say(&FromPeer::Tunnel { to: id(1), batch: &[0, 1, 7] }).await;
    assert_eq!(raw.received().await, Received::Refused(Refusal::Malformed), "before it is let in");
}
