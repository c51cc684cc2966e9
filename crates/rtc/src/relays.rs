//! The relays of one link at TURN servers, from the request for an allocation to its end.
//!
//! Each has a socket of its own, bound when it is asked for. A server knows an allocation by the addresses of both of
//! its ends, so links that share a port could have one in common only; and the server may be a STUN server that the
//! link asks, too, at the same address.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::task::Context;
use std::time::{Duration, Instant};

use plenary_proto::app::Nat;
use rtc::crypto::RTCCryptoProvider;
use rtc::shared::error::Result;

use crate::path::{Turn, TurnServer};
use crate::shaper::Shaper;
use crate::socket::LinkSocket;
use crate::sync::lock;
use crate::transport::Transport;
use crate::wire::Wire;

/// Time from the other end's description until a relay, and others that carry the link, are asked for if there is no
/// path by then. A link on loopback is up after 0.3 s, one over a NAT after two round trips more. A guess.
pub(crate) const PATH_WAIT_MAX: Duration = Duration::from_millis(500);
/// Time that a relay is kept when the link goes another way. The other end may still check it; a guess.
const UNUSED_MAX: Duration = Duration::from_secs(30);

/// The relays of one link.
pub(crate) struct Relays {
    servers: Arc<Mutex<Vec<TurnServer>>>,
    provider: Arc<dyn RTCCryptoProvider>,
    /// Addresses of the link's other sockets.
    binds: Vec<SocketAddr>,
    sends_by: (Arc<Wire>, Shaper),
    ask_at: Option<Instant>,
    /// Time at which relays end that the link doesn't go by.
    end_unused_at: Option<Instant>,
    /// At first one for each of this end's addresses; then the one that a server has heard first.
    sockets: Vec<LinkSocket>,
    /// The address of the link's path.
    goes_by: Option<SocketAddr>,
}

impl Relays {
    pub(crate) fn new(
        servers: Arc<Mutex<Vec<TurnServer>>>,
        provider: Arc<dyn RTCCryptoProvider>,
        binds: Vec<SocketAddr>,
        sends_by: (Arc<Wire>, Shaper),
    ) -> Relays {
        let (sockets, goes_by) = (Vec::new(), None);
        Relays { servers, provider, binds, sends_by, ask_at: None, end_unused_at: None, sockets, goes_by }
    }

    /// The other end is known. Where this end's NAT gives a port for each destination, a relay is likely to be needed,
    /// and asked for at once.
    pub(crate) fn start(&mut self, now: Instant, nat: Nat) {
        let wait = if nat == Nat::PortEach { Duration::ZERO } else { PATH_WAIT_MAX };
        self.ask_at = Some(now + wait).filter(|_| !self.binds.is_empty());
    }

    pub(crate) fn sockets(&mut self) -> impl Iterator<Item = &mut LinkSocket> {
        self.sockets.iter_mut()
    }

    /// Returns this machine's address behind a relay, or the address itself if it is none.
    pub(crate) fn base_of(&self, local: SocketAddr) -> SocketAddr {
        self.sockets.iter().find(|socket| socket.local() == local).map_or(local, LinkSocket::base)
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let requests = self.sockets.iter().filter_map(LinkSocket::request_due);
        requests.chain(self.ask_at).chain(self.end_unused_at).min()
    }

    /// Called when the time of [`Relays::poll_timeout`] has come.
    pub(crate) fn handle_timeout(&mut self, cx: &mut Context<'_>, now: Instant) {
        if self.ask_at.take_if(|at| *at <= now).is_some() && self.goes_by.is_none() {
            self.ask(now);
        }
        if self.end_unused_at.take_if(|at| *at <= now).is_some() {
            let unused = self.sockets.iter_mut().filter(|socket| Some(socket.local()) != self.goes_by);
            unused.filter_map(LinkSocket::turn).for_each(|turn| turn.end(now));
        }
        self.sockets.iter_mut().for_each(|socket| socket.send_requests(cx, now));
    }

    /// Asks the first server of each family, from each of this end's addresses.
    fn ask(&mut self, now: Instant) {
        let servers = lock(&self.servers).clone();
        if servers.is_empty() {
            // they may be told yet; by the time at which the link is given up there were ten attempts
            self.ask_at = Some(now + PATH_WAIT_MAX);
        }
        for is_v4 in [true, false] {
            let Some(server) = servers.iter().find(|server| server.address.is_ipv4() == is_v4) else {
                continue;
            };
            let ip = server.address.ip();
            let is_near =
                |bind: &&SocketAddr| bind.is_ipv4() == is_v4 && bind.ip().is_loopback() == ip.is_loopback();
            for bind in self.binds.iter().filter(is_near) {
                let turn = Turn::new(now, server.clone(), self.provider.clone());
                let (wire, shaper) = self.sends_by.clone();
                match LinkSocket::bind_relay(SocketAddr::new(bind.ip(), 0), turn, wire, shaper) {
                    Ok(socket) => self.sockets.push(socket),
                    Err(error) => tracing::debug!(%bind, %error, "a relay's socket cannot be bound"),
                }
            }
        }
    }

