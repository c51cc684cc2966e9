//! Video track of an MP4 file.

use plenary_proto::ordered::OrderedSet;
use std::sync::Arc;

use shiguredo_mp4::bitstream::h264::{LengthSize, length_prefixed_to_annexb, parse_sps};
use shiguredo_mp4::boxes::{Avc1Box, SampleEntry};

use super::index::{Track, name};
use super::{Packets, damaged};
use crate::codec::{CodecError, Codecs, VideoDecoder};
use crate::source::reader::{PictureReader, VIDEO_WANTED, even_size};
use crate::source::{SourceFault, SourcePictures};
use crate::{Picture, PictureView};

const START_CODE: [u8; 4] = [0, 0, 0, 1];

pub(super) struct Mp4Pictures {
    packets: Packets,
    track: Track,
    codecs: Arc<dyn Codecs>,
    decoder: Box<dyn VideoDecoder>,
    /// Whether presentation order differs from decoding order.
    reordered: bool,
    fps: f64,
    length_size: LengthSize,
    parameter_sets: Vec<u8>,
    round_us: u64,
    /// Media time at the start of this round.
    base_us: u64,
    next: usize,
    /// Presentation times of pictures that the decoder still holds.
    pending: OrderedSet<i64>,
    /// Pictures output in this round.
    given: usize,
    access_unit: Vec<u8>,
    decoded: Picture,
    turned: Picture,
    /// Due time of the first picture, which was decoded when the file was opened.
    first_us: Option<u64>,
    failures: u64,
}

impl Mp4Pictures {
    /// Opens the track and decodes its first picture, so that an unsupported file fails at once.
    pub(super) fn new(
        packets: Packets,
        track: Track,
        round_us: u64,
        codecs: Arc<dyn Codecs>,
    ) -> Result<Mp4Pictures, SourceFault> {
        let entry = avc1(&track.entry)?;
        let (length_size, parameter_sets) = configuration(entry)?;
        even_size(entry.visual.width.into(), entry.visual.height.into())?;
        let reordered = track.packets.windows(2).any(|pair| pair[1].at_us < pair[0].at_us);
        let shown = track.packets.iter().map(|packet| packet.at_us).filter(|at_us| *at_us >= 0);
        let span_us = track.end_us.saturating_sub_signed(shown.clone().min().unwrap_or(0)).max(1);
        let fps = shown.count() as f64 * 1e6 / span_us as f64;
        let decoder = decoder(&*codecs, reordered).map_err(undecodable)?;
        let mut pictures = Mp4Pictures {
            packets,
            track,
            codecs,
            decoder,
            reordered,
            fps,
            length_size,
            parameter_sets,
            round_us,
            base_us: 0,
            next: 0,
            pending: OrderedSet::new(),
            given: 0,
            access_unit: Vec::new(),
            decoded: Picture::black(2, 2),
            turned: Picture::black(2, 2),
            first_us: None,
            failures: 0,
        };
        pictures.first_us = Some(pictures.decode_next()?);
        Ok(pictures)
    }

    /// Decodes until a picture can be shown, continuing into the next round if necessary.
    fn decode_next(&mut self) -> Result<u64, SourceFault> {
        loop {
            let at_us = match self.next < self.track.packets.len() {
                true => self.decode_packet()?,
                false => match self.flush() {
                    Some(at_us) => Some(at_us),
                    None if self.given == 0 => return Err(damaged("no picture can be decoded")),
                    None => {
                        self.begin_round()?;
                        None
                    }
                },
            };
            if let Some(at_us) = at_us.and_then(|at_us| u64::try_from(at_us).ok()) {
                self.given += 1;
                if self.track.turns != 0 {
                    turn(&self.decoded, self.track.turns, &mut self.turned);
                }
                return Ok(self.base_us + at_us);
            }
        }
    }

    fn decode_packet(&mut self) -> Result<Option<i64>, SourceFault> {
        let packet = self.track.packets[self.next];
        self.next += 1;
        let bytes = self.packets.read(&packet)?;
        let Ok(annexb) = length_prefixed_to_annexb(bytes, self.length_size) else { return Ok(None) };
        self.access_unit.clear();
        if packet.key {
            self.access_unit.extend_from_slice(&self.parameter_sets);
        }
        self.access_unit.extend_from_slice(&annexb);
        self.pending.insert(packet.at_us);
        match self.decoder.decode(&self.access_unit) {
            Ok(Some(picture)) => {
                self.decoded.copy_from(&picture);
                Ok(self.pending.pop_first())
            }
            Ok(None) => {
                // a decoder that doesn't reorder found no picture in the access unit
                if !self.reordered {
                    self.pending.clear();
                }
                Ok(None)
            }
            Err(error) => {
                self.pending.remove(&packet.at_us);
                self.failures += 1;
                if self.given == 0 && self.base_us == 0 && packet.key {
                    return Err(undecodable(error));
                }
                if self.failures == 1 {
                    tracing::warn!("MP4: pictures that can't be decoded are left out: {error}");
                }
                Ok(None)
            }
        }
    }

