//! A TURN server (RFC 8656): relays for peers that no others reach, above all for pages behind firewalls.
//!
//! Clients come over UDP, TCP and TLS; relays are UDP sockets. What the server does is decided without IO, in
//! [`server`](server::TurnServer); [`driver`] binds sockets and moves datagrams. Only members of rooms get credentials,
//! which expire. What a stranger sends costs an answer at most, and no memory.
//!
//! Relays reach public addresses of other machines. On this machine they reach each other, and sockets that have asked
//! for their address by STUN, as those of links do: other services here, and private networks behind, are out of reach.
//! TCP relays (RFC 6062), reserved ports and DONT-FRAGMENT aren't offered.

mod allocation;
mod credentials;
mod driver;
mod message;
mod server;
#[cfg(feature = "targets")]
pub mod target;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;

pub(crate) use driver::{CREDENTIALS_TIME, Turn};
pub(crate) use message::is_message;

use crate::limits::Rate;

/// Configuration of a TURN server.
#[derive(Clone, Debug)]
pub struct TurnConfig {
    /// Address of UDP and TCP at which clients come; `None` for that of the rendezvous.
    pub listen: Option<SocketAddr>,
    /// Addresses of the relays: one of IPv4 and one of IPv6 at most.
    pub addresses: Vec<RelayAddress>,
    /// Ports of the relays; `None` for any.
    pub ports: Option<RangeInclusive<u16>>,
    /// Resource limits.
    pub limits: TurnLimits,
}

/// An address of this machine at which relays are bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelayAddress {
    /// The address.
    pub bind: IpAddr,
    /// The address as others see it: that of a one-to-one NAT, or the same.
    pub outer: IpAddr,
}

/// Resource limits of a TURN server. Past the first three, a client is refused; past the rates, datagrams are dropped.
/// Guesses, if nothing else is said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TurnLimits {
    /// Maximum number of relays. Each has a socket.
    pub allocations_max: usize,
    /// Maximum number of relays of one member of a room. A browser makes one for each link, way to the server and
    /// network of its machine: 42 in a mesh of eight with two networks.
    pub per_user_max: usize,
    /// Maximum number of relays of one address (IPv6: one /64): six pages behind one address.
    pub per_address_max: usize,
    /// Bytes of one relay, each way. A speaker's link carries 0.4 MB per second.
    pub bytes_of_one: Rate,
    /// Bytes of all relays: a quarter of a line of 1 Gbit/s, as for other strangers.
    pub bytes: Rate,
}

impl Default for TurnLimits {
    fn default() -> TurnLimits {
        TurnLimits {
            allocations_max: 1_024,
            per_user_max: 48,
            per_address_max: 288,
            bytes_of_one: Rate { per_s: 1_000_000, burst: 1_000_000 },
            bytes: Rate { per_s: 32 << 20, burst: 32 << 20 },
        }
    }
}
