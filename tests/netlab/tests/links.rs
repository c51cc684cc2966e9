//! Rates, delays, losses, live changes and clean-up, measured from inside the hosts. Needs root.

use std::time::{Duration, Instant};
use std::{fs, path::Path, process::Command, thread};

use crate::rig::{Lab, NETLAB, Udp};
use rustix::process::Signal;

const TWO_HOSTS: &str = "[hosts.a]\n[hosts.b]\n";
/// IPv4 and UDP.
const HEADER_BYTES: usize = 28;

fn assert_near(measured: f64, wanted: f64, tolerance: f64) {
    let error = (measured / wanted - 1.0).abs();
    assert!(error <= tolerance, "measured {measured}, wanted {wanted} within {tolerance}");
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Offers packets at a rate and returns the rate at which they arrive, in bits per second of IP.
fn transfer(from: &Udp, to: &Udp, offered: f64, duration: Duration) -> f64 {
    const PACKET_BYTES: usize = 1000;
    to.0.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    thread::scope(|scope| {
        let receiver = scope.spawn(|| {
            let mut arrivals = Vec::new();
            while to.0.recv(&mut [0; PACKET_BYTES]).is_ok() {
                arrivals.push(Instant::now());
            }
            arrivals
        });
        let started = Instant::now();
        let payload = [0; PACKET_BYTES - HEADER_BYTES];
        let mut sent = 0;
        while started.elapsed() < duration {
            let due = started.elapsed().as_secs_f64() * offered / 8.0 / PACKET_BYTES as f64;
            while f64::from(sent) < due {
                from.0.send_to(&payload, to.local()).unwrap();
                sent += 1;
            }
            thread::sleep(Duration::from_millis(1));
        }
        let arrivals = receiver.join().unwrap();
        let time = *arrivals.last().unwrap() - arrivals[0];
        ((arrivals.len() - 1) * PACKET_BYTES * 8) as f64 / time.as_secs_f64()
    })
}

#[test]
#[ignore = "slow: ./run nightly netlab"]
fn ping_takes_the_delays_of_both_links_there_and_back() {
    let lab = Lab::up("[hosts.a]\ndelay = '30ms'\n[hosts.b]\ndelay = '20ms'");
    let b = lab.udp("b").local().ip().to_string();
    let shown = lab.run(&["exec", "a", "--", "ping", "-c", "10", "-i", "0.1", &b]);
    let line = shown.lines().last().unwrap();
    // The shortest, for the longer ones also tell how busy the machine is.
    let shortest = line.split('=').nth(1).unwrap().trim().split('/').next().unwrap();
    assert_near(shortest.parse().unwrap(), 100.0, 0.03);
}

#[test]
#[ignore = "slow: ./run nightly netlab"]
fn the_slower_of_uplink_and_downlink_sets_the_rate() {
    let lab = Lab::up("[hosts.a]\nup = '4mbit'\n[hosts.b]\ndown = '20mbit'\n[hosts.c]\ndown = '2mbit'");
    let (a, b, c) = (lab.udp("a"), lab.udp("b"), lab.udp("c"));
    let two_seconds = Duration::from_secs(2);
    assert_near(transfer(&a, &b, 8e6, two_seconds), 4e6, 0.05);
    assert_near(transfer(&a, &c, 3.5e6, two_seconds), 2e6, 0.05);
    assert_near(transfer(&b, &a, 6e6, two_seconds), 6e6, 0.05);
    assert!(lab.stats("a")["dropped_out"]["queue_full"].as_u64().unwrap() > 0);
    assert!(lab.stats("c")["dropped_in"]["queue_full"].as_u64().unwrap() > 0);
}

#[test]
#[ignore = "slow: ./run nightly netlab"]
fn a_full_queue_delays_by_its_length() {
    let lab = Lab::up("[hosts.a]\nup = '2mbit'\nqueue = '150ms'\n[hosts.b]");
    let (a, b) = (lab.udp("a"), lab.udp("b"));
    let started = Instant::now();
    for _ in 0..100 {
        a.0.send_to(&[0; 1000 - HEADER_BYTES], b.local()).unwrap();
    }
    let mut latest = started;
    let mut count = 0;
    while b.receive().is_some() {
        latest = Instant::now();
        count += 1;
    }
    // The line sends a packet in 4 ms. One is being sent while 150 ms of others wait.
    assert!((38..=40).contains(&count), "{count} of 100 arrived");
    assert_near(millis(latest - started), 154.0, 0.06);
}

#[test]
#[ignore = "slow: ./run nightly netlab"]
fn loss_is_near_the_chance_and_the_same_for_the_same_seed() {
    let scenario = "seed = 3\n[hosts.a]\nloss = '10%'\n[hosts.b]";
    let arrivals_of_a_run = || {
        let lab = Lab::up(scenario);
        let (a, b) = (lab.udp("a"), lab.udp("b"));
        b.0.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        thread::scope(|scope| {
            let receiver = scope.spawn(|| {
                let mut number = [0; 2];
                std::iter::from_fn(|| {
                    b.0.recv(&mut number).ok()?;
                    Some(u16::from_be_bytes(number))
                })
                .collect::<Vec<_>>()
            });
            for number in 0..2000u16 {
                a.0.send_to(&number.to_be_bytes(), b.local()).unwrap();
                thread::sleep(Duration::from_micros(100));
            }
            receiver.join().unwrap()
        })
    };
    let arrived = arrivals_of_a_run();
    assert_near(arrived.len() as f64, 1800.0, 0.02);
    assert_eq!(arrived, arrivals_of_a_run());
}

#[test]
#[ignore = "slow: ./run nightly netlab"]
fn settings_change_while_packets_flow() {
    let lab = Lab::up("[hosts.a]\nup = '4mbit'\n[hosts.b]");
    let (a, b) = (lab.udp("a"), lab.udp("b"));
    lab.run(&["set", "a", "up=2mbit", "delay=10ms"]);
    assert_near(transfer(&a, &b, 8e6, Duration::from_secs(2)), 2e6, 0.05);

    let refused = lab.command(&["set", "a", "up=2mbit", "speed=1mbit"]);
    assert!(!refused.status.success());
    assert!(!lab.command(&["cut", "nobody"]).status.success());
}

#[test]
#[ignore = "slow: ./run nightly netlab"]
fn the_schedule_changes_links_on_time() {
    let lab = Lab::up("[hosts.a]\nup = '4mbit'\n[hosts.b]\n[[schedule]]\nat = '2s'\nrun = 'set a up=2mbit'");
    let started = Instant::now();
    let (a, b) = (lab.udp("a"), lab.udp("b"));
    let before = Duration::from_millis(1400).saturating_sub(started.elapsed());
    assert_near(transfer(&a, &b, 8e6, before), 4e6, 0.05);
    thread::sleep(Duration::from_millis(2200).saturating_sub(started.elapsed()));
    assert_near(transfer(&a, &b, 8e6, Duration::from_secs(1)), 2e6, 0.05);
}

#[test]
#[ignore = "slow: ./run nightly netlab"]
fn cut_and_heal_a_host_and_a_path() {
    let lab = Lab::up("[hosts.a]\ndelay = '5ms'\n[hosts.b]\n[hosts.c]");
    let (a, b, c) = (lab.udp("a"), lab.udp("b"), lab.udp("c"));
    let reached = || [(&a, &b), (&b, &a), (&a, &c)].map(|(from, to)| from.seen_by(to).is_some());
    assert_eq!(reached(), [true, true, true]);
    lab.run(&["cut", "b"]);
    assert_eq!(reached(), [false, false, true]);
    assert_eq!(lab.stats("b")["dropped_in"]["cut"], 1);
    lab.run(&["heal", "b"]);
    assert_eq!(reached(), [true, true, true]);
    lab.run(&["cut", "a", "c"]);
    assert_eq!(reached(), [true, true, false]);
    lab.run(&["heal", "*", "*"]);
    assert_eq!(reached(), [true, true, true]);
}

#[test]
#[ignore = "slow: ./run nightly netlab"]
fn a_driver_finds_the_hosts_and_its_exit_code_is_passed_on() {
    // Held so that no other lab is up.
    let lab = Lab::up(TWO_HOSTS);
    let scenario = std::env::temp_dir().join(format!("netlab-driver-{}.toml", std::process::id()));
    fs::write(&scenario, TWO_HOSTS).unwrap();
    let script = "$NETLAB exec a -- ping -c 1 $NETLAB_IP_b && [ \"$NETLAB_HOSTS\" = 'a b' ] && exit 7";
    let status = Command::new(NETLAB).arg("up").arg(&scenario).args(["--", "sh", "-c", script]).status();
    assert_eq!(status.unwrap().code(), Some(7));
    drop(lab);
}

#[test]
#[ignore = "slow: ./run nightly netlab"]
fn nothing_is_left_behind() {
    for signal in [Signal::INT, Signal::TERM] {
        let mut lab = Lab::up(TWO_HOSTS);
        // One program that would go on for ever, and one that does not want to end.
        let background = "sleep 1000 & (trap '' TERM; while :; do sleep 1; done) &";
        lab.run(&["exec", "a", "--", "sh", "-c", &format!("({background}) >/dev/null 2>&1")]);
        lab.down(signal);
        assert_eq!(leftovers(lab.name()), Vec::<String>::new());
    }
}

#[test]
#[ignore = "slow: ./run nightly netlab"]
fn clean_removes_what_a_killed_lab_left() {
    let mut lab = Lab::up(TWO_HOSTS);
    lab.down(Signal::KILL);
    assert_eq!(leftovers(lab.name()).len(), 3);
    lab.run(&["clean"]);
    assert_eq!(leftovers(lab.name()), Vec::<String>::new());
}

/// Namespaces and sockets of a lab that still exist.
fn leftovers(lab: &str) -> Vec<String> {
    let names = |folder: &str| {
        let entries = Path::new(folder).read_dir().unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect::<Vec<_>>()
    };
    let mut all = names("/run/netns");
    all.extend(names("/run"));
    all.retain(|name| name.starts_with(&format!("{lab}-")) || *name == format!("{lab}.sock"));
    all
}
