//! What happens to whole hosts: crashes, suspended machines, changes of network.

use std::io::{BufRead, BufReader};
use std::net::UdpSocket;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::rig::{self, Lab, NETLAB, Udp};

/// Where the program in a host that sends back each packet listens.
const ECHO_AT: &str = "NETLAB_ECHO_AT";

/// The program: this test binary starts itself inside a host, with its address in the environment.
#[test]
#[ignore = "a program for the other tests"]
fn echo_program() {
    let Ok(address) = std::env::var(ECHO_AT) else { return };
    let socket = UdpSocket::bind(address).unwrap();
    println!("up");
    let mut packet = [0; 16];
    while let Ok((len, peer)) = socket.recv_from(&mut packet) {
        socket.send_to(&packet[..len], peer).unwrap();
    }
}

/// Starts the program in a host. Returns it, and where it listens.
fn echo(lab: &Lab, host: &str) -> (Child, String) {
    let address = format!("{}:9000", lab.udp(host).local().ip());
    let mut echo = Command::new(NETLAB)
        .args(["--lab", lab.name(), "exec", host, "--"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "hosts::echo_program", "--ignored", "--nocapture"])
        .env(ECHO_AT, &address)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(echo.stdout.take().unwrap()).lines();
    assert!(lines.map_while(Result::ok).any(|line| line.ends_with("up")), "the program has started");
    (echo, address)
}

/// How long a packet takes to come back, if it does within three seconds.
fn round_trip(from: &Udp, to: &str) -> Option<Duration> {
    let begun = Instant::now();
    from.0.send_to(b"probe", to).unwrap();
    from.0.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
    from.0.recv(&mut [0; 16]).ok().map(|_| begun.elapsed())
}

#[test]
fn a_stalled_host_answers_late_and_a_killed_one_never() {
    if !rig::is_possible() {
        return;
    }
    let lab = Lab::up("[hosts.a]\n[hosts.b]");
    let (a, (mut program, b)) = (lab.udp("a"), echo(&lab, "b"));
    assert!(round_trip(&a, &b).is_some());
    lab.run(&["stall", "b", "1s"]);
    let took = round_trip(&a, &b).expect("the stall has ended");
    assert!(took >= Duration::from_millis(800), "{took:?}");
    lab.run(&["kill", "b"]);
    assert!(!program.wait().unwrap().success());
    assert_eq!(round_trip(&a, &b), None);
    assert!(lab.stats("b")["cut"].as_bool().unwrap());
    lab.run(&["heal", "b"]);
    let (mut again, b) = echo(&lab, "b");
    assert!(round_trip(&a, &b).is_some());
    lab.run(&["kill", "b"]);
    again.wait().unwrap();
}

#[test]
fn a_host_that_moves_has_another_address_and_is_lost_at_the_old_one() {
    if !rig::is_possible() {
        return;
    }
    let lab = Lab::up("[nats.flat]\nkind = 'full-cone'\n[hosts.a]\n[hosts.b]\n[hosts.c]\nnat = 'flat'");
    let (a, b) = (lab.udp("a"), lab.udp("b"));
    assert_eq!(b.seen_by(&a), Some(b.local()));
    let mut seen = vec![b.local().ip().to_string()];
    for (nat, is_private) in
        [(None, false), (Some("symmetric"), true), (None, true), (Some("flat"), true), (Some("none"), false)]
    {
        let words: Vec<&str> = ["move", "b"].into_iter().chain(nat).collect();
        let told = lab.run(&words);
        let [host, address, public] = told.split_whitespace().collect::<Vec<_>>()[..] else {
            panic!("{told}")
        };
        assert_eq!((host, address != public), ("b", is_private), "{told}");
        assert!(!seen.contains(&public.to_owned()), "{told}");
        seen.push(public.to_owned());
        let now = lab.udp("b");
        assert_eq!(now.local().ip().to_string(), address);
        let from = now.seen_by(&a).expect("packets from the new place arrive");
        assert_eq!(from.ip().to_string(), public);
        a.send(b.local()); // the first address
        assert_eq!(b.receive(), None);
    }
    let failed = lab.command(&["move", "b", "conical"]);
    assert!(String::from_utf8_lossy(&failed.stderr).contains("neither in [nats] nor a kind of NAT"));
}
