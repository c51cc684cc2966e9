//! Tests of the server in virtual time: relays are numbers.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use rtc_crypto::default_provider;
use rtc_stun::attributes::*;
use rtc_stun::error_code::ErrorCodeAttribute;
use rtc_stun::integrity::MessageIntegrity;
use rtc_stun::message::*;
use rtc_stun::xoraddr::XorMappedAddress;

use super::credentials::{Keys, REALM};
use super::message::{FRAME_LEN_MAX, NoFrame, add_address, frame_len, message, peers, value};
use super::server::{ClientAddress, Output, Transport, TurnServer};
use super::{RelayAddress, TurnLimits};
use crate::limits::Rate;

/// The wall clock at the start, in seconds since 1970.
const UNIX_S: u64 = 1_800_000_000;
const PEER: &str = "192.0.2.77:7000";
/// The server's address inside of its one-to-one NAT, and outside.
const BIND: &str = "10.0.0.1";
const OUTER: &str = "198.51.100.1";
/// Another address of the server's machine.
const OTHER_OWN: &str = "198.51.100.2";
const DONT_FRAGMENT: AttrType = AttrType(0x001a);

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn client(port: u16) -> ClientAddress {
    ClientAddress { transport: Transport::Udp, address: SocketAddr::new(ip("203.0.113.5"), port) }
}

fn stream(port: u16) -> ClientAddress {
    ClientAddress { transport: Transport::Stream, ..client(port) }
}

