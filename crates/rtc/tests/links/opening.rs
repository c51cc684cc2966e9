//! Opening of links, successful and failed.

use std::time::Duration;

use plenary_proto::bounded::{List, Text};
use plenary_proto::message::{Candidate, Description, LinkKind, PayloadTypes, Setup};
use plenary_rtc::*;
use tokio::time::sleep;

use crate::support::*;

const LINK: LinkId = LinkId(1);

#[tokio::test]
async fn both_ends_hear_that_a_link_stands_and_that_it_was_closed() {
    let (mut a, mut b) = (Peer::new(), Peer::new());
    connect(&mut a, &mut b, LINK).await;
    let stats = a.links.stats(LINK).unwrap();
    assert!(stats.udp_bytes_sent > 0 && stats.udp_bytes_received > 0 && stats.rtt_us.is_some(), "{stats:?}");
    assert!(stats.remote.is_some_and(|remote| remote.is_loopback()), "{stats:?}");
    a.links.submit(Command::Close { link: LINK });
    assert_eq!(a.down(LINK).await, DownReason::Closed);
    assert_eq!(b.down(LINK).await, DownReason::ClosedByPeer);
    assert_eq!(a.links.stats(LINK), None);
}

#[tokio::test]
async fn links_stand_on_whatever_addresses_there_are() {
    let ip = |text: &str| text.parse().unwrap();
    let rows = [vec![], vec![ip("127.0.0.1"), ip("127.0.0.2")], vec![ip("::1")]];
    for bind in rows {
        if bind == [ip("::1")] && std::net::UdpSocket::bind("[::1]:0").is_err() {
            continue;
        }
        let config = LinksConfig { bind: bind.clone(), ..on_loopback() };
        let (mut a, mut b) = (Peer::with(config.clone()), Peer::with(config));
        connect(&mut a, &mut b, LINK).await;
        for number in 1..=3 {
            a.forward(LINK, 0, packet(number));
            assert_eq!(b.packet().await, (0, packet(number)), "{bind:?}");
        }
    }
}

#[tokio::test]
async fn an_answer_may_take_its_time() {
    let (mut a, mut b) = (Peer::new(), Peer::new());
    a.links.submit(Command::Offer { link: LINK, kind: LinkKind::Peer, is_stranger: false });
    let offer = a.described(LINK).await;
    b.links.submit(Command::Answer { link: LINK, kind: LinkKind::Peer, offer, is_stranger: false });
    let answer = b.described(LINK).await;
    // meanwhile the answering end's checks are not answered
    sleep(Duration::from_secs(2)).await;
    a.links.submit(Command::Accept { link: LINK, answer: answer.clone() });
    tokio::join!(a.connected(LINK), b.connected(LINK));
    // a repeated answer is ignored, and so is an answer at the answering end
    a.links.submit(Command::Accept { link: LINK, answer: answer.clone() });
    b.links.submit(Command::Accept { link: LINK, answer });
    a.send(LINK, Channel::Control, "still here");
    assert_eq!(b.received().await.2, "still here");
    assert!(a.events.try_next().is_none());
}

#[tokio::test]
async fn links_of_one_peer_share_the_certificate_and_nothing_else() {
    let mut a = Peer::new();
    let mut seen: Vec<Description> = Vec::new();
    for link in [LinkId(1), LinkId(2)] {
        a.links.submit(Command::Offer { link, kind: LinkKind::Trunk(0), is_stranger: false });
        seen.push(a.described(link).await);
    }
    let [first, second] = &seen[..] else { panic!() };
    assert_eq!(first.fingerprint, second.fingerprint);
    assert_ne!(first.ufrag, second.ufrag);
    assert_eq!((first.setup, first.payload_types), (Setup::ActPass, None));
    let [Candidate::Host(address)] = &first.candidates[..] else { panic!("{first:?}") };
    assert!(address.ip() == LOOPBACK && address.port() > 0, "{address}");
}

