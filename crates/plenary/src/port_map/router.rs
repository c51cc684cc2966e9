//! The router's side of port mapping: requests by PCP, NAT-PMP and UPnP, each with a bounded wait.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU16;
use std::time::Duration;

pub(crate) use crab_nat::InternetProtocol as Protocol;
use crab_nat::{MappingFailure, PortMappingOptions, PortMappingType, TimeoutConfig, natpmp, pcp};
use igd_next::aio::Gateway;
use igd_next::aio::tokio::{Tokio, search_gateway};
use igd_next::{AddPortError, PortMappingProtocol, SearchOptions};
use tokio::time::timeout;

/// Lifetime of a mapping, in seconds: for so long it outlives a crash of this program.
const LIFE_S: u32 = 1_200;
/// A router is asked by PCP and NAT-PMP twice, and has 250 ms and then 500 ms to answer.
const ASK: TimeoutConfig =
    TimeoutConfig { initial_timeout: Duration::from_millis(250), max_retries: 1, max_retry_timeout: None };
/// Time for a router to answer a search by UPnP, and to say what it can do: the search lets it wait for 3 s.
const SEARCH_MAX: Duration = Duration::from_secs(4);
/// Time for one request by UPnP.
const UPNP_MAX: Duration = Duration::from_secs(3);
/// What the router's list of mappings by UPnP shows.
const DESCRIPTION: &str = "plenary";

/// Why there is no mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Denied {
    Silence,
    Refusal,
    PortTaken,
}

/// A router that maps ports of this machine.
pub(super) enum Router {
    /// That of the default route, by PCP, or by NAT-PMP if it says that it knows only that.
    Asked {
        router: Ipv4Addr,
        ip: Ipv4Addr,
        port: NonZeroU16,
    },
    Upnp {
        gateway: Gateway<Tokio>,
        local: SocketAddr,
    },
}

/// A router that has answered a search by UPnP.
pub(super) struct Found(Gateway<Tokio>);

impl Found {
    pub(super) fn of(self, ip: Ipv4Addr, port: NonZeroU16) -> Router {
        Router::Upnp { gateway: self.0, local: (ip, port.get()).into() }
    }
}

impl Router {
    /// Returns the router of the default route, for this address and port of the machine.
    pub(super) async fn of_default_route(ip: Ipv4Addr, port: NonZeroU16) -> Option<Router> {
        // reads the system's routes, for some milliseconds
        let gateway = tokio::task::spawn_blocking(netdev::get_default_gateway).await.ok()?;
        let router = *gateway.ok()?.ipv4.first()?;
        Some(Router::Asked { router, ip, port })
    }

    /// Searches a router by UPnP, from an address of this machine and so in its network.
    pub(super) async fn search(from: Ipv4Addr) -> Option<Found> {
        let mut options = SearchOptions::default();
        options.bind_addr = (from, 0).into();
        options.timeout = Some(SEARCH_MAX);
        let found = search_gateway(options).await;
        found.inspect_err(|error| tracing::debug!(%error, "no router by UPnP")).ok().map(Found)
    }

    pub(super) async fn map(&self, protocol: Protocol, outer_port: NonZeroU16) -> Result<Mapping, Denied> {
        match self {
            &Router::Asked { router, ip, port } => {
                let options = PortMappingOptions {
                    external_port: Some(outer_port),
                    lifetime_seconds: Some(LIFE_S),
                    timeout_config: Some(ASK),
                };
                let mapped =
                    crab_nat::PortMapping::new(router.into(), ip.into(), protocol, port, options).await;
                mapped.map(Mapping::Asked).map_err(denied)
            }
            Router::Upnp { gateway, local } => {
                let protocol = match protocol {
                    Protocol::Tcp => PortMappingProtocol::TCP,
                    Protocol::Udp => PortMappingProtocol::UDP,
                };
                let (gateway, nowhere) = (gateway.clone(), Ipv4Addr::UNSPECIFIED.into());
                let mut mapping =
                    Mapping::Upnp { gateway, local: *local, protocol, port: outer_port, outer: nowhere };
                mapping.renew().await?;
                Ok(mapping)
            }
        }
    }
}

