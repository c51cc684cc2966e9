//! `plenary bench relay`: processor time and delay of a relay, beside the bare stack in the same run.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Instant;

use plenary_body::bench::{Relay, Source};
use plenary_body::{Out, Outs};
use plenary_rtc::bench::{FRAME_INTERVAL, Figures, UPSTREAM, Work, bare, downstream, ours};
use plenary_rtc::{Command, LinkDriver as _, LinkId, Links, MediaPacket, PacketSink};
use serde::Serialize;

use crate::Failure;
use crate::args::RelayBenchArgs;
use crate::json::{self, round};

/// Rounds of each kind, by turns; the median counts.
const ROUNDS: usize = 3;

/// A relay's body between its links.
struct Shell {
    start: Instant,
    relay: Mutex<Relay>,
    links: Weak<Links>,
}

impl PacketSink for Shell {
    fn packet(&self, link: LinkId, slot: u8, packet: MediaPacket, _: u64) {
        let Some(links) = self.links.upgrade() else { return };
        let (now_us, mut outs) = (self.start.elapsed().as_micros() as u64, Outs::default());
        let mut relay = self.relay.lock().unwrap_or_else(PoisonError::into_inner);
        relay.packet(now_us, link, slot, packet, &mut outs);
        drop(relay);
        for out in outs.sends {
            if let Out::Forward { to, packet } = out {
                links.submit(Command::Forward { to, packet });
            }
        }
    }

    fn keyframe_wanted(&self, _: LinkId, _: u8) {}
}

#[derive(Serialize)]
struct Delay {
    p50: f64,
    p95: f64,
}

#[derive(Serialize)]
struct Report {
    cpu_us_per_packet: f64,
    bare_us_per_packet: f64,
    ratio: f64,
    children: usize,
    workers: usize,
    rate_bps: u32,
    added_ms: Delay,
    bare_added_ms: Delay,
    delivered: f64,
    bare_delivered: f64,
}

pub(super) fn run(args: &RelayBenchArgs) -> Result<(), Failure> {
    if !std::path::Path::new("/proc/self/task").is_dir() {
        return Err(Failure::Failed(anyhow::anyhow!(
            "bench relay needs Linux: it reads each thread's CPU time"
        )));
    }
    let children = usize::from(args.children);
    let work = Work { children, workers: usize::from(args.workers), measured: args.duration };
    let frame_len = u64::from(args.rate) * FRAME_INTERVAL.as_micros() as u64 / 8_000_000;
    let frame_len = usize::try_from(frame_len).unwrap_or(usize::MAX).max(1);
    let runtime = tokio::runtime::Runtime::new().map_err(anyhow::Error::from)?;
    let (mut stack, mut own) = (Vec::new(), Vec::new());
    for number in 1..=ROUNDS {
        eprintln!("round {number} of {ROUNDS}");
        stack.push(runtime.block_on(bare(work, source(frame_len))));
        own.push(runtime.block_on(ours(work, source(frame_len), relay(children))));
    }
    let delay = |rounds: &[Figures]| Delay {
        p50: round(median(rounds, |figures| f64::from(figures.delay_us(50)) / 1e3)),
        p95: round(median(rounds, |figures| f64::from(figures.delay_us(95)) / 1e3)),
    };
    let cost = |rounds: &[Figures]| median(rounds, |figures| figures.us_per_packet);
    let delivered = |rounds: &[Figures]| round(median(rounds, |figures| figures.delivered));
    let report = Report {
        cpu_us_per_packet: round(cost(&own)),
        bare_us_per_packet: round(cost(&stack)),
        ratio: round(cost(&own) / cost(&stack)),
        children,
        workers: work.workers,
        rate_bps: args.rate,
        added_ms: delay(&own),
        bare_added_ms: delay(&stack),
        delivered: delivered(&own),
        bare_delivered: delivered(&stack),
    };
    eprintln!(
        "{children} children: {:.2} µs a packet, bare stack {:.2} ({:.2} times); delay p95 {:.2} ms, bare {:.2}",
        report.cpu_us_per_packet,
        report.bare_us_per_packet,
        report.ratio,
        report.added_ms.p95,
        report.bare_added_ms.p95
    );
    if let Some(to) = &args.json {
        json::write(to, &report)?;
    }
    Ok(())
}

/// Returns a source of pictures of that size.
fn source(frame_len: usize) -> plenary_rtc::bench::Source {
    let (mut source, start) = (Source::new(frame_len), Instant::now());
    Box::new(move || source.frame(start.elapsed().as_micros() as u64))
}

/// Returns the relay of the body.
fn relay(children: usize) -> plenary_rtc::bench::Relay {
    Box::new(move |links| {
        let relay = Relay::new(children, 0);
        debug_assert!(relay.upstream == UPSTREAM);
        debug_assert!((0..children).all(|child| relay.downstream.get(child) == Some(&downstream(child))));
        Arc::new(Shell { start: Instant::now(), relay: Mutex::new(relay), links })
    })
}

/// Returns the median of a figure over the rounds.
fn median(rounds: &[Figures], figure: fn(&Figures) -> f64) -> f64 {
    let mut values: Vec<f64> = rounds.iter().map(figure).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
