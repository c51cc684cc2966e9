//! `plenary bench relay`: processor time, delay and memory of a relay, beside the bare stack and other servers in the
//! same run. Each relay is a process of its own; source and children are in this one.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Instant;

use anyhow::Context as _;
use plenary_body::bench::{Relay, Source};
use plenary_body::{Out, Outs};
use plenary_rtc::bench::{
    BareRelay, FRAME_INTERVAL, Figures, OurRelay, UPSTREAM, Work, bare, downstream, ours,
};
use plenary_rtc::{Command as LinkCommand, LinkDriver as _, LinkId, Links, MediaPacket, PacketSink};
use serde::Serialize;
use tokio::process::Command;

use super::needs_linux;
use super::relay_process::{RelayProcess, serve};
use crate::Failure;
use crate::args::{RelayBenchArgs, RelayPart};
use crate::json::{self, round};

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
                links.submit(LinkCommand::Forward { to, packet });
            }
        }
    }

    fn keyframe_wanted(&self, _: LinkId, _: u8) {}
}

#[derive(Clone, Copy, Serialize)]
struct Delay {
    p50: f64,
    p95: f64,
}

/// Figures of one relay: medians over its rounds.
#[derive(Serialize)]
struct Measured {
    cpu_us_per_packet: f64,
    added_ms: Delay,
    delivered: f64,
    /// Growth of the relay's resident memory.
    memory_kib_per_child: f64,
    /// Processor time of a child for each packet received.
    child_us_per_packet: f64,
    /// Processor time of processes that are no part of the benchmark; the maximum over the rounds.
    others_cores: f64,
}

#[derive(Serialize)]
struct Server {
    name: String,
    #[serde(flatten)]
    measured: Measured,
}

#[derive(Serialize)]
struct Report {
    #[serde(flatten)]
    measured: Measured,
    bare_us_per_packet: f64,
    bare_added_ms: Delay,
    bare_delivered: f64,
    ratio: f64,
    /// The relay with one UDP port for all its links, and its processor time for each packet as a multiple of that with
    /// a port each.
    one_port: Option<Measured>,
    one_port_ratio: Option<f64>,
    children: usize,
    workers: usize,
    rate_bps: u32,
    packets_per_s: f64,
    bare: Measured,
    servers: Vec<Server>,
}

pub(super) fn run(args: &RelayBenchArgs) -> Result<(), Failure> {
    needs_linux("bench relay")?;
    if let Some(part) = args.part {
        return Ok(serve_part(part, args)?);
    }
    let runtime = tokio::runtime::Runtime::new().map_err(anyhow::Error::from)?;
    let mut rounds = Rounds { others: vec![Vec::new(); args.server.len()], ..Rounds::default() };
    for number in 1..=args.rounds {
        say!("round {number} of {}", args.rounds);
        runtime.block_on(round_of_all(args, &mut rounds))?;
    }
    let server = |(server, rounds): (&super::Server, &Vec<Figures>)| Server {
        name: server.name.clone(),
        measured: Measured::of(rounds),
    };
    let Rounds { stack, own, one_port, others } = rounds;
    let (measured, bare) = (Measured::of(&own), Measured::of(&stack));
    let one_port = args.udp_port.map(|_| Measured::of(&one_port));
    let times = |part: &Measured, of: &Measured| round(part.cpu_us_per_packet / of.cpu_us_per_packet);
    let report = Report {
        bare_us_per_packet: bare.cpu_us_per_packet,
        bare_added_ms: bare.added_ms,
        bare_delivered: bare.delivered,
        ratio: times(&measured, &bare),
        children: usize::from(args.children),
        workers: usize::from(args.workers),
        rate_bps: args.rate,
        one_port_ratio: one_port.as_ref().map(|one_port| times(one_port, &measured)),
        one_port,
        packets_per_s: round(median(&own, |figures| figures.packets_per_s)),
        measured,
        bare,
        servers: args.server.iter().zip(&others).map(server).collect(),
    };
    say!(
        "{} children: {:.2} µs a packet, bare stack {:.2} ({:.2} times); delay p95 {:.2} ms, bare {:.2}",
        report.children,
        report.measured.cpu_us_per_packet,
        report.bare_us_per_packet,
        report.ratio,
        report.measured.added_ms.p95,
        report.bare_added_ms.p95
    );
    if let (Some(measured), Some(ratio)) = (&report.one_port, report.one_port_ratio) {
        let (cost, delay) = (measured.cpu_us_per_packet, measured.added_ms.p95);
        say!("one port for all links: {cost:.2} µs a packet ({ratio:.2} times); delay p95 {delay:.2} ms");
    }
    for Server { name, measured } in &report.servers {
        let (cost, delay) = (measured.cpu_us_per_packet, measured.added_ms.p95);
        say!("{name}: {cost:.2} µs a packet; delay p95 {delay:.2} ms");
    }
    if let Some(to) = &args.json {
        json::write(to, &report)?;
    }
    Ok(())
}

