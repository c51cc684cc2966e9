//! What scaling does to rows of samples: halving, blending, stretching.
//!
//! Each is written once in plain code, which is what it means, and on x86-64 once more in [`super::avx2`] for machines that
//! have that; both give the same samples to the bit.

#[cfg(target_arch = "x86_64")]
use super::avx2;

/// Samples of the source that a [`Block`] is drawn from.
pub(super) const WINDOW: usize = 16;
/// Samples drawn at a time.
pub(super) const BLOCK: usize = 8;

/// Each sample the mean of four: two of `above` and two of `below`, which are twice as long as `to`, or longer.
pub(super) fn halve(above: &[u8], below: &[u8], to: &mut [u8]) {
    #[cfg(target_arch = "x86_64")]
    if avx2::is_there() {
        // SAFETY: the processor has AVX2.
        return unsafe { avx2::halve(above, below, to) };
    }
    plain::halve(above, below, to);
}

/// Between two rows; `weight` of 256 parts from `other`. Writes as many samples as `one` has.
pub(super) fn blend(one: &[u8], other: &[u8], weight: u8, to: &mut [u8]) {
    if weight == 0 {
        to[..one.len()].copy_from_slice(one);
        return;
    }
    #[cfg(target_arch = "x86_64")]
    if avx2::is_there() {
        // SAFETY: the processor has AVX2.
        return unsafe { avx2::blend(one, other, weight, to) };
    }
    plain::blend(one, other, weight, to);
}

/// How to stretch rows of one length to another.
#[derive(Debug, Default)]
pub(super) struct Plan {
    sizes: (usize, usize),
    blocks: Vec<Block>,
}

/// Eight drawn samples: each from two neighbours in a window of the source row.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) begin: usize,
    pub(super) left: [u8; BLOCK],
    pub(super) right: [u8; BLOCK],
    /// Of the right one, of 256 parts.
    pub(super) weight: [u8; BLOCK],
}

impl Plan {
    pub(super) fn prepare(&mut self, size: usize, target: usize) {
        if self.sizes == (size, target) {
            return;
        }
        self.sizes = (size, target);
        self.blocks.clear();
        for first in (0..target).step_by(BLOCK) {
            let begin = position(first, size, target).0.min(size.saturating_sub(WINDOW));
            let mut block = Block { begin, left: [0; BLOCK], right: [0; BLOCK], weight: [0; BLOCK] };
            for (index, at) in (first..target).take(BLOCK).enumerate() {
                let (left, weight) = position(at, size, target);
                block.left[index] = (left - begin) as u8;
                block.right[index] = ((left + 1).min(size - 1) - begin) as u8;
                block.weight[index] = weight;
            }
            self.blocks.push(block);
        }
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

/// Where in `size` source samples the middle of the drawn sample `at` of `target` lies: the sample left of it,
/// and the weight of the one right of it in 1/256.
pub(super) fn position(at: usize, size: usize, target: usize) -> (usize, u8) {
    let middle = ((2 * at + 1) * size * 128 / target).saturating_sub(128).min((size - 1) * 256);
    (middle / 256, (middle % 256) as u8)
}

/// What it means. Also the ends of rows that don't fill a register.
pub(super) mod plain {
    use super::{BLOCK, Block, WINDOW};

    #[inline(always)]
    pub(crate) fn halve(above: &[u8], below: &[u8], to: &mut [u8]) {
        for ((to, one), other) in to.iter_mut().zip(above.chunks_exact(2)).zip(below.chunks_exact(2)) {
            let sum = [one[0], one[1], other[0], other[1]].map(u16::from).iter().sum::<u16>();
            *to = ((sum + 2) >> 2) as u8;
        }
    }

    #[inline(always)]
    pub(crate) fn blend(one: &[u8], other: &[u8], weight: u8, to: &mut [u8]) {
        for ((to, &one), &other) in to.iter_mut().zip(one).zip(other) {
            *to = mean(one, other, weight);
        }
    }

    pub(crate) fn stretch(blocks: &[Block], from: &[u8], to: &mut [u8]) {
        for (block, to) in blocks.iter().zip(to.chunks_mut(BLOCK)) {
            let Some(window) = from[block.begin..].first_chunk::<WINDOW>() else { return };
            let sample = |at: u8| window[usize::from(at) % WINDOW];
            let mut drawn = [0; BLOCK];
            for (index, drawn) in drawn.iter_mut().enumerate() {
                *drawn = mean(sample(block.left[index]), sample(block.right[index]), block.weight[index]);
            }
            to.copy_from_slice(&drawn[..to.len()]);
        }
    }

    /// Nothing wraps: said so that no check keeps builds with checks from vectorizing (3 times slower).
    #[inline(always)]
    fn mean(one: u8, other: u8, weight: u8) -> u8 {
        let sum = u16::from(one).wrapping_mul(256_u16.wrapping_sub(u16::from(weight)));
        (sum.wrapping_add(u16::from(other).wrapping_mul(u16::from(weight))).wrapping_add(128) >> 8) as u8
    }
}
