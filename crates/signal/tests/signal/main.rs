//! Rendezvous and peers against each other, over real TCP on loopback, and against those who misbehave.

mod finding;
mod hostile;
mod limits;
mod local;
mod reconnecting;
mod serving;
mod support;
#[cfg(feature = "tls")]
mod tls;
mod wire;
