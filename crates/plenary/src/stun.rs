//! STUN servers (RFC 8489), which tell a peer under which address others see it, and what they say about the NAT in
//! front of this machine.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::join_all;
use plenary_proto::app::Nat;
use plenary_rtc::Links;
use url::{Host, Url};

use crate::advertise::host_and_port;

/// Port of a STUN server that names none (RFC 8489, section 15).
pub(crate) const PORT: u16 = 3478;

/// A STUN server that answers by UDP: `stun:HOST[:PORT]` (RFC 7064) or `HOST[:PORT]`; without a port, 3478.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StunServer {
    host: Host,
    port: u16,
}

/// The text is no STUN server with UDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a STUN server looks like stun:stun.example.org, stun:192.0.2.1:3478 or stun:[2001:db8::1]; UDP only"
)]
pub struct NoStunServer;

impl StunServer {
    pub(crate) fn new(host: Host, port: u16) -> StunServer {
        StunServer { host, port }
    }

    /// Returns the server at another port of the same host.
    pub(crate) fn at_port(&self, port: u16) -> StunServer {
        StunServer { host: self.host.clone(), port }
    }

    /// Returns the server at a rendezvous' address: at its port's number a rendezvous answers STUN requests by UDP.
    pub fn of_rendezvous(url: &str) -> Option<StunServer> {
        let url = Url::parse(url).ok()?;
        Some(StunServer { host: url.host()?.to_owned(), port: url.port_or_known_default()? })
    }

    pub(crate) async fn look_up(&self) -> io::Result<Vec<SocketAddr>> {
        match &self.host {
            Host::Domain(name) => Ok(tokio::net::lookup_host((&**name, self.port)).await?.collect()),
            Host::Ipv4(ip) => Ok(vec![(*ip, self.port).into()]),
            Host::Ipv6(ip) => Ok(vec![(*ip, self.port).into()]),
        }
    }
}

impl From<SocketAddr> for StunServer {
    fn from(address: SocketAddr) -> StunServer {
        let host = match address.ip() {
            IpAddr::V4(ip) => Host::Ipv4(ip),
            IpAddr::V6(ip) => Host::Ipv6(ip),
        };
        StunServer { host, port: address.port() }
    }
}

impl FromStr for StunServer {
    type Err = NoStunServer;

    fn from_str(text: &str) -> Result<StunServer, NoStunServer> {
        let (host, port) = host_and_port(text.strip_prefix("stun:").unwrap_or(text)).ok_or(NoStunServer)?;
        Ok(StunServer { host, port: port.unwrap_or(PORT) })
    }
}

impl fmt::Display for StunServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stun:{}:{}", self.host, self.port)
    }
}

/// The STUN servers of a room's links.
pub(crate) struct StunServers(pub(crate) Vec<StunServer>);

impl StunServers {
    /// Looks up the servers, each beside the others; links ask each one once its addresses are known.
    pub(crate) fn look_up(&self, links: &Arc<Links>) {
        let known = Arc::new(Mutex::new(vec![Vec::new(); self.0.len()]));
        for (place, server) in self.0.iter().cloned().enumerate() {
            // the links end with the room, however long the answer takes
            let (links, known) = (Arc::downgrade(links), known.clone());
            tokio::spawn(async move {
                let found = server.look_up().await;
                match (found, links.upgrade()) {
                    (Ok(found), Some(links)) => {
                        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
                        known[place] = found;
                        links.set_stun(by_turns(&known));
                    }
                    (Err(error), _) => tracing::debug!(%server, %error, "a STUN server was not found"),
                    (_, None) => {}
                }
            });
        }
    }
}

/// Returns the addresses of several servers, the first one of each before the others: an end asks only the first few.
pub(crate) fn by_turns(servers: &[Vec<SocketAddr>]) -> Vec<SocketAddr> {
    let most = servers.iter().map(Vec::len).max().unwrap_or(0);
    (0..most).flat_map(|turn| servers.iter().filter_map(move |server| server.get(turn).copied())).collect()
}

/// What STUN servers say about this machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct NatSeen {
    /// Kind of the NAT in front of this machine.
    pub nat: Nat,
    /// Addresses of this machine as the servers see it, of a socket each; without NAT its own.
    pub addresses: Vec<IpAddr>,
}

/// Asks STUN servers about the NAT in front of this machine, three of each family at most. Takes 0.75 s at most, beside
/// the look-up of their names. A single server can't tell all kinds apart. `bind` are the local addresses to ask from;
/// empty for all.
///
/// # Errors
/// No socket was bound.
pub async fn ask_stun(servers: &[StunServer], bind: &[IpAddr]) -> io::Result<NatSeen> {
    let found = join_all(servers.iter().map(StunServer::look_up)).await;
    let found: Vec<_> = found.into_iter().map(Result::unwrap_or_default).collect();
    let (nat, addresses) = plenary_rtc::ask_stun(bind, &by_turns(&found)).await?;
    Ok(NatSeen { nat, addresses })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stun_server_is_a_host_with_a_port() {
        for (text, shown) in [
            ("stun:stun.example.org", "stun:stun.example.org:3478"),
            ("stun.example.org:7420", "stun:stun.example.org:7420"),
            ("stun:192.0.2.1:19302", "stun:192.0.2.1:19302"),
            ("stun:[2001:db8::1]", "stun:[2001:db8::1]:3478"),
        ] {
            let server: StunServer = text.parse().unwrap();
            assert_eq!(server.to_string(), shown);
            assert_eq!(shown.parse(), Ok(server));
        }
        for text in [
            "",
            "stun:",
            "stuns:a.example",
            "turn:a.example",
            "stun:a:0",
            "stun:a/b",
            "stun:0.0.0.0",
            "2001:db8::1",
        ] {
            assert_eq!(text.parse::<StunServer>(), Err(NoStunServer), "{text}");
        }
    }

    #[test]
    fn one_address_of_each_server_comes_first() {
        let at = |port| SocketAddr::from(([192, 0, 2, 1], port));
        assert_eq!(by_turns(&[vec![at(1), at(2)], Vec::new(), vec![at(3)]]), [at(1), at(3), at(2)]);
        assert!(by_turns(&[]).is_empty());
    }
}
