//! All links of one peer, behind the seam.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Instant;

use plenary_proto::message::{Description, LinkKind};
use tokio::runtime;
use tokio::sync::{mpsc, watch};
use tracing::Instrument as _;

use crate::link::{Handle, Link};
use crate::ports::Ports;
use crate::seam::{
    Channel, Command, Destinations, DownReason, Event, LinkDriver, LinkId, LinkStats, PacketSink,
};
use crate::shaper::Shaper;
use crate::stack::{Credentials, ice_credentials};
use crate::sync::lock;
use crate::template::Ssrcs;
use crate::wire::Wire;

/// Events that wait to be read; then links wait, and through their channels' windows the other ends.
const EVENTS_MAX: usize = 1_024;

/// How a peer's links are made. [`Default`] binds to all addresses and any ports.
#[derive(Clone, Debug)]
pub struct LinksConfig {
    /// Local addresses; when empty, all unicast addresses of this machine, loopback only if it has no others.
    pub bind: Vec<IpAddr>,
    /// UDP ports, one per link; when `None`, any. When they run out a link is [`DownReason::NoPort`].
    pub udp_ports: Option<RangeInclusive<u16>>,
    /// The network of this peer.
    pub shaper: Shaper,
    /// Most packets of a link that wait to be sent; what is dropped then is said at [`Event::Dropped`]. 512:
    /// 1.6 s of 3 Mbit/s, longer than anyone waits for a picture.
    pub queue_packets_max: usize,
    /// Most links at one time.
    pub links_max: usize,
    /// The instant from which arrivals are counted.
    pub epoch: Instant,
}

impl Default for LinksConfig {
    fn default() -> Self {
        LinksConfig {
            bind: Vec::new(),
            udp_ports: None,
            shaper: Shaper::default(),
            queue_packets_max: 512,
            links_max: 512,
            epoch: Instant::now(),
        }
    }
}

/// Why there can be no links at all.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// Links are driven by tokio tasks.
    #[error("links need a tokio runtime around them")]
    NoRuntime,
    /// No certificate could be made.
    #[error("no certificate: {0}")]
    Certificate(String),
    /// The addresses of this machine are not known.
    #[error("the network interfaces cannot be listed: {0}")]
    Interfaces(#[source] std::io::Error),
}

/// All links of one peer, over WebRTC. Dropping it closes them; [`Links::close`] also waits.
pub struct Links {
    shared: Arc<Shared>,
    runtime: runtime::Handle,
    /// Held by each link's task: when all are gone, nothing of the links is left.
    alive: Mutex<Option<mpsc::Sender<()>>>,
    all_gone: tokio::sync::Mutex<mpsc::Receiver<()>>,
}

/// What links tell, in order for each of them.
#[derive(Debug)]
pub struct Events(mpsc::Receiver<Event>);

/// What a peer's links have in common.
pub(crate) struct Shared {
    pub(crate) config: LinksConfig,
    pub(crate) ports: Arc<Ports>,
    pub(crate) credentials: Credentials,
    /// Given up when all links are closed and gone, so that their reader ends.
    events: Mutex<Option<mpsc::Sender<Event>>>,
    is_closed: watch::Sender<bool>,
    table: RwLock<BTreeMap<LinkId, Arc<Handle>>>,
    /// Given up when the links are closed: it may hold them.
    sink: Mutex<Option<Arc<dyn PacketSink>>>,
}

impl Events {
    /// The next event, waiting for it; `None` when the links are closed and everything was read.
    pub async fn next(&mut self) -> Option<Event> {
        self.0.recv().await
    }

    /// The next event, if there is one.
    pub fn try_next(&mut self) -> Option<Event> {
        self.0.try_recv().ok()
    }
}

