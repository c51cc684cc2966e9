//! Bad networks: loss, delay, rate limits, outages, and killed peers.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use plenary_proto::bounded::List;
use plenary_proto::message::{Candidate, Description, LinkKind};
use plenary_rtc::*;
use tokio::net::UdpSocket;
use tokio::time::{sleep, timeout};

use crate::support::*;

const LINK: LinkId = LinkId(1);

async fn shaped_pair(shape: Shape) -> (Peer, Peer, Shaper) {
    let shaper = Shaper::new(7);
    let (mut a, mut b) = (Peer::shaped(&shaper), Peer::shaped(&shaper));
    connect(&mut a, &mut b, LINK).await;
    shaper.set(shape);
    (a, b, shaper)
}

#[tokio::test]
async fn losses_are_repaired_and_nothing_comes_twice() {
    const PACKETS: u64 = 2_000;
    let shape = Shape { loss_ppm: 20_000, delay_us: 5_000, rate_bps: 0 };
    let (a, mut b, _) = shaped_pair(shape).await;
    let sender = tokio::spawn(async move {
        for number in 1..=PACKETS {
            a.forward(LINK, 2, packet(number));
            if number % 10 == 0 {
                sleep(Duration::from_millis(2)).await;
            }
        }
        a
    });
    let mut got = BTreeSet::new();
    let mut overtaken = 0;
    // the last packets may be lost without a later packet that reveals the loss
    while got.len() < PACKETS as usize {
        let Ok(Some(arrived)) = timeout(Duration::from_secs(2), b.arrived.recv()).await else { break };
        let Arrived::Packet { packet, .. } = arrived else { continue };
        overtaken += u64::from(got.last().is_some_and(|&newest| newest > packet.identity.number));
        assert!(got.insert(packet.identity.number), "{} came twice", packet.identity.number);
    }
    let a = sender.await.unwrap();
    assert!(got.len() as u64 * 1_000 >= PACKETS * 995, "{} of {PACKETS}", got.len());
    assert!(overtaken > 10, "2 % were lost, and came late: {overtaken}");
    let (sent, got) = (a.links.stats(LINK).unwrap(), b.links.stats(LINK).unwrap());
    assert_eq!(sent.packets_sent, PACKETS);
    assert!(sent.repairs_sent > 10 && got.repairs_requested >= sent.repairs_sent, "{sent:?} {got:?}");
}

#[tokio::test]
async fn delay_keeps_order() {
    let shape = Shape { delay_us: 30_000, ..Shape::default() };
    let (a, mut b, shaper) = shaped_pair(shape).await;
    let mut sent_at = Vec::new();
    for number in 1..=200 {
        sent_at.push(tokio::time::Instant::now());
        a.forward(LINK, 0, packet(number));
        if number == 150 {
            // packets from here on must not overtake the delayed ones
            shaper.set(Shape::default());
        }
        if number % 20 == 0 {
            sleep(Duration::from_millis(1)).await;
        }
    }
    for number in 1..=200 {
        assert_eq!(b.packet().await.1.identity.number, number);
        if number == 100 {
            assert!(sent_at[99].elapsed() >= Duration::from_millis(30));
        }
    }
}

#[tokio::test]
async fn what_is_lost_last_on_control_comes_again_before_the_stack_repeats_it() {
    let (mut a, mut b, shaper) = shaped_pair(Shape::default()).await;
    let unprobed = LinkId(2);
    connect(&mut a, &mut b, unprobed).await;
    // no datagram gets through while both messages are sent
    shaper.set(Shape { loss_ppm: 1_000_000, ..Shape::default() });
    a.send(unprobed, Channel::Bulk, &b"bulk"[..]);
    a.send(LINK, Channel::Control, &b"control"[..]);
    sleep(Duration::from_millis(15)).await;
    shaper.set(Shape { delay_us: 30_000, ..Shape::default() });
    let (first, second) = (b.received().await, b.received().await);
    assert_eq!((first.1, second.1), (Channel::Control, Channel::Bulk));
}

#[tokio::test]
async fn messages_on_a_lossy_link_arrive_once_and_in_order() {
    const MESSAGES: u8 = 60;
    let shape = Shape { loss_ppm: 50_000, delay_us: 15_000, rate_bps: 0 };
    let (a, mut b, _) = shaped_pair(shape).await;
    let mut took = Vec::new();
    for number in 0..MESSAGES {
        let sent = std::time::Instant::now();
        a.send(LINK, Channel::Control, vec![number; 100]);
        let (_, channel, bytes) = b.received().await;
        assert_eq!((channel, bytes.as_ref()), (Channel::Control, &[number; 100][..]));
        took.push(sent.elapsed().as_millis());
    }
    took.sort_unstable();
    let at = |percent: usize| took[took.len() * percent / 100];
    println!("arrived after p50 {} ms, p90 {} ms, p95 {} ms, most {} ms", at(50), at(90), at(95), at(99));
}

