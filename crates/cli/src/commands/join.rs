//! `plenary join`: joins a room to speak, to watch, or both.

use anyhow::bail;
use plenary::{Consent, PeerId, RoomSnapshot, Solo};
use tokio::task::JoinSet;
use tracing::Level;

use super::floor::{Floor, own_index};
use super::govern::{Files, govern};
use super::runtime;
use super::signals::Signals;
use super::stay::{report_refusal, stay, unless_over};
use super::wait;
use super::watched::Watched;
use crate::args::JoinArgs;
use crate::logging::log_to_stderr;
use crate::tell::Teller;
use crate::{Failure, secrets};

pub(crate) fn run(args: JoinArgs) -> Result<(), Failure> {
    log_to_stderr(args.room.log, Level::WARN, &args.stay.format)?;
    let mix = if args.speak { Consent::Auto } else { Consent::Never };
    let mut options = args.room.guest_options(args.speak, args.view || !args.speak, mix)?;
    let teller = Teller::new();
    options.on_event = Some(teller.on_event());
    args.stay.check(&args.room)?;
    args.room.check_sources(args.speak)?;
    let invite = report_refusal(&args.room, secrets::invite(args.invite.as_deref()))?;
    report_refusal(&args.room, args.stay.prove(&mut options, &args.room, &invite))?;
    runtime()?.block_on(async {
        let (signals, _) = Signals::listen()?;
        let mut beside = JoinSet::new(); // its tasks end when it is dropped
        let watched = Watched::default();
        if let Some(address) = args.stay.metrics {
            beside.spawn(watched.serve_at(address, None).await?);
        }
        let Some(room) = signals.unless_ended(wait::join(&invite, options, &teller, args.wait)).await else {
            return Ok(());
        };
        let room = report_refusal(&args.room, room)?;
        watched.knows(&room);
        let begun = async {
            if args.speak {
                let index = own_index(&room).await?;
                room.publish(args.room.source(index)?).await?.detach();
            }
            if let Some(name) = &args.solo {
                let speaker = speaker_called(name, &room.snapshot())?;
                room.set_solo(Some(Solo { speaker, instead: true })).await?;
            }
            Ok::<_, Failure>(())
        };
        unless_over(&room, begun.await).await?;
        let floor = Floor { sources: args.room.clone(), asks: args.speak, publishes: args.speak };
        beside.spawn(govern(room.clone(), Files::default()));
        beside.spawn(floor.follow(room.clone()));
        stay(room, &args.room, &args.stay, &teller, &signals).await
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
