//! `plenary verify`: whether a recording is what the room's mixers made.

use std::io::Write as _;

use anyhow::anyhow;
use plenary::{Invite, PeerId, Verified, verify_recording};
use plenary_proto::identity::MediaKind;

use crate::args::VerifyArgs;
use crate::{Failure, usage};

/// Forged frames that are named one by one. A guess: a screen.
const NAMED_MAX: usize = 20;

pub(crate) fn run(args: &VerifyArgs) -> Result<(), Failure> {
    let root = root_of(&args.room)?;
    let found = verify_recording(&args.file, &root)?;
    let mut stdout = std::io::stdout().lock();
    for (mandated, proven) in &found.streams {
        let (maker, name) = (mandated.maker, &mandated.name);
        writeln!(stdout, "{proven} frames of \"{name}\" ({maker}), whom the room let make this stream")?;
    }
    stdout.flush()?;
    told(&found).map_err(Failure::Failed)
}

/// Returns the root key of a room: 64 hex digits, or those in an invite.
fn root_of(text: &str) -> Result<PeerId, Failure> {
    text.parse()
        .or_else(|_| text.parse().map(|invite: Invite| invite.root()))
        .map_err(|_| usage("--room: neither 64 hex digits nor an invite"))
}

fn told(found: &Verified) -> anyhow::Result<()> {
    let named = found.forged.iter().take(NAMED_MAX).map(|(kind, number)| match kind {
        MediaKind::Video => format!("picture {number}"),
        MediaKind::Sound => format!("sound packet {number}"),
    });
    match found.forged.len() {
        0 if found.is_genuine() => {
            say!("genuine; {} frames at the ends or beside gaps have no seal", found.unproven);
            Ok(())
        }
        0 if found.has_unread => Err(anyhow!(
            "what was read is as the room made it, but the file holds more than a recording does: further tracks, or \
             boxes that can't be read"
        )),
        0 => Err(anyhow!("nothing in this recording is proven")),
        many => {
            Err(anyhow!("forged: {many} frames aren't the room's: {}", named.collect::<Vec<_>>().join(", ")))
        }
    }
}
