//! Requests to STUN servers (RFC 8489) for the addresses of a link's sockets as others see them, without IO.
//!
//! The requests leave by the sockets themselves, since a NAT gives each socket an address of its own. They leave beside
//! everything else: no link waits for a silent server.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rtc::stun::message::{BINDING_SUCCESS, Getter as _, Message};
use rtc::stun::xoraddr::XorMappedAddress;

/// Maximum number of servers that are asked: a third one shows whether a NAT counts its ports up.
pub(crate) const SERVERS_MAX: usize = 3;
/// Interval between two requests to a server that doesn't answer. RFC 8489, 6.2.1 has 500 ms and doubles it, and most
/// links are up by that time.
const ASK_EACH: Duration = Duration::from_millis(250);
/// Maximum number of requests to a server.
const ASKS_MAX: u8 = 3;
/// Time from the first request after which no answer is expected.
pub(crate) const ANSWERED_MAX: Duration = Duration::from_millis(250 * ASKS_MAX as u64);

/// Types of messages (RFC 8489, section 18.2).
const BINDING_REQUEST: [u8; 2] = [0, 0x01];
const BINDING_INDICATION: [u8; 2] = [0, 0x11];
/// Maximum number of views of the other end that are kept: by two of its NATs, IPv4 and IPv6.
const ENDS_MAX: usize = 4;

/// Addresses under which servers and the other end have seen a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// The socket's own address.
    pub(crate) local: SocketAddr,
    /// Its address as the servers saw it, in the order of the requests; then as the link's other end saw it.
    pub(crate) by: Vec<SocketAddr>,
}

/// The requests of one link.
#[derive(Debug)]
pub(crate) struct Reflex {
    asks: Vec<Ask>,
    /// Sockets, and the servers on this machine that learn of them.
    greets: Vec<(SocketAddr, SocketAddr, [u8; 12])>,
    due: Option<Instant>,
    asked: u8,
    /// What other ends of the link have seen: the socket, their address, and the socket's as they saw it.
    by_ends: Vec<(SocketAddr, SocketAddr, SocketAddr)>,
}

#[derive(Debug)]
struct Ask {
    local: SocketAddr,
    server: SocketAddr,
    transaction: [u8; 12],
    seen: Option<SocketAddr>,
}

impl Reflex {
    /// Prepares requests of each socket to each server of its family. A server on this machine is asked for nothing,
    /// since no NAT translates its packets: it gets an indication (RFC 8489, section 5), by which its TURN relays reach
    /// the socket. `draw` returns the random ids of transactions, by which answers are recognized.
    pub(crate) fn new(
        now: Instant,
        locals: impl Iterator<Item = SocketAddr>,
        servers: &[SocketAddr],
        mut draw: impl FnMut() -> [u8; 12],
    ) -> Reflex {
        let (mut asks, mut greets) = (Vec::new(), Vec::new());
        for local in locals {
            let of_family = servers.iter().filter(|server| server.is_ipv4() == local.is_ipv4());
            let is_here = |server: &&SocketAddr| server.ip() == local.ip() || server.ip().is_loopback();
            let (here, elsewhere): (Vec<_>, Vec<_>) = of_family.partition(is_here);
            asks.extend(elsewhere.into_iter().take(SERVERS_MAX).map(|&server| Ask {
                local,
                server,
                transaction: draw(),
                seen: None,
            }));
            greets.extend(here.into_iter().take(SERVERS_MAX).map(|&server| (local, server, draw())));
        }
        let has_any = !asks.is_empty() || !greets.is_empty();
        Reflex { due: has_any.then_some(now), asks, greets, asked: 0, by_ends: Vec::new() }
    }

    /// Returns the messages that are due, each with the socket that sends it and the server.
    pub(crate) fn take_due(&mut self, now: Instant) -> Vec<(SocketAddr, SocketAddr, [u8; 20])> {
        if self.due.is_none_or(|due| due > now) {
            return Vec::new();
        }
        self.asked += 1;
        self.due = (self.asked < ASKS_MAX).then_some(now + ASK_EACH);
        let open = self.asks.iter().filter(|ask| ask.seen.is_none());
        let requests = open.map(|ask| (ask.local, ask.server, message(BINDING_REQUEST, ask.transaction)));
        let greets = self.greets.drain(..);
        let greets = greets.map(|(local, server, drawn)| (local, server, message(BINDING_INDICATION, drawn)));
        requests.chain(greets).collect()
    }

