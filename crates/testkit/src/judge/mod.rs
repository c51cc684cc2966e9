//! Judge of recordings, based on `ffmpeg`: which pictures of the test source are shown and when, which tones
//! are heard and how loud, and how far beep and flash are out of sync.
//!
//! Time code, square and tones are read by their description in plenary-media's `source/pattern.rs`,
//! independently of the code there.

mod ffmpeg;
mod layout;
mod sound;

use std::path::Path;

use anyhow::{Context, Result};
use plenary_media::PictureView;

pub use layout::{Layout, Tile};
pub use sound::Sound;

/// Time code shown in a tile of one picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeCode {
    /// The speaker's index, 0 to 15.
    pub index: u8,
    /// Picture number of the source.
    pub number: u32,
}

/// One picture of a recording.
#[derive(Clone, Debug)]
pub struct FramePicture {
    /// Presentation time in seconds.
    pub at_s: f64,
    /// Time code of each tile; `None` when a tile has no readable code.
    pub codes: Vec<Option<TimeCode>>,
    /// For each tile, whether the white square is visible.
    pub flashes: Vec<bool>,
}

/// A recording, decoded.
#[derive(Clone, Debug)]
pub struct Recording {
    /// Width in pixels of the first picture.
    pub width: usize,
    /// Height in pixels of the first picture.
    pub height: usize,
    /// Duration in seconds, the longer of picture and sound.
    pub duration_s: f64,
    /// Errors reported by `ffmpeg` and `ffprobe`.
    pub ffmpeg_errors: Vec<String>,
    /// All pictures shown for at least a millisecond, in order.
    pub frames: Vec<FramePicture>,
    /// Gaps of more than 5 ms between packets of sound: start and end of each, in seconds.
    pub sound_gaps: Vec<(f64, f64)>,
    /// Start of the first packet of sound, in seconds.
    pub sound_begin_s: Option<f64>,
    /// Sound from time 0 on, with gaps filled by silence; `None` when the recording has no sound packets.
    pub sound: Option<Sound>,
}

/// Shortest visible duration of a picture, in seconds: shorter pictures serve only as references of later
/// pictures.
const SEEN_S_MIN: f64 = 0.001;

/// Decodes a recording, and reads the tiles of each picture.
///
/// # Errors
/// When `ffmpeg` or `ffprobe` is missing or fails outright, or when the file is unreadable. Errors within the
/// recording are listed in [`Recording::ffmpeg_errors`].
pub fn recording(path: &Path, layout: &Layout) -> Result<Recording> {
    let probed = ffmpeg::probe(path).with_context(|| format!("probing {}", path.display()))?;
    let mut ffmpeg_errors = probed.errors;
    let (mut frames, mut size) = (Vec::new(), (0, 0));
    if let Some(video_size) = probed.video_size {
        size = video_size;
        let tiles = layout.tiles(size.0, size.1);
        let packets = probed.video_times.len();
        let mut times = probed.video_times.into_iter();
        let errors = ffmpeg::decode_luma(path, size, |luma| {
            let picture = layout::Luma { samples: luma, width: size.0, height: size.1 };
            frames.push(FramePicture {
                at_s: times.next().unwrap_or(f64::NAN),
                codes: tiles.iter().map(|tile| picture.time_code(tile)).collect(),
                flashes: tiles.iter().map(|tile| picture.flash(tile)).collect(),
            });
        })?;
        ffmpeg_errors.extend(errors);
        if frames.len() != packets {
            ffmpeg_errors.push(format!("{} pictures of {packets} packets", frames.len()));
        }
        let ends: Vec<f64> = frames.iter().skip(1).map(|frame: &FramePicture| frame.at_s).collect();
        let mut ends = ends.into_iter();
        frames.retain(|frame| ends.next().is_none_or(|end_s| end_s - frame.at_s >= SEEN_S_MIN));
    }
    let mut sound = None;
    if !probed.sound_packets.is_empty() {
        let (samples, errors) = ffmpeg::decode_sound(path, probed.channels)?;
        ffmpeg_errors.extend(errors);
        sound = Some(Sound::new(samples));
    }
    let holes = probed.sound_packets.windows(2).map(|pair| (pair[0].1, pair[1].0));
    Ok(Recording {
        width: size.0,
        height: size.1,
        duration_s: probed.duration_s,
        ffmpeg_errors,
        frames,
        sound_gaps: holes.filter(|(end, begin)| begin - end > 0.005).collect(),
        sound_begin_s: probed.sound_packets.first().map(|packet| packet.0),
        sound,
    })
}

