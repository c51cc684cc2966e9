//! Attackers below the channels: strangers that reach the port of a link, and the other end itself, with its keys.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use bytes::Bytes;
use plenary_proto::message::{Candidate, LinkKind};
use plenary_rtc::raw::{chain, chunk, fragments};
use plenary_rtc::*;
use tokio::time::{sleep, timeout};

use crate::support::*;

const LINK: LinkId = LinkId(1);

/// Kinds of chunks.
const DATA: u8 = 0;
const ABORT: u8 = 6;
const ERROR: u8 = 9;
const FORWARD_TSN: u8 = 192;

/// A victim's and an attacker's end of an open link, and the victim's address.
async fn linked() -> (Peer, Peer, SocketAddr) {
    let (mut attacker, mut victim) = (Peer::new(), Peer::new());
    let address = connect_to(&mut attacker, &mut victim, LINK).await;
    (victim, attacker, address)
}

/// Links two peers, of which the first offers; returns the second one's address.
async fn connect_to(offers: &mut Peer, answers: &mut Peer, link: LinkId) -> SocketAddr {
    let kind = LinkKind::Peer;
    offers.links.submit(Command::Offer { link, kind, is_stranger: false });
    let offer = offers.described(link).await;
    answers.links.submit(Command::Answer { link, kind, offer, is_stranger: false });
    let answer = answers.described(link).await;
    let address = answer.candidates.iter().find_map(Candidate::address).unwrap();
    offers.links.submit(Command::Accept { link, answer });
    tokio::join!(offers.connected(link), answers.connected(link));
    address
}

fn data(tsn: u32, stream: u16, number: u16, flags: u8, bytes: &[u8]) -> Vec<u8> {
    let header = [&tsn.to_be_bytes()[..], &stream.to_be_bytes(), &number.to_be_bytes(), &[0, 0, 0, 53]];
    chunk(DATA, flags, &[&header.concat(), bytes].concat())
}

fn chunks(make: impl FnOnce(u32) -> Vec<u8> + Send + 'static) -> Raw {
    Raw::Chunks(Box::new(make))
}

/// A message passes from one peer to the other.
async fn carries(from: &Peer, to: &mut Peer, link: LinkId) {
    from.send(link, Channel::Control, "still here");
    assert_eq!(to.received().await, (link, Channel::Control, Bytes::from_static(b"still here")));
}

/// The address of a peer's new link, from its offer or answer, is all that a stranger needs.
#[tokio::test]
async fn a_stranger_s_plain_handshake_records_leave_a_link_as_it_is() {
    let (mut victim, attacker, address) = linked().await;
    let stranger = UdpSocket::bind("127.0.0.77:0").unwrap();
    for message in 5..9 {
        for datagram in chain(message) {
            stranger.send_to(&datagram, address).unwrap();
            // the victim's task runs on this thread
            tokio::task::yield_now().await;
        }
    }
    sleep(Duration::from_millis(200)).await;
    carries(&attacker, &mut victim, LINK).await;
}

#[tokio::test]
async fn the_other_end_s_own_plain_handshake_records_leave_a_link_as_it_is() {
    let (mut victim, mut attacker, _) = linked().await;
    for _ in ["an end that answered", "an end that offered"] {
        for datagram in (5..9).flat_map(chain) {
            attacker.links.send_raw(LINK, Raw::Datagram(datagram.into()));
            tokio::task::yield_now().await;
        }
        // empty ones, of a message far ahead
        for at in 0..100 {
            let datagram = fragments((1 << 30) + at, 999, std::iter::repeat_n(0, 90), 0);
            attacker.links.send_raw(LINK, Raw::Datagram(datagram.into()));
        }
        sleep(Duration::from_millis(200)).await;
        carries(&attacker, &mut victim, LINK).await;
        carries(&victim, &mut attacker, LINK).await;
        std::mem::swap(&mut victim, &mut attacker);
    }
}

