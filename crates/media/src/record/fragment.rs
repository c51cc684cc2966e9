//! Fragmented MP4 writer: the file header, and fragments with explicit times.
//!
//! The boxes come from the container crate. Its segment muxer makes the header, but can't make the fragments:
//! it derives all times from the samples' durations, so it can't express a gap, and it keeps an index of all
//! segments that it ever made.

use std::num::NonZeroU32;

use shiguredo_mp4::boxes::{
    AudioSampleEntryFields, Avc1Box, DopsBox, MfhdBox, MoofBox, OpusBox, SampleEntry, TfdtBox, TfhdBox,
    TrafBox, TrunBox, TrunSample,
};
use shiguredo_mp4::mux::{Fmp4SegmentMuxer, MuxError, Sample as MuxSample};
use shiguredo_mp4::{Encode, Error, FixedPointNumber, SampleFlags, TrackKind};

use super::index::widened;

const CHANNELS: u8 = 2;
const SAMPLE_RATE_HZ: u16 = 48_000;
const MDAT_HEADER_LEN: usize = 8;

/// Track kinds, each with its own timescale.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Track {
    Video,
    Sound,
}

impl Track {
    /// Timescale in ticks per second.
    fn timescale(self) -> NonZeroU32 {
        const VIDEO: NonZeroU32 = NonZeroU32::new(90_000).unwrap();
        const SOUND: NonZeroU32 = NonZeroU32::new(48_000).unwrap();
        match self {
            Track::Video => VIDEO,
            Track::Sound => SOUND,
        }
    }

    /// Converts a file time to this track's ticks, rounded to the nearest; times before the start of the file
    /// become 0.
    pub(super) fn ticks(self, us: i64) -> u64 {
        let us = u128::try_from(us).unwrap_or(0);
        ((us * u128::from(self.timescale().get()) + 500_000) / 1_000_000) as u64
    }
}

/// A frame with its start and duration, in ticks of its track.
#[derive(Clone)]
pub(super) struct Sample {
    pub(super) start: u64,
    pub(super) duration: u64,
    pub(super) key: bool,
    pub(super) data: Vec<u8>,
}

/// Writes the header and fragments of one file.
pub(super) struct Writer {
    header: Vec<u8>,
    /// Track ids in the header.
    video: Option<u32>,
    sound: u32,
    sequence: u32,
}

impl Writer {
    /// Creates a file with a sound track, and with a video track if its sample entry is given.
    pub(super) fn new(video: Option<Avc1Box>) -> Result<Writer, MuxError> {
        let mut entries = Vec::new();
        let has_video = video.is_some();
        entries.extend(video.map(|entry| (Track::Video, SampleEntry::Avc1(entry))));
        entries.push((Track::Sound, SampleEntry::Opus(opus_entry())));
        let header = header(&entries)?;
        // the muxer numbers tracks from 1, in the order of their first samples
        let video = has_video.then_some(1);
        Ok(Writer { header, video, sound: entries.len() as u32, sequence: 0 })
    }

    pub(super) fn has_video(&self) -> bool {
        self.video.is_some()
    }

    pub(super) fn header(&self) -> Vec<u8> {
        self.header.clone()
    }

    /// Encodes one fragment, sound first, then pictures, and returns its header as well. The samples of a track must be
    /// contiguous. Returns `None` when there are no samples.
    pub(super) fn fragment(
        &mut self,
        sound: &[Sample],
        video: &[Sample],
    ) -> Result<Option<(MoofBox, Vec<u8>)>, Error> {
        let mut tracks = vec![(self.sound, sound)];
        tracks.extend(self.video.map(|video_id| (video_id, video)));
        tracks.retain(|(_, samples)| !samples.is_empty());
        if tracks.is_empty() {
            return Ok(None);
        }
        self.sequence = self.sequence.wrapping_add(1);
        // data offsets count from the moof's first byte, and its length doesn't depend on their values
        let moof_len = moof(self.sequence, &tracks, 0).encode_to_vec()?.len();
        let moof = moof(self.sequence, &tracks, moof_len + MDAT_HEADER_LEN);
        let mut bytes = moof.encode_to_vec()?;
        let samples = || tracks.iter().flat_map(|(_, samples)| samples.iter());
        let payload_len: usize = samples().map(|sample| sample.data.len()).sum();
        bytes.extend(((MDAT_HEADER_LEN + payload_len) as u32).to_be_bytes());
        bytes.extend(b"mdat");
        samples().for_each(|sample| bytes.extend(&sample.data));
        Ok(Some((moof, bytes)))
    }
}

