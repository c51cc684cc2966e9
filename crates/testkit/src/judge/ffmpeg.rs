//! Runs `ffprobe` and `ffmpeg` and parses their output.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::sound::RATE_HZ;

/// Properties of a file known without decoding.
pub(super) struct Probed {
    pub(super) duration_s: f64,
    /// Size of the pictures; `None` without video.
    pub(super) video_size: Option<(usize, usize)>,
    /// Presentation time of each picture.
    pub(super) video_times: Vec<f64>,
    /// Number of sound channels; 1 without sound.
    pub(super) channels: usize,
    /// Start and end of each packet of sound.
    pub(super) sound_packets: Vec<(f64, f64)>,
    pub(super) errors: Vec<String>,
}

#[derive(Deserialize)]
struct Report {
    #[serde(default)]
    streams: Vec<StreamReport>,
    #[serde(default)]
    packets: Vec<PacketReport>,
}

#[derive(Deserialize)]
struct StreamReport {
    codec_type: String,
    width: Option<usize>,
    height: Option<usize>,
    channels: Option<usize>,
}

#[derive(Deserialize)]
struct PacketReport {
    codec_type: String,
    pts_time: Option<String>,
    duration_time: Option<String>,
}

pub(super) fn probe(path: &Path) -> Result<Probed> {
    let mut command = Command::new("ffprobe");
    command.args(["-v", "error", "-of", "json", "-show_streams", "-show_packets"]).arg(path);
    let output = command.output().context("running ffprobe")?;
    let report: Report = serde_json::from_slice(&output.stdout)?;
    let errors = lines(&String::from_utf8_lossy(&output.stderr));
    ensure!(!report.streams.is_empty(), "no streams: {errors:?}");
    let times = |kind: &str| spans(report.packets.iter().filter(|packet| packet.codec_type == kind));
    let (video, sound) = (times("video"), times("audio"));
    let ends = video.iter().chain(&sound).map(|span| span.1);
    let stream = |kind: &str| report.streams.iter().find(|stream| stream.codec_type == kind);
    Ok(Probed {
        duration_s: ends.fold(0.0, f64::max),
        video_size: stream("video").and_then(|stream| Some((stream.width?, stream.height?))),
        video_times: video.iter().map(|span| span.0).collect(),
        channels: stream("audio").and_then(|stream| stream.channels).unwrap_or(1).max(1),
        sound_packets: sound,
        errors,
    })
}

/// Start and end of each packet, in order. ffprobe doesn't report the duration of Opus in MP4; those packets
/// get the median interval between packets.
fn spans<'a>(packets: impl Iterator<Item = &'a PacketReport>) -> Vec<(f64, f64)> {
    let number = |text: &Option<String>| text.as_ref().and_then(|text| text.parse::<f64>().ok());
    let mut packets: Vec<_> = packets
        .filter_map(|packet| Some((number(&packet.pts_time)?, number(&packet.duration_time))))
        .collect();
    packets.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut distances: Vec<_> = packets.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
    distances.sort_by(f64::total_cmp);
    let usual = distances.get(distances.len() / 2).copied().unwrap_or(0.0);
    packets.iter().map(|(begin, duration)| (*begin, begin + duration.unwrap_or(usual))).collect()
}

/// Decodes all pictures and passes the luma of each, `width × height` samples, to `each`; returns ffmpeg's
/// errors.
pub(super) fn decode_luma(
    path: &Path,
    (width, height): (usize, usize),
    mut each: impl FnMut(&[u8]),
) -> Result<Vec<String>> {
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-nostdin", "-i"]).arg(path);
    // in the file's own timescale: pictures may be less than a thirtieth of a second apart
    command.args(["-map", "0:v:0", "-fps_mode", "passthrough", "-enc_time_base", "-1"]);
    command.args(["-pix_fmt", "gray", "-f", "rawvideo", "-"]);
    let (mut child, errors) = start(command)?;
    let mut luma = vec![0; width * height];
    let mut stdout = child.stdout.take().context("ffmpeg's output")?;
    while stdout.read_exact(&mut luma).is_ok() {
        each(&luma);
    }
    end(child, errors)
}

/// Decodes all sound at 48 kHz, from time 0 on, with gaps filled by silence. Channels are averaged here,
/// since ffmpeg's own downmix changes the level.
pub(super) fn decode_sound(path: &Path, channels: usize) -> Result<(Vec<f32>, Vec<String>)> {
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-nostdin", "-i"]).arg(path);
    let fill = "aresample=async=1:min_hard_comp=0.005:first_pts=0";
    command.args(["-map", "0:a:0", "-af", fill, "-ar", &RATE_HZ.to_string(), "-f", "f32le", "-"]);
    let (mut child, errors) = start(command)?;
    let mut bytes = Vec::new();
    child.stdout.take().context("ffmpeg's output")?.read_to_end(&mut bytes)?;
    let errors = end(child, errors)?;
    let samples = bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    let samples: Vec<_> = samples.collect();
    let mean = |frame: &[f32]| frame.iter().sum::<f32>() / channels as f32;
    Ok((samples.chunks_exact(channels).map(mean).collect(), errors))
}

type Errors = std::thread::JoinHandle<String>;

/// Starts the command, and reads its stderr on a separate thread, so that neither pipe can block the other.
fn start(mut command: Command) -> Result<(Child, Errors)> {
    let mut child =
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().context("running ffmpeg")?;
    let mut stderr = child.stderr.take().context("ffmpeg's errors")?;
    let errors = std::thread::spawn(move || {
        let mut text = Vec::new();
        let _ = stderr.read_to_end(&mut text);
        String::from_utf8_lossy(&text).into_owned()
    });
    Ok((child, errors))
}

fn end(mut child: Child, errors: Errors) -> Result<Vec<String>> {
    let status = child.wait()?;
    let mut errors = lines(&errors.join().unwrap_or_default());
    if !status.success() {
        errors.push(format!("ffmpeg: {status}"));
    }
    Ok(errors)
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
}
