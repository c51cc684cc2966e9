//! Whom an address counts for: its owner, and the network of that owner.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Prefix lengths of a network, in bits. Registries and providers give a site a /48 (RFC 6177), and the customers of a hosting or
/// access provider share the first 16 bits of an IPv4 address often enough. Guesses.
const NETWORK_BITS: (u32, u32) = (16, 48);
/// Prefix length of an IPv6 address that one device or home has in any case (RFC 4291, 2.5.1).
const OWNER_BITS: u32 = 64;

/// Returns an IPv4 address as it is, and the /64 of an IPv6 address: the owner of one address in it has them all.
pub(crate) fn owner(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(v6) => first_bits_v6(v6, OWNER_BITS),
        v4 => v4,
    }
}

/// Returns the /16 of an IPv4 address, or the /48 of an IPv6 address: somebody with many addresses mostly has them there.
pub(crate) fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(v4) => Ipv4Addr::from_bits(v4.to_bits() & (u32::MAX << (32 - NETWORK_BITS.0))).into(),
        IpAddr::V6(v6) => first_bits_v6(v6, NETWORK_BITS.1),
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
        }
    }
}
