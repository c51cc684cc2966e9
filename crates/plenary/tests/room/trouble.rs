//! Failures that a room survives, and changes of parent.

use std::time::{Duration, Instant};

use axum::routing::get;
use plenary::{Options, Room, RoomEvent, Router};
use plenary_signal::{Rendezvous, RendezvousConfig};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_room_goes_on_without_its_rendezvous() {
    let rendezvous = Rendezvous::bind(([127, 0, 0, 1], 0).into(), RendezvousConfig::default()).unwrap();
    let url = Some(format!("http://{}", rendezvous.local_addr()));
    let ada = Room::host(quick(Options::speaker("Ada")), small().rendezvous(url));
    let ada = ada.await.unwrap();
    ada.publish(source(0)).await.unwrap().detach();
    let zoe = join(&ada, quick(Options::viewer("Zoë"))).await;
    let (mut events, mut frames) = (zoe.events(), zoe.frames());
    let before = frame(&mut frames, "the program", |_| true).await.arrived_us;
    rendezvous.close().await;
    let down = |event| match event {
        RoomEvent::Rendezvous { up: false, why, .. } => why,
        _ => None,
    };
    let why = event(&mut events, "the end of the rendezvous", down).await;
    assert!(!why.is_empty());
    // two seconds later the program still arrives
    frame(&mut frames, "more of it", |received| received.arrived_us > before + 2_000_000).await;
    assert_eq!(zoe.snapshot().parent, Some(ada.me()));
    tokio::join!(zoe.close(), ada.close());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_that_asks_for_it_gets_another_parent() {
    // the mixer feeds two relays, one of which feeds the last viewer
    let ada = Room::host(quick(Options::speaker("Ada")), small().k1(2)).await.unwrap();
    ada.publish(source(0)).await.unwrap().detach();
    let mut relays = Vec::new();
    for _ in 0..2 {
        let relay = join(&ada, quick(Options::viewer("Ron"))).await;
        until(&relay, "being fed", |relay| relay.parent == Some(ada.me())).await;
        relays.push(relay);
    }
    let zoe = join(&ada, quick(Options::viewer("Zoë"))).await;
    let first = until(&zoe, "a parent", |zoe| zoe.parent.is_some()).await.parent.unwrap();
    let mut events = zoe.events();
    let at = relays.iter().position(|relay| relay.me() == first).unwrap();
    // the mixer has a free slot again, which is the better place
    relays.remove(1 - at).close().await;
    until(&ada, "a free place", |ada| ada.children.len() == 1).await;
    zoe.reconnect_upstream().await.unwrap();
    let next = event(&mut events, "another parent", |event| match event {
        RoomEvent::Parent { peer: Some(parent) } => Some(parent),
        _ => None,
    });
    assert_eq!(next.await, ada.me());
    assert_eq!(until(&zoe, "the count", |zoe| zoe.reparented == 1).await.depth, Some(1));
    for viewer in relays.into_iter().chain([zoe, ada]) {
        viewer.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_that_downloads_a_host_s_page_gets_a_quarter_of_its_line() {
    let page = Router::new().route("/", get(async || vec![b'x'; 16 << 20]));
    let uplink_bps = 4_000_000;
    let options = quick(Options::viewer("Ada")).uplink_bps_max(Some(uplink_bps));
    let ada = Room::host(options, small().page(Some(page))).await.unwrap();
    let url = ada.invite().unwrap().rendezvous().unwrap();
    let mut tcp = TcpStream::connect(url.strip_prefix("http://").unwrap()).await.unwrap();
    let started = Instant::now();
    tcp.write_all(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n").await.unwrap();
    let (mut bytes, mut buffer) = (0, vec![0; 1 << 16]);
    while started.elapsed() < Duration::from_secs(2) {
        bytes += tcp.read(&mut buffer).await.unwrap();
    }
    let quarter = uplink_bps / 4 / 8 * started.elapsed().as_millis() as u64 / 1000;
    // a turn at once, and the one that was under way
    assert!(bytes as u64 <= quarter + (32 << 10), "{bytes} bytes, and a quarter is {quarter}");
    ada.close().await;
}
