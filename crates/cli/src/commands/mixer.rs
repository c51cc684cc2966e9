//! `plenary mixer`: joins a room as a strong machine that only mixes.

use std::io::IsTerminal as _;

use plenary::Consent;
use tokio::task::JoinSet;
use tracing::Level;

use super::govern::{Files, govern};
use super::runtime;
use super::signals::Signals;
use super::stay::{report_refusal, stay};
use super::wait;
use super::watched::Watched;
use crate::args::MixerArgs;
use crate::logging::log_to_stderr;
use crate::tell::Teller;
use crate::{Failure, secrets};

pub(crate) fn run(args: MixerArgs) -> Result<(), Failure> {
    log_to_stderr(args.room.log, Level::WARN, &args.stay.format)?;
    let views = args.stay.record.is_some() || args.stay.snapshot.is_some();
    let mut options = args.room.guest_options(false, views, Consent::Always)?;
    if args.room.name.is_none() {
        options.name = "mixer".to_owned();
    }
    let teller = Teller::new();
    options.on_event = Some(teller.on_event());
    args.stay.check(&args.room)?;
    args.room.check_sources(false)?;
    let invite = report_refusal(&args.room, secrets::invite(args.invite.as_deref()))?;
    report_refusal(&args.room, args.stay.prove(&mut options, &args.room, &invite))?;
    runtime()?.block_on(async {
        let (signals, _) = Signals::listen()?;
        let mut beside = JoinSet::new(); // its tasks end when it is dropped
        let watched = Watched::default();
        if let Some(address) = args.stay.metrics {
            beside.spawn(watched.serve_at(address, None).await?);
        }
        let waits = !args.no_wait && (args.wait || !std::io::stdin().is_terminal());
        let joining = wait::join(&invite, options, &teller, waits);
        let Some(room) = signals.unless_ended(joining).await else { return Ok(()) };
        let room = report_refusal(&args.room, room)?;
        watched.knows(&room);
        beside.spawn(govern(room.clone(), Files::default()));
        stay(room, &args.room, &args.stay, &teller, &signals).await
    })
}
