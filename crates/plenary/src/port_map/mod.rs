//! Port mapping: the router of a home network is asked to let others in at a port of its outer address, by PCP (RFC
//! 6887), NAT-PMP (RFC 6886) or UPnP.
//!
//! A task makes the mappings, renews them, makes them anew once a router that has restarted answers again, and removes
//! them at the end. All waits are bounded. IPv4 only: routers of IPv6 translate no ports.

mod router;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU16;
use std::time::Duration;

use plenary_proto::network::is_public;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use self::router::{Denied, Mapping, Protocol, Router};
use crate::random_u64;
use crate::reachable::reachable;

/// Interval of renewals, or half of the granted lifetime if that is shorter: a router that has restarted, and forgotten
/// its mappings, makes them anew within this time. A guess.
const RENEW_EACH: Duration = Duration::from_secs(60);
/// Intervals at which a router that has mapped nothing is asked again, doubled each time. The first one is short: the
/// search by UPnP is a multicast, and Wi-Fi loses some. Guesses.
const RETRY_MIN: Duration = Duration::from_secs(10);
const RETRY_MAX: Duration = Duration::from_secs(300);
/// Time for all requests of one attempt together.
const ATTEMPT_MAX: Duration = Duration::from_secs(15);
/// Time for the removal of all mappings.
const RELEASE_MAX: Duration = Duration::from_secs(2);
/// Maximum number of outer ports that are tried until one is free for all protocols: first the local port's number.
const PORTS_MAX: usize = 3;

/// What the router says about the local port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outer {
    /// Others reach the local port at this address, if the router is right about it: some say so behind another NAT.
    Mapped(SocketAddr),
    /// The router is behind another NAT: its own outer address, this one, is private, shared by a provider's customers
    /// (100.64/10), or another that the internet doesn't know. Nothing is mapped.
    Useless(Ipv4Addr),
    /// The router has answered and mapped nothing: it may not, all tried ports are taken, or its outer address is of no
    /// use. Many routers behind another NAT answer so.
    Refused,
    /// No router has answered.
    NoRouter,
}

impl Outer {
    /// Returns the outer address, if there is one.
    pub fn mapped(self) -> Option<SocketAddr> {
        match self {
            Outer::Mapped(outer) => Some(outer),
            Outer::Useless(_) | Outer::Refused | Outer::NoRouter => None,
        }
    }
}

/// What is known of a port that the router is asked to map.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PortMapping {
    /// What the router says, `None` until it has said it.
    pub outer: watch::Receiver<Option<Outer>>,
    /// The port's address in this network.
    pub inside: SocketAddr,
}

/// Mappings of one local port at the router. Dropping it removes them in the background, if the runtime
/// lasts so long; [`PortMap::close`] waits for that.
#[derive(Debug)]
pub struct PortMap {
    mapping: PortMapping,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl PortMap {
    /// Begins to map the port of a rendezvous, of TCP and UDP: websockets and pages, and STUN. `listener` is its
    /// address. `None` unless that is a private address of IPv4. Must be called within a tokio runtime.
    pub fn of_rendezvous(listener: SocketAddr) -> Option<PortMap> {
        PortMap::begin(listener, &[Protocol::Tcp, Protocol::Udp])
    }

    /// Begins to map the UDP port of all media.
    pub(crate) fn of_media(port: u16) -> Option<PortMap> {
        PortMap::begin(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)), &[Protocol::Udp])
    }

    fn begin(listener: SocketAddr, protocols: &'static [Protocol]) -> Option<PortMap> {
        let inside = reachable(listener);
        let (ip, port) = mappable(inside)?;
        let (report, outer) = watch::channel(None);
        let (stop, stopped) = oneshot::channel();
        let mut keeper = Keeper { ip, local: port, protocols, outer: None, held: Vec::new() };
        let task = tokio::spawn(async move { keeper.run(&report, stopped).await });
        Some(PortMap { mapping: PortMapping { outer, inside }, stop, task })
    }

    /// Returns what the router says, if it says it in time.
    pub async fn outer(&self, within: Duration) -> Option<Outer> {
        let mut outer = self.mapping.outer.clone();
        let said = timeout(within, outer.wait_for(Option::is_some)).await.ok()?;
        said.ok().and_then(|said| *said)
    }

    /// Returns what is known of the port, now and later.
    pub fn watch(&self) -> PortMapping {
        self.mapping.clone()
    }

    /// Removes the mappings, and returns once the router has confirmed it, after 2 s at most. One that is just being
    /// made may be missed; it ends by itself after 20 minutes.
    pub async fn close(self) {
        drop(self.stop);
        let _ = timeout(RELEASE_MAX, self.task).await;
    }
}

/// Judges the address that a router says is its outer one.
fn judge(outer: IpAddr, port: NonZeroU16) -> Outer {
    match outer.to_canonical() {
        IpAddr::V4(ip) if ip.is_unspecified() => Outer::Refused, // the router is not connected
        IpAddr::V4(ip) if !is_public(ip.into()) => Outer::Useless(ip),
        ip => Outer::Mapped(SocketAddr::new(ip, port.get())),
    }
}

/// Returns address and port of a listener behind a router of IPv4: its address is private.
fn mappable(local: SocketAddr) -> Option<(Ipv4Addr, NonZeroU16)> {
    match local.ip().to_canonical() {
        IpAddr::V4(ip) if !ip.is_loopback() && !ip.is_unspecified() && !is_public(ip.into()) => {
            Some((ip, NonZeroU16::new(local.port())?))
        }
        _ => None,
    }
}

/// The state of the task.
struct Keeper {
    ip: Ipv4Addr,
    local: NonZeroU16,
    protocols: &'static [Protocol],
    /// The last outer port, which others know from an invite.
    outer: Option<NonZeroU16>,
    held: Vec<Mapping>,
}

