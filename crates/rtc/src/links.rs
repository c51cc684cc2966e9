//! All links of one peer: the implementation of [`LinkDriver`] over WebRTC.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, RwLock};

use plenary_proto::PeerId;
use plenary_proto::app::Nat;
use plenary_proto::message::{Description, LinkKind};
use plenary_proto::packet::{Destinations, LinkId, LinkStats};
use tokio::runtime;
use tokio::sync::{mpsc, watch};
use tracing::Instrument as _;

use crate::checks::CheckBudget;
use crate::credentials::{Credentials, ice_credentials};
use crate::events::{EventQueue, Events};
use crate::handle::Handle;
use crate::link::Link;
use crate::mux::Mux;
use crate::path::TurnServer;
use crate::ports::{AddressChange, Ports};
use crate::seam::{Channel, Command, DownReason, Event, LinkDriver, PacketSink};
use crate::shared::{Added, LinksConfig, Shared};
use crate::sync::lock;
use crate::tunnels::{CarriedFigures, Courier, Tunnels};
use crate::wire::Wire;
use plenary_proto::link_layout::Ssrcs;

/// Error that prevents a peer from having any link.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// There is no tokio runtime; links are driven by tokio tasks.
    #[error("links need a tokio runtime around them")]
    NoRuntime,
    /// The DTLS certificate could not be generated.
    #[error("no certificate: {0}")]
    Certificate(String),
    /// The addresses of this machine could not be listed.
    #[error("the network interfaces cannot be listed: {0}")]
    Interfaces(#[source] std::io::Error),
    /// The UDP port that all links share is taken, or may not be bound.
    #[error("UDP port {0} for all links cannot be bound: {1}")]
    Port(u16, #[source] std::io::Error),
}

/// All links of one peer, over WebRTC. Dropping it closes them; [`Links::close`] also waits until they are
/// closed.
pub struct Links {
    shared: Arc<Shared>,
    runtime: runtime::Handle,
    /// Each link's task holds a clone; when all clones are dropped, no task and no socket is left.
    alive: Mutex<Option<mpsc::Sender<()>>>,
    all_gone: tokio::sync::Mutex<mpsc::Receiver<()>>,
}

impl Links {
    /// Creates a driver without links yet, and the receiver of the events of all its links. Media packets are
    /// handed to `sink`. Generates a certificate, which takes about a millisecond. When the application does not
    /// read its events, a link waits.
    ///
    /// # Errors
    /// Outside a tokio runtime, without a source of randomness, where the network interfaces cannot be listed, or
    /// where [`LinksConfig::udp_port`] cannot be bound.
    pub fn new(config: LinksConfig, sink: Arc<dyn PacketSink>) -> Result<(Links, Events), LinkError> {
        let runtime = runtime::Handle::try_current().map_err(|_| LinkError::NoRuntime)?;
        let ports = Ports::new(&config.bind, config.udp_ports.clone()).map_err(LinkError::Interfaces)?;
        let credentials =
            Credentials::generate().map_err(|error| LinkError::Certificate(error.to_string()))?;
        let events = Arc::new(EventQueue::default());
        let unread = Events(events.clone());
        let (alive, all_gone) = mpsc::channel(1);
        let bind = |port| {
            Mux::bind(port, &ports.addresses(), runtime.clone(), alive.clone())
                .map_err(|error| LinkError::Port(port, error))
        };
        let mux = config.udp_port.map(bind).transpose()?;
        let tunnels = Tunnels::new(config.uplink_bps_max, config.tunnel_bps_max);
        let shared = Arc::new(Shared {
            config,
            ports: Arc::new(ports),
            credentials,
            events,
            checks: Arc::new(CheckBudget::new()),
            tunnels,
            stun: Mutex::default(),
            turn: Arc::default(),
            nat: Mutex::default(),
            mapped: Mutex::default(),
            mux: Mutex::new(mux.map(Arc::new)),
            is_closed: watch::Sender::new(false),
            table: RwLock::default(),
            sink: Mutex::new(Some(sink)),
        });
        let links = Links {
            shared,
            runtime,
            alive: Mutex::new(Some(alive)),
            all_gone: tokio::sync::Mutex::new(all_gone),
        };
        Ok((links, unread))
    }

    /// Counters of a link; `None` once it is down.
    pub fn stats(&self, link: LinkId) -> Option<LinkStats> {
        self.shared.handle(link).map(|handle| handle.wire.stats())
    }

    /// Sets the STUN servers that links ask from now on (RFC 8489), three of each family at most.
    pub fn set_stun(&self, servers: Vec<SocketAddr>) {
        *lock(&self.shared.stun) = servers;
    }

    /// Sets the TURN servers (RFC 8656) at which links get relays, by UDP: the first of each family. A link asks for
    /// one when it has found no other way after half a second, or later, once there are servers. A relay that a link
    /// has stays until the link ends, or goes another way.
    pub fn set_turn(&self, servers: Vec<TurnServer>) {
        *lock(&self.shared.turn) = servers;
    }

    /// Sets the address at which a router maps the port that all links share ([`LinksConfig::udp_port`]). Links tell it
    /// from now on.
    pub fn set_mapped(&self, outer: Option<SocketAddr>) {
        *lock(&self.shared.mapped) = outer;
    }

    /// Sets what takes datagrams to the rendezvous, for links that go by it ([`Command::Tunnel`]); `None` without one.
    pub fn set_courier(&self, courier: Option<Arc<dyn Courier>>) {
        self.shared.tunnels.set_courier(courier);
    }

    /// Takes a datagram that the rendezvous has brought for a link, from the peer at its other end: the link may go
    /// that way from now on.
    pub fn came_by_rendezvous(&self, link: LinkId, from: PeerId, datagram: &[u8]) {
        Tunnels::came_by_rendezvous(&self.shared, link, from, datagram);
    }

    /// Returns what this peer has carried for others.
    pub fn carried(&self) -> CarriedFigures {
        self.shared.tunnels.figures()
    }

    /// Returns the NAT in front of this peer, as the newest answers show it.
    pub fn nat(&self) -> Nat {
        *lock(&self.shared.nat)
    }

    /// Reads the addresses of this machine, at most twenty times a second. Links on vanished addresses restart ICE
    /// ([`Event::IceRestart`]). Returns the changes since the last call.
    pub fn look_at_addresses(&self) -> AddressChange {
        let (addresses, change) = self.shared.ports.look();
        if change.gone || change.come {
            self.shared.table().values().for_each(|handle| handle.addresses_changed(&addresses));
        }
        change
    }

    /// Ends all links: this machine has stood still for so long that their other ends have given them up.
    pub fn lose_all(&self) {
        self.shared.table().values().for_each(|handle| handle.end(DownReason::Lost));
    }

    /// Restarts ICE on a link that is connected: both ends look for another path, as after a change
    /// of network ([`Event::IceRestart`]).
    pub fn restart(&self, link: LinkId) {
        if let Some(handle) = self.shared.handle(link).filter(|handle| handle.wire.can_restart()) {
            handle.moves.notify_one();
        }
    }

    /// Repeats at once what the other ends of links with an ICE restart have not answered: the rendezvous is connected
    /// again.
    pub fn ask_again(&self) {
        self.shared.table().values().for_each(|handle| handle.asks_again.notify_one());
    }

    /// Closes all links, releases the sink, and waits until none of their tasks and sockets is left. Each
    /// link may take half a second to deliver its last control messages. Datagrams that a [`Shaper`](crate::Shaper)
    /// delays are sent after that.
    pub async fn close(&self) {
        self.end_all();
        // each task holds a sender and sends nothing: the loop ends when the last sender is dropped
        while self.all_gone.lock().await.recv().await.is_some() {}
        self.shared.events.end();
    }

    fn end_all(&self) {
        self.shared.is_closed.send_replace(true);
        lock(&self.alive).take();
        let handles: Vec<_> = self.shared.table().values().cloned().collect();
        handles.iter().for_each(|handle| handle.end(DownReason::Closed));
        lock(&self.shared.sink).take();
        lock(&self.shared.mux).take();
        self.shared.tunnels.set_courier(None);
    }

    /// `is_stranger`: the link belongs to the budget of strangers' checks.
    fn open(&self, id: LinkId, kind: LinkKind, offer: Option<Description>, is_stranger: bool) {
        let Some(alive) = lock(&self.alive).clone() else {
            return tracing::debug!(%id, "a link was asked for after all were closed");
        };
        let credentials = loop {
            match ice_credentials() {
                // when two SSRCs of this end collide, another user fragment is drawn
                Ok((ufrag, _)) if Ssrcs::of(kind, &ufrag).clash_among_themselves() => {}
                drawn => break drawn,
            }
        };
        let refused = match credentials {
            Err(error) => DownReason::Stack(error.to_string()),
            Ok(credentials) => {
                let (link, handle) =
                    Link::new(id, kind, offer, is_stranger, credentials, self.shared.clone());
                match self.shared.add(id, handle.clone()) {
                    Added::Yes => {
                        // `end_all` may have run since the check above and may have missed this link
                        if *self.shared.is_closed.borrow() {
                            handle.end(DownReason::Closed);
                        }
                        let shared = self.shared.clone();
                        let life = async move {
                            let mut end = Ending { id, shared, reason: DownReason::Panicked, _alive: alive };
                            end.reason = Box::pin(link.live()).await;
                        };
                        self.runtime.spawn(life.in_current_span());
                        return;
                    }
                    Added::Known => return tracing::warn!(%id, "a link was opened twice"),
                    Added::TooMany => DownReason::TooMany,
                }
            }
        };
        self.shared.events.push(Event::Down { link: id, reason: refused });
    }
}

/// Frees the place of a link and reports its end, also when its task panics.
struct Ending {
    id: LinkId,
    shared: Arc<Shared>,
    reason: DownReason,
    _alive: mpsc::Sender<()>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.shared.remove(self.id);
        Tunnels::forget(&self.shared, self.id);
        self.shared.events.push(Event::Down { link: self.id, reason: self.reason.clone() });
    }
}

