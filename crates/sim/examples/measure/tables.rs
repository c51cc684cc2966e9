//! Tables of the measurements: each figure with its target, and the conditions of the measurement.

use std::fmt::Write as _;
use std::path::Path;

use plenary_sim::{Aim, RoomPlan};

use super::Measured;

const HEAD: &str = "\
# Measurements

Simulated, on one machine, by one command; it overwrites this folder:

    cargo run --release -p plenary-sim --example measure -- docs/measurements [--runs N] [--seed N]

The first seed and the ones after it are used, one per run. Equal seeds give equal traces and equal figures; only wall
times and memory depend on the machine. Media models: `packet` queues, loses, requests and resends each packet on each
hop; `frame` does the same with one packet per frame; `fluid` computes frames from rates along the tree. A missed target
is marked and stays in the table; violations are what the checkers found, over all runs. A share over few runs may be
luck: the second table gives their number. `within_5pct_of_oracle` judges one election per seed, in a room drawn for
that purpose, beside the scenario's own. Latencies are counted in histogram buckets a quarter of an octave wide and
reported as bucket centres. In the column 'on two cores' each peer has a machine of two cores, on which packets,
messages, ticks, links, encoding and decoding take the time that they take on real machines (packet level only, five
runs at most, the same first seeds). Measurements that take hours: [long runs](long-runs.md). Seals and forgers:
[seals](seals.md). Browsers: [pages](pages.md). Pages as relays, simulated: [pages in the tree](pages-tree.md).

`latency_over_oracle` divides the latency of frames in the calm phase by what the oracle computes for its own tree from
delays and uplinks alone. `latency_over_oracle_in_weather` divides it by the latency of frames sent down the oracle's
tree packet by packet, through the same losses, jitter, queues and radio stalls; the quotient of the two figures is the
cost of this weather for the oracle's tree, which every tree pays. `ways_over_oracle` divides the oracle's computed
latency of the room's final tree by that of its own tree.

## Targets

| scenario | figure | target | measured | | on two cores | compared with |
| --- | --- | --- | --- | --- | --- | --- |
";

const GIB: f64 = (1 << 30) as f64;

/// Writes `README.md`.
pub(crate) fn write(folder: &Path, all: &[Measured], sizes: &[&Measured]) -> std::io::Result<()> {
    let mut text = HEAD.to_owned();
    for one in all {
        for aim in &one.report.targets {
            let met = word(aim.met);
            let figure = &aim.figure;
            let shown = |value: f64| value.to_string();
            let value = aim.measured.map_or("not measured".to_owned(), shown);
            let machines = one
                .on_machines
                .as_ref()
                .and_then(|report| report.targets.iter().find(|other| other.figure == *figure)?.measured);
            let machines = machines.map_or("-".to_owned(), shown);
            let (name, bound, compared) = (&one.report.scenario, bound(aim), one.compared);
            let _ = writeln!(
                text,
                "| {name} | `{figure}` | {bound} | {value} | {met} | {machines} | {compared} |"
            );
        }
    }
    text += "\n## What they were measured in\n
| scenario | peers | runs | seeds from | model | room time, s | wall, s | inputs per peer and s | violations |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |\n";
    for Measured { report, wall_s, .. } in all {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {:.0} | {wall_s:.1} | {:.2} | {} |",
            report.scenario,
            report.peers,
            report.runs,
            report.seed,
            report.media_model,
            report.room_time_s,
            report.inputs_per_peer_s,
            report.violations.len(),
        );
    }
    text += "\n## By size (fluid model, one run each)\n
`scale-100k`; smaller audiences run a storm of 150 s instead of ten minutes, so joins weigh more. Limits for
100,000 peers: 600 s and 8 GiB. The depth bound is ⌈log_k n⌉ + 1, for peers of equal capacity.\n
| peers | bytes per peer | GiB | inputs per peer and s | depth, mean | depth, most | bound | wall, s |
| --- | --- | --- | --- | --- | --- | --- | --- |\n";
    for Measured { report, wall_s, .. } in sizes {
        let shown = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.2}"));
        let bytes = report.bytes_per_peer.map_or("-".to_owned(), |bytes| bytes.to_string());
        let gib = shown(report.bytes_per_peer.map(|bytes| (bytes * report.peers as u64) as f64 / GIB));
        let most = report.depth.max.unwrap_or(0);
        let (peers, inputs) = (report.peers, report.inputs_per_peer_s);
        let mean = shown(report.depth.mean);
        let slots = |tiers| usize::from(RoomPlan::DEFAULT.k).pow(tiers);
        let bound = 1 + (0..).find(|tiers| slots(*tiers) >= peers).unwrap_or(0);
        let _ = writeln!(
            text,
            "| {peers} | {bytes} | {gib} | {inputs:.2} | {mean} | {most} | {bound} | {wall_s:.1} |"
        );
    }
    text += "\nBytes are those allocated while the world was made and ran, and still held at its end: brains,
bodies, links, what was counted, and the simulator's queue. In small rooms the stage weighs more: its brains hold
figures of each other.\n\n## Plots\n\n";
    for (file, what) in super::plots::FILES {
        let _ = writeln!(text, "![{what}]({file})\n");
    }
    std::fs::write(folder.join("README.md"), text.trim_end().to_owned() + "\n")
}

fn bound(aim: &Aim) -> String {
    match (aim.at_least, aim.at_most) {
        (Some(least), _) => format!("≥ {least}"),
        (None, Some(most)) => format!("≤ {most}"),
        (None, None) => "-".to_owned(),
    }
}

fn word(met: Option<bool>) -> &'static str {
    match met {
        Some(true) => "met",
        Some(false) => "**MISSED**",
        None => "not measured",
    }
}
