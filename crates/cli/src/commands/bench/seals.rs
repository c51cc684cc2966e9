//! `plenary bench seals`: what the seals of a program cost its maker and a receiver, in bytes and processor time.

use std::time::Duration;

use cpu_time::ThreadTime;
use plenary_media::Encoded;
use plenary_proto::identity::MediaKind;
use plenary_proto::identity::seal::{SealCheck, Sealer};
use plenary_proto::seal::Keypair;
use plenary_proto::{RoomId, StreamId};
use serde::Serialize;

use crate::Failure;
use crate::args::SealsBenchArgs;
use crate::json::{self, round};

/// Seconds of the program: enough for some tenths of a second of processor time.
const SECONDS: u64 = 120;
const FPS: u64 = 30;
/// Sound packets per second, and their bytes at 64 kbit/s.
const SOUNDS: u64 = 50;
const SOUND_LEN: usize = 160;
const ROOM: RoomId = RoomId([1; 16]);
const STREAM: StreamId = StreamId([2; 8]);

#[derive(Serialize)]
struct SealsReport {
    /// Bytes that seals add to the program, in percent.
    bytes_percent: f64,
    /// Processor time of the maker beyond that of bare identities, in percent of a core.
    maker_percent: f64,
    /// Processor time of a receiver's checks, in percent of a core.
    receiver_percent: f64,
    bitrate_bps: u32,
}

pub(super) fn run(args: &SealsBenchArgs) -> Result<(), Failure> {
    let report = seals(args.bitrate);
    match &args.json {
        Some(to) => json::write(to, &report)?,
        None => say!(
            "{:.2} % more bytes, {:.3} % of a core at the maker, {:.3} % at a receiver",
            report.bytes_percent,
            report.maker_percent,
            report.receiver_percent
        ),
    }
    Ok(())
}

/// Frames of a program of two temporal layers, pictures and sound by turns.
fn program(bitrate_bps: u32) -> Vec<Encoded> {
    let picture_len = bitrate_bps as usize / 8 / FPS as usize;
    let picture = |at: u64| {
        let key = at.is_multiple_of(2 * FPS);
        let header = if key { 0x65 } else { [0x61, 0x01][usize::from(!at.is_multiple_of(2))] };
        let mut data = vec![0, 0, 0, 1, header];
        data.extend((0..picture_len).map(|byte| byte as u8 | 0x80));
        let captured_us = at * 1_000_000 / FPS;
        Encoded { kind: MediaKind::Video, data: data.into(), captured_us, key, temporal: 0, level: None }
    };
    let sound = |at: u64| {
        let data = vec![0x78; SOUND_LEN].into();
        let captured_us = at * 1_000_000 / SOUNDS;
        Encoded { kind: MediaKind::Sound, data, captured_us, key: false, temporal: 0, level: None }
    };
    let mut frames: Vec<_> =
        (0..SECONDS * FPS).map(picture).chain((0..SECONDS * SOUNDS).map(sound)).collect();
    frames.sort_by_key(|frame| frame.captured_us);
    frames
}

/// Embeds identities, with or without seals. Returns bytes and processor time, and what a receiver's checks take.
fn made(frames: &[Encoded], keys: Option<&Keypair>) -> (u64, Duration, Duration) {
    let kinds = [MediaKind::Video, MediaKind::Sound];
    let mut sealers = keys.map(|keys| kinds.map(|kind| Sealer::new(keys.clone(), ROOM, kind)));
    let (mut numbers, began) = ([0u32; 2], ThreadTime::now());
    let sealed = frames.iter().filter_map(|frame| {
        let lane = usize::from(frame.kind == MediaKind::Sound);
        numbers[lane] += 1;
        let sealer = sealers.as_mut().map(|sealers| &mut sealers[lane]);
        frame.sealed(STREAM, numbers[lane], numbers[lane].into(), sealer)
    });
    let sealed: Vec<_> = sealed.collect();
    let making = began.elapsed();
    let began = ThreadTime::now();
    if let Some(keys) = keys {
        let mut checks = kinds.map(|kind| SealCheck::new(keys.id(), ROOM, kind));
        for frame in &sealed {
            let check = &mut checks[usize::from(frame.kind == MediaKind::Sound)];
            assert!(check.take(&frame.data, &frame.identity).is_ok(), "a frame is as it was made");
        }
    }
    (sealed.iter().map(|frame| frame.data.len() as u64).sum(), making, began.elapsed())
}

fn seals(bitrate_bps: u32) -> SealsReport {
    let (frames, keys) = (program(bitrate_bps), Keypair::from_seed(&[1; 32]));
    let (bare_bytes, bare, _) = made(&frames, None);
    let (bytes, making, checking) = made(&frames, Some(&keys));
    let percent = |time: Duration| round(100.0 * time.as_secs_f64() / SECONDS as f64);
    SealsReport {
        bytes_percent: round(100.0 * (bytes - bare_bytes) as f64 / bare_bytes as f64),
        maker_percent: percent(making.saturating_sub(bare)),
        receiver_percent: percent(checking),
        bitrate_bps,
    }
}
