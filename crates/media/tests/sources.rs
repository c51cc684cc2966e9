//! Sources play their files in a loop, and report why a file can't be played.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use plenary_media::codec::Codecs;
use plenary_media::source::{Source, TestSource, open_source};
use plenary_media::{BuiltinCodecs, Picture, SOUND_FRAME_LEN};
use plenary_testkit::judge::{Sound, psnr_db};
use tempfile::TempDir;

const SPEECH: &str = "speech-2.wav";
const CLIP: &str = "bbb-720p25-5s.mp4";

#[test]
fn the_test_source_is_what_the_manual_says() {
    // index, size, fps, picture number, the bits that it shows
    let rows = [
        (0u8, (640u16, 360u16), 30u8, 0usize, 0b0),
        (5, (640, 360), 30, 1, 0b0101 << 28 | 1 << 1 | 1),
        (15, (320, 180), 15, 44, 0b1111 << 28 | 44 << 1 | 1),
        (16, (1280, 720), 60, 3, 3 << 1),
        (2, (202, 360), 25, 7, 0b0010 << 28 | 7 << 1),
    ];
    for (index, (width, height), fps, number, bits) in rows {
        let bits: u32 = bits;
        let mut source = TestSource::new(index, width, height, fps);
        for earlier in 0..=number as u64 {
            assert_eq!(source.next_picture().unwrap(), Some(earlier * 1_000_000 / u64::from(fps)));
        }
        let picture = Picture::copy_of(&source.picture());
        let (width, height) = (usize::from(width), usize::from(height));
        let view = picture.view();
        let row = height / 15;
        for y in [0, row / 2, row - 1] {
            for cell in 0..32 {
                let luma = view.planes[0].samples[y * width + cell * width / 32 + width / 64];
                let wanted = if bits >> (31 - cell) & 1 == 1 { 235 } else { 16 };
                assert_eq!(luma, wanted, "index {index}, row {y}, cell {cell}");
            }
            assert_eq!(view.planes[1].samples[y / 2 * width / 2 + width / 8], 128);
        }
        // in the first tenth of each second there is a white square below the right end of the row
        let square = height / 8;
        let flash = number % usize::from(fps) * 10 < usize::from(fps);
        let inside = (row..row + square).all(|y| {
            view.planes[0].samples[y * width + width - square..(y + 1) * width]
                .iter()
                .all(|&luma| luma == 235)
        });
        assert_eq!(inside, flash, "index {index}");
        let left_of_it = view.planes[0].samples[(row + square / 2) * width + width - square - 3];
        let below_it = view.planes[0].samples[(row + square + 2) * width + width - square / 2];
        assert!(left_of_it < 235 && below_it < 235);
    }
}

#[test]
fn the_test_source_has_the_hue_of_its_index_at_full_saturation() {
    for index in 0..16u8 {
        let mut source = TestSource::new(index, 320, 180, 30);
        for _ in 0..20 {
            source.next_picture().unwrap();
        }
        let rgb = rgb_of(&Picture::copy_of(&source.picture()));
        // pixels below the row, outside the square
        let (mut hues_off, mut least, mut count) = (0.0f64, 0.0, 0.0);
        for pixel in rgb[320 * 20..].iter().step_by(31) {
            let [red, green, blue] = pixel.map(f64::from);
            let (max, min) = (red.max(green).max(blue), red.min(green).min(blue));
            if max < 60.0 {
                continue; // too dark to have a hue
            }
            let sixth = match max {
                max if max == red => (green - blue) / (max - min),
                max if max == green => (blue - red) / (max - min) + 2.0,
                _ => (red - green) / (max - min) + 4.0,
            };
            let off = (sixth * 60.0 - f64::from(index) * 47.0 + 180.0).rem_euclid(360.0) - 180.0;
            (hues_off, least, count) = (hues_off + off, least + (max - min) / max, count + 1.0);
        }
        assert!((hues_off / count).abs() < 3.0, "index {index}: {:.1}° off", hues_off / count);
        assert!(least / count > 0.93, "index {index}: saturation {:.2}", least / count);
    }
}

