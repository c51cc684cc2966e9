//! Program recorder: writes the received program to a fragmented MP4 file, without transcoding.
//!
//! The header is written with the first keyframe. From then on the recorder writes one fragment each half
//! second, in a single write, with sound in front of pictures. Pictures are held for 250 ms before they are
//! written; after a change of mixer, repeated pictures replace held ones. However the recording ends, all
//! fragments but the last can be played, and a torn last fragment loses pictures before sound. A crash loses up
//! to 500 ms of sound and 750 ms of pictures. The end of the recording adds an index and the file's lengths; after a
//! crash [`repair_recording`] does. Times in the file are the frames' capture times: a gap in the
//! received program is a gap in the file. Parameter sets stay in front of each keyframe, so that a later stream
//! may have other parameter sets than the first stream, which the header describes.
//!
//! The header always declares sound of two channels: Opus decoders output any requested number of channels,
//! regardless of the channels in the packets (RFC 7845, 5.1.1), and sound may start late. Video can't start
//! late: without a picture for [`PICTURE_WAIT_US_MAX`] the file becomes one with sound only.

mod fragment;
mod index;
pub(crate) mod notes;
mod repair;
mod timeline;

use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write};
use std::path::Path;

use plenary_proto::StreamId;
use plenary_proto::identity::{FrameIdentity, MediaKind, h264};
use shiguredo_mp4::bitstream::h264::{
    H264SampleEntryConfig, LengthSize, annexb_to_length_prefixed, build_avc1_box_from_annexb,
};
use shiguredo_mp4::boxes::Avc1Box;

use crate::Frame;
use notes::NOTE_LEN_MAX;

use fragment::{Sample, Track, Writer};
use index::Index;
pub use repair::{RepairError, Repaired, is_finished_recording, repair_recording};
use timeline::{PICTURE_US_MIN, Timeline};

/// Media time of one fragment in microseconds.
pub const FRAGMENT_US: i64 = 500_000;
/// Size in bytes at which a fragment is written early. A guess: 500 ms at 128 Mbit/s.
pub const FRAGMENT_BYTES_MAX: usize = 8 << 20;
/// Longest time in microseconds for which sound is held back until the first keyframe: two keyframe intervals
/// and a margin.
pub const PICTURE_WAIT_US_MAX: i64 = 5_000_000;
/// Maximum packets of sound held back until the first keyframe, regardless of their capture times.
const HELD_SOUND_MAX: usize = 500;
/// Duration of the last picture in microseconds, when no previous picture gives the frame interval.
const PICTURE_US: i64 = 33_333;
/// Age in microseconds at which pictures are written. Younger pictures can be replaced by the repeated pictures of
/// the next mixer. A guess: after a change of mixer, the GOP arrives sooner.
const REPLACEABLE_US: i64 = 250_000;
/// Tolerance in microseconds below which a distance between sound packets is no gap: capture times of a real
/// microphone jitter.
const WAVER_US: i64 = 10_000;

/// Reason why a recording ended or refused a frame.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The file can't be written; it ends with the last complete fragment.
    #[error("{path}: {error}")]
    Io {
        /// The path as the caller gave it.
        path: String,
        /// Error of the operating system.
        #[source]
        error: std::io::Error,
    },
    /// MP4 can't hold the frame: the first keyframe has no valid parameter sets.
    #[error("can't be recorded: {0}")]
    Refused(String),
    /// An earlier error ended the recording.
    #[error("the recording has ended")]
    Ended,
}

/// Recorder of one file. [`finish`](Recorder::finish) ends the recording; so does dropping the recorder,
/// which only logs errors.
pub struct Recorder {
    path: String,
    /// Output file; `None` once the recording has ended.
    file: Option<Box<dyn Target>>,
    /// Length of the complete fragments written so far, in bytes.
    written_len: u64,
    timeline: Timeline,
    /// Fragment writer; `None` until the tracks of the file are known.
    writer: Option<Writer>,
    /// Index of the fragments written so far; `None` until the header is written.
    index: Option<Index>,
    /// Position in the timeline at which the file starts; set when the first fragment is written.
    origin_us: Option<i64>,
    video: Vec<Unit>,
    /// Interval between the last two pictures.
    video_step_us: Option<i64>,
    sound: Vec<Unit>,
    held_bytes: usize,
    /// End time of the last fragment, or at first the time of the first frame.
    cut_us: Option<i64>,
    video_stream: Option<StreamId>,
    /// Pictures of another mixer that repeat content, oldest first, with their capture times. They are placed
    /// with that mixer's first new picture, whose place tells how the two clocks differ.
    repeated: Vec<Unit>,
    left_out: u64,
    /// Boxes that the next fragment follows.
    notes: Vec<u8>,
}

