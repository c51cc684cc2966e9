//! The TURN server of a rendezvous over real sockets: UDP, TCP and TLS.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use plenary_proto::rendezvous::{FromPeer, FromRendezvous, Hello, HostProof, TurnAccess};
use plenary_signal::{
    Limits, RelayAddress, Rendezvous, RendezvousConfig, SIGNAL_PATH, TurnConfig, TurnLimits,
};
use rtc_crypto::default_provider;
use rtc_stun::attributes::*;
use rtc_stun::integrity::MessageIntegrity;
use rtc_stun::message::*;
use rtc_stun::xoraddr::XorMappedAddress;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite};

use crate::support::*;

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A binding indication (RFC 8489, section 5), by which a socket tells the server of itself.
const INDICATION: [u8; 20] = [0, 0x11, 0, 0, 0x21, 0x12, 0xa4, 0x42, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7];

fn with_turn(listen: Option<SocketAddr>, ports: Option<RangeInclusive<u16>>) -> RendezvousConfig {
    let addresses = vec![RelayAddress { bind: HERE, outer: HERE }];
    let limits = Limits { hello_timeout: Duration::from_millis(500), ..Limits::default() };
    let turn = Some(TurnConfig { listen, addresses, ports, limits: TurnLimits::default() });
    RendezvousConfig { limits, turn, ..RendezvousConfig::default() }
}

fn rendezvous(listen: Option<SocketAddr>, ports: Option<RangeInclusive<u16>>) -> Rendezvous {
    Rendezvous::bind(ANY_PORT, with_turn(listen, ports)).unwrap()
}

/// Enters the room as its host; returns what the host is told of the TURN server before its welcome.
async fn enter<S>(socket: &mut WebSocketStream<S>) -> TurnAccess
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut access = None;
    loop {
        let Some(Ok(tungstenite::Message::Binary(frame))) = within(socket.next()).await else { panic!() };
        match FromRendezvous::from_bytes(&frame).unwrap() {
            FromRendezvous::Challenge { nonce } => {
                let proof = HostProof::new(room(), &nonce, key(1).id(), &root(), &doors());
                let hello = Hello::new(room(), &nonce, &key(1), &door(), Some(proof));
                let hello = FromPeer::Hello(Box::new(hello)).to_bytes();
                socket.send(tungstenite::Message::Binary(hello)).await.unwrap();
            }
            FromRendezvous::Turn(told) => access = Some(told),
            FromRendezvous::Welcome { .. } => return access.expect("told before the welcome"),
            _ => {}
        }
    }
}

async fn member(rendezvous: &Rendezvous) -> (RawPeer, TurnAccess) {
    let mut raw = RawPeer::open(rendezvous).await;
    let access = enter(&mut raw.0).await;
    (raw, access)
}

/// A way to the server.
enum Way {
    Udp(UdpSocket),
    Stream(Box<dyn Stream>),
}

trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}

struct RelayedPeer {
    way: Way,
    access: TurnAccess,
    nonce: Vec<u8>,
    transaction: u8,
}

impl RelayedPeer {
    async fn by_udp(server: SocketAddr, access: &TurnAccess) -> RelayedPeer {
        let socket = UdpSocket::bind((HERE, 0)).await.unwrap();
        socket.connect(server).await.unwrap();
        RelayedPeer::by(Way::Udp(socket), access)
    }

    async fn by_tcp(server: SocketAddr, access: &TurnAccess) -> RelayedPeer {
        let stream = TcpStream::connect(server).await.unwrap();
        RelayedPeer::by(Way::Stream(Box::new(stream)), access)
    }

    fn by(way: Way, access: &TurnAccess) -> RelayedPeer {
        RelayedPeer { way, access: access.clone(), nonce: Vec::new(), transaction: 0 }
    }

    async fn send(&mut self, bytes: &[u8]) {
        match &mut self.way {
            Way::Udp(socket) => _ = socket.send(bytes).await.unwrap(),
            Way::Stream(stream) => stream.write_all(bytes).await.unwrap(),
        }
    }

    /// Returns the next datagram, or frame of the stream.
    async fn receive(&mut self) -> Vec<u8> {
        within(async {
            match &mut self.way {
                Way::Udp(socket) => {
                    let mut bytes = vec![0; 2_000];
                    let len = socket.recv(&mut bytes).await.unwrap();
                    bytes.truncate(len);
                    bytes
                }
                Way::Stream(stream) => {
                    let mut bytes = vec![0; 4];
                    stream.read_exact(&mut bytes).await.unwrap();
                    let len = usize::from(u16::from_be_bytes([bytes[2], bytes[3]]));
                    let rest = if bytes[0] < 4 { 16 + len } else { len.next_multiple_of(4) };
                    bytes.resize(4 + rest, 0);
                    stream.read_exact(&mut bytes[4..]).await.unwrap();
                    bytes
                }
            }
        })
        .await
    }

