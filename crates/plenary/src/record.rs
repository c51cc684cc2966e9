//! Recording what is received, without re-encoding it.

use std::path::Path;
use std::thread::JoinHandle;

use futures::executor::block_on;

use plenary_media::{RecordError, Recorder};
use plenary_proto::identity::MediaKind;
use tokio::sync::{mpsc, oneshot};

use crate::Error;
use crate::flow::{Origin, ReceivedFrame};
use crate::threads::Threads;

/// A recording that runs until it is finished, dropped, or its room is closed. The file can be played whenever
/// that is, and after a crash up to its last half second.
pub struct Recording {
    /// Dropped to end it.
    running: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<(), RecordError>>>,
}

impl Recording {
    /// Writes frames to a new file, on a thread of its own.
    pub(crate) fn start(
        path: &Path,
        frames: mpsc::Receiver<ReceivedFrame>,
        threads: &Threads,
    ) -> Result<Recording, Error> {
        let recorder = Recorder::create(path)?;
        let (running, ended) = oneshot::channel();
        let thread = threads.spawn("recording", move || block_on(write(recorder, frames, ended)))?;
        Ok(Recording { running: Some(running), thread: Some(thread) })
    }

    /// Ends the recording and waits until it is written. For at most a few milliseconds of the disk's time: not for
    /// a task that others wait for.
    ///
    /// # Errors
    /// When something could not be written; what came before it is in the file.
    pub fn finish(mut self) -> Result<(), RecordError> {
        self.running = None;
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            _ => Ok(()),
        }
    }
}

/// Writes until it is told to end or nothing more comes.
async fn write(
    mut recorder: Recorder,
    mut frames: mpsc::Receiver<ReceivedFrame>,
    mut ended: oneshot::Receiver<()>,
) -> Result<(), RecordError> {
    let mut of = None;
    loop {
        let received = tokio::select! {
            biased;
            received = frames.recv() => received,
            _ = &mut ended => None,
        };
        match received {
            Some(received) if belongs(&mut of, &received) => recorder.push(&received.frame)?,
            Some(_) => {}
            None => return recorder.finish(),
        }
    }
}

/// One picture and one sound: the program's and what goes with it, or in a mesh the first speaker's.
fn belongs(of: &mut Option<Origin>, received: &ReceivedFrame) -> bool {
    match received.origin {
        // a speaker's sound of the program is what the mixer makes for it
        Origin::Program | Origin::MixMinus => true,
        Origin::Speaker(_) => {
            let video = received.frame.kind == MediaKind::Video;
            let first = of.get_or_insert(received.origin);
            *first == received.origin || !video
        }
    }
}
