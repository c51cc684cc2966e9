//! Measures the CPU time per frame on one thread: `cargo bench -p plenary-media --bench codecs`.

use std::path::Path;
use std::time::Duration;

use cpu_time::ThreadTime;
use plenary_media::codec::{Codecs, VideoFormat};
use plenary_media::source::{Source, TestSource, open_source};
use plenary_media::{BuiltinCodecs, Picture, SOUND_FRAME_LEN, VideoEncoding, codec_bench, write_png};

/// Frames per row: a few seconds of media.
const FRAMES: u32 = 150;

fn main() {
    println!("{:<44} {:>10}", "", "µs/frame");
    for (width, height, bitrate_bps) in [(640, 360, 600_000), (1280, 720, 1_500_000), (1920, 1080, 3_000_000)]
    {
        video(VideoFormat { width, height, fps: 30, bitrate_bps });
    }
    shrinking();
    for (file, bitrate_bps) in [("speech-1.wav", 32_000), ("bbb-720p25-5s.mp4", 64_000)] {
        sound(file, bitrate_bps);
    }
    let bench = codec_bench(&BuiltinCodecs::default(), Duration::from_millis(300)).expect("the codecs work");
    println!("{:<44} {:>10} {:>10}", "codec_bench: encode, decode 720p", bench.encode_us, bench.decode_us);
}

fn row(what: &str, total: Duration) {
    println!("{what:<44} {:>10.1}", total.as_secs_f64() * 1e6 / f64::from(FRAMES));
}

/// Adds the CPU time of `work` on this thread to `total`.
fn timed<T>(total: &mut Duration, work: impl FnOnce() -> T) -> T {
    let begin = ThreadTime::now();
    let result = work();
    *total += begin.elapsed();
    result
}

fn video(format: VideoFormat) {
    let size = format!("{}x{}", format.width, format.height);
    let codecs = BuiltinCodecs::default();
    let mut source = TestSource::new(1, format.width, format.height, format.fps);
    let mut encoder = codecs.video_encoder(&format).expect("a usual format");
    let mut decoder = codecs.video_decoder().expect("there is memory");
    let [mut draw, mut encode, mut decode] = [Duration::ZERO; 3];
    let mut bytes = 0;
    for _ in 0..FRAMES {
        source.next_picture().expect("the test source has no end");
        let picture = timed(&mut draw, || Picture::copy_of(&source.picture()));
        let encoded = timed(&mut encode, || encoder.encode(&picture.view(), false)).expect("it encodes");
        let data = encoded.expect("nothing is skipped").data;
        bytes += data.len();
        timed(&mut decode, || decoder.decode(&data).map(|_| ())).expect("it decodes");
    }
    row(&format!("{size} draw the test source, and copy it"), draw);
    row(&format!("{size} encode ({} kbit/s)", bytes * 8 * 30 / FRAMES as usize / 1000), encode);
    row(&format!("{size} decode"), decode);
    let mut png = Duration::ZERO;
    timed(&mut png, || write_png(&source.picture(), std::io::sink())).expect("a sink takes all");
    row(&format!("{size} write PNG"), png * FRAMES);
}

fn shrinking() {
    let asked = VideoFormat { width: 640, height: 360, fps: 30, bitrate_bps: 600_000 };
    for (width, height) in [(640, 360), (1280, 720)] {
        let mut source = TestSource::new(1, width, height, 30);
        let mut encoding = VideoEncoding::new(std::sync::Arc::new(BuiltinCodecs::default()), asked);
        let mut total = Duration::ZERO;
        for _ in 0..FRAMES {
            let at_us = source.next_picture().expect("the test source has no end").unwrap_or(0);
            let picture = Picture::copy_of(&source.picture());
            timed(&mut total, || encoding.push(&picture.view(), at_us)).expect("it encodes");
        }
        row(&format!("{width}x{height} fitted into 640x360 and encoded"), total);
    }
}

fn sound(file: &str, bitrate_bps: u32) {
    let codecs: std::sync::Arc<dyn Codecs> = std::sync::Arc::new(BuiltinCodecs::default());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/media").join(file);
    let mut source = open_source(&path, &codecs).expect("the file is in the repository");
    let channels = source.channels().expect("it has sound");
    let mut encoder = codecs.sound_encoder(channels, bitrate_bps).expect("1 or 2 channels");
    let mut decoder = codecs.sound_decoder(channels).expect("1 or 2 channels");
    let mut samples = vec![0.0; SOUND_FRAME_LEN * usize::from(channels)];
    let [mut read, mut encode, mut decode] = [Duration::ZERO; 3];
    for _ in 0..FRAMES {
        timed(&mut read, || source.next_sound(&mut samples)).expect("the file is whole");
        let packet = timed(&mut encode, || encoder.encode(&samples)).expect("it encodes");
        timed(&mut decode, || decoder.decode(&packet, &mut samples)).expect("it decodes");
    }
    let channels = if channels == 1 { "mono" } else { "stereo" };
    row(&format!("{file} read sound"), read);
    row(&format!("{file} encode {channels} at {} kbit/s", bitrate_bps / 1000), encode);
    row(&format!("{file} decode {channels}"), decode);
}
