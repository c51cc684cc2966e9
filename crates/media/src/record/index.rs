//! Index and lengths of a recording: without them players show no length, and some don't seek.
//!
//! The index (`mfra`, ISO/IEC 14496-12, 8.8.9 to 8.8.11) stands at the end of the file and is written last. The fields
//! for lengths stand in the header from the start, with 0 in them, which means that the length isn't known.

use std::ops::Range;

use shiguredo_mp4::boxes::{MfraBox, MfroBox, MoofBox, MoovBox, TfraBox, TfraEntry, TrunSample};
use shiguredo_mp4::{BoxHeader, Decode, Encode, Error};

use super::Target;

/// Maximum places in the index of one track: nine hours of fragments. Of a longer recording it names each second
/// fragment, and so on. A guess.
const POINTS_MAX: usize = 1 << 16;

/// Lengths of the tracks, and places where a player can begin.
pub(super) struct Index {
    movie_timescale: u32,
    tracks: Vec<Track>,
    fields: Vec<Field>,
}

struct Track {
    id: u32,
    timescale: u32,
    /// End of the last sample, in ticks.
    end: u64,
    points: Vec<TfraEntry>,
    /// Number of fragments that begin with a keyframe; the index lists each `step`-th of them.
    seen: u64,
    step: u64,
}

/// Field of the header for a length.
struct Field {
    /// Offset in the file.
    at: usize,
    /// Whether it has 8 bytes, otherwise 4.
    is_wide: bool,
    length: Length,
}

#[derive(Clone, Copy)]
enum Length {
    /// Of the longest track, in the movie's timescale.
    Movie,
    /// Of the track with this position in the header, in the movie's timescale.
    Track(usize),
    /// The same in the track's own timescale.
    Media(usize),
}

impl Index {
    /// Index of a file that begins with these boxes, `ftyp` and `moov`, and has no fragments yet.
    ///
    /// # Errors
    /// If the boxes can't be read.
    pub(super) fn new(header: &[u8]) -> Result<Index, Error> {
        let moov_at = end_of_first(header);
        let (moov, _) = MoovBox::decode(&header[moov_at..])?;
        let tracks = moov.trak_boxes.iter().map(|track| Track {
            id: track.tkhd_box.track_id,
            timescale: track.mdia_box.mdhd_box.timescale.get(),
            end: 0,
            points: Vec::new(),
            seen: 0,
            step: 1,
        });
        let mut fields = Vec::new();
        find_fields(header, moov_at..header.len(), b"file", &mut 0, &mut fields);
        Ok(Index { movie_timescale: moov.mvhd_box.timescale.get(), tracks: tracks.collect(), fields })
    }

    /// Takes the next fragment, at this offset in the file.
    pub(super) fn add(&mut self, moof_at: u64, moof: &MoofBox) {
        for (traf_number, traf) in (1..).zip(&moof.traf_boxes) {
            let id = traf.tfhd_box.track_id;
            let Some(track) = self.tracks.iter_mut().find(|track| track.id == id) else { continue };
            let mut time = traf.tfdt_box.as_ref().map_or(track.end, |tfdt| tfdt.base_media_decode_time);
            let mut point = None;
            for (trun_number, run) in (1..).zip(&traf.trun_boxes) {
                for (sample_number, sample) in (1..).zip(&run.samples) {
                    if point.is_none() && is_key(sample) {
                        point = Some(TfraEntry {
                            time,
                            moof_offset: moof_at,
                            traf_number,
                            trun_number,
                            sample_number,
                        });
                    }
                    time = time.saturating_add(sample.duration.unwrap_or(0).into());
                }
            }
            track.end = track.end.max(time);
            point.into_iter().for_each(|point| track.take(point));
        }
    }

    /// Duration of the longest track in microseconds.
    pub(super) fn duration_us(&self) -> u64 {
        self.tracks.iter().map(|track| rescaled(track.end, track.timescale, 1_000_000)).max().unwrap_or(0)
    }

