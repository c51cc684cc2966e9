//! `plenary host`: opens a room and prints its invite.

use std::io::Write as _;
use std::path::Path;

use plenary::{Consent, Room, RoomKeys};
use tracing::Level;

use super::{log_to_stderr, runtime, stay::stay};
use crate::args::HostArgs;
use crate::tell::Teller;
use crate::{Failure, secrets};

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
    let keys = args.room_keys.as_ref().map(RoomKeys::load).transpose()?.flatten();
    options.identity = args.stay.identity()?;
    options.password = secrets::password(args.room.password.as_deref(), false)?;
    let host = args
        .room
        .host_options()
        .rendezvous(args.rendezvous.clone())
        .invite_life(args.invite_life)
        .title(args.title.clone().unwrap_or_default())
        .keys(keys);
    runtime()?.block_on(async {
        let room = Room::host(options, host).await?;
        if let (Some(file), Some(keys)) = (&args.room_keys, room.room_keys()) {
            keys.save(file)?;
        }
        if args.speak {
            room.publish(args.room.source(0)?).await?.detach();
        }
        publish_invite(&room, args.invite_file.as_deref())?;
        stay(room, &args.room, &args.stay, &teller).await
    })
}

/// Prints the invite, or writes it to a file that only this user may read.
fn publish_invite(room: &Room, file: Option<&Path>) -> Result<(), Failure> {
    let invite = room.invite();
    if let Some(file) = file {
        plenary::save_invite(&invite, file)?;
        eprintln!("the invite is in {}", file.display());
        return Ok(());
    }
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{invite}")?;
    stdout.flush()?;
    Ok(())
}
