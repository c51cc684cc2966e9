//! Load benchmark of a rendezvous: the cost of admitting and keeping a peer, and of carrying an envelope.
//!
//! `cargo run -p plenary-signal --example load [PEERS]` starts the server in a process of its own, so that
//! its processor time and memory are separate from those of the peers, and prints a table. Reads /proc, so it
//! runs on Linux only; more than about 400 peers need more open files than shells allow by default.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::join_all;
use plenary_proto::seal::Keypair;
use plenary_proto::{PeerId, RoomId};
use plenary_signal::{
    Address, Doors, Limits, Rate, Rendezvous, RendezvousConfig, Signal, SignalEvent, Switchboard,
    WebsocketConfig, WebsocketSignal,
};

/// Length of a typical sealed offer, in bytes.
const ENVELOPE_LEN: usize = 600;
const ROUND_TRIPS: usize = 5000;
const ENVELOPES_EACH: usize = 20_000;
const LOCAL_ENVELOPES: usize = 500_000;
/// The kernel's clock ticks per second in /proc; the same on every Linux.
const TICKS_PER_S: f64 = 100.0;

#[tokio::main]
async fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("serve") => serve().await,
        Some(peers) => measure(peers.parse().expect("a number of peers")).await,
        None => measure(1000).await,
    }
}

async fn serve() {
    let unlimited = Rate { per_s: u32::MAX, burst: u32::MAX };
    let limits = Limits {
        rooms_per_address_max: usize::MAX,
        rooms_per_network_max: usize::MAX,
        connections_per_address_max: usize::MAX,
        connections_per_network_max: usize::MAX,
        connects_per_address: unlimited,
        frames: unlimited,
        bytes: unlimited,
        outflow_bytes_per_s: u32::MAX,
        ..Limits::default()
    };
    let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
    let rendezvous =
        Rendezvous::bind(any_port, RendezvousConfig { limits, ..RendezvousConfig::default() }).unwrap();
    println!("{}", rendezvous.local_addr());
    std::future::pending().await
}

async fn measure(peers: usize) {
    let server = Server::start();
    let root = key(0);
    let room = RoomId::of_root(&root.id());
    let connect = |number| {
        let mut config = WebsocketConfig::new(server.url.clone(), room, key(number), key(u32::MAX));
        config.root = (number == 1).then(|| root.clone());
        WebsocketSignal::connect(config).unwrap()
    };
    let host = connect(1);
    while host.next().await.expect("connected") != SignalEvent::Up {}

    let (before, started) = (server.used(), Instant::now());
    let guests: Vec<_> = (0..peers as u32).map(|number| connect(10 + number)).collect();
    join_all(
        guests
            .iter()
            .map(|guest| async { while guest.next().await.expect("connected") != SignalEvent::Up {} }),
    )
    .await;
    let (wall, used) = (started.elapsed(), server.used() - before);
    row("peers let in, at once", peers as f64 / wall.as_secs_f64(), "per s");
    row("  processor time of each", used.cpu_s * 1e6 / peers as f64, "µs");
    row("  memory of each, idle", used.rss_kib / peers as f64, "KiB");

    let mut round_trips = Vec::new();
    for _ in 0..ROUND_TRIPS {
        let started = Instant::now();
        round_trip(&host, key(1).id(), &guests[0], key(10).id()).await;
        round_trips.push(started.elapsed());
    }
    round_trips.sort();
    let us = |at: f64| round_trips[(at * (ROUND_TRIPS - 1) as f64) as usize].as_secs_f64() * 1e6;
    row("envelope there and back, p50", us(0.5), "µs");
    row("  p95", us(0.95), "µs");

    let pairs = 8;
    let (before, started) = (server.used(), Instant::now());
    join_all((0..pairs).map(|pair| stream_of(&guests[2 * pair], &guests[2 * pair + 1], pair as u32))).await;
    let (wall, used) = (started.elapsed(), server.used() - before);
    let carried = (pairs * ENVELOPES_EACH) as f64;
    row("envelopes carried, 8 pairs", carried / wall.as_secs_f64(), "per s");
    row("  processor time of each", used.cpu_s * 1e6 / carried, "µs");

    row("envelopes within a process", local_rate().await, "per s");
}