impl Keeper {
    async fn run(&mut self, report: &watch::Sender<Option<Outer>>, mut stopped: oneshot::Receiver<()>) {
        let mut retry = RETRY_MIN;
        loop {
            let outer = tokio::select! {
                attempt = timeout(ATTEMPT_MAX, self.attempt()) => attempt.unwrap_or(Outer::Refused),
                _ = &mut stopped => break,
            };
            if !matches!(outer, Outer::Mapped(_)) {
                self.release().await;
            }
            report.send_if_modified(|last| last.replace(outer) != Some(outer));
            let pause = match self.outer {
                Some(_) => self.held.iter().map(Mapping::half_life).fold(RENEW_EACH, Duration::min),
                None => retry,
            };
            retry = (retry * 2).min(RETRY_MAX);
            if timeout(pause, &mut stopped).await.is_ok() {
                break;
            }
        }
        self.release().await;
    }

    /// Renews what is mapped, or maps.
    async fn attempt(&mut self) -> Outer {
        if let Some(outer) = self.renew().await {
            return outer;
        }
        self.release().await;
        // begun at once: the longest wait is that for its silence
        let search = tokio::spawn(Router::search(self.ip));
        let mut asked = Outer::NoRouter;
        if let Some(router) = Router::of_default_route(self.ip, self.local).await {
            asked = self.map(&router).await;
        }
        if matches!(asked, Outer::Mapped(_) | Outer::Useless(_)) {
            search.abort();
            return asked;
        }
        let Ok(Some(found)) = search.await else { return asked };
        match self.map(&found.of(self.ip, self.local)).await {
            Outer::NoRouter => asked,
            outer => outer,
        }
    }

    /// Maps all protocols to one outer port.
    async fn map(&mut self, router: &Router) -> Outer {
        let mut port = self.outer.unwrap_or(self.local);
        for _ in 0..PORTS_MAX {
            let mapped = self.map_at(router, port).await;
            if let Ok(outer @ Outer::Mapped(_)) = mapped {
                return outer;
            }
            self.release().await;
            match mapped {
                Ok(outer) => return outer,
                Err(Denied::Silence) => return Outer::NoRouter,
                Err(Denied::Refusal) => return Outer::Refused,
                Err(Denied::PortTaken) => port = random_port(),
            }
        }
        Outer::Refused
    }

    async fn map_at(&mut self, router: &Router, mut port: NonZeroU16) -> Result<Outer, Denied> {
        for protocol in self.protocols {
            let held = router.map(*protocol, port).await?;
            let got = held.port();
            self.held.push(held);
            if self.held.len() > 1 && got != port {
                return Err(Denied::PortTaken);
            }
            port = got; // a router may choose another than it is asked for
        }
        self.judged().await
    }

    /// Renews the mappings. `None` if one is missing, failed, or now has another port.
    async fn renew(&mut self) -> Option<Outer> {
        for held in &mut self.held {
            held.renew().await.ok()?;
        }
        let is_same = self.held.iter().all(|held| Some(held.port()) == self.outer);
        let is_whole = is_same && self.held.len() == self.protocols.len();
        if is_whole { self.judged().await.ok() } else { None }
    }

    /// Judges the mappings, which have one outer port.
    async fn judged(&mut self) -> Result<Outer, Denied> {
        let held = self.held.last().ok_or(Denied::Refusal)?;
        let (ip, port) = (held.outer().await?, held.port());
        let outer = judge(ip, port);
        if let Outer::Mapped(_) = outer {
            self.outer = Some(port);
        }
        Ok(outer)
    }

    async fn release(&mut self) {
        let releases = self.held.drain(..).map(|held| timeout(RELEASE_MAX, held.release()));
        futures::future::join_all(releases).await;
    }
}

/// Returns a port of those that nobody has registered (RFC 6335).
fn random_port() -> NonZeroU16 {
    let port = 49_152 + (random_u64() % 16_384) as u16;
    NonZeroU16::new(port).unwrap_or(NonZeroU16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_outer_address_that_the_internet_knows_is_of_use() {
        let port = NonZeroU16::new(4700).unwrap();
        let judge = |ip: &str| judge(ip.parse().unwrap(), port);
        for known in ["203.0.113.7", "198.18.7.1", "100.63.255.255", "100.128.0.0", "172.32.0.1"] {
            assert_eq!(judge(known), Outer::Mapped(SocketAddr::new(known.parse().unwrap(), 4700)));
        }
        let inner = ["10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.0", "100.127.255.255", "169.254.1.1"];
        for inner in inner {
            assert_eq!(judge(inner), Outer::Useless(inner.parse().unwrap()));
        }
        assert_eq!(judge("0.0.0.0"), Outer::Refused);
        assert_eq!(judge("::ffff:10.0.0.1"), Outer::Useless(Ipv4Addr::new(10, 0, 0, 1)));
    }

    #[test]
    fn only_a_listener_at_a_private_address_of_ipv4_is_mapped() {
        for local in [
            "127.0.0.1:4700",
            "[::1]:4700",
            "[fd00::1]:4700",
            "0.0.0.0:4700",
            "10.55.0.2:0",
            "203.0.113.7:4700",
        ] {
            assert_eq!(mappable(local.parse().unwrap()), None, "{local}");
        }
        let own = mappable("10.55.0.2:4700".parse().unwrap());
        assert_eq!(own, NonZeroU16::new(4700).map(|port| (Ipv4Addr::new(10, 55, 0, 2), port)));
        assert!((0..1_000).all(|_| random_port().get() >= 49_152));
    }
}