    /// Returns the time of a picture that the decoder held back at the end of a round.
    fn flush(&mut self) -> Option<i64> {
        let picture = self.decoder.flush().ok().flatten()?;
        self.decoded.copy_from(&picture);
        self.pending.pop_first()
    }

    fn begin_round(&mut self) -> Result<(), SourceFault> {
        self.decoder = decoder(&*self.codecs, self.reordered).map_err(undecodable)?;
        self.pending.clear();
        self.base_us += self.round_us;
        (self.next, self.given) = (0, 0);
        Ok(())
    }
}

impl PictureReader for Mp4Pictures {
    fn pictures(&self) -> SourcePictures {
        let view = self.picture();
        SourcePictures { width: view.width, height: view.height, fps: self.fps }
    }

    fn advance(&mut self) -> Result<u64, SourceFault> {
        match self.first_us.take() {
            Some(at_us) => Ok(at_us),
            None => self.decode_next(),
        }
    }

    fn picture(&self) -> PictureView<'_> {
        if self.track.turns == 0 { self.decoded.view() } else { self.turned.view() }
    }
}

fn decoder(codecs: &dyn Codecs, reordered: bool) -> Result<Box<dyn VideoDecoder>, CodecError> {
    if reordered { codecs.reordering_video_decoder() } else { codecs.video_decoder() }
}

fn avc1(entry: &SampleEntry) -> Result<&Avc1Box, SourceFault> {
    match entry {
        SampleEntry::Avc1(entry) => Ok(entry),
        entry => {
            let found = format!("video as {}", name(entry));
            Err(SourceFault::Unsupported { found, wanted: VIDEO_WANTED })
        }
    }
}

/// Returns the size of a NAL unit's length field, and the parameter sets in Annex B form.
fn configuration(entry: &Avc1Box) -> Result<(LengthSize, Vec<u8>), SourceFault> {
    let avcc = &entry.avcc_box;
    let length_size = match avcc.length_size_minus_one.get() {
        0 => LengthSize::OneByte,
        1 => LengthSize::TwoBytes,
        _ => LengthSize::FourBytes,
    };
    let unsupported = |found: String| Err(SourceFault::Unsupported { found, wanted: VIDEO_WANTED });
    for sps in &avcc.sps_list {
        let sps = parse_sps(sps).map_err(|error| damaged(error.reason))?;
        if sps.chroma_format_idc != 1 {
            let chroma = ["grey", "4:2:0", "4:2:2", "4:4:4"][usize::from(sps.chroma_format_idc.min(3))];
            return unsupported(format!("H.264 in {chroma}"));
        }
        if sps.bit_depth_luma_minus8 != 0 || sps.bit_depth_chroma_minus8 != 0 {
            return unsupported(format!("H.264 with {}-bit samples", 8 + sps.bit_depth_luma_minus8));
        }
    }
    let sets = avcc.sps_list.iter().chain(&avcc.pps_list);
    let annexb = sets.flat_map(|set| START_CODE.into_iter().chain(set.iter().copied())).collect();
    Ok((length_size, annexb))
}

fn undecodable(error: CodecError) -> SourceFault {
    SourceFault::Unsupported { found: format!("this kind of H.264 ({error})"), wanted: VIDEO_WANTED }
}

/// Rotates a picture clockwise by quarter turns.
fn turn(from: &Picture, quarters: u8, to: &mut Picture) {
    let (width, height) = match quarters {
        2 => (from.width(), from.height()),
        _ => (from.height(), from.width()),
    };
    if (to.width(), to.height()) != (width, height) {
        *to = Picture::black(width, height);
    }
    for ((plane, from), shrink) in to.planes_mut().into_iter().zip(from.view().planes).zip([1, 2, 2]) {
        let (width, height) = (width / shrink, height / shrink);
        for (y, line) in plane.chunks_exact_mut(width).enumerate() {
            for (x, sample) in line.iter_mut().enumerate() {
                let (from_x, from_y) = match quarters {
                    1 => (y, width - 1 - x),
                    2 => (width - 1 - x, height - 1 - y),
                    _ => (height - 1 - y, x),
                };
                *sample = from.samples[from_y * from.stride + from_x];
            }
        }
    }
}
