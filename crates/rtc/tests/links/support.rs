//! Peers for tests and benchmarks: real links over loopback, and a sink that records packets.

#![allow(dead_code, reason = "each of the crates that include this uses a part of it")]

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use plenary_proto::StreamId;
use plenary_proto::identity::PacketIdentity;
use plenary_proto::message::{Description, LinkKind};
use plenary_rtc::*;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Timeout of each step in these tests: a step that takes longer hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
pub(crate) const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A call that the sink received.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Arrived {
    Packet { link: LinkId, slot: u8, packet: MediaPacket, arrived_us: u64 },
    KeyframeWanted { link: LinkId, slot: u8 },
    Report { link: LinkId, slot: u8, report: SenderReport },
}

struct Keep(mpsc::UnboundedSender<Arrived>);

impl PacketSink for Keep {
    fn packet(&self, link: LinkId, slot: u8, packet: MediaPacket, arrived_us: u64) {
        let _ = self.0.send(Arrived::Packet { link, slot, packet, arrived_us });
    }
    fn keyframe_wanted(&self, link: LinkId, slot: u8) {
        let _ = self.0.send(Arrived::KeyframeWanted { link, slot });
    }
    fn sender_report(&self, link: LinkId, slot: u8, report: SenderReport) {
        let _ = self.0.send(Arrived::Report { link, slot, report });
    }
}

/// All links of one peer, with their events and recorded packets.
pub(crate) struct Peer {
    pub(crate) links: Arc<Links>,
    pub(crate) events: Events,
    pub(crate) arrived: mpsc::UnboundedReceiver<Arrived>,
}

pub(crate) fn on_loopback() -> LinksConfig {
    LinksConfig { bind: vec![LOOPBACK], epoch: Instant::now(), ..LinksConfig::default() }
}

impl Peer {
    pub(crate) fn new() -> Peer {
        Peer::with(on_loopback())
    }

    pub(crate) fn with(config: LinksConfig) -> Peer {
        let (sender, arrived) = mpsc::unbounded_channel();
        let (links, events) = Links::new(config, Arc::new(Keep(sender))).unwrap();
        Peer { links: Arc::new(links), events, arrived }
    }

    pub(crate) fn shaped(shaper: &Shaper) -> Peer {
        Peer::with(LinksConfig { shaper: shaper.clone(), ..on_loopback() })
    }

    pub(crate) async fn event(&mut self) -> Event {
        timeout(PATIENCE, self.events.next()).await.expect("no event").expect("the links are closed")
    }

    /// Waits for the first event that `wanted` maps to `Some`; drops all others.
    pub(crate) async fn until<T>(&mut self, mut wanted: impl FnMut(Event) -> Option<T>) -> T {
        loop {
            if let Some(found) = wanted(self.event().await) {
                return found;
            }
        }
    }

    pub(crate) async fn described(&mut self, of: LinkId) -> Description {
        self.until(|event| match event {
            Event::Described { link, description } if link == of => Some(description),
            Event::Down { link, reason } if link == of => panic!("{link}: {reason}"),
            _ => None,
        })
        .await
    }

    pub(crate) async fn connected(&mut self, of: LinkId) {
        self.until(|event| match event {
            Event::Connected { link, .. } if link == of => Some(()),
            Event::Down { link, reason } if link == of => panic!("{link}: {reason}"),
            _ => None,
        })
        .await;
    }

    pub(crate) async fn down(&mut self, of: LinkId) -> DownReason {
        self.until(|event| match event {
            Event::Down { link, reason } if link == of => Some(reason),
            _ => None,
        })
        .await
    }

    pub(crate) async fn received(&mut self) -> (LinkId, Channel, Bytes) {
        self.until(|event| match event {
            Event::Received { link, channel, bytes } => Some((link, channel, bytes)),
            Event::Down { link, reason } => panic!("{link}: {reason}"),
            _ => None,
        })
        .await
    }

    pub(crate) async fn next_arrived(&mut self) -> Arrived {
        timeout(PATIENCE, self.arrived.recv()).await.expect("nothing arrived").expect("the links are closed")
    }

    /// Waits for the next packet; returns its slot and the packet.
    pub(crate) async fn packet(&mut self) -> (u8, MediaPacket) {
        loop {
            if let Arrived::Packet { slot, packet, .. } = self.next_arrived().await {
                return (slot, packet);
            }
        }
    }

    pub(crate) fn forward(&self, link: LinkId, slot: u8, packet: MediaPacket) {
        self.links.submit(Command::Forward { to: Destinations::from_iter([(link, slot)]), packet });
    }

    pub(crate) fn send(&self, link: LinkId, channel: Channel, bytes: impl Into<Bytes>) {
        self.links.submit(Command::Send { link, channel, bytes: bytes.into() });
    }
}

pub(crate) fn packet(number: u64) -> MediaPacket {
    MediaPacket {
        identity: PacketIdentity { stream: StreamId([7; 8]), number },
        timestamp: number as u32 * 3_000,
        marker: number.is_multiple_of(2),
        key_start: false,
        audio_level: None,
        contributors: Default::default(),
        payload: Bytes::from(vec![0x41; 200]),
    }
}

/// Opens a link between two peers; the first peer offers. They begin to connect.
pub(crate) async fn negotiate(a: &mut Peer, b: &mut Peer, link: LinkId, kind: LinkKind) {
    a.links.submit(Command::Offer { link, kind, is_stranger: false });
    let offer = a.described(link).await;
    b.links.submit(Command::Answer { link, kind, offer, is_stranger: false });
    let answer = b.described(link).await;
    a.links.submit(Command::Accept { link, answer });
}

/// Opens a link between two peers, and waits until it is connected; the first peer offers.
pub(crate) async fn connect_kind(a: &mut Peer, b: &mut Peer, link: LinkId, kind: LinkKind) {
    negotiate(a, b, link, kind).await;
    tokio::join!(a.connected(link), b.connected(link));
}

pub(crate) async fn connect(a: &mut Peer, b: &mut Peer, link: LinkId) {
    connect_kind(a, b, link, LinkKind::Peer).await;
}
