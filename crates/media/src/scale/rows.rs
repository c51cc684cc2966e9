//! What scaling does to rows of samples: halving, blending, stretching.
//!
//! Each is written once in plain code, which is what it means, and on x86-64 once more in [`super::avx2`] for machines that
//! have that; both give the same samples to the bit.

use std::f64::consts::PI;

#[cfg(target_arch = "x86_64")]
use super::avx2;

/// Samples of the source that a [`Block`] is drawn from.
pub(super) const WINDOW: usize = 16;
/// Samples drawn from one window, and at a time.
const NARROW: usize = 8;
pub(super) const BLOCK: usize = 2 * NARROW;
/// Samples of the source that a drawn one comes from, across and down.
pub(super) const TAPS: usize = 4;
/// What the weights of a drawn sample add up to: sums of products fit 16 bits.
const WHOLE: i16 = 1 << WHOLE_BITS;
pub(super) const WHOLE_BITS: u32 = 6;
/// What shrinks passes a bit more than the drawn picture can hold. Of 0.7 to 1, and of windows of 2 to 3, these two came
/// nearest to Lanczos' three lobes: see the [module](super).
const PASSED: f64 = 0.9;
const WINDOWED: f64 = 2.5;

/// Each sample the mean of four: two of `above` and two of `below`, which are twice as long as `to`, or longer.
pub(super) fn halve(above: &[u8], below: &[u8], to: &mut [u8]) {
    #[cfg(target_arch = "x86_64")]
    if avx2::is_there() {
        // SAFETY: the processor has AVX2.
        return unsafe { avx2::halve(above, below, to) };
    }
    plain::halve(above, below, to);
}

/// Between four rows, by weights of [`WHOLE`]. Writes as many samples as each row has.
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

/// Where a drawn sample comes from: places in the source, and the weight of each of [`WHOLE`].
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Taps {
    pub(super) at: [usize; TAPS],
    pub(super) weights: [i8; TAPS],
}

impl Taps {
    /// Of each drawn sample, of a side of `size` that becomes one of `target`.
    pub(super) fn of_side(size: usize, target: usize) -> impl Iterator<Item = Taps> {
        let ratio = size as f64 / target as f64;
        (0..target).map(move |drawn| Taps::new((drawn as f64 + 0.5) * ratio - 0.5, ratio, size))
    }

    /// `middle` is where the drawn sample lies in the source.
    fn new(middle: f64, ratio: f64, size: usize) -> Taps {
        let left = middle.floor();
        let places: [f64; TAPS] = std::array::from_fn(|tap| left + tap as f64 - 1.0);
        let parts = places.map(|place| kernel(place - middle, ratio));
        let sum: f64 = parts.iter().sum();
        let mut weights = parts.map(|part| (part / sum * f64::from(WHOLE)).round() as i8);
        // flat grounds stay as they are: what rounding leaves goes to the nearer one of the middle two
        let nearest = if middle - left < 0.5 { 1 } else { 2 };
        weights[nearest] += (WHOLE - weights.iter().map(|weight| i16::from(*weight)).sum::<i16>()) as i8;
        Taps { at: places.map(|place| place.clamp(0.0, (size - 1) as f64) as usize), weights }
    }
}

/// A sinc that passes what the drawn picture can hold, a bit more where it shrinks, windowed by a wider one.
fn kernel(distance: f64, ratio: f64) -> f64 {
    let sinc = |x: f64| if x == 0.0 { 1.0 } else { (PI * x).sin() / (PI * x) };
    sinc(distance / (PASSED * ratio).max(1.0)) * sinc(distance / WINDOWED)
}

/// How to stretch rows of one length to another.
#[derive(Debug, Default)]
pub(super) struct Plan {
    sizes: (usize, usize),
    blocks: Vec<Block>,
}

/// Drawn samples, the first half of them from one window of the source row, the others from another, two and two of what
/// each comes from next to each other.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) begins: [usize; 2],
    pub(super) near: Pairs,
    pub(super) far: Pairs,
}

/// Two of the [`Taps`] of each drawn sample.
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

    /// `from` has at least [`WINDOW`] samples.
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

/// What it means. Also the ends of rows that don't fill a register.
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

    /// Nothing wraps: said so that no check keeps builds with checks from vectorizing (3 times slower).
    #[inline(always)]
    fn mean(samples: [u8; TAPS], weights: [i8; TAPS]) -> u8 {
        let part = |tap: usize| i16::from(samples[tap]).wrapping_mul(i16::from(weights[tap]));
        let sum = part(0).wrapping_add(part(1)).wrapping_add(part(2).wrapping_add(part(3)));
        (sum.wrapping_add(1 << (WHOLE_BITS - 1)) >> WHOLE_BITS).clamp(0, 255) as u8
    }
}