    /// Returns the index as a box; no bytes without keyframes.
    ///
    /// # Errors
    /// If it can't be encoded.
    pub(super) fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        if self.tracks.iter().all(|track| track.points.is_empty()) {
            return Ok(Vec::new());
        }
        let tfra_boxes = self.tracks.iter().map(|track| TfraBox {
            version: 1, // of 64 bits
            track_id: track.id,
            length_size_of_traf_num: 0,
            length_size_of_trun_num: 0,
            length_size_of_sample_num: 3,
            entries: track.points.clone(),
        });
        let mut mfra = MfraBox { tfra_boxes: tfra_boxes.collect(), mfro_box: MfroBox { size: 0 } };
        mfra.mfro_box.size = mfra.encode_to_vec()?.len() as u32;
        mfra.encode_to_vec()
    }

    /// Returns the fields for lengths with their offsets in the file. What a field can't hold remains unknown.
    pub(super) fn lengths(&self) -> Vec<(usize, Vec<u8>)> {
        let in_movie = |track: &Track| rescaled(track.end, track.timescale, self.movie_timescale);
        let value = |length| match length {
            Length::Movie => self.tracks.iter().map(in_movie).max(),
            Length::Track(at) => self.tracks.get(at).map(in_movie),
            Length::Media(at) => self.tracks.get(at).map(|track| track.end),
        };
        let bytes = |field: &Field| {
            let value = value(field.length).unwrap_or(0);
            match field.is_wide {
                true => value.to_be_bytes().to_vec(),
                false => u32::try_from(value).unwrap_or(0).to_be_bytes().to_vec(),
            }
        };
        self.fields.iter().map(|field| (field.at, bytes(field))).collect()
    }

    /// Writes the index behind the last fragment, which ends at this offset, and the lengths into the header. Each step
    /// leaves a file that plays. Without space for the index the lengths are written all the same.
    ///
    /// # Errors
    /// The first one of a write.
    pub(super) fn write(&self, end: u64, file: &mut dyn Target) -> std::io::Result<()> {
        let index = self.to_bytes().map_err(std::io::Error::other)?;
        let indexed = file.overwrite(end, &index).inspect_err(|_| {
            // if that fails too, the file has a torn end, which players tolerate
            let _ = file.cut_back(end);
        });
        for (at, length) in self.lengths() {
            file.overwrite(at as u64, &length)?;
        }
        indexed
    }
}

impl Track {
    fn take(&mut self, point: TfraEntry) {
        if self.points.len() == POINTS_MAX {
            let mut is_odd = true;
            self.points.retain(|_| {
                is_odd = !is_odd;
                !is_odd
            });
            self.step *= 2;
        }
        if self.seen.is_multiple_of(self.step) {
            self.points.push(point);
        }
        self.seen += 1;
    }
}

fn is_key(sample: &TrunSample) -> bool {
    sample.flags.is_some_and(|flags| !flags.sample_is_non_sync_sample())
}

/// Returns ticks in another timescale, rounded up.
fn rescaled(ticks: u64, from: u32, to: u32) -> u64 {
    let ticks = (u128::from(ticks) * u128::from(to)).div_ceil(from.max(1).into());
    u64::try_from(ticks).unwrap_or(u64::MAX)
}

/// Returns the header's length and the end of the box at this position; `None` unless it is whole.
fn box_at(bytes: &[u8], at: usize) -> Option<(usize, usize)> {
    let (header, header_len) = BoxHeader::decode(bytes.get(at..)?).ok()?;
    let end = at.checked_add(usize::try_from(header.box_size.get()).ok()?)?;
    (end >= at + header_len && end <= bytes.len()).then_some((header_len, end))
}

/// Returns the end of `ftyp`.
fn end_of_first(header: &[u8]) -> usize {
    box_at(header, 0).map_or(0, |(_, end)| end)
}

