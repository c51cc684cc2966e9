//! Links between two peers that reach a third one alone, which carries their datagrams.

use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use plenary_proto::app::Way;
use plenary_proto::message::LinkKind;
use plenary_proto::{PeerId, TunnelCommand};
use plenary_rtc::*;
use tokio::time::{sleep, timeout};

use crate::relayed::{talk, way};
use crate::support::*;

/// The link that is carried.
pub(crate) const CARRIED: LinkId = LinkId(100);
const LINK: LinkId = CARRIED;
const CHANNEL: u16 = 700;

/// A carrier that has one port for all links, by which the others' firewalls know it.
pub(crate) struct Carrier {
    peer: Peer,
    pub(crate) shaper: Shaper,
    address: SocketAddr,
    /// Links with both ends, numbered alike at carrier and end.
    links: [LinkId; 2],
}

impl Carrier {
    pub(crate) fn new(first: u64, config: LinksConfig) -> Carrier {
        let address = UdpSocket::bind((LOOPBACK, 0)).unwrap().local_addr().unwrap();
        let shaper = Shaper::default();
        let config = LinksConfig { udp_port: Some(address.port()), shaper: shaper.clone(), ..config };
        let links = [LinkId(first), LinkId(first + 1)];
        Carrier { peer: Peer::with(config), shaper, address, links }
    }

    /// Links with both ends.
    async fn meets(&mut self, [a, b]: [&mut Peer; 2]) {
        connect(a, &mut self.peer, self.links[0]).await;
        connect(b, &mut self.peer, self.links[1]).await;
    }

    /// Carries the link between both ends.
    pub(crate) fn carries(&self, [a, b]: [&Peer; 2]) {
        let tunnel = |peer: &Peer, command| peer.links.submit(Command::Tunnel(command));
        tunnel(&self.peer, TunnelCommand::Carry { channel: CHANNEL, between: self.links });
        for (end, carrier) in [a, b].into_iter().zip(self.links) {
            tunnel(end, TunnelCommand::Open { link: LINK, carrier, channel: CHANNEL });
        }
    }
}

/// A peer whose firewall lets datagrams to these carriers through alone.
fn behind_firewall(carriers: &[&Carrier]) -> (Peer, Shaper) {
    let shaper = Shaper::default();
    shaper.reach_only(carriers.iter().map(|carrier| carrier.address).collect());
    (Peer::shaped(&shaper), shaper)
}

/// Both ends, linked with the carriers.
async fn ends(carriers: &mut [&mut Carrier]) -> (Peer, Peer) {
    let ([a, b], _) = ends_with_firewalls(carriers).await;
    (a, b)
}

/// Both ends, linked with the carriers, and their firewalls.
pub(crate) async fn ends_with_firewalls(carriers: &mut [&mut Carrier]) -> ([Peer; 2], [Shaper; 2]) {
    let all: Vec<&Carrier> = carriers.iter().map(|carrier| &**carrier).collect();
    let [(mut a, of_a), (mut b, of_b)] = [(); 2].map(|()| behind_firewall(&all));
    for carrier in carriers {
        carrier.meets([&mut a, &mut b]).await;
    }
    ([a, b], [of_a, of_b])
}

/// Offers and answers the link.
pub(crate) async fn begin(a: &mut Peer, b: &mut Peer) {
    negotiate(a, b, LINK, LinkKind::Peer).await;
}

async fn path_wanted(peer: &mut Peer) {
    let wanted = |event| matches!(event, Event::PathWanted { link: LINK }).then_some(());
    peer.until(wanted).await;
}

/// Waits until the link is up at both ends, by a tunnel.
pub(crate) async fn carried(a: &mut Peer, b: &mut Peer) {
    for peer in [a, b] {
        let mut is_carried = false;
        peer.until(|event| match event {
            Event::Carried { link: LINK, is_carried: true } => {
                is_carried = true;
                None
            }
            Event::Connected { link: LINK, .. } => Some(()),
            Event::Down { link, reason } => panic!("{link}: {reason}"),
            _ => None,
        })
        .await;
        assert!(is_carried);
    }
}

#[tokio::test]
async fn two_peers_that_reach_a_third_alone_are_linked_through_it() {
    let mut carrier = Carrier::new(1, on_loopback());
    let (mut a, mut b) = ends(&mut [&mut carrier]).await;
    let begun = Instant::now();
    begin(&mut a, &mut b).await;
    path_wanted(&mut a).await;
    carrier.carries([&a, &b]);
    carried(&mut a, &mut b).await;
    println!("carried after {:?}", begun.elapsed());
    talk(&mut a, &mut b, LINK).await;
    assert_eq!([way(&a, LINK), way(&b, LINK)], [Way::Carried; 2]);
    assert_eq!(way(&a, carrier.links[0]), Way::Direct);
    sleep(Duration::from_millis(1_200)).await; // the next check measures the round trip
    let stats = a.links.stats(LINK).unwrap();
    assert!(stats.rtt_us.is_some() && stats.remote.is_none(), "{stats:?}");
    assert_eq!(a.links.look_at_addresses(), AddressChange::default(), "no address of this machine is missed");
    let figures = carrier.peer.links.carried();
    assert!(figures.tunnels == 1 && figures.bytes > 120_000 && figures.dropped_bytes == 0, "{figures:?}");
    carrier.peer.links.submit(Command::Tunnel(TunnelCommand::Uncarry { channel: CHANNEL }));
    assert_eq!(a.down(LINK).await, DownReason::Lost);
}

