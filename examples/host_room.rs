//! Hosts a room: prints its invite, publishes a file (or the test source), and prints the peers on stage when
//! they change.
//!
//! ```text
//! cargo run -p plenary --example host_room                       # for 5 s, with the test source
//! cargo run -p plenary --example host_room -- 600 talk.mp4       # for 10 min, with a file
//! ```
//!
//! Meanwhile, elsewhere: `plenary join INVITE`.

use std::time::Duration;

use anyhow::Context as _;
use plenary::media::source::TestSource;
use plenary::{HostOptions, Options, Room, RoomEvent, RoomSnapshot};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let seconds = arguments.next().map_or(Ok(5), |seconds| seconds.parse())?;

    let room = Room::host(Options::speaker("Ada"), HostOptions::default()).await?;
    println!("{}", room.invite().context("no invite")?);
    let _track = match arguments.next() {
        Some(file) => room.publish_file(file).await?,
        None => room.publish(Box::new(TestSource::new(0, 640, 360, 30))).await?,
    };
    tell(&room.snapshot());

    let mut events = room.events();
    let telling = async {
        while let Some(event) = events.next().await {
            match event {
                RoomEvent::Stage { .. } => tell(&room.snapshot()),
                RoomEvent::Mode { mode } => println!("the room is served as {mode:?}"),
                RoomEvent::NoMixer => println!("somebody watches, and nobody would mix"),
                RoomEvent::LinkTrouble { text: why } => println!("{why}"),
                _ => {}
            }
        }
    };
    let ended = tokio::time::timeout(Duration::from_secs(seconds), telling).await;
    anyhow::ensure!(ended.is_err(), "the room ended before its time");
    anyhow::ensure!(!room.snapshot().stage.is_empty(), "the host is not on its own stage");

    room.leave().await; // hands over children and program first
    room.close().await;
    Ok(())
}

/// Prints a line on the peers on stage. Viewers are not listed: only tree neighbours know a viewer.
fn tell(room: &RoomSnapshot) {
    let name = |member: &plenary::Member| {
        let role = if member.speaks { "speaks" } else { "would mix" };
        format!("{} ({role}{})", member.name, if member.away { ", away" } else { "" })
    };
    let stage: Vec<_> = room.stage.iter().map(name).collect();
    println!("on stage: {}; {} viewers fed from here", stage.join(", "), room.children.len());
}
