//! Resource limits of a rendezvous: counts, sizes, rates and timeouts.
//!
//! Any stranger can connect to a rendezvous, so each resource that a stranger can use is limited here. Each
//! limit says what happens when it is reached.

use std::time::{Duration, Instant};

use plenary_proto::rendezvous::SILENT_PINGS;

/// The limits of a rendezvous. The defaults allow hundreds of peers behind one address and thousands in
/// total.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Maximum number of rooms, including those without members. More than `connections_max`, so that rooms with
    /// members never fill all places. At the limit the room without members that is oldest of the network with most of
    /// them is closed; without one the new room is refused. A network is the /16 of an IPv4 address, or an IPv6 /48.
    pub rooms_max: usize,
    /// Maximum number of rooms opened from one network; at the limit the oldest room of that network without members is
    /// closed, and without one the new room is refused. Half of all.
    pub rooms_per_network_max: usize,
    /// Maximum number of rooms opened from one address (IPv6: one /64), with the same rule. A guess: an office behind
    /// one address. The rooms of peers in the same process don't count, neither here nor for their network.
    pub rooms_per_address_max: usize,
    /// Maximum number of peers in a room. At the limit all peers but its host are refused. A guess.
    pub members_max: usize,
    /// Time for which a room without members stays open: a host that reconnects finds it unchanged. A guess.
    pub room_grace: Duration,
    /// Grace time of a room without members that only its host has ever entered. A host that reconnects later opens the
    /// room again. A guess: several connection attempts.
    pub unjoined_room_grace: Duration,
    /// Maximum number of TCP connections, and of connections that requests carry (`/signal/fetch`), together. At the
    /// limit new ones get HTTP status 503, or are closed if they use TLS. Below the 20 000 open files that servers
    /// often allow.
    pub connections_max: usize,
    /// Maximum number of TCP connections from one address (IPv6: one /64). At the limit new ones get HTTP
    /// status 503. A guess.
    pub connections_per_address_max: usize,
    /// Maximum number of TCP connections from one network (IPv4 /16, IPv6 /48), with the same effect. Half of
    /// `connections_max`, so that an attacker with all addresses of a network leaves connections to others.
    pub connections_per_network_max: usize,
    /// Rate of new TCP connections per address. Above the rate they get HTTP status 429. The burst lets
    /// several hundred peers of a lab behind one address connect at once.
    pub connects_per_address: Rate,
    /// Maximum number of addresses kept for the two limits above. At the limit connections from new addresses
    /// get HTTP status 503. A guess.
    pub addresses_max: usize,
    /// Rate of frames per connection. Above it the connection is read more slowly.
    pub frames: Rate,
    /// Rate of bytes per connection. Above it the connection is read more slowly.
    pub bytes: Rate,
    /// Maximum number of envelopes waiting for one peer. At the limit the sender with most bytes there loses its newest
    /// ones to a sender with fewer; an envelope that still finds no room is undeliverable.
    /// Sized for a flash crowd of 300 peers with three envelopes each, which arrives while the host's thread
    /// is busy.
    pub queue_len_max: usize,
    /// Maximum number of bytes waiting for one peer, with the same rule.
    pub queue_bytes_max: usize,
    /// Maximum number of bytes waiting for all peers together. At the limit further envelopes are
    /// undeliverable.
    pub queues_bytes_max: usize,
    /// Whether datagrams of links between peers without a path are carried (tunnels). Without, they are dropped.
    pub carries: bool,
    /// Rate of such bytes from one connection; above it they are dropped, and count for `frames` and `bytes`. A frame
    /// counts for 256 bytes at least. 4 Mbit/s: two programs of 1.5 Mbit/s with what repairs and seals them. A guess.
    pub tunnel_bytes: Rate,
    /// Maximum number of batches of datagrams waiting for one peer. At the limit the sender with most bytes there loses
    /// its oldest batches. A guess.
    pub tunnels_len_max: usize,
    /// Maximum number of bytes in them, with the same rule: half a second of 4 Mbit/s. A guess: later a datagram is of
    /// no use.
    pub tunnels_bytes_max: usize,
    /// Maximum number of bytes in the batches that wait for all peers together. At the limit further batches are
    /// dropped. A guess: as much as 256 peers that read slowly have.
    pub all_tunnels_bytes_max: usize,
    /// Timeout for the TLS handshake, again for the head of a request, and again from the opening of the websocket to a
    /// valid `Hello`. After it the connection is closed.
    pub hello_timeout: Duration,
    /// Time after the start for which a peer that comes for a room that isn't open waits for its host, up to
    /// `hold_max`, and is refused by [`Refusal::NotYet`](plenary_proto::rendezvous::Refusal::NotYet): a rendezvous that
    /// has restarted knows no rooms until their hosts are back. Zero for none. A guess: a few attempts of a host.
    pub holds_newcomers: Duration,
    /// Maximum duration of one such wait. Less than the five seconds in which clients give an attempt up.
    pub hold_max: Duration,
    /// Maximum time for which a connection may stay HTTP without a websocket. After it the connection is closed, so
    /// that slow readers do not hold connections forever; an answer in progress has four ping intervals more. Allows a
    /// page of 2 MB at 150 kbit/s.
    pub http_max: Duration,
    /// Maximum number of bytes per second that are sent to all strangers together: pages, and envelopes in rooms that
    /// nobody of this process has opened. Above the rate, senders take turns. The default is a quarter of a line of 1
    /// Gbit/s; [`Rendezvous::set_outflow`](crate::Rendezvous::set_outflow) changes it.
    pub outflow_bytes_per_s: u32,
    /// Rate of a page's bytes to one address (IPv6: one /64). Above the rate, the body is sent more slowly. The burst
    /// carries nine first visits over https, of 416 kB each.
    pub page_bytes_per_address: Rate,
    /// Maximum number of concurrent page requests of one address. Further ones wait for a quarter of `http_max`, and
    /// then get HTTP status 503. Browsers open six connections to a server.
    pub page_requests_per_address_max: usize,
    /// Timeout of one write to a peer: of a frame, or of the flush after a batch of frames. After it the peer
    /// is disconnected. A tunnel's frame has three ping intervals: a slow reader shall lose datagrams alone.
    pub send_timeout: Duration,
    /// Interval of the pings to a peer. A peer that is silent for three intervals is disconnected.
    pub ping_interval: Duration,
}

