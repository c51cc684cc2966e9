//! Measures what the lab itself can carry. Run it as the driver of a lab without limits:
//! `netlab up scenarios/bare.toml -- blast 200000 5 1000` sends 200 000 packets/s of 1000 bytes
//! for 5 s between pairs of hosts, after measuring the round trip of the idle lab.

use std::env;
use std::fs::File;
use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

const PORT: u16 = 7000;
const PACE: Duration = Duration::from_millis(1);
const ECHOES: usize = 500;

fn main() {
    let arguments: Vec<u64> = env::args().skip(1).map(|word| word.parse().expect("a number")).collect();
    let [packets_per_second, seconds, payload_bytes] = arguments[..] else {
        panic!("usage: blast PACKETS_PER_SECOND SECONDS PAYLOAD_BYTES");
    };
    let hosts = env::var("NETLAB_HOSTS").expect("to be the driver of a lab");
    let sockets: Vec<_> = hosts.split(' ').map(socket_in).collect();
    let pairs: Vec<_> = sockets.chunks_exact(2).map(|pair| (&pair[0], &pair[1])).collect();
    for (host, (sender, _)) in hosts.split(' ').skip(1).step_by(2).zip(&pairs) {
        let address = env::var(format!("NETLAB_IP_{host}")).expect("the host's address");
        sender.connect((address, PORT)).unwrap();
    }

    for socket in &sockets {
        socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    }
    measure_idle_round_trip(pairs[0].0, pairs[0].1);
    for (_, receiver) in &pairs {
        receiver.set_nonblocking(true).unwrap();
    }

    let received = AtomicU64::new(0);
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        // One thread that looks at all sockets in turn: waking a thread for each packet would cost
        // more than the lab does.
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                for (_, receiver) in &pairs {
                    while receiver.recv(&mut [0; 2048]).is_ok() {
                        received.fetch_add(1, Ordering::Relaxed);
                    }
                }
                thread::sleep(PACE);
            }
        });

        let payload = vec![0; payload_bytes as usize];
        let started = Instant::now();
        let mut sent = 0;
        while started.elapsed() < Duration::from_secs(seconds) {
            let wanted = (started.elapsed().as_secs_f64() * packets_per_second as f64) as u64;
            while sent < wanted && started.elapsed() < Duration::from_secs(seconds) {
                let (sender, _) = pairs[sent as usize % pairs.len()];
                sender.send(&payload).unwrap();
                sent += 1;
            }
            thread::sleep(PACE);
        }
        let elapsed = started.elapsed().as_secs_f64();
        thread::sleep(Duration::from_millis(300));
        is_over.store(true, Ordering::Relaxed);
        let received = received.load(Ordering::Relaxed);
        println!(
            "sent {:.0}/s, received {:.0}/s, lost {:.3} %",
            sent as f64 / elapsed,
            received as f64 / elapsed,
            100.0 * (sent - received) as f64 / sent as f64
        );
    });
}

fn socket_in(host: &str) -> UdpSocket {
    let namespace = env::var(format!("NETLAB_NS_{host}")).expect("the host's namespace");
    // A socket stays in the namespace of the thread that made it.
    let make = move || {
        let file = File::open(format!("/run/netns/{namespace}")).unwrap();
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
        UdpSocket::bind(("0.0.0.0", PORT)).unwrap()
    };
    thread::spawn(make).join().unwrap()
}

fn measure_idle_round_trip(asker: &UdpSocket, answerer: &UdpSocket) {
    let mut round_trips = Vec::new();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut buffer = [0; 64];
            for _ in 0..ECHOES {
                let (_, from) = answerer.recv_from(&mut buffer).expect("an idle lab loses nothing");
                answerer.send_to(&buffer, from).unwrap();
            }
        });
        for _ in 0..ECHOES {
            thread::sleep(Duration::from_millis(2));
            let started = Instant::now();
            asker.send(&[0; 64]).unwrap();
            asker.recv(&mut [0; 64]).expect("an idle lab loses nothing");
            round_trips.push(started.elapsed());
        }
    });
    round_trips.sort();
    println!(
        "idle round trip: median {:?}, 99th percentile {:?}",
        round_trips[ECHOES / 2],
        round_trips[ECHOES * 99 / 100]
    );
}