/// Reads a WAV file at 48 kHz in any sample format; channels are averaged.
///
/// # Errors
/// When the file isn't readable as WAV, or has another sample rate.
pub fn wav(path: &Path) -> Result<Sound> {
    let mut reader = hound::WavReader::open(path).with_context(|| format!("opening {}", path.display()))?;
    let spec = reader.spec();
    anyhow::ensure!(spec.sample_rate == sound::RATE_HZ, "{} Hz", spec.sample_rate);
    let samples: Vec<f32> = match spec.sample_format {
        hound::SampleFormat::Float => reader.samples().collect::<Result<_, _>>()?,
        hound::SampleFormat::Int => {
            let full = (1i64 << (spec.bits_per_sample - 1)) as f32;
            let samples = reader.samples::<i32>().map(|sample| sample.map(|sample| sample as f32 / full));
            samples.collect::<Result<_, _>>()?
        }
    };
    let channels = usize::from(spec.channels);
    let mean = |frame: &[f32]| frame.iter().sum::<f32>() / channels as f32;
    Ok(Sound::new(samples.chunks_exact(channels).map(mean).collect()))
}

/// Peak signal-to-noise ratio between the luma of two pictures of equal size, in dB; 100 for identical
/// pictures.
pub fn psnr_db(a: &PictureView<'_>, b: &PictureView<'_>) -> f64 {
    assert_eq!((a.width, a.height), (b.width, b.height));
    let rows = |picture: &PictureView<'_>, y: usize| {
        y * picture.planes[0].stride..y * picture.planes[0].stride + a.width
    };
    let pairs = (0..a.height)
        .flat_map(|y| a.planes[0].samples[rows(a, y)].iter().zip(&b.planes[0].samples[rows(b, y)]));
    let error: u64 = pairs.map(|(a, b)| u64::from(a.abs_diff(*b)).pow(2)).sum();
    if error == 0 { 100.0 } else { 10.0 * (65_025.0 * (a.width * a.height) as f64 / error as f64).log10() }
}

impl Recording {
    /// Pictures per second: the reciprocal of the median interval, so that gaps don't count.
    pub fn fps(&self) -> f64 {
        let mut distances: Vec<_> = self.frames.windows(2).map(|pair| pair[1].at_s - pair[0].at_s).collect();
        distances.sort_by(f64::total_cmp);
        distances.get(distances.len() / 2).map_or(0.0, |distance| 1.0 / distance)
    }

    /// Intervals between pictures longer than `longest_s`: start and end of each, in seconds.
    pub fn gaps(&self, longest_s: f64) -> Vec<(f64, f64)> {
        let pairs = self.frames.windows(2).map(|pair| (pair[0].at_s, pair[1].at_s));
        pairs.filter(|(before, after)| after - before > longest_s).collect()
    }

    /// Longest time for which a tile showed the same picture, or no readable time code, in seconds.
    pub fn longest_still_s(&self, tile: usize) -> f64 {
        self.longest_still(tile).map_or(0.0, |(from_s, to_s)| to_s - from_s)
    }

