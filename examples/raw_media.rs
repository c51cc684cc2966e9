//! An application that draws its own picture and generates its own sound, and a viewer that receives them.
//!
//! ```text
//! cargo run -p plenary --example raw_media                       # for some seconds
//! ```

use std::f32::consts::TAU;
use std::time::Duration;

use anyhow::Context as _;
use plenary::media::{Clock, PlaneView, RawFormat, RawPicture};
use plenary::{HostOptions, Options, RawTrack, Room};

const WIDTH: usize = 640;
const HEIGHT: usize = 360;
const FPS: u8 = 25;
const TONE_HZ: f32 = 440.0;
const SAMPLE_RATE: u32 = 48_000;
/// Samples in 10 ms.
const CHUNK_LEN: usize = SAMPLE_RATE as usize / 100;
/// Number of pictures that the viewer evaluates.
const PICTURES: usize = 4 * FPS as usize;
/// Samples until the decoder has settled after it began in mid-stream: 200 ms.
const SETTLING: usize = SAMPLE_RATE as usize / 5;
const SAMPLES: usize = 4 * SAMPLE_RATE as usize;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let clock = Clock::start(); // shared by both peers, so that latency can be measured
    let host = Room::host(Options::speaker("Ada").clock(clock), HostOptions::default()).await?;
    let track = host.publish_raw(RawFormat { fps: FPS, channels: 1, sample_rate: SAMPLE_RATE }).await?;
    let invite = host.invite().context("no invite")?;
    let viewer = Room::join(&invite, Options::viewer("Zoë").clock(clock)).await?;

    let watched = tokio::select! {
        watched = tokio::time::timeout(Duration::from_secs(15), watch(&viewer)) => watched,
        failed = perform(&track) => return failed,
    };
    let counts = track.counts();
    println!("encoded {} pictures, dropped {}", counts.encoded_frames, counts.dropped_frames);
    watched.context("the program took too long")??;
    viewer.close().await;
    host.close().await;
    Ok(())
}

/// Pushes a picture every 40 ms and sound every 10 ms, until the room is closed.
async fn perform(track: &RawTrack) -> anyhow::Result<()> {
    let mut beat = tokio::time::interval(Duration::from_millis(10));
    let begin_us = track.now_us();
    let (mut luma, chroma) = (vec![0; WIDTH * HEIGHT], vec![128; WIDTH * HEIGHT / 2]);
    for number in 0.. {
        beat.tick().await;
        let captured_us = begin_us + number as u64 * 10_000;
        let first = number * CHUNK_LEN;
        let tone =
            |at: usize| 0.3 * ((at % SAMPLE_RATE as usize) as f32 * TONE_HZ / SAMPLE_RATE as f32 * TAU).sin();
        let samples: Vec<f32> = (first..first + CHUNK_LEN).map(tone).collect();
        track.push_sound(&samples[..], captured_us)?;
        if number.is_multiple_of(4) {
            draw(&mut luma, number);
            let [luma, chroma] = [&luma, &chroma].map(|samples| PlaneView { samples, stride: WIDTH });
            let picture = RawPicture::Nv12 { width: WIDTH, height: HEIGHT, luma, chroma };
            track.push_picture(&picture, captured_us)?;
        }
    }
    Ok(())
}

/// Draws a bright bar that moves over a grey gradient.
fn draw(luma: &mut [u8], number: usize) {
    for row in luma.chunks_exact_mut(WIDTH) {
        for (x, sample) in row.iter_mut().enumerate() {
            let bar = (x + 2 * WIDTH - 2 * number % WIDTH) % WIDTH < 20;
            *sample = if bar { 235 } else { 16 + (x * 100 / WIDTH) as u8 };
        }
    }
}

/// Prints the frame rate, the age of the pictures, and the frequency of the sound that the viewer receives.
async fn watch(viewer: &Room) -> anyhow::Result<()> {
    let (mut pictures, mut sound) = (viewer.pictures()?, viewer.sound()?);
    let seeing = async {
        let mut times_us = Vec::new();
        let mut ages_us = Vec::new();
        while times_us.len() < PICTURES {
            let decoded = pictures.next().await.context("the room has ended")?;
            ages_us.push(viewer.clock().now_us().saturating_sub(decoded.captured_us));
            times_us.push(decoded.captured_us);
        }
        ages_us.sort_unstable();
        let lasted_us = times_us[PICTURES - 1] - times_us[0];
        anyhow::Ok(((PICTURES - 1) as f64 * 1e6 / lasted_us as f64, ages_us[PICTURES / 2]))
    };
    let hearing = async {
        let mut samples: Vec<f32> = Vec::new();
        while samples.len() < SETTLING + SAMPLES {
            let heard = sound.next().await.context("the room has ended")?;
            if !samples.is_empty() || heard.samples.iter().any(|sample| sample.abs() > 0.01) {
                samples.extend(heard.mono());
            }
        }
        let samples = &samples[SETTLING..];
        let rises = samples.windows(2).filter(|pair| pair[0] < 0.0 && pair[1] >= 0.0).count();
        anyhow::Ok(rises as f64 * f64::from(SAMPLE_RATE) / samples.len() as f64)
    };
    let ((fps, age_us), hz) = tokio::try_join!(seeing, hearing)?;
    println!("saw {fps:.1} pictures a second, {} ms after their capture (median)", age_us / 1_000);
    println!("heard {hz:.0} Hz");
    anyhow::ensure!((hz - f64::from(TONE_HZ)).abs() < 10.0, "that is not the tone that was sent");
    Ok(())
}
