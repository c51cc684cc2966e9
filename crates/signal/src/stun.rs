//! STUN binding requests (RFC 8489), which the rendezvous answers at its UDP port: a peer learns the address at which
//! others see it.
//!
//! A response has 32 or 44 bytes, a request at least 20. Responses per second are limited per address, per network, and
//! in total: a flood from one address doesn't use up the responses of others, and forged sender addresses reflect
//! little traffic.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use rtc_stun::message::{BINDING_REQUEST, BINDING_SUCCESS, Message, is_stun_message};
use rtc_stun::xoraddr::XorMappedAddress;

use crate::owner::{network, owner};

/// Answers to all within a second: some 300 KiB. A guess; a room of 10,000 pages that opens at once asks for less each
/// second.
const ANSWERS_PER_SECOND_MAX: u32 = 5_000;
/// Answers to one network (IPv4 /16, IPv6 /48) within a second: a fifth of all.
const ANSWERS_PER_NETWORK_MAX: u32 = 1_000;
/// Answers to one address (IPv6: one /64) within a second. A newcomer to a full stage asks from the sockets of 63 links
/// at once; a guess for the rest: a few pages behind one address.
const ANSWERS_PER_ADDRESS_MAX: u32 = 100;
/// Type of a binding indication (RFC 8489, section 18.2).
const BINDING_INDICATION: [u8; 2] = [0, 0x11];
/// Time in which answers are counted.
const WINDOW: Duration = Duration::from_secs(1);

/// Responses within the current window. Each entry stands for a response, so the total limit bounds the tables.
#[derive(Debug)]
pub(crate) struct Answers {
    since: Instant,
    all: u32,
    of_address: HashMap<IpAddr, u32>,
    of_network: HashMap<IpAddr, u32>,
}

impl Answers {
    pub(crate) fn new(now: Instant) -> Answers {
        Answers { since: now, all: 0, of_address: HashMap::new(), of_network: HashMap::new() }
    }

    /// Returns whether one more answer may go to an address.
    pub(crate) fn allow(&mut self, ip: IpAddr, now: Instant) -> bool {
        if now.saturating_duration_since(self.since) >= WINDOW {
            (self.since, self.all) = (now, 0);
            self.of_address.clear();
            self.of_network.clear();
        }
        let below = |counts: &HashMap<IpAddr, u32>, ip, max| counts.get(&ip).is_none_or(|count| *count < max);
        below(&self.of_address, owner(ip), ANSWERS_PER_ADDRESS_MAX)
            && below(&self.of_network, network(ip), ANSWERS_PER_NETWORK_MAX)
            && self.all < ANSWERS_PER_SECOND_MAX
    }

    pub(crate) fn count(&mut self, ip: IpAddr) {
        self.all += 1;
        *self.of_address.entry(owner(ip)).or_default() += 1;
        *self.of_network.entry(network(ip)).or_default() += 1;
    }
}

/// Returns the answer to a datagram; `None` if it is no binding request.
pub(crate) fn answer(request: &[u8], from: SocketAddr) -> Option<Vec<u8>> {
    if !is_request(request) {
        return None;
    }
    let mut asked = Message::new();
    asked.unmarshal_binary(request).ok().filter(|()| is_stun_message(request))?;
    let seen = XorMappedAddress { ip: from.ip().to_canonical(), port: from.port() };
    let mut answer = Message::new();
    answer.build(&[Box::new(BINDING_SUCCESS), Box::new(asked.transaction_id), Box::new(seen)]).ok()?;
    Some(answer.raw)
}

/// Whether a datagram begins as a binding indication does, by which a socket tells a server of itself.
pub(crate) fn is_indication(datagram: &[u8]) -> bool {
    datagram.starts_with(&BINDING_INDICATION)
}

/// Whether a datagram begins as a binding request does.
pub(crate) fn is_request(datagram: &[u8]) -> bool {
    datagram.starts_with(&BINDING_REQUEST.value().to_be_bytes())
}

#[cfg(test)]
mod tests {
    use rtc_stun::message::Getter as _;

    use super::*;

    const TRANSACTION: [u8; 12] = [7; 12];

