//! A screen beside a camera: two pictures of one speaker.

use std::time::Duration;

use plenary::media::compose::{Custom, CustomTile, Fit, Layout, Who};
use plenary::{
    Consent, Error, MediaKind, Options, Origin, ProgramFormat, PublishRefusal, ReceivedFrame, Room,
    RoomSnapshot, TrackKind,
};

use crate::support::*;

/// Returns whether the roster says that the peer with that name shares; `None` without such a peer.
fn shares(snapshot: &RoomSnapshot, name: &str) -> Option<bool> {
    snapshot.stage.iter().find(|member| member.name == name).map(|member| member.shares)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_camera_screen_or_sound_is_refused_until_the_first_has_gone() {
    let ada = host(quick(Options::speaker("Ada"))).await;
    let camera = ada.publish_as(TrackKind::Speaker, source(0)).await.unwrap();
    let screen = ada.publish_encoded_as(TrackKind::Screen).await.unwrap();
    let rows = [
        (TrackKind::Camera, PublishRefusal::SecondCamera),
        (TrackKind::Speaker, PublishRefusal::SecondCamera),
        (TrackKind::Screen, PublishRefusal::SecondShare),
        (TrackKind::Share, PublishRefusal::SecondShare),
        (TrackKind::Voice, PublishRefusal::SecondSound),
    ];
    for (kind, expected) in rows {
        let refused = ada.publish_as(kind, source(1)).await.map(drop);
        assert!(matches!(refused, Err(Error::Publish(why)) if why == expected), "{kind:?}: {refused:?}");
    }
    screen.unpublish().await;
    assert!(ada.publish_as(TrackKind::Share, source(1)).await.is_err(), "the camera's track has the sound");
    let screen = ada.publish_as(TrackKind::Screen, source(1)).await.unwrap();
    camera.unpublish().await;
    ada.publish_as(TrackKind::Camera, source(1)).await.unwrap().detach();
    drop(screen);
    ada.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_mesh_the_screen_takes_the_place_of_the_camera_which_comes_back() {
    let ada = host(quick(Options::speaker("Ada"))).await;
    let ben = join(&ada, quick(Options::speaker("Ben"))).await;
    let mut frames = ada.frames();
    let is_picture = |received: &ReceivedFrame| received.frame.kind == MediaKind::Video;
    let camera = ben.publish_encoded_as(TrackKind::Speaker).await.unwrap();
    let (mut camera_wishes, clock) = (camera.wishes(), ben.clock());
    let mut camera = Application::new(camera, clock);
    let seen = camera.push_during(frame(&mut frames, "the camera", is_picture)).await;
    let first = seen.frame.identity.stream;

    let screen = ben.publish_raw_as(TrackKind::Screen, Default::default()).await.unwrap();
    let mut screen_wishes = screen.wishes();
    within("the screen's turn", screen_wishes.wait_for(|wish| wish.wanted)).await.unwrap();
    // the camera's track has a voice as well, which goes on
    assert!(camera_wishes.borrow_and_update().wanted);
    let (grey, chroma) = (vec![128; 320 * 180], vec![128; 320 * 180 / 2]);
    let show = async {
        let mut beat = tokio::time::interval(Duration::from_millis(30));
        loop {
            beat.tick().await;
            let luma = plenary::media::PlaneView { samples: &grey, stride: 320 };
            let chroma = plenary::media::PlaneView { samples: &chroma, stride: 320 };
            let picture = plenary::media::RawPicture::Nv12 { width: 320, height: 180, luma, chroma };
            screen.push_picture(&picture, screen.now_us()).unwrap();
        }
    };
    let sees = async {
        let of_screen = |received: &ReceivedFrame| received.frame.identity.stream != first;
        let begins = frame(&mut frames, "the screen", |one| of_screen(one) && is_picture(one)).await;
        assert!(begins.frame.identity.key && begins.origin == Origin::Speaker(ben.me()));
        let stream = begins.frame.identity.stream;
        let voice =
            |one: &ReceivedFrame| one.frame.kind == MediaKind::Sound && one.frame.identity.stream == stream;
        frame(&mut frames, "the voice beside the screen", voice).await;
        for _ in 0..30 {
            let next = frame(&mut frames, "another picture", is_picture).await;
            assert_eq!(next.frame.identity.stream, stream, "one picture at a time");
        }
        stream
    };
    let shown = tokio::select! {
        stream = camera.push_during(sees) => stream,
        () = show => unreachable!(),
    };
    until(&ada, "a share by the roster", |ada| shares(ada, "Ben") == Some(true)).await;

    screen.unpublish().await;
    let of_camera = |one: &ReceivedFrame| is_picture(one) && one.frame.identity.stream != shown;
    let back = camera.push_during(frame(&mut frames, "the camera again", of_camera)).await;
    assert!(back.frame.identity.key);
    camera.push_during(until(&ada, "no share any more", |ada| shares(ada, "Ben") == Some(false))).await;
    tokio::join!(ada.close(), ben.close());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_track_has_its_wishes_and_a_camera_gives_way_on_a_thin_uplink() {
    let program = ProgramFormat { width: 640, height: 360, fps: 30, bitrate_bps: 900_000 };
    let options = small().program(program).layout(overlapping());
    let ada = Room::host(quick(Options::speaker("Ada")), options).await.unwrap();
    let ben = Options::speaker("Ben").mix(Consent::Never).uplink_bps_max(Some(450_000));
    let ben = join(&ada, quick(ben).picture_max(None)).await;
    let zoe = join(&ada, quick(Options::viewer("Zoë"))).await;
    ada.publish(source(0)).await.unwrap().detach();
    until(&ada, "a mixer", |ada| ada.mixing).await;
    let camera = ben.publish_encoded_as(TrackKind::Speaker).await.unwrap();
    let is_asked =
        |wish: &plenary::Wish| wish.wanted && (wish.picture.width, wish.picture.height) == (480, 270);
    let mut of_camera = camera.wishes();
    let alone = within("the camera's tile", of_camera.wait_for(is_asked)).await.unwrap().picture;
    assert!(alone.bitrate_bps > 300_000, "{alone:?}");

    let screen = ben.publish_encoded_as(TrackKind::Screen).await.unwrap();
    let mut of_screen = screen.wishes();
    let asked = |wish: &plenary::Wish| is_asked(wish) && wish.picture == alone;
    within("the screen's tile, of the same size", of_screen.wait_for(asked)).await.unwrap();
    let left_bps = 450_000 - alone.bitrate_bps;
    let gives_way = |wish: &plenary::Wish| is_asked(wish) && wish.picture.bitrate_bps == left_bps;
    within("what is left to the camera", of_camera.wait_for(gives_way)).await.unwrap();
    screen.unpublish().await;
    let whole = |wish: &plenary::Wish| wish.picture == alone;
    within("the whole uplink again", of_camera.wait_for(whole)).await.unwrap();
    tokio::join!(zoe.close(), ben.close(), ada.close());
}

/// Returns a layout with large tiles for Ben and for whoever shares, of equal size.
fn overlapping() -> Layout {
    let tile =
        |who| CustomTile { who, x: 0.0, y: 0.0, width: 0.75, height: 0.75, fit: Fit::Crop, border: None };
    let tiles = vec![tile(Who::Named("Ben".to_owned())), tile(Who::Share)];
    Layout::Custom(Custom { background: None, tiles })
}

/// Rooms with real pictures, which are recognized by the time codes of the test sources.
#[cfg(feature = "codecs")]
mod shown {
    use plenary::media::PictureView;
    use plenary::{Pictures, Shaper};

    use super::*;

    const PROGRAM: ProgramFormat = ProgramFormat { width: 640, height: 360, fps: 30, bitrate_bps: 900_000 };
    /// Places of Ben's tile and of the share, and their size.
    const PLACES: [usize; 2] = [0, 320];
    const SIZE: (usize, usize) = (320, 180);

    /// Returns a layout with Ben on the left, and on the right whoever shares.
    fn side_by_side() -> Layout {
        let tile =
            |who, x| CustomTile { who, x, y: 0.0, width: 0.5, height: 0.5, fit: Fit::Crop, border: None };
        let tiles = vec![tile(Who::Named("Ben".to_owned()), 0.0), tile(Who::Share, 0.5)];
        Layout::Custom(Custom { background: None, tiles })
    }

    /// Returns what Ben's tile and the share's show: index and number of the source's picture.
    fn codes(view: &PictureView<'_>) -> [Option<(u8, u32)>; 2] {
        PLACES.map(|left| time_code(view, left, 0, SIZE.0, SIZE.1).map(|code| (code.index, code.number)))
    }

    /// Waits until ten pictures have shown these sources on the two tiles.
    async fn until_shown(pictures: &mut Pictures, what: &str, expected: [Option<u8>; 2]) {
        let mut seen = 0;
        while seen < 10 {
            let decoded = within(what, pictures.next()).await.unwrap();
            let shown = codes(&decoded.picture.view()).map(|code| code.map(|(index, _)| index));
            seen += usize::from(shown == expected);
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn viewers_see_a_camera_and_its_screen_and_each_comes_and_goes_alone() {
        let options = small().program(PROGRAM).layout(side_by_side());
        let ada = Room::host(local(Options::mixer("Ada")), options).await.unwrap();
        let ben = join(&ada, local(Options::speaker("Ben")).mix(Consent::Never)).await;
        let zoe = join(&ada, local(Options::viewer("Zoë"))).await;
        let mut pictures = zoe.pictures().unwrap();
        let camera = ben.publish_as(TrackKind::Speaker, source(1)).await.unwrap();
        within("the program", pictures.next()).await.unwrap();
        // Ben is the only speaker: his frames were passed through until here
        let screen = ben.publish_as(TrackKind::Screen, source(2)).await.unwrap();
        until_shown(&mut pictures, "camera and screen", [Some(1), Some(2)]).await;
        assert_eq!(shares(&zoe.snapshot(), "Ben"), Some(true));

        // another speaker keeps the program composed
        let cat = join(&ada, local(Options::speaker("Cat")).mix(Consent::Never)).await;
        cat.publish(source(3)).await.unwrap().detach();
        until(&ada, "three on stage", |ada| ada.stage.len() == 3).await;
        until_shown(&mut pictures, "both still", [Some(1), Some(2)]).await;
        screen.unpublish().await;
        let (mut last, mut longest, mut alone) = (None, 0, 0);
        while alone < 30 {
            let decoded = within("the camera alone", pictures.next()).await.unwrap();
            let [left, right] = codes(&decoded.picture.view());
            if let Some((1, number)) = left {
                longest = longest.max(last.map_or(0, |last| number.saturating_sub(last)));
                last = Some(number);
                alone += u32::from(right.is_none());
            }
        }
        eprintln!("the camera stood still for {longest} pictures at most");
        assert!(longest < 30, "a gap of {longest} pictures"); // an encoder that begins anew takes a keyframe's time
        until(&zoe, "no share by the roster", |zoe| shares(zoe, "Ben") == Some(false)).await;

        // the screen again, and the camera goes
        let screen = ben.publish_as(TrackKind::Screen, source(2)).await.unwrap();
        until_shown(&mut pictures, "camera and screen again", [Some(1), Some(2)]).await;
        camera.unpublish().await;
        until_shown(&mut pictures, "the screen alone, on Ben's tile", [Some(2), None]).await;
        drop(screen);
        tokio::join!(zoe.close(), cat.close(), ben.close(), ada.close());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn both_pictures_of_a_speaker_come_back_at_the_next_mixer_when_one_dies() {
        let options = small().program(PROGRAM).layout(side_by_side()).mixers(1);
        let never = |name| local(Options::speaker(name)).mix(Consent::Never);
        let ada = Room::host(never("Ada"), options).await.unwrap();
        let ben = join(&ada, never("Ben")).await;
        let lines = [Shaper::default(), Shaper::default()];
        let mut mixers = Vec::new();
        for (name, line) in ["Mia", "Max"].into_iter().zip(&lines) {
            mixers.push(join(&ada, shaped(local(Options::mixer(name)), line)).await);
        }
        let zoe = join(&ada, local(Options::viewer("Zoë"))).await;
        let mut pictures = zoe.pictures().unwrap();
        ada.publish(source(3)).await.unwrap().detach();
        ben.publish_as(TrackKind::Camera, source(1)).await.unwrap().detach();
        ben.publish_as(TrackKind::Screen, source(2)).await.unwrap().detach();
        until_shown(&mut pictures, "camera and screen", [Some(1), Some(2)]).await;
        let standby = |zoe: &RoomSnapshot| !zoe.mixers.is_empty() && !zoe.standbys.is_empty();
        let elected = until(&zoe, "a mixer and its standby", standby).await;
        let dies = mixers.iter().position(|mixer| elected.mixers.contains(&mixer.me())).unwrap();
        lines[dies].kill();
        let next = mixers[1 - dies].me();
        until(&zoe, "the next mixer", |zoe| zoe.mixers.contains(&next)).await;
        until_shown(&mut pictures, "both at the next mixer", [Some(1), Some(2)]).await;
        let [mia, max] = mixers.try_into().map_err(drop).unwrap();
        tokio::join!(zoe.close(), ben.close(), ada.close(), mia.close(), max.close());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn two_mixers_show_both_pictures_of_a_speaker_wherever_its_home_is() {
        let options = small().program(PROGRAM).layout(side_by_side()).mixers(2).k1(1);
        let never = |name| local(Options::speaker(name)).mix(Consent::Never);
        let ada = Room::host(never("Ada"), options).await.unwrap();
        let ben = join(&ada, never("Ben")).await;
        ada.publish(source(3)).await.unwrap().detach();
        ben.publish_as(TrackKind::Camera, source(1)).await.unwrap().detach();
        ben.publish_as(TrackKind::Screen, source(2)).await.unwrap().detach();
        let mut others = Vec::new();
        for name in ["Mia", "Max"] {
            others.push(join(&ada, local(Options::mixer(name))).await);
        }
        until(&ada, "two mixers", |ada| ada.mixers.len() == 2).await;
        // each mixer feeds one
        for name in ["Zoë", "Yan"] {
            others.push(join(&ada, local(Options::viewer(name)).relays(false)).await);
        }
        let [_, _, zoe, yan] = &others[..] else { unreachable!() };
        for viewer in [zoe, yan] {
            let mut pictures = viewer.pictures().unwrap();
            until_shown(&mut pictures, "camera and screen", [Some(1), Some(2)]).await;
        }
        let mixers = ada.snapshot().mixers;
        let parents = [zoe, yan].map(|viewer| viewer.snapshot().parent.unwrap());
        assert!(mixers.iter().all(|mixer| parents.contains(mixer)), "{parents:?} of {mixers:?}");
        others.extend([ben, ada]);
        futures::future::join_all(others.iter().map(Room::close)).await;
    }
}
