//! What the links of one peer share: configuration, events, the table of links.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Instant;

use plenary_proto::app::Nat;
use plenary_proto::packet::LinkId;
use tokio::sync::watch;

use crate::checks::CheckBudget;
use crate::credentials::Credentials;
use crate::events::EventQueue;
use crate::handle::Handle;
use crate::mux::Mux;
use crate::path::{Outer, TurnServer};
use crate::ports::Ports;
use crate::seam::PacketSink;
use crate::shaper::Shaper;
use crate::sync::lock;
use crate::tunnels::Tunnels;

/// Configuration of a peer's links. [`Default`] binds to all addresses and any ports.
#[derive(Clone, Debug)]
pub struct LinksConfig {
    /// Local addresses to bind to. When empty, all unicast addresses of this machine; loopback only when the
    /// machine has no other address.
    pub bind: Vec<IpAddr>,
    /// Range of UDP ports, one port per link; `None` for any port. A link that finds no free port ends with
    /// [`DownReason::NoPort`](crate::DownReason::NoPort). A relay ([`Links::set_turn`](crate::Links::set_turn)) is
    /// reached from any port, and needs none open.
    pub udp_ports: Option<RangeInclusive<u16>>,
    /// UDP port that all links share, for example behind a firewall with a single open port. A second
    /// link with the same end still takes another port, at the end that answers, and needs none open; so does a link's
    /// relay ([`Links::set_turn`](crate::Links::set_turn)). With it, `udp_ports` are not used.
    pub udp_port: Option<u16>,
    /// This end is an ICE-lite end (RFC 8445, 2.5), for a machine in the open: it sends checks only to addresses from
    /// which the other end's came, and so nothing to those that a stranger names.
    pub ice_lite: bool,
    /// Address of a one-to-one NAT in front of this machine, as cloud providers have it: others reach each port of this
    /// machine at the same port there. It is told beside the private addresses.
    pub nat_1to1: Option<IpAddr>,
    /// Cap of this peer's uplink, bits per second: carrying for others takes half of it at most.
    pub uplink_bps_max: Option<u64>,
    /// In place of the usual bound of 4 Mbit/s each way of a tunnel that this peer carries; for benches.
    #[doc(hidden)]
    pub tunnel_bps_max: Option<u64>,
    /// Network shaper of this peer.
    pub shaper: Shaper,
    /// Maximum number of media packets queued per link. Packets dropped at the limit are reported by
    /// [`Event::Dropped`](crate::Event::Dropped). The default, 512, is 1.6 s of 3 Mbit/s: longer than a viewer waits
    /// for a picture.
    pub queue_packets_max: usize,
    /// Maximum number of links at one time.
    pub links_max: usize,
    /// The instant from which arrival times are counted.
    pub epoch: Instant,
}

impl Default for LinksConfig {
    fn default() -> Self {
        LinksConfig {
            bind: Vec::new(),
            udp_ports: None,
            udp_port: None,
            ice_lite: false,
            nat_1to1: None,
            uplink_bps_max: None,
            tunnel_bps_max: None,
            shaper: Shaper::default(),
            queue_packets_max: 512,
            links_max: 512,
            epoch: Instant::now(),
        }
    }
}

/// State shared by all links of one peer.
pub(crate) struct Shared {
    pub(crate) config: LinksConfig,
    pub(crate) ports: Arc<Ports>,
    pub(crate) credentials: Credentials,
    /// Ended when all links are closed and their tasks have ended.
    pub(crate) events: Arc<EventQueue>,
    pub(crate) checks: Arc<CheckBudget>,
    pub(crate) tunnels: Tunnels,
    /// STUN servers that links ask.
    pub(crate) stun: Mutex<Vec<SocketAddr>>,
    /// TURN servers at which links get relays.
    pub(crate) turn: Arc<Mutex<Vec<TurnServer>>>,
    pub(crate) nat: Mutex<Nat>,
    /// Where a router maps the port that all links share.
    pub(crate) mapped: Mutex<Option<SocketAddr>>,
    /// The port that all links share; `None` without one, and when the links are closed.
    pub(crate) mux: Mutex<Option<Arc<Mux>>>,
    pub(crate) is_closed: watch::Sender<bool>,
    pub(crate) table: RwLock<BTreeMap<LinkId, Arc<Handle>>>,
    /// Taken when the links are closed: the sink may hold a reference to them.
    pub(crate) sink: Mutex<Option<Arc<dyn PacketSink>>>,
}

/// Result of adding a link.
pub(crate) enum Added {
    Yes,
    Known,
    TooMany,
}

impl Shared {
    pub(crate) fn table(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<LinkId, Arc<Handle>>> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn handle(&self, link: LinkId) -> Option<Arc<Handle>> {
        self.table().get(&link).cloned()
    }

    pub(crate) fn add(&self, link: LinkId, handle: Arc<Handle>) -> Added {
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        if table.contains_key(&link) {
            return Added::Known;
        }
        if table.len() >= self.config.links_max {
            return Added::TooMany;
        }
        table.insert(link, handle);
        Added::Yes
    }

    pub(crate) fn remove(&self, link: LinkId) {
        self.table.write().unwrap_or_else(PoisonError::into_inner).remove(&link);
    }

    /// Returns the outer addresses of this end's sockets, as far as they are known without asking.
    pub(crate) fn outer(&self) -> Outer {
        let mapped = self.config.udp_port.zip(*lock(&self.mapped));
        Outer { nat_1to1: self.config.nat_1to1, mapped }
    }

    pub(crate) fn sink(&self) -> Option<Arc<dyn PacketSink>> {
        lock(&self.sink).clone()
    }
}
