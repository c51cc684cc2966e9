//! `plenary host`: opens a room and prints its invite.

use std::io::Write as _;

use plenary::{Consent, HostOptions, Room};
use tracing::Level;

use super::{log_to_stderr, runtime, stay::stay};
use crate::Failure;
use crate::args::HostArgs;
use crate::tell::Teller;

pub(crate) fn run(args: HostArgs) -> Result<(), Failure> {
    log_to_stderr(args.room.log, Level::WARN);
    let mut options = args.room.options(args.speak, args.view, Consent::Auto)?;
    if args.room.name.is_none() {
        options.name = "host".to_owned();
    }
    let teller = Teller::new();
    options.on_event = Some(teller.on_event());
    args.room.say_unused();
    args.stay.check(&args.room)?;
    args.room.check_sources(args.speak)?;
    let host = HostOptions {
        rendezvous: args.rendezvous.clone(),
        invite_life: args.invite_life,
        ..args.room.host_options()
    };
    runtime()?.block_on(async {
        let room = Room::host(options, host).await?;
        if args.speak {
            room.publish(args.room.source(0)?).await?;
        }
        let mut stdout = std::io::stdout().lock();
        writeln!(stdout, "{}", room.invite())?;
        stdout.flush()?;
        drop(stdout);
        stay(room, &args.room, &args.stay, &teller).await
    })
}
