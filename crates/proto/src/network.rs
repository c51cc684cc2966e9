//! Networks that IP addresses belong to: public ones, and those that are used again in other places.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Returns whether the address is a public one: it leads to one host from every network.
pub fn is_public(ip: IpAddr) -> bool {
    Network::of(ip) == Network::Public
}

/// Network that an address belongs to, as far as addresses are used again in other places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// This machine.
    Loopback,
    /// One link (RFC 3927, RFC 4291).
    LinkLocal,
    /// RFC 1918, 6598, 4193, 3879, 8215: the first bits.
    Private(u8),
    /// Of one host, from every network.
    Public,
    /// No single host: unspecified, which many systems take for loopback, multicast, broadcast, reserved.
    Nobody,
}

impl Network {
    /// Returns the network of an address.
    pub fn of(ip: IpAddr) -> Network {
        match ip.to_canonical() {
            IpAddr::V4(ip) => match ip.octets() {
                [127, ..] => Network::Loopback,
                [10, ..] => Network::Private(10),
                [172, 16..32, ..] => Network::Private(172),
                [192, 168, ..] => Network::Private(192),
                [100, 64..128, ..] => Network::Private(100),
                [169, 254, ..] => Network::LinkLocal,
                [0 | 224..=255, ..] => Network::Nobody,
                _ => Network::Public,
            },
            IpAddr::V6(Ipv6Addr::LOCALHOST) => Network::Loopback,
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
