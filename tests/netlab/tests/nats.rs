//! Each kind of NAT, told from its behaviour as a program under test would see it. Needs root.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use crate::rig::{Lab, Udp};

/// One host behind a NAT of a kind, and two in the open.
fn lab_with(kind: &str) -> Lab {
    Lab::up(&format!("[hosts.inner]\nnat = '{kind}'\ndelay = '2ms'\n[hosts.x]\n[hosts.y]"))
}

/// What a probe finds out about the NAT in front of `inner`.
#[derive(Debug, PartialEq)]
struct Behaviour {
    /// Other remote ends see the same external port.
    keeps_mapping: bool,
    /// Whether packets come in from: the same address but another port; another address.
    admits_other_port: bool,
    admits_other_address: bool,
}

fn probe(kind: &str) -> Behaviour {
    let lab = lab_with(kind);
    let inner = lab.udp("inner");
    let (x, x_other_port, y) = (lab.udp("x"), lab.udp("x"), lab.udp("y"));
    let external = inner.seen_by(&x).expect("the way out is open");
    assert_ne!(external, inner.local());
    assert_eq!(inner.seen_by(&x), Some(external), "a mapping stays as it is");
    assert_eq!(admits(&inner, &x, external), Some(x.local()), "an answer comes in");
    let admits_other_port = admits(&inner, &x_other_port, external).is_some();
    let admits_other_address = admits(&inner, &y, external).is_some();
    // Last, because it opens the filter for y.
    let keeps_mapping = inner.seen_by(&y) == Some(external);
    Behaviour { keeps_mapping, admits_other_port, admits_other_address }
}

fn admits(inner: &Udp, from: &Udp, external: SocketAddr) -> Option<SocketAddr> {
    from.send(external);
    inner.receive()
}

#[test]
#[ignore = "slow: ./run nightly netlab"]
fn full_cone() {
    let expected = Behaviour { keeps_mapping: true, admits_other_port: true, admits_other_address: true };
    assert_eq!(probe("full-cone"), expected);
}

#[test]
#[ignore = "slow: ./run nightly netlab"]
fn restricted_cone() {
    let expected = Behaviour { keeps_mapping: true, admits_other_port: true, admits_other_address: false };
    assert_eq!(probe("restricted-cone"), expected);
}

#[test]
#[ignore = "slow: ./run nightly netlab"]
fn port_restricted() {
    let expected = Behaviour { keeps_mapping: true, admits_other_port: false, admits_other_address: false };
    assert_eq!(probe("port-restricted"), expected);
}

#[test]
#[ignore = "slow: ./run nightly netlab"]
fn symmetric() {
    let expected = Behaviour { keeps_mapping: false, admits_other_port: false, admits_other_address: false };
    assert_eq!(probe("symmetric"), expected);
}

#[test]
#[ignore = "slow: ./run nightly netlab"]
fn one_to_one_keeps_ports_and_lets_anyone_in_first() {
    let lab = lab_with("one-to-one");
    let (inner, x) = (lab.udp("inner"), lab.udp("x"));
    let external = inner.seen_by(&x).expect("the way out is open");
    assert_eq!(external.port(), inner.local().port());
    assert_ne!(external.ip(), inner.local().ip());
    let (fresh, y) = (lab.udp("inner"), lab.udp("y"));
    let first = SocketAddr::new(external.ip(), fresh.local().port());
    assert_eq!(admits(&fresh, &y, first), Some(y.local()), "before a word from inside");
}

#[test]
#[ignore = "slow: ./run nightly netlab"]
fn a_firewall_without_udp_lets_tcp_through() {
    let lab = Lab::up("[hosts.inner]\nblock = 'udp'\n[hosts.x]");
    let (inner, x) = (lab.udp("inner"), lab.udp("x"));
    assert_eq!(inner.seen_by(&x), None);
    x.send(inner.local());
    assert_eq!(inner.receive(), None);
    assert_eq!(lab.stats("inner")["dropped_out"]["blocked"], 1);
    assert_eq!(lab.stats("inner")["dropped_in"]["blocked"], 1);
}