type Attribute = (AttrType, &'static [u8]);

struct World {
    server: TurnServer<u16>,
    keys: Keys,
    begun: Instant,
    now: Instant,
    transaction: u64,
    next_port: u16,
}

/// What a client signs with.
#[derive(Clone)]
struct Login {
    username: String,
    password: String,
    realm: &'static str,
    nonce: String,
}

impl World {
    fn new() -> World {
        World::with(TurnLimits::default())
    }

    fn with(limits: TurnLimits) -> World {
        let keys = Keys::draw().unwrap();
        let now = Instant::now();
        let addresses = vec![
            RelayAddress { bind: ip(BIND), outer: ip(OUTER) },
            RelayAddress { bind: ip("2001:db8::1"), outer: ip("2001:db8::1") },
        ];
        let is_own = |of: IpAddr| of == ip(OTHER_OWN);
        let server = TurnServer::new(limits, keys.clone(), addresses, is_own, (now, UNIX_S));
        World { server, keys, begun: now, now, transaction: 0, next_port: 50_000 }
    }

    /// Returns what `user` signs with, at a client that has asked once.
    fn login(&mut self, client: ClientAddress, user: &str) -> Login {
        let (username, password) = self.keys.username(user, self.unix_s() + 3_600).unwrap();
        let request = self.request(METHOD_ALLOCATE);
        let answer = self.ask(client, &request);
        assert_eq!(code(&answer), 401);
        let text = |of| String::from_utf8(answer.get(of).unwrap()).unwrap();
        assert_eq!(text(ATTR_REALM), REALM);
        Login { username, password, realm: REALM, nonce: text(ATTR_NONCE) }
    }

    fn unix_s(&self) -> u64 {
        UNIX_S + self.now.saturating_duration_since(self.begun).as_secs()
    }

    /// Returns a request with a new transaction.
    fn request(&mut self, method: Method) -> Message {
        self.transaction += 1;
        let mut transaction = [7; 12];
        transaction[..8].copy_from_slice(&self.transaction.to_be_bytes());
        let mut request = Message::new();
        request.typ = MessageType::new(method, CLASS_REQUEST);
        request.transaction_id = TransactionId(transaction);
        request.write_header();
        request
    }

    /// Sends a message, binds a relay if that is asked for, and returns the answer.
    fn ask(&mut self, client: ClientAddress, message: &Message) -> Message {
        self.try_ask(client, message).expect("an answer")
    }

    fn try_ask(&mut self, client: ClientAddress, message: &Message) -> Option<Message> {
        let mut output = self.server.handle(self.now, client, &message.raw)?;
        if let Output::Open(of, address, wish) = output {
            assert_eq!((of, address.outer.is_ipv6()), (client, wish.is_v6));
            self.next_port += 2;
            output = self.server.opened(self.now, client, Some((self.next_port, self.next_port)))?;
        }
        let Output::ToClient(to, bytes) = output else { panic!("{output:?}") };
        assert_eq!(to, client);
        let mut answer = Message::new();
        answer.unmarshal_binary(&bytes).unwrap();
        Some(answer)
    }

    fn asks(
        &mut self,
        client: ClientAddress,
        login: &Login,
        method: Method,
        add: impl FnOnce(&mut Message),
    ) -> Message {
        let mut request = self.request(method);
        add(&mut request);
        sign(&mut request, login);
        self.ask(client, &request)
    }

    /// Has a client get a relay; returns its login and the relayed address.
    fn relay(&mut self, client: ClientAddress, user: &str) -> (Login, SocketAddr) {
        let login = self.login(client, user);
        let answer = self.asks(client, &login, METHOD_ALLOCATE, over_udp);
        (login, relayed(&answer))
    }

    fn permits(&mut self, client: ClientAddress, login: &Login, to: &str) -> u16 {
        let peer = at(to);
        code(&self.asks(client, login, METHOD_CREATE_PERMISSION, |request| to_peer(request, peer)))
    }

    /// Sends data to a peer by an indication; returns what leaves.
    fn sends(&mut self, client: ClientAddress, to: &str, data: &[u8]) -> Option<Sent> {
        let mut indication = Message::new();
        indication.typ = MessageType::new(METHOD_SEND, CLASS_INDICATION);
        indication.write_header();
        add_address(&mut indication, ATTR_XOR_PEER_ADDRESS, at(to));
        indication.add(ATTR_DATA, data);
        let sent = self.server.handle(self.now, client, &indication.raw)?;
        Some(of_output(sent))
    }
}

/// What leaves the server.
#[derive(Debug, PartialEq, Eq)]
enum Sent {
    /// By the relay with this port.
    ToPeer(u16, SocketAddr, Vec<u8>),
    ToClient(ClientAddress, Vec<u8>),
}

fn of_output(output: Output<'_, u16>) -> Sent {
    match output {
        Output::ToPeer(relay, peer, data) => Sent::ToPeer(relay, peer, data.to_vec()),
        Output::ToClient(client, bytes) => Sent::ToClient(client, bytes),
        Output::Open(..) => panic!("{output:?}"),
    }
}

fn sign(request: &mut Message, login: &Login) {
    request.add(ATTR_USERNAME, login.username.as_bytes());
    request.add(ATTR_REALM, login.realm.as_bytes());
    request.add(ATTR_NONCE, login.nonce.as_bytes());
    let provider = default_provider().unwrap();
    let (username, password) = (login.username.clone(), login.password.clone());
    let signature = MessageIntegrity::new_long_term_integrity_with_provider(
        username,
        login.realm.to_owned(),
        password,
        provider.crypto(),
    );
    signature.unwrap().add_to(request).unwrap();
}

fn over_udp(request: &mut Message) {
    request.add(ATTR_REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
}

fn to_peer(request: &mut Message, peer: SocketAddr) {
    add_address(request, ATTR_XOR_PEER_ADDRESS, peer);
}

fn bound(request: &mut Message, channel: u16, peer: &str) {
    request.add(ATTR_CHANNEL_NUMBER, &[(channel >> 8) as u8, channel as u8, 0, 0]);
    to_peer(request, at(peer));
}

/// The code of an error response; 0 of a success.
fn code(answer: &Message) -> u16 {
    if answer.typ.class == CLASS_SUCCESS_RESPONSE {
        return 0;
    }
    let mut code = ErrorCodeAttribute::default();
    code.get_from(answer).unwrap();
    code.code.0
}

fn relayed(answer: &Message) -> SocketAddr {
    assert_eq!(code(answer), 0);
    let mut address = XorMappedAddress::default();
    address.get_from_as(answer, ATTR_XOR_RELAYED_ADDRESS).unwrap();
    SocketAddr::new(address.ip, address.port)
}

/// The peer and the data of a data indication.
fn indicated(bytes: &[u8]) -> (SocketAddr, Vec<u8>) {
    let mut read = Message::new();
    read.unmarshal_binary(bytes).unwrap();
    assert_eq!(read.typ, MessageType::new(METHOD_DATA, CLASS_INDICATION));
    let peer = peers(&read).next().unwrap();
    (peer, value(bytes, ATTR_DATA).unwrap().to_vec())
}

#[test]
fn a_member_gets_a_relay_and_a_lost_answer_is_repeated() {
    let mut world = World::new();
    let login = world.login(client(1), "ada");
    let mut request = world.request(METHOD_ALLOCATE);
    over_udp(&mut request);
    sign(&mut request, &login);
    let answer = world.ask(client(1), &request);
    assert_eq!(relayed(&answer), at("198.51.100.1:50002"));
    let mut seen = XorMappedAddress::default();
    seen.get_from(&answer).unwrap();
    assert_eq!(SocketAddr::new(seen.ip, seen.port), client(1).address);
    assert_eq!(answer.get(ATTR_LIFETIME).unwrap(), 600_u32.to_be_bytes());
    let provider = default_provider().unwrap();
    let key = MessageIntegrity::long_term_integrity_key(
        login.username.clone(),
        REALM.to_owned(),
        login.password.clone(),
        provider.crypto(),
    );
    let mut signed = answer.clone();
    MessageIntegrity::check(&mut signed, &key.unwrap(), provider.crypto()).unwrap();
    world.now += Duration::from_secs(2);
    assert_eq!(relayed(&world.ask(client(1), &request)), at("198.51.100.1:50002"), "the answer was lost");
    assert_eq!(code(&world.asks(client(1), &login, METHOD_ALLOCATE, over_udp)), 437);
    assert_eq!(world.server.count(), 1);
}

#[test]
fn a_client_at_a_socket_of_both_families_is_told_its_address_of_ipv4() {
    let mut world = World::new();
    let client = ClientAddress { address: at("[::ffff:203.0.113.5]:1"), ..client(1) };
    let login = world.login(client, "ada");
    let answer = world.asks(client, &login, METHOD_ALLOCATE, over_udp);
    let mut seen = XorMappedAddress::default();
    seen.get_from(&answer).unwrap();
    assert_eq!((seen.ip, seen.port), (ip("203.0.113.5"), 1));
}

#[test]
fn data_passes_both_ways_by_indications_and_by_channels() {
    let mut world = World::new();
    for (at_port, client) in [(50_002, client(1)), (50_004, stream(2))] {
        let (login, _) = world.relay(client, "ada");
        assert_eq!(world.permits(client, &login, PEER), 0);
        assert_eq!(
            world.sends(client, PEER, b"abcde"),
            Some(Sent::ToPeer(at_port, at(PEER), b"abcde".to_vec()))
        );
        let back = world.server.receive_from_peer(world.now, client, at(PEER), b"fgh").unwrap();
        assert_eq!(indicated(&back), (at(PEER), b"fgh".to_vec()));

        let answer = world.asks(client, &login, METHOD_CHANNEL_BIND, |request| bound(request, 0x4001, PEER));
        assert_eq!(code(&answer), 0);
        let sent = world.server.handle(world.now, client, &[0x40, 1, 0, 2, 8, 9, 0, 0]).map(of_output);
        assert_eq!(sent, Some(Sent::ToPeer(at_port, at(PEER), vec![8, 9])), "without the padding");
        let back = world.server.receive_from_peer(world.now, client, at(PEER), b"fgh").unwrap();
        let padding: &[u8] = if client.transport == Transport::Stream { &[0] } else { &[] };
        assert_eq!(back, [&[0x40, 1, 0, 3], &b"fgh"[..], padding].concat());
        assert!(frame_len(&back).is_ok());
        // a permission is for an address, a channel for a port of it
        let other_port =
            world.server.receive_from_peer(world.now, client, at("192.0.2.77:7001"), b"fgh").unwrap();
        assert_eq!(indicated(&other_port).0, at("192.0.2.77:7001"));
    }
}

#[test]
fn nothing_passes_without_a_permission_or_after_it_has_expired() {
    let mut world = World::new();
    let (login, _) = world.relay(client(1), "ada");
    assert_eq!(world.sends(client(1), PEER, b"abc"), None);
    assert_eq!(world.server.receive_from_peer(world.now, client(1), at(PEER), b"abc"), None);
    assert_eq!(world.server.handle(world.now, client(1), &[0x40, 1, 0, 1, 8]), None, "no such channel");
    assert_eq!(world.permits(client(1), &login, PEER), 0);
    assert!(world.sends(client(1), PEER, b"abc").is_some());
    assert_eq!(world.sends(client(2), PEER, b"abc"), None, "another client's");
    world.now += Duration::from_secs(301);
    assert_eq!(world.sends(client(1), PEER, b"abc"), None);
    assert_eq!(world.server.receive_from_peer(world.now, client(1), at(PEER), b"abc"), None);
}

#[test]
fn private_networks_and_other_services_of_the_machine_are_out_of_reach() {
    let mut world = World::new();
    let (login, _) = world.relay(client(1), "ada");
    for peer in [
        "127.0.0.1:53",
        "10.0.0.1:53",
        "10.0.0.7:53",
        "192.168.1.1:80",
        "172.16.0.1:80",
        "100.64.0.1:80",
        "169.254.169.254:80",
        "0.0.0.0:53",
        "224.0.0.251:5353",
        "255.255.255.255:9",
    ] {
        assert_eq!(world.permits(client(1), &login, peer), 403, "{peer}");
        let answer = world.asks(client(1), &login, METHOD_CHANNEL_BIND, |asked| bound(asked, 0x4001, peer));
        assert_eq!(code(&answer), 403, "{peer}");
        assert_eq!(world.sends(client(1), peer, b"abc"), None, "{peer}");
    }
    // another address of the machine: of a service that has told the server nothing of itself
    assert_eq!(world.permits(client(1), &login, &format!("{OTHER_OWN}:53")), 0);
    assert_eq!(world.sends(client(1), &format!("{OTHER_OWN}:53"), b"abc"), None);
    // one of several: none is permitted
    let answer = world.asks(client(1), &login, METHOD_CREATE_PERMISSION, |request| {
        to_peer(request, at(PEER));
        to_peer(request, at("10.0.0.7:1"));
    });
    assert_eq!(code(&answer), 403);
    assert_eq!(world.sends(client(1), PEER, b"abc"), None);

    let login = world.login(client(2), "ada");
    let answer = world.asks(client(2), &login, METHOD_ALLOCATE, |request| {
        over_udp(request);
        request.add(ATTR_REQUESTED_ADDRESS_FAMILY, &[2, 0, 0, 0]);
    });
    assert_eq!(relayed(&answer).ip(), ip("2001:db8::1"));
    for peer in
        ["[::1]:53", "[fd00::1]:53", "[fe80::1]:53", "[64:ff9b::10.0.0.1]:80", "[2002:c0a8:101::1]:80"]
    {
        assert_eq!(world.permits(client(2), &login, peer), 403, "{peer}");
    }
    assert_eq!(world.permits(client(2), &login, "[2001:db8:7::7]:80"), 0);
}

#[test]
fn a_socket_of_the_machine_is_reached_once_it_has_asked_for_its_address() {
    let mut world = World::new();
    let (login, _) = world.relay(client(1), "ada");
    let outer = "198.51.100.1:7000";
    assert_eq!(world.permits(client(1), &login, outer), 0);
    assert_eq!(world.sends(client(1), outer, b"abc"), None, "another service of the machine");
    world.server.asked(world.now, at("192.0.2.9:7000"));
    assert_eq!(world.sends(client(1), outer, b"abc"), None, "another machine has asked");
    world.server.asked(world.now, at("10.0.0.1:7000"));
    let inner = at("10.0.0.1:7000");
    let sent = Some(Sent::ToPeer(50_002, inner, b"abc".to_vec()));
    assert_eq!(world.sends(client(1), outer, b"abc"), sent, "past the NAT");
    world.now += Duration::from_secs(250);
    assert_eq!(world.permits(client(1), &login, outer), 0);
    let back = world.server.receive_from_peer(world.now, client(1), inner, b"def").unwrap();
    assert_eq!(indicated(&back), (at(outer), b"def".to_vec()), "by the address that the client knows");
    world.server.asked(world.now, at("198.51.100.2:7001"));
    assert_eq!(world.permits(client(1), &login, "198.51.100.2:7001"), 0);
    let sent = Some(Sent::ToPeer(50_002, at("198.51.100.2:7001"), b"abc".to_vec()));
    assert_eq!(world.sends(client(1), "198.51.100.2:7001", b"abc"), sent, "at another of its addresses");
    // while it answers it is known
    world.asks(client(1), &login, METHOD_REFRESH, |_| {});
    world.now += Duration::from_secs(400);
    assert_eq!(world.permits(client(1), &login, outer), 0);
    assert!(world.sends(client(1), outer, b"abc").is_some());
    world.asks(client(1), &login, METHOD_REFRESH, |_| {});
    world.now += Duration::from_secs(250);
    assert_eq!(world.sends(client(1), outer, b"abc"), None, "and forgotten after ten minutes of silence");
}

#[test]
fn two_clients_meet_inside_the_server() {
    let mut world = World::new();
    let (a, b) = (client(1), stream(2));
    let (login_a, relay_a) = world.relay(a, "ada");
    let (login_b, relay_b) = world.relay(b, "ben");
    assert_eq!(world.permits(a, &login_a, &relay_b.to_string()), 0);
    assert_eq!(world.sends(a, &relay_b.to_string(), b"abc"), None, "the other end has given no permission");
    assert_eq!(world.permits(b, &login_b, &relay_a.to_string()), 0);
    let Some(Sent::ToClient(to, bytes)) = world.sends(a, &relay_b.to_string(), b"abc") else { panic!() };
    assert_eq!((to, indicated(&bytes)), (b, (relay_a, b"abc".to_vec())));
}

#[test]
fn every_refusal_has_its_code() {
    let mut world = World::new();
    let good = world.login(client(1), "ada");
    let (username, password) = world.keys.username("ada", UNIX_S - 1).unwrap();
    let expired = Login { username, password, ..good.clone() };
    let wrong = Login { password: "guessed".to_owned(), ..good.clone() };
    let nobody = Login { username: "ada".to_owned(), ..good.clone() };
    let elsewhere = Login { realm: "example.org", ..good.clone() };
    let of_another = Login { nonce: world.login(client(9), "ada").nonce, ..good.clone() };
    let invented = Login { nonce: "AAAAAAAAAAAAAAAA".to_owned(), ..good.clone() };
    let long = Login { username: "9".repeat(65), ..good.clone() };
    for (what, login, expected) in [
        ("a wrong password", &wrong, 401),
        ("an expired username", &expired, 401),
        ("a username without expiry", &nobody, 401),
        ("another realm", &elsewhere, 401),
        ("another client's nonce", &of_another, 438),
        ("an invented nonce", &invented, 438),
        ("a long username", &long, 400),
    ] {
        let answer = world.asks(client(1), login, METHOD_ALLOCATE, over_udp);
        assert_eq!(code(&answer), expected, "{what}");
        assert_eq!(answer.get(ATTR_NONCE).is_ok(), matches!(expected, 401 | 438), "{what}");
    }
    assert_eq!(world.server.count(), 0);
    let allocates: [(&str, &[Attribute], u16); 6] = [
        ("no transport", &[], 400),
        ("TCP", &[(ATTR_REQUESTED_TRANSPORT, &[6, 0, 0, 0])], 442),
        ("a third family", &[(ATTR_REQUESTED_TRANSPORT, &[17]), (ATTR_REQUESTED_ADDRESS_FAMILY, &[3])], 440),
        ("a reserved port", &[(ATTR_REQUESTED_TRANSPORT, &[17]), (ATTR_EVEN_PORT, &[0x80])], 508),
        ("DONT-FRAGMENT", &[(ATTR_REQUESTED_TRANSPORT, &[17]), (DONT_FRAGMENT, &[])], 420),
        ("a lifetime of two bytes", &[(ATTR_REQUESTED_TRANSPORT, &[17]), (ATTR_LIFETIME, &[0, 9])], 400),
    ];
    for (what, attributes, expected) in allocates {
        let answer = world.asks(client(1), &good, METHOD_ALLOCATE, |request| {
            attributes.iter().for_each(|(of, value)| request.add(*of, value));
        });
        assert_eq!(code(&answer), expected, "{what}");
        if expected == 420 {
            assert_eq!(answer.get(ATTR_UNKNOWN_ATTRIBUTES).unwrap(), [0, 0x1a]);
        }
    }
    for method in [METHOD_REFRESH, METHOD_CREATE_PERMISSION, METHOD_CHANNEL_BIND] {
        let answer = world.asks(client(1), &good, method, |request| bound(request, 0x4001, PEER));
        assert_eq!(code(&answer), 437, "no relay: {method}");
    }
    assert_eq!(world.server.count(), 0);

    assert_eq!(code(&world.asks(client(1), &good, METHOD_ALLOCATE, over_udp)), 0);
    assert_eq!(code(&world.asks(client(1), &good, METHOD_CREATE_PERMISSION, |_| {})), 400);
    assert_eq!(world.permits(client(1), &good, "[2001:db8:7::7]:80"), 443);
    for (channel, peer, expected) in [
        (0x3fff, PEER, 400),
        (0x8000, PEER, 400),
        (0x4001, PEER, 0),
        (0x4001, PEER, 0), // again
        (0x4001, "192.0.2.78:1", 400),
        (0x4002, PEER, 400),
    ] {
        let answer = world.asks(client(1), &good, METHOD_CHANNEL_BIND, |asked| bound(asked, channel, peer));
        assert_eq!(code(&answer), expected, "{channel:x} {peer}");
    }
    let (username, password) = world.keys.username("mallory", UNIX_S + 60).unwrap();
    let other = Login { username, password, ..good.clone() };
    assert_eq!(code(&world.asks(client(1), &other, METHOD_REFRESH, |_| {})), 441);
    let (username, password) = world.keys.username("ada", UNIX_S + 7_200).unwrap();
    let renewed = Login { username, password, ..good.clone() };
    assert_eq!(
        code(&world.asks(client(1), &renewed, METHOD_REFRESH, |_| {})),
        0,
        "newer ones of the same user"
    );
    world.now += Duration::from_secs(3_601);
    assert_eq!(code(&world.asks(client(1), &good, METHOD_REFRESH, |_| {})), 438, "the nonce has expired");
}

#[test]
fn a_socket_that_could_not_be_bound_is_no_relay() {
    let mut world = World::new();
    let login = world.login(client(1), "ada");
    let mut request = world.request(METHOD_ALLOCATE);
    over_udp(&mut request);
    sign(&mut request, &login);
    let opens = world.server.handle(world.now, client(1), &request.raw);
    assert!(matches!(opens, Some(Output::Open(..))));
    assert!(world.server.handle(world.now, client(1), &request.raw).is_some(), "asked again meanwhile");
    let Some(Output::ToClient(_, bytes)) = world.server.opened(world.now, client(1), None) else { panic!() };
    let mut answer = Message::new();
    answer.unmarshal_binary(&bytes).unwrap();
    assert_eq!(code(&answer), 508);
    assert_eq!(world.server.count(), 0);
    assert_eq!(code(&world.asks(client(1), &login, METHOD_ALLOCATE, over_udp)), 0, "a next attempt");
}

#[test]
fn what_a_signature_does_not_cover_counts_for_nothing() {
    let mut world = World::new();
    let login = world.login(client(1), "ada");
    let mut request = world.request(METHOD_ALLOCATE);
    sign(&mut request, &login);
    over_udp(&mut request); // behind the signature
    assert_eq!(code(&world.ask(client(1), &request)), 400, "no transport was signed");
    let mut request = world.request(METHOD_ALLOCATE);
    over_udp(&mut request);
    sign(&mut request, &login);
    request.add(DONT_FRAGMENT, &[]);
    assert_eq!(code(&world.ask(client(1), &request)), 0, "nor did anything unknown");
    let mut request = world.request(METHOD_REFRESH);
    request.add(ATTR_MESSAGE_INTEGRITY, &[0; 20]);
    request.add(ATTR_USERNAME, login.username.as_bytes());
    request.add(ATTR_REALM, REALM.as_bytes());
    request.add(ATTR_NONCE, login.nonce.as_bytes());
    assert_eq!(code(&world.ask(client(1), &request)), 400, "a name behind the signature");
}

#[test]
fn relays_are_limited_by_user_by_address_and_in_all() {
    let limits =
        TurnLimits { per_user_max: 2, per_address_max: 3, allocations_max: 4, ..TurnLimits::default() };
    let mut world = World::with(limits);
    let elsewhere = |port| ClientAddress { address: SocketAddr::new(ip("203.0.113.9"), port), ..client(0) };
    for (client, user, expected) in [
        (client(1), "ada", 0),
        (client(2), "ada", 0),
        (client(3), "ada", 486),
        (elsewhere(3), "ada", 486),
        (client(3), "ben", 0),
        (client(4), "cai", 486),
        (elsewhere(1), "cai", 0),
        (elsewhere(2), "dan", 508),
    ] {
        let login = world.login(client, user);
        let answer = world.asks(client, &login, METHOD_ALLOCATE, over_udp);
        assert_eq!(code(&answer), expected, "{client:?} {user}");
    }
    assert_eq!(world.server.count(), 4);
}

#[test]
fn a_relay_drops_what_is_beyond_its_rate_and_that_of_all() {
    let rate = |bytes| Rate { per_s: bytes, burst: bytes };
    let limits = TurnLimits { bytes_of_one: rate(1_000), bytes: rate(2_500), ..TurnLimits::default() };
    let mut world = World::with(limits);
    let passed = |world: &mut World, port| {
        (0..20).filter(|_| world.sends(client(port), PEER, &[7; 100]).is_some()).count()
    };
    for port in 1..=3 {
        let (login, _) = world.relay(client(port), "ada");
        assert_eq!(world.permits(client(port), &login, PEER), 0);
    }
    assert_eq!([1, 2, 3].map(|port| passed(&mut world, port)), [10, 10, 5]);
    world.now += Duration::from_millis(500);
    assert_eq!([1, 2].map(|port| passed(&mut world, port)), [5, 5]);
}

#[test]
fn a_client_is_answered_no_more_often_than_it_needs() {
    let mut world = World::new();
    let (login, _) = world.relay(client(1), "ada");
    let mut request = world.request(METHOD_REFRESH);
    sign(&mut request, &login);
    let answered = (0..1_000).filter(|_| world.try_ask(client(1), &request).is_some()).count();
    assert!((90..=100).contains(&answered), "{answered}");
}

#[test]
fn a_relay_ends_when_it_is_given_up_expires_or_loses_its_stream() {
    let mut world = World::new();
    let (login, _) = world.relay(client(1), "ada");
    let end = |request: &mut Message| request.add(ATTR_LIFETIME, &[0; 4]);
    assert_eq!(code(&world.asks(client(1), &login, METHOD_REFRESH, end)), 0);
    assert_eq!(world.server.count(), 0);

    world.relay(stream(2), "ada");
    world.server.gone(stream(2));
    assert_eq!(world.server.count(), 0);

    let (login, _) = world.relay(client(3), "ada");
    world.now += Duration::from_secs(599);
    world.server.expire(world.now);
    let long = |request: &mut Message| request.add(ATTR_LIFETIME, &99_999_u32.to_be_bytes());
    let answer = world.asks(client(3), &login, METHOD_REFRESH, long);
    assert_eq!(answer.get(ATTR_LIFETIME).unwrap(), 600_u32.to_be_bytes(), "never more than ten minutes");
    world.now += Duration::from_secs(599);
    world.server.expire(world.now);
    assert_eq!(world.server.count(), 1);
    world.now += Duration::from_secs(1);
    world.server.expire(world.now);
    assert_eq!(world.server.count(), 0);
}

#[test]
fn a_relay_outlives_its_credentials_but_not_a_day() {
    let mut world = World::new();
    world.relay(client(1), "ada");
    let (username, password) = world.keys.username("ada", UNIX_S + 1).unwrap();
    let mut hours = 0;
    while world.server.count() == 1 && hours < 48 {
        hours += 1;
        for _ in 0..6 {
            world.now += Duration::from_secs(599);
            if world.server.count() == 1 {
                let nonce = world.login_nonce(client(1));
                let login =
                    Login { username: username.clone(), password: password.clone(), realm: REALM, nonce };
                assert_eq!(code(&world.asks(client(1), &login, METHOD_REFRESH, |_| {})), 0);
                world.server.expire(world.now);
            }
        }
    }
    assert_eq!(hours, 25, "of 3594 s");
}

impl World {
    /// Has a client ask without a signature for a new nonce.
    fn login_nonce(&mut self, client: ClientAddress) -> String {
        let request = self.request(METHOD_REFRESH);
        String::from_utf8(self.ask(client, &request).get(ATTR_NONCE).unwrap()).unwrap()
    }
}

#[test]
fn frames_of_a_stream_are_told_apart_and_bounded() {
    assert_eq!(frame_len(&[]), Ok(None));
    assert_eq!(frame_len(&[0, 1, 0]), Ok(None));
    let request = message(CLASS_REQUEST, &Message::new()).raw;
    for len in 4..20 {
        assert_eq!(frame_len(&request[..len]), Ok(None));
    }
    assert_eq!(frame_len(&[&request[..], &[9]].concat()), Ok(Some(20)));
    assert_eq!(frame_len(&[0x40, 0, 0, 1, 7]), Ok(None), "the padding is missing");
    assert_eq!(frame_len(&[0x40, 0, 0, 1, 7, 0, 0, 0, 0]), Ok(Some(8)));
    for no_frame in [*b"GET ", [0, 1, 0, 3], [0x80, 0, 0, 0], [0x40, 0, 0x10, 0], [0, 1, 0x10, 0]] {
        assert_eq!(frame_len(&no_frame), Err(NoFrame), "{no_frame:?}");
    }
    assert_eq!(frame_len(&[&[0x40, 0, 0x0f, 0xfc], &[0; 4092][..]].concat()), Ok(Some(FRAME_LEN_MAX)));
}

/// Bytes, or a signed request of which some bytes are changed, or that is cut.
fn hostile() -> impl Strategy<Value = (Vec<(usize, u8)>, usize, Vec<u8>)> {
    let changes = prop::collection::vec((0_usize..200, any::<u8>()), 0..4);
    (changes, 0_usize..200, prop::collection::vec(any::<u8>(), 0..100))
}

proptest! {
    #[test]
    fn no_bytes_make_the_server_panic_or_give_a_stranger_a_relay(
        inputs in prop::collection::vec((hostile(), 0_u8..4), 1..8)
    ) {
        let mut world = World::new();
        let (login, _) = world.relay(client(1), "ada");
        let wrong = Login { password: "guessed".to_owned(), ..world.login(client(2), "ada") };
        for ((changes, cut, bytes), kind) in inputs {
            let method = [METHOD_ALLOCATE, METHOD_REFRESH, METHOD_CREATE_PERMISSION, METHOD_CHANNEL_BIND];
            let mut request = world.request(method[usize::from(kind)]);
            over_udp(&mut request);
            bound(&mut request, 0x4001, PEER);
            sign(&mut request, if cut % 2 == 0 { &login } else { &wrong });
            let mut sent = request.raw.clone();
            for (place, byte) in changes {
                let len = sent.len();
                sent[place % len] = byte;
            }
            sent.truncate(sent.len().saturating_sub(cut / 2));
            for (from, data) in [(client(1), &sent), (client(2), &sent), (client(1), &bytes), (client(2), &bytes)] {
                let _ = world.server.handle(world.now, from, data);
                let _ = frame_len(data);
            }
        }
        prop_assert!(!world.server.knows(client(2)));
    }
}
