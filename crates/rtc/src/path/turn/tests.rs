//! Tests of the client in virtual time, at a server that keeps to lifetimes.

use std::collections::BTreeMap;
use std::net::IpAddr;

use proptest::prelude::*;
use rtc::crypto::default_provider;
use rtc::stun::attributes::*;
use rtc::stun::integrity::MessageIntegrity;
use rtc::stun::message::*;

use super::*;
use crate::turn_messages::*;

const SERVER: &str = "198.51.100.1:3478";
const RELAYED: &str = "198.51.100.1:50000";
const PEER: &str = "203.0.113.5:7000";
const REALM: &str = "example.org";

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// A TURN server of one client.
struct Server {
    relayed: SocketAddr,
    password: &'static str,
    nonce: u32,
    lifetime_s: u64,
    allocated_until: Option<Instant>,
    permits: BTreeMap<IpAddr, Instant>,
    channels: BTreeMap<u16, (SocketAddr, Instant)>,
    /// Requests so far, by method.
    asked: Vec<Method>,
    is_silent: bool,
    /// Answers with this error, in place of a success, to requests of this method.
    refuses: Option<(Method, u16)>,
}

impl Server {
    fn new() -> Server {
        Server {
            relayed: at(RELAYED),
            password: "secret",
            nonce: 1,
            lifetime_s: 600,
            allocated_until: None,
            permits: BTreeMap::new(),
            channels: BTreeMap::new(),
            asked: Vec::new(),
            is_silent: false,
            refuses: None,
        }
    }

    fn is_alive(&self, now: Instant) -> bool {
        self.allocated_until.is_some_and(|until| until > now)
    }

    fn count(&self, method: Method) -> usize {
        self.asked.iter().filter(|asked| **asked == method).count()
    }

    fn key(&self) -> Vec<u8> {
        let text = |text: &str| text.to_owned();
        let provider = default_provider().unwrap();
        MessageIntegrity::long_term_integrity_key(
            text("ada"),
            text(REALM),
            text(self.password),
            provider.crypto(),
        )
        .unwrap()
    }

    fn signed(&self, mut answer: Message) -> Vec<u8> {
        let provider = default_provider().unwrap();
        let signature = MessageIntegrity::new_raw_integrity_with_provider(self.key(), provider.crypto());
        signature.add_to(&mut answer).unwrap();
        answer.raw
    }

    /// Handles a request.
    fn ask(&mut self, now: Instant, datagram: &[u8]) -> Option<Vec<u8>> {
        let mut request = Message::new();
        request.unmarshal_binary(datagram).unwrap();
        assert_eq!(request.typ.class, CLASS_REQUEST);
        let method = request.typ.method;
        self.asked.push(method);
        if self.is_silent {
            return None;
        }
        let provider = default_provider().unwrap();
        let is_signed = MessageIntegrity::check(&mut request, &self.key(), provider.crypto()).is_ok();
        let code = match request.get(ATTR_NONCE) {
            Ok(nonce) if nonce != self.nonce.to_be_bytes() => Some(438),
            Ok(_) if is_signed => None,
            _ => Some(401),
        };
        if let Some(code) = code {
            return Some(self.challenge(&request, code));
        }
        if method != METHOD_ALLOCATE && !self.is_alive(now) {
            return Some(self.signed(error(&request, 437)));
        }
        if let Some((_, code)) = self.refuses.filter(|(of, _)| *of == method) {
            return Some(self.signed(error(&request, code)));
        }
        let mut answer = reply(&request, CLASS_SUCCESS_RESPONSE);
        let in_s = |s| now + Duration::from_secs(s);
        match method {
            METHOD_ALLOCATE => {
                assert_eq!(request.get(ATTR_REQUESTED_TRANSPORT).unwrap(), [17, 0, 0, 0]);
                let is_v6 = request.get(ATTR_REQUESTED_ADDRESS_FAMILY).is_ok_and(|family| family[0] == 2);
                assert_eq!(is_v6, self.relayed.is_ipv6());
                self.allocated_until = Some(in_s(self.lifetime_s));
                add(&mut answer, ATTR_XOR_RELAYED_ADDRESS, self.relayed);
                add(&mut answer, ATTR_XORMAPPED_ADDRESS, at("192.0.2.9:4000"));
                answer.add(ATTR_LIFETIME, &(self.lifetime_s as u32).to_be_bytes());
            }
            METHOD_REFRESH => {
                let is_end = request.get(ATTR_LIFETIME).is_ok_and(|lifetime| lifetime == [0; 4]);
                self.allocated_until = (!is_end).then(|| in_s(self.lifetime_s));
                answer.add(ATTR_LIFETIME, &(if is_end { 0 } else { self.lifetime_s as u32 }).to_be_bytes());
            }
            METHOD_CREATE_PERMISSION => _ = self.permits.insert(peer(&request).ip(), in_s(300)),
            METHOD_CHANNEL_BIND => {
                let number = request.get(ATTR_CHANNEL_NUMBER).unwrap();
                let number = u16::from_be_bytes([number[0], number[1]]);
                self.channels.insert(number, (peer(&request), in_s(600)));
                self.permits.insert(peer(&request).ip(), in_s(300));
            }
            _ => panic!("{method}"),
        }
        Some(self.signed(answer))
    }