#[test]
fn the_test_tone_has_its_pitch_and_beeps_each_second() {
    for (index, hz) in [(0u8, 300.0), (4, 900.0), (11, 1950.0)] {
        let mut source = TestSource::new(index, 32, 32, 30);
        let sound = Sound { samples: sound(&mut source, 150).remove(0) };
        let peaks = sound.peaks(0.2..0.9, 2);
        assert!((peaks[0].0 - hz).abs() < 2.0 && (peaks[0].1 + 20.0).abs() < 0.1, "{peaks:?}");
        assert!(peaks[1].1 < -70.0, "{peaks:?}");
        for second in 0..3 {
            let at = f64::from(second);
            assert!((sound.level_db(at..at + 0.1) + 8.0).abs() < 0.01);
            assert!((sound.level_db(at + 0.1..at + 1.0) + 20.0).abs() < 0.01);
        }
    }
}

#[test]
fn the_test_source_costs_hundreds_of_kilobits() {
    let format = plenary_media::codec::VideoFormat { width: 640, height: 360, fps: 30, bitrate_bps: 600_000 };
    for index in 0..8 {
        let mut source = TestSource::new(index, 640, 360, 30);
        let mut encoder = codecs().video_encoder(&format).unwrap();
        let mut decoder = codecs().video_decoder().unwrap();
        let (mut bytes, mut psnr) = (0, 0.0);
        for _ in 0..30 {
            source.next_picture().unwrap();
            let encoded = encoder.encode(&source.picture(), false).unwrap().unwrap();
            bytes += encoded.data.len();
            psnr += psnr_db(&source.picture(), &decoder.decode(&encoded.data).unwrap().unwrap()) / 30.0;
        }
        assert!(
            (400_000..800_000).contains(&(bytes * 8)) && psnr < 43.0,
            "{index}: {bytes} bytes, {psnr:.1} dB"
        );
    }
}

