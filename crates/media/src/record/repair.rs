//! Repair of a recording that was not finished: after a crash its last fragment may be torn, and it has neither index
//! nor lengths.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::time::Duration;

use shiguredo_mp4::boxes::{FtypBox, HdlrBox, MfraBox, MoofBox, MoovBox, SampleEntry, TrakBox};
use shiguredo_mp4::{BoxHeader, BoxType, Decode};

use super::index::Index;
use super::notes::{NOTE_HEADER_LEN, NOTE_LEN_MAX, NOTE_UUID};
use super::{Output, Target as _};

/// Maximum bytes of `ftyp` and `moov`. Those of a recorder are under 1 KiB, and 64 KiB for each parameter set.
const HEADER_LEN_MAX: u64 = 1 << 20;
/// Maximum bytes of `moof`: 80,000 frames.
const MOOF_LEN_MAX: u64 = 1 << 20;
/// Maximum bytes that are cut off. A recorder writes up to 8 MiB, a frame and 1 MiB of notes at once; after a power
/// failure some such writes may be lost. A guess.
const TORN_LEN_MAX: u64 = 64 << 20;
/// Bytes of the last box of a finished recording: `mfro`.
const LAST_LEN: usize = 16;

/// What a repair has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Repaired {
    /// Duration of what the file holds.
    pub duration: Duration,
    /// Bytes of a torn end that were cut off.
    pub cut_len: u64,
    /// Whether index or lengths were written, since the file lacked them or had wrong ones. A whole file is left
    /// unchanged.
    pub has_changed: bool,
}

/// Reason why a file was not repaired. It is unchanged then, except after an error of a write.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RepairError {
    /// The file can't be read or written.
    #[error("{path}: {error}")]
    Io {
        /// The path as the caller gave it.
        path: String,
        /// Error of the operating system.
        #[source]
        error: std::io::Error,
    },
    /// A recorder writes the file at present.
    #[error("{path}: it is being recorded")]
    InUse {
        /// The path as the caller gave it.
        path: String,
    },
    /// The file is no recording of [`Recorder`](crate::Recorder), or damaged elsewhere than at its end.
    #[error("{path}: {why}")]
    Refused {
        /// The path as the caller gave it.
        path: String,
        /// What was found.
        why: String,
    },
}

/// Why a file isn't repaired, without its name.
enum Fault {
    Io(std::io::Error),
    InUse,
    Refused(String),
}

impl From<std::io::Error> for Fault {
    fn from(error: std::io::Error) -> Fault {
        Fault::Io(error)
    }
}

fn refused<T>(why: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::Refused(why.into()))
}

/// Repairs a recording in place: cuts off a torn last fragment, and writes index and lengths. Whole fragments aren't
/// touched. A crash on the way harms nothing: each step leaves a file that plays and can be repaired. Takes at most
/// some MiB of memory.
///
/// # Errors
/// [`RepairError`].
pub fn repair_recording(path: &Path) -> Result<Repaired, RepairError> {
    let name = || path.display().to_string();
    repair(path).map_err(|fault| match fault {
        Fault::Io(error) => RepairError::Io { path: name(), error },
        Fault::InUse => RepairError::InUse { path: name() },
        Fault::Refused(why) => RepairError::Refused { path: name(), why },
    })
}

/// Returns whether a file ends as a finished recording does, which takes one read.
///
/// # Errors
/// If the file can't be read.
pub fn is_finished_recording(path: &Path) -> std::io::Result<bool> {
    let mut file = File::open(path)?;
    let len = file.seek(SeekFrom::End(0))?;
    let last = read_at(&mut file, len.saturating_sub(LAST_LEN as u64), LAST_LEN as u64)?;
    Ok(last.starts_with(b"\0\0\0\x10mfro"))
}

fn repair(path: &Path) -> Result<Repaired, Fault> {
    // a pipe would block, and a device has no end
    if !std::fs::metadata(path)?.is_file() {
        return refused("it is no regular file");
    }
    let file = File::options().read(true).write(true).open(path)?;
    let Some(mut output) = Output::lock(file) else { return Err(Fault::InUse) };
    let found = Survey::of(&mut output.0)?;
    let duration = Duration::from_micros(found.index.duration_us());
    let cut_len = if found.is_torn { found.len - found.end } else { 0 };
    if found.is_whole(&mut output.0)? {
        return Ok(Repaired { duration, cut_len, has_changed: false });
    }
    output.cut_back(found.end)?;
    found.index.write(found.end, &mut output)?;
    output.0.sync_data()?;
    Ok(Repaired { duration, cut_len, has_changed: true })
}

