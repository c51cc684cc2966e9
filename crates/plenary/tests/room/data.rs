//! Application data forwarded down the tree, over real links.

use plenary::{
    Consent, DATA_LEN_MAX, Delivery, Error, Events, Options, PeerId, Reason, Room, RoomEvent, Shaper,
};

use crate::support::*;

const PIECES: u32 = 30;

/// Viewer with its events, and the shaper that can kill it.
struct Viewer {
    room: Room,
    events: Events,
    shaper: Shaper,
}

async fn viewers(host: &Room, count: usize) -> Vec<Viewer> {
    let mut viewers = Vec::new();
    for at in 0..count {
        let options = quick(Options::viewer(&format!("Viewer {at}")));
        let shaper = options.testing.shaper.clone();
        let room = join(host, options).await;
        viewers.push(Viewer { events: room.events(), room, shaper });
    }
    for viewer in &viewers {
        until(&viewer.room, "a parent", |viewer| viewer.parent.is_some()).await;
    }
    viewers
}

/// Hosts a room with a source that mixes. The mixer feeds four viewers, relays feed two.
async fn source_of_four() -> Room {
    let ada = quick(Options::speaker("Ada")).mix(Consent::Always);
    let ada = Room::host(ada, small().k1(4).k(2)).await.unwrap();
    ada.publish(source(0)).await.unwrap().detach();
    ada
}

async fn tell(source: &Room, pieces: std::ops::Range<u32>) {
    for piece in pieces {
        source.tell(Delivery::Reliable, &piece.to_be_bytes()).await.unwrap();
    }
}

/// Returns the next `count` pieces of data from a source.
async fn hear(events: &mut Events, source: PeerId, count: u32) -> Vec<u32> {
    let mut heard = Vec::new();
    while heard.len() < count as usize {
        let piece = event(events, "data", |event| match event {
            RoomEvent::Data { from, bytes, .. } if from == source => bytes.first_chunk().copied(),
            _ => None,
        });
        heard.push(u32::from_be_bytes(piece.await));
    }
    heard
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_source_writes_reaches_thirty_viewers_in_order() {
    let ada = source_of_four().await;
    let mut viewers = viewers(&ada, 30).await;
    tell(&ada, 0..PIECES).await;
    for viewer in &mut viewers {
        let heard = hear(&mut viewer.events, ada.me(), PIECES).await;
        assert_eq!(heard, (0..PIECES).collect::<Vec<_>>());
    }
    let deepest = viewers.iter().filter_map(|viewer| viewer.room.snapshot().depth).max();
    assert!(deepest >= Some(2), "a tree of thirty below four has more than one tier: {deepest:?}");
    for room in viewers.into_iter().map(|viewer| viewer.room).chain([ada]) {
        room.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_all_children_of_the_root_die_their_children_miss_nothing() {
    let ada = source_of_four().await;
    let viewers = viewers(&ada, 8).await;
    let (first, mut leaves): (Vec<_>, Vec<_>) =
        viewers.into_iter().partition(|viewer| viewer.room.snapshot().parent == Some(ada.me()));
    assert_eq!((first.len(), leaves.len()), (4, 4));
    tell(&ada, 0..PIECES / 2).await;
    for leaf in &mut leaves {
        hear(&mut leaf.events, ada.me(), PIECES / 2).await;
    }
    first.iter().for_each(|viewer| viewer.shaper.kill());
    tell(&ada, PIECES / 2..PIECES).await;
    for leaf in &mut leaves {
        let heard = hear(&mut leaf.events, ada.me(), PIECES / 2).await;
        assert_eq!(heard, (PIECES / 2..PIECES).collect::<Vec<_>>());
        let dead: Vec<_> = first.iter().map(|viewer| viewer.room.me()).collect();
        let living = until(&leaf.room, "a living parent", |leaf| {
            leaf.parent.is_some_and(|parent| !dead.contains(&parent))
        });
        living.await;
    }
    for room in leaves.into_iter().map(|viewer| viewer.room).chain([ada]) {
        room.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn viewers_tell_the_room_nothing_and_loose_data_arrives_too() {
    let ada = source_of_four().await;
    let mut viewers = viewers(&ada, 2).await;
    let refused = viewers[0].room.tell(Delivery::Reliable, b"I am no speaker").await;
    assert!(matches!(refused, Err(Error::Command(Reason::NotOnStage))), "{refused:?}");
    let refused = ada.tell(Delivery::Reliable, &[0; DATA_LEN_MAX + 1]).await;
    assert!(matches!(refused, Err(Error::Command(Reason::LongData))), "{refused:?}");
    for piece in 0u32..20 {
        ada.tell(Delivery::Loose, &piece.to_be_bytes()).await.unwrap();
    }
    // loopback rarely loses datagrams, but it may: one that arrives proves the path
    assert!(hear(&mut viewers[1].events, ada.me(), 1).await[0] < 20);
    for room in viewers.into_iter().map(|viewer| viewer.room).chain([ada]) {
        room.close().await;
    }
}
