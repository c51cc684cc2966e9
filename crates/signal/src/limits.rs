//! How much a rendezvous takes on, and from whom how fast.
//!
//! Strangers reach a rendezvous before anybody vouched for them, so each thing they can make it keep or do
//! has a number here. What happens at each limit is said with it.

use std::time::{Duration, Instant};

/// The limits of a rendezvous. The defaults carry hundreds of peers behind one address and thousands in all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Rooms, empty ones included; then the one that has been empty longest makes way, and if none is, a new
    /// one is refused. Guess.
    pub rooms_max: usize,
    /// Peers in a room; then all but its host are refused. Guess.
    pub members_max: usize,
    /// How long a room without members stays open.
    pub room_grace: Duration,
    /// TCP connections; then new ones get HTTP status 503. Below the 20 000 files that servers often allow.
    pub connections_max: usize,
    /// TCP connections from one address (IPv6: one /64); then new ones get HTTP status 503. Guess.
    pub connections_per_address_max: usize,
    /// New TCP connections per address; then they get HTTP status 429. The burst lets a lab of several
    /// hundred peers behind one address come in at once.
    pub connects_per_address: Rate,
    /// Addresses that are remembered for the above; then new ones get HTTP status 503. Guess.
    pub addresses_max: usize,
    /// Frames of one connection; then it is read no faster.
    pub frames: Rate,
    /// Bytes of one connection; then it is read no faster.
    pub bytes: Rate,
    /// Envelopes waiting for one peer; then further ones are undeliverable. One flash crowd of 300 peers with
    /// three envelopes each, arriving while the host's thread is busy.
    pub queue_len_max: usize,
    /// Bytes waiting for one peer; then further envelopes are undeliverable.
    pub queue_bytes_max: usize,
    /// Bytes waiting for all peers together; then further envelopes are undeliverable.
    pub queues_bytes_max: usize,
    /// For a request's head, and again from the websocket's opening to a valid `Hello`; then the connection
    /// is closed.
    pub hello_timeout: Duration,
    /// How long a connection may stay plain HTTP; then it is closed, so that who reads a page slowly ends
    /// some day too. A page of 2 MB at 150 kbit/s.
    pub http_max: Duration,
    /// How long TCP may take nothing of what a peer is sent; then the peer is disconnected.
    pub send_timeout: Duration,
    /// How often a peer is pinged; one that is silent for three times as long is disconnected.
    pub ping_interval: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            rooms_max: 10_000,
            members_max: 10_000,
            room_grace: Duration::from_secs(600),
            connections_max: 16_384,
            connections_per_address_max: 2048,
            connects_per_address: Rate { per_s: 50, burst: 1024 },
            addresses_max: 65_536,
            frames: Rate { per_s: 200, burst: 1000 },
            bytes: Rate { per_s: 512 << 10, burst: 2 << 20 },
            queue_len_max: 1024,
            queue_bytes_max: 1 << 20,
            queues_bytes_max: 256 << 20,
            hello_timeout: Duration::from_secs(5),
            http_max: Duration::from_secs(120),
            send_timeout: Duration::from_secs(5),
            ping_interval: Duration::from_secs(5),
        }
    }
}

/// So many per second in the long run, so many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// In the long run; 0 counts as 1.
    pub per_s: u32,
    /// At once, after a pause.
    pub burst: u32,
}

/// A token bucket (RFC 2697's, with one rate), full at first. Time comes from outside.
#[derive(Debug)]
pub(crate) struct Bucket {
    rate: Rate,
    /// Below 0 it is in debt.
    tokens: f64,
    at: Instant,
}

impl Bucket {
    pub(crate) fn new(rate: Rate, now: Instant) -> Bucket {
        Bucket { rate, tokens: f64::from(rate.burst), at: now }
    }

    fn per_s(&self) -> f64 {
        f64::from(self.rate.per_s.max(1))
    }

    fn refill(&mut self, now: Instant) {
        let gained = now.saturating_duration_since(self.at).as_secs_f64() * self.per_s();
        self.tokens = (self.tokens + gained).min(f64::from(self.rate.burst));
        self.at = self.at.max(now);
    }

    /// Takes `cost` tokens, if need be on credit; how long until the debt is paid.
    pub(crate) fn take(&mut self, cost: u32, now: Instant) -> Duration {
        self.refill(now);
        self.tokens -= f64::from(cost);
        Duration::from_secs_f64((-self.tokens / self.per_s()).max(0.0))
    }

    /// Takes one token if there is one.
    pub(crate) fn try_take(&mut self, now: Instant) -> bool {
        self.refill(now);
        let there = self.tokens >= 1.0;
        if there {
            self.tokens -= 1.0;
        }
        there
    }

    /// Whether it has forgotten all that was ever taken.
    pub(crate) fn is_full(&mut self, now: Instant) -> bool {
        self.refill(now);
        self.tokens >= f64::from(self.rate.burst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { per_s: 10, burst: 3 };

    #[test]
    fn a_burst_is_free_and_a_debt_is_paid_at_the_rate() {
        let start = Instant::now();
        let mut bucket = Bucket::new(RATE, start);
        assert_eq!(bucket.take(3, start), Duration::ZERO);
        assert_eq!(bucket.take(5, start), Duration::from_millis(500));
        assert_eq!(bucket.take(0, start + Duration::from_millis(300)), Duration::from_millis(200));
        assert_eq!(bucket.take(1, start + Duration::from_millis(600)), Duration::ZERO);
    }

    #[test]
    fn an_empty_bucket_gives_nothing_until_time_has_passed() {
        let start = Instant::now();
        let mut bucket = Bucket::new(RATE, start);
        let taken = (0..10).filter(|_| bucket.try_take(start)).count();
        assert_eq!(taken, 3);
        assert!(!bucket.try_take(start + Duration::from_millis(90)));
        assert!(bucket.try_take(start + Duration::from_millis(110)));
        assert!(!bucket.is_full(start + Duration::from_millis(110)));
        assert!(bucket.is_full(start + Duration::from_secs(60)));
    }

    #[test]
    fn a_clock_that_goes_back_and_a_rate_of_nothing_are_survived() {
        let start = Instant::now() + Duration::from_secs(10);
        let mut bucket = Bucket::new(Rate { per_s: 0, burst: 0 }, start);
        assert_eq!(bucket.take(u32::MAX, start - Duration::from_secs(5)), Duration::from_secs(4294967295));
        assert!(!bucket.try_take(start));
    }
}
