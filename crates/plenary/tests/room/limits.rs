//! Limits that a peer sets on its relaying.

use plenary::{Options, Room};

use crate::support::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_relay_has_no_children_and_who_does_no_more_than_it_said() {
    // the mixer feeds two viewers: one doesn't relay, the other takes one child, which takes the rest
    let ada = Room::host(quick(Options::speaker("Ada")), small().k1(2)).await.unwrap();
    ada.publish(source(0)).await.unwrap().detach();
    let selfish = quick(Options::viewer("Sid")).relays(false);
    let modest = quick(Options::viewer("Mo")).children_max(1);
    let (selfish, modest) = (join(&ada, selfish).await, join(&ada, modest).await);
    for viewer in [&selfish, &modest] {
        until(viewer, "being fed by the mixer", |viewer| viewer.parent == Some(ada.me())).await;
    }
    let mut below = Vec::new();
    for _ in 0..3 {
        let viewer = join(&ada, quick(Options::viewer("Zoë"))).await;
        until(&viewer, "being fed by a relay", |viewer| viewer.depth >= Some(2)).await;
        frame(&mut viewer.frames(), "the program", |_| true).await;
        below.push(viewer);
    }
    assert!(selfish.snapshot().children.is_empty());
    until(&modest, "one child", |modest| modest.children.len() == 1).await;
    until(&ada, "two children", |ada| ada.children.len() == 2).await;
    for viewer in below.into_iter().chain([selfish, modest, ada]) {
        viewer.close().await;
    }
}