async fn round_trip(a: &WebsocketSignal, a_id: PeerId, b: &WebsocketSignal, b_id: PeerId) {
    let envelope = Bytes::from(vec![7; ENVELOPE_LEN]);
    for (from, to, to_id) in [(a, b, b_id), (b, a, a_id)] {
        from.send(Address::Peer(to_id), envelope.clone()).unwrap();
        envelope_at(to).await;
    }
}

/// Waits for an envelope.
async fn envelope_at(signal: &dyn Signal) {
    loop {
        match signal.next().await {
            Some(SignalEvent::Clock { .. } | SignalEvent::Turn(_) | SignalEvent::Carries) => {}
            event => return assert!(matches!(event, Some(SignalEvent::Envelope { .. })), "{event:?}"),
        }
    }
}

/// Sends as many envelopes at a time as fit the send queue.
async fn stream_of(from: &WebsocketSignal, to: &WebsocketSignal, pair: u32) {
    let envelope = Bytes::from(vec![7; ENVELOPE_LEN]);
    let address = Address::Peer(key(10 + 2 * pair + 1).id());
    let window = 200;
    for _ in 0..ENVELOPES_EACH / window {
        for _ in 0..window {
            from.send(address, envelope.clone()).unwrap();
        }
        for _ in 0..window {
            envelope_at(to).await;
        }
    }
}

async fn local_rate() -> f64 {
    let switchboard = Switchboard::default();
    let room = RoomId([1; 16]);
    let host = switchboard.attach_host(room, PeerId([1; 32]), Doors::default()).unwrap();
    let guest = switchboard.attach(room, PeerId([2; 32])).unwrap();
    host.next().await;
    let envelope = Bytes::from(vec![7; ENVELOPE_LEN]);
    let started = Instant::now();
    for _ in 0..LOCAL_ENVELOPES {
        guest.send(Address::Host, envelope.clone()).unwrap();
        host.next().await;
    }
    LOCAL_ENVELOPES as f64 / started.elapsed().as_secs_f64()
}

fn key(number: u32) -> Keypair {
    let mut seed = [7; 32];
    seed[..4].copy_from_slice(&number.to_be_bytes());
    Keypair::from_seed(&seed)
}

fn row(what: &str, value: f64, unit: &str) {
    println!("{what:<32}{value:>12.1} {unit}");
}

/// The server's process; killed when dropped.
struct Server {
    process: Child,
    url: String,
}

#[derive(Clone, Copy)]
struct Used {
    cpu_s: f64,
    rss_kib: f64,
}

impl Server {
    fn start() -> Server {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .arg("serve")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut address = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut address).unwrap();
        Server { process, url: format!("http://{}", address.trim()) }
    }

    fn used(&self) -> Used {
        // the kernel accounts processor time a tick late
        std::thread::spawn(|| std::thread::park_timeout(Duration::from_millis(50))).join().unwrap();
        let read =
            |file: &str| std::fs::read_to_string(format!("/proc/{}/{file}", self.process.id())).unwrap();
        let stat = read("stat");
        let fields: Vec<_> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        let ticks = |at: usize| fields[at].parse::<f64>().unwrap();
        let status = read("status");
        let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        Used {
            cpu_s: (ticks(11) + ticks(12)) / TICKS_PER_S,
            rss_kib: rss.trim().trim_end_matches("kB").trim().parse().unwrap(),
        }
    }
}

impl std::ops::Sub for Used {
    type Output = Used;
    fn sub(self, before: Used) -> Used {
        Used { cpu_s: self.cpu_s - before.cpu_s, rss_kib: self.rss_kib - before.rss_kib }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
