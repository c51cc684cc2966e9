//! Views a room and saves a picture of it.
//!
//! ```text
//! cargo run -p plenary --example viewer_picture -- INVITE out.png
//! cargo run -p plenary --example viewer_picture          # opens a room itself; picture.png in the temporary folder
//! ```

use std::fs::File;
use std::io::BufWriter;
use std::time::Duration;

use anyhow::Context as _;
use plenary::media::source::TestSource;
use plenary::media::write_png;
use plenary::{HostOptions, Invite, Options, Room};

/// Number of pictures watched before one is saved: the first pictures may precede the complete stage.
const PICTURES: usize = 30;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let invite: Option<Invite> = arguments.next().map(|invite| invite.parse()).transpose()?;
    let out = arguments.next().map_or_else(|| std::env::temp_dir().join("picture.png"), Into::into);

    // without an invite: host a room with one speaker; its frames are forwarded to the viewer without decoding
    let own = match &invite {
        Some(_) => None,
        None => {
            let host = Room::host(Options::speaker("Ada"), HostOptions::default()).await?;
            host.publish(Box::new(TestSource::new(0, 1280, 720, 30))).await?.detach();
            Some(host)
        }
    };
    let invite = invite.or_else(|| own.as_ref()?.invite()).context("no room")?;

    let viewer = Room::join(&invite, Options::viewer("Zoë")).await?;
    let mut pictures = viewer.pictures()?;
    let watch = async {
        let mut newest = None;
        for _ in 0..PICTURES {
            newest = Some(pictures.next().await.context("the room has ended")?);
        }
        newest.context("no picture")
    };
    let decoded = tokio::time::timeout(Duration::from_secs(8), watch).await.context("no program came")??;

    // capture times use the maker's clock, so between machines the latency includes the difference of the
    // clocks
    let latency_ms = viewer.clock().now_us() as i64 / 1000 - decoded.captured_us as i64 / 1000;
    let view = decoded.picture.view();
    write_png(&view, BufWriter::new(File::create(&out)?))?;
    println!("{}: {}×{}, {latency_ms} ms after its capture", out.display(), view.width, view.height);

    viewer.close().await;
    if let Some(host) = own {
        host.close().await;
    }
    Ok(())
}
