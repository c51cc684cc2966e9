//! Benchmark of a relay beside the bare stack, without a body: each packet is forwarded as it comes.
//!
//!     cargo bench -p plenary-rtc --features bench --bench relay [-- CHILDREN...]
//!
//! Load: 1200-byte packets, 25 frames a second. `plenary bench relay` measures the relay with its body.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Weak};
use std::time::Duration;

use plenary_proto::StreamId;
use plenary_proto::identity::PacketIdentity;
use plenary_rtc::bench::{
    BareRelay, FRAME_INTERVAL, Figures, OurRelay, Source, UPSTREAM, Work, bare, downstream, ours,
};
use plenary_rtc::{Command, Destinations, LinkDriver as _, LinkId, Links, MediaPacket, PacketSink};

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const PAYLOAD_LEN: usize = 1_200;
const ROUNDS: usize = 3;
/// Packets per video frame: 1.4 and 6 Mbit/s.
const PACKETS_PER_FRAME: [u64; 2] = [6, 25];

/// Forwards each packet to all children.
struct Forwarder {
    links: Weak<Links>,
    children: Destinations,
}

impl PacketSink for Forwarder {
    fn packet(&self, link: LinkId, _: u8, packet: MediaPacket, _: u64) {
        if link == UPSTREAM
            && let Some(links) = self.links.upgrade()
        {
            links.submit(Command::Forward { to: self.children.clone(), packet });
        }
    }
    fn keyframe_wanted(&self, _: LinkId, _: u8) {}
}

fn source(packets_per_frame: u64) -> Source {
    let mut frame = 0_u64;
    Box::new(move || {
        frame += 1;
        let packet = |index| MediaPacket {
            identity: PacketIdentity { stream: StreamId([1; 8]), number: frame * packets_per_frame + index },
            timestamp: frame as u32 * 3_600,
            marker: index + 1 == packets_per_frame,
            key_start: false,
            audio_level: None,
            contributors: Default::default(),
            payload: vec![0x41; PAYLOAD_LEN].into(),
        };
        (0..packets_per_frame).map(packet).collect()
    })
}

/// Median of several rounds.
fn median(rounds: &[Figures], figure: fn(&Figures) -> f64) -> f64 {
    let mut values: Vec<f64> = rounds.iter().map(figure).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let asked: Vec<usize> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let all_children = if asked.is_empty() { vec![4, 32] } else { asked };
    println!("children  Mbit/s        relay µs/packet  leaf µs/packet  delay p50, p95 ms  delivered %");
    for children in all_children {
        for packets_per_frame in PACKETS_PER_FRAME {
            let work = Work { children, address: LOCALHOST, measured: Duration::from_secs(5) };
            let to: Destinations = (0..children).map(|child| (downstream(child), 0)).collect();
            let (mut stack, mut own) = (Vec::new(), Vec::new());
            for _ in 0..ROUNDS {
                let mut relay = BareRelay::new(1, LOCALHOST);
                stack.push(bare(work, &mut relay, source(packets_per_frame)).await.unwrap());
                drop(relay);
                let children = to.clone();
                let relay = Box::new(|links| Arc::new(Forwarder { links, children }) as Arc<dyn PacketSink>);
                let mut relay = OurRelay::new(1, LOCALHOST, None, relay).await;
                own.push(ours(work, &mut relay, source(packets_per_frame)).await.unwrap());
            }
            let frame_bits = packets_per_frame as f64 * (PAYLOAD_LEN * 8) as f64;
            let rate_mbps = frame_bits / FRAME_INTERVAL.as_micros() as f64;
            for (name, rounds) in [("bare", &stack), ("ours", &own)] {
                println!(
                    "{children:8}  {rate_mbps:6.1}  {name}  {:15.2}  {:14.2}  {:9.2} {:7.2}  {:11.2}",
                    median(rounds, |round| round.us_per_packet),
                    median(rounds, |round| round.leaf_us_per_packet),
                    median(rounds, |round| f64::from(round.delay_us(50)) / 1e3),
                    median(rounds, |round| f64::from(round.delay_us(95)) / 1e3),
                    median(rounds, |round| round.delivered * 100.0),
                );
            }
            let ratio = |figure| median(&own, figure) / median(&stack, figure);
            let (relay, leaf) = (ratio(|round| round.us_per_packet), ratio(|round| round.leaf_us_per_packet));
            println!("                  ratio {relay:15.2}  {leaf:14.2}");
        }
    }
}