#[test]
#[ignore = "slow: ./run nightly netlab"]
fn hosts_in_the_open_see_each_other_as_they_are() {
    let lab = lab_with("full-cone");
    let (x, y) = (lab.udp("x"), lab.udp("y"));
    assert_eq!(x.seen_by(&y), Some(x.local()));
    // A private address means nothing outside.
    x.send(lab.udp("inner").local());
    x.send("198.18.200.200:9".parse().unwrap());
    thread::sleep(Duration::from_millis(50));
    assert_eq!(lab.stats("x")["dropped_out"]["no_route"], 2);
}

#[test]
#[ignore = "slow: ./run nightly netlab"]
fn two_port_restricted_hosts_can_punch_holes() {
    let lab = Lab::up("[hosts.a]\nnat = 'port-restricted'\n[hosts.b]\nnat = 'port-restricted'\n[hosts.x]");
    let (a, b, x) = (lab.udp("a"), lab.udp("b"), lab.udp("x"));
    let (a_external, b_external) = (a.seen_by(&x).unwrap(), b.seen_by(&x).unwrap());
    a.send(b_external);
    assert_eq!(b.receive(), None, "b has not sent to a yet");
    b.send(a_external);
    assert_eq!(a.receive(), Some(b_external));
    a.send(b_external);
    assert_eq!(b.receive(), Some(a_external));
}

#[test]
#[ignore = "slow: ./run nightly netlab"]
fn an_unused_mapping_times_out() {
    let lab =
        Lab::up("[nats.short]\nkind = 'full-cone'\ntimeout = '1s'\n[hosts.inner]\nnat = 'short'\n[hosts.x]");
    let (inner, x) = (lab.udp("inner"), lab.udp("x"));
    let external = inner.seen_by(&x).unwrap();
    thread::sleep(Duration::from_millis(700));
    assert_eq!(inner.seen_by(&x), Some(external), "sending keeps it alive");
    thread::sleep(Duration::from_millis(700));
    assert!(admits(&inner, &x, external).is_some());
    thread::sleep(Duration::from_millis(700));
    assert!(admits(&inner, &x, external).is_none(), "receiving does not");
    assert_eq!(lab.stats("x")["dropped_out"]["nat_refused"], 1);
    assert_ne!(inner.seen_by(&x), Some(external));
}

#[test]
#[ignore = "slow: ./run nightly netlab"]
fn neighbours_meet_directly_and_by_hairpin_only_where_allowed() {
    for hairpin in [true, false] {
        let lab = Lab::up(&format!(
            "[nats.home]\nkind = 'full-cone'\nhairpin = {hairpin}\n\
             [hosts.a]\nnat = 'home'\n[hosts.b]\nnat = 'home'\n[hosts.x]"
        ));
        let (a, b, x) = (lab.udp("a"), lab.udp("b"), lab.udp("x"));
        assert_eq!(a.seen_by(&b), Some(a.local()), "the local network has no NAT");
        let (a_external, b_external) = (a.seen_by(&x).unwrap(), b.seen_by(&x).unwrap());
        a.send(b_external);
        assert_eq!(b.receive(), hairpin.then_some(a_external));
    }
}

#[test]
#[ignore = "slow: ./run nightly netlab"]
fn tcp_and_ping_pass_the_strictest_nat() {
    let lab = lab_with("symmetric");
    let address = lab.udp("x").local().ip();
    let listener = lab.inside("x", || TcpListener::bind((address, 0)).unwrap());
    let server = listener.local_addr().unwrap();
    let answer = thread::scope(|scope| {
        scope.spawn(|| {
            let (mut stream, _) = listener.accept().unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).unwrap();
            stream.write_all(text.to_uppercase().as_bytes()).unwrap();
        });
        lab.inside("inner", || {
            let mut stream = TcpStream::connect(server).unwrap();
            stream.write_all("plenary ".repeat(50_000).as_bytes()).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).unwrap();
            text
        })
    });
    assert_eq!(answer, "PLENARY ".repeat(50_000));
    lab.run(&["exec", "inner", "--", "ping", "-c", "2", "-i", "0.1", &server.ip().to_string()]);
}
