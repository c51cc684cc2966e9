//! Memory use of this process.

/// Bytes that the process has allocated, by the allocator's own statistics; `None` where the allocator has
/// none.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub fn allocated_bytes() -> Option<usize> {
    // SAFETY: it only reads the allocator's statistics
    let figures = unsafe { libc::mallinfo2() };
    Some(figures.uordblks + figures.hblkhd)
}

/// Bytes that the process has allocated; `None`, since only glibc's allocator has statistics here.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn allocated_bytes() -> Option<usize> {
    None
}
