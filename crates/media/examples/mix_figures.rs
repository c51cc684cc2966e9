//! Measures the parts of a mixer on this machine, without codecs: the best of several runs.
//!
//! `cargo run --release -p plenary-media --example mix_figures`

use std::hint::black_box;
use std::time::Instant;

use plenary_media::assembly::{Assembler, Packet};
use plenary_media::compose::{Composer, Tile};
use plenary_media::level::{Loudest, level};
use plenary_media::mix::{SoundMix, Voice};
use plenary_media::payload::packetize;
use plenary_media::scale::{Rect, Scaler};
use plenary_media::{Frame, Picture, SOUND_FRAME_LEN};
use plenary_proto::StreamId;
use plenary_proto::identity::{FrameIdentity, MediaKind, h264};

const RUNS: usize = 15;

fn main() {
    println!("scaling a whole program picture's tiles, ms");
    let scalings = [
        (1, (640, 360), (1280, 720)),
        (1, (960, 540), (1280, 720)),
        (4, (640, 360), (640, 360)),
        (4, (1280, 720), (640, 360)),
        (4, (1920, 1080), (640, 360)),
        (9, (640, 360), (426, 240)),
        (16, (640, 360), (320, 180)),
    ];
    for (count, from, to) in scalings {
        let picture = scene(from.0, from.1);
        let mut canvas = Picture::black(1280, 720);
        let mut scaler = Scaler::new();
        let rect = Rect { x: 0, y: 0, width: to.0, height: to.1 };
        let draw = || (0..count).for_each(|_| scaler.draw(&picture.view(), &mut canvas, rect));
        println!("  {count:2} x {}x{} -> {}x{}  {:.3}", from.0, from.1, to.0, to.1, best_us(draw) / 1e3);
    }

    println!("composing 1280x720 with names, every tile new, ms");
    for (count, size) in [(4, (640, 360)), (9, (426, 240)), (16, (320, 180))] {
        let picture = scene(size.0, size.1);
        let mut composer = Composer::new(1280, 720);
        let tile =
            |id| Tile { id, name: format!("Speaker number {id}"), muted: id % 2 == 0, ..Tile::default() };
        let tiles: Vec<Tile> = (0..count).map(tile).collect();
        let begun = Instant::now();
        composer.set_grid(tiles);
        let layout_ms = begun.elapsed().as_secs_f64() * 1e3;
        let draw = || (0..count).for_each(|id| composer.draw(id, &picture.view()));
        println!(
            "  {count:2} x {}x{}  {:.3}   (layout, once: {layout_ms:.2})",
            size.0,
            size.1,
            best_us(draw) / 1e3
        );
    }

    println!("mixing 20 ms: levels, choice, shared mix, one mix less each of the heard, µs");
    for speakers in [5, 50] {
        let frames: Vec<Vec<f32>> = (0..speakers).map(|id| tone(200.0 + 30.0 * id as f32)).collect();
        let mut loudest = Loudest::new(5);
        let mut mix = SoundMix::new();
        let step = || {
            let levels: Vec<(u64, u8)> =
                (0..).zip(&frames).map(|(id, samples)| (id, level(samples))).collect();
            loudest.update(&levels);
            let voice = |(id, samples)| Voice { id, samples, stereo: false, heard: loudest.hears(id) };
            mix.mix(&(0..).zip(frames.iter().map(Vec::as_slice)).map(voice).collect::<Vec<_>>());
            black_box(mix.shared());
        };
        println!("  {speakers:2} speakers  {:.1}", best_us(step));
    }

    println!("a program frame of 6.3 kB, µs");
    let frame = program_frame();
    println!(
        "  cut into {} payloads  {:.2}",
        packets(&frame, 0).len(),
        best_us(|| drop(packets(black_box(&frame), 0)))
    );
    let mut reader = Assembler::new(frame.identity.stream, MediaKind::Video, 0);
    let mut number = 0;
    let mut read = 0_u64;
    let both = best_us(|| {
        for packet in packets(&frame, number) {
            number = packet.number;
            reader.push(0, packet);
            read += u64::from(reader.poll(0).is_some());
        }
    });
    println!("  cut and put together  {both:.2}");
    assert!(read > 0);
}

/// Returns the least time of `work` over several runs, each averaged over several calls.
fn best_us(mut work: impl FnMut()) -> f64 {
    const TIMES: u32 = 20;
    let run = |_| {
        let begun = Instant::now();
        (0..TIMES).for_each(|_| work());
        begun.elapsed().as_secs_f64() * 1e6 / f64::from(TIMES)
    };
    (0..RUNS).map(run).fold(f64::MAX, f64::min)
}

fn scene(width: usize, height: usize) -> Picture {
    let mut picture = Picture::black(width, height);
    for plane in picture.planes_mut() {
        for (at, sample) in plane.iter_mut().enumerate() {
            *sample = ((at * 7_919) >> 3) as u8;
        }
    }
    picture
}

fn tone(hz: f32) -> Vec<f32> {
    (0..SOUND_FRAME_LEN).map(|at| 0.1 * (at as f32 * hz * std::f32::consts::TAU / 48_000.0).sin()).collect()
}

fn program_frame() -> Frame {
    let identity =
        FrameIdentity { key: true, ..FrameIdentity::single(StreamId([9; 8]), 1, 1_763_627_671_166_665) };
    let slice = (0..6_250).map(|at| (at * 31) as u8 | 4);
    let sets = [0, 0, 0, 1, 0x67, 1, 2, 0, 0, 0, 1, 0x68, 3, 0, 0, 0, 1, 0x65];
    let unmarked: Vec<u8> = sets.into_iter().chain(slice).collect();
    let data = h264::mark(&unmarked, &identity).unwrap_or_default().into();
    Frame { kind: MediaKind::Video, identity, data, level: None }
}

fn packets(frame: &Frame, after: u64) -> Vec<Packet> {
    let payloads = packetize(frame).unwrap_or_default();
    let number = |(number, payload): (u64, plenary_media::payload::Payload)| Packet {
        number,
        timestamp: payload.timestamp,
        marker: payload.marker,
        payload: payload.bytes,
        level: None,
    };
    (after + 1..).zip(payloads).map(number).collect()
}
