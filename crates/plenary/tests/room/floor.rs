//! A viewer comes on stage while the room runs and goes back, over real links.

use std::time::Duration;

use plenary::{Consent, Error, MediaKind, Options, Origin, Room, RoomEvent};

use crate::support::*;

/// Hosts a room with a single mixer that feeds only one viewer, so that a second viewer is below the first.
async fn mixer_of_one() -> Room {
    let ada = quick(Options::speaker("Ada")).mix(Consent::Always);
    let ada = Room::host(ada, small().k1(1).k(2)).await.unwrap();
    ada.publish(source(0)).await.unwrap().detach();
    ada
}

async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    within(what, async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_is_seen_and_heard_while_promoted_and_fed_again_afterwards() {
    let ada = mixer_of_one().await;
    let zoe = join(&ada, quick(Options::viewer("Zoë"))).await;
    until(&zoe, "a parent", |zoe| zoe.parent == Some(ada.me())).await;
    let yan = join(&ada, quick(Options::viewer("Yan"))).await;
    until(&yan, "a place below the other viewer", |yan| yan.parent == Some(zoe.me())).await;
    let refused = zoe.publish(source(1)).await;
    assert!(matches!(refused, Err(Error::Publish(_))), "a viewer publishes nothing: {refused:?}");

    let (mut events, mut own, mut others) = (zoe.events(), zoe.frames(), yan.frames());
    let accepting = async {
        event(&mut events, "the floor", |event| (event == RoomEvent::FloorOffered).then_some(())).await;
        zoe.speak(true).await.unwrap();
    };
    let (promoted, ()) = tokio::join!(ada.as_host().unwrap().promote(zoe.me()), accepting);
    promoted.unwrap();
    assert!(ada.snapshot().stage.iter().any(|member| member.peer == zoe.me() && member.speaks));
    zoe.publish(source(1)).await.unwrap().detach();
    event(&mut events, "being on stage", |event| (event == RoomEvent::Floor { speaks: true }).then_some(()))
        .await;
    let there = || ada.testing().on_desk(&zoe.me());
    eventually("its picture and sound at the mixer", || {
        there().picture_us.is_some() && there().sound_us.is_some()
    })
    .await;
    let [picture_us, sound_us] = [there().picture_us, there().sound_us].map(Option::unwrap);
    for (kind, since_us) in [(MediaKind::Video, picture_us), (MediaKind::Sound, sound_us)] {
        let shows = |origin, kind| {
            move |received: &plenary::ReceivedFrame| {
                let frame = &received.frame;
                (received.origin, frame.kind) == (origin, kind) && frame.identity.captured_us >= since_us
            }
        };
        frame(&mut others, "the program that it is in", shows(Origin::Program, kind)).await;
        let hears = if kind == MediaKind::Sound { Origin::MixMinus } else { Origin::Program };
        frame(&mut own, "the program's picture, and the others' sound", shows(hears, kind)).await;
    }
    until(&yan, "another parent", |yan| yan.parent == Some(ada.me())).await;
    until(&zoe, "nobody below it", |zoe| zoe.speaks && zoe.children.is_empty()).await;

    ada.as_host().unwrap().demote(zoe.me()).await.unwrap();
    event(&mut events, "losing the floor", |event| {
        (event == RoomEvent::Floor { speaks: false }).then_some(())
    })
    .await;
    until(&zoe, "a parent again", |zoe| !zoe.speaks && zoe.parent.is_some()).await;
    eventually("its leaving the mix", || there() == Default::default()).await;
    let since_us = zoe.clock().now_us();
    for kind in [MediaKind::Video, MediaKind::Sound] {
        let program = frame(&mut own, "the whole program", |received| {
            received.frame.kind == kind && received.frame.identity.captured_us > since_us
        });
        assert_eq!(program.await.origin, Origin::Program);
    }
    tokio::join!(yan.close(), zoe.close(), ada.close());
}
