//! Row operations of the scaler: halving, blending, stretching.
//!
//! Each operation has a portable implementation, which defines the result. On x86-64 a second one in
//! [`super::avx2`] is used on processors with AVX2. Both give bit-identical samples.

use std::f64::consts::PI;

#[cfg(target_arch = "x86_64")]
use super::avx2;

/// Number of source samples from which half of a [`Block`] is drawn.
pub(super) const WINDOW: usize = 16;
/// Number of samples drawn from one window.
const NARROW: usize = 8;
pub(super) const BLOCK: usize = 2 * NARROW;
/// Number of source samples per drawn sample, horizontally and vertically.
pub(super) const TAPS: usize = 4;
/// Sum of the weights of a drawn sample, such that sums of products fit into 16 bits.
const WHOLE: i16 = 1 << WHOLE_BITS;
pub(super) const WHOLE_BITS: u32 = 6;
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

/// A block of drawn samples: the first half from one window of the source row, the second from another. The
/// taps of each sample are stored as two pairs of neighbours.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) begins: [usize; 2],
    pub(super) near: Pairs,
    pub(super) far: Pairs,
}

/// Two of the four [`Taps`] of each drawn sample.
#[derive(Debug)]
pub(super) struct Pairs {
    pub(super) at: [u8; 2 * BLOCK],
    pub(super) weights: [i8; 2 * BLOCK],
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

/// Portable implementation. Also used for the ends of rows that don't fill a register.
pub(super) mod plain {
    use super::{BLOCK, Block, NARROW, Pairs, TAPS, WHOLE_BITS, WINDOW};

    #[inline(always)]
    pub(crate) fn halve(above: &[u8], below: &[u8], to: &mut [u8]) {
        for ((to, one), other) in to.iter_mut().zip(above.chunks_exact(2)).zip(below.chunks_exact(2)) {
            let sum = [one[0], one[1], other[0], other[1]].map(u16::from).iter().sum::<u16>();
            *to = ((sum + 2) >> 2) as u8;
        }
    }

    #[inline(always)]
    pub(crate) fn blend(rows: [&[u8]; TAPS], weights: [i8; TAPS], to: &mut [u8]) {
        let [one, two, three, four] = rows;
        let sources = one.iter().zip(two).zip(three.iter().zip(four));
        for (to, ((one, two), (three, four))) in to.iter_mut().zip(sources) {
            *to = mean([*one, *two, *three, *four], weights);
        }
    }

    pub(crate) fn stretch(blocks: &[Block], from: &[u8], to: &mut [u8]) {
        for (block, to) in blocks.iter().zip(to.chunks_mut(BLOCK)) {
            for (index, to) in to.iter_mut().enumerate() {
                let Some(window) = from[block.begins[index / NARROW]..].first_chunk::<WINDOW>() else {
                    return;
                };
                let (one, other) = (2 * index, 2 * index + 1);
                let sample = |pairs: &Pairs, at: usize| window[usize::from(pairs.at[at]) % WINDOW];
                let Block { near, far, .. } = block;
                *to = mean(
                    [sample(near, one), sample(near, other), sample(far, one), sample(far, other)],
                    [near.weights[one], near.weights[other], far.weights[one], far.weights[other]],
                );
            }
        }
    }

    /// Wrapping operations, though no sum overflows: in builds with overflow checks those would prevent
    /// vectorization (3 times slower).
    #[inline(always)]
    fn mean(samples: [u8; TAPS], weights: [i8; TAPS]) -> u8 {
        let part = |tap: usize| i16::from(samples[tap]).wrapping_mul(i16::from(weights[tap]));
        let sum = part(0).wrapping_add(part(1)).wrapping_add(part(2).wrapping_add(part(3)));
        (sum.wrapping_add(1 << (WHOLE_BITS - 1)) >> WHOLE_BITS).clamp(0, 255) as u8
    }
}