    fn challenge(&self, request: &Message, code: u16) -> Vec<u8> {
        let mut answer = error(request, code);
        answer.add(ATTR_REALM, REALM.as_bytes());
        answer.add(ATTR_NONCE, &self.nonce.to_be_bytes());
        answer.raw
    }

    /// Returns the peer and the data of what the client has wrapped, if it may be sent on.
    fn relays(&self, now: Instant, wrapped: &[u8]) -> Option<(SocketAddr, Vec<u8>)> {
        let (to, data) = match wrapped[0] {
            0x40 => {
                let (number, data) = message::channel_data(wrapped).unwrap();
                (self.channels.get(&number).filter(|(_, until)| *until > now)?.0, data.to_vec())
            }
            _ => {
                let mut indication = Message::new();
                indication.unmarshal_binary(wrapped).unwrap();
                assert_eq!(indication.typ, MessageType::new(METHOD_SEND, CLASS_INDICATION));
                (peer(&indication), indication.get(ATTR_DATA).unwrap())
            }
        };
        let is_permitted = self.permits.get(&to.ip()).is_some_and(|until| *until > now);
        (is_permitted && self.is_alive(now)).then_some((to, data))
    }
}

struct World {
    now: Instant,
    turn: Turn,
    server: Server,
}

impl World {
    fn new() -> World {
        World::at(SERVER, Server::new())
    }

    fn at(address: &str, server: Server) -> World {
        let now = Instant::now();
        let credentials =
            TurnServer { address: at(address), username: "ada".to_owned(), password: "secret".to_owned() };
        World { now, turn: Turn::new(now, credentials, default_provider().unwrap()), server }
    }

    fn allocated() -> World {
        let mut world = World::new();
        world.run(0);
        assert_eq!(world.turn.relayed(), Some(at(RELAYED)));
        world
    }

    /// Does what is due in this time.
    fn run(&mut self, s: u64) {
        let until = self.now + Duration::from_secs(s);
        while let Some(due) = self.turn.poll_timeout().filter(|due| *due <= until) {
            self.now = self.now.max(due);
            for request in self.turn.take_due(self.now) {
                if let Some(answer) = self.server.ask(self.now, &request) {
                    assert_eq!(self.turn.receive(self.now, &answer), None);
                }
            }
        }
        self.now = until;
    }

    fn wrap(&mut self, to: &str, data: &[u8], wants_channel: bool) -> Option<Vec<u8>> {
        let mut wrapped = Vec::new();
        self.turn.wrap(self.now, at(to), data, wants_channel, &mut wrapped).then_some(wrapped)
    }

    /// Sends data; returns what arrives at the peer.
    fn send(&mut self, to: &str, wants_channel: bool) -> Option<(SocketAddr, Vec<u8>)> {
        let wrapped = self.wrap(to, b"abcde", wants_channel)?;
        self.server.relays(self.now, &wrapped)
    }
}

