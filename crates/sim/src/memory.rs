//! How much memory this process holds.

/// Resident memory, bytes; `None` where the system doesn't tell.
pub fn rss_bytes() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * PAGE)
}

/// Of memory, on the machines that have `/proc`; larger pages are rare there.
const PAGE: u64 = 4096;
