//! `plenary join`: speaks, watches, or both.

use std::sync::Arc;

use plenary::{Consent, Invite, Room};

use super::{log_to_stderr, runtime, stay::stay};
use crate::Failure;
use crate::args::JoinArgs;
use crate::room_options::tell;

pub(crate) fn run(args: JoinArgs) -> Result<(), Failure> {
    log_to_stderr(args.room.log);
    let mix = if args.speak { Consent::Auto } else { Consent::Never };
    let mut options = args.room.options(args.speak, args.view || !args.speak, mix)?;
    options.on_event = Some(Arc::new(tell));
    let invite: Invite = args.invite.parse()?;
    args.stay.check(&args.room)?;
    args.room.check_sources(args.speak)?;
    runtime()?.block_on(async {
        let room = Room::join(&invite, options).await?;
        if args.speak {
            let index = own_index(&room);
            room.publish(args.room.source(index)?).await?;
        }
        stay(room, &args.room, &args.stay).await
    })
}

/// Our place among those who speak: it decides which file, or which test picture, is ours.
fn own_index(room: &Room) -> usize {
    let stage = room.snapshot().stage;
    let speaking = stage.iter().filter(|member| member.speaks);
    speaking.take_while(|member| member.peer != room.me()).count()
}