#[tokio::test]
async fn descriptions_that_cannot_be_used_take_the_link_down() {
    let mut a = Peer::new();
    a.links.submit(Command::Offer { link: LINK, kind: LinkKind::Peer, is_stranger: false });
    let good = a.described(LINK).await;
    let at = |address: &str| List::truncated([Candidate::Host(address.parse().unwrap())]);
    let types = |h264, opus| Some(PayloadTypes { h264, opus });
    let with = |change: &dyn Fn(&mut Description)| {
        let mut description = good.clone();
        change(&mut description);
        description
    };
    let rows: [(&str, Description); 13] = [
        ("no fragment", with(&|d| d.ufrag = Text::truncated(""))),
        ("a short fragment", with(&|d| d.ufrag = Text::truncated("abc"))),
        ("a line break in it", with(&|d| d.ufrag = Text::truncated("abc\r\na=x"))),
        ("a short password", with(&|d| d.pwd = Text::truncated("abcdefghijklmnopqrstu"))),
        ("a space in it", with(&|d| d.pwd = Text::truncated("abcdefghijkl mnopqrstuvwxyz"))),
        ("an offer that has chosen", with(&|d| d.setup = Setup::Active)),
        ("no candidates", with(&|d| d.candidates = List::new())),
        ("port zero", with(&|d| d.candidates = at("[::1]:0"))),
        ("nobody's address", with(&|d| d.candidates = at("0.0.0.0:9"))),
        ("everybody's address", with(&|d| d.candidates = at("224.0.0.251:5353"))),
        ("one type for both", with(&|d| d.payload_types = types(102, 102))),
        ("a static type", with(&|d| d.payload_types = types(0, 111))),
        ("a type of RTCP", with(&|d| d.payload_types = types(72, 111))),
    ];
    let mut b = Peer::new();
    for (link, (name, offer)) in (1..).map(LinkId).zip(rows) {
        b.links.submit(Command::Answer { link, kind: LinkKind::Peer, offer, is_stranger: false });
        let reason = b.down(link).await;
        assert!(matches!(reason, DownReason::Description(_)), "{name}: {reason}");
    }
    // the same for an answer
    a.links.submit(Command::Accept { link: LINK, answer: good });
    assert_eq!(a.down(LINK).await, DownReason::Description(DescriptionError::Setup(Setup::ActPass)));
}

#[tokio::test]
async fn the_answering_end_takes_the_payload_types_offered() {
    let (mut a, mut b) = (Peer::new(), Peer::new());
    a.links.submit(Command::Offer { link: LINK, kind: LinkKind::Peer, is_stranger: false });
    let mut offer = a.described(LINK).await;
    offer.payload_types = Some(PayloadTypes { h264: 96, opus: 63 });
    b.links.submit(Command::Answer {
        link: LINK,
        kind: LinkKind::Peer,
        offer: offer.clone(),
        is_stranger: false,
    });
    let answer = b.described(LINK).await;
    assert_eq!(answer.payload_types, offer.payload_types);
    // an answer must not change them
    a.links.submit(Command::Accept { link: LINK, answer });
    let reason = a.down(LINK).await;
    assert!(matches!(reason, DownReason::Description(DescriptionError::PayloadTypes(_))), "{reason}");
}

#[tokio::test]
async fn a_certificate_that_is_not_the_described_one_makes_no_link() {
    let (mut a, mut b) = (Peer::new(), Peer::new());
    a.links.submit(Command::Offer { link: LINK, kind: LinkKind::Peer, is_stranger: false });
    let mut offer = a.described(LINK).await;
    offer.fingerprint[0] ^= 1;
    b.links.submit(Command::Answer { link: LINK, kind: LinkKind::Peer, offer, is_stranger: false });
    let answer = b.described(LINK).await;
    a.links.submit(Command::Accept { link: LINK, answer });
    let refused = b
        .until(|event| match event {
            Event::Down { reason, .. } => Some(reason),
            Event::Connected { .. } => panic!("connected to an impostor"),
            _ => None,
        })
        .await;
    assert_eq!(refused, DownReason::Lost);
}

