//! The world's dice, apart from those of the brains.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng};

/// A stream of numbers that follows from one seed.
#[derive(Debug)]
pub(crate) struct Dice(ChaCha8Rng);

impl Dice {
    pub(crate) fn new(seed: u64) -> Dice {
        Dice(ChaCha8Rng::seed_from_u64(seed))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Evenly from `low` to `high`, both included.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        let span = u128::from(high.saturating_sub(low)) + 1;
        low + ((u128::from(self.0.next_u64()) * span) >> 64) as u64
    }

    /// True in `ppm` of a million draws.
    pub(crate) fn chance(&mut self, ppm: u32) -> bool {
        self.between(1, 1_000_000) <= u64::from(ppm)
    }
}
