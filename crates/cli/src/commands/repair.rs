//! `plenary repair`: index and lengths of recordings that a crash has left without them.

use anyhow::anyhow;
use plenary::{Repaired, repair_recording};

use crate::Failure;
use crate::args::RepairArgs;

pub(crate) fn run(args: &RepairArgs) -> Result<(), Failure> {
    let mut refused = Vec::new();
    for file in &args.files {
        match repair_recording(file) {
            Ok(repaired) => say!("{}: {}", file.display(), told(&repaired)),
            Err(error) => refused.push(error),
        }
    }
    match (refused.len(), args.files.len()) {
        (0, _) => Ok(()),
        (1, 1) => Err(refused.remove(0).into()),
        (count, all) => {
            refused.iter().for_each(|error| say!("{error}"));
            Err(anyhow!("{count} of {all} files are not repaired").into())
        }
    }
}

/// What was done, in words.
fn told(Repaired { duration, cut_len, has_changed, .. }: &Repaired) -> String {
    let lasts_s = duration.as_secs_f64();
    match (has_changed, cut_len) {
        (false, _) => format!("is whole, {lasts_s:.1} s; nothing was changed"),
        (true, 0) => format!("repaired, {lasts_s:.1} s; wrote index and lengths"),
        (true, cut_len) => {
            format!(
                "repaired, {lasts_s:.1} s; cut off {cut_len} bytes of a torn end, wrote index and lengths"
            )
        }
    }
}