/// Output of a recorder: a file, or in tests a full disk.
trait Target: Write + Send {
    /// Truncates the output to `len` bytes.
    fn cut_back(&mut self, len: u64) -> std::io::Result<()>;

    /// Writes at an offset, in front of the end or there.
    fn overwrite(&mut self, at: u64, bytes: &[u8]) -> std::io::Result<()>;
}

/// File that is locked while it is written, so that no repair takes it for one that a crash has left.
struct Output(File);

impl Output {
    /// Locks a file; `None` if it is locked. A file system without locks doesn't tell.
    fn lock(file: File) -> Option<Output> {
        let is_locked = matches!(file.try_lock(), Err(std::fs::TryLockError::WouldBlock));
        (!is_locked).then_some(Output(file))
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        // closing isn't enough while a child process that is about to start has the file, too
        let _ = self.0.unlock();
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

impl Target for Output {
    fn cut_back(&mut self, len: u64) -> std::io::Result<()> {
        self.0.set_len(len)
    }

    fn overwrite(&mut self, at: u64, bytes: &[u8]) -> std::io::Result<()> {
        self.0.seek(SeekFrom::Start(at))?;
        self.0.write_all(bytes)
    }
}

/// A frame waiting for its fragment.
struct Unit {
    stream: StreamId,
    at_us: i64,
    key: bool,
    data: Vec<u8>,
}

impl Recorder {
    /// Creates or overwrites the file.
    ///
    /// # Errors
    /// [`RecordError::Io`].
    pub fn create(path: &Path) -> Result<Recorder, RecordError> {
        let path_text = path.display().to_string();
        match File::create(path) {
            Ok(file) => {
                let _ = file.try_lock(); // two recorders of one file are the caller's affair
                Ok(Recorder::new(path_text, Box::new(Output(file))))
            }
            Err(error) => Err(RecordError::Io { path: path_text, error }),
        }
    }

    fn new(path: String, file: Box<dyn Target>) -> Recorder {
        Recorder {
            path,
            file: Some(file),
            written_len: 0,
            timeline: Timeline::default(),
            writer: None,
            index: None,
            origin_us: None,
            video: Vec::new(),
            video_step_us: None,
            sound: Vec::new(),
            held_bytes: 0,
            cut_us: None,
            video_stream: None,
            repeated: Vec::new(),
            left_out: 0,
            notes: Vec::new(),
        }
    }

    /// Keeps bytes in the file, in front of the next fragment, where players skip them. More than 1 MiB are dropped.
    pub fn note(&mut self, bytes: &[u8]) {
        if self.notes.len() + bytes.len() <= NOTE_LEN_MAX {
            self.notes.extend(notes::boxed(bytes));
        }
    }

    /// Takes the next frame of its kind. Drops pictures before the first keyframe of a stream, and sound for
    /// a time that the file already covers; see [`left_out`](Recorder::left_out).
    ///
    /// The caller must push the frames that a picture references before the picture itself.
    ///
    /// # Errors
    /// [`RecordError::Io`] ends the recording; [`RecordError::Refused`] doesn't.
    pub fn push(&mut self, frame: &Frame) -> Result<(), RecordError> {
        if self.file.is_none() {
            return Err(RecordError::Ended);
        }
        let taken = match frame.kind {
            MediaKind::Video => self.push_video(frame)?,
            MediaKind::Sound => self.push_sound(frame),
        };
        self.count(taken)
    }

    /// Takes a picture that later pictures reference, but with content that the file already has from another
    /// mixer. The next picture of its stream that is pushed puts it in the place of that mixer's picture; if
    /// that is written already, the new one lasts for a few microseconds.
    ///
    /// # Errors
    /// Same as [`push`](Self::push).
    pub fn catch_up(&mut self, picture: &Frame) -> Result<(), RecordError> {
        if self.file.is_none() {
            return Err(RecordError::Ended);
        }
        let identity = &picture.identity;
        let Some(data) = self.accept(picture)? else {
            self.left_out += 1;
            return Ok(());
        };
        if identity.key {
            self.drop_repeated();
        }
        let at_us = i64::try_from(identity.captured_us).unwrap_or(i64::MAX);
        self.repeated.push(Unit { stream: identity.stream, at_us, key: identity.key, data });
        if bytes_of(&self.repeated) >= FRAGMENT_BYTES_MAX {
            self.drop_repeated(); // the stream goes on at its next keyframe
        }
        Ok(())
    }

    fn drop_repeated(&mut self) {
        self.left_out += self.repeated.len() as u64;
        self.repeated.clear();
    }

    /// Accounts for a frame taken or dropped, and writes a fragment when enough frames are held.
    fn count(&mut self, taken: Option<i64>) -> Result<(), RecordError> {
        match taken {
            None => self.left_out += 1,
            Some(at_us) => {
                let cut_us = *self.cut_us.get_or_insert(at_us);
                if at_us - cut_us >= FRAGMENT_US || self.held_bytes >= FRAGMENT_BYTES_MAX {
                    self.cut(at_us, false)?;
                }
            }
        }
        Ok(())
    }

    fn push_video(&mut self, frame: &Frame) -> Result<Option<i64>, RecordError> {
        let Some(data) = self.accept(frame)? else { return Ok(None) };
        let FrameIdentity { stream, captured_us, key, .. } = frame.identity;
        self.video_stream = Some(stream);
        let free_us = self.timeline.video_free_us();
        let at_us = self.timeline.place_video(stream, captured_us);
        let at_us = if self.repeated.last().is_some_and(|unit| unit.stream == stream) {
            self.replace(at_us, captured_us, free_us)
        } else {
            self.make_way(at_us, key);
            at_us
        };
        self.held_bytes += data.len();
        self.video.push(Unit { stream, at_us, key, data });
        Ok(Some(at_us))
    }

    /// Returns the picture as MP4 has it, and begins the file at the first keyframe; `None` when the picture
    /// can't be recorded: invalid data, a file with sound only, or a reference that is missing.
    fn accept(&mut self, picture: &Frame) -> Result<Option<Vec<u8>>, RecordError> {
        let FrameIdentity { stream, key, .. } = picture.identity;
        let sound_alone = self.writer.as_ref().is_some_and(|writer| !writer.has_video());
        let repeated = self.repeated.last().map(|unit| unit.stream);
        let follows = self.video_stream == Some(stream) || repeated == Some(stream);
        if sound_alone || !(key || follows) {
            return Ok(None);
        }
        let Ok(data) = annexb_to_length_prefixed(&h264::with_sei(&picture.data), LengthSize::FourBytes)
        else {
            return Ok(None);
        };
        if self.writer.is_none() {
            let config = H264SampleEntryConfig { length_size: LengthSize::FourBytes };
            let entry = build_avc1_box_from_annexb(&picture.data, &config).map_err(refused)?;
            self.begin(Some(entry))?;
        }
        Ok(Some(data))
    }

    /// Replaces held pictures of other streams by the repeated ones. Their times in the file follow from the first
    /// new picture of the same stream: captured at `captured_us`, placed at `at_us`. `free_us` was the earliest free
    /// time before it. The first repeated picture is at least half a frame interval behind the last picture that
    /// remains; pictures older than the held ones are a few microseconds apart. Returns the place of the new picture.
    fn replace(&mut self, at_us: i64, captured_us: u64, free_us: i64) -> i64 {
        let captured_us = i64::try_from(captured_us).unwrap_or(i64::MAX);
        let repeated = std::mem::take(&mut self.repeated);
        let (Some(first), Some(last)) = (repeated.first(), repeated.last()) else { return at_us };
        let own_us = |unit: &Unit| unit.at_us.saturating_sub(captured_us).saturating_add(at_us);
        let step_us = captured_us.saturating_sub(last.at_us);
        let half_us = step_us.clamp(0, self.video_step_us.unwrap_or(PICTURE_US)) / 2;
        let until_us = own_us(first).saturating_sub(half_us);
        let stays = |unit: &Unit| unit.stream == first.stream || unit.at_us <= until_us;
        let kept = self.video.iter().rposition(stays).map_or(0, |last| last + 1);
        let dropped = self.video.split_off(kept);
        self.left_out += dropped.len() as u64;
        self.held_bytes = self.held_bytes + bytes_of(&repeated) - bytes_of(&dropped);
        let mut free_us = match self.video.last() {
            Some(last) if last.stream == first.stream => last.at_us + PICTURE_US_MIN,
            Some(last) => last.at_us + half_us,
            None => dropped.first().map_or(free_us, |first| first.at_us),
        };
        for mut unit in repeated {
            unit.at_us = own_us(&unit).max(free_us);
            free_us = unit.at_us + PICTURE_US_MIN;
            self.video.push(unit);
        }
        self.timeline.end_video(at_us.max(free_us))
    }

    /// Drops the last picture when a keyframe follows it by less than the usual frame interval, as at a
    /// change of mixer. No later picture references the dropped one, and players that count in frame
    /// intervals would have two pictures at one time.
    fn make_way(&mut self, at_us: i64, key: bool) {
        let Some(last_us) = self.video.last().map(|last| last.at_us) else { return };
        let step_us = at_us - last_us;
        if key && self.video_step_us.is_some_and(|usual_us| step_us < usual_us * 7 / 8) {
            let dropped = self.video.pop();
            self.held_bytes -= dropped.map_or(0, |unit| unit.data.len());
            self.left_out += 1;
        } else {
            self.video_step_us = Some(step_us);
        }
    }

    fn push_sound(&mut self, frame: &Frame) -> Option<i64> {
        let duration_us = opus_duration_us(&frame.data)?;
        let identity = &frame.identity;
        let at_us = self.timeline.place_sound(identity.stream, identity.captured_us, duration_us)?;
        self.held_bytes += frame.data.len();
        self.sound.push(Unit { stream: identity.stream, at_us, key: true, data: frame.data.to_vec() });
        Some(at_us)
    }

    /// Number of frames dropped because the file has no place for them.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Writes the remaining frames, the index and the lengths, and closes the file.
    ///
    /// # Errors
    /// [`RecordError`]; the file then ends with the last complete fragment, perhaps without an index.
    pub fn finish(mut self) -> Result<(), RecordError> {
        self.end()
    }

    fn end(&mut self) -> Result<(), RecordError> {
        if self.file.is_none() {
            return Err(RecordError::Ended);
        }
        self.drop_repeated(); // the file has their content
        let cut = self.cut(self.cut_us.unwrap_or(0), true);
        let closed = self.close().map_err(|error| RecordError::Io { path: self.path.clone(), error });
        cut.and(closed)
    }

    /// Writes index and lengths behind what is written, and closes the file.
    fn close(&mut self) -> std::io::Result<()> {
        let (Some(mut file), Some(index)) = (self.file.take(), self.index.take()) else { return Ok(()) };
        index.write(self.written_len, file.as_mut())
    }

    fn begin(&mut self, video: Option<Avc1Box>) -> Result<(), RecordError> {
        let writer = Writer::new(video).map_err(refused)?;
        let header = writer.header();
        let index = Index::new(&header).map_err(refused)?;
        self.write(header)?;
        self.index = Some(index);
        self.writer = Some(writer);
        Ok(())
    }

    /// Writes the pictures that no other mixer can replace any more, and all sound but the newest packet, since its
    /// duration isn't known yet; at the end, writes all frames.
    fn cut(&mut self, now_us: i64, last: bool) -> Result<(), RecordError> {
        if self.writer.is_none() {
            let Some(first) = self.sound.first() else { return Ok(()) };
            let waited = now_us - first.at_us >= PICTURE_WAIT_US_MAX || self.sound.len() >= HELD_SOUND_MAX;
            if !waited && !last {
                return Ok(());
            }
            self.begin(None)?;
        }
        self.cut_us = Some(now_us);
        let earliest_us = self.video.iter().chain(&self.sound).map(|unit| unit.at_us).min();
        let origin_us = *self.origin_us.get_or_insert(earliest_us.unwrap_or(0));
        let full = self.held_bytes >= FRAGMENT_BYTES_MAX;
        let until_us = if full { i64::MAX } else { now_us.saturating_sub(REPLACEABLE_US) };
        let mut video_runs = video_samples(&mut self.video, origin_us, until_us, last).into_iter();
        let mut sound_runs = sound_samples(&mut self.sound, origin_us, last).into_iter();
        self.held_bytes = bytes_of(&self.video) + bytes_of(&self.sound);
        let Some(writer) = &mut self.writer else { return Ok(()) };
        let first = (sound_runs.next().unwrap_or_default(), video_runs.next().unwrap_or_default());
        if first.0.is_empty() && first.1.is_empty() {
            return Ok(());
        }
        let mut bytes = std::mem::take(&mut self.notes);
        let mut moofs = Vec::new();
        let runs = std::iter::once(first)
            .chain(sound_runs.map(|run| (run, Vec::new())))
            .chain(video_runs.map(|run| (Vec::new(), run)));
        for (sound, video) in runs {
            let Some((moof, fragment)) = writer.fragment(&sound, &video).map_err(refused)? else { continue };
            moofs.push((self.written_len + bytes.len() as u64, moof));
            bytes.extend(fragment);
        }
        self.write(bytes)?;
        if let Some(index) = &mut self.index {
            moofs.iter().for_each(|(at, moof)| index.add(*at, moof));
        }
        Ok(())
    }

    /// Writes in one call. On failure, truncates the file to the last complete fragment, finishes it if it can, and
    /// ends the recording.
    fn write(&mut self, bytes: Vec<u8>) -> Result<(), RecordError> {
        let Some(file) = &mut self.file else { return Err(RecordError::Ended) };
        match file.write_all(&bytes) {
            Ok(()) => {
                self.written_len += bytes.len() as u64;
                Ok(())
            }
            Err(error) => {
                // if truncating fails too, the file has a torn end, which players tolerate
                let _ = file.cut_back(self.written_len);
                let _ = self.close(); // the torn fragment's space may do for the index
                Err(RecordError::Io { path: self.path.clone(), error })
            }
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        match self.end() {
            Ok(()) | Err(RecordError::Ended) => {}
            Err(error) => tracing::warn!("recording: {error}"),
        }
    }
}

fn bytes_of(units: &[Unit]) -> usize {
    units.iter().map(|unit| unit.data.len()).sum()
}

fn refused(error: impl std::fmt::Display) -> RecordError {
    RecordError::Refused(error.to_string())
}

/// Removes the pictures that begin until `until_us`, at the end all; each lasts until the next picture. They are split
/// in front of keyframes: some players seek to the begin of a fragment.
fn video_samples(units: &mut Vec<Unit>, origin_us: i64, until_us: i64, last: bool) -> Vec<Vec<Sample>> {
    let old = units.iter().take_while(|unit| unit.at_us <= until_us).count();
    let count = if last { units.len() } else { old.min(units.len().saturating_sub(1)) };
    let starts: Vec<_> = units.iter().map(|unit| Track::Video.ticks(unit.at_us - origin_us)).collect();
    let usual = match starts[..] {
        [.., before, newest] => newest - before,
        _ => Track::Video.ticks(PICTURE_US),
    };
    let mut runs: Vec<Vec<Sample>> = Vec::new();
    for (index, unit) in units.drain(..count).enumerate() {
        let start = starts[index];
        let duration = starts.get(index + 1).map_or(usual, |next| next - start);
        let sample = Sample { start, duration, key: unit.key, data: unit.data };
        match runs.last_mut() {
            Some(run) if !sample.key => run.push(sample),
            _ => runs.push(vec![sample]),
        }
    }
    runs
}

/// Removes the sound packets that can be written, split at gaps into contiguous runs.
fn sound_samples(units: &mut Vec<Unit>, origin_us: i64, last: bool) -> Vec<Vec<Sample>> {
    let count = if last { units.len() } else { units.len().saturating_sub(1) };
    let starts: Vec<_> = units.iter().map(|unit| Track::Sound.ticks(unit.at_us - origin_us)).collect();
    let mut runs = vec![Vec::new()];
    for (index, unit) in units.drain(..count).enumerate() {
        let start = starts[index];
        let full = Track::Sound.ticks(opus_duration_us(&unit.data).unwrap_or(0));
        let until_next = starts.get(index + 1).map_or(full, |next| next - start);
        let gap = until_next > full + Track::Sound.ticks(WAVER_US);
        let sample =
            Sample { start, duration: if gap { full } else { until_next }, key: true, data: unit.data };
        runs.last_mut().into_iter().for_each(|run| run.push(sample.clone()));
        if gap {
            runs.push(Vec::new());
        }
    }
    runs.retain(|run| !run.is_empty());
    runs
}

/// Duration of an Opus packet (RFC 6716, 3.1 and 3.2); `None` for an invalid packet.
pub(crate) fn opus_duration_us(packet: &[u8]) -> Option<i64> {
    let toc = packet.first()?;
    let frame_us = match toc >> 3 {
        config @ 0..12 => [10_000, 20_000, 40_000, 60_000][usize::from(config % 4)],
        config @ 12..16 => [10_000, 20_000][usize::from(config % 2)],
        config => [2_500, 5_000, 10_000, 20_000][usize::from(config % 4)],
    };
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => i64::from(packet.get(1)? & 0x3f),
    };
    let duration_us = frame_us * frames;
    (1..=120_000).contains(&duration_us).then_some(duration_us)
}

#[cfg(test)]
mod tests {
    use std::io::{Error, ErrorKind};
    use std::sync::{Arc, Mutex};

    use shiguredo_mp4::{BoxHeader, Decode};

    use super::*;

    /// A disk that becomes full in the middle of a write.
    struct SmallDisk {
        bytes: Arc<Mutex<Vec<u8>>>,
        room: usize,
    }

    impl Write for SmallDisk {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let mut file = self.bytes.lock().unwrap();
            let taken = bytes.len().min(self.room - file.len());
            file.extend_from_slice(&bytes[..taken]);
            if taken == 0 { Err(Error::from(ErrorKind::StorageFull)) } else { Ok(taken) }
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl Target for SmallDisk {
        fn cut_back(&mut self, len: u64) -> std::io::Result<()> {
            self.bytes.lock().unwrap().truncate(len as usize);
            Ok(())
        }

        fn overwrite(&mut self, at: u64, bytes: &[u8]) -> std::io::Result<()> {
            let behind = self.bytes.lock().unwrap().split_off(at as usize);
            let written = self.write_all(bytes);
            let behind = behind.get(bytes.len()..).unwrap_or_default();
            self.bytes.lock().unwrap().extend(behind);
            written
        }
    }

    #[test]
    fn on_a_full_disk_the_file_ends_with_a_whole_fragment() {
        for room in [3_000, 5_001, 7_777] {
            let bytes = Arc::new(Mutex::new(Vec::new()));
            let mut recorder =
                Recorder::new("small".to_owned(), Box::new(SmallDisk { bytes: bytes.clone(), room }));
            let error = (0..2_000).find_map(|number| recorder.push(&packet(number, TOC_20_MS)).err());
            assert!(matches!(error, Some(RecordError::Io { .. })), "{error:?}");
            assert!(matches!(recorder.push(&packet(2_000, TOC_20_MS)), Err(RecordError::Ended)));
            let file = bytes.lock().unwrap();
            let mut at = 0;
            while at < file.len() {
                at += BoxHeader::decode(&file[at..]).unwrap().0.box_size.get() as usize;
            }
            assert!(at == file.len() && at < room, "{at} of {}", file.len());
        }
    }

    #[test]
    fn short_packets_without_pictures_are_not_held_for_ever() {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let disk = SmallDisk { bytes: bytes.clone(), room: 1 << 20 };
        let mut recorder = Recorder::new("small".to_owned(), Box::new(disk));
        for number in 1..=HELD_SOUND_MAX as u32 {
            assert!(bytes.lock().unwrap().is_empty(), "packet {number}");
            recorder.push(&packet(number, TOC_2_5_MS)).unwrap();
        }
        assert!(!bytes.lock().unwrap().is_empty());
    }

    #[test]
    fn the_duration_of_opus_is_told_by_its_first_bytes() {
        let rows: [(&[u8], Option<i64>); 9] = [
            (&[0x78], Some(20_000)),
            (&[0xfc], Some(20_000)),
            (&[0x79, 1], Some(40_000)),
            (&[0x18], Some(60_000)),
            (&[0x1b, 2], Some(120_000)),
            (&[0x1b, 3], None),
            (&[0x83, 1], Some(2_500)),
            (&[0x83], None),
            (&[], None),
        ];
        for (packet, duration_us) in rows {
            assert_eq!(opus_duration_us(packet), duration_us, "{packet:x?}");
        }
    }

    /// Table-of-contents byte of fullband CELT with one frame.
    const TOC_20_MS: u8 = 31 << 3;
    const TOC_2_5_MS: u8 = 28 << 3;

    fn packet(number: u32, toc: u8) -> Frame {
        let duration_us = opus_duration_us(&[toc]).unwrap() as u64;
        let captured_us = 7_000_000 + u64::from(number) * duration_us;
        let stream = StreamId([1; 8]);
        let identity = FrameIdentity::single(stream, number, captured_us);
        Frame { kind: MediaKind::Sound, identity, data: vec![toc; 20].into(), level: None }
    }
}
