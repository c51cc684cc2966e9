//! Budget of connectivity checks. A description names the addresses to check, so a peer that can make this peer answer
//! an offer could make it send datagrams to anybody.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Mutex;
use std::time::Instant;

use plenary_proto::Time;
use plenary_proto::bucket::{Bucket, Rate};
use plenary_proto::message::{CANDIDATES_MAX, Candidate, FURTHER_CANDIDATES_MAX};

use crate::sync::lock;

/// Maximum number of different addresses of one description that are checked.
pub(crate) const ADDRESSES_MAX: usize = 3;
/// Maximum number of addresses that an end tells after its description and that are checked: one of IPv4, one of IPv6.
const FURTHER_ADDRESSES_MAX: usize = 2;
/// Checks of all links with strangers that have no path yet.
const STRANGERS: Rate = Rate { per_s: 50, burst: 50 };
/// Checks of all other links that have no path yet. A guess: 63 links of a stage at once, each with a check every 20 ms
/// for the 300 ms that their set-up takes.
const OTHERS: Rate = Rate { per_s: 1_000, burst: 1_000 };

/// Checks that the links of one peer may send before they have a path.
#[derive(Debug)]
pub(crate) struct CheckBudget {
    epoch: Instant,
    strangers: Mutex<Bucket>,
    others: Mutex<Bucket>,
}

impl CheckBudget {
    pub(crate) fn new() -> CheckBudget {
        CheckBudget {
            epoch: Instant::now(),
            strangers: Mutex::new(Bucket::new(STRANGERS, Time(0))),
            others: Mutex::new(Bucket::new(OTHERS, Time(0))),
        }
    }

    /// Takes one check from the budget of strangers, or of the others; returns whether it may be sent.
    pub(crate) fn take(&self, is_stranger: bool, now: Instant) -> bool {
        let since_us = now.saturating_duration_since(self.epoch).as_micros();
        let now = Time(u64::try_from(since_us).unwrap_or(u64::MAX));
        lock(if is_stranger { &self.strangers } else { &self.others }).take(now, 1)
    }
}

/// Whether a datagram of the ICE agent is a request (RFC 8489, section 5).
pub(crate) fn is_request(datagram: &[u8]) -> bool {
    datagram.starts_with(&[0, 1])
}

/// Returns the candidates that are checked by an end with these addresses: at most [`CANDIDATES_MAX`] on
/// [`ADDRESSES_MAX`] addresses. A private or loopback address is only checked if this end has one of the same network
/// itself; otherwise a stranger could scan a network that it can't reach.
pub(crate) fn worth_checking(candidates: &[Candidate], own: &[IpAddr]) -> Vec<Candidate> {
    let mut worth = checkable(candidates, own);
    worth.truncate(CANDIDATES_MAX);
    worth
}

/// Returns the candidates on the first [`ADDRESSES_MAX`] addresses that may be checked.
fn checkable(candidates: &[Candidate], own: &[IpAddr]) -> Vec<Candidate> {
    let mut addresses: Vec<IpAddr> = Vec::new();
    let mut worth = Vec::new();
    for candidate in candidates {
        // names are for browsers; their checks show a native end where they come from
        let Some(address) = candidate.address() else { continue };
        let ip = address.ip().to_canonical();
        let network = Network::of(ip);
        let is_near = match network {
            Network::Public => true,
            Network::Nobody => false,
            _ => own.iter().any(|own| Network::of(own.to_canonical()) == network),
        };
        if !is_near || (!addresses.contains(&ip) && addresses.len() >= ADDRESSES_MAX) {
            continue;
        }
        if !addresses.contains(&ip) {
            addresses.push(ip);
        }
        worth.push(candidate.clone());
    }
    worth
}

/// Further candidates of the other end that are checked.
#[derive(Debug, Default)]
pub(crate) struct Further {
    addresses: Vec<IpAddr>,
    count: usize,
}