#[tokio::test]
async fn the_second_carrier_goes_on_where_the_first_one_died() {
    let (mut one, mut other) = (Carrier::new(1, on_loopback()), Carrier::new(3, on_loopback()));
    let (mut a, mut b) = ends(&mut [&mut one, &mut other]).await;
    begin(&mut a, &mut b).await;
    [&one, &other].iter().for_each(|carrier| carrier.carries([&a, &b]));
    carried(&mut a, &mut b).await;
    talk(&mut a, &mut b, LINK).await;
    let in_use = |carrier: &Carrier| carrier.peer.links.carried().bytes;
    let first = if in_use(&one) >= in_use(&other) { &one } else { &other };
    first.shaper.kill();
    let (mut last, mut longest) = (Instant::now(), Duration::ZERO);
    for number in 1..=600 {
        a.forward(LINK, 0, MediaPacket { key_start: true, ..packet(number) });
        sleep(Duration::from_millis(5)).await;
        while let Ok(Arrived::Packet { .. }) = b.arrived.try_recv() {
            longest = longest.max(last.elapsed());
            last = Instant::now();
        }
    }
    println!("longest gap {longest:?}");
    assert!(last.elapsed() < Duration::from_secs(1) && longest < Duration::from_secs(2), "{longest:?}");
    assert_eq!(way(&a, LINK), Way::Carried);
}

/// Hands datagrams to the other end's links, as a rendezvous does.
struct Post(PeerId, Arc<Mutex<Option<Arc<Links>>>>);

impl Courier for Post {
    fn carry(&self, _: PeerId, datagrams: Vec<Bytes>) {
        if let Some(links) = &*self.1.lock().unwrap() {
            datagrams.iter().for_each(|datagram| links.came_by_rendezvous(LINK, self.0, datagram));
        }
    }
}

#[tokio::test]
async fn where_nobody_is_reached_the_rendezvous_carries_a_link() {
    let nobody = UdpSocket::bind((LOOPBACK, 0)).unwrap().local_addr().unwrap();
    let mut peers = [0; 2].map(|_| {
        let shaper = Shaper::default();
        shaper.reach_only(vec![nobody]);
        Peer::shaped(&shaper)
    });
    let ids = [PeerId([1; 32]), PeerId([2; 32])];
    let [a, b] = &mut peers;
    let inboxes = [0; 2].map(|_| Arc::new(Mutex::new(None)));
    a.links.set_courier(Some(Arc::new(Post(ids[0], inboxes[1].clone()))));
    b.links.set_courier(Some(Arc::new(Post(ids[1], inboxes[0].clone()))));
    for (inbox, peer) in inboxes.iter().zip([&*a, &*b]) {
        *inbox.lock().unwrap() = Some(peer.links.clone());
    }
    begin(a, b).await;
    path_wanted(a).await;
    let command = TunnelCommand::OpenByRendezvous { link: LINK, peer: ids[1] };
    a.links.submit(Command::Tunnel(command));
    carried(a, b).await;
    talk(a, b, LINK).await;
    assert_eq!([way(a, LINK), way(b, LINK)], [Way::Websocket; 2]);
    inboxes.iter().for_each(|inbox| *inbox.lock().unwrap() = None);
}

#[tokio::test]
async fn a_peer_that_closes_everything_says_so_through_its_tunnels_first() {
    let mut carrier = Carrier::new(1, on_loopback());
    let (mut a, mut b) = ends(&mut [&mut carrier]).await;
    begin(&mut a, &mut b).await;
    carrier.carries([&a, &b]);
    carried(&mut a, &mut b).await;
    let (closed, down) = tokio::join!(timeout(PATIENCE, a.links.close()), b.down(LINK));
    closed.expect("closing hangs");
    assert_eq!(down, DownReason::ClosedByPeer);
}

#[tokio::test]
async fn a_carrier_takes_four_megabits_a_second_from_an_end_and_no_more() {
    let mut carrier = Carrier::new(1, on_loopback());
    let (mut a, mut b) = ends(&mut [&mut carrier]).await;
    begin(&mut a, &mut b).await;
    carrier.carries([&a, &b]);
    carried(&mut a, &mut b).await;
    let begun = Instant::now();
    for number in 1..=2_000 {
        let payload = Bytes::from(vec![7; 1_100]);
        a.forward(LINK, 0, MediaPacket { key_start: true, payload, ..packet(number) });
        if number % 10 == 0 {
            sleep(Duration::from_millis(5)).await;
        }
    }
    let figures = carrier.peer.links.carried();
    let most = 128 * 1_024 + 500_000 * (begun.elapsed().as_millis() as u64 + 200) / 1_000;
    assert!(figures.dropped_bytes > 500_000 && figures.bytes < most + 100_000, "{figures:?}, {most}");
    assert_eq!(way(&a, carrier.links[0]), Way::Direct, "its own link is whole");
}
