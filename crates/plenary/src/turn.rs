//! TURN servers (RFC 8656), for peers that no others reach: one that a rendezvous serves, and those that links use.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::sync::Arc;

use futures::future::join_all;
use plenary_proto::network::is_public;
use plenary_proto::rendezvous::TurnAccess;
use plenary_rtc::Links;
use plenary_signal::{Rate, RelayAddress, TurnConfig, TurnLimits};

use crate::advertise::{Advertise, host_and_port};
use crate::reachable::reachable_ips;
use crate::stun::{PORT, StunServer, by_turns};

/// A TURN server that links of this peer may use, by UDP, with credentials: `turn:HOST[:PORT]` (RFC 7065); without a
/// port, 3478.
#[derive(Clone, PartialEq, Eq)]
pub struct TurnServer {
    at: StunServer,
    username: String,
    password: String,
}

/// The text is no TURN server with UDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a TURN server looks like turn:turn.example.org, turn:192.0.2.1:3478 or turn:[2001:db8::1]; UDP only"
)]
pub struct NoTurnServer;

impl TurnServer {
    /// Sets username and password. Without them the server gives no relay, unless it asks for none.
    #[must_use]
    pub fn login(mut self, username: impl Into<String>, password: impl Into<String>) -> TurnServer {
        (self.username, self.password) = (username.into(), password.into());
        self
    }

    /// Returns the addresses of the server.
    async fn look_up(&self) -> Vec<SocketAddr> {
        self.at.look_up().await.unwrap_or_else(|error| {
            tracing::debug!(server = %self.at, %error, "a TURN server was not found");
            Vec::new()
        })
    }
}

impl FromStr for TurnServer {
    type Err = NoTurnServer;

    fn from_str(text: &str) -> Result<TurnServer, NoTurnServer> {
        let text = text.strip_prefix("turn:").unwrap_or(text);
        let text = text.strip_suffix("?transport=udp").unwrap_or(text);
        let (host, port) = host_and_port(text).ok_or(NoTurnServer)?;
        let at = StunServer::new(host, port.unwrap_or(PORT));
        Ok(TurnServer { at, username: String::new(), password: String::new() })
    }
}

impl fmt::Debug for TurnServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TurnServer({})", self.at)
    }
}

/// The TURN servers of a room's links: the user's, then the rendezvous'.
pub(crate) struct TurnServers {
    given: Vec<TurnServer>,
    /// The rendezvous; `None` where this process serves it.
    rendezvous: Option<StunServer>,
    told: Option<TurnServer>,
}

impl TurnServers {
    pub(crate) fn new(given: Vec<TurnServer>, rendezvous: Option<StunServer>) -> TurnServers {
        TurnServers { given, rendezvous, told: None }
    }

    /// The rendezvous has told its TURN server.
    pub(crate) fn told(&mut self, access: &TurnAccess, links: &Arc<Links>) {
        let at = match access.ip {
            Some(ip) => Some(StunServer::from(SocketAddr::new(ip, access.port))),
            None => self.rendezvous.as_ref().map(|rendezvous| rendezvous.at_port(access.port)),
        };
        let (username, password) = (access.username.to_string(), access.password.to_string());
        self.told = at.map(|at| TurnServer { at, username, password });
        self.look_up(links);
    }

    /// The rendezvous is reached. Its own server, if there is one, was told just before.
    pub(crate) fn up(&self, links: &Arc<Links>) {
        if self.told.is_none() {
            self.look_up(links);
        }
    }

    /// Looks up the servers; links use the first one of each family from then on.
    fn look_up(&self, links: &Arc<Links>) {
        let servers: Vec<TurnServer> = self.given.iter().chain(&self.told).cloned().collect();
        if servers.is_empty() {
            return;
        }
        // the links end with the room, however long the answer takes
        let links = Arc::downgrade(links);
        tokio::spawn(async move {
            let found = join_all(servers.iter().map(TurnServer::look_up)).await;
            let Some(links) = links.upgrade() else { return };
            let of = |address: &SocketAddr| {
                let place = found.iter().position(|addresses| addresses.contains(address))?;
                let TurnServer { username, password, .. } = servers[place].clone();
                Some(plenary_rtc::TurnServer { address: *address, username, password })
            };
            links.set_turn(by_turns(&found).iter().filter_map(of).collect());
        });
    }
}

/// A TURN server beside a rendezvous, for members of its rooms (RFC 8656).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServeTurn {
    /// Address of UDP and TCP at which clients come; `None`, the default, for that of the rendezvous.
    pub listen: Option<SocketAddr>,
    /// UDP ports of the relays, from which peers get what clients send; `None`, the default, for any.
    pub ports: Option<RangeInclusive<u16>>,
}

