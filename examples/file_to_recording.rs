//! Converts a file, or the test source, into a recording: decodes it, encodes it like a speaker, gives each
//! frame its identity, and records it.
//!
//! ```text
//! cargo run --release -p plenary-media --example file_to_recording -- out.mp4
//! cargo run --release -p plenary-media --example file_to_recording -- out.mp4 tests/media/bbb-720p25-5s.mp4
//! ```

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use plenary_media::codec::{Codecs, VideoFormat};
use plenary_media::source::{Source, TestSource, open_source};
use plenary_media::{
    BuiltinCodecs, Clock, Encoded, Recorder, SOUND_FRAME_LEN, SOUND_FRAME_US, SoundEncoding, VideoEncoding,
};
use plenary_proto::StreamId;

const FORMAT: VideoFormat = VideoFormat { width: 640, height: 360, fps: 30, bitrate_bps: 600_000 };
const SOUND_BITRATE_BPS: u32 = 32_000;
const LENGTH_US: u64 = 5_000_000;

fn main() -> ExitCode {
    match run(&std::env::args().skip(1).collect::<Vec<_>>()) {
        Ok(said) => {
            eprintln!("{said}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("file_to_recording: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<String, Box<dyn Error>> {
    let codecs: Arc<dyn Codecs> = Arc::new(BuiltinCodecs::default());
    let (out, source): (_, Box<dyn Source>) = match arguments {
        [out] => (out, Box::new(TestSource::new(0, FORMAT.width, FORMAT.height, FORMAT.fps))),
        [out, file] => (out, open_source(Path::new(file), &codecs)?),
        _ => return Err("usage: file_to_recording OUT.mp4 [FILE]".into()),
    };
    let frames = record(source, &codecs, Path::new(out), LENGTH_US)?;
    Ok(format!("{out}: {} s, {frames} frames", LENGTH_US / 1_000_000))
}

/// Records `length_us` of a source's media time, as fast as it can be encoded; returns the number of frames.
pub(crate) fn record(
    mut source: Box<dyn Source>,
    codecs: &Arc<dyn Codecs>,
    out: &Path,
    length_us: u64,
) -> Result<u32, Box<dyn Error>> {
    let mut recorder = Recorder::create(out)?;
    let stream = StreamId(*b"example!"); // in a room: the hash of the stream's spec
    let mut numbers = [0, 0];
    let mut push = |encoded: Encoded| {
        let number = &mut numbers[encoded.kind as usize];
        *number += 1;
        let frame = encoded
            .identified(stream, *number, u64::from(*number))
            .ok_or("the encoder made no access unit")?;
        recorder.push(&frame).map_err(Box::<dyn Error>::from)
    };

    let origin_us = Clock::start().now_us();
    let mut video = VideoEncoding::new(codecs.clone(), FORMAT);
    let channels = source.channels().unwrap_or(1);
    let mut sound = SoundEncoding::new(&**codecs, channels, SOUND_BITRATE_BPS)?;
    let mut samples = vec![0.0; SOUND_FRAME_LEN * usize::from(channels)];
    let mut picture_us = source.next_picture()?;
    for sound_us in (0..length_us).step_by(SOUND_FRAME_US as usize) {
        while let Some(at_us) = picture_us.filter(|at_us| *at_us < sound_us + SOUND_FRAME_US) {
            if let Some(encoded) = video.push(&source.picture(), origin_us + at_us)? {
                push(encoded)?;
            }
            picture_us = source.next_picture()?;
        }
        source.next_sound(&mut samples)?;
        if let Some(encoded) = sound.push(&samples, origin_us + sound_us)? {
            push(encoded)?;
        }
    }
    recorder.finish()?;
    Ok(numbers.iter().sum())
}
