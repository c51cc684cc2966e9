//! WAV reader: PCM of 8 to 32 bits, or float of 32 or 64 bits. A source of sound alone.
//!
//! Lengths in the header are taken as upper bounds: a program that writes to a pipe can't know them, and a
//! file may be truncated.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use super::SourceFault;
use super::reader::Opened;
use super::sound::{LoopedSound, SoundReader};

/// Samples per channel read at a time.
const READ_LEN: usize = 2048;
const RIFF_HEADER_LEN: u64 = 12;
const CHUNK_HEADER_LEN: u64 = 8;
/// Maximum number of chunks before the sound. A guess: files from studio software have a dozen.
const CHUNKS_MAX: usize = 1000;
/// Format tags (RFC 2361, and Microsoft's WAVEFORMATEXTENSIBLE).
const TAG_PCM: u16 = 1;
const TAG_FLOAT: u16 = 3;
const TAG_EXTENSIBLE: u16 = 0xfffe;

pub(super) fn open(path: &Path) -> Result<Opened, SourceFault> {
    let sound = WavSound::new(BufReader::new(File::open(path)?))?;
    Ok(Opened { pictures: None, sound: Some(LoopedSound::new(Box::new(sound), None)?) })
}

/// Encoding of a sample.
#[derive(Clone, Copy)]
enum Coding {
    Unsigned8,
    Signed,
    Float,
}

#[derive(Clone, Copy)]
struct Format {
    coding: Coding,
    rate: u32,
    channels: usize,
    sample_len: usize,
}

struct WavSound {
    file: BufReader<File>,
    format: Format,
    begin: u64,
    len: u64,
    /// Bytes of sound read so far.
    at: u64,
}

impl WavSound {
    fn new(mut file: BufReader<File>) -> Result<WavSound, SourceFault> {
        let file_len = file.seek(SeekFrom::End(0))?;
        let mut at = RIFF_HEADER_LEN;
        let mut format = None;
        for _ in 0..CHUNKS_MAX {
            file.seek(SeekFrom::Start(at))?;
            let mut header = [0; CHUNK_HEADER_LEN as usize];
            if file.read_exact(&mut header).is_err() {
                break;
            }
            let [a, b, c, d, len @ ..] = header;
            let (begin, len) = (at + CHUNK_HEADER_LEN, u64::from(u32::from_le_bytes(len)));
            match (&[a, b, c, d], format) {
                (b"fmt ", _) => format = Some(read_format(&mut file, len)?),
                (b"data", None) => return Err(damaged("sound before its format")),
                (b"data", Some(format)) => {
                    let frame_len = (format.sample_len * format.channels) as u64;
                    let len = len.min(file_len.saturating_sub(begin)) / frame_len * frame_len;
                    if len == 0 {
                        return Err(damaged("no samples"));
                    }
                    file.seek(SeekFrom::Start(begin))?;
                    return Ok(WavSound { file, format, begin, len, at: 0 });
                }
                _ => {}
            }
            // chunks are padded to even offsets
            at = begin + len.next_multiple_of(2);
        }
        Err(damaged("no sound in it: cut off"))
    }
}

fn read_format(file: &mut impl Read, len: u64) -> Result<Format, SourceFault> {
    let mut bytes = Vec::new();
    file.take(len.min(40)).read_to_end(&mut bytes)?;
    let number = |at: usize| bytes.get(at..at + 2).map(|bytes| u16::from_le_bytes([bytes[0], bytes[1]]));
    let fields = (number(0), number(2), number(4), number(6), number(12), number(14));
    let (Some(tag), Some(channels), Some(rate), Some(rate_high), Some(frame_len), Some(bits)) = fields else {
        return Err(damaged("cut off in its header"));
    };
    let tag = if tag == TAG_EXTENSIBLE { number(24).unwrap_or(tag) } else { tag };
    if channels == 0 {
        return Err(damaged("no channels"));
    }
    let sample_len = usize::from(frame_len / channels);
    let coding = match (tag, sample_len) {
        (TAG_PCM, 1) => Coding::Unsigned8,
        (TAG_PCM, 2..=4) => Coding::Signed,
        (TAG_FLOAT, 4 | 8) => Coding::Float,
        _ => {
            let found = format!("WAV of format {tag} with {bits} bits");
            let wanted = "samples must be PCM of 8 to 32 bits, or float of 32 or 64";
            return Err(SourceFault::Unsupported { found, wanted });
        }
    };
    let rate = u32::from(rate) | u32::from(rate_high) << 16;
    Ok(Format { coding, rate, channels: channels.into(), sample_len })
}

impl SoundReader for WavSound {
    fn rate(&self) -> u32 {
        self.format.rate
    }

    fn channels(&self) -> usize {
        self.format.channels
    }

    fn read(&mut self, samples: &mut Vec<f32>) -> Result<bool, SourceFault> {
        let Format { coding, channels, sample_len, .. } = self.format;
        let mut bytes = Vec::new();
        let wanted = ((READ_LEN * sample_len * channels) as u64).min(self.len - self.at);
        let read = (&mut self.file).take(wanted).read_to_end(&mut bytes)?;
        self.at += read as u64;
        samples.extend(bytes.chunks_exact(sample_len).map(|bytes| sample(coding, bytes)));
        Ok(read > 0)
    }

    fn rewind(&mut self) -> Result<(), SourceFault> {
        self.at = 0;
        self.file.seek(SeekFrom::Start(self.begin))?;
        Ok(())
    }
}

/// Converts a sample to the range −1 to 1; float samples may exceed it.
fn sample(coding: Coding, bytes: &[u8]) -> f32 {
    match (coding, bytes) {
        (Coding::Unsigned8, [byte, ..]) => (f32::from(*byte) - 128.0) / 128.0,
        (Coding::Float, &[a, b, c, d]) => f32::from_le_bytes([a, b, c, d]),
        (Coding::Float, &[a, b, c, d, e, f, g, h]) => f64::from_le_bytes([a, b, c, d, e, f, g, h]) as f32,
        // little-endian: the most significant byte is last, at any sample length
        (Coding::Signed, bytes) => {
            let value = bytes.iter().rev().take(4).fold(0u32, |value, byte| value << 8 | u32::from(*byte));
            (value << (32 - 8 * bytes.len().min(4))) as i32 as f32 / 2_147_483_648.0
        }
        _ => 0.0,
    }
}

fn damaged(reason: &str) -> SourceFault {
    SourceFault::Damaged { container: "WAV", reason: reason.to_owned() }
}
