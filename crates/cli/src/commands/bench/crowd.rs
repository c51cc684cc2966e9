//! `plenary bench crowd`: processor time and memory of the bare stack with the links of many viewers.

use anyhow::anyhow;
use plenary_rtc::bench::{CrowdWork, RATE_BPS_MAX, crowd};
use serde::Serialize;

use super::needs_linux;
use crate::args::CrowdBenchArgs;
use crate::json::{self, round};
use crate::{Failure, usage};

#[derive(Serialize)]
struct Report {
    viewers: u16,
    cpu_cores: f64,
    rss_mib: f64,
    delivered: f64,
}

pub(super) fn run(args: &CrowdBenchArgs) -> Result<(), Failure> {
    needs_linux("bench crowd")?;
    if args.rate > RATE_BPS_MAX {
        let why =
            format!("--rate {}: two packets of a picture carry {RATE_BPS_MAX} bit/s at most", args.rate);
        return Err(usage(why));
    }
    let work = CrowdWork {
        viewers: usize::from(args.viewers),
        rate_bps: args.rate,
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
    say!(
        "{} viewers on the bare stack: {} cores, {} MiB, {} of the packets arrived",
        report.viewers,
        report.cpu_cores,
        report.rss_mib,
        report.delivered
    );
    if let Some(to) = &args.json {
        json::write(to, &report)?;
    }
    Ok(())
}
