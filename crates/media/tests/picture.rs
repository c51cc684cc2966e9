//! Tests of scaling against ffmpeg, of the colours of PNG files, and of the clock.

use std::io::Write;
use std::process::Command;

use plenary_media::codec::{Codecs, VideoFormat};
use plenary_media::scale::{Rect, Scaler};
use plenary_media::source::{Source, TestSource};
use plenary_media::{BuiltinCodecs, Clock, Picture, write_png};
use plenary_testkit::judge::psnr_db;

#[test]
fn colours_are_those_of_bt_709() {
    // Y, Cb, Cr of ITU-R BT.709, limited range; red, green, blue
    let rows = [
        ([16, 128, 128], [0, 0, 0]),
        ([235, 128, 128], [255, 255, 255]),
        ([126, 128, 128], [128, 128, 128]),
        ([63, 102, 240], [255, 0, 0]),
        ([173, 42, 26], [0, 255, 0]),
        ([32, 240, 118], [0, 0, 255]),
        ([0, 128, 128], [0, 0, 0]),
        ([255, 128, 128], [255, 255, 255]),
    ];
    for (yuv, rgb) in rows {
        let mut picture = Picture::black(6, 4);
        for (plane, value) in picture.planes_mut().into_iter().zip(yuv) {
            plane.fill(value);
        }
        let (width, height, pixels) = decoded(&picture);
        assert_eq!((width, height, pixels.len()), (6, 4, 72));
        let off =
            pixels.chunks(3).flatten().zip(rgb.iter().cycle()).map(|(a, b): (&u8, &u8)| a.abs_diff(*b)).max();
        assert!(off <= Some(1), "{yuv:?} becomes {:?}, not {rgb:?}", &pixels[..3]);
    }
}

#[test]
fn a_decoded_picture_looks_as_ffmpeg_shows_it() {
    let format = VideoFormat { width: 640, height: 360, fps: 30, bitrate_bps: 2_000_000 };
    let mut source = TestSource::new(4, 640, 360, 30);
    let mut encoder = BuiltinCodecs::default().video_encoder(&format).unwrap();
    let mut decoder = BuiltinCodecs::default().video_decoder().unwrap();
    source.next_picture().unwrap();
    let encoded = encoder.encode(&source.picture(), true).unwrap().unwrap();
    let picture = Picture::copy_of(&decoder.decode(&encoded.data).unwrap().unwrap());
    let (_, _, ours) = decoded(&picture);

    let mut stream = tempfile::NamedTempFile::new().unwrap();
    stream.write_all(&encoded.data).unwrap();
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-nostdin", "-f", "h264", "-i"]).arg(stream.path());
    // exact conversion: ffmpeg's fast one is off by some steps
    command.args(["-vf", "scale=flags=neighbor+accurate_rnd+full_chroma_int", "-pix_fmt", "rgb24"]);
    let theirs = command.args(["-f", "rawvideo", "-"]).output().unwrap().stdout;
    assert_eq!(ours.len(), theirs.len());
    let off: u64 = ours.iter().zip(&theirs).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    assert!((off as f64 / ours.len() as f64) < 2.0, "{} off on average", off as f64 / ours.len() as f64);
}

#[test]
fn a_scaled_picture_is_close_to_what_ffmpeg_makes_of_the_mean_of_areas() {
    let original = film("null", 1280, 720);
    // (size, minimum PSNR of the luma in dB); codecs reach 36 to 43 at such bitrates
    for (width, height, psnr_min_db) in
        [(640, 360, 90.0), (960, 540, 48.0), (426, 240, 44.0), (212, 120, 40.0)]
    {
        let area = format!("scale={width}:{height}:flags=area+accurate_rnd+full_chroma_int");
        let wanted = film(&area, width, height);
        let mut scaler = Scaler::new();
        let mut scaled = Picture::black(width, height);
        for (number, (picture, wanted)) in original.iter().zip(&wanted).enumerate() {
            scaler.draw(&picture.view(), &mut scaled, Rect { x: 0, y: 0, width, height });
            let psnr = psnr_db(&scaled.view(), &wanted.view());
            assert!(psnr > psnr_min_db, "{width}x{height}, picture {number}: {psnr:.1} dB");
        }
        assert_eq!((original.len(), wanted.len()), (5, 5));
    }
}

#[test]
fn the_clock_counts_from_1970_and_never_goes_back() {
    let before =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_micros() as u64;
    let clock = Clock::start();
    let copy = clock;
    let times: Vec<_> = (0..1000).map(|_| clock.now_us().min(copy.now_us())).collect();
    assert!(times[0] >= before && times.is_sorted());
    assert!(clock.until(clock.now_us() + 5_000_000).as_secs_f64() > 4.0);
    assert!(clock.until(times[0]).is_zero());
}

fn decoded(picture: &Picture) -> (u32, u32, Vec<u8>) {
    let mut bytes = Vec::new();
    write_png(&picture.view(), &mut bytes).unwrap();
    let mut reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let frame = reader.next_frame(&mut pixels).unwrap();
    (frame.width, frame.height, pixels)
}

/// Returns one picture per second of a film, as decoded by ffmpeg.
fn film(filter: &str, width: usize, height: usize) -> Vec<Picture> {
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-nostdin", "-i"]);
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/media/bbb-720p25-5s.mp4"));
    command.args(["-vf", &format!("fps=1,{filter}"), "-pix_fmt", "yuv420p", "-f", "rawvideo", "-"]);
    let samples = command.output().unwrap().stdout;
    let pictures = samples.chunks(width * height * 3 / 2);
    pictures.map(|samples| Picture::from_samples(width, height, samples.to_vec()).unwrap()).collect()
}