    /// Time of the next call of [`Reflex::take_due`].
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.due.filter(|_| self.is_open() || !self.greets.is_empty())
    }

    /// Whether a server owes an answer.
    pub(crate) fn is_open(&self) -> bool {
        self.asks.iter().any(|ask| ask.seen.is_none())
    }

    /// Takes a datagram if it answers a request; returns what servers have seen of that socket so far if the answer is
    /// news.
    pub(crate) fn receive(&mut self, local: SocketAddr, from: SocketAddr, datagram: &[u8]) -> Option<Seen> {
        let waits = |ask: &&mut Ask| ask.local == local && ask.server == from && ask.seen.is_none();
        let ask = self.asks.iter_mut().find(waits)?;
        let (transaction, seen) = mapped(datagram)?;
        if transaction != ask.transaction {
            return None;
        }
        ask.seen = Some(seen);
        Some(self.seen_of(local))
    }

    /// Takes the answer of the link's other end to a connectivity check: it shows the socket's address as well. Its
    /// credentials have been checked. Returns what was seen of the socket so far if that is news.
    pub(crate) fn answered(&mut self, local: SocketAddr, from: SocketAddr, datagram: &[u8]) -> Option<Seen> {
        let is_known = |(of, by, _): &(SocketAddr, SocketAddr, _)| (*of, *by) == (local, from);
        if self.by_ends.len() >= ENDS_MAX || self.by_ends.iter().any(is_known) {
            return None;
        }
        let (_, seen) = mapped(datagram)?;
        self.by_ends.push((local, from, seen));
        Some(self.seen_of(local))
    }

    fn seen_of(&self, local: SocketAddr) -> Seen {
        let by_servers = self.asks.iter().filter(|ask| ask.local == local).filter_map(|ask| ask.seen);
        let by_ends = self.by_ends.iter().filter(|(of, ..)| *of == local).map(|(.., seen)| *seen);
        Seen { local, by: by_servers.chain(by_ends).collect() }
    }

    /// Whether a server at this address owes an answer.
    pub(crate) fn awaits(&self, from: SocketAddr) -> bool {
        self.asks.iter().any(|ask| ask.server == from && ask.seen.is_none())
    }
}

/// Returns a message without attributes.
fn message(kind: [u8; 2], transaction: [u8; 12]) -> [u8; 20] {
    let mut bytes = [0; 20];
    bytes[..2].copy_from_slice(&kind);
    bytes[4..8].copy_from_slice(&[0x21, 0x12, 0xa4, 0x42]);
    bytes[8..].copy_from_slice(&transaction);
    bytes
}

/// Returns transaction and address of an answer. `None`: another datagram, or an unusable address.
fn mapped(datagram: &[u8]) -> Option<([u8; 12], SocketAddr)> {
    let mut answer = Message::new();
    answer.unmarshal_binary(datagram).ok()?;
    if answer.typ != BINDING_SUCCESS {
        return None;
    }
    let mut seen = XorMappedAddress::default();
    seen.get_from(&answer).ok()?;
    let usable = seen.port != 0 && !seen.ip.is_unspecified() && !seen.ip.is_multicast();
    usable.then(|| (answer.transaction_id.0, SocketAddr::new(seen.ip.to_canonical(), seen.port)))
}

#[cfg(test)]
mod tests {
    use rtc::stun::message::{BINDING_ERROR, MessageType, TransactionId};

    use super::*;

    const LOCAL: &str = "10.0.0.2:5000";

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn reflex(now: Instant, servers: &[&str]) -> Reflex {
        let servers: Vec<_> = servers.iter().map(|server| address(server)).collect();
        let mut drawn = 0;
        Reflex::new(now, [address(LOCAL)].into_iter(), &servers, || {
            drawn += 1;
            [drawn; 12]
        })
    }

    fn answer(kind: MessageType, request: &[u8; 20], seen: &str) -> Vec<u8> {
        let transaction: [u8; 12] = request[8..].try_into().unwrap();
        let seen = address(seen);
        let mapped = XorMappedAddress { ip: seen.ip(), port: seen.port() };
        let mut message = Message::new();
        message.build(&[Box::new(kind), Box::new(TransactionId(transaction)), Box::new(mapped)]).unwrap();
        message.raw
    }