/// Finds the fields for lengths in a range of boxes within a box of that type. `tracks` counts the tracks up to there.
fn find_fields(
    header: &[u8],
    range: Range<usize>,
    within: &[u8; 4],
    tracks: &mut usize,
    found: &mut Vec<Field>,
) {
    let mut at = range.start;
    while let Some((header_len, end)) = box_at(&header[..range.end], at) {
        let inside = at + header_len;
        let is_wide = header.get(inside) == Some(&1);
        // behind version and flags: times of creation and change, and an id or a timescale
        let mut field = |length, narrow, wide| {
            let at = inside + if is_wide { wide } else { narrow };
            if at + if is_wide { 8 } else { 4 } <= end {
                found.push(Field { at, is_wide, length });
            }
        };
        // each box only where it belongs: boxes of a hostile file may be nested without end
        match (within, &header[at + 4..at + 8]) {
            (b"moov", b"mvhd") => field(Length::Movie, 16, 24),
            (b"mvex", b"mehd") => field(Length::Movie, 4, 4),
            (b"trak", b"tkhd") => field(Length::Track(*tracks), 20, 28),
            (b"mdia", b"mdhd") => field(Length::Media(*tracks), 16, 24),
            (b"file", b"moov") => find_fields(header, inside..end, b"moov", tracks, found),
            (b"moov", b"mvex") => find_fields(header, inside..end, b"mvex", tracks, found),
            (b"trak", b"mdia") => find_fields(header, inside..end, b"mdia", tracks, found),
            (b"moov", b"trak") => {
                find_fields(header, inside..end, b"trak", tracks, found);
                *tracks += 1;
            }
            _ => {}
        }
        at = end;
    }
}

/// Makes the fields for lengths 8 bytes wide each, whatever recordings last, with 0 in them.
///
/// # Errors
/// If the header can't be read.
pub(super) fn widened(header: &[u8]) -> Result<Vec<u8>, Error> {
    let moov_at = end_of_first(header);
    let (mut moov, _) = MoovBox::decode(&header[moov_at..])?;
    // the container crate chooses the width by the value
    moov.mvhd_box.duration = u64::MAX;
    for track in &mut moov.trak_boxes {
        track.tkhd_box.duration = u64::MAX;
        track.mdia_box.mdhd_box.duration = u64::MAX;
    }
    moov.mvex_box.iter_mut().flat_map(|mvex| &mut mvex.mehd_box).for_each(|mehd| {
        mehd.fragment_duration = u64::MAX;
    });
    let mut widened = header[..moov_at].to_vec();
    widened.extend(moov.encode_to_vec()?);
    let lengths = Index::new(&widened)?.lengths();
    lengths.iter().for_each(|(at, zero)| widened[*at..at + zero.len()].copy_from_slice(zero));
    Ok(widened)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_that_are_nested_without_end_are_not_followed() {
        let depth = 100_000;
        for kind in [b"moov", b"mdia"] {
            let boxes = (0..depth).flat_map(|level| {
                let len = 8 * (depth - level) as u32;
                len.to_be_bytes().into_iter().chain(*kind)
            });
            let mut found = Vec::new();
            let header: Vec<u8> = boxes.collect();
            find_fields(&header, 0..header.len(), b"file", &mut 0, &mut found);
            assert!(found.is_empty());
        }
    }

    #[test]
    fn an_index_of_a_long_recording_names_each_second_fragment() {
        let mut track = Track { id: 1, timescale: 1, end: 0, points: Vec::new(), seen: 0, step: 1 };
        let point =
            |time| TfraEntry { time, moof_offset: 0, traf_number: 1, trun_number: 1, sample_number: 1 };
        (0..3 * POINTS_MAX as u64).for_each(|time| track.take(point(time)));
        let times: Vec<_> = track.points.iter().map(|point| point.time).collect();
        assert!(times.len() <= POINTS_MAX && times.len() > POINTS_MAX / 2);
        assert!(times.windows(2).all(|pair| pair[1] - pair[0] == 4) && times[0] == 0, "{:?}", &times[..9]);
    }
}