impl Further {
    /// Returns those of `candidates` that are checked by an end with the addresses `own`, beside the ones before:
    /// public ones and those of its own networks, on [`FURTHER_ADDRESSES_MAX`] addresses, [`FURTHER_CANDIDATES_MAX`] in
    /// all.
    pub(crate) fn worth_checking(&mut self, candidates: &[Candidate], own: &[IpAddr]) -> Vec<Candidate> {
        let mut worth = checkable(candidates, own);
        worth.retain(|candidate| {
            let Some(ip) = candidate.address().map(|address| address.ip().to_canonical()) else {
                return false;
            };
            let is_known = self.addresses.contains(&ip);
            let fits = matches!(candidate, Candidate::Reflexive(_) | Candidate::Relayed(_))
                && (is_known || self.addresses.len() < FURTHER_ADDRESSES_MAX)
                && self.count < FURTHER_CANDIDATES_MAX;
            if fits {
                self.count += 1;
                self.addresses.extend((!is_known).then_some(ip));
            }
            fits
        });
        worth
    }
}

/// Returns whether the address is a public one: it leads to one host from every network.
pub(crate) fn is_public(ip: IpAddr) -> bool {
    Network::of(ip.to_canonical()) == Network::Public
}

/// Network that an address belongs to, as far as addresses are used again in other places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Network {
    Loopback,
    LinkLocal,
    /// RFC 1918, 6598, 4193, 3879, 8215: the first bits.
    Private(u8),
    Public,
    /// No single host: unspecified, which many systems take for loopback, multicast, broadcast, reserved.
    Nobody,
}

impl Network {
    fn of(ip: IpAddr) -> Network {
        match ip {
            _ if ip.is_loopback() => Network::Loopback,
            IpAddr::V4(ip) => match ip.octets() {
                [10, ..] => Network::Private(10),
                [172, 16..32, ..] => Network::Private(172),
                [192, 168, ..] => Network::Private(192),
                [100, 64..128, ..] => Network::Private(100),
                [169, 254, ..] => Network::LinkLocal,
                [0 | 224..=255, ..] => Network::Nobody,
                _ => Network::Public,
            },
            IpAddr::V6(ip) => match (embedded(ip), ip.segments()) {
                (Some(ip), _) => Network::of(IpAddr::V4(ip)),
                (None, [0xfe80..=0xfebf, ..]) => Network::LinkLocal,
                (None, [0xfec0..=0xfeff, ..]) => Network::Private(0xfe),
                (None, [0xfc00..=0xfdff, ..]) => Network::Private(0xfc),
                (None, [0x64, 0xff9b, 1, ..]) => Network::Private(0x9b),
                (None, [0xff00..=0xffff, ..]) => Network::Nobody,
                (None, _) => Network::Public,
            },
        }
    }
}