    /// Sends a request, signed once a nonce is known, and returns the answer.
    async fn ask(
        &mut self,
        method: Method,
        attributes: &[(AttrType, &[u8])],
        peer: Option<SocketAddr>,
    ) -> Message {
        self.transaction += 1;
        let mut request = Message::new();
        request.typ = MessageType::new(method, CLASS_REQUEST);
        request.transaction_id = TransactionId([self.transaction; 12]);
        request.write_header();
        attributes.iter().for_each(|(of, value)| request.add(*of, value));
        if let Some(peer) = peer {
            let address = XorMappedAddress { ip: peer.ip(), port: peer.port() };
            address.add_to_as(&mut request, ATTR_XOR_PEER_ADDRESS).unwrap();
        }
        if !self.nonce.is_empty() {
            let (username, password) = (self.access.username.to_string(), self.access.password.to_string());
            request.add(ATTR_USERNAME, username.as_bytes());
            request.add(ATTR_REALM, b"plenary");
            request.add(ATTR_NONCE, &self.nonce);
            let provider = default_provider().unwrap();
            let (realm, crypto) = ("plenary".to_owned(), provider.crypto());
            MessageIntegrity::new_long_term_integrity_with_provider(username, realm, password, crypto)
                .unwrap()
                .add_to(&mut request)
                .unwrap();
        }
        self.send(&request.raw).await;
        let mut answer = Message::new();
        answer.unmarshal_binary(&self.receive().await).unwrap();
        assert_eq!(answer.transaction_id, request.transaction_id);
        answer
    }

    /// Gets a relay; returns its address.
    async fn allocate(&mut self) -> SocketAddr {
        let asked: [(AttrType, &[u8]); 1] = [(ATTR_REQUESTED_TRANSPORT, &[17, 0, 0, 0])];
        let refused = self.ask(METHOD_ALLOCATE, &asked, None).await;
        self.nonce = refused.get(ATTR_NONCE).unwrap();
        let answer = self.ask(METHOD_ALLOCATE, &asked, None).await;
        assert_eq!(answer.typ.class, CLASS_SUCCESS_RESPONSE, "{answer}");
        let mut relayed = XorMappedAddress::default();
        relayed.get_from_as(&answer, ATTR_XOR_RELAYED_ADDRESS).unwrap();
        SocketAddr::new(relayed.ip, relayed.port)
    }

    /// Binds channel 0x4000 to a peer.
    async fn bind(&mut self, peer: SocketAddr) -> MessageClass {
        let channel: [(AttrType, &[u8]); 1] = [(ATTR_CHANNEL_NUMBER, &[0x40, 0, 0, 0])];
        self.ask(METHOD_CHANNEL_BIND, &channel, Some(peer)).await.typ.class
    }

    /// Sends three bytes to the peer of the channel.
    async fn say(&mut self, data: &[u8; 3]) {
        self.send(&[&[0x40, 0, 0, 3], &data[..], &[0]].concat()).await;
    }

    async fn hear(&mut self) -> Vec<u8> {
        let frame = self.receive().await;
        assert_eq!(frame[..4], [0x40, 0, 0, 3]);
        frame[4..7].to_vec()
    }
}

/// Has a client talk with a socket of this machine that has told the server of itself.
async fn talks(mut client: RelayedPeer, stun: SocketAddr) {
    let peer = UdpSocket::bind((HERE, 0)).await.unwrap();
    peer.send_to(&INDICATION, stun).await.unwrap();
    let relayed = client.allocate().await;
    assert_eq!(client.bind(peer.local_addr().unwrap()).await, CLASS_SUCCESS_RESPONSE);
    let mut buffer = [0; 9];
    client.say(b"abc").await;
    assert_eq!(within(peer.recv_from(&mut buffer)).await.unwrap(), (3, relayed));
    peer.send_to(b"def", relayed).await.unwrap();
    assert_eq!(client.hear().await, b"def");
}

