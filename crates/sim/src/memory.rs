//! How much memory this process holds.

/// Bytes that the process has allocated now, by its allocator's own count; `None` where that doesn't tell.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub fn allocated_bytes() -> Option<usize> {
    // SAFETY: it only reads the allocator's figures
    let figures = unsafe { libc::mallinfo2() };
    Some(figures.uordblks + figures.hblkhd)
}

/// Bytes that the process has allocated now; other allocators than glibc's don't tell.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn allocated_bytes() -> Option<usize> {
    None
}
