//! The brain's random numbers: seeded by the body, deterministic on every platform.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng};

/// Pseudorandom generator, deterministic in its seed.
#[derive(Debug)]
pub(crate) struct Rng(ChaCha8Rng);

impl Rng {
    pub(crate) fn new(seed: u64) -> Rng {
        Rng(ChaCha8Rng::seed_from_u64(seed))
    }

    /// Returns a uniform number from 0 to `end - 1`; 0 when `end` is 0. The bias is below 2^-32 for any `end`
    /// used here.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.0.next_u64()) * u128::from(end)) >> 64) as u64
    }

    /// Returns `us` with a jitter of plus or minus a quarter.
    pub(crate) fn jitter(&mut self, us: u64) -> u64 {
        us - us / 4 + self.below(us / 2 + 1)
    }

    /// Shuffles `items`.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for end in (1..items.len()).rev() {
            let other = self.below(end as u64 + 1) as usize;
            items.swap(end, other);
        }
    }
}

/// Exponential backoff: the bound doubles, and each wait is drawn between half of the bound and the whole.
/// The jitter keeps peers that failed together from retrying together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    first_us: u64,
    most_us: u64,
    tries: u32,
}

impl Backoff {
    pub(crate) const fn new(first_us: u64, most_us: u64) -> Backoff {
        Backoff { first_us, most_us, tries: 0 }
    }

    /// Returns the next wait, in microseconds.
    pub(crate) fn next_us(&mut self, rng: &mut Rng) -> u64 {
        let bound = self.next_bound_us();
        bound / 2 + rng.below(bound / 2 + 1)
    }

    /// Returns the next wait, in microseconds, drawn between none and the bound, which is at most `most_us`: full
    /// jitter (M. Brooker, "Exponential Backoff And Jitter", AWS 2015), for many peers of one server.
    pub(crate) fn next_us_within(&mut self, rng: &mut Rng, most_us: u64) -> u64 {
        rng.below(self.next_bound_us().min(most_us) + 1)
    }

    fn next_bound_us(&mut self) -> u64 {
        let bound = self.first_us.saturating_mul(1 << self.tries.min(20)).min(self.most_us);
        self.tries = self.tries.saturating_add(1);
        bound
    }

    pub(crate) fn reset(&mut self) {
        self.tries = 0;
    }
}