#[test]
fn a_relay_carries_datagrams_by_indications_and_then_by_a_channel() {
    let mut world = World::new();
    assert!(!world.turn.is_heard());
    world.run(0);
    let seen = Some(at("192.0.2.9:4000"));
    assert_eq!(world.turn.take_relay(), Some(Relay { relayed: at(RELAYED), seen }));
    assert_eq!(world.turn.take_relay(), None, "once");
    assert_eq!(world.server.count(METHOD_ALLOCATE), 2, "the first one is not signed");
    let arrived = Some((at(PEER), b"abcde".to_vec()));

    assert_eq!(world.wrap(PEER, b"abcde", false), None, "there is no permission yet");
    let data = indication(at(PEER), b"early");
    assert_eq!(world.turn.receive(world.now, &data), None);
    world.run(0);
    assert_eq!(world.send(PEER, false), arrived);
    assert_eq!(world.server.count(METHOD_CHANNEL_BIND), 0, "a check wants none");
    let data = indication(at(PEER), b"fgh");
    assert_eq!(world.turn.receive(world.now, &data), Some((at(PEER), &b"fgh"[..])));

    assert_eq!(world.send(PEER, true), arrived, "and asks for a channel");
    world.run(0);
    let wrapped = world.wrap(PEER, b"abcde", false).unwrap();
    assert_eq!(wrapped, [&[0x40, 0, 0, 5][..], b"abcde"].concat());
    let padded = [0x40, 0, 0, 2, 8, 9, 0, 0];
    assert_eq!(world.turn.receive(world.now, &padded), Some((at(PEER), &[8, 9][..])));
    assert_eq!(world.turn.receive(world.now, &[0x40, 1, 0, 1, 8]), None, "no such channel");
    assert_eq!(world.turn.receive(world.now, &[0x40, 0, 0, 9, 8]), None, "cut off");
    assert_eq!(world.server.count(METHOD_CREATE_PERMISSION), 1, "another port needs none");
    assert!(world.send("203.0.113.5:9", false).is_some());
}

#[test]
fn a_relay_of_ipv6_is_asked_for_at_a_server_of_ipv6() {
    let relayed = at("[2001:db8::1]:50000");
    let mut world = World::at("[2001:db8::1]:3478", Server { relayed, ..Server::new() });
    world.run(0);
    assert_eq!(world.turn.relayed(), Some(relayed));
    let peer = "[2001:db8::77]:7000";
    assert_eq!((world.send(peer, false), world.send(PEER, false)), (None, None));
    world.run(0);
    assert_eq!(world.send(peer, false), Some((at(peer), b"abcde".to_vec())));
    let data = indication(at(peer), b"fgh");
    assert_eq!(world.turn.receive(world.now, &data), Some((at(peer), &b"fgh"[..])));
    assert_eq!(world.server.count(METHOD_CREATE_PERMISSION), 1, "none for IPv4");
}

#[test]
fn everything_is_renewed_in_time_for_hours() {
    let mut world = World::allocated();
    world.send(PEER, true);
    world.run(1);
    for s in 1..2 * 3_600 {
        if s % 1_000 == 0 {
            world.server.nonce += 1;
        }
        // the server is away for less than the renewals leave
        world.server.is_silent = (1_900..1_950).contains(&s);
        assert!(world.send(PEER, true).is_some(), "after {s} s");
        world.run(1);
    }
    let asked = world.server.asked.len();
    assert!((100..150).contains(&asked), "{asked} requests in two hours");
}

#[test]
fn a_silent_server_is_asked_four_times_and_then_given_up() {
    let mut world = World::at(SERVER, Server { is_silent: true, ..Server::new() });
    let begun = world.now;
    let mut asked = Vec::new();
    while let Some(due) = world.turn.poll_timeout() {
        let times = world.turn.take_due(due).len();
        asked.extend((0..times).map(|_| (due - begun).as_millis()));
        world.now = due;
    }
    assert_eq!(asked, [0, 500, 1_500, 3_500]);
    assert_eq!((world.turn.is_over(), (world.now - begun).as_millis()), (true, 7_500));
}

