//! The relay over this crate.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Instant;

use bytes::Bytes;
use plenary_proto::StreamId;
use plenary_proto::identity::PacketIdentity;
use plenary_proto::message::{Description, LinkKind};
use plenary_rtc::*;

use crate::host::Host;
use crate::{Counts, FRAME_INTERVAL, PAYLOAD_LEN, Running};

/// Counts packets and forwards them to all children.
#[derive(Default)]
struct Relay {
    links: OnceLock<Weak<Links>>,
    children: Mutex<Destinations>,
    packets: AtomicU64,
}

impl PacketSink for Relay {
    fn packet(&self, _: LinkId, _: u8, packet: MediaPacket, _: u64) {
        self.packets.fetch_add(1, Ordering::Relaxed);
        let to = self.children.lock().unwrap().clone();
        if let Some(links) = self.links.get().and_then(Weak::upgrade)
            && !to.is_empty()
        {
            links.submit(Command::Forward { to, packet });
        }
    }
    fn keyframe_wanted(&self, _: LinkId, _: u8) {}
}

struct Peer {
    host: Host,
    links: Arc<Links>,
    events: Events,
    sink: Arc<Relay>,
}

impl Peer {
    async fn new(name: &str) -> Peer {
        let host = Host::new(name);
        let sink = Arc::new(Relay::default());
        let given = sink.clone();
        let (links, events) = host
            .run(async move {
                let bind = vec![std::net::Ipv4Addr::LOCALHOST.into()];
                Links::new(LinksConfig { bind, epoch: Instant::now(), ..LinksConfig::default() }, given)
                    .unwrap()
            })
            .await;
        let links = Arc::new(links);
        sink.links.set(Arc::downgrade(&links)).unwrap();
        Peer { host, links, events, sink }
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

pub(crate) async fn start(children: usize, packets_per_frame: usize) -> Running {
    let (mut source, mut relay, mut leaves) =
        (Peer::new("source").await, Peer::new("relay").await, Peer::new("leaves").await);
    connect(&mut source, &mut relay, LinkId(0)).await;
    for link in (1..=children as u64).map(LinkId) {
        connect(&mut relay, &mut leaves, link).await;
        relay.sink.children.lock().unwrap().push((link, 0));
    }
    let links = source.links.clone();
    source.host.runtime.spawn(async move {
        let mut frames = tokio::time::interval(FRAME_INTERVAL);
        let payload = Bytes::from(vec![0x41; PAYLOAD_LEN]);
        for frame in 0_u64.. {
            frames.tick().await;
            for index in 1..=packets_per_frame as u64 {
                let number = frame * packets_per_frame as u64 + index;
                let packet = MediaPacket {
                    identity: PacketIdentity { stream: StreamId([1; 8]), number },
                    timestamp: frame as u32 * 3_600,
                    marker: index == packets_per_frame as u64,
                    key_start: false,
                    audio_level: None,
                    contributors: Default::default(),
                    payload: payload.clone(),
                };
                links.submit(Command::Forward { to: Destinations::from_iter([(LinkId(0), 0)]), packet });
            }
        }
    });
    let (at_relay, at_leaves) = (relay.sink.clone(), leaves.sink.clone());
    let keep = (relay.links, leaves.links);
    let counts = move || {
        let _ = &keep;
        Counts {
            from_source: at_relay.packets.load(Ordering::Relaxed),
            to_leaves: at_leaves.packets.load(Ordering::Relaxed),
        }
    };
    Running { relay: relay.host, leaves: leaves.host, _source: source.host, counts: Box::new(counts) }
}
