//! Pictures of any size drawn into a rectangle of another.
//!
//! Equal sizes are copied, halves are averaged. Everything else is drawn from four samples across and four down, in fixed
//! point, by a windowed sinc: rows are blended with their neighbours, then stretched by a plan of 8 samples at a time, each
//! from a window of 16. A shrinking of 1.72 times or more is halved first, as often as it takes, which also keeps it free of
//! aliasing. `examples/mix_figures.rs` has the times.
//!
//! Speakers shrink their pictures with it, mixers fit them into tiles. A half is exactly the mean of areas. Of the film in our
//! tests, against Lanczos' three lobes in full precision, 3:2, 4:3, 8:7 and 1:2 come to 44, 48, 49 and 50 dB; drawn from two
//! samples each way (bilinear) they came to 42, 42, 41 and 40, in as much time, or a sixth less at 3:2. Encoders leave some 40.

#[cfg(target_arch = "x86_64")]
mod avx2;
mod rect;
mod rows;

use crate::{Picture, PictureView, PlaneView};

pub use rect::Rect;
use rows::{Plan, TAPS, Taps, WINDOW, blend, halve};

/// Source samples per drawn sample above which the source is halved first, as a fraction: a window of 16 has to
/// hold what 8 drawn samples come from.
const RATIO_MAX: (usize, usize) = (12, 7);

/// Whether the planes have all the samples that the size calls for.
pub fn is_whole(view: &PictureView<'_>) -> bool {
    let halves = [1, 2, 2];
    let whole = |(plane, half): (&PlaneView<'_>, usize)| {
        let (width, height) = (view.width / half, view.height / half);
        width > 0
            && height > 0
            && plane.stride >= width
            && plane.samples.len() >= plane.stride.saturating_mul(height - 1).saturating_add(width)
    };
    view.planes.iter().zip(halves).all(whole)
}

/// Draws pictures; keeps its plans and scratch rows, so use one for pictures of the same size.
#[derive(Debug, Default)]
pub struct Scaler {
    luma: PlaneScaler,
    chroma: PlaneScaler,
}

impl Scaler {
    /// Without a plan yet.
    pub fn new() -> Scaler {
        Scaler::default()
    }

    /// Draws `from`, stretched, over `rect` of `to`. Does nothing when `from` lacks samples or `rect` is odd or
    /// not within `to`.
    pub fn draw(&mut self, from: &PictureView<'_>, to: &mut Picture, rect: Rect) {
        if !is_whole(from) || !rect.is_within(to.width(), to.height()) {
            return;
        }
        let width = to.width();
        for (index, (plane, source)) in to.planes_mut().into_iter().zip(&from.planes).enumerate() {
            let (scaler, half) = if index == 0 { (&mut self.luma, 1) } else { (&mut self.chroma, 2) };
            let size = (from.width / half, from.height / half);
            let stride = width / half;
            let begin = rect.y / half * stride + rect.x / half;
            let target = (rect.width / half, rect.height / half);
            if target.0 > 0 && target.1 > 0 {
                scaler.draw(source, size, &mut plane[begin..], stride, target);
            }
        }
    }
}

#[derive(Debug, Default)]
struct PlaneScaler {
    plan: Plan,
    /// What each drawn row comes from, of sides of these sizes.
    taps: ((usize, usize), Vec<Taps>),
    /// A source that was halved, and halved again, by turns.
    halved: [Vec<u8>; 2],
    /// Source rows, stretched, with their numbers.
    stretched: [(Option<usize>, Vec<u8>); TAPS],
    row: Vec<u8>,
}