#[test]
fn only_a_signed_answer_of_the_same_transaction_counts() {
    let mut world = World::new();
    let first = world.turn.take_due(world.now).remove(0);
    let mut request = Message::new();
    request.unmarshal_binary(&first).unwrap();
    let mut success = reply(&request, CLASS_SUCCESS_RESPONSE);
    add(&mut success, ATTR_XOR_RELAYED_ADDRESS, at(RELAYED));
    success.add(ATTR_LIFETIME, &600_u32.to_be_bytes());
    world.turn.receive(world.now, &world.server.signed(success));
    assert_eq!(world.turn.relayed(), None, "nothing was signed before the challenge");
    let challenge = world.server.ask(world.now, &first).unwrap();
    let mut other = challenge.clone();
    other[8] ^= 1;
    world.turn.receive(world.now, &other);
    assert!(!world.turn.is_heard());
    world.turn.receive(world.now, &challenge);
    assert!(world.turn.is_heard());

    let second = world.turn.take_due(world.now).remove(0);
    request.unmarshal_binary(&second).unwrap();
    let mut success = reply(&request, CLASS_SUCCESS_RESPONSE);
    add(&mut success, ATTR_XOR_RELAYED_ADDRESS, at(RELAYED));
    success.add(ATTR_LIFETIME, &600_u32.to_be_bytes());
    let forged = Server { password: "guess", ..Server::new() };
    let other_kind = {
        let mut other = reply(&request, CLASS_SUCCESS_RESPONSE);
        other.typ = MessageType::new(METHOD_REFRESH, CLASS_SUCCESS_RESPONSE);
        other.write_header();
        world.server.signed(other)
    };
    // a signature of less than everything: the address comes after it
    let mut after = Message::new();
    let short = world.server.signed(reply(&request, CLASS_SUCCESS_RESPONSE));
    after.unmarshal_binary(&short).unwrap();
    add(&mut after, ATTR_XOR_RELAYED_ADDRESS, at("203.0.113.66:1"));
    let unsigned_error = error(&request, 486).raw;
    for wrong in [&success.raw, &forged.signed(success.clone()), &other_kind, &unsigned_error] {
        world.turn.receive(world.now, wrong);
        assert!(world.turn.relayed().is_none() && !world.turn.is_over());
    }
    let genuine = world.server.ask(world.now, &second).unwrap();
    world.turn.receive(world.now, &genuine);
    assert_eq!(world.turn.relayed(), Some(at(RELAYED)));

    let mut world = World::new();
    let first = world.turn.take_due(world.now).remove(0);
    let challenge = world.server.ask(world.now, &first).unwrap();
    world.turn.receive(world.now, &challenge);
    let second = world.turn.take_due(world.now).remove(0);
    after.raw[8..20].copy_from_slice(&second[8..20]);
    world.turn.receive(world.now, &after.raw);
    assert_eq!(world.turn.relayed(), None);
}

#[test]
fn wrong_credentials_and_refusals_end_the_attempt_at_once() {
    let mut world = World::at(SERVER, Server { password: "other", ..Server::new() });
    world.run(10);
    assert_eq!((world.turn.is_over(), world.server.asked.len()), (true, 2));
    for code in [400, 437, 440, 441, 486, 508] {
        let refuses = Some((METHOD_ALLOCATE, code));
        let mut world = World::at(SERVER, Server { refuses, ..Server::new() });
        world.run(10);
        assert_eq!((world.turn.is_over(), world.server.asked.len()), (true, 2), "{code}");
    }
}

#[test]
fn a_server_that_always_wants_another_nonce_is_given_up() {
    let mut world = World::new();
    for _ in 0..10 {
        for request in world.turn.take_due(world.now) {
            let answer = world.server.ask(world.now, &request).unwrap();
            world.server.nonce += 1;
            world.turn.receive(world.now, &answer);
        }
    }
    assert_eq!((world.turn.is_over(), world.server.asked.len()), (true, 4));
}

#[test]
fn a_relay_that_nobody_reaches_is_ended_and_not_told() {
    for relayed in ["10.0.0.1:50000", "127.0.0.1:50000", "0.0.0.0:50000", "224.0.0.1:50000", "198.51.100.1:0"]
    {
        let mut world = World::at(SERVER, Server { relayed: at(relayed), ..Server::new() });
        world.run(0);
        assert_eq!((world.turn.relayed(), world.turn.take_relay()), (None, None), "{relayed}");
        assert!(world.turn.is_over() && world.server.allocated_until.is_none(), "{relayed}");
    }
    let mut world = World::at("10.0.0.9:3478", Server { relayed: at("10.0.0.1:50000"), ..Server::new() });
    world.run(0);
    assert!(world.turn.relayed().is_some(), "a server of the same private network");
}

#[test]
fn permissions_are_bounded_and_none_is_asked_for_in_foreign_networks() {
    let mut world = World::allocated();
    for foreign in ["10.0.0.1:80", "127.0.0.1:22", "192.168.1.1:80", "224.0.0.1:9", "[2001:db8::7]:80"] {
        assert_eq!(world.send(foreign, true), None);
    }
    for last in 1..100 {
        world.send(&format!("203.0.113.{last}:7"), true);
    }
    world.run(1);
    assert_eq!(world.server.count(METHOD_CREATE_PERMISSION), PERMITS_MAX);
    for last in 1..100 {
        world.send(&format!("203.0.113.{last}:7"), true);
    }
    world.run(1);
    assert_eq!(world.server.count(METHOD_CHANNEL_BIND), CHANNELS_MAX);
    assert_eq!(world.server.permits.len(), PERMITS_MAX);
    assert!(world.send("203.0.113.12:7", true).is_some() && world.send("203.0.113.13:7", true).is_none());
}

