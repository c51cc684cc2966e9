//! A strong machine without a screen: joins a room as a permanent candidate, and prints elections and its
//! work as a mixer.
//!
//! ```text
//! cargo run -p plenary --example headless_mixer -- INVITE        # until interrupted
//! cargo run -p plenary --example headless_mixer                  # a small room of its own, for some seconds
//! ```

use std::time::Duration;

use anyhow::Context as _;
use plenary::media::source::TestSource;
use plenary::{Consent, HostOptions, Options, Room, RoomEvent};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match std::env::args().nth(1) {
        Some(invite) => {
            let mixer = Room::join(&invite.parse()?, Options::mixer("Max")).await?;
            tokio::select! {
                told = tell(&mixer) => told,
                interrupted = tokio::signal::ctrl_c() => interrupted?,
            }
            mixer.leave().await; // the program is handed over to the standby first
            report(&mixer);
            mixer.close().await;
            Ok(())
        }
        None => alone().await,
    }
}

/// Prints elections and failovers until the room ends.
async fn tell(mixer: &Room) {
    let mut events = mixer.events();
    while let Some(event) = events.next().await {
        match event {
            RoomEvent::ElectionOpened { term, reason } => println!("election {term} opens: {reason:?}"),
            RoomEvent::Elected { term, mixers, signatures, roster, .. } => {
                let of = roster.map(|roster| format!(" of {roster}")).unwrap_or_default();
                println!("election {term}: {mixers:?} mix, by {signatures}{of} signatures");
            }
            RoomEvent::Failover { rank, peer, .. } => println!("{peer:?} takes over as {rank}"),
            _ => {}
        }
    }
}

fn report(mixer: &Room) {
    for tenure in mixer.tenures() {
        println!(
            "mixed in term {}: {} pictures, {} decoded, {} encoded, {:.1} s of processor time",
            tenure.rank,
            tenure.frames,
            tenure.decoded_frames,
            tenure.encoded_frames,
            tenure.cpu_us as f64 / 1e6,
        );
    }
}

/// Runs a room of its own: two speakers that never mix, a viewer that makes a mixer necessary, and the mixer.
async fn alone() -> anyhow::Result<()> {
    let speaker = |name| Options::speaker(name).mix(Consent::Never);
    let ada = Room::host(speaker("Ada"), HostOptions::default()).await?;
    let invite = ada.invite().context("no invite")?;
    let ben = Room::join(&invite, speaker("Ben")).await?;
    for (index, room) in [&ada, &ben].into_iter().enumerate() {
        room.publish(Box::new(TestSource::new(index as u8, 640, 360, 30))).await?.detach();
    }
    let mixer = Room::join(&invite, Options::mixer("Max")).await?;
    let zoe = Room::join(&invite, Options::viewer("Zoë")).await?;
    let _ = tokio::time::timeout(Duration::from_secs(5), tell(&mixer)).await;
    report(&mixer);
    let encoded: u64 = mixer.tenures().iter().map(|tenure| tenure.encoded_frames).sum();
    anyhow::ensure!(encoded > 0, "the only candidate did not mix");
    for room in [zoe, mixer, ben, ada] {
        room.close().await;
    }
    Ok(())
}
