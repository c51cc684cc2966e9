//! MP4 index: offsets and times of the packets in a file's first video and first sound track.

use std::io::{Read, Seek, SeekFrom};
use std::ops::ControlFlow;

use shiguredo_mp4::aux::SampleTableAccessor;
use shiguredo_mp4::boxes::{HdlrBox, MoofBox, MoovBox, SampleEntry, TrakBox};
use shiguredo_mp4::{BoxHeader, BoxType, Decode};

use super::{SOUND_WANTED, damaged};
use crate::record::notes::{NOTE_HEADER_LEN, NOTE_LEN_MAX, NOTE_UUID};
use crate::source::SourceFault;

/// Largest header read, in bytes: enough for days of video.
const HEADER_LEN_MAX: u64 = 256 << 20;
/// Maximum packets of one track: about nine hours at 60 per second.
const PACKETS_MAX: usize = 2_000_000;
/// Largest packet in bytes: an uncompressed picture of the largest size.
const PACKET_LEN_MAX: u32 = 100 << 20;
/// Limit of times in microseconds, about 115 days; times beyond it are clamped as invalid.
const TIME_US_MAX: i64 = 10_000_000_000_000;
/// Maximum boxes at the top level, fragments included.
const BOXES_MAX: usize = 1_000_000;

/// Position and presentation time of a packet.
#[derive(Clone, Copy)]
pub(super) struct Packet {
    pub(super) offset: u64,
    pub(super) len: u32,
    /// Presentation time; a packet with a negative time is decoded but not shown.
    pub(super) at_us: i64,
    pub(super) key: bool,
}

/// One track, with its packets in decoding order.
pub(super) struct Track {
    pub(super) entry: SampleEntry,
    /// Clockwise quarter turns to apply to the pictures.
    pub(super) turns: u8,
    pub(super) packets: Vec<Packet>,
    /// End of the last packet.
    pub(super) end_us: u64,
    /// Not all packets are here, though the file isn't only cut off.
    has_unread: bool,
}

/// The tracks that contain packets.
pub(super) struct Movie {
    /// Whether the header declares a video track.
    pub(super) has_video: bool,
    pub(super) video: Option<Track>,
    pub(super) sound: Option<Track>,
    /// Something else was left out than a cut-off end.
    pub(super) has_unread: bool,
}

/// Reads the header, and the fragments of a fragmented file.
pub(super) fn read(file: &mut (impl Read + Seek)) -> Result<Movie, SourceFault> {
    let Headers { moov, moofs, all_read } = read_boxes(file)?;
    let file_len = file.seek(SeekFrom::End(0))?;
    let track = |handler| {
        let tracks =
            || moov.trak_boxes.iter().filter(|track| track.mdia_box.hdlr_box.handler_type == handler);
        let enabled = tracks().find(|track| track.tkhd_box.flag_track_enabled);
        let Some(track) = enabled.or_else(|| tracks().next()) else { return Ok(None) };
        let fragments = fragment_samples(&moov, &moofs, track.tkhd_box.track_id);
        build(track, moov.mvhd_box.timescale.get(), file_len, &fragments)
    };
    let is_video = |track: &TrakBox| track.mdia_box.hdlr_box.handler_type == HdlrBox::HANDLER_TYPE_VIDE;
    let (video, sound) = (track(HdlrBox::HANDLER_TYPE_VIDE)?, track(HdlrBox::HANDLER_TYPE_SOUN)?);
    let tracks = || [&video, &sound].into_iter().flatten();
    let has_unread =
        !all_read || tracks().count() < moov.trak_boxes.len() || tracks().any(|track| track.has_unread);
    Ok(Movie { has_video: moov.trak_boxes.iter().any(is_video), video, sound, has_unread })
}

/// The headers of a file.
struct Headers {
    /// Of the whole file; it may come last.
    moov: MoovBox,
    /// Of the fragments, with their offsets.
    moofs: Vec<(u64, MoofBox)>,
    /// Whether the header lists all samples, truncated ones left out.
    all_read: bool,
}