#[tokio::test]
async fn a_killed_peer_is_down_for_all_and_stalls_nobody() {
    let shaper = Shaper::new(1);
    let (mut relay, mut dead, mut alive) = (Peer::new(), Peer::shaped(&shaper), Peer::new());
    let (to_dead, to_alive) = (LinkId(1), LinkId(2));
    connect(&mut relay, &mut dead, to_dead).await;
    connect(&mut relay, &mut alive, to_alive).await;
    shaper.kill();
    let bytes_sent = shaper.bytes_sent();
    dead.forward(to_dead, 0, packet(1));
    dead.send(to_dead, Channel::Control, "unheard");
    for number in 1..=1_000 {
        let to = Destinations::from_iter([(to_dead, 0), (to_alive, 0)]);
        relay.links.submit(Command::Forward { to, packet: packet(number) });
        assert_eq!(alive.packet().await, (0, packet(number)), "not one is late for the dead one's sake");
    }
    let (at_relay, at_dead) = tokio::join!(relay.down(to_dead), dead.down(to_dead));
    assert_eq!((at_relay, at_dead), (DownReason::Lost, DownReason::Lost));
    assert!(dead.arrived.try_recv().is_err(), "the dead hear nothing");
    assert!(relay.arrived.try_recv().is_err(), "and say nothing");
    assert_eq!(shaper.bytes_sent(), bytes_sent);
    assert!(relay.links.stats(to_alive).is_some());
}

#[tokio::test]
async fn a_link_that_is_not_connected_yet_delays_nobody() {
    let (mut relay, mut child) = (Peer::new(), Peer::new());
    let (coming, here) = (LinkId(1), LinkId(2));
    relay.links.submit(Command::Offer { link: coming, kind: LinkKind::Peer, is_stranger: false });
    relay.described(coming).await;
    connect(&mut relay, &mut child, here).await;
    for number in 1..=1_000 {
        let to = Destinations::from_iter([(coming, 0), (here, 0)]);
        relay.links.submit(Command::Forward { to, packet: packet(number) });
        assert_eq!(child.packet().await, (0, packet(number)));
    }
    assert_eq!(relay.links.stats(coming).unwrap().packets_dropped, 1_000);
}

#[tokio::test]
async fn a_short_outage_passes_by_itself() {
    let (a, mut b, shaper) = shaped_pair(Shape { loss_ppm: 1_000_000, ..Shape::default() }).await;
    a.forward(LINK, 0, packet(1));
    a.send(LINK, Channel::Control, "held");
    // long enough for the stack to report the connection as disconnected, too short for it to fail
    sleep(Duration::from_millis(2_800)).await;
    assert!(b.arrived.try_recv().is_err());
    shaper.set(Shape::default());
    a.forward(LINK, 0, packet(2));
    let (_, first) = b.packet().await;
    let (_, second) = b.packet().await;
    let numbers = BTreeSet::from([first.identity.number, second.identity.number]);
    assert_eq!(numbers, BTreeSet::from([1, 2]), "also what was lost meanwhile");
    assert_eq!(b.received().await.2, "held");
}

/// Forwards every datagram that arrives at `from` twice to the other end, once its address is known.
async fn echo(from: Arc<UdpSocket>, by: Arc<UdpSocket>, to: Arc<OnceLock<SocketAddr>>) {
    let mut datagram = [0; 65_536];
    while let Ok((len, _)) = from.recv_from(&mut datagram).await {
        for _ in ["once", "twice"] {
            if let Some(to) = to.get() {
                by.send_to(&datagram[..len], to).await.unwrap();
            }
        }
    }
}

