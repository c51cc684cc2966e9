//! Random numbers of the world, separate from those of the brains. Integers only, so that every machine draws
//! the same.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng};

/// Stream of random numbers from one seed.
#[derive(Debug)]
pub(crate) struct Dice(ChaCha8Rng);

impl Dice {
    pub(crate) fn new(seed: u64) -> Dice {
        Dice(ChaCha8Rng::seed_from_u64(seed))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Uniform draw from `low` to `high`, both included.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        let span = u128::from(high.saturating_sub(low)) + 1;
        low + ((u128::from(self.0.next_u64()) * span) >> 64) as u64
    }
}

/// Generator with eight bytes of state, for uses that need many generators: SplitMix64 (Steele, Lea, Flood:
/// "Fast splittable pseudorandom number generators", 2014).
#[derive(Clone, Copy, Debug)]
pub(crate) struct SmallDice(u64);

impl SmallDice {
    /// A generator of its own for the object that these numbers identify.
    pub(crate) fn of(names: &[u64]) -> SmallDice {
        SmallDice(names.iter().fold(0, |state, name| mix(state ^ name).wrapping_add(GOLDEN)))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        mix(self.0)
    }

    /// Uniform draw from `low` to `high`, both included.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        let span = u128::from(high.saturating_sub(low)) + 1;
        low + ((u128::from(self.next()) * span) >> 64) as u64
    }

    /// True with probability `ppm` in a million.
    pub(crate) fn chance(&mut self, ppm: u32) -> bool {
        ppm > 0 && self.between(1, 1_000_000) <= u64::from(ppm)
    }

    /// Exponential draw with this mean.
    pub(crate) fn exponential(&mut self, mean: u64) -> u64 {
        exponential(self.next(), mean)
    }
}

/// 2⁶⁴ divided by the golden ratio.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

fn mix(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// Turns a uniform draw into an exponential one.
fn exponential(even: u64, mean: u64) -> u64 {
    /// Natural logarithm of 2, as fixed point with 32 fractional bits.
    const LN_2: u128 = 2_977_044_472;
    ((u128::from(mean) * u128::from(log2_inverse(even)) * LN_2) >> 64) as u64
}

/// -log2(`even` / 2⁶⁴) as fixed point with 32 fractional bits, 24 of them significant: binary logarithm by
/// repeated squaring.
fn log2_inverse(even: u64) -> u64 {
    let even = even.max(1);
    let whole = u64::from(even.leading_zeros());
    // in [1, 2), with 63 fractional bits
    let mut mantissa = even << whole;
    let mut log = 0;
    for bit in 1..=24 {
        let square = u128::from(mantissa) * u128::from(mantissa);
        if square >> 127 == 1 {
            log |= 1 << (32 - bit);
            mantissa = (square >> 64) as u64;
        } else {
            mantissa = (square >> 63) as u64;
        }
    }
    ((whole + 1) << 32) - log
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponential_draws_have_their_mean_and_their_tail() {
        let mut dice = SmallDice::of(&[1]);
        let draws: Vec<u64> = (0..100_000).map(|_| dice.exponential(150_000)).collect();
        let mean = draws.iter().sum::<u64>() / 100_000;
        assert!((148_000..152_000).contains(&mean), "{mean}");
        // one in e³
        let long = draws.iter().filter(|draw| **draw > 450_000).count();
        assert!((4_750..5_210).contains(&long), "{long}");
    }

    #[test]
    fn the_logarithm_is_that_of_the_mathematicians() {
        for (even, bits) in [(u64::MAX, 0.0), (1 << 63, 1.0), (1 << 62, 2.0), (3 << 62, 0.415_037), (1, 64.0)]
        {
            let told = log2_inverse(even) as f64 / (1_u64 << 32) as f64;
            assert!((told - bits).abs() < 1e-6, "{even}: {told}, not {bits}");
        }
    }
}
