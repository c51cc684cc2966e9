//! Recording what is received, without re-encoding it.
//!
//! A file of that name is made or found writable at once, so that who can't record hears of it before anything
//! comes. What a found file holds stays until there is a frame to write in its place: a recording of nothing
//! destroys nothing, and leaves nothing behind.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use futures::executor::block_on;

use plenary_media::{RecordError, Recorder};
use plenary_proto::PeerId;
use plenary_proto::identity::MediaKind;
use tokio::sync::{mpsc, oneshot};

use crate::Error;
use crate::flow::{Origin, ReceivedFrame};
use crate::threads::Threads;

/// A speaker whose pictures were recorded makes way for another's when none has come for so long. A guess.
const ENDED_US: u64 = 1_000_000;

/// A recording that runs until it is finished, dropped, or its room is closed. The file can be played whenever
/// that is, and after a crash up to its last half second.
pub struct Recording {
    /// Dropped to end it.
    running: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<bool, RecordError>>>,
}

impl Recording {
    /// Writes frames to a file, on a thread of its own.
    pub(crate) fn start(
        path: &Path,
        frames: mpsc::Receiver<ReceivedFrame>,
        threads: &Threads,
    ) -> Result<Recording, Error> {
        let place = OutputFile::take(path)?;
        let (running, ended) = oneshot::channel();
        let thread = threads.spawn("recording", move || block_on(write(place, frames, ended)))?;
        Ok(Recording { running: Some(running), thread: Some(thread) })
    }

    /// Ends the recording and waits until it is written. For at most a few milliseconds of the disk's time: not for
    /// a task that others wait for. `false` when nothing came: then a file that was there is as it was, and
    /// otherwise there is none.
    ///
    /// # Errors
    /// When something could not be written; what came before it is in the file.
    pub fn finish(mut self) -> Result<bool, RecordError> {
        self.running = None;
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            _ => Ok(false),
        }
    }
}

/// Where a recording is to be, while nothing has come yet. Dropped, it leaves what was there.
struct OutputFile {
    path: PathBuf,
    /// The file is there because of us, and empty.
    made: bool,
}

impl OutputFile {
    /// Finds the file writable, or makes it.
    fn take(path: &Path) -> Result<OutputFile, RecordError> {
        let found = File::options().write(true).open(path);
        let (opened, made) = match found {
            Err(error) if error.kind() == ErrorKind::NotFound => (File::create_new(path), true),
            found => (found, false),
        };
        match opened {
            Ok(_) => Ok(OutputFile { path: path.to_owned(), made }),
            Err(error) => Err(RecordError::Io { path: path.display().to_string(), error }),
        }
    }

    /// What was there makes way.
    fn begin(mut self) -> Result<Recorder, RecordError> {
        let recorder = Recorder::create(&self.path)?;
        self.made = false;
        Ok(recorder)
    }
}

impl Drop for OutputFile {
    fn drop(&mut self) {
        // another recording may have taken the same place, and begun
        let empty = self.made && fs::metadata(&self.path).is_ok_and(|file| file.len() == 0);
        if empty && let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!("an empty recording stays at {}: {error}", self.path.display());
        }
    }
}

/// Writes until it is told to end or nothing more comes; gives whether anything came.
async fn write(
    place: OutputFile,
    mut frames: mpsc::Receiver<ReceivedFrame>,
    mut ended: oneshot::Receiver<()>,
) -> Result<bool, RecordError> {
    let mut of = None;
    let mut place = Some(place);
    let mut recorder = None;
    loop {
        let received = tokio::select! {
            biased;
            received = frames.recv() => received,
            _ = &mut ended => None,
        };
        let Some(received) = received else { break };
        if !belongs(&mut of, &received) {
            continue;
        }
        if begins(&received)
            && let Some(place) = place.take()
        {
            recorder = Some(place.begin()?);
        }
        if let Some(recorder) = &mut recorder {
            if received.catches_up {
                recorder.catch_up(&received.frame)?;
            } else {
                recorder.push(&received.frame)?;
            }
        }
    }
    match recorder {
        Some(recorder) => recorder.finish().map(|()| true),
        None => Ok(false),
    }
}

