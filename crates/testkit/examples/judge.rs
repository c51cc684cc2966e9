//! Judges recordings of a demo with the test source: prints one line per file, from the files alone.
//!
//! ```text
//! cargo run -p plenary-testkit --example judge -- 4 out/viewer-*.mp4       # of 4 speakers
//! ```
//!
//! The line gives:
//! - pictures per second;
//! - the longest time that a tile stood still, and its start;
//! - the longest gaps in picture and sound;
//! - the range of skew between sound and picture;
//! - the levels of the speakers' tones: in 8 s near the end, and in the weakest 100 ms from 8 s after the
//!   start to the end (`inf` for a recording too short for that).
//!
//! For a speaker's heard sound (`speaker-0-heard.wav`) it gives the levels of the tones.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use plenary_testkit::judge::{self, Layout, Sound};

/// Length in seconds of the judged part near the end, when late speakers have joined.
const JUDGED_S: f64 = 8.0;
/// Part at the very end that is not judged, in seconds: peers leave during it.
const LEAVING_S: f64 = 0.5;

fn main() -> Result<ExitCode> {
    let mut arguments = std::env::args().skip(1);
    let speakers: usize = arguments.next().context("usage: judge SPEAKERS FILE…")?.parse()?;
    let mut clean = true;
    for file in arguments {
        if file.ends_with(".wav") {
            println!("{file}: tones {}", tones(&judge::wav(Path::new(&file))?, speakers));
            continue;
        }
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
        println!(
            "{file}: {:.1} s, {:.2} a second, still {:.0} ms at {:.2} s, holes {:.0} and {:.0} ms, skew {:.0} to {:.0} ms, tones {}{}",
            recording.duration_s,
            recording.frames.len().saturating_sub(1) as f64 / shown_s,
            (still.1 - still.0) * 1000.0,
            still.0,
            longest(recording.gaps(0.0)) * 1000.0,
            longest(recording.sound_gaps.clone()) * 1000.0,
            skews.first().copied().unwrap_or(f64::NAN),
            skews.last().copied().unwrap_or(f64::NAN),
            recording.sound.as_ref().map_or("none".to_owned(), |sound| tones(sound, speakers)),
            recording.ffmpeg_errors.iter().map(|error| format!("; ffmpeg: {error}")).collect::<String>(),
        );
        clean &= recording.ffmpeg_errors.is_empty();
    }
    Ok(if clean { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn tones(sound: &Sound, speakers: usize) -> String {
    let end_s = sound.duration_s() - LEAVING_S;
    let each = |db: &dyn Fn(u8) -> f64| {
        let tones = (0..speakers as u8).map(|index| format!("{:.1}", db(index)));
        tones.collect::<Vec<_>>().join(" ")
    };
    let last = each(&|index| sound.tone_db(index, end_s - JUDGED_S..end_s));
    let weakest = each(&|index| sound.weakest_tone_db(index, JUDGED_S..end_s));
    format!("{last} dBFS, weakest {weakest}")
}
