//! Failures that a room survives, and changes of parent.

use plenary::{Options, Room, RoomEvent};
use plenary_signal::{Rendezvous, RendezvousConfig};

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
        RoomEvent::Rendezvous { up: false, why } => why,
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
        RoomEvent::Parent(Some(parent)) => Some(parent),
        _ => None,
    });
    assert_eq!(next.await, ada.me());
    assert_eq!(until(&zoe, "the count", |zoe| zoe.reparented == 1).await.depth, Some(1));
    for viewer in relays.into_iter().chain([zoe, ada]) {
        viewer.close().await;
    }
}
