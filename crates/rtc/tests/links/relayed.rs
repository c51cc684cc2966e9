//! Links by a TURN server's relays.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use plenary_proto::app::Way;
use plenary_proto::message::{Description, LinkKind};
use plenary_rtc::*;
use tokio::time::{sleep, timeout};

use crate::support::*;
use crate::turn_server::Server;

const LINK: LinkId = LinkId(1);
/// Lifetime of allocations that no test outlives.
const LONG: Duration = Duration::from_secs(600);

/// A peer behind a firewall that lets datagrams to the server through alone, and its network.
fn behind_firewall(server: &TurnServer, config: LinksConfig) -> (Peer, Shaper) {
    let shaper = Shaper::default();
    shaper.reach_only(vec![server.address]);
    let peer = Peer::with(LinksConfig { shaper: shaper.clone(), ..config });
    peer.links.set_turn(vec![server.clone()]);
    (peer, shaper)
}

/// Opens a link, and carries what each end tells of itself to the other one. Returns the time since the answer.
async fn meet(a: &mut Peer, b: &mut Peer, link: LinkId) -> Result<Duration, DownReason> {
    let kind = LinkKind::Peer;
    a.links.submit(Command::Offer { link, kind, is_stranger: false });
    let offer = a.described(link).await;
    b.links.submit(Command::Answer { link, kind, offer: offer.clone(), is_stranger: false });
    let answer = b.described(link).await;
    a.links.submit(Command::Accept { link, answer: answer.clone() });
    let (begun, mut connected) = (Instant::now(), 0);
    while connected < 2 {
        let (event, to, description) = tokio::select! {
            event = a.event() => (event, &b.links, &offer),
            event = b.event() => (event, &a.links, &answer),
        };
        match event {
            Event::Connected { link: of, .. } if of == link => connected += 1,
            Event::Down { link: of, reason } if of == link => return Err(reason),
            Event::PathsFound { link: of, candidates } if of == link => {
                println!("a relay is told after {:?}", begun.elapsed());
                let Description { ufrag, .. } = description;
                to.submit(Command::Paths { link, ufrag: ufrag.clone(), candidates });
            }
            _ => {}
        }
    }
    Ok(begun.elapsed())
}

pub(crate) fn way(peer: &Peer, link: LinkId) -> Way {
    peer.links.stats(link).unwrap().way
}

pub(crate) async fn talk(a: &mut Peer, b: &mut Peer, link: LinkId) {
    for _ in ["there", "back"] {
        a.send(link, Channel::Control, "a word");
        assert_eq!(b.received().await, (link, Channel::Control, "a word".into()));
        a.send(link, Channel::Bulk, vec![7; 60_000]);
        assert_eq!(b.received().await.2.len(), 60_000);
        for number in 1..=20 {
            a.forward(link, 0, packet(number));
            assert_eq!(b.packet().await, (0, packet(number)));
        }
        std::mem::swap(a, b);
    }
}

/// Waits until something is so.
async fn until(mut is_so: impl FnMut() -> bool) {
    let so = async {
        while !is_so() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, so).await.expect("it has come to nothing");
}

#[tokio::test]
async fn two_ends_that_only_reach_a_turn_server_meet_there() {
    let server = Server::start(LONG).await;
    let ((mut a, _), (mut b, _)) =
        (behind_firewall(&server.login(), on_loopback()), behind_firewall(&server.login(), on_loopback()));
    let took = meet(&mut a, &mut b, LINK).await.unwrap();
    println!("up after {took:?}");
    talk(&mut a, &mut b, LINK).await;
    assert_eq!([way(&a, LINK), way(&b, LINK)], [Way::Relayed; 2]);
    // the next check measures the round trip
    sleep(Duration::from_millis(1_200)).await;
    let stats = a.links.stats(LINK).unwrap();
    println!("{stats:?}");
    assert!(stats.rtt_us.is_some_and(|rtt_us| rtt_us < 200_000), "{stats:?}");
    assert_eq!(a.links.look_at_addresses(), AddressChange::default());
    assert_eq!(server.allocated(), 2);
    a.links.submit(Command::Close { link: LINK });
    assert_eq!(b.down(LINK).await, DownReason::ClosedByPeer);
    until(|| server.allocated() == 0).await;
}