fn opus_entry() -> OpusBox {
    OpusBox {
        audio: AudioSampleEntryFields {
            data_reference_index: AudioSampleEntryFields::DEFAULT_DATA_REFERENCE_INDEX,
            channelcount: CHANNELS.into(),
            samplesize: AudioSampleEntryFields::DEFAULT_SAMPLESIZE,
            samplerate: FixedPointNumber::new(SAMPLE_RATE_HZ, 0),
        },
        dops_box: DopsBox {
            output_channel_count: CHANNELS,
            pre_skip: 0,
            input_sample_rate: SAMPLE_RATE_HZ.into(),
            output_gain: 0,
        },
        unknown_boxes: Vec::new(),
    }
}

/// Builds the header. The muxer learns the tracks from samples, so it gets one empty sample of each track;
/// the resulting fragment is discarded.
fn header(entries: &[(Track, SampleEntry)]) -> Result<Vec<u8>, MuxError> {
    let mut muxer = Fmp4SegmentMuxer::new()?;
    let samples = entries.iter().map(|(track, entry)| MuxSample {
        track_kind: if *track == Track::Video { TrackKind::Video } else { TrackKind::Audio },
        timescale: track.timescale(),
        sample_entry: Some(entry.clone()),
        duration: 0,
        keyframe: true,
        composition_time_offset: None,
        data_offset: 0,
        data_size: 0,
    });
    muxer.create_media_segment_metadata(&samples.collect::<Vec<_>>())?;
    Ok(widened(&muxer.init_segment_bytes()?)?)
}

fn moof(sequence_number: u32, tracks: &[(u32, &[Sample])], mut data_offset: usize) -> MoofBox {
    let mut traf_boxes = Vec::new();
    for (track_id, samples) in tracks {
        traf_boxes.push(traf(*track_id, samples, data_offset));
        data_offset += samples.iter().map(|sample| sample.data.len()).sum::<usize>();
    }
    MoofBox { mfhd_box: MfhdBox { sequence_number }, traf_boxes, unknown_boxes: Vec::new() }
}

fn traf(track_id: u32, samples: &[Sample], data_offset: usize) -> TrafBox {
    let start = samples.first().map_or(0, |sample| sample.start);
    let trun_samples = samples.iter().map(|sample| TrunSample {
        duration: Some(u32::try_from(sample.duration).unwrap_or(u32::MAX)),
        size: Some(sample.data.len() as u32),
        flags: Some(match sample.key {
            true => SampleFlags::from_fields(0, 2, 0, 0, 0, false, 0),
            false => SampleFlags::from_fields(0, 1, 0, 0, 0, true, 0),
        }),
        composition_time_offset: None,
    });
    TrafBox {
        tfhd_box: TfhdBox {
            track_id,
            base_data_offset: None,
            sample_description_index: None,
            default_sample_duration: None,
            default_sample_size: None,
            default_sample_flags: None,
            duration_is_empty: false,
            default_base_is_moof: true,
        },
        tfdt_box: Some(TfdtBox { version: 1, base_media_decode_time: start }),
        trun_boxes: vec![TrunBox {
            data_offset: Some(data_offset as i32),
            first_sample_flags: None,
            samples: trun_samples.collect(),
        }],
        unknown_boxes: Vec::new(),
    }
}