#[test]
fn an_mp4_file_plays_as_ffmpeg_decodes_it() {
    let folder = TempDir::new().unwrap();
    let cut = ["-t", "1.4", "-vf", "scale=320:180", "-c:v", "libx264", "-preset", "ultrafast"];
    let with = |more: &[&'static str]| [&cut[..], more].concat();
    let rows: Vec<(&str, Vec<&str>)> = vec![
        ("as it is", vec!["-t", "1.4", "-c", "copy"]),
        ("header at the end, AAC 44.1 kHz mono", with(&["-c:a", "aac", "-ar", "44100", "-ac", "1"])),
        ("header in front, AAC 22 kHz", with(&["-movflags", "+faststart", "-c:a", "aac", "-ar", "22050"])),
        (
            "fragments, Opus",
            with(&["-c:a", "libopus", "-movflags", "frag_keyframe+empty_moov+default_base_moof"]),
        ),
        (
            "B pictures, High profile",
            with(&["-preset", "fast", "-profile:v", "high", "-bf", "3", "-g", "12", "-an"]),
        ),
        (
            "open groups",
            with(&["-preset", "fast", "-x264-params", "open-gop=1:bframes=2", "-g", "10", "-an"]),
        ),
        ("29.97 a second", with(&["-r", "30000/1001", "-c:a", "copy"])),
        ("60 a second", with(&["-r", "60", "-an"])),
    ];
    for (what, arguments) in rows {
        let path = ffmpeg(&folder, CLIP, &arguments, "clip.mp4");
        let mut source = open(&path).unwrap_or_else(|error| panic!("{what}: {error}"));
        let format = source.pictures().unwrap();
        let wanted = decoded_pictures(&path, format.width, format.height);
        let times = packet_times_us(&path, "v");
        assert_eq!(wanted.len(), times.len(), "{what}");
        for (number, (picture, time)) in wanted.iter().zip(&times).enumerate() {
            let at = source.next_picture().unwrap().unwrap();
            assert!(at.abs_diff(*time) <= 1, "{what}, picture {number}: at {at}, not {time}");
            let psnr = psnr_db(&source.picture(), &picture.view());
            assert!(psnr > 60.0, "{what}, picture {number}: {psnr:.1} dB");
        }
        // the first picture follows again, in the next loop
        let at = source.next_picture().unwrap().unwrap();
        let (last, before) = (times[times.len() - 1], times[times.len() - 2]);
        assert!((at - last).abs_diff(last - before) <= 120_000, "{what}: {at} after {last}");
        assert!(psnr_db(&source.picture(), &wanted[0].view()) > 60.0, "{what}");
    }
}

#[test]
fn a_picture_is_turned_as_its_track_says() {
    let folder = TempDir::new().unwrap();
    for (degrees, size) in [("90", (720, 1280)), ("180", (1280, 720)), ("270", (720, 1280))] {
        let rotate = format!("rotate={degrees}");
        let path =
            ffmpeg(&folder, CLIP, &["-t", "0.1", "-c", "copy", "-metadata:s:v", &rotate], "turned.mp4");
        let mut source = open(&path).unwrap();
        let format = source.pictures().unwrap();
        assert_eq!((format.width, format.height), size);
        source.next_picture().unwrap();
        let wanted = decoded_pictures(&path, size.0, size.1);
        assert!(psnr_db(&source.picture(), &wanted[0].view()) > 60.0, "{degrees}");
    }
}

#[test]
fn sound_keeps_pitch_level_and_time_at_any_rate() {
    let folder = TempDir::new().unwrap();
    const BOTH: &str = "pan=stereo|c0=c0|c1=c0";
    let sine = "aevalsrc=0.25*sin(2*PI*440*t)*gte(t\\,0.5):s=48000:d=1.6";
    let rows = [
        ("8 kHz", "s.wav", vec!["-ar", "8000"]),
        ("11.025 kHz", "s.wav", vec!["-ar", "11025"]),
        ("44.1 kHz", "s.wav", vec!["-ar", "44100"]),
        ("96 kHz", "s.wav", vec!["-ar", "96000"]),
        ("stereo", "s.wav", vec!["-af", BOTH]),
        ("8 bit", "s.wav", vec!["-c:a", "pcm_u8"]),
        ("24 bit", "s.wav", vec!["-c:a", "pcm_s24le"]),
        ("32 bit", "s.wav", vec!["-c:a", "pcm_s32le"]),
        ("float", "s.wav", vec!["-c:a", "pcm_f32le"]),
        ("64-bit float", "s.wav", vec!["-c:a", "pcm_f64le"]),
        ("AAC", "s.mp4", vec!["-c:a", "aac", "-b:a", "96k"]),
        ("AAC, 32 kHz stereo", "s.mp4", vec!["-c:a", "aac", "-ar", "32000", "-af", BOTH]),
        ("Opus", "s.mp4", vec!["-c:a", "libopus", "-b:a", "96k"]),
    ];
    for (what, name, arguments) in rows {
        let video =
            ["-f", "lavfi", "-i", "color=c=gray:s=64x64:r=25:d=1.6,format=yuv420p", "-c:v", "libx264"];
        let inputs =
            [&["-f", "lavfi", "-i", sine][..], if name.ends_with("mp4") { &video } else { &[] }].concat();
        let path = ffmpeg_from(&folder, &inputs, &arguments, name);
        let mut source = open(&path).unwrap_or_else(|error| panic!("{what}: {error}"));
        let channels = sound(&mut *source, 150);
        assert_eq!(channels.len(), usize::from(what.contains("stereo")) + 1, "{what}");
        for samples in channels {
            let sound = Sound { samples };
            // the tone begins at 0.5 s of each loop of 1.6 s
            for round in [0.0, 1.6] {
                let (peak, level) = sound.peaks(round + 0.6..round + 1.4, 1)[0];
                assert!(
                    (peak - 440.0).abs() < 2.0 && (level + 12.04).abs() < 0.3,
                    "{what}: {peak} Hz {level} dB"
                );
                let before = sound.level_db(round + 0.05..round + 0.48);
                assert!(before < -40.0, "{what}: {before} dB before the tone");
                let at = (round * 48_000.0) as usize;
                let begin = sound.samples[at..].iter().position(|sample| sample.abs() > 0.1);
                let begin_ms = begin.unwrap() as f64 / 48.0;
                assert!((begin_ms - 500.2).abs() < 1.5, "{what}: begins at {begin_ms} ms");
            }
        }
    }
}

#[test]
fn a_tone_goes_on_through_the_rounds_without_a_click() {
    let folder = TempDir::new().unwrap();
    // whole periods, so that the end continues at the beginning
    let sine = ["-f", "lavfi", "-i", "aevalsrc=0.25*sin(2*PI*441*t):s=44100:d=1"];
    let path = ffmpeg_from(&folder, &sine, &["-c:a", "pcm_f32le"], "tone.wav");
    let mut source = open(&path).unwrap();
    let samples = sound(&mut *source, 200).remove(0);
    let bound = 0.25 * std::f32::consts::TAU * 441.0 / 48_000.0 * 1.02;
    let steps = samples[480..].windows(2).map(|pair| (pair[1] - pair[0]).abs());
    let steepest = steps.fold(0.0, f32::max);
    assert!(steepest < bound, "a step of {steepest}, where the tone has {bound}");
}

#[test]
fn picture_and_sound_begin_each_round_together() {
    let folder = TempDir::new().unwrap();
    // (duration of the sound, of the loop): sound of nearly equal length, longer, shorter
    for (sound_s, round_us) in [("1.04", 1_000_000u64), ("1.6", 1_600_000), ("0.5", 1_000_000)] {
        let video = ["-f", "lavfi", "-i", "testsrc=s=64x64:r=25:d=1,format=yuv420p"];
        let beep = format!("aevalsrc=0.5*sin(2*PI*1000*t)*lt(t\\,0.02):s=44100:d={sound_s}");
        let inputs = [&video[..], &["-f", "lavfi", "-i", &beep]].concat();
        let path =
            ffmpeg_from(&folder, &inputs, &["-c:v", "libx264", "-c:a", "aac", "-b:a", "128k"], "loop.mp4");
        let mut source = open(&path).unwrap();
        let times: Vec<_> = (0..26 * 3).map(|_| source.next_picture().unwrap().unwrap()).collect();
        assert!(times.windows(2).all(|pair| pair[1] > pair[0]));
        let sound = Sound { samples: sound(&mut *source, 300).remove(0) };
        for round in 1..3 {
            // AAC frames of 23 ms are rounded up or down at the end of a track
            let begin_us = times[25 * round];
            assert!(
                begin_us.abs_diff(round_us * round as u64) <= 24_000 * round as u64,
                "{sound_s}: {begin_us}"
            );
            let at = (begin_us * 48 / 1000) as usize;
            let (before, after) = (at - 240, at + 960);
            let loud = sound.samples[before..after].iter().position(|sample| sample.abs() > 0.1).unwrap();
            assert!((150..400).contains(&loud), "{sound_s}: beep {loud} samples after {before}");
        }
    }
}

#[test]
fn raw_pictures_of_all_kinds_are_played() {
    let folder = TempDir::new().unwrap();
    let rows = [
        ("4:2:0", "320:180", "yuv420p"),
        ("4:2:2", "320:180", "yuv422p"),
        ("4:4:4", "320:180", "yuv444p"),
        ("grey", "320:180", "gray"),
        ("full range", "320:180", "yuvj420p"),
        ("odd sides", "321:181", "yuv420p"),
        ("odd sides in 4:4:4", "321:181", "yuv444p"),
    ];
    for (what, size, pixels) in rows {
        let scale = format!("scale={size}");
        let arguments = ["-t", "0.2", "-vf", &scale, "-pix_fmt", pixels, "-strict", "-1"];
        let path = ffmpeg(&folder, CLIP, &arguments, "raw.y4m");
        let mut source = open(&path).unwrap_or_else(|error| panic!("{what}: {error}"));
        let crop = "crop=320:180:0:0,format=yuv420p,scale=out_range=tv";
        let wanted = decoded_with(&path, 320, 180, crop);
        for number in 0..12 {
            assert_eq!(source.next_picture().unwrap(), Some(number * 40_000), "{what}");
            let wanted = &wanted[number as usize % wanted.len()];
            // ffmpeg's own conversion of chroma and range rounds differently
            let psnr = psnr_db(&source.picture(), &wanted.view());
            assert!(psnr > 45.0, "{what}: {psnr:.1} dB");
            let chroma = |picture: &plenary_media::PictureView<'_>| {
                let plane = picture.planes[1];
                (0..90).map(|y| u64::from(plane.samples[y * plane.stride + 80])).sum::<u64>() / 90
            };
            assert!(chroma(&source.picture()).abs_diff(chroma(&wanted.view())) <= 2, "{what}");
        }
    }
}