/// What was found in a file.
struct Survey {
    index: Index,
    header: Vec<u8>,
    len: u64,
    /// End of the last whole fragment, or of the notes behind it.
    end: u64,
    /// Whether a torn end follows, otherwise an index or nothing.
    is_torn: bool,
}

/// Box at the top level.
enum Found {
    /// Fragment, with its end.
    Fragment(Box<MoofBox>, u64),
    /// Note, with its end.
    Note(u64),
    /// Index, which ends with the file.
    Index,
    /// Box that isn't whole.
    Torn,
}

impl Survey {
    /// Reads the headers of a recording.
    fn of(file: &mut File) -> Result<Survey, Fault> {
        let len = file.seek(SeekFrom::End(0))?;
        let header = header(file, len)?;
        let Ok(mut index) = Index::new(&header) else { return refused("its header can't be read") };
        let mut end = header.len() as u64;
        let mut is_torn = false;
        while end < len {
            match next_box(file, end, len)? {
                Found::Fragment(moof, behind) => {
                    index.add(end, &moof);
                    end = behind;
                }
                Found::Note(behind) => end = behind,
                Found::Index => break,
                Found::Torn => {
                    is_torn = true;
                    break;
                }
            }
        }
        if is_torn {
            check_torn(file, end, len)?;
        }
        Ok(Survey { index, header, len, end, is_torn })
    }

    /// Returns whether index and lengths are there and right.
    fn is_whole(&self, file: &mut File) -> Result<bool, Fault> {
        let Ok(index) = self.index.to_bytes() else { return refused("its index can't be written") };
        let has_lengths =
            self.index.lengths().iter().all(|(at, length)| self.header[*at..].starts_with(length));
        let has_index = self.len - self.end == index.len() as u64
            && read_at(file, self.end, index.len() as u64)? == index;
        Ok(has_lengths && has_index)
    }
}

/// Reads and checks the boxes in front of the first fragment.
fn header(file: &mut File, len: u64) -> Result<Vec<u8>, Fault> {
    let bytes = read_at(file, 0, len.min(HEADER_LEN_MAX))?;
    let (mut at, mut moov_at) = (0, 0);
    for kind in [FtypBox::TYPE, MoovBox::TYPE] {
        let Ok((found, _)) = BoxHeader::decode(&bytes[at..]) else {
            return refused(match bytes.len() {
                0 => "it is empty",
                _ => "it is no recording of plenary, or cut off in its header",
            });
        };
        let box_len = found.box_size.get();
        if found.box_type != kind || box_len > HEADER_LEN_MAX {
            return refused("it is no recording of plenary");
        }
        moov_at = at;
        at += box_len.max(8) as usize;
        if at > bytes.len() {
            return refused("it is cut off in its header: nothing of it can be played");
        }
    }
    let Some(Ok((moov, _))) = bytes.get(moov_at..at).map(MoovBox::decode) else {
        return refused("its header can't be read");
    };
    if !is_of_a_recorder(&moov) {
        return refused("its header is not that of a recording of plenary");
    }
    Ok(bytes[..at].to_vec())
}

/// Whether a header declares what a recorder does: fragments of Opus, and perhaps of H.264, and nothing else.
fn is_of_a_recorder(moov: &MoovBox) -> bool {
    let is_of = |track: &TrakBox| {
        let media = &track.mdia_box;
        let table = &media.minf_box.stbl_box;
        let is_usual = matches!(
            (media.hdlr_box.handler_type, &table.stsd_box.entries[..]),
            (HdlrBox::HANDLER_TYPE_VIDE, [SampleEntry::Avc1(_)])
                | (HdlrBox::HANDLER_TYPE_SOUN, [SampleEntry::Opus(_)])
        );
        is_usual
            && table.stts_box.entries.is_empty()
            && track.edts_box.is_none()
            && track.unknown_boxes.is_empty()
    };
    let sounds = moov
        .trak_boxes
        .iter()
        .filter(|track| track.mdia_box.hdlr_box.handler_type == HdlrBox::HANDLER_TYPE_SOUN);
    sounds.count() == 1
        && moov.trak_boxes.len() <= 2
        && moov.trak_boxes.iter().all(is_of)
        && moov.mvex_box.is_some()
        && moov.unknown_boxes.is_empty()
}

