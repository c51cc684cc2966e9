//! `plenary join`: joins a room to speak, to watch, or both.

use anyhow::{Context as _, bail};
use plenary::{Consent, PeerId, Room, RoomSnapshot, Solo};
use tracing::Level;

use super::{log_to_stderr, runtime, stay::stay};
use crate::args::JoinArgs;
use crate::tell::Teller;
use crate::{Failure, secrets};

pub(crate) fn run(args: JoinArgs) -> Result<(), Failure> {
    log_to_stderr(args.room.log, Level::WARN);
    let mix = if args.speak { Consent::Auto } else { Consent::Never };
    let mut options = args.room.guest_options(args.speak, args.view || !args.speak, mix)?;
    let teller = Teller::new();
    options.on_event = Some(teller.on_event());
    args.stay.check(&args.room)?;
    args.room.check_sources(args.speak)?;
    let invite = secrets::invite(args.invite.as_deref())?;
    args.stay.prove(&mut options, &args.room, &invite)?;
    runtime()?.block_on(async {
        let room = Room::join(&invite, options).await?;
        if args.speak {
            let index = own_index(&room).await?;
            room.publish(args.room.source(index)?).await?.detach();
        }
        if let Some(name) = &args.solo {
            let speaker = speaker_called(name, &room.snapshot())?;
            room.set_solo(Some(Solo { speaker, instead: true })).await?;
        }
        stay(room, &args.room, &args.stay, &teller).await
    })
}

/// Returns the first speaker on stage with that name.
fn speaker_called(name: &str, snapshot: &RoomSnapshot) -> anyhow::Result<PeerId> {
    let speakers = || snapshot.stage.iter().filter(|member| member.speaks);
    let Some(found) = speakers().find(|member| member.name == name) else {
        let names: Vec<_> = speakers().map(|member| member.name.as_str()).collect();
        bail!("no speaker is called {name}; the speakers are: {}", names.join(", "));
    };
    Ok(found.peer)
}

/// Returns this peer's speaker index, which selects its source file or test picture.
async fn own_index(room: &Room) -> anyhow::Result<usize> {
    let mut snapshots = room.watch();
    // the host has admitted this peer to the stage, but the snapshot may not show it yet
    let there = |snapshot: &RoomSnapshot| snapshot.stage.iter().any(|member| member.peer == room.me());
    let snapshot = snapshots.wait_for(there).await.context("the room is closed")?;
    let own = snapshot.stage.iter().find(|member| member.peer == room.me());
    Ok(own.map_or(0, |member| usize::from(member.index)))
}
