//! Why there is no connection to a rendezvous, for now or for good, and why an envelope isn't sent.

use std::time::Duration;

use super::Refusal;
use crate::app::Reason;

/// Why no further attempt follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// No further attempt would change the refusal.
    Refused(Refusal),
    /// The first connection was not established in time.
    Unreachable {
        /// Number of attempts.
        tries: u32,
        /// Outcome of the last one.
        last: Outage,
    },
}

impl Ended {
    /// Returns the cause as others name it.
    pub fn reason(&self) -> Reason {
        match self {
            Ended::Refused(refusal) => refusal.reason(),
            Ended::Unreachable { last, .. } => last.final_reason(),
        }
    }
}

/// Cause of a lost connection or a failed attempt.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Outage {
    /// Name resolution, TCP or TLS failed; the system's words. A page isn't told more than that it could not be opened.
    #[error("{0}")]
    Connect(String),
    /// TLS failed since the server's certificate is not trusted; the reason.
    #[error("{reason}: {0}", reason = Reason::Untrusted)]
    Untrusted(String),
    /// A web server answered, but did not open a websocket; the HTTP status.
    #[error("{}", answered(*.0))]
    Http(u16),
    /// The rendezvous refused this peer.
    #[error("the rendezvous refused: {0}")]
    Refused(Refusal),
    /// Timeout: the rendezvous sent no frame, or an attempt did not finish, within this time.
    #[error("no answer for {:.1} s", .0.as_secs_f64())]
    Silent(Duration),
    /// The connection was closed; the close frame's text, or the system's.
    #[error("the connection ended: {0}")]
    Closed(String),
    /// The peer wanted another connection ([`Connection::renew`](super::Connection::renew)).
    #[error("this machine has slept, or its network has changed")]
    Renewed,
    /// The server sent bytes that are not of the rendezvous protocol.
    #[error("the server does not speak the rendezvous protocol: {0}")]
    Protocol(String),
}

impl Outage {
    /// Returns the cause as others name it when this outcome was the last: no further attempt follows.
    pub fn final_reason(&self) -> Reason {
        if let Outage::Untrusted(_) = self { Reason::Untrusted } else { Reason::Unreachable }
    }

    /// Returns the cause as others name it.
    pub fn reason(&self) -> Reason {
        match self {
            Outage::Connect(_) | Outage::Http(_) | Outage::Closed(_) => Reason::Unreachable,
            Outage::Untrusted(_) => Reason::Untrusted,
            Outage::Silent(_) => Reason::Silent,
            Outage::Refused(refusal) => refusal.reason(),
            Outage::Renewed => Reason::Slept,
            Outage::Protocol(_) => Reason::NoProtocol,
        }
    }
}

/// Returns what a web server's answer in place of a websocket means.
fn answered(status: u16) -> String {
    let why = match status {
        426 | 400 => {
            "a proxy in front of it passes no websockets on: it drops the headers Upgrade and Connection"
        }
        404 | 405 => "something else than a rendezvous answers there",
        502..=504 => "a proxy in front of it can't reach it at the moment",
        429 => "too many connections came from this address",
        _ => return format!("the server answered with HTTP status {status}"),
    };
    format!("{why} (HTTP status {status})")
}

/// Why an envelope isn't sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotSent {
    /// 256 envelopes wait already.
    Full,
    /// The connection has ended.
    Ended,
}
