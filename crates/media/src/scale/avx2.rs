//! AVX2 implementation of [`super::rows`] (Intel from Haswell, AMD from Excavator on, 2013 to 2015).

use std::arch::x86_64::*;

use super::plain::{self, BLOCK, Block, Pairs, TAPS, WHOLE_BITS, WINDOW};

/// Number of 8-bit samples in a register.
const WIDE: usize = 32;

pub(super) fn is_there() -> bool {
    is_x86_feature_detected!("avx2")
}

#[target_feature(enable = "avx2")]
pub(super) fn halve(above: &[u8], below: &[u8], to: &mut [u8]) {
    let ones = _mm256_set1_epi8(1);
    let (wide, rest) = to.as_chunks_mut::<WIDE>();
    let sources = above.as_chunks::<{ 2 * WIDE }>().0.iter().zip(below.as_chunks::<{ 2 * WIDE }>().0);
    for (to, (above, below)) in wide.iter_mut().zip(sources) {
        // sums of two samples are at most 510, of four 1020
        let four = |half: usize| {
            let pairs = |row: &[u8; 2 * WIDE]| _mm256_maddubs_epi16(load(&row.as_chunks().0[half]), ones);
            let sum = _mm256_add_epi16(pairs(above), pairs(below));
            _mm256_srli_epi16::<2>(_mm256_add_epi16(sum, _mm256_set1_epi16(2)))
        };
        // packing works on halves of registers
        *to = store(_mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packus_epi16(four(0), four(1))));
    }
    let done = 2 * WIDE * wide.len();
    plain::halve(&above[done..], &below[done..], rest);
}

#[target_feature(enable = "avx2")]
pub(super) fn blend(rows: [&[u8]; TAPS], weights: [i8; TAPS], to: &mut [u8]) {
    let pair = |one: i8, other: i8| _mm256_set1_epi16(i16::from_le_bytes([one as u8, other as u8]));
    let (near, far) = (pair(weights[0], weights[1]), pair(weights[2], weights[3]));
    let len = rows.iter().map(|row| row.len()).fold(to.len(), usize::min);
    let (wide, rest) = to[..len].as_chunks_mut::<WIDE>();
    let [one, two, three, four] = rows.map(|row| row.as_chunks::<WIDE>().0);
    let sources = one.iter().zip(two).zip(three.iter().zip(four));
    for (to, ((one, two), (three, four))) in wide.iter_mut().zip(sources) {
        let [one, two, three, four] = [one, two, three, four].map(|samples| load(samples));
        let low = sum(_mm256_unpacklo_epi8(one, two), near, _mm256_unpacklo_epi8(three, four), far);
        let high = sum(_mm256_unpackhi_epi8(one, two), near, _mm256_unpackhi_epi8(three, four), far);
        *to = store(_mm256_packus_epi16(low, high)); // both work on halves of registers
    }
    let done = WIDE * wide.len();
    plain::blend(rows.map(|row| &row[done..]), weights, rest);
}

#[target_feature(enable = "avx2")]
pub(super) fn stretch(blocks: &[Block], from: &[u8], to: &mut [u8]) {
    let (wide, rest) = to.as_chunks_mut::<BLOCK>();
    for (block, to) in blocks.iter().zip(&mut *wide) {
        let [Some(first), Some(second)] =
            block.begins.map(|begin| from.get(begin..).and_then(|from| from.first_chunk::<WINDOW>()))
        else {
            return;
        };
        let windows = _mm256_set_m128i(load_half(second), load_half(first));
        let of = |pairs: &Pairs| (_mm256_shuffle_epi8(windows, load(&pairs.at)), load_signed(&pairs.weights));
        let ((near, near_weights), (far, far_weights)) = (of(&block.near), of(&block.far));
        let drawn = sum(near, near_weights, far, far_weights);
        let packed = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packus_epi16(drawn, drawn));
        *to = store_half(_mm256_castsi256_si128(packed));
    }
    plain::stretch(&blocks[wide.len().min(blocks.len())..], from, rest);
}

/// Returns 16 drawn samples of 16 bits, from pairs of samples and their weights.
#[target_feature(enable = "avx2")]
fn sum(near: __m256i, near_weights: __m256i, far: __m256i, far_weights: __m256i) -> __m256i {
    let near = _mm256_maddubs_epi16(near, near_weights);
    let far = _mm256_maddubs_epi16(far, far_weights);
    let half = _mm256_set1_epi16(1 << (WHOLE_BITS - 1));
    _mm256_srai_epi16::<{ WHOLE_BITS as i32 }>(_mm256_add_epi16(_mm256_add_epi16(near, far), half))
}

#[target_feature(enable = "avx2")]
fn load(samples: &[u8; WIDE]) -> __m256i {
    // SAFETY: the array has the 32 bytes read; the load has no alignment requirement.
    unsafe { _mm256_loadu_si256(samples.as_ptr().cast()) }
}

#[target_feature(enable = "avx2")]
fn load_signed(weights: &[i8; WIDE]) -> __m256i {
    // SAFETY: as in `load`.
    unsafe { _mm256_loadu_si256(weights.as_ptr().cast()) }
}

#[target_feature(enable = "avx2")]
fn load_half(samples: &[u8; WINDOW]) -> __m128i {
    // SAFETY: the array has the 16 bytes read; the load has no alignment requirement.
    unsafe { _mm_loadu_si128(samples.as_ptr().cast()) }
}

#[target_feature(enable = "avx2")]
fn store(samples: __m256i) -> [u8; WIDE] {
    let mut stored = [0; WIDE];
    // SAFETY: the array has the 32 bytes written; the store has no alignment requirement.
    unsafe { _mm256_storeu_si256(stored.as_mut_ptr().cast(), samples) };
    stored
}

#[target_feature(enable = "avx2")]
fn store_half(samples: __m128i) -> [u8; BLOCK] {
    let mut stored = [0; BLOCK];
    // SAFETY: the array has the 16 bytes written; the store has no alignment requirement.
    unsafe { _mm_storeu_si128(stored.as_mut_ptr().cast(), samples) };
    stored
}
