//! Links of this crate: the relay's end, and source and leaves.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Instant;

use async_trait::async_trait;
use plenary_proto::message::{Description, LinkKind};
use plenary_proto::packet::{Destinations, LinkId, MediaPacket};

use super::host::Host;
use super::{
    Arrivals, FRAME_INTERVAL, Failed, RelayEnd, Running, Source, UPSTREAM, Work, downstream, in_time,
    resident_kib, stamped,
};
use crate::events::Events;
use crate::links::Links;
use crate::seam::{Command, Event, LinkDriver as _, PacketSink};
use crate::shared::LinksConfig;

/// Makes a relay: a sink that forwards what arrives on [`UPSTREAM`] to all [`downstream`] links, in slot 0.
pub type Relay = Box<dyn FnOnce(Weak<Links>) -> Arc<dyn PacketSink> + Send>;

const KIND: LinkKind = LinkKind::Peer;

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
    async fn new(
        name: &str,
        workers: usize,
        (address, udp_port): (IpAddr, Option<u16>),
        sink: Arc<dyn PacketSink>,
    ) -> Peer {
        let host = Host::new(name, workers);
        let (links, events) = host
            .run(async move {
                let bind = vec![address];
                let config = LinksConfig { bind, udp_port, epoch: Instant::now(), ..LinksConfig::default() };
                Links::new(config, sink).unwrap()
            })
            .await;
        Peer { host, links: Arc::new(links), events }
    }

    /// Waits for an event of this link.
    async fn wait<T>(&mut self, wanted: LinkId, found: impl Fn(Event) -> Option<T>) -> Result<T, Failed> {
        loop {
            let event = self.events.next().await.ok_or("the links have ended")?;
            if let Event::Down { link, reason } = &event {
                return Err(format!("{link}: {reason}").into());
            }
            let link = match &event {
                Event::Described { link, .. } | Event::Connected { link, .. } => *link,
                _ => continue,
            };
            if link == wanted
                && let Some(found) = found(event)
            {
                return Ok(found);
            }
        }
    }

    async fn described(&mut self, link: LinkId) -> Result<Description, Failed> {
        let description = |event| match event {
            Event::Described { description, .. } => Some(description),
            _ => None,
        };
        self.wait(link, description).await
    }

    async fn connected(&mut self, link: LinkId) -> Result<(), Failed> {
        self.wait(link, |event| matches!(event, Event::Connected { .. }).then_some(())).await
    }
}

/// The relay over this crate, in this process.
pub struct OurRelay {
    peer: Peer,
    children: usize,
}

impl OurRelay {
    /// Returns a relay with that many worker threads, at that address, and if wanted with one UDP port for all links.
    pub async fn new(workers: usize, address: IpAddr, udp_port: Option<u16>, make_relay: Relay) -> OurRelay {
        let late = Arc::new(Late(std::sync::OnceLock::new()));
        let peer = Peer::new("relay", workers, (address, udp_port), late.clone()).await;
        let _ = late.0.set(make_relay(Arc::downgrade(&peer.links)));
        OurRelay { peer, children: 0 }
    }
}

#[async_trait]
impl RelayEnd<Description> for OurRelay {
    async fn publish(&mut self, offer: Description) -> Result<Description, Failed> {
        self.peer.links.submit(Command::Answer { link: UPSTREAM, kind: KIND, offer, is_stranger: false });
        self.peer.described(UPSTREAM).await
    }

    async fn subscribe(&mut self) -> Result<Description, Failed> {
        let link = downstream(self.children);
        self.children += 1;
        self.peer.links.submit(Command::Offer { link, kind: KIND, is_stranger: false });
        self.peer.described(link).await
    }

    async fn accept(&mut self, answer: Description) -> Result<(), Failed> {
        let link = downstream(self.children - 1);
        self.peer.links.submit(Command::Accept { link, answer });
        self.peer.connected(link).await
    }

    fn cpu_us(&self) -> f64 {
        self.peer.host.cpu_us()
    }
}

pub(crate) async fn start(
    work: Work,
    relay: &mut dyn RelayEnd<Description>,
    mut frames: Source,
) -> Result<Running, Failed> {
    let start = Instant::now();
    let (arrived, sent) = (Arc::new(Arrivals::new(start)), Arc::new(AtomicU64::new(0)));
    let mut source = Peer::new("source", 1, (work.address, None), Arc::new(Nothing)).await;
    let mut leaves = Peer::new("leaves", 1, (work.address, None), Arc::new(Leaf(arrived.clone()))).await;
    source.links.submit(Command::Offer { link: UPSTREAM, kind: KIND, is_stranger: false });
    let offer = in_time("an offer of the source", source.described(UPSTREAM)).await?;
    let answer = in_time("an answer to the source", relay.publish(offer)).await?;
    source.links.submit(Command::Accept { link: UPSTREAM, answer });
    in_time("the source's connection", source.connected(UPSTREAM)).await?;
    let before_kib = resident_kib(relay.process());
    for link in (0..work.children).map(downstream) {
        let offer = in_time("an offer to a child", relay.subscribe()).await?;
        leaves.links.submit(Command::Answer { link, kind: KIND, offer, is_stranger: false });
        let answer = in_time("an answer of a child", leaves.described(link)).await?;
        let both = async { tokio::try_join!(relay.accept(answer), leaves.connected(link)) };
        in_time("a child's connection", both).await?;
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
    let links = (source.links, leaves.links);
    Ok(Running {
        leaves: leaves.host,
        _source: source.host,
        sent,
        arrived,
        before_kib,
        _links: Box::new(links),
    })
}
