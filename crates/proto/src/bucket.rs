//! Token buckets (RFC 2697's, with one rate), which bound what a peer may ask of another one.

use crate::ordered::OrderedMap;

use crate::id::PeerId;
use crate::time::{SECOND, Time};

/// Sustained rate, and what may come at once after a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Tokens per second, at least 1.
    pub per_s: u64,
    /// Maximum number of tokens at once.
    pub burst: u64,
}

/// A token bucket, full at first. The caller passes the time.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    rate: Rate,
    /// Negative while the bucket is in debt.
    tokens: i64,
    /// Time up to which `tokens` are counted.
    at: Time,
}

impl Bucket {
    /// Creates a full bucket.
    pub fn new(rate: Rate, now: Time) -> Bucket {
        Bucket { rate, tokens: to_i64(rate.burst), at: now }
    }

    fn refill(&mut self, now: Time) {
        let per_s = self.rate.per_s.max(1);
        let elapsed_us = now.since(self.at);
        let gained = elapsed_us.saturating_mul(per_s) / SECOND;
        let tokens = self.tokens.saturating_add(to_i64(gained));
        if tokens >= to_i64(self.rate.burst) {
            (self.tokens, self.at) = (to_i64(self.rate.burst), self.at.max(now));
        } else {
            // the time of an incomplete token counts later
            let counted_us = (gained * SECOND).div_ceil(per_s);
            (self.tokens, self.at) = (tokens, self.at + counted_us);
        }
    }

    /// Returns the tokens in the bucket; negative while it is in debt.
    pub fn level(&self, now: Time) -> i64 {
        let mut later = *self;
        later.refill(now);
        later.tokens
    }

    /// Takes the tokens if the bucket holds as many.
    pub fn take(&mut self, now: Time, tokens: u64) -> bool {
        self.refill(now);
        let enough = self.tokens >= to_i64(tokens);
        if enough {
            self.tokens -= to_i64(tokens);
        }
        enough
    }

    /// Takes the tokens, and goes into debt for those that the bucket lacks. Returns the time until the debt is repaid,
    /// in microseconds; 0 without a debt.
    pub fn owe(&mut self, now: Time, tokens: u64) -> u64 {
        self.refill(now);
        self.tokens = self.tokens.saturating_sub(to_i64(tokens));
        let debt = self.tokens.min(0).unsigned_abs();
        debt.saturating_mul(SECOND).div_ceil(self.rate.per_s.max(1))
    }

    /// Whether the bucket is full, so that a new one does as well.
    pub fn is_full(&self, now: Time) -> bool {
        self.level(now) >= to_i64(self.rate.burst)
    }
}

/// A bucket for each of at most `MAX` peers. Beyond that the fullest one is forgotten: the heaviest senders stay
/// known. Ids cost nothing, so a limit for all peers together has to stand beside it.
#[derive(Clone, Debug)]
pub struct Buckets<const MAX: usize> {
    rate: Rate,
    held: OrderedMap<PeerId, Bucket>,
}

impl<const MAX: usize> Buckets<MAX> {
    /// Creates full buckets of this rate.
    pub fn new(rate: Rate) -> Buckets<MAX> {
        Buckets { rate, held: OrderedMap::new() }
    }

    /// Takes the tokens from the peer's bucket if it holds as many.
    pub fn take(&mut self, now: Time, peer: PeerId, tokens: u64) -> bool {
        if !self.held.contains_key(&peer) && self.held.len() >= MAX {
            self.held.retain(|_, bucket| !bucket.is_full(now));
            if self.held.len() >= MAX {
                let fullest =
                    self.held.iter().max_by_key(|(_, bucket)| bucket.level(now)).map(|(peer, _)| *peer);
                fullest.and_then(|fullest| self.held.remove(&fullest));
            }
        }
        self.held.entry(peer).or_insert_with(|| Bucket::new(self.rate, now)).take(now, tokens)
    }

    /// Returns whether the peer's bucket holds as many tokens.
    pub fn holds(&self, now: Time, peer: &PeerId, tokens: u64) -> bool {
        let level = self.held.get(peer).map_or(to_i64(self.rate.burst), |bucket| bucket.level(now));
        level >= to_i64(tokens)
    }

    /// Returns the number of peers with a bucket.
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Returns whether no peer has a bucket.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }
}

fn to_i64(tokens: u64) -> i64 {
    i64::try_from(tokens).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { per_s: 10, burst: 3 };

    #[test]
    fn a_burst_is_free_and_a_debt_is_repaid_at_the_rate() {
        let mut bucket = Bucket::new(RATE, Time(0));
        assert_eq!(bucket.owe(Time(0), 3), 0);
        assert_eq!(bucket.owe(Time(0), 5), SECOND / 2);
        assert_eq!(bucket.owe(Time(300_000), 0), SECOND / 5);
        assert_eq!(bucket.level(Time(SECOND)), 3, "never more than the burst");
    }

    #[test]
    fn an_empty_bucket_gives_nothing_until_time_has_passed() {
        let mut bucket = Bucket::new(RATE, Time(0));
        assert_eq!((0..10).filter(|_| bucket.take(Time(0), 1)).count(), 3);
        let taken = (1..=1_000_000 / 7).filter(|at| bucket.take(Time(at * 7), 1)).count();
        assert_eq!(taken, 9, "ten a second, the last at the end of the second");
        assert!(bucket.take(Time(SECOND), 1));
    }

    #[test]
    fn a_clock_that_goes_back_and_numbers_at_the_ends_are_survived() {
        let mut bucket = Bucket::new(Rate { per_s: 0, burst: u64::MAX }, Time(SECOND));
        assert!(bucket.take(Time(0), u64::MAX));
        assert!(bucket.owe(Time(0), u64::MAX) > 0);
        assert!(bucket.owe(Time(u64::MAX), u64::MAX) > 0);
    }

    #[test]
    fn strangers_do_not_clear_the_record_of_who_has_spent_most() {
        let mut buckets = Buckets::<4>::new(Rate { per_s: 1, burst: 3 });
        let peer = |number: u8| PeerId([number; 32]);
        assert_eq!((0..5).filter(|_| buckets.take(Time(0), peer(200), 1)).count(), 3);
        assert!((0..100).all(|number| buckets.take(Time(0), peer(number), 1)));
        assert!(!buckets.take(Time(0), peer(200), 1));
        assert_eq!(buckets.len(), 4);
        assert!(buckets.take(Time(SECOND), peer(200), 1));
    }
}