#[test]
fn a_file_that_is_cut_off_plays_as_far_as_it_goes() {
    let folder = TempDir::new().unwrap();
    let fragmented = ffmpeg(
        &folder,
        CLIP,
        &[
            "-c:v",
            "libx264",
            "-preset",
            "ultrafast",
            "-s",
            "320x180",
            "-g",
            "25",
            "-c:a",
            "copy",
            "-movflags",
            "frag_keyframe+empty_moov+default_base_moof",
        ],
        "fragmented.mp4",
    );
    let in_front = ffmpeg(&folder, CLIP, &["-c", "copy", "-movflags", "+faststart"], "front.mp4");
    let raw = ffmpeg(&folder, CLIP, &["-t", "0.4", "-s", "320x180"], "raw.y4m");
    for (whole, share, expected) in
        [(&fragmented, 0.5, 30..110), (&in_front, 0.5, 30..110), (&raw, 0.55, 5..6)]
    {
        let path = shortened(&folder, whole, share);
        let mut source = open(&path).unwrap();
        let mut last_us = source.next_picture().unwrap().unwrap();
        let first = Picture::copy_of(&source.picture());
        // the first picture reappears after the pictures of one loop
        let again = (1..).find(|_| {
            let at_us = source.next_picture().unwrap().unwrap();
            assert!(at_us > last_us, "{}", path.display());
            last_us = at_us;
            psnr_db(&source.picture(), &first.view()) == 100.0
        });
        assert!(expected.contains(&again.unwrap()), "{}: {again:?}", path.display());
    }
    let speech = shortened(&folder, &media(SPEECH), 0.3);
    assert!(sound(&mut *open(&speech).unwrap(), 400)[0].iter().any(|sample| sample.abs() > 0.05));
}

