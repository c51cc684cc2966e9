//! Recording of received frames, without re-encoding.
//!
//! The output file is created, or an existing one is checked for write access, at once, so that the caller
//! gets an error before the first frame arrives. An existing file keeps its contents until there is a frame
//! to write: a recording without frames destroys nothing, and leaves no empty file. A recording in parts overwrites
//! no file, and continues in a further file after a failed write. Its start repairs the file before, which a
//! crash may have left without index and lengths.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use futures::executor::block_on;

use plenary_body::{Origin, ReceivedFrame};
use plenary_media::{Frame, RecordError, Recorder, RepairError, is_finished_recording, repair_recording};
use plenary_proto::identity::MediaKind;
use plenary_proto::{PeerId, StreamId};
use tokio::sync::{mpsc, oneshot, watch};

use crate::Error;
use crate::threads::Threads;
use crate::voices::Wish;

/// Time without pictures after which another speaker's pictures may follow the recorded speaker's,
/// microseconds. A guess.
const ENDED_US: u64 = 1_000_000;

/// Interval at which a recording that can't be written, for example since the disk is full, is tried again. A guess.
const RETRY_EACH: Duration = Duration::from_secs(5);
/// Interval at which the file is looked for. A guess.
const LOOK_EACH: Duration = Duration::from_secs(1);
/// Bytes that must be free where a part begins: some seconds of a program. A guess.
const FREE_BYTES_MIN: usize = 1 << 20;
/// Maximum names that are tried for a part.
const NAMES_MAX: u32 = 10_000;

/// State of a recording.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecordingState {
    /// Nothing was received yet.
    #[default]
    Waiting,
    /// Frames are written to this file.
    Writing {
        /// The file.
        file: PathBuf,
    },
    /// The file can't be written: what arrives is lost. A recording in parts goes on in a further file once there is
    /// space; it tries each five seconds.
    Failed {
        /// The file.
        file: PathBuf,
        /// Why not.
        error: String,
    },
}

/// Names and lengths of the files of a recording in parts. No existing file is overwritten.
#[derive(Clone)]
#[non_exhaustive]
pub struct RecordParts {
    name: Arc<dyn Fn(u32) -> PathBuf + Send + Sync>,
    /// Size at which the next part begins, with the next keyframe, bytes; `None`, the default, for no limit.
    pub bytes_max: Option<u64>,
    /// Duration after which the next part begins, with the next keyframe; `None`, the default, for no limit.
    pub duration_max: Option<Duration>,
}

impl RecordParts {
    /// Takes the function that names a part when it begins. The first call has number 1; while files of these names
    /// exist, further calls have 2, 3 and so on, up to 10,000.
    pub fn new(name: impl Fn(u32) -> PathBuf + Send + Sync + 'static) -> RecordParts {
        RecordParts { name: Arc::new(name), bytes_max: None, duration_max: None }
    }

    /// Checks that a part can be written, without leaving a file.
    ///
    /// # Errors
    /// [`Error::Record`].
    pub fn check(&self) -> Result<(), Error> {
        Ok(self.next().map(drop)?)
    }

    /// Makes the next file.
    fn next(&self) -> Result<OutputFile, RecordError> {
        let mut before = None;
        for number in 1..=NAMES_MAX {
            let path = (self.name)(number);
            match OutputFile::make(&path) {
                Err(RecordError::Io { error, .. }) if error.kind() == ErrorKind::AlreadyExists => {
                    before = Some(path);
                }
                made => {
                    return made.map(|mut made| {
                        made.before = before;
                        made
                    });
                }
            }
        }
        let path = (self.name)(NAMES_MAX).display().to_string();
        Err(RecordError::Io { path, error: ErrorKind::AlreadyExists.into() })
    }
}

impl std::fmt::Debug for RecordParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let RecordParts { bytes_max, duration_max, .. } = self;
        f.debug_struct("RecordParts")
            .field("bytes_max", bytes_max)
            .field("duration_max", duration_max)
            .finish()
    }
}