#[tokio::test]
async fn a_member_talks_over_a_relay_by_udp_and_tcp_at_the_port_of_the_page() {
    let rendezvous = rendezvous(None, None);
    let (_peer, access) = member(&rendezvous).await;
    let server = rendezvous.local_addr();
    assert_eq!((access.ip, access.port, access.has_tls), (None, server.port(), false));
    talks(RelayedPeer::by_udp(server, &access).await, server).await;
    talks(RelayedPeer::by_tcp(server, &access).await, server).await;
    // and the port still answers HTTP
    let mut http = TcpStream::connect(server).await.unwrap();
    http.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut page = String::new();
    within(http.read_to_string(&mut page)).await.unwrap();
    assert!(page.contains("This is a plenary rendezvous"), "{page}");
    rendezvous.close().await;
}

#[tokio::test]
async fn a_turn_server_at_an_address_of_its_own_is_told_with_it() {
    let rendezvous = rendezvous(Some(ANY_PORT), Some(40_000..=40_019));
    let (_peer, access) = member(&rendezvous).await;
    assert_ne!(access.port, rendezvous.local_addr().port());
    let server = SocketAddr::new(access.ip.unwrap(), access.port);
    assert_eq!(rendezvous.turn_addrs(), [server]);
    talks(RelayedPeer::by_udp(server, &access).await, server).await;
    // a peer asks for its address at the rendezvous
    let mut client = RelayedPeer::by_tcp(server, &access).await;
    assert!((40_000..40_020).contains(&client.allocate().await.port()));
    talks(RelayedPeer::by_tcp(server, &access).await, rendezvous.local_addr()).await;
    let mut http = TcpStream::connect(server).await.unwrap();
    http.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    assert_eq!(within(http.read(&mut [0; 9])).await.unwrap_or(0), 0, "no page there");
}

#[tokio::test]
async fn two_members_meet_over_their_relays_one_by_udp_and_one_by_tcp() {
    let rendezvous = rendezvous(None, None);
    let (_peer, access) = member(&rendezvous).await;
    let server = rendezvous.local_addr();
    let mut a = RelayedPeer::by_udp(server, &access).await;
    let mut b = RelayedPeer::by_tcp(server, &access).await;
    let (relay_a, relay_b) = (a.allocate().await, b.allocate().await);
    assert_eq!(a.bind(relay_b).await, CLASS_SUCCESS_RESPONSE);
    assert_eq!(b.bind(relay_a).await, CLASS_SUCCESS_RESPONSE);
    a.say(b"abc").await;
    assert_eq!(b.hear().await, b"abc");
    b.say(b"def").await;
    assert_eq!(a.hear().await, b"def");
}

#[tokio::test]
async fn other_services_of_the_machine_and_private_networks_are_refused() {
    let rendezvous = rendezvous(None, None);
    let (_peer, access) = member(&rendezvous).await;
    let mut client = RelayedPeer::by_udp(rendezvous.local_addr(), &access).await;
    client.allocate().await;
    for refused in ["10.0.0.1:53", "169.254.169.254:80", "192.168.1.1:80"] {
        assert_eq!(client.bind(refused.parse().unwrap()).await, CLASS_ERROR_RESPONSE, "{refused}");
    }
    // a service that has told the server nothing of itself gets nothing
    let service = UdpSocket::bind((HERE, 0)).await.unwrap();
    assert_eq!(client.bind(service.local_addr().unwrap()).await, CLASS_SUCCESS_RESPONSE);
    client.say(b"abc").await;
    client.bind("10.0.0.1:53".parse().unwrap()).await; // is answered after what came before
    assert!(service.try_recv_from(&mut [0; 9]).is_err());
}

#[tokio::test]
async fn a_stream_without_a_relay_is_closed_and_one_with_a_relay_lives() {
    let rendezvous = rendezvous(None, None);
    let (_peer, access) = member(&rendezvous).await;
    let server = rendezvous.local_addr();
    let mut idle = TcpStream::connect(server).await.unwrap();
    idle.write_all(&[0, 1]).await.unwrap(); // and no more
    let mut wrong = TcpStream::connect(server).await.unwrap();
    wrong.write_all(&[0, 1, 0, 3]).await.unwrap(); // of a length that no message has
    let mut client = RelayedPeer::by_tcp(server, &access).await;
    client.allocate().await;
    for closed in [&mut idle, &mut wrong] {
        assert_eq!(within(closed.read(&mut [0; 9])).await.unwrap_or(0), 0);
    }
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(client.bind("192.0.2.1:9".parse().unwrap()).await, CLASS_SUCCESS_RESPONSE);
}

