//! Benchmark of a carrier: processor time of a packet that a third peer carries in a tunnel, beside that of one that it
//! forwards as media, in the same run; and the delay that either adds.
//!
//!     cargo bench -p plenary-rtc --bench carry
//!
//! Load: 20,000 packets of 1,100 bytes at 18 Mbit/s, with the bound of a tunnel lifted. The third peer has a thread of
//! its own; both ends share another one.

#[path = "../tests/links/support.rs"]
mod support;

use std::net::UdpSocket;
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::{Duration, Instant};

use plenary_proto::TunnelCommand;
use plenary_proto::message::LinkKind;
use plenary_rtc::{
    Channel, Command, Destinations, Event, LinkDriver as _, LinkId, Links, LinksConfig, MediaPacket,
    PacketSink, Shaper,
};
use support::*;
use tokio::runtime;

const PACKETS: u64 = 20_000;
const PAYLOAD_LEN: usize = 1_100;
/// Packets sent at once: a single one, four, and a keyframe.
const GROUPS: [u64; 3] = [1, 4, 20];
/// Mean interval between packets: 18 Mbit/s.
const PACKET_INTERVAL: Duration = Duration::from_micros(500);
const ROUNDS: usize = 3;
const LINK: LinkId = LinkId(100);
const ENDS: [LinkId; 2] = [LinkId(1), LinkId(2)];
const CHANNEL: u16 = 7;

/// Forwards each packet of the first link to the second.
#[derive(Default)]
struct Forwarder(OnceLock<Weak<Links>>);

impl PacketSink for Forwarder {
    fn packet(&self, link: LinkId, _: u8, packet: MediaPacket, _: u64) {
        if link == ENDS[0]
            && let Some(links) = self.0.get().and_then(Weak::upgrade)
        {
            links.submit(Command::Forward { to: Destinations::from_iter([(ENDS[1], 0)]), packet });
        }
    }
    fn keyframe_wanted(&self, _: LinkId, _: u8) {}
}

/// Processor time of the calling thread, user and system, in microseconds.
fn thread_us() -> f64 {
    // SAFETY: the structure holds only numbers and is valid when zeroed
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer refers to a structure of the right type that outlives the call
    unsafe { libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage) };
    let us = |time: libc::timeval| time.tv_sec as f64 * 1e6 + time.tv_usec as f64;
    us(usage.ru_utime) + us(usage.ru_stime)
}

/// What a round has shown.
struct Round {
    us_per_packet: f64,
    arrived: u64,
    p50_ms: f64,
    p95_ms: f64,
}

/// Sends the packets on a link of `a`, and waits until they have arrived at `b`. `third`: the third peer's thread.
async fn run(a: &mut Peer, b: &mut Peer, link: LinkId, (group, third): (u64, &runtime::Handle)) -> Round {
    let used = async || third.spawn(async { thread_us() }).await.unwrap();
    let (before, epoch) = (used().await, Instant::now());
    let sent = Arc::new(Mutex::new(vec![0_u64; PACKETS as usize]));
    let mut delays_us = Vec::new();
    for number in 0..PACKETS {
        if number % group == 0 {
            tokio::time::sleep_until((epoch + PACKET_INTERVAL * number as u32).into()).await;
        }
        sent.lock().unwrap()[number as usize] = epoch.elapsed().as_micros() as u64;
        let payload = vec![0x41; PAYLOAD_LEN].into();
        a.forward(link, 0, MediaPacket { key_start: true, payload, ..packet(number) });
        // a group leaves together
        if number % group == group - 1 {
            tokio::task::yield_now().await;
            drain(b, epoch, &sent, &mut delays_us);
        }
    }
    for _ in 0..200 {
        tokio::time::sleep(Duration::from_millis(5)).await;
        drain(b, epoch, &sent, &mut delays_us);
    }
    let us_per_packet = (used().await - before) / PACKETS as f64;
    delays_us.sort_unstable();
    let ms = |percent: usize| {
        let at = (delays_us.len() * percent / 100).min(delays_us.len().saturating_sub(1));
        delays_us.get(at).map_or(f64::NAN, |us| *us as f64 / 1e3)
    };
    Round { us_per_packet, arrived: delays_us.len() as u64, p50_ms: ms(50), p95_ms: ms(95) }
}