impl Limits {
    /// Returns the silence after which a peer counts as gone.
    pub(crate) fn silence_max(&self) -> Duration {
        self.ping_interval * SILENT_PINGS
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            rooms_max: 20_000,
            rooms_per_network_max: 10_000,
            rooms_per_address_max: 64,
            members_max: 10_000,
            room_grace: Duration::from_secs(600),
            unjoined_room_grace: Duration::from_secs(60),
            connections_max: 16_384,
            connections_per_address_max: 2048,
            connections_per_network_max: 8192,
            connects_per_address: Rate { per_s: 50, burst: 1024 },
            addresses_max: 65_536,
            frames: Rate { per_s: 200, burst: 1000 },
            bytes: Rate { per_s: 512 << 10, burst: 2 << 20 },
            queue_len_max: 1024,
            queue_bytes_max: 1 << 20,
            queues_bytes_max: 256 << 20,
            carries: true,
            tunnel_bytes: Rate { per_s: 500_000, burst: 128 << 10 },
            tunnels_len_max: 64,
            tunnels_bytes_max: 256 << 10,
            all_tunnels_bytes_max: 64 << 20,
            hello_timeout: Duration::from_secs(5),
            holds_newcomers: Duration::from_secs(15),
            hold_max: Duration::from_secs(4),
            http_max: Duration::from_secs(120),
            outflow_bytes_per_s: 32 << 20,
            page_bytes_per_address: Rate { per_s: 400_000, burst: 4_000_000 },
            page_requests_per_address_max: 8,
            send_timeout: Duration::from_secs(5),
            ping_interval: Duration::from_secs(5),
        }
    }
}

/// A rate limit: tokens per second, and a burst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Sustained rate per second; 0 counts as 1.
    pub per_s: u32,
    /// Maximum burst after a pause.
    pub burst: u32,
}

/// A token bucket (RFC 2697's, with one rate), full at first. The caller passes the time.
#[derive(Debug)]
pub(crate) struct Bucket {
    rate: Rate,
    /// Negative while the bucket is in debt.
    tokens: f64,
    at: Instant,
}

impl Bucket {
    pub(crate) fn new(rate: Rate, now: Instant) -> Bucket {
        Bucket { rate, tokens: f64::from(rate.burst), at: now }
    }

    /// Changes the rate. A debt stays.
    pub(crate) fn set_rate(&mut self, rate: Rate, now: Instant) {
        self.refill(now);
        self.rate = rate;
    }

    fn per_s(&self) -> f64 {
        f64::from(self.rate.per_s.max(1))
    }

    fn refill(&mut self, now: Instant) {
        let gained = now.saturating_duration_since(self.at).as_secs_f64() * self.per_s();
        self.tokens = (self.tokens + gained).min(f64::from(self.rate.burst));
        self.at = self.at.max(now);
    }

    /// Takes `cost` tokens, going into debt if necessary. Returns the time until the debt is repaid.
    pub(crate) fn take(&mut self, cost: u32, now: Instant) -> Duration {
        self.refill(now);
        self.tokens -= f64::from(cost);
        Duration::from_secs_f64((-self.tokens / self.per_s()).max(0.0))
    }

    /// Takes `cost` tokens if the bucket holds as many.
    pub(crate) fn try_take(&mut self, cost: u32, now: Instant) -> bool {
        self.refill(now);
        let there = self.tokens >= f64::from(cost);
        if there {
            self.tokens -= f64::from(cost);
        }
        there
    }

    /// Whether the bucket has refilled completely.
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
        let taken = (0..10).filter(|_| bucket.try_take(1, start)).count();
        assert_eq!(taken, 3);
        assert!(!bucket.try_take(1, start + Duration::from_millis(90)));
        assert!(bucket.try_take(1, start + Duration::from_millis(110)));
        assert!(!bucket.is_full(start + Duration::from_millis(110)));
        assert!(bucket.is_full(start + Duration::from_secs(60)));
    }

    #[test]
    fn a_clock_that_goes_back_and_a_rate_of_nothing_are_survived() {
        let start = Instant::now() + Duration::from_secs(10);
        let mut bucket = Bucket::new(Rate { per_s: 0, burst: 0 }, start);
        assert_eq!(bucket.take(u32::MAX, start - Duration::from_secs(5)), Duration::from_secs(4294967295));
        assert!(!bucket.try_take(1, start));
    }
}
