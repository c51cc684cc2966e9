//! Closing, leaving and dropping of rooms.

use std::time::{Duration, Instant};

use plenary::{ConnectionState, Consent, End, Error, MediaKind, Mode, Options, Origin, Reason, RoomEvent};

use crate::support::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_leaving_every_stream_ends_and_every_call_says_closed() {
    let ada = host(quick(Options::speaker("Ada"))).await;
    let (mut frames, mut events, mut sound) = (ada.frames(), ada.events(), ada.sound().unwrap());
    let mut pictures = ada.pictures().unwrap();
    ada.leave().await;
    assert!(within("the end of frames", frames.next()).await.is_none());
    within("the end of sound", async { while sound.next().await.is_some() {} }).await;
    assert!(within("the end of pictures", pictures.next()).await.is_none());
    let mut last = None;
    while let Some(event) = within("the end of events", events.next()).await {
        last = Some(event);
    }
    assert_eq!(last, Some(RoomEvent::Closed { end: End::Left }));
    assert_eq!(ada.snapshot().connection, ConnectionState::Closed);

    let nobody = plenary::PeerId([0; 32]);
    let answers = [
        ada.publish(source(0)).await.map(drop),
        ada.publish(source(0)).await.map(drop), // the failed call did not count as published
        ada.publish_encoded().await.map(drop),
        ada.as_host().map(drop),
        ada.reconnect_upstream().await,
        ada.measure(nobody).await,
        ada.traffic().await.map(|_| ()),
    ];
    for (row, answer) in answers.into_iter().enumerate() {
        assert!(matches!(answer, Err(Error::Closed)), "row {row}: {answer:?}");
    }
    assert!(within("no frames", ada.frames().next()).await.is_none());
    assert!(within("no events", ada.events().next()).await.is_none());
    ada.leave().await; // a second call is allowed
    assert!(ada.tenures().is_empty(), "figures can still be read");
    ada.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_ends_what_others_hold_and_finishes_recordings() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mesh.mp4");
    let ada = host(quick(Options::speaker("Ada"))).await;
    let mut application = Application::new(ada.publish_encoded().await.unwrap(), ada.clock());
    let ben = join(&ada, quick(Options::speaker("Ben"))).await;
    let recording = ben.record(&file).unwrap();
    let (mut frames, mut events) = (ben.frames(), ben.events());
    let key = frame(&mut frames, "a frame", |received| received.frame.kind == MediaKind::Video);
    application.push_during(key).await;
    ben.close().await;
    // the file is complete when closing is over, even while a recording handle exists
    let len = std::fs::metadata(&file).unwrap().len();
    assert!(len > 3000, "{len} bytes");
    while within("the end of frames", frames.next()).await.is_some() {}
    while within("the end of events", events.next()).await.is_some() {}
    ada.close().await;
    application.push(true); // no peer receives it
    recording.finish().unwrap();
    assert_eq!(std::fs::metadata(&file).unwrap().len(), len);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_handles_see_the_end_and_the_last_one_that_is_dropped_leaves() {
    let ada = host(quick(Options::speaker("Ada"))).await;
    let ben = join(&ada, quick(Options::speaker("Ben"))).await;
    let (me, other) = (ben.me(), ben.clone());
    assert!(format!("{other:?}").contains(&format!("{me:?}")));
    until(&ada, "both on stage", |ada| ada.stage.len() == 2).await;
    drop(ben);
    assert!(!other.snapshot().stage.is_empty(), "a handle is left");
    let (mut events, dropped) = (other.events(), Instant::now());
    drop(other);
    until(&ada, "the goodbye", |ada| ada.stage.len() == 1).await;
    // a peer that dies is away after 5 s, and removed after 60 s
    assert!(dropped.elapsed() < Duration::from_secs(30), "{:?}", dropped.elapsed());
    let last = |event| matches!(event, RoomEvent::Closed { end: End::Left }).then_some(());
    event(&mut events, "the end", last).await;

    let (one, two) = (ada.clone(), ada.clone());
    let (end, (), ()) =
        within("closing twice", async { tokio::join!(ada.closed(), one.close(), two.close()) }).await;
    assert_eq!(end, End::Left);
    ada.close().await;
    assert_eq!(within("the end", two.closed()).await, End::Left);
    assert!(matches!(ada.sound(), Err(Error::Closed)));
    tokio::spawn(async move { ada.closed().await }); // a handle may go to another task
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_host_has_the_hosts_powers_and_each_call_waits_for_the_roster() {
    let ada = host(quick(Options::speaker("Ada"))).await;
    let ben = join(&ada, quick(Options::speaker("Ben"))).await;
    assert!(matches!(ben.as_host(), Err(Error::Command(Reason::NotHost))));
    let powers = ada.as_host().unwrap();
    let before = ada.snapshot().epoch;
    powers.open_stage(false).await.unwrap();
    assert!(ada.snapshot().epoch > before, "the roster says so");
    powers.demote(ben.me()).await.unwrap();
    assert!(!ada.snapshot().stage.iter().any(|member| member.peer == ben.me() && member.speaks));
    powers.set_mixers(1).await.unwrap();
    assert_ne!(ada.snapshot().mode, Mode::Mesh);
    tokio::join!(ada.close(), ben.close());
    assert!(matches!(powers.set_mixers(0).await, Err(Error::Closed)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mixer_that_leaves_hands_the_program_over() {
    let ada = host(quick(Options::speaker("Ada")).mix(Consent::Never)).await;
    ada.publish(source(0)).await.unwrap().detach();
    let zoe = join(&ada, quick(Options::viewer("Zoë"))).await;
    let mut mixers =
        vec![join(&ada, quick(Options::mixer("Max"))).await, join(&ada, quick(Options::mixer("Mia"))).await];
    let ready = until(&zoe, "a mixer and a standby", |zoe| {
        zoe.mixers.len() == 1 && zoe.standbys.len() == 1 && zoe.parent == zoe.mixers.first().copied()
    });
    let lead = ready.await.mixers[0];
    let at = mixers.iter().position(|mixer| mixer.me() == lead).unwrap();
    let (leaving, stays) = (mixers.remove(at), mixers.remove(0));
    let mut frames = zoe.frames();
    let first = frame(&mut frames, "the program", |received| received.origin == Origin::Program).await;
    leaving.leave().await;
    until(&zoe, "the other mixer", |zoe| zoe.parent == Some(stays.me())).await;
    let stream = first.frame.identity.stream;
    frame(&mut frames, "the other's program", |next| next.frame.identity.stream != stream).await;
    tokio::join!(leaving.close(), stays.close(), zoe.close(), ada.close());
}