impl PlaneScaler {
    /// Draws a plane of `size` on `to`, `target` samples wide and high.
    fn draw(
        &mut self,
        from: &PlaneView<'_>,
        size: (usize, usize),
        to: &mut [u8],
        stride: usize,
        target: (usize, usize),
    ) {
        let [mut halved, mut spare] = std::mem::take(&mut self.halved);
        let (mut view, mut size) = (*from, size);
        while let Some(next) = halve_plane(&view, size, target, &mut spare) {
            std::mem::swap(&mut halved, &mut spare);
            size = next;
            view = PlaneView { samples: &halved, stride: size.0 };
        }
        let rows = to.chunks_mut(stride).map(|row| &mut row[..target.0]).take(target.1);
        if size == target {
            for (row, source) in rows.zip(view.samples.chunks(view.stride)) {
                row.copy_from_slice(&source[..target.0]);
            }
        } else {
            self.plan.prepare(size.0, target.0);
            if self.taps.0 != (size.1, target.1) {
                self.taps = ((size.1, target.1), Taps::of_side(size.1, target.1).collect());
            }
            if size.1 > target.1 {
                self.shrink(&view, size.0, rows);
            } else {
                self.enlarge(&view, size.0, rows, target.0);
            }
        }
        self.halved = [halved, spare];
    }

    /// Blends source rows, then stretches the blend: the least work when there are fewer rows to draw.
    fn shrink<'a>(&mut self, from: &PlaneView<'_>, width: usize, rows: impl Iterator<Item = &'a mut [u8]>) {
        self.row.resize(width.max(WINDOW), 0);
        for (taps, row) in self.taps.1.iter().zip(rows) {
            blend(taps.at.map(|number| source_row(from, width, number)), taps.weights, &mut self.row);
            self.plan.stretch(&self.row, row);
        }
    }

    /// Stretches each source row once, then blends: the least work when there are more rows to draw.
    fn enlarge<'a>(
        &mut self,
        from: &PlaneView<'_>,
        width: usize,
        rows: impl Iterator<Item = &'a mut [u8]>,
        target: usize,
    ) {
        for (number, row) in &mut self.stretched {
            *number = None;
            row.resize(target, 0);
        }
        for (taps, row) in self.taps.1.iter().zip(rows) {
            for number in taps.at {
                let (held, stretched) = &mut self.stretched[number % TAPS];
                if held.replace(number) == Some(number) {
                    continue;
                }
                let source = source_row(from, width, number);
                if width >= WINDOW {
                    self.plan.stretch(source, stretched);
                } else {
                    self.row.clear();
                    self.row.extend_from_slice(source);
                    self.row.resize(WINDOW, 0);
                    self.plan.stretch(&self.row, stretched);
                }
            }
            blend(taps.at.map(|number| &*self.stretched[number % TAPS].1), taps.weights, row);
        }
    }
}

fn source_row<'a>(from: &PlaneView<'a>, width: usize, y: usize) -> &'a [u8] {
    &from.samples[y * from.stride..][..width]
}

/// Halves each side of a plane that is [`RATIO_MAX`] times the target or more, into `to`; gives the new size.
fn halve_plane(
    from: &PlaneView<'_>,
    size: (usize, usize),
    target: (usize, usize),
    to: &mut Vec<u8>,
) -> Option<(usize, usize)> {
    let too_large = |size: usize, target: usize| size * RATIO_MAX.1 >= target * RATIO_MAX.0;
    let (across, down) = (too_large(size.0, target.0), too_large(size.1, target.1));
    if !across && !down {
        return None;
    }
    let half = (if across { size.0 / 2 } else { size.0 }, if down { size.1 / 2 } else { size.1 });
    to.resize(half.0 * half.1, 0);
    for (y, row) in to.chunks_exact_mut(half.0).enumerate() {
        let (above, below) = if down { (2 * y, 2 * y + 1) } else { (y, y) };
        let (above, below) = (source_row(from, size.0, above), source_row(from, size.0, below));
        if across {
            halve(above, below, row);
        } else {
            blend([above, above, below, below], [0, 32, 32, 0], row);
        }
    }
    Some(half)
}

#[cfg(test)]
mod tests;
