//! Recording of received frames, without re-encoding.
//!
//! The output file is created, or an existing one is checked for write access, at once, so that the caller
//! gets an error before the first frame arrives. An existing file keeps its contents until there is a frame
//! to write: a recording without frames destroys nothing, and leaves no empty file.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use futures::executor::block_on;

use plenary_body::{Origin, ReceivedFrame};
use plenary_media::{RecordError, Recorder};
use plenary_proto::identity::MediaKind;
use plenary_proto::{PeerId, StreamId};
use tokio::sync::{mpsc, oneshot};

use crate::Error;
use crate::threads::Threads;

/// Time without pictures after which another speaker's pictures may follow the recorded speaker's,
/// microseconds. A guess.
const ENDED_US: u64 = 1_000_000;

/// Running recording. It ends when it is finished or dropped, or when its room is closed. The file is
/// playable in all three cases; after a crash, up to the last 750 ms are missing.
pub struct Recording {
    /// Dropping this ends the recording.
    running: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<bool, RecordError>>>,
}

impl Recording {
    /// Starts a thread that writes the frames to a file, with the evidence of each stream.
    pub(crate) fn start(
        path: &Path,
        frames: mpsc::Receiver<ReceivedFrame>,
        evidence: impl Fn(&StreamId) -> Option<Vec<u8>> + Send + 'static,
        threads: &Threads,
    ) -> Result<Recording, Error> {
        let place = OutputFile::take(path)?;
        let (running, ended) = oneshot::channel();
        let thread = threads.spawn("recording", move || block_on(write(place, frames, &evidence, ended)))?;
        Ok(Recording { running: Some(running), thread: Some(thread) })
    }

    /// Ends the recording and waits until the file is written. This blocks the thread for a few milliseconds
    /// of disk time, so don't call it in a task that others wait for. Returns `false` if no frame was
    /// recorded; then an existing file is unchanged, and no new file is left.
    ///
    /// # Errors
    /// If a write fails; the file holds what was recorded before.
    pub fn finish(mut self) -> Result<bool, RecordError> {
        self.running = None;
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            _ => Ok(false),
        }
    }
}

/// Output file before the first frame. Dropping it leaves an existing file unchanged, and removes one that it
/// created.
struct OutputFile {
    path: PathBuf,
    /// Whether this recording created the file, which is still empty.
    made: bool,
}

impl OutputFile {
    /// Checks that the file can be written, or creates it.
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

    /// Starts the recorder, which overwrites the existing file.
    fn begin(mut self) -> Result<Recorder, RecordError> {
        let recorder = Recorder::create(&self.path)?;
        self.made = false;
        Ok(recorder)
    }
}

impl Drop for OutputFile {
    fn drop(&mut self) {
        // another recording may have taken the same path, and may have started to write
        let empty = self.made && fs::metadata(&self.path).is_ok_and(|file| file.len() == 0);
        if empty && let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!("the empty recording {} was not removed: {error}", self.path.display());
        }
    }
}

/// Writes frames until the recording is ended or the frames end. Returns whether any frame was written.
async fn write(
    place: OutputFile,
    mut frames: mpsc::Receiver<ReceivedFrame>,
    evidence: &dyn Fn(&StreamId) -> Option<Vec<u8>>,
    mut ended: oneshot::Receiver<()>,
) -> Result<bool, RecordError> {
    let mut of = None;
    let mut place = Some(place);
    let mut recorder = None;
    // streams that the file has evidence of; a program has few
    let mut evident: BTreeSet<StreamId> = BTreeSet::new();
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
            let stream = received.frame.identity.stream;
            if !evident.contains(&stream)
                && let Some(shown) = evidence(&stream)
            {
                evident.insert(stream);
                recorder.note(&shown);
            }
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

/// Whether a recording can begin with this frame: sound, or a keyframe.
fn begins(received: &ReceivedFrame) -> bool {
    received.frame.kind == MediaKind::Sound || received.frame.identity.key
}

/// Whether a frame belongs to the recording: the program's picture and sound, and a speaker's mix-minus. If
/// only speakers' own streams are received, the pictures of the first speaker and all sound.
fn belongs(of: &mut Option<(PeerId, u64)>, received: &ReceivedFrame) -> bool {
    let video = received.frame.kind == MediaKind::Video;
    match received.origin {
        _ if received.beside => false,
        // a speaker hears its mix-minus in place of the program's sound
        Origin::Program | Origin::MixMinus => true,
        Origin::Speaker(speaker) if video => {
            // a speaker without recent pictures makes room for another: it has left, or the solo request has
            // changed
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
    use plenary_proto::identity::FrameIdentity;

    use super::*;

    const YESTERDAY: &[u8] = b"yesterday's recording";

    fn received(kind: MediaKind, number: u32) -> ReceivedFrame {
        let captured_us = 1_763_627_671_000_000 + u64::from(number) * 20_000;
        let stream = StreamId([1; 8]);
        let identity = FrameIdentity::single(stream, number, captured_us);
        // 20 ms of Opus; as video, a picture that is no keyframe
        let frame = Frame { kind, identity, data: Bytes::from_static(&[0xfc, 0xff, 0xfe]), level: None };
        ReceivedFrame::new(Origin::Program, frame, captured_us)
    }

    /// Records one frame of each of these kinds. Returns whether any frame was written.
    fn record(path: &Path, kinds: &[MediaKind]) -> bool {
        let (queue, frames) = mpsc::channel(kinds.len().max(1));
        for (number, kind) in (1..).zip(kinds) {
            queue.try_send(received(*kind, number)).unwrap();
        }
        drop(queue);
        let (_running, ended) = oneshot::channel();
        block_on(write(OutputFile::take(path).unwrap(), frames, &|_| None, ended)).unwrap()
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
