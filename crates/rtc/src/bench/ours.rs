//! The relay over this crate.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Instant;

use plenary_proto::message::{Description, LinkKind};
use plenary_proto::packet::{Destinations, LinkId, MediaPacket};

use super::host::Host;
use super::{Arrivals, FRAME_INTERVAL, Relay, Running, Source, UPSTREAM, Work, downstream, stamped};
use crate::links::{Events, Links};
use crate::seam::{Command, Event, LinkDriver as _, PacketSink};
use crate::shared::LinksConfig;

/// Sink of the leaves.
struct Leaf(Arc<Arrivals>);

impl PacketSink for Leaf {
    fn packet(&self, _: LinkId, _: u8, packet: MediaPacket, _: u64) {
        self.0.arrived(packet.marker, &packet.payload);
    }
    fn keyframe_wanted(&self, _: LinkId, _: u8) {}
}

/// Sink that receives nothing.
struct Nothing;

impl PacketSink for Nothing {
    fn packet(&self, _: LinkId, _: u8, _: MediaPacket, _: u64) {}
    fn keyframe_wanted(&self, _: LinkId, _: u8) {}
}

struct Peer {
    host: Host,
    links: Arc<Links>,
    events: Events,
}

/// Sink whose relay is made once its links are there.
struct Late(std::sync::OnceLock<Arc<dyn PacketSink>>);

impl PacketSink for Late {
    fn packet(&self, link: LinkId, slot: u8, packet: MediaPacket, arrived_us: u64) {
        if let Some(relay) = self.0.get() {
            relay.packet(link, slot, packet, arrived_us);
        }
    }
    fn keyframe_wanted(&self, link: LinkId, slot: u8) {
        if let Some(relay) = self.0.get() {
            relay.keyframe_wanted(link, slot);
        }
    }
}

impl Peer {
    async fn new(name: &str, workers: usize, sink: Arc<dyn PacketSink>) -> Peer {
        let host = Host::new(name, workers);
        let (links, events) = host
            .run(async move {
                let bind = vec![Ipv4Addr::LOCALHOST.into()];
                let config = LinksConfig { bind, epoch: Instant::now(), ..LinksConfig::default() };
                Links::new(config, sink).unwrap()
            })
            .await;
        Peer { host, links: Arc::new(links), events }
    }

    async fn described(&mut self) -> Description {
        loop {
            match self.events.next().await.unwrap() {
                Event::Described { description, .. } => return description,
                Event::Down { link, reason } => panic!("{link}: {reason}"),
                _ => {}
            }
        }
    }

    async fn connected(&mut self) {
        while !matches!(self.events.next().await.unwrap(), Event::Connected { .. }) {}
    }
}

async fn connect(parent: &mut Peer, child: &mut Peer, link: LinkId) {
    let kind = LinkKind::Peer;
    parent.links.submit(Command::Offer { link, kind });
    let offer = parent.described().await;
    child.links.submit(Command::Answer { link, kind, offer });
    let answer = child.described().await;
    parent.links.submit(Command::Accept { link, answer });
    tokio::join!(parent.connected(), child.connected());
}

pub(crate) async fn start(work: Work, mut frames: Source, make_relay: Relay) -> Running {
    let start = Instant::now();
    let (arrived, sent) = (Arc::new(Arrivals::new(start)), Arc::new(AtomicU64::new(0)));
    let at_relay = Arc::new(Late(std::sync::OnceLock::new()));
    let mut source = Peer::new("source", 1, Arc::new(Nothing)).await;
    let mut relay = Peer::new("relay", work.workers, at_relay.clone()).await;
    let mut leaves = Peer::new("leaves", 1, Arc::new(Leaf(arrived.clone()))).await;
    let _ = at_relay.0.set(make_relay(Arc::downgrade(&relay.links)));
    connect(&mut source, &mut relay, UPSTREAM).await;
    for child in 0..work.children {
        connect(&mut relay, &mut leaves, downstream(child)).await;
    }
    let (links, counter): (Weak<Links>, _) = (Arc::downgrade(&source.links), sent.clone());
    source.host.runtime.spawn(async move {
        let mut ticks = tokio::time::interval(FRAME_INTERVAL);
        while let Some(links) = links.upgrade() {
            for packet in frames() {
                counter.fetch_add(1, Ordering::Relaxed);
                let to = Destinations::from_iter([(UPSTREAM, 0)]);
                links.submit(Command::Forward { to, packet: stamped(packet, start) });
            }
            drop(links);
            ticks.tick().await;
        }
    });
    let links = (source.links, relay.links, leaves.links);
    Running {
        relay: relay.host,
        leaves: leaves.host,
        _source: source.host,
        sent,
        arrived,
        _links: Box::new(links),
    }
}