#[test]
fn lengths_of_a_file_that_came_through_a_pipe_are_not_believed() {
    let folder = TempDir::new().unwrap();
    let mut bytes = std::fs::read(media(SPEECH)).unwrap();
    let data = bytes.windows(4).position(|window| window == b"data").unwrap();
    bytes[data + 4..data + 8].fill(0xff);
    let path = folder.path().join("pipe.wav");
    std::fs::write(&path, bytes).unwrap();
    assert_eq!(sound(&mut *open(&path).unwrap(), 100), sound(&mut *open(&media(SPEECH)).unwrap(), 100));
}

#[test]
fn files_that_cannot_be_played_say_why_in_one_line() {
    let folder = TempDir::new().unwrap();
    let written = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let small = ["-t", "0.2", "-s", "64x64"];
    let made = |name: &str, more: &[&str]| ffmpeg(&folder, CLIP, &[&small[..], more].concat(), name);
    let whole = std::fs::read(media(CLIP)).unwrap();
    let mut no_channels = std::fs::read(media(SPEECH)).unwrap();
    no_channels[22..24].fill(0);
    let front = std::fs::read(made("front.mp4", &["-c:v", "libx264", "-movflags", "+faststart"])).unwrap();
    let rows = [
        (PathBuf::from("/nowhere/clip.mp4"), "No such file or directory (os error 2)"),
        (folder.path().to_owned(), "Is a directory (os error 21)"),
        (written("empty.mp4", b""), "the file is empty"),
        (written("text.mp4", b"these are only words\n"), "neither MP4, nor Y4M, nor WAV"),
        (written("beginning.mp4", &front[..300]), "damaged MP4: cut off in its header (moov)"),
        (written("beginning-only.mp4", &whole[..20_000.min(whole.len())]), "damaged MP4"),
        (made("sound.mp4", &["-vn"]), "no video track"),
        (
            made("h265.mp4", &["-c:v", "libx265", "-an"]),
            "video as hev1 is not supported; video must be H.264",
        ),
        (made("mpeg4.mp4", &["-c:v", "mpeg4", "-an"]), "video as mp4v is not supported; video must be H.264"),
        (
            made("10bit.mp4", &["-pix_fmt", "yuv420p10le", "-an"]),
            "H.264 with 10-bit samples is not supported",
        ),
        (made("444.mp4", &["-pix_fmt", "yuv444p", "-an"]), "H.264 in 4:4:4 is not supported"),
        (made("fields.mp4", &["-flags", "+ildct+ilme", "-an"]), "this kind of H.264 (openh264"),
        (made("ac3.mp4", &["-c:a", "ac3"]), "sound as ac-3 is not supported; sound must be AAC-LC or Opus"),
        (made("mp3.mp4", &["-c:a", "libmp3lame"]), "sound of MPEG type 0x6b is not supported"),
        (made("flac.mp4", &["-c:a", "flac", "-strict", "-2"]), "sound as fLaC is not supported"),
        (made("surround.mp4", &["-c:a", "aac", "-ac", "6"]), "sound of 6 channels is not supported"),
        (
            made("surround-opus.mp4", &["-c:a", "libopus", "-ac", "6"]),
            "Opus of more than 2 channels is not supported",
        ),
        (made("surround.wav", &["-vn", "-ac", "4"]), "sound of 4 channels is not supported"),
        (made("fast.wav", &["-vn", "-ar", "192000"]), "sound at 192000 Hz is not supported"),
        (made("law.wav", &["-vn", "-c:a", "pcm_mulaw"]), "WAV of format 7 with 8 bits is not supported"),
        (written("header.wav", &std::fs::read(media(SPEECH)).unwrap()[..44]), "damaged WAV: no samples"),
        (written("mute.wav", &no_channels), "damaged WAV: no channels"),
        (written("begun.wav", b"RIFF\0\0\0\0WAVEfmt "), "damaged WAV: no sound in it: cut off"),
        (made("10bit.y4m", &["-pix_fmt", "yuv420p10le", "-strict", "-1"]), "Y4M with 10-bit samples"),
        (made("411.y4m", &["-pix_fmt", "yuv411p"]), "this colour space of Y4M is not supported"),
        (written("header.y4m", b"YUV4MPEG2 W64 H64 F25:1\n"), "damaged Y4M: no whole picture"),
        (written("huge.y4m", b"YUV4MPEG2 W99999 H64 F25:1\n"), "a picture of 99999x64 is not supported"),
        (written("begun.y4m", b"YUV4MPEG2 W64 H64"), "damaged Y4M: cut off in its header"),
    ];
    for (path, reason) in rows {
        let line = open(&path).err().map(|error| error.to_string()).unwrap_or_default();
        let wanted = format!("{}: {reason}", path.display());
        assert!(line.starts_with(&wanted) && !line.contains('\n'), "{line:?} instead of {wanted:?}");
    }
}

