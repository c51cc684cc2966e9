//! The kind of NAT in front of a socket, told from the addresses under which several servers see it (RFC 5780, 4.3).

use std::net::SocketAddr;

use plenary_proto::app::Nat;

/// Number of ports after the last one that a NAT which counts up is expected to give next. A guess: other flows of the
/// same NAT take ports between two of this one's.
const NEXT_PORTS: u16 = 8;
/// Largest step between two ports of a NAT that counts up. A guess, for the same reason.
const STEP_MAX: u16 = 4;

/// What a socket's NAT does, as far as it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Behaviour {
    pub(crate) nat: Nat,
    /// Addresses by which a further peer may reach the socket: the one that servers have seen, or those that the NAT is
    /// expected to give next.
    pub(crate) reachable_at: Vec<SocketAddr>,
}

/// Judges a socket with the address `local`, which servers have `seen` so, in the order of the requests to them.
pub(crate) fn behaviour(local: SocketAddr, seen: &[SocketAddr]) -> Behaviour {
    let Some((&first, others)) = seen.split_first() else {
        return Behaviour { nat: Nat::Unknown, reachable_at: Vec::new() };
    };
    if first == local {
        return Behaviour { nat: Nat::Open, reachable_at: Vec::new() };
    }
    if others.iter().all(|other| *other == first) {
        let nat = if others.is_empty() { Nat::Unknown } else { Nat::OnePort };
        return Behaviour { nat, reachable_at: vec![first] };
    }
    Behaviour { nat: Nat::PortEach, reachable_at: next(seen) }
}

/// Returns the addresses that a NAT gives next if it has counted up so far.
fn next(seen: &[SocketAddr]) -> Vec<SocketAddr> {
    let counts = |pair: &[SocketAddr]| {
        let step = pair[1].port().wrapping_sub(pair[0].port());
        pair[0].ip() == pair[1].ip() && (1..=STEP_MAX).contains(&step)
    };
    let Some(last) = seen.last().filter(|_| seen.windows(2).all(counts)) else { return Vec::new() };
    let ports = (1..=NEXT_PORTS).filter_map(|more| last.port().checked_add(more));
    ports.map(|port| SocketAddr::new(last.ip(), port)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(seen: &[&str]) -> (Nat, Vec<String>) {
        let seen: Vec<SocketAddr> = seen.iter().map(|address| address.parse().unwrap()).collect();
        let Behaviour { nat, reachable_at } = behaviour("10.0.0.2:5000".parse().unwrap(), &seen);
        (nat, reachable_at.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_nat_is_told_from_what_servers_see() {
        let own = |address: &str| vec![address.to_owned()];
        assert_eq!(judged(&[]), (Nat::Unknown, vec![]));
        assert_eq!(judged(&["10.0.0.2:5000", "10.0.0.2:5000"]), (Nat::Open, vec![]));
        assert_eq!(
            judged(&["192.0.2.1:7"]),
            (Nat::Unknown, own("192.0.2.1:7")),
            "one server shows an address"
        );
        assert_eq!(judged(&["192.0.2.1:7", "192.0.2.1:7"]), (Nat::OnePort, own("192.0.2.1:7")));
        assert_eq!(judged(&["192.0.2.1:7", "192.0.2.1:4711"]), (Nat::PortEach, vec![]));
        assert_eq!(judged(&["192.0.2.1:7", "192.0.2.9:8"]), (Nat::PortEach, vec![]), "an address each");
    }

    #[test]
    fn a_nat_that_counts_up_is_expected_to_count_on() {
        let (nat, next) = judged(&["192.0.2.1:7", "192.0.2.1:8", "192.0.2.1:10"]);
        assert_eq!((nat, next.len()), (Nat::PortEach, 8));
        assert_eq!((&*next[0], &*next[7]), ("192.0.2.1:11", "192.0.2.1:18"));
        assert!(judged(&["192.0.2.1:10", "192.0.2.1:8"]).1.is_empty(), "down");
        let (_, last) = judged(&["192.0.2.1:65531", "192.0.2.1:65533"]);
        assert_eq!(last, ["192.0.2.1:65534", "192.0.2.1:65535"]);
    }
}
