//! Candidates of this end, and those of the other end that are checked. A description names the addresses to check, so
//! an end that checked all of them could be made to scan a network, or to send datagrams to anybody.

use std::net::{IpAddr, SocketAddr};

use plenary_proto::bounded::List;
use plenary_proto::message::{CANDIDATES_MAX, Candidate, FURTHER_CANDIDATES_MAX};
use plenary_proto::network::{Network, is_public};

/// Maximum number of host addresses of the other end that are checked.
pub(crate) const ADDRESSES_MAX: usize = 3;
/// Maximum number of addresses at which others see the other end, and that are checked: one of IPv4, one of IPv6. As
/// many of its relays.
const OUTER_ADDRESSES_MAX: usize = 2;

/// What is known of the outer addresses of this end's sockets without asking anybody.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Outer {
    /// Address of a NAT that leaves ports as they are.
    pub(crate) nat_1to1: Option<IpAddr>,
    /// A port of this end's private addresses, and the address at which a router maps it.
    pub(crate) mapped: Option<(u16, SocketAddr)>,
}

/// Returns the candidates of an end with these sockets, for its description: at most [`ADDRESSES_MAX`] sockets' own
/// addresses, and their outer ones.
pub(crate) fn candidates(
    sockets: impl Iterator<Item = SocketAddr> + Clone,
    Outer { nat_1to1, mapped }: Outer,
) -> List<Candidate, CANDIDATES_MAX> {
    let own = sockets.clone().take(ADDRESSES_MAX).map(Candidate::Host);
    let mut all: Vec<Candidate> = own.collect();
    let has_port = |port| sockets.clone().any(|socket| socket.is_ipv4() && socket.port() == port);
    all.extend(mapped.filter(|(port, _)| has_port(*port)).map(|(_, outer)| Candidate::Reflexive(outer)));
    if let Some(outer) = nat_1to1 {
        let behind = sockets.filter(|socket| socket.is_ipv4() == outer.is_ipv4() && socket.ip() != outer);
        for socket in behind.filter(|socket| !is_public(socket.ip())) {
            let seen = Candidate::Reflexive(SocketAddr::new(outer, socket.port()));
            if !all.contains(&seen) {
                all.push(seen);
            }
        }
    }
    List::truncated(all)
}

/// The checked candidates of the other end, from its description and from later `Paths` messages.
#[derive(Debug, Default)]
pub(crate) struct Checked {
    hosts: Vec<IpAddr>,
    outer: Vec<IpAddr>,
    relays: Vec<IpAddr>,
    further: usize,
}

impl Checked {
    /// Returns those candidates of a description that an end with the addresses `own` checks: on [`ADDRESSES_MAX`]
    /// host addresses, [`OUTER_ADDRESSES_MAX`] at which others see the other end, and as many of relays. A private or
    /// loopback address is only checked if this end has one of the same network itself; otherwise a stranger could scan
    /// a network that it can't reach.
    pub(crate) fn of_description(&mut self, candidates: &[Candidate], own: &[IpAddr]) -> Vec<Candidate> {
        let worth = candidates.iter().filter(|candidate| self.takes(candidate, own));
        worth.take(CANDIDATES_MAX).cloned().collect()
    }

    /// Returns those of further candidates that are checked: not the other end's own addresses, and
    /// [`FURTHER_CANDIDATES_MAX`] in all.
    pub(crate) fn of_paths(&mut self, candidates: &[Candidate], own: &[IpAddr]) -> Vec<Candidate> {
        let mut worth = Vec::new();
        for candidate in candidates.iter().filter(|candidate| is_outer(candidate)) {
            if self.further < FURTHER_CANDIDATES_MAX && self.takes(candidate, own) {
                self.further += 1;
                worth.push(candidate.clone());
            }
        }
        worth
    }

    fn takes(&mut self, candidate: &Candidate, own: &[IpAddr]) -> bool {
        // names are for browsers; their checks show a native end where they come from
        let Some(address) = candidate.address() else { return false };
        let ip = address.ip().to_canonical();
        let network = Network::of(ip);
        let is_near = match network {
            Network::Public => true,
            Network::Nobody => false,
            _ => own.iter().any(|own| Network::of(own.to_canonical()) == network),
        };
        let (known, max) = match candidate {
            Candidate::Relayed(_) => (&mut self.relays, OUTER_ADDRESSES_MAX),
            Candidate::Reflexive(_) => (&mut self.outer, OUTER_ADDRESSES_MAX),
            Candidate::Host(_) | Candidate::Named(..) => (&mut self.hosts, ADDRESSES_MAX),
        };
        let is_known = known.contains(&ip);
        let takes = is_near && (is_known || known.len() < max);
        known.extend((takes && !is_known).then_some(ip));
        takes
    }
}

