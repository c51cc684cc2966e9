//! Recordings of host, join and mixer: names of files, and messages.

use std::path::{Path, PathBuf};

use anyhow::ensure;
use plenary::{RecordParts, Recording, RecordingState};

use crate::args::StayArgs;
use crate::say;
use crate::units::RecordMax;

impl StayArgs {
    /// Returns the recording that is wished, if one is.
    pub(crate) fn parts(&self) -> Option<RecordParts> {
        let file = self.record.clone()?;
        let mut parts = RecordParts::new(move |number| name(&file, number, &now()));
        match self.record_max {
            Some(RecordMax::Bytes(bytes)) => parts.bytes_max = Some(bytes),
            Some(RecordMax::Time(time)) => parts.duration_max = Some(time),
            None => {}
        }
        Some(parts)
    }

    /// Checks that a recording can be made, before the room.
    pub(crate) fn check_recording(&self) -> anyhow::Result<()> {
        let (Some(file), Some(parts)) = (&self.record, self.parts()) else { return Ok(()) };
        let found = std::fs::metadata(file);
        ensure!(
            !found.is_ok_and(|found| !found.is_file()),
            "cannot record to {}: it is no regular file",
            file.display()
        );
        Ok(parts.check()?)
    }
}

/// Reports the state of a recording until its end.
pub(crate) fn tell(recording: &Recording) -> impl Future<Output = ()> + use<> {
    let mut states = recording.state();
    async move {
        while states.changed().await.is_ok() {
            let state = states.borrow_and_update().clone();
            match state {
                RecordingState::Writing { file } => {
                    say::event(&format!("recording to {}", file.display()), None)
                }
                RecordingState::Failed { error, .. } => {
                    let why =
                        format!("nothing is recorded for now: {error}; trying again with a further file");
                    say::event(&why, None);
                }
                _ => {}
            }
        }
    }
}

/// Returns the name of the recording with that number, counted from 1.
fn name(pattern: &Path, number: u32, now: &libc::tm) -> PathBuf {
    let text = pattern.to_string_lossy();
    let fields = [
        ("%Y", now.tm_year + 1900, 4),
        ("%m", now.tm_mon + 1, 2),
        ("%d", now.tm_mday, 2),
        ("%H", now.tm_hour, 2),
        ("%M", now.tm_min, 2),
        ("%S", now.tm_sec, 2),
    ];
    let has_time = fields.iter().any(|(field, ..)| text.contains(field));
    let dated = match has_time {
        true => fields
            .iter()
            .fold(text.into_owned(), |text, (field, value, width)| {
                text.replace(field, &format!("{value:0width$}", width = *width))
            })
            .into(),
        false => pattern.to_owned(), // perhaps no UTF-8
    };
    if number == 1 {
        return dated;
    }
    let mut stem = dated.file_stem().unwrap_or_default().to_owned();
    stem.push(format!("-{number}"));
    if let Some(extension) = dated.extension() {
        stem.push(".");
        stem.push(extension);
    }
    dated.with_file_name(stem)
}

/// Returns the local date and time; 1900 if the system can't tell.
fn now() -> libc::tm {
    // SAFETY: `tm` is plain data, for which all zeros is a value
    let mut now: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: both are local variables; a null pointer to `time` returns the time alone
    unsafe {
        let time = libc::time(std::ptr::null_mut());
        libc::localtime_r(&time, &mut now);
    }
    now
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recordings_are_numbered_behind_their_stem_and_dated_on_request() {
        let mut at = now();
        (at.tm_year, at.tm_mon, at.tm_mday, at.tm_hour, at.tm_min, at.tm_sec) = (126, 10, 9, 8, 7, 6);
        for (pattern, number, expected) in [
            ("room.mp4", 1, "room.mp4"),
            ("a.b/room.mp4", 2, "a.b/room-2.mp4"),
            ("room", 12, "room-12"),
            ("100%.mp4", 1, "100%.mp4"),
            ("room-%Y%m%d-%H%M%S.mp4", 1, "room-20261109-080706.mp4"),
            ("%Y/%H.mp4", 3, "2026/08-3.mp4"),
        ] {
            assert_eq!(name(Path::new(pattern), number, &at), Path::new(expected));
        }
    }
}
