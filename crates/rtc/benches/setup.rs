//! Benchmark of link set-up over loopback: time from the offer until both ends are connected, and the cost of
//! an idle link in memory and processor time. The last row adds delay and loss.
//!
//!     cargo bench -p plenary-rtc --bench setup
//!
//! The time includes offer, answer and acceptance, but not their transport. Both ends share one runtime of
//! two threads.

#[path = "../tests/links/support.rs"]
mod support;

use std::time::{Duration, Instant};

use plenary_proto::message::LinkKind;
use plenary_rtc::{LinkId, Shape, Shaper};
use support::*;

const LINKS: u64 = 40;
const IDLE: Duration = Duration::from_secs(5);

/// Resident memory of this process, in kB.
fn resident_kb() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 4
}

/// Processor time of this process, user and system, in microseconds.
fn processor_us() -> f64 {
    // SAFETY: the structure holds only numbers and is valid when zeroed
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer refers to a structure of the right type that outlives the call
    unsafe { libc::getrusage(libc::RUSAGE_SELF, &raw mut usage) };
    let us = |time: libc::timeval| time.tv_sec as f64 * 1e6 + time.tv_usec as f64;
    us(usage.ru_utime) + us(usage.ru_stime)
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    println!("kind          links  p50 ms  p95 ms  max ms  kB per end  idle µs/s per end");
    let lossy = Shape { delay_us: 50_000, loss_ppm: 50_000, rate_bps: 0 };
    for (name, kind, shape) in [
        ("peer", LinkKind::Peer, Shape::default()),
        ("trunk", LinkKind::Trunk(0), Shape::default()),
        ("50 ms, 5 %", LinkKind::Peer, lossy),
    ] {
        let shaper = Shaper::new(7);
        shaper.set(shape);
        let (mut a, mut b) = (Peer::shaped(&shaper), Peer::shaped(&shaper));
        let mut took: Vec<Duration> = Vec::new();
        let before = resident_kb();
        for link in (1..=LINKS).map(LinkId) {
            let start = Instant::now();
            connect_kind(&mut a, &mut b, link, kind).await;
            took.push(start.elapsed());
        }
        took.sort();
        let ms = |index: usize| took[index.min(took.len() - 1)].as_secs_f64() * 1e3;
        let (p50, p95, max) = (ms(took.len() / 2), ms(took.len() * 95 / 100), ms(took.len()));
        let kb = (resident_kb() - before) / (2 * LINKS);
        let used = processor_us();
        tokio::time::sleep(IDLE).await;
        let idle_us = (processor_us() - used) / IDLE.as_secs_f64() / (2 * LINKS) as f64;
        println!("{name:12}  {LINKS:5}  {p50:6.1}  {p95:6.1}  {max:6.1}  {kb:10}  {idle_us:18.0}");
        a.links.close().await;
        b.links.close().await;
    }
}
