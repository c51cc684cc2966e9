//! Publishing again and again: picture and sound apart, camera to screen and back.

use plenary::media::RawFormat;
use plenary::{Error, MediaKind, Muted, Options, RoomEvent, RoomSnapshot, TrackKind};

use crate::support::*;

/// Returns what the roster says of the only peer with that name.
fn says<T>(name: &str, what: impl Fn(&plenary::Member) -> T) -> impl Fn(&RoomSnapshot) -> Option<T> {
    let name = name.to_owned();
    move |snapshot| snapshot.stage.iter().find(|member| member.name == name).map(&what)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_camera_makes_way_for_a_screen_and_comes_back_while_the_voice_goes_on() {
    let ada = host(quick(Options::speaker("Ada"))).await;
    let ben = join(&ada, quick(Options::speaker("Ben"))).await;
    let mut frames = ben.frames();
    let voice = ada.publish_as(TrackKind::Voice, source(0)).await.unwrap();
    let mut screens = 0;
    for kind in [TrackKind::Camera, TrackKind::Screen, TrackKind::Camera, TrackKind::Camera] {
        let picture = ada.publish_as(kind, source(0)).await.unwrap();
        assert_eq!((picture.kind(), voice.kind()), (kind, TrackKind::Voice));
        let second = ada.publish_as(kind, source(0)).await.map(drop);
        assert!(matches!(second, Err(Error::Publish(_))), "one of a kind at a time: {second:?}");
        let first = frame(&mut frames, "a picture", |received| received.frame.kind == MediaKind::Video).await;
        assert!(first.frame.identity.key, "{kind:?} begins with a keyframe: {:?}", first.frame.identity);
        let stream = first.frame.identity.stream;
        frame(&mut frames, "the voice beside it", |received| {
            received.frame.kind == MediaKind::Sound && received.frame.identity.stream == stream
        })
        .await;
        let (shares, muted) = (kind == TrackKind::Screen, Muted::default());
        let shown = says("Ada", move |ada| (ada.shares, ada.muted) == (shares, muted));
        until(&ben, "the roster's word", |ben| shown(ben) == Some(true)).await;
        screens += usize::from(shares);

        picture.unpublish().await;
        let gone = says("Ada", |ada| ada.muted.picture && !ada.muted.sound);
        until(&ben, "no picture by the roster", |ben| gone(ben) == Some(true)).await;
        let since_us = ada.clock().now_us();
        let sound =
            |received: &plenary::ReceivedFrame| received.frame.identity.captured_us > since_us + 300_000;
        let next = frame(&mut frames, "a later frame", sound).await;
        assert_eq!(next.frame.kind, MediaKind::Sound, "nothing but the voice is left");
    }
    assert_eq!(screens, 1);
    drop(voice);
    let gone = says("Ada", |ada| ada.muted.picture && ada.muted.sound);
    until(&ben, "silence by the roster", |ben| gone(ben) == Some(true)).await;
    tokio::join!(ada.close(), ben.close());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_speaker_mutes_is_known_to_all_and_told_to_each_application() {
    let ada = host(quick(Options::speaker("Ada"))).await;
    let ben = join(&ada, quick(Options::speaker("Ben"))).await;
    let zoe = join(&ada, quick(Options::viewer("Zoë"))).await;
    ben.publish(source(0)).await.unwrap().detach();
    until(&zoe, "both on stage", |zoe| zoe.stage.len() == 2).await;
    let mut events = zoe.events();
    for (kind, muted) in [(MediaKind::Sound, true), (MediaKind::Video, true), (MediaKind::Sound, false)] {
        ben.mute(kind, muted);
        assert_eq!(ben.is_muted(kind), muted);
        let (was, is) = event(&mut events, "the change", |event| match event {
            RoomEvent::Changed { was, is } if is.peer == ben.me() => Some((was, is)),
            _ => None,
        })
        .await;
        let of = |member: &plenary::Member| match kind {
            MediaKind::Sound => member.muted.sound,
            MediaKind::Video => member.muted.picture,
        };
        assert_eq!((of(&was), of(&is)), (!muted, muted));
    }
    // at the host itself
    ada.mute(MediaKind::Sound, true);
    let shown = says("Ada", |ada| ada.muted.sound);
    until(&zoe, "the host's mute", |zoe| shown(zoe) == Some(true)).await;
    let mut events = zoe.events();
    let peer = ben.me();
    ben.leave().await;
    event(&mut events, "the goodbye", |event| {
        matches!(event, RoomEvent::Left { peer: gone, why: plenary::Departure::Left } if gone == peer)
            .then_some(())
    })
    .await;
    tokio::join!(ada.close(), ben.close(), zoe.close());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_raw_track_ends_and_the_title_and_the_audience_are_known() {
    let titled = small().title("Breakfast \u{1b}[2J".repeat(9));
    let ada = plenary::Room::host(quick(Options::speaker("Ada\u{202e}\u{7}")), titled).await.unwrap();
    assert_eq!(ada.snapshot().title.chars().count(), 64, "the escape characters are gone");
    assert!(ada.snapshot().title.starts_with("Breakfast [2JBreakfast"));
    assert_eq!((ada.snapshot().stage[0].name.as_str(), ada.snapshot().viewers), ("Ada", Some(0)));
    for _ in 0..3 {
        let raw = ada.publish_raw(RawFormat::default()).await.unwrap();
        assert_eq!(raw.kind(), TrackKind::Speaker);
        drop(raw);
    }
    let track = ada.publish_encoded_as(TrackKind::Camera).await.unwrap();
    track.unpublish().await;
    ada.publish(source(0)).await.unwrap().detach();
    let viewers =
        [join(&ada, quick(Options::viewer("Zoë"))).await, join(&ada, quick(Options::viewer("Yan"))).await];
    until(&ada, "two viewers at the host", |ada| ada.viewers == Some(2)).await;
    assert_eq!(viewers[0].snapshot().viewers, None);
    assert_eq!(viewers[1].snapshot().title, ada.snapshot().title);
    let [zoe, yan] = viewers;
    zoe.leave().await;
    until(&ada, "one viewer", |ada| ada.viewers == Some(1)).await;
    tokio::join!(ada.close(), zoe.close(), yan.close());
}
