//! Reports: to a file, or to standard output.

use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;
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

/// To three digits behind the point: what is measured is no better than that.
pub(crate) fn round(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}