/// Reads what begins at this offset, behind the header.
fn next_box(file: &mut File, at: u64, len: u64) -> Result<Found, Fault> {
    let head = read_at(file, at, BoxHeader::MAX_SIZE as u64)?;
    let Ok((found, _)) = BoxHeader::decode(&head) else { return Ok(Found::Torn) };
    let end = at.saturating_add(found.box_size.get());
    let is_whole = end > at && end <= len;
    match found.box_type {
        MoofBox::TYPE if is_whole => fragment(file, at, end, len),
        BoxType::Uuid(NOTE_UUID) if is_whole => match end - at {
            note_len if note_len <= (NOTE_HEADER_LEN + NOTE_LEN_MAX) as u64 => Ok(Found::Note(end)),
            _ => refused("it holds a longer note than a recorder writes"),
        },
        MfraBox::TYPE if end == len => Ok(Found::Index),
        MfraBox::TYPE if is_whole => refused("something follows its index"),
        MoofBox::TYPE | MfraBox::TYPE | BoxType::Uuid(NOTE_UUID) => Ok(Found::Torn),
        BoxType::Normal(kind) if kind.iter().all(|byte| (b' '..=b'~').contains(byte)) && is_whole => {
            let kind = String::from_utf8_lossy(&kind);
            refused(format!("it holds a box {kind:?} at byte {at}, which no recording of plenary has"))
        }
        _ => Ok(Found::Torn),
    }
}

/// Reads a fragment: `moof` in this range, and `mdat` behind it.
fn fragment(file: &mut File, at: u64, moof_end: u64, len: u64) -> Result<Found, Fault> {
    if moof_end - at > MOOF_LEN_MAX {
        return Ok(Found::Torn);
    }
    let Ok((moof, _)) = MoofBox::decode(&read_at(file, at, moof_end - at)?) else { return Ok(Found::Torn) };
    let head = read_at(file, moof_end, BoxHeader::MAX_SIZE as u64)?;
    let Ok((mdat, header_len)) = BoxHeader::decode(&head) else { return Ok(Found::Torn) };
    let end = moof_end.saturating_add(mdat.box_size.get());
    let frames_at = moof_end + header_len as u64;
    if mdat.box_type != BoxType::Normal(*b"mdat") || end < frames_at || end > len {
        return Ok(Found::Torn);
    }
    let runs = moof.traf_boxes.iter().flat_map(|traf| &traf.trun_boxes);
    let frames = runs.flat_map(|run| &run.samples).map(|sample| u64::from(sample.size.unwrap_or(0)));
    if frames.sum::<u64>() != end - frames_at {
        return Ok(Found::Torn);
    }
    Ok(Found::Fragment(Box::new(moof), end))
}

/// Checks that what isn't whole from this offset on is the file's end, and no damage in its middle.
fn check_torn(file: &mut File, at: u64, len: u64) -> Result<(), Fault> {
    const STEP: u64 = 1 << 20;
    const NEEDLE_LEN: usize = 16;
    if len - at > TORN_LEN_MAX {
        return refused(format!("it is damaged at byte {at}, and {} bytes follow", len - at));
    }
    let begins_fragment = |bytes: &[u8]| bytes[4..8] == *b"moof" && bytes[12..] == *b"mfhd";
    let mut from = at + 1;
    while from < len {
        let bytes = read_at(file, from, STEP + NEEDLE_LEN as u64)?;
        if let Some(found) = bytes.windows(NEEDLE_LEN).position(begins_fragment) {
            let next = from + found as u64;
            return refused(format!("it is damaged at byte {at}, and goes on at byte {next}"));
        }
        from += STEP;
    }
    Ok(())
}

/// Reads `len` bytes, or fewer at the end of the file.
fn read_at(file: &mut File, at: u64, len: u64) -> std::io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(at))?;
    let mut bytes = Vec::new();
    file.take(len).read_to_end(&mut bytes)?;
    Ok(bytes)
}