    #[test]
    fn each_server_is_asked_three_times_at_most_and_not_after_its_answer() {
        let begun = Instant::now();
        let mut reflex = reflex(begun, &["192.0.2.1:3478", "192.0.2.2:3478"]);
        let (mut now, mut asked) = (begun, Vec::new());
        while let Some(due) = reflex.poll_timeout() {
            now = due;
            for (_, server, request) in reflex.take_due(now) {
                asked.push(server);
                if server == address("192.0.2.1:3478") {
                    let told = reflex.receive(
                        address(LOCAL),
                        server,
                        &answer(BINDING_SUCCESS, &request, "203.0.113.5:7"),
                    );
                    assert_eq!(told.map(|told| told.by), Some(vec![address("203.0.113.5:7")]));
                }
            }
        }
        let to = |server: &str| asked.iter().filter(|asked| **asked == address(server)).count();
        assert_eq!((to("192.0.2.1:3478"), to("192.0.2.2:3478")), (1, 3));
        assert_eq!(now - begun, Duration::from_millis(500));
    }

    #[test]
    fn only_the_answer_of_the_server_that_was_asked_counts() {
        let now = Instant::now();
        let mut reflex = reflex(now, &["192.0.2.1:3478"]);
        let (local, server, request) = reflex.take_due(now)[0];
        let genuine = answer(BINDING_SUCCESS, &request, "203.0.113.5:7");
        let other = answer(BINDING_SUCCESS, &message(super::BINDING_REQUEST, [9; 12]), "203.0.113.5:7");
        assert_eq!(reflex.receive(local, address("192.0.2.9:3478"), &genuine), None, "of another address");
        assert_eq!(reflex.receive(address("10.0.0.3:1"), server, &genuine), None, "at another socket");
        for wrong in [other, answer(BINDING_ERROR, &request, "203.0.113.5:7"), Vec::new(), request.to_vec()] {
            assert_eq!(reflex.receive(local, server, &wrong), None);
        }
        for nobody in ["0.0.0.0:7", "203.0.113.5:0", "224.0.0.1:7"] {
            assert_eq!(reflex.receive(local, server, &answer(BINDING_SUCCESS, &request, nobody)), None);
        }
        assert!(reflex.receive(local, server, &genuine).is_some());
        assert_eq!(reflex.receive(local, server, &genuine), None, "a second time");
        assert!(!reflex.awaits(server));
    }

    #[test]
    fn the_other_end_s_answer_shows_the_socket_s_address_too() {
        let now = Instant::now();
        let mut reflex = reflex(now, &["192.0.2.1:3478"]);
        let (local, server, request) = reflex.take_due(now)[0];
        let by_server = answer(BINDING_SUCCESS, &request, "203.0.113.5:7");
        assert_eq!(reflex.receive(local, server, &by_server).map(|seen| seen.by.len()), Some(1));
        let by_end = answer(BINDING_SUCCESS, &message(super::BINDING_REQUEST, [9; 12]), "203.0.113.5:8");
        let seen = reflex.answered(local, address("198.51.100.1:5000"), &by_end).unwrap();
        assert_eq!(seen.by, [address("203.0.113.5:7"), address("203.0.113.5:8")]);
        assert_eq!(reflex.answered(local, address("198.51.100.1:5000"), &by_end), None, "a second time");
        for port in 1..=20 {
            reflex.answered(local, address(&format!("198.51.100.2:{port}")), &by_end);
        }
        assert_eq!(reflex.by_ends.len(), ENDS_MAX);
    }

    #[test]
    fn servers_of_another_family_and_on_this_machine_are_not_asked() {
        let now = Instant::now();
        let mut reflex = reflex(now, &["[2001:db8::1]:3478", "127.0.0.1:3478", "10.0.0.2:7420"]);
        assert_eq!((reflex.poll_timeout(), reflex.is_open()), (Some(now), false));
        // those on this machine learn of the socket, once, and owe no answer
        let told: Vec<_> = reflex.take_due(now).into_iter().map(|(_, to, sent)| (to, sent[1])).collect();
        assert_eq!(told, [(address("127.0.0.1:3478"), 0x11), (address("10.0.0.2:7420"), 0x11)]);
        assert_eq!((reflex.poll_timeout(), reflex.take_due(now).len()), (None, 0));
    }
}