impl ServeTurn {
    /// Sets the address at which clients come.
    #[must_use]
    pub fn listen(mut self, listen: Option<SocketAddr>) -> ServeTurn {
        self.listen = listen;
        self
    }

    /// Sets the UDP ports of the relays.
    #[must_use]
    pub fn ports(mut self, ports: Option<RangeInclusive<u16>>) -> ServeTurn {
        self.ports = ports;
        self
    }

    /// Returns what a rendezvous that listens at `rendezvous` serves. Relays are at the addresses of this machine that
    /// others reach; in front of one-to-one NATs they are told with `nat_1to1`, or with the address that is advertised.
    /// All of them together send no more than `uplink_bps_max`.
    pub fn config(
        &self,
        rendezvous: SocketAddr,
        nat_1to1: Option<IpAddr>,
        advertise: Option<&Advertise>,
        uplink_bps_max: Option<u64>,
    ) -> TurnConfig {
        let listen = self.listen.unwrap_or(rendezvous);
        let mut binds = reachable_ips(listen.ip());
        if binds.is_empty() {
            binds.push(Ipv4Addr::LOCALHOST.into());
        }
        let advertised = advertise.and_then(Advertise::ip);
        let outer = |bind: IpAddr| {
            let told = [nat_1to1, advertised].into_iter().flatten();
            told.filter(|_| !is_public(bind)).find(|outer| outer.is_ipv4() == bind.is_ipv4()).unwrap_or(bind)
        };
        for bind in binds.iter().filter(|bind| !is_public(outer(**bind))) {
            tracing::warn!(
                "the TURN server's relays are at {bind}, where only this network or machine reaches them"
            );
        }
        let mut limits = TurnLimits::default();
        if let Some(uplink_bps) = uplink_bps_max {
            let per_s = u32::try_from(uplink_bps / 8).unwrap_or(u32::MAX).min(limits.bytes.per_s);
            limits.bytes = Rate { per_s, burst: per_s };
        }
        TurnConfig {
            listen: self.listen,
            addresses: binds.into_iter().map(|bind| RelayAddress { bind, outer: outer(bind) }).collect(),
            ports: self.ports.clone(),
            limits,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relays(listen: &str, nat_1to1: Option<&str>, advertise: Option<&str>) -> Vec<(String, String)> {
        let ip = nat_1to1.map(|ip| ip.parse().unwrap());
        let advertise = advertise.map(|host| host.parse().unwrap());
        let config = ServeTurn::default().config(listen.parse().unwrap(), ip, advertise.as_ref(), None);
        let told = |relay: &RelayAddress| (relay.bind.to_string(), relay.outer.to_string());
        config.addresses.iter().map(told).collect()
    }

    #[test]
    fn a_turn_server_is_read_from_its_url_and_its_password_is_not_shown() {
        let server: TurnServer = "turn:turn.example.org".parse().unwrap();
        assert_eq!(server.at.to_string(), "stun:turn.example.org:3478");
        let server: TurnServer = "turn:[2001:db8::1]:5349?transport=udp".parse().unwrap();
        let shown = format!("{:?}", server.login("ada", "secret"));
        assert!(shown.contains("[2001:db8::1]:5349") && !shown.contains("secret"), "{shown}");
        for wrong in ["turns:example.org", "turn:example.org?transport=tcp", "turn:", "turn:0.0.0.0"] {
            assert_eq!(wrong.parse::<TurnServer>(), Err(NoTurnServer), "{wrong}");
        }
    }

    #[test]
    fn relays_are_told_by_the_address_that_others_see() {
        let pair = |bind: &str, outer: &str| vec![(bind.to_owned(), outer.to_owned())];
        let (inner, outer) = ("10.0.0.5:7420", "203.0.113.5");
        assert_eq!(relays(inner, None, None), pair("10.0.0.5", "10.0.0.5"));
        assert_eq!(relays(inner, Some(outer), None), pair("10.0.0.5", outer));
        assert_eq!(relays(inner, None, Some("203.0.113.5:443")), pair("10.0.0.5", outer));
        assert_eq!(relays(inner, None, Some("example.org")), pair("10.0.0.5", "10.0.0.5"));
        assert_eq!(relays(inner, Some("2001:db8::1"), None), pair("10.0.0.5", "10.0.0.5"), "another family");
        assert_eq!(relays("198.51.100.7:1", None, Some("10.0.0.5")), pair("198.51.100.7", "198.51.100.7"));
        assert!(!relays("[::]:7420", None, None).is_empty());
    }
}
