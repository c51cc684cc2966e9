//! [`super::rows`] by instructions of AVX2 (Intel Haswell, AMD Excavator, 2013 to 2015 and on).

use std::arch::x86_64::*;

use super::rows::{BLOCK, Block, WINDOW, plain};

/// Samples of a register.
const WIDE: usize = 32;

pub(super) fn is_there() -> bool {
    is_x86_feature_detected!("avx2")
}

#[target_feature(enable = "avx2")]
pub(super) fn halve(above: &[u8], below: &[u8], to: &mut [u8]) {
    let ones = _mm256_set1_epi8(1);
    let whole = to.len() / WIDE * WIDE;
    let (wide, rest) = to.split_at_mut(whole);
    let sources = above.chunks_exact(2 * WIDE).zip(below.chunks_exact(2 * WIDE));
    for (to, (above, below)) in wide.chunks_exact_mut(WIDE).zip(sources) {
        // sums of two are at most 510, of four 1020
        let four = |from: usize| {
            let pairs = |row: &[u8]| _mm256_maddubs_epi16(load(&row[from..from + WIDE]), ones);
            let sum = _mm256_add_epi16(pairs(above), pairs(below));
            _mm256_srli_epi16::<2>(_mm256_add_epi16(sum, _mm256_set1_epi16(2)))
        };
        // packing goes by halves of registers
        let packed = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packus_epi16(four(0), four(WIDE)));
        store(packed, to);
    }
    plain::halve(&above[2 * whole..], &below[2 * whole..], rest);
}

/// The compiler does this one well by itself, if it may.
#[target_feature(enable = "avx2")]
pub(super) fn blend(one: &[u8], other: &[u8], weight: u8, to: &mut [u8]) {
    plain::blend(one, other, weight, to);
}

#[target_feature(enable = "avx2")]
pub(super) fn stretch(blocks: &[Block], from: &[u8], to: &mut [u8]) {
    let (pairs, single) = blocks.as_chunks::<2>();
    let whole = (to.len() / (2 * BLOCK)).min(pairs.len());
    let (wide, rest) = to.split_at_mut(whole * 2 * BLOCK);
    for (blocks, to) in pairs[..whole].iter().zip(wide.chunks_exact_mut(2 * BLOCK)) {
        let [Some(one), Some(other)] =
            blocks.each_ref().map(|block| from[block.begin..].first_chunk::<WINDOW>())
        else {
            return;
        };
        let windows = _mm256_set_m128i(load_half(other), load_half(one));
        let of = |part: fn(&Block) -> &[u8; BLOCK]| {
            let [one, other] = blocks.each_ref().map(|block| i64::from_le_bytes(*part(block)));
            _mm256_set_epi64x(0, other, 0, one)
        };
        // a place with its highest bit set gives 0: samples come as the high or the low byte of 16 bits
        let none = _mm256_set1_epi8(-1);
        let left_high = _mm256_shuffle_epi8(windows, _mm256_unpacklo_epi8(none, of(|block| &block.left)));
        let right = _mm256_shuffle_epi8(windows, _mm256_unpacklo_epi8(of(|block| &block.right), none));
        let weight = _mm256_unpacklo_epi8(of(|block| &block.weight), _mm256_setzero_si256());
        // 256 × left + (right - left) × weight: what wraps on the way is right again in the end
        let further = _mm256_sub_epi16(right, _mm256_srli_epi16::<8>(left_high));
        let sum = _mm256_add_epi16(left_high, _mm256_mullo_epi16(further, weight));
        let mean = _mm256_srli_epi16::<8>(_mm256_add_epi16(sum, _mm256_set1_epi16(128)));
        let packed = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packus_epi16(mean, mean));
        let drawn = _mm256_castsi256_si128(packed);
        to[..BLOCK].copy_from_slice(&_mm_extract_epi64::<0>(drawn).to_le_bytes());
        to[BLOCK..].copy_from_slice(&_mm_extract_epi64::<1>(drawn).to_le_bytes());
    }
    let left = if whole == pairs.len() { single } else { &blocks[2 * whole..] };
    plain::stretch(left, from, rest);
}

/// Of 32 samples.
#[target_feature(enable = "avx2")]
fn load(samples: &[u8]) -> __m256i {
    let [one, other] = [0, WINDOW].map(|at| samples[at..].first_chunk::<WINDOW>());
    let (Some(one), Some(other)) = (one, other) else { return _mm256_setzero_si256() };
    _mm256_set_m128i(load_half(other), load_half(one))
}

#[target_feature(enable = "avx2")]
fn load_half(samples: &[u8; WINDOW]) -> __m128i {
    let bits = u128::from_le_bytes(*samples);
    _mm_set_epi64x((bits >> 64) as i64, bits as i64)
}

#[target_feature(enable = "avx2")]
fn store(samples: __m256i, to: &mut [u8]) {
    let words = [
        _mm256_extract_epi64::<0>(samples),
        _mm256_extract_epi64::<1>(samples),
        _mm256_extract_epi64::<2>(samples),
        _mm256_extract_epi64::<3>(samples),
    ];
    for (to, word) in to.chunks_exact_mut(8).zip(words) {
        to.copy_from_slice(&word.to_le_bytes());
    }
}