impl LinkDriver for Links {
    fn submit(&self, command: Command) {
        match command {
            Command::Offer { link, kind, is_stranger } => self.open(link, kind, None, is_stranger),
            Command::Answer { link, kind, offer, is_stranger } => {
                self.open(link, kind, Some(offer), is_stranger);
            }
            Command::Forward { to, packet } => {
                self.each(&to, |wire, slot| wire.forward(slot, packet.clone()));
            }
            Command::SenderReport { to, report } => self.each(&to, |wire, slot| wire.report(slot, report)),
            Command::Accept { link, answer } => self.with(link, |handle| handle.accept(answer)),
            Command::Paths { link, ufrag, candidates } => {
                self.with(link, |handle| handle.paths_told(ufrag, candidates));
            }
            Command::KeyframeWanted { link, slot } => {
                self.with(link, |handle| handle.wire.want_keyframe(slot))
            }
            Command::Send { link, channel, bytes } => self.with(link, |handle| handle.send(channel, bytes)),
            Command::Carry { link, pieces } => self.with(link, |handle| handle.carry(pieces)),
            Command::Pause { link, duration } => self.with(link, |handle| handle.pause(duration)),
            Command::Train { link, train, bytes, rate_bps } => {
                self.with(link, |handle| handle.send_train(train, bytes, rate_bps));
            }
            Command::IceRestart { link, restart } => self.with(link, |handle| handle.restart_told(restart)),
            Command::Tunnel(command) => Tunnels::command(&self.shared, command),
            Command::Close { link } => self.with(link, |handle| handle.end(DownReason::Closed)),
        }
    }