fn read_boxes(file: &mut (impl Read + Seek)) -> Result<Headers, SourceFault> {
    let (mut moov, mut moofs, mut all_read) = (None, Vec::new(), true);
    let file_len = file.seek(SeekFrom::End(0))?;
    let to_the_end = each_box(file, |file, header, at, len| {
        if header.box_type == MoovBox::TYPE {
            all_read &= moov.is_none();
            moov = Some(read_box::<MoovBox>(file, at, len)?);
        } else if header.box_type == MoofBox::TYPE {
            match read_box(file, at, len) {
                Ok(moof) => moofs.push((at, moof)),
                Err(_) => {
                    all_read &= at.saturating_add(len) > file_len; // truncated at the end of the file
                    return Ok(ControlFlow::Break(()));
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    })?;
    let moov = moov.ok_or_else(|| damaged("no header (moov): cut off, or never finished"))?;
    Ok(Headers { moov, moofs, all_read: all_read && to_the_end })
}

/// Returns the notes of a recording, up to a limit of 256 MiB in all. Longer single notes than a recorder writes are
/// skipped.
pub(super) fn notes(file: &mut (impl Read + Seek)) -> Result<Vec<Vec<u8>>, SourceFault> {
    let (mut notes, mut bytes) = (Vec::new(), 0);
    each_box(file, |file, header, at, len| {
        if header.box_type == BoxType::Uuid(NOTE_UUID) && len <= NOTE_LEN_MAX as u64 {
            bytes += len;
            if bytes > HEADER_LEN_MAX {
                return Ok(ControlFlow::Break(()));
            }
            notes.push(read_at(file, at, len)?.split_off(NOTE_HEADER_LEN));
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(notes)
}

/// Calls a function for each box at the top level, with header, offset and length, until it breaks or the file ends.
/// Returns whether there was no other reason to end.
fn each_box<F: Read + Seek>(
    file: &mut F,
    mut each: impl FnMut(&mut F, &BoxHeader, u64, u64) -> Result<ControlFlow<()>, SourceFault>,
) -> Result<bool, SourceFault> {
    let file_len = file.seek(SeekFrom::End(0))?;
    let mut at = 0;
    for _ in 0..BOXES_MAX {
        let Ok((header, header_len)) = BoxHeader::decode(&read_at(file, at, BoxHeader::MAX_SIZE as u64)?)
        else {
            return Ok(file_len.saturating_sub(at) < BoxHeader::MAX_SIZE as u64);
        };
        let len = match header.box_size.get() {
            0 => file_len.saturating_sub(at),
            len if len < header_len as u64 => return Ok(false),
            len => len,
        };
        if each(file, &header, at, len)?.is_break() {
            return Ok(true);
        }
        at = at.saturating_add(len);
        if at >= file_len {
            return Ok(true);
        }
    }
    Ok(false)
}

fn read_box<B: Decode>(file: &mut (impl Read + Seek), at: u64, len: u64) -> Result<B, SourceFault> {
    if len > HEADER_LEN_MAX {
        return Err(damaged(format!("a header of {len} bytes")));
    }
    let bytes = read_at(file, at, len)?;
    if (bytes.len() as u64) < len {
        return Err(damaged("cut off in its header (moov)"));
    }
    match B::decode(&bytes) {
        Ok((decoded, _)) => Ok(decoded),
        // the only format that the container crate can't parse at all
        Err(_) if opus_channels(&bytes).is_some_and(|channels| channels > 2) => {
            Err(SourceFault::Unsupported {
                found: "Opus of more than 2 channels".to_owned(),
                wanted: SOUND_WANTED,
            })
        }
        Err(error) if error.reason.is_empty() => Err(damaged(format!("its header ({:?})", error.kind))),
        Err(error) => Err(damaged(format!("its header ({})", error.reason))),
    }
}

/// Returns the number of channels in the description of Opus (`dOps`: version, channels, …) in these boxes.
fn opus_channels(boxes: &[u8]) -> Option<u8> {
    let at = boxes.windows(4).position(|name| name == b"dOps")?;
    boxes.get(at + 5).copied()
}

/// Reads `len` bytes, or fewer at the end of the file.
fn read_at(file: &mut (impl Read + Seek), at: u64, len: u64) -> Result<Vec<u8>, SourceFault> {
    file.seek(SeekFrom::Start(at))?;
    let mut bytes = Vec::new();
    file.take(len).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A sample from a sample table or a fragment, with times in ticks of its track.
struct RawSample {
    offset: u64,
    len: u32,
    decoded_at: u64,
    duration: u32,
    shown_later: i64,
    key: bool,
}

/// Collects a track's samples from all fragments, in order. Fields that a sample lacks come from its
/// fragment's defaults, and fields that the fragment lacks from the header's defaults.
fn fragment_samples(moov: &MoovBox, moofs: &[(u64, MoofBox)], track_id: u32) -> Vec<RawSample> {
    let mut extends = moov.mvex_box.iter().flat_map(|mvex| &mvex.trex_boxes);
    let trex = extends.find(|trex| trex.track_id == track_id);
    let trafs =
        moofs.iter().flat_map(|(moof_at, moof)| moof.traf_boxes.iter().map(move |traf| (*moof_at, traf)));
    let mut samples: Vec<RawSample> = Vec::new();
    let mut decoded_at = 0;
    for (moof_at, traf) in trafs.filter(|(_, traf)| traf.tfhd_box.track_id == track_id) {
        let head = &traf.tfhd_box;
        let usual_len = head.default_sample_size.or(trex.map(|trex| trex.default_sample_size));
        let usual_duration = head.default_sample_duration.or(trex.map(|trex| trex.default_sample_duration));
        let usual_flags = head.default_sample_flags.or(trex.map(|trex| trex.default_sample_flags));
        decoded_at = traf.tfdt_box.as_ref().map_or(decoded_at, |tfdt| tfdt.base_media_decode_time);
        let base = head.base_data_offset.unwrap_or(moof_at);
        let mut offset = base;
        for run in &traf.trun_boxes {
            offset = run.data_offset.map_or(offset, |at| base.saturating_add_signed(at.into()));
            let room = PACKETS_MAX - samples.len();
            for (index, sample) in run.samples.iter().take(room).enumerate() {
                let first_flags = run.first_sample_flags.filter(|_| index == 0);
                let flags = sample.flags.or(first_flags).or(usual_flags);
                let len = sample.size.or(usual_len).unwrap_or(0);
                let duration = sample.duration.or(usual_duration).unwrap_or(0);
                samples.push(RawSample {
                    offset,
                    len,
                    decoded_at,
                    duration,
                    shown_later: sample.composition_time_offset.unwrap_or(0),
                    key: !flags.is_some_and(|flags| flags.sample_is_non_sync_sample()),
                });
                offset = offset.saturating_add(len.into());
                decoded_at = decoded_at.saturating_add(duration.into());
            }
        }
    }
    samples
}

/// Returns whether a sample isn't whole in the file.
fn is_missing(sample: &RawSample, file_len: u64) -> bool {
    sample.len > PACKET_LEN_MAX || sample.offset.saturating_add(sample.len.into()) > file_len
}

/// Builds a track from its header and its fragments' samples; `None` when it contains no complete packet.
fn build(
    track: &TrakBox,
    movie_scale: u32,
    file_len: u64,
    fragments: &[RawSample],
) -> Result<Option<Track>, SourceFault> {
    let table = &track.mdia_box.minf_box.stbl_box;
    let Some(entry) = table.stsd_box.entries.first() else { return Ok(None) };
    let formats = table.stsd_box.entries.len();
    if formats > 1 {
        tracing::warn!("MP4: a track changes its format; only the first is played");
    }
    let scale = track.mdia_box.mdhd_box.timescale.get();
    let table = SampleTableAccessor::new(table).map_err(damaged)?;
    let whole = table.samples().take(PACKETS_MAX).filter(|sample| sample.chunk().sample_entry_index() == 0);
    let whole = whole.map(|sample| RawSample {
        offset: sample.data_offset(),
        len: sample.data_size(),
        decoded_at: sample.timestamp(),
        duration: sample.duration(),
        shown_later: sample.composition_time_offset().unwrap_or(0),
        key: sample.is_sync_sample(),
    });
    let mut builder =
        Builder { scale, begin_us: begin_us(track, movie_scale), packets: Vec::new(), end_us: 0 };
    let cut_off = |sample: &RawSample| {
        let missing = is_missing(sample, file_len);
        if missing {
            tracing::warn!("MP4: cut off; what is missing is left out");
        }
        missing
    };
    let count = table.samples().count() + fragments.len();
    whole.take_while(|sample| !cut_off(sample)).for_each(|sample| builder.push(&sample));
    fragments.iter().take_while(|sample| !cut_off(sample)).for_each(|sample| builder.push(sample));
    if builder.packets.is_empty() {
        return Ok(None);
    }
    let (packets, end_us) = (builder.packets, builder.end_us);
    // of a file that is cut off the last packets are missing, all of them
    let missing = fragments.iter().rev().take_while(|sample| is_missing(sample, file_len)).count();
    let has_unread = formats > 1 || fragments.len() >= PACKETS_MAX || packets.len() + missing < count;
    let (entry, turns) = (entry.clone(), turns(&track.tkhd_box.matrix));
    Ok(Some(Track { entry, turns, packets, end_us, has_unread }))
}

struct Builder {
    scale: u32,
    begin_us: i64,
    packets: Vec<Packet>,
    end_us: u64,
}

impl Builder {
    fn push(&mut self, sample: &RawSample) {
        let us = |ticks: i128| {
            let us = ticks * 1_000_000 / i128::from(self.scale) + i128::from(self.begin_us);
            us.clamp(i128::from(-TIME_US_MAX), i128::from(TIME_US_MAX)) as i64
        };
        let shown_at = i128::from(sample.decoded_at) + i128::from(sample.shown_later);
        let end_us = us(shown_at + i128::from(sample.duration));
        self.end_us = self.end_us.max(u64::try_from(end_us).unwrap_or(0));
        self.packets.push(Packet {
            offset: sample.offset,
            len: sample.len,
            at_us: us(shown_at),
            key: sample.key,
        });
    }
}

/// Offset that the edit list adds to all times: empty edits delay the track, and the first real edit may
/// start within the media (encoders declare their delay in this way).
fn begin_us(track: &TrakBox, movie_scale: u32) -> i64 {
    let edits = track.edts_box.as_ref().and_then(|edits| edits.elst_box.as_ref());
    let edits = edits.map_or(&[][..], |list| &list.entries);
    let us = |ticks: i64, scale: u32| {
        let us = i128::from(ticks) * 1_000_000 / i128::from(scale.max(1));
        i64::try_from(us).unwrap_or(0)
    };
    let empty = edits.iter().take_while(|edit| edit.media_time < 0);
    let delay = empty.fold(0i64, |sum, edit| sum.saturating_add_unsigned(edit.edit_duration));
    let skipped = edits.iter().find(|edit| edit.media_time >= 0).map_or(0, |edit| edit.media_time);
    us(delay, movie_scale).saturating_sub(us(skipped, track.mdia_box.mdhd_box.timescale.get()))
}

/// Quarter turns in a track's matrix: phones record video rotated.
fn turns(matrix: &[i32; 9]) -> u8 {
    match (matrix[0].signum(), matrix[1].signum(), matrix[3].signum(), matrix[4].signum()) {
        (0, 1, -1, 0) => 1,
        (-1, 0, 0, -1) => 2,
        (0, -1, 1, 0) => 3,
        _ => 0,
    }
}

/// Four-character code of an unsupported sample entry.
pub(super) fn name(entry: &SampleEntry) -> String {
    let kind = match entry {
        SampleEntry::Unknown(unknown) => match unknown.box_type {
            BoxType::Normal(kind) => kind,
            BoxType::Uuid(_) => *b"uuid",
        },
        SampleEntry::Hev1(_) => *b"hev1",
        SampleEntry::Hvc1(_) => *b"hvc1",
        SampleEntry::Vp08(_) => *b"vp08",
        SampleEntry::Vp09(_) => *b"vp09",
        SampleEntry::Av01(_) => *b"av01",
        SampleEntry::Flac(_) => *b"fLaC",
        _ => *b"????",
    };
    String::from_utf8_lossy(&kind).into_owned()
}
