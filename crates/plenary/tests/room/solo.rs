//! One speaker's own stream, beside the program or instead of it.

use plenary::media::source::TestSource;
use plenary::{MediaKind, Mode, Options, Origin, ReceivedFrame, Room, RoomEvent, Solo};

use crate::support::*;

/// Opens a room: Ada hosts and mixes, Ben publishes encoded frames of an application, Zoë watches.
async fn room() -> (Room, Room, Application, Room) {
    let ada = host(quick(Options::speaker("Ada"))).await;
    ada.publish(source(0)).await.unwrap().detach();
    let ben = join(&ada, quick(Options::speaker("Ben"))).await;
    let application = Application::new(ben.publish_encoded().await.unwrap(), ben.clock());
    let zoe = join(&ada, quick(Options::viewer("Zoë"))).await;
    until(&ada, "a mixer", |ada| ada.mode == Mode::Mixer && ada.mixing).await;
    (ada, ben, application, zoe)
}

fn is_picture(received: &ReceivedFrame) -> bool {
    received.frame.kind == MediaKind::Video
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_gets_a_speaker_s_own_frames_beside_or_instead_of_the_program() {
    let (ada, ben, mut application, zoe) = room().await;
    let (mut frames, mut events, speaker) = (zoe.frames(), zoe.events(), ben.me());
    let beside = async {
        frame(&mut frames, "the program", is_picture).await;
        zoe.set_solo(Some(Solo { speaker, instead: false })).await.unwrap();
        event(&mut events, "Ben", |event| match event {
            RoomEvent::Solo { speaker: who, comes: true } => (who == speaker).then_some(()),
            _ => None,
        })
        .await;
        let mut got = Vec::new();
        let of_ben = |got: &[ReceivedFrame], kind| {
            let of_ben =
                |one: &&ReceivedFrame| one.origin == Origin::Speaker(speaker) && one.frame.kind == kind;
            got.iter().filter(of_ben).count()
        };
        while of_ben(&got, MediaKind::Video) < 30 || of_ben(&got, MediaKind::Sound) < 30 {
            got.push(frame(&mut frames, "both", |_| true).await);
        }
        got
    };
    let got = application.push_during(beside).await;
    let (own, program): (Vec<_>, Vec<_>) = got.iter().partition(|one| one.origin == Origin::Speaker(speaker));
    assert!(own.iter().all(|one| one.beside && one.missed == 0));
    assert!(program.iter().all(|one| one.origin == Origin::Program && !one.beside && one.missed == 0));
    assert!(program.iter().filter(|one| is_picture(one)).count() > 10, "{} frames", program.len());
    // the pushed pictures, unchanged, from a keyframe on and without a gap
    let pictures: Vec<_> = own.iter().filter(|one| is_picture(one)).map(|one| &one.frame).collect();
    assert!(pictures[0].identity.key);
    let [pushed, _] = &application.pushed;
    let same = crate::program::same_picture;
    let begin = pushed.iter().position(|unit| same(unit, &pictures[0].data)).unwrap();
    assert!(pictures.iter().zip(&pushed[begin..]).all(|(got, sent)| same(sent, &got.data)));

    let instead = async {
        zoe.set_solo(Some(Solo { speaker, instead: true })).await.unwrap();
        let alone = |one: &ReceivedFrame| one.origin == Origin::Speaker(speaker) && !one.beside;
        let first = frame(&mut frames, "Ben alone", |one| alone(one) && is_picture(one)).await;
        assert!(first.frame.identity.key);
        for _ in 0..60 {
            let next = frame(&mut frames, "Ben alone", |_| true).await;
            assert!(alone(&next), "{:?} comes as well", next.origin);
        }
        zoe.set_solo(None).await.unwrap();
        let back = frame(&mut frames, "the program", |one| one.origin == Origin::Program && is_picture(one));
        assert!(back.await.frame.identity.key, "pictures were left out before");
        for _ in 0..60 {
            let next = frame(&mut frames, "the program", |_| true).await;
            assert_eq!(next.origin, Origin::Program);
        }
    };
    application.push_during(instead).await;
    tokio::join!(zoe.close(), ben.close(), ada.close());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn speakers_get_another_speaker_s_own_frames_whether_or_not_they_mix() {
    let (ada, ben, mut application, zoe) = room().await;
    let cat = join(&ada, quick(Options::speaker("Cat"))).await;
    cat.publish(Box::new(TestSource::new(2, 320, 180, 30))).await.unwrap().detach();
    let speaker = ben.me();
    for room in [&ada, &cat] {
        let mut frames = room.frames();
        let gets = async {
            room.set_solo(Some(Solo { speaker, instead: false })).await.unwrap();
            for kind in [MediaKind::Video, MediaKind::Sound] {
                let of_ben =
                    |one: &ReceivedFrame| one.origin == Origin::Speaker(speaker) && one.frame.kind == kind;
                assert!(frame(&mut frames, "Ben", of_ben).await.beside);
            }
            frame(&mut frames, "the program", |one| one.origin == Origin::Program).await;
        };
        application.push_during(gets).await;
    }
    // Cat hears all others in her mix-minus, so Ben's own sound is marked as a duplicate
    let mut frames = cat.frames();
    let instead = async {
        frame(&mut frames, "its own mix", |one| one.origin == Origin::MixMinus).await;
        cat.set_solo(Some(Solo { speaker, instead: true })).await.unwrap();
        let of_ben = |one: &ReceivedFrame| one.origin == Origin::Speaker(speaker);
        assert!(!frame(&mut frames, "Ben", |one| of_ben(one) && is_picture(one) && !one.beside).await.beside);
        assert!(frame(&mut frames, "Ben", |one| of_ben(one) && !is_picture(one)).await.beside);
        frame(&mut frames, "its own mix", |one| one.origin == Origin::MixMinus).await;
    };
    application.push_during(instead).await;
    tokio::join!(zoe.close(), cat.close(), ben.close(), ada.close());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_program_comes_back_when_a_speaker_refuses_to_be_shown_alone() {
    let (ada, ben, mut application, zoe) = room().await;
    let (mut frames, mut events, speaker) = (zoe.frames(), zoe.events(), ben.me());
    let refused = async |events: &mut plenary::Events| {
        event(events, "the refusal", |event| match event {
            RoomEvent::SoloRefused { speaker: who } => (who == speaker).then_some(()),
            _ => None,
        })
        .await;
    };
    let refuses = async {
        zoe.set_solo(Some(Solo { speaker, instead: true })).await.unwrap();
        let alone = |one: &ReceivedFrame| one.origin == Origin::Speaker(speaker);
        frame(&mut frames, "Ben alone", |one| alone(one) && is_picture(one)).await;
        ben.allow_solo(false).await.unwrap();
        refused(&mut events).await;
        frame(&mut frames, "the program", |one| one.origin == Origin::Program && is_picture(one)).await;
        for _ in 0..60 {
            let next = frame(&mut frames, "the program", |_| true).await;
            assert_eq!(next.origin, Origin::Program);
        }
        assert!(zoe.snapshot().stage.iter().any(|member| member.peer == speaker && member.no_solo));
        // the mixer's own application gets it no more than others
        let (mut frames, mut events) = (ada.frames(), ada.events());
        ada.set_solo(Some(Solo { speaker, instead: false })).await.unwrap();
        refused(&mut events).await;
        for _ in 0..30 {
            assert!(!alone(&frame(&mut frames, "the program", |_| true).await));
        }
    };
    application.push_during(refuses).await;
    tokio::join!(zoe.close(), ben.close(), ada.close());
}
