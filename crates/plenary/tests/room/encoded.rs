//! Frames that the application encodes itself.

use bytes::Bytes;
use plenary::media::EncodedError;
use plenary::{Consent, Error, MediaKind, Options, Origin, ReceivedFrame, TrackKind};
use plenary_testkit::hostile::keyframe;

use crate::program::{number_in, same_picture};
use crate::support::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn encoded_frames_are_wanted_while_somebody_listens_and_arrive_unchanged() {
    let ada = host(quick(Options::speaker("Ada")).codecs(None)).await;
    let track = ada.publish_encoded().await.unwrap();
    let mut wishes = track.wishes();
    assert!(!wishes.borrow().wanted, "nobody is there yet");
    let keys_before = wishes.borrow().keys;

    let mut application = Application::new(track, ada.clock());
    let ben = join(&ada, quick(Options::speaker("Ben")).codecs(None)).await;
    let mut frames = ben.frames();
    within("being wanted", wishes.wait_for(|wish| wish.wanted && wish.keys > keys_before)).await.unwrap();
    let collect = async {
        let (mut units, mut packets) = (Vec::new(), Vec::new());
        while units.len() < 30 || packets.len() < 30 {
            let received = frame(&mut frames, "frames", |_| true).await;
            assert_eq!(received.origin, Origin::Speaker(ada.me()));
            match received.frame.kind {
                MediaKind::Video => units.push(received.frame),
                MediaKind::Sound => packets.push(received.frame),
            }
        }
        (units, packets)
    };
    let (units, packets) = application.push_during(collect).await;
    let [pushed, sounds] = &application.pushed;
    for unit in &units {
        let sent = &pushed[unit.identity.number as usize - 1];
        assert!(same_picture(sent, &unit.data), "picture {}", unit.identity.number);
        assert_eq!(unit.identity.key, unit.data.windows(5).any(|bytes| bytes == [0, 0, 0, 1, 0x67]));
    }
    for packet in &packets {
        let sent = u64::from_be_bytes(sounds[packet.identity.number as usize - 1][1..].try_into().unwrap());
        assert_eq!(number_in(&packet.data), sent);
    }

    ben.close().await;
    within("being wanted no more", wishes.wait_for(|wish| !wish.wanted)).await.unwrap();
    ada.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_encoded_frame_that_cannot_be_sent_is_refused_with_its_reason() {
    let ada = host(quick(Options::speaker("Ada")).codecs(None)).await;
    let track = ada.publish_encoded_as(TrackKind::Camera).await.unwrap();
    let now_us = ada.clock().now_us();
    let packet = Bytes::from_static(&[31 << 3, 7]);
    let refused = track.push_sound(packet.clone(), 30, now_us);
    assert!(
        matches!(refused, Err(Error::Encoded(EncodedError::NotOfTrack { what: "sound" }))),
        "{refused:?}"
    );
    let garbage = track.push_picture(Bytes::from_static(&[7; 100]), false, now_us);
    assert!(matches!(garbage, Err(Error::Encoded(EncodedError::NotAnnexB))), "{garbage:?}");
    track.push_picture(keyframe((20, 12), 50), true, now_us).unwrap();
    let again = track.push_picture(keyframe((20, 12), 50), true, now_us);
    assert!(matches!(again, Err(Error::Encoded(EncodedError::Time(_)))), "{again:?}");
    ada.close().await;
    let late = track.push_picture(keyframe((20, 12), 50), true, now_us + 1);
    assert!(matches!(late, Err(Error::Closed)), "{late:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bridge_begins_with_a_keyframe_and_gets_further_ones_on_request() {
    let ada = host(quick(Options::speaker("Ada"))).await;
    let ben = join(&ada, quick(Options::speaker("Ben")).mix(Consent::Never)).await;
    let zoe = join(&ada, quick(Options::viewer("Zoë"))).await;
    let sources = [&ada, &ben].map(|room| room.publish(source(0)));
    let [_ada, _ben] = futures::future::join_all(sources).await.try_into().unwrap();
    let mut watched = zoe.frames();
    let is_video = |received: &ReceivedFrame| received.frame.kind == MediaKind::Video;
    for _ in 0..3 {
        // in the midst of a group of pictures
        frame(&mut watched, "a keyframe", |received| received.frame.identity.key).await;
        let first = frame(&mut watched, "a picture", is_video).await;
        let mut bridge = zoe.frames_from_key();
        let begins = within("the beginning", bridge.next()).await.unwrap();
        assert!(begins.frame.identity.key);
        let waited_us = begins.frame.identity.captured_us - first.frame.identity.captured_us;
        // without a request the next one comes after 2 s
        assert!(waited_us < 1_600_000, "after {waited_us} µs");
        let plain = begins.frame.plain();
        assert!(begins.frame.data.starts_with(&plain) && plain.len() < begins.frame.data.len());
    }
    let asked = frame(&mut watched, "a keyframe", |received| received.frame.identity.key).await;
    // a request within 300 ms of the one before goes under, even if a keyframe has come meanwhile
    let next = frame(&mut watched, "another keyframe", |received| {
        zoe.want_keyframe(Origin::Program).unwrap();
        received.frame.identity.key
    })
    .await;
    let waited_us = next.frame.identity.captured_us - asked.frame.identity.captured_us;
    assert!((900_000..1_600_000).contains(&waited_us), "after {waited_us} µs");
    zoe.close().await;
    assert!(matches!(zoe.want_keyframe(Origin::Program), Err(Error::Closed)));
    tokio::join!(ada.close(), ben.close());
}
