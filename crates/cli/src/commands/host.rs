//! `plenary host`: opens a room and prints its invite.

use std::io::Write as _;
use std::sync::Arc;

use plenary::{Consent, HostOptions, Room};

use super::{log_to_stderr, runtime, stay::stay};
use crate::Failure;
use crate::args::HostArgs;
use crate::room_options::tell;

pub(crate) fn run(args: HostArgs) -> Result<(), Failure> {
    log_to_stderr(args.room.log);
    let mut options = args.room.options(args.speak, args.view, Consent::Auto)?;
    if args.room.name.is_none() {
        options.name = "host".to_owned();
    }
    options.on_event = Some(Arc::new(tell));
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
        stay(room, &args.room, &args.stay).await
    })
}