#[test]
fn a_refused_permission_is_not_asked_for_again_nor_a_channel_needed() {
    let mut world = World::allocated();
    world.server.refuses = Some((METHOD_CREATE_PERMISSION, 403));
    for _ in 0..100 {
        assert_eq!(world.send(PEER, true), None);
        world.run(10);
    }
    assert_eq!(world.server.count(METHOD_CREATE_PERMISSION), 1);
    let mut world = World::allocated();
    world.server.refuses = Some((METHOD_CHANNEL_BIND, 508));
    world.send(PEER, true);
    world.run(0);
    for _ in 0..100 {
        assert!(world.send(PEER, true).is_some());
        world.run(10);
    }
    assert_eq!(world.server.count(METHOD_CHANNEL_BIND), 1);
}

#[test]
fn a_server_that_has_forgotten_the_relay_or_is_dead_ends_it() {
    let mut world = World::allocated();
    world.send(PEER, true);
    world.run(1);
    world.server.allocated_until = None;
    world.run(201);
    assert!(world.turn.is_over(), "by the next renewal");

    let mut world = World::allocated();
    world.send(PEER, true);
    world.run(1);
    world.server.is_silent = true;
    let asked = world.server.asked.len();
    world.run(700);
    assert!(world.turn.is_over() && world.turn.poll_timeout().is_none());
    let asked = world.server.asked.len() - asked;
    assert!(asked <= 3 * 4 * 20, "{asked} requests to a dead server");
}

#[test]
fn a_lifetime_that_no_honest_server_gives_costs_few_requests() {
    let mut world = World::at(SERVER, Server { lifetime_s: 0, ..Server::new() });
    world.run(600);
    assert!(world.turn.is_over() && world.server.asked.len() < 5);
    let mut world = World::at(SERVER, Server { lifetime_s: u32::MAX.into(), ..Server::new() });
    world.run(24 * 3_600);
    assert!(world.turn.relayed().is_some() && world.server.count(METHOD_REFRESH) == 48);
}

#[test]
fn an_ended_relay_is_given_back() {
    let mut world = World::allocated();
    world.turn.end(world.now);
    assert_eq!(world.turn.relayed(), None);
    world.run(0);
    assert!(world.turn.is_over() && world.server.allocated_until.is_none());
    // the server allocates while the link ends
    let mut world = World::new();
    for _ in 0..2 {
        for request in world.turn.take_due(world.now) {
            let answer = world.server.ask(world.now, &request).unwrap();
            if world.server.allocated_until.is_none() {
                world.turn.receive(world.now, &answer);
            }
        }
    }
    world.turn.end(world.now);
    world.run(0);
    assert!(world.turn.is_over() && world.server.allocated_until.is_none());
    let mut unheard = World::new();
    unheard.turn.end(unheard.now);
    assert!(unheard.turn.is_over());
}

#[test]
fn the_password_is_not_shown() {
    let shown = format!("{:?}", World::new().turn.server);
    assert!(shown.contains(SERVER) && !shown.contains("secret"), "{shown}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Changed answers at any stage, and datagrams of any bytes, cause no panic and few requests.
    #[test]
    fn no_datagram_of_a_server_causes_a_panic(
        changes in proptest::collection::vec((any::<u8>(), any::<u16>(), any::<u8>()), 1..40),
        any_bytes in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..80), 0..40),
    ) {
        let mut world = World::new();
        for step in 0..200 {
            world.now += Duration::from_millis(700);
            world.send(PEER, step % 3 == 0);
            for request in world.turn.take_due(world.now) {
                let Some(mut answer) = world.server.ask(world.now, &request) else { continue };
                let (one_in, place, mask) = changes[step % changes.len()];
                if one_in < 128 {
                    let place = usize::from(place) % answer.len();
                    answer[place] ^= mask;
                }
                world.turn.receive(world.now, &answer);
            }
            let mut data = indication(at(PEER), b"fgh");
            let (_, place, mask) = changes[step % changes.len()];
            let place = usize::from(place) % data.len();
            data[place] ^= mask;
            let _ = world.turn.receive(world.now, &data);
            for bytes in &any_bytes {
                let _ = world.turn.receive(world.now, bytes);
            }
        }
        prop_assert!(world.server.asked.len() < 100);
    }
}
