//! Shapes drawn from distance functions: plates, discs, and the microphone of the mute mark.

use super::stamp::Cover;

type Point = (f32, f32);

/// Draws a rectangle with round corners.
pub(super) fn plate(width: usize, height: usize, radius: f32) -> Cover {
    let inner = (width as f32 / 2.0 - radius, height as f32 / 2.0 - radius);
    Cover::draw(width, height, |x, y| {
        let across = ((x - width as f32 / 2.0).abs() - inner.0).max(0.0);
        let down = ((y - height as f32 / 2.0).abs() - inner.1).max(0.0);
        radius + 0.5 - across.hypot(down)
    })
}

/// Draws a filled circle.
pub(super) fn disc(diameter: usize) -> Cover {
    plate(diameter, diameter, diameter as f32 / 2.0)
}

/// Draws a microphone on its stand.
pub(super) fn microphone(size: usize) -> Cover {
    let scale = size as f32;
    Cover::draw(size, size, |x, y| {
        let at = (x / scale, y / scale);
        let capsule = 0.15 - to_segment(at, (0.5, 0.2), (0.5, 0.42));
        let ring = 0.045 - ((at.0 - 0.5).hypot(at.1 - 0.42) - 0.27).abs().max(0.42 - at.1);
        let stem = 0.045 - to_segment(at, (0.5, 0.7), (0.5, 0.88));
        let foot = 0.045 - to_segment(at, (0.34, 0.9), (0.66, 0.9));
        0.5 + scale * capsule.max(ring).max(stem).max(foot)
    })
}

/// Draws the stroke through the microphone.
pub(super) fn stroke(size: usize) -> Cover {
    let scale = size as f32;
    Cover::draw(size, size, |x, y| {
        0.5 + scale * (0.06 - to_segment((x / scale, y / scale), (0.14, 0.1), (0.86, 0.9)))
    })
}

fn to_segment((x, y): Point, from: Point, to: Point) -> f32 {
    let (dx, dy) = (to.0 - from.0, to.1 - from.1);
    let along = (((x - from.0) * dx + (y - from.1) * dy) / (dx * dx + dy * dy)).clamp(0.0, 1.0);
    (x - from.0 - along * dx).hypot(y - from.1 - along * dy)
}
