//! `plenary mixer`: joins a room as a strong machine that only mixes.

use plenary::{Consent, Room};
use tokio::task::JoinSet;
use tracing::Level;

use super::govern::{Files, govern};
use super::signals::Signals;
use super::{log_to_stderr, runtime, stay::stay};
use crate::args::MixerArgs;
use crate::tell::Teller;
use crate::{Failure, not_yet, secrets};

pub(crate) fn run(args: MixerArgs) -> Result<(), Failure> {
    if args.metrics.is_some() {
        return Err(not_yet("--metrics"));
    }
    log_to_stderr(args.room.log, Level::WARN);
    let views = args.stay.record.is_some() || args.stay.snapshot.is_some();
    let mut options = args.room.guest_options(false, views, Consent::Always)?;
    if args.room.name.is_none() {
        options.name = "mixer".to_owned();
    }
    let teller = Teller::new();
    options.on_event = Some(teller.on_event());
    args.stay.check(&args.room)?;
    args.room.check_sources(false)?;
    let invite = secrets::invite(args.invite.as_deref())?;
    args.stay.prove(&mut options, &args.room, &invite)?;
    runtime()?.block_on(async {
        let (signals, _) = Signals::listen()?;
        let Some(room) = signals.unless_ended(Room::join(&invite, options)).await else { return Ok(()) };
        let room = room?;
        let mut beside = JoinSet::new(); // its tasks end when it is dropped
        beside.spawn(govern(room.clone(), Files::default()));
        stay(room, &args.room, &args.stay, &teller, &signals).await
    })
}
