//! Resources used by a process: processor time, memory, links, descriptors, threads.

use std::fs;

use serde::{Deserialize, Serialize};

use crate::json::round;

/// Resources used by one process. Memory, descriptors and threads are read from `/proc`, and are `None` on systems
/// without it.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct ProcessReport {
    /// Processor time of all threads.
    pub(crate) cpu_s: f64,
    /// Resident memory at the end.
    pub(crate) rss_mib: Option<f64>,
    /// Most resident memory at any time.
    rss_max_mib: f64,
    /// Links of all peers in the process at the end. A link between two of them counts twice.
    pub(crate) links: usize,
    links_max: usize,
    /// Open file descriptors at the end.
    pub(crate) descriptors: Option<usize>,
    descriptors_max: Option<usize>,
    /// Threads at the end.
    pub(crate) threads: Option<usize>,
    threads_max: Option<usize>,
}

/// Reads the resources used by this process, and keeps the maxima of all readings.
#[derive(Debug)]
pub(crate) struct Gauge {
    cpu_before_s: f64,
    links_max: usize,
    descriptors_max: Option<usize>,
    threads_max: Option<usize>,
}

impl Gauge {
    /// Starts to count processor time.
    pub(crate) fn start() -> Gauge {
        Gauge { cpu_before_s: cpu_s(), links_max: 0, descriptors_max: None, threads_max: None }
    }

    /// Counts processor time from the start of the process.
    pub(crate) fn since_start() -> Gauge {
        Gauge { cpu_before_s: 0.0, links_max: 0, descriptors_max: None, threads_max: None }
    }

    /// Takes a reading; `links` is the number of links of all peers in this process.
    pub(crate) fn read(&mut self, links: usize) -> ProcessReport {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let (descriptors, threads) = (descriptors(), field(&status, "Threads:"));
        self.links_max = self.links_max.max(links);
        self.descriptors_max = self.descriptors_max.max(descriptors);
        self.threads_max = self.threads_max.max(threads);
        ProcessReport {
            cpu_s: round(cpu_s() - self.cpu_before_s),
            rss_mib: field(&status, "VmRSS:").map(|kib| round(kib as f64 / 1024.0)),
            rss_max_mib: round(rss_max_mib()),
            links,
            links_max: self.links_max,
            descriptors,
            descriptors_max: self.descriptors_max,
            threads,
            threads_max: self.threads_max,
        }
    }
}

/// Returns the number in the line of `/proc/self/status` that begins with `name`.
fn field(status: &str, name: &str) -> Option<usize> {
    let value = status.lines().find_map(|line| line.strip_prefix(name))?;
    value.split_whitespace().next()?.parse().ok()
}

/// Returns the number of open descriptors, without the one that lists them.
fn descriptors() -> Option<usize> {
    Some(fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1))
}

fn usage() -> libc::rusage {
    // SAFETY: an all-zero rusage is valid, and getrusage only writes to it
    unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &mut usage);
        usage
    }
}

/// Returns the processor time of this process so far, seconds.
fn cpu_s() -> f64 {
    let usage = usage();
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}

/// Returns the peak memory of this process, MiB.
pub(crate) fn rss_max_mib() -> f64 {
    let unit_bytes = if cfg!(target_os = "macos") { 1.0 } else { 1024.0 };
    usage().ru_maxrss as f64 * unit_bytes / f64::from(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let status = "Name:\tplenary\nVmRSSx:\t1 kB\nVmRSS:\t  2048 kB\nThreads:\t7\n";
        assert_eq!((field(status, "VmRSS:"), field(status, "Threads:")), (Some(2048), Some(7)));
        assert_eq!(field(status, "VmHWM:"), None);
    }

    #[test]
    fn maxima_are_those_of_all_readings() {
        let mut gauge = Gauge::start();
        gauge.read(7);
        let last = gauge.read(3);
        assert_eq!((last.links, last.links_max), (3, 7));
        if cfg!(target_os = "linux") {
            assert!(last.rss_mib > Some(0.0) && last.rss_mib <= Some(last.rss_max_mib + 1.0), "{last:?}");
            assert!(last.threads >= Some(1) && last.descriptors >= Some(3), "{last:?}");
        }
    }
}