/// A recording can begin with it: with sound, or a picture that needs no other.
fn begins(received: &ReceivedFrame) -> bool {
    received.frame.kind == MediaKind::Sound || received.frame.identity.key
}

/// One picture and one sound: the program's and what goes with it, or the first speaker's where speakers come alone.
fn belongs(of: &mut Option<(PeerId, u64)>, received: &ReceivedFrame) -> bool {
    let video = received.frame.kind == MediaKind::Video;
    match received.origin {
        _ if received.beside => false,
        // a speaker's sound of the program is what the mixer makes for it
        Origin::Program | Origin::MixMinus => true,
        Origin::Speaker(speaker) if video => {
            // one whose pictures have ended makes way: it has left, or another was wished for
            let now_us = received.arrived_us;
            let goes_on =
                |(first, at_us): (PeerId, u64)| first == speaker || now_us.saturating_sub(at_us) < ENDED_US;
            let shown = of.filter(|first| goes_on(*first)).map_or(speaker, |(first, _)| first);
            if shown == speaker {
                *of = Some((speaker, now_us));
            }
            shown == speaker
        }
        Origin::Speaker(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use plenary_media::Frame;
    use plenary_proto::StreamId;
    use plenary_proto::identity::FrameIdentity;

    use super::*;

    const YESTERDAY: &[u8] = b"yesterday's recording";

    fn received(kind: MediaKind, number: u32) -> ReceivedFrame {
        let captured_us = 1_763_627_671_000_000 + u64::from(number) * 20_000;
        let stream = StreamId([1; 8]);
        let identity = FrameIdentity { stream, number, captured_us, temporal: 0, key: false, epoch: 0 };
        // 20 ms of Opus; as a picture, one that needs another
        let frame = Frame { kind, identity, data: Bytes::from_static(&[0xfc, 0xff, 0xfe]), level: None };
        ReceivedFrame::new(Origin::Program, frame, captured_us)
    }

    /// Records these kinds of frames and nothing more.
    fn record(path: &Path, kinds: &[MediaKind]) -> bool {
        let (queue, frames) = mpsc::channel(kinds.len().max(1));
        for (number, kind) in (1..).zip(kinds) {
            queue.try_send(received(*kind, number)).unwrap();
        }
        drop(queue);
        let (_running, ended) = oneshot::channel();
        block_on(write(OutputFile::take(path).unwrap(), frames, ended)).unwrap()
    }

    #[test]
    fn a_recording_of_nothing_leaves_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let (found, new) = (folder.path().join("found.mp4"), folder.path().join("new.mp4"));
        fs::write(&found, YESTERDAY).unwrap();
        for kinds in [&[][..], &[MediaKind::Video]] {
            assert!(!record(&found, kinds) && !record(&new, kinds));
            assert_eq!(fs::read(&found).unwrap(), YESTERDAY);
            assert!(!new.exists());
        }
    }

    #[test]
    fn what_was_there_makes_way_for_the_first_frame() {
        let folder = tempfile::tempdir().unwrap();
        let found = folder.path().join("found.mp4");
        fs::write(&found, YESTERDAY.repeat(1000)).unwrap();
        assert!(record(&found, &[MediaKind::Sound; 3]));
        let written = fs::read(&found).unwrap();
        assert_eq!(&written[4..8], b"ftyp");
        assert!(written.len() < YESTERDAY.len() * 1000);
    }

    #[test]
    fn a_place_that_cannot_be_written_to_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        for path in [folder.path().to_owned(), folder.path().join("nowhere/new.mp4")] {
            assert!(matches!(OutputFile::take(&path), Err(RecordError::Io { .. })), "{}", path.display());
        }
    }
}