/// The time that a victim's thread spends is that which this test waits, since both share one thread.
#[tokio::test]
async fn a_forward_tsn_that_leaps_ends_the_link_at_once() {
    let (mut victim, attacker, _) = linked().await;
    let begun = Instant::now();
    attacker
        .links
        .send_raw(LINK, chunks(|tsn| chunk(FORWARD_TSN, 0, &tsn.wrapping_add(0x7fff_fff0).to_be_bytes())));
    let reason = victim.down(LINK).await;
    assert!(matches!(reason, DownReason::Hostile(_)), "{reason}");
    // counting two billion numbers takes seconds
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn malformed_chunks_end_their_own_link_and_free_its_place() {
    type Make = fn(u32) -> Vec<u8>;
    let attacks: [(&str, Make); 7] = [
        ("a cause beyond an ERROR", |_| chunk(ERROR, 0, &[0, 1, 0xff, 0xff])),
        ("a cause beyond an ABORT", |_| chunk(ABORT, 0, &[0, 1, 0xff, 0xff])),
        ("a stream that is no channel", |tsn| data(tsn, 9, 0, 3, b"x")),
        ("no content", |tsn| data(tsn, 0, 0, 3, b"")),
        ("messages mixed up", |tsn| {
            [data(tsn, 0, 0, 2, b"x"), data(tsn.wrapping_add(1), 0, 1, 3, b"x")].concat()
        }),
        ("a chunk beyond its packet", |_| vec![DATA, 3, 1, 0]),
        ("endless fragments", |tsn| {
            let flags = |at| if at == 0 { 2 } else { 0 };
            (0..50).flat_map(|at| data(tsn.wrapping_add(at), 0, 0, flags(at), b"x")).collect()
        }),
    ];
    let mut victim = Peer::with(LinksConfig { links_max: 2, ..on_loopback() });
    let mut attackers = Vec::new();
    for (link, (name, make)) in (1..).map(LinkId).zip(attacks) {
        let mut attacker = Peer::new();
        connect_to(&mut attacker, &mut victim, link).await;
        if name == "endless fragments" {
            // in packets of fifty, until there are too many
            for packet in 0..6_u32 {
                let fifty = move |tsn: u32| -> Vec<u8> {
                    let first = packet * 50;
                    let flags = |at| if at == 0 { 2 } else { 0 };
                    let one = |at: u32| data(tsn.wrapping_add(at), 0, 0, flags(at), b"x");
                    (first..first + 50).flat_map(one).collect()
                };
                attacker.links.send_raw(link, chunks(fifty));
            }
        } else {
            attacker.links.send_raw(link, chunks(make));
        }
        let reason = victim.down(link).await;
        assert!(matches!(reason, DownReason::Hostile(_)), "{name}: {reason}");
        assert_eq!(victim.links.stats(link), None, "{name}: its place is free");
        attackers.push(attacker);
    }
}

/// What the stack does with numbers far ahead, or with odd chunks, isn't reached; honest messages still pass.
#[tokio::test]
async fn odd_chunks_are_dropped_and_messages_pass_on() {
    let (mut victim, attacker, _) = linked().await;
    attacker.links.send_raw(LINK, chunks(|tsn| data(tsn.wrapping_add(65_534), 1, 9, 3, b"x")));
    attacker.links.send_raw(LINK, chunks(|tsn| data(tsn.wrapping_add(65_540), 1, 10, 3, b"x")));
    attacker
        .links
        .send_raw(LINK, chunks(|_| chunk(130, 0, &[0, 13, 0, 16, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1])));
    attacker.links.send_raw(LINK, chunks(|_| chunk(255, 0, &[0; 900])));
    attacker.links.send_raw(LINK, chunks(|_| chunk(3, 0, &[[0xff; 8].as_slice(), &[0; 4]].concat())));
    sleep(Duration::from_millis(50)).await;
    carries(&attacker, &mut victim, LINK).await;
}

/// A panic below a link, whatever its cause, is its end: the event comes, and its place is free.
#[tokio::test]
async fn a_link_whose_task_panics_is_down_and_its_place_is_free() {
    let mut victim = Peer::with(LinksConfig { links_max: 1, ..on_loopback() });
    for link in (1..4).map(LinkId) {
        let mut other = Peer::new();
        connect_to(&mut other, &mut victim, link).await;
        // a closure that fails runs on the link's task
        victim.links.send_raw(link, chunks(|_| panic!("on purpose")));
        assert_eq!(victim.down(link).await, DownReason::Panicked);
        assert_eq!(victim.links.stats(link), None);
    }
    timeout(PATIENCE, victim.links.close()).await.expect("nothing is left");
}
