//! Output directory of a demo, cleared of the files of an earlier demo.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::Failure;
use crate::args::RoomArgs;

/// Creates the directory, or removes the files of an earlier demo from it. Removes no other file. Fails if a
/// source is among these files.
pub(crate) fn prepare(out: &Path, room: &RoomArgs) -> Result<(), Failure> {
    fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
    let earlier = earlier(out)?;
    earlier.iter().try_for_each(|file| room.spares_sources(file))?;
    for file in earlier {
        fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))?;
    }
    Ok(())
}

/// Returns the files of an earlier demo.
fn earlier(out: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(out).with_context(|| format!("cannot read {}", out.display()))? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(is_ours) && !entry.file_type()?.is_dir() {
            files.push(entry.path());
        }
    }
    Ok(files)
}

/// Whether a demo writes files of that name.
fn is_ours(name: &str) -> bool {
    let numbered = |before: &str, after: &str| {
        let number = name.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
        number.is_some_and(|number| !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit()))
    };
    matches!(name, "report.json" | "program.png" | "tree.svg" | "log.txt")
        || numbered("viewer-", ".mp4")
        || numbered("speaker-", "-heard.wav")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_earlier_demo_left_is_known_by_its_name() {
        for ours in ["viewer-0.mp4", "viewer-17.mp4", "speaker-3-heard.wav", "program.png", "log.txt"] {
            assert!(is_ours(ours), "{ours}");
        }
        for other in
            ["viewer-.mp4", "viewer-a.mp4", "viewer-1.mp4.bak", "speaker-1.wav", "film.mp4", "Log.txt"]
        {
            assert!(!is_ours(other), "{other}");
        }
    }
}
