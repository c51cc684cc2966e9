//! Reports: to a file, or to standard output.

use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, ensure};
use serde::Serialize;

/// Writes a report to `to`; `-` is standard output.
pub(crate) fn write(to: &Path, report: &impl Serialize) -> anyhow::Result<()> {
    let mut text = serde_json::to_string_pretty(report)?;
    text.push('\n');
    if to == Path::new("-") {
        std::io::stdout().write_all(text.as_bytes())?;
        return Ok(());
    }
    std::fs::write(to, text).with_context(|| format!("cannot write {}", to.display()))
}

/// The directory for a file is there: seen before the work is done that the file is to hold.
pub(crate) fn can_be_made(file: &Path) -> anyhow::Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    let there = folder.is_none_or(Path::is_dir);
    ensure!(there, "cannot write {}: there is no such directory", file.display());
    Ok(())
}

/// To three digits behind the point: what is measured is no better than that.
pub(crate) fn round(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}