#[test]
fn damaged_bytes_are_played_or_refused_and_nothing_else() {
    let folder = TempDir::new().unwrap();
    let files = [
        ffmpeg(
            &folder,
            CLIP,
            &["-t", "0.4", "-s", "64x64", "-c:a", "aac", "-movflags", "+faststart"],
            "a.mp4",
        ),
        ffmpeg(
            &folder,
            CLIP,
            &["-t", "0.4", "-s", "64x64", "-c:a", "libopus", "-movflags", "frag_keyframe+empty_moov"],
            "b.mp4",
        ),
        ffmpeg(&folder, CLIP, &["-t", "0.1", "-s", "64x64"], "c.y4m"),
        ffmpeg(&folder, SPEECH, &["-t", "0.2"], "d.wav"),
    ];
    // a local random generator, so that failures are reproducible
    let mut state = 12_345u32;
    let mut random = |below: usize| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as usize % below
    };
    for file in files {
        let whole = std::fs::read(&file).unwrap();
        for _ in 0..150 {
            let mut bytes = whole.clone();
            // the span that contains the headers
            let span = 1500.min(bytes.len());
            for _ in 0..1 + random(6) {
                let at = random(span);
                bytes[at] = random(256) as u8;
            }
            if random(4) == 0 {
                bytes.truncate(random(whole.len()) + 1);
            }
            let path = folder.path().join("damaged");
            std::fs::write(&path, bytes).unwrap();
            let Ok(mut source) = open(&path) else { continue };
            let mut samples = vec![0.0; SOUND_FRAME_LEN * usize::from(source.channels().unwrap_or(1))];
            for _ in 0..30 {
                let _ = source.next_picture();
                let _ = source.next_sound(&mut samples);
            }
        }
    }
}