#[tokio::test]
async fn one_end_with_a_relay_suffices() {
    let server = Server::start(LONG).await;
    let (mut a, _) = behind_firewall(&server.login(), on_loopback());
    // reaches everybody, and nobody's answer reaches it: the firewall of `a` lets none out
    let mut b = Peer::new();
    meet(&mut a, &mut b, LINK).await.unwrap();
    talk(&mut a, &mut b, LINK).await;
    assert_eq!([way(&a, LINK), way(&b, LINK)], [Way::Relayed; 2]);
    assert_eq!(server.allocated(), 1);
}

#[tokio::test]
async fn a_relayed_link_outlives_the_lifetimes_of_allocation_and_nonce() {
    let server = Server::start(Duration::from_secs(10)).await;
    let ((mut a, _), (mut b, _)) =
        (behind_firewall(&server.login(), on_loopback()), behind_firewall(&server.login(), on_loopback()));
    meet(&mut a, &mut b, LINK).await.unwrap();
    for _ in 0..13 {
        talk(&mut a, &mut b, LINK).await;
        sleep(Duration::from_secs(1)).await;
    }
    assert!(server.state.lock().unwrap().stale > 0);
}

#[tokio::test]
async fn a_relay_that_the_server_has_forgotten_ends_its_link() {
    let server = Server::start(Duration::from_secs(10)).await;
    let ((mut a, _), (mut b, _)) =
        (behind_firewall(&server.login(), on_loopback()), behind_firewall(&server.login(), on_loopback()));
    meet(&mut a, &mut b, LINK).await.unwrap();
    server.forget();
    assert_eq!(a.down(LINK).await, DownReason::Lost);
    assert_eq!(b.down(LINK).await, DownReason::Lost);
}

#[tokio::test]
async fn a_link_that_is_up_directly_asks_for_no_relay() {
    let server = Server::start(LONG).await;
    let (mut a, mut b) = (Peer::new(), Peer::new());
    for peer in [&a, &b] {
        peer.links.set_turn(vec![server.login()]);
    }
    let took = meet(&mut a, &mut b, LINK).await.unwrap();
    println!("up after {took:?}");
    sleep(Duration::from_millis(1_200)).await;
    println!("{:?}", a.links.stats(LINK));
    assert_eq!([way(&a, LINK), way(&b, LINK)], [Way::Direct; 2]);
    assert_eq!(server.state.lock().unwrap().asked, 0);
}

#[tokio::test]
async fn a_silent_or_lying_server_costs_a_link_nothing() {
    let lies = Some("10.1.2.3:4000".parse().unwrap());
    for fault in ["silent", "unsigned", "private"] {
        let server = Server::start(LONG).await;
        {
            let mut state = server.state.lock().unwrap();
            state.is_silent = fault == "silent";
            state.signs_nothing = fault == "unsigned";
            state.lies = lies.filter(|_| fault == "private");
        }
        let (mut a, network) = behind_firewall(&server.login(), on_loopback());
        let mut b = Peer::new();
        let opens = async {
            sleep(Duration::from_millis(1_000)).await;
            network.reach_only(Vec::new());
        };
        let (met, ()) = tokio::join!(meet(&mut a, &mut b, LINK), opens);
        let took = met.unwrap();
        assert!(took < Duration::from_secs(3), "{fault}: {took:?}");
        talk(&mut a, &mut b, LINK).await;
        assert_eq!([way(&a, LINK), way(&b, LINK)], [Way::Direct; 2], "{fault}");
    }
}

