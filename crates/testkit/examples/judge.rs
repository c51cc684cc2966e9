//! What recordings of a demo with the test source are worth: one line each, read from the files alone.
//!
//! ```text
//! cargo run -p plenary-testkit --example judge -- 4 out/viewer-*.mp4       # of 4 speakers
//! ```
//!
//! Pictures a second, the longest that a tile stood still and since when, the longest holes in picture and sound, how far sound
//! is off its picture, and the speakers' tones in the last 8 s.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use plenary_testkit::judge::{self, Layout};

/// Tones are judged by the end: whoever came late is there by then.
const JUDGED_S: f64 = 8.0;

fn main() -> Result<ExitCode> {
    let mut arguments = std::env::args().skip(1);
    let speakers: usize = arguments.next().context("usage: judge SPEAKERS FILE…")?.parse()?;
    let mut clean = true;
    for file in arguments {
        let recording = judge::recording(Path::new(&file), &Layout::grid(speakers))?;
        let stills = (0..speakers).filter_map(|tile| recording.longest_still(tile));
        let still = stills.max_by(|a, b| (a.1 - a.0).total_cmp(&(b.1 - b.0))).unwrap_or_default();
        let longest =
            |gaps: Vec<(f64, f64)>| gaps.iter().map(|(from_s, to_s)| to_s - from_s).fold(0.0, f64::max);
        let shown_s = recording
            .frames
            .last()
            .zip(recording.frames.first())
            .map_or(0.0, |(last, first)| last.at_s - first.at_s);
        let mut skews: Vec<_> = (0..speakers).flat_map(|tile| recording.skews_ms(tile)).collect();
        skews.sort_by(f64::total_cmp);
        let tones = recording.sound.as_ref().map(|sound| {
            let end_s = sound.duration_s();
            let tone = |index| format!("{:.1}", sound.tone_db(index, end_s - JUDGED_S..end_s));
            (0..speakers as u8).map(tone).collect::<Vec<_>>().join(" ")
        });
        println!(
            "{file}: {:.1} s, {:.2} a second, still {:.0} ms at {:.2} s, holes {:.0} and {:.0} ms, skew {:.0} to {:.0} ms, tones {} dBFS{}",
            recording.duration_s,
            recording.frames.len().saturating_sub(1) as f64 / shown_s,
            (still.1 - still.0) * 1000.0,
            still.0,
            longest(recording.gaps(0.0)) * 1000.0,
            longest(recording.sound_gaps.clone()) * 1000.0,
            skews.first().copied().unwrap_or(f64::NAN),
            skews.last().copied().unwrap_or(f64::NAN),
            tones.unwrap_or_else(|| "none".to_owned()),
            recording.ffmpeg_errors.iter().map(|error| format!("; ffmpeg: {error}")).collect::<String>(),
        );
        clean &= recording.ffmpeg_errors.is_empty();
    }
    Ok(if clean { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
