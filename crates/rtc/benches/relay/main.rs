//! Benchmark of a relay: processor time per forwarded packet, compared with the bare stack in the same run.
//!
//!     cargo bench -p plenary-rtc --bench relay [-- CHILDREN...]
//!
//! The source, the relay and the children (leaves) each run on a thread of their own. The processor time of a
//! thread covers receiving, connectivity checks, feedback and sending; it is divided by the packets sent
//! (relay) or received (leaf). Load: 1200-byte packets, 25 frames/s. The bare stack forwards as in its own
//! examples: one task per track awaits the write to each child. Rounds alternate between the two, since other
//! work on the machine affects both.

mod bare;
#[path = "../host.rs"]
mod host;
mod ours;

use std::time::Duration;

use host::Host;

const PAYLOAD_LEN: usize = 1_200;
const FRAME_INTERVAL: Duration = Duration::from_millis(40);
const WARM_UP: Duration = Duration::from_millis(1_500);
const MEASURED: Duration = Duration::from_secs(5);
const ROUNDS: usize = 3;
/// Packets per video frame: 1.4 and 6 Mbit/s.
const PACKETS_PER_FRAME: [usize; 2] = [6, 25];

/// A running relay with its source and leaves; stops when dropped.
struct Running {
    relay: Host,
    leaves: Host,
    _source: Host,
    counts: Box<dyn Fn() -> Counts>,
}

#[derive(Clone, Copy)]
struct Counts {
    from_source: u64,
    to_leaves: u64,
}

struct Figures {
    us_per_packet: f64,
    leaf_us_per_packet: f64,
    relay_percent: f64,
    delivered_percent: f64,
}

async fn measure(running: &Running, children: usize) -> Figures {
    tokio::time::sleep(WARM_UP).await;
    let (relay, leaves, counts) = (running.relay.cpu_us(), running.leaves.cpu_us(), (running.counts)());
    tokio::time::sleep(MEASURED).await;
    let used_us = running.relay.cpu_us() - relay;
    let leaves_us = running.leaves.cpu_us() - leaves;
    let after = (running.counts)();
    let (sent, got) = (after.from_source - counts.from_source, after.to_leaves - counts.to_leaves);
    let due = sent as f64 * children as f64;
    Figures {
        us_per_packet: used_us / due,
        leaf_us_per_packet: leaves_us / due,
        relay_percent: used_us / MEASURED.as_micros() as f64 * 100.0,
        delivered_percent: got as f64 / due * 100.0,
    }
}

/// Median of several rounds, field by field.
fn median(rounds: &[Figures]) -> Figures {
    let middle = |field: fn(&Figures) -> f64| {
        let mut values: Vec<f64> = rounds.iter().map(field).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    Figures {
        us_per_packet: middle(|round| round.us_per_packet),
        leaf_us_per_packet: middle(|round| round.leaf_us_per_packet),
        relay_percent: middle(|round| round.relay_percent),
        delivered_percent: middle(|round| round.delivered_percent),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let asked: Vec<usize> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let all_children = if asked.is_empty() { vec![4, 32] } else { asked };
    println!("children  Mbit/s        relay µs/packet  leaf µs/packet  relay core %  delivered %");
    for children in all_children {
        for packets_per_frame in PACKETS_PER_FRAME {
            let (mut bare, mut ours) = (Vec::new(), Vec::new());
            for _ in 0..ROUNDS {
                bare.push(measure(&bare::start(children, packets_per_frame).await, children).await);
                ours.push(measure(&ours::start(children, packets_per_frame).await, children).await);
            }
            let (bare, ours) = (median(&bare), median(&ours));
            let frame_bits = (packets_per_frame * PAYLOAD_LEN * 8) as f64;
            let rate_mbps = frame_bits / FRAME_INTERVAL.as_micros() as f64;
            for (name, figures) in [("bare", &bare), ("ours", &ours)] {
                println!(
                    "{children:8}  {rate_mbps:6.1}  {name}  {:15.2}  {:14.2}  {:12.1}  {:11.2}",
                    figures.us_per_packet,
                    figures.leaf_us_per_packet,
                    figures.relay_percent,
                    figures.delivered_percent
                );
            }
            let relay = ours.us_per_packet / bare.us_per_packet;
            let leaf = ours.leaf_us_per_packet / bare.leaf_us_per_packet;
            println!("                  ratio {relay:15.2}  {leaf:14.2}");
        }
    }
}