#[tokio::test]
async fn a_relay_that_is_not_needed_is_given_back_after_half_a_minute() {
    let server = Server::start(LONG).await;
    let (mut a, network) = behind_firewall(&server.login(), on_loopback());
    let mut b = Peer::new();
    let opens = async {
        sleep(Duration::from_millis(700)).await;
        network.reach_only(Vec::new());
    };
    let (met, ()) = tokio::join!(meet(&mut a, &mut b, LINK), opens);
    met.unwrap();
    assert_eq!([way(&a, LINK), way(&b, LINK)], [Way::Direct; 2]);
    sleep(Duration::from_secs(27)).await;
    assert_eq!(server.allocated(), 1);
    until(|| server.allocated() == 0).await;
    talk(&mut a, &mut b, LINK).await;
}

#[tokio::test]
async fn links_at_one_port_get_a_relay_each() {
    let server = Server::start(LONG).await;
    let port = UdpSocket::bind((LOOPBACK, 0)).unwrap().local_addr().unwrap().port();
    let config = LinksConfig { udp_port: Some(port), ..on_loopback() };
    let (mut a, _) = behind_firewall(&server.login(), config);
    let (mut b, mut c) = (Peer::new(), Peer::new());
    meet(&mut a, &mut b, LinkId(1)).await.unwrap();
    meet(&mut a, &mut c, LinkId(2)).await.unwrap();
    assert_eq!([way(&a, LinkId(1)), way(&a, LinkId(2))], [Way::Relayed; 2]);
    talk(&mut a, &mut b, LinkId(1)).await;
    talk(&mut a, &mut c, LinkId(2)).await;
    assert_eq!(server.allocated(), 2);
    a.links.close().await;
    until(|| server.allocated() == 0).await;
}

/// `PLENARY_TURNSERVER`: path of coturn's `turnserver`.
#[tokio::test]
#[ignore = "needs coturn"]
async fn a_link_goes_by_coturn_and_refreshes_its_allocation() {
    let binary = std::env::var_os("PLENARY_TURNSERVER").expect("PLENARY_TURNSERVER");
    let port = UdpSocket::bind((LOOPBACK, 0)).unwrap().local_addr().unwrap().port();
    let directory = std::env::temp_dir().join(format!("plenary-coturn-{port}"));
    std::fs::create_dir_all(&directory).unwrap();
    let mut coturn = std::process::Command::new(binary)
        .current_dir(&directory)
        .args(["-n", "-L", "127.0.0.1", "-E", "127.0.0.1", "--allow-loopback-peers", "-a", "--no-cli"])
        .args(["--no-tls", "--no-dtls", "-r", "example.org", "-u", "ada:secret", "--stale-nonce=3"])
        .args(["--max-allocate-lifetime=12", "--permission-lifetime=300", "-l", "stdout", "-v"])
        .args(["-p", &port.to_string()])
        .stdout(std::fs::File::create(directory.join("log")).unwrap())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    sleep(Duration::from_secs(1)).await;
    let address = SocketAddr::new(LOOPBACK, port);
    let server = TurnServer { address, username: "ada".to_owned(), password: "secret".to_owned() };
    let run = async {
        let ((mut a, _), (mut b, _)) =
            (behind_firewall(&server, on_loopback()), behind_firewall(&server, on_loopback()));
        let took = meet(&mut a, &mut b, LINK).await?;
        println!("up after {took:?}");
        for _ in 0..15 {
            talk(&mut a, &mut b, LINK).await;
            sleep(Duration::from_secs(1)).await;
        }
        println!("{:?}", a.links.stats(LINK));
        Ok::<_, DownReason>([way(&a, LINK), way(&b, LINK)])
    };
    let ways = run.await;
    let _ = coturn.kill();
    let _ = coturn.wait();
    assert_eq!(ways, Ok([Way::Relayed; 2]), "{}", directory.display());
    // the allocation was refreshed, and one request signed with a nonce that coturn had replaced
    let log = std::fs::read_to_string(directory.join("log")).unwrap();
    assert!(log.contains("REFRESH processed, success") && log.contains("error 438"), "{log}");
    let _ = std::fs::remove_dir_all(&directory);
}
