//! Two speakers in a mesh: each sends its stream to the other.

use std::collections::BTreeSet;

use plenary::{ConnectionState, Options, Origin, RoomEvent, RoomSnapshot, Shape};

use crate::support::*;

#[cfg(feature = "codecs")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_speakers_see_and_hear_each_other() {
    let ada = host(local(Options::speaker("Ada"))).await;
    let ben = join(&ada, local(Options::speaker("Ben"))).await;
    ada.publish(source(0)).await.unwrap().detach();
    ben.publish(source(1)).await.unwrap().detach();
    tokio::join!(sees_and_hears(&ada, &ben, 1), sees_and_hears(&ben, &ada, 0));
    assert_eq!(ada.snapshot().mode, plenary::Mode::Mesh);
    assert!(ada.tenures().is_empty() && ben.tenures().is_empty(), "nobody mixes for two");
    tokio::join!(ada.close(), ben.close());
}

#[cfg(feature = "codecs")]
async fn sees_and_hears(me: &plenary::Room, other: &plenary::Room, index: u8) {
    use plenary_testkit::judge::{Sound, TimeCode};

    let (mut pictures, mut sound) = (me.pictures().unwrap(), me.sound().unwrap());
    let mut seen: Vec<(u32, u64)> = Vec::new();
    while seen.len() < 30 {
        let decoded = within("a picture", pictures.next()).await.unwrap();
        assert_eq!(decoded.origin, Origin::Speaker(other.me()));
        let view = decoded.picture.view();
        assert_eq!((view.width, view.height, view.planes[0].stride), (320, 180, 320));
        let code = time_code(&view, 0, 0, 320, 180);
        let Some(TimeCode { index: shown, number }) = code else { continue };
        assert_eq!(shown, index);
        seen.push((number, decoded.captured_us));
    }
    for pair in seen.windows(2) {
        let ((number, captured_us), (next, next_us)) = (pair[0], pair[1]);
        assert!(next > number, "{next} after {number}");
        // a busy machine may delay a source, but never advances it
        let apart_us = u64::from(next - number) * 1_000_000 / 30;
        assert!(next_us + 1 >= captured_us + apart_us, "{number} to {next} in {} µs", next_us - captured_us);
    }
    let mut samples = Vec::new();
    while samples.len() < 48_000 {
        let heard = within("sound", sound.next()).await.unwrap();
        assert_eq!((heard.samples.len(), heard.channels), (1920, 2));
        if !samples.is_empty() || heard.samples.iter().any(|sample| sample.abs() > 0.01) {
            samples.extend(heard.mono());
        }
    }
    let (heard, range) = (Sound { samples }, 0.2..1.0);
    let (other_db, own_db) = (heard.tone_db(index, range.clone()), heard.tone_db(1 - index, range));
    assert!(other_db > -26.0 && own_db < other_db - 20.0, "the other {other_db} dB, oneself {own_db} dB");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rooms_of_one_process_do_not_see_each_other() {
    let mut rooms = Vec::new();
    for _ in 0..2 {
        let ada = host(quick(Options::speaker("Ada"))).await;
        let ben = join(&ada, quick(Options::speaker("Ben"))).await;
        ada.publish(source(0)).await.unwrap().detach();
        rooms.push((ada, ben));
    }
    for (ada, ben) in &rooms {
        let mut frames = ben.frames();
        for _ in 0..60 {
            let from = frame(&mut frames, "a frame", |_| true).await.origin;
            assert_eq!(from, Origin::Speaker(ada.me()));
        }
        let stage: BTreeSet<_> = ben.snapshot().stage.iter().map(|member| member.peer).collect();
        assert_eq!(stage, BTreeSet::from([ada.me(), ben.me()]));
    }
    for (ada, ben) in rooms {
        tokio::join!(ada.close(), ben.close());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_is_told_when_it_is_cut_off_and_when_it_is_back() {
    let [ada, ben] = ["Ada", "Ben"].map(|name| quick(Options::speaker(name)));
    let shapers = [ada.testing.shaper.clone(), ben.testing.shaper.clone()];
    let shape =
        |loss_ppm| shapers.iter().for_each(|shaper| shaper.set(Shape { loss_ppm, ..Shape::default() }));
    let ada = host(ada).await;
    let ben = join(&ada, ben).await;
    let connection = |wanted| move |snapshot: &RoomSnapshot| snapshot.connection == wanted;
    until(&ben, "being connected", connection(ConnectionState::Connected)).await;
    let mut events = ben.events();
    let mut told = async |wanted| {
        event(&mut events, "a change", |event| {
            (event == RoomEvent::Connection { state: wanted }).then_some(())
        })
        .await;
    };
    shape(1_000_000);
    told(ConnectionState::Reconnecting).await;
    shape(0);
    told(ConnectionState::Connected).await;
    ben.leave().await;
    told(ConnectionState::Closed).await;
    assert_eq!(ben.snapshot().connection, ConnectionState::Closed);
    tokio::join!(ada.close(), ben.close());
}