impl Links {
    /// Links that hand their media to `sink`, and the events of all of them. Makes a certificate, which costs
    /// about a millisecond. At most 1024 events wait; read them, or links will.
    ///
    /// # Errors
    /// Outside a tokio runtime, without randomness, or where interfaces cannot be listed.
    pub fn new(config: LinksConfig, sink: Arc<dyn PacketSink>) -> Result<(Links, Events), LinkError> {
        let runtime = runtime::Handle::try_current().map_err(|_| LinkError::NoRuntime)?;
        let ports = Ports::new(&config.bind, config.udp_ports.clone()).map_err(LinkError::Interfaces)?;
        let credentials =
            Credentials::generate().map_err(|error| LinkError::Certificate(error.to_string()))?;
        let (events, unread) = mpsc::channel(EVENTS_MAX);
        let (alive, all_gone) = mpsc::channel(1);
        let shared = Arc::new(Shared {
            config,
            ports: Arc::new(ports),
            credentials,
            events: Mutex::new(Some(events)),
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
        Ok((links, Events(unread)))
    }

    /// Counters of a link; `None` once it is down.
    pub fn stats(&self, link: LinkId) -> Option<LinkStats> {
        self.shared.handle(link).map(|handle| handle.wire.stats())
    }

    /// Closes all links, lets go of the sink, and waits until no task and no socket of theirs is left. Each
    /// link may take half a second to bring its last control messages across. Datagrams that a [`Shaper`]
    /// delays leave later.
    pub async fn close(&self) {
        self.end_all();
        // each task holds a sender and sends nothing: this ends when the last one is dropped
        while self.all_gone.lock().await.recv().await.is_some() {}
        lock(&self.shared.events).take();
    }

    fn end_all(&self) {
        self.shared.is_closed.send_replace(true);
        lock(&self.alive).take();
        let handles: Vec<_> = self.shared.table().values().cloned().collect();
        handles.iter().for_each(|handle| handle.end(DownReason::Closed));
        lock(&self.shared.sink).take();
    }

    fn open(&self, id: LinkId, kind: LinkKind, offer: Option<Description>) {
        let Some(alive) = lock(&self.alive).clone() else {
            return tracing::debug!(%id, "a link was asked for after all were closed");
        };
        let credentials = loop {
            match ice_credentials() {
                // a fragment whose own slots clash is drawn again
                Ok((ufrag, _)) if Ssrcs::of(kind, &ufrag).clash_among_themselves() => {}
                drawn => break drawn,
            }
        };
        let refused = match credentials {
            Err(error) => DownReason::Stack(error.to_string()),
            Ok(credentials) => {
                let (link, handle) = Link::new(id, kind, offer, credentials, self.shared.clone());
                match self.shared.add(id, handle.clone()) {
                    Added::Yes => {
                        // closed since we looked: whoever did may have missed it
                        if *self.shared.is_closed.borrow() {
                            handle.end(DownReason::Closed);
                        }
                        let shared = self.shared.clone();
                        let life = async move {
                            let reason = Box::pin(link.live()).await;
                            shared.remove(id);
                            shared.emit(Event::Down { link: id, reason }).await;
                            drop(alive);
                        };
                        self.runtime.spawn(life.in_current_span());
                        return;
                    }
                    Added::Known => return tracing::warn!(%id, "a link was opened twice"),
                    Added::TooMany => DownReason::TooMany,
                }
            }
        };
        let shared = self.shared.clone();
        self.runtime.spawn(async move {
            shared.emit(Event::Down { link: id, reason: refused }).await;
            drop(alive);
        });
    }
}

impl LinkDriver for Links {
    fn submit(&self, command: Command) {
        match command {
            Command::Offer { link, kind } => self.open(link, kind, None),
            Command::Answer { link, kind, offer } => self.open(link, kind, Some(offer)),
            Command::Forward { to, packet } => {
                self.each(&to, |wire, slot| wire.forward(slot, packet.clone()));
            }
            Command::SenderReport { to, report } => self.each(&to, |wire, slot| wire.report(slot, report)),
            Command::Accept { link, answer } => self.with(link, |handle| handle.accept(answer)),
            Command::KeyframeWanted { link, slot } => {
                self.with(link, |handle| handle.wire.want_keyframe(slot))
            }
            Command::Send { link, channel, bytes } => self.with(link, |handle| handle.send(channel, bytes)),
            Command::Train { link, train, bytes, rate_bps } => {
                self.with(link, |handle| handle.send_train(train, bytes, rate_bps));
            }
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

enum Added {
    Yes,
    Known,
    TooMany,
}

impl Shared {
    fn table(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<LinkId, Arc<Handle>>> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn handle(&self, link: LinkId) -> Option<Arc<Handle>> {
        self.table().get(&link).cloned()
    }

    fn add(&self, link: LinkId, handle: Arc<Handle>) -> Added {
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

    fn remove(&self, link: LinkId) {
        self.table.write().unwrap_or_else(PoisonError::into_inner).remove(&link);
    }

    pub(crate) fn sink(&self) -> Option<Arc<dyn PacketSink>> {
        lock(&self.sink).clone()
    }

    /// Tells an event, waiting for room; once all links are closed, only if there is room.
    pub(crate) async fn emit(&self, event: Event) {
        let Some(events) = lock(&self.events).clone() else { return };
        let Err(mpsc::error::TrySendError::Full(event)) = events.try_send(event) else { return };
        let mut is_closed = self.is_closed.subscribe();
        tokio::select! {
            // the reader may be gone: then nobody misses it
            _ = events.send(event) => {}
            _ = is_closed.wait_for(|&is_closed| is_closed) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seam::MediaPacket;
    use crate::support::*;
    use std::sync::atomic::Ordering;

    /// The stack awaits each child's write, so one whose socket is full would stop all others.
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
        // one batch was taken before the stall showed; the queue is full; the rest is dropped and told
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

    /// After a stall, video goes on at a key frame, and a leg's numbers show no hole.
    #[tokio::test]
    async fn a_child_that_was_slow_goes_on_at_a_key_frame() {
        let config = LinksConfig { queue_packets_max: 10, ..on_loopback() };
        let (mut relay, mut child) = (Peer::with(config), Peer::new());
        let link = LinkId(1);
        connect(&mut relay, &mut child, link).await;
        // on this single-threaded runtime the driver does not run between these
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
