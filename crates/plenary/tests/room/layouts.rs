//! Layouts: the host sets one, mixers draw it, and speakers send pictures of the size of their tiles.

use plenary::media::compose::{Custom, CustomTile, Fit, Layout, Who};
use plenary::{Error, Options, Room};

use crate::support::*;

/// Returns a layout in which one speaker fills the canvas.
fn alone(name: &str) -> Layout {
    let who = Who::Named(name.to_owned());
    let tile = CustomTile { who, x: 0.0, y: 0.0, width: 1.0, height: 1.0, fit: Fit::Crop, border: None };
    Layout::Custom(Custom { background: None, tiles: vec![tile] })
}

#[cfg(feature = "codecs")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_host_lays_the_program_out_anew_in_mid_room() {
    use plenary::ProgramFormat;

    let program = ProgramFormat { width: 640, height: 360, fps: 30, bitrate_bps: 600_000 };
    let options = small().program(program).layout(Layout::Share);
    let ada = Room::host(local(Options::speaker("Ada")), options).await.unwrap();
    let ben = join(&ada, local(Options::speaker("Ben"))).await;
    ada.publish(source(0)).await.unwrap().detach();
    ben.publish(source(1)).await.unwrap().detach();
    let zoe = join(&ada, local(Options::viewer("Zoë"))).await;
    let mut pictures = zoe.pictures().unwrap();
    // expected tiles: the first speaker large; Ben alone; both in a row
    let rows = [
        (None, [Some((0, (0, 36, 512, 288))), None]),
        (Some(alone("Ben")), [Some((1, (0, 0, 640, 360))), None]),
        (Some(Layout::Grid), [Some((0, (0, 90, 320, 180))), Some((1, (320, 90, 320, 180)))]),
    ];
    for (layout, tiles) in rows {
        if let Some(layout) = &layout {
            ada.as_host().unwrap().set_layout(layout).await.unwrap();
        }
        let mut seen = 0;
        while seen < 10 {
            let decoded = within("a picture laid out so", pictures.next()).await.unwrap();
            let view = decoded.picture.view();
            let right = tiles.iter().flatten().all(|(index, (x, y, width, height))| {
                time_code(&view, *x, *y, *width, *height).is_some_and(|code| code.index == *index)
            });
            seen += usize::from(right);
        }
    }
    tokio::join!(zoe.close(), ben.close(), ada.close());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn speakers_are_asked_for_the_pictures_that_their_tiles_show() {
    let ada = host(quick(Options::speaker("Ada"))).await;
    let ben = join(&ada, quick(Options::speaker("Ben").mix(plenary::Consent::Never))).await;
    ada.publish(source(0)).await.unwrap().detach();
    let track = ben.publish_encoded().await.unwrap();
    let zoe = join(&ada, quick(Options::viewer("Zoë"))).await;
    until(&ada, "a mixer", |ada| ada.mixing).await;
    let mut wishes = track.wishes();
    let rows = [(Layout::Grid, (160, 90)), (Layout::Share, (64, 36)), (alone("Ben"), (320, 180))];
    for (layout, expected) in rows {
        ada.as_host().unwrap().set_layout(&layout).await.unwrap();
        let wish = wishes.wait_for(|wish| (wish.picture.width, wish.picture.height) == expected);
        within(&format!("a wish for {expected:?}"), wish).await.unwrap();
    }
    tokio::join!(zoe.close(), ben.close(), ada.close());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_layout_that_makes_no_sense_is_refused() {
    let Layout::Custom(mut custom) = alone("Ben") else { unreachable!() };
    custom.tiles[0].x = 0.5;
    let layout = Layout::Custom(custom);
    let options = small().layout(layout.clone());
    assert!(matches!(
        Room::host(quick(Options::speaker("Ada")), options).await.err(),
        Some(Error::Layout(_))
    ));
    let ada = host(quick(Options::speaker("Ada"))).await;
    let error = ada.as_host().unwrap().set_layout(&layout).await.unwrap_err();
    assert!(error.to_string().contains("tile 0 is not within the canvas"), "{error}");
    ada.close().await;
}
