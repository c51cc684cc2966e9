//! Benchmark of the bulk channel of one link over loopback: throughput, and the longest stall.
//!
//!     cargo bench -p plenary-rtc --bench bulk
//!
//! The sender keeps the queue full of messages of 64 KiB. Each end runs on its own thread.

#[allow(dead_code, reason = "this bench does not measure the processor")]
#[path = "../src/bench/host.rs"]
mod host;
#[path = "../tests/links/support.rs"]
mod support;

use std::time::{Duration, Instant};

use bytes::Bytes;
use host::Host;
use plenary_rtc::*;
use support::*;

const LINK: LinkId = LinkId(1);
const ROUNDS: usize = 5;

async fn transfer(a: &mut Peer, b: &mut Peer, bytes: usize) -> (f64, Duration) {
    let message = Bytes::from(vec![7; Channel::Bulk.message_len_max()]);
    let start = Instant::now();
    let send = async {
        let mut left = bytes;
        while left > 0 {
            let len = left.min(message.len());
            while a.links.bulk_room(LINK) < len {
                a.until(|event| matches!(event, Event::BulkDrained { .. }).then_some(())).await;
            }
            a.links.submit(Command::Send { link: LINK, channel: Channel::Bulk, bytes: message.slice(..len) });
            left -= len;
        }
    };
    let receive = async {
        let (mut got, mut longest, mut last) = (0, Duration::ZERO, Instant::now());
        while got < bytes {
            got += b.received().await.2.len();
            longest = longest.max(last.elapsed());
            last = Instant::now();
        }
        longest
    };
    let ((), longest) = tokio::join!(send, receive);
    (bytes as f64 / start.elapsed().as_secs_f64() / 1e6, longest)
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    println!("bytes      MB/s p50   worst  longest pause ms");
    let hosts = [Host::new("sender", 1), Host::new("receiver", 1)];
    let mut a = hosts[0].run(async { Peer::new() }).await;
    let mut b = hosts[1].run(async { Peer::new() }).await;
    connect(&mut a, &mut b, LINK).await;
    for bytes in [2_000_000, 50_000_000] {
        let (mut rates, mut longest) = (Vec::new(), Duration::ZERO);
        for _ in 0..ROUNDS {
            let (rate, pause) = transfer(&mut a, &mut b, bytes).await;
            rates.push(rate);
            longest = longest.max(pause);
        }
        rates.sort_by(f64::total_cmp);
        println!(
            "{bytes:9}  {:8.0}  {:6.0}  {:8.1}",
            rates[ROUNDS / 2],
            rates[0],
            longest.as_secs_f64() * 1e3
        );
    }
}