    /// Start and end of the tile's longest still, in seconds.
    pub fn longest_still(&self, tile: usize) -> Option<(f64, f64)> {
        let (mut longest, mut shown) = (None, None);
        let mut since_s = self.frames.first()?.at_s;
        for frame in &self.frames {
            let code = frame.codes.get(tile).copied().flatten();
            if longest.is_none_or(|(from_s, to_s)| frame.at_s - since_s > to_s - from_s) {
                longest = Some((since_s, frame.at_s));
            }
            if code.is_some() && code != shown {
                (shown, since_s) = (code, frame.at_s);
            }
        }
        longest
    }

    /// Picture numbers that a tile showed, in order, without repetitions.
    pub fn numbers(&self, tile: usize) -> Vec<u32> {
        let codes = self.frames.iter().filter_map(|frame| frame.codes.get(tile).copied().flatten());
        let mut numbers: Vec<_> = codes.map(|code| code.number).collect();
        numbers.dedup();
        numbers
    }

    /// Delay of each beep of a tile behind its flash, once per second, in milliseconds. The tile's tone is
    /// identified by the index that the tile shows.
    pub fn skews_ms(&self, tile: usize) -> Vec<f64> {
        let index = self.frames.iter().find_map(|frame| frame.codes.get(tile).copied().flatten());
        let (Some(sound), Some(TimeCode { index, .. })) = (&self.sound, index) else { return Vec::new() };
        let beeps = sound.beeps_s(index);
        let pairs = self.frames.windows(2).filter(|pair| pair[1].flashes[tile] && !pair[0].flashes[tile]);
        let flashes = pairs.map(|pair| pair[1].at_s);
        let nearest = |flash: f64| {
            let skews = beeps.iter().map(|beep| (beep - flash) * 1e3);
            skews.min_by(|a, b| a.abs().total_cmp(&b.abs())).filter(|skew| skew.abs() < 500.0)
        };
        flashes.filter_map(nearest).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wav_files_of_integers_and_floats_are_read_alike() {
        let folder = tempfile::tempdir().unwrap();
        for (bits_per_sample, sample_format) in
            [(16, hound::SampleFormat::Int), (32, hound::SampleFormat::Float)]
        {
            let path = folder.path().join("two.wav");
            let spec = hound::WavSpec { channels: 2, sample_rate: 48_000, bits_per_sample, sample_format };
            let mut writer = hound::WavWriter::create(&path, spec).unwrap();
            for value in [0.5f32, -0.25, 0.5, 0.5] {
                match sample_format {
                    hound::SampleFormat::Int => writer.write_sample((value * 32_768.0) as i16).unwrap(),
                    hound::SampleFormat::Float => writer.write_sample(value).unwrap(),
                }
            }
            writer.finalize().unwrap();
            assert_eq!(wav(&path).unwrap().samples, [0.125, 0.5]);
        }
        assert!(wav(&folder.path().join("none.wav")).is_err());
    }

    #[test]
    fn a_tile_that_stands_still_or_cannot_be_read_is_still() {
        let frame = |number: u32, code: Option<u32>| FramePicture {
            at_s: f64::from(number) / 10.0,
            codes: vec![code.map(|number| TimeCode { index: 0, number })],
            flashes: vec![false],
        };
        let codes = [Some(0), Some(1), Some(1), Some(1), None, Some(5), Some(6)];
        let recording = Recording {
            width: 2,
            height: 2,
            duration_s: 0.7,
            ffmpeg_errors: Vec::new(),
            frames: (0..).zip(codes).map(|(number, code)| frame(number, code)).collect(),
            sound_gaps: Vec::new(),
            sound_begin_s: None,
            sound: None,
        };
        assert!((recording.longest_still_s(0) - 0.4).abs() < 1e-9);
        assert_eq!(recording.numbers(0), [0, 1, 5, 6]);
        assert!((recording.fps() - 10.0).abs() < 1e-6 && recording.gaps(0.15).is_empty());
        assert!(recording.skews_ms(0).is_empty());
    }
}
