//! `plenary bench brain`: measures the speed and the memory of a brain.

use std::time::Duration;

use cpu_time::ProcessTime;
use plenary_sim::memory::allocated_bytes;
use plenary_sim::stand::{Part, Stand, bytes_per_peer};
use serde::Serialize;

use crate::Failure;
use crate::args::BrainBenchArgs;
use crate::json::{self, round};

/// Number of viewers in the measured room.
const AUDIENCE: u32 = 1_000;
/// Simulated seconds of a calm room per part: enough for a tenth of a second of processor time.
const CALM_S: u32 = 5_000;
/// Number of brains over which memory is averaged.
const BRAINS: usize = 8;

#[derive(Serialize)]
struct BrainReport {
    inputs_per_s: f64,
    bytes_per_peer: Option<f64>,
    peers: u32,
    parts: Vec<PartReport>,
}

#[derive(Serialize)]
struct PartReport {
    part: String,
    inputs: u64,
    inputs_per_s: f64,
}

pub(super) fn run(args: &BrainBenchArgs) -> Result<(), Failure> {
    let report = brain();
    match &args.json {
        Some(to) => json::write(to, &report)?,
        None => say_text!("{}", summary(&report)),
    }
    Ok(())
}

/// Measures brains of all parts in a calm room: the same simulated time for each, and the processor time that
/// it takes.
fn brain() -> BrainReport {
    let clock = || ProcessTime::now().as_duration();
    let (mut inputs, mut took) = (0, Duration::ZERO);
    let mut parts = Vec::new();
    for part in Part::ALL {
        let speed = Stand::new(part, AUDIENCE).calm(CALM_S, clock);
        (inputs, took) = (inputs + speed.inputs, took + speed.took);
        let part = format!("{part:?}").to_lowercase();
        parts.push(PartReport { part, inputs: speed.inputs, inputs_per_s: round(speed.inputs_per_s()) });
    }
    let inputs_per_s = round(inputs as f64 / took.as_secs_f64().max(1e-9));
    let bytes =
        allocated_bytes().map(|_| bytes_per_peer(AUDIENCE, BRAINS, || allocated_bytes().unwrap_or(0)));
    BrainReport { inputs_per_s, bytes_per_peer: bytes.map(round), peers: AUDIENCE, parts }
}

fn summary(report: &BrainReport) -> String {
    let mut text = format!("all parts: {:.0} inputs a second\n", report.inputs_per_s);
    for PartReport { part, inputs_per_s, .. } in &report.parts {
        text += &format!("{part}: {inputs_per_s:.0}\n");
    }
    if let Some(bytes) = report.bytes_per_peer {
        text += &format!("a relay of {} viewers: {bytes:.0} bytes\n", report.peers);
    }
    text
}