/// Running recording. It ends when it is finished or dropped, or when its room is closed. The file is
/// playable in all three cases; after a crash, up to the last 750 ms are missing, and index and lengths, which
/// [`repair_recording`](crate::repair_recording) writes.
pub struct Recording {
    /// Dropping this ends the recording.
    running: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<bool, RecordError>>>,
    state: watch::Receiver<RecordingState>,
}

impl Recording {
    /// Starts a thread that writes the frames to a file, with the evidence of each stream.
    pub(crate) fn start(path: &Path, recorded: Recorded, threads: &Threads) -> Result<Recording, Error> {
        Recording::start_at(OutputFile::take(path)?, None, recorded, threads)
    }

    /// Starts a thread that writes the frames to files, each with the evidence of its streams.
    pub(crate) fn start_parts(
        parts: RecordParts,
        recorded: Recorded,
        threads: &Threads,
    ) -> Result<Recording, Error> {
        let mut place = parts.next()?;
        if let Some(before) = place.before.take() {
            threads.spawn("repair", move || repair(&before))?;
        }
        Recording::start_at(place, Some(parts), recorded, threads)
    }

    fn start_at(
        place: OutputFile,
        parts: Option<RecordParts>,
        Recorded { frames, evidence, announced }: Recorded,
        threads: &Threads,
    ) -> Result<Recording, Error> {
        let (running, ended) = oneshot::channel();
        let (writer, state) = Writer::new(place, parts);
        let write = move || {
            let _announced = announced; // until the last frame is written
            block_on(writer.write(frames, &evidence, ended))
        };
        let thread = threads.spawn("recording", write)?;
        Ok(Recording { running: Some(running), thread: Some(thread), state })
    }

    /// Returns the state, as a value that changes.
    pub fn state(&self) -> watch::Receiver<RecordingState> {
        self.state.clone()
    }

    /// Ends the recording and waits until the file is written. This blocks the thread for a few milliseconds
    /// of disk time, so don't call it in a task that others wait for. Returns `false` if no frame was
    /// recorded; then an existing file is unchanged, and no new file is left.
    ///
    /// # Errors
    /// If a write fails; the file holds what was recorded before. Of a recording in parts: if the last one failed.
    pub fn finish(mut self) -> Result<bool, RecordError> {
        self.running = None;
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            _ => Ok(false),
        }
    }
}

type EvidenceOf = dyn Fn(&StreamId) -> Option<Vec<u8>> + Send;

/// What a recording takes.
pub(crate) struct Recorded {
    pub(crate) frames: mpsc::Receiver<ReceivedFrame>,
    /// Returns the evidence of a stream, encoded.
    pub(crate) evidence: Box<EvidenceOf>,
    pub(crate) announced: AnnouncedRecording,
}

/// Tells the room that this peer records, until it is dropped
/// ([`Room::announce_recording`](crate::Room::announce_recording)).
#[derive(Debug)]
pub struct AnnouncedRecording {
    recordings: Arc<AtomicUsize>,
    /// Tells the driver when it is dropped, after the number has changed.
    _over: Wish,
}

impl AnnouncedRecording {
    /// Returns the announcement of one recording, which `recordings` counts already.
    pub(crate) fn new(recordings: Arc<AtomicUsize>, over: Wish) -> AnnouncedRecording {
        AnnouncedRecording { recordings, _over: over }
    }
}