#[tokio::test]
async fn an_end_that_is_nowhere_is_given_up() {
    let (mut a, mut b) = (Peer::new(), Peer::new());
    a.links.submit(Command::Offer { link: LINK, kind: LinkKind::Peer, is_stranger: false });
    let mut offer = a.described(LINK).await;
    // TEST-NET-1 (RFC 5737)
    offer.candidates = List::truncated([Candidate::Host("192.0.2.1:9".parse().unwrap())]);
    b.links.submit(Command::Answer { link: LINK, kind: LinkKind::Peer, offer, is_stranger: false });
    assert_eq!(b.down(LINK).await, DownReason::Lost);
}

#[tokio::test]
async fn when_ports_run_out_a_link_says_so_and_a_closed_one_gives_its_port_back() {
    let free = std::net::UdpSocket::bind((LOOPBACK, 0)).unwrap().local_addr().unwrap().port();
    let mut a = Peer::with(LinksConfig { udp_ports: Some(free..=free), ..on_loopback() });
    let offer = |link| Command::Offer { link, kind: LinkKind::Peer, is_stranger: false };
    a.links.submit(offer(LinkId(1)));
    let description = a.described(LinkId(1)).await;
    assert!(matches!(&description.candidates[..], [Candidate::Host(address)] if address.port() == free));
    a.links.submit(offer(LinkId(2)));
    assert_eq!(a.down(LinkId(2)).await, DownReason::NoPort);
    a.links.submit(Command::Close { link: LinkId(1) });
    assert_eq!(a.down(LinkId(1)).await, DownReason::Closed);
    a.links.submit(offer(LinkId(3)));
    a.described(LinkId(3)).await;
}

#[tokio::test]
async fn links_are_bounded_and_numbers_are_used_once() {
    let mut a = Peer::with(LinksConfig { links_max: 2, ..on_loopback() });
    for link in [1, 2, 2, 3].map(LinkId) {
        a.links.submit(Command::Offer { link, kind: LinkKind::Peer, is_stranger: false });
    }
    assert_eq!(a.down(LinkId(3)).await, DownReason::TooMany);
    a.links.submit(Command::Close { link: LinkId(2) });
    assert_eq!(a.down(LinkId(2)).await, DownReason::Closed);
    a.links.submit(Command::Offer { link: LinkId(4), kind: LinkKind::Peer, is_stranger: false });
    a.described(LinkId(4)).await;
}

#[tokio::test]
async fn commands_for_links_that_are_not_known_do_nothing() {
    let (mut a, mut b) = (Peer::new(), Peer::new());
    connect(&mut a, &mut b, LINK).await;
    let nobody = LinkId(99);
    let to = Destinations::from_iter([(nobody, 0), (LINK, 0), (LINK, 6), (LINK, 255)]);
    let report = SenderReport { ntp_time: 1, rtp_time: 1 };
    for command in [
        Command::Forward { to: to.clone(), packet: packet(1) },
        Command::SenderReport { to, report },
        Command::KeyframeWanted { link: nobody, slot: 0 },
        Command::KeyframeWanted { link: LINK, slot: 200 },
        Command::Send { link: nobody, channel: Channel::Control, bytes: vec![1].into() },
        Command::Train { link: nobody, train: 1, bytes: 1_000, rate_bps: 0 },
        Command::Close { link: nobody },
    ] {
        a.links.submit(command);
    }
    assert_eq!(a.links.bulk_room(nobody), 0);
    assert_eq!(b.packet().await, (0, packet(1)), "the one that is known gets it");
}

#[tokio::test]
async fn closing_all_tells_each_end_and_opens_nothing_more() {
    let (mut a, mut b) = (Peer::new(), Peer::new());
    connect(&mut a, &mut b, LinkId(1)).await;
    connect(&mut a, &mut b, LinkId(2)).await;
    a.links.close().await;
    assert_eq!(a.down(LinkId(1)).await, DownReason::Closed);
    for link in [1, 2].map(LinkId) {
        assert_eq!(b.down(link).await, DownReason::ClosedByPeer);
    }
    a.links.submit(Command::Offer { link: LinkId(3), kind: LinkKind::Peer, is_stranger: false });
    assert_eq!(a.down(LinkId(2)).await, DownReason::Closed);
    assert!(a.events.next().await.is_none(), "that was all, for ever");
}