/// Returns the IPv4 address that a gateway reads from an IPv6 address: IPv4-compatible, of NAT64 (RFC 6052) and 6to4
/// (RFC 3056).
fn embedded(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let (high, low) = match ip.segments() {
        [0, 0, 0, 0, 0, 0, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => (high, low),
        [0x2002, high, low, ..] => (high, low),
        _ => return None,
    };
    Some(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn hosts(addresses: &[&str]) -> Vec<Candidate> {
        addresses.iter().map(|address| Candidate::Host(address.parse().unwrap())).collect()
    }

    fn checked(addresses: &[&str], own: &[&str]) -> Vec<String> {
        let own: Vec<IpAddr> = own.iter().map(|ip| ip.parse().unwrap()).collect();
        worth_checking(&hosts(addresses), &own)
            .iter()
            .map(|checked| checked.address().unwrap().to_string())
            .collect()
    }

    #[test]
    fn an_offer_makes_nobody_check_a_network_that_it_is_not_in() {
        let inside = ["127.0.0.1:22", "10.0.0.1:80", "192.168.1.1:80", "172.16.0.1:80", "169.254.1.1:80"];
        assert!(checked(&inside, &["198.51.100.7"]).is_empty());
        assert!(checked(&["[::1]:22", "[fd00::1]:80", "[::ffff:10.0.0.1]:80"], &["2001:db8::7"]).is_empty());
        assert_eq!(checked(&inside, &["127.0.0.1"]), ["127.0.0.1:22"]);
        assert_eq!(checked(&inside, &["10.9.9.9", "198.51.100.7"]), ["10.0.0.1:80"]);
        assert_eq!(checked(&["203.0.113.5:9"], &["10.9.9.9"]), ["203.0.113.5:9"]);
    }

    #[test]
    fn an_offer_hides_no_address_of_a_foreign_network_inside_another_address() {
        let hidden = [
            "[64:ff9b::10.0.0.1]:80",
            "[64:ff9b::127.0.0.1]:22",
            "[64:ff9b:1::a00:1]:80",
            "[2002:c0a8:101::1]:80",
            "[::192.168.1.1]:80",
            "[::ffff:127.0.0.1]:22",
            "[fec0::1]:80",
        ];
        assert!(checked(&hidden, &["198.51.100.7", "2001:db8::7"]).is_empty());
        assert_eq!(checked(&hidden, &["10.9.9.9"]), ["[64:ff9b::a00:1]:80"]);
        assert_eq!(checked(&["[64:ff9b::203.0.113.5]:9"], &["2001:db8::7"]), ["[64:ff9b::cb00:7105]:9"]);
    }

    #[test]
    fn an_offer_makes_nobody_check_what_is_no_host_or_stands_for_this_machine() {
        let nobody = [
            "0.0.0.0:22",
            "0.1.2.3:22",
            "[::]:22",
            "[::ffff:0.0.0.0]:22",
            "224.0.0.251:5353",
            "[::ffff:239.255.255.250]:1900",
            "[ff02::1]:9",
            "255.255.255.255:9",
            "240.0.0.1:9",
        ];
        assert!(checked(&nobody, &["127.0.0.1", "::1", "0.0.0.0", "198.51.100.7", "10.9.9.9"]).is_empty());
    }

    #[test]
    fn an_offer_of_sixteen_addresses_has_three_checked() {
        let many: Vec<String> = (1..=16).map(|last| format!("203.0.113.{last}:7")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(checked(&many, &["198.51.100.7"]), many[..3]);
        let ports: Vec<String> = (1..=16).map(|port| format!("203.0.113.1:{port}")).collect();
        let ports: Vec<&str> = ports.iter().map(String::as_str).collect();
        assert_eq!(checked(&ports, &["198.51.100.7"]), ports[..6]);
    }

    #[test]
    fn further_candidates_are_checked_on_two_addresses_and_ten_in_all() {
        let reflexive = |address: &str| Candidate::Reflexive(address.parse().unwrap());
        let own: Vec<IpAddr> = vec!["198.51.100.7".parse().unwrap()];
        let mut further = Further::default();
        let many: Vec<_> = (1..=4).map(|last| reflexive(&format!("203.0.113.{last}:7"))).collect();
        assert_eq!(further.worth_checking(&many, &own), many[..2]);
        assert!(further.worth_checking(&hosts(&["203.0.113.1:9"]), &own).is_empty(), "a host's own");
        assert!(further.worth_checking(&[reflexive("10.0.0.1:80")], &own).is_empty(), "a foreign network's");
        let ports: Vec<_> = (8..=20).map(|port| reflexive(&format!("203.0.113.1:{port}"))).collect();
        assert_eq!(further.worth_checking(&ports, &own), ports[..8]);
        assert!(further.worth_checking(&ports, &own).is_empty());
    }

    #[test]
    fn strangers_share_fifty_checks_a_second_and_cost_nobody_else_any() {
        let budget = CheckBudget::new();
        let sent = |is_stranger| {
            let ticks = (0..500).map(|at| budget.epoch + Duration::from_millis(10 * at));
            ticks.map(|now| (0..100).filter(|_| budget.take(is_stranger, now)).count()).sum::<usize>()
        };
        assert!((290..=300).contains(&sent(true)), "fifty at once, and fifty a second for five seconds");
        assert!(budget.take(false, budget.epoch + Duration::from_secs(5)));
    }
}