    fn request(kind: u16) -> Vec<u8> {
        let cookie = [0x21, 0x12, 0xa4, 0x42];
        [&kind.to_be_bytes()[..], &[0, 0], &cookie, &TRANSACTION].concat()
    }

    #[test]
    fn a_binding_request_is_answered_with_the_address_it_came_from() {
        for (from, expected) in [
            ("192.0.2.1:32853", "192.0.2.1:32853"),
            ("[2001:db8::7]:9", "[2001:db8::7]:9"),
            ("[::ffff:192.0.2.1]:9", "192.0.2.1:9"),
        ] {
            let answered = answer(&request(0x0001), from.parse().unwrap()).unwrap();
            let mut read = Message::new();
            read.unmarshal_binary(&answered).unwrap();
            let mut seen = XorMappedAddress::default();
            seen.get_from(&read).unwrap();
            assert_eq!(read.transaction_id.0, TRANSACTION);
            assert_eq!(SocketAddr::new(seen.ip, seen.port), expected.parse().unwrap());
            assert!(answered.len() <= 44);
        }
    }

    #[test]
    fn nothing_else_is_answered() {
        let from = "192.0.2.1:9".parse().unwrap();
        let whole = request(0x0001);
        let mut without_cookie = whole.clone();
        without_cookie[4] = 0;
        // a success, an indication, an allocation, and what is no STUN
        let others =
            [request(0x0101), request(0x0011), request(0x0003), without_cookie, vec![], vec![0xff; 100]];
        assert!(others.iter().all(|other| answer(other, from).is_none()));
        assert!((0..whole.len()).all(|length| answer(&whole[..length], from).is_none()));
    }

    /// Has an address ask that many times; returns the number of answers.
    fn ask(answers: &mut Answers, address: &str, times: u32, now: Instant) -> u32 {
        let ip = address.parse().unwrap();
        let ask = |_: &u32| {
            let allowed = answers.allow(ip, now);
            if allowed {
                answers.count(ip);
            }
            allowed
        };
        (0..times).filter(ask).count() as u32
    }

    #[test]
    fn a_flood_from_one_address_takes_nobody_else_s_answers() {
        let now = Instant::now();
        let mut answers = Answers::new(now);
        assert_eq!(ask(&mut answers, "192.0.2.1", 100_000, now), ANSWERS_PER_ADDRESS_MAX);
        assert_eq!(ask(&mut answers, "192.0.2.2", 3, now), 3);
        // from one of the flood's /64 as well
        assert_eq!(ask(&mut answers, "2001:db8::1", 95, now), 95);
        assert_eq!(ask(&mut answers, "2001:db8::2", 15, now), ANSWERS_PER_ADDRESS_MAX - 95);
        let later = now + WINDOW;
        assert_eq!(ask(&mut answers, "192.0.2.1", 3, later), 3);
        assert_eq!(answers.of_address.len(), 1, "the second before is forgotten");
    }

    #[test]
    fn a_flood_from_a_whole_network_leaves_answers_to_others() {
        let now = Instant::now();
        let mut answers = Answers::new(now);
        let of_network = |answers: &mut Answers, third: u32| -> u32 {
            (0..1000).map(|fourth| ask(answers, &format!("2001:db8:{third:x}:{fourth:x}::1"), 30, now)).sum()
        };
        assert_eq!(of_network(&mut answers, 0), ANSWERS_PER_NETWORK_MAX);
        assert_eq!(ask(&mut answers, "192.0.2.2", 3, now), 3);
        let others: u32 = (1..100).map(|third| of_network(&mut answers, third)).sum();
        assert_eq!(others, ANSWERS_PER_SECOND_MAX - ANSWERS_PER_NETWORK_MAX - 3);
        assert!(answers.of_address.len() <= ANSWERS_PER_SECOND_MAX as usize);
    }

    proptest::proptest! {
        #[test]
        fn no_datagram_makes_it_panic(bytes in proptest::collection::vec(0_u8.., 0..200)) {
            let _ = answer(&bytes, "192.0.2.1:9".parse().unwrap());
        }
    }
}