    /// Tells the transport what has become of the relays. Returns whether anything has. Called in each turn.
    pub(crate) fn settle(&mut self, cx: &mut Context<'_>, transport: &mut Transport) -> Result<bool> {
        if self.sockets.is_empty() && self.ask_at.is_none() {
            return Ok(false);
        }
        self.sockets.iter_mut().for_each(|socket| _ = socket.poll_requests(cx));
        let now = Instant::now();
        let goes_by = transport.goes_by().map(|(local, _)| local);
        if goes_by != self.goes_by {
            self.goes_by = goes_by;
            self.end_unused_at = goes_by.filter(|_| !self.sockets.is_empty()).map(|_| now + UNUSED_MAX);
        }
        let count = self.sockets.len();
        // the server has heard this end by one of its addresses: the others aren't needed
        for is_v4 in [true, false] {
            let is_of_family = |socket: &LinkSocket| socket.base().is_ipv4() == is_v4;
            let heard = |socket: &mut LinkSocket| {
                is_of_family(socket) && socket.turn().is_some_and(|turn| turn.is_heard())
            };
            if let Some(first) = self.sockets.iter_mut().position(heard) {
                let first = self.sockets[first].base();
                self.sockets.retain(|socket| !is_of_family(socket) || socket.base() == first);
            }
        }
        let mut is_changed = self.sockets.len() != count;
        for turn in self.sockets.iter_mut().filter_map(LinkSocket::turn) {
            if let Some(relay) = turn.take_relay() {
                is_changed = true;
                if goes_by.is_some() {
                    turn.end(now);
                } else {
                    transport.add_relay(relay)?;
                }
            }
        }
        let count = self.sockets.len();
        self.sockets.retain_mut(|socket| socket.turn().is_some_and(|turn| !turn.is_over()));
        if self.sockets.len() != count
            && let Some(local) = goes_by
            && self.base_of(local) == local
        {
            is_changed = true;
            transport.relay_gone(local);
        }
        Ok(is_changed)
    }

    /// Ends all relays, as far as their sockets take a datagram at once.
    pub(crate) fn end(&mut self, cx: &mut Context<'_>, now: Instant) {
        self.sockets.iter_mut().filter_map(LinkSocket::turn).for_each(|turn| turn.end(now));
        self.sockets.iter_mut().for_each(|socket| socket.send_requests(cx, now));
    }
}

#[cfg(test)]
mod tests {
    use plenary_proto::app::Way;
    use plenary_proto::link_layout::Role;
    use plenary_proto::message::Candidate;

    use super::*;
    use crate::ends::End;
    use crate::path::Relay;
    use crate::transport::TransportEvent;

    const RELAYED: &str = "198.51.100.1:50000";

    /// Carries datagrams between a relay of `a` and `b`, and no others.
    fn run(a: &mut End, b: &mut End, now: &mut Instant, ms: u64) {
        let relayed: SocketAddr = RELAYED.parse().unwrap();
        for _ in 0..ms / 5 {
            for _ in 0..4 {
                a.transport.collect(*now, true, &mut a.outgoing);
                for datagram in a.outgoing.drain(..).filter(|sent| sent.transport.local_addr == relayed) {
                    let _ = b.take(*now, relayed, &datagram.message);
                }
                b.transport.collect(*now, true, &mut b.outgoing);
                for datagram in b.outgoing.drain(..).filter(|sent| sent.transport.peer_addr == relayed) {
                    let _ = a.transport.receive(*now, relayed, b.address, &datagram.message);
                }
            }
            *now += Duration::from_millis(5);
            for end in [&mut *a, &mut *b] {
                end.transport.handle_timeout(*now).unwrap();
                end.events.extend(std::iter::from_fn(|| end.transport.poll_event()));
            }
        }
    }

    #[test]
    fn a_relay_that_is_met_before_it_is_told_is_a_relay_all_the_same() {
        let mut now = Instant::now();
        let (mut a, mut b) = crate::ends::pair(now);
        let relayed = RELAYED.parse().unwrap();
        let seen = "203.0.113.9:4000".parse().unwrap();
        a.transport.add_relay(Relay { relayed, seen: Some(seen) }).unwrap();
        run(&mut a, &mut b, &mut now, 3_000);
        let told = vec![Candidate::Relayed(relayed), Candidate::Reflexive(seen)];
        assert_eq!(a.events, [TransportEvent::Relayed(told.clone()), TransportEvent::Opened]);
        assert_eq!(b.events.last(), Some(&TransportEvent::Opened));
        assert_eq!(a.transport.goes_by(), Some((relayed, Way::Relayed)));
        assert_eq!(b.transport.goes_by(), Some((b.address, Way::Direct)), "as far as is known");
        b.transport.add_paths("aaaa", &told).unwrap();
        assert_eq!(b.transport.goes_by(), Some((b.address, Way::Relayed)));
        a.transport.relay_gone(a.address);
        assert_eq!(a.transport.poll_event(), None, "the link doesn't go by it");
        a.transport.relay_gone(relayed);
        assert_eq!(a.transport.poll_event(), Some(TransportEvent::Lost));
    }

    #[test]
    fn a_direct_path_wins_over_a_relay_that_answers_first() {
        let mut now = Instant::now();
        let mut a = End::new(now, Role::Offer, "aaaa", "bbbb", 5_001);
        let mut b = End::new(now, Role::Answer, "bbbb", "aaaa", 5_002);
        a.transport.start(now, &b.description).unwrap();
        b.transport.start(now, &a.description).unwrap();
        let relay = Relay { relayed: RELAYED.parse().unwrap(), seen: None };
        a.transport.add_relay(relay).unwrap();
        run(&mut a, &mut b, &mut now, 900);
        assert_eq!(a.transport.goes_by(), None, "the relay answers, and waits");
        crate::ends::run(&mut a, &mut b, &mut now, 500, |_| {});
        assert_eq!(a.transport.goes_by(), Some((a.address, Way::Direct)));
        assert_eq!(b.transport.goes_by(), Some((b.address, Way::Direct)));
    }
}