fn codecs() -> Arc<dyn Codecs> {
    Arc::new(BuiltinCodecs::default())
}

fn open(path: &Path) -> Result<Box<dyn Source>, plenary_media::source::SourceError> {
    open_source(path, &codecs())
}

fn media(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/media").join(name)
}

/// Returns this many frames of sound, as one list per channel.
fn sound(source: &mut dyn Source, frames: usize) -> Vec<Vec<f32>> {
    let channels = usize::from(source.channels().unwrap());
    let mut samples = vec![0.0; SOUND_FRAME_LEN * channels];
    let mut all = vec![Vec::new(); channels];
    for _ in 0..frames {
        source.next_sound(&mut samples).unwrap();
        for frame in samples.chunks_exact(channels) {
            all.iter_mut().zip(frame).for_each(|(channel, sample)| channel.push(*sample));
        }
    }
    all
}

/// Converts one of the media files.
fn ffmpeg(folder: &TempDir, from: &str, arguments: &[&str], name: &str) -> PathBuf {
    let from = media(from);
    ffmpeg_from(folder, &["-i", from.to_str().unwrap()], arguments, name)
}

fn ffmpeg_from(folder: &TempDir, inputs: &[&str], arguments: &[&str], name: &str) -> PathBuf {
    let path = folder.path().join(name);
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-nostdin", "-y"]).args(inputs).args(arguments).arg(&path);
    let output = command.output().expect("ffmpeg is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    path
}

fn shortened(folder: &TempDir, whole: &Path, share: f64) -> PathBuf {
    let bytes = std::fs::read(whole).unwrap();
    let path = folder.path().join(format!("short-{}", whole.file_name().unwrap().to_str().unwrap()));
    std::fs::write(&path, &bytes[..(bytes.len() as f64 * share) as usize]).unwrap();
    path
}

/// Returns all pictures of a file as decoded by ffmpeg.
fn decoded_pictures(path: &Path, width: usize, height: usize) -> Vec<Picture> {
    decoded_with(path, width, height, "format=yuv420p")
}

fn decoded_with(path: &Path, width: usize, height: usize, filter: &str) -> Vec<Picture> {
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-nostdin", "-i"]).arg(path);
    command.args(["-vf", filter, "-fps_mode", "passthrough", "-pix_fmt", "yuv420p", "-f", "rawvideo", "-"]);
    let output = command.output().unwrap();
    let pictures = output.stdout.chunks_exact(width * height * 3 / 2);
    pictures.map(|samples| Picture::from_samples(width, height, samples.to_vec()).unwrap()).collect()
}

/// Returns the presentation times of the packets of a kind, in order.
fn packet_times_us(path: &Path, kind: &str) -> Vec<u64> {
    let mut command = Command::new("ffprobe");
    command.args([
        "-v",
        "error",
        "-select_streams",
        kind,
        "-show_entries",
        "packet=pts_time",
        "-of",
        "csv=p=0",
    ]);
    let output = command.arg(path).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let times = text.lines().filter_map(|line| line.trim_end_matches(',').parse::<f64>().ok());
    let mut times: Vec<_> = times.map(|seconds| (seconds * 1e6).round() as u64).collect();
    times.sort_unstable();
    times
}

/// Returns the pixels that `write_png` writes.
fn rgb_of(picture: &Picture) -> Vec<[u8; 3]> {
    let mut bytes = Vec::new();
    plenary_media::write_png(&picture.view(), &mut bytes).unwrap();
    let mut reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    reader.next_frame(&mut pixels).unwrap();
    pixels.chunks_exact(3).map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect()
}
