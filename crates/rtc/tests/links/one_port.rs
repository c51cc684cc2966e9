//! Links that share one UDP port at an end.

use std::collections::BTreeSet;
use std::net::UdpSocket;

use plenary_proto::message::{Candidate, LinkKind};
use plenary_rtc::*;

use crate::support::*;

fn free_port() -> u16 {
    UdpSocket::bind((LOOPBACK, 0)).unwrap().local_addr().unwrap().port()
}

/// A peer with one port for all links, and that port.
fn peer() -> (Peer, u16) {
    let port = free_port();
    (Peer::with(LinksConfig { udp_port: Some(port), ..on_loopback() }), port)
}

async fn connect_as(kind: LinkKind, link: LinkId, a: &mut Peer, b: &mut Peer) -> [u16; 2] {
    let port = |candidates: &[Candidate]| candidates[0].address().unwrap().port();
    a.links.submit(Command::Offer { link, kind, is_stranger: false });
    let offer = a.described(link).await;
    let of_a = port(&offer.candidates);
    b.links.submit(Command::Answer { link, kind, offer, is_stranger: false });
    let answer = b.described(link).await;
    let of_b = port(&answer.candidates);
    a.links.submit(Command::Accept { link, answer });
    a.connected(link).await;
    b.connected(link).await;
    [of_a, of_b]
}

#[tokio::test]
async fn all_links_of_a_peer_go_by_its_one_port() {
    let (mut relay, port) = peer();
    let mut children: Vec<Peer> = (0..4).map(|_| Peer::new()).collect();
    for (link, child) in (1..).map(LinkId).zip(&mut children) {
        assert_eq!(connect_as(LinkKind::Peer, link, &mut relay, child).await[0], port);
    }
    for number in 1..=100 {
        let to = (1..=4).map(|link| (LinkId(link), 0)).collect();
        relay.links.submit(Command::Forward { to, packet: packet(number) });
    }
    for (link, child) in (1..).map(LinkId).zip(&mut children) {
        for number in 1..=100 {
            assert_eq!(child.packet().await, (0, packet(number)));
        }
        child.send(link, Channel::Bulk, vec![link.0 as u8; 40_000]);
    }
    let mut heard = BTreeSet::new();
    for _ in 0..4 {
        let (link, channel, bytes) = relay.received().await;
        assert_eq!((channel, &bytes[..]), (Channel::Bulk, &vec![link.0 as u8; 40_000][..]));
        heard.insert(link);
    }
    assert_eq!(heard.len(), 4);
    let stats = relay.links.stats(LinkId(1)).unwrap();
    assert!(stats.udp_bytes_received > 40_000 && stats.rtt_us.is_some(), "{stats:?}");
    // the port is free again
    relay.links.close().await;
    UdpSocket::bind((LOOPBACK, port)).unwrap();
}

#[tokio::test]
async fn a_second_link_of_two_peers_with_one_port_each_takes_another_one() {
    let ((mut a, of_a), (mut b, of_b)) = (peer(), peer());
    let (first, second) = (LinkId(1), LinkId(2));
    assert_eq!(connect_as(LinkKind::Peer, first, &mut a, &mut b).await, [of_a, of_b]);
    let [offering, answering] = connect_as(LinkKind::Trunk(0), second, &mut a, &mut b).await;
    assert!(offering == of_a && answering != of_b, "{offering}, {answering}");
    for link in [first, second] {
        a.send(link, Channel::Control, vec![7; 10]);
        assert_eq!(b.received().await.0, link);
        b.send(link, Channel::Control, vec![7; 10]);
        assert_eq!(a.received().await.0, link);
    }
}

#[tokio::test]
async fn a_peer_that_starts_again_at_its_port_takes_the_place_of_its_dead_link() {
    let (mut a, of_a) = peer();
    let (shaper, port) = (Shaper::default(), free_port());
    let config = LinksConfig { udp_port: Some(port), ..on_loopback() };
    let mut dying = Peer::with(LinksConfig { shaper: shaper.clone(), ..config.clone() });
    assert_eq!(connect_as(LinkKind::Peer, LinkId(1), &mut a, &mut dying).await, [of_a, port]);
    // without a good-bye
    shaper.kill();
    dying.links.close().await;
    let mut again = Peer::with(config);
    assert_eq!(connect_as(LinkKind::Peer, LinkId(2), &mut a, &mut again).await, [of_a, port]);
    a.send(LinkId(2), Channel::Control, vec![7; 10]);
    assert_eq!(again.received().await.0, LinkId(2));
    assert_eq!(a.links.stats(LinkId(1)), None, "lost at once, and not after five seconds");
}

#[tokio::test]
async fn a_port_that_is_taken_is_an_error_at_once() {
    let taken = UdpSocket::bind((LOOPBACK, 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let config = LinksConfig { udp_port: Some(port), ..on_loopback() };
    struct Nothing;
    impl PacketSink for Nothing {
        fn packet(&self, _: LinkId, _: u8, _: MediaPacket, _: u64) {}
        fn keyframe_wanted(&self, _: LinkId, _: u8) {}
    }
    let error = Links::new(config, std::sync::Arc::new(Nothing)).err().unwrap();
    assert!(matches!(error, LinkError::Port(of, _) if of == port), "{error}");
    assert!(
        error.to_string().starts_with(&format!("UDP port {port} for all links cannot be bound: ")),
        "{error}"
    );
}