    fn bulk_room(&self, link: LinkId) -> usize {
        self.shared.handle(link).map_or(0, |handle| handle.queue(Channel::Bulk).room())
    }
}

impl Links {
    fn each(&self, to: &Destinations, act: impl Fn(&Wire, u8)) {
        let table = self.shared.table();
        for (link, slot) in to {
            if let Some(handle) = table.get(link) {
                act(&handle.wire, *slot);
            }
        }
    }

    #[cfg(feature = "raw")]
    pub(crate) fn handle(&self, link: LinkId) -> Option<Arc<Handle>> {
        self.shared.handle(link)
    }

    fn with(&self, link: LinkId, act: impl FnOnce(&Handle)) {
        match self.shared.handle(link) {
            Some(handle) => act(&handle),
            None => tracing::debug!(%link, "a command for a link that is not known"),
        }
    }
}

impl Drop for Links {
    fn drop(&mut self) {
        self.end_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::*;
    use plenary_proto::packet::MediaPacket;
    use std::sync::atomic::Ordering;

    /// Per-child writes: the stack awaits each child's write, so one full socket would stall all other
    /// children.
    #[tokio::test]
    async fn a_slow_child_stalls_nobody() {
        const PACKETS: u64 = 3_000;
        let config = LinksConfig { queue_packets_max: 100, ..on_loopback() };
        let (mut relay, mut slow, mut quick) = (Peer::with(config), Peer::new(), Peer::new());
        let (to_slow, to_quick) = (LinkId(1), LinkId(2));
        connect(&mut relay, &mut slow, to_slow).await;
        connect(&mut relay, &mut quick, to_quick).await;
        relay.links.shared.handle(to_slow).unwrap().wire.is_stalled.store(true, Ordering::Relaxed);
        for number in 1..=PACKETS {
            let to = Destinations::from_iter([(to_slow, 0), (to_slow, 1), (to_quick, 0)]);
            relay.links.submit(Command::Forward { to, packet: packet(number) });
            assert_eq!(quick.packet().await, (0, packet(number)));
        }
        // one batch was taken before the stall took effect; the queue is full; all other packets are dropped
        // and reported
        let stats = relay.links.stats(to_slow).unwrap();
        let mut dropped = [0; 2];
        while dropped.iter().sum::<u64>() < stats.packets_dropped {
            let (slot, packets) = relay
                .until(|event| match event {
                    Event::Dropped { link, slot, packets } if link == to_slow => Some((slot, packets)),
                    Event::Down { link, reason } => panic!("{link}: {reason}"),
                    _ => None,
                })
                .await;
            dropped[usize::from(slot)] += u64::from(packets);
        }
        assert_eq!(dropped.iter().sum::<u64>(), stats.packets_dropped);
        assert!(dropped.iter().all(|&packets| packets > PACKETS - 200), "{dropped:?}");
        assert_eq!(stats.packets_sent + stats.packets_dropped + 100, 2 * PACKETS, "{stats:?}");
        assert_eq!(relay.links.stats(to_quick).unwrap().packets_dropped, 0);
    }

    /// After a stall, video resumes at a keyframe, and the sequence numbers of the leg have no gap.
    #[tokio::test]
    async fn a_child_that_was_slow_goes_on_at_a_key_frame() {
        let config = LinksConfig { queue_packets_max: 10, ..on_loopback() };
        let (mut relay, mut child) = (Peer::with(config), Peer::new());
        let link = LinkId(1);
        connect(&mut relay, &mut child, link).await;
        // on this single-threaded runtime the link's task does not run between these calls
        for number in 1..=100 {
            relay.forward(link, 0, MediaPacket { key_start: number % 30 == 0, ..packet(number) });
        }
        let mut got = Vec::new();
        while got.len() < 10 {
            got.push(child.packet().await.1.identity.number);
        }
        for number in 101..=130 {
            relay.forward(link, 0, MediaPacket { key_start: number % 30 == 0, ..packet(number) });
            tokio::task::yield_now().await;
        }
        while got.last() != Some(&130) {
            got.push(child.packet().await.1.identity.number);
        }
        let expected: Vec<u64> = (1..=10).chain(120..=130).collect();
        assert_eq!(got, expected);
        assert_eq!(relay.links.stats(link).unwrap().packets_sent, 21);
    }

    #[test]
    fn outside_a_runtime_there_are_no_links() {
        struct Nothing;
        impl PacketSink for Nothing {
            fn packet(&self, _: LinkId, _: u8, _: MediaPacket, _: u64) {}
            fn keyframe_wanted(&self, _: LinkId, _: u8) {}
        }
        let links = Links::new(on_loopback(), Arc::new(Nothing));
        assert!(matches!(links, Err(LinkError::NoRuntime)));
    }
}