impl Drop for AnnouncedRecording {
    fn drop(&mut self) {
        self.recordings.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Output file before the first frame. Dropping it leaves an existing file unchanged, and removes one that it
/// created.
struct OutputFile {
    path: PathBuf,
    /// Whether this recording created the file, which is still empty.
    made: bool,
    /// Last file of the same recording in parts before this one.
    before: Option<PathBuf>,
}

impl OutputFile {
    /// Checks that the file can be written, or creates it.
    fn take(path: &Path) -> Result<OutputFile, RecordError> {
        // a pipe would block the caller until it has a reader, and can't be read twice, as players do
        let is_other = |found: fs::Metadata| !found.is_file() && !found.is_dir();
        if fs::metadata(path).is_ok_and(is_other) {
            return Err(RecordError::Io {
                path: path.display().to_string(),
                error: std::io::Error::new(ErrorKind::InvalidInput, "it is no regular file"),
            });
        }
        let found = File::options().write(true).open(path);
        let (opened, made) = match found {
            Err(error) if error.kind() == ErrorKind::NotFound => (File::create_new(path), true),
            found => (found, false),
        };
        match opened {
            Ok(_) => Ok(OutputFile { path: path.to_owned(), made, before: None }),
            Err(error) => Err(RecordError::Io { path: path.display().to_string(), error }),
        }
    }

    /// Creates a file that is not there yet, where there is space.
    fn make(path: &Path) -> Result<OutputFile, RecordError> {
        let wrong = |error| RecordError::Io { path: path.display().to_string(), error };
        let mut file = File::create_new(path).map_err(wrong)?;
        let made = OutputFile { path: path.to_owned(), made: true, before: None };
        let filled = file.write_all(&vec![0; FREE_BYTES_MIN]);
        file.set_len(0).map_err(wrong)?;
        filled.map_err(wrong)?;
        Ok(made)
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

/// Repairs a recording that wasn't finished. One that is finished, is written by another process, or isn't ours is left
/// alone.
fn repair(path: &Path) {
    if is_finished_recording(path).unwrap_or(true) {
        return;
    }
    match repair_recording(path) {
        Ok(repaired) => tracing::info!(
            "repaired {}: {:.1} s; cut {} bytes of a torn end",
            path.display(),
            repaired.duration.as_secs_f64(),
            repaired.cut_len
        ),
        Err(RepairError::InUse { .. }) => {}
        Err(error) => tracing::info!("not repaired: {error}"),
    }
}

/// File that is written at present.
struct Part {
    recorder: Recorder,
    path: PathBuf,
    /// Capture time of its first frame.
    begun_us: u64,
    has_pictures: bool,
    /// When the file was there last.
    looked_at: Instant,
    /// Streams that the file has evidence of; a program has few.
    evident: BTreeSet<StreamId>,
}

impl Part {
    /// Checks that the file is still there: what is written to a deleted one is lost.
    fn look(&mut self) -> Result<(), RecordError> {
        self.looked_at = Instant::now();
        if self.path.exists() {
            return Ok(());
        }
        let error = std::io::Error::new(ErrorKind::NotFound, "it was deleted while it was written");
        Err(RecordError::Io { path: self.path.display().to_string(), error })
    }

    fn finish(mut self) -> Result<(), RecordError> {
        self.look()?;
        self.recorder.finish()
    }
}

/// State of a recording's thread.
struct Writer {
    place: Option<OutputFile>,
    parts: Option<RecordParts>,
    part: Option<Part>,
    /// Whether any frame was written.
    written: bool,
    /// Last error of writing, with its time; `None` while frames are written.
    failed: Option<(RecordError, Instant)>,
    state: watch::Sender<RecordingState>,
}

impl Writer {
    fn new(place: OutputFile, parts: Option<RecordParts>) -> (Writer, watch::Receiver<RecordingState>) {
        let (state, states) = watch::channel(RecordingState::default());
        (Writer { place: Some(place), parts, part: None, written: false, failed: None, state }, states)
    }

    /// Writes frames until the recording is ended or the frames end. Returns whether any frame was written.
    async fn write(
        mut self,
        mut frames: mpsc::Receiver<ReceivedFrame>,
        evidence: &dyn Fn(&StreamId) -> Option<Vec<u8>>,
        mut ended: oneshot::Receiver<()>,
    ) -> Result<bool, RecordError> {
        let mut of = None;
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
            if let Err(error) = self.take(&received, evidence) {
                self.fail(error)?;
            }
        }
        if let Some(part) = self.part.take() {
            part.finish()?;
        }
        match self.failed {
            Some((error, _)) => Err(error),
            None => Ok(self.written),
        }
    }

    /// Notes that nothing can be written for now. Returns the error if there is no further file.
    fn fail(&mut self, error: RecordError) -> Result<(), RecordError> {
        let file = self.part.take().map(|part| part.path);
        let before = self.state.borrow().clone();
        let file = file.or(match before {
            RecordingState::Failed { file, .. } => Some(file),
            _ => None,
        });
        let told = RecordingState::Failed { file: file.unwrap_or_default(), error: error.to_string() };
        self.state.send_if_modified(|state| std::mem::replace(state, told.clone()) != told);
        if self.parts.is_none() {
            return Err(error);
        }
        self.failed = Some((error, Instant::now()));
        Ok(())
    }

    fn take(
        &mut self,
        received: &ReceivedFrame,
        evidence: &dyn Fn(&StreamId) -> Option<Vec<u8>>,
    ) -> Result<(), RecordError> {
        let ReceivedFrame { frame, catches_up, .. } = received;
        if !catches_up && self.is_full(frame) {
            self.part.take().map_or(Ok(()), Part::finish)?;
        }
        if self.part.is_none() && begins(received) {
            self.begin(frame.identity.captured_us)?;
        }
        let Some(part) = &mut self.part else { return Ok(()) };
        if part.looked_at.elapsed() >= LOOK_EACH {
            part.look()?;
        }
        let stream = frame.identity.stream;
        if !part.evident.contains(&stream)
            && let Some(shown) = evidence(&stream)
        {
            part.evident.insert(stream);
            part.recorder.note(&shown);
        }
        part.has_pictures |= frame.kind == MediaKind::Video;
        if *catches_up { part.recorder.catch_up(frame) } else { part.recorder.push(frame) }
    }

    /// Whether the part in progress is to end in front of this frame.
    fn is_full(&self, next: &Frame) -> bool {
        let (Some(parts), Some(part)) = (&self.parts, &self.part) else { return false };
        if !(next.kind == MediaKind::Video && next.identity.key || !part.has_pictures) {
            return false;
        }
        let lasted = Duration::from_micros(next.identity.captured_us.saturating_sub(part.begun_us));
        let is_large = |most: u64| fs::metadata(&part.path).is_ok_and(|file| file.len() >= most);
        parts.duration_max.is_some_and(|most| lasted >= most) || parts.bytes_max.is_some_and(is_large)
    }

    /// Begins the next file, unless a try failed lately.
    fn begin(&mut self, begun_us: u64) -> Result<(), RecordError> {
        if self.failed.as_ref().is_some_and(|(_, at)| at.elapsed() < RETRY_EACH) {
            return Ok(());
        }
        let place = match (self.place.take(), &self.parts) {
            (Some(place), _) => place,
            (None, Some(parts)) => parts.next()?,
            (None, None) => return Ok(()),
        };
        let path = place.path.clone();
        let recorder = place.begin()?;
        self.state.send_replace(RecordingState::Writing { file: path.clone() });
        (self.failed, self.written) = (None, true);
        let (has_pictures, evident, looked_at) = (false, BTreeSet::new(), Instant::now());
        self.part = Some(Part { recorder, path, begun_us, has_pictures, looked_at, evident });
        Ok(())
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
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
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
        let (writer, _state) = Writer::new(OutputFile::take(path).unwrap(), None);
        block_on(writer.write(frames, &|_| None, ended)).unwrap()
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

    /// Records frames of sound, 20 ms each, in parts; returns the lengths of the files.
    fn record_parts(parts: &RecordParts, frames: u32) -> Result<bool, RecordError> {
        let (queue, received_frames) = mpsc::channel(frames.max(1) as usize);
        (1..=frames).for_each(|number| queue.try_send(received(MediaKind::Sound, number)).unwrap());
        drop(queue);
        let (_running, ended) = oneshot::channel();
        let (writer, _state) = Writer::new(parts.next()?, Some(parts.clone()));
        block_on(writer.write(received_frames, &|_| None, ended))
    }

    #[test]
    fn a_recording_in_parts_overwrites_nothing_and_begins_files_in_time() {
        let folder = tempfile::tempdir().unwrap();
        let within = folder.path().to_owned();
        let name = move |number: u32| match number {
            1 => within.join("room.mp4"),
            number => within.join(format!("room-{number}.mp4")),
        };
        let mut parts = RecordParts::new(name.clone());
        fs::write(name(1), YESTERDAY).unwrap();
        parts.check().unwrap();
        assert!(!name(2).exists(), "a check leaves nothing");
        assert!(record_parts(&parts, 10).unwrap());
        assert_eq!(fs::read(name(1)).unwrap(), YESTERDAY);
        parts.duration_max = Some(Duration::from_secs(1));
        assert!(record_parts(&parts, 120).unwrap());
        let lens: Vec<_> =
            (2..=6).map(|number| fs::metadata(name(number)).map_or(0, |file| file.len())).collect();
        assert!(lens[..4].iter().all(|len| *len > 100) && lens[4] == 0, "{lens:?}: 0.2, 1, 1 and 0.4 s");
        assert!(!record_parts(&parts, 0).unwrap_or(true) && !name(6).exists());
    }

    #[test]
    fn a_recording_whose_file_is_deleted_fails_and_goes_on_in_a_further_one() {
        let folder = tempfile::tempdir().unwrap();
        let within = folder.path().to_owned();
        let name = move |number: u32| within.join(format!("{number}.mp4"));
        let parts = RecordParts::new(name.clone());
        let (mut writer, _state) = Writer::new(parts.next().unwrap(), Some(parts));
        writer.take(&received(MediaKind::Sound, 1), &|_| None).unwrap();
        fs::remove_file(name(1)).unwrap();
        writer.part.as_mut().unwrap().looked_at -= LOOK_EACH;
        let error = writer.take(&received(MediaKind::Sound, 2), &|_| None).unwrap_err();
        assert!(error.to_string().ends_with("it was deleted while it was written"), "{error}");
        writer.fail(error).unwrap();
        assert!(writer.part.is_none());

        let (mut writer, _state) = Writer::new(OutputFile::take(&name(7)).unwrap(), None);
        writer.take(&received(MediaKind::Sound, 1), &|_| None).unwrap();
        fs::remove_file(name(7)).unwrap();
        assert!(writer.part.take().unwrap().finish().is_err(), "nobody finds what was written");
    }

    #[test]
    fn a_full_disk_is_told_at_once_and_a_further_file_follows_it() {
        let folder = tempfile::tempdir().unwrap();
        let within = folder.path().to_owned();
        let name = move |number: u32| within.join(format!("{number}.mp4"));
        let parts = RecordParts::new(name.clone());
        let (mut writer, state) = Writer::new(parts.next().unwrap(), Some(parts));
        writer.take(&received(MediaKind::Sound, 1), &|_| None).unwrap();
        assert_eq!(*state.borrow(), RecordingState::Writing { file: name(1) });
        let full = RecordError::Io { path: "1.mp4".to_owned(), error: ErrorKind::StorageFull.into() };
        writer.fail(full).unwrap();
        assert!(matches!(&*state.borrow(), RecordingState::Failed { file, .. } if *file == name(1)));
        writer.take(&received(MediaKind::Sound, 2), &|_| None).unwrap();
        assert!(writer.part.is_none(), "not before some seconds");
        if let Some((_, since)) = &mut writer.failed {
            *since -= RETRY_EACH;
        }
        writer.take(&received(MediaKind::Sound, 3), &|_| None).unwrap();
        assert_eq!(*state.borrow(), RecordingState::Writing { file: name(2) });
    }
}
