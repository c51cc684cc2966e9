//! `plenary bench crowd`: processor time and memory of the bare stack with the links of many viewers.

use anyhow::anyhow;
use plenary_rtc::bench::{CrowdWork, crowd};
use serde::Serialize;

use crate::Failure;
use crate::args::CrowdBenchArgs;
use crate::json::{self, round};

/// Length of the longest payload, in bytes: what an MTU of 1,500 leaves.
const PAYLOAD_LEN_MAX: u32 = 1_400;

#[derive(Serialize)]
struct Report {
    viewers: u16,
    cpu_cores: f64,
    rss_mib: f64,
    delivered: f64,
}

pub(super) fn run(args: &CrowdBenchArgs) -> Result<(), Failure> {
    if !std::path::Path::new("/proc/self/task").is_dir() {
        return Err(Failure::Failed(anyhow!("bench crowd needs Linux: it reads this process's CPU time")));
    }
    let payload_len = args.rate / 8 / args.packets;
    if !(1..=PAYLOAD_LEN_MAX).contains(&payload_len) {
        let why =
            format!("packets of {payload_len} bytes: at most {PAYLOAD_LEN_MAX} fit, and 1 is the least");
        return Err(Failure::Failed(anyhow!(why)));
    }
    let work = CrowdWork {
        viewers: usize::from(args.viewers),
        packets_per_s: args.packets,
        payload_len: payload_len as usize,
        address: std::net::Ipv4Addr::LOCALHOST.into(),
        measured: args.duration,
    };
    let runtime = tokio::runtime::Runtime::new().map_err(anyhow::Error::from)?;
    let figures = runtime.block_on(crowd(work)).map_err(|error| Failure::Failed(anyhow!(error)))?;
    let report = Report {
        viewers: args.viewers,
        cpu_cores: round(figures.cores),
        rss_mib: round(figures.rss_mib),
        delivered: round(figures.delivered),
    };
    eprintln!(
        "{} viewers on the bare stack: {} cores, {} MiB, {} of the packets arrived",
        report.viewers, report.cpu_cores, report.rss_mib, report.delivered
    );
    if let Some(to) = &args.json {
        json::write(to, &report)?;
    }
    Ok(())
}
