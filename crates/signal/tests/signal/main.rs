//! Rendezvous and peers over real TCP on loopback, including peers and servers that violate the protocol.

mod downloads;
mod fetch;
mod finding;
mod hostile;
mod limits;
mod local;
mod pages;
mod reconnecting;
mod returning;
mod serving;
mod support;
#[cfg(feature = "tls")]
mod tls;
mod tunnels;
mod turn;