/// Runs a relay in this process until standard input ends.
fn serve_part(part: RelayPart, args: &RelayBenchArgs) -> anyhow::Result<()> {
    let (workers, relay) = (usize::from(args.workers), relay(usize::from(args.children)));
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    runtime.block_on(async {
        match part {
            RelayPart::Bare => serve(BareRelay::new(workers, args.address)).await,
            RelayPart::Body => serve(OurRelay::new(workers, args.address, args.udp_port, relay).await).await,
        }
    })
}

/// Figures of each relay, of all rounds.
#[derive(Default)]
struct Rounds {
    stack: Vec<Figures>,
    own: Vec<Figures>,
    one_port: Vec<Figures>,
    others: Vec<Vec<Figures>>,
}

/// Runs a round of each relay in turn.
async fn round_of_all(args: &RelayBenchArgs, rounds: &mut Rounds) -> anyhow::Result<()> {
    let work = Work { children: usize::from(args.children), address: args.address, measured: args.duration };
    let frame_len = u64::from(args.rate) * FRAME_INTERVAL.as_micros() as u64 / 8_000_000;
    let frame_len = usize::try_from(frame_len).unwrap_or(usize::MAX).max(1);
    let this = |part: RelayPart| {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["bench", "relay", "--part", part.word()]);
        command.args([format!("--children={}", args.children), format!("--workers={}", args.workers)]);
        command.arg(format!("--address={}", args.address));
        anyhow::Ok(command)
    };
    let mut relay = RelayProcess::start(this(RelayPart::Bare)?).await?;
    let figures = bare(work, &mut relay, source(frame_len)).await;
    rounds.stack.push(relay.end(figures).await?);
    let one_port = args.udp_port.map(|port| (Some(port), &mut rounds.one_port));
    for (port, rounds) in [(None, &mut rounds.own)].into_iter().chain(one_port) {
        let mut command = this(RelayPart::Body)?;
        command.args(port.map(|port| format!("--udp-port={port}")));
        let mut relay = RelayProcess::start(command).await?;
        let figures = ours(work, &mut relay, source(frame_len)).await;
        rounds.push(relay.end(figures).await?);
    }
    for (server, rounds) in args.server.iter().zip(&mut rounds.others) {
        let named = || format!("server {}", server.name);
        let mut relay = RelayProcess::start(server.command()).await.with_context(named)?;
        let figures = bare(work, &mut relay, source(frame_len)).await;
        rounds.push(relay.end(figures).await.with_context(named)?);
    }
    Ok(())
}

impl Measured {
    fn of(rounds: &[Figures]) -> Measured {
        let median = |figure| round(median(rounds, figure));
        Measured {
            cpu_us_per_packet: median(|figures| figures.us_per_packet),
            added_ms: Delay {
                p50: median(|figures| f64::from(figures.delay_us(50)) / 1e3),
                p95: median(|figures| f64::from(figures.delay_us(95)) / 1e3),
            },
            delivered: median(|figures| figures.delivered),
            memory_kib_per_child: median(|figures| figures.kib_per_child),
            child_us_per_packet: median(|figures| figures.leaf_us_per_packet),
            others_cores: round(rounds.iter().map(|figures| figures.others_cores).fold(0.0, f64::max)),
        }
    }
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
