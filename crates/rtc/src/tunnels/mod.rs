//! Tunnels: datagrams of links between two peers that can't reach each other, carried by a third that is linked with
//! both, or by the rendezvous.
//!
//! The ends put each datagram, as it is sealed for the other end, into a frame on their link with the carrier
//! ([`frame`]); the carrier changes the frame's first byte and sends it on the other link. It holds no key. To ICE a
//! tunnel is one more pair of relayed candidates ([`OWN`], [`OTHER`]), local to this process. Which carrier a datagram
//! goes by is the end's choice ([`ways`]). A link that goes through a tunnel carries none.
//!
//! The brain says which tunnels there are ([`TunnelCommand`]).

mod end;
pub(crate) mod frame;
mod table;
mod ways;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use bytes::Bytes;
use plenary_proto::PeerId;

pub(crate) use end::{End, Tunnel};
pub use table::CarriedFigures;
pub(crate) use table::Tunnels;
pub(crate) use ways::By;

/// Stand for this end and the other one of a link that goes through a tunnel. No host has an address of 240.0.0.0/4
/// (RFC 1112, section 4), and none told by a peer is checked there (`path/candidates.rs`).
pub(crate) const OWN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(240, 0, 0, 1)), 1);
pub(crate) const OTHER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(240, 0, 0, 2)), 1);

/// Whether datagrams to this address go through a tunnel.
pub(crate) fn is_tunnel(address: SocketAddr) -> bool {
    address == OWN || address == OTHER
}

/// Takes datagrams of links to the rendezvous, which hands them to the other ends.
pub trait Courier: Send + Sync {
    /// Sends datagrams to a peer, in order; never waits. They may be lost.
    fn carry(&self, to: PeerId, datagrams: Vec<Bytes>);
}