#[tokio::test]
async fn what_the_network_repeats_is_heard_once() {
    let (mut a, mut b) = (Peer::new(), Peer::new());
    let address = |description: &Description| description.candidates[0].address().unwrap();
    // each end's description names the address of the echo in place of the other end
    let bind = || UdpSocket::bind((LOOPBACK, 0));
    let (for_a, for_b) = (Arc::new(bind().await.unwrap()), Arc::new(bind().await.unwrap()));
    let (of_a, of_b) = (Arc::new(OnceLock::new()), Arc::new(OnceLock::new()));
    tokio::spawn(echo(for_a.clone(), for_b.clone(), of_b.clone()));
    tokio::spawn(echo(for_b.clone(), for_a.clone(), of_a.clone()));
    let at = |echo: &UdpSocket| List::truncated([Candidate::Host(echo.local_addr().unwrap())]);

    let kind = LinkKind::Peer;
    a.links.submit(Command::Offer { link: LINK, kind, is_stranger: false });
    let offer = a.described(LINK).await;
    of_a.set(address(&offer)).unwrap();
    let offer = Description { candidates: at(&for_b), ..offer };
    b.links.submit(Command::Answer { link: LINK, kind, offer, is_stranger: false });
    let answer = b.described(LINK).await;
    of_b.set(address(&answer)).unwrap();
    let answer = Description { candidates: at(&for_a), ..answer };
    a.links.submit(Command::Accept { link: LINK, answer });
    tokio::join!(a.connected(LINK), b.connected(LINK));

    for number in 1..=200_u64 {
        a.forward(LINK, 0, packet(number));
        a.send(LINK, Channel::Control, number.to_be_bytes().to_vec());
        assert_eq!(b.packet().await, (0, packet(number)));
        assert_eq!(b.received().await.2, number.to_be_bytes()[..]);
    }
    sleep(Duration::from_millis(50)).await;
    assert!(b.arrived.try_recv().is_err() && b.events.try_next().is_none());
    let (sent, got) = (a.links.stats(LINK).unwrap(), b.links.stats(LINK).unwrap());
    assert_eq!(got.packets_received, 200);
    assert!(got.udp_bytes_received * 10 > sent.udp_bytes_sent * 19, "all came twice: {sent:?} {got:?}");
}

async fn measure(a: &mut Peer, b: &mut Peer, train: u32, bytes: u32, rate_bps: u64) -> TrainArrivals {
    a.links.submit(Command::Train { link: LINK, train, bytes, rate_bps });
    b.until(|event| match event {
        Event::Measured { train: number, arrivals, .. } if number == train => Some(arrivals),
        _ => None,
    })
    .await
}

#[tokio::test]
async fn a_train_shows_the_bandwidth_of_a_narrow_path() {
    let (mut a, mut b, _) = shaped_pair(Shape { rate_bps: 20_000_000, ..Shape::default() }).await;
    let mut read = Vec::new();
    for train in 1..=5 {
        let arrivals = measure(&mut a, &mut b, train, 500_000, 0).await;
        assert!(arrivals.arrivals.len() > 300 && arrivals.packets_sent == 455, "{}", arrivals.arrivals.len());
        // the path carries 28 of the 66 overhead bytes; it counts the RTP part as payload
        let bandwidth_bps = arrivals.bandwidth_bps().unwrap();
        read.push(bandwidth_bps);
        if bandwidth_bps.abs_diff(20_000_000) < 1_000_000 {
            return;
        }
    }
    panic!("not once within 5 % of 20 Mbit/s: {read:?}");
}

#[tokio::test]
async fn a_train_is_nothing_to_the_slots() {
    let (mut a, mut b, _) = shaped_pair(Shape::default()).await;
    a.forward(LINK, 4, packet(1));
    let arrivals = measure(&mut a, &mut b, 1, 100_000, 16_000_000).await;
    assert_eq!(arrivals.packets_sent, 91);
    let elapsed_us = arrivals.arrivals.last().unwrap().at_us - arrivals.arrivals[0].at_us;
    assert!(elapsed_us > 40_000, "91 packets of 1100 bytes at 16 Mbit/s take 50 ms, not {elapsed_us} µs");
    a.forward(LINK, 4, packet(2));
    assert_eq!((b.packet().await.1, b.packet().await.1), (packet(1), packet(2)));
    assert_eq!(b.links.stats(LINK).unwrap().packets_received, 2);
    assert!(b.arrived.try_recv().is_err());
}

#[tokio::test]
async fn one_train_at_a_time() {
    let (mut a, mut b, _) = shaped_pair(Shape::default()).await;
    let unconnected = LinkId(9);
    a.links.submit(Command::Offer { link: unconnected, kind: LinkKind::Peer, is_stranger: false });
    a.links.submit(Command::Train { link: unconnected, train: 7, bytes: 20_000, rate_bps: 0 });
    for train in [1, 2] {
        a.links.submit(Command::Train { link: LINK, train, bytes: 20_000, rate_bps: 1_000_000 });
    }
    let mut refused = BTreeSet::new();
    while refused.len() < 2 {
        refused.insert(
            a.until(|event| match event {
                Event::TrainRefused { link, train } => Some((link, train)),
                _ => None,
            })
            .await,
        );
    }
    assert_eq!(refused, BTreeSet::from([(LINK, 2), (unconnected, 7)]));
    let measured = b.until(|event| match event {
        Event::Measured { train, .. } => Some(train),
        _ => None,
    });
    assert_eq!(measured.await, 1);
    measure(&mut a, &mut b, 3, 20_000, 0).await;
}
