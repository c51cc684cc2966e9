//! Reports as JSON, to a file or to standard output.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, absolute};

use anyhow::{Context as _, ensure};
use serde::Serialize;

/// Writes a report to the file `to`; `-` is standard output.
pub(crate) fn write(to: &Path, report: &impl Serialize) -> anyhow::Result<()> {
    let mut text = serde_json::to_string_pretty(report)?;
    text.push('\n');
    if to == Path::new("-") {
        return say(&text);
    }
    std::fs::write(to, text).with_context(|| format!("cannot write {}", to.display()))
}

/// Writes text to standard output. Returns an error if the reader has closed it.
pub(crate) fn say(text: &str) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).context("cannot write to standard output")
}

/// Checks that a file can be created, once the directory `made` exists: an early check, before the work that
/// produces its contents.
pub(crate) fn can_be_made(file: &Path, made: Option<&Path>) -> anyhow::Result<()> {
    ensure!(!file.is_dir(), "cannot write {}: it is a directory", file.display());
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    let there = match (folder, made) {
        (None, _) => true,
        (Some(folder), Some(made)) => folder.is_dir() || absolute(made)?.starts_with(absolute(folder)?),
        (Some(folder), None) => folder.is_dir(),
    };
    ensure!(there, "cannot write {}: there is no such directory", file.display());
    Ok(())
}

/// Checks that a file can be written, by opening it: it stays as it is, and a new one doesn't stay.
pub(crate) fn can_be_written(file: &Path) -> anyhow::Result<()> {
    let is_new = !file.exists();
    // a pipe without a reader is refused, and not waited for
    let opened = File::options().append(true).create(true).custom_flags(libc::O_NONBLOCK).open(file);
    opened.with_context(|| format!("cannot write {}", file.display()))?;
    if is_new {
        std::fs::remove_file(file).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

/// Whether both paths are the same existing file.
pub(crate) fn are_one(one: &Path, other: &Path) -> bool {
    match (one.canonicalize(), other.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    }
}

/// Rounds to three decimals, the precision of the measurements.
pub(crate) fn round(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_can_be_made_where_a_directory_is_or_will_be() {
        let folder = tempfile::tempdir().unwrap();
        let within = |name: &str| folder.path().join(name);
        let out = within("new/out");
        for (file, made, can) in [
            ("report.json", None, true),
            ("out/report.json", None, false),
            ("new/out/report.json", Some(&*out), true),
            ("./new/out/../out/report.json", Some(&*out), false), // `..` can't be resolved yet
            ("new/./out/report.json", Some(&*out), true),
            ("new/report.json", Some(&*out), true),
            ("new/out/deeper/report.json", Some(&*out), false),
            ("", None, false),
        ] {
            assert_eq!(can_be_made(&within(file), made).is_ok(), can, "{file}");
        }
        assert!(can_be_made(Path::new("report.json"), None).is_ok());
        assert!(can_be_made(Path::new("new/report.json"), Some(Path::new("./new"))).is_ok());
    }
}
