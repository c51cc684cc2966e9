//! Row operations of the scaler: halving, blending, stretching.
//!
//! Each operation has a portable implementation, which defines the result. On x86-64 a second one in
//! [`super::avx2`] is used on processors with AVX2. Both give bit-identical samples.

use std::f64::consts::PI;

#[cfg(target_arch = "x86_64")]
use super::avx2;
use super::plain::{self, BLOCK, Block, NARROW, Pairs, TAPS, WHOLE, WINDOW};

/// Divisor of the filter's cutoff when shrinking, so that slightly more detail passes than the target can
/// represent. Of 0.7 to 1, and of windows of 2 to 3, this value and [`WINDOWED`] came nearest to Lanczos-3:
/// see the [module](super).
const PASSED: f64 = 0.9;
/// Half-width of the filter's window, in source samples.
const WINDOWED: f64 = 2.5;

/// Sets each sample to the mean of four: two of `above` and two of `below`, which are at least twice as long
/// as `to`.
pub(super) fn halve(above: &[u8], below: &[u8], to: &mut [u8]) {
    #[cfg(target_arch = "x86_64")]
    if avx2::is_there() {
        // SAFETY: the processor has AVX2.
        return unsafe { avx2::halve(above, below, to) };
    }
    plain::halve(above, below, to);
}

/// Blends four rows by weights with the sum [`WHOLE`]. Writes as many samples as the rows have.
pub(super) fn blend(rows: [&[u8]; TAPS], weights: [i8; TAPS], to: &mut [u8]) {
    if i16::from(weights[1]) == WHOLE {
        to[..rows[1].len()].copy_from_slice(rows[1]);
        return;
    }
    #[cfg(target_arch = "x86_64")]
    if avx2::is_there() {
        // SAFETY: the processor has AVX2.
        return unsafe { avx2::blend(rows, weights, to) };
    }
    plain::blend(rows, weights, to);
}

/// Source of a drawn sample: positions in the source, and their weights, which add up to [`WHOLE`].
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Taps {
    pub(super) at: [usize; TAPS],
    pub(super) weights: [i8; TAPS],
}

impl Taps {
    /// Returns the taps of each drawn sample, for scaling a side from `size` to `target`.
    pub(super) fn of_side(size: usize, target: usize) -> impl Iterator<Item = Taps> {
        let ratio = size as f64 / target as f64;
        (0..target).map(move |drawn| Taps::new((drawn as f64 + 0.5) * ratio - 0.5, ratio, size))
    }

    /// `middle` is the position of the drawn sample in the source.
    fn new(middle: f64, ratio: f64, size: usize) -> Taps {
        let left = middle.floor();
        let places: [f64; TAPS] = std::array::from_fn(|tap| left + tap as f64 - 1.0);
        let parts = places.map(|place| kernel(place - middle, ratio));
        let sum: f64 = parts.iter().sum();
        let mut weights = parts.map(|part| (part / sum * f64::from(WHOLE)).round() as i8);
        // keeps uniform areas unchanged: the rounding error goes to the nearer one of the middle taps
        let nearest = if middle - left < 0.5 { 1 } else { 2 };
        weights[nearest] += (WHOLE - weights.iter().map(|weight| i16::from(*weight)).sum::<i16>()) as i8;
        Taps { at: places.map(|place| place.clamp(0.0, (size - 1) as f64) as usize), weights }
    }
}

/// Filter kernel: a sinc low-pass for the target's resolution, slightly wider when shrinking, with a sinc
/// window.
fn kernel(distance: f64, ratio: f64) -> f64 {
    let sinc = |x: f64| if x == 0.0 { 1.0 } else { (PI * x).sin() / (PI * x) };
    sinc(distance / (PASSED * ratio).max(1.0)) * sinc(distance / WINDOWED)
}

/// Plan for stretching rows of one length to another.
#[derive(Debug, Default)]
pub(super) struct Plan {
    sizes: (usize, usize),
    blocks: Vec<Block>,
}

impl Plan {
    pub(super) fn prepare(&mut self, size: usize, target: usize) {
        if self.sizes == (size, target) {
            return;
        }
        self.sizes = (size, target);
        let taps: Vec<_> = Taps::of_side(size, target).collect();
        self.blocks = taps.chunks(BLOCK).map(|taps| Block::new(taps, size)).collect();
    }

    #[cfg(test)]
    pub(super) fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// Stretches a row. `from` must have at least [`WINDOW`] samples.
    pub(super) fn stretch(&self, from: &[u8], to: &mut [u8]) {
        #[cfg(target_arch = "x86_64")]
        if avx2::is_there() {
            // SAFETY: the processor has AVX2.
            return unsafe { avx2::stretch(&self.blocks, from, to) };
        }
        plain::stretch(&self.blocks, from, to);
    }
}

impl Block {
    fn new(taps: &[Taps], size: usize) -> Block {
        let none = || Pairs { at: [0; 2 * BLOCK], weights: [0; 2 * BLOCK] };
        let mut block = Block { begins: [0; 2], near: none(), far: none() };
        for (half, taps) in taps.chunks(NARROW).enumerate() {
            let begin = taps[0].at[0].min(size.saturating_sub(WINDOW));
            block.begins[half] = begin;
            for (index, Taps { at, weights }) in taps.iter().enumerate() {
                for tap in 0..TAPS {
                    let pairs = if tap < 2 { &mut block.near } else { &mut block.far };
                    let place = 2 * (half * NARROW + index) + tap % 2;
                    pairs.at[place] = (at[tap] - begin) as u8;
                    pairs.weights[place] = weights[tap];
                }
            }
        }
        block
    }
}