/// Whether a candidate is an address at which others see an end, and not its own.
fn is_outer(candidate: &Candidate) -> bool {
    matches!(candidate, Candidate::Reflexive(_) | Candidate::Relayed(_))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(addresses: &[&str]) -> Vec<Candidate> {
        addresses.iter().map(|address| Candidate::Host(address.parse().unwrap())).collect()
    }

    fn reflexive(address: &str) -> Candidate {
        Candidate::Reflexive(address.parse().unwrap())
    }

    fn checked(addresses: &[&str], own: &[&str]) -> Vec<String> {
        let own: Vec<IpAddr> = own.iter().map(|ip| ip.parse().unwrap()).collect();
        let checked = Checked::default().of_description(&hosts(addresses), &own);
        checked.iter().map(|checked| checked.address().unwrap().to_string()).collect()
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
        let own: Vec<IpAddr> = vec!["198.51.100.7".parse().unwrap()];
        let mut further = Checked::default();
        let many: Vec<_> = (1..=4).map(|last| reflexive(&format!("203.0.113.{last}:7"))).collect();
        assert_eq!(further.of_paths(&many, &own), many[..2]);
        assert!(further.of_paths(&hosts(&["203.0.113.1:9"]), &own).is_empty(), "a host's own");
        assert!(further.of_paths(&[reflexive("10.0.0.1:80")], &own).is_empty(), "a foreign network's");
        let ports: Vec<_> = (8..=20).map(|port| reflexive(&format!("203.0.113.1:{port}"))).collect();
        assert_eq!(further.of_paths(&ports, &own), ports[..8]);
        assert!(further.of_paths(&ports, &own).is_empty());
    }

    #[test]
    fn three_host_addresses_leave_room_for_those_that_others_see() {
        let own: Vec<IpAddr> = vec!["198.51.100.7".parse().unwrap()];
        let own_ones = hosts(&["203.0.113.1:7", "203.0.113.2:7", "203.0.113.3:7", "203.0.113.4:7"]);
        let seen = [reflexive("203.0.113.9:7"), reflexive("203.0.113.10:7"), reflexive("203.0.113.11:7")];
        let mut checked = Checked::default();
        let worth = checked.of_description(&[&own_ones[..], &seen].concat(), &own);
        assert_eq!(worth, [&own_ones[..3], &seen[..2]].concat());
        assert!(checked.of_paths(&seen[2..], &own).is_empty(), "two in all");
        assert_eq!(checked.of_paths(&seen[..1], &own), seen[..1]);
    }

    #[test]
    fn an_end_behind_a_one_to_one_nat_tells_its_outer_address_too() {
        let sockets = ["10.0.0.2:5000", "172.17.0.1:5000", "203.0.113.7:5000", "[2001:db8::7]:5001"]
            .map(|address| address.parse::<SocketAddr>().unwrap());
        let outer = |outer: &str| Outer { nat_1to1: Some(outer.parse().unwrap()), ..Outer::default() };
        let told = |address: &str| candidates(sockets.into_iter(), outer(address));
        assert_eq!(
            told("198.51.100.7")[..],
            [
                &hosts(&["10.0.0.2:5000", "172.17.0.1:5000", "203.0.113.7:5000"])[..],
                &[reflexive("198.51.100.7:5000")]
            ]
            .concat()
        );
        assert_eq!(told("203.0.113.7").len(), 4, "where an interface has it, the others are behind it");
        assert_eq!(told("2001:db8::9").len(), 3, "no private address of its family");
        assert_eq!(candidates(sockets.into_iter(), Outer::default()).len(), 3);
        let mapped =
            |port| Outer { mapped: Some((port, "198.51.100.7:4700".parse().unwrap())), nat_1to1: None };
        assert_eq!(candidates(sockets.into_iter(), mapped(5000))[3], reflexive("198.51.100.7:4700"));
        assert_eq!(candidates(sockets.into_iter(), mapped(5001)).len(), 3, "a port of IPv6 alone");
    }
}