fn drain(b: &mut Peer, epoch: Instant, sent: &Mutex<Vec<u64>>, delays_us: &mut Vec<u64>) {
    let now = epoch.elapsed().as_micros() as u64;
    while let Ok(arrived) = b.arrived.try_recv() {
        if let Arrived::Packet { packet, .. } = arrived {
            delays_us.push(now.saturating_sub(sent.lock().unwrap()[packet.identity.number as usize]));
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let (handle_to, handle_of) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
        handle_to.send(runtime.handle().clone()).unwrap();
        runtime.block_on(std::future::pending::<()>());
    });
    let third = handle_of.recv().unwrap();
    println!("group  way        µs per packet  arrived  delay p50, p95 ms");
    for group in GROUPS {
        let mut rows = Vec::new();
        for _ in 0..ROUNDS {
            rows.push(("forwarded", forwarded(group, &third).await));
            rows.push(("carried", carried(group, &third).await));
        }
        for (way, Round { us_per_packet, arrived, p50_ms, p95_ms }) in &rows {
            println!("{group:5}  {way:9}  {us_per_packet:13.2}  {arrived:7}  {p50_ms:9.2} {p95_ms:7.2}");
        }
        let median = |way: &str, figure: fn(&Round) -> f64| {
            let of_way = rows.iter().filter(|(of, _)| *of == way);
            let mut all: Vec<f64> = of_way.map(|(_, round)| figure(round)).collect();
            all.sort_by(f64::total_cmp);
            all[all.len() / 2]
        };
        let us = |round: &Round| round.us_per_packet;
        let (ratio, p95_ms) = (median("carried", us) / median("forwarded", us), |round: &Round| round.p95_ms);
        let later_ms = median("carried", p95_ms) - median("forwarded", p95_ms);
        println!("{group:5}  ratio {ratio:.2}, p95 {later_ms:+.2} ms");
    }
}

/// Returns the first of two neighbouring ports that are free.
fn free_ports() -> u16 {
    let is_free = |port: u16| UdpSocket::bind((LOOPBACK, port)).is_ok();
    (20_000..30_000).step_by(2).find(|port| is_free(*port) && is_free(port + 1)).unwrap()
}

/// The third peer, linked with both ends, which may reach it alone.
async fn met(third: &runtime::Handle) -> (Arc<Links>, Peer, Peer) {
    let port = free_ports();
    let config =
        LinksConfig { udp_ports: Some(port..=port + 1), tunnel_bps_max: Some(100_000_000), ..on_loopback() };
    let sink = Arc::new(Forwarder::default());
    let (links, mut events) = {
        let _inside = third.enter();
        Links::new(config, sink.clone()).unwrap()
    };
    let links = Arc::new(links);
    sink.0.set(Arc::downgrade(&links)).unwrap();
    let shaper = Shaper::default();
    shaper.reach_only([port, port + 1].map(|port| (LOOPBACK, port).into()).to_vec());
    let (mut a, mut b) = (Peer::shaped(&shaper), Peer::shaped(&shaper));
    for (peer, link) in [&mut a, &mut b].into_iter().zip(ENDS) {
        let kind = LinkKind::Peer;
        peer.links.submit(Command::Offer { link, kind, is_stranger: false });
        let offer = peer.described(link).await;
        links.submit(Command::Answer { link, kind, offer, is_stranger: false });
        let answer = loop {
            if let Some(Event::Described { description, .. }) = events.next().await {
                break description;
            }
        };
        peer.links.submit(Command::Accept { link, answer });
        peer.connected(link).await;
        peer.send(link, Channel::Control, "a word");
    }
    tokio::spawn(async move { while events.next().await.is_some() {} });
    (links, a, b)
}

async fn forwarded(group: u64, third: &runtime::Handle) -> Round {
    let (links, mut a, mut b) = met(third).await;
    let round = run(&mut a, &mut b, ENDS[0], (group, third)).await;
    links.close().await;
    round
}

async fn carried(group: u64, third: &runtime::Handle) -> Round {
    let (links, mut a, mut b) = met(third).await;
    negotiate(&mut a, &mut b, LINK, LinkKind::Peer).await;
    links.submit(Command::Tunnel(TunnelCommand::Carry { channel: CHANNEL, between: ENDS }));
    for (end, carrier) in [&a, &b].into_iter().zip(ENDS) {
        let open = TunnelCommand::Open { link: LINK, carrier, channel: CHANNEL };
        end.links.submit(Command::Tunnel(open));
    }
    tokio::join!(a.connected(LINK), b.connected(LINK));
    let round = run(&mut a, &mut b, LINK, (group, third)).await;
    links.close().await;
    round
}
