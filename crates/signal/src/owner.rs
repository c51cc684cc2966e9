//! Prefixes of IP addresses that limits are accounted to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Prefix lengths of a network, in bits: IPv4 and IPv6. Providers assign up to a /48 to a site (RFC 6177); a /16 is a
/// guess.
const NETWORK_BITS: (u32, u32) = (16, 48);
/// Prefix length of an IPv6 subnet (RFC 4291, 2.5.1).
const OWNER_BITS: u32 = 64;

/// Returns an IPv4 address unchanged, and the /64 of an IPv6 address, since one device can use all addresses of its
/// /64.
pub(crate) fn owner(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(v6) => first_bits_v6(v6, OWNER_BITS),
        v4 => v4,
    }
}

/// Returns the /16 of an IPv4 address, or the /48 of an IPv6 address: many addresses of one attacker mostly lie in one
/// such network.
pub(crate) fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(v4) => Ipv4Addr::from_bits(v4.to_bits() & (u32::MAX << (32 - NETWORK_BITS.0))).into(),
        IpAddr::V6(v6) => first_bits_v6(v6, NETWORK_BITS.1),
    }
}

/// Returns an IPv4 address unchanged, and the /48 of an IPv6 address: the unit of fair sharing.
pub(crate) fn site(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(v6) => first_bits_v6(v6, NETWORK_BITS.1),
        v4 => v4,
    }
}

fn first_bits_v6(ip: Ipv6Addr, bits: u32) -> IpAddr {
    Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << (128 - bits))).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_owner_and_of_one_network_are_told_apart() {
        for (address, of_owner, of_network) in [
            ("192.0.2.77", "192.0.2.77", "192.0.0.0"),
            ("::ffff:192.0.2.77", "192.0.2.77", "192.0.0.0"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::", "2001:db8:1::"),
            ("::1", "::", "::"),
        ] {
            let ip: IpAddr = address.parse().unwrap();
            assert_eq!(owner(ip), of_owner.parse::<IpAddr>().unwrap(), "{address}");
            assert_eq!(network(ip), of_network.parse::<IpAddr>().unwrap(), "{address}");
            assert_eq!(network(owner(ip)), network(ip), "{address}");
            assert_eq!(
                site(ip),
                if ip.to_canonical().is_ipv4() { owner(ip) } else { network(ip) },
                "{address}"
            );
        }
    }
}