#[tokio::test]
async fn a_relay_ends_with_its_client_s_stream() {
    let rendezvous = rendezvous(None, Some(40_020..=40_020));
    let (_peer, access) = member(&rendezvous).await;
    let server = rendezvous.local_addr();
    for _ in 0..3 {
        let mut client = RelayedPeer::by_tcp(server, &access).await;
        // the only port of the range is free again once the server has seen the end of the stream before
        within(async {
            while UdpSocket::bind((HERE, 40_020)).await.is_err() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
        assert_eq!(client.allocate().await.port(), 40_020);
    }
}

#[tokio::test]
async fn a_port_that_is_taken_is_said_at_the_start() {
    let taken = std::net::TcpListener::bind((HERE, 0)).unwrap();
    let config = with_turn(Some(taken.local_addr().unwrap()), None);
    let error = Rendezvous::bind(ANY_PORT, config).unwrap_err().to_string();
    assert_eq!(error, format!("{} is in use: another program listens there", taken.local_addr().unwrap()));
}

#[cfg(feature = "tls")]
#[tokio::test]
async fn a_member_talks_over_a_relay_by_tls_at_the_port_of_https() {
    use std::sync::Arc;

    use plenary_signal::ServerTls;
    use tokio_rustls::TlsConnector;
    use tokio_rustls::rustls::crypto::ring;
    use tokio_rustls::rustls::{ClientConfig, RootCertStore};

    let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (certificate, key) = (certified.cert.pem(), certified.signing_key.serialize_pem());
    let tls = Some(ServerTls::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap());
    let rendezvous = Rendezvous::bind(ANY_PORT, RendezvousConfig { tls, ..with_turn(None, None) }).unwrap();
    let server = rendezvous.local_addr();
    let mut roots = RootCertStore::empty();
    roots.add(certified.cert.der().clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(config));
    let secure = async || {
        let tcp = TcpStream::connect(server).await.unwrap();
        within(connector.connect("localhost".try_into().unwrap(), tcp)).await.unwrap()
    };
    let url = format!("wss://localhost{SIGNAL_PATH}");
    let (mut socket, _) = within(Box::pin(client_async(url, secure().await))).await.unwrap();
    let access = enter(&mut socket).await;
    assert!(access.has_tls);
    let client = RelayedPeer::by(Way::Stream(Box::new(secure().await)), &access);
    talks(client, server).await;
}

/// A socket of this machine that sends back what it gets, and has told a server of itself; returns its port.
async fn echo(stun: SocketAddr) -> u16 {
    let socket = UdpSocket::bind((HERE, 0)).await.unwrap();
    socket.send_to(&INDICATION, stun).await.unwrap();
    let port = socket.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut buffer = [0; 2_000];
        while let Ok((len, from)) = socket.recv_from(&mut buffer).await {
            let _ = socket.send_to(&buffer[..len], from).await;
        }
    });
    port
}

/// Runs coturn's client with these options; returns how many of the sixty messages came back.
async fn coturn(server: SocketAddr, access: &TurnAccess, options: &[&str]) -> String {
    let mut client = std::process::Command::new("turnutils_uclient");
    let port = server.port().to_string();
    client.args(["-u", &access.username, "-w", &access.password, "-p", &port, "-n", "30", "-m", "2"]);
    client.args(["-z", "10", "-l", "171"]).args(options).arg(HERE.to_string());
    let output = within(tokio::task::spawn_blocking(move || client.output())).await.unwrap();
    let output = output.expect("turnutils_uclient, of the package coturn");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let total = said
        .lines()
        .rev()
        .find_map(|line| line.split_once("tot_recv_msgs="))
        .map(|(_, rest)| rest.to_owned());
    total
        .and_then(|total| total.split(|c: char| !c.is_ascii_digit()).next().map(str::to_owned))
        .unwrap_or(said)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs coturn's client: ./run nightly services"]
async fn coturn_s_client_gets_every_message_back_by_every_way() {
    let rendezvous = rendezvous(None, None);
    let (_peer, access) = member(&rendezvous).await;
    let server = rendezvous.local_addr();
    let peer = echo(server).await.to_string();
    let to_peer = ["-c", "-e", "127.0.0.1", "-r", &peer];
    for options in [vec![], vec!["-s"], vec!["-t"], vec!["-t", "-s"]] {
        let options = [&to_peer[..], &options].concat();
        assert_eq!(coturn(server, &access, &options).await, "60", "{options:?}");
    }
    assert_eq!(coturn(server, &access, &["-c", "-y"]).await, "60", "from client to client");
    let wrong = TurnAccess { password: access.username.clone(), ..access.clone() };
    assert_ne!(coturn(server, &wrong, &to_peer).await, "60");
}
