//! Portable implementation of [`super::rows`], which defines the result. Also used for the ends of rows that don't
//! fill a register.

/// Number of source samples from which half of a [`Block`] is drawn.
pub(super) const WINDOW: usize = 16;
/// Number of samples drawn from one window.
pub(super) const NARROW: usize = 8;
pub(super) const BLOCK: usize = 2 * NARROW;
/// Number of source samples per drawn sample, horizontally and vertically.
pub(super) const TAPS: usize = 4;
/// Sum of the weights of a drawn sample, such that sums of products fit into 16 bits.
pub(super) const WHOLE: i16 = 1 << WHOLE_BITS;
pub(super) const WHOLE_BITS: u32 = 6;

/// A block of drawn samples: the first half from one window of the source row, the second from another. The
/// taps of each sample are stored as two pairs of neighbours.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) begins: [usize; 2],
    pub(super) near: Pairs,
    pub(super) far: Pairs,
}

/// Two of the four [`Taps`](super::rows::Taps) of each drawn sample.
#[derive(Debug)]
pub(super) struct Pairs {
    pub(super) at: [u8; 2 * BLOCK],
    pub(super) weights: [i8; 2 * BLOCK],
}

#[inline(always)]
pub(super) fn halve(above: &[u8], below: &[u8], to: &mut [u8]) {
    for ((to, one), other) in to.iter_mut().zip(above.chunks_exact(2)).zip(below.chunks_exact(2)) {
        let sum = [one[0], one[1], other[0], other[1]].map(u16::from).iter().sum::<u16>();
        *to = ((sum + 2) >> 2) as u8;
    }
}

#[inline(always)]
pub(super) fn blend(rows: [&[u8]; TAPS], weights: [i8; TAPS], to: &mut [u8]) {
    let [one, two, three, four] = rows;
    let sources = one.iter().zip(two).zip(three.iter().zip(four));
    for (to, ((one, two), (three, four))) in to.iter_mut().zip(sources) {
        *to = mean([*one, *two, *three, *four], weights);
    }
}

pub(super) fn stretch(blocks: &[Block], from: &[u8], to: &mut [u8]) {
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