/// A mapping of one protocol.
pub(super) enum Mapping {
    Asked(crab_nat::PortMapping),
    Upnp {
        gateway: Gateway<Tokio>,
        local: SocketAddr,
        protocol: PortMappingProtocol,
        port: NonZeroU16,
        outer: IpAddr,
    },
}

impl Mapping {
    /// Returns the outer port.
    pub(super) fn port(&self) -> NonZeroU16 {
        match self {
            Mapping::Asked(mapping) => mapping.external_port(),
            Mapping::Upnp { port, .. } => *port,
        }
    }

    /// Returns half of the granted lifetime, which may be shorter than the one that was asked for.
    pub(super) fn half_life(&self) -> Duration {
        let life_s = match self {
            Mapping::Asked(mapping) => mapping.lifetime(),
            Mapping::Upnp { .. } => LIFE_S,
        };
        Duration::from_secs(u64::from(life_s / 2).max(1))
    }

    /// Returns the router's outer address.
    pub(super) async fn outer(&self) -> Result<IpAddr, Denied> {
        match self {
            Mapping::Upnp { outer, .. } => Ok(*outer),
            Mapping::Asked(mapping) => match mapping.mapping_type() {
                PortMappingType::Pcp { external_ip, .. } => Ok(external_ip),
                PortMappingType::NatPmp => {
                    let outer = natpmp::external_address(mapping.gateway(), Some(ASK)).await;
                    outer.map(IpAddr::V4).map_err(|error| denied(error.into()))
                }
            },
        }
    }

    /// Makes the mapping last for another lifetime, or anew if the router has forgotten it.
    pub(super) async fn renew(&mut self) -> Result<(), Denied> {
        match self {
            Mapping::Asked(mapping) => mapping.renew().await.map_err(denied),
            Mapping::Upnp { gateway, local, protocol, port, outer } => {
                let ip = in_time(gateway.get_external_ip()).await?;
                *outer = ip.map_err(|error| {
                    tracing::debug!(%error, "no outer address by UPnP");
                    Denied::Refusal
                })?;
                let add = |life_s| gateway.add_port(*protocol, port.get(), *local, life_s, DESCRIPTION);
                let mut added = in_time(add(LIFE_S)).await?;
                if let Err(AddPortError::OnlyPermanentLeasesSupported) = added {
                    added = in_time(add(0)).await?;
                }
                added.map_err(|error| {
                    tracing::debug!(%error, "no mapping by UPnP");
                    if let AddPortError::PortInUse = error { Denied::PortTaken } else { Denied::Refusal }
                })
            }
        }
    }

    /// Removes the mapping at the router.
    pub(super) async fn release(self) {
        let failed = match self {
            Mapping::Asked(mapping) => mapping.try_drop().await.err().map(|(error, _)| error.to_string()),
            Mapping::Upnp { gateway, protocol, port, .. } => {
                gateway.remove_port(protocol, port.get()).await.err().map(|error| error.to_string())
            }
        };
        if let Some(error) = failed {
            tracing::debug!(error, "a port mapping was not removed");
        }
    }
}

/// Waits for the answer to a request by UPnP.
async fn in_time<T>(answer: impl Future<Output = T>) -> Result<T, Denied> {
    timeout(UPNP_MAX, answer).await.map_err(|_| Denied::Silence)
}

/// Tells silence, also that of a machine on which nobody listens, from a refusal.
fn denied(error: MappingFailure) -> Denied {
    tracing::debug!(%error, "no mapping by PCP or NAT-PMP");
    match error {
        MappingFailure::NatPmp(natpmp::Failure::Timeout | natpmp::Failure::Socket(_))
        | MappingFailure::Pcp(pcp::Failure::Timeout | pcp::Failure::Socket(_)) => Denied::Silence,
        _ => Denied::Refusal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_router_that_says_no_is_told_from_one_that_says_nothing() {
        assert_eq!(denied(pcp::Failure::Timeout.into()), Denied::Silence);
        assert_eq!(denied(natpmp::Failure::NetworkFailure.into()), Denied::Refusal);
    }
}
