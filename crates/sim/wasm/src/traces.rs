//! Trace hashes of two small worlds, for `check`.

#[path = "../../examples/trace.rs"]
#[allow(dead_code, reason = "a program natively, a function here")]
mod example;

/// Trace hash of the small world for `seed`.
#[unsafe(no_mangle)]
pub extern "C" fn trace(seed: u64) -> u64 {
    example::trace(seed)
}

/// Trace hash for `seed` of the world with drawn people, devices and network.
#[unsafe(no_mangle)]
pub extern "C" fn trace_in_the_rough(seed: u64) -> u64 {
    example::trace_in_the_rough(seed)
}
