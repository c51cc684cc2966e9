//! What scaling, composing and mixing cost on this machine.
use plenary_media::Picture;
use plenary_media::scale::{Rect, Scaler};
use std::time::Instant;

fn main() {
    for (n, from, to) in [
        (1, (640, 360), (1280, 720)),
        (1, (960, 540), (1280, 720)),
        (4, (640, 360), (640, 360)),
        (9, (640, 360), (426, 240)),
        (16, (640, 360), (320, 180)),
        (4, (1280, 720), (640, 360)),
        (4, (1920, 1080), (640, 360)),
    ] {
        let mut source = Picture::black(from.0, from.1);
        for plane in source.planes_mut() {
            for (i, s) in plane.iter_mut().enumerate() {
                *s = ((i * 7919) >> 3) as u8;
            }
        }
        let mut canvas = Picture::black(1280, 720);
        let mut scaler = Scaler::new();
        let mut best = f64::MAX;
        for _ in 0..20 {
            let start = Instant::now();
            for _ in 0..10 {
                for _ in 0..n {
                    scaler.draw(&source.view(), &mut canvas, Rect { x: 0, y: 0, width: to.0, height: to.1 });
                }
            }
            best = best.min(start.elapsed().as_secs_f64() * 100.0);
        }
        println!("{n} x {from:?} -> {to:?}: {best:.3} ms");
    }
}
